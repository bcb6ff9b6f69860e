//! Frames in; CMAF parts, segments and LL-HLS playlists out.
//!
//! What flows, file by file:
//!
//! ```text
//! frames ─ segmenter ─→ cuts ─ barrier ─→ rows ─ presentation ─→ parts, segments, playlists
//!          (one rendition)     (all of them)      (fmp4, listing)      │              │
//!                                                                     air ─→ origin (HTTP)
//!                                                                      └──→ archive
//! ```
//!
//! Stills come beside the frames and pass no barrier; the `storyboard` names those of closed segments.
//!
//! The left half is pure: it reads no clock and does no I/O. [`Origin::package`] drives it for one broadcast (the
//! line of records through the `assembly`, the archive's writer beside it);
//! [`Origin::router`] serves every broadcast, those on air from memory, all others from the archive (`recording`
//! makes one MP4 of those that are over).

mod air;
mod album;
pub mod archive;
mod assembly;
mod barrier;
mod config;
mod error;
mod fmp4;
mod kept;
mod ladder;
mod listing;
mod meters;
mod origin;
mod packaging;
mod part;
pub mod playlist;
mod presentation;
mod recording;
#[cfg(test)]
mod rules;
mod segmenter;
mod storyboard;
mod text;
mod whole;

#[cfg(test)]
mod testing;

pub use config::Config;
pub use error::Error;
pub use origin::{Interrupted, Job, OnAir, Origin};
pub use packaging::Packaged;
