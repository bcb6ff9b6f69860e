//! Someone who is in: greeted with what they missed, then told everything and heard.

use std::sync::Arc;

use axum::extract::ws::Message;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use timeline::BroadcastId;
use tokio::sync::broadcast::{self, error::RecvError};

use super::besides::{Besides, Waits};
use super::peer::{End, Heard, Peer};
use crate::clock::now;
use crate::event::{Face, Sanction};
use crate::keeper::{Done, Entrance, Frame, Present, RoomHandle, Told};
use crate::room::{Answer, Bucket, Code, Receipt, Refused};
use crate::rooms::Rooms;
use crate::wire::{self, Close, FromClient, Limits, ToClient};
use crate::{Error, Event, Kind, Pass, Person, Rate, Refusal};

/// Asks of one connection that wait for their answers. While the record or the other nodes are out of reach that takes
/// its time, and what others say is shown meanwhile.
const WAITING: usize = 32;

/// What was asked, by its name, and will be answered.
type Waiting = FuturesUnordered<BoxFuture<'static, (String, Done)>>;

/// A visit goes on until something ends it.
pub enum Never {}

/// Someone who is in.
pub struct Visitor<'a> {
    pub rooms: &'a Rooms,
    pub peer: &'a mut Peer,
    pub room: RoomHandle,
    pub person: Person,
    /// The last event that what they were sent covers.
    pub last: u64,
    /// Some of what was told never reached them.
    pub lagged: bool,
    /// Most people mostly listen: there is none then.
    pub waiting: Option<Box<Waiting>>,
}

/// What they are told from, once they are greeted.
pub struct Stay {
    pub told: broadcast::Receiver<Arc<Told>>,
    pub waits: Waits,
    pub _present: Present,
}

