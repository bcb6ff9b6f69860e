//! Opens the ports.

use std::io;
use std::net::SocketAddr;

use super::tcp;
use super::udp;
use crate::Error;

/// As many connections as arrive at once.
const BACKLOG: i32 = 128;

/// The ports of every session.
pub(super) struct Ports {
    pub udp: Vec<udp::Socket>,
    pub tcp: Vec<tcp::Listener>,
}

impl Ports {
    /// Where `tcp` is `None` it is as UDP has it, with the same numbers.
    pub fn open(udp: &[SocketAddr], tcp: Option<&[SocketAddr]>) -> Result<Ports, Error> {
        let sockets = open_all(udp, None, udp::Socket::bind, |socket: &udp::Socket| socket.local)
            .map_err(|(addr, source)| Error::Udp { addr, source })?;
        let port = sockets.first().map(|socket| socket.local.port());
        let open = |addr: &&SocketAddr| sockets.iter().any(|socket| socket.local.ip() == addr.ip());
        let beside: Vec<SocketAddr> = udp.iter().filter(open).copied().collect();
        let listeners = open_all(
            tcp.unwrap_or(&beside),
            port,
            tcp::Listener::bind,
            |tcp: &tcp::Listener| tcp.local,
        )
        .map_err(|(addr, source)| Error::Tcp { addr, source })?;
        Ok(Ports {
            udp: sockets,
            tcp: listeners,
        })
    }
}

/// Where any port will do (`:0`), it is the one that came first, if it is free.
fn open_all<T>(
    wanted: &[SocketAddr],
    mut port: Option<u16>,
    bind: impl Fn(SocketAddr) -> io::Result<T>,
    local: impl Fn(&T) -> SocketAddr,
) -> Result<Vec<T>, (SocketAddr, io::Error)> {
    let mut open = Vec::new();
    for &addr in wanted {
        let at = |port| SocketAddr::new(addr.ip(), port);
        let bound = match (addr.port(), port) {
            (0, Some(port)) => bind(at(port)).or_else(|_| bind(addr)),
            _ => bind(addr),
        };
        match bound {
            Ok(socket) => {
                port.get_or_insert(local(&socket).port());
                open.push(socket);
            }
            // Every machine is asked for both families.
            Err(error)
                if addr.ip().is_unspecified()
                    && addr.is_ipv6()
                    && wanted.len() > 1
                    && is_no_family(&error) =>
            {
                tracing::info!("no IPv6 here: {error}");
            }
            Err(error) => return Err((addr, error)),
        }
    }
    Ok(open)
}

/// The machine does not speak it.
fn is_no_family(error: &io::Error) -> bool {
    const EAFNOSUPPORT: i32 = 97;
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(EAFNOSUPPORT)
}

pub(super) fn bind(addr: SocketAddr, kind: socket2::Type) -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(addr), kind, None)?;
    if addr.is_ipv6() {
        // IPv4 has a socket of its own.
        socket.set_only_v6(true)?;
    }
    if kind == socket2::Type::STREAM {
        // A server that is started again finds its port still full of farewells.
        socket.set_reuse_address(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    if kind == socket2::Type::STREAM {
        socket.listen(BACKLOG)?;
    }
    Ok(socket)
}
