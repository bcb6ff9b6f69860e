//! An H.264 track of the source: its access units, waiting for the slots that show their pictures.

use std::collections::VecDeque;

use timeline::{Frame, MediaTime, Span, TrackId};

use super::units::{Refusal, Shape, Unit, Units};

/// Access units of a track that wait for their slots: as many as pictures do, at most (see [`crate::picture`]).
const MOST_WAITING: usize = 160;
/// Of their bytes: two seconds at 64 Mbit/s.
const MOST_BYTES: usize = 16 * 1024 * 1024;
/// Two pictures are further apart than this; their times have been through nanoseconds.
const ROUNDING: Span = Span::from_millis(1);

pub struct Lane {
    pub track: TrackId,
    units: Units,
    waiting: VecDeque<Unit>,
    /// Why the newest cannot be copied, if it cannot.
    pub refused: Option<Refusal>,
}

impl Lane {
    pub fn of(track: TrackId) -> Self {
        Lane {
            track,
            units: Units::default(),
            waiting: VecDeque::new(),
            refused: None,
        }
    }

    /// Frames were lost.
    pub fn lost(&mut self) {
        self.units.lost();
    }

    pub fn newest(&self) -> Option<&Unit> {
        self.waiting.back()
    }

    /// Whether one that needs no other waits for its slot.
    pub fn has_idr(&self) -> bool {
        self.waiting.iter().any(Unit::is_idr)
    }

    pub fn push(&mut self, frame: &Frame, shape: Shape) {
        match self.units.read(frame, shape) {
            Ok(unit) => {
                self.refused = None;
                self.waiting.push_back(unit);
                self.limit();
            }
            // Told by the one before it.
            Err(Refusal::Missing) if self.refused.is_some() => {}
            Err(refusal) => self.refused = Some(refusal),
        }
    }

    fn limit(&mut self) {
        let bytes = |units: &VecDeque<Unit>| units.iter().map(|unit| unit.payload.len()).sum::<usize>();
        while self.waiting.len() > MOST_WAITING || bytes(&self.waiting) > MOST_BYTES {
            self.waiting.pop_front();
        }
    }

    /// The access unit of a shown picture. Those before it no slot will show.
    pub fn take(&mut self, at: MediaTime) -> Option<Unit> {
        while let Some(unit) = self.waiting.pop_front_if(|unit| unit.at <= at + ROUNDING) {
            if at <= unit.at + ROUNDING {
                return Some(unit);
            }
        }
        None
    }
}
