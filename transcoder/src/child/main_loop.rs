//! The line in the making: source in, ladder out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use timeline::feed::Record;
use timeline::{MediaTime, SourceName, Span, Timeline, TrackId};
use tokio::sync::{Notify, mpsc};

use super::announce::Announcer;
use super::source::Source;
use super::studio::Studio;
use super::top::Top;
use super::{FRAMES_WAITING, log, now};
use crate::encode::{Encoded, Ladder};
use crate::line::{self, Due, Start};
use crate::scene::{Canvas, Picture, Scene};
use crate::stills::{self, Shutter};
use crate::wire::{FromChild, Job, Report, SourceReport, ToChild};
use crate::{Config, Error, Passthrough, slate};

/// After a respawn the decoders get this long to catch up with the source before the line goes on regardless.
const CATCH_UP: Span = Span::from_millis(1_500);
const REPORT_EVERY: Duration = Duration::from_secs(1);
const LOOK_FOR_HANGS_EVERY: Duration = Duration::from_millis(250);

pub struct MainLoop {
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

impl MainLoop {
    pub fn begin(
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
        Ok(MainLoop {
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

    /// Goes on from the process before: how far each source's sound was shifted, and up to where each track's pictures
    /// follow at once.
    pub fn resume(&self, sound_shifts_ms: Vec<(SourceName, f64)>, caught_up: Vec<(TrackId, MediaTime)>) {
        let mut line = self.studio.line();
        for (source, ms) in sound_shifts_ms {
            line.shift_sound(source, ms);
        }
        if !caught_up.is_empty() {
            line.hold(caught_up, now() + CATCH_UP);
        }
    }

    pub async fn run(mut self, mut incoming: mpsc::Receiver<ToChild>) -> Result<(), Error> {
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
