//! Where closed segments, inits and playlists are kept: a folder on disk or a bucket, and what is written there.

mod backlog;
mod cached;
mod disk;
mod lifetime;
pub mod s3;
mod spool;
mod writer;

pub use cached::Cached;
pub use disk::Disk;
pub use s3::S3;
pub use spool::Spool;

use timeline::ArchiveError;

pub(crate) use backlog::{Backlog, Filed, Job};
pub(crate) use lifetime::{is_ended, lifetime};
pub(crate) use writer::{Lane, Presented, TextLane, Writer};

/// Far more than `{id}/{rendition}/{name}` needs.
const LONGEST_KEY: usize = 512;

/// What file systems allow.
const LONGEST_NAME: usize = 255;

/// A key is a relative path of plain names, so it can never leave its folder.
fn check_key(key: &str) -> Result<&str, ArchiveError> {
    match key.len() <= LONGEST_KEY && key.split('/').all(is_name) {
        true => Ok(key),
        false => Err(ArchiveError::BadKey(key.to_owned())),
    }
}

fn is_name(name: &str) -> bool {
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_');
    !name.is_empty() && name.len() <= LONGEST_NAME && !name.starts_with('.') && name.bytes().all(plain)
}

/// What a name says of its content; a folder on disk keeps nothing but names.
pub(crate) fn content_type(key: &str) -> &'static str {
    // An audio rendition is named `audio` or `audio-de`, and lives in a folder of that name.
    let audio = key
        .rsplit('/')
        .nth(1)
        .is_some_and(|folder| folder.starts_with("audio"));
    match key.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "m3u8" => crate::playlist::CONTENT_TYPE,
        "m4s" | "mp4" if audio => "audio/mp4",
        "m4s" | "mp4" => "video/mp4",
        "json" => "application/json",
        "vtt" => "text/vtt; charset=utf-8",
        "txt" => "text/plain; charset=utf-8",
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        "webp" => "image/webp",
        "pdf" => "application/pdf",
        _ => "application/octet-stream",
    }
}
