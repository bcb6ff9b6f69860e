//! Three nodes serve the same rooms: over a real Redis, whose network is cut, and a real PostgreSQL. A node dies as by
//! `kill -9`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
#[path = "common/postgres.rs"]
mod postgres;
#[path = "common/redis.rs"]
mod redis_server;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use common::{Lines, PATIENCE, School, Shelf, bodies, eventually, generous};
use futures::{SinkExt, StreamExt};
use postgres::Postgres;
use redis_server::{Redis, Relay};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// Some servers of the same rooms.
struct Nodes {
    redis: Redis,
    nodes: Vec<Node>,
    gate: Arc<Lines>,
    _postgres: Postgres,
}

struct Node {
    /// All that the node does; with it, the node is gone in the middle of everything.
    runtime: Option<Runtime>,
    school: Arc<School>,
    /// Between it and Redis.
    relay: Relay,
}

impl Nodes {
    async fn open(count: usize) -> Nodes {
        let (redis, postgres) = (Redis::start(), Postgres::start().await);
        let (gate, archive) = (Lines::two(), Arc::new(Shelf::default()));
        let mut nodes = Vec::new();
        for _ in 0..count {
            let relay = Relay::to(redis.address()).await;
            let folder = tempfile::tempdir().unwrap();
            let stores = chat::Common {
                database: postgres.url(),
                redis: relay.url(),
                folder: folder.path().to_owned(),
            };
            let runtime = Runtime::new().unwrap();
            let (gate, archive) = (gate.clone(), archive.clone());
            let starting = async move { School::node(generous(), gate, archive, folder, &stores).await };
            let school = Arc::new(runtime.spawn(starting).await.unwrap());
            nodes.push(Node {
                runtime: Some(runtime),
                school,
                relay,
            });
        }
        Nodes {
            redis,
            nodes,
            gate,
            _postgres: postgres,
        }
    }

    fn at(&self, node: usize) -> &School {
        &self.nodes[node].school
    }

    fn addresses(&self) -> Arc<[SocketAddr]> {
        self.nodes.iter().map(|node| node.school.address()).collect()
    }

    /// As `kill -9` does.
    fn kill(&mut self, node: usize) {
        self.nodes[node].runtime.take().unwrap().shutdown_background();
    }

