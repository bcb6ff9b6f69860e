//! Which windows of the replay are fresh, which changed since they were made, and what of them is in the
//! archive. No I/O; the numbers that order everything are the events' `seq`.
//!
//! A window that loses a message loses its current chunk in the same moment: a text that was deleted is never
//! served again, whatever is still on its way to the archive. What the archive and the record have not been told
//! yet is owed ([`Owed`]): a step that fails stays owed until it is done.

mod owed;

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;

use bytes::Bytes;
use timeline::{MediaTime, Span, WallTime};

use owed::Owed;
pub use owed::Sealed;

/// Index and chunk are two requests: what the index named a moment ago is still served. Longer than the index
/// may be cached (1 s) and a slow request takes.
const KEPT_AFTER: Span = Span::from_millis(5_000);

/// A busy tail is made anew four times a second; this holds [`KEPT_AFTER`] of it.
const KEPT_VERSIONS: usize = 20;

/// The media time that one chunk spans. The record and the names in the archive count in it: it never changes.
pub const WINDOW: Span = Span::from_millis(32_000);

#[derive(Default)]
pub struct Windows {
    windows: BTreeMap<u64, Window>,
    owed: Owed,
}

#[derive(Default)]
struct Window {
    /// The last event that changed it.
    touched: u64,
    /// The last event that took something out of it.
    purged: u64,
    /// The last event that `current` knows of.
    rendered: u64,
    current: Option<Version>,
    /// The last event that `archived` knows of.
    sealed: u64,
    archived: Option<Listed>,
    previous: VecDeque<(WallTime, Version)>,
}

/// One state of a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub listed: Listed,
    /// `None` where the archive has it.
    pub body: Option<Bytes>,
}

/// A chunk as the index lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub n: u64,
    pub name: String,
    pub count: u64,
}

/// A window whose chunk has to be made: from all events up to `upto`, or later ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stale {
    pub n: u64,
    pub upto: u64,
}

/// A chunk that has to go to the archive; without a version nothing is left in its window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsealed {
    pub n: u64,
    pub upto: u64,
    pub version: Option<Version>,
}

impl Windows {
    /// A window as the record remembers it. One that is behind may hold a deleted text: it is not served.
    pub fn restore(&mut self, n: u64, touched: u64, sealed: u64, archived: Option<Listed>) {
        let mut window = Window {
            touched,
            sealed,
            archived,
            ..Window::default()
        };
        if touched > sealed {
            window.purged = touched;
            self.owed.purge(n, window.archived.take());
        } else {
            window.rendered = sealed;
            window.current = window
                .archived
                .clone()
                .map(|listed| Version { listed, body: None });
        }
        self.windows.insert(n, window);
    }

    /// What the archive and the record have to be told.
    pub fn owed(&self) -> &Owed {
        &self.owed
    }

    pub fn owed_mut(&mut self) -> &mut Owed {
        &mut self.owed
    }

    /// Event `seq` changed the first of these windows, and the states at the heads of the others that there are. If it
    /// took something out, what they hold now is served no more.
    pub fn change(&mut self, range: RangeInclusive<u64>, seq: u64, purges: bool) {
        self.windows.entry(*range.start()).or_default();
        for (n, window) in self.windows.range_mut(range) {
            window.touched = window.touched.max(seq);
            if purges {
                window.purged = window.purged.max(seq);
                window.current = None;
                window.previous.clear();
                self.owed.purge(*n, window.archived.take());
            }
        }
    }

    /// The record says that window `n` was changed by `seq`. If that is news, something may have been taken out.
    pub fn distrust(&mut self, n: u64, seq: u64) -> bool {
        let is_news = self.windows.get(&n).is_none_or(|window| window.touched < seq);
        if is_news {
            self.change(n..=n, seq, true);
        }
        is_news
    }

    pub fn stale(&self) -> Vec<Stale> {
        let stale = self
            .windows
            .iter()
            .filter(|(_, window)| window.rendered < window.touched);
        stale
            .map(|(n, window)| Stale {
                n: *n,
                upto: window.touched,
            })
            .collect()
    }

    /// Something was taken out of a chunk that has not been made anew.
    pub fn is_purge_pending(&self) -> bool {
        self.windows
            .values()
            .any(|window| window.rendered < window.purged)
    }

