//! Data, both ways: whole, cut anywhere, changed anywhere.

use std::io::{Read, Write};

use rustls::ClientConnection;
use rustls::crypto::aws_lc_rs::kx_group::{SECP256R1, X25519, X25519MLKEM768};

use super::*;

const SIZES: [usize; 8] = [1, 1023, 1024, 1025, 16_383, 16_384, 16_385, 70_000];

fn octets(length: usize) -> Vec<u8> {
    (0..=250).cycle().take(length).collect()
}

/// What the client makes of our records.
fn received(client: &mut ClientConnection, mut wire: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    while !wire.is_empty() {
        client.read_tls(&mut wire).unwrap();
        client.process_new_packets().unwrap();
        // The connection goes on, so that the data ends here is an error.
        let _ = client.reader().read_to_end(&mut data);
    }
    data
}

fn sent(client: &mut ClientConnection, data: &[u8]) -> Vec<u8> {
    client.writer().write_all(data).unwrap();
    let mut wire = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut wire).unwrap();
    }
    wire
}

#[test]
fn data_of_any_size_goes_both_ways_in_every_suite() {
    for suite in pair::SUITES {
        let (mut ours, mut client) = pair::honest(pair::client(suite), b"");
        client.set_buffer_limit(None);
        let tickets = u32::from(pair::is_tls13(suite));
        assert_eq!(ours.records.sent, 1, "{suite:?}: the ticket, or our Finished");
        for size in SIZES {
            let data = octets(size);
            let sealed = ours.seal(&data);
            assert!(received(&mut client, &sealed) == data, "{suite:?}: {size} octets to the client");
            let wire = sent(&mut client, &data);
            assert!(ours.receive(&wire).unwrap() == (data, Opened::Partial), "{suite:?}: {size} octets from it");
        }
        assert_eq!(client.tls13_tickets_received(), tickets);
    }
}

#[test]
fn records_are_as_few_as_can_be_however_the_data_lies() {
    let data = octets(40_000);
    for suite in pair::SUITES {
        let (mut ours, mut theirs) = pair::forging(suite);
        let pieces: Vec<&[u8]> = data.chunks(999).collect();
        let sealed = ours.try_seal(&pieces).unwrap();
        let records = theirs.open(&sealed).into_iter().filter(|(content_type, _)| *content_type == pair::DATA);
        let (lengths, all): (Vec<usize>, Vec<Vec<u8>>) = records.map(|(_, data)| (data.len(), data)).unzip();
        assert_eq!(lengths, [16_384, 16_384, 7_232]);
        assert!(all.concat() == data);
    }
}

#[test]
fn what_came_right_behind_the_handshake_is_not_lost() {
    for suite in pair::SUITES.into_iter().filter(|suite| pair::is_tls13(*suite)) {
        let (mut ours, _) = pair::honest(pair::client(suite), b"EHLO client.example\r\n");
        assert_eq!(ours.open().unwrap().0, b"EHLO client.example\r\n", "{suite:?}");
    }
}

#[test]
fn a_hello_retry_request_changes_nothing() {
    let config = pair::client_with(pair::TLS13, vec![SECP256R1, X25519, X25519MLKEM768]);
    let (mut ours, mut client) = pair::honest(config, b"first");
    assert_eq!(client.handshake_kind(), Some(rustls::HandshakeKind::FullWithHelloRetryRequest));
    assert_eq!(ours.open().unwrap().0, b"first");
    let sealed = ours.seal(b"answer");
    assert_eq!(received(&mut client, &sealed), b"answer");
}

#[test]
fn a_wire_may_come_octet_by_octet() {
    for suite in pair::SUITES {
        let (mut ours, mut theirs) = pair::forging(suite);
        let mut wire = theirs.data(b"first");
        if pair::is_tls13(suite) {
            wire.extend(theirs.update_key(pair::KEY_UPDATE));
        }
        wire.extend(theirs.data(b""));
        wire.extend(theirs.data(b"second"));
        wire.extend(theirs.seal(pair::ALERT, &[1, 0]));
        let mut data = Vec::new();
        for (at, octet) in wire.iter().enumerate() {
            let (more, end) = ours.receive(&[*octet]).unwrap();
            data.extend(more);
            assert_eq!(end == Opened::End, at + 1 == wire.len(), "{suite:?}, octet {at}");
        }
        assert_eq!(data, b"firstsecond", "{suite:?}");
    }
}

#[test]
fn a_wire_may_be_cut_anywhere() {
    for suite in pair::SUITES {
        let (mut ours, mut theirs) = pair::forging(suite);
        let mut cut = 0;
        loop {
            let wire = [theirs.data(b"first"), theirs.data(b"second")].concat();
            let Some((front, back)) = wire.split_at_checked(cut) else { break };
            let (one, _) = ours.receive(front).unwrap();
            let (two, end) = ours.receive(back).unwrap();
            assert_eq!(([one, two].concat(), end), (b"firstsecond".to_vec(), Opened::Partial), "{suite:?} at {cut}");
            cut += 1;
        }
        assert!(cut > 50);
    }
}

#[test]
fn any_changed_bit_is_noticed_and_nothing_of_the_record_is_seen() {
    for suite in pair::SUITES {
        let (mut ours, mut theirs) = pair::forging(suite);
        let wire = theirs.data(b"MAIL FROM:<>");
        for (at, bit) in (0..wire.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut changed = wire.clone();
            changed[at] ^= 1 << bit;
            let length = usize::from(u16::from_be_bytes([changed[3], changed[4]]));
            let longer = length > wire.len() - HEADER;
            let most = FRAGMENT_LIMIT + if pair::is_tls13(suite) { 256 } else { 2048 };
            let expected = match at {
                // One bit makes another type of it that there is: TLS 1.2 has those on the outside, and authenticates that.
                0 if [pair::ALERT, pair::HANDSHAKE].contains(&changed[0]) && !pair::is_tls13(suite) => {
                    Alert::BadRecordMac
                }
                0 => Alert::UnexpectedMessage,
                1 | 2 => Alert::ProtocolVersion,
                3 if length > most => Alert::RecordOverflow,
                _ => Alert::BadRecordMac,
            };
            if longer && expected == Alert::BadRecordMac {
                assert_eq!(ours.receive(&changed).unwrap(), (Vec::new(), Opened::Partial), "there is more to come");
                changed = vec![0; most];
            }
            assert_eq!(refused(&mut ours, &changed), Broken::Ours(expected), "{suite:?}: octet {at}, bit {bit}");
            ours.wire.clear();
        }
        assert_eq!(ours.receive(&wire).unwrap().0, b"MAIL FROM:<>", "unchanged");
    }
}

#[test]
fn a_record_counts_once_and_in_its_place() {
    for suite in pair::SUITES {
        let (mut ours, mut theirs) = pair::forging(suite);
        let [first, second, third] = [b"1", b"2", b"3"].map(|data| theirs.data(data));
        ours.receive(&first).unwrap();
        for wrong in [&first, &third] {
            assert_eq!(refused(&mut ours, wrong), Broken::Ours(Alert::BadRecordMac), "{suite:?}: again, or too early");
            ours.wire.clear();
        }
        assert_eq!(ours.receive(&[second, third].concat()).unwrap().0, b"23");
    }
}
