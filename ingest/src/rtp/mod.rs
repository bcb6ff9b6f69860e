//! RTP packets in, frames out. Nothing here does I/O or reads a clock.
//!
//! `rtc`'s own depacketisers are not used: its H.264 one reads past the end of a cut STAP-A and joins fragments
//! over a loss, its VP8 one refuses the short last packet of a frame.

mod av1;
mod bits;
mod h264;
mod intake;
mod jitter;
mod keyframes;
mod picture;
mod reorder;
mod repair;
mod size;
#[cfg(test)]
mod tests;
mod vp8;
mod vp9;

use bytes::Bytes;

pub(crate) use intake::Intake;
pub(crate) use jitter::Jitter;
pub(crate) use repair::Repair;
pub(crate) use size::size;

/// One RTP packet: decrypted, taken out of RTX, padding removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub ssrc: u32,
    pub payload_type: u8,
    pub sequence: u16,
    pub timestamp: u32,
    pub marker: bool,
    pub payload: Bytes,
}

/// One access unit or one audio frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Picture {
    pub timestamp: u32,
    pub keyframe: bool,
    pub payload: Bytes,
}
