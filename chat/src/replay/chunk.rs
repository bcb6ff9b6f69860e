//! The bytes of the replay: chunks and their index, as players and CDNs get them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use timeline::{MediaTime, Span};

use super::windows::{Listed, Version, WINDOW, bounds};
use crate::event::{Anonymous, Face};
use crate::hex::hex;
use crate::room::{Reader, State};
use crate::settings::ReplayNames;
use crate::{Event, Kind, Person};

/// 64 bits of the hash tell the states of one chunk apart.
const HASH_BYTES: usize = 8;

#[derive(Serialize)]
struct Chunk<'a> {
    v: u8,
    n: u64,
    from: MediaTime,
    to: MediaTime,
    state: &'a Value,
    events: &'a [Value],
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

/// How people are called in a replay.
pub struct Names<'a> {
    pub anonymous: Anonymous<'a>,
    pub how: ReplayNames,
    /// Who came as the how-manieth, for pseudonyms.
    pub order: HashMap<String, usize>,
}

/// A window's chunk. `state` is how the room stood at its beginning, `events` what happened in it for everyone, with
/// the votes between, ordered by (at, seq). `None` where nothing did.
pub fn render(n: u64, state: &State, events: &[Event], names: &Names) -> Option<Version> {
    let mut shown = shown(state, events, names);
    if shown.is_empty() {
        return None;
    }
    let (from, to) = bounds(n);
    let reader = Reader {
        face: Face::Public,
        person: None,
        anonymous: names.anonymous,
    };
    let mut standing = state.standing(reader);
    names.mask(&mut standing);
    shown.iter_mut().for_each(|event| names.mask(event));
    let chunk = Chunk {
        v: 2,
        n,
        from,
        to,
        state: &standing,
        events: &shown,
    };
    // Maps with string keys and plain numbers only: this cannot fail.
    let body = serde_json::to_vec(&chunk).unwrap_or_default();
    let hash = hex(&Sha256::digest(&body)[..HASH_BYTES]);
    let count = events.iter().filter(|event| event.text().is_some()).count() as u64;
    let listed = Listed {
        n,
        name: format!("{n}.{hash}.json"),
        count,
    };
    Some(Version {
        listed,
        body: Some(body.into()),
    })
}

/// The events as everyone sees them; votes are summed, at most once a second for each thing that is voted on.
fn shown(state: &State, events: &[Event], names: &Names) -> Vec<Value> {
    let mut state = state.clone();
    let mut shown = Vec::new();
    let mut tallied: BTreeMap<u64, usize> = BTreeMap::new();
    for event in events {
        if event.stands() {
            state.apply(&Arc::new(event.clone()));
        }
        match &event.kind {
            Kind::Vote { target, .. } => {
                let Some(tally) = tally(&state, *target, event) else {
                    continue;
                };
                let second = |event: &Value| event["at"].as_i64().map(|at| at / SECOND.ticks());
                match tallied.get(target).and_then(|index| shown.get_mut(*index)) {
                    Some(last) if second(last) == second(&tally) => *last = tally,
                    _ => {
                        tallied.insert(*target, shown.len());
                        shown.push(tally);
                    }
                }
            }
            // The texts are as they were edited, and without those that were deleted.
            Kind::Edit { .. } | Kind::Delete { .. } | Kind::Discard { .. } | Kind::Erase { .. } => {}
            Kind::Pin { message: None, .. } => {}
            _ => shown.push(json!(event.seen(Face::Public, names.anonymous))),
        }
    }
    shown
}

const SECOND: Span = Span::from_millis(1_000);

fn tally(state: &State, target: u64, event: &Event) -> Option<Value> {
    let tally = state.tally(target)?;
    let is_shown = state
        .polls
        .get(&target)
        .is_none_or(|ballot| ballot.is_counted_for(Face::Public));
    Some(json!({
        "seq": event.seq,
        "at": event.at(),
        "sent": event.sent.unix_millis(),
        "kind": "tally",
        "target": target,
        "counts": is_shown.then_some(tally.counts),
        "voters": tally.voters,
    }))
}

impl Names<'_> {
    /// Everybody in it who is not staff gets the name that the replay has for them.
    fn mask(&self, value: &mut Value) {
        if self.how == ReplayNames::Names {
            return;
        }
        match value {
            Value::Object(fields) if is_person(fields) => {
                if let Ok(person) = serde_json::from_value::<Person>(Value::Object(fields.clone())) {
                    *value = json!(self.of(&person));
                }
            }
            Value::Object(fields) => {
                if let Some(Value::Array(mentions)) = fields.get_mut("mentions") {
                    mentions.clear();
                }
                fields.values_mut().for_each(|field| self.mask(field));
            }
            Value::Array(values) => values.iter_mut().for_each(|value| self.mask(value)),
            _ => {}
        }
    }

    /// Staff keep their names.
    pub fn of(&self, person: &Person) -> Person {
        if person.role.moderates() {
            return person.clone();
        }
        let number = self.order.get(&person.id).map_or(0, |index| index + 1);
        match self.how {
            ReplayNames::Names => person.clone(),
            ReplayNames::Pseudonyms if number > 0 => Person {
                id: format!("s{number}"),
                name: format!("Student {number}"),
                role: person.role,
            },
            // Anonymous ones have a pseudonym already.
            ReplayNames::Pseudonyms => person.clone(),
            ReplayNames::None => Person {
                id: String::new(),
                name: String::new(),
                role: person.role,
            },
        }
    }
}

