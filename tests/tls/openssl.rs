//! OpenSSL's `s_client`: what it negotiates, what it says of it, and what it is refused.

use sealgate::config::{ClientCertificates, Policy};
use sealgate::facts::{Group, TlsVersion};

use crate::support::{Files, Gate, certified, pair};

#[tokio::test]
async fn facts_are_what_the_client_sees() {
    let pair = pair();
    let mut gate = Gate::new(&[&pair.ecdsa, &pair.rsa]).await;
    for (arguments, version, cipher, group, temp_key) in [
        ("-tls1_3", TlsVersion::Tls13, "TLS_AES_256_GCM_SHA384", Group::X25519, "X25519, 253 bits"),
        (
            "-tls1_3 -groups P-384 -ciphersuites TLS_CHACHA20_POLY1305_SHA256",
            TlsVersion::Tls13,
            "TLS_CHACHA20_POLY1305_SHA256",
            Group::Secp384r1,
            "ECDH, secp384r1, 384 bits",
        ),
        (
            "-tls1_3 -ciphersuites TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384",
            TlsVersion::Tls13,
            "TLS_AES_256_GCM_SHA384", // the server's order
            Group::X25519,
            "X25519, 253 bits",
        ),
        ("-tls1_2", TlsVersion::Tls12, "ECDHE-ECDSA-AES256-GCM-SHA384", Group::X25519, "X25519, 253 bits"),
        (
            "-tls1_2 -groups P-256 -cipher ECDHE-RSA-CHACHA20-POLY1305:ECDHE-RSA-AES128-GCM-SHA256",
            TlsVersion::Tls12,
            "ECDHE-RSA-AES128-GCM-SHA256", // the server's order
            Group::Secp256r1,
            "ECDH, prime256v1, 256 bits",
        ),
        (
            "-tls1_2 -cipher ECDHE-RSA-CHACHA20-POLY1305",
            TlsVersion::Tls12,
            "ECDHE-RSA-CHACHA20-POLY1305",
            Group::X25519,
            "X25519, 253 bits",
        ),
    ] {
        let output = gate.openssl(&format!("-brief {arguments}")).await;
        let session = gate.session().await;
        assert!(session.end.is_ok(), "{:?}", session.end);
        let facts = session.facts();
        assert_eq!((facts.version, facts.suite.openssl, facts.group), (version, cipher, group), "{arguments}");
        for line in [
            format!("Protocol version: {}\n", version.as_str()),
            format!("Ciphersuite: {cipher}\n"),
            format!("Server Temp Key: {temp_key}\n"),
        ] {
            assert!(output.contains(&line), "no {line:?} in {output}");
        }
        assert!(!facts.resumed() && facts.alpn.is_none() && facts.handshake.as_nanos() > 0);
    }
}

