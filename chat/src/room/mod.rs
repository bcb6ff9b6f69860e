//! The thinking of a room: who may do what, in which order it happened, what a returning visitor has missed.
//! No I/O and no clock: time is an argument.
//!
//! What is accepted is *pending* until the record has it ([`Room::stored`]); only then anyone sees it.

mod body;
mod join;
mod rate;
mod refs;
mod refused;

use std::collections::VecDeque;
use std::sync::Arc;

use timeline::{Line, MediaTime, Stamp, WallTime};

use crate::{Config, Event, Kind, Person, Role};

#[cfg(test)]
pub use body::clean;
pub use body::clean_name;
pub use join::{Answer, Resume};
pub use rate::Bucket;
use rate::Buckets;
use refs::Refs;
pub use refused::{Code, Refused};

pub struct Room {
    epoch: String,
    config: Config,
    /// The last events, oldest first, with nothing missing between them.
    recent: VecDeque<Arc<Event>>,
    pending: Vec<Accepted>,
    /// The last event that is stored.
    last: u64,
    refs: Refs,
    people: Buckets,
    everyone: Bucket,
    closed: bool,
}

/// An event on its way to the record.
#[derive(Clone, Debug)]
pub struct Accepted {
    pub event: Event,
    /// The name its writer gave it.
    pub reference: String,
    /// Where the text stands that it deletes.
    pub target_at: Option<MediaTime>,
}

/// The answer to what was accepted: now, or the first time it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub seq: u64,
    pub at: MediaTime,
}

/// What someone wants to say.
pub struct Say<'a> {
    pub reference: &'a str,
    pub body: &'a str,
    /// The program date-time their player was showing.
    pub playing: Option<WallTime>,
}

/// A message that someone wants to delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub seq: u64,
    pub at: MediaTime,
    pub author: String,
    pub deleted: bool,
}

impl Room {
    /// `recent` is the end of the record: events with the names their writers gave them.
    pub fn new(epoch: String, config: Config, recent: Vec<(Event, String)>) -> Room {
        let mut room = Room {
            epoch,
            config,
            recent: VecDeque::new(),
            pending: Vec::new(),
            last: 0,
            refs: Refs::default(),
            people: Buckets::default(),
            everyone: Bucket::default(),
            closed: false,
        };
        room.take_up(recent);
        room
    }

    /// Goes on from what the record has. What was pending never happened.
    pub fn take_up(&mut self, recent: Vec<(Event, String)>) {
        self.pending.clear();
        self.recent.clear();
        self.last = recent.last().map_or(0, |(event, _)| event.seq);
        for (event, reference) in recent {
            self.remember(event, &reference);
        }
    }

    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    /// The last event that is stored.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Read-only from now on, whatever the line says.
    pub fn close(&mut self) {
        self.closed = true;
    }

    pub fn say(&mut self, by: &Person, say: Say, line: &Line, now: WallTime) -> Result<Receipt, Refused> {
        if by.role == Role::Viewer {
            return Err(Refused::new(Code::Forbidden, "viewers read only"));
        }
        let body = body::clean(say.body);
        let kind = Kind::Text {
            body: Some(body.clone()),
        };
        if let Some(receipt) = self.known(by, say.reference, &kind) {
            return Ok(receipt);
        }
        self.check_open(line)?;
        let max = self.config.max_body_chars;
        match body.chars().count() {
            0 => return Err(Refused::new(Code::Empty, "there is nothing to say in it")),
            n if n > max => {
                return Err(Refused::new(
                    Code::TooLong,
                    format!("{n} characters; at most {max}"),
                ));
            }
            _ => self.take_rate(by, now)?,
        }
        let stamp = Stamp::of(line, say.playing, now);
        Ok(self.accept(by, stamp, now, kind, say.reference, None))
    }

    /// `target` is what [`Room::find`] or the record knows of the event that is to be deleted.
    pub fn delete(
        &mut self,
        by: &Person,
        reference: &str,
        target: Option<Target>,
        line: &Line,
        now: WallTime,
    ) -> Result<Receipt, Refused> {
        let missing = || Refused::new(Code::NotFound, "there is no such message");
        let target = target.ok_or_else(missing)?;
        let kind = Kind::Delete { target: target.seq };
        if let Some(receipt) = self.known(by, reference, &kind) {
            return Ok(receipt);
        }
        if !by.role.moderates() {
            self.check_own(by, &target)?;
            self.check_open(line)?;
        }
        if target.deleted || self.is_pending_delete(target.seq) {
            return Err(Refused::new(Code::NotFound, "that message was deleted already"));
        }
        self.take_rate(by, now)?;
        let stamp = Stamp::of(line, None, now);
        Ok(self.accept(by, stamp, now, kind, reference, Some(target.at)))
    }

