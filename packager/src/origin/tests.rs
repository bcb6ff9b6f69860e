//! The origin from outside: each row of the directive table, the waiting, the archive behind it.

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

#[tokio::test]
async fn a_playlist_tells_the_newest_part_and_what_comes_next() {
    let stage = Stage::at(3_400).await;
    let answer = stage.get("720p/index.m3u8").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.lists("1.0.m4s") && !answer.lists("1.1.m4s"));
    assert!(answer.text().ends_with(
        "\
#EXT-X-PROGRAM-DATE-TIME:2025-10-09T08:53:23.200Z
#EXT-X-PART:DURATION=0.20000,URI=\"1.0.m4s\",INDEPENDENT=YES
#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"1.1.m4s\"
#EXT-X-RENDITION-REPORT:URI=\"../360p/index.m3u8\",LAST-MSN=1,LAST-PART=0
#EXT-X-RENDITION-REPORT:URI=\"../audio/index.m3u8\",LAST-MSN=1,LAST-PART=0
"
    ));
    assert_eq!(answer.header("content-type"), "application/vnd.apple.mpegurl");
    assert_eq!(answer.header("cache-control"), "public, max-age=1");
    assert_eq!(answer.header("vary"), "accept-encoding");
}

#[tokio::test]
async fn players_enter_a_video_segment_at_its_head_and_a_sound_anywhere() {
    let stage = Stage::at(3_200 * 2).await;
    let marked = |text: &str| text.matches("INDEPENDENT=YES").count();
    assert_eq!(marked(stage.get("720p/index.m3u8").await.text()), 2);
    assert_eq!(marked(stage.get("audio/index.m3u8").await.text()), 32);
}

#[tokio::test]
async fn multivariant_playlists_lead_to_the_renditions() {
    let stage = Stage::at(3_200).await;
    let all = stage.get("index.m3u8").await;
    assert_eq!(all.header("cache-control"), "public, max-age=2");
    assert!(all.text().contains("RESOLUTION=1280x720") && all.text().contains("\n720p/index.m3u8\n"));
    let audio = stage.get("audio.m3u8").await;
    assert!(audio.text().ends_with("CODECS=\"mp4a.40.2\"\naudio/index.m3u8\n"));
}

