//! How many may come, who may speak for whom, and what is said to those who may not.

use std::net::Ipv4Addr;

use crate::support::fake::{Fake, smtp};
use crate::support::gate::{Gate, Setup};
use crate::support::stack::stack;
use crate::support::wire::{Offer, Wire};

/// Networks that `connections_per_address` counts: loopback is exempt unless the administrator says otherwise.
const COUNT_LOOPBACK: &str = "[limits]\nconnections_per_address = 2\nexempt = []";

fn backend() -> Fake {
    Fake::start(smtp(|_, _| None))
}

fn start(more: &str, table: &str, backend: &Fake) -> Gate {
    Setup::new()
        .table(table)
        .listener_with("smtp", backend.port, "none", &format!("allow_relay_as_proxy = true\n{more}"))
        .listener_with("submissions", backend.port, "none", &format!("allow_relay_as_proxy = true\n{more}"))
        .start()
}

#[test]
fn a_full_listener_says_so_and_opens_again() {
    let backend = backend();
    let gate = start("max_connections = 1", "", &backend);
    let mut first = gate.connect("smtp");
    assert_eq!(first.reply().code, 220);

    let mut second = gate.connect("smtp");
    let refusal = second.reply();
    assert_eq!(refusal.code, 421);
    assert!(refusal.lines.concat().contains("too many connections"), "{refusal:?}");
    second.end();
    gate.log.wait_for(&["reason=\"too many connections\""]);

    assert_eq!(first.say("QUIT").code, 221);
    first.end();
    gate.log.wait_for(&["outcome=ok"]);
    assert_eq!(gate.connect("smtp").reply().code, 220);
}

#[test]
fn with_implicit_tls_the_refusal_can_be_read_inside_tls() {
    let backend = backend();
    let gate = start("max_connections = 1", "", &backend);
    let tls = Offer::default().config();
    let mut first = gate.connect("submissions").tls(&tls);
    assert_eq!(first.reply().code, 220);
    let mut second = gate.connect("submissions").tls(&tls);
    assert_eq!(second.reply().code, 421);
    second.end();
}

#[test]
fn no_client_takes_all_processes_of_a_postfix_that_cannot_count_them() {
    let (stack, _shown) = stack();
    let ports = stack.postfix.xclient;
    let gate = Setup::new()
        .table("[limits]\nxclient_connections_per_address = 2\nexempt = []")
        .listener("smtp", ports.smtp, "xclient")
        .listener("submission", ports.submission, "xclient")
        .start();
    let connect = |from, service: &str| {
        let mut wire = gate.connect_from(Ipv4Addr::new(127, 0, 0, from), service);
        (wire.reply().code, wire)
    };
    let (one, mut first) = connect(2, "smtp");
    let (two, _second) = connect(2, "submission");
    assert_eq!((one, two), (220, 220));
    let (refused, mut third) = connect(2, "smtp");
    assert_eq!(refused, 421);
    third.end();
    assert_eq!(connect(3, "smtp").0, 220, "another client");
    let leaving = format!("client_port={} ", first.port);
    assert_eq!(first.say("QUIT").code, 221);
    first.end();
    gate.log.wait_for(&["event=ended", &leaving]);
    assert_eq!(connect(2, "smtp").0, 220);
}

#[test]
fn an_address_has_its_places_and_another_one_its_own() {
    let backend = backend();
    let gate = start("", COUNT_LOOPBACK, &backend);
    let mut held: Vec<Wire> = (0..2).map(|_| gate.connect_from(Ipv4Addr::new(127, 0, 0, 2), "smtp")).collect();
    for wire in &mut held {
        assert_eq!(wire.reply().code, 220);
    }
    let mut third = gate.connect_from(Ipv4Addr::new(127, 0, 0, 2), "smtp");
    assert_eq!(third.reply().code, 421);
    third.end();
    gate.log.wait_for(&["reason=\"too many connections from this address\""]);
    assert_eq!(gate.connect_from(Ipv4Addr::new(127, 0, 0, 3), "smtp").reply().code, 220);
}

