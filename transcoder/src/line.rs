//! The line: which slot or audio frame is due, and what stands in it. Time is an argument.
//!
//! The slot for capture time `t` leaves at `wall(t) + D`. Only when nobody who has a picture was heard for two seconds
//! does the slate take its place.

mod counts;

use timeline::{AAC_FRAME, Grid, Layout, MediaTime, SourceName, Span, Timeline, Track, TrackId, WallTime};

use crate::mix::Mix;
use crate::scene::{Cast, Lateness, Scene};
use crate::sound::{Sample, frame_start};

pub use counts::{Counts, Start};

/// The AAC encoder puts frame `n` out when it gets frame `n + 2` (one of priming, one that its psychoacoustics look
/// ahead): so sound is taken two frames ahead of its slot, and leaves with the pictures that it belongs to.
const AAC_LOOK_AHEAD: Span = AAC_FRAME.times(2);

/// Pictures that are measured between two reports: a second of any sane source.
pub const MOST_MEASURED: usize = 128;

#[derive(Clone, Debug, PartialEq)]
pub enum Due<P> {
    Slot {
        slot: i64,
        scene: Scene<P>,
    },
    Sound {
        frame: i64,
        samples: Vec<Sample>,
    },
    /// Everything up to the end was handed out.
    Over,
}

pub struct Line<P> {
    timeline: Timeline,
    grid: Grid,
    delay: Span,
    start: Start,
    next: Start,
    /// The first slot and audio frame that are not on the line any more.
    end: Option<Start>,
    cast: Cast<P>,
    mix: Mix,
    hold: Option<Hold>,
    counts: Counts,
    /// How long before their slots pictures came, in seconds.
    ahead: Vec<f32>,
}

/// Nothing leaves before the decoders have caught up with what the publisher sent while no encoder was there.
struct Hold {
    /// The capture time of each track's newest picture.
    until: Vec<(TrackId, MediaTime)>,
    at_most: WallTime,
}

impl<P: Clone> Line<P> {
    pub fn new(timeline: Timeline, grid: Grid, delay: Span, start: Start) -> Self {
        // The origin is the capture time of the first picture: a steady source at the grid's rate stands right
        // on the slots, and a few milliseconds of jitter must not make it alternate between skip and repeat.
        let tolerance = Span::from_ticks(grid.frame.ticks() / 4);
        Line {
            timeline,
            grid,
            delay,
            start,
            next: start,
            end: None,
            cast: Cast::new((delay.ticks() / grid.frame.ticks()) as usize, tolerance),
            mix: Mix::starting(start.audio),
            hold: None,
            counts: Counts::default(),
            ahead: Vec::new(),
        }
    }

    /// A source begins to send pictures or sound. What it sent so before is over.
    pub fn track(&mut self, track: &Track) {
        if track.codec.is_video() {
            let next = self.grid.slot_start(self.next.slot);
            self.cast.begin(track.id, &track.source, next);
        } else {
            self.mix.begin(track.id, &track.source);
        }
    }

    pub fn track_ended(&mut self, track: TrackId) {
        self.cast.end(track);
        self.mix.end(track);
        self.do_not_wait_for(track);
    }

    /// How the sources' pictures stand from the next slot on.
    pub fn layout(&mut self, layout: Layout) {
        self.cast.layout(layout);
    }

    pub fn picture(&mut self, track: TrackId, at: MediaTime, picture: P, now: WallTime) {
        let early = at - Span::from_ticks(self.grid.frame.ticks() / 4);
        // The slot that would have shown it first: the one at or after it.
        let slot = self
            .grid
            .slot(early + Span::from_ticks(self.grid.frame.ticks() - 1));
        if (self.start.slot..self.next.slot).contains(&slot) {
            self.counts.late += 1;
            let lateness = (now - self.slot_leaves(slot)).as_secs_f64() * 1000.0;
            self.counts.lateness_ms = self.counts.lateness_ms.max(lateness);
            self.cast.late(track, lateness);
        }
        if self.ahead.len() < MOST_MEASURED {
            let ahead = (self.slot_leaves(slot) - now).max(Span::ZERO);
            self.ahead.push(ahead.as_secs_f64() as f32);
        }
        self.cast.push(track, at, picture);
    }

    pub fn sound(&mut self, track: TrackId, at: MediaTime, packet: &[Sample]) {
        self.mix.push(track, at, packet);
    }

    /// Who sends this source was heard, on any track. True if its picture had left for its silence and waits for the
    /// next one.
    pub fn heard(&mut self, source: &SourceName, at: MediaTime) -> bool {
        self.cast.heard(source, at)
    }

    /// Nothing leaves until the pictures of these tracks that were captured at these times are there, or it is
    /// `at_most`.
    pub fn hold(&mut self, until: Vec<(TrackId, MediaTime)>, at_most: WallTime) {
        self.hold = Some(Hold { until, at_most });
    }

