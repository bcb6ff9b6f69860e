//! The other end of a WebSocket: what it sends is understood or refused, and no write waits for ever.

use std::pin::pin;
use std::time::Duration;

use axum::extract::ws::Message;
use futures::future::poll_immediate;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use timeline::BroadcastId;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite;
use tokio_util::sync::CancellationToken;
use tungstenite::protocol::CloseFrame;

use super::events::{Events, Gone};
use super::stream::Stream;
use crate::room::{Code, Refused, Resume};
use crate::wire::{Close, FromClient, ToClient};
use crate::{Config, Error, Refusal};

/// How long a peer may take to hear that it is closed.
const GOOD_BYE: Duration = Duration::from_secs(2);

/// After a frame that cannot be read nothing more can: so long the peer may read why before the socket goes.
const LINGER: Duration = Duration::from_millis(500);

/// The other end.
pub struct Peer {
    wire: Wire,
    pub config: Config,
    heard: Instant,
    pub closing: CancellationToken,
    /// A frame could not be read: nothing more will be.
    broken: bool,
}

/// What leads there.
#[allow(clippy::large_enum_variant, reason = "mostly it is the large one")]
pub enum Wire {
    Socket(Stream<TokioIo<Upgraded>>),
    /// One way only: what they ask comes as requests.
    Events(Events),
}

/// What came from the other end; `None` once it has said good-bye.
type Received = Option<Result<tungstenite::Message, tungstenite::Error>>;

/// How a visit ends.
pub enum End {
    /// The peer has left or is dead.
    Gone,
    Close(Close),
}

impl Peer {
    pub fn new(wire: Wire, config: Config, closing: CancellationToken) -> Peer {
        Peer {
            wire,
            config,
            heard: Instant::now(),
            closing,
            broken: false,
        }
    }

    pub async fn first_frame(&mut self) -> Result<(Option<String>, Option<Resume>), End> {
        loop {
            let message = self.recv().await;
            match self.understand(message)? {
                Heard::Nothing => {}
                Heard::Frame(Ok(FromClient::Join { token, resume })) => return Ok((token, resume)),
                Heard::Frame(Ok(_)) => {
                    let refused = Refused::malformed("the first frame has to be a join");
                    return Err(self.refuse_and_close(&refused, Close::Malformed).await);
                }
                Heard::Frame(Err((_, refused))) => {
                    return Err(self.refuse_and_close(&refused, Close::Malformed).await);
                }
            }
        }
    }

    /// What comes next, to be [understood](Self::understand). Nothing is lost where the future is dropped.
    pub async fn recv(&mut self) -> Received {
        match &mut self.wire {
            Wire::Socket(socket) => socket.recv().await,
            Wire::Events(events) => {
                events.closed().await;
                None
            }
        }
    }

    /// Whether nothing came for so long that they must be gone. Along a one-way wire nothing ever comes: that it takes
    /// what is sent is all there is to know.
    pub fn is_silent(&self) -> bool {
        let silence = Duration::from_millis(self.config.silence_ms);
        matches!(self.wire, Wire::Socket(_)) && self.heard.elapsed() >= silence
    }

    pub fn understand(&mut self, message: Received) -> Result<Heard, End> {
        let message = message.ok_or(End::Gone)?.map_err(|error| {
            self.broken = true;
            broken(error)
        })?;
        self.heard = Instant::now();
        match message {
            tungstenite::Message::Text(text) => Ok(Heard::Frame(FromClient::read(&text))),
            tungstenite::Message::Binary(_) => Ok(Heard::Frame(Err((
                None,
                Refused::malformed("frames are JSON text"),
            )))),
            tungstenite::Message::Close(_) => Err(End::Gone),
            // Pings and pongs; single frames are never given out.
            _ => Ok(Heard::Nothing),
        }
    }

