//! The room beside the picture: messages in over WebSocket; stamped, ordered, moderated, kept, replayed.
//!
//! What is said flows: frame → [`wire`] → [`room::Room`] (the thinking, without I/O or clock) → [`record`] (kept)
//! → fan-out to every [`socket`] → [`replay`] chunks beside the segments, and [`subtitles`] for players that know nothing
//! of us.
//!
//! `docs/room-protocol.md` is the wire in words.

mod api;
mod broker;
mod clock;
mod config;
mod error;
mod event;
mod export;
mod files;
mod gate;
mod guests;
mod hex;
mod keeper;
pub mod moderation;
mod problem;
mod record;
mod replay;
mod room;
mod rooms;
mod routes;
mod settings;
mod socket;
mod subtitles;
#[cfg(test)]
mod testing;
mod wire;

/// Where a room is replayed from, in the folder of its broadcast.
pub const FOLDER: &str = "chat";

pub use config::{Config, Rate};
pub use error::Error;
pub use event::{Attached, Audience, Event, Kind, Person, Role, Text};
pub use files::Limits as FileLimits;
pub use gate::{Gate, Pass, Refusal};
pub use moderation::RepeatLimits;
pub use room::{Buckets, RetryAfter};
pub use rooms::{Common, Rooms};
pub use settings::Settings;
