//! A room that several nodes keep. What is accepted here is offered to the broker, which gives it its place among what
//! the other nodes offer; it comes back in that order, as it comes to all of them, and is shown. One of the nodes, the
//! one that leads, brings the record up to date; what the record has is acknowledged by whoever was asked for it.
//!
//! The record is always a beginning of the order, so a node that starts takes the room up from there.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{BoxStream, FuturesUnordered};
use futures::{FutureExt, StreamExt, future::BoxFuture};
use timeline::BroadcastId;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::handle::Reply;
use super::letter;
use crate::broker::{self, Attendance, Broker, Draft, Failed, Heard, Position, next_epoch};
use crate::record::{Entry, Record, RoomRow};
use crate::replay::Replay;
use crate::room::{Accepted, Receipt, Refused};
use crate::{Error, Event};

/// What waits for its place: with the rates of a room, some seconds of an outage at the very least. Also what the record
/// may be behind. Beyond either nothing is taken.
pub const MAX_WAITING: usize = 1_000;

/// One call: it would hold up the deliveries of other rooms.
const MAX_BYTES: usize = 256 * 1024;

/// After a failure.
const REST: Duration = Duration::from_millis(250);

/// What has no place after so long is shown provisionally.
const PATIENCE: Duration = Duration::from_millis(500);

/// Whoever leads records at once. What is still not recorded after so long is recorded by everyone: twice does no harm.
const LEADERLESS: Duration = Duration::from_secs(2);

/// Each node says three times as often that it is there as is needed.
const BEAT: Duration = Duration::from_millis(broker::ATTENDANCE.as_millis() as u64 / 3);

/// An end waits so long for what is on its way.
const CLOSING: Duration = Duration::from_secs(15);

/// The log may be lost, and seeded anew, at the very moment that a room is taken up.
const ATTEMPTS: u32 = 20;

pub struct Common {
    pub broker: Broker,
    room: BroadcastId,
    record: Record,
    epoch: String,
    /// The last event that came back.
    pub known: u64,
    /// The record has the events up to here.
    pub recorded: u64,
    heard: BoxStream<'static, Heard>,
    /// In the order in which they were accepted.
    offers: VecDeque<Offer>,
    /// So many of the first ones are on their way.
    publishing: usize,
    rested: Instant,
    /// Those who are answered when the record has these.
    acks: BTreeMap<u64, Vec<(Reply, Receipt)>>,
    /// What came back and is not recorded, as far as is known; and when it came.
    unrecorded: VecDeque<(Instant, Accepted)>,
    is_recording: bool,
    record_rested: Instant,
    leads_until: Option<Instant>,
    /// This node has what only one may do, whoever does it now.
    claims: bool,
    is_attending: bool,
    attend_at: Instant,
    /// People at the other nodes.
    pub others: usize,
    is_lost: bool,
    work: FuturesUnordered<BoxFuture<'static, Step>>,
    closing: Vec<(Instant, oneshot::Sender<()>)>,
    /// Provisional messages were given so many names.
    names: u64,
    /// What is late.
    waiting: metrics::Gauge,
}

/// Something accepted that has no place yet.
struct Offer {
    draft: Draft,
    event: Event,
    replies: Vec<(Reply, Receipt)>,
    since: Instant,
    /// It has waited too long not to be shown, if it is for everyone …
    is_late: bool,
    /// … and then has this name.
    shown: Option<String>,
}

/// What has happened. Something follows from each.
pub enum Step {
    Heard(Heard),
    Published(Result<Vec<u64>, Failed>),
    /// The record has everything up to here.
    Recorded(Result<u64, Error>),
    Attended {
        asked: Instant,
        people: usize,
        answer: Result<Attendance, Failed>,
    },
    /// Something is due.
    Due,
}

/// What is to be told without a place in the order.
pub enum Aside {
    Provisional { id: String, event: Box<Event> },
    Settled { id: String, seq: Option<u64> },
}

