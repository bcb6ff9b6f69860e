//! The body of `lectern transcode`: the socket to the supervisor is standard input.
//!
//! It never outlives its parent: the socket closes with it, and that ends this process whatever it is doing.

mod announce;
mod source;
mod studio;
mod top;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use timeline::feed::Record;
use timeline::{SourceName, Timeline, WallTime};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc};
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};

use crate::confine::{self, Confined, Sandbox, limits};
use crate::encode::{Encoded, Ladder};
use crate::line::{self, Due, Start};
use crate::scene::{Canvas, Picture, Scene};
use crate::stills::{self, Shutter};
use crate::wire::{self, FromChild, Job, Report, SourceReport, ToChild};
use crate::{Config, Error, Passthrough, slate, warm};

use announce::Announcer;
use source::Source;
use studio::Studio;
use top::Top;

/// Records of the source that wait for the main loop: two seconds of a busy source.
const RECORDS_WAITING: usize = 512;
/// Frames that wait for the socket. Then the encoders wait.
const FRAMES_WAITING: usize = 256;
const REPORT_EVERY: Duration = Duration::from_secs(1);
const LOOK_FOR_HANGS_EVERY: Duration = Duration::from_millis(250);
/// The message that has a process prepare itself is a few bytes.
const MAX_PREPARE: usize = 1024;
/// After a respawn the decoders get this long to catch up with the source before the line goes on regardless.
const CATCH_UP: timeline::Span = timeline::Span::from_millis(1_500);

/// Runs a line on the socket that is standard input, until its end or until the socket closes.
pub fn child() -> Result<(), Error> {
    prepare()?;
    let stdin = std::io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map_err(Error::Socket)?;
    let mut socket = StdUnixStream::from(stdin);
    let Some(ToChild::Prepare { sandbox }) = first(&mut socket)? else {
        return Ok(());
    };
    let confined = confine::enter(sandbox)?;
    socket.set_nonblocking(true).map_err(Error::Socket)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // One reads and writes the socket; the main loop has this thread.
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(Error::Socket)?;
    runtime.block_on(converse(socket, confined))
}

/// Whatever a line may need is loaded, and nothing else can be had from here on.
#[doc(hidden)]
pub fn confine_here(sandbox: Sandbox) -> Result<(), Error> {
    prepare()?;
    confine::enter(sandbox).map(drop)
}

fn prepare() -> Result<(), Error> {
    limits::at_start();
    gstreamer::init()?;
    warm::up();
    Ok(())
}

/// The first message, read before there is a second thread; none where the socket closed instead.
fn first(socket: &mut StdUnixStream) -> Result<Option<ToChild>, Error> {
    let mut length = [0; 4];
    if let Err(e) = socket.read_exact(&mut length) {
        return match e.kind() {
            std::io::ErrorKind::UnexpectedEof => Ok(None),
            _ => Err(Error::Socket(e)),
        };
    }
    let length = u32::from_be_bytes(length) as usize;
    if length > MAX_PREPARE {
        return Err(Error::Wire("the first message is too long".into()));
    }
    let mut body = vec![0; length];
    socket.read_exact(&mut body).map_err(Error::Socket)?;
    wire::decode(&body).map(Some)
}

