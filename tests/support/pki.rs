//! A test authority, and an RSA and an ECDSA certificate under it.

use std::path::PathBuf;
use std::sync::LazyLock;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256,
};

use super::warden;

/// The name in every certificate and greeting.
pub const HOSTNAME: &str = "mail.example.net";

/// A chain and its key, PEM.
pub struct Files {
    /// The chain.
    pub chain: PathBuf,
    /// The key.
    pub key: PathBuf,
}

/// Everything that the tests need.
pub struct Pki {
    /// The authority, PEM.
    pub ca: PathBuf,
    /// With an RSA key.
    pub rsa: Files,
    /// With an ECDSA key.
    pub ecdsa: Files,
    /// A client's, for `client.example.org`.
    pub client: Files,
    issuer: Issuer<'static, KeyPair>,
}

impl Pki {
    /// Another certificate for [`HOSTNAME`], PEM, and its key, with a serial number to know it by.
    pub fn another(&self, serial: u64) -> (String, String) {
        let mut params = CertificateParams::new([HOSTNAME.to_owned()]).expect("a name");
        params.serial_number = Some(serial.into());
        let key = KeyPair::generate().expect("a key");
        (params.signed_by(&key, &self.issuer).expect("a certificate").pem(), key.serialize_pem())
    }
}

/// The test authority.
pub fn pki() -> &'static Pki {
    static PKI: LazyLock<Pki> = LazyLock::new(make);
    &PKI
}

fn make() -> Pki {
    let dir = warden::directory("pki");
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "Sealgate test authority");
    let key = KeyPair::generate().expect("a key");
    let ca = dir.join("ca.pem");
    std::fs::write(&ca, params.self_signed(&key).expect("a certificate").pem()).expect("a file");
    let issuer = Issuer::new(params, key);

    let issue = |name: &str, common_name: &str, algorithm| {
        let names = [common_name, "localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name.push(DnType::CommonName, common_name);
        let key = KeyPair::generate_for(algorithm).expect("a key");
        let files = Files { chain: dir.join(format!("{name}.pem")), key: dir.join(format!("{name}.key")) };
        std::fs::write(&files.chain, params.signed_by(&key, &issuer).expect("a certificate").pem()).expect("a file");
        std::fs::write(&files.key, key.serialize_pem()).expect("a file");
        files
    };
    let rsa = issue("rsa", HOSTNAME, &PKCS_RSA_SHA256);
    let ecdsa = issue("ecdsa", HOSTNAME, &PKCS_ECDSA_P256_SHA256);
    let client = issue("client", "client.example.org", &PKCS_ECDSA_P256_SHA256);
    Pki { ca, rsa, ecdsa, client, issuer }
}
