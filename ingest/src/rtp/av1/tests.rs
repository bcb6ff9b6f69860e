use super::*;
use crate::rtp::picture::{Assembler, Completed};
use crate::rtp::{Packet, Picture};
use proptest::prelude::*;

/// Without sizes, as they are sent.
const SEQUENCE: &[u8] = &[0x08, 0x00, 0x00, 0x07];
const KEY: &[u8] = &[0x30, 0x10, 1, 2, 3];
const INTER: &[u8] = &[0x30, 0x30, 4, 5];
const DELIMITED: &[u8] = &[0x12, 0];

struct Sender(Assembler<Av1>);

impl Sender {
    fn new() -> Self {
        Sender(Assembler::new())
    }

    fn joined() -> Self {
        let mut s = Sender::new();
        let key = s.send(0, true, &[&[0x28, 4], SEQUENCE, KEY]);
        assert_eq!(key, unit(0, true, &[SEQUENCE, KEY]));
        s
    }

    fn send(&mut self, timestamp: u32, marker: bool, parts: &[&[u8]]) -> Completed {
        self.0.push(&Packet {
            ssrc: 1,
            payload_type: 99,
            sequence: 0,
            timestamp,
            marker,
            payload: parts.concat().into(),
        })
    }
}

/// As a decoder wants it: each OBU (without extension) has its size.
fn unit(timestamp: u32, keyframe: bool, obus: &[&[u8]]) -> Completed {
    let sized = obus.iter().flat_map(|obu| {
        let head = [obu[0] | HAS_SIZE, obu.len() as u8 - 1];
        [&head[..], &obu[1..]].concat()
    });
    let payload = DELIMITED.iter().copied().chain(sized).collect();
    vec![Ok(Picture {
        timestamp,
        keyframe,
        payload,
    })]
}

#[test]
fn obus_with_a_count_and_obus_with_lengths() {
    let mut s = Sender::joined();
    assert_eq!(
        s.send(1, true, &[&[0x10], INTER]),
        unit(1, false, &[INTER]),
        "W = 1"
    );
    let lengths = s.send(2, true, &[&[0x00, 4], INTER, &[4], INTER]);
    assert_eq!(lengths, unit(2, false, &[INTER, INTER]), "W = 0");
}

#[test]
fn an_obu_over_three_packets() {
    let mut s = Sender::joined();
    assert_eq!(s.send(1, false, &[&[0x50], &INTER[..1]]), []);
    assert_eq!(s.send(1, false, &[&[0xd0], &INTER[1..3]]), []);
    assert_eq!(
        s.send(1, true, &[&[0xa0, 1], &INTER[3..], INTER]),
        unit(1, false, &[INTER, INTER])
    );
}

#[test]
fn a_keyframe_without_its_sequence_header_gets_the_last_one() {
    let mut s = Sender::joined();
    assert_eq!(s.send(1, true, &[&[0x18], KEY]), unit(1, true, &[SEQUENCE, KEY]));
    let mut s = Sender::new();
    assert_eq!(
        s.send(1, true, &[&[0x18], KEY]),
        [Err(Damaged)],
        "nobody could decode it"
    );
}

#[test]
fn a_sequence_header_in_a_unit_of_its_own_is_kept() {
    let mut s = Sender::new();
    assert_eq!(s.send(1, true, &[&[0x18], SEQUENCE]), []);
    assert_eq!(s.send(2, true, &[&[0x18], KEY]), unit(2, true, &[SEQUENCE, KEY]));
}

#[test]
fn delimiters_padding_and_sizes_of_careless_senders() {
    let mut s = Sender::joined();
    let sized = [&[0x32, 3], &INTER[1..]].concat();
    let all = [&[0x30, 2][..], DELIMITED, &[5], &sized, &[0x78, 0, 0]];
    assert_eq!(s.send(1, true, &all), unit(1, false, &[INTER]));
}

#[test]
fn extensions_stay() {
    let mut s = Sender::joined();
    let layered = [0x34, 0x20, 0x30, 4];
    let payload = Bytes::from_static(&[0x12, 0, 0x36, 0x20, 2, 0x30, 4]);
    assert_eq!(
        s.send(1, true, &[&[0x10], &layered]),
        [Ok(Picture {
            timestamp: 1,
            keyframe: false,
            payload
        })]
    );
}

#[test]
fn pieces_that_do_not_fit_are_damage() {
    let mut s = Sender::joined();
    assert_eq!(
        s.send(1, true, &[&[0x90], INTER]),
        [Err(Damaged)],
        "continues nothing"
    );
    assert_eq!(
        s.send(2, true, &[&[0x50], INTER]),
        [Err(Damaged)],
        "is not continued"
    );
    s.send(3, false, &[&[0x50], INTER]);
    assert_eq!(s.send(3, true, &[&[0x10], INTER]), [Err(Damaged)], "begins anew");
    assert_eq!(
        s.send(4, true, &[&[0x20, 9], INTER]),
        [Err(Damaged)],
        "longer than its packet"
    );
    assert_eq!(
        s.send(5, true, &[&[0x20, 4], INTER]),
        [Err(Damaged)],
        "fewer than promised"
    );
    assert_eq!(
        s.send(6, true, &[&[0x10, 0xb0, 0x30]]),
        [Err(Damaged)],
        "the forbidden bit"
    );
    assert_eq!(
        s.send(7, true, &[&[0x10, 0x32, 9, 0x30]]),
        [Err(Damaged)],
        "a size beyond its end"
    );
    assert_eq!(s.send(8, true, &[&[0x10], INTER]), unit(8, false, &[INTER]));
}

#[test]
fn a_head_that_may_be_lost_spoils_the_unit() {
    let mut s = Sender::joined();
    s.0.lost();
    assert_eq!(s.send(1, true, &[&[0x10], KEY]), [Err(Damaged)]);
    s.0.lost();
    let key = s.send(2, true, &[&[0x20, 4], SEQUENCE, KEY]);
    assert_eq!(key, unit(2, true, &[SEQUENCE, KEY]), "whatever N says");
}

#[test]
fn sizes_are_read_and_written() {
    for value in [0, 1, 127, 128, 16_383, 16_384, 4_000_000] {
        let mut bytes = BytesMut::new();
        put_leb128(&mut bytes, value);
        assert_eq!(leb128(&bytes), Some((value, bytes.len())));
    }
    assert_eq!(leb128(&[0x80, 0x00]), Some((0, 2)), "longer than needed");
    assert_eq!(leb128(&[0xff; 8]), None);
    assert_eq!(leb128(&[0x80]), None);
    assert_eq!(leb128(&[0xff, 0xff, 0xff, 0xff, 0x7f]), None, "more than 32 bits");
}

proptest! {
    #[test]
    fn any_payload_is_survived(payloads in prop::collection::vec(
        (0u32..3, any::<bool>(), prop::collection::vec(any::<u8>(), 0..30)), 0..60)) {
        let mut s = Sender::joined();
        for (timestamp, marker, payload) in payloads {
            for picture in s.send(timestamp, marker, &[&payload]).into_iter().flatten() {
                prop_assert!(picture.payload.starts_with(DELIMITED));
            }
        }
    }
}
