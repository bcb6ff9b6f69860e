//! A living synthetic lecture: pictures and sound made in real time, as a publisher's camera would.
//!
//! Every picture carries the picture clock of its own capture; each whole second there is a flash and a beep. All
//! of it is a function of the time alone, and driven by the clock, not by the encoder.

mod beep;
mod encoder;
mod picture;
pub mod picture_clock;
mod scene;
mod sketch;
mod slides;
mod slots;
#[cfg(test)]
mod tests;
pub(crate) mod type_face;

use std::time::Duration;

use timeline::feed::{KeyframeRequests, Producer, Record};
use timeline::{Codec, SourceName, Span, Timeline, Track, TrackId, WallTime};
use tokio_util::sync::CancellationToken;

use encoder::Encoder;
use picture::Picture;
use scene::Scene;
use slots::{Clock, Slots};

pub const VIDEO: TrackId = TrackId(1);
pub const AUDIO: TrackId = TrackId(2);

/// One Opus packet.
const PACKET: Span = Span::from_millis(20);
const PACKET_SAMPLES: usize = 960;

/// After a stall so much sound is made up for; what is older stays silent.
const CATCH_UP_PACKETS: i64 = 50;

/// Six times a second: the feed asks for at least four.
const HEARD_EVERY_FRAMES: i64 = 5;

/// Requests for keyframes that come faster are answered by one: each costs as much as a second of pictures.
const KEYFRAME_PAUSE: Duration = Duration::from_millis(300);

#[derive(Clone, Debug)]
pub struct Config {
    /// A multiple of 8.
    pub width: usize,
    /// Even, and no more than 9/16 of the width.
    pub height: usize,
    /// The span of one picture.
    pub frame: Span,
    pub bitrate_kbps: u32,
    pub audio_bitrate_kbps: u32,
    /// Frames from one keyframe to the next, unless one is asked for.
    pub keyframe_every: u32,
    /// What the frames' times refer to.
    pub timeline: Timeline,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "a lecture of {width}x{height} cannot be drawn: at least 320x180, 16:9 or wider, a width that is a multiple of 8, an even height"
    )]
    BadSize { width: usize, height: usize },
    #[error("a frame of {0} is not between 1/120 s and 1 s")]
    BadFrame(Span),
    #[error("the lecture's encoder does not start: {0}")]
    Start(String),
    #[error("the lecture's encoder failed: {0}")]
    Encoder(String),
}

impl Config {
    /// 720p at 30 frames a second, as a publisher would send it.
    pub fn new(timeline: Timeline) -> Self {
        Config {
            width: 1280,
            height: 720,
            frame: Span::from_ticks(3_000),
            bitrate_kbps: 2_000,
            audio_bitrate_kbps: 96,
            keyframe_every: 60,
            timeline,
        }
    }

    fn check(&self) -> Result<(), Error> {
        let (width, height) = (self.width, self.height);
        // Up to 8K: what H.264 can carry.
        let sizes = (320..=7680).contains(&width) && (180..=4320).contains(&height);
        let is_wide = width * 9 >= height * 16;
        if !sizes || !is_wide || !width.is_multiple_of(8) || !height.is_multiple_of(2) {
            return Err(Error::BadSize { width, height });
        }
        match self.frame.ticks() {
            750..=90_000 => Ok(()),
            _ => Err(Error::BadFrame(self.frame)),
        }
    }
}

