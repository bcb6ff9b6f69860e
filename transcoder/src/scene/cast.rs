//! The sources' pictures, waiting for their slots, and who of them is on the scene.

use timeline::feed::SILENCE;
use timeline::{Layout, MediaTime, SourceName, Span, TrackId};

use super::{Scene, Shown, choose};
use crate::picture::{Face, Pictures};

/// A picture leaves only to somebody who was heard in this time. Two that fall silent together stay together up to
/// the slate, though one was heard a moment longer.
const COMPANY: Span = Span::from_millis(1_000);

pub struct Cast<P> {
    /// In the order in which they came.
    sources: Vec<Source<P>>,
    layout: Layout,
    /// Slots in the line delay.
    delayed: usize,
    /// How much later than its slot a picture may be captured.
    tolerance: Span,
    /// Of sources that are gone.
    skipped: u64,
}

struct Source<P> {
    name: SourceName,
    /// None once it is over. Its last picture may stand in for what follows.
    track: Option<TrackId>,
    pictures: Pictures<Captured<P>>,
    heard: Option<MediaTime>,
    presence: Presence,
    lateness: Lateness,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    Here,
    /// It fell silent while others were heard. Its picture of then does not come back.
    Away,
    /// It is heard again, and its next picture is awaited.
    Returning,
}

/// A picture, and the frame it was decoded from.
#[derive(Clone, Debug)]
struct Captured<P> {
    track: TrackId,
    at: MediaTime,
    picture: P,
}

/// Pictures that came after their slots had left.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Lateness {
    pub late: u64,
    /// By how much the latest of them missed it.
    pub most_ms: f64,
}

impl<P: Clone> Cast<P> {
    pub fn new(delayed: usize, tolerance: Span) -> Self {
        Cast {
            sources: Vec::new(),
            layout: Layout::default(),
            delayed,
            tolerance,
            skipped: 0,
        }
    }

    /// A video track begins. `next`: the slot that is filled next.
    pub fn begin(&mut self, track: TrackId, name: &SourceName, next: MediaTime) {
        match self.sources.iter_mut().find(|source| source.name == *name) {
            Some(source) => {
                source.track = Some(track);
                source.pictures.orphan();
            }
            None => {
                self.sources.push(Source {
                    name: name.clone(),
                    track: Some(track),
                    pictures: Pictures::new(next, self.delayed, self.tolerance),
                    heard: None,
                    presence: Presence::Here,
                    lateness: Lateness::default(),
                });
                self.share_room();
            }
        }
    }

    /// Who sends this source was heard. True if it was away: its next picture is awaited from here on.
    pub fn heard(&mut self, name: &SourceName, at: MediaTime) -> bool {
        let source = self.sources.iter_mut().find(|source| source.name == *name);
        source.is_some_and(|source| source.heard(at))
    }

    /// The track is over. What waits of it is shown, and its last picture for as long as there is no other.
    pub fn end(&mut self, track: TrackId) {
        if let Some(source) = self.of(track) {
            source.track = None;
            source.pictures.orphan();
        }
    }

    pub fn layout(&mut self, layout: Layout) {
        self.layout = layout;
    }

    /// What comes of a track that is not running is not shown.
    pub fn push(&mut self, track: TrackId, at: MediaTime, picture: P) {
        if let Some(source) = self.of(track) {
            source.pictures.push(at, Captured { track, at, picture });
        }
    }

    /// A picture of the track came after its slot had left.
    pub fn late(&mut self, track: TrackId, ms: f64) {
        if let Some(Source { lateness, .. }) = self.of(track) {
            lateness.late += 1;
            lateness.most_ms = lateness.most_ms.max(ms);
        }
    }

    /// The capture time of the track's newest picture.
    pub fn newest(&self, track: TrackId) -> Option<MediaTime> {
        let source = self.sources.iter().find(|source| source.track == Some(track))?;
        source.pictures.newest()
    }

    /// The scene of the slot that stands at `slot`.
    pub fn take(&mut self, slot: MediaTime) -> Scene<P> {
        let mut present: Vec<(usize, Shown<P>)> = Vec::new();
        for (n, source) in self.sources.iter_mut().enumerate() {
            present.extend(source.take(slot).map(|shown| (n, shown)));
        }
        self.part(slot, &mut present);
        // A source that is gone stays only while there is nobody else.
        let remains = |(n, shown): &(usize, Shown<P>)| shown.fresh || self.sources[*n].goes_on();
        if present.iter().any(remains) {
            present.retain(remains);
        }
        let staying: Vec<&SourceName> = present.iter().map(|(_, shown)| &shown.source).collect();
        let gone = |source: &Source<P>| !source.goes_on() && !staying.contains(&&source.name);
        let gone: Vec<bool> = self.sources.iter().map(gone).collect();
        let (arrangement, chosen) = choose(&self.layout, &staying);
        // By the slot's own time, not by now: so the line delay makes no difference, and a line that catches up shows
        // what it would have shown.
        let all_silent = present.iter().all(|(n, _)| self.sources[*n].is_silent(slot));
        self.leave(&gone);
        if all_silent && !present.is_empty() {
            self.slated();
            return Scene::slate();
        }
        let shown = chosen.into_iter().map(|n| present[n].1.clone()).collect();
        Scene { arrangement, shown }
    }

