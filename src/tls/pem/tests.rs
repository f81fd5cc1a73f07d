use super::*;

#[test]
fn what_is_wrong_with_a_file_is_told_by_its_line() {
    let whole = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (pem, told) in [
        ("-----BEGIN CERTIFICATE-----\nAAAA\n", Broken::NoEnd(1)),
        ("-----BEGIN CERTIFICATE-----", Broken::NoEnd(1)),
        ("# mine\r\n-----BEGIN CERTIFICATE-----\r\nAAAA\r\n", Broken::NoEnd(2)),
        ("# mine\r-----BEGIN CERTIFICATE-----\rAAAA\r", Broken::NoEnd(2)),
        (&format!("{whole}-----BEGIN CERTIFICATE-----\nAAAAA\n{whole}"), Broken::NoEnd(4)),
        (&format!("-----BEGIN CERTIFICATE-----\nAAAAA\n{whole}"), Broken::NoEnd(1)),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE----\n", Broken::NoEnd(1)),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END PRIVATE KEY-----\n", Broken::NoEnd(1)),
        ("-----BEGIN CERTIFICATE\nAAAA\n-----END CERTIFICATE-----\n", Broken::Begin(1)),
        ("-----BEGIN PRIVATE KEY----- AAAA -----END PRIVATE KEY-----\n", Broken::Begin(1)),
        ("-----BEGIN CERTIFICATE-----\nAAAA\nA?AA\n-----END CERTIFICATE-----\n", Broken::NotBase64(3)),
        ("-----BEGIN CERTIFICATE-----\nAAAA\nA\n-----END CERTIFICATE-----\n", Broken::Gap(1)),
    ] {
        let mut sections = <(SectionKind, Vec<u8>)>::pem_slice_iter(pem.as_bytes());
        assert!(sections.any(|read| read.is_err()), "the parser takes {pem:?}");
        assert_eq!(broken(pem.as_bytes()), Some(told), "{pem:?}");
    }
    let padding = certificates(b"-----BEGIN CERTIFICATE-----\nA=AA\n-----END CERTIFICATE-----\n");
    assert_eq!(padding.unwrap_err(), Broken::Somewhere);
    assert_eq!(broken(whole.as_bytes()), None);
    assert_eq!(certificates(format!("{whole}{whole}").as_bytes()).unwrap().len(), 2);
}

/// `cat certificate.pem chain.pem`, the first without a line end at its own end.
#[test]
fn a_section_that_begins_behind_another_is_not_passed_over() {
    let section = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----";
    for (pem, told) in [
        (format!("{section}{section}\n"), Broken::Glued(3)),
        (format!("{section}  {section}\n"), Broken::Glued(3)),
        (format!("{section}\r\n{section}{section}\r\n"), Broken::Glued(6)),
        (format!("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----{section}\n"), Broken::Glued(3)),
    ] {
        assert_eq!(certificates(pem.as_bytes()).unwrap_err(), told, "{pem}");
    }
    assert_eq!(certificates(format!("{section} # mine\n{section}").as_bytes()).unwrap().len(), 2);
}

/// Somebody who pastes a key through a shell or a form may lose its line ends; what then stands in the line is the key.
#[test]
fn nothing_of_a_file_is_quoted() {
    for pem in ["-----BEGIN PRIVATE KEY-----SECRET-----END PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----\nSECRET\n"] {
        assert!(!broken(pem.as_bytes()).unwrap().to_string().contains("SECRET"));
    }
}

#[test]
fn a_file_is_known_by_what_begins_in_it() {
    for (pem, certificate, key) in [
        ("", false, false),
        ("-----BEGIN CERTIFICATE-----\n", true, false),
        ("text\n-----BEGIN PRIVATE KEY-----\r\n", false, true),
        ("-----BEGIN RSA PRIVATE KEY-----\n", false, true),
        ("-----BEGIN ENCRYPTED PRIVATE KEY-----\n-----BEGIN CERTIFICATE-----", true, true),
        ("-----BEGIN PUBLIC KEY-----\n", false, false),
    ] {
        assert_eq!((holds_certificate(pem.as_bytes()), holds_private_key(pem.as_bytes())), (certificate, key), "{pem}");
    }
}
