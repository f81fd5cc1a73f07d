//! Why a certificate cannot be used, and what to do about it.

use std::io;
use std::path::Path;

use crate::tls::pem::{self, Broken};

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{place} {problem}")]
pub struct CertificateError {
    pub(super) place: String,
    #[source]
    pub(super) problem: Problem,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    #[error("cannot be read: {error}; {advice}")]
    Unreadable { error: io::Error, advice: String },
    #[error("holds no certificate; write the server's own certificate first, then the intermediate ones, as PEM")]
    NoCertificate,
    #[error(
        "holds a private key, and {key} a certificate: the two are swapped; exchange `chain` and `key` in \
         [[tls.certificate]]"
    )]
    Swapped { key: String },
    #[error("{0}")]
    Pem(Broken),
    #[error("holds something for certificate number {0} that is no X.509 certificate; copy the whole file once more")]
    NotX509(usize),
    #[error("holds no private key; write it as PEM: PKCS #8, PKCS #1 or SEC 1")]
    NoKey,
    #[error("is encrypted, and nobody is there to type a passphrase; decrypt it: openssl pkey -in OLD -out NEW")]
    EncryptedKey,
    #[error(
        "holds {0}, which cannot be used here; have a certificate issued for an ECDSA key (P-256, P-384 or P-521), an \
         RSA key (2048 to 8192 bits) or an Ed25519 key"
    )]
    UnsupportedKey(String),
    #[error(
        "holds {0} that is damaged or written in an unusual way; take it from where it came from, or write it anew: \
         openssl pkey -in OLD -out NEW"
    )]
    DamagedKey(String),
    #[error(
        "is not the key of the chain's first certificate; check that the files are of one pair, and that the chain \
         begins with the server's own certificate"
    )]
    Mismatch,
}

impl Problem {
    /// Of a file that was to be read just now.
    pub(super) fn unreadable(error: io::Error, file: &Path) -> Self {
        let advice = pem::make_readable(&error, file, "[[tls.certificate]]");
        Self::Unreadable { error, advice }
    }

    pub(super) fn at(self, place: &str) -> CertificateError {
        CertificateError { place: place.to_owned(), problem: self }
    }
}