/// What has to be done about a room's log.
#[derive(Debug, PartialEq, Eq)]
pub enum Fate {
    GoesOn,
    /// The room has to be taken up anew, from the record.
    Lost,
}

/// The room of a broadcast, in an epoch that the record and the broker agree on. While the broker is away the record
/// alone is believed.
pub async fn take_up(broker: &Broker, record: &Record, room: &BroadcastId) -> Result<RoomRow, Error> {
    for attempt in 0..ATTEMPTS {
        let row = record.room(room).await?;
        let stored = record.position(room).await?.map_or(0, |(_, last)| last);
        let log = match broker.position(room).await {
            Err(_) => return Ok(row),
            Ok(Some(log)) if log.epoch == row.epoch && log.seq >= stored => return Ok(row),
            Ok(log) => log.map(|log| log.epoch).unwrap_or_default(),
        };
        // Whoever begins the epoch seeds the log; the others wait for that, and try themselves after a while.
        if attempt % 4 == 0 && renew(broker, record, room, &row.epoch, &log).await? {
            continue;
        }
        tokio::time::sleep(REST).await;
    }
    Err(Error::Stale)
}

/// The next thing that happens to a room of several nodes; nothing ever to one of this node alone. May be dropped and
/// asked again at any time.
pub async fn next(common: Option<&mut Common>, people: usize, replay: &Replay) -> Step {
    let entry = |accepted: &Accepted| Entry {
        windows: replay.windows(accepted),
        accepted: accepted.clone(),
    };
    match common {
        Some(common) => common.next(people, entry).await,
        None => std::future::pending().await,
    }
}

/// Begins the epoch after that of the record and that of the log, with what the record has; `false`: somebody else did
/// so.
async fn renew(
    broker: &Broker,
    record: &Record,
    room: &BroadcastId,
    epoch: &str,
    log: &str,
) -> Result<bool, Error> {
    let next = next_epoch(&[epoch, log]);
    if !record.renew(room, epoch, &next).await? {
        return Ok(false);
    }
    let seq = record.position(room).await?.map_or(0, |(_, last)| last);
    // If it fails somebody tries again with the next epoch.
    let _ = broker.seed(room, &Position { epoch: next, seq }).await;
    Ok(true)
}

impl Common {
    pub fn new(broker: Broker, record: Record, room: BroadcastId, epoch: String, last: u64) -> Common {
        let known = Position {
            epoch: epoch.clone(),
            seq: last,
        };
        let heard = broker.follow(&room, known).boxed();
        let now = Instant::now();
        let waiting = metrics::gauge!("lectern_chat_provisional", "broadcast" => room.to_string());
        Common {
            waiting,
            broker,
            room,
            record,
            epoch,
            known: last,
            recorded: last,
            heard,
            offers: VecDeque::new(),
            publishing: 0,
            rested: now,
            acks: BTreeMap::new(),
            unrecorded: VecDeque::new(),
            is_recording: false,
            record_rested: now,
            leads_until: None,
            claims: false,
            is_attending: false,
            attend_at: now,
            others: 0,
            is_lost: false,
            work: FuturesUnordered::new(),
            closing: Vec::new(),
            names: 0,
        }
    }

    pub fn leads(&self) -> bool {
        self.leads_until.is_some_and(|until| Instant::now() < until)
    }

    /// Takes more.
    pub fn has_room(&self, more: usize) -> bool {
        self.offers.len() + more <= MAX_WAITING && self.unrecorded.len() <= MAX_WAITING
    }

    /// Nothing is on its way.
    pub fn is_quiet(&self) -> bool {
        self.offers.is_empty() && self.acks.is_empty() && self.unrecorded.is_empty()
    }

    pub fn has_offers(&self) -> bool {
        !self.offers.is_empty()
    }