    /// Does something as the server does.
    async fn run<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        node: usize,
        what: impl FnOnce(Arc<School>) -> F,
    ) -> T {
        let node = &self.nodes[node];
        let running = node.runtime.as_ref().unwrap().spawn(what(node.school.clone()));
        running.await.unwrap()
    }

    /// Everything that was said, from the record.
    async fn said(&self, node: usize) -> Vec<Value> {
        self.run(node, |school| async move {
            let mut events = Vec::new();
            loop {
                let from = events
                    .last()
                    .map_or(1, |event: &Value| event["seq"].as_u64().unwrap() + 1);
                let page = school
                    .get(&format!("/rooms/algebra/messages?from={from}"))
                    .await
                    .json();
                let page = page["events"].as_array().unwrap().clone();
                if page.is_empty() {
                    return events;
                }
                events.extend(page);
            }
        })
        .await
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            if let Some(runtime) = node.runtime.take() {
                runtime.shutdown_background();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_at_one_node_is_heard_at_all() {
    let nodes = Nodes::open(3).await;
    let mut host = nodes.at(0).join("algebra", "host", "host").await;
    let mut ana = nodes.at(1).join("algebra", "participant", "ana").await;
    let mut bo = nodes.at(2).join("algebra", "participant", "bo").await;

    assert_eq!(ana.said("a1", "hello").await, 1);
    assert_eq!(bo.said("b1", "hi").await, 2);
    assert_eq!(ana.said("a1", "hello").await, 1, "the same again");
    for client in [&mut host, &mut ana, &mut bo] {
        assert_eq!(bodies(&client.events_until(2).await), ["hello", "hi"]);
    }
    // Who came over another node sends it again.
    let mut again = nodes.at(2).join("algebra", "participant", "ana").await;
    assert_eq!(again.said("a1", "hello").await, 1);

    // How the room stands is the same everywhere.
    let poll = json!({"type": "poll", "question": "which?", "options": ["a", "b"], "results": "live"});
    let poll = host.ask(poll).await["seq"].as_u64().unwrap();
    bo.events_until(poll).await;
    bo.ask(json!({"type": "vote", "target": poll, "choices": [1]}))
        .await;
    let tally = ana.expect("tally").await;
    assert_eq!(tally["tallies"][0]["counts"], json!([0, 1]));
    assert_eq!(host.deleted("h1", 2).await, poll + 2);
    assert_eq!(ana.events_until(poll + 2).await.last().unwrap()["target"], 2);
    eventually("everyone is counted", async || {
        let presence = bo.expect("presence").await;
        presence["count"].as_u64().unwrap() >= 3
    })
    .await;

    // The replay is one, too.
    for node in 0..3 {
        eventually("the deletion has come here", async || {
            let replayed = nodes.run(node, |school| async move { school.replayed("algebra").await });
            replayed.await == ["hello"]
        })
        .await;
    }
    let timeline = nodes.at(0).timeline("algebra");
    let duration = timeline.at(common::now());
    nodes
        .gate
        .set("algebra", timeline::Line::Ended { timeline, duration });
    nodes
        .run(1, |school| async move {
            school.rooms.end(&common::id("algebra")).await
        })
        .await
        .unwrap();
    assert!(!nodes.at(0).archive.text().contains("\"hi\""));
    for node in 0..3 {
        let replayed = nodes.run(node, |school| async move { school.replayed("algebra").await });
        assert_eq!(replayed.await, ["hello"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_redis_is_away_messages_are_shown_on_their_own_node() {
    let nodes = Nodes::open(2).await;
    let mut ana = nodes.at(0).join("algebra", "participant", "ana").await;
    let mut bo = nodes.at(0).join("algebra", "participant", "bo").await;
    let mut cy = nodes.at(1).join("algebra", "participant", "cy").await;
    assert_eq!(ana.said("a1", "before").await, 1);
    bo.events_until(1).await;

    nodes.nodes[0].relay.cut();
    ana.say("a2", "meanwhile").await;
    let shown = bo.expect("provisional").await;
    assert_eq!(
        (&shown["event"]["body"], &shown["event"]["seq"]),
        (&json!("meanwhile"), &Value::Null)
    );
    assert_eq!(cy.said("c1", "elsewhere").await, 2);
    // Sent again, as somebody does whose connection broke.
    let mut again = nodes.at(0).join("algebra", "participant", "ana").await;
    again.say("a2", "meanwhile").await;
    for client in [&ana, &bo] {
        assert!(
            client.seen.iter().all(|frame| frame["type"] != "ack"),
            "nothing is acknowledged"
        );
    }

    nodes.nodes[0].relay.mend();
    for client in [&mut ana, &mut again] {
        assert_eq!(client.expect("ack").await["seq"], 3);
    }
    let settled = bo.expect("settled").await;
    assert_eq!((&settled["id"], &settled["seq"]), (&shown["id"], &json!(3)));
    assert_eq!(bodies(&bo.events_until(3).await), ["elsewhere", "meanwhile"]);
    assert_eq!(
        bodies(&cy.events_until(3).await),
        ["before", "elsewhere", "meanwhile"]
    );
}

/// Short here; `SCALE_OUT_OUTAGE_S=30` for one as long as a failover takes.
fn outage() -> Duration {
    let seconds = std::env::var("SCALE_OUT_OUTAGE_S")
        .ok()
        .and_then(|s| s.parse().ok());
    Duration::from_secs(seconds.unwrap_or(4))
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_or_doubled() {
    const EACH: usize = 120;
    let mut nodes = Nodes::open(3).await;
    let addresses = nodes.addresses();
    let pause = outage() / 20;
    let writers: Vec<_> = (0..6)
        .map(|n| tokio::spawn(Writer::write(addresses.clone(), n, EACH, pause)))
        .collect();

    // A node dies in mid-sentence, then Redis is away for all, frozen, and killed.
    tokio::time::sleep(pause * 5).await;
    nodes.kill(0);
    tokio::time::sleep(pause * 5).await;
    for node in &nodes.nodes[1..] {
        node.relay.cut();
    }
    tokio::time::sleep(outage()).await;
    for node in &nodes.nodes[1..] {
        node.relay.mend();
    }
    tokio::time::sleep(pause * 5).await;
    nodes.redis.freeze();
    tokio::time::sleep(outage() / 2).await;
    nodes.redis.thaw();
    nodes.redis.kill();
    nodes.redis.restart();

    let mut acknowledged = BTreeMap::new();
    for writer in writers {
        acknowledged.extend(tokio::time::timeout(PATIENCE, writer).await.unwrap().unwrap());
    }
    assert_eq!(acknowledged.len(), 6 * EACH, "each was acknowledged in the end");
    for node in [1, 2] {
        let said = nodes.said(node).await;
        let seqs: Vec<u64> = said.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
        assert!(
            seqs.iter().copied().eq(1..=seqs.len() as u64),
            "no hole: {seqs:?}"
        );
        let found: BTreeSet<&str> = said.iter().map(|event| event["body"].as_str().unwrap()).collect();
        assert_eq!((found.len(), said.len()), (6 * EACH, 6 * EACH), "each once");
        for event in &said {
            let seq = acknowledged[event["body"].as_str().unwrap()];
            assert_eq!(
                seq,
                event["seq"].as_u64().unwrap(),
                "where it was acknowledged to be"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_lost_everything_begins_a_new_epoch() {
    let nodes = Nodes::open(2).await;
    let mut ana = nodes.at(0).join("algebra", "participant", "ana").await;
    for n in 1..=5 {
        assert_eq!(ana.said(&format!("a{n}"), &format!("text {n}")).await, n);
    }
    let mut connection = nodes.redis.connection().await;
    redis::cmd("FLUSHALL").exec_async(&mut connection).await.unwrap();
    // Whoever says something next finds out; the connections are closed, and come back to the next epoch.
    ana.say("a6", "text 6").await;
    assert_eq!(ana.closed().await, 1001);
    let mut ana = nodes.at(1).join("algebra", "participant", "ana").await;
    ana.say("a6", "text 6").await;
    let seq = loop {
        match ana.next().await {
            Ok(frame) if frame["type"] == "ack" => break frame["seq"].as_u64().unwrap(),
            Ok(_) => {}
            // The other node may notice it only now.
            Err(_) => {
                ana = nodes.at(1).join("algebra", "participant", "ana").await;
                ana.say("a6", "text 6").await;
            }
        }
    };
    assert_eq!(seq, 6);
    let said = nodes.said(0).await;
    let wanted: Vec<_> = (1..=6).map(|n| format!("text {n}")).collect();
    assert_eq!(bodies(&said), wanted);
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Says things as the player does: what was not acknowledged is sent again, over whichever node answers.
struct Writer {
    nodes: Arc<[SocketAddr]>,
    name: String,
    node: usize,
    /// What was not acknowledged, by its name.
    open: BTreeMap<String, String>,
    acknowledged: BTreeMap<String, u64>,
}

impl Writer {
    async fn write(
        nodes: Arc<[SocketAddr]>,
        n: usize,
        count: usize,
        pause: Duration,
    ) -> BTreeMap<String, u64> {
        let mut writer = Writer {
            name: format!("writer-{n}"),
            node: n % nodes.len(),
            nodes,
            open: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
        };
        let mut left: Vec<_> = (0..count).rev().collect();
        while writer.acknowledged.len() < count {
            if let Some(mut socket) = writer.enter().await {
                writer.talk(&mut socket, &mut left, pause).await;
            }
            writer.node = (writer.node + 1) % writer.nodes.len();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        writer.acknowledged
    }

    async fn enter(&self) -> Option<Socket> {
        let url = format!("ws://{}/rooms/algebra", self.nodes[self.node]);
        let connecting = tokio_tungstenite::connect_async(url);
        let (mut socket, _) = tokio::time::timeout(Duration::from_secs(5), connecting)
            .await
            .ok()?
            .ok()?;
        let join = json!({"type": "join", "token": format!("participant:{}:algebra", self.name)});
        socket.send(Message::text(join.to_string())).await.ok()?;
        for (reference, body) in &self.open {
            self.say(&mut socket, reference, body).await?;
        }
        Some(socket)
    }

    async fn say(&self, socket: &mut Socket, reference: &str, body: &str) -> Option<()> {
        let say = json!({"type": "say", "ref": reference, "body": body, "playing": null});
        socket.send(Message::text(say.to_string())).await.ok()
    }

    /// Until the connection breaks, or everything was acknowledged.
    async fn talk(&mut self, socket: &mut Socket, left: &mut Vec<usize>, pause: Duration) -> Option<()> {
        // A few at a time: more wait for their answers.
        const OPEN: usize = 4;
        let mut ticks = tokio::time::interval((pause / 4).max(Duration::from_millis(5)));
        while !self.open.is_empty() || !left.is_empty() {
            tokio::select! {
                _ = ticks.tick(), if self.open.len() < OPEN && !left.is_empty() => {
                    let n = left.pop()?;
                    let (reference, body) = (format!("c{n}"), format!("{} says {n}", self.name));
                    self.open.insert(reference.clone(), body.clone());
                    self.say(socket, &reference, &body).await?;
                }
                // A dead node may leave its connections open.
                message = tokio::time::timeout(Duration::from_secs(60), socket.next()) => {
                    match message.ok()??.ok()? {
                        Message::Text(text) => self.hear(socket, &serde_json::from_str(&text).unwrap()).await?,
                        Message::Close(_) => return None,
                        _ => {}
                    }
                }
            }
        }
        Some(())
    }

    async fn hear(&mut self, socket: &mut Socket, frame: &Value) -> Option<()> {
        let reference = frame["ref"].as_str().unwrap_or_default();
        match frame["type"].as_str().unwrap() {
            "ack" => {
                if let Some(body) = self.open.remove(reference) {
                    self.acknowledged.insert(body, frame["seq"].as_u64().unwrap());
                }
            }
            "refused" => {
                assert_eq!(frame["code"], "unavailable", "{frame}");
                let body = self.open.get(reference)?.clone();
                tokio::time::sleep(Duration::from_millis(100)).await;
                self.say(socket, reference, &body).await?;
            }
            _ => {}
        }
        Some(())
    }
}
