//! What a respawned child must hear of the source to go on as if nothing had happened: the tracks, each video
//! track from its last keyframe on, and the last seconds of sound.

use std::collections::{BTreeMap, VecDeque};

use timeline::feed::Record;
use timeline::{Frame, Layout, MediaTime, SourceName, Span, Track, TrackId};

/// Pictures older than this take too long to decode before going live; then the next keyframe is awaited instead.
const PICTURES: Span = Span::from_millis(10_000);
/// Sound older than the line delay and the time a respawn takes is of no use.
const SOUND: Span = Span::from_millis(6_000);
/// 10 s at 12 Mbit/s.
const MAX_BYTES: usize = 16 * 1024 * 1024;

#[derive(Default)]
pub struct Backlog {
    tracks: Vec<Track>,
    /// In the order they came.
    frames: VecDeque<Frame>,
    bytes: usize,
    /// When each of the sources that have a track was last heard.
    heard: BTreeMap<SourceName, MediaTime>,
    layout: Option<Layout>,
    /// Frames of these tracks are missing: they go on at the next keyframe.
    broken: Vec<TrackId>,
}

impl Backlog {
    /// `line`: the first moment that is not on the line yet.
    pub fn push(&mut self, record: &Record, line: MediaTime) {
        match record {
            Record::Track(track) => {
                self.tracks.retain(|t| t.id != track.id);
                self.tracks.push(track.clone());
            }
            Record::TrackEnded(id) => {
                self.tracks.retain(|t| t.id != *id);
                self.broken.retain(|broken| broken != id);
                self.drop_frames(|f| f.track == *id);
                let tracks = &self.tracks;
                self.heard
                    .retain(|source, _| tracks.iter().any(|t| t.source == *source));
            }
            Record::Heard { source, at } => self.heard(source, *at),
            Record::Frame(frame) => self.frame(frame, line),
            Record::Layout(layout) => self.layout = Some(layout.clone()),
            Record::Rendition(_) | Record::Stills(_) | Record::End(_) => {}
        }
    }

    /// Records of the source were lost: what follows cannot be decoded before the next keyframe.
    pub fn lost(&mut self) {
        self.forget();
    }

    /// Forgets the frames: they may be what the child died of.
    pub fn forget(&mut self) {
        self.drop_frames(|_| true);
    }

    /// The pictures of this last while may be what the child died of. What is before them still shows something.
    pub fn suspect(&mut self, last: Span) {
        let Some(newest) = self.newest_pictures().into_iter().map(|(_, at)| at).max() else {
            return;
        };
        let video = self.tracks.iter().filter(|track| track.codec.is_video());
        let video: Vec<TrackId> = video.map(|track| track.id).collect();
        self.drop_frames(|f| f.at > newest - last && video.contains(&f.track));
        self.broken = video;
    }

    /// Whether pictures are missing behind those of [`Backlog::records`].
    pub fn is_broken(&self) -> bool {
        !self.broken.is_empty()
    }

    pub fn records(&self) -> impl Iterator<Item = Record> {
        let tracks = self.tracks.iter().cloned().map(Record::Track);
        let frames = self.frames.iter().cloned().map(Record::Frame);
        let layout = self.layout.iter().cloned().map(Record::Layout);
        let heard = self.heard.iter().map(|(source, at)| Record::Heard {
            source: source.clone(),
            at: *at,
        });
        layout.chain(tracks).chain(heard).chain(frames)
    }

    /// The capture time of each video track's newest picture, of which it has one.
    pub fn newest_pictures(&self) -> Vec<(TrackId, MediaTime)> {
        let videos = self.tracks.iter().filter(|t| t.codec.is_video());
        let newest = |t: &Track| self.frames.iter().rev().find(|f| f.track == t.id);
        videos.filter_map(|t| Some((t.id, newest(t)?.at))).collect()
    }

    fn heard(&mut self, source: &SourceName, at: MediaTime) {
        if self.tracks.iter().any(|track| track.source == *source) {
            let heard = self.heard.entry(source.clone()).or_insert(at);
            *heard = at.max(*heard);
        }
    }

    fn frame(&mut self, frame: &Frame, line: MediaTime) {
        if !self.is_video(frame.track) {
            self.drop_frames(|f| f.track == frame.track && f.at < frame.at - SOUND);
        } else if frame.keyframe {
            self.broken.retain(|id| *id != frame.track);
            self.drop_before(frame.track, line);
        } else if self.broken.contains(&frame.track) || !self.frames.iter().any(|f| f.track == frame.track) {
            // Nothing to decode it from.
            return;
        }
        self.bytes += frame.payload.len();
        self.frames.push_back(frame.clone());
        while self.is_too_long(frame) {
            self.drop_gop(frame.track);
        }
        if self.bytes > MAX_BYTES {
            self.forget();
        }
    }

    /// Drops the pictures that are not needed to show what was captured at `line`.
    fn drop_before(&mut self, track: TrackId, line: MediaTime) {
        let keyframes = self.frames.iter().filter(|f| f.track == track && f.keyframe);
        if let Some(first) = keyframes.map(|f| f.at).filter(|at| *at <= line).max() {
            self.drop_frames(|f| f.track == track && f.at < first);
        }
    }

    fn is_too_long(&self, newest: &Frame) -> bool {
        let oldest = self.frames.iter().find(|f| f.track == newest.track);
        self.is_video(newest.track) && oldest.is_some_and(|oldest| newest.at - oldest.at > PICTURES)
    }

    /// Drops the oldest keyframe and all that hangs on it.
    fn drop_gop(&mut self, track: TrackId) {
        let mut keyframes = 0;
        self.drop_frames(|f| {
            keyframes += usize::from(f.track == track && f.keyframe);
            f.track == track && keyframes <= 1
        });
    }

