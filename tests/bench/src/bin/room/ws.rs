//! As much of a WebSocket client as a load generator needs: frames out, frames in, few bytes for each connection.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;

use anyhow::{Context, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// More than any head or frame is cut into.
const READ: usize = 64 << 10;

pub const TEXT: u8 = 1;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

thread_local! {
    /// Where all connections of the thread read.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ]);
}

/// One end of a WebSocket.
pub struct Socket {
    stream: TcpStream,
    /// The beginning of a frame whose end has not come; mostly nothing, and then without memory.
    begun: Vec<u8>,
}

/// What a client sends: masked with zeros, which change nothing.
pub fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = head(opcode, 0x80, payload.len());
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// What a server sends.
pub fn plain(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = head(opcode, 0, payload.len());
    frame.extend(payload);
    frame
}

fn head(opcode: u8, mask: u8, length: usize) -> Vec<u8> {
    let mut head = vec![0x80 | opcode];
    match length {
        n @ 0..=125 => head.push(mask | n as u8),
        n @ 126..=65_535 => {
            head.push(mask | 126);
            head.extend((n as u16).to_be_bytes());
        }
        n => {
            head.push(mask | 127);
            head.extend((n as u64).to_be_bytes());
        }
    }
    head
}

/// The first frame in `bytes`, masked or not: its opcode, where its payload is, and where it ends.
pub fn first(bytes: &[u8]) -> Option<(u8, std::ops::Range<usize>)> {
    let (&one, &two) = (bytes.first()?, bytes.get(1)?);
    let (length, at) = match two & 0x7f {
        126 => (u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?) as usize, 4),
        127 => (
            u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize,
            10,
        ),
        n => (n as usize, 2),
    };
    let from: usize = at + if two & 0x80 == 0 { 0 } else { 4 };
    let to = from.checked_add(length)?;
    (bytes.len() >= to).then_some((one & 0x0f, from..to))
}

impl Socket {
    /// Connects, and upgrades the connection.
    pub async fn open(to: SocketAddr, path: &str) -> anyhow::Result<Socket> {
        let mut stream = TcpStream::connect(to).await.context("cannot connect")?;
        stream.set_nodelay(true)?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::with_capacity(256);
        let end = loop {
            ensure!(head.len() < READ, "no end of a head");
            ensure!(
                stream.read_buf(&mut head).await? > 0,
                "the server closed the connection"
            );
            if let Some(at) = head.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
        };
        ensure!(
            head.starts_with(b"HTTP/1.1 101"),
            "no WebSocket: {}",
            String::from_utf8_lossy(&head)
        );
        let begun = head[end..].to_vec();
        Ok(Socket { stream, begun })
    }

    pub async fn send(&mut self, opcode: u8, payload: &[u8]) -> anyhow::Result<()> {
        Ok(self.stream.write_all(&masked(opcode, payload)).await?)
    }

    /// Waits until there is something to read.
    pub async fn readable(&self) -> io::Result<()> {
        self.stream.readable().await
    }

    /// Reads what is there; each frame that has come whole goes to `heard`. `false`: the other end has closed.
    pub fn read(&mut self, mut heard: impl FnMut(u8, &[u8])) -> io::Result<bool> {
        SCRATCH.with_borrow_mut(|scratch| {
            let read = match self.stream.try_read(scratch) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            };
            if self.begun.is_empty() {
                let used = frames(&scratch[..read], &mut heard);
                self.begun = scratch[used..read].to_vec();
            } else {
                self.begun.extend_from_slice(&scratch[..read]);
                let used = frames(&self.begun, &mut heard);
                self.begun = self.begun[used..].to_vec();
            }
            Ok(read > 0)
        })
    }

    /// Waits for the next text that begins so; what comes before it is not looked at.
    pub async fn expect(&mut self, begins: &str) -> anyhow::Result<()> {
        let found = Cell::new(false);
        let mut heard = |_: u8, payload: &[u8]| {
            found.set(found.get() || payload.starts_with(begins.as_bytes()));
        };
        // What came with the head.
        let came = std::mem::take(&mut self.begun);
        let used = frames(&came, &mut heard);
        self.begun = came[used..].to_vec();
        while !found.get() {
            self.readable().await?;
            let open = self.read(&mut heard)?;
            ensure!(open || found.get(), "closed while {begins} was awaited");
        }
        Ok(())
    }
}

/// Hands out whole frames; gives how many bytes they were.
fn frames(bytes: &[u8], heard: &mut impl FnMut(u8, &[u8])) -> usize {
    let mut at = 0;
    while let Some((opcode, payload)) = first(&bytes[at..]) {
        heard(opcode, &bytes[at + payload.start..at + payload.end]);
        at += payload.end;
    }
    at
}
