//! A lecture of real media on air: told part by part, and asked over HTTP.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::middleware::Next;
use packager::{Config, Error, Job, Origin, Packaged, archive::Disk};
use reqwest::{Method, StatusCode, header::HeaderMap};
use timeline::feed::{Policy, Producer, Record};
use timeline::{
    Frame, Grid, MediaTime, PartIndex, Rendition, Span, TextRendition, Timeline, TrackId, WallTime,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::reader::Playlist;
use crate::support;

/// 14 segments and a half: some have left memory then.
const SECONDS: &str = "46.4";

pub const VIDEO: [&str; 2] = ["360p", "180p"];
pub const RENDITIONS: [&str; 3] = ["360p", "180p", "audio"];

/// The origin, in milliseconds after midnight: 9 October 2025, 08:53:20.
pub const ORIGIN: i64 = ((8 * 60 + 53) * 60 + 20) * 1_000;

#[derive(Clone)]
pub struct Source {
    pub ladder: Vec<Rendition>,
    /// In the order in which they are made.
    pub frames: Vec<Frame>,
}

/// Two rungs and the sound; made once for all tests.
pub fn source() -> &'static Source {
    static SOURCE: OnceLock<Source> = OnceLock::new();
    SOURCE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        support::make_video(&path("360p.264"), "640x360", SECONDS);
        support::make_video(&path("180p.264"), "320x180", SECONDS);
        support::make_audio(&path("audio.aac"), SECONDS);
        let read = |name: &str| std::fs::read(path(name)).unwrap();
        let made = [
            support::video(1, "360p", (640, 360), &read("360p.264")),
            support::video(2, "180p", (320, 180), &read("180p.264")),
            support::audio(3, &read("audio.aac")),
        ];
        let (ladder, frames): (Vec<_>, Vec<_>) = made.into_iter().unzip();
        let mut frames: Vec<Frame> = frames.into_iter().flatten().collect();
        frames.sort_by_key(|frame| frame.at);
        Source { ladder, frames }
    })
}

pub struct Lecture {
    pub folder: tempfile::TempDir,
    pub address: SocketAddr,
    pub producer: Producer,
    pub grid: Grid,
    http: reqwest::Client,
    frames: VecDeque<Frame>,
    next: PartIndex,
    packaged: JoinHandle<Result<Packaged, Error>>,
    server: JoinHandle<()>,
    /// How many requests have come to the origin.
    came: watch::Receiver<u64>,
    origin: Origin,
}

