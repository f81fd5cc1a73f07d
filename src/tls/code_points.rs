//! What a client offered, in IANA's names, for the log of a handshake that failed.

use tls_parser::TlsCipherSuite;

use super::client_hello::ClientHello;
use crate::session_log::Offered;

/// IANA's TLS Supported Groups registry, as far as clients are met that use it.
const GROUPS: [(u16, &str); 24] = [
    (0x0011, "secp160r2"),
    (0x0013, "secp192r1"),
    (0x0015, "secp224r1"),
    (0x0016, "secp256k1"),
    (0x0017, "secp256r1"),
    (0x0018, "secp384r1"),
    (0x0019, "secp521r1"),
    (0x001a, "brainpoolP256r1"),
    (0x001b, "brainpoolP384r1"),
    (0x001c, "brainpoolP512r1"),
    (0x001d, "x25519"),
    (0x001e, "x448"),
    (0x0100, "ffdhe2048"),
    (0x0101, "ffdhe3072"),
    (0x0102, "ffdhe4096"),
    (0x0103, "ffdhe6144"),
    (0x0104, "ffdhe8192"),
    (0x0200, "MLKEM512"),
    (0x0201, "MLKEM768"),
    (0x0202, "MLKEM1024"),
    (0x11eb, "SecP256r1MLKEM768"),
    (0x11ec, "X25519MLKEM768"),
    (0x11ed, "SecP384r1MLKEM1024"),
    (0x6399, "X25519Kyber768Draft00"),
];

/// IANA's TLS SignatureScheme registry; the SHA-224 and DSA pairs are RFC 5246's and have no name there.
const SIGNATURES: [(u16, &str); 22] = [
    (0x0201, "rsa_pkcs1_sha1"),
    (0x0203, "ecdsa_sha1"),
    (0x0401, "rsa_pkcs1_sha256"),
    (0x0403, "ecdsa_secp256r1_sha256"),
    (0x0501, "rsa_pkcs1_sha384"),
    (0x0503, "ecdsa_secp384r1_sha384"),
    (0x0601, "rsa_pkcs1_sha512"),
    (0x0603, "ecdsa_secp521r1_sha512"),
    (0x0804, "rsa_pss_rsae_sha256"),
    (0x0805, "rsa_pss_rsae_sha384"),
    (0x0806, "rsa_pss_rsae_sha512"),
    (0x0807, "ed25519"),
    (0x0808, "ed448"),
    (0x0809, "rsa_pss_pss_sha256"),
    (0x080a, "rsa_pss_pss_sha384"),
    (0x080b, "rsa_pss_pss_sha512"),
    (0x081a, "ecdsa_brainpoolP256r1tls13_sha256"),
    (0x081b, "ecdsa_brainpoolP384r1tls13_sha384"),
    (0x081c, "ecdsa_brainpoolP512r1tls13_sha512"),
    (0x0904, "mldsa44"),
    (0x0905, "mldsa65"),
    (0x0906, "mldsa87"),
];

/// As OpenSSL writes them.
const VERSIONS: [(u16, &str); 6] = [
    (0x0002, "SSLv2"),
    (0x0300, "SSLv3"),
    (0x0301, "TLSv1"),
    (0x0302, "TLSv1.1"),
    (0x0303, "TLSv1.2"),
    (0x0304, "TLSv1.3"),
];

impl ClientHello {
    /// What the log shows.
    pub(super) fn offered(&self) -> Offered {
        Offered {
            versions: names(&self.versions, |code| find(&VERSIONS, code)),
            suites: names(&self.suites, |code| TlsCipherSuite::from_id(code).map(|suite| suite.name)),
            groups: names(&self.groups, |code| find(&GROUPS, code)),
            signatures: names(&self.signatures, |code| find(&SIGNATURES, code)),
            sni: self.sni.as_deref().map(host_name),
            alpn: self.alpn.iter().map(|name| protocol_name(name)).collect(),
        }
    }
}

fn names(codes: &[u16], name: impl Fn(u16) -> Option<&'static str>) -> Vec<String> {
    codes.iter().map(|code| name(*code).map_or_else(|| format!("{code:#06x}"), str::to_owned)).collect()
}

fn find(table: &[(u16, &'static str)], code: u16) -> Option<&'static str> {
    table.iter().find(|(known, _)| *known == code).map(|(_, name)| *name)
}

/// RFC 6066 §3: letters, digits, hyphens and dots, and the underscores that are met; 253 octets at most.
fn host_name(name: &[u8]) -> String {
    masked(name, 253, |octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_'))
}

/// RFC 7301 §3.1 allows any octets; IANA's protocol names are printable and hold no space.
fn protocol_name(name: &[u8]) -> String {
    masked(name, 255, |octet| octet.is_ascii_graphic())
}

fn masked(octets: &[u8], limit: usize, fits: impl Fn(u8) -> bool) -> String {
    octets.iter().take(limit).map(|octet| if fits(*octet) { char::from(*octet) } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_points_get_ianas_names_and_unknown_ones_stay_numbers() {
        let hello = ClientHello {
            versions: vec![0x0304, 0x0303, 0x0302, 0x0301, 0x0300, 0x0002, 0x7f1c],
            suites: vec![0x1302, 0xc030, 0x002f, 0x0005, 0x000a, 0x00ff, 0x0a0a],
            groups: vec![0x11ec, 0x001d, 0x0017, 0x4a4a],
            signatures: vec![0x0403, 0x0804, 0x0402],
            sni: Some(b"mail.example\r\nX: y".to_vec()),
            alpn: vec![b"smtp".to_vec(), b"h2 \0".to_vec()],
            ..ClientHello::default()
        };
        assert_eq!(
            hello.offered(),
            Offered {
                versions: strings(&["TLSv1.3", "TLSv1.2", "TLSv1.1", "TLSv1", "SSLv3", "SSLv2", "0x7f1c"]),
                suites: strings(&[
                    "TLS_AES_256_GCM_SHA384",
                    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
                    "TLS_RSA_WITH_AES_128_CBC_SHA",
                    "TLS_RSA_WITH_RC4_128_SHA",
                    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
                    "TLS_EMPTY_RENEGOTIATION_INFO_SCSV",
                    "0x0a0a",
                ]),
                groups: strings(&["X25519MLKEM768", "x25519", "secp256r1", "0x4a4a"]),
                signatures: strings(&["ecdsa_secp256r1_sha256", "rsa_pss_rsae_sha256", "0x0402"]),
                sni: Some(String::from("mail.example??X??y")),
                alpn: strings(&["smtp", "h2??"]),
            }
        );
    }

    #[test]
    fn a_name_is_cut_where_names_end() {
        assert_eq!(host_name(&[b'a'; 400]).len(), 253);
    }

    fn strings(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }
}
