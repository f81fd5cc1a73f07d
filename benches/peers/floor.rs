//! The cryptography alone: what no server can go below that does it with the same library.
//!
//! Only what needs the most time is done: signature, key exchange, records. The key schedule, the transcript's hash and
//! the few records of a handshake are left out, so that the floor is rather too low than too high.

use std::fs;
use std::hint::black_box;
use std::thread;

use anyhow::{Context, anyhow};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::kem::{DecapsulationKey, EncapsulationKey, ML_KEM_768};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, RSA_PSS_SHA256, RsaKeyPair};

use crate::results::{Measure, Role, Sample};

/// The server's part of what is done to one connection, or to one GiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// A signature and an exchange: a full handshake of TLS 1.3 or TLS 1.2.
    FullHandshake(Signature, Exchange),
    /// An exchange only: a resumed handshake of TLS 1.3, which is bound to the ticket and to a new exchange
    /// (`psk_dhe_ke`, RFC 8446 §4.2.9).
    ResumedHandshake(Exchange),
    /// Records that the client sealed are opened.
    Upload,
    /// Records are sealed.
    Download,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signature {
    EcdsaP256,
    Rsa2048,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exchange {
    X25519,
    /// X25519MLKEM768 (draft-ietf-tls-ecdhe-mlkem).
    X25519MlKem768,
}

/// Handshakes in a round.
const HANDSHAKES: u32 = 1_000;
/// Data in a record, the most that RFC 8446 §5.1 allows.
const RECORD: usize = 16 * 1024;
/// Records in a round: 256 MiB.
const RECORDS: u32 = 16 * 1024;
/// Records in a GiB.
const RECORDS_OF_A_GIB: u32 = 64 * 1024;
/// `CertificateVerify` signs 64 spaces, a name, a zero and the transcript's SHA-384 (RFC 8446 §4.4.3).
const SIGNED: [u8; 64 + 33 + 1 + 48] = [0x20; 146];
/// The header of a record is its additional data (RFC 8446 §5.2): application data, TLS 1.2, length.
const HEADER: [u8; 5] = [23, 3, 3, 0x40, 0x11];

/// CPU time of this thread for the work, once in each round, in [`Work::unit`].
pub fn crypto(work: Work, rounds: usize) -> anyhow::Result<Measure> {
    let mut samples = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        samples.push(Sample { cost: work.round()?, throughput: None, p50: None, p99: None });
    }
    Ok(Measure { subject: "crypto alone".to_owned(), role: Role::Floor, samples })
}

impl Work {
    fn round(self) -> anyhow::Result<f64> {
        let what = move |Unspecified| anyhow!("{self:?} failed in the library");
        match self {
            Self::FullHandshake(signature, exchange) => {
                let mut signer = Signer::new(signature).map_err(what)?;
                let client = Client::new(exchange).map_err(what)?;
                let cost = measured(HANDSHAKES, || {
                    signer.sign()?;
                    client.agree()
                });
                Ok(cost? * 1_000.0)
            }
            Self::ResumedHandshake(exchange) => {
                let client = Client::new(exchange).map_err(what)?;
                Ok(measured(HANDSHAKES, || client.agree())? * 1_000.0)
            }
            Self::Upload => {
                let mut records = Records::new().map_err(what)?;
                let (sealed, tag) = records.sealed().map_err(what)?;
                Ok(measured(RECORDS, || records.open(&sealed, &tag))? * f64::from(RECORDS_OF_A_GIB))
            }
            Self::Download => {
                let mut records = Records::new().map_err(what)?;
                Ok(measured(RECORDS, || records.seal())? * f64::from(RECORDS_OF_A_GIB))
            }
        }
    }
}

/// Milliseconds for each of so many times.
fn measured(times: u32, mut once: impl FnMut() -> Result<(), Unspecified>) -> anyhow::Result<f64> {
    once()?; // tables and lazily filled caches are there before the clock runs
    let before = cpu_nanoseconds()?;
    for _ in 0..times {
        once()?;
    }
    let spent = cpu_nanoseconds()?.saturating_sub(before);
    Ok(spent as f64 / 1e6 / f64::from(times))
}

/// What this thread has spent, user and system, in nanoseconds.
fn cpu_nanoseconds() -> anyhow::Result<u64> {
    // The kernel adds up a running thread's time when it schedules; without this the figure is a tick old.
    thread::yield_now();
    let text = fs::read_to_string("/proc/thread-self/schedstat").context("/proc/thread-self/schedstat")?;
    let spent = text.split_whitespace().next().context("/proc/thread-self/schedstat is empty")?;
    spent.parse().context("/proc/thread-self/schedstat")
}

