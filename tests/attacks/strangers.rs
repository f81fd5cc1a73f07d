//! What is no mail client, or one with something up its sleeve: closed at once, and logged once with what it was.

use crate::support::base64;
use crate::support::fake::{self, Fake};
use crate::support::gate::{Setup, gate};
use crate::support::logs::Log;
use crate::support::stack::{PASSWORD, stack};
use crate::support::wire::{Offer, Wire, client_hello};

/// The last record of the session of a client's port.
fn ended(log: &Log, port: u16, service: &str) -> String {
    log.wait_for(&["event=ended", &format!("service={service} "), &format!("client_port={port} ")])
}

/// A session's only record with a reason is its last one, and says that.
fn assert_refused_once(log: &Log, port: u16, service: &str, what: &[&str]) {
    let line = ended(log, port, service);
    assert!(what.iter().all(|part| line.contains(part)), "{what:?}: {line}");
    let session = line.split(' ').find(|field| field.starts_with("session=")).expect("a session").to_owned() + " ";
    let text = log.text();
    let reasons = text.lines().filter(|line| line.contains(&session) && line.contains("reason=")).count();
    assert_eq!(reasons, 1, "{what:?}: {text}");
}

/// Sends the octets, cut in two, behind the greeting if there is one; what the server still says.
fn answer(mut wire: Wire, greets: bool, octets: &[u8], cut: usize) -> String {
    if greets {
        wire.line().expect("a greeting");
    }
    let (first, second) = octets.split_at(cut);
    wire.send(first);
    if !second.is_empty() {
        // The server may have closed already.
        drop(wire.try_send(second));
    }
    wire.rest()
}