impl Drop for Lecture {
    fn drop(&mut self) {
        self.packaged.abort();
        self.server.abort();
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: bytes::Bytes,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl Lecture {
    /// Nothing is told yet.
    pub async fn open() -> Lecture {
        Lecture::with(Config::default(), Grid::default(), |_| true).await
    }

    /// With all before this part told and visible.
    pub async fn at(msn: u64, part: u32) -> Lecture {
        let mut lecture = Lecture::open().await;
        lecture.tell(msn, part).await;
        lecture
    }

    /// With 14 segments told, of which the first have left memory: only the archive has them.
    pub async fn long() -> Lecture {
        let config = Config {
            window_seconds: 0,
            ..Config::default()
        };
        let mut lecture = Lecture::with(config, Grid::default(), |_| true).await;
        lecture.tell(12, 0).await;
        let kept = lecture.folder.path().join("archive/lecture/audio/index.m3u8");
        while !std::fs::read_to_string(&kept).is_ok_and(|text| text.ends_with("\n11.m4s\n")) {
            // The archive tells nobody.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        lecture.tell(14, 1).await;
        lecture
    }

    pub async fn with(config: Config, grid: Grid, keep: impl Fn(&Frame) -> bool) -> Lecture {
        Lecture::with_texts(config, grid, keep, Vec::new()).await
    }

    pub async fn with_texts(
        config: Config,
        grid: Grid,
        keep: impl Fn(&Frame) -> bool,
        texts: Vec<TextRendition>,
    ) -> Lecture {
        let source = tokio::task::spawn_blocking(source).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path().join("archive")).unwrap();
        let part_hold_back_ms = config.part_hold_back_ms;
        let origin = Origin::new(config, Arc::new(disk));
        let producer = Producer::new();
        let line = producer.subscribe(Policy::Line);
        let timeline = Timeline::starting(WallTime::from_unix_millis(1_760_000_000_000));
        let on_air = origin.open(Job {
            broadcast: "lecture".parse().unwrap(),
            timeline,
            grid,
            part_hold_back_ms,
            texts,
        });
        let packaged = tokio::spawn(on_air.unwrap().package(line));
        for rendition in &source.ladder {
            producer.send(Record::Rendition(rendition.clone()));
        }
        let (address, server, came) = serve(&origin).await;
        // Its client wants to know how TLS would be done, though nothing here speaks it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Lecture {
            folder,
            address,
            producer,
            grid,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            frames: source
                .frames
                .iter()
                .filter(|frame| keep(frame))
                .cloned()
                .collect(),
            next: PartIndex { msn: 0, part: 0 },
            packaged,
            server,
            came,
            origin,
        }
    }

    /// Tells the line on to the beginning of this part, and waits until all before it are visible.
    pub async fn tell(&mut self, msn: u64, part: u32) {
        let until = PartIndex { msn, part };
        while self.next < until {
            // So far ahead as a request may be.
            let half = self.grid.parts_per_segment() / 2;
            let end = match self.next.part < half {
                true => PartIndex {
                    msn: self.next.msn,
                    part: half,
                },
                false => PartIndex {
                    msn: self.next.msn + 1,
                    part: 0,
                },
            };
            let end = end.min(until);
            self.send_before(end);
            self.visible(end).await;
        }
    }

    /// Sends all frames before a part, and waits for nothing.
    pub fn send_before(&mut self, end: PartIndex) {
        let edge = self.grid.part_start(end);
        while self.frames.front().is_some_and(|frame| frame.at < edge) {
            self.producer
                .send(Record::Frame(self.frames.pop_front().unwrap()));
        }
        self.next = end;
    }

    async fn visible(&self, next: PartIndex) {
        // Before a segment is whole no playlist is answered.
        if next.msn > 0 {
            let (msn, part) = match next.part {
                0 => (next.msn - 1, self.grid.parts_per_segment() - 1),
                part => (next.msn, part - 1),
            };
            self.playlist(&format!("audio/index.m3u8?_HLS_msn={msn}&_HLS_part={part}"))
                .await;
        }
    }

    /// Ends the line where the next part would begin.
    pub async fn end(&mut self) -> Result<Packaged, Error> {
        self.producer.send(Record::End(self.grid.part_start(self.next)));
        (&mut self.packaged).await.unwrap()
    }

    pub async fn packaged(&mut self) -> Result<Packaged, Error> {
        (&mut self.packaged).await.unwrap()
    }

    /// Another origin over the same archive, as after a restart.
    pub async fn served_from_archive(&mut self) {
        let disk = Disk::open(self.folder.path().join("archive")).unwrap();
        self.origin = Origin::new(Config::default(), Arc::new(disk));
        self.server.abort();
        (self.address, self.server, self.came) = serve(&self.origin).await;
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}/broadcasts/lecture/{path}", self.address)
    }

    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, self.url(path))
    }

    pub async fn get(&self, path: &str) -> Answer {
        answer(self.request(Method::GET, path)).await
    }

    pub async fn get_with(&self, path: &str, header: &'static str, value: &str) -> Answer {
        answer(self.request(Method::GET, path).header(header, value)).await
    }

    /// A request that has come to the origin, and waits there or is answered.
    pub async fn ask(&self, path: &str) -> JoinHandle<Answer> {
        self.come(self.request(Method::GET, path)).await
    }

    /// All tasks of a test share one thread: what has been counted was handled up to where it waits.
    pub async fn come(&self, request: reqwest::RequestBuilder) -> JoinHandle<Answer> {
        let mut came = self.came.clone();
        let before = *came.borrow_and_update();
        let asked = tokio::spawn(answer(request));
        came.wait_for(|count| *count > before).await.unwrap();
        asked
    }

    pub async fn playlist(&self, path: &str) -> Playlist {
        let answer = self.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
        Playlist::read(answer.text())
    }

    pub async fn body(&self, path: &str) -> bytes::Bytes {
        let answer = self.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        answer.body
    }

    /// Every media playlist, those of I-frames too.
    pub async fn all_playlists(&self) -> Vec<Playlist> {
        let mut all = Vec::new();
        for rendition in RENDITIONS {
            all.push(self.playlist(&format!("{rendition}/index.m3u8")).await);
        }
        for rendition in VIDEO {
            all.push(self.playlist(&format!("{rendition}/iframes.m3u8")).await);
        }
        all
    }

    pub fn archived(&self, path: &str) -> String {
        std::fs::read_to_string(self.folder.path().join("archive/lecture").join(path)).unwrap()
    }
}

pub async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    Answer {
        status: response.status(),
        headers: response.headers().clone(),
        body: response.bytes().await.unwrap(),
    }
}

async fn serve(origin: &Origin) -> (SocketAddr, JoinHandle<()>, watch::Receiver<u64>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (count, came) = watch::channel(0);
    let counted = move |request: axum::extract::Request, next: Next| {
        count.send_modify(|count| *count += 1);
        next.run(request)
    };
    let router = origin.router().layer(axum::middleware::from_fn(counted));
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (address, server, came)
}

/// Four segments, of whose second the 180p rung has lost half a second.
pub async fn holed() -> Lecture {
    let at = |ms| MediaTime::ZERO + Span::from_millis(ms);
    let keep = |frame: &Frame| frame.track != TrackId(2) || frame.at < at(4_200) || frame.at >= at(4_700);
    let mut lecture = Lecture::with(Config::default(), Grid::default(), keep).await;
    lecture.tell(1, 0).await;
    // A hole lasts until the next segment begins.
    lecture.send_before(PartIndex { msn: 2, part: 1 });
    lecture.tell(4, 0).await;
    lecture
}
