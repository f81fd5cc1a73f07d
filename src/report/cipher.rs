//! What the names of ciphers and groups tell, and the reasons of those who had none in common.

use std::borrow::Cow;

use crate::tls::NOTHING_IN_COMMON;

/// What OpenSSL says where [`NOTHING_IN_COMMON`] is what we say. Its "wrong version number" and "unknown protocol" are no TLS at all
/// far more often than an old version.
const OPENSSL: [&str; 7] = [
    "unsupported protocol",
    "version too low",
    "no shared cipher",
    "no shared groups",
    "no suitable key share",
    "no shared signature algorithms",
    "no suitable signature algorithm",
];

/// How a cipher suite makes its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum KeyExchange {
    /// Fresh for each session, and authenticated: forward secret.
    Ephemeral,
    /// Fresh, but with anybody (ADH, AECDH): nobody who only records can read it later, who sits in the middle can.
    Anonymous,
    /// With the server's long-lived key, or too weak to matter (export): whoever gets that key reads every recording.
    Static,
    /// The log has no cipher.
    Unknown,
}

impl KeyExchange {
    /// By the suite's name, OpenSSL's or IANA's.
    pub fn of(cipher: &str) -> Self {
        // IANA's names up to TLS 1.2 say "WITH"; TLS 1.3's do not and have an ephemeral exchange apart from the suite.
        if let Some((exchange, _)) = cipher.strip_prefix("TLS_").and_then(|name| name.split_once("_WITH_")) {
            return match exchange {
                _ if exchange.contains("EXPORT") => Self::Static,
                "DH_anon" | "ECDH_anon" => Self::Anonymous,
                _ if exchange.starts_with("ECDHE_") || exchange.starts_with("DHE_") => Self::Ephemeral,
                _ => Self::Static,
            };
        }
        let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| cipher.starts_with(prefix));
        // EDH is what old OpenSSL called DHE; without ECDHE or DHE in front the name is of a static exchange.
        if starts(&["TLS_", "ECDHE-", "DHE-", "EDH-"]) {
            Self::Ephemeral
        } else if starts(&["ADH-", "AECDH-"]) {
            Self::Anonymous
        } else {
            Self::Static
        }
    }
}

/// Whether `policy = "modern"` takes it.
pub(super) fn is_modern(version: &str) -> bool {
    version == "TLSv1.3"
}

/// Whether the default policy takes it: TLS 1.3, or TLS 1.2 with ECDHE and an AEAD of AES-GCM or ChaCha20-Poly1305.
pub(super) fn is_intermediate(version: &str, cipher: &str) -> bool {
    let ecdhe = || {
        ["ECDHE-RSA-", "ECDHE-ECDSA-", "TLS_ECDHE_RSA_", "TLS_ECDHE_ECDSA_"]
            .iter()
            .any(|front| cipher.starts_with(front))
    };
    let aead = || {
        let cipher = cipher.replace('_', "-");
        cipher.contains("-CHACHA20-POLY1305")
            || (cipher.contains("-GCM-")
                && (cipher.contains("-AES128-") || cipher.contains("-AES256-") || cipher.contains("-AES-")))
    };
    match version {
        "TLSv1.3" => true,
        "TLSv1.2" => ecdhe() && aead(),
        _ => false,
    }
}

/// Whether the server refused a client for that reason because they had no version, cipher suite, group or signature scheme in
/// common. A client's own alert is none: that client refused the server.
pub(super) fn is_nothing_in_common(reason: &str) -> bool {
    OPENSSL.contains(&reason) || NOTHING_IN_COMMON.iter().any(|ours| ours.phrase == reason)
}

