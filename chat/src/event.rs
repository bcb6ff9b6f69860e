//! What happens in a room. Everything that changes it is an event with a `seq` of its own, so that who resumes
//! by it misses nothing.

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use timeline::{MediaTime, Stamp, WallTime};

/// Someone in a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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
    pub author: Person,
    pub kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Without a body: it was deleted.
    Text {
        body: Option<String>,
    },
    Delete {
        target: u64,
    },
}

impl Role {
    pub const fn moderates(self) -> bool {
        matches!(self, Role::Host | Role::Moderator)
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

    /// About how long it is in JSON, never less: in a text only quotation marks and backslashes are escaped.
    pub(crate) fn json_bytes(&self) -> usize {
        /// The field names, four numbers, the role.
        const FRAME: usize = 256;
        let body = match &self.kind {
            Kind::Text { body: Some(body) } => body.len(),
            _ => 0,
        };
        FRAME + 2 * (body + self.author.name.len()) + 6 * self.author.id.len()
    }

    /// The same, its text gone.
    pub(crate) fn deleted(&self) -> Event {
        Event {
            kind: Kind::Text { body: None },
            ..self.clone()
        }
    }
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("seq", &self.seq)?;
        map.serialize_entry("at", &self.stamp.at)?;
        map.serialize_entry("sent", &self.sent.unix_millis())?;
        map.serialize_entry("author", &self.author)?;
        match &self.kind {
            Kind::Text { body: Some(body) } => {
                map.serialize_entry("kind", "text")?;
                map.serialize_entry("body", body)?;
            }
            Kind::Text { body: None } => {
                map.serialize_entry("kind", "text")?;
                map.serialize_entry("deleted", &true)?;
            }
            Kind::Delete { target } => {
                map.serialize_entry("kind", "delete")?;
                map.serialize_entry("target", target)?;
            }
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use timeline::StampSource;

    #[test]
    fn events_on_the_wire() {
        let text = Event {
            seq: 57,
            stamp: Stamp {
                at: MediaTime::from_ticks(1_234_567),
                source: StampSource::Playhead,
            },
            sent: WallTime::from_unix_millis(1_760_000_000_000),
            author: Person {
                id: "p1".into(),
                name: "Ana".into(),
                role: Role::Participant,
            },
            kind: Kind::Text {
                body: Some("x < 2?".into()),
            },
        };
        let json = |event: &Event| serde_json::to_string(event).unwrap();
        let head =
            r#""at":1234567,"sent":1760000000000,"author":{"id":"p1","name":"Ana","role":"participant"}"#;
        assert_eq!(
            json(&text),
            format!(r#"{{"seq":57,{head},"kind":"text","body":"x < 2?"}}"#)
        );
        assert_eq!(
            json(&text.deleted()),
            format!(r#"{{"seq":57,{head},"kind":"text","deleted":true}}"#)
        );
        let delete = Event {
            seq: 58,
            kind: Kind::Delete { target: 57 },
            ..text
        };
        assert_eq!(
            json(&delete),
            format!(r#"{{"seq":58,{head},"kind":"delete","target":57}}"#)
        );
    }
}
