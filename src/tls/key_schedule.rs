//! HKDF for the key schedule of TLS 1.3 (RFC 8446 §7.1, RFC 5869), hashing nothing twice. [`prf`] does as much for TLS 1.2.
//!
//! A handshake derives some thirty values, several from each secret, and every HMAC costs four blocks of the hash: two for
//! the padded key, two for the message (RFC 2104). `rustls`' own form pads the same keys again for every value, begins every
//! handshake with two extractions whose results are constants, and derives the traffic keys twice: for itself, and for our
//! own record layer. Here keys are prepared once, constants are kept for good, and what was derived in a handshake is
//! known until the handshake is over ([`Memory`]).

pub(super) mod prf;

use std::cell::RefCell;
use std::sync::{Arc, OnceLock};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use hmac::{EagerHash, Hmac, KeyInit, Mac};
use rustls::crypto::aws_lc_rs::cipher_suite;
use rustls::crypto::hmac::Tag;
use rustls::crypto::tls13::{Hkdf, HkdfExpander, OkmBlock, OutputLengthError};
use rustls::{CipherSuiteCommon, SupportedCipherSuite, Tls13CipherSuite};
use sha2::{Digest, Sha256, Sha384};
use zeroize::Zeroizing;

/// The suites of TLS 1.3, each its own but for the key schedule.
pub(super) static TLS13_AES_256_GCM_SHA384: SupportedCipherSuite = SupportedCipherSuite::Tls13(&AES_256);
pub(super) static TLS13_AES_128_GCM_SHA256: SupportedCipherSuite = SupportedCipherSuite::Tls13(&AES_128);
pub(super) static TLS13_CHACHA20_POLY1305_SHA256: SupportedCipherSuite = SupportedCipherSuite::Tls13(&CHACHA20);

static AES_256: Tls13CipherSuite = with_hkdf(&cipher_suite::TLS13_AES_256_GCM_SHA384, &SHA384);
static AES_128: Tls13CipherSuite = with_hkdf(&cipher_suite::TLS13_AES_128_GCM_SHA256, &SHA256);
static CHACHA20: Tls13CipherSuite = with_hkdf(&cipher_suite::TLS13_CHACHA20_POLY1305_SHA256, &SHA256);

static SHA256: Schedule<Hmac<Sha256>> = Schedule::new(|| Sha256::digest([]).to_vec());
static SHA384: Schedule<Hmac<Sha384>> = Schedule::new(|| Sha384::digest([]).to_vec());

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

/// More than a handshake has secrets.
const SECRETS: usize = 8;

/// The secrets of one handshake, with their HMAC keys and what was derived from them. Gone, and overwritten, with the
/// handshake.
#[derive(Default)]
pub(super) struct Memory {
    secrets: Vec<(OkmBlock, Arc<dyn HkdfExpander>)>,
    prf: prf::Remembered,
}

thread_local! {
    /// That of the handshake which has its turn on this thread.
    static MEMORY: RefCell<Option<Memory>> = const { RefCell::new(None) };
}

impl Memory {
    /// Does a step of the handshake, which remembers here. It runs on one thread from beginning to end, and nothing else
    /// runs there meanwhile.
    pub(super) fn during<T>(&mut self, step: impl FnOnce() -> T) -> T {
        MEMORY.set(Some(std::mem::take(self)));
        let forget = Forget; // also when the step panics
        let done = step();
        *self = MEMORY.take().unwrap_or_default();
        drop(forget);
        done
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.secrets.len()
    }

    /// The expander for `secret`: the one from before, or `new`.
    fn expander(&mut self, secret: &OkmBlock, new: impl FnOnce() -> Arc<dyn HkdfExpander>) -> Arc<dyn HkdfExpander> {
        let same = |known: &OkmBlock| verify_slices_are_equal(known.as_ref(), secret.as_ref()).is_ok();
        if let Some((_, expander)) = self.secrets.iter().find(|(known, _)| same(known)) {
            return Arc::clone(expander);
        }
        let expander = new();
        // A vector that grows leaves what was in it in memory that nobody wipes.
        if self.secrets.capacity() == 0 {
            self.secrets.reserve_exact(SECRETS);
        }
        if self.secrets.len() < self.secrets.capacity() {
            self.secrets.push((OkmBlock::new(secret.as_ref()), Arc::clone(&expander)));
        }
        expander
    }
}

