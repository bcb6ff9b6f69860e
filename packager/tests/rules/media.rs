//! What is in a segment or a part, box by box.

use mp4_atom::{Any, Decode};

#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Decode time and duration in the track's timescale.
    pub at: u64,
    pub duration: u64,
    pub sync: bool,
    pub data: Vec<u8>,
}

impl Sample {
    /// Whether every slice in it is of an IDR picture (4-byte lengths, ISO/IEC 14496-10 7.3.1).
    pub fn is_idr(&self) -> bool {
        const IDR: u8 = 5;
        let mut rest = &self.data[..];
        let mut kinds = Vec::new();
        while let Some((length, unit)) = rest.split_first_chunk::<4>() {
            let (unit, after) = unit.split_at(u32::from_be_bytes(*length) as usize);
            kinds.push(unit[0] & 0x1f);
            rest = after;
        }
        kinds.contains(&IDR) && !kinds.contains(&1)
    }
}

/// The samples of a segment, or of any whole chunks of it.
pub fn samples(mut body: &[u8]) -> Vec<Sample> {
    let mut found = Vec::new();
    while !body.is_empty() {
        let before = body;
        match Any::decode(&mut body).unwrap() {
            Any::Moof(moof) => {
                let traf = &moof.traf[0];
                let mut at = traf.tfdt.as_ref().unwrap().base_media_decode_time;
                let mut offset = traf.trun[0].data_offset.unwrap() as usize;
                for entry in &traf.trun[0].samples {
                    let size = entry.size.unwrap() as usize;
                    let flags = entry.flags.or(traf.tfhd.default_sample_flags).unwrap();
                    let duration = u64::from(traf.tfhd.default_sample_duration.unwrap());
                    found.push(Sample {
                        at,
                        duration,
                        sync: flags & 0x10000 == 0,
                        data: before[offset..offset + size].to_vec(),
                    });
                    at += duration;
                    offset += size;
                }
            }
            Any::Styp(_) | Any::Mdat(_) => {}
            other => panic!("{other:?}"),
        }
    }
    found
}

/// Units a second of a rendition's samples.
pub fn timescale(rendition: &str) -> f64 {
    if rendition == "audio" { 48_000.0 } else { 90_000.0 }
}
