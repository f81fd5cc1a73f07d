//! What a client may send while it shakes hands.

use std::future::poll_fn;
use std::io::Read as _;
use std::task::Poll;

use proptest::prelude::*;
use rustls::{ClientConfig, ClientConnection};
use tokio::io::{AsyncReadExt as _, duplex};

use super::super::forge::{Forged, record};
use super::super::{client_hello, pair};
use super::*;
use crate::config::ClientCertificates as Asked;

/// What came of it.
struct Shook {
    failure: Failure,
    /// How much of the wire was read.
    sent: usize,
    /// What the client got.
    received: Vec<u8>,
}

/// Shakes hands with a client that has sent `first`, a ClientHello and maybe more, and sends `wire` as long as anybody reads.
async fn shaken_from(settings: &Arc<ServerConfig>, first: &[u8], wire: &[u8]) -> Shook {
    let (mut client, mut ours) = duplex(1 << 10);
    let (mut replies, mut writer) = tokio::io::split(&mut client);
    let sending = async {
        let mut sent = 0;
        for chunk in wire.chunks(64) {
            if writer.write_all(chunk).await.is_err() {
                return sent;
            }
            sent += chunk.len();
        }
        let _ = writer.shutdown().await;
        sent
    };
    let shaking = async {
        let failure = shake(&mut ours, settings, BytesMut::from(first), &mut GREETING.into()).await.err().unwrap();
        drop(ours);
        failure
    };
    let mut received = Vec::new();
    let reading = async { tokio::io::copy(&mut replies, &mut received).await };
    let (failure, sent, _) = tokio::join!(shaking, sending, reading);
    Shook { failure, sent, received }
}

/// The same in TLS 1.2, with a ClientHello in a record of its own.
async fn shaken(wire: &[u8]) -> (Failure, usize) {
    let Shook { failure, sent, .. } = shaken_from(pair::tls12_settings(), &hello().wire(), wire).await;
    (failure, sent)
}

fn hello() -> Forged {
    Forged::tls12(&[0xc02f])
}

#[tokio::test]
async fn a_message_in_single_octets_is_not_waited_for_forever() {
    // ClientKeyExchange, as long as rustls takes it.
    let message = [&[16, 0, 0xff, 0xff][..], &[0; 0xffff]].concat();
    let wire: Vec<u8> = message.iter().flat_map(|octet| record(22, 0x0303, &[*octet])).collect();
    let (failure, sent) = shaken(&wire).await;
    assert_eq!(failure.to_string(), "unexpected error: a handshake message in too many records");
    assert!((WIRE_LIMIT..WIRE_LIMIT + 8192).contains(&sent), "{sent} of {} octets", wire.len());
}

#[tokio::test]
async fn what_breaks_the_protocol_is_told_at_once() {
    for (wire, message) in [
        (record(23, 0x0303, b"data"), "received unexpected message: got ApplicationData"),
        (record(22, 0x0303, &[1, 0, 0, 0]), "received corrupt message"),
        (record(22, 0x0303, &[20, 0, 0, 0]), "received unexpected handshake message: got Finished"),
        (record(99, 0x0303, b"?"), "received corrupt message of type InvalidContentType"),
        (vec![22, 3, 3, 0xff, 0xff], "received corrupt message of type MessageTooLarge"),
        (vec![21, 3, 3, 0, 2, 2, 40], "received fatal alert: HandshakeFailure"),
    ] {
        let (failure, _) = shaken(&wire).await;
        assert!(failure.to_string().contains(message), "{failure}");
        assert_eq!(failure.sent_alert(), wire[0] != 21);
    }
}

#[tokio::test]
async fn what_lies_behind_a_message_in_its_record_is_refused() {
    let message = hello().message();
    for behind in [&message[..], &message[..1], &message[..3], &[16, 0, 0, 33], &[0, 0, 0, 0]] {
        let first = record(22, 0x0301, &[&message, behind].concat());
        let Shook { failure, received, .. } = shaken_from(pair::tls12_settings(), &first, &[]).await;
        assert!(failure.to_string().contains("KeyEpochWithPendingFragment"), "{failure}");
        assert_eq!(received, [21, 3, 3, 0, 2, 2, 10], "{behind:?}");
    }
}

