//! A client that breaks off in the middle of a message, at every octet of it and of the TLS records that it comes in: what was
//! not acknowledged is not delivered, and what was is there.
//!
//! One window cannot be closed by anybody: a message that came whole, whose verdict found no client any more. It may have been
//! taken, and the client, which does not know, sends it again (RFC 5321 §4.5.4.1); it is then there twice, by the protocol.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::support::gate::gate;
use crate::support::stack::{User, stack};
use crate::support::wait::until;
use crate::support::wire::{Offer, Wire};

const CONTENT: &str = "Subject: c\r\n\r\n..x\r\n";

/// How a connection ends too early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// close_notify, then FIN: as clean as an end can be, and still no end of data.
    Clean,
    /// FIN alone.
    Truncated,
    /// RST.
    Reset,
}

const ENDS: [End; 3] = [End::Clean, End::Truncated, End::Reset];

/// Addresses that no other session has, by which the logs tell them: 127.0.`net`.1 and so on.
struct Addresses {
    net: u8,
    next: AtomicU8,
}

impl Addresses {
    fn of(net: u8) -> Self {
        Self { net, next: AtomicU8::new(1) }
    }

    fn next(&self) -> Ipv4Addr {
        let host = self.next.fetch_add(1, Ordering::Relaxed);
        assert!(host < u8::MAX, "an address is left");
        Ipv4Addr::new(127, 0, self.net, host)
    }
}

/// Ends it; whether the client was told by then that its message was taken.
fn end(mut wire: Wire, how: End) -> bool {
    match how {
        End::Clean => {
            wire.finish();
            return wire.rest().contains("queued as");
        }
        End::Truncated => drop(wire),
        End::Reset => wire.reset(),
    }
    false
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
    wire.send(format!("MAIL FROM:<sender@example.com>\r\nRCPT TO:<{}>\r\n", user.address));
    assert_eq!([wire.reply().code, wire.reply().code], [250, 250]);
    wire
}

/// Waits until Postfix has done with all of the sessions, and the gate has logged them; the gate's closing lines.
fn closing_lines(clients: &[Ipv4Addr]) -> Vec<String> {
    let (gate, _shown) = gate();
    let (stack, _stack_shown) = stack();
    until("Postfix has done with all sessions", || {
        let text = stack.postfix.log.text();
        clients
            .iter()
            .all(|from| {
                text.lines().any(|line| line.contains(&format!("[{from}]")) && line.contains("disconnect from"))
            })
            .then_some(())
    });
    clients.iter().map(|from| gate.log.wait_for(&["event=ended", &format!("client={from} ")])).collect()
}

/// Sends every beginning of a message, in which content begins at `content`, and ends in every way.
fn every_beginning(command: &str, whole: &str, head: usize, addresses: &Addresses) {
    let (stack, _shown) = stack();
    let (broken, complete) = (stack.user(), stack.user());
    let (mut clients, mut places, mut told, mut untold) = (Vec::new(), Vec::new(), 0, 0);
    for stop in 0..=whole.len() {
        for how in ENDS {
            let from = addresses.next();
            let user = if stop < whole.len() { &broken } else { &complete };
            let mut wire = begin(user, from, true);
            let (first, _) = whole.split_at(stop);
            match first.strip_prefix("DATA\r\n") {
                Some(content) => {
                    assert_eq!(wire.say("DATA").code, 354);
                    wire.send(content);
                }
                None => wire.send(first),
            }
            let acknowledged = end(wire, how);
            assert!(!acknowledged || stop == whole.len(), "{how:?} after {stop} octets of {whole:?}");
            told += usize::from(acknowledged);
            untold += usize::from(stop == whole.len() && !acknowledged);
            clients.push(from);
            places.push((stop, how));
        }
    }
    for ((stop, how), line) in places.into_iter().zip(closing_lines(&clients)) {
        let what = format!("{how:?} after {stop} octets of {whole:?}: {line}");
        assert!(line.contains("accepted=0") || stop == whole.len(), "{what}");
        // Until the first octet of its content a message has not begun.
        let in_message = stop > head && stop < whole.len();
        assert!(line.contains("outcome=client_error") || !in_message, "{what}");
    }
    assert_eq!(told, 1, "a client that waits is told");
    let arrived = until("the acknowledged mail", || Some(complete.count()).filter(|count| *count >= told));
    assert!(arrived <= told + untold, "{arrived} mails");
    assert_eq!(broken.count(), 0, "nothing half");
    println!("{command}: {} sessions", clients.len());
}

#[test]
fn a_message_that_breaks_off_anywhere_is_never_delivered() {
    let data = format!("DATA\r\n{CONTENT}.\r\n");
    let (first, second) = CONTENT.split_at(9);
    let chunks = format!("BDAT {}\r\n{first}BDAT {} LAST\r\n{second}", first.len(), second.len());
    let (for_data, for_chunks) = (Addresses::of(44), Addresses::of(45));
    std::thread::scope(|scope| {
        scope.spawn(|| every_beginning("DATA", &data, "DATA\r\n".len(), &for_data));
        scope.spawn(|| every_beginning("BDAT", &chunks, "BDAT 9\r\n".len(), &for_chunks));
    });
}

#[test]
fn in_cleartext_there_is_no_close_notify_that_could_be_missing() {
    let (stack, _shown) = stack();
    let (user, addresses) = (stack.user(), Addresses::of(46));
    let mut clients = Vec::new();
    for stop in [0, 1, CONTENT.len(), CONTENT.len() + 1, CONTENT.len() + 2] {
        for how in [End::Clean, End::Reset] {
            let from = addresses.next();
            let mut wire = begin(&user, from, false);
            assert_eq!(wire.say("DATA").code, 354);
            wire.send(format!("{CONTENT}.\r\n").split_at(stop).0);
            assert!(!end(wire, how));
            clients.push(from);
        }
    }
    assert!(closing_lines(&clients).iter().all(|line| line.contains("accepted=0")));
    assert_eq!(user.count(), 0);
}

#[test]
fn octets_that_were_not_authenticated_are_nothing() {
    // Somebody on the way cuts a TLS session behind what its reader would take for the end, were it not for the record that it
    // stands in: no beginning of that record counts, in one record with the content or in one of its own.
    let (stack, _shown) = stack();
    let (user, addresses) = (stack.user(), Addresses::of(47));
    let mut clients = Vec::new();
    for (command, records) in [
        ("DATA", vec![format!("{CONTENT}.\r\n")]),
        ("DATA", vec![CONTENT.to_owned(), ".\r\n".to_owned()]),
        ("BDAT", vec![format!("BDAT {} LAST\r\n{CONTENT}", CONTENT.len())]),
    ] {
        for octets in 0.. {
            let from = addresses.next();
            let mut wire = begin(&user, from, true);
            if command == "DATA" {
                assert_eq!(wire.say("DATA").code, 354);
            }
            let (last, before) = records.split_last().expect("a record");
            before.iter().for_each(|record| wire.send(record));
            let sealed = wire.seal(last.as_bytes());
            if octets == sealed.len() {
                break;
            }
            wire.send_beneath(sealed.split_at(octets).0);
            end(wire, if octets % 2 == 0 { End::Reset } else { End::Truncated });
            clients.push(from);
        }
    }
    for (from, line) in clients.iter().zip(closing_lines(&clients)) {
        assert!(line.contains("accepted=0") && line.contains("outcome=client_error"), "{from}: {line}");
    }
    assert_eq!(user.count(), 0);
    println!("records: {} sessions", clients.len());
}
