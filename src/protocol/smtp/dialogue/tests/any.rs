//! Talks that nobody thought of.

use proptest::prelude::*;

use super::{hello, rejecting, smtp, submission};
use crate::protocol::Ended;
use crate::protocol::smtp::fixtures::{Cut, Driver, End, Step, run};

/// What clients say, well or badly.
fn client() -> impl Strategy<Value = Step> {
    let phrases: Vec<&[u8]> = vec![
        b"EHLO c\r\n",
        b"HELO c\r\n",
        b"MAIL FROM:<a@b>\r\n",
        b"RCPT TO:<r@x>\r\n",
        b"DATA\r\n",
        b"x\r\n",
        b".\r\n",
        b"\r\n.\r\n",
        b"\n",
        b"\r",
        b".",
        b" ",
        b"BDAT 3\r\n",
        b"BDAT 2 LAST\r\n",
        b"BDAT 0 LAST\r\n",
        b"BDAT x\r\n",
        b"abc",
        b"RSET\r\n",
        b"NOOP\r\n",
        b"QUIT\r\n",
        b"AUTH PLAIN\r\n",
        b"*\r\n",
        b"XCLIENT x\r\n",
        b"WHAT\r\n",
        b"\0",
    ];
    prop::collection::vec(prop::sample::select(phrases), 1..8).prop_map(|said| Step::C(said.concat()))
}

/// What backends say, well or badly. One reply at a time: where a backend answers what it was not asked yet, it depends on the
/// timing whether that came too early.
fn backend() -> impl Strategy<Value = Step> {
    let odd = [
        "354 go\r\n",
        "334 \r\n",
        "235 in\r\n",
        "550 no\r\n",
        "221 bye\r\n",
        "500 ?\r\n",
        "421 x\r\n",
        "25",
        "0 ok\r\n",
    ];
    prop_oneof![
        6 => Just("250 ok\r\n"),
        2 => Just("250-a\r\n250 CHUNKING\r\n"),
        3 => Just("354 go\r\n"),
        4 => prop::sample::select(odd.to_vec()),
    ]
    .prop_map(|said| Step::B(said.as_bytes().to_vec()))
}

fn end() -> impl Strategy<Value = Step> {
    let ends = [Ended::ClientEof { clean: true }, Ended::ClientEof { clean: false }, Ended::BackendEof, Ended::Drain];
    prop::sample::select(ends.to_vec()).prop_map(Step::E)
}

/// One message of a client that keeps the rules.
#[derive(Debug, Clone)]
struct Message {
    /// Whether each recipient is accepted; at least one is.
    recipients: Vec<bool>,
    content: Content,
}

#[derive(Debug, Clone)]
enum Content {
    /// Before dot-stuffing.
    Data(Vec<u8>),
    Chunks(Vec<Vec<u8>>),
}

fn octets() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(b"\r\n\n. aQUIT".to_vec()), 0..30)
}

fn message() -> impl Strategy<Value = Message> {
    let content =
        prop_oneof![octets().prop_map(Content::Data), prop::collection::vec(octets(), 1..4).prop_map(Content::Chunks),];
    (prop::collection::vec(any::<bool>(), 0..3), content).prop_map(|(mut recipients, content)| {
        recipients.push(true);
        Message { recipients, content }
    })
}

/// RFC 5321 §4.5.2, by CRLF alone.
fn stuff(content: &[u8]) -> Vec<u8> {
    let mut stuffed = Vec::new();
    for (at, octet) in content.iter().enumerate() {
        if *octet == b'.' && (at == 0 || content[..at].ends_with(b"\r\n")) {
            stuffed.push(b'.');
        }
        stuffed.push(*octet);
    }
    stuffed.extend_from_slice(if content.is_empty() || content.ends_with(b"\r\n") { b".\r\n" } else { b"\r\n.\r\n" });
    stuffed
}

/// CRLF for every newline.
fn whole_newlines(content: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(content.to_vec()).unwrap();
    text.replace("\r\n", "\n").replace('\r', "\n").replace('\n', "\r\n").into_bytes()
}

impl Message {
    /// What may be sent without waiting, in groups that each wait for all the answers.
    fn groups(&self, groups: &mut Vec<Vec<u8>>) {
        let mut envelope = b"MAIL FROM:<a@b>\r\n".to_vec();
        for accepted in &self.recipients {
            envelope.extend_from_slice(if *accepted { b"RCPT TO:<yes@x>\r\n" } else { b"RCPT TO:<no@x>\r\n" });
        }
        match (&self.content, groups.last_mut()) {
            (Content::Data(content), Some(last)) => {
                // RFC 2920 §3.1: the next envelope may follow the last content.
                last.extend(envelope);
                last.extend_from_slice(b"DATA\r\n");
                groups.push(stuff(content));
            }
            (Content::Chunks(chunks), Some(last)) => {
                last.extend(envelope);
                for (place, chunk) in chunks.iter().enumerate() {
                    let end = if place + 1 == chunks.len() { " LAST" } else { "" };
                    last.extend(format!("BDAT {}{end}\r\n", chunk.len()).into_bytes());
                    last.extend(chunk);
                }
            }
            (_, None) => unreachable!("there is a first group"),
        }
    }

