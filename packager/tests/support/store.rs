//! A real S3 server for the tests: versitygw, which checks signatures. `scripts/s3.sh` installs it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use packager::archive::S3;
use packager::archive::s3::{Config, Credentials};

pub const BUCKET: &str = "lectures";
pub const PREFIX: &str = "of/2026";
const ACCESS: &str = "lectern-test";
const SECRET: &str = "a-secret-for-tests-alone";

pub struct Store {
    folder: tempfile::TempDir,
    port: u16,
    process: Option<Child>,
}

impl Store {
    pub async fn start() -> Store {
        let folder = tempfile::tempdir().unwrap();
        for below in ["data", "meta"] {
            std::fs::create_dir(folder.path().join(below)).unwrap();
        }
        // A folder is a bucket there.
        std::fs::create_dir(folder.path().join("data").join(BUCKET)).unwrap();
        // Kept over restarts, so it is chosen here.
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let mut store = Store {
            folder,
            port,
            process: None,
        };
        store.start_again().await;
        store
    }

    pub async fn start_again(&mut self) {
        let server = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/.bin/versitygw");
        let [meta, data] = ["meta", "data"].map(|below| self.folder.path().join(below));
        let child = Command::new(server)
            .args([
                "--port",
                &format!("127.0.0.1:{}", self.port),
                "--quiet",
                "--keep-alive",
            ])
            .args(["--access", ACCESS, "--secret", SECRET, "--region", "us-east-1"])
            .args(["posix", "--sidecar"])
            .args([meta, data])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.process = Some(child.expect("no S3 server for the tests: run scripts/s3.sh"));
        let mut tries = 0;
        while tokio::net::TcpStream::connect(("127.0.0.1", self.port))
            .await
            .is_err()
        {
            tries += 1;
            assert!(tries < 600, "the S3 server does not listen");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Away at once, in the middle of whatever it does.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Where the objects of our prefix lie as files.
    pub fn files(&self) -> PathBuf {
        self.folder.path().join("data").join(BUCKET).join(PREFIX)
    }

    pub async fn s3(&self) -> S3 {
        S3::open_as(&config(&self.endpoint()), credentials(SECRET)).await
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.stop();
    }
}

pub fn config(endpoint: &str) -> Config {
    Config {
        bucket: BUCKET.into(),
        prefix: PREFIX.into(),
        endpoint: Some(endpoint.into()),
        region: Some("us-east-1".into()),
        path_style: true,
    }
}

pub fn credentials(secret: &str) -> Credentials {
    Credentials::new(ACCESS, secret, None, None, "the test's")
}

pub fn good_credentials() -> Credentials {
    credentials(SECRET)
}
