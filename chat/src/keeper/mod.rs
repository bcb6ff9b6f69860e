//! The task that keeps one room: hears what people want, has it stored, and tells everyone.
//!
//! One task per room, so the order in which it hears is the order of the room. Nothing is acknowledged or shown
//! before the record has it. Where several nodes keep the room, [`common`] gives the order.

mod common;
mod handle;
mod letter;
mod people;
mod shared;
mod tick;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::Utf8Bytes;
use timeline::{BroadcastId, Line};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::now;
use crate::event::{Attached, Audience, Face};
use crate::files::Files;
use crate::record::{Entry, Record};
use crate::replay::Replay;
use crate::room::{self, Accepted, Action, Code, Found, Refused, Resume, Room, tallies};
use crate::wire::{self, ToClient};
use crate::{Config, Error, Event, Person, Settings};
use common::Fate;
pub use common::{Common, take_up};
use handle::{Ask, Page, Reply};
pub use handle::{Done, Entrance, Frame, RoomHandle, Standing, Told, Veil};
pub use people::{People, Present};

/// Asks that are answered together. A commit of as many takes about 10 ms.
const BATCH: usize = 256;

/// Frames that a connection may be behind before it is told of a gap: some seconds of a busy room. 64 KiB each at
/// most, so 8 MiB for a room at the very worst.
const FRAMES: usize = 128;

/// What is due in a room of several nodes is done by whoever is first; the others hear of it within this time.
const AGAIN: Duration = Duration::from_millis(500);

/// Votes so far are told at most this often.
const TALLY: Duration = Duration::from_secs(1);

/// The last event that was told: to whoever listens, and that a frame for one of the two faces covered.
#[derive(Clone, Copy)]
struct Covered {
    all: u64,
    public: u64,
    staff: u64,
}

impl Covered {
    /// Those who listen have missed what was before.
    fn skip_to(&mut self, seq: u64) {
        for covered in [&mut self.all, &mut self.public, &mut self.staff] {
            *covered = (*covered).max(seq);
        }
    }
}

pub struct Keeper {
    broadcast: BroadcastId,
    /// Where other nodes keep the room too.
    common: Option<Common>,
    config: Config,
    room: Room,
    record: Record,
    replay: Arc<Replay>,
    line: watch::Receiver<Line>,
    asks: mpsc::Receiver<Ask>,
    waiting: Vec<(Reply, Done)>,
    told_to: broadcast::Sender<Arc<Told>>,
    told: Covered,
    told_at: Option<Instant>,
    tallied_at: Option<Instant>,
    /// What was due was done, and comes back from the other nodes.
    due_at: Option<Instant>,
    people: People,
    count: watch::Receiver<(usize, usize)>,
    /// As the replay is to be made with.
    settings: watch::Sender<Settings>,
    files: Arc<Files>,
    presence: watch::Sender<Utf8Bytes>,
    presence_told: (usize, Option<Instant>),
    connections: metrics::Gauge,
    /// Events for everyone, times those who listened.
    deliveries: metrics::Counter,
}

/// What a keeper works with.
pub struct Tools {
    pub broadcast: BroadcastId,
    pub record: Record,
    pub replay: Arc<Replay>,
    pub line: watch::Receiver<Line>,
    /// As the replay is to be made with.
    pub settings: watch::Sender<Settings>,
    pub files: Arc<Files>,
}

