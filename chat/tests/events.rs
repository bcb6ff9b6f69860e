//! The room without a WebSocket: server-sent events one way, requests the other; and connections of both kinds, cut at
//! any moment.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use chat::{Config, Rate};
use common::*;
use reqwest::StatusCode;
use serde_json::{Value, json};

/// A visit over server-sent events.
struct Events {
    response: reqwest::Response,
    rest: String,
    /// The id of the last event.
    id: String,
}

/// An event: its name, its id, its data.
#[derive(Debug)]
struct Event {
    name: String,
    id: Option<String>,
    data: Value,
}

fn http() -> reqwest::Client {
    // Its client wants to know how TLS would be done, though nothing here speaks it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

async fn ask(school: &School, token: Option<&str>, last: Option<&str>) -> reqwest::Response {
    let mut request = http().get(school.url("/rooms/algebra/events"));
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    request.send().await.unwrap()
}

async fn post(school: &School, token: &str, frame: Value) -> reqwest::Result<reqwest::Response> {
    let request = http().post(school.url("/rooms/algebra/messages"));
    let json = request.header("content-type", "application/json");
    json.bearer_auth(token).body(frame.to_string()).send().await
}

async fn json_of(response: reqwest::Response) -> Value {
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

fn say(reference: &str, body: &str) -> Value {
    json!({"type": "say", "ref": reference, "body": body, "playing": null})
}

fn token(name: &str) -> String {
    format!("participant:{name}:algebra")
}

impl Events {
    async fn open(school: &School, token: Option<&str>, last: Option<&str>) -> Events {
        let response = ask(school, token, last).await;
        assert_eq!(response.status(), StatusCode::OK);
        let (rest, id) = (String::new(), String::new());
        Events { response, rest, id }
    }

    /// The next event with data; `None` at the end, however it came.
    async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some((block, rest)) = self.rest.split_once("\n\n") {
                let event = read(block);
                self.rest = rest.to_owned();
                if let Some(event) = event {
                    self.id = event.id.clone().unwrap_or_else(|| self.id.clone());
                    return Some(event);
                }
            }
            let chunk = self.response.chunk().await.ok()??;
            self.rest.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    async fn expect(&mut self, kind: &str) -> Value {
        let found = async {
            loop {
                let event = self.next().await.unwrap_or_else(|| panic!("no {kind} came"));
                if event.data["type"] == kind {
                    return event.data;
                }
            }
        };
        tokio::time::timeout(PATIENCE, found).await.unwrap()
    }
}

/// HTML, 9.2.6, of what a room sends.
fn read(block: &str) -> Option<Event> {
    let field = |name: &str| {
        block
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name}: ")))
    };
    Some(Event {
        name: field("event").unwrap_or("message").to_owned(),
        id: field("id").map(str::to_owned),
        data: serde_json::from_str(field("data")?).unwrap(),
    })
}

#[tokio::test]
async fn the_room_goes_on_both_ways() {
    let school = School::open().await;
    let (ana, mut bo) = (token("ana"), school.join("algebra", "moderator", "bo").await);
    let response = ask(&school, Some(&ana), None).await;
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "text/event-stream");
    assert_eq!(header("cache-control"), "no-store, no-transform");
    assert_eq!(header("access-control-allow-origin"), "*");
    assert!(!response.headers().contains_key("content-encoding"));
    let (rest, id) = (String::new(), String::new());
    let mut events = Events { response, rest, id };
    let joined = events.expect("joined").await;
    assert_eq!(
        (&joined["you"]["id"], &joined["resumed"]),
        (&json!("ana"), &json!(false))
    );
    assert_eq!(events.expect("presence").await["count"], 2);

    let ack = json_of(post(&school, &ana, say("a1", "over a request")).await.unwrap()).await;
    assert_eq!((&ack["type"], &ack["ref"]), (&json!("ack"), &json!("a1")));
    let told = events.expect("events").await;
    assert_eq!(told["events"][0]["body"], "over a request");
    assert_eq!(told["events"][0]["seq"], ack["seq"]);
    assert_eq!(
        events.id,
        format!("{}:{}", joined["epoch"].as_str().unwrap(), ack["seq"])
    );
    assert_eq!(bo.expect("events").await["events"][0]["body"], "over a request");
    bo.said("b1", "over a socket").await;
    assert_eq!(
        events.expect("events").await["events"][0]["body"],
        "over a socket"
    );
    // The same again is the same.
    let again = json_of(post(&school, &ana, say("a1", "over a request")).await.unwrap()).await;
    assert_eq!(again["seq"], ack["seq"]);
}

