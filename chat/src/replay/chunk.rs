//! The bytes of the replay: chunks and their index, as players and CDNs get them.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use timeline::{MediaTime, Span};

use super::windows::{Listed, Version, WINDOW, bounds};
use crate::Event;

/// 64 bits of the hash tell the states of one chunk apart.
const HASH_BYTES: usize = 8;

#[derive(Serialize)]
struct Chunk<'a> {
    v: u8,
    n: u64,
    from: MediaTime,
    to: MediaTime,
    events: &'a [Event],
}

#[derive(Serialize)]
struct Index<'a> {
    v: u8,
    epoch: &'a str,
    window: Span,
    chunks: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    n: u64,
    name: &'a str,
    count: u64,
}

/// A window's chunk: `events` are its undeleted texts, ordered by (at, seq). `None` where there are none.
pub fn render(n: u64, events: &[Event]) -> Option<Version> {
    if events.is_empty() {
        return None;
    }
    let (from, to) = bounds(n);
    // Maps with string keys and plain numbers only: this cannot fail.
    let body = serde_json::to_vec(&Chunk {
        v: 1,
        n,
        from,
        to,
        events,
    })
    .unwrap_or_default();
    let hash: String = Sha256::digest(&body)[..HASH_BYTES]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let listed = Listed {
        n,
        name: format!("{n}.{hash}.json"),
        count: events.len() as u64,
    };
    Some(Version {
        listed,
        body: Some(body.into()),
    })
}

pub fn index<'a>(epoch: &str, listed: impl Iterator<Item = &'a Listed>) -> Bytes {
    let entry = |listed: &'a Listed| Entry {
        n: listed.n,
        name: &listed.name,
        count: listed.count,
    };
    let index = Index {
        v: 1,
        epoch,
        window: WINDOW,
        chunks: listed.map(entry).collect(),
    };
    serde_json::to_vec(&index).unwrap_or_default().into()
}

/// Whether an index from the archive lists a chunk.
pub fn lists(index: &[u8], name: &str) -> Result<bool, serde_json::Error> {
    #[derive(Deserialize)]
    struct Read<'a> {
        #[serde(borrow)]
        chunks: Vec<Name<'a>>,
    }
    // Names pass `is_name`: nothing in them is escaped.
    #[derive(Deserialize)]
    struct Name<'a> {
        name: &'a str,
    }
    let index: Read = serde_json::from_slice(index)?;
    Ok(index.chunks.iter().any(|chunk| chunk.name == name))
}

/// `{n}.{hash}.json`, and nothing else: the name becomes part of a key in the archive.
pub fn is_name(name: &str) -> bool {
    let Some((n, rest)) = name.split_once('.') else {
        return false;
    };
    let Some(hash) = rest.strip_suffix(".json") else {
        return false;
    };
    let digits = |s: &str| !s.is_empty() && s.len() <= 19 && s.bytes().all(|b| b.is_ascii_digit());
    let hex =
        |s: &str| s.len() == 2 * HASH_BYTES && s.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    digits(n) && hex(hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, Person, Role};
    use timeline::{Stamp, StampSource, WallTime};

    #[test]
    fn a_chunk_and_its_index() {
        let event = Event {
            seq: 9,
            stamp: Stamp {
                at: MediaTime::from_ticks(2_880_001),
                source: StampSource::Playhead,
            },
            sent: WallTime::from_unix_millis(1_760_000_000_000),
            author: Person {
                id: "p".into(),
                name: "Ana".into(),
                role: Role::Participant,
            },
            kind: Kind::Text {
                body: Some("hi".into()),
            },
        };
        let version = render(1, &[event]).unwrap();
        assert_eq!(
            version.body.as_deref().unwrap(),
            br#"{"v":1,"n":1,"from":2880000,"to":5760000,"events":[{"seq":9,"at":2880001,"sent":1760000000000,"author":{"id":"p","name":"Ana","role":"participant"},"kind":"text","body":"hi"}]}"#
        );
        let name = version.listed.name.clone();
        assert!(is_name(&name), "{name}");
        let index = index("e1", [&version.listed].into_iter());
        let wanted = format!(
            r#"{{"v":1,"epoch":"e1","window":2880000,"chunks":[{{"n":1,"name":"{name}","count":1}}]}}"#
        );
        assert_eq!(index, wanted);
        assert!(lists(&index, &name).unwrap());
        assert!(!lists(&index, "1.0123456789abcdef.json").unwrap());
        assert!(lists(b"{}", &name).is_err());
        assert_eq!(render(1, &[]), None);
    }

    #[test]
    fn names_lead_nowhere_else() {
        for bad in [
            "",
            "index.json",
            "0.json",
            "../0.0123456789abcdef.json",
            "0.0123456789abcdeF.json",
            "0.0123.json",
        ] {
            assert!(!is_name(bad), "{bad}");
        }
        assert!(is_name("0.0123456789abcdef.json"));
    }
}
