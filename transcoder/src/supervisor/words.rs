//! What a child says on stderr. It waits in its pipe until it is known whose child it is, and then goes into the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use timeline::BroadcastId;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::ChildStderr;
use tokio::task::JoinHandle;

/// A child's log line; what is longer is cut.
const LOG_LINE: usize = 4096;
/// The last words of a process that is gone are in the pipe.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// What GLib, Rust and x264 say when there is no memory.
const NO_MEMORY: [&str; 3] = ["failed to allocate", "memory allocation of", "malloc of size"];

pub struct Words {
    unread: Option<ChildStderr>,
    /// Ends with the child's stderr.
    reader: Option<JoinHandle<()>>,
    no_memory: Arc<AtomicBool>,
}

impl Words {
    pub fn of(stderr: Option<ChildStderr>) -> Words {
        Words {
            unread: stderr,
            reader: None,
            no_memory: Arc::default(),
        }
    }

    pub fn read(&mut self, broadcast: &BroadcastId) {
        if let Some(stderr) = self.unread.take() {
            self.reader = Some(tokio::spawn(log(
                stderr,
                broadcast.clone(),
                self.no_memory.clone(),
            )));
        }
    }

    /// Whether they tell that memory ran out. The child is gone.
    pub async fn tell_of_no_memory(&mut self) -> bool {
        if let Some(reader) = &mut self.reader {
            let _ = tokio::time::timeout(LAST_WORDS, reader).await;
        }
        self.no_memory.load(Ordering::Acquire)
    }
}

async fn log(mut stderr: impl AsyncRead + Unpin, broadcast: BroadcastId, no_memory: Arc<AtomicBool>) {
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
            let line = String::from_utf8_lossy(line);
            if NO_MEMORY.iter().any(|words| line.contains(words)) {
                no_memory.store(true, Ordering::Release);
            }
            if !line.is_empty() {
                tracing::warn!(%broadcast, "transcoder: {line}");
            }
        }
    }
}
