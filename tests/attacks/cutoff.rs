//! A client that breaks off in the middle of a message: what was not acknowledged is not delivered.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::support::gate::gate;
use crate::support::stack::{User, stack};
use crate::support::wire::{Offer, Wire};

const CONTENT: &str = "Subject: cut off\r\n\r\none\r\n..two\r\nthree\r\n";

/// How a connection ends too early.
#[derive(Debug, Clone, Copy)]
enum End {
    /// close_notify, then FIN: as clean as an end can be, and still no end of data.
    Clean,
    /// FIN alone.
    Truncated,
    /// RST.
    Reset,
}

/// An address that no other session has, by which Postfix's log tells it.
fn address() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    Ipv4Addr::new(127, 0, 44, NEXT.fetch_add(1, Ordering::Relaxed))
}

fn end(mut wire: Wire, how: End) {
    match how {
        End::Clean => {
            wire.finish();
            // A chunk has an answer of its own; the message has none.
            let rest = wire.rest();
            assert!(!rest.contains("queued as"), "{rest}");
        }
        End::Truncated => drop(wire),
        End::Reset => wire.reset(),
    }
}

/// A session whose transaction has that recipient.
fn begin(user: &User, from: Ipv4Addr, secured: bool) -> Wire {
    let (gate, _shown) = gate();
    let mut wire = gate.connect_from(from, "smtp");
    if secured {
        wire = gate.secure("smtp", wire, &Offer::default().config());
    } else {
        wire.reply();
        assert_eq!(wire.say("EHLO client.example.org").code, 250);
    }
    assert_eq!(wire.say("MAIL FROM:<sender@example.com>").code, 250);
    assert_eq!(wire.say(&format!("RCPT TO:<{}>", user.address)).code, 250);
    wire
}

#[test]
fn a_message_that_breaks_off_anywhere_is_never_delivered() {
    let (gate, _shown) = gate();
    let (stack, _stack_shown) = stack();
    let user = stack.user();
    let whole = CONTENT.len();
    // What is sent, and after which octet it breaks off.
    let data = format!("DATA\r\n{CONTENT}.\r\n");
    let data_places = [0, 1, 18, whole, whole + 1, whole + 2].map(|octets| (data.clone(), "DATA\r\n".len() + octets));
    let bdat = format!("BDAT {whole} LAST\r\n{CONTENT}");
    let head = bdat.len() - whole;
    let bdat_places = [0, 1, 18, whole - 1].map(|octets| (bdat.clone(), head + octets));
    let head_of_first = format!("BDAT {whole}\r\n").len();
    let chunks = format!("BDAT {whole}\r\n{CONTENT}BDAT 10 LAST\r\n0123456789");
    let second = chunks.len() - 10;
    let chunk_places = [head_of_first + whole, second - 1, second, second + 9].map(|place| (chunks.clone(), place));
    for (content, place) in data_places.into_iter().chain(bdat_places).chain(chunk_places) {
        for how in [End::Clean, End::Truncated, End::Reset] {
            let (from, log, ours) = (address(), stack.postfix.log.tail(), gate.log.tail());
            let mut wire = begin(&user, from, true);
            let (first, _) = content.split_at(place);
            if let Some(content) = first.strip_prefix("DATA\r\n") {
                assert_eq!(wire.say("DATA").code, 354);
                wire.send(content);
            } else {
                wire.send(first);
            }
            end(wire, how);
            let what = format!("{how:?} after {place} octets of {content:.20?}");
            log.wait_for(&["lost connection after", &format!("[{from}]")]);
            let line = ours.wait_for(&["event=ended", &format!("client={from}")]);
            assert!(line.contains("accepted=0"), "{what}: {line}");
            // Until the first octet of its content, a message has not begun.
            let changed_its_mind = place == head;
            assert!(line.contains("outcome=client_error") || changed_its_mind, "{what}: {line}");
        }
    }
    // In cleartext there is no close_notify that could be missing.
    for how in [End::Clean, End::Reset] {
        let (from, log) = (address(), stack.postfix.log.tail());
        let mut wire = begin(&user, from, false);
        assert_eq!(wire.say("DATA").code, 354);
        wire.send(format!("{CONTENT}.\r"));
        end(wire, how);
        log.wait_for(&["lost connection after DATA", &format!("[{from}]")]);
    }
    // And one that comes whole, so that there is something to count.
    let mut wire = begin(&user, address(), true);
    assert_eq!(wire.say("DATA").code, 354);
    assert_eq!(wire.say(&format!("{CONTENT}.")).code, 250);
    assert_eq!(user.mails(1).len(), 1);
}

#[test]
fn octets_that_were_not_authenticated_are_nothing() {
    // Somebody on the way cuts a TLS session behind what its reader would take for the end, were it not for the record that it
    // stands in: the record's beginning alone must not count.
    let (gate, _shown) = gate();
    let (stack, _stack_shown) = stack();
    let (user, from, log) = (stack.user(), address(), stack.postfix.log.tail());
    let mut wire = begin(&user, from, true);
    assert_eq!(wire.say("DATA").code, 354);
    wire.send_part_of_a_record(format!("{CONTENT}.\r\n").as_bytes());
    wire.reset();
    log.wait_for(&["lost connection after DATA", &format!("[{from}]")]);
    let line = gate.log.wait_for(&["event=ended", &format!("client={from}")]);
    assert!(line.contains("accepted=0") && line.contains("outcome=client_error"), "{line}");
    assert_eq!(user.count(), 0);
}