    /// A text among the recent events. `Err`: older, the record has to be asked.
    pub fn find(&self, seq: u64) -> Result<Option<Target>, u64> {
        if seq > self.last {
            return Ok(None);
        }
        let first = self.recent.front().map_or(u64::MAX, |event| event.seq);
        let index = seq.checked_sub(first).ok_or(seq)?;
        let event = self.recent.get(index as usize);
        Ok(event.and_then(|event| Target::of(event)))
    }

    /// What waits to be stored.
    pub fn pending(&self) -> &[Accepted] {
        &self.pending
    }

    /// The record has everything that was pending.
    pub fn stored(&mut self) {
        for Accepted { event, reference, .. } in std::mem::take(&mut self.pending) {
            self.last = event.seq;
            if let Kind::Delete { target } = event.kind {
                self.blank(target);
            }
            self.remember(event, &reference);
        }
    }

    /// The record could not take what was pending: it never happened.
    pub fn abandon(&mut self) {
        self.pending.clear();
    }

    /// The stored events after `seq` that are still in memory.
    pub fn since(&self, seq: u64) -> impl Iterator<Item = &Arc<Event>> {
        let first = self.recent.front().map_or(0, |event| event.seq);
        let skip = (seq + 1).saturating_sub(first) as usize;
        self.recent.iter().skip(skip)
    }

    fn accept(
        &mut self,
        by: &Person,
        stamp: Stamp,
        now: WallTime,
        kind: Kind,
        reference: &str,
        target_at: Option<MediaTime>,
    ) -> Receipt {
        let seq = self.last + self.pending.len() as u64 + 1;
        let event = Event {
            seq,
            stamp,
            sent: now.floor_to_millis(),
            author: by.clone(),
            kind,
        };
        self.pending.push(Accepted {
            event,
            reference: reference.to_owned(),
            target_at,
        });
        Receipt { seq, at: stamp.at }
    }

    /// Something sent again because its answer was lost on the way.
    fn known(&self, by: &Person, reference: &str, kind: &Kind) -> Option<Receipt> {
        let same =
            |a: &&Accepted| a.reference == reference && a.event.author.id == by.id && a.event.kind == *kind;
        let pending = self.pending.iter().find(same);
        pending
            .map(|a| Receipt::of(&a.event))
            .or_else(|| self.refs.find(&by.id, reference, kind))
    }

    fn check_open(&self, line: &Line) -> Result<(), Refused> {
        if self.closed || line.is_ended() {
            return Err(Refused::new(
                Code::Ended,
                "the broadcast has ended: the room is read-only",
            ));
        }
        Ok(())
    }

    fn check_own(&self, by: &Person, target: &Target) -> Result<(), Refused> {
        if by.role == Role::Viewer || by.id != target.author {
            return Err(Refused::new(
                Code::Forbidden,
                "only its writer and moderators may delete a message",
            ));
        }
        Ok(())
    }

    fn take_rate(&mut self, by: &Person, now: WallTime) -> Result<(), Refused> {
        if by.role.moderates() {
            return Ok(self.people.take(&by.id, self.config.host_rate, now)?);
        }
        self.people.take(&by.id, self.config.rate, now)?;
        Ok(self.everyone.take(self.config.room_rate, now)?)
    }

    fn is_pending_delete(&self, seq: u64) -> bool {
        self.pending
            .iter()
            .any(|a| a.event.kind == Kind::Delete { target: seq })
    }

    fn blank(&mut self, seq: u64) {
        let first = self.recent.front().map_or(0, |event| event.seq);
        let index = seq.checked_sub(first);
        if let Some(event) = index.and_then(|index| self.recent.get_mut(index as usize)) {
            *event = Arc::new(event.deleted());
        }
    }

    fn remember(&mut self, event: Event, reference: &str) {
        self.refs.insert(&event, reference);
        self.recent.push_back(Arc::new(event));
        if self.recent.len() > self.config.recent {
            self.recent.pop_front();
        }
    }
}

impl Receipt {
    fn of(event: &Event) -> Receipt {
        Receipt {
            seq: event.seq,
            at: event.at(),
        }
    }
}

impl Target {
    pub fn of(event: &Event) -> Option<Target> {
        let Kind::Text { body } = &event.kind else {
            return None;
        };
        let author = event.author.id.clone();
        Some(Target {
            seq: event.seq,
            at: event.at(),
            author,
            deleted: body.is_none(),
        })
    }
}

#[cfg(test)]
mod tests;
