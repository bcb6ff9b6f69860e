//! What a room costs: the fan-out to many viewers and the memory of each, beside a bare writer of the same frames
//! (the limit) and beside Socket.IO with its Redis adapter; and how many messages a second are stored and
//! acknowledged.
//!
//! Each server runs in processes of its own, on one processor; the load, one thread, on another. All of them get the
//! same connections and the same messages at the same times.

mod bare;
mod load;
mod servers;
mod ws;

use std::path::PathBuf;
use std::time::Duration;

use bench::{process, quantile};
use clap::Parser;
use load::{Load, Measured, Work};
use servers::{Kind, Server};

/// Descriptors that are not the viewers': of SQLite, Redis, logs.
const OTHER_DESCRIPTORS: u64 = 200;

/// Messages a second that are further apart than ticks, so that each is a frame.
const MAX_RATE: f64 = 16.0;

#[derive(Parser)]
#[command(about = "What a room costs, beside a bare writer and Socket.IO")]
struct Args {
    #[command(subcommand)]
    serve: Option<Serve>,
    /// Connections in the rooms whose fan-out is measured, one message a frame.
    #[arg(long, value_delimiter = ',', default_value = "1000,5000,15000")]
    viewers: Vec<usize>,
    /// Frames that all viewers of such a room together get in a second: about a third of a core.
    #[arg(long, default_value_t = 25_000)]
    deliveries: usize,
    /// Viewers of the large room, which gets four frames a second; 0 leaves it out.
    #[arg(long, default_value_t = 10_000)]
    large: usize,
    /// Writers that have messages stored; 0 leaves it out.
    #[arg(long, default_value_t = 500)]
    writers: usize,
    /// Rooms that they are spread over, after a run in one.
    #[arg(long, default_value_t = 50)]
    rooms: usize,
    /// Messages that each of them has on the way.
    #[arg(long, default_value_t = 8)]
    pipelined: usize,
    /// How long each is measured, in seconds: writers answer no pings, and are let go after some time.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=30))]
    seconds: u64,
    /// How often the fan-out is measured with each server, in turns.
    #[arg(long, default_value_t = 1)]
    runs: usize,
    #[arg(long, value_delimiter = ',', default_value = "bare,lectern,socket-io")]
    servers: Vec<Kind>,
    /// The server that is measured.
    #[arg(long, env = "BENCH_LECTERN", default_value = "target/release/lectern")]
    lectern: PathBuf,
}

#[derive(clap::Subcommand)]
enum Serve {
    /// The bare writer alone; tells its address.
    Bare {
        #[arg(long)]
        tick_ms: u64,
    },
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    match args.serve {
        Some(Serve::Bare { tick_ms }) => tokio::runtime::Runtime::new()?.block_on(bare::serve(tick_ms)),
        // One thread, so that the load never takes more than one core.
        None => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            tokio::task::LocalSet::new().block_on(&runtime, measure(args))
        }
    }
}

async fn measure(args: Args) -> anyhow::Result<()> {
    let descriptors = process::raise_descriptors()?;
    let most = descriptors.saturating_sub(OTHER_DESCRIPTORS) as usize;
    println!("{descriptors} descriptors for each process (the hard limit of nofile)");
    println!("{}", servers::pin_load()?);
    for &viewers in &args.viewers {
        let viewers = fitting(viewers, most);
        let work = Work {
            viewers,
            per_second: (args.deliveries as f64 / viewers as f64).clamp(1.0, MAX_RATE),
            tick: Duration::from_millis(50),
            seconds: args.seconds,
        };
        println!(
            "\n## {viewers} viewers, {:.1} messages a second, each a frame\n",
            work.per_second
        );
        compare(&args, work).await?;
    }
    if args.large > 0 {
        let viewers = fitting(args.large, most);
        println!("\n## {viewers} viewers, 20 messages a second in four frames\n");
        let work = Work {
            viewers,
            per_second: 20.0,
            tick: Duration::from_millis(250),
            seconds: args.seconds,
        };
        compare(&args, work).await?;
    }
    if args.writers > 0 {
        stored(&args, fitting(args.writers, most)).await?;
    }
    Ok(())
}

