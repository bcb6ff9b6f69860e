use std::net::{IpAddr, SocketAddr};

use crate::{Config, Error};

/// Where publishers are told to send to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidates(Vec<SocketAddr>);

/// A machine with more addresses (containers) should say which ones it means; each costs the publisher checks.
const MAX: usize = 8;

impl Candidates {
    pub fn new(config: &Config, bound: SocketAddr) -> Result<Self, Error> {
        let port = config.advertise_port.unwrap_or(bound.port());
        let mut ips = match &config.advertise[..] {
            [] if bound.ip().is_unspecified() => own_addresses(),
            [] => vec![bound.ip()],
            some => some.to_vec(),
        };
        ips.retain(|ip| ip.is_ipv4() == bound.is_ipv4());
        if ips.is_empty() && config.advertise.is_empty() {
            ips.push(loopback(bound));
        }
        if ips.is_empty() {
            return Err(Error::NothingToAdvertise(bound));
        }
        ips.truncate(MAX);
        Ok(Candidates(
            ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect(),
        ))
    }

    /// RFC 8839 §5.1, best first.
    pub fn lines(&self) -> String {
        let line = |(n, addr): (usize, &SocketAddr)| {
            // RFC 8445 §5.1.2.1: host candidates, component 1.
            let priority = (126u32 << 24) | ((65_535 - n as u32) << 8) | 255;
            format!(
                "a=candidate:{} 1 udp {priority} {} {} typ host\r\n",
                n + 1,
                addr.ip(),
                addr.port()
            )
        };
        self.0.iter().enumerate().map(line).collect::<String>() + "a=end-of-candidates\r\n"
    }
}

/// A publisher's candidate we can send to: UDP, component 1, a plain address. mDNS names are not looked up, they
/// mean something only in the publisher's own network; its checks tell us the address anyway.
pub(crate) fn is_reachable(candidate: &str) -> bool {
    let mut fields = candidate.split_ascii_whitespace().skip(1);
    let (component, transport) = (fields.next(), fields.next());
    let address = fields.nth(1).and_then(|a| a.parse::<IpAddr>().ok());
    component == Some("1") && transport.is_some_and(|t| t.eq_ignore_ascii_case("udp")) && address.is_some()
}

fn loopback(bound: SocketAddr) -> IpAddr {
    if bound.is_ipv4() {
        std::net::Ipv4Addr::LOCALHOST.into()
    } else {
        std::net::Ipv6Addr::LOCALHOST.into()
    }
}

fn own_addresses() -> Vec<IpAddr> {
    let interfaces = rtc::shared::ifaces::ifaces().unwrap_or_default();
    let mut ips: Vec<IpAddr> = interfaces.iter().filter_map(|i| i.addr).map(|a| a.ip()).collect();
    ips.retain(|ip| match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local() && !ip.is_unspecified(),
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local() && !ip.is_unspecified(),
    });
    ips.dedup();
    ips
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(udp: &str, advertise: &[&str], advertise_port: Option<u16>) -> Result<Candidates, Error> {
        let advertise = advertise.iter().map(|ip| ip.parse().unwrap()).collect();
        let config = Config {
            advertise,
            advertise_port,
            ..Config::default()
        };
        Candidates::new(&config, udp.parse().unwrap())
    }

    #[test]
    fn what_is_configured_is_told() {
        let told = candidates(
            "0.0.0.0:8189",
            &["203.0.113.7", "2001:db8::1", "198.51.100.2"],
            Some(3478),
        )
        .unwrap();
        assert_eq!(
            told.lines(),
            "a=candidate:1 1 udp 2130706431 203.0.113.7 3478 typ host\r\n\
             a=candidate:2 1 udp 2130706175 198.51.100.2 3478 typ host\r\n\
             a=end-of-candidates\r\n"
        );
        assert!(matches!(
            candidates("0.0.0.0:1", &["::1"], None),
            Err(Error::NothingToAdvertise(_))
        ));
    }

    #[test]
    fn a_bound_address_tells_itself() {
        let told = candidates("127.0.0.1:5000", &[], None).unwrap();
        assert_eq!(told, Candidates(vec!["127.0.0.1:5000".parse().unwrap()]));
        assert!(!candidates("0.0.0.0:5000", &[], None).unwrap().0.is_empty());
    }

    #[test]
    fn only_plain_udp_addresses_are_reached() {
        assert!(is_reachable("1 1 UDP 2113937151 192.0.2.1 50000 typ host"));
        assert!(!is_reachable("1 1 udp 2113937151 3a1b.local 50000 typ host"));
        assert!(!is_reachable(
            "1 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active"
        ));
        assert!(!is_reachable("1 2 udp 1 192.0.2.1 50000 typ host"));
        assert!(!is_reachable(""));
    }
}
