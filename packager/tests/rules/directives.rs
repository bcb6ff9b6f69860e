//! The directive table (6.2.5), a test for each row.

use std::time::{Duration, Instant};

use packager::Config;
use reqwest::{Method, StatusCode};
use timeline::{Grid, Span};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::lecture::{Lecture, RENDITIONS, VIDEO, answer};
use crate::playlists::history;
use crate::reader::Playlist;

#[tokio::test]
async fn directive_none_is_answered_at_once() {
    let lecture = Lecture::at(2, 3).await;
    assert_eq!(lecture.playlist("360p/index.m3u8").await.last(), (2, 2));
}

#[tokio::test]
async fn directive_msn_alone_waits_for_the_segment() {
    let mut lecture = Lecture::at(2, 3).await;
    let asked = lecture.ask("360p/index.m3u8?_HLS_msn=2").await;
    lecture.tell(2, 15).await;
    assert!(!asked.is_finished());
    lecture.tell(3, 0).await;
    let playlist = Playlist::read(asked.await.unwrap().text());
    assert_eq!(playlist.segments.last().unwrap().uri, "2.m4s");
}

/// Safari asks so when it has seen a segment close and no part of the next.
#[tokio::test]
async fn directive_msn_alone_of_a_segment_not_begun_waits_for_its_first_part() {
    let mut lecture = Lecture::at(2, 0).await;
    let asked = lecture.ask("360p/index.m3u8?_HLS_msn=2").await;
    lecture.tell(2, 1).await;
    let answer = asked.await.unwrap();
    assert_eq!(Playlist::read(answer.text()).last(), (2, 0));
    // The same request will soon mean the whole segment.
    assert_eq!(answer.header("cache-control"), "public, max-age=1");
}

#[tokio::test]
async fn directive_msn_and_part_wait_for_the_part() {
    let mut lecture = Lecture::at(2, 3).await;
    for rendition in RENDITIONS {
        let path = format!("{rendition}/index.m3u8?_HLS_msn=2&_HLS_part=2");
        assert_eq!(lecture.playlist(&path).await.last(), (2, 2));
    }
    let mut asked = Vec::new();
    for rendition in RENDITIONS {
        let path = format!("{rendition}/index.m3u8?_HLS_msn=2&_HLS_part=5");
        asked.push(lecture.ask(&path).await);
    }
    lecture.tell(2, 5).await;
    assert!(asked.iter().all(|asked| !asked.is_finished()));
    lecture.tell(2, 6).await;
    for asked in asked {
        assert_eq!(Playlist::read(asked.await.unwrap().text()).last(), (2, 5));
    }
}

#[tokio::test]
async fn directive_part_behind_the_last_is_the_first_of_the_next_segment() {
    let mut lecture = Lecture::at(2, 4).await;
    // Of a segment that is whole: there already.
    let path = "360p/index.m3u8?_HLS_msn=1&_HLS_part=16";
    assert_eq!(lecture.playlist(path).await.last(), (2, 3));
    // Of the one that is open: waited for.
    let asked = lecture.ask("360p/index.m3u8?_HLS_msn=2&_HLS_part=16").await;
    lecture.tell(3, 0).await;
    assert!(!asked.is_finished());
    lecture.tell(3, 1).await;
    assert_eq!(Playlist::read(asked.await.unwrap().text()).last(), (3, 0));
}

#[tokio::test]
async fn directive_msn_of_long_ago_is_answered_at_once_with_everything() {
    let lecture = Lecture::long().await;
    for asked in [
        "_HLS_msn=0",
        "_HLS_msn=0&_HLS_part=3",
        "_HLS_msn=13",
        "_HLS_msn=13&_HLS_part=99",
    ] {
        let playlist = lecture.playlist(&format!("180p/index.m3u8?{asked}")).await;
        assert_eq!(
            (playlist.segments.len(), playlist.last()),
            (14, (14, 0)),
            "{asked}"
        );
    }
}