    /// Of those with a picture: who has fallen silent leaves, if there is somebody else to see, and is back with its
    /// next picture.
    fn part(&mut self, slot: MediaTime, present: &mut Vec<(usize, Shown<P>)>) {
        for (n, shown) in &*present {
            let source = &mut self.sources[*n];
            if shown.fresh && !source.is_silent(slot) {
                source.presence = Presence::Here;
            }
        }
        let is_company = |source: &Source<P>| {
            let lately = source.heard.is_some_and(|heard| slot - heard <= COMPANY);
            lately && source.goes_on() && source.presence == Presence::Here
        };
        if present.iter().any(|(n, _)| is_company(&self.sources[*n])) {
            for (n, _) in &*present {
                let source = &mut self.sources[*n];
                if source.is_silent(slot) {
                    source.presence = Presence::Away;
                }
            }
        }
        present.retain(|(n, _)| self.sources[*n].presence == Presence::Here);
    }

    /// The slate took the scene: a picture whose track is over does not come back.
    fn slated(&mut self) {
        let gone: Vec<bool> = self.sources.iter().map(|source| !source.goes_on()).collect();
        self.leave(&gone);
        self.sources
            .iter_mut()
            .for_each(|source| source.pictures.slated());
    }

    /// Pictures that no slot showed, since the last call.
    pub fn skipped(&mut self) -> u64 {
        let skipped = |source: &mut Source<P>| std::mem::take(&mut source.pictures.skipped);
        std::mem::take(&mut self.skipped) + self.sources.iter_mut().map(skipped).sum::<u64>()
    }

    /// How late the pictures of each source came since the last call.
    pub fn lateness(&mut self) -> impl Iterator<Item = (SourceName, Lateness)> {
        self.sources
            .iter_mut()
            .map(|source| (source.name.clone(), std::mem::take(&mut source.lateness)))
    }

    fn leave(&mut self, gone: &[bool]) {
        if gone.contains(&true) {
            self.skipped = self.skipped();
            let mut gone = gone.iter();
            self.sources.retain(|_| gone.next() == Some(&false));
            self.share_room();
        }
    }

    fn of(&mut self, track: TrackId) -> Option<&mut Source<P>> {
        self.sources.iter_mut().find(|source| source.track == Some(track))
    }

    fn share_room(&mut self) {
        let sources = self.sources.len();
        for source in &mut self.sources {
            source.pictures.share_room(self.delayed, sources);
        }
    }
}

impl<P: Clone> Source<P> {
    fn take(&mut self, slot: MediaTime) -> Option<Shown<P>> {
        let (fresh, captured) = match self.pictures.take(slot) {
            Face::Fresh(captured) => (true, captured),
            Face::Repeat(captured) => (false, captured),
            Face::Slate => return None,
        };
        Some(Shown {
            source: self.name.clone(),
            track: captured.track,
            at: captured.at,
            fresh,
            picture: captured.picture,
        })
    }

    fn heard(&mut self, at: MediaTime) -> bool {
        let is_news = self.heard < Some(at);
        let returns = is_news && self.presence == Presence::Away;
        if is_news {
            self.heard = Some(at);
        }
        if returns {
            self.presence = Presence::Returning;
        }
        returns
    }

    fn is_silent(&self, slot: MediaTime) -> bool {
        self.heard.is_none_or(|heard| slot - heard > SILENCE)
    }

