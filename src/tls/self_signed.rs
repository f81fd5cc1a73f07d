//! Certificates for the demo and the tests: one ECDSA, one RSA, made on the spot, trusted by nobody.

use std::time::{Duration, SystemTime};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, SignatureAlgorithm, date_time_ymd,
};

/// A certificate and its private key, both PEM. No `Debug`: the key is a secret, if a short-lived one.
pub struct Pem {
    /// The certificate.
    pub chain: String,
    /// The private key, PKCS #8.
    pub key: String,
}

/// The same name certified twice, so that clients of every age find a signature they can verify.
pub struct SelfSigned {
    /// ECDSA over P-256.
    pub ecdsa: Pem,
    /// RSA with 2048 bits.
    pub rsa: Pem,
}

/// How long such a certificate is good for.
const LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// So that a client whose clock is behind ours takes it, too.
const BACKDATED: Duration = Duration::from_secs(24 * 3600);

/// Makes a pair of certificates for `hostname` and for this machine's loopback names.
///
/// # Errors
/// `hostname` is no DNS name that a certificate could carry, or the system gave no random numbers.
pub fn self_signed(hostname: &str) -> Result<SelfSigned, rcgen::Error> {
    Ok(SelfSigned { ecdsa: pem(hostname, &PKCS_ECDSA_P256_SHA256)?, rsa: pem(hostname, &PKCS_RSA_SHA256)? })
}

fn pem(hostname: &str, algorithm: &'static SignatureAlgorithm) -> Result<Pem, rcgen::Error> {
    let mut names = vec![hostname.to_owned()];
    names.extend(["localhost", "127.0.0.1", "::1"].iter().filter(|name| **name != hostname).map(ToString::to_string));

    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, hostname);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    params.not_before = date_time_ymd(1970, 1, 1) + now.saturating_sub(BACKDATED);
    params.not_after = date_time_ymd(1970, 1, 1) + (now + LIFETIME);

    let key = KeyPair::generate_for(algorithm)?;
    let certificate = params.self_signed(&key)?;
    Ok(Pem { chain: certificate.pem(), key: key.serialize_pem() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_key_are_certified_for_the_name_and_for_loopback() {
        let pair = self_signed("mail.example.com").unwrap();
        for (pem, key_bits) in [(&pair.ecdsa, 256), (&pair.rsa, 2048)] {
            let (_, der) = x509_parser::pem::parse_x509_pem(pem.chain.as_bytes()).unwrap();
            let certificate = der.parse_x509().unwrap();
            assert!(certificate.validity().is_valid());
            let key = certificate.public_key().parsed().unwrap();
            assert_eq!(key.key_size(), key_bits);
            let names = certificate.subject_alternative_name().unwrap().unwrap().value.general_names.iter();
            let names: Vec<String> = names.map(ToString::to_string).collect();
            assert_eq!(names.first().map(String::as_str), Some("DNSName(mail.example.com)"));
            assert_eq!(names.len(), 4, "{names:?}");
            assert!(pem.key.starts_with("-----BEGIN PRIVATE KEY-----"));
        }
    }

    #[test]
    fn a_name_that_no_certificate_can_carry_is_an_error() {
        assert!(self_signed("bücher.example").is_err());
    }
}
