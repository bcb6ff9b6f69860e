use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What may be chosen. Players stop for good when a hold-back changes, so nothing here may change while a
/// broadcast is on air.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How far behind the live edge players stay (PART-HOLD-BACK). Never less than three part targets; 0 stands
    /// for just that: 3 × 0.21334 s for parts of 200 ms. About 1,000 is kinder to viewers on poor networks.
    pub part_hold_back_ms: u32,
    /// How much media stays in memory, so that the live edge is never read from the archive. Players may ask for
    /// a part three target durations after it was last listed; less than half a minute is raised to that.
    pub window_seconds: u32,
    /// How long an ended broadcast stays in memory; afterwards it is served from the archive.
    pub linger_seconds: u32,
    /// Blocked requests of one broadcast. Each is a waiting task and its connection, some 10 KB.
    pub max_blocked_requests: u32,
    /// Segments that wait for a slow archive. 200 are ten minutes, 400 MB of a 5 Mbit/s ladder.
    pub max_archive_backlog: u32,
    /// How long after the end a failing archive is still tried.
    pub archive_patience_seconds: u32,
    /// The language of the lecture as BCP 47 has it, for EXT-X-MEDIA; `und` is "not known".
    pub language: String,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            part_hold_back_ms: 0,
            window_seconds: 60,
            linger_seconds: 60,
            max_blocked_requests: 20_000,
            max_archive_backlog: 200,
            archive_patience_seconds: 60,
            language: "und".to_owned(),
        }
    }
}

impl Config {
    pub(crate) fn window(&self) -> Duration {
        const LEAST: u32 = 30;
        Duration::from_secs(self.window_seconds.max(LEAST).into())
    }

    pub(crate) fn linger(&self) -> Duration {
        Duration::from_secs(self.linger_seconds.into())
    }

    pub(crate) fn archive_patience(&self) -> Duration {
        Duration::from_secs(self.archive_patience_seconds.into())
    }
}
