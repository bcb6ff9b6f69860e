//! A school: rooms on a real socket, with a real record, a gate that knows a few broadcasts, and an archive in
//! memory that outlives the server.
#![allow(dead_code, reason = "each story uses its part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use chat::{Config, Gate, Pass, Person, Rate, Refusal, RepeatLimits, Role, Rooms};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use timeline::{Archive, ArchiveError, BroadcastId, Line, MediaTime, Object, Span, Timeline, WallTime};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tower::ServiceExt;

/// Only a server that is broken takes so long.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct School {
    pub rooms: Rooms,
    pub gate: Arc<Lines>,
    pub archive: Arc<Shelf>,
    pub config: Config,
    folder: tempfile::TempDir,
    address: SocketAddr,
    http: tokio::task::JoinHandle<()>,
}

/// The broadcasts, and a gate whose tokens say it all: `role:name:broadcast`, and where they expire, `:unix ms`.
#[derive(Default)]
pub struct Lines(Mutex<HashMap<BroadcastId, watch::Sender<Line>>>);

/// An archive that loses nothing, but can be out of order.
#[derive(Default)]
pub struct Shelf {
    objects: Mutex<BTreeMap<String, Object>>,
    pub broken: AtomicBool,
}

pub fn id(name: &str) -> BroadcastId {
    name.parse().unwrap()
}

pub fn now() -> WallTime {
    SystemTime::now().into()
}

pub fn at(ms: i64) -> MediaTime {
    MediaTime::ZERO + Span::from_millis(ms)
}

/// Limits that no story about something else runs into, and a replay that is never older than the question.
pub fn generous() -> Config {
    let free = Rate {
        messages: 100_000,
        per_ms: 1_000,
    };
    Config {
        rate: free,
        host_rate: free,
        room_rate: free,
        frame_rate: free,
        repeats: RepeatLimits {
            own_ms: 0,
            flood_people: 0,
            ..RepeatLimits::default()
        },
        chunk_refresh_ms: 0,
        presence_ms: 10,
        ..Config::default()
    }
}

impl School {
    pub async fn open() -> School {
        School::with(generous()).await
    }

    /// Two broadcasts, on air for ten minutes.
    pub async fn with(config: Config) -> School {
        School::start(config, Lines::two(), Arc::default(), tempfile::tempdir().unwrap()).await
    }

    async fn start(
        config: Config,
        gate: Arc<Lines>,
        archive: Arc<Shelf>,
        folder: tempfile::TempDir,
    ) -> School {
        let database = folder.path().join("rooms.db");
        let rooms = Rooms::open(config.clone(), &database, archive.clone(), gate.clone())
            .await
            .unwrap();
        School::serve(config, gate, archive, folder, rooms).await
    }

    /// One of several servers of the same broadcasts.
    pub async fn node(
        config: Config,
        gate: Arc<Lines>,
        archive: Arc<Shelf>,
        folder: tempfile::TempDir,
        common: &chat::Common,
    ) -> School {
        let rooms = Rooms::share(config.clone(), common, archive.clone(), gate.clone())
            .await
            .unwrap();
        School::serve(config, gate, archive, folder, rooms).await
    }

    async fn serve(
        config: Config,
        gate: Arc<Lines>,
        archive: Arc<Shelf>,
        folder: tempfile::TempDir,
        rooms: Rooms,
    ) -> School {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = rooms.router();
        let http = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        School {
            rooms,
            gate,
            archive,
            config,
            folder,
            address,
            http,
        }
    }

