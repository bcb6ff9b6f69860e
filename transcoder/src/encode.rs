//! The ladder: one canvas in, a rendition per rung and one of sound out, through x264 and FFmpeg's AAC.
//!
//! The rungs share one scaling cascade. An IDR stands on exactly the grid's keyframe slots in every rung, and
//! where the encoder begins.

mod description;
mod out;
mod progress;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use gstreamer::prelude::*;
use gstreamer::{self as gst, ClockTime};
use gstreamer_app::AppSrc;
use gstreamer_video::DownstreamForceKeyUnitEvent;
use timeline::{Frame, Grid, MediaTime, Rendition, Span, TrackId};
use tokio::sync::{Notify, mpsc};

use crate::copy::Shape;
use crate::line::Start;
use crate::sound::{FRAME, Sample, frame_start};
use crate::{Config, Error};
use description::{description, level};
use out::{audio_out, video_out};
pub use out::{each_sample, payload, running_time};
pub use progress::MAX_IN_FLIGHT;
use progress::{Packets, Slots};

/// The first rung.
pub const TOP: TrackId = TrackId(1);

/// Set on pictures whose slot is copied from the source.
const NOT_FOR_THE_TOP: gst::BufferFlags = gst::BufferFlags::DROPPABLE;

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
    slots: Arc<Slots>,
    packets: Arc<Packets>,
    /// The last slot that the top rung's encoder was given.
    top: i64,
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
        let slots = Arc::new(Slots::starting(start.slot, config.rungs.len(), moved));
        let packets = Arc::new(Packets::starting(start.audio));
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
                slots.clone(),
                out.clone(),
            );
        }
        let id = TrackId(config.rungs.len() as u32 + 1);
        audio_out(
            &named(&pipeline, "out-audio")?,
            id,
            config,
            packets.clone(),
            out.clone(),
        );
        report_errors(&pipeline, out)?;
        let ladder = Ladder {
            pictures: named(&pipeline, "pictures")?,
            sound: named(&pipeline, "sound")?,
            pipeline,
            grid,
            slots,
            packets,
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
        self.slots.have_room(next, self.top)
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
        self.packets.frame();
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