#[tokio::test]
async fn a_reader_resumes_by_the_last_id() {
    let school = School::open().await;
    let ana = token("ana");
    let mut events = Events::open(&school, Some(&ana), None).await;
    let first = json_of(post(&school, &ana, say("a1", "one")).await.unwrap()).await;
    events.expect("events").await;
    let id = events.id.clone();
    drop(events);
    for (reference, body) in [("a2", "two"), ("a3", "three")] {
        post(&school, &ana, say(reference, body)).await.unwrap();
    }
    let mut events = Events::open(&school, Some(&ana), Some(&id)).await;
    let joined = events.expect("joined").await;
    assert_eq!(joined["resumed"], true);
    assert_eq!(
        joined["from"].as_u64().unwrap(),
        first["seq"].as_u64().unwrap() + 1
    );
    let bodies: Vec<_> = joined["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| &e["body"])
        .collect();
    assert_eq!(bodies, ["two", "three"]);
    // One of another life of the room starts afresh.
    let mut afresh = Events::open(&school, Some(&ana), Some("another:1")).await;
    assert_eq!(afresh.expect("joined").await["resumed"], false);
}

#[tokio::test]
async fn whoever_may_not_enter_is_told_by_the_status() {
    let school = School::open().await;
    for (token, last, status) in [
        (Some("bad"), None, StatusCode::UNAUTHORIZED),
        (Some("participant:ana:biology"), None, StatusCode::FORBIDDEN),
        (
            Some("participant:ana:algebra"),
            Some("nonsense"),
            StatusCode::BAD_REQUEST,
        ),
        (None, None, StatusCode::OK),
    ] {
        let response = ask(&school, token, last).await;
        assert_eq!(response.status(), status, "{token:?}");
        if status != StatusCode::OK {
            assert_eq!(response.headers()["content-type"], "application/problem+json");
        }
    }
    let nowhere = http()
        .get(school.url("/rooms/nowhere/events"))
        .send()
        .await
        .unwrap();
    assert_eq!(nowhere.status(), StatusCode::NOT_FOUND);
    // A watcher reads only.
    let refused = post(&school, "viewer:vi:algebra", say("v1", "hello"))
        .await
        .unwrap();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    assert_eq!(json_of(refused).await["code"], "forbidden");
    let long = post(&school, &token("ana"), say("a1", &"x".repeat(20_000)))
        .await
        .unwrap();
    assert_eq!(long.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn what_is_refused_says_why_and_how_long() {
    let school = School::with(Config {
        rate: Rate {
            messages: 1,
            per_ms: 60_000,
        },
        ..generous()
    })
    .await;
    let ana = token("ana");
    post(&school, &ana, say("a1", "one")).await.unwrap();
    let refused = post(&school, &ana, say("a2", "two")).await.unwrap();
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.headers().contains_key("retry-after"));
    let problem = json_of(refused).await;
    assert_eq!(problem["code"], "rate");
    assert!(problem["retry_after_ms"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn requests_are_counted_as_frames_are() {
    let school = School::with(Config {
        frame_rate: Rate {
            messages: 3,
            per_ms: 60_000,
        },
        ..generous()
    })
    .await;
    let statuses = async |token: &str| {
        let mut statuses = Vec::new();
        for n in 0..5 {
            let answer = post(&school, token, say(&format!("r{n}"), &format!("word {n}"))).await;
            statuses.push(answer.unwrap().status().as_u16());
        }
        statuses
    };
    assert_eq!(statuses(&token("ana")).await, [200, 200, 200, 429, 429]);
    assert_eq!(statuses(&token("bo")).await, [200, 200, 200, 429, 429]);
    assert_eq!(statuses("moderator:cy:algebra").await, [200; 5]);
}

#[tokio::test]
async fn a_room_that_is_full_says_when_to_come_back() {
    let school = School::with(Config {
        max_connections_per_room: 1,
        ..generous()
    })
    .await;
    let _first = Events::open(&school, Some(&token("ana")), None).await;
    let full = ask(&school, Some(&token("bo")), None).await;
    assert_eq!(full.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(full.headers().contains_key("retry-after"));
    assert_eq!(json_of(full).await["code"], "full");
    let school = School::with(Config {
        max_connections: 1,
        ..generous()
    })
    .await;
    let first = Events::open(&school, Some(&token("ana")), None).await;
    assert_eq!(
        ask(&school, Some(&token("bo")), None).await.status(),
        StatusCode::SERVICE_UNAVAILABLE
    );
    // A reader who leaves makes room.
    drop(first);
    eventually("there is room", async || {
        ask(&school, Some(&token("bo")), None).await.status() == StatusCode::OK
    })
    .await;
}

#[tokio::test]
async fn the_end_of_a_visit_says_why() {
    let school = School::open().await;
    let soon = now().unix_millis() + 300;
    let mut short = Events::open(&school, Some(&format!("participant:ana:algebra:{soon}")), None).await;
    let mut long = Events::open(&school, Some(&token("bo")), None).await;
    let close = async |events: &mut Events| {
        loop {
            let event = events.next().await.expect("it ends with a word");
            if event.name == "close" {
                return event.data;
            }
        }
    };
    assert_eq!(close(&mut short).await["code"], 4001);
    assert!(short.next().await.is_none());
    let (closed, ()) = tokio::join!(close(&mut long), school.rooms.shutdown());
    assert_eq!(closed["code"], 1001);
    assert_eq!(
        ask(&school, None, None).await.status(),
        StatusCode::SERVICE_UNAVAILABLE
    );
}

#[tokio::test]
async fn a_quiet_room_is_heard_to_be_alive() {
    let school = School::with(Config {
        ping_ms: 20,
        silence_ms: 60,
        ..generous()
    })
    .await;
    let mut events = Events::open(&school, None, None).await;
    let mut beats = 0;
    while beats < 10 {
        let chunk = events.response.chunk().await.unwrap().unwrap();
        beats += std::str::from_utf8(&chunk).unwrap().matches("\n:\n").count();
        beats += usize::from(chunk.starts_with(b":\n"));
    }
}

/// Somebody whose connection is cut again and again, and what they have of the room.
struct Unlucky {
    epoch: Option<String>,
    last: u64,
    seen: BTreeMap<u64, String>,
}

impl Unlucky {
    fn take(&mut self, frame: &Value) {
        match frame["type"].as_str() {
            Some("joined") => {
                let epoch = frame["epoch"].as_str().unwrap().to_owned();
                // Never afresh once they are in: nothing is missing.
                assert_eq!(frame["resumed"], self.epoch.is_some());
                self.epoch = Some(epoch);
                self.cover(frame, "seq");
            }
            Some("events") => self.cover(frame, "to"),
            Some("gap") => panic!("{frame}"),
            _ => {}
        }
    }

    fn cover(&mut self, frame: &Value, to: &str) {
        let from = frame["from"].as_u64().unwrap();
        assert!(from <= self.last + 1, "{frame} leaves a hole after {}", self.last);
        for event in frame["events"].as_array().unwrap() {
            let seq = event["seq"].as_u64().unwrap();
            if seq > self.last
                && let Some(body) = event["body"].as_str()
            {
                assert!(
                    self.seen.insert(seq, body.to_owned()).is_none(),
                    "{seq} came twice"
                );
            }
        }
        self.last = self.last.max(frame[to].as_u64().unwrap());
    }

    fn id(&self) -> Option<String> {
        Some(format!("{}:{}", self.epoch.as_ref()?, self.last))
    }

    /// Reads for a while, on one kind of connection or the other, and is cut wherever it is.
    async fn read(&mut self, school: &School, over_a_socket: bool, cut: Duration) {
        let reading = async {
            if over_a_socket {
                let mut client = school.connect("algebra").await;
                let resume = self
                    .epoch
                    .as_ref()
                    .map(|epoch| json!({"epoch": epoch, "seq": self.last}));
                client
                    .send(json!({"type": "join", "token": token("reader"), "resume": resume}))
                    .await;
                while let Ok(frame) = client.next().await {
                    self.take(&frame);
                }
            } else {
                let id = self.id();
                let mut events = Events::open(school, Some(&token("reader")), id.as_deref()).await;
                while let Some(event) = events.next().await {
                    self.take(&event.data);
                }
            }
        };
        let _ = tokio::time::timeout(cut, reading).await;
    }
}

/// Says many things; each is sent again under its name until somebody says that it is kept.
async fn writes(school: &School, name: &str, over_sockets: bool) -> BTreeMap<u64, String> {
    let mut said = BTreeMap::new();
    for n in 0..MESSAGES {
        let (reference, body) = (format!("{name}-{n}"), format!("{name} {n}"));
        let mut attempts = 0;
        let seq = loop {
            attempts += 1;
            // Longer each time, so that a slow machine gets there.
            let cut = Duration::from_micros(rand::random_range(0..6_000 * attempts));
            let asking = async {
                if over_sockets {
                    let mut client = school.join("algebra", "participant", name).await;
                    Some(client.said(&reference, &body).await)
                } else {
                    let answer = post(school, &token(name), say(&reference, &body)).await.ok()?;
                    json_of(answer).await["seq"].as_u64()
                }
            };
            if let Ok(Some(seq)) = tokio::time::timeout(cut, asking).await {
                break seq;
            }
        };
        assert!(said.insert(seq, body).is_none(), "two messages have one place");
    }
    said
}

const MESSAGES: usize = 60;
const CUTS: usize = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_however_connections_are_cut() {
    let school = School::open().await;
    let mut reader = Unlucky {
        epoch: None,
        last: 0,
        seen: BTreeMap::new(),
    };
    let reading = async {
        for cut in 0..CUTS {
            let at = Duration::from_micros(rand::random_range(0..15_000));
            reader.read(&school, cut % 2 == 0, at).await;
        }
    };
    let (by_request, by_socket, ()) = tokio::join!(
        writes(&school, "ana", false),
        writes(&school, "bo", true),
        reading
    );
    let mut said = by_request;
    said.extend(by_socket);
    assert_eq!(said.len(), 2 * MESSAGES);
    // The last visit is long enough to see all.
    while reader.seen.len() < said.len() {
        reader.read(&school, false, Duration::from_millis(500)).await;
    }
    assert_eq!(reader.seen, said);
}
