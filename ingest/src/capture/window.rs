//! The smallest value of the last so many seconds.

use std::collections::VecDeque;

/// Values within one bucket fold, so that a window holds at most this many, however fast they come.
const BUCKETS: i64 = 60;

#[derive(Debug)]
pub(super) struct WindowMin {
    length: i64,
    /// Bucket and value; values grow from front to back, so the front is the minimum.
    values: VecDeque<(i64, i64)>,
}

impl WindowMin {
    pub fn new(length_ns: i64) -> Self {
        WindowMin {
            length: length_ns,
            values: VecDeque::new(),
        }
    }

    pub fn push(&mut self, at_ns: i64, value: i64) {
        let bucket = at_ns.div_euclid(self.length / BUCKETS);
        while self
            .values
            .front()
            .is_some_and(|(old, _)| (bucket - old).abs() > BUCKETS)
        {
            self.values.pop_front();
        }
        while self.values.back().is_some_and(|(_, last)| *last >= value) {
            self.values.pop_back();
        }
        // The bucket holds a smaller value already.
        if self.values.back().is_none_or(|(last, _)| *last < bucket) {
            self.values.push_back((bucket, value));
        }
    }

    pub fn min(&self) -> Option<i64> {
        self.values.front().map(|(_, value)| *value)
    }

    pub fn clear(&mut self) {
        self.values.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_the_minimum_of_its_window(steps in prop::collection::vec((0i64..3_000, -1000i64..1000), 1..300)) {
            let mut window = WindowMin::new(60_000);
            let mut all = Vec::new();
            let mut now = 0;
            for (step, value) in steps {
                now += step;
                window.push(now, value);
                all.push((now, value));
                let min = |age: i64| all.iter().filter(|(at, _)| now - at <= age).map(|(_, v)| *v).min();
                // A bucket is a second here: the window is exact to one.
                prop_assert!(window.min() <= min(59_000) && window.min() >= min(61_000));
                prop_assert!(window.values.len() <= BUCKETS as usize + 1);
            }
        }
    }
}
