//! One UDP port for every session: the stack wants a socket per connection and gets views of the one.
//!
//! A datagram belongs to the session whose ufrag a STUN binding request names, if it proves the password; from
//! then on everything from that address does. So nobody can steer a session's traffic, or fill the table,
//! without the session's secret.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use ::webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, RecvMeta, Runtime,
    TokioRuntime, Transmit,
};
use bytes::Bytes;
use rtc::crypto::RTCCryptoProvider;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::roaming::Roaming;
use super::stun::{BindingRequest, Credentials};

/// An idle machine loses nothing during 100 ms at 300 Mbit/s.
const RECEIVE_BUFFER: usize = 4 * 1024 * 1024;
/// The longest datagram looked at; WebRTC keeps below 1,500.
const MAX_DATAGRAM: usize = 2048;
/// Per session: a second of 20 Mbit/s, for a stack that is busy.
const QUEUE: usize = 2048;
/// Addresses of one publisher that are remembered: it has a handful, and leaves old ones behind when it moves
/// between networks.
const MAX_ADDRESSES: usize = 16;

pub(crate) struct Mux {
    socket: Arc<UdpSocket>,
    local: SocketAddr,
    table: Mutex<Table>,
    crypto: Arc<dyn RTCCryptoProvider>,
    stop: CancellationToken,
}

#[derive(Default)]
struct Table {
    by_ufrag: HashMap<String, Session>,
    by_address: HashMap<SocketAddr, (String, Queue)>,
}

type Queue = mpsc::Sender<(SocketAddr, Bytes)>;

struct Session {
    password: String,
    queue: Queue,
    /// Oldest first.
    addresses: VecDeque<SocketAddr>,
    roaming: Roaming,
}

impl Mux {
    pub async fn bind(addr: SocketAddr) -> io::Result<Arc<Mux>> {
        let socket = UdpSocket::bind(addr).await?;
        enlarge(&socket);
        let crypto = rtc::crypto::default_provider().map_err(|e| io::Error::other(e.to_string()))?;
        let local = socket.local_addr()?;
        let stop = CancellationToken::new();
        let mux = Mux {
            socket: Arc::new(socket),
            local,
            table: Mutex::default(),
            crypto,
            stop,
        };
        let mux = Arc::new(mux);
        tokio::spawn(receive(
            Arc::downgrade(&mux),
            mux.socket.clone(),
            mux.stop.clone(),
        ));
        Ok(mux)
    }

    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// A place for one more session.
    pub(super) fn route(self: &Arc<Self>, credentials: Credentials) -> Route {
        Route {
            mux: self.clone(),
            credentials,
        }
    }

    fn dispatch(&self, from: SocketAddr, datagram: &[u8]) {
        let Some(queue) = self.queue_of(from, datagram) else {
            metrics::counter!("lectern_ingest_datagrams_unknown_total").increment(1);
            return;
        };
        let from = self.came_from(from, datagram);
        // UDP has nobody to push back to; the loss is repaired or counted like any other.
        if queue.try_send((from, Bytes::copy_from_slice(datagram))).is_err() {
            metrics::counter!("lectern_ingest_datagrams_dropped_total").increment(1);
        }
    }

    fn queue_of(&self, from: SocketAddr, datagram: &[u8]) -> Option<Queue> {
        let mut table = self.table();
        // An address may come back for another session (a NAT that reuses its port): a check says so.
        if let Some(request) = BindingRequest::parse(datagram)
            && table
                .by_address
                .get(&from)
                .is_none_or(|(ufrag, _)| ufrag != request.ufrag)
        {
            let Table { by_ufrag, by_address } = &mut *table;
            let session = by_ufrag.get_mut(request.ufrag)?;
            if !request.is_authentic(&session.password, self.crypto.crypto()) {
                return None;
            }
            session.addresses.push_back(from);
            if session.addresses.len() > MAX_ADDRESSES
                && let Some(oldest) = session.addresses.pop_front()
                && by_address
                    .get(&oldest)
                    .is_some_and(|(ufrag, _)| ufrag == request.ufrag)
            {
                by_address.remove(&oldest);
            }
            by_address.insert(from, (request.ufrag.to_owned(), session.queue.clone()));
            return Some(session.queue.clone());
        }
        table.by_address.get(&from).map(|(_, queue)| queue.clone())
    }

    /// What the stack is told of where this came from.
    fn came_from(&self, from: SocketAddr, datagram: &[u8]) -> SocketAddr {
        let mut table = self.table();
        let Table { by_ufrag, by_address } = &mut *table;
        let session = by_address
            .get(&from)
            .and_then(|(ufrag, _)| by_ufrag.get_mut(ufrag));
        session.map_or(from, |session| {
            session.roaming.came_from(from, datagram, Instant::now())
        })
    }

