//! Attacks on the old server that end at the gate, with the real Postfix behind it.

use std::net::{Ipv4Addr, SocketAddr};

use crate::support::gate::{Setup, gate};
use crate::support::mail;
use crate::support::stack::{User, stack};
use crate::support::wire::{Offer, Wire};

/// What some server somewhere takes for the end of data (CVE-2023-51764, CVE-2023-51765, CVE-2023-51766).
const FALSE_ENDS: [&str; 9] =
    ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r.\r\n", "\r\n.\r", "\r\n\0.\r\n", "\r\n.\0\r\n", "\n.\r"];

/// A mail that carries another one behind something that is no end of data.
pub fn carrier(end: &str, user: &User) -> String {
    format!(
        "Subject: carrier\r\n\r\ntext{end}MAIL FROM:<admin@example.net>\r\nRCPT TO:<{}>\r\nDATA\r\n\
         Subject: smuggled\r\n\r\nsmuggled\r\n.\r\n",
        user.address
    )
}

pub fn begin(wire: &mut Wire, user: &User) {
    assert_eq!(wire.say("MAIL FROM:<sender@example.com>").code, 250);
    assert_eq!(wire.say(&format!("RCPT TO:<{}>", user.address)).code, 250);
    assert_eq!(wire.say("DATA").code, 354);
}

#[test]
fn the_old_postfix_takes_smuggled_mail() {
    // Otherwise the next test could not fail.
    let (stack, _shown) = stack();
    let user = stack.user();
    let mut wire = Wire::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, stack.postfix.naked)));
    wire.reply();
    wire.say("EHLO client.example.org");
    begin(&mut wire, &user);
    wire.send(carrier("\n.\r\n", &user));
    assert_eq!([(); 5].map(|()| wire.reply().code), [250, 250, 250, 354, 250], "two mails and what is between them");
    user.mails(2);
}

#[test]
fn cve_2023_51764_one_end_of_data_is_one_mail() {
    let (gate, _shown) = gate();
    let (stack, _stack_shown) = stack();
    for end in FALSE_ENDS {
        let user = stack.user();
        let mut wire = gate.secured("smtp", &Offer::default().config());
        begin(&mut wire, &user);
        wire.send(carrier(end, &user));
        assert_eq!(wire.reply().code, 250, "{end:?}");
        assert_eq!(wire.say("QUIT").code, 221, "{end:?}");
        let mail = user.mail();
        let (_, body) = mail::split(&mail);
        let body = String::from_utf8_lossy(&body);
        assert!(body.contains("MAIL FROM:<admin@example.net>") && body.ends_with("smuggled\n"), "{end:?}: {body:?}");
    }
}

#[test]
fn a_gate_that_rejects_bare_newlines_delivers_nothing() {
    let (stack, _shown) = stack();
    let gate =
        Setup::new().listener_with("smtp", stack.postfix.proxy.smtp, "proxy-v2", "bare_newline = \"reject\"").start();
    let config = Offer::default().config();
    for end in FALSE_ENDS.iter().filter(|end| !end.contains('\0')) {
        let user = stack.user();
        let mut wire = gate.secured("smtp", &config);
        begin(&mut wire, &user);
        wire.send(carrier(end, &user));
        assert_eq!(wire.reply().code, 550, "{end:?}");
        assert_eq!(wire.reply().code, 421, "{end:?}");
        wire.end();
        // The next mail comes after whatever would have come of that one.
        let mut wire = gate.secured("smtp", &config);
        begin(&mut wire, &user);
        assert_eq!(wire.say("Subject: fine\r\n\r\nfine\r\n.").code, 250, "{end:?}");
        assert!(String::from_utf8_lossy(&user.mail()).contains("Subject: fine"), "{end:?}");
    }
}

#[test]
fn cve_2011_0411_commands_behind_starttls_are_refused() {
    let (gate, _shown) = gate();
    for (service, command, injected) in [
        ("smtp", "STARTTLS", "MAIL FROM:<admin@example.net>"),
        ("submission", "STARTTLS", "RSET"),
        ("imap", "a STARTTLS", "b CAPABILITY"),
    ] {
        let log = gate.log.tail();
        let mut wire = gate.connect(service);
        wire.line().expect("a greeting");
        if service != "imap" {
            wire.say("EHLO client.example.org");
        }
        wire.send(format!("{command}\r\n{injected}\r\n"));
        let rest = wire.rest();
        assert!(!rest.contains("220 ") && !rest.contains("a OK"), "{service}: no TLS may follow: {rest}");
        log.wait_for(&[&format!("client_port={} ", wire.port), "outcome=policy", "commands sent behind STARTTLS"]);
    }
}

#[test]
fn a_client_cannot_say_who_it_is() {
    let (stack, _shown) = stack();
    let gate = Setup::new().listener("smtp", stack.postfix.xclient.smtp, "xclient").start();
    let log = stack.postfix.log.tail();
    let mut wire = gate.secured("smtp", &Offer::default().config());
    for command in ["XCLIENT ADDR=192.0.2.77 NAME=friend.example.net", "XFORWARD ADDR=192.0.2.77"] {
        assert!((500..600).contains(&wire.say(command).code), "{command}");
    }
    assert_eq!(wire.say("QUIT").code, 221);
    let mut wire = gate.connect("smtp");
    wire.reply();
    assert!((500..600).contains(&wire.say("PROXY TCP4 192.0.2.77 127.0.0.1 40000 25").code));
    log.wait_for(&["disconnect from", "127.0.0.1"]);
    assert!(!log.text().contains("192.0.2.77"), "{}", log.text());
}

#[test]
fn content_behind_a_refused_data_is_not_obeyed() {
    let (gate, _shown) = gate();
    let (stack, _stack_shown) = stack();
    let user = stack.user();
    let mut wire = gate.secured("smtp", &Offer::default().config());
    // No recipient is accepted, so DATA is refused; the content must not become commands.
    wire.send(format!(
        "MAIL FROM:<sender@example.com>\r\nRCPT TO:<nobody@example.net>\r\nDATA\r\n\
         MAIL FROM:<admin@example.net>\r\nRCPT TO:<{}>\r\nDATA\r\nsmuggled\r\n.\r\n",
        user.address
    ));
    let rest = wire.rest();
    let last = rest.lines().last().unwrap_or_default();
    assert!(last.starts_with("554 5.5.0"), "{rest}");
    assert!(!rest.contains("354"), "{rest}");
    assert_eq!(user.count(), 0);
}
