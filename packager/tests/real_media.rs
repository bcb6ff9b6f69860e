//! Real H.264 and AAC through the public front door: played by ffmpeg from the folder and over HTTP, each
//! published playlist read by hls.js's own parser, and by m3u8-rs.

#![allow(clippy::unwrap_used)]

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use packager::{Config, Origin, archive::Disk};
use serde_json::Value;
use support::{clean, run};
use timeline::feed::{Policy, Producer, Record};
use timeline::{Frame, Grid, MediaTime, Rendition, Span, Timeline, WallTime};
use tower::ServiceExt;

/// Three whole segments and a broken one: 311 pictures.
const SECONDS: &str = "10.366";
const PICTURES: usize = 311;

/// A lecture that was packaged while everything that was published was collected.
struct Lecture {
    folder: tempfile::TempDir,
    sources: PathBuf,
    origin: Origin,
    /// File name and text of every version of every playlist.
    published: Vec<(String, String)>,
}

#[tokio::test]
async fn a_lecture_of_real_media() {
    let lecture = package().await;
    let archive = lecture.folder.path().join("archive/lecture");
    let (address, _server) = serve(lecture.origin.clone()).await;
    let (sources, published) = (lecture.sources.clone(), lecture.published.clone());
    tokio::task::spawn_blocking(move || {
        plays(&archive.to_string_lossy(), &sources);
        plays(&format!("http://{address}/broadcasts/lecture"), &sources);
        hls_js_reads(&published);
        m3u8_rs_reads(&published);
    })
    .await
    .unwrap();
}

/// Makes the media, packages it, and asks for every version as it appears.
async fn package() -> Lecture {
    let folder = tempfile::tempdir().unwrap();
    let sources = folder.path().to_owned();
    let made = sources.clone();
    let ladder = tokio::task::spawn_blocking(move || make(&made)).await.unwrap();

    let disk = Disk::open(folder.path().join("archive")).unwrap();
    let origin = Origin::new(Config::default(), Arc::new(disk));
    let producer = Producer::new();
    let line = producer.subscribe(Policy::Line);
    let timeline = Timeline::starting(WallTime::from_unix_millis(1_760_000_000_000));
    let id = "lecture".parse().unwrap();
    let packaged = tokio::spawn(origin.package(id, timeline, Grid::default(), line));

    let names: Vec<String> = ladder
        .iter()
        .map(|(rendition, _)| rendition.name.clone())
        .collect();
    let mut frames: Vec<Frame> = Vec::new();
    for (rendition, own) in ladder {
        producer.send(Record::Rendition(rendition));
        frames.extend(own);
    }
    frames.sort_by_key(|frame| frame.at);
    let published = publish(&origin, &producer, &names, frames).await;
    let packaged = packaged.await.unwrap().unwrap();
    let end = PICTURES as i64 * 3_000;
    assert!(
        (end..end + 1_920).contains(&packaged.duration.ticks()),
        "{}",
        packaged.duration
    );
    Lecture {
        folder,
        sources,
        origin,
        published,
    }
}

/// Two rungs and the sound.
fn make(folder: &Path) -> Vec<(Rendition, Vec<Frame>)> {
    support::make_video(&folder.join("360p.264"), "640x360", SECONDS);
    support::make_video(&folder.join("180p.264"), "320x180", SECONDS);
    support::make_audio(&folder.join("audio.aac"), SECONDS);
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let ladder = vec![
        support::video(1, "360p", (640, 360), &read("360p.264")),
        support::video(2, "180p", (320, 180), &read("180p.264")),
        support::audio(3, &read("audio.aac")),
    ];
    assert_eq!((ladder[0].1.len(), ladder[1].1.len()), (PICTURES, PICTURES));
    ladder
}

/// Sends the line part by part; collects what is published, whole and as a delta.
async fn publish(
    origin: &Origin,
    producer: &Producer,
    names: &[String],
    frames: Vec<Frame>,
) -> Vec<(String, String)> {
    let grid = Grid::default();
    let mut published = Vec::new();
    let mut frames = frames.into_iter().peekable();
    let mut index = grid.part_index(MediaTime::ZERO);
    while frames.peek().is_some() {
        while let Some(frame) = frames.next_if(|frame| grid.part_index(frame.at) == index) {
            producer.send(Record::Frame(frame));
        }
        // The last part is open until the end; before the first segment is whole no playlist is answered.
        if frames.peek().is_some() && (index.msn > 0 || index.part + 1 == grid.parts_per_segment()) {
            for name in names {
                let at = format!("_HLS_msn={}&_HLS_part={}", index.msn, index.part);
                for (kind, skip) in [("whole", ""), ("delta", "&_HLS_skip=YES")] {
                    let text = get(origin, &format!("{name}/index.m3u8?{at}{skip}")).await;
                    assert!(text.contains(&format!("\"{}.{}.m4s\"", index.msn, index.part)));
                    published.push((
                        format!("{name}-{:04}-{:02}-{kind}.m3u8", index.msn, index.part),
                        text,
                    ));
                }
            }
        }
        index = grid.next_part(index);
    }
    let end = MediaTime::ZERO + Span::from_ticks(3_000).times(PICTURES as i64);
    producer.send(Record::End(end));
    for name in names {
        let text = get(origin, &format!("{name}/index.m3u8?_HLS_msn=4&_HLS_part=0")).await;
        assert!(text.ends_with("\n3.m4s\n#EXT-X-ENDLIST\n"), "{text}");
        published.push((format!("{name}-9999-ended.m3u8"), text));
    }
    for name in ["index.m3u8", "audio.m3u8"] {
        published.push((format!("multivariant-{name}"), get(origin, name).await));
    }
    published
}

