//! The room's wire: JSON text frames. `docs/room-protocol.md` says it in words.

use std::borrow::Cow;
use std::sync::Arc;

use axum::extract::ws::Utf8Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use timeline::{Line, MediaTime, WallTime};

use crate::event::Held;
use crate::room::{Action, Refused, Resume};
use crate::{Event, Person};

/// A frame of a client. 16 KiB hold the longest body with every character escaped.
pub const MAX_FRAME_BYTES: usize = 16 * 1024;

/// A frame of the server with events. A single event is far smaller.
pub const PAGE_BYTES: usize = 64 * 1024;

/// The names that clients give their messages. A UUID has 36 characters.
const MAX_REF_BYTES: usize = 64;

/// What a client says.
#[derive(Debug, PartialEq)]
pub enum FromClient {
    Join {
        token: Option<String>,
        resume: Option<Resume>,
    },
    Ask {
        reference: String,
        action: Action,
    },
    Roster {
        reference: String,
    },
    Ping {
        reference: Option<String>,
    },
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ToClient<'a> {
    Joined {
        epoch: &'a str,
        /// The first event that this answer covers, …
        from: u64,
        /// … and the last.
        seq: u64,
        you: &'a Person,
        now: i64,
        line: LineState,
        limits: Limits,
        state: &'a Value,
        events: &'a [Seen<'a>],
        resumed: bool,
    },
    Events {
        from: u64,
        to: u64,
        events: &'a [Seen<'a>],
    },
    Ack {
        #[serde(rename = "ref")]
        reference: &'a str,
        seq: Option<u64>,
        at: Option<MediaTime>,
        #[serde(skip_serializing_if = "Option::is_none")]
        held: Option<Held>,
    },
    Refused {
        #[serde(rename = "ref")]
        reference: Option<&'a str>,
        #[serde(flatten)]
        refused: &'a Refused,
    },
    Gap {
        from: u64,
        to: u64,
    },
    Tally {
        tallies: Value,
    },
    Provisional {
        id: &'a str,
        event: Value,
    },
    Settled {
        id: &'a str,
        seq: Option<u64>,
    },
    Line(LineState),
    Presence {
        count: usize,
    },
    Roster {
        #[serde(rename = "ref")]
        reference: &'a str,
        #[serde(flatten)]
        roster: &'a Roster,
    },
    Pong {
        #[serde(rename = "ref")]
        reference: Option<&'a str>,
        now: i64,
    },
}

/// An event as its reader sees it.
pub type Seen<'a> = Cow<'a, Event>;

/// Who is here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Roster {
    pub count: usize,
    pub people: Vec<Here>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Here {
    pub person: Person,
    /// Unix ms.
    pub since: i64,
}

/// Events in frames of a size that every buffer on the way can hold. There is at least one, perhaps empty.
pub fn pages(events: &[Arc<Event>]) -> Vec<&[Arc<Event>]> {
    let mut pages = Vec::new();
    let (mut rest, mut size, mut len) = (events, 0, 0);
    for event in events {
        let bytes = event.json_bytes();
        if len > 0 && size + bytes > PAGE_BYTES {
            let (page, after) = rest.split_at(len);
            pages.push(page);
            (rest, size, len) = (after, 0, 0);
        }
        (size, len) = (size + bytes, len + 1);
    }
    pages.push(rest);
    pages
}

/// Where the line stands, in the wire's units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LineState {
    state: &'static str,
    /// Unix ms.
    origin: Option<i64>,
    duration: Option<MediaTime>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Limits {
    /// Unicode scalar values.
    pub body: usize,
    /// So many messages …
    pub messages: u32,
    /// … in so many seconds.
    pub per_seconds: f64,
}

/// Why a connection is closed. 4000 and above are ours (RFC 6455, 7.4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// The server stops.
    GoingAway,
    /// No place is left: come back later (RFC 6455's registry, 1013).
    TryAgainLater,
    Malformed,
    Unauthorized,
    Forbidden,
    Unknown,
    SlowReader,
    TooBig,
    TooMany,
    Banned,
}

impl FromClient {
    /// What a frame says. On failure, the name of the message that was not understood, if it has one.
    pub fn read(text: &str) -> Result<FromClient, (Option<String>, Refused)> {
        let refuse = |error: serde_json::Error| {
            // The message of serde may quote a body: only where it failed is told.
            let place = format!("not a frame of this room's protocol (column {})", error.column());
            (reference_of(text), Refused::malformed(place))
        };
        let head: Head = serde_json::from_str(text).map_err(refuse)?;
        let frame = match &*head.kind {
            "join" => {
                let Join { token, resume } = serde_json::from_str(text).map_err(refuse)?;
                FromClient::Join { token, resume }
            }
            "ping" => FromClient::Ping {
                reference: head.reference,
            },
            "roster" => FromClient::Roster {
                reference: head.reference.ok_or_else(nameless)?,
            },
            _ => {
                let action = serde_json::from_str(text).map_err(refuse)?;
                FromClient::Ask {
                    reference: head.reference.ok_or_else(nameless)?,
                    action,
                }
            }
        };
        match frame.reference() {
            Some(reference) if !is_name(reference) => {
                let limit = format!("a ref is 1 to {MAX_REF_BYTES} bytes, without control characters");
                Err((None, Refused::malformed(limit)))
            }
            _ => Ok(frame),
        }
    }

