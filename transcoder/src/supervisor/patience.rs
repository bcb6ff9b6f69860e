//! When a child is given up, and how long to wait before the next. Time is an argument.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// A live line that releases no slot for this long has a child that hangs.
const LIVE: Duration = Duration::from_secs(2);
/// A process that starts loads its codecs first; on a busy machine that takes seconds.
const STARTING: Duration = Duration::from_secs(8);
/// A machine too slow for the ladder must not be made slower still: each bite in a row doubles the patience.
const MAX_DOUBLINGS: u32 = 4;

#[derive(Default)]
pub struct Watchdog {
    since: Option<Instant>,
    /// Whether this child has released a slot.
    live: bool,
    bites: u32,
}

impl Watchdog {
    pub fn spawned(&mut self, now: Instant) {
        self.since = Some(now);
        self.live = false;
    }

    pub fn released(&mut self, now: Instant) {
        self.since = Some(now);
        if self.live {
            self.bites = 0;
        }
        self.live = true;
    }

    /// How long no slot was released, if that is too long.
    pub fn bites(&mut self, now: Instant, due: bool) -> Option<Duration> {
        let waited = now - *self.since.get_or_insert(now);
        let patience = if self.live { LIVE } else { STARTING } * 2u32.pow(self.bites.min(MAX_DOUBLINGS));
        if !due || waited < patience {
            return None;
        }
        self.bites += 1;
        Some(waited)
    }
}

/// A child that dies is replaced at once; children that keep dying, once a second.
#[derive(Default)]
pub struct Backoff {
    lost: VecDeque<Instant>,
}

const WINDOW: Duration = Duration::from_secs(10);
const AT_ONCE: usize = 5;
const PAUSE: Duration = Duration::from_secs(1);

impl Backoff {
    /// How long to wait before the next.
    pub fn lost(&mut self, now: Instant) -> Duration {
        self.lost.push_back(now);
        while self.lost.front().is_some_and(|lost| now - *lost > WINDOW) {
            self.lost.pop_front();
        }
        if self.lost.len() > AT_ONCE {
            PAUSE
        } else {
            Duration::ZERO
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_child_that_hangs_is_given_up_after_two_seconds() {
        let (mut dog, t) = (Watchdog::default(), Instant::now());
        dog.spawned(t);
        assert_eq!(dog.bites(t + ms(7_900), true), None, "still starting");
        dog.released(t + ms(7_900));
        assert_eq!(dog.bites(t + ms(9_800), true), None);
        assert_eq!(dog.bites(t + ms(60_000), false), None, "nothing is due");
        assert_eq!(dog.bites(t + ms(9_900), true), Some(ms(2_000)));
    }

    #[test]
    fn patience_grows_while_children_hang_and_returns_with_the_line() {
        let (mut dog, t) = (Watchdog::default(), Instant::now());
        dog.spawned(t);
        assert!(dog.bites(t + ms(8_000), true).is_some());
        dog.spawned(t + ms(8_000));
        assert!(dog.bites(t + ms(23_900), true).is_none());
        assert!(dog.bites(t + ms(24_000), true).is_some());
        dog.spawned(t + ms(24_000));
        dog.released(t + ms(25_000));
        dog.released(t + ms(25_033));
        assert!(dog.bites(t + ms(27_033), true).is_some());
    }

    #[test]
    fn children_that_keep_dying_are_replaced_once_a_second() {
        let (mut backoff, t) = (Backoff::default(), Instant::now());
        for n in 0..5 {
            assert_eq!(backoff.lost(t + ms(n * 10)), Duration::ZERO);
        }
        assert_eq!(backoff.lost(t + ms(60)), PAUSE);
        assert_eq!(backoff.lost(t + ms(20_000)), Duration::ZERO);
    }
}
