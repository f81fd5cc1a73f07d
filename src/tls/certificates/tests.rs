use std::path::Path;
use std::process::Command;

use super::super::self_signed::self_signed;
use super::*;

/// Runs the openssl program, which knows kinds of keys and files that we do not make ourselves.
pub(super) fn openssl(directory: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Why `chain` and `key`, two files of this content, are no certificate.
fn error(chain: &[u8], key: &[u8]) -> (String, String) {
    let directory = tempfile::tempdir().unwrap();
    let files = CertificateFiles { chain: directory.path().join("chain.pem"), key: directory.path().join("key.pem") };
    std::fs::write(&files.chain, chain).unwrap();
    std::fs::write(&files.key, key).unwrap();
    let error = Certificate::load(&files).unwrap_err();
    let place = Path::new(&error.place).file_name().unwrap().to_string_lossy().into_owned();
    (place, error.problem.to_string())
}

#[test]
fn both_self_signed_kinds_load() {
    let pair = self_signed("Mail.Example.com").unwrap();
    let ecdsa = Certificate::try_from(&pair.ecdsa).unwrap();
    let rsa = Certificate::try_from(&pair.rsa).unwrap();
    assert_eq!(ecdsa.key_kind(), KeyKind::Ecdsa { curve: "P-256" });
    assert_eq!(rsa.key_kind(), KeyKind::Rsa { bits: 2048 });
    assert_eq!(ecdsa.names(), ["mail.example.com", "localhost"]);
    assert!(ecdsa.is_for("MAIL.example.com") && !ecdsa.is_for("example.com"));
    assert!(ecdsa.not_before() < SystemTime::now() && SystemTime::now() < ecdsa.not_after());
    assert!(ecdsa.is_chain_in_order() && ecdsa.chain_length() == 1);
    assert!(!format!("{ecdsa:?}").contains("key:"));
}

#[test]
fn every_key_format_and_kind_loads() {
    let directory = tempfile::tempdir().unwrap();
    let cases = [
        ("ecparam -genkey -name secp384r1 -out key", KeyKind::Ecdsa { curve: "P-384" }), // SEC 1, after EC PARAMETERS
        ("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521 -out key", KeyKind::Ecdsa { curve: "P-521" }),
        ("genpkey -algorithm ed25519 -out key", KeyKind::Ed25519),
        ("genrsa -traditional -out key 3072", KeyKind::Rsa { bits: 3072 }), // PKCS #1
    ];
    for (make_key, kind) in cases {
        openssl(directory.path(), make_key);
        openssl(directory.path(), "req -x509 -key key -subj /CN=Old.Example -days 1 -out chain");
        let read = |name| std::fs::read(directory.path().join(name)).unwrap();
        let certificate = Certificate::from_pem(&read("chain"), &read("key")).unwrap();
        assert_eq!(certificate.key_kind(), kind, "{make_key}");
        assert_eq!(certificate.names(), ["old.example"], "the common name, without alternative names");
        let (_, parsed) = X509Certificate::from_der(&certificate.certified.cert[0]).unwrap();
        let expected = match kind {
            KeyKind::Rsa { .. } => "RSA-SHA256",
            KeyKind::Ecdsa { .. } => "ecdsa-with-SHA256",
            KeyKind::Ed25519 => "ED25519",
        };
        assert_eq!(signed_by(&parsed), Some(expected), "{make_key}");
    }
}

#[test]
fn an_error_names_the_file_and_says_what_to_do() {
    let pair = self_signed("mail.example.com").unwrap();
    let (ecdsa, rsa) = (&pair.ecdsa, &pair.rsa);
    let directory = tempfile::tempdir().unwrap();
    openssl(directory.path(), "genpkey -algorithm RSA -aes128 -pass pass:x -out encrypted");
    openssl(directory.path(), "genrsa -out small 1024");
    openssl(directory.path(), "genpkey -algorithm X25519 -out x25519");
    let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
    let cut = |pem: &str| pem.lines().take(4).collect::<Vec<_>>().join("\n");
    let no_x509 = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let cases = [
        ("chain.pem", "holds no certificate", String::new(), ecdsa.key.clone()),
        ("chain.pem", "holds no certificate", ecdsa.key.clone(), ecdsa.key.clone()),
        ("chain.pem", "the section that begins in line 1 has no END line", cut(&ecdsa.chain), ecdsa.key.clone()),
        (
            "chain.pem",
            "that begins in line 1 has no END line",
            cut(&ecdsa.chain) + "\n" + &rsa.chain,
            ecdsa.key.clone(),
        ),
        ("chain.pem", "for certificate number 1 that is no X.509 certificate", no_x509.to_owned(), ecdsa.key.clone()),
        ("key.pem", "holds no private key", ecdsa.chain.clone(), ecdsa.chain.clone()),
        ("key.pem", "ends a section that did not begin", ecdsa.chain.clone(), format!("\u{feff}{}", ecdsa.key)),
        ("key.pem", "a section begins behind", rsa.chain.clone(), rsa.chain.trim_end().to_owned() + &rsa.key),
        ("key.pem", "the section that begins in line 1 has no END line", ecdsa.chain.clone(), cut(&rsa.key)),
        ("key.pem", "decrypt it: openssl pkey", rsa.chain.clone(), read("encrypted")),
        ("key.pem", "an RSA key of 1024 bits, which cannot be used", rsa.chain.clone(), read("small")),
        ("key.pem", "an X25519 key, which signs nothing", rsa.chain.clone(), read("x25519")),
        ("key.pem", "is not the key of the chain's first certificate", ecdsa.chain.clone(), rsa.key.clone()),
        ("key.pem", "is not the key of the chain's first certificate", rsa.chain.clone(), ecdsa.key.clone()),
    ];
    for (file, text, chain, key) in cases {
        let (place, problem) = error(chain.as_bytes(), key.as_bytes());
        assert_eq!(place, file, "{problem}");
        assert!(problem.contains(text), "{problem:?} does not say {text:?}");
        assert!(!problem.contains(&rsa.key[60..80]), "{problem}");
    }
}

#[test]
fn a_chain_and_a_key_that_are_swapped_are_called_so() {
    let pair = self_signed("mail.example.com").unwrap();
    let cut = pair.rsa.key.lines().take(4).collect::<Vec<_>>().join("\n");
    let encrypted = pair.rsa.key.replace("PRIVATE", "ENCRYPTED PRIVATE");
    for key in [&pair.rsa.key, &cut, &encrypted] {
        let error = Certificate::from_pem(key.as_bytes(), pair.rsa.chain.as_bytes()).unwrap_err().to_string();
        let expected = "the certificate chain holds a private key, and the private key a certificate: the two are swapped; \
                        exchange `chain` and `key` in [[tls.certificate]]";
        assert_eq!(error, expected);
    }
}

/// A file that has both may be named twice.
#[test]
fn one_file_may_hold_chain_and_key() {
    let pair = self_signed("mail.example.com").unwrap();
    for both in [[pair.rsa.key.as_str(), &pair.rsa.chain], [&pair.rsa.chain, &pair.rsa.key]].map(|both| both.concat()) {
        assert_eq!(Certificate::from_pem(both.as_bytes(), both.as_bytes()).unwrap().names()[0], "mail.example.com");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let files = CertificateFiles { chain: "/nonexistent/chain.pem".into(), key: "/nonexistent/key.pem".into() };
    let error = Certificate::load(&files).unwrap_err().to_string();
    assert!(error.starts_with("/nonexistent/chain.pem cannot be read: No such file"), "{error}");
    assert!(error.ends_with("; check the path in [[tls.certificate]]"), "{error}");
}

#[test]
fn a_chain_out_of_order_is_noticed() {
    let pair = self_signed("mail.example.com").unwrap();
    let stranger = self_signed("other.example").unwrap();
    let chain = [pair.ecdsa.chain.as_str(), &stranger.ecdsa.chain].concat();
    let certificate = Certificate::from_pem(chain.as_bytes(), pair.ecdsa.key.as_bytes()).unwrap();
    assert!(!certificate.is_chain_in_order());
    assert_eq!(certificate.chain_length(), 2);
}
