//! Everything but words: votes, hands, polls, pins, questions, settings, moderation.

use std::collections::HashSet;

use timeline::{Line, Stamp, WallTime};

use super::say::{audit, files_of, text_of};
use super::{Action, Ask, Audit, Code, OpenPoll, Receipt, Refused, Room, Touches, What, body};
use crate::event::{self, Audience, Event, Kind, Poll, QuestionState, Sanction, Text};
use crate::{Person, Rate, Role};

const MAX_POLL_CHARS: usize = 300;
const MAX_OPTION_CHARS: usize = 120;
const OPTIONS: std::ops::RangeInclusive<usize> = 2..=10;

/// A lecture day.
const MAX_OPEN_MS: u64 = 12 * 3_600_000;

/// A month: whoever is to stay out longer is banned.
const MAX_TIMEOUT_MS: u64 = 31 * 86_400_000;

const DEFAULT_TIMEOUT_MS: u64 = 300_000;

const MAX_REASON_CHARS: usize = 300;

/// What a purge takes: more of one person's texts are not in sight.
const MAX_PURGED: usize = 100;

/// Votes, hands and reports of one person.
const ASK_RATE: Rate = Rate {
    messages: 20,
    per_ms: 10_000,
};

impl Room {
    /// What somebody asks for. `None`: done, and no event of its own (a reaction).
    pub fn act(&mut self, ask: &Ask, line: &Line, now: WallTime) -> Result<Option<Receipt>, Refused> {
        match ask.action {
            Action::Say(say) => self.say(ask, say, line, now).map(Some),
            Action::Edit { body, .. } => self.edit(ask, body, line, now).map(Some),
            Action::Delete { .. } => self.delete(ask, line, now).map(Some),
            Action::React { emoji, playing } => self.react(ask.by, emoji, *playing, line, now).map(|()| None),
            Action::Vote { target, choices } => self.vote(ask, *target, choices, line, now).map(Some),
            Action::Hand { raised, person: None } => self.hand(ask, *raised, line, now).map(Some),
            Action::Report { reason, .. } => self.report(ask, reason, line, now).map(Some),
            staffs => self.direct(ask, staffs, line, now).map(Some),
        }
    }

    /// What only staff may do.
    fn direct(&mut self, ask: &Ask, action: &Action, line: &Line, now: WallTime) -> Result<Receipt, Refused> {
        if !ask.by.role.moderates() {
            return Err(Refused::new(
                Code::Forbidden,
                "only hosts and moderators may do that",
            ));
        }
        self.people.take(&ask.by.id, self.config.host_rate, now)?;
        match action {
            Action::Pin { .. } => self.pin(ask, line, now),
            Action::Unpin { target } => self.unpin(ask, *target, line, now),
            Action::Question { target, state } => self.question(ask, *target, *state, line, now),
            Action::Poll(poll) => self.poll(ask, poll, line, now),
            Action::Close { target } => self.close_poll(ask, *target, line, now),
            Action::Hand { raised, .. } => self.lower(ask, *raised, line, now),
            Action::Settings { set } => self.settings(ask, set, line, now),
            Action::Approve { .. } => self.approve(ask, line, now),
            Action::Discard { .. } => self.discard(ask, line, now),
            Action::Sanction {
                what, for_ms, purge, ..
            } => self.sanction(ask, *what, *for_ms, *purge, line, now),
            Action::Note { body, .. } => self.note(ask, body, line, now),
            Action::Erase { person } => self.erase(ask, person, line, now),
            _ => Err(Refused::malformed("that is no action")),
        }
    }

    /// An event of the asker's at the line's now, unless it is a resend.
    fn asks_for(&mut self, ask: &Ask, kind: Kind, line: &Line, now: WallTime) -> Result<Receipt, Refused> {
        self.asks_with(ask, kind, line, now, |draft| draft)
    }

    fn asks_with(
        &mut self,
        ask: &Ask,
        kind: Kind,
        line: &Line,
        now: WallTime,
        finish: impl FnOnce(super::Accepted) -> super::Accepted,
    ) -> Result<Receipt, Refused> {
        if let Some(receipt) = self.known(ask.by, ask.reference, &What::of(&kind)) {
            return Ok(receipt);
        }
        let draft = self.draft(Some(ask.by), ask.reference, kind, Stamp::of(line, None, now), now);
        Ok(self.accept(finish(draft)))
    }

    /// Participants only, while the room is open and they are not muted.
    fn check_ask(&mut self, by: &Person, line: &Line, now: WallTime) -> Result<(), Refused> {
        if by.role == Role::Viewer {
            return Err(Refused::new(Code::Forbidden, "viewers read only"));
        }
        self.check_open(line)?;
        self.check_sanction(by, now)?;
        Ok(self.asks.take(&by.id, ASK_RATE, now)?)
    }

