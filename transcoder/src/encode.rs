//! The ladder: one canvas in, a rendition per rung and one of sound out, through x264 and FFmpeg's AAC.
//!
//! The rungs share one scaling cascade. An IDR stands on exactly the grid's keyframe slots in every rung, and
//! where the encoder begins.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use gstreamer::prelude::*;
use gstreamer::{self as gst, ClockTime};
use gstreamer_app::{AppSink, AppSinkCallbacks, AppSrc};
use gstreamer_video::DownstreamForceKeyUnitEvent;
use timeline::{Frame, Grid, Media, MediaTime, Rendition, Span, TICKS_PER_SECOND, TrackId};
use tokio::sync::{Notify, mpsc};

use crate::config::{AUDIO, Passthrough};
use crate::copy::Shape;
use crate::line::Start;
use crate::sound::{CHANNELS, FRAME, RATE, Sample, frame_start};
use crate::{Config, Error, Rung, avc};

/// Slots between the first encoder and the slowest: 23 MB of 720p, and half a second.
pub const MAX_IN_FLIGHT: i64 = 16;

/// The encoder may save up this much of its bitrate and spend it at once. Over a segment of 3.2 s that makes a
/// quarter of the bitrate: Apple's authoring rules ask for a peak within 25 % of the average.
const VBV_MS: u32 = 800;
const PEAK_PER_CENT: u32 = 125;

/// The first rung.
pub const TOP: TrackId = TrackId(1);

/// Set on pictures whose slot is copied from the source.
const NOT_FOR_THE_TOP: gst::BufferFlags = gst::BufferFlags::DROPPABLE;

/// The id of the parameter sets that are made here where others may stand beside them. Encoders count from 0.
const OWN_SETS: u8 = 31;

/// Packets that AAC's first window makes before the first sample: 1,024 samples of priming. They are left out,
/// so that decoded sound stands at its media time.
const PRIMING: i64 = 1;

/// What the encoders put out, in any order between renditions.
#[derive(Debug)]
pub enum Encoded {
    Rendition(Rendition),
    Frame(Frame),
    /// A rendition has come to its end.
    Finished,
    Failed(Error),
}

pub struct Ladder {
    pipeline: gst::Pipeline,
    pictures: AppSrc,
    sound: AppSrc,
    grid: Grid,
    audio: Arc<Packets>,
    progress: Arc<Progress>,
    /// The last slot that the top rung's encoder was given.
    top: i64,
}

/// The slot after the last one that each rung has encoded.
struct Progress {
    rungs: Vec<AtomicI64>,
    moved: Arc<Notify>,
}

/// Counts AAC frames in and packets out: each packet stands on the grid of frames, whatever its timestamp.
struct Packets {
    first: i64,
    frames: AtomicI64,
    packets: AtomicI64,
}

impl Ladder {
    /// `moved` is told whenever a slot left an encoder.
    pub fn start(
        config: &Config,
        grid: Grid,
        start: Start,
        out: mpsc::Sender<Encoded>,
        moved: Arc<Notify>,
    ) -> Result<Self, Error> {
        let pipeline = gst::parse::launch(&description(config, grid))?
            .downcast::<gst::Pipeline>()
            .map_err(|_| Error::GStreamer("the ladder is no pipeline".into()))?;
        let rungs = config.rungs.iter().map(|_| AtomicI64::new(start.slot)).collect();
        let progress = Arc::new(Progress { rungs, moved });
        let audio = Arc::new(Packets {
            first: start.audio,
            frames: AtomicI64::new(0),
            packets: AtomicI64::new(0),
        });
        for (n, rung) in config.rungs.iter().enumerate() {
            if n == 0 {
                leave_out_copied(&named(&pipeline, "queue-0")?)?;
            }
            force_keyframes(&named(&pipeline, &format!("x264-{n}"))?, grid)?;
            video_out(
                &named(&pipeline, &format!("out-{n}"))?,
                n,
                rung,
                grid,
                progress.clone(),
                out.clone(),
            );
        }
        let id = TrackId(config.rungs.len() as u32 + 1);
        audio_out(
            &named(&pipeline, "out-audio")?,
            id,
            config,
            audio.clone(),
            out.clone(),
        );
        report_errors(&pipeline, out)?;
        let ladder = Ladder {
            pictures: named(&pipeline, "pictures")?,
            sound: named(&pipeline, "sound")?,
            pipeline,
            grid,
            audio,
            progress,
            top: start.slot - 1,
        };
        ladder.pipeline.set_state(gst::State::Playing)?;
        Ok(ladder)
    }

