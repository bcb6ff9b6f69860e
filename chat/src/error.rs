use std::path::PathBuf;

use timeline::ArchiveError;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("chat.{setting}: {reason}")]
    Config {
        setting: &'static str,
        reason: &'static str,
    },
    #[error("cannot open the record of the rooms in {path}: {source}")]
    Open { path: PathBuf, source: sqlx::Error },
    #[error("cannot connect to the database of the rooms: {0}")]
    Connect(String),
    #[error(transparent)]
    Broker(#[from] crate::broker::Error),
    #[error("cannot bring the record of the rooms up to date: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    #[error("the record of the rooms: {0}")]
    Record(#[from] sqlx::Error),
    #[error("the rows of one commit were not kept: {0}")]
    NotKept(String),
    #[error("the room is in another epoch by now")]
    Stale,
    #[error("the record of the rooms holds {0}, which this version does not know")]
    Unreadable(String),
    #[error("the archive of the replay: {0}")]
    Archive(#[from] ArchiveError),
    #[error("the replay's index in the archive cannot be read: {0}")]
    ArchivedIndex(serde_json::Error),
    #[error("there is no broadcast of that name")]
    Unknown,
    #[error("the rooms are closing")]
    Closing,
}
