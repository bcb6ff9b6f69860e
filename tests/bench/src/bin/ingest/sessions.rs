//! Publishers without transcoding: what a session costs, and how long a frame takes from the publisher's hands to the
//! feed.

use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use async_trait::async_trait;
use bench::{process, quantile};
use bytes::Bytes;
use rand::RngExt;
use timeline::feed::{Consumer, Policy, Producer, Record};
use timeline::{BroadcastId, Codec, Frame, SourceName, Span, Timeline, Track, TrackId, WallTime};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

const PICTURE: Span = Span::from_ticks(3_000);
const SOUND: Span = Span::from_millis(20);
const SOUND_BYTES: usize = 160;
/// Sessions connect, keyframes come.
const SETTLE: Duration = Duration::from_secs(4);
/// Of a 1280x720 picture by x264; only their ids are read.
const SPS: [u8; 26] = [
    0x67, 0x64, 0x00, 0x1f, 0xac, 0xd9, 0x40, 0x50, 0x05, 0xbb, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10,
    0x00, 0x00, 0x03, 0x03, 0xc0, 0xf1, 0x83, 0x19, 0x60,
];
const PPS: [u8; 6] = [0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0];

pub struct Found {
    /// Of one core, for one session.
    pub cpu: f64,
    /// Milliseconds, sorted.
    pub latency: Vec<f64>,
    pub frames: usize,
}

/// `sessions` publishers at `kbps` each, for so many seconds.
pub async fn measure(sessions: usize, kbps: u32, seconds: u32) -> anyhow::Result<Found> {
    let mut server = Command::new(std::env::current_exe()?)
        .arg("listen")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut lines = BufReader::new(server.stdout.take().context("no output")?).lines();
    let url = lines.next_line().await?.context("the server said nothing")?;
    let stop = CancellationToken::new();
    for n in 0..sessions {
        tokio::spawn(publish(format!("{url}/whip/s{n}"), kbps, stop.clone()));
    }
    sleep(SETTLE).await;
    let pid = server.id().context("the server ended")?;
    let (before, since) = (process::cpu(pid)?, Instant::now());
    sleep(Duration::from_secs(seconds.into())).await;
    let cpu = (process::cpu(pid)? - before).as_secs_f64() / since.elapsed().as_secs_f64();
    // It answers the end of its input with what it measured.
    drop(server.stdin.take());
    let mut latency: Vec<f64> = Vec::new();
    while let Some(line) = lines.next_line().await? {
        latency.push(line.parse()?);
    }
    stop.cancel();
    ensure!(!latency.is_empty(), "no frame came");
    latency.sort_by(f64::total_cmp);
    Ok(Found {
        cpu: cpu / sessions as f64,
        frames: latency.len(),
        latency,
    })
}

impl Found {
    pub fn quantile(&self, q: f64) -> f64 {
        quantile(&self.latency, q)
    }
}

/// A publisher of noise in the shape of H.264: each picture carries the time at which it was handed over.
async fn publish(url: String, kbps: u32, stop: CancellationToken) {
    let timeline = Timeline::starting(WallTime::from(SystemTime::now()));
    let feed = Producer::new();
    let consumer = feed.subscribe(Policy::Line);
    let mut config = ingest::client::Config::new(url, timeline);
    config.token = Some("any".into());
    tokio::select! {
        published = ingest::client::publish(config, consumer, stop) => {
            if let Err(error) = published {
                eprintln!("a publisher stopped: {error}");
            }
        }
        () = noise(feed, timeline, kbps) => {}
    }
}

async fn noise(feed: Producer, timeline: Timeline, kbps: u32) {
    let (video, audio) = (TrackId(1), TrackId(2));
    for (id, codec) in [(video, Codec::H264), (audio, Codec::Opus)] {
        let source = SourceName::main();
        feed.send(Record::Track(Track { id, codec, source }));
    }
    let bytes = (f64::from(kbps) * 125.0 * PICTURE.as_secs_f64()) as usize;
    let mut grain = vec![0u8; bytes];
    // No zeros: nothing in it looks like a start code.
    rand::rng().fill(&mut grain[..]);
    grain.iter_mut().for_each(|byte| *byte |= 1);
    let sound = Bytes::from(grain[..SOUND_BYTES].to_vec());
    let (began, first) = (Instant::now(), timeline.at(WallTime::from(SystemTime::now())));
    let (mut pictures, mut sounds) = (0, 0);
    loop {
        let (picture, heard) = (PICTURE.times(pictures), SOUND.times(sounds));
        sleep_until(began + picture.to_duration().min(heard.to_duration())).await;
        let (track, at, keyframe, payload) = if picture <= heard {
            pictures += 1;
            let keyframe = pictures % 60 == 1;
            (video, first + picture, keyframe, stamped(&grain, keyframe))
        } else {
            sounds += 1;
            (audio, first + heard, true, sound.clone())
        };
        feed.send(Record::Frame(Frame {
            track,
            at,
            keyframe,
            payload,
        }));
    }
}