    /// The canvas every picture has.
    pub fn canvas(config: &Config) -> gst::Caps {
        let (width, height) = config.canvas();
        gst::Caps::builder("video/x-raw")
            .field("format", "I420")
            .field("width", width as i32)
            .field("height", height as i32)
            .field("pixel-aspect-ratio", gst::Fraction::new(1, 1))
            .field("interlace-mode", "progressive")
            .field("colorimetry", "bt709")
            .build()
    }

    /// Whether the encoders take another picture, `next` being the next slot.
    pub fn has_room(&self, next: i64) -> bool {
        let encoded = self
            .progress
            .rungs
            .iter()
            .map(|slot| slot.load(Ordering::Acquire));
        // An encoder that has put out all it was given waits for nothing, however many slots were copied since.
        let behind = encoded
            .enumerate()
            .filter(|(n, slot)| *n > 0 || *slot <= self.top);
        let slowest = behind.map(|(_, slot)| slot).min().or(Some(next));
        slowest.is_some_and(|slowest| next - slowest < MAX_IN_FLIGHT)
    }

    /// `copied`: the top rung has the source's own picture in this slot.
    pub fn picture(&mut self, slot: i64, canvas: &gst::Buffer, copied: bool) -> Result<(), Error> {
        // A repeated picture shares its memory with the one before; only the times are its own.
        let mut buffer = canvas.copy();
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(clock_time(self.grid.slot_start(slot)));
            buffer.set_dts(None);
            buffer.set_duration(clock_time(MediaTime::ZERO + self.grid.frame));
            buffer.unset_flags(gst::BufferFlags::DISCONT | NOT_FOR_THE_TOP);
            if copied {
                buffer.set_flags(NOT_FOR_THE_TOP);
            }
        }
        if !copied {
            self.top = slot;
        }
        push(&self.pictures, buffer)
    }

    pub fn sound(&self, frame: i64, samples: &[Sample]) -> Result<(), Error> {
        let bytes: Vec<u8> = samples
            .iter()
            .flatten()
            .flat_map(|sample| sample.to_le_bytes())
            .collect();
        let mut buffer = gst::Buffer::from_mut_slice(bytes);
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(clock_time(frame_start(frame)));
            buffer.set_duration(clock_time(frame_start(1)));
        }
        self.audio.frames.fetch_add(1, Ordering::AcqRel);
        push(&self.sound, buffer)
    }

    /// Nothing follows: the encoders put out what they hold, and then each [`Encoded::Finished`].
    pub fn finish(&self) -> Result<(), Error> {
        for source in [&self.pictures, &self.sound] {
            source
                .end_of_stream()
                .map_err(|e| Error::GStreamer(e.to_string()))?;
        }
        Ok(())
    }
}

