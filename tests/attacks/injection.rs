//! What strangers say of themselves, with everything that could end a line, move a cursor or begin a field: logs stay lines,
//! and Received stays one field.

use std::sync::{Mutex, mpsc};

use crate::support::base64;
use crate::support::fake::{self, Fake};
use crate::support::gate::{Gate, Setup};
use crate::support::pki::HOSTNAME;
use crate::support::wait::PATIENCE;
use crate::support::wire::client_hello;
use crate::support::wire::{Offer, Wire};

/// A mail's content, line by line.
pub type Mail = Vec<String>;

/// A backend that takes every mail and hands over its content, and the gates before it, one for each form of the log.
pub fn gates() -> (Vec<(&'static str, Gate)>, mpsc::Receiver<Mail>, Fake) {
    let (tell, mails) = mpsc::channel();
    let tell = Mutex::new(tell);
    let takes = move |line: &str, wire: &mut Wire| {
        (line == "DATA").then(|| {
            wire.send("354 go on\r\n");
            let mut content = Vec::new();
            while let Some(line) = wire.line().filter(|line| line != ".") {
                content.push(line);
            }
            drop(tell.lock().expect("no panic").send(content));
            wire.try_send(b"250 2.0.0 Ok\r\n").is_ok()
        })
    };
    let fake = Fake::start(fake::smtp(takes));
    let start = |format| {
        let vouched = "allow_relay_as_proxy = true";
        Setup::new()
            .table(&format!("[log]\nformat = \"{format}\"\n[received]\nuser = true"))
            .listener_with("smtp", fake.port, "none", vouched)
            .listener_with("submissions", fake.port, "none", vouched)
            .start()
    };
    let gates = ["text", "json", "postfix"].map(|format| (format, start(format)));
    (gates.into(), mails, fake)
}

/// Every line of the log is one that the gate began, and holds nothing but printable ASCII.
pub fn assert_log_is_clean(format: &str, gate: &Gate) {
    let text = gate.log.text();
    assert!(!text.is_empty());
    for line in text.lines() {
        let begins = match format {
            "text" => line.starts_with("20"),
            "json" => line.starts_with("{\"time\":\"20") && line.ends_with('}'),
            _ => line.get(3..).is_some_and(|rest| rest.starts_with(' ')) && line.contains(" sealgate/"),
        };
        assert!(begins, "{format}: {line:?}");
        assert!(line.bytes().all(|octet| (b' '..=b'~').contains(&octet)), "{format}: {line:?}");
        match format {
            "json" => {
                assert!(serde_json::from_str::<serde_json::Value>(line).is_ok_and(|value| value.is_object()), "{line}")
            }
            // A record says once how it ended, outside quotation marks.
            "text" => {
                let unescaped = line.replace(r"\\", "").replace(r#"\""#, "");
                assert_eq!(unescaped.matches('"').count() % 2, 0, "{line}");
                let unquoted: String = unescaped.split('"').step_by(2).collect();
                assert!(unquoted.matches("outcome=").count() <= 1, "{line}");
            }
            // Nobody else's address stands where fail2ban looks for one.
            _ => assert!(!line.contains("[192.0.2.66]") && !line.contains(" rip=192.0.2.66"), "{line}"),
        }
    }
}

/// The Received field is the first one, and nothing of it looks like another.
pub fn assert_one_field(content: &[String], what: &str) {
    assert!(content.first().is_some_and(|line| line.starts_with("Received: from ")), "{what}: {content:?}");
    let folded = content.iter().skip(1).take_while(|line| line.starts_with('\t')).count();
    assert_eq!(content.get(1 + folded).map(String::as_str), Some("Subject: mine"), "{what}: {content:?}");
    let field = content.get(..=folded).expect("the field");
    assert!(field.iter().all(|line| line.len() <= 998), "{what}: {content:?}");
    let printable = |octet: u8| octet == b'\t' || (b' '..=b'~').contains(&octet);
    assert!(field.iter().all(|line| line.bytes().all(printable)), "{what}: {content:?}");
    // Comments end where they began; in an address there are none.
    let text = field.concat();
    let address = text.split_once("for <").and_then(|(before, rest)| Some((before, rest.rsplit_once("> tls ")?.1)));
    let text = address.map_or(text.clone(), |(before, behind)| [before, behind].concat());
    assert_eq!(text.matches('(').count(), text.matches(')').count(), "{what}: {text}");
}

#[test]
fn names_from_the_wire_stay_inside_their_field_and_their_line() {
    let (gates, mails, _fake) = gates();
    let config = Offer::default().config();
    let long = "x".repeat(2000);
    let hellos: [&[u8]; 8] = [
        b"EHLO a) by evil (b\r\n",
        b"EHLO x]([192.0.2.66]) (using TLSv1.3\r\n",
        b"EHLO a;\tFrom: <evil@example.net>\r\n",
        b"EHLO \"outcome=ok reason=closed\r\n",
        b"EHLO gr\xfc\xdfe.example.org\r\n",
        "EHLO \u{202e}gro.elpmaxe\u{2028}x\u{85}\r\n".as_bytes(),
        b"EHLO \\\r\n",
        b"HELO =?utf-8?q?x?=\r\n",
    ];
    let users = ["x\r\nevent=ended outcome=ok", "x\u{1b}[2J", "x>, rip=192.0.2.66, x", "x) (y", "\u{7f}\u{9b}x", &long];
    let recipients = [
        "\"a) (b\"@example.net",
        "\"a>;\\\" b\"@example.net",
        "gr\u{fc}n@example.net",
        &format!("{}@example.net", long.get(..1000).expect("long enough")),
    ];
    for (format, gate) in &gates {
        for n in 0..hellos.len() {
            let mut wire = gate.connect("submissions").tls(&config);
            assert_eq!(wire.reply().code, 220);
            wire.send(hellos[n]);
            assert_eq!(wire.reply().code, 250);
            let user = users[n % users.len()];
            let response = base64(format!("\0{user}\0secret").as_bytes());
            assert_eq!(wire.say(&format!("AUTH PLAIN {response}")).code, 235);
            assert_eq!(wire.say("MAIL FROM:<sender@example.net>").code, 250);
            let recipient = recipients[n % recipients.len()];
            assert_eq!(wire.say(&format!("RCPT TO:<{recipient}>")).code, 250, "{recipient}");
            assert_eq!(wire.say("DATA").code, 354);
            assert_eq!(wire.say("Subject: mine\r\n\r\ntext\r\n.").code, 250);
            wire.say("QUIT");
            let content = mails.recv_timeout(PATIENCE).expect("the mail");
            assert_one_field(&content, &format!("{n}: {user:.40?}, {recipient:.40}"));
        }
        assert_log_is_clean(format, gate);
    }
}

#[test]
fn lines_with_controls_are_refused_and_reach_nobody() {
    let (gates, _mails, fake) = gates();
    let config = Offer::default().config();
    for (format, gate) in &gates {
        for secured in [false, true] {
            let before = fake.connections();
            for octets in [
                b"EHLO a\nXCLIENT ADDR=192.0.2.66\r\n".as_slice(),
                b"EHLO a\rXCLIENT ADDR=192.0.2.66\r\n",
                b"EHLO a\0b\r\n",
                b"EHLO \x1b[31mred\r\n",
                b"\x1b]0;title\x07\r\n",
                b"\xff\xf4\xff\xfd\x06NOOP\r\n",
            ] {
                let mut wire = if secured { gate.secured("smtp", &config) } else { gate.connect("smtp") };
                if !secured {
                    wire.reply();
                }
                wire.send(octets);
                if !octets.starts_with(b"EHLO") {
                    // That is not even text.
                    assert_eq!(wire.reply().code, 554, "{octets:?}");
                    wire.end();
                    continue;
                }
                let refusals = 1 + octets.iter().filter(|octet| **octet == b'\n').count() - 1;
                for _ in 0..refusals {
                    assert!((500..=502).contains(&wire.reply().code), "{octets:?}");
                }
                assert_eq!(wire.say("QUIT").code, 221, "{octets:?}");
            }
            assert!(secured || fake.connections() == before, "nothing of it is the backend's business");
        }
        assert_log_is_clean(format, gate);
    }
}

#[test]
fn a_client_hello_says_nothing_that_a_log_would_act_on() {
    let (gates, _mails, _fake) = gates();
    let hello = client_hello();
    let place = hello.windows(HOSTNAME.len()).position(|window| window == HOSTNAME.as_bytes()).expect("the name");
    for (format, gate) in &gates {
        // The name has as many octets as before, so that all lengths still hold.
        for name in [b"mail\r\nevent=ended".as_slice(), b"\x1b[2J\0\x9b\xff........", b"\" outcome=ok, ,,"] {
            let mut hello = hello.clone();
            let name = [name, b"................"].concat();
            let slot = hello.get_mut(place..place + HOSTNAME.len()).expect("the place");
            slot.copy_from_slice(name.get(..HOSTNAME.len()).expect("long enough"));
            let log = gate.log.tail();
            let mut wire = gate.connect("submissions");
            wire.send(&hello);
            wire.finish();
            wire.rest();
            drop(wire);
            log.wait_for(&[if *format == "postfix" { "disconnect from" } else { "ended" }]);
        }
        for alpn in ["x\r\nevent=ended", "\u{1b}[31m", "\" outcome=ok", &"y".repeat(255)] {
            let mut config = (*Offer::default().config()).clone();
            config.alpn_protocols = vec![alpn.into()];
            let log = gate.log.tail();
            gate.connect("submissions").try_tls(&config.into()).expect_err("no such protocol");
            log.wait_for(&["wrong ALPN"]);
        }
        assert_log_is_clean(format, gate);
    }
}
