//! The rooms' record: every event, in SQL that SQLite and PostgreSQL both read. One writer, many readers.

mod files;
mod log;
mod read;
mod write;

use std::path::Path;
use std::time::Duration;

use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use timeline::{BroadcastId, MediaTime};
use tokio::sync::{mpsc, oneshot};

use crate::replay::{Listed, Sealed};
use crate::room::Accepted;
use crate::{Error, Event};
pub use files::FileRow;
use write::{Job, Work};

/// Readers answer resumes, gaps and chunks; a read takes a millisecond or two.
const READERS: u32 = 4;

/// Each room waits for its own commit, so this many rooms and replays can wait at once; then callers wait.
const QUEUE: usize = 1_024;

/// A reader can be held up by a checkpoint, never for long.
const BUSY: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub struct Record {
    readers: SqlitePool,
    jobs: mpsc::Sender<Job>,
}

/// A room as the record knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomRow {
    pub epoch: String,
    /// The broadcast has ended and its replay was sealed.
    pub ended: bool,
}

/// A replay window as the record knows it.
pub struct ChunkRow {
    pub n: u64,
    pub touched: u64,
    pub sealed: u64,
    pub listed: Option<Listed>,
}

/// An event with what only the record and its writer know.
pub struct Entry {
    pub accepted: Accepted,
    /// The replay windows that it changes: the first, and the last.
    pub windows: (u64, u64),
}

/// A line of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct AuditRow {
    pub seq: u64,
    /// Unix ms.
    pub time: i64,
    pub actor: Actor,
    pub action: String,
    pub target: String,
    pub hash: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Actor {
    pub id: String,
    pub name: String,
}

impl Record {
    pub async fn open(path: &Path) -> Result<Record, Error> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // A commit is on the disk: what was acknowledged outlives a power cut. Many writers share one sync.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY)
            .foreign_keys(true)
            // What was deleted is overwritten, not only unlinked.
            .pragma("secure_delete", "ON");
        let open = |connections| {
            SqlitePoolOptions::new()
                .max_connections(connections)
                .connect_with(options.clone())
        };
        let not_opened = |source| Error::Open {
            path: path.to_owned(),
            source,
        };
        let writer = open(1).await.map_err(not_opened)?;
        sqlx::migrate!("./migrations").run(&writer).await?;
        let readers = open(READERS).await.map_err(not_opened)?;
        let (jobs, queue) = mpsc::channel(QUEUE);
        tokio::spawn(write::run(writer, queue));
        Ok(Record { readers, jobs })
    }

    /// The room of a broadcast, made if there is none.
    pub async fn room(&self, broadcast: &BroadcastId) -> Result<RoomRow, Error> {
        if let Some(room) = self.find_room(broadcast).await? {
            return Ok(room);
        }
        let epoch = uuid::Uuid::new_v4().simple().to_string();
        self.work(broadcast, Work::Create { epoch }).await?;
        self.find_room(broadcast).await?.ok_or(Error::Unknown)
    }

    /// All or none; returns once they are kept.
    pub async fn append(&self, broadcast: &BroadcastId, entries: Vec<Entry>) -> Result<(), Error> {
        self.work(broadcast, Work::Append(entries)).await
    }

    /// The archive has the chunk of a window.
    pub async fn sealed(&self, broadcast: &BroadcastId, sealed: &Sealed) -> Result<(), Error> {
        self.work(broadcast, Work::Sealed(sealed.clone())).await
    }

    /// The archive has the whole replay of a broadcast that had ended by now (Unix ms).
    pub async fn ended(&self, broadcast: &BroadcastId, now: i64) -> Result<(), Error> {
        self.work(broadcast, Work::Ended { now }).await
    }

    /// Nothing of the room is left, but for its audit log and the numbers of its windows, which purge the replay.
    pub async fn clear(&self, broadcast: &BroadcastId) -> Result<(), Error> {
        self.work(broadcast, Work::Clear).await
    }

    /// Everything that was asked of the writer is kept; nothing more is taken.
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        let last = Job {
            broadcast: None,
            work: Work::Close,
            done,
        };
        if self.jobs.send(last).await.is_ok() {
            let _ = closed.await;
        }
        self.readers.close().await;
    }

    async fn work(&self, broadcast: &BroadcastId, work: Work) -> Result<(), Error> {
        let (done, kept) = oneshot::channel();
        let job = Job {
            broadcast: Some(broadcast.clone()),
            work,
            done,
        };
        self.jobs.send(job).await.map_err(|_| Error::Closing)?;
        kept.await.map_err(|_| Error::Closing)?.map_err(Error::NotKept)
    }
}

/// Numbers of the record are never negative.
fn unsigned(n: i64) -> u64 {
    n.max(0) as u64
}

/// A half-open range of moments.
pub type Range = (MediaTime, MediaTime);

#[cfg(test)]
mod tests;
