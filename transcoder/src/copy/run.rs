//! Slots that are copied one behind the other.

use timeline::TrackId;

use super::units::Unit;

/// A slot that was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    slot: i64,
    track: TrackId,
    /// The reference picture that the next one may follow.
    reference: Option<u64>,
}

impl Run {
    /// The run with this slot copied, if it can be.
    pub fn on(run: Option<Run>, slot: i64, head: bool, unit: &Unit) -> Option<Run> {
        let track = unit.track;
        if unit.is_idr() {
            let reference = unit.counts;
            return Some(Run {
                slot,
                track,
                reference,
            });
        }
        let behind = |run: &Run| run.slot + 1 == slot && run.track == track && run.reference == unit.follows;
        let run = run.filter(|run| !head && behind(run))?;
        let reference = unit.counts.or(run.reference);
        Some(Run {
            slot,
            track,
            reference,
        })
    }
}
