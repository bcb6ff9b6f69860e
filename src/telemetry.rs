//! Logs and metrics.

use std::io::IsTerminal;

use anyhow::anyhow;
use axum::http::Request;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use serde::{Deserialize, Serialize};
use tracing::Span;
use tracing_subscriber::EnvFilter;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    #[default]
    Text,
    Json,
}

/// Libraries that tell every step of every session at `info`, and warn of what is harmless.
const QUIET: &str =
    "rtc=error,rtc_ice=error,rtc_dtls=error,rtc_sctp=error,rtc_srtp=error,webrtc=warn,tiny_skia=error";

/// Logs go to stderr; `RUST_LOG` overrides the configured filter.
pub fn logs(filter: &str, format: Format) -> anyhow::Result<()> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(env) if !env.is_empty() => EnvFilter::try_new(env)?,
        // What the setting says of a library comes later and wins.
        _ => EnvFilter::try_new(format!("{QUIET},{filter}"))?,
    };
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        Format::Text => logs.try_init(),
        Format::Json => logs.json().try_init(),
    }
    .map_err(|e| anyhow!("cannot start the log: {e}"))
}

/// A request in the log, where `tower_http` tells of them: without its query, where publishers who were sent here have their pass.
pub fn request<B>(request: &Request<B>) -> Span {
    tracing::debug_span!(target: "tower_http::trace", "request", method = %request.method(), path = request.uri().path(), version = ?request.version())
}

/// Latencies from a millisecond to ten seconds.
const SECONDS: [f64; 13] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// The stages of docs/latency.md, fine enough to read their medians from.
const STAGE_SECONDS: [f64; 28] = [
    0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.12,
    0.14, 0.16, 0.18, 0.2, 0.225, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0, 2.0,
];

/// The page of metrics. A gauge that is NaN tells nothing: what it was of is over.
pub fn render(prometheus: &PrometheusHandle) -> String {
    without_nan(&prometheus.render())
}

fn without_nan(page: &str) -> String {
    let lines = page.split_inclusive('\n');
    lines.filter(|line| !line.trim_end().ends_with(" NaN")).collect()
}

pub fn metrics() -> anyhow::Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full("lectern_latency_seconds".into()), &STAGE_SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)?
        .install_recorder()?;
    Ok(handle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_of_what_is_over_is_not_on_the_page() {
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            metrics::gauge!("rtt", "source" => "main").set(0.25);
            metrics::gauge!("rtt", "source" => "screen").set(f64::NAN);
            metrics::counter!("NaN").increment(1);
        });
        let page = render(&recorder.handle());
        assert_eq!(page.matches("rtt{").count(), 1);
        assert!(page.contains("rtt{source=\"main\"} 0.25\n"), "{page}");
        assert!(page.contains("NaN 1\n"), "{page}");
    }
}
