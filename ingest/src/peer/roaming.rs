//! A publisher whose address changes under it: a NAT that forgot it, Wi-Fi that became a mobile network.
//!
//! Its checks and its media then come from another address, but the stack, once it has chosen a pair, answers the old one
//! for half a minute: a browser that hears nothing of what it sends stops sending. So the stack is not told: what comes
//! from the new address is shown to it as coming from the old one, and what it sends there goes to the new one.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::stun::is_stun;

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
    /// Of ICE.
    generation: u32,
    heard: Instant,
    media: Instant,
}

impl Roaming {
    /// A datagram came from an address that is the publisher's, and proved this generation of ICE. Where the stack is to
    /// believe that it came from.
    pub fn came_from(
        &mut self,
        from: SocketAddr,
        generation: u32,
        datagram: &[u8],
        now: Instant,
    ) -> SocketAddr {
        let is_media = !is_stun(datagram);
        match &mut self.0 {
            Some(home) if from == home.at || home.has_moved(generation, is_media, now) => {
                (home.at, home.generation, home.heard) = (from, generation, now);
                home.media = if is_media { now } else { home.media };
            }
            // Checks alone come over every path; DTLS over the one that was chosen.
            None if is_media => {
                self.0 = Some(Home {
                    known_as: from,
                    at: from,
                    generation,
                    heard: now,
                    media: now,
                });
            }
            _ => {}
        }
        self.is_at(from)
    }

    /// Where a datagram for this address is to go. What the stack takes for the publisher's address and where it is
    /// change places, so that the old path stays one as well.
    pub fn is_at(&self, address: SocketAddr) -> SocketAddr {
        match &self.0 {
            Some(home) if home.known_as == address => home.at,
            Some(home) if home.at == address => home.known_as,
            _ => address,
        }
    }

    /// The generation of ICE that carries media.
    pub fn generation(&self) -> u32 {
        self.0.as_ref().map_or(0, |home| home.generation)
    }
}

impl Home {
    /// Something came from elsewhere. A publisher sends media over a pair of a later generation only once it has chosen
    /// it; checks it sends over any that might do.
    fn has_moved(&self, generation: u32, is_media: bool, now: Instant) -> bool {
        let silent = |since: Instant| now.saturating_duration_since(since) >= SILENT;
        match is_media {
            true => generation > self.generation || silent(self.media),
            false => silent(self.heard),
        }
    }
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
        assert_eq!(roaming.came_from(address(1), 0, CHECK, ms(0)), address(1));
        assert_eq!(roaming.came_from(address(1), 0, MEDIA, ms(10)), address(1));
        assert_eq!(roaming.is_at(address(1)), address(1));
        for (n, port) in [(1, 2), (2, 3), (3, 1)] {
            let now = ms(n * 1_000);
            assert_eq!(roaming.came_from(address(port), 0, CHECK, now), address(1));
            assert_eq!(roaming.came_from(address(port), 0, MEDIA, now), address(1));
            assert_eq!(roaming.is_at(address(1)), address(port));
        }
        assert_eq!(roaming.is_at(address(2)), address(2));
    }

    #[test]
    fn two_paths_that_are_both_in_use_stay_two() {
        let (t, mut roaming) = (Instant::now(), Roaming::default());
        let mut now = t;
        roaming.came_from(address(1), 0, MEDIA, now);
        for _ in 0..100 {
            now += Duration::from_millis(100);
            assert_eq!(roaming.came_from(address(2), 0, CHECK, now), address(2));
            assert_eq!(roaming.came_from(address(1), 0, MEDIA, now), address(1));
            assert_eq!(roaming.is_at(address(1)), address(1));
        }
    }

    #[test]
    fn a_restart_moves_nobody_before_media_come_over_the_new_path() {
        let (t, mut roaming) = (Instant::now(), Roaming::default());
        let ms = |ms| t + Duration::from_millis(ms);
        roaming.came_from(address(1), 0, MEDIA, ms(0));
        for n in 1..20 {
            assert_eq!(roaming.came_from(address(2), 1, CHECK, ms(n * 100)), address(2));
            assert_eq!(roaming.came_from(address(1), 0, MEDIA, ms(n * 100)), address(1));
            assert_eq!((roaming.is_at(address(1)), roaming.generation()), (address(1), 0));
        }
        assert_eq!(roaming.came_from(address(2), 1, MEDIA, ms(1_910)), address(1));
        assert_eq!((roaming.is_at(address(1)), roaming.generation()), (address(2), 1));
        // What was on its way over the old path changes nothing, and checks of it are answered where they came from.
        for datagram in [MEDIA, CHECK] {
            let shown = roaming.came_from(address(1), 0, datagram, ms(1_920));
            assert_eq!(shown, address(2));
            assert_eq!(roaming.is_at(shown), address(1));
            assert_eq!(roaming.generation(), 1);
        }
    }

    #[test]
    fn checks_over_a_dead_path_do_not_hold_who_comes_back() {
        let (t, mut roaming) = (Instant::now(), Roaming::default());
        let ms = |ms| t + Duration::from_millis(ms);
        roaming.came_from(address(1), 0, MEDIA, ms(0));
        roaming.came_from(address(2), 1, CHECK, ms(600));
        assert_eq!(roaming.is_at(address(1)), address(2), "nothing came for so long");
        roaming.came_from(address(2), 1, CHECK, ms(700));
        assert_eq!(roaming.came_from(address(1), 0, MEDIA, ms(750)), address(1));
        assert_eq!(roaming.is_at(address(1)), address(1));
    }
}
