//! The renditions of a broadcast: checked, named, and as the multivariant playlist lists them.

use std::cmp::Reverse;
use std::collections::VecDeque;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use timeline::{Grid, Media, Rendition, TrackId};

use crate::error::Error;
use crate::fmp4::init_segment;
use crate::playlist::{Alternative, IFrameVariant, Multivariant, Variant};

/// A ladder has four or five rungs and a few languages; reports are written for each pair.
const MOST_RENDITIONS: usize = 16;

/// What the boxes of a part cost: about 150 bytes.
const PART_OVERHEAD_BITS: i64 = 150 * 8;

/// Native players begin with the variant listed first; on a good network that is the one nearest to 2 Mbit/s
/// (HLS authoring specification, 9.16).
const FIRST_VARIANT_BANDWIDTH: u32 = 2_000_000;

#[derive(Clone, Debug, Default)]
pub struct Ladder {
    entries: Vec<Entry>,
}

/// One rendition, ready to be served.
#[derive(Clone, Debug)]
pub struct Entry {
    pub rendition: Rendition,
    pub init: Bytes,
    /// `init-{hash}.mp4`: a name that changes with its content.
    pub init_name: String,
    /// The inits before this one, the newest last, each with its name.
    before: VecDeque<(String, Bytes)>,
}

/// Inits that are kept in memory for those who watch behind the live edge. A new one comes with a segment at most, so
/// that older ones are in the archive.
const MOST_INITS: usize = 32;

/// What became of a rendition that was announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Added {
    New,
    /// A respawned encoder goes on with it.
    Again,
    /// It needs another init from its next segment on.
    Renewed,
}

impl Ladder {
    /// Takes a rendition. One that is announced again must be the same as before, but for the init of pictures: a
    /// copied source brings parameter sets of its own.
    pub fn add(&mut self, rendition: Rendition) -> Result<Added, Error> {
        check(&rendition)?;
        if let Some(known) = self
            .entries
            .iter_mut()
            .find(|entry| entry.rendition.name == rendition.name)
        {
            return known.again(rendition);
        }
        if self.entries.len() == MOST_RENDITIONS {
            return Err(Error::TooManyRenditions(MOST_RENDITIONS));
        }
        self.entries.push(Entry::of(rendition)?);
        Ok(Added::New)
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub fn lane(&self, track: TrackId) -> Option<usize> {
        self.entries.iter().position(|entry| entry.rendition.id == track)
    }

    pub fn named(&self, name: &str) -> Option<(usize, &Entry)> {
        self.entries
            .iter()
            .enumerate()
            .find(|(_, entry)| entry.rendition.name == name)
    }

    /// Every video rendition with the sound beside it; sound alone where there is no video.
    pub fn multivariant(&self, grid: &Grid, language: &str) -> Multivariant {
        let (mut video, audio): (Vec<_>, Vec<_>) = self
            .entries
            .iter()
            .map(|entry| &entry.rendition)
            .partition(|rendition| rendition.is_video());
        if video.is_empty() {
            return self.audio_only(grid).unwrap_or_default();
        }
        let first = video.iter().map(|video| distance(video)).min();
        video.sort_by_key(|video| (Some(distance(video)) != first, Reverse(video.bandwidth)));
        Multivariant {
            audio: audio.iter().map(|audio| alternative(audio, language)).collect(),
            subtitles: Vec::new(),
            variants: video.iter().map(|video| variant(video, &audio, grid)).collect(),
            i_frames: video.iter().filter_map(|video| i_frames(video, grid)).collect(),
        }
    }

    /// For those who only listen: players that know video drop audio-only variants from the other one.
    pub fn audio_only(&self, grid: &Grid) -> Option<Multivariant> {
        let audio = &self
            .entries
            .iter()
            .find(|entry| !entry.rendition.is_video())?
            .rendition;
        Some(Multivariant {
            variants: vec![variant(audio, &[], grid)],
            ..Multivariant::default()
        })
    }
}

impl Entry {
    fn of(rendition: Rendition) -> Result<Entry, Error> {
        let init = init_segment(&rendition).map_err(|source| Error::Boxes {
            rendition: rendition.name.clone(),
            source,
        })?;
        let hash: String = Sha256::digest(&init)
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Ok(Entry {
            init,
            init_name: format!("init-{hash}.mp4"),
            rendition,
            before: VecDeque::new(),
        })
    }

