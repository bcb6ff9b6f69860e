//! What viewers at the live edge cost one origin, and how soon they are woken; beside it the same bytes by nginx as
//! static files, asked for by the same client at the same times.
//!
//! The origin runs in a process of its own (`bench-origin serve`): the packager behind the server's own stack, fed in
//! real time. The client is one thread. Where the machine has two cores, the two share them, and what the client
//! takes is told.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use axum::serve::ListenerExt;
use bench::client::Client;
use bench::media::Ladder;
use bench::nginx::Nginx;
use bench::{BROADCAST, Void, process, quantile};
use clap::Parser;
use packager::{Config, Origin};
use timeline::feed::{Policy, Producer, Record};
use timeline::{Grid, PartIndex, Timeline, WallTime};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

/// Renditions a viewer plays: the picture and the sound.
const WATCHED: [&str; 2] = ["v1", "audio"];
/// Connections that are opened in one go: less than a listener's backlog.
const AT_ONCE: usize = 200;
/// Parts that nginx is given: more than its client is apart.
const KEPT_PARTS: u32 = 32;
/// Before anything is measured: one segment is whole, connections are open, caches are warm.
const WARM_UP: Duration = Duration::from_secs(2);

#[derive(Parser)]
#[command(about = "What viewers at the live edge cost one origin, beside nginx with static files")]
struct Args {
    #[command(subcommand)]
    serve: Option<Serve>,
    /// Viewers: each reloads two playlists and loads their parts, five times a second.
    #[arg(long, default_value_t = 400)]
    viewers: usize,
    /// Requests that wait for the same part.
    #[arg(long, default_value_t = 10_000)]
    blocked: usize,
    /// How often they are woken.
    #[arg(long, default_value_t = 10)]
    wakes: usize,
    /// How long viewers are measured, in seconds.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    #[command(flatten)]
    media: Media,
}

#[derive(clap::Args, Clone, Copy)]
struct Media {
    /// The rate of the picture in kbit/s; the sound has 128.
    #[arg(long, global = true, default_value_t = 1_100)]
    kbps: u32,
}

#[derive(clap::Subcommand)]
enum Serve {
    /// The origin alone; tells its address and every part it publishes.
    Serve,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    match args.serve {
        Some(Serve::Serve) => tokio::runtime::Runtime::new()?.block_on(serve(args.media)),
        // One thread, so that a client never takes more than one core.
        None => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(measure(args)),
    }
}

// The origin.

async fn serve(media: Media) -> anyhow::Result<()> {
    let config = Config {
        max_blocked_requests: 100_000,
        ..Config::default()
    };
    let origin = Origin::new(config, Arc::new(Void));
    let feed = Producer::new();
    let ladder = Ladder::new(Grid::default(), vec![media.kbps]);
    for rendition in ladder.renditions() {
        feed.send(Record::Rendition(rendition));
    }
    let (timeline, line) = (
        Timeline::starting(WallTime::from(SystemTime::now())),
        feed.subscribe(Policy::Line),
    );
    tokio::spawn(origin.package(BROADCAST.parse()?, timeline, Grid::default(), line));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("listening {}", listener.local_addr()?);
    // As `lectern serve` does it.
    let listener = listener.tap_io(|tcp| {
        let _ = tcp.set_nodelay(true);
    });
    tokio::spawn(publish(ladder, feed));
    Ok(axum::serve(listener, origin.router()).await?)
}

/// A part when its time has come. The clock runs from before the first frame of a part is handed over: packaging it
/// is part of waking those who wait for it.
async fn publish(mut ladder: Ladder, feed: Producer) {
    let (start, grid) = (Instant::now(), Grid::default());
    loop {
        let next = grid.next_part(ladder.next());
        sleep_until(start + Duration::from_secs_f64(grid.part_start(next).as_secs_f64())).await;
        let now = unix_micros();
        let PartIndex { msn, part } = ladder.part(&feed);
        println!("part {msn} {part} {now}");
    }
}

fn unix_micros() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_micros() as u64)
}

// The client.

/// When each part was handed to the packager: Unix microseconds.
type Published = Arc<Mutex<HashMap<PartIndex, u64>>>;

struct Server {
    process: Child,
    pid: u32,
    address: SocketAddr,
    published: Published,
}

