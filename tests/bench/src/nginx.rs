//! nginx as the measure: the same bytes, as static files.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

const BINARY: &str = "/usr/sbin/nginx";

/// Runs until it is dropped.
pub struct Nginx {
    process: Child,
    pub address: SocketAddr,
}

impl Nginx {
    /// Serves what is below `folder`, which it can write to; `NAME.gz` to those who ask for `NAME` and take gzip.
    /// As its own guides tune it: one worker, files kept open, nothing logged.
    pub fn serve(folder: &Path) -> anyhow::Result<Nginx> {
        // Free a moment ago; nginx says so if it is not any more.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let here = folder.display();
        let conf = format!(
            "daemon off;\nworker_processes 1;\nuser root;\npid {here}/pid;\nerror_log stderr error;\n\
             events {{ worker_connections 12000; }}\n\
             http {{\n\
             access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_requests 1000000; keepalive_timeout 300s;\n\
             open_file_cache max=10000 inactive=300s; open_file_cache_valid 300s;\n\
             types {{ application/vnd.apple.mpegurl m3u8; video/mp4 m4s; }}\n\
             client_body_temp_path {here}/b; proxy_temp_path {here}/p; fastcgi_temp_path {here}/f; uwsgi_temp_path {here}/u; scgi_temp_path {here}/s;\n\
             server {{\n\
             listen {address} backlog=16384; root {here}; gzip_static on;\n\
             location / {{ add_header Cache-Control \"public, max-age=60, immutable\"; add_header Access-Control-Allow-Origin *; add_header Timing-Allow-Origin *; }}\n\
             }} }}\n"
        );
        let conf = match is_root() {
            true => conf,
            false => conf.replace("user root;\n", ""),
        };
        fs::write(folder.join("nginx.conf"), conf)?;
        let mut process = Command::new(BINARY)
            .arg("-p")
            .arg(folder)
            .arg("-c")
            .arg(folder.join("nginx.conf"))
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {BINARY} (scripts/install.sh test)"))?;
        let started = Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            ensure!(process.try_wait()?.is_none(), "nginx left");
            ensure!(
                started.elapsed() < Duration::from_secs(10),
                "nginx does not listen"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(Nginx { process, address })
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // By its own stop signal, so that its worker goes too.
        let pid = self.process.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let _ = self.process.wait();
    }
}

/// Only root may (and must) name the user of the workers.
fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|of| std::os::unix::fs::MetadataExt::uid(&of) == 0)
}
