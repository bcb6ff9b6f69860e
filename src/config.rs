//! One TOML file, one section for each stage, unknown keys refused, overridden by the environment:
//! `LECTERN_TRANSCODER__LINE_DELAY_MS=400` is `line_delay_ms` of `[transcoder]`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use figment::Figment;
use figment::providers::{Env, Format as _, Serialized, Toml};
use serde::{Deserialize, Serialize};

use crate::archive;
use crate::broadcasts::Latency;
use crate::pages;
use crate::telemetry::Format;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where HTTP is served.
    pub listen: SocketAddr,
    /// The folder that holds all state: secret, record of the rooms, archive.
    pub data: PathBuf,
    /// A `tracing` filter, such as `info` or `info,ingest=debug`.
    pub log: String,
    pub log_format: Format,
    /// Without it HTTP is served in the clear.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    pub auth: Auth,
    pub archive: archive::Config,
    pub broadcasts: Broadcasts,
    pub ingest: ingest::Config,
    pub transcoder: transcoder::Config,
    pub packager: packager::Config,
    pub chat: chat::Config,
    /// The record of the rooms where several servers serve them together: `postgres://…`. Otherwise it is a file in
    /// the data folder.
    pub database: Store,
    /// The order of the rooms where several servers serve them together: `redis://…` or `rediss://…`.
    pub redis: Store,
    pub node: Node,
}

/// This server among several.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Node {
    /// How publishers reach this very node (`https://node1.example.edu`): those that come to another one, while a broadcast
    /// is on air here, are sent to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The other nodes, each as its own `url` says: the studio page may speak to them, to publish where the broadcast is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<String>,
}

/// Something on the network that several servers share.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// May hold a password, better given by the environment; it is not printed.
    #[serde(serialize_with = "without_password", skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

fn without_password<S: serde::Serializer>(url: &Option<String>, to: S) -> Result<S::Ok, S::Error> {
    let hidden = url.as_deref().map(|url| {
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        match rest.rsplit_once('@') {
            Some((user, host)) => match user.split_once(':') {
                Some((name, _)) => format!("{scheme}://{name}:***@{host}"),
                None => url.to_owned(),
            },
            None => url.to_owned(),
        }
    });
    hidden.serialize(to)
}

/// HTTPS on the one listener, HTTP/2 or HTTP/1.1 as the client likes. The files are read again when they change.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM: the server's certificate, then those that lead to its root.
    pub cert: PathBuf,
    /// PEM: the certificate's private key, without a passphrase.
    pub key: PathBuf,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// A file with the secret that signs tokens. Without it one is made at first start and kept in the data
    /// folder.
    pub secret_file: Option<PathBuf>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Broadcasts {
    /// Whether the first publish with a valid host token makes the broadcast.
    pub create_on_publish: bool,
    /// Whether broadcasts made by a publish admit guests to their room.
    pub guests: bool,
    /// Seconds without a publisher after which a broadcast ends by itself.
    pub idle_timeout_s: u64,
    /// Seconds from the publisher's good-bye (DELETE) to the end, in which it may return.
    pub end_grace_s: u64,
    /// Whether stopping the server ends the broadcasts on air. If not, the next start goes on with them, as it
    /// does after a crash, unless nothing was heard of them for `idle_timeout_s`.
    pub end_on_stop: bool,
    /// How parts are cut in broadcasts made by a publish: `standard` is 200 ms, `interactive` 100 ms, which
    /// halves the latency and doubles the requests.
    pub latency: Latency,
    /// Whether broadcasts offer their room as subtitles ("Chat"), off until a viewer chooses them, for players that
    /// know nothing of the room. What the API makes may be asked to be otherwise, as with `latency`.
    pub chat_subtitles: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            listen: SocketAddr::from(([0, 0, 0, 0], 8080)),
            data: "data".into(),
            log: "info".into(),
            log_format: Format::Text,
            tls: None,
            auth: Auth::default(),
            archive: archive::Config::default(),
            broadcasts: Broadcasts::default(),
            ingest: ingest::Config::default(),
            transcoder: transcoder::Config::default(),
            packager: packager::Config::default(),
            chat: chat::Config::default(),
            database: Store::default(),
            redis: Store::default(),
            node: Node::default(),
        }
    }
}

impl Default for Broadcasts {
    fn default() -> Self {
        Broadcasts {
            create_on_publish: true,
            guests: true,
            idle_timeout_s: 600,
            end_grace_s: 120,
            end_on_stop: true,
            latency: Latency::default(),
            chat_subtitles: false,
        }
    }
}

impl Config {
    pub fn load(file: Option<&Path>) -> anyhow::Result<Config> {
        let mut figment = Figment::from(Serialized::defaults(Config::default()));
        if let Some(file) = file {
            anyhow::ensure!(
                file.is_file(),
                "there is no configuration file {}",
                file.display()
            );
            figment = figment.merge(Toml::file_exact(file));
        }
        // The command line reads these two itself.
        let env = Env::prefixed("LECTERN_").ignore(&["config", "token"]).split("__");
        let config: Config = figment
            .merge(env)
            .extract()
            .context("the configuration is not valid")?;
        config.check()?;
        Ok(config)
    }

