//! The publisher's tracks and their decoders. Whatever happens to them, the line goes on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gstreamer as gst;
use timeline::feed::Record;
use timeline::{Codec, Frame, Track, TrackId};

use super::log;
use super::studio::Studio;
use crate::decode::Decoder;

/// Tracks at once. A publisher has one of each kind; a few more may overlap while it changes them.
const MAX_TRACKS: usize = 8;
/// A decoder that keeps failing is built anew this often at most.
const MEND_EVERY: Duration = Duration::from_millis(500);

pub struct Source {
    canvas: gst::Caps,
    studio: Arc<Studio>,
    decoders: BTreeMap<TrackId, Decoding>,
}

struct Decoding {
    codec: Codec,
    /// None while it cannot be built.
    decoder: Option<Decoder>,
    built: Instant,
}

impl Source {
    pub fn new(canvas: gst::Caps, studio: Arc<Studio>) -> Self {
        Source {
            canvas,
            studio,
            decoders: BTreeMap::new(),
        }
    }

    pub fn take(&mut self, record: Record) {
        match record {
            Record::Track(track) => self.begin(track),
            Record::TrackEnded(id) => self.end(id),
            Record::Heard(at) => self.studio.line().heard(at),
            Record::Frame(frame) => self.frame(&frame),
            Record::Rendition(_) | Record::End(_) => {}
        }
    }

    /// Records were lost: no picture before the next keyframe.
    pub fn lost(&mut self) {
        self.decoders
            .values_mut()
            .filter_map(|d| d.decoder.as_mut())
            .for_each(Decoder::lost);
        self.studio.want_keyframe();
    }

    /// Builds decoders that failed anew.
    pub fn mend(&mut self) {
        let (canvas, studio) = (&self.canvas, &self.studio);
        for decoding in self.decoders.values_mut() {
            let failed = decoding.decoder.as_ref().is_none_or(Decoder::has_failed);
            if failed && decoding.built.elapsed() >= MEND_EVERY {
                *decoding = build(decoding.codec, canvas, studio);
                if decoding.codec.is_video() {
                    studio.want_keyframe();
                }
            }
        }
    }

    fn begin(&mut self, track: Track) {
        if self.decoders.len() >= MAX_TRACKS && !self.decoders.contains_key(&track.id) {
            log(format_args!(
                "track {} is one too many: {MAX_TRACKS} are decoded at once",
                track.id
            ));
            return;
        }
        if track.codec.is_video() {
            self.studio.line().picture_track_ended();
            self.studio.want_keyframe();
        }
        self.decoders
            .insert(track.id, build(track.codec, &self.canvas, &self.studio));
    }

    fn end(&mut self, id: TrackId) {
        if let Some(decoding) = self.decoders.remove(&id)
            && decoding.codec.is_video()
        {
            self.studio.line().picture_track_ended();
        }
    }

    fn frame(&mut self, frame: &Frame) {
        self.studio.heard_now();
        self.mend();
        if let Some(decoder) = self
            .decoders
            .get_mut(&frame.track)
            .and_then(|d| d.decoder.as_mut())
        {
            decoder.push(frame);
        }
    }
}

fn build(codec: Codec, canvas: &gst::Caps, studio: &Arc<Studio>) -> Decoding {
    let decoder = Decoder::start(codec, canvas, studio.clone());
    if let Err(e) = &decoder {
        log(format_args!("no decoder for {}: {e}", codec.name()));
        studio.count_decode_error();
    }
    Decoding {
        codec,
        decoder: decoder.ok(),
        built: Instant::now(),
    }
}
