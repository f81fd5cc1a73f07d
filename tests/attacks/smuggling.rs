//! SMTP smuggling against a Postfix that accepts every false end of data: the mails that arrive are those that the client
//! was told were accepted, whatever stands in them, by DATA and by BDAT, whichever way bare newlines are treated.

use crate::relayed::{begin, carrier};
use crate::support::gate::{Gate, Setup, gate};
use crate::support::stack::{User, stack};
use crate::support::wire::{Offer, Wire};

/// What some server somewhere might take for the end of data, dot-stuffed forms among them. One of them is an end, since
/// CRLF.CRLF stands in it.
const LOOKALIKES: [&str; 20] = [
    "\n.\n",
    "\n.\r\n",
    "\r\n.\n",
    "\r.\r",
    "\r.\r\n",
    "\r.\n",
    "\n.\r",
    "\r\n.\r",
    "\r\r\n.\r\n",
    "\r\n.\r\r\n",
    "\r\n\0.\r\n",
    "\r\n.\0\r\n",
    "\r\n.\r\0\n",
    "\0.\0",
    "\r\n..\r\n",
    "\n..\n",
    "\r\n..\n.\n",
    "\r\n .\r\n",
    "\r\n. \r\n",
    "\u{85}.\u{85}",
];

/// How many messages the server said it took. Only Postfix words it so.
fn accepted(replies: &str) -> usize {
    replies.matches("queued as").count()
}

/// Exactly that many mails come to the user, and no more once a later one has come.
fn assert_arrived(gate: &Gate, user: &User, count: usize) {
    let mut wire = gate.secured("smtp", &Offer::default().config());
    begin(&mut wire, user);
    assert_eq!(wire.say("Subject: the last\r\n\r\n.").code, 250);
    assert_eq!(wire.say("QUIT").code, 221);
    let mails = user.mails(count + 1);
    assert!(mails.iter().any(|mail| String::from_utf8_lossy(mail).contains("Subject: the last")));
}

fn session(gate: &Gate) -> Wire {
    gate.secured("smtp", &Offer::default().config())
}

#[test]
fn by_data_as_many_mails_arrive_as_were_accepted() {
    let (normalizing, _shown) = gate();
    let (stack, _stack_shown) = stack();
    let rejecting =
        Setup::new().listener_with("smtp", stack.postfix.proxy.smtp, "proxy-v2", "bare_newline = \"reject\"").start();
    for gate in [normalizing, &rejecting] {
        let (user, mut count) = (stack.user(), 0);
        for end in LOOKALIKES {
            let real = end.contains("\r\n.\r\n");
            let bare = end.replace("\r\n", "").contains(['\r', '\n']);
            let refused = bare && std::ptr::eq(gate, &raw const rejecting);
            let mut wire = session(gate);
            begin(&mut wire, &user);
            wire.send(carrier(end, &user) + "QUIT\r\n");
            let replies = wire.rest();
            let expected = match (refused, real) {
                (true, _) => 0,
                (false, true) => 2,
                (false, false) => 1,
            };
            assert_eq!(accepted(&replies), expected, "{end:?}: {replies}");
            assert_eq!(replies.starts_with("550 5.5.2 "), refused, "{end:?}: {replies}");
            count += expected;
        }
        assert_arrived(gate, &user, count);
    }
}

#[test]
fn by_bdat_octets_are_counted_wherever_a_chunk_ends() {
    let (gate, _shown) = gate();
    let (stack, _stack_shown) = stack();
    let (user, mut count) = (stack.user(), 0);
    for end in LOOKALIKES {
        let content = carrier(end, &user).into_bytes();
        let text = content.windows(4).position(|window| window == b"text").expect("the carrier's text") + 4;
        // Whole, and cut before, inside and behind what looks like an end.
        for cut in [0, text, text + 1, text + end.len() - 1, text + end.len()] {
            let (first, second) = content.split_at(cut);
            let mut wire = session(gate);
            assert_eq!(wire.say("MAIL FROM:<sender@example.com>").code, 250);
            assert_eq!(wire.say(&format!("RCPT TO:<{}>", user.address)).code, 250);
            let head = |octets: &[u8], last: &str| format!("BDAT {}{last}\r\n", octets.len()).into_bytes();
            if cut > 0 {
                wire.send([head(first, ""), first.to_vec()].concat());
            }
            wire.send([head(second, " LAST"), second.to_vec(), b"QUIT\r\n".to_vec()].concat());
            let replies = wire.rest();
            assert_eq!(accepted(&replies), 1, "{end:?} cut at {cut}: {replies}");
            assert_eq!(replies.lines().count(), if cut > 0 { 3 } else { 2 }, "{end:?} cut at {cut}: {replies}");
            count += 1;
        }
    }
    assert_arrived(gate, &user, count);
}

#[test]
fn behind_a_refused_bdat_octets_are_no_commands() {
    let (gate, _shown) = gate();
    let (stack, _stack_shown) = stack();
    let user = stack.user();
    let smuggled = format!(
        "MAIL FROM:<admin@example.net>\r\nRCPT TO:<{}>\r\nDATA\r\nSubject: smuggled\r\n\r\n.\r\n",
        user.address
    );
    let bdat = |octets: usize| format!("BDAT {octets} LAST\r\n{smuggled}NOOP\r\nQUIT\r\n");
    // No recipient was accepted; no transaction; a client that never said EHLO has no BDAT.
    let mut wire = session(gate);
    wire.send(format!("MAIL FROM:<sender@example.com>\r\nRCPT TO:<nobody@example.net>\r\n{}", bdat(smuggled.len())));
    let replies = wire.rest();
    assert!(replies.starts_with("250 ") && replies.ends_with("Bye\r\n") && accepted(&replies) == 0, "{replies}");
    let mut wire = session(gate);
    wire.send(bdat(smuggled.len()));
    assert!(wire.rest().starts_with("503 "));
    let mut wire = gate.connect("smtp");
    wire.reply();
    wire.send(bdat(smuggled.len()));
    assert!(wire.rest().starts_with("502 5.5.1 "));
    // Nobody can tell where such a chunk ends.
    for size in ["-1", "+5", "0x10", "18446744073709551616", "5 LAST LAST", ""] {
        let mut wire = session(gate);
        wire.send(format!("BDAT {size}\r\n{smuggled}"));
        let replies = wire.rest();
        assert!(replies.starts_with("501 5.5.4 ") && replies.lines().count() == 1, "{size:?}: {replies}");
    }
    assert_arrived(gate, &user, 0);
}
