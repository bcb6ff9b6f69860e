//! The thinking of a room: who may do what, in which order it happened, how the room stands, what a returning
//! visitor has missed. No I/O and no clock: time is an argument.
//!
//! What is accepted is *pending* until the record has it ([`Room::stored`]); only then anyone sees it.

mod action;
mod body;
mod due;
mod join;
mod rate;
mod reactions;
mod refs;
mod refused;
mod rules;
mod say;
mod standing;
mod state;

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use timeline::{Line, MediaTime, Stamp, WallTime};

use crate::event::{Anonymous, Attached, Audience, Face, Held};
use crate::moderation::{Filter, Repeats};
use crate::{Config, Event, Kind, Person};

pub use action::{Action, OpenPoll, Say};
#[cfg(test)]
pub use body::clean;
pub use body::clean_name;
pub use join::{Answer, Resume};
pub use rate::Bucket;
pub use rate::{Buckets, RetryAfter};
use reactions::Reactions;
use refs::Refs;
pub use refused::{Code, Refused};
pub use standing::{Reader, tallies};
pub use state::State;

pub struct Room {
    epoch: String,
    config: Config,
    /// The last events that somebody may see, oldest first, with nothing missing between them.
    recent: VecDeque<Arc<Event>>,
    /// Events up to here are in the record only.
    floor: u64,
    state: State,
    filter: Filter,
    pending: Vec<Accepted>,
    /// The last event that is stored.
    last: u64,
    refs: Refs,
    people: Buckets,
    asks: Buckets,
    everyone: Bucket,
    slow: Buckets,
    repeats: Repeats,
    reactions: Reactions,
    /// Polls and questions whose votes changed since they were told.
    tallied: BTreeSet<u64>,
    /// Who is behind a pseudonym.
    behind: HashMap<String, Person>,
    closed: bool,
}

/// An event on its way to the record.
#[derive(Clone, Debug)]
pub struct Accepted {
    pub event: Event,
    /// The name its writer gave it.
    pub reference: String,
    pub touches: Touches,
    /// Events of before that are rewritten with it.
    pub amends: Vec<Event>,
    /// Files that nobody names any more.
    pub files: Vec<String>,
    pub audit: Option<Audit>,
}

/// What of the replay an event changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touches {
    /// The window of this moment …
    pub from: MediaTime,
    /// … and every later one there is, up to that of this moment: their states hold it too.
    pub to: MediaTime,
    /// It takes something out: what is served now must not be served any more.
    pub purges: bool,
}

/// A line of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// `None`: the event's author.
    pub actor: Option<Person>,
    /// Unix ms.
    pub sent: i64,
    pub action: Cow<'static, str>,
    /// A `seq`, or the id of a person.
    pub target: String,
    /// SHA-256 of the body it was about, in hexadecimal; never the body.
    pub hash: Option<String>,
}

/// The answer to what was accepted: now, or the first time it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub seq: u64,
    pub at: MediaTime,
    pub held: Option<Held>,
}

/// Who asks what.
pub struct Ask<'a> {
    pub by: &'a Person,
    pub reference: &'a str,
    pub action: &'a Action,
    pub found: &'a Found,
}

/// What only the record, or the list of those who are here, knows of an action.
#[derive(Clone, Debug, Default)]
pub struct Found {
    pub target: Option<Arc<Event>>,
    pub person: Option<Person>,
    pub files: Vec<Attached>,
    /// All that the person wrote, and all that names them.
    pub theirs: Vec<Event>,
}

/// How a room was left: what the record has of it.
#[derive(Default)]
pub struct Kept {
    /// The last event, seen by anybody or not.
    pub last: u64,
    /// The end of the record, oldest first, with the names their writers gave them.
    pub recent: Vec<(Event, String)>,
    pub state: State,
}

impl Room {
    pub fn new(epoch: String, config: Config, kept: Kept) -> Room {
        let mut room = Room {
            epoch,
            config,
            recent: VecDeque::new(),
            floor: 0,
            state: State::default(),
            filter: Filter::default(),
            pending: Vec::new(),
            last: 0,
            refs: Refs::default(),
            people: Buckets::default(),
            asks: Buckets::default(),
            everyone: Bucket::default(),
            slow: Buckets::default(),
            repeats: Repeats::default(),
            reactions: Reactions::default(),
            tallied: BTreeSet::new(),
            behind: HashMap::new(),
            closed: false,
        };
        room.take_up(kept);
        room
    }

