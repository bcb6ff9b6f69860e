//! When pictures and packets of sound are captured: slots counted from the Unix epoch, so that one of them falls
//! on each whole second, and every lecture on this clock captures at the same moments.

use std::time::SystemTime;

use timeline::{MediaTime, Span, Timeline, WallTime};
use tokio::time::Instant;

/// The wall clock, without its jumps: a lecture's time never steps back.
#[derive(Clone, Copy)]
pub struct Clock {
    wall: WallTime,
    since: Instant,
}

impl Clock {
    pub fn now() -> Self {
        Clock {
            wall: SystemTime::now().into(),
            since: Instant::now(),
        }
    }

    pub fn wall(&self) -> WallTime {
        self.wall + Span::from(self.since.elapsed())
    }

    pub fn instant(&self, wall: WallTime) -> Instant {
        self.since + (wall - self.wall).to_duration()
    }
}

/// Slots of one span, on one line. Origins are whole milliseconds (90 ticks), so places are exact.
#[derive(Clone, Copy)]
pub struct Slots {
    timeline: Timeline,
    span: Span,
}

impl Slots {
    pub fn new(timeline: Timeline, span: Span) -> Self {
        Slots { timeline, span }
    }

    /// Where slot `n` begins.
    pub fn at(&self, n: i64) -> MediaTime {
        MediaTime::ZERO + self.span.times(n) - self.epoch()
    }

    pub fn wall(&self, n: i64) -> WallTime {
        self.timeline.wall(self.at(n))
    }

    /// The slot that a moment falls into.
    pub fn containing(&self, wall: WallTime) -> i64 {
        let ticks = (self.timeline.at(wall) - MediaTime::ZERO + self.epoch()).ticks();
        ticks.div_euclid(self.span.ticks())
    }

    /// From the Unix epoch to the origin.
    fn epoch(&self) -> Span {
        Span::from_millis(self.timeline.origin().unix_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn slots_stand_on_the_unix_clock(origin in 0i64..4_000_000_000_000, second in 0i64..4_000_000_000) {
            let timeline = Timeline::starting(WallTime::from_unix_millis(origin));
            let slots = Slots::new(timeline, Span::from_ticks(3_000));
            let whole = WallTime::from_unix_millis(second * 1000);
            let n = slots.containing(whole);
            prop_assert_eq!(slots.wall(n), whole);
            prop_assert_eq!(n, second * 30);
            prop_assert_eq!(slots.at(n + 1) - slots.at(n), Span::from_ticks(3_000));
            prop_assert_eq!(slots.containing(slots.wall(n + 1) - Span::from_millis(1)), n);
        }
    }
}
