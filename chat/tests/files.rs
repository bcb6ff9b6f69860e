//! Files: uploaded, served, named by messages, removed with them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use bytes::Bytes;
use chat::{Config, FileLimits, Rate};
use common::{Answer, School, eventually, generous};
use serde_json::{Value, json};
use tower::ServiceExt;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x02\0\0\0";

fn limits() -> FileLimits {
    FileLimits {
        rate: Rate {
            messages: 1_000,
            per_ms: 1_000,
        },
        ..FileLimits::default()
    }
}

async fn school(files: FileLimits) -> School {
    School::with(Config { files, ..generous() }).await
}

async fn upload(
    school: &School,
    broadcast: &str,
    token: Option<&str>,
    name: &str,
    body: impl Into<Body>,
) -> Answer {
    let name = name.replace('%', "%25").replace(' ', "%20").replace('&', "%26");
    let mut request = Request::post(format!("/rooms/{broadcast}/files?name={name}"));
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    school.answer(request.body(body.into()).unwrap()).await
}

async fn uploaded(school: &School, name: &str, body: impl Into<Body>) -> Value {
    let answer = upload(school, "algebra", Some("host:Bo:algebra"), name, body).await;
    assert_eq!(
        answer.status,
        StatusCode::CREATED,
        "{:?}",
        String::from_utf8_lossy(&answer.body)
    );
    answer.json()
}

fn path(file: &Value) -> String {
    format!("/broadcasts/algebra/files/{}", file["id"].as_str().unwrap())
}

#[tokio::test]
async fn a_picture_goes_in_and_comes_out() {
    let school = school(limits()).await;
    let file = uploaded(&school, "My sketch.png", PNG).await;
    assert_eq!(file["name"], "My sketch.png");
    assert_eq!(file["type"], "image/png");
    assert_eq!(file["size"], PNG.len());

    let answer = school.get(&path(&file)).await;
    assert_eq!((answer.status, answer.body.as_slice()), (StatusCode::OK, PNG));
    assert_eq!(answer.header("content-type"), "image/png");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(answer.header("content-disposition"), "inline");
    assert!(answer.header("content-security-policy").contains("sandbox"));
    assert!(answer.header("cache-control").contains("immutable"));
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    let tag = answer.header("etag").to_owned();
    let again = school.get_with(&path(&file), &[("if-none-match", &tag)]).await;
    assert_eq!(again.status, StatusCode::NOT_MODIFIED);

    let school = school.restart().await;
    assert_eq!(school.get(&path(&file)).await.body, PNG);
}

#[tokio::test]
async fn a_large_file_is_served_in_ranges() {
    let school = school(limits()).await;
    let text: String = (0..400_000).map(|n| format!("{n}\n")).collect();
    let pieces: Vec<_> = text
        .as_bytes()
        .chunks(10_000)
        .map(Bytes::copy_from_slice)
        .collect();
    let body = Body::from_stream(futures::stream::iter(
        pieces.into_iter().map(Ok::<_, std::io::Error>),
    ));
    let file = uploaded(&school, "numbers.csv", body).await;
    assert_eq!(file["type"], "text/csv; charset=utf-8");

    let whole = school.get(&path(&file)).await;
    assert_eq!(whole.body, text.as_bytes());
    assert_eq!(whole.header("content-length"), text.len().to_string());
    assert!(whole.header("content-disposition").starts_with("attachment"));
    for (range, from, to) in [
        ("bytes=0-9", 0, 10),
        ("bytes=500000-1700000", 500_000, 1_700_001),
        ("bytes=-5", text.len() - 5, text.len()),
    ] {
        let part = school.get_with(&path(&file), &[("range", range)]).await;
        assert_eq!(part.status, StatusCode::PARTIAL_CONTENT);
        assert_eq!(
            part.header("content-range"),
            format!("bytes {from}-{}/{}", to - 1, text.len())
        );
        assert_eq!(part.body, &text.as_bytes()[from..to]);
    }
    let beyond = school
        .get_with(&path(&file), &[("range", "bytes=99999999-")])
        .await;
    assert_eq!(beyond.status, StatusCode::RANGE_NOT_SATISFIABLE);
}

#[tokio::test]
async fn the_same_bytes_are_one_file() {
    let school = school(limits()).await;
    let (one, other) = (
        uploaded(&school, "a.png", PNG).await,
        uploaded(&school, "b.png", PNG).await,
    );
    assert_eq!(one["id"], other["id"]);
    assert_eq!(other["name"], "b.png");
}

