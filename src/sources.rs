//! Who sends to a broadcast: the co-hosts that were invited, who is on air, and how their pictures share the canvas.

use std::collections::BTreeMap;

use ingest::Invitation;
use serde::Serialize;
use timeline::feed::SILENCE;
use timeline::{Codec, Layout, MAX_PLACES, SourceName, Span, Track, WallTime};

/// Of all its life, by the sources they were promised: more than anybody invites, and each is kept among the broadcast's
/// facts.
const MAX_COHOSTS: usize = 64;

/// Leaves room for `-screen` and for the number that tells two Adas apart.
const MAX_COHOST_NAME: usize = 20;

#[derive(Default)]
pub struct Sources {
    pub layout: Layout,
    /// The sources that are promised to somebody, so that no other gets the same.
    pub cohosts: Vec<SourceName>,
    /// Of these sources, invitations that were issued up to then (Unix seconds) are void.
    pub withdrawn: BTreeMap<SourceName, i64>,
    on_air: Vec<Arrival>,
    arrivals: u64,
}

/// A session that publishes.
struct Arrival {
    number: u64,
    source: SourceName,
    /// As its token says.
    name: String,
    since: WallTime,
}

/// A source on air, as the studio shows it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct OnAir {
    pub source: SourceName,
    /// Whose it is, for people to read.
    pub name: Option<String>,
    /// What its picture comes as; none while none has come.
    pub video: Option<Codec>,
    pub audio: Option<Codec>,
    /// What came once comes no more, though nobody ended it: its picture has given its place up.
    pub silent: bool,
    /// Unix milliseconds.
    pub since: Option<i64>,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "at most {MAX_COHOSTS} co-hosts are invited to a lecture, those included whose invitation was withdrawn"
)]
pub struct TooMany;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("this invitation was withdrawn: ask the host for another link")]
pub struct Withdrawn;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLayout {
    #[error("a layout has at most {MAX_PLACES} sources")]
    TooMany,
    #[error("{0} stands twice in the layout")]
    Twice(SourceName),
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a co-host's source is at most {MAX_COHOST_NAME} of a-z, 0-9 and -, and neither main nor one that ends in screen"
)]
pub struct NotACohost;

/// Checks what a wire's form does not.
pub fn check(layout: &Layout) -> Result<(), BadLayout> {
    let sources = &layout.sources;
    if sources.len() > MAX_PLACES {
        return Err(BadLayout::TooMany);
    }
    let twice = sources
        .iter()
        .enumerate()
        .find(|(i, name)| sources[..*i].contains(name));
    twice.map_or(Ok(()), |(_, name)| Err(BadLayout::Twice(name.clone())))
}

/// A name that a co-host may have: neither one of the host's nor one of a screen, which is its camera's neighbour.
pub fn cohost(name: SourceName) -> Result<SourceName, NotACohost> {
    let of_host = name == SourceName::main() || name.is_screen();
    match of_host || name.as_str().len() > MAX_COHOST_NAME {
        true => Err(NotACohost),
        false => Ok(name),
    }
}

impl Sources {
    pub fn of(layout: Layout, cohosts: Vec<SourceName>, withdrawn: BTreeMap<SourceName, i64>) -> Sources {
        Sources {
            layout,
            cohosts,
            withdrawn,
            ..Sources::default()
        }
    }

    /// The source of somebody of this name, who is to be a co-host. Nobody else has it, nor will.
    pub fn invite(&mut self, name: &str) -> Result<SourceName, TooMany> {
        let plain = plain(name);
        let numbered = (2..).map(|n| format!("{plain}-{n}").parse());
        let free = std::iter::once(plain.parse())
            .chain(numbered)
            .filter_map(Result::ok)
            .find(|source| !self.is_taken(source));
        let source = free.unwrap_or_else(|| unreachable!("there is always a higher number"));
        self.make_room(&source)?;
        self.cohosts.push(source.clone());
        Ok(source)
    }

    /// Invitations to be this source are void if they were issued up to now (Unix seconds). The source is free again.
    pub fn withdraw(&mut self, source: &SourceName, now: i64) -> Result<(), TooMany> {
        self.make_room(source)?;
        self.cohosts.retain(|cohost| cohost != source);
        // The next one is issued a second later at least: twice in one second voids that, too.
        let after = self
            .withdrawn
            .get(source)
            .map_or(now, |before| now.max(before.saturating_add(1)));
        self.withdrawn.insert(source.clone(), after);
        Ok(())
    }

    pub fn is_withdrawn(&self, Invitation { source, issued }: &Invitation) -> bool {
        self.withdrawn.get(source).is_some_and(|until| issued <= until)
    }

    /// Whether one more source can be remembered, unless this one is.
    fn make_room(&self, source: &SourceName) -> Result<(), TooMany> {
        let withdrawn = self.withdrawn.keys();
        let only_withdrawn = withdrawn.filter(|source| !self.cohosts.contains(source)).count();
        let is_known = self.cohosts.contains(source) || self.withdrawn.contains_key(source);
        match is_known || self.cohosts.len() + only_withdrawn < MAX_COHOSTS {
            true => Ok(()),
            false => Err(TooMany),
        }
    }

