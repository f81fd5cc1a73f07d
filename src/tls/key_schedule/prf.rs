//! The pseudorandom function of TLS 1.2 (RFC 5246 §5), hashing nothing twice.
//!
//! A handshake has one secret, from which come the keys and what both Finished hold. `rustls`' own form pads it anew for each of
//! these, and derives the keys twice: for itself, and for our own record layer. Here it is in the handshake's [`Memory`].

use std::marker::PhantomData;
use std::sync::OnceLock;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use hmac::Hmac;
use rustls::crypto::ActiveKeyExchange;
use rustls::crypto::aws_lc_rs::cipher_suite;
use rustls::crypto::tls12::Prf;
use rustls::version::TLS12;
use rustls::{CipherSuiteCommon, Error, SupportedCipherSuite, Tls12CipherSuite};
use sha2::{Sha256, Sha384};
use zeroize::Zeroizing;

use super::{Key, MEMORY, copy};

/// The suites of TLS 1.2, each its own but for the pseudorandom function.
pub(in crate::tls) static TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384: SupportedCipherSuite =
    SupportedCipherSuite::Tls12(&ECDSA_AES_256);
pub(in crate::tls) static TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256: SupportedCipherSuite =
    SupportedCipherSuite::Tls12(&ECDSA_AES_128);
pub(in crate::tls) static TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256: SupportedCipherSuite =
    SupportedCipherSuite::Tls12(&ECDSA_CHACHA20);
pub(in crate::tls) static TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384: SupportedCipherSuite =
    SupportedCipherSuite::Tls12(&RSA_AES_256);
pub(in crate::tls) static TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256: SupportedCipherSuite =
    SupportedCipherSuite::Tls12(&RSA_AES_128);
pub(in crate::tls) static TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256: SupportedCipherSuite =
    SupportedCipherSuite::Tls12(&RSA_CHACHA20);

static ECDSA_AES_256: Tls12CipherSuite = with_prf(&cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, &SHA384);
static ECDSA_AES_128: Tls12CipherSuite = with_prf(&cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, &SHA256);
static ECDSA_CHACHA20: Tls12CipherSuite =
    with_prf(&cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, &SHA256);
static RSA_AES_256: Tls12CipherSuite = with_prf(&cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, &SHA384);
static RSA_AES_128: Tls12CipherSuite = with_prf(&cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, &SHA256);
static RSA_CHACHA20: Tls12CipherSuite = with_prf(&cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, &SHA256);

static SHA256: Hashed<Hmac<Sha256>> = Hashed(PhantomData);
static SHA384: Hashed<Hmac<Sha384>> = Hashed(PhantomData);

#[allow(clippy::panic)] // evaluated while compiling: what is called above decides
const fn with_prf(suite: &SupportedCipherSuite, prf: &'static dyn Prf) -> Tls12CipherSuite {
    let SupportedCipherSuite::Tls12(suite) = suite else { panic!("a suite of TLS 1.3 has no PRF") };
    let CipherSuiteCommon { suite: name, hash_provider, confidentiality_limit } = suite.common;
    Tls12CipherSuite {
        common: CipherSuiteCommon { suite: name, hash_provider, confidentiality_limit },
        prf_provider: prf,
        kx: suite.kx,
        sign: suite.sign,
        aead_alg: suite.aead_alg,
    }
}

/// The function with one hash.
struct Hashed<K>(PhantomData<K>);

impl<K: Key> Prf for Hashed<K>
where
    Self: Send + Sync,
{
    /// The master secret, from another that is used for nothing else (RFC 5246 §8.1).
    fn for_key_exchange(
        &self,
        output: &mut [u8; 48],
        kx: Box<dyn ActiveKeyExchange>,
        peer_pub_key: &[u8],
        label: &[u8],
        seed: &[u8],
    ) -> Result<(), Error> {
        let premaster = kx.complete_for_tls_version(peer_pub_key, &TLS12)?;
        derive(&K::of(premaster.secret_bytes()), &[label, seed], output);
        Ok(())
    }

    fn for_secret(&self, output: &mut [u8], secret: &[u8], label: &[u8], seed: &[u8]) {
        let new = || Master { key: K::of(secret), first: OnceLock::new() };
        MEMORY.with_borrow_mut(|memory| match memory {
            Some(memory) => memory.prf.master(secret, || Box::new(new())).tell(&[label, seed], output),
            None => new().tell(&[label, seed], output),
        });
    }
}

/// What a handshake remembers.
#[derive(Default)]
pub(super) struct Remembered(Option<Known>);

struct Known {
    secret: Zeroizing<Vec<u8>>,
    master: Box<dyn Tell>,
}

impl Remembered {
    /// The master secret as a key: the one from before, or `new`.
    fn master(&mut self, secret: &[u8], new: impl FnOnce() -> Box<dyn Tell>) -> &dyn Tell {
        let known = self.0.take().filter(|known| verify_slices_are_equal(&known.secret, secret).is_ok());
        let new = || Known { secret: Zeroizing::new(secret.to_vec()), master: new() };
        &*self.0.insert(known.unwrap_or_else(new)).master
    }
}

trait Tell: Send {
    /// Writes what comes of the seed.
    fn tell(&self, seed: &[&[u8]], output: &mut [u8]);
}

/// RFC 5246 §8.1: the secret of a session.
struct Master<K> {
    key: K,
    /// The seed that came first, and what came of it: the keys (§6.3), which are asked for again.
    first: OnceLock<(Vec<u8>, Zeroizing<Vec<u8>>)>,
}

impl<K: Key> Tell for Master<K> {
    fn tell(&self, seed: &[&[u8]], output: &mut [u8]) {
        let (first, told) = self.first.get_or_init(|| {
            let mut told = Zeroizing::new(vec![0; output.len()]);
            derive(&self.key, seed, &mut told);
            (seed.concat(), told)
        });
        // What is shorter begins what is longer.
        match told.get(..output.len()) {
            Some(told) if *first == seed.concat() => output.copy_from_slice(told),
            _ => derive(&self.key, seed, output),
        }
    }
}

/// RFC 5246 §5: `P_hash`.
fn derive<K: Key>(key: &K, seed: &[&[u8]], output: &mut [u8]) {
    let tag = |key: K| seed.iter().fold(key, |key, part| key.chain_update(part)).tag();
    let mut a = tag(key.clone());
    let mut chunks = output.chunks_mut(K::output_size()).peekable();
    while let Some(chunk) = chunks.next() {
        copy(&tag(key.clone().chain_update(a.as_ref())), chunk);
        if chunks.peek().is_some() {
            a = key.clone().chain_update(a.as_ref()).tag();
        }
    }
}

#[cfg(test)]
mod tests;
