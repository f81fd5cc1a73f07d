//! Mail goes in through Sealgate by the real clients and arrives as if it had been given straight to Postfix.

use crate::support::clients::{Envelope, Sender, Target, Tls};
use crate::support::gate::gate;
use crate::support::mail;
use crate::support::stack::{Stack, User, stack};

/// The same mail without Sealgate, on the service that has XCLIENT, without using that.
fn straight(stack: &Stack, service: &str) -> Target {
    let ports = stack.postfix.xclient;
    Target { port: if service == "smtp" { ports.smtp } else { ports.submission }, tls: Tls::Off }
}

/// Sends the mail both ways; what arrived through the gate and what arrived without.
fn both_ways(service: &str, sender: Sender, content: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (stack, _shown) = stack();
    let (gate, _gate_shown) = gate();
    let arrived = |target| {
        let user = stack.user();
        sender.send(target, envelope(&user, service), content).success();
        user.mail()
    };
    (arrived(gate.target(service)), arrived(straight(stack, service)))
}

fn envelope<'a>(user: &'a User, service: &str) -> Envelope<'a> {
    let login = (service != "smtp").then_some(user.name.as_str());
    Envelope { from: &user.address, to: &user.address, login }
}

fn assert_same(what: &str, through: &[u8], straight: &[u8]) {
    let (through, straight) = (mail::without_trace(through), mail::without_trace(straight));
    if through != straight {
        let place = through.iter().zip(&straight).take_while(|(a, b)| a == b).count();
        let around = |bytes: &[u8]| {
            let window = bytes.get(place.saturating_sub(40)..(place + 40).min(bytes.len())).unwrap_or_default();
            String::from_utf8_lossy(window).into_owned()
        };
        panic!(
            "{what}: {} octets through the gate, {} without; they differ at {place}: {:?} and {:?}",
            through.len(),
            straight.len(),
            around(&through),
            around(&straight)
        );
    }
}

#[test]
fn every_sender_on_every_service() {
    for service in ["smtp", "submission", "submissions"] {
        for sender in Sender::ALL {
            let content = mail::mail("one\r\n.two\r\n..\r\nthree\r\n");
            let (through, straight) = both_ways(service, sender, &content);
            assert_same(&format!("{service}, {sender:?}"), &through, &straight);
            assert_eq!(mail::without_trace(&through), mail::with_lf(&content), "{service}, {sender:?}");
            let ours = mail::received(&through).into_iter().nth(1).unwrap_or_default();
            assert!(ours.contains("(Sealgate) with ESMTPS"), "{service}, {sender:?}: {ours}");
        }
    }
}

#[test]
fn difficult_content_by_data() {
    for (name, content) in mail::difficult() {
        let (through, straight) = both_ways("smtp", Sender::Smtplib, &content);
        assert_same(name, &through, &straight);
    }
}

#[test]
fn difficult_content_by_bdat() {
    // Chunks of seven octets cut every line and every CRLF somewhere; one large chunk cuts nothing.
    for (chunk, lines_too_long) in [(7, true), (1 << 20, false)] {
        for (name, content) in mail::difficult() {
            if lines_too_long && content.len() > 1000 {
                continue; // thousands of round trips
            }
            let (through, straight) = both_ways("submissions", Sender::Bdat(chunk), &content);
            assert_same(&format!("{name}, {chunk}"), &through, &straight);
        }
    }
}

#[test]
fn content_without_a_header() {
    let cases: [(&str, &[u8]); 4] = [
        ("nothing at all", b""),
        ("one dot", b".\r\n"),
        ("an empty line in front", b"\r\none\r\n"),
        ("a line that is no field", b"one\r\n"),
    ];
    for (name, content) in cases {
        for sender in [Sender::Smtplib, Sender::Bdat(3)] {
            let (through, straight) = both_ways("smtp", sender, content);
            assert_same(&format!("{name}, {sender:?}"), &through, &straight);
            assert_eq!(mail::received(&through).len(), 2, "{name}, {sender:?}");
        }
    }
}

#[test]
fn content_that_would_fold_into_our_field_is_kept_apart() {
    for content in [b" one\r\ntwo\r\n", b"\tone\r\ntwo\r\n"] {
        // Straight by BDAT, Postfix 3.7 lets such a line fold into its own field; there is nothing to compare with.
        for (sender, comparable) in [(Sender::Smtplib, true), (Sender::Bdat(3), false)] {
            let (through, straight) = both_ways("smtp", sender, content);
            if comparable {
                assert_same(&format!("{sender:?}"), &through, &straight);
            }
            let expected = [b"\n".as_slice(), &mail::with_lf(content)].concat();
            assert_eq!(mail::without_trace(&through), expected, "{sender:?}");
            assert_eq!(mail::received(&through).len(), 2, "{sender:?}");
        }
    }
}

#[test]
fn nul_octets_reach_the_maildir() {
    // At the beginning of a line they would be taken out of DATA: a dot could hide behind them.
    let content = [mail::mail("").as_slice(), b"one\0two\r\nthree\0\r\n"].concat();
    for sender in [Sender::Smtplib, Sender::Bdat(5)] {
        let (through, straight) = both_ways("submission", sender, &content);
        assert_same(&format!("{sender:?}"), &through, &straight);
        assert_eq!(through.iter().filter(|octet| **octet == 0).count(), 2, "{sender:?}");
    }
}

#[test]
fn ten_mebibytes() {
    let content = mail::ten_mebibytes();
    for (service, sender) in
        [("smtp", Sender::Smtplib), ("submission", Sender::Curl), ("submissions", Sender::Bdat(1 << 20))]
    {
        let (through, straight) = both_ways(service, sender, &content);
        assert_same(&format!("{service}, {sender:?}"), &through, &straight);
    }
}
