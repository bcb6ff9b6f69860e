//! H.264 in RTP (RFC 6184) → Annex B access units with their parameter sets before each IDR.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};

use super::picture::{Damaged, Payload};

const IDR: u8 = 5;
const SPS: u8 = 7;
const PPS: u8 = 8;
const AUD: u8 = 9;
const FILLER: u8 = 12;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

const FU_START: u8 = 0x80;
const FU_END: u8 = 0x40;

const START_CODE: [u8; 4] = [0, 0, 0, 1];
/// H.264 §7.4.2.1.1: ids 0 to 31.
const MAX_SPS_ID: u32 = 31;
/// H.264 §7.4.2.2 allows 256; no encoder comes near, and each is sent before every IDR.
const MAX_PPS_ID: u32 = 31;

#[derive(Debug, Default)]
pub(super) struct H264 {
    sps: BTreeMap<u32, Bytes>,
    pps: BTreeMap<u32, Bytes>,
    /// NAL units of the open picture, parameter sets apart.
    nals: Vec<Bytes>,
    /// A NAL unit that comes in fragments.
    fragments: Option<BytesMut>,
    len: usize,
}

impl Payload for H264 {
    /// A delimiter or an SPS stands before everything else in its access unit (H.264 §7.4.1.2.3), so nothing
    /// that belongs to it was lost before. A first slice proves less: its parameter sets may be gone.
    fn begins(payload: &[u8]) -> bool {
        let first = match after_start_code(payload) {
            [stap, _, _, nal, ..] if kind(*stap) == STAP_A => *nal,
            [nal, ..] => *nal,
            [] => return false,
        };
        matches!(kind(first), AUD | SPS)
    }

    fn push(&mut self, payload: &Bytes) -> Result<(), Damaged> {
        self.len += payload.len();
        let header = *payload.first().ok_or(Damaged)?;
        if kind(header) != FU_A && self.fragments.is_some() {
            return Err(Damaged);
        }
        match kind(header) {
            0..=23 => self.take(payload.clone()),
            STAP_A => self.aggregate(payload),
            FU_A => self.fragment(payload),
            // STAP-B, MTAPs and FU-B belong to packetization-mode 2, which no answer of ours allows.
            _ => Err(Damaged),
        }
    }

    fn len(&self) -> usize {
        self.len
    }

    fn finish(&mut self) -> Result<Option<(bool, Bytes)>, Damaged> {
        if self.fragments.is_some() {
            return Err(Damaged);
        }
        let Some(first) = self.nals.iter().find(|nal| is_slice(nal)) else {
            return Ok(None);
        };
        // first_mb_in_slice is 0, a single 1 bit: the picture has its first slice.
        if first.get(1).is_none_or(|byte| byte & 0x80 == 0) {
            return Err(Damaged);
        }
        let keyframe = self.nals.iter().any(|nal| kind(nal[0]) == IDR);
        if keyframe && (self.sps.is_empty() || self.pps.is_empty()) {
            return Err(Damaged);
        }
        Ok(Some((keyframe, self.annex_b(keyframe))))
    }

    fn clear(&mut self) {
        self.nals.clear();
        self.fragments = None;
        self.len = 0;
    }
}

impl H264 {
    /// One NAL unit; or several, of a sender that did not cut its encoder's output at the start codes.
    fn take(&mut self, bytes: Bytes) -> Result<(), Damaged> {
        let mut rest = bytes.slice_ref(after_start_code(&bytes));
        while let Some(code) = rest.windows(3).position(|three| three == [0, 0, 1]) {
            let mut nal = rest.split_to(code);
            rest = rest.slice(3..);
            // The zero byte of a longer start code; no NAL unit ends with one (H.264 §7.4.1).
            let end = nal.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            nal.truncate(end);
            self.unit(nal)?;
        }
        self.unit(rest)
    }

