//! AV1 in RTP (RTP Payload Format for AV1, v1.0) → temporal units in the low-overhead format (AV1 §5.2).
//!
//! On the wire temporal delimiters and the sizes of OBUs are left out; both are put back.

use bytes::{BufMut, Bytes, BytesMut};

use super::picture::{Damaged, Payload};

/// Aggregation header (§4.4).
const CONTINUES: u8 = 0x80;
const WILL_CONTINUE: u8 = 0x40;
const NEW_SEQUENCE: u8 = 0x08;

/// OBU header (AV1 §5.3.2).
const FORBIDDEN: u8 = 0x80;
pub(super) const HAS_EXTENSION: u8 = 0x04;
pub(super) const HAS_SIZE: u8 = 0x02;

pub(super) const SEQUENCE_HEADER: u8 = 1;
const TEMPORAL_DELIMITER: u8 = 2;
const FRAME_HEADER: u8 = 3;
const FRAME: u8 = 6;
const TILE_LIST: u8 = 8;
const PADDING: u8 = 15;

/// More OBUs than tiles, metadata and layers make of one picture.
const MAX_OBUS: usize = 512;

#[derive(Debug, Default)]
pub(super) struct Av1 {
    /// The last one that came. Senders that need not repeat it may leave it out of a keyframe.
    sequence: Option<Obu>,
    obus: Vec<Obu>,
    /// An OBU that goes on in the next packet.
    fragment: Option<BytesMut>,
    len: usize,
}

/// An open bitstream unit without its size.
#[derive(Clone, Debug)]
struct Obu {
    header: u8,
    extension: Option<u8>,
    body: Bytes,
}

impl Payload for Av1 {
    /// A new coded sequence begins with its first packet (§4.4), and nothing of a temporal unit stands before its
    /// sequence header but the delimiter.
    fn begins(payload: &[u8]) -> bool {
        let Some(aggregation) = payload.first() else {
            return false;
        };
        let first = elements(payload).next().and_then(|element| element.ok());
        let kind = first
            .and_then(|(range, _)| payload.get(range.start))
            .map(|h| kind(*h));
        aggregation & CONTINUES == 0
            && (aggregation & NEW_SEQUENCE != 0 || matches!(kind, Some(SEQUENCE_HEADER | TEMPORAL_DELIMITER)))
    }

    fn push(&mut self, payload: &Bytes) -> Result<(), Damaged> {
        self.len += payload.len();
        let aggregation = *payload.first().ok_or(Damaged)?;
        if (aggregation & CONTINUES != 0) != self.fragment.is_some() {
            return Err(Damaged);
        }
        for element in elements(payload) {
            let (range, is_last) = element?;
            let goes_on = is_last && aggregation & WILL_CONTINUE != 0;
            self.element(payload.slice(range), goes_on)?;
        }
        Ok(())
    }

    fn len(&self) -> usize {
        self.len
    }

    fn finish(&mut self) -> Result<Option<(bool, Bytes)>, Damaged> {
        if self.fragment.is_some() {
            return Err(Damaged);
        }
        if let Some(last) = self.obus.iter().rfind(|obu| obu.kind() == SEQUENCE_HEADER) {
            self.sequence = Some(last.clone());
        }
        let Some(picture) = self
            .obus
            .iter()
            .find(|obu| matches!(obu.kind(), FRAME | FRAME_HEADER))
        else {
            return Ok(None);
        };
        let sequence = self.sequence.as_ref().ok_or(Damaged)?;
        let keyframe = is_key(sequence, picture)?;
        let lacks = keyframe && !self.obus.iter().any(|obu| obu.kind() == SEQUENCE_HEADER);
        let all = lacks.then_some(sequence).into_iter().chain(&self.obus);
        let mut unit = BytesMut::with_capacity(self.len + 8 * (self.obus.len() + 2));
        unit.put_slice(&[TEMPORAL_DELIMITER << 3 | HAS_SIZE, 0]);
        all.for_each(|obu| obu.put(&mut unit));
        Ok(Some((keyframe, unit.freeze())))
    }

    fn clear(&mut self) {
        self.obus.clear();
        self.fragment = None;
        self.len = 0;
    }
}

