//! The load: viewers that only listen, and writers. Messages carry the time at which they were to be sent, so that a
//! sender or a server that is late is seen to be late.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::ensure;
use bench::process;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::servers::{Kind, Room, Server};
use crate::ws::{self, Socket};

/// Connections that are opened in one go: less than a listener's backlog.
const AT_ONCE: usize = 200;

/// What a newcomer is shown, as in a room that is in use.
const HISTORY: usize = 100;

/// People who speak in a room that is measured.
const WRITERS: usize = 10;

/// Until presence is told, and what was needed for joining is given back.
const SETTLE: Duration = Duration::from_secs(4);

/// Before anything is measured, and after it for what is late.
const WARM_UP: Duration = Duration::from_secs(2);
const LATE: Duration = Duration::from_secs(2);

const MARK: &str = "bench t=";
const DIGITS: usize = 16;

/// What one measurement is.
#[derive(Clone, Copy)]
pub struct Work {
    pub viewers: usize,
    pub per_second: f64,
    pub tick: Duration,
    pub seconds: u64,
}

pub struct Measured {
    /// How many messages were to be sent.
    pub offered: usize,
    /// Frames and messages that viewers got.
    pub frames: usize,
    pub messages: usize,
    pub seconds: f64,
    /// Processor time in seconds.
    pub server: f64,
    pub load: f64,
    /// Milliseconds, sorted: from the time a message was to be sent, …
    pub from_schedule: Vec<f64>,
    /// … and from the first viewer's frame to each one's.
    pub from_tick: Vec<f64>,
    /// Bytes of each viewer.
    pub memory: f64,
    pub kernel: f64,
}

impl Measured {
    /// Processor time of the server for one frame to one viewer, in seconds.
    pub fn per_frame(&self) -> f64 {
        self.server / self.frames as f64
    }
}

/// What all viewers count in.
#[derive(Default)]
struct Meter {
    /// Unix time in µs.
    from: Cell<u64>,
    until: Cell<u64>,
    frames: Cell<usize>,
    messages: Cell<usize>,
    closed: Cell<usize>,
    from_schedule: RefCell<Vec<f64>>,
    from_tick: RefCell<Vec<f64>>,
    /// When a frame came first to anyone, by the time of its first message.
    ticks: RefCell<HashMap<u64, u64>>,
}

impl Meter {
    fn hear(&self, payload: &[u8]) {
        let now = unix_micros();
        let measured = self.from.get()..self.until.get();
        let mut marks = marks(payload).peekable();
        let Some(&first) = marks.peek() else { return };
        if measured.contains(&now) {
            self.frames.set(self.frames.get() + 1);
        }
        let millis = |since: u64| now.saturating_sub(since) as f64 / 1e3;
        if measured.contains(&first) {
            let tick = *self.ticks.borrow_mut().entry(first).or_insert(now);
            self.from_tick.borrow_mut().push(millis(tick));
        }
        for at in marks.filter(|at| measured.contains(at)) {
            self.messages.set(self.messages.get() + 1);
            self.from_schedule.borrow_mut().push(millis(at));
        }
    }
}

/// The times that the messages of a frame carry.
fn marks(payload: &[u8]) -> impl Iterator<Item = u64> {
    let mut rest = payload;
    std::iter::from_fn(move || {
        let mark = MARK.as_bytes();
        let at = rest.windows(mark.len()).position(|window| window == mark)? + mark.len();
        let digits = rest.get(at..at + DIGITS)?;
        rest = &rest[at + DIGITS..];
        std::str::from_utf8(digits).ok()?.parse().ok()
    })
}

/// A question as they are in lectures, sent at `at`.
fn body(at: u64) -> String {
    format!("{MARK}{at}: why does the second term vanish, and is that exact or to first order?")
}

/// How each server is spoken to.
fn path(kind: Kind, room: &Room) -> String {
    match kind {
        Kind::SocketIo => "/socket.io/?EIO=4&transport=websocket".into(),
        _ => format!("/rooms/{}", room.id),
    }
}