    /// What a backend must have behind the Received field.
    fn delivered(&self) -> Vec<u8> {
        let content = match &self.content {
            Content::Data(content) => {
                let mut content = content.clone();
                if !content.is_empty() && !content.ends_with(b"\r\n") {
                    content.extend_from_slice(b"\r\n");
                }
                whole_newlines(&content)
            }
            Content::Chunks(chunks) => chunks.concat(),
        };
        // An empty line, where the content would fold.
        let first = match &self.content {
            Content::Data(_) => content.first(),
            Content::Chunks(chunks) => chunks.iter().find(|chunk| !chunk.is_empty()).and_then(|chunk| chunk.first()),
        };
        if matches!(first, Some(b' ')) { [b"\r\n".to_vec(), content].concat() } else { content }
    }
}

/// A backend that takes what it gets by the letter.
#[derive(Default)]
struct Backend {
    seen: usize,
    reading: Reading,
    accepted: u32,
    content: Vec<u8>,
    messages: Vec<Vec<u8>>,
}

#[derive(Default)]
enum Reading {
    #[default]
    Commands,
    Data,
    Chunk(usize, bool),
}

impl Backend {
    /// Reads on in all that it was ever sent; its answers.
    fn read(&mut self, sent: &[u8]) -> String {
        let mut answers = String::new();
        loop {
            let rest = &sent[self.seen..];
            match self.reading {
                Reading::Commands => {
                    let Some(end) = rest.windows(2).position(|window| window == b"\r\n") else { return answers };
                    let line = std::str::from_utf8(&rest[..end]).unwrap().to_owned();
                    self.seen += end + 2;
                    answers.push_str(&self.command(&line));
                }
                Reading::Data => {
                    let end = match rest.windows(5).position(|window| window == b"\r\n.\r\n") {
                        _ if rest.starts_with(b".\r\n") => 3,
                        Some(at) => at + 5,
                        None => return answers,
                    };
                    let lines = rest[..end - 3].split_inclusive(|octet| *octet == b'\n');
                    let content = lines.flat_map(|line| line.strip_prefix(b".").unwrap_or(line)).copied().collect();
                    self.seen += end;
                    self.messages.push(content);
                    self.reading = Reading::Commands;
                    answers.push_str("250 taken\r\n");
                }
                Reading::Chunk(size, _) if rest.len() < size => return answers,
                Reading::Chunk(size, last) => {
                    self.content.extend_from_slice(&rest[..size]);
                    self.seen += size;
                    if last {
                        self.messages.push(std::mem::take(&mut self.content));
                    }
                    self.reading = Reading::Commands;
                    answers.push_str("250 chunk\r\n");
                }
            }
        }
    }

    fn command(&mut self, line: &str) -> String {
        match line.split(' ').collect::<Vec<_>>().as_slice() {
            ["EHLO", _] => super::OFFER.to_owned(),
            ["MAIL", _] => {
                self.accepted = 0;
                "250 m\r\n".to_owned()
            }
            ["RCPT", "TO:<no@x>"] => "550 r\r\n".to_owned(),
            ["RCPT", _] => {
                self.accepted += 1;
                "250 r\r\n".to_owned()
            }
            ["DATA"] => {
                assert!(self.accepted > 0);
                self.reading = Reading::Data;
                "354 go\r\n".to_owned()
            }
            ["BDAT", size, last @ ..] => {
                self.reading = Reading::Chunk(size.parse().unwrap(), !last.is_empty());
                String::new()
            }
            _ => panic!("{line:?} is no command of this client"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1500) })]

    #[test]
    fn any_cutting_of_any_talk_is_the_same(
        steps in prop::collection::vec(prop_oneof![8 => client(), 8 => backend(), 1 => end()], 0..16),
        size in 1_usize..9,
        which in 0..3_usize,
    ) {
        let context = [smtp(), submission(), rejecting()][which].clone();
        let steps = [hello(), steps].concat();
        let whole = run(&context, None, &steps, Cut::Never);
        let cut = run(&context, None, &steps, Cut::Every(size));
        prop_assert_eq!(cut.client(), whole.client());
        prop_assert_eq!(cut.backend(), whole.backend());
        prop_assert_eq!(cut, whole);
    }

    #[test]
    fn every_message_of_a_client_that_keeps_the_rules_arrives_with_one_field(
        messages in prop::collection::vec(message(), 1..4),
        size in prop_oneof![1_usize..20, Just(1 << 20)],
        answers_by in prop_oneof![1_usize..20, Just(1 << 20)],
    ) {
        let mut groups = vec![b"EHLO c\r\n".to_vec(), Vec::new()];
        for message in &messages {
            message.groups(&mut groups);
        }
        let mut backend = Backend::default();
        let mut driver = Driver::new(&smtp(), None);
        driver.step(&Step::B(b"220 mx\r\n".to_vec()));
        for piece in groups.iter().flat_map(|group| group.chunks(size)) {
            driver.step(&Step::C(piece.to_vec()));
            loop {
                let answers = backend.read(&driver.seen.to_backend);
                if answers.is_empty() {
                    break;
                }
                for answer in answers.as_bytes().chunks(answers_by) {
                    driver.step(&Step::B(answer.to_vec()));
                }
            }
        }
        prop_assert!(matches!(driver.seen.end, End::Open(_)), "{}", driver.seen.client());
        prop_assert_eq!(backend.messages.len(), messages.len());
        for (sent, got) in messages.iter().zip(&backend.messages) {
            let got = String::from_utf8(got.clone()).unwrap();
            prop_assert!(got.starts_with("Received: from c ("), "{}", got);
            let (field, content) = got.split_once(" +0000\r\n").unwrap();
            let one = sent.recipients.iter().filter(|accepted| **accepted).count() == 1;
            prop_assert_eq!(field.contains("\tfor <yes@x> tls "), one);
            prop_assert_eq!(content.as_bytes(), sent.delivered());
        }
    }
}