#[tokio::test]
async fn what_could_run_does_not_come_in() {
    let school = school(limits()).await;
    for (name, body) in [
        (
            "a.svg",
            "<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        ),
        ("a.png", "<html><script>alert(1)</script>"),
        ("a.sh", "#!/bin/sh"),
        ("a.exe", "MZ\u{0}\u{0}\u{0}"),
        ("a.txt", ""),
    ] {
        let answer = upload(&school, "algebra", Some("host:Bo:algebra"), name, body).await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{name}");
        assert!(answer.json()["detail"].as_str().unwrap().contains("png"));
    }
    assert!(school.archive.keys().iter().all(|key| !key.contains("/files/")));
}

#[tokio::test]
async fn only_who_may_uploads() {
    let school = school(limits()).await;
    let status = async |broadcast, token| upload(&school, broadcast, token, "a.png", PNG).await.status;
    assert_eq!(
        status("algebra", Some("moderator:Mo:algebra")).await,
        StatusCode::CREATED
    );
    assert_eq!(status("algebra", None).await, StatusCode::FORBIDDEN);
    assert_eq!(
        status("algebra", Some("viewer:Vi:algebra")).await,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        status("algebra", Some("host:Bo:biology")).await,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        status("algebra", Some("nonsense")).await,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        status("nowhere", Some("host:Bo:nowhere")).await,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn sizes_and_rates_have_limits() {
    let school = school(FileLimits {
        max_bytes: 1_000,
        room_bytes: 2_500,
        ..limits()
    })
    .await;
    let status = async |text: &str, len: usize| {
        let body = Bytes::from(text.repeat(len));
        upload(&school, "algebra", Some("host:Bo:algebra"), "a.txt", body)
            .await
            .status
    };
    assert_eq!(status("a", 1_001).await, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(status("a", 1_000).await, StatusCode::CREATED);
    assert_eq!(status("b", 1_000).await, StatusCode::CREATED);
    assert_eq!(status("c", 1_000).await, StatusCode::INSUFFICIENT_STORAGE);
    // Without a length that was announced.
    let pieces = (0..2).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![b'd'; 600])));
    let body = Body::from_stream(futures::stream::iter(pieces));
    let answer = upload(&school, "algebra", Some("host:Bo:algebra"), "a.txt", body).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);

    let rate = Rate {
        messages: 2,
        per_ms: 60_000,
    };
    let school = School::with(Config {
        files: FileLimits { rate, ..limits() },
        ..generous()
    })
    .await;
    for expected in [
        StatusCode::CREATED,
        StatusCode::CREATED,
        StatusCode::TOO_MANY_REQUESTS,
    ] {
        let answer = upload(&school, "algebra", Some("host:Bo:algebra"), "a.png", PNG).await;
        assert_eq!(answer.status, expected);
    }
    let other = upload(&school, "algebra", Some("host:Cy:algebra"), "a.png", PNG).await;
    assert_eq!(other.status, StatusCode::CREATED);
}

#[tokio::test]
async fn names_that_are_no_ids_are_not_there() {
    let school = school(limits()).await;
    for name in [
        "x",
        "broadcast.json",
        "0123456789012345678901234567890123456789.png",
        "..%2Fbroadcast.json",
    ] {
        let answer = school.get(&format!("/broadcasts/algebra/files/{name}")).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{name}");
    }
}