    fn vote(
        &mut self,
        ask: &Ask,
        target: u64,
        choices: &[u8],
        line: &Line,
        now: WallTime,
    ) -> Result<Receipt, Refused> {
        self.check_ask(ask.by, line, now)?;
        let options = if let Some(ballot) = self.state.polls.get(&target) {
            let poll = ballot.poll();
            let is_over = poll.closes.is_some_and(|closes| closes <= now.unix_millis());
            if ballot.closed.is_some() || is_over {
                return Err(Refused::new(Code::Closed, "the poll is closed"));
            }
            if !poll.multiple && choices.len() > 1 {
                return Err(Refused::malformed("one choice only"));
            }
            poll.options.len()
        } else if self.state.questions.contains_key(&target) {
            1
        } else {
            return Err(Refused::new(Code::NotFound, "there is nothing to vote on"));
        };
        let distinct = choices.iter().collect::<HashSet<_>>().len() == choices.len();
        if !distinct || choices.iter().any(|choice| usize::from(*choice) >= options) {
            return Err(Refused::malformed("choices are different indices of its options"));
        }
        let kind = Kind::Vote {
            target,
            choices: choices.to_vec(),
        };
        self.asks_with(ask, kind, line, now, |mut draft| {
            draft.event.audience = Audience::Nobody;
            draft
        })
    }

    fn hand(&mut self, ask: &Ask, raised: bool, line: &Line, now: WallTime) -> Result<Receipt, Refused> {
        self.check_ask(ask.by, line, now)?;
        if raised && !self.state.settings.hands {
            return Err(Refused::new(Code::Mode, "raising hands is switched off"));
        }
        self.asks_for(ask, Kind::Hand { raised, person: None }, line, now)
    }

    fn lower(&mut self, ask: &Ask, raised: bool, line: &Line, now: WallTime) -> Result<Receipt, Refused> {
        let person = ask.found.person.clone().filter(|_| !raised);
        let person = person.ok_or_else(|| Refused::new(Code::NotFound, "there is no such hand to lower"))?;
        self.asks_for(
            ask,
            Kind::Hand {
                raised: false,
                person: Some(person),
            },
            line,
            now,
        )
    }

    fn report(&mut self, ask: &Ask, reason: &str, line: &Line, now: WallTime) -> Result<Receipt, Refused> {
        self.check_ask(ask.by, line, now)?;
        let target = text_of(ask)?;
        let kind = Kind::Report {
            target: target.seq,
            body: Some(sentence(reason, MAX_REASON_CHARS)?),
        };
        let audience = Audience::StaffAnd(ask.by.id.clone());
        self.asks_with(ask, kind, line, now, |mut draft| {
            draft.event.audience = audience;
            draft
        })
    }

    fn pin(&mut self, ask: &Ask, line: &Line, now: WallTime) -> Result<Receipt, Refused> {
        let target = text_of(ask)?;
        if target.audience != Audience::Everyone {
            return Err(Refused::new(
                Code::Forbidden,
                "only what everyone sees can be pinned",
            ));
        }
        let message = ask.found.target.clone();
        self.asks_for(
            ask,
            Kind::Pin {
                target: target.seq,
                message,
            },
            line,
            now,
        )
    }

    fn unpin(&mut self, ask: &Ask, target: u64, line: &Line, now: WallTime) -> Result<Receipt, Refused> {
        if self
            .state
            .pinned
            .as_ref()
            .is_none_or(|pinned| pinned.target != target)
        {
            return Err(Refused::new(Code::NotFound, "that is not pinned"));
        }
        self.asks_for(ask, Kind::Unpin { target }, line, now)
    }

    fn question(
        &mut self,
        ask: &Ask,
        target: u64,
        state: QuestionState,
        line: &Line,
        now: WallTime,
    ) -> Result<Receipt, Refused> {
        if !self.state.questions.contains_key(&target) {
            return Err(Refused::new(Code::NotFound, "there is no such question"));
        }
        self.asks_for(ask, Kind::Question { target, state }, line, now)
    }