async fn get(origin: &Origin, path: &str) -> String {
    let request = Request::get(format!("/broadcasts/lecture/{path}"))
        .body(Body::empty())
        .unwrap();
    let response = origin.router().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    String::from_utf8(to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec()).unwrap()
}

/// Serves on a port of its own until dropped.
async fn serve(origin: Origin) -> (std::net::SocketAddr, tokio::task::JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, origin.router()).await.unwrap() });
    (address, server)
}

/// As plain HLS: nothing to complain of, every frame once, at its time, and the pictures that went in.
fn plays(base: &str, sources: &Path) {
    clean(
        "ffmpeg",
        &[
            "-v",
            "warning",
            "-i",
            &format!("{base}/index.m3u8"),
            "-map",
            "0",
            "-f",
            "null",
            "-",
        ],
    );
    for rung in ["360p", "180p"] {
        let playlist = format!("{base}/{rung}/index.m3u8");
        let source = sources.join(format!("{rung}.264"));
        assert_eq!(
            pictures(&playlist),
            pictures(&source.to_string_lossy()),
            "{playlist}"
        );
        let packets = packets(&playlist);
        assert_eq!(packets.len(), PICTURES);
        for (n, packet) in packets.iter().enumerate() {
            assert_eq!(
                (packet.pts, packet.dts, packet.keyframe),
                (n as i64 * 3_000, n as i64 * 3_000, n % 48 == 0)
            );
        }
    }
    let packets = packets(&format!("{base}/audio/index.m3u8"));
    let count = (PICTURES as i64 * 3_000 + 1_919) / 1_920;
    assert_eq!(packets.len() as i64, count);
    for (n, packet) in packets.iter().enumerate() {
        assert_eq!(packet.pts, n as i64 * 1_024);
    }
    let copied = run(
        "ffmpeg",
        &[
            "-v",
            "warning",
            "-i",
            &format!("{base}/audio/index.m3u8"),
            "-c",
            "copy",
            "-f",
            "adts",
            "-",
        ],
    );
    assert!(
        copied.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&copied.stderr)
    );
    let source = std::fs::read(sources.join("audio.aac")).unwrap();
    assert!(
        !copied.stdout.is_empty() && source.starts_with(&copied.stdout),
        "the sound is what went in"
    );
}

/// A checksum over all decoded pictures.
fn pictures(of: &str) -> String {
    clean(
        "ffmpeg",
        &[
            "-v",
            "error",
            "-i",
            of,
            "-map",
            "0:v:0",
            "-fps_mode",
            "passthrough",
            "-f",
            "md5",
            "-",
        ],
    )
}

struct Packet {
    pts: i64,
    dts: i64,
    keyframe: bool,
}

fn packets(of: &str) -> Vec<Packet> {
    let told = clean("ffprobe", &["-v", "warning", "-show_packets", "-of", "json", of]);
    let told: Value = serde_json::from_str(&told).unwrap();
    let packet = |packet: &Value| Packet {
        pts: packet["pts"].as_i64().unwrap(),
        dts: packet["dts"].as_i64().unwrap(),
        keyframe: packet["flags"].as_str().unwrap().starts_with('K'),
    };
    told["packets"].as_array().unwrap().iter().map(packet).collect()
}

/// hls.js's own parser, without a browser.
fn hls_js_reads(published: &[(String, String)]) {
    let home = support::hls_js();
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in published {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/read-playlists.mjs");
    let read = clean(
        "node",
        &[
            &script.to_string_lossy(),
            &home.to_string_lossy(),
            &folder.path().to_string_lossy(),
        ],
    );
    let read: Value = serde_json::from_str(&read).unwrap();
    assert_eq!(read["errors"], Value::Array(Vec::new()));
    assert_eq!(read["read"].as_u64().unwrap() as usize, published.len());
}

/// A reader that knows nothing of low latency sees the whole segments.
fn m3u8_rs_reads(published: &[(String, String)]) {
    for (name, text) in published.iter().filter(|(name, _)| name.ends_with("-ended.m3u8")) {
        let playlist = m3u8_rs::parse_media_playlist_res(text.as_bytes()).unwrap();
        assert_eq!(
            (
                playlist.media_sequence,
                playlist.segments.len(),
                playlist.end_list
            ),
            (0, 4, true),
            "{name}"
        );
        assert!(
            playlist
                .segments
                .iter()
                .all(|segment| segment.program_date_time.is_some())
        );
        let total: f32 = playlist.segments.iter().map(|segment| segment.duration).sum();
        assert!((total - PICTURES as f32 / 30.0).abs() < 0.022, "{name}: {total}");
    }
    let (_, text) = published
        .iter()
        .find(|(name, _)| name == "multivariant-index.m3u8")
        .unwrap();
    let playlist = m3u8_rs::parse_master_playlist_res(text.as_bytes()).unwrap();
    // Two rungs, each with its I-frames.
    assert_eq!((playlist.variants.len(), playlist.alternatives.len()), (4, 1));
}
