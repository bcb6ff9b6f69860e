//! The bytes of an upload, as they come: small ones in memory, others on disk. However slow it is, and however many
//! there are, they hold no memory.

use std::io::{self, SeekFrom};
use std::path::Path;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt;
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio::time::timeout;

/// Uploads of up to so many bytes never see the disk.
const IN_MEMORY: usize = 128 * 1024;

/// A client that sends nothing for so long is gone.
const SILENCE: Duration = Duration::from_secs(30);

/// 20 MiB over a bad mobile link.
const LONGEST: Duration = Duration::from_secs(600);

#[derive(Debug, thiserror::Error)]
pub enum Failed {
    #[error("a file has at most {0} bytes")]
    TooLarge(u64),
    #[error("the upload took too long")]
    TooSlow,
    #[error("the upload broke off: {0}")]
    BrokenOff(axum::Error),
    #[error("the upload could not be kept: {0}")]
    Disk(#[from] io::Error),
}

/// A whole upload.
pub struct Received {
    /// Of all bytes.
    pub hasher: Sha256,
    pub size: u64,
    start: Vec<u8>,
    /// What did not fit into memory, and then everything.
    file: Option<File>,
}

impl Received {
    /// `folder`: for what is too large for the memory; nothing stays there.
    pub async fn of(body: Body, max_bytes: u64, folder: &Path) -> Result<Received, Failed> {
        let all = Self::gather(body, max_bytes, folder);
        timeout(LONGEST, all).await.map_err(|_| Failed::TooSlow)?
    }

    async fn gather(body: Body, max_bytes: u64, folder: &Path) -> Result<Received, Failed> {
        let mut received = Received {
            hasher: Sha256::new(),
            size: 0,
            start: Vec::new(),
            file: None,
        };
        let mut pieces = body.into_data_stream();
        while let Some(piece) = timeout(SILENCE, pieces.next())
            .await
            .map_err(|_| Failed::TooSlow)?
        {
            let piece = piece.map_err(Failed::BrokenOff)?;
            received.size += piece.len() as u64;
            if received.size > max_bytes {
                return Err(Failed::TooLarge(max_bytes));
            }
            received.hasher.update(&piece);
            received.take(&piece, folder).await?;
        }
        Ok(received)
    }

    async fn take(&mut self, piece: &[u8], folder: &Path) -> io::Result<()> {
        if self.file.is_none() && self.start.len() + piece.len() <= IN_MEMORY {
            self.start.extend_from_slice(piece);
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let file = none.insert(unnamed(folder).await?);
                file.write_all(&std::mem::take(&mut self.start)).await?;
                file
            }
        };
        file.write_all(piece).await
    }

    /// All of it, in memory.
    pub async fn bytes(self) -> io::Result<Bytes> {
        let Some(mut file) = self.file else {
            return Ok(self.start.into());
        };
        file.flush().await?;
        file.seek(SeekFrom::Start(0)).await?;
        let mut bytes = Vec::with_capacity(usize::try_from(self.size).unwrap_or_default());
        file.read_to_end(&mut bytes).await?;
        Ok(bytes.into())
    }
}

/// A file without a name, so that nothing is left of it, even after a crash.
async fn unnamed(folder: &Path) -> io::Result<File> {
    let folder = folder.to_owned();
    let file = tokio::task::spawn_blocking(move || tempfile::tempfile_in(folder)).await;
    Ok(File::from_std(file.map_err(io::Error::other).flatten()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn receive(pieces: Vec<Result<Bytes, io::Error>>, max: u64) -> Result<Received, Failed> {
        let folder = tempfile::tempdir().unwrap();
        let body = Body::from_stream(futures::stream::iter(pieces));
        let received = Received::of(body, max, folder.path()).await;
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            0,
            "nothing stays there"
        );
        received
    }

    #[tokio::test]
    async fn small_and_large() {
        for (count, len) in [
            (0, 0),
            (1, 5),
            (3, IN_MEMORY / 2),
            (40, 100_000),
            (1, IN_MEMORY + 1),
        ] {
            let piece = |n: usize| Bytes::from(vec![n as u8; len]);
            let pieces = (0..count).map(|n| Ok(piece(n))).collect();
            let expected: Vec<u8> = (0..count).flat_map(piece).collect();
            let received = receive(pieces, 10_000_000).await.unwrap();
            assert_eq!(received.size, expected.len() as u64);
            assert_eq!(
                received.hasher.clone().finalize(),
                Sha256::new_with_prefix(&expected).finalize()
            );
            assert_eq!(received.file.is_some(), expected.len() > IN_MEMORY);
            assert_eq!(received.bytes().await.unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn too_large() {
        let pieces = || vec![Ok(Bytes::from_static(b"12345")), Ok(Bytes::from_static(b"6"))];
        assert!(matches!(receive(pieces(), 5).await, Err(Failed::TooLarge(5))));
        assert!(receive(pieces(), 6).await.is_ok());
    }

    #[tokio::test]
    async fn broken_off() {
        let pieces = vec![Ok(Bytes::from_static(b"12345")), Err(io::Error::other("gone"))];
        assert!(matches!(receive(pieces, 100).await, Err(Failed::BrokenOff(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn silent() {
        let body = Body::from_stream(futures::stream::pending::<Result<Bytes, io::Error>>());
        let received = Received::of(body, 100, Path::new("/")).await;
        assert!(matches!(received, Err(Failed::TooSlow)));
    }
}
