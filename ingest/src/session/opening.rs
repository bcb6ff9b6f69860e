//! A publisher's way from the 201 to the line: its connection, its first packet, its first picture, which opens the
//! line unless it is open already.

mod start;

use std::sync::Arc;
use std::time::{Duration, Instant};

use timeline::{Timeline, WallTime};

use crate::Publication;
use crate::sessions::Place;

use start::Start;

/// The line opens without a picture when none came for so long: sound need not wait for a camera.
const PICTURE_GRACE: Duration = Duration::from_secs(2);

pub(super) struct Opening {
    publication: Arc<dyn Publication>,
    expects_video: bool,
    /// What the time up to the first picture went on.
    start: Start,
    first_packet: Option<Instant>,
    line: Line,
}

enum Line {
    Awaited,
    Open(Timeline),
    /// The broadcast ended before its first picture.
    Over,
}

impl Opening {
    /// It begins now.
    pub fn new(place: &Place, publication: Arc<dyn Publication>, expects_video: bool) -> Self {
        Opening {
            publication,
            expects_video,
            start: Start::of(&place.broadcast, &place.source),
            first_packet: None,
            line: Line::Awaited,
        }
    }

    pub fn connected(&mut self) {
        self.start.reached("connected");
    }

    pub fn packet(&mut self, arrival: Instant) {
        if self.first_packet.is_none() {
            self.first_packet = Some(arrival);
            self.start.reached("packet");
        }
    }

    /// A picture or sound is to go on the line: the line, if it is open or opens with it.
    pub fn open(&mut self, is_picture: bool, captured: WallTime, now: Instant) -> Option<Timeline> {
        if matches!(self.line, Line::Awaited) && self.is_opened_by(is_picture, now) {
            self.line = match self.publication.open(captured) {
                Some(timeline) => Line::Open(timeline),
                None => Line::Over,
            };
            if self.line().is_some() {
                self.start.reached("picture");
            }
        }
        self.line()
    }

    /// By the first picture, or by sound that came without one for long enough.
    fn is_opened_by(&self, is_picture: bool, now: Instant) -> bool {
        let without_picture = |first: Instant| now.saturating_duration_since(first) >= PICTURE_GRACE;
        is_picture || !self.expects_video || self.first_packet.is_some_and(without_picture)
    }

    /// The line, once it is open.
    pub fn line(&self) -> Option<Timeline> {
        match self.line {
            Line::Open(timeline) => Some(timeline),
            Line::Awaited | Line::Over => None,
        }
    }

    /// Whether there is no line to open any more.
    pub fn is_too_late(&self) -> bool {
        matches!(self.line, Line::Over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Left;
    use timeline::feed::Producer;

    struct Door {
        feed: Producer,
        is_ended: bool,
    }

    impl Publication for Door {
        fn open(&self, first: WallTime) -> Option<Timeline> {
            (!self.is_ended).then(|| Timeline::starting(first))
        }

        fn feed(&self) -> &Producer {
            &self.feed
        }

        fn left(&self, _: Left) {}
    }

    fn opening(expects_video: bool, is_ended: bool) -> Opening {
        let place = Place {
            broadcast: "algebra-1".parse().unwrap(),
            source: timeline::SourceName::main(),
        };
        let feed = Producer::new();
        Opening::new(&place, Arc::new(Door { feed, is_ended }), expects_video)
    }

    const CAPTURED: WallTime = WallTime::from_unix_millis(1_800_000_000_000);
    const LATER: WallTime = WallTime::from_unix_millis(1_800_000_000_500);

    #[test]
    fn sound_waits_for_a_picture_which_opens_the_line() {
        let (t, mut opening) = (Instant::now(), opening(true, false));
        opening.packet(t);
        let almost = t + PICTURE_GRACE - Duration::from_millis(1);
        assert_eq!(opening.open(false, CAPTURED, almost), None);
        assert!(opening.line().is_none() && !opening.is_too_late());
        let line = Some(Timeline::starting(LATER));
        assert_eq!(opening.open(true, LATER, almost), line);
        assert_eq!(opening.open(false, CAPTURED, almost), line, "opened once");
    }

    #[test]
    fn sound_whose_picture_does_not_come_opens_the_line() {
        let (t, mut opening) = (Instant::now(), opening(true, false));
        opening.packet(t);
        // Later packets do not make it wait longer.
        opening.packet(t + Duration::from_secs(1));
        assert!(opening.open(false, CAPTURED, t + PICTURE_GRACE).is_some());
    }

    #[test]
    fn sound_alone_waits_for_nothing() {
        assert!(
            opening(false, false)
                .open(false, CAPTURED, Instant::now())
                .is_some()
        );
    }

    #[test]
    fn a_broadcast_that_is_over_has_no_line() {
        let mut opening = opening(true, true);
        assert_eq!(opening.open(true, CAPTURED, Instant::now()), None);
        assert!(opening.is_too_late());
    }
}
