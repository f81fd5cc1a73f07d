//! Networks that come too often, and fail too often: delayed, refused, counted, and let in again.

use std::net::Ipv4Addr;

use crate::support::fake::{self, Fake};
use crate::support::gate::{BEHIND_BALANCER, Gate, Setup};
use crate::support::stack::{PASSWORD, Stack, stack};
use crate::support::wire::{Offer, Wire};

fn from(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 66, last)
}

fn fake() -> Fake {
    Fake::start(fake::smtp(|_, _| None))
}

/// SMTP before a backend that takes everything; `limits` count loopback, too.
fn gate(backend: &Fake, limits: &str, more: &str) -> Gate {
    let vouched = format!("allow_relay_as_proxy = true\n{more}");
    Setup::new()
        .table(&format!("[limits]\nexempt = []\n{limits}"))
        .listener_with("smtp", backend.port, "none", &vouched)
        .listener_with("submissions", backend.port, "none", &vouched)
        .start()
}

/// The reply to a client that is not let in, or the greeting.
fn greeting(mut wire: Wire) -> u16 {
    wire.reply().code
}

/// In front of the real servers, with two failed logins a minute.
fn two_logins(stack: &Stack) -> Gate {
    Setup::new()
        .table("[limits]\nexempt = []\nfailed_logins_per_minute = 2")
        .listener("submissions", stack.postfix.proxy.submission, "proxy-v2")
        .listener("imaps", stack.dovecot.gated, "proxy-v2")
        .start()
}

#[test]
fn guessed_passwords_are_delayed_then_refused_and_a_login_makes_up_for_one() {
    let (stack, _shown) = stack();
    let gate = &two_logins(stack);
    let config = &Offer::default().config();
    let user = stack.user();
    let (guesser, other) = (from(1), from(2));
    let login = |wire: &mut Wire, password: &str| {
        let answer = wire.tagged("a", &format!("LOGIN {} \"{password}\"", user.name)).pop();
        answer.expect("an answer").starts_with("a OK")
    };
    // Somebody else behind that address, who was there before.
    let mut neighbour = gate.secure("imaps", gate.connect_from(guesser, "imaps"), config);

    // By SMTP and by IMAP: it is the address that counts. Somebody else's login makes up for the first, so the next is answered at
    // once, too, and only the one behind that is not.
    let mut wire = gate.secure("submissions", gate.connect_from(guesser, "submissions"), config);
    let plain = crate::support::base64(format!("\0{}\0wrong", user.name));
    assert_eq!(wire.say(&format!("AUTH PLAIN {plain}")).code, 535);
    assert_eq!(wire.say("QUIT").code, 221);
    let line = gate.log.wait_for(&["event=ended", &format!("client_port={} ", wire.port)]);
    assert!(line.contains("auth_failures=1") && !line.contains("delayed_ms"), "{line}");
    assert!(login(&mut neighbour, PASSWORD));
    let mut wire = gate.secure("imaps", gate.connect_from(guesser, "imaps"), config);
    assert!(!login(&mut wire, "wrong"));
    assert!(!login(&mut wire, "wrong"));
    assert!(wire.tagged("b", "LOGOUT").concat().contains("b OK"));
    gate.log.wait_for(&["event=ended", &format!("client_port={} ", wire.port), "auth_failures=2 delayed_ms=1000"]);

    // Refused, and told why inside TLS; others are not.
    let mut refused = gate.connect_from(guesser, "imaps").tls(config);
    let said = refused.rest();
    assert!(said.starts_with("* BYE [UNAVAILABLE] ") && said.contains("too many failures"), "{said}");
    let port = format!("client_port={} ", refused.port);
    gate.log.wait_for(&["event=ended", &port, "outcome=policy", "\"too many failed logins from this address\""]);
    assert_eq!(gate.connect_from(guesser, "submissions").tls(config).reply().code, 421);
    let mut wire = gate.secure("imaps", gate.connect_from(other, "imaps"), config);
    assert!(login(&mut wire, PASSWORD));
}

