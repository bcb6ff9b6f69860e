//! Lines up the cuts of all renditions, so that part k of segment M becomes visible in all of them at once.
//!
//! So every rendition report equals the reporting playlist's own values, and switching players find the part
//! they ask for.

use std::collections::VecDeque;

use timeline::{MediaTime, PartIndex, Span};

use crate::part::Cut;

/// Parts a rendition may be ahead of another: 12.8 s on the default grid, more than a respawned encoder needs
/// to catch up. Gaps weigh nothing and are not counted.
const MOST_AHEAD: usize = 64;

/// One part of every rendition, in the ladder's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub index: PartIndex,
    pub cuts: Vec<Cut>,
}

pub struct Barrier {
    lanes: Vec<VecDeque<Cut>>,
    /// How far each rendition has come.
    ends: Vec<MediaTime>,
    /// The first segment that begins in every rendition is known.
    aligned: bool,
}

/// One rendition has stopped while the others go on.
#[derive(Debug, PartialEq, Eq)]
pub struct Silent {
    pub lane: usize,
    pub ahead: Span,
}

impl Barrier {
    pub fn new(renditions: usize) -> Barrier {
        let (lanes, ends) = (
            vec![VecDeque::new(); renditions],
            vec![MediaTime::ZERO; renditions],
        );
        Barrier {
            lanes,
            ends,
            aligned: false,
        }
    }

    /// Takes the next cut of one rendition; gives the rows that are complete now.
    pub fn push(&mut self, lane: usize, cut: Cut) -> Result<Vec<Row>, Silent> {
        self.add(lane, cut);
        let rows: Vec<Row> = std::iter::from_fn(|| self.row()).collect();
        match self.lanes[lane].iter().filter(|cut| !cut.gap).count() > MOST_AHEAD {
            true => Err(self.silent(lane)),
            false => Ok(rows),
        }
    }

    /// The line is over; `open` are the cuts that were not whole yet. What is left ends where the first
    /// rendition ends (or at `end`), so that ends differ by less than a frame; a part that some rendition has
    /// nothing of is left out.
    pub fn finish(mut self, open: impl IntoIterator<Item = Option<Cut>>, end: Option<MediaTime>) -> Vec<Row> {
        for (lane, cut) in open.into_iter().enumerate() {
            cut.into_iter().for_each(|cut| self.add(lane, cut));
        }
        let Some(end) = self.ends.iter().copied().chain(end).min() else {
            return Vec::new();
        };
        for lane in &mut self.lanes {
            lane.retain(|cut| cut.start < end);
            if let Some(last) = lane.back_mut() {
                trim(last, end);
            }
        }
        std::iter::from_fn(|| self.row()).collect()
    }

    fn add(&mut self, lane: usize, cut: Cut) {
        self.ends[lane] = cut.end();
        self.lanes[lane].push_back(cut);
    }

    fn row(&mut self) -> Option<Row> {
        if !self.aligned {
            self.align()?;
        }
        if self.lanes.iter().any(VecDeque::is_empty) {
            return None;
        }
        let cuts: Vec<Cut> = self.lanes.iter_mut().filter_map(VecDeque::pop_front).collect();
        Some(Row {
            index: cuts.first()?.index,
            cuts,
        })
    }

    /// Drops the segments that some rendition does not have; from then on all have the same cuts.
    fn align(&mut self) -> Option<()> {
        let firsts: Option<Vec<u64>> = self
            .lanes
            .iter()
            .map(|lane| Some(lane.front()?.index.msn))
            .collect();
        let first = firsts?.into_iter().max()?;
        for lane in &mut self.lanes {
            lane.retain(|cut| cut.index.msn >= first);
        }
        // A rendition whose cuts were all too early has to bring its first part yet.
        self.aligned = self
            .lanes
            .iter()
            .all(|lane| lane.front().is_some_and(|cut| cut.index.part == 0));
        self.aligned.then_some(())
    }

    fn silent(&self, ahead: usize) -> Silent {
        let behind = self.lanes.iter().position(VecDeque::is_empty).unwrap_or(ahead);
        Silent {
            lane: behind,
            ahead: self.ends[ahead] - self.ends[behind],
        }
    }
}

