//! STUN and TURN servers that publishers are told of (RFC 9725 §4.6), and credentials that TURN servers with a shared
//! secret (coturn's `static-auth-secret`) know: draft-uberti-behave-turn-rest-00.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rtc::crypto::HmacAlgorithm;
use serde::{Deserialize, Serialize, Serializer};

use crate::Error;

/// SHA-1's.
const TAG: usize = 20;
/// Of a person's name in a username, where it only tells the TURN server's log who that was.
const MAX_PERSON: usize = 64;

/// One of `[[ingest.ice_servers]]`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct IceServer {
    /// `stun:host[:port]`, `turn:host[:port][?transport=udp|tcp]` or `turns:…`. A list is one server that is reached in
    /// several ways.
    pub urls: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    #[serde(serialize_with = "hidden", skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// What the TURN server shares with us: each publisher gets a username and a credential of its own, which expire.
    #[serde(serialize_with = "hidden", skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// How long those are good for. A lecture must not outlive them: TURN allocations are refreshed with them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_s: Option<u64>,
}

/// Half a day.
const TTL_S: u64 = 12 * 3600;

fn hidden<S: Serializer>(secret: &Option<String>, to: S) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(|_| "***").serialize(to)
}

impl IceServer {
    pub(crate) fn check(&self) -> Result<(), Error> {
        let bad = |reason: String| Error::Config {
            setting: "ice_servers",
            reason,
        };
        let is_turn = |url: &String| url.starts_with("turn:") || url.starts_with("turns:");
        if self.urls.is_empty() {
            return Err(bad("a server without urls".into()));
        }
        for url in &self.urls {
            let host = url.split_once(':').map(|(_, host)| host).unwrap_or_default();
            let known = is_turn(url) || url.starts_with("stun:") || url.starts_with("stuns:");
            let plain = |c: u8| c.is_ascii_graphic() && !matches!(c, b'<' | b'>' | b'"' | b',' | b';');
            if !known || host.is_empty() || host.starts_with('/') || !url.bytes().all(plain) {
                return Err(bad(format!("{url:?} is not stun:host:port or turn:host:port")));
            }
        }
        let credentials = (&self.username, &self.credential, &self.secret);
        if self.urls.iter().any(is_turn) {
            match credentials {
                (Some(_), Some(_), None) | (None, None, Some(_)) => {}
                _ => {
                    return Err(bad(
                        "a TURN server needs username and credential, or secret".into()
                    ));
                }
            }
        } else if credentials != (&None, &None, &None) {
            return Err(bad("a STUN server has no credentials".into()));
        }
        let printable = |text: &String| text.bytes().all(|c| c == b' ' || c.is_ascii_graphic());
        let texts = [&self.username, &self.credential];
        if !texts.into_iter().flatten().all(printable) {
            return Err(bad("username and credential are of printable ASCII".into()));
        }
        match self.ttl_s {
            Some(ttl) if !(60..=30 * 24 * 3600).contains(&ttl) => {
                Err(bad("ttl_s: a minute to thirty days".into()))
            }
            _ => Ok(()),
        }
    }

    /// Values of Link headers, one for each URL: OBS takes a comma for part of the value. `now`: seconds since 1970.
    pub(crate) fn links(&self, person: &str, now: u64) -> Vec<String> {
        let credentials = match (&self.username, &self.credential, &self.secret) {
            (_, _, Some(secret)) => {
                let expiry = now + self.ttl_s.unwrap_or(TTL_S);
                let username = format!("{expiry}:{}", named(person));
                credential(secret, &username).map(|credential| (username, credential))
            }
            (Some(username), Some(credential), None) => Some((username.clone(), credential.clone())),
            _ => None,
        };
        let credentials = credentials.map(|(username, credential)| {
            let (username, credential) = (quoted(&username), quoted(&credential));
            format!("; username={username}; credential={credential}; credential-type=\"password\"")
        });
        let link = |url| {
            format!(
                "<{url}>; rel=\"ice-server\"{}",
                credentials.as_deref().unwrap_or_default()
            )
        };
        self.urls.iter().map(link).collect()
    }

