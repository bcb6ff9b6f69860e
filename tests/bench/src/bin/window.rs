//! What a live reload costs when the lecture has run for a minute, an hour, eight hours. The lecture's clock is
//! simulated: its frames come as fast as they can be packaged.

use std::sync::Arc;
use std::time::Instant;

use anyhow::ensure;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use bench::media::Ladder;
use bench::process::memory;
use bench::{BROADCAST, Void, quantile};
use clap::Parser;
use packager::{Config, Origin};
use timeline::feed::{Policy, Producer, Record};
use timeline::{Grid, PartIndex, Timeline, WallTime};
use tower::ServiceExt;

/// Parts that are looked at closely: ten segments.
const MEASURED: u32 = 160;

#[derive(Parser)]
#[command(about = "What a live reload costs as the DVR window grows")]
struct Args {
    /// How long the lecture is: minutes, each of which is measured.
    #[arg(long, value_delimiter = ',', default_value = "1,60,480")]
    minutes: Vec<u32>,
}

/// What one part costs: the median over the parts measured, so that what else the machine does falls out.
struct Cost {
    /// To take its frames, write the boxes and make a version of each playlist; and the first reload of each (a
    /// delta update, gzipped). Microseconds, as all of these.
    part: f64,
    /// The same for the dearest parts but a few (of sixteen one closes a segment): one of those that close a segment.
    closing: f64,
    /// A reload of a version that somebody had before: what each further viewer costs.
    reload: f64,
    /// The whole playlist, gzipped, as a player asks for it when it joins.
    join: f64,
    /// Bytes of a reload, and of the whole playlist.
    delta: usize,
    whole: usize,
}

struct Bench {
    router: Router,
    feed: Producer,
    ladder: Ladder,
    playlists: Vec<String>,
}

// One thread: what it uses is what it costs.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut bench = Bench::begin();
    println!(
        "| minutes of DVR | part and first reloads, µs | with a segment closed, µs | reload, µs | reload, bytes | join, µs | whole playlist, bytes | memory, MiB | since the last, MiB/h |"
    );
    println!("|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    let mut told: Vec<(f64, f64)> = Vec::new();
    let mut before: Option<(f64, f64)> = None;
    for minutes in &args.minutes {
        bench.run_until(f64::from(*minutes) * 60.0).await?;
        let cost = bench.measure().await?;
        let (hours, mib) = (
            f64::from(*minutes) / 60.0,
            memory(std::process::id())? as f64 / f64::from(1 << 20),
        );
        let growth = before.map(|(then, had)| (mib - had) / (hours - then));
        let growth = growth.map_or("".to_owned(), |growth| format!("{growth:.2}"));
        before = Some((hours, mib));
        println!(
            "| {minutes} | {:.0} | {:.0} | {:.1} | {} | {:.0} | {} | {mib:.0} | {growth} |",
            cost.part, cost.closing, cost.reload, cost.delta, cost.join, cost.whole
        );
        told.push((cost.part, cost.reload));
    }
    if let (Some(first), Some(last)) = (told.first(), told.last()) {
        println!(
            "\nlast / first: part and first reloads {:.2}, reload {:.2} (goal: at most 1.2)",
            last.0 / first.0,
            last.1 / first.1
        );
    }
    Ok(())
}

impl Bench {
    fn begin() -> Bench {
        let grid = Grid::default();
        // Small frames: their bytes are copied the same in every minute.
        let ladder = Ladder::new(grid, vec![100, 100, 100]);
        let origin = Origin::new(Config::default(), Arc::new(Void));
        let feed = Producer::new();
        let renditions = ladder.renditions();
        let playlists = renditions
            .iter()
            .map(|of| format!("/broadcasts/{BROADCAST}/{}/index.m3u8", of.name));
        let playlists = playlists.collect();
        for rendition in renditions {
            feed.send(Record::Rendition(rendition));
        }
        let timeline = Timeline::starting(WallTime::from_unix_millis(1_760_000_000_000));
        let id = BROADCAST.parse().expect("it is an id");
        tokio::spawn(origin.package(id, timeline, grid, feed.subscribe(Policy::Line)));
        Bench {
            router: origin.router(),
            feed,
            ladder,
            playlists,
        }
    }

    /// Lets the lecture run to this moment, in seconds; a segment at a time, so that the feed does not overflow.
    async fn run_until(&mut self, seconds: f64) -> anyhow::Result<()> {
        let grid = Grid::default();
        while grid.part_start(self.ladder.next()).as_secs_f64() < seconds {
            let mut last = self.ladder.part(&self.feed);
            // The last one of the segment is too far ahead to be asked for at once. (In the first segment all wait.)
            if last.msn > 0 {
                self.reload(0, last).await?;
            }
            while self.ladder.next().part != 0 {
                last = self.ladder.part(&self.feed);
            }
            self.reload(0, last).await?;
        }
        Ok(())
    }

    async fn measure(&mut self) -> anyhow::Result<Cost> {
        let (mut parts, mut reloads, mut joins) = (Vec::new(), Vec::new(), Vec::new());
        let (mut delta, mut whole) = (0, 0);
        for _ in 0..MEASURED {
            let start = Instant::now();
            let part = self.ladder.part(&self.feed);
            for n in 0..self.playlists.len() {
                delta = self.reload(n, part).await?;
            }
            parts.push(micros(start));
            let start = Instant::now();
            for n in 0..self.playlists.len() {
                self.reload(n, part).await?;
            }
            reloads.push(micros(start) / self.playlists.len() as f64);
            let start = Instant::now();
            whole = self.get(&self.playlists[0]).await?;
            joins.push(micros(start));
        }
        for costs in [&mut parts, &mut reloads, &mut joins] {
            costs.sort_by(f64::total_cmp);
        }
        let [part, reload, join] = [&parts, &reloads, &joins].map(|costs| quantile(costs, 0.5));
        Ok(Cost {
            part,
            closing: quantile(&parts, 0.97),
            reload,
            join,
            delta,
            whole,
        })
    }

    /// A reload as hls.js asks for it, held until the part is there. Gives its bytes.
    async fn reload(&self, playlist: usize, PartIndex { msn, part }: PartIndex) -> anyhow::Result<usize> {
        let path = &self.playlists[playlist];
        self.get(&format!("{path}?_HLS_msn={msn}&_HLS_part={part}&_HLS_skip=YES"))
            .await
    }

    async fn get(&self, path: &str) -> anyhow::Result<usize> {
        let request = Request::get(path)
            .header("accept-encoding", "gzip")
            .body(Body::empty())?;
        let answer = self.router.clone().oneshot(request).await?;
        ensure!(answer.status() == StatusCode::OK, "{path}: {}", answer.status());
        Ok(to_bytes(answer.into_body(), usize::MAX).await?.len())
    }
}

fn micros(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e6
}
