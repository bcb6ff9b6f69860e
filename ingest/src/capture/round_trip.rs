//! The least round trip of late.

use std::collections::VecDeque;

/// Measurements that are looked at, however old. Few are made while media flows: one that was made in a full queue, and
/// then told again for minutes, must not stand for the path …
const FEW: usize = 8;
/// … and where many are made, those of a congestion must not either.
const WINDOW_NS: i64 = 30_000_000_000;
/// Two a second in the window.
const MANY: usize = 64;

#[derive(Debug, Default)]
pub(super) struct RoundTrips {
    /// When, and what; oldest first, no two neighbours equal.
    measured: VecDeque<(i64, i64)>,
}

impl RoundTrips {
    /// The newest measurement, which may be told again.
    pub fn is(&mut self, nanos: i64, at_ns: i64) {
        if self.measured.back().is_some_and(|(_, last)| *last == nanos) {
            return;
        }
        self.measured.push_back((at_ns, nanos));
        let is_old = |(at, _): &(i64, i64)| at_ns - at > WINDOW_NS;
        while self.measured.len() > MANY
            || (self.measured.len() > FEW && self.measured.front().is_some_and(is_old))
        {
            self.measured.pop_front();
        }
    }

    pub fn min(&self) -> Option<i64> {
        self.measured.iter().map(|(_, nanos)| *nanos).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: i64 = 1_000_000_000;

    #[test]
    fn one_that_is_told_again_and_again_counts_once() {
        let mut trips = RoundTrips::default();
        assert_eq!(trips.min(), None);
        trips.is(40, 0);
        (0..10_000).for_each(|n| trips.is(900, n * SECOND_NS));
        assert_eq!(trips.min(), Some(40));
        (0..8).for_each(|n| trips.is(100 + n, (10_000 + n) * SECOND_NS));
        assert_eq!(trips.min(), Some(100), "a path that became longer");
    }

    #[test]
    fn a_congestion_of_seconds_is_outlived() {
        let mut trips = RoundTrips::default();
        trips.is(40, 0);
        (1..40).for_each(|n| trips.is(1_700 + n % 2, n * SECOND_NS / 2));
        assert_eq!(trips.min(), Some(40));
        (1..200).for_each(|n| trips.is(100 + n % 2, 40 * SECOND_NS + n * SECOND_NS / 2));
        assert_eq!(trips.min(), Some(100));
        assert!(trips.measured.len() <= MANY);
    }
}
