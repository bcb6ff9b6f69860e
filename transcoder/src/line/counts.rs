//! Where a line stands, as supervisor and child tell each other.

use serde::{Deserialize, Serialize};

/// Where an encoder begins: the first slot and the first audio frame that are not on the line yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    pub slot: i64,
    pub audio: i64,
}

/// What was counted since it was last asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    pub fresh: u64,
    pub repeated: u64,
    pub slate: u64,
    /// Pictures that came after their slot had left.
    pub late: u64,
    /// By how much the latest of them missed it.
    pub lateness_ms: f64,
    pub skipped: u64,
    pub late_samples: u64,
    pub sound_gaps: u64,
}
