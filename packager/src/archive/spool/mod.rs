//! A write-behind spool on disk in front of a store that may be slow or away.
//!
//! `put` returns once the object is safe on the local disk; [`Spool::upload`] sends it, in an order in which the store
//! alone is whole at every moment (`queue`), and tries for ever. Reads see what waits first, then the store. While the
//! store is away, the texts that tell what there is (`kept`) stand in for it, so that a server can start without it.
//!
//! One spool owns what it writes: nobody else puts objects under the same keys.

mod contact;
mod folder;
mod queue;
#[cfg(test)]
mod tests;
mod upload;

use std::collections::HashSet;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use timeline::{Archive, ArchiveError, Object};
use tokio::sync::Notify;

use super::lifetime::{is_facts, is_pointer};
use super::{Disk, check_key};
use contact::Contact;
use folder::Folder;
use queue::{Entry, Kind, Queue};

/// Names the store that the spool is for.
const STORE: &str = "store";

/// Cheap to clone.
#[derive(Clone)]
pub struct Spool(Arc<Inner>);

struct Inner {
    store: Arc<dyn Archive>,
    root: PathBuf,
    folder: Folder,
    /// Copies of pointers that the store has.
    kept: Disk,
    queue: Mutex<Queue>,
    numbers: AtomicU64,
    limit: u64,
    contact: Contact,
    put: Notify,
    arrived: Notify,
}

impl Spool {
    /// Opens the spool in a folder, with what waited in it when the last process ended. Beyond `limit` bytes objects
    /// are refused; pointers are not, as there are at most three versions of each.
    pub async fn open(root: PathBuf, limit: u64, store: Arc<dyn Archive>) -> io::Result<Spool> {
        let path = root.clone();
        let opened = tokio::task::spawn_blocking(move || {
            let (folder, waiting) = Folder::open(path.join("queue"))?;
            let kept = Disk::open(path.join("kept"))?;
            let numbers = waiting.last().map_or(0, |(number, _)| number + 1);
            let queue = refill(&folder, waiting)?;
            io::Result::Ok((folder, kept, queue, numbers))
        });
        let (folder, kept, queue, numbers) = opened.await.map_err(io::Error::other)??;
        let spool = Spool(Arc::new(Inner {
            store,
            root,
            folder,
            kept,
            queue: Mutex::new(queue),
            numbers: AtomicU64::new(numbers),
            limit,
            contact: Contact::default(),
            put: Notify::new(),
            arrived: Notify::new(),
        }));
        spool.0.measure();
        Ok(spool)
    }

    /// The store that was last [named](Self::belongs_to) as this spool's; read without opening it.
    pub fn store(root: &Path) -> io::Result<Option<String>> {
        match std::fs::read_to_string(root.join(STORE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            name => name.map(Some),
        }
    }

    /// Remembers which store the spool is for.
    pub fn belongs_to(&self, store: &str) -> io::Result<()> {
        let (aside, place) = (self.0.root.join(".store"), self.0.root.join(STORE));
        std::fs::write(&aside, store)?;
        std::fs::File::open(&aside)?.sync_all()?;
        std::fs::rename(aside, place)
    }

    /// What waits: objects and their bytes.
    pub fn waiting(&self) -> (usize, u64) {
        let queue = self.0.queue();
        (queue.len(), queue.bytes())
    }

    /// Returns once nothing waits, if someone [uploads](Self::upload).
    pub async fn settled(&self) {
        loop {
            let arrived = self.0.arrived.notified();
            if self.waiting().0 == 0 {
                return;
            }
            arrived.await;
        }
    }
}

/// What waited, as if it were put again: versions that a crash left beside a newer one go.
fn refill(folder: &Folder, waiting: Vec<(u64, Entry)>) -> io::Result<Queue> {
    let mut queue = Queue::default();
    for (number, entry) in waiting {
        for obsolete in queue.restore(number, entry) {
            folder.remove(obsolete)?;
        }
    }
    Ok(queue)
}

#[async_trait]
impl Archive for Spool {
    async fn put(&self, key: &str, object: Object) -> Result<(), ArchiveError> {
        check_key(key)?;
        self.write(key, move |inner, number, key| {
            inner.admit(key, object.body.len() as u64)?;
            let entry = inner.folder.put(number, key, &object)?;
            inner.enqueue(number, entry)
        })
        .await
    }

