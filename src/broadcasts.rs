//! The broadcasts this server knows, each with its line, its source feed and its publisher.
//!
//! A broadcast's line moves only forward: waiting → live (the first publish) → ended. Who runs a live one is
//! told through [`Opened`]; this file only keeps what is true.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use bytes::Bytes;
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use timeline::feed::{Consumer, Policy, Producer, Record};
use timeline::{
    Archive, BroadcastId, Grid, Layout, Line, MediaTime, Object, SourceName, Span, Timeline, WallTime,
};
use tokio::sync::{mpsc, watch};

use crate::auth::Claims;
use crate::clock;
use crate::sources::{OnAir, Sources, TooMany};

/// One name in the archive of a broadcast's own facts.
const FACTS: &str = "broadcast.json";

/// A bucket answers each in some tens of milliseconds, and may hold thousands.
const READ_AT_ONCE: usize = 32;

/// More would not fit on a page or in a title bar.
const MAX_TITLE_CHARS: usize = 200;

/// HOLD-BACK, where players without low latency stay, is 9 s.
const MAX_PART_HOLD_BACK_MS: u32 = 9_000;

/// A broadcast has just gone on air. The consumer stands before its first record: the picture that opens a line
/// must not be lost, for a publisher may not send another keyframe for seconds.
pub struct Opened(pub Arc<Broadcast>, pub Consumer);

#[derive(Clone)]
pub struct Broadcasts(Arc<Shared>);

struct Shared {
    archive: Arc<dyn Archive>,
    known: Mutex<HashMap<BroadcastId, Arc<Broadcast>>>,
    opened: mpsc::UnboundedSender<Opened>,
}

pub struct Broadcast {
    pub id: BroadcastId,
    pub title: String,
    /// Whether anyone may ask for a participant's token.
    pub guests: bool,
    pub latency: Latency,
    /// PART-HOLD-BACK, in milliseconds; 0 is three part targets.
    pub part_hold_back_ms: u32,
    /// Whether its room is offered as subtitles.
    pub chat_subtitles: bool,
    pub created: WallTime,
    /// Made by the first publisher; a feed is too large to keep one for every recording.
    source: Mutex<Option<Producer>>,
    sources: Mutex<Sources>,
    /// Its facts are kept one after the other, so that the last ones stay.
    saving: tokio::sync::Mutex<()>,
    line: watch::Sender<Line>,
    publisher: watch::Sender<Publisher>,
    incidents: watch::Sender<transcoder::Incidents>,
    ending: AtomicBool,
    opened: mpsc::UnboundedSender<Opened>,
}

/// Whether someone publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publisher {
    Absent {
        /// The publisher said good-bye (DELETE), so it will hardly return.
        said_goodbye: bool,
    },
    /// One, or several with a source each.
    Present { publications: usize },
}

/// A broadcast's facts as they are kept and served: `broadcast.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Facts {
    pub id: BroadcastId,
    pub title: String,
    pub guests: bool,
    /// Fixed: players stop for good when what it promises changes.
    #[serde(default)]
    pub latency: Latency,
    /// Milliseconds; 0 is three part targets. As fixed.
    #[serde(default)]
    pub part_hold_back_ms: u32,
    /// As fixed: what a playlist offers does not change.
    #[serde(default)]
    pub chat_subtitles: bool,
    /// Unix milliseconds.
    pub created: i64,
    pub state: State,
    /// Unix milliseconds; none before the first publish.
    pub origin: Option<i64>,
    /// 90 kHz ticks; none before the end.
    pub duration: Option<i64>,
    /// How the pictures of its sources share the canvas.
    #[serde(default)]
    pub layout: Layout,
    /// The sources that are promised to co-hosts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cohosts: Vec<SourceName>,
    /// The sources that co-hosts were promised and then denied: tokens issued up to then (Unix seconds) are void.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub withdrawn: BTreeMap<SourceName, i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Waiting,
    Live,
    Ended,
}

/// How far behind the lecturer viewers are to be, and at what price.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Latency {
    /// Parts of 200 ms.
    #[default]
    Standard,
    /// Parts of 100 ms: for discussions on good networks. Each viewer asks twice as often.
    Interactive,
}

impl Latency {
    pub fn grid(self) -> Grid {
        match self {
            Latency::Standard => Grid::default(),
            Latency::Interactive => Grid {
                part_frames: 3,
                ..Grid::default()
            },
        }
    }
}

