//! Who the servers say they are, and the one cryptography that all of them use.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize};
use tokio_rustls::rustls::pki_types::CertificateDer;

/// The name in the certificates.
pub const HOSTNAME: &str = "mail.example.com";

/// TLS 1.3, OpenSSL's name.
pub const CIPHERS_1_3: &str = "TLS_AES_256_GCM_SHA384";

/// TLS 1.2, OpenSSL's names: one for each kind of key.
pub const CIPHERS_1_2: &str = "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384";

/// The key exchange, OpenSSL's names. All sessions use the first; without the second no client of TLS 1.2 would be shown
/// a certificate on that curve (RFC 8422 §5.1).
pub const CURVES: &str = "X25519:P-256";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    EcdsaP256,
    Rsa2048,
}

/// A certificate that signs itself, as files.
pub struct Identity {
    pub certificate: CertificateDer<'static>,
    pub chain: PathBuf,
    pub key: PathBuf,
    /// Both in one file, for the programs that want that.
    pub combined: PathBuf,
}

impl Identity {
    pub fn create(kind: Key, directory: &Path) -> anyhow::Result<Self> {
        let (name, pair) = match kind {
            Key::EcdsaP256 => ("ecdsa", KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?),
            Key::Rsa2048 => ("rsa", KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?),
        };
        let certificate = CertificateParams::new([HOSTNAME.to_owned()])?.self_signed(&pair)?;
        let write = |suffix: &str, content: String| -> anyhow::Result<PathBuf> {
            let path = directory.join(format!("{name}{suffix}.pem"));
            fs::write(&path, content).context("cannot write a certificate")?;
            Ok(path)
        };
        Ok(Self {
            chain: write("-chain", certificate.pem())?,
            key: write("-key", pair.serialize_pem())?,
            combined: write("", certificate.pem() + &pair.serialize_pem())?,
            certificate: certificate.der().clone(),
        })
    }
}