    async fn get(&self, key: &str) -> Result<Object, ArchiveError> {
        check_key(key)?;
        if let Some(waiting) = self.read_waiting(key).await? {
            return Ok(waiting);
        }
        let found = self.ask(key, self.0.store.get(key)).await;
        match found {
            Ok(object) => {
                self.learn(key, &object).await;
                Ok(object)
            }
            Err(error @ ArchiveError::Io { .. }) => self.stand_in(key, error).await,
            Err(error) => Err(error),
        }
    }

    async fn size(&self, key: &str) -> Result<u64, ArchiveError> {
        check_key(key)?;
        match self.read_waiting(key).await? {
            Some(waiting) => Ok(waiting.body.len() as u64),
            None => match self.ask(key, self.0.store.size(key)).await {
                Err(error @ ArchiveError::Io { .. }) => self.0.kept.size(key).await.map_err(|_| error),
                found => found,
            },
        }
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, ArchiveError> {
        check_key(key)?;
        match self.read_waiting(key).await? {
            Some(waiting) => Ok(waiting.range(range)),
            None => match self.ask(key, self.0.store.get_range(key, range.clone())).await {
                Err(error @ ArchiveError::Io { .. }) => {
                    self.0.kept.get_range(key, range).await.map_err(|_| error)
                }
                found => found,
            },
        }
    }

    async fn delete(&self, key: &str) -> Result<(), ArchiveError> {
        check_key(key)?;
        self.write(key, |inner, number, key| {
            let entry = inner.folder.delete(number, key)?;
            inner.enqueue(number, entry)
        })
        .await?;
        self.0.kept.delete(key).await
    }

    /// While the store is away, a broadcast's folder and the one above all are known here: each folder in them holds
    /// a pointer. What is further below is not.
    async fn list(&self, folder: &str) -> Result<Vec<String>, ArchiveError> {
        let stored = match self.ask(folder, self.0.store.list(folder)).await {
            Err(ArchiveError::Io { .. }) if !folder.contains('/') => self.0.kept.list(folder).await,
            stored => stored,
        };
        let mut names: HashSet<String> = stored?.into_iter().collect();
        let queue = self.0.queue();
        for (below, will_be) in queue.below(folder) {
            match below.split_once('/') {
                Some((folder, _)) if will_be => names.insert(folder.to_owned()),
                None if will_be => names.insert(below.to_owned()),
                None => names.remove(below),
                Some(_) => false,
            };
        }
        Ok(names.into_iter().collect())
    }
}

impl Spool {
    /// Runs where blocking is allowed, and to its end even if nobody waits any more: what has its place on disk must
    /// have it in the queue.
    async fn write(
        &self,
        key: &str,
        work: impl FnOnce(&Inner, u64, &str) -> io::Result<()> + Send + 'static,
    ) -> Result<(), ArchiveError> {
        let (inner, owned) = (self.0.clone(), key.to_owned());
        let number = inner.numbers.fetch_add(1, Ordering::Relaxed);
        let written = tokio::task::spawn_blocking(move || work(&inner, number, &owned)).await;
        written
            .map_err(io::Error::other)
            .flatten()
            .map_err(|source| ArchiveError::Io {
                key: key.to_owned(),
                source,
            })
    }

