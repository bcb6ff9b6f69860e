//! Saying something, and changing it.

use sha2::{Digest, Sha256};
use timeline::{Line, Stamp, WallTime};

use super::{Accepted, Ask, Audit, Code, Receipt, Refused, Room, Say, Touches, What, body};
use crate::event::{Audience, Event, Held, Kind, Sanction, Text};
use crate::hex::hex;
use crate::moderation::{Reason, Verdict};
use crate::settings::{AnonymousMode, Messages};
use crate::{Person, Rate, Role};

/// The whole class by name would be a shout.
const MAX_MENTIONS: usize = 20;

/// Ids are UUIDs.
const MAX_ID_BYTES: usize = 64;

const MAX_FILES: usize = 5;

/// More is waiting than staff will ever look at.
const MAX_HELD: usize = 2_000;

impl Room {
    pub(super) fn say(
        &mut self,
        ask: &Ask,
        say: &Say,
        line: &Line,
        now: WallTime,
    ) -> Result<Receipt, Refused> {
        let by = ask.by;
        if by.role == Role::Viewer {
            return Err(Refused::new(Code::Forbidden, "viewers read only"));
        }
        let body = body::clean(&say.body);
        let mut text = Text {
            body: Some(body.clone()),
            ..Text::default()
        };
        if let Some(receipt) = self.known(by, ask.reference, &What::of(&Kind::Text(text.clone()))) {
            return Ok(receipt);
        }
        self.check_open(line)?;
        self.check_sanction(by, now)?;
        self.check_mode(by, say)?;
        self.check_body(&body, !ask.found.files.is_empty())?;
        check_names(say)?;
        let held = self.judge(by, say, &body, now)?;
        if held.is_some() && self.state.held.len() >= MAX_HELD {
            let full = Refused::new(Code::Rate, "too many messages wait for staff: try again later");
            return Err(Refused {
                retry_after_ms: Some(30_000),
                ..full
            });
        }
        self.take_rate(by, now)?;
        text.reply_to = say.reply_to.filter(|seq| *seq <= self.last);
        text.mentions = say.mentions.clone();
        text.question = say.question;
        text.announcement = say.announcement;
        text.anonymous = say.anonymous;
        text.files = ask.found.files.clone();
        text.to = say.to.clone();
        text.held = held;
        if held == Some(Held::Delay) {
            text.until = Some(now.unix_millis() + i64::from(self.state.settings.delay_ms));
        }
        let playing = say.playing.map(crate::wire::playing_time);
        let stamp = Stamp::of(line, playing, now);
        let (is_question, to) = (text.question && held.is_none(), text.to.clone());
        let mut draft = self.draft(Some(by), ask.reference, Kind::Text(text), stamp, now);
        draft.event.audience = match to {
            Some(to) if to != "staff" => Audience::StaffAnd(to),
            Some(_) => Audience::StaffAnd(by.id.clone()),
            None if held.is_some() => Audience::StaffAnd(by.id.clone()),
            None => Audience::Everyone,
        };
        if is_question {
            // Asked while rewound: the states of the windows since then know it too.
            draft.touches.to = Stamp::of(line, None, now).at.max(stamp.at);
        }
        Ok(self.accept(draft))
    }

    pub(super) fn edit(
        &mut self,
        ask: &Ask,
        new: &str,
        line: &Line,
        now: WallTime,
    ) -> Result<Receipt, Refused> {
        let target = text_of(ask)?;
        let new = body::clean(new);
        let kind = Kind::Edit {
            target: target.seq,
            body: Some(new.clone()),
        };
        if let Some(receipt) = self.known(ask.by, ask.reference, &What::of(&kind)) {
            return Ok(receipt);
        }
        if !target.is_by(&ask.by.id) || ask.by.role == Role::Viewer {
            return Err(Refused::new(
                Code::Forbidden,
                "only its writer may edit a message",
            ));
        }
        if !ask.by.role.moderates() {
            self.check_edit(ask.by, target, &new, line, now)?;
        }
        self.check_body(&new, target.text().is_some_and(|text| !text.files.is_empty()))?;
        self.take_rate(ask.by, now)?;
        let stamp = Stamp::of(line, None, now);
        let edited = target.edited(&new, now.unix_millis());
        let mut draft = self.draft(Some(ask.by), ask.reference, kind, stamp, now);
        draft.event.audience = target.audience.clone();
        draft.touches = self.out_of(target, stamp);
        draft.audit = Some(audit("edit", target, ask.by, now));
        draft.amends = vec![edited];
        Ok(self.accept(draft))
    }

