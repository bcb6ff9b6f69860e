//! The parent's side: a child process makes the line, and when it dies the next one takes the line up where it
//! ended.

mod egress;
mod incident;
mod patience;
mod process;
mod source;
mod spare;
mod words;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use timeline::feed::{Consumer, Producer};
use timeline::{Frame, MediaTime, SourceName, Span, WallTime};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::confine::{Confined, Sandbox};
use crate::stall::RunQueue;
use crate::wire::{FromChild, Job, ToChild};
use crate::{Config, Error, report};

pub use incident::{Incident, Incidents, Reason};

use egress::Egress;
use incident::{Log, Loss};
use patience::{Backoff, Watchdog};
use process::Process;
use source::Source;
use spare::Spare;

/// The source ended and children keep dying: after this the line ends with what is on it.
const FINISH_WITHIN: Duration = Duration::from_secs(10);
/// A first child that cannot be spawned for want of memory, processes or files is tried for so long, …
const FIRST_WITHIN: Duration = Duration::from_secs(10);
/// … so often.
const SPAWN_EVERY: Duration = Duration::from_secs(1);
const WATCH_EVERY: Duration = Duration::from_millis(100);

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
        let job = Arc::new(job);
        let supervisor = Supervisor {
            source: Source::new(&job, source),
            egress: Egress::new(self.config.clone(), job.clone(), line),
            stages: report::Stages::of(&job.broadcast),
            sources: report::Sources::of(&job.broadcast),
            sound_shifts_ms: Vec::new(),
            config: self.config.clone(),
            spare: self.spare.clone(),
            log: Log::new(job.broadcast.clone(), incidents),
            confined: None,
            job,
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

struct Supervisor {
    config: Arc<Config>,
    job: Arc<Job>,
    source: Source,
    egress: Egress,
    stages: report::Stages,
    sources: report::Sources,
    /// Of each source, as last reported: the next child goes on with them.
    sound_shifts_ms: Vec<(SourceName, f64)>,
    spare: Spare,
    log: Log,
    /// As last told by a child.
    confined: Option<Confined>,
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
                    if !self.egress.has_begun() && (is_final(&error) || began.elapsed() > FIRST_WITHIN) =>
                {
                    self.egress.end(MediaTime::ZERO);
                    return Err(error);
                }
                Err(error) => {
                    self.lost(&Loss::new(Reason::Spawn, error.to_string()));
                    self.pause(backoff.lost(Instant::now()).max(SPAWN_EVERY)).await;
                    if self.is_given_up() {
                        return self.finish(self.egress.next_at());
                    }
                    continue;
                }
            };
            let before = self.egress.next();
            watchdog.spawned(Instant::now());
            let over = self.attend(&mut process, &mut watchdog).await;
            process.kill().await;
            match over {
                Over::Ended(at) => return self.finish(at),
                // Nothing ever ran, and nothing will.
                Over::Lost(loss) if self.may_not_run() => {
                    self.egress.end(MediaTime::ZERO);
                    return Err(Error::Sandbox(loss.why));
                }
                Over::Lost(loss) => self.lost(&loss),
            }
            if self.egress.next() == before {
                // It put nothing out: perhaps it died of what it was fed first.
                self.source.forget();
            }
            if self.is_given_up() {
                return self.finish(self.egress.next_at());
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
        self.log.lost(loss, self.egress.next().slot);
        if loss.suspect > Span::ZERO {
            self.source.suspect(loss.suspect);
        }
    }

    /// The source ended, and no child finishes the line.
    fn is_given_up(&self) -> bool {
        let finish_within = match self.egress.has_begun() {
            true => FINISH_WITHIN,
            false => Duration::ZERO,
        };
        self.source.since_end().is_some_and(|since| since > finish_within)
    }

    /// Waits before the next child. The source goes on meanwhile, and perhaps ends.
    async fn pause(&mut self, length: Duration) {
        let over = tokio::time::sleep(length);
        tokio::pin!(over);
        loop {
            tokio::select! {
                told = self.source.next(self.egress.next_at()) => drop(told),
                () = &mut over => return,
            }
        }
    }

    /// A child that knows all that the one before it knew of the source.
    fn spawn(&mut self) -> Result<Process, Error> {
        let mut process = self.spare.take(&self.config)?;
        process.serve(&self.job.broadcast);
        self.egress.restart();
        process.send(ToChild::Begin {
            config: (*self.config).clone(),
            job: (*self.job).clone(),
            start: self.egress.next(),
            first_still: self.egress.first_still(),
            caught_up: self.source.newest_pictures(),
            sound_shifts_ms: self.sound_shifts_ms.clone(),
        });
        self.source.so_far().for_each(|message| process.send(message));
        self.source.request_keyframe();
        Ok(process)
    }

    async fn attend(&mut self, process: &mut Process, watchdog: &mut Watchdog) -> Over {
        let mut watch = tokio::time::interval(WATCH_EVERY);
        let mut run_queue = RunQueue::of(process.pid());
        loop {
            tokio::select! {
                told = self.source.next(self.egress.next_at()) => process.send(told),
                message = process.next(), if !self.egress.is_stalled() => match message {
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
            self.egress.note_room();
            if process.is_stuck() {
                return Over::Lost(Loss::new(Reason::Hung, "it does not read what it is sent"));
            }
        }
    }

    /// For how long the child has put nothing out, if it hangs.
    fn look_after(&self, watchdog: &mut Watchdog, run_queue: &mut RunQueue) -> Option<Duration> {
        let now = Instant::now();
        if self.egress.is_stalled() {
            watchdog.excuse(now);
        }
        if !watchdog.is_worried(now) {
            run_queue.forget();
            return None;
        }
        watchdog.bites(now, self.egress.is_due(), run_queue.waited())
    }

    fn take(&mut self, message: FromChild, watchdog: &mut Watchdog) -> Result<(), Loss> {
        match message {
            FromChild::Ready(confined) => self.note_sandbox(confined),
            FromChild::Ladder { renditions, stills } => self.egress.announce(renditions, stills)?,
            FromChild::Renewed(rendition) => self.egress.renew(rendition)?,
            FromChild::Frame(frame) => self.release(frame, watchdog)?,
            FromChild::KeyframeWanted => self.source.request_keyframe(),
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

    fn release(&mut self, frame: Frame, watchdog: &mut Watchdog) -> Result<(), Loss> {
        if self.egress.release(frame)? {
            let now = Instant::now();
            watchdog.released(now);
            self.log.released(now);
        }
        Ok(())
    }

    fn finish(&self, at: MediaTime) -> Result<(), Error> {
        self.egress.end(at);
        Ok(())
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

fn now() -> WallTime {
    SystemTime::now().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use timeline::feed::Record;
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
}
