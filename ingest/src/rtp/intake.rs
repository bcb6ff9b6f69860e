//! One track: packets as they arrive → frames that can be decoded, and what to tell the sender.

use std::time::{Duration, Instant};

use timeline::Codec;

use super::av1::Av1;
use super::h264::H264;
use super::keyframes::Keyframes;
use super::picture::{Assembler, Completed, Damaged};
use super::reorder::{Released, Reorder, Taken};
use super::repair::Repair;
use super::vp8::Vp8;
use super::vp9::Vp9;
use super::{Packet, Picture};

#[derive(Debug)]
pub(crate) struct Intake {
    codec: Codec,
    repair: Repair,
    reorder: Reorder,
    assembly: Assembly,
    /// `None` for sound: each of its frames stands alone.
    gate: Option<Gate>,
    counts: Counts,
}

/// What happened since it was last asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub packets: u64,
    pub lost: u64,
    /// Filled a gap in time.
    pub repaired: u64,
    /// Duplicates, and repairs that came too late.
    pub useless: u64,
    pub nacked: u64,
    pub keyframes_asked: u64,
    pub frames: u64,
    /// Whole or in part, but not shown: damaged, or waiting for a keyframe.
    pub dropped: u64,
}

#[derive(Debug)]
enum Assembly {
    H264(Assembler<H264>),
    Vp8(Assembler<Vp8>),
    Vp9(Assembler<Vp9>),
    Av1(Assembler<Av1>),
    /// One payload is one frame: Opus (RFC 7587 §4.2), G.722, PCMU and PCMA (RFC 3551 §4.2).
    Whole,
}

/// After a loss nothing passes until the next keyframe: corrupt pictures are never shown.
#[derive(Debug)]
struct Gate {
    open: bool,
    keyframes: Keyframes,
}

impl Intake {
    pub fn new(codec: Codec, repair: impl Into<Repair>) -> Self {
        let repair = repair.into();
        let assembly = match codec {
            Codec::H264 => Assembly::H264(Assembler::new()),
            Codec::Vp8 => Assembly::Vp8(Assembler::new()),
            Codec::Vp9 => Assembly::Vp9(Assembler::new()),
            Codec::Av1 => Assembly::Av1(Assembler::new()),
            Codec::Opus | Codec::G722 | Codec::Pcmu | Codec::Pcma => Assembly::Whole,
        };
        let gate = codec.is_video().then(|| Gate {
            open: false,
            keyframes: Keyframes::new(),
        });
        Intake {
            codec,
            repair,
            reorder: Reorder::new(repair.budget(codec, Duration::ZERO)),
            assembly,
            gate,
            counts: Counts::default(),
        }
    }

    pub fn push(&mut self, packet: Packet, now: Instant) {
        self.counts.packets += 1;
        match self.reorder.push(packet, now) {
            Taken::InOrder => {}
            Taken::Repaired => self.counts.repaired += 1,
            Taken::Useless => self.counts.useless += 1,
        }
    }

    /// The frames that are complete by now, in decode order.
    pub fn frames(&mut self, now: Instant) -> Vec<Picture> {
        let mut frames = Vec::new();
        while let Some(released) = self.reorder.pop(now) {
            match released {
                Released::Packet(packet) => {
                    let completed = self.assembly.push(&packet);
                    self.pass(completed, &mut frames);
                }
                Released::Lost(packets) => self.lose(packets),
            }
        }
        frames
    }

    /// Sequence numbers to ask for again. How long is waited for them follows the round trip.
    pub fn nacks(&mut self, now: Instant, rtt: Duration) -> Vec<u16> {
        self.reorder.set_budget(self.repair.budget(self.codec, rtt));
        let wanted = self.reorder.nacks(now, rtt);
        self.counts.nacked += wanted.len() as u64;
        wanted
    }

    pub fn want_keyframe(&mut self) {
        if let Some(gate) = &mut self.gate {
            gate.keyframes.want();
        }
    }