    /// Wants a place for it.
    pub fn offer(&mut self, accepted: Accepted, replies: Vec<(Reply, Receipt)>) {
        let key = letter::key(&accepted);
        // Sent again by someone whose connection was lost meanwhile.
        if let Some(same) = self.offers.iter_mut().find(|offer| offer.draft.key == key) {
            same.replies.extend(replies);
            return;
        }
        let payload = letter::write(&accepted);
        self.offers.push_back(Offer {
            draft: Draft { key, payload },
            event: accepted.event,
            replies,
            since: Instant::now(),
            is_late: false,
            shown: None,
        });
    }

    /// Something that has its place already is acknowledged when the record has it.
    pub fn acknowledge(&mut self, seq: u64, reply: Reply, receipt: Receipt) {
        let receipt = Receipt { seq, ..receipt };
        if seq <= self.recorded {
            let _ = reply.send(Ok(Some(receipt)));
        } else {
            self.acks.entry(seq).or_default().push((reply, receipt));
        }
    }

    /// The broadcast is over: `done` is told when everything said before is recorded, and this node leads.
    pub fn close(&mut self, done: oneshot::Sender<()>) {
        self.claims = true;
        self.attend_at = Instant::now();
        self.closing.push((Instant::now() + CLOSING, done));
    }

    async fn next(&mut self, people: usize, entries: impl Fn(&Accepted) -> Entry) -> Step {
        self.publish();
        self.bring_up_record(entries);
        self.attend(people);
        let due = self.due();
        if self.is_lost {
            return Step::Heard(Heard::Lost);
        }
        tokio::select! {
            Some(heard) = self.heard.next() => Step::Heard(heard),
            Some(step) = self.work.next() => step,
            () = sleep_until(due) => Step::Due,
        }
    }

    fn publish(&mut self) {
        if self.publishing > 0 || self.offers.is_empty() || Instant::now() < self.rested {
            return;
        }
        let mut bytes = 0;
        let fits = |offer: &&Offer| {
            bytes += offer.draft.payload.len();
            bytes <= MAX_BYTES
        };
        let mut drafts: Vec<_> = self
            .offers
            .iter()
            .take(broker::BATCH)
            .take_while(fits)
            .map(|o| o.draft.clone())
            .collect();
        if drafts.is_empty() {
            drafts.extend(self.offers.front().map(|offer| offer.draft.clone()));
        }
        self.publishing = drafts.len();
        let (broker, room) = (self.broker.clone(), self.room.clone());
        let known = self.position(self.known);
        self.work
            .push(async move { Step::Published(broker.publish(&room, &known, &drafts).await) }.boxed());
    }

    /// Records what came back: who leads at once, the others if nobody does.
    fn bring_up_record(&mut self, entries: impl Fn(&Accepted) -> Entry) {
        let now = Instant::now();
        let is_late = |(since, _): &(Instant, Accepted)| now >= *since + LEADERLESS;
        let is_due = self.leads() || self.unrecorded.front().is_some_and(is_late);
        if self.is_recording || now < self.record_rested || self.unrecorded.is_empty() || !is_due {
            return;
        }
        self.is_recording = true;
        let batch: Vec<_> = self
            .unrecorded
            .iter()
            .take(broker::BATCH)
            .map(|(_, one)| entries(one))
            .collect();
        let upto = self.position(
            batch
                .last()
                .map_or(self.recorded, |entry| entry.accepted.event.seq),
        );
        let gone: Vec<u64> = batch
            .iter()
            .flat_map(|entry| &entry.accepted.amends)
            .map(|event| event.seq)
            .collect();
        let (broker, record, room) = (self.broker.clone(), self.record.clone(), self.room.clone());
        let recording = async move {
            if let Err(error) = record.extend(&room, &upto.epoch, batch).await {
                return Step::Recorded(Err(error));
            }
            // Should they fail the others ask the record themselves, and the log forgets in time.
            let _ = broker.recorded(&room, &upto).await;
            if !gone.is_empty() {
                let _ = broker.erase(&room, &upto.epoch, &gone).await;
            }
            Step::Recorded(Ok(upto.seq))
        };
        self.work.push(recording.boxed());
    }

