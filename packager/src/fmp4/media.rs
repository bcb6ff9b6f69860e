//! Parts: `moof` and `mdat`, before them a `styp` where a segment begins. A keyframe at the head of a part has a
//! `moof` and an `mdat` of its own.
//!
//! A part is written in one piece and never looked at again, so a segment is the concatenation of its parts.

use std::ops::Range;

use mp4_atom::{
    Atom, Encode, Header, Mdat, Mfhd, Moof, Result, Styp, Tfdt, Tfhd, Traf, Trun, TrunEntry, TrunSamples,
};
use timeline::{Frame, Media, MediaTime, Span};

use super::{Timescale, track};
use crate::part::{Cut, Part};

// ISO/IEC 14496-12 8.8.3.1: sample_depends_on, and sample_is_non_sync_sample.
const SYNC: u32 = 0x0200_0000;
const NOT_SYNC: u32 = 0x0101_0000;

/// Writes the parts of one rendition, in order.
pub struct PartWriter {
    media: Media,
    timescale: Timescale,
    sequence: u32,
}

impl PartWriter {
    pub fn new(media: Media) -> PartWriter {
        PartWriter {
            media,
            timescale: Timescale::of(media),
            sequence: 0,
        }
    }

    pub fn write(&mut self, cut: Cut) -> Result<Part> {
        let mut body = Vec::new();
        let mut picture = None;
        if !cut.gap {
            let payload: usize = cut.frames.iter().map(|frame| frame.payload.len()).sum();
            body.reserve(payload + 512);
            if cut.index.part == 0 {
                styp().encode(&mut body)?;
            }
            let alone = self.alone(&cut);
            let head = body.len();
            self.chunk(&cut, 0..alone, &mut body)?;
            picture = (alone > 0).then_some(head..body.len());
            self.chunk(&cut, alone..cut.frames.len(), &mut body)?;
        }
        let independent = cut.independent();
        Ok(Part {
            index: cut.index,
            start: cut.start,
            duration: cut.duration,
            independent,
            gap: cut.gap,
            body: body.into(),
            picture,
        })
    }

    /// How many frames are in a chunk of their own: a picture that needs no other, so that a range of bytes
    /// decodes to this picture in every player, also in those that do not cut a `moof` to what was fetched.
    fn alone(&self, cut: &Cut) -> usize {
        usize::from(matches!(self.media, Media::Video { .. }) && cut.independent())
    }

    /// `moof` and `mdat` of some frames of a cut; nothing for none.
    fn chunk(&mut self, cut: &Cut, which: Range<usize>, out: &mut Vec<u8>) -> Result<()> {
        let frames = &cut.frames[which.clone()];
        if frames.is_empty() {
            return Ok(());
        }
        self.sequence = self.sequence.wrapping_add(1);
        let each = Span::from_ticks(cut.duration.ticks() / cut.frames.len() as i64);
        let mut moof = self.moof(cut.start + each.times(which.start as i64), each, frames);
        // The samples begin behind the moof and the header of the mdat; the moof's length does not depend on
        // the offset it holds.
        let mut measured = Vec::new();
        moof.encode(&mut measured)?;
        moof.traf[0].trun[0].data_offset = Some(measured.len() as i32 + 8);
        moof.encode(out)?;
        let payload = frames.iter().map(|frame| frame.payload.len()).sum();
        Header {
            kind: Mdat::KIND,
            size: Some(payload),
        }
        .encode(out)?;
        for frame in frames {
            out.extend_from_slice(&frame.payload);
        }
        Ok(())
    }

    /// `each` frame lasts so long.
    fn moof(&self, start: MediaTime, each: Span, frames: &[Frame]) -> Moof {
        let duration = self.timescale.units(each) as u32;
        let is_video = matches!(self.media, Media::Video { .. });
        let samples = frames.iter().enumerate().map(|(n, frame)| TrunEntry {
            size: Some(frame.payload.len() as u32),
            // The first frame's flags alone, unless a keyframe stands within.
            flags: (is_video && (n == 0 || keyframe_within(frames))).then_some(if frame.keyframe {
                SYNC
            } else {
                NOT_SYNC
            }),
            ..TrunEntry::default()
        });
        Moof {
            mfhd: Mfhd {
                sequence_number: self.sequence,
            },
            traf: vec![Traf {
                tfhd: Tfhd {
                    track_id: track(self.media),
                    default_sample_duration: Some(duration),
                    default_sample_flags: Some(if is_video { NOT_SYNC } else { SYNC }),
                    default_base_is_moof: true,
                    ..Tfhd::default()
                },
                tfdt: Some(Tfdt {
                    base_media_decode_time: self.timescale.decode_time(start),
                }),
                trun: vec![Trun {
                    data_offset: Some(0),
                    samples: TrunSamples::Explicit(samples.collect()),
                }],
                ..Traf::default()
            }],
        }
    }
}

/// A respawned encoder begins with a keyframe wherever it takes up the line.
fn keyframe_within(frames: &[Frame]) -> bool {
    frames.iter().skip(1).any(|frame| frame.keyframe)
}

