//! How a room stands: what is pinned, asked, polled, held, who has a hand up and who is muted. A fold over its
//! events, so every node and every reader of the record comes to the same.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use timeline::WallTime;

use crate::event::{Audience, Poll, QuestionState, Sanction};
use crate::{Event, Kind, Person, Settings};

/// More open questions than a lecture can answer.
const MAX_QUESTIONS: usize = 500;

const MAX_POLLS: usize = 50;

/// A hall full of raised hands; more are not kept.
const MAX_HANDS: usize = 10_000;

const MAX_REPORTS: usize = 500;

#[derive(Clone, Debug, Default)]
pub struct State {
    pub settings: Settings,
    pub pinned: Option<Pinned>,
    pub questions: BTreeMap<u64, Question>,
    pub polls: BTreeMap<u64, Ballot>,
    /// By who raised first.
    pub hands: Vec<Hand>,
    pub sanctions: HashMap<String, Sanctioned>,
    /// Texts that wait, by `seq`.
    pub held: BTreeMap<u64, Arc<Event>>,
    pub reports: BTreeMap<u64, Arc<Event>>,
}

#[derive(Clone, Debug)]
pub struct Pinned {
    pub target: u64,
    /// `None` while only the record has it.
    pub message: Option<Arc<Event>>,
}

#[derive(Clone, Debug)]
pub struct Question {
    pub message: Arc<Event>,
    pub state: QuestionState,
    pub votes: HashMap<String, Vec<u8>>,
}

#[derive(Clone, Debug)]
pub struct Ballot {
    pub event: Arc<Event>,
    pub votes: HashMap<String, Vec<u8>>,
    /// The last count.
    pub closed: Option<Tally>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    pub counts: Vec<u32>,
    pub voters: u32,
}

#[derive(Clone, Debug)]
pub struct Hand {
    pub person: Person,
    pub since: WallTime,
}

#[derive(Clone, Debug)]
pub struct Sanctioned {
    pub person: Person,
    pub what: Sanction,
    pub until: Option<WallTime>,
}

