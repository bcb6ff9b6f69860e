//! What happens in a room. Everything that changes it is an event with a `seq` of its own, so that who resumes
//! by it misses nothing.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};
use timeline::{MediaTime, Stamp, WallTime};

use crate::Settings;
use crate::hex::hex;

/// Someone in a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// The same at each return, and in no other hands.
    pub id: String,
    pub name: String,
    pub role: Role,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Host,
    Moderator,
    Participant,
    /// Reads only.
    Viewer,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its place in the order of the room: 1, 2, 3 …
    pub seq: u64,
    /// Where on the line its author was.
    pub stamp: Stamp,
    /// When it came, in whole milliseconds.
    pub sent: WallTime,
    /// `None`: the room itself.
    pub author: Option<Person>,
    pub audience: Audience,
    pub kind: Kind,
}

/// Who gets an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    Everyone,
    Staff,
    /// Staff, and the person with this id.
    StaffAnd(String),
    /// Counted, not shown.
    Nobody,
}

/// Which of two faces of the room somebody sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    Public,
    Staff,
}

/// What the record keeps and the wire carries; the record has what people wrote in a column of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Kind {
    Text(Text),
    Edit {
        target: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<String>,
    },
    Delete {
        target: u64,
    },
    /// A held text that will not be shown.
    Discard {
        target: u64,
    },
    Pin {
        target: u64,
        /// For those who do not have it; the record does not keep it twice.
        #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
        message: Option<Arc<Event>>,
    },
    Unpin {
        target: u64,
    },
    Question {
        target: u64,
        state: QuestionState,
    },
    Poll(Poll),
    Close {
        target: u64,
        counts: Vec<u32>,
        voters: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        right: Option<Vec<u8>>,
    },
    Vote {
        target: u64,
        choices: Vec<u8>,
    },
    Hand {
        raised: bool,
        /// Whose, where staff lowers it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        person: Option<Person>,
    },
    /// Of one second of media time.
    Reactions {
        counts: BTreeMap<String, u32>,
    },
    Settings {
        settings: Box<Settings>,
    },
    Sanction {
        person: Person,
        what: Sanction,
        /// Unix ms.
        until: Option<i64>,
    },
    Report {
        target: u64,
        #[serde(default, skip_serializing_if = "Option::is_none", rename = "reason")]
        body: Option<String>,
    },
    Note {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        target: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        person: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<String>,
    },
    /// All that the person wrote is gone.
    Erase {
        person: String,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Text {
    /// Without one: it was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mentions: Vec<String>,
    #[serde(skip_serializing_if = "is_not")]
    pub question: bool,
    #[serde(skip_serializing_if = "is_not")]
    pub announcement: bool,
    #[serde(skip_serializing_if = "is_not")]
    pub anonymous: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<Attached>,
    /// When, in Unix ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edited: Option<i64>,
    /// The held text that this releases.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<u64>,
    /// Private: `staff`, or the id of a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
    /// Unix ms: then it is released, where only the delay holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<i64>,
}

/// Why a text waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Held {
    Moderated,
    Word,
    Link,
    Delay,
}

