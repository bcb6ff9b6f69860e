//! A lecture's sources in, a keyframe-aligned ladder of renditions out.
//!
//! The line is driven by the clock, not by the input: the slot for capture time `t` leaves at `t + D`, filled
//! with the picture that each source captured last at or before `t`. The grid is plain Rust ([`line`], [`scene`],
//! [`picture`], [`mix`], [`sound`]: time is an argument); GStreamer decodes what comes in ([`decode`]), paints scenes of
//! several pictures ([`scene::Canvas`]) and encodes what goes out ([`encode`], [`stills`]).
//!
//! C code that decodes what strangers send crashes alone: it runs in a child process ([`child`]), which
//! [`run`] supervises. A respawned child encodes the slots that are missing, then goes live.

mod avc;
mod backlog;
mod barrier;
mod child;
mod config;
mod confine;
mod copy;
mod decode;
mod encode;
mod error;
pub mod lecture;
mod line;
mod mix;
mod picture;
mod report;
mod scene;
mod slate;
mod sound;
mod stall;
mod stills;
mod supervisor;
mod warm;
mod wire;

pub use child::{child, confine_here};
pub use config::{Config, Passthrough, Rung};
pub use confine::Sandbox;
pub use error::Error;
pub use supervisor::{Incident, Incidents, Reason, Transcoder, run};
pub use wire::Job;
