//! Alerts, types, versions and lengths: what a client may say besides data.

use super::*;
use pair::{ALERT, DATA, HANDSHAKE, TLS12, TLS13};

const VERSIONS: [SupportedCipherSuite; 2] = [TLS12, TLS13];

/// A record's header with nothing behind it.
fn announced(content_type: u8, version: u16, length: usize) -> [u8; HEADER] {
    let ([major, minor], [high, low]) = (version.to_be_bytes(), u16::try_from(length).unwrap().to_be_bytes());
    [content_type, major, minor, high, low]
}

#[test]
fn close_notify_is_the_end_at_either_level() {
    for (suite, level) in VERSIONS.into_iter().flat_map(|suite| [(suite, 1), (suite, 2)]) {
        let (mut ours, mut theirs) = pair::forging(suite);
        let wire = [theirs.data(b"QUIT"), theirs.seal(ALERT, &[level, 0])].concat();
        assert_eq!(ours.receive(&wire).unwrap(), (b"QUIT".to_vec(), Opened::End));
    }
}

type Meaning = Result<Opened, Broken>;

#[test]
fn what_an_alert_means_depends_on_the_version() {
    let theirs = |description| Err(Broken::Theirs(description));
    let ours = |alert| Err(Broken::Ours(alert));
    let cases: [(&[u8], Meaning, Meaning); 10] = [
        (&[2, 20], theirs(20), theirs(20)),
        (&[2, 90], theirs(90), theirs(90)),
        (&[1, 90], Ok(Opened::Partial), Ok(Opened::Partial)), // user_canceled
        (&[1, 41], Ok(Opened::Partial), theirs(41)),          // RFC 8446 §6: no warnings
        (&[1, 255], Ok(Opened::Partial), theirs(255)),
        (&[3, 0], ours(Alert::IllegalParameter), ours(Alert::IllegalParameter)),
        (&[0, 90], ours(Alert::IllegalParameter), ours(Alert::IllegalParameter)),
        (&[1], ours(Alert::DecodeError), ours(Alert::DecodeError)),
        (&[1, 0, 1, 0], ours(Alert::DecodeError), ours(Alert::DecodeError)),
        (&[], ours(Alert::UnexpectedMessage), ours(Alert::UnexpectedMessage)),
    ];
    for (content, tls12, tls13) in cases {
        for (suite, expected) in [(TLS12, tls12), (TLS13, tls13)] {
            let (mut ours, mut theirs) = pair::forging(suite);
            let wire = theirs.seal(ALERT, content);
            assert_eq!(ours.receive(&wire).map(|(_, end)| end), expected, "{suite:?}: {content:?}");
        }
    }
}

#[test]
fn warnings_come_to_an_end() {
    for suite in VERSIONS {
        let (mut ours, mut theirs) = pair::forging(suite);
        for _ in 0..WARNINGS {
            let wire = theirs.seal(ALERT, &[1, 90]);
            ours.receive(&wire).unwrap();
            assert_works(&mut ours, &mut theirs);
        }
        let wire = theirs.seal(ALERT, &[1, 90]);
        assert_eq!(refused(&mut ours, &wire), Broken::Ours(Alert::UnexpectedMessage));
    }
}

#[test]
fn empty_records_come_to_an_end() {
    for suite in VERSIONS {
        let (mut ours, mut theirs) = pair::forging(suite);
        for _ in 0..2 {
            for _ in 0..EMPTY_RECORDS_IN_A_ROW {
                let wire = theirs.data(b"");
                assert_eq!(ours.receive(&wire).unwrap(), (Vec::new(), Opened::Partial));
            }
            assert_works(&mut ours, &mut theirs);
        }
        let wire: Vec<u8> = (0..=EMPTY_RECORDS_IN_A_ROW).flat_map(|_| theirs.data(b"")).collect();
        assert_eq!(refused(&mut ours, &wire), Broken::Ours(Alert::UnexpectedMessage));
    }
}

#[test]
fn a_record_is_refused_from_its_header_alone() {
    for content_type in (0..=255).filter(|content_type| *content_type != DATA) {
        for suite in VERSIONS {
            let (mut ours, _) = pair::forging(suite);
            let known = !pair::is_tls13(suite) && [ALERT, HANDSHAKE].contains(&content_type);
            let result = ours.receive(&announced(content_type, 0x0303, 26));
            let expected =
                if known { Ok((Vec::new(), Opened::Partial)) } else { Err(Broken::Ours(Alert::UnexpectedMessage)) };
            assert_eq!(result, expected, "{suite:?}: type {content_type}");
        }
    }
    for suite in VERSIONS {
        let (mut ours, _) = pair::forging(suite);
        for version in [0x0301, 0x0302, 0x0304, 0x0300, 0x0203, 0xffff] {
            let header = announced(DATA, version, 26);
            assert_eq!(refused(&mut ours, &header), Broken::Ours(Alert::ProtocolVersion), "{version:#06x}");
            ours.wire.clear();
        }
        let most = FRAGMENT_LIMIT + if pair::is_tls13(suite) { 256 } else { 2048 };
        assert_eq!(ours.receive(&announced(DATA, 0x0303, most)).unwrap().1, Opened::Partial);
        ours.wire.clear();
        let header = announced(DATA, 0x0303, most + 1);
        assert_eq!(refused(&mut ours, &header), Broken::Ours(Alert::RecordOverflow));
    }
}