impl Drop for Ladder {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// The whole ladder in GStreamer's words. Each rung hangs on a queue of its own, so that rungs are encoded in
/// parallel; [`MAX_IN_FLIGHT`] bounds what is in them.
fn description(config: &Config, grid: Grid) -> String {
    let queue = "queue max-size-buffers=0 max-size-bytes=0 max-size-time=0";
    let source = "format=time is-live=false block=false max-bytes=0 max-buffers=0 max-time=0";
    let mut text = format!(
        "appsrc name=pictures {source} caps=\"{},framerate={TICKS_PER_SECOND}/{}\" ! tee name=canvas-0 ",
        Ladder::canvas(config),
        grid.frame.ticks(),
    );
    for (n, rung) in config.rungs.iter().enumerate() {
        if n > 0 {
            text += &format!(
                "canvas-{}. ! {queue} ! videoscale method=bilinear add-borders=false ! \
                 video/x-raw,width={},height={},pixel-aspect-ratio=1/1 ! tee name=canvas-{n} ",
                n - 1,
                rung.width(),
                rung.height,
            );
        }
        text += &format!(
            "canvas-{n}. ! {queue} name=queue-{n} ! {} ",
            x264(n, rung, config, grid)
        );
    }
    text += &format!(
        "appsrc name=sound {source} \
         caps=audio/x-raw,format=F32LE,layout=interleaved,rate={RATE},channels={CHANNELS},channel-mask=(bitmask)0x3 ! \
         audioconvert ! avenc_aac bitrate={} ! audio/mpeg,stream-format=raw ! appsink name=out-audio sync=false async=false",
        config.audio_bitrate_kbps * 1000,
    );
    text
}

/// One thread and no slices: no frame waits for another, and the rungs already fill the processors. No
/// keyframe is the encoder's own idea.
fn x264(n: usize, rung: &Rung, config: &Config, grid: Grid) -> String {
    let beside = match (n, config.passthrough) {
        (0, Passthrough::Auto) => beside_a_source(rung),
        _ => String::new(),
    };
    format!(
        "x264enc name=x264-{n} tune=zerolatency speed-preset={} bitrate={} vbv-buf-capacity={VBV_MS} bframes=0 \
         key-int-max={} threads=1 sliced-threads=false aud=false option-string=scenecut=0{beside} ! \
         video/x-h264,profile=high,stream-format=avc,alignment=au ! appsink name=out-{n} sync=false async=false",
        config.preset, rung.bitrate_kbps, grid.gop_frames,
    )
}

/// Parameter sets with a name of their own, and a level that leaves room for a source's: up to 1080p at 60 fps is what
/// every player decodes.
fn beside_a_source(rung: &Rung) -> String {
    format!(":sps-id={OWN_SETS}:level={}", level(rung))
}

fn level(rung: &Rung) -> u8 {
    if rung.height <= 1080 { 42 } else { 52 }
}

/// What a source's pictures must be to stand in the top rung.
pub fn shape(config: &Config) -> Shape {
    let (width, height) = config.canvas();
    Shape {
        width,
        height,
        level: config.rungs.first().map_or(0, level),
    }
}

/// Keeps the slots that are copied from the top rung's encoder.
fn leave_out_copied(queue: &gst::Element) -> Result<(), Error> {
    let pad = queue
        .static_pad("sink")
        .ok_or_else(|| Error::GStreamer("a queue has no sink".into()))?;
    pad.add_probe(gst::PadProbeType::BUFFER, |_, info| {
        let copied = info
            .buffer()
            .is_some_and(|buffer| buffer.flags().contains(NOT_FOR_THE_TOP));
        match copied {
            true => gst::PadProbeReturn::Handled,
            false => gst::PadProbeReturn::Ok,
        }
    });
    Ok(())
}

/// Asks for an IDR on the very thread and right before the picture it is for: on the grid, and behind what was not for
/// this encoder.
fn force_keyframes(encoder: &gst::Element, grid: Grid) -> Result<(), Error> {
    let pad = encoder
        .static_pad("sink")
        .ok_or_else(|| Error::GStreamer("x264enc has no sink".into()))?;
    let next = AtomicI64::new(i64::MIN);
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let at = info.buffer().and_then(|buffer| buffer.pts()).map(media_time);
        let slot = at.map(|at| grid.slot(at));
        let alone = slot.is_some_and(|slot| next.swap(slot + 1, Ordering::Relaxed) != slot);
        if alone || slot.is_some_and(|slot| grid.is_keyframe_slot(slot)) {
            pad.send_event(DownstreamForceKeyUnitEvent::builder().all_headers(false).build());
        }
        gst::PadProbeReturn::Ok
    });
    Ok(())
}

fn video_out(
    sink: &AppSink,
    n: usize,
    rung: &Rung,
    grid: Grid,
    progress: Arc<Progress>,
    out: mpsc::Sender<Encoded>,
) {
    let id = TrackId(n as u32 + 1);
    let (rung, mut announced) = (rung.clone(), false);
    each_sample(sink, out, move |sample| {
        let failed = |what: &str| Error::Encoded {
            rendition: rung.name.clone(),
            what: what.into(),
        };
        let mut encoded = Vec::with_capacity(2);
        if !announced {
            let init = codec_data(sample).ok_or_else(|| failed("no avcC"))?;
            encoded.push(Encoded::Rendition(
                video_rendition(id, &rung, grid, init).ok_or_else(|| failed("no avcC"))?,
            ));
            announced = true;
        }
        let buffer = sample.buffer().ok_or_else(|| failed("no buffer"))?;
        let at = running_time(sample, buffer).ok_or_else(|| failed("no time"))?;
        let payload = payload(buffer)
            .and_then(avc::slices)
            .ok_or_else(|| failed("no slices"))?;
        let keyframe = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        encoded.push(Encoded::Frame(Frame {
            track: id,
            at,
            keyframe,
            payload,
        }));
        progress.rungs[n].store(grid.slot(at) + 1, Ordering::Release);
        progress.moved.notify_one();
        Ok(encoded)
    });
}

fn audio_out(
    sink: &AppSink,
    id: TrackId,
    config: &Config,
    packets: Arc<Packets>,
    out: mpsc::Sender<Encoded>,
) {
    let bits = config.audio_bitrate_kbps * 1000;
    let mut announced = false;
    each_sample(sink, out, move |sample| {
        let failed = |what: &str| Error::Encoded {
            rendition: AUDIO.into(),
            what: what.into(),
        };
        let mut encoded = Vec::with_capacity(2);
        if !announced {
            let init = codec_data(sample).ok_or_else(|| failed("no AudioSpecificConfig"))?;
            encoded.push(Encoded::Rendition(audio_rendition(id, bits, init)));
            announced = true;
        }
        let packet = packets.packets.fetch_add(1, Ordering::AcqRel) - PRIMING;
        // Before the first sample, or the padding behind the last.
        if packet < 0 || packet >= packets.frames.load(Ordering::Acquire) {
            return Ok(encoded);
        }
        let at = frame_start(packets.first + packet);
        let payload = sample
            .buffer()
            .and_then(payload)
            .ok_or_else(|| failed("no packet"))?;
        encoded.push(Encoded::Frame(Frame {
            track: id,
            at,
            keyframe: true,
            payload,
        }));
        Ok(encoded)
    });
}

