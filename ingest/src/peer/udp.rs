//! A UDP port as every session shares it. It knows which of our addresses a datagram came to: an answer that left
//! from another one would belong to no candidate the publisher knows.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ::webrtc::runtime::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// An idle machine loses nothing during 100 ms at 300 Mbit/s.
const RECEIVE_BUFFER: usize = 4 * 1024 * 1024;
/// Messages of one system call, each of as many datagrams as the kernel coalesces.
const BATCH: usize = 8;
const MESSAGE: usize = 64 * 1024;

#[derive(Clone)]
pub(super) struct Socket {
    io: Arc<UdpSocket>,
    state: Arc<UdpSocketState>,
    pub local: SocketAddr,
}

impl Socket {
    pub fn bind(addr: SocketAddr) -> io::Result<Socket> {
        let socket = super::listen::bind(addr, socket2::Type::DGRAM)?;
        enlarge(&socket);
        let io = UdpSocket::from_std(socket.into())?;
        let state = UdpSocketState::new(UdpSockRef::from(&io))?;
        Ok(Socket {
            local: io.local_addr()?,
            io: Arc::new(io),
            state: Arc::new(state),
        })
    }

    /// Hands over what comes: from where, to which of our addresses, and the datagram. Ends with the socket.
    pub async fn receive(&self, mut take: impl FnMut(SocketAddr, Option<IpAddr>, &[u8])) -> io::Result<()> {
        let mut memory = vec![0; BATCH * MESSAGE];
        let mut metas = [RecvMeta::default(); BATCH];
        loop {
            self.io.readable().await?;
            let mut buffers: Vec<_> = memory.chunks_mut(MESSAGE).map(IoSliceMut::new).collect();
            let received = self.io.try_io(Interest::READABLE, || {
                self.state
                    .recv(UdpSockRef::from(&self.io), &mut buffers, &mut metas)
            });
            let messages = match received {
                Ok(messages) => messages,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                // ICMP answers to what we sent surface here; the socket stays good.
                Err(error) => {
                    tracing::debug!(%error, "UDP");
                    continue;
                }
            };
            for (buffer, meta) in buffers.iter().zip(&metas[..messages]) {
                for datagram in buffer[..meta.len].chunks(meta.stride.max(1)) {
                    take(meta.addr, meta.dst_ip, datagram);
                }
            }
        }
    }

    /// Never waits: a datagram that finds no room is lost, as datagrams are.
    pub fn send(&self, to: SocketAddr, from: Option<IpAddr>, contents: &[u8]) -> io::Result<()> {
        let transmit = Transmit {
            destination: to,
            ecn: None,
            contents,
            segment_size: None,
            src_ip: from,
        };
        let sent = self.io.try_io(Interest::WRITABLE, || {
            self.state.try_send(UdpSockRef::from(&self.io), &transmit)
        });
        match sent {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            sent => sent,
        }
    }
}

fn enlarge(socket: &socket2::Socket) {
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
