//! The pieces of one rendition: a cut of frames, the part made of it, the segment made of its parts.

use std::ops::Range;

use bytes::Bytes;
use timeline::{Frame, MediaTime, PartIndex, Span};

use crate::playlist::Picture;

/// The frames of one part, as they came: what the segmenter makes and the barrier lines up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    pub index: PartIndex,
    /// Where its first frame starts; for a gap, where it would.
    pub start: MediaTime,
    pub frames: Vec<Frame>,
    /// How long it lasts: the sum of its frames, or what is missing.
    pub duration: Span,
    /// The frames of this part were never made, or cannot be decoded without such frames.
    pub gap: bool,
}

impl Cut {
    pub fn end(&self) -> MediaTime {
        self.start + self.duration
    }

    /// Whether a player can start here.
    pub fn independent(&self) -> bool {
        self.frames.first().is_some_and(|frame| frame.keyframe)
    }
}

/// A CMAF chunk: `moof` and `mdat`, before them a `styp` where a segment begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub index: PartIndex,
    pub start: MediaTime,
    pub duration: Span,
    pub independent: bool,
    pub gap: bool,
    /// Empty for a gap.
    pub body: Bytes,
    /// Where in the body the picture stands that the part begins with, if it needs no other: a chunk of its own.
    pub picture: Option<Range<usize>>,
}

/// All parts of one MSN. Its bytes are theirs, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    pub msn: u64,
    pub start: MediaTime,
    pub duration: Span,
    /// A segment with a hole is not offered at all.
    pub gap: bool,
    pub body: Bytes,
    /// The pictures that need no other, each at the head of a part.
    pub pictures: Vec<Picture>,
}

impl Segment {
    /// Joins the parts of a segment, and lets each part share the segment's memory from then on.
    pub fn of(parts: &mut [Part]) -> Option<Segment> {
        let first = parts.first()?;
        let (msn, start) = (first.index.msn, first.start);
        let duration = parts.iter().fold(Span::ZERO, |sum, part| sum + part.duration);
        let gap = parts.iter().any(|part| part.gap);
        let body = Bytes::from(
            parts
                .iter()
                .map(|part| &part.body[..])
                .collect::<Vec<_>>()
                .concat(),
        );
        let (mut at, mut pictures) = (0, Vec::new());
        for part in parts {
            let end = at + part.body.len();
            pictures.extend(part.picture.iter().map(|picture| Picture {
                after: part.start - start,
                bytes: (at + picture.start) as u64..(at + picture.end) as u64,
            }));
            part.body = body.slice(at..end);
            at = end;
        }
        Some(Segment {
            msn,
            start,
            duration,
            gap,
            body,
            pictures,
        })
    }
}
