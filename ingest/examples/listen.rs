//! A WHIP server that says what it hears: for trying publishers by hand.
//!
//! `cargo run -p ingest --example listen -- 127.0.0.1:8088 [udp address] [folder for the video]`
//! then publish to `http://127.0.0.1:8088/whip/anything` with any token.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use ingest::{Config, Door, Grant, Ingest, Left, Publication, Refusal};
use timeline::feed::{Consumer, Policy, Producer, Record};
use timeline::{BroadcastId, Codec, SourceName, Timeline, TrackId, WallTime};

struct Open {
    folder: Option<PathBuf>,
}

struct Listener {
    feed: Producer,
    line: Mutex<Option<Timeline>>,
}

#[async_trait]
impl Door for Open {
    async fn authorize(
        &self,
        _: &BroadcastId,
        bearer: Option<&str>,
        source: Option<&SourceName>,
    ) -> Result<Grant, Refusal> {
        let token = bearer.ok_or_else(|| Refusal::Unauthorized("any token will do".into()))?;
        Ok(Grant {
            person: token.into(),
            name: token.into(),
            source: source.cloned().unwrap_or_default(),
            invitation: None,
        })
    }

    async fn admit(&self, _: &BroadcastId, _: &Grant) -> Result<Arc<dyn Publication>, Refusal> {
        let feed = Producer::new();
        let listener = Arc::new(Listener {
            feed: feed.clone(),
            line: Mutex::default(),
        });
        tokio::spawn(report(
            feed.subscribe(Policy::Tap),
            listener.clone(),
            self.folder.clone(),
        ));
        Ok(listener)
    }
}

impl Publication for Listener {
    fn open(&self, first: WallTime) -> Option<Timeline> {
        let mut line = self.line.lock().unwrap_or_else(|e| e.into_inner());
        Some(*line.get_or_insert(Timeline::starting(first)))
    }

    fn feed(&self) -> &Producer {
        &self.feed
    }

    fn left(&self, how: Left) {
        println!("left: {how:?}");
    }
}

#[derive(Default)]
struct Heard {
    codec: Option<Codec>,
    frames: u64,
    keyframes: u64,
    bytes: usize,
    late_ms: Vec<f64>,
    gaps_ms: Vec<f64>,
    last: Option<f64>,
    file: Option<File>,
}

async fn report(mut feed: Consumer, listener: Arc<Listener>, folder: Option<PathBuf>) {
    let mut tracks = HashMap::<TrackId, Heard>::new();
    let (mut heard, mut said) = (0, Instant::now());
    while let Ok(Some(record)) = feed.next().await {
        match record {
            Record::Track(track) => {
                println!("track {} {}", track.id, track.codec.name());
                let file = folder
                    .as_ref()
                    .filter(|_| track.codec.is_video())
                    .and_then(|folder| {
                        File::create(folder.join(format!("{}.{}", track.id, track.codec.name()))).ok()
                    });
                tracks.insert(
                    track.id,
                    Heard {
                        codec: Some(track.codec),
                        file,
                        ..Heard::default()
                    },
                );
            }
            Record::Frame(frame) => {
                let Some(track) = tracks.get_mut(&frame.track) else {
                    continue;
                };
                let line = *listener.line.lock().unwrap_or_else(|e| e.into_inner());
                let captured = line.map_or(0, |line| line.wall(frame.at).unix_nanos());
                let now = WallTime::from(SystemTime::now()).unix_nanos();
                track.late_ms.push((now - captured) as f64 / 1e6);
                let at = frame.at.as_secs_f64() * 1e3;
                track.gaps_ms.extend(track.last.replace(at).map(|last| at - last));
                track.frames += 1;
                track.keyframes += u64::from(frame.keyframe);
                track.bytes += frame.payload.len();
                if let Some(file) = &mut track.file {
                    let _ = file.write_all(&frame.payload);
                }
            }
            Record::TrackEnded(id) => println!("track {id} ended"),
            Record::Heard { .. } => heard += 1,
            other => println!("{other:?}"),
        }
        if said.elapsed() >= Duration::from_secs(2) {
            said = Instant::now();
            say(&mut tracks, heard);
        }
    }
}

fn say(tracks: &mut HashMap<TrackId, Heard>, heard: u32) {
    for (id, t) in tracks.iter_mut() {
        let (late, gaps) = (spread(&mut t.late_ms), spread(&mut t.gaps_ms));
        let name = t.codec.map_or("", Codec::name);
        println!(
            "track {id} {name}: {} frames, {} keyframes, {} kB; ms since capture {late}; ms between frames {gaps}; heard {heard}",
            t.frames,
            t.keyframes,
            t.bytes / 1000
        );
    }
}

/// Least, median and most.
fn spread(values: &mut Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    let at = |n: usize| values.get(n).copied().unwrap_or(f64::NAN);
    let text = format!(
        "{:.1}/{:.1}/{:.1}",
        at(0),
        at(values.len() / 2),
        at(values.len().saturating_sub(1))
    );
    values.clear();
    text
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .init();
    let mut args = std::env::args().skip(1);
    let http: SocketAddr = args.next().as_deref().unwrap_or("127.0.0.1:8088").parse()?;
    let udp = vec![args.next().as_deref().unwrap_or("127.0.0.1:8189").parse()?];
    let folder = args.next().map(PathBuf::from);
    let advertise_port = std::env::var("ADVERTISE_PORT")
        .ok()
        .map(|port| port.parse())
        .transpose()?;
    let config = Config {
        udp,
        advertise_port,
        ..Config::default()
    };
    let ingest = Ingest::bind(config, Arc::new(Open { folder })).await?;
    let listener = tokio::net::TcpListener::bind(http).await?;
    println!(
        "http://{}/whip/anything, media on UDP {}",
        listener.local_addr()?,
        ingest.udp()[0].port()
    );
    axum::serve(listener, ingest.router()).await?;
    Ok(())
}