impl Av1 {
    /// One OBU, or a piece of one.
    fn element(&mut self, bytes: Bytes, goes_on: bool) -> Result<(), Damaged> {
        if goes_on {
            self.fragment.get_or_insert_default().put_slice(&bytes);
            return Ok(());
        }
        let whole = match self.fragment.take() {
            Some(mut begun) => {
                begun.put_slice(&bytes);
                begun.freeze()
            }
            None => bytes,
        };
        // An element of length 0 says nothing (§4.4 asks for none).
        if whole.is_empty() {
            return Ok(());
        }
        let obu = Obu::read(&whole)?;
        // §5 of the payload format: senders should leave these out, receivers ignore them.
        if !matches!(obu.kind(), TEMPORAL_DELIMITER | TILE_LIST | PADDING) {
            self.obus.push(obu);
        }
        if self.obus.len() > MAX_OBUS {
            return Err(Damaged);
        }
        Ok(())
    }
}

impl Obu {
    fn read(bytes: &Bytes) -> Result<Self, Damaged> {
        let header = *bytes.first().ok_or(Damaged)?;
        if header & FORBIDDEN != 0 {
            return Err(Damaged);
        }
        let mut at = 1;
        let mut extension = None;
        if header & HAS_EXTENSION != 0 {
            extension = Some(*bytes.get(at).ok_or(Damaged)?);
            at += 1;
        }
        let mut end = bytes.len();
        // Should be left out (§4.5), but some do not.
        if header & HAS_SIZE != 0 {
            let (size, len) = leb128(bytes.get(at..).ok_or(Damaged)?).ok_or(Damaged)?;
            at += len;
            end = at
                .checked_add(size)
                .filter(|end| *end <= bytes.len())
                .ok_or(Damaged)?;
        }
        Ok(Obu {
            header: header & !HAS_SIZE,
            extension,
            body: bytes.slice(at..end),
        })
    }

    fn kind(&self) -> u8 {
        kind(self.header)
    }

    fn put(&self, out: &mut BytesMut) {
        out.put_u8(self.header | HAS_SIZE);
        out.extend(self.extension);
        put_leb128(out, self.body.len());
        out.put_slice(&self.body);
    }
}

pub(super) const fn kind(header: u8) -> u8 {
    (header >> 3) & 0x0f
}

/// AV1 §5.5.1 and §5.9.2. A sequence of still pictures has keyframes alone, and their headers do not say so.
fn is_key(sequence: &Obu, picture: &Obu) -> Result<bool, Damaged> {
    const REDUCED_STILL: u8 = 0x08;
    let (sequence, picture) = (sequence.body.first(), picture.body.first());
    let (sequence, picture) = sequence.zip(picture).ok_or(Damaged)?;
    // show_existing_frame, then frame_type in two bits: 0 is a keyframe.
    Ok(sequence & REDUCED_STILL != 0 || picture & 0b1110_0000 == 0)
}

/// Where the OBU elements of a packet lie, and whether it is the last (§4.4). With a count in the header the last one
/// has no length before it; without, each has.
fn elements(payload: &[u8]) -> impl Iterator<Item = Result<(std::ops::Range<usize>, bool), Damaged>> {
    let count = payload
        .first()
        .map_or(0, |aggregation| usize::from(aggregation >> 4 & 0x03));
    let (mut at, mut seen) = (1, 0);
    std::iter::from_fn(move || {
        if at >= payload.len() {
            // Fewer than promised.
            let missing = std::mem::replace(&mut seen, count) < count;
            return missing.then_some(Err(Damaged));
        }
        if count > 0 && seen == count {
            return None;
        }
        seen += 1;
        let (size, len) = if seen == count {
            (payload.len() - at, 0)
        } else {
            match leb128(&payload[at..]) {
                Some(read) => read,
                None => {
                    (at, seen) = (payload.len(), count);
                    return Some(Err(Damaged));
                }
            }
        };
        let begin = at + len;
        let Some(end) = begin.checked_add(size).filter(|end| *end <= payload.len()) else {
            (at, seen) = (payload.len(), count);
            return Some(Err(Damaged));
        };
        at = end;
        Some(Ok((begin..end, end == payload.len())))
    })
}

/// AV1 §4.10.5, of a size: at most 32 bits. The value and how many bytes it took.
pub(super) fn leb128(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0u64;
    for (n, byte) in bytes.iter().take(8).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * n);
        if byte & 0x80 == 0 {
            let value = u32::try_from(value).ok()?;
            return Some((value as usize, n + 1));
        }
    }
    None
}

fn put_leb128(out: &mut BytesMut, mut value: usize) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

#[cfg(test)]
mod tests;
