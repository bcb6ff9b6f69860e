//! The child process, and the socket that is its standard input.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use timeline::BroadcastId;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};

use super::incident::{Loss, Reason};
use super::words::Words;
use crate::wire::{self, FromChild, ToChild};
use crate::{Config, Error};

/// Messages that wait for the child: a backlog of ten seconds and then some. A child that lets more pile up
/// does not read.
const WAITING: usize = 4096;
/// How a process that is gone ended is known by then, and what it said last is read.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// What the child may know of the server's environment: where its libraries are, and how they are told to behave. The
/// server's secrets stand there, too.
const ENVIRONMENT: [&str; 12] = [
    "HOME",
    "LANG",
    "LD_LIBRARY_PATH",
    "LIBVA_",
    "GST_",
    "ORC_",
    "PATH",
    "RUST_BACKTRACE",
    "TMPDIR",
    "TZ",
    "XDG_CACHE_HOME",
    "XDG_RUNTIME_DIR",
];

pub struct Process {
    child: Child,
    read: FramedRead<OwnedReadHalf, LengthDelimitedCodec>,
    to_child: mpsc::Sender<ToChild>,
    stuck: bool,
    speaker: AbortHandle,
    words: Words,
}

impl Process {
    /// A process that prepares itself for a line.
    pub fn spawn(config: &Config) -> Result<Self, Error> {
        let (ours, theirs) = StdUnixStream::pair().map_err(Error::Spawn)?;
        ours.set_nonblocking(true).map_err(Error::Spawn)?;
        // This very program, even if the file it came from was replaced by a newer one.
        let program = config.program.as_deref().unwrap_or("/proc/self/exe".as_ref());
        let mut command = Command::new(program);
        command
            .arg0("lectern")
            .arg("transcode")
            .env_clear()
            .envs(std::env::vars_os().filter(|(name, _)| is_for_children(name)))
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // A Ctrl-C at the terminal is for the parent, which ends the line first.
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(Error::Spawn)?;
        // Its end of the socket is in `command`, too: held open there it would hide the child's death.
        drop(command);
        let (read, write) = UnixStream::from_std(ours).map_err(Error::Spawn)?.into_split();
        let (to_child, messages) = mpsc::channel(WAITING);
        let speaker = tokio::spawn(speak(FramedWrite::new(write, wire::codec()), messages));
        let mut process = Process {
            words: Words::of(child.stderr.take()),
            child,
            read: FramedRead::new(read, wire::codec()),
            to_child,
            stuck: false,
            speaker: speaker.abort_handle(),
        };
        process.send(ToChild::Prepare {
            sandbox: config.sandbox,
        });
        Ok(process)
    }

    /// It is this broadcast's from now on.
    pub fn serve(&mut self, broadcast: &BroadcastId) {
        tracing::info!(%broadcast, pid = self.child.id(), "transcoder process started");
        self.words.read(broadcast);
    }

    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    pub fn if_alive(mut self) -> Option<Process> {
        matches!(self.child.try_wait(), Ok(None)).then_some(self)
    }

    /// Never waits; see [`Process::is_stuck`].
    pub fn send(&mut self, message: ToChild) {
        // A channel that is closed belongs to a child that is gone, and its socket says so.
        self.stuck |= matches!(
            self.to_child.try_send(message),
            Err(mpsc::error::TrySendError::Full(_))
        );
    }

    /// The child let so much pile up that something was lost.
    pub fn is_stuck(&self) -> bool {
        self.stuck
    }

    /// The next message; `None` when the child has closed the socket. Cancel-safe.
    pub async fn next(&mut self) -> Result<Option<FromChild>, Error> {
        match self.read.next().await {
            None => Ok(None),
            Some(body) => wire::decode(&body.map_err(Error::Socket)?).map(Some),
        }
    }

    /// How it ended; it has closed its socket already.
    pub async fn loss(&mut self) -> Loss {
        let status = match tokio::time::timeout(LAST_WORDS, self.child.wait()).await {
            Ok(Ok(status)) => status,
            Ok(Err(e)) => return Loss::new(Reason::Failed, e.to_string()),
            Err(_) => return Loss::new(Reason::Hung, "it closed its socket and runs on"),
        };
        let no_memory = self.words.tell_of_no_memory().await;
        Loss::new(reason(status, no_memory), format!("it ended: {status}"))
    }

    /// Ends it at once, if it has not ended by itself.
    pub async fn kill(mut self) {
        if let Err(e) = self.child.start_kill() {
            tracing::warn!("the transcoder's process cannot be killed: {e}");
        }
        // One that a broken disk holds in the kernel ends when it can; the line does not wait for it.
        if tokio::time::timeout(LAST_WORDS, self.child.wait()).await.is_err() {
            tokio::spawn(async move { self.child.wait().await });
        }
    }
}

fn reason(status: ExitStatus, no_memory: bool) -> Reason {
    const KILLED: [i32; 2] = [libc::SIGKILL, libc::SIGTERM];
    match status.signal() {
        _ if no_memory => Reason::Memory,
        None => Reason::Failed,
        Some(signal) if KILLED.contains(&signal) => Reason::Killed,
        Some(_) => Reason::Crashed,
    }
}

fn is_for_children(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    ENVIRONMENT.iter().any(|known| match known.ends_with('_') {
        true => name.starts_with(known.as_bytes()),
        false => name == known.as_bytes(),
    })
}

impl Drop for Process {
    fn drop(&mut self) {
        self.speaker.abort();
    }
}

async fn speak(
    mut write: FramedWrite<OwnedWriteHalf, LengthDelimitedCodec>,
    mut messages: mpsc::Receiver<ToChild>,
) {
    while let Some(message) = messages.recv().await {
        let Ok(body) = wire::encode(&message) else {
            continue;
        };
        let sent = match write.feed(body).await {
            Ok(()) if messages.is_empty() => SinkExt::<Bytes>::flush(&mut write).await,
            other => other,
        };
        // The child is gone; the reader of the socket sees that.
        if sent.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_process_ended_is_a_reason() {
        let ended = |raw| ExitStatus::from_raw(raw);
        assert_eq!(reason(ended(libc::SIGKILL), false), Reason::Killed);
        assert_eq!(reason(ended(libc::SIGSEGV), false), Reason::Crashed);
        assert_eq!(reason(ended(libc::SIGABRT), true), Reason::Memory);
        assert_eq!(reason(ended(1 << 8), false), Reason::Failed);
    }

    #[test]
    fn a_child_does_not_learn_the_servers_secrets() {
        let known = |name: &str| is_for_children(name.as_ref());
        assert!(["GST_DEBUG", "HOME", "LD_LIBRARY_PATH"].map(known) == [true; 3]);
        assert!(["LECTERN_AUTH__SECRET", "AWS_SECRET_ACCESS_KEY", "HOMER"].map(known) == [false; 3]);
    }
}
