//! The broadcasts this server knows, each with its line, its source feed and its publisher.
//!
//! A broadcast's line moves only forward: waiting → live (the first publish) → ended. Who runs a live one is
//! told through [`Opened`]; this file only keeps what is true.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use timeline::feed::{Producer, Record};
use timeline::{Archive, BroadcastId, Line, MediaTime, Object, Timeline, WallTime};
use tokio::sync::{mpsc, watch};

use crate::clock;

/// One name in the archive of a broadcast's own facts.
const FACTS: &str = "broadcast.json";

/// More would not fit on a page or in a title bar.
const MAX_TITLE_CHARS: usize = 200;

/// A broadcast has just gone on air.
pub struct Opened(pub Arc<Broadcast>);

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
    pub created: WallTime,
    pub source: Producer,
    line: watch::Sender<Line>,
    publisher: watch::Sender<Publisher>,
    publications: AtomicU64,
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
    Present {
        publication: u64,
    },
}

/// A broadcast's facts as they are kept and served: `broadcast.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Facts {
    pub id: BroadcastId,
    pub title: String,
    pub guests: bool,
    /// Unix milliseconds.
    pub created: i64,
    pub state: State,
    /// Unix milliseconds; none before the first publish.
    pub origin: Option<i64>,
    /// 90 kHz ticks; none before the end.
    pub duration: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Waiting,
    Live,
    Ended,
}

/// What a new broadcast is asked to be.
pub struct Wanted {
    pub id: BroadcastId,
    pub title: String,
    pub guests: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("there is a broadcast {0} already")]
    Exists(BroadcastId),
    #[error("a title is 1 to {MAX_TITLE_CHARS} characters, without control characters")]
    BadTitle,
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
        let facts = Facts {
            id: wanted.id.clone(),
            title: title.to_owned(),
            guests: wanted.guests,
            created: clock::now().unix_millis(),
            state: State::Waiting,
            origin: None,
            duration: None,
        };
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
        for name in self.0.archive.list("").await.context("cannot read the archive")? {
            let Ok(id) = name.parse::<BroadcastId>() else {
                continue;
            };
            match self.read_facts(&id).await {
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
            created: WallTime::from_unix_millis(facts.created),
            source: Producer::new(),
            ending: AtomicBool::new(line.is_ended()),
            line: watch::Sender::new(line),
            publisher: watch::Sender::new(Publisher::Absent { said_goodbye: false }),
            publications: AtomicU64::new(0),
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
        Facts {
            id: self.id.clone(),
            title: self.title.clone(),
            guests: self.guests,
            created: self.created.unix_millis(),
            state,
            origin,
            duration,
        }
    }

    pub fn line(&self) -> watch::Receiver<Line> {
        self.line.subscribe()
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

    /// A publisher has come. Returns the number by which it later leaves.
    pub fn arrive(&self) -> u64 {
        let publication = self.publications.fetch_add(1, Ordering::Relaxed) + 1;
        self.publisher.send_replace(Publisher::Present { publication });
        publication
    }

    /// A publisher has gone; no matter if another has taken its place since.
    pub fn leave(&self, gone: u64, said_goodbye: bool) {
        self.publisher.send_if_modified(|publisher| match publisher {
            Publisher::Present { publication } if *publication == gone => {
                *publisher = Publisher::Absent { said_goodbye };
                true
            }
            _ => false,
        });
    }

    /// The line, opened at `first` unless it is open already.
    pub fn open_line(self: &Arc<Self>, first: WallTime) -> Timeline {
        let mut timeline = Timeline::starting(first);
        let opened = self.line.send_if_modified(|line| match line.timeline() {
            Some(known) => {
                timeline = known;
                false
            }
            None => {
                *line = Line::Live { timeline };
                true
            }
        });
        if opened {
            // The receiver lives as long as the server; without it nothing runs any more.
            let _ = self.opened.send(Opened(self.clone()));
        }
        timeline
    }

    /// Asks for the end. Whoever runs the line sees [`Record::End`], finishes, and reports [`Self::ended`].
    pub fn end(&self) {
        if self.ending.swap(true, Ordering::AcqRel) {
            return;
        }
        let now = clock::now();
        let line = *self.line.borrow();
        match line {
            Line::Live { timeline } => self
                .source
                .send(Record::End(timeline.at(now).max(MediaTime::ZERO))),
            Line::Waiting => self.ended(Timeline::starting(now), MediaTime::ZERO),
            Line::Ended { .. } => {}
        }
    }

    pub fn ended(&self, timeline: Timeline, duration: MediaTime) {
        self.ending.store(true, Ordering::Release);
        self.line.send_replace(Line::Ended { timeline, duration });
    }
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