async fn converse(socket: StdUnixStream, confined: Confined) -> Result<(), Error> {
    // A terminal's Ctrl-C and systemd's SIGTERM reach the whole group; when to stop is the parent's decision.
    let _ignored = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
    let (read, write) = UnixStream::from_std(socket).map_err(Error::Socket)?.into_split();
    let mut read = FramedRead::new(read, wire::codec());
    let mut write = FramedWrite::new(write, wire::codec());
    let ready = wire::encode(&FromChild::Ready(confined))?;
    write.send(ready).await.map_err(Error::Socket)?;
    let Some(begin) = read.next().await else {
        return Ok(());
    };
    let ToChild::Begin {
        config,
        job,
        start,
        first_still,
        caught_up,
        sound_shifts_ms,
    } = wire::decode(&begin.map_err(Error::Socket)?)?
    else {
        return Err(Error::Wire("the second message does not begin a line".into()));
    };
    limits::memory(&config)?;
    let (records, incoming) = mpsc::channel(RECORDS_WAITING);
    tokio::spawn(hear(read, records));
    let (to_parent, outgoing) = mpsc::channel(FRAMES_WAITING);
    let speaker = tokio::spawn(speak(write, outgoing));
    let line = Line::begin(config, job, start, first_still, to_parent)?;
    for (source, ms) in sound_shifts_ms {
        line.studio.line().shift_sound(source, ms);
    }
    if !caught_up.is_empty() {
        line.studio.line().hold(caught_up, now() + CATCH_UP);
    }
    let outcome = line.run(incoming).await;
    // The line, and with it the sender of what is still to be said, is gone: wait until all of it is.
    outcome.and(speaker.await.map_err(|e| Error::Wire(e.to_string()))?)
}

/// Reads the socket. Its end is this process's end.
async fn hear(mut read: FramedRead<OwnedReadHalf, LengthDelimitedCodec>, records: mpsc::Sender<ToChild>) {
    loop {
        match read
            .next()
            .await
            .map(|body| body.map_err(Error::Socket).and_then(|body| wire::decode(&body)))
        {
            Some(Ok(message)) => {
                // The main loop is over: the rest is not for it, but the end of the socket still counts.
                let _ = records.send(message).await;
            }
            Some(Err(e)) => {
                log(format_args!("{e}"));
                std::process::exit(1);
            }
            None => std::process::exit(0),
        }
    }
}

async fn speak(
    mut write: FramedWrite<OwnedWriteHalf, LengthDelimitedCodec>,
    mut messages: mpsc::Receiver<FromChild>,
) -> Result<(), Error> {
    while let Some(message) = messages.recv().await {
        write.feed(wire::encode(&message)?).await.map_err(Error::Socket)?;
        if messages.is_empty() {
            SinkExt::<Bytes>::flush(&mut write).await.map_err(Error::Socket)?;
        }
    }
    SinkExt::<Bytes>::close(&mut write).await.map_err(Error::Socket)
}

/// The line in the making: source in, ladder out.
struct Line {
    studio: Arc<Studio>,
    source: Source,
    /// Before the ladder, so that it is dropped first: an encoder that waits to put a frame out would never stop.
    encoded: mpsc::Receiver<Encoded>,
    ladder: Ladder,
    shutter: Shutter,
    canvas: Canvas,
    slate: gstreamer::Buffer,
    /// Stands for the slate until the line has shown a picture.
    opening: Option<gstreamer::Buffer>,
    /// None where all is encoded.
    top: Option<Top>,
    timeline: Timeline,
    announcer: Announcer,
    to_parent: mpsc::Sender<FromChild>,
    cpu_ms: u64,
}

impl Line {
    fn begin(
        config: Config,
        job: Job,
        start: Start,
        first_still: u64,
        to_parent: mpsc::Sender<FromChild>,
    ) -> Result<Self, Error> {
        config.check()?;
        let caps = Ladder::canvas(&config);
        let (width, height) = config.canvas();
        let moved = Arc::new(Notify::new());
        let (out, encoded) = mpsc::channel(FRAMES_WAITING);
        let stills_out = out.clone();
        let studio = Arc::new(Studio::new(&config, &job, start, moved.clone()));
        // The slates are drawn while the encoders start: viewers wait for both.
        let (ladder, slates) = std::thread::scope(|scope| {
            let slates = scope.spawn(|| slates(&config, &caps, start));
            (Ladder::start(&config, job.grid, start, out, moved), slates.join())
        });
        let (slate, opening) =
            slates.map_err(|_| Error::GStreamer("drawing the slates panicked".into()))??;
        Ok(Line {
            source: Source::new(Canvas::pictures(width, height), studio.clone()),
            canvas: Canvas::new(width, height)?,
            slate,
            opening,
            shutter: Shutter::start(&config, job.grid, first_still, stills_out)?,
            ladder: ladder?,
            top: (config.passthrough == Passthrough::Auto).then(|| Top::new(&config, job.grid, start)),
            timeline: job.timeline,
            announcer: Announcer::new(config.rungs.len() + 1, stills::stills(&config)),
            studio,
            encoded,
            to_parent,
            cpu_ms: 0,
        })
    }

