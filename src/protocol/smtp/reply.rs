//! Replies (RFC 5321 §4.2): parsed whole or not at all, independent of who asked.

/// The most octets one reply may have, all its lines together.
pub const REPLY_LIMIT: usize = 64 * 1024;

/// What a backend's input begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyParse {
    /// A reply, all its lines.
    Whole(Reply),
    /// The beginning of one.
    Partial,
    /// Not a reply: no code from 200 to 599, two codes in one reply, or a CR or LF outside a CRLF.
    Nonsense,
    /// More than [`REPLY_LIMIT`] octets.
    TooLong,
}

/// A whole reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    /// Its octets, the last CRLF included.
    pub len: usize,
    /// Its code.
    pub code: u16,
}

impl Reply {
    /// 2xx: done.
    pub fn is_positive(self) -> bool {
        matches!(self.code, 200..=299)
    }

    /// 3xx: the other side wants to hear more.
    pub fn is_intermediate(self) -> bool {
        matches!(self.code, 300..=399)
    }
}

/// Looks for the reply that `input` begins with.
pub fn first_reply(input: &[u8]) -> ReplyParse {
    let mut rest = input;
    let mut len = 0;
    let mut first = None;
    loop {
        let line = first_line(rest);
        let (LineParse::Last { code, .. }
        | LineParse::Continued { code, .. }
        | LineParse::Partial { code: Some(code) }) = line
        else {
            return match line {
                LineParse::Nonsense => ReplyParse::Nonsense,
                _ if input.len() >= REPLY_LIMIT => ReplyParse::TooLong,
                _ => ReplyParse::Partial,
            };
        };
        // RFC 5321 §4.2.1: the reply code of every line is the same.
        if *first.get_or_insert(code) != code {
            return ReplyParse::Nonsense;
        }
        match line {
            LineParse::Last { len: last, .. } if len + last <= REPLY_LIMIT => {
                return ReplyParse::Whole(Reply { len: len + last, code });
            }
            LineParse::Continued { len: line, .. } if len + line <= REPLY_LIMIT => {
                len += line;
                rest = rest.get(line..).unwrap_or_default();
            }
            _ if input.len() >= REPLY_LIMIT => return ReplyParse::TooLong,
            _ => return ReplyParse::Partial,
        }
    }
}

/// The text of each line of a whole reply, without code, separator and CRLF; for EHLO: the greeting, then the keywords.
pub fn lines(reply: &[u8]) -> impl Iterator<Item = &[u8]> {
    reply.split_inclusive(|octet| *octet == b'\n').map(|line| {
        let line = line.strip_suffix(b"\r\n").unwrap_or(line);
        line.get(4..).unwrap_or_default()
    })
}

/// One line of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LineParse {
    /// `250 text`, or `250` alone, which RFC 5321 §4.2 asks clients to accept.
    Last { code: u16, len: usize },
    /// `250-text`.
    Continued { code: u16, len: usize },
    /// No CRLF yet; the code, if so much of it is there.
    Partial { code: Option<u16> },
    /// Cannot become a line of a reply.
    Nonsense,
}

