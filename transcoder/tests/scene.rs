//! Several sources on one line, with a real child process: their pictures side by side, their sounds in one.

// A test that cannot go on says so by panicking, in its harness too.
#![allow(clippy::unwrap_used)]

mod studio;

use std::f32::consts::TAU;
use std::path::Path;

use studio::{Recording, job, noting_pids, pictures, pids, publish, sound_of, track_of};
use timeline::feed::{Consumer, Policy, Producer, Record};
use timeline::{Arrangement, Codec, Frame, Layout, MediaTime, Span, Timeline, TrackId};
use tokio::task::JoinHandle;
use transcoder::{Config, Job, Rung};

const MAIN: TrackId = TrackId(1);
const SCREEN: TrackId = TrackId(2);
const MAIN_SOUND: TrackId = TrackId(3);
const ADA_SOUND: TrackId = TrackId(4);

/// The one rung of the ladder.
const TOP: TrackId = TrackId(1);

/// One line at a time: more would make each other late.
static ONE_LINE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// One rung, so large that the clock of an inset is readable.
fn config(program: &Path) -> Config {
    Config {
        rungs: vec![Rung {
            name: "720p".into(),
            height: 720,
            bitrate_kbps: 3_000,
        }],
        preset: "ultrafast".into(),
        ..studio::config(program)
    }
}

fn child() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_transcode-child"))
}

/// Several sources and their line.
struct Lecture {
    source: Producer,
    run: JoinHandle<Result<(), transcoder::Error>>,
    recording: JoinHandle<Recording>,
}

impl Lecture {
    /// It begins with these announcements. Beside it comes a look at its line.
    fn begin(config: Config, job: Job, announcements: &[Record]) -> (Self, Consumer) {
        let (source, line) = (Producer::new(), Producer::new());
        let (recording, tap) = (Recording::of(&line), line.subscribe(Policy::Tap));
        for announcement in announcements {
            source.send(announcement.clone());
        }
        let run = tokio::spawn(transcoder::run(config, job, source.subscribe(Policy::Line), line));
        let lecture = Lecture {
            source,
            run,
            recording,
        };
        (lecture, tap)
    }

    /// What was on its line, this slot the last.
    async fn end(self, last: i64) -> Recording {
        self.source.send(Record::End(slot(last)));
        self.run.await.unwrap().unwrap();
        self.recording.await.unwrap()
    }
}

fn camera_and_screen() -> [Record; 2] {
    [
        track_of(MAIN, Codec::H264, "main"),
        track_of(SCREEN, Codec::Vp8, "screen"),
    ]
}

/// The clock on the screen is that of another hour, so that nobody takes it for the camera's.
const HOUR: i64 = 3_600_000;

fn screen(id: TrackId, codec: Codec, timeline: Timeline, first: i64, count: i64) -> Vec<Frame> {
    let later = Timeline::starting(timeline.origin() + Span::from_millis(HOUR));
    pictures(id, codec, later, first, count)
}

fn slot(n: i64) -> MediaTime {
    MediaTime::from_ticks(n * 3000)
}

fn layout(arrangement: Arrangement, sources: &[&str]) -> Record {
    Record::Layout(Layout {
        arrangement,
        sources: sources.iter().map(|source| source.parse().unwrap()).collect(),
    })
}

/// Sends each of these records once its slot is on the line.
async fn direct(source: &Producer, mut line: Consumer, records: Vec<(i64, Record)>) {
    for (n, record) in records {
        while let Some(on_line) = line.next().await.unwrap() {
            if matches!(on_line, Record::Frame(frame) if frame.track == TOP && frame.at >= slot(n)) {
                break;
            }
        }
        source.send(record);
    }
}

/// What a slot shows, as far as it can be read: media times of pictures in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shows {
    Main(i64),
    Screen(i64),
    ScreenWithMain(i64, i64),
    ScreenBesideMain(i64, i64),
    Nothing,
}

