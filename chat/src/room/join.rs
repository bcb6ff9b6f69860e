//! What someone who enters is told: a pure function of where the room stands and where they left.

use std::sync::Arc;

use serde::Deserialize;

use super::Room;
use crate::Event;

/// Where a returning visitor left.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Resume {
    pub epoch: String,
    /// The last event they have.
    pub seq: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Everything since they left.
    Resumed(Vec<Arc<Event>>),
    /// Everything since they left, of which the events up to `to` have to be read from the record.
    FromRecord {
        from: u64,
        to: u64,
        then: Vec<Arc<Event>>,
    },
    /// The recent history: a first visit, another epoch, or away for too long.
    Fresh(Vec<Arc<Event>>),
}

impl Room {
    pub fn join(&self, resume: Option<&Resume>) -> Answer {
        let Some(resume) = resume.filter(|resume| self.can_resume(resume)) else {
            let skip = self.recent.len().saturating_sub(self.config.history);
            return Answer::Fresh(self.recent.iter().skip(skip).cloned().collect());
        };
        let events = self.since(resume.seq).cloned().collect();
        let first = self.recent.front().map_or(self.last + 1, |event| event.seq);
        if resume.seq + 1 >= first {
            return Answer::Resumed(events);
        }
        Answer::FromRecord {
            from: resume.seq + 1,
            to: first - 1,
            then: events,
        }
    }

    /// A `seq` of the future is of another room, or of a record that was restored from an older copy.
    fn can_resume(&self, resume: &Resume) -> bool {
        resume.epoch == self.epoch
            && resume.seq <= self.last
            && self.last - resume.seq <= self.config.max_resume
    }
}
