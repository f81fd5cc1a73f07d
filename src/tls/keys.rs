//! From a connection's secrets to what protects its records, by the suite's own algorithms in `rustls`.

use rustls::crypto::cipher::{AeadKey, Iv, MessageDecrypter, MessageEncrypter, OutboundChunks, OutboundPlainMessage};
use rustls::{ConnectionTrafficSecrets, ContentType, Error, ProtocolVersion, SupportedCipherSuite};
use zeroize::Zeroize;

use super::protection::{self, AesGcm};

fn parts(secrets: ConnectionTrafficSecrets) -> Result<(AeadKey, Iv), Error> {
    use ConnectionTrafficSecrets::{Aes128Gcm, Aes256Gcm, Chacha20Poly1305};
    match secrets {
        // A key is as long as its buffer for the longest algorithm unless it is cut to measure, which rustls has done.
        Aes128Gcm { key, iv } | Aes256Gcm { key, iv } | Chacha20Poly1305 { key, iv } => Ok((key, iv)),
        _ => Err(Error::General("a suite without record protection".into())),
    }
}

/// What is better here than the suite's own.
fn protection(suite: SupportedCipherSuite, key: &AeadKey, iv: &Iv) -> Option<AesGcm> {
    if protection::is_better() { AesGcm::new(suite, key.as_ref(), iv) } else { None }
}

/// What opens records from the client.
pub(super) fn decrypter(
    suite: SupportedCipherSuite,
    secrets: ConnectionTrafficSecrets,
) -> Result<Box<dyn MessageDecrypter>, Error> {
    let (key, iv) = parts(secrets)?;
    match protection(suite, &key, &iv) {
        Some(aes_gcm) => Ok(Box::new(aes_gcm)),
        None => own_decrypter(suite, key, iv),
    }
}

/// The suite's own.
fn own_decrypter(suite: SupportedCipherSuite, key: AeadKey, iv: Iv) -> Result<Box<dyn MessageDecrypter>, Error> {
    Ok(match suite {
        SupportedCipherSuite::Tls13(suite) => suite.aead_alg.decrypter(key, iv),
        SupportedCipherSuite::Tls12(suite) => {
            let (fixed, _) = split(&iv, suite.aead_alg.key_block_shape().fixed_iv_len)?;
            suite.aead_alg.decrypter(key, fixed)
        }
    })
}

/// What seals records for the client, of which `sent` have gone out already.
pub(super) fn encrypter(
    suite: SupportedCipherSuite,
    secrets: ConnectionTrafficSecrets,
    sent: u64,
) -> Result<Box<dyn MessageEncrypter>, Error> {
    let (key, iv) = parts(secrets)?;
    match protection(suite, &key, &iv) {
        Some(aes_gcm) => Ok(Box::new(aes_gcm)),
        None => own_encrypter(suite, key, iv, sent),
    }
}

/// The suite's own.
///
/// AWS-LC's sealing keys take the first nonce that they see for that of record 0, and refuse one that seems to go back
/// from there (RFC 8446 §5.3). So a key that begins in the middle is shown record 0 once more. Its nonce has been used
/// by then: what comes of it is wiped here and now, for two records under one nonce give the key's secrets away.
fn own_encrypter(
    suite: SupportedCipherSuite,
    key: AeadKey,
    iv: Iv,
    sent: u64,
) -> Result<Box<dyn MessageEncrypter>, Error> {
    let mut encrypter = match suite {
        SupportedCipherSuite::Tls13(suite) => suite.aead_alg.encrypter(key, iv),
        SupportedCipherSuite::Tls12(suite) => {
            let (fixed, explicit) = split(&iv, suite.aead_alg.key_block_shape().fixed_iv_len)?;
            suite.aead_alg.encrypter(key, fixed, explicit)
        }
    };
    if sent > 0 {
        let nothing = OutboundPlainMessage {
            typ: ContentType::ApplicationData,
            version: ProtocolVersion::TLSv1_2,
            payload: OutboundChunks::new_empty(),
        };
        encrypter.encrypt(nothing, 0)?.encode().zeroize();
    }
    Ok(encrypter)
}

/// TLS 1.2 has the fixed part of its nonces apart from the explicit one (RFC 5288 §3).
fn split(iv: &Iv, fixed: usize) -> Result<(&[u8], &[u8]), Error> {
    iv.as_ref().split_at_checked(fixed).ok_or_else(|| Error::General("a nonce shorter than its fixed part".into()))
}

#[cfg(test)]
mod tests;
