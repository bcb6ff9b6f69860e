//! How much in how long: the generic cell rate algorithm, one number per person.

use std::collections::HashMap;

use timeline::WallTime;

use crate::Rate;

/// When the bucket will be empty again, in Unix nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bucket(i64);

/// How many ms to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryAfter(pub u64);

impl Bucket {
    pub fn take(&mut self, rate: Rate, now: WallTime) -> Result<(), RetryAfter> {
        let now = now.unix_nanos();
        let period = i64::from(rate.per_ms) * 1_000_000;
        let each = period / i64::from(rate.messages);
        // A clock that was set back must not lock anyone out.
        let full = self.0.clamp(now, now + period);
        let wait = full + each - (now + period);
        if wait > 0 {
            return Err(RetryAfter(wait.unsigned_abs().div_ceil(1_000_000)));
        }
        self.0 = full + each;
        Ok(())
    }

    fn is_empty(self, now: WallTime) -> bool {
        self.0 <= now.unix_nanos()
    }
}

/// The buckets of all who spoke lately.
#[derive(Debug, Default)]
pub struct Buckets(HashMap<String, Bucket>);

impl Buckets {
    /// Buckets are swept when there are more: who has been quiet for a period has an empty one.
    const SWEEP_AT: usize = 1_024;

    pub fn take(&mut self, person: &str, rate: Rate, now: WallTime) -> Result<(), RetryAfter> {
        if self.0.len() >= Self::SWEEP_AT {
            self.0.retain(|_, bucket| !bucket.is_empty(now));
        }
        match self.0.get_mut(person) {
            Some(bucket) => bucket.take(rate, now),
            None => self.0.entry(person.to_owned()).or_default().take(rate, now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate {
        messages: 5,
        per_ms: 5_000,
    };

    fn at(ms: i64) -> WallTime {
        WallTime::from_unix_millis(1_760_000_000_000 + ms)
    }

    #[test]
    fn five_at_once_then_one_a_second() {
        let mut bucket = Bucket::default();
        for _ in 0..5 {
            bucket.take(RATE, at(0)).unwrap();
        }
        assert_eq!(bucket.take(RATE, at(0)), Err(RetryAfter(1_000)));
        assert_eq!(bucket.take(RATE, at(400)), Err(RetryAfter(600)));
        assert_eq!(bucket.take(RATE, at(1_000)), Ok(()));
        assert!(bucket.take(RATE, at(1_000)).is_err());
    }

    #[test]
    fn a_clock_set_back_locks_nobody_out() {
        let mut bucket = Bucket::default();
        bucket.take(RATE, at(3_600_000)).unwrap();
        let wait = bucket.take(RATE, at(0));
        assert!(wait == Ok(()) || wait == Err(RetryAfter(1_000)), "{wait:?}");
    }

    #[test]
    fn the_quiet_are_forgotten() {
        let mut buckets = Buckets::default();
        for n in 0..2_000 {
            buckets.take(&n.to_string(), RATE, at(n * 100)).unwrap();
        }
        assert!(buckets.0.len() <= Buckets::SWEEP_AT);
    }
}
