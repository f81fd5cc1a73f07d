//! Mail is read back through Sealgate by the real clients, and IMAP's own traps are closed.

use std::net::IpAddr;

use crate::support::base64;
use crate::support::clients::{Envelope, Reader, Sender, Target, Tls};
use crate::support::gate::{Setup, gate};
use crate::support::mail;
use crate::support::stack::{PASSWORD, User, dovecot_with_imap_id, stack};
use crate::support::wire::{Offer, Wire};

/// A user who has that mail.
fn user_with(content: &[u8]) -> User {
    let (stack, _shown) = stack();
    let user = stack.user();
    let target = Target { port: stack.postfix.xclient.smtp, tls: Tls::Off };
    let envelope = Envelope { from: &user.address, to: &user.address, login: None };
    Sender::Smtplib.send(target, envelope, content).success();
    user.mail();
    user
}

#[test]
fn every_reader_on_both_services() {
    let (gate, _shown) = gate();
    for (name, content) in mail::difficult() {
        let user = user_with(&content);
        let stored = mail::with_lf(&user.mail());
        for service in ["imap", "imaps"] {
            for reader in Reader::ALL {
                let read = mail::without_trace(&reader.fetch(gate.target(service), &user.name));
                assert_eq!(
                    String::from_utf8_lossy(&read),
                    String::from_utf8_lossy(&mail::without_trace(&stored)),
                    "{name}, {service}, {reader:?}"
                );
            }
        }
    }
}

#[test]
fn ten_mebibytes_come_back_whole() {
    let (gate, _shown) = gate();
    let user = user_with(&mail::ten_mebibytes());
    let stored = mail::with_lf(&user.mail());
    for (service, reader) in [("imap", Reader::Curl), ("imaps", Reader::Imaplib)] {
        let read = mail::with_lf(&reader.fetch(gate.target(service), &user.name));
        assert!(read == stored, "{service}, {reader:?}: {} octets, not {}", read.len(), stored.len());
    }
}

#[test]
fn a_mail_goes_in_through_one_gate_and_comes_out_of_the_other() {
    let (stack, _stack_shown) = stack();
    let (gate, _shown) = gate();
    let content = mail::mail("Hello\r\n");
    let user = stack.user();
    let envelope = Envelope { from: &user.address, to: &user.address, login: Some(&user.name) };
    Sender::Swaks.send(gate.target("submission"), envelope, &content).success();
    user.mail();
    let read = Reader::Mbsync.fetch(gate.target("imap"), &user.name);
    assert_eq!(mail::without_trace(&read), mail::with_lf(&content));
}

#[test]
fn rfc9051_6_2_1_nothing_secret_before_tls() {
    let (gate, _shown) = gate();
    let (stack, _stack_shown) = stack();
    let user = stack.user();
    let mut wire = gate.connect("imap");
    let greeting = wire.line().expect("a greeting");
    assert!(greeting.starts_with("* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED]"), "{greeting}");
    let capability = wire.tagged("a", "CAPABILITY");
    assert_eq!(capability[0], "* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED");
    for (tag, command) in [("b", format!("LOGIN {} \"{PASSWORD}\"", user.name)), ("c", "AUTHENTICATE PLAIN".to_owned())]
    {
        let answer = wire.tagged(tag, &command);
        assert!(answer.len() == 1 && answer[0].starts_with(&format!("{tag} NO [PRIVACYREQUIRED]")), "{answer:?}");
    }
    // Inside TLS the same login is fine, and the lists no longer forbid it.
    let mut wire = gate.secured("imap", &Offer::default().config());
    let capability = wire.tagged("d", "CAPABILITY").concat();
    assert!(!capability.contains("LOGINDISABLED") && !capability.contains("STARTTLS"), "{capability}");
    assert!(log_in(&mut wire, &user).starts_with("l OK"));
}

fn log_in(wire: &mut Wire, user: &User) -> String {
    wire.tagged("l", &format!("LOGIN {} \"{PASSWORD}\"", user.name)).pop().unwrap_or_default()
}

