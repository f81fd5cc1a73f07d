//! The words of an IMAP command (RFC 3501 §9), read from a whole command with its literals.

use std::borrow::Cow;

/// What was wrong; it goes behind `BAD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Bad(pub &'static str);

/// What is left of a command.
#[derive(Debug, Clone, Copy)]
pub struct Parser<'a> {
    rest: &'a [u8],
}

impl<'a> Parser<'a> {
    /// At the start of `command`, which ends without CRLF.
    pub fn new(command: &'a [u8]) -> Self {
        Self { rest: command }
    }

    /// Takes the octet if it is next.
    pub fn take(&mut self, octet: u8) -> bool {
        match self.rest.split_first() {
            Some((first, rest)) if *first == octet => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn expect(&mut self, octet: u8, otherwise: &'static str) -> Result<(), Bad> {
        if self.take(octet) { Ok(()) } else { Err(Bad(otherwise)) }
    }

    /// One space.
    pub fn space(&mut self) -> Result<(), Bad> {
        self.expect(b' ', "a space is missing")
    }

    /// Nothing may be left.
    pub fn end(&self) -> Result<(), Bad> {
        if self.rest.is_empty() { Ok(()) } else { Err(Bad("too many arguments")) }
    }

    /// Whether nothing is left.
    pub fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    fn while_in(&mut self, belongs: impl Fn(u8) -> bool) -> &'a str {
        let end = self.rest.iter().position(|octet| !belongs(*octet)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, &[]));
        self.rest = rest;
        std::str::from_utf8(word).unwrap_or_default()
    }

    /// An atom, or the tag, or a number; with the octets of `extra` besides.
    pub fn atom(&mut self, extra: &[u8]) -> Result<&'a str, Bad> {
        let word = self.while_in(|octet| {
            extra.contains(&octet) || (octet.is_ascii_graphic() && !br#"(){%*"\]["#.contains(&octet))
        });
        if word.is_empty() { Err(Bad("a word is missing")) } else { Ok(word) }
    }

    /// An atom in upper case: commands and keywords do not care.
    pub fn keyword(&mut self) -> Result<String, Bad> {
        Ok(self.atom(b"")?.to_ascii_uppercase())
    }

    /// A number.
    pub fn number(&mut self) -> Result<u32, Bad> {
        self.while_in(|octet| octet.is_ascii_digit()).parse().map_err(|_| Bad("a number is missing"))
    }

    /// An astring: atom, quoted string or literal. `extra` octets may stand in the atom, too (`%` and `*` in LIST).
    pub fn string(&mut self, extra: &[u8]) -> Result<Cow<'a, [u8]>, Bad> {
        match self.rest.first() {
            Some(b'"') => self.quoted().map(Cow::Owned),
            Some(b'{') => self.literal().map(Cow::Borrowed),
            _ => {
                let extra = [extra, b"]"].concat();
                self.atom(&extra).map(|atom| Cow::Borrowed(atom.as_bytes()))
            }
        }
    }

    fn quoted(&mut self) -> Result<Vec<u8>, Bad> {
        self.expect(b'"', "a quoted string is missing")?;
        let mut text = Vec::new();
        let mut octets = self.rest.iter();
        while let Some(octet) = octets.next() {
            match octet {
                b'"' => {
                    self.rest = octets.as_slice();
                    return Ok(text);
                }
                b'\\' => text.extend(octets.next()),
                other => text.push(*other),
            }
        }
        Err(Bad("a quoted string does not end"))
    }

    fn literal(&mut self) -> Result<&'a [u8], Bad> {
        let missing = "a literal is missing";
        self.expect(b'{', missing)?;
        let length = self.number()?;
        self.take(b'+');
        for octet in *b"}\r\n" {
            self.expect(octet, missing)?;
        }
        let length = usize::try_from(length).map_err(|_| Bad(missing))?;
        let (text, rest) = self.rest.split_at_checked(length).ok_or(Bad(missing))?;
        self.rest = rest;
        Ok(text)
    }

    /// `(` items `)`, or one item without the parentheses where `bare` allows it.
    pub fn list<T>(&mut self, bare: bool, item: impl Fn(&mut Self) -> Result<T, Bad>) -> Result<Vec<T>, Bad> {
        if !self.take(b'(') {
            return if bare { Ok(vec![item(self)?]) } else { Err(Bad("a list is missing")) };
        }
        let mut items = Vec::new();
        while !self.take(b')') {
            if !items.is_empty() {
                self.space()?;
            }
            items.push(item(self)?);
        }
        Ok(items)
    }

    /// A sequence set: `1`, `2:4`, `7:*`, `1,3:5`.
    pub fn set(&mut self) -> Result<Set, Bad> {
        let mut ranges = Vec::new();
        loop {
            let first = self.set_number()?;
            let last = if self.take(b':') { self.set_number()? } else { first };
            ranges.push((first, last));
            if !self.take(b',') {
                return Ok(Set(ranges));
            }
        }
    }

    fn set_number(&mut self) -> Result<Option<u32>, Bad> {
        if self.take(b'*') {
            return Ok(None);
        }
        match self.number()? {
            0 => Err(Bad("numbers begin at 1")),
            number => Ok(Some(number)),
        }
    }
}

/// Message numbers or unique identifiers; `None` is `*`, the largest one in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set(Vec<(Option<u32>, Option<u32>)>);

impl Set {
    /// Whether the number is in it.
    pub fn contains(&self, number: u32, largest: u32) -> bool {
        self.0.iter().any(|(first, last)| {
            let (first, last) = (first.unwrap_or(largest), last.unwrap_or(largest));
            (first.min(last)..=first.max(last)).contains(&number)
        })
    }
}