    fn poll(&mut self, ask: &Ask, wanted: &OpenPoll, line: &Line, now: WallTime) -> Result<Receipt, Refused> {
        self.check_open(line)?;
        let options = wanted
            .options
            .iter()
            .map(|option| sentence(option, MAX_OPTION_CHARS));
        let options: Vec<_> = options.collect::<Result<_, _>>()?;
        if !OPTIONS.contains(&options.len()) || options.iter().collect::<HashSet<_>>().len() != options.len()
        {
            return Err(Refused::malformed("a poll has 2 to 10 different options"));
        }
        let is_right = |right: &Vec<u8>| {
            let fits = right.iter().all(|index| usize::from(*index) < options.len());
            fits && !right.is_empty() && (wanted.multiple || right.len() == 1)
        };
        if wanted.right.as_ref().is_some_and(|right| !is_right(right)) {
            return Err(Refused::malformed(
                "right: indices of options, one where only one can be chosen",
            ));
        }
        let open_ms = wanted.open_ms.map(|ms| ms.clamp(1_000, MAX_OPEN_MS) as i64);
        let poll = Poll {
            question: sentence(&wanted.question, MAX_POLL_CHARS)?,
            options,
            multiple: wanted.multiple,
            quiz: wanted.right.is_some(),
            results: wanted.results,
            closes: open_ms.map(|ms| now.unix_millis() + ms),
            right: wanted.right.clone(),
        };
        self.asks_for(ask, Kind::Poll(poll), line, now)
    }

    fn close_poll(&mut self, ask: &Ask, target: u64, line: &Line, now: WallTime) -> Result<Receipt, Refused> {
        let kind = self.closing(target)?;
        self.asks_for(ask, kind, line, now)
    }

    pub(super) fn closing(&self, target: u64) -> Result<Kind, Refused> {
        let ballot = self.state.polls.get(&target);
        let ballot = ballot.ok_or_else(|| Refused::new(Code::NotFound, "there is no such poll"))?;
        if ballot.closed.is_some() {
            return Err(Refused::new(Code::Closed, "the poll is closed already"));
        }
        let tally = ballot.tally();
        let right = ballot.poll().right.clone();
        Ok(Kind::Close {
            target,
            counts: tally.counts,
            voters: tally.voters,
            right,
        })
    }

    fn settings(
        &mut self,
        ask: &Ask,
        set: &serde_json::Value,
        line: &Line,
        now: WallTime,
    ) -> Result<Receipt, Refused> {
        let settings = self.state.settings.with(set)?;
        let masks = settings.replay_names != self.state.settings.replay_names;
        let kind = Kind::Settings {
            settings: Box::new(settings),
        };
        self.asks_with(ask, kind, line, now, |mut draft| {
            if masks {
                // Every chunk is made anew, with other names.
                draft.touches.from = timeline::MediaTime::ZERO;
                draft.touches.purges = true;
            }
            draft.audit = Some(line_of("settings", String::new(), ask.by, now));
            draft
        })
    }

    fn approve(&mut self, ask: &Ask, line: &Line, now: WallTime) -> Result<Receipt, Refused> {
        let held = self.held(ask)?;
        let mut draft = self.release(held, line, now);
        // The event is its writer's.
        draft.audit = Some(audit("approve", held, ask.by, now));
        Ok(self.accept(draft))
    }

    fn discard(&mut self, ask: &Ask, line: &Line, now: WallTime) -> Result<Receipt, Refused> {
        let held = self.held(ask)?;
        let (audience, blanked) = (held.audience.clone(), held.blanked());
        let (entry, files) = (audit("discard", held, ask.by, now), files_of(held));
        self.asks_with(ask, Kind::Discard { target: held.seq }, line, now, |mut draft| {
            draft.event.audience = audience;
            draft.amends = vec![blanked];
            draft.files = files;
            draft.audit = Some(entry);
            draft
        })
    }