#[tokio::test]
async fn every_signature_is_noted_as_the_client_saw_it() {
    let pair = pair();
    let p384 = certified("mail.example.com", &rcgen::PKCS_ECDSA_P384_SHA384);
    let ed25519 = certified("mail.example.com", &rcgen::PKCS_ED25519);
    for (pem, version, sigalgs, iana, shown, seen) in [
        (&pair.rsa, "-tls1_3", "rsa_pss_rsae_sha256", "rsa_pss_rsae_sha256", "RSA-PSS (2048 bits)", "RSA-PSS SHA256"),
        (&pair.rsa, "-tls1_3", "rsa_pss_rsae_sha384", "rsa_pss_rsae_sha384", "RSA-PSS (2048 bits)", "RSA-PSS SHA384"),
        (&pair.rsa, "-tls1_3", "rsa_pss_rsae_sha512", "rsa_pss_rsae_sha512", "RSA-PSS (2048 bits)", "RSA-PSS SHA512"),
        (&pair.rsa, "-tls1_2", "rsa_pss_rsae_sha256", "rsa_pss_rsae_sha256", "RSA-PSS (2048 bits)", "RSA-PSS SHA256"),
        (&pair.rsa, "-tls1_2", "RSA+SHA256", "rsa_pkcs1_sha256", "RSA (2048 bits)", "RSA SHA256"),
        (&pair.rsa, "-tls1_2", "RSA+SHA384", "rsa_pkcs1_sha384", "RSA (2048 bits)", "RSA SHA384"),
        (&pair.rsa, "-tls1_2", "RSA+SHA512", "rsa_pkcs1_sha512", "RSA (2048 bits)", "RSA SHA512"),
        (&pair.ecdsa, "-tls1_3", "ECDSA+SHA256", "ecdsa_secp256r1_sha256", "ECDSA (P-256)", "ECDSA SHA256"),
        (&pair.ecdsa, "-tls1_2", "ECDSA+SHA256", "ecdsa_secp256r1_sha256", "ECDSA (P-256)", "ECDSA SHA256"),
        (&p384, "-tls1_3", "ECDSA+SHA384", "ecdsa_secp384r1_sha384", "ECDSA (P-384)", "ECDSA SHA384"),
        (&ed25519, "-tls1_3", "ed25519", "ed25519", "ED25519", "ed25519"),
        (&ed25519, "-tls1_2", "ed25519", "ed25519", "ED25519", "ed25519"),
    ] {
        let mut gate = Gate::new(&[pem]).await;
        let output = gate.openssl(&format!("-brief {version} -sigalgs {sigalgs}")).await;
        let signature = gate.session().await.facts().signature.unwrap();
        assert_eq!((signature.iana, signature.algorithm.to_string().as_str()), (iana, shown), "{version} {sigalgs}");
        let (kind, digest) = seen.split_once(' ').map_or((seen, None), |(kind, digest)| (kind, Some(digest)));
        assert_eq!(signature.digest, digest);
        assert!(output.contains(&format!("Signature type: {kind}\n")), "{output}");
        if let Some(digest) = digest {
            assert!(output.contains(&format!("Hash used: {digest}\n")), "{output}");
        }
    }
}

#[tokio::test]
async fn a_client_gets_the_certificate_that_it_can_verify() {
    let pair = pair();
    let mut gate = Gate::new(&[&pair.rsa, &pair.ecdsa]).await;
    for (arguments, signature) in [
        ("-tls1_3", "ecdsa_secp256r1_sha256"),
        ("-tls1_2", "ecdsa_secp256r1_sha256"),
        ("-tls1_3 -sigalgs RSA-PSS+SHA256:RSA+SHA256", "rsa_pss_rsae_sha256"),
        ("-tls1_2 -sigalgs RSA+SHA256", "rsa_pkcs1_sha256"),
        ("-tls1_2 -cipher aRSA", "rsa_pss_rsae_sha512"),
        ("-tls1_2 -cipher aECDSA", "ecdsa_secp256r1_sha256"),
    ] {
        gate.openssl(arguments).await;
        assert_eq!(gate.session().await.facts().signature.unwrap().iana, signature, "{arguments}");
    }
}

#[tokio::test]
async fn a_client_gets_the_certificate_of_the_name_that_it_asks_for() {
    let pair = pair();
    let other = certified("*.example.org", &rcgen::PKCS_ECDSA_P256_SHA256);
    let files = Files::new();
    let first = files.write("first.pem", &pair.ecdsa.chain);
    let second = files.write("second.pem", &other.chain);
    let mut gate = Gate::new(&[&pair.ecdsa, &pair.rsa, &other]).await;
    for (arguments, sni, file) in [
        ("-servername mail.example.com", Some("mail.example.com"), &first),
        ("-servername MX1.Example.ORG", Some("mx1.example.org"), &second),
        ("-servername unknown.example", Some("unknown.example"), &first),
        ("-noservername", None, &first),
    ] {
        let trust = format!("-brief {arguments} -CAfile {} -verify_return_error", file.display());
        let output = gate.openssl(&trust).await;
        assert!(output.contains("Verification: OK"), "{arguments}: {output}");
        assert_eq!(gate.session().await.facts().sni.as_deref(), sni);
    }
}

