//! Input beyond its bounds: a clear answer while it is small, the end when it is not; and no more than twenty errors.

use crate::support::gate::{Setup, gate};
use crate::support::stack::{PASSWORD, dovecot_with_imap_id, stack};
use crate::support::wire::{Offer, Wire};

/// A wire behind the greeting, and for SMTP behind EHLO: before TLS, or inside it.
fn wire(service: &str, secured: bool) -> Wire {
    let (gate, _shown) = gate();
    if secured {
        return gate.secured(service, &Offer::default().config());
    }
    let mut wire = gate.connect(service);
    wire.line().expect("a greeting");
    wire
}

/// Every place where a client gives commands.
const PLACES: [(&str, bool); 8] = [
    ("smtp", false),
    ("submission", false),
    ("imap", false),
    ("smtp", true),
    ("submission", true),
    ("submissions", true),
    ("imap", true),
    ("imaps", true),
];

fn is_imap(service: &str) -> bool {
    service.starts_with("imap")
}

#[test]
fn twenty_errors_end_every_kind_of_session() {
    let (gate, _shown) = gate();
    for (service, secured) in PLACES {
        let log = gate.log.tail();
        let mut wire = wire(service, secured);
        let (command, refusal, farewell) = match (is_imap(service), secured) {
            (false, _) => ("XCLIENT ADDR=127.0.0.1", "502 5.5.1 ", "421 4.7.0 "),
            (true, false) => ("a SELECT INBOX", "a BAD ", "* BYE Too many errors"),
            (true, true) => ("a STARTTLS", "a BAD ", "* BYE Too many errors"),
        };
        for n in 1..=20 {
            wire.send(format!("{command}\r\n"));
            let line = wire.line().unwrap_or_else(|| panic!("{service}: an answer to error {n}"));
            assert!(line.starts_with(refusal), "{service}: {line}");
        }
        let last = wire.line().unwrap_or_else(|| panic!("{service}: a farewell"));
        assert!(last.starts_with(farewell), "{service}: {last}");
        wire.end();
        let client = format!("client_port={} ", wire.port);
        drop(wire);
        log.wait_for(&["event=ended", &client, "reason=\"too many errors\""]);
    }
}

#[test]
fn lines_that_are_too_long_are_refused_and_those_without_end_are_the_end() {
    let (gate, _shown) = gate();
    for (service, secured) in PLACES {
        let long = |octets: usize| {
            let begin = if is_imap(service) { "a NOOP " } else { "NOOP " };
            [begin.as_bytes().to_vec(), vec![b'x'; octets]].concat()
        };
        // Small: one answer, and the next command has its own.
        let mut wire = wire(service, secured);
        wire.send([long(50_000), b"\r\n".to_vec()].concat());
        let line = wire.line().expect("an answer");
        let (refusal, fine, farewell) = if is_imap(service) {
            ("a BAD Line too long", "b OK", "* BYE Line too long")
        } else {
            ("500 5.5.2 ", "250 ", "500 5.5.2 ")
        };
        assert!(line.starts_with(refusal), "{service}: {line}");
        wire.send(if is_imap(service) { "b NOOP\r\n" } else { "NOOP\r\n" });
        let line = wire.line().expect("an answer");
        assert!(line.starts_with(fine), "{service}: {line}");
        // Endless.
        let log = gate.log.tail();
        drop(wire.try_send(&long(70_000)));
        let rest = wire.rest();
        assert!(rest.starts_with(farewell) && rest.lines().count() == 1, "{service}: {rest}");
        let client = format!("client_port={} ", wire.port);
        drop(wire);
        log.wait_for(&["event=ended", &client, "too long\""]);
    }
}

