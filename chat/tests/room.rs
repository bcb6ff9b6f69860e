//! People in a room: they enter, talk, leave, come back.

mod common;

use axum::http::StatusCode;
use chat::Config;
use common::*;
use serde_json::{Value, json};
use timeline::Line;

#[tokio::test]
async fn everyone_hears_what_is_said_in_one_order() {
    let school = School::open().await;
    let mut ana = school.join("algebra", "participant", "ana").await;
    let mut bo = school.join("algebra", "participant", "bo").await;
    assert_eq!(ana.said("a1", "Is x_1 < x_2?").await, 1);
    assert_eq!(bo.said("b1", "e\u{301}quation\u{202E}").await, 2);
    let heard = ana.events_until(2).await;
    assert_eq!(heard, bo.events_until(2).await);
    assert_eq!(bodies(&heard), ["Is x_1 < x_2?", "équation"]);
    assert_eq!(
        heard[0]["author"],
        json!({"id": "ana", "name": "ANA", "role": "participant"})
    );

    let mut cleo = school.connect("algebra").await;
    cleo.send(json!({"type": "join"})).await;
    let joined = cleo.expect("joined").await;
    assert_eq!(joined["events"], json!(heard));
    assert_eq!(joined["you"]["role"], "viewer");
    assert_eq!((&joined["seq"], &joined["resumed"]), (&json!(2), &json!(false)));
    assert_eq!(joined["limits"]["body"], 1000);
    assert_eq!(joined["line"]["state"], "live");
    assert_eq!(
        joined["line"]["origin"],
        school.timeline("algebra").origin().unix_millis()
    );
}

#[tokio::test]
async fn a_message_stands_where_its_writer_was_looking() {
    let school = School::open().await;
    let mut ana = school.join("algebra", "participant", "ana").await;
    let moment = timeline::MediaTime::from_ticks(12_345_000);
    let seq = ana
        .said_at("a1", "there!", school.playing("algebra", moment))
        .await;
    ana.said_at("a2", "from the future", 4e12).await;
    ana.said_at("a3", "from before", -4e300).await;
    let events = ana.events_until(seq + 2).await;
    let stands = |n: usize| events[n]["at"].as_i64().unwrap();
    assert!((stands(0) - moment.ticks()).abs() <= 1);
    assert!(stands(1) >= 600 * 90_000 && stands(1) <= school.timeline("algebra").at(now()).ticks());
    assert_eq!(stands(2), 0);
}

#[tokio::test]
async fn who_comes_back_misses_nothing() {
    let config = Config {
        recent: 4,
        history: 2,
        ..generous()
    };
    let school = School::with(config).await;
    let mut ana = school.join("algebra", "participant", "ana").await;
    let mut bo = school.connect("algebra").await;
    bo.send(json!({"type": "join"})).await;
    let epoch = bo.expect("joined").await["epoch"].clone();
    bo.leave().await;
    for n in 1..=10 {
        ana.said(&format!("a{n}"), &format!("text {n}")).await;
    }
    ana.deleted("d", 9).await;
    let resume = async |school: &School, epoch: &Value, seq: u64| {
        let mut bo = school.connect("algebra").await;
        bo.send(json!({"type": "join", "resume": {"epoch": epoch, "seq": seq}}))
            .await;
        let joined = bo.expect("joined").await;
        assert_eq!(joined["seq"], 11);
        (
            joined["resumed"].as_bool().unwrap(),
            seqs(&joined["events"]),
            joined,
        )
    };
    let (resumed, events, _) = resume(&school, &epoch, 8).await;
    assert_eq!((resumed, events), (true, vec![9, 10, 11]), "from memory");
    let (resumed, events, joined) = resume(&school, &epoch, 3).await;
    assert_eq!((resumed, events), (true, (4..=11).collect()), "from the record");
    assert_eq!(joined["events"][5]["deleted"], true);
    assert_eq!(joined["events"][5]["body"], Value::Null);
    let (resumed, events, _) = resume(&school, &json!("another"), 3).await;
    assert_eq!((resumed, events), (false, vec![10, 11]));

    let school = school.restart().await;
    let (resumed, events, joined) = resume(&school, &epoch, 3).await;
    assert_eq!(
        (resumed, events),
        (true, (4..=11).collect()),
        "after a restart of the server"
    );
    assert_eq!(joined["epoch"], epoch);
    let mut ana = school.join("algebra", "participant", "ana").await;
    assert_eq!(
        ana.said("a10", "text 10").await,
        10,
        "a resend, known from the record"
    );
    assert_eq!(ana.said("a11", "text 11").await, 12, "the numbers go on");
}

#[tokio::test]
async fn what_was_acknowledged_is_in_the_record() {
    let school = School::open().await;
    let mut ana = school.join("algebra", "participant", "ana").await;
    for n in 1..=20 {
        let seq = ana.said(&format!("a{n}"), "kept").await;
        let page = school
            .get(&format!("/rooms/algebra/messages?from={seq}&to={seq}"))
            .await
            .json();
        assert_eq!(page["events"][0]["body"], "kept");
    }
}

