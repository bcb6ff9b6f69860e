//! Faults of every kind in a real child process, each with a second broadcast beside it that must not notice: no slot
//! of either line is missing, the fault is counted and told, and what a taken-over child could do is little.

// In the tests' harness too.
#![allow(clippy::unwrap_used)]

mod studio;

use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use studio::{Recording, config, job, noting_pids, now, pictures, pids, publish, sound, track};
use timeline::feed::{Consumer, Policy, Producer, Record};
use timeline::{Codec, Frame, Grid, MediaTime, SourceName, TrackId};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use transcoder::{Config, Error, Incidents, Reason, Rung, Sandbox, Transcoder};

const VIDEO: TrackId = TrackId(1);
const AUDIO: TrackId = TrackId(2);
/// Slots of a line, two segments.
const SLOTS: i64 = 192;

fn child() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_transcode-child"))
}

/// Two lines at a time are enough for a small machine.
static ONE_PAIR: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The smallest ladder.
fn small(program: &Path) -> Config {
    Config {
        rungs: vec![Rung {
            name: "180p".into(),
            height: 180,
            bitrate_kbps: 200,
        }],
        preset: "ultrafast".into(),
        ..config(program)
    }
}

/// A broadcast that somebody publishes and somebody takes.
struct Broadcast {
    source: Producer,
    line: Producer,
    recording: JoinHandle<Recording>,
    run: JoinHandle<Result<(), Error>>,
    publisher: JoinHandle<()>,
    incidents: watch::Receiver<Incidents>,
}

impl Broadcast {
    fn begin(config: Config) -> Broadcast {
        Broadcast::on(config, Producer::new())
    }

    fn on(config: Config, line: Producer) -> Broadcast {
        let job = job();
        let timeline = job.timeline;
        let source = Producer::new();
        let recording = Recording::of(&line);
        let frames = [
            pictures(VIDEO, Codec::H264, timeline, 0, SLOTS),
            sound(AUDIO, SLOTS * 10 / 6),
        ]
        .concat();
        source.send(track(VIDEO, Codec::H264));
        source.send(track(AUDIO, Codec::Opus));
        let told = watch::Sender::default();
        let incidents = told.subscribe();
        let (consumer, out) = (source.subscribe(Policy::Line), line.clone());
        let run = tokio::spawn(async move { Transcoder::new(config).run(job, consumer, out, told).await });
        let to = source.clone();
        let publisher = tokio::spawn(async move {
            publish(&to, timeline, frames).await;
            let end = MediaTime::from_ticks(SLOTS * 3000 - 1);
            to.send(Record::End(timeline.at(now()).min(end)));
        });
        Broadcast {
            source,
            line,
            recording,
            run,
            publisher,
            incidents,
        }
    }

    /// Waits until this slot is on the line.
    async fn comes_to(&self, slot: i64) {
        let mut watch: Consumer = self.line.subscribe(Policy::Tap);
        while let Some(record) = watch.next().await.unwrap() {
            if matches!(record, Record::Frame(f) if f.track == VIDEO && f.at.ticks() >= slot * 3000) {
                return;
            }
        }
    }

    /// To its end. Every slot and every audio frame are on the line, and every keyframe where it must be.
    async fn ends_unbroken(self) -> Incidents {
        self.publisher.await.unwrap();
        self.run.await.unwrap().unwrap();
        drop(self.line);
        let (slots, extra) = self.recording.await.unwrap().assert_unbroken(Grid::default());
        assert_eq!(slots, SLOTS);
        let incidents = self.incidents.borrow().clone();
        // A child begins with an IDR of its own.
        assert!(extra.len() as u64 <= incidents.count, "{extra:?}");
        incidents
    }
}

/// The process that makes the line: of those that run the oldest. The others are spare.
fn pid(folder: &Path) -> Pid {
    let runs = |pid: &u32| Path::new(&format!("/proc/{pid}/cmdline")).exists();
    let oldest = pids(folder).into_iter().find(runs).unwrap();
    Pid::from_raw(oldest as i32).unwrap()
}