#[test]
fn a_record_without_room_for_its_protection_is_refused() {
    for (suite, length) in pair::SUITES.into_iter().flat_map(|suite| (0..25).map(move |length| (suite, length))) {
        let (mut ours, _) = pair::forging(suite);
        let wire = [&announced(DATA, 0x0303, length)[..], &vec![0; length]].concat();
        assert_eq!(refused(&mut ours, &wire), Broken::Ours(Alert::BadRecordMac), "{suite:?}: {length} octets");
    }
}

#[test]
fn more_than_a_record_may_carry_is_refused_under_the_true_key() {
    for suite in pair::SUITES {
        let (mut ours, mut theirs) = pair::forging(suite);
        let wire = theirs.data(&[b'x'; FRAGMENT_LIMIT + 1]);
        assert_eq!(refused(&mut ours, &wire), Broken::Ours(Alert::RecordOverflow), "{suite:?}");
    }
}

#[test]
fn rfc8446_5_4_a_record_may_be_padded_and_must_have_a_type() {
    for suite in pair::SUITES.into_iter().filter(|suite| pair::is_tls13(*suite)) {
        let (mut ours, mut theirs) = pair::forging(suite);
        for padding in [1, 2, 255, FRAGMENT_LIMIT - 4] {
            let wire = theirs.seal(0, &[b"NOOP", &[DATA][..], &vec![0; padding - 1]].concat());
            assert_eq!(ours.receive(&wire).unwrap().0, b"NOOP", "{padding} octets");
        }
        let wire = theirs.seal(0, &[b"NOOP", &[DATA][..], &[0; FRAGMENT_LIMIT]].concat());
        assert_eq!(refused(&mut ours, &wire), Broken::Ours(Alert::RecordOverflow), "padded beyond a record's length");
        for nothing in [&[][..], &[0; 100]] {
            let (mut ours, mut theirs) = pair::forging(suite);
            let wire = theirs.seal(0, nothing);
            assert_eq!(refused(&mut ours, &wire), Broken::Ours(Alert::UnexpectedMessage), "no type at all");
        }
    }
}

#[test]
fn an_inner_type_that_must_not_be_is_refused() {
    for content_type in (1..=255).filter(|content_type| !(ALERT..=DATA).contains(content_type)) {
        let (mut ours, mut theirs) = pair::forging(TLS13);
        let wire = theirs.seal(content_type, &[1]);
        assert_eq!(refused(&mut ours, &wire), Broken::Ours(Alert::UnexpectedMessage), "{content_type}");
    }
}

#[test]
fn rfc5246_7_2_2_a_renegotiation_is_declined_once() {
    for suite in pair::SUITES.into_iter().filter(|suite| !pair::is_tls13(*suite)) {
        let (mut ours, mut theirs) = pair::forging(suite);
        assert_eq!(ours.records.refusal(), Ok(None));
        let hello = [1, 0, 0, 2, 3, 3];
        let wire = theirs.seal(HANDSHAKE, &hello);
        assert_eq!(ours.receive(&wire).unwrap(), (Vec::new(), Opened::Partial));
        let refusal = ours.records.refusal().unwrap().unwrap();
        assert_eq!(theirs.open(&refusal), [(ALERT, vec![1, 100])]);
        assert_eq!(ours.records.refusal(), Ok(None), "once");
        assert_works(&mut ours, &mut theirs);
        let wire = theirs.seal(HANDSHAKE, &hello);
        assert_eq!(refused(&mut ours, &wire), Broken::Ours(Alert::UnexpectedMessage));
    }
}

#[test]
fn no_other_handshake_message_may_follow_a_handshake_of_tls12() {
    for message in [&[][..], &[0], &[11, 0, 0, 0], &[20], &[24, 0, 0, 1, 0]] {
        let (mut ours, mut theirs) = pair::forging(TLS12);
        let wire = theirs.seal(HANDSHAKE, message);
        assert_eq!(refused(&mut ours, &wire), Broken::Ours(Alert::UnexpectedMessage), "{message:?}");
    }
}

#[test]
fn our_own_last_words_are_read_as_such() {
    for suite in pair::SUITES {
        let (mut ours, mut theirs) = pair::forging(suite);
        let sealed = ours.seal(b"");
        theirs.open(&sealed);
        let goodbye = ours.records.close_notify().unwrap();
        assert_eq!(theirs.open(&goodbye), [(ALERT, vec![1, 0])]);
        let fatal = ours.records.fatal(Alert::BadRecordMac).unwrap();
        assert_eq!(theirs.open(&fatal), [(ALERT, vec![2, 20])]);
    }
}
