use std::net::{IpAddr, SocketAddr};

use crate::{Config, Error};

/// Where publishers are told to send to.
#[derive(Clone, Debug)]
pub(crate) struct Candidates {
    udp: Vec<SocketAddr>,
    tcp: Vec<SocketAddr>,
    advertise: Vec<IpAddr>,
    port: Option<u16>,
}

/// Of each transport. A machine with more addresses (containers) should say which ones it means; each costs the
/// publisher checks.
const MAX: usize = 8;

/// Networks that lead nowhere but into this machine, by how their interfaces are called. They are told last.
const INWARD: [&str; 7] = ["docker", "br-", "veth", "virbr", "cni", "flannel", "podman"];

/// RFC 8445 §5.1.2.1: where UDP gets through, TCP is not taken (RFC 6544 §4.2; 90 as browsers have it).
const UDP_PREFERENCE: u32 = 126;
const TCP_PREFERENCE: u32 = 90;
/// Of the local preference of TCP: passive (RFC 6544 §4.2).
const PASSIVE: u32 = 4;

impl Candidates {
    /// `udp` and `tcp` are what was opened.
    pub fn new(config: &Config, udp: Vec<SocketAddr>, tcp: Vec<SocketAddr>) -> Result<Self, Error> {
        let candidates = Candidates {
            udp,
            tcp,
            advertise: config.advertise.clone(),
            port: config.advertise_port,
        };
        if !config.advertise.is_empty() && candidates.told(&[]) == Told::default() {
            return Err(Error::NothingToAdvertise);
        }
        Ok(candidates)
    }

    /// RFC 8839 §5.1, RFC 6544 §4.5, best first. Interfaces come and go, so they are looked at each time.
    pub fn lines(&self) -> String {
        let own = if self.advertise.is_empty() {
            own_addresses()
        } else {
            Vec::new()
        };
        let told = self.told(&own);
        let udp = told.udp.iter().zip(0..).map(|(addr, n)| {
            let priority = (UDP_PREFERENCE << 24) | ((65_535 - n) << 8) | 255;
            ("udp", priority, addr, "")
        });
        let tcp = told.tcp.iter().zip(0..).map(|(addr, n)| {
            let priority = (TCP_PREFERENCE << 24) | (((PASSIVE << 13) + 8_191 - n) << 8) | 255;
            ("tcp", priority, addr, " tcptype passive")
        });
        let line = |(n, (transport, priority, addr, more)): (usize, (&str, u32, &SocketAddr, &str))| {
            let (n, ip, port) = (n + 1, addr.ip(), addr.port());
            format!("a=candidate:{n} 1 {transport} {priority} {ip} {port} typ host{more}\r\n")
        };
        udp.chain(tcp).enumerate().map(line).collect::<String>() + "a=end-of-candidates\r\n"
    }

    /// `own`: this machine's addresses, best first.
    fn told(&self, own: &[IpAddr]) -> Told {
        Told {
            udp: self.of(&self.udp, own),
            tcp: self.of(&self.tcp, own),
        }
    }

    fn of(&self, bound: &[SocketAddr], own: &[IpAddr]) -> Vec<SocketAddr> {
        let mut told: Vec<SocketAddr> = Vec::new();
        for bound in bound {
            let port = self.port.unwrap_or(bound.port());
            let mut ips = match &self.advertise[..] {
                [] if bound.ip().is_unspecified() => own.to_vec(),
                [] => vec![bound.ip()],
                some => some.to_vec(),
            };
            ips.retain(|ip| ip.is_ipv4() == bound.is_ipv4());
            let addresses = ips.into_iter().map(|ip| SocketAddr::new(ip, port));
            let new: Vec<SocketAddr> = addresses.filter(|addr| !told.contains(addr)).collect();
            told.extend(new);
        }
        // A machine without a network can still be published to by itself.
        if told.is_empty() && self.advertise.is_empty() {
            let loopback = |bound: &SocketAddr| SocketAddr::new(loopback(bound), bound.port());
            told.extend(bound.first().map(loopback));
        }
        told.truncate(MAX);
        told
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    udp: Vec<SocketAddr>,
    tcp: Vec<SocketAddr>,
}

/// A publisher's candidate we can send to: UDP, component 1, a plain address. mDNS names are not looked up, they
/// mean something only in the publisher's own network; its checks tell us the address anyway. Over TCP it is the
/// publisher who connects.
pub(crate) fn is_reachable(candidate: &str) -> bool {
    let mut fields = candidate.split_ascii_whitespace().skip(1);
    let (component, transport) = (fields.next(), fields.next());
    let address = fields.nth(1).and_then(|a| a.parse::<IpAddr>().ok());
    component == Some("1") && transport.is_some_and(|t| t.eq_ignore_ascii_case("udp")) && address.is_some()
}

fn loopback(bound: &SocketAddr) -> IpAddr {
    if bound.is_ipv4() {
        std::net::Ipv4Addr::LOCALHOST.into()
    } else {
        std::net::Ipv6Addr::LOCALHOST.into()
    }
}

/// Best first: IPv4 before IPv6 (some publishers look at the first candidate only, and have no IPv6), then what leads
/// furthest.
fn own_addresses() -> Vec<IpAddr> {
    let interfaces = rtc::shared::ifaces::ifaces().unwrap_or_default();
    let mut addresses: Vec<(bool, bool, bool, IpAddr)> = interfaces
        .iter()
        .filter_map(|interface| Some((&interface.name, interface.addr?.ip())))
        .filter(|(_, ip)| is_usable(ip))
        .map(|(name, ip)| {
            let inward = INWARD.iter().any(|prefix| name.starts_with(prefix));
            (inward, ip.is_ipv6(), is_private(&ip), ip)
        })
        .collect();
    addresses.sort();
    addresses.dedup();
    addresses.into_iter().map(|(.., ip)| ip).collect()
}

fn is_usable(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local() && !ip.is_unspecified(),
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local() && !ip.is_unspecified(),
    }
}

