//! The source's access units, read as far as it takes to know whether, and behind which other, each can be copied.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use h264_reader::Context;
use h264_reader::nal::pps::PicParameterSet;
use h264_reader::nal::sps::{
    AspectRatioInfo, ChromaFormat, FrameMbsFlags, PicOrderCntType, SeqParameterSet, VideoSignalType,
};
use h264_reader::nal::{Nal, RefNal};
use h264_reader::rbsp::BitRead;
use timeline::{Frame, MediaTime, TrackId};

use super::sets::Sets;

/// Of an SPS or PPS, with every scaling list; more is nonsense.
const LONGEST_SET: usize = 1024;

/// Size of the canvas, and what the top rung declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub width: u32,
    pub height: u32,
    /// level_idc
    pub level: u8,
}

/// An access unit that can be copied behind the one it follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    pub track: TrackId,
    pub at: MediaTime,
    /// The reference picture before it, by its count, without which it cannot be decoded; none for an IDR.
    pub follows: Option<u64>,
    /// Its own count, if others are predicted from it.
    pub counts: Option<u64>,
    /// Slices, each behind its length in four bytes.
    pub payload: Bytes,
    /// Those that it refers to.
    pub sets: Arc<Sets>,
}

impl Unit {
    pub fn is_idr(&self) -> bool {
        self.follows.is_none()
    }
}

/// Why the source's pictures cannot be the top rung.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("its bitstream cannot be read: {0}")]
    Unreadable(&'static str),
    #[error("its pictures are {0}×{1}")]
    Size(u32, u32),
    #[error("its level {0} is above the rung's")]
    Level(u8),
    #[error("its profile {0} is none of baseline, main and high")]
    Profile(u8),
    #[error("its pictures are no plain progressive 8 bit 4:2:0 with square pixels")]
    Picture,
    #[error("its colours are not those of BT.709 in limited range")]
    Colour,
    #[error("its pictures may be reordered (B-frames)")]
    Reordered,
    #[error("it uses slice groups or redundant slices")]
    Extended,
    #[error("a picture that others need is missing")]
    Missing,
}

/// Reads one track.
#[derive(Default)]
pub struct Units {
    context: Context,
    raw: Sets,
    /// By the PPS: both it needs.
    pairs: BTreeMap<u8, Arc<Sets>>,
    /// The last reference picture: its count, and its frame_num.
    last: Option<(u64, u16)>,
    count: u64,
}

/// What the slices of a picture say alike.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Header {
    idr: bool,
    reference: bool,
    frame_num: u16,
    pps: u8,
}

impl Units {
    /// Pictures were lost: nothing follows the last one.
    pub fn lost(&mut self) {
        self.last = None;
    }

    pub fn read(&mut self, frame: &Frame, shape: Shape) -> Result<Unit, Refusal> {
        let read = self.slices(&frame.payload, shape);
        if read.is_err() {
            self.last = None;
        }
        let (header, payload) = read?;
        let follows = self.follow(header)?;
        self.count += 1;
        let counts = header.reference.then_some(self.count);
        if let Some(count) = counts {
            self.last = Some((count, header.frame_num));
        }
        let sets = self.pairs.get(&header.pps).cloned();
        Ok(Unit {
            track: frame.track,
            at: frame.at,
            follows,
            counts,
            payload,
            sets: sets.ok_or(Refusal::Unreadable("no such PPS"))?,
        })
    }

    /// A reference picture has the frame_num after that of the last one (§7.4.3): any other tells of one that was
    /// lost on the way.
    fn follow(&mut self, header: Header) -> Result<Option<u64>, Refusal> {
        if header.idr {
            return Ok(None);
        }
        let (count, before) = self.last.ok_or(Refusal::Missing)?;
        let bits = self.frame_num_bits(header.pps).ok_or(Refusal::Missing)?;
        let next = (u32::from(before) + 1) & ((1 << bits) - 1);
        if u32::from(header.frame_num) != next {
            self.last = None;
            return Err(Refusal::Missing);
        }
        Ok(Some(count))
    }

    fn frame_num_bits(&self, pps: u8) -> Option<u32> {
        Some(self.pair(pps)?.0.log2_max_frame_num().into())
    }

