//! When to ask the publisher for a keyframe.

use std::time::{Duration, Instant};

/// Each keyframe costs the pictures after it their quality, and browsers make no more than one in 300 ms.
const INTERVAL: Duration = Duration::from_millis(400);
/// Requests, and the keyframes themselves, are lost as well; but some publishers never answer at all.
const MAX_INTERVAL: Duration = Duration::from_millis(1_600);

/// Wanted at the start, after a loss and when somebody asks; until one comes.
#[derive(Debug)]
pub(super) struct Keyframes {
    wanted: bool,
    asked: Option<Instant>,
    /// Until it is asked again.
    rest: Duration,
}

impl Keyframes {
    pub fn new() -> Self {
        Keyframes {
            wanted: true,
            asked: None,
            rest: INTERVAL,
        }
    }

    pub fn want(&mut self) {
        self.wanted = true;
    }

    pub fn came(&mut self) {
        self.wanted = false;
        self.rest = INTERVAL;
    }

    /// Whether to ask now.
    pub fn due(&mut self, now: Instant) -> bool {
        let rested = self
            .asked
            .is_none_or(|asked| now.saturating_duration_since(asked) >= self.rest);
        let due = self.wanted && rested;
        if due {
            if self.asked.is_some() {
                self.rest = (self.rest * 2).min(MAX_INTERVAL);
            }
            self.asked = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asked_at_once_then_ever_more_rarely_until_it_comes() {
        let (t, mut k) = (Instant::now(), Keyframes::new());
        let ms = |n| t + Duration::from_millis(n);
        let asked = |k: &mut Keyframes, range: std::ops::Range<u64>| {
            range
                .filter(|n| n % 100 == 0)
                .filter(|n| k.due(ms(*n)))
                .collect::<Vec<_>>()
        };
        assert_eq!(asked(&mut k, 0..6000), [0, 400, 1200, 2800, 4400]);
        k.came();
        assert!(asked(&mut k, 6000..8000).is_empty());
        k.want();
        assert_eq!(asked(&mut k, 8000..8100), [8000]);
        k.came();
        k.want();
        assert_eq!(asked(&mut k, 8100..8500), [8400], "never more than one in 400 ms");
    }
}