    /// Where what the stack sends to this address is to go.
    fn is_at(&self, ufrag: &str, address: SocketAddr) -> SocketAddr {
        let table = self.table();
        table
            .by_ufrag
            .get(ufrag)
            .map_or(address, |session| session.roaming.is_at(address))
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

fn enlarge(socket: &UdpSocket) {
    let socket = socket2::SockRef::from(socket);
    let granted = socket
        .set_recv_buffer_size(RECEIVE_BUFFER)
        .and_then(|()| socket.recv_buffer_size());
    match granted {
        Ok(granted) if granted >= RECEIVE_BUFFER => {}
        Ok(granted) => tracing::warn!(
            granted,
            wanted = RECEIVE_BUFFER,
            "small UDP receive buffer: bursts of media may be lost (raise net.core.rmem_max)"
        ),
        Err(error) => tracing::warn!(%error, "cannot enlarge the UDP receive buffer"),
    }
}

async fn receive(mux: Weak<Mux>, socket: Arc<UdpSocket>, stop: CancellationToken) {
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        let received = tokio::select! {
            () = stop.cancelled() => return,
            received = socket.recv_from(&mut buffer) => received,
        };
        let Some(mux) = mux.upgrade() else { return };
        match received {
            Ok((len, from)) => mux.dispatch(from, &buffer[..len]),
            // ICMP answers to what we sent surface here; the socket stays good.
            Err(error) => tracing::debug!(%error, "UDP"),
        }
    }
}

/// One session's share of the socket. Gives its place back when dropped.
pub(super) struct Route {
    mux: Arc<Mux>,
    credentials: Credentials,
}

impl Route {
    pub fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::new(View {
            mux: self.mux.clone(),
            credentials: self.credentials.clone(),
        })
    }

    /// The stack binds a socket before it asks the runtime to wrap it; this one is closed again at once, and
    /// only its address stays as a name.
    pub fn placeholder(&self) -> SocketAddr {
        match self.mux.local {
            SocketAddr::V4(_) => (Ipv4Addr::LOCALHOST, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::LOCALHOST, 0).into(),
        }
    }
}

impl Drop for Route {
    fn drop(&mut self) {
        let mut table = self.mux.table();
        table.by_ufrag.remove(&self.credentials.ufrag);
        table
            .by_address
            .retain(|_, (ufrag, _)| *ufrag != self.credentials.ufrag);
    }
}

/// Tokio, but every UDP socket is the shared one.
struct View {
    mux: Arc<Mux>,
    credentials: Credentials,
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("View").field(&self.credentials).finish()
    }
}

impl Runtime for View {
    fn wrap_udp_socket(&self, placeholder: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let (queue, received) = mpsc::channel(QUEUE);
        let session = Session {
            password: self.credentials.password.clone(),
            queue,
            addresses: VecDeque::new(),
            roaming: Roaming::default(),
        };
        self.mux
            .table()
            .by_ufrag
            .insert(self.credentials.ufrag.clone(), session);
        let local = placeholder.local_addr()?;
        Ok(Arc::new(Share {
            local,
            mux: Arc::downgrade(&self.mux),
            ufrag: self.credentials.ufrag.clone(),
            socket: self.mux.socket.clone(),
            received: Mutex::new(received),
        }))
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) -> Box<dyn JoinHandle> {
        TokioRuntime.spawn(future)
    }

    fn wrap_tcp_listener(&self, listener: std::net::TcpListener) -> io::Result<Arc<dyn AsyncTcpListener>> {
        TokioRuntime.wrap_tcp_listener(listener)
    }

    fn connect_tcp<'a>(
        &'a self,
        addr: SocketAddr,
    ) -> Pin<Box<dyn Future<Output = io::Result<Arc<dyn AsyncTcpStream>>> + Send + 'a>> {
        TokioRuntime.connect_tcp(addr)
    }

    fn resolve_host<'a>(
        &'a self,
        host: &'a str,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>> {
        TokioRuntime.resolve_host(host)
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        TokioRuntime.sleep(duration)
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        TokioRuntime.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        TokioRuntime.block_on(future);
    }

    fn name(&self) -> &'static str {
        "tokio, one UDP port"
    }
}

struct Share {
    local: SocketAddr,
    mux: Weak<Mux>,
    ufrag: String,
    socket: Arc<UdpSocket>,
    received: Mutex<mpsc::Receiver<(SocketAddr, Bytes)>>,
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Share").field(&self.ufrag).finish()
    }
}

