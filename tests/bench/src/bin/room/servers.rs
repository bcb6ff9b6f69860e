//! The servers that are measured, each in processes of its own on the first processor.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use bench::process;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};

/// Nodes of Socket.IO: one for its adapter to talk to.
const NODES: usize = 2;

/// The servers' processor, and that of the load.
const SERVERS: usize = 0;
const LOAD: usize = 1;

/// Beyond what anybody sends here: what is measured is the work, not its limits.
const NO_LIMITS: &str = r#"
log = "warn"
[chat]
max_connections = 100000
max_connections_per_room = 100000
host_rate = { messages = 1000000, per_ms = 1000 }
frame_rate = { messages = 1000000, per_ms = 1000 }
"#;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    Bare,
    Lectern,
    SocketIo,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Bare => "bare writer",
            Kind::Lectern => "lectern",
            Kind::SocketIo => "Socket.IO",
        }
    }
}

/// A server with its rooms.
pub struct Server {
    pub kind: Kind,
    processes: Vec<Child>,
    /// Of its nodes.
    pub addresses: Vec<SocketAddr>,
    pub rooms: Vec<Room>,
    _folder: tempfile::TempDir,
}

/// A room, and what lets one speak in it.
pub struct Room {
    pub id: String,
    pub token: String,
}

/// Keeps the load off the servers' processor, where there is more than one; tells how it is.
pub fn pin_load() -> anyhow::Result<&'static str> {
    if !pinned() {
        return Ok("one processor: servers and load share it");
    }
    process::pin(LOAD)?;
    Ok("servers on the first processor, the load on the second")
}

fn pinned() -> bool {
    // Of all threads that there will be.
    std::path::Path::new(&format!("/sys/devices/system/cpu/cpu{LOAD}")).exists()
}

fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = match pinned() {
        true => {
            let mut command = Command::new("taskset");
            command.args(["-c", &SERVERS.to_string()]).arg(program);
            command
        }
        false => Command::new(program),
    };
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

impl Server {
    /// With one room.
    pub async fn start(kind: Kind, tick: Duration, lectern: &Path) -> anyhow::Result<Server> {
        Server::with_rooms(kind, tick, lectern, 1).await
    }

    pub async fn with_rooms(
        kind: Kind,
        tick: Duration,
        lectern: &Path,
        rooms: usize,
    ) -> anyhow::Result<Server> {
        let folder = tempfile::tempdir()?;
        let mut server = Server {
            kind,
            processes: Vec::new(),
            addresses: Vec::new(),
            rooms: Vec::new(),
            _folder: folder,
        };
        match kind {
            Kind::Bare => server.bare(tick).await?,
            Kind::Lectern => server.lectern(tick, lectern, rooms).await?,
            Kind::SocketIo => server.socket_io(tick).await?,
        }
        Ok(server)
    }

    async fn bare(&mut self, tick: Duration) -> anyhow::Result<()> {
        let mut command = command(std::env::current_exe()?);
        command.args(["bare", "--tick-ms", &tick.as_millis().to_string()]);
        self.rooms.push(Room {
            id: "bare".into(),
            token: "writer".into(),
        });
        self.serve(command).await
    }

    async fn lectern(&mut self, tick: Duration, lectern: &Path, rooms: usize) -> anyhow::Result<()> {
        let folder = self._folder.path().to_owned();
        let config = folder.join("lectern.toml");
        std::fs::write(&config, format!("{NO_LIMITS}tick_ms = {}\n", tick.as_millis()))?;
        let place = ["--config".into(), config, "--data".into(), folder.join("data")];
        let mut serve = command(lectern);
        serve.arg("serve").args(&place).args(["--listen", "0.0.0.0:0"]);
        self.serve(serve).await?;
        let operator = token(lectern, &place).await?;
        for n in 0..rooms {
            let id = format!("bench-{n}");
            let token = create(self.addresses[0], &operator, &id).await?;
            self.rooms.push(Room { id, token });
        }
        Ok(())
    }