struct Forget;

impl Drop for Forget {
    fn drop(&mut self) {
        MEMORY.set(None);
    }
}

/// The key schedule with one hash function.
struct Schedule<K> {
    empty_hash: fn() -> Vec<u8>,
    constants: OnceLock<Constants<K>>,
}

/// What every handshake begins with.
struct Constants<K> {
    /// As many zeros as the hash is long: a missing salt, and the input where there is none.
    zeros: Vec<u8>,
    zeros_key: K,
    /// The Early Secret where there is no PSK.
    early: Arc<Secret<K>>,
    /// What is derived from it: the salt of the Handshake Secret.
    derived: OkmBlock,
    derived_key: K,
}

/// An HMAC key; its clones are messages under it.
trait Key: Mac + KeyInit + Clone + Send + Sync + 'static {
    fn of(key: &[u8]) -> Self;

    /// The tag of what was fed to it.
    fn tag(self) -> OkmBlock {
        OkmBlock::new(&self.finalize().into_bytes())
    }
}

impl<H: EagerHash> Key for Hmac<H>
where
    Self: Mac + KeyInit + Clone + Send + Sync + 'static,
{
    #[allow(clippy::expect_used)]
    fn of(key: &[u8]) -> Self {
        Self::new_from_slice(key).expect("RFC 2104 takes keys of any length")
    }
}

impl<K: Key> Schedule<K> {
    const fn new(empty_hash: fn() -> Vec<u8>) -> Self {
        Self { empty_hash, constants: OnceLock::new() }
    }

    fn constants(&self) -> &Constants<K> {
        self.constants.get_or_init(|| {
            let empty = (self.empty_hash)();
            let zeros = vec![0; empty.len()];
            let zeros_key = K::of(&zeros);
            let early = Arc::new(Secret::extracted(zeros_key.clone(), &zeros));
            // RFC 8446 §7.1: Derive-Secret(., "derived", ""). Whoever asks for anything else is answered all the same.
            let length = u8::try_from(empty.len()).unwrap_or(u8::MAX);
            let derived = early.expand_block(&[&[0, length], &[13], b"tls13 derived", &[length], &empty]);
            let derived_key = K::of(derived.as_ref());
            Constants { zeros, zeros_key, early, derived, derived_key }
        })
    }

    fn extract(&self, salt: Option<&[u8]>, input: &[u8]) -> Secret<K> {
        let constants = self.constants();
        let key = match salt {
            None => constants.zeros_key.clone(),
            Some(salt) if salt == constants.derived.as_ref() => constants.derived_key.clone(), // no secret
            Some(salt) => K::of(salt),
        };
        Secret::extracted(key, input)
    }
}

impl<K: Key> Hkdf for Schedule<K> {
    fn extract_from_zero_ikm(&self, salt: Option<&[u8]>) -> Box<dyn HkdfExpander> {
        let constants = self.constants();
        match salt {
            None => Box::new(Shared(Arc::clone(&constants.early) as Arc<dyn HkdfExpander>)),
            Some(_) => Box::new(self.extract(salt, &constants.zeros)),
        }
    }

    fn extract_from_secret(&self, salt: Option<&[u8]>, secret: &[u8]) -> Box<dyn HkdfExpander> {
        Box::new(self.extract(salt, secret))
    }

    fn expander_for_okm(&self, okm: &OkmBlock) -> Box<dyn HkdfExpander> {
        MEMORY.with_borrow_mut(|memory| -> Box<dyn HkdfExpander> {
            let new = || Secret::new(K::of(okm.as_ref()));
            match memory {
                Some(memory) => Box::new(Shared(memory.expander(okm, || Arc::new(new())))),
                None => Box::new(new()),
            }
        })
    }

    fn hmac_sign(&self, key: &OkmBlock, message: &[u8]) -> Tag {
        let tag = K::of(key.as_ref()).chain_update(message).tag();
        Tag::new(tag.as_ref())
    }
}

