//! A private key as it stands in its file: read from PEM, or told why not.
//!
//! The library does not name a key that it refuses. Its kind stands before the secret in its DER (RFC 5958 §2).

use std::ops::RangeInclusive;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::{Error, PemObject};
use rustls::sign::SigningKey;
use x509_parser::asn1_rs::{self, Any, FromDer, Integer, OctetString, Oid, Sequence, Tagged, TaggedExplicit};
use x509_parser::x509::AlgorithmIdentifier;

use super::problem::Problem;
use crate::tls::pem::{Broken, broken, says, unseen};

/// The sizes of RSA keys that AWS-LC signs with.
const RSA_BITS: RangeInclusive<usize> = 2048..=8192;

/// The key that stands in a file.
pub(super) fn load(pem: &[u8]) -> Result<Arc<dyn SigningKey>, Problem> {
    // PKCS #8 (RFC 5958 §3) and the older OpenSSL way (RFC 1421 §4.6.1.1).
    if says(pem, "BEGIN ENCRYPTED PRIVATE KEY") || says(pem, "Proc-Type: 4,ENCRYPTED") {
        return Err(Problem::EncryptedKey);
    }
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        Error::NoItemsFound if says(pem, "BEGIN DSA PRIVATE KEY") => Problem::UnsupportedKey(String::from("a DSA key")),
        Error::NoItemsFound => unseen(pem, "PRIVATE KEY").map_or(Problem::NoKey, Problem::Pem),
        _ => Problem::Pem(broken(pem).unwrap_or(Broken::Somewhere)),
    })?;
    let described = describe(&key);
    let loaded = aws_lc_rs::default_provider().key_provider.load_private_key(key);
    loaded.map_err(|_| match described {
        Described { words, usable: true } => Problem::DamagedKey(words),
        Described { words, usable: false } => Problem::UnsupportedKey(words),
    })
}

/// What a private key is, in words: "an RSA key of 1024 bits".
#[derive(Debug, PartialEq, Eq)]
struct Described {
    words: String,
    /// Whether keys of this kind and size can be used, where they are whole.
    usable: bool,
}

impl Described {
    fn unusable(words: impl Into<String>) -> Self {
        Self { words: words.into(), usable: false }
    }
}

/// What a key is. What cannot be told is a damaged one, of a kind that could be used.
fn describe(key: &PrivateKeyDer<'_>) -> Described {
    let described = match key {
        PrivateKeyDer::Pkcs1(key) => rsa(key.secret_pkcs1_der()),
        PrivateKeyDer::Sec1(key) => sec1(key.secret_sec1_der()),
        PrivateKeyDer::Pkcs8(key) => pkcs8(key.secret_pkcs8_der()),
        _ => None,
    };
    described.unwrap_or(Described { words: String::from("a key"), usable: true })
}

/// RFC 5958 §2: the version, the algorithm, and the key by the algorithm's own rules.
fn pkcs8(der: &[u8]) -> Option<Described> {
    let content = sequence(der)?;
    let (rest, _version) = Integer::from_der(content).ok()?;
    let (rest, algorithm) = AlgorithmIdentifier::from_der(rest).ok()?;
    let parameters = algorithm.parameters.as_ref();
    // RFC 3279 §2.3, RFC 8410 §3, RFC 4055 §1.2.
    Some(match algorithm.algorithm.to_id_string().as_str() {
        "1.2.840.113549.1.1.1" => {
            let (_, key) = OctetString::from_der(rest).ok()?;
            return rsa(key.as_ref());
        }
        "1.2.840.10045.2.1" => ecdsa(parameters?),
        "1.3.101.112" => Described { words: String::from("an Ed25519 key"), usable: true },
        "1.3.101.113" => Described::unusable("an Ed448 key"),
        "1.3.101.110" => Described::unusable("an X25519 key, which signs nothing"),
        "1.3.101.111" => Described::unusable("an X448 key, which signs nothing"),
        "1.2.840.113549.1.1.10" => Described::unusable("a key for RSASSA-PSS alone"),
        "1.2.840.10040.4.1" => {
            let bits = parameters.and_then(|dss| Integer::from_der(dss.data).ok()).map(|(_, p)| bits(&p));
            Described::unusable(bits.map_or(String::from("a DSA key"), |bits| format!("a DSA key of {bits} bits")))
        }
        // Not by its number: in a file that is not what it says, that might be something else.
        _ => Described::unusable("a key of a kind that is not known here"),
    })
}

/// RFC 8017 appendix A.1.2: the version, the modulus, and so on.
fn rsa(der: &[u8]) -> Option<Described> {
    let (rest, _version) = Integer::from_der(sequence(der)?).ok()?;
    let (_, modulus) = Integer::from_der(rest).ok()?;
    let bits = bits(&modulus);
    Some(Described { words: format!("an RSA key of {bits} bits"), usable: RSA_BITS.contains(&bits) })
}

/// RFC 5915 §3: the version, the key, and in `[0]` the curve.
fn sec1(der: &[u8]) -> Option<Described> {
    let (rest, _version) = Integer::from_der(sequence(der)?).ok()?;
    let (rest, _key) = OctetString::from_der(rest).ok()?;
    let (_, curve) = TaggedExplicit::<Any<'_>, asn1_rs::Error, 0>::from_der(rest).ok()?;
    Some(ecdsa(&curve.into_inner()))
}

/// RFC 5480 §2.1.1: a curve has a name, or its parameters are written out.
fn ecdsa(curve: &Any<'_>) -> Described {
    if curve.tag() != Oid::TAG {
        return Described::unusable("an ECDSA key on a curve without a name");
    }
    let (name, usable) = match Oid::new(curve.data.into()).to_id_string().as_str() {
        "1.2.840.10045.3.1.7" => ("P-256", true),
        "1.3.132.0.34" => ("P-384", true),
        "1.3.132.0.35" => ("P-521", true),
        "1.2.840.10045.3.1.1" => ("P-192", false),
        "1.3.132.0.33" => ("P-224", false),
        "1.3.132.0.10" => ("secp256k1", false),
        "1.3.36.3.3.2.8.1.1.7" => ("brainpoolP256r1", false),
        "1.3.36.3.3.2.8.1.1.11" => ("brainpoolP384r1", false),
        "1.3.36.3.3.2.8.1.1.13" => ("brainpoolP512r1", false),
        _ => ("another curve", false),
    };
    Described { words: format!("an ECDSA key on {name}"), usable }
}

/// What is in a sequence that is all there is.
fn sequence(der: &[u8]) -> Option<&[u8]> {
    let (_, sequence) = Any::from_der(der).ok()?;
    sequence.header.assert_tag(Sequence::TAG).ok()?;
    Some(sequence.data)
}

/// The size of a number that is not negative.
fn bits(number: &Integer<'_>) -> usize {
    let octets = number.as_ref();
    let zeros = octets.iter().take_while(|octet| **octet == 0).count();
    let first = octets.get(zeros).map_or(0, |first| first.leading_zeros() as usize);
    (octets.len() - zeros) * 8 - first
}

#[cfg(test)]
mod tests;
