//! `lectern publish`: a real WHIP publisher with a synthetic lecture, for demos, tests and benchmarks.

use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use ingest::client;
use timeline::Timeline;
use timeline::feed::{Policy, Producer};
use tokio_util::sync::CancellationToken;

use crate::{cli, clock};

/// A server that restarts is back sooner than this; one that stays away for longer is given up.
const GIVE_UP: Duration = Duration::from_secs(60);

const RETRY: Duration = Duration::from_secs(1);

#[derive(Args)]
pub struct Publish {
    /// The WHIP endpoint: http://localhost:8080/whip/algebra-1
    #[arg(long)]
    url: String,
    /// A host's token for the broadcast.
    #[arg(long, env = "LECTERN_TOKEN", hide_env_values = true)]
    token: String,
    /// The size of the picture.
    #[arg(long, default_value = "1280x720", value_parser = parse_size)]
    size: (usize, usize),
    /// The rate of the picture in kbit/s.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(100..=20_000))]
    bitrate: u32,
    /// Stop after this long: 30s, 10m, 2h. Without it, at Ctrl-C.
    #[arg(long = "for", value_parser = cli::parse_span)]
    duration: Option<Duration>,
}

impl Publish {
    pub async fn run(self) -> anyhow::Result<()> {
        let stop = CancellationToken::new();
        tokio::spawn(stop_when_asked(stop.clone(), self.duration));
        let timeline = Timeline::starting(clock::now());
        let feed = Producer::new();
        let (width, height) = self.size;
        let lecture = transcoder::lecture::Config {
            width,
            height,
            bitrate_kbps: self.bitrate,
            ..transcoder::lecture::Config::new(timeline)
        };
        let lecture = transcoder::lecture::lecture(lecture, feed.clone(), stop.clone());
        tokio::select! {
            made = lecture => made.context("the lecture cannot be made")?,
            sent = self.send(timeline, &feed, &stop) => sent?,
        }
        Ok(())
    }

    /// Publishes, and publishes again when the connection is lost.
    async fn send(
        &self,
        timeline: Timeline,
        feed: &Producer,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let mut config = client::Config::new(self.url.clone(), timeline);
        config.token = Some(self.token.clone());
        let mut lost_since = None;
        loop {
            let started = tokio::time::Instant::now();
            let sent = client::publish(config.clone(), feed.subscribe(Policy::Line), stop.clone()).await;
            let error = match sent {
                Ok(()) => return Ok(()),
                Err(error) if is_final(&error, config.replaces.is_some()) => bail!(error),
                Err(error) => error,
            };
            if let client::Error::Lost { session } = &error {
                // The server may still take the lost session for the living one.
                config.replaces.clone_from(session);
            }
            if started.elapsed() > GIVE_UP {
                lost_since = None;
            }
            if lost_since.get_or_insert(started).elapsed() > GIVE_UP {
                bail!("gave up after {} s: {error}", GIVE_UP.as_secs());
            }
            tracing::warn!("{error}; trying again");
            tokio::select! {
                () = tokio::time::sleep(RETRY) => {}
                () = stop.cancelled() => return Ok(()),
            }
        }
    }
}

/// Whether trying again cannot help. Somebody who returns may find their own former session in the way.
fn is_final(error: &client::Error, returning: bool) -> bool {
    use client::Error::{BadAnswer, BadToken, BadUrl, Refused, UnsupportedCodec};
    match error {
        BadUrl { .. } | BadToken | UnsupportedCodec(_) | BadAnswer(_) => true,
        Refused { status: 409, .. } => !returning,
        Refused { status, .. } => (400..500).contains(status) && *status != 429,
        _ => false,
    }
}

async fn stop_when_asked(stop: CancellationToken, duration: Option<Duration>) {
    let over = async {
        match duration {
            Some(duration) => tokio::time::sleep(duration).await,
            None => std::future::pending().await,
        }
    };
    let mut terminate = match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(signal) => signal,
        Err(error) => return tracing::error!("cannot listen for SIGTERM: {error}"),
    };
    tokio::select! {
        () = over => {}
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    stop.cancel();
}

/// `1280x720`; the lecture itself says what it cannot draw.
fn parse_size(text: &str) -> Result<(usize, usize), String> {
    let size = text
        .split_once('x')
        .and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
    match size {
        Some((w, h)) if w <= 1920 && h <= 1080 => Ok((w, h)),
        _ => Err("width x height up to 1920x1080, such as 1280x720".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_bounded() {
        assert_eq!(parse_size("1280x720"), Ok((1280, 720)));
        for bad in ["", "x", "1280", "99999x720", "-2x4"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }
}
