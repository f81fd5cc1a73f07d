//! Compares the Received field that arrived with what the client saw.

use crate::demo::account::HOSTNAME;
use crate::demo::tls_client::Seen;

/// What the field must say; the error names the first thing that it does not.
pub fn check(field: &str, seen: &Seen, authenticated: bool, recipient: &str) -> Result<(), String> {
    let field = field.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    let with = if authenticated { "ESMTPSA" } else { "ESMTPS" };
    let expected = [
        "Received: from client.demo.example ([127.0.0.1])".to_owned(),
        format!("(using {} with cipher ", seen.tls_version),
        format!("key-exchange {}", key_exchange(seen.group)),
        "(No client certificate requested)".to_owned(),
        format!("by {HOSTNAME} (Sealgate) with {with} id "),
        format!("for <{recipient}>"),
        format!("tls {} group {};", seen.cipher, seen.group),
    ];
    let signature = seen.signature.map(signature);
    if let Some(missing) = expected.iter().chain(&signature).find(|part| !field.contains(part.as_str())) {
        return Err(format!("the Received field does not say {missing:?}, which the client saw: {field}"));
    }
    if signature.is_none() && field.contains("server-signature") {
        return Err(format!("the Received field tells of a signature in a resumed session: {field}"));
    }
    Ok(())
}

/// As Postfix's FORWARD_SECRECY_README writes it.
fn key_exchange(group: &str) -> &str {
    match group {
        "x25519" => "X25519",
        "secp256r1" => "ECDHE (P-256)",
        "secp384r1" => "ECDHE (P-384)",
        other => other,
    }
}

/// Key and digest; the demo's keys are P-256 and RSA with 2048 bits.
fn signature(scheme: &str) -> String {
    let (key, digest) = match scheme {
        "ecdsa_secp256r1_sha256" => ("ECDSA (P-256)", "SHA256"),
        "rsa_pss_rsae_sha256" => ("RSA-PSS (2048 bits)", "SHA256"),
        "rsa_pss_rsae_sha384" => ("RSA-PSS (2048 bits)", "SHA384"),
        "rsa_pss_rsae_sha512" => ("RSA-PSS (2048 bits)", "SHA512"),
        "rsa_pkcs1_sha256" => ("RSA (2048 bits)", "SHA256"),
        other => (other, "unknown"),
    };
    format!("server-signature {key} server-digest {digest})")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELD: &str = "Received: from client.demo.example ([127.0.0.1])\r\n\
        \t(using TLSv1.2 with cipher ECDHE-RSA-AES256-GCM-SHA384 (256/256 bits)\r\n\
        \t key-exchange X25519 server-signature RSA-PSS (2048 bits) server-digest SHA256)\r\n\
        \t(No client certificate requested)\r\n\
        \tby mail.demo.example (Sealgate) with ESMTPSA id abc.1\r\n\
        \tfor <demo@demo.example> tls TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 group x25519;\r\n\
        \tSat, 21 Nov 2026 20:36:00 +0000\r\n";

    fn seen() -> Seen {
        Seen {
            tls_version: "TLSv1.2",
            cipher: "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384".to_owned(),
            group: "x25519",
            signature: Some("rsa_pss_rsae_sha256"),
            resumed: false,
        }
    }

    #[test]
    fn a_field_that_says_what_the_client_saw_passes() {
        assert_eq!(check(FIELD, &seen(), true, "demo@demo.example"), Ok(()));
    }

    #[test]
    fn every_fact_counts() {
        let wrong = [
            (Seen { tls_version: "TLSv1.3", ..seen() }, "using TLSv1.3"),
            (Seen { cipher: "TLS_AES_128_GCM_SHA256".to_owned(), ..seen() }, "tls TLS_AES_128_GCM_SHA256"),
            (Seen { group: "secp256r1", ..seen() }, "ECDHE (P-256)"),
            (Seen { signature: Some("rsa_pkcs1_sha256"), ..seen() }, "RSA (2048 bits)"),
            (Seen { signature: None, resumed: true, ..seen() }, "resumed"),
        ];
        for (seen, named) in wrong {
            let error = check(FIELD, &seen, true, "demo@demo.example").unwrap_err();
            assert!(error.contains(named), "{error}");
        }
        assert!(check(FIELD, &seen(), false, "demo@demo.example").unwrap_err().contains("ESMTPS id"));
        assert!(check(FIELD, &seen(), true, "else@demo.example").unwrap_err().contains("else@demo.example"));
    }
}
