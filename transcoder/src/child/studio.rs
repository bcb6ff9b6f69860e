//! The line, shared with the decoders: their pictures and sound go straight into it, on GStreamer's threads, each
//! decoder's to the [`Seat`] of its track.
//!
//! Nobody who holds it waits for anything, so a decoder is never stopped by the line, nor the line by a decoder.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use timeline::{MediaTime, SourceName, Span, Timeline, TrackId};
use tokio::sync::Notify;

use super::{log, now};
use crate::Config;
use crate::decode::{Decoded, Stamps};
use crate::line::{Line, MOST_MEASURED, Start};
use crate::scene::Picture;
use crate::sound::Sample;
use crate::wire::Job;

/// Two pictures are further apart than this.
const ROUNDING: Span = Span::from_millis(1);

pub struct Studio {
    line: Mutex<Line<Picture>>,
    timeline: Timeline,
    /// Something happened that the main loop must see: a decoder failed, an encoder has room again.
    changed: Arc<Notify>,
    keyframe_wanted: AtomicBool,
    decode_errors: AtomicU64,
    b_frames: AtomicU64,
    /// Said once is enough.
    told_of_b_frames: AtomicBool,
    /// How long pictures took to decode, in seconds.
    decoding_s: Mutex<Vec<f32>>,
}

impl Studio {
    pub fn new(config: &Config, job: &Job, start: Start, changed: Arc<Notify>) -> Self {
        Studio {
            line: Mutex::new(Line::new(job.timeline, job.grid, config.line_delay(), start)),
            timeline: job.timeline,
            changed,
            keyframe_wanted: AtomicBool::new(false),
            decode_errors: AtomicU64::new(0),
            b_frames: AtomicU64::new(0),
            told_of_b_frames: AtomicBool::new(false),
            decoding_s: Mutex::default(),
        }
    }

    pub fn line(&self) -> MutexGuard<'_, Line<Picture>> {
        lock(&self.line)
    }

    /// Who sends this source was heard.
    pub fn heard(&self, source: &SourceName, at: MediaTime) {
        let returns = self.line().heard(source, at);
        if returns {
            // A still screen may send no picture for long, and none that decodes by itself.
            self.want_keyframe();
        }
    }

    /// Who sends this source was heard in a frame captured at `at`. Not now: what a respawned child is fed first may be
    /// long past. And not later than now, whatever the publisher's clock says.
    pub fn heard_in(&self, source: &SourceName, at: MediaTime) {
        let now = self.timeline.at(now());
        self.heard(source, at.min(now));
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

    /// How long the pictures since the last call took to decode, in seconds.
    pub fn take_decoding_s(&self) -> Vec<f32> {
        std::mem::take(&mut lock(&self.decoding_s))
    }

    pub fn count_decode_error(&self) {
        self.decode_errors.fetch_add(1, Ordering::Relaxed);
    }

    pub fn take_decode_errors(&self) -> u64 {
        self.decode_errors.swap(0, Ordering::Relaxed)
    }

    /// B-frames since the last call.
    pub fn take_b_frames(&self) -> u64 {
        self.b_frames.swap(0, Ordering::Relaxed)
    }
}

/// Where the decoder of one track puts its work.
pub struct Seat {
    track: TrackId,
    studio: Arc<Studio>,
    /// Capture times of the frames that the decoder was given, and when.
    given: Mutex<VecDeque<(MediaTime, Instant)>>,
}

impl Seat {
    pub fn new(track: TrackId, studio: Arc<Studio>) -> Self {
        Seat {
            track,
            studio,
            given: Mutex::default(),
        }
    }

    /// The decoder is given the frame of a picture.
    pub fn given(&self, at: MediaTime) {
        let mut given = lock(&self.given);
        // A decoder that puts nothing out is not measured.
        if given.len() == MOST_MEASURED {
            given.pop_front();
        }
        given.push_back((at, Instant::now()));
    }

    /// `at` has been through GStreamer's nanoseconds.
    fn done(&self, at: MediaTime) {
        let (mut since, mut given) = (None, lock(&self.given));
        while let Some((_, given)) = given.pop_front_if(|(given, _)| *given - at <= ROUNDING) {
            since = Some(given);
        }
        let mut took_s = lock(&self.studio.decoding_s);
        if let Some(since) = since.filter(|_| took_s.len() < MOST_MEASURED) {
            took_s.push(since.elapsed().as_secs_f32());
        }
    }
}

impl Decoded for Seat {
    fn picture(&self, at: MediaTime, picture: Picture) {
        self.done(at);
        self.studio.line().picture(self.track, at, picture, now());
    }

    fn sound(&self, at: MediaTime, packet: &[Sample]) {
        self.studio.line().sound(self.track, at, packet);
    }

    fn reordered(&self, stamps: Stamps) {
        self.studio.b_frames.fetch_add(1, Ordering::Relaxed);
        if !self.studio.told_of_b_frames.swap(true, Ordering::Relaxed) {
            let stamps = match stamps {
                Stamps::Presentation => "presentation times",
                Stamps::Decode => "decode times instead of presentation times",
            };
            log(format_args!(
                "the publisher sends B-frames, stamped with {stamps}: pictures come later than they need to; \
                 set its encoder to no B-frames (OBS: Settings, Output, Max B-frames 0)"
            ));
        }
    }

    fn keyframe_wanted(&self) {
        self.studio.want_keyframe();
    }

    fn failed(&self, why: String) {
        log(format_args!("a decoder failed and is built anew: {why}"));
        self.studio.count_decode_error();
        self.studio.changed.notify_one();
    }
}

/// A panic under a lock was a bug of ours; what it guards is still the best there is.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
