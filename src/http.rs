//! The one listener: HTTP/1.1 and HTTP/2, over TLS where there is a certificate.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum_server::Handle;
use axum_server::accept::Accept;
use axum_server::tls_rustls::RustlsAcceptor;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::Sleep;

use crate::tls::Tls;

/// A TLS handshake is three packets each way, and a slow phone's link loses some of them.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// In which a new connection must have sent its first bytes.
const FIRST_BYTES_WITHIN: Duration = Duration::from_secs(10);

/// HTTP/2's preface; no request of HTTP/1.1 is shorter.
const FIRST_BYTES: usize = 24;

/// From an HTTP/1.1 answer to the whole head of the next request: longer than an edge keeps idle connections
/// (nginx: 60 s), so that it is not us who close one that it is about to use.
const NEXT_REQUEST: Duration = Duration::from_secs(75);

/// Data that nobody has taken for so long, because the client is gone or does not read, close the connection.
const UNSENT_WITHIN: Duration = Duration::from_secs(60);

/// The head of a request: a token, cookies of the same site, a browser's own words.
const MAX_HEAD: usize = 32 * 1024;

/// Requests at once on one HTTP/2 connection. A player has four blocked; an edge sends those of many players.
const MAX_STREAMS: u32 = 512;

/// Bytes of one answer that wait in memory for a slow HTTP/2 client: a segment of the top rung.
const MAX_UNSENT: usize = 1024 * 1024;

/// A silent HTTP/2 connection is asked whether it is alive, and must answer.
const PING_EVERY: Duration = Duration::from_secs(30);
const PONG_WITHIN: Duration = Duration::from_secs(20);

/// A listener in service.
pub struct Http {
    handle: Handle<SocketAddr>,
    serving: JoinHandle<io::Result<()>>,
}

impl Http {
    /// Serves at once. With `tls`, HTTPS.
    pub fn serve(listener: TcpListener, tls: Option<&Tls>, router: axum::Router) -> io::Result<Http> {
        let handle = Handle::new();
        let mut server = axum_server::Server::<SocketAddr>::from_listener(listener).handle(handle.clone());
        limit(server.http_builder());
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        let serving = match tls {
            None => tokio::spawn(server.acceptor(Prompting(Tcp)).serve(service)),
            Some(tls) => {
                let tls = RustlsAcceptor::new(tls.served()).handshake_timeout(HANDSHAKE);
                tokio::spawn(server.acceptor(Prompting(tls.acceptor(Tcp))).serve(service))
            }
        };
        Ok(Http { handle, serving })
    }

    /// Returns when the listener has failed. Cancel-safe.
    pub async fn failed(&mut self) -> anyhow::Error {
        match (&mut self.serving).await {
            Ok(Ok(())) => anyhow::anyhow!("the HTTP server ended"),
            Ok(Err(error)) => anyhow::Error::new(error).context("the HTTP server failed"),
            Err(panic) => anyhow::Error::new(panic).context("the HTTP server died"),
        }
    }

    /// Takes no new connection, and lets the last answers out for at most `within`. Whether all were out by then.
    pub async fn stop(self, within: Duration) -> bool {
        self.handle.graceful_shutdown(None);
        let stopped = tokio::time::timeout(within, self.serving).await.is_ok();
        self.handle.shutdown();
        stopped
    }
}

fn limit(builder: &mut Builder<TokioExecutor>) {
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(NEXT_REQUEST)
        .max_buf_size(MAX_HEAD);
    // The windows are for what clients send, which is little: those for segments are the clients' own.
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD as u32)
        .max_send_buf_size(MAX_UNSENT)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PONG_WITHIN)
        // RFC 8441: a room's WebSocket on the connection that the playlists come on.
        .enable_connect_protocol();
}

/// Sets what every connection has.
#[derive(Clone, Copy)]
struct Tcp;

impl<S> Accept<TcpStream, S> for Tcp {
    type Stream = TcpStream;
    type Service = S;
    type Future = std::future::Ready<io::Result<(TcpStream, S)>>;

    fn accept(&self, tcp: TcpStream, service: S) -> Self::Future {
        // Parts are small and must leave at once: no waiting for a fuller segment.
        let set = tcp
            .set_nodelay(true)
            .and_then(|()| SockRef::from(&tcp).set_tcp_user_timeout(Some(UNSENT_WITHIN)));
        std::future::ready(set.map(|()| (tcp, service)))
    }
}

/// Accepts only those who say something in time: which HTTP it is, is told by the first bytes.
#[derive(Clone)]
struct Prompting<A>(A);

impl<A, S> Accept<TcpStream, S> for Prompting<A>
where
    A: Accept<TcpStream, S>,
    A::Future: Send + 'static,
{
    type Stream = Prompt<A::Stream>;
    type Service = A::Service;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Self::Service)>> + Send>>;

    fn accept(&self, tcp: TcpStream, service: S) -> Self::Future {
        let accepted = self.0.accept(tcp, service);
        Box::pin(async move {
            let (stream, service) = accepted.await?;
            Ok((Prompt::new(stream), service))
        })
    }
}

/// A stream that fails unless its first bytes come in time.
struct Prompt<S> {
    stream: S,
    awaited: usize,
    /// None once they have come.
    late: Option<Pin<Box<Sleep>>>,
}

impl<S> Prompt<S> {
    fn new(stream: S) -> Self {
        Prompt {
            stream,
            awaited: FIRST_BYTES,
            late: Some(Box::pin(tokio::time::sleep(FIRST_BYTES_WITHIN))),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Prompt<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        match Pin::new(&mut self.stream).poll_read(cx, into) {
            Poll::Pending if self.late.is_some() => {
                if let Some(late) = &mut self.late {
                    ready!(late.as_mut().poll(cx));
                }
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            read => {
                self.awaited = self.awaited.saturating_sub(into.filled().len() - before);
                if self.awaited == 0 {
                    self.late = None;
                }
                read
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prompt<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_in_time_is_let_go() {
        let (mut client, server) = tokio::io::duplex(64);
        let mut server = Prompt::new(server);
        client.write_all(b"PRI * HTTP").await.unwrap();
        let mut said = Vec::new();
        let outcome = server.read_to_end(&mut said).await;
        assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_asked_may_wait_long_for_the_answer() {
        let (mut client, server) = tokio::io::duplex(64);
        let mut server = Prompt::new(server);
        client
            .write_all(b"GET / HTTP/1.1\r\nHost:\r\n\r\n")
            .await
            .unwrap();
        let later = async {
            tokio::time::sleep(FIRST_BYTES_WITHIN * 3).await;
            drop(client);
        };
        let mut said = Vec::new();
        let (outcome, ()) = tokio::join!(server.read_to_end(&mut said), later);
        assert_eq!(outcome.unwrap(), 25);
    }
}
