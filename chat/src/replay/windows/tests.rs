use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::Event;
use crate::event::Anonymous;
use crate::replay::chunk;
use crate::room::State;
use crate::settings::ReplayNames;

const END: MediaTime = MediaTime::from_ticks(i64::MAX);

fn text(seq: u64, at: MediaTime) -> Event {
    crate::testing::text(seq, at.ticks(), &format!("text {seq}"))
}

fn render(n: u64, texts: &[Event]) -> Option<Version> {
    let anonymous = Anonymous {
        epoch: "e",
        staff_know: true,
    };
    let names = chunk::Names {
        anonymous,
        how: ReplayNames::Names,
        order: HashMap::new(),
    };
    chunk::render(n, &State::default(), texts, &names)
}

/// A record, an archive and the windows between them, in memory.
struct World {
    windows: Windows,
    record: Vec<Event>,
    archive: BTreeMap<String, Bytes>,
    /// The names that the index in the archive lists.
    index: Vec<Listed>,
    /// What the record was told of each window.
    told: BTreeMap<u64, Sealed>,
    deleted: Vec<u64>,
    now: WallTime,
}

impl World {
    fn new() -> World {
        World {
            windows: Windows::default(),
            record: Vec::new(),
            archive: BTreeMap::new(),
            index: Vec::new(),
            told: BTreeMap::new(),
            deleted: Vec::new(),
            now: WallTime::from_unix_millis(1_000_000),
        }
    }

    fn next_seq(&self) -> u64 {
        (self.record.len() + self.deleted.len()) as u64 + 1
    }

    fn say(&mut self, at: MediaTime) {
        let seq = self.next_seq();
        self.record.push(text(seq, at));
        self.windows.change(number(at)..=number(at), seq, false);
    }

    fn delete(&mut self, index: usize) {
        let left: Vec<_> = self
            .record
            .iter()
            .filter(|e| !self.deleted.contains(&e.seq))
            .collect();
        if left.is_empty() {
            return;
        }
        let (target, at) = (left[index % left.len()].seq, left[index % left.len()].at());
        let seq = self.next_seq();
        self.deleted.push(target);
        self.windows.change(number(at)..=number(at), seq, true);
    }

    /// The undeleted texts of a window, as the record has them.
    fn texts(&self, n: u64) -> Vec<Event> {
        let inside = |e: &&Event| number(e.at()) == n && !self.deleted.contains(&e.seq);
        let mut texts: Vec<_> = self.record.iter().filter(inside).cloned().collect();
        texts.sort_by_key(|e| (e.at(), e.seq));
        texts
    }

    fn render(&mut self) {
        for stale in self.windows.stale() {
            let version = render(stale.n, &self.texts(stale.n));
            self.windows.rendered(stale, version, self.now);
        }
    }

    fn seal(&mut self, edge: MediaTime) {
        self.seal_some(edge, usize::MAX);
    }

    /// Seals until one of its steps fails, the one after `steps`. A failed one was done all the same, or not.
    fn seal_some(&mut self, edge: MediaTime, steps: usize) -> Option<()> {
        let mut left = steps;
        let mut step = || (left > 0).then(|| left -= 1);
        let is_done_all_the_same = steps.is_multiple_of(2);
        for name in self.windows.owed().doomed().to_vec() {
            step()?;
            self.archive.remove(&name);
            self.windows.owed_mut().deleted(&name);
        }
        for unsealed in self.windows.unsealed(edge) {
            self.windows.sealing(&unsealed);
            let is_done = step();
            if let Some(Version {
                listed,
                body: Some(body),
            }) = &unsealed.version
                && (is_done.is_some() || is_done_all_the_same)
            {
                self.archive.insert(listed.name.clone(), body.clone());
            }
            is_done?;
            self.windows.sealed(&unsealed);
        }
        if self.windows.owed().is_index_due() {
            let is_done = step();
            if is_done.is_some() || is_done_all_the_same {
                self.index = self.windows.archived().cloned().collect();
            }
            is_done?;
            let revision = self.windows.owed().revision();
            self.windows.owed_mut().indexed(revision);
        }
        for name in self.windows.owed().superseded() {
            step()?;
            self.archive.remove(&name);
            self.windows.owed_mut().deleted(&name);
        }
        for sealed in self.windows.owed().unrecorded() {
            step()?;
            self.windows.owed_mut().recorded(&sealed);
            self.told.insert(sealed.n, sealed);
        }
        Some(())
    }

