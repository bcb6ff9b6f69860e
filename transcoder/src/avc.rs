//! H.264 as MP4 wants it: length-prefixed NAL units, parameter sets only in the configuration record
//! (ISO/IEC 14496-15, "avc1").

use bytes::{BufMut, Bytes, BytesMut};

/// A slice of a coded picture: non-IDR, data partitions A to C, IDR (ISO/IEC 14496-10, table 7-1).
const SLICES: std::ops::RangeInclusive<u8> = 1..=5;

/// RFC 6381: `avc1.PPCCLL`, from an AVCDecoderConfigurationRecord whose NAL lengths have four bytes.
pub fn codec_string(record: &[u8]) -> Option<String> {
    match record {
        [1, profile, compatibility, level, lengths, ..] if lengths & 3 == 3 => {
            Some(format!("avc1.{profile:02x}{compatibility:02x}{level:02x}"))
        }
        _ => None,
    }
}

/// The slices of an access unit alone: no parameter sets, SEI or delimiters. `None` if it is no sequence of
/// length-prefixed NAL units, or holds no slice.
pub fn slices(unit: Bytes) -> Option<Bytes> {
    let nals = nals(&unit)?;
    if nals.iter().all(|nal| is_slice(nal)) {
        return (!nals.is_empty()).then_some(unit);
    }
    let mut out = BytesMut::with_capacity(unit.len());
    for nal in nals.into_iter().filter(|nal| is_slice(nal)) {
        out.put_u32(nal.len() as u32);
        out.put_slice(nal);
    }
    (!out.is_empty()).then(|| out.freeze())
}

fn is_slice(nal: &[u8]) -> bool {
    nal.first().is_some_and(|header| SLICES.contains(&(header & 31)))
}

fn nals(mut rest: &[u8]) -> Option<Vec<&[u8]>> {
    let mut nals = Vec::new();
    while !rest.is_empty() {
        let (length, tail) = rest.split_first_chunk::<4>()?;
        let (nal, tail) = tail.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        nals.push(nal);
        rest = tail;
    }
    Some(nals)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(nals: &[&[u8]]) -> Bytes {
        let mut out = BytesMut::new();
        for nal in nals {
            out.put_u32(nal.len() as u32);
            out.put_slice(nal);
        }
        out.freeze()
    }

    #[test]
    fn the_codec_string_is_profile_compatibility_level() {
        assert_eq!(
            codec_string(&[1, 0x64, 0, 0x1f, 0xff, 0xe1]).as_deref(),
            Some("avc1.64001f")
        );
        assert_eq!(
            codec_string(&[1, 0x64, 0, 0x1f, 0xfc, 0xe1]),
            None,
            "one-byte lengths"
        );
        assert_eq!(codec_string(&[1, 0x64]), None);
    }

    #[test]
    fn only_slices_are_kept() {
        let (aud, sps, sei, idr) = (
            &[0x09, 0xf0][..],
            &[0x67, 1, 2][..],
            &[0x06, 5][..],
            &[0x65, 9, 9, 9][..],
        );
        assert_eq!(slices(unit(&[aud, sps, sei, idr, idr])), Some(unit(&[idr, idr])));
        assert_eq!(slices(unit(&[idr])), Some(unit(&[idr])));
        assert_eq!(slices(unit(&[sps])), None);
        assert_eq!(slices(Bytes::new()), None);
        assert_eq!(slices(Bytes::from_static(&[0, 0, 0, 9, 0x65])), None, "cut short");
    }
}
