//! AES-GCM for records on processors where AWS-LC is not at its best.
//!
//! With AVX2 and without AVX-512, as in many a rented server, AWS-LC's instructions for AES take one block each; `ring`'s
//! take two (VAES), which halves the cost. It protects records there, and nothing else: all other
//! cryptography is AWS-LC's, and so are the records on all other processors.
//!
//! `ring` does not overwrite the keys that it lets go of, as AWS-LC does, so that is done here.

use std::sync::LazyLock;

use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, Algorithm, LessSafeKey, MAX_TAG_LEN, UnboundKey};
use rustls::crypto::cipher::{
    InboundOpaqueMessage, InboundPlainMessage, Iv, MessageDecrypter, MessageEncrypter, Nonce, OutboundOpaqueMessage,
    OutboundPlainMessage, PrefixedPayload, make_tls12_aad, make_tls13_aad,
};
use rustls::{CipherSuite, ContentType, Error, ProtocolVersion, SupportedCipherSuite};

use super::records::FRAGMENT_LIMIT;

/// RFC 5288 §3: what a record of TLS 1.2 begins with, the rest of its nonce.
const EXPLICIT_NONCE: usize = 8;

/// The type of a record's content in TLS 1.3, behind the content (RFC 8446 §5.2).
const TYPE: usize = 1;

/// Whether records are better protected here than by AWS-LC.
pub(super) fn is_better() -> bool {
    #[cfg(target_arch = "x86_64")]
    static BETTER: LazyLock<bool> = LazyLock::new(|| {
        is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("vaes")
            && is_x86_feature_detected!("vpclmulqdq")
            && !is_x86_feature_detected!("avx512f")
    });
    #[cfg(not(target_arch = "x86_64"))]
    static BETTER: LazyLock<bool> = LazyLock::new(|| false);
    *BETTER
}

/// One direction of a connection under AES-GCM.
pub(super) struct AesGcm {
    key: LessSafeKey,
    iv: Iv,
    tls13: bool,
}

impl AesGcm {
    /// None if `suite` has another algorithm, or the key is not of its length.
    pub(super) fn new(suite: SupportedCipherSuite, key: &[u8], iv: &Iv) -> Option<Self> {
        let algorithm = algorithm(suite.suite())?;
        let key = LessSafeKey::new(UnboundKey::new(algorithm, key).ok()?);
        Some(Self { key, iv: Iv::copy(iv.as_ref()), tls13: suite.tls13().is_some() })
    }

    /// A nonce for each record: the count of them, laid over what both ends know (RFC 8446 §5.3). In TLS 1.2 the sender is
    /// free to choose (RFC 5288 §3), and so does as much.
    fn nonce(&self, seq: u64) -> [u8; 12] {
        Nonce::new(&self.iv, seq).0
    }

    /// Overwrites the key by one that is no secret.
    fn forget(&mut self) {
        let algorithm = self.key.algorithm();
        let zeros = [0; 32].get(..algorithm.key_len()).and_then(|zeros| UnboundKey::new(algorithm, zeros).ok());
        if let Some(zeros) = zeros {
            self.key = LessSafeKey::new(zeros);
        }
        zeroize::optimization_barrier(self); // nobody reads it, which would be reason to leave that out
    }
}

impl Drop for AesGcm {
    fn drop(&mut self) {
        self.forget();
    }
}

fn algorithm(suite: CipherSuite) -> Option<&'static Algorithm> {
    use CipherSuite as S;
    match suite {
        S::TLS13_AES_256_GCM_SHA384
        | S::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
        | S::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => Some(&AES_256_GCM),
        S::TLS13_AES_128_GCM_SHA256
        | S::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
        | S::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => Some(&AES_128_GCM),
        _ => None,
    }
}

impl MessageEncrypter for AesGcm {
    fn encrypt(&mut self, message: OutboundPlainMessage<'_>, seq: u64) -> Result<OutboundOpaqueMessage, Error> {
        let OutboundPlainMessage { typ, version, payload: plain } = message;
        let length = self.encrypted_payload_len(plain.len());
        let mut payload = PrefixedPayload::with_capacity(length);
        let nonce = self.nonce(seq);
        let sealed = ring::aead::Nonce::assume_unique_for_key(nonce); // `Records` counts up
        if self.tls13 {
            payload.extend_from_chunks(&plain);
            payload.extend_from_slice(&[u8::from(typ)]);
            self.key
                .seal_in_place_append_tag(sealed, Aad::from(make_tls13_aad(length)), &mut payload)
                .map_err(|_| Error::EncryptError)?;
            // RFC 8446 §5.2: what it shows outside.
            return Ok(OutboundOpaqueMessage::new(ContentType::ApplicationData, ProtocolVersion::TLSv1_2, payload));
        }
        let (_, explicit) = nonce.split_at(nonce.len() - EXPLICIT_NONCE);
        payload.extend_from_slice(explicit);
        payload.extend_from_chunks(&plain);
        let aad = Aad::from(make_tls12_aad(seq, typ, version, plain.len()));
        let content = payload.as_mut().get_mut(EXPLICIT_NONCE..).ok_or(Error::EncryptError)?;
        let tag = self.key.seal_in_place_separate_tag(sealed, aad, content).map_err(|_| Error::EncryptError)?;
        payload.extend_from_slice(tag.as_ref());
        Ok(OutboundOpaqueMessage::new(typ, version, payload))
    }

    fn encrypted_payload_len(&self, plain: usize) -> usize {
        plain + MAX_TAG_LEN + if self.tls13 { TYPE } else { EXPLICIT_NONCE }
    }
}

impl MessageDecrypter for AesGcm {
    fn decrypt<'a>(
        &mut self,
        mut message: InboundOpaqueMessage<'a>,
        seq: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        let payload = &mut message.payload;
        if self.tls13 {
            let nonce = ring::aead::Nonce::assume_unique_for_key(self.nonce(seq));
            let aad = Aad::from(make_tls13_aad(payload.len()));
            let plain = self.key.open_in_place(nonce, aad, payload).map_err(|_| Error::DecryptError)?.len();
            payload.truncate(plain);
            return message.into_tls13_unpadded_message();
        }
        let plain = payload.len().checked_sub(EXPLICIT_NONCE + MAX_TAG_LEN).ok_or(Error::DecryptError)?;
        let (explicit, sealed) = payload.split_at_mut_checked(EXPLICIT_NONCE).ok_or(Error::DecryptError)?;
        let mut nonce = self.nonce(0);
        nonce.iter_mut().rev().zip(explicit.iter().rev()).for_each(|(octet, came)| *octet = *came);
        let nonce = ring::aead::Nonce::assume_unique_for_key(nonce);
        let aad = Aad::from(make_tls12_aad(seq, message.typ, message.version, plain));
        self.key.open_in_place(nonce, aad, sealed).map_err(|_| Error::DecryptError)?;
        if plain > FRAGMENT_LIMIT {
            return Err(Error::PeerSentOversizedRecord);
        }
        Ok(message.into_plain_message_range(EXPLICIT_NONCE..EXPLICIT_NONCE + plain))
    }
}

#[cfg(test)]
mod tests;