    fn is_taken(&self, source: &SourceName) -> bool {
        self.cohosts.contains(source) || self.on_air.iter().any(|on_air| on_air.source == *source)
    }

    /// A session has gone on air. Returns the number by which it later leaves.
    pub fn came(&mut self, source: SourceName, name: String, at: WallTime) -> u64 {
        self.arrivals += 1;
        self.on_air.push(Arrival {
            number: self.arrivals,
            source,
            name,
            since: at,
        });
        self.arrivals
    }

    pub fn left(&mut self, number: u64) {
        self.on_air.retain(|arrival| arrival.number != number);
    }

    /// Everybody who is on air, in the order in which they came, each followed by their screen. `tracks`: those
    /// that now run. `unheard`: for how long a source was not heard, if it ever was.
    pub fn on_air(&self, tracks: &[Track], unheard: impl Fn(&SourceName) -> Option<Span>) -> Vec<OnAir> {
        let mut names: Vec<&SourceName> = Vec::new();
        for arrival in &self.on_air {
            let theirs = tracks.iter().map(|track| &track.source);
            let theirs = theirs.filter(|source| **source == arrival.source.screen());
            for name in std::iter::once(&arrival.source).chain(theirs) {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        let codec = |source: &SourceName, is_video: bool| {
            let theirs = tracks.iter().filter(|track| track.source == *source);
            let mut codecs = theirs.map(|track| track.codec);
            codecs.find(|codec| codec.is_video() == is_video)
        };
        let listed = names.into_iter().map(|source| {
            let arrival = self.arrival(source);
            OnAir {
                source: source.clone(),
                name: arrival.map(|a| a.name.clone()),
                video: codec(source, true),
                audio: codec(source, false),
                silent: unheard(source).is_some_and(|length| length > SILENCE),
                since: arrival.map(|a| a.since.unix_millis()),
            }
        });
        listed.collect()
    }

    /// The session that sends it: its own, or the one whose second picture it is.
    fn arrival(&self, source: &SourceName) -> Option<&Arrival> {
        let own = self.on_air.iter().rfind(|a| a.source == *source);
        own.or_else(|| self.on_air.iter().rfind(|a| a.source.screen() == *source))
    }
}

/// A name as a source has it: `Ada Lovelace` is `ada-lovelace`. What has no letter of it left, or is not for
/// co-hosts, is `cohost`.
fn plain(name: &str) -> String {
    let words = name.split(|c: char| c.is_whitespace() || c.is_ascii_punctuation());
    let words = words.map(|word| {
        let letters = word.chars().filter(char::is_ascii_alphanumeric);
        letters.collect::<String>().to_ascii_lowercase()
    });
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    // Two digits and their hyphen still fit.
    let mut joined = words.join("-");
    joined.truncate(MAX_COHOST_NAME - 3);
    let joined = joined.trim_end_matches('-');
    match joined.parse().ok().and_then(|name| cohost(name).ok()) {
        Some(name) => name.into(),
        None => "cohost".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use timeline::{Arrangement, TrackId};

    fn source(name: &str) -> SourceName {
        name.parse().unwrap()
    }

    fn track(id: u32, codec: Codec, of: &str) -> Track {
        Track {
            id: TrackId(id),
            codec,
            source: source(of),
        }
    }

    fn layout(sources: &[&str]) -> Layout {
        Layout {
            arrangement: Arrangement::SideBySide,
            sources: sources.iter().map(|name| source(name)).collect(),
        }
    }

    fn never(_: &SourceName) -> Option<Span> {
        None
    }

    const NOON: WallTime = WallTime::from_unix_millis(1_790_000_000_000);

    #[test]
    fn a_layout_has_four_places_and_each_source_once() {
        assert_eq!(check(&layout(&[])), Ok(()));
        assert_eq!(check(&layout(&["screen", "main", "ada", "bo"])), Ok(()));
        assert_eq!(
            check(&layout(&["a", "b", "c", "d", "e"])),
            Err(BadLayout::TooMany)
        );
        assert_eq!(
            check(&layout(&["a", "b", "a"])),
            Err(BadLayout::Twice(source("a")))
        );
    }

    #[test]
    fn co_hosts_have_sources_after_their_names_that_nobody_else_has() {
        let mut sources = Sources::default();
        sources.came(source("bo"), "Bo".into(), NOON);
        let invited = ["Ada Lovelace", "Ada Lovelace", "Bo", "Main", "नमस्ते", "my screen"]
            .map(|name| sources.invite(name).unwrap().to_string());
        assert_eq!(
            invited,
            [
                "ada-lovelace",
                "ada-lovelace-2",
                "bo-2",
                "cohost",
                "cohost-2",
                "cohost-3"
            ]
        );
    }

    #[test]
    fn there_is_room_for_a_panel_but_not_for_everybody() {
        let mut sources = Sources::default();
        for _ in 0..MAX_COHOSTS {
            sources.invite("Ada").unwrap();
        }
        assert_eq!(sources.invite("Ada"), Err(TooMany));
    }

    #[test]
    fn what_was_withdrawn_is_void_and_its_name_is_free() {
        let mut sources = Sources::default();
        let ada = sources.invite("Ada").unwrap();
        let issued = |source: &SourceName, issued| Invitation {
            source: source.clone(),
            issued,
        };
        let first = issued(&ada, 100);
        assert!(!sources.is_withdrawn(&first));
        sources.withdraw(&ada, 100).unwrap();
        assert!(sources.is_withdrawn(&first));
        assert!(!sources.is_withdrawn(&issued(&ada, 101)));
        assert!(!sources.is_withdrawn(&issued(&source("bo"), 100)));
        assert_eq!(sources.invite("Ada").unwrap(), ada);
        // In the same second again: the new one was issued as of the next.
        sources.withdraw(&ada, 100).unwrap();
        assert!(sources.is_withdrawn(&issued(&ada, 101)));
    }

    #[test]
    fn of_what_was_withdrawn_no_more_is_kept_than_of_what_was_promised() {
        let mut sources = Sources::default();
        let all: Vec<SourceName> = (0..MAX_COHOSTS).map(|_| sources.invite("Ada").unwrap()).collect();
        for cohost in &all {
            sources.withdraw(cohost, 100).unwrap();
        }
        assert_eq!(sources.withdraw(&source("eve"), 100), Err(TooMany));
        assert_eq!(sources.invite("Eve"), Err(TooMany));
        assert_eq!(
            sources.invite("Ada").unwrap(),
            all[0],
            "a name that was promised before"
        );
    }

    #[test]
    fn whatever_somebody_is_called_their_source_is_a_co_hosts() {
        let mut sources = Sources::default();
        for name in [
            "",
            "-",
            "screen",
            "A-Screen",
            "x\u{202e}y",
            "ada-lovelace-the-se-cond",
            &"é".repeat(60),
        ] {
            let source = sources.invite(name).unwrap();
            assert_eq!(cohost(source.clone()), Ok(source), "{name:?}");
        }
    }

    #[test]
    fn who_is_on_air_is_told_with_what_they_send() {
        let mut sources = Sources::default();
        let host = sources.came(source("main"), "Prof. Okafor".into(), NOON);
        sources.came(source("ada"), "Ada".into(), NOON);
        let tracks = [
            track(1, Codec::Opus, "main"),
            track(2, Codec::H264, "main"),
            // The second picture of the same session.
            track(3, Codec::H264, "screen"),
        ];
        let on_air = sources.on_air(&tracks, never);
        let told = |on_air: &[OnAir]| -> Vec<_> {
            let one = |s: &OnAir| (s.source.to_string(), s.name.clone(), s.video, s.audio);
            on_air.iter().map(one).collect()
        };
        let name = |name: &str| Some(name.to_owned());
        assert_eq!(
            told(&on_air),
            [
                (
                    "main".into(),
                    name("Prof. Okafor"),
                    Some(Codec::H264),
                    Some(Codec::Opus)
                ),
                ("screen".into(), name("Prof. Okafor"), Some(Codec::H264), None),
                ("ada".into(), name("Ada"), None, None),
            ]
        );
        assert_eq!(on_air[1].since, Some(1_790_000_000_000));
        sources.left(host);
        assert_eq!(
            told(&sources.on_air(&[], never)),
            [("ada".into(), name("Ada"), None, None)]
        );
    }

    #[test]
    fn a_screen_with_a_session_of_its_own_is_told_once() {
        let mut sources = Sources::default();
        sources.came(source("main"), "Ana".into(), NOON);
        sources.came(source("screen"), "Bo".into(), NOON);
        let on_air = sources.on_air(&[track(1, Codec::Vp8, "screen")], never);
        let told: Vec<_> = on_air
            .iter()
            .map(|s| (s.source.as_str(), s.name.as_deref()))
            .collect();
        assert_eq!(told, [("main", Some("Ana")), ("screen", Some("Bo"))]);
    }

    #[test]
    fn a_source_that_is_not_heard_for_as_long_as_its_picture_stays_is_told_to_be_silent() {
        let mut sources = Sources::default();
        for name in ["main", "ada", "bo", "eve"] {
            sources.came(source(name), name.into(), NOON);
        }
        let unheard = |source: &SourceName| match source.as_str() {
            "main" => Some(Span::from_millis(200)),
            "ada" => Some(SILENCE),
            "bo" => Some(SILENCE + Span::from_millis(1)),
            // Nothing of it has come yet.
            _ => None,
        };
        let on_air = sources.on_air(&[], unheard);
        let silent: Vec<_> = on_air.iter().map(|one| one.silent).collect();
        assert_eq!(silent, [false, false, true, false]);
    }

    #[test]
    fn the_hosts_own_sources_are_not_for_co_hosts() {
        for bad in ["main", "screen", "ada-screen", "a23456789012345678901"] {
            assert_eq!(cohost(source(bad)), Err(NotACohost), "{bad}");
        }
        assert_eq!(cohost(source("ada")), Ok(source("ada")));
    }
}