    fn attend(&mut self, people: usize) {
        let asked = Instant::now();
        if self.is_attending || asked < self.attend_at {
            return;
        }
        self.is_attending = true;
        let (broker, room, claims) = (self.broker.clone(), self.room.clone(), self.claims);
        let attending = async move {
            let answer = broker.attend(&room, people, claims).await;
            Step::Attended {
                asked,
                people,
                answer,
            }
        };
        self.work.push(attending.boxed());
    }

    /// Asks the record how far it is, where nobody says so.
    fn ask_record(&mut self) {
        let (record, room, epoch) = (self.record.clone(), self.room.clone(), self.epoch.clone());
        let asking = async move {
            match record.position(&room).await {
                Ok(Some((now, last))) if now == epoch => Step::Recorded(Ok(last)),
                Ok(_) => Step::Recorded(Err(Error::Stale)),
                Err(error) => Step::Recorded(Err(error)),
            }
        };
        self.is_recording = true;
        self.work.push(asking.boxed());
    }

    fn due(&self) -> Instant {
        let mut due = Instant::now() + BEAT;
        if !self.is_attending {
            due = due.min(self.attend_at);
        }
        if let Some(offer) = self.offers.front().filter(|_| self.publishing == 0) {
            due = due.min(self.rested.max(offer.since));
        }
        if let Some(offer) = self.offers.iter().find(|offer| !offer.is_late) {
            due = due.min(offer.since + PATIENCE);
        }
        if let Some((since, _)) = self.unrecorded.front().filter(|_| !self.is_recording) {
            due = due.min(self.record_rested.max(*since + LEADERLESS));
        }
        due
    }

    /// What came back, in its order.
    pub fn take(&mut self, seq: u64, payload: &Bytes) -> Option<Accepted> {
        self.known = seq;
        match letter::read(seq, payload) {
            Ok(accepted) => {
                if seq > self.recorded {
                    self.unrecorded.push_back((Instant::now(), accepted.clone()));
                }
                Some(accepted)
            }
            Err(error) => {
                tracing::error!(room = %self.room, seq, %error, "another node's event cannot be read");
                None
            }
        }
    }

    /// The drafts of the last call have these places.
    pub fn published(&mut self, seqs: &[u64]) -> Vec<Aside> {
        let count = std::mem::take(&mut self.publishing).min(seqs.len());
        let offers: Vec<_> = self.offers.drain(..count).collect();
        let mut asides = Vec::new();
        for (offer, seq) in offers.into_iter().zip(seqs) {
            for (reply, receipt) in offer.replies {
                self.acknowledge(*seq, reply, receipt);
            }
            if let Some(id) = offer.shown {
                asides.push(Aside::Settled { id, seq: Some(*seq) });
            }
        }
        self.waiting
            .set(self.offers.iter().filter(|offer| offer.is_late).count() as f64);
        asides
    }

    pub fn not_published(&mut self, failed: &Failed) -> Fate {
        self.publishing = 0;
        self.rested = Instant::now() + REST;
        match failed {
            Failed::Away(_) => Fate::GoesOn,
            Failed::Lost => Fate::Lost,
        }
    }

    /// Shows what waits too long, and gives up what waited for too long.
    pub fn show(&mut self, shows: impl Fn(&Event) -> bool) -> Vec<Aside> {
        let now = Instant::now();
        let mut asides = Vec::new();
        let is_over = |offer: &Offer| now >= offer.since + broker::DRAFT_AGE;
        while self.publishing == 0 && self.offers.front().is_some_and(is_over) {
            let Some(offer) = self.offers.pop_front() else {
                break;
            };
            for (reply, _) in offer.replies {
                let _ = reply.send(Err(Refused::unavailable()));
            }
            asides.extend(offer.shown.map(|id| Aside::Settled { id, seq: None }));
        }
        for offer in self
            .offers
            .iter_mut()
            .filter(|offer| !offer.is_late && now >= offer.since + PATIENCE)
        {
            offer.is_late = true;
            if shows(&offer.event) {
                self.names += 1;
                let id = format!("{}-{}", self.broker.node(), self.names);
                offer.shown = Some(id.clone());
                asides.push(Aside::Provisional {
                    id,
                    event: Box::new(offer.event.clone()),
                });
            }
        }
        self.waiting
            .set(self.offers.iter().filter(|offer| offer.is_late).count() as f64);
        asides
    }

