//! When to ask the publisher for a keyframe.

use std::time::{Duration, Instant};

/// Encoders answer within a frame or two; asking faster only costs quality, and some never answer at all.
const PLI_INTERVAL: Duration = Duration::from_secs(1);

/// Wanted at the start, after a loss and when somebody asks; until one comes.
#[derive(Debug)]
pub(super) struct Keyframes {
    wanted: bool,
    asked: Option<Instant>,
}

impl Keyframes {
    pub fn new() -> Self {
        Keyframes {
            wanted: true,
            asked: None,
        }
    }

    pub fn want(&mut self) {
        self.wanted = true;
    }

    pub fn came(&mut self) {
        self.wanted = false;
    }

    /// Whether to ask now.
    pub fn due(&mut self, now: Instant) -> bool {
        let rested = self
            .asked
            .is_none_or(|asked| now.saturating_duration_since(asked) >= PLI_INTERVAL);
        let due = self.wanted && rested;
        if due {
            self.asked = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asked_at_once_then_each_second_until_it_comes() {
        let (t, mut k) = (Instant::now(), Keyframes::new());
        let ms = |n| t + Duration::from_millis(n);
        let asked = |k: &mut Keyframes, range: std::ops::Range<u64>| {
            range
                .filter(|n| n % 100 == 0)
                .filter(|n| k.due(ms(*n)))
                .collect::<Vec<_>>()
        };
        assert_eq!(asked(&mut k, 0..2500), [0, 1000, 2000]);
        k.came();
        assert!(asked(&mut k, 2500..5000).is_empty());
        k.want();
        assert_eq!(asked(&mut k, 5000..5500), [5000]);
        k.came();
        k.want();
        assert_eq!(asked(&mut k, 5500..6500), [6000], "never more than one a second");
    }
}