fn is_private(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private(),
        IpAddr::V6(ip) => ip.is_unique_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(
        bound: &[&str],
        advertise: &[&str],
        advertise_port: Option<u16>,
    ) -> Result<Candidates, Error> {
        let config = Config {
            advertise: advertise.iter().map(|ip| ip.parse().unwrap()).collect(),
            advertise_port,
            ..Config::default()
        };
        let bound: Vec<SocketAddr> = bound.iter().map(|addr| addr.parse().unwrap()).collect();
        Candidates::new(&config, bound.clone(), bound)
    }

    fn udp(candidates: &Candidates, own: &[&str]) -> Vec<String> {
        let own: Vec<IpAddr> = own.iter().map(|ip| ip.parse().unwrap()).collect();
        candidates
            .told(&own)
            .udp
            .iter()
            .map(SocketAddr::to_string)
            .collect()
    }

    #[test]
    fn what_is_configured_is_told() {
        let told = candidates(
            &["0.0.0.0:8189", "[::]:8190"],
            &["2001:db8::1", "203.0.113.7", "198.51.100.2"],
            None,
        );
        assert_eq!(
            told.unwrap().lines(),
            "a=candidate:1 1 udp 2130706431 203.0.113.7 8189 typ host\r\n\
             a=candidate:2 1 udp 2130706175 198.51.100.2 8189 typ host\r\n\
             a=candidate:3 1 udp 2130705919 2001:db8::1 8190 typ host\r\n\
             a=candidate:4 1 tcp 1520435199 203.0.113.7 8189 typ host tcptype passive\r\n\
             a=candidate:5 1 tcp 1520434943 198.51.100.2 8189 typ host tcptype passive\r\n\
             a=candidate:6 1 tcp 1520434687 2001:db8::1 8190 typ host tcptype passive\r\n\
             a=end-of-candidates\r\n"
        );
        let mapped = candidates(&["0.0.0.0:8189"], &["203.0.113.7"], Some(3478)).unwrap();
        assert_eq!(udp(&mapped, &["10.0.0.5"]), ["203.0.113.7:3478"]);
        assert!(matches!(
            candidates(&["0.0.0.0:1"], &["::1"], None),
            Err(Error::NothingToAdvertise)
        ));
    }

    #[test]
    fn every_interface_is_told_where_nothing_is() {
        let all = candidates(&["0.0.0.0:8189", "[::]:8189"], &[], None).unwrap();
        let own = ["203.0.113.7", "10.0.0.5", "2001:db8::1"];
        assert_eq!(
            udp(&all, &own),
            ["203.0.113.7:8189", "10.0.0.5:8189", "[2001:db8::1]:8189"]
        );
        let many: Vec<String> = (1..50).map(|n| format!("10.0.0.{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(udp(&all, &many).len(), MAX);
        assert_eq!(udp(&all, &[]), ["127.0.0.1:8189"], "no network at all");
        assert_eq!(
            own_addresses().iter().filter(|ip| !is_usable(ip)).count(),
            0,
            "whatever this machine has"
        );
    }

    #[test]
    fn a_bound_address_tells_itself() {
        let two = candidates(&["127.0.0.1:5000", "10.0.0.5:5001"], &[], None).unwrap();
        assert_eq!(udp(&two, &["192.0.2.1"]), ["127.0.0.1:5000", "10.0.0.5:5001"]);
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
