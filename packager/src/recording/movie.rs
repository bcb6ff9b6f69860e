//! From the index to the file: `ftyp`, `moov` and the header of `mdat`, and the layout of what follows.
//!
//! The file begins with the first sample; from there on its time is media time. Tracks stand in it segment by
//! segment, the picture of a segment before its sound. Where the archive has a hole the picture before it stays,
//! and the sound is filled with silent frames: players that count sound frames rather than look at their times
//! stay in step. As in the HLS renditions the encoder's priming is not cut by an edit list, so lip sync is theirs.

use bytes::Bytes;
use mp4_atom::{
    Atom, Co64, Codec, Decode, Edts, Elst, ElstEntry, Encode, Ftyp, Header, Mdat, Moov, Mvhd, Stbl, Stsc,
    StscEntry, Stsd, Stss, Stsz, StszSamples, Stts, SttsEntry, Trak,
};
use timeline::{BroadcastId, TICKS_PER_SECOND};

use super::index::{Index, MOST_SAMPLES, Segment, Track};
use super::layout::{Layout, Piece, What};
use super::samples::Run;

const TIMESCALE: u32 = TICKS_PER_SECOND as u32;

/// Samples in an AAC frame, which are the units of its timescale.
const AAC_SAMPLES: u32 = 1_024;

/// A frame of silence in AAC-LC, as libavcodec writes it: one channel, and two.
const SILENT_MONO: &[u8] = &[0x01, 0x18, 0x20, 0x07];
const SILENT_STEREO: &[u8] = &[0x21, 0x10, 0x04, 0x60, 0x8c, 0x1c];

#[derive(Debug, thiserror::Error)]
pub enum BadMovie {
    #[error(transparent)]
    Boxes(#[from] mp4_atom::Error),
    #[error("there are no samples")]
    Empty,
    #[error("an init segment does not have one track with one sample entry, as those before it")]
    Init,
    /// 13 hours of picture, and the same for the sound.
    #[error("a hole is longer than a sample can last")]
    LongHole,
    #[error("a segment is longer than four gigabytes")]
    LongSegment,
}

/// The whole file: what it begins with, and where the rest is.
pub fn movie(broadcast: &BroadcastId, index: &Index) -> Result<Layout, BadMovie> {
    let mut pieces = Vec::new();
    let with_samples = index.tracks.iter().filter(|track| !track.segments.is_empty());
    let mut lanes = with_samples
        .map(|track| Lane::of(track, &mut pieces))
        .collect::<Result<Vec<_>, _>>()?;
    let origin = lanes.iter().map(Lane::start).min().ok_or(BadMovie::Empty)?;
    let folders = lanes
        .iter()
        .map(|lane| format!("{broadcast}/{}", lane.name))
        .collect();
    let layout = interleave(&mut lanes, Layout::new(folders, pieces));
    let head = head(&mut lanes, origin, layout.length())?;
    Ok(layout.behind(head))
}

/// One track on its way into the file.
struct Lane {
    name: String,
    /// As the init segment has it: kind, size, timescale.
    trak: Trak,
    codecs: Vec<Codec>,
    /// Of each init segment: its place in `codecs`.
    entries: Vec<u32>,
    timescale: u32,
    silence: Option<&'static [u8]>,
    chunks: Vec<Chunk>,
    sizes: Vec<u32>,
    /// Of the samples in `sizes`, from 1; none where all are sync samples.
    sync: Option<Vec<u32>>,
    durations: Vec<SttsEntry>,
    /// Units, from the origin.
    start: u64,
    end: u64,
    /// Where each chunk is in the file, once it is known.
    offsets: Vec<u64>,
}

/// Samples side by side in the file: those of a segment, or the silence in a hole.
struct Chunk {
    /// Units, from the origin.
    start: u64,
    /// Taken when it is laid out.
    what: Option<What>,
    samples: u32,
    bytes: u64,
    /// Which sample entry, from 1.
    description: u32,
}

impl Lane {
    fn of(track: &Track, pieces: &mut Vec<Piece>) -> Result<Lane, BadMovie> {
        let mut lane = Lane::begin(track)?;
        for (segment, runs, sizes) in track.segments() {
            lane.fill_until(segment.start)?;
            lane.segment(segment, runs, sizes, pieces)?;
        }
        Ok(lane)
    }

