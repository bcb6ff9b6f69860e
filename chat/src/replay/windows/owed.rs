//! What the archive and the record have not been told yet. Nothing is struck off before it was done.

use std::collections::BTreeMap;

use super::Listed;

#[derive(Default)]
pub struct Owed {
    /// Objects that hold a deleted text, or may: they go at once.
    doomed: Vec<String>,
    /// Objects that others have replaced, or whose way to the archive is uncertain, with their windows: they go
    /// once the index in the archive does not list them.
    superseded: Vec<(u64, String)>,
    /// Counts the changes of what the index in the archive has to list.
    revision: u64,
    /// The revision that it does list.
    indexed: u64,
    /// By window: what the archive has and the record does not know of.
    unrecorded: BTreeMap<u64, Sealed>,
}

/// The chunk of a window that the archive has, from all events up to `upto`; `None` where nothing is left in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    pub n: u64,
    pub upto: u64,
    pub listed: Option<Listed>,
}

impl Owed {
    /// Window `n` lost a text: every object of it that is or may be in the archive goes.
    pub fn purge(&mut self, n: u64, archived: Option<Listed>) {
        self.revision += u64::from(archived.is_some());
        let superseded = self.superseded.extract_if(.., |(of, _)| *of == n);
        let names = superseded
            .map(|(_, name)| name)
            .chain(archived.map(|listed| listed.name));
        for name in names {
            if !self.doomed.contains(&name) {
                self.doomed.push(name);
            }
        }
    }

    pub fn supersede(&mut self, n: u64, name: String) {
        if !self.superseded.iter().any(|(_, known)| *known == name) {
            self.superseded.push((n, name));
        }
    }

    /// What is sealed stays, whatever was thought of its name before: the same content has the same name.
    pub fn sealed(&mut self, sealed: Sealed) {
        if let Some(Listed { name, .. }) = &sealed.listed {
            self.deleted(name);
        }
        self.revision += 1;
        self.unrecorded.insert(sealed.n, sealed);
    }

    pub fn doomed(&self) -> &[String] {
        &self.doomed
    }

    pub fn superseded(&self) -> Vec<String> {
        self.superseded.iter().map(|(_, name)| name.clone()).collect()
    }

    /// The archive does not have it any more.
    pub fn deleted(&mut self, name: &str) {
        self.doomed.retain(|doomed| doomed != name);
        self.superseded.retain(|(_, superseded)| superseded != name);
    }

    pub fn revision(&self) -> u64 {
        self.revision
    }

    pub fn is_index_due(&self) -> bool {
        self.indexed < self.revision
    }

    /// The archive has the index as of `revision`.
    pub fn indexed(&mut self, revision: u64) {
        self.indexed = self.indexed.max(revision);
    }

    pub fn unrecorded(&self) -> Vec<Sealed> {
        self.unrecorded.values().cloned().collect()
    }

    pub fn recorded(&mut self, sealed: &Sealed) {
        if self.unrecorded.get(&sealed.n) == Some(sealed) {
            self.unrecorded.remove(&sealed.n);
        }
    }

    pub fn is_nothing(&self) -> bool {
        self.doomed.is_empty()
            && self.superseded.is_empty()
            && self.unrecorded.is_empty()
            && !self.is_index_due()
    }
}
