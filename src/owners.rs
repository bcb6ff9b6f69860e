//! Which of several nodes a broadcast belongs to: a lease in Redis that names the node by its URL. Publishers that come to
//! another one are sent there (RFC 9725 §4.5).
//!
//! Without Redis nobody is sent anywhere: pictures go on at the node that has them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisError, Script};
use timeline::{BroadcastId, Line};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::broadcasts::{Broadcast, Broadcasts};

/// A node that dies holds its broadcasts for so long: about the time in which it would be back.
const LEASE: Duration = Duration::from_secs(15);
const RENEWAL: Duration = Duration::from_secs(4);
/// A publisher waits for it, and OBS gives up after eight seconds.
const PATIENCE: Duration = Duration::from_secs(1);

/// Gives who else has it, or takes it for so many milliseconds.
const CLAIM: &str = "local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then return owner end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return false";

const RELEASE: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end";

pub struct Owners {
    client: redis::Client,
    /// This node, as publishers reach it.
    url: String,
    connection: Mutex<Option<MultiplexedConnection>>,
    claim: Script,
    release: Script,
}

impl Owners {
    /// Nothing is connected yet.
    pub fn new(redis: &str, url: &str) -> anyhow::Result<Arc<Owners>> {
        Ok(Arc::new(Owners {
            client: redis::Client::open(redis).context("redis.url")?,
            url: url.trim_end_matches('/').to_owned(),
            connection: Mutex::default(),
            claim: Script::new(CLAIM),
            release: Script::new(RELEASE),
        }))
    }

    /// The URL of the node that the broadcast belongs to, if it is another.
    pub async fn elsewhere(&self, id: &BroadcastId) -> Option<String> {
        let asked = self.ask(|mut connection| async move {
            redis::cmd("GET").arg(key(id)).query_async(&mut connection).await
        });
        asked.await.flatten().filter(|owner: &String| *owner != self.url)
    }

    /// Takes the broadcast, or holds it for longer. An error is the node that has it.
    pub async fn claim(&self, id: &BroadcastId) -> Result<(), String> {
        let asked = self.ask(|mut connection| async move {
            self.claim
                .key(key(id))
                .arg(&self.url)
                .arg(LEASE.as_millis() as u64)
                .invoke_async(&mut connection)
                .await
        });
        match asked.await.flatten() {
            Some(owner) => Err(owner),
            None => Ok(()),
        }
    }

    async fn release(&self, id: &BroadcastId) {
        self.ask(|mut connection| async move {
            let mut release = self.release.key(key(id));
            release.arg(&self.url).invoke_async::<()>(&mut connection).await
        })
        .await;
    }

    /// Holds what is on air here, until `stop`.
    pub async fn hold(self: Arc<Self>, broadcasts: Broadcasts, stop: CancellationToken) {
        let mut held = HashSet::new();
        let mut tick = tokio::time::interval(RENEWAL);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = stop.cancelled() => break,
            }
            let ours: HashSet<BroadcastId> = broadcasts
                .list()
                .iter()
                .filter(|broadcast| is_on(broadcast))
                .map(|broadcast| broadcast.id.clone())
                .collect();
            for over in held.difference(&ours) {
                self.release(over).await;
            }
            for id in &ours {
                if let Err(owner) = self.claim(id).await {
                    tracing::error!(broadcast = %id, owner, "on air here, but another node has it");
                }
            }
            held = ours;
        }
        for id in &held {
            self.release(id).await;
        }
    }

    /// Asks Redis over the one connection. `None`, where it does not answer; the next time it is connected anew.
    async fn ask<T, F>(&self, request: impl FnOnce(MultiplexedConnection) -> F) -> Option<T>
    where
        F: Future<Output = Result<T, RedisError>>,
    {
        let answer = async {
            let mut known = self.connection.lock().await;
            let connection = match &*known {
                Some(connection) => connection.clone(),
                None => known.insert(self.connect().await?).clone(),
            };
            drop(known);
            request(connection).await
        };
        match answer.await {
            Ok(answer) => Some(answer),
            Err(error) => {
                tracing::warn!("Redis does not say whose a broadcast is: {error}");
                *self.connection.lock().await = None;
                None
            }
        }
    }

    async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        self.client
            .get_multiplexed_async_connection_with_config(&config)
            .await
    }
}

/// Somebody publishes, or may come back.
fn is_on(broadcast: &Broadcast) -> bool {
    broadcast.is_on_air() || matches!(*broadcast.line().borrow(), Line::Live { .. })
}

fn key(id: &BroadcastId) -> String {
    format!("lectern:owner:{id}")
}

#[cfg(test)]
mod tests;
