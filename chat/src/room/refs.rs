//! The names that writers gave their messages, to know a resend by.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};

use super::Receipt;
use crate::{Event, Kind};

/// A few minutes of a busy room: resends come within seconds, when a connection is back.
const KEPT: usize = 4_096;

/// The hash of who, which name and what. What: a page that was loaded anew may start its names again.
type Key = u64;

#[derive(Default)]
pub struct Refs {
    hasher: RandomState,
    known: HashMap<Key, Receipt>,
    oldest_first: VecDeque<Key>,
}

impl Refs {
    pub fn insert(&mut self, event: &Event, reference: &str) {
        let key = self.key(&event.author.id, reference, &event.kind);
        if self.known.insert(key, Receipt::of(event)).is_none() {
            self.oldest_first.push_back(key);
        }
        if self.oldest_first.len() > KEPT
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    pub fn find(&self, person: &str, reference: &str, kind: &Kind) -> Option<Receipt> {
        self.known.get(&self.key(person, reference, kind)).copied()
    }

    fn key(&self, person: &str, reference: &str, kind: &Kind) -> Key {
        let what = match kind {
            Kind::Text { body } => (body.as_deref(), 0),
            Kind::Delete { target } => (None, *target),
        };
        self.hasher.hash_one((person, reference, what))
    }
}