#[test]
fn a_listed_peer_speaks_for_its_client_and_must_do_so() {
    let backend = backend();
    let gate = start("accept_proxy_from = [\"127.0.0.4/32\"]", COUNT_LOOPBACK, &backend);
    let balancer = Ipv4Addr::new(127, 0, 0, 4);

    // Version 1, cut in two, and the session's first command right behind it.
    let mut wire = gate.connect_from(balancer, "smtp");
    wire.send("PROXY TCP4 203.0.113.5 192.0.2.10 ");
    wire.send("40000 25\r\nEHLO client.example.org\r\n");
    assert_eq!(wire.reply().code, 220);
    assert!(wire.reply().has("STARTTLS"));
    assert_eq!(wire.say("QUIT").code, 221);
    gate.log.wait_for(&["client=203.0.113.5"]);

    // Version 2: the places are the client's, not the balancer's.
    let v2 = |last: u8| {
        let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
        header.extend([203, 0, 113, last, 192, 0, 2, 10, 0x9c, 0x40, 0, 25]);
        let mut wire = gate.connect_from(balancer, "smtp");
        wire.send(header);
        wire
    };
    let mut held: Vec<Wire> = (0..2).map(|_| v2(6)).collect();
    for wire in &mut held {
        assert_eq!(wire.reply().code, 220);
    }
    assert_eq!(v2(6).reply().code, 421);
    assert_eq!(v2(7).reply().code, 220);

    // Without a header it gets nothing.
    let mut silent = gate.connect_from(balancer, "smtp");
    silent.send("EHLO client.example.org\r\n");
    silent.end();
    gate.log.wait_for(&["no PROXY header from a peer that must send one"]);
}

#[test]
fn a_stranger_cannot_speak_for_anybody() {
    let backend = backend();
    let gate = start("accept_proxy_from = [\"127.0.0.4/32\"]", "", &backend);
    let mut wire = gate.connect("smtp");
    assert_eq!(wire.reply().code, 220);
    let refusal = wire.say("PROXY TCP4 203.0.113.5 192.0.2.10 40000 25");
    assert!((500..=599).contains(&refusal.code), "{refusal:?}");
    assert!(!gate.log.text().contains("203.0.113.5"), "a stranger was believed");
}

