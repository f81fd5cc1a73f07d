//! What a backend says: logical lines, their literals included (RFC 9051 §7).

use std::ops::Range;

use super::{command, limits};

/// What a backend's input begins with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum First<'a> {
    /// A whole response.
    Whole(Response<'a>),
    /// Part of one.
    Partial,
    /// None of IMAP's.
    Broken,
    /// One that is beyond the limit.
    TooLong,
}

/// A whole response.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Response<'a> {
    pub(super) kind: Kind<'a>,
    /// Its length, the last CRLF included.
    pub(super) octets: usize,
    /// Where the text behind its first words begins.
    text: usize,
}

impl Response<'_> {
    /// What stands behind the status or the word, with the space before it, and without the CRLF.
    pub(super) fn text(&self) -> Range<usize> {
        self.text..self.octets - 2
    }
}

/// The kinds of response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    /// `+ …` (§7.6).
    Continue,
    /// `‹tag› OK|NO|BAD …` (§7.1).
    Tagged { tag: &'a [u8], status: Status },
    /// `* OK|NO|BAD|BYE|PREAUTH …` (§7.1).
    Status { status: Status },
    /// `* ‹word or number› …`.
    Untagged { word: &'a [u8] },
}

/// RFC 9051 §7.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Ok,
    No,
    Bad,
    Bye,
    PreAuth,
}

impl Status {
    fn of(word: &[u8]) -> Option<Self> {
        const ALL: [(&[u8], Status); 5] = [
            (b"OK", Status::Ok),
            (b"NO", Status::No),
            (b"BAD", Status::Bad),
            (b"BYE", Status::Bye),
            (b"PREAUTH", Status::PreAuth),
        ];
        ALL.iter().find(|(name, _)| word.eq_ignore_ascii_case(name)).map(|(_, status)| *status)
    }
}

/// Reads the response that `input` begins with.
pub(super) fn first(input: &[u8]) -> First<'_> {
    let line = match line_end(input, 0) {
        End::At(end) => end,
        End::Partial => return First::Partial,
        End::TooLong => return First::TooLong,
        End::Bare => return First::Broken,
    };
    let Some((kind, text)) = input.get(..line - 2).and_then(classify) else { return First::Broken };
    let octets = match kind {
        // Their text is for people, and `{5}` at its end means nothing.
        Kind::Continue | Kind::Tagged { .. } | Kind::Status { .. } => line,
        Kind::Untagged { word } if word.eq_ignore_ascii_case(b"CAPABILITY") => line,
        Kind::Untagged { .. } => match with_literals(input, line) {
            End::At(end) => end,
            End::Partial => return First::Partial,
            End::TooLong => return First::TooLong,
            End::Bare => return First::Broken,
        },
    };
    First::Whole(Response { kind, octets, text })
}

/// Where a line ends.
enum End {
    At(usize),
    Partial,
    Bare,
    TooLong,
}

/// The end, with its CRLF, of the line that begins at `start`; the limit is the whole response's.
fn line_end(input: &[u8], start: usize) -> End {
    let rest = input.get(start..).unwrap_or_default();
    match crate::protocol::line::first_line(rest, limits::RESPONSE.saturating_sub(start)) {
        crate::protocol::line::Line::Whole(octets) => End::At(start + octets),
        crate::protocol::line::Line::BareNewline(_) => End::Bare,
        crate::protocol::line::Line::Partial => End::Partial,
        crate::protocol::line::Line::TooLong => End::TooLong,
    }
}

/// Follows literals from the end of the first line to the end of the response.
fn with_literals(input: &[u8], first_line: usize) -> End {
    let mut start = 0;
    let mut end = first_line;
    while let Some(octets) = input.get(start..end - 2).and_then(announced) {
        start = end.saturating_add(octets);
        if start >= limits::RESPONSE {
            return End::TooLong;
        }
        if input.len() < start {
            return End::Partial;
        }
        end = match line_end(input, start) {
            End::At(end) => end,
            other => return other,
        };
    }
    End::At(end)
}