fn shows(recording: &Recording, timeline: Timeline) -> Vec<Shows> {
    // The places of 1280×720 that `docs/publishing/scene.md` tells.
    let places = [
        (0, 0, 1280, 720),
        (942, 522, 320, 180),
        (0, 182, 636, 356),
        (642, 182, 636, 356),
    ];
    let [whole, inset, left, right] = recording.clocks_in(&recording.renditions[0], timeline, places);
    let main = |clock: Option<i64>| clock.filter(|ms| (-10_000..60_000).contains(ms));
    let screen = |clock: Option<i64>| main(clock.map(|ms| ms - HOUR));
    (0..whole.len())
        .map(|n| {
            let alone = (main(whole[n]), screen(whole[n]), main(inset[n]));
            match (alone, screen(left[n]), main(right[n])) {
                ((Some(main), None, None), None, None) => Shows::Main(main),
                ((None, Some(screen), None), None, None) => Shows::Screen(screen),
                ((None, Some(screen), Some(main)), None, None) => Shows::ScreenWithMain(screen, main),
                ((None, None, None), Some(screen), Some(main)) => Shows::ScreenBesideMain(screen, main),
                ((None, None, None), None, None) => Shows::Nothing,
                more => panic!("slot {n} shows pictures in places of two layouts: {more:?}"),
            }
        })
        .collect()
}

/// Pictures are never from the future of their slot nor go back, and most are of their very time: a busy machine may
/// be late.
fn assert_on_time(shown: impl Iterator<Item = (i64, i64)>) {
    let shown: Vec<(i64, i64)> = shown.collect();
    let off = |(slot, ms): &(i64, i64)| ms - slot * 100 / 3;
    assert!(
        shown.iter().all(|shown| off(shown) <= 34),
        "from the future: {shown:?}"
    );
    assert!(shown.is_sorted_by_key(|(_, ms)| *ms), "goes back: {shown:?}");
    let right = shown.iter().filter(|shown| off(shown) >= -34).count();
    println!("{right} of {} show their time", shown.len());
    assert!(
        right * 2 > shown.len(),
        "only {right} of {}: {shown:?}",
        shown.len()
    );
}

fn assert_all_on_time(shows: &[Shows], from: i64) {
    let slots = || (from..).zip(shows);
    assert_on_time(slots().filter_map(|(n, shows)| match shows {
        Shows::Main(main) | Shows::ScreenWithMain(_, main) | Shows::ScreenBesideMain(_, main) => {
            Some((n, *main))
        }
        _ => None,
    }));
    assert_on_time(slots().filter_map(|(n, shows)| match shows {
        Shows::Screen(screen) | Shows::ScreenWithMain(screen, _) | Shows::ScreenBesideMain(screen, _) => {
            Some((n, *screen))
        }
        _ => None,
    }));
}