/// One broadcast meets with a fault; the other does not notice. Prints how long the line stood.
async fn assert_isolated(what: &str, spare: bool, fault: impl FnOnce(Pid, &Broadcast)) -> Incidents {
    let _alone = ONE_PAIR.lock().await;
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let begin = |folder: &Path| {
        Broadcast::begin(Config {
            spare,
            ..small(&noting_pids(folder))
        })
    };
    let (faulty, beside) = (begin(folders[0].path()), begin(folders[1].path()));
    // Late enough for a spare to be there.
    faulty.comes_to(120).await;
    fault(pid(folders[0].path()), &faulty);
    let (faulty, beside) = tokio::join!(faulty.ends_unbroken(), beside.ends_unbroken());
    assert_eq!(beside, Incidents::default(), "the other lost nothing");
    let last = faulty.last.clone().expect("it is told");
    let stood = last.stood_ms.expect("the line went on");
    let load = std::fs::read_to_string("/proc/loadavg").unwrap();
    println!(
        "{what}, spare: {spare}: the line stood for {stood} ms, {} lost; load {load}",
        faulty.count
    );
    faulty
}

fn reason(incidents: &Incidents) -> Reason {
    incidents.last.as_ref().unwrap().reason
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_is_killed_is_replaced_by_the_spare() {
    let incidents = assert_isolated("kill -9", true, |pid, _| kill_process(pid, Signal::KILL).unwrap()).await;
    assert_eq!(reason(&incidents), Reason::Killed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_hangs_is_noticed() {
    let incidents = assert_isolated("hang", true, |pid, _| kill_process(pid, Signal::STOP).unwrap()).await;
    assert_eq!(reason(&incidents), Reason::Hung);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_crashes_is_replaced_without_what_it_may_have_died_of() {
    let incidents = assert_isolated("crash", false, |pid, _| kill_process(pid, Signal::ABORT).unwrap()).await;
    assert_eq!(reason(&incidents), Reason::Crashed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_needs_too_much_memory_fails_alone() {
    let incidents = assert_isolated("no memory", true, |pid, broadcast| {
        let none = Rlimit {
            current: Some(1024),
            maximum: Some(1024),
        };
        prlimit(Some(pid), Resource::Data, none).unwrap();
        // What is free within the process lasts for seconds; this it needs at once.
        for _ in 0..3 {
            broadcast.source.send(Record::Frame(Frame {
                track: TrackId(9),
                at: MediaTime::ZERO,
                keyframe: true,
                payload: vec![0; 7 * 1024 * 1024].into(),
            }));
        }
    })
    .await;
    assert_eq!(reason(&incidents), Reason::Memory);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_packager_that_stands_still_for_a_while_loses_nothing() {
    let _alone = ONE_PAIR.lock().await;
    let line = Producer::with_capacity(64);
    // 64 records are not a second of this line.
    let mut slow = line.subscribe(Policy::Line);
    let broadcast = Broadcast::on(small(child()), line);
    let mut taken = 0;
    loop {
        match slow.next().await.expect("no record is lost") {
            Some(Record::End(_)) | None => break,
            Some(Record::Frame(frame)) if frame.track == VIDEO => {
                taken += 1;
                if taken == 60 {
                    // Long enough for a watchdog to bite.
                    tokio::time::sleep(Duration::from_millis(2_500)).await;
                }
                if taken == SLOTS - 1 {
                    break;
                }
            }
            Some(_) => {}
        }
    }
    drop(slow);
    assert_eq!(broadcast.ends_unbroken().await, Incidents::default());
}

/// Real frames with a few bytes changed, the same ones each time.
fn fuzzed(frames: &[Frame], seed: u64) -> Vec<Frame> {
    let mut state = seed | 1;
    // xorshift64: good enough to hit every part of a frame.
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    let fuzz = |frame: &Frame| {
        let mut payload = frame.payload.to_vec();
        match random() % 8 {
            // Some whole ones in between, so that decoders get far.
            0 | 1 => {}
            2 => payload.truncate(random() % payload.len().max(1)),
            3 => {
                let at = random() % payload.len();
                let again = payload[at..].to_vec();
                payload.extend(again);
            }
            _ => {
                for _ in 0..1 + random() % 8 {
                    // Headers first: what they promise is allocated.
                    let within = if random() % 2 == 0 {
                        payload.len().min(48)
                    } else {
                        payload.len()
                    };
                    payload[random() % within] = random() as u8;
                }
            }
        }
        Frame {
            payload: payload.into(),
            ..frame.clone()
        }
    };
    frames.iter().map(fuzz).collect()
}

/// Every slot and every audio frame, one after the other. (Where a line ends that is behind its source, sound and
/// pictures may end a frame apart.)
fn assert_no_slot_missing(recording: &Recording) -> i64 {
    let times = |id, step: i64| {
        let at: Vec<i64> = recording.track(id).iter().map(|f| f.at.ticks()).collect();
        let all: Vec<i64> = (0..at.len() as i64).map(|n| n * step).collect();
        assert_eq!(at, all, "track {id}");
        at.len() as i64
    };
    let rung = recording.videos().next().unwrap();
    let slots = times(rung.id, 3000);
    let sound = times(recording.audio().id, 1920);
    assert!((sound * 1920 - slots * 3000).abs() < 2 * 3000, "{sound} {slots}");
    slots
}

/// Rounds of fuzzed frames for each codec. `LECTERN_FUZZ_ROUNDS` makes it a longer run.
fn rounds() -> u64 {
    let wanted = std::env::var("LECTERN_FUZZ_ROUNDS").ok();
    wanted.and_then(|n| n.parse().ok()).unwrap_or(12)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_bitstream_breaks_a_line_nor_the_one_beside_it() {
    let _alone = ONE_PAIR.lock().await;
    let beside = Broadcast::begin(small(child()));
    let job = job();
    let timeline = job.timeline;
    let (source, line) = (Producer::new(), Producer::new());
    let recording = Recording::of(&line);
    let told = watch::Sender::default();
    let incidents = told.subscribe();
    let (config, consumer) = (small(child()), source.subscribe(Policy::Line));
    let run = tokio::spawn(async move { Transcoder::new(config).run(job, consumer, line, told).await });
    let codecs = [Codec::H264, Codec::Vp8, Codec::Vp9, Codec::Av1];
    let mut all: Vec<(Codec, Vec<Frame>)> = codecs
        .into_iter()
        .map(|codec| (codec, pictures(VIDEO, codec, timeline, 0, 12)))
        .collect();
    all.push((Codec::Opus, sound(AUDIO, 40)));
    tokio::time::sleep((timeline.wall(MediaTime::ZERO) - now()).to_duration()).await;
    let mut fed = 0;
    for (n, (codec, frames)) in all.iter().enumerate() {
        let id = TrackId(10 + n as u32);
        source.send(track(id, *codec));
        for round in 0..rounds() {
            for mut frame in fuzzed(frames, 1 + round * 7919 + n as u64) {
                frame.track = id;
                frame.at = timeline.at(now());
                source.send(Record::Heard {
                    source: SourceName::main(),
                    at: frame.at,
                });
                source.send(Record::Frame(frame));
                fed += 1;
                // Some times faster than it is played: decoders are what is tried here.
                tokio::time::sleep(Duration::from_millis(4)).await;
            }
        }
        source.send(Record::TrackEnded(id));
    }
    let end = timeline.at(now());
    source.send(Record::End(end));
    run.await.unwrap().unwrap();
    let slots = assert_no_slot_missing(&recording.await.unwrap());
    let incidents = incidents.borrow().clone();
    println!("{fed} fuzzed frames in {slots} slots: {incidents:?}");
    assert!(slots > 30);
    assert_eq!(
        beside.ends_unbroken().await,
        Incidents::default(),
        "the other lost nothing"
    );
}

/// What a process can do, and what it said.
fn probe(sandbox: &str) -> (Option<Vec<String>>, String) {
    let probe = std::process::Command::new(child())
        .args(["probe", sandbox])
        .output()
        .unwrap();
    let works: Option<std::collections::BTreeMap<String, bool>> = serde_json::from_slice(&probe.stdout).ok();
    let works = works.map(|all| {
        all.into_iter()
            .filter(|(_, works)| *works)
            .map(|(what, _)| what)
            .collect()
    });
    (works, String::from_utf8_lossy(&probe.stderr).into_owned())
}

#[test]
fn a_confined_child_can_decode_and_little_else() {
    let (free, _) = probe("off");
    // None of these fails for want of a file or a port.
    assert_eq!(free.unwrap().len(), 13);
    let (confined, said) = probe("required");
    if said.contains("the kernel has none") {
        println!("not tested: {said}");
        return;
    }
    let needed = [
        "begins threads",
        "decodes what it encodes",
        "reads itself",
        "reads libraries",
    ];
    assert_eq!(confined.expect(&said), needed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_that_is_required_and_cannot_be_had_is_an_error() {
    // A program that never says that it is confined.
    let program = Path::new("/bin/false");
    let config = Config {
        sandbox: Sandbox::Required,
        ..small(program)
    };
    let (source, line) = (Producer::new(), Producer::new());
    let error = transcoder::run(config, job(), source.subscribe(Policy::Line), line)
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("the transcoder's process cannot be confined"),
        "{error}"
    );
}