/// Sends on what `encoded` makes of each sample. The channel is bounded: when the parent does not read, the
/// encoders wait, and the line lags and says so.
pub fn each_sample(
    sink: &AppSink,
    out: mpsc::Sender<Encoded>,
    mut encoded: impl FnMut(&gst::Sample) -> Result<Vec<Encoded>, Error> + Send + 'static,
) {
    let finished = out.clone();
    let new_sample = move |sink: &AppSink| {
        let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
        let (encoded, flow) = match encoded(&sample) {
            Ok(encoded) => (encoded, Ok(gst::FlowSuccess::Ok)),
            Err(error) => (vec![Encoded::Failed(error)], Err(gst::FlowError::Error)),
        };
        for encoded in encoded {
            out.blocking_send(encoded).map_err(|_| gst::FlowError::Flushing)?;
        }
        flow
    };
    let callbacks = AppSinkCallbacks::builder().new_sample(new_sample).eos(move |_| {
        let _ = finished.blocking_send(Encoded::Finished);
    });
    sink.set_callbacks(callbacks.build());
}

fn video_rendition(id: TrackId, rung: &Rung, grid: Grid, init: Bytes) -> Option<Rendition> {
    let average = rung.bitrate_kbps * 1000;
    Some(Rendition {
        id,
        name: rung.name.clone(),
        media: Media::Video {
            width: rung.width(),
            height: rung.height,
            frame: grid.frame,
        },
        codec: avc::codec_string(&init)?,
        bandwidth: average / 100 * PEAK_PER_CENT,
        average_bandwidth: average,
        init,
    })
}

fn audio_rendition(id: TrackId, bits: u32, init: Bytes) -> Rendition {
    Rendition {
        id,
        name: AUDIO.into(),
        media: Media::Audio {
            sample_rate: RATE,
            channels: CHANNELS as u32,
        },
        codec: "mp4a.40.2".into(),
        bandwidth: bits / 100 * PEAK_PER_CENT,
        average_bandwidth: bits,
        init,
    }
}

fn report_errors(pipeline: &gst::Pipeline, out: mpsc::Sender<Encoded>) -> Result<(), Error> {
    let bus = pipeline.bus().ok_or_else(|| Error::GStreamer("no bus".into()))?;
    bus.set_sync_handler(move |_, message| {
        if let gst::MessageView::Error(e) = message.view() {
            // If the channel is full the encoders wait already; the supervisor's watchdog ends it.
            let _ = out.try_send(Encoded::Failed(Error::GStreamer(e.error().to_string())));
        }
        gst::BusSyncReply::Drop
    });
    Ok(())
}

fn push(source: &AppSrc, buffer: gst::Buffer) -> Result<(), Error> {
    source
        .push_buffer(buffer)
        .map(drop)
        .map_err(|e| Error::GStreamer(format!("an encoder is gone: {e}")))
}

pub fn named<T: IsA<gst::Element>>(pipeline: &gst::Pipeline, name: &str) -> Result<T, Error> {
    pipeline
        .by_name(name)
        .and_then(|element| element.downcast().ok())
        .ok_or_else(|| Error::GStreamer(format!("no {name} in the ladder")))
}

fn codec_data(sample: &gst::Sample) -> Option<Bytes> {
    payload(
        sample
            .caps()?
            .structure(0)?
            .get::<gst::Buffer>("codec_data")
            .ok()?
            .as_ref(),
    )
}

pub fn payload(buffer: &gst::BufferRef) -> Option<Bytes> {
    Some(Bytes::copy_from_slice(&buffer.map_readable().ok()?))
}

/// x264enc moves its timestamps 1,000 hours up to have room for negative DTS; the running time stays.
pub fn running_time(sample: &gst::Sample, buffer: &gst::BufferRef) -> Option<MediaTime> {
    let segment = sample.segment()?.downcast_ref::<ClockTime>()?;
    segment.to_running_time(buffer.pts()?).map(media_time)
}

fn media_time(time: ClockTime) -> MediaTime {
    MediaTime::ZERO + Span::from_nanos(time.nseconds() as i64)
}

/// Nothing on the line stands before the origin.
pub fn clock_time(at: MediaTime) -> ClockTime {
    ClockTime::from_nseconds((at - MediaTime::ZERO).nanos().max(0) as u64)
}

const _: () = assert!(FRAME == 1024);

#[cfg(test)]
mod tests;
