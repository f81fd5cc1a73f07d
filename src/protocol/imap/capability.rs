//! Capability lists on their way to the client: what the gate does itself, or makes impossible, is taken out.

use std::ops::Range;

use super::response::{Kind, Response};
use crate::protocol::Learned;

/// Whether a capability is kept from the client, any case.
fn is_hidden(capability: &[u8]) -> bool {
    let begins = |text: &[u8]| capability.get(..text.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(text));
    let ends = |text: &[u8]| capability.last_chunk::<5>().is_some_and(|end| end.eq_ignore_ascii_case(text));
    // The session is in TLS already, and the backend's view of the connection is not the client's.
    capability.eq_ignore_ascii_case(b"STARTTLS")
        || capability.eq_ignore_ascii_case(b"LOGINDISABLED")
        // RFC 5802 §6: a binding to the client's TLS channel, which ends here.
        || (begins(b"AUTH=") && ends(b"-PLUS"))
}

/// The response as the client may see it; None when that is as it came. Every octet outside hidden capabilities stays.
pub(super) fn rewritten(line: &[u8], response: &Response<'_>) -> Option<Vec<u8>> {
    let list = list(line, response)?;
    let capabilities = || line.get(list.clone()).unwrap_or_default().split(|octet| *octet == b' ');
    if !capabilities().any(is_hidden) {
        return None;
    }
    let mut kept = Vec::with_capacity(line.len());
    kept.extend_from_slice(line.get(..list.start)?);
    for (place, capability) in capabilities().enumerate().filter(|(_, capability)| !is_hidden(capability)) {
        if place > 0 {
            kept.push(b' ');
        }
        kept.extend_from_slice(capability);
    }
    kept.extend_from_slice(line.get(list.end..)?);
    Some(kept)
}

/// The capabilities in a response that a later client may be told of; None where it lists none.
pub(super) fn offered(line: &[u8], response: &Response<'_>) -> Option<Learned> {
    let list = list(line, response)?;
    if !matches!(response.kind, Kind::Untagged { .. }) && line.get(list.end) != Some(&b']') {
        return None;
    }
    let list = line.get(list)?;
    let mut learned = Learned::with_capacity(2 * list.len());
    for capability in list.split(|octet| *octet == b' ').filter(|capability| !is_hidden(capability)) {
        // What is no atom (RFC 9051 §9) would end the list or the line.
        match str::from_utf8(capability) {
            Ok(atom)
                if !atom.is_empty()
                    && atom.bytes().all(|octet| octet.is_ascii_graphic() && !b"[]".contains(&octet)) =>
            {
                learned.push(atom);
            }
            _ => {}
        }
    }
    Some(learned)
}