#[test]
fn other_protocols_on_every_port_end_at_once_and_are_named() {
    let (gate, _shown) = gate();
    let hello = client_hello();
    let http = b"GET / HTTP/1.1\r\nHost: mail.example.net\r\n\r\n".as_slice();
    let post = b"POST /?EHLO%20x HTTP/1.1\r\nContent-Type: text/plain\r\n\r\nEHLO x\r\nMAIL FROM:<a@b>\r\n".as_slice();
    let ssl2 = b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10\x07\x00\xc0".as_slice();
    let (tls, outcome) = ("reason=\"TLS handshake on a cleartext port\"", "outcome=client_error");
    let mut cases: Vec<(&str, &[u8], &str, &str)> = Vec::new();
    for service in ["smtp", "submission", "imap"] {
        let name = if service == "imap" { "an IMAP" } else { "an SMTP" };
        let http_here: &str = if name == "an IMAP" {
            "reason=\"HTTP request on an IMAP port\""
        } else {
            "reason=\"HTTP request on an SMTP port\""
        };
        cases.extend([(service, hello.as_slice(), tls, outcome)]);
        cases.extend(
            [http, post, b"CONNECT a:25 HTTP/1.1\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
                .map(|octets| (service, octets, http_here, outcome)),
        );
    }
    for service in ["submissions", "imaps"] {
        cases.extend([http, post].map(|octets| (service, octets, "reason=\"not TLS: HTTP request\"", outcome)));
        for cleartext in [b"EHLO client.example.org\r\n".as_slice(), b"a LOGIN u p\r\n", b"SSH-2.0-x\r\n"] {
            cases.push((service, cleartext, "reason=\"not TLS: cleartext\"", outcome));
        }
        cases.push((
            service,
            b"\x03\0\0\x13\x0e\xe0\0\0\0\0\0\x01\0\x08\0\x03\0\0\0",
            "not TLS: unknown protocol",
            outcome,
        ));
        cases.push((service, ssl2, "reason=\"SSLv2 ClientHello\"", "outcome=policy"));
    }
    for (service, octets, reason, outcome) in cases {
        for cut in [octets.len(), 1] {
            let log = gate.log.tail();
            let wire = gate.connect(service);
            let port = wire.port;
            let said = answer(wire, !service.ends_with('s'), octets, cut);
            assert!(said.lines().count() <= 1, "{service}, {reason}: {said}");
            assert!(!said.starts_with("250") && !said.contains(" OK"), "{service}, {reason}: {said}");
            assert_refused_once(&log, port, service, &[reason, outcome]);
        }
    }
}

#[test]
fn alpaca_the_wrong_protocol_is_a_refused_handshake_with_what_was_offered() {
    let (gate, _shown) = gate();
    for (service, alpn) in [("submissions", "imap"), ("imaps", "smtp"), ("imaps", "http/1.1"), ("submissions", "h2")] {
        let log = gate.log.tail();
        let mut config = (*crate::support::wire::Offer::default().config()).clone();
        config.alpn_protocols = vec![alpn.into()];
        let mut wire = gate.connect(service);
        let error = wire.try_tls(&config.into()).expect_err("no TLS");
        assert!(error.to_string().contains("NoApplicationProtocol"), "{service}, {alpn}: {error}");
        let what = ["outcome=policy", "\"wrong ALPN\"", &format!("offered_alpn={alpn}")];
        let port = wire.port;
        drop(wire);
        assert_refused_once(&log, port, service, &what);
    }
}

#[test]
fn cve_2011_0411_wherever_the_injected_octets_are_cut() {
    let (gate, _shown) = gate();
    for (service, before, command, injected) in [
        ("smtp", "EHLO client.example.org\r\n", "STARTTLS\r\n", "MAIL FROM:<a@example.net>\r\n"),
        ("submission", "", "STARTTLS\r\n", "RSET\r\nQUIT\r\n"),
        ("imap", "", "a STARTTLS\r\n", "b NOOP\r\nc LOGOUT\r\n"),
    ] {
        let all = format!("{command}{injected}");
        for cut in 1..all.len() {
            let mut wire = gate.connect(service);
            wire.line().expect("a greeting");
            if !before.is_empty() {
                wire.send(before);
                assert!(wire.reply().has("STARTTLS"));
            }
            let log = gate.log.tail();
            let port = wire.port;
            let said = answer(wire, false, all.as_bytes(), cut);
            let lines: Vec<&str> = said.lines().collect();
            if cut == command.len() {
                // Depending on when it came, STARTTLS was answered already; then there is no TLS, and nothing else.
                let one = ended(&log, port, service);
                assert!(one.contains("commands sent behind STARTTLS") || one.contains("not TLS: cleartext"), "{one}");
            } else {
                assert!(!said.contains("220 ") && !said.contains("a OK"), "{service} cut at {cut}: {said}");
                assert_refused_once(&log, port, service, &["outcome=policy", "\"commands sent behind STARTTLS\""]);
            }
            assert!(lines.len() <= 1, "{service} cut at {cut}: {said}");
            let obeyed = ["250 ", "221 ", "b OK", "* BYE mail"].iter().any(|answer| said.starts_with(answer));
            assert!(!obeyed, "{service} cut at {cut}: {said}");
        }
    }
}

#[test]
fn cve_2011_0411_commands_behind_starttls_are_refused() {
    let (gate, _shown) = gate();
    for (service, command, injected) in [
        ("smtp", "STARTTLS", "MAIL FROM:<admin@example.net>"),
        ("submission", "STARTTLS", "RSET"),
        ("imap", "a STARTTLS", "b CAPABILITY"),
    ] {
        let log = gate.log.tail();
        let mut wire = gate.connect(service);
        wire.line().expect("a greeting");
        if service != "imap" {
            wire.say("EHLO client.example.org");
        }
        wire.send(format!("{command}\r\n{injected}\r\n"));
        let rest = wire.rest();
        assert!(!rest.contains("220 ") && !rest.contains("a OK"), "{service}: no TLS may follow: {rest}");
        log.wait_for(&[&format!("client_port={} ", wire.port), "outcome=policy", "commands sent behind STARTTLS"]);
    }
}

#[test]
fn a_login_that_shows_no_name_is_not_logged_under_the_name_of_one_that_failed() {
    let (gate, _shown) = gate();
    let (stack, _stack_shown) = stack();
    let config = Offer::default().config();
    // Base64 whose padding leaves over bits that are not zero (RFC 4648 §3.5): Dovecot reads it, the gate's log does not.
    let mine = base64(format!("\0{}\0{PASSWORD}", stack.user().name));
    let careless = mine.strip_suffix("Q==").expect("a last digit whose spare bits are zero").to_owned() + "R==";
    for service in ["submission", "imaps"] {
        let victim = format!("victim-of-{service}");
        let theirs = base64(format!("\0{victim}\0guess"));
        let log = gate.log.tail();
        let mut wire = gate.secured(service, &config);
        if service == "imaps" {
            assert!(wire.tagged("a", &format!("AUTHENTICATE PLAIN {theirs}")).concat().starts_with("a NO"));
            assert!(wire.tagged("b", &format!("AUTHENTICATE PLAIN {careless}")).concat().contains("b OK"));
            wire.tagged("z", "LOGOUT");
        } else {
            assert_eq!(wire.say(&format!("AUTH PLAIN {theirs}")).code, 535);
            assert_eq!(wire.say(&format!("AUTH PLAIN {careless}")).code, 235);
            assert_eq!(wire.say("QUIT").code, 221);
        }
        let record = log.wait_for(&["event=ended", &format!("service={service} "), "auth=ok", "auth_failures=1"]);
        assert!(!record.contains(&victim), "{record}");
    }
}

#[test]
fn a_login_that_nobody_judged_is_told_and_not_under_the_name_of_one_that_failed() {
    let backend = Fake::start(fake::smtp(|verb, wire| {
        let answer = match verb {
            _ if verb.starts_with("AUTH PLAIN ") => "535 5.7.8 Error: authentication failed",
            _ if verb.starts_with("AUTH GSSAPI ") => "454 4.7.0 Temporary authentication failure",
            _ => return None,
        };
        Some(wire.try_send(format!("{answer}\r\n").as_bytes()).is_ok())
    }));
    let gate = Setup::new().listener_with("submissions", backend.port, "none", "allow_relay_as_proxy = true").start();
    let mut wire = gate.secured("submissions", &Offer::default().config());
    assert_eq!(wire.say(&format!("AUTH PLAIN {}", base64("\0victim\0guess"))).code, 535);
    assert_eq!(wire.say("AUTH GSSAPI YII=").code, 454);
    assert_eq!(wire.say("QUIT").code, 221);
    gate.log.wait_for(&["the backend did not judge a login", "service=submissions", "\"backend put the login off\""]);
    let record = gate.log.wait_for(&["event=ended", &format!("client_port={} ", wire.port), "auth_failures=1"]);
    assert!(record.contains("GSSAPI") && !record.contains("victim"), "{record}");
}