    /// The record has everything up to here. Gives what was not known to be recorded before.
    pub fn recorded(&mut self, upto: u64) -> Vec<Accepted> {
        self.recorded = self.recorded.max(upto);
        let later = self.acks.split_off(&(self.recorded + 1));
        for (reply, receipt) in std::mem::replace(&mut self.acks, later).into_values().flatten() {
            let _ = reply.send(Ok(Some(receipt)));
        }
        let is_in = |(_, accepted): &(Instant, Accepted)| accepted.event.seq <= self.recorded;
        let count = self.unrecorded.iter().take_while(|one| is_in(one)).count();
        self.unrecorded
            .drain(..count)
            .map(|(_, accepted)| accepted)
            .collect()
    }

    /// The answer of [`Common::bring_up_record`].
    pub fn wrote(&mut self, result: &Result<u64, Error>) -> Fate {
        self.is_recording = false;
        match result {
            Ok(_) => Fate::GoesOn,
            Err(Error::Stale) => Fate::Lost,
            Err(error) => {
                tracing::warn!(room = %self.room, %error, "the record is behind the room");
                self.record_rested = Instant::now() + REST;
                Fate::GoesOn
            }
        }
    }

    /// Says whether this node leads from now on and did not before.
    pub fn attended(&mut self, asked: Instant, people: usize, answer: &Result<Attendance, Failed>) -> bool {
        self.is_attending = false;
        self.attend_at = asked + BEAT;
        let Ok(attendance) = answer else {
            return false;
        };
        let led = self.leads();
        self.others = attendance.present.saturating_sub(people);
        self.leads_until = attendance.leads.then(|| asked + broker::ATTENDANCE);
        !led && attendance.leads
    }

    /// This node cannot lead.
    pub fn resign(&mut self) {
        self.leads_until = None;
    }

    /// Time has passed: acknowledgements that nobody brings are fetched, and an end does not wait for ever.
    pub fn look_after(&mut self) {
        let now = Instant::now();
        let waits = !self.acks.is_empty() && self.unrecorded.is_empty();
        if waits && !self.is_recording && now >= self.record_rested {
            self.record_rested = now + BEAT;
            self.ask_record();
        }
        let is_done = self.is_quiet() && self.leads();
        for (_, done) in self.closing.extract_if(.., |(until, _)| is_done || now >= *until) {
            let _ = done.send(());
        }
    }

    /// This node does not keep the room any more.
    pub async fn leave(&mut self) {
        // Should it fail, the others notice it in time.
        let _ = self.broker.leave(&self.room).await;
    }

    /// The record was changed under the room: its nodes take it up anew, in the next epoch.
    pub async fn begin_anew(&mut self) {
        if let Err(error) = renew(&self.broker, &self.record, &self.room, &self.epoch, &self.epoch).await {
            tracing::error!(room = %self.room, %error, "the room could not begin anew");
        }
        self.lose();
    }

    pub fn lose(&mut self) {
        self.is_lost = true;
    }

    /// Goes on behind what the record has: the log had less.
    pub fn skip_to(&mut self, last: u64) {
        self.known = last;
        self.recorded = last;
        self.unrecorded.clear();
        self.heard = self.broker.follow(&self.room, self.position(last)).boxed();
    }

    fn position(&self, seq: u64) -> Position {
        Position {
            epoch: self.epoch.clone(),
            seq,
        }
    }
}
