//! The server against offers that no client program here can make. Real clients are in `tests/tls/`.

use tls_parser::TlsCipherSuite;
use tokio::io::{DuplexStream, duplex};
use tokio::net::TcpStream;

use super::forge::{self, Forged};
use super::self_signed::self_signed;
use super::*;
use crate::config::{ClientCertificates as Asked, Policy};
use crate::facts::{Outcome, TlsVersion};
use crate::session_log::Offered;

const DEADLINE: Duration = Duration::from_secs(20);
const ECDHE_RSA: u16 = 0xc02f;
/// RFC 7507: no suite, although it stands among them.
const FALLBACK: u16 = 0x5600;

const HANDSHAKE_FAILURE: u8 = 40;
const PROTOCOL_VERSION: u8 = 70;
const NO_APPLICATION_PROTOCOL: u8 = 120;

fn server(policy: Policy) -> Server {
    server_with(policy, Some(Duration::from_secs(3600)))
}

fn server_with(policy: Policy, ticket_rotation: Option<Duration>) -> Server {
    let settings = config::Tls { policy, certificates: Vec::new(), client_certificates: Asked::None, ticket_rotation };
    let pair = self_signed("mail.example.com").unwrap();
    Server::new(&settings, vec![(&pair.ecdsa).try_into().unwrap(), (&pair.rsa).try_into().unwrap()]).unwrap()
}

/// What becomes of a client that sends `wire` and then waits: the error, and what it is sent.
async fn refused(server: &Server, wire: &[u8]) -> (HandshakeError, Vec<u8>) {
    let (mut client, ours) = duplex(1 << 17);
    client.write_all(wire).await.unwrap();
    let client = tokio::spawn(async move {
        let mut received = Vec::new();
        client.read_to_end(&mut received).await.unwrap();
        received
    });
    let error = server.accept(ours, "smtp", Bytes::new(), DEADLINE).await.map(|(_, facts)| facts).unwrap_err();
    (error, client.await.unwrap())
}

async fn assert_refused(server: &Server, hello: &Forged, phrase: &str, alert: u8) -> Offered {
    let (error, received) = refused(server, &hello.wire()).await;
    assert_eq!(error.reason.phrase, phrase, "{error}");
    match received.as_slice() {
        [21, 3, _, 0, 2, 2, code] => assert_eq!(*code, alert, "{phrase}"),
        other => panic!("{phrase}: not one fatal alert: {other:02x?}"),
    }
    Offered::clone(&error.offered.unwrap())
}

#[tokio::test]
async fn versions_before_tls12_get_protocol_version() {
    let server = server(Policy::Intermediate);
    let cbc = [0xc013, 0x002f, 0x000a];
    for (hello, versions) in [
        (Forged::bare(0x0300, &cbc), &["SSLv3"][..]),
        (Forged::bare(0x0301, &cbc), &["TLSv1"]),
        (Forged::bare(0x0302, &cbc), &["TLSv1.1"]),
        (Forged::tls12(&[ECDHE_RSA]).with_versions(&[0x0302, 0x0301]), &["TLSv1.1", "TLSv1"]),
    ] {
        let offered =
            assert_refused(&server, &hello, "client offered no supported TLS version", PROTOCOL_VERSION).await;
        assert_eq!(offered.versions, versions);
    }
}

#[tokio::test]
async fn rfc7507_a_client_that_fell_back_is_told_so() {
    let (server, phrase) = (server(Policy::Intermediate), "client fell back to an older TLS version");
    for suites in [[ECDHE_RSA, FALLBACK], [FALLBACK, ECDHE_RSA], [0x009c, FALLBACK]] {
        assert_refused(&server, &Forged::tls12(&suites), phrase, 86).await;
    }
    // §3: a version that there is not comes first; and what is no fallback is none.
    let older = Forged::bare(0x0302, &[0xc013, FALLBACK]);
    assert_refused(&server, &older, "client offered no supported TLS version", PROTOCOL_VERSION).await;
    let hello = Forged::tls12(&[FALLBACK, 0x1301]).with_versions(&[0x0304, 0x0303]);
    assert_refused(&server, &hello, "no common group", HANDSHAKE_FAILURE).await; // without a key share
}

#[tokio::test]
async fn rfc5746_3_6_a_hello_that_was_meant_for_another_session_is_refused() {
    const RENEGOTIATION_INFO: u16 = 0xff01;
    let server = server(Policy::Intermediate);
    let hello = |info: &[u8]| Forged::tls12(&[ECDHE_RSA]).with(RENEGOTIATION_INFO, info.to_vec());
    let verify_data = [&[12][..], &[7; 12]].concat();
    assert_refused(&server, &hello(&verify_data), "TLS protocol violation", HANDSHAKE_FAILURE).await;
    // An empty one is a beginning, and answered by an empty one.
    let (mut client, ours) = duplex(1 << 14);
    client.write_all(&hello(&[0]).wire()).await.unwrap();
    let accepting = tokio::spawn(server.accept(ours, "smtp", Bytes::new(), DEADLINE));
    let answer = server_hello(&mut client).await;
    assert!(answer.ends_with(&[0xff, 1, 0, 1, 0]), "{answer:02x?}");
    accepting.abort();
}