    fn pair(&self, pps: u8) -> Option<(&SeqParameterSet, &PicParameterSet)> {
        let pps = self
            .context
            .pps()
            .find(|known| known.pic_parameter_set_id.id() == pps)?;
        Some((self.context.sps_by_id(pps.seq_parameter_set_id)?, pps))
    }

    fn slices(&mut self, unit: &[u8], shape: Shape) -> Result<(Header, Bytes), Refusal> {
        let mut out = BytesMut::with_capacity(unit.len() + 16);
        let (mut header, mut next_mb) = (None, 0);
        for nal in nals(unit) {
            match nal[0] & 31 {
                7 => self.sps(nal)?,
                8 => self.pps(nal)?,
                1 | 5 => {
                    let (own, first_mb) = self.slice(nal)?;
                    if header.is_none() {
                        self.check(own.pps, shape)?;
                    }
                    // In another order, or with the first one missing, it is not for every decoder.
                    let ordered = if header.is_none() {
                        first_mb == 0
                    } else {
                        first_mb >= next_mb
                    };
                    if !ordered || header.is_some_and(|header| header != own) {
                        return Err(Refusal::Unreadable("its slices do not belong together"));
                    }
                    (header, next_mb) = (Some(own), first_mb + 1);
                    out.put_u32(nal.len() as u32);
                    out.put_slice(nal);
                }
                // Data partitions; the slices of layers and views.
                2..=4 | 20 | 21 => return Err(Refusal::Extended),
                // Delimiters, SEI, fillers.
                _ => {}
            }
        }
        let header = header.ok_or(Refusal::Unreadable("no slice"))?;
        Ok((header, out.freeze()))
    }

    fn sps(&mut self, nal: &[u8]) -> Result<(), Refusal> {
        // Told with every IDR, and mostly the same.
        if self.raw.sps.values().any(|known| known[..] == *nal) {
            return Ok(());
        }
        let sps = SeqParameterSet::from_bits(bits(nal)?).map_err(|_| Refusal::Unreadable("its SPS"))?;
        self.raw.sps.insert(sps.id().id(), Bytes::copy_from_slice(nal));
        self.context.put_seq_param_set(sps);
        self.pairs.clear();
        Ok(())
    }

    fn pps(&mut self, nal: &[u8]) -> Result<(), Refusal> {
        if self.raw.pps.values().any(|known| known[..] == *nal) {
            return Ok(());
        }
        let pps = PicParameterSet::from_bits(&self.context, bits(nal)?)
            .map_err(|_| Refusal::Unreadable("its PPS"))?;
        let id = pps.pic_parameter_set_id.id();
        self.raw.pps.insert(id, Bytes::copy_from_slice(nal));
        self.context.put_pic_param_set(pps);
        self.pairs.clear();
        Ok(())
    }

    /// What a slice says, and where its first macroblock is (§7.3.3).
    fn slice(&self, nal: &[u8]) -> Result<(Header, u32), Refusal> {
        let unreadable = |_| Refusal::Unreadable("a slice");
        let mut bits = bits(nal)?;
        let first_mb = bits.read_ue("first_mb_in_slice").map_err(unreadable)?;
        // P and I: B are reordered, SP and SI are of the extended profile (table 7-6).
        match bits.read_ue("slice_type").map_err(unreadable)? % 5 {
            0 | 2 => {}
            1 => return Err(Refusal::Reordered),
            _ => return Err(Refusal::Extended),
        }
        let pps = bits.read_ue("pic_parameter_set_id").map_err(unreadable)?;
        let pps = u8::try_from(pps).map_err(|_| Refusal::Unreadable("a slice"))?;
        // Told with an IDR that has not come.
        let length = self.frame_num_bits(pps).ok_or(Refusal::Missing)?;
        let header = Header {
            idr: nal[0] & 31 == 5,
            reference: nal[0] & 0x60 != 0,
            frame_num: bits.read_var(length, "frame_num").map_err(unreadable)?,
            pps,
        };
        Ok((header, first_mb))
    }

    /// Refuses what does not fit the rung. Done once for each pair of sets.
    fn check(&mut self, pps: u8, shape: Shape) -> Result<(), Refusal> {
        let (sps, parsed) = self.pair(pps).ok_or(Refusal::Unreadable("no such PPS"))?;
        fits(sps, shape)?;
        if parsed.slice_groups.is_some() || parsed.redundant_pic_cnt_present_flag {
            return Err(Refusal::Extended);
        }
        if !self.pairs.contains_key(&pps) {
            let of = |sets: &BTreeMap<u8, Bytes>, id: u8| sets.get(&id).map(|set| (id, set.clone()));
            let pair = Sets {
                sps: of(&self.raw.sps, sps.id().id()).into_iter().collect(),
                pps: of(&self.raw.pps, pps).into_iter().collect(),
            };
            self.pairs.insert(pps, Arc::new(pair));
        }
        Ok(())
    }
}

