//! VP8 in RTP (RFC 7741) → frames.

use bytes::{BufMut, Bytes, BytesMut};

use super::picture::{Damaged, Payload};

#[derive(Debug, Default)]
pub(super) struct Vp8 {
    frame: BytesMut,
}

impl Payload for Vp8 {
    fn begins(payload: &[u8]) -> bool {
        descriptor(payload).is_some_and(|d| d.begins_frame)
    }

    fn push(&mut self, payload: &Bytes) -> Result<(), Damaged> {
        let descriptor = descriptor(payload).ok_or(Damaged)?;
        // Two frames under one timestamp, or a frame without its first packet.
        if descriptor.begins_frame != self.frame.is_empty() {
            return Err(Damaged);
        }
        self.frame.put_slice(&payload[descriptor.len..]);
        Ok(())
    }

    fn len(&self) -> usize {
        self.frame.len()
    }

    fn finish(&mut self) -> Result<Option<(bool, Bytes)>, Damaged> {
        if self.frame.is_empty() {
            return Ok(None);
        }
        let keyframe = is_keyframe(&self.frame)?;
        Ok(Some((keyframe, self.frame.split().freeze())))
    }

    fn clear(&mut self) {
        self.frame.clear();
    }
}

/// RFC 6386 §9.1: the lowest bit of a frame says "interframe"; a keyframe has a start code after three bytes.
fn is_keyframe(frame: &[u8]) -> Result<bool, Damaged> {
    match frame {
        [tag, ..] if tag & 1 == 1 => Ok(false),
        [_, _, _, 0x9d, 0x01, 0x2a, _, _, _, _, ..] => Ok(true),
        _ => Err(Damaged),
    }
}

struct Descriptor {
    len: usize,
    /// The first packet of a frame: start of partition 0.
    begins_frame: bool,
}

/// RFC 7741 §4.2. `None` if it is cut or nothing follows it.
fn descriptor(payload: &[u8]) -> Option<Descriptor> {
    let first = *payload.first()?;
    let mut len = 1;
    if first & 0x80 != 0 {
        let extension = *payload.get(1)?;
        len = 2;
        if extension & 0x80 != 0 {
            // PictureID, in two bytes if its first bit is set.
            len += if payload.get(len)? & 0x80 != 0 { 2 } else { 1 };
        }
        len += usize::from(extension & 0x40 != 0);
        len += usize::from(extension & 0x30 != 0);
    }
    (payload.len() > len).then_some(Descriptor {
        len,
        begins_frame: first & 0x17 == 0x10,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::picture::Assembler;
    use crate::rtp::{Packet, Picture};
    use proptest::prelude::*;

    fn packet(timestamp: u32, marker: bool, payload: &[u8]) -> Packet {
        let payload = Bytes::copy_from_slice(payload);
        Packet {
            ssrc: 1,
            payload_type: 97,
            sequence: 0,
            timestamp,
            marker,
            payload,
        }
    }

    const KEY: [u8; 11] = [0x10, 0x50, 0, 0, 0x9d, 0x01, 0x2a, 0x40, 0, 0xf0, 0];

    #[test]
    fn a_keyframe_then_an_interframe_in_two_packets() {
        let mut a = Assembler::<Vp8>::new();
        let payload = Bytes::copy_from_slice(&KEY[1..]);
        let key = a.push(&packet(5, true, &KEY));
        assert_eq!(
            key,
            [Ok(Picture {
                timestamp: 5,
                keyframe: true,
                payload
            })]
        );
        // Descriptors as Chromium writes them: 15-bit PictureID, TL0PICIDX, TID.
        assert_eq!(
            a.push(&packet(6, false, &[0x90, 0xe0, 0x81, 0x02, 7, 0x20, 0x31, 1])),
            []
        );
        // The last packet of a frame may hold a single byte.
        let inter = a.push(&packet(6, true, &[0x80, 0xe0, 0x81, 0x02, 7, 0x20, 2]));
        let payload = Bytes::from_static(&[0x31, 1, 2]);
        assert_eq!(
            inter,
            [Ok(Picture {
                timestamp: 6,
                keyframe: false,
                payload
            })]
        );
    }

    #[test]
    fn a_frame_whose_start_is_lost_is_damaged() {
        let mut a = Assembler::<Vp8>::new();
        a.push(&packet(5, true, &KEY));
        a.lost();
        assert_eq!(a.push(&packet(6, true, &[0x00, 0x31])), [Err(Damaged)]);
        a.lost();
        let whole = Picture {
            timestamp: 7,
            keyframe: false,
            payload: Bytes::from_static(&[0x31]),
        };
        assert_eq!(
            a.push(&packet(7, true, &[0x10, 0x31])),
            [Ok(whole)],
            "S and PID 0 are its first packet"
        );
    }

    proptest! {
        #[test]
        fn any_payload_is_survived(payloads in prop::collection::vec(
            (0u32..3, any::<bool>(), prop::collection::vec(any::<u8>(), 0..20)), 0..60)) {
            let mut a = Assembler::<Vp8>::new();
            for (timestamp, marker, payload) in payloads {
                a.push(&packet(timestamp, marker, &payload));
            }
        }
    }
}
