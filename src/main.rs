//! `lectern`: reads the configuration, wires the stages, serves the API, stops cleanly. No media logic.

mod api;
mod archive;
mod auth;
mod broadcasts;
mod cli;
mod clock;
mod config;
mod demo;
mod doors;
mod guests;
mod http;
mod on_air;
mod owners;
mod pages;
mod problem;
mod publish;
mod server;
mod sources;
mod telemetry;
mod tls;

use clap::Parser;

fn main() -> std::process::ExitCode {
    match cli::Cli::parse().run() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lectern: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
