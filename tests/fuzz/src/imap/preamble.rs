//! Before TLS: every line has one answer, and STARTTLS is the last thing that is heard.

use std::sync::Arc;

use sealgate::protocol::imap::Imap;
use sealgate::protocol::{Event, Protocol, Rules};

use super::second_opinion;
use super::view::{self, Reply, head};
use crate::cleartext::{Led, Talk, play};
use crate::fixtures::{context, printable};
use crate::script::Script;

/// The settings' bit.
const FEW_ERRORS: u8 = 16;

/// What is answered with a yes before TLS.
const ALLOWED: [&str; 5] = ["CAPABILITY", "NOOP", "ID", "LOGOUT", "STARTTLS"];

/// One input of the target `imap_preamble`.
pub fn preamble(input: &[u8]) {
    let script = Script::read(input);
    let mut context = context("imap", false);
    let max_errors = if script.settings & FEW_ERRORS != 0 { 3 } else { 20 };
    context.rules = Arc::new(Rules { max_errors, ..Rules::default() });
    check(&play(&script, || Imap.preamble(&context), 8192));
}

fn check(talk: &Talk) {
    let text = talk.told.iter().all(|octet| matches!(octet, b' '..=b'~' | b'\r' | b'\n'));
    assert!(
        text && (talk.told.is_empty() || talk.told.ends_with(b"\r\n")),
        "{:?}",
        String::from_utf8_lossy(&talk.told)
    );
    talk.events.iter().for_each(printable);
    let heard = &talk.said[..talk.consumed];
    let lines: Vec<&[u8]> =
        heard.split_inclusive(|octet| *octet == b'\n').filter(|line| line.ends_with(b"\n")).collect();
    let commands: Vec<(&str, bool)> = talk
        .events
        .iter()
        .filter_map(|event| if let Event::Command { name, ok } = event { Some((*name, *ok)) } else { None })
        .collect();
    // A line that ends the session is not consumed; one that is too long is counted when that shows.
    assert!((lines.len()..=lines.len() + 1).contains(&commands.len()), "{} lines: {talk:?}", lines.len());
    assert!(commands.len() == lines.len() || talk.led != Led::StartTls, "{talk:?}");

    let replies = view::replies(&talk.told);
    assert!(!replies.iter().any(|(reply, _)| *reply == Reply::Continue), "a literal was asked for");
    let mut answers = replies.iter().filter_map(|(reply, _)| match reply {
        Reply::Tagged(tag, word) => Some((tag.as_slice(), word.as_str())),
        Reply::Untagged(word) if word == "BAD" => Some((&b"*"[..], "BAD")),
        _ => None,
    });
    for (line, (name, ok)) in lines.iter().zip(&commands) {
        let (_, verb) = head(line);
        // Of a line that is refused for its form, the beginning is counted.
        let counted = verb.get(..name.len()).is_some_and(|verb| verb.eq_ignore_ascii_case(name));
        let is_same = counted && (!ok || verb.len() == name.len());
        assert!(*name == "unknown" || is_same, "{line:?} was taken for {name}");
        assert!(!ok || (line.ends_with(b"\r\n") && ALLOWED.contains(&verb.as_str())), "{line:?} was obeyed");
        if *ok {
            assert!(view::announced(line).is_none(), "{line:?} was obeyed, and has a literal");
        }
        let answer = answers.next().unwrap_or_else(|| panic!("{line:?} has no answer: {talk:?}"));
        assert!(line.starts_with(answer.0) || answer == (b"*", "BAD"), "{answer:?} answers {line:?}");
        assert_eq!(answer.1 == "OK", *ok, "{answer:?} answers {line:?}");
        second_opinion::line(line, name);
    }
    // One too many errors ends the session before its line is consumed.
    let last_words = usize::from(matches!(talk.led, Led::Violated(_)));
    assert!(answers.count() <= last_words, "more answers than lines: {talk:?}");
    if talk.led == Led::StartTls {
        let last = lines.last().unwrap_or_else(|| panic!("TLS without a command"));
        assert!(head(last).1 == "STARTTLS" && last.ends_with(b"\r\n"), "{last:?} led to TLS");
        assert!(heard.ends_with(last), "what follows STARTTLS was consumed");
        assert_eq!(commands.last(), Some(&("starttls", true)));
    }
    assert!(!matches!(talk.led, Led::StayPlain(_)), "IMAP went on in cleartext");
}