/// A file beside the broadcast, at `/broadcasts/{broadcast}/files/{id}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    pub id: String,
    pub name: String,
    /// Its media type, as its bytes show it.
    #[serde(rename = "type")]
    pub media_type: String,
    /// Bytes.
    pub size: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QuestionState {
    Open,
    Answered,
    Dismissed,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Poll {
    pub question: String,
    pub options: Vec<String>,
    pub multiple: bool,
    pub quiz: bool,
    pub results: Results,
    /// Unix ms.
    pub closes: Option<i64>,
    /// Of a quiz; nobody is told before it closes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub right: Option<Vec<u8>>,
}

/// When votes so far are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Results {
    Live,
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sanction {
    /// Reads only, until it is lifted.
    Mute,
    /// Reads only, for a time.
    Timeout,
    /// Out, until it is lifted.
    Ban,
    Lift,
}

impl Role {
    pub const fn moderates(self) -> bool {
        matches!(self, Role::Host | Role::Moderator)
    }

    pub const fn face(self) -> Face {
        if self.moderates() {
            Face::Staff
        } else {
            Face::Public
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Role::Host => "host",
            Role::Moderator => "moderator",
            Role::Participant => "participant",
            Role::Viewer => "viewer",
        }
    }
}

impl Event {
    pub const fn at(&self) -> MediaTime {
        self.stamp.at
    }

    pub const fn text(&self) -> Option<&Text> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn is_by(&self, person: &str) -> bool {
        self.author.as_ref().is_some_and(|author| author.id == person)
    }

    pub fn is_for(&self, face: Face, person: &str) -> bool {
        match &self.audience {
            Audience::Everyone => true,
            Audience::Staff => face == Face::Staff,
            Audience::StaffAnd(one) => face == Face::Staff || one == person,
            Audience::Nobody => false,
        }
    }

    /// As somebody sees it: who an anonymous author is and which answers are right is not for everyone.
    pub fn seen(&self, face: Face, anonymous: Anonymous<'_>) -> Cow<'_, Event> {
        let hides_author = self.text().is_some_and(|text| text.anonymous) && !anonymous.is_known(face);
        match &self.kind {
            Kind::Text(_) if hides_author => Cow::Owned(Event {
                author: self.author.as_ref().map(|author| anonymous.mask(author)),
                ..self.clone()
            }),
            Kind::Pin {
                target,
                message: Some(message),
            } => {
                let message = Some(Arc::new(message.seen(face, anonymous).into_owned()));
                Cow::Owned(Event {
                    kind: Kind::Pin {
                        target: *target,
                        message,
                    },
                    ..self.clone()
                })
            }
            Kind::Poll(poll) if poll.right.is_some() => {
                let poll = Poll {
                    right: None,
                    ..poll.clone()
                };
                Cow::Owned(Event {
                    kind: Kind::Poll(poll),
                    ..self.clone()
                })
            }
            Kind::Settings { settings } if face == Face::Public => Cow::Owned(Event {
                kind: Kind::Settings {
                    settings: Box::new(settings.public()),
                },
                ..self.clone()
            }),
            _ => Cow::Borrowed(self),
        }
    }

    /// About how long it is in JSON, never less: in a text only quotation marks and backslashes are escaped.
    pub(crate) fn json_bytes(&self) -> usize {
        /// The field names, four numbers, the role, the flags.
        const FRAME: usize = 320;
        const FILE: usize = 512;
        let author = self
            .author
            .as_ref()
            .map_or(0, |a| 2 * a.name.len() + 6 * a.id.len());
        let body = match &self.kind {
            Kind::Text(text) => {
                let mentions: usize = text.mentions.iter().map(|m| 6 * m.len() + 3).sum();
                2 * text.body.as_deref().map_or(0, str::len) + mentions + FILE * text.files.len()
            }
            Kind::Pin {
                message: Some(message),
                ..
            } => message.json_bytes(),
            Kind::Edit { body: Some(body), .. } => 2 * body.len(),
            // Rare, and none longer than the frame that asked for it; written once more to be measured.
            kind => serde_json::to_vec(kind).map_or(0, |json| json.len()),
        };
        FRAME + author + body
    }

    /// The same, its text gone.
    pub(crate) fn blanked(&self) -> Event {
        let kind = match &self.kind {
            Kind::Text(text) => Kind::Text(Text {
                body: None,
                files: Vec::new(),
                mentions: Vec::new(),
                ..text.clone()
            }),
            Kind::Edit { target, .. } => Kind::Edit {
                target: *target,
                body: None,
            },
            Kind::Note { target, person, .. } => Kind::Note {
                target: *target,
                person: person.clone(),
                body: None,
            },
            Kind::Report { target, .. } => Kind::Report {
                target: *target,
                body: None,
            },
            Kind::Pin { target, .. } => Kind::Pin {
                target: *target,
                message: None,
            },
            other => other.clone(),
        };
        Event { kind, ..self.clone() }
    }

    /// The same with another body.
    pub(crate) fn edited(&self, new: &str, when: i64) -> Event {
        let mut event = self.clone();
        // What was taken out meanwhile stays out.
        if let Kind::Text(text) = &mut event.kind
            && text.body.is_some()
        {
            (text.body, text.edited) = (Some(new.to_owned()), Some(when));
        }
        event
    }

    /// Whether a person wrote it, or it is about them.
    pub(crate) fn names(&self, person: &str) -> bool {
        let about = match &self.kind {
            Kind::Text(text) => {
                text.to.as_deref() == Some(person) || text.mentions.iter().any(|m| m == person)
            }
            Kind::Hand {
                person: Some(one), ..
            }
            | Kind::Sanction { person: one, .. } => one.id == person,
            Kind::Note {
                person: Some(one), ..
            } => one == person,
            _ => false,
        };
        about || self.is_by(person) || self.audience == Audience::StaffAnd(person.to_owned())
    }

    /// The same with a person gone from it: what they wrote, their name, their id. `erased` stands in for the id.
    pub(crate) fn without(&self, person: &str, erased: &str) -> Event {
        let gone = |one: &mut Person| {
            if one.id == person {
                *one = Person {
                    id: erased.to_owned(),
                    name: String::new(),
                    role: one.role,
                };
            }
        };
        let is_theirs = self.is_by(person);
        let mut event = if is_theirs { self.blanked() } else { self.clone() };
        if let Some(author) = &mut event.author {
            gone(author);
        }
        if event.audience == Audience::StaffAnd(person.to_owned()) {
            event.audience = Audience::StaffAnd(erased.to_owned());
        }
        match &mut event.kind {
            Kind::Text(text) => {
                text.mentions.retain(|mention| mention != person);
                if text.to.as_deref() == Some(person) {
                    text.to = Some(erased.to_owned());
                }
            }
            Kind::Hand {
                person: Some(one), ..
            }
            | Kind::Sanction { person: one, .. } => gone(one),
            Kind::Note {
                person: one, body, ..
            } if one.as_deref() == Some(person) => {
                (*one, *body) = (Some(erased.to_owned()), None);
            }
            _ => {}
        }
        event
    }

    /// Whether it changes how the room stands ([`crate::room::State`]).
    pub(crate) fn stands(&self) -> bool {
        match &self.kind {
            Kind::Text(text) => text.question || text.held.is_some() || text.of.is_some(),
            Kind::Reactions { .. } | Kind::Note { .. } => false,
            _ => true,
        }
    }
}

/// Who anonymous authors are to others.
#[derive(Clone, Copy, Debug)]
pub struct Anonymous<'a> {
    pub epoch: &'a str,
    /// Whether staff see the person.
    pub staff_know: bool,
}

impl Anonymous<'_> {
    fn is_known(self, face: Face) -> bool {
        face == Face::Staff && self.staff_know
    }

    fn mask(self, author: &Person) -> Person {
        Person {
            id: self.pseudonym(&author.id),
            name: "Anonymous".into(),
            role: author.role,
        }
    }

    /// The same in the whole room; who knows the epoch and the id can work it out, nobody else.
    pub fn pseudonym(self, id: &str) -> String {
        use sha2::{Digest, Sha256};
        let hash = Sha256::new()
            .chain_update(self.epoch)
            .chain_update([0])
            .chain_update(id)
            .finalize();
        format!("anon-{}", hex(&hash[..6]))
    }
}