    fn again(&mut self, rendition: Rendition) -> Result<Added, Error> {
        let known = Rendition {
            id: rendition.id,
            ..self.rendition.clone()
        };
        let same = known.is_same_but_for_init(&rendition);
        let renewed = self.rendition.init != rendition.init;
        if !same || renewed && !rendition.is_video() {
            return Err(bad(&rendition, "it was announced again and differs"));
        }
        if !renewed {
            self.rendition.id = rendition.id;
            return Ok(Added::Again);
        }
        let next = Entry::of(rendition)?;
        let Entry {
            init,
            init_name,
            mut before,
            ..
        } = std::mem::replace(self, next);
        before.retain(|(name, _)| *name != self.init_name);
        before.push_back((init_name, init));
        while before.len() > MOST_INITS {
            before.pop_front();
        }
        self.before = before;
        Ok(Added::Renewed)
    }

    /// An init by its name.
    pub fn init(&self, name: &str) -> Option<&Bytes> {
        let now = [(&self.init_name, &self.init)].into_iter();
        let mut all = now.chain(self.before.iter().map(|(name, init)| (name, init)));
        all.find_map(|(known, init)| (known == name).then_some(init))
    }

    pub fn content_type(&self) -> &'static str {
        if self.rendition.is_video() {
            "video/mp4"
        } else {
            "audio/mp4"
        }
    }
}

fn check(rendition: &Rendition) -> Result<(), Error> {
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-' || c == b'_';
    let name = rendition.name.as_bytes();
    if name.is_empty() || name.len() > 32 || !name.iter().all(|c| plain(*c)) {
        return Err(bad(rendition, "its name must be 1 to 32 of a-z, 0-9, - and _"));
    }
    if rendition
        .codec
        .bytes()
        .any(|c| !c.is_ascii_alphanumeric() && c != b'.' && c != b'-')
    {
        return Err(bad(rendition, "its codec is not as RFC 6381 has it"));
    }
    match rendition.media {
        Media::Video { width, height, frame } => {
            if width == 0 || height == 0 || width.max(height) > u16::MAX.into() || frame.ticks() <= 0 {
                return Err(bad(rendition, "no picture has that size or span"));
            }
        }
        // The grid counts AAC frames of 1,024 samples at 48 kHz.
        Media::Audio {
            sample_rate: 48_000,
            channels: 1..=8,
        } => {}
        Media::Audio { .. } => return Err(bad(rendition, "audio must be 48 kHz, with 1 to 8 channels")),
    }
    Ok(())
}

fn bad(rendition: &Rendition, reason: &'static str) -> Error {
    Error::BadRendition {
        rendition: rendition.name.clone(),
        reason,
    }
}

fn distance(rendition: &Rendition) -> u32 {
    rendition.bandwidth.abs_diff(FIRST_VARIANT_BANDWIDTH)
}

fn alternative(audio: &Rendition, language: &str) -> Alternative {
    let Media::Audio { channels, .. } = audio.media else {
        unreachable!("only audio is an alternative here")
    };
    Alternative {
        name: audio.name.clone(),
        language: language.to_owned(),
        channels,
        uri: format!("{}/index.m3u8", audio.name),
    }
}

/// A rendition with what sounds beside it (the widest alternative counts for its bandwidth).
fn variant(rendition: &Rendition, audio: &[&Rendition], grid: &Grid) -> Variant {
    let overhead = overhead(grid);
    let beside = |rate: fn(&Rendition) -> u32| audio.iter().map(|audio| rate(audio) + overhead).max();
    let sum = |rate: fn(&Rendition) -> u32| rate(rendition) + overhead + beside(rate).unwrap_or(0);
    let (resolution, frame) = match rendition.media {
        Media::Video { width, height, frame } => (Some((width, height)), Some(frame)),
        Media::Audio { .. } => (None, None),
    };
    let codecs = std::iter::once(&rendition.codec).chain(audio.first().map(|audio| &audio.codec));
    Variant {
        bandwidth: sum(|rendition| rendition.bandwidth),
        average_bandwidth: sum(|rendition| rendition.average_bandwidth),
        codecs: codecs.map(String::as_str).collect::<Vec<_>>().join(","),
        resolution,
        frame,
        audio: audio.first().map(|_| "audio"),
        uri: format!("{}/index.m3u8", rendition.name),
    }
}

/// Its keyframes alone. None is larger than its whole GOP, whose peak the rendition tells.
fn i_frames(rendition: &Rendition, grid: &Grid) -> Option<IFrameVariant> {
    let Media::Video { width, height, .. } = rendition.media else {
        return None;
    };
    Some(IFrameVariant {
        bandwidth: rendition.bandwidth + overhead(grid),
        codecs: rendition.codec.clone(),
        resolution: (width, height),
        uri: format!("{}/iframes.m3u8", rendition.name),
    })
}

