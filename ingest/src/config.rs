use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Error;

/// The `[ingest]` section.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The one UDP port of every publisher's media.
    pub udp: SocketAddr,
    /// The addresses publishers are told to send to. Empty: this machine's own.
    pub advertise: Vec<IpAddr>,
    /// The port publishers are told, where it differs from `udp` (port mapping).
    pub advertise_port: Option<u16>,
    /// Publishers at once, over all broadcasts.
    pub max_sessions: usize,
    /// What becomes of somebody who publishes as a source that another person is on air with.
    pub second_publisher: SecondPublisher,
    /// How long a missing packet is waited for. Repairs need at least a round trip; every millisecond beyond
    /// the line delay is wasted.
    pub repair_ms: u64,
    /// A session ends after so long without any RTP or RTCP.
    pub silence_s: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SecondPublisher {
    /// 409, unless they ask to take the place.
    #[default]
    Refuse,
    /// They are connected, and on air as soon as the place is free.
    Queue,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            udp: SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 8189),
            advertise: Vec::new(),
            advertise_port: None,
            max_sessions: 100,
            second_publisher: SecondPublisher::default(),
            repair_ms: 120,
            silence_s: 15,
        }
    }
}

impl Config {
    pub fn check(&self) -> Result<(), Error> {
        let bad = |setting, reason: &str| {
            Err(Error::Config {
                setting,
                reason: reason.into(),
            })
        };
        match self {
            // More would outlive the longest line delay and only hold packets back.
            c if c.repair_ms > 2_000 => bad("repair_ms", "at most 2000"),
            // Sender reports may be five seconds apart when nothing else is sent.
            c if !(6..=600).contains(&c.silence_s) => bad("silence_s", "between 6 and 600"),
            c if c.max_sessions == 0 => bad("max_sessions", "at least 1"),
            c if c.advertise_port == Some(0) => bad("advertise_port", "not 0"),
            _ => Ok(()),
        }
    }

    pub(crate) fn repair(&self) -> Duration {
        Duration::from_millis(self.repair_ms)
    }

    pub(crate) fn silence(&self) -> Duration {
        Duration::from_secs(self.silence_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_are_refused_and_the_rest_has_defaults() {
        let config: Config = serde_json::from_str(r#"{"udp": "127.0.0.1:0"}"#).unwrap();
        assert_eq!(config.udp.to_string(), "127.0.0.1:0");
        assert_eq!(config.max_sessions, Config::default().max_sessions);
        assert!(serde_json::from_str::<Config>(r#"{"upd": "127.0.0.1:0"}"#).is_err());
    }

    #[test]
    fn settings_that_cannot_work_are_named() {
        let error = Config {
            silence_s: 1,
            ..Config::default()
        }
        .check()
        .unwrap_err();
        assert_eq!(error.to_string(), "ingest.silence_s: between 6 and 600");
        assert!(Config::default().check().is_ok());
    }
}
