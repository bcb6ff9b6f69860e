//! Gauges of a session.

use metrics::Gauge;
use timeline::{BroadcastId, SourceName};

/// A gauge that tells something as long as its session lasts: before its first value and after the session it is NaN,
/// which is no value.
/// The transcoder has its own (`report.rs`): both crates know `timeline` alone, which has no metrics.
pub(super) struct Reading(Gauge);

impl Reading {
    pub fn of(gauge: Gauge) -> Self {
        gauge.set(f64::NAN);
        Reading(gauge)
    }

    pub fn set(&self, value: f64) {
        self.0.set(value);
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.set(f64::NAN);
    }
}

/// What a source is measured by.
pub(super) fn labels(broadcast: &BroadcastId, source: &SourceName) -> [(&'static str, String); 2] {
    [
        ("broadcast", broadcast.to_string()),
        ("source", source.to_string()),
    ]
}
