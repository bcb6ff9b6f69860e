//! Files beside a broadcast: uploaded to a room, named by its messages, kept in the archive, served by hash.
//!
//! A file is uploaded first and then named by a message ([`Files::check`]). What no message names after a while, or no
//! longer, leaves the archive ([`Files::released`], [`Files::keep_clean`]).

mod kind;
mod name;
mod receive;
mod routes;
mod zip;

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use timeline::{Archive, BroadcastId, WallTime};
use tokio::sync::{RwLock, RwLockReadGuard, Semaphore};

use crate::record::{FileRow, Record};
use crate::room::{Buckets, Code, Refused, RetryAfter};
use crate::{Attached, Error, Rate};

pub use kind::KINDS;
pub(crate) use routes::router;

/// The `[chat.files]` section.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The largest file. It is held in memory for the moment in which it is kept.
    pub max_bytes: u64,
    /// All files of a room together.
    pub room_bytes: u64,
    /// All files of one participant in a room.
    pub participant_bytes: u64,
    /// Uploads of one person, kept or not.
    pub rate: Rate,
    /// What is taken, by extension: some of `png`, `jpg`, `gif`, `webp`, `pdf`, `docx`, `xlsx`, `pptx`, `odt`, `ods`,
    /// `odp`, `txt`, `csv`, `md`, `mp3`, `mp4`.
    pub types: Vec<String>,
    /// A file that no message names is removed after so long.
    pub unnamed_ms: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_bytes: 20 << 20,
            room_bytes: 1 << 30,
            participant_bytes: 200 << 20,
            rate: Rate {
                messages: 10,
                per_ms: 60_000,
            },
            // A recording is not an attachment: videos have to be asked for.
            types: KINDS
                .iter()
                .map(|kind| kind.extension.to_owned())
                .filter(|extension| extension != "mp4")
                .collect(),
            unnamed_ms: 3_600_000,
        }
    }
}

impl Limits {
    pub fn check(&self) -> Result<(), Error> {
        let bad = |setting, reason| Err(Error::Config { setting, reason });
        let known = |extension: &String| kind::Kind::by_extension(extension).is_some();
        match self {
            // Four of them are in memory at once.
            l if !(1..=100 << 20).contains(&l.max_bytes) => bad("files.max_bytes", "between 1 and 104857600"),
            l if l.rate.messages == 0 || l.rate.per_ms == 0 => bad("files.rate", "at least 1 per 1 ms"),
            l if !l.types.iter().all(known) => bad("files.types", "one of them is not known"),
            // A message that names a file is written meanwhile.
            l if l.unnamed_ms < 60_000 => bad("files.unnamed_ms", "at least 60000"),
            _ => Ok(()),
        }
    }
}

/// Uploads on their way: each a connection and a file on disk.
const UPLOADS: usize = 32;

/// Files in memory at once, on their way from the disk into the archive.
const KEEPING: usize = 4;

/// The files of all rooms.
pub(crate) struct Files {
    limits: Limits,
    record: Record,
    archive: Arc<dyn Archive>,
    /// Where uploads gather.
    folder: PathBuf,
    rates: Mutex<Buckets>,
    uploads: Semaphore,
    keeping: Semaphore,
    /// Shared by those who send messages that name files; held alone by those who remove files.
    naming: RwLock<()>,
}

impl Files {
    pub fn new(limits: Limits, record: Record, archive: Arc<dyn Archive>, folder: PathBuf) -> Files {
        Files {
            limits,
            record,
            archive,
            folder,
            rates: Mutex::default(),
            uploads: Semaphore::new(UPLOADS),
            keeping: Semaphore::new(KEEPING),
            naming: RwLock::default(),
        }
    }

