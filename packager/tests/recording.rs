//! The recording of real H.264 and AAC over HTTP: a lecture whose first segment nobody sent, with a hole in its
//! picture and another in its sound, downloaded whole, resumed, decoded, probed and sought in by ffmpeg.

#![allow(clippy::unwrap_used)]

// Some of it is for the other tests.
#[allow(dead_code)]
mod support;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use packager::{Config, Origin, archive::Disk};
use reqwest::{Client, Method, Response, StatusCode, header};
use serde_json::Value;
use support::clean;
use timeline::feed::{Policy, Producer, Record};
use timeline::{Frame, Grid, MediaTime, Rendition, Timeline, WallTime};

/// Six segments.
const SECONDS: &str = "19.2";
/// The line begins with segment 1.
const FIRST: MediaTime = MediaTime::from_ticks(288_000);
const SEGMENT_PICTURES: usize = 96;
/// Segments of which a frame is lost, so that they are gaps.
const NO_PICTURE: i64 = 2;
const NO_SOUND: i64 = 4;

const SLOT: f64 = 1.0 / 30.0;
const LIP_SYNC: f64 = 0.040;

struct Served {
    folder: tempfile::TempDir,
    address: SocketAddr,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[tokio::test]
async fn a_lecture_downloads_as_one_mp4() {
    // The HTTP client wants one named, though nothing is encrypted here. Another test may have named it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut served = packaged().await;
    let whole = the_whole(&served).await;
    in_ranges(&served, &whole).await;
    let source = served.folder.path().join("360p.264");
    let file = served.folder.path().join("whole.mp4");
    std::fs::write(&file, &whole).unwrap();
    let url = served.url();
    tokio::task::spawn_blocking(move || {
        let file = file.to_string_lossy();
        faststart(&whole);
        plays(&file);
        in_step(&file);
        // Over HTTP ffmpeg seeks by ranges.
        for picture in [0, 40, 95, 100, 230, 479] {
            seeks(&url, &source, picture);
        }
    })
    .await
    .unwrap();
    made_anew(&mut served).await;
}

/// Packages the lecture, asking for the recording while it is live.
async fn packaged() -> Served {
    let folder = tempfile::tempdir().unwrap();
    let made = folder.path().to_owned();
    let ladder = tokio::task::spawn_blocking(move || make(&made)).await.unwrap();
    let origin = origin(folder.path());
    let (address, server) = serve(origin.clone()).await;
    let served = Served {
        folder,
        address,
        server,
    };
    assert_eq!(served.get().await.status(), StatusCode::NOT_FOUND);

    let producer = Producer::new();
    let line = producer.subscribe(Policy::Line);
    let timeline = Timeline::starting(WallTime::from_unix_millis(1_760_000_000_000));
    let packaging = tokio::spawn(origin.package("lecture".parse().unwrap(), timeline, Grid::default(), line));
    let mut frames: Vec<Frame> = Vec::new();
    for (rendition, own) in ladder {
        producer.send(Record::Rendition(rendition));
        frames.extend(own);
    }
    frames.sort_by_key(|frame| frame.at);
    let grid = Grid::default();
    for frame in frames {
        let lost = if frame.track.0 == 3 { NO_SOUND } else { NO_PICTURE };
        // One frame in the middle of a segment, and all of the first segment.
        let middle = MediaTime::ZERO + grid.segment().times(lost) + grid.gop();
        if frame.at < FIRST || (frame.at <= middle && middle - frame.at < grid.frame) {
            continue;
        }
        producer.send(Record::Frame(frame));
        // The line holds a few seconds; nobody else takes turns with it here.
        tokio::task::yield_now().await;
    }
    let early = served.get().await;
    assert_eq!(early.status(), StatusCode::CONFLICT);
    assert_eq!(early.headers()[header::CONTENT_TYPE], "application/problem+json");
    assert_eq!(early.headers()[header::CACHE_CONTROL], "no-store");
    assert!(
        early.json::<Value>().await.unwrap()["detail"]
            .as_str()
            .unwrap()
            .contains("after the end")
    );
    producer.send(Record::End(MediaTime::ZERO + grid.segment().times(6)));
    packaging.await.unwrap().unwrap();
    served
}

fn origin(folder: &Path) -> Origin {
    let disk = Disk::open(folder.join("archive")).unwrap();
    Origin::new(Config::default(), Arc::new(disk))
}

/// Serves on a port of its own.
async fn serve(origin: Origin) -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, origin.router()).await.unwrap() });
    (address, server)
}

