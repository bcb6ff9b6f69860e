//! `lectern transcode` alone, for this crate's tests. With `probe required`: what a confined process still can
//! do, as JSON; with `probe off`, what another can.

use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, ExitCode};

use gstreamer::prelude::*;

fn main() -> ExitCode {
    let outcome = match std::env::args().nth(1).as_deref() {
        Some("probe") => probe(std::env::args().nth(2).as_deref() == Some("required")),
        _ => transcoder::child(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn probe(confined: bool) -> Result<(), transcoder::Error> {
    if confined {
        transcoder::confine_here(transcoder::Sandbox::Required)?;
    }
    println!("{}", attempts());
    Ok(())
}

/// What is tried, and whether it works.
fn attempts() -> serde_json::Value {
    let file = std::env::temp_dir().join(format!("lectern-probe-{}", std::process::id()));
    let parent = rustix::process::getppid();
    let environment = parent.map(|pid| format!("/proc/{}/environ", pid.as_raw_pid()));
    serde_json::json!({
        "executes": Command::new("/bin/true").status().is_ok(),
        "writes": std::fs::write(&file, "x").is_ok(),
        "writes a device": std::fs::OpenOptions::new().write(true).open("/dev/null").is_ok(),
        "removes": std::fs::remove_file(&file).is_ok(),
        "reads secrets": std::fs::read("/etc/passwd").is_ok(),
        "reads the server": environment.is_some_and(|path| std::fs::read(path).is_ok()),
        "signals the server": parent.is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok()),
        "connects": connects(),
        "binds": UnixDatagram::unbound().is_ok(),
        "reads libraries": std::fs::read_dir("/usr/lib").is_ok(),
        "reads itself": std::fs::read("/proc/self/stat").is_ok(),
        "begins threads": std::thread::Builder::new().spawn(|| ()).is_ok_and(|thread| thread.join().is_ok()),
        "decodes what it encodes": decodes(),
    })
}

/// A port that nobody listens on refuses: that is the network, too.
fn connects() -> bool {
    match TcpStream::connect("127.0.0.1:9") {
        Ok(_) => true,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
    }
}

fn decodes() -> bool {
    let all = "videotestsrc num-buffers=5 ! video/x-raw,format=I420,width=320,height=180 ! x264enc tune=zerolatency ! \
               h264parse ! avdec_h264 ! videoconvert ! videoscale ! video/x-raw,format=I420,width=160,height=90 ! \
               jpegenc ! fakesink sync=false";
    let Ok(pipeline) = gstreamer::init().and_then(|()| gstreamer::parse::launch(all)) else {
        return false;
    };
    let done = || {
        pipeline.set_state(gstreamer::State::Playing).ok()?;
        let kinds = [gstreamer::MessageType::Eos, gstreamer::MessageType::Error];
        let message = pipeline
            .bus()?
            .timed_pop_filtered(gstreamer::ClockTime::from_seconds(60), &kinds)?;
        Some(message.type_() == gstreamer::MessageType::Eos)
    };
    let decoded = done().unwrap_or(false);
    let _ = pipeline.set_state(gstreamer::State::Null);
    decoded
}
