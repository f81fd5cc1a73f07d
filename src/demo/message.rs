//! A message's header, as far as IMAP's FETCH and the round trip look into it (RFC 5322 §2.2).

use std::borrow::Cow;

/// A header field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its name; empty for a line that is no field.
    pub name: &'a [u8],
    /// All of it, folded as it is, CRLF included.
    pub raw: &'a [u8],
}

impl<'a> Field<'a> {
    /// Whether this is its name (case does not matter).
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// What stands behind the colon, unfolded.
    pub fn value(&self) -> String {
        let (_, value) = self.raw.split_at_checked(self.name.len() + 1).unwrap_or_default();
        self::text(value).replace("\r\n", "").trim().to_owned()
    }

    /// All of it as text.
    pub fn text(&self) -> Cow<'a, str> {
        self::text(self.raw)
    }
}

fn text(octets: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(octets)
}

/// Splits behind the empty line, which belongs to the header; a message without one is all header.
pub fn split(content: &[u8]) -> (&[u8], &[u8]) {
    let end = if content.starts_with(b"\r\n") {
        2
    } else {
        memchr::memmem::find(content, b"\r\n\r\n").map_or(content.len(), |at| at + 4)
    };
    content.split_at_checked(end).unwrap_or((content, &[]))
}

/// The fields, in their order.
pub fn fields(content: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let (mut rest, _) = split(content);
    std::iter::from_fn(move || {
        if rest.is_empty() || rest.starts_with(b"\r\n") {
            return None;
        }
        let folded = |at: &usize| !matches!(rest.get(at + 2), Some(b' ' | b'\t'));
        let end = memchr::memmem::find_iter(rest, b"\r\n").find(folded).map_or(rest.len(), |at| at + 2);
        let (raw, after) = rest.split_at_checked(end)?;
        rest = after;
        let name = memchr::memchr(b':', raw).and_then(|colon| raw.get(..colon)).unwrap_or_default();
        Some(Field { name, raw })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc5322_2_2_3_a_folded_field_is_one_field() {
        let content = b"Received: from a\r\n\tby b;\r\n date\r\nSubject: x\r\nno field\r\n\r\nBody: no\r\n";
        let all: Vec<_> = fields(content).collect();
        assert_eq!(all.len(), 3);
        assert_eq!(all[0].text(), "Received: from a\r\n\tby b;\r\n date\r\n");
        assert_eq!(all[0].value(), "from a\tby b; date");
        assert!(all[1].is("SUBJECT") && !all[1].is("Subj"));
        assert_eq!((all[2].name, all[2].raw), (&b""[..], &b"no field\r\n"[..]));
    }

    #[test]
    fn the_empty_line_belongs_to_the_header() {
        let cases: &[(&[u8], &[u8], &[u8])] = &[
            (b"", b"", b""),
            (b"\r\nbody", b"\r\n", b"body"),
            (b"A: b\r\n\r\nbody\r\n", b"A: b\r\n\r\n", b"body\r\n"),
            (b"A: b\r\n", b"A: b\r\n", b""),
            (b"A: b\r\n\r\n", b"A: b\r\n\r\n", b""),
        ];
        for (content, header, body) in cases {
            assert_eq!(split(content), (*header, *body));
        }
        assert_eq!(fields(b"\r\nSubject: in the body\r\n").count(), 0);
        assert_eq!(fields(b"Subject: unfinished").count(), 1);
    }
}