/// Two rungs and the sound: each whole second a flash and a beep, and in each picture a different test card.
fn make(folder: &Path) -> Vec<(Rendition, Vec<Frame>)> {
    let flash = "drawbox=w=iw/4:h=ih/4:y=ih/2:t=fill:color=white:enable='lt(mod(n,30),2)'";
    for (name, size) in [("360p", "640x360"), ("180p", "320x180")] {
        let source =
            format!("testsrc2=size={size}:rate=30,drawbox=w=iw/4:h=ih/4:y=ih/2:t=fill:color=black,{flash}");
        let to = folder.join(format!("{name}.264"));
        #[rustfmt::skip]
        clean("ffmpeg", &[
            "-v", "error", "-y", "-f", "lavfi", "-i", &source, "-t", SECONDS, "-pix_fmt", "yuv420p",
            "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-profile:v", "main", "-bf", "0",
            "-g", "48", "-keyint_min", "48", "-sc_threshold", "0", "-x264-params", "aud=1",
            "-f", "h264", &to.to_string_lossy(),
        ]);
    }
    let tone = "0.5*sin(2*PI*1000*t)*lt(mod(t,1),0.06)";
    let beep = format!("aevalsrc='{tone}|{tone}':s=48000:c=stereo");
    #[rustfmt::skip]
    clean("ffmpeg", &[
        "-v", "error", "-y", "-f", "lavfi", "-i", &beep, "-t", SECONDS,
        "-c:a", "aac", "-b:a", "96k", "-f", "adts", &folder.join("audio.aac").to_string_lossy(),
    ]);
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let mut ladder = vec![
        support::video(1, "360p", (640, 360), &read("360p.264")),
        support::video(2, "180p", (320, 180), &read("180p.264")),
        support::audio(3, &read("audio.aac")),
    ];
    ladder[1].0.bandwidth = 300_000;
    assert_eq!(ladder[0].1.len(), 6 * SEGMENT_PICTURES);
    ladder
}

impl Served {
    fn url(&self) -> String {
        format!("http://{}/broadcasts/lecture/recording.mp4", self.address)
    }

    async fn get(&self) -> Response {
        Client::new().get(self.url()).send().await.unwrap()
    }

    async fn ask(&self, method: Method, headers: &[(header::HeaderName, &str)]) -> Response {
        let request = Client::new().request(method, self.url());
        let with = headers
            .iter()
            .fold(request, |request, (name, value)| request.header(name, *value));
        with.send().await.unwrap()
    }

    /// A new server on what is archived, as after a restart.
    async fn restart(&mut self) {
        self.server.abort();
        (self.address, self.server) = serve(origin(self.folder.path())).await;
    }

    fn archived(&self, name: &str) -> PathBuf {
        self.folder.path().join("archive/lecture").join(name)
    }
}

async fn the_whole(served: &Served) -> Vec<u8> {
    let response = served.get().await;
    assert_eq!(response.status(), StatusCode::OK);
    let headers = response.headers().clone();
    for (name, value) in [
        (header::CONTENT_TYPE, "video/mp4"),
        (header::ACCEPT_RANGES, "bytes"),
        (header::CACHE_CONTROL, "public, max-age=300"),
        (
            header::CONTENT_DISPOSITION,
            "attachment; filename=\"lecture.mp4\"",
        ),
    ] {
        assert_eq!(headers[&name], value, "{name}");
    }
    let whole = response.bytes().await.unwrap().to_vec();
    assert_eq!(headers[header::CONTENT_LENGTH], whole.len().to_string());

    let head = served.ask(Method::HEAD, &[]).await;
    assert_eq!(head.status(), StatusCode::OK);
    for name in [
        header::CONTENT_LENGTH,
        header::ETAG,
        header::CONTENT_TYPE,
        header::ACCEPT_RANGES,
    ] {
        assert_eq!(head.headers()[&name], headers[&name], "{name}");
    }
    let tag = headers[header::ETAG].to_str().unwrap();
    let known = served.ask(Method::GET, &[(header::IF_NONE_MATCH, tag)]).await;
    assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
    whole
}

