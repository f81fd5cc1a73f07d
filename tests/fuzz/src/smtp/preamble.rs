//! Before TLS: every line has one answer, and STARTTLS is the last thing that is heard.

use std::sync::Arc;

use sealgate::protocol::smtp::Smtp;
use sealgate::protocol::{Event, Protocol, Rules};

use super::second_opinion;
use super::view::{self, is_proper, split};
use crate::cleartext::{Led, Talk, play};
use crate::fixtures::{context, printable};
use crate::script::Script;

/// The settings' bits.
const SUBMISSION: u8 = 1;
const FEW_ERRORS: u8 = 16;

/// What is answered with a yes before TLS.
const ALLOWED: [&str; 8] = ["EHLO", "HELO", "NOOP", "RSET", "VRFY", "HELP", "QUIT", "STARTTLS"];

/// One input of the target `smtp_preamble`.
pub fn preamble(input: &[u8]) {
    let script = Script::read(input);
    let service = if script.settings & SUBMISSION != 0 { "submission" } else { "smtp" };
    let mut context = context(service, false);
    let max_errors = if script.settings & FEW_ERRORS != 0 { 3 } else { 20 };
    context.rules = Arc::new(Rules { max_errors, ..Rules::default() });
    let talk = play(&script, || Smtp.preamble(&context), 12_288);
    check(&talk, service);
}

fn check(talk: &Talk, service: &str) {
    let (replies, rest) = view::replies(&talk.told);
    assert!(rest.is_empty(), "half a reply: {rest:?}");
    talk.events.iter().for_each(printable);
    let text = talk.told.iter().all(|octet| matches!(octet, b' '..=b'~' | b'\r' | b'\n'));
    assert!(text, "{:?}", String::from_utf8_lossy(&talk.told));
    assert!(!talk.told.windows(6).any(|window| window.eq_ignore_ascii_case(b"0-AUTH")), "AUTH was announced");

    let heard = &talk.said[..talk.consumed];
    let lines: Vec<&[u8]> =
        heard.split_inclusive(|octet| *octet == b'\n').filter(|line| line.ends_with(b"\n")).collect();
    let names: Vec<&str> = talk
        .events
        .iter()
        .filter_map(|event| if let Event::Command { name, .. } = event { Some(*name) } else { None })
        .collect();
    // A violation says its own last word, to a line that was not consumed or to the last one that was.
    let last_words = usize::from(matches!(talk.led, Led::Violated(_)) && replies.len() > lines.len());
    assert!(replies.len() == lines.len() + last_words || replies.len() == names.len() + last_words, "{talk:?}");
    let mut hello = None;
    let mut at = 0;
    for ((line, name), reply) in lines.iter().zip(&names).zip(&replies) {
        let (word, _) = split(line);
        assert!(*name == "unknown" || word.eq_ignore_ascii_case(name), "{line:?} was taken for {name}");
        assert!(reply.code >= 400 || (is_proper(line) && ALLOWED.contains(&word.as_str())), "{line:?}: {reply:?}");
        if is_proper(line) {
            let _ = second_opinion::compare(line, &talk.said[at..]);
        }
        if reply.code == 250 && matches!(word.as_str(), "EHLO" | "HELO") {
            hello = line.strip_suffix(b"\r\n").map(<[u8]>::to_vec);
        }
        at += line.len();
    }
    match &talk.led {
        Led::StartTls => {
            let last = lines.last().unwrap_or_else(|| panic!("TLS without a command"));
            assert!(is_proper(last) && split(last).0 == "STARTTLS", "{last:?} led to TLS");
            assert!(heard.ends_with(last), "what follows STARTTLS was consumed");
            assert_eq!(replies.last().map(|reply| reply.code), Some(220), "{talk:?}");
        }
        Led::StayPlain(opening) => {
            assert_eq!(service, "smtp", "a login service went on in cleartext");
            assert_eq!(*opening, hello, "another hello");
            assert!(heard.is_empty() || heard.ends_with(b"\n"), "half a line was consumed");
        }
        Led::On | Led::Close | Led::Violated(_) => {}
    }
}
