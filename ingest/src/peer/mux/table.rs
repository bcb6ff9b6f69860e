//! Whose each datagram is.
//!
//! It belongs to the session whose ufrag a STUN binding request names, if it proves the password; from then on
//! everything from that address does. So nobody can steer a session's traffic, or fill the table, without the
//! session's secret.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use bytes::Bytes;
use rtc::crypto::RTCCrypto;
use tokio::sync::mpsc;

use crate::peer::generations::{Generation, Generations};
use crate::peer::roaming::Roaming;
use crate::peer::stun::{BindingRequest, Credentials};

/// Addresses of one publisher that are remembered: it has a handful, and leaves old ones behind when it moves
/// between networks.
const MAX_ADDRESSES: usize = 16;

/// Where a session takes what came for it: from whom the stack is to believe it has it, and the datagram.
pub type Queue = mpsc::Sender<(SocketAddr, Bytes)>;

#[derive(Default)]
pub struct Table {
    next: u64,
    sessions: HashMap<u64, Session>,
    /// A session, and the generation of its ICE.
    by_ufrag: HashMap<String, (u64, u32)>,
    by_address: HashMap<SocketAddr, Known>,
}

struct Session {
    v4: Queue,
    v6: Queue,
    /// Oldest first.
    addresses: VecDeque<SocketAddr>,
    roaming: Roaming,
    /// Once it has credentials.
    ice: Option<Generations>,
}

/// An address that has proved whose it is.
struct Known {
    session: u64,
    /// The last of ICE that it proved.
    generation: u32,
    way: Way,
}

/// What is for the stack, and where it is to believe that it came from.
pub struct Delivery<'d> {
    pub from: SocketAddr,
    pub datagram: Cow<'d, [u8]>,
    pub queue: Queue,
}

/// What the stack sends, where it is to go, and how, if that is known.
pub struct Dispatch<'d> {
    pub to: SocketAddr,
    pub datagram: Cow<'d, [u8]>,
    pub way: Option<Way>,
}

/// How an address is reached. (One that comes over UDP and over TCP has whichever way it proved last.)
#[derive(Clone)]
pub enum Way {
    Udp {
        socket: usize,
        /// Which of our addresses it sends to.
        to: Option<IpAddr>,
    },
    Tcp(mpsc::Sender<Bytes>),
}

impl Way {
    fn is(&self, other: &Way) -> bool {
        match (self, other) {
            (Way::Udp { socket, to }, Way::Udp { socket: s, to: t }) => (socket, to) == (s, t),
            (Way::Tcp(one), Way::Tcp(other)) => one.same_channel(other),
            _ => false,
        }
    }
}

impl Table {
    /// One more session. What comes for it over IPv4 and IPv6 comes apart.
    pub fn enter(&mut self, v4: Queue, v6: Queue) -> u64 {
        self.next += 1;
        let session = Session {
            v4,
            v6,
            addresses: VecDeque::new(),
            roaming: Roaming::default(),
            ice: None,
        };
        self.sessions.insert(self.next, session);
        self.next
    }

    pub fn answers_to(&mut self, id: u64, first: Generation) {
        self.by_ufrag.insert(first.ours.ufrag.clone(), (id, 0));
        if let Some(session) = self.sessions.get_mut(&id) {
            session.ice = Some(Generations::new(first));
        }
    }

    pub fn forget(&mut self, id: u64) {
        self.sessions.remove(&id);
        self.by_ufrag.retain(|_, (session, _)| *session != id);
        self.by_address.retain(|_, known| known.session != id);
    }

    /// A TCP connection is over.
    pub fn hung_up(&mut self, from: SocketAddr) {
        let is_over = |known: &Known| matches!(&known.way, Way::Tcp(queue) if queue.is_closed());
        if self.by_address.get(&from).is_some_and(is_over) {
            self.by_address.remove(&from);
        }
    }

