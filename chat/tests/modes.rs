//! A room in its modes, over real sockets: what each sees of what is held, private, voted on, anonymous, erased.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use axum::http::{Method, StatusCode};
use common::*;
use serde_json::{Value, json};

/// The kinds of the events that a frame or an answer holds.
fn kinds(events: &Value) -> Vec<&str> {
    events
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["kind"].as_str().unwrap())
        .collect()
}

impl School {
    async fn set(&self, host: &mut Client, set: Value) {
        host.ask(json!({"type": "settings", "set": set})).await;
    }

    async fn state(&self, token: &str) -> Value {
        let bearer = format!("Bearer {token}");
        let answer = self
            .get_with("/api/v1/broadcasts/algebra/room", &[("authorization", &bearer)])
            .await;
        assert_eq!(answer.status, StatusCode::OK);
        answer.json()["state"].clone()
    }

    async fn act(&self, token: &str, action: Value) -> (StatusCode, Value) {
        let answer = self
            .request(
                Method::POST,
                "/api/v1/broadcasts/algebra/room/actions",
                token,
                &action.to_string(),
            )
            .await;
        (answer.status, answer.json())
    }
}

const HOST: &str = "host:prof:algebra";
const ANA: &str = "participant:ana:algebra";

#[tokio::test]
async fn what_waits_for_approval_is_nobody_elses_to_see() {
    let school = School::open().await;
    let mut host = school.join("algebra", "host", "prof").await;
    let mut ana = school.join("algebra", "participant", "ana").await;
    let mut bo = school.join("algebra", "participant", "bo").await;
    school.set(&mut host, json!({"messages": "moderated"})).await;
    let ack = ana.ask(json!({"type": "say", "body": "may I?"})).await;
    assert_eq!((&ack["seq"], &ack["held"]), (&json!(2), &json!("moderated")));
    let own = ana.events_until(2).await;
    assert_eq!(
        (&own[1]["body"], &own[1]["held"]),
        (&json!("may I?"), &json!("moderated"))
    );

    // Whoever joins meanwhile: neither in the history, nor in the state, nor by asking for the page.
    let mut cleo = school.connect("algebra").await;
    cleo.send(json!({"type": "join", "token": "participant:cleo:algebra"}))
        .await;
    let joined = cleo.expect("joined").await;
    assert_eq!(
        (kinds(&joined["events"]), &joined["from"], &joined["seq"]),
        (vec!["settings"], &json!(1), &json!(2))
    );
    assert!(joined["state"].get("staff").is_none() && !joined.to_string().contains("may I"));
    let page = school.get("/rooms/algebra/messages").await.json();
    assert_eq!(
        (kinds(&page["events"]), &page["from"], &page["to"]),
        (vec!["settings"], &json!(1), &json!(2))
    );
    assert_eq!(school.replayed("algebra").await, [] as [&str; 0]);
    assert_eq!(school.state(HOST).await["staff"]["held"][0]["body"], "may I?");

    assert_eq!(host.ask(json!({"type": "approve", "target": 2})).await["seq"], 3);
    let shown = bo.events_until(3).await;
    assert_eq!(bodies(&shown), ["may I?"]);
    assert_eq!(
        (&shown[1]["of"], &shown[1]["author"]["id"]),
        (&json!(2), &json!("ana"))
    );
    assert_eq!(school.replayed("algebra").await, ["may I?"]);
    assert_eq!(school.state(HOST).await["staff"]["held"], json!([]));
    // The frames covered everything: nobody was told of a gap.
    assert!(bo.seen.iter().all(|frame| frame["type"] != "gap"));
}

