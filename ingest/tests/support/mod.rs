//! A door to knock at, and requests to knock with.
#![allow(dead_code, clippy::unwrap_used)]

pub mod publisher;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, Response, StatusCode};
use ingest::{Config, Door, Grant, Ingest, Left, Publication, Refusal};
use timeline::feed::{Consumer, Policy, Producer, Record};
use timeline::{BroadcastId, SourceName, Timeline, WallTime};
use tokio::sync::watch;
use tower::ServiceExt;

/// Everything that is awaited comes within this, on any machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Knows two people's tokens. The broadcasts `unknown`, `over`, `busy` and `elsewhere` are what they are called.
#[derive(Default)]
pub struct TestDoor {
    broadcasts: Mutex<HashMap<BroadcastId, Arc<OnAir>>>,
}

pub struct OnAir {
    pub feed: Producer,
    pub line: Mutex<Option<Timeline>>,
    /// Every goodbye so far.
    pub left: watch::Sender<Vec<Left>>,
}

#[async_trait]
impl Door for TestDoor {
    async fn authorize(
        &self,
        _: &BroadcastId,
        bearer: Option<&str>,
        source: Option<&SourceName>,
    ) -> Result<Grant, Refusal> {
        match bearer {
            Some(person @ ("good" | "second")) => Ok(Grant {
                person: person.into(),
                name: person.into(),
                source: source.cloned().unwrap_or_default(),
                invitation: None,
            }),
            Some("other") => Err(Refusal::Forbidden("this token is for another broadcast".into())),
            _ => Err(Refusal::Unauthorized("a token is needed".into())),
        }
    }

    async fn elsewhere(&self, broadcast: &BroadcastId) -> Option<String> {
        (broadcast.as_str() == "elsewhere").then(|| "https://two.test/".into())
    }

    fn pass(&self, _: &BroadcastId, grant: &Grant) -> Option<String> {
        Some(format!("{}.{}", grant.person, grant.source))
    }

    async fn readmit(&self, _: &BroadcastId, pass: &str, _: Option<&SourceName>) -> Result<Grant, Refusal> {
        let Some((person, source)) = pass.split_once('.') else {
            return Err(Refusal::Unauthorized("this is no pass".into()));
        };
        Ok(Grant {
            person: person.into(),
            name: person.into(),
            source: source.parse().unwrap(),
            invitation: None,
        })
    }

    async fn admit(&self, broadcast: &BroadcastId, _: &Grant) -> Result<Arc<dyn Publication>, Refusal> {
        match broadcast.as_str() {
            "unknown" => Err(Refusal::NotFound),
            "over" => Err(Refusal::Ended),
            "busy" => Err(Refusal::Unavailable("come back later".into())),
            _ => Ok(self.on_air(broadcast.as_str())),
        }
    }
}

impl TestDoor {
    pub fn on_air(&self, broadcast: &str) -> Arc<OnAir> {
        let id: BroadcastId = broadcast.parse().unwrap();
        self.broadcasts
            .lock()
            .unwrap()
            .entry(id)
            .or_insert_with(|| Arc::new(OnAir::new()))
            .clone()
    }
}

impl OnAir {
    fn new() -> Self {
        OnAir {
            feed: Producer::new(),
            line: Mutex::default(),
            left: watch::Sender::default(),
        }
    }

    pub fn timeline(&self) -> Timeline {
        self.line.lock().unwrap().expect("the line is open")
    }

    pub fn listen(&self) -> Listener {
        Listener(self.feed.subscribe(Policy::Line))
    }

    pub async fn has_left(&self, goodbyes: usize) -> Vec<Left> {
        let mut left = self.left.subscribe();
        let left = tokio::time::timeout(PATIENCE, left.wait_for(|left| left.len() >= goodbyes)).await;
        left.expect("it left").unwrap().clone()
    }
}

impl Publication for OnAir {
    fn open(&self, first: WallTime) -> Option<Timeline> {
        Some(*self.line.lock().unwrap().get_or_insert(Timeline::starting(first)))
    }

    fn feed(&self) -> &Producer {
        &self.feed
    }

    fn left(&self, how: Left) {
        self.left.send_modify(|left| left.push(how));
    }
}

pub struct Listener(Consumer);

impl Listener {
    pub async fn next(&mut self) -> Record {
        let next = tokio::time::timeout(PATIENCE, self.0.next()).await;
        next.expect("a record comes")
            .expect("nothing is lost")
            .expect("the feed is open")
    }
}

pub async fn ingest(config: Config) -> (Ingest, Arc<TestDoor>) {
    let door = Arc::new(TestDoor::default());
    let mut config = config;
    if config.udp == Config::default().udp {
        config.udp = vec!["127.0.0.1:0".parse().unwrap()];
    }
    (Ingest::bind(config, door.clone()).await.unwrap(), door)
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: axum::http::HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// What a problem says, once its form has been checked.
    pub fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json");
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!(body["status"], self.status.as_u16());
        assert_eq!(body["type"], "about:blank");
        assert!(body["title"].is_string());
        body["detail"].as_str().unwrap().to_owned()
    }
}

/// One request. Every response, whatever it says, can be read by a page of another origin.
pub async fn request(
    router: &Router,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from(body.to_vec())).unwrap();
    let response: Response<Body> = router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
    assert!(
        response.headers()["access-control-expose-headers"]
            .to_str()
            .unwrap()
            .contains("Location")
    );
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

pub const GOOD: (&str, &str) = ("authorization", "Bearer good");

pub const SECOND: (&str, &str) = ("authorization", "Bearer second");

pub async fn post(router: &Router, path: &str, offer: &str) -> Answer {
    post_as(GOOD, router, path, offer).await
}

pub async fn post_as(bearer: (&str, &str), router: &Router, path: &str, offer: &str) -> Answer {
    let headers = [bearer, ("content-type", "application/sdp")];
    request(router, Method::POST, path, &headers, offer.as_bytes()).await
}

pub async fn delete(router: &Router, location: &str) -> StatusCode {
    request(router, Method::DELETE, location, &[GOOD], b"")
        .await
        .status
}