async fn in_ranges(served: &Served, whole: &[u8]) {
    let length = whole.len();
    let tag = served.ask(Method::HEAD, &[]).await.headers()[header::ETAG]
        .to_str()
        .unwrap()
        .to_owned();
    // A download that broke off twice.
    let mut resumed = Vec::new();
    for (from, to) in [
        (0, length / 3),
        (length / 3, length / 2 + 1),
        (length / 2 + 1, length),
    ] {
        let range = if to == length {
            format!("bytes={from}-")
        } else {
            format!("bytes={from}-{}", to - 1)
        };
        let part = served
            .ask(Method::GET, &[(header::RANGE, &range), (header::IF_RANGE, &tag)])
            .await;
        assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
        let expected = format!("bytes {from}-{}/{length}", to - 1);
        assert_eq!(part.headers()[header::CONTENT_RANGE], expected);
        assert_eq!(part.headers()[header::CONTENT_LENGTH], (to - from).to_string());
        resumed.extend(part.bytes().await.unwrap());
    }
    assert!(resumed == whole);
    let last = served.ask(Method::GET, &[(header::RANGE, "bytes=-7")]).await;
    assert_eq!(&last.bytes().await.unwrap()[..], &whole[length - 7..]);
    let changed = served
        .ask(
            Method::GET,
            &[(header::RANGE, "bytes=5-"), (header::IF_RANGE, "\"other\"")],
        )
        .await;
    assert_eq!(changed.status(), StatusCode::OK);
    assert_eq!(changed.bytes().await.unwrap().len(), length);
    let beyond = served
        .ask(Method::GET, &[(header::RANGE, &format!("bytes={length}-"))])
        .await;
    assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(
        beyond.headers()[header::CONTENT_RANGE],
        format!("bytes */{length}")
    );
}

/// `ftyp`, `moov`, `mdat`, and nothing else.
fn faststart(whole: &[u8]) {
    let (mut at, mut boxes) = (0, Vec::new());
    while at < whole.len() {
        boxes.push(String::from_utf8(whole[at + 4..at + 8].to_vec()).unwrap());
        at += u32::from_be_bytes(whole[at..at + 4].try_into().unwrap()) as usize;
    }
    assert_eq!(
        (boxes, at),
        (["ftyp", "moov", "mdat"].map(str::to_owned).to_vec(), whole.len())
    );
}

