//! What the time from the POST to the first picture goes on, as metrics.

use std::time::Instant;

use timeline::{BroadcastId, SourceName};

use crate::session::reading::labels;

/// Where a publisher stands on its way to the first picture.
pub(super) struct Start {
    broadcast: BroadcastId,
    source: SourceName,
    at: Instant,
    reached: Option<&'static str>,
}

impl Start {
    /// It begins now.
    pub fn of(broadcast: &BroadcastId, source: &SourceName) -> Self {
        Start {
            broadcast: broadcast.clone(),
            source: source.clone(),
            at: Instant::now(),
            reached: None,
        }
    }

    /// The next stage is reached: "connected", then "packet", then "picture". Told again, it is not counted: a
    /// connection comes and goes.
    pub fn reached(&mut self, stage: &'static str) {
        let rank = |stage| {
            ["connected", "packet", "picture"]
                .iter()
                .position(|s| *s == stage)
        };
        if self.reached.is_some_and(|reached| rank(stage) <= rank(reached)) {
            return;
        }
        let now = Instant::now();
        let [broadcast, source] = labels(&self.broadcast, &self.source);
        metrics::gauge!(
            "lectern_start_seconds",
            &[broadcast, source, ("stage", stage.into())]
        )
        .set(now.saturating_duration_since(self.at).as_secs_f64());
        (self.at, self.reached) = (now, Some(stage));
    }
}
