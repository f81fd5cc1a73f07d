//! No open relay: the identity that the backend gets, and the self-test before a listener opens.

use std::net::Ipv4Addr;

use crate::support::dns::Zone;
use crate::support::fake::{self, Fake};
use crate::support::gate::{BEHIND_BALANCER, Gate, Setup};
use crate::support::ports::free_port;
use crate::support::stack::stack;
use crate::support::wire::{Offer, Reply, Wire};

const FOREIGN: &str = "RCPT TO:<reader@example.org>";

/// The answer to a recipient, asked for from that address.
fn recipient(gate: &Gate, from: Ipv4Addr, rcpt: &str) -> Reply {
    let mut wire = gate.secure("smtp", gate.connect_from(from, "smtp"), &Offer::default().config());
    assert_eq!(wire.say("MAIL FROM:<sender@example.net>").code, 250);
    wire.say(rcpt)
}

#[test]
fn strangers_stay_strangers_although_127_0_0_1_is_in_mynetworks() {
    let (stack, _shown) = stack();
    let (xclient, proxy) = (stack.postfix.xclient.smtp, stack.postfix.proxy.smtp);
    for (identity, port) in [("xclient", xclient), ("proxy-v1", proxy), ("proxy-v2", proxy)] {
        let log = stack.postfix.log.tail();
        let gate = Setup::new().listener("smtp", port, identity).start();
        let refused = recipient(&gate, Ipv4Addr::new(127, 0, 0, 2), FOREIGN);
        assert_eq!(refused.code, 554, "{identity}: {refused:?}");
        log.wait_for(&["NOQUEUE: reject: RCPT from", "[127.0.0.2]", "Relay access denied"]);
        // The backend's own rule for its own networks goes on to hold.
        assert_eq!(recipient(&gate, Ipv4Addr::LOCALHOST, FOREIGN).code, 250, "{identity}");
        assert_eq!(recipient(&gate, Ipv4Addr::new(127, 0, 0, 2), "RCPT TO:<u000@example.net>").code, 250, "{identity}");
    }
}

#[test]
fn a_backend_on_a_unix_socket_knows_the_client_just_so() {
    let (stack, _shown) = stack();
    let backend = format!("unix:{}", stack.postfix.unix.display());
    // Postfix lets its own group into the directory of its sockets, and the gate has no rights beyond those of its files.
    let in_the_group = ["setpriv", "--groups=postdrop"];
    let gate = Setup::new().wrapped(&in_the_group).listener_on("smtp", &backend, "xclient", "").start();
    assert_eq!(recipient(&gate, Ipv4Addr::new(127, 0, 0, 2), FOREIGN).code, 554);
    assert_eq!(recipient(&gate, Ipv4Addr::new(127, 0, 0, 2), "RCPT TO:<u000@example.net>").code, 250);
}

#[test]
fn a_listener_without_identity_does_not_even_start() {
    let (stack, _shown) = stack();
    let mut gate = Setup::new().listener("smtp", stack.postfix.naked, "none").start_unready();
    assert_eq!(gate.ended().code(), Some(2));
    gate.log.wait_for(&["allow_relay_as_proxy"]);
}

#[test]
fn an_imap_backend_that_takes_a_proxy_header_for_commands_keeps_its_listener_closed() {
    let (stack, _shown) = stack();
    for identity in ["proxy-v1", "proxy-v2"] {
        let gate = Setup::new().listener("imaps", stack.dovecot.hardened, identity).start_unready();
        gate.log.wait_for(&["ERROR closed", "took the PROXY header", "haproxy = yes"]);
        assert!(!gate.is_open("imaps"));
    }
}

#[test]
fn a_backend_that_demands_tls_of_the_gate_keeps_its_listener_closed() {
    let (stack, _shown) = stack();
    let gate = Setup::new().listener("smtp", stack.postfix.encrypting, "proxy-v2").start_unready();
    gate.log.wait_for(&["ERROR closed", "530 5.7.0 Must issue a STARTTLS", "-o smtpd_tls_security_level=none"]);
    assert!(!gate.is_open("smtp"));
}

#[test]
fn a_backend_that_relays_keeps_its_listener_closed() {
    let (stack, _shown) = stack();
    let mut gate = Setup::new()
        .listener("smtp", stack.postfix.open, "xclient")
        .listener("imaps", stack.dovecot.gated, "proxy-v2")
        .start_unready();
    gate.log.wait_for(&["smtp", "open relay", "mynetworks"]);
    // The other listener does not suffer.
    gate.until_open_is("imaps");
    assert!(!gate.is_open("smtp"));
    assert!(gate.runs());
}

#[test]
fn whoever_vouches_for_the_backend_is_not_tested() {
    let (stack, _shown) = stack();
    let gate = Setup::new().listener_with("smtp", stack.postfix.naked, "none", "allow_relay_as_proxy = true").start();
    assert_eq!(recipient(&gate, Ipv4Addr::new(127, 0, 0, 2), FOREIGN).code, 250);
}

#[test]
fn a_backend_that_defers_opens_with_a_warning() {
    let (stack, _shown) = stack();
    let gate = Setup::new().listener("smtp", stack.postfix.deferring, "xclient").start();
    gate.log.wait_for(&["WARN", "smtp", "450"]);
    assert_eq!(recipient(&gate, Ipv4Addr::new(127, 0, 0, 2), FOREIGN).code, 450);
}

