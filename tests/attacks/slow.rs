//! Clients that take their time, silent or busy: told so in their protocol, in the time that was set, and logged once.

use std::net::Ipv4Addr;
use std::time::Instant;

use crate::support::fake::{self, Fake};
use crate::support::gate::{Gate, Setup};
use crate::support::wait::PATIENCE;
use crate::support::wire::client_hello;
use crate::support::wire::{Offer, Wire};

/// Everything within a second, the login and all that goes before it within three. The backend is in no hurry.
fn gate(backend: &Fake) -> Gate {
    let short = ["proxy_header", "handshake", "command", "body"].map(|name| format!("{name} = \"1s\"\n"));
    let vouched = "allow_relay_as_proxy = true\naccept_proxy_from = [\"127.0.0.4/32\"]";
    Setup::new()
        .table(&format!("[deadlines]\nlogin = \"3s\"\nbody_rate = 1000000\n{}", short.concat()))
        .listener_with("smtp", backend.port, "none", vouched)
        .listener_with("submission", backend.port, "none", vouched)
        .listener_with("submissions", backend.port, "none", vouched)
        .start()
}

/// Says NOOP until it is told to go.
fn busy(wire: &mut Wire) -> u16 {
    let began = Instant::now();
    loop {
        let answer = wire.say("NOOP");
        if answer.code != 250 {
            return answer.code;
        }
        assert!(began.elapsed() < PATIENCE, "nobody tells it to go");
    }
}

/// A session that stays in cleartext, as it may on port 25.
fn stay_plain(mut wire: Wire) -> Wire {
    assert_eq!(wire.reply().code, 220);
    assert_eq!(wire.say("EHLO client.example.org").code, 250);
    wire
}

#[test]
fn slow_clients_are_told_to_go_whatever_they_are_slow_at() {
    let backend = Fake::start(fake::smtp(|line, wire| {
        let content = line.starts_with("BDAT") || line == "DATA";
        if line == "DATA" {
            wire.send("354 End data with <CR><LF>.<CR><LF>\r\n");
        }
        if content {
            wire.rest(); // none of it is ever complete
        }
        content.then_some(false)
    }));
    let gate = &gate(&backend);
    let config = &Offer::default().config();
    let from = |last: u8| Ipv4Addr::new(127, 0, 55, last);
    let connect = |last, service| gate.connect_from(from(last), service);
    let ended = |last: u8, reason: &str| {
        let client = format!("client={} ", from(last));
        gate.log.wait_for(&["event=ended", &client, "outcome=timeout", reason]);
    };
    let (before, client) = ("client silent for too long before TLS", "client silent for too long");
    std::thread::scope(|scope| {
        // Before TLS.
        scope.spawn(|| {
            let mut wire = connect(1, "smtp");
            assert_eq!(wire.reply().code, 220);
            assert_eq!(wire.reply().lines, ["4.4.2 mail.example.net Error: timeout exceeded"]);
            wire.end();
            drop(wire);
            ended(1, before);
        });
        scope.spawn(|| {
            let mut wire = connect(2, "submission");
            assert_eq!(wire.reply().code, 220);
            assert_eq!(busy(&mut wire), 421, "a login has one deadline");
            drop(wire);
            ended(2, before);
        });
        // Behind STARTTLS, before the first word.
        scope.spawn(|| {
            let mut wire = connect(21, "smtp");
            assert_eq!(wire.reply().code, 220);
            assert_eq!(wire.say("STARTTLS").code, 220);
            let mut wire = wire.tls(config);
            assert_eq!(wire.reply().code, 421);
            wire.end();
            drop(wire);
            ended(21, client);
        });
        // In the handshake: nothing, or half of it.
        scope.spawn(|| {
            connect(3, "submissions").end();
            ended(3, "no ClientHello in time");
        });
        scope.spawn(|| {
            let mut wire = connect(4, "submissions");
            let hello = client_hello();
            wire.send(hello.split_at(hello.len() / 2).0);
            wire.rest();
            ended(4, "no ClientHello in time");
        });
        scope.spawn(|| {
            let mut wire = connect(5, "submissions");
            wire.send(client_hello());
            wire.rest();
            ended(5, "TLS handshake timed out");
        });
        // Inside TLS.
        scope.spawn(|| {
            let mut wire = gate.secure("submissions", connect(6, "submissions"), config);
            assert_eq!(wire.reply().code, 421);
            wire.end();
            drop(wire);
            ended(6, client);
        });
        scope.spawn(|| {
            let mut wire = gate.secure("smtp", connect(7, "smtp"), config);
            assert_eq!(busy(&mut wire), 421, "a hundred commands, and no message");
            drop(wire);
            let line = gate.log.wait_for(&["event=ended", &format!("client={} ", from(7))]);
            assert!(line.contains("outcome=policy reason=\"too many commands without a message\""), "{line}");
        });
        scope.spawn(|| {
            let mut wire = gate.secure("submissions", connect(8, "submissions"), config);
            assert_eq!(wire.say("MAIL FROM:<sender@example.net>").code, 250);
            assert_eq!(wire.reply().code, 421, "the next command");
            drop(wire);
            ended(8, client);
        });
        // In a message, by DATA and by BDAT.
        scope.spawn(|| {
            for (last, command) in [(9, "DATA"), (10, "BDAT 1000 LAST")] {
                let mut wire = gate.secure("submissions", connect(last, "submissions"), config);
                assert_eq!(wire.say("MAIL FROM:<sender@example.net>").code, 250);
                assert_eq!(wire.say("RCPT TO:<reader@example.net>").code, 250);
                wire.send(format!("{command}\r\n"));
                if last == 9 {
                    assert_eq!(wire.reply().code, 354);
                }
                wire.send("Subject: one\r\n\r\nhalf of it\r\n");
                assert_eq!(wire.reply().code, 421, "{command}");
                drop(wire);
                ended(last, client);
            }
        });
        // In a message that never ends, an octet at a time, as fast as that goes; inside TLS and in cleartext.
        for (last, service) in [(11, "submissions"), (12, "smtp")] {
            scope.spawn(move || {
                let mut wire = connect(last, service);
                wire = if last == 12 { stay_plain(wire) } else { gate.secure(service, wire, config) };
                assert_eq!(wire.say("MAIL FROM:<sender@example.net>").code, 250);
                assert_eq!(wire.say("RCPT TO:<reader@example.net>").code, 250);
                assert_eq!(wire.say("DATA").code, 354);
                let began = Instant::now();
                while wire.try_send(b"x").is_ok() {
                    assert!(began.elapsed() < PATIENCE, "nobody tells it to go");
                }
                // "comes in too slowly", or "silent" where a busy machine let the attacker have no turn for half a second.
                ended(last, "reason=");
            });
        }
        // A load balancer that does not say for whom it speaks.
        scope.spawn(|| {
            gate.connect_from(Ipv4Addr::new(127, 0, 0, 4), "smtp").end();
            gate.log.wait_for(&["event=ended", "client=127.0.0.4 ", "outcome=timeout", "no PROXY header in time"]);
        });
    });
}