#[tokio::test]
async fn whatever_interrupts_a_message_is_refused() {
    let half = record(22, 0x0303, &[16, 0, 0, 33, 32]);
    for between in [record(20, 0x0303, &[1]), record(21, 0x0303, &[1, 90]), record(23, 0x0303, b"data")] {
        let wire = [&half[..], &between, &half].concat();
        let Shook { failure, received, .. } = shaken_from(pair::tls12_settings(), &hello().wire(), &wire).await;
        assert!(failure.to_string().contains("MessageInterleavedWithHandshakeMessage"), "{failure}");
        assert!(received.ends_with(&[21, 3, 3, 0, 2, 2, 10]), "{received:02x?}");
    }
}

#[tokio::test]
async fn every_refusal_in_tls12_has_one_alert_and_an_alert_has_none() {
    let warnings = record(21, 0x0303, &[1, 90]).repeat(8);
    for (wire, alert) in [
        (record(22, 0x0303, &[16, 0, 0, 0]), Some(50)), // ClientKeyExchange without a key
        (record(22, 0x0303, &[16, 0, 0, 1, 0]), Some(50)), // with an empty one
        (record(22, 0x0303, &[16, 0, 0, 2, 1, 4]), Some(47)),
        (record(22, 0x0303, &[20, 0, 0, 0]), Some(10)),
        (record(99, 0x0303, b"?"), Some(50)),
        (warnings, Some(10)),
        (record(21, 0x0303, &[2, 40]), None),
    ] {
        let Shook { failure, received, .. } = shaken_from(pair::tls12_settings(), &hello().wire(), &wire).await;
        let mut rest = &received[..];
        let mut alerts = Vec::new();
        while let Some((header, behind)) = rest.split_at_checked(5) {
            let (content, behind) = behind.split_at(usize::from(u16::from_be_bytes([header[3], header[4]])));
            alerts.extend((header[0] == 21).then(|| content.to_vec()));
            rest = behind;
        }
        assert_eq!(alerts, alert.map(|code| vec![2, code]).into_iter().collect::<Vec<_>>(), "{failure}");
    }
}

#[tokio::test]
async fn rfc8446_5_nothing_is_said_in_the_clear_behind_a_server_hello_of_tls13() {
    let share = [&[0, 36, 0, 0x1d, 0, 32][..], &[9; 32]].concat();
    let hello = Forged::tls12(&[0x1301]).with_versions(&[0x0304]).with(51, share);
    for wire in [
        record(99, 0x0303, b"?"),
        record(22, 0x0303, &[20, 0, 0, 0]),
        record(22, 0x0303, &[16, 0, 0, 1, 0]),
        record(20, 0x0303, &[2]),
        record(20, 0x0303, &[1]).repeat(40),
        record(21, 0x0303, &[1, 90]).repeat(8),
        record(21, 0x0303, &[2, 40]),
        record(23, 0x0303, b"data"),
        record(23, 0x0303, &[0; 40]),
        record(24, 0x0303, &[1]),
        vec![23, 3, 3, 0xff, 0xff, 0],
    ] {
        let Shook { received, failure, .. } = shaken_from(pair::tls13_settings(), &hello.wire(), &wire).await;
        let mut kinds = Vec::new();
        let mut rest = &received[..];
        while let Some((header, behind)) = rest.split_at_checked(5) {
            kinds.push(header[0]);
            rest = &behind[usize::from(u16::from_be_bytes([header[3], header[4]]))..];
        }
        kinds.dedup();
        assert_eq!(kinds, [22, 20, 23], "{failure}");
    }
}

const GREETING: &[u8] = b"* OK ready\r\n";