    /// What a key will be once everything has arrived, if it waits.
    async fn read_waiting(&self, key: &str) -> Result<Option<Object>, ArchiveError> {
        loop {
            // In a statement of its own: the lock is not held while the file is read.
            let newest = self.0.queue().newest(key);
            let number = match newest {
                None => return Ok(None),
                Some((_, Kind::Delete)) => return Err(ArchiveError::NotFound(key.to_owned())),
                Some((number, _)) => number,
            };
            match self.0.read(number).await {
                Ok(object) => return Ok(Some(object)),
                // A newer one has taken its place.
                Err(_) if self.0.queue().newest(key) != newest => {}
                // It has arrived.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(source) => {
                    return Err(ArchiveError::Io {
                        key: key.to_owned(),
                        source,
                    });
                }
            }
        }
    }

    /// Asks the store, unless it is known to be away.
    async fn ask<T>(
        &self,
        key: &str,
        answer: impl Future<Output = Result<T, ArchiveError>>,
    ) -> Result<T, ArchiveError> {
        if !self.0.contact.admits() {
            let source = io::Error::new(io::ErrorKind::NotConnected, "the store is away");
            return Err(ArchiveError::Io {
                key: key.to_owned(),
                source,
            });
        }
        let began = Instant::now();
        let answer = answer.await;
        self.0.heard(&answer, began);
        answer
    }

    /// What is known of a key while the store is away.
    async fn stand_in(&self, key: &str, error: ArchiveError) -> Result<Object, ArchiveError> {
        let kept = &self.0.kept;
        match kept.get(key).await {
            Err(_) if is_pointer(key) && is_known(kept, key).await => {
                Err(ArchiveError::NotFound(key.to_owned()))
            }
            found => found.map_err(|_| error),
        }
    }

    /// A broadcast that another machine, or another life of this one, has written: its facts have to be known when
    /// the store is away, as its names must never mean other bytes.
    async fn learn(&self, key: &str, object: &Object) {
        if is_facts(key) && self.0.kept.get(key).await.ok().as_ref() != Some(object) {
            let kept = self.0.kept.put(key, object.clone()).await;
            kept.unwrap_or_else(|error| tracing::error!(%key, %error, "no local copy could be kept"));
        }
    }
}

impl Inner {
    fn admit(&self, key: &str, bytes: u64) -> io::Result<()> {
        match is_pointer(key) || self.queue().bytes() + bytes <= self.limit {
            true => Ok(()),
            false => Err(io::Error::new(
                io::ErrorKind::StorageFull,
                format!("{} bytes wait for the store already, and no more may", self.limit),
            )),
        }
    }

    fn enqueue(&self, number: u64, entry: Entry) -> io::Result<()> {
        let obsolete = self.queue().push(number, entry);
        self.put.notify_one();
        self.measure();
        obsolete
            .into_iter()
            .try_for_each(|number| self.folder.remove(number))
    }

    async fn read(self: &Arc<Self>, number: u64) -> io::Result<Object> {
        let inner = self.clone();
        tokio::task::spawn_blocking(move || inner.folder.read(number))
            .await
            .map_err(io::Error::other)
            .flatten()
    }

    fn heard<T>(&self, answer: &Result<T, ArchiveError>, began: Instant) {
        match answer {
            Err(ArchiveError::Io { source, .. }) => self.contact.failed(source, began, self.queue().len()),
            _ => self.contact.made(),
        }
    }

    fn measure(&self) {
        let queue = self.queue();
        metrics::gauge!("lectern_archive_spool_objects").set(queue.len() as f64);
        metrics::gauge!("lectern_archive_spool_bytes").set(queue.bytes() as f64);
        let age = queue.oldest().and_then(|since| since.elapsed().ok());
        metrics::gauge!("lectern_archive_spool_oldest_seconds").set(age.unwrap_or_default().as_secs_f64());
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing can panic while it is held.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the pointers of a rendition's (or the room's) folder are all kept: where there is one, there is each. What
/// is an object is no folder.
async fn is_known(kept: &Disk, key: &str) -> bool {
    let Some((folder, _)) = key.rsplit_once('/').filter(|(folder, _)| folder.contains('/')) else {
        return false;
    };
    kept.get(folder).await.is_ok() || kept.list(folder).await.is_ok_and(|names| !names.is_empty())
}