#[tokio::test]
async fn directive_endlist_makes_all_others_mean_nothing() {
    let mut lecture = Lecture::at(8, 0).await;
    lecture.end().await.unwrap();
    let before = Instant::now();
    for served_from_archive in [false, true] {
        if served_from_archive {
            lecture.served_from_archive().await;
        }
        for path in ["360p/index.m3u8", "audio/index.m3u8", "180p/iframes.m3u8"] {
            let whole = lecture.get(path).await;
            for asked in [
                "_HLS_msn=99&_HLS_part=1",
                "_HLS_msn=8",
                "_HLS_skip=YES",
                "_HLS_skip=v2&_HLS_msn=8",
                "_HLS_part=1",
                "_HLS_msn=-1",
                "_HLS_msn=x&_HLS_skip=maybe",
                "_HLS_msn=1&_HLS_msn=2",
            ] {
                let answer = lecture.get(&format!("{path}?{asked}")).await;
                assert_eq!(
                    (answer.status, &answer.body),
                    (StatusCode::OK, &whole.body),
                    "{asked}"
                );
            }
            let playlist = Playlist::read(whole.text());
            assert!(playlist.ended && playlist.skipped == 0);
        }
    }
    // A single one that had waited would have taken three target durations.
    assert!(before.elapsed() < Duration::from_secs(9 * 6));
}

/// The last MSN counts the open segment, even before its first part.
#[tokio::test]
async fn directive_msn_too_far() {
    for (lecture, last) in [(Lecture::at(2, 3).await, 2), (Lecture::at(2, 0).await, 2)] {
        for msn in [last + 3, last + 1_000, u64::MAX] {
            for part in ["", "&_HLS_part=0"] {
                let answer = lecture
                    .get(&format!("audio/index.m3u8?_HLS_msn={msn}{part}"))
                    .await;
                assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{msn}{part}");
                // Soon it will be no more.
                assert_eq!(answer.header("cache-control"), "public, max-age=1");
            }
        }
        let asked = lecture
            .ask(&format!("audio/index.m3u8?_HLS_msn={}", last + 2))
            .await;
        lecture.get("audio/index.m3u8").await;
        assert!(!asked.is_finished());
    }
}