/// Sends the lecture's tracks and frames to `out` until `stop`, then the end of it.
pub async fn lecture(config: Config, out: Producer, stop: CancellationToken) -> Result<(), Error> {
    config.check()?;
    let easel = Easel::new(&config).await?;
    let clock = Clock::now();
    let keyframes = out.keyframe_requests();
    for (id, codec) in [(VIDEO, Codec::H264), (AUDIO, Codec::Opus)] {
        out.send(Record::Track(Track {
            id,
            codec,
            source: SourceName::main(),
        }));
    }
    let encoder = Encoder::start(&config, config.timeline.at(clock.wall()), out.clone())?;

    let outcome = tokio::select! {
        () = show(&config, &encoder, clock, easel, &out) => Ok(()),
        () = sound(&config, &encoder, clock) => Ok(()),
        () = answer_keyframe_requests(&encoder, keyframes) => Ok(()),
        fault = encoder.fault() => Err(fault),
        () = stop.cancelled() => Ok(()),
    };
    // First, so that no frame follows the end.
    drop(encoder);
    [VIDEO, AUDIO]
        .into_iter()
        .for_each(|id| out.send(Record::TrackEnded(id)));
    out.send(Record::End(config.timeline.at(clock.wall())));
    outcome
}

/// A picture in each slot. A slot that is missed, or that comes while the encoder is behind, stays empty.
async fn show(config: &Config, encoder: &Encoder, clock: Clock, mut easel: Easel, out: &Producer) {
    let slots = Slots::new(config.timeline, config.frame);
    let mut next = slots.containing(clock.wall()) + 1;
    loop {
        tokio::time::sleep_until(clock.instant(slots.wall(next))).await;
        let slot = slots.containing(clock.wall()).max(next);
        count_skipped(slot - next);
        if encoder.is_behind() {
            count_skipped(1);
        } else {
            easel = easel.drawn(slots.wall(slot)).await;
            encoder.picture(slots.at(slot), &easel.picture);
        }
        if slot % HEARD_EVERY_FRAMES == 0 {
            out.send(Record::Heard {
                source: SourceName::main(),
                at: config.timeline.at(clock.wall()),
            });
        }
        next = slot + 1;
    }
}

/// A packet of sound as soon as its last sample is captured.
async fn sound(config: &Config, encoder: &Encoder, clock: Clock) {
    let slots = Slots::new(config.timeline, PACKET);
    let mut next = slots.containing(clock.wall()) + 1;
    loop {
        tokio::time::sleep_until(clock.instant(slots.wall(next + 1))).await;
        let complete = slots.containing(clock.wall()).max(next + 1);
        for slot in next.max(complete - CATCH_UP_PACKETS)..complete {
            let mut samples = Vec::with_capacity(PACKET_SAMPLES * beep::CHANNELS);
            beep::render(slot * PACKET_SAMPLES as i64, PACKET_SAMPLES, &mut samples);
            encoder.sound(slots.at(slot), &samples);
        }
        next = complete;
    }
}

/// GStreamer's own limit (`min-force-key-unit-interval`) is not used: x264enc moves its times by 1,000 hours at the first
/// picture, and after a request that came before it lets none pass for so long.
async fn answer_keyframe_requests(encoder: &Encoder, mut keyframes: KeyframeRequests) {
    loop {
        keyframes.next().await;
        encoder.force_keyframe();
        tokio::time::sleep(KEYFRAME_PAUSE).await;
    }
}

fn count_skipped(frames: i64) {
    metrics::counter!("lectern_lecture_skipped_frames").increment(frames as u64);
}

/// The scene and the picture it is drawn into.
struct Easel {
    scene: Scene,
    picture: Picture,
}

impl Easel {
    async fn new(config: &Config) -> Result<Self, Error> {
        let Config {
            width, height, frame, ..
        } = *config;
        let scene = off_thread(move || Scene::new(width, height, frame)).await;
        let scene = scene.ok_or(Error::BadSize { width, height })?;
        Ok(Easel {
            scene,
            picture: Picture::black(width, height),
        })
    }

    async fn drawn(mut self, wall: WallTime) -> Self {
        off_thread(move || {
            self.scene.draw(&mut self.picture, wall);
            self
        })
        .await
    }
}

/// Drawing takes milliseconds: not on a thread that others wait for.
async fn off_thread<T: Send + 'static>(drawing: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(drawing).await {
        Ok(drawn) => drawn,
        Err(e) if e.is_panic() => std::panic::resume_unwind(e.into_panic()),
        // The runtime is going down, and this task with it.
        Err(_) => std::future::pending().await,
    }
}
