//! The storyboard: a WebVTT file of one cue per segment, whose text names the segment's still. Players show it while
//! somebody drags their seek bar.
//!
//! ```text
//! WEBVTT
//!
//! 00:00:00.000 --> 00:00:03.200
//! 0.jpg#xywh=0,0,256,144
//! ```
//!
//! A cue stands at its segment's place in the presentation, as players count it: the first segment listed begins at 0.
//! A gap has no cue, and no cue reaches into one. Each still is a file of its own and no sheet of many: a sheet would
//! change as long as it fills, and a single picture never does. Text is only ever added at the end, so a storyboard
//! goes on from what the archive has of it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use bytes::Bytes;
use timeline::{Grid, MediaTime, Span, Stills, TICKS_PER_SECOND};

use crate::part::Segment;

/// The folder of the stills and their storyboard.
pub const FOLDER: &str = "thumbs";
pub const STORYBOARD: &str = "storyboard.vtt";

const HEAD: &str = "WEBVTT\n\n";

/// Stills that may wait for their segment, and segments for their still: the barrier's renditions are no further
/// apart.
const MOST_WAITING: usize = 16;

/// Far more than a small picture needs.
pub const LARGEST_STILL: usize = 256 * 1024;

pub fn still_name(msn: u64) -> String {
    format!("{msn}.jpg")
}

pub struct Storyboard {
    stills: Stills,
    grid: Grid,
    /// What came before.
    head: String,
    /// The first segment that is listed; it begins at 0.
    first: Option<u64>,
    /// The first that is not closed.
    next: u64,
    /// Stills of segments that are not closed yet.
    stills_waiting: BTreeMap<u64, Bytes>,
    /// Closed segments whose still has not come.
    segments_waiting: VecDeque<(u64, MediaTime, Span)>,
    fresh: Cues,
}

/// What was added to a storyboard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cues {
    pub text: String,
    /// The stills that the text names, by their MSN.
    pub stills: Vec<(u64, Bytes)>,
}

/// A text that is no storyboard of this line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {0} of the storyboard is not as this server writes it")]
pub struct Foreign(usize);

impl Storyboard {
    /// `first`: the first segment that is listed, if any is yet; else that is the first one closed.
    pub fn new(stills: Stills, grid: Grid, first: Option<u64>) -> Storyboard {
        Storyboard {
            stills,
            grid,
            head: HEAD.to_owned(),
            first,
            next: 0,
            stills_waiting: BTreeMap::new(),
            segments_waiting: VecDeque::new(),
            fresh: Cues::default(),
        }
    }

    /// Goes on from the text that the archive has; its stills are there, too. `first` is the first MSN that the
    /// archive's playlists list.
    pub fn resume(stills: Stills, grid: Grid, first: u64, text: &[u8]) -> Result<Storyboard, Foreign> {
        let text = std::str::from_utf8(text).map_err(|_| Foreign(1))?;
        let next = check(text, grid, first)?;
        Ok(Storyboard {
            head: text.to_owned(),
            next,
            ..Storyboard::new(stills, grid, Some(first))
        })
    }

    /// The text before anything was added.
    pub fn head(&self) -> &str {
        &self.head
    }

    pub fn track(&self) -> timeline::TrackId {
        self.stills.id
    }

    /// The stills of this line are announced again, by a respawned encoder.
    pub fn announce(&mut self, stills: Stills) {
        self.stills = stills;
    }

    /// Takes a still; `false` if there is no place for it.
    pub fn still(&mut self, at: MediaTime, jpeg: Bytes) -> bool {
        let msn = self.grid.msn(at);
        if jpeg.len() > LARGEST_STILL || at < MediaTime::ZERO {
            return false;
        }
        // They come in order: what precedes this one never comes.
        self.segments_waiting.retain(|(waiting, ..)| *waiting >= msn);
        if msn >= self.next {
            let room = self.stills_waiting.len() < MOST_WAITING;
            if room {
                self.stills_waiting.insert(msn, jpeg);
            }
            return room;
        }
        let segment = self
            .segments_waiting
            .pop_front_if(|(waiting, ..)| *waiting == msn);
        segment.map(|segment| self.cue(segment, jpeg)).is_some()
    }

