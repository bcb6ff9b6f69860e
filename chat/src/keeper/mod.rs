//! The task that keeps one room: hears what people want, has it stored, and tells everyone.
//!
//! One task per room, so the order in which it hears is the order of the room. Nothing is acknowledged or shown
//! before the record has it.

mod handle;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::Utf8Bytes;
use timeline::{BroadcastId, Line, WallTime};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::record::{Entry, Record};
use crate::replay::Replay;
use crate::room::{Code, Receipt, Refused, Resume, Room, Say};
use crate::wire::{self, ToClient};
use crate::{Config, Person};
use handle::{Ask, Present, Reply};
pub use handle::{Entrance, Frame, RoomHandle};

/// Asks that are answered together. A commit of as many takes about 10 ms.
const BATCH: usize = 256;

/// Frames that a connection may be behind before it is told of a gap: some seconds of a busy room. 64 KiB each at
/// most, so 8 MiB for a room at the very worst.
const FRAMES: usize = 128;

pub struct Keeper {
    broadcast: BroadcastId,
    config: Config,
    room: Room,
    record: Record,
    replay: Arc<Replay>,
    line: watch::Receiver<Line>,
    asks: mpsc::Receiver<Ask>,
    waiting: Vec<(Reply, Result<Receipt, Refused>)>,
    frames: broadcast::Sender<Arc<Frame>>,
    /// The last event that everyone was told.
    told: u64,
    told_at: Option<Instant>,
    present: watch::Sender<usize>,
    presence: watch::Sender<Utf8Bytes>,
    presence_told: (usize, Option<Instant>),
    connections: metrics::Gauge,
}

impl Keeper {
    pub fn new(
        broadcast: BroadcastId,
        config: Config,
        room: Room,
        record: Record,
        replay: Arc<Replay>,
        line: watch::Receiver<Line>,
    ) -> (Keeper, RoomHandle) {
        let (handle, asks) = RoomHandle::new(replay.clone());
        let connections = metrics::gauge!("lectern_chat_connections", "broadcast" => broadcast.to_string());
        let told = room.last();
        let keeper = Keeper {
            broadcast,
            config,
            room,
            record,
            replay,
            line,
            asks,
            waiting: Vec::new(),
            frames: broadcast::Sender::new(FRAMES),
            told,
            told_at: None,
            present: watch::Sender::new(0),
            presence: watch::Sender::new(Utf8Bytes::default()),
            presence_told: (0, None),
            connections,
        };
        (keeper, handle)
    }

