//! The seam to where closed segments, inits, playlists and replay chunks are kept.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;

/// What is kept under one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    pub body: Bytes,
    pub content_type: String,
}

impl Object {
    /// Some of its bytes; fewer (or none) where it is shorter.
    pub fn range(&self, range: Range<u64>) -> Bytes {
        let [start, end] = [range.start, range.end].map(|at| at.min(self.body.len() as u64) as usize);
        self.body.slice(start.min(end)..end)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("nothing is kept under {0}")]
    NotFound(String),
    #[error("{0} is not a key: keys are relative paths of plain names")]
    BadKey(String),
    #[error("{key}: {source}")]
    Io { key: String, source: std::io::Error },
}

/// Keys are the paths below `/broadcasts/`: `algebra-1/720p/17.m4s`. The same tree is in memory, on disk, in a
/// bucket, behind the CDN and in the URL.
#[async_trait]
pub trait Archive: Send + Sync + 'static {
    /// Whole or not at all: a reader sees the old object or the new one. Returns once it is safely kept.
    async fn put(&self, key: &str, object: Object) -> Result<(), ArchiveError>;

    async fn get(&self, key: &str) -> Result<Object, ArchiveError>;

    /// How many bytes an object has.
    async fn size(&self, key: &str) -> Result<u64, ArchiveError> {
        Ok(self.get(key).await?.body.len() as u64)
    }

    /// Some bytes of an object; fewer (or none) where it is shorter.
    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, ArchiveError> {
        Ok(self.get(key).await?.range(range))
    }

    /// Deleting what is not there is no error.
    async fn delete(&self, key: &str) -> Result<(), ArchiveError>;

    /// The names directly below a folder, folders and objects alike, in no order.
    async fn list(&self, folder: &str) -> Result<Vec<String>, ArchiveError>;
}