    /// A segment was closed; in order, one of the renditions stands for all.
    pub fn close(&mut self, segment: &Segment) {
        self.first.get_or_insert(segment.msn);
        self.next = segment.msn + 1;
        let still = self.stills_waiting.remove(&segment.msn);
        self.stills_waiting.retain(|msn, _| *msn > segment.msn);
        let place = (segment.msn, segment.start, segment.duration);
        match still {
            _ if segment.gap => {}
            Some(jpeg) => self.cue(place, jpeg),
            None => {
                self.segments_waiting.push_back(place);
                if self.segments_waiting.len() > MOST_WAITING {
                    self.segments_waiting.pop_front();
                }
            }
        }
    }

    /// What was added since the last time.
    pub fn take(&mut self) -> Cues {
        std::mem::take(&mut self.fresh)
    }

    fn cue(&mut self, (msn, start, duration): (u64, MediaTime, Span), jpeg: Bytes) {
        let begins = start - self.grid.segment_start(self.first.unwrap_or(msn));
        let Stills { width, height, .. } = self.stills;
        self.fresh.text.push_str(&format!(
            "{} --> {}\n{}#xywh=0,0,{width},{height}\n\n",
            Timestamp(begins),
            Timestamp(begins + duration),
            still_name(msn),
        ));
        self.fresh.stills.push((msn, jpeg));
    }
}

impl Cues {
    pub fn extend(&mut self, later: Cues) {
        self.text.push_str(&later.text);
        self.stills.extend(later.stills);
    }

    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }
}

/// WebVTT 4.1: hours, of as many digits as it takes, and milliseconds.
struct Timestamp(Span);

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = (self.0.ticks().max(0) * 1000 + TICKS_PER_SECOND / 2) / TICKS_PER_SECOND;
        let (hours, minutes, seconds) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
        write!(f, "{hours:02}:{minutes:02}:{seconds:02}.{:03}", ms % 1000)
    }
}