pub(crate) const fn sanction_name(what: Sanction) -> &'static str {
    match what {
        Sanction::Mute => "mute",
        Sanction::Timeout => "timeout",
        Sanction::Ban => "ban",
        Sanction::Lift => "lift",
    }
}

/// Stands in for the id of a person who was erased with event `seq`.
pub(crate) fn erased(seq: u64) -> String {
    format!("erased-{seq}")
}

impl Kind {
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Kind::Text(_) => "text",
            Kind::Edit { .. } => "edit",
            Kind::Delete { .. } => "delete",
            Kind::Discard { .. } => "discard",
            Kind::Pin { .. } => "pin",
            Kind::Unpin { .. } => "unpin",
            Kind::Question { .. } => "question",
            Kind::Poll(_) => "poll",
            Kind::Close { .. } => "close",
            Kind::Vote { .. } => "vote",
            Kind::Hand { .. } => "hand",
            Kind::Reactions { .. } => "reactions",
            Kind::Settings { .. } => "settings",
            Kind::Sanction { .. } => "sanction",
            Kind::Report { .. } => "report",
            Kind::Note { .. } => "note",
            Kind::Erase { .. } => "erase",
        }
    }

    pub(crate) const fn target(&self) -> Option<u64> {
        match self {
            Kind::Edit { target, .. }
            | Kind::Delete { target }
            | Kind::Discard { target }
            | Kind::Pin { target, .. }
            | Kind::Unpin { target }
            | Kind::Question { target, .. }
            | Kind::Close { target, .. }
            | Kind::Vote { target, .. }
            | Kind::Report { target, .. } => Some(*target),
            Kind::Note { target, .. } => *target,
            _ => None,
        }
    }

    /// What somebody wrote.
    pub(crate) fn body(&self) -> Option<&str> {
        match self {
            Kind::Text(Text { body, .. })
            | Kind::Edit { body, .. }
            | Kind::Note { body, .. }
            | Kind::Report { body, .. } => body.as_deref(),
            _ => None,
        }
    }

    pub(crate) fn body_mut(&mut self) -> Option<&mut Option<String>> {
        match self {
            Kind::Text(Text { body, .. })
            | Kind::Edit { body, .. }
            | Kind::Note { body, .. }
            | Kind::Report { body, .. } => Some(body),
            _ => None,
        }
    }
}