impl Server {
    async fn start(media: Media) -> anyhow::Result<Server> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["serve", "--kbps", &media.kbps.to_string()])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut lines = BufReader::new(process.stdout.take().context("no stdout")?).lines();
        let first = lines.next_line().await?.context("the origin left")?;
        let address = first.strip_prefix("listening ").context("no address")?.parse()?;
        let published = Published::default();
        let notes = published.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let words: Vec<u64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
                if let [msn, part, at] = words[..]
                    && let Ok(mut published) = notes.lock()
                {
                    let part = part as u32;
                    published.insert(PartIndex { msn, part }, at);
                }
            }
        });
        Ok(Server {
            pid: process.id().context("the origin left")?,
            process,
            address,
            published,
        })
    }

    /// The part that comes next.
    async fn next(&self) -> anyhow::Result<PartIndex> {
        let playlist = Client::text(self.address, &playlist(WATCHED[0])).await?;
        let hint = playlist
            .split("PRELOAD-HINT:TYPE=PART,URI=\"")
            .nth(1)
            .context("no hint")?;
        let mut numbers = hint.split('.').map(str::parse::<u64>);
        let (Some(Ok(msn)), Some(Ok(part))) = (numbers.next(), numbers.next()) else {
            anyhow::bail!("a strange hint: {hint}");
        };
        let part = part as u32;
        Ok(PartIndex { msn, part })
    }

    /// Milliseconds from the publication of each part to its answer, sorted.
    fn wakes(&self, answers: &[(PartIndex, u64)]) -> Vec<f64> {
        let Ok(published) = self.published.lock() else {
            return Vec::new();
        };
        let since =
            |(part, at): &(PartIndex, u64)| Some((at.saturating_sub(*published.get(part)?)) as f64 / 1e3);
        let mut all: Vec<f64> = answers.iter().filter_map(since).collect();
        all.sort_by(f64::total_cmp);
        all
    }
}

/// What a server and its client used while so many requests were answered.
struct Used {
    requests: usize,
    bytes: usize,
    seconds: f64,
    server: f64,
    client: f64,
}

impl Used {
    fn per_core(&self) -> f64 {
        self.requests as f64 / self.server
    }
}

async fn measure(args: Args) -> anyhow::Result<()> {
    let mut server = Server::start(args.media).await?;
    // Answered once a segment is whole.
    Client::text(server.address, &playlist(WATCHED[0])).await?;

    if args.viewers > 0 {
        viewers(&server, &args).await?;
    }
    if args.blocked > 0 {
        blocked(&server, &args).await?;
    }
    server.process.kill().await?;
    Ok(())
}

async fn viewers(server: &Server, args: &Args) -> anyhow::Result<()> {
    println!("## {} viewers, {} s\n", args.viewers, args.seconds);
    let empty = process::memory(server.pid)?;
    let (ours, wakes, memory) = watch_origin(server, args).await?;
    let folder = tempfile::tempdir()?;
    keep(server, folder.path()).await?;
    let nginx = Nginx::serve(folder.path())?;
    let theirs = watch_nginx(&nginx, args).await?;
    drop(nginx);
    println!("| | requests/s | MB/s | server CPU | client CPU | requests per CPU second | CPU per viewer |");
    println!("|---|---:|---:|---:|---:|---:|---:|");
    tell("origin, blocking", &ours, args.viewers);
    tell("nginx, static files", &theirs, args.viewers);
    println!(
        "\norigin / nginx, requests per core: {:.2} (goal: at least 1.0)",
        ours.per_core() / theirs.per_core()
    );
    tell_wakes(
        "from the last frame of a part to its playlist at the viewer",
        &wakes,
    );
    tell_memory(memory.saturating_sub(empty), args.viewers);
    Ok(())
}

async fn blocked(server: &Server, args: &Args) -> anyhow::Result<()> {
    println!(
        "\n## {} blocked requests, woken {} times\n",
        args.blocked, args.wakes
    );
    let empty = process::memory(server.pid)?;
    let (used, wakes, memory) = wake(server, args).await?;
    tell_wakes(
        "from the last frame of a part to the answer at the client (goal: p99 at most 50 ms)",
        &wakes,
    );
    println!(
        "CPU of one wake: origin {:.0} ms, client {:.0} ms; {:.1} µs of the origin for each request",
        used.server / args.wakes as f64 * 1e3,
        used.client / args.wakes as f64 * 1e3,
        used.server / used.requests as f64 * 1e6,
    );
    tell_memory(memory.saturating_sub(empty), args.blocked);
    Ok(())
}

