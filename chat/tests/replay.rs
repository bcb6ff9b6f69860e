//! The room as it is read afterwards: chunks of the media timeline, live, rewound and ended.

mod common;

use std::io::Read;
use std::sync::atomic::Ordering;

use axum::http::StatusCode;
use chat::Config;
use common::*;
use serde_json::json;

#[tokio::test]
async fn the_replay_holds_what_was_said_by_position() {
    let school = School::open().await;
    let (index, _) = school.replay("algebra").await;
    assert_eq!(
        (&index["v"], &index["window"], &index["chunks"]),
        (&json!(2), &json!(2_880_000), &json!([]))
    );

    let mut ana = school.join("algebra", "participant", "ana").await;
    let playing = |ms| school.playing("algebra", at(ms));
    ana.said_at("a1", "third", playing(40_000)).await;
    ana.said_at("a2", "second", playing(31_999)).await;
    ana.said_at("a3", "first", playing(0)).await;
    ana.said_at("a4", "fourth", playing(40_000)).await;
    ana.said("a5", "at the live edge").await;
    let (index, chunks) = school.replay("algebra").await;
    assert_eq!(
        school.replayed("algebra").await,
        ["first", "second", "third", "fourth", "at the live edge"]
    );
    assert_eq!(
        (&chunks[1]["n"], &chunks[1]["from"], &chunks[1]["to"]),
        (&json!(1), &json!(2_880_000), &json!(5_760_000))
    );
    assert_eq!(index["chunks"][0]["n"], 0);
    assert_eq!(
        index["chunks"].as_array().unwrap().len(),
        3,
        "windows without a message are not listed"
    );
}

#[tokio::test]
async fn how_the_replay_is_served() {
    let school = School::open().await;
    let mut ana = school.join("algebra", "participant", "ana").await;
    for n in 0..50 {
        ana.said_at(
            &format!("a{n}"),
            "much the same",
            school.playing("algebra", at(0)),
        )
        .await;
    }
    let index = "/broadcasts/algebra/chat/index.json";
    let answer = school.get(index).await;
    assert_eq!(answer.header("cache-control"), "public, max-age=1");
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert_eq!(answer.header("content-type"), "application/json");
    let name = answer.json()["chunks"][0]["name"].as_str().unwrap().to_owned();
    let path = format!("/broadcasts/algebra/chat/{name}");
    let plain = school.get(&path).await;
    assert!(plain.header("cache-control").contains("immutable"));
    let packed = school.get_with(&path, &[("accept-encoding", "gzip")]).await;
    assert_eq!(packed.header("content-encoding"), "gzip");
    assert!(packed.body.len() * 3 < plain.body.len());
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&packed.body[..])
        .read_to_end(&mut unpacked)
        .unwrap();
    assert_eq!(unpacked, plain.body);
    for missing in [
        "0.0000000000000000.json",
        "7.json",
        "..%2Findex.json",
        "index.m3u8",
    ] {
        let answer = school.get(&format!("/broadcasts/algebra/chat/{missing}")).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{missing}");
        assert_eq!(answer.header("access-control-allow-origin"), "*");
    }
    assert_eq!(
        school.get("/broadcasts/geology/chat/index.json").await.status,
        StatusCode::NOT_FOUND
    );
    school.end("algebra").await;
    assert_eq!(
        school.get(index).await.header("cache-control"),
        "public, max-age=60"
    );
}

#[tokio::test]
async fn a_passed_window_is_sealed_and_made_anew_for_late_messages() {
    // The tail stays open as long as this story can take.
    let school = School::with(Config {
        chunk_grace_ms: 300_000,
        ..generous()
    })
    .await;
    let mut ana = school.join("algebra", "participant", "ana").await;
    let sealed = || {
        school
            .archive
            .keys()
            .into_iter()
            .filter(|key| key.starts_with("algebra/chat/0."))
            .collect::<Vec<_>>()
    };
    let playing = school.playing("algebra", at(1_000));
    ana.said_at("a1", "rewound", playing).await;
    ana.said("a2", "at the live edge").await;
    eventually("the window is sealed", async || sealed().len() == 1).await;
    let first = sealed();
    assert_eq!(school.replayed("algebra").await, ["rewound", "at the live edge"]);
    let listed = school.archive.json("algebra/chat/index.json");
    assert_eq!(
        listed["chunks"].as_array().unwrap().len(),
        1,
        "the open tail stays out of the archive"
    );

    ana.said_at("a3", "rewound as well", playing).await;
    assert_eq!(
        school.replayed("algebra").await,
        ["rewound", "rewound as well", "at the live edge"]
    );
    eventually("the window is sealed again", async || {
        sealed().len() == 1 && sealed() != first
    })
    .await;
    assert_eq!(
        school.replayed("algebra").await,
        ["rewound", "rewound as well", "at the live edge"]
    );
}

