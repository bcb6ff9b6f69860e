//! What a child reports, as metrics.

use std::collections::BTreeMap;
use std::time::SystemTime;

use metrics::{Counter, Gauge, Histogram, histogram};
use timeline::{BroadcastId, Frame, SourceName, TrackId, WallTime};

use crate::Config;
use crate::confine::Confined;
use crate::encode::TOP;
use crate::wire::{Job, Report, SourceReport};

/// The top rung; the slowest one releases it.
const PICTURES: TrackId = TOP;

/// What a picture's time in a child goes on (docs/latency.md).
pub struct Stages {
    decode: Histogram,
    grid: Histogram,
}

impl Stages {
    pub fn of(broadcast: &BroadcastId) -> Self {
        Stages {
            decode: stage(broadcast, "decode"),
            grid: stage(broadcast, "grid"),
        }
    }

    pub fn report(&self, report: &Report) {
        let seconds = |histogram: &Histogram, all: &[f32]| all.iter().for_each(|s| histogram.record(*s));
        seconds(&self.decode, &report.decode_s);
        seconds(&self.grid, &report.grid_s);
    }
}

/// How long after they were due frames reach the line (docs/latency.md).
pub struct Released {
    encode: Histogram,
    encode_sound: Histogram,
}

impl Released {
    pub fn of(broadcast: &BroadcastId) -> Self {
        Released {
            encode: stage(broadcast, "encode"),
            encode_sound: stage(broadcast, "encode_sound"),
        }
    }

    /// A frame reaches the line. It was due at its capture time plus D.
    pub fn frame(&self, job: &Job, config: &Config, frame: &Frame, ladder: usize) {
        let encode = match frame.track {
            PICTURES => &self.encode,
            TrackId(n) if n as usize == ladder => &self.encode_sound,
            _ => return,
        };
        let due = job.timeline.wall(frame.at) + config.line_delay();
        encode.record((WallTime::from(SystemTime::now()) - due).as_secs_f64());
    }
}

fn stage(broadcast: &BroadcastId, stage: &'static str) -> Histogram {
    histogram!("lectern_latency_seconds", "broadcast" => broadcast.to_string(), "stage" => stage)
}

/// Adds to a counter of this broadcast.
pub fn count(broadcast: &BroadcastId, name: &'static str, by: u64) {
    metrics::counter!(name, "broadcast" => broadcast.to_string()).increment(by);
}

/// The processor time this process has used so far, in milliseconds.
pub fn cpu_ms() -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // proc(5): after the name in parentheses, utime and stime are the 12th and 13th field, in USER_HZ, which is
    // 100 on every Linux that this runs on.
    let fields = stat.rsplit_once(')')?.1;
    let ticks = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse::<u64>().ok());
    ticks.sum::<Option<u64>>().map(|ticks| ticks * 10)
}

/// Which halves of the sandbox hold, as the newest process told.
pub fn sandbox(confined: &Confined) {
    for (kind, holds) in [("landlock", confined.files), ("seccomp", confined.syscalls)] {
        metrics::gauge!("lectern_transcoder_sandbox", "kind" => kind).set(f64::from(u8::from(holds)));
    }
}

pub fn publish(broadcast: &BroadcastId, report: &Report) {
    let counts = &report.counts;
    let counters = [
        ("lectern_transcoder_fresh_pictures_total", counts.fresh),
        ("lectern_transcoder_repeated_pictures_total", counts.repeated),
        ("lectern_transcoder_slate_pictures_total", counts.slate),
        ("lectern_transcoder_late_pictures_total", counts.late),
        ("lectern_transcoder_skipped_pictures_total", counts.skipped),
        ("lectern_transcoder_late_sound_samples_total", counts.late_samples),
        ("lectern_transcoder_sound_gaps_total", counts.sound_gaps),
        ("lectern_transcoder_copied_pictures_total", report.copied),
        ("lectern_transcoder_decode_errors_total", report.decode_errors),
        ("lectern_transcoder_b_frames_total", report.b_frames),
        ("lectern_transcoder_cpu_milliseconds_total", report.cpu_ms),
    ];
    for (name, by) in counters {
        count(broadcast, name, by);
    }
    let gauges = [
        ("lectern_transcoder_lateness_milliseconds", counts.lateness_ms),
        ("lectern_transcoder_lag_milliseconds", report.lag_ms),
        (
            "lectern_transcoder_sound_shift_milliseconds",
            report
                .sources
                .iter()
                .map(|source| source.sound_shift_ms)
                .fold(0.0, f64::max),
        ),
    ];
    for (name, value) in gauges {
        metrics::gauge!(name, "broadcast" => broadcast.to_string()).set(value);
    }
}

/// How each source of a line does, as long as it is there.
pub struct Sources {
    broadcast: BroadcastId,
    told: BTreeMap<SourceName, Told>,
}

/// A source's. When it is over its gauges are NaN, which is no value. Ingest has its own such gauges (`reading.rs`):
/// both crates know `timeline` alone, which has no metrics.
struct Told {
    late: Counter,
    lateness_ms: Gauge,
    sound_shift_ms: Gauge,
}

impl Sources {
    pub fn of(broadcast: &BroadcastId) -> Self {
        Sources {
            broadcast: broadcast.clone(),
            told: BTreeMap::new(),
        }
    }

    pub fn report(&mut self, sources: &[SourceReport]) {
        self.told
            .retain(|name, _| sources.iter().any(|source| source.source == *name));
        for source in sources {
            let name = &source.source;
            let told = self
                .told
                .entry(name.clone())
                .or_insert_with(|| Told::of(&self.broadcast, name));
            told.late.increment(source.late);
            told.lateness_ms.set(source.lateness_ms);
            told.sound_shift_ms.set(source.sound_shift_ms);
        }
    }
}

impl Told {
    fn of(broadcast: &BroadcastId, source: &SourceName) -> Self {
        let labels = [
            ("broadcast", broadcast.to_string()),
            ("source", source.to_string()),
        ];
        Told {
            late: metrics::counter!("lectern_source_late_pictures_total", &labels),
            lateness_ms: metrics::gauge!("lectern_source_lateness_milliseconds", &labels),
            sound_shift_ms: metrics::gauge!("lectern_source_sound_shift_milliseconds", &labels),
        }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.lateness_ms.set(f64::NAN);
        self.sound_shift_ms.set(f64::NAN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_costs_processor_time() {
        let before = cpu_ms().unwrap();
        let mut n = 0u64;
        while cpu_ms().unwrap() < before + 20 {
            n = std::hint::black_box(n + 1);
        }
    }
}
