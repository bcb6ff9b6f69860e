//! The export of a room, for staff.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use axum::http::StatusCode;
use common::{School, at};
use serde_json::{Value, json};

const HOST: (&str, &str) = ("authorization", "Bearer host:Bo:algebra");

async fn export(school: &School, format: &str) -> String {
    let path = format!("/api/v1/broadcasts/algebra/room/export?format={format}");
    let answer = school.get_with(&path, &[HOST]).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(
        answer
            .header("content-disposition")
            .contains(&format!("algebra-room.{format}"))
    );
    assert_eq!(answer.header("cache-control"), "private, no-store");
    String::from_utf8(answer.body).unwrap()
}

#[tokio::test]
async fn all_that_was_said_in_every_form() {
    let school = School::open().await;
    let mut ana = school.join("algebra", "participant", "Ana").await;
    // More than fits into one page of the record; said from the end to the beginning.
    for n in 0..620 {
        let playing = school.playing("algebra", at(500_000 - n * 100));
        ana.said_at(&format!("m{n}"), &format!("text {n}"), playing).await;
    }
    let gone = ana.said("gone", "to be deleted").await;
    ana.deleted("d", gone).await;
    ana.send(json!({"type": "say", "ref": "p", "body": "for staff alone", "to": "staff"}))
        .await;
    ana.expect("ack").await;

    let lines: Vec<Value> = export(&school, "ndjson")
        .await
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let seqs: Vec<u64> = lines.iter().map(|line| line["seq"].as_u64().unwrap()).collect();
    assert!(
        seqs.is_sorted_by(|a, b| a < b),
        "in the order of the room, each once"
    );
    let bodies: Vec<&str> = lines.iter().filter_map(|line| line["body"].as_str()).collect();
    assert_eq!(bodies.len(), 621);
    assert_eq!((bodies[0], bodies[620]), ("text 0", "for staff alone"));

    let csv = export(&school, "csv").await;
    assert_eq!(csv.matches("\r\n").count(), 622);
    assert!(csv.contains("\"for staff alone\"") && csv.contains("\"staff\""));

    let txt = export(&school, "txt").await;
    let said: Vec<&str> = txt
        .lines()
        .map(|line| line.rsplit_once(": ").unwrap().1)
        .collect();
    let expected: Vec<String> = (0..620).rev().map(|n| format!("text {n}")).collect();
    assert_eq!(said, expected, "by position, only what everyone could read");

    let vtt = export(&school, "vtt").await;
    assert!(vtt.starts_with("WEBVTT\n\n"));
    assert_eq!(vtt.matches(" --> ").count(), 620);
    for text in [export(&school, "ndjson").await, csv, txt, vtt] {
        assert!(!text.contains("to be deleted"));
    }
}

#[tokio::test]
async fn only_staff_export() {
    let school = School::open().await;
    let status = async |path: &str, headers: &[(&str, &str)]| {
        let path = format!("/api/v1/broadcasts/{path}");
        school.get_with(&path, headers).await.status
    };
    let participant = ("authorization", "Bearer participant:Ana:algebra");
    assert_eq!(
        status("algebra/room/export?format=csv", &[participant]).await,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        status("algebra/room/export?format=csv", &[]).await,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        status("biology/room/export?format=csv", &[HOST]).await,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        status("algebra/room/export?format=exe", &[HOST]).await,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(
        status("algebra/room/export", &[HOST]).await,
        StatusCode::BAD_REQUEST
    );
}