    pub(crate) fn is_open(&self) -> bool {
        self.username.is_none() && self.secret.is_none()
    }
}

/// What may stand in a username: a colon would end it.
fn named(person: &str) -> String {
    let legal = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    person.chars().filter(legal).take(MAX_PERSON).collect()
}

/// RFC 9110 §5.6.4.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// `base64(HMAC-SHA1(secret, username))`.
fn credential(secret: &str, username: &str) -> Option<String> {
    let provider = rtc::crypto::default_provider().ok()?;
    let mut hmac = provider
        .crypto()
        .new_hmac(HmacAlgorithm::Sha1, secret.as_bytes())
        .ok()?;
    let mut tag = [0; TAG];
    hmac.sign(&[username.as_bytes()], &mut tag).ok()?;
    Some(STANDARD.encode(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(json: &str) -> IceServer {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn each_url_is_a_link() {
        let stun = server(r#"{"urls": ["stun:a.test", "stun:b.test:3478"]}"#);
        assert_eq!(
            stun.links("ada", 0),
            [
                "<stun:a.test>; rel=\"ice-server\"",
                "<stun:b.test:3478>; rel=\"ice-server\""
            ]
        );
        let turn =
            server(r#"{"urls": ["turn:a.test?transport=tcp"], "username": "u", "credential": "p\"w"}"#);
        assert_eq!(
            turn.links("ada", 0),
            [
                "<turn:a.test?transport=tcp>; rel=\"ice-server\"; username=\"u\"; credential=\"p\\\"w\"; credential-type=\"password\""
            ]
        );
        assert!(stun.is_open() && !turn.is_open());
    }

    /// The sum is `printf %s 1000000060:ada | openssl dgst -sha1 -hmac north -binary | base64`.
    #[test]
    fn credentials_expire() {
        let turn = server(r#"{"urls": ["turn:a.test"], "secret": "north", "ttl_s": 60}"#);
        let links = turn.links("a\"d:a\n", 1_000_000_000);
        assert_eq!(
            links,
            [
                "<turn:a.test>; rel=\"ice-server\"; username=\"1000000060:ada\"; credential=\"bJq2eXKcfOfSk0Psy/B1srwQu9M=\"; credential-type=\"password\""
            ]
        );
    }

    #[test]
    fn what_cannot_work_is_told() {
        for bad in [
            r#"{"urls": []}"#,
            r#"{"urls": ["http://a.test"]}"#,
            r#"{"urls": ["stun:"]}"#,
            r#"{"urls": ["stun:a>b"]}"#,
            r#"{"urls": ["turn:a"]}"#,
            r#"{"urls": ["turn:a"], "username": "u"}"#,
            r#"{"urls": ["turn:a"], "username": "u", "credential": "c", "secret": "s"}"#,
            r#"{"urls": ["stun:a"], "secret": "s"}"#,
            r#"{"urls": ["turn:a"], "username": "ü", "credential": "c"}"#,
            r#"{"urls": ["turn:a"], "secret": "s", "ttl_s": 1}"#,
        ] {
            let error = server(bad).check().unwrap_err().to_string();
            assert!(error.starts_with("ingest.ice_servers: "), "{bad}: {error}");
        }
        assert!(
            server(r#"{"urls": ["turns:a:443?transport=tcp"], "secret": "s"}"#)
                .check()
                .is_ok()
        );
    }

    #[test]
    fn secrets_are_not_printed() {
        let turn = server(r#"{"urls": ["turn:a"], "secret": "north", "credential": "south"}"#);
        let printed = serde_json::to_string(&turn).unwrap();
        assert!(
            !printed.contains("north") && !printed.contains("south"),
            "{printed}"
        );
    }
}