impl State {
    #[cfg(test)]
    pub fn of<'a>(events: impl IntoIterator<Item = &'a Arc<Event>>) -> State {
        let mut state = State::default();
        events.into_iter().for_each(|event| state.apply(event));
        state
    }

    /// `event` is the next one of those that stand ([`Event::stands`]); others change nothing.
    pub fn apply(&mut self, event: &Arc<Event>) {
        match &event.kind {
            Kind::Text(_) => self.take_text(event),
            Kind::Edit {
                target,
                body: Some(body),
            } => self.edit(*target, body, event.sent.unix_millis()),
            Kind::Edit { body: None, .. } => {}
            Kind::Delete { target } | Kind::Discard { target } => self.remove(*target),
            Kind::Pin { target, message } => {
                self.pinned = Some(Pinned {
                    target: *target,
                    message: message.clone(),
                });
            }
            Kind::Unpin { target } => drop(self.pinned.take_if(|pinned| pinned.target == *target)),
            Kind::Question { target, state } => {
                if let Some(question) = self.questions.get_mut(target) {
                    question.state = *state;
                }
            }
            Kind::Poll(_) => self.open(event),
            Kind::Close {
                target,
                counts,
                voters,
                ..
            } => {
                if let Some(ballot) = self
                    .polls
                    .get_mut(target)
                    .filter(|ballot| ballot.closed.is_none())
                {
                    ballot.closed = Some(Tally {
                        counts: counts.clone(),
                        voters: *voters,
                    });
                }
            }
            Kind::Vote { target, choices } => self.vote(*target, event, choices),
            Kind::Hand { raised, person } => self.raise(event, *raised, person.as_ref()),
            Kind::Settings { settings } => self.settings = (**settings).clone(),
            Kind::Sanction { person, what, until } => self.sanction(person, *what, *until),
            Kind::Report { .. } => {
                self.reports.insert(event.seq, event.clone());
                keep_newest(&mut self.reports, MAX_REPORTS);
            }
            Kind::Erase { person } => self.erase(person),
            Kind::Reactions { .. } | Kind::Note { .. } => {}
        }
    }

    fn take_text(&mut self, event: &Arc<Event>) {
        let Some(text) = event.text().filter(|text| text.body.is_some()) else {
            return;
        };
        if let Some(of) = text.of {
            self.held.remove(&of);
        }
        if text.held.is_some() {
            self.held.insert(event.seq, event.clone());
        } else if text.question && event.audience == Audience::Everyone {
            let question = Question {
                message: event.clone(),
                state: QuestionState::Open,
                votes: HashMap::new(),
            };
            self.questions.insert(event.seq, question);
            keep_newest(&mut self.questions, MAX_QUESTIONS);
        }
    }

    fn edit(&mut self, target: u64, body: &str, when: i64) {
        let rewrite = |event: &mut Arc<Event>| *event = Arc::new(event.edited(body, when));
        if let Some(pinned) = self.pinned.as_mut().filter(|pinned| pinned.target == target) {
            pinned.message.as_mut().map(rewrite);
        }
        if let Some(question) = self.questions.get_mut(&target) {
            rewrite(&mut question.message);
        }
        self.held.get_mut(&target).map(rewrite);
    }

    fn remove(&mut self, target: u64) {
        self.pinned.take_if(|pinned| pinned.target == target);
        self.questions.remove(&target);
        self.held.remove(&target);
        self.reports
            .retain(|_, report| report.kind.target() != Some(target));
    }

    fn open(&mut self, event: &Arc<Event>) {
        let ballot = Ballot {
            event: event.clone(),
            votes: HashMap::new(),
            closed: None,
        };
        self.polls.insert(event.seq, ballot);
        keep_newest(&mut self.polls, MAX_POLLS);
    }

    fn vote(&mut self, target: u64, event: &Event, choices: &[u8]) {
        let Some(voter) = &event.author else { return };
        let votes = match (self.polls.get_mut(&target), self.questions.get_mut(&target)) {
            (Some(ballot), _) => &mut ballot.votes,
            (None, Some(question)) => &mut question.votes,
            (None, None) => return,
        };
        if choices.is_empty() {
            votes.remove(&voter.id);
        } else {
            votes.insert(voter.id.clone(), choices.to_vec());
        }
    }

    fn raise(&mut self, event: &Event, raised: bool, person: Option<&Person>) {
        let Some(person) = person.or(event.author.as_ref()) else {
            return;
        };
        let is_up = self.hands.iter().any(|hand| hand.person.id == person.id);
        match raised {
            true if !is_up && self.hands.len() < MAX_HANDS => {
                self.hands.push(Hand {
                    person: person.clone(),
                    since: event.sent,
                });
            }
            true => {}
            false => self.hands.retain(|hand| hand.person.id != person.id),
        }
    }

    fn sanction(&mut self, person: &Person, what: Sanction, until: Option<i64>) {
        if what == Sanction::Lift {
            self.sanctions.remove(&person.id);
            return;
        }
        self.hands.retain(|hand| hand.person.id != person.id);
        let until = until.map(WallTime::from_unix_millis);
        let sanctioned = Sanctioned {
            person: person.clone(),
            what,
            until,
        };
        self.sanctions.insert(person.id.clone(), sanctioned);
    }

    fn erase(&mut self, person: &str) {
        let is_theirs = |event: &Event| event.is_by(person);
        self.pinned
            .take_if(|pinned| pinned.message.as_deref().is_some_and(is_theirs));
        self.questions.retain(|_, question| !is_theirs(&question.message));
        self.held.retain(|_, held| !is_theirs(held));
        self.reports.retain(|_, report| !is_theirs(report));
        self.hands.retain(|hand| hand.person.id != person);
        self.sanctions.remove(person);
    }

    /// What holds for a person now; what is over is not.
    pub fn sanction_of(&self, person: &str, now: WallTime) -> Option<&Sanctioned> {
        let sanctioned = self.sanctions.get(person)?;
        sanctioned
            .until
            .is_none_or(|until| now < until)
            .then_some(sanctioned)
    }

    /// Votes so far, or the last count.
    pub fn tally(&self, target: u64) -> Option<Tally> {
        match (self.polls.get(&target), self.questions.get(&target)) {
            (Some(ballot), _) => Some(ballot.tally()),
            (None, Some(question)) => Some(question.tally()),
            (None, None) => None,
        }
    }

    /// The next moment at which something happens by itself: a delay or a poll's timer is over.
    pub fn next_due(&self) -> Option<WallTime> {
        let released = self.held.values().filter_map(|event| event.text()?.until);
        let closed = self
            .polls
            .values()
            .filter(|ballot| ballot.closed.is_none())
            .filter_map(|b| b.poll().closes);
        released.chain(closed).min().map(WallTime::from_unix_millis)
    }
}

impl Ballot {
    pub fn poll(&self) -> &Poll {
        match &self.event.kind {
            Kind::Poll(poll) => poll,
            // Only polls are opened.
            _ => unreachable!("a ballot is of a poll"),
        }
    }

