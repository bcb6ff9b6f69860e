//! One room on many nodes: Redis gives its events their order, keeps the last of them, and delivers them.
//!
//! A room's log is a stream whose entries are numbered by `seq`. One script call puts drafts into it ([`Broker::publish`]),
//! and sends them over a sharded channel to every node that serves the room. Pub/Sub delivers at most once, so who
//! follows a room ([`Broker::follow`]) reads the stream too: at first, wherever a number is missing, after each
//! reconnect, and now and then.
//!
//! Redis may lose what it has: the record is what counts. A log that is gone, or that knows less than was seen of it,
//! is told as [`Failed::Lost`]; the room begins a new epoch in the record and seeds the log from there
//! ([`Broker::seed`]).

mod follow;
mod link;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use redis::{FromRedisValue, Script, ScriptInvocation, Value};
use timeline::BroadcastId;

use link::Link;

/// Events that a room's log holds: half a minute of a busy room, minutes of a usual one. What is older is in the
/// record.
const EVENTS: usize = 2_000;

/// Keys of drafts that are known again. At the most that a room's rates allow this is more than two minutes, and
/// no draft is tried for longer than [`DRAFT_AGE`].
const REFS: usize = 16_384;

/// A draft that could not be published in this time is given up: its key may be forgotten.
pub const DRAFT_AGE: Duration = Duration::from_secs(120);

/// Drafts in one call, and so the time that one room can hold up the others: some milliseconds.
pub const BATCH: usize = 256;

/// What Redis holds of a room that no node serves any more.
const TTL: Duration = Duration::from_secs(24 * 3_600);

/// A node that has not been heard of for so long serves no one and leads nothing; it says so three times as often.
pub const ATTENDANCE: Duration = Duration::from_secs(3);

/// Redis as the rooms of one node use it. Cheap to clone.
#[derive(Clone)]
pub struct Broker(Arc<Inner>);

struct Inner {
    link: Link,
    /// This process among those that serve the same rooms.
    node: String,
    publish: Script,
    read: Script,
    seed: Script,
    attend: Script,
    erase: Script,
    recorded: Script,
}

/// Something that wants a place in the order of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// The same whenever the same thing is published again: it has one place then.
    pub key: String,
    pub payload: Bytes,
}

/// How far a node knows a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Names this life of the numbering: [`next_epoch`].
    pub epoch: String,
    pub seq: u64,
}

/// What becomes of a room, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    Event {
        seq: u64,
        payload: Bytes,
    },
    /// The log does not have these any more, both ends included: the record does.
    Missing {
        from: u64,
        to: u64,
    },
    /// The record has everything up to here.
    Recorded(u64),
    /// The log is not the one that was followed; nothing more comes.
    Lost,
}

/// A room over all its nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attendance {
    /// People at all nodes.
    pub present: usize,
    /// This node does what only one may do. Two may believe it for a moment: what they do has to bear that.
    pub leads: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    /// Whether it was done is not known: a draft has to be published again with the same key.
    #[error("Redis is away: {0}")]
    Away(String),
    #[error("Redis has lost the log of the room")]
    Lost,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the URL of Redis is not valid: {0}")]
    Url(redis::RedisError),
    #[error("Redis refuses us: {0}")]
    Refused(redis::RedisError),
    #[error("this Redis knows no SPUBLISH: version 7 or newer is needed")]
    TooOld,
}

impl Broker {
    /// Connects, and stays connected until the last clone is dropped. A Redis that cannot be reached is no error: it
    /// is tried again until it can.
    pub async fn open(url: &str) -> Result<Broker, Error> {
        Ok(Broker(Arc::new(Inner {
            link: Link::open(url).await?,
            node: uuid::Uuid::new_v4().simple().to_string(),
            publish: Script::new(include_str!("publish.lua")),
            read: Script::new(include_str!("read.lua")),
            seed: Script::new(include_str!("seed.lua")),
            attend: Script::new(include_str!("attend.lua")),
            erase: Script::new(include_str!("erase.lua")),
            recorded: Script::new(include_str!("recorded.lua")),
        })))
    }

