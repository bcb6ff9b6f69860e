//! GStreamer: raw pictures and sound in, H.264 and Opus frames out.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::StreamExt;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;
use timeline::feed::{Producer, Record};
use timeline::{Frame, MediaTime, Span, TrackId};

use super::picture::Picture;
use super::{AUDIO, Config, Error, PACKET, VIDEO, beep};

/// Pictures that may wait for x264: with one more the lecture would run behind.
const PICTURES_WAITING: u64 = 2;

/// One second of sound: what is made up for after a stall.
const PACKETS_WAITING: u64 = super::CATCH_UP_PACKETS as u64;

/// Where OpusHead tells how much of the first packet is not sound yet (RFC 7845 §5.1).
const OPUS_HEAD_PRE_SKIP: std::ops::Range<usize> = 10..12;

pub struct Encoder {
    pipeline: gst::Pipeline,
    pictures: gst_app::AppSrc,
    sound: gst_app::AppSrc,
    x264: gst::Element,
    /// The pictures' time 0 in GStreamer.
    start: MediaTime,
    packets: Arc<Mutex<Packets>>,
}

/// The sound that opusenc was given: one packet comes out for each that goes in, in order.
///
/// opusenc is told of no gaps, and its times are not used: it places the first packet a lookahead late, and all
/// that follow a gap.
#[derive(Default)]
struct Packets {
    pushed: u64,
    captured: VecDeque<MediaTime>,
}

impl Encoder {
    /// Frames go to `out` as they come. Nothing captured before `start` may be handed in.
    pub fn start(config: &Config, start: MediaTime, out: Producer) -> Result<Self, Error> {
        gst::init().map_err(|e| Error::Start(e.to_string()))?;
        let pipeline = gst::parse::launch(&description(config)).map_err(|e| Error::Start(e.to_string()))?;
        let pipeline = pipeline
            .downcast::<gst::Pipeline>()
            .map_err(|_| missing("pipeline"))?;
        let x264 = pipeline.by_name("x264").ok_or_else(|| missing("x264"))?;
        let encoder = Encoder {
            pictures: named(&pipeline, "pictures")?,
            sound: named(&pipeline, "sound")?,
            x264,
            start,
            packets: Arc::default(),
            pipeline,
        };
        let (video_out, packets) = (out.clone(), encoder.packets.clone());
        encoder.on_frame("h264", move |sample| {
            if let Some(time) = running_time(sample) {
                send(&video_out, VIDEO, start + time, sample);
            }
        })?;
        encoder.on_frame("opus", move |sample| {
            let captured = lock(&packets).captured.pop_front();
            if let Some(at) = captured {
                // A decoder that plays every sample (WebRTC's do) starts with the encoder's lookahead: the packet's
                // first sample was captured that much before what the encoder was given with it.
                send(&out, AUDIO, at - lookahead(sample), sample);
            }
        })?;
        match encoder.pipeline.set_state(gst::State::Playing) {
            Ok(_) => Ok(encoder),
            Err(e) => Err(Error::Start(e.to_string())),
        }
    }

    /// True while x264 has not taken what it was given: the next picture would only wait.
    pub fn is_behind(&self) -> bool {
        self.pictures.current_level_buffers() >= PICTURES_WAITING
    }

    pub fn picture(&self, at: MediaTime, picture: &Picture) {
        push(&self.pictures, at - self.start, picture.bytes().to_vec());
    }

    /// One packet's samples, interleaved. Dropped if a second of sound waits already.
    pub fn sound(&self, at: MediaTime, samples: &[i16]) {
        if self.sound.current_level_buffers() >= PACKETS_WAITING {
            return;
        }
        let mut packets = lock(&self.packets);
        push(
            &self.sound,
            PACKET.times(packets.pushed as i64),
            samples.iter().flat_map(|s| s.to_le_bytes()).collect(),
        );
        packets.pushed += 1;
        packets.captured.push_back(at);
    }

    pub fn force_keyframe(&self) {
        let event = gst_video::UpstreamForceKeyUnitEvent::builder()
            .all_headers(true)
            .build();
        self.x264.send_event(event);
    }

    /// Resolves when the pipeline fails.
    pub async fn fault(&self) -> Error {
        let Some(bus) = self.pipeline.bus() else {
            return missing("bus");
        };
        let mut messages = bus.stream();
        while let Some(message) = messages.next().await {
            if let gst::MessageView::Error(e) = message.view() {
                return Error::Encoder(format!("{} ({})", e.error(), e.debug().unwrap_or_default()));
            }
        }
        Error::Encoder("the pipeline is gone".to_owned())
    }

