//! The room as subtitles: segments that follow what is said and what is taken back, on the server and in the archive.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::sync::atomic::Ordering;

use axum::http::StatusCode;
use chat::Config;
use common::*;
use timeline::{Archive, TextSegments};

const EMPTY: &str = "WEBVTT\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:0\n";

async fn segment(school: &School, msn: u64) -> String {
    let answer = school.get(&format!("/broadcasts/biology/chat/{msn}.vtt")).await;
    assert_eq!(answer.status, StatusCode::OK, "{msn}");
    String::from_utf8(answer.body).unwrap()
}

async fn archived(school: &School, msn: u64) -> Option<String> {
    let object = school
        .archive
        .get(&format!("biology/chat/{msn}.vtt"))
        .await
        .ok()?;
    assert_eq!(object.content_type, "text/vtt; charset=utf-8");
    Some(String::from_utf8(object.body.to_vec()).unwrap())
}

async fn keep(school: &School, msn: u64) {
    school.rooms.keep(&id("biology"), msn).await.unwrap();
}

/// Seconds of the picture, as a player gives them.
fn playing(school: &School, ms: i64) -> f64 {
    school.playing("biology", at(ms))
}

#[tokio::test]
async fn a_text_is_in_each_segment_that_it_reaches_into() {
    let school = School::open().await;
    let mut ana = school.join("biology", "participant", "ana").await;
    let seq = ana
        .said_at("a1", "Is x < y?\n\nAnd z?", playing(&school, 100_000))
        .await;
    // From 100 s to 108 s: segments 31 (99.2 s) to 33 (up to 108.8 s).
    let cue = format!("\n{seq}\n00:01:40.000 --> 00:01:48.000\n<v ANA>ANA: Is x &lt; y? And z?\n");
    for msn in 29..36 {
        let expected = match msn {
            31..=33 => format!("{EMPTY}{cue}"),
            _ => EMPTY.to_owned(),
        };
        assert_eq!(segment(&school, msn).await, expected, "{msn}");
    }
}

#[tokio::test]
async fn how_segments_are_served() {
    let school = School::open().await;
    let get = async |path: &str| school.get(&format!("/broadcasts/{path}")).await;
    let live = get("biology/chat/0.vtt").await;
    assert_eq!(live.header("content-type"), "text/vtt; charset=utf-8");
    assert_eq!(live.header("cache-control"), "public, max-age=3");
    assert_eq!(live.header("access-control-allow-origin"), "*");
    // The line is 600 s long; algebra offers none; a number is written in one way.
    for absent in [
        "biology/chat/250.vtt",
        "biology/chat/18446744073709551615.vtt",
        "biology/chat/00.vtt",
        "biology/chat/-1.vtt",
        "biology/chat/x.vtt",
        "algebra/chat/0.vtt",
        "nowhere/chat/0.vtt",
    ] {
        assert_eq!(get(absent).await.status, StatusCode::NOT_FOUND, "{absent}");
    }
    school.end("biology").await;
    let ended = get("biology/chat/0.vtt").await;
    assert_eq!(ended.header("cache-control"), "public, max-age=60");
}

#[tokio::test]
async fn what_is_deleted_is_gone_from_the_server_at_once_and_soon_from_the_archive() {
    let school = School::open().await;
    let mut ana = school.join("biology", "participant", "ana").await;
    let mut bo = school.join("biology", "moderator", "bo").await;
    let playing = playing(&school, 590_000);
    let wrong = ana.said_at("a1", "something foul", playing).await;
    ana.said_at("a2", "something fair", playing).await;
    for msn in 183..=187 {
        keep(&school, msn).await;
        assert_eq!(archived(&school, msn).await.unwrap(), segment(&school, msn).await);
    }
    assert!(segment(&school, 185).await.contains("foul"));
    bo.deleted("b1", wrong).await;
    for msn in 183..=187 {
        assert!(!segment(&school, msn).await.contains("foul"), "{msn}");
    }
    eventually("the archive has no trace of it", async || {
        for msn in 183..=187 {
            let text = archived(&school, msn).await.unwrap();
            if text.contains("foul") || (msn == 185 && !text.contains("fair")) {
                return false;
            }
        }
        true
    })
    .await;
}