    fn reference(&self) -> Option<&str> {
        match self {
            FromClient::Join { .. } => None,
            FromClient::Ask { reference, .. } | FromClient::Roster { reference } => Some(reference),
            FromClient::Ping { reference } => reference.as_deref(),
        }
    }
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(rename = "ref")]
    reference: Option<String>,
}

#[derive(Deserialize)]
struct Join {
    token: Option<String>,
    resume: Option<Resume>,
}

/// Not every database keeps control characters.
fn is_name(reference: &str) -> bool {
    (1..=MAX_REF_BYTES).contains(&reference.len()) && !reference.contains(char::is_control)
}

fn nameless() -> (Option<String>, Refused) {
    (None, Refused::malformed("a ref is needed"))
}

fn reference_of(text: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct OnlyRef {
        #[serde(rename = "ref")]
        reference: String,
    }
    let only = serde_json::from_str::<OnlyRef>(text).ok()?;
    (only.reference.len() <= MAX_REF_BYTES).then_some(only.reference)
}

/// A program date-time as players give it: Unix ms, perhaps with a fraction. What lies outside 1970 to 2100 is
/// moved to the nearer end, so that no later sum overflows; the stamp clamps it to the line anyway.
pub fn playing_time(unix_ms: f64) -> WallTime {
    const YEAR_2100: f64 = 4_102_444_800_000.0;
    // To the microsecond, which such a number still holds exactly.
    WallTime::from_unix_nanos((unix_ms.clamp(0.0, YEAR_2100) * 1e3).round() as i64 * 1_000)
}

impl ToClient<'_> {
    pub fn to_text(&self) -> Utf8Bytes {
        // Maps with string keys and plain numbers only: this cannot fail.
        serde_json::to_string(self).unwrap_or_default().into()
    }
}

impl From<&Line> for LineState {
    fn from(line: &Line) -> Self {
        let (state, duration) = match line {
            Line::Waiting => ("waiting", None),
            Line::Live { .. } => ("live", None),
            Line::Ended { duration, .. } => ("ended", Some(*duration)),
        };
        let origin = line.timeline().map(|timeline| timeline.origin().unix_millis());
        LineState {
            state,
            origin,
            duration,
        }
    }
}

impl Close {
    pub const fn code(self) -> u16 {
        match self {
            Close::GoingAway => 1001,
            Close::TryAgainLater => 1013,
            Close::Malformed => 4000,
            Close::Unauthorized => 4001,
            Close::Forbidden | Close::Banned => 4003,
            Close::Unknown => 4004,
            Close::SlowReader => 4008,
            Close::TooBig => 4009,
            Close::TooMany => 4010,
        }
    }