/// The octets that a line says will follow it; `~` announces a literal8 (RFC 9051 §9). Unlike in what a client says, zeros may lead:
/// a client may read it so. A server's literals are never non-synchronising.
fn announced(line: &[u8]) -> Option<usize> {
    let open = memchr::memrchr(b'{', line)?;
    let digits = line.get(open + 1..)?.strip_suffix(b"}")?;
    let value = |sum: usize, digit: &u8| sum.saturating_mul(10).saturating_add(usize::from(digit - b'0'));
    (!digits.is_empty() && digits.iter().all(u8::is_ascii_digit)).then(|| digits.iter().fold(0, value))
}

/// The kind of a response by its first line, and where the text begins.
fn classify(line: &[u8]) -> Option<(Kind<'_>, usize)> {
    let (first, rest) = command::token(line);
    if first == b"+" {
        // RFC 9051 §7.6 wants a space behind it; `+` alone is common and harmless.
        return Some((Kind::Continue, 1));
    }
    let (word, _) = command::token(rest?);
    let text = first.len() + 1 + word.len();
    let status = Status::of(word);
    let kind = match (first, status) {
        (b"*", Some(status)) => Kind::Status { status },
        (b"*", None) if word.first().is_some_and(u8::is_ascii_alphanumeric) => Kind::Untagged { word },
        (b"*", None) => return None,
        (tag, Some(status @ (Status::Ok | Status::No | Status::Bad))) => Kind::Tagged { tag, status },
        _ => return None,
    };
    Some((kind, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc9051_7_responses_are_told_apart_and_measured() {
        let cases: &[(&str, Option<(Kind<'_>, usize)>)] = &[
            ("+ go\r\nrest", Some((Kind::Continue, 6))),
            ("+\r\n", Some((Kind::Continue, 3))),
            ("a1 OK done {5}\r\nrest", Some((Kind::Tagged { tag: b"a1", status: Status::Ok }, 16))),
            ("a1 no\r\n", Some((Kind::Tagged { tag: b"a1", status: Status::No }, 7))),
            ("* BYE {5}\r\nrest", Some((Kind::Status { status: Status::Bye }, 11))),
            ("* ID (\"name\" {7}\r\nDove\r\nt)\r\nrest", Some((Kind::Untagged { word: b"ID" }, 28))),
            ("* X {2}\r\nab {2}\r\n\r\n\r\n", Some((Kind::Untagged { word: b"X" }, 21))),
            ("* X {02}\r\nab\r\n", Some((Kind::Untagged { word: b"X" }, 14))),
            ("* CAPABILITY {5}\r\n", Some((Kind::Untagged { word: b"CAPABILITY" }, 18))),
            ("* 3 EXISTS\r\n", Some((Kind::Untagged { word: b"3" }, 12))),
            ("*  OK x\r\n", None),
            ("* (x\r\n", None),
            ("a1 BYE x\r\n", None),
            ("a1 PREAUTH x\r\n", None),
            ("a1 CAPABILITY\r\n", None),
            ("a1\r\n", None),
            ("\r\n", None),
            ("* OK x\n", None),
            ("* OK x\ry\r\n", None),
            ("++ x\r\n", None),
        ];
        for (input, expected) in cases {
            let found = match first(input.as_bytes()) {
                First::Whole(response) => Some((response.kind, response.octets)),
                First::Broken => None,
                other => panic!("{input:?}: {other:?}"),
            };
            assert_eq!(found, *expected, "{input:?}");
        }
    }

    #[test]
    fn a_response_is_whole_at_its_last_octet_and_no_earlier() {
        for whole in ["* ID (\"name\" {7}\r\nDove\r\nt)\r\n", "a OK done\r\n", "+ go\r\n", "* X {0}\r\n\r\n"] {
            for end in 0..whole.len() {
                assert_eq!(first(&whole.as_bytes()[..end]), First::Partial, "{:?}", &whole[..end]);
            }
            assert!(matches!(first(whole.as_bytes()), First::Whole(response) if response.octets == whole.len()));
        }
    }

    #[test]
    fn a_response_beyond_the_limit_is_known_by_its_announcement() {
        for long in ["* X {65536}\r\n", "* X {99999999999999999999}\r\n", "* X {4294967296}\r\n"] {
            assert_eq!(first(long.as_bytes()), First::TooLong, "{long:?}");
        }
        assert_eq!(first(&vec![b'a'; limits::RESPONSE]), First::TooLong);
        assert_eq!(first(&vec![b'a'; limits::RESPONSE - 1]), First::Partial);
    }
}