    fn unit(&mut self, nal: Bytes) -> Result<(), Damaged> {
        match kind(*nal.first().ok_or(Damaged)?) {
            0 => return Err(Damaged),
            SPS => {
                let id = sps_id(&nal).filter(|id| *id <= MAX_SPS_ID).ok_or(Damaged)?;
                self.sps.insert(id, nal);
            }
            PPS => {
                let id = pps_id(&nal).filter(|id| *id <= MAX_PPS_ID).ok_or(Damaged)?;
                // A PPS may change before any picture; a stored one only goes out with the next IDR.
                if self.pps.insert(id, nal.clone()).is_some_and(|old| old != nal) {
                    self.nals.push(nal);
                }
            }
            AUD | FILLER => {}
            _ => self.nals.push(nal),
        }
        Ok(())
    }

    /// STAP-A (§5.7.1): NAL units, each behind its length in two bytes.
    fn aggregate(&mut self, payload: &Bytes) -> Result<(), Damaged> {
        let mut rest = payload.slice(1..);
        while let [a, b, ..] = *rest {
            let end = 2 + usize::from(u16::from_be_bytes([a, b]));
            if end == 2 || end > rest.len() {
                return Err(Damaged);
            }
            self.take(rest.slice(2..end))?;
            rest = rest.slice(end..);
        }
        if rest.is_empty() { Ok(()) } else { Err(Damaged) }
    }

    /// FU-A (§5.8): a piece of one NAL unit.
    fn fragment(&mut self, payload: &Bytes) -> Result<(), Damaged> {
        let [indicator, header, piece @ ..] = &payload[..] else {
            return Err(Damaged);
        };
        if header & FU_START != 0 {
            if self.fragments.is_some() {
                return Err(Damaged);
            }
            let nal_header = (indicator & 0xe0) | kind(*header);
            self.fragments = Some(BytesMut::from(&[nal_header][..]));
        }
        self.fragments.as_mut().ok_or(Damaged)?.put_slice(piece);
        if header & FU_END != 0 {
            let nal = self.fragments.take().ok_or(Damaged)?.freeze();
            self.take(nal)?;
        }
        Ok(())
    }

    fn annex_b(&self, keyframe: bool) -> Bytes {
        let sets = self.sps.values().chain(self.pps.values()).filter(|_| keyframe);
        // Before an IDR every set is sent anyway.
        let rest = self.nals.iter().filter(|nal| !(keyframe && kind(nal[0]) == PPS));
        let mut out = BytesMut::with_capacity(self.len + 4 * (self.nals.len() + 2) + 256);
        for nal in sets.chain(rest) {
            out.put_slice(&START_CODE);
            out.put_slice(nal);
        }
        out.freeze()
    }
}

fn after_start_code(bytes: &[u8]) -> &[u8] {
    match bytes {
        [0, 0, 1, rest @ ..] | [0, 0, 0, 1, rest @ ..] => rest,
        _ => bytes,
    }
}

const fn kind(header: u8) -> u8 {
    header & 0x1f
}

fn is_slice(nal: &Bytes) -> bool {
    (1..=IDR).contains(&kind(nal[0]))
}

/// After the header: profile, constraints and level, then the id.
fn sps_id(nal: &[u8]) -> Option<u32> {
    exp_golomb(nal.get(4..)?)
}

fn pps_id(nal: &[u8]) -> Option<u32> {
    exp_golomb(nal.get(1..)?)
}

