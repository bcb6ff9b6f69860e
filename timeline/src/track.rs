//! What a run of frames is: a source's track, or a rendition of the ladder.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{SourceName, Span};

/// Names a track within one feed. Never reused: a publisher that returns brings new tracks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TrackId(pub u32);

impl fmt::Display for TrackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a publisher sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// Access units in Annex B byte-stream form; parameter sets precede each IDR.
    H264,
    Vp8,
    /// One superframe per frame.
    Vp9,
    /// A temporal unit in the low-overhead format (AV1 §5), with its temporal delimiter.
    Av1,
    /// 48 kHz; one packet per frame.
    Opus,
    /// 16 kHz, mono; one RTP payload per frame. Its RTP clock counts 8 kHz (RFC 3551 §4.5.2).
    G722,
    /// 8 kHz, mono; one RTP payload per frame.
    Pcmu,
    Pcma,
}

impl Codec {
    pub const ALL: [Codec; 8] = [
        Codec::H264,
        Codec::Vp8,
        Codec::Vp9,
        Codec::Av1,
        Codec::Opus,
        Codec::G722,
        Codec::Pcmu,
        Codec::Pcma,
    ];

    pub const fn is_video(self) -> bool {
        matches!(self, Codec::H264 | Codec::Vp8 | Codec::Vp9 | Codec::Av1)
    }

    /// Of its RTP timestamps, in Hz.
    pub const fn clock_rate(self) -> u32 {
        match self {
            Codec::H264 | Codec::Vp8 | Codec::Vp9 | Codec::Av1 => 90_000,
            Codec::Opus => 48_000,
            Codec::G722 | Codec::Pcmu | Codec::Pcma => 8_000,
        }
    }

    /// As `a=rtpmap` spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Codec::H264 => "H264",
            Codec::Vp8 => "VP8",
            Codec::Vp9 => "VP9",
            Codec::Av1 => "AV1",
            Codec::Opus => "opus",
            Codec::G722 => "G722",
            Codec::Pcmu => "PCMU",
            Codec::Pcma => "PCMA",
        }
    }
}

/// One track of a source, as the ingest announces it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Track {
    pub id: TrackId,
    pub codec: Codec,
    /// Whose it is. At most one picture and one sound of a source run at once.
    pub source: SourceName,
}

/// The shape of a rendition's media.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Media {
    /// H.264, one frame per slot. Frames are length-prefixed NAL units (4 bytes), parameter sets only in `init`.
    Video { width: u32, height: u32, frame: Span },
    /// AAC-LC, one frame per 1,920 ticks. Frames are raw, without ADTS.
    Audio { sample_rate: u32, channels: u32 },
}

/// One encoded version of a track: what the transcoder makes and the packager lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rendition {
    pub id: TrackId,
    /// The folder it lives in: `720p`, `audio`.
    pub name: String,
    pub media: Media,
    /// RFC 6381, as CODECS wants it: `avc1.64001f`, `mp4a.40.2`.
    pub codec: String,
    /// Peak and average rate in bits per second, without container overhead.
    pub bandwidth: u32,
    pub average_bandwidth: u32,
    /// AVCDecoderConfigurationRecord or AudioSpecificConfig. That of pictures may change at the head of a segment: the
    /// rendition is told again, the same but for it, before the first frame that needs it.
    pub init: Bytes,
}

/// The stills of a line: one small picture of each segment, for whoever looks for a place in it. No rendition: no
/// playlist lists them, and nothing waits for one. Frames are JPEGs, each a keyframe, at the time of its picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stills {
    pub id: TrackId,
    /// Of each, in pixels.
    pub width: u32,
    pub height: u32,
}

impl Rendition {
    pub const fn is_video(&self) -> bool {
        matches!(self.media, Media::Video { .. })
    }

    /// Whether this is the other, told again with another `init` at most.
    pub fn is_same_but_for_init(&self, other: &Rendition) -> bool {
        let init = other.init.clone();
        Rendition { init, ..self.clone() } == *other
    }
}