fn is_person(fields: &serde_json::Map<String, Value>) -> bool {
    fields.len() == 3
        && ["id", "name", "role"]
            .iter()
            .all(|name| fields.contains_key(*name))
}

pub fn index<'a>(epoch: &str, listed: impl Iterator<Item = &'a Listed>) -> Bytes {
    let entry = |listed: &'a Listed| Entry {
        n: listed.n,
        name: &listed.name,
        count: listed.count,
    };
    let index = Index {
        v: 2,
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
    use crate::event::{Poll, Results};
    use crate::testing::{by, event, person, text};
    use crate::{Role, Settings};

    fn names(how: ReplayNames) -> Names<'static> {
        let order = [("bo".to_owned(), 0), ("ana".to_owned(), 1)].into();
        Names {
            anonymous: Anonymous {
                epoch: "e",
                staff_know: true,
            },
            how,
            order,
        }
    }

    fn json_of(version: &Version) -> Value {
        serde_json::from_slice(version.body.as_deref().unwrap()).unwrap()
    }

    #[test]
    fn a_chunk_and_its_index() {
        let event = text(9, 2_880_001, "hi");
        let version = render(1, &State::default(), &[event], &names(ReplayNames::Names)).unwrap();
        let chunk = json_of(&version);
        assert_eq!(
            (&chunk["n"], &chunk["from"], &chunk["to"]),
            (&json!(1), &json!(2_880_000), &json!(5_760_000))
        );
        assert_eq!(chunk["events"][0]["body"], "hi");
        assert_eq!(chunk["state"]["settings"], json!(Settings::default()));
        assert_eq!(chunk["state"].get("staff"), None);
        let name = version.listed.name.clone();
        assert!(is_name(&name), "{name}");
        let index = index("e1", [&version.listed].into_iter());
        let wanted = format!(
            r#"{{"v":2,"epoch":"e1","window":2880000,"chunks":[{{"n":1,"name":"{name}","count":1}}]}}"#
        );
        assert_eq!(index, wanted);
        assert!(lists(&index, &name).unwrap());
        assert!(!lists(&index, "1.0123456789abcdef.json").unwrap());
        assert!(lists(b"{}", &name).is_err());
        assert_eq!(
            render(1, &State::default(), &[], &names(ReplayNames::Names)),
            None
        );
    }

    #[test]
    fn votes_are_told_once_a_second() {
        let poll = |results| {
            let options = vec!["a".into(), "b".into()];
            let (multiple, quiz, closes, right) = (false, true, None, Some(vec![1]));
            let question = "which?".into();
            event(
                1,
                Kind::Poll(Poll {
                    question,
                    options,
                    multiple,
                    quiz,
                    results,
                    closes,
                    right,
                }),
            )
        };
        let vote = |seq: u64, who: &str, ticks: i64| {
            let mut vote = by(
                person(who, Role::Participant),
                event(
                    seq,
                    Kind::Vote {
                        target: 1,
                        choices: vec![0],
                    },
                ),
            );
            vote.stamp.at = MediaTime::from_ticks(ticks);
            vote
        };
        let votes = [vote(2, "a", 100), vote(3, "b", 80_000), vote(4, "c", 90_100)];
        let told = |results| {
            let events: Vec<_> = [poll(results)].into_iter().chain(votes.clone()).collect();
            json_of(&render(0, &State::default(), &events, &names(ReplayNames::Names)).unwrap())
        };
        let live = told(Results::Live);
        let kinds: Vec<_> = live["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| (e["kind"].clone(), e["voters"].clone()))
            .collect();
        assert_eq!(
            kinds,
            [
                (json!("poll"), Value::Null),
                (json!("tally"), json!(2)),
                (json!("tally"), json!(3))
            ]
        );
        assert_eq!(live["events"][2]["counts"], json!([3, 0]));
        assert_eq!(told(Results::Closed)["events"][2]["counts"], Value::Null);
        assert!(!live.to_string().contains("right\":["), "{live}");
    }

    #[test]
    fn names_can_be_left_out() {
        let staff = by(person("prof", Role::Host), text(2, 20, "welcome"));
        let events = [text(1, 10, "hi"), staff];
        let chunk =
            |how| json_of(&render(0, &State::default(), &events, &names(how)).unwrap())["events"].clone();
        let pseudonyms = chunk(ReplayNames::Pseudonyms);
        assert_eq!(
            pseudonyms[0]["author"],
            json!({"id": "s2", "name": "Student 2", "role": "participant"})
        );
        assert_eq!(pseudonyms[1]["author"]["name"], "PROF");
        assert_eq!(chunk(ReplayNames::None)[0]["author"]["name"], "");
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
