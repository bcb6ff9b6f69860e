//! The stack's cryptography, and the one curve that it lacks: FFmpeg built with GnuTLS, as Debian's is, makes its
//! certificate on P-224. Such a certificate is verified; none is made.

use std::sync::Arc;

use p224::ecdsa::signature::hazmat::PrehashVerifier;
use p224::ecdsa::{Signature, VerifyingKey};
use rtc::crypto::{
    ActiveKeyExchange, AeadAlgorithm, AeadCipher, BlockCipherAlgorithm, CbcAlgorithm, CbcCipher,
    CryptoAlgorithm, CryptoError, HashAlgorithm, HmacAlgorithm, KeyExchangeAlgorithm, Mac, PublicKey,
    PublicKeyEncoding, RTCCrypto, RTCCryptoProvider, RTCRandom, SignatureScheme, SigningKey, StreamCipher,
    StreamCipherAlgorithm,
};

/// SEC 1 §2.3.3: a byte, and two coordinates of 28.
const P224_POINT: usize = 57;

pub(super) struct Crypto(Arc<dyn RTCCryptoProvider>);

impl Crypto {
    pub fn new() -> Result<Self, CryptoError> {
        rtc::crypto::default_provider().map(Crypto)
    }

    fn stack(&self) -> &dyn RTCCrypto {
        self.0.crypto()
    }
}

impl RTCCryptoProvider for Crypto {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn crypto(&self) -> &dyn RTCCrypto {
        self
    }

    fn random(&self) -> &dyn RTCRandom {
        self.0.random()
    }
}

impl RTCCrypto for Crypto {
    /// DTLS 1.2 names the hash of a signature and not its curve (RFC 5246 §7.4.1.4.1): the stack takes a key that it
    /// does not know for one on P-256.
    fn verify_signature(
        &self,
        scheme: SignatureScheme,
        key: PublicKey<'_>,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoError> {
        let is_point =
            key.encoding == PublicKeyEncoding::EcUncompressedPoint && key.bytes.len() == P224_POINT;
        match scheme {
            SignatureScheme::EcdsaP256Sha256 if is_point => {
                let hash = self.hash(HashAlgorithm::Sha256, message)?;
                verify_p224(key.bytes, &hash, signature)
            }
            _ => self.stack().verify_signature(scheme, key, message, signature),
        }
    }

    fn supports(&self, algorithm: CryptoAlgorithm) -> bool {
        self.stack().supports(algorithm)
    }

    fn hash(&self, algorithm: HashAlgorithm, data: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.stack().hash(algorithm, data)
    }

    fn block_encrypt(
        &self,
        algorithm: BlockCipherAlgorithm,
        key: &[u8],
        block: &mut [u8],
    ) -> Result<(), CryptoError> {
        self.stack().block_encrypt(algorithm, key, block)
    }

    fn new_hmac(&self, algorithm: HmacAlgorithm, key: &[u8]) -> Result<Box<dyn Mac>, CryptoError> {
        self.stack().new_hmac(algorithm, key)
    }

    fn new_stream_cipher(
        &self,
        algorithm: StreamCipherAlgorithm,
        key: &[u8],
    ) -> Result<Box<dyn StreamCipher>, CryptoError> {
        self.stack().new_stream_cipher(algorithm, key)
    }

    fn new_aead(&self, algorithm: AeadAlgorithm, key: &[u8]) -> Result<Box<dyn AeadCipher>, CryptoError> {
        self.stack().new_aead(algorithm, key)
    }

    fn new_cbc(&self, algorithm: CbcAlgorithm, key: &[u8]) -> Result<Box<dyn CbcCipher>, CryptoError> {
        self.stack().new_cbc(algorithm, key)
    }

    fn start_key_exchange(
        &self,
        algorithm: KeyExchangeAlgorithm,
    ) -> Result<Box<dyn ActiveKeyExchange>, CryptoError> {
        self.stack().start_key_exchange(algorithm)
    }

    fn generate_signing_key(&self, scheme: SignatureScheme) -> Result<Arc<dyn SigningKey>, CryptoError> {
        self.stack().generate_signing_key(scheme)
    }

    fn import_signing_key(
        &self,
        scheme: SignatureScheme,
        pkcs8: &[u8],
    ) -> Result<Arc<dyn SigningKey>, CryptoError> {
        self.stack().import_signing_key(scheme, pkcs8)
    }
}

fn verify_p224(key: &[u8], hash: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
    let key = VerifyingKey::from_sec1_bytes(key).map_err(|_| CryptoError::InvalidPublicKey)?;
    let verified = Signature::from_der(signature).and_then(|signature| key.verify_prehash(hash, &signature));
    verified.map_err(|_| CryptoError::InvalidSignature)
}

#[cfg(test)]
mod tests {
    use super::*;
    use p224::ecdsa::SigningKey as Key;
    use p224::ecdsa::signature::hazmat::PrehashSigner;

    #[test]
    fn a_signature_on_p224_is_verified() {
        let key = Key::from_slice(&[7; 28]).unwrap();
        let hash = Crypto::new()
            .unwrap()
            .hash(HashAlgorithm::Sha256, b"handshake")
            .unwrap();
        let signature: Signature = key.sign_prehash(&hash).unwrap();
        let (point, der) = (key.verifying_key().to_encoded_point(false), signature.to_der());
        let verify = |message: &[u8], signature: &[u8], point: &[u8]| {
            let key = PublicKey {
                encoding: PublicKeyEncoding::EcUncompressedPoint,
                bytes: point,
            };
            let crypto = Crypto::new().unwrap();
            crypto.verify_signature(SignatureScheme::EcdsaP256Sha256, key, message, signature)
        };
        assert!(verify(b"handshake", der.as_bytes(), point.as_bytes()).is_ok());
        assert!(verify(b"handshakf", der.as_bytes(), point.as_bytes()).is_err());
        assert!(verify(b"handshake", &der.as_bytes()[1..], point.as_bytes()).is_err());
        let mut off_the_curve = point.as_bytes().to_vec();
        off_the_curve[56] ^= 1;
        assert!(verify(b"handshake", der.as_bytes(), &off_the_curve).is_err());
    }
}