    fn on_frame<F>(&self, sink: &str, mut send: F) -> Result<(), Error>
    where
        F: FnMut(&gst::Sample) + Send + 'static,
    {
        let sink: gst_app::AppSink = named(&self.pipeline, sink)?;
        let callbacks = gst_app::AppSinkCallbacks::builder().new_sample(move |sink| {
            send(&sink.pull_sample().map_err(|_| gst::FlowError::Eos)?);
            Ok(gst::FlowSuccess::Ok)
        });
        sink.set_callbacks(callbacks.build());
        Ok(())
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        if let Err(e) = self.pipeline.set_state(gst::State::Null) {
            tracing::warn!("the lecture's encoder does not stop cleanly: {e}");
        }
    }
}

/// One thread and one slice: the publisher shares its machine. No scene cuts: keyframes come when they are due or
/// asked for.
fn description(config: &Config) -> String {
    let Config {
        width,
        height,
        bitrate_kbps,
        keyframe_every,
        ..
    } = config;
    let (rate, channels, opus) = (
        beep::SAMPLE_RATE,
        beep::CHANNELS,
        config.audio_bitrate_kbps * 1000,
    );
    let frame = config.frame.ticks();
    format!(
        "appsrc name=pictures is-live=true format=time \
           caps=video/x-raw,format=I420,width={width},height={height},framerate=90000/{frame},\
           pixel-aspect-ratio=1/1,interlace-mode=progressive,colorimetry=bt709 \
         ! x264enc name=x264 tune=zerolatency speed-preset=superfast threads=1 sliced-threads=false \
           bitrate={bitrate_kbps} vbv-buf-capacity=1000 key-int-max={keyframe_every} bframes=0 aud=false \
           option-string=scenecut=0 \
         ! video/x-h264,profile=constrained-baseline,stream-format=byte-stream,alignment=au \
         ! appsink name=h264 sync=false async=false \
         appsrc name=sound is-live=true format=time \
           caps=audio/x-raw,format=S16LE,layout=interleaved,rate={rate},channels={channels} \
         ! opusenc bitrate={opus} frame-size=20 \
         ! appsink name=opus sync=false async=false"
    )
}

fn named<T: IsA<gst::Element>>(pipeline: &gst::Pipeline, name: &str) -> Result<T, Error> {
    let element = pipeline.by_name(name).ok_or_else(|| missing(name))?;
    element.downcast().map_err(|_| missing(name))
}

fn push(to: &gst_app::AppSrc, time: Span, data: Vec<u8>) {
    let mut buffer = gst::Buffer::from_mut_slice(data);
    if let Some(buffer) = buffer.get_mut() {
        buffer.set_pts(gst::ClockTime::from_nseconds(time.nanos().max(0) as u64));
    }
    // It refuses only when the pipeline has failed, and then `fault` says why.
    let _ = to.push_buffer(buffer);
}

fn lock(packets: &Mutex<Packets>) -> std::sync::MutexGuard<'_, Packets> {
    // Nothing can panic while it is held.
    packets.lock().unwrap_or_else(PoisonError::into_inner)
}

fn missing(name: &str) -> Error {
    Error::Start(format!("its pipeline has no {name}"))
}

fn send(out: &Producer, track: TrackId, at: MediaTime, sample: &gst::Sample) {
    let Some(Ok(data)) = sample.buffer().map(|b| b.map_readable()) else {
        return;
    };
    let keyframe = !data.buffer().flags().contains(gst::BufferFlags::DELTA_UNIT);
    out.send(Record::Frame(Frame {
        track,
        at,
        keyframe,
        payload: Bytes::copy_from_slice(&data),
    }));
}

/// The time that was pushed: x264enc shifts times and segment alike.
fn running_time(sample: &gst::Sample) -> Option<Span> {
    let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
    let time = segment.to_running_time(sample.buffer()?.pts())?;
    Some(Span::from_nanos(time.nseconds() as i64))
}

fn lookahead(sample: &gst::Sample) -> Span {
    pre_skip(sample).map_or(Span::ZERO, |samples| {
        Span::from_ticks(i64::from(samples) * timeline::TICKS_PER_SECOND / beep::SAMPLE_RATE)
    })
}

fn pre_skip(sample: &gst::Sample) -> Option<u16> {
    let headers = sample
        .caps()?
        .structure(0)?
        .get::<gst::Array>("streamheader")
        .ok()?;
    let head = headers.first()?.get::<gst::Buffer>().ok()?;
    let head = head.map_readable().ok()?;
    let bytes = head.get(OPUS_HEAD_PRE_SKIP)?;
    Some(u16::from_le_bytes(bytes.try_into().ok()?))
}