    /// The files with these ids, in this order, for a message of this person: only what they uploaded themselves.
    /// Held until the message is kept or refused, so that none of them goes meanwhile.
    pub async fn check(
        &self,
        broadcast: &BroadcastId,
        person: &str,
        ids: &[String],
    ) -> Result<Naming<'_>, Refused> {
        let held = self.naming.read().await;
        let rows = self.record.files_of(broadcast, person).await.map_err(|error| {
            tracing::error!(%broadcast, %error, "the files of a room cannot be read");
            Refused::unavailable()
        })?;
        let find = |id: &String| rows.iter().find(|row| row.id == *id).map(FileRow::attached);
        match ids.iter().map(find).collect() {
            Some(files) => Ok(Naming { files, _held: held }),
            None => Err(Refused::new(
                Code::NotFound,
                "there is no such file: upload it again",
            )),
        }
    }

    /// Messages that named files are gone, and the record knows it: what no other message names leaves the archive now.
    /// Nobody waits for it; what fails is made good by the next sweep.
    pub fn released(self: &Arc<Self>, broadcast: &BroadcastId) {
        let (files, broadcast) = (self.clone(), broadcast.clone());
        tokio::spawn(async move {
            if let Err(error) = files.sweep_room(&broadcast, NEVER_NAMED).await {
                tracing::warn!(%broadcast, %error, "files of deleted messages are removed later");
            }
        });
    }

    /// All that a person uploaded, but for what messages of others name.
    pub async fn erase(&self, broadcast: &BroadcastId, person: &str) -> Result<(), Error> {
        let _nobody_names = self.naming.write().await;
        let named = self.record.named_files(broadcast).await?;
        for row in self.record.files_of(broadcast, person).await? {
            match named.contains(&row.id) {
                true => self.record.forget_upload(broadcast, &row.id, person).await?,
                false => self.delete(broadcast, &row.id).await?,
            }
        }
        Ok(())
    }

    /// All files of a broadcast.
    pub async fn clear(&self, broadcast: &BroadcastId) -> Result<(), Error> {
        for row in self.record.files(broadcast).await? {
            self.delete(broadcast, &row.id).await?;
        }
        Ok(())
    }

    /// Removes what no message names, in all rooms, for ever.
    pub async fn keep_clean(&self) {
        loop {
            if let Err(error) = self.sweep(crate::clock::now()).await {
                tracing::warn!(%error, "files that no message names are removed later");
            }
            tokio::time::sleep(SWEEP_EVERY).await;
        }
    }

    async fn sweep(&self, now: WallTime) -> Result<(), Error> {
        // What was uploaded before is named by now, or will not be.
        let before = now.unix_millis() - i64::from(self.limits.unnamed_ms);
        for broadcast in self.record.broadcasts_with_unnamed_files(before).await? {
            self.sweep_room(&broadcast, before).await?;
        }
        Ok(())
    }

    /// Removes what was uploaded before (Unix ms) and is not named.
    async fn sweep_room(&self, broadcast: &BroadcastId, before: i64) -> Result<(), Error> {
        let _nobody_names = self.naming.write().await;
        let rows = self.record.files(broadcast).await?;
        let named = self.record.named_files(broadcast).await?;
        let swept = Swept::of(&rows, &named, before);
        for id in &swept.unnamed {
            self.delete(broadcast, id).await?;
        }
        self.record.files_named(broadcast, &swept.named).await
    }

    /// First the object, then what is known of it: a failure between is made good by the next try.
    async fn delete(&self, broadcast: &BroadcastId, id: &str) -> Result<(), Error> {
        let key = name::key(broadcast.as_str(), id);
        self.archive.delete(&key).await?;
        self.record.forget_file(broadcast, id).await
    }

    fn take(&self, broadcast: &BroadcastId, person: &str, now: WallTime) -> Result<(), RetryAfter> {
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        rates.take(&format!("{broadcast}/{person}"), self.limits.rate, now)
    }
}

/// Of a file whose message is gone the record forgets when it was uploaded: any sweep may take it.
const NEVER_NAMED: i64 = 1;

/// Garbage does no harm but to the bill.
const SWEEP_EVERY: Duration = Duration::from_secs(600);

/// The files that a message is about to name.
pub(crate) struct Naming<'a> {
    pub files: Vec<Attached>,
    _held: RwLockReadGuard<'a, ()>,
}

/// What a sweep finds.
#[derive(Debug, Default, PartialEq, Eq)]
struct Swept {
    /// Has been named; whether it still is, deletions tell.
    named: Vec<String>,
    unnamed: Vec<String>,
}

impl Swept {
    /// `before`: Unix ms. What was uploaded later stays.
    fn of(rows: &[FileRow], named: &HashSet<String>, before: i64) -> Swept {
        let mut uploaded: BTreeMap<&str, i64> = BTreeMap::new();
        for row in rows {
            let last = uploaded.entry(&row.id).or_insert(row.uploaded);
            *last = row.uploaded.max(*last);
        }
        let (kept, others): (Vec<_>, Vec<_>) = uploaded.into_iter().partition(|(id, _)| named.contains(*id));
        let old = others.into_iter().filter(|(_, uploaded)| *uploaded < before);
        Swept {
            named: kept.into_iter().map(|(id, _)| id.to_owned()).collect(),
            unnamed: old.map(|(id, _)| id.to_owned()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, person: &str, uploaded: i64) -> FileRow {
        FileRow {
            id: id.into(),
            person: person.into(),
            name: "a.txt".into(),
            media_type: "text/plain".into(),
            size: 1,
            uploaded,
        }
    }

    #[test]
    fn what_no_message_names_is_swept_after_a_while() {
        let rows = [
            row("old", "ana", 10),
            row("named", "ana", 10),
            row("new", "ana", 100),
            row("again", "bo", 100),
            row("again", "ana", 10),
        ];
        let named = HashSet::from(["named".to_owned(), "another".to_owned()]);
        let swept = Swept::of(&rows, &named, 50);
        assert_eq!(swept.unnamed, ["old"]);
        assert_eq!(swept.named, ["named"]);
        assert_eq!(Swept::of(&rows, &named, 101).unnamed, ["again", "new", "old"]);
    }

    #[test]
    fn limits_are_checked() {
        assert!(Limits::default().check().is_ok());
        let bad = |limits: Limits| limits.check().unwrap_err().to_string();
        let types = vec!["svg".to_owned()];
        assert!(
            bad(Limits {
                types,
                ..Limits::default()
            })
            .contains("files.types")
        );
        let max_bytes = 1 << 40;
        assert!(
            bad(Limits {
                max_bytes,
                ..Limits::default()
            })
            .contains("files.max_bytes")
        );
    }
}