    /// Goes on from what the record has. What was pending never happened.
    pub fn take_up(&mut self, kept: Kept) {
        self.pending.clear();
        self.recent.clear();
        self.floor = kept.recent.first().map_or(kept.last, |(event, _)| event.seq - 1);
        self.last = kept.last;
        self.state = kept.state;
        self.settings_changed();
        for (event, reference) in kept.recent {
            self.remember(Arc::new(event), &reference);
        }
    }

    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    /// Events up to here are in the record only.
    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// The last event that is stored.
    pub fn last(&self) -> u64 {
        self.last
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    /// How the room stands, for one reader.
    pub fn standing(&self, face: Face, person: &str) -> serde_json::Value {
        self.state.standing(Reader {
            face,
            person: Some(person),
            anonymous: self.anonymous(),
        })
    }

    pub fn anonymous(&self) -> Anonymous<'_> {
        Anonymous {
            epoch: &self.epoch,
            staff_know: self.state.settings.staff_know(),
        }
    }

    /// Read-only from now on, whatever the line says.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// An event among the recent ones. `Err`: older, the record has to be asked.
    pub fn find(&self, seq: u64) -> Result<Option<Arc<Event>>, u64> {
        if seq > self.last {
            return Ok(None);
        }
        match self.index(seq) {
            Ok(index) => Ok(self.recent.get(index).cloned()),
            Err(_) if seq > self.floor => Ok(None),
            Err(_) => Err(seq),
        }
    }

    /// Somebody that the room has heard of lately.
    pub fn person(&self, id: &str) -> Option<Person> {
        let author = |event: &Arc<Event>| event.author.clone().filter(|author| author.id == id);
        let hand = || {
            self.state
                .hands
                .iter()
                .find(|hand| hand.person.id == id)
                .map(|hand| hand.person.clone())
        };
        let sanctioned = || self.state.sanctions.get(id).map(|s| s.person.clone());
        let behind = || self.behind.get(id).cloned();
        behind()
            .or_else(|| self.recent.iter().rev().find_map(author))
            .or_else(hand)
            .or_else(sanctioned)
    }

    /// What waits to be stored.
    pub fn pending(&self) -> &[Accepted] {
        &self.pending
    }

    /// What is pending gets its place elsewhere: it comes back with another `seq`.
    pub fn take_pending(&mut self) -> Vec<Accepted> {
        std::mem::take(&mut self.pending)
    }

    /// The record has everything that was pending.
    pub fn stored(&mut self) {
        for accepted in std::mem::take(&mut self.pending) {
            self.take(accepted.event, &accepted.reference);
        }
    }

    /// The next event of the room, from wherever it came.
    pub fn take(&mut self, event: Event, reference: &str) {
        self.last = event.seq;
        self.rewrite(&event);
        let event = Arc::new(event);
        if event.stands() {
            self.state.apply(&event);
        }
        match &event.kind {
            Kind::Settings { .. } => self.settings_changed(),
            Kind::Vote { target, .. } => drop(self.tallied.insert(*target)),
            _ => {}
        }
        self.remember(event, reference);
    }

    /// The record could not take what was pending: it never happened.
    pub fn abandon(&mut self) {
        self.pending.clear();
    }

    /// The stored events after `seq` that are still in memory.
    pub fn since(&self, seq: u64) -> impl Iterator<Item = &Arc<Event>> {
        let skip = self.recent.partition_point(|event| event.seq <= seq);
        self.recent.iter().skip(skip)
    }

    /// Polls and questions whose votes changed since this was asked last.
    pub fn take_tallied(&mut self) -> BTreeSet<u64> {
        std::mem::take(&mut self.tallied)
    }

    pub fn has_tallied(&self) -> bool {
        !self.tallied.is_empty()
    }

    fn index(&self, seq: u64) -> Result<usize, usize> {
        self.recent.binary_search_by_key(&seq, |event| event.seq)
    }

    fn next_seq(&self) -> u64 {
        self.last + self.pending.len() as u64 + 1
    }

    fn accept(&mut self, draft: Accepted) -> Receipt {
        let (seq, at) = (draft.event.seq, draft.event.at());
        let held = draft.event.text().and_then(|text| text.held);
        self.pending.push(draft);
        Receipt { seq, at, held }
    }

    /// An event of now, that touches its own window only.
    fn draft(
        &self,
        by: Option<&Person>,
        reference: &str,
        kind: Kind,
        stamp: Stamp,
        now: WallTime,
    ) -> Accepted {
        Accepted {
            event: Event {
                seq: self.next_seq(),
                stamp,
                sent: now.floor_to_millis(),
                author: by.cloned(),
                audience: Audience::Everyone,
                kind,
            },
            reference: reference.to_owned(),
            touches: Touches {
                from: stamp.at,
                to: stamp.at,
                purges: false,
            },
            amends: Vec::new(),
            files: Vec::new(),
            audit: None,
        }
    }