/// Every cue stands where its name says, and after the one before it. Gives the first MSN after all of them.
fn check(text: &str, grid: Grid, first: u64) -> Result<u64, Foreign> {
    let cues = text.strip_prefix(HEAD).ok_or(Foreign(1))?;
    let mut lines = cues.lines().zip(3..);
    let mut least = first;
    while let Some((times, line)) = lines.next() {
        let begins = times.split_once(" --> ").map(|(begins, _)| begins);
        let (name, blank) = (lines.next(), lines.next());
        let msn = name
            .and_then(|(name, _)| name.split_once(".jpg#xywh=0,0,"))
            .and_then(|(msn, _)| msn.parse::<u64>().ok())
            .filter(|msn| *msn >= least);
        let place = msn.map(|msn| Timestamp(grid.segment_start(msn) - grid.segment_start(first)).to_string());
        if place.as_deref() != begins || begins.is_none() || blank.is_none_or(|(blank, _)| !blank.is_empty())
        {
            return Err(Foreign(line));
        }
        least = msn.map_or(least, |msn| msn + 1);
    }
    Ok(least)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use timeline::TrackId;

    const STILLS: Stills = Stills {
        id: TrackId(9),
        width: 256,
        height: 144,
    };

    fn storyboard() -> Storyboard {
        Storyboard::new(STILLS, Grid::default(), None)
    }

    fn segment(msn: u64, gap: bool) -> Segment {
        let grid = Grid::default();
        Segment {
            msn,
            start: grid.segment_start(msn),
            duration: grid.segment(),
            gap,
            body: Bytes::new(),
            pictures: Vec::new(),
        }
    }

    /// The picture of the middle of a segment.
    fn still(storyboard: &mut Storyboard, msn: u64) -> bool {
        let at = Grid::default().segment_start(msn) + Span::from_millis(1600);
        storyboard.still(at, Bytes::from(msn.to_string()))
    }

    #[test]
    fn a_cue_per_segment_as_literal_text() {
        let mut board = storyboard();
        assert!(still(&mut board, 0));
        board.close(&segment(0, false));
        board.close(&segment(1, true));
        assert!(!still(&mut board, 1), "made before the hole");
        board.close(&segment(2, false));
        assert!(still(&mut board, 2));
        let cues = board.take();
        assert_eq!(
            format!("{}{}", board.head(), cues.text),
            "\
WEBVTT

00:00:00.000 --> 00:00:03.200
0.jpg#xywh=0,0,256,144

00:00:06.400 --> 00:00:09.600
2.jpg#xywh=0,0,256,144

"
        );
        assert_eq!(cues.stills, [(0, Bytes::from("0")), (2, Bytes::from("2"))]);
        assert!(board.take().is_empty());
    }

    #[test]
    fn the_first_segment_listed_begins_at_nought_and_the_last_ends_where_it_ends() {
        let mut board = storyboard();
        for msn in 1124..1126 {
            still(&mut board, msn);
            let mut segment = segment(msn, false);
            if msn == 1125 {
                segment.duration = Span::from_ticks(180_001);
            }
            board.close(&segment);
        }
        let text = board.take().text;
        assert!(
            text.starts_with("00:00:00.000 --> 00:00:03.200\n1124.jpg#"),
            "{text}"
        );
        assert!(
            text.contains("\n00:00:03.200 --> 00:00:05.200\n1125.jpg#"),
            "{text}"
        );
        assert_eq!(
            Timestamp(Span::from_millis(100 * 3_600_000 + 61_001)).to_string(),
            "100:01:01.001"
        );
    }

    #[test]
    fn what_has_no_place_is_refused() {
        let mut board = storyboard();
        assert!(!board.still(MediaTime::from_ticks(-1), Bytes::new()));
        assert!(!board.still(MediaTime::ZERO, vec![0; LARGEST_STILL + 1].into()));
        board.close(&segment(5, false));
        assert!(!still(&mut board, 4));
        let held = (6..100).filter(|msn| still(&mut board, *msn)).count();
        assert_eq!((held, board.stills_waiting.len()), (MOST_WAITING, MOST_WAITING));
        (100..200).for_each(|msn| board.close(&segment(msn, false)));
        assert_eq!(board.segments_waiting.len(), MOST_WAITING);
    }

    #[test]
    fn what_is_foreign_is_not_gone_on_from() {
        let resume = |text: &str| Storyboard::resume(STILLS, Grid::default(), 2, text.as_bytes()).map(drop);
        let good = "WEBVTT\n\n00:00:03.200 --> 00:00:06.400\n3.jpg#xywh=0,0,256,144\n\n";
        assert_eq!(resume("WEBVTT\n\n"), Ok(()));
        assert_eq!(resume(good), Ok(()));
        for (text, line) in [
            ("", 1),
            ("WEBVTT\nnote\n\n", 1),
            (&good[..good.len() - 1], 3),
            (&good[..40], 3),
            (&good.replace("3.jpg", "4.jpg"), 3),
            (&good.replace("3.jpg", "1.jpg"), 3),
            (&format!("{good}{}", &good[8..]), 6),
        ] {
            assert_eq!(resume(text), Err(Foreign(line)), "{text}");
        }
    }

    proptest! {
        /// However stills and segments interleave, whatever is lost and wherever the server was restarted: each cue is
        /// its segment's own, in order, and what is written at once is what is written in pieces.
        #[test]
        fn a_storyboard_goes_on_from_its_text(
            lost in prop::collection::vec(0u64..40, 0..8),
            gaps in prop::collection::vec(0u64..40, 0..8),
            late in prop::collection::vec(any::<bool>(), 40),
            restart in 0u64..40,
        ) {
            let run = |board: &mut Storyboard, msns: std::ops::Range<u64>| {
                for msn in msns {
                    let (made, gap) = (!lost.contains(&msn), gaps.contains(&msn));
                    if made && !late[msn as usize] { still(board, msn); }
                    board.close(&segment(msn, gap));
                    if made && late[msn as usize] { still(board, msn); }
                }
                board.take()
            };
            let whole = run(&mut storyboard(), 0..40);
            let before = run(&mut storyboard(), 0..restart);
            let mut resumed = Storyboard::resume(STILLS, Grid::default(), 0, format!("{HEAD}{}", before.text).as_bytes()).unwrap();
            let after = run(&mut resumed, restart..40);
            prop_assert_eq!(format!("{}{}", resumed.head(), after.text), format!("{HEAD}{}", whole.text));
            let expected = (0..40).filter(|msn| !lost.contains(msn) && !gaps.contains(msn));
            let named: Vec<u64> = whole.stills.iter().map(|(msn, _)| *msn).collect();
            prop_assert_eq!(named, expected.collect::<Vec<_>>());
            prop_assert_eq!([before.stills, after.stills].concat(), whole.stills);
        }

        #[test]
        fn any_text_is_refused_or_gone_on_from(text in "\\PC{0,200}") {
            let _ = Storyboard::resume(STILLS, Grid::default(), 0, text.as_bytes());
            let _ = Storyboard::resume(STILLS, Grid::default(), 0, format!("{HEAD}{text}").as_bytes());
        }
    }
}