/// Leaves the frames that start before the end.
fn trim(cut: &mut Cut, end: MediaTime) {
    let count = cut.frames.len() as i64;
    cut.frames.retain(|frame| frame.at < end);
    cut.duration = match count {
        0 => cut.duration.min(end - cut.start),
        _ => Span::from_ticks(cut.duration.ticks() / count * cut.frames.len() as i64),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segmenter::Segmenter;
    use crate::testing::{audio_media, frame, frames, video_media};
    use proptest::prelude::*;
    use timeline::{Frame, Grid};

    /// The ladder of `testing`, cut.
    struct Cutter(Vec<Segmenter>, Barrier);

    impl Cutter {
        fn new() -> Cutter {
            let media = [video_media(), video_media(), audio_media()];
            Cutter(
                media.map(|media| Segmenter::new(Grid::default(), media)).into(),
                Barrier::new(3),
            )
        }

        fn push(&mut self, frame: Frame) -> Result<Vec<Row>, Silent> {
            let lane = frame.track.0 as usize - 1;
            let mut rows = Vec::new();
            for cut in self.0[lane].push(frame) {
                rows.extend(self.1.push(lane, cut)?);
            }
            Ok(rows)
        }

        fn finish(self, end: Option<MediaTime>) -> Vec<Row> {
            self.1.finish(self.0.into_iter().map(Segmenter::finish), end)
        }
    }

    #[test]
    fn a_part_is_visible_when_every_rendition_has_it() {
        let mut cutter = Cutter::new();
        let (audio, video): (Vec<_>, Vec<_>) =
            frames(1_000).into_iter().partition(|frame| frame.track.0 == 3);
        assert!(
            video
                .into_iter()
                .all(|frame| cutter.push(frame).unwrap().is_empty())
        );
        let rows: Vec<_> = audio
            .into_iter()
            .flat_map(|frame| cutter.push(frame).unwrap())
            .collect();
        assert_eq!(
            rows.iter().map(|row| row.index.part).collect::<Vec<_>>(),
            [0, 1, 2, 3, 4]
        );
    }

    #[test]
    fn a_rendition_that_falls_silent_is_named() {
        let mut cutter = Cutter::new();
        let told = frames(60_000).into_iter().filter(|frame| frame.track.0 != 2);
        let silent = told
            .map(|frame| cutter.push(frame))
            .find_map(Result::err)
            .unwrap();
        assert_eq!(silent.lane, 1);
        assert!(silent.ahead > Span::from_millis(12_800));
    }

    #[test]
    fn the_line_begins_with_the_first_segment_that_all_have() {
        let mut cutter = Cutter::new();
        let late = frames(7_000)
            .into_iter()
            .filter(|frame| frame.track.0 != 3 || frame.at.ticks() > 1_920);
        let rows: Vec<_> = late.flat_map(|frame| cutter.push(frame).unwrap()).collect();
        assert_eq!(rows[0].index, PartIndex { msn: 0, part: 0 });

        let mut cutter = Cutter::new();
        let late = frames(7_000)
            .into_iter()
            .filter(|frame| frame.track.0 != 3 || frame.at.ticks() > 90_000);
        let rows: Vec<_> = late.flat_map(|frame| cutter.push(frame).unwrap()).collect();
        assert_eq!(rows[0].index, PartIndex { msn: 1, part: 0 });
    }

    #[test]
    fn the_ends_differ_by_less_than_a_frame() {
        let mut cutter = Cutter::new();
        // The sound stops 100 ms before the picture.
        let told = frames(1_000)
            .into_iter()
            .filter(|frame| frame.track.0 != 3 || frame.at.ticks() < 81_000);
        let mut rows: Vec<_> = told.flat_map(|frame| cutter.push(frame).unwrap()).collect();
        rows.extend(cutter.finish(None));
        let ends: Vec<_> = rows
            .last()
            .unwrap()
            .cuts
            .iter()
            .map(|cut| cut.end().ticks())
            .collect();
        assert_eq!(ends, [84_000, 84_000, 82_560]);
    }

    #[test]
    fn nothing_follows_the_end() {
        let mut cutter = Cutter::new();
        let mut rows: Vec<_> = frames(500)
            .into_iter()
            .flat_map(|frame| cutter.push(frame).unwrap())
            .collect();
        rows.extend(cutter.finish(Some(MediaTime::from_ticks(39_000))));
        let ends: Vec<_> = rows
            .last()
            .unwrap()
            .cuts
            .iter()
            .map(|cut| cut.end().ticks())
            .collect();
        assert_eq!(ends, [39_000, 39_000, 40_320]);
    }

    proptest! {
        /// However the renditions interleave, and whatever one of them loses: each row holds the same part of
        /// every rendition, and rows follow each other.
        #[test]
        fn cut_points_are_the_same_in_all_renditions(
            shift in prop::array::uniform3(0i64..40_000),
            lost in 0i64..900_000,
            track in 1u32..4,
        ) {
            let mut told: Vec<_> = frames(10_000)
                .into_iter()
                .filter(|frame| frame.track.0 != track || !(lost..lost + 9_000).contains(&frame.at.ticks()))
                .collect();
            told.sort_by_key(|frame| frame.at.ticks() + shift[frame.track.0 as usize - 1]);
            let mut cutter = Cutter::new();
            let mut rows: Vec<_> = told.into_iter().flat_map(|frame| cutter.push(frame).unwrap()).collect();
            rows.extend(cutter.finish(None));
            let grid = Grid::default();
            for row in &rows {
                prop_assert_eq!(row.cuts.len(), 3);
                for cut in &row.cuts {
                    prop_assert_eq!(cut.index, row.index);
                    prop_assert!(grid.part_start(row.index) <= cut.start);
                    prop_assert!(cut.start - grid.part_start(row.index) < timeline::AAC_FRAME.max(grid.frame));
                }
            }
            for pair in rows.windows(2) {
                prop_assert_eq!(grid.next_part(pair[0].index), pair[1].index);
            }
            let ends: Vec<_> = rows.last().unwrap().cuts.iter().map(|cut| cut.end().ticks()).collect();
            prop_assert!(ends.iter().max().unwrap() - ends.iter().min().unwrap() < 3_000);
        }
    }

    #[test]
    fn a_first_frame_that_is_no_keyframe_is_no_start() {
        let mut cutter = Cutter::new();
        assert_eq!(cutter.push(frame(1, 0, false)), Ok(vec![]));
    }
}
