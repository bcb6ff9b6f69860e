//! The ports that all sessions share: the stack wants a socket per connection and gets views of these.
//!
//! A datagram belongs to the session whose ufrag a STUN binding request names, if it proves the password; from
//! then on everything from that address does. So nobody can steer a session's traffic, or fill the table,
//! without the session's secret.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use bytes::Bytes;
use rtc::crypto::{RTCCrypto, RTCCryptoProvider};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::framing::MAX_DATAGRAM;
use super::generations::{Generation, Generations};
use super::listen::Ports;
use super::roaming::Roaming;
use super::stun::{BindingRequest, Credentials};
use super::udp;
use super::view::Route;
use crate::Error;

/// Per session and family: a second of 20 Mbit/s, for a stack that is busy.
const QUEUE: usize = 2048;
/// Addresses of one publisher that are remembered: it has a handful, and leaves old ones behind when it moves
/// between networks.
const MAX_ADDRESSES: usize = 16;

pub(crate) struct Mux {
    udp: Vec<udp::Socket>,
    tcp: Vec<SocketAddr>,
    table: Mutex<Table>,
    crypto: Arc<dyn RTCCryptoProvider>,
    stop: CancellationToken,
}

#[derive(Default)]
struct Table {
    next: u64,
    sessions: HashMap<u64, Session>,
    /// A session, and the generation of its ICE.
    by_ufrag: HashMap<String, (u64, u32)>,
    by_address: HashMap<SocketAddr, Known>,
}

pub(super) type Datagrams = mpsc::Receiver<(SocketAddr, Bytes)>;
type Queue = mpsc::Sender<(SocketAddr, Bytes)>;

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
struct Delivery<'d> {
    from: SocketAddr,
    datagram: Cow<'d, [u8]>,
    queue: Queue,
}

/// What the stack sends, where it is to go, and how, if that is known.
struct Dispatch<'d> {
    to: SocketAddr,
    datagram: Cow<'d, [u8]>,
    way: Option<Way>,
}

/// How an address is reached. (One that comes over UDP and over TCP has whichever way it proved last.)
#[derive(Clone)]
pub(super) enum Way {
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

impl Mux {
    /// Opens the ports. Without `tcp` it is open where UDP is.
    pub async fn bind(udp: &[SocketAddr], tcp: Option<&[SocketAddr]>) -> Result<Arc<Mux>, Error> {
        let crypto = rtc::crypto::default_provider().map_err(|e| Error::Crypto(e.to_string()))?;
        let Ports { udp, tcp } = Ports::open(udp, tcp)?;
        let mux = Arc::new(Mux {
            udp,
            tcp: tcp.iter().map(|listener| listener.local).collect(),
            table: Mutex::default(),
            crypto,
            stop: CancellationToken::new(),
        });
        for (n, socket) in mux.udp.iter().enumerate() {
            tokio::spawn(receive(Arc::downgrade(&mux), n, socket.clone(), mux.stop.clone()));
        }
        for listener in tcp {
            tokio::spawn(listener.accept(Arc::downgrade(&mux), mux.stop.clone()));
        }
        Ok(mux)
    }

    /// Where it listens.
    pub fn udp(&self) -> Vec<SocketAddr> {
        self.udp.iter().map(|socket| socket.local).collect()
    }

    pub fn tcp(&self) -> &[SocketAddr] {
        &self.tcp
    }

    pub(super) fn has_ipv6(&self) -> bool {
        self.udp().iter().chain(&self.tcp).any(SocketAddr::is_ipv6)
    }

    /// A place for one more session. What comes for it over IPv4 and IPv6 comes apart.
    pub(super) fn route(self: &Arc<Self>) -> Route {
        let ((v4, from_v4), (v6, from_v6)) = (mpsc::channel(QUEUE), mpsc::channel(QUEUE));
        let mut table = self.table();
        table.next += 1;
        let id = table.next;
        let session = Session {
            v4,
            v6,
            addresses: VecDeque::new(),
            roaming: Roaming::default(),
            ice: None,
        };
        table.sessions.insert(id, session);
        Route::new(self.clone(), id, from_v4, from_v6)
    }