/// Annex B; the time in hexadecimal digits, which hold no zero byte.
fn stamped(grain: &[u8], keyframe: bool) -> Bytes {
    let mut unit = Vec::with_capacity(grain.len() + 64);
    if keyframe {
        for set in [&SPS[..], &PPS] {
            unit.extend_from_slice(&[0, 0, 0, 1]);
            unit.extend_from_slice(set);
        }
    }
    unit.extend_from_slice(&[0, 0, 0, 1, if keyframe { 0x65 } else { 0x41 }, 0x88]);
    unit.extend_from_slice(format!("{:016x}", nanos()).as_bytes());
    unit.extend_from_slice(grain);
    unit.into()
}

fn nanos() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos() as u64)
}

/// The server's side: ingest alone, its frames read and let go.
pub async fn listen() -> anyhow::Result<()> {
    let latencies: Arc<Mutex<Vec<f64>>> = Arc::default();
    let config = serde_json::from_str(r#"{"udp": "127.0.0.1:0", "max_sessions": 1000}"#)?;
    let door = Arc::new(Open(latencies.clone()));
    let ingest = ingest::Ingest::bind(config, door).await?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, ingest.router()).await });
    let mut input = BufReader::new(tokio::io::stdin()).lines();
    while input.next_line().await?.is_some() {}
    let latencies = latencies.lock().unwrap_or_else(|e| e.into_inner()).clone();
    let text: String = latencies.iter().map(|ms| format!("{ms}\n")).collect();
    let mut out = tokio::io::stdout();
    out.write_all(text.as_bytes()).await?;
    out.flush().await?;
    Ok(())
}

struct Open(Arc<Mutex<Vec<f64>>>);

struct Publication {
    feed: Producer,
    line: Mutex<Option<Timeline>>,
}

#[async_trait]
impl ingest::Door for Open {
    async fn authorize(
        &self,
        _: &BroadcastId,
        _: Option<&str>,
        source: Option<&SourceName>,
    ) -> Result<ingest::Grant, ingest::Refusal> {
        Ok(ingest::Grant {
            person: "anyone".into(),
            name: "Anyone".into(),
            source: source.cloned().unwrap_or_default(),
            invitation: None,
        })
    }

    async fn admit(
        &self,
        _: &BroadcastId,
        _: &ingest::Grant,
    ) -> Result<Arc<dyn ingest::Publication>, ingest::Refusal> {
        let feed = Producer::new();
        tokio::spawn(read(feed.subscribe(Policy::Tap), self.0.clone()));
        Ok(Arc::new(Publication {
            feed,
            line: Mutex::default(),
        }))
    }
}

impl ingest::Publication for Publication {
    fn open(&self, first: WallTime) -> Option<Timeline> {
        let mut line = self.line.lock().unwrap_or_else(|e| e.into_inner());
        Some(*line.get_or_insert(Timeline::starting(first)))
    }

    fn feed(&self) -> &Producer {
        &self.feed
    }

    fn left(&self, _: ingest::Left) {}
}

async fn read(mut feed: Consumer, latencies: Arc<Mutex<Vec<f64>>>) {
    while let Ok(Some(record)) = feed.next().await {
        let Record::Frame(frame) = record else { continue };
        if let Some(sent) = stamp(&frame.payload) {
            let ms = nanos().saturating_sub(sent) as f64 / 1e6;
            latencies.lock().unwrap_or_else(|e| e.into_inner()).push(ms);
        }
    }
}

/// Of a picture; sound has none.
fn stamp(unit: &[u8]) -> Option<u64> {
    let slice = unit
        .windows(6)
        .position(|w| w[..4] == [0, 0, 0, 1] && matches!(w[4], 0x65 | 0x41) && w[5] == 0x88)?;
    let digits = unit.get(slice + 6..slice + 22)?;
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}