    fn is_video(&self, id: TrackId) -> bool {
        self.tracks.iter().any(|t| t.id == id && t.codec.is_video())
    }

    fn drop_frames(&mut self, mut which: impl FnMut(&Frame) -> bool) {
        self.frames.retain(|f| !which(f));
        self.bytes = self.frames.iter().map(|f| f.payload.len()).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use timeline::Codec;

    fn frame(track: u32, ms: i64, keyframe: bool, bytes: usize) -> Record {
        let at = MediaTime::ZERO + Span::from_millis(ms);
        Record::Frame(Frame {
            track: TrackId(track),
            at,
            keyframe,
            payload: vec![0; bytes].into(),
        })
    }

    fn backlog() -> Backlog {
        let mut backlog = Backlog::default();
        push(
            &mut backlog,
            0,
            Record::Track(Track {
                id: TrackId(1),
                codec: Codec::H264,
                source: SourceName::main(),
            }),
        );
        push(
            &mut backlog,
            0,
            Record::Track(Track {
                id: TrackId(2),
                codec: Codec::Opus,
                source: SourceName::main(),
            }),
        );
        backlog
    }

    /// A record that comes while the line stands at `line` ms.
    fn push(backlog: &mut Backlog, line: i64, record: Record) {
        backlog.push(&record, MediaTime::ZERO + Span::from_millis(line));
    }

    fn frames(backlog: &Backlog, track: u32) -> Vec<i64> {
        let of = |f: &Frame| f.at.ticks() / 90;
        backlog
            .frames
            .iter()
            .filter(|f| f.track.0 == track)
            .map(of)
            .collect()
    }

    #[test]
    fn pictures_begin_with_the_last_keyframe_before_the_line() {
        let mut b = backlog();
        push(&mut b, 0, frame(1, 0, false, 10));
        assert!(frames(&b, 1).is_empty(), "nothing to decode it from");
        for ms in (0..1000).step_by(100) {
            push(&mut b, ms - 300, frame(1, ms, ms % 400 == 0, 10));
        }
        assert_eq!(
            frames(&b, 1),
            [400, 500, 600, 700, 800, 900],
            "at 800 the line stood at 500"
        );
        assert_eq!(b.newest_pictures(), [(TrackId(1), MediaTime::from_ticks(81_000))]);
        push(&mut b, 900, Record::TrackEnded(TrackId(1)));
        assert_eq!(b.records().count(), 1);
    }

    #[test]
    fn what_a_child_may_have_died_of_is_left_out_up_to_the_next_keyframe() {
        let mut b = backlog();
        (0..10).for_each(|n| push(&mut b, 0, frame(1, n * 100, n == 0, 10)));
        push(&mut b, 0, frame(2, 900, true, 10));
        b.suspect(Span::from_millis(500));
        assert_eq!(frames(&b, 1), [0, 100, 200, 300, 400]);
        assert_eq!(frames(&b, 2), [900], "sound is decoded apart");
        assert!(b.is_broken());
        push(&mut b, 0, frame(1, 1000, false, 10));
        assert_eq!(frames(&b, 1).len(), 5);
        push(&mut b, 0, frame(1, 1100, true, 10));
        push(&mut b, 0, frame(1, 1200, false, 10));
        assert_eq!(frames(&b, 1)[5..], [1100, 1200]);
        assert!(!b.is_broken());
    }

    #[test]
    fn of_each_source_that_has_a_track_is_known_when_it_was_heard() {
        let mut b = backlog();
        let heard = |source: &SourceName, ms| Record::Heard {
            source: source.clone(),
            at: MediaTime::ZERO + Span::from_millis(ms),
        };
        let (main, screen) = (SourceName::main(), SourceName::main().screen());
        for (source, ms) in [(&main, 300), (&main, 100), (&screen, 400)] {
            push(&mut b, 0, heard(source, ms));
        }
        let told = |b: &Backlog| -> Vec<Record> {
            let is_heard = |record: &Record| matches!(record, Record::Heard { .. });
            b.records().filter(is_heard).collect()
        };
        assert_eq!(told(&b), [heard(&main, 300)], "nothing is known of a screen");
        push(&mut b, 0, Record::TrackEnded(TrackId(1)));
        assert_eq!(told(&b).len(), 1, "it still has its sound");
        push(&mut b, 0, Record::TrackEnded(TrackId(2)));
        assert_eq!(b.records().count(), 0);
    }

    #[test]
    fn it_is_bounded_in_time() {
        let mut b = backlog();
        (0..2000).for_each(|n| push(&mut b, 0, frame(2, n * 20, true, 100)));
        assert_eq!(frames(&b, 2).len(), 301);
        // The line stands still.
        (0..400).for_each(|n| push(&mut b, 0, frame(1, n * 100, n % 40 == 0, 1000)));
        assert_eq!(frames(&b, 1)[0], 32_000);
        (400..900).for_each(|n| push(&mut b, 0, frame(1, n * 100, false, 1000)));
        assert!(frames(&b, 1).is_empty(), "an endless GOP");
    }

    #[test]
    fn it_is_bounded_in_bytes() {
        let mut b = backlog();
        push(&mut b, 0, frame(1, 0, true, 1000));
        push(&mut b, 0, frame(1, 33, false, MAX_BYTES));
        assert!(b.frames.is_empty() && b.bytes == 0);
        push(&mut b, 40, frame(1, 66, true, 100));
        push(&mut b, 70, frame(1, 99, true, 100));
        push(&mut b, 110, frame(1, 133, true, 100));
        assert_eq!((frames(&b, 1), b.bytes), (vec![99, 133], 200));
    }
}
