//! WHIP in, frames out.
//!
//! A publisher POSTs an offer ([RFC 9725]), media comes over WebRTC on one port (UDP, or TCP) shared by every session, and
//! leaves as [`timeline::Frame`]s that carry their capture time on the server's clock.
//!
//! ```text
//! whip      HTTP: who may publish, what is asked for            sessions   who is on air, turn: who waits
//! sdp       what an offer holds, what our answer says           session    one publisher, from 201 to the end
//! peer      the WebRTC stack behind one seam                    capture    RTP time → capture time
//! rtp       packets → frames
//! ```
//!
//! [RFC 9725]: https://www.rfc-editor.org/rfc/rfc9725

mod belt;
mod capture;
pub mod client;
mod config;
mod door;
mod error;
mod ice_servers;
#[cfg(test)]
mod lossy;
mod peer;
mod rtp;
mod sdp;
mod session;
mod sessions;
mod turn;
mod whip;

use std::net::SocketAddr;
use std::sync::Arc;

use timeline::{BroadcastId, SourceName};

pub use config::{Config, Measure, RepairTime, SecondPublisher, Tcp};
pub use door::{Door, Grant, Invitation, Left, Publication, Refusal};
pub use error::Error;
pub use ice_servers::IceServer;

use peer::Mux;
use sessions::{Handle, Sessions};

/// The source side of every broadcast. A clone is another handle on the same sessions.
#[derive(Clone)]
pub struct Ingest(Arc<whip::Shared>);

impl Ingest {
    /// Opens the ports that every session shares.
    pub async fn bind(config: Config, door: Arc<dyn Door>) -> Result<Ingest, Error> {
        config.check()?;
        let mux = Mux::bind(&config.udp, config.tcp.addresses()).await?;
        let candidates = sdp::Candidates::new(&config, mux.udp(), mux.tcp().to_vec())?;
        let sessions = Sessions::new(config.max_sessions, config.second_publisher);
        Ok(Ingest(Arc::new(whip::Shared {
            config,
            door,
            mux,
            candidates,
            sessions,
        })))
    }

    /// `/whip/{id}` and `/whip/{id}/{session}`.
    pub fn router(&self) -> axum::Router {
        whip::router(self.0.clone())
    }

    /// Where media comes in.
    pub fn udp(&self) -> Vec<SocketAddr> {
        self.0.mux.udp()
    }

    pub fn tcp(&self) -> &[SocketAddr] {
        self.0.mux.tcp()
    }

    /// Closes the broadcast's sessions, and waits until their frames are over.
    pub async fn end(&self, broadcast: &BroadcastId) {
        close(self.0.sessions.of(broadcast)).await;
    }

    /// Closes the sessions of one sender: those of this source and of its screen, on air or waiting. Who is being
    /// negotiated with is for the door to refuse.
    pub async fn dismiss(&self, broadcast: &BroadcastId, source: &SourceName) {
        let mut sessions = self.0.sessions.of(broadcast);
        let theirs = [source.clone(), source.screen()];
        sessions.retain(|session| theirs.contains(&session.place.source));
        close(sessions).await;
    }

    /// Closes every session and admits no more.
    pub async fn shutdown(&self) {
        close(self.0.sessions.shut()).await;
    }
}

async fn close(sessions: Vec<Arc<Handle>>) {
    futures::future::join_all(sessions.iter().map(|session| session.close(Left::Closed))).await;
}