    fn begin(track: &Track) -> Result<Lane, BadMovie> {
        let traks = track
            .inits
            .iter()
            .map(|init| trak(init))
            .collect::<Result<Vec<_>, _>>()?;
        let first = traks.first().ok_or(BadMovie::Init)?.clone();
        let kind = |trak: &Trak| (trak.mdia.hdlr.handler, trak.mdia.mdhd.timescale);
        let timescale = first.mdia.mdhd.timescale;
        if timescale == 0 || traks.iter().any(|trak| kind(trak) != kind(&first)) {
            return Err(BadMovie::Init);
        }
        let described = traks.into_iter().flat_map(|trak| trak.mdia.minf.stbl.stsd.codecs);
        let (codecs, entries) = sample_entries(described);
        let start = track.segments.first().map_or(0, |segment| segment.start);
        Ok(Lane {
            name: track.name.clone(),
            silence: codecs.first().and_then(silence),
            trak: first,
            codecs,
            entries,
            timescale,
            chunks: Vec::with_capacity(track.segments.len()),
            sizes: Vec::with_capacity(track.sizes.len()),
            // A track with silence in it is sound, so the places of pictures never shift.
            sync: track
                .sync()
                .map(|places| places.into_iter().map(|place| place + 1).collect()),
            durations: Vec::new(),
            start,
            end: start,
            offsets: Vec::new(),
        })
    }

    /// When it starts, in the ticks of the movie.
    fn start(&self) -> u64 {
        self.ticks(self.start)
    }

    fn ticks(&self, units: u64) -> u64 {
        (u128::from(units) * u128::from(TIMESCALE) / u128::from(self.timescale)) as u64
    }

    /// Bridges the hole between the last sample and this time.
    fn fill_until(&mut self, start: u64) -> Result<(), BadMovie> {
        let hole = start.saturating_sub(self.end);
        let mut hole = u32::try_from(hole).map_err(|_| BadMovie::LongHole)?;
        if let (Some(frame), Some(before)) = (self.silence, self.chunks.last()) {
            let frames = hole / AAC_SAMPLES;
            let description = before.description;
            if self.sizes.len() + frames as usize > MOST_SAMPLES {
                return Err(BadMovie::LongHole);
            }
            if frames > 0 {
                self.add(
                    What::Silence(frame),
                    self.end,
                    frames,
                    u64::from(frames) * frame.len() as u64,
                    description,
                );
                self.sizes
                    .extend(std::iter::repeat_n(frame.len() as u32, frames as usize));
                self.last(frames, AAC_SAMPLES);
                hole -= frames * AAC_SAMPLES;
            }
        }
        self.hold(hole)
    }

    fn segment(
        &mut self,
        segment: &Segment,
        runs: &[Run],
        sizes: &[u32],
        pieces: &mut Vec<Piece>,
    ) -> Result<(), BadMovie> {
        let first = pieces.len();
        let (mut rest, mut bytes) = (sizes, 0);
        for run in runs {
            let (own, others) = rest
                .split_at_checked(run.samples as usize)
                .ok_or(BadMovie::Empty)?;
            rest = others;
            let length: u64 = own.iter().map(|size| u64::from(*size)).sum();
            bytes += length;
            let length = u32::try_from(length).map_err(|_| BadMovie::LongSegment)?;
            pieces.push(Piece {
                skip: run.skip,
                length,
            });
            self.last(run.samples, run.duration);
        }
        let what = What::Segment {
            track: 0,
            msn: segment.msn,
            pieces: first..pieces.len(),
        };
        self.sizes.extend_from_slice(sizes);
        let entry = self.entries.get(segment.init as usize).ok_or(BadMovie::Init)?;
        self.add(what, segment.start, segment.samples, bytes, entry + 1);
        Ok(())
    }

    fn add(&mut self, what: What, start: u64, samples: u32, bytes: u64, description: u32) {
        self.chunks.push(Chunk {
            start,
            what: Some(what),
            samples,
            bytes,
            description,
        });
    }

