use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use rtc::crypto::{RTCCryptoProvider, default_provider};

use super::*;

const MEDIA: &[u8] = b"\x80media";

/// A table, and the moment it is in.
struct World {
    table: Table,
    crypto: Arc<dyn RTCCryptoProvider>,
    now: Instant,
}

struct Entered {
    id: u64,
    ice: Generation,
    v4: Queue,
    v6: Queue,
}

impl World {
    fn new() -> Self {
        World {
            table: Table::default(),
            crypto: default_provider().unwrap(),
            now: Instant::now(),
        }
    }

    fn enter(&mut self) -> Entered {
        let ((v4, _), (v6, _)) = (mpsc::channel(1), mpsc::channel(1));
        let (id, ice) = (self.table.enter(v4.clone(), v6.clone()), Generation::random());
        self.table.answers_to(id, ice.clone());
        Entered { id, ice, v4, v6 }
    }

    fn restart(&mut self, session: &Entered) -> Generation {
        let theirs = Credentials::random();
        let ours = self.table.restart(session.id, theirs.clone()).unwrap();
        Generation { ours, theirs }
    }

    fn came<'d>(&mut self, from: SocketAddr, datagram: &'d [u8]) -> Option<Delivery<'d>> {
        let way = Way::Udp { socket: 0, to: None };
        let crypto = self.crypto.crypto();
        self.table.assign(from, Some(way), datagram, crypto, self.now)
    }

    /// From whom, and what, the stack has it then.
    fn shown(&mut self, from: SocketAddr, datagram: &[u8]) -> Option<(SocketAddr, Vec<u8>)> {
        let delivery = self.came(from, datagram)?;
        Some((delivery.from, delivery.datagram.into_owned()))
    }

    fn goes(&self, session: &Entered, to: SocketAddr) -> (SocketAddr, bool) {
        let dispatch = self
            .table
            .dispatch(session.id, to, b"\x80feedback", self.crypto.crypto());
        (dispatch.to, dispatch.way.is_some())
    }

    fn is_empty(&self) -> bool {
        let Table {
            sessions,
            by_ufrag,
            by_address,
            ..
        } = &self.table;
        sessions.is_empty() && by_ufrag.is_empty() && by_address.is_empty()
    }
}

fn at(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

#[test]
fn an_address_belongs_to_who_proves_it() {
    let mut world = World::new();
    let session = world.enter();
    let mut forged = session.ice.clone();
    forged.ours.password = "guessed".into();
    assert_eq!(world.shown(at(9), MEDIA), None);
    assert_eq!(world.shown(at(9), &forged.check()), None);
    assert_eq!(world.shown(at(9), MEDIA), None);
    let check = session.ice.check();
    assert_eq!(world.shown(at(9), &check), Some((at(9), check.clone())));
    assert_eq!(world.shown(at(9), MEDIA), Some((at(9), MEDIA.into())));
    assert_eq!(world.shown(at(10), MEDIA), None);
}

#[test]
fn an_address_may_move_to_another_session() {
    let mut world = World::new();
    let (first, second) = (world.enter(), world.enter());
    for session in [&first, &second] {
        assert!(world.came(at(9), &session.ice.check()).is_some());
        let delivery = world.came(at(9), MEDIA).unwrap();
        assert!(delivery.queue.same_channel(&session.v4));
    }
    world.table.forget(first.id);
    assert!(world.came(at(9), &first.ice.check()).is_none());
    assert!(world.came(at(9), MEDIA).is_some(), "it is the second's now");
}

#[test]
fn a_restart_leaves_the_old_path_until_media_come_over_a_new_one() {
    let mut world = World::new();
    let session = world.enter();
    let (old, here, there) = (session.ice.clone(), at(9), at(10));
    world.came(here, &old.check());
    world.came(here, MEDIA);
    let new = world.restart(&session);
    let comes: [(SocketAddr, &[u8], SocketAddr, &[u8]); 5] = [
        (there, &new.check(), there, &old.check()),
        (here, &old.check(), here, &old.check()),
        (here, MEDIA, here, MEDIA),
        (there, MEDIA, here, MEDIA),
        (there, &new.check(), here, &old.check()),
    ];
    for (from, datagram, as_from, as_datagram) in comes {
        assert_eq!(world.shown(from, datagram), Some((as_from, as_datagram.to_vec())));
    }
    assert_eq!(world.goes(&session, here), (there, true));
    assert_eq!(world.goes(&session, there), (here, true));
}

#[test]
fn over_one_connection_a_restart_is_heard_too() {
    let mut world = World::new();
    let session = world.enter();
    world.came(at(9), &session.ice.check());
    let check = world.restart(&session).check();
    let (crypto, now) = (world.crypto.clone(), world.now);
    assert!(
        world
            .table
            .assign(at(9), None, &check, crypto.crypto(), now)
            .is_some()
    );
    assert_eq!(world.table.by_address[&at(9)].generation, 1);
}

#[test]
fn restarts_leave_nothing_behind() {
    let mut world = World::new();
    let session = world.enter();
    for port in 1..50 {
        let check = world.restart(&session).check();
        assert!(world.came(at(port), &check).is_some());
    }
    assert_eq!(world.table.by_ufrag.len(), 5);
    assert_eq!(world.table.by_address.len(), 4);
    world.table.forget(session.id);
    assert!(world.is_empty());
}

#[test]
fn families_come_apart() {
    let mut world = World::new();
    let session = world.enter();
    let check = session.ice.check();
    let v6 = (Ipv6Addr::LOCALHOST, 9).into();
    assert!(world.came(v6, &check).unwrap().queue.same_channel(&session.v6));
    assert!(world.came(at(9), &check).unwrap().queue.same_channel(&session.v4));
}

#[test]
fn a_publisher_that_moves_is_one_address_to_the_stack() {
    let mut world = World::new();
    let session = world.enter();
    let (here, there) = (at(9), (Ipv6Addr::LOCALHOST, 10).into());
    for from in [here, there] {
        for datagram in [&session.ice.check()[..], MEDIA] {
            let delivery = world.came(from, datagram).unwrap();
            assert_eq!(delivery.from, here);
            assert!(delivery.queue.same_channel(&session.v4));
        }
        assert_eq!(world.goes(&session, here), (from, true));
        // So long that it must have moved.
        world.now += Duration::from_millis(500);
    }
}

#[test]
fn addresses_are_few_and_leave_with_their_session() {
    let mut world = World::new();
    let session = world.enter();
    for port in 1..100 {
        world.came(at(port), &session.ice.check());
    }
    assert_eq!(world.table.by_address.len(), MAX_ADDRESSES);
    assert!(world.came(at(99), MEDIA).is_some(), "the newest is heard");
    world.table.forget(session.id);
    assert!(world.is_empty());
}
