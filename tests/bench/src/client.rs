//! A client that costs as little as one can: HTTP/1.1 over a kept connection, and nothing but lengths is read.

use std::net::SocketAddr;

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// More than any head we are sent.
const LONGEST_HEAD: usize = 16 << 10;

pub struct Client {
    stream: TcpStream,
    request: Vec<u8>,
    answer: Vec<u8>,
}

/// An answer, read to its end.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    pub status: u16,
    /// With its head.
    pub bytes: usize,
}

impl Client {
    pub async fn connect(server: SocketAddr) -> anyhow::Result<Client> {
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        Ok(Client {
            stream,
            request: Vec::with_capacity(256),
            answer: Vec::new(),
        })
    }

    pub async fn get(&mut self, path: &str) -> anyhow::Result<Answer> {
        self.ask(path).await?;
        self.answer().await
    }

    /// Sends a request, whose [`answer`](Self::answer) is to be read later.
    pub async fn ask(&mut self, path: &str) -> anyhow::Result<()> {
        self.request.clear();
        for piece in [
            "GET ",
            path,
            " HTTP/1.1\r\nHost: bench\r\nAccept-Encoding: gzip, deflate, br\r\n\r\n",
        ] {
            self.request.extend_from_slice(piece.as_bytes());
        }
        Ok(self.stream.write_all(&self.request).await?)
    }

    pub async fn answer(&mut self) -> anyhow::Result<Answer> {
        self.answer.clear();
        let head = loop {
            ensure!(self.answer.len() < LONGEST_HEAD, "no end of a head");
            self.answer.reserve(2048);
            if self.stream.read_buf(&mut self.answer).await? == 0 {
                bail!("the server closed the connection");
            }
            if let Some(end) = find(&self.answer, b"\r\n\r\n") {
                break end + 4;
            }
        };
        let text = std::str::from_utf8(&self.answer[..head])?;
        let status = text.get(9..12).context("no status")?.parse()?;
        let length: usize = header(text, "content-length").context("no length")?.parse()?;
        // The body goes where it was read before: nobody looks at it.
        let mut left = (head + length)
            .checked_sub(self.answer.len())
            .context("more than was asked for")?;
        while left > 0 {
            self.answer.clear();
            self.answer.reserve(left.min(64 << 10));
            let read = self.stream.read_buf(&mut self.answer).await?;
            ensure!(read > 0, "the server closed the connection");
            left = left.checked_sub(read).context("more than was asked for")?;
        }
        Ok(Answer {
            status,
            bytes: head + length,
        })
    }

    /// The body of an answer as text; for what is asked once.
    pub async fn text(server: SocketAddr, path: &str) -> anyhow::Result<String> {
        let body = Self::body(server, path, false).await?;
        Ok(String::from_utf8(body)?)
    }

    /// A body, as it is sent.
    pub async fn body(server: SocketAddr, path: &str, gzip: bool) -> anyhow::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(server).await?;
        let coding = if gzip { "Accept-Encoding: gzip\r\n" } else { "" };
        let request = format!("GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n{coding}\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await?;
        ensure!(
            all.starts_with(b"HTTP/1.1 200"),
            "{path}: {}",
            String::from_utf8_lossy(&all)
        );
        let head = find(&all, b"\r\n\r\n").context("no head")?;
        Ok(all.split_off(head + 4))
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    let (_, value) = fields.find(|(field, _)| field.eq_ignore_ascii_case(name))?;
    Some(value.trim())
}

fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).position(|window| window == pattern)
}
