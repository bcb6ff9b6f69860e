//! What waits to be sent, and in which order it may go. Pure: no I/O, no clock.
//!
//! What is put gets a number. Within a broadcast:
//!
//! - an object goes as soon as there is room, past whatever waits, but not past another of its own key;
//! - a pointer (a playlist, an index) goes once every object with a smaller number is there, and every such pointer in
//!   its folder or below: it never leads to what is not;
//! - a delete goes once everything with a smaller number is done, and no pointer in a folder above waits: whatever
//!   listed the object has been replaced.
//!
//! A newer version of a pointer takes the place of those that wait, but not of the oldest: where each version comes
//! before the one ahead of it could be sent, none would ever go.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::SystemTime;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Object,
    Pointer,
    Delete,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    pub kind: Kind,
    /// Of the body.
    pub bytes: u64,
    pub since: SystemTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting,
    /// Someone is to send it, and does not at this moment: it can still be taken back.
    Held,
    OnTheWire,
}

#[derive(Default)]
pub struct Queue {
    entries: BTreeMap<u64, (Entry, Stage)>,
    /// Never empty.
    by_key: HashMap<String, BTreeSet<u64>>,
    /// By the first name of a key: the broadcast. Never empty.
    by_broadcast: HashMap<String, BTreeSet<u64>>,
    bytes: u64,
}

impl Queue {
    /// Takes an entry. Gives the numbers of those that need not be sent any more, in the order in which their files
    /// may go; they are out already.
    pub fn push(&mut self, number: u64, entry: Entry) -> Vec<u64> {
        let obsolete = match entry.kind {
            Kind::Object => Vec::new(),
            Kind::Pointer => Vec::from_iter(self.superseded(&entry.key)),
            Kind::Delete => self.deleted(&entry.key),
        };
        obsolete.iter().for_each(|number| self.remove(*number));
        self.insert(number, entry);
        obsolete
    }

    /// Takes again what was pushed in an earlier life, in its order. An object that is deleted later goes: it may have
    /// been on the wire already, and pointers to it behind it.
    pub fn restore(&mut self, number: u64, entry: Entry) -> Vec<u64> {
        match entry.kind {
            Kind::Delete => {
                self.insert(number, entry);
                Vec::new()
            }
            Kind::Object | Kind::Pointer => self.push(number, entry),
        }
    }

    /// The version of a pointer that a newer one replaces.
    fn superseded(&self, key: &str) -> Option<u64> {
        let versions = self.by_key.get(key)?;
        let last = *versions.last()?;
        let is_oldest = versions.len() == 1;
        (!is_oldest && self.is(last, Kind::Pointer) && self.can_be_taken_back(last)).then_some(last)
    }

    /// A deleted object that has not gone yet never goes, nor do pointers to it that have a newer version already.
    fn deleted(&self, key: &str) -> Vec<u64> {
        let of_key = self.by_key.get(key).into_iter().flatten();
        let unsent =
            of_key.filter(|number| self.can_be_taken_back(**number) && !self.is(**number, Kind::Delete));
        let unsent: Vec<u64> = unsent.copied().collect();
        if unsent.is_empty() {
            return unsent;
        }
        let neighbours = self.by_broadcast.get(broadcast(key)).into_iter().flatten();
        let outdated = neighbours.filter(|number| {
            self.is(**number, Kind::Pointer) && self.can_be_taken_back(**number) && !self.is_newest(**number)
        });
        let outdated = outdated.copied().filter(|number| !unsent.contains(number));
        // The pointers first: after a crash between two files none leads to nothing.
        outdated.chain(unsent.iter().copied()).collect()
    }

    fn can_be_taken_back(&self, number: u64) -> bool {
        !matches!(self.entries.get(&number), Some((_, Stage::OnTheWire)))
    }

    fn is(&self, number: u64, kind: Kind) -> bool {
        self.entries
            .get(&number)
            .is_some_and(|(entry, _)| entry.kind == kind)
    }

    fn is_newest(&self, number: u64) -> bool {
        self.entries
            .get(&number)
            .is_some_and(|(entry, _)| self.by_key.get(&entry.key).and_then(BTreeSet::last) == Some(&number))
    }

    /// The oldest that may go now. It is held from then on.
    pub fn next(&mut self) -> Option<(u64, Entry)> {
        let number = self.entries.iter().find_map(|(number, (entry, stage))| {
            (*stage == Stage::Waiting && self.may_go(*number, entry)).then_some(*number)
        })?;
        let (entry, stage) = self.entries.get_mut(&number)?;
        *stage = Stage::Held;
        Some((number, entry.clone()))
    }