impl Visitor<'_> {
    pub async fn greet(
        &mut self,
        rooms: &Rooms,
        broadcast: &BroadcastId,
        pass: &mut Pass,
        entrance: &Entrance,
    ) -> Result<(), End> {
        let (resumed, mut from, events) = match missed(&self.person, rooms, broadcast, &entrance.answer).await
        {
            Ok(missed) => missed,
            Err(error) => return Err(self.peer.fail(broadcast, &error).await),
        };
        let pages = wire::pages(&events);
        let limits = self.limits();
        let line = (&*pass.line.borrow_and_update()).into();
        for (n, page) in pages.iter().enumerate() {
            self.last = match page.last() {
                Some(event) if n + 1 < pages.len() => event.seq,
                _ => entrance.standing.last,
            };
            let (face, anonymous) = (self.person.role.face(), entrance.standing.veil.anonymous());
            let events: Vec<_> = page.iter().map(|event| event.seen(face, anonymous)).collect();
            let frame = match n {
                0 => ToClient::Joined {
                    epoch: &entrance.standing.epoch,
                    from,
                    seq: self.last,
                    you: &self.person,
                    now: now().unix_millis(),
                    line,
                    limits,
                    state: &entrance.standing.state,
                    events: &events,
                    resumed,
                },
                _ => ToClient::Events {
                    from,
                    to: self.last,
                    events: &events,
                },
            };
            self.peer.tell(&frame).await?;
            from = self.last + 1;
        }
        Ok(())
    }

    pub async fn stay(&mut self, stay: Stay) -> Result<Never, End> {
        let Stay {
            mut told,
            waits,
            _present,
        } = stay;
        let mut besides = FuturesUnordered::from_iter([waits.next()]);
        let mut frames = Bucket::default();
        loop {
            tokio::select! {
                // A frame is what mostly comes: nothing else is looked at before it has left.
                biased;
                told = told.recv() => match told {
                    Ok(told) => self.hand_on(&told).await?,
                    // The next frame shows what is missing.
                    Err(RecvError::Lagged(_)) => {
                        self.lagged = true;
                        metrics::counter!("lectern_chat_slow_readers_total", "how" => "gap").increment(1);
                    }
                    Err(RecvError::Closed) => return Err(End::Close(Close::GoingAway)),
                },
                (reference, answer) = answered(&mut self.waiting) => {
                    Box::pin(self.reply(&reference, answer)).await?;
                }
                message = self.peer.recv() => {
                    let heard = self.peer.understand(message)?;
                    // Pings and pongs too: they are answered, or at least read.
                    frames.take(self.peer.config.frame_rate(self.person.role), now()).map_err(|_| End::Close(Close::TooMany))?;
                    // What is large and rare has memory of its own, which is given back.
                    if let Heard::Frame(frame) = heard {
                        Box::pin(self.hear(frame)).await?;
                    }
                }
                Some((came, waits)) = besides.next() => {
                    Box::pin(self.tell(came)).await?;
                    besides.push(waits.next());
                }
            }
        }
    }

    async fn tell(&mut self, came: Besides) -> Result<(), End> {
        match came {
            Besides::Line(line) => self.peer.tell(&ToClient::Line((&line).into())).await,
            Besides::Presence(presence) => self.peer.send(Message::Text(presence)).await,
            Besides::Ping => self.ping().await,
            Besides::Expired => {
                let over = Refusal::Unauthorized("the token has expired".into());
                Err(self.peer.turn_away(over).await)
            }
            Besides::Closing => Err(End::Close(Close::GoingAway)),
        }
    }

    async fn hand_on(&mut self, told: &Told) -> Result<(), End> {
        match told {
            Told::Events(frame) => self.deliver(frame).await,
            Told::Missed => {
                self.lagged = true;
                Ok(())
            }
            Told::Tally { public, staff } | Told::Aside { public, staff } => {
                let text = if self.person.role.moderates() {
                    staff
                } else {
                    public
                };
                self.peer.send(Message::Text(text.clone())).await
            }
        }
    }

    async fn deliver(&mut self, frame: &Frame) -> Result<(), End> {
        if frame.to <= self.last {
            return Ok(());
        }
        let face = self.person.role.face();
        let page = frame.page(face);
        if std::mem::take(&mut self.lagged) && frame.from > self.last + 1 {
            let gap = ToClient::Gap {
                from: self.last + 1,
                to: frame.from - 1,
            };
            Box::pin(self.peer.tell(&gap)).await?;
            self.last = frame.from - 1;
        }
        if face == Face::Public && frame.concerns(&self.person.id) {
            return Box::pin(self.deliver_own(frame)).await;
        }
        if let Some(text) = &page.text {
            self.peer.send(Message::Text(text.clone())).await?;
            self.last = frame.to;
        }
        Ok(())
    }

    /// Something in it is for this participant alone.
    async fn deliver_own(&mut self, frame: &Frame) -> Result<(), End> {
        let theirs = frame
            .events
            .iter()
            .filter(|event| event.is_for(Face::Public, &self.person.id));
        let events: Vec<_> = theirs
            .map(|event| event.seen(Face::Public, frame.veil.anonymous()))
            .collect();
        let told = ToClient::Events {
            from: self.last + 1,
            to: frame.to,
            events: &events,
        };
        self.peer.tell(&told).await?;
        self.last = frame.to;
        let bans = |event: &Arc<Event>| match &event.kind {
            Kind::Sanction { person, what, .. } => *what == Sanction::Ban && person.id == self.person.id,
            _ => false,
        };
        if frame.events.iter().any(bans) {
            let banned = Refused::new(Code::Banned, "you have been banned from this room");
            return Err(self.peer.refuse_and_close(&banned, Close::Banned).await);
        }
        Ok(())
    }

    async fn hear(&mut self, frame: Result<FromClient, (Option<String>, Refused)>) -> Result<(), End> {
        match frame {
            Ok(FromClient::Ask { reference, action }) => {
                if self
                    .waiting
                    .as_ref()
                    .is_some_and(|waiting| waiting.len() >= WAITING)
                {
                    return self.peer.refuse(Some(&reference), &Refused::unavailable()).await;
                }
                let answer = self.rooms.ask(&self.room, &self.person, &reference, action).await;
                let answer = Box::pin(async { (reference, answer.await) });
                self.waiting.get_or_insert_default().push(answer);
                Ok(())
            }
            Ok(FromClient::Roster { reference }) if self.person.role.moderates() => {
                let roster = self.room.people.roster();
                self.peer
                    .tell(&ToClient::Roster {
                        reference: &reference,
                        roster: &roster,
                    })
                    .await
            }
            Ok(FromClient::Roster { reference }) => {
                let forbidden = Refused::new(Code::Forbidden, "only hosts and moderators see who is here");
                self.peer.refuse(Some(&reference), &forbidden).await
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

    async fn reply(&mut self, reference: &str, answer: Done) -> Result<(), End> {
        match answer {
            Ok(Some(Receipt { seq, at, held })) => {
                self.peer
                    .tell(&ToClient::Ack {
                        reference,
                        seq: Some(seq),
                        at: Some(at),
                        held,
                    })
                    .await
            }
            // A reaction: what is summed is not acknowledged one by one.
            Ok(None) => Ok(()),
            Err(refused) => self.peer.refuse(Some(reference), &refused).await,
        }
    }

    async fn ping(&mut self) -> Result<(), End> {
        if self.peer.is_silent() {
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

    fn limits(&self) -> Limits {
        let Rate { messages, per_ms } = self.rate();
        Limits {
            body: self.peer.config.max_body_chars,
            messages,
            per_seconds: f64::from(per_ms) / 1_000.0,
        }
    }
}

/// The next answer, or never where nothing was asked.
async fn answered(waiting: &mut Option<Box<Waiting>>) -> (String, Done) {
    let next = match waiting {
        Some(waiting) => waiting.next().await,
        None => std::future::pending().await,
    };
    match next {
        Some(answered) => answered,
        None => {
            *waiting = None;
            std::future::pending().await
        }
    }
}

/// Whether they get everything since they left, and what that is: events from a `seq` on.
async fn missed(
    person: &Person,
    rooms: &Rooms,
    broadcast: &BroadcastId,
    answer: &Answer,
) -> Result<(bool, u64, Vec<Arc<Event>>), Error> {
    match answer {
        Answer::Resumed { from, events } => Ok((true, *from, events.clone())),
        Answer::Fresh { from, events } => Ok((false, *from, events.clone())),
        Answer::FromRecord { from, to, then } => {
            let record = &rooms.shared().record;
            let mut events = record.page(broadcast, *from, *to, to - from + 1).await?;
            events.retain(|event| event.is_for(person.role.face(), &person.id));
            let events = events.into_iter().map(Arc::new).chain(then.iter().cloned());
            Ok((true, *from, events.collect()))
        }
    }
}