/// Whether a mailbox name matches LIST's pattern (RFC 3501 §6.3.8); this mailbox tree has no levels, so `%` is `*`.
pub fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some((b'*' | b'%', rest)) => {
            // Runs of wildcards mean no more than one, and would take exponential time.
            let wildcards = rest.iter().take_while(|octet| matches!(octet, b'*' | b'%')).count();
            let rest = rest.get(wildcards..).unwrap_or_default();
            (0..=name.len()).any(|at| name.get(at..).is_some_and(|name| matches(rest, name)))
        }
        Some((octet, rest)) => {
            name.split_first().is_some_and(|(first, name)| first.eq_ignore_ascii_case(octet) && matches(rest, name))
        }
    }
}

/// The number of octets of the literal that `line` announces at its end, and whether the client waits for our `+`.
pub fn announced_literal(line: &[u8]) -> Option<(u64, bool)> {
    let inner = line.strip_suffix(b"}")?;
    let (inner, waits) = inner.strip_suffix(b"+").map_or((inner, true), |inner| (inner, false));
    let start = memchr::memrchr(b'{', inner)? + 1;
    let digits = std::str::from_utf8(inner.get(start..)?).ok()?;
    let only_digits = !digits.is_empty() && digits.bytes().all(|octet| octet.is_ascii_digit());
    only_digits.then(|| (digits.parse().unwrap_or(u64::MAX), waits))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read and what comes of it.
    type Cases<T> = &'static [(&'static [u8], T)];

    #[test]
    fn rfc3501_9_strings_come_in_three_forms() {
        let cases: Cases<Result<&[u8], Bad>> = &[
            (b"demo", Ok(b"demo")),
            (b"\"de mo\"", Ok(b"de mo")),
            (b"\"a\\\"b\\\\\"", Ok(b"a\"b\\")),
            (b"{4}\r\nde\"o", Ok(b"de\"o")),
            (b"{4+}\r\n(mo)", Ok(b"(mo)")),
            (b"\"\"", Ok(b"")),
            (b"{5}\r\ndemo", Err(Bad("a literal is missing"))),
            (b"\"demo", Err(Bad("a quoted string does not end"))),
            (b"(", Err(Bad("a word is missing"))),
            (b"", Err(Bad("a word is missing"))),
        ];
        for (input, expected) in cases {
            let found = Parser::new(input).string(b"");
            assert_eq!(found.as_deref(), expected.as_deref(), "{:?}", String::from_utf8_lossy(input));
        }
    }

    #[test]
    fn rfc3501_9_sequence_sets() {
        let cases: &[(&str, u32, &[u32])] = &[
            ("1", 5, &[1]),
            ("2:4", 5, &[2, 3, 4]),
            ("4:2", 5, &[2, 3, 4]),
            ("*", 5, &[5]),
            ("4:*", 5, &[4, 5]),
            // RFC 3501 §6.4.8: `559:*` always holds the last message.
            ("559:*", 5, &[5]),
            ("1,3:4", 5, &[1, 3, 4]),
        ];
        for (text, largest, expected) in cases {
            let set = Parser::new(text.as_bytes()).set().unwrap();
            let found: Vec<u32> = (1..=*largest).filter(|number| set.contains(*number, *largest)).collect();
            assert_eq!(found, *expected, "{text}");
        }
        for bad in ["", "0", "1:", "1,", "a", "99999999999"] {
            assert!(Parser::new(bad.as_bytes()).set().is_err(), "{bad}");
        }
    }

    #[test]
    fn lists_hold_items_between_single_spaces() {
        let words = |text: &'static str, bare| Parser::new(text.as_bytes()).list(bare, |p| p.keyword());
        assert_eq!(words("(a b)", false), Ok(vec!["A".to_owned(), "B".to_owned()]));
        assert_eq!(words("()", false), Ok(vec![]));
        assert_eq!(words("a", true), Ok(vec!["A".to_owned()]));
        assert_eq!(words("a", false), Err(Bad("a list is missing")));
        assert_eq!(words("(a  b)", false), Err(Bad("a word is missing")));
        assert_eq!(words("(a", false), Err(Bad("a space is missing")));
    }

    #[test]
    fn list_patterns() {
        for pattern in ["*", "%", "INBOX", "inbox", "IN*", "*box", "%%**", "I%X"] {
            assert!(matches(pattern.as_bytes(), b"INBOX"), "{pattern}");
        }
        for pattern in ["", "INBO", "INBOXX", "Sent", "*y", "INBOX/%"] {
            assert!(!matches(pattern.as_bytes(), b"INBOX"), "{pattern}");
        }
    }

    #[test]
    fn literals_are_announced_at_the_end_of_a_line() {
        let cases: Cases<Option<(u64, bool)>> = &[
            (b"a LOGIN {4}", Some((4, true))),
            (b"a LOGIN {4+}", Some((4, false))),
            (b"a LOGIN {0}", Some((0, true))),
            (b"a LOGIN {99999999999999999999999}", Some((u64::MAX, true))),
            (b"a LOGIN {+}", None),
            (b"a LOGIN {}", None),
            (b"a LOGIN {-4}", None),
            (b"a LOGIN \"{4}\"", None),
            (b"a LOGIN 4}", None),
            (b"", None),
        ];
        for (line, expected) in cases {
            assert_eq!(announced_literal(line), *expected, "{:?}", String::from_utf8_lossy(line));
        }
    }
}
