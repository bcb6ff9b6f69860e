//! The parent's side: a child process makes the line, and when it dies the next one takes the line up where it
//! ended.

mod incident;
mod patience;
mod process;
mod spare;
mod words;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use timeline::feed::{Consumer, Producer, Record};
use timeline::{Frame, MediaTime, Rendition, SourceName, Span, Stills, WallTime};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::backlog::Backlog;
use crate::barrier::Barrier;
use crate::confine::{Confined, Sandbox};
use crate::line::Start;
use crate::stall::RunQueue;
use crate::wire::{FromChild, Job, ToChild};
use crate::{Config, Error, Passthrough, report};

pub use incident::{Incident, Incidents, Reason};

use incident::{Log, Loss};
use patience::{Backoff, Watchdog};
use process::Process;
use spare::Spare;

/// A line whose first child comes this long after its origin begins at the next segment boundary.
const HOLE_BEHIND: Span = Span::from_millis(10_000);
/// The source ended and children keep dying: after this the line ends with what is on it.
const FINISH_WITHIN: Duration = Duration::from_secs(10);
/// A first child that cannot be spawned for want of memory, processes or files is tried for so long, …
const FIRST_WITHIN: Duration = Duration::from_secs(10);
/// … so often.
const SPAWN_EVERY: Duration = Duration::from_secs(1);
const WATCH_EVERY: Duration = Duration::from_millis(100);
/// Records that one message of the child may make of what waits at the barrier, and then some.
const ROOM: usize = timeline::feed::CAPACITY / 8;

/// Makes lines. Broadcasts that share one share a spare process.
#[derive(Clone)]
pub struct Transcoder {
    config: Arc<Config>,
    spare: Spare,
}

impl Transcoder {
    pub fn new(config: Config) -> Self {
        Transcoder {
            config: Arc::new(config),
            spare: Spare::default(),
        }
    }

    /// Supervises the child until the source's end. All records of the line go to `line`; the last is
    /// `Record::End`, whatever happens. What happens to children is told to `incidents`.
    pub async fn run(
        &self,
        job: Job,
        source: Consumer,
        line: Producer,
        incidents: watch::Sender<Incidents>,
    ) -> Result<(), Error> {
        self.config.check()?;
        let start = first_slot(&job, now());
        let supervisor = Supervisor {
            stages: report::Stages::of(&job.broadcast),
            sources: report::Sources::of(&job.broadcast),
            start,
            backlog: Backlog::default(),
            barrier: None,
            ladder: Vec::new(),
            sound_shifts_ms: Vec::new(),
            end: None,
            source: Some(source),
            config: self.config.clone(),
            spare: self.spare.clone(),
            log: Log::new(job.broadcast.clone(), incidents),
            confined: None,
            stalled: false,
            job: Arc::new(job),
            line,
        };
        supervisor.run().await
    }
}

