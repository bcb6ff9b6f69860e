//! The room's wire: JSON text frames. `docs/room-protocol.md` says it in words.

use std::sync::Arc;

use axum::extract::ws::Utf8Bytes;
use serde::{Deserialize, Serialize};
use timeline::{Line, MediaTime, WallTime};

use crate::room::{Refused, Resume};
use crate::{Event, Person};

/// A frame of a client. 16 KiB hold the longest body with every character escaped.
pub const MAX_FRAME_BYTES: usize = 16 * 1024;

/// A frame of the server with events. A single event is far smaller.
pub const PAGE_BYTES: usize = 64 * 1024;

/// The names that clients give their messages. A UUID has 36 characters.
const MAX_REF_BYTES: usize = 64;

#[derive(Debug, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum FromClient {
    Join {
        token: Option<String>,
        resume: Option<Resume>,
    },
    Say {
        #[serde(rename = "ref")]
        reference: String,
        body: String,
        /// Unix ms of the picture the writer was watching.
        playing: Option<f64>,
    },
    Delete {
        #[serde(rename = "ref")]
        reference: String,
        seq: u64,
    },
    Ping {
        #[serde(rename = "ref")]
        reference: Option<String>,
    },
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ToClient<'a> {
    Joined {
        epoch: &'a str,
        /// The last event that this answer covers.
        seq: u64,
        you: &'a Person,
        now: i64,
        line: LineState,
        limits: Limits,
        events: &'a [Arc<Event>],
        resumed: bool,
    },
    Events {
        events: &'a [Arc<Event>],
    },
    Ack {
        #[serde(rename = "ref")]
        reference: &'a str,
        seq: u64,
        at: MediaTime,
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
    Line(LineState),
    Presence {
        count: usize,
    },
    Pong {
        #[serde(rename = "ref")]
        reference: Option<&'a str>,
        now: i64,
    },
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
}

impl FromClient {
    /// What a frame says. On failure, the name of the message that was not understood, if it has one.
    pub fn read(text: &str) -> Result<FromClient, (Option<String>, Refused)> {
        let frame = serde_json::from_str::<FromClient>(text).map_err(|error| {
            // The message of serde may quote a body: only where it failed is told.
            let place = format!("not a frame of this room's protocol (column {})", error.column());
            (reference_of(text), Refused::malformed(place))
        })?;
        match frame.reference() {
            Some(reference) if reference.is_empty() || reference.len() > MAX_REF_BYTES => {
                let limit = format!("a ref is 1 to {MAX_REF_BYTES} bytes");
                Err((None, Refused::malformed(limit)))
            }
            _ => Ok(frame),
        }
    }

    fn reference(&self) -> Option<&str> {
        match self {
            FromClient::Join { .. } => None,
            FromClient::Say { reference, .. } | FromClient::Delete { reference, .. } => Some(reference),
            FromClient::Ping { reference } => reference.as_deref(),
        }
    }
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
            Close::Forbidden => 4003,
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
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;
    use crate::room::Code;
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
        let say = |playing| FromClient::Say {
            reference: "c1".into(),
            body: "hi".into(),
            playing,
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
            FromClient::Delete {
                reference: "c2".into(),
                seq: 57
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
            seq: 3,
            you: &you,
            now: 5,
            line: (&Line::Live { timeline }).into(),
            limits: Limits {
                body: 1000,
                messages: 5,
                per_seconds: 5.0,
            },
            events: &[],
            resumed: false,
        };
        assert_eq!(
            joined.to_text().as_str(),
            r#"{"type":"joined","epoch":"e","seq":3,"you":{"id":"p","name":"Ana","role":"host"},"now":5,"line":{"state":"live","origin":1000,"duration":null},"limits":{"body":1000,"messages":5,"per_seconds":5.0},"events":[],"resumed":false}"#
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
                seq: 1,
                at: MediaTime::from_ticks(2)
            }
            .to_text()
            .as_str(),
            r#"{"type":"ack","ref":"c1","seq":1,"at":2}"#
        );
    }

    #[test]
    fn many_events_come_in_several_frames() {
        let event = |seq| {
            Arc::new(Event {
                seq,
                stamp: timeline::Stamp {
                    at: MediaTime::ZERO,
                    source: timeline::StampSource::Server,
                },
                sent: WallTime::default(),
                author: Person {
                    id: "p".into(),
                    name: "Ana".into(),
                    role: Role::Host,
                },
                kind: crate::Kind::Text {
                    body: Some("\"".repeat(5_000)),
                },
            })
        };
        let events: Vec<_> = (1..=40).map(event).collect();
        let pages = super::pages(&events);
        assert_eq!(pages.concat(), events);
        assert!(pages.len() > 1);
        for page in pages {
            assert!(
                !page.is_empty() && ToClient::Events { events: page }.to_text().len() <= PAGE_BYTES + 100
            );
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
