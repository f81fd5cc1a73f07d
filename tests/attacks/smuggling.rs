//! SMTP smuggling against a Postfix that accepts every false end of data: the mails that arrive are those that the client
//! was told were accepted, whatever stands in them, by DATA and by BDAT, whichever way bare newlines are treated. `smtp`
//! has the same in memory, with every cut.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::LazyLock;

use crate::smtp::lookalikes::{self, Chance, NAMED, content};
use crate::support::base64;
use crate::support::gate::{Gate, Setup, gate};
use crate::support::mail;
use crate::support::stack::{PASSWORD, User, stack};
use crate::support::wire::{Offer, Wire};

/// How many look-alikes have one mailbox.
const SHARE: usize = 300;

/// How a message is handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Data,
    Bdat,
}

/// A gate that rejects bare newlines.
fn rejecting() -> &'static Gate {
    static GATE: LazyLock<Gate> = LazyLock::new(|| {
        let (stack, _shown) = stack();
        let (proxy, reject) = (stack.postfix.proxy, "bare_newline = \"reject\"");
        Setup::new()
            .listener_with("smtp", proxy.smtp, "proxy-v2", reject)
            .listener_with("submissions", proxy.submission, "proxy-v2", reject)
            .start()
    });
    &GATE
}

/// A mail that carries another one behind something that is no end of data.
fn carrier(id: usize, end: &[u8], user: &User) -> Vec<u8> {
    let to = &user.address;
    let behind = format!(
        "MAIL FROM:<admin@example.net>\r\nRCPT TO:<{to}>\r\nDATA\r\nSubject: smuggled\r\n\r\nsmuggled\r\n.\r\n"
    );
    [format!("Subject: v{id}\r\n\r\ntext").as_bytes(), end, behind.as_bytes()].concat()
}

fn envelope(wire: &mut Wire, user: &User) {
    wire.send(format!("MAIL FROM:<sender@example.com>\r\nRCPT TO:<{}>\r\n", user.address));
    assert_eq!([wire.reply().code, wire.reply().code], [250, 250]);
}

fn begin(wire: &mut Wire, user: &User) {
    envelope(wire, user);
    assert_eq!(wire.say("DATA").code, 354);
}

/// How many messages the server said it took. Only Postfix words it so.
fn accepted(replies: &str) -> usize {
    replies.matches("queued as").count()
}

fn session(gate: &Gate, service: &str, user: &User) -> Wire {
    static CONFIG: LazyLock<std::sync::Arc<rustls::ClientConfig>> = LazyLock::new(|| Offer::default().config());
    let mut wire = gate.secured(service, &CONFIG);
    if service == "submissions" {
        let response = base64(format!("\0{}\0{PASSWORD}", user.name).as_bytes());
        assert_eq!(wire.say(&format!("AUTH PLAIN {response}")).code, 235);
    }
    wire
}

/// Exactly that many mails come to the user, and no more once a later one has come; by their subjects, bodies as a Maildir
/// has them.
fn arrived(gate: &Gate, user: &User, count: usize) -> HashMap<String, Vec<Vec<u8>>> {
    let mut wire = session(gate, "smtp", user);
    begin(&mut wire, user);
    assert_eq!(wire.say("Subject: the last\r\n\r\n.").code, 250);
    assert_eq!(wire.say("QUIT").code, 221);
    let mut bodies: HashMap<String, Vec<Vec<u8>>> = HashMap::new();
    for mail in user.mails(count + 1) {
        let (fields, rest) = mail::split(&mail);
        let body = rest.strip_prefix(b"\n").expect("an empty line").to_vec();
        let subject = fields.iter().find_map(|field| field.strip_prefix("Subject: ")).expect("a subject");
        bodies.entry(subject.trim_end().to_owned()).or_default().push(body);
    }
    assert_eq!(bodies.remove("the last").map(|mails| mails.len()), Some(1));
    bodies
}

