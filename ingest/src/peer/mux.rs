//! The ports that all sessions share: the stack wants a socket per connection and gets views of these.

mod table;

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use bytes::Bytes;
use rtc::crypto::RTCCryptoProvider;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::framing::MAX_DATAGRAM;
use super::generations::Generation;
use super::listen::Ports;
use super::stun::Credentials;
use super::udp;
use super::view::Route;
use crate::Error;
pub(super) use table::Way;
use table::{Delivery, Dispatch, Table};

/// Per session and family: a second of 20 Mbit/s, for a stack that is busy.
const QUEUE: usize = 2048;

pub(crate) struct Mux {
    udp: Vec<udp::Socket>,
    tcp: Vec<SocketAddr>,
    table: Mutex<Table>,
    crypto: Arc<dyn RTCCryptoProvider>,
    stop: CancellationToken,
}

pub(super) type Datagrams = mpsc::Receiver<(SocketAddr, Bytes)>;

impl Mux {
    /// Opens the ports. Without `tcp` it is open where UDP is.
    pub async fn bind(udp: &[SocketAddr], tcp: Option<&[SocketAddr]>) -> Result<Arc<Mux>, Error> {
        let crypto = rtc::crypto::default_provider().map_err(|e| Error::Crypto(e.to_string()))?;
        let Ports { udp, tcp } = Ports::open(udp, tcp)?;
        let mux = Arc::new(Mux {
            udp,
            tcp: tcp.iter().map(|listener| listener.local).collect(),
            table: Mutex::default(),
            crypto,
            stop: CancellationToken::new(),
        });
        for (n, socket) in mux.udp.iter().enumerate() {
            tokio::spawn(receive(Arc::downgrade(&mux), n, socket.clone(), mux.stop.clone()));
        }
        for listener in tcp {
            tokio::spawn(listener.accept(Arc::downgrade(&mux), mux.stop.clone()));
        }
        Ok(mux)
    }

    /// Where it listens.
    pub fn udp(&self) -> Vec<SocketAddr> {
        self.udp.iter().map(|socket| socket.local).collect()
    }

    pub fn tcp(&self) -> &[SocketAddr] {
        &self.tcp
    }

    pub(super) fn has_ipv6(&self) -> bool {
        self.udp().iter().chain(&self.tcp).any(SocketAddr::is_ipv6)
    }

    /// A place for one more session. What comes for it over IPv4 and IPv6 comes apart.
    pub(super) fn route(self: &Arc<Self>) -> Route {
        let ((v4, from_v4), (v6, from_v6)) = (mpsc::channel(QUEUE), mpsc::channel(QUEUE));
        let id = self.table().enter(v4, v6);
        Route::new(self.clone(), id, from_v4, from_v6)
    }

    /// The session is found by these credentials from now on.
    pub(super) fn answers_to(&self, session: u64, first: Generation) {
        self.table().answers_to(session, first);
    }

    /// The publisher goes by these credentials from now on; ours. `None` if there is no such session.
    pub(super) fn restart(&self, session: u64, theirs: Credentials) -> Option<Credentials> {
        self.table().restart(session, theirs)
    }

    pub(super) fn forget(&self, session: u64) {
        self.table().forget(session);
    }

    /// A datagram from anybody. False if it is nobody's.
    pub(super) fn received(&self, from: SocketAddr, way: Way, datagram: &[u8]) -> bool {
        self.hand_over(from, Some(way), datagram)
    }

    /// A datagram from an address that is known.
    pub(super) fn forward(&self, from: SocketAddr, datagram: &[u8]) -> bool {
        self.hand_over(from, None, datagram)
    }

    fn hand_over(&self, from: SocketAddr, way: Option<Way>, datagram: &[u8]) -> bool {
        let crypto = self.crypto.crypto();
        let to = self.table().assign(from, way, datagram, crypto, Instant::now());
        deliver(to)
    }

    /// Never waits: the sockets remember one waiting task only, and a lost datagram is no error.
    pub(super) fn send(&self, session: u64, to: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        let Dispatch { to, datagram, way } =
            self.table().dispatch(session, to, datagram, self.crypto.crypto());
        match way {
            Some(Way::Tcp(connection)) => {
                if connection.try_send(bytes(datagram)).is_err() {
                    metrics::counter!("lectern_ingest_datagrams_dropped_total").increment(1);
                }
                Ok(())
            }
            Some(Way::Udp { socket, to: from }) => self.udp[socket].send(to, from, &datagram),
            // Not heard from yet: a candidate that it told.
            None => match self.udp.iter().find(|s| s.local.is_ipv4() == to.is_ipv4()) {
                Some(socket) => socket.send(to, None, &datagram),
                None => Ok(()),
            },
        }
    }

    /// A TCP connection is over.
    pub(super) fn hung_up(&self, from: SocketAddr) {
        self.table().hung_up(from);
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing can panic while it is held.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Mux {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn deliver(to: Option<Delivery<'_>>) -> bool {
    let Some(Delivery {
        from,
        datagram,
        queue,
    }) = to
    else {
        metrics::counter!("lectern_ingest_datagrams_unknown_total").increment(1);
        return false;
    };
    // UDP has nobody to push back to; the loss is repaired or counted like any other.
    if queue.try_send((from, bytes(datagram))).is_err() {
        metrics::counter!("lectern_ingest_datagrams_dropped_total").increment(1);
    }
    true
}

fn bytes(datagram: Cow<'_, [u8]>) -> Bytes {
    match datagram {
        Cow::Borrowed(datagram) => Bytes::copy_from_slice(datagram),
        Cow::Owned(datagram) => datagram.into(),
    }
}

async fn receive(mux: Weak<Mux>, n: usize, socket: udp::Socket, stop: CancellationToken) {
    let received = socket.receive(|from, to, datagram| {
        if let Some(mux) = mux.upgrade()
            && datagram.len() <= MAX_DATAGRAM
        {
            mux.received(from, Way::Udp { socket: n, to }, datagram);
        }
    });
    tokio::select! {
        () = stop.cancelled() => {}
        over = received => tracing::error!(?over, "the UDP port is gone"),
    }
}

#[cfg(test)]
mod tests;
