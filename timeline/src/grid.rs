//! The grid of a broadcast: where pictures, keyframes, parts and segments stand on the line.
//!
//! All of it counts from the origin, so every rendition, and every process that takes the line up again, cuts
//! at the same places.

use serde::{Deserialize, Serialize};

use crate::{MediaTime, Span};

/// One AAC frame: 1,024 samples at 48 kHz.
pub const AAC_FRAME: Span = Span::from_ticks(1_920);

/// Fixed when the broadcast is created: players stop for good when one of these changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grid {
    /// The span of one picture.
    pub frame: Span,
    /// Pictures in a closed GOP.
    pub gop_frames: u32,
    /// GOPs in a segment.
    pub segment_gops: u32,
    /// Pictures in a part.
    pub part_frames: u32,
}

/// Where a part stands: part `part` of segment `msn`. The same in every rendition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartIndex {
    pub msn: u64,
    pub part: u32,
}

impl Default for Grid {
    /// 30 fps; a GOP of 48 frames = 1.6 s = exactly 75 AAC frames; a segment of 3.2 s; a part of 200 ms.
    fn default() -> Self {
        Grid {
            frame: Span::from_ticks(3_000),
            gop_frames: 48,
            segment_gops: 2,
            part_frames: 6,
        }
    }
}

impl Grid {
    pub fn gop(&self) -> Span {
        self.frame.times(i64::from(self.gop_frames))
    }

    pub fn segment(&self) -> Span {
        self.gop().times(i64::from(self.segment_gops))
    }

    pub fn part(&self) -> Span {
        self.frame.times(i64::from(self.part_frames))
    }

    pub fn parts_per_segment(&self) -> u32 {
        (self.segment().ticks() / self.part().ticks()) as u32
    }

    /// The longest a part of any rendition can be: an audio part holds every frame that *starts* within the
    /// part, so it may be one AAC frame short of a whole frame longer than the video part.
    pub fn longest_part(&self) -> Span {
        let audio_frames = (self.part().ticks() + AAC_FRAME.ticks() - 1) / AAC_FRAME.ticks();
        AAC_FRAME.times(audio_frames).max(self.part())
    }

    /// The number of the slot that a moment falls in. Moments before the origin have negative slots.
    pub fn slot(&self, at: MediaTime) -> i64 {
        at.ticks().div_euclid(self.frame.ticks())
    }

    pub fn slot_start(&self, slot: i64) -> MediaTime {
        MediaTime::ZERO + self.frame.times(slot)
    }

    /// Whether an IDR stands on this slot in every rung.
    pub fn is_keyframe_slot(&self, slot: i64) -> bool {
        slot.rem_euclid(i64::from(self.gop_frames)) == 0
    }

    /// MSN = ⌊media time / segment duration⌋, always.
    pub fn msn(&self, at: MediaTime) -> u64 {
        at.ticks().div_euclid(self.segment().ticks()).max(0) as u64
    }

    pub fn segment_start(&self, msn: u64) -> MediaTime {
        MediaTime::ZERO + self.segment().times(msn as i64)
    }

    /// A frame belongs to the part that holds its start.
    pub fn part_index(&self, at: MediaTime) -> PartIndex {
        let within = at.ticks().max(0) % self.segment().ticks();
        PartIndex {
            msn: self.msn(at),
            part: (within / self.part().ticks()) as u32,
        }
    }

    pub fn part_start(&self, index: PartIndex) -> MediaTime {
        self.segment_start(index.msn) + self.part().times(i64::from(index.part))
    }

    /// The part after this one.
    pub fn next_part(&self, index: PartIndex) -> PartIndex {
        if index.part + 1 < self.parts_per_segment() {
            PartIndex {
                part: index.part + 1,
                ..index
            }
        } else {
            PartIndex {
                msn: index.msn + 1,
                part: 0,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_grid_is_the_one_of_the_design() {
        let g = Grid::default();
        assert_eq!(g.gop(), Span::from_millis(1600));
        assert_eq!(g.gop(), AAC_FRAME.times(75));
        assert_eq!(g.segment(), Span::from_millis(3200));
        assert_eq!(g.part(), Span::from_millis(200));
        assert_eq!(g.parts_per_segment(), 16);
        assert_eq!(g.longest_part(), AAC_FRAME.times(10));
    }

    #[test]
    fn parts_of_audio_are_nine_or_ten_frames_and_fill_the_segment() {
        let g = Grid::default();
        let mut counts = vec![0u32; 16];
        for n in 0..150 {
            let at = MediaTime::ZERO + AAC_FRAME.times(n);
            assert_eq!(g.msn(at), 0);
            counts[g.part_index(at).part as usize] += 1;
        }
        assert!(counts.iter().all(|c| *c == 9 || *c == 10), "{counts:?}");
        assert_eq!(g.msn(MediaTime::ZERO + AAC_FRAME.times(150)), 1);
    }

    #[test]
    fn slots_before_the_origin_are_negative() {
        let g = Grid::default();
        assert_eq!(g.slot(MediaTime::from_ticks(-1)), -1);
        assert_eq!(g.slot(MediaTime::ZERO), 0);
        assert!(g.is_keyframe_slot(-48) && g.is_keyframe_slot(96) && !g.is_keyframe_slot(47));
    }

    #[test]
    fn next_part_rolls_into_the_next_segment() {
        let g = Grid::default();
        let mut index = PartIndex { msn: 0, part: 0 };
        for n in 0..100 {
            assert_eq!(g.part_start(index), MediaTime::ZERO + g.part().times(n));
            assert_eq!(g.part_index(g.part_start(index)), index);
            index = g.next_part(index);
        }
    }
}