#[test]
fn sessions_that_were_open_before_do_not_go_on_guessing() {
    let (stack, _shown) = stack();
    let gate = &two_logins(stack);
    let config = &Offer::default().config();
    let user = stack.user();
    let plain = format!("AUTH PLAIN {}", crate::support::base64(format!("\0{}\0wrong", user.name)));
    let login = format!("a LOGIN {} \"{PASSWORD}\"\r\n", user.name);
    let open = |service: &str| gate.secure(service, gate.connect_from(from(3), service), config);
    let (mut first, mut second) = (open("submissions"), open("submissions"));
    let (mut third, mut fourth) = (open("imaps"), open("imaps"));
    third.send("a LOGIN {5}\r\n");
    assert!(third.line().is_some_and(|line| line.starts_with('+')));
    assert_eq!(first.say(&plain).code, 535);
    assert_eq!(first.say(&plain).code, 535);
    // The minute's share is used up: the backend is not asked any more, whatever the password, and however much of the login it has.
    let bye = second.say(&plain);
    assert!(bye.code == 421 && bye.lines[0].contains("too many failures"), "{bye:?}");
    second.end();
    third.send("alice wrong\r\n");
    fourth.send(&login);
    for wire in [&mut third, &mut fourth] {
        let said = wire.rest();
        assert!(said.starts_with("* BYE [UNAVAILABLE] ") && said.contains("too many failures"), "{said}");
    }
    for wire in [&second, &third, &fourth] {
        let port = format!("client_port={} ", wire.port);
        let reason = "\"too many failed logins from this address\"";
        let record = gate.log.wait_for(&["event=ended", &port, "outcome=policy", reason]);
        assert!(!record.contains("auth_failures") && !record.contains("auth=ok"), "{record}");
    }
    assert_eq!(first.say("QUIT").code, 221, "who only stays is left alone");
}

#[test]
fn of_guesses_that_come_at_once_only_those_are_judged_that_may_fail() {
    let (stack, _shown) = stack();
    let gate = &two_logins(stack);
    let config = &Offer::default().config();
    let user = stack.user();
    let plain = crate::support::base64(format!("\0{}\0wrong", user.name));
    let words = |service: &str| match service {
        "imaps" => format!("a LOGIN {} wrong\r\n", user.name),
        _ => format!("AUTH PLAIN {plain}\r\n"),
    };
    let services = ["submissions", "imaps"].repeat(5);
    let mut wires: Vec<(&str, Wire)> = services
        .into_iter()
        .map(|service| (service, gate.secure(service, gate.connect_from(from(6), service), config)))
        .collect();
    for (service, wire) in &mut wires {
        wire.send(words(service));
    }
    let answers: Vec<String> = wires.iter_mut().map(|(_, wire)| wire.line().expect("an answer")).collect();
    let judged = answers.iter().filter(|answer| answer.starts_with("535 ") || answer.starts_with("a NO ")).count();
    let barred = answers.iter().filter(|answer| answer.contains("too many failures")).count();
    assert_eq!((judged, barred), (2, 8), "{answers:?}");
    for (_, wire) in &mut wires {
        wire.finish();
        gate.log.wait_for(&["event=ended", &format!("client_port={} ", wire.port)]);
    }
    assert_eq!(gate.log.text().matches("auth_failures=1").count(), 2, "and nobody was asked about the others");
}

#[test]
fn logins_that_come_at_once_take_turns() {
    let (stack, _shown) = stack();
    let gate = &two_logins(stack);
    let config = &Offer::default().config();
    let user = stack.user();
    let open = |_| gate.secure("imaps", gate.connect_from(from(7), "imaps"), config);
    let mut wires: Vec<Wire> = (0..10).map(open).collect();
    // Somebody who has begun one and does not go on is in nobody's way, be it with only the line end to come.
    for (silent, said) in wires.iter_mut().take(3).zip(["", PASSWORD, PASSWORD]) {
        silent.send(format!("a LOGIN {} {{{}}}\r\n", user.name, PASSWORD.len()));
        assert!(silent.line().is_some_and(|line| line.starts_with('+')));
        silent.send(said);
    }
    for wire in wires.iter_mut().skip(3) {
        wire.send(format!("a LOGIN {} \"{PASSWORD}\"\r\n", user.name));
    }
    let mut heard = |wire: &mut Wire| {
        let answer = wire.line().expect("an answer");
        assert!(answer.starts_with("a OK") || answer.starts_with("* CAPABILITY"), "{answer}");
    };
    wires.iter_mut().skip(3).for_each(&mut heard);
    for (silent, rest) in wires.iter_mut().take(3).zip([PASSWORD, "", ""]) {
        silent.send(format!("{rest}\r\n"));
    }
    wires.iter_mut().take(3).for_each(&mut heard);
}

#[test]
fn a_guess_counts_although_its_client_leaves_without_the_answer() {
    let (stack, _shown) = stack();
    let gate = &two_logins(stack);
    let config = &Offer::default().config();
    let user = stack.user();
    // Dovecot says yes at once and no after two seconds: who guesses need not wait for that.
    let plain = crate::support::base64(format!("\0{}\0wrong", user.name));
    for (service, words) in
        [("submissions", format!("AUTH PLAIN {plain}\r\n")), ("imaps", format!("a LOGIN {} wrong\r\n", user.name))]
    {
        let mut wire = gate.secure(service, gate.connect_from(from(5), service), config);
        wire.send(words);
        let port = format!("client_port={} ", wire.port);
        drop(wire); // without a close_notify
        gate.log.wait_for(&["event=ended", &port, "outcome=client_error", "auth_failures=1"]);
    }
    assert_eq!(gate.connect_from(from(5), "submissions").tls(config).reply().code, 421);
}

