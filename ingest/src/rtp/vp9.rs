//! VP9 in RTP (RFC 9628) → superframes.
//!
//! A picture is all that has one timestamp: one frame, or one for each spatial layer. The decoder is given them
//! together and shows the highest.

use bytes::{BufMut, Bytes, BytesMut};

use super::bits::Bits;
use super::picture::{Damaged, Payload};

const PICTURE_ID: u8 = 0x80;
const INTER_PREDICTED: u8 = 0x40;
const LAYER_INDICES: u8 = 0x20;
const FLEXIBLE: u8 = 0x10;
const BEGINS_FRAME: u8 = 0x08;
const ENDS_FRAME: u8 = 0x04;
const SCALABILITY: u8 = 0x02;

/// §4.2: at most three reference indices.
const MAX_REFERENCES: usize = 3;
/// A superframe holds at most so many frames (VP9 bitstream specification, Annex B).
const MAX_FRAMES: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Vp9 {
    bytes: BytesMut,
    /// Lengths of the frames that are whole.
    frames: Vec<usize>,
    /// Where the open frame begins in `bytes`.
    open: Option<usize>,
}

impl Payload for Vp9 {
    fn begins(payload: &[u8]) -> bool {
        descriptor(payload).is_some_and(|d| d.begins_frame && d.spatial_layer == 0)
    }

    fn push(&mut self, payload: &Bytes) -> Result<(), Damaged> {
        let descriptor = descriptor(payload).ok_or(Damaged)?;
        if descriptor.begins_frame != self.open.is_none() {
            return Err(Damaged);
        }
        let begins = *self.open.get_or_insert(self.bytes.len());
        self.bytes.put_slice(&payload[descriptor.len..]);
        if descriptor.ends_frame {
            self.frames.push(self.bytes.len() - begins);
            self.open = None;
        }
        if self.frames.len() > MAX_FRAMES {
            return Err(Damaged);
        }
        Ok(())
    }

    fn len(&self) -> usize {
        self.bytes.len()
    }

    fn finish(&mut self) -> Result<Option<(bool, Bytes)>, Damaged> {
        if self.open.is_some() {
            return Err(Damaged);
        }
        if self.frames.is_empty() {
            return Ok(None);
        }
        let keyframe = is_keyframe(&self.bytes)?;
        if self.frames.len() > 1 {
            self.index();
        }
        Ok(Some((keyframe, self.bytes.split().freeze())))
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.frames.clear();
        self.open = None;
    }
}

impl Vp9 {
    /// Annex B: the lengths of the frames, in four bytes each, behind them.
    fn index(&mut self) {
        let marker = 0b1101_1000 | (self.frames.len() - 1) as u8;
        self.bytes.put_u8(marker);
        for len in &self.frames {
            self.bytes.put_u32_le(*len as u32);
        }
        self.bytes.put_u8(marker);
    }
}

/// The uncompressed header of a frame (VP9 bitstream specification §6.2), as far as all have it.
pub(super) enum Header<'a> {
    /// `rest`: what follows its sync code.
    Keyframe {
        profile: u32,
        rest: Bits<'a>,
    },
    Other,
}

/// Marker 0b10, profile, show_existing_frame, frame_type, show_frame, error_resilient_mode; then, in a keyframe, the sync
/// code.
pub(super) fn header(frame: &[u8]) -> Result<Header<'_>, Damaged> {
    let mut rest = Bits::new(frame);
    let mut take = |bits| rest.take(bits).ok_or(Damaged);
    if take(2)? != 0b10 {
        return Err(Damaged);
    }
    let profile = take(1)? | take(1)? << 1;
    if profile == 3 {
        let _reserved = take(1)?;
    }
    let (shows_existing, inter) = (take(1)? == 1, take(1)? == 1);
    if shows_existing || inter {
        return Ok(Header::Other);
    }
    let _shown_and_resilient = take(2)?;
    match take(24)? {
        0x49_83_42 => Ok(Header::Keyframe { profile, rest }),
        _ => Err(Damaged),
    }
}

fn is_keyframe(frame: &[u8]) -> Result<bool, Damaged> {
    Ok(matches!(header(frame)?, Header::Keyframe { .. }))
}

struct Descriptor {
    len: usize,
    begins_frame: bool,
    ends_frame: bool,
    spatial_layer: u8,
}

/// RFC 9628 §4.2. `None` if it is cut or nothing follows it.
fn descriptor(payload: &[u8]) -> Option<Descriptor> {
    let first = *payload.first()?;
    let has = |flag: u8| first & flag != 0;
    let mut rest = &payload[1..];
    let mut take = || {
        let (byte, behind) = rest.split_first()?;
        rest = behind;
        Some(*byte)
    };
    if has(PICTURE_ID) && take()? & 0x80 != 0 {
        take()?;
    }
    let mut spatial_layer = 0;
    if has(LAYER_INDICES) {
        spatial_layer = (take()? >> 1) & 0x07;
        if !has(FLEXIBLE) {
            // TL0PICIDX.
            take()?;
        }
    }
    if has(FLEXIBLE) && has(INTER_PREDICTED) {
        let mut references = 1;
        while take()? & 1 != 0 {
            references += 1;
            if references > MAX_REFERENCES {
                return None;
            }
        }
    }
    if has(SCALABILITY) {
        skip_scalability(&mut take)?;
    }
    (!rest.is_empty()).then_some(Descriptor {
        len: payload.len() - rest.len(),
        begins_frame: has(BEGINS_FRAME),
        ends_frame: has(ENDS_FRAME),
        spatial_layer,
    })
}

/// §4.2.1. The bitstream says the same of itself.
fn skip_scalability(take: &mut impl FnMut() -> Option<u8>) -> Option<()> {
    let head = take()?;
    let layers = (head >> 5) + 1;
    let (has_sizes, has_pictures) = (head & 0x10 != 0, head & 0x08 != 0);
    if has_sizes {
        for _ in 0..4 * layers {
            take()?;
        }
    }
    if has_pictures {
        for _ in 0..take()? {
            let references = (take()? >> 2) & 0x03;
            for _ in 0..references {
                take()?;
            }
        }
    }
    Some(())
}

#[cfg(test)]
mod tests;
