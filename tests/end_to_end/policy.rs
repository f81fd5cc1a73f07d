//! What is refused, and how: weak TLS, AUTH in the wrong place, connections beyond the limit.

use std::io::Read;
use std::net::TcpStream;

use rustls::{ProtocolVersion, SupportedProtocolVersion};

use crate::support::base64;
use crate::support::clients::{Finished, Tls, run};
use crate::support::gate::{Gate, Setup, gate};
use crate::support::pki::{HOSTNAME, pki};
use crate::support::stack::{PASSWORD, stack};
use crate::support::wait::PATIENCE;
use crate::support::warden;
use crate::support::wire::{Offer, client_hello};

/// `openssl s_client` on a service.
fn s_client(gate: &Gate, service: &str, more: &[&str]) -> Finished {
    let target = gate.target(service);
    let address = format!("127.0.0.1:{}", target.port);
    let ca = pki().ca.to_str().expect("UTF-8");
    let mut args =
        vec!["s_client", "-connect", &address, "-CAfile", ca, "-verify_return_error", "-servername", HOSTNAME];
    if target.tls == Tls::Starttls {
        args.extend(["-starttls", if service == "imap" { "imap" } else { "smtp" }]);
    }
    args.extend(more);
    run("openssl", &args, b"")
}

#[test]
fn openssl_shows_a_forward_secret_session_on_every_service() {
    let (gate, _shown) = gate();
    for service in ["smtp", "submission", "submissions", "imap", "imaps"] {
        let modern = s_client(gate, service, &[]).success();
        assert!(modern.text().contains("New, TLSv1.3, Cipher is TLS_"), "{}", modern.story());
        assert!(modern.text().contains("Server Temp Key: X25519"), "{}", modern.story());
        assert!(modern.text().contains("Verification: OK"), "{}", modern.story());
        for (sigalgs, key) in [("ECDSA+SHA256", "ECDHE-ECDSA-"), ("RSA+SHA256", "ECDHE-RSA-")] {
            let old = s_client(gate, service, &["-tls1_2", "-sigalgs", sigalgs]).success();
            assert!(old.text().contains(&format!("New, TLSv1.2, Cipher is {key}")), "{}", old.story());
            assert!(old.text().lines().any(|line| line.ends_with("-GCM-SHA384")), "{}", old.story());
        }
    }
}

#[test]
fn weak_tls_is_refused_and_logged() {
    let (gate, _shown) = gate();
    // OpenSSL 3 still speaks all of these when it is told to forget its own limits.
    let cases: &[(&str, &[&str])] = &[
        ("TLS 1.0", &["-tls1", "-cipher", "ALL:@SECLEVEL=0"]),
        ("TLS 1.1", &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]),
        ("static RSA", &["-tls1_2", "-cipher", "kRSA:@SECLEVEL=0"]),
        ("static RSA with an AEAD", &["-tls1_2", "-cipher", "AES256-GCM-SHA384:@SECLEVEL=0"]),
        ("ECDHE with CBC", &["-tls1_2", "-cipher", "ECDHE-RSA-AES256-SHA384:ECDHE-RSA-AES128-SHA:@SECLEVEL=0"]),
        ("finite-field DHE", &["-tls1_2", "-cipher", "DHE-RSA-AES256-GCM-SHA384:@SECLEVEL=0"]),
        ("anonymous", &["-tls1_2", "-cipher", "aNULL:@SECLEVEL=0"]),
        ("no encryption", &["-tls1_2", "-cipher", "eNULL:@SECLEVEL=0"]),
    ];
    for (what, args) in cases {
        for service in ["smtp", "imaps"] {
            let log = gate.log.tail();
            let finished = s_client(gate, service, args);
            assert_ne!(finished.code, Some(0), "{what}: {}", finished.story());
            assert!(finished.err.contains("alert"), "{what}, a clear alert: {}", finished.story());
            assert!(finished.text().contains("Cipher is (NONE)"), "{what}: {}", finished.story());
            log.wait_for(&["outcome=policy", "offered_"]);
        }
    }
}