/// Bits per second that the boxes cost.
fn overhead(grid: &Grid) -> u32 {
    (PART_OVERHEAD_BITS * timeline::TICKS_PER_SECOND / grid.part().ticks().max(1)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{audio, video};

    fn ladder(renditions: Vec<Rendition>) -> Ladder {
        let mut ladder = Ladder::default();
        renditions.into_iter().for_each(|rendition| {
            ladder.add(rendition).unwrap();
        });
        ladder
    }

    #[test]
    fn the_variant_nearest_to_two_megabits_is_first_and_the_others_descend() {
        let rungs = [
            (1, "360p", 600_000),
            (2, "720p", 2_500_000),
            (3, "1080p", 4_500_000),
            (4, "480p", 1_100_000),
        ];
        let ladder = ladder(
            rungs
                .map(|(id, name, rate)| video(id, name, rate))
                .into_iter()
                .chain([audio(9)])
                .collect(),
        );
        let playlist = ladder.multivariant(&Grid::default(), "de");
        let uris: Vec<_> = playlist
            .variants
            .iter()
            .map(|variant| variant.uri.as_str())
            .collect();
        assert_eq!(
            uris,
            [
                "720p/index.m3u8",
                "1080p/index.m3u8",
                "480p/index.m3u8",
                "360p/index.m3u8"
            ]
        );
        let first = &playlist.variants[0];
        assert_eq!(first.bandwidth, 2_500_000 + 6_000 + 128_000 + 6_000);
        assert_eq!(first.average_bandwidth, 2_250_000 + 6_000 + 128_000 + 6_000);
        assert_eq!(first.codecs, "avc1.64001f,mp4a.40.2");
        assert_eq!(
            (playlist.audio[0].language.as_str(), playlist.audio[0].channels),
            ("de", 2)
        );
        let alone = ladder.audio_only(&Grid::default()).unwrap();
        assert_eq!((alone.variants.len(), alone.variants[0].bandwidth), (1, 134_000));
    }

    #[test]
    fn a_rendition_announced_again_must_be_the_same() {
        let mut ladder = ladder(vec![video(1, "720p", 2_500_000)]);
        ladder.add(video(7, "720p", 2_500_000)).unwrap();
        assert_eq!(
            (ladder.lane(TrackId(7)), ladder.lane(TrackId(1))),
            (Some(0), None)
        );
        let changed = Rendition {
            bandwidth: 1,
            ..video(8, "720p", 2_500_000)
        };
        assert!(matches!(ladder.add(changed), Err(Error::BadRendition { .. })));
    }

    #[test]
    fn only_the_init_of_pictures_may_change_and_older_ones_stay_for_a_while() {
        let mut ladder = ladder(vec![video(1, "720p", 2_500_000), audio(2)]);
        let other = Rendition {
            init: Bytes::from_static(&[0x12, 0x10]),
            ..audio(2)
        };
        assert!(matches!(ladder.add(other), Err(Error::BadRendition { .. })));
        let level = |n: u8| {
            let mut init = video(1, "720p", 1).init.to_vec();
            init[3] = n;
            Rendition {
                init: init.into(),
                ..video(1, "720p", 2_500_000)
            }
        };
        let mut names = vec![ladder.entries()[0].init_name.clone()];
        for n in 40..80 {
            assert_eq!(ladder.add(level(n)).unwrap(), Added::Renewed);
            assert_eq!(ladder.add(level(n)).unwrap(), Added::Again);
            names.push(ladder.entries()[0].init_name.clone());
        }
        let known: Vec<bool> = names
            .iter()
            .map(|name| ladder.entries()[0].init(name).is_some())
            .collect();
        assert_eq!(known.iter().filter(|known| **known).count(), MOST_INITS + 1);
        assert!(known[40] && !known[1]);
    }

    #[test]
    fn names_and_shapes_are_checked() {
        let refused = |rendition| Ladder::default().add(rendition).unwrap_err();
        for name in ["", "..", "a/b", "720P", "x y", &"x".repeat(33)] {
            assert!(
                matches!(refused(video(1, name, 1)), Error::BadRendition { .. }),
                "{name}"
            );
        }
        assert!(matches!(
            refused(Rendition {
                media: Media::Audio {
                    sample_rate: 44_100,
                    channels: 2
                },
                ..audio(1)
            }),
            Error::BadRendition { .. }
        ));
        assert!(matches!(
            refused(Rendition {
                init: Bytes::new(),
                ..video(1, "a", 1)
            }),
            Error::Boxes { .. }
        ));
        assert!(matches!(
            refused(Rendition {
                codec: "avc1\",X=\"".into(),
                ..video(1, "a", 1)
            }),
            Error::BadRendition { .. }
        ));
    }
}
