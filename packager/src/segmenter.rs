//! Cuts the frames of one rendition into parts, on the grid.
//!
//! A frame belongs to the part that holds its start, and a part closes with its last frame: the next one would
//! start in another part. Where frames are missing the cuts say so: a hole lasts until a frame heads a segment
//! again, since players can only start there.

use timeline::{AAC_FRAME, Frame, Grid, Media, MediaTime, Span};

use crate::part::Cut;

/// Encoders round their timestamps; a frame this close to its place is in its place.
const TOLERANCE: Span = Span::from_millis(1);

/// A frame further ahead than this is no hole but a mistake.
const LONGEST_HOLE: Span = Span::from_millis(600_000);

pub struct Segmenter {
    grid: Grid,
    /// How long each frame lasts.
    frame: Span,
    audio: bool,
    /// Where the next frame starts; `None` before the first.
    next: Option<MediaTime>,
    open: Option<Cut>,
    /// From `next` on frames are missing.
    hole: bool,
    dropped: u64,
}

impl Segmenter {
    pub fn new(grid: Grid, media: Media) -> Segmenter {
        let (frame, audio) = match media {
            Media::Video { frame, .. } => (frame, false),
            Media::Audio { .. } => (AAC_FRAME, true),
        };
        Segmenter {
            grid,
            frame,
            audio,
            next: None,
            open: None,
            hole: false,
            dropped: 0,
        }
    }

    /// Takes the next frame; gives the cuts that it closed: none or one, or a run of gaps after a hole.
    pub fn push(&mut self, mut frame: Frame) -> Vec<Cut> {
        frame.keyframe |= self.audio;
        let Some(next) = self.next else {
            return self.begin(frame);
        };
        let off = frame.at - next;
        if off < -TOLERANCE || off > LONGEST_HOLE {
            self.dropped += 1;
            return Vec::new();
        }
        self.hole |= off > TOLERANCE || (!frame.keyframe && self.heads_segment(next));
        if !self.hole {
            frame.at = next;
            return self.append(frame).into_iter().collect();
        }
        if frame.keyframe && self.heads_segment(frame.at) {
            let mut cuts = self.gaps(frame.at);
            cuts.extend(self.append(frame));
            return cuts;
        }
        self.dropped += 1;
        Vec::new()
    }

    /// The part that was open when the line ended.
    pub fn finish(self) -> Option<Cut> {
        self.open
    }

    /// The first segment of which no frame has come.
    pub fn next_head(&self) -> u64 {
        let next = self.next.unwrap_or(MediaTime::ZERO);
        let msn = self.grid.msn(next);
        if self.next.is_none() || self.heads_segment(next) {
            msn
        } else {
            msn + 1
        }
    }

    /// Frames that had no place: late, early, or in a hole.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// A line may begin in the first part of any segment. (Later would do too, were a part's number not its
    /// place in the playlist.)
    fn begin(&mut self, frame: Frame) -> Vec<Cut> {
        if frame.at >= MediaTime::ZERO && frame.keyframe && self.grid.part_index(frame.at).part == 0 {
            return self.append(frame).into_iter().collect();
        }
        self.dropped += 1;
        Vec::new()
    }

    /// Whether a frame at this time is the first of its segment. The second one, told a little early, is not.
    fn heads_segment(&self, at: MediaTime) -> bool {
        at - self.grid.segment_start(self.grid.msn(at)) < self.frame - TOLERANCE
    }

    fn append(&mut self, frame: Frame) -> Option<Cut> {
        let next = frame.at + self.frame;
        self.next = Some(next);
        self.hole = false;
        let open = self.open.get_or_insert_with(|| Cut {
            index: self.grid.part_index(frame.at),
            start: frame.at,
            frames: Vec::new(),
            duration: Span::ZERO,
            gap: false,
        });
        open.frames.push(frame);
        open.duration = next - open.start;
        if self.grid.part_index(next) == open.index {
            return None;
        }
        self.open.take()
    }

