//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand};
use timeline::{BroadcastId, SourceName};

use crate::auth::{Auth, Grant, Role};
use crate::config::Config;
use crate::tls::Tls;
use crate::{publish, server, sources, telemetry};

/// Live lectures: WHIP in, LL-HLS out, and a room stamped on the media timeline.
#[derive(Parser)]
#[command(version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server: ingest, transcoding, LL-HLS origin, rooms and web pages.
    Serve(Serve),
    /// Print a token, alone, on stdout.
    Token(Token),
    /// Publish a test lecture to a WHIP endpoint: a moving picture with a machine-readable clock, and a beep
    /// each second.
    Publish(publish::Publish),
    /// Read the configuration, print it with its defaults filled in, and exit.
    CheckConfig(Place),
    /// Turn one source into a ladder. Started by `serve`, one for each broadcast on air.
    #[command(hide = true)]
    Transcode,
}

/// Where the configuration and the state are.
#[derive(Args, Clone)]
pub struct Place {
    /// The TOML file with the settings; without it the defaults hold.
    #[arg(long, env = "LECTERN_CONFIG")]
    config: Option<PathBuf>,
    /// The folder that holds all state [default: ./data].
    #[arg(long, env = "LECTERN_DATA")]
    data: Option<PathBuf>,
}

impl Place {
    fn config(&self) -> anyhow::Result<Config> {
        let mut config = Config::load(self.config.as_deref())?;
        if let Some(data) = &self.data {
            config.data.clone_from(data);
        }
        Ok(config)
    }
}

#[derive(Args)]
struct Serve {
    #[command(flatten)]
    place: Place,
    /// The address to serve HTTP on [default: 0.0.0.0:8080].
    #[arg(long, env = "LECTERN_LISTEN")]
    listen: Option<SocketAddr>,
    /// Also publish a synthetic lecture and let a few participants talk.
    #[arg(long)]
    demo: bool,
}

#[derive(Args)]
struct Token {
    #[command(flatten)]
    place: Place,
    /// The broadcast the token is for. An operator's token is for all of them.
    #[arg(long, required_unless_present_any = ["all"])]
    broadcast: Option<BroadcastId>,
    /// What its bearer may do.
    #[arg(long, value_enum)]
    role: Role,
    /// The name shown in the room.
    #[arg(long, default_value = "")]
    name: String,
    /// What a co-host publishes as: at most 20 of a-z, 0-9 and -.
    #[arg(long, required_if_eq("role", "cohost"))]
    source: Option<SourceName>,
    /// How long it is valid: 30m, 12h, 7d.
    #[arg(long, default_value = "12h", value_parser = parse_span)]
    ttl: Duration,
    /// For every broadcast (operators only).
    #[arg(long, conflicts_with = "broadcast")]
    all: bool,
}

impl Cli {
    pub fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Serve(serve) => serve.run(),
            Command::Token(token) => token.run(),
            Command::Publish(publish) => {
                telemetry::logs("info", telemetry::Format::Text)?;
                runtime()?.block_on(publish.run())
            }
            Command::CheckConfig(place) => {
                let config = place.config()?;
                config.tls.clone().map(Tls::load).transpose()?;
                print!("{}", config.to_toml()?);
                Ok(())
            }
            Command::Transcode => transcoder::child().context("the transcoder failed"),
        }
    }
}

impl Serve {
    fn run(self) -> anyhow::Result<()> {
        let mut config = self.place.config()?;
        if let Some(listen) = self.listen {
            config.listen = listen;
        }
        telemetry::logs(&config.log, config.log_format)?;
        runtime()?.block_on(server::run(config, self.demo))
    }
}

impl Token {
    fn run(self) -> anyhow::Result<()> {
        let config = self.place.config()?;
        let auth = Auth::open(&config.auth, &config.data)?;
        let broadcast = match (self.role, self.broadcast) {
            (Role::Operator, broadcast) => broadcast,
            (_, Some(broadcast)) => Some(broadcast),
            (_, None) => bail!("only an operator's token is for every broadcast: give --broadcast"),
        };
        let source = match (self.role, self.source) {
            (Role::Cohost, source) => source.map(sources::cohost).transpose()?,
            (_, None) => None,
            (_, Some(_)) => bail!("only a co-host's token names a source"),
        };
        let name = if self.name.is_empty() {
            self.role.to_string()
        } else {
            self.name
        };
        println!(
            "{}",
            auth.issue(
                Grant {
                    broadcast,
                    role: self.role,
                    name,
                    source,
                    after: None,
                },
                self.ttl
            )?
        );
        Ok(())
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
}

/// `90s`, `30m`, `12h`, `7d`.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    let (digits, unit) = text.split_at(text.trim_end_matches(|c: char| c.is_ascii_alphabetic()).len());
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err("a number with s, m, h or d, such as 12h".into()),
    };
    match digits.parse::<u64>().ok().and_then(|n| n.checked_mul(seconds)) {
        Some(n) if n > 0 => Ok(Duration::from_secs(n)),
        _ => Err("a number with s, m, h or d, such as 12h".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_co_hosts_token_names_a_source() {
        let parse = |more: &[&str]| {
            let args = ["lectern", "token", "--broadcast", "algebra", "--role", "cohost"];
            Cli::try_parse_from(args.iter().chain(more))
        };
        assert!(parse(&["--source", "ada", "--name", "Ada"]).is_ok());
        assert!(parse(&["--name", "Ada"]).is_err());
        assert!(parse(&["--source", "Ada!"]).is_err());
    }

    #[test]
    fn spans_have_a_unit() {
        assert_eq!(parse_span("12h"), Ok(Duration::from_secs(43_200)));
        assert_eq!(parse_span("90s"), Ok(Duration::from_secs(90)));
        for bad in ["", "12", "h", "-1h", "1w", "0s", "99999999999999999999d"] {
            assert!(parse_span(bad).is_err(), "{bad}");
        }
    }
}