#[tokio::test]
async fn the_delay_covers_those_who_join_meanwhile() {
    let school = School::open().await;
    let mut host = school.join("algebra", "host", "prof").await;
    let mut ana = school.join("algebra", "participant", "ana").await;
    school.set(&mut host, json!({"delay_ms": 1500})).await;
    assert_eq!(
        ana.ask(json!({"type": "say", "body": "soon"})).await["held"],
        "delay"
    );
    assert_eq!(host.events_until(2).await[1]["body"], "soon");
    let mut bo = school.connect("algebra").await;
    bo.send(json!({"type": "join", "token": "participant:bo:algebra"}))
        .await;
    assert!(!bo.expect("joined").await.to_string().contains("soon"));
    let shown = bo.events_until(3).await;
    assert_eq!((bodies(&shown), &shown[0]["of"]), (vec!["soon"], &json!(2)));
    let age = shown[0]["sent"].as_i64().unwrap();
    assert!(now().unix_millis() - age >= 1_500);
}

#[tokio::test]
async fn private_words_reach_two_sides_and_no_replay() {
    let school = School::open().await;
    let mut host = school.join("algebra", "host", "prof").await;
    let mut ana = school.join("algebra", "participant", "ana").await;
    let mut bo = school.join("algebra", "participant", "bo").await;
    ana.ask(json!({"type": "say", "body": "I am lost", "to": "staff"}))
        .await;
    host.ask(json!({"type": "say", "body": "See me after", "to": "ana"}))
        .await;
    host.ask(json!({"type": "say", "body": "Welcome"})).await;
    assert_eq!(
        bodies(&ana.events_until(3).await),
        ["I am lost", "See me after", "Welcome"]
    );
    assert_eq!(
        bodies(&host.events_until(3).await),
        ["I am lost", "See me after", "Welcome"]
    );
    let frame = bo.expect("events").await;
    assert_eq!((&frame["from"], &frame["to"]), (&json!(1), &json!(3)));
    assert_eq!(bodies(frame["events"].as_array().unwrap()), ["Welcome"]);
    school.end("algebra").await;
    assert_eq!(school.replayed("algebra").await, ["Welcome"]);
    assert!(!school.archive.text().contains("lost"));
}

#[tokio::test]
async fn a_poll_from_its_opening_to_the_replay() {
    let school = School::open().await;
    let mut host = school.join("algebra", "host", "prof").await;
    let mut ana = school.join("algebra", "participant", "ana").await;
    let mut bo = school.join("algebra", "participant", "bo").await;
    let poll = json!({"type": "poll", "question": "Which?", "options": ["A", "B"], "right": [1], "results": "closed"});
    let target = host.ask(poll).await["seq"].clone();
    let shown = ana.events_until(1).await;
    assert_eq!(
        (&shown[0]["kind"], &shown[0]["quiz"], shown[0].get("right")),
        (&json!("poll"), &json!(true), None)
    );
    ana.ask(json!({"type": "vote", "target": target, "choices": [1]}))
        .await;
    bo.ask(json!({"type": "vote", "target": target, "choices": [0]}))
        .await;
    eventually("staff see the votes", async || {
        host.expect("tally").await["tallies"] == json!([{"target": target, "counts": [1, 1], "voters": 2}])
    })
    .await;
    assert_eq!(ana.expect("tally").await["tallies"][0]["counts"], Value::Null);
    assert_eq!(school.state(ANA).await["polls"][0]["voted"], json!([1]));
    host.ask(json!({"type": "close", "target": target})).await;
    let closed = ana.events_until(4).await;
    let close = closed.last().unwrap();
    assert_eq!((&close["counts"], &close["right"]), (&json!([1, 1]), &json!([1])));
    let (_, chunks) = school.replay("algebra").await;
    let events = chunks.last().unwrap()["events"].clone();
    assert_eq!(kinds(&events), ["poll", "tally", "close"]);
    assert!(!events.to_string().contains("ana"), "votes are secret");

    // A restart comes to the same.
    let school = school.restart().await;
    let state = school.state(ANA).await;
    assert_eq!(
        (&state["polls"][0]["counts"], &state["polls"][0]["voted"]),
        (&json!([1, 1]), &json!([1]))
    );
}

