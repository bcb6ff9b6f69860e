//! How many guests come from where.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use axum::extract::ConnectInfo;
use axum::http::{Extensions, HeaderMap};

/// A lecture hall behind one address may come at once; a script is stopped after as many.
const RATE: chat::Rate = chat::Rate {
    messages: 600,
    per_ms: 600_000,
};

/// Those who asked for a guest's token lately, by address. Nothing of it is kept.
#[derive(Default)]
pub struct Arrivals(Mutex<chat::Buckets>);

impl Arrivals {
    /// How many milliseconds to wait.
    pub fn take(&self, extensions: &Extensions, headers: &HeaderMap) -> Result<(), chat::RetryAfter> {
        let peer = extensions
            .get::<ConnectInfo<SocketAddr>>()
            .map(|info| info.0.ip());
        let key = origin(peer, headers).map_or_else(String::new, |address| network(address).to_string());
        let mut arrivals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        arrivals.take(&key, RATE, SystemTime::now().into())
    }
}

/// Who asks. An edge in front of us stands in our own network and says for whom it asks, last of all; whoever asks from
/// elsewhere may say what they like.
fn origin(peer: Option<IpAddr>, headers: &HeaderMap) -> Option<IpAddr> {
    let peer = peer?.to_canonical();
    if !is_ours(peer) {
        return Some(peer);
    }
    let forwarded = headers.get_all("x-forwarded-for").iter().next_back();
    let last = forwarded.and_then(|value| value.to_str().ok()?.rsplit(',').next()?.trim().parse().ok());
    Some(last.unwrap_or(peer))
}

/// Of this machine or its network (RFC 1918, RFC 4193).
fn is_ours(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

/// Whoever has one address of IPv6 has the 2⁶⁴ around it.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(forwarded: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", forwarded.parse().unwrap());
        headers
    }

    #[test]
    fn who_asks() {
        let origin = |peer: &str, forwarded: &str| {
            origin(Some(peer.parse().unwrap()), &headers(forwarded))
                .unwrap()
                .to_string()
        };
        assert_eq!(origin("203.0.113.9", "198.51.100.1"), "203.0.113.9");
        assert_eq!(origin("127.0.0.1", "192.0.2.1, 198.51.100.1"), "198.51.100.1");
        assert_eq!(origin("::ffff:10.0.0.1", "198.51.100.1"), "198.51.100.1");
        assert_eq!(origin("10.0.0.1", "nonsense"), "10.0.0.1");
        assert_eq!(
            network("2001:db8:1:2:3:4:5:6".parse().unwrap()).to_string(),
            "2001:db8:1:2::"
        );
    }

    #[test]
    fn a_script_is_stopped() {
        let arrivals = Arrivals::default();
        let mut extensions = Extensions::new();
        extensions.insert(ConnectInfo(SocketAddr::from(([203, 0, 113, 9], 1))));
        let none = HeaderMap::new();
        assert!((0..RATE.messages).all(|_| arrivals.take(&extensions, &none).is_ok()));
        assert!(arrivals.take(&extensions, &none).is_err());
        extensions.insert(ConnectInfo(SocketAddr::from(([203, 0, 113, 10], 1))));
        assert!(arrivals.take(&extensions, &none).is_ok());
    }
}
