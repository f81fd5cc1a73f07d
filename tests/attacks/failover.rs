//! Several backends for a listener: who gets the sessions when some of them are down, come back, or are not what they should be.

use crate::support::fake::{self, Fake};
use crate::support::gate::{Gate, Setup};
use crate::support::ports::free_port;
use crate::support::stack::stack;
use crate::support::wire::{Offer, Wire};

/// An SMTP server that takes the PROXY header, and relays for nobody.
fn closed(wire: Wire) {
    fake::smtp(|line, _| line.starts_with("PROXY ").then_some(true))(wire);
}

/// One that relays for everybody.
fn open_relay(wire: Wire) {
    fake::smtp(|line, wire| {
        if line.starts_with("RCPT") {
            return Some(wire.try_send(b"250 2.1.5 Ok\r\n").is_ok());
        }
        line.starts_with("PROXY ").then_some(true)
    })(wire);
}

/// One that takes the connection, and ends it once it knows who the client is.
fn hangs_up(mut wire: Wire) {
    wire.line();
}

fn imap(mut wire: Wire) {
    wire.send("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] old ready\r\n");
    while let Some(line) = wire.line() {
        let tag = line.split(' ').next().unwrap_or_default().to_owned();
        if wire.try_send(format!("{tag} OK done\r\n").as_bytes()).is_err() {
            return;
        }
    }
}

fn list(ports: &[u16]) -> String {
    let quoted: Vec<String> = ports.iter().map(|port| format!("\"127.0.0.1:{port}\"")).collect();
    format!("[{}]", quoted.join(", "))
}

/// Waits until the gate has said that of the backend.
fn said(log: &crate::support::logs::Log, what: &str, port: u16) {
    log.wait_for(&[what, &format!("backend=127.0.0.1:{port}")]);
}

/// A whole session; the port of the backend that its record names.
fn served_by(gate: &Gate) -> u16 {
    let mut wire = gate.secured("submissions", &Offer::default().config());
    assert_eq!(wire.say("QUIT").code, 221);
    let line = gate.log.wait_for(&["event=ended", &format!("client_port={} ", wire.port)]);
    assert!(line.contains("outcome=ok"), "{line}");
    let (_, rest) = line.split_once("backend=127.0.0.1:").unwrap_or_else(|| panic!("no backend in {line}"));
    rest.split(' ').next().and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("no port in {line}"))
}

#[test]
fn sessions_go_to_the_next_backend_and_back_once_the_first_has_passed_its_test_again() {
    let (first, second, imaps) = (Fake::start(closed), Fake::start(closed), Fake::start(imap));
    let (one, two) = (first.port, second.port);
    let gate = Setup::new()
        .listener_before("submissions", &list(&[one, two]), "proxy-v1", "")
        .listener_before("imaps", &list(&[imaps.port, free_port()]), "none", "")
        .start();
    said(&gate.log, "open: ", one);
    said(&gate.log, "open: ", two);
    assert_eq!(served_by(&gate), one);

    // It hangs up on everybody: nobody notices, and it rests.
    let log = gate.log.tail();
    first.instead(hangs_up);
    assert_eq!(served_by(&gate), two);
    said(&log, "resting, sessions go to another backend", one);
    let resting = first.connections();
    assert_eq!(served_by(&gate), two);
    // It is gone, and comes back.
    drop(first);
    assert_eq!(served_by(&gate), two);
    let log = gate.log.tail();
    let first = Fake::start_on(one, closed);
    said(&log, "open: ", one);
    assert_eq!(served_by(&gate), one, "after {resting} connections to it");

    // All of them are gone: 421 and BYE for whoever finds that out, and then for everybody at once.
    drop((first, second, imaps));
    let config = Offer::default().config();
    let mut wire = gate.connect("submissions").tls(&config);
    assert_eq!((wire.reply().code, wire.say("EHLO client.example.org").code), (220, 421));
    let mut wire = gate.secured("imaps", &config);
    wire.send("a NOOP\r\n");
    assert!(wire.line().unwrap_or_default().starts_with("* BYE"));
    for _ in 0..2 {
        let mut wire = gate.connect("submissions").tls(&config);
        assert_eq!(wire.reply().code, 421);
        wire.end();
        let mut wire = gate.connect("imaps").tls(&config);
        assert!(wire.line().unwrap_or_default().starts_with("* BYE"));
        wire.end();
    }
    gate.log.wait_for(&["service=submissions", "outcome=backend_error", "reason=\"backend is being tested\""]);
}