/// Where what is shown changes its shape.
fn cuts(shows: &[Shows]) -> Vec<usize> {
    let shape = |shows: &Shows| std::mem::discriminant(shows);
    let pairs = shows.windows(2).enumerate();
    pairs
        .filter(|(_, pair)| shape(&pair[0]) != shape(&pair[1]))
        .map(|(n, _)| n + 1)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_layout_is_switched_at_a_slot_and_every_picture_is_of_its_time() {
    let _alone = ONE_LINE.lock().await;
    let (job, config) = (job(), config(child()));
    let (timeline, grid) = (job.timeline, job.grid);
    let frames = [
        pictures(MAIN, Codec::H264, timeline, 0, 160),
        screen(SCREEN, Codec::Vp8, timeline, 0, 160),
    ]
    .concat();
    let (lecture, tap) = Lecture::begin(config, job, &camera_and_screen());

    let switches = vec![
        (35, layout(Arrangement::Solo, &["main"])),
        (75, layout(Arrangement::SideBySide, &["screen", "main"])),
        (115, layout(Arrangement::Solo, &["screen"])),
    ];
    tokio::join!(
        publish(&lecture.source, timeline, frames),
        direct(&lecture.source, tap, switches)
    );
    let recording = lecture.end(159).await;

    assert_eq!(recording.assert_unbroken(grid), (160, vec![]));
    let shows = shows(&recording, timeline);
    // A machine that is busy may begin before its first pictures are decoded.
    let begins = shows
        .iter()
        .position(|s| matches!(s, Shows::ScreenWithMain(..)))
        .unwrap();
    assert!(begins < 20, "both are there from slot {begins} on");
    let cuts = cuts(&shows[begins..]);
    println!("cuts at {cuts:?} after {begins}");
    assert_eq!(cuts.len(), 3, "{shows:?}");
    assert!(matches!(shows[begins + cuts[0]], Shows::Main(_)));
    assert!(matches!(shows[begins + cuts[1]], Shows::ScreenBesideMain(..)));
    assert!(matches!(shows[begins + cuts[2]], Shows::Screen(_)));
    assert_all_on_time(&shows[begins..], begins as i64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_ends_returns_and_stalls_and_the_other_does_not_notice() {
    let _alone = ONE_LINE.lock().await;
    let (job, config) = (job(), config(child()));
    let (timeline, grid) = (job.timeline, job.grid);
    let again = TrackId(7);
    let frames = [
        pictures(MAIN, Codec::H264, timeline, 0, 160),
        screen(SCREEN, Codec::Vp8, timeline, 0, 50),
        // Another codec, as from another program. It stalls after a second.
        screen(again, Codec::H264, timeline, 90, 30),
    ]
    .concat();
    let (lecture, tap) = Lecture::begin(config, job, &camera_and_screen());

    let events = vec![
        (45, Record::TrackEnded(SCREEN)),
        (60, track_of(again, Codec::H264, "screen")),
    ];
    let (second, first): (Vec<Frame>, Vec<Frame>) =
        frames.into_iter().partition(|frame| frame.track == again);
    tokio::join!(publish(&lecture.source, timeline, first), async {
        direct(&lecture.source, tap, events).await;
        publish(&lecture.source, timeline, second).await;
    });
    let recording = lecture.end(159).await;

    assert_eq!(recording.assert_unbroken(grid), (160, vec![]));
    let shows = shows(&recording, timeline);
    let begins = shows
        .iter()
        .position(|s| matches!(s, Shows::ScreenWithMain(..)))
        .unwrap();
    let cuts = cuts(&shows[begins..]);
    println!("cuts at {cuts:?} after {begins}");
    assert_eq!(cuts.len(), 2, "{shows:?}");
    let (left, returned) = (begins + cuts[0], begins + cuts[1]);
    assert!(
        (46..60).contains(&left) && matches!(shows[left], Shows::Main(_)),
        "gone at {left}"
    );
    assert!(
        returned >= 90 && matches!(shows[returned], Shows::ScreenWithMain(..)),
        "back at {returned}"
    );
    assert!(
        matches!(shows[159], Shows::ScreenWithMain(screen, main) if (3_960..=3_968).contains(&screen) && main > screen),
        "a screen that stalls stays, and the camera goes on: {:?}",
        shows[159]
    );
    assert_all_on_time(&shows[begins..120], begins as i64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_is_killed_goes_on_with_the_same_scene() {
    let _alone = ONE_LINE.lock().await;
    let folder = tempfile::tempdir().unwrap();
    let (job, config) = (job(), config(&noting_pids(folder.path())));
    let (timeline, grid) = (job.timeline, job.grid);
    let frames = [
        pictures(MAIN, Codec::H264, timeline, 0, 150),
        screen(SCREEN, Codec::Vp8, timeline, 0, 150),
    ]
    .concat();
    let [camera, beside] = camera_and_screen();
    let sides = layout(Arrangement::SideBySide, &["screen", "main"]);
    let (lecture, mut watch) = Lecture::begin(config, job, &[sides, camera, beside]);

    let kill = async {
        while let Some(record) = watch.next().await.unwrap() {
            if matches!(record, Record::Frame(f) if f.track == TOP && f.at >= slot(70)) {
                break;
            }
        }
        let pid = pids(folder.path())[0].to_string();
        assert!(
            std::process::Command::new("kill")
                .args(["-KILL", &pid])
                .status()
                .unwrap()
                .success()
        );
    };
    tokio::join!(publish(&lecture.source, timeline, frames), kill);
    let recording = lecture.end(149).await;

    assert_eq!(pids(folder.path()).len(), 2, "one was lost, one went on");
    let (slots, extra) = recording.assert_unbroken(grid);
    assert_eq!(slots, 150);
    assert!(extra.len() <= 1, "{extra:?}");
    let shows = shows(&recording, timeline);
    let begins = shows
        .iter()
        .position(|s| matches!(s, Shows::ScreenBesideMain(..)))
        .unwrap();
    assert!(cuts(&shows[begins..]).is_empty(), "{shows:?}");
    assert_all_on_time(&shows[begins..], begins as i64);
}

const RATE: usize = 48_000;
/// Both are whole numbers of waves in 10 ms, so that neither is seen in the other's measure.
const LOW: f32 = 400.0;
const HIGH: f32 = 1_000.0;

/// Four seconds of a tone that sounds for 300 ms from `from_ms` on in each second.
fn beeps(hertz: f32, from_ms: usize) -> Vec<f32> {
    (0..RATE * 4)
        .map(|n| {
            let ms = n % RATE / 48;
            let sounds = (from_ms..from_ms + 300).contains(&ms);
            let wave = 0.3 * (TAU * hertz * n as f32 / RATE as f32).sin();
            if sounds { wave } else { 0.0 }
        })
        .collect()
}

/// How loud a tone is in 10 ms of sound (Goertzel).
fn level(window: &[f32], hertz: f32) -> f32 {
    let turn = 2.0 * (TAU * hertz / RATE as f32).cos();
    let (one, two) = window.iter().fold((0.0f32, 0.0f32), |(one, two), sample| {
        (sample + turn * one - two, one)
    });
    let power = (one * one + two * two - turn * one * two).max(0.0);
    2.0 * power.sqrt() / window.len() as f32
}

/// When a tone begins, in milliseconds.
fn begins(heard: &[f32], hertz: f32) -> Vec<i64> {
    let loud = |ms: usize| level(&heard[ms * 48..ms * 48 + 480], hertz) > 0.15;
    let windows = heard.len() / 48 - 10;
    // A window that is half full of it has half its level.
    (1..windows)
        .filter(|ms| loud(*ms) && !loud(ms - 1))
        .map(|ms| ms as i64 + 5)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_hosts_are_heard_each_at_their_time() {
    let _alone = ONE_LINE.lock().await;
    let (job, config) = (job(), config(child()));
    let (timeline, grid) = (job.timeline, job.grid);
    let frames = [
        pictures(MAIN, Codec::H264, timeline, 0, 121),
        sound_of(MAIN_SOUND, &beeps(LOW, 200)),
        sound_of(ADA_SOUND, &beeps(HIGH, 350)),
    ]
    .concat();
    let tracks = [
        track_of(MAIN, Codec::H264, "main"),
        track_of(MAIN_SOUND, Codec::Opus, "main"),
        track_of(ADA_SOUND, Codec::Opus, "ada"),
    ];
    let (lecture, _) = Lecture::begin(config, job, &tracks);

    publish(&lecture.source, timeline, frames).await;
    let recording = lecture.end(119).await;

    recording.assert_unbroken(grid);
    let heard = recording.heard();
    for (hertz, first) in [(LOW, 200), (HIGH, 350)] {
        let begun = begins(&heard, hertz);
        let off: Vec<i64> = begun
            .iter()
            .zip(0..)
            .map(|(ms, second)| ms - first - second * 1000)
            .collect();
        println!("{hertz} Hz is off by {off:?} ms");
        assert_eq!(off.len(), 4, "{hertz} Hz: {begun:?}");
        assert!(off.iter().all(|ms| ms.abs() <= 5), "{off:?}");
    }
    // Both at once: 400 ms into each second.
    let both = &heard[(1_000 + 400) * 48..][..480];
    for hertz in [LOW, HIGH] {
        let level = level(both, hertz);
        assert!((0.25..0.35).contains(&level), "{hertz} Hz at {level}");
    }
}