#[test]
fn a_health_check_is_greeted_and_never_reaches_the_backend() {
    let backend = backend();
    let gate = start("accept_proxy_from = [\"127.0.0.4/32\"]", "", &backend);
    let before = backend.connections();
    let mut wire = gate.connect_from(Ipv4Addr::new(127, 0, 0, 4), "smtp");
    wire.send(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0");
    assert_eq!(wire.reply().code, 220);
    assert_eq!(wire.say("EHLO balancer.example.net").code, 250);
    assert_eq!(wire.say("MAIL FROM:<x@example.net>").code, 421);
    wire.end();
    gate.log.wait_for(&["health check"]);
    assert_eq!(backend.connections(), before);
}

#[test]
fn every_connection_beyond_the_limit_is_in_the_log_also_those_that_hear_nothing() {
    const MANY: usize = 100;
    let backend = backend();
    let gate = start("max_connections = 1", "", &backend);
    let mut first = gate.connect("smtp");
    assert_eq!(first.reply().code, 220);
    // Those that are told stay for a while if they do not go, and 64 is the most of them at once.
    let mut held: Vec<Wire> = (0..MANY).map(|_| gate.connect("smtp")).collect();
    let told = held.iter_mut().map(|wire| wire.rest()).filter(|said| said.starts_with("421 ")).count();
    assert!((64..MANY).contains(&told), "{told}");
    drop(held);
    crate::support::wait::until("a record for each", || {
        let text = gate.log.text();
        let refused = text.lines().filter(|line| line.contains("reason=\"too many connections\"")).count();
        assert!(refused <= MANY);
        (refused == MANY).then_some(())
    });
}

#[test]
fn a_client_that_only_tries_our_tls_never_reaches_the_backend() {
    let backend = backend();
    let dovecot = Fake::start(|mut wire| {
        wire.send(
            "* OK [CAPABILITY IMAP4rev1 STARTTLS SASL-IR LOGINDISABLED AUTH=PLAIN AUTH=SCRAM-SHA-1-PLUS] old ready\r\n",
        );
        while let Some(line) = wire.line() {
            let tag = line.split(' ').next().unwrap_or_default();
            wire.send(format!("* CAPABILITY IMAP4rev1\r\n{tag} OK done\r\n"));
        }
    });
    let gate = Setup::new()
        .listener_with("smtp", backend.port, "none", "allow_relay_as_proxy = true")
        .listener_with("submissions", backend.port, "none", "allow_relay_as_proxy = true")
        .listener("imap", dovecot.port, "none")
        .listener("imaps", dovecot.port, "none")
        .start();
    let before = (backend.connections(), dovecot.connections());
    let config = Offer::default().config();
    for service in ["smtp", "submissions", "imap", "imaps"] {
        let mut wire = gate.connect(service);
        match service {
            "smtp" => {
                assert_eq!(wire.reply().code, 220);
                assert_eq!(wire.say("EHLO scanner.example.net").code, 250);
                assert_eq!(wire.say("STARTTLS").code, 220);
                wire = wire.tls(&config);
            }
            "imap" => {
                wire.line().expect("a greeting");
                assert!(wire.tagged("s", "STARTTLS").concat().starts_with("s OK"));
                wire = wire.tls(&config);
            }
            "submissions" => {
                wire = wire.tls(&config);
                assert_eq!(wire.reply().lines, ["mail.example.net ESMTP Sealgate"]);
            }
            _ => {
                wire = wire.tls(&config);
                // Nothing was learned yet: a client asks.
                assert_eq!(wire.line().as_deref(), Some("* OK mail.example.net Sealgate ready"));
            }
        }
        wire.finish();
        wire.end();
        let port = format!("client_port={} ", wire.port);
        gate.log.wait_for(&["event=ended", &port, "outcome=ok", "reason=closed"]);
        assert_eq!((backend.connections(), dovecot.connections()), before, "{service}");
    }
    // Whoever speaks is heard there.
    assert_eq!(gate.secured("smtp", &config).say("NOOP").code, 250);
    assert_eq!((backend.connections(), dovecot.connections()), (before.0 + 1, before.1));
    // And from then on the greeting has what the backend's own has, as far as it can cross us.
    let mut wire = gate.secured("imaps", &config);
    assert_eq!(wire.tagged("a", "NOOP"), ["* CAPABILITY IMAP4rev1", "a OK done"]);
    assert_eq!((backend.connections(), dovecot.connections()), (before.0 + 1, before.1 + 1));
    let mut asked = gate.secured("imap", &config);
    assert_eq!(asked.tagged("a", "NOOP"), ["* CAPABILITY IMAP4rev1", "a OK done"]);
    let before = dovecot.connections();
    let mut asked = gate.secured("imap", &config);
    let told = ["* CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN", "a OK CAPABILITY completed"];
    assert_eq!(asked.tagged("a", "CAPABILITY"), told);
    assert_eq!(dovecot.connections(), before);
    assert_eq!(
        asked.tagged("b", "CAPABILITY"),
        ["* CAPABILITY IMAP4rev1", "b OK done"],
        "the second one is the backend's"
    );
    assert_eq!(dovecot.connections(), before + 1);
    let greeting = gate.connect("imaps").tls(&config).line();
    assert_eq!(
        greeting.as_deref(),
        Some("* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] mail.example.net Sealgate ready")
    );
}

#[test]
fn a_client_that_breaks_off_behind_its_handshake_is_told_from_one_that_ends() {
    let backend = backend();
    let gate = start("", "", &backend);
    let before = backend.connections();
    let mut wire = gate.connect("smtp");
    assert_eq!(wire.reply().code, 220);
    assert_eq!(wire.say("STARTTLS").code, 220);
    let wire = wire.tls(&Offer::default().config());
    let port = format!("client_port={}", wire.port);
    drop(wire);
    gate.log.wait_for(&["event=ended", &port, "client ended without close_notify"]);
    assert_eq!(backend.connections(), before);
}

#[test]
fn what_speaks_another_protocol_inside_tls_never_reaches_the_backend() {
    let backend = backend();
    let dovecot = Fake::start(|mut wire| wire.send("* OK old ready\r\n"));
    let gate = Setup::new()
        .listener_with("submissions", backend.port, "none", "allow_relay_as_proxy = true")
        .listener_with("smtp", backend.port, "none", "allow_relay_as_proxy = true")
        .listener("imaps", dovecot.port, "none")
        .start();
    let before = (backend.connections(), dovecot.connections());
    let config = Offer::default().config();
    for service in ["smtp", "submissions", "imaps"] {
        for (words, what) in [
            (b"GET / HTTP/1.1\r\nHost: mail.example.net\r\n\r\n".as_slice(), "HTTP request on an"),
            (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", "binary protocol on an"),
        ] {
            let mut wire = gate.connect(service);
            if service == "smtp" {
                assert_eq!(wire.reply().code, 220);
                assert_eq!(wire.say("STARTTLS").code, 220);
                wire = wire.tls(&config);
            } else {
                wire = wire.tls(&config);
                wire.line().expect("a greeting");
            }
            wire.send(words);
            let said = wire.rest();
            assert!(said.starts_with("554 ") || said.starts_with("* BYE "), "{service}: {said}");
            gate.log.wait_for(&["event=ended", &format!("client_port={} ", wire.port), what]);
        }
    }
    assert_eq!((backend.connections(), dovecot.connections()), before);
}
