//! What publishing costs: the whole server against one ffmpeg process, a session without transcoding, and how soon a
//! lecture is back after a fault.

mod ladder;
mod lecture;
mod sessions;

use std::sync::Arc;

use clap::{Parser, Subcommand};

use ladder::OnAir;
use lecture::Lecture;

#[derive(Parser)]
#[command(about = "What a publisher costs, with its ladder and without")]
struct Args {
    /// How long each cost is measured.
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    /// Publishers at once, without transcoding.
    #[arg(long, default_value_t = 16)]
    sessions: usize,
    /// Of each of them.
    #[arg(long, default_value_t = 2500)]
    kbps: u32,
    /// The publishers without transcoding alone.
    #[arg(long)]
    without_ladders: bool,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Subcommand)]
enum Role {
    /// The ingest alone, in a process of its own; not for use by hand.
    #[command(hide = true)]
    Listen,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if let Some(Role::Listen) = args.role {
        return sessions::listen().await;
    }
    if args.without_ladders {
        return publishers(&args).await;
    }
    let folder = tempfile::tempdir()?;
    eprintln!("making a lecture of 1080p30 …");
    let lecture = Arc::new(Lecture::make(folder.path(), 20)?);
    eprintln!(
        "{:.0} s of it; measuring each for {} s",
        lecture.length().as_secs_f64(),
        args.seconds
    );
    ladders(&lecture, args.seconds).await?;
    publishers(&args).await
}

/// The four rungs, by one ffmpeg, by the server, and by the server with the source as its top rung.
async fn ladders(lecture: &Arc<Lecture>, seconds: u32) -> anyhow::Result<()> {
    println!("| 1080p30 into 1080p, 720p, 480p, 360p | cores | of ffmpeg | of the full ladder | copied |");
    println!("|---|---|---|---|---|");
    let ffmpeg = ladder::reference(lecture, seconds).await?.cpu;
    println!("| one ffmpeg process, file to HLS | {ffmpeg:.2} | 1.00 | | |");
    let full = OnAir::begin(lecture, "off", true).await?;
    let cost = full.cost(seconds).await?.cpu;
    println!(
        "| lectern, WHIP to LL-HLS | {cost:.2} | {:.2} | 1.00 | |",
        cost / ffmpeg
    );
    let killed = full.recovery("-KILL").await?;
    let hung = full.recovery("-STOP").await?;
    full.end().await?;
    for (answers, how) in [
        (false, "come each two seconds"),
        (true, "come when it is asked, too"),
    ] {
        let copying = OnAir::begin(lecture, "auto", answers).await?;
        let less = copying.cost(seconds).await?;
        println!(
            "| lectern, the source as top rung; keyframes {how} | {:.2} | {:.2} | {:.2} | {:.0} % |",
            less.cpu,
            less.cpu / ffmpeg,
            less.cpu / cost,
            less.copied * 100.0
        );
        copying.end().await?;
    }
    println!("\n| the transcoder's process | longest wait for a part, ms (200 is none) |\n|---|---|");
    println!("| killed | {:.0} |", killed.as_secs_f64() * 1e3);
    println!("| stopped (hangs) | {:.0} |", hung.as_secs_f64() * 1e3);
    Ok(())
}

async fn publishers(args: &Args) -> anyhow::Result<()> {
    let found = sessions::measure(args.sessions, args.kbps, args.seconds).await?;
    println!(
        "\n| {} publishers of {} kbit/s, without transcoding | |",
        args.sessions, args.kbps
    );
    println!("|---|---|");
    println!("| of one core, for each | {:.2} % |", found.cpu * 100.0);
    println!("| publishers for each core | {:.0} |", 1.0 / found.cpu);
    println!(
        "| handed over → in the feed, p50 | {:.1} ms |",
        found.quantile(0.5)
    );
    println!("| p99 | {:.1} ms |", found.quantile(0.99));
    println!("| pictures | {} |", found.frames);
    Ok(())
}
