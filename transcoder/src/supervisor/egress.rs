//! The line as it leaves: what one child after the other puts out, released through the barrier to whoever takes it.

use std::sync::Arc;

use timeline::feed::{Producer, Record};
use timeline::{Frame, MediaTime, Rendition, Span, Stills, WallTime};

use super::incident::{Loss, Reason};
use super::now;
use crate::barrier::Barrier;
use crate::line::Start;
use crate::wire::Job;
use crate::{Config, Passthrough, report};

/// A line whose first child comes this long after its origin begins at the next segment boundary.
const HOLE_BEHIND: Span = Span::from_millis(10_000);
/// Records that one message of the child may make of what waits at the barrier, and then some.
const ROOM: usize = timeline::feed::CAPACITY / 8;

pub struct Egress {
    config: Arc<Config>,
    job: Arc<Job>,
    line: Producer,
    start: Start,
    /// Empty before the first child's announcement.
    ladder: Vec<Rendition>,
    /// From the first child's announcement on.
    barrier: Option<Barrier>,
    released: report::Released,
    /// Whoever takes the line does not keep up.
    stalled: bool,
}

impl Egress {
    pub fn new(config: Arc<Config>, job: Arc<Job>, line: Producer) -> Self {
        Egress {
            start: first_slot(&job, now()),
            released: report::Released::of(&job.broadcast),
            config,
            job,
            line,
            ladder: Vec::new(),
            barrier: None,
            stalled: false,
        }
    }

    /// Whether a child has ever announced a ladder.
    pub fn has_begun(&self) -> bool {
        !self.ladder.is_empty()
    }

    /// The first slot and audio frame that are not on the line.
    pub fn next(&self) -> Start {
        self.barrier.as_ref().map_or(self.start, Barrier::next)
    }

    /// The first moment that is not on the line.
    pub fn next_at(&self) -> MediaTime {
        self.job.grid.slot_start(self.next().slot)
    }

    /// The first segment whose still is not on the line.
    pub fn first_still(&self) -> u64 {
        let grid = self.job.grid;
        let begun = grid.msn(grid.slot_start(self.start.slot));
        self.barrier.as_ref().map_or(begun, Barrier::next_still)
    }

    /// Whether the next slot should have left already.
    pub fn is_due(&self) -> bool {
        self.job.timeline.wall(self.next_at()) + self.config.line_delay() < now()
    }

    /// Another child goes on with what is not on the line.
    pub fn restart(&mut self) {
        if let Some(barrier) = &mut self.barrier {
            barrier.restart();
        }
    }

    pub fn announce(&mut self, ladder: Vec<Rendition>, stills: Stills) -> Result<(), Loss> {
        if self.barrier.is_none() {
            let copied = self.config.passthrough == Passthrough::Auto;
            self.barrier = Some(
                Barrier::new(self.job.grid, &ladder, stills, self.start, copied)
                    .ok_or_else(|| failed("its ladder lacks pictures or sound"))?,
            );
            ladder
                .iter()
                .cloned()
                .map(Record::Rendition)
                .chain([Record::Stills(stills)])
                .for_each(|record| self.line.send(record));
            self.ladder = ladder;
        } else if self.ladder != ladder {
            // The same settings make the same parameter sets; if ever not, decoders that hold the first cannot
            // be trusted with what follows, but a line that goes on is worth more than none.
            tracing::error!(broadcast = %self.job.broadcast, "a respawned encoder describes its renditions differently");
            self.count("lectern_transcoder_changed_renditions_total");
        }
        Ok(())
    }

    /// The same rendition, but for its init.
    pub fn renew(&mut self, rendition: Rendition) -> Result<(), Loss> {
        let early = || failed("a rendition came before the ladder");
        let barrier = self.barrier.as_mut().ok_or_else(early)?;
        let same = |known: &Rendition| known.is_same_but_for_init(&rendition);
        match self.ladder.iter().any(same) {
            true => barrier.renew(rendition).map_err(|e| failed(e.to_string())),
            false => Err(failed(format!("{} became another rendition", rendition.name))),
        }
    }

    /// Whether the line has moved: every rung has the next slot.
    pub fn release(&mut self, frame: Frame) -> Result<bool, Loss> {
        let early = || failed("a frame came before the ladder");
        let barrier = self.barrier.as_mut().ok_or_else(early)?;
        let before = barrier.next().slot;
        barrier
            .offer(frame, |record| {
                if let Record::Frame(frame) = &record {
                    self.released
                        .frame(&self.job, &self.config, frame, self.ladder.len());
                }
                self.line.send(record);
            })
            .map_err(|e| failed(e.to_string()))?;
        Ok(barrier.next().slot != before)
    }

    /// Whether there is room for what the child puts out. Before whoever takes the line loses a record of it, the child
    /// has to wait. What it cannot put out in time the next child makes good: the line lags, and nothing is missing.
    pub fn note_room(&mut self) {
        let stalled = self.line.room() < ROOM.min(self.line.capacity() / 2);
        if stalled && !self.stalled {
            tracing::warn!(broadcast = %self.job.broadcast, slot = self.next().slot, "the line is not taken as fast as it comes: its encoders wait");
            self.count("lectern_transcoder_line_stalls_total");
        }
        self.stalled = stalled;
    }

    /// As last noted.
    pub fn is_stalled(&self) -> bool {
        self.stalled
    }

    /// The last record.
    pub fn end(&self, at: MediaTime) {
        self.line.send(Record::End(at));
    }

    fn count(&self, name: &'static str) {
        report::count(&self.job.broadcast, name, 1);
    }
}

fn failed(why: impl Into<String>) -> Loss {
    Loss::new(Reason::Failed, why)
}

/// Slot 0, or, where a line is taken up that has run for long, the next segment (its MSN follows from it).
fn first_slot(job: &Job, now: WallTime) -> Start {
    let at = job.timeline.at(now);
    let next = job.grid.msn(at) + 1;
    let msn = match job.goes_on {
        None if at - MediaTime::ZERO <= HOLE_BEHIND => return Start::default(),
        None => next,
        Some(earliest) => next.max(earliest),
    };
    let begins = job.grid.segment_start(msn);
    Start {
        slot: job.grid.slot(begins),
        audio: begins.ticks() / timeline::AAC_FRAME.ticks(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use timeline::{Grid, Timeline};

    #[test]
    fn a_line_that_is_taken_up_late_goes_on_at_the_next_segment() {
        let origin = WallTime::from_unix_millis(1_800_000_000_000);
        let job = Job {
            broadcast: "a".parse().unwrap(),
            timeline: Timeline::starting(origin),
            grid: Grid::default(),
            goes_on: None,
        };
        assert_eq!(
            first_slot(&job, origin + Span::from_millis(9_000)),
            Start::default()
        );
        // 100 s: in segment 31, which ends at 102.4 s.
        let segment = |msn: i64| Start {
            slot: msn * 96,
            audio: msn * 150,
        };
        assert_eq!(first_slot(&job, origin + Span::from_millis(100_000)), segment(32));
        // An interrupted line never begins a segment again, however young it is, or the clock goes.
        let interrupted = |earliest| Job {
            goes_on: Some(earliest),
            ..job.clone()
        };
        assert_eq!(
            first_slot(&interrupted(1), origin + Span::from_millis(9_000)),
            segment(3)
        );
        assert_eq!(first_slot(&interrupted(7), origin), segment(7));
    }
}
