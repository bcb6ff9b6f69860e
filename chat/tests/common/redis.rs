//! A real Redis of one's own, and a network before it that can be cut.
#![allow(dead_code, reason = "each story uses its part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Keeps what it is told in a file, so that it has it again after a restart. Stopped when it is dropped.
pub struct Redis {
    folder: tempfile::TempDir,
    port: u16,
    server: Child,
}

impl Redis {
    pub fn start() -> Redis {
        let folder = tempfile::tempdir().unwrap();
        loop {
            let port = free_port();
            if let Some(server) = serve(folder.path(), port) {
                return Redis { folder, port, server };
            }
        }
    }

    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// It answers no more, and its connections stay.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    pub fn thaw(&self) {
        self.signal("CONT");
    }

    pub fn kill(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }

    /// After [`Redis::kill`]: with what it had written down.
    pub fn restart(&mut self) {
        self.server = serve(self.folder.path(), self.port).expect("the port is still free");
    }

    pub async fn connection(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(self.url()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }

    fn signal(&self, name: &str) {
        let pid = self.server.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(sent.unwrap().success());
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// Returns once it takes connections; `None`: somebody else has the port by now.
fn serve(folder: &std::path::Path, port: u16) -> Option<Child> {
    let mut server = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"])
        .arg(folder)
        .args(["--save", "", "--appendonly", "yes", "--appendfsync", "always"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("redis-server is installed");
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let is_ready = lines
        .by_ref()
        .map_while(Result::ok)
        .any(|line| line.contains("Ready to accept connections"));
    if !is_ready {
        server.wait().unwrap();
        return None;
    }
    // Its further words are not kept; a full pipe would hold it up.
    std::thread::spawn(move || lines.for_each(drop));
    Some(server)
}

/// A network between a node and its Redis. Cut when it is dropped.
pub struct Relay {
    address: SocketAddr,
    state: Arc<watch::Sender<State>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Whole,
    /// Connections are closed, and new ones too.
    Cut,
    /// Nothing passes for now, and nobody is told.
    Silent,
}

impl Relay {
    pub async fn to(target: SocketAddr) -> Relay {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(watch::Sender::new(State::Whole));
        let watched = state.subscribe();
        tokio::spawn(async move {
            // Ends with the relay, as its connections do.
            let mut over = watched.clone();
            let accept = async {
                while let Ok((from, _)) = listener.accept().await {
                    tokio::spawn(pass(from, target, watched.clone()));
                }
            };
            tokio::select! {
                () = accept => {}
                _ = over.wait_for(|_| false) => {}
            }
        });
        Relay { address, state }
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    pub fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    pub fn silence(&self) {
        self.state.send_replace(State::Silent);
    }

    pub fn mend(&self) {
        self.state.send_replace(State::Whole);
    }
}

async fn pass(from: TcpStream, target: SocketAddr, state: watch::Receiver<State>) {
    if *state.borrow() == State::Cut {
        return;
    }
    let Ok(to) = TcpStream::connect(target).await else {
        return;
    };
    let ((from_in, from_out), (to_in, to_out)) = (from.into_split(), to.into_split());
    let mut cut = state.clone();
    tokio::select! {
        () = copy(from_in, to_out, state.clone()) => {}
        () = copy(to_in, from_out, state.clone()) => {}
        _ = cut.wait_for(|state| *state == State::Cut) => {}
    }
}

async fn copy(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut state: watch::Receiver<State>,
) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        if state.wait_for(|state| *state == State::Whole).await.is_err() {
            return;
        }
        if to.write_all(&buffer[..n]).await.is_err() {
            return;
        }
    }
}
