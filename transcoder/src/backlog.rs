//! What a respawned child must hear of the source to go on as if nothing had happened: the tracks, each video
//! track from its last keyframe on, and the last seconds of sound.

use std::collections::VecDeque;

use timeline::feed::Record;
use timeline::{Frame, MediaTime, Span, Track, TrackId};

/// A GOP beyond this takes too long to decode before going live; then the next keyframe is awaited instead.
const LONGEST_GOP: Span = Span::from_millis(10_000);
/// Sound older than the time a respawn takes is of no use.
const SOUND: Span = Span::from_millis(5_000);
/// 10 s at 12 Mbit/s.
const MAX_BYTES: usize = 16 * 1024 * 1024;

#[derive(Default)]
pub struct Backlog {
    tracks: Vec<Track>,
    /// In the order they came.
    frames: VecDeque<Frame>,
    bytes: usize,
    heard: Option<MediaTime>,
}

impl Backlog {
    pub fn push(&mut self, record: &Record) {
        match record {
            Record::Track(track) => {
                self.tracks.retain(|t| t.id != track.id);
                self.tracks.push(track.clone());
            }
            Record::TrackEnded(id) => {
                self.tracks.retain(|t| t.id != *id);
                self.drop_frames(|f| f.track == *id);
            }
            Record::Heard(at) => self.heard = self.heard.max(Some(*at)),
            Record::Frame(frame) => self.frame(frame),
            Record::Rendition(_) | Record::End(_) => {}
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

    pub fn records(&self) -> impl Iterator<Item = Record> {
        let tracks = self.tracks.iter().cloned().map(Record::Track);
        let frames = self.frames.iter().cloned().map(Record::Frame);
        tracks.chain(self.heard.map(Record::Heard)).chain(frames)
    }

    /// The capture time of the newest picture.
    pub fn newest_picture(&self) -> Option<MediaTime> {
        self.frames.iter().rev().find(|f| self.is_video(f.track)).map(|f| f.at)
    }

    fn frame(&mut self, frame: &Frame) {
        if self.is_video(frame.track) {
            if frame.keyframe {
                self.drop_frames(|f| f.track == frame.track);
            } else {
                match self.frames.iter().find(|f| f.track == frame.track) {
                    None => return,
                    Some(first) if frame.at - first.at > LONGEST_GOP => {
                        return self.drop_frames(|f| f.track == frame.track);
                    }
                    Some(_) => {}
                }
            }
        } else {
            let oldest = frame.at - SOUND;
            while self.frames.front().is_some_and(|f| f.track == frame.track && f.at < oldest) {
                self.bytes -= self.frames.pop_front().map_or(0, |f| f.payload.len());
            }
        }
        self.bytes += frame.payload.len();
        self.frames.push_back(frame.clone());
        if self.bytes > MAX_BYTES {
            self.forget();
        }
    }

    fn is_video(&self, id: TrackId) -> bool {
        self.tracks.iter().any(|t| t.id == id && t.codec.is_video())
    }

    fn drop_frames(&mut self, which: impl Fn(&Frame) -> bool) {
        self.frames.retain(|f| !which(f));
        self.bytes = self.frames.iter().map(|f| f.payload.len()).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use timeline::Codec;

    fn frame(track: u32, ms: i64, keyframe: bool, bytes: usize) -> Record {
        let at = MediaTime::ZERO + Span::from_millis(ms);
        Record::Frame(Frame { track: TrackId(track), at, keyframe, payload: vec![0; bytes].into() })
    }

    fn backlog() -> Backlog {
        let mut backlog = Backlog::default();
        backlog.push(&Record::Track(Track { id: TrackId(1), codec: Codec::H264 }));
        backlog.push(&Record::Track(Track { id: TrackId(2), codec: Codec::Opus }));
        backlog
    }

    fn frames(backlog: &Backlog, track: u32) -> Vec<i64> {
        let of = |f: &Frame| f.at.ticks() / 90;
        backlog.frames.iter().filter(|f| f.track.0 == track).map(of).collect()
    }

    #[test]
    fn pictures_begin_with_the_last_keyframe() {
        let mut b = backlog();
        b.push(&frame(1, 0, false, 10));
        assert!(frames(&b, 1).is_empty(), "nothing to decode it from");
        for ms in (0..1000).step_by(100) {
            b.push(&frame(1, ms, ms % 400 == 0, 10));
        }
        assert_eq!(frames(&b, 1), [800, 900]);
        assert_eq!(b.newest_picture().map(|at| at.ticks()), Some(81_000));
        b.push(&Record::TrackEnded(TrackId(1)));
        assert_eq!(b.records().count(), 1);
    }

    #[test]
    fn it_is_bounded_in_time_and_in_bytes() {
        let mut b = backlog();
        b.push(&frame(1, 0, true, 1000));
        (0..2000).for_each(|n| b.push(&frame(2, n * 20, true, 100)));
        (0..400).for_each(|n| b.push(&frame(1, n * 33, false, 1000)));
        assert!(frames(&b, 1).is_empty(), "a GOP of 13 s");
        b.push(&frame(2, 40_000, true, 100));
        assert_eq!(frames(&b, 2).len(), 251);
        b.push(&frame(1, 40_000, true, 1000));
        b.push(&frame(1, 40_033, false, MAX_BYTES));
        assert!(b.frames.is_empty() && b.bytes == 0);
        let mut b = backlog();
        (0..1000).for_each(|_| b.push(&Record::Frame(Frame {
            track: TrackId(1),
            at: MediaTime::ZERO,
            keyframe: true,
            payload: Bytes::from_static(&[0; 100]),
        })));
        assert_eq!(b.bytes, 100);
    }
}