impl Keeper {
    pub fn new(room: Room, config: Config, tools: Tools) -> (Keeper, RoomHandle) {
        let Tools {
            broadcast,
            record,
            replay,
            line,
            settings,
            files,
        } = tools;
        let people = People::new();
        let (handle, asks) =
            RoomHandle::new(&broadcast, replay.clone(), people.clone(), settings.subscribe());
        let connections = metrics::gauge!("lectern_chat_connections", "broadcast" => broadcast.to_string());
        let deliveries =
            metrics::counter!("lectern_chat_deliveries_total", "broadcast" => broadcast.to_string());
        let last = room.last();
        let keeper = Keeper {
            broadcast,
            common: None,
            due_at: None,
            config,
            room,
            record,
            replay,
            line,
            asks,
            waiting: Vec::new(),
            told_to: broadcast::Sender::new(FRAMES),
            told: Covered {
                all: last,
                public: last,
                staff: last,
            },
            told_at: None,
            tallied_at: None,
            count: people.count(),
            people,
            settings,
            files,
            presence: watch::Sender::new(Utf8Bytes::default()),
            presence_told: (0, None),
            connections,
            deliveries,
        };
        (keeper, handle)
    }

    /// Other nodes keep the room too.
    pub fn shared(self, common: Option<Common>) -> Keeper {
        self.replay.lead(common.is_none());
        Keeper { common, ..self }
    }