#[tokio::test]
async fn what_comes_late_is_added_in_the_archive_once_the_edge_has_passed() {
    let school = School::with(Config {
        chunk_grace_ms: 1_000,
        ..generous()
    })
    .await;
    let mut ana = school.join("biology", "participant", "ana").await;
    for msn in 0..8 {
        keep(&school, msn).await;
        assert_eq!(archived(&school, msn).await.unwrap(), EMPTY);
    }
    ana.said_at("a1", "from behind", playing(&school, 10_000)).await;
    assert!(segment(&school, 3).await.contains("from behind"));
    eventually("it is in all of its segments", async || {
        let mut found = Vec::new();
        for msn in 0..8 {
            found.push(archived(&school, msn).await.unwrap().contains("from behind"));
        }
        found == [false, false, false, true, true, true, false, false]
    })
    .await;
    // Nothing is kept that was not asked for.
    assert_eq!(archived(&school, 8).await, None);
}

#[tokio::test]
async fn the_archive_alone_has_them_after_the_end() {
    let school = School::open().await;
    let mut ana = school.join("biology", "participant", "ana").await;
    let seq = ana.said("a1", "last words").await;
    for msn in 180..=187 {
        keep(&school, msn).await;
    }
    let text = ana.said("a2", "very last words").await;
    assert!(text > seq);
    school.end("biology").await;
    let known: Vec<String> = {
        let mut known = Vec::new();
        for msn in 180..=187 {
            known.push(archived(&school, msn).await.unwrap());
        }
        known
    };
    assert!(known.iter().any(|text| text.contains("very last words")));
    let school = school.restart().await;
    for (msn, text) in (180..).zip(&known) {
        assert_eq!(&segment(&school, msn).await, text);
    }
    let answer = school.get("/broadcasts/biology/chat/187.vtt").await;
    assert_eq!(answer.header("cache-control"), "public, max-age=60");
    // A delete after the end, by a server that has never made these.
    let mut bo = school.join("biology", "moderator", "bo").await;
    bo.deleted("b1", seq).await;
    eventually("the archive has no trace of it", async || {
        for msn in 180..=187 {
            if archived(&school, msn).await.unwrap().contains(": last words") {
                return false;
            }
        }
        true
    })
    .await;
}

#[tokio::test]
async fn a_delete_outlives_an_archive_that_is_away_and_a_restart() {
    let school = School::open().await;
    let mut ana = school.join("biology", "participant", "ana").await;
    let mut bo = school.join("biology", "moderator", "bo").await;
    let seq = ana
        .said_at("a1", "something foul", playing(&school, 20_000))
        .await;
    for msn in 0..12 {
        keep(&school, msn).await;
    }
    school.archive.broken.store(true, Ordering::Relaxed);
    bo.deleted("b1", seq).await;
    assert!(!segment(&school, 6).await.contains("foul"));
    drop((ana, bo));
    let school = school.restart().await;
    school.archive.broken.store(false, Ordering::Relaxed);
    // Live rooms are taken up when somebody comes.
    let _cy = school.join("biology", "participant", "cy").await;
    eventually("the archive has no trace of it", async || {
        for msn in 0..12 {
            if archived(&school, msn).await.unwrap().contains("foul") {
                return false;
            }
        }
        true
    })
    .await;
}

#[tokio::test]
async fn nothing_is_kept_where_nothing_is_offered() {
    let school = School::open().await;
    assert!(school.rooms.keep(&id("algebra"), 0).await.is_err());
    assert!(school.rooms.keep(&id("nowhere"), 0).await.is_err());
}