    pub fn restart(&mut self, id: u64, theirs: Credentials) -> Option<Credentials> {
        let session = self.sessions.get_mut(&id)?;
        let in_use = session.roaming.generation();
        let (number, ours, gone) = session.ice.as_mut()?.begin(theirs, in_use);
        self.by_ufrag.insert(ours.ufrag.clone(), (id, number));
        if let Some((gone, generation)) = gone {
            self.by_ufrag.remove(&generation.ours.ufrag);
            let is_gone = |known: &Known| (known.session, known.generation) == (id, gone);
            self.by_address.retain(|_, known| !is_gone(known));
        }
        Some(ours)
    }

    /// Whose datagram this is. `way`: how it came, if not the way that is known.
    pub fn assign<'d>(
        &mut self,
        from: SocketAddr,
        way: Option<Way>,
        datagram: &'d [u8],
        crypto: &dyn RTCCrypto,
        now: Instant,
    ) -> Option<Delivery<'d>> {
        // An address may come back for another session (a NAT that reuses its port), in another generation of ICE, or
        // another way: a check says so.
        if let Some(request) = BindingRequest::parse(datagram) {
            let &(session, generation) = self.by_ufrag.get(request.ufrag)?;
            let known = self.by_address.get(&from);
            let is_same = |known: &Known| {
                (known.session, known.generation) == (session, generation)
                    && way.as_ref().is_none_or(|way| known.way.is(way))
            };
            if !known.is_some_and(is_same) {
                let way = way.or_else(|| known.map(|known| known.way.clone()))?;
                let ice = self.sessions.get(&session)?.ice.as_ref()?;
                if !request.is_authentic(&ice.get(generation)?.ours.password, crypto) {
                    return None;
                }
                self.join(session, generation, from, way);
            }
        }
        self.came_from(from, datagram, crypto, now)
    }

    fn came_from<'d>(
        &mut self,
        from: SocketAddr,
        datagram: &'d [u8],
        crypto: &dyn RTCCrypto,
        now: Instant,
    ) -> Option<Delivery<'d>> {
        let known = self.by_address.get(&from)?;
        let session = self.sessions.get_mut(&known.session)?;
        let datagram = session.ice.as_ref()?.inward(datagram, crypto)?;
        let from = session.roaming.came_from(from, known.generation, &datagram, now);
        let queue = if from.is_ipv4() { &session.v4 } else { &session.v6 };
        Some(Delivery {
            from,
            datagram,
            queue: queue.clone(),
        })
    }

    /// Where a datagram goes that the stack has for an address it `named`.
    pub fn dispatch<'d>(
        &self,
        session: u64,
        named: SocketAddr,
        datagram: &'d [u8],
        crypto: &dyn RTCCrypto,
    ) -> Dispatch<'d> {
        let session = self.sessions.get(&session);
        let to = session.map_or(named, |session| session.roaming.is_at(named));
        let known = self.by_address.get(&to);
        let datagram = match session.and_then(|session| session.ice.as_ref()) {
            Some(ice) => {
                let generation = known.map_or(ice.newest(), |known| known.generation);
                ice.outward(generation, datagram, (to != named).then_some(to), crypto)
            }
            None => Cow::Borrowed(datagram),
        };
        let way = known.map(|known| known.way.clone());
        Dispatch { to, datagram, way }
    }

    fn join(&mut self, id: u64, generation: u32, from: SocketAddr, way: Way) {
        let Table {
            sessions, by_address, ..
        } = self;
        let Some(session) = sessions.get_mut(&id) else {
            return;
        };
        session.addresses.retain(|known| *known != from);
        session.addresses.push_back(from);
        if session.addresses.len() > MAX_ADDRESSES
            && let Some(oldest) = session.addresses.pop_front()
            && by_address.get(&oldest).is_some_and(|known| known.session == id)
        {
            by_address.remove(&oldest);
        }
        let known = Known {
            session: id,
            generation,
            way,
        };
        by_address.insert(from, known);
    }
}

#[cfg(test)]
mod tests;
