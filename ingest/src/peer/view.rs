//! One session's share of the ports, as the stack wants it: a runtime whose sockets are views of them.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use ::webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, RecvMeta, Runtime,
    TokioRuntime, Transmit,
};

use super::generations::Generation;
use super::mux::{Datagrams, Mux};
use super::stun::Credentials;

/// A session's place in the mux. Gives it back when dropped.
pub(super) struct Route {
    mux: Arc<Mux>,
    id: u64,
    v4: Shared,
    v6: Shared,
}

/// What comes, until somebody takes it.
type Shared = Arc<Mutex<Option<Datagrams>>>;

impl Route {
    pub fn new(mux: Arc<Mux>, id: u64, v4: Datagrams, v6: Datagrams) -> Self {
        let shared = |datagrams| Arc::new(Mutex::new(Some(datagrams)));
        Route {
            mux,
            id,
            v4: shared(v4),
            v6: shared(v6),
        }
    }

    /// The session is found by these from now on.
    pub fn answers_to(&self, first: Generation) {
        self.mux.answers_to(self.id, first);
    }

    /// The publisher goes by these credentials from now on; ours.
    pub fn restart(&self, theirs: Credentials) -> Option<Credentials> {
        self.mux.restart(self.id, theirs)
    }

    pub fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::new(View {
            mux: self.mux.clone(),
            id: self.id,
            v4: self.v4.clone(),
            v6: self.v6.clone(),
        })
    }

    /// The stack binds sockets before it asks the runtime to wrap them; these are closed again at once, and
    /// only their addresses stay as names: one of each family, for only such addresses are paired.
    pub fn placeholders(&self) -> Vec<SocketAddr> {
        let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
        match self.mux.has_ipv6() {
            true => vec![v4, v6],
            false => vec![v4],
        }
    }

    #[cfg(test)]
    pub fn datagrams(&self) -> (Datagrams, Datagrams) {
        (take(&self.v4).unwrap(), take(&self.v6).unwrap())
    }
}

impl Drop for Route {
    fn drop(&mut self) {
        self.mux.forget(self.id);
    }
}

fn take(shared: &Shared) -> Option<Datagrams> {
    shared.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Tokio, but UDP sockets are shares of ours.
struct View {
    mux: Arc<Mux>,
    id: u64,
    v4: Shared,
    v6: Shared,
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("View").field(&self.id).finish()
    }
}

impl Runtime for View {
    fn wrap_udp_socket(&self, placeholder: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let local = placeholder.local_addr()?;
        let received = take(if local.is_ipv4() { &self.v4 } else { &self.v6 });
        let received = received.ok_or_else(|| io::Error::other("a socket of each family is all there is"))?;
        Ok(Arc::new(Share {
            local,
            id: self.id,
            mux: self.mux.clone(),
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
        "tokio, shared ports"
    }
}

/// What a session sends and receives in one family of addresses.
struct Share {
    local: SocketAddr,
    id: u64,
    mux: Arc<Mux>,
    received: Mutex<Datagrams>,
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Share").field(&self.local).finish()
    }
}

impl AsyncUdpSocket for Share {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }

    fn poll_send(&self, _: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        let sent = self.mux.send(self.id, transmit.destination, transmit.contents);
        Poll::Ready(sent.map(|()| transmit.contents.len()))
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