    pub const fn reason(self) -> &'static str {
        match self {
            Close::GoingAway => "the server stops",
            Close::TryAgainLater => "the room is full",
            Close::Malformed => "malformed",
            Close::Unauthorized => "unauthorized",
            Close::Forbidden => "forbidden",
            Close::Unknown => "unknown broadcast",
            Close::SlowReader => "slow reader",
            Close::TooBig => "message too big",
            Close::TooMany => "too many messages",
            Close::Banned => "banned",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;
    use crate::room::{Code, Say};
    use serde_json::json;
    use timeline::Timeline;

    #[test]
    fn frames_of_clients() {
        let read = |text: &str| FromClient::read(text).unwrap();
        assert_eq!(
            read(r#"{"type":"join"}"#),
            FromClient::Join {
                token: None,
                resume: None
            }
        );
        assert_eq!(
            read(r#"{"type":"join","token":"t","resume":{"epoch":"e","seq":57}}"#),
            FromClient::Join {
                token: Some("t".into()),
                resume: Some(Resume {
                    epoch: "e".into(),
                    seq: 57
                })
            }
        );
        let ask = |reference: &str, action| FromClient::Ask {
            reference: reference.into(),
            action,
        };
        let say = |playing| {
            ask(
                "c1",
                Action::Say(Say {
                    body: "hi".into(),
                    playing,
                    ..Say::default()
                }),
            )
        };
        assert_eq!(
            read(r#"{"type":"say","ref":"c1","body":"hi","playing":17600.25}"#),
            say(Some(17600.25))
        );
        assert_eq!(
            read(r#"{"type":"say","ref":"c1","body":"hi","playing":17600}"#),
            say(Some(17600.0))
        );
        assert_eq!(
            read(r#"{"type":"say","ref":"c1","body":"hi","playing":null}"#),
            say(None)
        );
        assert_eq!(read(r#"{"type":"say","ref":"c1","body":"hi"}"#), say(None));
        assert_eq!(
            read(r#"{"type":"delete","ref":"c2","seq":57}"#),
            ask("c2", Action::Delete { seq: 57 })
        );
        assert_eq!(
            read(r#"{"type":"vote","ref":"c3","target":5,"choices":[0,2]}"#),
            ask(
                "c3",
                Action::Vote {
                    target: 5,
                    choices: vec![0, 2]
                }
            )
        );
        assert_eq!(
            read(r#"{"type":"roster","ref":"c4"}"#),
            FromClient::Roster {
                reference: "c4".into()
            }
        );
        assert_eq!(read(r#"{"type":"ping"}"#), FromClient::Ping { reference: None });
    }

    #[test]
    fn what_is_no_frame_is_refused_by_name() {
        let refused = |text: &str| FromClient::read(text).unwrap_err();
        for bad in [
            "",
            "{",
            "[]",
            "null",
            r#"{"type":"dance"}"#,
            r#"{"type":"erase","person":"p"}"#,
            r#"{"type":"say","body":"secret"}"#,
            "\u{0}",
        ] {
            let (reference, refused) = refused(bad);
            assert_eq!((reference, refused.code), (None, Code::Malformed));
            assert!(!refused.message.contains("secret"));
        }
        let (reference, _) = refused(r#"{"type":"delete","ref":"c7","seq":-1}"#);
        assert_eq!(reference.as_deref(), Some("c7"));
        assert!(FromClient::read(&format!(r#"{{"type":"ping","ref":"{}"}}"#, "x".repeat(65))).is_err());
        assert!(FromClient::read(&"[".repeat(MAX_FRAME_BYTES)).is_err());
    }

    #[test]
    fn frames_of_the_server() {
        let you = Person {
            id: "p".into(),
            name: "Ana".into(),
            role: Role::Host,
        };
        let timeline = Timeline::starting(WallTime::from_unix_millis(1_000));
        let joined = ToClient::Joined {
            epoch: "e",
            from: 1,
            seq: 3,
            you: &you,
            now: 5,
            line: (&Line::Live { timeline }).into(),
            limits: Limits {
                body: 1000,
                messages: 5,
                per_seconds: 5.0,
            },
            state: &json!({}),
            events: &[],
            resumed: false,
        };
        assert_eq!(
            joined.to_text().as_str(),
            r#"{"type":"joined","epoch":"e","from":1,"seq":3,"you":{"id":"p","name":"Ana","role":"host"},"now":5,"line":{"state":"live","origin":1000,"duration":null},"limits":{"body":1000,"messages":5,"per_seconds":5.0},"state":{},"events":[],"resumed":false}"#
        );
        let line = Line::Ended {
            timeline,
            duration: MediaTime::from_ticks(90),
        };
        assert_eq!(
            ToClient::Line((&line).into()).to_text().as_str(),
            r#"{"type":"line","state":"ended","origin":1000,"duration":90}"#
        );
        let refused = Refused {
            retry_after_ms: Some(7),
            ..Refused::new(Code::TooLong, "no")
        };
        assert_eq!(
            ToClient::Refused {
                reference: None,
                refused: &refused
            }
            .to_text()
            .as_str(),
            r#"{"type":"refused","ref":null,"code":"too_long","message":"no","retry_after_ms":7}"#
        );
        assert_eq!(
            ToClient::Ack {
                reference: "c1",
                seq: Some(1),
                at: Some(MediaTime::from_ticks(2)),
                held: None,
            }
            .to_text()
            .as_str(),
            r#"{"type":"ack","ref":"c1","seq":1,"at":2}"#
        );
    }

    #[test]
    fn many_events_come_in_several_frames() {
        let event = |seq| Arc::new(crate::testing::text(seq, 0, &"\"".repeat(5_000)));
        let events: Vec<_> = (1..=40).map(event).collect();
        let pages = super::pages(&events);
        assert_eq!(pages.concat(), events);
        assert!(pages.len() > 1);
        for page in pages {
            let events: Vec<_> = page.iter().map(|event| Cow::Borrowed(&**event)).collect();
            let text = ToClient::Events {
                from: 1,
                to: 40,
                events: &events,
            }
            .to_text();
            assert!(!page.is_empty() && text.len() <= PAGE_BYTES + 100);
        }
        assert_eq!(super::pages(&[]), [&[] as &[_]]);
    }

    #[test]
    fn any_playing_time_is_a_time() {
        for ms in [f64::MIN, -1.0, 0.5, 1e300, f64::INFINITY, f64::NAN] {
            let time = playing_time(ms);
            assert!((0..=4_102_444_800_000).contains(&time.unix_millis()));
        }
        assert_eq!(
            playing_time(1_760_000_000_000.5).unix_nanos(),
            1_760_000_000_000_500_000
        );
    }
}
