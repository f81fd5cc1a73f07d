//! The files in `config/backends/` do on a hardened server what they say, before any gate is in the way.

use std::net::{Ipv4Addr, SocketAddr};

use crate::support::clients::{Envelope, Sender, Target, Tls};
use crate::support::mail;
use crate::support::stack::{DOMAIN, PASSWORD, dovecot_with_imap_id, stack};
use crate::support::wire::Wire;

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn connect(port: u16) -> Wire {
    Wire::connect(local(port))
}

#[test]
fn the_old_postfix_is_hardened() {
    let (stack, _shown) = stack();
    let mut wire = connect(stack.postfix.hardened);
    assert_eq!(wire.reply().code, 220);
    let ehlo = wire.say("EHLO client.example.org");
    assert!(ehlo.has("STARTTLS") && !ehlo.has("AUTH"), "{ehlo:?}");
    let refused = wire.say("MAIL FROM:<sender@example.com>");
    assert_eq!((refused.code, refused.lines[0].as_str()), (530, "5.7.0 Must issue a STARTTLS command first"));
}

#[test]
fn without_client_identity_postfix_relays_for_the_proxy() {
    let (stack, _shown) = stack();
    let mut wire = connect(stack.postfix.naked);
    wire.reply();
    wire.say("EHLO client.example.org");
    wire.say("MAIL FROM:<sender@example.com>");
    assert_eq!(wire.say("RCPT TO:<reader@example.org>").code, 250, "this is what the relay self-test must find");
}

#[test]
fn the_xclient_services_take_plaintext_and_know_the_client() {
    let (stack, _shown) = stack();
    let mut wire = connect(stack.postfix.xclient.smtp);
    wire.reply();
    let ehlo = wire.say("EHLO mail.example.net");
    assert!(ehlo.has("XCLIENT") && !ehlo.has("STARTTLS") && !ehlo.has("AUTH"), "{ehlo:?}");
    assert_eq!(wire.say("XCLIENT NAME=[UNAVAILABLE] ADDR=192.0.2.1").code, 220);
    assert!(!wire.say("EHLO client.example.org").has("XCLIENT"));
    assert_eq!(wire.say("MAIL FROM:<sender@example.com>").code, 250);
    assert_eq!(wire.say("RCPT TO:<reader@example.org>").code, 554, "a stranger");
    assert_eq!(wire.say(&format!("RCPT TO:<u000@{DOMAIN}>")).code, 250);

    let mut wire = connect(stack.postfix.xclient.submission);
    wire.reply();
    let ehlo = wire.say("EHLO client.example.org");
    assert!(ehlo.has("AUTH") && ehlo.has("XCLIENT") && !ehlo.has("STARTTLS"), "{ehlo:?}");
    wire.say("MAIL FROM:<sender@example.com>");
    assert_eq!(wire.say(&format!("RCPT TO:<u000@{DOMAIN}>")).code, 554, "nobody without AUTH");
}

#[test]
fn the_proxy_services_take_both_versions_of_the_header() {
    let (stack, _shown) = stack();
    for header in [b"PROXY TCP4 192.0.2.1 127.0.0.1 40000 25\r\n".to_vec(), v2_header()] {
        let mut wire = connect(stack.postfix.proxy.smtp);
        wire.send(header);
        assert_eq!(wire.reply().code, 220);
        let ehlo = wire.say("EHLO client.example.org");
        assert!(!ehlo.has("STARTTLS") && !ehlo.has("AUTH") && !ehlo.has("XCLIENT"), "{ehlo:?}");
        wire.say("MAIL FROM:<sender@example.com>");
        assert_eq!(wire.say("RCPT TO:<reader@example.org>").code, 554, "a stranger");
        assert_eq!(wire.say(&format!("RCPT TO:<u000@{DOMAIN}>")).code, 250);
    }
    let mut wire = connect(stack.postfix.proxy.submission);
    wire.send(v2_header());
    wire.reply();
    assert!(wire.say("EHLO client.example.org").has("AUTH"));
}

