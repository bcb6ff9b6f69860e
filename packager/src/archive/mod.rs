//! Where closed segments, inits and playlists are kept: the folder on disk, and what is written to it.

mod backlog;
mod disk;
mod writer;

pub use disk::Disk;

pub(crate) use backlog::{Backlog, Job};
pub(crate) use writer::{Lane, Presented, Writer};

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
