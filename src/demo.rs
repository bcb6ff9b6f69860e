//! `--demo`: a synthetic lecture through the real WHIP door, and a few participants in its room, through the
//! same doors that anyone else uses.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use timeline::BroadcastId;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

use crate::auth::{Auth, Grant, Role};
use crate::broadcasts::{Broadcasts, Terms, Wanted};
use crate::clock;

const TITLE: &str = "Waves and circles: a living demo lecture";

/// Longer than anyone watches a demo.
const TOKEN_TTL: Duration = Duration::from_secs(30 * 24 * 3600);

/// Who says what, and how many seconds after the line before. The script repeats.
const SCRIPT: [(&str, u64, &str); 14] = [
    ("Ana", 4, "Good morning! Picture and sound are fine here."),
    (
        "Yusuf",
        5,
        "Same here. How far behind is everyone? My player says about a second.",
    ),
    ("Mei", 6, "A bit over one second."),
    (
        "Dr. Okafor",
        8,
        "Welcome! Watch the point on the circle: its height draws the wave on the right.",
    ),
    ("Ana", 9, "So the sine is just the shadow of the circle?"),
    (
        "Dr. Okafor",
        7,
        "Exactly. And the cosine is the shadow on the other wall.",
    ),
    ("Yusuf", 10, "What changes if the point runs twice as fast?"),
    (
        "Mei",
        6,
        "The wave gets squeezed: twice the frequency, same height.",
    ),
    ("Dr. Okafor", 6, "Right, Mei. y = sin(2t) instead of y = sin(t)."),
    (
        "Lena",
        9,
        "I came late. I can rewind and the chat goes back with the picture, nice.",
    ),
    ("Ana", 8, "Is x_1 < x_2 always true on this axis?"),
    (
        "Dr. Okafor",
        7,
        "For two moments one after the other, yes: the axis is time.",
    ),
    ("Yusuf", 11, "Will the recording stay online?"),
    (
        "Dr. Okafor",
        6,
        "Yes, under the same link, with everything that was said here.",
    ),
];

const TEACHER: &str = "Dr. Okafor";

/// A participant whose connection broke comes back after this long.
const RETURN: Duration = Duration::from_secs(3);

pub struct Demo {
    publisher: Child,
    participants: JoinSet<()>,
}

impl Demo {
    /// `inside`: where publisher and participants come in. `scheme`, `listen`: where everyone else does.
    pub async fn start(
        auth: &Arc<Auth>,
        broadcasts: &Broadcasts,
        defaults: Terms,
        inside: SocketAddr,
        scheme: &str,
        listen: SocketAddr,
    ) -> anyhow::Result<Demo> {
        let id = free_id(broadcasts, "demo")?;
        let wanted = Wanted {
            id: id.clone(),
            title: TITLE.into(),
            terms: Terms {
                guests: true,
                ..defaults
            },
        };
        broadcasts
            .create(wanted)
            .await
            .context("cannot make the demo broadcast")?;
        let token = |role, name: &str| {
            let grant = Grant::new(&id, role, name);
            auth.issue(grant, TOKEN_TTL)
        };
        let host = token(Role::Host, TEACHER)?;
        let whip = format!("http://{inside}/whip/{id}");
        let publisher = Command::new(std::env::current_exe()?)
            .args(["publish", "--url", &whip])
            .env("LECTERN_TOKEN", &host)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start the demo's publisher")?;
        let mut participants = JoinSet::new();
        participants.spawn(converse(
            format!("ws://{inside}/rooms/{id}"),
            speakers(|name| {
                token(
                    if name == TEACHER {
                        Role::Host
                    } else {
                        Role::Participant
                    },
                    name,
                )
            })?,
        ));
        let own = free_id(broadcasts, "lecture")?;
        let grant = Grant::new(&own, Role::Host, "Lecturer");
        let base = match listen.ip().is_unspecified() {
            true => format!("{scheme}://localhost:{}", listen.port()),
            false => format!("{scheme}://{listen}"),
        };
        print_links(&base, &id, &host, &own, &auth.issue(grant, TOKEN_TTL)?);
        Ok(Demo {
            publisher,
            participants,
        })
    }

