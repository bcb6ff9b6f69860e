//! The seam to texts that players show over the picture: who lists them is not who makes them.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::{ArchiveError, BroadcastId};

/// A rendition of texts (WebVTT), off unless a viewer chooses it. It has a segment for each one of the line, under the
/// same number: `{folder}/{msn}.vtt`. What stands under that name may change, as texts are added and taken back.
#[derive(Clone)]
pub struct TextRendition {
    /// Where it lives, beside the folders of the other renditions.
    pub folder: &'static str,
    /// What viewers choose it by.
    pub name: &'static str,
    /// RFC 5646; `und` where it may be any.
    pub language: &'static str,
    pub segments: Arc<dyn TextSegments>,
}

/// Who makes the segments, keeps them in the archive and serves them.
#[async_trait]
pub trait TextSegments: Send + Sync + 'static {
    /// The line has segment `msn`: returns once the archive has the texts of its time. From then on they are kept up to
    /// date there.
    async fn keep(&self, broadcast: &BroadcastId, msn: u64) -> Result<(), ArchiveError>;
}

impl fmt::Debug for TextRendition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextRendition")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}
