//! One visitor of a room, over a WebSocket.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use timeline::{BroadcastId, WallTime};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_tungstenite::tungstenite;

use crate::keeper::{Entrance, Frame, RoomHandle};
use crate::room::{Answer, Bucket, Code, Receipt, Refused, Resume, clean_name};
use crate::rooms::{Rooms, Slot};
use crate::wire::{self, Close, FromClient, Limits, MAX_FRAME_BYTES, ToClient};
use crate::{Config, Error, Event, Pass, Person, Rate, Refusal};

/// axum's 128 KiB would cost 138 KB of memory and 1.7 times the CPU per connection.
const READ_BUFFER_BYTES: usize = 4 * 1024;

/// Nothing is held back: frames are gathered before, once for the whole room.
const WRITE_BUFFER_BYTES: usize = 0;

/// The largest frame is a page of events and a little; what does not leave waits in the room, not here.
const MAX_WRITE_BUFFER_BYTES: usize = 4 * wire::PAGE_BYTES;

/// How long a peer may take to hear that it is closed.
const GOOD_BYE: Duration = Duration::from_secs(2);

/// After a frame that cannot be read nothing more can: so long the peer may read why before the socket goes.
const LINGER: Duration = Duration::from_millis(500);

pub fn upgrade(
    rooms: Rooms,
    broadcast: BroadcastId,
    upgrade: WebSocketUpgrade,
    slot: Slot,
) -> axum::response::Response {
    upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_write_buffer_size(MAX_WRITE_BUFFER_BYTES)
        .max_message_size(MAX_FRAME_BYTES)
        .max_frame_size(MAX_FRAME_BYTES)
        .on_upgrade(move |socket| {
            let visits = rooms.shared().visits.clone();
            let visit = serve(rooms, broadcast, socket);
            visits.track_future(async move {
                visit.await;
                drop(slot);
            })
        })
}

async fn serve(rooms: Rooms, broadcast: BroadcastId, socket: WebSocket) {
    let mut peer = Peer {
        socket,
        config: rooms.shared().config.clone(),
        heard: Instant::now(),
        broken: false,
    };
    let closing = rooms.shared().closing.clone();
    let visit = visit(&rooms, &broadcast, &mut peer);
    // A write that hangs must not hold up the stop either.
    let end = match closing.run_until_cancelled(visit).await {
        Some(Ok(never)) => match never {},
        Some(Err(end)) => end,
        None => End::Close(Close::GoingAway),
    };
    if let End::Close(close) = end {
        tracing::debug!(%broadcast, code = close.code(), reason = close.reason(), "connection to the room closed");
        metrics::counter!("lectern_chat_closed_total", "code" => close.code().to_string()).increment(1);
        peer.close(close).await;
    }
}

/// How a visit ends.
enum End {
    /// The peer has left or is dead.
    Gone,
    Close(Close),
}

enum Never {}

async fn visit(rooms: &Rooms, broadcast: &BroadcastId, peer: &mut Peer) -> Result<Never, End> {
    let join = Duration::from_millis(peer.config.join_ms);
    let (token, resume) = timeout(join, peer.first_frame())
        .await
        .map_err(|_| End::Close(Close::Malformed))??;
    let pass = match rooms.shared().gate.enter(broadcast, token.as_deref()).await {
        Ok(pass) => pass,
        Err(refusal) => return Err(peer.turn_away(refusal).await),
    };
    let (room, entrance) = match rooms.enter(broadcast, resume).await {
        Ok((room, Ok(entrance))) => (room, entrance),
        Ok((_, Err(full))) => return Err(peer.refuse_and_close(&full, Close::TryAgainLater).await),
        Err(Error::Unknown) => return Err(peer.turn_away(Refusal::NotFound).await),
        Err(error) => return Err(peer.fail(broadcast, &error).await),
    };
    let person = Person {
        name: clean_name(&pass.person.name),
        ..pass.person.clone()
    };
    let deliveries = metrics::counter!("lectern_chat_deliveries_total", "broadcast" => broadcast.to_string());
    let mut visitor = Visitor {
        peer,
        room,
        person,
        last: 0,
        deliveries,
    };
    visitor.greet(rooms, broadcast, &pass, &entrance).await?;
    visitor.stay(pass, entrance).await
}

/// The other end of the socket.
struct Peer {
    socket: WebSocket,
    config: Config,
    heard: Instant,
    /// A frame could not be read: nothing more will be.
    broken: bool,
}

