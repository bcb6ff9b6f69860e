//! The publishers' tracks and their decoders. Whatever happens to them, the line goes on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gstreamer as gst;
use timeline::feed::Record;
use timeline::{Frame, Track, TrackId};

use super::log;
use super::studio::{Seat, Studio};
use crate::decode::Decoder;
use crate::stall::{Patience, RunQueue};

/// Pictures decoded at once: as many as have a place on the canvas. Each costs a decoder, and memory for what waits.
const MAX_VIDEOS: usize = timeline::MAX_PLACES;
/// Sounds decoded at once: a lecture's hosts, and tracks that overlap while publishers change them.
const MAX_SOUNDS: usize = 8;
/// Tracks that wait for one of those to end. More are not remembered.
const MAX_WAITING: usize = 16;
/// A decoder that keeps failing is built anew this often at most.
const MEND_EVERY: Duration = Duration::from_millis(500);

/// A decoder that takes nothing for so long never will. A picture takes it some milliseconds.
const HUNG: Patience = Patience {
    own: Duration::from_secs(1),
    clock: Duration::from_secs(2),
};

pub struct Source {
    /// What pictures may be.
    pictures: gst::Caps,
    studio: Arc<Studio>,
    decoders: BTreeMap<TrackId, Decoding>,
    /// Tracks that are one too many, in the order in which they came.
    waiting: Vec<Track>,
    run_queue: RunQueue,
}

struct Decoding {
    track: Track,
    seat: Arc<Seat>,
    /// None while it cannot be built.
    decoder: Option<Decoder>,
    built: Instant,
    /// How many frames it had taken when it last took one, and when.
    took: Option<(u64, Instant)>,
}

impl Decoding {
    /// For how long it has taken nothing, though frames wait for it.
    fn stands(&mut self, now: Instant) -> Duration {
        let taken = self.decoder.as_ref().and_then(Decoder::taken);
        self.took = taken.map(|taken| match self.took {
            Some((before, since)) if before == taken => (taken, since),
            _ => (taken, now),
        });
        self.took.map_or(Duration::ZERO, |(_, since)| now - since)
    }
}

impl Source {
    pub fn new(pictures: gst::Caps, studio: Arc<Studio>) -> Self {
        Source {
            pictures,
            studio,
            decoders: BTreeMap::new(),
            waiting: Vec::new(),
            run_queue: RunQueue::of(None),
        }
    }

    pub fn take(&mut self, record: Record) {
        match record {
            Record::Track(track) => self.begin(track),
            Record::TrackEnded(id) => self.end(id),
            Record::Heard { source, at } => self.studio.heard(&source, at),
            Record::Frame(frame) => self.frame(&frame),
            Record::Layout(layout) => self.studio.line().layout(layout),
            Record::Rendition(_) | Record::Stills(_) | Record::End(_) => {}
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
        let (pictures, studio) = (&self.pictures, &self.studio);
        for decoding in self.decoders.values_mut() {
            let failed = decoding.decoder.as_ref().is_none_or(Decoder::has_failed);
            if failed && decoding.built.elapsed() >= MEND_EVERY {
                *decoding = build(decoding.track.clone(), pictures, studio);
                if decoding.track.codec.is_video() {
                    studio.want_keyframe();
                }
            }
        }
    }

    /// The codec of a decoder that does not return. To be asked some times a second.
    pub fn hung(&mut self, now: Instant) -> Option<&'static str> {
        let stand = self.decoders.values_mut().map(|d| (d.stands(now), d.track.codec));
        let (stands, codec) = stand.max_by_key(|(stands, _)| *stands)?;
        if stands.is_zero() {
            self.run_queue.forget();
            return None;
        }
        HUNG.is_over(stands, self.run_queue.waited())
            .then(|| codec.name())
    }

