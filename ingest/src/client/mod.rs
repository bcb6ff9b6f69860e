//! A WHIP publisher: the H.264 and Opus frames of a feed, out over WebRTC.
//!
//! It is a client like any other and shares nothing with the server beside it but the names of the codecs.
//! Reconnecting is its caller's: every reason to do so is an [`Error`].

mod clock;
mod connection;
mod error;
mod keyframes;
mod reports;
mod resource;
mod rtp;
mod source;

use std::future::Future;
use std::net::IpAddr;
use std::time::Duration;

use timeline::{Timeline, feed};
use tokio_util::sync::CancellationToken;

use connection::{Connection, LOST};
use resource::{Endpoint, Resource};
use source::Source;

use crate::sdp;

pub use error::Error;

#[derive(Clone, Debug)]
pub struct Config {
    /// The WHIP endpoint: `https://lectern.example/whip/algebra-1`.
    pub url: String,
    pub token: Option<String>,
    /// The session that this one replaces: what [`Error::Lost`] told. The server may still take it for the living.
    pub replaces: Option<String>,
    /// What the feed's times refer to: sender reports tell the server each frame's capture time by it.
    pub timeline: Timeline,
    /// STUN servers (`stun:host:port`), where the server cannot be reached without.
    pub stun: Vec<String>,
    /// The address to send from. By default the one that the route to the endpoint begins with.
    pub bind: Option<IpAddr>,
}

impl Config {
    pub fn new(url: impl Into<String>, timeline: Timeline) -> Self {
        Config {
            url: url.into(),
            token: None,
            replaces: None,
            timeline,
            stun: Vec::new(),
            bind: None,
        }
    }
}

/// Publishes until the feed ends or `stop`; then the server is told. Frames are sent as they come: what comes
/// before the connection stands is gone, and the picture begins with a keyframe.
///
/// The feed must be on the line ([`feed::Policy::Line`]): a tap that skips would leave holes that the server cannot see.
pub async fn publish(config: Config, feed: feed::Consumer, stop: CancellationToken) -> Result<(), Error> {
    let mut source = Source::new(feed);
    let endpoint = Endpoint::new(&config)?;
    // `stop` does not cut this short: once the offer is posted only its answer says what is to be deleted.
    let publication = tokio::select! {
        opened = Publication::open(&config, &endpoint) => opened?,
        fault = source.discard() => return Err(fault),
    };
    let outcome = tokio::select! {
        outcome = publication.run(&endpoint, &mut source) => outcome.map_err(|e| publication.named(e)),
        () = stop.cancelled() => Ok(()),
    };
    publication.close(&endpoint).await;
    outcome
}

/// How often the route to the server is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// Between two tries while there is no network.
const RETRY: Duration = Duration::from_millis(500);
/// A server takes us for gone about then: a new session is quicker.
const RESTART: Duration = Duration::from_secs(20);

/// Tries again while there is no network.
async fn until_reached<T, F: Future<Output = Result<T, Error>>>(attempt: impl Fn() -> F) -> Result<T, Error> {
    loop {
        match attempt().await {
            Err(Error::Unreachable { .. }) => tokio::time::sleep(RETRY).await,
            outcome => return outcome,
        }
    }
}

/// A connection and what stands for it at the server.
struct Publication {
    connection: Connection,
    resource: Resource,
}

impl Publication {
    async fn open(config: &Config, endpoint: &Endpoint) -> Result<Self, Error> {
        let connection = Connection::new(config, endpoint.local_address().await?).await?;
        let (resource, answer) = endpoint.post(connection.offer().await?).await?;
        let publication = Publication { connection, resource };
        if let Err(refused) = publication.connection.accept(answer).await {
            publication.close(endpoint).await;
            return Err(refused);
        }
        Ok(publication)
    }

    async fn run(&self, endpoint: &Endpoint, source: &mut Source) -> Result<(), Error> {
        let mut sending = tokio::select! {
            connected = self.connection.connected() => connected?,
            fault = source.discard() => return Err(fault),
        };
        source.request_keyframe();
        let follow = self.follow(endpoint);
        tokio::pin!(follow);
        loop {
            tokio::select! {
                lost = &mut follow => return Err(lost),
                () = self.connection.keyframe_wanted() => source.request_keyframe(),
                frame = source.next() => match frame? {
                    Some((codec, frame)) => sending.send(codec, &frame).await?,
                    None => return Ok(()),
                },
            }
        }
    }

    /// Goes with the network: a path that broke, or an address that is another, is mended by a restart of ICE. Resolves
    /// when that does not help.
    async fn follow(&self, endpoint: &Endpoint) -> Error {
        loop {
            tokio::select! {
                () = self.connection.broken() => {}
                () = self.moved(endpoint) => {}
            }
            if !self.resource.restarts() {
                return LOST;
            }
            tracing::warn!("the network changed; restarting ICE");
            match tokio::time::timeout(RESTART, self.restart(endpoint)).await {
                Ok(Ok(())) => self.connection.want_keyframe(),
                Ok(Err(error)) => {
                    tracing::warn!("ICE could not be restarted: {error}");
                    return LOST;
                }
                Err(_) => return LOST,
            }
        }
    }

    async fn restart(&self, endpoint: &Endpoint) -> Result<(), Error> {
        let address = until_reached(|| endpoint.local_address()).await?;
        let offer = self.connection.restart(address).await?;
        let fragment = sdp::fragment_of(&offer);
        let theirs = until_reached(|| endpoint.restart(&self.resource, fragment.clone())).await?;
        self.connection.restarted(&theirs).await
    }

    /// Resolves when packets to the server leave from another address than they did.
    async fn moved(&self, endpoint: &Endpoint) {
        loop {
            tokio::time::sleep(LOOK).await;
            // Without a network there is nowhere to go.
            if let Ok(address) = endpoint.local_address().await
                && address != self.connection.address()
            {
                return;
            }
        }
    }

    /// A connection does not know what the server calls it.
    fn named(&self, error: Error) -> Error {
        match error {
            Error::Lost { .. } => Error::Lost {
                session: self.resource.session(),
            },
            other => other,
        }
    }

    /// Before the connection, so that the server knows it for a goodbye.
    async fn close(&self, endpoint: &Endpoint) {
        if let Err(e) = endpoint.delete(&self.resource).await {
            tracing::warn!("the server was not told that the broadcast is over: {e}");
        }
        self.connection.close().await;
    }
}
