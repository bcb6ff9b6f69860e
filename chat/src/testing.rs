//! Events and people for tests.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use timeline::{MediaTime, Stamp, StampSource, WallTime};

use crate::event::{Audience, Text};
use crate::room::{Accepted, Touches};
use crate::{Event, Kind, Person, Role};

pub fn person(id: &str, role: Role) -> Person {
    Person {
        id: id.into(),
        name: id.to_uppercase(),
        role,
    }
}

pub fn ana() -> Person {
    person("ana", Role::Participant)
}

/// Ana's, for everyone.
pub fn event(seq: u64, kind: Kind) -> Event {
    Event {
        seq,
        stamp: Stamp {
            at: MediaTime::from_ticks(seq as i64 * 90),
            source: StampSource::Playhead,
        },
        sent: WallTime::from_unix_millis(1_760_000_000_000),
        author: Some(ana()),
        audience: Audience::Everyone,
        kind,
    }
}

pub fn by(author: Person, event: Event) -> Event {
    Event {
        author: Some(author),
        ..event
    }
}

pub fn text(seq: u64, ticks: i64, body: &str) -> Event {
    let text = Text {
        body: Some(body.into()),
        ..Text::default()
    };
    let stamp = Stamp {
        at: MediaTime::from_ticks(ticks),
        source: StampSource::Playhead,
    };
    Event {
        stamp,
        ..event(seq, Kind::Text(text))
    }
}

/// On its way to the record. A delete takes the text at its own place out.
pub fn accepted(event: Event) -> Accepted {
    let purges = matches!(event.kind, Kind::Delete { .. });
    let amends = match event.kind {
        Kind::Delete { target } => vec![text(target, event.at().ticks(), "").blanked()],
        _ => Vec::new(),
    };
    Accepted {
        reference: format!("c{}", event.seq),
        touches: Touches {
            from: event.at(),
            to: event.at(),
            purges,
        },
        amends,
        files: Vec::new(),
        audit: None,
        event,
    }
}