    fn begin(&mut self, track: Track) {
        let is_known = |known: &Track| known.id == track.id && known.codec == track.codec;
        // Told again: its decoder knows what came before.
        if self.decoders.values().any(|d| is_known(&d.track)) || self.waiting.iter().any(is_known) {
            return;
        }
        self.replace(&track);
        if self.has_room(&track) {
            self.decode(track);
        } else {
            self.refuse(track);
        }
    }

    /// A source has one picture and one sound at a time.
    fn replace(&mut self, new: &Track) {
        let is_replaced = |old: &Track| {
            let alike = old.codec.is_video() == new.codec.is_video();
            old.id == new.id || (old.source == new.source && alike)
        };
        self.waiting.retain(|waiting| !is_replaced(waiting));
        let old = self
            .decoders
            .values()
            .map(|d| &d.track)
            .filter(|old| is_replaced(old));
        for id in old.map(|old| old.id).collect::<Vec<_>>() {
            self.decoders.remove(&id);
            self.studio.line().do_not_wait_for(id);
        }
    }

    fn decode(&mut self, track: Track) {
        self.studio.line().track(&track);
        if track.codec.is_video() {
            self.studio.want_keyframe();
        }
        let id = track.id;
        self.decoders
            .insert(id, build(track, &self.pictures, &self.studio));
    }

    fn refuse(&mut self, track: Track) {
        let (kind, most) = if track.codec.is_video() {
            ("pictures", MAX_VIDEOS)
        } else {
            ("sounds", MAX_SOUNDS)
        };
        log(format_args!(
            "the {kind} of {} are not decoded: those of {most} sources are at once",
            track.source
        ));
        self.studio.line().do_not_wait_for(track.id);
        if self.waiting.len() < MAX_WAITING {
            self.waiting.push(track);
        }
    }

    fn has_room(&self, track: &Track) -> bool {
        let is_video = track.codec.is_video();
        let most = if is_video { MAX_VIDEOS } else { MAX_SOUNDS };
        let alike = self
            .decoders
            .values()
            .filter(|d| d.track.codec.is_video() == is_video);
        alike.count() < most
    }

    fn end(&mut self, id: TrackId) {
        self.waiting.retain(|waiting| waiting.id != id);
        self.decoders.remove(&id);
        self.studio.line().track_ended(id);
        if let Some(next) = self.waiting.iter().position(|waiting| self.has_room(waiting)) {
            let track = self.waiting.remove(next);
            self.decode(track);
        }
    }

    fn track(&self, id: TrackId) -> Option<&Track> {
        let decoded = self.decoders.get(&id).map(|decoding| &decoding.track);
        decoded.or_else(|| self.waiting.iter().find(|waiting| waiting.id == id))
    }

    fn frame(&mut self, frame: &Frame) {
        if let Some(track) = self.track(frame.track) {
            self.studio.heard_in(&track.source, frame.at);
        }
        self.mend();
        let decoding = self.decoders.get_mut(&frame.track);
        if let Some(Decoding {
            seat,
            decoder: Some(decoder),
            ..
        }) = decoding
        {
            if decoder.is_video() {
                seat.given(frame.at);
            }
            decoder.push(frame);
        }
    }
}

