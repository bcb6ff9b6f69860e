//! Writes down, while a broadcast is archived, what its recording will be made of.

use bytes::Bytes;

use super::index::{Index, Track};
use super::listed::{Choice, Listed, fingerprint};
use super::samples::Samples;

/// One broadcast's. A rendition in the recording costs three to four bytes of memory a sample: 4 MB in three hours.
#[derive(Debug, Default)]
pub struct Recorder {
    tracks: Vec<Recorded>,
}

#[derive(Debug)]
struct Recorded {
    init: Bytes,
    track: Track,
}

impl Recorder {
    /// From the multivariant playlist, and each rendition's name with its init segment.
    pub fn new<'a>(multivariant: &[u8], lanes: impl Iterator<Item = (&'a str, Bytes)> + Clone) -> Recorder {
        let choice = Choice::of(multivariant);
        let chosen = choice.iter().flat_map(Choice::renditions);
        let found = chosen.filter_map(|name| lanes.clone().find(|(lane, _)| *lane == name));
        let recorded = |(name, init): (&str, Bytes)| Recorded {
            init,
            track: Track::named(name),
        };
        Recorder {
            tracks: found.map(recorded).collect(),
        }
    }

    /// What follows of a rendition needs another init segment.
    pub fn renew(&mut self, rendition: &str, init: &Bytes) {
        if let Some(recorded) = self.tracks.iter_mut().find(|own| own.track.name == rendition) {
            recorded.init = init.clone();
        }
    }

    /// A segment was archived. Those of renditions that are not in the recording are passed over.
    pub fn push(&mut self, rendition: &str, msn: u64, segment: &[u8]) {
        let Some(recorded) = self.tracks.iter_mut().find(|own| own.track.name == rendition) else {
            return;
        };
        let added = Samples::of(segment).map(|samples| recorded.track.push(msn, &recorded.init, samples));
        // The index will be found incomplete, and be made anew from the archive.
        if !matches!(added, Ok(Some(()))) {
            tracing::warn!(
                rendition,
                msn,
                ?added,
                "a segment is not in the recording's index"
            );
        }
    }

    /// The index, if it holds all that the last playlists list: a line that was taken up again after a restart has
    /// segments that were not seen here.
    pub fn finish(self, playlist: impl Fn(&str) -> Option<String>) -> Option<Vec<u8>> {
        let texts: Option<Vec<String>> = self.tracks.iter().map(|own| playlist(&own.track.name)).collect();
        let texts = texts.filter(|texts| !texts.is_empty())?;
        let named = || self.tracks.iter().map(|own| own.track.name.as_str()).zip(&texts);
        let complete = self.tracks.iter().zip(&texts).all(|(own, text)| {
            let seen = own.track.segments.iter().map(|segment| segment.msn);
            let listed = Listed::of(&own.track.name, text.as_bytes());
            listed.is_some_and(|listed| listed.segments.iter().map(|entry| entry.msn).eq(seen))
        });
        let made_of = complete.then(|| fingerprint(named().map(|(name, text)| (name, text.as_bytes()))))?;
        let tracks = self.tracks.into_iter().map(|own| own.track).collect();
        Index::new(made_of, tracks).encode().ok()
    }
}
