//! Someone who is in: greeted with what they missed, then told everything and heard.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::extract::ws::Message;
use timeline::{BroadcastId, WallTime};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::peer::{End, Heard, Peer};
use crate::keeper::{Entrance, Frame, RoomHandle};
use crate::room::{Answer, Bucket, Receipt, Refused};
use crate::rooms::Rooms;
use crate::wire::{self, Close, FromClient, Limits, ToClient};
use crate::{Error, Event, Pass, Person, Rate, Refusal};

/// The wall clock may be set: so often it is asked whether a token has expired, …
const CLOCK_CHECK: Duration = Duration::from_secs(60);

/// … and not more often than this.
const CLOCK_STEP: Duration = Duration::from_millis(1);

/// A visit goes on until something ends it.
pub enum Never {}

/// Someone who is in.
pub struct Visitor<'a> {
    pub peer: &'a mut Peer,
    pub room: RoomHandle,
    pub person: Person,
    /// The last event they were sent.
    pub last: u64,
    pub deliveries: metrics::Counter,
}

impl Visitor<'_> {
    pub async fn greet(
        &mut self,
        rooms: &Rooms,
        broadcast: &BroadcastId,
        pass: &mut Pass,
        entrance: &Entrance,
    ) -> Result<(), End> {
        let (resumed, events) = match missed(rooms, broadcast, &entrance.answer).await {
            Ok(missed) => missed,
            Err(error) => return Err(self.peer.fail(broadcast, &error).await),
        };
        let pages = wire::pages(&events);
        let limits = self.limits();
        let line = (&*pass.line.borrow_and_update()).into();
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

    pub async fn stay(&mut self, mut pass: Pass, mut entrance: Entrance) -> Result<Never, End> {
        let ping = Duration::from_millis(self.peer.config.ping_ms);
        let mut pings = interval_at(Instant::now() + ping, ping);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut frames = Bucket::default();
        let mut line_moves = true;
        let mut expired = pin!(expiry(pass.expires));
        loop {
            tokio::select! {
                () = &mut expired => {
                    let over = Refusal::Unauthorized("the token has expired".into());
                    return Err(self.peer.turn_away(over).await);
                }
                frame = entrance.frames.recv() => match frame {
                    Ok(frame) => self.deliver(&frame).await?,
                    // The next frame shows what is missing.
                    Err(RecvError::Lagged(_)) => {
                        metrics::counter!("lectern_chat_slow_readers_total", "how" => "gap").increment(1);
                    }
                    Err(RecvError::Closed) => return Err(End::Close(Close::GoingAway)),
                },
                message = self.peer.socket.recv() => {
                    let heard = self.peer.understand(message)?;
                    // Pings and pongs too: they are answered, or at least read.
                    frames.take(self.frame_rate(), now()).map_err(|_| End::Close(Close::TooMany))?;
                    if let Heard::Frame(frame) = heard {
                        self.hear(frame).await?;
                    }
                }
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

/// Returns when a token expires, or never.
async fn expiry(expires: Option<WallTime>) {
    let Some(expires) = expires else {
        return std::future::pending().await;
    };
    while now() < expires {
        let left = (expires - now()).to_duration();
        tokio::time::sleep(left.clamp(CLOCK_STEP, CLOCK_CHECK)).await;
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