#[tokio::test]
async fn policy_modern_refuses_tls12() {
    let hello = Forged::tls12(&[ECDHE_RSA]);
    let phrase = "client offered no supported TLS version";
    let offered = assert_refused(&server(Policy::Modern), &hello, phrase, PROTOCOL_VERSION).await;
    assert_eq!(offered.versions, ["TLSv1.2"]);
    assert_eq!(offered.suites, ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]);
}

#[tokio::test]
async fn every_suite_that_is_not_ecdhe_with_an_aead_is_refused() {
    let server = server(Policy::Intermediate);
    let ours = |code| policy::suite(rustls::CipherSuite::from(code)).is_some();
    let others: Vec<u16> = (0..=u16::MAX)
        .filter(|code| TlsCipherSuite::from_id(*code).is_some() && !ours(*code) && *code != FALLBACK)
        .collect();
    assert!(others.len() > 300, "the registry is not there");
    // Among them, one of each kind: static RSA, anonymous, NULL, EXPORT, RC4, 3DES, CBC, finite-field DHE.
    for known in
        [0x009c, 0x00a6, 0xc018, 0x0002, 0xc010, 0x0003, 0x0005, 0xc011, 0x000a, 0xc012, 0xc013, 0xc028, 0x009e]
    {
        assert!(others.contains(&known), "{known:#06x}");
    }
    for suite in &others {
        let hello = Forged::tls12(&[*suite, 0x00ff]);
        let offered = assert_refused(&server, &hello, "no common cipher suite", HANDSHAKE_FAILURE).await;
        assert_eq!(offered.suites[0], TlsCipherSuite::from_id(*suite).unwrap().name);
    }
    assert_refused(&server, &Forged::tls12(&others), "no common cipher suite", HANDSHAKE_FAILURE).await;
    // A client of static RSA has no use for groups; the suites are still what is said.
    let bare = Forged::bare(0x0303, &[0x009c]).with_list(forge::SIGNATURES, &[0x0401]);
    assert_refused(&server, &bare, "no common cipher suite", HANDSHAKE_FAILURE).await;
    let tls13 = Forged::tls12(&[0xc02f]).with_versions(&[0x0304]);
    assert_refused(&server, &tls13, "no common cipher suite", HANDSHAKE_FAILURE).await;
}

#[tokio::test]
async fn what_else_is_not_in_common_is_named() {
    let server = server(Policy::Intermediate);
    let hello = Forged::tls12(&[ECDHE_RSA, 0x1301]);
    let tls13 = hello.clone().with_versions(&[0x0304]);
    for (hello, phrase, alert) in [
        (hello.clone().with_list(forge::GROUPS, &[0x0019, 0x0100]), "no common group", HANDSHAKE_FAILURE),
        (
            hello.clone().with_list(forge::SIGNATURES, &[0x0201, 0x0203]),
            "no common signature scheme",
            HANDSHAKE_FAILURE,
        ),
        (
            Forged::bare(0x0303, &[ECDHE_RSA]).with_list(forge::GROUPS, &[0x001d]),
            "no common signature scheme",
            HANDSHAKE_FAILURE,
        ),
        (hello.clone().with_alpn(&["http/1.1", "imap"]), "wrong ALPN", NO_APPLICATION_PROTOCOL),
        (tls13.clone(), "no common group", HANDSHAKE_FAILURE), // without a key share
        (tls13.with_list(forge::GROUPS, &[0x001e]), "no common group", HANDSHAKE_FAILURE),
        (Forged { compressions: vec![1], ..hello }, "incompatible TLS client", 47),
    ] {
        assert_refused(&server, &hello, phrase, alert).await;
    }
}

#[tokio::test]
async fn what_a_refused_client_offered_is_told_whole() {
    let hello =
        Forged::tls12(&[0x009c]).with_versions(&[0x0303, 0x0302]).with_sni(b"mail.example.com").with_alpn(&["smtp"]);
    let offered = assert_refused(&server(Policy::Intermediate), &hello, "no common cipher suite", 40).await;
    let strings = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let expected = Offered {
        versions: strings(&["TLSv1.2", "TLSv1.1"]),
        suites: strings(&["TLS_RSA_WITH_AES_128_GCM_SHA256"]),
        groups: strings(&["x25519", "secp256r1"]),
        signatures: strings(&["ecdsa_secp256r1_sha256", "rsa_pss_rsae_sha256", "rsa_pkcs1_sha256"]),
        sni: Some(String::from("mail.example.com")),
        alpn: strings(&["smtp"]),
    };
    assert_eq!(offered, expected);
}

