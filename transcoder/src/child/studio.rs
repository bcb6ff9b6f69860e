//! The line, shared with the decoders: their pictures and sound go straight into it, on GStreamer's threads.
//!
//! Nobody who holds it waits for anything, so a decoder is never stopped by the line, nor the line by a decoder.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gstreamer as gst;
use timeline::{MediaTime, Timeline};
use tokio::sync::Notify;

use super::{log, now};
use crate::Config;
use crate::decode::Decoded;
use crate::line::{Line, Start};
use crate::sound::Sample;
use crate::wire::Job;

pub struct Studio {
    line: Mutex<Line<gst::Buffer>>,
    timeline: Timeline,
    /// Something happened that the main loop must see: a decoder failed, an encoder has room again.
    changed: Arc<Notify>,
    keyframe_wanted: AtomicBool,
    decode_errors: AtomicU64,
}

impl Studio {
    pub fn new(config: &Config, job: &Job, start: Start, changed: Arc<Notify>) -> Self {
        Studio {
            line: Mutex::new(Line::new(job.timeline, job.grid, config.line_delay(), start)),
            timeline: job.timeline,
            changed,
            keyframe_wanted: AtomicBool::new(false),
            decode_errors: AtomicU64::new(0),
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

    pub fn count_decode_error(&self) {
        self.decode_errors.fetch_add(1, Ordering::Relaxed);
    }

    pub fn take_decode_errors(&self) -> u64 {
        self.decode_errors.swap(0, Ordering::Relaxed)
    }
}

impl Decoded for Studio {
    fn picture(&self, at: MediaTime, canvas: gst::Buffer) {
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
