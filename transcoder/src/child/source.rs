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
            Record::Layout(_) | Record::Rendition(_) | Record::Stills(_) | Record::End(_) => {}
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
        // Told again: its decoder knows what came before.
        if self
            .decoders
            .get(&track.id)
            .is_some_and(|known| known.codec == track.codec)
        {
            return;
        }
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
        self.studio.heard_in(frame.at);
        self.mend();
        if let Some(decoder) = self
            .decoders
            .get_mut(&frame.track)
            .and_then(|d| d.decoder.as_mut())
        {
            if decoder.is_video() {
                self.studio.given(frame.at);
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;
    use crate::decode::Decoded;
    use crate::line::{Due, Start};
    use crate::picture::Face;
    use crate::wire::Job;
    use bytes::Bytes;
    use std::time::SystemTime;
    use timeline::{Grid, SourceName, Span, Timeline, WallTime};
    use tokio::sync::Notify;

    /// A line that is taken up a minute after its origin.
    fn studio(now: WallTime) -> (Arc<Studio>, Timeline) {
        gst::init().unwrap();
        let timeline = Timeline::starting(now - Span::from_millis(60_000));
        let job = Job {
            broadcast: "algebra-1".parse().unwrap(),
            timeline,
            grid: Grid::default(),
            goes_on: None,
        };
        let start = Start {
            slot: 1800,
            audio: 2813,
        };
        (
            Arc::new(Studio::new(
                &Config::default(),
                &job,
                start,
                Arc::new(Notify::new()),
            )),
            timeline,
        )
    }

    fn face(studio: &Studio, now: WallTime) -> Face<gst::Buffer> {
        loop {
            match studio.line().next(now + Span::from_millis(1_000), true).unwrap() {
                Due::Slot { face, .. } => return face,
                Due::Sound { .. } => {}
                Due::Over => unreachable!(),
            }
        }
    }

    #[test]
    fn frames_that_are_long_past_do_not_bring_a_dead_picture_back() {
        let now = WallTime::from(SystemTime::now());
        for (ago, slated) in [(20_000, true), (0, false)] {
            let (studio, timeline) = studio(now);
            let mut source = Source::new(gst::Caps::new_empty(), studio.clone());
            let at = timeline.at(now - Span::from_millis(ago));
            studio.picture(at, gst::Buffer::new());
            source.take(Record::Frame(Frame {
                track: TrackId(1),
                at,
                keyframe: true,
                payload: Bytes::new(),
            }));
            assert_eq!(face(&studio, now) == Face::Slate, slated, "{ago} ms ago");
        }
    }

    #[test]
    fn a_track_that_is_told_again_keeps_its_decoder() {
        let (studio, _) = studio(SystemTime::now().into());
        let canvas = crate::encode::Ladder::canvas(&Config::default());
        let mut source = Source::new(canvas, studio);
        let track = Track {
            id: TrackId(1),
            codec: Codec::Opus,
            source: SourceName::main(),
        };
        source.take(Record::Track(track.clone()));
        let built = source.decoders[&track.id].built;
        source.take(Record::Track(track.clone()));
        assert_eq!(source.decoders[&track.id].built, built);
    }
}