/// Nothing to complain of; the best rung, every frame at its time.
fn plays(file: &str) {
    let told = clean(
        "ffprobe",
        &[
            "-v",
            "warning",
            "-show_format",
            "-show_streams",
            "-of",
            "json",
            file,
        ],
    );
    let told: Value = serde_json::from_str(&told).unwrap();
    let streams = told["streams"].as_array().unwrap();
    let of = |n: usize, field: &str| streams[n][field].as_str().unwrap_or_default().to_owned();
    assert_eq!(
        (of(0, "codec_name"), streams[0]["height"].as_u64()),
        ("h264".into(), Some(360))
    );
    assert_eq!(
        (of(1, "codec_name"), of(1, "channel_layout")),
        ("aac".into(), "stereo".into())
    );
    for n in [0, 1] {
        let [start, duration] = ["start_time", "duration"].map(|field| of(n, field).parse::<f64>().unwrap());
        assert!(
            start == 0.0 && (duration - 16.0).abs() < 0.022,
            "{n}: {start} {duration}"
        );
    }
    #[rustfmt::skip]
    clean("ffmpeg", &["-v", "warning", "-xerror", "-i", file, "-fps_mode", "passthrough", "-f", "null", "-"]);
    let pictures = times(file, "v:0");
    let hole = SEGMENT_PICTURES..2 * SEGMENT_PICTURES;
    let expected = (0..5 * SEGMENT_PICTURES)
        .filter(|n| !hole.contains(n))
        .map(|n| n as f64 * SLOT);
    assert_eq!(pictures.len(), 4 * SEGMENT_PICTURES);
    assert!(
        pictures
            .iter()
            .zip(expected)
            .all(|(found, expected)| (found - expected).abs() < 1e-4)
    );
    // The hole in the sound is filled: not one frame is missing.
    let sounds = times(file, "a:0");
    assert_eq!(sounds.len(), 750);
    assert!(
        sounds
            .iter()
            .enumerate()
            .all(|(n, at)| (at - n as f64 * 1024.0 / 48000.0).abs() < 1e-4)
    );
}

/// The times of all packets, in seconds.
fn times(file: &str, stream: &str) -> Vec<f64> {
    #[rustfmt::skip]
    let told = clean("ffprobe", &[
        "-v", "warning", "-select_streams", stream, "-show_entries", "packet=pts_time", "-of", "csv=p=0", file,
    ]);
    told.lines()
        .map(|line| line.trim_end_matches(',').parse().unwrap())
        .collect()
}

/// Each beep that is there stands at a flash that is there; both where the source had them.
fn in_step(file: &str) {
    let flashes = flashes(file);
    let beeps = beeps(file);
    // Whole seconds of media time; the file begins at 3.2 s.
    let seconds = |missing: i64| {
        let (from, to) = (missing as f64 * 3.2, (missing + 1) as f64 * 3.2);
        let seconds = (4..20).map(f64::from).filter(move |at| !(from..to).contains(at));
        seconds.map(|at| at - 3.2).collect::<Vec<_>>()
    };
    let near = |found: &[f64], expected: Vec<f64>| {
        assert_eq!(found.len(), expected.len(), "{found:?} {expected:?}");
        let worst = found
            .iter()
            .zip(&expected)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f64::max);
        assert!(worst <= LIP_SYNC, "{found:?} {expected:?}");
        worst
    };
    let (light, sound) = (
        near(&flashes, seconds(NO_PICTURE)),
        near(&beeps, seconds(NO_SOUND)),
    );
    println!(
        "flashes within {:.0} ms, beeps within {:.0} ms",
        light * 1e3,
        sound * 1e3
    );
    let apart: Vec<f64> = beeps
        .iter()
        .filter_map(|beep| {
            flashes
                .iter()
                .map(|flash| beep - flash)
                .find(|apart| apart.abs() < 0.5)
        })
        .collect();
    assert!(
        apart.len() >= 8 && apart.iter().all(|apart| apart.abs() <= LIP_SYNC),
        "{apart:?}"
    );
}

fn flashes(file: &str) -> Vec<f64> {
    #[rustfmt::skip]
    let decoded = support::run("ffmpeg", &[
        "-v", "error", "-i", file, "-map", "0:v", "-vf", "crop=iw/8:ih/8:iw/16:ih*9/16,scale=1:1,format=gray",
        "-fps_mode", "passthrough", "-f", "rawvideo", "-",
    ]);
    let times = times(file, "v:0");
    assert_eq!(decoded.stdout.len(), times.len());
    let mut lit = false;
    let found = times.into_iter().zip(decoded.stdout).filter(|(_, luma)| {
        let before = std::mem::replace(&mut lit, *luma > 125);
        lit && !before
    });
    found.map(|(at, _)| at).collect()
}

