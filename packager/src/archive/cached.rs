//! An archive with a small memory for media: fifty viewers who rewind to the same moment cost its store one request.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use moka::future::Cache;
use timeline::{Archive, ArchiveError, Object};

use super::lifetime::is_media;

pub struct Cached {
    archive: Arc<dyn Archive>,
    /// Only what never changes and is never taken back.
    media: Cache<String, Object>,
}

impl Cached {
    /// Holds at most so many bytes of media.
    pub fn new(archive: Arc<dyn Archive>, bytes: u64) -> Cached {
        let weight = |_: &String, object: &Object| u32::try_from(object.body.len()).unwrap_or(u32::MAX);
        let media = Cache::builder().weigher(weight).max_capacity(bytes).build();
        Cached { archive, media }
    }
}

#[async_trait]
impl Archive for Cached {
    async fn put(&self, key: &str, object: Object) -> Result<(), ArchiveError> {
        self.archive.put(key, object).await
    }

    /// Those who ask while the answer is on its way share it, a failure too.
    async fn get(&self, key: &str) -> Result<Object, ArchiveError> {
        if !is_media(key) {
            return self.archive.get(key).await;
        }
        let found = self.media.try_get_with_by_ref(key, self.archive.get(key)).await;
        found.map_err(|error| shared(&error))
    }

    async fn size(&self, key: &str) -> Result<u64, ArchiveError> {
        match self.media.get(key).await {
            Some(object) => Ok(object.body.len() as u64),
            None => self.archive.size(key).await,
        }
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, ArchiveError> {
        match self.media.get(key).await {
            Some(object) => Ok(object.range(range)),
            None => self.archive.get_range(key, range).await,
        }
    }

    async fn delete(&self, key: &str) -> Result<(), ArchiveError> {
        let deleted = self.archive.delete(key).await;
        self.media.invalidate(key).await;
        deleted
    }

    async fn list(&self, folder: &str) -> Result<Vec<String>, ArchiveError> {
        self.archive.list(folder).await
    }
}

fn shared(error: &ArchiveError) -> ArchiveError {
    match error {
        ArchiveError::NotFound(key) => ArchiveError::NotFound(key.clone()),
        ArchiveError::BadKey(key) => ArchiveError::BadKey(key.clone()),
        ArchiveError::Io { key, source } => ArchiveError::Io {
            key: key.clone(),
            source: io::Error::new(source.kind(), source.to_string()),
        },
    }
}
