//! Pass-through with a real child: the source's pictures are the top rung, across everything that ends it for a while.

// A test says so by panicking, in its harness too.
#![allow(clippy::unwrap_used)]

mod studio;

use std::path::Path;
use std::process::Command;

use studio::{Recording, config, job, noting_pids, pictures, pids, publish, sound, track};
use timeline::feed::{Policy, Producer, Record};
use timeline::{Codec, Frame, Grid, MediaTime, Rendition, Span, Timeline, TrackId};
use transcoder::{Job, Passthrough};

const VIDEO: TrackId = TrackId(1);
const SOUND: TrackId = TrackId(2);

/// One line at a time: they would make each other late.
static ONE_LINE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A line that begins once its pictures are made: they take a while on a busy machine.
fn later() -> Job {
    let job = job();
    Job {
        timeline: Timeline::starting(job.timeline.origin() + Span::from_millis(6_000)),
        ..job
    }
}

fn passing_through(program: &Path) -> transcoder::Config {
    transcoder::Config {
        passthrough: Passthrough::Auto,
        ..config(program)
    }
}

/// The slices of a frame as a source sent them.
fn slices(frame: &Frame) -> Vec<u8> {
    let nals = frame.payload.split(|byte| *byte == 1);
    // Coarse, but the longest NAL unit of a picture is its slice.
    nals.max_by_key(|nal| nal.len()).unwrap().to_vec()
}

/// Which slots of the top rung hold the source's own picture of that slot.
fn copied(recording: &Recording, sent: &[Frame]) -> Vec<i64> {
    let top = recording.track(TrackId(1));
    let own = |frame: &&&Frame| {
        let source = sent.iter().find(|sent| sent.at == frame.at);
        source.is_some_and(|source| {
            let slice = slices(source);
            frame.payload.windows(slice.len()).any(|bytes| bytes == slice)
        })
    };
    top.iter()
        .filter(own)
        .map(|frame| frame.at.ticks() / 3000)
        .collect()
}

/// The inits of the top rung, each with the first slot that needs it.
fn inits(recording: &Recording) -> Vec<(i64, &Rendition)> {
    let first = recording
        .renditions
        .iter()
        .find(|rendition| rendition.id == TrackId(1));
    let renewed = recording.renewed.iter().map(|(place, rendition)| {
        let next = recording.frames[*place..]
            .iter()
            .find(|frame| frame.track == rendition.id);
        (next.unwrap().at.ticks() / 3000, rendition)
    });
    first.map(|first| (0, first)).into_iter().chain(renewed).collect()
}

/// Every slot once in all rungs; each segment of the top rung begins with a keyframe.
fn assert_whole(recording: &Recording, slots: i64) {
    for rung in recording.videos() {
        let frames = recording.track(rung.id);
        let at: Vec<i64> = frames.iter().map(|frame| frame.at.ticks() / 3000).collect();
        assert_eq!(at, (0..slots).collect::<Vec<_>>(), "{}", rung.name);
        let grid = Grid::default();
        let every = if rung.id == TrackId(1) {
            96
        } else {
            i64::from(grid.gop_frames)
        };
        for frame in frames {
            let slot = frame.at.ticks() / 3000;
            assert!(
                frame.keyframe || slot % every != 0,
                "{}: no IDR at {slot}",
                rung.name
            );
        }
    }
}