fn fitting(viewers: usize, most: usize) -> usize {
    if viewers > most {
        println!("\n{viewers} connections are more than nofile allows: {most} instead");
    }
    viewers.min(most)
}

async fn compare(args: &Args, work: Work) -> anyhow::Result<()> {
    println!(
        "| server | frames/s | messages/s | of those offered | CPU per frame | server CPU | load CPU | from the scheduled time p50 / p99 / max | from the tick p50 / p99 | resident per viewer | kernel per viewer, both ends |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    let mut costs: Vec<(Kind, Vec<f64>)> = args.servers.iter().map(|kind| (*kind, Vec::new())).collect();
    for _ in 0..args.runs {
        for (kind, costs) in &mut costs {
            let server = Server::start(*kind, work.tick, &args.lectern).await?;
            let load = Load::ramp(&server, work.viewers).await?;
            let measured = load.fan_out(&server, work).await?;
            tell(kind.name(), &measured, &work);
            costs.push(measured.per_frame());
            server.stop().await?;
        }
    }
    let median = |of: Kind| {
        let mut costs = costs.iter().find(|(kind, _)| *kind == of)?.1.clone();
        costs.sort_by(f64::total_cmp);
        Some(quantile(&costs, 0.5))
    };
    if let (Some(ours), Some(bare)) = (median(Kind::Lectern), median(Kind::Bare)) {
        println!(
            "\nCPU per frame, lectern / bare writer: {:.2} (goal: at most 1.2)",
            ours / bare
        );
    }
    if let (Some(ours), Some(theirs)) = (median(Kind::Lectern), median(Kind::SocketIo)) {
        println!("CPU per frame, Socket.IO / lectern: {:.2}", theirs / ours);
    }
    Ok(())
}

fn tell(who: &str, of: &Measured, work: &Work) {
    let [p50, p99, max] = [0.5, 0.99, 1.0].map(|q| quantile(&of.from_schedule, q));
    let [tick50, tick99] = [0.5, 0.99].map(|q| quantile(&of.from_tick, q));
    println!(
        "| {who} | {:.0} | {:.0} | {:.1} % | {:.2} µs | {:.2} cores | {:.2} cores | {p50:.1} / {p99:.1} / {max:.1} ms | {tick50:.1} / {tick99:.1} ms | {:.1} KB | {:.1} KB |",
        of.frames as f64 / of.seconds,
        of.messages as f64 / of.seconds,
        of.messages as f64 / (of.offered * work.viewers) as f64 * 100.0,
        of.per_frame() * 1e6,
        of.server / of.seconds,
        of.load / of.seconds,
        of.memory / 1e3,
        of.kernel / 1e3,
    );
}

/// Writers of one room are told what all of them write: who has their messages stored fastest spread over rooms.
async fn stored(args: &Args, writers: usize) -> anyhow::Result<()> {
    println!(
        "\n## {writers} writers with {} messages each on the way, SQLite synced at each commit\n",
        args.pipelined
    );
    println!(
        "| rooms | acknowledged a second (goal: at least 5000) | from sent to acknowledged p50 / p99 | server CPU | load CPU |"
    );
    println!("|---:|---:|---:|---:|---:|");
    for rooms in [1, args.rooms] {
        let tick = Duration::from_millis(50);
        let server = Server::with_rooms(Kind::Lectern, tick, &args.lectern, rooms).await?;
        let acks = load::write(&server, writers, args.pipelined, args.seconds).await?;
        let [p50, p99] = [0.5, 0.99].map(|q| quantile(&acks.waited, q));
        println!(
            "| {rooms} | {:.0} | {p50:.0} / {p99:.0} ms | {:.2} cores | {:.2} cores |",
            acks.waited.len() as f64 / acks.seconds,
            acks.server / acks.seconds,
            acks.load / acks.seconds,
        );
        server.stop().await?;
    }
    Ok(())
}
