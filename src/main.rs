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
mod http;
mod on_air;
mod pages;
mod problem;
mod publish;
mod server;
mod telemetry;
mod tls;

use clap::Parser;

/// Thousands of answers at once, each of which takes a little and gives it back on another thread: glibc's grows and
/// trims its heap for them, which was a third of what waking them cost.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    match cli::Cli::parse().run() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lectern: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