    /// Whether what comes can be shown: no picture is missing since the last keyframe.
    pub fn is_clean(&self) -> bool {
        self.gate.as_ref().is_none_or(|gate| gate.open)
    }

    /// Whether to ask the sender for a keyframe now.
    pub fn keyframe_due(&mut self, now: Instant) -> bool {
        let due = self.gate.as_mut().is_some_and(|gate| gate.keyframes.due(now));
        self.counts.keyframes_asked += u64::from(due);
        due
    }

    /// Whether time alone may release or ask for something.
    pub fn is_waiting(&self) -> bool {
        self.reorder.is_waiting()
    }

    pub fn counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }

    fn lose(&mut self, packets: u64) {
        self.counts.lost += packets;
        self.assembly.lost();
        self.shut();
    }

    fn shut(&mut self) {
        if let Some(gate) = &mut self.gate {
            gate.open = false;
            gate.keyframes.want();
        }
    }

    fn pass(&mut self, completed: Completed, frames: &mut Vec<Picture>) {
        for completed in completed {
            match completed {
                Ok(picture) if self.admits(&picture) => {
                    self.counts.frames += 1;
                    frames.push(picture);
                }
                Ok(_) => self.counts.dropped += 1,
                Err(Damaged) => {
                    self.counts.dropped += 1;
                    self.shut();
                }
            }
        }
    }

    fn admits(&mut self, picture: &Picture) -> bool {
        let Some(gate) = &mut self.gate else { return true };
        if picture.keyframe {
            gate.open = true;
            gate.keyframes.came();
        }
        gate.open
    }
}

impl Assembly {
    fn push(&mut self, packet: &Packet) -> Completed {
        match self {
            Assembly::H264(assembler) => assembler.push(packet),
            Assembly::Vp8(assembler) => assembler.push(packet),
            Assembly::Vp9(assembler) => assembler.push(packet),
            Assembly::Av1(assembler) => assembler.push(packet),
            // Padding alone. Silence sends nothing either (DTX).
            Assembly::Whole if packet.payload.is_empty() => Completed::new(),
            Assembly::Whole => {
                let (timestamp, payload) = (packet.timestamp, packet.payload.clone());
                vec![Ok(Picture {
                    timestamp,
                    keyframe: true,
                    payload,
                })]
            }
        }
    }

