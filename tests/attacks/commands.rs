//! Commands that the old server would obey, with the real Postfix behind the gate: those that speak of who the client is, two
//! in one line, and content that was sent ahead of its time. `smtp` has them in memory, in every form.

use std::sync::{Arc, Mutex};

use crate::support::base64;
use crate::support::fake::{self, Fake};
use crate::support::gate::{Setup, gate};
use crate::support::stack::stack;
use crate::support::wire::{Offer, Wire};

#[test]
fn a_client_cannot_say_who_it_is() {
    let (stack, _shown) = stack();
    let gate = Setup::new().listener("smtp", stack.postfix.xclient.smtp, "xclient").start();
    let log = stack.postfix.log.tail();
    let config = Offer::default().config();
    let long = " ".repeat(1900);
    let claims = [
        "XCLIENT ADDR=192.0.2.77 NAME=friend.example.net",
        "xclient addr=192.0.2.77",
        "XcLiEnT\tADDR=192.0.2.77",
        " XCLIENT ADDR=192.0.2.77",
        "\t XCLIENT ADDR=192.0.2.77",
        "XCLIENT\0 ADDR=192.0.2.77",
        "\0XCLIENT ADDR=192.0.2.77",
        "\u{b}XCLIENT ADDR=192.0.2.77",
        &format!("XCLIENT{long}ADDR=192.0.2.77"),
        "XFORWARD ADDR=192.0.2.77",
        "xForward\tADDR=192.0.2.77",
        "PROXY TCP4 192.0.2.77 127.0.0.1 40000 25",
        "proxy\tTCP4 192.0.2.77 127.0.0.1 40000 25",
        "\r\n\r\n\0\r\nQUIT\n!\u{11}\0\u{c}\u{c0}\0\u{2}M",
    ];
    for secured in [true, false] {
        let open = || {
            if secured {
                return gate.secured("smtp", &config);
            }
            let mut wire = gate.connect("smtp");
            wire.reply();
            assert_eq!(wire.say("EHLO client.example.org").code, 250);
            wire
        };
        for claim in claims {
            // Alone, and behind what brings the backend in.
            for ahead in ["", "MAIL FROM:<sender@example.com>\r\n"] {
                let mut wire = open();
                wire.send(format!("{ahead}{claim}\r\nNOOP\r\nQUIT\r\n"));
                let replies = wire.rest();
                let replies: Vec<&str> = replies.lines().collect();
                // No command begins with a control: that is another protocol, and the end.
                let end: &[&str] = if claim.split("\r\n").any(|line| line.starts_with(['\0', '\u{b}'])) {
                    &["554 "]
                } else {
                    &["250 ", "221 "]
                };
                let (claimed, last) = replies.split_at(replies.len().saturating_sub(end.len()));
                assert_eq!(last.len(), end.len(), "{claim:?}: {replies:?}");
                assert!(last.iter().zip(end).all(|(reply, code)| reply.starts_with(code)), "{claim:?}: {replies:?}");
                let claimed = claimed.strip_prefix(&["250 2.1.0 Ok"]).unwrap_or(claimed);
                assert!(end.len() == 1 || !claimed.is_empty(), "{claim:?}: {replies:?}");
                assert!(claimed.iter().all(|reply| reply.starts_with("50")), "{claim:?}: {replies:?}");
            }
        }
    }
    log.wait_for(&["disconnect from", "127.0.0.1"]);
    assert!(!log.text().contains("192.0.2.77"), "{}", log.text());
}

