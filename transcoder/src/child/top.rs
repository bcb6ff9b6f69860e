//! The top rung in the making where the source may be passed through: its own pictures, and the encoder's in between.

use timeline::feed::Record;
use timeline::{Grid, MediaTime};

use crate::Config;
use crate::copy::{Copier, Refusal, Splice};
use crate::encode::{self, Encoded, TOP};
use crate::line::Start;
use crate::scene::{Picture, Scene};

pub struct Top {
    copier: Copier,
    grid: Grid,
    splice: Splice<Encoded>,
    copied: u64,
    /// Why the source is not copied, as it was told last.
    told: Option<Refusal>,
}

impl Top {
    pub fn new(config: &Config, grid: Grid, start: Start) -> Self {
        Top {
            copier: Copier::new(grid, encode::shape(config)),
            grid,
            splice: Splice::starting(start.slot),
            copied: 0,
            told: None,
        }
    }

    pub fn hear(&mut self, record: &Record) {
        self.copier.hear(record);
    }

    /// Records of the source were lost.
    pub fn lost(&mut self) {
        self.copier.lost();
    }

    /// Whether this slot holds the source's own picture. Else it is to be encoded.
    pub fn copies(&mut self, slot: i64, scene: &Scene<Picture>) -> bool {
        let alone = scene.single().filter(|shown| shown.fresh);
        let decided = self.copier.slot(slot, alone.map(|shown| (shown.track, shown.at)));
        let copied = decided.copy.is_some();
        self.copied += u64::from(copied);
        if let Some(rendition) = decided.renewed {
            self.splice.before(slot, Encoded::Rendition(rendition));
        }
        if let Some(frame) = decided.copy {
            self.splice.picture(slot, Encoded::Frame(frame));
        }
        copied
    }

    /// What the encoders put out. What stands in no slot of this rung comes back at once.
    pub fn take(&mut self, encoded: Encoded) -> Option<Encoded> {
        match encoded {
            Encoded::Frame(frame) if frame.track == TOP => {
                let slot = self.grid.slot(frame.at);
                self.splice.picture(slot, Encoded::Frame(frame));
                return None;
            }
            Encoded::Rendition(ref rendition) if rendition.id == TOP => self.copier.rung(rendition),
            _ => {}
        }
        Some(encoded)
    }

    /// What leaves next, in the order of the slots.
    pub fn next(&mut self) -> Option<Encoded> {
        self.splice.take()
    }

    pub fn wants_keyframe(&mut self, now: MediaTime) -> bool {
        self.copier.wants_keyframe(now)
    }

    /// Slots that were copied since the last call.
    pub fn take_copied(&mut self) -> u64 {
        std::mem::take(&mut self.copied)
    }

    /// Why the source cannot be copied, once for each reason. A picture that is missing is none: the next keyframe mends
    /// it.
    pub fn take_refusal(&mut self) -> Option<&Refusal> {
        let refused = self.copier.refused().filter(|why| **why != Refusal::Missing)?;
        if self.told.as_ref() == Some(refused) {
            return None;
        }
        Some(self.told.insert(refused.clone()))
    }
}