fn fits(sps: &SeqParameterSet, shape: Shape) -> Result<(), Refusal> {
    let profile = u8::from(sps.profile_idc);
    // A decoder of the high profile decodes all of these (§A.2.4); baseline without what check() refuses.
    if ![66, 77, 100].contains(&profile) {
        return Err(Refusal::Profile(profile));
    }
    if sps.level_idc > shape.level {
        return Err(Refusal::Level(sps.level_idc));
    }
    let chroma = &sps.chroma_info;
    let vui = sps.vui_parameters.as_ref();
    let square =
        |ratio: &AspectRatioInfo| matches!(ratio, AspectRatioInfo::Unspecified | AspectRatioInfo::Ratio1_1);
    let plain = chroma.chroma_format == ChromaFormat::YUV420
        && (chroma.bit_depth_luma_minus8, chroma.bit_depth_chroma_minus8) == (0, 0)
        && sps.frame_mbs_flags == FrameMbsFlags::Frames
        && !sps.gaps_in_frame_num_value_allowed_flag
        && vui
            .and_then(|vui| vui.aspect_ratio_info.as_ref())
            .is_none_or(square);
    if !plain {
        return Err(Refusal::Picture);
    }
    let sane = sps.pic_width_in_mbs_minus1 < 1024 && sps.pic_height_in_map_units_minus1 < 1024;
    let size = sps.pixel_dimensions().ok().filter(|_| sane);
    match size.ok_or(Refusal::Picture)? {
        (width, height) if (width, height) != (shape.width, shape.height) => {
            return Err(Refusal::Size(width, height));
        }
        _ => {}
    }
    let signal = vui.and_then(|vui| vui.video_signal_type.as_ref());
    if !signal.is_none_or(is_bt709) {
        return Err(Refusal::Colour);
    }
    let restrictions = vui.and_then(|vui| vui.bitstream_restrictions.as_ref());
    let in_order = sps.pic_order_cnt == PicOrderCntType::TypeTwo
        || profile == 66
        || restrictions.is_some_and(|known| known.max_num_reorder_frames == 0);
    in_order.then_some(()).ok_or(Refusal::Reordered)
}

/// BT.709 or unspecified (tables E-3 to E-5), in limited range, as the encoder beside it makes them.
fn is_bt709(signal: &VideoSignalType) -> bool {
    let colours = signal.colour_description.as_ref().is_none_or(|colours| {
        let all = [
            colours.colour_primaries,
            colours.transfer_characteristics,
            colours.matrix_coefficients,
        ];
        all.iter().all(|one| [1, 2].contains(one))
    });
    colours && !signal.video_full_range_flag
}

fn bits(nal: &[u8]) -> Result<impl BitRead, Refusal> {
    if nal.len() > LONGEST_SET && [7, 8].contains(&(nal[0] & 31)) {
        return Err(Refusal::Unreadable("a parameter set without an end"));
    }
    Ok(RefNal::new(nal, &[], true).rbsp_bits())
}

/// The NAL units of a byte stream (annex B), none of them empty.
fn nals(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = start(stream).map(|(_, after)| after);
    std::iter::from_fn(move || {
        let stream = rest?;
        let (nal, after) = match start(stream) {
            Some((nal, after)) => (nal, Some(after)),
            None => (stream, None),
        };
        rest = after;
        // trailing_zero_8bits
        let end = nal.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        Some(&nal[..end])
    })
    .filter(|nal| !nal.is_empty())
}

/// What stands before the first start code, and what behind it.
fn start(stream: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut from = 0;
    loop {
        // A one, and two zeros before it.
        let one = from + stream.get(from..)?.iter().position(|byte| *byte == 1)?;
        if one >= 2 && stream[one - 2..one] == [0, 0] {
            return Some((&stream[..one - 2], &stream[one + 1..]));
        }
        from = one + 1;
    }
}

#[cfg(test)]
mod tests;