/// One line by itself, without a spare process.
pub async fn run(config: Config, job: Job, source: Consumer, line: Producer) -> Result<(), Error> {
    let config = Config {
        spare: false,
        ..config
    };
    let incidents = watch::Sender::default();
    Transcoder::new(config).run(job, source, line, incidents).await
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

struct Supervisor {
    stages: report::Stages,
    sources: report::Sources,
    config: Arc<Config>,
    job: Arc<Job>,
    /// `None` once it has ended.
    source: Option<Consumer>,
    line: Producer,
    backlog: Backlog,
    start: Start,
    /// From the first child's announcement on.
    barrier: Option<Barrier>,
    ladder: Vec<Rendition>,
    /// Of each source, as last reported: the next child goes on with them.
    sound_shifts_ms: Vec<(SourceName, f64)>,
    end: Option<(MediaTime, Instant)>,
    spare: Spare,
    log: Log,
    /// As last told by a child.
    confined: Option<Confined>,
    /// Whoever takes the line does not keep up.
    stalled: bool,
}

/// How a child came to its end.
enum Over {
    Ended(MediaTime),
    Lost(Loss),
}

impl Supervisor {
    async fn run(mut self) -> Result<(), Error> {
        let mut backoff = Backoff::default();
        let mut watchdog = Watchdog::default();
        let began = Instant::now();
        loop {
            let mut process = match self.spawn() {
                Ok(process) => process,
                // Nothing ever ran: what was asked for cannot be run. Later it may be the machine's trouble.
                Err(error)
                    if self.ladder.is_empty() && (is_final(&error) || began.elapsed() > FIRST_WITHIN) =>
                {
                    self.line.send(Record::End(MediaTime::ZERO));
                    return Err(error);
                }
                Err(error) => {
                    self.lost(&Loss::new(Reason::Spawn, error.to_string()));
                    self.pause(backoff.lost(Instant::now()).max(SPAWN_EVERY)).await;
                    if self.is_given_up() {
                        return self.finish(self.job.grid.slot_start(self.next().slot));
                    }
                    continue;
                }
            };
            let before = self.next();
            watchdog.spawned(Instant::now());
            let over = self.attend(&mut process, &mut watchdog).await;
            process.kill().await;
            match over {
                Over::Ended(at) => return self.finish(at),
                // Nothing ever ran, and nothing will.
                Over::Lost(loss) if self.may_not_run() => {
                    self.line.send(Record::End(MediaTime::ZERO));
                    return Err(Error::Sandbox(loss.why));
                }
                Over::Lost(loss) => self.lost(&loss),
            }
            if self.next() == before {
                // It put nothing out: perhaps it died of what it was fed first.
                self.backlog.forget();
            }
            if self.is_given_up() {
                return self.finish(self.job.grid.slot_start(self.next().slot));
            }
            self.pause(backoff.lost(Instant::now())).await;
        }
    }

    /// A sandbox is required, and no child has said that it is in one.
    fn may_not_run(&self) -> bool {
        self.config.sandbox == Sandbox::Required && self.confined.is_none()
    }

    /// What the child was fed last may be why, and is not fed to the next.
    fn lost(&mut self, loss: &Loss) {
        self.log.lost(loss, self.next().slot);
        if loss.suspect > Span::ZERO {
            self.backlog.suspect(loss.suspect);
        }
    }

    /// The source ended, and no child finishes the line.
    fn is_given_up(&self) -> bool {
        let finish_within = if self.ladder.is_empty() {
            Duration::ZERO
        } else {
            FINISH_WITHIN
        };
        self.end.is_some_and(|(_, since)| since.elapsed() > finish_within)
    }

    /// Waits before the next child. The source goes on meanwhile, and perhaps ends.
    async fn pause(&mut self, length: Duration) {
        let over = tokio::time::sleep(length);
        tokio::pin!(over);
        loop {
            tokio::select! {
                record = next(&mut self.source) => drop(self.hear(record)),
                () = &mut over => return,
            }
        }
    }

    /// A child that knows all that the one before it knew of the source.
    fn spawn(&mut self) -> Result<Process, Error> {
        let mut process = self.spare.take(&self.config)?;
        process.serve(&self.job.broadcast);
        let start = self.next();
        if let Some(barrier) = &mut self.barrier {
            barrier.restart();
        }
        let (config, job) = ((*self.config).clone(), (*self.job).clone());
        let caught_up = self.backlog.newest_pictures();
        process.send(ToChild::Begin {
            config,
            job,
            start,
            first_still: self.first_still(),
            caught_up,
            sound_shifts_ms: self.sound_shifts_ms.clone(),
        });
        self.backlog
            .records()
            .for_each(|record| process.send(ToChild::Record(record)));
        if self.backlog.is_broken() {
            process.send(ToChild::Lost);
        }
        match self.end {
            Some((at, _)) => process.send(ToChild::Record(Record::End(at))),
            None => self.request_keyframe(),
        }
        Ok(process)
    }

    async fn attend(&mut self, process: &mut Process, watchdog: &mut Watchdog) -> Over {
        let mut watch = tokio::time::interval(WATCH_EVERY);
        let mut run_queue = RunQueue::of(process.pid());
        loop {
            tokio::select! {
                record = next(&mut self.source) => process.send(self.hear(record)),
                message = process.next(), if !self.stalled => match message {
                    Ok(Some(FromChild::Ended(at))) => return Over::Ended(at),
                    Ok(Some(message)) => {
                        if let Err(loss) = self.take(message, watchdog) {
                            return Over::Lost(loss);
                        }
                    }
                    // In the midst of a message, perhaps.
                    Ok(None) | Err(Error::Socket(_)) => return Over::Lost(process.loss().await),
                    Err(error) => return Over::Lost(Loss::new(Reason::Failed, error.to_string())),
                },
                _ = watch.tick() => {
                    if let Some(waited) = self.look_after(watchdog, &mut run_queue) {
                        let why = format!("no slot for {:.1} s", waited.as_secs_f64());
                        return Over::Lost(Loss::new(Reason::Hung, why));
                    }
                }
            }
            self.note_room();
            if process.is_stuck() {
                return Over::Lost(Loss::new(Reason::Hung, "it does not read what it is sent"));
            }
        }
    }

    /// For how long the child has put nothing out, if it hangs.
    fn look_after(&self, watchdog: &mut Watchdog, run_queue: &mut RunQueue) -> Option<Duration> {
        let now = Instant::now();
        if self.stalled {
            watchdog.excuse(now);
        }
        if !watchdog.is_worried(now) {
            run_queue.forget();
            return None;
        }
        watchdog.bites(now, self.is_due(), run_queue.waited())
    }

    /// Before whoever takes the line loses a record of it, the child has to wait. What it cannot put out in time the
    /// next child makes good: the line lags, and nothing is missing.
    fn note_room(&mut self) {
        let stalled = self.line.room() < ROOM.min(self.line.capacity() / 2);
        if stalled && !self.stalled {
            tracing::warn!(broadcast = %self.job.broadcast, slot = self.next().slot, "the line is not taken as fast as it comes: its encoders wait");
            self.count("lectern_transcoder_line_stalls_total", 1);
        }
        self.stalled = stalled;
    }

    /// Remembers what the source says for children to come. Also gives what the present one is told.
    fn hear(&mut self, record: Result<Option<Record>, timeline::feed::Overflow>) -> ToChild {
        match record {
            Ok(Some(Record::End(at))) => self.source_ended(at),
            Ok(Some(record)) => {
                self.backlog
                    .push(&record, self.job.grid.slot_start(self.next().slot));
                ToChild::Record(record)
            }
            // Every producer is gone: an end without a word.
            Ok(None) => self.source_ended(self.job.timeline.at(now())),
            Err(overflow) => {
                tracing::warn!(broadcast = %self.job.broadcast, "from the source: {overflow}");
                self.count("lectern_transcoder_lost_source_records_total", overflow.missed);
                self.backlog.lost();
                ToChild::Lost
            }
        }
    }

    fn source_ended(&mut self, at: MediaTime) -> ToChild {
        self.source = None;
        self.end = Some((at, Instant::now()));
        ToChild::Record(Record::End(at))
    }

    fn take(&mut self, message: FromChild, watchdog: &mut Watchdog) -> Result<(), Loss> {
        match message {
            FromChild::Ready(confined) => self.note_sandbox(confined),
            FromChild::Ladder { renditions, stills } => self.announce(renditions, stills)?,
            FromChild::Renewed(rendition) => self.renew(rendition)?,
            FromChild::Frame(frame) => self.release(frame, watchdog)?,
            FromChild::KeyframeWanted => self.request_keyframe(),
            FromChild::Hung(why) => return Err(Loss::hung_decoder(why)),
            FromChild::Report(report) => {
                let shifts = report.sources.iter();
                self.sound_shifts_ms = shifts.map(|s| (s.source.clone(), s.sound_shift_ms)).collect();
                self.stages.report(&report);
                self.sources.report(&report.sources);
                report::publish(&self.job.broadcast, &report);
            }
            FromChild::Ended(_) => {}
        }
        Ok(())
    }

    fn note_sandbox(&mut self, confined: Confined) {
        report::sandbox(&confined);
        if self.confined.as_ref() != Some(&confined) {
            let Confined {
                files,
                syscalls,
                trouble,
            } = &confined;
            tracing::info!(broadcast = %self.job.broadcast, files, syscalls, trouble, "the transcoder's sandbox");
        }
        self.confined = Some(confined);
    }

    fn announce(&mut self, ladder: Vec<Rendition>, stills: Stills) -> Result<(), Loss> {
        if self.barrier.is_none() {
            let copied = self.config.passthrough == Passthrough::Auto;
            self.barrier = Some(
                Barrier::new(self.job.grid, &ladder, stills, self.start, copied)
                    .ok_or_else(|| Loss::new(Reason::Failed, "its ladder lacks pictures or sound"))?,
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
            self.count("lectern_transcoder_changed_renditions_total", 1);
        }
        Ok(())
    }

    /// The same rendition, but for its init.
    fn renew(&mut self, rendition: Rendition) -> Result<(), Loss> {
        let failed = |why: String| Loss::new(Reason::Failed, why);
        let early = || failed("a rendition came before the ladder".into());
        let barrier = self.barrier.as_mut().ok_or_else(early)?;
        let same = |known: &Rendition| known.is_same_but_for_init(&rendition);
        match self.ladder.iter().any(same) {
            true => barrier.renew(rendition).map_err(|e| failed(e.to_string())),
            false => Err(failed(format!("{} became another rendition", rendition.name))),
        }
    }

    fn release(&mut self, frame: Frame, watchdog: &mut Watchdog) -> Result<(), Loss> {
        let early = || Loss::new(Reason::Failed, "a frame came before the ladder");
        let barrier = self.barrier.as_mut().ok_or_else(early)?;
        let (before, line) = (barrier.next().slot, &self.line);
        let (stages, ladder) = (&self.stages, self.ladder.len());
        barrier
            .offer(frame, |record| {
                if let Record::Frame(frame) = &record {
                    stages.released(&self.job, &self.config, frame, ladder);
                }
                line.send(record);
            })
            .map_err(|e| Loss::new(Reason::Failed, e.to_string()))?;
        if barrier.next().slot != before {
            let now = Instant::now();
            watchdog.released(now);
            self.log.released(now);
        }
        Ok(())
    }

    /// Whether the next slot should have left already.
    fn is_due(&self) -> bool {
        let at = self.job.grid.slot_start(self.next().slot);
        self.job.timeline.wall(at) + self.config.line_delay() < now()
    }

    /// The first slot and audio frame that are not on the line.
    fn next(&self) -> Start {
        self.barrier.as_ref().map_or(self.start, Barrier::next)
    }

    /// The first segment whose still is not on the line.
    fn first_still(&self) -> u64 {
        let grid = self.job.grid;
        let begun = grid.msn(grid.slot_start(self.start.slot));
        self.barrier.as_ref().map_or(begun, Barrier::next_still)
    }

    fn finish(&self, at: MediaTime) -> Result<(), Error> {
        self.line.send(Record::End(at));
        Ok(())
    }

    fn request_keyframe(&self) {
        if let Some(source) = &self.source {
            source.request_keyframe();
        }
    }

    fn count(&self, name: &'static str, by: u64) {
        metrics::counter!(name, "broadcast" => self.job.broadcast.to_string()).increment(by);
    }
}

/// Whether the program itself is what cannot be run: it is not there, or not allowed.
fn is_final(error: &Error) -> bool {
    use std::io::ErrorKind::{NotFound, PermissionDenied};
    match error {
        Error::Spawn(cause) => matches!(cause.kind(), NotFound | PermissionDenied),
        _ => true,
    }
}

/// The next record of the source; never, once it has ended.
async fn next(source: &mut Option<Consumer>) -> Result<Option<Record>, timeline::feed::Overflow> {
    match source {
        Some(source) => source.next().await,
        None => std::future::pending().await,
    }
}

fn now() -> WallTime {
    SystemTime::now().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use timeline::{Grid, Timeline};

    /// A file that is open for writing cannot be run (ETXTBSY), for now.
    #[tokio::test]
    async fn the_end_of_the_source_is_heard_while_no_child_can_be_spawned() {
        use std::os::unix::fs::PermissionsExt;
        let path = std::env::temp_dir().join(format!("lectern-busy-{}", std::process::id()));
        let busy = std::fs::File::create(&path).unwrap();
        busy.set_permissions(std::fs::Permissions::from_mode(0o755))
            .unwrap();
        let config = Config {
            program: Some(path.clone()),
            ..Config::default()
        };
        let job = Job {
            broadcast: "a".parse().unwrap(),
            timeline: Timeline::starting(now()),
            grid: Grid::default(),
            goes_on: None,
        };
        let (source, line) = (Producer::new(), Producer::new());
        let mut out = line.subscribe(timeline::feed::Policy::Line);
        let supervised = run(
            config,
            job,
            source.subscribe(timeline::feed::Policy::Line),
            line.clone(),
        );
        source.send(Record::End(MediaTime::ZERO));
        let outcome = tokio::time::timeout(Duration::from_secs(60), supervised).await;
        std::fs::remove_file(path).unwrap();
        assert!(matches!(outcome, Ok(Ok(()))), "{outcome:?}");
        assert_eq!(out.next().await, Ok(Some(Record::End(MediaTime::ZERO))));
    }

    #[test]
    fn only_a_program_that_cannot_be_run_is_given_up_at_once() {
        let spawn = |errno| Error::Spawn(std::io::Error::from_raw_os_error(errno));
        // ENOENT, EACCES; EAGAIN, ENOMEM, EMFILE.
        assert_eq!([2, 13].map(|errno| is_final(&spawn(errno))), [true; 2]);
        assert_eq!([11, 12, 24].map(|errno| is_final(&spawn(errno))), [false; 3]);
    }

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
