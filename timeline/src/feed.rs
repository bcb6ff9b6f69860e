//! The feed joins two stages: bounded, fan-out, each consumer with its own cursor. Nobody blocks the producer
//! and nothing grows.
//!
//! A consumer that falls behind loses records. On the line itself ([`Policy::Line`]) that is a fault and is
//! returned; a tap ([`Policy::Tap`]: previews, monitors) skips to the next keyframe and counts what it lost.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, watch};

use crate::{Frame, Layout, MediaTime, Rendition, SourceName, Span, Stills, Track, TrackId};

/// About 15 s of a four-rung ladder with sound: room for the burst of a respawned encoder that catches up.
pub const CAPACITY: usize = 4096;

/// Of a source that is not heard ([`Record::Heard`]) for longer than this nothing comes any more: its picture gives its place
/// up.
pub const SILENCE: Span = Span::from_millis(2_000);

/// What flows in a feed, and on its wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// A source track begins. Precedes its frames.
    Track(Track),
    /// A source track is over.
    TrackEnded(TrackId),
    /// A rendition begins. All of a ladder precede the first frame of any.
    Rendition(Rendition),
    /// The line has stills. Precedes the first of them.
    Stills(Stills),
    Frame(Frame),
    /// How the pictures of the sources share the canvas from here on.
    Layout(Layout),
    /// Whoever sends this source was heard (any RTP or RTCP of the session, on any track) at this time. At least four a
    /// second while so.
    Heard {
        source: SourceName,
        at: MediaTime,
    },
    /// The line ends here; nothing follows.
    End(MediaTime),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    Line,
    Tap,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the consumer fell behind and {missed} records were lost")]
pub struct Overflow {
    pub missed: u64,
}

#[derive(Clone)]
pub struct Producer(Arc<Shared>);

struct Shared {
    sender: broadcast::Sender<Record>,
    head: Arc<Head>,
    /// When those were last heard whose tracks run.
    heard: Mutex<BTreeMap<SourceName, MediaTime>>,
    keyframe_wanted: watch::Sender<()>,
    skipped: AtomicU64,
    capacity: usize,
    sent: AtomicU64,
    /// Where the consumers on the line are: how many of the records sent they have taken.
    cursors: Mutex<Vec<Weak<AtomicU64>>>,
}

/// Tracks, renditions and stills now running, and the end: what a consumer that joins late must know first.
#[derive(Default)]
struct Head(Mutex<Vec<Record>>);

impl Producer {
    pub fn new() -> Self {
        Self::with_capacity(CAPACITY)
    }

    pub fn with_capacity(records: usize) -> Self {
        Producer(Arc::new(Shared {
            sender: broadcast::Sender::new(records),
            head: Arc::default(),
            heard: Mutex::default(),
            keyframe_wanted: watch::Sender::new(()),
            skipped: AtomicU64::new(0),
            capacity: records,
            sent: AtomicU64::new(0),
            cursors: Mutex::default(),
        }))
    }

    /// Never waits. Without a consumer the record is dropped (but tracks and renditions are remembered).
    pub fn send(&self, record: Record) {
        let mut head = self.0.head.lock();
        match &record {
            Record::Track(_) | Record::Stills(_) => head.push(record.clone()),
            Record::Rendition(rendition) => renew(&mut head, rendition),
            Record::TrackEnded(id) => {
                head.retain(|r| !matches!(r, Record::Track(t) if t.id == *id));
                self.0.heard().retain(|source, _| is_sent(&head, source));
            }
            Record::Layout(_) => {
                head.retain(|r| !matches!(r, Record::Layout(_)));
                head.push(record.clone());
            }
            Record::End(_) => head.push(record.clone()),
            Record::Heard { source, at } => {
                if is_sent(&head, source) {
                    self.0.heard().insert(source.clone(), *at);
                }
            }
            Record::Frame(_) => {}
        }
        // Sent under the lock, so that a consumer that subscribes now sees each announcement exactly once.
        let _ = self.0.sender.send(record);
        self.0.sent.fetch_add(1, Ordering::Relaxed);
    }

    /// How many records at most wait for a consumer.
    pub fn capacity(&self) -> usize {
        self.0.capacity
    }

