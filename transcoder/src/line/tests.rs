use super::*;
use crate::picture::Face;
use timeline::{Arrangement, Codec};

/// A line of numbers instead of pictures, and its clock.
struct Studio {
    line: Line<i64>,
    timeline: Timeline,
    /// The first of each slot's scene.
    shown: Vec<Face<i64>>,
    /// How many each scene has.
    counts: Vec<usize>,
    sounds: i64,
    over: bool,
}

const D: Span = Span::from_millis(150);
const MAIN: TrackId = TrackId(1);
const SCREEN: TrackId = TrackId(2);

fn track(id: TrackId, source: &str) -> Track {
    Track {
        id,
        codec: Codec::H264,
        source: source.parse().unwrap(),
    }
}

fn face(scene: &Scene<i64>) -> Face<i64> {
    match scene.shown.first() {
        Some(shown) if shown.fresh => Face::Fresh(shown.picture),
        Some(shown) => Face::Repeat(shown.picture),
        None => Face::Slate,
    }
}

fn at(ms: i64) -> MediaTime {
    MediaTime::ZERO + Span::from_millis(ms)
}

impl Studio {
    fn starting(start: Start) -> Self {
        let timeline = Timeline::starting(WallTime::from_unix_millis(1_800_000_000_000));
        let mut line = Line::new(timeline, Grid::default(), D, start);
        line.track(&track(MAIN, "main"));
        Studio {
            line,
            timeline,
            shown: vec![],
            counts: vec![],
            sounds: start.audio,
            over: false,
        }
    }

    fn wall(&self, ms: i64) -> WallTime {
        self.timeline.wall(at(ms))
    }

    /// The picture `n`, captured at `captured` ms, comes at `ms`.
    fn picture(&mut self, ms: i64, captured: i64, n: i64) {
        self.picture_of(MAIN, ms, captured, n);
    }

    fn picture_of(&mut self, track: TrackId, ms: i64, captured: i64, n: i64) {
        self.hears(if track == SCREEN { "screen" } else { "main" }, ms);
        self.line.picture(track, at(captured), n, self.wall(ms));
    }

    fn hears(&mut self, source: &str, ms: i64) -> bool {
        self.line.heard(&source.parse().unwrap(), at(ms))
    }

    /// Lets the clock reach `ms` and takes what is due.
    fn until(&mut self, ms: i64) -> &mut Self {
        let now = self.wall(ms);
        while let Some(due) = self.line.next(now, true) {
            match due {
                Due::Slot { scene, .. } => {
                    self.shown.push(face(&scene));
                    self.counts.push(scene.shown.len());
                }
                Due::Sound { frame, samples } => {
                    assert_eq!((frame, samples.len()), (self.sounds, 1024));
                    self.sounds += 1;
                }
                Due::Over => {
                    self.over = true;
                    break;
                }
            }
        }
        self
    }
}

#[test]
fn a_slot_leaves_at_its_capture_time_plus_the_line_delay() {
    let mut studio = Studio::starting(Start::default());
    studio.picture(100, 0, 7);
    assert!(studio.until(149).shown.is_empty());
    assert_eq!(studio.until(150).shown, [Face::Fresh(7)]);
    assert_eq!(studio.until(184).shown, [Face::Fresh(7), Face::Repeat(7)]);
    assert_eq!(studio.until(1_150).shown.len(), 31);
    // Frames up to 1,000 ms, two ahead: ⌊1,000 / 21.33⌋ + 3.
    assert_eq!(studio.sounds, 49);
}

#[test]
fn ten_minutes_without_a_fault() {
    let mut studio = Studio::starting(Start::default());
    for n in 0..18_000 {
        let captured = n * 100 / 3 + [0, 3, -2][n as usize % 3];
        studio.picture(captured + 100, captured, n);
        studio.until(captured + 110);
    }
    studio.until(600_200);
    assert!(
        studio
            .shown
            .iter()
            .take(18_000)
            .enumerate()
            .all(|(n, face)| *face == Face::Fresh(n as i64))
    );
    assert_eq!(studio.line.counts().late, 0);
}

#[test]
fn a_picture_that_does_not_come_is_repeated_while_the_publisher_is_heard() {
    let mut studio = Studio::starting(Start::default());
    studio.picture(50, 0, 1);
    for ms in (0..600_000).step_by(250) {
        studio.hears("main", ms);
        studio.until(ms);
    }
    assert_eq!(studio.shown[0], Face::Fresh(1));
    assert!(studio.shown[1..].iter().all(|face| *face == Face::Repeat(1)));
    assert!(studio.shown.len() > 17_900);
}