/// Where the capability list stands: in `* CAPABILITY …`, or in the response code of a status response (RFC 9051 §7.1, §7.2.2).
/// It begins at the space behind the word.
fn list(line: &[u8], response: &Response<'_>) -> Option<Range<usize>> {
    const WORD: &[u8] = b"CAPABILITY";
    let text = response.text();
    match response.kind {
        Kind::Untagged { word } if word.eq_ignore_ascii_case(WORD) => Some(text),
        Kind::Status { .. } | Kind::Tagged { .. } => {
            let code = line.get(text.clone())?;
            let blanks = code.iter().take_while(|octet| **octet == b' ').count();
            let inner = code.get(blanks..)?.strip_prefix(b"[")?;
            let (word, list) = inner.split_at_checked(WORD.len())?;
            if !word.eq_ignore_ascii_case(WORD) || !list.starts_with(b" ") {
                return None;
            }
            let start = text.start + blanks + 1 + WORD.len();
            // A code without its end is no code, but a client might look for one as far as the line goes.
            let end = memchr::memchr(b']', list).map_or(text.end, |close| start + close);
            Some(start..end)
        }
        Kind::Untagged { .. } | Kind::Continue => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::response::{First, first};
    use super::*;

    #[test]
    fn rfc9051_7_2_2_lists_lose_what_cannot_cross_wherever_they_stand() {
        let cases: &[(&str, Option<&str>)] = &[
            ("* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\r\n", Some("* CAPABILITY IMAP4rev1\r\n")),
            ("* capability starttls IMAP4rev1 x\r\n", Some("* capability IMAP4rev1 x\r\n")),
            ("* CAPABILITY IMAP4rev1  LoginDisabled  IDLE \r\n", Some("* CAPABILITY IMAP4rev1   IDLE \r\n")),
            (
                "* CAPABILITY IMAP4rev1 AUTH=PLAIN auth=scram-sha-256-plus AUTH=SCRAM-SHA-256\r\n",
                Some("* CAPABILITY IMAP4rev1 AUTH=PLAIN AUTH=SCRAM-SHA-256\r\n"),
            ),
            (
                "* OK [CAPABILITY IMAP4rev1 STARTTLS] ready STARTTLS\r\n",
                Some("* OK [CAPABILITY IMAP4rev1] ready STARTTLS\r\n"),
            ),
            ("* ok [Capability STARTTLS IMAP4rev1] ready\r\n", Some("* ok [Capability IMAP4rev1] ready\r\n")),
            ("* PREAUTH [CAPABILITY STARTTLS] x\r\n", Some("* PREAUTH [CAPABILITY] x\r\n")),
            ("a OK [CAPABILITY IMAP4rev1 LOGINDISABLED IDLE] in\r\n", Some("a OK [CAPABILITY IMAP4rev1 IDLE] in\r\n")),
            ("a NO [CAPABILITY STARTTLS] x\r\n", Some("a NO [CAPABILITY] x\r\n")),
            ("* OK  [CAPABILITY STARTTLS X] x\r\n", Some("* OK  [CAPABILITY X] x\r\n")),
            ("* OK [CAPABILITY X STARTTLS\r\n", Some("* OK [CAPABILITY X\r\n")),
            ("* CAPABILITY IMAP4rev1 STARTTLSX XSTARTTLS IDLE\r\n", None),
            ("* OK [ALERT] STARTTLS LOGINDISABLED\r\n", None),
            ("* OK [CAPABILITYX STARTTLS] x\r\n", None),
            ("* OK STARTTLS\r\n", None),
            ("* ID (\"name\" \"CAPABILITY STARTTLS\")\r\n", None),
            ("+ [CAPABILITY STARTTLS]\r\n", None),
            ("* CAPABILITY\r\n", None),
        ];
        for (line, expected) in cases {
            let First::Whole(response) = first(line.as_bytes()) else { panic!("{line:?} is no response") };
            let found = rewritten(line.as_bytes(), &response);
            assert_eq!(found.as_deref().map(String::from_utf8_lossy).as_deref(), *expected, "{line:?}");
        }
    }

    #[test]
    fn only_what_may_stand_in_a_greeting_of_ours_is_learned() {
        let cases: &[(&[u8], Option<&[&str]>)] = &[
            (
                b"* OK [CAPABILITY IMAP4rev1 STARTTLS SASL-IR AUTH=PLAIN LOGINDISABLED] x\r\n",
                Some(&["IMAP4rev1", "SASL-IR", "AUTH=PLAIN"]),
            ),
            (b"* CAPABILITY IMAP4rev1  IDLE \r\n", Some(&["IMAP4rev1", "IDLE"])),
            (b"* CAPABILITY A\x01 B[C D\xff E\xc3\xa9 F]G H\r\n", Some(&["H"])),
            (b"* OK [CAPABILITY ] x\r\n", Some(&[])),
            (b"* OK [CAPABILITY A] B C] x\r\n", Some(&["A"])),
            (b"* OK IMAP4rev1 ready\r\n", None),
            (b"* OK [CAPABILITY IMAP4rev1 ready\r\n", None),
        ];
        for (line, expected) in cases {
            let First::Whole(response) = first(line) else { panic!("{}", line.escape_ascii()) };
            let learned = offered(line, &response);
            let found = learned.as_ref().map(|learned| learned.lines().collect::<Vec<_>>());
            assert_eq!(found.as_deref(), *expected, "{}", line.escape_ascii());
        }
    }
}