#[test]
fn logins_of_every_kind() {
    let (gate, _shown) = gate();
    let (stack, _stack_shown) = stack();
    let user = stack.user();
    let plain = base64(format!("\0{}\0{PASSWORD}", user.name).as_bytes());
    let config = Offer::default().config();
    let quoted = format!("a LOGIN {} \"{PASSWORD}\"\r\n", user.name);
    let initial = format!("a AUTHENTICATE PLAIN {plain}\r\n");
    let literals =
        format!("a LOGIN {{{}+}}\r\n{} {{{}+}}\r\n{PASSWORD}\r\n", user.name.len(), user.name, PASSWORD.len());
    for request in [quoted, initial, literals] {
        let mut wire = gate.secured("imaps", &config);
        wire.send(&request);
        let answer = wire.line().expect("an answer");
        let answer = if answer.starts_with("* ") { wire.line().expect("an answer") } else { answer };
        assert!(answer.starts_with("a OK"), "{request:?}: {answer}");
        assert!(wire.tagged("b", "SELECT INBOX").concat().contains("b OK"));
    }
    // The continuation, taken and cancelled.
    let mut wire = gate.secured("imaps", &config);
    wire.send("a AUTHENTICATE PLAIN\r\n");
    assert!(wire.line().expect("a continuation").starts_with('+'));
    wire.send("*\r\n");
    assert!(wire.line().expect("an answer").starts_with("a BAD"));
    assert!(log_in(&mut wire, &user).starts_with("l OK"));
}

#[test]
fn after_login_the_session_is_opaque() {
    let (gate, _shown) = gate();
    let (stack, _stack_shown) = stack();
    let user = stack.user();
    let config = Offer::default().config();
    let mut wire = gate.secured("imaps", &config);
    assert!(log_in(&mut wire, &user).starts_with("l OK"));

    let content = mail::ten_mebibytes();
    wire.send(format!("a APPEND INBOX {{{}}}\r\n", content.len()));
    assert!(wire.line().expect("a continuation").starts_with('+'));
    wire.send(&content);
    wire.send("\r\n");
    assert!(wire.line().expect("an answer").starts_with("a OK"));
    assert!(mail::with_lf(&user.mail()) == mail::with_lf(&content), "the appended mail is not the one that was sent");

    // RFC 2177: the server speaks first.
    assert!(wire.tagged("b", "SELECT INBOX").contains(&"* 1 EXISTS".to_owned()));
    wire.send("c IDLE\r\n");
    assert!(wire.line().expect("a continuation").starts_with('+'));
    let target = Target { port: stack.postfix.xclient.smtp, tls: Tls::Off };
    let envelope = Envelope { from: &user.address, to: &user.address, login: None };
    Sender::Smtplib.send(target, envelope, &mail::mail("two\r\n")).success();
    while wire.line().expect("word of the new mail") != "* 2 EXISTS" {}
    wire.send("DONE\r\n");
    while !wire.line().expect("an answer").starts_with("c OK") {}
}

#[test]
fn dovecot_learns_the_client_by_proxy_header_and_by_id() {
    let (stack, _shown) = stack();
    let with_id = dovecot_with_imap_id();
    let from = IpAddr::from([127, 0, 0, 2]);
    for (dovecot, identity) in [(&stack.dovecot, "proxy-v2"), (with_id, "imap-id")] {
        let gate = Setup::new().listener("imaps", dovecot.gated, identity).start();
        let (user, log) = (stack.user(), dovecot.log.tail());
        let mut wire = gate.secure("imaps", gate.connect_from(from, "imaps"), &Offer::default().config());
        assert!(log_in(&mut wire, &user).starts_with("l OK"), "{identity}");
        log.wait_for(&["Login:", &format!("user=<{}>", user.name), "rip=127.0.0.2", "secured"]);
        let mut wire = gate.secure("imaps", gate.connect_from(from, "imaps"), &Offer::default().config());
        let refused = wire.tagged("l", &format!("LOGIN {} wrong", user.name)).pop().unwrap_or_default();
        assert!(refused.starts_with("l NO"), "{refused}");
        wire.tagged("m", "LOGOUT");
        log.wait_for(&["auth failed", &format!("user=<{}>", user.name), "rip=127.0.0.2"]);
    }
}

#[test]
fn no_password_reaches_a_log() {
    let (stack, _shown) = stack();
    let user = stack.user();
    let gate = Setup::new()
        .listener("imaps", stack.dovecot.gated, "proxy-v2")
        .listener("submissions", stack.postfix.proxy.submission, "proxy-v2")
        .start();
    let config = Offer::default().config();
    let response = base64(format!("\0{}\0{PASSWORD}", user.name).as_bytes());
    let mut imap = gate.secured("imaps", &config);
    assert!(log_in(&mut imap, &user).starts_with("l OK"));
    imap.tagged("z", "LOGOUT");
    let mut smtp = gate.secured("submissions", &config);
    assert_eq!(smtp.say(&format!("AUTH PLAIN {response}")).code, 235);
    smtp.say("QUIT");
    // One closing record a session.
    gate.log.wait_for(&[&user.name, "imaps"]);
    gate.log.wait_for(&[&user.name, "submissions"]);
    let log = gate.log.text();
    for secret in [PASSWORD, &response, &base64(PASSWORD.as_bytes())] {
        assert!(!log.contains(secret), "{log}");
    }
}