/// What is wrong with a line is said as soon as it shows: an endless line need not be waited for.
fn first_line(input: &[u8]) -> LineParse {
    let (text, whole) = match memchr::memchr(b'\n', input) {
        Some(lf) => match input.split_at(lf).0.strip_suffix(b"\r") {
            Some(text) => (text, Some(lf + 1)),
            None => return LineParse::Nonsense,
        },
        None => (input.strip_suffix(b"\r").unwrap_or(input), None),
    };
    let places = [b'2'..=b'5', b'0'..=b'9', b'0'..=b'9'];
    if memchr::memchr(b'\r', text).is_some() || !text.iter().zip(&places).all(|(digit, place)| place.contains(digit)) {
        return LineParse::Nonsense;
    }
    let code = text.get(..3).map(|digits| digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0')));
    match (text.get(3), code, whole) {
        (Some(b' ' | b'-') | None, code, None) => LineParse::Partial { code },
        (Some(b'-'), Some(code), Some(len)) => LineParse::Continued { code, len },
        (Some(b' ') | None, Some(code), Some(len)) => LineParse::Last { code, len },
        _ => LineParse::Nonsense,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(code: u16, len: usize) -> ReplyParse {
        ReplyParse::Whole(Reply { len, code })
    }

    #[test]
    fn rfc5321_4_2_a_reply_is_whole_or_partial_or_nonsense() {
        let cases: &[(&[u8], ReplyParse)] = &[
            (b"", ReplyParse::Partial),
            (b"2", ReplyParse::Partial),
            (b"250", ReplyParse::Partial),
            (b"250-", ReplyParse::Partial),
            (b"250 ok\r", ReplyParse::Partial),
            (b"250 ok\r\n", whole(250, 8)),
            (b"250\r\n", whole(250, 5)),
            (b"250 \r\n", whole(250, 6)),
            (b"250-a\r\n250-b\r\n250 c\r\n", whole(250, 21)),
            (b"250-a\r\n250\r\n", whole(250, 12)),
            (b"250 a\r\n250 b\r\n", whole(250, 7)),
            (b"250-a\r\n250-b\r\n", ReplyParse::Partial),
            (b"250-a\r\n25", ReplyParse::Partial),
            (b"599 x\r\n", whole(599, 7)),
            (b"200-\r\n200 \r\n", whole(200, 12)),
            // Two codes in one reply, seen as soon as they differ.
            (b"250-a\r\n251", ReplyParse::Nonsense),
            (b"250-a\r\n550 b\r\n", ReplyParse::Nonsense),
            // Not a code.
            (b"150 x\r\n", ReplyParse::Nonsense),
            (b"600 x\r\n", ReplyParse::Nonsense),
            (b"25a", ReplyParse::Nonsense),
            (b"2500 x\r\n", ReplyParse::Nonsense),
            (b"250x", ReplyParse::Nonsense),
            (b"25\r\n", ReplyParse::Nonsense),
            (b"\r\n", ReplyParse::Nonsense),
            (b"hello\r\n", ReplyParse::Nonsense),
            (b"* OK IMAP\r\n", ReplyParse::Nonsense),
            (b"250-a\r\n\r\n", ReplyParse::Nonsense),
            // Bare newlines.
            (b"250 ok\n", ReplyParse::Nonsense),
            (b"250 o\rk\r\n", ReplyParse::Nonsense),
            (b"250 o\rk", ReplyParse::Nonsense),
            (b"250 ok\r\r\n", ReplyParse::Nonsense),
        ];
        for (input, expected) in cases {
            assert_eq!(first_reply(input), *expected, "{:?}", String::from_utf8_lossy(input));
        }
    }

    #[test]
    fn every_beginning_of_a_reply_is_partial() {
        let reply = b"250-mail.example.com\r\n250-SIZE 10\r\n250 HELP\r\n";
        for cut in 0..reply.len() {
            assert_eq!(first_reply(&reply[..cut]), ReplyParse::Partial, "cut at {cut}");
        }
        assert_eq!(first_reply(reply), whole(250, reply.len()));
    }

    #[test]
    fn a_reply_has_a_limit_whole() {
        let line = b"250-0123456789\r\n";
        let mut reply = line.repeat(REPLY_LIMIT / line.len() - 1);
        assert_eq!(first_reply(&reply), ReplyParse::Partial);
        reply.extend_from_slice(b"250 0123456789\r\n");
        assert_eq!(reply.len(), REPLY_LIMIT);
        assert_eq!(first_reply(&reply), whole(250, REPLY_LIMIT));
        // The same limit whether it comes in one piece or in many, in one line or in many.
        let mut many = line.repeat(REPLY_LIMIT / line.len());
        assert_eq!(first_reply(&many), ReplyParse::TooLong);
        many.extend_from_slice(b"250 x\r\n");
        assert_eq!(first_reply(&many), ReplyParse::TooLong);
        let mut one = b"250 ".to_vec();
        one.resize(REPLY_LIMIT - 1, b'x');
        assert_eq!(first_reply(&one), ReplyParse::Partial);
        one.push(b'x');
        assert_eq!(first_reply(&one), ReplyParse::TooLong);
        one.extend_from_slice(b"\r\n");
        assert_eq!(first_reply(&one), ReplyParse::TooLong);
    }

    #[test]
    fn lines_are_the_text_alone() {
        let cases: &[(&[u8], &[&[u8]])] = &[
            (b"250-mail\r\n250-SIZE 10\r\n250 HELP\r\n", &[b"mail", b"SIZE 10", b"HELP"]),
            (b"250\r\n", &[b""]),
            (b"250-\r\n250 x\r\n", &[b"", b"x"]),
        ];
        for (reply, expected) in cases {
            assert_eq!(lines(reply).collect::<Vec<_>>(), *expected);
        }
    }
}
