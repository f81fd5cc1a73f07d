//! Too few file descriptors: who is in is served to the end, who is not waits, and the log says so once.

use crate::support::fake::{self, Fake};
use crate::support::gate::{Gate, Setup};
use crate::support::wait::until;
use crate::support::wire::{Offer, Wire};

const OPEN_RELAY: &str = "allow_relay_as_proxy = true";

fn setup(backend: &Fake) -> Setup {
    Setup::new().listener_with("smtp", backend.port, "none", OPEN_RELAY).listener_with(
        "submissions",
        backend.port,
        "none",
        OPEN_RELAY,
    )
}

/// Records that say that nobody can be let in.
fn shortages(gate: &Gate) -> usize {
    gate.log.text().lines().filter(|line| line.contains("cannot accept connections")).count()
}

/// From the greeting to the backend.
fn served(gate: &Gate, wire: Wire) -> Wire {
    let mut wire = gate.secure("smtp", wire, &Offer::default().config());
    assert_eq!(wire.say("NOOP").code, 250);
    wire
}

#[test]
fn the_hard_limit_is_made_use_of() {
    let backend = Fake::start(fake::smtp(|_, _| None));
    let gate = setup(&backend).start();
    let (soft, hard) = gate.process().limit();
    assert_eq!(soft, hard);
    let gate = setup(&backend).descriptors(500).start();
    assert_eq!(gate.process().limit(), (Some(500), Some(500)));
    gate.log
        .wait_for(&["max_connections of all listeners is 20000, but 500 open files are enough for 2", "LimitNOFILE"]);
}

#[test]
fn whoever_is_let_in_has_a_descriptor_for_the_backend_too() {
    const CLIENTS: usize = 40;
    let backend = Fake::start(fake::smtp(|_, _| None));
    let gate = setup(&backend).descriptors(64).start();
    let mut old = served(&gate, gate.connect("smtp"));
    let clients: Vec<Wire> = (0..CLIENTS).map(|_| gate.connect("smtp")).collect();
    gate.log.wait_for(&["cannot accept connections: ", "sessions are all that the limit of open files is enough for"]);
    assert_eq!(old.say("NOOP").code, 250, "an old session goes on");
    // One listener's crowd does not starve another: who waits there has its turn like they do.
    let mut others = [gate.connect("submissions"), gate.connect("submissions")].into_iter();
    for (n, client) in clients.into_iter().enumerate() {
        drop(served(&gate, client));
        if n % 20 == 19 {
            let mut other = others.next().expect("two").tls(&Offer::default().config());
            assert_eq!(other.reply().code, 220);
        }
        assert!(gate.process().descriptors() <= 64);
    }
    assert_eq!(old.say("NOOP").code, 250);
    assert_eq!(shortages(&gate), 1, "{}", gate.log.text());
}

#[test]
fn without_a_descriptor_accept_waits_and_a_session_ends_with_421() {
    let backend = Fake::start(fake::smtp(|_, _| None));
    let gate = setup(&backend).start();
    let process = gate.process();
    let mut old = served(&gate, gate.connect("smtp"));
    let next = process.next_descriptor();

    // Not one more.
    let usual = process.allow(next);
    let mut waiting = gate.connect("smtp");
    gate.log.wait_for(&["cannot accept connections: Too many open files"]);
    assert_eq!(old.say("NOOP").code, 250);

    // One more: enough for a client, and not for its backend.
    process.allow(next + 1);
    assert_eq!(waiting.reply().code, 220);
    assert_eq!(waiting.say("STARTTLS").code, 220);
    let mut waiting = waiting.tls(&Offer::default().config());
    assert_eq!(waiting.say("EHLO client.example.org").code, 421);
    drop(waiting);
    gate.log.wait_for(&["event=ended", "outcome=backend_error", "no descriptor for the backend"]);
    assert_eq!(old.say("NOOP").code, 250);

    // Once there are some again, nothing has to be tested first.
    process.allow(usual);
    assert_eq!(served(&gate, gate.connect("smtp")).say("QUIT").code, 221);
    until("the record of the last session", || gate.log.text().contains("outcome=ok").then_some(()));
    assert!(!gate.log.text().contains("backend lost"), "{}", gate.log.text());
    assert_eq!(shortages(&gate), 1, "{}", gate.log.text());
    assert_eq!(old.say("NOOP").code, 250);
}
