use std::sync::Arc;

use super::*;
use crate::facts::{ClientNames, SessionId};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn peer(client: &str, local: &str) -> Peer {
    Peer { client: client.parse().unwrap(), local: local.parse().unwrap(), names: ClientNames::default() }
}

fn tls() -> TlsFacts {
    TlsFacts { sni: Some("mail.example.com".into()), alpn: Some("imap".into()), ..TlsFacts::example() }
}

fn header(peer: &Peer, tls: Option<&TlsFacts>, session: &str) -> Vec<u8> {
    let session = SessionId::new(session);
    v2(&Caller { hostname: "mail.example.com", session: &session, peer, tls }).unwrap()
}

fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind][..], &u16::try_from(value.len()).unwrap().to_be_bytes(), value].concat()
}

/// A header from 203.0.113.5:40000 to 192.0.2.10:993 with these fields.
fn v4(fields: &[Vec<u8>]) -> Vec<u8> {
    let fields = fields.concat();
    let len = u16::try_from(12 + fields.len()).unwrap().to_be_bytes();
    [SIGNATURE, b"\x21\x11", &len, &[203, 0, 113, 5, 192, 0, 2, 10, 0x9c, 0x40, 0x03, 0xe1], &fields].concat()
}

#[test]
fn section_2_1_version_1_is_one_line() {
    let cases = [
        ("203.0.113.5:40000", "192.0.2.10:25", "PROXY TCP4 203.0.113.5 192.0.2.10 40000 25\r\n"),
        ("[2001:db8::5]:1", "[2001:db8::10]:65535", "PROXY TCP6 2001:db8::5 2001:db8::10 1 65535\r\n"),
        ("[2001:db8::5]:40000", "192.0.2.10:25", "PROXY TCP6 2001:db8::5 ::ffff:192.0.2.10 40000 25\r\n"),
        ("203.0.113.5:40000", "[2001:db8::10]:25", "PROXY TCP6 ::ffff:203.0.113.5 2001:db8::10 40000 25\r\n"),
    ];
    for (client, local, expected) in cases {
        assert_eq!(String::from_utf8(v1(&peer(client, local)).unwrap()).unwrap(), expected);
    }
}

#[test]
fn section_2_2_a_plaintext_session_has_addresses_and_its_id_but_no_ssl_field() {
    let seen = header(&peer("203.0.113.5:40000", "192.0.2.10:993"), None, "3x7Kq9");
    assert_eq!(seen, v4(&[tlv(0x05, b"3x7Kq9")]));

    let seen = header(&peer("[2001:db8::5]:40000", "[2001:db8::10]:25"), None, "3x7Kq9");
    let mut expected = SIGNATURE.to_vec();
    expected.extend(b"\x21\x21\0\x2d");
    expected.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5]);
    expected.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10]);
    expected.extend([0x9c, 0x40, 0, 25, 0x05, 0, 6]);
    expected.extend(b"3x7Kq9");
    assert_eq!(seen, expected);
}

#[test]
fn section_2_2_5_the_ssl_field_tells_the_sessions_tls() {
    let seen = header(&peer("203.0.113.5:40000", "192.0.2.10:993"), Some(&tls()), "3x7Kq9");
    let ssl = [
        b"\x01\0\0\0\x01".to_vec(),
        tlv(0x21, b"TLSv1.3"),
        tlv(0x23, b"TLS_AES_256_GCM_SHA384"),
        tlv(0x24, b"ecdsa-with-SHA256"),
        tlv(0x25, b"EC256"),
        tlv(0x26, b"X25519MLKEM768"),
        tlv(0x27, b"ecdsa_secp256r1_sha256"),
    ];
    let fields = [tlv(0x01, b"imap"), tlv(0x02, b"mail.example.com"), tlv(0x05, b"3x7Kq9"), tlv(0x20, &ssl.concat())];
    assert_eq!(seen, v4(&fields));
}