/// The top rung as a byte stream, and what ffmpeg says of it when it forgives nothing.
fn assert_decodes(recording: &Recording, folder: &Path) {
    let inits = inits(recording);
    let mut stream = Vec::new();
    let start = |nal: &[u8], stream: &mut Vec<u8>| {
        stream.extend_from_slice(&[0, 0, 0, 1]);
        stream.extend_from_slice(nal);
    };
    for frame in recording.track(TrackId(1)) {
        let slot = frame.at.ticks() / 3000;
        let (from, rendition) = inits.iter().rev().find(|(from, _)| *from <= slot).unwrap();
        if *from == slot || slot % 96 == 0 {
            sets(&rendition.init)
                .iter()
                .for_each(|set| start(set, &mut stream));
        }
        let mut rest = &frame.payload[..];
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let (nal, after) = after.split_at(u32::from_be_bytes(*length) as usize);
            start(nal, &mut stream);
            rest = after;
        }
    }
    let file = folder.join("top.264");
    std::fs::write(&file, stream).unwrap();
    let out = Command::new("ffmpeg")
        .args(["-v", "warning", "-err_detect", "explode", "-f", "h264", "-i"])
        .arg(&file)
        .args(["-fps_mode", "passthrough", "-f", "framecrc", "-"])
        .output()
        .unwrap();
    let complaints = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && complaints.is_empty(), "{complaints}");
    let decoded = String::from_utf8_lossy(&out.stdout);
    let decoded = decoded.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(
        decoded,
        recording.track(TrackId(1)).len(),
        "a picture for each frame"
    );
}

/// The parameter sets of a configuration record.
fn sets(record: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut rest = &record[5..];
    for mask in [31, 255] {
        let count = rest[0] & mask;
        rest = &rest[1..];
        for _ in 0..count {
            let length = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
            all.push(rest[2..2 + length].to_vec());
            rest = &rest[2 + length..];
        }
    }
    all
}

