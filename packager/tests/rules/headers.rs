//! The delivery profile: cache lifetimes, compression, conditions, ranges, what pages of other sites may read.

use std::io::Read;

use reqwest::{Method, StatusCode};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use crate::lecture::{Lecture, answer};

#[tokio::test]
async fn header_cache_control() {
    let lecture = Lecture::at(3, 3).await;
    let map = lecture.playlist("360p/index.m3u8").await.map;
    let map = format!("360p/{map}");
    const YEAR: &str = "public, max-age=31536000, immutable";
    for (path, lifetime) in [
        ("index.m3u8", "public, max-age=2"),
        ("audio.m3u8", "public, max-age=2"),
        ("360p/index.m3u8", "public, max-age=1"),
        ("360p/index.m3u8?_HLS_skip=YES", "public, max-age=1"),
        ("360p/iframes.m3u8", "public, max-age=1"),
        // Six target durations.
        ("360p/index.m3u8?_HLS_msn=3&_HLS_part=2", "public, max-age=18"),
        ("360p/index.m3u8?_HLS_msn=2&_HLS_skip=YES", "public, max-age=18"),
        ("360p/iframes.m3u8?_HLS_msn=5", "public, max-age=18"),
        ("360p/3.2.m4s", "public, max-age=60, immutable"),
        ("360p/2.m4s", YEAR),
        ("audio/0.m4s", YEAR),
        (&map, YEAR),
        // Not there yet, not there any more, never there.
        ("360p/9.m4s", "public, max-age=1"),
        ("360p/9.9.m4s", "public, max-age=1"),
        ("240p/index.m3u8", "public, max-age=1"),
    ] {
        assert_eq!(
            lecture.get(path).await.header("cache-control"),
            lifetime,
            "{path}"
        );
    }
}

#[tokio::test]
async fn header_gzip() {
    let lecture = Lecture::at(9, 3).await;
    for path in [
        "index.m3u8",
        "audio.m3u8",
        "360p/index.m3u8",
        "360p/index.m3u8?_HLS_skip=YES",
        "audio/index.m3u8?_HLS_msn=9&_HLS_part=2",
        "360p/iframes.m3u8",
        "360p/iframes.m3u8?_HLS_skip=v2",
    ] {
        let plain = lecture.get(path).await;
        let zipped = lecture
            .get_with(path, "accept-encoding", "gzip, deflate, br, zstd")
            .await;
        assert_eq!(
            (
                plain.header("content-encoding"),
                zipped.header("content-encoding")
            ),
            ("", "gzip")
        );
        assert_eq!(
            (plain.header("vary"), zipped.header("vary")),
            ("accept-encoding", "accept-encoding")
        );
        assert_eq!(zipped.header("content-length"), zipped.body.len().to_string());
        let mut text = String::new();
        flate2::read::GzDecoder::new(&zipped.body[..])
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, plain.text(), "{path}");
        assert!(zipped.body.len() < plain.body.len());
    }
    // Media is compressed already.
    let media = lecture.get_with("360p/0.m4s", "accept-encoding", "gzip").await;
    assert_eq!((media.header("content-encoding"), media.header("vary")), ("", ""));
}

#[tokio::test]
async fn header_cors() {
    let lecture = Lecture::at(2, 0).await;
    for path in [
        "index.m3u8",
        "360p/index.m3u8",
        "360p/0.m4s",
        "360p/0.0.m4s",
        "240p/index.m3u8",
        "360p/index.m3u8?_HLS_msn=x",
    ] {
        let answer = lecture
            .get_with(path, "origin", "https://elsewhere.example")
            .await;
        assert_eq!(answer.header("access-control-allow-origin"), "*", "{path}");
        // hls.js reads from Age how old an edge's copy is.
        assert_eq!(answer.header("access-control-expose-headers"), "age,date");
        assert_eq!(answer.header("timing-allow-origin"), "*");
        assert!(!answer.header("date").is_empty());
    }
    let preflight = lecture
        .request(Method::OPTIONS, "360p/0.m4s")
        .header("origin", "https://elsewhere.example")
        .header("access-control-request-method", "GET")
        .header("access-control-request-headers", "range");
    let preflight = answer(preflight).await;
    assert_eq!(preflight.status, StatusCode::OK);
    assert_eq!(preflight.header("access-control-allow-origin"), "*");
    assert_eq!(
        preflight.header("access-control-allow-methods"),
        "GET,HEAD,OPTIONS"
    );
    assert_eq!(preflight.header("access-control-allow-headers"), "*");
    assert_eq!(preflight.header("access-control-max-age"), "86400");
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        let refused = answer(lecture.request(method, "360p/0.m4s")).await;
        assert_eq!(refused.status, StatusCode::METHOD_NOT_ALLOWED);
    }
}

