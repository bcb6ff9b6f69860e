//! What the time from the POST to the first picture goes on, as metrics.

use std::time::Instant;

use timeline::BroadcastId;

/// Where a publisher stands on its way to the first picture.
pub(super) struct Start {
    at: Instant,
    reached: Option<&'static str>,
}

impl Start {
    pub fn now() -> Self {
        Start {
            at: Instant::now(),
            reached: None,
        }
    }

    /// The next stage is reached: "connected", then "packet", then "picture". Told again, it is not counted: a
    /// connection comes and goes.
    pub fn reached(&mut self, stage: &'static str, broadcast: &BroadcastId) {
        let rank = |stage| {
            ["connected", "packet", "picture"]
                .iter()
                .position(|s| *s == stage)
        };
        if self.reached.is_some_and(|reached| rank(stage) <= rank(reached)) {
            return;
        }
        let now = Instant::now();
        metrics::gauge!("lectern_start_seconds", "broadcast" => broadcast.as_str().to_owned(), "stage" => stage)
            .set(now.saturating_duration_since(self.at).as_secs_f64());
        (self.at, self.reached) = (now, Some(stage));
    }
}