    /// How many records can be sent before a consumer on the line loses one. Taps do not count: they may.
    pub fn room(&self) -> usize {
        let sent = self.0.sent.load(Ordering::Relaxed);
        let mut cursors = self.0.cursors();
        cursors.retain(|cursor| cursor.strong_count() > 0);
        let taken = cursors.iter().filter_map(Weak::upgrade);
        let waiting = taken.map(|taken| sent.saturating_sub(taken.load(Ordering::Relaxed)));
        let waiting = usize::try_from(waiting.max().unwrap_or(0)).unwrap_or(usize::MAX);
        self.0.capacity.saturating_sub(waiting)
    }

    pub fn subscribe(&self, policy: Policy) -> Consumer {
        let head = self.0.head.lock();
        let taken = Arc::new(AtomicU64::new(self.0.sent.load(Ordering::Relaxed)));
        if policy == Policy::Line {
            self.0.cursors().push(Arc::downgrade(&taken));
        }
        Consumer {
            taken,
            receiver: self.0.sender.subscribe(),
            first: head.clone().into(),
            told: head.clone(),
            head: self.0.head.clone(),
            shared: Arc::downgrade(&self.0),
            policy,
            skipping: false,
        }
    }

    /// The tracks that now run.
    pub fn tracks(&self) -> Vec<Track> {
        let tracks = self.0.head.lock();
        let tracks = tracks.iter().filter_map(|record| match record {
            Record::Track(track) => Some(track.clone()),
            _ => None,
        });
        tracks.collect()
    }

    /// When a source with a running track was last heard; none if it was not since its first track began.
    pub fn heard(&self, source: &SourceName) -> Option<MediaTime> {
        self.0.heard().get(source).copied()
    }

    /// The requests for a keyframe from here on. Each of several publishers hears them all.
    pub fn keyframe_requests(&self) -> KeyframeRequests {
        KeyframeRequests(self.0.keyframe_wanted.subscribe())
    }

    /// Asks the publishers for a keyframe, as a consumer would.
    pub fn request_keyframe(&self) {
        self.0.keyframe_wanted.send_replace(());
    }

    /// Records that taps have lost so far.
    pub fn skipped(&self) -> u64 {
        self.0.skipped.load(Ordering::Relaxed)
    }
}

/// Whether a track of the source runs.
fn is_sent(records: &[Record], source: &SourceName) -> bool {
    let is_theirs = |record: &Record| matches!(record, Record::Track(track) if track.source == *source);
    records.iter().any(is_theirs)
}

/// A rendition that is told again, with another init, stands for what was told of it before.
fn renew(records: &mut Vec<Record>, rendition: &Rendition) {
    records.retain(|known| !matches!(known, Record::Rendition(known) if known.name == rendition.name));
    records.push(Record::Rendition(rendition.clone()));
}

impl Default for Producer {
    fn default() -> Self {
        Self::new()
    }
}

impl Shared {
    fn cursors(&self) -> MutexGuard<'_, Vec<Weak<AtomicU64>>> {
        self.cursors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn heard(&self) -> MutexGuard<'_, BTreeMap<SourceName, MediaTime>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Head {
    fn lock(&self) -> MutexGuard<'_, Vec<Record>> {
        // Nothing can panic while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a publisher hears that a keyframe is wanted.
pub struct KeyframeRequests(watch::Receiver<()>);

impl KeyframeRequests {
    /// Resolves when a keyframe was asked for since the last call. Cancel-safe.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            // Nobody can ask any more.
            std::future::pending::<()>().await;
        }
    }
}

pub struct Consumer {
    receiver: broadcast::Receiver<Record>,
    /// Comes before what the receiver has.
    first: VecDeque<Record>,
    /// The tracks and renditions that this consumer takes to be running.
    told: Vec<Record>,
    head: Arc<Head>,
    shared: Weak<Shared>,
    policy: Policy,
    taken: Arc<AtomicU64>,
    /// A tap that lost records shows no frame until the next video keyframe.
    skipping: bool,
}

