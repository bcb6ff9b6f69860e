//! Tokens: JWTs (HS256) that name a broadcast and a role.

mod pass;

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use ingest::Invitation;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use timeline::{BroadcastId, SourceName};

use crate::{clock, config};

/// What a bearer may do in a broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Publishes, ends, moderates, speaks.
    Host,
    /// Publishes beside the host, as one source; speaks.
    Cohost,
    /// Moderates and speaks.
    Moderator,
    /// Speaks.
    Participant,
    /// Watches.
    Viewer,
    /// Makes broadcasts, and ends them.
    Operator,
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Role::Host => "Host",
            Role::Cohost => "Co-host",
            Role::Moderator => "Moderator",
            Role::Participant => "Participant",
            Role::Viewer => "Viewer",
            Role::Operator => "Operator",
        })
    }
}

/// What a token is asked for.
#[derive(Clone, Debug)]
pub struct Grant {
    /// `None`: every broadcast (an operator's token).
    pub broadcast: Option<BroadcastId>,
    pub role: Role,
    pub name: String,
    /// What a co-host publishes as; none of the others has one.
    pub source: Option<SourceName>,
    /// Unix seconds that it is later than: what was issued up to then was taken back.
    pub after: Option<i64>,
}

impl Grant {
    pub fn new(broadcast: &BroadcastId, role: Role, name: impl Into<String>) -> Grant {
        Grant {
            broadcast: Some(broadcast.clone()),
            role,
            name: name.into(),
            source: None,
            after: None,
        }
    }
}

/// What a token says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claims {
    /// The person, unique within the installation.
    pub sub: String,
    pub name: String,
    pub role: Role,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broadcast: Option<BroadcastId>,
    /// What a co-host publishes as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceName>,
    pub iat: i64,
    pub exp: i64,
}

impl Claims {
    /// By what a co-host publishes; nobody else is invited to.
    pub fn invitation(&self) -> Option<Invitation> {
        let source = self.source.clone().filter(|_| self.role == Role::Cohost)?;
        Some(Invitation {
            source,
            issued: self.iat,
        })
    }

    /// Whether the token speaks for this broadcast. Only an operator's may leave the broadcast open.
    pub fn covers(&self, broadcast: &BroadcastId) -> bool {
        match &self.broadcast {
            Some(own) => own == broadcast,
            None => self.role == Role::Operator,
        }
    }
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    #[error("a token is needed: send it as Authorization: Bearer …")]
    Missing,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid")]
    Invalid,
}

const ALGORITHM: Algorithm = Algorithm::HS256;

/// A token longer than this is not one of ours.
const MAX_TOKEN: usize = 4096;

/// HS256 wants a key at least as long as its digest (RFC 7518 §3.2).
const MIN_SECRET: usize = 32;

pub struct Auth {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
    passes: Validation,
}

impl Auth {
    /// Opens with the configured secret, or the one in the data folder, which is made at first start.
    pub fn open(config: &config::Auth, data: &Path) -> anyhow::Result<Auth> {
        let secret = match &config.secret_file {
            Some(file) => std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?,
            None => kept_secret(data)?,
        };
        let secret = secret.trim_ascii();
        anyhow::ensure!(
            secret.len() >= MIN_SECRET,
            "the secret must be at least {MIN_SECRET} bytes long"
        );
        Ok(Auth::with_secret(secret))
    }

    fn with_secret(secret: &[u8]) -> Auth {
        let mut validation = Validation::new(ALGORITHM);
        validation.set_required_spec_claims(&["exp", "sub"]);
        validation.leeway = 0;
        Auth {
            encoding: EncodingKey::from_secret(secret),
            decoding: DecodingKey::from_secret(secret),
            validation,
            passes: pass::validation(),
        }
    }

    pub fn issue(&self, grant: Grant, ttl: Duration) -> anyhow::Result<String> {
        let now = clock::now().unix_millis() / 1000;
        let claims = Claims {
            sub: uuid::Uuid::new_v4().simple().to_string(),
            name: grant.name,
            role: grant.role,
            broadcast: grant.broadcast,
            source: grant.source,
            iat: grant.after.map_or(now, |after| now.max(after.saturating_add(1))),
            exp: now.saturating_add(ttl.as_secs().min(i64::MAX as u64) as i64),
        };
        jsonwebtoken::encode(&Header::new(ALGORITHM), &claims, &self.encoding).context("cannot sign a token")
    }

    pub fn verify(&self, token: Option<&str>) -> Result<Claims, Denied> {
        self.decode(token.ok_or(Denied::Missing)?, &self.validation)
    }