#[tokio::test]
async fn a_chunk_begins_with_how_the_room_stood() {
    let school = School::open().await;
    let mut host = school.join("algebra", "host", "prof").await;
    let mut ana = school.join("algebra", "participant", "ana").await;
    // On the line of ten minutes: asked at 0:10, which is another window than that of now.
    let early = school.playing("algebra", at(10_000));
    let question = json!({"type": "say", "body": "why?", "question": true, "playing": early});
    assert_eq!(ana.ask(question).await["seq"], 1);
    host.ask(json!({"type": "pin", "target": 1})).await;
    host.ask(json!({"type": "say", "body": "because"})).await;
    let (_, chunks) = school.replay("algebra").await;
    assert_eq!(chunks.len(), 2);
    assert_eq!(chunks[0]["state"]["questions"], json!([]));
    let state = &chunks[1]["state"];
    assert_eq!(
        (&state["questions"][0]["message"]["body"], &state["pinned"]),
        (&json!("why?"), &Value::Null)
    );
    let pin = &chunks[1]["events"][0];
    assert_eq!(
        (&pin["kind"], &pin["message"]["body"]),
        (&json!("pin"), &json!("why?"))
    );
    assert!(state.get("staff").is_none() && state["questions"][0].get("voted").is_none());

    host.ask(json!({"type": "delete", "seq": 1})).await;
    let (_, chunks) = school.replay("algebra").await;
    let all = json!(chunks).to_string();
    assert!(!all.contains("why?"), "{all}");
}

