//! What a client may send while it shakes hands.

use tokio::io::duplex;

use super::super::forge::{Forged, record};
use super::super::pair;
use super::*;

/// Shakes hands in TLS 1.2 with a client that sends `wire` behind its ClientHello, as long as anybody reads; says what
/// came of it and how much of that was read.
async fn shaken(wire: &[u8]) -> (Failure, usize) {
    let hello = Forged::tls12(&[0xc02f]).wire();
    let (mut client, mut ours) = duplex(1 << 10);
    let (mut replies, mut writer) = tokio::io::split(&mut client);
    let sending = async {
        let mut sent = 0;
        for chunk in wire.chunks(64) {
            if writer.write_all(chunk).await.is_err() {
                break;
            }
            sent += chunk.len();
        }
        sent
    };
    let shaking = async {
        let failure = shake(&mut ours, pair::tls12_settings(), BytesMut::from(&hello[..])).await.err().unwrap();
        drop(ours);
        failure
    };
    let reading = async { tokio::io::copy(&mut replies, &mut tokio::io::sink()).await };
    let (failure, sent, _) = tokio::join!(shaking, sending, reading);
    (failure, sent)
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
