//! What went into the encoders, and what has come out.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use timeline::MediaTime;
use tokio::sync::Notify;

use crate::sound::frame_start;

/// Slots between the first encoder and the slowest: 23 MB of 720p, and half a second.
pub const MAX_IN_FLIGHT: i64 = 16;

/// Packets that AAC's first window makes before the first sample: 1,024 samples of priming. They are left out,
/// so that decoded sound stands at its media time.
const PRIMING: i64 = 1;

/// The slot after the last one that each rung has encoded.
pub struct Slots {
    rungs: Vec<AtomicI64>,
    moved: Arc<Notify>,
}

impl Slots {
    /// `moved` is told whenever a slot left an encoder.
    pub fn starting(first: i64, rungs: usize, moved: Arc<Notify>) -> Self {
        let rungs = (0..rungs).map(|_| AtomicI64::new(first)).collect();
        Slots { rungs, moved }
    }

    pub fn encoded(&self, rung: usize, slot: i64) {
        self.rungs[rung].store(slot + 1, Ordering::Release);
        self.moved.notify_one();
    }

    /// Whether the encoders take another picture, `next` being the next slot and `top` the last one that the top rung's
    /// was given.
    pub fn have_room(&self, next: i64, top: i64) -> bool {
        let encoded = self.rungs.iter().map(|slot| slot.load(Ordering::Acquire));
        // An encoder that has put out all it was given waits for nothing, however many slots were copied since.
        let behind = encoded.enumerate().filter(|(n, slot)| *n > 0 || *slot <= top);
        let slowest = behind.map(|(_, slot)| slot).min().unwrap_or(next);
        next - slowest < MAX_IN_FLIGHT
    }
}

/// Counts AAC frames in and packets out: each packet stands on the grid of frames, whatever its timestamp.
pub struct Packets {
    first: i64,
    frames: AtomicI64,
    packets: AtomicI64,
}

impl Packets {
    pub fn starting(first: i64) -> Self {
        Packets {
            first,
            frames: AtomicI64::new(0),
            packets: AtomicI64::new(0),
        }
    }

    /// A frame goes in.
    pub fn frame(&self) {
        self.frames.fetch_add(1, Ordering::AcqRel);
    }

    /// A packet has come out. Gives where it stands; nothing for what comes before the first sample, and for the padding
    /// behind the last.
    pub fn packet(&self) -> Option<MediaTime> {
        let packet = self.packets.fetch_add(1, Ordering::AcqRel) - PRIMING;
        let is_sound = packet >= 0 && packet < self.frames.load(Ordering::Acquire);
        is_sound.then(|| frame_start(self.first + packet))
    }
}