    /// The session is found by these credentials from now on.
    pub(super) fn answers_to(&self, session: u64, first: Generation) {
        let mut table = self.table();
        table.by_ufrag.insert(first.ours.ufrag.clone(), (session, 0));
        if let Some(session) = table.sessions.get_mut(&session) {
            session.ice = Some(Generations::new(first));
        }
    }

    /// The publisher goes by these credentials from now on; ours. `None` if there is no such session.
    pub(super) fn restart(&self, session: u64, theirs: Credentials) -> Option<Credentials> {
        self.table().restart(session, theirs)
    }

    pub(super) fn forget(&self, session: u64) {
        let mut table = self.table();
        table.sessions.remove(&session);
        table.by_ufrag.retain(|_, (id, _)| *id != session);
        table.by_address.retain(|_, known| known.session != session);
    }

    /// A datagram from anybody. False if it is nobody's.
    pub(super) fn received(&self, from: SocketAddr, way: Way, datagram: &[u8]) -> bool {
        let to = self
            .table()
            .assign(from, Some(way), datagram, self.crypto.crypto());
        hand(to)
    }

    /// A datagram from an address that is known.
    pub(super) fn forward(&self, from: SocketAddr, datagram: &[u8]) -> bool {
        let to = self.table().assign(from, None, datagram, self.crypto.crypto());
        hand(to)
    }

    /// Never waits: the sockets remember one waiting task only, and a lost datagram is no error.
    pub(super) fn send(&self, session: u64, to: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        let Dispatch { to, datagram, way } =
            self.table().dispatch(session, to, datagram, self.crypto.crypto());
        match way {
            Some(Way::Tcp(connection)) => {
                if connection.try_send(bytes(datagram)).is_err() {
                    metrics::counter!("lectern_ingest_datagrams_dropped_total").increment(1);
                }
                Ok(())
            }
            Some(Way::Udp { socket, to: from }) => self.udp[socket].send(to, from, &datagram),
            // Not heard from yet: a candidate that it told.
            None => match self.udp.iter().find(|s| s.local.is_ipv4() == to.is_ipv4()) {
                Some(socket) => socket.send(to, None, &datagram),
                None => Ok(()),
            },
        }
    }