fn tell(who: &str, used: &Used, viewers: usize) {
    let share = |cpu: f64| format!("{:.0} %", cpu / used.seconds * 100.0);
    println!(
        "| {who} | {:.0} | {:.0} | {} | {} | {:.0} | {:.3} % |",
        used.requests as f64 / used.seconds,
        used.bytes as f64 / used.seconds / 1e6,
        share(used.server),
        share(used.client),
        used.per_core(),
        used.server / used.seconds / viewers as f64 * 100.0,
    );
}

fn tell_wakes(what: &str, sorted: &[f64]) {
    let [p50, p99, max] = [0.5, 0.99, 1.0].map(|q| quantile(sorted, q));
    println!(
        "{what}: p50 {p50:.1} ms, p99 {p99:.1} ms, max {max:.1} ms (n = {})",
        sorted.len()
    );
}

fn tell_memory(bytes: u64, viewers: usize) {
    println!(
        "memory: {:.1} KB for each of them",
        bytes as f64 / viewers as f64 / 1e3
    );
}

async fn connections(to: SocketAddr, count: usize) -> anyhow::Result<Vec<Client>> {
    let mut all = Vec::with_capacity(count);
    while all.len() < count {
        let mut some = JoinSet::new();
        for _ in 0..AT_ONCE.min(count - all.len()) {
            some.spawn(Client::connect(to));
        }
        for client in some.join_all().await {
            all.push(client?);
        }
    }
    Ok(all)
}

/// What a loop of one viewer's brought between two moments.
#[derive(Default)]
struct Brought {
    requests: usize,
    bytes: usize,
    /// Playlists: the part that each was asked for, and when it came.
    answers: Vec<(PartIndex, u64)>,
}

/// While it is to be measured.
#[derive(Clone, Copy)]
struct Span {
    from: Instant,
    until: Instant,
}

impl Span {
    fn of(seconds: u64) -> Span {
        let from = Instant::now() + WARM_UP;
        Span {
            from,
            until: from + Duration::from_secs(seconds),
        }
    }

    fn now(&self) -> bool {
        (self.from..self.until).contains(&Instant::now())
    }
}

impl Brought {
    async fn get(&mut self, client: &mut Client, path: &str, span: &Span) -> anyhow::Result<()> {
        let answer = client.get(path).await?;
        ensure!(answer.status == 200, "{path}: {}", answer.status);
        if span.now() {
            self.requests += 1;
            self.bytes += answer.bytes;
        }
        Ok(())
    }
}

async fn watch_origin(server: &Server, args: &Args) -> anyhow::Result<(Used, Vec<f64>, u64)> {
    let clients = connections(server.address, args.viewers * WATCHED.len()).await?;
    let (first, span) = (server.next().await?, Span::of(args.seconds));
    let mut loops = JoinSet::new();
    for (n, mut client) in clients.into_iter().enumerate() {
        let (rendition, mut next) = (WATCHED[n % WATCHED.len()], first);
        loops.spawn(async move {
            let mut brought = Brought::default();
            while Instant::now() < span.until {
                brought.get(&mut client, &reload(rendition, next), &span).await?;
                if span.now() {
                    brought.answers.push((next, unix_micros()));
                }
                brought.get(&mut client, &part(rendition, next), &span).await?;
                next = Grid::default().next_part(next);
            }
            anyhow::Ok(brought)
        });
    }
    let (used, answers, memory) = gather(server.pid, span, loops).await?;
    Ok((used, server.wakes(&answers), memory))
}

/// Playlist and part, five times a second, whenever a part would have come.
async fn watch_nginx(nginx: &Nginx, args: &Args) -> anyhow::Result<Used> {
    let clients = connections(nginx.address, args.viewers * WATCHED.len()).await?;
    let (span, every) = (Span::of(args.seconds), Grid::default().part().to_duration());
    let mut loops = JoinSet::new();
    for (n, mut client) in clients.into_iter().enumerate() {
        let rendition = WATCHED[n % WATCHED.len()];
        loops.spawn(async move {
            let mut brought = Brought::default();
            for tick in 0.. {
                sleep_until(span.from - WARM_UP + every * tick).await;
                if Instant::now() >= span.until {
                    break;
                }
                let index = PartIndex {
                    msn: 0,
                    part: tick % KEPT_PARTS,
                };
                brought.get(&mut client, &reload(rendition, index), &span).await?;
                brought.get(&mut client, &part(rendition, index), &span).await?;
            }
            anyhow::Ok(brought)
        });
    }
    Ok(gather(nginx.pid(), span, loops).await?.0)
}