#[test]
fn alpaca_another_service_s_protocol_is_refused() {
    let (gate, _shown) = gate();
    for service in ["smtp", "imaps"] {
        for alpn in ["h2", "http/1.1", if service == "smtp" { "imap" } else { "smtp" }] {
            let finished = s_client(gate, service, &["-alpn", alpn]);
            assert_ne!(finished.code, Some(0), "{alpn}: {}", finished.story());
            assert!(finished.err.contains("alert no application protocol"), "{alpn}: {}", finished.story());
        }
    }
    let right = s_client(gate, "imaps", &["-alpn", "h2,imap"]).success();
    assert!(right.text().contains("ALPN protocol: imap"), "{}", right.story());
}

#[test]
fn the_modern_policy_refuses_tls_1_2() {
    let (stack, _shown) = stack();
    let gate =
        Setup::new().table("[tls]\npolicy = \"modern\"").listener("imaps", stack.dovecot.gated, "proxy-v2").start();
    s_client(&gate, "imaps", &["-tls1_3"]).success();
    assert_ne!(s_client(&gate, "imaps", &["-tls1_2"]).code, Some(0));
}

#[test]
fn openssl_resumes_tls_1_3_and_never_1_2() {
    let (gate, _shown) = gate();
    let dir = warden::directory("sessions");
    for (version, resumed) in [("-tls1_3", "Reused, TLSv1.3"), ("-tls1_2", "New, TLSv1.2")] {
        let file = dir.join(format!("session{version}"));
        let file = file.to_str().expect("UTF-8");
        // A ticket comes after the handshake: QUIT's answer makes the client read it.
        let first = run_quitting(gate, &[version, "-sess_out", file]);
        if !std::path::Path::new(file).exists() {
            assert_eq!(version, "-tls1_2", "no ticket came: {}", first.story());
            continue;
        }
        let second = run_quitting(gate, &[version, "-sess_in", file]);
        assert!(second.text().contains(resumed), "{}", second.story());
    }
}

/// A round trip is saved only if the greeting does not wait for the client's last words, which this client keeps to itself.
#[test]
fn rfc8446_4_4_4_where_tls_comes_first_a_client_is_greeted_before_its_finished() {
    let (gate, _shown) = gate();
    const VERSIONS: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
    let config = Offer { versions: Some(VERSIONS), ..Offer::default() }.config();
    let log = gate.log.tail();
    for (service, begins) in [("submissions", "220 "), ("imaps", "* OK ")] {
        let mut stream = TcpStream::connect(("127.0.0.1", gate.port(service))).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let name = HOSTNAME.try_into().expect("a name");
        let mut client = rustls::ClientConnection::new(config.clone(), name).expect("a connection");
        client.write_tls(&mut stream).expect("the ClientHello");
        let mut greeting = Vec::new();
        while !greeting.ends_with(b"\r\n") {
            assert_ne!(client.read_tls(&mut stream).expect("more of the greeting"), 0);
            client.process_new_packets().expect("records of ours");
            // WouldBlock, with what there was.
            let _ = client.reader().read_to_end(&mut greeting);
        }
        assert!(greeting.starts_with(begins.as_bytes()), "{}", String::from_utf8_lossy(&greeting));
        assert!(client.wants_write(), "its Finished is still here");
        let client_port = format!("client_port={} ", stream.local_addr().expect("an address").port());
        drop(stream);
        let sent = format!("bytes_out={} ", greeting.len());
        log.wait_for(&["event=ended", &client_port, "client closed during handshake", &sent]);
    }
}

fn run_quitting(gate: &Gate, more: &[&str]) -> Finished {
    let address = format!("127.0.0.1:{}", gate.port("submissions"));
    let args = [&["s_client", "-connect", &address, "-servername", HOSTNAME, "-ign_eof"], more].concat();
    run("openssl", &args, b"quit\r\n").success()
}

#[test]
fn auth_is_neither_offered_nor_taken_on_25() {
    let (gate, _shown) = gate();
    let (stack, _stack_shown) = stack();
    let response = base64(format!("\0{}\0{PASSWORD}", stack.user().name).as_bytes());
    let mut plain = gate.connect("smtp");
    plain.reply();
    let mut secured = gate.secured("smtp", &Offer::default().config());
    for wire in [&mut plain, &mut secured] {
        let ehlo = wire.say("EHLO client.example.org");
        assert!(!ehlo.lines.iter().any(|line| line.starts_with("AUTH")), "{ehlo:?}");
        for command in [format!("AUTH PLAIN {response}"), "AUTH LOGIN".to_owned()] {
            let refused = wire.say(&command);
            assert!((500..600).contains(&refused.code), "{command}: {refused:?}");
        }
        assert_eq!(wire.say("NOOP").code, 250);
    }
}