    async fn socket_io(&mut self, tick: Duration) -> anyhow::Result<()> {
        // Free a moment ago; Redis says so if it is not any more.
        let port = std::net::TcpListener::bind("127.0.0.1:0")?
            .local_addr()?
            .port()
            .to_string();
        let mut redis = command("redis-server");
        redis
            .args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--dir"])
            .arg(self._folder.path())
            .stdout(Stdio::null());
        self.processes
            .push(redis.spawn().context("cannot start redis-server")?);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("room/server.mjs");
        for _ in 0..NODES {
            let mut node = command("node");
            node.env("NODE_ENV", "production")
                .arg(&script)
                .args([&port, &tick.as_millis().to_string()]);
            self.serve(node).await?;
        }
        self.rooms.push(Room {
            id: String::new(),
            token: String::new(),
        });
        Ok(())
    }

    /// Starts a process that tells where it listens.
    async fn serve(&mut self, mut command: Command) -> anyhow::Result<()> {
        let mut process = command
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let mut lines = BufReader::new(process.stdout.take().context("no stdout")?).lines();
        let address = listening(&mut lines)
            .await
            .with_context(|| format!("{command:?}"))?;
        tokio::task::spawn_local(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        self.processes.push(process);
        self.addresses.push(address);
        Ok(())
    }

    /// Where the `n`th connection goes: a server on one address has no more than 28,000 of them from another.
    pub fn address(&self, n: usize) -> SocketAddr {
        let port = self.addresses[n % self.addresses.len()].port();
        SocketAddr::from(([127, 0, 0, (1 + n / 2_000) as u8], port))
    }

    /// Processor time used so far, in seconds.
    pub fn cpu(&self) -> anyhow::Result<f64> {
        let all = self.pids().map(process::cpu);
        Ok(all.sum::<anyhow::Result<Duration>>()?.as_secs_f64())
    }

    /// Resident memory, in bytes.
    pub fn memory(&self) -> anyhow::Result<u64> {
        self.pids().map(process::memory).sum()
    }

    fn pids(&self) -> impl Iterator<Item = u32> {
        self.processes.iter().filter_map(Child::id)
    }

    pub async fn stop(mut self) -> anyhow::Result<()> {
        for process in &mut self.processes {
            process.kill().await?;
        }
        Ok(())
    }
}

async fn listening(lines: &mut Lines<BufReader<ChildStdout>>) -> anyhow::Result<SocketAddr> {
    while let Some(line) = lines.next_line().await? {
        if let Some(address) = line.strip_prefix("listening on http://") {
            return Ok(address.parse()?);
        }
    }
    anyhow::bail!("the server left")
}

async fn token(lectern: &Path, place: &[PathBuf]) -> anyhow::Result<String> {
    let mut command = Command::new(lectern);
    command.args(["token", "--all", "--role", "operator"]).args(place);
    let output = command.output().await?;
    ensure!(
        output.status.success(),
        "no token: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Makes a broadcast; gives its host's token.
async fn create(to: SocketAddr, operator: &str, id: &str) -> anyhow::Result<String> {
    let body = serde_json::json!({ "id": id, "title": "What a room costs" }).to_string();
    let request = format!(
        "POST /api/v1/broadcasts HTTP/1.1\r\nHost: bench\r\nConnection: close\r\nAuthorization: Bearer {operator}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(("127.0.0.1", to.port())).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let body = answer
        .split_once("\r\n\r\n")
        .context("no answer")?
        .1
        .lines()
        .find(|line| line.starts_with('{'))
        .with_context(|| format!("no broadcast: {answer}"))?;
    let created: serde_json::Value = serde_json::from_str(body)?;
    let token = created["token"]
        .as_str()
        .with_context(|| format!("no token: {body}"))?;
    Ok(token.to_owned())
}
