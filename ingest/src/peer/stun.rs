//! As much of STUN (RFC 8489) as it takes to know whose datagram this is, and that it is really theirs.

use rtc::crypto::{HmacAlgorithm, RTCCrypto};

const HEADER: usize = 20;
const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const BINDING_REQUEST: [u8; 2] = [0, 1];
const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
/// HMAC-SHA1.
const TAG: usize = 20;

/// Our side's ICE credentials of one session.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    pub ufrag: String,
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("ufrag", &self.ufrag)
            .finish_non_exhaustive()
    }
}

/// RFC 7983 §7.
pub(super) fn is_stun(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| *first < 4)
}

/// A check of connectivity: the only datagram an unknown address may send.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BindingRequest<'a> {
    datagram: &'a [u8],
    /// The part of USERNAME before the colon: the ufrag of the side that receives it.
    pub ufrag: &'a str,
    integrity: (usize, &'a [u8]),
}

impl<'a> BindingRequest<'a> {
    pub fn parse(datagram: &'a [u8]) -> Option<Self> {
        if datagram.get(..2)? != BINDING_REQUEST || datagram.get(4..8)? != COOKIE {
            return None;
        }
        let (mut ufrag, mut at) = (None, HEADER);
        while let Some([t0, t1, l0, l1]) = datagram.get(at..at + 4) {
            let kind = u16::from_be_bytes([*t0, *t1]);
            let len = usize::from(u16::from_be_bytes([*l0, *l1]));
            let value = datagram.get(at + 4..at + 4 + len)?;
            match kind {
                USERNAME => ufrag = std::str::from_utf8(value).ok()?.split(':').next(),
                // What follows it is not protected (RFC 8489 §14.5).
                MESSAGE_INTEGRITY if len == TAG => {
                    return Some(BindingRequest {
                        datagram,
                        ufrag: ufrag?,
                        integrity: (at, value),
                    });
                }
                _ => {}
            }
            at += 4 + len.next_multiple_of(4);
        }
        None
    }

    /// Whether its sender knows our password. The sum covers everything before the attribute, as if the
    /// message ended with it.
    pub fn is_authentic(&self, password: &str, crypto: &dyn RTCCrypto) -> bool {
        let (at, tag) = self.integrity;
        let length = ((at + 4 + TAG - HEADER) as u16).to_be_bytes();
        let parts = [&self.datagram[..2], &length, &self.datagram[4..at]];
        let mac = crypto.new_hmac(HmacAlgorithm::Sha1, password.as_bytes());
        mac.and_then(|mut mac| mac.verify(&parts, tag)).is_ok()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 5769 §2.1, the sample request of ICE: password "VOkJxbRl1RmTxUk/WvJxBt".
    const SAMPLE: &str = "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74\
        002400046e0001ff80290008932ff9b151263b36000600096576746a3a68367659202020\
        000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004e57a3bcf";

    impl Credentials {
        pub fn random() -> Self {
            let random = || uuid::Uuid::new_v4().simple().to_string();
            Credentials {
                ufrag: random(),
                password: random(),
            }
        }
    }

    fn sample() -> Vec<u8> {
        let hex: Vec<u8> = SAMPLE.bytes().filter(|b| b.is_ascii_hexdigit()).collect();
        hex.chunks(2)
            .map(|b| u8::from_str_radix(std::str::from_utf8(b).unwrap(), 16).unwrap())
            .collect()
    }

    #[test]
    fn the_sample_of_the_rfc() {
        let provider = rtc::crypto::default_provider().unwrap();
        let datagram = sample();
        let request = BindingRequest::parse(&datagram).unwrap();
        assert_eq!(request.ufrag, "evtj");
        assert!(request.is_authentic("VOkJxbRl1RmTxUk/WvJxBt", provider.crypto()));
        assert!(!request.is_authentic("VOkJxbRl1RmTxUk/WvJxBu", provider.crypto()));
        let mut bent = datagram.clone();
        bent[30] ^= 1;
        assert!(
            !BindingRequest::parse(&bent)
                .unwrap()
                .is_authentic("VOkJxbRl1RmTxUk/WvJxBt", provider.crypto())
        );
    }

    proptest! {
        #[test]
        fn any_datagram_is_survived(noise in prop::collection::vec(any::<u8>(), 0..200), cut in 0usize..110, at in 0usize..108, bit in 0u8..8) {
            let provider = rtc::crypto::default_provider().unwrap();
            let mut bent = sample();
            bent[at] ^= 1 << bit;
            bent.truncate(cut);
            for datagram in [&bent, &noise] {
                if let Some(request) = BindingRequest::parse(datagram) {
                    request.is_authentic("x", provider.crypto());
                }
            }
        }
    }
}