#[test]
fn rfc3207_4_submission_demands_starttls() {
    let (gate, _shown) = gate();
    let mut wire = gate.connect("submission");
    wire.reply();
    let ehlo = wire.say("EHLO client.example.org");
    assert!(ehlo.has("STARTTLS") && !ehlo.has("AUTH"), "{ehlo:?}");
    for command in ["AUTH PLAIN AGEAYg==", "MAIL FROM:<sender@example.net>", "RCPT TO:<u000@example.net>", "DATA"] {
        let refused = wire.say(command);
        let expected = (530, "5.7.0 Must issue a STARTTLS command first");
        assert_eq!((refused.code, refused.lines[0].as_str()), expected, "{command}");
    }
    for service in ["submission", "submissions"] {
        let mut wire = gate.secured(service, &Offer::default().config());
        let ehlo = wire.say("EHLO client.example.org");
        assert!(ehlo.has("AUTH") && !ehlo.has("STARTTLS"), "{ehlo:?}");
    }
}

#[test]
fn the_ehlo_before_and_after_tls_is_the_backend_s_own() {
    let (gate, _shown) = gate();
    let mut plain = gate.connect("smtp");
    plain.reply();
    let before = plain.say("EHLO client.example.org");
    let after = gate.secured("smtp", &Offer::default().config()).say("EHLO client.example.org");
    for ehlo in [&before, &after] {
        for keyword in ["PIPELINING", "SIZE", "ENHANCEDSTATUSCODES", "8BITMIME", "DSN", "SMTPUTF8", "CHUNKING"] {
            assert!(ehlo.has(keyword), "{keyword}: {ehlo:?}");
        }
        assert!(ehlo.lines.contains(&"SIZE 20480000".to_owned()), "{ehlo:?}");
        assert!(!ehlo.has("XCLIENT"), "{ehlo:?}");
    }
    assert!(before.has("STARTTLS") && !after.has("STARTTLS"));
}

#[test]
fn tls_on_a_cleartext_port_and_cleartext_on_a_tls_port_end_at_once() {
    let (gate, _shown) = gate();
    let hello = client_hello();
    let http = b"GET / HTTP/1.1\r\nHost: mail.example.net\r\n\r\n";
    for (service, bytes) in
        [("smtp", hello.as_slice()), ("imap", &hello), ("smtp", http), ("imap", http), ("imaps", http)]
    {
        let log = gate.log.tail();
        let mut wire = gate.connect(service);
        if service != "imaps" {
            wire.line().expect("a greeting");
        }
        wire.send(bytes);
        wire.rest();
        let what = if bytes == http { "HTTP" } else { "TLS" };
        log.wait_for(&[&format!("client_port={} ", wire.port), "reason=", what]);
    }
}

#[test]
fn beyond_the_limit_an_imap_client_is_told_so_in_its_own_words() {
    let (stack, _shown) = stack();
    let gate = Setup::new().listener_with("imap", stack.dovecot.gated, "proxy-v2", "max_connections = 1").start();
    let mut first = gate.connect("imap");
    first.line().expect("a greeting");
    let mut second = gate.connect("imap");
    let farewell = second.line().expect("a farewell");
    assert!(farewell.starts_with("* BYE ") && farewell.contains("too many connections"), "{farewell}");
    second.end();
}

#[test]
fn the_post_quantum_group_comes_first_and_the_server_s_order_wins() {
    let (gate, _shown) = gate();
    use rustls::NamedGroup as G;
    let groups = vec![G::secp256r1, G::X25519, G::X25519MLKEM768];
    let wire = gate.secured("imaps", &Offer { groups: Some(groups), ..Offer::default() }.config());
    let group = wire.tls_state().negotiated_key_exchange_group().expect("a group").name();
    assert_eq!(group, G::X25519MLKEM768);
    assert_eq!(wire.tls_state().protocol_version(), Some(ProtocolVersion::TLSv1_3));
}

#[test]
fn a_client_without_sni_or_with_a_foreign_one_is_served() {
    let (gate, _shown) = gate();
    let address = format!("127.0.0.1:{}", gate.port("imaps"));
    for name in [["-noservername", "-brief"], ["-servername", "other.example.org"]] {
        let args = [["s_client", "-connect", &address].as_slice(), &name].concat();
        run("openssl", &args, b"").success();
    }
}