/// The server's key.
struct Signer {
    key: Key,
    random: SystemRandom,
    signature: Vec<u8>,
}

enum Key {
    Ecdsa(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl Signer {
    fn new(signature: Signature) -> Result<Self, Unspecified> {
        let (key, length) = match signature {
            Signature::EcdsaP256 => (Key::Ecdsa(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)?), 0),
            Signature::Rsa2048 => {
                let key = RsaKeyPair::generate(KeySize::Rsa2048)?;
                let length = key.public_modulus_len();
                (Key::Rsa(key), length)
            }
        };
        Ok(Self { key, random: SystemRandom::new(), signature: vec![0; length] })
    }

    fn sign(&mut self) -> Result<(), Unspecified> {
        match &self.key {
            Key::Ecdsa(key) => {
                black_box(key.sign(&self.random, black_box(&SIGNED))?);
                Ok(())
            }
            Key::Rsa(key) => key.sign(&RSA_PSS_SHA256, &self.random, black_box(&SIGNED), &mut self.signature),
        }
    }
}

/// The client's shares, with which the server agrees.
struct Client {
    x25519: Vec<u8>,
    ml_kem: Option<Vec<u8>>,
}

impl Client {
    fn new(exchange: Exchange) -> Result<Self, Unspecified> {
        let random = SystemRandom::new();
        let x25519 = EphemeralPrivateKey::generate(&X25519, &random)?.compute_public_key()?.as_ref().to_vec();
        let ml_kem = match exchange {
            Exchange::X25519 => None,
            Exchange::X25519MlKem768 => {
                let key = DecapsulationKey::generate(&ML_KEM_768)?.encapsulation_key()?;
                Some(key.key_bytes()?.as_ref().to_vec())
            }
        };
        Ok(Self { x25519, ml_kem })
    }

    /// What the server does: a key of its own, its public part to be sent, and the secret.
    fn agree(&self) -> Result<(), Unspecified> {
        if let Some(share) = &self.ml_kem {
            let key = EncapsulationKey::new(&ML_KEM_768, black_box(share)).map_err(|_| Unspecified)?;
            black_box(key.encapsulate()?);
        }
        let key = EphemeralPrivateKey::generate(&X25519, &SystemRandom::new())?;
        black_box(key.compute_public_key()?);
        let share = UnparsedPublicKey::new(&X25519, black_box(&self.x25519));
        agree_ephemeral(key, share, Unspecified, |secret| {
            black_box(secret);
            Ok(())
        })
    }
}

/// One direction of a connection.
struct Records {
    key: LessSafeKey,
    buffer: Vec<u8>,
    sequence: u64,
}

impl Records {
    fn new() -> Result<Self, Unspecified> {
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32])?);
        Ok(Self { key, buffer: vec![b'a'; RECORD], sequence: 0 })
    }

    fn seal(&mut self) -> Result<(), Unspecified> {
        self.sequence += 1;
        let tag = self.key.seal_in_place_separate_tag(nonce(self.sequence), Aad::from(HEADER), &mut self.buffer)?;
        let _ = black_box(tag);
        Ok(())
    }

    /// A record to open, and its tag.
    fn sealed(&self) -> Result<(Vec<u8>, Vec<u8>), Unspecified> {
        let mut record = vec![b'a'; RECORD];
        let tag = self.key.seal_in_place_separate_tag(nonce(0), Aad::from(HEADER), &mut record)?;
        Ok((record, tag.as_ref().to_vec()))
    }

    /// Into another buffer: a record that was opened in place could not be opened again without copying it first.
    fn open(&mut self, record: &[u8], tag: &[u8]) -> Result<(), Unspecified> {
        self.key.open_separate_gather(nonce(0), Aad::from(HEADER), black_box(record), tag, &mut self.buffer)
    }
}

/// RFC 8446 §5.3: the record's number, to the left filled with zeros. The secret part is left out: it costs nothing.
fn nonce(sequence: u64) -> Nonce {
    let mut octets = [0; 12];
    let (_, low) = octets.split_at_mut(4);
    low.copy_from_slice(&sequence.to_be_bytes());
    Nonce::assume_unique_for_key(octets)
}