#[test]
fn two_silent_seconds_bring_the_slate_and_the_first_word_the_picture() {
    let mut studio = Studio::starting(Start::default());
    studio.picture(100, 0, 1);
    studio.until(2_250);
    assert!(studio.shown[1..].iter().all(|face| *face == Face::Repeat(1)));
    assert_eq!(studio.shown.len(), 64, "up to 2,100 ms");
    studio.until(8_000);
    assert!(
        studio.shown[64..].iter().all(|face| *face == Face::Slate),
        "silent since 100 ms"
    );
    studio.hears("main", 8_000);
    studio.until(8_040);
    assert_eq!(
        studio.shown.last(),
        Some(&Face::Repeat(1)),
        "a still slide is still there"
    );
    studio.picture(8_100, 8_000, 2);
    studio.until(8_150);
    assert_eq!(studio.shown.last(), Some(&Face::Fresh(2)));
}

#[test]
fn after_the_slate_the_picture_of_a_track_that_is_over_does_not_come_back() {
    let mut studio = Studio::starting(Start::default());
    studio.picture(100, 0, 1);
    studio.until(500);
    studio.line.track_ended(MAIN);
    studio.until(1_500);
    assert_eq!(studio.shown.last(), Some(&Face::Repeat(1)));
    studio.until(6_000);
    studio.hears("main", 6_000);
    studio.until(6_500);
    assert_eq!(studio.shown.last(), Some(&Face::Slate));
    studio.line.track(&track(TrackId(3), "main"));
    studio.picture_of(TrackId(3), 6_600, 6_500, 2);
    studio.until(6_660);
    assert_eq!(studio.shown.last(), Some(&Face::Fresh(2)));
}

#[test]
fn before_the_first_picture_stands_the_slate() {
    let mut studio = Studio::starting(Start::default());
    studio.hears("main", 0);
    assert_eq!(studio.until(150).shown, [Face::Slate]);
}

#[test]
fn late_pictures_are_counted_and_shown_at_the_next_slot() {
    let mut studio = Studio::starting(Start::default());
    for n in 0..300 {
        let captured = n * 100 / 3;
        studio.until(captured + 450);
        studio.picture(captured + 450, captured, n);
    }
    studio.until(10_500);
    let counts = studio.line.counts();
    assert_eq!(counts.late, 300);
    // 300 ms beyond D, but for the slot's own place.
    assert!(
        (290.0..=310.0).contains(&counts.lateness_ms),
        "{}",
        counts.lateness_ms
    );
    // At 9,950 ms leaves the slot of 9,800; it shows what came last, which was captured at 9,466.
    let slot = studio.shown[294].clone();
    assert!(
        matches!(slot, Face::Fresh(n) | Face::Repeat(n) if (283..=285).contains(&n)),
        "{slot:?}"
    );
}

#[test]
fn the_end_is_the_slot_that_contains_it_and_sound_ends_beside_it() {
    for end in [0, 1, 700, 1_600, 3_333] {
        let mut studio = Studio::starting(Start::default());
        studio.picture(10, 0, 1);
        studio.until(end);
        studio.line.end(at(end), studio.wall(end));
        studio.until(end + 190);
        assert!(studio.over, "{end}");
        let slots = studio.shown.len() as i64;
        assert_eq!(slots, Grid::default().slot(at(end)) + 1);
        assert_eq!(studio.line.ends_at(), Some(Grid::default().slot_start(slots)));
        assert!((slots * 3000 - studio.sounds * 1920).abs() <= 960, "{end}");
    }
}

#[test]
fn an_end_in_the_future_or_the_past_is_now() {
    let mut studio = Studio::starting(Start::default());
    studio.until(1_000);
    studio.line.end(at(1_000_000), studio.wall(1_000));
    assert!(studio.until(1_200).over);
    assert_eq!(studio.shown.len(), 31);

    let mut studio = Studio::starting(Start::default());
    studio.until(1_000);
    studio.line.end(at(-5), studio.wall(1_000));
    // One more than have left, for the sound that has.
    assert!(studio.until(1_100).over);
    assert_eq!(studio.shown.len(), 27);
}

#[test]
fn an_end_that_comes_late_has_pictures_for_the_sound_that_has_left() {
    for end in 1_000..1_070 {
        let mut studio = Studio::starting(Start::default());
        studio.until(end);
        studio.line.end(at(500), studio.wall(end));
        assert!(studio.until(end + 70).over);
        let slots = studio.shown.len() as i64;
        assert!((slots * 3000 - studio.sounds * 1920).abs() <= 1_500, "{end}");
    }
}

