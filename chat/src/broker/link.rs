//! The connection to Redis: one, for commands and deliveries, made again whenever it fails.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rand::RngExt;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, IntoConnectionInfo, ProtocolVersion, PushInfo, PushKind, RedisError,
    ServerErrorKind, Value,
};
use tokio::sync::{Notify, mpsc, watch};

use super::{Error, Failed};

/// A Redis that is well answers within a millisecond; one that writes a snapshot may take some hundred. An outage is
/// noticed after so long.
const RESPONSE: Duration = Duration::from_secs(2);

const CONNECT: Duration = Duration::from_secs(3);

/// A connection that says nothing may be dead.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Pauses between attempts grow up to this, and each node waits a random part of it: a Redis that comes back is not
/// run over.
const MAX_PAUSE: Duration = Duration::from_secs(2);
const MIN_PAUSE: Duration = Duration::from_millis(50);

/// Commands on their way: each room has one or two.
const COMMANDS: usize = 1_024;

/// Deliveries that a room has not looked at yet. Beyond it reads the log instead.
const DELIVERIES: usize = 512;

pub struct Link {
    live: watch::Receiver<Option<Live>>,
    suspect: Arc<Suspect>,
    listeners: Arc<Listeners>,
}

/// A connection that works, as far as is known.
#[derive(Clone)]
pub struct Live {
    pub connection: MultiplexedConnection,
    /// 1 for the first connection, 2 for the next …
    pub life: u64,
}

/// The connection that somebody found not to work.
#[derive(Default)]
struct Suspect {
    life: AtomicU64,
    told: Notify,
}

/// Who wants what is sent over which channel.
#[derive(Default)]
struct Listeners {
    channels: Mutex<HashMap<String, Listener>>,
    next: AtomicU64,
    /// Held while a channel is subscribed or unsubscribed, so that one does not undo the other.
    subscribed: tokio::sync::Mutex<Subscribed>,
}

/// What the present connection is subscribed to.
#[derive(Default)]
struct Subscribed {
    life: u64,
    channels: Vec<String>,
}

struct Listener {
    id: u64,
    deliveries: mpsc::Sender<Bytes>,
    overflowed: Arc<AtomicBool>,
}

/// What is sent over one channel, from now on and as long as the connection lives.
pub struct Deliveries {
    pub received: mpsc::Receiver<Bytes>,
    /// Something was left out.
    pub overflowed: Arc<AtomicBool>,
    id: u64,
    channel: String,
    listeners: Arc<Listeners>,
}

pub fn client(url: &str) -> Result<Client, Error> {
    let info = url.into_connection_info().map_err(Error::Url)?;
    // Replies and deliveries over one connection.
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    Client::open(info.set_redis_settings(settings)).map_err(Error::Url)
}

impl Link {
    pub async fn open(url: &str) -> Result<Link, Error> {
        let listeners = Arc::new(Listeners::default());
        let suspect = Arc::new(Suspect::default());
        let connector = Connector {
            client: client(url)?,
            listeners: listeners.clone(),
            suspect: suspect.clone(),
            lives: 0,
        };
        let (live, receiver) = watch::channel(None);
        let tended = connector.start(live).await?;
        tokio::spawn(tended);
        Ok(Link {
            live: receiver,
            suspect,
            listeners,
        })
    }

    pub fn live(&self) -> Option<Live> {
        self.live.borrow().clone()
    }

    pub fn watch(&self) -> watch::Receiver<Option<Live>> {
        self.live.clone()
    }

    /// What an error means; a connection that brought it about may be given up.
    pub fn failed(&self, live: &Live, error: &RedisError) -> Failed {
        // A primary that became a replica, or that loads its data, stays so for a while: another may answer by now.
        let elsewhere =
            [ServerErrorKind::ReadOnly, ServerErrorKind::BusyLoading].map(redis::ErrorKind::Server);
        if error.is_io_error() || error.is_unrecoverable_error() || elsewhere.contains(&error.kind()) {
            self.suspect.report(live.life);
        }
        Failed::Away(error.to_string())
    }

