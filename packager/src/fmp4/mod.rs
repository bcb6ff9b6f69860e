//! CMAF boxes: the init segment of a rendition, and its parts.

mod init;
mod media;

pub use init::{init_segment, track};
pub use media::PartWriter;

use timeline::{Media, MediaTime, Span};

/// Where a rendition's samples are counted: 90 kHz for video, the sampling rate for audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timescale(u32);

impl Timescale {
    pub const fn of(media: Media) -> Timescale {
        match media {
            Media::Video { .. } => Timescale(timeline::TICKS_PER_SECOND as u32),
            Media::Audio { sample_rate, .. } => Timescale(sample_rate),
        }
    }

    pub const fn get(self) -> u32 {
        self.0
    }

    pub fn units(self, span: Span) -> u64 {
        let units = i128::from(span.ticks()) * i128::from(self.0) / i128::from(timeline::TICKS_PER_SECOND);
        units.max(0) as u64
    }

    /// A time on the line, counted from the origin: what `tfdt` holds.
    pub fn decode_time(self, at: MediaTime) -> u64 {
        self.units(at - MediaTime::ZERO)
    }
}