    /// The next samples last this long, each.
    fn last(&mut self, samples: u32, duration: u32) {
        self.end += u64::from(samples) * u64::from(duration);
        match self.durations.last_mut() {
            Some(entry) if entry.sample_delta == duration => entry.sample_count += samples,
            _ => self.durations.push(SttsEntry {
                sample_count: samples,
                sample_delta: duration,
            }),
        }
    }

    /// The last sample lasts longer.
    fn hold(&mut self, units: u32) -> Result<(), BadMovie> {
        let Some(entry) = self.durations.last_mut().filter(|_| units > 0) else {
            return Ok(());
        };
        let duration = entry.sample_delta.checked_add(units).ok_or(BadMovie::LongHole)?;
        entry.sample_count -= 1;
        self.end -= u64::from(entry.sample_delta);
        self.durations.retain(|entry| entry.sample_count > 0);
        self.last(1, duration);
        Ok(())
    }
}

/// The track of an init segment.
fn trak(init: &[u8]) -> Result<Trak, BadMovie> {
    let mut rest = init;
    Ftyp::decode(&mut rest)?;
    let mut moov = Moov::decode(&mut rest)?;
    let trak = moov
        .trak
        .pop()
        .filter(|trak| trak.mdia.minf.stbl.stsd.codecs.len() == 1);
    trak.filter(|_| moov.trak.is_empty()).ok_or(BadMovie::Init)
}

/// The sample entries that a track needs, and which of them each of its inits means: one whose parameter sets are all
/// in another's needs none of its own, and few players take a second.
fn sample_entries(described: impl Iterator<Item = Codec>) -> (Vec<Codec>, Vec<u32>) {
    let (mut codecs, mut entries): (Vec<Codec>, Vec<u32>) = Default::default();
    for codec in described {
        let known = codecs
            .iter()
            .position(|known| *known == codec || serves(known, &codec));
        let place = match (known, codecs.last_mut()) {
            (Some(known), _) => known,
            (None, Some(last)) if serves(&codec, last) => {
                *last = codec;
                codecs.len() - 1
            }
            _ => {
                codecs.push(codec);
                codecs.len() - 1
            }
        };
        entries.push(place as u32);
    }
    (codecs, entries)
}

/// Whether what needs one sample entry can be decoded with the other.
fn serves(with: &Codec, needs: &Codec) -> bool {
    let (Codec::Avc1(with), Codec::Avc1(needs)) = (with, needs) else {
        return false;
    };
    let within = |all: &[Vec<u8>], some: &[Vec<u8>]| some.iter().all(|set| all.contains(set));
    with.visual == needs.visual
        && within(
            &with.avcc.sequence_parameter_sets,
            &needs.avcc.sequence_parameter_sets,
        )
        && within(
            &with.avcc.picture_parameter_sets,
            &needs.avcc.picture_parameter_sets,
        )
}

/// The frame that fills holes, where we know one.
fn silence(codec: &Codec) -> Option<&'static [u8]> {
    const AAC_LC: u8 = 2;
    let Codec::Mp4a(mp4a) = codec else {
        return None;
    };
    let specific = mp4a.esds.es_desc.dec_config.dec_specific.as_ref()?;
    match (specific.profile, specific.chan_conf) {
        (AAC_LC, 1) => Some(SILENT_MONO),
        (AAC_LC, 2) => Some(SILENT_STEREO),
        _ => None,
    }
}

/// Puts the chunks of all tracks in the order of time, the picture first.
fn interleave(lanes: &mut [Lane], mut layout: Layout) -> Layout {
    let mut order: Vec<(u64, usize, usize)> = Vec::new();
    for (track, lane) in lanes.iter().enumerate() {
        order.extend(
            lane.chunks
                .iter()
                .enumerate()
                .map(|(n, chunk)| (lane.ticks(chunk.start), track, n)),
        );
    }
    order.sort_unstable();
    for (_, own, n) in order {
        let lane = &mut lanes[own];
        let chunk = &mut lane.chunks[n];
        let Some(mut what) = chunk.what.take() else {
            continue;
        };
        if let What::Segment { track, .. } = &mut what {
            *track = own;
        }
        lane.offsets.push(layout.push(what, chunk.bytes));
    }
    layout
}

