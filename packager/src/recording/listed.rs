//! What the archive's own playlists say of a recording: which renditions, which segments, and whether it is whole.

use m3u8_rs::{AlternativeMediaType, MasterPlaylist, MediaPlaylist};
use sha2::{Digest, Sha256};

/// The renditions that a recording is made of: the best picture and the first sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    pub video: Option<String>,
    pub audio: Option<String>,
}

/// A media playlist as it is archived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub rendition: String,
    pub ended: bool,
    /// Those that are there: gaps are left out.
    pub segments: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub msn: u64,
    /// The name of its init segment.
    pub init: String,
}

impl Choice {
    /// From the archived `index.m3u8`. `None` where it is none.
    pub fn of(multivariant: &[u8]) -> Option<Choice> {
        let playlist: MasterPlaylist = m3u8_rs::parse_master_playlist_res(multivariant).ok()?;
        let variants = || playlist.variants.iter().filter(|variant| !variant.is_i_frame);
        let pictures = variants().filter(|variant| variant.resolution.is_some());
        let video = pictures
            .max_by_key(|variant| variant.bandwidth)
            .and_then(|best| rendition(&best.uri));
        let sounds = playlist
            .alternatives
            .iter()
            .filter(|alternative| alternative.media_type == AlternativeMediaType::Audio);
        let beside = sounds.filter_map(|sound| rendition(sound.uri.as_deref()?)).next();
        // Sound alone is a variant itself.
        let alone = || variants().find(|variant| variant.resolution.is_none());
        let audio = beside.or_else(|| rendition(&alone()?.uri));
        (video.is_some() || audio.is_some()).then_some(Choice { video, audio })
    }

    /// Video, then audio.
    pub fn renditions(&self) -> impl Iterator<Item = &str> {
        self.video.iter().chain(&self.audio).map(String::as_str)
    }
}

/// `{rendition}/index.m3u8`, as we write it.
fn rendition(uri: &str) -> Option<String> {
    let name = uri.strip_suffix("/index.m3u8")?;
    (!name.is_empty() && !name.contains('/')).then(|| name.to_owned())
}

impl Listed {
    /// `None` where it is no media playlist.
    pub fn of(rendition: &str, text: &[u8]) -> Option<Listed> {
        let playlist: MediaPlaylist = m3u8_rs::parse_media_playlist_res(text).ok()?;
        let mut init = String::new();
        let mut segments = Vec::with_capacity(playlist.segments.len());
        for segment in &playlist.segments {
            if let Some(map) = &segment.map {
                init.clone_from(&map.uri);
            }
            let gap = segment.unknown_tags.iter().any(|tag| tag.tag == "X-GAP");
            let msn = segment.uri.strip_suffix(".m4s").and_then(|msn| msn.parse().ok());
            if let Some(msn) = msn.filter(|_| !gap) {
                segments.push(Entry {
                    msn,
                    init: init.clone(),
                });
            }
        }
        Some(Listed {
            rendition: rendition.to_owned(),
            ended: playlist.end_list,
            segments,
        })
    }
}

/// Which playlists an index was made of: each rendition's name and text.
pub fn fingerprint<'a>(playlists: impl Iterator<Item = (&'a str, &'a [u8])>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for (name, text) in playlists {
        for part in [name.as_bytes(), text] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ladder::Ladder;
    use crate::testing::{audio, ladder, video};
    use timeline::{Grid, Rendition};

    fn choice(renditions: Vec<Rendition>) -> Choice {
        let mut all = Ladder::default();
        renditions.into_iter().for_each(|rendition| {
            all.add(rendition).unwrap();
        });
        let text = all.multivariant(&Grid::default(), "und").render();
        Choice::of(text.as_bytes()).unwrap()
    }

    #[test]
    fn the_best_picture_and_the_sound_are_chosen() {
        let name = |name: &str| Some(name.to_owned());
        let best = choice(ladder());
        assert_eq!((best.video, best.audio), (name("720p"), name("audio")));
        let silent = choice(vec![video(1, "360p", 600_000), video(2, "1080p", 5_000_000)]);
        assert_eq!((silent.video, silent.audio), (name("1080p"), None));
        let blind = choice(vec![audio(1)]);
        assert_eq!((blind.video, blind.audio), (None, name("audio")));
        assert_eq!(Choice::of(b"{}"), None);
    }

    #[test]
    fn segments_are_listed_with_their_inits_but_for_gaps() {
        let text = "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:3\n#EXT-X-PLAYLIST-TYPE:EVENT\n\
            #EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-MAP:URI=\"init-a.mp4\"\n\
            #EXT-X-PROGRAM-DATE-TIME:2026-11-20T10:00:00.000Z\n#EXTINF:3.20000,\n7.m4s\n\
            #EXT-X-PROGRAM-DATE-TIME:2026-11-20T10:00:03.200Z\n#EXT-X-GAP\n#EXTINF:3.20000,\n8.m4s\n\
            #EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"init-b.mp4\"\n\
            #EXT-X-PROGRAM-DATE-TIME:2026-11-20T10:00:06.400Z\n#EXTINF:1.00000,\n9.m4s\n#EXT-X-ENDLIST\n";
        let listed = Listed::of("720p", text.as_bytes()).unwrap();
        let entry = |msn, init: &str| Entry {
            msn,
            init: init.into(),
        };
        assert_eq!(listed.segments, [entry(7, "init-a.mp4"), entry(9, "init-b.mp4")]);
        assert!(listed.ended);
        let open = text.replace("#EXT-X-ENDLIST\n", "");
        assert!(!Listed::of("720p", open.as_bytes()).unwrap().ended);
    }
}
