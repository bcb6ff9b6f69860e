use std::time::{Duration, Instant};

/// Interarrival jitter (RFC 3550 §6.4.1).
#[derive(Debug)]
pub(crate) struct Jitter {
    rate: f64,
    last: Option<(Instant, u32)>,
    seconds: f64,
}

impl Jitter {
    pub fn new(rate: u32) -> Self {
        Jitter {
            rate: f64::from(rate),
            last: None,
            seconds: 0.0,
        }
    }

    pub fn arrived(&mut self, timestamp: u32, now: Instant) {
        if let Some((then, before)) = self.last.replace((now, timestamp)) {
            let sent = f64::from(timestamp.wrapping_sub(before) as i32) / self.rate;
            let travelled = (now - then).as_secs_f64() - sent;
            // A jump of the sender's timestamps is no jitter.
            if travelled.abs() < 5.0 {
                self.seconds += (travelled.abs() - self.seconds) / 16.0;
            }
        }
    }

    pub fn get(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_sender_has_none_and_a_shaky_one_some() {
        let (t, mut steady, mut shaky) = (Instant::now(), Jitter::new(90_000), Jitter::new(90_000));
        for n in 0..500u32 {
            let at = t + Duration::from_millis(20 * u64::from(n));
            steady.arrived(u32::MAX.wrapping_add(n * 1_800), at);
            shaky.arrived(n * 1_800, at + Duration::from_millis(8 * u64::from(n % 2)));
        }
        assert!(steady.get() < Duration::from_micros(10));
        assert!((7.9..8.1).contains(&(shaky.get().as_secs_f64() * 1e3)));
    }
}
