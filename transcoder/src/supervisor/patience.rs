//! When a child is given up, and how long to wait before the next. Time is an argument.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::stall::Patience;

/// A live line that releases no slot for this long has a child that hangs.
const LIVE: Patience = Patience {
    own: Duration::from_secs(1),
    clock: Duration::from_secs(2),
};
/// A process that starts loads its codecs first, and its decoders catch up; on a busy machine that takes seconds.
const STARTING: Patience = Patience {
    own: Duration::from_secs(4),
    clock: Duration::from_secs(8),
};
/// A slot comes every 33 ms: this long without one is worth a look at why.
const WORRIED: Duration = Duration::from_millis(250);
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

    pub fn is_worried(&self, now: Instant) -> bool {
        self.since.is_some_and(|since| now - since >= WORRIED)
    }

    /// Nothing was asked of the child until now.
    pub fn excuse(&mut self, now: Instant) {
        self.since = Some(now);
    }

    /// How long no slot was released, if that is too long. `starved`: how long of it the child waited for a
    /// processor, where that is known.
    pub fn bites(&mut self, now: Instant, due: bool, starved: Option<Duration>) -> Option<Duration> {
        if !due {
            // A line that begins later than its child has asked nothing of it.
            self.excuse(now);
        }
        let waited = now - *self.since.get_or_insert(now);
        let patience = if self.live { LIVE } else { STARTING };
        let patience = patience.times(2u32.pow(self.bites.min(MAX_DOUBLINGS)));
        if !patience.is_over(waited, starved) {
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

    const RUNS: Option<Duration> = Some(Duration::ZERO);

    #[test]
    fn a_child_that_hangs_is_given_up_after_a_second() {
        let (mut dog, t) = (Watchdog::default(), Instant::now());
        dog.spawned(t);
        assert_eq!(dog.bites(t + ms(3_900), true, RUNS), None, "still starting");
        dog.released(t + ms(3_900));
        assert!(!dog.is_worried(t + ms(4_100)) && dog.is_worried(t + ms(4_200)));
        assert_eq!(dog.bites(t + ms(4_800), true, RUNS), None);
        assert_eq!(dog.bites(t + ms(4_900), true, RUNS), Some(ms(1_000)));
    }

    #[test]
    fn a_child_that_the_machine_does_not_run_is_given_twice_as_long() {
        for starved in [Some(ms(1_500)), None] {
            let (mut dog, t) = (Watchdog::default(), Instant::now());
            dog.spawned(t);
            dog.released(t);
            assert_eq!(dog.bites(t + ms(1_900), true, starved), None);
            assert_eq!(dog.bites(t + ms(2_000), true, starved), Some(ms(2_000)));
        }
    }

    #[test]
    fn a_child_that_nothing_was_asked_of_does_not_hang() {
        let (mut dog, t) = (Watchdog::default(), Instant::now());
        dog.released(t);
        dog.excuse(t + ms(5_000));
        assert_eq!(dog.bites(t + ms(5_500), true, RUNS), None);
        assert_eq!(dog.bites(t + ms(60_000), false, RUNS), None, "nothing is due");
        assert_eq!(
            dog.bites(t + ms(60_100), true, RUNS),
            None,
            "it has just become due"
        );
        assert!(dog.bites(t + ms(61_000), true, RUNS).is_some());
    }

    #[test]
    fn patience_grows_while_children_hang_and_returns_with_the_line() {
        let (mut dog, t) = (Watchdog::default(), Instant::now());
        dog.spawned(t);
        assert!(dog.bites(t + ms(4_000), true, RUNS).is_some());
        dog.spawned(t + ms(4_000));
        assert!(dog.bites(t + ms(11_900), true, RUNS).is_none());
        assert!(dog.bites(t + ms(12_000), true, RUNS).is_some());
        dog.spawned(t + ms(12_000));
        dog.released(t + ms(13_000));
        dog.released(t + ms(13_033));
        assert!(dog.bites(t + ms(14_033), true, RUNS).is_some());
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