#[tokio::test]
async fn header_priority() {
    let lecture = Lecture::at(2, 0).await;
    for (path, urgency) in [
        ("index.m3u8", "u=1"),
        ("360p/index.m3u8", "u=1"),
        ("360p/iframes.m3u8", "u=1"),
        ("audio/0.m4s", "u=2"),
        // A higher rung is never more urgent than a lower one: both are alike.
        ("360p/0.m4s", "u=3"),
        ("180p/0.0.m4s", "u=3"),
        ("360p/9.m4s", ""),
    ] {
        assert_eq!(lecture.get(path).await.header("priority"), urgency, "{path}");
    }
}

/// A lecture whose first segments have left memory, and the immutable objects in it: two from memory, three from the
/// archive (the init is in both).
async fn objects() -> (Lecture, Vec<String>) {
    let lecture = Lecture::long().await;
    let map = lecture.playlist("360p/index.m3u8").await.map;
    let names = ["13.m4s", "14.0.m4s", &map, "0.m4s", "1.m4s"];
    (lecture, names.map(|name| format!("360p/{name}")).to_vec())
}

#[tokio::test]
async fn header_etag() {
    let (lecture, objects) = objects().await;
    for path in &objects {
        let whole = lecture.get(path).await;
        let tag = whole.header("etag");
        assert!(tag.starts_with('"') && tag.len() > 2, "{path}: {tag}");
        for known in [
            tag,
            &format!("W/{tag}"),
            &format!("\"other\", {tag}"),
            &format!("\"a\",W/\"b\" , {tag}"),
            "*",
        ] {
            let again = lecture.get_with(path, "if-none-match", known).await;
            assert_eq!(
                (again.status, again.body.len()),
                (StatusCode::NOT_MODIFIED, 0),
                "{path} {known}"
            );
            assert_eq!(
                (again.header("etag"), again.header("cache-control")),
                (tag, whole.header("cache-control"))
            );
        }
        for other in ["\"other\"", "\"\"", "nonsense"] {
            let again = lecture.get_with(path, "if-none-match", other).await;
            assert_eq!(
                (again.status, &again.body),
                (StatusCode::OK, &whole.body),
                "{path} {other}"
            );
        }
    }
    // What is not there is not unchanged.
    assert_eq!(
        lecture.get_with("360p/99.m4s", "if-none-match", "*").await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(lecture.get("360p/index.m3u8").await.header("etag"), "");
}

/// A 304 has no body, whatever length it tells: the connection goes on.
#[tokio::test]
async fn header_not_modified_leaves_the_connection_whole() {
    let lecture = Lecture::at(2, 0).await;
    let length = lecture.body("360p/0.m4s").await.len();
    let socket = tokio::net::TcpStream::connect(lecture.address).await.unwrap();
    let mut socket = BufReader::new(socket);
    for (condition, status, expected) in [
        ("*", "304", 0),
        ("\"x\"", "200", length),
        ("*", "304", 0),
        ("\"x\"", "200", length),
    ] {
        let request = format!(
            "GET /broadcasts/lecture/360p/0.m4s HTTP/1.1\r\nhost: x\r\nif-none-match: {condition}\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            socket.read_line(&mut head).await.unwrap();
        }
        let head = head.to_lowercase();
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{head}");
        // The length of the whole, or none at all (RFC 9110 8.6).
        let told = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        assert!(told.is_none_or(|told| told == length.to_string()), "{head}");
        socket.read_exact(&mut vec![0; expected]).await.unwrap();
    }
}

#[tokio::test]
async fn header_range() {
    let (lecture, objects) = objects().await;
    for path in &objects {
        let whole = lecture.get(path).await;
        let length = whole.body.len();
        assert_eq!(whole.header("accept-ranges"), "bytes");
        for (range, start, end) in [
            ("bytes=0-0".to_owned(), 0, 1),
            ("bytes=100-199".to_owned(), 100, 200),
            ("bytes=100-".to_owned(), 100, length),
            ("bytes=-50".to_owned(), length - 50, length),
            (format!("bytes=-{}", length + 1), 0, length),
            (format!("bytes=100-{}", length + 1_000), 100, length),
        ] {
            let part = lecture.get_with(path, "range", &range).await;
            assert_eq!(part.status, StatusCode::PARTIAL_CONTENT, "{path} {range}");
            assert_eq!(part.body, whole.body.slice(start..end), "{path} {range}");
            assert_eq!(
                part.header("content-range"),
                format!("bytes {start}-{}/{length}", end - 1)
            );
            for name in [
                "content-type",
                "cache-control",
                "etag",
                "accept-ranges",
                "priority",
            ] {
                assert_eq!(part.header(name), whole.header(name), "{path} {name}");
            }
        }
        for range in [
            format!("bytes={length}-"),
            format!("bytes={}-{}", length + 5, length + 6),
        ] {
            let part = lecture.get_with(path, "range", &range).await;
            assert_eq!(part.status, StatusCode::RANGE_NOT_SATISFIABLE, "{path} {range}");
            assert_eq!(part.header("content-range"), format!("bytes */{length}"));
        }
        for ignored in ["bytes=0-1,4-5", "bytes=9-1", "bytes=x-", "lines=0-1", "bytes"] {
            let all = lecture.get_with(path, "range", ignored).await;
            assert_eq!(
                (all.status, &all.body),
                (StatusCode::OK, &whole.body),
                "{path} {ignored}"
            );
        }
        for (condition, status) in [
            (whole.header("etag"), StatusCode::PARTIAL_CONTENT),
            ("\"other\"", StatusCode::OK),
            ("Sat, 29 Oct 1994 19:43:31 GMT", StatusCode::OK),
        ] {
            let request = lecture.request(Method::GET, path).header("if-range", condition);
            let part = answer(request.header("range", "bytes=0-9")).await;
            assert_eq!(part.status, status, "{path} {condition}");
        }
        // Of HEAD there are no ranges.
        let head = answer(lecture.request(Method::HEAD, path).header("range", "bytes=0-9")).await;
        assert_eq!(
            (head.status, head.header("content-length")),
            (StatusCode::OK, &*length.to_string())
        );
    }
    assert_eq!(
        lecture.get_with("360p/99.m4s", "range", "bytes=0-1").await.status,
        StatusCode::NOT_FOUND
    );
    // Playlists change: there are no ranges of them.
    let playlist = lecture.get_with("360p/index.m3u8", "range", "bytes=0-9").await;
    assert_eq!(
        (playlist.status, playlist.header("accept-ranges")),
        (StatusCode::OK, "")
    );
}

/// The part that comes next is waited for, and then no more is sent than was asked for.
#[tokio::test]
async fn header_range_of_a_hinted_part() {
    let mut lecture = Lecture::at(2, 3).await;
    let asked = lecture
        .request(Method::GET, "360p/2.3.m4s")
        .header("range", "bytes=8-15");
    let asked = lecture.come(asked).await;
    lecture.tell(2, 4).await;
    let part = asked.await.unwrap();
    let whole = lecture.body("360p/2.3.m4s").await;
    assert_eq!(
        (part.status, part.body),
        (StatusCode::PARTIAL_CONTENT, whole.slice(8..16))
    );
}