    /// Hears a channel; [`Link::subscribe`] has to follow, for each connection.
    pub fn listen(&self, channel: String) -> Deliveries {
        let (deliveries, received) = mpsc::channel(DELIVERIES);
        let overflowed = Arc::new(AtomicBool::new(false));
        let id = self.listeners.next.fetch_add(1, Ordering::Relaxed);
        let listener = Listener {
            id,
            deliveries,
            overflowed: overflowed.clone(),
        };
        self.listeners.lock().insert(channel.clone(), listener);
        Deliveries {
            received,
            overflowed,
            id,
            channel,
            listeners: self.listeners.clone(),
        }
    }

    pub async fn subscribe(&self, live: &Live, channel: &str) -> Result<(), Failed> {
        let mut subscribed = self.listeners.subscribed.lock().await;
        if live.life < subscribed.life {
            return Err(Failed::Away("the connection was lost".into()));
        }
        subscribed.renew(live.life);
        if subscribed.channels.iter().any(|c| c == channel) {
            return Ok(());
        }
        let mut connection = live.connection.clone();
        let mut command = redis::cmd("SSUBSCRIBE");
        let answer = command.arg(channel).query_async::<Value>(&mut connection);
        answer.await.map_err(|error| self.failed(live, &error))?;
        subscribed.channels.push(channel.to_owned());
        Ok(())
    }
}

impl Subscribed {
    /// A new connection has no subscriptions.
    fn renew(&mut self, life: u64) {
        if self.life < life {
            self.life = life;
            self.channels.clear();
        }
    }
}

impl Suspect {
    fn report(&self, life: u64) {
        self.life.fetch_max(life, Ordering::AcqRel);
        self.told.notify_one();
    }

    /// Returns when this connection has been reported.
    async fn reported(&self, life: u64) {
        while self.life.load(Ordering::Acquire) < life {
            self.told.notified().await;
        }
    }
}

impl Listeners {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Listener>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn deliver(&self, channel: &[u8], payload: Vec<u8>) {
        let Ok(channel) = std::str::from_utf8(channel) else {
            return;
        };
        if let Some(listener) = self.lock().get(channel)
            && listener.deliveries.try_send(payload.into()).is_err()
        {
            listener.overflowed.store(true, Ordering::Release);
        }
    }

    /// Ends the subscriptions that nobody listens to any more.
    async fn sweep(&self, live: &Live) -> Result<(), RedisError> {
        let mut subscribed = self.subscribed.lock().await;
        subscribed.renew(live.life);
        let idle: Vec<_> = {
            let listeners = self.lock();
            let is_idle = |channel: &&String| !listeners.contains_key(*channel);
            subscribed.channels.iter().filter(is_idle).cloned().collect()
        };
        for channel in idle {
            let mut connection = live.connection.clone();
            let command = redis::cmd("SUNSUBSCRIBE").arg(&channel).to_owned();
            command.query_async::<Value>(&mut connection).await?;
            subscribed.channels.retain(|c| *c != channel);
        }
        Ok(())
    }
}

impl Drop for Deliveries {
    fn drop(&mut self) {
        let mut channels = self.listeners.lock();
        // Not where somebody else listens by now.
        if channels
            .get(&self.channel)
            .is_some_and(|listener| listener.id == self.id)
        {
            channels.remove(&self.channel);
        }
    }
}

/// What keeps the connection.
struct Connector {
    client: Client,
    listeners: Arc<Listeners>,
    suspect: Arc<Suspect>,
    lives: u64,
}

impl Connector {
    /// Connects once; what is wrong with the settings is told now. The answer then stays connected.
    async fn start(mut self, live: watch::Sender<Option<Live>>) -> Result<impl Future<Output = ()>, Error> {
        let first = match self.connect().await {
            Ok(first) => Some(first),
            Err(error) if error.is_io_error() => {
                tracing::warn!(%error, "Redis cannot be reached yet");
                None
            }
            Err(error) => return Err(Error::Refused(error)),
        };
        if let Some(first) = &first {
            knows_spublish(first).await?;
        }
        tell(&live, first.clone());
        Ok(self.run(live, first))
    }

