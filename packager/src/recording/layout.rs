//! Where each byte of a recording comes from: its header is here, its samples are in the archive's segments.
//!
//! A file of gigabytes is so a few megabytes of map, and a range of it a few reads, found by binary search.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

/// A read asks for no more than this of an object: what a download holds in memory is a few of these.
pub const LONGEST_READ: u64 = 256 * 1024;

#[derive(Debug, Default)]
pub struct Layout {
    head: Bytes,
    /// `{id}/{rendition}` of each track.
    folders: Vec<String>,
    sources: Vec<Source>,
    pieces: Vec<Piece>,
    length: u64,
}

/// A stretch of the file: one chunk of one track.
#[derive(Debug)]
struct Source {
    /// Where it begins in the file.
    at: u64,
    what: What,
}

#[derive(Debug)]
pub enum What {
    /// The samples of an archived segment.
    Segment {
        track: usize,
        msn: u64,
        pieces: Range<usize>,
    },
    /// One frame, again and again: where sound is missing.
    Silence(&'static [u8]),
}

/// Sample bytes side by side in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Bytes before it that are no samples.
    pub skip: u32,
    pub length: u32,
}

/// How the next bytes are had.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    Here(Bytes),
    Object {
        key: String,
        range: Range<u64>,
        /// What of the range belongs to the file; the rest is boxes between samples.
        keep: Vec<Range<usize>>,
    },
}

impl Layout {
    pub fn new(folders: Vec<String>, pieces: Vec<Piece>) -> Layout {
        Layout {
            folders,
            pieces,
            ..Layout::default()
        }
    }

    /// What the next `length` bytes are. Gives where they begin, counted from the first.
    pub fn push(&mut self, what: What, length: u64) -> u64 {
        let at = self.length;
        self.sources.push(Source { at, what });
        self.length += length;
        at
    }

    /// Puts the header before everything else.
    pub fn behind(self, head: Bytes) -> Layout {
        let ahead = head.len() as u64;
        let shifted = |source: Source| Source {
            at: source.at + ahead,
            ..source
        };
        Layout {
            head,
            sources: self.sources.into_iter().map(shifted).collect(),
            length: self.length + ahead,
            ..self
        }
    }

    pub fn length(&self) -> u64 {
        self.length
    }

    pub fn head(&self) -> &Bytes {
        &self.head
    }

    /// The reads whose bytes, one after the other, are this range of the file.
    pub fn reads(self: Arc<Layout>, range: Range<u64>) -> impl Iterator<Item = Read> + Send {
        let (mut at, end) = (range.start, range.end.min(self.length));
        std::iter::from_fn(move || {
            (at < end).then(|| {
                let read = self.read(at, end);
                at += read.bytes();
                read
            })
        })
        // None is: but were the map wrong, the answer would break off rather than never end.
        .take_while(|read| read.bytes() > 0)
    }

    /// One read from `at`, not beyond `end`.
    fn read(&self, at: u64, end: u64) -> Read {
        let after = self.sources.partition_point(|source| source.at <= at);
        let next = self.sources.get(after).map_or(self.length, |next| next.at);
        let wanted = end.min(next) - at;
        let Some(source) = after.checked_sub(1).map(|n| &self.sources[n]) else {
            let at = at as usize;
            return Read::Here(self.head.slice(at..at + wanted.min(LONGEST_READ) as usize));
        };
        let within = at - source.at;
        match &source.what {
            What::Segment { track, msn, pieces } => {
                let (range, keep) = gather(&self.pieces[pieces.clone()], within, wanted);
                Read::Object {
                    key: format!("{}/{}", self.folders[*track], crate::listing::segment_name(*msn)),
                    range,
                    keep,
                }
            }
            What::Silence(frame) => {
                let first = (within % frame.len() as u64) as usize;
                let bytes = frame.iter().cycle().skip(first).copied();
                Read::Here(bytes.take(wanted.min(LONGEST_READ) as usize).collect())
            }
        }
    }
}

/// The range of a segment that holds up to `wanted` sample bytes from the `within`th on, and which of it they are.
fn gather(pieces: &[Piece], within: u64, wanted: u64) -> (Range<u64>, Vec<Range<usize>>) {
    // Where the next piece begins, in the segment and among the sample bytes.
    let (mut place, mut passed) = (0, 0);
    let spans = pieces.iter().filter_map(|piece| {
        place += u64::from(piece.skip);
        let length = u64::from(piece.length);
        let [from, to] = [within, within + wanted].map(|at| place + at.saturating_sub(passed).min(length));
        place += length;
        passed += length;
        (from < to).then_some(from..to)
    });
    let mut base = None;
    let keep = spans.map_while(|span| {
        let base = *base.get_or_insert(span.start);
        let end = span.end.min(base + LONGEST_READ);
        (span.start < end).then(|| (span.start - base) as usize..(end - base) as usize)
    });
    let keep: Vec<_> = keep.collect();
    let (base, length) = (base.unwrap_or(0), keep.last().map_or(0, |last| last.end as u64));
    (base..base + length, keep)
}

