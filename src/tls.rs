//! TLS: the certificate and its key as two PEM files give them, and anew whenever they are renewed.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use axum_server::tls_rustls::RustlsConfig;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::signal::unix::{SignalKind, signal};

use crate::config;

/// How often the files are looked at; a renewed certificate is issued weeks before the old one expires.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Longer than any chain; a mistaken path must not be read into memory.
const MAX_PEM: u64 = 1024 * 1024;

/// Chosen by ALPN, the best first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

pub struct Tls {
    files: config::Tls,
    pem: Pem,
    served: RustlsConfig,
}

/// What the two files hold.
#[derive(PartialEq, Eq)]
struct Pem {
    cert: Vec<u8>,
    key: Vec<u8>,
}

impl Tls {
    /// Refuses, in words, files that cannot be served with.
    pub fn load(files: config::Tls) -> anyhow::Result<Tls> {
        let pem = Pem::read(&files)?;
        let served = RustlsConfig::from_config(Arc::new(pem.server(&files)?));
        Ok(Tls { files, pem, served })
    }

    /// What new connections are served with: always the newest.
    pub fn served(&self) -> RustlsConfig {
        self.served.clone()
    }

    /// Follows the files, for ever: looks at them each minute, and at SIGHUP.
    pub async fn follow(mut self) -> anyhow::Result<()> {
        let mut hangup = signal(SignalKind::hangup())?;
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                _ = hangup.recv() => {}
                _ = look.tick() => {}
            }
            match self.renew() {
                Ok(true) => tracing::info!(cert = %self.files.cert.display(), "the certificate is renewed"),
                Ok(false) => {}
                // The one that is served stays. Two files are not replaced in one step: a moment later they may agree.
                Err(error) => tracing::error!("the certificate cannot be renewed: {error:#}"),
            }
        }
    }

    /// Whether the files hold something new, which is served from now on.
    fn renew(&mut self) -> anyhow::Result<bool> {
        let pem = Pem::read(&self.files)?;
        if pem == self.pem {
            return Ok(false);
        }
        self.served.reload_from_config(Arc::new(pem.server(&self.files)?));
        self.pem = pem;
        Ok(true)
    }
}

impl Pem {
    fn read(files: &config::Tls) -> anyhow::Result<Pem> {
        Ok(Pem {
            cert: read(&files.cert).context("tls.cert")?,
            key: read(&files.key).context("tls.key")?,
        })
    }

    fn server(&self, files: &config::Tls) -> anyhow::Result<ServerConfig> {
        let (cert, key) = (files.cert.display(), files.key.display());
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&self.cert)
            .collect::<Result<_, _>>()
            .with_context(|| format!("tls.cert: {cert} is not PEM"))?;
        if chain.is_empty() {
            bail!("tls.cert: no certificate is in {cert}");
        }
        let private = PrivateKeyDer::from_pem_slice(&self.key)
            .with_context(|| format!("tls.key: no private key without a passphrase is in {key}"))?;
        let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, private);
        let mut server = match server {
            Ok(server) => server,
            Err(rustls::Error::InconsistentKeys(_)) => {
                bail!("tls: the key in {key} is not that of the first certificate in {cert}")
            }
            Err(error) => return Err(error).with_context(|| format!("tls: {cert} and {key}")),
        };
        server.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
        Ok(server)
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut pem = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_PEM + 1).read_to_end(&mut pem))
        .with_context(|| format!("cannot read {}", path.display()))?;
    anyhow::ensure!(
        pem.len() as u64 <= MAX_PEM,
        "{} is too large for a PEM file",
        path.display()
    );
    Ok(pem)
}
