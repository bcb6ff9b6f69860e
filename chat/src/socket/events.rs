//! The way out to a visitor where WebSockets are blocked: server-sent events (HTML, 9.2), the body of an answer that
//! goes on. The frames are the same; what the visitor sends comes as requests.

use std::borrow::Cow;
use std::convert::Infallible;

use axum::body::Body;
use axum::extract::ws::Message;
use bytes::Bytes;
use futures::StreamExt;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::room::Resume;
use crate::wire::Close;

/// Frames that wait for the connection, which takes them as fast as the reader does. More wait in the room.
const WAITING: usize = 2;

/// A comment: proxies and players see that the line is alive.
const HEARTBEAT: Bytes = Bytes::from_static(b":\n\n");

pub struct Events {
    out: mpsc::Sender<Bytes>,
    /// Of the room, once the visitor has been greeted.
    epoch: String,
}

/// The reader is gone.
pub struct Gone;

/// What a frame says of where the reader stands.
#[derive(Deserialize)]
struct Stands<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    epoch: Option<String>,
    seq: Option<u64>,
    to: Option<u64>,
}

impl Events {
    /// With the body that they come out of.
    pub fn open() -> (Events, Body) {
        let (out, waiting) = mpsc::channel(WAITING);
        let body = Body::from_stream(ReceiverStream::new(waiting).map(Ok::<Bytes, Infallible>));
        let epoch = String::new();
        (Events { out, epoch }, body)
    }

    /// Returns when the reader has gone.
    pub async fn closed(&self) {
        self.out.closed().await;
    }

    /// An `EventSource` that comes back by itself waits so long.
    pub async fn hint(&mut self, retry_ms: u64) -> Result<(), Gone> {
        self.push(format!("retry: {retry_ms}\n\n").into()).await
    }

    /// What a WebSocket would be sent: a text, or a ping.
    pub async fn send(&mut self, message: &Message) -> Result<(), Gone> {
        match message {
            Message::Text(json) => self.text(json).await,
            _ => self.push(HEARTBEAT).await,
        }
    }

    /// A frame: JSON, so on one line. Where it moves the reader on, it has an id, by which they resume.
    async fn text(&mut self, json: &str) -> Result<(), Gone> {
        let event = match self.id(json) {
            Some(id) => format!("id: {id}\ndata: {json}\n\n"),
            None => format!("data: {json}\n\n"),
        };
        self.push(event.into()).await
    }

    /// The last one, under a name of its own.
    pub async fn close(&mut self, close: Close) -> Result<(), Gone> {
        let why = serde_json::json!({"code": close.code(), "reason": close.reason()});
        self.push(format!("event: close\ndata: {why}\n\n").into()).await
    }

    async fn push(&mut self, event: Bytes) -> Result<(), Gone> {
        self.out.send(event).await.map_err(|_| Gone)
    }

    fn id(&mut self, json: &str) -> Option<String> {
        let stands: Stands = serde_json::from_str(json).ok()?;
        let seq = match &*stands.kind {
            "joined" => {
                self.epoch = stands.epoch?;
                stands.seq?
            }
            "events" => stands.to?,
            _ => return None,
        };
        Some(format!("{}:{seq}", self.epoch))
    }
}

/// An id as it comes back in Last-Event-ID.
pub fn resume(id: &str) -> Option<Resume> {
    let (epoch, seq) = id.rsplit_once(':')?;
    let seq = seq.parse().ok()?;
    let epoch = epoch.to_owned();
    Some(Resume { epoch, seq })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::to_bytes;

    #[tokio::test]
    async fn events_as_literal_text() {
        let (mut events, body) = Events::open();
        let sending = async move {
            let frames = [
                r#"{"type":"joined","epoch":"e1","seq":7}"#,
                r#"{"type":"presence","count":2}"#,
                r#"{"type":"events","from":8,"to":9,"events":[{"seq":9}]}"#,
                r#"{"type":"ack","ref":"a","seq":9}"#,
            ];
            let _ = events.hint(1_500).await;
            for frame in frames {
                let _ = events.text(frame).await;
            }
            let _ = events.send(&Message::Ping(Bytes::new())).await;
            let _ = events.close(Close::GoingAway).await;
        };
        let (_, body) = tokio::join!(sending, to_bytes(body, usize::MAX));
        assert_eq!(
            String::from_utf8(body.unwrap().to_vec()).unwrap(),
            "retry: 1500\n\n\
             id: e1:7\ndata: {\"type\":\"joined\",\"epoch\":\"e1\",\"seq\":7}\n\n\
             data: {\"type\":\"presence\",\"count\":2}\n\n\
             id: e1:9\ndata: {\"type\":\"events\",\"from\":8,\"to\":9,\"events\":[{\"seq\":9}]}\n\n\
             data: {\"type\":\"ack\",\"ref\":\"a\",\"seq\":9}\n\n\
             :\n\n\
             event: close\ndata: {\"code\":1001,\"reason\":\"the server stops\"}\n\n"
        );
    }

    #[tokio::test]
    async fn a_reader_that_left_is_noticed() {
        let (mut events, body) = Events::open();
        drop(body);
        events.closed().await;
        assert!(events.send(&Message::Ping(Bytes::new())).await.is_err());
    }

    #[test]
    fn ids_come_back() {
        let resumed = resume("e1:7").unwrap();
        assert_eq!((resumed.epoch.as_str(), resumed.seq), ("e1", 7));
        for bad in ["", "e1", "e1:", "e1:x", "e1:-1"] {
            assert!(resume(bad).is_none(), "{bad}");
        }
    }
}