#[test]
fn rfc7888_literals_beyond_their_cap() {
    let (gate, _shown) = gate();
    // Before TLS there are none; before login they are small. A client that waits hears no `+`, one that does not is sent away,
    // since its octets would be commands.
    let smuggled = "b NOOP\r\nc LOGOUT\r\n";
    for (service, secured, command, reason) in [
        ("imap", false, "a LOGIN {5}", None),
        ("imap", false, "a ID ({4}", None),
        ("imap", false, "a LOGIN {5+}", Some("octets sent behind a refused command")),
        ("imap", false, "a SELECT {99999+}", Some("octets sent behind a refused command")),
        ("imaps", true, "a LOGIN {8193}", None),
        ("imaps", true, "a LOGIN {99999999999999999999}", None),
        ("imaps", true, "a ID ({9000}", None),
        ("imaps", true, "a LOGIN {4097+}", Some("literal too large before login")),
        ("imaps", true, "a LOGIN {99999999999999999999+}", Some("literal too large before login")),
        ("imap", true, "a LOGIN {05+}", Some("octets sent behind a refused command")),
        ("imap", true, "a AUTHENTICATE {5+}", Some("octets sent behind a refused command")),
        ("imap", true, "a LOGIN x{5+}", Some("octets sent behind a refused command")),
        ("imap", true, "a STARTTLS {5+}", Some("octets sent behind a refused command")),
        ("imap", true, "a LOGIN {5}x", None),
    ] {
        let log = gate.log.tail();
        let mut wire = wire(service, secured);
        wire.send(format!("{command}\r\n"));
        let line = wire.line().expect("an answer");
        match reason {
            None => {
                assert!(line.starts_with("a BAD ") || line.starts_with("a NO [PRIVACYREQUIRED]"), "{command}: {line}");
                assert!(wire.tagged("b", "NOOP").concat().starts_with("b OK"), "{command}");
            }
            Some(reason) => {
                drop(wire.try_send(smuggled.as_bytes()));
                assert!(line.starts_with("* BYE "), "{command}: {line}");
                wire.end();
                let client = format!("client_port={} ", wire.port);
                drop(wire);
                log.wait_for(&["event=ended", &client, reason]);
            }
        }
    }
}

#[test]
fn octets_around_a_login_are_never_commands_and_commands_never_octets() {
    let (gate, _shown) = gate();
    let (stack, _stack_shown) = stack();
    let user = stack.user();
    let config = Offer::default().config();
    // A user name that holds a whole session is none: it is not even tried.
    let name = "x\r\nb NOOP\r\nc LOGOUT\r\n";
    for plus in ["", "+"] {
        let mut wire = gate.secured("imaps", &config);
        wire.send(format!("a LOGIN {{{}{plus}}}\r\n", name.len()));
        if plus.is_empty() {
            assert!(wire.line().expect("a continuation").starts_with('+'));
        }
        wire.send(format!("{name} wrong\r\n"));
        let answer = wire.line().expect("an answer");
        assert!(answer.starts_with("* BYE "), "{answer}");
        wire.end();
    }
    // One that looks like a command is a name, and a wrong one.
    for plus in ["", "+"] {
        let name = "b LOGOUT";
        let mut wire = gate.secured("imaps", &config);
        wire.send(format!("a LOGIN {{{}{plus}}}\r\n", name.len()));
        if plus.is_empty() {
            assert!(wire.line().expect("a continuation").starts_with('+'));
        }
        wire.send(format!("{name} wrong\r\n"));
        let answer = wire.line().expect("an answer");
        assert!(answer.starts_with("a NO "), "{answer}");
        assert!(wire.tagged("d", "NOOP").concat().starts_with("d OK"), "nothing else was answered");
    }
    // A pipelined session waits for the login, whatever comes of it.
    for (password, after) in [("wrong", "b OK"), (PASSWORD, "b OK")] {
        let mut wire = gate.secured("imap", &config);
        wire.send(format!("a LOGIN {} \"{password}\"\r\nb NOOP\r\n", user.name));
        let mut answer = wire.line().expect("an answer");
        while answer.starts_with("* ") {
            answer = wire.line().expect("an answer");
        }
        assert!(answer.starts_with(if password == "wrong" { "a NO" } else { "a OK" }), "{answer}");
        let answer = wire.line().expect("an answer");
        assert!(answer.starts_with(after), "{answer}");
    }
}

#[test]
fn an_id_that_claims_an_address_is_not_believed() {
    let (stack, _shown) = stack();
    let dovecot = dovecot_with_imap_id();
    let gate = Setup::new().listener("imaps", dovecot.gated, "imap-id").start();
    let config = Offer::default().config();
    for id in [
        "ID (\"x-originating-ip\" \"192.0.2.66\" \"x-originating-port\" \"1\")",
        "ID (\"name\" \"x\" \"X-Originating-IP\" \"192.0.2.66\")",
        "ID (\"\\x-originating-ip\" \"192.0.2.66\")",
        "ID ({16+}\r\nx-originating-ip {10+}\r\n192.0.2.66)",
        "id (\"x-connected-ip\" \"192.0.2.66\" \"x-proxy-ttl\" \"1\" \"x-session-id\" \"fake\")",
    ] {
        let (user, log) = (stack.user(), dovecot.log.tail());
        let mut wire = gate.secured("imaps", &config);
        assert!(wire.tagged("a", id).concat().contains("a OK"), "{id}");
        let login = format!("LOGIN {} \"{}\"", user.name, PASSWORD);
        assert!(wire.tagged("b", &login).concat().contains("b OK"), "{id}");
        let line = log.wait_for(&["Login:", &format!("user=<{}>", user.name)]);
        assert!(
            line.contains("rip=127.0.0.1") && !line.contains("192.0.2.66") && !line.contains("fake"),
            "{id}: {line}"
        );
    }
}
