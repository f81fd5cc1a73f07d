//! TLS 1.3 resumes with a key exchange of its own; TLS 1.2 never does.

use rustls::HandshakeKind;
use rustls::client::{Resumption, Tls12Resumption};
use rustls::crypto::aws_lc_rs::kx_group::{SECP256R1, X25519, X25519MLKEM768};
use rustls::version::{TLS12, TLS13};
use sealgate::facts::{Group, TlsVersion};
use sealgate::tls::Certificate;

use crate::support::{Client, Gate, pair};

#[tokio::test]
async fn tls13_resumes_with_a_fresh_group_and_no_signature() {
    let pair = pair();
    let mut gate = Gate::new(&[&pair.ecdsa]).await;
    for (groups, group) in [
        (&[X25519MLKEM768, X25519][..], Group::X25519MlKem768),
        (&[X25519], Group::X25519),
        (&[SECP256R1], Group::Secp256r1),
    ] {
        let client = Client::new(&[&pair.ecdsa], &[&TLS13], groups);
        for expected in [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed] {
            let says = gate.connect(&client).await.unwrap();
            let facts = gate.session().await.facts();
            assert_eq!(says.kind, expected);
            assert_eq!(facts.resumed(), expected == HandshakeKind::Resumed);
            assert_eq!(facts.group, group);
            assert_eq!(facts.sni.as_deref(), Some("mail.example.com"), "in a resumption, too");
        }
    }
}

#[tokio::test]
async fn a_rolled_ticket_key_is_good_for_one_more_period() {
    let pair = pair();
    let mut gate = Gate::new(&[&pair.ecdsa]).await;
    for (rolls, expected) in [(1, HandshakeKind::Resumed), (2, HandshakeKind::Full)] {
        let client = Client::new(&[&pair.ecdsa], &[&TLS13], &[X25519]);
        assert_eq!(gate.connect(&client).await.unwrap().kind, HandshakeKind::Full);
        assert!(!gate.session().await.facts().resumed());
        for _ in 0..rolls {
            gate.server.roll_ticket_keys();
        }
        assert_eq!(gate.connect(&client).await.unwrap().kind, expected, "{rolls} rolls");
        assert_eq!(gate.session().await.facts().resumed(), rolls == 1);
    }
}

#[tokio::test]
async fn tls12_never_resumes_neither_by_ticket_nor_by_session_id() {
    let pair = pair();
    let mut gate = Gate::new(&[&pair.ecdsa]).await;
    for how in [Tls12Resumption::SessionIdOnly, Tls12Resumption::SessionIdOrTickets] {
        let client = Client::with(&[&pair.ecdsa], &[&TLS12], &[X25519], |config| {
            config.resumption = Resumption::in_memory_sessions(16).tls12_resumption(how);
        });
        for _ in 0..3 {
            assert_eq!(gate.connect(&client).await.unwrap().kind, HandshakeKind::Full);
            let facts = gate.session().await.facts();
            assert_eq!((facts.version, facts.resumed()), (TlsVersion::Tls12, false));
        }
    }
}

#[tokio::test]
async fn openssl_finds_no_tls12_session_to_resume() {
    let pair = pair();
    let mut gate = Gate::new(&[&pair.ecdsa]).await;
    for arguments in ["-tls1_2 -reconnect", "-tls1_2 -reconnect -no_ticket"] {
        let output = gate.openssl(arguments).await;
        assert_eq!(output.matches("New, TLSv1.2, Cipher is ECDHE-ECDSA-AES256-GCM-SHA384").count(), 6, "{output}");
        assert!(!output.contains("Reused") && !output.contains("TLS session ticket:"), "{output}");
        for _ in 0..6 {
            assert!(!gate.session().await.facts().resumed());
        }
    }
}

#[tokio::test]
async fn sessions_resume_across_a_renewal_and_new_ones_see_the_new_certificate() {
    let (old, new) = (pair(), pair());
    let mut gate = Gate::new(&[&old.ecdsa]).await;
    let client = Client::new(&[&old.ecdsa, &new.ecdsa], &[&TLS13], &[X25519]);
    assert_eq!(gate.connect(&client).await.unwrap().kind, HandshakeKind::Full);
    assert!(gate.server.renew(Vec::new()).is_err(), "a gate without a certificate");
    gate.server.renew(vec![Certificate::try_from(&new.ecdsa).unwrap()]).unwrap();
    assert_eq!(gate.connect(&client).await.unwrap().kind, HandshakeKind::Resumed);
    for versions in [&[&TLS13], &[&TLS12]] {
        let stranger = Client::new(&[&new.ecdsa], versions, &[X25519]);
        assert_eq!(gate.connect(&stranger).await.unwrap().kind, HandshakeKind::Full, "the new one alone is trusted");
    }
    for resumed in [false, true, false, false] {
        assert_eq!(gate.session().await.facts().resumed(), resumed);
    }
}