    /// The cuts from the one that was open (or would have been next) up to the frame at `until`.
    fn gaps(&mut self, until: MediaTime) -> Vec<Cut> {
        let mut start = match self.open.take() {
            Some(cut) => cut.start,
            None => self.next.unwrap_or(until),
        };
        let mut cuts = Vec::new();
        while start < until {
            let index = self.grid.part_index(start);
            let mut end = start + self.frame;
            while end < until && self.grid.part_index(end) == index {
                end += self.frame;
            }
            // The last gap ends where the frame starts, however the encoder rounded.
            let end = if end < until && until - end > TOLERANCE {
                end
            } else {
                until
            };
            cuts.push(Cut {
                index,
                start,
                frames: Vec::new(),
                duration: end - start,
                gap: true,
            });
            start = end;
        }
        cuts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{audio_media, frame, video_media};
    use proptest::prelude::*;
    use timeline::PartIndex;

    const SLOT: i64 = 3_000;

    fn video(n: i64) -> Frame {
        frame(1, n * SLOT, n % 48 == 0)
    }

    fn cut_video(slots: impl IntoIterator<Item = i64>) -> (Vec<Cut>, Segmenter) {
        let mut segmenter = Segmenter::new(Grid::default(), video_media());
        let cuts = slots.into_iter().flat_map(|n| segmenter.push(video(n))).collect();
        (cuts, segmenter)
    }

    #[test]
    fn a_part_closes_with_its_last_frame() {
        let (cuts, segmenter) = cut_video(0..5);
        assert!(cuts.is_empty());
        let (cuts, _) = cut_video(0..6);
        assert_eq!(cuts.len(), 1);
        assert_eq!(cuts[0].index, PartIndex { msn: 0, part: 0 });
        assert_eq!(
            (cuts[0].frames.len(), cuts[0].duration),
            (6, Span::from_millis(200))
        );
        assert!(cuts[0].independent());
        let open = segmenter.finish().unwrap();
        assert_eq!(
            (open.frames.len(), open.duration),
            (5, Span::from_ticks(5 * SLOT))
        );
    }

    #[test]
    fn audio_parts_hold_the_frames_that_start_in_them() {
        let mut segmenter = Segmenter::new(Grid::default(), audio_media());
        let cuts: Vec<_> = (0..150)
            .flat_map(|n| segmenter.push(frame(2, n * 1920, false)))
            .collect();
        let counts: Vec<_> = cuts.iter().map(|cut| cut.frames.len()).collect();
        assert_eq!(counts, [10, 9, 10, 9, 9, 10, 9, 9, 10, 9, 10, 9, 9, 10, 9, 9]);
        assert!(cuts.iter().all(Cut::independent));
        assert_eq!(cuts.last().unwrap().end(), MediaTime::from_ticks(288_000));
    }

    #[test]
    fn a_line_begins_with_a_keyframe_in_the_first_part_of_a_segment() {
        let (cuts, segmenter) = cut_video(48..108);
        assert_eq!(cuts[0].index, PartIndex { msn: 1, part: 0 });
        assert_eq!(segmenter.dropped(), 48);
    }

    #[test]
    fn a_hole_lasts_until_a_frame_heads_a_segment() {
        let (cuts, segmenter) = cut_video((0..20).chain(50..110));
        // Parts 0 to 2 came whole; 3 to 15 of segment 0 are gaps that end where segment 1 begins.
        let gaps: Vec<_> = cuts.iter().filter(|cut| cut.gap).collect();
        assert_eq!(gaps.len(), 13);
        assert_eq!(gaps[0].index, PartIndex { msn: 0, part: 3 });
        assert!(gaps.iter().all(|cut| cut.duration == Span::from_millis(200)));
        assert_eq!(cuts[16].index, PartIndex { msn: 1, part: 0 });
        assert_eq!((cuts[16].gap, cuts[16].frames.len()), (false, 6));
        assert_eq!(segmenter.dropped(), 46);
    }

    #[test]
    fn a_segment_without_a_keyframe_at_its_head_is_a_gap() {
        let mut segmenter = Segmenter::new(Grid::default(), video_media());
        let cuts: Vec<_> = (0..198)
            .flat_map(|n| segmenter.push(frame(1, n * SLOT, n == 0 || n == 192)))
            .collect();
        assert_eq!(
            cuts.iter()
                .filter(|cut| cut.gap)
                .map(|cut| cut.index.msn)
                .collect::<Vec<_>>(),
            [1; 16]
        );
        assert_eq!(cuts.last().unwrap().index, PartIndex { msn: 2, part: 0 });
    }

    #[test]
    fn frames_that_came_already_and_frames_from_nowhere_are_dropped() {
        let (_, mut segmenter) = cut_video(0..10);
        assert!(segmenter.push(video(3)).is_empty());
        assert!(segmenter.push(frame(1, i64::MAX / 2, true)).is_empty());
        assert!(segmenter.push(frame(1, i64::MIN / 2, true)).is_empty());
        assert_eq!(segmenter.dropped(), 3);
        assert_eq!(
            segmenter.push(video(10)).len() + segmenter.push(video(11)).len(),
            1
        );
    }

    proptest! {
        /// Whatever is lost: cuts follow each other without a step, each begins in its part, none is longer
        /// than the part target, and frames are contiguous in those that are no gaps.
        #[test]
        fn cuts_never_lie_about_durations(
            lost in prop::collection::vec(0i64..1500, 0..6),
            run in 1i64..40,
            audio in any::<bool>(),
        ) {
            let grid = Grid::default();
            let span = if audio { AAC_FRAME.ticks() } else { SLOT };
            let media = if audio { audio_media() } else { video_media() };
            let mut segmenter = Segmenter::new(grid, media);
            let frames = (0..1500).filter(|n| !lost.iter().any(|from| (*from..from + run).contains(n)));
            let mut cuts: Vec<_> = frames
                .flat_map(|n| segmenter.push(frame(1, n * span, n % 48 == 0)))
                .collect();
            cuts.extend(segmenter.finish());
            for pair in cuts.windows(2) {
                prop_assert_eq!(pair[0].end(), pair[1].start);
                prop_assert_eq!(grid.next_part(pair[0].index), pair[1].index);
            }
            for cut in &cuts {
                prop_assert_eq!(grid.part_index(cut.start), cut.index);
                prop_assert!(cut.duration <= grid.longest_part());
                prop_assert_eq!(cut.gap, cut.frames.is_empty());
                for (n, frame) in cut.frames.iter().enumerate() {
                    prop_assert_eq!(frame.at, cut.start + Span::from_ticks(span).times(n as i64));
                }
            }
        }
    }
}