fn styp() -> Styp {
    Styp {
        major_brand: b"msdh".into(),
        minor_version: 0,
        compatible_brands: vec![b"msdh".into(), b"iso6".into(), b"cmfs".into()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::part::Segment;
    use crate::segmenter::Segmenter;
    use crate::testing::{audio_media, frame, video_media};
    use mp4_atom::{Any, Decode, DecodeMaybe};
    use proptest::prelude::*;
    use timeline::Grid;

    fn parts(media: Media, frames: Vec<Frame>) -> Vec<Part> {
        let mut segmenter = Segmenter::new(Grid::default(), media);
        let mut writer = PartWriter::new(media);
        let mut cuts: Vec<_> = frames
            .into_iter()
            .flat_map(|frame| segmenter.push(frame))
            .collect();
        cuts.extend(segmenter.finish());
        cuts.into_iter().map(|cut| writer.write(cut).unwrap()).collect()
    }

    /// The samples of some parts as a player finds them: decode time, whether it is a sync sample, bytes.
    fn samples(mut body: &[u8]) -> Vec<(u64, bool, Vec<u8>)> {
        let mut found = Vec::new();
        while !body.is_empty() {
            let before = body;
            match Any::decode(&mut body).unwrap() {
                Any::Moof(moof) => found.extend(samples_of(&moof, before)),
                Any::Styp(_) | Any::Mdat(_) => {}
                other => panic!("{other:?}"),
            }
        }
        found
    }

    fn samples_of(moof: &Moof, from_moof: &[u8]) -> Vec<(u64, bool, Vec<u8>)> {
        let traf = &moof.traf[0];
        let mut time = traf.tfdt.as_ref().unwrap().base_media_decode_time;
        let mut offset = traf.trun[0].data_offset.unwrap() as usize;
        let mut found = Vec::new();
        for entry in &traf.trun[0].samples {
            let size = entry.size.unwrap() as usize;
            let flags = entry.flags.or(traf.tfhd.default_sample_flags).unwrap();
            found.push((
                time,
                flags & 0x10000 == 0,
                from_moof[offset..offset + size].to_vec(),
            ));
            time += u64::from(traf.tfhd.default_sample_duration.unwrap());
            offset += size;
        }
        found
    }

    #[test]
    fn a_part_reads_back() {
        let frames: Vec<_> = (0..6).map(|n| frame(1, n * 3000, n == 0)).collect();
        let part = &parts(video_media(), frames.clone())[0];
        assert!(part.independent);
        let mut rest = &part.body[..];
        let Any::Styp(styp) = Any::decode(&mut rest).unwrap() else {
            panic!()
        };
        assert!(styp.compatible_brands.contains(&b"cmfs".into()));
        // The keyframe alone, then the others.
        let picture = part.picture.clone().unwrap();
        assert_eq!(picture.start, part.body.len() - rest.len());
        for (sequence, frames) in [(1, &frames[..1]), (2, &frames[1..])] {
            let Any::Moof(moof) = Any::decode(&mut rest).unwrap() else {
                panic!()
            };
            assert_eq!(moof.mfhd.sequence_number, sequence);
            assert!(moof.traf[0].tfhd.default_base_is_moof);
            let Any::Mdat(mdat) = Any::decode(&mut rest).unwrap() else {
                panic!()
            };
            let payloads: Vec<u8> = frames.iter().flat_map(|frame| frame.payload.to_vec()).collect();
            assert_eq!(mdat.data, payloads);
            assert_eq!(picture.end == part.body.len() - rest.len(), sequence == 1);
        }
        assert_eq!(Any::decode_maybe(&mut rest).unwrap(), None);
        assert_eq!(
            samples(&part.body[picture]),
            [(0, true, frames[0].payload.to_vec())]
        );
    }

    #[test]
    fn a_keyframe_within_a_part_is_a_sync_sample() {
        let frames = (0..12).map(|n| frame(1, n * 3000, n == 0 || n == 8)).collect();
        let parts = parts(video_media(), frames);
        assert!(!parts[1].independent);
        let sync: Vec<_> = samples(&parts[1].body).iter().map(|(_, sync, _)| *sync).collect();
        assert_eq!(sync, [false, false, true, false, false, false]);
    }

    proptest! {
        /// Parts concatenate to the segment byte for byte; the segment holds every frame once, at its time from
        /// the origin, without a step.
        #[test]
        fn a_segment_is_its_parts(first in 0i64..40_000, audio in any::<bool>(), count in 1i64..150) {
            let (media, span, units) = match audio {
                true => (audio_media(), 1_920, 1_024),
                false => (video_media(), 3_000, 3_000),
            };
            let start = first * 288_000;
            let count = if audio { count } else { count.min(96) };
            let frames: Vec<_> = (0..count).map(|n| frame(1, start + n * span, n % 48 == 0)).collect();
            let mut parts = parts(media, frames.clone());
            let bytes: Vec<u8> = parts.iter().flat_map(|part| part.body.to_vec()).collect();
            let segment = Segment::of(&mut parts).unwrap();
            prop_assert_eq!(&segment.body[..], &bytes[..]);
            prop_assert_eq!(parts.iter().flat_map(|part| part.body.to_vec()).collect::<Vec<u8>>(), bytes);
            prop_assert_eq!(segment.duration.ticks(), count * span);
            let found = samples(&segment.body);
            prop_assert_eq!(found.len(), frames.len());
            for (n, ((time, sync, payload), frame)) in found.iter().zip(&frames).enumerate() {
                prop_assert_eq!(*time, (start / span * units) as u64 + n as u64 * units as u64);
                prop_assert_eq!(*sync, audio || frame.keyframe);
                prop_assert_eq!(&payload[..], &frame.payload[..]);
            }
        }
    }
}