    /// The chunk of a window was made. Dropped if something was deleted while it was made.
    pub fn rendered(&mut self, stale: Stale, version: Option<Version>, now: WallTime) {
        let Some(window) = self.windows.get_mut(&stale.n) else {
            return;
        };
        if window.purged > stale.upto || window.rendered >= stale.upto {
            return;
        }
        window.rendered = stale.upto;
        let name = |version: &Option<Version>| version.as_ref().map(|v| v.listed.name.clone());
        if name(&window.current) == name(&version) {
            return;
        }
        if let Some(before) = std::mem::replace(&mut window.current, version) {
            window.previous.push_back((now, before));
        }
        let expired = |(since, _): &(WallTime, Version)| now - *since > KEPT_AFTER;
        while window.previous.len() > KEPT_VERSIONS || window.previous.front().is_some_and(expired) {
            window.previous.pop_front();
        }
    }

    /// The finished chunks that have to go to the archive: of the windows that end before `edge`.
    pub fn unsealed(&self, edge: MediaTime) -> Vec<Unsealed> {
        let finished = self.windows.range(..number(edge));
        let unsealed = finished.filter(|(_, w)| w.sealed < w.rendered && w.rendered == w.touched);
        unsealed
            .map(|(n, w)| Unsealed {
                n: *n,
                upto: w.rendered,
                version: w.current.clone(),
            })
            .collect()
    }

    /// The last window that ends before `edge` and has to go to the archive.
    pub fn behind(&self, edge: MediaTime) -> Option<u64> {
        let mut finished = self.windows.range(..number(edge));
        finished.rfind(|(_, w)| w.sealed < w.touched).map(|(n, _)| *n)
    }

    /// It is on its way to the archive. It may get there even where the archive says that it failed.
    pub fn sealing(&mut self, unsealed: &Unsealed) {
        if let Some(version) = &unsealed.version {
            self.owed.supersede(unsealed.n, version.listed.name.clone());
        }
    }

    /// The archive has it, unless something was deleted meanwhile: then the new object goes as well.
    pub fn sealed(&mut self, unsealed: &Unsealed) {
        let Some(window) = self.windows.get_mut(&unsealed.n) else {
            return;
        };
        let listed = unsealed.version.as_ref().map(|version| version.listed.clone());
        if window.purged > unsealed.upto {
            self.owed.purge(unsealed.n, listed);
            return;
        }
        window.sealed = unsealed.upto;
        if let Some(replaced) = std::mem::replace(&mut window.archived, listed.clone()) {
            self.owed.supersede(unsealed.n, replaced.name);
        }
        if let (Some(current), Some(archived)) = (&mut window.current, &listed)
            && current.listed.name == archived.name
        {
            current.body = None;
        }
        self.owed.sealed(Sealed {
            n: unsealed.n,
            upto: unsealed.upto,
            listed,
        });
    }

    /// Nothing has to be done before `edge`.
    pub fn is_settled(&self, edge: MediaTime) -> bool {
        let behind = |w: &Window| w.sealed < w.touched;
        self.owed.is_nothing() && !self.windows.range(..number(edge)).any(|(_, w)| behind(w))
    }

    /// A chunk by its name, if the index lists it or did a moment ago.
    pub fn find(&self, name: &str, now: WallTime) -> Option<&Version> {
        let window = self.windows.get(&number_of(name)?)?;
        let kept = window
            .previous
            .iter()
            .filter(|(since, _)| now - *since <= KEPT_AFTER)
            .map(|(_, v)| v);
        window
            .current
            .iter()
            .chain(kept)
            .find(|version| version.listed.name == name)
    }

    /// What the index lists now.
    pub fn listed(&self) -> impl Iterator<Item = &Listed> {
        self.windows
            .values()
            .filter_map(|window| Some(&window.current.as_ref()?.listed))
    }

    /// What the index in the archive lists.
    pub fn archived(&self) -> impl Iterator<Item = &Listed> {
        self.windows
            .values()
            .filter_map(|window| window.archived.as_ref())
    }
}

/// The window that holds a moment.
pub fn number(at: MediaTime) -> u64 {
    at.ticks().div_euclid(WINDOW.ticks()).max(0) as u64
}

/// Where window `n` begins and where the next one does.
pub fn bounds(n: u64) -> (MediaTime, MediaTime) {
    let from =
        MediaTime::ZERO + WINDOW.times(n.min(i64::MAX as u64 / WINDOW.ticks().unsigned_abs() - 1) as i64);
    (from, from + WINDOW)
}

/// The number in a chunk's name, `{n}.{hash}.json`.
fn number_of(name: &str) -> Option<u64> {
    name.split_once('.')?.0.parse().ok()
}

#[cfg(test)]
mod tests;
