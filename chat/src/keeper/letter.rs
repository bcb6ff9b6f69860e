//! What one node tells the others of an event that was accepted: all that they and the record need of it, but its
//! place.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use timeline::{MediaTime, Stamp, StampSource, WallTime};

use crate::event::Audience;
use crate::hex::hex;
use crate::room::{Accepted, Audit, Touches, What};
use crate::{Event, Kind, Person};

#[derive(Serialize, Deserialize)]
struct Letter {
    event: Written,
    reference: String,
    /// From, to; ticks.
    touches: (i64, i64, bool),
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    amends: Vec<Written>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    files: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    audit: Option<Line>,
}

/// An event, whole: on the wire to people it is not.
#[derive(Serialize, Deserialize)]
struct Written {
    seq: u64,
    at: i64,
    source: Source,
    sent: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    author: Option<Person>,
    audience: To,
    kind: Kind,
    /// What is pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<Box<Written>>,
}

#[derive(Serialize, Deserialize)]
enum Source {
    Playhead,
    Clamped,
    Server,
}

#[derive(Serialize, Deserialize)]
enum To {
    Everyone,
    Staff,
    StaffAnd(String),
    Nobody,
}

#[derive(Serialize, Deserialize)]
struct Line {
    actor: Option<Person>,
    sent: i64,
    action: String,
    target: String,
    hash: Option<String>,
}

pub fn write(accepted: &Accepted) -> Bytes {
    let Touches { from, to, purges } = accepted.touches;
    // Who is erased is looked up by whoever records it: it may be much, and more by then.
    let is_erasure = matches!(accepted.event.kind, Kind::Erase { .. });
    let amends = if is_erasure { &[][..] } else { &accepted.amends };
    let letter = Letter {
        event: Written::of(&accepted.event),
        reference: accepted.reference.clone(),
        touches: (from.ticks(), to.ticks(), purges),
        amends: amends.iter().map(Written::of).collect(),
        files: accepted.files.clone(),
        audit: accepted.audit.as_ref().map(Line::of),
    };
    // Maps with string keys and plain numbers only: this cannot fail.
    serde_json::to_vec(&letter).unwrap_or_default().into()
}

pub fn read(seq: u64, letter: &[u8]) -> Result<Accepted, serde_json::Error> {
    let letter: Letter = serde_json::from_slice(letter)?;
    let (from, to, purges) = letter.touches;
    let event = letter.event.into_event();
    Ok(Accepted {
        event: Event { seq, ..event },
        reference: letter.reference,
        touches: Touches {
            from: MediaTime::from_ticks(from),
            to: MediaTime::from_ticks(to),
            purges,
        },
        amends: letter.amends.into_iter().map(Written::into_event).collect(),
        files: letter.files,
        audit: letter.audit.map(Line::into_audit),
    })
}

/// The same for the same thing, at every node and however often it is sent.
pub fn key(accepted: &Accepted) -> String {
    let mut hash = Sha256::new();
    let event = &accepted.event;
    hash.update(event.author.as_ref().map_or("", |author| &author.id));
    hash.update([0]);
    hash.update(&accepted.reference);
    // What the room does by itself it does once, though two nodes may have counted differently.
    if event.author.is_some() {
        hash.update([0]);
        hash.update(format!("{:?}", What::of(&event.kind)));
    }
    hex(&hash.finalize()[..16])
}

impl Written {
    fn of(event: &Event) -> Written {
        let message = match &event.kind {
            Kind::Pin { message, .. } => message.as_deref().map(|message| Box::new(Written::of(message))),
            _ => None,
        };
        let mut kind = event.kind.clone();
        if let Kind::Pin { message, .. } = &mut kind {
            *message = None;
        }
        Written {
            seq: event.seq,
            at: event.stamp.at.ticks(),
            source: match event.stamp.source {
                StampSource::Playhead => Source::Playhead,
                StampSource::Clamped => Source::Clamped,
                StampSource::Server => Source::Server,
            },
            sent: event.sent.unix_millis(),
            author: event.author.clone(),
            audience: match event.audience.clone() {
                Audience::Everyone => To::Everyone,
                Audience::Staff => To::Staff,
                Audience::StaffAnd(person) => To::StaffAnd(person),
                Audience::Nobody => To::Nobody,
            },
            kind,
            message,
        }
    }

    fn into_event(self) -> Event {
        let mut kind = self.kind;
        if let Kind::Pin { message, .. } = &mut kind {
            *message = self.message.map(|message| Arc::new(message.into_event()));
        }
        Event {
            seq: self.seq,
            stamp: Stamp {
                at: MediaTime::from_ticks(self.at),
                source: match self.source {
                    Source::Playhead => StampSource::Playhead,
                    Source::Clamped => StampSource::Clamped,
                    Source::Server => StampSource::Server,
                },
            },
            sent: WallTime::from_unix_millis(self.sent),
            author: self.author,
            audience: match self.audience {
                To::Everyone => Audience::Everyone,
                To::Staff => Audience::Staff,
                To::StaffAnd(person) => Audience::StaffAnd(person),
                To::Nobody => Audience::Nobody,
            },
            kind,
        }
    }
}

impl Line {
    fn of(audit: &Audit) -> Line {
        Line {
            actor: audit.actor.clone(),
            sent: audit.sent,
            action: audit.action.clone().into_owned(),
            target: audit.target.clone(),
            hash: audit.hash.clone(),
        }
    }

    fn into_audit(self) -> Audit {
        Audit {
            actor: self.actor,
            sent: self.sent,
            action: self.action.into(),
            target: self.target,
            hash: self.hash,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;
    use crate::event::Text;
    use crate::testing::{ana, by, event, person, text};

    fn accepted(event: Event) -> Accepted {
        Accepted {
            touches: Touches {
                from: event.at(),
                to: MediaTime::from_ticks(7),
                purges: true,
            },
            event,
            reference: "c1".into(),
            amends: vec![text(3, 4, "before")],
            files: vec!["f".into()],
            audit: Some(Audit {
                actor: Some(ana()),
                sent: 5,
                action: "delete".into(),
                target: "3".into(),
                hash: Some("h".into()),
            }),
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let pin = Kind::Pin {
            target: 3,
            message: Some(Arc::new(text(3, 4, "pinned"))),
        };
        let held = Text {
            body: Some("hm".into()),
            question: true,
            held: Some(crate::event::Held::Word),
            ..Text::default()
        };
        for kind in [pin, Kind::Text(held), Kind::Delete { target: 3 }] {
            let mut accepted = accepted(event(1, kind));
            accepted.event.audience = Audience::StaffAnd("bo".into());
            let again = read(9, &write(&accepted)).unwrap();
            accepted.event.seq = 9;
            assert_eq!(format!("{again:?}"), format!("{accepted:?}"));
        }
        assert!(read(1, b"{}").is_err());
    }

    #[test]
    fn a_key_tells_who_under_which_name_and_what() {
        let said =
            |who: &str, body: &str| key(&accepted(by(person(who, Role::Participant), text(1, 0, body))));
        assert_eq!(said("ana", "hi"), said("ana", "hi"));
        assert_ne!(said("ana", "hi"), said("bo", "hi"));
        assert_ne!(said("ana", "hi"), said("ana", "ho"));
        let close = |counts| Kind::Close {
            target: 1,
            counts,
            voters: 1,
            right: None,
        };
        let by_itself = |counts| {
            let event = Event {
                author: None,
                ..event(2, close(counts))
            };
            key(&accepted(event))
        };
        assert_eq!(
            by_itself(vec![1]),
            by_itself(vec![2]),
            "two nodes may count differently"
        );
    }
}
