//! What a segment holds: its samples, and where in it their bytes stand. Pure: bytes in, facts out.

use mp4_atom::{Atom, Decode, Header, Moof, Traf, TrunEntry};
use serde::{Deserialize, Serialize};

/// ISO/IEC 14496-12 8.8.3.1: sample_is_non_sync_sample.
const NON_SYNC: u32 = 0x0001_0000;

/// The samples of one segment of one track.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Samples {
    /// When the first is decoded, in units of the track's timescale, from the origin.
    pub start: u64,
    pub runs: Vec<Run>,
    /// Bytes of each sample.
    pub sizes: Vec<u32>,
    /// Which of them (from 0) can be decoded by themselves.
    pub sync: Vec<u32>,
}

/// Samples that stand side by side and last equally long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Bytes before its first sample that are no samples: boxes.
    pub skip: u32,
    pub samples: u32,
    /// Units each sample lasts.
    pub duration: u32,
}

#[derive(Debug, thiserror::Error)]
pub enum BadSegment {
    #[error(transparent)]
    Boxes(#[from] mp4_atom::Error),
    #[error("a box reaches beyond the segment")]
    Truncated,
    #[error("a fragment is not of one track with a time")]
    Untimed,
    #[error("a sample has no size or no duration")]
    Unsized,
    #[error("the samples stand outside the segment, or not in their order")]
    Misplaced,
    #[error("decode times go backwards")]
    Backwards,
    #[error("the pictures are not in the order of their decoding")]
    Reordered,
    #[error("there are no samples")]
    Empty,
}

impl Samples {
    /// Reads every fragment of a segment (CMAF chunks, one track).
    pub fn of(segment: &[u8]) -> Result<Samples, BadSegment> {
        let mut reading = Reading {
            segment,
            samples: Samples::default(),
            time: 0,
            end: 0,
        };
        let mut at = 0;
        while at < segment.len() {
            let mut rest = &segment[at..];
            let header = Header::decode(&mut rest)?;
            let size = header.size.unwrap_or(rest.len());
            let next = (segment.len() - rest.len())
                .checked_add(size)
                .filter(|next| *next <= segment.len());
            let next = next.ok_or(BadSegment::Truncated)?;
            if header.kind == Moof::KIND {
                reading.fragment(at, &Moof::decode(&mut &segment[at..next])?)?;
            }
            at = next;
        }
        match reading.samples.sizes.is_empty() {
            true => Err(BadSegment::Empty),
            false => Ok(reading.samples),
        }
    }
}

/// Units from the first sample to the end of the last.
pub fn duration(runs: &[Run]) -> u64 {
    let each = runs
        .iter()
        .map(|run| u64::from(run.samples) * u64::from(run.duration));
    each.sum()
}

struct Reading<'a> {
    segment: &'a [u8],
    samples: Samples,
    /// When the next sample is decoded.
    time: u64,
    /// Where the last sample ends in the segment.
    end: usize,
}

impl Reading<'_> {
    /// `at` is where the fragment begins: offsets count from there (default-base-is-moof).
    fn fragment(&mut self, at: usize, moof: &Moof) -> Result<(), BadSegment> {
        let [traf] = &moof.traf[..] else {
            return Err(BadSegment::Untimed);
        };
        let start = traf
            .tfdt
            .as_ref()
            .ok_or(BadSegment::Untimed)?
            .base_media_decode_time;
        self.wait_until(start)?;
        for trun in &traf.trun {
            let mut place = match trun.data_offset {
                Some(offset) => at
                    .checked_add_signed(offset as isize)
                    .ok_or(BadSegment::Misplaced)?,
                None => self.end,
            };
            for entry in &trun.samples {
                place = self.sample(place, traf, &entry)?;
            }
        }
        Ok(())
    }

    /// The next fragment starts here; the last sample lasts until then.
    fn wait_until(&mut self, start: u64) -> Result<(), BadSegment> {
        if self.samples.sizes.is_empty() {
            (self.samples.start, self.time) = (start, start);
        }
        let hole = start.checked_sub(self.time).ok_or(BadSegment::Backwards)?;
        if hole > 0 {
            let hole = u32::try_from(hole).map_err(|_| BadSegment::Backwards)?;
            hold_last(&mut self.samples.runs, hole).ok_or(BadSegment::Backwards)?;
        }
        self.time = start;
        Ok(())
    }

    /// Takes a sample at `place`; gives where it ends.
    fn sample(&mut self, place: usize, traf: &Traf, entry: &TrunEntry) -> Result<usize, BadSegment> {
        let tfhd = &traf.tfhd;
        // An empty sample is none of ours, and a fragment could claim four billion of them.
        let size = entry.size.or(tfhd.default_sample_size).filter(|size| *size > 0);
        let size = size.ok_or(BadSegment::Unsized)?;
        let duration = entry
            .duration
            .or(tfhd.default_sample_duration)
            .ok_or(BadSegment::Unsized)?;
        if entry.cts.is_some_and(|offset| offset != 0) {
            return Err(BadSegment::Reordered);
        }
        let end = place
            .checked_add(size as usize)
            .filter(|end| *end <= self.segment.len());
        let end = end.ok_or(BadSegment::Misplaced)?;
        let skip = place.checked_sub(self.end).ok_or(BadSegment::Misplaced)?;
        let Samples {
            runs, sizes, sync, ..
        } = &mut self.samples;
        match runs.last_mut() {
            Some(run) if skip == 0 && run.duration == duration => run.samples += 1,
            _ => runs.push(Run {
                skip: skip as u32,
                samples: 1,
                duration,
            }),
        }
        if entry.flags.or(tfhd.default_sample_flags).unwrap_or(0) & NON_SYNC == 0 {
            sync.push(sizes.len() as u32);
        }
        sizes.push(size);
        self.time += u64::from(duration);
        self.end = end;
        Ok(end)
    }
}