#[tokio::test]
async fn what_is_no_tls_gets_an_alert_only_if_it_may_understand_one() {
    let server = server(Policy::Intermediate);
    let ssl2 = [0x80, 0x2e, 1, 0, 2, 0, 21, 0, 0, 0, 16, 7, 0, 0xc0];
    let cases: [(&[u8], &str, Outcome, &[u8]); 5] = [
        (b"GET / HTTP/1.1\r\nHost: mail\r\n\r\n", "not TLS: HTTP request", Outcome::ClientError, b""),
        (b"EHLO client.example\r\n", "not TLS: cleartext", Outcome::ClientError, b""),
        (&[0; 64], "not TLS: unknown protocol", Outcome::ClientError, b""),
        (&ssl2, "SSLv2 ClientHello", Outcome::Policy, &[21, 3, 1, 0, 2, 2, 70]),
        (
            &[22, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff],
            "ClientHello too large",
            Outcome::ClientError,
            &[21, 3, 1, 0, 2, 2, 50],
        ),
    ];
    for (wire, phrase, outcome, answer) in cases {
        let (error, received) = refused(&server, wire).await;
        assert_eq!((error.reason.phrase, error.reason.outcome), (phrase, outcome));
        assert_eq!(received, answer, "{phrase}");
        assert_eq!(error.offered, None);
    }
}

#[tokio::test]
async fn a_hello_may_come_in_any_records_and_octet_by_octet() {
    let server = server(Policy::Intermediate);
    let hello = Forged::tls12(&[ECDHE_RSA]);
    for (size, buffer) in [(1 << 14, 1), (1, 64), (7, 1), (50, 1 << 14)] {
        let (mut client, ours) = duplex(buffer);
        let wire = hello.records(size);
        let client = tokio::spawn(async move {
            client.write_all(&wire).await.unwrap();
            server_hello(&mut client).await
        });
        let accepting = tokio::spawn(server.accept(ours, "smtp", Bytes::new(), DEADLINE));
        assert_eq!(client.await.unwrap()[..2], [3, 3], "records of {size}, reads of {buffer}");
        let error = accepting.await.unwrap().map(|(_, facts)| facts).unwrap_err();
        assert_eq!(error.reason.phrase, "client closed during handshake");
    }
}

/// The ServerHello's version, random, session id and so on.
async fn server_hello(client: &mut DuplexStream) -> Vec<u8> {
    let mut header = [0; 9];
    client.read_exact(&mut header).await.unwrap();
    assert_eq!((header[0], header[5]), (22, 2), "not a ServerHello: {header:02x?}");
    let mut hello = vec![0; usize::from(header[8])];
    client.read_exact(&mut hello).await.unwrap();
    hello
}

#[tokio::test]
async fn rfc8446_4_1_3_a_tls12_hello_is_marked_where_tls13_is_spoken() {
    let (mut client, ours) = duplex(1 << 14);
    client.write_all(&Forged::tls12(&[ECDHE_RSA]).wire()).await.unwrap();
    let server = server(Policy::Intermediate);
    let accepting = tokio::spawn(server.accept(ours, "smtp", Bytes::new(), DEADLINE));
    let hello = server_hello(&mut client).await;
    assert_eq!(&hello[26..34], b"DOWNGRD\x01");
    assert_eq!(hello[34], 0, "a session id promises a resumption");
    accepting.abort();
}

/// The version of such a client, whether its tickets are taken, and how many it is given.
fn resumption(server: &Server, versions: &[u16], groups: &[u16]) -> (TlsVersion, bool, usize) {
    let hello = ClientHello { versions: versions.to_vec(), groups: groups.to_vec(), ..ClientHello::default() };
    let (version, config) = server.0.profiles[0].1.choose(&hello).unwrap();
    assert!(!config.session_storage.can_cache() && config.max_early_data_size == 0);
    (version, config.ticketer.enabled(), config.send_tls13_tickets)
}

#[test]
fn only_tls13_settings_resume() {
    let server = server(Policy::Intermediate);
    assert_eq!(resumption(&server, &[0x0303], &[0x11ec]), (TlsVersion::Tls12, false, 0));
    assert_eq!(resumption(&server, &[0x0304, 0x0303], &[0x001d]), (TlsVersion::Tls13, true, 1));
    assert_eq!(resumption(&server, &[0x0304, 0x0303], &[0x001d, 0x11ec]), (TlsVersion::Tls13, true, 1));
}

