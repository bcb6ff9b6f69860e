//! Whether a publisher is still there: by what is heard of it, and by what its connection says. Time is an argument.

use std::time::{Duration, Instant};

/// Between the end of a connection and its DELETE.
const FAREWELL: Duration = Duration::from_secs(2);
/// What is heard so long after its end was not under way already.
const UNDER_WAY: Duration = Duration::from_millis(200);

pub(super) struct Liveness {
    /// Nobody is silent for so long and still there.
    silence: Duration,
    /// When the publisher closed its connection.
    gone: Option<Instant>,
}

impl Liveness {
    pub fn new(silence: Duration) -> Self {
        Liveness { silence, gone: None }
    }

    pub fn connected(&mut self) {
        self.gone = None;
    }

    pub fn gone(&mut self, now: Instant) {
        self.gone.get_or_insert(now);
    }

    /// `heard`: when the last packet of any kind came.
    pub fn is_silent(&self, now: Instant, heard: Instant) -> bool {
        now.saturating_duration_since(heard) >= self.silence
    }

    /// Whether its connection is gone for good.
    pub fn is_gone(&mut self, now: Instant, heard: Instant) -> bool {
        // ICE may think so while media still flows.
        self.gone = self.gone.filter(|gone| heard <= *gone + UNDER_WAY);
        self.gone
            .is_some_and(|gone| now.saturating_duration_since(gone) >= FAREWELL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn silence_is_counted_from_the_last_packet() {
        let (t, liveness) = (Instant::now(), Liveness::new(ms(10_000)));
        assert!(!liveness.is_silent(t + ms(19_999), t + ms(10_000)));
        assert!(liveness.is_silent(t + ms(20_000), t + ms(10_000)));
    }

    #[test]
    fn whoever_closes_their_connection_has_time_to_say_good_bye() {
        let (t, mut liveness) = (Instant::now(), Liveness::new(ms(10_000)));
        assert!(!liveness.is_gone(t, t));
        liveness.gone(t);
        // Told again, it does not begin anew.
        liveness.gone(t + ms(1_000));
        assert!(!liveness.is_gone(t + ms(1_999), t + ms(200)));
        assert!(liveness.is_gone(t + ms(2_000), t + ms(200)));
    }

    #[test]
    fn whoever_is_still_heard_or_comes_back_is_not_gone() {
        let (t, mut liveness) = (Instant::now(), Liveness::new(ms(10_000)));
        liveness.gone(t);
        assert!(!liveness.is_gone(t + ms(400), t + ms(201)), "media flows");
        assert!(!liveness.is_gone(t + ms(5_000), t + ms(201)));
        liveness.gone(t + ms(5_000));
        liveness.connected();
        assert!(!liveness.is_gone(t + ms(9_000), t + ms(201)));
    }
}
