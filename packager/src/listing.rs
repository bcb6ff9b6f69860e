//! The media playlist of one rendition as it grows.
//!
//! Closed segments whose parts are no longer listed are text that never changes again (a [`Rope`]); only the
//! last few segments and what is open are written anew for each version. So a version costs the same in the
//! first minute and in the third hour, and each of its four forms (whole or delta, plain or gzipped) is made
//! once, when it is first asked for.

use std::collections::VecDeque;
use std::sync::OnceLock;

use bytes::Bytes;
use timeline::{Grid, PartIndex, Span, TICKS_PER_SECOND, Timeline};

use crate::kept::History;
use crate::ladder::Entry;
use crate::part::{Part, Segment};
use crate::playlist::{self, Media, Open, RenditionReport, ServerControl, Turn};
use crate::text::{Rope, Strand, gzip};

/// What all media playlists of a broadcast promise alike and never change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promises {
    pub target_duration: u32,
    pub part_target: Span,
    pub server_control: ServerControl,
    /// Whole segments whose parts are listed: three target durations (6.2.2).
    pub with_parts: usize,
    /// Whole segments that a delta update lists: those within CAN-SKIP-UNTIL.
    pub in_delta: usize,
}

impl Promises {
    /// `part_hold_back_ms` is raised to three part targets where it is less.
    pub fn new(grid: &Grid, part_hold_back_ms: u32) -> Promises {
        let segment = grid.segment().ticks().max(1);
        let target_duration = ((segment + TICKS_PER_SECOND / 2) / TICKS_PER_SECOND).max(1) as u32;
        // 4.4.3.8: at least six and three target durations.
        let (can_skip_until_ms, hold_back_ms) = (6_000 * target_duration, 3_000 * target_duration);
        let segments = |ms: u32| Span::from_millis(ms.into()).ticks().div_ceil_by(segment);
        Promises {
            target_duration,
            part_target: grid.longest_part(),
            with_parts: segments(hold_back_ms),
            in_delta: segments(can_skip_until_ms),
            server_control: ServerControl {
                can_skip_until_ms,
                hold_back_ms,
                part_hold_back_ms: part_hold_back_ms.max(least_part_hold_back_ms(grid)),
            },
        }
    }

    /// Three target durations: how long a request may be blocked, and a part is kept after it was last listed.
    pub fn patience(&self) -> std::time::Duration {
        std::time::Duration::from_millis(self.server_control.hold_back_ms.into())
    }

    /// What memory must hold: a part is listed until its segment is the one before those with parts, and can be
    /// fetched for three target durations more (6.2.2).
    pub fn least_window(&self, grid: &Grid) -> Span {
        let listed = grid.segment().times(self.with_parts as i64 + 1);
        listed + Span::from_millis(self.server_control.hold_back_ms.into())
    }

    /// How far a request may be ahead of the last part (6.2.5): the parts of three seconds.
    pub fn advance_parts(&self) -> u32 {
        (3 * TICKS_PER_SECOND).div_ceil_by(self.part_target.ticks().max(1)) as u32
    }
}

/// Three part targets (authoring specification 14.3) as they are written, rounded up to 10 ms.
fn least_part_hold_back_ms(grid: &Grid) -> u32 {
    let written = (grid.longest_part().ticks() * 100_000).div_ceil_by(TICKS_PER_SECOND);
    (3 * written as u32).div_ceil(1_000) * 10
}

trait DivCeil {
    fn div_ceil_by(self, divisor: i64) -> usize;
}

impl DivCeil for i64 {
    /// For lengths, which are not negative.
    fn div_ceil_by(self, divisor: i64) -> usize {
        ((self + divisor - 1) / divisor).max(0) as usize
    }
}

pub struct Listing {
    promises: Promises,
    timeline: Timeline,
    /// Each part can be decoded by itself: audio.
    all_independent: bool,
    media_sequence: u64,
    /// The inits, each with the number of segments before the first one that needs it.
    maps: Vec<(u64, String)>,
    /// The init that the segments made here need.
    init: String,
    /// The inits that come next, each with the first MSN that needs it.
    renewals: VecDeque<(u64, String)>,
    /// The next segment begins with a discontinuity.
    turns: bool,
    /// All closed segments that are listed without parts.
    history: Rope,
    strand: Strand,
    closed: u64,
    /// The closed segments of a delta update; the last of them with parts.
    recent: VecDeque<playlist::Segment>,
    open: Option<Open>,
}