    pub(super) fn delete(&mut self, ask: &Ask, line: &Line, now: WallTime) -> Result<Receipt, Refused> {
        let target = ask
            .found
            .target
            .as_deref()
            .filter(|target| target.text().is_some());
        let target = target.ok_or_else(|| Refused::new(Code::NotFound, "there is no such message"))?;
        let kind = Kind::Delete { target: target.seq };
        if let Some(receipt) = self.known(ask.by, ask.reference, &What::of(&kind)) {
            return Ok(receipt);
        }
        if !target.is_for(ask.by.role.face(), &ask.by.id) {
            return Err(Refused::new(Code::NotFound, "there is no such message"));
        }
        if !ask.by.role.moderates() {
            if ask.by.role == Role::Viewer || !target.is_by(&ask.by.id) {
                return Err(Refused::new(
                    Code::Forbidden,
                    "only its writer and moderators may delete a message",
                ));
            }
            self.check_open(line)?;
        }
        let is_pending = self.pending.iter().any(|a| a.event.kind == kind);
        if target.text().is_some_and(|text| text.body.is_none()) || is_pending {
            return Err(Refused::new(Code::NotFound, "that message was deleted already"));
        }
        self.take_rate(ask.by, now)?;
        let draft = self.deletion(ask.by, ask.reference, target, line, now);
        Ok(self.accept(draft))
    }

    pub(super) fn deletion(
        &self,
        by: &Person,
        reference: &str,
        target: &Event,
        line: &Line,
        now: WallTime,
    ) -> Accepted {
        let stamp = Stamp::of(line, None, now);
        let mut draft = self.draft(
            Some(by),
            reference,
            Kind::Delete { target: target.seq },
            stamp,
            now,
        );
        draft.event.audience = target.audience.clone();
        draft.touches = self.out_of(target, stamp);
        draft.audit = Some(audit("delete", target, by, now));
        draft.amends = vec![target.blanked()];
        draft.files = files_of(target);
        draft
    }

    /// What of the replay changes when a text goes or changes: questions and what is or was pinned stand in the
    /// states of later windows too.
    pub(super) fn out_of(&self, target: &Event, now: Stamp) -> Touches {
        let is_question = target.text().is_some_and(|text| text.question);
        let is_pinned = |event: &std::sync::Arc<Event>| matches!(&event.kind, Kind::Pin { target: t, .. } if *t == target.seq);
        let was_pinned = self.state.pinned.as_ref().is_some_and(|pinned| pinned.target == target.seq)
            // A pin that has left the memory may have been of it.
            || self.floor > target.seq
            || self.recent.iter().any(is_pinned);
        let to = if is_question || was_pinned {
            now.at.max(target.at())
        } else {
            target.at()
        };
        Touches {
            from: target.at(),
            to,
            purges: true,
        }
    }

    pub fn is_banned(&self, by: &Person, now: WallTime) -> bool {
        let sanctioned = self.state.sanction_of(&by.id, now);
        !by.role.moderates() && sanctioned.is_some_and(|sanctioned| sanctioned.what == Sanction::Ban)
    }

    pub(super) fn check_sanction(&self, by: &Person, now: WallTime) -> Result<(), Refused> {
        let Some(sanctioned) = self
            .state
            .sanction_of(&by.id, now)
            .filter(|_| !by.role.moderates())
        else {
            return Ok(());
        };
        let left = sanctioned
            .until
            .map(|until| (until - now).to_duration().as_millis() as u64);
        let message = match left {
            Some(_) => "you are timed out: you can read, not write",
            None => "you are muted: you can read, not write",
        };
        Err(Refused {
            retry_after_ms: left,
            ..Refused::new(Code::Muted, message)
        })
    }

    fn check_mode(&self, by: &Person, say: &Say) -> Result<(), Refused> {
        let mode = |why: &str| Err(Refused::new(Code::Mode, why));
        let settings = &self.state.settings;
        if by.role.moderates() {
            return Ok(());
        }
        match say {
            Say {
                announcement: true, ..
            } => Err(Refused::new(Code::Forbidden, "only staff announce")),
            Say { anonymous: true, .. } if settings.anonymous == AnonymousMode::Off => {
                mode("messages without a name are switched off")
            }
            Say { to: Some(to), .. } if to != "staff" => Err(Refused::new(
                Code::Forbidden,
                "participants write privately to staff only",
            )),
            Say { to: Some(_), .. } if !settings.private => {
                mode("messages to the teaching team are switched off")
            }
            Say { to: Some(_), .. } => Ok(()),
            Say { question: true, .. } if !settings.questions => mode("questions are switched off"),
            Say { question: true, .. } => Ok(()),
            _ if settings.messages == Messages::Off => mode("only staff write just now"),
            _ => Ok(()),
        }
    }

    pub(super) fn check_body(&self, body: &str, has_files: bool) -> Result<(), Refused> {
        let max = self.config.max_body_chars;
        match body.chars().count() {
            0 if !has_files => Err(Refused::new(Code::Empty, "there is nothing to say in it")),
            n if n > max => Err(Refused::new(
                Code::TooLong,
                format!("{n} characters; at most {max}"),
            )),
            _ => Ok(()),
        }
    }

