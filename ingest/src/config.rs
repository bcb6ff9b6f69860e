use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use crate::rtp::Repair;
use crate::{Error, IceServer};

/// The `[ingest]` section.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The one UDP port of every publisher's media: an address, or a list of them. `[::]` is left out where there is
    /// no IPv6. None: TCP only.
    #[serde(deserialize_with = "one_or_many")]
    pub udp: Vec<SocketAddr>,
    /// Where the same is served over TCP, for networks that let no UDP out: `true` is wherever `udp` is, with the same
    /// number.
    pub tcp: Tcp,
    /// The addresses publishers are told to send to (those a 1:1 NAT maps to this machine, say). Empty: this
    /// machine's own.
    pub advertise: Vec<IpAddr>,
    /// The port publishers are told, where it differs from `udp` and `tcp` (port mapping).
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
    /// STUN and TURN servers that publishers are told of.
    pub ice_servers: Vec<IceServer>,
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

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Tcp {
    /// As UDP, or not at all.
    Beside(bool),
    At(#[serde(deserialize_with = "one_or_many")] Vec<SocketAddr>),
}

impl Tcp {
    /// `None`: as UDP.
    pub(crate) fn addresses(&self) -> Option<&[SocketAddr]> {
        match self {
            Tcp::Beside(true) => None,
            Tcp::Beside(false) => Some(&[]),
            Tcp::At(addresses) => Some(addresses),
        }
    }
}

impl Default for Tcp {
    fn default() -> Self {
        Tcp::Beside(true)
    }
}

/// An address is a list of one.
fn one_or_many<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<SocketAddr>, D::Error> {
    #[derive(Deserialize)]
    #[serde(
        untagged,
        expecting = "an address with a port (0.0.0.0:8189), or a list of them"
    )]
    enum Addresses {
        One(SocketAddr),
        Many(Vec<SocketAddr>),
    }
    Ok(match Addresses::deserialize(from)? {
        Addresses::One(address) => vec![address],
        Addresses::Many(addresses) => addresses,
    })
}

impl Default for Config {
    fn default() -> Self {
        Config {
            udp: vec![
                (Ipv4Addr::UNSPECIFIED, 8189).into(),
                (Ipv6Addr::UNSPECIFIED, 8189).into(),
            ],
            tcp: Tcp::default(),
            advertise: Vec::new(),
            advertise_port: None,
            max_sessions: 100,
            second_publisher: SecondPublisher::default(),
            repair_ms: RepairTime::By(Measure::Auto),
            silence_s: 15,
            ice_servers: Vec::new(),
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
        self.ice_servers.iter().try_for_each(IceServer::check)?;
        match self {
            // More would outlive the longest line delay and only hold packets back.
            c if matches!(c.repair_ms, RepairTime::Ms(ms) if ms > 2_000) => {
                bad("repair_ms", "\"auto\", or at most 2000")
            }
            // Sender reports may be five seconds apart when nothing else is sent.
            c if !(6..=600).contains(&c.silence_s) => bad("silence_s", "between 6 and 600"),
            c if c.max_sessions == 0 => bad("max_sessions", "at least 1"),
            c if c.advertise_port == Some(0) => bad("advertise_port", "not 0"),
            c if c.udp.is_empty() && c.tcp.addresses().is_none_or(<[_]>::is_empty) => {
                bad("udp", "without it ingest.tcp must name an address")
            }
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
        assert_eq!(config.udp, ["127.0.0.1:0".parse::<SocketAddr>().unwrap()]);
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
    fn ports_are_one_or_many() {
        let config = |text| serde_json::from_str::<Config>(text).unwrap();
        let both = config(r#"{"udp": ["0.0.0.0:1", "[::]:1"], "tcp": "0.0.0.0:443"}"#);
        assert_eq!(both.udp.len(), 2);
        assert_eq!(both.tcp, Tcp::At(vec!["0.0.0.0:443".parse().unwrap()]));
        assert!(both.check().is_ok());
        let off = config(r#"{"udp": [], "tcp": false}"#);
        assert_eq!(
            off.check().unwrap_err().to_string(),
            "ingest.udp: without it ingest.tcp must name an address"
        );
        assert!(config(r#"{"udp": [], "tcp": ["0.0.0.0:443"]}"#).check().is_ok());
        assert!(serde_json::from_str::<Config>(r#"{"udp": "8189"}"#).is_err());
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