    fn lost(&mut self) {
        match self {
            Assembly::H264(assembler) => assembler.lost(),
            Assembly::Vp8(assembler) => assembler.lost(),
            Assembly::Vp9(assembler) => assembler.lost(),
            Assembly::Av1(assembler) => assembler.lost(),
            Assembly::Whole => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    const REPAIR: Duration = Duration::from_millis(120);

    /// A lecture in VP8: three packets a frame, a keyframe every ten.
    fn lecture(frames: u32) -> Vec<Packet> {
        (0..frames * 3)
            .map(|n| {
                let (frame, part) = (n / 3, n % 3);
                let key = frame.is_multiple_of(10);
                let mut payload = vec![if part == 0 { 0x10 } else { 0x00 }];
                match (part, key) {
                    (0, true) => payload.extend([0x50, 0, 0, 0x9d, 0x01, 0x2a, 64, 0, 48, 0]),
                    (0, false) => payload.extend([0x51, 0]),
                    _ => payload.push(part as u8),
                }
                Packet {
                    ssrc: 1,
                    payload_type: 96,
                    sequence: 65_500u16.wrapping_add(n as u16),
                    timestamp: u32::MAX.wrapping_sub(30_000).wrapping_add(frame * 3_000),
                    marker: part == 2,
                    payload: Bytes::from(payload),
                }
            })
            .collect()
    }

    fn number(picture: &Picture) -> u32 {
        picture.timestamp.wrapping_sub(u32::MAX.wrapping_sub(30_000)) / 3_000
    }

    #[test]
    fn after_a_loss_nothing_until_the_next_keyframe() {
        let (t, mut intake) = (Instant::now(), Intake::new(Codec::Vp8, REPAIR));
        assert!(intake.keyframe_due(t), "asked at the start");
        let mut shown = Vec::new();
        for (n, packet) in lecture(25).into_iter().enumerate() {
            let now = t + Duration::from_millis(11 * n as u64);
            // The middle of frame 13.
            if n != 40 {
                intake.push(packet, now);
            }
            shown.extend(intake.frames(now).iter().map(number));
        }
        assert_eq!(shown, (0..13).chain(20..25).collect::<Vec<_>>());
        let counts = intake.counts();
        assert_eq!((counts.lost, counts.frames, counts.dropped), (1, 18, 7));
    }

    #[test]
    fn a_loss_asks_for_a_keyframe_at_once() {
        let (t, mut intake) = (Instant::now(), Intake::new(Codec::Vp8, REPAIR));
        assert!(intake.keyframe_due(t));
        let packets = lecture(3);
        let late = t + Duration::from_secs(3);
        packets.iter().take(3).for_each(|p| intake.push(p.clone(), t));
        assert_eq!(intake.frames(t).len(), 1);
        assert!(!intake.keyframe_due(late), "it came");
        intake.push(packets[4].clone(), late);
        assert_eq!(
            intake.nacks(late + Duration::from_millis(5), Duration::ZERO),
            [packets[3].sequence]
        );
        assert!(intake.frames(late + REPAIR).is_empty());
        assert!(intake.keyframe_due(late + REPAIR));
    }

    #[test]
    fn sound_goes_on_over_a_loss() {
        let (t, mut intake) = (Instant::now(), Intake::new(Codec::Opus, REPAIR));
        for n in [0u16, 1, 3] {
            let payload = Bytes::from_static(b"opus");
            let timestamp = u32::from(n) * 960;
            intake.push(
                Packet {
                    ssrc: 2,
                    payload_type: 111,
                    sequence: n,
                    timestamp,
                    marker: false,
                    payload,
                },
                t,
            );
        }
        let heard: Vec<u32> = intake.frames(t + REPAIR).iter().map(|p| p.timestamp).collect();
        assert_eq!(heard, [0, 960, 2880]);
        assert!(!intake.keyframe_due(t));
    }

    proptest! {
        /// Whatever is lost, doubled or swapped: what comes out is whole, in order, and every run begins with
        /// a keyframe and has no hole.
        #[test]
        fn only_decodable_pictures_come_out(
            lost in prop::collection::btree_set(0usize..180, 0..20),
            swapped in prop::collection::btree_set(1usize..179, 0..40),
            doubled in prop::collection::btree_set(0usize..180, 0..20),
        ) {
            let (t, mut intake) = (Instant::now(), Intake::new(Codec::Vp8, REPAIR));
            let mut order: Vec<usize> = (0..180).filter(|n| !lost.contains(n)).collect();
            let len = order.len();
            swapped.iter().filter(|n| **n + 1 < len).for_each(|n| order.swap(*n, n + 1));
            let all = lecture(60);
            let mut shown: Vec<Picture> = Vec::new();
            for (step, n) in order.into_iter().enumerate() {
                let now = t + Duration::from_millis(11 * step as u64);
                intake.push(all[n].clone(), now);
                if doubled.contains(&n) {
                    intake.push(all[n].clone(), now);
                }
                shown.extend(intake.frames(now));
            }
            shown.extend(intake.frames(t + Duration::from_secs(60)));
            let mut last = None;
            for picture in &shown {
                let n = number(picture);
                let parts = if n.is_multiple_of(10) { 10 } else { 2 };
                prop_assert_eq!(picture.payload.len(), parts + 2, "whole");
                prop_assert_eq!(picture.keyframe, n.is_multiple_of(10));
                prop_assert!(picture.keyframe || last == Some(n - 1), "{} after {:?}", n, last);
                prop_assert!(last.is_none_or(|last| last < n));
                last = Some(n);
            }
        }
    }
}
