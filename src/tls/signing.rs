//! Which signature the server made: the one fact of a handshake that `rustls` does not tell.
//!
//! The signing key is wrapped, and [`Signer::sign`] leaves a note in a thread-local cell. [`noting`] empties the
//! cell before each step of a handshake and looks into it right after. A step runs on one thread from beginning to
//! end and nothing else runs on that thread meanwhile, so a note found there was made by this very handshake.

use std::cell::Cell;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::sign::{Signer, SigningKey};

use crate::facts::{ServerSignature, SignatureAlgorithm};

thread_local! {
    static NOTE: Cell<Option<ServerSignature>> = const { Cell::new(None) };
}

/// What kind of key a certificate has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA.
    Rsa {
        /// The modulus' size.
        bits: u16,
    },
    /// ECDSA.
    Ecdsa {
        /// NIST's name of the curve: `P-256`, `P-384`, `P-521`.
        curve: &'static str,
    },
    /// Ed25519.
    Ed25519,
}

impl std::fmt::Display for KeyKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rsa { bits } => write!(f, "RSA {bits} bits"),
            Self::Ecdsa { curve } => write!(f, "ECDSA {curve}"),
            Self::Ed25519 => f.write_str("Ed25519"),
        }
    }
}

/// A signing key that notes what it signs with.
#[derive(Debug)]
pub(super) struct NotedKey {
    pub(super) key: Arc<dyn SigningKey>,
    pub(super) kind: KeyKind,
    /// How the key's certificate was signed: it goes into the note.
    pub(super) certificate: Option<&'static str>,
}

impl SigningKey for NotedKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let signer = self.key.choose_scheme(offered)?;
        let signature = ServerSignature { certificate: self.certificate, ..describe(signer.scheme(), self.kind)? };
        Some(Box::new(NotedSigner { signer, signature }))
    }

    fn public_key(&self) -> Option<rustls::pki_types::SubjectPublicKeyInfoDer<'_>> {
        self.key.public_key()
    }

    fn algorithm(&self) -> rustls::SignatureAlgorithm {
        self.key.algorithm()
    }
}

#[derive(Debug)]
struct NotedSigner {
    signer: Box<dyn Signer>,
    signature: ServerSignature,
}

impl Signer for NotedSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let signed = self.signer.sign(message)?;
        NOTE.set(Some(self.signature));
        Ok(signed)
    }

    fn scheme(&self) -> SignatureScheme {
        self.signer.scheme()
    }
}

/// Runs a step of a handshake, and tells what comes of it together with the signature that the server made in it, if
/// it made one.
pub(super) fn noting<T>(step: impl FnOnce() -> T) -> (T, Option<ServerSignature>) {
    NOTE.take();
    let done = step();
    (done, NOTE.take())
}

/// A scheme by IANA's name, with what the key adds to it.
fn describe(scheme: SignatureScheme, key: KeyKind) -> Option<ServerSignature> {
    use SignatureAlgorithm::{Ecdsa, Ed25519, RsaPkcs1, RsaPss};
    let (iana, algorithm, digest) = match (scheme, key) {
        (SignatureScheme::RSA_PSS_SHA256, KeyKind::Rsa { bits }) => {
            ("rsa_pss_rsae_sha256", RsaPss { bits }, Some("SHA256"))
        }
        (SignatureScheme::RSA_PSS_SHA384, KeyKind::Rsa { bits }) => {
            ("rsa_pss_rsae_sha384", RsaPss { bits }, Some("SHA384"))
        }
        (SignatureScheme::RSA_PSS_SHA512, KeyKind::Rsa { bits }) => {
            ("rsa_pss_rsae_sha512", RsaPss { bits }, Some("SHA512"))
        }
        (SignatureScheme::RSA_PKCS1_SHA256, KeyKind::Rsa { bits }) => {
            ("rsa_pkcs1_sha256", RsaPkcs1 { bits }, Some("SHA256"))
        }
        (SignatureScheme::RSA_PKCS1_SHA384, KeyKind::Rsa { bits }) => {
            ("rsa_pkcs1_sha384", RsaPkcs1 { bits }, Some("SHA384"))
        }
        (SignatureScheme::RSA_PKCS1_SHA512, KeyKind::Rsa { bits }) => {
            ("rsa_pkcs1_sha512", RsaPkcs1 { bits }, Some("SHA512"))
        }
        (SignatureScheme::ECDSA_NISTP256_SHA256, KeyKind::Ecdsa { curve }) => {
            ("ecdsa_secp256r1_sha256", Ecdsa { curve }, Some("SHA256"))
        }
        (SignatureScheme::ECDSA_NISTP384_SHA384, KeyKind::Ecdsa { curve }) => {
            ("ecdsa_secp384r1_sha384", Ecdsa { curve }, Some("SHA384"))
        }
        (SignatureScheme::ECDSA_NISTP521_SHA512, KeyKind::Ecdsa { curve }) => {
            ("ecdsa_secp521r1_sha512", Ecdsa { curve }, Some("SHA512"))
        }
        (SignatureScheme::ED25519, KeyKind::Ed25519) => ("ed25519", Ed25519, None),
        _ => return None,
    };
    Some(ServerSignature { iana, algorithm, digest, certificate: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTED: ServerSignature =
        ServerSignature { iana: "ed25519", algorithm: SignatureAlgorithm::Ed25519, digest: None, certificate: None };

    #[test]
    fn a_note_of_this_step_is_told_and_one_from_before_is_not_believed() {
        NOTE.set(Some(NOTED));
        assert_eq!(noting(|| ()), ((), None), "a stale note");
        assert_eq!(noting(|| NOTE.set(Some(NOTED))), ((), Some(NOTED)));
        assert_eq!(noting(|| 7), (7, None), "the cell is empty between steps");
    }
}