/// As on the wire.
impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Wire<'a> {
            seq: u64,
            at: MediaTime,
            sent: i64,
            #[serde(skip_serializing_if = "Option::is_none")]
            author: Option<&'a Person>,
            #[serde(flatten)]
            kind: &'a Kind,
            #[serde(skip_serializing_if = "is_not")]
            deleted: bool,
        }
        let deleted = matches!(
            self.kind,
            Kind::Text(Text { body: None, .. }) | Kind::Edit { body: None, .. }
        );
        let wire = Wire {
            seq: self.seq,
            at: self.stamp.at,
            sent: self.sent.unix_millis(),
            author: self.author.as_ref(),
            kind: &self.kind,
            deleted,
        };
        wire.serialize(serializer)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_not(flag: &bool) -> bool {
    !*flag
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ana, text};

    const HEAD: &str =
        r#""at":1234567,"sent":1760000000000,"author":{"id":"ana","name":"ANA","role":"participant"}"#;

    fn json(event: &Event) -> String {
        serde_json::to_string(event).unwrap()
    }

    #[test]
    fn events_on_the_wire() {
        let event = text(57, 1_234_567, "x < 2?");
        assert_eq!(
            json(&event),
            format!(r#"{{"seq":57,{HEAD},"kind":"text","body":"x < 2?"}}"#)
        );
        assert_eq!(
            json(&event.blanked()),
            format!(r#"{{"seq":57,{HEAD},"kind":"text","deleted":true}}"#)
        );
        let delete = Event {
            seq: 58,
            kind: Kind::Delete { target: 57 },
            ..event
        };
        assert_eq!(
            json(&delete),
            format!(r#"{{"seq":58,{HEAD},"kind":"delete","target":57}}"#)
        );
    }

    #[test]
    fn what_is_not_for_everyone_is_not_shown() {
        let knows = Anonymous {
            epoch: "e",
            staff_know: true,
        };
        let mut event = text(1, 0, "who?");
        event.kind = Kind::Text(Text {
            body: Some("who?".into()),
            anonymous: true,
            ..Text::default()
        });
        let public = event.seen(Face::Public, knows);
        assert!(!json(&public).contains("ana") && json(&public).contains("Anonymous"));
        assert_eq!(event.seen(Face::Staff, knows).author, Some(ana()));
        let nobody = Anonymous {
            staff_know: false,
            ..knows
        };
        assert!(!json(&event.seen(Face::Staff, nobody)).contains("ana"));
        assert_ne!(
            knows.pseudonym("ana"),
            Anonymous { epoch: "f", ..knows }.pseudonym("ana")
        );

        let poll = Poll {
            question: "?".into(),
            options: vec!["a".into(), "b".into()],
            multiple: false,
            quiz: true,
            results: Results::Closed,
            closes: None,
            right: Some(vec![1]),
        };
        let quiz = Event {
            kind: Kind::Poll(poll),
            ..event.clone()
        };
        assert!(!json(&quiz.seen(Face::Staff, knows)).contains("right"));
        let pin = Event {
            kind: Kind::Pin {
                target: 1,
                message: Some(Arc::new(event)),
            },
            ..quiz
        };
        let shown = json(&pin.seen(Face::Public, knows));
        assert!(shown.contains("Anonymous") && shown.contains("who?"), "{shown}");
    }

    #[test]
    fn the_length_is_never_guessed_too_short() {
        for body in ["\"\\".repeat(500), "ü".repeat(1_000)] {
            let event = text(u64::MAX, i64::MAX, &body);
            assert!(event.json_bytes() >= json(&event).len());
        }
    }
}
