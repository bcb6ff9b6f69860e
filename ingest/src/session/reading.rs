//! Gauges of a session.

use metrics::Gauge;
use timeline::{BroadcastId, SourceName};

/// A gauge that tells something as long as its session lasts: before its first value and after the session it is NaN,
/// which is no value.
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

/// What the session of a source is measured by.
pub(super) struct Path {
    pub rtt: Reading,
    /// The server's clock less the sender's.
    pub sender_offset: Reading,
}

impl Path {
    pub fn of(broadcast: &BroadcastId, source: &SourceName) -> Self {
        let labels = labels(broadcast, source);
        Path {
            rtt: Reading::of(metrics::gauge!("lectern_ingest_rtt_seconds", &labels)),
            sender_offset: Reading::of(metrics::gauge!("lectern_ingest_sender_offset_seconds", &labels)),
        }
    }
}

pub(super) fn labels(broadcast: &BroadcastId, source: &SourceName) -> [(&'static str, String); 2] {
    [
        ("broadcast", broadcast.to_string()),
        ("source", source.to_string()),
    ]
}