    /// Until nobody needs the room in memory, or `stop`: then what was asked before is still done.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut present = self.present.subscribe();
        let idle = Duration::from_millis(self.config.idle_ms);
        let mut quiet_since = Instant::now();
        loop {
            let fan_out_due = self.fan_out_due();
            let presence_due = self.presence_due();
            tokio::select! {
                biased;
                () = until(fan_out_due) => self.fan_out(),
                () = until(presence_due) => self.tell_presence(),
                // The new count is seen by `presence_due`.
                _ = present.changed() => quiet_since = Instant::now(),
                () = stop.cancelled(), if !self.asks.is_closed() => self.asks.close(),
                ask = self.asks.recv() => match ask {
                    Some(ask) => {
                        self.answer(ask).await;
                        quiet_since = Instant::now();
                    }
                    None => break,
                },
                () = tokio::time::sleep_until(quiet_since + idle) => {
                    if self.is_idle() {
                        return self.retire();
                    }
                    quiet_since = Instant::now();
                }
            }
        }
        self.fan_out();
    }

    /// From here on asks fail and go to the room's next life; those that wait already are not heard.
    fn retire(mut self) {
        self.asks.close();
        tracing::debug!(broadcast = %self.broadcast, "the room leaves the memory");
    }

    /// A live room stays: its windows have to be sealed as they pass. One that waits for its origin can be taken
    /// up again from the record.
    fn is_idle(&self) -> bool {
        let waiting = matches!(*self.line.borrow(), Line::Waiting);
        *self.present.borrow() == 0
            && self.asks.is_empty()
            && (waiting || (self.replay.is_over() && self.replay.is_settled()))
    }

    /// Answers an ask and those that wait behind it, with one commit.
    async fn answer(&mut self, first: Ask) {
        let mut next = Some(first);
        for _ in 0..BATCH {
            match next.take().or_else(|| self.asks.try_recv().ok()) {
                Some(ask) => self.hear(ask).await,
                None => break,
            }
        }
        self.commit().await;
    }

    async fn hear(&mut self, ask: Ask) {
        match ask {
            Ask::Enter { resume, reply } => {
                self.commit().await;
                // Nobody has to be waiting any more.
                let _ = reply.send(self.enter(resume.as_ref()));
            }
            Ask::Say {
                by,
                reference,
                body,
                playing,
                reply,
            } => {
                let line = *self.line.borrow();
                let say = Say {
                    reference: &reference,
                    body: &body,
                    playing,
                };
                let answer = self.room.say(&by, say, &line, now());
                self.waiting.push((reply, answer));
            }
            Ask::Delete {
                by,
                reference,
                seq,
                reply,
            } => {
                let answer = self.delete(&by, &reference, seq).await;
                self.waiting.push((reply, answer));
            }
            Ask::Close { reply } => {
                self.commit().await;
                self.room.close();
                let _ = reply.send(());
            }
        }
    }

    async fn delete(&mut self, by: &Person, reference: &str, seq: u64) -> Result<Receipt, Refused> {
        let target = match self.room.find(seq) {
            Ok(target) => target,
            Err(older) => self
                .record
                .target(&self.broadcast, older)
                .await
                .map_err(|_| Refused::unavailable())?,
        };
        let line = *self.line.borrow();
        self.room.delete(by, reference, target, &line, now())
    }

    fn enter(&mut self, resume: Option<&Resume>) -> Result<Entrance, Refused> {
        if *self.present.borrow() >= self.config.max_connections_per_room {
            let full = Refused::new(Code::Full, "the room is full: try again later");
            return Err(Refused {
                retry_after_ms: Some(30_000),
                ..full
            });
        }
        // What the newcomer's answer holds must not come again in a frame.
        self.fan_out();
        self.present.send_modify(|count| *count += 1);
        Ok(Entrance {
            epoch: self.room.epoch().to_owned(),
            answer: self.room.join(resume),
            last: self.room.last(),
            frames: self.frames.subscribe(),
            presence: self.presence.subscribe(),
            _present: Present(self.present.clone()),
        })
    }

    /// Stores what is pending, then lets everyone know who waits for it.
    async fn commit(&mut self) {
        let stored = match self.room.pending().is_empty() {
            true => Ok(()),
            false => self.store().await,
        };
        for (reply, answer) in std::mem::take(&mut self.waiting) {
            let _ = reply.send(stored.clone().and(answer));
        }
    }

    async fn store(&mut self) -> Result<(), Refused> {
        let accepted = self.room.pending().to_vec();
        let entry = |accepted: &_| Entry {
            window: self.replay.window(accepted),
            accepted: accepted.clone(),
        };
        let entries = accepted.iter().map(entry).collect();
        if self.record.append(&self.broadcast, entries).await.is_err() {
            // The writer has told why.
            self.take_up().await;
            return Err(Refused::unavailable());
        }
        self.room.stored();
        self.replay.changed(&accepted);
        metrics::counter!("lectern_chat_events_total", "broadcast" => self.broadcast.to_string())
            .increment(accepted.len() as u64);
        Ok(())
    }

    /// A commit that failed may have been kept after all: the record knows.
    async fn take_up(&mut self) {
        self.room.abandon();
        match self.record.recent(&self.broadcast, self.config.recent).await {
            Ok(recent) => self.room.take_up(recent),
            Err(error) => {
                tracing::error!(broadcast = %self.broadcast, %error, "the room cannot read its record")
            }
        }
        if let Err(error) = self.replay.distrust().await {
            tracing::error!(broadcast = %self.broadcast, %error, "the replay cannot read its record");
        }
    }

    /// At once in a quiet room, else with the next tick.
    fn fan_out_due(&self) -> Option<Instant> {
        let tick = Duration::from_millis(self.config.tick_ms);
        let due = || self.told_at.map_or_else(Instant::now, |at| at + tick);
        (self.told < self.room.last()).then(due)
    }

    fn fan_out(&mut self) {
        let events: Vec<_> = self.room.since(self.told).cloned().collect();
        for page in wire::pages(&events) {
            if let [first, .., last] | [first @ last] = page {
                let text = ToClient::Events { events: page }.to_text();
                let frame = Frame {
                    from: first.seq,
                    to: last.seq,
                    count: page.len() as u64,
                    text,
                };
                // Without anyone to hear it the frame is dropped.
                let _ = self.frames.send(Arc::new(frame));
                self.told_at = Some(Instant::now());
            }
        }
        self.told = self.room.last();
    }

    fn presence_due(&self) -> Option<Instant> {
        let (count, at) = self.presence_told;
        let rest = Duration::from_millis(self.config.presence_ms);
        let due = || at.map_or_else(Instant::now, |at| at + rest);
        (*self.present.borrow() != count).then(due)
    }

    fn tell_presence(&mut self) {
        let count = *self.present.borrow();
        self.connections.set(count as f64);
        self.presence.send_replace(ToClient::Presence { count }.to_text());
        self.presence_told = (count, Some(Instant::now()));
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

fn now() -> WallTime {
    std::time::SystemTime::now().into()
}