/// Everything before the first sample. `origin` is when the file begins, in ticks.
fn head(lanes: &mut [Lane], origin: u64, payload: u64) -> Result<Bytes, BadMovie> {
    let ftyp = Ftyp {
        major_brand: b"isom".into(),
        minor_version: 512,
        compatible_brands: vec![b"isom".into(), b"iso2".into(), b"avc1".into(), b"mp41".into()],
    };
    let traks: Vec<Trak> = (1..).zip(lanes).map(|(id, lane)| lane.trak(id, origin)).collect();
    let mut moov = Moov {
        mvhd: Mvhd {
            timescale: TIMESCALE,
            duration: traks.iter().map(|trak| trak.tkhd.duration).max().unwrap_or(0),
            rate: 1.into(),
            volume: 1.into(),
            next_track_id: traks.len() as u32 + 1,
            ..Mvhd::default()
        },
        trak: traks,
        ..Moov::default()
    };
    // Offsets are wide, so that the header is as long with them as without.
    let length = written(&ftyp, &moov, payload)?.len() as u64;
    for trak in &mut moov.trak {
        let offsets = trak
            .mdia
            .minf
            .stbl
            .co64
            .iter_mut()
            .flat_map(|co64| &mut co64.entries);
        offsets.for_each(|offset| *offset += length);
    }
    Ok(written(&ftyp, &moov, payload)?.into())
}

fn written(ftyp: &Ftyp, moov: &Moov, payload: u64) -> Result<Vec<u8>, BadMovie> {
    let mut out = Vec::new();
    ftyp.encode(&mut out)?;
    moov.encode(&mut out)?;
    let mdat = Header {
        kind: Mdat::KIND,
        size: Some(payload as usize),
    };
    mdat.encode(&mut out)?;
    Ok(out)
}

impl Lane {
    fn trak(&mut self, id: u32, origin: u64) -> Trak {
        let (late, duration) = (self.start() - origin, self.ticks(self.end) - self.start());
        let mut trak = self.trak.clone();
        trak.tkhd.track_id = id;
        trak.tkhd.duration = late + duration;
        trak.edts = (late > 0).then(|| begins_later(late, duration));
        trak.mdia.mdhd.duration = self.end - self.start;
        trak.mdia.minf.stbl = self.table();
        trak
    }

    fn table(&mut self) -> Stbl {
        let entry = |(n, chunk): (u32, &Chunk)| StscEntry {
            first_chunk: n,
            samples_per_chunk: chunk.samples,
            sample_description_index: chunk.description,
        };
        let mut chunks: Vec<StscEntry> = (1..).zip(&self.chunks).map(entry).collect();
        // An entry holds for all chunks up to the next one's.
        chunks.dedup_by_key(|entry| (entry.samples_per_chunk, entry.sample_description_index));
        Stbl {
            stsd: Stsd {
                codecs: std::mem::take(&mut self.codecs),
            },
            stts: Stts {
                entries: std::mem::take(&mut self.durations),
            },
            stss: self.sync.take().map(|entries| Stss { entries }),
            stsc: Stsc { entries: chunks },
            stsz: Stsz {
                samples: StszSamples::Different {
                    sizes: std::mem::take(&mut self.sizes),
                },
            },
            co64: Some(Co64 {
                entries: std::mem::take(&mut self.offsets),
            }),
            ..Stbl::default()
        }
    }
}