impl Read {
    /// How many bytes of the file it gives.
    pub fn bytes(&self) -> u64 {
        match self {
            Read::Here(bytes) => bytes.len() as u64,
            Read::Object { keep, .. } => keep.iter().map(|range| range.len() as u64).sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A file of two tracks, and what is archived of it.
    struct Made {
        layout: Arc<Layout>,
        objects: Vec<(String, Vec<u8>)>,
        whole: Vec<u8>,
    }

    /// One source: its track and pieces (skip, length), or so many frames of silence.
    type Plan = Result<(usize, Vec<(u32, u32)>), usize>;

    const FRAME: &[u8] = &[1, 2, 3, 4, 5];

    fn make(head: usize, plan: Vec<Plan>) -> Made {
        let mut random = 1u32;
        let mut noise = |count: u32| {
            let bytes = (0..count).map(|_| {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (random >> 24) as u8
            });
            bytes.collect::<Vec<u8>>()
        };
        let head = noise(head as u32);
        let (mut whole, mut objects) = (head.clone(), Vec::new());
        let mut all = Vec::new();
        let mut sources = Vec::new();
        for (msn, source) in plan.into_iter().enumerate() {
            let before = whole.len();
            let what = match source {
                Err(frames) => {
                    whole.extend(FRAME.repeat(frames));
                    What::Silence(FRAME)
                }
                Ok((track, pieces)) => {
                    let mut object = Vec::new();
                    let first = all.len();
                    for (skip, length) in pieces {
                        object.extend(noise(skip));
                        let samples = noise(length);
                        object.extend(&samples);
                        whole.extend(samples);
                        all.push(Piece { skip, length });
                    }
                    objects.push((format!("a/{track}/{msn}.m4s"), object));
                    What::Segment {
                        track,
                        msn: msn as u64,
                        pieces: first..all.len(),
                    }
                }
            };
            sources.push((what, (whole.len() - before) as u64));
        }
        let mut layout = Layout::new(vec!["a/0".into(), "a/1".into()], all);
        sources.into_iter().for_each(|(what, length)| {
            layout.push(what, length);
        });
        Made {
            layout: Arc::new(layout.behind(head.into())),
            objects,
            whole,
        }
    }

    impl Made {
        fn read(&self, range: Range<u64>) -> Vec<u8> {
            let mut out = Vec::new();
            for read in self.layout.clone().reads(range) {
                match read {
                    Read::Here(bytes) => out.extend_from_slice(&bytes),
                    Read::Object { key, range, keep } => {
                        assert!(range.end - range.start <= LONGEST_READ);
                        let (_, object) = self.objects.iter().find(|(name, _)| *name == key).unwrap();
                        let read = &object[range.start as usize..range.end as usize];
                        keep.into_iter()
                            .for_each(|keep| out.extend_from_slice(&read[keep]));
                    }
                }
            }
            out
        }
    }

    fn plan() -> impl Strategy<Value = Vec<Plan>> {
        // Some pieces are longer than a read, some gaps between them too.
        let piece = prop_oneof![
            8 => (0u32..300, 1u32..3_000),
            1 => (0u32..300_000, 1u32..300_000),
        ];
        let segment = (0usize..2, prop::collection::vec(piece, 1..6)).prop_map(Ok);
        prop::collection::vec(
            prop_oneof![5 => segment, 1 => (1usize..2_000).prop_map(Err)],
            0..6,
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Every range of the file is that slice of the whole file.
        #[test]
        fn a_range_is_a_slice_of_the_whole(
            head in 0usize..2_000,
            plan in plan(),
            cuts in prop::collection::vec(0.0f64..1.0, 8),
        ) {
            let made = make(head, plan);
            let length = made.layout.length();
            prop_assert_eq!(length, made.whole.len() as u64);
            prop_assert_eq!(&made.read(0..length), &made.whole);
            prop_assert_eq!(made.read(length..length + 1), Vec::<u8>::new());
            for pair in cuts.windows(2) {
                let [a, b] = [pair[0], pair[1]].map(|cut| (cut * (length + 1) as f64) as u64);
                let (from, to) = (a.min(b), a.max(b).min(length));
                prop_assert_eq!(&made.read(from..to)[..], &made.whole[from as usize..to as usize]);
            }
        }
    }

    #[test]
    fn each_byte_can_be_had_alone() {
        let made = make(
            10,
            vec![Ok((0, vec![(8, 3), (5, 1)])), Err(2), Ok((1, vec![(0, 4)]))],
        );
        let alone: Vec<u8> = (0..made.layout.length())
            .flat_map(|at| made.read(at..at + 1))
            .collect();
        assert_eq!(alone, made.whole);
    }
}
