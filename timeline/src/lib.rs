//! What a moment is, and what lies on the line.
//!
//! A broadcast has one timeline from its first frame to its last: `wall time = origin + media time`, an affine
//! map that never changes. Everything that flows between the stages is placed on it. This crate does no I/O
//! and reads no clock.

mod archive;
mod broadcast;
pub mod feed;
mod frame;
mod grid;
mod source;
mod stamp;
mod texts;
mod time;
mod track;
pub mod wire;

pub use archive::{Archive, ArchiveError, Object};
pub use broadcast::{BadBroadcastId, BroadcastId, Line};
pub use frame::Frame;
pub use grid::{AAC_FRAME, Grid, PartIndex};
pub use source::{Arrangement, BadSourceName, Layout, MAX_PLACES, SourceName};
pub use stamp::{Stamp, StampSource};
pub use texts::{TextRendition, TextSegments};
pub use time::{MediaTime, Span, TICKS_PER_SECOND, Timeline, WallTime};
pub use track::{Codec, Media, Rendition, Stills, Track, TrackId};
