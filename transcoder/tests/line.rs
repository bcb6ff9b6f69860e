//! The line with a real child process: real decoders, real encoders, real time.

// A test that cannot go on says so by panicking, in its harness too.
#![allow(clippy::unwrap_used)]

mod studio;
#[path = "line/tracks.rs"]
mod tracks;

use std::path::Path;

use studio::{
    HEIGHT, Recording, WIDTH, config, job, noting_pids, now, onsets, pictures, pids, publish, sound,
    ticks_begin, track,
};
use timeline::feed::{Policy, Producer, Record};
use timeline::{Codec, MediaTime, Span, TrackId};

const VIDEO: TrackId = TrackId(1);
const AUDIO: TrackId = TrackId(2);

fn child() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_transcode-child"))
}

/// One line at a time: five of them would make each other late.
static ONE_LINE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Each slot shows what was captured at its own time, to a frame. On a machine that is busy with other things
/// pictures may come later than the line delay and older ones stand in; but never one from the future, never one
/// from before the last, and most are right: a line that is off is off everywhere.
fn assert_clocks(recording: &Recording, timeline: timeline::Timeline, slots: std::ops::Range<i64>) {
    for rung in recording.videos() {
        let name = &rung.name;
        let clocks = recording.clocks(rung, timeline);
        // The slate has none: it reads as the beginning of Unix time.
        let shown: Vec<(i64, i64)> = slots
            .clone()
            .map(|slot| {
                (
                    slot,
                    clocks[slot as usize].unwrap_or_else(|| panic!("{name}: {slot} is unreadable")),
                )
            })
            .filter(|(_, clock)| *clock > -10_000)
            .collect();
        let off = |(slot, clock): &(i64, i64)| clock - slot * 100 / 3;
        assert!(
            shown.iter().all(|shown| off(shown) <= 34),
            "{name}: from the future: {shown:?}"
        );
        assert!(
            shown.is_sorted_by_key(|(_, clock)| *clock),
            "{name}: goes back: {shown:?}"
        );
        let right = shown.iter().filter(|shown| off(shown) >= -34).count();
        println!("{name}: {right} of {slots:?} show their time");
        assert!(
            right * 2 > slots.clone().count(),
            "{name}: only {right} of {slots:?} show their time: {shown:?}"
        );
    }
}