    /// Whether it waits, and why. What goes to staff alone is theirs to judge.
    fn judge(&mut self, by: &Person, say: &Say, body: &str, now: WallTime) -> Result<Option<Held>, Refused> {
        if by.role.moderates() || say.to.is_some() {
            return Ok(None);
        }
        let settings = &self.state.settings;
        let (moderated, delayed) = (settings.messages == Messages::Moderated, settings.delay_ms > 0);
        let limits = self.config.repeats;
        let repeated = self.repeats.verdict(&by.id, body, now, &limits);
        let verdict = repeated.and(self.filter.verdict(body));
        if let Verdict::Reject(reason) = verdict {
            return Err(Refused::new(code_of(reason), reason.message));
        }
        self.take_slow(by, now)?;
        self.repeats.said(&by.id, body, now, &limits);
        Ok(match verdict {
            Verdict::Hold(Reason { code: "link", .. }) => Some(Held::Link),
            Verdict::Hold(Reason { code: "word", .. }) => Some(Held::Word),
            Verdict::Hold(_) => Some(Held::Moderated),
            _ if moderated => Some(Held::Moderated),
            _ if delayed => Some(Held::Delay),
            _ => None,
        })
    }

    fn check_edit(
        &self,
        by: &Person,
        target: &Event,
        new: &str,
        line: &Line,
        now: WallTime,
    ) -> Result<(), Refused> {
        self.check_open(line)?;
        self.check_sanction(by, now)?;
        let age = (now - target.sent).to_duration().as_millis();
        if age >= u128::from(self.state.settings.edit_ms) {
            return Err(Refused::new(Code::Closed, "the time to edit it is over"));
        }
        if self.state.settings.messages == Messages::Moderated && target.audience == Audience::Everyone {
            return Err(Refused::new(
                Code::Mode,
                "the room is moderated: what was approved stays as it is",
            ));
        }
        match self.filter.verdict(new) {
            Verdict::Allow => Ok(()),
            Verdict::Hold(reason) | Verdict::Reject(reason) => {
                Err(Refused::new(code_of(reason), reason.message))
            }
        }
    }

    pub(super) fn take_rate(&mut self, by: &Person, now: WallTime) -> Result<(), Refused> {
        if by.role.moderates() {
            return Ok(self.people.take(&by.id, self.config.host_rate, now)?);
        }
        self.people.take(&by.id, self.config.rate, now)?;
        Ok(self.everyone.take(self.config.room_rate, now)?)
    }

    fn take_slow(&mut self, by: &Person, now: WallTime) -> Result<(), Refused> {
        let per_ms = self.state.settings.slow_ms;
        if per_ms == 0 {
            return Ok(());
        }
        self.slow
            .take(&by.id, Rate { messages: 1, per_ms }, now)
            .map_err(|wait| Refused {
                code: Code::Slow,
                message: "slow mode: wait before the next message".into(),
                ..wait.into()
            })
    }
}

fn code_of(reason: Reason) -> Code {
    match reason.code {
        "word" => Code::Word,
        "link" => Code::Link,
        _ => Code::Duplicate,
    }
}

fn check_names(say: &Say) -> Result<(), Refused> {
    let too_long = |id: &String| id.is_empty() || id.len() > MAX_ID_BYTES;
    if say.mentions.len() > MAX_MENTIONS || say.mentions.iter().any(too_long) {
        return Err(Refused::malformed(format!(
            "at most {MAX_MENTIONS} mentions, ids of at most {MAX_ID_BYTES} bytes"
        )));
    }
    if say.to.as_ref().is_some_and(too_long) {
        return Err(Refused::malformed("to: `staff`, or the id of a person"));
    }
    if say.files.len() > MAX_FILES {
        return Err(Refused::malformed(format!("at most {MAX_FILES} files")));
    }
    Ok(())
}

/// The text that an action is about, if it is one that the asker may see and that is still there.
pub(super) fn text_of<'a>(ask: &Ask<'a>) -> Result<&'a Event, Refused> {
    let target = ask.found.target.as_deref();
    target
        .filter(|target| target.text().is_some_and(|text| text.body.is_some()))
        .filter(|target| target.is_for(ask.by.role.face(), &ask.by.id))
        .ok_or_else(|| Refused::new(Code::NotFound, "there is no such message"))
}

pub(super) fn audit(action: &'static str, target: &Event, by: &Person, now: WallTime) -> Audit {
    let hash = target.kind.body().map(|body| hex(&Sha256::digest(body)));
    Audit {
        actor: Some(by.clone()),
        sent: now.unix_millis(),
        action: action.into(),
        target: target.seq.to_string(),
        hash,
    }
}

pub(super) fn files_of(event: &Event) -> Vec<String> {
    let files = event.text().map(|text| &text.files);
    files.into_iter().flatten().map(|file| file.id.clone()).collect()
}
