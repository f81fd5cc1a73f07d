//! A server certificate: its chain, its key, and what the gate and `sealgate check` want to know of it.

mod private_key;
mod problem;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use rustls::{SignatureAlgorithm, SignatureScheme};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;

use super::pem;
use super::self_signed::Pem;
use super::signing::{KeyKind, NotedKey};
use crate::config::CertificateFiles;
use crate::secret::Secret;
pub use problem::CertificateError;
use problem::Problem;

/// A certificate chain with the private key that belongs to it.
#[derive(Clone)]
pub struct Certificate {
    pub(super) certified: Arc<CertifiedKey>,
    kind: KeyKind,
    names: Vec<String>,
    not_before: SystemTime,
    not_after: SystemTime,
    ordered: bool,
}

/// A chain and its key as they stand in their files, PEM both: for the process that may not read the files itself.
#[derive(Debug)]
pub struct PemPair {
    /// The chain.
    pub chain: Vec<u8>,
    /// The private key.
    pub key: Secret,
}

impl Certificate {
    /// Reads the chain and the key from their files.
    ///
    /// # Errors
    /// Names the file, what is wrong with it, and what to do.
    pub fn load(files: &CertificateFiles) -> Result<Self, CertificateError> {
        Self::read(files).map(|(certificate, _)| certificate)
    }

    /// The same, and gives what stood in the files.
    ///
    /// # Errors
    /// As for [`Certificate::load`].
    pub fn read(files: &CertificateFiles) -> Result<(Self, PemPair), CertificateError> {
        let (chain, key) = (files.chain.display().to_string(), files.key.display().to_string());
        let pem = PemPair {
            chain: std::fs::read(&files.chain).map_err(|error| Problem::unreadable(error, &files.chain).at(&chain))?,
            key: Secret::read(&files.key).map_err(|error| Problem::unreadable(error, &files.key).at(&key))?,
        };
        Ok((Self::parse((&chain, &pem.chain), (&key, pem.key.expose()))?, pem))
    }

    /// Takes the chain and the key as PEM.
    ///
    /// # Errors
    /// As for [`Certificate::load`], less the file names.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        Self::parse(("the certificate chain", chain), ("the private key", key))
    }

    fn parse((chain_place, chain): (&str, &[u8]), (key_place, key): (&str, &[u8])) -> Result<Self, CertificateError> {
        if !pem::holds_certificate(chain) && pem::holds_private_key(chain) && pem::holds_certificate(key) {
            return Err(Problem::Swapped { key: key_place.to_owned() }.at(chain_place));
        }
        let in_words = |number| pem::broken(chain).map_or(Problem::NotX509(number), Problem::Pem);
        let chain = pem::certificates(chain).map_err(|broken| Problem::Pem(broken).at(chain_place))?;
        let parsed = parse_chain(&chain).map_err(|number| in_words(number).at(chain_place))?;
        let leaf = parsed.first().ok_or(Problem::NoCertificate.at(chain_place))?;

        let private = private_key::load(key).map_err(|problem| problem.at(key_place))?;
        let unsupported = |what: &str| Problem::UnsupportedKey(what.to_owned()).at(key_place);
        let kind = match private.algorithm() {
            SignatureAlgorithm::RSA => KeyKind::Rsa { bits: rsa_bits(leaf).ok_or(Problem::Mismatch.at(key_place))? },
            SignatureAlgorithm::ECDSA => {
                const CURVES: [(SignatureScheme, &str); 3] = [
                    (SignatureScheme::ECDSA_NISTP256_SHA256, "P-256"),
                    (SignatureScheme::ECDSA_NISTP384_SHA384, "P-384"),
                    (SignatureScheme::ECDSA_NISTP521_SHA512, "P-521"),
                ];
                let curve = CURVES.iter().find(|(scheme, _)| private.choose_scheme(&[*scheme]).is_some());
                KeyKind::Ecdsa { curve: curve.ok_or(unsupported("an ECDSA key on another curve"))?.1 }
            }
            SignatureAlgorithm::ED25519 => KeyKind::Ed25519,
            _ => return Err(unsupported("a key of another kind")),
        };

        let (names, not_before, not_after) =
            (names(leaf), time(leaf.validity().not_before), time(leaf.validity().not_after));
        let ordered = parsed.iter().zip(parsed.iter().skip(1)).all(|(below, above)| below.issuer() == above.subject());
        let certificate = signed_by(leaf);
        drop(parsed);
        let certified = CertifiedKey::new(chain, Arc::new(NotedKey { key: private, kind, certificate }));
        certified.keys_match().map_err(|_| Problem::Mismatch.at(key_place))?;
        Ok(Self { certified: Arc::new(certified), kind, names, not_before, not_after, ordered })
    }

    /// The DNS names it is good for, in lower case: its subject alternative names, or its common name if it has none.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether it is good for `host`, wildcard names included (RFC 9525 §6.3).
    pub fn is_for(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let wildcard = wildcard(&host);
        self.names.iter().any(|name| *name == host || Some(name) == wildcard.as_ref())
    }

    /// From when it is valid.
    pub fn not_before(&self) -> SystemTime {
        self.not_before
    }

    /// Until when it is valid.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// The kind of its key.
    pub fn key_kind(&self) -> KeyKind {
        self.kind
    }

    /// Whether it is the same chain, certificate for certificate. Then it has the same key, too.
    pub fn is_same_chain(&self, other: &Self) -> bool {
        self.certified.cert == other.certified.cert
    }

    /// How many certificates the chain has.
    pub fn chain_length(&self) -> usize {
        self.certified.cert.len()
    }

    /// Whether each certificate of the chain was issued by the next one (RFC 5246 §7.4.2; some clients insist).
    pub fn is_chain_in_order(&self) -> bool {
        self.ordered
    }
}