/// A still of the middle of each segment, which shows what the rungs show in that slot.
fn assert_stills(recording: &Recording, timeline: timeline::Timeline, middles: &[i64]) {
    let stills = recording.still_clocks(timeline);
    let slots: Vec<i64> = stills.iter().map(|(slot, _)| *slot).collect();
    assert_eq!(slots, middles);
    let shown = recording.clocks(&recording.renditions[0], timeline);
    for (slot, clock) in stills {
        assert_eq!(clock, shown[slot as usize], "slot {slot}");
        assert!(clock.is_some(), "slot {slot} is unreadable");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn four_seconds_become_a_line() {
    let _alone = ONE_LINE.lock().await;
    let (job, config) = (job(), config(child()));
    let (timeline, grid) = (job.timeline, job.grid);
    let frames = [pictures(VIDEO, Codec::H264, timeline, 0, 121), sound(AUDIO, 205)].concat();
    let (source, line) = (Producer::new(), Producer::new());
    let recording = Recording::of(&line);
    source.send(track(VIDEO, Codec::H264));
    source.send(track(AUDIO, Codec::Opus));
    let run = tokio::spawn(transcoder::run(config, job, source.subscribe(Policy::Line), line));

    publish(&source, timeline, frames).await;
    source.send(Record::End(MediaTime::from_ticks(360_000)));
    run.await.unwrap().unwrap();
    let recording = recording.await.unwrap();

    let names: Vec<&str> = recording.renditions.iter().map(|r| r.name.as_str()).collect();
    assert_eq!(names, ["360p", "240p", "180p", "audio"]);
    let (slots, extra) = recording.assert_unbroken(grid);
    assert_eq!((slots, extra), (121, vec![]));
    assert_clocks(&recording, timeline, 0..121);
    assert_stills(&recording, timeline, &[48]);
    let (heard, said) = (onsets(&recording.heard()), ticks_begin(205));
    // The one at 0 falls into the first window of a decoder that just starts.
    assert_eq!((heard.len(), said.len()), (4, 5));
    for (heard, said) in heard.iter().zip(&said[1..]) {
        assert!(
            (heard - said).abs() <= 180,
            "a tick is {} ticks off, 2 ms are 180",
            heard - said
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_is_killed_leaves_no_hole() {
    assert_survives("-KILL").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_hangs_is_replaced() {
    assert_survives("-STOP").await;
}

/// A line whose child gets a signal in the middle has no hole, and every picture at its time.
async fn assert_survives(sent: &str) {
    let _alone = ONE_LINE.lock().await;
    let folder = tempfile::tempdir().unwrap();
    let (job, config) = (job(), config(&noting_pids(folder.path())));
    let (timeline, grid) = (job.timeline, job.grid);
    let frames = [pictures(VIDEO, Codec::H264, timeline, 0, 150), sound(AUDIO, 250)].concat();
    let (source, line) = (Producer::new(), Producer::new());
    let mut watch = line.subscribe(Policy::Tap);
    let recording = Recording::of(&line);
    source.send(track(VIDEO, Codec::H264));
    source.send(track(AUDIO, Codec::Opus));
    let run = tokio::spawn(transcoder::run(config, job, source.subscribe(Policy::Line), line));

    let kill = async {
        // In the middle of a GOP.
        while let Some(record) = watch.next().await.unwrap() {
            if matches!(record, Record::Frame(f) if f.track == VIDEO && f.at.ticks() >= 70 * 3000) {
                break;
            }
        }
        let pid = pids(folder.path())[0];
        let signalled = std::process::Command::new("kill")
            .args([sent, &pid.to_string()])
            .status()
            .unwrap();
        assert!(signalled.success());
        let lost = std::time::Instant::now();
        while let Some(record) = watch.next().await.unwrap() {
            let frame = matches!(record, Record::Frame(f) if f.track == VIDEO);
            if frame && pids(folder.path()).len() > 1 {
                break;
            }
        }
        println!(
            "{sent}: on the line again after {} ms",
            lost.elapsed().as_millis()
        );
    };
    tokio::join!(publish(&source, timeline, frames), kill);
    source.send(Record::End(
        timeline.at(now()).min(MediaTime::from_ticks(150 * 3000 - 1)),
    ));
    run.await.unwrap().unwrap();
    let recording = recording.await.unwrap();

    assert_eq!(pids(folder.path()).len(), 2, "one was lost, one went on");
    let (slots, extra) = recording.assert_unbroken(grid);
    assert_eq!(slots, 150);
    // With an IDR of its own, unless it happened to begin on the grid's.
    assert!(extra.len() <= 1, "{extra:?}");
    let begun = extra.first().copied().unwrap_or(96);
    assert!(begun >= 71, "{begun}");
    assert_clocks(&recording, timeline, 0..150);
    assert_stills(&recording, timeline, &[48, 144]);
    // What the publisher sent in the meantime is not lost either.
    assert_clocks(&recording, timeline, begun..(begun + 20).min(150));
    for pid in pids(folder.path()) {
        assert!(
            !Path::new(&format!("/proc/{pid}")).exists(),
            "{pid} outlived the line"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_does_not_outlive_its_parent() {
    let folder = tempfile::tempdir().unwrap();
    let mut parent = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "the_parent_to_be_killed"])
        .env("FOLDER", folder.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    // Written once the line runs.
    while !folder.path().join("runs").exists() {
        assert!(
            parent.try_wait().unwrap().is_none(),
            "the parent runs until it is killed"
        );
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    parent.kill().unwrap();
    parent.wait().unwrap();
    let child = format!("/proc/{}", pids(folder.path())[0]);
    let gone = async {
        while Path::new(&child).exists() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let patience = std::time::Duration::from_secs(60);
    tokio::time::timeout(patience, gone)
        .await
        .expect("the child ends with its parent");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "not a test: the parent that another test kills"]
async fn the_parent_to_be_killed() {
    let Some(folder) = std::env::var_os("FOLDER") else {
        return;
    };
    let folder = Path::new(&folder);
    let (source, line) = (Producer::new(), Producer::new());
    let mut watch = line.subscribe(Policy::Tap);
    let config = config(&noting_pids(folder));
    let run = tokio::spawn(transcoder::run(
        config,
        job(),
        source.subscribe(Policy::Line),
        line,
    ));
    while !matches!(watch.next().await, Ok(Some(Record::Frame(_)))) {}
    std::fs::write(folder.join("runs"), "").unwrap();
    run.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn other_tracks_another_codec_and_garbage_do_not_break_the_line() {
    let _alone = ONE_LINE.lock().await;
    let (job, config) = (job(), config(child()));
    let (timeline, grid) = (job.timeline, job.grid);
    let first = pictures(VIDEO, Codec::H264, timeline, 0, 45);
    let mut garbage = pictures(VIDEO, Codec::H264, timeline, 45, 15);
    for frame in &mut garbage {
        let scrambled: Vec<u8> = frame
            .payload
            .iter()
            .enumerate()
            .map(|(n, b)| b ^ (n % 251) as u8)
            .collect();
        frame.payload = scrambled.into();
    }
    let second = pictures(TrackId(3), Codec::Vp8, timeline, 60, 60);
    let (source, line) = (Producer::new(), Producer::new());
    let recording = Recording::of(&line);
    source.send(track(VIDEO, Codec::H264));
    let run = tokio::spawn(transcoder::run(config, job, source.subscribe(Policy::Line), line));

    publish(&source, timeline, [first, garbage].concat()).await;
    source.send(Record::TrackEnded(VIDEO));
    source.send(track(TrackId(3), Codec::Vp8));
    publish(&source, timeline, second).await;
    drop(source);
    run.await.unwrap().unwrap();
    let recording = recording.await.unwrap();

    let (slots, extra) = recording.assert_unbroken(grid);
    assert!(slots >= 120 && extra.is_empty(), "{slots} {extra:?}");
    assert_clocks(&recording, timeline, 0..45);
    assert_clocks(&recording, timeline, 60..120);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transcoder_that_cannot_run_is_an_error_and_one_that_dies_at_once_ends_with_the_source() {
    let missing = config(Path::new("/nowhere/transcoder"));
    let (source, line) = (Producer::new(), Producer::new());
    let recording = Recording::of(&line);
    let error = transcoder::run(missing, job(), source.subscribe(Policy::Line), line)
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("the transcoder's process cannot be started"),
        "{error}"
    );
    assert_eq!(recording.await.unwrap().end, Some(MediaTime::ZERO));

    let (source, line) = (Producer::new(), Producer::new());
    let recording = Recording::of(&line);
    let run = tokio::spawn(transcoder::run(
        config(Path::new("/bin/false")),
        job(),
        source.subscribe(Policy::Line),
        line,
    ));
    source.send(Record::End(MediaTime::ZERO + Span::from_millis(100)));
    run.await.unwrap().unwrap();
    assert!(recording.await.unwrap().end.is_some());
}

/// Not a test: prints what the default ladder costs. `cargo test --release -p transcoder -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes 20 s and the whole machine"]
async fn the_cost_of_the_default_ladder() {
    const { assert!(WIDTH < 1280 && HEIGHT < 720) };
    let folder = tempfile::tempdir().unwrap();
    let config = transcoder::Config {
        program: Some(noting_pids(folder.path())),
        ..Default::default()
    };
    let job = job();
    let mut lecture = transcoder::lecture::Config::new(job.timeline);
    lecture.keyframe_every = 60;
    let (source, line) = (Producer::new(), Producer::new());
    let recording = Recording::of(&line);
    let consumer = source.subscribe(Policy::Line);
    let stop = tokio_util::sync::CancellationToken::new();
    let lecturing = tokio::spawn(transcoder::lecture::lecture(lecture, source, stop.clone()));
    let timeline = job.timeline;
    let run = tokio::spawn(transcoder::run(config, job, consumer, line));
    let cpu = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pids(folder.path())[0])).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
    };
    let at = |ms| timeline.wall(MediaTime::ZERO + Span::from_millis(ms)) - now();
    tokio::time::sleep(at(5_000).to_duration()).await;
    let before = cpu();
    tokio::time::sleep(at(25_000).to_duration()).await;
    let used = cpu() - before;
    let load = std::fs::read_to_string("/proc/loadavg").unwrap();
    println!(
        "{:.0} % of one processor, over 20 s of 720p30 in three rungs; load {load}",
        used / 20.0 * 100.0
    );
    let stopped = std::time::Instant::now();
    stop.cancel();
    lecturing.await.unwrap().unwrap();
    run.await.unwrap().unwrap();
    println!(
        "the line ended {} ms after the source",
        stopped.elapsed().as_millis()
    );
    let recording = recording.await.unwrap();
    let (slots, _) = recording.assert_unbroken(timeline::Grid::default());
    let clocks = recording.clocks(&recording.renditions[0], timeline);
    let shown: Vec<i64> = clocks[150..750].iter().flatten().copied().collect();
    let fresh = shown.windows(2).filter(|pair| pair[0] != pair[1]).count();
    let off = |(slot, clock): (usize, &i64)| (clock - (slot as i64 + 150) * 100 / 3).abs() <= 34;
    let right = shown.iter().enumerate().filter(|slot| off(*slot)).count();
    println!(
        "{slots} slots; of 600, {} readable, {fresh} fresh, {right} within a frame of their time",
        shown.len()
    );
    for rendition in &recording.renditions {
        let mut segments = std::collections::BTreeMap::<i64, usize>::new();
        for frame in recording.track(rendition.id) {
            *segments.entry(frame.at.ticks() / 288_000).or_default() += frame.payload.len() * 8;
        }
        let rates: Vec<usize> = segments.values().map(|bits| bits * 10 / 32 / 1000).collect();
        println!(
            "{} {} peak {}: {rates:?} kbit/s",
            rendition.name,
            rendition.codec,
            rendition.bandwidth / 1000
        );
    }
}