/// The clock in each slot of the top rung goes on with the time, and most show their own slot's.
fn assert_clocks(recording: &Recording, timeline: timeline::Timeline) {
    let top = inits(recording).pop().unwrap().1;
    let clocks = recording.clocks(top, timeline);
    let shown: Vec<(i64, i64)> = (0..)
        .zip(&clocks)
        .map(|(slot, clock)| (slot, clock.unwrap_or_else(|| panic!("slot {slot} is unreadable"))))
        // The slate has none.
        .filter(|(_, clock)| *clock > -10_000)
        .collect();
    assert!(
        shown.is_sorted_by_key(|(_, clock)| *clock),
        "goes back: {shown:?}"
    );
    let right = |(slot, clock): &&(i64, i64)| (clock - slot * 100 / 3).abs() <= 34;
    let right = shown.iter().filter(right).count();
    println!("{right} of {} slots show their time", clocks.len());
    assert!(right * 10 > clocks.len() * 8, "{shown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_source_is_the_top_rung_across_a_loss_and_a_respawn() {
    let _alone = ONE_LINE.lock().await;
    let folder = tempfile::tempdir().unwrap();
    let (job, config) = (later(), passing_through(&noting_pids(folder.path())));
    let timeline = job.timeline;
    const SLOTS: i64 = 480;
    let sent = pictures(VIDEO, Codec::H264, timeline, 0, SLOTS);
    let mut frames = sent.clone();
    // In the middle of a GOP one does not come. The ingest would show nothing more before the next keyframe.
    frames.retain(|frame| !(260..270).contains(&(frame.at.ticks() / 3000)));
    frames.extend(sound(SOUND, SLOTS * 50 / 30));
    let (source, line) = (Producer::new(), Producer::new());
    let mut watch = line.subscribe(Policy::Tap);
    let recording = Recording::of(&line);
    source.send(track(VIDEO, Codec::H264));
    source.send(track(SOUND, Codec::Opus));
    let run = tokio::spawn(transcoder::run(config, job, source.subscribe(Policy::Line), line));
    let kill = async {
        while let Some(record) = watch.next().await.unwrap() {
            if matches!(record, Record::Frame(f) if f.track == VIDEO && f.at.ticks() >= 350 * 3000) {
                break;
            }
        }
        let pid = pids(folder.path()).pop().unwrap().to_string();
        assert!(
            Command::new("kill")
                .args(["-KILL", &pid])
                .status()
                .unwrap()
                .success()
        );
        while watch.next().await.unwrap().is_some() {}
    };
    let publish = async {
        publish(&source, timeline, frames).await;
        source.send(Record::End(MediaTime::from_ticks(SLOTS * 3000 - 1)));
        run.await.unwrap().unwrap();
    };
    tokio::join!(publish, kill);
    let recording = recording.await.unwrap();

    assert_whole(&recording, SLOTS);
    assert_clocks(&recording, timeline);
    assert_decodes(&recording, folder.path());
    let copied = copied(&recording, &sent);
    println!("copied: {copied:?}");
    let within = |from: i64, to: i64| copied.iter().filter(|slot| (from..to).contains(*slot)).count();
    // Two segments are looked at first. Then each from its first keyframe on: they stand on each 30th slot.
    assert_eq!(within(0, 192), 0);
    assert_eq!(within(192, 210), 0, "a segment begins with an IDR");
    assert_eq!(within(260, 270), 0, "nothing is there to be copied");
    // A machine that is too busy to be on time copies less; what it copies is right.
    assert!(within(210, 345) >= 30, "{copied:?}");
    let inits = inits(&recording);
    assert!(
        inits.len() == 2 && inits[1].0 % 96 == 0,
        "an init changes at a head"
    );
    assert_eq!(sets(&inits[1].1.init).len(), 4);
    assert_eq!(inits[0].1.codec, inits[1].1.codec);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_sizes_other_codecs_and_a_slate_are_encoded() {
    let _alone = ONE_LINE.lock().await;
    let folder = tempfile::tempdir().unwrap();
    let (job, config) = (later(), passing_through(&noting_pids(folder.path())));
    let timeline = job.timeline;
    let first = pictures(VIDEO, Codec::H264, timeline, 0, 300);
    let second = pictures(TrackId(3), Codec::Vp8, timeline, 300, 40);
    let third = pictures(TrackId(4), Codec::H264, timeline, 340, 80);
    let (source, line) = (Producer::new(), Producer::new());
    let recording = Recording::of(&line);
    source.send(track(VIDEO, Codec::H264));
    let run = tokio::spawn(transcoder::run(config, job, source.subscribe(Policy::Line), line));
    publish(&source, timeline, first.clone()).await;
    source.send(Record::TrackEnded(VIDEO));
    source.send(track(TrackId(3), Codec::Vp8));
    publish(&source, timeline, second).await;
    source.send(Record::TrackEnded(TrackId(3)));
    source.send(track(TrackId(4), Codec::H264));
    publish(&source, timeline, third.clone()).await;
    source.send(Record::End(MediaTime::from_ticks(420 * 3000 - 1)));
    run.await.unwrap().unwrap();
    let recording = recording.await.unwrap();

    assert_whole(&recording, 420);
    assert_clocks(&recording, timeline);
    assert_decodes(&recording, folder.path());
    let before = copied(&recording, &first);
    assert!(before.len() >= 20, "{before:?}");
    assert!(before.iter().all(|slot| (192..300).contains(slot)), "{before:?}");
    // The other H.264 track comes in the last segment, which is too late to be worth it.
    let after = copied(&recording, &third);
    println!("copied {} before, {} after", before.len(), after.len());
}

/// Ten seconds at 30 fps with a keyframe each second, as an access unit each.
fn clip(folder: &Path, height: u32) -> Vec<Vec<u8>> {
    let file = folder.join("clip.264");
    let picture = format!("testsrc2=size={}x{height}:rate=30", height * 16 / 9);
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", &picture, "-t", "10"])
        .args([
            "-pix_fmt",
            "yuv420p",
            "-c:v",
            "libx264",
            "-preset",
            "superfast",
            "-tune",
            "zerolatency",
        ])
        .args([
            "-b:v", "2M", "-maxrate", "2M", "-bufsize", "1M", "-g", "30", "-bf", "0",
        ])
        .args([
            "-x264-params",
            "aud=1:repeat-headers=1:sliced-threads=0:level=40",
            "-f",
            "h264",
            "-y",
        ])
        .arg(&file)
        .status()
        .unwrap();
    assert!(made.success());
    let stream = std::fs::read(file).unwrap();
    let begins = |at: &usize| stream[*at..].starts_with(&[0, 0, 0, 1, 9]);
    let heads: Vec<usize> = (0..stream.len() - 5).filter(begins).collect();
    let ends = heads.iter().skip(1).copied().chain([stream.len()]);
    heads
        .iter()
        .zip(ends)
        .map(|(from, to)| stream[*from..to].to_vec())
        .collect()
}

/// Not a test: prints what the ladder costs, with pass-through and without.
/// `cargo test --workspace --test copy -- --ignored --nocapture the_cost`; with `TOP=720` on a machine that has no
/// processor to spare.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute and the whole machine"]
async fn the_cost_of_four_rungs() {
    let small = std::env::var("TOP").is_ok_and(|top| top == "720");
    let ladder = match small {
        true => [(720, 2500), (480, 1100), (360, 600), (240, 350)],
        false => [(1080, 4500), (720, 2500), (480, 1100), (360, 600)],
    };
    let folder = tempfile::tempdir().unwrap();
    let units = clip(folder.path(), ladder[0].0);
    assert_eq!(units.len(), 300);
    let rung = |name: &str, height, bitrate_kbps| transcoder::Rung {
        name: name.into(),
        height,
        bitrate_kbps,
    };
    let mut costs = Vec::new();
    for passthrough in [Passthrough::Off, Passthrough::Auto] {
        let folder = tempfile::tempdir().unwrap();
        let config = transcoder::Config {
            rungs: ladder
                .map(|(height, kbps)| rung(&format!("{height}p"), height, kbps))
                .to_vec(),
            preset: "veryfast".into(),
            passthrough,
            ..config(&noting_pids(folder.path()))
        };
        let job = job();
        let timeline = job.timeline;
        let frames = (0..640).map(|n| Frame {
            track: VIDEO,
            at: MediaTime::from_ticks(n * 3000),
            keyframe: n % 30 == 0,
            payload: units[n as usize % 300].clone().into(),
        });
        let (source, line) = (Producer::new(), Producer::new());
        let mut watch = line.subscribe(Policy::Tap);
        let recording = Recording::of(&line);
        source.send(track(VIDEO, Codec::H264));
        let run = tokio::spawn(transcoder::run(config, job, source.subscribe(Policy::Line), line));
        let cpu = || {
            let pid = pids(folder.path())[0];
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
            fields[11].parse::<i64>().unwrap() + fields[12].parse::<i64>().unwrap()
        };
        let measure = async {
            let (mut at, mut before) = (None, 0);
            while let Some(record) = watch.next().await.unwrap() {
                match record {
                    Record::Frame(f) if f.track == VIDEO && f.at.ticks() >= 288 * 3000 && at.is_none() => {
                        (at, before) = (Some(f.at.ticks() / 3000), cpu());
                    }
                    Record::Frame(f) if f.track == VIDEO && f.at.ticks() >= 600 * 3000 => {
                        let slots = f.at.ticks() / 3000 - at.unwrap();
                        return (cpu() - before) as f64 * 10.0 / slots as f64;
                    }
                    _ => {}
                }
            }
            panic!("the line is too short")
        };
        let publish = async {
            publish(&source, timeline, frames.collect()).await;
            source.send(Record::End(MediaTime::from_ticks(640 * 3000 - 1)));
        };
        let (cost, ()) = tokio::join!(measure, publish);
        run.await.unwrap().unwrap();
        let recording = recording.await.unwrap();
        let top = recording.track(TrackId(1));
        let own = |f: &&&Frame| {
            let slot = (f.at.ticks() / 3000) as usize;
            let source = Frame {
                payload: units[slot % 300].clone().into(),
                ..(**f).clone()
            };
            let slice = slices(&source);
            (288..600).contains(&slot) && f.payload.windows(slice.len()).any(|bytes| bytes == slice)
        };
        let copied = top.iter().filter(own).count();
        println!("{passthrough:?}: {cost:.1} ms of processor a slot; {copied} of 312 slots copied");
        costs.push(cost);
    }
    let load = std::fs::read_to_string("/proc/loadavg").unwrap();
    println!(
        "with pass-through {:.2} of the full ladder's cost; load {load}",
        costs[1] / costs[0]
    );
}
