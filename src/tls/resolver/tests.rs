use rcgen::{
    CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256,
};
use rustls::SignatureScheme as Scheme;

use super::*;

fn certificate(names: &[&str], algorithm: &'static rcgen::SignatureAlgorithm) -> Certificate {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let chain = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    Certificate::from_pem(chain.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap()
}

const SCHEMES: [Scheme; 5] = [
    Scheme::ECDSA_NISTP256_SHA256,
    Scheme::ECDSA_NISTP384_SHA384,
    Scheme::ED25519,
    Scheme::RSA_PSS_SHA256,
    Scheme::RSA_PKCS1_SHA256,
];
const ECDSA: CipherSuite = CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
const RSA: CipherSuite = CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256;

const EVERYTHING: Client<'_> = Client {
    host: None,
    version: TlsVersion::Tls13,
    signatures: &SCHEMES,
    suites: &[ECDSA, RSA],
    groups: Some(&[NamedGroup::X25519, NamedGroup::secp256r1]),
};

/// The number of the certificate that a client gets.
fn choice(certificates: &[Certificate], client: &Client<'_>) -> usize {
    let found = Resolver::new(certificates.to_vec()).unwrap().find(client);
    certificates.iter().position(|certificate| Arc::ptr_eq(&certificate.certified, &found)).unwrap()
}

#[test]
fn the_name_decides_first() {
    let certificates = [
        certificate(&["mail.example.com"], &PKCS_ECDSA_P256_SHA256),
        certificate(&["*.example.org", "example.org"], &PKCS_ECDSA_P256_SHA256),
        certificate(&["exact.example.org"], &PKCS_ECDSA_P256_SHA256),
    ];
    for (host, number) in [
        (None, 0),
        (Some("mail.example.com"), 0),
        (Some("any.example.org"), 1),
        (Some("example.org"), 1),
        (Some("exact.example.org"), 2),
        (Some("a.b.example.org"), 0), // RFC 9525 §6.3: a wildcard stands for one label
        (Some("org"), 0),
        (Some("unknown.example"), 0),
    ] {
        assert_eq!(choice(&certificates, &Client { host, ..EVERYTHING }), number, "{host:?}");
    }
}

#[test]
fn then_what_the_client_can_verify() {
    let names = &["mail.example.com"];
    let certificates = [certificate(names, &PKCS_RSA_SHA256), certificate(names, &PKCS_ECDSA_P256_SHA256)];
    let tls12 = Client { version: TlsVersion::Tls12, ..EVERYTHING };
    for (what, number, client) in [
        ("both: the cheaper one", 1, EVERYTHING),
        ("1.3, RSA alone", 0, Client { signatures: &[Scheme::RSA_PSS_SHA256], ..EVERYTHING }),
        ("1.2, both", 1, Client { ..tls12 }),
        ("1.2, RSA signatures", 0, Client { signatures: &[Scheme::RSA_PKCS1_SHA256], ..tls12 }),
        ("1.2, RSA suites", 0, Client { suites: &[RSA], ..tls12 }),
        ("1.2, ECDSA suites", 1, Client { suites: &[ECDSA], ..tls12 }),
        ("1.2, not this curve", 0, Client { groups: Some(&[NamedGroup::X25519]), ..tls12 }),
        ("1.2, no word of curves", 1, Client { groups: None, ..tls12 }),
        ("1.3 has the curve in the signature scheme", 1, Client { groups: Some(&[NamedGroup::X25519]), ..EVERYTHING }),
        ("neither, 1.3: the alert will name the schemes", 1, Client { signatures: &[Scheme::ED448], ..EVERYTHING }),
        ("neither, 1.2: the same", 0, Client { signatures: &[Scheme::ED448], suites: &[RSA], ..tls12 }),
        ("1.2, no suite: the alert will name the suites", 0, Client { suites: &[], ..tls12 }),
    ] {
        for host in [None, Some("mail.example.com"), Some("unknown.example")] {
            assert_eq!(choice(&certificates, &Client { host, ..client }), number, "{what}, {host:?}");
        }
    }
}

#[test]
fn rfc8446_4_2_3_pkcs1_signs_no_tls13_handshake() {
    let certificates = [
        certificate(&["mail.example.com"], &PKCS_ECDSA_P384_SHA384),
        certificate(&["rsa.example.com"], &PKCS_RSA_SHA256),
    ];
    let signatures = &[Scheme::RSA_PKCS1_SHA256, Scheme::ECDSA_NISTP384_SHA384];
    let client = Client { host: Some("rsa.example.com"), signatures, ..EVERYTHING };
    assert_eq!(choice(&certificates, &client), 0);
    assert_eq!(choice(&certificates, &Client { version: TlsVersion::Tls12, ..client }), 1);
}

#[test]
fn a_name_whose_certificate_the_client_cannot_verify_falls_back_to_one_that_it_can() {
    let certificates =
        [certificate(&["mail.example.com"], &PKCS_RSA_SHA256), certificate(&["ed.example.com"], &PKCS_ED25519)];
    let client = Client { host: Some("ed.example.com"), ..EVERYTHING };
    assert_eq!(choice(&certificates, &client), 1);
    assert_eq!(choice(&certificates, &Client { signatures: &[Scheme::RSA_PSS_SHA256], ..client }), 0);
}

#[test]
fn there_is_no_resolver_without_a_certificate() {
    assert!(Resolver::new(Vec::new()).is_none());
}