    /// Nothing will be decoded of this track.
    pub fn do_not_wait_for(&mut self, track: TrackId) {
        if let Some(hold) = &mut self.hold {
            hold.until.retain(|(held, _)| *held != track);
        }
    }

    /// The sound of a source goes on as far behind its capture as it was before.
    pub fn shift_sound(&mut self, source: SourceName, ms: f64) {
        self.mix.shift(source, ms);
    }

    pub fn is_held(&self) -> bool {
        self.hold.is_some()
    }

    /// The line ends with the slot that contains `at`, or with the newest that can be due. What has left stays; sound
    /// leaves a little before its pictures, and gets them.
    pub fn end(&mut self, at: MediaTime, now: WallTime) {
        let newest = self.grid.slot(self.timeline.at(now));
        let half = Span::from_ticks(self.grid.frame.ticks() / 2);
        let heard = self.grid.slot(frame_start(self.next.audio) + half);
        let slot = (self.grid.slot(at).min(newest) + 1)
            .max(self.next.slot)
            .max(heard)
            .max(1);
        let ticks = self.grid.slot_start(slot).ticks();
        let frame = AAC_FRAME.ticks();
        // The nearest frame edge: sound and pictures end within 11 ms of each other, 17 if it comes late.
        let audio = ((ticks + frame / 2) / frame).max(self.next.audio);
        self.end = Some(Start { slot, audio });
    }

    /// Where the line ends, if that is known.
    pub fn ends_at(&self) -> Option<MediaTime> {
        self.end.map(|end| self.grid.slot_start(end.slot))
    }

    /// The next thing that is due. `room`: whether the encoders take another picture. Sound keeps in step with
    /// the pictures, so it too waits for them.
    pub fn next(&mut self, now: WallTime, room: bool) -> Option<Due<P>> {
        if self.end == Some(self.next) {
            return Some(Due::Over);
        }
        if self.held(now) || now < self.wake() {
            return None;
        }
        if self.sound_is_next() {
            let frame = self.next.audio;
            self.next.audio += 1;
            return Some(Due::Sound {
                frame,
                samples: self.mix.take(),
            });
        }
        room.then(|| self.slot())
    }

    /// When the next thing is due.
    pub fn wake(&self) -> WallTime {
        if self.sound_is_next() {
            self.sound_leaves(self.next.audio)
        } else {
            self.slot_leaves(self.next.slot)
        }
    }

    /// How far behind the clock the line is: about zero while all is well.
    pub fn lag(&self, now: WallTime) -> Span {
        (now - self.slot_leaves(self.next.slot)).max(Span::ZERO)
    }

    pub fn next_slot(&self) -> i64 {
        self.next.slot
    }

    /// How far behind its capture the sound of each source is, because it comes later than D. Milliseconds.
    pub fn sound_shifts_ms(&self) -> impl Iterator<Item = (&SourceName, f64)> {
        self.mix.shifts_ms()
    }

    /// How late the pictures of each source came since the last call.
    pub fn lateness(&mut self) -> impl Iterator<Item = (SourceName, Lateness)> {
        self.cast.lateness()
    }

    /// How long before their slots the pictures since the last call came, in seconds: what is left of D.
    pub fn ahead(&mut self) -> Vec<f32> {
        std::mem::take(&mut self.ahead)
    }

    /// What was counted since the last call.
    pub fn counts(&mut self) -> Counts {
        self.counts.skipped = self.cast.skipped();
        self.counts.late_samples = self.mix.late_samples();
        self.counts.sound_gaps = self.mix.gaps();
        std::mem::take(&mut self.counts)
    }

    fn slot(&mut self) -> Due<P> {
        let slot = self.next.slot;
        self.next.slot += 1;
        let at = self.grid.slot_start(slot);
        let scene = self.cast.take(at);
        match (scene.is_slate(), scene.is_fresh()) {
            (true, _) => self.counts.slate += 1,
            (false, true) => self.counts.fresh += 1,
            (false, false) => self.counts.repeated += 1,
        }
        Due::Slot { slot, scene }
    }

    fn held(&mut self, now: WallTime) -> bool {
        let held = self.hold.as_ref().is_some_and(|hold| {
            let missing =
                |(track, until): &(_, _)| self.cast.newest(*track).is_none_or(|newest| newest < *until);
            now < hold.at_most && hold.until.iter().any(missing)
        });
        if !held {
            self.hold = None;
        }
        held
    }

    fn sound_is_next(&self) -> bool {
        match self.end {
            Some(end) if self.next.audio == end.audio => false,
            Some(end) if self.next.slot == end.slot => true,
            _ => self.sound_leaves(self.next.audio) <= self.slot_leaves(self.next.slot),
        }
    }

    fn slot_leaves(&self, slot: i64) -> WallTime {
        self.timeline.wall(self.grid.slot_start(slot)) + self.delay
    }

    fn sound_leaves(&self, frame: i64) -> WallTime {
        self.timeline.wall(frame_start(frame) - AAC_LOOK_AHEAD) + self.delay
    }
}

#[cfg(test)]
mod tests;
