//! The line, shared with the decoders: their pictures and sound go straight into it, on GStreamer's threads.
//!
//! Nobody who holds it waits for anything, so a decoder is never stopped by the line, nor the line by a decoder.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use gstreamer as gst;
use timeline::{MediaTime, Span, Timeline};
use tokio::sync::Notify;

use super::{log, now};
use crate::Config;
use crate::decode::Decoded;
use crate::line::{Line, MOST_MEASURED, Start};
use crate::sound::Sample;
use crate::wire::Job;

/// Two pictures are further apart than this.
const ROUNDING: Span = Span::from_millis(1);

pub struct Studio {
    line: Mutex<Line<gst::Buffer>>,
    timeline: Timeline,
    /// Something happened that the main loop must see: a decoder failed, an encoder has room again.
    changed: Arc<Notify>,
    keyframe_wanted: AtomicBool,
    decode_errors: AtomicU64,
    decoding: Mutex<Decoding>,
}

/// How long decoders take for a picture.
#[derive(Default)]
struct Decoding {
    /// Capture times of the frames they were given, and when.
    given: VecDeque<(MediaTime, Instant)>,
    took_s: Vec<f32>,
}

impl Decoding {
    fn given(&mut self, at: MediaTime, now: Instant) {
        // A decoder that puts nothing out is not measured.
        if self.given.len() == MOST_MEASURED {
            self.given.pop_front();
        }
        self.given.push_back((at, now));
    }

    /// `at` has been through GStreamer's nanoseconds.
    fn done(&mut self, at: MediaTime, now: Instant) {
        let mut since = None;
        while let Some((_, given)) = self.given.pop_front_if(|(given, _)| *given - at <= ROUNDING) {
            since = Some(given);
        }
        if let Some(since) = since.filter(|_| self.took_s.len() < MOST_MEASURED) {
            self.took_s
                .push(now.saturating_duration_since(since).as_secs_f32());
        }
    }
}

impl Studio {
    pub fn new(config: &Config, job: &Job, start: Start, changed: Arc<Notify>) -> Self {
        Studio {
            line: Mutex::new(Line::new(job.timeline, job.grid, config.line_delay(), start)),
            timeline: job.timeline,
            changed,
            keyframe_wanted: AtomicBool::new(false),
            decode_errors: AtomicU64::new(0),
            decoding: Mutex::default(),
        }
    }

    pub fn line(&self) -> MutexGuard<'_, Line<gst::Buffer>> {
        // A panic in it was a bug of ours; the line itself is still the best there is.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The publisher was heard in a frame captured at `at`. Not now: what a respawned child is fed first may be long
    /// past. And not later than now, whatever the publisher's clock says.
    pub fn heard_in(&self, at: MediaTime) {
        let now = self.timeline.at(now());
        self.line().heard(at.min(now));
    }

    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    pub fn want_keyframe(&self) {
        self.keyframe_wanted.store(true, Ordering::Release);
        self.changed.notify_one();
    }

    /// Whether a keyframe was wanted since the last call.
    pub fn take_keyframe_wanted(&self) -> bool {
        self.keyframe_wanted.swap(false, Ordering::AcqRel)
    }

    /// A decoder is given the frame of a picture.
    pub fn given(&self, at: MediaTime) {
        self.decoding().given(at, Instant::now());
    }

    /// How long the pictures since the last call took to decode, in seconds.
    pub fn take_decoding_s(&self) -> Vec<f32> {
        std::mem::take(&mut self.decoding().took_s)
    }

    fn decoding(&self) -> MutexGuard<'_, Decoding> {
        self.decoding.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn count_decode_error(&self) {
        self.decode_errors.fetch_add(1, Ordering::Relaxed);
    }

    pub fn take_decode_errors(&self) -> u64 {
        self.decode_errors.swap(0, Ordering::Relaxed)
    }
}

impl Decoded for Studio {
    fn picture(&self, at: MediaTime, canvas: gst::Buffer) {
        self.decoding().done(at, Instant::now());
        self.line().picture(at, canvas, now());
    }

    fn sound(&self, at: MediaTime, packet: &[Sample]) {
        self.line().sound(at, packet);
    }

    fn keyframe_wanted(&self) {
        self.want_keyframe();
    }

    fn failed(&self, why: String) {
        log(format_args!("a decoder failed and is built anew: {why}"));
        self.count_decode_error();
        self.changed.notify_one();
    }
}
