//! New keys (RFC 8446 §4.6.3), and keys that are worn out (§5.5).

use super::*;
use pair::{ALERT, DATA, HANDSHAKE, KEY_UPDATE, KEY_UPDATE_REQUESTED, TLS12, TLS13};

fn tls13_suites() -> impl Iterator<Item = SupportedCipherSuite> {
    pair::SUITES.into_iter().filter(|suite| pair::is_tls13(*suite))
}

/// What is in `wire` besides tickets.
fn opened(theirs: &mut Forger, wire: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut all = theirs.open(wire);
    all.retain(|(content_type, content)| (*content_type, content.first()) != (HANDSHAKE, Some(&4)));
    all
}

#[test]
fn an_honest_client_gets_its_answer_before_the_next_data_and_once() {
    for suite in tls13_suites() {
        let (mut ours, mut client) = pair::honest(pair::client(suite), b"");
        for _ in 0..3 {
            client.refresh_traffic_keys().unwrap();
            let mut wire = Vec::new();
            client.write_tls(&mut wire).unwrap();
            assert_eq!(ours.receive(&wire).unwrap(), (Vec::new(), Opened::Partial));
        }
        for data in [b"one", b"two"] {
            let sealed = ours.seal(data);
            client.read_tls(&mut &sealed[..]).unwrap();
            client.process_new_packets().unwrap();
            let mut received = [0; 3];
            std::io::Read::read_exact(&mut client.reader(), &mut received).unwrap();
            assert_eq!(&received, data);
        }
        assert_eq!(ours.records.sent, 2, "a new key once, and two records under it");
    }
}

#[test]
fn an_answer_goes_before_the_data_and_asks_for_none() {
    for suite in tls13_suites() {
        let (mut ours, mut theirs) = pair::forging(suite);
        let wire = [theirs.update_key(KEY_UPDATE_REQUESTED), theirs.update_key(KEY_UPDATE_REQUESTED)].concat();
        ours.receive(&wire).unwrap();
        let sealed = ours.seal(b"OK");
        assert_eq!(opened(&mut theirs, &sealed), [(HANDSHAKE, KEY_UPDATE.to_vec()), (DATA, b"OK".to_vec())]);
        let sealed = ours.seal(b"OK");
        assert_eq!(opened(&mut theirs, &sealed), [(DATA, b"OK".to_vec())]);
        let wire = theirs.update_key(KEY_UPDATE);
        ours.receive(&wire).unwrap();
        let sealed = ours.seal(b"OK");
        assert_eq!(opened(&mut theirs, &sealed), [(DATA, b"OK".to_vec())], "not asked for");
        assert_works(&mut ours, &mut theirs);
    }
}

#[test]
fn a_key_update_may_come_in_any_pieces() {
    for cuts in 0..1_u8 << 4 {
        let (mut ours, mut theirs) = pair::forging(TLS13);
        let mut from = 0;
        let mut wire = Vec::new();
        for to in (1..5).filter(|at| cuts & (1 << (at - 1)) != 0).chain([5]) {
            wire.extend(theirs.seal(HANDSHAKE, &KEY_UPDATE[from..to]));
            from = to;
        }
        theirs.turn_key();
        assert_eq!(ours.receive(&wire).unwrap(), (Vec::new(), Opened::Partial));
        assert_works(&mut ours, &mut theirs);
    }
}