    async fn run(mut self, mut incoming: mpsc::Receiver<ToChild>) -> Result<(), Error> {
        let mut reports = tokio::time::interval(REPORT_EVERY);
        let mut looks = tokio::time::interval(LOOK_FOR_HANGS_EVERY);
        let mut finishing = false;
        loop {
            if !finishing {
                finishing = self.put_out_what_is_due()?;
                self.pass_on_top().await?;
            }
            let next = self.until_next(finishing);
            tokio::select! {
                Some(message) = incoming.recv() => self.hear(message),
                Some(encoded) = self.encoded.recv() => {
                    if self.pass_on(encoded).await? {
                        return self.end().await;
                    }
                }
                () = self.studio.changed() => self.source.mend(),
                () = tokio::time::sleep(next) => {}
                _ = looks.tick() => self.look_for_hangs().await?,
                _ = reports.tick() => self.report().await?,
            }
            if self.studio.take_keyframe_wanted() || self.top_wants_keyframe() {
                self.say(FromChild::KeyframeWanted).await?;
            }
        }
    }

    fn hear(&mut self, message: ToChild) {
        match message {
            ToChild::Record(Record::End(at)) => self.studio.line().end(at, now()),
            ToChild::Record(record) => {
                if let Some(top) = &mut self.top {
                    top.hear(&record);
                }
                self.source.take(record);
            }
            ToChild::Lost => {
                if let Some(top) = &mut self.top {
                    top.lost();
                }
                self.source.lost();
            }
            ToChild::Prepare { .. } | ToChild::Begin { .. } => {}
        }
    }

    /// Whether the line is over, and the encoders have been told so.
    fn put_out_what_is_due(&mut self) -> Result<bool, Error> {
        loop {
            let due = {
                let mut line = self.studio.line();
                let room = self.ladder.has_room(line.next_slot());
                line.next(now(), room)
            };
            match due {
                None => return Ok(false),
                Some(Due::Sound { frame, samples }) => self.ladder.sound(frame, &samples)?,
                Some(Due::Slot { slot, scene }) => {
                    let copied = self.top.as_mut().is_some_and(|top| top.copies(slot, &scene));
                    let canvas = self.paint(&scene);
                    self.ladder.picture(slot, &canvas, copied)?;
                    self.shutter.picture(slot, &canvas);
                }
                Some(Due::Over) => {
                    self.ladder.finish()?;
                    self.shutter.finish();
                    return Ok(true);
                }
            }
        }
    }

    /// What stands in a slot. [`Scene::single`] tells whether that is one source's picture alone.
    fn paint(&mut self, scene: &Scene<Picture>) -> gstreamer::Buffer {
        if scene.is_slate() {
            return self.opening.as_ref().unwrap_or(&self.slate).clone();
        }
        self.opening = None;
        self.canvas.paint(scene).unwrap_or_else(|e| {
            log(format_args!("a scene cannot be painted: {e}"));
            self.slate.clone()
        })
    }

    fn top_wants_keyframe(&mut self) -> bool {
        let now = self.timeline.at(now());
        self.top.as_mut().is_some_and(|top| top.wants_keyframe(now))
    }

    /// How long nothing can be due. When the encoders are full, their progress wakes the loop.
    fn until_next(&self, finishing: bool) -> Duration {
        let line = self.studio.line();
        if finishing || !self.ladder.has_room(line.next_slot()) {
            return REPORT_EVERY;
        }
        let held = if line.is_held() {
            Duration::from_millis(10)
        } else {
            Duration::ZERO
        };
        (line.wake() - now()).to_duration().max(held)
    }