    /// The texts of every chunk that is listed, in the order of the list.
    fn replayed<'a>(&'a self, listed: impl Iterator<Item = &'a Listed>) -> Vec<(i64, u64)> {
        let bodies = listed.map(|listed| {
            let version = self.windows.find(&listed.name, self.now);
            let body = version
                .and_then(|v| v.body.clone())
                .or_else(|| self.archive.get(&listed.name).cloned());
            let chunk: Value = serde_json::from_slice(&body.expect("what is listed is served")).unwrap();
            assert_eq!(chunk["events"].as_array().unwrap().len() as u64, listed.count);
            chunk
        });
        let events = bodies.flat_map(|chunk| chunk["events"].as_array().unwrap().clone());
        events
            .map(|e| (e["at"].as_i64().unwrap(), e["seq"].as_u64().unwrap()))
            .collect()
    }

    fn undeleted(&self) -> Vec<(i64, u64)> {
        let left = self.record.iter().filter(|e| !self.deleted.contains(&e.seq));
        let mut left: Vec<_> = left.map(|e| (e.at().ticks(), e.seq)).collect();
        left.sort();
        left
    }

    fn assert_nothing_deleted_is_kept(&self) {
        let doomed = self.windows.owed().doomed();
        let archived = self
            .archive
            .iter()
            .filter(|(name, _)| !doomed.contains(name))
            .map(|(_, body)| body);
        let served = self.windows.windows.values().flat_map(|w| {
            w.current
                .iter()
                .chain(w.previous.iter().map(|(_, v)| v))
                .filter_map(|v| v.body.as_ref())
        });
        for body in archived.chain(served) {
            let chunk: Value = serde_json::from_slice(body).unwrap();
            for event in chunk["events"].as_array().unwrap() {
                assert!(!self.deleted.contains(&event["seq"].as_u64().unwrap()));
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Say(i64),
    Delete(usize),
    Render,
    Seal(i64),
    /// Until the step after so many fails.
    SealSome(i64, usize),
    Wait(i64),
}

fn step() -> impl Strategy<Value = Step> {
    // Ten windows, with their very edges among the positions.
    let at = prop_oneof![
        0..28_800_000i64,
        (0..10i64, -1..=1i64).prop_map(|(n, d)| (n * 2_880_000 + d).max(0))
    ];
    prop_oneof![
        4 => at.clone().prop_map(Step::Say),
        2 => any::<usize>().prop_map(Step::Delete),
        2 => Just(Step::Render),
        1 => at.clone().prop_map(Step::Seal),
        2 => (at, 0..12usize).prop_map(|(edge, steps)| Step::SealSome(edge, steps)),
        1 => (0..8_000i64).prop_map(Step::Wait),
    ]
}

proptest! {
    /// The union of the chunks holds every undeleted message exactly once, ordered by (at, seq); a deleted one
    /// is nowhere.
    #[test]
    fn replay_chunks_hold_every_message_once(steps in prop::collection::vec(step(), 0..80)) {
        let mut world = World::new();
        for step in steps {
            match step {
                Step::Say(at) => world.say(MediaTime::from_ticks(at)),
                Step::Delete(index) => world.delete(index),
                Step::Render => {
                    world.render();
                    prop_assert_eq!(world.replayed(world.windows.listed()), world.undeleted());
                }
                Step::Seal(edge) => world.seal(MediaTime::from_ticks(edge)),
                Step::SealSome(edge, steps) => drop(world.seal_some(MediaTime::from_ticks(edge), steps)),
                Step::Wait(ms) => world.now = world.now + Span::from_millis(ms),
            }
            world.assert_nothing_deleted_is_kept();
        }
        world.render();
        world.seal(END);
        prop_assert!(world.windows.is_settled(END));
        prop_assert_eq!(world.replayed(world.windows.archived()), world.undeleted());
        prop_assert_eq!(world.archive.len(), world.windows.archived().count(), "no object is left behind");
        let archived: Vec<_> = world.windows.archived().cloned().collect();
        prop_assert_eq!(&world.index, &archived, "the index in the archive is of today");
        let told: Vec<_> = world.told.values().filter_map(|sealed| sealed.listed.clone()).collect();
        prop_assert_eq!(told, archived, "and the record knows");
    }
}

#[test]
fn a_delete_while_a_chunk_is_made_wins() {
    let mut world = World::new();
    world.say(MediaTime::ZERO);
    let stale = world.windows.stale()[0];
    let version = render(0, &world.texts(0));
    world.delete(0);
    world.windows.rendered(stale, version, world.now);
    assert_eq!(world.windows.listed().count(), 0);
    world.render();
    assert_eq!(world.windows.listed().count(), 0);
    assert!(!world.windows.is_purge_pending());
}

#[test]
fn a_delete_while_a_chunk_goes_to_the_archive_wins() {
    let mut world = World::new();
    world.say(MediaTime::ZERO);
    world.say(MediaTime::ZERO);
    world.render();
    let unsealed = world.windows.unsealed(END).remove(0);
    world.delete(0);
    let name = unsealed.version.clone().unwrap().listed.name;
    world.windows.sealed(&unsealed);
    assert_eq!(
        world.windows.owed().doomed(),
        std::slice::from_ref(&name),
        "it has to go again"
    );
    assert!(!world.windows.is_settled(END));
    assert_eq!(world.windows.find(&name, world.now), None);
}

#[test]
fn what_the_index_named_a_moment_ago_is_still_served() {
    let mut world = World::new();
    world.say(MediaTime::ZERO);
    world.render();
    let name = world.windows.listed().next().unwrap().name.clone();
    world.say(MediaTime::ZERO);
    world.render();
    assert_ne!(world.windows.listed().next().unwrap().name, name);
    assert!(world.windows.find(&name, world.now).is_some());
    assert!(
        world
            .windows
            .find(&name, world.now + Span::from_millis(5_001))
            .is_none()
    );
}

#[test]
fn a_window_that_is_behind_is_not_served_after_a_restart() {
    let listed = Listed {
        n: 3,
        name: "3.0123456789abcdef.json".into(),
        count: 2,
    };
    let mut windows = Windows::default();
    windows.restore(3, 7, 7, Some(listed.clone()));
    assert!(windows.is_settled(END));
    assert_eq!(windows.listed().count(), 1);
    let mut windows = Windows::default();
    windows.restore(3, 8, 7, Some(listed.clone()));
    assert_eq!(windows.listed().count(), 0);
    assert_eq!(windows.owed().doomed(), [listed.name]);
    assert_eq!(windows.stale(), [Stale { n: 3, upto: 8 }]);
}

#[test]
fn windows_never_overflow() {
    bounds(u64::MAX);
}

#[test]
fn an_object_that_an_index_may_still_list_goes_with_its_deleted_text() {
    let mut world = World::new();
    world.say(MediaTime::ZERO);
    world.render();
    world.seal(END);
    world.say(MediaTime::ZERO);
    world.render();
    // The new chunk is there, the index is not.
    assert_eq!(world.seal_some(END, 1), None);
    assert!(!world.windows.is_settled(END));
    assert_eq!(world.windows.owed().superseded().len(), 1);
    world.delete(0);
    assert_eq!(world.windows.owed().doomed().len(), 2);
    assert!(world.windows.owed().superseded().is_empty());
}