#[test]
fn two_commands_in_one_line_are_none() {
    let (gate, _shown) = gate();
    let (stack, _stack_shown) = stack();
    let (user, config) = (stack.user(), Offer::default().config());
    let mut tried = 0;
    for secured in [true, false] {
        let mut wire = if secured { gate.secured("smtp", &config) } else { gate.connect("smtp") };
        if !secured {
            wire.reply();
            assert_eq!(wire.say("EHLO client.example.org").code, 250);
        }
        let mut errors = 0;
        for newline in ["\n", "\r", "\n\r", "\r\r", "\0\n", "\r\0\n", "\0"] {
            for line in [
                format!("MAIL FROM:<sender@example.com>{newline}RCPT TO:<{}>", user.address),
                format!("NOOP{newline}MAIL FROM:<sender@example.com>"),
                format!("RSET{newline}XCLIENT ADDR=192.0.2.77"),
            ] {
                // A session has so many errors and no more.
                if errors >= 15 {
                    assert_eq!(wire.say("QUIT").code, 221);
                    wire = gate.secured("smtp", &config);
                    errors = 0;
                }
                // Up to its LF a line is none; what stands behind that is judged by itself, as the client's own next line.
                wire.send(format!("{line}\r\n"));
                assert_eq!(wire.reply().code, 500, "{line:?}");
                if line.contains('\n') {
                    let code = wire.reply().code;
                    let alone = if newline.ends_with('\n') { [250, 502, 503].as_slice() } else { &[500] };
                    assert!(alone.contains(&code), "{line:?}: {code}");
                }
                errors += 3;
                tried += 1;
                // No transaction has begun with the first of them.
                let began = newline.ends_with('\n') && line.contains("NOOP");
                let rcpt = wire.say(&format!("RCPT TO:<{}>", user.address));
                assert_eq!(rcpt.code, if began { 250 } else { 503 }, "{line:?}");
                assert_eq!(wire.say("RSET").code, 250);
            }
        }
        assert_eq!(wire.say("QUIT").code, 221);
    }
    assert_eq!(tried, 42);
    assert_eq!(user.count(), 0);
}

#[test]
fn what_is_pipelined_over_a_place_to_wait_is_what_it_would_be_behind_it() {
    let (gate, _shown) = gate();
    let (stack, _stack_shown) = stack();
    let (user, config) = (stack.user(), Offer::default().config());
    let to = &user.address;
    let envelope = format!("MAIL FROM:<sender@example.com>\r\nRCPT TO:<{to}>\r\n");
    let smuggled = format!("{envelope}DATA\r\nSubject: smuggled\r\n\r\n.\r\n");
    let mail = |subject: &str| format!("Subject: {subject}\r\n\r\nQUIT\r\n");
    let bdat = mail("BDAT");
    let octets = bdat.len();
    // What is sent at once, the codes that come back, and the mails.
    let cases = [
        (format!("{envelope}DATA\r\n{}.\r\nNOOP\r\nQUIT\r\n", mail("ahead")), "250 250 354 250 250 221", 1),
        (format!("{envelope}BDAT {octets} LAST\r\n{bdat}NOOP\r\nQUIT\r\n"), "250 250 250 250 221", 1),
        (format!("{envelope}EHLO x\r\n{smuggled}QUIT\r\n"), "250 250 250 250 250 354 250 221", 1),
        (format!("{envelope}EHLO x\r\nDATA\r\n{smuggled}"), "250 250 250 503 554", 0),
        (format!("{envelope}RSET\r\nDATA\r\n{smuggled}"), "250 250 250 503 554", 0),
        (format!("DATA\r\n{smuggled}"), "503 554", 0),
        (format!("{envelope}QUIT\r\nDATA\r\n.\r\n{smuggled}"), "250 250 221", 0),
        (format!("VRFY x\r\n{envelope}STARTTLS\r\nRSET\r\nQUIT\r\n"), "252 250 250 503 250 221", 0),
        (format!("AUTH PLAIN AGEAYg==\r\n{envelope}RSET\r\nQUIT\r\n"), "503 250 250 250 221", 0),
        (format!("HELO x\r\nBDAT {} LAST\r\n{smuggled}QUIT\r\n", smuggled.len()), "250 502 221", 0),
        (format!("{envelope}BDAT 1000000000\r\n{smuggled}"), "250 250 552", 0),
    ];
    let mut count = 0;
    for (stream, codes, mails) in cases {
        let mut wire = gate.secured("smtp", &config);
        wire.send(&stream);
        if stream.contains("BDAT 1000000000") {
            wire.finish();
        }
        let replies = wire.rest();
        let finals = replies.lines().filter(|line| line.as_bytes().get(3) == Some(&b' '));
        let got = finals.map(|line| line.get(..3).expect("a code")).collect::<Vec<_>>().join(" ");
        assert!(got == codes || codes.strip_suffix(" 552") == Some(&got), "{stream:?}: {replies}");
        count += mails;
    }
    // Content that is a whole transaction's is a mail; whatever was meant as content is nothing else.
    assert_eq!(user.mails(count).len(), count);
}

