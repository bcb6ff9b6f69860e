//! What strangers send.

mod common;

use chat::{Config, Rate};
use common::*;
use futures::{SinkExt, StreamExt};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
async fn first_frame(school: &School, broadcast: &str, message: Message) -> (Option<String>, u16) {
    let mut client = school.connect(broadcast).await;
    client.send_raw(message).await;
    let code = client.closed().await;
    let refused = client
        .seen
        .first()
        .map(|frame| frame["code"].as_str().unwrap().to_owned());
    (refused, code)
}

fn join(token: &str) -> Message {
    Message::text(json!({"type": "join", "token": token}).to_string())
}

fn refused(code: &str, close: u16) -> (Option<String>, u16) {
    (Some(code.to_owned()), close)
}

#[tokio::test]
async fn who_may_not_enter_is_told_why() {
    let school = School::open().await;
    let enter = async |broadcast, message| first_frame(&school, broadcast, message).await;
    assert_eq!(
        enter("algebra", join("host:ho:biology")).await,
        refused("forbidden", 4003)
    );
    assert_eq!(
        enter("algebra", join("nonsense")).await,
        refused("unauthorized", 4001)
    );
    assert_eq!(
        enter("geology", join("host:ho:geology")).await,
        refused("not_found", 4004)
    );
    assert_eq!(
        enter("geology", Message::text(r#"{"type":"join"}"#)).await,
        refused("not_found", 4004)
    );
}

#[tokio::test]
async fn the_first_frame_has_to_be_a_join() {
    let school = School::with(Config {
        join_ms: 200,
        ..generous()
    })
    .await;
    let first = async |message| first_frame(&school, "algebra", message).await;
    let say = json!({"type": "say", "ref": "a", "body": "hi", "playing": null});
    assert_eq!(
        first(Message::text(say.to_string())).await,
        refused("malformed", 4000)
    );
    assert_eq!(first(Message::text("{")).await, refused("malformed", 4000));
    assert_eq!(
        first(Message::binary(vec![0, 1, 2])).await,
        refused("malformed", 4000)
    );
    assert_eq!(
        first(Message::Ping(Default::default())).await,
        (None, 4000),
        "nothing in time"
    );
}

#[tokio::test]
async fn what_is_no_frame_is_refused_and_harms_nothing() {
    let school = School::open().await;
    let mut ana = school.join("algebra", "participant", "ana").await;
    for bad in [
        "",
        "hello",
        "[1,2]",
        r#"{"type":"say"}"#,
        r#"{"type":"dance","ref":"x"}"#,
        r#"{"type":"join"}"#,
    ] {
        ana.send_raw(Message::text(bad)).await;
        assert_eq!(ana.refused().await, "malformed", "{bad}");
    }
    ana.send_raw(Message::text("[".repeat(16_000))).await;
    assert_eq!(ana.refused().await, "malformed");
    ana.send_raw(Message::binary(vec![0xFF; 100])).await;
    assert_eq!(ana.refused().await, "malformed");
    ana.send(json!({"type": "delete", "ref": "d", "seq": -1})).await;
    let answer = ana.expect("refused").await;
    assert_eq!(
        (&answer["code"], &answer["ref"]),
        (&json!("malformed"), &json!("d"))
    );
    ana.say("a1", &"x".repeat(1_001)).await;
    assert_eq!(ana.refused().await, "too_long");
    ana.say("a2", " \u{200B}\u{202E}\n").await;
    assert_eq!(ana.refused().await, "empty");
    assert_eq!(
        ana.said("a3", &"🙂".repeat(1_000)).await,
        1,
        "characters, not bytes"
    );
}

#[tokio::test]
async fn a_megabyte_closes_the_connection() {
    let school = School::open().await;
    let mut bo = school.join("algebra", "participant", "bo").await;
    let ana = school.join("algebra", "participant", "ana").await;
    let (mut send, mut receive) = ana.socket.split();
    let text = json!({"type": "say", "ref": "a", "body": "x".repeat(1 << 20), "playing": null}).to_string();
    // Sending may fail half-way: the server reads no more of it.
    let sending = tokio::spawn(async move { send.send(Message::text(text)).await });
    let code = loop {
        match receive.next().await {
            Some(Ok(Message::Close(frame))) => break frame.map(|frame| u16::from(frame.code)),
            Some(Ok(_)) => {}
            Some(Err(_)) | None => break None,
        }
    };
    assert_eq!(code, Some(4009));
    sending.abort();
    assert_eq!(bo.said("b1", "all is well").await, 1);
}

#[tokio::test]
async fn many_small_pieces_are_one_big_message() {
    let school = School::open().await;
    let mut ana = school.join("algebra", "participant", "ana").await;
    let piece = |first: bool| {
        let kind = if first { Data::Text } else { Data::Continue };
        Message::Frame(Frame::message(vec![b'x'; 4_096], OpCode::Data(kind), false))
    };
    for n in 0..4 {
        ana.send_raw(piece(n == 0)).await;
    }
    // The one too many: the server may close before all of it is sent.
    let _ = ana.socket.send(piece(false)).await;
    assert_eq!(ana.closed().await, 4009);
}

#[tokio::test]
async fn what_is_not_utf8_closes_the_connection() {
    let school = School::open().await;
    let mut ana = school.join("algebra", "participant", "ana").await;
    let mut bo = school.join("algebra", "participant", "bo").await;
    let text = b"{\"type\":\"say\",\"ref\":\"a\",\"body\":\"\xFF\xFE\"}".to_vec();
    ana.send_raw(Message::Frame(Frame::message(
        text,
        OpCode::Data(Data::Text),
        true,
    )))
    .await;
    assert_eq!(ana.closed().await, 4000);
    assert_eq!(bo.said("b1", "all is well").await, 1);
}

#[tokio::test]
async fn who_talks_too_much_is_slowed_and_a_flood_is_cut() {
    let hour = |messages| Rate {
        messages,
        per_ms: 3_600_000,
    };
    let school = School::with(Config {
        rate: hour(3),
        frame_rate: hour(10),
        ..generous()
    })
    .await;
    let mut ana = school.join("algebra", "participant", "ana").await;
    let mut host = school.join("algebra", "host", "ho").await;
    for n in 1..=3 {
        ana.said(&format!("a{n}"), "hm").await;
    }
    ana.say("a4", "hm").await;
    let answer = ana.expect("refused").await;
    assert_eq!((&answer["code"], &answer["ref"]), (&json!("rate"), &json!("a4")));
    assert!(answer["retry_after_ms"].as_u64().unwrap() > 0);
    for n in 1..=10 {
        host.said(&format!("h{n}"), "freer").await;
    }
    for _ in 0..7 {
        let _ = ana.socket.send(Message::text(r#"{"type":"ping"}"#)).await;
    }
    assert_eq!(ana.closed().await, 4010);
    assert_eq!(host.said("h11", "all is well").await, 14);
}

#[tokio::test]
async fn a_full_room_and_a_full_server() {
    let config = Config {
        max_connections_per_room: 1,
        max_connections: 2,
        ..generous()
    };
    let school = School::with(config).await;
    let ana = school.join("algebra", "participant", "ana").await;
    assert_eq!(
        first_frame(&school, "algebra", join("viewer:vi:algebra")).await,
        refused("full", 1013)
    );
    let _bo = school.join("biology", "participant", "bo").await;
    assert_eq!(school.try_connect("algebra").await.err(), Some(503));
    ana.leave().await;
    let mut again = loop {
        // The place is free once the server has seen the good-bye.
        if let Ok(client) = school.try_connect("algebra").await {
            break client;
        }
        tokio::task::yield_now().await;
    };
    again.send(json!({"type": "join"})).await;
    assert!(matches!(again.next().await, Ok(frame) if frame["type"] == "joined"));
}

#[tokio::test]
async fn a_slow_reader_is_told_of_the_gap() {
    // However long a disk takes to keep it all, the reader is not closed.
    let school = School::with(Config {
        write_ms: 600_000,
        ..generous()
    })
    .await;
    let mut slow = school.connect_narrow("algebra").await;
    slow.send(json!({"type": "join"})).await;
    slow.expect("joined").await;
    let mut hosts = Vec::new();
    for n in 0..6 {
        hosts.push(school.join("algebra", "host", &format!("ho{n}")).await);
    }
    let body = "🙂".repeat(1_000);
    // More than all buffers on the way hold.
    let said = 6_000;
    let mut heard = 0;
    for n in 0..said / hosts.len() as u64 {
        // Together, so that they share a commit.
        let reference = n.to_string();
        let talk = hosts.iter_mut().map(|host| async {
            host.said(&reference, &body).await;
            host.seen.clear();
        });
        futures::future::join_all(talk).await;
    }
    let (mut missing, mut gaps) = (0, 0);
    while heard < said {
        let frame = slow.next().await.unwrap();
        match frame["type"].as_str().unwrap() {
            "events" => {
                let seqs = seqs(&frame["events"]);
                assert_eq!(seqs[0], heard + 1);
                heard = *seqs.last().unwrap();
            }
            "gap" => {
                let (from, to) = (frame["from"].as_u64().unwrap(), frame["to"].as_u64().unwrap());
                assert_eq!(from, heard + 1);
                assert!(to >= from);
                (heard, missing, gaps) = (to, missing + to - from + 1, gaps + 1);
                let page = school
                    .get(&format!("/rooms/algebra/messages?from={from}&to={from}"))
                    .await
                    .json();
                assert_eq!(seqs(&page["events"]), [from]);
            }
            _ => {}
        }
    }
    assert!(gaps > 0 && missing > 0);
}

#[tokio::test]
async fn who_never_reads_is_closed() {
    let school = School::with(Config {
        write_ms: 300,
        ..generous()
    })
    .await;
    let mut slow = school.connect_narrow("algebra").await;
    slow.send(json!({"type": "join"})).await;
    slow.expect("joined").await;
    let mut host = school.join("algebra", "host", "ho").await;
    while host.expect("presence").await["count"] != 2 {}
    let body = "🙂".repeat(1_000);
    let mut n = 0;
    // Talks until the slow one is gone.
    loop {
        host.said(&n.to_string(), &body).await;
        n += 1;
        let left = host
            .seen
            .iter()
            .any(|frame| frame["type"] == "presence" && frame["count"] == 1);
        host.seen.clear();
        if left {
            break;
        }
    }
    // What was on its way is still read; then the reason, if it found its way.
    let code = slow.closed().await;
    assert!(code == 4008 || code == 1006, "{code}");
}