/// Three seconds of parts of 0.21334 s: 14.06, so 15.
#[tokio::test]
async fn directive_part_too_far() {
    let lecture = Lecture::at(2, 0).await;
    for asked in [
        "_HLS_msn=2&_HLS_part=15",
        "_HLS_msn=3&_HLS_part=15",
        "_HLS_msn=2&_HLS_part=4000000000",
    ] {
        let answer = lecture.get(&format!("360p/index.m3u8?{asked}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{asked}");
    }
    let asked = lecture.ask("360p/index.m3u8?_HLS_msn=2&_HLS_part=14").await;
    lecture.get("360p/index.m3u8").await;
    assert!(!asked.is_finished());
}

#[tokio::test]
async fn directive_part_without_msn() {
    let lecture = Lecture::at(2, 0).await;
    for path in ["360p/index.m3u8", "audio/index.m3u8", "360p/iframes.m3u8"] {
        let answer = lecture.get(&format!("{path}?_HLS_part=0")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn directive_garbage() {
    let lecture = Lecture::at(2, 0).await;
    for asked in [
        "_HLS_msn=",
        "_HLS_msn",
        "_HLS_msn=-1",
        "_HLS_msn=+1",
        "_HLS_msn=1.0",
        "_HLS_msn=1e3",
        "_HLS_msn=0x10",
        "_HLS_msn=%31",
        "_HLS_msn=one",
        "_HLS_msn=99999999999999999999",
        "_HLS_msn=1&_HLS_part=-1",
        "_HLS_msn=1&_HLS_part=x",
        "_HLS_msn=1&_HLS_part=99999999999",
        "_HLS_msn=1&_HLS_msn=1",
        "_HLS_skip=yes",
        "_HLS_skip=v3",
        "_HLS_skip=",
    ] {
        let answer = lecture.get(&format!("360p/index.m3u8?{asked}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{asked}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
        // Four target durations (appendix B.1).
        assert_eq!(answer.header("cache-control"), "public, max-age=12");
    }
    // What is not a directive is not looked at.
    for asked in ["token=1", "%zz=%", "_hls_msn=x", "&&&=="] {
        assert_eq!(
            lecture.get(&format!("360p/index.m3u8?{asked}")).await.status,
            StatusCode::OK
        );
    }
}

/// Parts that stop coming: 503 after three target durations, here of one second each.
#[tokio::test]
async fn directive_blocked_too_long() {
    let grid = Grid {
        gop_frames: 15,
        segment_gops: 2,
        part_frames: 3,
        ..Grid::default()
    };
    let mut lecture = Lecture::with(Config::default(), grid, |_| true).await;
    lecture.tell(1, 0).await;
    let playlist = lecture.playlist("audio/index.m3u8").await;
    assert_eq!(playlist.target_duration, 1);
    let before = Instant::now();
    let hint = format!("audio/{}", playlist.hints[0]);
    let mut asked = Vec::new();
    for path in [
        "audio/index.m3u8?_HLS_msn=1&_HLS_part=0",
        "360p/iframes.m3u8?_HLS_msn=2",
        &hint,
    ] {
        asked.push(lecture.ask(path).await);
    }
    for asked in asked {
        let answer = asked.await.unwrap();
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        // Kept, it would be served to all who ask after it.
        assert_eq!(
            (answer.header("cache-control"), answer.header("retry-after")),
            ("no-store", "1")
        );
    }
    assert!(before.elapsed() >= Duration::from_secs(3));
    drop(lecture);
}

#[tokio::test]
async fn directive_skip_gives_a_delta_update() {
    let lecture = Lecture::at(9, 2).await;
    for rendition in RENDITIONS {
        let whole = lecture.playlist(&format!("{rendition}/index.m3u8")).await;
        for asked in [
            "_HLS_skip=YES",
            "_HLS_skip=v2",
            "_HLS_msn=9&_HLS_part=1&_HLS_skip=YES",
        ] {
            let delta = lecture.playlist(&format!("{rendition}/index.m3u8?{asked}")).await;
            // Nine segments; those within 18 s of the end of the last whole one stay: six.
            assert_eq!((delta.skipped, delta.version), (3, 9), "{asked}");
            assert_eq!(apply(&delta, &whole), whole);
            let kept: f64 = delta.segments.iter().map(|segment| segment.duration).sum();
            assert!(kept >= delta.control.unwrap().can_skip_until);
        }
    }
    // Parts are no segments: what is skipped is all the same, however many are listed.
    assert_eq!(
        lecture.playlist("audio/index.m3u8?_HLS_skip=YES").await.last(),
        (9, 1)
    );
}

#[tokio::test]
async fn directive_skip_with_nothing_to_skip_gives_everything() {
    let lecture = Lecture::at(6, 0).await;
    let whole = lecture.get("360p/index.m3u8").await;
    assert_eq!(
        lecture.get("360p/index.m3u8?_HLS_skip=YES").await.body,
        whole.body
    );
}

/// Whoever holds any version not older than the skip boundary allows gets the whole from a delta, of any age.
#[test]
fn directive_skip_applies_to_older_playlists() {
    let mut applied = 0;
    for (rendition, versions) in &history().whole {
        for (n, delta) in history().deltas[rendition].iter().enumerate() {
            for base in versions[..n].iter().rev().step_by(7) {
                if (base.segments.len() as u64) < delta.skipped {
                    // Such a player must load the whole (6.3.7); it has slept for longer than half the boundary.
                    assert!(delta.last().0 - base.last().0 >= 3);
                    continue;
                }
                assert_eq!(apply(delta, base), versions[n]);
                applied += 1;
            }
        }
    }
    assert!(applied > 1_000, "{applied}");
}

/// What a player makes of a delta update: of the skipped segments what it knows of them, without their parts.
fn apply(delta: &Playlist, base: &Playlist) -> Playlist {
    let mut known = base.segments[..delta.skipped as usize].to_vec();
    known.iter_mut().for_each(|segment| segment.parts.clear());
    let mut whole = delta.clone();
    whole.segments.splice(0..0, known);
    if delta.skipped > 0 {
        whole.version = 6;
    }
    whole.skipped = 0;
    whole.text = text_of(&whole, delta, base);
    whole
}

/// The same in letters.
fn text_of(whole: &Playlist, delta: &Playlist, base: &Playlist) -> String {
    let Some((head, rest)) = delta.text.split_once("#EXT-X-SKIP:") else {
        return delta.text.clone();
    };
    let rest = rest.split_once('\n').unwrap().1;
    let (map, rest) = rest.split_at(rest.find("#EXT-X-PROGRAM-DATE-TIME").unwrap());
    let skipped = whole.segments.len() - delta.segments.len();
    let first = base.text.find("#EXT-X-PROGRAM-DATE-TIME").unwrap();
    let lines: Vec<&str> = base.text[first..]
        .lines()
        .filter(|line| !line.starts_with("#EXT-X-PART:"))
        .collect();
    let mut known = String::new();
    let mut uris = 0;
    for line in lines {
        if uris == skipped {
            break;
        }
        known.push_str(line);
        known.push('\n');
        uris += usize::from(!line.starts_with('#'));
    }
    format!(
        "{}{map}{known}{rest}",
        head.replace("#EXT-X-VERSION:9", "#EXT-X-VERSION:6")
    )
}

/// Not one byte before the part is whole, then all at once, with its length.
#[tokio::test]
async fn directive_hinted_part_blocks_and_is_sent_in_one_piece() {
    let mut lecture = Lecture::at(2, 3).await;
    let mut socket = tokio::net::TcpStream::connect(lecture.address).await.unwrap();
    let request = "GET /broadcasts/lecture/360p/2.3.m4s HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut first = [0; 1];
    let reading = tokio::time::timeout(Duration::from_millis(300), socket.read(&mut first));
    assert!(reading.await.is_err(), "nothing may be sent yet");
    lecture.tell(2, 4).await;
    let mut response = Vec::new();
    socket.read_to_end(&mut response).await.unwrap();
    let split = response
        .windows(4)
        .position(|bytes| bytes == b"\r\n\r\n")
        .unwrap();
    let (head, body) = (
        String::from_utf8_lossy(&response[..split]).to_lowercase(),
        &response[split + 4..],
    );
    assert!(head.starts_with("http/1.1 200 ok"), "{head}");
    assert!(
        head.contains(&format!("content-length: {}", body.len())),
        "{head}"
    );
    assert!(!head.contains("transfer-encoding"));
    assert_eq!(lecture.body("360p/2.3.m4s").await, body);
}

/// Parts that nobody hinted at are not waited for.
#[tokio::test]
async fn directive_unknown_part() {
    let lecture = Lecture::at(2, 3).await;
    for path in [
        "360p/2.4.m4s",
        "360p/3.0.m4s",
        "360p/1.16.m4s",
        "360p/99.0.m4s",
        "360p/2.m4s",
        "240p/2.3.m4s",
        "360p/02.3.m4s",
    ] {
        let answer = lecture.get(path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(answer.header("cache-control"), "public, max-age=1");
    }
}

#[tokio::test]
async fn directive_unknown_rendition() {
    let lecture = Lecture::at(2, 0).await;
    for path in [
        "240p/index.m3u8",
        "240p/index.m3u8?_HLS_msn=2&_HLS_part=1",
        "240p/iframes.m3u8",
        "audio/iframes.m3u8",
        "240p/0.m4s",
        "chat/index.m3u8",
    ] {
        assert_eq!(lecture.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    let other = lecture.request(Method::GET, "../nobody/index.m3u8");
    assert_eq!(answer(other).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn directive_requests_are_idempotent() {
    let lecture = Lecture::at(3, 3).await;
    for path in [
        "360p/index.m3u8",
        "360p/index.m3u8?_HLS_msn=3&_HLS_part=2",
        "360p/index.m3u8?_HLS_part=2&_HLS_msn=3",
        "360p/index.m3u8?_HLS_skip=YES",
        "360p/iframes.m3u8?_HLS_msn=5",
        "360p/3.2.m4s",
    ] {
        let (first, again) = (lecture.get(path).await, lecture.get(path).await);
        assert_eq!((first.status, &first.body), (again.status, &again.body), "{path}");
        assert_eq!(first.status, StatusCode::OK);
    }
}

/// What is asked for with HEAD is waited for too, and answered with the same headers.
#[tokio::test]
async fn directive_head_on_everything() {
    let mut lecture = Lecture::at(3, 3).await;
    let map = lecture.playlist("360p/index.m3u8").await.map;
    for path in [
        "index.m3u8",
        "audio.m3u8",
        "360p/index.m3u8",
        "360p/index.m3u8?_HLS_msn=3&_HLS_part=2&_HLS_skip=YES",
        "360p/index.m3u8?_HLS_msn=99",
        "360p/iframes.m3u8",
        &format!("360p/{map}"),
        "360p/1.m4s",
        "360p/3.2.m4s",
        "360p/9.9.m4s",
        "240p/index.m3u8",
    ] {
        let get = lecture.get(path).await;
        let head = answer(lecture.request(Method::HEAD, path)).await;
        assert_eq!(head.status, get.status, "{path}");
        assert!(head.body.is_empty());
        for name in [
            "content-type",
            "content-length",
            "cache-control",
            "etag",
            "vary",
            "priority",
            "accept-ranges",
        ] {
            assert_eq!(head.header(name), get.header(name), "{path} {name}");
        }
    }
    let asked = lecture.come(lecture.request(Method::HEAD, "360p/3.3.m4s")).await;
    lecture.tell(3, 4).await;
    assert_eq!(asked.await.unwrap().status, StatusCode::OK);
}

/// The I-frame playlist can be waited for by its own numbers, has deltas, and no parts.
#[tokio::test]
async fn directive_iframes() {
    let mut lecture = Lecture::at(8, 3).await;
    for rendition in VIDEO {
        let path = format!("{rendition}/iframes.m3u8");
        assert_eq!(
            lecture
                .playlist(&format!("{path}?_HLS_msn=15"))
                .await
                .segments
                .len(),
            16
        );
        assert_eq!(
            lecture.get(&format!("{path}?_HLS_msn=18")).await.status,
            StatusCode::BAD_REQUEST
        );
        assert_eq!(
            lecture.get(&format!("{path}?_HLS_msn=x")).await.status,
            StatusCode::BAD_REQUEST
        );
        let whole = lecture.playlist(&path).await;
        let delta = lecture.playlist(&format!("{path}?_HLS_skip=YES")).await;
        assert_eq!((delta.skipped, delta.segments.len()), (4, 12));
        assert_eq!(delta.segments[..], whole.segments[4..]);
    }
    let asked = lecture.ask("360p/iframes.m3u8?_HLS_msn=16&_HLS_part=3").await;
    lecture.tell(8, 15).await;
    assert!(!asked.is_finished());
    lecture.tell(9, 0).await;
    let answer = asked.await.unwrap();
    assert_eq!(Playlist::read(answer.text()).segments.len(), 18);
    assert_eq!(answer.header("cache-control"), "public, max-age=18");
    assert_eq!(Grid::default().gop(), Span::from_millis(1_600));
}