/// ue(v) at the start of `bits` (H.264 §9.1). An id is at most 255, so two bytes and a half hold it and
/// emulation prevention (three bytes) cannot lie within.
fn exp_golomb(bits: &[u8]) -> Option<u32> {
    let word = bits
        .iter()
        .take(4)
        .enumerate()
        .fold(0u32, |word, (n, byte)| word | u32::from(*byte) << (24 - 8 * n));
    let zeros = word.leading_zeros();
    (zeros <= 8 && bits.len() * 8 > 2 * zeros as usize).then(|| (word >> (31 - 2 * zeros)) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::picture::{Assembler, Completed};
    use crate::rtp::{Packet, Picture};
    use proptest::prelude::*;

    const SPS_0: &[u8] = &[0x67, 0x42, 0xe0, 0x1f, 0x8c, 0x68];
    const PPS_0: &[u8] = &[0x68, 0xce, 0x3c, 0x80];
    const IDR_SLICE: &[u8] = &[0x65, 0x88, 0x84, 0x21];
    const SLICE: &[u8] = &[0x41, 0x9a, 0x02];
    const DELIMITER: &[u8] = &[0x09, 0xf0];

    struct Sender {
        assembler: Assembler<H264>,
    }

    impl Sender {
        fn new() -> Self {
            Sender {
                assembler: Assembler::new(),
            }
        }

        fn send(&mut self, timestamp: u32, marker: bool, payload: &[u8]) -> Completed {
            self.assembler.push(&Packet {
                ssrc: 1,
                payload_type: 96,
                sequence: 0,
                timestamp,
                marker,
                payload: Bytes::copy_from_slice(payload),
            })
        }

        fn joined() -> Self {
            let mut sender = Sender::new();
            for nal in [SPS_0, PPS_0] {
                sender.send(0, false, nal);
            }
            assert_eq!(
                sender.send(0, true, IDR_SLICE),
                whole(0, true, &[SPS_0, PPS_0, IDR_SLICE])
            );
            sender
        }
    }

    fn annex_b(nals: &[&[u8]]) -> Bytes {
        nals.iter()
            .flat_map(|nal| START_CODE.iter().chain(*nal))
            .copied()
            .collect()
    }

    fn stap(nals: &[&[u8]]) -> Vec<u8> {
        let mut payload = vec![0x78];
        for nal in nals {
            payload.extend((nal.len() as u16).to_be_bytes());
            payload.extend(*nal);
        }
        payload
    }

    fn whole(timestamp: u32, keyframe: bool, nals: &[&[u8]]) -> Completed {
        vec![Ok(Picture {
            timestamp,
            keyframe,
            payload: annex_b(nals),
        })]
    }

    #[test]
    fn parameter_sets_in_packets_of_their_own() {
        let mut s = Sender::new();
        s.send(9, false, SPS_0);
        s.send(9, false, PPS_0);
        assert_eq!(
            s.send(9, true, IDR_SLICE),
            whole(9, true, &[SPS_0, PPS_0, IDR_SLICE])
        );
        assert_eq!(s.send(10, true, SLICE), whole(10, false, &[SLICE]));
    }

    #[test]
    fn parameter_sets_in_one_packet_with_the_picture() {
        let mut s = Sender::new();
        let all = stap(&[DELIMITER, SPS_0, PPS_0, IDR_SLICE]);
        assert_eq!(s.send(9, true, &all), whole(9, true, &[SPS_0, PPS_0, IDR_SLICE]));
    }

    #[test]
    fn parameter_sets_in_another_order_with_markers_of_their_own() {
        let mut s = Sender::new();
        s.send(8, false, DELIMITER);
        assert_eq!(s.send(8, true, PPS_0), vec![]);
        assert_eq!(s.send(9, true, SPS_0), vec![]);
        assert_eq!(
            s.send(9, true, IDR_SLICE),
            whole(9, true, &[SPS_0, PPS_0, IDR_SLICE])
        );
    }

    #[test]
    fn parameter_sets_that_came_once_are_repeated() {
        let mut s = Sender::joined();
        s.send(10, true, SLICE);
        assert_eq!(
            s.send(11, true, IDR_SLICE),
            whole(11, true, &[SPS_0, PPS_0, IDR_SLICE])
        );
    }

    #[test]
    fn a_new_picture_size_replaces_the_old_parameter_sets() {
        let mut s = Sender::joined();
        let sps = [0x67, 0x42, 0xe0, 0x28, 0x8c, 0x99];
        s.send(10, false, &sps);
        s.send(10, false, PPS_0);
        assert_eq!(
            s.send(10, true, IDR_SLICE),
            whole(10, true, &[&sps, PPS_0, IDR_SLICE])
        );
    }

    #[test]
    fn a_picture_in_fragments() {
        let mut s = Sender::joined();
        assert_eq!(s.send(10, false, &[0x7c, 0x85, 0x88, 1, 2]), vec![]);
        assert_eq!(s.send(10, false, &[0x7c, 0x05, 3]), vec![]);
        let end = s.send(10, true, &[0x7c, 0x45, 4]);
        assert_eq!(end, whole(10, true, &[SPS_0, PPS_0, &[0x65, 0x88, 1, 2, 3, 4]]));
    }

    #[test]
    fn a_new_timestamp_ends_a_picture_without_marker() {
        let mut s = Sender::joined();
        assert_eq!(s.send(10, false, SLICE), vec![]);
        assert_eq!(s.send(11, false, SLICE), whole(10, false, &[SLICE]));
    }

    #[test]
    fn padding_alone_is_no_picture() {
        let mut s = Sender::joined();
        s.send(10, false, SLICE);
        assert_eq!(s.send(9, false, &[]), vec![]);
        assert_eq!(s.send(10, true, SLICE), whole(10, false, &[SLICE, SLICE]));
    }

    #[test]
    fn a_loss_spoils_the_open_picture() {
        let mut s = Sender::joined();
        s.send(10, false, &[0x7c, 0x81, 0x9a, 1]);
        s.assembler.lost();
        assert_eq!(s.send(10, true, &[0x7c, 0x41, 3]), [Err(Damaged)]);
        // This packet was preceded by one that came.
        assert_eq!(s.send(11, true, SLICE), whole(11, false, &[SLICE]));
    }

    #[test]
    fn a_head_that_may_be_lost_spoils_the_picture() {
        let mut s = Sender::joined();
        s.assembler.lost();
        assert_eq!(
            s.send(11, true, IDR_SLICE),
            [Err(Damaged)],
            "its parameter sets may have been in the loss"
        );
        s.assembler.lost();
        s.send(12, false, SPS_0);
        s.send(12, false, PPS_0);
        assert_eq!(
            s.send(12, true, IDR_SLICE),
            whole(12, true, &[SPS_0, PPS_0, IDR_SLICE])
        );
    }

    #[test]
    fn an_idr_nobody_can_decode_is_no_keyframe() {
        let mut s = Sender::new();
        s.send(9, false, DELIMITER);
        assert_eq!(s.send(9, true, IDR_SLICE), [Err(Damaged)]);
    }

    #[test]
    fn ids_are_read() {
        assert_eq!(sps_id(SPS_0), Some(0));
        assert_eq!(pps_id(PPS_0), Some(0));
        assert_eq!(exp_golomb(&[0b0100_0000]), Some(1));
        assert_eq!(exp_golomb(&[0b0001_0110]), Some(10));
        assert_eq!(exp_golomb(&[0b0000_0001]), None, "cut");
        assert_eq!(exp_golomb(&[]), None);
    }

    proptest! {
        #[test]
        fn any_payload_is_survived(
            packets in prop::collection::vec(
                (0u32..4, any::<bool>(), prop::collection::vec(any::<u8>(), 0..40), 0u8..12), 0..60),
        ) {
            let mut s = Sender::joined();
            for (timestamp, marker, mut payload, kind) in packets {
                // Half of them begin as something that is looked into.
                if let Some(first) = payload.first_mut() {
                    *first = match kind { 0..=2 => STAP_A, 3..=5 => FU_A, 6 => SPS, 7 => PPS, _ => *first };
                }
                for picture in s.send(timestamp, marker, &payload).into_iter().flatten() {
                    prop_assert!(picture.payload.starts_with(&START_CODE));
                }
            }
        }
    }
}
