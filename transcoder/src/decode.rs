//! One source track decoded: frames in, pictures or samples out.
//!
//! Whatever comes in, the line goes on: a decoder that fails says so once and is built anew by its owner.

mod opus;
mod order;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use gstreamer::prelude::*;
use gstreamer::{self as gst, ClockTime};
use gstreamer_app::{AppSink, AppSinkCallbacks, AppSrc};
use gstreamer_video::ForceKeyUnitEvent;
use timeline::{Codec, Frame, MediaTime, Span};

use crate::Error;
use crate::scene::Picture;
use crate::sound::{CHANNELS, RATE, Sample};

pub use order::Stamps;

/// GStreamer has no time before zero, but a picture may be captured before the origin.
const OFFSET: Span = Span::from_millis(3_600_000);

/// Frames that wait for the decoder: a respawned one is given a whole GOP at once. Beyond this it hangs, and
/// pictures are left out until the next keyframe.
const MAX_WAITING: u64 = 600;

/// Telephone sound that is more off than this from where its samples are counted to stand is put where it belongs.
const APART: Span = Span::from_millis(5);

/// When what a decoder put out was captured. Called on its thread.
type Times = Box<dyn FnMut(&gst::BufferRef) -> Option<MediaTime> + Send>;

/// Where a decoder's work goes. Called on GStreamer's threads.
pub trait Decoded: Send + Sync + 'static {
    fn picture(&self, at: MediaTime, picture: Picture);
    fn sound(&self, at: MediaTime, packet: &[Sample]);
    /// A B-frame, and what its sender's stamps are.
    fn reordered(&self, stamps: Stamps);
    /// No picture can be decoded before the next keyframe.
    fn keyframe_wanted(&self);
    /// The decoder gave up; it takes nothing more.
    fn failed(&self, why: String);
}

pub struct Decoder {
    codec: Codec,
    pipeline: gst::Pipeline,
    source: AppSrc,
    failed: Arc<AtomicBool>,
    to: Arc<dyn Decoded>,
    wants_keyframe: bool,
    gaps: opus::Gaps,
    /// Of telephone sound: where it ends, as the resampler counts.
    counted: Option<MediaTime>,
    /// Frames that went from the queue into the decoder.
    taken: Arc<AtomicU64>,
}

impl Decoder {
    /// `pictures`: what pictures may be; they are scaled to that, and not stretched.
    pub fn start(codec: Codec, pictures: &gst::Caps, to: Arc<dyn Decoded>) -> Result<Self, Error> {
        let pipeline = gst::parse::launch(&description(codec, pictures))?
            .downcast::<gst::Pipeline>()
            .map_err(|_| Error::GStreamer("the decoder is no pipeline".into()))?;
        let source: AppSrc = named(&pipeline, "in")?;
        let failed = Arc::new(AtomicBool::new(false));
        let times: Times = match codec {
            Codec::H264 => order::follow(&named(&pipeline, "dec")?, to.clone()),
            Codec::Opus => opus::follow(&named(&pipeline, "dec")?),
            _ => Box::new(|buffer| buffer.pts().map(media_time)),
        };
        put_out(&named(&pipeline, "out")?, codec, times, to.clone());
        report_errors(&pipeline, failed.clone(), to.clone())?;
        if codec.is_video() {
            pass_keyframe_requests(&source, to.clone());
        }
        let taken = Arc::<AtomicU64>::default();
        count(&source, taken.clone());
        pipeline.set_state(gst::State::Playing)?;
        let wants_keyframe = codec.is_video();
        Ok(Decoder {
            codec,
            pipeline,
            source,
            failed,
            to,
            wants_keyframe,
            gaps: opus::Gaps::default(),
            counted: None,
            taken,
        })
    }

    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    pub fn is_video(&self) -> bool {
        self.codec.is_video()
    }

