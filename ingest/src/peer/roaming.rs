//! A publisher whose address changes under it: a NAT that forgot it, Wi-Fi that became a mobile network.
//!
//! Its checks and its media then come from another address, but the stack, once it has chosen a pair, answers the old one
//! for half a minute: a browser that hears nothing of what it sends stops sending. So the stack is not told: what comes
//! from the new address is shown to it as coming from the old one, and what it sends there goes to the new one.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// A publisher that was not heard from its address for so long, but from another that it proved to be its own, has
/// moved. Two addresses that are both in use are two paths, and left to the stack.
const SILENT: Duration = Duration::from_millis(500);

/// Where one session's publisher is.
#[derive(Debug, Default)]
pub(super) struct Roaming(Option<Home>);

#[derive(Debug)]
struct Home {
    /// What the stack takes it for.
    known_as: SocketAddr,
    at: SocketAddr,
    heard: Instant,
}

impl Roaming {
    /// A datagram came from an address that is the publisher's. Where the stack is to believe that it came from.
    pub fn came_from(&mut self, from: SocketAddr, datagram: &[u8], now: Instant) -> SocketAddr {
        let Some(home) = &mut self.0 else {
            // Checks alone come over every path; DTLS over the one that was chosen.
            if !is_stun(datagram) {
                self.0 = Some(Home {
                    known_as: from,
                    at: from,
                    heard: now,
                });
            }
            return from;
        };
        if from != home.at && now.saturating_duration_since(home.heard) < SILENT {
            return from;
        }
        (home.at, home.heard) = (from, now);
        home.known_as
    }

    /// Where a datagram for this address is to go.
    pub fn is_at(&self, address: SocketAddr) -> SocketAddr {
        match &self.0 {
            Some(home) if home.known_as == address => home.at,
            _ => address,
        }
    }
}

/// RFC 7983 §7.
fn is_stun(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| *first < 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHECK: &[u8] = &[0, 1];
    const MEDIA: &[u8] = &[0x80];

    fn address(port: u16) -> SocketAddr {
        ([192, 0, 2, 1], port).into()
    }

    #[test]
    fn who_moves_is_followed_and_the_stack_sees_one_address() {
        let (t, mut roaming) = (Instant::now(), Roaming::default());
        let ms = |ms| t + Duration::from_millis(ms);
        assert_eq!(roaming.came_from(address(1), CHECK, ms(0)), address(1));
        assert_eq!(roaming.came_from(address(1), MEDIA, ms(10)), address(1));
        assert_eq!(roaming.is_at(address(1)), address(1));
        for (n, port) in [(1, 2), (2, 3), (3, 1)] {
            let now = ms(n * 1_000);
            assert_eq!(roaming.came_from(address(port), CHECK, now), address(1));
            assert_eq!(roaming.came_from(address(port), MEDIA, now), address(1));
            assert_eq!(roaming.is_at(address(1)), address(port));
        }
        assert_eq!(roaming.is_at(address(2)), address(2));
    }

    #[test]
    fn two_paths_that_are_both_in_use_stay_two() {
        let (t, mut roaming) = (Instant::now(), Roaming::default());
        let mut now = t;
        roaming.came_from(address(1), MEDIA, now);
        for _ in 0..100 {
            now += Duration::from_millis(100);
            assert_eq!(roaming.came_from(address(2), CHECK, now), address(2));
            assert_eq!(roaming.came_from(address(1), MEDIA, now), address(1));
            assert_eq!(roaming.is_at(address(1)), address(1));
        }
    }
}
