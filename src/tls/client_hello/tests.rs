use proptest::prelude::*;
use tokio::io::AsyncWriteExt;

use super::super::forge::{self, Forged};
use super::*;

type Verdict = Result<Option<ClientHello>, (&'static str, Option<Alert>)>;

/// Shows the assembler `step` octets more at a time, until it has made up its mind.
fn judge(wire: &[u8], step: usize) -> Verdict {
    let mut assembler = Assembler::default();
    for end in (step..wire.len()).step_by(step).chain([wire.len()]) {
        match assembler.advance(&wire[..end]) {
            Ok(None) => {}
            Ok(hello) => return Ok(hello),
            Err(unfit) => return Err((unfit.reason.phrase, unfit.alert)),
        }
    }
    Ok(None)
}

fn judge_cut_anywhere(wire: &[u8]) -> Verdict {
    let whole = judge(wire, wire.len().max(1));
    for step in (1..40).chain([wire.len() / 2 + 1]) {
        assert_eq!(judge(wire, step), whole, "{step} octets at a time");
    }
    whole
}

fn modern() -> Forged {
    Forged::tls12(&[0x1301, 0xc02b])
        .with_versions(&[0x0a0a, 0x0304, 0x0303])
        .with_sni(b"mail.example.com")
        .with_alpn(&["smtp", "imap"])
        .with_list(forge::GROUPS, &[0x11ec, 0x001d])
        .with(0x3a3a, vec![1, 2, 3])
        .with(51, vec![0; 700])
}

#[test]
fn a_hello_is_read_from_any_records_in_any_pieces() {
    let expected = ClientHello {
        record_version: 0x0301,
        versions: vec![0x0a0a, 0x0304, 0x0303],
        suites: vec![0x1301, 0xc02b],
        groups: vec![0x11ec, 0x001d],
        signatures: vec![0x0403, 0x0804, 0x0401],
        sni: Some(b"mail.example.com".to_vec()),
        alpn: vec![b"smtp".to_vec(), b"imap".to_vec()],
        renegotiates: false,
    };
    for size in [1, 2, 3, 4, 5, 100, 1 << 14] {
        assert_eq!(judge_cut_anywhere(&modern().records(size)), Ok(Some(expected.clone())), "records of {size}");
    }
}

#[test]
fn a_hello_is_not_read_before_its_last_octet() {
    for size in [1, 50, 1 << 14] {
        let wire = modern().records(size);
        for end in 0..wire.len() {
            assert_eq!(judge(&wire[..end], 1), Ok(None), "{end} of {} in records of {size}", wire.len());
        }
    }
}

#[test]
fn rfc8446_4_2_1_without_supported_versions_the_legacy_version_counts() {
    let versions = |version| {
        let hello = judge_cut_anywhere(&Forged::bare(version, &[0xc02f]).wire()).unwrap().unwrap();
        (hello.versions.clone(), hello.offers_tls12(), hello.offers_tls13())
    };
    assert_eq!(versions(0x0300), (vec![0x0300], false, false));
    assert_eq!(versions(0x0302), (vec![0x0302], false, false));
    assert_eq!(versions(0x0303), (vec![0x0303], true, false));
    assert_eq!(versions(0x0304), (vec![0x0303], true, false), "TLS 1.3 takes the extension");
}

#[test]
fn with_supported_versions_the_legacy_version_does_not_count() {
    let wire = Forged::tls12(&[0xc02f]).with_versions(&[0x0302]).wire();
    let hello = judge_cut_anywhere(&wire).unwrap().unwrap();
    assert!(!hello.offers_tls12() && !hello.offers_tls13());
}

#[test]
fn rfc8446_d_5_ssl3_counts_whatever_else_is_said() {
    for version in [0x0300, 0x0200, 0x0002] {
        let wire = Forged { version, ..Forged::tls12(&[0x1301]) }.with_versions(&[0x0304, 0x0303]).wire();
        let hello = judge_cut_anywhere(&wire).unwrap().unwrap();
        assert_eq!((hello.offers_tls12(), hello.offers_tls13()), (false, false), "{version:#06x}");
    }
}

#[test]
fn an_extension_that_does_not_parse_hides_no_other() {
    let hello = Forged::bare(0x0303, &[0xc02f]).with(forge::ALPN, vec![0xff, 0xff]).with_versions(&[0x0304]);
    assert!(judge_cut_anywhere(&hello.wire()).unwrap().unwrap().offers_tls13());
}

#[test]
fn what_is_no_hello_is_named_whatever_its_pieces() {
    use Alert::{DecodeError, ProtocolVersion, RecordOverflow, UnexpectedMessage};
    let mut long_extensions = modern().message();
    long_extensions.push(0);
    long_extensions[3] += 1; // the message is longer by one octet, which no field covers
    let handshake = |fragment: &[u8]| forge::record(22, 0x0301, fragment);
    let ssl2 = [0x80, 0x2e, 1, 0, 2, 0, 21, 0, 0, 0, 16, 7, 0, 0xc0];
    let cases: &[(&str, &[u8], Option<Alert>)] = &[
        ("not TLS: HTTP request", b"GET / HTTP/1.1\r\n", None),
        ("not TLS: HTTP request", b"POST /mail HTTP/1.1\r\n", None),
        ("not TLS: HTTP request", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", None),
        ("not TLS: HTTP request", b"CONNECT mx.example:25 HTTP/1.1\r\n", None),
        ("not TLS: cleartext", b"EHLO client.example\r\n", None),
        ("not TLS: cleartext", b"GETQUOTA x\r\n", None),
        ("not TLS: cleartext", b"a1 CAPABILITY\r\n", None),
        ("not TLS: unknown protocol", b"\0\0\0\x55", None),
        ("not TLS: unknown protocol", b"\r\n\r\n", None),
        ("not TLS: unknown protocol", &[22, 2, 1, 0, 5], None),
        ("not TLS: unknown protocol", &[23, 2, 1, 0, 5], None),
        ("not TLS: unknown protocol", &[19, 3, 1, 0, 5], None),
        ("not TLS: unknown protocol", &[25, 3, 1, 0, 5], None),
        ("SSLv2 ClientHello", &ssl2, Some(ProtocolVersion)),
        ("malformed ClientHello", &[20, 3, 3, 0, 1, 1], Some(UnexpectedMessage)),
        ("malformed ClientHello", &[21, 3, 1, 0, 2, 1, 0], Some(UnexpectedMessage)),
        ("malformed ClientHello", &[23, 3, 3, 0, 1, 0], Some(UnexpectedMessage)),
        ("malformed ClientHello", &[24, 3, 2, 0, 3, 1, 0x40, 0], Some(UnexpectedMessage)),
        ("malformed ClientHello", &handshake(&[2, 0, 0, 0]), Some(UnexpectedMessage)),
        ("malformed ClientHello", &handshake(&[]), Some(DecodeError)),
        ("malformed ClientHello", &[handshake(&[1]), vec![23, 3, 1, 0, 1, 0]].concat(), Some(UnexpectedMessage)),
        ("malformed ClientHello", &[handshake(&[1]), vec![22, 2, 0, 0, 1, 0]].concat(), Some(DecodeError)),
        ("malformed ClientHello", &[22, 3, 1, 0x40, 1], Some(RecordOverflow)),
        ("malformed ClientHello", &handshake(&[1, 0, 0, 4, 3, 3, 0, 0]), Some(DecodeError)),
        ("malformed ClientHello", &handshake(&long_extensions), Some(DecodeError)),
        ("ClientHello too large", &handshake(&[1, 0, 0x40, 1]), Some(DecodeError)),
        ("ClientHello too large", &handshake(&[1, 0xff, 0xff, 0xff]), Some(DecodeError)),
    ];
    for (phrase, wire, alert) in cases {
        assert_eq!(judge_cut_anywhere(wire), Err((*phrase, *alert)), "{wire:02x?}");
    }
}

#[test]
fn an_alert_takes_the_clients_record_version_if_there_is_one() {
    assert_eq!(Alert::ProtocolVersion.record(0x0300), [21, 3, 0, 0, 2, 2, 70]);
    assert_eq!(Alert::ProtocolVersion.record(0x0301), [21, 3, 1, 0, 2, 2, 70]);
    assert_eq!(Alert::DecodeError.record(0x03ff), [21, 3, 3, 0, 2, 2, 50]);
}

#[tokio::test]
async fn reading_takes_octet_after_octet_and_keeps_them_all() {
    let wire = modern().wire();
    let (mut client, mut server) = tokio::io::duplex(1);
    let sent = wire.clone();
    let sending = tokio::spawn(async move { client.write_all(&sent).await.map(|()| client) });
    let (mut kept, mut began) = (BytesMut::new(), None);
    let hello = read(&mut server, &mut kept, &mut began).await.unwrap();
    assert!(hello.offers_tls13() && began.is_some());
    assert_eq!(kept, wire);
    sending.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_end_within_the_hello_is_told_from_silence_and_from_words() {
    for (sent, phrase) in [
        (&b""[..], "client closed before its ClientHello"),
        (&[22, 3, 1], "client closed during handshake"),
        (b"GE", "not TLS: cleartext"),
    ] {
        let (mut client, mut server) = tokio::io::duplex(64);
        client.write_all(sent).await.unwrap();
        drop(client);
        let unfit = read(&mut server, &mut BytesMut::new(), &mut None).await.unwrap_err();
        assert_eq!((unfit.reason.phrase, unfit.alert), (phrase, None));
    }
}

#[tokio::test]
async fn the_octets_of_a_hello_are_limited_whatever_its_records() {
    // One octet a record: each says little and costs six.
    let fragments = modern().with(0x7777, vec![0; 8000]).records(1);
    assert!(fragments.len() > WIRE_LIMIT + 4096);
    let (mut client, mut server) = tokio::io::duplex(1 << 20);
    client.write_all(&fragments).await.unwrap();
    let mut wire = BytesMut::new();
    let unfit = read(&mut server, &mut wire, &mut None).await.unwrap_err();
    assert_eq!(unfit.reason.phrase, "ClientHello too large");
    assert_eq!(wire.len(), WIRE_LIMIT);
}

proptest! {
    #[test]
    fn any_octets_are_judged_alike_in_any_pieces(
        head in prop::sample::select(vec![&b""[..], &[22, 3, 1], &[22, 3, 1, 0, 9, 1, 0, 0], b"G", &[0x80]]),
        tail in prop::collection::vec(any::<u8>(), 0..80),
        step in 1_usize..20,
    ) {
        let wire = [head, &tail].concat();
        prop_assert_eq!(judge(&wire, step), judge(&wire, wire.len().max(1)));
    }

    #[test]
    fn a_hello_with_changed_octets_never_panics(at in 0_usize..1000, to in any::<u8>()) {
        let mut wire = modern().wire();
        let length = wire.len();
        wire[at % length] = to;
        prop_assert_eq!(judge(&wire, 7), judge(&wire, length));
    }
}