    /// Something sent again because its answer was lost on the way.
    fn known(&self, by: &Person, reference: &str, what: &What) -> Option<Receipt> {
        let same = |a: &&Accepted| {
            a.reference == reference && a.event.is_by(&by.id) && What::of(&a.event.kind) == *what
        };
        let pending = self.pending.iter().find(same);
        pending
            .map(|a| Receipt::of(&a.event))
            .or_else(|| self.refs.find(&by.id, reference, what))
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

    /// What was taken out or changed is so in memory too.
    fn rewrite(&mut self, event: &Event) {
        match &event.kind {
            Kind::Delete { target } | Kind::Discard { target } => self.blank(*target),
            Kind::Edit {
                target,
                body: Some(body),
            } => {
                self.blank_edits(*target);
                let when = event.sent.unix_millis();
                self.replace(*target, |event| event.edited(body, when));
            }
            Kind::Text(crate::event::Text { of: Some(of), .. }) => self.replace(*of, Event::blanked),
            Kind::Erase { person } => {
                let erased = crate::event::erased(event.seq);
                for one in self.recent.iter_mut().filter(|one| one.names(person)) {
                    *one = Arc::new(one.without(person, &erased));
                }
            }
            _ => {}
        }
    }

    fn blank(&mut self, seq: u64) {
        self.blank_edits(seq);
        self.replace(seq, Event::blanked);
        let is_pin =
            |event: &&mut Arc<Event>| matches!(&event.kind, Kind::Pin { target, .. } if *target == seq);
        self.recent
            .iter_mut()
            .filter(is_pin)
            .for_each(|event| *event = Arc::new(event.blanked()));
    }

    fn blank_edits(&mut self, seq: u64) {
        let is_edit =
            |event: &&mut Arc<Event>| matches!(&event.kind, Kind::Edit { target, .. } if *target == seq);
        self.recent
            .iter_mut()
            .filter(is_edit)
            .for_each(|event| *event = Arc::new(event.blanked()));
    }

    fn replace(&mut self, seq: u64, with: impl FnOnce(&Event) -> Event) {
        if let Ok(index) = self.index(seq)
            && let Some(event) = self.recent.get_mut(index)
        {
            *event = Arc::new(with(event));
        }
    }

    fn remember(&mut self, event: Arc<Event>, reference: &str) {
        self.refs.insert(&event, reference);
        self.note_pseudonym(&event);
        if event.audience == Audience::Nobody {
            return;
        }
        self.recent.push_back(event);
        if self.recent.len() > self.config.recent
            && let Some(oldest) = self.recent.pop_front()
        {
            self.floor = oldest.seq;
        }
    }

    fn note_pseudonym(&mut self, event: &Event) {
        /// People who wrote without a name; older ones are found no more.
        const MAX: usize = 10_000;
        let Some(author) = event
            .author
            .as_ref()
            .filter(|_| event.text().is_some_and(|text| text.anonymous))
        else {
            return;
        };
        if self.behind.len() < MAX {
            let pseudonym = self.anonymous().pseudonym(&author.id);
            self.behind.insert(pseudonym, author.clone());
        }
    }

    fn settings_changed(&mut self) {
        // They were checked when they were set.
        self.filter = self.state.settings.filter().unwrap_or_default();
    }
}

impl Receipt {
    fn of(event: &Event) -> Receipt {
        Receipt {
            seq: event.seq,
            at: event.at(),
            held: event.text().and_then(|text| text.held),
        }
    }
}

/// What an event says, to know it again when it is sent again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct What {
    name: &'static str,
    target: Option<u64>,
    body: String,
}

impl What {
    pub fn of(kind: &Kind) -> What {
        let body = match kind {
            Kind::Vote { choices, .. } => format!("{choices:?}"),
            Kind::Hand { raised, .. } => raised.to_string(),
            Kind::Poll(poll) => poll.question.clone(),
            Kind::Sanction { person, what, .. } => format!("{}{what:?}", person.id),
            Kind::Question { state, .. } => format!("{state:?}"),
            Kind::Settings { settings } => format!("{settings:?}"),
            kind => kind.body().unwrap_or_default().to_owned(),
        };
        What {
            name: kind.name(),
            target: kind.target(),
            body,
        }
    }
}

#[cfg(test)]
mod tests;
