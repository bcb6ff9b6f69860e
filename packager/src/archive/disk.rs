//! The archive as a folder: keys are paths below it.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use timeline::{Archive, ArchiveError, Object};

use super::{check_key, content_type, is_name};

/// Objects being written stand here; the name is no key, so none is ever read.
const UNFINISHED: &str = ".unfinished";

/// Cheap to clone. Content types are told by names alone: a folder keeps none.
#[derive(Clone, Debug)]
pub struct Disk(Arc<Folder>);

#[derive(Debug)]
struct Folder {
    root: PathBuf,
    /// Names unfinished objects apart.
    count: AtomicU64,
}

impl Disk {
    /// Opens the folder, making it if need be, and clears what a crash left unfinished.
    pub fn open(root: PathBuf) -> io::Result<Disk> {
        let unfinished = root.join(UNFINISHED);
        match fs::remove_dir_all(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::create_dir_all(&unfinished)?;
        Ok(Disk(Arc::new(Folder {
            root,
            count: AtomicU64::new(0),
        })))
    }

    /// File systems block, so each call runs where blocking is allowed.
    async fn run<T: Send + 'static>(
        &self,
        key: &str,
        work: impl FnOnce(&Folder, &Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, ArchiveError> {
        let path = self.0.root.join(check_key(key)?);
        let folder = self.0.clone();
        let done = tokio::task::spawn_blocking(move || work(&folder, &path)).await;
        done.map_err(io::Error::other)
            .flatten()
            .map_err(|source| match source.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => {
                    ArchiveError::NotFound(key.to_owned())
                }
                _ => ArchiveError::Io {
                    key: key.to_owned(),
                    source,
                },
            })
    }
}

#[async_trait]
impl Archive for Disk {
    async fn put(&self, key: &str, object: Object) -> Result<(), ArchiveError> {
        self.run(key, move |folder, path| folder.put(path, &object.body))
            .await
    }

    async fn get(&self, key: &str) -> Result<Object, ArchiveError> {
        let body = self.run(key, |_, path| fs::read(path)).await?;
        Ok(Object {
            body: body.into(),
            content_type: content_type(key).to_owned(),
        })
    }

    async fn size(&self, key: &str) -> Result<u64, ArchiveError> {
        self.run(key, |_, path| match fs::metadata(path)? {
            file if file.is_file() => Ok(file.len()),
            _ => Err(io::ErrorKind::IsADirectory.into()),
        })
        .await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, ArchiveError> {
        let body = self.run(key, move |_, path| read_range(path, range)).await?;
        Ok(body.into())
    }

    async fn delete(&self, key: &str) -> Result<(), ArchiveError> {
        match self.run(key, |_, path| fs::remove_file(path)).await {
            Err(ArchiveError::NotFound(_)) => Ok(()),
            done => done,
        }
    }

    async fn list(&self, folder: &str) -> Result<Vec<String>, ArchiveError> {
        let names = match folder {
            "" => {
                let root = self.0.root.clone();
                let listed = tokio::task::spawn_blocking(move || names(&root)).await;
                let io = |source| ArchiveError::Io {
                    key: String::new(),
                    source,
                };
                listed.map_err(io::Error::other).flatten().map_err(io)
            }
            _ => self.run(folder, |_, path| names(path)).await,
        };
        match names {
            Err(ArchiveError::NotFound(_)) => Ok(Vec::new()),
            names => names,
        }
    }
}

impl Folder {
    /// Written aside, made safe, then moved into place: a reader sees the old object or the new one.
    fn put(&self, path: &Path, body: &[u8]) -> io::Result<()> {
        let aside = self
            .root
            .join(UNFINISHED)
            .join(self.count.fetch_add(1, Ordering::Relaxed).to_string());
        let placed = self.place(&aside, path, body);
        if placed.is_err() {
            // The error of the write is the one to tell.
            let _ = fs::remove_file(&aside);
        }
        placed
    }

