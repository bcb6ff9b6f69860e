//! A broadcast that is over as one MP4 to download: `recording.mp4`.
//!
//! ```text
//! segments ─ samples ─→ index ─ movie ─→ header + layout ─ serve ─→ HTTP, range by range from the archive
//!            (pure)     (kept)   (pure)   (pure)
//! ```
//!
//! Nothing is written twice: the file is a header of a few megabytes and a map of where its samples stand in the
//! archived segments. The index is written down while the broadcast is archived (`recorder`); where it is missing
//! it is made from the segments (`library`).

mod index;
mod layout;
mod library;
mod listed;
mod movie;
mod recorder;
mod samples;
mod serve;

pub use library::Library;
pub use recorder::Recorder;
pub use serve::too_early;

/// Beside the playlists of a broadcast.
pub const INDEX: &str = "recording.index";
