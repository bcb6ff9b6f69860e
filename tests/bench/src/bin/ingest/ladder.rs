//! The whole server against one ffmpeg process: the same ladder from the same file.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use bench::client::Client;
use bench::{BROADCAST, process};
use timeline::feed::{Policy, Producer};
use timeline::{Timeline, WallTime};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::lecture::Lecture;

const RUNGS: [(u32, u32); 4] = [(1080, 4500), (720, 2500), (480, 1100), (360, 600)];
/// Encoders and rate controls settle.
const SETTLE: Duration = Duration::from_secs(5);
/// A part that does not come within this is not coming.
const PATIENCE: Duration = Duration::from_secs(60);

const SLOTS_PER_SECOND: f64 = 30.0;

/// Processor time per second of lecture.
pub struct Cost {
    pub cpu: f64,
    /// Of the best rung's slots: how many were copied.
    pub copied: f64,
}

/// A server with one lecture on air.
pub struct OnAir {
    server: Child,
    address: SocketAddr,
    stop: CancellationToken,
    _folder: tempfile::TempDir,
}

impl OnAir {
    /// Publishes the lecture to a server of its own, until its ladder is on the line. The publisher `answers` requests for
    /// keyframes, or has its own alone.
    pub async fn begin(lecture: &Arc<Lecture>, passthrough: &str, answers: bool) -> anyhow::Result<OnAir> {
        let folder = tempfile::tempdir()?;
        let config = folder.path().join("lectern.toml");
        std::fs::write(&config, configuration(passthrough))?;
        let program = std::env::var("BENCH_LECTERN").unwrap_or("target/release/lectern".into());
        let mut server = Command::new(&program)
            .args(["serve", "--listen", "127.0.0.1:0", "--config"])
            .arg(&config)
            .arg("--data")
            .arg(folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot run {program}"))?;
        let address = listening(&mut server).await?;
        let token = Command::new(&program)
            .args(["token", "--broadcast", BROADCAST, "--role", "host", "--config"])
            .arg(&config)
            .arg("--data")
            .arg(folder.path())
            .output()
            .await?;
        let token = String::from_utf8(token.stdout)?.trim().to_owned();
        let stop = CancellationToken::new();
        tokio::spawn(publish(lecture.clone(), answers, address, token, stop.clone()));
        let on_air = OnAir {
            server,
            address,
            stop,
            _folder: folder,
        };
        on_air.next_part(0).await?;
        Ok(on_air)
    }

    pub async fn cost(&self, seconds: u32) -> anyhow::Result<Cost> {
        let pid = self.server.id().context("the server ended")?;
        sleep(SETTLE).await;
        let copied = self.copied().await?;
        let mut cost = measured(pid, seconds).await?;
        cost.copied = (self.copied().await? - copied) / (f64::from(seconds) * SLOTS_PER_SECOND);
        Ok(cost)
    }

    /// Slots of the best rung that were copied so far.
    async fn copied(&self) -> anyhow::Result<f64> {
        let text = Client::text(self.address, "/metrics").await?;
        let line = text
            .lines()
            .find(|line| line.starts_with("lectern_transcoder_copied_pictures_total{"));
        // None was.
        let value = line
            .and_then(|line| line.rsplit_once(' '))
            .map_or("0", |(_, value)| value);
        Ok(value.parse()?)
    }

    /// Kills the transcoder's process with this signal; gives how long no part came then.
    pub async fn recovery(&self, signal: &str) -> anyhow::Result<Duration> {
        let before = self.next_part(0).await?;
        let server = self.server.id().context("the server ended")?;
        let child = busiest(process::children(server)?).context("no transcoder")?;
        let sent = Command::new("kill")
            .args([signal, &child.to_string()])
            .status()
            .await?;
        ensure!(sent.success(), "kill {signal} {child}");
        let (mut newest, mut last, mut longest) = (before, Instant::now(), Duration::ZERO);
        // Two seconds of parts beyond the fault.
        while newest < before + 10 {
            newest = self.next_part(newest).await?;
            longest = longest.max(last.elapsed());
            last = Instant::now();
        }
        Ok(longest)
    }

    pub async fn end(mut self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.server.kill().await?;
        Ok(())
    }

    /// How many parts the line has, once there are more than `known`.
    async fn next_part(&self, known: usize) -> anyhow::Result<usize> {
        let since = Instant::now();
        loop {
            let path = format!("/broadcasts/{BROADCAST}/360p/index.m3u8");
            if let Ok(text) = Client::text(self.address, &path).await
                && let Some(parts) = parts(&text).filter(|parts| *parts > known)
            {
                return Ok(parts);
            }
            ensure!(since.elapsed() < PATIENCE, "no part came for {PATIENCE:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// What one ffmpeg process costs that reads the file in real time and writes the same ladder as HLS.
pub async fn reference(lecture: &Lecture, seconds: u32) -> anyhow::Result<Cost> {
    let folder = tempfile::tempdir()?;
    let mut command = Command::new("ffmpeg");
    command.args(["-y", "-loglevel", "error", "-re", "-stream_loop", "-1", "-i"]);
    command.arg(&lecture.file);
    let outputs: String = (0..RUNGS.len()).map(|n| format!("[c{n}]")).collect();
    let scales: String = (0..RUNGS.len())
        .map(|n| format!(";[c{n}]scale=-2:{}:flags=bilinear[v{n}]", RUNGS[n].0))
        .collect();
    command.args([
        "-filter_complex",
        &format!("[0:v]split={}{outputs}{scales}", RUNGS.len()),
    ]);
    for (n, (_, kbps)) in RUNGS.iter().enumerate() {
        command.args([
            "-map",
            &format!("[v{n}]"),
            &format!("-b:v:{n}"),
            &format!("{kbps}k"),
        ]);
        command.args([&format!("-maxrate:v:{n}"), &format!("{}k", kbps * 5 / 4)]);
        command.args([&format!("-bufsize:v:{n}"), &format!("{kbps}k")]);
    }
    command.args([
        "-map",
        "0:a",
        "-c:v",
        "libx264",
        "-preset",
        "veryfast",
        "-tune",
        "zerolatency",
    ]);
    command.args([
        "-g",
        "48",
        "-keyint_min",
        "48",
        "-sc_threshold",
        "0",
        "-c:a",
        "aac",
        "-b:a",
        "128k",
    ]);
    command.args([
        "-f",
        "hls",
        "-hls_time",
        "3.2",
        "-hls_segment_type",
        "fmp4",
        "-hls_flags",
        "delete_segments",
    ]);
    command.args([
        "-var_stream_map",
        "v:0,agroup:a v:1,agroup:a v:2,agroup:a v:3,agroup:a a:0,agroup:a",
    ]);
    command.arg(folder.path().join("v%v.m3u8"));
    let mut ffmpeg = command.kill_on_drop(true).spawn().context("cannot run ffmpeg")?;
    sleep(SETTLE).await;
    let cost = measured(ffmpeg.id().context("ffmpeg ended")?, seconds).await;
    ffmpeg.kill().await?;
    cost
}

/// The transcoder at work, not the spare that waits.
fn busiest(children: Vec<u32>) -> Option<u32> {
    let cpu = |child: &u32| process::cpu(*child).unwrap_or_default();
    children.into_iter().max_by_key(cpu)
}

async fn measured(pid: u32, seconds: u32) -> anyhow::Result<Cost> {
    let (before, since) = (process::cpu(pid)?, Instant::now());
    sleep(Duration::from_secs(seconds.into())).await;
    let cpu = process::cpu(pid)? - before;
    Ok(Cost {
        cpu: cpu.as_secs_f64() / since.elapsed().as_secs_f64(),
        copied: 0.0,
    })
}

fn configuration(passthrough: &str) -> String {
    let rung = |(height, kbps): &(u32, u32)| {
        format!("  {{ name = \"{height}p\", height = {height}, bitrate_kbps = {kbps} }},\n")
    };
    let rungs: String = RUNGS.iter().map(rung).collect();
    format!(
        "log = \"warn,lectern=info\"\n[ingest]\nudp = \"127.0.0.1:0\"\n[transcoder]\npassthrough = \"{passthrough}\"\n\
         line_delay_ms = 400\nrungs = [\n{rungs}]\n"
    )
}

async fn listening(server: &mut Child) -> anyhow::Result<SocketAddr> {
    let stdout = server.stdout.take().context("no output")?;
    let mut lines = BufReader::new(stdout).lines();
    while let Some(line) = lines.next_line().await? {
        if let Some((_, url)) = line.split_once("listening on http://") {
            let address = url.split_whitespace().next().unwrap_or(url);
            // What else it says is read, so that it never waits.
            let address = address.parse()?;
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Ok(address);
        }
    }
    anyhow::bail!("the server ended before it listened")
}

async fn publish(
    lecture: Arc<Lecture>,
    answers: bool,
    server: SocketAddr,
    token: String,
    stop: CancellationToken,
) {
    let timeline = Timeline::starting(WallTime::from(std::time::SystemTime::now()));
    let feed = Producer::new();
    let consumer = feed.subscribe(Policy::Line);
    let mut config = ingest::client::Config::new(format!("http://{server}/whip/{BROADCAST}"), timeline);
    config.token = Some(token);
    tokio::select! {
        published = ingest::client::publish(config, consumer, stop) => {
            if let Err(error) = published {
                eprintln!("the publisher stopped: {error}");
            }
        }
        () = lecture.play(feed, timeline, answers) => {}
    }
}

/// Parts of a media playlist's newest segments and all those before.
fn parts(playlist: &str) -> Option<usize> {
    let first: usize = playlist
        .lines()
        .find_map(|line| line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:"))?
        .trim()
        .parse()
        .ok()?;
    let segments = playlist
        .lines()
        .filter(|line| line.starts_with("#EXTINF:"))
        .count();
    let last = playlist.rfind("#EXTINF:").unwrap_or(0);
    let open = playlist[last..].matches("#EXT-X-PART:").count();
    Some((first + segments) * 16 + open)
}
