//! The storyboard of a broadcast on air as it stands, and its newest stills.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use bytes::Bytes;

use crate::storyboard::Cues;
use crate::text::{Rope, Strand};

/// Empty until the line says that it has stills.
#[derive(Default)]
pub struct Album(RwLock<Option<Pages>>);

struct Pages {
    text: Rope,
    sheet: Arc<Sheet>,
    /// In the order of their MSNs.
    stills: VecDeque<(u64, Bytes)>,
}

/// One version of the storyboard, shared by all who ask for it.
#[derive(Debug, Default)]
pub struct Sheet {
    strand: Strand,
    plain: OnceLock<Bytes>,
    gzip: OnceLock<Bytes>,
}

impl Album {
    pub fn open(&self, head: &str) {
        let text = Rope::new(head);
        let sheet = Sheet::of(text.strand());
        *self.write() = Some(Pages {
            text,
            sheet,
            stills: VecDeque::new(),
        });
    }

    /// Shows what was added, and lets the stills before `gone` go: they are in the archive.
    pub fn add(&self, cues: &Cues, gone: u64) {
        let mut album = self.write();
        let Some(pages) = album.as_mut() else { return };
        pages.text.push(&cues.text);
        pages.sheet = Sheet::of(pages.text.strand());
        pages.stills.extend(cues.stills.iter().cloned());
        let left = pages.stills.partition_point(|(msn, _)| *msn < gone);
        pages.stills.drain(..left);
    }

    pub fn sheet(&self) -> Option<Arc<Sheet>> {
        self.read(|pages| Some(pages.sheet.clone()))
    }

    pub fn still(&self, msn: u64) -> Option<Bytes> {
        self.read(|pages| {
            let place = pages.stills.binary_search_by_key(&msn, |(msn, _)| *msn);
            Some(pages.stills.get(place.ok()?)?.1.clone())
        })
    }

    // Nothing can panic while either is held.

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Option<Pages>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T>(&self, get: impl FnOnce(&Pages) -> Option<T>) -> Option<T> {
        get(self.0.read().unwrap_or_else(PoisonError::into_inner).as_ref()?)
    }
}

impl Sheet {
    fn of(strand: Strand) -> Arc<Sheet> {
        Arc::new(Sheet {
            strand,
            ..Sheet::default()
        })
    }

    pub fn text(&self, gzipped: bool) -> Bytes {
        let form = if gzipped { &self.gzip } else { &self.plain };
        let make = || match gzipped {
            true => self.strand.gzip_with(b""),
            false => self.strand.plain_with(b""),
        };
        form.get_or_init(make).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stills_leave_when_they_may() {
        let album = Album::default();
        assert!(album.sheet().is_none() && album.still(0).is_none());
        album.open("WEBVTT\n\n");
        for msn in 0..10 {
            let cues = Cues {
                text: format!("{msn}\n"),
                stills: vec![(msn, Bytes::from(msn.to_string()))],
            };
            album.add(&cues, msn.saturating_sub(3));
        }
        let held: Vec<u64> = (0..12).filter(|msn| album.still(*msn).is_some()).collect();
        assert_eq!(held, [6, 7, 8, 9]);
        assert_eq!(album.still(7).unwrap(), "7");
        let text = album.sheet().unwrap().text(false);
        assert_eq!(text, "WEBVTT\n\n0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n");
    }
}