    /// A TCP connection is over.
    pub(super) fn hung_up(&self, from: SocketAddr) {
        let mut table = self.table();
        let is_over = |known: &Known| matches!(&known.way, Way::Tcp(queue) if queue.is_closed());
        if table.by_address.get(&from).is_some_and(is_over) {
            table.by_address.remove(&from);
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing can panic while it is held.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Mux {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Table {
    fn restart(&mut self, id: u64, theirs: Credentials) -> Option<Credentials> {
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
    fn assign<'d>(
        &mut self,
        from: SocketAddr,
        way: Option<Way>,
        datagram: &'d [u8],
        crypto: &dyn RTCCrypto,
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
        self.came_from(from, datagram, crypto)
    }

    fn came_from<'d>(
        &mut self,
        from: SocketAddr,
        datagram: &'d [u8],
        crypto: &dyn RTCCrypto,
    ) -> Option<Delivery<'d>> {
        let known = self.by_address.get(&from)?;
        let session = self.sessions.get_mut(&known.session)?;
        let datagram = session.ice.as_ref()?.inward(datagram, crypto)?;
        let from = session
            .roaming
            .came_from(from, known.generation, &datagram, Instant::now());
        let queue = if from.is_ipv4() { &session.v4 } else { &session.v6 };
        Some(Delivery {
            from,
            datagram,
            queue: queue.clone(),
        })
    }

    fn dispatch<'d>(
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

fn hand(to: Option<Delivery<'_>>) -> bool {
    let Some(Delivery {
        from,
        datagram,
        queue,
    }) = to
    else {
        metrics::counter!("lectern_ingest_datagrams_unknown_total").increment(1);
        return false;
    };
    // UDP has nobody to push back to; the loss is repaired or counted like any other.
    if queue.try_send((from, bytes(datagram))).is_err() {
        metrics::counter!("lectern_ingest_datagrams_dropped_total").increment(1);
    }
    true
}

fn bytes(datagram: Cow<'_, [u8]>) -> Bytes {
    match datagram {
        Cow::Borrowed(datagram) => Bytes::copy_from_slice(datagram),
        Cow::Owned(datagram) => datagram.into(),
    }
}

async fn receive(mux: Weak<Mux>, n: usize, socket: udp::Socket, stop: CancellationToken) {
    let received = socket.receive(|from, to, datagram| {
        if let Some(mux) = mux.upgrade()
            && datagram.len() <= MAX_DATAGRAM
        {
            mux.received(from, Way::Udp { socket: n, to }, datagram);
        }
    });
    tokio::select! {
        () = stop.cancelled() => {}
        over = received => tracing::error!(?over, "the UDP port is gone"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};
    use tokio::net::UdpSocket;

    async fn mux() -> Arc<Mux> {
        Mux::bind(&[(Ipv4Addr::LOCALHOST, 0).into()], None).await.unwrap()
    }

    struct Session {
        route: Route,
        ice: Generation,
        v4: Datagrams,
        _v6: Datagrams,
    }

    fn session(mux: &Arc<Mux>) -> Session {
        let (route, ice) = (mux.route(), Generation::random());
        route.answers_to(ice.clone());
        let (v4, v6) = route.datagrams();
        Session {
            route,
            ice,
            v4,
            _v6: v6,
        }
    }

    fn way() -> Way {
        Way::Udp { socket: 0, to: None }
    }

    #[tokio::test]
    async fn an_address_belongs_to_who_proves_it() {
        let mux = mux().await;
        let mut session = session(&mux);
        let publisher = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        publisher.connect(mux.udp()[0]).await.unwrap();
        let mut forged = session.ice.clone();
        forged.ours.password = "guessed".into();
        publisher.send(b"\x80media from nobody").await.unwrap();
        publisher.send(&forged.check()).await.unwrap();
        publisher.send(&session.ice.check()).await.unwrap();
        publisher.send(b"\x80media").await.unwrap();
        let (from, first) = session.v4.recv().await.unwrap();
        assert_eq!(first, session.ice.check(), "nothing before it came through");
        assert_eq!(session.v4.recv().await.unwrap().1, b"\x80media"[..]);
        mux.send(1, from, b"answer").unwrap();
        let mut answer = [0; 16];
        assert_eq!(publisher.recv(&mut answer).await.unwrap(), 6);
    }

    #[tokio::test]
    async fn an_address_may_move_to_another_session() {
        let mux = mux().await;
        let (first, mut second) = (session(&mux), session(&mux));
        let from = "127.0.0.1:9".parse().unwrap();
        for datagram in [&first.ice.check()[..], &second.ice.check(), b"\x80media"] {
            assert!(mux.received(from, way(), datagram));
        }
        assert_eq!(second.v4.recv().await.unwrap().1, second.ice.check());
        assert_eq!(second.v4.recv().await.unwrap().1, b"\x80media"[..]);
        drop(first.route);
        assert!(!mux.table().by_ufrag.contains_key(&first.ice.ours.ufrag));
        assert!(
            mux.table().by_address.contains_key(&from),
            "it is the second's now"
        );
    }

    #[tokio::test]
    async fn a_restart_leaves_the_old_path_until_media_come_over_a_new_one() {
        let mux = mux().await;
        let mut session = session(&mux);
        let old = session.ice.clone();
        let (here, there) = ("127.0.0.1:9".parse().unwrap(), "127.0.0.1:10".parse().unwrap());
        mux.received(here, way(), &old.check());
        mux.received(here, way(), b"\x80media");
        let theirs = Credentials::random();
        let ours = session.route.restart(theirs.clone()).unwrap();
        let new = Generation { ours, theirs };
        let comes: [(SocketAddr, &[u8]); 5] = [
            (there, &new.check()),
            (here, &old.check()),
            (here, b"\x80media"),
            (there, b"\x80media"),
            (there, &new.check()),
        ];
        for (from, datagram) in comes {
            assert!(mux.received(from, way(), datagram));
        }
        let expected: [(SocketAddr, &[u8]); 7] = [
            (here, &old.check()),
            (here, b"\x80media"),
            (there, &old.check()),
            (here, &old.check()),
            (here, b"\x80media"),
            (here, b"\x80media"),
            (here, &old.check()),
        ];
        for (from, datagram) in expected {
            let came = session.v4.recv().await.unwrap();
            assert_eq!((came.0, &came.1[..]), (from, datagram));
        }
        let dispatch = |to| {
            let table = mux.table();
            let sent = table.dispatch(1, to, b"\x80feedback", mux.crypto.crypto());
            (sent.to, sent.way.is_some())
        };
        assert_eq!((dispatch(here), dispatch(there)), ((there, true), (here, true)));
    }

    #[tokio::test]
    async fn over_one_connection_a_restart_is_heard_too() {
        let mux = mux().await;
        let session = session(&mux);
        let here = "127.0.0.1:9".parse().unwrap();
        mux.received(here, way(), &session.ice.check());
        let theirs = Credentials::random();
        let ours = session.route.restart(theirs.clone()).unwrap();
        assert!(mux.forward(here, &Generation { ours, theirs }.check()));
        assert_eq!(mux.table().by_address[&here].generation, 1);
    }

    #[tokio::test]
    async fn restarts_leave_nothing_behind() {
        let mux = mux().await;
        let session = session(&mux);
        for port in 1..50 {
            let theirs = Credentials::random();
            let ours = session.route.restart(theirs.clone()).unwrap();
            let check = Generation { ours, theirs }.check();
            assert!(mux.received((Ipv4Addr::LOCALHOST, port).into(), way(), &check));
        }
        assert_eq!(mux.table().by_ufrag.len(), 5);
        assert_eq!(mux.table().by_address.len(), 4);
        drop(session.route);
        let table = mux.table();
        assert!(table.by_address.is_empty() && table.by_ufrag.is_empty());
    }

    #[tokio::test]
    async fn families_come_apart() {
        let mux = mux().await;
        let mut session = session(&mux);
        let check = session.ice.check();
        assert!(mux.received((Ipv6Addr::LOCALHOST, 9).into(), way(), &check));
        assert!(mux.received((Ipv4Addr::LOCALHOST, 9).into(), way(), &check));
        assert!(session.v4.recv().await.unwrap().0.is_ipv4());
        assert!(session._v6.recv().await.unwrap().0.is_ipv6());
        assert!(session.v4.is_empty() && session._v6.is_empty());
    }

    #[tokio::test]
    async fn a_publisher_that_moves_is_one_address_to_the_stack() {
        let mux = mux().await;
        let mut session = session(&mux);
        let here: SocketAddr = "127.0.0.1:9".parse().unwrap();
        let there: SocketAddr = "[::1]:10".parse().unwrap();
        for from in [here, there] {
            assert!(mux.received(from, way(), &session.ice.check()));
            assert!(mux.received(from, way(), b"\x80media"));
            let came = [session.v4.recv().await.unwrap(), session.v4.recv().await.unwrap()];
            assert_eq!(came.map(|(from, _)| from), [here, here]);
            assert_eq!(mux.table().sessions[&1].roaming.is_at(here), from);
            // So long that it must have moved.
            tokio::time::sleep(std::time::Duration::from_millis(600)).await;
        }
    }

    #[tokio::test]
    async fn addresses_are_few_and_leave_with_their_session() {
        let mux = mux().await;
        let session = session(&mux);
        for port in 1..100 {
            mux.received((Ipv4Addr::LOCALHOST, port).into(), way(), &session.ice.check());
        }
        assert_eq!(mux.table().by_address.len(), MAX_ADDRESSES);
        assert!(
            mux.table()
                .by_address
                .contains_key(&(Ipv4Addr::LOCALHOST, 99).into()),
            "the newest is heard"
        );
        drop(session.route);
        let table = mux.table();
        assert!(table.by_address.is_empty() && table.by_ufrag.is_empty() && table.sessions.is_empty());
    }
}