#[tokio::test]
async fn who_is_banned_leaves_and_stays_out() {
    let school = School::open().await;
    let mut ana = school.join("algebra", "participant", "ana").await;
    let mut bo = school.join("algebra", "participant", "bo").await;
    ana.ask(json!({"type": "say", "body": "rude"})).await;
    let (status, _) = school
        .act(
            ANA,
            json!({"type": "sanction", "ref": "x", "person": "bo", "what": "ban"}),
        )
        .await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let ban = json!({"type": "sanction", "ref": "b", "person": "ana", "what": "ban", "purge": true});
    assert_eq!(school.act(HOST, ban).await.0, StatusCode::OK);
    assert_eq!(ana.expect("refused").await["code"], "banned");
    assert_eq!(ana.closed().await, 4003);
    let mut again = school.connect("algebra").await;
    again.send(json!({"type": "join", "token": ANA})).await;
    assert_eq!(
        (again.refused().await.as_str(), again.closed().await),
        ("banned", 4003)
    );
    let told = bo.events_until(3).await;
    assert_eq!(
        kinds(&json!(told)),
        ["text", "delete"],
        "the ban itself is not told to others"
    );
    assert_eq!(school.replayed("algebra").await, [] as [&str; 0]);
    let lift = json!({"type": "sanction", "ref": "l", "person": "ana", "what": "lift"});
    assert_eq!(school.act(HOST, lift).await.0, StatusCode::OK);
    school.join("algebra", "participant", "ana").await;

    let audit = school
        .request(Method::GET, "/api/v1/broadcasts/algebra/room/audit", HOST, "")
        .await
        .json();
    let lines: Vec<_> = audit["audit"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["action"].as_str().unwrap())
        .collect();
    assert_eq!(lines, ["ban", "delete", "lift"]);
    assert_eq!(audit["audit"][1]["hash"].as_str().unwrap().len(), 64);
    assert!(!audit.to_string().contains("rude"));
    let theirs = school
        .request(Method::GET, "/api/v1/broadcasts/algebra/room/audit", ANA, "")
        .await;
    assert_eq!(theirs.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn an_erased_person_is_in_no_file() {
    let school = School::open().await;
    let mut host = school.join("algebra", "host", "prof").await;
    let mut ana = school.join("algebra", "participant", "anastasia").await;
    let early = school.playing("algebra", at(10_000));
    ana.ask(json!({"type": "say", "body": "my own words", "playing": early}))
        .await;
    ana.ask(json!({"type": "say", "body": "typo in it", "question": true}))
        .await;
    ana.ask(json!({"type": "edit", "seq": 2, "body": "no typo in it"}))
        .await;
    ana.ask(json!({"type": "hand", "raised": true})).await;
    host.ask(json!({"type": "note", "person": "anastasia", "body": "diligent"}))
        .await;
    host.ask(json!({"type": "say", "body": "staying"})).await;
    eventually("it is in the archive", async || {
        school.archive.text().contains("my own words")
    })
    .await;
    let path = "/api/v1/broadcasts/algebra/room/people/anastasia";
    assert_eq!(
        school.request(Method::DELETE, path, ANA, "").await.status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        school.request(Method::DELETE, path, HOST, "").await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        school.request(Method::DELETE, path, HOST, "").await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(school.replayed("algebra").await, ["staying"]);
    let gone = |text: &str| {
        let lower = text.to_lowercase();
        !lower.contains("anastasia")
            && !lower.contains("own words")
            && !lower.contains("typo")
            && !lower.contains("diligent")
    };
    eventually("it is not in the archive", async || gone(&school.archive.text())).await;
    let page = school
        .request(Method::GET, "/rooms/algebra/messages", HOST, "")
        .await
        .json();
    let page = page["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["kind"] != "erase");
    assert!(gone(&json!(page.collect::<Vec<_>>()).to_string()));
    ana.leave().await;
    let database = school.database();
    let school = school.restart().await;
    assert_eq!(school.replayed("algebra").await, ["staying"]);
    let erased = |bytes: &[u8]| !String::from_utf8_lossy(bytes).contains("own words");
    assert!(erased(&std::fs::read(&database).unwrap()));
}

#[tokio::test]
async fn nobody_learns_who_is_anonymous_unless_staff_may() {
    let school = School::open().await;
    let mut host = school.join("algebra", "host", "prof").await;
    let mut ana = school.join("algebra", "participant", "ana").await;
    let mut bo = school.join("algebra", "participant", "bo").await;
    let hidden = json!({"type": "say", "body": "a silly question?", "question": true, "anonymous": true});
    school.set(&mut host, json!({"anonymous": "staff"})).await;
    ana.ask(hidden.clone()).await;
    let shown = bo.events_until(2).await.remove(1);
    assert_eq!(
        (&shown["anonymous"], &shown["author"]["name"]),
        (&json!(true), &json!("Anonymous"))
    );
    assert!(!shown.to_string().contains("ana\"") && !shown.to_string().contains("ANA"));
    assert_eq!(host.events_until(2).await[1]["author"]["id"], "ana");
    school.set(&mut host, json!({"anonymous": "nobody"})).await;
    assert_ne!(
        school.state(HOST).await["questions"][0]["message"]["author"]["id"],
        "ana"
    );
    let (_, chunks) = school.replay("algebra").await;
    assert!(!json!(chunks).to_string().contains("\"ana\""));
    let page = school.get("/rooms/algebra/messages").await.json();
    assert!(!page.to_string().contains("\"ana\""));
}

#[tokio::test]
async fn everything_can_be_asked_over_rest_too() {
    let school = School::open().await;
    let say = json!({"type": "say", "ref": "r1", "body": "by REST"});
    let (status, ack) = school.act(ANA, say.clone()).await;
    assert_eq!(
        (status, &ack["type"], &ack["seq"]),
        (StatusCode::OK, &json!("ack"), &json!(1))
    );
    assert_eq!(school.act(ANA, say).await.1["seq"], 1, "sent again");
    let (status, problem) = school
        .act(ANA, json!({"type": "pin", "ref": "r2", "target": 1}))
        .await;
    assert_eq!(
        (status, &problem["code"]),
        (StatusCode::FORBIDDEN, &json!("forbidden"))
    );
    let (status, problem) = school.act(ANA, json!({"type": "fly", "ref": "r3"})).await;
    assert_eq!(
        (status, &problem["code"]),
        (StatusCode::BAD_REQUEST, &json!("malformed"))
    );
    let (status, ack) = school
        .act(ANA, json!({"type": "react", "ref": "r4", "emoji": "👍"}))
        .await;
    assert_eq!((status, &ack["seq"]), (StatusCode::OK, &Value::Null));
    assert_eq!(
        school.act("participant:ana:biology", json!({})).await.0,
        StatusCode::FORBIDDEN
    );
    let mut ana = school.join("algebra", "participant", "ana").await;
    let (status, roster) = school.act(HOST, json!({"type": "roster", "ref": "r5"})).await;
    assert_eq!(
        (status, &roster["people"][0]["person"]["id"]),
        (StatusCode::OK, &json!("ana"))
    );
    ana.send(json!({"type": "roster", "ref": "r6"})).await;
    assert_eq!(ana.refused().await, "forbidden");
}

#[tokio::test]
async fn one_person_in_two_tabs() {
    let school = School::open().await;
    let mut first = school.join("algebra", "participant", "ana").await;
    let mut second = school.join("algebra", "participant", "ana").await;
    assert_eq!(first.ask(json!({"type": "say", "body": "hi"})).await["seq"], 1);
    assert_eq!(bodies(&second.events_until(1).await), ["hi"]);
    second.ask(json!({"type": "hand", "raised": true})).await;
    assert_eq!(kinds(&json!(first.events_until(2).await)), ["text", "hand"]);
    let state = school.state(ANA).await;
    assert_eq!(state["hands"]["count"], 1);
    eventually("they count once", async || {
        first.expect("presence").await["count"] == 1
    })
    .await;
}

#[tokio::test]
async fn a_replay_without_names() {
    let school = School::open().await;
    let mut host = school.join("algebra", "host", "prof").await;
    let mut ana = school.join("algebra", "participant", "ana").await;
    ana.ask(json!({"type": "say", "body": "hello", "mentions": ["prof"]}))
        .await;
    host.ask(json!({"type": "say", "body": "welcome"})).await;
    eventually("it is in the archive", async || {
        school.end("algebra").await;
        school.archive.text().contains("hello")
    })
    .await;
    assert!(school.archive.text().contains("ANA"));
    school.set(&mut host, json!({"replay_names": "pseudonyms"})).await;
    eventually("the archive has pseudonyms", async || {
        let text = school.archive.text();
        text.contains("Student 1")
            && !text.contains("ANA")
            && !text.contains("\"ana\"")
            && text.contains("PROF")
    })
    .await;
    school.set(&mut host, json!({"replay_names": "none"})).await;
    eventually("the archive has no names", async || {
        !school.archive.text().contains("Student")
    })
    .await;
}

#[tokio::test]
async fn a_room_is_erased_when_it_was_kept_long_enough() {
    let school = School::open().await;
    let mut host = school.join("algebra", "host", "prof").await;
    host.ask(json!({"type": "say", "body": "for a week"})).await;
    school.set(&mut host, json!({"retention_days": 7})).await;
    school.end("algebra").await;
    assert_eq!(school.replayed("algebra").await, ["for a week"]);
    let after = |days: i64| now() + timeline::Span::from_millis(days * 86_400_000);
    school.rooms.erase_old(after(6)).await.unwrap();
    assert_eq!(school.replayed("algebra").await, ["for a week"]);
    school.rooms.erase_old(after(8)).await.unwrap();
    eventually("it is in no file", async || {
        !school.archive.text().contains("week")
    })
    .await;
    assert_eq!(school.replayed("algebra").await, [] as [&str; 0]);
    let school = school.restart().await;
    let page = school
        .request(Method::GET, "/rooms/algebra/messages", HOST, "")
        .await
        .json();
    assert_eq!(page["events"], json!([]));
}
