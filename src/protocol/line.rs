//! Lines: the unit both protocols are made of.

/// What the input begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// A line that ends in CRLF; its length with the CRLF.
    Whole(usize),
    /// A line that ends in LF without CR, or holds a CR that no LF follows; its length with the LF.
    /// RFC 5321 §2.3.8 forbids both, and servers disagree on where such a line ends.
    BareNewline(usize),
    /// No LF yet, and the limit not reached.
    Partial,
    /// No LF within the limit.
    TooLong,
}

/// Looks for the end of the line that `input` begins with; `limit` counts the CRLF.
pub fn first_line(input: &[u8], limit: usize) -> Line {
    match memchr::memchr(b'\n', input) {
        Some(lf) if lf >= limit => Line::TooLong,
        Some(lf) => {
            let (body, _) = input.split_at(lf);
            match body.split_last() {
                Some((b'\r', text)) if !text.contains(&b'\r') => Line::Whole(lf + 1),
                _ => Line::BareNewline(lf + 1),
            }
        }
        None if input.len() >= limit => Line::TooLong,
        None => Line::Partial,
    }
}

/// The text of the line that `input` begins with, as far as it is there.
pub fn first_text(input: &[u8]) -> &[u8] {
    let line = memchr::memchr(b'\n', input).and_then(|lf| input.get(..lf)).unwrap_or(input);
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc5321_2_3_8_a_line_ends_in_crlf_and_holds_no_other() {
        let cases: &[(&[u8], Line)] = &[
            (b"", Line::Partial),
            (b"\r\n", Line::Whole(2)),
            (b"NOOP\r\nQUIT\r\n", Line::Whole(6)),
            (b"NOOP\r", Line::Partial),
            (b"NOOP\n", Line::BareNewline(5)),
            (b"\n", Line::BareNewline(1)),
            (b"NO\rOP\r\n", Line::BareNewline(7)),
            (b"NOOP\r\r\n", Line::BareNewline(7)),
            (b"0123456789", Line::TooLong),
            (b"01234567\r\n", Line::Whole(10)),
            (b"012345678\r\n", Line::TooLong),
            (b"012345678", Line::Partial),
        ];
        for (input, expected) in cases {
            assert_eq!(first_line(input, 10), *expected, "{:?}", String::from_utf8_lossy(input));
        }
    }
}