#[tokio::test]
async fn a_deleted_message_leaves_the_replay() {
    let school = School::open().await;
    let mut ana = school.join("algebra", "participant", "ana").await;
    let mut moderator = school.join("algebra", "moderator", "mo").await;
    let seq = ana
        .said_at("a1", "dreadful", school.playing("algebra", at(0)))
        .await;
    ana.said_at("a2", "fine", school.playing("algebra", at(1))).await;
    let (index, _) = school.replay("algebra").await;
    let before = format!(
        "/broadcasts/algebra/chat/{}",
        index["chunks"][0]["name"].as_str().unwrap()
    );
    eventually("it is sealed", async || {
        school.archive.text().contains("dreadful")
    })
    .await;
    moderator.deleted("d1", seq).await;
    assert_eq!(school.get(&before).await.status, StatusCode::NOT_FOUND);
    assert_eq!(school.replayed("algebra").await, ["fine"]);
    eventually("it is gone from the archive", async || {
        !school.archive.text().contains("dreadful")
    })
    .await;
    eventually("it is gone from the files of the record", async || {
        let files = std::fs::read_dir(school.database().parent().unwrap()).unwrap();
        files
            .map(|file| std::fs::read(file.unwrap().path()).unwrap())
            .all(|file| !file.windows(8).any(|bytes| bytes == b"dreadful"))
    })
    .await;
    let page = school.get("/rooms/algebra/messages").await;
    assert!(!String::from_utf8_lossy(&page.body).contains("dreadful"));
    assert_eq!(page.json()["events"][0]["deleted"], true);
    school.rooms.shutdown().await;
    let file = std::fs::read(school.database()).unwrap();
    assert!(
        !file.windows(8).any(|bytes| bytes == b"dreadful"),
        "nor is it in the file"
    );
}

#[tokio::test]
async fn an_ended_broadcast_is_replayed_from_the_archive() {
    let school = School::open().await;
    let mut ana = school.join("algebra", "participant", "ana").await;
    let dreadful = ana
        .said_at("a1", "dreadful", school.playing("algebra", at(0)))
        .await;
    ana.said("a2", "good-bye").await;
    school.end("algebra").await;
    let index = school.archive.json("algebra/chat/index.json");
    assert_eq!(index, school.replay("algebra").await.0);
    assert_eq!(school.archive.keys().len(), 3, "two chunks and the index");

    let school = school.restart().await;
    assert_eq!(school.replayed("algebra").await, ["dreadful", "good-bye"]);
    assert_eq!(
        school
            .get("/broadcasts/algebra/chat/index.json")
            .await
            .header("cache-control"),
        "public, max-age=60"
    );
    let timeline = school.timeline("algebra");
    school.gate.forget("algebra");
    assert_eq!(
        school.replayed("algebra").await,
        ["dreadful", "good-bye"],
        "even of a broadcast nobody knows"
    );

    school.gate.set(
        "algebra",
        timeline::Line::Ended {
            timeline,
            duration: timeline.at(now()),
        },
    );
    let mut ana = school.join("algebra", "participant", "ana").await;
    let mut host = school.join("algebra", "host", "ho").await;
    ana.say("a3", "too late").await;
    assert_eq!(ana.refused().await, "ended");
    ana.send(json!({"type": "delete", "ref": "d1", "seq": dreadful}))
        .await;
    assert_eq!(ana.refused().await, "ended");
    host.deleted("d2", dreadful).await;
    assert_eq!(school.replayed("algebra").await, ["good-bye"]);
    eventually("it is gone", async || !school.archive.text().contains("dreadful")).await;
    let school = school.restart().await;
    assert_eq!(school.replayed("algebra").await, ["good-bye"]);
}