    /// Whether it has more to show, or may have.
    fn goes_on(&self) -> bool {
        self.track.is_some() || self.pictures.is_waiting()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use timeline::Arrangement;

    const SLOT: i64 = 3000;

    fn slot(n: i64) -> MediaTime {
        MediaTime::from_ticks(n * SLOT)
    }

    fn name(name: &str) -> SourceName {
        name.parse().unwrap()
    }

    /// Sources with the tracks 1, 2, …, each with pictures for the slots 0..`n`.
    fn cast(sources: &[(&str, i64)]) -> Cast<i64> {
        let mut cast = Cast::new(0, Span::from_ticks(SLOT / 4));
        for (track, (source, n)) in (1..).zip(sources) {
            begin(&mut cast, track, source, slot(0));
            (0..*n).for_each(|n| cast.push(TrackId(track), slot(n), n));
        }
        cast
    }

    /// A track of a source that is heard from now on and for ten seconds.
    fn begin(cast: &mut Cast<i64>, track: u32, source: &str, at: MediaTime) {
        cast.begin(TrackId(track), &name(source), at);
        cast.heard(&name(source), at + Span::from_millis(10_000));
    }

    fn shown(cast: &mut Cast<i64>, n: i64) -> Vec<(String, i64, bool)> {
        let scene = cast.take(slot(n));
        let shown = scene.shown.iter();
        shown
            .map(|shown| (shown.source.to_string(), shown.picture, shown.fresh))
            .collect()
    }

    fn on(source: &str, picture: i64, fresh: bool) -> (String, i64, bool) {
        (source.into(), picture, fresh)
    }

    #[test]
    fn each_source_has_its_own_clock_and_comes_with_its_first_picture() {
        let mut cast = cast(&[("main", 5), ("screen", 0)]);
        assert_eq!(shown(&mut cast, 0), [on("main", 0, true)]);
        cast.push(TrackId(2), slot(2), 70);
        assert_eq!(shown(&mut cast, 1), [on("main", 1, true)]);
        assert_eq!(shown(&mut cast, 2), [on("screen", 70, true), on("main", 2, true)]);
        assert_eq!(
            shown(&mut cast, 3),
            [on("screen", 70, false), on("main", 3, true)]
        );
    }

    #[test]
    fn a_layout_acts_on_the_next_slot_with_the_newest_pictures_of_all() {
        let mut cast = cast(&[("main", 9), ("screen", 9)]);
        let solo = |source| Layout {
            arrangement: Arrangement::Solo,
            sources: vec![name(source)],
        };
        cast.layout(solo("main"));
        assert_eq!(shown(&mut cast, 0), [on("main", 0, true)]);
        assert_eq!(shown(&mut cast, 4), [on("main", 4, true)]);
        cast.layout(solo("screen"));
        assert_eq!(shown(&mut cast, 5), [on("screen", 5, true)]);
        cast.layout(Layout {
            arrangement: Arrangement::SideBySide,
            sources: vec![],
        });
        assert_eq!(shown(&mut cast, 6), [on("screen", 6, true), on("main", 6, true)]);
    }

    #[test]
    fn a_source_that_ends_leaves_after_its_last_picture_if_there_is_another() {
        let mut cast = cast(&[("main", 3), ("screen", 9)]);
        cast.end(TrackId(1));
        assert_eq!(shown(&mut cast, 2), [on("screen", 2, true), on("main", 2, true)]);
        assert_eq!(shown(&mut cast, 3), [on("screen", 3, true)]);
        // And does not come back when the other goes, too.
        cast.end(TrackId(2));
        assert_eq!(shown(&mut cast, 8), [on("screen", 8, true)]);
        assert_eq!(shown(&mut cast, 360), [on("screen", 8, false)], "until the slate");
        assert!(cast.take(slot(361)).is_slate());
        assert!(cast.sources.is_empty());
    }

    #[test]
    fn those_who_end_together_stay_together() {
        let mut cast = cast(&[("main", 3), ("screen", 3)]);
        cast.end(TrackId(1));
        cast.end(TrackId(2));
        assert_eq!(shown(&mut cast, 2), [on("screen", 2, true), on("main", 2, true)]);
        assert_eq!(
            shown(&mut cast, 50),
            [on("screen", 2, false), on("main", 2, false)]
        );
        begin(&mut cast, 3, "ada", slot(51));
        assert_eq!(shown(&mut cast, 51).len(), 2, "nobody else has a picture yet");
        cast.push(TrackId(3), slot(52), 7);
        assert_eq!(shown(&mut cast, 52), [on("ada", 7, true)]);
    }

    #[test]
    fn a_source_with_a_new_track_keeps_its_place() {
        let mut cast = cast(&[("main", 3), ("screen", 9)]);
        assert_eq!(shown(&mut cast, 2).len(), 2);
        cast.end(TrackId(1));
        begin(&mut cast, 5, "main", slot(3));
        assert_eq!(shown(&mut cast, 3), [on("screen", 3, true), on("main", 2, false)]);
        cast.push(TrackId(1), slot(4), -1);
        assert_eq!(
            shown(&mut cast, 4)[1],
            on("main", 2, false),
            "the old one is over"
        );
        cast.push(TrackId(5), slot(5), 55);
        let scene = cast.take(slot(5));
        assert_eq!((scene.shown[1].track, scene.shown[1].picture), (TrackId(5), 55));
        assert_eq!(scene.shown[1].at, slot(5));
        // Told in the other order, as when somebody takes their own session over.
        begin(&mut cast, 6, "main", slot(6));
        cast.end(TrackId(5));
        cast.push(TrackId(6), slot(6), 66);
        assert_eq!(shown(&mut cast, 6)[1], on("main", 66, true));
    }

    #[test]
    fn a_source_that_never_had_a_picture_leaves_nothing_behind() {
        let mut cast = cast(&[("main", 0)]);
        for track in 10..20 {
            cast.end(TrackId(track - 1));
            begin(&mut cast, track, &format!("guest-{track}"), slot(0));
            assert!(cast.take(slot(track.into())).is_slate());
        }
        cast.end(TrackId(1));
        cast.take(slot(30));
        assert_eq!(cast.sources.len(), 1);
    }

    #[test]
    fn skipped_pictures_are_counted_of_all() {
        let mut cast = cast(&[("main", 3), ("screen", 3)]);
        cast.take(slot(2));
        cast.end(TrackId(1));
        cast.take(slot(3));
        assert_eq!(cast.skipped(), 4);
        assert_eq!(cast.skipped(), 0);
    }
}
