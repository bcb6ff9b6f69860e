//! The limit: a task for each connection, which writes frames that were made once for all, and nothing else. No
//! limits, no record, no reading: what a server can save is only above this.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, mpsc};
use tokio::time::{Instant, sleep_until};

use crate::ws;

/// As many as the room keeps.
const FRAMES: usize = 128;

pub async fn serve(tick_ms: u64) -> anyhow::Result<()> {
    let listener = TcpListener::bind("0.0.0.0:0").await?;
    println!("listening on http://{}", listener.local_addr()?);
    let frames = broadcast::Sender::new(FRAMES);
    let (said, says) = mpsc::channel(1_024);
    tokio::spawn(tell(says, frames.clone(), Duration::from_millis(tick_ms)));
    loop {
        let (tcp, _) = listener.accept().await?;
        let (frames, said) = (frames.subscribe(), said.clone());
        tokio::spawn(async move {
            // Who has left is of no interest.
            let _ = visit(tcp, frames, said).await;
        });
    }
}

/// The first event of a quiet room at once, then one frame a tick.
async fn tell(mut says: mpsc::Receiver<String>, frames: broadcast::Sender<Bytes>, tick: Duration) {
    let (mut seq, mut told_at) = (0, Instant::now());
    while let Some(first) = says.recv().await {
        sleep_until(told_at + tick).await;
        let mut bodies = vec![first];
        while let Ok(body) = says.try_recv() {
            bodies.push(body);
        }
        let from = seq + 1;
        let event = |body: &String| {
            seq += 1;
            format!(
                r#"{{"seq":{seq},"at":0,"sent":1760000000000,"author":{{"id":"bench-host","name":"Host","role":"host"}},"kind":"text","body":"{body}"}}"#
            )
        };
        let events = bodies.iter().map(event).collect::<Vec<_>>().join(",");
        let text = format!(r#"{{"type":"events","from":{from},"to":{seq},"events":[{events}]}}"#);
        told_at = Instant::now();
        let _ = frames.send(ws::plain(ws::TEXT, text.as_bytes()).into());
    }
}

async fn visit(
    mut tcp: TcpStream,
    frames: broadcast::Receiver<Bytes>,
    said: mpsc::Sender<String>,
) -> anyhow::Result<()> {
    tcp.set_nodelay(true)?;
    let writes = enter(&mut tcp).await?;
    match writes {
        true => hear(tcp, said).await,
        false => write(tcp, frames).await,
    }
}

/// The upgrade and the join. Whether it is one who writes: their token says so.
async fn enter(tcp: &mut TcpStream) -> anyhow::Result<bool> {
    let mut came = Vec::with_capacity(512);
    while !came.windows(4).any(|window| window == b"\r\n\r\n") {
        read(tcp, &mut came).await?;
    }
    // The accept of RFC 6455's own example key, which the load sends.
    tcp.write_all(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
          Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
    )
    .await?;
    came.clear();
    let join = loop {
        read(tcp, &mut came).await?;
        if let Some((_, payload)) = ws::first(&came) {
            break String::from_utf8_lossy(&came[payload]).into_owned();
        }
    };
    tcp.write_all(&ws::plain(ws::TEXT, br#"{"type":"joined","seq":0,"events":[]}"#))
        .await?;
    Ok(join.contains("token"))
}

async fn read(tcp: &mut TcpStream, into: &mut Vec<u8>) -> anyhow::Result<()> {
    anyhow::ensure!(tcp.read_buf(into).await? > 0, "left");
    Ok(())
}

async fn write(mut tcp: TcpStream, mut frames: broadcast::Receiver<Bytes>) -> anyhow::Result<()> {
    loop {
        tcp.write_all(&frames.recv().await?).await?;
    }
}

async fn hear(mut tcp: TcpStream, said: mpsc::Sender<String>) -> anyhow::Result<()> {
    let mut came = Vec::new();
    loop {
        read(&mut tcp, &mut came).await?;
        while let Some((_, payload)) = ws::first(&came) {
            let end = payload.end;
            let text = String::from_utf8_lossy(&came[payload]).into_owned();
            came.drain(..end);
            let body = text.split(r#""body":""#).nth(1).context("no body")?;
            let body = body.split('"').next().unwrap_or_default();
            said.send(body.to_owned()).await?;
            tcp.write_all(&ws::plain(
                ws::TEXT,
                br#"{"type":"ack","ref":"b","seq":1,"at":0}"#,
            ))
            .await?;
        }
    }
}