    pub fn tally(&self) -> Tally {
        self.closed
            .clone()
            .unwrap_or_else(|| count(&self.votes, self.poll().options.len()))
    }
}

impl Question {
    pub fn tally(&self) -> Tally {
        count(&self.votes, 1)
    }
}

fn count(votes: &HashMap<String, Vec<u8>>, options: usize) -> Tally {
    let mut counts = vec![0; options];
    for choice in votes.values().flatten() {
        if let Some(count) = counts.get_mut(usize::from(*choice)) {
            *count += 1;
        }
    }
    Tally {
        counts,
        voters: votes.len() as u32,
    }
}

fn keep_newest<T>(map: &mut BTreeMap<u64, T>, max: usize) {
    while map.len() > max {
        map.pop_first();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;
    use crate::event::{Results, Text};
    use crate::testing::{by, event, person, text};

    fn arcs(events: Vec<Event>) -> Vec<Arc<Event>> {
        events.into_iter().map(Arc::new).collect()
    }

    fn question(seq: u64) -> Event {
        let text = Text {
            body: Some("why?".into()),
            question: true,
            ..Text::default()
        };
        event(seq, Kind::Text(text))
    }

    fn poll(seq: u64) -> Event {
        let poll = Poll {
            question: "which?".into(),
            options: vec!["a".into(), "b".into()],
            multiple: false,
            quiz: false,
            results: Results::Live,
            closes: Some(99),
            right: None,
        };
        event(seq, Kind::Poll(poll))
    }

    fn vote(seq: u64, who: &str, target: u64, choices: &[u8]) -> Event {
        let vote = Kind::Vote {
            target,
            choices: choices.to_vec(),
        };
        by(person(who, Role::Participant), event(seq, vote))
    }

    #[test]
    fn votes_are_counted_once_a_person_and_can_change() {
        let events = arcs(vec![
            poll(1),
            vote(2, "a", 1, &[0]),
            vote(3, "b", 1, &[1]),
            vote(4, "a", 1, &[1]),
            vote(5, "c", 1, &[7]),
            vote(6, "b", 1, &[]),
        ]);
        let state = State::of(&events);
        assert_eq!(
            state.tally(1),
            Some(Tally {
                counts: vec![0, 1],
                voters: 2
            })
        );
        assert_eq!(state.next_due(), Some(WallTime::from_unix_millis(99)));
        assert_eq!(state.tally(2), None);
    }

    #[test]
    fn what_is_deleted_stands_nowhere() {
        let pin = event(
            2,
            Kind::Pin {
                target: 1,
                message: Some(Arc::new(question(1))),
            },
        );
        let mut events = vec![question(1), pin, vote(3, "a", 1, &[0])];
        let state = State::of(&arcs(events.clone()));
        assert_eq!(state.tally(1).unwrap().counts, [1]);
        assert!(state.pinned.is_some());
        events.push(event(4, Kind::Delete { target: 1 }));
        let state = State::of(&arcs(events));
        assert!(state.pinned.is_none() && state.questions.is_empty());
    }

    #[test]
    fn a_release_takes_the_held_one_away() {
        let mut held = text(1, 0, "hm");
        held.kind = Kind::Text(Text {
            body: Some("hm".into()),
            held: Some(crate::event::Held::Word),
            ..Text::default()
        });
        let released = Text {
            body: Some("hm".into()),
            of: Some(1),
            ..Text::default()
        };
        let state = State::of(&arcs(vec![held.clone()]));
        assert_eq!(state.held.len(), 1);
        let state = State::of(&arcs(vec![held, event(2, Kind::Text(released))]));
        assert!(state.held.is_empty());
    }

    #[test]
    fn hands_go_up_once_and_sanctions_end() {
        let hand = |seq, who: &str, raised| {
            by(
                person(who, Role::Participant),
                event(seq, Kind::Hand { raised, person: None }),
            )
        };
        let mute = Kind::Sanction {
            person: person("b", Role::Participant),
            what: Sanction::Timeout,
            until: Some(1_000),
        };
        let events = arcs(vec![
            hand(1, "a", true),
            hand(2, "b", true),
            hand(3, "a", true),
            event(4, mute),
            hand(5, "c", true),
            hand(6, "a", false),
        ]);
        let state = State::of(&events);
        let up: Vec<_> = state.hands.iter().map(|hand| hand.person.id.as_str()).collect();
        assert_eq!(up, ["c"]);
        assert!(state.sanction_of("b", WallTime::from_unix_millis(999)).is_some());
        assert!(
            state
                .sanction_of("b", WallTime::from_unix_millis(1_000))
                .is_none()
        );
    }
}
