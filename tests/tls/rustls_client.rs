//! `rustls` as the client: post-quantum groups, odd records, and how a connection ends.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustls::crypto::SupportedKxGroup;
use rustls::crypto::aws_lc_rs::kx_group::{SECP256R1, SECP384R1, X25519, X25519MLKEM768};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, NamedGroup};
use sealgate::facts::{Group, TlsVersion};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, duplex};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::support::{Client, Gate, Trickle, name, pair};

#[tokio::test]
async fn the_hybrid_group_is_chosen_wherever_the_client_has_it() {
    let pair = pair();
    let mut gate = Gate::new(&[&pair.ecdsa]).await;
    let cases: [(&[&'static dyn SupportedKxGroup], Group, HandshakeKind); 5] = [
        (&[X25519MLKEM768, X25519], Group::X25519MlKem768, HandshakeKind::Full),
        // Named last and without a key share: asked for by a HelloRetryRequest.
        (&[SECP256R1, X25519, X25519MLKEM768], Group::X25519MlKem768, HandshakeKind::FullWithHelloRetryRequest),
        (&[X25519, SECP256R1], Group::X25519, HandshakeKind::Full),
        (&[SECP256R1, X25519], Group::Secp256r1, HandshakeKind::Full),
        (&[SECP384R1], Group::Secp384r1, HandshakeKind::Full),
    ];
    for (groups, group, kind) in cases {
        let says = gate.connect(&Client::new(&[&pair.ecdsa], &[&TLS13, &TLS12], groups)).await.unwrap();
        let facts = gate.session().await.facts();
        assert_eq!((facts.group, says.kind), (group, kind), "{groups:?}");
        assert_eq!(facts.group.is_post_quantum(), says.group == Some(NamedGroup::X25519MLKEM768));
        assert_eq!(facts.version, TlsVersion::Tls13);
        assert!(facts.signature.is_some(), "a signature after a retry, too");
    }
}

#[tokio::test]
async fn tls12_takes_a_classical_group_from_a_client_that_has_the_hybrid() {
    let pair = pair();
    let mut gate = Gate::new(&[&pair.ecdsa]).await;
    gate.connect(&Client::new(&[&pair.ecdsa], &[&TLS12], &[X25519MLKEM768, SECP384R1])).await.unwrap();
    let facts = gate.session().await.facts();
    assert_eq!((facts.version, facts.group), (TlsVersion::Tls12, Group::Secp384r1));
}

#[tokio::test]
async fn the_certificate_is_the_one_that_was_configured() {
    let pair = pair();
    let gate = Gate::new(&[&pair.rsa]).await;
    let says = gate.connect(&Client::new(&[&pair.rsa], &[&TLS13], &[X25519])).await.unwrap();
    assert_eq!(says.certificate, CertificateDer::from_pem_slice(pair.rsa.chain.as_bytes()).unwrap());
}

#[tokio::test]
async fn a_handshake_may_come_octet_by_octet_in_small_records() {
    let pair = pair();
    let gate = Gate::new(&[&pair.ecdsa]).await;
    for version in [&TLS12, &TLS13] {
        for record in [None, Some(32), Some(100)] {
            let client = Client::with(&[&pair.ecdsa], &[version], &[X25519MLKEM768, X25519], |config| {
                config.max_fragment_size = record;
            });
            let (theirs, ours) = duplex(1 << 16);
            let accepting =
                tokio::spawn(gate.server.accept(Trickle(ours), "smtp", Bytes::new(), Duration::from_secs(60)));
            let connector = TlsConnector::from(Arc::clone(&client.0));
            let mut theirs = connector.connect(name(), theirs).await.unwrap();
            // Octets that follow the handshake at once belong to the stream.
            theirs.write_all(b"EHLO x\r\n").await.unwrap();
            theirs.flush().await.unwrap();
            let (mut stream, facts) = accepting.await.unwrap().unwrap();
            let mut line = [0; 8];
            stream.read_exact(&mut line).await.unwrap();
            assert_eq!(&line, b"EHLO x\r\n");
            assert!(!facts.resumed());
        }
    }
}

#[tokio::test]
async fn rfc8446_6_1_an_end_without_close_notify_is_told_from_one_with_it() {
    let pair = pair();
    let mut gate = Gate::new(&[&pair.ecdsa]).await;
    for version in [&TLS12, &TLS13] {
        let client = Client::new(&[&pair.ecdsa], &[version], &[X25519]);
        for clean in [true, false] {
            let stream = TcpStream::connect(gate.address).await.unwrap();
            let mut stream = TlsConnector::from(Arc::clone(&client.0)).connect(name(), stream).await.unwrap();
            let mut greeting = [0; 11];
            stream.read_exact(&mut greeting).await.unwrap();
            stream.write_all(b"DATA").await.unwrap();
            stream.flush().await.unwrap();
            if clean {
                stream.shutdown().await.unwrap();
                // Ours comes back.
                assert_eq!(stream.read(&mut greeting).await.unwrap(), 0);
            } else {
                stream.get_mut().0.shutdown().await.unwrap(); // the socket's end alone
            }
            let session = gate.session().await;
            assert_eq!(session.received, b"DATA");
            let end = session.end.as_ref().err().map(io::Error::kind);
            assert_eq!(end, (!clean).then_some(io::ErrorKind::UnexpectedEof));
        }
    }
}

#[tokio::test]
async fn much_data_passes_both_ways_also_in_vectored_writes() {
    let pair = pair();
    let gate = Gate::new(&[&pair.ecdsa]).await;
    let client = Client::new(&[&pair.ecdsa], &[&TLS13], &[X25519]);
    let (theirs, ours) = duplex(1000);
    let accepting = tokio::spawn(gate.server.accept(ours, "smtp", Bytes::new(), Duration::from_secs(60)));
    let theirs = TlsConnector::from(Arc::clone(&client.0)).connect(name(), theirs).await.unwrap();
    let (stream, _) = accepting.await.unwrap().unwrap();
    let sent: Vec<u8> = (0..1_000_000_u32).map(|n| n.to_le_bytes()[(n % 3) as usize]).collect();

    let (mut their_read, mut their_write) = tokio::io::split(theirs);
    let (mut our_read, mut our_write) = tokio::io::split(stream);
    assert!(our_write.is_write_vectored());
    let (upload, download) = (sent.clone(), sent.clone());
    let up = tokio::spawn(async move {
        their_write.write_all(&upload).await.unwrap();
        their_write.shutdown().await.unwrap();
    });
    let down = tokio::spawn(async move {
        let mut rest = download.as_slice();
        while !rest.is_empty() {
            let (one, two) = rest.split_at(rest.len().min(5));
            let n = our_write.write_vectored(&[io::IoSlice::new(one), io::IoSlice::new(two)]).await.unwrap();
            rest = &rest[n..];
        }
        our_write.shutdown().await.unwrap();
    });
    let (mut received_up, mut received_down) = (Vec::new(), Vec::new());
    let (a, b) = tokio::join!(our_read.read_to_end(&mut received_up), their_read.read_to_end(&mut received_down));
    a.unwrap();
    b.unwrap();
    up.await.unwrap();
    down.await.unwrap();
    assert!(received_up == sent && received_down == sent);
}