    /// Stops the server and starts another one on what it left.
    pub async fn restart(self) -> School {
        self.rooms.shutdown().await;
        self.http.abort();
        School::start(self.config, self.gate, self.archive, self.folder).await
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn database(&self) -> PathBuf {
        self.folder.path().join("rooms.db")
    }

    pub fn timeline(&self, broadcast: &str) -> Timeline {
        self.gate.0.lock().unwrap()[&id(broadcast)]
            .borrow()
            .timeline()
            .unwrap()
    }

    /// Unix ms of a moment of the picture.
    pub fn playing(&self, broadcast: &str, at: MediaTime) -> f64 {
        self.timeline(broadcast).wall(at).unix_nanos() as f64 / 1e6
    }

    pub async fn end(&self, broadcast: &str) {
        let timeline = self.timeline(broadcast);
        self.gate.set(
            broadcast,
            Line::Ended {
                timeline,
                duration: timeline.at(now()),
            },
        );
        self.rooms.end(&id(broadcast)).await.unwrap();
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub async fn connect(&self, broadcast: &str) -> Client {
        let tcp = TcpStream::connect(self.address).await.unwrap();
        self.connect_over(tcp, broadcast).await
    }

    /// A client that takes little at a time.
    pub async fn connect_narrow(&self, broadcast: &str) -> Client {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        self.connect_over(socket.connect(self.address).await.unwrap(), broadcast)
            .await
    }

    async fn connect_over(&self, tcp: TcpStream, broadcast: &str) -> Client {
        let url = format!("ws://{}/rooms/{broadcast}", self.address);
        let (socket, _) = tokio_tungstenite::client_async(url, MaybeTlsStream::Plain(tcp))
            .await
            .unwrap();
        Client {
            socket,
            seen: Vec::new(),
            asked: 0,
        }
    }

    /// A connection, or the HTTP status that there is instead.
    pub async fn try_connect(&self, broadcast: &str) -> Result<Client, u16> {
        let url = format!("ws://{}/rooms/{broadcast}", self.address);
        match tokio_tungstenite::connect_async(url).await {
            Ok((socket, _)) => Ok(Client {
                socket,
                seen: Vec::new(),
                asked: 0,
            }),
            Err(tungstenite::Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    pub async fn join(&self, broadcast: &str, role: &str, name: &str) -> Client {
        let mut client = self.connect(broadcast).await;
        client
            .send(json!({"type": "join", "token": format!("{role}:{name}:{broadcast}")}))
            .await;
        client.expect("joined").await;
        client
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.get_with(path, &[]).await
    }

    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.answer(request.body(Body::empty()).unwrap()).await
    }

    pub async fn request(&self, method: Method, path: &str, token: &str, body: &str) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {token}"))
            .body(Body::from(body.to_owned()))
            .unwrap();
        self.answer(request).await
    }

    pub async fn answer(&self, request: Request<Body>) -> Answer {
        let response = self.rooms.router().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 100_000_000).await.unwrap().to_vec();
        Answer {
            status: head.status,
            headers: head.headers,
            body,
        }
    }

    /// The index of a replay, and every chunk that it lists.
    pub async fn replay(&self, broadcast: &str) -> (Value, Vec<Value>) {
        let index = self
            .get(&format!("/broadcasts/{broadcast}/chat/index.json"))
            .await
            .json();
        let mut chunks = Vec::new();
        for entry in index["chunks"].as_array().unwrap() {
            let name = entry["name"].as_str().unwrap();
            let answer = self.get(&format!("/broadcasts/{broadcast}/chat/{name}")).await;
            assert_eq!(answer.status, StatusCode::OK, "{name}");
            let chunk = answer.json();
            assert_eq!(texts(&chunk).len() as u64, entry["count"]);
            chunks.push(chunk);
        }
        (index, chunks)
    }

    /// The bodies of the replay, in its order.
    pub async fn replayed(&self, broadcast: &str) -> Vec<String> {
        let (_, chunks) = self.replay(broadcast).await;
        let events = chunks.iter().flat_map(texts);
        events
            .map(|event| event["body"].as_str().unwrap().to_owned())
            .collect()
    }
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {:?}", self.body))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

pub struct Client {
    pub socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Frames that came while another was expected.
    pub seen: Vec<Value>,
    asked: usize,
}

impl Client {
    pub async fn send(&mut self, frame: Value) {
        self.send_raw(Message::text(frame.to_string())).await;
    }

    pub async fn send_raw(&mut self, message: Message) {
        self.socket.send(message).await.unwrap();
    }

    pub async fn say(&mut self, reference: &str, body: &str) {
        self.send(json!({"type": "say", "ref": reference, "body": body, "playing": null}))
            .await;
    }

    /// Says it and waits until it is acknowledged; gives its seq.
    pub async fn said(&mut self, reference: &str, body: &str) -> u64 {
        self.say(reference, body).await;
        self.acked(reference).await
    }

    pub async fn said_at(&mut self, reference: &str, body: &str, playing: f64) -> u64 {
        self.send(json!({"type": "say", "ref": reference, "body": body, "playing": playing}))
            .await;
        self.acked(reference).await
    }

    pub async fn deleted(&mut self, reference: &str, seq: u64) -> u64 {
        self.send(json!({"type": "delete", "ref": reference, "seq": seq}))
            .await;
        self.acked(reference).await
    }

    /// Asks for something; gives the answer.
    pub async fn ask(&mut self, mut action: Value) -> Value {
        self.asked += 1;
        let reference = format!("ask-{}", self.asked);
        action["ref"] = json!(reference);
        self.send(action).await;
        let ack = self.expect("ack").await;
        assert_eq!(ack["ref"], json!(reference));
        ack
    }

    async fn acked(&mut self, reference: &str) -> u64 {
        let ack = self.expect("ack").await;
        assert_eq!(ack["ref"], reference);
        ack["seq"].as_u64().unwrap()
    }

    pub async fn refused(&mut self) -> String {
        self.expect("refused").await["code"].as_str().unwrap().to_owned()
    }

    /// The next frame of this type; others that come before are kept.
    pub async fn expect(&mut self, kind: &str) -> Value {
        if let Some(index) = self.seen.iter().position(|frame| frame["type"] == kind) {
            return self.seen.remove(index);
        }
        loop {
            let frame = self
                .next()
                .await
                .unwrap_or_else(|code| panic!("closed with {code} before {kind}"));
            match frame["type"].as_str().unwrap() {
                found if found == kind => return frame,
                "refused" if kind == "ack" => panic!("{frame}"),
                _ => self.seen.push(frame),
            }
        }
    }

    /// Events until there is one with this seq.
    pub async fn events_until(&mut self, seq: u64) -> Vec<Value> {
        let mut events = Vec::new();
        while events
            .last()
            .is_none_or(|event: &Value| event["seq"].as_u64().unwrap() < seq)
        {
            events.extend(self.expect("events").await["events"].as_array().unwrap().clone());
        }
        events
    }

    /// The code that the server closes with.
    pub async fn closed(&mut self) -> u16 {
        loop {
            match self.next().await {
                Ok(frame) => self.seen.push(frame),
                Err(code) => return code,
            }
        }
    }

    pub async fn leave(mut self) {
        self.socket.close(None).await.unwrap();
    }

    /// A frame, or the code of the close (1006: no close was heard).
    pub async fn next(&mut self) -> Result<Value, u16> {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.socket.next())
                .await
                .expect("the server says something");
            match message {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(frame))) => return Err(frame.map_or(1005, |frame| frame.code.into())),
                Some(Ok(_)) => {}
                Some(Err(tungstenite::Error::Io(_) | tungstenite::Error::Protocol(_))) | None => {
                    return Err(1006);
                }
                Some(Err(error)) => panic!("{error}"),
            }
        }
    }
}