/// What a broadcast is unless it is asked to be otherwise.
#[derive(Clone, Copy)]
pub struct Defaults {
    pub guests: bool,
    pub latency: Latency,
    pub part_hold_back_ms: u32,
    pub chat_subtitles: bool,
}

/// What a new broadcast is asked to be.
#[derive(Clone)]
pub struct Wanted {
    pub id: BroadcastId,
    pub title: String,
    pub guests: bool,
    pub latency: Latency,
    pub part_hold_back_ms: u32,
    pub chat_subtitles: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("there is a broadcast {0} already")]
    Exists(BroadcastId),
    #[error("a title is 1 to {MAX_TITLE_CHARS} characters, without control characters")]
    BadTitle,
    #[error("PART-HOLD-BACK is at most {MAX_PART_HOLD_BACK_MS} ms")]
    BadHoldBack,
    #[error("the broadcast could not be kept: {0}")]
    NotKept(#[from] timeline::ArchiveError),
}

impl Broadcasts {
    /// Opens with what the archive knows.
    pub async fn open(
        archive: Arc<dyn Archive>,
    ) -> anyhow::Result<(Broadcasts, mpsc::UnboundedReceiver<Opened>)> {
        let (opened, openings) = mpsc::unbounded_channel();
        let broadcasts = Broadcasts(Arc::new(Shared {
            archive,
            known: Mutex::default(),
            opened,
        }));
        broadcasts.load().await?;
        Ok((broadcasts, openings))
    }

    pub fn get(&self, id: &BroadcastId) -> Option<Arc<Broadcast>> {
        self.known().get(id).cloned()
    }

    /// Live ones first, then the newest.
    pub fn list(&self) -> Vec<Arc<Broadcast>> {
        let mut all: Vec<_> = self.known().values().cloned().collect();
        all.sort_by_key(|b| (b.facts().state != State::Live, std::cmp::Reverse(b.created)));
        all
    }

    pub async fn create(&self, wanted: Wanted) -> Result<Arc<Broadcast>, Refused> {
        let title = wanted.title.trim();
        if title.is_empty() || title.chars().count() > MAX_TITLE_CHARS || title.chars().any(char::is_control)
        {
            return Err(Refused::BadTitle);
        }
        if wanted.part_hold_back_ms > MAX_PART_HOLD_BACK_MS {
            return Err(Refused::BadHoldBack);
        }
        let facts = Facts {
            id: wanted.id.clone(),
            title: title.to_owned(),
            guests: wanted.guests,
            latency: wanted.latency,
            part_hold_back_ms: wanted.part_hold_back_ms,
            chat_subtitles: wanted.chat_subtitles,
            created: clock::now().unix_millis(),
            state: State::Waiting,
            origin: None,
            duration: None,
            layout: Layout::default(),
            cohosts: Vec::new(),
            withdrawn: BTreeMap::new(),
        };
        // A folder whose facts could not be read at start is left alone: its names must never mean other bytes.
        if self
            .0
            .archive
            .get(&format!("{}/{FACTS}", wanted.id))
            .await
            .is_ok()
            && self.get(&wanted.id).is_none()
        {
            return Err(Refused::Exists(wanted.id));
        }
        let broadcast = Arc::new(Broadcast::of(facts, self.0.opened.clone()));
        match self.known().entry(wanted.id.clone()) {
            std::collections::hash_map::Entry::Occupied(_) => return Err(Refused::Exists(wanted.id)),
            std::collections::hash_map::Entry::Vacant(free) => free.insert(broadcast.clone()),
        };
        if let Err(error) = self.save(&broadcast).await {
            self.known().remove(&broadcast.id);
            return Err(error.into());
        }
        Ok(broadcast)
    }

    /// Keeps the broadcast's facts in the archive.
    pub async fn save(&self, broadcast: &Broadcast) -> Result<(), timeline::ArchiveError> {
        let _turn = broadcast.saving.lock().await;
        let body = serde_json::to_vec_pretty(&broadcast.facts()).unwrap_or_default();
        let object = Object {
            body: Bytes::from(body),
            content_type: "application/json".into(),
        };
        self.0
            .archive
            .put(&format!("{}/{FACTS}", broadcast.id), object)
            .await
    }

