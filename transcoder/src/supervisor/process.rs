//! The child process, and the socket that is its standard input.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::process::Stdio;
use std::sync::Arc;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use timeline::BroadcastId;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};

use crate::wire::{self, FromChild, Job, ToChild};
use crate::{Config, Error};

/// Messages that wait for the child: a backlog of ten seconds and then some. A child that lets more pile up
/// does not read.
const WAITING: usize = 4096;
/// A child's log line; what is longer is cut.
const LOG_LINE: usize = 4096;

pub struct Process {
    child: Child,
    read: FramedRead<OwnedReadHalf, LengthDelimitedCodec>,
    to_child: mpsc::Sender<ToChild>,
    stuck: bool,
    speaker: AbortHandle,
}

impl Process {
    pub fn spawn(config: &Config, job: &Arc<Job>) -> Result<Self, Error> {
        let (ours, theirs) = StdUnixStream::pair().map_err(Error::Spawn)?;
        ours.set_nonblocking(true).map_err(Error::Spawn)?;
        // This very program, even if the file it came from was replaced by a newer one.
        let program = config.program.as_deref().unwrap_or("/proc/self/exe".as_ref());
        let mut command = Command::new(program);
        command
            .arg0("lectern")
            .arg("transcode")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // A Ctrl-C at the terminal is for the parent, which ends the line first.
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(Error::Spawn)?;
        // Its end of the socket is in `command`, too: held open there it would hide the child's death.
        drop(command);
        tracing::info!(broadcast = %job.broadcast, pid = child.id(), "transcoder process started");
        let (read, write) = UnixStream::from_std(ours).map_err(Error::Spawn)?.into_split();
        let (to_child, messages) = mpsc::channel(WAITING);
        let speaker = tokio::spawn(speak(FramedWrite::new(write, wire::codec()), messages));
        // Ends with the child's stderr; the child may have last words.
        tokio::spawn(log(child.stderr.take(), job.broadcast.clone()));
        let read = FramedRead::new(read, wire::codec());
        Ok(Process {
            child,
            read,
            to_child,
            stuck: false,
            speaker: speaker.abort_handle(),
        })
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

    /// How it ended, in words; it has closed its socket already.
    pub async fn status(&mut self) -> String {
        match tokio::time::timeout(std::time::Duration::from_millis(200), self.child.wait()).await {
            Ok(Ok(status)) => status.to_string(),
            Ok(Err(e)) => e.to_string(),
            Err(_) => "it closed its socket and runs on".into(),
        }
    }

    /// Ends it at once, if it has not ended by itself.
    pub async fn kill(mut self) {
        if let Err(e) = self.child.kill().await {
            tracing::warn!("the transcoder's process cannot be killed: {e}");
        }
    }
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

/// What the child says on stderr goes into the parent's log, until the last of it.
async fn log(stderr: Option<impl AsyncRead + Unpin>, broadcast: BroadcastId) {
    let Some(mut stderr) = stderr else { return };
    let mut said = Vec::with_capacity(LOG_LINE);
    let mut room = [0; LOG_LINE];
    while let Ok(1..) = stderr
        .read(&mut room)
        .await
        .inspect(|n| said.extend_from_slice(&room[..*n]))
    {
        let whole = said
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |end| end + 1);
        let whole = if said.len() >= LOG_LINE { said.len() } else { whole };
        for line in said
            .drain(..whole)
            .collect::<Vec<_>>()
            .split(|byte| *byte == b'\n')
        {
            if !line.is_empty() {
                tracing::warn!(%broadcast, "transcoder: {}", String::from_utf8_lossy(line));
            }
        }
    }
}