/// What a client of a handshake with a greeting has been told when it has read our first flight, and our second. It says
/// nothing behind its own last words.
async fn told(settings: &Arc<ServerConfig>, client: ClientConfig) -> [Vec<u8>; 2] {
    let mut client = ClientConnection::new(Arc::new(client), "mail.example.com".try_into().unwrap()).unwrap();
    let (mut theirs, mut ours) = duplex(1 << 17);
    let shaking = async {
        let mut wire = BytesMut::new();
        client_hello::read(&mut ours, &mut wire, &mut None).await.unwrap();
        shake(&mut ours, settings, wire, &mut GREETING.into()).await.unwrap();
        drop(ours); // tickets are not waited for
    };
    let talking = async {
        let mut told = [Vec::new(), Vec::new()];
        for told in &mut told {
            let mut out = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut out).unwrap();
            }
            theirs.write_all(&out).await.unwrap();
            let mut wire = BytesMut::with_capacity(1 << 14); // for all that is there
            theirs.read_buf(&mut wire).await.unwrap();
            let mut wire = &wire[..];
            while !wire.is_empty() {
                client.read_tls(&mut wire).unwrap();
                client.process_new_packets().unwrap();
            }
            let _ = client.reader().read_to_end(told); // WouldBlock, with what there was
        }
        told
    };
    tokio::join!(shaking, talking).1
}

#[tokio::test]
async fn rfc8446_4_4_4_a_client_is_greeted_with_our_finished() {
    for suite in pair::SUITES {
        let tls13 = pair::is_tls13(suite);
        let settings = if tls13 { pair::tls13_settings() } else { pair::tls12_settings() };
        let flights = told(settings, pair::client(suite)).await;
        let nothing = Vec::new();
        let greeting = GREETING.to_vec();
        assert_eq!(flights, if tls13 { [greeting, nothing] } else { [nothing, greeting] }, "{suite:?}");
    }
}

#[tokio::test]
async fn rfc8446_4_4_4_who_is_asked_for_a_certificate_is_greeted_behind_it() {
    let ca = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(ca.path(), &pair::certificates().ecdsa.chain).unwrap();
    let asked = Asked::Request { ca: ca.path().to_path_buf() };
    let flights = told(pair::asking(asked).settings(0x0304), pair::client(pair::TLS13)).await;
    assert_eq!(flights, [Vec::new(), GREETING.to_vec()]);
}

/// The client says nothing behind its hello, and has room for our flight or not.
#[tokio::test]
async fn a_greeting_counts_as_said_when_it_was_written() {
    let share = [&[0, 36, 0, 0x1d, 0, 32][..], &[9; 32]].concat();
    let hello = Forged::tls12(&[0x1301]).with_versions(&[0x0304]).with(51, share).wire();
    for (room, left) in [(1 << 14, 0), (64, GREETING.len())] {
        let (_client, mut ours) = duplex(room);
        let mut greeting = GREETING.into();
        let mut shaking = Box::pin(shake(&mut ours, pair::tls13_settings(), BytesMut::from(&hello[..]), &mut greeting));
        assert!(poll_fn(|cx| Poll::Ready(shaking.as_mut().poll(cx).is_pending())).await);
        drop(shaking);
        assert_eq!(greeting.len(), left, "room for {room}");
    }
}

/// Content for records of a handshake, honest or not.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let client_key_exchange = [&[16, 0, 0, 33, 32][..], &[9; 32]].concat();
    let whole = prop::sample::select(vec![hello().message(), client_key_exchange, vec![1], vec![1, 90], vec![0; 4]]);
    (prop::collection::vec(whole, 0..3), any::<prop::sample::Index>(), any::<prop::sample::Index>()).prop_map(
        |(messages, from, to)| {
            let all = messages.concat();
            let (from, to) = (from.index(all.len() + 1), to.index(all.len() + 1));
            all[from.min(to)..from.max(to)].to_vec()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_records_make_anything_panic(
        tls13 in any::<bool>(),
        behind in content(),
        records in prop::collection::vec((20_u8..=24, content()), 0..6),
    ) {
        let share = [&[0, 36, 0, 0x1d, 0, 32][..], &[9; 32]].concat();
        let (hello, settings) = if tls13 {
            let hello = Forged::tls12(&[0x1301]).with_versions(&[0x0304]).with(51, share);
            (hello, pair::tls13_settings())
        } else {
            (hello(), pair::tls12_settings())
        };
        let first = record(22, 0x0301, &[hello.message(), behind].concat());
        let wire: Vec<u8> = records.iter().flat_map(|(kind, content)| record(*kind, 0x0303, content)).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let shook = runtime.block_on(shaken_from(settings, &first, &wire));
        prop_assert!(shook.received.len() < 8192, "{}", shook.failure);
    }
}