impl Consumer {
    /// The next record; `None` once every producer is gone. Cancel-safe.
    ///
    /// Whatever was lost, announcements are not: after a loss come first the tracks and renditions that began in it
    /// and the tracks that ended.
    pub async fn next(&mut self) -> Result<Option<Record>, Overflow> {
        loop {
            if let Some(record) = self.first.pop_front() {
                return Ok(Some(record));
            }
            match self.receiver.recv().await {
                Ok(record) => {
                    self.taken.fetch_add(1, Ordering::Relaxed);
                    if let Some(record) = self.admit(record) {
                        return Ok(Some(record));
                    }
                }
                Err(broadcast::error::RecvError::Closed) => return Ok(None),
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    self.taken.fetch_add(missed, Ordering::Relaxed);
                    self.catch_up();
                    match self.policy {
                        Policy::Line => return Err(Overflow { missed }),
                        Policy::Tap => {
                            self.count(missed);
                            self.skipping = true;
                        }
                    }
                }
            }
        }
    }

    /// Asks all who produce for a keyframe. Requests that are not yet heard fold into one.
    pub fn request_keyframe(&self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.keyframe_wanted.send_replace(());
        }
    }

    /// Puts first what was announced in the records that were lost. The end is never lost: nothing follows it.
    fn catch_up(&mut self) {
        let head = self.head.lock();
        let ended = self.told.iter().filter(|told| !head.contains(told));
        let ended = ended.filter_map(|told| match told {
            Record::Track(track) => Some(Record::TrackEnded(track.id)),
            _ => None,
        });
        let begun = head.iter().filter(|record| !self.told.contains(record));
        let begun = begun.filter(|record| !matches!(record, Record::End(_))).cloned();
        self.first = ended.chain(begun).collect();
        self.told = head.clone();
    }

    fn admit(&mut self, record: Record) -> Option<Record> {
        let news = match &record {
            // It was put first after a loss that did not reach it.
            Record::Track(_) | Record::Rendition(_) | Record::Stills(_) if self.told.contains(&record) => {
                false
            }
            Record::Track(_) | Record::Stills(_) => {
                self.told.push(record.clone());
                true
            }
            Record::Rendition(rendition) => {
                renew(&mut self.told, rendition);
                true
            }
            Record::Layout(_) if self.told.contains(&record) => false,
            Record::Layout(_) => {
                self.told.retain(|told| !matches!(told, Record::Layout(_)));
                self.told.push(record.clone());
                true
            }
            Record::TrackEnded(id) => {
                let before = self.told.len();
                self.told
                    .retain(|told| !matches!(told, Record::Track(track) if track.id == *id));
                self.told.len() < before
            }
            Record::Frame(_) | Record::Heard { .. } | Record::End(_) => true,
        };
        match (news, self.skipping) {
            (false, _) => None,
            (true, true) => self.skip(record),
            (true, false) => Some(record),
        }
    }

    fn skip(&mut self, record: Record) -> Option<Record> {
        match &record {
            // Audio frames are all keyframes; a keyframe of any track is a clean place to go on from.
            Record::Frame(frame) if !frame.keyframe => {
                self.count(1);
                return None;
            }
            Record::Frame(_) => self.skipping = false,
            _ => {}
        }
        Some(record)
    }

    fn count(&self, missed: u64) {
        if let Some(shared) = self.shared.upgrade() {
            shared.skipped.fetch_add(missed, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Codec;
    use bytes::Bytes;

    fn frame(n: i64, keyframe: bool) -> Record {
        Record::Frame(Frame {
            track: TrackId(1),
            at: MediaTime::from_ticks(n),
            keyframe,
            payload: Bytes::new(),
        })
    }

    #[tokio::test]
    async fn a_late_consumer_learns_the_tracks_first() {
        let producer = Producer::new();
        let track = |id| {
            Record::Track(Track {
                id: TrackId(id),
                codec: Codec::H264,
                source: SourceName::main(),
            })
        };
        producer.send(track(1));
        producer.send(track(2));
        producer.send(Record::TrackEnded(TrackId(1)));
        producer.send(frame(0, true));
        let mut consumer = producer.subscribe(Policy::Line);
        assert_eq!(
            producer
                .tracks()
                .iter()
                .map(|track| track.id.0)
                .collect::<Vec<_>>(),
            [2]
        );
        producer.send(frame(1, false));
        assert_eq!(consumer.next().await, Ok(Some(track(2))));
        assert_eq!(consumer.next().await, Ok(Some(frame(1, false))));
        drop(producer);
        assert_eq!(consumer.next().await, Ok(None));
    }

    #[test]
    fn when_a_source_was_last_heard_is_known_as_long_as_it_has_a_track() {
        let producer = Producer::new();
        let (main, screen) = (SourceName::main(), SourceName::main().screen());
        let track = |id, source: &SourceName| {
            Record::Track(Track {
                id: TrackId(id),
                codec: Codec::H264,
                source: source.clone(),
            })
        };
        let heard = |source: &SourceName, ms| {
            let (source, at) = (source.clone(), MediaTime::ZERO + Span::from_millis(ms));
            producer.send(Record::Heard { source, at });
        };
        let last = |source| producer.heard(source).map(|at| at - MediaTime::ZERO);
        producer.send(track(1, &main));
        assert_eq!(last(&main), None);
        [200, 400].into_iter().for_each(|ms| heard(&main, ms));
        heard(&screen, 400);
        assert_eq!(last(&main), Some(Span::from_millis(400)));
        assert_eq!(last(&screen), None, "it sends nothing");
        // A second track of the same source, as when its codec changes.
        producer.send(track(2, &main));
        producer.send(Record::TrackEnded(TrackId(1)));
        assert_eq!(last(&main), Some(Span::from_millis(400)));
        producer.send(Record::TrackEnded(TrackId(2)));
        assert_eq!(last(&main), None);
    }

    #[tokio::test]
    async fn on_the_line_an_overflow_is_a_fault() {
        let producer = Producer::with_capacity(4);
        let mut consumer = producer.subscribe(Policy::Line);
        (0..10).for_each(|n| producer.send(frame(n, false)));
        assert_eq!(consumer.next().await, Err(Overflow { missed: 6 }));
    }

    #[tokio::test]
    async fn a_producer_sees_how_much_room_the_slowest_on_the_line_leaves() {
        let producer = Producer::with_capacity(8);
        producer.send(frame(0, true));
        assert_eq!(producer.room(), 8, "nobody listens");
        let (mut one, two) = (producer.subscribe(Policy::Line), producer.subscribe(Policy::Line));
        let _tap = producer.subscribe(Policy::Tap);
        (0..5).for_each(|n| producer.send(frame(n, true)));
        assert_eq!(producer.room(), 3);
        for _ in 0..5 {
            one.next().await.unwrap();
        }
        assert_eq!(producer.room(), 3, "the other is behind");
        drop(two);
        assert_eq!(producer.room(), 8);
        (0..10).for_each(|n| producer.send(frame(n, true)));
        assert_eq!(producer.room(), 0);
        assert_eq!(one.next().await, Err(Overflow { missed: 2 }));
        assert_eq!(producer.room(), 0);
    }

    #[tokio::test]
    async fn what_was_announced_in_a_loss_is_told_after_it_once() {
        let track = |id| {
            Record::Track(Track {
                id: TrackId(id),
                codec: Codec::H264,
                source: SourceName::main(),
            })
        };
        let producer = Producer::with_capacity(4);
        let mut consumer = producer.subscribe(Policy::Line);
        let mut tap = producer.subscribe(Policy::Tap);
        producer.send(track(1));
        assert_eq!(consumer.next().await, Ok(Some(track(1))));
        producer.send(Record::TrackEnded(TrackId(1)));
        producer.send(track(2));
        (0..8).for_each(|n| producer.send(frame(n, true)));
        // This one is not lost.
        producer.send(track(3));
        producer.send(Record::End(MediaTime::ZERO));
        drop(producer);
        assert_eq!(consumer.next().await, Err(Overflow { missed: 8 }));
        let mut rest = Vec::new();
        while let Some(record) = consumer.next().await.unwrap() {
            rest.push(record);
        }
        assert_eq!(
            rest,
            [
                Record::TrackEnded(TrackId(1)),
                track(2),
                track(3),
                frame(6, true),
                frame(7, true),
                Record::End(MediaTime::ZERO)
            ]
        );
        // A tap hears of them, too; of a track that came and went in the loss it need not.
        assert_eq!(tap.next().await, Ok(Some(track(2))));
    }

    #[tokio::test]
    async fn a_slow_tap_goes_on_at_the_next_keyframe() {
        let producer = Producer::with_capacity(4);
        let mut tap = producer.subscribe(Policy::Tap);
        (0..10).for_each(|n| producer.send(frame(n, n == 8)));
        assert_eq!(tap.next().await, Ok(Some(frame(8, true))));
        assert_eq!(tap.next().await, Ok(Some(frame(9, false))));
        assert_eq!(producer.skipped(), 8);
    }

    #[tokio::test]
    async fn keyframe_requests_fold_and_reach_every_publisher() {
        let producer = Producer::new();
        let consumer = producer.subscribe(Policy::Line);
        let (mut camera, mut screen) = (producer.keyframe_requests(), producer.keyframe_requests());
        consumer.request_keyframe();
        consumer.request_keyframe();
        for requests in [&mut camera, &mut screen] {
            requests.next().await;
            let again = tokio::time::timeout(std::time::Duration::from_millis(1), requests.next());
            assert!(again.await.is_err());
        }
    }
}
