//! The pictures of the source, waiting for their slots.
//!
//! A slot shows the picture captured last at or before it. A picture that does not come is repeated.
//!
//! A source whose pictures are captured right between showing in one slot and in the next stays with the one that it
//! had: its jitter must not make it alternate between skip and repeat.

use std::collections::VecDeque;

use timeline::{MediaTime, Span};

/// What a slot shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Face<P> {
    Fresh(P),
    Repeat(P),
    Slate,
}

pub struct Pictures<P> {
    /// Ascending by capture time, all later than the one that is shown.
    waiting: VecDeque<(MediaTime, P)>,
    shown: Option<(MediaTime, P)>,
    /// The track of the shown picture is over: its clock says nothing about what comes next.
    orphaned: bool,
    /// How much later than the slot a picture may have been captured and still fill it. A source that stands in the
    /// nearest slots is allowed half as much more, one that stands in later ones half as much less.
    tolerance: Span,
    /// The last picture was captured near its slot.
    is_near: bool,
    /// The slot that is filled next, or was last.
    wanted: MediaTime,
    room: usize,
    /// Pictures that no slot showed: the source is faster than the grid, or the line lags.
    pub skipped: u64,
}

/// Pictures that may wait beyond those of the line delay: two seconds at 30 fps, what a respawned encoder has to
/// catch up with; 90 MB of 720p. A line that lags more shows fewer pictures.
const CATCH_UP: usize = 64;
/// What each of many sources has of that all the same.
const LEAST: usize = 8;

impl<P: Clone> Pictures<P> {
    /// `first`: the first slot. `delayed`: slots in the line delay. `tolerance`: how much later than its slot a
    /// picture may be captured.
    pub fn new(first: MediaTime, delayed: usize, tolerance: Span) -> Self {
        Pictures {
            waiting: VecDeque::new(),
            shown: None,
            orphaned: false,
            tolerance,
            is_near: true,
            wanted: first,
            room: delayed + CATCH_UP,
            skipped: 0,
        }
    }

    /// Memory has room for the pictures of one source that catches up; `sources` share it.
    pub fn share_room(&mut self, delayed: usize, sources: usize) {
        self.room = delayed + (CATCH_UP / sources.max(1)).max(LEAST);
        while self.waiting.len() > self.room {
            self.make_room();
        }
    }

    pub fn push(&mut self, at: MediaTime, picture: P) {
        if self.orphaned {
            self.orphaned = false;
            let before = self.waiting.partition_point(|(waiting, _)| *waiting < at);
            self.waiting.truncate(before);
        } else if self.shown.as_ref().is_some_and(|(shown, _)| at <= *shown) {
            self.skipped += 1;
            return;
        }
        if let Some((shown, _)) = &mut self.shown {
            *shown = (*shown).min(at);
        }
        let place = self.waiting.partition_point(|(waiting, _)| *waiting < at);
        self.waiting.insert(place, (at, picture));
        if self.waiting.len() > self.room {
            self.make_room();
        }
    }

    /// The face of the slot that stands at `slot`.
    pub fn take(&mut self, slot: MediaTime) -> Face<P> {
        self.wanted = slot;
        let (due, half) = (self.due(), self.tolerance.times(2));
        if due > 0 {
            self.skipped += due as u64 - 1;
            self.shown = self.waiting.drain(..due).next_back();
            self.is_near = self.shown.as_ref().is_some_and(|(at, _)| *at > slot - half);
        } else if self.waiting.front().is_some_and(|(at, _)| *at < slot + half) {
            self.is_near = false;
        }
        match &self.shown {
            Some((_, picture)) if due > 0 => Face::Fresh(picture.clone()),
            Some((_, picture)) => Face::Repeat(picture.clone()),
            None => Face::Slate,
        }
    }

    /// The capture time of the newest picture there is.
    pub fn newest(&self) -> Option<MediaTime> {
        self.waiting.back().or(self.shown.as_ref()).map(|(at, _)| *at)
    }

    /// Whether there is anything that a later slot may show.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The track is over. Its last picture stays until the slate takes its place.
    pub fn orphan(&mut self) {
        self.orphaned = true;
    }

    /// The slate took the place of the picture: one whose track is over does not come back.
    pub fn slated(&mut self) {
        if self.orphaned {
            self.shown = None;
        }
    }

    /// How many waiting pictures the wanted slot may show. It shows the last of them.
    fn due(&self) -> usize {
        let halves = if self.is_near { 3 } else { 1 };
        let latest = self.wanted + Span::from_ticks(self.tolerance.ticks() * halves / 2);
        self.waiting.partition_point(|(at, _)| *at <= latest)
    }

    /// Pictures that no slot can show any more go first: a respawned encoder is fed seconds of them.
    fn make_room(&mut self) {
        let passed = self.due().saturating_sub(1);
        if passed > 0 {
            self.waiting.drain(..passed);
            self.skipped += passed as u64;
        } else {
            self.thin();
        }
    }

