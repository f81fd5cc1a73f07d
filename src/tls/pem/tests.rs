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

/// What stands before a BEGIN mark hides it from the parser, and so a certificate or an authority would be missing without a word.
#[test]
fn a_section_whose_begin_mark_does_not_begin_its_line_is_not_passed_over() {
    let section = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let indented = section.replace('\n', "\n  ");
    for (pem, told) in [
        (format!("\u{feff}{section}{section}"), Broken::NoBegin(3)),
        (format!(" {section}{section}"), Broken::NoBegin(3)),
        (format!("{section}  {indented}"), Broken::NoBegin(6)),
        (format!("{section}# the one above it{section}"), Broken::NoBegin(6)),
        (format!("{section}{}", &section[1..]), Broken::NoBegin(6)),
        (format!("{section}AAAA\r\n-----END CERTIFICATE-----\r\n"), Broken::NoBegin(5)),
    ] {
        assert_eq!(certificates(pem.as_bytes()).unwrap_err(), told, "{pem}");
    }
}

/// The old server took them.
#[test]
fn a_certificate_under_another_label_is_not_passed_over() {
    let section = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for label in ["X509 CERTIFICATE", "TRUSTED CERTIFICATE"] {
        let pem = section.to_owned() + &section.replace("CERTIFICATE", label);
        assert_eq!(certificates(pem.as_bytes()).unwrap_err(), Broken::Label(4));
        assert_eq!(unseen(pem.as_bytes(), "PRIVATE KEY"), None);
    }
}

/// Text between sections, old and mixed line ends, and what nobody reads: all of it as OpenSSL or an editor leaves it.
#[test]
fn what_files_hold_besides_is_passed_over() {
    let section = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let (cr, crlf) = (section.replace('\n', "\r"), section.replace('\n', "\r\n"));
    for pem in [
        format!(
            "Bag Attributes\n    localKeyID: 01 02 \nsubject=CN = a\n\n{section}Bag Attributes: <No Attributes>\n{section}"
        ),
        format!(
            "Certificate chain\n 0 s:CN = a\n   i:CN = b\n{section} 1 s:CN = b\n   i:CN = c\n{section}---\nServer certificate\n"
        ),
        format!("# -----BEGIN CERTIFICATE-----\n# AAAA\n# -----END CERTIFICATE-----\n{section}{section}"),
        format!("-----BEGIN DH PARAMETERS-----\nAAAA\n-----END DH PARAMETERS-----\n{section}{section}"),
        format!("{section}-----END DH PARAMETERS-----\n{section}"),
        format!("{section}-----END PRIVATE KEY-----\n{section}"),
        section.to_owned() + section.trim_end() + "-----BEGIN DH PARAMETERS-----\nAAAA\n-----END DH PARAMETERS-----\n",
        format!("{cr}{cr}"),
        format!("{crlf}\r\n{crlf}"),
        format!("{cr}{section}"),
        format!("{section}{cr}"),
        section.trim_end().to_owned() + "\r" + section,
    ] {
        assert_eq!(certificates(pem.as_bytes()).map(|read| read.len()), Ok(2), "{pem:?}");
        assert_eq!(unseen(pem.as_bytes(), "CERTIFICATE"), None, "{pem:?}");
    }
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