#[test]
fn content_behind_a_refused_data_is_not_obeyed() {
    let (gate, _shown) = gate();
    let (stack, _stack_shown) = stack();
    let user = stack.user();
    // No recipient is accepted, so DATA is refused; the content must not become commands, however many answers are owed before.
    for ahead in [0, 1, 96, 97] {
        let mut wire: Wire = gate.secured("smtp", &Offer::default().config());
        wire.send(format!(
            "{}MAIL FROM:<sender@example.com>\r\nRCPT TO:<nobody@example.net>\r\nDATA\r\n\
             MAIL FROM:<admin@example.net>\r\nRCPT TO:<{}>\r\nDATA\r\nsmuggled\r\n.\r\n",
            "NOOP\r\n".repeat(ahead),
            user.address
        ));
        let rest = wire.rest();
        let last = rest.lines().last().unwrap_or_default();
        assert!(last.starts_with("554 5.5.0"), "{ahead}: {rest}");
        assert!(!rest.contains("354"), "{ahead}: {rest}");
    }
    assert_eq!(user.count(), 0);
}

#[test]
fn a_response_that_no_backend_asked_for_reaches_none_and_no_log() {
    let heard = Arc::new(Mutex::new(String::new()));
    let backend = {
        let heard = heard.clone();
        fake::smtp(move |line, _| {
            let mut heard = heard.lock().expect("no panic");
            heard.push_str(line);
            heard.push('\n');
            None
        })
    };
    let smtp = Fake::start(backend);
    let gate = Setup::new()
        .listener_with("smtp", smtp.port, "none", "allow_relay_as_proxy = true")
        .wrapped(&["env", "SEALGATE_LOG=trace"])
        .start();
    // Base64 that a command could be: no `=`, no `+`, no `/`.
    let (user, secret) = (base64("alices"), base64("badSecretCanaryBirdSings"));
    assert!([&user, &secret].iter().all(|word| word.bytes().all(|octet| octet.is_ascii_alphanumeric())));
    let login = ["AUTH LOGIN", &user, &secret];
    let config = Offer::default().config();
    for tls in [false, true] {
        let session = || {
            if tls {
                return gate.secured("smtp", &config);
            }
            let mut wire = gate.connect("smtp");
            wire.reply();
            wire.say("EHLO client.example.org");
            wire
        };
        // As a client that reads each answer and goes on all the same, or whose lines come when each of them is out; before
        // the backend is there, and when it is.
        let mut wire = session();
        for line in login {
            assert!(wire.say(line).code >= 500, "{line}");
        }
        assert_eq!(wire.say("MAIL FROM:<sender@example.net>").code, 250);
        for line in login {
            assert!(wire.say(line).code >= 500, "{line}");
        }
        assert_eq!(wire.say("QUIT").code, 221);
        // And all at once.
        let mut wire = session();
        wire.send(format!("{}\r\nQUIT\r\n", login.join("\r\n")));
        wire.rest();
    }
    let heard = heard.lock().expect("no panic");
    assert_eq!(heard.matches("MAIL FROM").count(), 2, "{heard}");
    for word in [&user, &secret] {
        assert!(!heard.contains(&word.to_ascii_uppercase()), "{heard}");
        assert!(!gate.log.text().contains(word.as_str()), "{}", gate.log.text());
    }
}
