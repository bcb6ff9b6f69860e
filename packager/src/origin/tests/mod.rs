//! The origin from outside, without a socket: a broadcast on air, told as far as each test wants.

mod archive;
mod end;
mod objects;
mod playlists;
mod storyboard;
mod waiting;

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use timeline::feed::{Policy, Producer, Record};
use timeline::{MediaTime, PartIndex, Span, WallTime};
use tokio::task::JoinHandle;
use tower::ServiceExt;

use super::*;
use crate::testing::{Memory, frames, ladder};

/// A broadcast `algebra` on air.
struct Stage {
    origin: Origin,
    archive: Arc<Memory>,
    producer: Producer,
    packaged: JoinHandle<Result<Packaged, Error>>,
    told: i64,
}

/// What came back.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn lists(&self, part: &str) -> bool {
        self.text()
            .lines()
            .any(|line| line.starts_with("#EXT-X-PART:") && line.contains(&format!("\"{part}\"")))
    }
}

impl Stage {
    fn open(config: Config) -> Stage {
        let archive = Arc::new(Memory::default());
        let origin = Origin::new(config, archive.clone());
        let producer = Producer::new();
        ladder()
            .into_iter()
            .for_each(|rendition| producer.send(Record::Rendition(rendition)));
        let line = producer.subscribe(Policy::Line);
        let timeline = Timeline::starting(WallTime::from_unix_millis(1_760_000_000_000));
        let packaged = tokio::spawn(origin.package(algebra(), timeline, Grid::default(), line));
        Stage {
            origin,
            archive,
            producer,
            packaged,
            told: 0,
        }
    }

    /// On air, with all media before `ms` told and visible.
    async fn at(ms: i64) -> Stage {
        let mut stage = Stage::open(Config::default());
        stage.tell(ms).await;
        stage
    }

    /// Tells the line on to `ms`, and waits until all whole parts are visible.
    async fn tell(&mut self, ms: i64) {
        while self.told < ms {
            // A few seconds at a time, so that the feed does not overflow.
            let to = (self.told + 3_000).min(ms);
            let from = MediaTime::ZERO + Span::from_millis(self.told);
            let new = frames(to).into_iter().filter(|frame| frame.at >= from);
            new.for_each(|frame| self.producer.send(Record::Frame(frame)));
            self.told = to;
            let next = Grid::default().part_index(MediaTime::ZERO + Span::from_millis(to));
            while self.next() != Some(next) {
                tokio::task::yield_now().await;
            }
        }
    }

    fn next(&self) -> Option<PartIndex> {
        Some(self.origin.on_air(&algebra())?.front().next)
    }

    async fn end(self, ms: i64) -> (Origin, Arc<Memory>, Packaged) {
        self.producer
            .send(Record::End(MediaTime::ZERO + Span::from_millis(ms)));
        let packaged = self.packaged.await.unwrap().unwrap();
        (self.origin, self.archive, packaged)
    }

    async fn get(&self, path: &str) -> Answer {
        get(&self.origin, path).await
    }

    async fn ranged(&self, path: &str, range: &str) -> Answer {
        let request = Request::get(format!("/broadcasts/algebra/{path}")).header("range", range);
        send(&self.origin, request.body(Body::empty()).unwrap()).await
    }

    /// A request that is on its way.
    fn ask(&self, path: &str) -> JoinHandle<Answer> {
        let (origin, path) = (self.origin.clone(), path.to_owned());
        tokio::spawn(async move { get(&origin, &path).await })
    }

    /// The requests that wait now.
    async fn waiting(&self, count: u32) {
        let air = self.origin.on_air(&algebra()).unwrap();
        while air.blocked() != count {
            tokio::task::yield_now().await;
        }
    }
}

fn algebra() -> BroadcastId {
    "algebra".parse().unwrap()
}

async fn get(origin: &Origin, path: &str) -> Answer {
    send(
        origin,
        Request::get(format!("/broadcasts/algebra/{path}"))
            .body(Body::empty())
            .unwrap(),
    )
    .await
}

async fn send(origin: &Origin, request: Request<Body>) -> Answer {
    let response = origin.router().oneshot(request).await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    Answer {
        status,
        headers,
        body: to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec(),
    }
}