    /// Drops the picture that leaves the smallest gap, so that what waits stays spread over the whole lag.
    fn thin(&mut self) {
        let gap = |i: usize| self.waiting[i + 1].0 - self.waiting[i - 1].0;
        if let Some(least) = (1..self.waiting.len() - 1).min_by_key(|i| gap(*i)) {
            self.waiting.remove(least);
            self.skipped += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Wherever between the slots a source captures its pictures: it settles in one of two slots, with jitter of up
        /// to an eighth of a slot.
        #[test]
        fn no_phase_makes_a_steady_source_judder(
            phase in -1500i64..1500,
            jitter in prop::collection::vec(-180i64..=180, 300),
        ) {
            let mut p = pictures(&[]);
            let mut repeated = 0;
            for (n, jitter) in (0..).zip(&jitter) {
                p.push(at(n * 3000 + phase + jitter), n);
                let face = p.take(at(n * 3000));
                repeated += u32::from(matches!(face, Face::Repeat(_)));
            }
            prop_assert!(p.skipped <= 1 && repeated <= 1, "{} skipped, {repeated} repeated", p.skipped);
        }
    }

    fn at(ticks: i64) -> MediaTime {
        MediaTime::from_ticks(ticks)
    }

    fn pictures(times: &[i64]) -> Pictures<i64> {
        let mut pictures = Pictures::new(at(0), 0, Span::from_ticks(750));
        times.iter().for_each(|t| pictures.push(at(*t), *t));
        pictures
    }

    #[test]
    fn a_slot_shows_the_picture_captured_last_at_or_before_it() {
        let mut p = pictures(&[0, 1200, 2000, 6700]);
        assert_eq!(p.take(at(0)), Face::Fresh(0));
        assert_eq!(p.take(at(3000)), Face::Fresh(2000));
        assert_eq!(p.take(at(4000)), Face::Repeat(2000));
        assert_eq!(
            p.take(at(6000)),
            Face::Fresh(6700),
            "a hair later is the same slot"
        );
        assert_eq!(p.skipped, 1);
    }

    #[test]
    fn jitter_around_the_slots_neither_skips_nor_repeats() {
        let mut p = pictures(&[]);
        for slot in 0..1000 {
            let jitter = [0, 300, -300, 700, -600][slot as usize % 5];
            p.push(at(slot * 3000 + jitter), slot);
            assert_eq!(p.take(at(slot * 3000)), Face::Fresh(slot));
        }
    }

    #[test]
    fn out_of_order_pictures_find_their_place_and_old_ones_never_come_back() {
        let mut p = pictures(&[6000, 3000]);
        assert_eq!(p.take(at(3000)), Face::Fresh(3000));
        p.push(at(2000), 2000);
        assert_eq!(p.take(at(3100)), Face::Repeat(3000));
        assert_eq!(p.take(at(6000)), Face::Fresh(6000));
    }

    #[test]
    fn a_new_track_may_stand_before_the_last_picture_of_the_old() {
        let mut p = pictures(&[0]);
        assert_eq!(p.take(at(9000)), Face::Fresh(0));
        p.push(at(9300), 9300);
        assert_eq!(p.take(at(9300)), Face::Fresh(9300));
        p.orphan();
        assert_eq!(p.take(at(10_000)), Face::Repeat(9300), "held until the slate");
        p.push(at(9200), -1);
        assert_eq!(p.take(at(12_000)), Face::Fresh(-1));
    }

    #[test]
    fn what_waits_of_an_old_track_is_shown_until_the_new_one_begins() {
        let mut p = pictures(&[0, 3000, 6000, 9000]);
        p.orphan();
        p.push(at(6000), -1);
        assert_eq!(
            [0, 3000, 6000, 9000].map(|slot| p.take(at(slot))),
            [
                Face::Fresh(0),
                Face::Fresh(3000),
                Face::Fresh(-1),
                Face::Repeat(-1)
            ]
        );
    }

    #[test]
    fn what_precedes_the_first_slot_does_not_thin_what_follows() {
        let mut p = Pictures::new(at(300 * 3000), 0, Span::from_ticks(750));
        (0..360).for_each(|n| p.push(at(n * 3000), n));
        for n in 300..360 {
            assert_eq!(p.take(at(n * 3000)), Face::Fresh(n));
        }
        assert_eq!(p.skipped, 300);
    }

    #[test]
    fn what_waits_is_bounded_and_stays_spread() {
        let mut p = pictures(&[]);
        (0..10_000).for_each(|n| p.push(at(n * 3000), n));
        assert_eq!(p.waiting.len(), CATCH_UP);
        let widest = p
            .waiting
            .iter()
            .zip(p.waiting.iter().skip(1))
            .map(|(a, b)| b.1 - a.1)
            .max();
        assert!(widest.unwrap() <= 10_000 / CATCH_UP as i64 * 4, "{widest:?}");
        assert_eq!(p.newest(), Some(at(9_999 * 3000)));
    }
}