#[test]
fn failed_handshakes_are_refused_without_another_one() {
    let backend = fake();
    let gate = gate(&backend, "failed_handshakes_per_minute = 2", "");
    let config = Offer::default().config();
    // A connection that is closed without a word is a health check, not a handshake.
    for _ in 0..5 {
        let mut wire = gate.connect_from(from(1), "submissions");
        wire.finish();
        wire.end();
    }
    for _ in 0..2 {
        let mut wire = gate.connect_from(from(1), "submissions");
        wire.send("EHLO client.example.org\r\n");
        wire.rest();
        gate.log.wait_for(&["event=ended", &format!("client_port={} ", wire.port), "not TLS: cleartext"]);
    }
    let mut wire = gate.connect_from(from(1), "submissions");
    assert!(wire.try_tls(&config).is_err(), "no handshake");
    let refused = gate.log.wait_for(&["event=ended", &format!("client_port={} ", wire.port)]);
    assert!(refused.contains("outcome=policy") && refused.contains("\"too many failed handshakes from this address\""));
    assert!(!refused.contains("offered_"), "nobody has looked at its ClientHello: {refused}");
    // In cleartext a word costs nothing.
    assert_eq!(greeting(gate.connect_from(from(1), "smtp")), 421);
    assert_eq!(greeting(gate.connect_from(from(2), "submissions").tls(&config)), 220);
}

#[test]
fn a_flood_of_sessions_is_refused_and_does_not_flood_the_log() {
    const FLOOD: usize = 200;
    let backend = fake();
    let mut gate = gate(&backend, "sessions_per_minute = 3", "");
    for _ in 0..3 {
        assert_eq!(greeting(gate.connect_from(from(1), "smtp")), 220);
    }
    // As many come back as a minute's share for the time that this takes; none of the others is served.
    let codes: Vec<u16> = (0..FLOOD).map(|_| greeting(gate.connect_from(from(1), "smtp"))).collect();
    let refused = codes.iter().filter(|code| **code == 421).count();
    assert!(refused >= FLOOD - 3, "{codes:?}");
    gate.connect_from(from(1), "submissions").end();
    assert_eq!(greeting(gate.connect_from(from(2), "smtp")), 220);

    gate.signal("TERM");
    gate.ended();
    let text = gate.log.text();
    let reason = "reason=\"too many new sessions from this address\"";
    let logged = text.lines().filter(|line| line.contains(reason)).count();
    assert!((1..=3).contains(&logged), "a record a minute: {logged}");
    // The others are counted, once a minute and at the end.
    let counted = |line: &str| line.split("refused=").nth(1)?.split(' ').next()?.parse::<usize>().ok();
    let more: usize = text
        .lines()
        .filter(|line| line.contains("more sessions refused") && line.contains("client=127.0.66.1 "))
        .filter_map(counted)
        .sum();
    assert_eq!(logged + more, refused + 1, "{text}");
}

#[test]
fn behind_a_balancer_it_is_the_client_that_counts() {
    let backend = fake();
    let gate = gate(&backend, "sessions_per_minute = 1", BEHIND_BALANCER);
    let client = |last| greeting(gate.connect_for(Ipv4Addr::new(203, 0, 113, last), "smtp"));
    assert_eq!([client(1), client(1), client(2)], [220, 421, 220]);
    gate.log.wait_for(&["event=ended", "client=203.0.113.1 ", "too many new sessions"]);
}

#[test]
fn a_login_whose_backend_is_gone_keeps_nobody_waiting() {
    let backend = Fake::start(fake::smtp(|verb, _| verb.starts_with("AUTH").then_some(false)));
    let gate = &gate(&backend, "failed_logins_per_minute = 1", "");
    let config = &Offer::default().config();
    let open = |_| gate.secure("submissions", gate.connect_from(from(9), "submissions"), config);
    let mut wires: Vec<Wire> = (0..8).map(open).collect();
    for wire in &mut wires {
        wire.send("AUTH PLAIN AGEAYg==\r\n");
    }
    for wire in &mut wires {
        assert_eq!(wire.reply().code, 421);
    }
    // The clients stay, and each is waited for for two seconds. Its place was free before that, or all but the last had ended.
    let text = gate.log.text();
    let is_over = |wire: &&Wire| {
        let port = format!("client_port={} ", wire.port);
        text.lines().any(|line| line.contains("event=ended") && line.contains(&port))
    };
    assert!(wires.iter().filter(is_over).count() < wires.len() - 1, "{text}");
}