#[test]
fn a_backend_that_is_down_at_start_is_tried_again() {
    let port = free_port();
    let mut gate = Setup::new().listener("smtp", port, "proxy-v2").start_unready();
    gate.log.wait_for(&["smtp", "closed", &port.to_string()]);
    assert!(!gate.is_open("smtp"));
    let _backend = Fake::start_on(port, behind_a_header(|_, _| None));
    gate.until_open();
}

#[test]
fn a_backend_that_was_gone_is_tested_before_it_gets_a_session() {
    let port = free_port();
    let backend = Fake::start_on(port, behind_a_header(|_, _| None));
    let gate = Setup::new().listener("smtp", port, "proxy-v2").start();
    assert_eq!(recipient(&gate, Ipv4Addr::new(127, 0, 0, 2), FOREIGN).code, 554);
    drop(backend);
    let refused = |gate: &Gate| {
        let mut wire = gate.connect("smtp");
        wire.reply();
        wire.say("EHLO client.example.org");
        assert_eq!(wire.say("STARTTLS").code, 220);
        wire.tls(&Offer::default().config()).say("EHLO client.example.org").code
    };
    assert_eq!(refused(&gate), 421);
    gate.log.wait_for(&["backend lost"]);
    // Something else answers on that port now, and it relays.
    let relaying =
        |line: &str, wire: &mut Wire| line.starts_with("RCPT").then(|| wire.try_send(b"250 2.1.5 Ok\r\n").is_ok());
    let backend = Fake::start_on(port, behind_a_header(relaying));
    gate.log.wait_for(&["refusing sessions", "open relay"]);
    let asked = backend.connections();
    assert_eq!(refused(&gate), 421);
    assert_eq!(backend.connections(), asked, "no session reaches an open relay");
}

/// A fake that reads the PROXY header away first.
fn behind_a_header(
    special: impl Fn(&str, &mut Wire) -> Option<bool> + Send + Sync + 'static,
) -> impl Fn(Wire) + Send + Sync {
    let smtp = fake::smtp(special);
    move |mut wire| {
        wire.proxy_header();
        smtp(wire);
    }
}

#[test]
fn names_for_xclient_come_from_our_own_look_up() {
    let (stack, _shown) = stack();
    let [good, lying, nameless, broken] = [3, 4, 5, 6].map(|last| Ipv4Addr::new(198, 51, 100, last));
    let dns = Zone::default()
        .ptr(good, "client.example.com")
        .a("client.example.com", good)
        .ptr(lying, "bank.example.com")
        .a("bank.example.com", [198, 51, 100, 99].into())
        .broken(broken)
        .serve();
    let start = |port| {
        let setup = Setup::new().line(&format!("dns = [\"{}\"]", dns.address));
        setup.listener_with("smtp", port, "xclient", BEHIND_BALANCER).start()
    };
    let (by_name, by_reverse) = (start(stack.postfix.xclient_name), start(stack.postfix.xclient_reverse));
    let config = Offer::default().config();
    let ask = |gate: &Gate, client| {
        let mut wire = gate.secure("smtp", gate.connect_for(client, "smtp"), &config);
        assert_eq!(wire.say("MAIL FROM:<sender@example.net>").code, 250);
        wire.say("RCPT TO:<u000@example.net>")
    };
    for (client, name, reverse) in [(good, 250, 250), (lying, 450, 250), (nameless, 450, 450), (broken, 450, 450)] {
        let log = stack.postfix.log.tail();
        let answer = ask(&by_name, client);
        assert_eq!(answer.code, name, "{client}: {answer:?}");
        if name != 250 {
            log.wait_for(&["cannot find your hostname", &format!("unknown[{client}]")]);
        }
        let answer = ask(&by_reverse, client);
        assert_eq!(answer.code, reverse, "{client}: {answer:?}");
    }
}

#[test]
fn with_the_proxy_protocol_postfix_looks_names_up_itself() {
    let (stack, _shown) = stack();
    let rcpt = "RCPT TO:<u000@example.net>";
    for port in [stack.postfix.proxy_name, stack.postfix.proxy_reverse] {
        let gate = Setup::new().listener("smtp", port, "proxy-v2").start();
        // /etc/hosts knows the one and nobody the other.
        assert_eq!(recipient(&gate, Ipv4Addr::LOCALHOST, rcpt).code, 250);
        assert_eq!(recipient(&gate, Ipv4Addr::new(127, 0, 0, 2), rcpt).code, 450);
    }
}

#[test]
fn a_backend_that_does_not_trust_us_is_named_with_what_to_set() {
    let (stack, _shown) = stack();
    // The hardened service has no XCLIENT, and the XCLIENT service no PROXY protocol.
    let gate = Setup::new().listener("smtp", stack.postfix.naked, "xclient").start_unready();
    gate.log.wait_for(&["smtp", "smtpd_authorized_xclient_hosts"]);
    assert!(!gate.is_open("smtp"));
    let gate = Setup::new().listener("smtp", stack.postfix.xclient.smtp, "proxy-v2").start_unready();
    gate.log.wait_for(&["smtp", "smtpd_upstream_proxy_protocol"]);
    assert!(!gate.is_open("smtp"));
}
