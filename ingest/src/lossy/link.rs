//! One direction of a path.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

#[derive(Clone, Copy, Debug)]
pub struct Path {
    pub delay: Duration,
    /// Up to so much more, of each datagram by itself.
    pub jitter: Duration,
    /// Jitter also swaps. Otherwise what is slow holds up what comes after it, as queues do.
    pub swaps: bool,
    /// The share that never arrives.
    pub loss: f64,
    /// The share that is overtaken by what follows within 30 ms.
    pub overtaken: f64,
    /// The share that arrives twice.
    pub doubled: f64,
    pub kbps: Option<u32>,
    /// What waits at the narrow place beyond this is lost.
    pub queue_bytes: usize,
    pub cut: bool,
}

pub const GOOD: Path = Path {
    delay: Duration::from_millis(25),
    jitter: Duration::from_millis(2),
    swaps: false,
    loss: 0.0,
    overtaken: 0.0,
    doubled: 0.0,
    kbps: None,
    queue_bytes: 64 * 1024,
    cut: false,
};

const OVERTAKEN_BY_MS: u64 = 30;

pub struct Link<T> {
    pub path: Path,
    random: StdRng,
    on_the_way: BTreeMap<(Duration, u64), T>,
    sent: u64,
    /// When the narrow place has sent all that waits.
    free: Duration,
    last: Duration,
}

impl<T: Clone> Link<T> {
    pub fn new(seed: u64) -> Self {
        Link {
            path: GOOD,
            random: StdRng::seed_from_u64(seed),
            on_the_way: BTreeMap::new(),
            sent: 0,
            free: Duration::ZERO,
            last: Duration::ZERO,
        }
    }

    pub fn send(&mut self, now: Duration, bytes: usize, item: T) {
        if self.path.cut || self.random.random_bool(self.path.loss) {
            return;
        }
        let Some(through) = self.through(now, bytes) else {
            return;
        };
        let jitter = self.up_to(self.path.jitter);
        let mut due = through + self.path.delay + jitter;
        if self.random.random_bool(self.path.overtaken) {
            due += self.up_to(Duration::from_millis(OVERTAKEN_BY_MS));
        } else if !self.path.swaps {
            self.last = self.last.max(due);
            due = self.last;
        }
        if self.random.random_bool(self.path.doubled) {
            let later = self.up_to(Duration::from_millis(OVERTAKEN_BY_MS));
            self.put(due + later, item.clone());
        }
        self.put(due, item);
    }

    /// In the order in which they arrive.
    pub fn arrived(&mut self, now: Duration) -> Vec<T> {
        let later = self.on_the_way.split_off(&(now + Duration::from_nanos(1), 0));
        std::mem::replace(&mut self.on_the_way, later)
            .into_values()
            .collect()
    }

    /// How long a datagram would take now.
    pub fn takes(&mut self, now: Duration) -> Duration {
        let takes = self.path.delay + self.up_to(self.path.jitter) + self.free.saturating_sub(now);
        if self.path.swaps {
            takes
        } else {
            takes.max(self.last.saturating_sub(now))
        }
    }

    /// When it has passed the narrow place.
    fn through(&mut self, now: Duration, bytes: usize) -> Option<Duration> {
        let Some(kbps) = self.path.kbps else {
            return Some(now);
        };
        let takes = |bytes: usize| Duration::from_secs_f64(bytes as f64 * 8.0 / (f64::from(kbps) * 1000.0));
        if self.free.saturating_sub(now) > takes(self.path.queue_bytes) {
            return None;
        }
        self.free = self.free.max(now) + takes(bytes);
        Some(self.free)
    }

    fn up_to(&mut self, most: Duration) -> Duration {
        most.mul_f64(self.random.random::<f64>())
    }

    fn put(&mut self, due: Duration, item: T) {
        self.sent += 1;
        self.on_the_way.insert((due, self.sent), item);
    }
}
