use super::*;
use crate::rtp::picture::{Assembler, Completed};
use crate::rtp::{Packet, Picture};
use proptest::prelude::*;

/// A keyframe's uncompressed header up to its sync code, and an interframe's, of profile 0.
const KEY: [u8; 5] = [0x82, 0x49, 0x83, 0x42, 0];
const INTER: [u8; 2] = [0x86, 0];

struct Sender(Assembler<Vp9>);

impl Sender {
    fn new() -> Self {
        Sender(Assembler::new())
    }

    fn send(&mut self, timestamp: u32, marker: bool, parts: &[&[u8]]) -> Completed {
        self.0.push(&Packet {
            ssrc: 1,
            payload_type: 98,
            sequence: 0,
            timestamp,
            marker,
            payload: parts.concat().into(),
        })
    }
}

fn whole(timestamp: u32, keyframe: bool, payload: &[&[u8]]) -> Completed {
    vec![Ok(Picture {
        timestamp,
        keyframe,
        payload: payload.concat().into(),
    })]
}

#[test]
fn flexible_mode_with_picture_ids_and_references() {
    let mut s = Sender::new();
    // I, F, B; 15-bit PictureID. Then E.
    assert_eq!(s.send(1, false, &[&[0x98, 0x81, 0x02], &KEY]), []);
    assert_eq!(
        s.send(1, true, &[&[0x94, 0x81, 0x02], &[7, 8]]),
        whole(1, true, &[&KEY, &[7, 8]])
    );
    // I, P, L, F, B, E; a short PictureID, layer indices, two references.
    let inter = s.send(2, true, &[&[0xfc, 0x03, 0x20, 0x03, 0x04], &INTER]);
    assert_eq!(inter, whole(2, false, &[&INTER]));
}

#[test]
fn non_flexible_mode_with_a_scalability_structure() {
    let mut s = Sender::new();
    // Two layers with sizes, and a picture group of two: one without reference, one with one.
    let structure = [0x38, 0, 160, 0, 90, 1, 64, 0, 180, 2, 0x00, 0x24, 1];
    let key = s.send(1, true, &[&[0xae, 0x81, 0x02, 0x00, 5], &structure, &KEY]);
    assert_eq!(key, whole(1, true, &[&KEY]));
    let inter = s.send(2, true, &[&[0xec, 0x03, 0x20, 6], &INTER]);
    assert_eq!(inter, whole(2, false, &[&INTER]));
}

#[test]
fn the_least_descriptor_is_enough() {
    let mut s = Sender::new();
    assert_eq!(s.send(1, true, &[&[0x0c], &KEY]), whole(1, true, &[&KEY]));
}

#[test]
fn spatial_layers_become_one_superframe_with_an_index() {
    let mut s = Sender::new();
    assert_eq!(s.send(1, false, &[&[0x2c, 0x00, 1], &KEY]), []);
    // The upper layer, in two packets; it refers to the lower one.
    assert_eq!(s.send(1, false, &[&[0x28, 0x03, 1], &INTER]), []);
    let index: [u8; 10] = [0xd9, 5, 0, 0, 0, 3, 0, 0, 0, 0xd9];
    assert_eq!(
        s.send(1, true, &[&[0x24, 0x03, 1], &[9]]),
        whole(1, true, &[&KEY, &INTER, &[9], &index])
    );
}

#[test]
fn a_lower_layer_that_may_be_lost_spoils_the_picture() {
    let mut s = Sender::new();
    s.send(1, true, &[&[0x0c], &KEY]);
    s.0.lost();
    assert_eq!(s.send(2, true, &[&[0x2c, 0x03, 1], &KEY]), [Err(Damaged)]);
}

#[test]
fn frames_that_lack_their_beginning_or_end_are_damaged() {
    let mut s = Sender::new();
    s.send(1, true, &[&[0x0c], &KEY]);
    assert_eq!(s.send(2, true, &[&[0x04], &INTER]), [Err(Damaged)]);
    assert_eq!(s.send(3, true, &[&[0x08], &INTER]), [Err(Damaged)]);
    s.send(4, false, &[&[0x08], &INTER]);
    assert_eq!(s.send(4, true, &[&[0x0c], &INTER]), [Err(Damaged)], "begun twice");
}

#[test]
fn keyframes_are_told_by_the_bitstream() {
    assert_eq!(is_keyframe(&KEY), Ok(true));
    assert_eq!(is_keyframe(&INTER), Ok(false));
    assert_eq!(is_keyframe(&[0x88]), Ok(false), "shows an existing frame");
    // Profile 3: a reserved bit, and all that follows is one bit later.
    assert_eq!(is_keyframe(&[0xb1, 0x24, 0xc1, 0xa1, 0]), Ok(true));
    assert_eq!(is_keyframe(&[0x82, 1, 2, 3]), Err(Damaged), "no sync code");
    assert_eq!(is_keyframe(&[0x02, 0x49, 0x83, 0x42]), Err(Damaged), "no marker");
    assert_eq!(is_keyframe(&[]), Err(Damaged));
}

proptest! {
    #[test]
    fn any_payload_is_survived(payloads in prop::collection::vec(
        (0u32..3, any::<bool>(), prop::collection::vec(any::<u8>(), 0..30)), 0..60)) {
        let mut s = Sender::new();
        for (timestamp, marker, payload) in payloads {
            s.send(timestamp, marker, &[&payload]);
        }
    }
}
