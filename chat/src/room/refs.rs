//! The names that writers gave their messages, to know a resend by.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};

use super::{Receipt, What};
use crate::Event;

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
        let Some(author) = event.author.as_ref().filter(|_| !reference.is_empty()) else {
            return;
        };
        let key = self.key(&author.id, reference, &What::of(&event.kind));
        if self.known.insert(key, Receipt::of(event)).is_none() {
            self.oldest_first.push_back(key);
        }
        if self.oldest_first.len() > KEPT
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    pub fn find(&self, person: &str, reference: &str, what: &What) -> Option<Receipt> {
        self.known.get(&self.key(person, reference, what)).copied()
    }

    fn key(&self, person: &str, reference: &str, what: &What) -> Key {
        self.hasher.hash_one((person, reference, what))
    }
}