impl AsyncUdpSocket for Share {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }

    /// Never waits: the shared socket remembers one waiting task only, and a lost datagram is no error.
    fn poll_send(&self, _: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        let mux = self.mux.upgrade();
        let to = mux.map_or(transmit.destination, |mux| {
            mux.is_at(&self.ufrag, transmit.destination)
        });
        match self.socket.try_send_to(transmit.contents, to) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Poll::Ready(Ok(transmit.contents.len()))
            }
            sent => Poll::Ready(sent),
        }
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let (Some(buffer), Some(meta)) = (buffers.first_mut(), meta.first_mut()) else {
            return Poll::Ready(Ok(0));
        };
        let mut received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((from, datagram)) = std::task::ready!(received.poll_recv(cx)) else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        let len = datagram.len().min(buffer.len());
        buffer[..len].copy_from_slice(&datagram[..len]);
        *meta = RecvMeta::default();
        meta.addr = from;
        meta.len = len;
        meta.stride = len.max(1);
        Poll::Ready(Ok(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::stun;

    async fn mux() -> Arc<Mux> {
        Mux::bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap()
    }

    fn session(mux: &Arc<Mux>) -> (Route, Credentials, Arc<dyn AsyncUdpSocket>) {
        let credentials = Credentials::random();
        let route = mux.route(credentials.clone());
        let placeholder = std::net::UdpSocket::bind(route.placeholder()).unwrap();
        let share = route.runtime().wrap_udp_socket(placeholder).unwrap();
        (route, credentials, share)
    }

    fn check(credentials: &Credentials) -> Vec<u8> {
        stun::tests::binding_request(&format!("{}:theirs", credentials.ufrag), &credentials.password)
    }

    async fn heard(share: &Arc<dyn AsyncUdpSocket>) -> Vec<u8> {
        let mut buffer = [0; MAX_DATAGRAM];
        let (len, _) = share.recv_from(&mut buffer).await.unwrap();
        buffer[..len].to_vec()
    }

    #[tokio::test]
    async fn an_address_belongs_to_who_proves_it() {
        let mux = mux().await;
        let (_route, credentials, share) = session(&mux);
        let publisher = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        publisher.connect(mux.local_addr()).await.unwrap();
        let forged = Credentials {
            password: "guessed".into(),
            ..credentials.clone()
        };
        publisher.send(b"\x80media from nobody").await.unwrap();
        publisher.send(&check(&forged)).await.unwrap();
        publisher.send(&check(&credentials)).await.unwrap();
        publisher.send(b"\x80media").await.unwrap();
        assert_eq!(
            heard(&share).await,
            check(&credentials),
            "nothing before it came through"
        );
        assert_eq!(heard(&share).await, b"\x80media");
    }

    #[tokio::test]
    async fn an_address_may_move_to_another_session() {
        let mux = mux().await;
        let ((first, one, _), (_second, two, share)) = (session(&mux), session(&mux));
        let from = "127.0.0.1:9".parse().unwrap();
        mux.dispatch(from, &check(&one));
        mux.dispatch(from, &check(&two));
        mux.dispatch(from, b"\x80media");
        assert_eq!(heard(&share).await, check(&two));
        assert_eq!(heard(&share).await, b"\x80media");
        drop(first);
        assert!(!mux.table().by_ufrag.contains_key(&one.ufrag));
        assert!(
            mux.table().by_address.contains_key(&from),
            "it is the second's now"
        );
    }

    #[tokio::test]
    async fn a_publisher_that_moves_is_one_address_to_the_stack() {
        let mux = mux().await;
        let (_route, credentials, share) = session(&mux);
        let [old, new] = ["127.0.0.1:0", "127.0.0.1:0"].map(|any| std::net::UdpSocket::bind(any).unwrap());
        let mut buffer = [0; 100];
        for (n, publisher) in [&old, &new].into_iter().enumerate() {
            let from = publisher.local_addr().unwrap();
            tokio::time::sleep(Duration::from_millis(600 * n as u64)).await;
            mux.dispatch(from, &check(&credentials));
            mux.dispatch(from, b"\x80media");
            let (_, checked) = share.recv_from(&mut buffer).await.unwrap();
            let (_, came) = share.recv_from(&mut buffer).await.unwrap();
            assert_eq!(
                (checked, came),
                (old.local_addr().unwrap(), old.local_addr().unwrap())
            );
            share.send_to(b"feedback", came).await.unwrap();
            assert_eq!(publisher.recv(&mut buffer).unwrap(), 8);
        }
    }

    #[tokio::test]
    async fn addresses_are_few_and_leave_with_their_session() {
        let mux = mux().await;
        let (route, credentials, _share) = session(&mux);
        for port in 1..100 {
            mux.dispatch((Ipv4Addr::LOCALHOST, port).into(), &check(&credentials));
        }
        assert_eq!(mux.table().by_address.len(), MAX_ADDRESSES);
        assert!(
            mux.table()
                .by_address
                .contains_key(&(Ipv4Addr::LOCALHOST, 99).into()),
            "the newest is heard"
        );
        drop(route);
        assert!(mux.table().by_address.is_empty() && mux.table().by_ufrag.is_empty());
    }
}
