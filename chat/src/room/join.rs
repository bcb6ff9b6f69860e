//! What someone who enters is told: a pure function of where the room stands and where they left.

use std::sync::Arc;

use serde::Deserialize;

use super::Room;
use crate::Event;
use crate::event::Face;

/// Where a returning visitor left.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Resume {
    pub epoch: String,
    /// The last event they have.
    pub seq: u64,
}

/// Events for this reader only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Everything since they left.
    Resumed { from: u64, events: Vec<Arc<Event>> },
    /// Everything since they left, of which the events up to `to` have to be read from the record.
    FromRecord {
        from: u64,
        to: u64,
        then: Vec<Arc<Event>>,
    },
    /// The recent history: a first visit, another epoch, or away for too long.
    Fresh { from: u64, events: Vec<Arc<Event>> },
}

impl Room {
    pub fn join(&self, resume: Option<&Resume>, face: Face, person: &str) -> Answer {
        let is_theirs = |event: &&Arc<Event>| event.is_for(face, person);
        let Some(resume) = resume.filter(|resume| self.can_resume(resume)) else {
            return self.history(is_theirs);
        };
        let events = self.since(resume.seq).filter(is_theirs).cloned().collect();
        let from = resume.seq + 1;
        if resume.seq >= self.floor {
            return Answer::Resumed { from, events };
        }
        Answer::FromRecord {
            from,
            to: self.floor,
            then: events,
        }
    }

    fn history(&self, is_theirs: impl Fn(&&Arc<Event>) -> bool) -> Answer {
        let newest_first = self.recent.iter().rev().filter(|event| is_theirs(event));
        let mut events: Vec<_> = newest_first.take(self.config.history).cloned().collect();
        events.reverse();
        let is_all = events.len() < self.config.history;
        let from = match events.first() {
            Some(first) if !is_all => first.seq,
            _ => self.floor + 1,
        };
        Answer::Fresh { from, events }
    }

    /// A `seq` of the future is of another room, or of a record that was restored from an older copy.
    fn can_resume(&self, resume: &Resume) -> bool {
        resume.epoch == self.epoch
            && resume.seq <= self.last
            && self.last - resume.seq <= self.config.max_resume
    }
}