impl Listing {
    /// `kept` is what was listed before this process; `media_sequence` its first MSN.
    pub fn new(
        promises: Promises,
        timeline: Timeline,
        entry: &Entry,
        media_sequence: u64,
        kept: History,
    ) -> Listing {
        let history = Rope::new("");
        let mut listing = Listing {
            promises,
            timeline,
            all_independent: !entry.rendition.is_video(),
            media_sequence,
            maps: vec![(0, kept.map)],
            init: entry.init_name.clone(),
            renewals: VecDeque::new(),
            turns: false,
            strand: history.strand(),
            history,
            closed: 0,
            recent: VecDeque::new(),
            open: None,
        };
        listing.history.push(&listing.live().head());
        listing.strand = listing.history.strand();
        kept.segments
            .into_iter()
            .for_each(|segment| listing.append(segment));
        if listing.map(listing.closed) != entry.init_name {
            listing.turn();
        }
        listing
    }

    /// Whether the next segment begins with a discontinuity.
    pub fn turns(&self) -> bool {
        self.turns
    }

    /// The next segment begins with a discontinuity, and with the init of this process.
    pub fn turn(&mut self) {
        self.turns = true;
    }

    /// From the segment `msn` on another init is needed.
    pub fn renew(&mut self, msn: u64, init: String) {
        self.renewals.push_back((msn, init));
    }

    /// What is different from the segment on that begins now.
    fn begin(&mut self, msn: u64) -> Turn {
        while let Some((_, init)) = self.renewals.pop_front_if(|(from, _)| *from <= msn) {
            self.init = init;
        }
        let discontinuity = std::mem::take(&mut self.turns);
        let changed = discontinuity || self.map(self.closed) != self.init;
        Turn {
            discontinuity,
            map: changed.then(|| self.init.clone()),
        }
    }

    pub fn push(&mut self, part: &Part) {
        let entry = playlist::Part {
            duration: part.duration,
            uri: part_name(part.index),
            independent: self.is_entry(part),
            gap: part.gap,
        };
        let program_date_time = self.timeline.wall(part.start);
        let open = match self.open.take() {
            Some(open) => open,
            None => Open {
                turn: self.begin(part.index.msn),
                program_date_time,
                parts: Vec::new(),
            },
        };
        self.open.insert(open).parts.push(entry);
    }

    /// Whether a part is marked INDEPENDENT. Of a video segment only the first is, though others begin with a
    /// keyframe too (the mark is optional, 4.4.4.9): when hls.js 1.7 switches renditions and enters a segment in
    /// its middle, it does not find the way to the next one and stands still until the segment's parts are gone.
    fn is_entry(&self, part: &Part) -> bool {
        part.independent && (self.all_independent || part.index.part == 0)
    }

    /// The open segment is whole. Gives its entry as the archive's playlist has it: without parts.
    pub fn close(&mut self, segment: &Segment) -> playlist::Segment {
        let (turn, parts) = self
            .open
            .take()
            .map(|open| (open.turn, open.parts))
            .unwrap_or_default();
        let entry = playlist::Segment {
            turn,
            program_date_time: self.timeline.wall(segment.start),
            parts: Vec::new(),
            gap: segment.gap,
            duration: segment.duration,
            uri: segment_name(segment.msn),
            pictures: segment.pictures.clone(),
        };
        self.append(playlist::Segment {
            parts,
            ..entry.clone()
        });
        entry
    }

    fn append(&mut self, segment: playlist::Segment) {
        if let Some(map) = &segment.turn.map {
            self.maps.push((self.closed, map.clone()));
        }
        self.recent.push_back(segment);
        self.closed += 1;
        self.retire();
    }

