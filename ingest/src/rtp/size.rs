//! How large a picture is, by its keyframe.

use h264_reader::nal::sps::SeqParameterSet;
use h264_reader::nal::{Nal, RefNal};
use timeline::Codec;

use super::bits::Bits;
use super::{av1, vp9};

/// Width and height in pixels; `None` if this keyframe does not say so legibly.
pub(crate) fn size(codec: Codec, keyframe: &[u8]) -> Option<(u32, u32)> {
    let size = match codec {
        Codec::H264 => h264(keyframe),
        Codec::Vp8 => vp8(keyframe),
        Codec::Vp9 => vp9(keyframe),
        Codec::Av1 => av1_unit(keyframe),
        _ => None,
    };
    size.filter(|(width, height)| *width > 0 && *height > 0)
}

/// Annex B, its SPS before its slices.
fn h264(unit: &[u8]) -> Option<(u32, u32)> {
    const SPS: u8 = 7;
    let start = unit
        .windows(4)
        .position(|w| w[..3] == [0, 0, 1] && w[3] & 0x1f == SPS)?
        + 3;
    let nal = &unit[start..];
    let end = nal.windows(3).position(|w| w[..2] == [0, 0] && w[2] <= 1);
    let nal = RefNal::new(&nal[..end.unwrap_or(nal.len())], &[], true);
    let sps = SeqParameterSet::from_bits(nal.rbsp_bits()).ok()?;
    sps.pixel_dimensions().ok()
}

/// RFC 6386 §9.1: after the tag and the start code, 14 bits each and 2 bits of scale.
fn vp8(frame: &[u8]) -> Option<(u32, u32)> {
    let [_, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1, ..] = *frame else {
        return None;
    };
    let size = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
    Some((size(w0, w1), size(h0, h1)))
}

/// VP9 bitstream §6.2: behind the sync code, the colours and the frame's size.
fn vp9(frame: &[u8]) -> Option<(u32, u32)> {
    let Ok(vp9::Header::Keyframe {
        profile,
        rest: mut bits,
    }) = vp9::header(frame)
    else {
        return None;
    };
    if profile >= 2 {
        bits.take(1)?;
    }
    const SRGB: u32 = 7;
    if bits.take(3)? != SRGB {
        bits.take(1)?;
        if profile & 1 == 1 {
            bits.take(3)?;
        }
    } else if profile & 1 == 1 {
        bits.take(1)?;
    }
    Some((bits.take(16)? + 1, bits.take(16)? + 1))
}

/// AV1 §5.5: the largest size that the sequence header of a temporal unit allows. Headers with timing information
/// (§5.5.3), which no sender of RTP writes, are left alone.
fn av1_unit(unit: &[u8]) -> Option<(u32, u32)> {
    let mut rest = unit;
    loop {
        let (&header, mut body) = rest.split_first()?;
        if header & av1::HAS_EXTENSION != 0 {
            body = body.get(1..)?;
        }
        let mut length = body.len();
        if header & av1::HAS_SIZE != 0 {
            let (size, len) = av1::leb128(body)?;
            (length, body) = (size, &body[len..]);
        }
        let (obu, tail) = body.split_at_checked(length)?;
        if av1::kind(header) == av1::SEQUENCE_HEADER {
            return av1_sequence(&mut Bits::new(obu));
        }
        rest = tail;
    }
}

fn av1_sequence(bits: &mut Bits) -> Option<(u32, u32)> {
    let _profile_and_still = bits.take(4)?;
    if bits.take(1)? == 1 {
        bits.take(5)?;
    } else {
        if bits.take(1)? == 1 {
            return None;
        }
        let delays = bits.take(1)?;
        for _ in 0..=bits.take(5)? {
            bits.take(12)?;
            if bits.take(5)? > 7 {
                bits.take(1)?;
            }
            if delays == 1 && bits.take(1)? == 1 {
                bits.take(4)?;
            }
        }
    }
    let (width_bits, height_bits) = (bits.take(4)? as usize + 1, bits.take(4)? as usize + 1);
    Some((bits.take(width_bits)? + 1, bits.take(height_bits)? + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    }

    #[test]
    fn of_each_codec() {
        // The heads of keyframes that x264, libvpx and libaom made.
        let h264 = hex(
            "00000001 6764001facd9405005bb0110000003001000000303c0f1831960 00000001 68ebe3cb22c0 000001 65888402",
        );
        assert_eq!(size(Codec::H264, &h264), Some((1280, 720)));
        let vp8 = hex("709300 9d012a 8002 6801 01c7");
        assert_eq!(size(Codec::Vp8, &vp8), Some((640, 360)));
        let vp9 = hex("824983420027f016761838");
        assert_eq!(size(Codec::Vp9, &vp9), Some((640, 360)));
        // A temporal delimiter, then a sequence header of 11 bytes.
        let av1 = hex("1200 0a0b 0000000cc4ff6736be4010 328a1810");
        assert_eq!(size(Codec::Av1, &av1), Some((640, 360)));
        assert_eq!(size(Codec::Opus, &vp8), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for codec in [Codec::H264, Codec::Vp8, Codec::Vp9, Codec::Av1] {
                size(codec, &bytes);
                size(codec, &[&[0, 0, 1, 0x67][..], &bytes].concat());
                size(codec, &[&[0x0a][..], &bytes].concat());
            }
        }
    }
}