    fn held<'a>(&self, ask: &Ask<'a>) -> Result<&'a Event, Refused> {
        let missing = || Refused::new(Code::NotFound, "there is no such message waiting");
        let target = ask.found.target.as_deref().ok_or_else(missing)?;
        self.state
            .held
            .contains_key(&target.seq)
            .then_some(target)
            .ok_or_else(missing)
    }

    /// A held text becomes a text for everyone, where it was written.
    pub(super) fn release(&self, held: &Event, line: &Line, now: WallTime) -> super::Accepted {
        let text = held.text().cloned().unwrap_or_default();
        let text = Text {
            held: None,
            until: None,
            of: Some(held.seq),
            ..text
        };
        let is_question = text.question;
        let reference = format!("release-{}", held.seq);
        let mut draft = self.draft(
            held.author.as_ref(),
            &reference,
            Kind::Text(text),
            held.stamp,
            now,
        );
        draft.event.sent = held.sent;
        draft.amends = vec![held.blanked()];
        if is_question {
            draft.touches.to = Stamp::of(line, None, now).at.max(held.at());
        }
        draft
    }

    fn sanction(
        &mut self,
        ask: &Ask,
        what: Sanction,
        for_ms: Option<u64>,
        purge: bool,
        line: &Line,
        now: WallTime,
    ) -> Result<Receipt, Refused> {
        let person = ask.found.person.clone();
        let person =
            person.ok_or_else(|| Refused::new(Code::NotFound, "there is no such person in this room"))?;
        if person.role.moderates() {
            return Err(Refused::new(Code::Forbidden, "staff cannot be muted or banned"));
        }
        let for_ms = for_ms.unwrap_or(DEFAULT_TIMEOUT_MS).clamp(1_000, MAX_TIMEOUT_MS) as i64;
        let until = (what == Sanction::Timeout).then(|| now.unix_millis() + for_ms);
        let entry = line_of(event::sanction_name(what), person.id.clone(), ask.by, now);
        let audience = Audience::StaffAnd(person.id.clone());
        let theirs = person.id.clone();
        let receipt = self.asks_with(
            ask,
            Kind::Sanction { person, what, until },
            line,
            now,
            |mut draft| {
                draft.event.audience = audience;
                draft.audit = Some(entry);
                draft
            },
        )?;
        if purge {
            self.purge(ask, &theirs, line, now);
        }
        Ok(receipt)
    }

    fn purge(&mut self, ask: &Ask, person: &str, line: &Line, now: WallTime) {
        let is_theirs = |event: &&std::sync::Arc<Event>| {
            event.is_by(person)
                && event
                    .text()
                    .is_some_and(|text| text.body.is_some() && text.held.is_none())
        };
        let texts: Vec<_> = self
            .recent
            .iter()
            .rev()
            .filter(is_theirs)
            .take(MAX_PURGED)
            .cloned()
            .collect();
        for text in texts {
            let reference = format!("purge-{}", text.seq);
            let draft = self.deletion(ask.by, &reference, &text, line, now);
            self.accept(draft);
        }
    }

    fn note(&mut self, ask: &Ask, body: &str, line: &Line, now: WallTime) -> Result<Receipt, Refused> {
        let (target, person) = match ask.action {
            Action::Note { target, person, .. } => (*target, person.clone()),
            _ => (None, None),
        };
        if target.is_none() == person.is_none() {
            return Err(Refused::malformed("a note is about a message or about a person"));
        }
        let known = ask.found.target.is_some() || ask.found.person.is_some();
        if !known {
            return Err(Refused::new(
                Code::NotFound,
                "there is nothing of that name to note",
            ));
        }
        let body = body::clean(body);
        self.check_body(&body, false)?;
        let kind = Kind::Note {
            target,
            person,
            body: Some(body),
        };
        self.asks_with(ask, kind, line, now, |mut draft| {
            draft.event.audience = Audience::Staff;
            draft
        })
    }

    /// `found.theirs` is everything that names the person.
    fn erase(&mut self, ask: &Ask, person: &str, line: &Line, now: WallTime) -> Result<Receipt, Refused> {
        let theirs = &ask.found.theirs;
        if theirs.is_empty() {
            return Err(Refused::new(
                Code::NotFound,
                "there is no such person in this room",
            ));
        }
        let erased = event::erased(self.next_seq());
        let entry = line_of("erase", erased.clone(), ask.by, now);
        let amends = theirs
            .iter()
            .map(|event| event.without(person, &erased))
            .collect();
        let files = theirs
            .iter()
            .filter(|event| event.is_by(person))
            .flat_map(files_of)
            .collect();
        let kind = Kind::Erase {
            person: person.to_owned(),
        };
        self.asks_with(ask, kind, line, now, |mut draft| {
            draft.touches = Touches {
                from: timeline::MediaTime::ZERO,
                to: draft.event.at(),
                purges: true,
            };
            draft.amends = amends;
            draft.files = files;
            draft.audit = Some(entry);
            draft
        })
    }
}

fn line_of(action: &'static str, target: String, by: &Person, now: WallTime) -> Audit {
    Audit {
        actor: Some(by.clone()),
        sent: now.unix_millis(),
        action: action.into(),
        target,
        hash: None,
    }
}

/// One line of plain text.
fn sentence(text: &str, max: usize) -> Result<String, Refused> {
    let text = body::clean(text).replace('\n', " ");
    match text.chars().count() {
        0 => Err(Refused::new(Code::Empty, "there is nothing in it")),
        n if n > max => Err(Refused::new(
            Code::TooLong,
            format!("{n} characters; at most {max}"),
        )),
        _ => Ok(text),
    }
}