    /// Whether `url` is one that [`Broker::open`] takes. Nothing is connected.
    pub fn check_url(url: &str) -> Result<(), Error> {
        link::client(url).map(|_| ())
    }

    /// Names this process among those that serve the same rooms.
    pub fn node(&self) -> &str {
        &self.0.node[..6]
    }

    /// Whether Redis answers.
    pub fn is_up(&self) -> bool {
        self.0.link.live().is_some()
    }

    /// The place of each draft in the order of the room, that of its first publication where its key is known. At
    /// most [`BATCH`] drafts. Only as long as the log is the one of `known`, and knows at least as much.
    pub async fn publish(
        &self,
        room: &BroadcastId,
        known: &Position,
        drafts: &[Draft],
    ) -> Result<Vec<u64>, Failed> {
        let keys = Keys::of(room);
        let mut call = self.0.publish.prepare_invoke();
        call.key(keys.head).key(keys.log).key(keys.refs);
        call.arg(&known.epoch).arg(known.seq).arg(ms(TTL));
        call.arg(EVENTS).arg(REFS).arg(keys.channel);
        for draft in drafts {
            call.arg(&draft.key).arg(&draft.payload[..]);
        }
        let seqs: Option<Vec<u64>> = self.call(&call).await?;
        seqs.ok_or(Failed::Lost)
    }

    /// Begins the log of a room behind `from`, unless its log is of this epoch or a newer one already. Gives the epoch
    /// that holds. `from.epoch` must have been given to the record just now, by nobody else.
    pub async fn seed(&self, room: &BroadcastId, from: &Position) -> Result<String, Failed> {
        let keys = Keys::of(room);
        let mut call = self.0.seed.prepare_invoke();
        call.key(keys.head).key(keys.log).key(keys.refs);
        call.arg(&from.epoch).arg(from.seq).arg(ms(TTL));
        self.call(&call).await
    }

    /// How far the log of a room has come; `None`: there is no log.
    pub async fn position(&self, room: &BroadcastId) -> Result<Option<Position>, Failed> {
        let mut command = redis::cmd("HMGET");
        command.arg(Keys::of(room).head).arg(&["epoch", "seq"]);
        let live = self.live()?;
        let head = command.query_async(&mut live.connection.clone()).await;
        let (epoch, seq): (Option<String>, Option<u64>) =
            head.map_err(|error| self.0.link.failed(&live, &error))?;
        Ok(epoch.zip(seq).map(|(epoch, seq)| Position { epoch, seq }))
    }

    /// The record has the events up to `upto`: every node hears of it.
    pub async fn recorded(&self, room: &BroadcastId, upto: &Position) -> Result<(), Failed> {
        let keys = Keys::of(room);
        let mut call = self.0.recorded.prepare_invoke();
        call.key(keys.head)
            .arg(&upto.epoch)
            .arg(upto.seq)
            .arg(keys.channel);
        self.call(&call).await
    }

    /// Says that this node serves the room to so many people; holds for [`ATTENDANCE`]. One of the nodes that say so
    /// leads; with `claims`, this one from now on.
    pub async fn attend(
        &self,
        room: &BroadcastId,
        people: usize,
        claims: bool,
    ) -> Result<Attendance, Failed> {
        let (present, leads): (usize, u8) = self.tell(room, people as i64, claims).await?;
        Ok(Attendance {
            present,
            leads: leads == 1,
        })
    }

    /// This node does not serve the room any more.
    pub async fn leave(&self, room: &BroadcastId) -> Result<(), Failed> {
        self.tell(room, -1, false).await.map(|_: (usize, u8)| ())
    }