fn say(kind: Kind, n: usize, body: &str) -> String {
    match kind {
        Kind::SocketIo => format!(r#"420["say",{{"body":"{body}"}}]"#),
        _ => format!(r#"{{"type":"say","ref":"bench-{n}","body":"{body}","playing":null}}"#),
    }
}

/// How an acknowledgement begins.
fn ack(kind: Kind) -> &'static str {
    match kind {
        Kind::SocketIo => "430",
        _ => r#"{"type":"ack""#,
    }
}

async fn enter(server: &Server, n: usize, room: &Room, token: Option<&str>) -> anyhow::Result<Socket> {
    let mut socket = Socket::open(server.address(n), &path(server.kind, room)).await?;
    match server.kind {
        Kind::SocketIo => {
            socket.expect("0{").await?;
            socket.send(ws::TEXT, b"40").await?;
            socket.expect("40{").await?;
        }
        _ => {
            let join = match token {
                Some(token) => serde_json::json!({ "type": "join", "token": token }),
                None => serde_json::json!({ "type": "join" }),
            };
            socket.send(ws::TEXT, join.to_string().as_bytes()).await?;
            socket.expect(r#"{"type":"joined""#).await?;
        }
    }
    Ok(socket)
}

/// Viewers that are connected, until they are dropped.
pub struct Load {
    kind: Kind,
    meter: Rc<Meter>,
    watching: JoinSet<()>,
    /// In turns: what one says waits for what they said before to be stored, what another says does not.
    writers: Vec<Socket>,
    said: usize,
    memory: f64,
    kernel: f64,
}

impl Load {
    /// Opens the connections, with some history to be shown to each.
    pub async fn ramp(server: &Server, viewers: usize) -> anyhow::Result<Load> {
        let room = &server.rooms[0];
        let mut load = Load {
            kind: server.kind,
            meter: Rc::default(),
            watching: JoinSet::new(),
            writers: Vec::new(),
            said: 0,
            memory: 0.0,
            kernel: 0.0,
        };
        load.writers
            .push(enter(server, 0, room, Some(&room.token)).await?);
        for _ in 0..HISTORY {
            load.send(unix_micros()).await?;
            load.writers[0].expect(ack(server.kind)).await?;
        }
        let before = (server.memory()?, process::kernel_memory()?);
        for begin in (0..viewers).step_by(AT_ONCE) {
            let some = (begin..viewers.min(begin + AT_ONCE)).map(|n| enter(server, n, room, None));
            for socket in futures::future::try_join_all(some).await? {
                load.watching
                    .spawn_local(watch(socket, server.kind, load.meter.clone()));
            }
        }
        sleep(SETTLE).await;
        let grown = |before: u64, now: u64| now.saturating_sub(before) as f64 / viewers as f64;
        load.memory = grown(before.0, server.memory()?);
        load.kernel = grown(before.1, process::kernel_memory()?);
        // Only now: who does not answer pings, as nobody does for them, is let go in the time that all of this took.
        load.writers.clear();
        for n in 0..WRITERS {
            load.writers
                .push(enter(server, n, room, Some(&room.token)).await?);
        }
        Ok(load)
    }

    /// A message that was to be sent at `at`.
    async fn send(&mut self, at: u64) -> anyhow::Result<()> {
        self.said += 1;
        let writer = self.said % self.writers.len();
        let text = say(self.kind, self.said, &body(at));
        self.writers[writer].send(ws::TEXT, text.as_bytes()).await
    }

    /// Messages at a steady rate, to all viewers.
    pub async fn fan_out(mut self, server: &Server, work: Work) -> anyhow::Result<Measured> {
        let meter = self.meter.clone();
        let (start, zero) = (Instant::now(), unix_micros());
        let (warm, span) = (WARM_UP, Duration::from_secs(work.seconds));
        meter.from.set(zero + warm.as_micros() as u64);
        meter.until.set(zero + (warm + span).as_micros() as u64);
        let said = tokio::task::spawn_local(async move {
            let every = Duration::from_secs_f64(1.0 / work.per_second);
            let mut offered = 0;
            for n in 0.. {
                let after = every * n;
                if after >= warm + span {
                    break;
                }
                sleep_until(start + after).await;
                self.send(zero + after.as_micros() as u64).await?;
                // Acks and their own events are taken, so that nothing stands still.
                for writer in &mut self.writers {
                    ensure!(writer.read(|_, _| {})?, "a writer was let go");
                }
                offered += usize::from(after >= warm);
            }
            anyhow::Ok((self, offered))
        });
        sleep_until(start + warm).await;
        let cpu = || {
            anyhow::Ok((
                server.cpu()?,
                process::cpu_alone(std::process::id())?.as_secs_f64(),
            ))
        };
        let (began, before) = (Instant::now(), cpu()?);
        sleep_until(start + warm + span).await;
        let (seconds, after) = (began.elapsed().as_secs_f64(), cpu()?);
        let (load, offered) = said.await??;
        sleep(LATE).await;
        ensure!(
            meter.closed.get() == 0,
            "{} connections were closed",
            meter.closed.get()
        );
        let sorted = |of: &RefCell<Vec<f64>>| {
            let mut all = of.take();
            all.sort_by(f64::total_cmp);
            all
        };
        Ok(Measured {
            offered,
            frames: meter.frames.get(),
            messages: meter.messages.get(),
            seconds,
            server: after.0 - before.0,
            load: after.1 - before.1,
            from_schedule: sorted(&meter.from_schedule),
            from_tick: sorted(&meter.from_tick),
            memory: load.memory,
            kernel: load.kernel,
        })
    }
}

/// Reads until the end, and shows that it lives when it is asked.
async fn watch(mut socket: Socket, kind: Kind, meter: Rc<Meter>) {
    loop {
        let mut answer = None;
        let read = match socket.readable().await {
            Ok(()) => socket.read(|opcode, payload| match (opcode, payload) {
                (ws::PING, _) => answer = Some((ws::PONG, payload.to_vec())),
                (ws::TEXT, b"2") if kind == Kind::SocketIo => answer = Some((ws::TEXT, b"3".to_vec())),
                (ws::TEXT, _) => meter.hear(payload),
                _ => {}
            }),
            Err(error) => Err(error),
        };
        let answered = match answer {
            Some((opcode, payload)) => socket.send(opcode, &payload).await.is_ok(),
            None => true,
        };
        if !matches!(read, Ok(true)) || !answered {
            return meter.closed.set(meter.closed.get() + 1);
        }
    }
}

/// What writers had stored.
pub struct Acks {
    /// Milliseconds from sent to acknowledged, sorted.
    pub waited: Vec<f64>,
    pub seconds: f64,
    pub server: f64,
    pub load: f64,
}

/// Each writer sends the next message as soon as one of its own is acknowledged.
pub async fn write(server: &Server, writers: usize, pipelined: usize, seconds: u64) -> anyhow::Result<Acks> {
    let mut sockets = Vec::new();
    for n in 0..writers {
        let room = &server.rooms[n % server.rooms.len()];
        sockets.push(enter(server, n, room, Some(&room.token)).await?);
    }
    let from = Instant::now() + WARM_UP;
    let until = from + Duration::from_secs(seconds);
    let mut all = JoinSet::new();
    for (writer, socket) in sockets.into_iter().enumerate() {
        all.spawn_local(keep_writing(socket, server.kind, writer, pipelined, from, until));
    }
    sleep_until(from).await;
    let before = (server.cpu()?, process::cpu_alone(std::process::id())?);
    sleep_until(until).await;
    let after = (server.cpu()?, process::cpu_alone(std::process::id())?);
    let mut waited = Vec::new();
    while let Some(of_one) = all.join_next().await {
        waited.extend(of_one??);
    }
    waited.sort_by(f64::total_cmp);
    Ok(Acks {
        waited,
        seconds: seconds as f64,
        server: after.0 - before.0,
        load: (after.1 - before.1).as_secs_f64(),
    })
}

async fn keep_writing(
    mut socket: Socket,
    kind: Kind,
    writer: usize,
    pipelined: usize,
    from: Instant,
    until: Instant,
) -> anyhow::Result<Vec<f64>> {
    let (mut sent, mut waited, mut said) = (VecDeque::new(), Vec::new(), 0);
    while Instant::now() < until {
        while sent.len() < pipelined {
            said += 1;
            let text = say(kind, said * 100_000 + writer, &body(unix_micros()));
            socket.send(ws::TEXT, text.as_bytes()).await?;
            sent.push_back(Instant::now());
        }
        socket.readable().await?;
        let mut refused = None;
        let open = socket.read(|_, payload| {
            if payload.starts_with(ack(kind).as_bytes()) {
                let began = sent.pop_front();
                let now = Instant::now();
                if (from..until).contains(&now) {
                    waited.extend(began.map(|began| (now - began).as_secs_f64() * 1e3));
                }
            } else if payload.starts_with(br#"{"type":"refused""#) {
                refused = Some(String::from_utf8_lossy(payload).into_owned());
            }
        })?;
        ensure!(refused.is_none(), "{refused:?}");
        ensure!(open, "the server closed the connection");
    }
    Ok(waited)
}

fn unix_micros() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_micros() as u64)
}
