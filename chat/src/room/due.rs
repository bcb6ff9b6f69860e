//! What a room does by itself when its time has come: delays and timers of polls that are over.

use timeline::{Line, Stamp, WallTime};

use super::Room;
use crate::Kind;

impl Room {
    /// The next moment at which something is due.
    pub fn next_due(&self) -> Option<WallTime> {
        let reactions = self.reactions.due();
        self.state.next_due().into_iter().chain(reactions).min()
    }

    /// Does what is due; it is pending then.
    pub fn due(&mut self, line: &Line, now: WallTime) {
        self.release_delayed(line, now);
        self.close_timed(line, now);
        self.tell_reactions(line, now);
    }

    fn release_delayed(&mut self, line: &Line, now: WallTime) {
        let is_due = |until: Option<i64>| until.is_some_and(|until| until <= now.unix_millis());
        let held = self.state.held.values();
        let due: Vec<_> = held
            .filter(|event| event.text().is_some_and(|t| is_due(t.until)))
            .cloned()
            .collect();
        for event in due {
            let draft = self.release(&event, line, now);
            self.accept(draft);
        }
    }

    fn close_timed(&mut self, line: &Line, now: WallTime) {
        let is_due = |closes: Option<i64>| closes.is_some_and(|closes| closes <= now.unix_millis());
        let polls = self.state.polls.values().filter(|ballot| ballot.closed.is_none());
        let due: Vec<_> = polls
            .filter(|ballot| is_due(ballot.poll().closes))
            .map(|b| b.event.seq)
            .collect();
        for target in due {
            if let Ok(kind) = self.closing(target) {
                self.by_itself(&format!("close-{target}"), kind, Stamp::of(line, None, now), now);
            }
        }
    }

    fn tell_reactions(&mut self, line: &Line, now: WallTime) {
        let is_over = self.check_open(line).is_err();
        for (at, counts) in self.reactions.take(now) {
            // Where they were seen: at the second of the picture that they were about.
            let stamp = Stamp {
                at,
                source: timeline::StampSource::Playhead,
            };
            if !is_over {
                let reference = format!("reactions-{}-{}", at.ticks(), now.unix_nanos());
                self.by_itself(&reference, Kind::Reactions { counts }, stamp, now);
            }
        }
    }

    fn by_itself(&mut self, reference: &str, kind: Kind, stamp: Stamp, now: WallTime) {
        let draft = self.draft(None, reference, kind, stamp, now);
        self.accept(draft);
    }
}