#[test]
fn the_old_dovecot_is_hardened() {
    let (stack, _shown) = stack();
    let user = stack.user();
    // From an address that is not the server's own, since Dovecot trusts its own.
    let mut wire = Wire::connect_from(Ipv4Addr::new(127, 0, 0, 2).into(), local(stack.dovecot.hardened));
    let greeting = wire.line().expect("a greeting");
    assert!(greeting.contains("STARTTLS") && greeting.contains("LOGINDISABLED"), "{greeting}");
    let answer = wire.tagged("a", &format!("LOGIN {} \"{PASSWORD}\"", user.name));
    assert!(answer.last().expect("an answer").starts_with("a NO"), "{answer:?}");
}

#[test]
fn dovecot_counts_a_proxy_header_with_tls_as_secured() {
    let (stack, _shown) = stack();
    let (user, log) = (stack.user(), stack.dovecot.log.tail());
    let mut wire = connect(stack.dovecot.gated);
    wire.send(v2_header());
    let greeting = wire.line().expect("a greeting");
    assert!(!greeting.contains("LOGINDISABLED"), "{greeting}");
    let answer = wire.tagged("a", &format!("LOGIN {} \"{PASSWORD}\"", user.name));
    assert!(answer.last().expect("an answer").starts_with("a OK"), "{answer:?}");
    log.wait_for(&["imap-login: Info: Login:", &format!("user=<{}>", user.name), "rip=192.0.2.1", "secured"]);
}

#[test]
fn dovecot_takes_the_client_from_imap_id() {
    let (stack, _shown) = stack();
    let (user, dovecot) = (stack.user(), dovecot_with_imap_id());
    let log = dovecot.log.tail();
    let mut wire = connect(dovecot.gated);
    let greeting = wire.line().expect("a greeting");
    assert!(!greeting.contains("LOGINDISABLED"), "{greeting}");
    wire.tagged("a", "ID (\"x-originating-ip\" \"192.0.2.1\" \"x-originating-port\" \"40000\")");
    let answer = wire.tagged("b", &format!("LOGIN {} \"{PASSWORD}\"", user.name));
    assert!(answer.last().expect("an answer").starts_with("b OK"), "{answer:?}");
    log.wait_for(&["imap-login: Info: Login:", &format!("user=<{}>", user.name), "rip=192.0.2.1"]);
}

#[test]
fn every_sender_reaches_the_backend_directly() {
    let (stack, _shown) = stack();
    let target = Target { port: stack.postfix.xclient.submission, tls: Tls::Off };
    for sender in Sender::ALL {
        let user = stack.user();
        let envelope = Envelope { from: &user.address, to: &user.address, login: Some(&user.name) };
        let sent = mail::mail("a line\r\n.\r\n");
        let finished = sender.send(target, envelope, &sent).success();
        assert_eq!(
            String::from_utf8_lossy(&mail::without_trace(&user.mail())),
            String::from_utf8_lossy(&mail::with_lf(&sent)),
            "{}",
            finished.story()
        );
    }
}

/// From 192.0.2.1, by way of TLS 1.3.
fn v2_header() -> Vec<u8> {
    let version = b"TLSv1.3";
    let mut ssl = vec![0x01, 0, 0, 0, 1, 0x21, 0, u8::try_from(version.len()).expect("short")];
    ssl.extend(version);
    let addresses = [192, 0, 2, 1, 127, 0, 0, 1, 0x9C, 0x40, 0, 25];
    let length = u8::try_from(addresses.len() + 3 + ssl.len()).expect("short");
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0".to_vec();
    header.push(length);
    header.extend(addresses);
    header.extend([0x20, 0, u8::try_from(ssl.len()).expect("short")]);
    header.extend(ssl);
    header
}