#[test]
fn a_respawned_line_catches_up_with_what_it_missed() {
    let start = Start {
        slot: 100,
        audio: 156,
    };
    let mut studio = Studio::starting(start);
    let now = studio.wall(5_000);
    studio
        .line
        .hold(vec![(MAIN, at(4_900))], now + Span::from_millis(500));
    assert!(studio.until(5_000).shown.is_empty());
    // What the publisher sent in the meantime, all at once. None of it is late.
    for n in 60..148 {
        studio.picture(5_010, n * 100 / 3, n);
    }
    studio.until(5_010);
    // Slot 100 is 3,333 ms; due by now are those up to 4,860.
    assert_eq!(studio.shown.len(), 46);
    assert!(
        matches!(studio.shown[0], Face::Fresh(n) if (99..=100).contains(&n)),
        "{:?}",
        studio.shown[0]
    );
    assert_eq!(studio.line.counts().late, 0);
    assert_eq!(studio.line.lag(studio.wall(5_010)), Span::ZERO);
}

#[test]
fn a_hold_does_not_last() {
    let mut studio = Studio::starting(Start { slot: 30, audio: 46 });
    studio.line.hold(vec![(MAIN, at(1_900))], studio.wall(2_500));
    assert!(studio.until(2_499).shown.is_empty());
    studio.until(2_500);
    assert_eq!(studio.shown.len(), 41);
}

#[test]
fn sound_waits_for_the_encoders_as_the_pictures_do() {
    let mut studio = Studio::starting(Start::default());
    let now = studio.wall(60_000);
    let mut sounds = 0;
    while let Some(due) = studio.line.next(now, false) {
        assert!(matches!(due, Due::Sound { .. }));
        sounds += 1;
    }
    assert_eq!(sounds, 3);
}

#[test]
fn a_respawned_line_waits_for_all_of_its_sources_but_for_none_that_is_gone() {
    let mut studio = Studio::starting(Start { slot: 30, audio: 46 });
    let ended = TrackId(3);
    let until = vec![(MAIN, at(1_900)), (SCREEN, at(1_000)), (ended, at(1_900))];
    studio.line.hold(until, studio.wall(9_000));
    studio.line.track(&track(SCREEN, "screen"));
    studio.picture(2_060, 1_900, 1);
    assert!(studio.until(2_060).shown.is_empty());
    studio.picture_of(SCREEN, 2_070, 1_000, 2);
    assert!(studio.until(2_070).shown.is_empty());
    studio.line.track_ended(ended);
    studio.until(2_070);
    assert_eq!(studio.shown[0], Face::Fresh(2));
    assert_eq!(studio.counts.last(), Some(&2));
}

#[test]
fn a_switch_of_the_layout_acts_on_the_next_slot() {
    let mut studio = Studio::starting(Start::default());
    studio.line.track(&track(SCREEN, "screen"));
    for n in 0..90 {
        let captured = n * 100 / 3;
        studio.picture(captured + 90, captured, n);
        studio.picture_of(SCREEN, captured + 100, captured + 3, 1000 + n);
        if n == 45 {
            studio.until(1_650);
            assert_eq!(studio.shown.len(), 46);
            studio.line.layout(Layout {
                arrangement: Arrangement::Solo,
                sources: vec!["main".parse().unwrap()],
            });
        }
        studio.until(captured + 150);
    }
    let (screens, mains) = studio.shown.split_at(46);
    assert!((0..).zip(screens).all(|(n, face)| *face == Face::Fresh(1000 + n)));
    assert!((46..).zip(mains).all(|(n, face)| *face == Face::Fresh(n)));
    assert!(studio.counts[..46].iter().all(|count| *count == 2));
    assert!(studio.counts[46..].iter().all(|count| *count == 1));
    assert_eq!(studio.line.counts().fresh, studio.shown.len() as u64);
}

#[test]
fn lateness_is_told_of_each_source() {
    let mut studio = Studio::starting(Start::default());
    studio.line.track(&track(SCREEN, "screen"));
    for n in 0..60 {
        let captured = n * 100 / 3;
        studio.until(captured + 200);
        studio.picture(captured + 100, captured, n);
        studio.picture_of(SCREEN, captured + 200, captured, n);
    }
    let late: Vec<(String, u64)> = studio
        .line
        .lateness()
        .map(|(source, lateness)| (source.to_string(), lateness.late))
        .collect();
    assert_eq!(late[1], ("screen".into(), 60));
    assert_eq!(
        studio
            .line
            .lateness()
            .map(|(_, lateness)| lateness.late)
            .sum::<u64>(),
        0
    );
}

/// A camera that sends 30 pictures a second from `from` to `until` ms, each 100 ms later, and is heard with each.
fn camera(studio: &mut Studio, from: i64, until: i64, mut meanwhile: impl FnMut(&mut Studio, i64)) {
    for n in from * 3 / 100..until * 3 / 100 {
        let captured = n * 100 / 3;
        studio.picture(captured + 100, captured, n);
        meanwhile(studio, captured + 100);
        studio.until(captured + 150);
    }
}

