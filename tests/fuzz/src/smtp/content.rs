//! Messages: what the client meant is what the backend reads, whatever it is made of.
//!
//! An input is settings, then what stands between the envelope and the end, octet for octet; `CLIENT` begins the next
//! message, or in BDAT the next chunk. The backend is an obliging one: it takes everything that it understands.

use sealgate::protocol::Side;

use super::dialogue::{SUBMISSION, smtp};
use super::view::{self, Item, Reading, View};
use super::{BOUNDS, Terms, check};
use crate::driver::Driver;
use crate::script::{Cuts, Script, Sent, Step};
use crate::seen::End;

const BY_CHUNKS: u8 = 1;
const REJECTS: u8 = 2;
const TWO_RECIPIENTS: u8 = 4;

const ENVELOPE: &str = "MAIL FROM:<a@b>\r\nRCPT TO:<r@x>\r\n";

/// One input of the target `content`.
pub fn content(input: &[u8]) {
    let script = Script::read(input);
    let rejects = script.settings & REJECTS != 0;
    let whole = deliver(&script, rejects, Cuts::None);
    for cuts in script.cuts() {
        let cut = deliver(&script, rejects, cuts).seen;
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        assert_eq!(text(&cut.to_client), text(&whole.seen.to_client), "to the client, cut by {cuts:?}");
        assert_eq!(text(&cut.to_backend), text(&whole.seen.to_backend), "to the backend, cut by {cuts:?}");
        assert_eq!(cut.end, whole.seen.end, "cut by {cuts:?}");
    }
    check(&whole, Terms { replayed: false, rejects, auth: true });
}

/// Sends all of it without waiting, to a backend that answers what it was asked.
fn deliver(script: &Script, rejects: bool, cuts: Cuts) -> Driver {
    let mut driver = Driver::new(smtp(SUBMISSION, rejects, 20), BOUNDS);
    let mut backend = Obliging { view: View::new(Reading::Lenient), said: 0 };
    driver.read(Side::Backend, b"220 mx\r\n");
    let messages: Vec<&Sent> = script
        .steps
        .iter()
        .filter_map(|step| if let Step::Sends(_, sent) = step { Some(sent) } else { None })
        .collect();
    let mut said = vec![Sent { octets: b"EHLO c\r\n".to_vec(), marks: Vec::new() }];
    for (place, message) in messages.iter().enumerate() {
        said.push(framed(script.settings, message, place == 0, place + 1 == messages.len()));
    }
    for sent in &said {
        for octets in sent.reads(cuts) {
            driver.read(Side::Client, octets);
            backend.answer(&mut driver);
        }
    }
    if let End::Open(wait) = driver.seen.end {
        assert!(!backend.view.is_inside() || script.settings & BY_CHUNKS == 0, "{wait:?} with a chunk half sent");
    }
    driver
}

/// A message or a chunk with what stands around it.
fn framed(settings: u8, message: &Sent, first: bool, last: bool) -> Sent {
    let mut octets = Vec::new();
    let chunks = settings & BY_CHUNKS != 0;
    if first || !chunks {
        octets.extend_from_slice(ENVELOPE.as_bytes());
        if settings & TWO_RECIPIENTS != 0 {
            octets.extend_from_slice(b"RCPT TO:<s@x>\r\n");
        }
    }
    if chunks {
        let last = if last { " LAST" } else { "" };
        octets.extend_from_slice(format!("BDAT {}{last}\r\n", message.octets.len()).as_bytes());
    } else {
        octets.extend_from_slice(b"DATA\r\n");
    }
    let before = octets.len();
    octets.extend_from_slice(&message.octets);
    if !chunks && view::content_end(&message.octets, Reading::Strict, 0).is_none() {
        let ended = message.octets.is_empty() || message.octets.ends_with(b"\r\n");
        octets.extend_from_slice(if ended { b".\r\n" } else { b"\r\n.\r\n" });
    }
    Sent { octets, marks: message.marks.iter().map(|mark| mark + before).collect() }
}

/// A backend that takes everything.
struct Obliging {
    view: View,
    said: usize,
}

impl Obliging {
    fn answer(&mut self, driver: &mut Driver) {
        loop {
            self.view.read(&driver.seen.to_backend, |_| true);
            let Some(item) = self.view.items.get(self.view.replies.len()).filter(|item| item.is_whole()) else {
                return;
            };
            self.said += 1;
            let reply = match item {
                Item::Content { .. } => format!("250 taken {}\r\n", self.said),
                Item::Chunk { size, .. } => format!("250 {size} octets {}\r\n", self.said),
                Item::Line { at, sasl } => self.reply(&driver.seen.to_backend[at.clone()], *sasl),
            };
            let (mut replies, _) = view::replies(reply.as_bytes());
            self.view.replies.append(&mut replies);
            driver.read(Side::Backend, reply.as_bytes());
        }
    }

    fn reply(&self, line: &[u8], sasl: bool) -> String {
        let said = self.said;
        match view::split(line).0.as_str() {
            _ if sasl => format!("235 in {said}\r\n"),
            "EHLO" => format!("250-mx {said}\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 SMTPUTF8\r\n"),
            "DATA" => format!("354 go {said}\r\n"),
            "AUTH" => "334 \r\n".to_owned(),
            "QUIT" => format!("221 bye {said}\r\n"),
            _ => format!("250 {said}\r\n"),
        }
    }
}

/// Whether that is one Received field of ours, and an empty line behind it where the content would fold into it.
pub(super) fn is_field(octets: &[u8], folds: bool) -> bool {
    let field = if folds { octets.strip_suffix(b"\r\n") } else { Some(octets) };
    field.is_some_and(|field| received(field) == Some(field.len()))
}

/// How long the Received field is that `octets` begin with.
fn received(octets: &[u8]) -> Option<usize> {
    const END: &[u8] = b" +0000\r\n";
    // A name that is too long for the line stands on the next one (RFC 5322 §2.2.3).
    let behind = octets.strip_prefix(b"Received: from")?;
    (behind.starts_with(b" ") || behind.starts_with(b"\r\n\t")).then_some(())?;
    let end = octets.windows(END.len()).position(|window| window == END)? + END.len();
    let lines = octets[..end - 2].split(|octet| *octet == b'\n').skip(1);
    lines.into_iter().all(|line| line.starts_with(b"\t")).then_some(end)
}

/// The content that the client ended by the letter, and what a lenient backend takes for it.
pub(super) fn same(said: &[u8], got: &[u8], rejects: bool) {
    let meant = view::unstuffed(said);
    let plain = view::without_leading_nuls(&view::whole_newlines(&meant));
    assert!(!rejects || plain == meant, "bare newlines went on: {said:?}");
    let field = received(got).unwrap_or_else(|| panic!("no Received field: {got:?}"));
    let read = view::unstuffed(&got[field..]);
    let folds = plain.first().is_some_and(|octet| matches!(octet, b' ' | b'\t'));
    let read = if folds {
        read.strip_prefix(b"\r\n").unwrap_or_else(|| panic!("folds into the field: {got:?}"))
    } else {
        &read
    };
    assert_eq!(String::from_utf8_lossy(read), String::from_utf8_lossy(&plain), "another message");
    assert_eq!(view::whole_newlines(got), got, "a bare newline went on");
}