    pub fn push(&mut self, frame: &Frame) {
        let Some(pts) = clock_time(frame.at) else { return };
        if self.codec.is_video() && !self.is_decodable(frame) {
            return;
        }
        let mut buffer = gst::Buffer::from_slice(frame.payload.clone());
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(pts);
            if self.codec == Codec::H264 {
                order::stamp(buffer, pts);
            }
            if !frame.keyframe {
                buffer.set_flags(gst::BufferFlags::DELTA_UNIT);
            }
        }
        if !self.codec.is_video() && self.codec != Codec::Opus && self.is_apart(frame) {
            buffer.make_mut().set_flags(gst::BufferFlags::DISCONT);
        }
        if self.codec == Codec::Opus {
            return self.gaps.push(&self.source, frame.at, &frame.payload, buffer);
        }
        // A decoder that failed has said so.
        let _ = self.source.push_buffer(buffer);
    }

    /// Whether telephone sound does not follow what came before. GStreamer's resampler counts samples, and takes
    /// up to 31 ms that are missing for jitter: what follows would come as much too early.
    fn is_apart(&mut self, frame: &Frame) -> bool {
        // G.722, PCMU and PCMA: 8,000 bytes a second.
        let span = Span::from_ticks(frame.payload.len() as i64 * 90 / 8);
        let apart = self
            .counted
            .is_none_or(|counted| (frame.at - counted).ticks().abs() > APART.ticks());
        let begin = self.counted.filter(|_| !apart).unwrap_or(frame.at);
        self.counted = Some(begin + span);
        apart
    }

    /// How many frames the decoder has taken, if more wait for it.
    pub fn taken(&self) -> Option<u64> {
        let waits = self.source.current_level_buffers() > 0 && !self.has_failed();
        waits.then(|| self.taken.load(Ordering::Relaxed))
    }

    /// Frames were lost: no picture before the next keyframe.
    pub fn lost(&mut self) {
        self.wants_keyframe = self.codec.is_video();
    }

    fn is_decodable(&mut self, frame: &Frame) -> bool {
        if self.source.current_level_buffers() > MAX_WAITING && !self.wants_keyframe {
            self.wants_keyframe = true;
            self.to.keyframe_wanted();
        }
        self.wants_keyframe &= !frame.keyframe;
        !self.wants_keyframe
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// One decoding thread: frame threads would hold pictures back.
fn description(codec: Codec, pictures: &gst::Caps) -> String {
    let to_pictures = format!("videoconvert ! videoscale add-borders=true ! {pictures}");
    let to_samples = format!(
        "audioconvert ! audioresample ! audio/x-raw,format=F32LE,layout=interleaved,rate={RATE},channels={CHANNELS}"
    );
    let (caps, decode) = match codec {
        Codec::H264 => (
            "video/x-h264,stream-format=byte-stream,alignment=au",
            format!("h264parse ! avdec_h264 name=dec max-threads=1 ! {to_pictures}"),
        ),
        Codec::Vp8 => ("video/x-vp8", format!("vp8dec threads=1 ! {to_pictures}")),
        Codec::Vp9 => ("video/x-vp9", format!("vp9dec threads=1 ! {to_pictures}")),
        Codec::Av1 => (
            "video/x-av1,stream-format=obu-stream,alignment=tu",
            format!("av1dec ! {to_pictures}"),
        ),
        Codec::G722 => (
            "audio/G722,channels=1,rate=16000",
            format!("avdec_g722 ! {to_samples}"),
        ),
        Codec::Pcmu => (
            "audio/x-mulaw,channels=1,rate=8000",
            format!("mulawdec ! {to_samples}"),
        ),
        Codec::Pcma => (
            "audio/x-alaw,channels=1,rate=8000",
            format!("alawdec ! {to_samples}"),
        ),
        Codec::Opus => (
            "audio/x-opus,channel-mapping-family=0,channels=2,rate=48000",
            format!("opusdec name=dec plc=true ! {to_samples}"),
        ),
    };
    format!(
        "appsrc name=in format=time is-live=false block=false max-bytes=0 max-buffers=0 max-time=0 caps={caps} ! \
         {decode} ! appsink name=out sync=false async=false"
    )
}

fn put_out(sink: &AppSink, codec: Codec, mut times: Times, to: Arc<dyn Decoded>) {
    let callbacks = AppSinkCallbacks::builder().new_sample(move |sink| {
        let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
        let Some(buffer) = sample.buffer_owned() else {
            return Ok(gst::FlowSuccess::Ok);
        };
        let Some(at) = times(&buffer) else {
            return Ok(gst::FlowSuccess::Ok);
        };
        if codec.is_video() {
            if let Some(picture) = Picture::of(&sample) {
                to.picture(at, picture);
            }
        } else if let Ok(map) = buffer.map_readable() {
            to.sound(at, &samples(&map));
        }
        Ok(gst::FlowSuccess::Ok)
    });
    sink.set_callbacks(callbacks.build());
}

fn count(source: &AppSrc, taken: Arc<AtomicU64>) {
    if let Some(pad) = source.static_pad("src") {
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            taken.fetch_add(1, Ordering::Relaxed);
            gst::PadProbeReturn::Ok
        });
    }
}

/// The decoder asks its source for a keyframe when it cannot go on; the source is the publisher.
fn pass_keyframe_requests(source: &AppSrc, to: Arc<dyn Decoded>) {
    if let Some(pad) = source.static_pad("src") {
        pad.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |_, info| {
            if info.event().is_some_and(|event| ForceKeyUnitEvent::is(event)) {
                to.keyframe_wanted();
            }
            gst::PadProbeReturn::Ok
        });
    }
}

fn report_errors(
    pipeline: &gst::Pipeline,
    failed: Arc<AtomicBool>,
    to: Arc<dyn Decoded>,
) -> Result<(), Error> {
    let bus = pipeline.bus().ok_or_else(|| Error::GStreamer("no bus".into()))?;
    bus.set_sync_handler(move |_, message| {
        if let gst::MessageView::Error(e) = message.view()
            && !failed.swap(true, Ordering::AcqRel)
        {
            to.failed(e.error().to_string());
        }
        gst::BusSyncReply::Drop
    });
    Ok(())
}

fn named<T: IsA<gst::Element>>(pipeline: &gst::Pipeline, name: &str) -> Result<T, Error> {
    pipeline
        .by_name(name)
        .and_then(|element| element.downcast().ok())
        .ok_or_else(|| Error::GStreamer(format!("no {name} in the decoder")))
}

fn samples(bytes: &[u8]) -> Vec<Sample> {
    let (samples, _) = bytes.as_chunks::<{ 4 * CHANNELS }>();
    samples
        .iter()
        .map(|[a, b, c, d, e, f, g, h]| {
            [
                f32::from_le_bytes([*a, *b, *c, *d]),
                f32::from_le_bytes([*e, *f, *g, *h]),
            ]
        })
        .collect()
}

fn clock_time(at: MediaTime) -> Option<ClockTime> {
    let nanos = u64::try_from((at - MediaTime::ZERO + OFFSET).nanos()).ok()?;
    Some(ClockTime::from_nseconds(nanos))
}

fn media_time(time: ClockTime) -> MediaTime {
    MediaTime::ZERO + Span::from_nanos(time.nseconds() as i64) - OFFSET
}

#[cfg(test)]
mod tests;