#[tokio::test]
async fn each_role_may_do_its_part() {
    let school = School::open().await;
    let mut ana = school.join("algebra", "participant", "ana").await;
    let mut bo = school.join("algebra", "participant", "bo").await;
    let mut viewer = school.join("algebra", "viewer", "vi").await;
    let mut moderator = school.join("algebra", "moderator", "mo").await;
    let mut host = school.join("algebra", "host", "ho").await;
    for n in 1..=3 {
        ana.said(&format!("a{n}"), "hm").await;
    }
    viewer.say("v1", "me too").await;
    assert_eq!(viewer.refused().await, "forbidden");
    viewer
        .send(json!({"type": "delete", "ref": "v2", "seq": 1}))
        .await;
    assert_eq!(viewer.refused().await, "forbidden");
    bo.send(json!({"type": "delete", "ref": "b1", "seq": 1})).await;
    assert_eq!(bo.refused().await, "forbidden");
    ana.deleted("d1", 1).await;
    moderator.deleted("d2", 2).await;
    host.deleted("d3", 3).await;
    host.send(json!({"type": "delete", "ref": "d4", "seq": 99})).await;
    assert_eq!(host.refused().await, "not_found");
    let events = bo.events_until(6).await;
    let targets: Vec<_> = events
        .iter()
        .filter_map(|event| event["target"].as_u64())
        .collect();
    assert_eq!(targets, [1, 2, 3]);
}

#[tokio::test]
async fn a_delete_of_long_ago_is_found_in_the_record() {
    let school = School::with(Config {
        recent: 2,
        history: 1,
        ..generous()
    })
    .await;
    let mut ana = school.join("algebra", "participant", "ana").await;
    for n in 1..=6 {
        ana.said(&format!("a{n}"), &format!("text {n}")).await;
    }
    ana.deleted("d1", 1).await;
    ana.send(json!({"type": "delete", "ref": "d2", "seq": 1})).await;
    assert_eq!(ana.refused().await, "not_found");
    assert_eq!(school.replayed("algebra").await.len(), 5);
}

#[tokio::test]
async fn rooms_know_nothing_of_each_other() {
    let school = School::open().await;
    let mut ana = school.join("algebra", "participant", "ana").await;
    let mut bo = school.join("biology", "participant", "bo").await;
    ana.said("a1", "a group").await;
    ana.said("a2", "a ring").await;
    assert_eq!(bo.said("b1", "a cell").await, 1);
    assert_eq!(bodies(&bo.events_until(1).await), ["a cell"]);
    bo.send(json!({"type": "delete", "ref": "b2", "seq": 2})).await;
    assert_eq!(bo.refused().await, "not_found");
    assert_eq!(school.replayed("algebra").await, ["a group", "a ring"]);
    assert_eq!(school.replayed("biology").await, ["a cell"]);
    let epochs = [school.replay("algebra").await.0, school.replay("biology").await.0];
    assert_ne!(epochs[0]["epoch"], epochs[1]["epoch"]);
}

#[tokio::test]
async fn the_line_moves_for_everyone() {
    let school = School::open().await;
    school.gate.set("chemistry", Line::Waiting);
    let mut ana = school.join("chemistry", "participant", "ana").await;
    ana.said_at("a1", "hello?", 1.76e12).await;
    assert_eq!(ana.events_until(1).await[0]["at"], 0, "before the origin");
    let timeline = timeline::Timeline::starting(now());
    school.gate.set("chemistry", Line::Live { timeline });
    let line = ana.expect("line").await;
    assert_eq!(
        line,
        json!({"type": "line", "state": "live", "origin": timeline.origin().unix_millis(), "duration": null})
    );
    school.end("chemistry").await;
    assert_eq!(ana.expect("line").await["state"], "ended");
    ana.say("a2", "too late").await;
    assert_eq!(ana.refused().await, "ended");
}

#[tokio::test]
async fn a_room_counts_who_is_there() {
    let school = School::open().await;
    let mut ana = school.join("algebra", "participant", "ana").await;
    let bo = school.join("algebra", "viewer", "bo").await;
    while ana.expect("presence").await["count"] != 2 {}
    bo.leave().await;
    while ana.expect("presence").await["count"] != 1 {}
}

#[tokio::test]
async fn who_says_nothing_at_all_is_gone() {
    let config = Config {
        ping_ms: 200,
        silence_ms: 4_000,
        ..generous()
    };
    let school = School::with(config).await;
    let mut ana = school.join("algebra", "participant", "ana").await;
    // Never reads, so never answers a ping.
    let _dead = school.join("algebra", "viewer", "bo").await;
    while ana.expect("presence").await["count"] != 2 {}
    while ana.expect("presence").await["count"] != 1 {}
}

#[tokio::test]
async fn a_ping_tells_the_time() {
    let school = School::open().await;
    let mut ana = school.join("algebra", "participant", "ana").await;
    let before = now().unix_millis();
    ana.send(json!({"type": "ping", "ref": "p"})).await;
    let pong = ana.expect("pong").await;
    assert_eq!(pong["ref"], "p");
    assert!((before..=now().unix_millis()).contains(&pong["now"].as_i64().unwrap()));
}

