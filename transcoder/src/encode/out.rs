//! What the encoders put out: each rendition, then its frames.

use std::sync::Arc;

use bytes::Bytes;
use gstreamer::{self as gst, ClockTime};
use gstreamer_app::{AppSink, AppSinkCallbacks};
use timeline::{Frame, Grid, Media, MediaTime, Rendition, TrackId};
use tokio::sync::mpsc;

use super::progress::{Packets, Slots};
use super::{Encoded, media_time};
use crate::config::AUDIO;
use crate::sound::{CHANNELS, RATE};
use crate::{Config, Error, Rung, avc};

/// What the encoder's buffer allows over a segment ([`description`](super::description)).
const PEAK_PER_CENT: u32 = 125;

pub fn video_out(
    sink: &AppSink,
    n: usize,
    rung: &Rung,
    grid: Grid,
    slots: Arc<Slots>,
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
        slots.encoded(n, grid.slot(at));
        Ok(encoded)
    });
}

pub fn audio_out(
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
        let Some(at) = packets.packet() else {
            return Ok(encoded);
        };
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