    /// A decoder that never returns cannot be stopped from within its process: the parent ends all of it.
    async fn look_for_hangs(&mut self) -> Result<(), Error> {
        match self.source.hung(Instant::now()) {
            Some(codec) => {
                self.say(FromChild::Hung(format!("a decoder of {codec} does not return")))
                    .await
            }
            None => Ok(()),
        }
    }

    /// Whether that was the last of it.
    async fn pass_on(&mut self, encoded: Encoded) -> Result<bool, Error> {
        let at_once = match &mut self.top {
            Some(top) => top.take(encoded),
            None => Some(encoded),
        };
        if let Some(encoded) = at_once {
            self.tell(encoded).await?;
        }
        self.pass_on_top().await?;
        Ok(self.announcer.is_finished())
    }

    async fn pass_on_top(&mut self) -> Result<(), Error> {
        while let Some(encoded) = self.top.as_mut().and_then(Top::next) {
            self.tell(encoded).await?;
        }
        Ok(())
    }

    async fn tell(&mut self, encoded: Encoded) -> Result<(), Error> {
        for message in self.announcer.take(encoded)? {
            self.say(message).await?;
        }
        Ok(())
    }

    async fn end(&mut self) -> Result<(), Error> {
        self.report().await?;
        let end = self.studio.line().ends_at().unwrap_or_default();
        self.say(FromChild::Ended(end)).await
    }

    async fn report(&mut self) -> Result<(), Error> {
        let cpu_ms = crate::report::cpu_ms().unwrap_or(self.cpu_ms);
        let report = {
            let mut line = self.studio.line();
            Report {
                counts: line.counts(),
                copied: self.top.as_mut().map_or(0, Top::take_copied),
                decode_errors: self.studio.take_decode_errors(),
                b_frames: self.studio.take_b_frames(),
                lag_ms: line.lag(now()).as_secs_f64() * 1000.0,
                sources: source_reports(&mut line),
                cpu_ms: cpu_ms - self.cpu_ms,
                decode_s: self.studio.take_decoding_s(),
                grid_s: line.ahead(),
            }
        };
        self.cpu_ms = cpu_ms;
        if let Some(refused) = self.top.as_mut().and_then(Top::take_refusal) {
            log(format_args!("the source is not passed through: {refused}"));
        }
        self.say(FromChild::Report(report)).await
    }

    async fn say(&self, message: FromChild) -> Result<(), Error> {
        self.to_parent
            .send(message)
            .await
            .map_err(|_| Error::Wire("the parent does not listen".into()))
    }
}

fn source_reports(line: &mut line::Line<Picture>) -> Vec<SourceReport> {
    let report = |source: &SourceName| SourceReport {
        source: source.clone(),
        late: 0,
        lateness_ms: 0.0,
        sound_shift_ms: 0.0,
    };
    let mut reports: BTreeMap<SourceName, SourceReport> = BTreeMap::new();
    for (source, ms) in line.sound_shifts_ms() {
        reports
            .entry(source.clone())
            .or_insert_with(|| report(source))
            .sound_shift_ms = ms;
    }
    for (source, lateness) in line.lateness() {
        let report = reports.entry(source.clone()).or_insert_with(|| report(&source));
        (report.late, report.lateness_ms) = (lateness.late, lateness.most_ms);
    }
    reports.into_values().collect()
}

/// The one for while nobody is heard, and the one before the first picture.
fn slates(
    config: &Config,
    canvas: &gstreamer::Caps,
    start: Start,
) -> Result<(gstreamer::Buffer, Option<gstreamer::Buffer>), Error> {
    let draw = |words| slate::draw(words, config, canvas);
    let opening = (start.slot == 0).then(|| draw(&config.opening)).transpose()?;
    Ok((draw(&config.slate)?, opening))
}

fn now() -> WallTime {
    SystemTime::now().into()
}

/// Goes into the parent's log. Unlike `eprintln!` it does not panic when nobody reads.
pub fn log(words: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{words}");
}
