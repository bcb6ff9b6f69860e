//! What a publisher puts on the line: a track for each of its lanes, as records of the feed.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use timeline::feed::{Producer, Record};
use timeline::{Codec, Frame, MediaTime, SourceName, Timeline, Track, TrackId};

use super::clock::wall;
use crate::rtp::Picture;

/// Names tracks of every session of the process, so that none is ever reused within a feed.
static IDS: AtomicU32 = AtomicU32::new(1);

pub(super) struct Tracks {
    feed: Producer,
    /// Of each lane: whose it is.
    sources: Vec<SourceName>,
    /// Of each lane, once its first frame was sent.
    ids: Vec<Option<TrackId>>,
    /// How far the feed knows that the publisher was heard.
    told_heard: Instant,
}

impl Tracks {
    pub fn new(feed: Producer, sources: Vec<SourceName>, heard: Instant) -> Self {
        Tracks {
            feed,
            ids: vec![None; sources.len()],
            sources,
            told_heard: heard,
        }
    }

    pub fn send(&mut self, lane: usize, codec: Codec, at: MediaTime, picture: Picture) {
        let track = *self.ids[lane].get_or_insert_with(|| {
            let id = TrackId(IDS.fetch_add(1, Ordering::Relaxed));
            let source = self.sources[lane].clone();
            self.feed.send(Record::Track(Track { id, codec, source }));
            id
        });
        let Picture {
            keyframe, payload, ..
        } = picture;
        self.feed.send(Record::Frame(Frame {
            track,
            at,
            keyframe,
            payload,
        }));
    }

    /// Whatever comes, all that the session sends is alive: a still screen sends no pictures, and a muted one no sound.
    pub fn heard(&mut self, heard: Instant, line: Timeline) {
        if heard <= self.told_heard {
            return;
        }
        self.told_heard = heard;
        let at = line.at(wall(heard));
        for source in self.sources.iter().cloned().collect::<BTreeSet<_>>() {
            self.feed.send(Record::Heard { source, at });
        }
    }

    /// The lane's next frame begins another track.
    pub fn end(&mut self, lane: usize) {
        if let Some(id) = self.ids[lane].take() {
            self.feed.send(Record::TrackEnded(id));
        }
    }

    pub fn end_all(&mut self) {
        (0..self.ids.len()).for_each(|lane| self.end(lane));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::time::Duration;
    use timeline::WallTime;
    use timeline::feed::{Consumer, Policy};

    fn tracks(sources: &[&str], heard: Instant) -> (Tracks, Consumer) {
        let feed = Producer::new();
        let consumer = feed.subscribe(Policy::Line);
        let sources = sources.iter().map(|name| name.parse().unwrap()).collect();
        (Tracks::new(feed, sources, heard), consumer)
    }

    fn send(tracks: &mut Tracks, lane: usize) {
        let picture = Picture {
            timestamp: 0,
            keyframe: true,
            payload: Bytes::new(),
        };
        tracks.send(lane, Codec::Opus, MediaTime::ZERO, picture);
    }

    /// What was sent; sources are told by their names, and tracks by the order in which they began.
    async fn records(consumer: &mut Consumer, n: usize) -> Vec<String> {
        let (mut told, mut ids) = (Vec::new(), Vec::new());
        for _ in 0..n {
            let nth = |id| ids.iter().position(|known| *known == id);
            told.push(match consumer.next().await.unwrap().unwrap() {
                Record::Track(track) => {
                    assert_eq!(nth(track.id), None, "no name is used twice");
                    ids.push(track.id);
                    format!("{} begins", track.source)
                }
                Record::Frame(frame) => format!("frame of {}", nth(frame.track).unwrap()),
                Record::TrackEnded(id) => format!("end of {}", nth(id).unwrap()),
                Record::Heard { source, .. } => format!("heard {source}"),
                other => panic!("{other:?}"),
            });
        }
        told
    }

    #[tokio::test]
    async fn a_track_is_told_before_its_first_frame_and_ends_once() {
        let (mut tracks, mut consumer) = tracks(&["main", "main"], Instant::now());
        tracks.end(0);
        send(&mut tracks, 0);
        send(&mut tracks, 0);
        tracks.end(0);
        send(&mut tracks, 0);
        tracks.end_all();
        tracks.end_all();
        drop(tracks);
        let told = [
            "main begins",
            "frame of 0",
            "frame of 0",
            "end of 0",
            "main begins",
            "frame of 1",
            "end of 1",
        ];
        assert_eq!(records(&mut consumer, told.len()).await, told);
        assert_eq!(consumer.next().await, Ok(None));
    }

    #[tokio::test]
    async fn each_source_is_heard_once_however_many_lanes_it_has() {
        let t = Instant::now();
        let (mut tracks, mut consumer) = tracks(&["main", "screen", "main"], t);
        let line = Timeline::starting(WallTime::from_unix_millis(0));
        tracks.heard(t, line);
        let later = t + Duration::from_millis(1);
        tracks.heard(later, line);
        tracks.heard(later, line);
        drop(tracks);
        assert_eq!(records(&mut consumer, 2).await, ["heard main", "heard screen"]);
        assert_eq!(consumer.next().await, Ok(None));
    }
}
