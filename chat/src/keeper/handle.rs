//! A room as its connections reach it, and what they may ask of it.

use std::sync::Arc;

use axum::extract::ws::Utf8Bytes;
use timeline::BroadcastId;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use super::people::{People, Present};
use crate::event::{Anonymous, Attached, Face};
use crate::replay::Replay;
use crate::room::{Action, Answer, Receipt, Refused, Resume};
use crate::{Error, Event, Person, Settings};

/// Each connection waits for the answer to one ask; more wait in their sockets.
const ASKS: usize = 1_024;

/// A room as its connections reach it.
#[derive(Clone)]
pub struct RoomHandle {
    pub broadcast: BroadcastId,
    asks: mpsc::Sender<Ask>,
    pub replay: Arc<Replay>,
    pub people: People,
    /// As the room has them now.
    pub settings: watch::Receiver<Settings>,
}

pub enum Ask {
    Enter {
        by: Person,
        resume: Option<Resume>,
        reply: oneshot::Sender<Result<Entrance, Refused>>,
    },
    Act {
        by: Person,
        reference: String,
        action: Action,
        /// Those of the files it names that are here.
        files: Vec<Attached>,
        reply: Reply,
    },
    /// How the room stands.
    Stand {
        by: Person,
        reply: oneshot::Sender<Standing>,
    },
    /// What was said has been kept long enough.
    Clear {
        reply: oneshot::Sender<Result<(), Error>>,
    },
    /// The broadcast is over.
    Close { reply: oneshot::Sender<()> },
}

pub type Reply = oneshot::Sender<Done>;

/// `None`: done, and no event of its own.
pub type Done = Result<Option<Receipt>, Refused>;

/// What someone gets who enters.
pub struct Entrance {
    pub standing: Standing,
    pub answer: Answer,
    pub told: broadcast::Receiver<Arc<Told>>,
    pub presence: watch::Receiver<Utf8Bytes>,
    pub _present: Present,
}

/// How the room stands as of an event, for one reader.
pub struct Standing {
    pub epoch: String,
    /// The last event; frames go on behind it.
    pub last: u64,
    /// The last event that the record has.
    pub recorded: u64,
    pub state: serde_json::Value,
    pub veil: Veil,
}

/// What hides anonymous authors.
#[derive(Clone)]
pub struct Veil {
    epoch: Arc<str>,
    staff_know: bool,
}

/// What everyone is told.
pub enum Told {
    Events(Frame),
    Tally {
        public: Utf8Bytes,
        staff: Utf8Bytes,
    },
    /// Some events will not be told: they are in the record.
    Missed,
    /// What has no place in the order, yet or any more.
    Aside {
        public: Utf8Bytes,
        staff: Utf8Bytes,
    },
}

/// A stretch of events, as all connections of the room send it: serialised once for participants and once for staff.
pub struct Frame {
    pub from: u64,
    pub to: u64,
    pub public: Page,
    pub staff: Page,
    /// All of them: for those whom some concern alone, …
    pub events: Vec<Arc<Event>>,
    /// … who are these.
    pub concerned: Vec<String>,
    pub veil: Veil,
}

#[derive(Default)]
pub struct Page {
    pub count: u64,
    /// `None`: there is nothing in it for these readers.
    pub text: Option<Utf8Bytes>,
}

impl Veil {
    pub fn of(anonymous: Anonymous<'_>) -> Veil {
        Veil {
            epoch: anonymous.epoch.into(),
            staff_know: anonymous.staff_know,
        }
    }

    pub fn anonymous(&self) -> Anonymous<'_> {
        Anonymous {
            epoch: &self.epoch,
            staff_know: self.staff_know,
        }
    }
}

impl Frame {
    pub fn page(&self, face: Face) -> &Page {
        match face {
            Face::Public => &self.public,
            Face::Staff => &self.staff,
        }
    }

    /// Whether something in it is for this participant alone.
    pub fn concerns(&self, person: &str) -> bool {
        self.concerned.iter().any(|id| id == person)
    }
}

impl RoomHandle {
    pub fn new(
        broadcast: &BroadcastId,
        replay: Arc<Replay>,
        people: People,
        settings: watch::Receiver<Settings>,
    ) -> (RoomHandle, mpsc::Receiver<Ask>) {
        let (asks, heard) = mpsc::channel(ASKS);
        let handle = RoomHandle {
            broadcast: broadcast.clone(),
            asks,
            replay,
            people,
            settings,
        };
        (handle, heard)
    }

    /// The room has left the memory: a new handle is needed.
    pub fn is_closed(&self) -> bool {
        self.asks.is_closed()
    }

    /// `None`: the room has left the memory.
    pub async fn enter(&self, by: &Person, resume: Option<Resume>) -> Option<Result<Entrance, Refused>> {
        let by = by.clone();
        self.ask(|reply| Ask::Enter { by, resume, reply }).await
    }

    /// The room has heard it; the answer comes when it comes. `None`: the room has left the memory.
    pub async fn act(
        &self,
        by: &Person,
        reference: &str,
        action: Action,
        files: Vec<Attached>,
    ) -> Option<oneshot::Receiver<Done>> {
        let (reply, answer) = oneshot::channel();
        let (by, reference) = (by.clone(), reference.to_owned());
        let ask = Ask::Act {
            by,
            reference,
            action,
            files,
            reply,
        };
        self.asks.send(ask).await.ok()?;
        Some(answer)
    }

    /// `None`: the room has left the memory.
    pub async fn stand(&self, by: &Person) -> Option<Standing> {
        let by = by.clone();
        self.ask(|reply| Ask::Stand { by, reply }).await
    }

    /// Nothing of what was said is left. `None`: the room has left the memory.
    pub async fn clear(&self) -> Option<Result<(), Error>> {
        self.ask(|reply| Ask::Clear { reply }).await
    }

    /// Everything said before is stored, nothing is said after. `None`: the room has left the memory.
    pub async fn close(&self) -> Option<()> {
        self.ask(|reply| Ask::Close { reply }).await
    }

    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.asks.send(ask(reply)).await.ok()?;
        answer.await.ok()
    }
}
