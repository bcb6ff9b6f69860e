//! The body of `lectern transcode`: the socket to the supervisor is standard input.
//!
//! It never outlives its parent: the socket closes with it, and that ends this process whatever it is doing.

mod announce;
mod main_loop;
mod source;
mod studio;
mod top;

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::time::SystemTime;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use timeline::WallTime;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};

use crate::confine::{self, Confined, Sandbox, limits};
use crate::wire::{self, FromChild, ToChild};
use crate::{Error, warm};

use main_loop::MainLoop;

/// Records of the source that wait for the main loop: two seconds of a busy source.
const RECORDS_WAITING: usize = 512;
/// Frames that wait for the socket. Then the encoders wait.
const FRAMES_WAITING: usize = 256;
/// The message that has a process prepare itself is a few bytes.
const MAX_PREPARE: usize = 1024;

/// Runs a line on the socket that is standard input, until its end or until the socket closes.
pub fn child() -> Result<(), Error> {
    prepare()?;
    let stdin = std::io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map_err(Error::Socket)?;
    let mut socket = StdUnixStream::from(stdin);
    let Some(ToChild::Prepare { sandbox }) = first(&mut socket)? else {
        return Ok(());
    };
    let confined = confine::enter(sandbox)?;
    socket.set_nonblocking(true).map_err(Error::Socket)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // One reads and writes the socket; the main loop has this thread.
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(Error::Socket)?;
    runtime.block_on(converse(socket, confined))
}

/// Whatever a line may need is loaded, and nothing else can be had from here on.
#[doc(hidden)]
pub fn confine_here(sandbox: Sandbox) -> Result<(), Error> {
    prepare()?;
    confine::enter(sandbox).map(drop)
}

fn prepare() -> Result<(), Error> {
    limits::at_start();
    gstreamer::init()?;
    warm::up();
    Ok(())
}

/// The first message, read before there is a second thread; none where the socket closed instead.
fn first(socket: &mut StdUnixStream) -> Result<Option<ToChild>, Error> {
    let mut length = [0; 4];
    if let Err(e) = socket.read_exact(&mut length) {
        return match e.kind() {
            std::io::ErrorKind::UnexpectedEof => Ok(None),
            _ => Err(Error::Socket(e)),
        };
    }
    let length = u32::from_be_bytes(length) as usize;
    if length > MAX_PREPARE {
        return Err(Error::Wire("the first message is too long".into()));
    }
    let mut body = vec![0; length];
    socket.read_exact(&mut body).map_err(Error::Socket)?;
    wire::decode(&body).map(Some)
}

async fn converse(socket: StdUnixStream, confined: Confined) -> Result<(), Error> {
    // A terminal's Ctrl-C and systemd's SIGTERM reach the whole group; when to stop is the parent's decision.
    let _ignored = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
    let (read, write) = UnixStream::from_std(socket).map_err(Error::Socket)?.into_split();
    let mut read = FramedRead::new(read, wire::codec());
    let mut write = FramedWrite::new(write, wire::codec());
    let ready = wire::encode(&FromChild::Ready(confined))?;
    write.send(ready).await.map_err(Error::Socket)?;
    let Some(begin) = read.next().await else {
        return Ok(());
    };
    let ToChild::Begin {
        config,
        job,
        start,
        first_still,
        caught_up,
        sound_shifts_ms,
    } = wire::decode(&begin.map_err(Error::Socket)?)?
    else {
        return Err(Error::Wire("the second message does not begin a line".into()));
    };
    limits::memory(&config)?;
    let (records, incoming) = mpsc::channel(RECORDS_WAITING);
    tokio::spawn(hear(read, records));
    let (to_parent, outgoing) = mpsc::channel(FRAMES_WAITING);
    let speaker = tokio::spawn(speak(write, outgoing));
    let line = MainLoop::begin(config, job, start, first_still, to_parent)?;
    line.resume(sound_shifts_ms, caught_up);
    let outcome = line.run(incoming).await;
    // The line, and with it the sender of what is still to be said, is gone: wait until all of it is.
    outcome.and(speaker.await.map_err(|e| Error::Wire(e.to_string()))?)
}

/// Reads the socket. Its end is this process's end.
async fn hear(mut read: FramedRead<OwnedReadHalf, LengthDelimitedCodec>, records: mpsc::Sender<ToChild>) {
    loop {
        match read
            .next()
            .await
            .map(|body| body.map_err(Error::Socket).and_then(|body| wire::decode(&body)))
        {
            Some(Ok(message)) => {
                // The main loop is over: the rest is not for it, but the end of the socket still counts.
                let _ = records.send(message).await;
            }
            Some(Err(e)) => {
                log(format_args!("{e}"));
                std::process::exit(1);
            }
            None => std::process::exit(0),
        }
    }
}

async fn speak(
    mut write: FramedWrite<OwnedWriteHalf, LengthDelimitedCodec>,
    mut messages: mpsc::Receiver<FromChild>,
) -> Result<(), Error> {
    while let Some(message) = messages.recv().await {
        write.feed(wire::encode(&message)?).await.map_err(Error::Socket)?;
        if messages.is_empty() {
            SinkExt::<Bytes>::flush(&mut write).await.map_err(Error::Socket)?;
        }
    }
    SinkExt::<Bytes>::close(&mut write).await.map_err(Error::Socket)
}

fn now() -> WallTime {
    SystemTime::now().into()
}

/// Goes into the parent's log. Unlike `eprintln!` it does not panic when nobody reads.
pub fn log(words: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{words}");
}