#[test]
fn a_backend_that_fails_its_test_gets_no_session_beside_one_that_passed() {
    let (relay, second) = (Fake::start(open_relay), Fake::start(closed));
    let gate = Setup::new().listener_before("submissions", &list(&[relay.port, second.port]), "proxy-v1", "").start();
    gate.log.wait_for(&["open relay", &format!("backend=127.0.0.1:{}", relay.port)]);
    let tested = relay.connections();
    assert_eq!(served_by(&gate), second.port);
    // And when the other one is gone, nobody is let in here for want of a better one.
    let port = second.port;
    drop(second);
    let mut wire = gate.connect("submissions").tls(&Offer::default().config());
    assert_eq!((wire.reply().code, wire.say("EHLO client.example.org").code), (220, 421));
    said(&gate.log, "refusing sessions", port);
    assert_eq!(relay.connections(), tested);
}

#[test]
fn a_backend_that_comes_back_as_an_open_relay_gets_no_session() {
    let (first, second) = (Fake::start(closed), Fake::start(closed));
    let one = first.port;
    let gate = Setup::new().listener_before("submissions", &list(&[one, second.port]), "proxy-v1", "").start();
    said(&gate.log, "open: ", one);
    said(&gate.log, "open: ", second.port);
    drop(first);
    assert_eq!(served_by(&gate), second.port);
    let log = gate.log.tail();
    let _relay = Fake::start_on(one, open_relay);
    log.wait_for(&["open relay", &format!("backend=127.0.0.1:{one}")]);
    assert_eq!(served_by(&gate), second.port);
}

#[test]
fn a_unix_socket_stands_in_for_a_port_and_takes_the_mail() {
    let (stack, _shown) = stack();
    let user = stack.user();
    let backends = format!("[\"127.0.0.1:{}\", \"unix:{}\"]", free_port(), stack.postfix.unix.display());
    // Postfix lets its own group into the directory of its sockets, and the gate has no rights beyond those of its files.
    let in_the_group = ["setpriv", "--groups=postdrop"];
    let gate = Setup::new().wrapped(&in_the_group).listener_before("smtp", &backends, "xclient", "").start();
    let mut wire = gate.secured("smtp", &Offer::default().config());
    assert_eq!(wire.say("MAIL FROM:<sender@example.com>").code, 250);
    assert_eq!(wire.say(&format!("RCPT TO:<{}>", user.address)).code, 250);
    assert_eq!(wire.say("DATA").code, 354);
    assert_eq!(wire.say("Subject: over\r\n\r\nby the other way\r\n.").code, 250);
    assert_eq!(user.mails(1).len(), 1);
    gate.log.wait_for(&["cannot connect to backend 127.0.0.1", "trying again"]);
    gate.log.wait_for(&["open: ", "backend=unix:"]);
}

#[test]
fn the_check_asks_every_backend() {
    let good = Fake::start(closed);
    let dead = free_port();
    let checked = Setup::new().listener_before("submissions", &list(&[good.port, dead]), "proxy-v1", "").check(&[]);
    let text = String::from_utf8_lossy(&checked.stdout);
    assert!(!checked.status.success(), "{text}");
    assert!(text.contains(&format!("submissions at 127.0.0.1:{}", good.port)), "{text}");
    assert!(text.contains("Relay access denied"), "{text}");
    assert!(text.contains(&format!("cannot connect to backend 127.0.0.1:{dead}")), "{text}");
}