/// Lets the last sample last longer. `None` where there is no sample, or a sample cannot last that long.
pub fn hold_last(runs: &mut Vec<Run>, units: u32) -> Option<()> {
    let last = runs.last_mut()?;
    let duration = last.duration.checked_add(units)?;
    if last.samples > 1 {
        last.samples -= 1;
        runs.push(Run {
            skip: 0,
            samples: 1,
            duration,
        });
    } else {
        last.duration = duration;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fmp4::PartWriter;
    use crate::part::Segment;
    use crate::segmenter::Segmenter;
    use crate::testing::{audio_media, frame, video_media};
    use proptest::prelude::*;
    use timeline::{Frame, Grid, Media};

    fn segment(media: Media, frames: Vec<Frame>) -> Segment {
        let mut segmenter = Segmenter::new(Grid::default(), media);
        let mut writer = PartWriter::new(media);
        let mut cuts: Vec<_> = frames
            .into_iter()
            .flat_map(|frame| segmenter.push(frame))
            .collect();
        cuts.extend(segmenter.finish());
        let mut parts: Vec<_> = cuts.into_iter().map(|cut| writer.write(cut).unwrap()).collect();
        Segment::of(&mut parts).unwrap()
    }

    /// The bytes of each sample, by the runs.
    fn payloads(segment: &[u8], samples: &Samples) -> Vec<Vec<u8>> {
        let (mut at, mut sizes) = (0, samples.sizes.iter());
        let mut found = Vec::new();
        for run in &samples.runs {
            at += run.skip as usize;
            for size in sizes.by_ref().take(run.samples as usize) {
                found.push(segment[at..at + *size as usize].to_vec());
                at += *size as usize;
            }
        }
        found
    }

    proptest! {
        #[test]
        fn every_sample_is_found_where_it_stands(msn in 0i64..40_000, audio in any::<bool>(), count in 1i64..150) {
            let (media, span, units) = match audio {
                true => (audio_media(), 1_920, 1_024),
                false => (video_media(), 3_000, 3_000),
            };
            let (start, count) = (msn * 288_000, if audio { count } else { count.min(96) });
            let frames: Vec<_> = (0..count).map(|n| frame(1, start + n * span, n % 48 == 0)).collect();
            let segment = segment(media, frames.clone());
            let samples = Samples::of(&segment.body).unwrap();
            prop_assert_eq!(samples.start, (start / span * units) as u64);
            prop_assert_eq!(duration(&samples.runs), (count * units) as u64);
            let expected: Vec<_> = frames.iter().map(|frame| frame.payload.to_vec()).collect();
            prop_assert_eq!(payloads(&segment.body, &samples), expected);
            let sync: Vec<_> = (0..count as u32).filter(|n| audio || n % 48 == 0).collect();
            prop_assert_eq!(samples.sync, sync);
        }

        /// What is damaged is an error, never a panic.
        #[test]
        fn damage_is_told(at in 0usize..3_000, byte in any::<u8>(), keep in 0usize..4_000) {
            let frames = (0..48).map(|n| frame(1, n * 3_000, n == 0)).collect();
            let mut body = segment(video_media(), frames).body.to_vec();
            if let Some(there) = body.get_mut(at) {
                *there = byte;
            }
            body.truncate(keep);
            if let Ok(samples) = Samples::of(&body) {
                prop_assert!(payloads(&body, &samples).len() == samples.sizes.len());
            }
        }
    }

    #[test]
    fn the_last_sample_can_be_held() {
        let run = |samples, duration| Run {
            skip: 0,
            samples,
            duration,
        };
        let mut runs = vec![run(3, 10)];
        hold_last(&mut runs, 5).unwrap();
        assert_eq!(runs, [run(2, 10), run(1, 15)]);
        hold_last(&mut runs, 1).unwrap();
        assert_eq!(runs, [run(2, 10), run(1, 16)]);
        assert_eq!(hold_last(&mut runs, u32::MAX), None);
        assert_eq!(hold_last(&mut Vec::new(), 1), None);
    }
}