/// IANA's name for a group that Postfix calls otherwise.
pub(super) fn iana_group(name: &str) -> Cow<'_, str> {
    match name {
        "X25519" => "x25519".into(),
        "X448" => "x448".into(),
        "ECDHE (P-256)" | "ECDHE (prime256v1)" => "secp256r1".into(),
        "ECDHE (P-384)" | "ECDHE (secp384r1)" => "secp384r1".into(),
        "ECDHE (P-521)" | "ECDHE (secp521r1)" => "secp521r1".into(),
        other => other.into(),
    }
}

/// Whether a group is a post-quantum one or a hybrid with one: ML-KEM, or its drafts' name.
pub(super) fn is_post_quantum(group: &str) -> bool {
    let group = group.to_ascii_lowercase();
    group.contains("mlkem") || group.contains("kyber")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forward_secrecy_by_name() {
        use KeyExchange::{Anonymous, Ephemeral, Static};
        let cases = [
            ("TLS_AES_256_GCM_SHA384", Ephemeral),
            ("TLS_CHACHA20_POLY1305_SHA256", Ephemeral),
            ("ECDHE-RSA-AES256-GCM-SHA384", Ephemeral),
            ("ECDHE-ECDSA-CHACHA20-POLY1305", Ephemeral),
            ("DHE-RSA-AES256-SHA", Ephemeral),
            ("EDH-RSA-DES-CBC3-SHA", Ephemeral),
            ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", Ephemeral),
            ("TLS_DHE_RSA_WITH_AES_128_CBC_SHA", Ephemeral),
            ("ADH-AES256-SHA", Anonymous),
            ("AECDH-AES256-SHA", Anonymous),
            ("TLS_DH_anon_WITH_AES_128_CBC_SHA", Anonymous),
            ("AES256-SHA", Static),
            ("AES128-GCM-SHA256", Static),
            ("DES-CBC3-SHA", Static),
            ("RC4-MD5", Static),
            ("CAMELLIA256-SHA", Static),
            ("ECDH-RSA-AES128-SHA", Static),
            ("EXP-EDH-RSA-DES-CBC-SHA", Static),
            ("TLS_RSA_WITH_AES_256_GCM_SHA384", Static),
            ("TLS_ECDH_RSA_WITH_AES_128_CBC_SHA", Static),
            ("TLS_DHE_RSA_EXPORT_WITH_DES40_CBC_SHA", Static),
        ];
        for (cipher, exchange) in cases {
            assert_eq!(KeyExchange::of(cipher), exchange, "{cipher}");
        }
    }

    #[test]
    fn the_default_policy_by_name() {
        let cases = [
            ("TLSv1.3", "TLS_AES_128_GCM_SHA256", true),
            ("TLSv1.2", "ECDHE-RSA-AES128-GCM-SHA256", true),
            ("TLSv1.2", "ECDHE-ECDSA-CHACHA20-POLY1305", true),
            ("TLSv1.2", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", true),
            ("TLSv1.2", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", true),
            ("TLSv1.2", "ECDHE-RSA-AES256-SHA384", false),
            ("TLSv1.2", "ECDHE-ARIA256-GCM-SHA384", false),
            ("TLSv1.2", "ECDHE-ECDSA-AES256-CCM", false),
            ("TLSv1.2", "DHE-RSA-AES256-GCM-SHA384", false),
            ("TLSv1.2", "AES256-GCM-SHA384", false),
            ("TLSv1.1", "ECDHE-RSA-AES256-SHA", false),
            ("TLSv1", "ECDHE-RSA-AES256-GCM-SHA384", false),
            ("SSLv3", "RC4-SHA", false),
        ];
        for (version, cipher, taken) in cases {
            assert_eq!(is_intermediate(version, cipher), taken, "{version} {cipher}");
        }
    }

    #[test]
    fn post_quantum_by_name() {
        for group in ["X25519MLKEM768", "SecP256r1MLKEM768", "MLKEM1024", "X25519Kyber768Draft00"] {
            assert!(is_post_quantum(group), "{group}");
        }
        assert!(!is_post_quantum("x25519") && !is_post_quantum("DHE (2048 bits)"));
    }
}