#[tokio::test]
async fn pages_of_the_record_over_http() {
    let school = School::open().await;
    let mut ana = school.join("algebra", "participant", "ana").await;
    for n in 1..=5 {
        ana.said(&format!("a{n}"), "hm").await;
    }
    let get = async |query: &str, headers: &[(&str, &str)]| {
        school.get_with(&format!("/rooms/{query}"), headers).await
    };
    let page = get("algebra/messages?from=2&to=4", &[]).await;
    assert_eq!(seqs(&page.json()["events"]), [2, 3, 4]);
    assert_eq!(page.header("cache-control"), "private, no-store");
    assert_eq!(
        seqs(&get("algebra/messages", &[]).await.json()["events"]),
        [1, 2, 3, 4, 5]
    );
    assert_eq!(
        seqs(&get("algebra/messages?from=9&to=4", &[]).await.json()["events"]),
        [] as [u64; 0]
    );
    let status = async |query, headers: &[(&str, &str)]| get(query, headers).await.status;
    assert_eq!(
        status("algebra/messages?from=x", &[]).await,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(
        status("algebra/messages?from=-1", &[]).await,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(
        status("algebra/messages?since=1", &[]).await,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(status("geology/messages", &[]).await, StatusCode::NOT_FOUND);
    assert_eq!(status("NOT%20AN%20ID/messages", &[]).await, StatusCode::NOT_FOUND);
    let bearer = |token| [("authorization", token)];
    assert_eq!(
        status("algebra/messages", &bearer("Bearer participant:ana:algebra")).await,
        StatusCode::OK
    );
    assert_eq!(
        status("algebra/messages", &bearer("Bearer participant:ana:biology")).await,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        status("algebra/messages", &bearer("Bearer nonsense")).await,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        status("algebra/messages", &bearer("Basic x")).await,
        StatusCode::UNAUTHORIZED
    );
    let refused = get("algebra/messages?from=x", &[]).await;
    assert_eq!(refused.header("content-type"), "application/problem+json");
    assert_eq!(refused.json()["status"], 400);
    assert_eq!(status("algebra", &[]).await, StatusCode::UPGRADE_REQUIRED);
}

#[tokio::test]
async fn a_stop_closes_every_connection_and_loses_nothing() {
    let school = School::open().await;
    let mut ana = school.join("algebra", "participant", "ana").await;
    let mut silent = school.connect("biology").await;
    ana.said("a1", "kept").await;
    let stopped = school.restart();
    let (school, code, silent_code) = tokio::join!(stopped, ana.closed(), silent.closed());
    assert_eq!((code, silent_code), (1001, 1001));
    assert_eq!(school.replayed("algebra").await, ["kept"]);
}

#[tokio::test]
async fn a_room_leaves_the_memory_and_is_taken_up_again() {
    let config = Config {
        idle_ms: 20,
        ..generous()
    };
    let school = School::with(config).await;
    school.gate.set("chemistry", Line::Waiting);
    for n in 1..=10 {
        let mut ana = school.join("chemistry", "participant", "ana").await;
        assert_eq!(ana.said(&format!("a{n}"), "hm").await, n);
        ana.leave().await;
        // Just before it is idle, just then, or just after.
        tokio::time::sleep(std::time::Duration::from_millis(10 + 5 * n)).await;
        assert_eq!(school.replayed("chemistry").await.len() as u64, n);
    }
}

#[tokio::test]
async fn what_could_not_be_stored_is_refused_and_leaves_no_hole() {
    let school = School::open().await;
    let mut ana = school.join("algebra", "participant", "ana").await;
    ana.said("a1", "before").await;
    // Another writer holds the file for longer than ours waits for it.
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(school.database());
    let mut other = sqlx::sqlite::SqlitePool::connect_with(options)
        .await
        .unwrap()
        .acquire()
        .await
        .unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *other).await.unwrap();
    ana.say("a2", "lost").await;
    assert_eq!(ana.refused().await, "unavailable");
    sqlx::query("ROLLBACK").execute(&mut *other).await.unwrap();
    assert_eq!(ana.said("a2", "sent again").await, 2);
    assert_eq!(bodies(&ana.events_until(2).await), ["before", "sent again"]);
    assert_eq!(school.replayed("algebra").await, ["before", "sent again"]);
}

#[tokio::test]
async fn who_stays_longer_than_their_token_has_to_leave() {
    let school = School::open().await;
    let expires = now().unix_millis() + 1_500;
    let token = format!("participant:ana:algebra:{expires}");
    let mut ana = school.connect("algebra").await;
    ana.send(json!({"type": "join", "token": token})).await;
    ana.expect("joined").await;
    let mut bo = school.join("algebra", "participant", "bo").await;
    assert_eq!(ana.closed().await, 4001);
    assert!(now().unix_millis() >= expires);
    assert_eq!(ana.refused().await, "unauthorized");
    bo.said("b1", "who has time stays").await;
    let mut late = school.connect("algebra").await;
    late.send(json!({"type": "join", "token": token})).await;
    assert_eq!(late.closed().await, 4001);
}