/// The texts of a chunk.
pub fn texts(chunk: &Value) -> Vec<&Value> {
    chunk["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["kind"] == "text")
        .collect()
}

pub fn bodies(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|event| event["body"].as_str()).collect()
}

pub fn seqs(events: &Value) -> Vec<u64> {
    events
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["seq"].as_u64().unwrap())
        .collect()
}

impl Lines {
    /// Two broadcasts, on air for ten minutes.
    pub fn two() -> Arc<Lines> {
        let gate = Arc::new(Lines::default());
        for name in ["algebra", "biology"] {
            let timeline = Timeline::starting(now() + Span::from_millis(-600_000));
            gate.set(name, Line::Live { timeline });
        }
        gate
    }

    pub fn set(&self, broadcast: &str, line: Line) {
        let mut lines = self.0.lock().unwrap();
        lines
            .entry(id(broadcast))
            .or_insert_with(|| watch::Sender::new(line))
            .send_replace(line);
    }

    /// As a server does that does not know its old broadcasts.
    pub fn forget(&self, broadcast: &str) {
        self.0.lock().unwrap().remove(&id(broadcast));
    }

    fn find(&self, broadcast: &BroadcastId) -> Option<watch::Receiver<Line>> {
        Some(self.0.lock().unwrap().get(broadcast)?.subscribe())
    }
}

