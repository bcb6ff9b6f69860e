//! The rooms' record: every event, in SQL that SQLite and PostgreSQL both read. One writer, many readers.

mod files;
mod log;
mod read;
mod write;

use std::path::Path;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyConnection, AnyPool, Connection};
use timeline::{BroadcastId, MediaTime};
use tokio::sync::{mpsc, oneshot};

use crate::Error;
use crate::replay::{Listed, Sealed};
use crate::room::Accepted;
pub use files::FileRow;
use log::Log;
use write::{Job, Work, Wrote};

/// Readers answer resumes, gaps and chunks; a read takes a millisecond or two.
const READERS: u32 = 4;

/// Each room waits for its own commit, so this many rooms and replays can wait at once; then callers wait.
const QUEUE: usize = 1_024;

/// A reader can be held up by a checkpoint, never for long.
const BUSY: Duration = Duration::from_secs(5);

/// To another machine, at start.
const CONNECT: Duration = Duration::from_secs(5);

/// What each connection to SQLite is told first.
const SQLITE: &[&str] = &[
    "PRAGMA busy_timeout = 5000",
    "PRAGMA journal_mode = WAL",
    // A commit is on the disk: what was acknowledged outlives a power cut. Many writers share one sync.
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    // What was deleted is overwritten, not only unlinked.
    "PRAGMA secure_delete = ON",
];

#[derive(Clone)]
pub struct Record {
    readers: AnyPool,
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
    /// In a file of this server's own: SQLite.
    pub async fn open(path: &Path) -> Result<Record, Error> {
        let url = sqlite_url(path)?;
        let not_opened = |source| Error::Open {
            path: path.to_owned(),
            source,
        };
        Record::start(&url, Log::holding_deleted())
            .await
            .map_err(|error| match error {
                Error::Record(source) => not_opened(source),
                error => error,
            })
    }

    /// In a database that several servers share: PostgreSQL.
    pub async fn connect(url: &str) -> Result<Record, Error> {
        sqlx::any::install_default_drivers();
        // A pool would try again and again, and not say why.
        let first = tokio::time::timeout(CONNECT, AnyConnection::connect(url));
        match first.await {
            Ok(Ok(connection)) => drop(connection.close().await),
            Ok(Err(error)) => return Err(Error::Connect(error.to_string())),
            Err(_) => return Err(Error::Connect("no answer".into())),
        }
        Record::start(url, Log::of_others()).await
    }

    async fn start(url: &str, log: Log) -> Result<Record, Error> {
        sqlx::any::install_default_drivers();
        let options: AnyConnectOptions = url.parse()?;
        let setup = if url.starts_with("sqlite:") { SQLITE } else { &[] };
        let open = |connections| {
            AnyPoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(BUSY)
                .after_connect(move |connection, _| {
                    Box::pin(async move {
                        for pragma in setup {
                            sqlx::query(*pragma).execute(&mut *connection).await?;
                        }
                        Ok(())
                    })
                })
                .connect_with(options.clone())
        };
        let writer = open(1).await?;
        sqlx::migrate!("./migrations").run(&writer).await?;
        let readers = open(READERS).await?;
        let (jobs, queue) = mpsc::channel(QUEUE);
        tokio::spawn(write::run(writer, queue, log));
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

    /// Adds what is not there yet; returns once all of it is kept. Several nodes may do so at once with the events of one
    /// order. [`Error::Stale`]: the room is in another epoch by now.
    pub async fn extend(
        &self,
        broadcast: &BroadcastId,
        epoch: &str,
        entries: Vec<Entry>,
    ) -> Result<(), Error> {
        let epoch = epoch.to_owned();
        match self.write(broadcast, Work::Extend { epoch, entries }).await? {
            Wrote::All => Ok(()),
            Wrote::Stale => Err(Error::Stale),
        }
    }

    /// Begins the next epoch, unless somebody else did so before: then it says `false`.
    pub async fn renew(&self, broadcast: &BroadcastId, epoch: &str, next: &str) -> Result<bool, Error> {
        let (epoch, next) = (epoch.to_owned(), next.to_owned());
        let wrote = self.write(broadcast, Work::Renew { epoch, next }).await?;
        Ok(wrote == Wrote::All)
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
        self.write(broadcast, work).await.map(|_| ())
    }

    async fn write(&self, broadcast: &BroadcastId, work: Work) -> Result<Wrote, Error> {
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

/// As a URL, which has to be absolute: the first folder of another would be taken for a host.
fn sqlite_url(path: &Path) -> Result<String, Error> {
    let not_opened = |source: std::io::Error| Error::Open {
        path: path.to_owned(),
        source: source.into(),
    };
    let absolute = std::path::absolute(path).map_err(not_opened)?;
    let Some(text) = absolute.to_str() else {
        return Err(not_opened(std::io::Error::other("the path is not UTF-8")));
    };
    let escaped = text.replace('%', "%25").replace('?', "%3F").replace('#', "%23");
    Ok(format!("sqlite://{escaped}?mode=rwc"))
}

/// Numbers of the record are never negative.
fn unsigned(n: i64) -> u64 {
    n.max(0) as u64
}

/// A half-open range of moments.
pub type Range = (MediaTime, MediaTime);

#[cfg(test)]
mod tests;