    fn place(&self, aside: &Path, path: &Path, body: &[u8]) -> io::Result<()> {
        let mut file = File::create(aside)?;
        file.write_all(body)?;
        file.sync_data()?;
        let parent = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(parent)?;
        fs::rename(aside, path)?;
        // The rename is safe only when the folder is.
        File::open(parent)?.sync_all()
    }
}

fn read_range(path: &Path, range: Range<u64>) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(io::SeekFrom::Start(range.start))?;
    let mut body = Vec::new();
    file.take(range.end.saturating_sub(range.start))
        .read_to_end(&mut body)?;
    Ok(body)
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    let names = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().into_string()));
    let names: io::Result<Vec<_>> = names.collect();
    Ok(names?
        .into_iter()
        .flatten()
        .filter(|name| is_name(name))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(body: &'static str) -> Object {
        Object {
            body: Bytes::from_static(body.as_bytes()),
            content_type: "video/mp4".into(),
        }
    }

    fn disk() -> (tempfile::TempDir, Disk) {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path().join("archive")).unwrap();
        (folder, disk)
    }

    #[tokio::test]
    async fn what_is_put_is_kept() {
        let (_folder, disk) = disk();
        disk.put("a/720p/0.m4s", object("one")).await.unwrap();
        disk.put("a/720p/0.m4s", object("two")).await.unwrap();
        assert_eq!(disk.get("a/720p/0.m4s").await.unwrap(), object("two"));
        for (range, bytes) in [(0..2, "tw"), (1..9, "wo"), (5..9, ""), (3..3, "")] {
            assert_eq!(
                disk.get_range("a/720p/0.m4s", range).await.unwrap(),
                bytes.as_bytes()
            );
        }
        assert_eq!(disk.size("a/720p/0.m4s").await.unwrap(), 3);
        for absent in ["a/720p", "a/720p/1.m4s"] {
            assert!(matches!(disk.size(absent).await, Err(ArchiveError::NotFound(_))));
        }
        assert_eq!(disk.list("a").await.unwrap(), ["720p"]);
        assert_eq!(disk.list("a/720p").await.unwrap(), ["0.m4s"]);
        assert_eq!(disk.list("").await.unwrap(), ["a"]);
        disk.delete("a/720p/0.m4s").await.unwrap();
        disk.delete("a/720p/0.m4s").await.unwrap();
        assert!(matches!(
            disk.get("a/720p/0.m4s").await,
            Err(ArchiveError::NotFound(_))
        ));
        assert!(matches!(disk.get("a/720p").await, Err(ArchiveError::NotFound(_))));
        assert!(disk.list("b").await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn keys_cannot_leave_the_folder() {
        let (_folder, disk) = disk();
        for key in [
            "",
            "..",
            "../x",
            "a/../../x",
            "/etc/passwd",
            "a//b",
            "a/.x",
            "a/b\0",
            "a\\b",
            "ä",
            &"x/".repeat(400),
        ] {
            assert!(
                matches!(disk.put(key, object("x")).await, Err(ArchiveError::BadKey(_))),
                "{key}"
            );
            assert!(
                matches!(disk.get(key).await, Err(ArchiveError::BadKey(_))),
                "{key}"
            );
        }
    }

    #[tokio::test]
    async fn what_a_crash_left_is_cleared() {
        let (folder, disk) = disk();
        disk.put("a/x.json", object("{}")).await.unwrap();
        let left = folder.path().join("archive").join(UNFINISHED).join("7");
        fs::write(&left, "half").unwrap();
        let disk = Disk::open(folder.path().join("archive")).unwrap();
        assert!(!left.exists());
        assert_eq!(
            disk.get("a/x.json").await.unwrap().content_type,
            "application/json"
        );
    }

    #[test]
    fn names_tell_content_types() {
        assert_eq!(content_type("a/audio/0.m4s"), "audio/mp4");
        assert_eq!(content_type("a/720p/0.m4s"), "video/mp4");
        assert_eq!(content_type("audio/720p/init-1.mp4"), "video/mp4");
        assert_eq!(content_type("a/index.m3u8"), "application/vnd.apple.mpegurl");
    }
}