/// What Postfix makes of a chunk: lines that end in LF, all CRs before it gone.
fn as_postfix_reads(octets: &[u8]) -> Vec<u8> {
    let mut read = Vec::new();
    for line in octets.split_inclusive(|octet| *octet == b'\n') {
        let text = line.strip_suffix(b"\n").map_or(line, |mut text| {
            while let Some(shorter) = text.strip_suffix(b"\r") {
                text = shorter;
            }
            text
        });
        read.extend_from_slice(text);
        read.push(b'\n');
    }
    read
}

/// The octets behind the empty line that ends the header.
fn body(mail: &[u8]) -> &[u8] {
    let place = memchr::memmem::find(mail, b"\r\n\r\n").expect("an empty line");
    mail.split_at(place + 4).1
}

/// What is sent for one look-alike, and what must come of it.
struct Case {
    subject: String,
    /// The octets behind the envelope's or DATA's answer.
    octets: Vec<u8>,
    /// The body, as a Maildir has it; none where the message is refused.
    body: Option<Vec<u8>>,
    /// Nothing is left of the octets behind the message: the session goes on with the next one.
    whole: bool,
}

fn case(id: usize, end: &[u8], by: By, reject: bool, user: &User, chance: &mut Chance) -> Case {
    let mail = carrier(id, end, user);
    let subject = format!("v{id}");
    if by == By::Bdat {
        // Parted somewhere about the look-alike.
        let text = memchr::memmem::find(&mail, b"text").expect("the text") + 3;
        let (first, second) = mail.split_at(text + chance.below(end.len() + 3));
        let head = |octets: &[u8], last: &str| format!("BDAT {}{last}\r\n", octets.len()).into_bytes();
        let octets = [&head(first, ""), first, &head(second, " LAST"), second].concat();
        return Case { subject, octets, body: Some(as_postfix_reads(body(&mail))), whole: true };
    }
    let first = content(&mail).expect("an end stands at its end");
    let refused = reject && first.mended;
    let body = (!refused).then(|| mail::with_lf(body(&first.body)));
    Case { subject, whole: !refused && first.len == mail.len(), octets: mail, body }
}

/// Sends look-alikes through a gate by one service; what arrives is what was accepted, and as it was meant.
fn try_all(gate: &Gate, reject: bool, service: &str, by: By, ends: &[Vec<u8>]) {
    let (stack, _shown) = stack();
    let mut chance = Chance(0x1234_5678 + ends.len() as u64);
    let (mut sessions, mut cuts, mut mails) = (0, 0, 0);
    for ends in ends.chunks(SHARE) {
        let user = stack.user();
        let (mut told, mut expected) = (0, HashMap::new());
        let mut open: Option<Wire> = None;
        for (id, end) in ends.iter().enumerate() {
            let case = case(id, end, by, reject, &user, &mut chance);
            let mut wire = open.take().unwrap_or_else(|| {
                sessions += 1;
                session(gate, service, &user)
            });
            if by == By::Data {
                begin(&mut wire, &user)
            } else {
                envelope(&mut wire, &user)
            }
            // One in a hundred of all the cuts that there are, in records of their own.
            let cut = if chance.below(100) < case.octets.len() { chance.below(case.octets.len()) } else { 0 };
            let (first, second) = case.octets.split_at(cut);
            let behind: &[u8] = if case.whole { b"" } else { b"QUIT\r\n" };
            if cut > 0 {
                cuts += 1;
                wire.send(first);
            }
            wire.send([second, behind].concat());
            let what = format!("{service}, {by:?}, {end:?} cut at {cut}");
            if case.whole {
                assert!(by == By::Data || wire.reply().code == 250, "{what}: the first chunk");
                let reply = wire.reply();
                assert!(reply.code == 250 && accepted(&reply.lines.concat()) == 1, "{what}: {reply:?}");
                told += 1;
                open = Some(wire);
            } else {
                let replies = wire.rest();
                let refused = replies.starts_with("550 5.5.2 ") && replies.lines().count() == 2;
                assert_eq!(refused, case.body.is_none(), "{what}: {replies}");
                assert_eq!(accepted(&replies) > 0, case.body.is_some(), "{what}: {replies}");
                told += accepted(&replies);
            }
            expected.extend(case.body.map(|body| (case.subject, body)));
        }
        let mut arrived = arrived(gate, &user, told);
        mails += told;
        // Behind an end that is one there is a second mail, as the client meant it.
        let second = arrived.remove("smuggled").unwrap_or_default();
        assert!(second.iter().all(|body| body == b"smuggled\n"));
        assert_eq!(told, expected.len() + second.len());
        for (subject, bodies) in arrived {
            let expected = expected.remove(&subject).unwrap_or_else(|| panic!("nobody sent {subject}"));
            let shown = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
            assert_eq!(bodies.iter().map(|body| shown(body)).collect::<Vec<_>>(), [shown(&expected)], "{subject}");
        }
        assert!(expected.is_empty(), "{:?}", expected.keys());
    }
    println!(
        "{service}, {by:?}, reject {reject}: {} look-alikes, {cuts} cut, {sessions} sessions, {mails} mails",
        ends.len()
    );
}