#[tokio::test]
async fn an_archive_that_is_away_takes_nothing() {
    let school = school(limits()).await;
    school
        .archive
        .broken
        .store(true, std::sync::atomic::Ordering::SeqCst);
    let answer = upload(&school, "algebra", Some("host:Bo:algebra"), "a.png", PNG).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn participants_attach_where_the_room_lets_them() {
    let school = school(limits()).await;
    let token = Some("participant:Ana:algebra");
    assert_eq!(
        upload(&school, "algebra", token, "a.png", PNG).await.status,
        StatusCode::FORBIDDEN
    );
    let mut host = school.join("algebra", "host", "Bo").await;
    host.send(json!({"type": "settings", "ref": "s1", "set": {"uploads": "participants"}}))
        .await;
    host.expect("ack").await;
    assert_eq!(
        upload(&school, "algebra", token, "a.png", PNG).await.status,
        StatusCode::CREATED
    );
}

#[tokio::test]
async fn a_participant_does_not_fill_the_room() {
    let school = school(FileLimits {
        participant_bytes: 1_000,
        ..limits()
    })
    .await;
    let mut host = school.join("algebra", "host", "Bo").await;
    host.send(json!({"type": "settings", "ref": "s1", "set": {"uploads": "participants"}}))
        .await;
    host.expect("ack").await;
    let status = async |token, text: &str| {
        upload(&school, "algebra", Some(token), "a.txt", text.repeat(600))
            .await
            .status
    };
    assert_eq!(status("participant:Ana:algebra", "a").await, StatusCode::CREATED);
    assert_eq!(
        status("participant:Ana:algebra", "b").await,
        StatusCode::INSUFFICIENT_STORAGE
    );
    assert_eq!(status("participant:Ben:algebra", "c").await, StatusCode::CREATED);
    assert_eq!(status("host:Bo:algebra", "d").await, StatusCode::CREATED);
    assert_eq!(status("host:Bo:algebra", "e").await, StatusCode::CREATED);
}

#[tokio::test]
async fn a_message_names_files_and_takes_them_with_it() {
    let school = school(limits()).await;
    let (one, other) = (
        uploaded(&school, "a.png", PNG).await,
        uploaded(&school, "b.txt", "text").await,
    );
    let mut host = school.join("algebra", "host", "Bo").await;
    let say =
        |reference: &str, files: Value| json!({"type": "say", "ref": reference, "body": "", "files": files});

    // Without a body, a file is something to say.
    host.send(say("m1", json!([one["id"], other["id"]]))).await;
    let first = host.expect("ack").await["seq"].as_u64().unwrap();
    let event = host.events_until(first).await.pop().unwrap();
    assert_eq!(event["files"], json!([one, other]));
    host.send(say("m2", json!([one["id"]]))).await;
    let second = host.expect("ack").await["seq"].as_u64().unwrap();

    // The other message still names the picture.
    host.deleted("d1", first).await;
    eventually("the text has gone", async || {
        school.get(&path(&other)).await.status == StatusCode::NOT_FOUND
    })
    .await;
    assert_eq!(school.get(&path(&one)).await.status, StatusCode::OK);
    host.deleted("d2", second).await;
    eventually("the picture has gone", async || {
        school.get(&path(&one)).await.status == StatusCode::NOT_FOUND
    })
    .await;
    assert!(school.archive.keys().iter().all(|key| !key.contains("/files/")));

    // What has gone is uploaded again.
    host.send(say("m3", json!([one["id"]]))).await;
    assert_eq!(host.refused().await, "not_found");
    assert_eq!(uploaded(&school, "a.png", PNG).await["id"], one["id"]);
    host.send(say("m4", json!([one["id"]]))).await;
    host.expect("ack").await;
}

#[tokio::test]
async fn only_ones_own_files_can_be_named() {
    let school = school(limits()).await;
    let file = uploaded(&school, "a.png", PNG).await;
    let mut other = school.join("algebra", "host", "Cy").await;
    other
        .send(json!({"type": "say", "ref": "m1", "body": "mine", "files": [file["id"]]}))
        .await;
    assert_eq!(other.refused().await, "not_found");
}

#[tokio::test]
async fn who_is_erased_leaves_no_files() {
    let school = school(limits()).await;
    let mut host = school.join("algebra", "host", "Bo").await;
    host.send(json!({"type": "settings", "ref": "s1", "set": {"uploads": "participants"}}))
        .await;
    host.expect("ack").await;
    let token = Some("participant:Ana:algebra");
    let named = upload(&school, "algebra", token, "a.png", PNG).await.json();
    upload(&school, "algebra", token, "b.txt", "never named").await;
    let mut ana = school.join("algebra", "participant", "Ana").await;
    ana.send(json!({"type": "say", "ref": "m1", "body": "look", "files": [named["id"]]}))
        .await;
    ana.expect("ack").await;

    let request = Request::delete("/api/v1/broadcasts/algebra/room/people/Ana")
        .header("authorization", "Bearer host:Bo:algebra");
    let response = school
        .rooms
        .router()
        .oneshot(request.body(Body::empty()).unwrap())
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    eventually("the files have gone", async || {
        school.archive.keys().iter().all(|key| !key.contains("/files/"))
    })
    .await;
}

#[tokio::test]
async fn what_a_crash_left_is_swept_at_the_next_start() {
    let school = school(limits()).await;
    let (one, other) = (
        uploaded(&school, "a.png", PNG).await,
        uploaded(&school, "b.txt", "kept").await,
    );
    let mut host = school.join("algebra", "host", "Bo").await;
    host.send(json!({"type": "say", "ref": "m1", "body": "", "files": [one["id"]]}))
        .await;
    let seq = host.expect("ack").await["seq"].as_u64().unwrap();
    host.send(json!({"type": "say", "ref": "m2", "body": "", "files": [other["id"]]}))
        .await;
    host.expect("ack").await;
    // The message goes, its file cannot.
    school
        .archive
        .broken
        .store(true, std::sync::atomic::Ordering::SeqCst);
    host.deleted("d1", seq).await;
    host.leave().await;
    let school = school.restart().await;
    school
        .archive
        .broken
        .store(false, std::sync::atomic::Ordering::SeqCst);
    let school = school.restart().await;
    eventually("the picture has gone", async || {
        school.get(&path(&one)).await.status == StatusCode::NOT_FOUND
    })
    .await;
    assert_eq!(school.get(&path(&other)).await.status, StatusCode::OK);
}
