//! The rules of LL-HLS (draft-pantos-hls-rfc8216bis-22 and Apple's authoring specification), one by one and by name,
//! over HTTP against a running origin, with real H.264 and AAC.
//!
//! What is published is read by `quick-m3u8`, `m3u8-rs`, hls.js and ffmpeg, none of them ours.

#![allow(clippy::unwrap_used)]

mod directives;
mod headers;
mod iframes;
mod lecture;
mod media;
mod playlists;
mod reader;
#[path = "../support/mod.rs"]
mod support;
mod texts;
