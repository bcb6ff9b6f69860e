//! I-frame playlists: each entry's bytes are one picture, in every reader.

use std::path::Path;

use reqwest::StatusCode;
use serde_json::Value;

use crate::lecture::{Lecture, ORIGIN, VIDEO, holed, source};
use crate::media::samples;
use crate::playlists::history;
use crate::reader::Playlist;
use crate::support::{self, clean};

/// Keyframes stand on every 48th picture: 1.6 s.
const GOP_MS: i64 = 1_600;

#[test]
fn iframes_grow_with_the_segments() {
    for (rendition, versions) in &history().iframes {
        for (playlist, media) in versions.iter().zip(&history().whole[rendition]) {
            assert!(playlist.i_frames_only && !playlist.ended && playlist.map == media.map);
            assert!(
                playlist.hints.is_empty() && playlist.reports.is_empty() && playlist.parts().next().is_none()
            );
            assert_eq!(playlist.segments.len(), 2 * media.segments.len());
            for (n, entry) in playlist.segments.iter().enumerate() {
                assert_eq!(entry.uri, format!("{}.m4s", n / 2));
                assert_eq!(
                    (entry.date, entry.duration),
                    (Some(ORIGIN + n as i64 * GOP_MS), 1.6)
                );
            }
        }
    }
}

#[tokio::test]
async fn iframes_end_with_the_line() {
    let mut lecture = Lecture::at(3, 3).await;
    lecture.end().await.unwrap();
    let playlist = lecture.playlist("360p/iframes.m3u8").await;
    assert!(playlist.ended && playlist.segments.len() == 7);
    // The last picture stands until the end.
    assert_eq!(playlist.segments[6].duration, 0.6);
    assert_eq!(
        lecture.get("360p/iframes.m3u8").await.header("cache-control"),
        "public, max-age=300"
    );
    // In the archive they are the same, but for what needs a server that waits.
    let archived = Playlist::read(&lecture.archived("360p/iframes.m3u8"));
    assert_eq!((&archived.segments, archived.ended), (&playlist.segments, true));
    lecture.served_from_archive().await;
    assert_eq!(
        lecture.playlist("360p/iframes.m3u8").await.segments,
        playlist.segments
    );
}

/// A range is the keyframe alone: in a whole chunk, at its time, the picture that went in.
#[tokio::test]
async fn iframes_are_single_pictures() {
    let lecture = Lecture::long().await;
    for (track, rendition) in [(1, "360p"), (2, "180p")] {
        let playlist = lecture.playlist(&format!("{rendition}/iframes.m3u8")).await;
        assert_eq!(playlist.segments.len(), 28);
        // The first of them come from the archive.
        for (n, entry) in playlist.segments.iter().enumerate() {
            let body = range(&lecture, rendition, entry.range.unwrap(), &entry.uri).await;
            let samples = samples(&body);
            let frame = source()
                .frames
                .iter()
                .filter(|frame| frame.track.0 == track)
                .nth(n * 48)
                .unwrap();
            assert_eq!(samples.len(), 1);
            assert_eq!((samples[0].at, samples[0].is_idr()), (n as u64 * 144_000, true));
            assert_eq!(samples[0].data, frame.payload);
        }
    }
}

async fn range(lecture: &Lecture, rendition: &str, (length, offset): (u64, u64), uri: &str) -> bytes::Bytes {
    let range = format!("bytes={offset}-{}", offset + length - 1);
    let answer = lecture
        .get_with(&format!("{rendition}/{uri}"), "range", &range)
        .await;
    assert_eq!(
        (answer.status, answer.body.len() as u64),
        (StatusCode::PARTIAL_CONTENT, length)
    );
    answer.body
}

/// ffmpeg reads one picture out of each range; and out of the playlist one for each entry, the very pictures that are
/// decoded at those times from the whole: live over HTTP, and from the folder.
#[tokio::test]
async fn ffmpeg_decodes_one_picture_for_each_entry() {
    let mut lecture = Lecture::at(4, 2).await;
    let files = tempfile::tempdir().unwrap();
    for rendition in VIDEO {
        let playlist = lecture.playlist(&format!("{rendition}/iframes.m3u8")).await;
        let init = lecture.body(&format!("{rendition}/{}", playlist.map)).await;
        for (n, entry) in playlist.segments.iter().enumerate() {
            let body = range(&lecture, rendition, entry.range.unwrap(), &entry.uri).await;
            std::fs::write(
                files.path().join(format!("{rendition}-{n}.mp4")),
                [&init[..], &body].concat(),
            )
            .unwrap();
        }
    }
    lecture.end().await.unwrap();
    let (folder, live) = (lecture.folder.path().join("archive/lecture"), lecture.url(""));
    tokio::task::spawn_blocking(move || {
        for rendition in VIDEO {
            let whole = pictures(&format!("{live}{rendition}/index.m3u8"));
            let keyframes: Vec<_> = whole.iter().step_by(48).cloned().collect();
            for (n, keyframe) in keyframes[..8].iter().enumerate() {
                let file = files.path().join(format!("{rendition}-{n}.mp4"));
                assert_eq!(pictures(&file.to_string_lossy()), std::slice::from_ref(keyframe));
            }
            assert_eq!(pictures(&format!("{live}{rendition}/iframes.m3u8")), keyframes);
            let kept = folder.join(rendition).join("iframes.m3u8");
            assert_eq!(pictures(&kept.to_string_lossy()), keyframes);
        }
    })
    .await
    .unwrap();
}

