//! What the archive holds of a recording, sample by sample: enough to write its header and to find its bytes.
//!
//! Kept as an object beside the segments (`recording.index`), about 2 MB for three hours, so that a download
//! need not read the segments first.

use serde::{Deserialize, Serialize};

use super::samples::{Run, Samples};

/// Changes with the form below; an index of another form is made anew.
const FORM: u8 = 1;

/// A segment of three seconds has 96 pictures; a whole day has 2.6 million. More is damage.
pub const MOST_SAMPLES: usize = 20_000_000;

/// An index object longer than this is damage: at most five bytes a sample, and the rest is less.
pub const LONGEST: usize = 8 * MOST_SAMPLES;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    form: u8,
    /// Which playlists it was made of: an index that was made of others is out of date.
    pub made_of: [u8; 32],
    /// Video, then audio; either may be missing.
    pub tracks: Vec<Track>,
}

/// One rendition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Track {
    /// The rendition's name, which is its folder.
    pub name: String,
    /// Its init segments, in the order of their use. One, but after a restart with another encoder.
    pub inits: Vec<Vec<u8>>,
    /// In the order of time. Those that are missing are not listed.
    pub segments: Vec<Segment>,
    /// Of all segments, one after the other. So are the next two.
    pub runs: Vec<Run>,
    pub sizes: Vec<u32>,
    /// Places in `sizes`, of segments with others between: of sound each sample is one, which need not be told.
    pub sync: Vec<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    pub msn: u64,
    /// Decode time of its first sample, in units of the track's timescale, from the origin.
    pub start: u64,
    /// Place in `inits`.
    pub init: u32,
    pub runs: u32,
    pub samples: u32,
    /// Each of its samples can be decoded by itself.
    pub all_sync: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum BadIndex {
    #[error(transparent)]
    Unreadable(#[from] postcard::Error),
    #[error("it is of another form")]
    Form,
    #[error("its numbers do not agree")]
    Contradiction,
}

impl Index {
    pub fn new(made_of: [u8; 32], tracks: Vec<Track>) -> Index {
        Index {
            form: FORM,
            made_of,
            tracks,
        }
    }

    pub fn encode(&self) -> Result<Vec<u8>, BadIndex> {
        Ok(postcard::to_stdvec(self)?)
    }

    pub fn decode(bytes: &[u8]) -> Result<Index, BadIndex> {
        if bytes.first() != Some(&FORM) {
            return Err(BadIndex::Form);
        }
        let index: Index = postcard::from_bytes(bytes)?;
        let right = index.tracks.iter().all(Track::agrees);
        if right {
            Ok(index)
        } else {
            Err(BadIndex::Contradiction)
        }
    }
}

impl Track {
    pub fn named(name: &str) -> Track {
        Track {
            name: name.to_owned(),
            ..Track::default()
        }
    }

    /// Adds the next segment. `None`, and nothing is added, where it begins before the last one ends or is one
    /// too many.
    pub fn push(&mut self, msn: u64, init: &[u8], samples: Samples) -> Option<()> {
        let fits = self.sizes.len() + samples.sizes.len() <= MOST_SAMPLES;
        if samples.start < self.end() || !fits {
            return None;
        }
        let first = self.sizes.len() as u32;
        let init = match self.inits.iter().position(|known| known == init) {
            Some(known) => known,
            None => {
                self.inits.push(init.to_owned());
                self.inits.len() - 1
            }
        };
        let all_sync = samples.sync.len() == samples.sizes.len();
        if !all_sync {
            self.sync.extend(samples.sync.iter().map(|place| first + place));
        }
        self.segments.push(Segment {
            msn,
            all_sync,
            start: samples.start,
            init: init as u32,
            runs: samples.runs.len() as u32,
            samples: samples.sizes.len() as u32,
        });
        self.runs.extend(samples.runs);
        self.sizes.extend(samples.sizes);
        Some(())
    }

    /// Where the last segment ends.
    fn end(&self) -> u64 {
        let Some(last) = self.segments.last() else {
            return 0;
        };
        let runs = &self.runs[self.runs.len() - last.runs as usize..];
        last.start.saturating_add(super::samples::duration(runs))
    }

    /// The samples that can be decoded by themselves, as places in `sizes`; `None` if all can.
    pub fn sync(&self) -> Option<Vec<u32>> {
        if self.segments.iter().all(|segment| segment.all_sync) {
            return None;
        }
        let (mut places, mut told) = (Vec::new(), self.sync.iter().copied().peekable());
        let mut first = 0;
        for segment in &self.segments {
            let next = first + segment.samples;
            match segment.all_sync {
                true => places.extend(first..next),
                false => places.extend(std::iter::from_fn(|| told.next_if(|place| *place < next))),
            }
            first = next;
        }
        Some(places)
    }

    /// The segments, each with its runs and sizes.
    pub fn segments(&self) -> impl Iterator<Item = (&Segment, &[Run], &[u32])> {
        let (mut runs, mut sizes) = (&self.runs[..], &self.sizes[..]);
        self.segments.iter().map(move |segment| {
            let (own_runs, own_sizes);
            (own_runs, runs) = runs.split_at(segment.runs as usize);
            (own_sizes, sizes) = sizes.split_at(segment.samples as usize);
            (segment, own_runs, own_sizes)
        })
    }

    /// Whether its parts speak of the same samples. The object came from outside.
    fn agrees(&self) -> bool {
        let sum = |of: fn(&Segment) -> u32| self.segments.iter().map(|s| u64::from(of(s))).sum::<u64>();
        let sums = sum(|s| s.runs) == self.runs.len() as u64 && sum(|s| s.samples) == self.sizes.len() as u64;
        let inits = self.segments.iter().all(|s| (s.init as usize) < self.inits.len());
        let sync = self.sync.is_sorted_by(|a, b| a < b)
            && self
                .sync
                .last()
                .is_none_or(|last| (*last as usize) < self.sizes.len());
        let within = |(_, runs, sizes): (&Segment, &[Run], &[u32])| {
            runs.iter().map(|run| u64::from(run.samples)).sum::<u64>() == sizes.len() as u64
        };
        sums && inits && sync && self.sizes.len() <= MOST_SAMPLES && self.segments().all(within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn samples(start: u64, sizes: Vec<u32>) -> Samples {
        Samples {
            start,
            runs: vec![Run {
                skip: 100,
                samples: sizes.len() as u32,
                duration: 3_000,
            }],
            sizes,
            sync: vec![0],
        }
    }

    #[test]
    fn segments_follow_each_other() {
        let mut track = Track::named("720p");
        track.push(3, b"init", samples(9_000, vec![1, 2])).unwrap();
        assert_eq!(track.push(4, b"init", samples(14_999, vec![1])), None);
        track.push(5, b"other", samples(15_000, vec![3])).unwrap();
        track.push(6, b"other", samples(18_000, vec![4, 5])).unwrap();
        // Of the one that is alone it need not be said.
        assert_eq!((track.sizes.len(), &track.sync[..]), (5, &[0, 3][..]));
        assert_eq!(track.sync(), Some(vec![0, 2, 3]));
        assert_eq!(
            track.segments.iter().map(|s| s.init).collect::<Vec<_>>(),
            [0, 1, 1]
        );
        let sizes: Vec<_> = track.segments().map(|(_, _, sizes)| sizes.to_vec()).collect();
        assert_eq!(sizes, [vec![1, 2], vec![3], vec![4, 5]]);
    }

    proptest! {
        #[test]
        fn an_index_reads_back(sizes in prop::collection::vec(1u32..200_000, 1..200), at in 0usize..400, byte: u8) {
            let mut track = Track::named("720p");
            track.push(0, b"init", samples(0, sizes)).unwrap();
            let index = Index::new([7; 32], vec![track]);
            let mut bytes = index.encode().unwrap();
            prop_assert_eq!(&Index::decode(&bytes).unwrap(), &index);
            // Damage is told or harmless.
            if let Some(there) = bytes.get_mut(at) {
                *there = byte;
            }
            if let Ok(index) = Index::decode(&bytes) {
                prop_assert_eq!(index.tracks.iter().map(|track| track.segments().count()).sum::<usize>(),
                    index.tracks.iter().map(|track| track.segments.len()).sum::<usize>());
            }
        }
    }

    #[test]
    fn an_index_of_another_form_is_not_read() {
        let mut bytes = Index::new([0; 32], vec![]).encode().unwrap();
        bytes[0] += 1;
        assert!(matches!(Index::decode(&bytes), Err(BadIndex::Form)));
    }
}