#[tokio::test(start_paused = true)]
async fn the_first_answer_is_held_until_a_segment_is_whole() {
    let mut stage = Stage::open(Config::default());
    stage.tell(3_000).await;
    let asked = [
        stage.ask("index.m3u8"),
        stage.ask("audio/index.m3u8?_HLS_msn=0&_HLS_part=2"),
    ];
    stage.waiting(2).await;
    stage.tell(3_200).await;
    for asked in asked {
        assert_eq!(asked.await.unwrap().status, StatusCode::OK);
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_ever() {
    let stage = Stage::open(Config::default());
    for path in ["index.m3u8", "720p/index.m3u8"] {
        let answer = stage.get(path).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(
            (answer.header("cache-control"), answer.header("retry-after")),
            ("no-store", "1")
        );
    }
    let stage = Stage::at(3_400).await;
    let before = tokio::time::Instant::now();
    for path in ["720p/index.m3u8?_HLS_msn=1&_HLS_part=1", "720p/1.1.m4s"] {
        let answer = stage.get(path).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    // Three target durations each.
    assert_eq!(before.elapsed().as_secs(), 18);
}

#[tokio::test(start_paused = true)]
async fn a_part_that_comes_next_is_waited_for() {
    let mut stage = Stage::at(3_400).await;
    let asked = stage.ask("720p/index.m3u8?_HLS_msn=1&_HLS_part=1");
    stage.waiting(1).await;
    stage.tell(3_600).await;
    let answer = asked.await.unwrap();
    assert!(answer.lists("1.1.m4s"));
    assert_eq!(answer.header("cache-control"), "public, max-age=18");
    // It is there now: the same request is answered at once.
    assert!(
        stage
            .get("720p/index.m3u8?_HLS_msn=1&_HLS_part=1")
            .await
            .lists("1.1.m4s")
    );
}

#[tokio::test(start_paused = true)]
async fn a_part_behind_the_last_rolls_over() {
    let mut stage = Stage::at(6_400).await;
    let asked = stage.ask("720p/index.m3u8?_HLS_msn=1&_HLS_part=16");
    stage.waiting(1).await;
    stage.tell(6_600).await;
    assert!(asked.await.unwrap().lists("2.0.m4s"));
}

#[tokio::test(start_paused = true)]
async fn a_whole_segment_is_waited_for() {
    let mut stage = Stage::at(3_400).await;
    let asked = stage.ask("720p/index.m3u8?_HLS_msn=1");
    stage.waiting(1).await;
    stage.tell(6_200).await;
    stage.waiting(1).await;
    stage.tell(6_400).await;
    assert!(asked.await.unwrap().text().contains("\n1.m4s\n"));
}

#[tokio::test(start_paused = true)]
async fn a_segment_that_has_not_begun_is_answered_with_its_first_part() {
    let mut stage = Stage::at(6_400).await;
    let asked = stage.ask("720p/index.m3u8?_HLS_msn=2");
    stage.waiting(1).await;
    stage.tell(6_600).await;
    let answer = asked.await.unwrap();
    assert!(answer.lists("2.0.m4s"));
    // The same request will soon mean the whole segment.
    assert_eq!(answer.header("cache-control"), "public, max-age=1");
}

#[tokio::test]
async fn what_is_long_there_is_answered_at_once() {
    let stage = Stage::at(3_200 * 9).await;
    for query in [
        "_HLS_msn=0",
        "_HLS_msn=0&_HLS_part=3",
        "_HLS_msn=8",
        "_HLS_msn=7&_HLS_part=15",
    ] {
        let answer = stage.get(&format!("720p/index.m3u8?{query}")).await;
        assert!(
            answer.text().contains("\n0.m4s\n") && answer.text().contains("\n8.m4s\n"),
            "{query}"
        );
    }
}

#[tokio::test]
async fn queries_that_make_no_sense_are_refused() {
    let stage = Stage::at(3_400).await;
    for (query, cache) in [
        ("_HLS_part=1", "public, max-age=12"),
        ("_HLS_msn=x", "public, max-age=12"),
        ("_HLS_msn=-1", "public, max-age=12"),
        ("_HLS_msn=1&_HLS_part=1.5", "public, max-age=12"),
        ("_HLS_skip=maybe", "public, max-age=12"),
        ("_HLS_msn=1&_HLS_part=1&_HLS_part=1", "public, max-age=12"),
        ("_HLS_msn=4", "public, max-age=1"),
        ("_HLS_msn=1&_HLS_part=16", "public, max-age=1"),
    ] {
        let answer = stage.get(&format!("720p/index.m3u8?{query}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(answer.header("cache-control"), cache, "{query}");
        assert!(answer.text().contains("\"status\":400"));
    }
    // What is not ours is let through.
    assert_eq!(
        stage.get("720p/index.m3u8?token=1&%zz").await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn delta_updates() {
    let stage = Stage::at(3_200 * 9 + 400).await;
    for query in [
        "_HLS_skip=YES",
        "_HLS_skip=v2",
        "_HLS_msn=9&_HLS_part=0&_HLS_skip=YES",
    ] {
        let delta = stage.get(&format!("720p/index.m3u8?{query}")).await;
        assert!(delta.text().contains("#EXT-X-VERSION:9\n"), "{query}");
        assert!(
            delta
                .text()
                .contains("#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-SKIP:SKIPPED-SEGMENTS=3\n#EXT-X-MAP:")
        );
        assert!(
            delta.lists("9.1.m4s")
                && !delta.text().contains("\n2.m4s\n")
                && delta.text().contains("\n3.m4s\n")
        );
    }
    // Nothing can be skipped yet: the whole playlist.
    let early = Stage::at(3_200 * 6)
        .await
        .get("720p/index.m3u8?_HLS_skip=YES")
        .await;
    assert!(early.text().contains("#EXT-X-VERSION:6\n") && !early.text().contains("SKIP:"));
}

#[tokio::test]
async fn gzip_is_the_same_text() {
    let stage = Stage::at(3_200 * 50 + 1_000).await;
    for path in [
        "720p/index.m3u8",
        "720p/index.m3u8?_HLS_skip=YES",
        "index.m3u8",
        "audio.m3u8",
    ] {
        let plain = stage.get(path).await;
        let request =
            Request::get(format!("/broadcasts/algebra/{path}")).header("accept-encoding", "gzip, br");
        let zipped = send(&stage.origin, request.body(Body::empty()).unwrap()).await;
        assert_eq!(
            (
                zipped.header("content-encoding"),
                plain.header("content-encoding")
            ),
            ("gzip", "")
        );
        assert_eq!(zipped.header("vary"), "accept-encoding");
        let mut text = String::new();
        std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&zipped.body[..]), &mut text)
            .unwrap();
        assert_eq!(text, plain.text());
    }
}

#[tokio::test(start_paused = true)]
async fn a_hinted_part_is_sent_whole_when_it_is_there() {
    let mut stage = Stage::at(3_400).await;
    let asked = stage.ask("audio/1.1.m4s");
    stage.waiting(1).await;
    stage.tell(3_600).await;
    let answer = asked.await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("content-type"), "audio/mp4");
    assert_eq!(answer.header("cache-control"), "public, max-age=60, immutable");
    assert_eq!(answer.header("content-length"), answer.body.len().to_string());
    assert_eq!(&answer.body[4..8], b"moof");
    // Not hinted, so not waited for.
    for unknown in [
        "audio/1.3.m4s",
        "audio/2.0.m4s",
        "audio/0.16.m4s",
        "240p/0.0.m4s",
        "audio/1.m4s",
    ] {
        let answer = stage.get(unknown).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{unknown}");
        assert_eq!(answer.header("cache-control"), "public, max-age=1");
    }
}

#[tokio::test]
async fn a_segment_is_its_parts() {
    let stage = Stage::at(3_200).await;
    for rendition in ["720p", "360p", "audio"] {
        let mut parts = Vec::new();
        for n in 0..16 {
            parts.extend(stage.get(&format!("{rendition}/0.{n}.m4s")).await.body);
        }
        let segment = stage.get(&format!("{rendition}/0.m4s")).await;
        assert_eq!(segment.body, parts);
        assert_eq!(
            segment.header("cache-control"),
            "public, max-age=31536000, immutable"
        );
    }
}

#[tokio::test]
async fn objects_that_never_change_are_known_by_their_tag() {
    let stage = Stage::at(3_200).await;
    let playlist = stage.get("720p/index.m3u8").await;
    let map = playlist
        .text()
        .split("EXT-X-MAP:URI=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    for name in [map, "0.m4s", "0.0.m4s"] {
        let first = stage.get(&format!("720p/{name}")).await;
        assert_eq!(
            (first.status, first.header("content-type")),
            (StatusCode::OK, "video/mp4")
        );
        let again = Request::get(format!("/broadcasts/algebra/720p/{name}"));
        let again = again
            .header("if-none-match", first.header("etag"))
            .body(Body::empty())
            .unwrap();
        let again = send(&stage.origin, again).await;
        assert_eq!((again.status, again.body.len()), (StatusCode::NOT_MODIFIED, 0));
    }
    assert_eq!(
        stage.get("720p/init-0000000000000000.mp4").await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn pages_of_other_sites_may_play() {
    let stage = Stage::at(3_200).await;
    let answer = stage.get("index.m3u8").await;
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert_eq!(answer.header("access-control-expose-headers"), "age,date");
    assert_eq!(answer.header("timing-allow-origin"), "*");
    let preflight = Request::options("/broadcasts/algebra/index.m3u8")
        .header("origin", "https://elsewhere.example")
        .header("access-control-request-method", "GET")
        .header("access-control-request-headers", "range")
        .body(Body::empty())
        .unwrap();
    let preflight = send(&stage.origin, preflight).await;
    assert_eq!(preflight.status, StatusCode::OK);
    assert_eq!(
        preflight.header("access-control-allow-methods"),
        "GET,HEAD,OPTIONS"
    );
    let head = Request::head("/broadcasts/algebra/720p/0.m4s")
        .body(Body::empty())
        .unwrap();
    let head = send(&stage.origin, head).await;
    let whole = stage.get("720p/0.m4s").await;
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
    assert_eq!(head.header("content-length"), whole.body.len().to_string());
}

#[tokio::test]
async fn paths_cannot_leave_the_broadcast() {
    let stage = Stage::at(3_200).await;
    stage.archive.objects.lock().unwrap().insert(
        "secret.json".into(),
        timeline::Object {
            body: "{}".into(),
            content_type: "application/json".into(),
        },
    );
    for path in [
        "..%2fsecret.json",
        "../secret.json",
        "%2e%2e/secret.json",
        "720p/..%2f..%2fsecret.json",
        "%ff",
        "a//b",
    ] {
        assert_eq!(stage.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    let other = Request::get("/broadcasts/../secret.json")
        .body(Body::empty())
        .unwrap();
    assert_eq!(send(&stage.origin, other).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn files_of_a_broadcast_come_from_the_archive() {
    let stage = Stage::at(3_200).await;
    let object = timeline::Object {
        body: "{\"v\":1}".into(),
        content_type: "application/json".into(),
    };
    stage.archive.put("algebra/broadcast.json", object).await.unwrap();
    let answer = stage.get("broadcast.json").await;
    assert_eq!(
        (answer.text(), answer.header("content-type")),
        ("{\"v\":1}", "application/json")
    );
    assert_eq!(stage.get("files/slides.pdf").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_more_exact_route_may_stand_beside() {
    let stage = Stage::at(3_200).await;
    let chat = Router::new()
        .route(
            "/broadcasts/{id}/chat/index.json",
            axum::routing::get(|| async { "room" }),
        )
        .route(
            "/broadcasts/{id}/chat/{name}",
            axum::routing::get(|| async { "chunk" }),
        );
    let router = chat.merge(stage.origin.router());
    for (path, text) in [
        ("chat/index.json", "room"),
        ("chat/0.1a.json", "chunk"),
        ("720p/0.m4s", ""),
    ] {
        let request = Request::get(format!("/broadcasts/algebra/{path}"))
            .body(Body::empty())
            .unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        assert!(text.is_empty() || body == text.as_bytes());
    }
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_are_bounded() {
    let mut stage = Stage::open(Config {
        max_blocked_requests: 2,
        ..Config::default()
    });
    stage.tell(3_400).await;
    let next = "720p/index.m3u8?_HLS_msn=1&_HLS_part=1";
    let waiting = [stage.ask(next), stage.ask(next)];
    stage.waiting(2).await;
    let refused = stage.get(next).await;
    assert_eq!(
        (refused.status, refused.header("cache-control")),
        (StatusCode::SERVICE_UNAVAILABLE, "no-store")
    );
    assert_eq!(stage.get("720p/index.m3u8").await.status, StatusCode::OK);
    stage.tell(3_600).await;
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap().status, StatusCode::OK);
    }
    stage.waiting(0).await;
}

#[tokio::test(start_paused = true)]
async fn one_version_wakes_all_who_wait() {
    let mut stage = Stage::at(3_400).await;
    let asked: Vec<_> = (0..2_000)
        .map(|_| stage.ask("720p/index.m3u8?_HLS_msn=1&_HLS_part=1"))
        .collect();
    stage.waiting(2_000).await;
    stage.tell(3_600).await;
    for asked in asked {
        assert!(asked.await.unwrap().lists("1.1.m4s"));
    }
}

#[tokio::test(start_paused = true)]
async fn at_the_end_those_who_wait_get_the_whole_and_directives_mean_nothing() {
    let mut stage = Stage::at(7_000).await;
    let asked = [
        stage.ask("720p/index.m3u8?_HLS_msn=3&_HLS_part=2"),
        stage.ask("720p/2.3.m4s"),
    ];
    stage.waiting(2).await;
    stage.told = 7_000;
    let (origin, archive, packaged) = stage.end(7_000).await;
    assert_eq!(packaged.duration, MediaTime::ZERO + Span::from_ticks(631_680));
    let [playlist, part] = asked;
    assert!(
        playlist
            .await
            .unwrap()
            .text()
            .ends_with("#EXTINF:0.60000,\n2.m4s\n#EXT-X-ENDLIST\n")
    );
    assert_eq!(part.await.unwrap().status, StatusCode::NOT_FOUND);
    for query in ["", "?_HLS_msn=99&_HLS_part=1&_HLS_skip=YES", "?_HLS_msn=x"] {
        let answer = get(&origin, &format!("audio/index.m3u8{query}")).await;
        assert!(answer.text().ends_with("2.m4s\n#EXT-X-ENDLIST\n"), "{query}");
        assert_eq!(answer.header("cache-control"), "public, max-age=300");
    }
    // The archive has all of it.
    let kept = archive.text("algebra/720p/index.m3u8");
    assert!(kept.ends_with("#EXTINF:0.60000,\n2.m4s\n#EXT-X-ENDLIST\n") && !kept.contains("PART"));
    assert!(archive.has("algebra/720p/2.m4s") && archive.has("algebra/audio/2.m4s"));
    // Later, and after a restart, it is served from there, under the same names.
    let before = get(&origin, "720p/2.m4s").await.body;
    tokio::time::sleep(Duration::from_secs(61)).await;
    for origin in [origin, Origin::new(Config::default(), archive)] {
        assert!(origin.on_air(&algebra()).is_none());
        assert_eq!(get(&origin, "720p/2.m4s").await.body, before);
        let answer = get(&origin, "720p/index.m3u8?_HLS_msn=99").await;
        assert_eq!(
            (answer.text(), answer.header("cache-control")),
            (&kept[..], "public, max-age=300")
        );
        assert!(
            get(&origin, "index.m3u8")
                .await
                .text()
                .contains("720p/index.m3u8")
        );
        assert_eq!(get(&origin, "720p/0.0.m4s").await.status, StatusCode::NOT_FOUND);
        assert_eq!(
            get(&origin, "240p/index.m3u8").await.status,
            StatusCode::NOT_FOUND
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_left_memory_comes_from_the_archive() {
    let stage = Stage::at(3_200 * 40).await;
    let air = stage.origin.on_air(&algebra()).unwrap();
    assert!(air.segment(0, 0).is_none() && air.part(0, PartIndex { msn: 0, part: 0 }).is_none());
    assert!(air.segment(0, 21).is_some() && air.part(0, PartIndex { msn: 21, part: 15 }).is_some());
    assert_eq!(stage.get("720p/0.m4s").await.status, StatusCode::OK);
    assert_eq!(stage.get("720p/0.0.m4s").await.status, StatusCode::NOT_FOUND);
    // All of it is listed, live.
    let playlist = stage.get("720p/index.m3u8").await;
    assert!((0..40).all(|msn| playlist.text().contains(&format!("\n{msn}.m4s\n"))));
}

#[tokio::test(start_paused = true)]
async fn a_failing_archive_never_holds_up_the_line() {
    let mut stage = Stage::open(Config::default());
    stage.archive.failing.store(true, Ordering::Relaxed);
    stage.tell(3_200 * 40).await;
    // Nothing may leave memory.
    assert_eq!(stage.get("720p/0.m4s").await.status, StatusCode::OK);
    assert!(stage.archive.objects.lock().unwrap().is_empty());
    stage.archive.failing.store(false, Ordering::Relaxed);
    let (_, archive, _) = stage.end(3_200 * 40).await;
    assert!((0..40).all(|msn| archive.has(&format!("algebra/720p/{msn}.m4s"))));
    assert!(
        archive
            .text("algebra/audio/index.m3u8")
            .ends_with("\n39.m4s\n#EXT-X-ENDLIST\n")
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_slow_archive_loses_is_a_gap() {
    let mut stage = Stage::open(Config {
        max_archive_backlog: 3,
        ..Config::default()
    });
    stage.archive.failing.store(true, Ordering::Relaxed);
    stage.tell(3_200 * 8).await;
    stage.archive.failing.store(false, Ordering::Relaxed);
    let (_, archive, _) = stage.end(3_200 * 8).await;
    let playlist = archive.text("algebra/720p/index.m3u8");
    let gaps = playlist.lines().filter(|line| *line == "#EXT-X-GAP").count();
    assert!(gaps >= 4, "{playlist}");
    for msn in 0..8 {
        let listed = playlist
            .split("#EXT-X-PROGRAM")
            .find(|entry| entry.contains(&format!("\n{msn}.m4s")))
            .unwrap();
        assert_eq!(
            !listed.contains("GAP"),
            archive.has(&format!("algebra/720p/{msn}.m4s"))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_archive_that_stays_broken_is_told_after_a_while() {
    let mut stage = Stage::open(Config::default());
    stage.archive.failing.store(true, Ordering::Relaxed);
    stage.tell(6_400).await;
    stage
        .producer
        .send(Record::End(MediaTime::ZERO + Span::from_millis(6_400)));
    let error = stage.packaged.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::NotKept { .. }), "{error}");
}

#[tokio::test]
async fn the_folder_is_playable_while_live() {
    let mut stage = Stage::at(3_200 * 2).await;
    let listed = |archive: &Memory| -> Option<String> {
        let objects = archive.objects.lock().unwrap();
        let body = &objects.get("algebra/720p/index.m3u8")?.body;
        Some(String::from_utf8(body.to_vec()).unwrap())
    };
    for msn in 1..4 {
        stage.tell(3_200 * (msn + 1)).await;
        let playlist = loop {
            match listed(&stage.archive).filter(|text| text.ends_with(&format!("\n{msn}.m4s\n"))) {
                Some(playlist) => break playlist,
                None => tokio::task::yield_now().await,
            }
        };
        // All that it lists is there; nothing in it needs a server that can wait.
        for uri in playlist.lines().filter(|line| !line.starts_with('#')) {
            assert!(stage.archive.has(&format!("algebra/720p/{uri}")));
        }
        assert!(!playlist.contains("PART") && !playlist.contains("SERVER-CONTROL"));
        assert!(playlist.contains("#EXT-X-PLAYLIST-TYPE:EVENT\n") && !playlist.contains("ENDLIST"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_line_that_breaks_off_is_ended_and_told() {
    let stage = Stage::at(4_000).await;
    let Stage {
        origin,
        archive,
        producer,
        packaged,
        ..
    } = stage;
    drop(producer);
    assert!(matches!(packaged.await.unwrap(), Err(Error::BrokeOff(_))));
    assert!(
        get(&origin, "720p/index.m3u8")
            .await
            .text()
            .ends_with("1.m4s\n#EXT-X-ENDLIST\n")
    );
    assert!(
        archive
            .text("algebra/720p/index.m3u8")
            .ends_with("1.m4s\n#EXT-X-ENDLIST\n")
    );
}

#[tokio::test]
async fn missing_frames_are_a_gap_and_nothing_moves() {
    let stage = Stage::open(Config::default());
    // The 360p rung loses half a second of the second segment.
    let lost = |frame: &timeline::Frame| frame.track.0 == 2 && (378_000..423_000).contains(&frame.at.ticks());
    let told = frames(3_200 * 3).into_iter().filter(|frame| !lost(frame));
    told.for_each(|frame| stage.producer.send(Record::Frame(frame)));
    while stage.next() != Some(PartIndex { msn: 3, part: 0 }) {
        tokio::task::yield_now().await;
    }
    let whole = stage.get("720p/index.m3u8").await;
    assert!(!whole.text().contains("GAP"));
    let holed = stage.get("360p/index.m3u8").await;
    // What was there before the hole stays listed; the segment is not offered.
    assert!(
        holed
            .text()
            .contains("#EXT-X-PART:DURATION=0.20000,URI=\"1.4.m4s\"\n")
    );
    assert!(
        holed
            .text()
            .contains("#EXT-X-PART:DURATION=0.20000,URI=\"1.5.m4s\",GAP=YES\n")
    );
    assert!(
        holed
            .text()
            .contains("URI=\"1.15.m4s\",GAP=YES\n#EXT-X-GAP\n#EXTINF:3.20000,\n1.m4s\n")
    );
    assert_eq!(holed.text().matches("EXT-X-GAP").count(), 1);
    for (path, status) in [("1.4.m4s", 200), ("1.5.m4s", 404), ("1.m4s", 404), ("2.m4s", 200)] {
        assert_eq!(
            stage.get(&format!("360p/{path}")).await.status.as_u16(),
            status,
            "{path}"
        );
    }
    // All else stands where it stands in the other renditions.
    let dates = |text: &str| -> Vec<String> {
        text.lines()
            .filter(|line| line.contains("DATE-TIME") || line.contains("EXTINF"))
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(dates(holed.text()), dates(whole.text()));
    let (_, archive, _) = stage.end(3_200 * 3).await;
    assert!(!archive.has("algebra/360p/1.m4s") && archive.has("algebra/720p/1.m4s"));
    assert!(
        archive
            .text("algebra/360p/index.m3u8")
            .contains("#EXT-X-GAP\n#EXTINF:3.20000,\n1.m4s\n")
    );
}

#[tokio::test]
async fn what_a_crash_left_open_can_be_sealed() {
    let stage = Stage::at(3_200 * 3).await;
    while !stage.archive.has("algebra/audio.m3u8") {
        tokio::task::yield_now().await;
    }
    stage.packaged.abort();
    assert!(stage.packaged.await.unwrap_err().is_cancelled());
    let origin = Origin::new(Config::default(), stage.archive.clone());
    assert!(!get(&origin, "720p/index.m3u8").await.text().contains("ENDLIST"));
    // The third segment was open, or not yet in the archive.
    let length = origin.seal(&algebra()).await.unwrap();
    assert!(
        length > MediaTime::ZERO && length <= MediaTime::from_ticks(3 * 288_000),
        "{length}"
    );
    assert_eq!(origin.seal(&algebra()).await.unwrap(), length);
    for rendition in ["720p", "360p", "audio"] {
        let sealed = get(&origin, &format!("{rendition}/index.m3u8")).await;
        assert!(sealed.text().ends_with(".m4s\n#EXT-X-ENDLIST\n"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_without_media_is_no_broadcast() {
    let stage = Stage::open(Config::default());
    let asked = stage.ask("index.m3u8");
    stage.waiting(1).await;
    let (origin, archive, packaged) = stage.end(0).await;
    assert_eq!(packaged.duration, MediaTime::ZERO);
    assert_eq!(asked.await.unwrap().status, StatusCode::NOT_FOUND);
    assert_eq!(get(&origin, "index.m3u8").await.status, StatusCode::NOT_FOUND);
    assert!(archive.objects.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn two_lines_cannot_be_one_broadcast() {
    let stage = Stage::at(1_000).await;
    let second = stage.producer.subscribe(Policy::Line);
    let timeline = Timeline::starting(WallTime::from_unix_millis(0));
    let refused = stage
        .origin
        .package(algebra(), timeline, Grid::default(), second)
        .await;
    assert!(matches!(refused, Err(Error::OnAir(_))));
    assert_eq!(stage.next(), Some(PartIndex { msn: 0, part: 5 }));
}

#[tokio::test(start_paused = true)]
async fn packaging_that_is_abandoned_lets_everyone_go() {
    let stage = Stage::at(3_400).await;
    let asked = stage.ask("720p/index.m3u8?_HLS_msn=1&_HLS_part=1");
    stage.waiting(1).await;
    stage.packaged.abort();
    let answer = asked.await.unwrap();
    assert!(
        answer.status == StatusCode::SERVICE_UNAVAILABLE,
        "{}",
        answer.status
    );
    assert!(stage.packaged.await.unwrap_err().is_cancelled());
    assert!(stage.origin.on_air(&algebra()).is_none());
}