#[async_trait]
impl Gate for Lines {
    async fn enter(&self, broadcast: &BroadcastId, token: Option<&str>) -> Result<Pass, Refusal> {
        let line = self.find(broadcast).ok_or(Refusal::NotFound)?;
        let Some(token) = token else {
            let person = Person {
                id: "nobody".into(),
                name: "Viewer".into(),
                role: Role::Viewer,
            };
            return Ok(Pass {
                person,
                line,
                expires: None,
            });
        };
        let parts: Vec<_> = token.split(':').collect();
        let (role, name, room, expires) = match parts[..] {
            [role, name, room] => (role, name, room, None),
            [role, name, room, ms] => (
                role,
                name,
                room,
                Some(WallTime::from_unix_millis(ms.parse().unwrap())),
            ),
            _ => return Err(Refusal::Unauthorized("a bad token".into())),
        };
        if expires.is_some_and(|expires| expires <= now()) {
            return Err(Refusal::Unauthorized("the token has expired".into()));
        }
        if room != broadcast.as_str() {
            return Err(Refusal::Forbidden(format!("this token is not for {broadcast}")));
        }
        let role = match role {
            "host" => Role::Host,
            "moderator" => Role::Moderator,
            "participant" => Role::Participant,
            _ => Role::Viewer,
        };
        Ok(Pass {
            person: Person {
                id: name.into(),
                name: name.to_uppercase(),
                role,
            },
            line,
            expires,
        })
    }

    /// One of the two offers them.
    async fn subtitles(&self, broadcast: &BroadcastId) -> bool {
        broadcast.as_str() == "biology"
    }

    async fn line(&self, broadcast: &BroadcastId) -> Option<watch::Receiver<Line>> {
        self.find(broadcast)
    }
}

impl Shelf {
    pub fn keys(&self) -> Vec<String> {
        self.objects.lock().unwrap().keys().cloned().collect()
    }

    pub fn lay(&self, key: &str, body: &str) {
        let object = Object {
            body: body.to_owned().into(),
            content_type: "application/json".into(),
        };
        self.objects.lock().unwrap().insert(key.into(), object);
    }

    pub fn json(&self, key: &str) -> Value {
        serde_json::from_slice(&self.objects.lock().unwrap()[key].body).unwrap()
    }

    /// Everything that is kept, as one text.
    pub fn text(&self) -> String {
        let objects = self.objects.lock().unwrap();
        objects
            .values()
            .map(|object| String::from_utf8_lossy(&object.body).into_owned())
            .collect()
    }

    fn check(&self) -> Result<(), ArchiveError> {
        match self.broken.load(Ordering::Acquire) {
            true => Err(ArchiveError::Io {
                key: "any".into(),
                source: std::io::Error::other("out of order"),
            }),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl Archive for Shelf {
    async fn put(&self, key: &str, object: Object) -> Result<(), ArchiveError> {
        self.check()?;
        self.objects.lock().unwrap().insert(key.into(), object);
        Ok(())
    }

    async fn get(&self, key: &str) -> Result<Object, ArchiveError> {
        self.check()?;
        self.objects
            .lock()
            .unwrap()
            .get(key)
            .cloned()
            .ok_or_else(|| ArchiveError::NotFound(key.into()))
    }

    async fn delete(&self, key: &str) -> Result<(), ArchiveError> {
        self.check()?;
        self.objects.lock().unwrap().remove(key);
        Ok(())
    }

    async fn list(&self, folder: &str) -> Result<Vec<String>, ArchiveError> {
        self.check()?;
        let prefix = format!("{folder}/");
        let objects = self.objects.lock().unwrap();
        let below = objects
            .keys()
            .filter_map(|key| key.strip_prefix(&prefix)?.split('/').next());
        let names: BTreeSet<_> = below.map(str::to_owned).collect();
        Ok(names.into_iter().collect())
    }
}

/// Waits for what the server does by itself.
pub async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .unwrap_or_else(|_| panic!("still not: {what}"));
}
