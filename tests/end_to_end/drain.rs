//! SIGTERM, SIGINT and SIGQUIT: no new sessions, the old ones finish, then a farewell, and exit code 0.

use crate::support::gate::{Gate, Setup};
use crate::support::stack::{User, stack};
use crate::support::wait::until;
use crate::support::wire::{Offer, Wire};

fn gate(drain: &str) -> Gate {
    let (stack, _shown) = stack();
    Setup::new()
        .line(&format!("drain = \"{drain}\""))
        .listener("smtp", stack.postfix.proxy.smtp, "proxy-v2")
        .listener("imaps", stack.dovecot.gated, "proxy-v2")
        .listener("imap", stack.dovecot.gated, "proxy-v2")
        .start()
}

fn in_a_message(gate: &Gate, user: &User) -> Wire {
    let mut wire = gate.secured("smtp", &Offer::default().config());
    wire.say("MAIL FROM:<sender@example.net>");
    assert_eq!(wire.say(&format!("RCPT TO:<{}>", user.address)).code, 250);
    assert_eq!(wire.say("DATA").code, 354);
    wire.send("Subject: unhurried\r\n\r\n");
    wire
}

#[test]
fn sessions_finish_and_new_ones_are_refused() {
    let (stack, _shown) = stack();
    for signal in ["TERM", "INT", "QUIT"] {
        let mut gate = gate("1m");
        gate.signal("USR2"); // means nothing
        let user = stack.user();
        let mut wire = in_a_message(&gate, &user);
        gate.signal(signal);
        until("the ports are closed", || (!gate.is_open("smtp") && !gate.is_open("imaps")).then_some(()));
        assert!(gate.runs(), "{signal}: it waits for the session");
        assert_eq!(wire.say("the rest\r\n.").code, 250, "{signal}");
        assert_eq!(wire.say("QUIT").code, 221, "{signal}");
        wire.end();
        assert_eq!(gate.ended().code(), Some(0), "{signal}");
        assert!(String::from_utf8_lossy(&user.mail()).contains("the rest"));
    }
}

#[test]
fn after_the_drain_time_sessions_are_told_to_go() {
    let (stack, _shown) = stack();
    let mut gate = gate("500ms");
    let user = stack.user();
    let config = Offer::default().config();
    let mut idle = gate.secured("smtp", &config);
    let mut greeted = gate.connect("smtp");
    assert_eq!(greeted.reply().code, 220);
    let mut imap = gate.secured("imaps", &config);
    let mut cleartext_imap = gate.connect("imap");
    cleartext_imap.line().expect("a greeting");
    let mut silent_imap = gate.secured("imap", &config);
    let mut silent = gate.connect("smtp");
    assert_eq!(silent.reply().code, 220);
    assert_eq!(silent.say("STARTTLS").code, 220);
    let mut silent = silent.tls(&config);
    let mut unfinished = in_a_message(&gate, &user);
    gate.signal("TERM");
    for wire in [&mut idle, &mut greeted, &mut silent, &mut unfinished] {
        assert_eq!(wire.reply().code, 421);
    }
    for wire in [&mut imap, &mut cleartext_imap, &mut silent_imap] {
        assert!(wire.line().expect("a farewell").starts_with("* BYE"));
    }
    for mut wire in [idle, greeted, silent, unfinished, imap, cleartext_imap, silent_imap] {
        wire.end();
    }
    assert_eq!(gate.ended().code(), Some(0));
    gate.log.wait_for(&["outcome=shutdown"]);
    assert_eq!(user.count(), 0, "half a mail is no mail");
}

#[test]
fn a_gate_without_sessions_ends_at_once() {
    let mut gate = gate("1h");
    gate.signal("TERM");
    assert_eq!(gate.ended().code(), Some(0));
}