impl TryFrom<&Pem> for Certificate {
    type Error = CertificateError;

    fn try_from(pem: &Pem) -> Result<Self, Self::Error> {
        Self::from_pem(pem.chain.as_bytes(), pem.key.as_bytes())
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("names", &self.names).field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// The wildcard name that would cover `host`: `*.example.com` for `mail.example.com`.
pub(super) fn wildcard(host: &str) -> Option<String> {
    host.split_once('.').map(|(_, parent)| format!("*.{parent}"))
}

/// All of a chain, or the number of the first that is no certificate.
fn parse_chain<'a>(chain: &'a [CertificateDer<'static>]) -> Result<Vec<X509Certificate<'a>>, usize> {
    (1..)
        .zip(chain)
        .map(|(number, der)| match X509Certificate::from_der(der) {
            Ok(([], parsed)) => Ok(parsed),
            _ => Err(number),
        })
        .collect()
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let mut names: Vec<String> = alternative
        .iter()
        .flat_map(|extension| &extension.value.general_names)
        .filter_map(|name| if let GeneralName::DNSName(name) = name { Some(name.to_ascii_lowercase()) } else { None })
        .collect();
    if alternative.is_none() {
        let common = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
        names.extend(common.map(str::to_ascii_lowercase));
    }
    names
}

fn rsa_bits(certificate: &X509Certificate<'_>) -> Option<u16> {
    match certificate.public_key().parsed().ok()? {
        PublicKey::RSA(key) => u16::try_from(key.key_size()).ok(),
        _ => None,
    }
}

/// How a certificate was signed, by OpenSSL's short name (RFC 8017 appendix A.2, RFC 5758 §3.2, RFC 8410 §3).
fn signed_by(certificate: &X509Certificate<'_>) -> Option<&'static str> {
    Some(match certificate.signature_algorithm.algorithm.to_id_string().as_str() {
        "1.2.840.113549.1.1.5" => "RSA-SHA1",
        "1.2.840.113549.1.1.10" => "RSASSA-PSS",
        "1.2.840.113549.1.1.11" => "RSA-SHA256",
        "1.2.840.113549.1.1.12" => "RSA-SHA384",
        "1.2.840.113549.1.1.13" => "RSA-SHA512",
        "1.2.840.10045.4.3.2" => "ecdsa-with-SHA256",
        "1.2.840.10045.4.3.3" => "ecdsa-with-SHA384",
        "1.2.840.10045.4.3.4" => "ecdsa-with-SHA512",
        "1.3.101.112" => "ED25519",
        _ => return None,
    })
}

fn time(time: x509_parser::time::ASN1Time) -> SystemTime {
    let seconds = Duration::from_secs(time.timestamp().unsigned_abs());
    let epoch = SystemTime::UNIX_EPOCH;
    let moved = if time.timestamp() < 0 { epoch.checked_sub(seconds) } else { epoch.checked_add(seconds) };
    moved.unwrap_or(epoch)
}

#[cfg(test)]
mod tests;