#[test]
fn without_tickets_no_settings_resume() {
    let server = server_with(Policy::Intermediate, None);
    for versions in [&[0x0303][..], &[0x0304]] {
        let (_, taken, given) = resumption(&server, versions, &[0x001d, 0x11ec]);
        assert_eq!((taken, given), (false, 0));
    }
    server.roll_ticket_keys(); // none
}

#[test]
fn every_service_has_its_settings() {
    let server = server(Policy::Intermediate);
    for service in SERVICES {
        assert_eq!(server.0.profiles.iter().filter(|(alpn, _)| *alpn == service.alpn).count(), 1, "{service:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_tells_how_far_the_client_came() {
    let server = server(Policy::Intermediate);
    let hello = Forged::tls12(&[ECDHE_RSA]).wire();
    for (sent, phrase, offered) in [
        (&b""[..], "no ClientHello in time", false),
        (&hello[..20], "no ClientHello in time", false),
        (&hello, "TLS handshake timed out", true),
    ] {
        let (mut client, ours) = duplex(1 << 14);
        client.write_all(sent).await.unwrap();
        let error = server.accept(ours, "smtp", Bytes::new(), DEADLINE).await.map(|(_, facts)| facts).unwrap_err();
        assert_eq!((error.reason.outcome, error.reason.phrase), (Outcome::Timeout, phrase));
        assert_eq!(error.offered.is_some(), offered);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_client_that_does_not_go_is_left_after_a_second() {
    let (mut client, ours) = duplex(1 << 14);
    client.write_all(&Forged::tls12(&[0x009c]).wire()).await.unwrap();
    let began = tokio::time::Instant::now();
    assert!(server(Policy::Intermediate).accept(ours, "smtp", Bytes::new(), DEADLINE).await.is_err());
    assert_eq!(began.elapsed().as_secs(), 1);
}

#[tokio::test]
async fn a_refused_client_may_finish_what_it_is_sending_and_then_read_its_alert() {
    let (mut client, ours) = duplex(1 << 12);
    let hello = Forged::tls12(&[0x009c]).wire();
    let client = tokio::spawn(async move {
        client.write_all(&[&hello[..], &[0; 30_000]].concat()).await?;
        let mut received = Vec::new();
        client.read_to_end(&mut received).await.map(|_| received)
    });
    assert!(server(Policy::Intermediate).accept(ours, "smtp", Bytes::new(), DEADLINE).await.is_err());
    assert_eq!(client.await.unwrap().unwrap(), [21, 3, 3, 0, 2, 2, HANDSHAKE_FAILURE]);
}

#[tokio::test]
async fn a_protocol_name_without_a_service_is_refused() {
    let (mut client, ours) = duplex(1 << 14);
    client.write_all(&Forged::tls12(&[ECDHE_RSA]).wire()).await.unwrap();
    let error = server(Policy::Intermediate)
        .accept(ours, "pop3", Bytes::new(), DEADLINE)
        .await
        .map(|(_, facts)| facts)
        .unwrap_err();
    assert_eq!(error.reason.phrase, "no TLS settings for this service");
}

#[test]
fn setup_says_what_is_missing() {
    let settings = |client_certificates| config::Tls {
        policy: Policy::Modern,
        certificates: Vec::new(),
        client_certificates,
        ticket_rotation: Some(Duration::from_secs(3600)),
    };
    let error = Server::new(&settings(Asked::None), Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "there is no certificate; add a [[tls.certificate]] with `chain` and `key`");
    let error = Server::new(&settings(Asked::Request { ca: "/nonexistent".into() }), Vec::new()).unwrap_err();
    assert!(error.to_string().starts_with("tls.client_ca: /nonexistent cannot be read"), "{error}");
}

/// Ten thousand clients that send no whole ClientHello hold one of these each.
#[test]
fn a_handshake_before_its_hello_is_small() {
    let server = server(Policy::Intermediate);
    let size = size_of_val(&server.0.handshake(duplex(1).1, "smtp", &mut Bytes::new(), &mut Progress::default()));
    assert!(size <= 1024, "{size} octets");
}

#[test]
fn a_handshake_costs_a_session_one_pointer() {
    let server = server(Policy::Intermediate);
    let stream = || duplex(1).1;
    println!(
        "the handshake's state {} octets, TlsFacts {}, HandshakeError {}",
        size_of_val(&server.0.handshake(stream(), "smtp", &mut Bytes::new(), &mut Progress::default())),
        size_of::<TlsFacts>(),
        size_of::<HandshakeError>(),
    );
    assert_eq!(size_of_val(&server.accept(stream(), "smtp", Bytes::new(), DEADLINE)), size_of::<usize>());
    assert_eq!(size_of::<Stream<TcpStream>>(), size_of::<usize>());
}