    /// Until nobody uses the link any more.
    async fn run(mut self, live: watch::Sender<Option<Live>>, first: Option<Live>) {
        let mut present = first;
        let mut attempts = 0;
        loop {
            if let Some(connected) = present.take() {
                attempts = 0;
                tokio::select! {
                    () = self.tend(&connected) => {}
                    () = live.closed() => return,
                }
                tell(&live, None);
                tracing::warn!("the connection to Redis is lost");
            }
            tokio::select! {
                () = tokio::time::sleep(pause(attempts, rand::rng().random())) => {}
                () = live.closed() => return,
            }
            attempts += 1;
            match self.connect().await {
                Ok(connected) => {
                    tracing::info!(attempts, "connected to Redis");
                    metrics::counter!("lectern_redis_reconnects_total").increment(1);
                    tell(&live, Some(connected.clone()));
                    present = Some(connected);
                }
                Err(error) => tracing::debug!(%error, attempts, "Redis cannot be reached"),
            }
        }
    }

    async fn connect(&mut self) -> Result<Live, RedisError> {
        let life = self.lives + 1;
        let (listeners, suspect) = (self.listeners.clone(), self.suspect.clone());
        let heard = move |push: PushInfo| {
            match (push.kind, <[Value; 2]>::try_from(push.data)) {
                (PushKind::Disconnection, _) => suspect.report(life),
                (PushKind::SMessage, Ok([Value::BulkString(channel), Value::BulkString(payload)])) => {
                    listeners.deliver(&channel, payload);
                }
                _ => {}
            }
            Ok::<(), redis::aio::SendError>(())
        };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(RESPONSE))
            .set_pipeline_buffer_size(COMMANDS)
            .set_push_sender(heard);
        let connection = self
            .client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        self.lives = life;
        Ok(Live { connection, life })
    }

    /// Returns when the connection is no good any more.
    async fn tend(&self, live: &Live) {
        let failing = async {
            loop {
                tokio::time::sleep(HEARTBEAT).await;
                let mut connection = live.connection.clone();
                let beat = redis::cmd("PING").query_async::<Value>(&mut connection).await;
                if beat.is_err() || self.listeners.sweep(live).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = failing => {}
            () = self.suspect.reported(live.life) => {}
        }
    }
}

fn tell(live: &watch::Sender<Option<Live>>, now: Option<Live>) {
    metrics::gauge!("lectern_redis_up").set(f64::from(u8::from(now.is_some())));
    live.send_replace(now);
}

async fn knows_spublish(live: &Live) -> Result<(), Error> {
    let mut command = redis::cmd("COMMAND");
    let info: Vec<Value> = command
        .arg("INFO")
        .arg("SPUBLISH")
        .query_async(&mut live.connection.clone())
        .await
        .map_err(Error::Refused)?;
    match info.first() {
        None | Some(Value::Nil) => Err(Error::TooOld),
        Some(_) => Ok(()),
    }
}

/// Before attempt `n`, counted from 0; `chance` is in 0..1.
fn pause(n: u32, chance: f64) -> Duration {
    let longest = MIN_PAUSE.saturating_mul(1 << n.min(10)).min(MAX_PAUSE);
    longest.mul_f64(chance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_are_spread() {
        assert_eq!(pause(0, 1.0), MIN_PAUSE);
        assert_eq!(pause(1, 0.5), MIN_PAUSE);
        assert_eq!(pause(40, 1.0), MAX_PAUSE);
        assert_eq!(pause(40, 0.0), Duration::ZERO);
    }

    #[test]
    fn urls() {
        for good in [
            "redis://127.0.0.1",
            "rediss://me:secret@redis.test:6380/1",
            "redis+unix:///run/redis.sock",
        ] {
            assert!(client(good).is_ok(), "{good}");
        }
        for bad in ["", "127.0.0.1:6379", "http://127.0.0.1"] {
            assert!(client(bad).is_err(), "{bad}");
        }
    }
}
