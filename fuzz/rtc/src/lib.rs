//! As much of `rtc` as `ingest` asks for before it knows whose a datagram is, and a machine with no network of its own.

pub mod shared {
    pub mod ifaces {
        pub struct Interface {
            pub name: String,
            pub addr: Option<std::net::SocketAddr>,
        }

        pub fn ifaces() -> std::io::Result<Vec<Interface>> {
            Ok(Vec::new())
        }
    }
}

pub mod crypto {
    pub enum HmacAlgorithm {
        Sha1,
    }

    #[derive(Debug)]
    pub struct Forged;

    pub trait Hmac {
        fn verify(&mut self, parts: &[&[u8]], tag: &[u8]) -> Result<(), Forged>;
    }

    pub trait RTCCrypto {
        fn new_hmac(&self, algorithm: HmacAlgorithm, key: &[u8]) -> Result<Box<dyn Hmac>, Forged>;
    }

    /// Reads all that it is given, and believes none of it.
    pub struct Doubting;

    impl RTCCrypto for Doubting {
        fn new_hmac(&self, _: HmacAlgorithm, _: &[u8]) -> Result<Box<dyn Hmac>, Forged> {
            Ok(Box::new(Doubting))
        }
    }

    impl Hmac for Doubting {
        fn verify(&mut self, parts: &[&[u8]], tag: &[u8]) -> Result<(), Forged> {
            let bytes = parts.iter().flat_map(|part| part.iter()).chain(tag);
            std::hint::black_box(bytes.fold(0u8, |sum, byte| sum ^ byte));
            Err(Forged)
        }
    }
}
