//! Parameter sets by their ids, and the configuration record that holds those of several encoders
//! (ISO/IEC 14496-15 §5.3.3).

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use h264_reader::nal::{Nal, RefNal};
use h264_reader::rbsp::BitRead;

/// As many as the record counts in five bits.
const MOST_SPS: usize = 31;
/// More than any encoder has. The record counts them in a byte.
const MOST_PPS: usize = 64;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sets {
    pub sps: BTreeMap<u8, Bytes>,
    pub pps: BTreeMap<u8, Bytes>,
}

/// A configuration record, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// Profile, compatibility and level: of the codec string.
    pub profile: [u8; 3],
    pub sets: Sets,
    /// What follows the sets: chroma format and bit depth, where the profile has them.
    rest: Bytes,
}

impl Sets {
    pub fn holds(&self, other: &Sets) -> bool {
        let within = |all: &BTreeMap<u8, Bytes>, some: &BTreeMap<u8, Bytes>| {
            some.iter().all(|(id, set)| all.get(id) == Some(set))
        };
        within(&self.sps, &other.sps) && within(&self.pps, &other.pps)
    }

    /// Both. `None` where they name different sets alike, or are too many.
    pub fn with(&self, other: &Sets) -> Option<Sets> {
        let both = |one: &BTreeMap<u8, Bytes>, two: &BTreeMap<u8, Bytes>| {
            let mut all = two.clone();
            all.extend(one.iter().map(|(id, set)| (*id, set.clone())));
            all
        };
        let all = Sets {
            sps: both(&self.sps, &other.sps),
            pps: both(&self.pps, &other.pps),
        };
        let fits = all.sps.len() <= MOST_SPS && all.pps.len() <= MOST_PPS;
        (fits && all.holds(other)).then_some(all)
    }
}

impl Configuration {
    /// `None` where it is no record whose NAL lengths have four bytes.
    pub fn read(record: &[u8]) -> Option<Configuration> {
        let (&[1, a, b, c, lengths, count], mut rest) = record.split_first_chunk::<6>()? else {
            return None;
        };
        if lengths & 3 != 3 {
            return None;
        }
        let mut sets = Sets::default();
        for _ in 0..count & 31 {
            let sps = take(&mut rest)?;
            sets.sps.insert(sps_id(sps)?, Bytes::copy_from_slice(sps));
        }
        let (count, after) = rest.split_first()?;
        rest = after;
        for _ in 0..*count {
            let pps = take(&mut rest)?;
            sets.pps.insert(pps_id(pps)?, Bytes::copy_from_slice(pps));
        }
        Some(Configuration {
            profile: [a, b, c],
            sets,
            rest: Bytes::copy_from_slice(rest),
        })
    }

    /// The same encoder's record, with these sets in it.
    pub fn holding(&self, sets: &Sets) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u8(1);
        out.put_slice(&self.profile);
        out.put_u8(0xff);
        out.put_u8(0xe0 | sets.sps.len() as u8);
        put(&mut out, &sets.sps);
        out.put_u8(sets.pps.len() as u8);
        put(&mut out, &sets.pps);
        out.put_slice(&self.rest);
        out.freeze()
    }
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk::<2>()?;
    let (set, after) = after.split_at_checked(u16::from_be_bytes(*length).into())?;
    *rest = after;
    Some(set)
}

fn put(out: &mut BytesMut, sets: &BTreeMap<u8, Bytes>) {
    for set in sets.values() {
        out.put_u16(set.len() as u16);
        out.put_slice(set);
    }
}

/// seq_parameter_set_id (ISO/IEC 14496-10 §7.3.2.1.1).
fn sps_id(nal: &[u8]) -> Option<u8> {
    let mut bits = (!nal.is_empty()).then(|| RefNal::new(nal, &[], true).rbsp_bits())?;
    bits.skip(24, "profile, constraints, level").ok()?;
    u8::try_from(bits.read_ue("seq_parameter_set_id").ok()?).ok()
}

/// pic_parameter_set_id (§7.3.2.2).
fn pps_id(nal: &[u8]) -> Option<u8> {
    let mut bits = (!nal.is_empty()).then(|| RefNal::new(nal, &[], true).rbsp_bits())?;
    u8::try_from(bits.read_ue("pic_parameter_set_id").ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As x264 wrote them, with ids 0 and 31.
    const RECORD: &[u8] = &[1, 0x64, 0, 0x1f, 0xff, 0xe1, 0, 4, 0x67, 0x64, 0, 0x1f, 0, 0];

    fn sets(sps: &[(u8, &'static str)], pps: &[(u8, &'static str)]) -> Sets {
        let all =
            |sets: &[(u8, &'static str)]| sets.iter().map(|(id, set)| (*id, Bytes::from(*set))).collect();
        Sets {
            sps: all(sps),
            pps: all(pps),
        }
    }

    #[test]
    fn sets_of_two_encoders_stand_side_by_side_unless_they_are_named_alike() {
        let (ours, theirs) = (sets(&[(31, "a")], &[(31, "b")]), sets(&[(0, "c")], &[(0, "d")]));
        let both = ours.with(&theirs).unwrap();
        assert!(both.holds(&ours) && both.holds(&theirs) && !ours.holds(&both));
        assert_eq!(both.with(&sets(&[(0, "other")], &[])), None);
        assert_eq!(both.with(&ours), Some(both));
    }

    #[test]
    fn a_record_reads_back() {
        let sps = [0x67, 0x64, 0, 0x1f, 0b1000_0000];
        let pps = [0x68, 0b0000_0100, 0b0001_0000];
        let (sps_length, pps_length) = ([0, sps.len() as u8], [0, pps.len() as u8]);
        let record = [
            &[1, 0x64, 0, 0x1f, 0xff, 0xe1][..],
            &sps_length,
            &sps,
            &[1],
            &pps_length,
            &pps,
            &[0xfd, 0xf8, 0xf8, 0],
        ]
        .concat();
        let read = Configuration::read(&record).unwrap();
        assert_eq!((read.sets.sps.len(), read.sets.pps.len()), (1, 1));
        assert_eq!(read.holding(&read.sets), record);
        let more = Sets {
            sps: BTreeMap::from([(7, Bytes::from_static(&[0x67, 0x42, 0xe0, 0x1f, 0b0001_0000]))]),
            pps: BTreeMap::new(),
        };
        let both = read.sets.with(&more).unwrap();
        let again = Configuration::read(&read.holding(&both)).unwrap();
        assert_eq!((again.sets, again.profile), (both, [0x64, 0, 0x1f]));
        for cut in 0..record.len() - 4 {
            assert_eq!(Configuration::read(&record[..cut]), None, "{cut}");
        }
        assert_eq!(Configuration::read(&RECORD[..RECORD.len() - 2]), None);
    }
}