/// Checksums of all decoded pictures; there must be nothing to complain of.
fn pictures(of: &str) -> Vec<String> {
    #[rustfmt::skip]
    let told = clean("ffmpeg", &[
        "-v", "warning", "-i", of, "-map", "0:v:0", "-fps_mode", "passthrough", "-f", "framemd5", "-",
    ]);
    let lines = told.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit(',').next().unwrap().trim().to_owned())
        .collect()
}

#[tokio::test]
async fn iframes_of_a_missing_segment_are_missing() {
    let lecture = holed().await;
    let playlist = lecture.playlist("180p/iframes.m3u8").await;
    let listed: Vec<_> = playlist
        .segments
        .iter()
        .map(|entry| {
            (
                entry.uri.as_str(),
                entry.gap,
                entry.range.is_some(),
                entry.date.unwrap() - ORIGIN,
            )
        })
        .collect();
    assert_eq!(
        listed,
        [
            ("0.m4s", false, true, 0),
            ("0.m4s", false, true, 1_600),
            ("1.m4s", true, false, 3_200),
            ("2.m4s", false, true, 6_400),
            ("2.m4s", false, true, 8_000),
            ("3.m4s", false, true, 9_600),
            ("3.m4s", false, true, 11_200),
        ]
    );
    // The keyframe before the hole was in its segment, of which no other is offered.
    assert_eq!(playlist.segments[2].duration, 3.2);
    assert_eq!(lecture.playlist("360p/iframes.m3u8").await.segments.len(), 8);
}

#[tokio::test]
async fn the_multivariant_playlist_leads_to_them() {
    let lecture = Lecture::at(3, 0).await;
    let text = lecture.get("index.m3u8").await.text().to_owned();
    let lines: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("#EXT-X-I-FRAME-STREAM-INF"))
        .collect();
    assert_eq!(lines.len(), 2);
    assert!(
        lines
            .iter()
            .all(|line| line.contains("CODECS=\"avc1.") && !line.contains("mp4a"))
    );
    assert!(!lecture.get("audio.m3u8").await.text().contains("I-FRAME"));
    // No picture is more than the peak says.
    for (line, rendition) in lines.iter().zip(VIDEO) {
        assert!(
            line.ends_with(&format!("URI=\"{rendition}/iframes.m3u8\"")),
            "{line}"
        );
        let bandwidth = line
            .split("BANDWIDTH=")
            .nth(1)
            .unwrap()
            .split(',')
            .next()
            .unwrap();
        let bandwidth: f64 = bandwidth.parse().unwrap();
        for entry in &lecture
            .playlist(&format!("{rendition}/iframes.m3u8"))
            .await
            .segments
        {
            assert!(entry.range.unwrap().0 as f64 * 8.0 / entry.duration <= bandwidth);
        }
    }
}

#[test]
fn hls_js_reads_them() {
    let files = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = files.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    };
    let live = history().iframes["360p"].last().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/read-iframes.mjs");
    let read = clean(
        "node",
        &[
            &script.to_string_lossy(),
            &support::hls_js().to_string_lossy(),
            &write("index.m3u8", &history().multivariants[0]),
            &write("live.m3u8", &live.text),
            &write("ended.m3u8", &history().archived["360p/iframes.m3u8"]),
        ],
    );
    let read: Value = serde_json::from_str(&read).unwrap();
    assert_eq!(read["error"], Value::Null, "{read}");
    assert_eq!(
        read["levels"],
        serde_json::json!(["360p/index.m3u8", "180p/index.m3u8"])
    );
    assert_eq!(read["iframes"][0]["url"], "360p/iframes.m3u8");
    assert_eq!(read["iframes"].as_array().unwrap().len(), 2);
    for (n, count) in [(0, 20), (1, 21)] {
        let playlist = &read["read"][n];
        assert_eq!(
            (&playlist["error"], &playlist["iframesOnly"]),
            (&Value::Null, &Value::Bool(true))
        );
        assert_eq!(playlist["live"], n == 0);
        let entries = playlist["entries"].as_array().unwrap();
        assert_eq!(entries.len(), count);
        for (entry, own) in entries.iter().zip(&live.segments) {
            let (length, offset) = own.range.unwrap();
            assert_eq!(entry["range"], serde_json::json!([offset, offset + length]));
            assert_eq!(
                (entry["duration"].as_f64(), &entry["map"]),
                (Some(1.6), &Value::from(live.map.as_str()))
            );
        }
    }
}