#[test]
fn section_2_2_5_a_certificate_counts_as_verified_only_when_it_was() {
    let presented =
        |verified| ClientCertificate::Presented { common_name: "alice".into(), issuer: "Example CA".into(), verified };
    let cases = [
        (ClientCertificate::NotRequested, false, *b"\x01\0\0\0\x01", false),
        (ClientCertificate::NotPresented, false, *b"\x01\0\0\0\x01", false),
        (presented(false), false, *b"\x03\0\0\0\x01", true),
        (presented(true), false, *b"\x03\0\0\0\0", true),
        // A resumed session brings the certificate of the first connection along.
        (presented(true), true, *b"\x05\0\0\0\0", true),
    ];
    for (client_certificate, resumed, flags, named) in cases {
        let mut tls = TlsFacts { client_certificate, ..tls() };
        if resumed {
            tls.signature = None;
        }
        let seen = header(&peer("203.0.113.5:40000", "192.0.2.10:993"), Some(&tls), "x");
        let ssl = find(&seen, 0x20).unwrap();
        assert_eq!(ssl.get(..5).unwrap(), flags, "{:?}", tls.client_certificate);
        let common_name = fields(ssl.get(5..).unwrap()).into_iter().find(|(kind, _)| *kind == 0x22);
        assert_eq!(common_name.map(|(_, name)| name), named.then(|| b"alice".to_vec()));
    }
}

#[test]
fn a_key_has_the_name_that_haproxy_gives_it() {
    let cases = [
        (SignatureAlgorithm::RsaPss { bits: 2048 }, "RSA2048"),
        (SignatureAlgorithm::RsaPkcs1 { bits: 4096 }, "RSA4096"),
        (SignatureAlgorithm::Ecdsa { curve: "P-384" }, "EC384"),
        (SignatureAlgorithm::Ed25519, "ED25519"),
    ];
    for (algorithm, expected) in cases {
        assert_eq!(key_algorithm(algorithm), expected);
    }
}

#[test]
fn a_header_never_outgrows_what_postfix_peeks() {
    let peer = peer("[2001:db8::5]:40000", "[2001:db8::10]:993");
    let kinds = |sni: usize, common_name: usize, session: usize| {
        let tls = TlsFacts {
            sni: Some(Arc::from("s".repeat(sni))),
            client_certificate: ClientCertificate::Presented {
                common_name: "c".repeat(common_name),
                issuer: String::new(),
                verified: true,
            },
            ..tls()
        };
        let seen = header(&peer, Some(&tls), &"i".repeat(session));
        assert!(seen.len() <= 536, "{} octets", seen.len());
        let ssl = fields(find(&seen, 0x20).unwrap().get(5..).unwrap().to_vec().as_slice());
        let has = |kind| find(&seen, kind).is_some();
        (has(0x05), has(0x02), ssl.iter().any(|(kind, _)| *kind == 0x22))
    };
    assert_eq!(kinds(16, 16, 16), (true, true, true));
    assert_eq!(kinds(200, 64, 128), (false, true, true), "UNIQUE_ID goes first");
    assert_eq!(kinds(253, 200, 128), (false, false, true), "then AUTHORITY");
    assert_eq!(kinds(253, 500, 128), (false, false, false), "then CN");
    assert_eq!(kinds(100_000, 100_000, 100_000), (false, false, false));
    assert_eq!(kinds(16, 16, 129), (false, true, true), "PP2_TYPE_UNIQUE_ID has up to 128 octets");
}

#[test]
fn a_header_of_536_octets_is_still_whole() {
    let longest = (0..500).map(|common_name| {
        let tls = TlsFacts {
            client_certificate: ClientCertificate::Presented {
                common_name: "c".repeat(common_name),
                issuer: String::new(),
                verified: true,
            },
            ..tls()
        };
        header(&peer("203.0.113.5:40000", "192.0.2.10:993"), Some(&tls), "3x7Kq9")
    });
    let longest = longest.filter(|header| find(header, 0x05).is_some()).map(|header| header.len()).max();
    assert_eq!(longest, Some(536));
}

/// The value of a header's field.
fn find(header: &[u8], kind: u8) -> Option<Vec<u8>> {
    let addresses = if header[13] == 0x11 { 12 } else { 36 };
    fields(&header[16 + addresses..]).into_iter().find(|(found, _)| *found == kind).map(|(_, value)| value)
}

fn fields(mut octets: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut fields = Vec::new();
    while let [kind, high, low, rest @ ..] = octets {
        let (value, rest) = rest.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        fields.push((*kind, value.to_vec()));
        octets = rest;
    }
    assert!(octets.is_empty());
    fields
}