    pub async fn stop(mut self) {
        self.participants.shutdown().await;
        if let Err(error) = self.publisher.kill().await {
            tracing::warn!("the demo's publisher could not be stopped: {error}");
        }
    }
}

fn print_links(base: &str, demo: &BroadcastId, host: &str, own: &BroadcastId, token: &str) {
    println!(
        "
  A lecture is on air:
    Watch         {base}/watch/{demo}
    Studio        {base}/studio/{demo}#token={host}

  Your own, from OBS (Settings → Stream → Service: WHIP; keyframe interval 2 s):
    Server        {base}/whip/{own}
    Bearer token  {token}
    Watch         {base}/watch/{own}

  Your own, from a browser:
    Studio        {base}/studio/{own}#token={token}
"
    );
}

/// `demo`, or `demo-2` … when earlier ones are kept in the data folder.
fn free_id(broadcasts: &Broadcasts, name: &str) -> anyhow::Result<BroadcastId> {
    let names = std::iter::once(name.to_owned()).chain((2..10_000).map(|n| format!("{name}-{n}")));
    let mut ids = names.filter_map(|name| name.parse().ok());
    ids.find(|id| broadcasts.get(id).is_none())
        .context("there are too many broadcasts in the data folder")
}

type Speakers = std::collections::HashMap<&'static str, String>;

fn speakers(token: impl Fn(&str) -> anyhow::Result<String>) -> anyhow::Result<Speakers> {
    SCRIPT
        .iter()
        .map(|(name, ..)| Ok((*name, token(name)?)))
        .collect()
}

/// Plays the script in the room, for ever.
async fn converse(room: String, speakers: Speakers) {
    let mut doors = std::collections::HashMap::new();
    for (n, (name, pause, body)) in SCRIPT.iter().cycle().enumerate() {
        tokio::time::sleep(Duration::from_secs(*pause)).await;
        let lines = match doors.entry(*name) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(new) => {
                let (say, lines) = tokio::sync::mpsc::channel(4);
                tokio::spawn(participate(room.clone(), speakers[name].clone(), lines));
                new.insert(say)
            }
        };
        let line = json!({ "type": "say", "ref": format!("demo-{n}"), "body": body });
        // A participant who is away misses a line, as people do.
        let _ = lines.try_send(line);
    }
}

/// One participant: joins, says what they are given, comes back when the connection breaks.
async fn participate(room: String, token: String, mut lines: tokio::sync::mpsc::Receiver<Value>) {
    while !lines.is_closed() {
        if let Err(error) = attend(&room, &token, &mut lines).await {
            tracing::debug!("a demo participant lost the room: {error}");
        }
        tokio::time::sleep(RETURN).await;
    }
}

async fn attend(
    room: &str,
    token: &str,
    lines: &mut tokio::sync::mpsc::Receiver<Value>,
) -> Result<(), tokio_tungstenite::tungstenite::Error> {
    let (mut socket, _) = tokio_tungstenite::connect_async(room).await?;
    socket
        .send(Message::text(
            json!({ "type": "join", "token": token }).to_string(),
        ))
        .await?;
    loop {
        tokio::select! {
            line = lines.recv() => match line {
                Some(line) => socket.send(Message::text(as_watched(line).to_string())).await?,
                None => return socket.close(None).await,
            },
            heard = socket.next() => match heard {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None => return Ok(()),
            },
        }
    }
}

/// The demo's participants have no player; they write about what a student sees: the lecture of a moment ago.
fn as_watched(mut line: Value) -> Value {
    const LATENCY_MS: i64 = 1_200;
    line["playing"] = json!(clock::now().unix_millis() - LATENCY_MS);
    line
}