/// The look-alikes, and the services that they go through at the same time.
fn ends(sample: usize, seed: u64) -> Vec<Vec<u8>> {
    if lookalikes::everything() {
        return lookalikes::all(6);
    }
    let named = NAMED.iter().map(|end| end.as_bytes().to_vec());
    named.chain(Chance(seed).sample(lookalikes::all(6), sample)).collect()
}

fn by_both_services(gate: &Gate, reject: bool, by: By, ends: &[Vec<u8>]) {
    std::thread::scope(|scope| {
        for service in ["smtp", "submissions"] {
            scope.spawn(move || try_all(gate, reject, service, by, ends));
        }
    });
}

#[test]
fn the_old_postfix_takes_smuggled_mail() {
    // Otherwise the next tests could not fail.
    let (stack, _shown) = stack();
    let user = stack.user();
    for (n, end) in ["\n.\r\n", "\r\n.\n", "\r\n.\r\r\n"].into_iter().enumerate() {
        let mut wire = Wire::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, stack.postfix.naked)));
        wire.reply();
        wire.say("EHLO client.example.org");
        begin(&mut wire, &user);
        wire.send(carrier(n, end.as_bytes(), &user));
        let codes = [(); 5].map(|()| wire.reply().code);
        assert_eq!(codes, [250, 250, 250, 354, 250], "{end:?}: two mails and what is between them");
        user.mails(2 * (n + 1));
    }
}

#[test]
fn cve_2023_51764_one_end_of_data_is_one_mail() {
    let (gate, _shown) = gate();
    by_both_services(gate, false, By::Data, &ends(100, 1));
}

#[test]
fn a_gate_that_rejects_bare_newlines_delivers_nothing() {
    by_both_services(rejecting(), true, By::Data, &ends(40, 2));
}

#[test]
fn by_bdat_octets_are_counted_wherever_a_chunk_ends() {
    let (gate, _shown) = gate();
    by_both_services(gate, false, By::Bdat, &ends(60, 3));
    by_both_services(rejecting(), true, By::Bdat, &ends(20, 4));
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
    let mut wire = session(gate, "smtp", &user);
    wire.send(format!("MAIL FROM:<sender@example.com>\r\nRCPT TO:<nobody@example.net>\r\n{}", bdat(smuggled.len())));
    let replies = wire.rest();
    assert!(replies.starts_with("250 ") && replies.ends_with("Bye\r\n") && accepted(&replies) == 0, "{replies}");
    let mut wire = session(gate, "smtp", &user);
    wire.send(bdat(smuggled.len()));
    assert!(wire.rest().starts_with("503 "));
    let mut wire = gate.connect("smtp");
    wire.reply();
    wire.send(bdat(smuggled.len()));
    assert!(wire.rest().starts_with("502 5.5.1 "));
    // Nobody can tell where such a chunk ends.
    for size in ["-1", "+5", "0x10", "2147483653", "4294967301", "18446744073709551621", "5 LAST LAST", ""] {
        let mut wire = session(gate, "smtp", &user);
        envelope(&mut wire, &user);
        wire.send(format!("BDAT {size}\r\n{smuggled}"));
        let replies = wire.rest();
        assert!(replies.starts_with("501 5.5.4 ") && replies.lines().count() == 1, "{size:?}: {replies}");
    }
    assert!(arrived(gate, &user, 0).is_empty());
}
