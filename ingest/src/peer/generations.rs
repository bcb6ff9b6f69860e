//! Restarts of ICE (RFC 8445 §9). The stack is not told of them: it would drop the pair in use at once, and media are to
//! go on over that until there is a better one, which may be never. It keeps the credentials that it began with; what
//! comes under those of a later generation is shown to it as if they were these, and what it sends is put the other way.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::net::SocketAddr;

use rtc::crypto::RTCCrypto;
use rtc::ice::rand::{generate_pwd, generate_ufrag};
use rtc::stun::attributes::{ATTR_MESSAGE_INTEGRITY, ATTR_USERNAME, ATTR_XORMAPPED_ADDRESS};
use rtc::stun::fingerprint::FINGERPRINT;
use rtc::stun::integrity::MessageIntegrity;
use rtc::stun::message::{
    CLASS_ERROR_RESPONSE, CLASS_REQUEST, CLASS_SUCCESS_RESPONSE, METHOD_BINDING, Message, Setter,
};
use rtc::stun::xoraddr::XorMappedAddress;

use super::stun::{Credentials, is_stun};

/// Beside the stack's: the one in use, one that led nowhere, the newest, and one that was overtaken on its way.
const KEPT: usize = 4;

/// Both sides' credentials, from one restart to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Generation {
    pub ours: Credentials,
    pub theirs: Credentials,
}

/// A session's.
#[derive(Debug)]
pub(super) struct Generations {
    /// The stack's: number 0.
    first: Generation,
    /// With their numbers, oldest first.
    later: VecDeque<(u32, Generation)>,
}

impl Generations {
    pub fn new(first: Generation) -> Self {
        Generations {
            first,
            later: VecDeque::new(),
        }
    }

    pub fn get(&self, number: u32) -> Option<&Generation> {
        let mut all = self.all();
        all.find(|(n, _)| *n == number).map(|(_, generation)| generation)
    }

    /// A new generation, as the publisher names itself: its number and our credentials. With it goes an old one, whose
    /// number is given too, where there are many; not the one in use.
    pub fn begin(
        &mut self,
        theirs: Credentials,
        in_use: u32,
    ) -> (u32, Credentials, Option<(u32, Generation)>) {
        let ours = Credentials {
            ufrag: generate_ufrag(),
            password: generate_pwd(),
        };
        let number = self.newest() + 1;
        let generation = Generation {
            ours: ours.clone(),
            theirs,
        };
        self.later.push_back((number, generation));
        let oldest = self.later.iter().position(|(number, _)| *number != in_use);
        let gone = oldest.filter(|_| self.later.len() > KEPT);
        (number, ours, gone.and_then(|at| self.later.remove(at)))
    }

    pub fn newest(&self) -> u32 {
        self.later.back().map_or(0, |(number, _)| *number)
    }

    /// A datagram from the publisher, as the stack is to see it. `None` if it is a check, or an answer to one, that is
    /// not authentic.
    pub fn inward<'d>(&self, datagram: &'d [u8], crypto: &dyn RTCCrypto) -> Option<Cow<'d, [u8]>> {
        if self.later.is_empty() || !is_stun(datagram) {
            return Some(Cow::Borrowed(datagram));
        }
        let mut message = decode(datagram)?;
        let class = message.typ.class;
        let was = match class {
            CLASS_REQUEST => {
                let username = message.get(ATTR_USERNAME).ok()?;
                let mut all = self.all();
                all.find(|(_, generation)| generation.asked_by_them().as_bytes() == username)
            }
            CLASS_SUCCESS_RESPONSE => {
                let mut all = self.all();
                all.find(|(_, generation)| is_from(&mut message, &generation.theirs, crypto))
            }
            _ => return Some(Cow::Borrowed(datagram)),
        };
        let (number, generation) = was?;
        let (username, signed) = match class {
            // The stack looks at its own itself.
            _ if number == 0 => return Some(Cow::Borrowed(datagram)),
            CLASS_REQUEST if !is_from(&mut message, &generation.ours, crypto) => return None,
            CLASS_REQUEST => (self.first.asked_by_them(), &self.first.ours),
            _ => (String::new(), &self.first.theirs),
        };
        reworded(&message, &username, None, signed, crypto).map(Cow::Owned)
    }

    /// A datagram from the stack, as the publisher is to see it at an address where it goes by this generation. `seen_as`
    /// is that address, where the stack takes it for another.
    pub fn outward<'d>(
        &self,
        number: u32,
        datagram: &'d [u8],
        seen_as: Option<SocketAddr>,
        crypto: &dyn RTCCrypto,
    ) -> Cow<'d, [u8]> {
        let worded = || {
            let (message, generation) = (decode(datagram)?, self.get(number)?);
            let signed = match message.typ.class {
                CLASS_REQUEST => &generation.theirs,
                CLASS_SUCCESS_RESPONSE | CLASS_ERROR_RESPONSE => &generation.ours,
                _ => return None,
            };
            reworded(&message, &generation.asked_by_us(), seen_as, signed, crypto)
        };
        match is_stun(datagram) && (number > 0 || seen_as.is_some()) {
            true => worded().map_or(Cow::Borrowed(datagram), Cow::Owned),
            false => Cow::Borrowed(datagram),
        }
    }

    /// Newest first: it is the likeliest.
    fn all(&self) -> impl Iterator<Item = (u32, &Generation)> {
        let later = self.later.iter().rev();
        let later = later.map(|(number, generation)| (*number, generation));
        later.chain([(0, &self.first)])
    }
}