    /// The init in force at the segment with so many before it.
    fn map(&self, before: u64) -> &str {
        let known = self.maps.iter().rev().find(|(from, _)| *from <= before);
        known.map_or("", |(_, map)| map)
    }

    /// Drops the parts of a whole segment at a time, so that the first one listed can be decoded by itself.
    fn retire(&mut self) {
        if let Some(n) = self.recent.len().checked_sub(self.promises.with_parts + 1) {
            self.recent[n].parts.clear();
            let mut text = String::new();
            self.recent[n].render(&mut text);
            self.history.push(&text);
            self.strand = self.history.strand();
        }
        if self.recent.len() > self.promises.in_delta {
            self.recent.pop_front();
        }
    }

    /// The playlist as it stands. `next` is the part that will come next, `None` after the end.
    pub fn version(&self, next: Option<PartIndex>, rendition_reports: Vec<RenditionReport>) -> Version {
        let tail = Media {
            open: self.open.clone(),
            preload_hint: next.map(part_name),
            rendition_reports,
            end_list: next.is_none(),
            ..Media::default()
        };
        let with_parts = self.recent.len().saturating_sub(self.promises.with_parts);
        let mut edge = String::new();
        self.recent
            .iter()
            .skip(with_parts)
            .for_each(|segment| segment.render(&mut edge));
        edge.push_str(&tail.tail());
        Version::of(self.strand.clone(), self.delta_head(), edge)
    }

    /// A delta update up to the segments with parts; `None` while it would leave nothing out.
    fn delta_head(&self) -> Option<String> {
        let skipped = self.closed - self.recent.len() as u64;
        if skipped == 0 {
            return None;
        }
        let mut head = Media {
            skipped_segments: Some(skipped),
            map: self.map(skipped).to_owned(),
            ..self.live()
        }
        .head();
        let without_parts = self.recent.len().saturating_sub(self.promises.with_parts);
        self.recent
            .iter()
            .take(without_parts)
            .for_each(|segment| segment.render(&mut head));
        Some(head)
    }

    /// The head of the archive's playlist, which a plain file server can serve: nothing of low latency in it.
    pub fn archive_head(&self) -> String {
        Media {
            server_control: None,
            part_target: None,
            ..self.live()
        }
        .head()
    }

    fn live(&self) -> Media {
        Media {
            target_duration: self.promises.target_duration,
            server_control: Some(self.promises.server_control.clone()),
            part_target: Some(self.promises.part_target),
            event: true,
            media_sequence: self.media_sequence,
            map: self.map(0).to_owned(),
            ..Media::default()
        }
    }
}

pub fn part_name(index: PartIndex) -> String {
    format!("{}.{}.m4s", index.msn, index.part)
}

pub fn segment_name(msn: u64) -> String {
    format!("{msn}.m4s")
}

/// One version of a media playlist, shared by all who wait for it.
#[derive(Debug, Default)]
pub struct Version {
    strand: Strand,
    delta_head: Option<String>,
    edge: String,
    full: OnceLock<Bytes>,
    full_gzip: OnceLock<Bytes>,
    delta: OnceLock<Bytes>,
    delta_gzip: OnceLock<Bytes>,
}

impl Version {
    /// What never changes again, what a delta update has in its place, and what is written anew.
    pub fn of(strand: Strand, delta_head: Option<String>, edge: String) -> Version {
        Version {
            strand,
            delta_head,
            edge,
            ..Version::default()
        }
    }

    /// The whole playlist, or the delta update where one is wanted and leaves something out.
    pub fn text(&self, delta: bool, gzipped: bool) -> Bytes {
        let edge = self.edge.as_bytes();
        match (self.delta_head.as_ref().filter(|_| delta), gzipped) {
            (None, false) => self.full.get_or_init(|| self.strand.plain_with(edge)).clone(),
            (None, true) => self.full_gzip.get_or_init(|| self.strand.gzip_with(edge)).clone(),
            (Some(head), false) => self
                .delta
                .get_or_init(|| format!("{head}{}", self.edge).into())
                .clone(),
            (Some(_), true) => self
                .delta_gzip
                .get_or_init(|| gzip(&self.text(true, false)))
                .clone(),
        }
    }
}