#[test]
fn a_screen_that_stalls_keeps_its_place_while_it_is_heard() {
    let mut studio = Studio::starting(Start::default());
    studio.line.track(&track(SCREEN, "screen"));
    studio.picture_of(SCREEN, 50, 0, -1);
    camera(&mut studio, 0, 10_000, |studio, ms| {
        studio.hears("screen", ms);
    });
    assert!(studio.shown.len() > 290);
    assert!(studio.shown[1..].iter().all(|face| *face == Face::Repeat(-1)));
    assert!(studio.counts.iter().all(|count| *count == 2));
    assert_eq!(
        studio.line.counts().repeated,
        0,
        "the camera in the corner is fresh"
    );
}

#[test]
fn a_source_that_falls_silent_gives_up_its_place_until_its_next_picture() {
    for arrangement in [Arrangement::Auto, Arrangement::Solo, Arrangement::SideBySide] {
        let mut studio = Studio::starting(Start::default());
        studio.line.track(&track(SCREEN, "screen"));
        studio.line.layout(Layout {
            arrangement,
            sources: match arrangement {
                Arrangement::Auto => vec![],
                _ => vec!["screen".parse().unwrap(), "main".parse().unwrap()],
            },
        });
        studio.picture_of(SCREEN, 50, 0, -1);
        camera(&mut studio, 0, 5_000, |_, _| ());
        let (with, without) = studio.shown.split_at(62);
        assert!(
            with[1..].iter().all(|face| *face == Face::Repeat(-1)),
            "up to 2,050 ms"
        );
        assert!((62..).zip(without).all(|(n, face)| *face == Face::Fresh(n)));
        assert!(studio.counts[62..].iter().all(|count| *count == 1));

        assert!(studio.hears("screen", 5_050), "a new picture is wanted");
        camera(&mut studio, 5_000, 6_000, |studio, ms| {
            assert!(!studio.hears("screen", ms), "once");
        });
        assert!(
            matches!(studio.shown.last(), Some(Face::Fresh(178))),
            "{arrangement:?}"
        );
        studio.picture_of(SCREEN, 6_100, 6_000, -2);
        camera(&mut studio, 6_000, 7_000, |_, _| ());
        assert_eq!(studio.shown[180], Face::Fresh(-2));
        assert!(studio.shown[181..].iter().all(|face| *face == Face::Repeat(-2)));
        assert!(!studio.hears("screen", 7_000));
    }
}

#[test]
fn who_fall_silent_together_stay_together_up_to_the_slate() {
    let mut studio = Studio::starting(Start::default());
    studio.line.track(&track(SCREEN, "screen"));
    studio.picture_of(SCREEN, 50, 0, -1);
    studio.picture(50, 0, 1);
    // It was heard a moment longer.
    studio.hears("screen", 700);
    studio.until(9_000);
    let slate = studio.shown.iter().position(|face| *face == Face::Slate);
    assert_eq!(slate, Some(82), "after 2,700 ms");
    assert!(studio.counts[..82].iter().all(|count| *count == 2));
    assert!(studio.counts[82..].iter().all(|count| *count == 0));
    studio.hears("screen", 9_000);
    studio.hears("main", 9_000);
    studio.until(9_100);
    assert_eq!(studio.counts.last(), Some(&2), "a still slide is still there");
}

#[test]
fn where_only_a_sound_is_heard_the_slate_stands() {
    let mut studio = Studio::starting(Start::default());
    let ada = Track {
        codec: Codec::Opus,
        ..track(SCREEN, "ada")
    };
    studio.line.track(&ada);
    studio.picture(100, 0, 1);
    for ms in (0..5_000).step_by(250) {
        studio.hears("ada", ms);
        studio.until(ms);
    }
    assert!(studio.shown[1..64].iter().all(|face| *face == Face::Repeat(1)));
    assert!(
        studio.shown[64..].iter().all(|face| *face == Face::Slate),
        "after 2,100 ms"
    );
}

#[test]
fn who_is_silent_does_not_come_back_when_the_others_end() {
    let mut studio = Studio::starting(Start::default());
    studio.line.track(&track(SCREEN, "screen"));
    studio.picture_of(SCREEN, 50, 0, -1);
    camera(&mut studio, 0, 4_000, |_, _| ());
    studio.line.track_ended(MAIN);
    studio.until(5_000);
    assert_eq!(
        studio.shown.last(),
        Some(&Face::Repeat(119)),
        "the last one stays"
    );
    studio.until(9_000);
    assert_eq!(studio.shown.last(), Some(&Face::Slate));
    assert!(!studio.shown[64..].contains(&Face::Repeat(-1)));
}