impl Peer {
    async fn first_frame(&mut self) -> Result<(Option<String>, Option<Resume>), End> {
        loop {
            let message = self.socket.recv().await;
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

    fn understand(&mut self, message: Option<Result<Message, axum::Error>>) -> Result<Heard, End> {
        let message = message.ok_or(End::Gone)?.map_err(|error| {
            self.broken = true;
            broken(error)
        })?;
        self.heard = Instant::now();
        match message {
            Message::Text(text) => Ok(Heard::Frame(FromClient::read(&text))),
            Message::Binary(_) => Ok(Heard::Frame(Err((
                None,
                Refused::malformed("frames are JSON text"),
            )))),
            Message::Ping(_) | Message::Pong(_) => Ok(Heard::Nothing),
            Message::Close(_) => Err(End::Gone),
        }
    }

    async fn send(&mut self, message: Message) -> Result<(), End> {
        let limit = Duration::from_millis(self.config.write_ms);
        match timeout(limit, self.socket.send(message)).await {
            Ok(sent) => sent.map_err(|_| End::Gone),
            Err(_) => {
                metrics::counter!("lectern_chat_slow_readers_total", "how" => "closed").increment(1);
                Err(End::Close(Close::SlowReader))
            }
        }
    }

    async fn tell(&mut self, frame: &ToClient<'_>) -> Result<(), End> {
        self.send(Message::Text(frame.to_text())).await
    }

    async fn refuse(&mut self, reference: Option<&str>, refused: &Refused) -> Result<(), End> {
        metrics::counter!("lectern_chat_refused_total", "code" => refused.code.name()).increment(1);
        self.tell(&ToClient::Refused { reference, refused }).await
    }

    async fn refuse_and_close(&mut self, refused: &Refused, close: Close) -> End {
        match self.refuse(None, refused).await {
            Ok(()) => End::Close(close),
            Err(end) => end,
        }
    }

    async fn turn_away(&mut self, refusal: Refusal) -> End {
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
    async fn fail(&mut self, broadcast: &BroadcastId, error: &Error) -> End {
        tracing::error!(%broadcast, %error, "the room cannot be entered");
        self.refuse_and_close(&Refused::unavailable(), Close::TryAgainLater)
            .await
    }

    /// Says why, and waits a moment for the peer to hear it: a socket that goes with unread bytes in it takes the
    /// reason along.
    async fn close(&mut self, close: Close) {
        let frame = CloseFrame {
            code: close.code(),
            reason: close.reason().into(),
        };
        if !matches!(
            timeout(GOOD_BYE, self.socket.send(Message::Close(Some(frame)))).await,
            Ok(Ok(()))
        ) {
            return;
        }
        if self.broken {
            return tokio::time::sleep(LINGER).await;
        }
        let _ = timeout(GOOD_BYE, async {
            while let Some(Ok(_)) = self.socket.recv().await {}
        })
        .await;
    }
}

enum Heard {
    Nothing,
    Frame(Result<FromClient, (Option<String>, Refused)>),
}

/// A frame that could not be read.
fn broken(error: axum::Error) -> End {
    use tungstenite::error::ProtocolError::ResetWithoutClosingHandshake;
    match error.into_inner().downcast_ref() {
        Some(tungstenite::Error::Capacity(_)) => End::Close(Close::TooBig),
        Some(tungstenite::Error::Utf8(_)) => End::Close(Close::Malformed),
        Some(tungstenite::Error::Protocol(ResetWithoutClosingHandshake)) => End::Gone,
        Some(tungstenite::Error::Protocol(_)) => End::Close(Close::Malformed),
        _ => End::Gone,
    }
}

/// Someone who is in.
struct Visitor<'a> {
    peer: &'a mut Peer,
    room: RoomHandle,
    person: Person,
    /// The last event they were sent.
    last: u64,
    deliveries: metrics::Counter,
}

impl Visitor<'_> {
    async fn greet(
        &mut self,
        rooms: &Rooms,
        broadcast: &BroadcastId,
        pass: &Pass,
        entrance: &Entrance,
    ) -> Result<(), End> {
        let (resumed, events) = match missed(rooms, broadcast, &entrance.answer).await {
            Ok(missed) => missed,
            Err(error) => return Err(self.peer.fail(broadcast, &error).await),
        };
        let pages = wire::pages(&events);
        let limits = self.limits();
        let line = (&*pass.line.borrow()).into();
        for (n, page) in pages.iter().enumerate() {
            self.last = match page.last() {
                Some(event) if n + 1 < pages.len() => event.seq,
                _ => entrance.last,
            };
            let frame = match n {
                0 => ToClient::Joined {
                    epoch: &entrance.epoch,
                    seq: self.last,
                    you: &self.person,
                    now: now().unix_millis(),
                    line,
                    limits,
                    events: page,
                    resumed,
                },
                _ => ToClient::Events { events: page },
            };
            self.peer.tell(&frame).await?;
        }
        Ok(())
    }

    async fn stay(&mut self, mut pass: Pass, mut entrance: Entrance) -> Result<Never, End> {
        let ping = Duration::from_millis(self.peer.config.ping_ms);
        let mut pings = interval_at(Instant::now() + ping, ping);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut frames = Bucket::default();
        let mut line_moves = true;
        loop {
            tokio::select! {
                frame = entrance.frames.recv() => match frame {
                    Ok(frame) => self.deliver(&frame).await?,
                    // The next frame shows what is missing.
                    Err(RecvError::Lagged(_)) => {
                        metrics::counter!("lectern_chat_slow_readers_total", "how" => "gap").increment(1);
                    }
                    Err(RecvError::Closed) => return Err(End::Close(Close::GoingAway)),
                },
                message = self.peer.socket.recv() => match self.peer.understand(message)? {
                    Heard::Nothing => {}
                    Heard::Frame(frame) => {
                        frames.take(self.frame_rate(), now()).map_err(|_| End::Close(Close::TooMany))?;
                        self.hear(frame).await?;
                    }
                },
                moved = pass.line.changed(), if line_moves => match moved {
                    Ok(()) => {
                        let line = (&*pass.line.borrow_and_update()).into();
                        self.peer.tell(&ToClient::Line(line)).await?;
                    }
                    // Whoever moved it is gone: it stays where it is.
                    Err(_) => line_moves = false,
                },
                Ok(()) = entrance.presence.changed() => {
                    let presence = entrance.presence.borrow_and_update().clone();
                    self.peer.send(Message::Text(presence)).await?;
                }
                _ = pings.tick() => self.ping().await?,
            }
        }
    }

    async fn deliver(&mut self, frame: &Frame) -> Result<(), End> {
        if frame.to <= self.last {
            return Ok(());
        }
        if frame.from > self.last + 1 {
            self.peer
                .tell(&ToClient::Gap {
                    from: self.last + 1,
                    to: frame.from - 1,
                })
                .await?;
        }
        self.peer.send(Message::Text(frame.text.clone())).await?;
        self.last = frame.to;
        self.deliveries.increment(frame.count);
        Ok(())
    }

    async fn hear(&mut self, frame: Result<FromClient, (Option<String>, Refused)>) -> Result<(), End> {
        match frame {
            Ok(FromClient::Say {
                reference,
                body,
                playing,
            }) => {
                let playing = playing.map(wire::playing_time);
                let answer = self.room.say(&self.person, &reference, body, playing).await;
                self.reply(&reference, answer).await
            }
            Ok(FromClient::Delete { reference, seq }) => {
                let answer = self.room.delete(&self.person, &reference, seq).await;
                self.reply(&reference, answer).await
            }
            Ok(FromClient::Ping { reference }) => {
                let now = now().unix_millis();
                self.peer
                    .tell(&ToClient::Pong {
                        reference: reference.as_deref(),
                        now,
                    })
                    .await
            }
            Ok(FromClient::Join { .. }) => {
                self.peer
                    .refuse(None, &Refused::malformed("you are in the room already"))
                    .await
            }
            Err((reference, refused)) => self.peer.refuse(reference.as_deref(), &refused).await,
        }
    }

    async fn reply(&mut self, reference: &str, answer: Result<Receipt, Refused>) -> Result<(), End> {
        match answer {
            Ok(Receipt { seq, at }) => self.peer.tell(&ToClient::Ack { reference, seq, at }).await,
            Err(refused) => self.peer.refuse(Some(reference), &refused).await,
        }
    }

    async fn ping(&mut self) -> Result<(), End> {
        if self.peer.heard.elapsed() >= Duration::from_millis(self.peer.config.silence_ms) {
            return Err(End::Gone);
        }
        self.peer.send(Message::Ping(Default::default())).await
    }

    fn rate(&self) -> Rate {
        if self.person.role.moderates() {
            self.peer.config.host_rate
        } else {
            self.peer.config.rate
        }
    }

    /// Moderators' frames are as many more as their messages.
    fn frame_rate(&self) -> Rate {
        let Rate { messages, per_ms } = self.peer.config.frame_rate;
        if self.person.role.moderates() {
            Rate {
                messages: messages.saturating_mul(4),
                per_ms,
            }
        } else {
            Rate { messages, per_ms }
        }
    }

    fn limits(&self) -> Limits {
        let Rate { messages, per_ms } = self.rate();
        Limits {
            body: self.peer.config.max_body_chars,
            messages,
            per_seconds: f64::from(per_ms) / 1_000.0,
        }
    }
}

/// What a newcomer has not seen, and whether that is everything since they left.
async fn missed(
    rooms: &Rooms,
    broadcast: &BroadcastId,
    answer: &Answer,
) -> Result<(bool, Vec<Arc<Event>>), Error> {
    match answer {
        Answer::Resumed(events) => Ok((true, events.clone())),
        Answer::Fresh(events) => Ok((false, events.clone())),
        Answer::FromRecord { from, to, then } => {
            let older = rooms
                .shared()
                .record
                .page(broadcast, *from, *to, to - from + 1)
                .await?;
            Ok((
                true,
                older
                    .into_iter()
                    .map(Arc::new)
                    .chain(then.iter().cloned())
                    .collect(),
            ))
        }
    }
}

fn now() -> WallTime {
    SystemTime::now().into()
}