    fn may_go(&self, number: u64, entry: &Entry) -> bool {
        let neighbours = || self.by_broadcast.get(broadcast(&entry.key)).into_iter().flatten();
        let mut before = neighbours().take_while(|other| **other < number);
        match entry.kind {
            Kind::Object => self.by_key.get(&entry.key).and_then(BTreeSet::first) == Some(&number),
            Kind::Pointer => !before.any(|other| self.leads_to(&entry.key, *other)),
            Kind::Delete => {
                before.next().is_none() && !neighbours().any(|other| self.is_pointer_to(*other, &entry.key))
            }
        }
    }

    /// Any object may be listed by a pointer of its broadcast; other pointers are, below its folder.
    fn leads_to(&self, pointer: &str, number: u64) -> bool {
        self.entries
            .get(&number)
            .is_some_and(|(entry, _)| match entry.kind {
                Kind::Object => true,
                Kind::Pointer => entry.key.starts_with(folder(pointer)),
                Kind::Delete => false,
            })
    }

    fn is_pointer_to(&self, number: u64, key: &str) -> bool {
        self.entries
            .get(&number)
            .is_some_and(|(entry, _)| entry.kind == Kind::Pointer && key.starts_with(folder(&entry.key)))
    }

    /// A held entry goes on the wire; `false` if it was taken back meanwhile.
    pub fn begin(&mut self, number: u64) -> bool {
        self.set(number, Stage::OnTheWire)
    }

    /// It did not arrive, and is held until it is tried again.
    pub fn pause(&mut self, number: u64) {
        self.set(number, Stage::Held);
    }

    /// Nobody sends any more: what is on the wire may have arrived or not.
    pub fn release(&mut self) {
        self.entries
            .values_mut()
            .for_each(|(_, stage)| *stage = Stage::Waiting);
    }

    /// It has arrived.
    pub fn done(&mut self, number: u64) {
        self.remove(number);
    }

    /// What a key will be once everything is sent.
    pub fn newest(&self, key: &str) -> Option<(u64, Kind)> {
        let number = *self.by_key.get(key)?.last()?;
        self.entries.get(&number).map(|(entry, _)| (number, entry.kind))
    }

    /// The keys below a folder (`""` is all) that wait, each with whether it will be there.
    pub fn below<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = (&'a str, bool)> + 'a {
        let keys = self.by_key.keys().filter_map(move |key| match folder {
            "" => Some((key, key.as_str())),
            _ => Some((key, key.strip_prefix(folder)?.strip_prefix('/')?)),
        });
        keys.filter_map(|(key, below)| Some((below, self.newest(key)?.1 != Kind::Delete)))
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Of all bodies.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn oldest(&self) -> Option<SystemTime> {
        self.entries.first_key_value().map(|(_, (entry, _))| entry.since)
    }

    fn set(&mut self, number: u64, to: Stage) -> bool {
        match self.entries.get_mut(&number) {
            Some((_, stage)) => {
                *stage = to;
                true
            }
            None => false,
        }
    }

    fn insert(&mut self, number: u64, entry: Entry) {
        self.by_key.entry(entry.key.clone()).or_default().insert(number);
        let broadcast = broadcast(&entry.key).to_owned();
        self.by_broadcast.entry(broadcast).or_default().insert(number);
        self.bytes += entry.bytes;
        self.entries.insert(number, (entry, Stage::Waiting));
    }

    fn remove(&mut self, number: u64) {
        let Some((entry, _)) = self.entries.remove(&number) else {
            return;
        };
        self.bytes -= entry.bytes;
        forget(&mut self.by_key, &entry.key, number);
        forget(&mut self.by_broadcast, broadcast(&entry.key), number);
    }
}

fn broadcast(key: &str) -> &str {
    key.split_once('/').map_or(key, |(broadcast, _)| broadcast)
}

/// With the slash at its end.
fn folder(key: &str) -> &str {
    key.rfind('/').map_or("", |slash| &key[..=slash])
}

fn forget(numbers: &mut HashMap<String, BTreeSet<u64>>, of: &str, number: u64) {
    if let Some(known) = numbers.get_mut(of) {
        known.remove(&number);
        if known.is_empty() {
            numbers.remove(of);
        }
    }
}

#[cfg(test)]
mod tests;
