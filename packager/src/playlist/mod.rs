//! Playlists: plain structs whose fields are the tags, and pure functions that write them down.
//!
//! Section numbers are those of draft-pantos-hls-rfc8216bis.

mod decimal;
mod media;
mod multivariant;

pub use media::{END_LIST, Media, Open, Part, Picture, RenditionReport, Segment, ServerControl, Turn};
pub use multivariant::{Alternative, IFrameVariant, Multivariant, Subtitles, Variant};

/// The one right Content-Type (section 4).
pub const CONTENT_TYPE: &str = "application/vnd.apple.mpegurl";