    pub fn to_toml(&self) -> anyhow::Result<String> {
        toml::to_string_pretty(self).context("cannot print the configuration")
    }

    fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.broadcasts.idle_timeout_s > 0,
            "broadcasts.idle_timeout_s must be at least 1"
        );
        self.archive.check()?;
        self.ingest.check()?;
        self.transcoder.check()?;
        self.chat.check()?;
        if let Some(url) = &self.node.url {
            let host = url.strip_prefix("https://").or(url.strip_prefix("http://"));
            anyhow::ensure!(
                host.is_some_and(|host| !host.is_empty()
                    && !host.starts_with('/')
                    && !host.contains(['?', '#'])),
                "node.url: {url:?} is not http://host or https://host"
            );
            anyhow::ensure!(
                self.redis.url.is_some(),
                "node.url without redis.url: nodes tell each other there what they have"
            );
        }
        for other in &self.node.others {
            anyhow::ensure!(
                pages::is_origin(other),
                "node.others: {other:?} is not http://host or https://host"
            );
        }
        if let Some(common) = self.common()? {
            common.check().context("database.url, redis.url")?;
        }
        Ok(())
    }

    /// What several servers share; `None`: this one is alone.
    pub fn common(&self) -> anyhow::Result<Option<chat::Common>> {
        match (&self.database.url, &self.redis.url) {
            (None, None) => Ok(None),
            (Some(database), Some(redis)) => Ok(Some(chat::Common {
                database: database.clone(),
                redis: redis.clone(),
                folder: self.data.clone(),
            })),
            (None, Some(_)) => anyhow::bail!(
                "redis.url without database.url: servers that share their rooms share a PostgreSQL as well"
            ),
            (Some(_), None) => anyhow::bail!(
                "database.url without redis.url: servers that share a database need a Redis to agree on the order"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> anyhow::Result<Config> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Config::load(Some(file.path()))
    }

    #[test]
    fn the_printed_defaults_are_a_configuration() {
        let printed = Config::default().to_toml().unwrap();
        assert_eq!(load(&printed).unwrap().to_toml().unwrap(), printed);
    }

    #[test]
    fn unknown_keys_and_bad_values_are_refused() {
        for (bad, named) in [
            ("lisen = \"0.0.0.0:80\"", "lisen"),
            ("[transcoder]\nline_delay = 3", "line_delay"),
            ("[transcoder]\npreset = \"swift\"", "preset"),
            ("[broadcasts]\nidle_timeout_s = 0", "idle_timeout_s"),
            ("[tls]\ncert = \"cert.pem\"", "key"),
            ("[archive]\nsecret_key = \"x\"", "secret_key"),
            ("[archive]\nendpoint = \"http://s3.test\"", "archive.bucket"),
            ("[archive]\nbucket = \"a/b\"", "archive.bucket"),
            (
                "[archive]\nbucket = \"b\"\nendpoint = \"s3.test\"",
                "archive.endpoint",
            ),
            (
                "[archive]\nbucket = \"b\"\nendpoint = \"http://me:key@s3.test\"",
                "archive.endpoint",
            ),
            ("[archive]\nbucket = \"b\"\nprefix = \"../x\"", "archive.prefix"),
            ("[archive]\nbucket = \"b\"\nspool_gib = 0", "archive.spool_gib"),
            ("[redis]\nurl = \"redis://r\"", "database.url"),
            ("[node]\nurl = \"https://n.test\"", "redis.url"),
            (
                "[node]\nurl = \"n.test\"\n[redis]\nurl = \"redis://r\"",
                "node.url",
            ),
            ("[node]\nothers = [\"https://n.test; *\"]", "node.others"),
            ("[database]\nurl = \"postgres://d\"", "redis.url"),
            (
                "[redis]\nurl = \"r:6379\"\n[database]\nurl = \"postgres://d/x\"",
                "redis.url",
            ),
            (
                "[redis]\nurl = \"redis://r\"\n[database]\nurl = \"mysql://d/x\"",
                "postgres://",
            ),
        ] {
            let error = format!("{:#}", load(bad).unwrap_err());
            assert!(error.contains(named), "{bad}: {error}");
        }
    }

    #[test]
    fn passwords_are_not_printed() {
        let config =
            "[redis]\nurl = \"rediss://:s3cret@r.test\"\n[database]\nurl = \"postgres://me:s3cr@t@d.test/x\"";
        let printed = load(config).unwrap().to_toml().unwrap();
        assert!(printed.contains("rediss://:***@r.test") && printed.contains("postgres://me:***@d.test/x"));
        assert!(!printed.contains("s3cr"), "{printed}");
    }
}