#[tokio::test]
async fn what_the_archived_index_does_not_list_is_not_served() {
    let school = School::open().await;
    let mut ana = school.join("algebra", "participant", "ana").await;
    ana.said_at("a1", "fine", school.playing("algebra", at(0))).await;
    school.end("algebra").await;
    let school = school.restart().await;
    // A crash between the archive and the record can leave such an object.
    let orphan = "0.0123456789abcdef.json";
    school
        .archive
        .lay(&format!("algebra/chat/{orphan}"), r#"{"events":["dreadful"]}"#);
    let answer = school.get(&format!("/broadcasts/algebra/chat/{orphan}")).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert_eq!(school.replayed("algebra").await, ["fine"]);
}

#[tokio::test]
async fn a_room_without_a_word_has_a_replay_too() {
    let school = School::open().await;
    school.end("algebra").await;
    let school = school.restart().await;
    assert_eq!(school.replay("algebra").await.0["chunks"], json!([]));
    assert_eq!(
        school.rooms.end(&id("geology")).await.unwrap_err().to_string(),
        "there is no broadcast of that name"
    );
}

#[tokio::test]
async fn a_live_room_goes_on_after_a_restart() {
    let school = School::open().await;
    let mut ana = school.join("algebra", "participant", "ana").await;
    let seq = ana
        .said_at("a1", "dreadful", school.playing("algebra", at(0)))
        .await;
    ana.said("a2", "at the live edge").await;
    let (index, _) = school.replay("algebra").await;
    let school = school.restart().await;
    let open = index["chunks"][1]["name"].as_str().unwrap();
    let answer = school.get(&format!("/broadcasts/algebra/chat/{open}")).await;
    assert_eq!(answer.status, StatusCode::OK, "a chunk that was named before");
    assert_eq!(school.replayed("algebra").await, ["dreadful", "at the live edge"]);
    let mut host = school.join("algebra", "host", "ho").await;
    host.deleted("d1", seq).await;
    assert_eq!(school.replayed("algebra").await, ["at the live edge"]);
}

#[tokio::test]
async fn what_a_crash_left_behind_is_put_right() {
    let school = School::open().await;
    let mut ana = school.join("algebra", "participant", "ana").await;
    let mut host = school.join("algebra", "host", "ho").await;
    let seq = ana
        .said_at("a1", "dreadful", school.playing("algebra", at(0)))
        .await;
    ana.said_at("a2", "fine", school.playing("algebra", at(0))).await;
    school.end("algebra").await;
    // The archive is out of order from here on: as if the server died between the record and the archive.
    school.archive.broken.store(true, Ordering::Release);
    host.deleted("d1", seq).await;
    let school = school.restart().await;
    assert!(school.archive.text().contains("dreadful"));
    school.archive.broken.store(false, Ordering::Release);
    eventually("it is gone without anyone asking", async || {
        !school.archive.text().contains("dreadful")
    })
    .await;
    assert_eq!(school.replayed("algebra").await, ["fine"]);
}

#[tokio::test]
async fn an_archive_out_of_order_is_tried_again() {
    let school = School::open().await;
    let mut ana = school.join("algebra", "participant", "ana").await;
    ana.said("a1", "kept").await;
    school.archive.broken.store(true, Ordering::Release);
    let timeline = school.timeline("algebra");
    school.gate.set(
        "algebra",
        timeline::Line::Ended {
            timeline,
            duration: timeline.at(now()),
        },
    );
    school.rooms.end(&id("algebra")).await.unwrap_err();
    assert_eq!(
        school.replayed("algebra").await,
        ["kept"],
        "the record still has it"
    );
    school.archive.broken.store(false, Ordering::Release);
    eventually("the replay is whole", async || {
        school.archive.text().contains("kept")
    })
    .await;
    school.rooms.end(&id("algebra")).await.unwrap();
}

#[tokio::test]
async fn many_who_ask_are_answered_with_one_reading() {
    let school = School::with(Config {
        chunk_refresh_ms: 3_600_000,
        ..generous()
    })
    .await;
    let mut ana = school.join("algebra", "participant", "ana").await;
    let mut host = school.join("algebra", "host", "ho").await;
    let seq = ana.said("a1", "dreadful").await;
    assert_eq!(school.replayed("algebra").await, ["dreadful"]);
    ana.said("a2", "not yet").await;
    assert_eq!(school.replayed("algebra").await, ["dreadful"]);
    host.deleted("d1", seq).await;
    assert_eq!(
        school.replayed("algebra").await,
        ["not yet"],
        "a delete does not wait"
    );
}

#[tokio::test]
async fn the_routes_live_beside_the_segments_and_under_any_origin() {
    use axum::http::Request;
    use tower::ServiceExt;
    let school = School::open().await;
    let segments = axum::Router::new().route(
        "/broadcasts/{id}/{*path}",
        axum::routing::get(|| async { "a segment" }),
    );
    let router = segments.merge(school.rooms.router());
    let ask = async |method: &str, path: &str| {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("origin", "https://elsewhere.example")
            .header("access-control-request-method", "GET")
            .header("access-control-request-headers", "authorization")
            .body(axum::body::Body::empty());
        router.clone().oneshot(request.unwrap()).await.unwrap()
    };
    let index = ask("GET", "/broadcasts/algebra/chat/index.json").await;
    assert_eq!(index.headers()["content-type"], "application/json");
    assert_eq!(
        ask("GET", "/broadcasts/algebra/720p/1.m4s").await.headers()["content-type"],
        "text/plain; charset=utf-8"
    );
    let preflight = ask("OPTIONS", "/rooms/algebra/messages").await;
    assert_eq!(preflight.status(), StatusCode::OK);
    assert_eq!(
        preflight.headers()["access-control-allow-headers"],
        "authorization,content-type,last-event-id"
    );
}