    /// Until nobody needs the room in memory, or `stop`: then what was asked before is still done.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut present = self.people.count();
        let idle = Duration::from_millis(self.config.idle_ms);
        let mut quiet_since = Instant::now();
        loop {
            let fan_out_due = self.fan_out_due();
            let presence_due = self.presence_due();
            let tally_due = self.tally_due();
            let due = self.next_due();
            let people = self.count.borrow().0;
            tokio::select! {
                biased;
                () = until(fan_out_due) => self.fan_out(),
                () = until(due) => self.due().await,
                () = until(tally_due) => self.tell_tallies(),
                () = until(presence_due) => self.tell_presence(),
                step = common::next(self.common.as_mut(), people, &self.replay) => {
                    if self.step(step).await == Fate::Lost {
                        return self.retire().await;
                    }
                }
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
                        return self.retire().await;
                    }
                    quiet_since = Instant::now();
                }
            }
        }
        self.finish().await;
        self.fan_out();
    }

    /// From here on asks fail and go to the room's next life; those that wait already are not heard.
    async fn retire(mut self) {
        self.asks.close();
        self.leave().await;
        tracing::debug!(broadcast = %self.broadcast, "the room leaves the memory");
    }

    /// A live room stays: its windows have to be sealed as they pass. One that waits for its origin can be taken
    /// up again from the record.
    fn is_idle(&self) -> bool {
        let waiting = matches!(*self.line.borrow(), Line::Waiting);
        self.count.borrow().1 == 0
            && self.asks.is_empty()
            && self.room.next_due().is_none()
            && self.common.as_ref().is_none_or(Common::is_quiet)
            && (waiting || (self.replay.is_over() && (self.replay.is_settled() || self.follows())))
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
            Ask::Enter { by, resume, reply } => {
                self.commit().await;
                // Nobody has to be waiting any more.
                let _ = reply.send(self.enter(&by, resume.as_ref()));
            }
            Ask::Act {
                by,
                reference,
                action,
                files,
                reply,
            } => {
                let answer = self.act(&by, &reference, &action, files).await;
                self.waiting.push((reply, answer));
            }
            Ask::Stand { by, reply } => {
                self.commit().await;
                let _ = reply.send(self.standing(&by));
            }
            Ask::Clear { reply } => {
                self.commit().await;
                let cleared = self.record.clear(&self.broadcast).await;
                match &mut self.common {
                    // No node goes on from what it knew.
                    Some(common) => common.begin_anew().await,
                    None => self.take_up().await,
                }
                let _ = reply.send(cleared);
            }
            Ask::Close { reply } => {
                self.commit().await;
                self.room.close();
                match &mut self.common {
                    Some(common) => common.close(reply),
                    None => drop(reply.send(())),
                }
            }
        }
    }

    async fn act(&mut self, by: &Person, reference: &str, action: &Action, files: Vec<Attached>) -> Done {
        if action.looks_back() {
            self.commit().await;
        }
        let found = self.find(action, files).await.map_err(|error| {
            tracing::error!(broadcast = %self.broadcast, %error, "the room cannot read its record");
            Refused::unavailable()
        })?;
        let line = *self.line.borrow();
        self.room.act(
            &room::Ask {
                by,
                reference,
                action,
                found: &found,
            },
            &line,
            now(),
        )
    }

    /// What an action is about, wherever it is.
    async fn find(&mut self, action: &Action, files: Vec<Attached>) -> Result<Found, Error> {
        let mut found = Found {
            files,
            ..Found::default()
        };
        if let Some(seq) = action.target() {
            found.target = match self.room.find(seq) {
                Ok(target) => target,
                Err(older) => self.record.event(&self.broadcast, older).await?.map(Arc::new),
            };
        }
        if let Some(id) = action.person() {
            found.person = match self.people.find(id).or_else(|| self.room.person(id)) {
                Some(person) => Some(person),
                None => self.record.person(&self.broadcast, id).await?,
            };
        }
        if let Action::Erase { person } = action {
            found.theirs = self.record.theirs(&self.broadcast, person).await?;
        }
        Ok(found)
    }

    fn enter(&mut self, by: &Person, resume: Option<&Resume>) -> Result<Entrance, Refused> {
        if self.count.borrow().1 >= self.config.max_connections_per_room {
            let full = Refused::new(Code::Full, "the room is full: try again later");
            return Err(Refused {
                retry_after_ms: Some(30_000),
                ..full
            });
        }
        if self.room.is_banned(by, now()) {
            return Err(Refused::new(Code::Banned, "you have been banned from this room"));
        }
        // What the newcomer's answer holds must not come again in a frame.
        self.fan_out();
        Ok(Entrance {
            standing: self.standing(by),
            answer: self.room.join(resume, by.role.face(), &by.id),
            told: self.told_to.subscribe(),
            presence: self.presence.subscribe(),
            _present: self.people.enter(by, now()),
        })
    }

    fn standing(&self, by: &Person) -> Standing {
        Standing {
            epoch: self.room.epoch().to_owned(),
            last: self.room.last(),
            recorded: self
                .common
                .as_ref()
                .map_or(u64::MAX, |common| common.recorded)
                .min(self.room.last()),
            state: self.room.standing(by.role.face(), &by.id),
            veil: Veil::of(self.room.anonymous()),
        }
    }

    /// Does what has become due by itself.
    async fn due(&mut self) {
        self.commit().await;
        let line = *self.line.borrow();
        self.room.due(&line, now());
        self.commit().await;
        self.due_at = Some(Instant::now());
    }

    fn next_due(&self) -> Option<Instant> {
        let due = self.room.next_due()?;
        let due = Instant::now() + (due - now()).to_duration();
        let rested = self.due_at.filter(|_| self.common.is_some());
        Some(rested.map_or(due, |at| due.max(at + AGAIN)))
    }

    /// Stores what is pending, then lets everyone know who waits for it.
    async fn commit(&mut self) {
        if self.common.is_some() {
            return self.offer();
        }
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
        let entry = |accepted: &Accepted| Entry {
            windows: self.replay.windows(accepted),
            accepted: accepted.clone(),
        };
        let entries = accepted.iter().map(entry).collect();
        if self.record.append(&self.broadcast, entries).await.is_err() {
            // The writer has told why.
            self.take_up().await;
            return Err(Refused::unavailable());
        }
        self.room.stored();
        self.tell_settings();
        self.kept(&accepted);
        self.count_events(accepted.len());
        Ok(())
    }

    /// The record has these.
    fn kept(&self, accepted: &[Accepted]) {
        self.replay.changed(accepted);
        if accepted.iter().any(|accepted| !accepted.files.is_empty()) {
            self.files.released(&self.broadcast);
        }
    }

    fn count_events(&self, count: usize) {
        metrics::counter!("lectern_chat_events_total", "broadcast" => self.broadcast.to_string())
            .increment(count as u64);
    }

    fn tell_settings(&self) {
        self.settings.send_if_modified(|settings| {
            let changed = *settings != self.room.state().settings;
            settings.clone_from(&self.room.state().settings);
            changed
        });
    }

    /// A commit that failed may have been kept after all: the record knows.
    async fn take_up(&mut self) {
        self.room.abandon();
        match self.record.kept(&self.broadcast, self.config.recent).await {
            Ok(kept) => self.room.take_up(kept),
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
        let tick = tick::tick(Duration::from_millis(self.config.tick_ms), self.count.borrow().1);
        let due = || self.told_at.map_or_else(Instant::now, |at| at + tick);
        (self.told.all < self.room.last()).then(due)
    }

    fn fan_out(&mut self) {
        let events: Vec<_> = self.room.since(self.told.all).cloned().collect();
        let pages = wire::pages(&events);
        let veil = Veil::of(self.room.anonymous());
        let mut from = self.told.all + 1;
        for (n, page) in pages.iter().enumerate() {
            let to = match page.last() {
                Some(last) if n + 1 < pages.len() => last.seq,
                _ => self.room.last(),
            };
            let public = page_for(Face::Public, page, &mut self.told.public, to, &veil);
            let staff = page_for(Face::Staff, page, &mut self.told.staff, to, &veil);
            if staff.text.is_some() {
                let events_told = public.count;
                let frame = Frame {
                    from,
                    to,
                    public,
                    staff,
                    events: page.to_vec(),
                    concerned: concerned(page),
                    veil: veil.clone(),
                };
                // Without anyone to hear it the frame is dropped.
                let listeners = self
                    .told_to
                    .send(Arc::new(Told::Events(frame)))
                    .unwrap_or_default();
                self.deliveries.increment(listeners as u64 * events_told);
                self.told_at = Some(Instant::now());
            }
            from = to + 1;
        }
        self.told.all = self.room.last();
    }

    /// Votes so far, at most once a second.
    fn tally_due(&self) -> Option<Instant> {
        let due = || self.tallied_at.map_or_else(Instant::now, |at| at + TALLY);
        self.room.has_tallied().then(due)
    }

    fn tell_tallies(&mut self) {
        let changed = self.room.take_tallied();
        let state = self.room.state();
        let text = |face| {
            ToClient::Tally {
                tallies: tallies(state, &changed, face),
            }
            .to_text()
        };
        let tally = Told::Tally {
            public: text(Face::Public),
            staff: text(Face::Staff),
        };
        let _ = self.told_to.send(Arc::new(tally));
        self.tallied_at = Some(Instant::now());
    }

    fn presence_due(&self) -> Option<Instant> {
        let (count, at) = self.presence_told;
        let rest = Duration::from_millis(self.config.presence_ms);
        let due = || at.map_or_else(Instant::now, |at| at + rest);
        (self.present() != count).then(due)
    }

    fn tell_presence(&mut self) {
        let (count, connections) = (self.present(), self.count.borrow().1);
        self.connections.set(connections as f64);
        self.presence.send_replace(ToClient::Presence { count }.to_text());
        self.presence_told = (count, Some(Instant::now()));
    }
}

fn page_for(face: Face, page: &[Arc<Event>], covered: &mut u64, to: u64, veil: &Veil) -> Page {
    // What concerns one person is not for all of a face, unless that face is staff.
    let shown = page.iter().filter(|event| event.is_for(face, ""));
    let events: Vec<_> = shown.map(|event| event.seen(face, veil.anonymous())).collect();
    let (from, count) = (*covered + 1, events.len() as u64);
    if events.is_empty() {
        return Page { count, text: None };
    }
    *covered = to;
    Page {
        count,
        text: Some(
            ToClient::Events {
                from,
                to,
                events: &events,
            }
            .to_text(),
        ),
    }
}

/// Participants whom some of these events concern alone.
fn concerned(page: &[Arc<Event>]) -> Vec<String> {
    let one = |event: &Arc<Event>| match &event.audience {
        Audience::StaffAnd(person) => Some(person.clone()),
        _ => None,
    };
    page.iter().filter_map(one).collect()
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
