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

#[cfg(test)]
mod tests {
    use super::*;

    /// Of `localhost`, for a hundred years: worth nothing to anyone.
    const CERT: &str = "-----BEGIN CERTIFICATE-----
MIIBezCCASKgAwIBAgIUDuLhzHaLbHt8D15EfqpwRZK+9pkwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMTE0MTY0NVoYDzIxMjYxMDI4
MTQxNjQ1WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAASEMV1kB/npxjPy/GkVYaRmrFxxhdQkj/ECSlISXvDMz2ilkIZ+uldq
KhdqKhDDG8l0KRWfZxaustXs2Gf0oya4o1AwTjAdBgNVHQ4EFgQUIgR/cPfhwS7E
JvwInrLRdjef3AkwHwYDVR0jBBgwFoAUIgR/cPfhwS7EJvwInrLRdjef3AkwDAYD
VR0TAQH/BAIwADAKBggqhkjOPQQDAgNHADBEAiAqAfGp/oOOpnLGWmb2E6Jpt403
wnngYWLTsJ0t4wClpgIgeTMbj8O56OtOhPe6VwbcNSUwIWFU5+MSX7/M9id2biI=
-----END CERTIFICATE-----
";
    const KEY: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgLyhu7AGxmjUxZcVA
v/AjlsfUADUPEqfcE0VD2OJrpmehRANCAASEMV1kB/npxjPy/GkVYaRmrFxxhdQk
j/ECSlISXvDMz2ilkIZ+uldqKhdqKhDDG8l0KRWfZxaustXs2Gf0oya4
-----END PRIVATE KEY-----
";
    const OTHER_KEY: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgMd0eRPEOmufIqPuk
ksoxLhFvccNQBcPS1cviriD9uZShRANCAAQhhTSxU47O30shJf9jgHjfPrV33bsW
25E8SBN+hOztv6sq7k6f47EbGThd5YolEMBRe5OuGTb22ZJqGdSVKy02
-----END PRIVATE KEY-----
";

    struct Files(tempfile::TempDir);

    impl Files {
        fn with(cert: &str, key: &str) -> Files {
            let files = Files(tempfile::tempdir().unwrap());
            files.write(cert, key);
            files
        }

        fn write(&self, cert: &str, key: &str) {
            let paths = self.paths();
            std::fs::write(paths.cert, cert).unwrap();
            std::fs::write(paths.key, key).unwrap();
        }

        fn paths(&self) -> config::Tls {
            config::Tls {
                cert: self.0.path().join("cert.pem"),
                key: self.0.path().join("key.pem"),
            }
        }
    }

    #[test]
    fn files_that_cannot_be_served_with_are_refused_in_words() {
        for (cert, key, words) in [
            ("", KEY, "no certificate is in"),
            (KEY, KEY, "no certificate is in"),
            (CERT, "", "no private key without a passphrase"),
            (CERT, CERT, "no private key without a passphrase"),
            (CERT, OTHER_KEY, "is not that of the first certificate"),
        ] {
            let error = Tls::load(Files::with(cert, key).paths()).err().unwrap();
            assert!(format!("{error:#}").contains(words), "{error:#}");
        }
        let absent = config::Tls {
            cert: "/nowhere/cert.pem".into(),
            key: "/nowhere/key.pem".into(),
        };
        let error = Tls::load(absent).err().unwrap();
        assert!(format!("{error:#}").starts_with("tls.cert: cannot read /nowhere/cert.pem"));
    }

    #[test]
    fn what_is_renewed_is_served_and_what_does_not_fit_is_not() {
        let files = Files::with(CERT, KEY);
        let mut tls = Tls::load(files.paths()).unwrap();
        let served = tls.served();
        let first = served.get_inner();
        assert!(!tls.renew().unwrap(), "nothing is new");
        files.write(CERT, OTHER_KEY);
        assert!(tls.renew().is_err());
        assert!(Arc::ptr_eq(&first, &served.get_inner()));
        files.write(&format!("{CERT}\n"), KEY);
        assert!(tls.renew().unwrap());
        assert!(!Arc::ptr_eq(&first, &served.get_inner()));
    }
}