impl Generation {
    /// The USERNAME of their checks: the receiver's ufrag first (RFC 8445 §7.2.2).
    fn asked_by_them(&self) -> String {
        format!("{}:{}", self.ours.ufrag, self.theirs.ufrag)
    }

    fn asked_by_us(&self) -> String {
        format!("{}:{}", self.theirs.ufrag, self.ours.ufrag)
    }
}

fn decode(datagram: &[u8]) -> Option<Message> {
    let mut message = Message {
        raw: datagram.to_vec(),
        ..Message::default()
    };
    message.decode().ok()?;
    (message.typ.method == METHOD_BINDING).then_some(message)
}

fn is_from(message: &mut Message, whose: &Credentials, crypto: &dyn RTCCrypto) -> bool {
    MessageIntegrity::check(message, whose.password.as_bytes(), crypto).is_ok()
}

/// The same message under another name, about another address, and signed anew.
fn reworded(
    message: &Message,
    username: &str,
    mapped: Option<SocketAddr>,
    signed: &Credentials,
    crypto: &dyn RTCCrypto,
) -> Option<Vec<u8>> {
    let mut new = Message::new();
    new.typ = message.typ;
    new.transaction_id = message.transaction_id;
    new.write_header();
    // What follows the sum is not protected by it (RFC 8489 §14.5).
    let protected = message.attributes.0.iter();
    for attribute in protected.take_while(|attribute| attribute.typ != ATTR_MESSAGE_INTEGRITY) {
        match (attribute.typ, mapped) {
            (ATTR_USERNAME, _) => new.add(ATTR_USERNAME, username.as_bytes()),
            (ATTR_XORMAPPED_ADDRESS, Some(address)) => {
                let (ip, port) = (address.ip(), address.port());
                XorMappedAddress { ip, port }.add_to(&mut new).ok()?;
            }
            _ => new.add(attribute.typ, &attribute.value),
        }
    }
    let integrity = MessageIntegrity::new_short_term_integrity_with_provider(signed.password.clone(), crypto);
    integrity.add_to(&mut new).ok()?;
    FINGERPRINT.add_to(&mut new).ok()?;
    Some(new.raw)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use rtc::crypto::{RTCCryptoProvider, default_provider};
    use rtc::stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Getter, MessageType};

    impl Generation {
        pub fn random() -> Self {
            Generation {
                ours: Credentials::random(),
                theirs: Credentials::random(),
            }
        }

        /// A check as the publisher sends it.
        pub fn check(&self) -> Vec<u8> {
            signed(BINDING_REQUEST, Some(&self.asked_by_them()), &self.ours)
        }

        /// An answer as it sends it.
        pub fn answer(&self) -> Vec<u8> {
            signed(BINDING_SUCCESS, None, &self.theirs)
        }
    }

    fn crypto() -> std::sync::Arc<dyn RTCCryptoProvider> {
        default_provider().unwrap()
    }

    fn address() -> SocketAddr {
        "192.0.2.7:4711".parse().unwrap()
    }

    fn signed(typ: MessageType, username: Option<&str>, by: &Credentials) -> Vec<u8> {
        let mut message = Message::new();
        message.typ = typ;
        message.transaction_id.0 = [9; 12];
        message.write_header();
        match username {
            Some(username) => message.add(ATTR_USERNAME, username.as_bytes()),
            None => XorMappedAddress {
                ip: address().ip(),
                port: 1,
            }
            .add_to(&mut message)
            .unwrap(),
        }
        let provider = crypto();
        MessageIntegrity::new_short_term_integrity_with_provider(by.password.clone(), provider.crypto())
            .add_to(&mut message)
            .unwrap();
        FINGERPRINT.add_to(&mut message).unwrap();
        message.raw
    }

    #[test]
    fn the_stack_never_hears_of_a_restart() {
        let (first, provider) = (Generation::random(), crypto());
        let mut generations = Generations::new(first.clone());
        let (number, ours, _) = generations.begin(Credentials::random(), 0);
        let second = generations.get(number).unwrap().clone();
        assert_eq!(ours, second.ours);
        for generation in [&first, &second] {
            for (came, shown) in [
                (generation.check(), first.check()),
                (generation.answer(), first.answer()),
            ] {
                assert_eq!(generations.inward(&came, provider.crypto()).unwrap(), shown);
            }
        }
        for datagram in [&b"\x80media"[..], b"\x16dtls"] {
            assert_eq!(generations.inward(datagram, provider.crypto()).unwrap(), datagram);
        }
    }

    #[test]
    fn what_is_not_signed_by_the_publisher_does_not_reach_it() {
        let provider = crypto();
        let mut generations = Generations::new(Generation::random());
        let (number, ..) = generations.begin(Credentials::random(), 0);
        let stranger = Credentials::random();
        let forged = Generation {
            ours: Credentials {
                password: stranger.password.clone(),
                ..generations.get(number).unwrap().ours.clone()
            },
            theirs: Credentials {
                password: stranger.password,
                ..generations.get(number).unwrap().theirs.clone()
            },
        };
        for datagram in [forged.check(), forged.answer(), Generation::random().check()] {
            assert_eq!(generations.inward(&datagram, provider.crypto()), None);
        }
    }

    #[test]
    fn each_address_is_spoken_to_in_its_own_generation() {
        let (first, provider) = (Generation::random(), crypto());
        let mut generations = Generations::new(first.clone());
        let (number, ..) = generations.begin(Credentials::random(), 0);
        let second = generations.get(number).unwrap().clone();
        let asked = signed(BINDING_REQUEST, Some(&first.asked_by_us()), &first.theirs);
        let answered = signed(BINDING_SUCCESS, None, &first.ours);
        for (number, generation) in [(0, &first), (number, &second)] {
            let request = signed(
                BINDING_REQUEST,
                Some(&generation.asked_by_us()),
                &generation.theirs,
            );
            assert_eq!(
                generations.outward(number, &asked, None, provider.crypto()),
                request
            );
            let answer = signed(BINDING_SUCCESS, None, &generation.ours);
            assert_eq!(
                generations.outward(number, &answered, None, provider.crypto()),
                answer
            );
            let moved = generations.outward(number, &answered, Some(address()), provider.crypto());
            let mut moved = decode(&moved).unwrap();
            let mut mapped = XorMappedAddress::default();
            mapped.get_from(&moved).unwrap();
            assert_eq!((mapped.ip, mapped.port), (address().ip(), address().port()));
            assert!(is_from(&mut moved, &generation.ours, provider.crypto()));
        }
    }

    #[test]
    fn old_generations_are_forgotten_but_not_the_one_in_use() {
        let mut generations = Generations::new(Generation::random());
        let (in_use, ..) = generations.begin(Credentials::random(), 0);
        let begun = (0..20).map(|_| generations.begin(Credentials::random(), in_use));
        let gone: Vec<u32> = begun.filter_map(|(_, _, gone)| Some(gone?.0)).collect();
        assert_eq!(gone, (2..=18).collect::<Vec<_>>());
        for number in [0, in_use, 19, 20, 21] {
            assert!(generations.get(number).is_some(), "{number}");
        }
    }
}