/// How many answers of a secret are kept: a traffic secret gives a key and an IV (RFC 8446 §7.3).
const KEPT: usize = 2;

/// A secret as the key of an HMAC, and the first things that were derived from it.
struct Secret<K> {
    key: K,
    told: [OnceLock<Told>; KEPT],
}

struct Told {
    info: Info,
    output: OkmBlock,
}

impl<K: Key> Secret<K> {
    fn new(key: K) -> Self {
        Self { key, told: [const { OnceLock::new() }; KEPT] }
    }

    /// RFC 5869 §2.2, under a salt.
    fn extracted(salt: K, input: &[u8]) -> Self {
        Self::new(K::of(salt.chain_update(input).tag().as_ref()))
    }

    /// The first block of RFC 5869 §2.3; `info` has the counter. More than one TLS 1.3 does not need.
    fn first(&self, info: Info) -> OkmBlock {
        let known = self.told.iter().filter_map(OnceLock::get).find(|told| told.info.octets() == info.octets());
        if let Some(told) = known {
            return OkmBlock::new(told.output.as_ref());
        }
        let output = self.key.clone().chain_update(info.octets()).tag();
        if let Some(free) = self.told.iter().find(|told| told.get().is_none()) {
            // If somebody else was faster, that is kept.
            let _ = free.set(Told { info, output: OkmBlock::new(output.as_ref()) });
        }
        output
    }

    /// All of RFC 5869 §2.3.
    fn expand(&self, info: &[&[u8]], output: &mut [u8]) {
        let mut last = OkmBlock::new(&[]);
        for (chunk, counter) in output.chunks_mut(K::output_size()).zip(1..=u8::MAX) {
            let key = self.key.clone().chain_update(last.as_ref());
            last = info.iter().fold(key, |key, part| key.chain_update(part)).chain_update([counter]).tag();
            copy(&last, chunk);
        }
    }
}

impl<K: Key> HkdfExpander for Secret<K> {
    fn expand_slice(&self, info: &[&[u8]], output: &mut [u8]) -> Result<(), OutputLengthError> {
        if output.len() > usize::from(u8::MAX) * K::output_size() {
            return Err(OutputLengthError);
        }
        match Info::of(info) {
            Some(info) if output.len() <= K::output_size() => copy(&self.first(info), output),
            _ => self.expand(info, output),
        }
        Ok(())
    }

    fn expand_block(&self, info: &[&[u8]]) -> OkmBlock {
        if let Some(info) = Info::of(info) {
            return self.first(info);
        }
        let mut block = Zeroizing::new(vec![0; K::output_size()]);
        self.expand(info, &mut block);
        OkmBlock::new(&block)
    }

    fn hash_len(&self) -> usize {
        K::output_size()
    }
}

/// As much of `block` as there is room for.
fn copy(block: &OkmBlock, to: &mut [u8]) {
    to.iter_mut().zip(block.as_ref()).for_each(|(octet, derived)| *octet = *derived);
}

/// What to derive, in one piece, with the counter of the first block.
struct Info {
    octets: [u8; Self::MOST],
    length: usize,
}

impl Info {
    /// An HkdfLabel with the longest label and hash that TLS has is shorter.
    const MOST: usize = 96;

    fn of(parts: &[&[u8]]) -> Option<Self> {
        let mut info = Self { octets: [0; Self::MOST], length: 0 };
        for part in parts.iter().chain([&&[1][..]]) {
            let end = info.length + part.len();
            info.octets.get_mut(info.length..end)?.copy_from_slice(part);
            info.length = end;
        }
        Some(info)
    }

    fn octets(&self) -> &[u8] {
        self.octets.get(..self.length).unwrap_or_default()
    }
}

/// An expander that others have, too.
struct Shared(Arc<dyn HkdfExpander>);

impl HkdfExpander for Shared {
    fn expand_slice(&self, info: &[&[u8]], output: &mut [u8]) -> Result<(), OutputLengthError> {
        self.0.expand_slice(info, output)
    }

    fn expand_block(&self, info: &[&[u8]]) -> OkmBlock {
        self.0.expand_block(info)
    }

    fn hash_len(&self) -> usize {
        self.0.hash_len()
    }
}

#[cfg(test)]
mod tests;
