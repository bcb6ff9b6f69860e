//! What a visit waits for besides the room's frames and its own peer.

use std::time::Duration;

use axum::extract::ws::Utf8Bytes;
use timeline::{Line, WallTime};

use crate::clock::now;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

/// The wall clock may be set: so often it is asked whether a token has expired, …
const CLOCK_CHECK: Duration = Duration::from_secs(60);

/// … and not more often than this.
const CLOCK_STEP: Duration = Duration::from_millis(1);

pub enum Besides {
    /// The peer's token.
    Expired,
    Line(Line),
    Presence(Utf8Bytes),
    /// It is time to ask whether the peer lives.
    Ping,
    Closing,
}

/// All of it in one, to be polled only when one has come: most visits are woken by a frame most of the time.
pub struct Waits {
    pub expires: Option<WallTime>,
    pub line: watch::Receiver<Line>,
    pub presence: watch::Receiver<Utf8Bytes>,
    pub ping: Duration,
    pub next_ping: Instant,
    pub closing: CancellationToken,
}

impl Waits {
    /// What comes next, and what is waited for then.
    pub async fn next(mut self) -> (Besides, Waits) {
        let came = tokio::select! {
            () = self.closing.cancelled() => Besides::Closing,
            () = expiry(self.expires) => Besides::Expired,
            line = changed(&mut self.line) => Besides::Line(line),
            presence = changed(&mut self.presence) => Besides::Presence(presence),
            () = sleep_until(self.next_ping) => {
                self.next_ping = Instant::now() + self.ping;
                Besides::Ping
            }
        };
        (came, self)
    }
}

/// The next value, or never where whoever made them is gone.
async fn changed<T: Clone>(of: &mut watch::Receiver<T>) -> T {
    match of.changed().await {
        Ok(()) => of.borrow_and_update().clone(),
        Err(_) => std::future::pending().await,
    }
}

/// Returns when a token expires, or never.
async fn expiry(expires: Option<WallTime>) {
    let Some(expires) = expires else {
        return std::future::pending().await;
    };
    while now() < expires {
        let left = (expires - now()).to_duration();
        sleep(left.clamp(CLOCK_STEP, CLOCK_CHECK)).await;
    }
}