fn build(track: Track, pictures: &gst::Caps, studio: &Arc<Studio>) -> Decoding {
    let seat = Arc::new(Seat::new(track.id, studio.clone()));
    let decoder = Decoder::start(track.codec, pictures, seat.clone());
    if let Err(e) = &decoder {
        log(format_args!("no decoder for {}: {e}", track.codec.name()));
        studio.count_decode_error();
    }
    Decoding {
        track,
        seat,
        decoder: decoder.ok(),
        built: Instant::now(),
        took: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;
    use crate::decode::Decoded;
    use crate::line::{Due, Start};
    use crate::scene::{Canvas, Picture};
    use crate::wire::Job;
    use bytes::Bytes;
    use std::time::SystemTime;
    use timeline::{Codec, Grid, MediaTime, Span, Timeline, WallTime};
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

    fn track(id: u32, codec: Codec, source: &str) -> Track {
        Track {
            id: TrackId(id),
            codec,
            source: source.parse().unwrap(),
        }
    }

    fn is_slated(studio: &Studio, now: WallTime) -> bool {
        loop {
            match studio.line().next(now + Span::from_millis(1_000), true).unwrap() {
                Due::Slot { scene, .. } => return scene.is_slate(),
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
            let mut source = Source::new(Canvas::pictures(1280, 720), studio.clone());
            source.take(Record::Track(track(1, Codec::H264, "main")));
            let at = timeline.at(now - Span::from_millis(ago));
            let picture = Picture {
                buffer: gst::Buffer::new(),
                width: 1280,
                height: 720,
            };
            Seat::new(TrackId(1), studio.clone()).picture(at, picture);
            source.take(Record::Frame(Frame {
                track: TrackId(1),
                at,
                keyframe: true,
                payload: Bytes::new(),
            }));
            assert_eq!(is_slated(&studio, now), slated, "{ago} ms ago");
        }
    }

    #[test]
    fn a_decoder_that_does_not_return_is_noticed() {
        let (studio, _) = studio(SystemTime::now().into());
        let mut source = Source::new(Canvas::pictures(1280, 720), studio.clone());
        let id = TrackId(1);
        source.take(Record::Track(track(1, Codec::Opus, "main")));
        // Silence, which the decoder cannot hand on: it waits for the line.
        let line = studio.line();
        let decoder = source.decoders.get_mut(&id).unwrap().decoder.as_mut().unwrap();
        for n in 0..20 {
            decoder.push(&Frame {
                track: id,
                at: MediaTime::ZERO + Span::from_millis(n * 20),
                keyframe: true,
                payload: Bytes::from_static(&[0xf8, 0xff, 0xfe]),
            });
        }
        let (pause, later) = (Duration::from_millis(20), Duration::from_secs(3));
        // The first packets may be taken yet.
        while source.hung(Instant::now() + later).is_none() {
            source.hung(Instant::now());
            std::thread::sleep(pause);
        }
        assert_eq!(source.hung(Instant::now() + later), Some("opus"));
        drop(line);
        while source.hung(Instant::now() + later).is_some() {
            std::thread::sleep(pause);
        }
    }

    #[test]
    fn a_track_that_is_told_again_keeps_its_decoder() {
        let (studio, _) = studio(SystemTime::now().into());
        let mut source = Source::new(Canvas::pictures(1280, 720), studio);
        let track = track(1, Codec::Opus, "main");
        source.take(Record::Track(track.clone()));
        let built = source.decoders[&track.id].built;
        source.take(Record::Track(track.clone()));
        assert_eq!(source.decoders[&track.id].built, built);
    }

    #[test]
    fn what_is_one_too_many_waits_until_another_ends() {
        let (studio, _) = studio(SystemTime::now().into());
        let mut source = Source::new(Canvas::pictures(1280, 720), studio);
        for id in 1..=5 {
            source.take(Record::Track(track(id, Codec::Vp8, &format!("host-{id}"))));
        }
        source.take(Record::Track(track(9, Codec::Opus, "host-1")));
        let decoded = |source: &Source| source.decoders.keys().map(|id| id.0).collect::<Vec<_>>();
        assert_eq!(decoded(&source), [1, 2, 3, 4, 9]);
        // The same source with another track takes its own place, …
        source.take(Record::Track(track(6, Codec::Vp8, "host-2")));
        assert_eq!(decoded(&source), [1, 3, 4, 6, 9]);
        source.take(Record::TrackEnded(TrackId(2)));
        assert_eq!(decoded(&source), [1, 3, 4, 6, 9]);
        // … and a place that becomes free is for whoever waits.
        source.take(Record::TrackEnded(TrackId(1)));
        assert_eq!(decoded(&source), [3, 4, 5, 6, 9]);
        assert!(source.waiting.is_empty());
    }
}