    async fn load(&self) -> anyhow::Result<()> {
        let names = self.0.archive.list("").await.context("cannot read the archive")?;
        let ids = names.iter().filter_map(|name| name.parse::<BroadcastId>().ok());
        let read = async |id: BroadcastId| (self.read_facts(&id).await, id);
        let mut all = futures::stream::iter(ids.map(read)).buffer_unordered(READ_AT_ONCE);
        while let Some((facts, id)) = all.next().await {
            match facts {
                Ok(facts) => {
                    let broadcast = Arc::new(Broadcast::of(facts, self.0.opened.clone()));
                    self.known().insert(id, broadcast);
                }
                Err(error) => {
                    tracing::warn!(broadcast = %id, "left out, its facts cannot be read: {error:#}")
                }
            }
        }
        Ok(())
    }

    async fn read_facts(&self, id: &BroadcastId) -> anyhow::Result<Facts> {
        let object = self.0.archive.get(&format!("{id}/{FACTS}")).await?;
        let facts: Facts = serde_json::from_slice(&object.body)?;
        anyhow::ensure!(facts.id == *id, "they name {}", facts.id);
        Ok(facts)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<BroadcastId, Arc<Broadcast>>> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Broadcast {
    fn of(facts: Facts, opened: mpsc::UnboundedSender<Opened>) -> Broadcast {
        let line = facts.line();
        Broadcast {
            id: facts.id,
            title: facts.title,
            guests: facts.guests,
            latency: facts.latency,
            part_hold_back_ms: facts.part_hold_back_ms,
            chat_subtitles: facts.chat_subtitles,
            created: WallTime::from_unix_millis(facts.created),
            source: Mutex::default(),
            sources: Mutex::new(Sources::of(facts.layout, facts.cohosts, facts.withdrawn)),
            saving: tokio::sync::Mutex::default(),
            ending: AtomicBool::new(line.is_ended()),
            line: watch::Sender::new(line),
            publisher: watch::Sender::new(Publisher::Absent { said_goodbye: false }),
            incidents: watch::Sender::default(),
            opened,
        }
    }

    pub fn facts(&self) -> Facts {
        let (state, origin, duration) = match *self.line.borrow() {
            Line::Waiting => (State::Waiting, None, None),
            Line::Live { timeline } => (State::Live, Some(timeline.origin().unix_millis()), None),
            Line::Ended { timeline, duration } => (
                State::Ended,
                Some(timeline.origin().unix_millis()),
                Some(duration.ticks()),
            ),
        };
        let sources = self.sources();
        Facts {
            id: self.id.clone(),
            title: self.title.clone(),
            guests: self.guests,
            latency: self.latency,
            part_hold_back_ms: self.part_hold_back_ms,
            chat_subtitles: self.chat_subtitles,
            created: self.created.unix_millis(),
            state,
            origin,
            duration,
            layout: sources.layout.clone(),
            cohosts: sources.cohosts.clone(),
            withdrawn: sources.withdrawn.clone(),
        }
    }

    pub fn line(&self) -> watch::Receiver<Line> {
        self.line.subscribe()
    }

    /// What happened to its transcoder since the server's start: told here, and read here.
    pub fn incidents(&self) -> watch::Sender<transcoder::Incidents> {
        self.incidents.clone()
    }

    pub fn publisher(&self) -> watch::Receiver<Publisher> {
        self.publisher.subscribe()
    }

    pub fn is_on_air(&self) -> bool {
        matches!(*self.publisher.borrow(), Publisher::Present { .. })
    }

    /// Whether the broadcast is over, or about to be.
    pub fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    /// A publisher has come.
    pub fn arrive(&self) {
        self.publisher.send_modify(|publisher| {
            *publisher = match *publisher {
                Publisher::Absent { .. } => Publisher::Present { publications: 1 },
                Publisher::Present { publications } => Publisher::Present {
                    publications: publications + 1,
                },
            }
        });
    }

    /// A publisher that came has gone. Somebody is there until the last has.
    pub fn leave(&self, said_goodbye: bool) {
        self.publisher.send_modify(|publisher| {
            *publisher = match *publisher {
                Publisher::Present { publications } if publications > 1 => Publisher::Present {
                    publications: publications - 1,
                },
                _ => Publisher::Absent { said_goodbye },
            }
        });
    }

    /// The line goes on, which was interrupted when the server died. Gives what its publishers will send.
    pub fn take_up(&self) -> Option<(Timeline, Consumer)> {
        let timeline = match *self.line.borrow() {
            Line::Live { timeline } => timeline,
            Line::Waiting | Line::Ended { .. } => return None,
        };
        Some((timeline, self.source().subscribe(Policy::Line)))
    }

    /// Where its publishers' frames go.
    pub fn source(&self) -> Producer {
        let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        source.get_or_insert_with(|| self.open_source()).clone()
    }

    /// Whoever makes the line knows the layout before the first track.
    fn open_source(&self) -> Producer {
        let (producer, layout) = (Producer::new(), self.layout());
        if layout != Layout::default() {
            producer.send(Record::Layout(layout));
        }
        producer
    }

    pub fn layout(&self) -> Layout {
        self.sources().layout.clone()
    }

    /// How the pictures of the sources share the canvas from now on.
    pub fn arrange(&self, layout: Layout) {
        let source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        // Both under one lock: what is kept last is what was told last.
        self.sources().layout = layout.clone();
        if let Some(source) = &*source {
            source.send(Record::Layout(layout));
        }
    }

    /// A source for a co-host of this name.
    pub fn invite(&self, name: &str) -> Result<SourceName, TooMany> {
        self.sources().invite(name)
    }

    /// What co-hosts were given up to now to be this source is void.
    pub fn withdraw(&self, source: &SourceName) -> Result<(), TooMany> {
        self.sources().withdraw(source, clock::now().unix_millis() / 1000)
    }

    /// Whether this is the token of a co-host whose invitation was withdrawn since.
    pub fn has_withdrawn(&self, claims: &Claims) -> bool {
        let invitation = claims.invitation();
        invitation.is_some_and(|invitation| self.sources().is_withdrawn(&invitation))
    }

    /// Who sends, and what.
    pub fn on_air(&self) -> Vec<OnAir> {
        let source = self.source.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let tracks = source.as_ref().map(Producer::tracks).unwrap_or_default();
        let now = self
            .line
            .borrow()
            .timeline()
            .map(|timeline| timeline.at(clock::now()));
        self.sources().on_air(&tracks, |of| {
            let heard = source.as_ref()?.heard(of)?;
            Some(now? - heard)
        })
    }

    /// Where `source` is held too, it is locked first.
    pub fn sources(&self) -> MutexGuard<'_, Sources> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The line, opened for a picture captured at `first` unless it is open already; none once it has ended.
    pub fn open_line(self: &Arc<Self>, first: WallTime) -> Option<Timeline> {
        let mut timeline = None;
        let opening = Timeline::starting(first - head(self.latency.grid(), self.part_hold_back_ms));
        let opened = self.line.send_if_modified(|line| match *line {
            Line::Waiting => {
                timeline = Some(opening);
                *line = Line::Live { timeline: opening };
                true
            }
            Line::Live { timeline: known } => {
                timeline = Some(known);
                false
            }
            Line::Ended { .. } => false,
        });
        if opened {
            let consumer = self.source().subscribe(Policy::Line);
            // The receiver lives as long as the server; without it nothing runs any more.
            let _ = self.opened.send(Opened(self.clone(), consumer));
        }
        timeline
    }

    /// Asks for the end. Whoever runs the line sees [`Record::End`], finishes, and reports [`Self::ended`].
    pub fn end(&self) {
        let now = clock::now();
        let mut end = None;
        // In one step with the look at the line, so that it cannot open in between.
        self.line.send_if_modified(|line| match *line {
            Line::Waiting => {
                *line = Line::Ended {
                    timeline: Timeline::starting(now),
                    duration: MediaTime::ZERO,
                };
                true
            }
            Line::Live { timeline } => {
                end = Some(timeline.at(now).max(MediaTime::ZERO));
                false
            }
            Line::Ended { .. } => false,
        });
        let first_call = !self.ending.swap(true, Ordering::AcqRel);
        if let Some(end) = end.filter(|_| first_call) {
            self.source().send(Record::End(end));
        }
    }

    pub fn ended(&self, timeline: Timeline, duration: MediaTime) {
        self.ending.store(true, Ordering::Release);
        self.line.send_replace(Line::Ended { timeline, duration });
        *self.source.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// How long before its first picture a line begins, with the slate, which is encoded faster than it plays. So the
/// first whole segment, without which players show nothing, is there as soon as it holds a hold-back and a part of
/// the lecture: 0.9 s instead of 3.2 s. Players begin at the hold-back: with the lecture, not with the slate.
fn head(grid: Grid, part_hold_back_ms: u32) -> Span {
    let hold_back = Span::from_millis(part_hold_back_ms.into()).max(grid.longest_part().times(3));
    let slate = grid.segment() - hold_back - grid.part();
    // The first picture stands on a slot.
    grid.frame.times((slate.ticks() / grid.frame.ticks()).max(0))
}

impl Facts {
    fn line(&self) -> Line {
        let Some(origin) = self.origin else {
            return Line::Waiting;
        };
        let timeline = Timeline::starting(WallTime::from_unix_millis(origin));
        match self.state {
            State::Waiting => Line::Waiting,
            State::Live => Line::Live { timeline },
            State::Ended => Line::Ended {
                timeline,
                duration: MediaTime::from_ticks(self.duration.unwrap_or_default()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use timeline::{Frame, TrackId};

    async fn broadcasts(data: &tempfile::TempDir) -> (Broadcasts, mpsc::UnboundedReceiver<Opened>) {
        let archive = packager::archive::Disk::open(data.path().to_owned()).unwrap();
        Broadcasts::open(Arc::new(archive)).await.unwrap()
    }

    fn wanted(id: &str) -> Wanted {
        Wanted {
            id: id.parse().unwrap(),
            title: "Algebra".into(),
            guests: true,
            latency: Latency::Standard,
            part_hold_back_ms: 0,
            chat_subtitles: false,
        }
    }

    fn keyframe() -> Record {
        Record::Frame(Frame {
            track: TrackId(1),
            at: MediaTime::ZERO,
            keyframe: true,
            payload: Bytes::new(),
        })
    }

    #[test]
    fn the_head_leaves_a_hold_back_and_a_part_of_the_first_segment_to_the_lecture() {
        let slots = |latency: Latency, hold_back_ms| {
            let grid = latency.grid();
            head(grid, hold_back_ms).ticks() / grid.frame.ticks()
        };
        assert_eq!(slots(Latency::Standard, 0), 70);
        assert_eq!(slots(Latency::Standard, 1_000), 60);
        assert_eq!(slots(Latency::Interactive, 0), 83);
        assert_eq!(slots(Latency::Standard, 9_000), 0);
    }

    #[tokio::test]
    async fn the_picture_that_opens_the_line_is_not_lost() {
        let data = tempfile::tempdir().unwrap();
        let (broadcasts, mut openings) = broadcasts(&data).await;
        let broadcast = broadcasts.create(wanted("a")).await.unwrap();
        broadcast.open_line(clock::now()).unwrap();
        broadcast.source().send(keyframe());
        let Opened(_, mut source) = openings.recv().await.unwrap();
        assert_eq!(source.next().await, Ok(Some(keyframe())));
    }

    #[tokio::test]
    async fn a_broadcast_that_ended_before_its_first_picture_does_not_open() {
        let data = tempfile::tempdir().unwrap();
        let (broadcasts, mut openings) = broadcasts(&data).await;
        let broadcast = broadcasts.create(wanted("a")).await.unwrap();
        broadcast.end();
        assert_eq!(broadcast.open_line(clock::now()), None);
        assert_eq!(broadcast.facts().state, State::Ended);
        assert!(openings.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_live_broadcast_is_asked_to_end_once() {
        let data = tempfile::tempdir().unwrap();
        let (broadcasts, mut openings) = broadcasts(&data).await;
        let broadcast = broadcasts.create(wanted("a")).await.unwrap();
        let timeline = broadcast.open_line(clock::now()).unwrap();
        let Opened(_, mut source) = openings.recv().await.unwrap();
        broadcast.end();
        broadcast.end();
        assert!(matches!(source.next().await, Ok(Some(Record::End(_)))));
        broadcast.ended(timeline, MediaTime::from_ticks(9000));
        drop(broadcasts);
        assert_eq!(source.next().await, Ok(None));
    }

    #[tokio::test]
    async fn somebody_publishes_until_the_last_has_left() {
        let data = tempfile::tempdir().unwrap();
        let (broadcasts, _openings) = broadcasts(&data).await;
        let broadcast = broadcasts.create(wanted("a")).await.unwrap();
        assert!(!broadcast.is_on_air());
        (0..3).for_each(|_| broadcast.arrive());
        broadcast.leave(true);
        broadcast.leave(false);
        assert!(broadcast.is_on_air());
        broadcast.leave(true);
        assert_eq!(
            *broadcast.publisher().borrow(),
            Publisher::Absent { said_goodbye: true }
        );
    }

    #[tokio::test]
    async fn who_is_not_heard_any_more_is_told_to_be_silent() {
        use timeline::{Codec, Track};
        let data = tempfile::tempdir().unwrap();
        let (broadcasts, _openings) = broadcasts(&data).await;
        let broadcast = broadcasts.create(wanted("a")).await.unwrap();
        let now = clock::now();
        let timeline = broadcast.open_line(now - Span::from_millis(60_000)).unwrap();
        for (id, name, silent_ms) in [(1, "main", 0), (2, "screen", 30_000)] {
            let source: SourceName = name.parse().unwrap();
            broadcast.sources().came(source.clone(), "Ana".into(), now);
            broadcast.source().send(Record::Track(Track {
                id: TrackId(id),
                codec: Codec::H264,
                source: source.clone(),
            }));
            // The first is heard until the test is over.
            let at = match silent_ms {
                0 => timeline.at(now) + Span::from_millis(60_000),
                ms => timeline.at(now) - Span::from_millis(ms),
            };
            broadcast.source().send(Record::Heard { source, at });
        }
        let silent: Vec<_> = broadcast.on_air().iter().map(|one| one.silent).collect();
        assert_eq!(silent, [false, true]);
    }

    fn screen_first() -> Layout {
        Layout {
            arrangement: timeline::Arrangement::PictureInPicture,
            sources: vec!["screen".parse().unwrap(), SourceName::main()],
        }
    }

    #[tokio::test]
    async fn a_layout_is_told_at_once_and_to_a_line_that_opens_later() {
        let data = tempfile::tempdir().unwrap();
        let (broadcasts, mut openings) = broadcasts(&data).await;
        let early = broadcasts.create(wanted("a")).await.unwrap();
        early.arrange(screen_first());
        early.open_line(clock::now()).unwrap();
        let Opened(_, mut source) = openings.recv().await.unwrap();
        assert_eq!(source.next().await, Ok(Some(Record::Layout(screen_first()))));
        early.arrange(Layout::default());
        assert_eq!(source.next().await, Ok(Some(Record::Layout(Layout::default()))));
    }

    #[tokio::test]
    async fn a_layout_and_the_promised_sources_outlive_a_restart() {
        let data = tempfile::tempdir().unwrap();
        {
            let (broadcasts, _openings) = broadcasts(&data).await;
            let broadcast = broadcasts.create(wanted("a")).await.unwrap();
            broadcast.open_line(clock::now()).unwrap();
            broadcast.arrange(screen_first());
            broadcast.invite("Ada").unwrap();
            broadcasts.save(&broadcast).await.unwrap();
        }
        let (broadcasts, _openings) = broadcasts(&data).await;
        let broadcast = broadcasts.get(&"a".parse().unwrap()).unwrap();
        let (_, mut source) = broadcast.take_up().unwrap();
        assert_eq!(source.next().await, Ok(Some(Record::Layout(screen_first()))));
        assert_eq!(broadcast.invite("Ada").unwrap().as_str(), "ada-2");
    }

    #[tokio::test]
    async fn what_is_kept_is_known_after_a_restart() {
        let data = tempfile::tempdir().unwrap();
        let before = {
            let (broadcasts, _openings) = broadcasts(&data).await;
            let broadcast = broadcasts.create(wanted("a")).await.unwrap();
            let timeline = broadcast.open_line(clock::now()).unwrap();
            broadcast.ended(timeline, MediaTime::from_ticks(288_000));
            broadcasts.save(&broadcast).await.unwrap();
            serde_json::to_value(broadcast.facts()).unwrap()
        };
        let (broadcasts, _openings) = broadcasts(&data).await;
        let broadcast = broadcasts.get(&"a".parse().unwrap()).unwrap();
        assert_eq!(serde_json::to_value(broadcast.facts()).unwrap(), before);
        assert!(matches!(
            broadcasts.create(wanted("a")).await,
            Err(Refused::Exists(_))
        ));
    }
}