#[tokio::test]
async fn what_is_not_forward_secret_is_refused() {
    let pair = pair();
    let mut gate = Gate::new(&[&pair.ecdsa, &pair.rsa]).await;
    let failure = "alert handshake failure";
    for (arguments, phrase, alert) in [
        ("-tls1_2 -cipher kRSA:@SECLEVEL=0", "no common cipher suite", failure),
        ("-tls1_2 -cipher aNULL:@SECLEVEL=0", "no common cipher suite", failure),
        ("-tls1_2 -cipher eNULL:@SECLEVEL=0", "no common cipher suite", failure),
        ("-tls1_2 -cipher kDHE:@SECLEVEL=0", "no common cipher suite", failure),
        ("-tls1_2 -cipher ECDHE+SHA1:@SECLEVEL=0", "no common cipher suite", failure),
        ("-tls1_2 -cipher ECDHE-RSA-AES256-SHA384", "no common cipher suite", failure),
        ("-tls1_2 -cipher ECDHE-RSA-AES128-CCM:ECDHE-ECDSA-AES128-CCM8", "no common cipher suite", failure),
        ("-tls1_3 -ciphersuites TLS_AES_128_CCM_SHA256", "no common cipher suite", failure),
        ("-tls1_3 -groups P-521", "no common group", failure),
        ("-tls1_2 -groups P-521", "no common group", failure),
        ("-tls1_3 -sigalgs ed448", "no common signature scheme", failure),
        ("-tls1 -cipher ALL:@SECLEVEL=0", "client offered no supported TLS version", "alert protocol version"),
        ("-tls1_1 -cipher ALL:@SECLEVEL=0", "client offered no supported TLS version", "alert protocol version"),
        ("-alpn imap", "wrong ALPN", "alert no application protocol"),
        ("-alpn h2,http/1.1", "wrong ALPN", "alert no application protocol"),
    ] {
        let output = gate.openssl(arguments).await;
        let error = gate.session().await.error();
        assert_eq!(error.reason.phrase, phrase, "{arguments}: {error}\n{output}");
        assert!(output.contains(alert), "{arguments}: no {alert:?} in {output}");
        let offered = error.offered.unwrap();
        assert!(!offered.suites.is_empty() && !offered.versions.is_empty());
    }
}

#[tokio::test]
async fn the_services_own_protocol_name_is_agreed_on() {
    let pair = pair();
    let mut gate = Gate::new(&[&pair.ecdsa]).await;
    for version in ["-tls1_2", "-tls1_3"] {
        let output = gate.openssl(&format!("{version} -alpn h2,smtp")).await;
        assert!(output.contains("ALPN protocol: smtp\n"), "{output}");
        assert_eq!(gate.session().await.facts().alpn.as_deref(), Some("smtp"));
    }
}

#[tokio::test]
async fn policy_modern_speaks_tls13_alone() {
    let pair = pair();
    let mut gate = Gate::with(&[&pair.ecdsa], Policy::Modern, ClientCertificates::None).await;
    let output = gate.openssl("-tls1_2").await;
    assert!(output.contains("alert protocol version"), "{output}");
    let error = gate.session().await.error();
    assert_eq!(error.reason.phrase, "client offered no supported TLS version");
    assert_eq!(error.offered.unwrap().versions, ["TLSv1.2"]);
    gate.openssl("").await;
    assert_eq!(gate.session().await.facts().version, TlsVersion::Tls13);
}

#[tokio::test]
async fn a_client_that_does_not_trust_us_says_so() {
    let stranger = pair();
    let ca = Files::new();
    let ca_file = ca.write("ca.pem", &stranger.ecdsa.chain);
    for version in ["-tls1_2", "-tls1_3"] {
        let mut gate = Gate::new(&[&certified("other.example", &rcgen::PKCS_ECDSA_P256_SHA256)]).await;
        gate.openssl(&format!("{version} -verify_return_error -CAfile {}", ca_file.display())).await;
        let phrase = gate.session().await.error().reason.phrase;
        assert_eq!(phrase, "client rejected our certificate: unknown_ca", "{version}");
    }
}