    pub async fn send(&mut self, message: Message) -> Result<(), End> {
        let mut sending = pin!(async {
            let sent = match (&mut self.wire, message) {
                (Wire::Socket(socket), Message::Text(text)) => socket.text(text.into()).await,
                (Wire::Socket(socket), Message::Ping(data)) => {
                    socket.control(tungstenite::Message::Ping(data)).await
                }
                (Wire::Events(events), message) => {
                    return Box::pin(events.send(&message)).await.map_err(|Gone| End::Gone);
                }
                // Nothing else is sent to a visitor.
                _ => Ok(()),
            };
            sent.map_err(|_| End::Gone)
        });
        // Mostly there is place, and no clock has to be wound.
        match poll_immediate(&mut sending).await {
            Some(sent) => sent,
            None => Box::pin(patiently(sending, &self.closing, self.config.write_ms)).await?,
        }
    }

    pub async fn tell(&mut self, frame: &ToClient<'_>) -> Result<(), End> {
        self.send(Message::Text(frame.to_text())).await
    }

    pub async fn refuse(&mut self, reference: Option<&str>, refused: &Refused) -> Result<(), End> {
        metrics::counter!("lectern_chat_refused_total", "code" => refused.code.name()).increment(1);
        self.tell(&ToClient::Refused { reference, refused }).await
    }

    pub async fn refuse_and_close(&mut self, refused: &Refused, close: Close) -> End {
        match self.refuse(None, refused).await {
            Ok(()) => End::Close(close),
            Err(end) => end,
        }
    }

    pub async fn turn_away(&mut self, refusal: Refusal) -> End {
        let (code, message, close) = match refusal {
            Refusal::Unauthorized(why) => (Code::Unauthorized, why, Close::Unauthorized),
            Refusal::Forbidden(why) => (Code::Forbidden, why, Close::Forbidden),
            Refusal::NotFound => (
                Code::NotFound,
                "there is no such broadcast".into(),
                Close::Unknown,
            ),
        };
        self.refuse_and_close(&Refused::new(code, message), close).await
    }

    /// Our fault.
    pub async fn fail(&mut self, broadcast: &BroadcastId, error: &Error) -> End {
        tracing::error!(%broadcast, %error, "the room cannot be entered");
        self.refuse_and_close(&Refused::unavailable(), Close::TryAgainLater)
            .await
    }

    /// Says why, and waits a moment for the peer to hear it: a socket that goes with unread bytes in it takes the
    /// reason along.
    pub async fn close(&mut self, close: Close) {
        let socket = match &mut self.wire {
            Wire::Socket(socket) => socket,
            Wire::Events(events) => {
                let _ = timeout(GOOD_BYE, events.close(close)).await;
                return;
            }
        };
        let frame = CloseFrame {
            code: close.code().into(),
            reason: close.reason().into(),
        };
        if !matches!(
            timeout(GOOD_BYE, socket.control(tungstenite::Message::Close(Some(frame)))).await,
            Ok(Ok(()))
        ) {
            return;
        }
        if self.broken {
            return tokio::time::sleep(LINGER).await;
        }
        let _ = timeout(GOOD_BYE, async { while let Some(Ok(_)) = socket.recv().await {} }).await;
    }
}

pub enum Heard {
    Nothing,
    Frame(Result<FromClient, (Option<String>, Refused)>),
}

/// A write that hangs ends the visit, and does not hold up the stop.
async fn patiently<T>(
    sending: impl Future<Output = T>,
    closing: &CancellationToken,
    write_ms: u64,
) -> Result<T, End> {
    let limit = Duration::from_millis(write_ms);
    match timeout(limit, closing.run_until_cancelled(sending)).await {
        Ok(Some(sent)) => Ok(sent),
        Ok(None) => Err(End::Close(Close::GoingAway)),
        Err(_) => {
            metrics::counter!("lectern_chat_slow_readers_total", "how" => "closed").increment(1);
            Err(End::Close(Close::SlowReader))
        }
    }
}

/// A frame that could not be read.
fn broken(error: tungstenite::Error) -> End {
    use tungstenite::error::ProtocolError::ResetWithoutClosingHandshake;
    match error {
        tungstenite::Error::Capacity(_) => End::Close(Close::TooBig),
        tungstenite::Error::Utf8(_) => End::Close(Close::Malformed),
        tungstenite::Error::Protocol(ResetWithoutClosingHandshake) => End::Gone,
        tungstenite::Error::Protocol(_) => End::Close(Close::Malformed),
        _ => End::Gone,
    }
}