/// An empty edit: this track starts after the other.
fn begins_later(late: u64, duration: u64) -> Edts {
    let edit = |segment_duration, media_time| ElstEntry {
        segment_duration,
        media_time,
        media_rate: 1.into(),
    };
    Edts {
        elst: Some(Elst {
            entries: vec![edit(late, None), edit(duration, Some(0))],
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ladder::Ladder;
    use crate::recording::layout::Read;
    use crate::recording::samples::Samples;
    use crate::testing::ladder;
    use std::sync::Arc;

    const HOLE_FRAMES: u32 = 298;

    fn samples(start: u64, sizes: &[u32], duration: u32, sync: &[u32]) -> Samples {
        Samples {
            start,
            runs: vec![Run {
                skip: 50,
                samples: sizes.len() as u32,
                duration,
            }],
            sizes: sizes.to_vec(),
            sync: sync.to_vec(),
        }
    }

    /// Segments 1 and 3 of picture and sound, a segment apart.
    fn index() -> Index {
        let mut all = Ladder::default();
        ladder().into_iter().for_each(|rendition| {
            all.add(rendition).unwrap();
        });
        let init = |name: &str| all.named(name).unwrap().1.init.clone();
        let mut video = Track::named("720p");
        let pushed = [(1, 288_000, &[700, 20][..]), (3, 864_000, &[800])]
            .map(|(msn, start, sizes)| video.push(msn, &init("720p"), samples(start, sizes, 3_000, &[0])));
        assert_eq!(pushed, [Some(()); 2]);
        let mut audio = Track::named("audio");
        let pushed = [(1, 153_600, &[30, 31][..]), (3, 460_800, &[32])].map(|(msn, start, sizes)| {
            audio.push(
                msn,
                &init("audio"),
                samples(start, sizes, 1_024, &[0, 1][..sizes.len()]),
            )
        });
        assert_eq!(pushed, [Some(()); 2]);
        Index::new([0; 32], vec![video, audio])
    }

    fn made(index: &Index) -> (Arc<Layout>, Moov) {
        let layout = movie(&"a".parse().unwrap(), index).unwrap();
        let mut rest = &layout.head()[..];
        Ftyp::decode(&mut rest).unwrap();
        let moov = Moov::decode(&mut rest).unwrap();
        let mdat = Header::decode(&mut rest).unwrap();
        assert_eq!((mdat.kind, rest.len()), (Mdat::KIND, 0));
        assert_eq!(
            mdat.size.unwrap() as u64 + layout.head().len() as u64,
            layout.length()
        );
        (Arc::new(layout), moov)
    }

    #[test]
    fn holes_keep_their_time_in_both_tracks() {
        let (layout, moov) = made(&index());
        let [video, audio] = &moov.trak[..] else { panic!() };
        let entry = |sample_count, sample_delta| SttsEntry {
            sample_count,
            sample_delta,
        };
        let stbl = &video.mdia.minf.stbl;
        // The second picture stays until the third.
        assert_eq!(
            stbl.stts.entries,
            [entry(1, 3_000), entry(1, 573_000), entry(1, 3_000)]
        );
        assert_eq!(stbl.stss.as_ref().unwrap().entries, [1, 3]);
        let stbl = &audio.mdia.minf.stbl;
        assert_eq!(stbl.stts.entries, [entry(2 + HOLE_FRAMES + 1, 1_024)]);
        assert_eq!(stbl.stss, None);
        let per_chunk: Vec<_> = stbl
            .stsc
            .entries
            .iter()
            .map(|e| (e.first_chunk, e.samples_per_chunk))
            .collect();
        assert_eq!(per_chunk, [(1, 2), (2, HOLE_FRAMES), (3, 1)]);
        assert_eq!((moov.mvhd.timescale, moov.mvhd.duration), (90_000, 579_000));
        assert!(video.edts.is_none() && audio.edts.is_none() && moov.mvex.is_none());
        // In the order of time: picture, sound, silence, picture, sound.
        let head = layout.head().len() as u64;
        let silence = u64::from(HOLE_FRAMES) * SILENT_STEREO.len() as u64;
        let offsets = |trak: &Trak| trak.mdia.minf.stbl.co64.as_ref().unwrap().entries.clone();
        assert_eq!(offsets(video), [head, head + 781 + silence]);
        assert_eq!(
            offsets(audio),
            [head + 720, head + 781, head + 781 + silence + 800]
        );
        let objects = layout
            .clone()
            .reads(head..layout.length())
            .filter_map(|read| match read {
                Read::Object { key, range, .. } => Some((key, range)),
                Read::Here(_) => None,
            });
        let expected = [
            ("a/720p/1.m4s", 720),
            ("a/audio/1.m4s", 61),
            ("a/720p/3.m4s", 800),
            ("a/audio/3.m4s", 32),
        ];
        let expected = expected.map(|(key, length)| (key.to_owned(), 50..50 + length));
        assert_eq!(objects.collect::<Vec<_>>(), expected);
    }

    /// An init segment with these parameter sets.
    fn init(sps: &[u8], pps: &[u8]) -> Vec<u8> {
        let sets = |kind: u8, sets: &[u8]| {
            let each = sets.iter().flat_map(|set| [0, 5, kind, 0x64, 0, 0x1f, *set]);
            each.collect::<Vec<u8>>()
        };
        let record = [
            &[1, 0x64, 0, 0x1f, 0xff, 0xe0 | sps.len() as u8][..],
            &sets(0x67, sps),
            &[pps.len() as u8],
            &sets(0x68, pps),
            &[0xfd, 0xf8, 0xf8, 0],
        ];
        let rendition = timeline::Rendition {
            init: record.concat().into(),
            ..crate::testing::video(1, "720p", 2_500_000)
        };
        crate::fmp4::init_segment(&rendition).unwrap().to_vec()
    }

    #[test]
    fn inits_whose_parameter_sets_are_in_another_share_its_sample_entry() {
        let mut index = index();
        let described = |index: &Index| {
            let (_, moov) = made(index);
            let stbl = &moov.trak[0].mdia.minf.stbl;
            let entries = stbl
                .stsc
                .entries
                .iter()
                .map(|entry| entry.sample_description_index);
            let sets = stbl.stsd.codecs.iter().map(|codec| match codec {
                Codec::Avc1(avc1) => avc1.avcc.sequence_parameter_sets.len(),
                _ => panic!("{codec:?}"),
            });
            (entries.collect::<Vec<_>>(), sets.collect::<Vec<_>>())
        };
        index.tracks[0].segments[1].init = 1;
        // More sets are added, …
        index.tracks[0].inits = vec![init(b"a", b"a"), init(b"ab", b"ab")];
        assert_eq!(described(&index), (vec![1, 1], vec![2]));
        // … are dropped again, …
        index.tracks[0].inits.reverse();
        assert_eq!(described(&index), (vec![1, 1], vec![2]));
        // … or are others.
        index.tracks[0].inits = vec![init(b"ab", b"a"), init(b"ac", b"a")];
        assert_eq!(described(&index), (vec![1, 2], vec![2, 2]));
    }

    #[test]
    fn a_track_that_starts_later_says_so() {
        let mut index = index();
        index.tracks[1].segments.remove(0);
        index.tracks[1].runs.remove(0);
        index.tracks[1].sizes.drain(..2);
        let (_, moov) = made(&index);
        let edits = &moov.trak[1].edts.as_ref().unwrap().elst.as_ref().unwrap().entries;
        let edits: Vec<_> = edits.iter().map(|e| (e.segment_duration, e.media_time)).collect();
        assert_eq!(edits, [(576_000, None), (1_920, Some(0))]);
        assert_eq!(moov.mvhd.duration, 579_000);
    }

    #[test]
    fn more_than_four_gigabytes_have_wide_lengths() {
        let mut index = index();
        index.tracks.pop();
        index.tracks[0].sizes = vec![u32::MAX - 3, 3, 9];
        let (layout, moov) = made(&index);
        assert_eq!(
            layout.length() - layout.head().len() as u64,
            u64::from(u32::MAX) + 9
        );
        let offsets = &moov.trak[0].mdia.minf.stbl.co64.as_ref().unwrap().entries;
        assert_eq!(offsets[1], layout.length() - 9);
    }

    #[test]
    fn nothing_and_nonsense_are_errors() {
        let movie = |index: &Index| movie(&"a".parse().unwrap(), index);
        assert!(matches!(
            movie(&Index::new([0; 32], vec![Track::named("720p")])),
            Err(BadMovie::Empty)
        ));
        let mut bad = index();
        bad.tracks[0].inits = vec![b"nonsense".to_vec()];
        assert!(movie(&bad).is_err());
        let mut mixed = index();
        let audio = mixed.tracks[1].inits[0].clone();
        mixed.tracks[0].inits.push(audio);
        assert!(matches!(movie(&mixed), Err(BadMovie::Init)));
        let mut long = index();
        long.tracks[0].segments[1].start = 864_000 + (1 << 33);
        assert!(matches!(movie(&long), Err(BadMovie::LongHole)));
    }
}