    fn decode<T: DeserializeOwned>(&self, token: &str, validation: &Validation) -> Result<T, Denied> {
        if token.len() > MAX_TOKEN {
            return Err(Denied::Invalid);
        }
        match jsonwebtoken::decode::<T>(token, &self.decoding, validation) {
            Ok(data) => Ok(data.claims),
            Err(e) if matches!(e.kind(), jsonwebtoken::errors::ErrorKind::ExpiredSignature) => {
                Err(Denied::Expired)
            }
            Err(_) => Err(Denied::Invalid),
        }
    }
}

fn kept_secret(data: &Path) -> anyhow::Result<Vec<u8>> {
    let file = data.join("secret");
    if let Ok(secret) = std::fs::read(&file) {
        return Ok(secret);
    }
    std::fs::create_dir_all(data)
        .with_context(|| format!("cannot make the data folder {}", data.display()))?;
    let secret: [u8; 32] = rand::random();
    let text: String = secret.iter().map(|b| format!("{b:02x}")).collect();
    // Two processes that start at once (serve and token) must agree on one secret: the first link wins.
    let draft = data.join(format!("secret.{}", std::process::id()));
    let mut options = std::fs::OpenOptions::new();
    let mut out = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)?;
    out.write_all(text.as_bytes())?;
    out.sync_all()?;
    let linked = std::fs::hard_link(&draft, &file);
    std::fs::remove_file(&draft)?;
    match linked {
        Ok(()) => Ok(text.into_bytes()),
        Err(_) => std::fs::read(&file).with_context(|| format!("cannot keep a secret in {}", file.display())),
    }
}

/// The token of an `Authorization: Bearer …` header.
pub fn bearer(headers: &axum::http::HeaderMap) -> Option<&str> {
    let value = headers.get(axum::http::header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(role: Role, broadcast: Option<&str>) -> Grant {
        Grant {
            broadcast: broadcast.map(|b| b.parse().unwrap()),
            role,
            name: "Ana".into(),
            source: None,
            after: None,
        }
    }

    #[test]
    fn a_token_says_what_it_was_issued_for() {
        let auth = Auth::with_secret(&[7; 32]);
        let token = auth
            .issue(grant(Role::Host, Some("algebra")), Duration::from_secs(60))
            .unwrap();
        let claims = auth.verify(Some(&token)).unwrap();
        assert_eq!((claims.role, claims.name.as_str()), (Role::Host, "Ana"));
        assert!(claims.covers(&"algebra".parse().unwrap()));
        assert!(!claims.covers(&"analysis".parse().unwrap()));
    }

    #[test]
    fn a_co_hosts_token_names_its_source() {
        let auth = Auth::with_secret(&[7; 32]);
        let mut grant = grant(Role::Cohost, Some("algebra"));
        grant.source = Some("ada".parse().unwrap());
        let token = auth.issue(grant.clone(), Duration::from_secs(60)).unwrap();
        let claims = auth.verify(Some(&token)).unwrap();
        assert_eq!((claims.role, claims.source), (Role::Cohost, grant.source));
    }

    #[test]
    fn only_an_operator_covers_everything() {
        let auth = Auth::with_secret(&[7; 32]);
        for (role, covers) in [(Role::Operator, true), (Role::Host, false)] {
            let token = auth.issue(grant(role, None), Duration::from_secs(60)).unwrap();
            assert_eq!(
                auth.verify(Some(&token))
                    .unwrap()
                    .covers(&"algebra".parse().unwrap()),
                covers
            );
        }
    }

    #[test]
    fn bad_tokens_are_told_apart() {
        let auth = Auth::with_secret(&[7; 32]);
        let other = Auth::with_secret(&[8; 32]);
        let foreign = other
            .issue(grant(Role::Host, Some("a")), Duration::from_secs(60))
            .unwrap();
        let expired = auth.issue(grant(Role::Host, Some("a")), Duration::ZERO).unwrap();
        assert_eq!(auth.verify(None).unwrap_err(), Denied::Missing);
        assert_eq!(auth.verify(Some("garbage")).unwrap_err(), Denied::Invalid);
        assert_eq!(auth.verify(Some(&foreign)).unwrap_err(), Denied::Invalid);
        assert_eq!(
            auth.verify(Some(&"x".repeat(10_000))).unwrap_err(),
            Denied::Invalid
        );
        // `exp` is compared in whole seconds and an expiry of this very second still holds.
        let _ = expired;
    }

    #[test]
    fn the_secret_is_made_once_and_kept() {
        let data = tempfile::tempdir().unwrap();
        let first = Auth::open(&config::Auth::default(), data.path()).unwrap();
        let second = Auth::open(&config::Auth::default(), data.path()).unwrap();
        let token = first
            .issue(grant(Role::Viewer, Some("a")), Duration::from_secs(60))
            .unwrap();
        assert!(second.verify(Some(&token)).is_ok());
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(data.path().join("secret"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
