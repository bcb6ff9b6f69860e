//! A room as its connections reach it, and what they may ask of it.

use std::sync::Arc;

use axum::extract::ws::Utf8Bytes;
use timeline::WallTime;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::Person;
use crate::replay::Replay;
use crate::room::{Answer, Receipt, Refused, Resume};

/// Each connection waits for the answer to one ask; more wait in their sockets.
const ASKS: usize = 1_024;

/// A room as its connections reach it.
#[derive(Clone)]
pub struct RoomHandle {
    asks: mpsc::Sender<Ask>,
    pub replay: Arc<Replay>,
}

pub enum Ask {
    Enter {
        resume: Option<Resume>,
        reply: oneshot::Sender<Result<Entrance, Refused>>,
    },
    Say {
        by: Person,
        reference: String,
        body: String,
        playing: Option<WallTime>,
        reply: Reply,
    },
    Delete {
        by: Person,
        reference: String,
        seq: u64,
        reply: Reply,
    },
    /// The broadcast is over.
    Close { reply: oneshot::Sender<()> },
}

pub type Reply = oneshot::Sender<Result<Receipt, Refused>>;

/// What someone gets who enters.
pub struct Entrance {
    pub epoch: String,
    pub answer: Answer,
    /// The last event; the frames go on behind it.
    pub last: u64,
    pub frames: broadcast::Receiver<Arc<Frame>>,
    pub presence: watch::Receiver<Utf8Bytes>,
    pub _present: Present,
}

/// Events as every connection of the room sends them: serialised once.
pub struct Frame {
    pub from: u64,
    pub to: u64,
    pub count: u64,
    pub text: Utf8Bytes,
}

/// Counts as present until it is dropped.
pub struct Present(pub watch::Sender<usize>);

impl Drop for Present {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}

impl RoomHandle {
    pub fn new(replay: Arc<Replay>) -> (RoomHandle, mpsc::Receiver<Ask>) {
        let (asks, heard) = mpsc::channel(ASKS);
        (RoomHandle { asks, replay }, heard)
    }

    /// The room has left the memory: a new handle is needed.
    pub fn is_closed(&self) -> bool {
        self.asks.is_closed()
    }

    /// `None`: the room has left the memory.
    pub async fn enter(&self, resume: Option<Resume>) -> Option<Result<Entrance, Refused>> {
        self.ask(|reply| Ask::Enter { resume, reply }).await
    }

    pub async fn say(
        &self,
        by: &Person,
        reference: &str,
        body: String,
        playing: Option<WallTime>,
    ) -> Result<Receipt, Refused> {
        let (by, reference) = (by.clone(), reference.to_owned());
        let answer = self
            .ask(|reply| Ask::Say {
                by,
                reference,
                body,
                playing,
                reply,
            })
            .await;
        answer.unwrap_or_else(|| Err(Refused::unavailable()))
    }

    pub async fn delete(&self, by: &Person, reference: &str, seq: u64) -> Result<Receipt, Refused> {
        let (by, reference) = (by.clone(), reference.to_owned());
        let answer = self
            .ask(|reply| Ask::Delete {
                by,
                reference,
                seq,
                reply,
            })
            .await;
        answer.unwrap_or_else(|| Err(Refused::unavailable()))
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