#[test]
fn rfc8446_5_1_nothing_comes_between_the_pieces_of_a_message_and_nothing_behind_it() {
    let whole = &KEY_UPDATE;
    type Record<'a> = (u8, &'a [u8]);
    let cases: [(&str, &[Record<'_>]); 7] = [
        ("data between", &[(HANDSHAKE, &whole[..2]), (DATA, b"NOOP"), (HANDSHAKE, &whole[2..])]),
        ("no data between", &[(HANDSHAKE, &whole[..2]), (DATA, b""), (HANDSHAKE, &whole[2..])]),
        ("an alert between", &[(HANDSHAKE, &whole[..2]), (ALERT, &[1, 90])]),
        ("the end between", &[(HANDSHAKE, &whole[..2]), (ALERT, &[1, 0])]),
        ("an octet behind", &[(HANDSHAKE, &[24, 0, 0, 1, 0, 24])]),
        ("another one behind", &[(HANDSHAKE, &[24, 0, 0, 1, 0, 24, 0, 0, 1, 0])]),
        ("an octet behind pieces", &[(HANDSHAKE, &whole[..3]), (HANDSHAKE, &[1, 0, 0])]),
    ];
    for (why, records) in cases {
        let (mut ours, mut theirs) = pair::forging(TLS13);
        let wire: Vec<u8> = records.iter().flat_map(|(content_type, data)| theirs.seal(*content_type, data)).collect();
        assert_eq!(refused(&mut ours, &wire), Broken::Ours(Alert::UnexpectedMessage), "{why}");
    }
}

#[test]
fn what_is_no_key_update_is_refused_from_its_first_wrong_octet() {
    let cases: [(&[u8], Alert); 10] = [
        (&[24, 0, 0, 1, 2], Alert::IllegalParameter),
        (&[24, 0, 0, 1, 255], Alert::IllegalParameter),
        (&[24, 0, 0, 0], Alert::DecodeError),
        (&[24, 0, 0, 2, 0], Alert::DecodeError),
        (&[24, 1], Alert::DecodeError),
        (&[1], Alert::UnexpectedMessage),  // ClientHello
        (&[4], Alert::UnexpectedMessage),  // NewSessionTicket
        (&[11], Alert::UnexpectedMessage), // Certificate: nobody asked for one (§4.6.2)
        (&[20], Alert::UnexpectedMessage), // Finished
        (&[], Alert::UnexpectedMessage),
    ];
    for (message, alert) in cases {
        let (mut ours, mut theirs) = pair::forging(TLS13);
        let wire = theirs.seal(HANDSHAKE, message);
        assert_eq!(refused(&mut ours, &wire), Broken::Ours(alert), "{message:?}");
    }
}

#[test]
fn the_old_key_is_no_longer_taken() {
    for suite in tls13_suites() {
        let (mut ours, mut theirs) = pair::forging(suite);
        let wire = [theirs.seal(HANDSHAKE, &KEY_UPDATE), theirs.data(b"under the old key")].concat();
        assert_eq!(refused(&mut ours, &wire), Broken::Ours(Alert::BadRecordMac));
    }
}

#[test]
fn key_updates_without_data_come_to_an_end() {
    let (mut ours, mut theirs) = pair::forging(TLS13);
    for round in 0..2 {
        for _ in 0..KEY_UPDATES_IN_A_ROW {
            let wire = [theirs.update_key(KEY_UPDATE), theirs.data(b"")].concat();
            assert_eq!(ours.receive(&wire).unwrap(), (Vec::new(), Opened::Partial), "round {round}");
        }
        if round == 0 {
            assert_works(&mut ours, &mut theirs);
        }
    }
    let wire = theirs.update_key(KEY_UPDATE);
    assert_eq!(refused(&mut ours, &wire), Broken::Ours(Alert::UnexpectedMessage));
}

#[test]
fn rfc8446_5_5_a_key_of_ours_says_goodbye_with_its_last_record() {
    for suite in tls13_suites() {
        let (mut ours, mut theirs) = pair::forging(suite);
        let tickets = ours.seal(b"");
        theirs.open(&tickets);
        let limit = ours.records.limit();
        assert!(limit == u64::MAX || limit == 1 << 24, "{suite:?}");
        ours.records.sent = limit - 3;
        theirs.received = limit - 3;
        let sealed = ours.seal(&[b'x'; 3 * FRAGMENT_LIMIT]);
        let records: Vec<_> = opened(&mut theirs, &sealed).into_iter().map(|(kind, data)| (kind, data.len())).collect();
        let full = (DATA, FRAGMENT_LIMIT);
        assert_eq!(records, [full, full, (HANDSHAKE, 5), full], "{suite:?}");
        assert_works(&mut ours, &mut theirs);
    }
}

#[test]
fn a_key_of_tls12_is_not_used_beyond_its_limit_nor_for_part_of_a_write() {
    for suite in pair::SUITES.into_iter().filter(|suite| !pair::is_tls13(*suite)) {
        let (mut ours, mut theirs) = pair::forging(suite);
        let limit = ours.records.limit();
        assert!(limit == u64::MAX || limit == 1 << 24, "{suite:?}");
        ours.records.sent = limit - 2;
        theirs.received = limit - 2;
        assert_eq!(ours.try_seal(&[&[b'x'; 2 * FRAGMENT_LIMIT + 1]]), Err(Error::EncryptError));
        assert_eq!(ours.records.sent, limit - 2, "not in part");
        let sealed = ours.seal(b"last");
        assert_eq!(theirs.open_data(&sealed), b"last");
        ours.records.sent = limit;
        assert_eq!(ours.try_seal(&[b"x"]), Err(Error::EncryptError));
        assert!(ours.try_seal(&[]).is_ok(), "nothing is always possible");
    }
}

#[test]
fn tls12_says_goodbye_under_a_worn_out_key() {
    let (mut ours, mut theirs) = pair::forging(TLS12);
    let limit = ours.records.limit();
    (ours.records.sent, theirs.received) = (limit, limit);
    let goodbye = ours.records.close_notify().unwrap();
    assert_eq!(theirs.open(&goodbye), [(ALERT, vec![1, 0])]);
}
