//! ICE over TCP (RFC 6544) for networks that let no UDP through: passive candidates, one port for all sessions.
//!
//! Frames have two bytes of length before them (RFC 4571) and hold what a datagram would. The first must be a check
//! that proves a session's password; until then a connection costs a task and four kilobytes, for a few seconds.
//! The stack knows nothing of it: to it the other end of a connection is an address like any other.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::codec::{FramedRead, FramedWrite};
use tokio_util::sync::CancellationToken;

use super::framing::{MAX_DATAGRAM, framing};
use super::mux::{Mux, Way};

/// Connections at once, over all sessions. Each publisher has one, and some that it tried.
const MAX_CONNECTIONS: usize = 1024;
/// Who connects has a check to send.
const FIRST_FRAME: Duration = Duration::from_secs(5);
/// Frames that wait for a publisher that reads slowly: checks and feedback of ten seconds, 2 MB at most.
const WAITING: usize = 1024;
/// One frame takes no longer to be sent, or its reader is gone.
const SENDING: Duration = Duration::from_secs(15);
/// After an error of the system (no more files) the others still want to be served.
const BREATH: Duration = Duration::from_millis(100);

pub(super) struct Listener {
    io: TcpListener,
    pub local: SocketAddr,
}

impl Listener {
    pub fn bind(addr: SocketAddr) -> io::Result<Listener> {
        let socket = super::listen::bind(addr, socket2::Type::STREAM)?;
        let io = TcpListener::from_std(socket.into())?;
        Ok(Listener {
            local: io.local_addr()?,
            io,
        })
    }

    pub async fn accept(self, mux: Weak<Mux>, stop: CancellationToken) {
        let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = self.io.accept() => accepted,
            };
            let (stream, from) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::debug!(%error, "TCP");
                    tokio::time::sleep(BREATH).await;
                    continue;
                }
            };
            let Ok(place) = room.clone().try_acquire_owned() else {
                metrics::counter!("lectern_ingest_tcp_refused_total").increment(1);
                continue;
            };
            let (mux, stop) = (mux.clone(), stop.clone());
            tokio::spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    served = serve(mux, stream, from) => {
                        if let Err(error) = served {
                            tracing::debug!(%from, %error, "TCP");
                        }
                    }
                }
                drop(place);
            });
        }
    }
}

/// One connection, until either side closes it or its session ends.
async fn serve(mux: Weak<Mux>, stream: TcpStream, from: SocketAddr) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (reader, writer) = stream.into_split();
    let mut frames = FramedRead::with_capacity(reader, framing(), 2 * MAX_DATAGRAM);
    let mut wire = FramedWrite::new(writer, framing());
    let first = tokio::time::timeout(FIRST_FRAME, frames.next()).await;
    let Ok(Some(Ok(first))) = first else {
        return Err(io::Error::other("no check in time"));
    };
    let (queue, mut waiting) = mpsc::channel::<Bytes>(WAITING);
    if !mux
        .upgrade()
        .is_some_and(|mux| mux.received(from, Way::Tcp(queue), &first))
    {
        return Err(io::Error::other("the first frame is nobody's check"));
    }
    let reading = async {
        while let Some(frame) = frames.next().await {
            let frame = frame?;
            if !mux.upgrade().is_some_and(|mux| mux.forward(from, &frame)) {
                break;
            }
        }
        Ok::<_, io::Error>(())
    };
    // Until the session ends, or knows the address no more: it holds the other end of the queue.
    let writing = async {
        while let Some(frame) = waiting.recv().await {
            match tokio::time::timeout(SENDING, wire.send(frame)).await {
                Ok(sent) => sent?,
                Err(_) => return Err(io::ErrorKind::TimedOut.into()),
            }
        }
        Ok::<_, io::Error>(())
    };
    let over = tokio::select! {
        read = reading => read,
        written = writing => written,
    };
    drop(waiting);
    if let Some(mux) = mux.upgrade() {
        mux.hung_up(from);
    }
    over
}
