//! HKDF for the key schedule of TLS 1.3 (RFC 8446 §7.1, RFC 5869), with each HMAC key prepared once.
//!
//! A handshake derives some thirty values, several from each secret. `rustls`' own form begins every one of them from
//! the bare secret, which hashes the padded key twice each time (RFC 2104): that is 40 % of the hashing of a handshake.

use aws_lc_rs::hmac;
use rustls::crypto::aws_lc_rs::cipher_suite;
use rustls::crypto::hmac::{Hmac, Key, Tag};
use rustls::crypto::tls13::{Hkdf, HkdfUsingHmac};
use rustls::{CipherSuiteCommon, SupportedCipherSuite, Tls13CipherSuite};

/// The suites of TLS 1.3, each its own but for the key schedule.
pub(super) static TLS13_AES_256_GCM_SHA384: SupportedCipherSuite = SupportedCipherSuite::Tls13(&AES_256);
pub(super) static TLS13_AES_128_GCM_SHA256: SupportedCipherSuite = SupportedCipherSuite::Tls13(&AES_128);
pub(super) static TLS13_CHACHA20_POLY1305_SHA256: SupportedCipherSuite = SupportedCipherSuite::Tls13(&CHACHA20);

static AES_256: Tls13CipherSuite = with_hkdf(&cipher_suite::TLS13_AES_256_GCM_SHA384, SHA384);
static AES_128: Tls13CipherSuite = with_hkdf(&cipher_suite::TLS13_AES_128_GCM_SHA256, SHA256);
static CHACHA20: Tls13CipherSuite = with_hkdf(&cipher_suite::TLS13_CHACHA20_POLY1305_SHA256, SHA256);

static SHA256: &dyn Hkdf = &HkdfUsingHmac(&Prepared(hmac::HMAC_SHA256));
static SHA384: &dyn Hkdf = &HkdfUsingHmac(&Prepared(hmac::HMAC_SHA384));

#[allow(clippy::panic)] // evaluated while compiling: what is called above decides
const fn with_hkdf(suite: &SupportedCipherSuite, hkdf: &'static dyn Hkdf) -> Tls13CipherSuite {
    let SupportedCipherSuite::Tls13(suite) = suite else { panic!("a suite of TLS 1.2 has no HKDF") };
    let CipherSuiteCommon { suite: name, hash_provider, confidentiality_limit } = suite.common;
    Tls13CipherSuite {
        common: CipherSuiteCommon { suite: name, hash_provider, confidentiality_limit },
        hkdf_provider: hkdf,
        aead_alg: suite.aead_alg,
        quic: None,
    }
}

struct Prepared(hmac::Algorithm);

impl Hmac for Prepared {
    fn with_key(&self, key: &[u8]) -> Box<dyn Key> {
        Box::new(PreparedKey(hmac::Key::new(self.0, key)))
    }

    fn hash_output_len(&self) -> usize {
        self.0.tag_len()
    }
}

struct PreparedKey(hmac::Key);

impl Key for PreparedKey {
    fn sign_concat(&self, first: &[u8], middle: &[&[u8]], last: &[u8]) -> Tag {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(first);
        for part in middle {
            context.update(part);
        }
        context.update(last);
        Tag::new(context.sign().as_ref())
    }

    fn tag_len(&self) -> usize {
        self.0.algorithm().tag_len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::crypto::tls13::{HkdfExpander, OkmBlock};

    /// What an expander makes of `info`, as a block and as slices shorter and longer than one.
    fn expanded(expander: &dyn HkdfExpander) -> Vec<Vec<u8>> {
        let info: &[&[u8]] = &[b"tls13 ", b"", b"derived", &[7; 200]];
        let slice = |length| {
            let mut output = vec![0; length];
            expander.expand_slice(info, &mut output).unwrap();
            output
        };
        let block = expander.expand_block(info).as_ref().to_vec();
        [block].into_iter().chain([0, 1, 12, 32, 48, 49, 200].map(slice)).collect()
    }

    #[test]
    fn the_key_schedule_is_the_suites_own() {
        for (ours, theirs) in [
            (&AES_256, &cipher_suite::TLS13_AES_256_GCM_SHA384),
            (&AES_128, &cipher_suite::TLS13_AES_128_GCM_SHA256),
            (&CHACHA20, &cipher_suite::TLS13_CHACHA20_POLY1305_SHA256),
        ] {
            let theirs = theirs.tls13().unwrap();
            assert_eq!(ours.common.suite, theirs.common.suite);
            assert_eq!(ours.common.hash_provider.algorithm(), theirs.common.hash_provider.algorithm());
            let (ours, theirs) = (ours.hkdf_provider, theirs.hkdf_provider);
            let okm = OkmBlock::new(&[0x5a; 32]);
            assert_eq!(expanded(&*ours.expander_for_okm(&okm)), expanded(&*theirs.expander_for_okm(&okm)));
            for salt in [None, Some(&b"salt"[..]), Some(&[3; 300])] {
                assert_eq!(
                    expanded(&*ours.extract_from_zero_ikm(salt)),
                    expanded(&*theirs.extract_from_zero_ikm(salt))
                );
                let secret = [9; 32];
                assert_eq!(
                    expanded(&*ours.extract_from_secret(salt, &secret)),
                    expanded(&*theirs.extract_from_secret(salt, &secret))
                );
            }
            assert_eq!(ours.hmac_sign(&okm, b"message").as_ref(), theirs.hmac_sign(&okm, b"message").as_ref());
            let most = 255 * ours.expander_for_okm(&okm).hash_len();
            assert!(ours.expander_for_okm(&okm).expand_slice(&[], &mut vec![0; most + 1]).is_err());
        }
    }
}
