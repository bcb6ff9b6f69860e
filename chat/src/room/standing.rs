//! How a room stands, as the wire tells it: to everyone, or to staff.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::state::{Ballot, Question, State};
use crate::Person;
use crate::event::{Anonymous, Face, QuestionState, Results};

/// A page can show so many questions; those nobody dismissed, the newest.
const QUESTIONS: usize = 200;
const POLLS: usize = 20;
const HANDS: usize = 100;
/// Of what waits for staff, the oldest; of reports, the newest.
const HELD: usize = 200;
const REPORTS: usize = 100;

/// Each list has at most so many bytes of JSON: everybody who joins gets all of them in one frame.
const LIST_BYTES: usize = 48 * 1024;

/// For whom.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    pub face: Face,
    /// Whose own votes are told; `None` in a replay.
    pub person: Option<&'a str>,
    pub anonymous: Anonymous<'a>,
}

impl State {
    pub fn standing(&self, reader: Reader<'_>) -> Value {
        let seen = |event: &crate::Event| json!(event.seen(reader.face, reader.anonymous));
        let settings = match reader.face {
            Face::Staff => self.settings.clone(),
            Face::Public => self.settings.public(),
        };
        let pinned = self.pinned.as_ref().and_then(|pinned| pinned.message.as_deref());
        let open = self
            .questions
            .values()
            .rev()
            .filter(|q| q.state != QuestionState::Dismissed);
        let questions = oldest_first(fitting(open.map(|question| question.standing(reader)), QUESTIONS));
        let polls = self.polls.values().rev().map(|ballot| ballot.standing(reader));
        let polls = oldest_first(fitting(polls, POLLS));
        let person = |person: &Person| json!(person);
        let up = self
            .hands
            .iter()
            .map(|hand| json!({"person": person(&hand.person), "since": hand.since.unix_millis()}));
        let up = fitting(up, HANDS);
        let mut standing = json!({
            "settings": settings,
            "pinned": pinned.map(seen),
            "questions": questions,
            "polls": polls,
            "hands": {"count": self.hands.len(), "people": up},
        });
        if reader.face == Face::Staff && reader.person.is_some() {
            standing["staff"] = json!({
                "held": fitting(self.held.values().map(|event| seen(event)), HELD),
                "reports": oldest_first(fitting(self.reports.values().rev().map(|event| seen(event)), REPORTS)),
                "sanctions": self.sanctions.values().map(|s| json!({
                    "person": person(&s.person),
                    "what": s.what,
                    "until": s.until.map(|until| until.unix_millis()),
                })).collect::<Vec<_>>(),
            });
        }
        standing
    }
}

impl Question {
    fn standing(&self, reader: Reader<'_>) -> Value {
        let mut standing = json!({
            "message": self.message.seen(reader.face, reader.anonymous),
            "state": self.state,
            "votes": self.votes.len(),
        });
        if let Some(person) = reader.person {
            standing["voted"] = json!(self.votes.contains_key(person));
        }
        standing
    }
}

impl Ballot {
    /// Whether the votes so far are for this face.
    pub fn is_counted_for(&self, face: Face) -> bool {
        face == Face::Staff || self.closed.is_some() || self.poll().results == Results::Live
    }

    fn standing(&self, reader: Reader<'_>) -> Value {
        let (poll, tally) = (self.poll(), self.tally());
        let counts = self.is_counted_for(reader.face).then_some(tally.counts);
        let right = self.closed.as_ref().and(poll.right.as_ref());
        let mut standing = json!({
            "seq": self.event.seq,
            "at": self.event.at(),
            "question": poll.question,
            "options": poll.options,
            "multiple": poll.multiple,
            "quiz": poll.quiz,
            "results": poll.results,
            "closes": poll.closes,
            "closed": self.closed.is_some(),
            "counts": counts,
            "voters": tally.voters,
            "right": right,
        });
        if let Some(voted) = reader.person.and_then(|person| self.votes.get(person)) {
            standing["voted"] = json!(voted);
        }
        standing
    }
}

/// The first of them, as many as a list may hold.
fn fitting(values: impl Iterator<Item = Value>, max: usize) -> Vec<Value> {
    let mut left = LIST_BYTES;
    let fits = |value: &Value| {
        let bytes = value.to_string().len() + 1;
        let fits = bytes <= left;
        left = left.saturating_sub(bytes);
        fits
    };
    values.take(max).take_while(fits).collect()
}

fn oldest_first(mut values: Vec<Value>) -> Vec<Value> {
    values.reverse();
    values
}

/// Votes so far of what changed, in the wire's shape.
pub fn tallies(state: &State, changed: &BTreeSet<u64>, face: Face) -> Value {
    let tally = |target: u64| {
        let tally = state.tally(target)?;
        let shown = state
            .polls
            .get(&target)
            .is_none_or(|ballot| ballot.is_counted_for(face));
        Some(json!({"target": target, "counts": shown.then_some(tally.counts), "voters": tally.voters}))
    };
    changed.iter().copied().filter_map(tally).collect()
}