    /// Takes what was deleted out of the log; those who read there find it [`Heard::Missing`]. The record has to know
    /// of the deletion already.
    pub async fn erase(&self, room: &BroadcastId, epoch: &str, seqs: &[u64]) -> Result<(), Failed> {
        let keys = Keys::of(room);
        let mut call = self.0.erase.prepare_invoke();
        call.key(keys.head).key(keys.log).arg(epoch).arg(seqs);
        self.call(&call).await
    }

    /// The events of a room behind `known`, in order and without a hole. Works only while it is polled.
    pub fn follow(&self, room: &BroadcastId, known: Position) -> impl Stream<Item = Heard> + Send + use<> {
        follow::follow(self.clone(), room, known)
    }

    /// At most `count` events behind `known`, with the last `seq` of the room.
    async fn read(&self, room: &BroadcastId, known: &Position, count: usize) -> Result<Page, Failed> {
        let keys = Keys::of(room);
        let mut call = self.0.read.prepare_invoke();
        call.key(keys.head).key(keys.log);
        call.arg(&known.epoch).arg(known.seq).arg(count);
        let page: Option<Vec<Value>> = self.call(&call).await?;
        Page::of(page.ok_or(Failed::Lost)?).map_err(|error| Failed::Away(error.to_string()))
    }

    async fn tell(&self, room: &BroadcastId, people: i64, claims: bool) -> Result<(usize, u8), Failed> {
        let keys = Keys::of(room);
        let mut call = self.0.attend.prepare_invoke();
        call.key(keys.head).key(keys.log).key(keys.refs);
        call.key(keys.present).key(keys.lease);
        call.arg(&self.0.node).arg(people);
        call.arg(ms(ATTENDANCE)).arg(ms(TTL)).arg(u8::from(claims));
        self.call(&call).await
    }

    fn live(&self) -> Result<link::Live, Failed> {
        self.0
            .link
            .live()
            .ok_or_else(|| Failed::Away("not connected".into()))
    }

    async fn call<T: FromRedisValue>(&self, call: &ScriptInvocation<'_>) -> Result<T, Failed> {
        let live = self.live()?;
        let result = call.invoke_async(&mut live.connection.clone()).await;
        result.map_err(|error| self.0.link.failed(&live, &error))
    }
}

/// The epoch after `epochs`. Those of one room are ordered by the number they begin with.
pub fn next_epoch(epochs: &[&str]) -> String {
    let generation = |epoch: &&str| epoch.split_once('-')?.0.parse::<u32>().ok();
    let newest = epochs.iter().filter_map(generation).max();
    let next = newest.unwrap_or(0).saturating_add(1);
    format!("{next}-{}", uuid::Uuid::new_v4().simple())
}

/// Events as the log has them.
struct Page {
    last: u64,
    recorded: u64,
    events: Vec<(u64, Bytes)>,
}

impl Page {
    fn of(values: Vec<Value>) -> Result<Page, redis::ParsingError> {
        let mut values = values.into_iter();
        let mut number = || values.next().map_or(Ok(0), redis::from_redis_value);
        let (last, recorded) = (number()?, number()?);
        let mut events = Vec::with_capacity(values.len() / 2);
        while let (Some(seq), Some(payload)) = (values.next(), values.next()) {
            let payload: Vec<u8> = redis::from_redis_value(payload)?;
            events.push((redis::from_redis_value(seq)?, payload.into()));
        }
        Ok(Page {
            last,
            recorded,
            events,
        })
    }
}

/// The names of a room in Redis. The braces keep them on one shard of a cluster.
struct Keys {
    head: String,
    log: String,
    refs: String,
    present: String,
    lease: String,
    channel: String,
}

impl Keys {
    fn of(room: &BroadcastId) -> Keys {
        let key = |what| format!("lectern:{{{room}}}:{what}");
        Keys {
            head: key("head"),
            log: key("log"),
            refs: key("refs"),
            present: key("present"),
            lease: key("lease"),
            channel: key("events"),
        }
    }
}

fn ms(span: Duration) -> u64 {
    span.as_millis() as u64
}

#[cfg(test)]
mod tests;
