use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::rtp::Repair;

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
    /// How long a missing packet is waited for. `"auto"`: as long as it is worth, by the round trip and the line
    /// delay. A number of milliseconds: neither pictures nor sound are waited for longer, nor less.
    pub repair_ms: RepairTime,
    /// A session ends after so long without any RTP or RTCP.
    pub silence_s: u64,
    /// How long after its capture a frame leaves on the line: the transcoder's setting, which `repair_ms = "auto"`
    /// follows.
    #[serde(skip)]
    pub line_delay_ms: u32,
}

/// `ingest.repair_ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum RepairTime {
    Ms(u64),
    By(Measure),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Measure {
    Auto,
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
            repair_ms: RepairTime::By(Measure::Auto),
            silence_s: 15,
            line_delay_ms: 150,
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
            c if matches!(c.repair_ms, RepairTime::Ms(ms) if ms > 2_000) => {
                bad("repair_ms", "\"auto\", or at most 2000")
            }
            // Sender reports may be five seconds apart when nothing else is sent.
            c if !(6..=600).contains(&c.silence_s) => bad("silence_s", "between 6 and 600"),
            c if c.max_sessions == 0 => bad("max_sessions", "at least 1"),
            c if c.advertise_port == Some(0) => bad("advertise_port", "not 0"),
            _ => Ok(()),
        }
    }

    pub(crate) fn repair(&self) -> Repair {
        match self.repair_ms {
            RepairTime::Ms(ms) => Duration::from_millis(ms).into(),
            RepairTime::By(Measure::Auto) => Repair::Auto {
                line_delay: Duration::from_millis(self.line_delay_ms.into()),
            },
        }
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
    fn repairs_are_waited_for_as_long_as_it_is_worth_or_as_told() {
        let repair = |json: &str| serde_json::from_str::<Config>(json).map(|config| config.repair());
        let line_delay = Duration::from_millis(150);
        assert_eq!(repair("{}").unwrap(), Repair::Auto { line_delay });
        assert_eq!(
            repair(r#"{"repair_ms": "auto"}"#).unwrap(),
            Repair::Auto { line_delay }
        );
        let fixed = Duration::from_millis(120).into();
        assert_eq!(repair(r#"{"repair_ms": 120}"#).unwrap(), fixed);
        assert!(repair(r#"{"repair_ms": "soon"}"#).is_err());
        let said = serde_json::to_string(&Config::default()).unwrap();
        assert!(said.contains(r#""repair_ms":"auto""#), "{said}");
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
