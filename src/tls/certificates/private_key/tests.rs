use super::super::tests::openssl;
use super::*;

/// Why a key is not taken that these commands of the openssl program have written to `key`.
#[track_caller]
fn refused(commands: &[&str]) -> String {
    let directory = tempfile::tempdir().unwrap();
    for command in commands {
        openssl(directory.path(), command);
    }
    load(&std::fs::read(directory.path().join("key")).unwrap()).unwrap_err().to_string()
}

#[test]
fn a_key_of_a_kind_that_cannot_be_used_is_named_with_its_size() {
    for (commands, kind) in [
        (&["genrsa -out key 1024"][..], "an RSA key of 1024 bits"),
        (&["genrsa -traditional -out key 1536"], "an RSA key of 1536 bits"),
        (&["ecparam -genkey -noout -name secp224r1 -out key"], "an ECDSA key on P-224"),
        (&["genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-224 -out key"], "an ECDSA key on P-224"),
        (&["ecparam -genkey -noout -name secp256k1 -out key"], "an ECDSA key on secp256k1"),
        (&["ecparam -genkey -noout -name secp160r1 -out key"], "an ECDSA key on another curve"),
        (
            &["genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-224 -pkeyopt ec_param_enc:explicit -out key"],
            "an ECDSA key on a curve without a name",
        ),
        (&["genpkey -algorithm ed448 -out key"], "an Ed448 key"),
        (&["genpkey -algorithm X25519 -out key"], "an X25519 key, which signs nothing"),
        (&["genpkey -algorithm RSA-PSS -out key"], "a key for RSASSA-PSS alone"),
        (&["dsaparam -out parameters 1024", "gendsa -out key parameters"], "a DSA key of 1024 bits"),
        (&["dsaparam -out parameters 1024", "gendsa -out new parameters", "dsa -in new -out key"], "a DSA key"),
    ] {
        let told = refused(commands);
        let expected = format!(
            "holds {kind}, which cannot be used here; have a certificate issued for an ECDSA key (P-256, P-384 or P-521), \
             an RSA key (2048 to 8192 bits) or an Ed25519 key"
        );
        assert_eq!(told, expected, "{commands:?}");
    }
}

#[test]
fn an_encrypted_key_is_told_how_to_be_decrypted() {
    for command in [
        "genpkey -algorithm RSA -aes128 -pass pass:x -out key", // PKCS #8
        "genrsa -traditional -aes128 -passout pass:x -out key 2048", // Proc-Type
        "genpkey -algorithm ed448 -aes128 -pass pass:x -out key", // whatever is in it
    ] {
        assert!(refused(&[command]).ends_with("decrypt it: openssl pkey -in OLD -out NEW"), "{command}");
    }
}

/// A kind that could be used is not blamed for an octet that is wrong.
#[test]
fn a_damaged_key_is_not_one_of_another_kind() {
    let directory = tempfile::tempdir().unwrap();
    openssl(directory.path(), "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key");
    let pem = std::fs::read_to_string(directory.path().join("key")).unwrap();
    let last = pem.lines().nth(3).unwrap().trim_end_matches('=').to_owned();
    let turned: String = last.chars().rev().collect();
    let told = load(pem.replace(&last, &turned).as_bytes()).unwrap_err().to_string();
    assert!(told.starts_with("holds an ECDSA key on P-256 that is damaged"), "{told}");
    let nothing = load(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").unwrap_err().to_string();
    assert!(nothing.starts_with("holds a key that is damaged"), "{nothing}");
}
