//! The queue as files: `{number}.put` is a line of JSON and then the object, `{number}.delete` the line alone.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use timeline::Object;

use super::queue::{Entry, Kind};
use crate::archive::lifetime::is_pointer;

/// A key of 512 bytes and a content type, with their quotes; more is not our file.
const LONGEST_HEADER: u64 = 2048;

/// Being written; left by a crash it was never acknowledged.
const UNFINISHED: &str = "unfinished";

#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Header {
    key: String,
    content_type: String,
}

impl Folder {
    /// Makes it if need be, clears what a crash left unfinished, and gives what waits, in its order.
    pub fn open(path: PathBuf) -> io::Result<(Folder, Vec<(u64, Entry)>)> {
        fs::create_dir_all(&path)?;
        let mut waiting = Vec::new();
        for file in fs::read_dir(&path)? {
            let file = file?.path();
            if extension(&file) == UNFINISHED {
                fs::remove_file(&file)?;
            } else if let Some(number) = number(&file) {
                match entry(&file) {
                    Ok(entry) => waiting.push((number, entry)),
                    // Sent, and removed just now: what was uploading before is still on its way out.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => {
                        let what = format!("{} cannot be read: {error}", file.display());
                        return Err(io::Error::new(error.kind(), what));
                    }
                }
            }
        }
        waiting.sort_by_key(|(number, _)| *number);
        Ok((Folder { path }, waiting))
    }

    /// Returns once it is safe.
    pub fn put(&self, number: u64, key: &str, object: &Object) -> io::Result<Entry> {
        let kind = if is_pointer(key) {
            Kind::Pointer
        } else {
            Kind::Object
        };
        self.write(number, key, kind, &object.content_type, &object.body)
    }

    /// Returns once it is safe.
    pub fn delete(&self, number: u64, key: &str) -> io::Result<Entry> {
        self.write(number, key, Kind::Delete, "", &[])
    }

    /// Written aside, made safe, then given its name.
    fn write(
        &self,
        number: u64,
        key: &str,
        kind: Kind,
        content_type: &str,
        body: &[u8],
    ) -> io::Result<Entry> {
        let aside = self.path.join(format!("{number:020}.{UNFINISHED}"));
        let header = Header {
            key: key.to_owned(),
            content_type: content_type.to_owned(),
        };
        let written = self.place(&aside, &self.named(number, kind), &header, body);
        if written.is_err() {
            // The error of the write is the one to tell.
            let _ = fs::remove_file(&aside);
        }
        written.map(|()| Entry {
            key: header.key,
            kind,
            bytes: body.len() as u64,
            since: SystemTime::now(),
        })
    }

    fn place(&self, aside: &Path, place: &Path, header: &Header, body: &[u8]) -> io::Result<()> {
        let mut line = serde_json::to_vec(header)?;
        line.push(b'\n');
        let mut file = File::create(aside)?;
        file.write_all(&line)?;
        file.write_all(body)?;
        file.sync_data()?;
        fs::rename(aside, place)?;
        // The name is safe only when the folder is.
        File::open(&self.path)?.sync_all()
    }

    pub fn read(&self, number: u64) -> io::Result<Object> {
        let mut file = BufReader::new(File::open(self.named(number, Kind::Object))?);
        let Header { content_type, .. } = header(&mut file)?;
        let mut body = Vec::new();
        file.read_to_end(&mut body)?;
        Ok(Object {
            body: Bytes::from(body),
            content_type,
        })
    }

    /// Removing what is not there is no error.
    pub fn remove(&self, number: u64) -> io::Result<()> {
        for kind in [Kind::Object, Kind::Delete] {
            match fs::remove_file(self.named(number, kind)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn named(&self, number: u64, kind: Kind) -> PathBuf {
        let extension = if kind == Kind::Delete { "delete" } else { "put" };
        self.path.join(format!("{number:020}.{extension}"))
    }
}

fn entry(path: &Path) -> io::Result<Entry> {
    let file = File::open(path)?;
    let (length, since) = file
        .metadata()
        .and_then(|about| Ok((about.len(), about.modified()?)))?;
    let mut file = BufReader::new(file);
    let Header { key, .. } = header(&mut file)?;
    let read = std::io::Seek::stream_position(&mut file)?;
    Ok(Entry {
        kind: match extension(path) {
            "delete" => Kind::Delete,
            _ if is_pointer(&key) => Kind::Pointer,
            _ => Kind::Object,
        },
        key,
        bytes: length - read,
        since,
    })
}

fn header(file: &mut impl BufRead) -> io::Result<Header> {
    let mut line = Vec::new();
    file.by_ref().take(LONGEST_HEADER).read_until(b'\n', &mut line)?;
    Ok(serde_json::from_slice(&line)?)
}

/// None for what is not one of ours.
fn number(path: &Path) -> Option<u64> {
    matches!(extension(path), "put" | "delete")
        .then(|| path.file_stem()?.to_str()?.parse().ok())
        .flatten()
}

fn extension(path: &Path) -> &str {
    path.extension()
        .and_then(|extension| extension.to_str())
        .unwrap_or("")
}