fn beeps(file: &str) -> Vec<f64> {
    #[rustfmt::skip]
    let decoded = support::run("ffmpeg", &["-v", "error", "-i", file, "-map", "0:a", "-ac", "1", "-f", "s16le", "-"]);
    let (mut found, mut last_loud) = (Vec::new(), f64::MIN);
    for (n, sample) in decoded.stdout.chunks_exact(2).enumerate() {
        let at = n as f64 / 48000.0;
        if i16::from_le_bytes([sample[0], sample[1]]).unsigned_abs() > 5_000 {
            if at - last_loud > 0.5 {
                found.push(at);
            }
            last_loud = at;
        }
    }
    found
}

/// The picture (counted in slots of the file's time) that a seek finds, against the source's own.
fn seeks(url: &str, source: &Path, wanted: usize) {
    let hole = SEGMENT_PICTURES..2 * SEGMENT_PICTURES;
    // ffmpeg gives the first picture that is not before the time.
    let found = if hole.contains(&wanted) { hole.end } else { wanted };
    let at = format!("{:.6}", (wanted as f64 * SLOT - 0.001).max(0.0));
    let card = |args: &[&str]| {
        let tail = [
            "-map",
            "0:v:0",
            "-frames:v",
            "1",
            "-fps_mode",
            "passthrough",
            "-f",
            "md5",
            "-",
        ];
        clean("ffmpeg", &[&["-v", "error"], args, &tail].concat())
    };
    let select = format!("select=eq(n\\,{})", found + SEGMENT_PICTURES);
    let expected = card(&["-i", &source.to_string_lossy(), "-vf", &select]);
    assert_eq!(card(&["-ss", &at, "-i", url]), expected, "at {at}");
}

/// Without its index, or with a damaged one, the recording is the same; without a segment it has one more hole.
async fn made_anew(served: &mut Served) {
    let whole = served.get().await.bytes().await.unwrap();
    let index = served.archived("recording.index");
    let kept = std::fs::read(&index).unwrap();
    for damaged in [None, Some(&kept[..kept.len() / 2])] {
        match damaged {
            None => std::fs::remove_file(&index).unwrap(),
            Some(bytes) => std::fs::write(&index, bytes).unwrap(),
        }
        served.restart().await;
        // Many ask at once, and it is made once.
        let all =
            futures::future::join_all((0..8).map(|_| async { served.get().await.bytes().await.unwrap() }))
                .await;
        assert!(all.iter().all(|again| *again == whole));
        assert_eq!(std::fs::read(&index).unwrap(), kept);
    }
    std::fs::remove_file(&index).unwrap();
    std::fs::remove_file(served.archived("360p/3.m4s")).unwrap();
    served.restart().await;
    let holed = served.get().await.bytes().await.unwrap();
    let file = served.folder.path().join("holed.mp4");
    std::fs::write(&file, &holed).unwrap();
    let pictures = tokio::task::spawn_blocking(move || {
        let file = file.to_string_lossy();
        clean(
            "ffmpeg",
            &[
                "-v",
                "warning",
                "-xerror",
                "-i",
                &file,
                "-fps_mode",
                "passthrough",
                "-f",
                "null",
                "-",
            ],
        );
        times(&file, "v:0").len()
    });
    assert_eq!(pictures.await.unwrap(), 3 * SEGMENT_PICTURES);
    // What ended without media has none.
    std::fs::write(&index, b"").unwrap();
    for playlist in ["360p/index.m3u8", "audio/index.m3u8"] {
        let text = std::fs::read_to_string(served.archived(playlist)).unwrap();
        std::fs::write(
            served.archived(playlist),
            text.replace("#EXTINF", "#EXT-X-GAP\n#EXTINF"),
        )
        .unwrap();
    }
    served.restart().await;
    assert_eq!(served.get().await.status(), StatusCode::NOT_FOUND);
    // What was never ended is not there yet.
    let text = std::fs::read_to_string(served.archived("audio/index.m3u8")).unwrap();
    std::fs::write(
        served.archived("audio/index.m3u8"),
        text.replace("#EXT-X-ENDLIST\n", ""),
    )
    .unwrap();
    served.restart().await;
    assert_eq!(served.get().await.status(), StatusCode::CONFLICT);
}