/// Waits for the loops; gives what the span cost the server and us, and the server's memory in it.
async fn gather(
    pid: u32,
    span: Span,
    loops: JoinSet<anyhow::Result<Brought>>,
) -> anyhow::Result<(Used, Vec<(PartIndex, u64)>, u64)> {
    let cpu = || anyhow::Ok((process::cpu(pid)?, process::cpu_alone(std::process::id())?));
    sleep_until(span.from).await;
    let (started, before) = (Instant::now(), cpu()?);
    sleep_until(span.until).await;
    let (seconds, after, memory) = (started.elapsed().as_secs_f64(), cpu()?, process::memory(pid)?);
    let mut used = Used {
        requests: 0,
        bytes: 0,
        seconds,
        server: (after.0 - before.0).as_secs_f64(),
        client: (after.1 - before.1).as_secs_f64(),
    };
    let mut answers = Vec::new();
    for brought in loops.join_all().await {
        let brought = brought?;
        used.requests += brought.requests;
        used.bytes += brought.bytes;
        answers.extend(brought.answers);
    }
    Ok((used, answers, memory))
}

/// Many requests for the same part, which is a second away; then for one a second later. Each waits on a connection
/// of its own, and is asked half a second before it is answered: being woken is measured, not asking.
async fn wake(server: &Server, args: &Args) -> anyhow::Result<(Used, Vec<f64>, u64)> {
    let clients = connections(server.address, args.blocked).await?;
    let grid = Grid::default();
    let later = move |part| (0..5).fold(part, |part, _| grid.next_part(part));
    let (first, span) = (later(later(server.next().await?)), Span::of(args.wakes as u64));
    let mut loops = JoinSet::new();
    for mut client in clients {
        let mut next = first;
        let wakes = args.wakes;
        loops.spawn(async move {
            let mut brought = Brought::default();
            for _ in 0..wakes {
                let answer = client.get(&reload(WATCHED[0], next)).await?;
                ensure!(answer.status == 200, "{}", answer.status);
                brought.answers.push((next, unix_micros()));
                brought.requests += 1;
                next = later(next);
                sleep(Duration::from_millis(400)).await;
            }
            anyhow::Ok(brought)
        });
    }
    let (used, answers, memory) = gather(server.pid, span, loops).await?;
    Ok((used, server.wakes(&answers), memory))
}

/// What nginx is to serve: playlists and parts as the origin sends them.
async fn keep(server: &Server, folder: &std::path::Path) -> anyhow::Result<()> {
    let newest = server.next().await?;
    for rendition in WATCHED {
        let below = folder.join(format!("broadcasts/{BROADCAST}/{rendition}"));
        std::fs::create_dir_all(&below)?;
        let text = Client::body(server.address, &reload(rendition, newest), true).await?;
        std::fs::write(below.join("index.m3u8"), b"for those who do not take gzip")?;
        std::fs::write(below.join("index.m3u8.gz"), text)?;
        let parts = Grid::default().parts_per_segment();
        for n in 0..KEPT_PARTS {
            let whole = PartIndex {
                msn: newest.msn.saturating_sub(1 + u64::from(n / parts)),
                part: n % parts,
            };
            let body = Client::body(server.address, &part(rendition, whole), false).await?;
            std::fs::write(below.join(format!("0.{n}.m4s")), body)?;
        }
    }
    Ok(())
}

fn playlist(rendition: &str) -> String {
    format!("/broadcasts/{BROADCAST}/{rendition}/index.m3u8")
}

/// As hls.js asks for it.
fn reload(rendition: &str, PartIndex { msn, part }: PartIndex) -> String {
    format!("/broadcasts/{BROADCAST}/{rendition}/index.m3u8?_HLS_msn={msn}&_HLS_part={part}&_HLS_skip=YES")
}

fn part(rendition: &str, PartIndex { msn, part }: PartIndex) -> String {
    format!("/broadcasts/{BROADCAST}/{rendition}/{msn}.{part}.m4s")
}
