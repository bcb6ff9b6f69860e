//! A real PostgreSQL, shared by the tests that run at the same time; each has a database of its own.
#![allow(dead_code, reason = "each story uses its part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// Who it runs as where the tests run as root, which it refuses: `nobody`.
const NOBODY: u32 = 65_534;

static RUNNING: Mutex<Weak<Server>> = Mutex::new(Weak::new());
static DATABASES: AtomicUsize = AtomicUsize::new(0);

/// An empty database.
pub struct Postgres {
    server: Arc<Server>,
    name: String,
}

/// Stopped when the last test is done with it.
struct Server {
    _folder: tempfile::TempDir,
    port: u16,
    process: Child,
}

impl Postgres {
    pub async fn start() -> Postgres {
        let server = server();
        let name = format!("rooms_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        let mut connection = PgConnection::connect(&server.url("postgres")).await.unwrap();
        let create = AssertSqlSafe(format!("CREATE DATABASE {name}"));
        sqlx::query(create).execute(&mut connection).await.unwrap();
        Postgres { server, name }
    }

    pub fn url(&self) -> String {
        self.server.url(&self.name)
    }
}

impl Server {
    fn url(&self, database: &str) -> String {
        format!("postgres://lectern@127.0.0.1:{}/{database}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // At once, yet its children with it.
        let quit = Command::new("kill")
            .args(["-QUIT", &self.process.id().to_string()])
            .status();
        if quit.is_ok() {
            let _ = self.process.wait();
        }
    }
}

fn server() -> Arc<Server> {
    let mut running = RUNNING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(server) = running.upgrade() {
        return server;
    }
    let server = Arc::new(start());
    *running = Arc::downgrade(&server);
    server
}

fn start() -> Server {
    let folder = tempfile::tempdir().unwrap();
    if is_root() {
        chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let data = folder.path().join("data");
    let made = command("initdb")
        .arg("-D")
        .arg(&data)
        .args([
            "-U",
            "lectern",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
        ])
        .stdout(Stdio::null())
        .status();
    assert!(made.unwrap().success(), "initdb");
    loop {
        let port = free_port();
        if let Some(process) = serve(&data, port) {
            return Server {
                _folder: folder,
                port,
                process,
            };
        }
    }
}

/// Returns once it takes connections; `None`: somebody else has the port by now.
fn serve(data: &Path, port: u16) -> Option<Child> {
    let mut process = command("postgres")
        .arg("-D")
        .arg(data)
        // Its data dies with the test: nothing has to reach the disk.
        .args(["-p", &port.to_string(), "-h", "127.0.0.1", "-k", "", "-F"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
    let is_ready = lines
        .by_ref()
        .map_while(Result::ok)
        .any(|line| line.contains("ready to accept connections"));
    if !is_ready {
        process.wait().unwrap();
        return None;
    }
    // Its further words are not kept; a full pipe would hold it up.
    std::thread::spawn(move || lines.for_each(drop));
    Some(process)
}

fn command(name: &str) -> Command {
    let program = program(name);
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    let id = NOBODY.to_string();
    command
        .args(["--reuid", &id, "--regid", &id, "--clear-groups"])
        .arg(program);
    command
}

/// Debian keeps its versions side by side and out of the path.
fn program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let programs = versions.filter_map(|version| Some(version.ok()?.path().join("bin").join(name)));
    programs
        .filter(|program| program.is_file())
        .max()
        .unwrap_or_else(|| name.into())
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}
