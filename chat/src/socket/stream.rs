//! A server's end of a WebSocket, over whatever the upgraded connection is.
//!
//! The protocol is tungstenite's, driven without a copy of what it sends: a text goes out as it is, behind a head of
//! its own, so that all connections of a room write the same bytes and none keeps a buffer for them. Only control
//! frames pass through tungstenite's buffer.

use std::io::{self, IoSlice, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures::future::poll_fn;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tokio_tungstenite::tungstenite::{Error, Message};

/// Of a text frame's head: FIN and the opcode (RFC 6455 section 5.2).
const TEXT: u8 = 0x81;

/// Of a frame that is not masked, as a server's are not.
const MAX_HEAD: usize = 10;

pub struct Stream<S> {
    context: WebSocketContext,
    wire: Wire<S>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream<S> {
    pub fn new(io: S, config: WebSocketConfig) -> Stream<S> {
        Stream {
            context: WebSocketContext::new(Role::Server, Some(config)),
            wire: Wire { io, going_out: None },
        }
    }

    /// The next message; `None` once the other end has said good-bye. Nothing is lost where the future is dropped.
    pub async fn recv(&mut self) -> Option<Result<Message, Error>> {
        let read = poll_fn(|cx| would_block(self.context.read(&mut self.wire.blocking(cx)))).await;
        match read {
            Err(Error::ConnectionClosed | Error::AlreadyClosed) => None,
            read => Some(read),
        }
    }

    /// Sends a text. What has not left when the future is dropped goes before anything else.
    pub async fn text(&mut self, text: Bytes) -> Result<(), Error> {
        // Pongs and the like go first; after a close nothing does.
        self.flush().await?;
        if !self.context.can_write() {
            return Err(Error::AlreadyClosed);
        }
        self.wire.going_out = Some(match self.wire.io.is_write_vectored() {
            true => Frame::text(text),
            false => Frame::text(text).in_one(),
        });
        Ok(poll_fn(|cx| self.wire.poll_flush(cx)).await?)
    }

    /// Sends a control frame.
    pub async fn control(&mut self, message: Message) -> Result<(), Error> {
        let mut message = Some(message);
        poll_fn(|cx| match message.take() {
            // Where it cannot leave at once, tungstenite keeps it.
            Some(message) => match would_block(self.context.write(&mut self.wire.blocking(cx), message)) {
                Poll::Pending => self.poll_flush(cx),
                Poll::Ready(Ok(())) => self.poll_flush(cx),
                failed => failed,
            },
            None => self.poll_flush(cx),
        })
        .await
    }

    async fn flush(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        would_block(self.context.flush(&mut self.wire.blocking(cx)))
    }
}

fn would_block<T>(outcome: Result<T, Error>) -> Poll<Result<T, Error>> {
    match outcome {
        Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        outcome => Poll::Ready(outcome),
    }
}

/// The connection, and the frame that is on its way into it.
struct Wire<S> {
    io: S,
    going_out: Option<Frame>,
}

struct Frame {
    head: [u8; MAX_HEAD],
    head_length: usize,
    payload: Bytes,
    /// Bytes of the head that have left.
    sent: usize,
}

impl Frame {
    fn text(payload: Bytes) -> Frame {
        let mut head = [0; MAX_HEAD];
        head[0] = TEXT;
        let head_length = match payload.len() {
            n @ 0..=125 => {
                head[1] = n as u8;
                2
            }
            n @ 126..=65_535 => {
                head[1] = 126;
                head[2..4].copy_from_slice(&(n as u16).to_be_bytes());
                4
            }
            n => {
                head[1] = 127;
                head[2..].copy_from_slice(&(n as u64).to_be_bytes());
                10
            }
        };
        Frame {
            head,
            head_length,
            payload,
            sent: 0,
        }
    }

    /// For connections that take one piece at a time: a stream of HTTP/2 would make a DATA frame of each.
    fn in_one(self) -> Frame {
        Frame {
            payload: [self.head(), &self.payload].concat().into(),
            sent: self.head_length,
            ..self
        }
    }

    fn head(&self) -> &[u8] {
        &self.head[self.sent..self.head_length]
    }

    fn advance(&mut self, written: usize) {
        let of_head = written.min(self.head_length - self.sent);
        self.sent += of_head;
        self.payload.advance(written - of_head);
    }

    fn is_sent(&self) -> bool {
        self.sent == self.head_length && self.payload.is_empty()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    fn blocking<'a, 'b>(&'a mut self, cx: &'a mut Context<'b>) -> Blocking<'a, 'b, S> {
        Blocking { wire: self, cx }
    }

    /// Until the frame on its way has left.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(frame) = &mut self.going_out {
            let io = Pin::new(&mut self.io);
            let written = match frame.head() {
                [] => ready!(io.poll_write(cx, &frame.payload))?,
                head => {
                    let both = [IoSlice::new(head), IoSlice::new(&frame.payload)];
                    ready!(io.poll_write_vectored(cx, &both))?
                }
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            frame.advance(written);
            if frame.is_sent() {
                self.going_out = None;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_frame(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }
}

/// The connection as tungstenite sees it, which knows no tasks: what is not ready would block. A frame that is on
/// its way goes out before anything that tungstenite writes.
struct Blocking<'a, 'b, S> {
    wire: &'a mut Wire<S>,
    cx: &'a mut Context<'b>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Read for Blocking<'_, '_, S> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut into = ReadBuf::new(into);
        let read = Pin::new(&mut self.wire.io).poll_read(self.cx, &mut into);
        now(read)?;
        Ok(into.filled().len())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Write for Blocking<'_, '_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        now(self.wire.poll_frame(self.cx))?;
        now(Pin::new(&mut self.wire.io).poll_write(self.cx, bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        now(self.wire.poll_flush(self.cx))
    }
}

fn now<T>(outcome: Poll<io::Result<T>>) -> io::Result<T> {
    match outcome {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

#[cfg(test)]
mod tests {
    use futures::future::poll_immediate;
    use futures::{SinkExt, StreamExt};
    use tokio::io::DuplexStream;
    use tokio_tungstenite::WebSocketStream;
    use tokio_tungstenite::tungstenite::protocol::CloseFrame;

    use super::*;

    /// Our end, and a client of another make, with room for so many bytes in between.
    async fn pair(between: usize) -> (Stream<DuplexStream>, WebSocketStream<DuplexStream>) {
        let (ours, theirs) = tokio::io::duplex(between);
        let config = WebSocketConfig::default()
            .write_buffer_size(0)
            .max_write_buffer_size(1024);
        let client = WebSocketStream::from_raw_socket(theirs, Role::Client, None).await;
        (Stream::new(ours, config), client)
    }

    fn text(length: usize) -> String {
        "äbc".chars().cycle().take(length).collect()
    }

    #[tokio::test]
    async fn texts_of_every_length_arrive() {
        for between in [1, 7, 1 << 20] {
            let (mut ours, mut client) = pair(between).await;
            let lengths = [0, 1, 124, 125, 126, 127, 65_534, 65_535, 65_536, 70_000];
            let send = async {
                for length in lengths {
                    ours.text(text(length).into()).await.unwrap();
                }
            };
            let read = async {
                for length in lengths {
                    assert_eq!(client.next().await.unwrap().unwrap(), Message::text(text(length)));
                }
            };
            tokio::join!(send, read);
        }
    }

    #[test]
    fn a_frame_in_one_piece_is_the_same_frame() {
        let two = Frame::text(text(300).into());
        let whole = [two.head(), &two.payload].concat();
        let mut one = two.in_one();
        assert!(one.head().is_empty());
        assert_eq!(one.payload, whole);
        one.advance(whole.len());
        assert!(one.is_sent());
    }

    #[tokio::test]
    async fn what_is_given_up_half_way_still_goes_first() {
        let (mut ours, mut client) = pair(16).await;
        assert!(poll_immediate(ours.text(text(1_000).into())).await.is_none());
        let end = CloseFrame {
            code: 4008.into(),
            reason: "slow reader".into(),
        };
        let close = ours.control(Message::Close(Some(end.clone())));
        let read = async {
            assert_eq!(client.next().await.unwrap().unwrap(), Message::text(text(1_000)));
            assert_eq!(client.next().await.unwrap().unwrap(), Message::Close(Some(end)));
        };
        let (closed, ()) = tokio::join!(close, read);
        closed.unwrap();
        assert!(ours.text(text(1).into()).await.is_err());
    }

    #[tokio::test]
    async fn an_answer_to_a_ping_does_not_go_into_the_middle_of_a_text() {
        let (mut ours, mut client) = pair(64).await;
        assert!(poll_immediate(ours.text(text(1_000).into())).await.is_none());
        client.send(Message::Ping("?".into())).await.unwrap();
        assert_eq!(ours.recv().await.unwrap().unwrap(), Message::Ping("?".into()));
        let read = async {
            assert_eq!(client.next().await.unwrap().unwrap(), Message::text(text(1_000)));
            assert_eq!(client.next().await.unwrap().unwrap(), Message::Pong("?".into()));
            client.close(None).await.unwrap();
        };
        let (heard, ()) = tokio::join!(ours.recv(), read);
        assert!(matches!(heard, Some(Ok(Message::Close(_)))));
        assert!(ours.recv().await.is_none());
    }

    #[tokio::test]
    async fn what_is_too_long_is_an_error() {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let config = WebSocketConfig::default()
            .max_message_size(Some(100))
            .max_frame_size(Some(100));
        let mut client = WebSocketStream::from_raw_socket(theirs, Role::Client, None).await;
        let mut ours = Stream::new(ours, config);
        client.send(Message::text(text(50))).await.unwrap();
        client.send(Message::text(text(101))).await.unwrap();
        assert_eq!(ours.recv().await.unwrap().unwrap(), Message::text(text(50)));
        assert!(matches!(ours.recv().await, Some(Err(Error::Capacity(_)))));
    }
}
