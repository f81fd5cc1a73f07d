//! Paths in MAIL and RCPT (RFC 5321 §4.1.2), and names from the wire made fit for a Received field.

use std::borrow::Cow;

/// The longest path kept for a Received field (RFC 5321 §4.5.3.1.3).
const PATH_LIMIT: usize = 256;

/// Splits the argument of MAIL or RCPT behind `keyword` (`FROM:`, `TO:`) into the path without its angle brackets and the
/// parameters. A `>` inside a quoted local part does not end the path. `None` if there is no path that ends.
pub fn split<'a>(argument: &'a [u8], keyword: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let (found, rest) = argument.split_at_checked(keyword.len())?;
    if !found.eq_ignore_ascii_case(keyword) {
        return None;
    }
    // RFC 5321 §3.3: no space belongs here, yet servers were always lenient.
    let rest = rest.trim_ascii_start();
    let Some(bracketed) = rest.strip_prefix(b"<") else {
        let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
        return Some(rest.split_at(end));
    };
    let mut quote = Quote::default();
    let end = bracketed.iter().position(|octet| !quote.step(*octet) && *octet == b'>')?;
    let (path, parameters) = bracketed.split_at(end);
    Some((path, parameters.get(1..).unwrap_or_default()))
}

/// The address of an RCPT for `for <…>`: without source route, what is not in the grammar replaced by `?`. Empty if there is
/// none that could be shown.
pub fn recipient(argument: &[u8], utf8: bool) -> Box<str> {
    let Some((path, _)) = split(argument, b"TO:") else { return "".into() };
    // RFC 5321 §4.1.1.3, appendix C: a source route is to be ignored.
    let route = path.first() == Some(&b'@');
    let mailbox = match path.iter().position(|octet| *octet == b':') {
        Some(colon) if route => path.get(colon + 1..).unwrap_or_default(),
        _ => path,
    };
    if mailbox.len() > PATH_LIMIT {
        return "".into();
    }
    let mut quote = Quote::default();
    text(mailbox, utf8, move |octet| {
        let quoted = quote.step(octet);
        // RFC 5321 §4.1.2: Dot-string, Quoted-string, Domain, address-literal.
        octet.is_ascii_alphanumeric()
            || b"!#$%&'*+-/=?^_`{|}~.@[]:\"".contains(&octet)
            || (quoted && (octet == b' ' || octet.is_ascii_graphic()))
    })
    .into()
}

/// A client's name for itself, what is neither in the grammar of a domain nor of an address literal replaced by `?`.
pub fn hello(name: &[u8], utf8: bool) -> Cow<'_, str> {
    // RFC 5321 §4.5.3.1.2: a domain has at most 255 octets.
    let name = name.get(..255).unwrap_or(name);
    text(name, utf8, |octet| octet.is_ascii_alphanumeric() || b"-._[]:".contains(&octet))
}

/// Keeps the ASCII octets that `fits` admits and, with `utf8`, printable characters beyond ASCII; all else becomes `?`, octet by octet.
pub fn text(octets: &[u8], utf8: bool, mut fits: impl FnMut(u8) -> bool + Clone) -> Cow<'_, str> {
    let mut all_fit = fits.clone();
    // Nearly always there is nothing to replace.
    if octets.iter().all(|octet| octet.is_ascii() && all_fit(*octet))
        && let Ok(text) = std::str::from_utf8(octets)
    {
        return text.into();
    }
    let mut kept = String::with_capacity(octets.len());
    for chunk in octets.utf8_chunks() {
        for character in chunk.valid().chars() {
            match u8::try_from(character) {
                Ok(octet) if octet.is_ascii() => kept.push(if fits(octet) { character } else { '?' }),
                _ if utf8 && !character.is_control() && !character.is_whitespace() => kept.push(character),
                _ => kept.extend(std::iter::repeat_n('?', character.len_utf8())),
            }
        }
        kept.extend(chunk.invalid().iter().map(|_| '?'));
    }
    kept.into()
}

/// Where in a quoted string a path is (RFC 5321 §4.1.2).
#[derive(Debug, Default, Clone)]
struct Quote {
    inside: bool,
    escaped: bool,
}

impl Quote {
    /// Takes one octet; whether it stands inside quotes.
    fn step(&mut self, octet: u8) -> bool {
        let inside = self.inside;
        match octet {
            _ if self.escaped => self.escaped = false,
            b'\\' if self.inside => self.escaped = true,
            b'"' => self.inside = !self.inside,
            _ => {}
        }
        inside
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc5321_4_1_2_a_path_ends_at_its_bracket() {
        let cases: &[(&[u8], Option<(&[u8], &[u8])>)] = &[
            (b"TO:<a@b>", Some((b"a@b", b""))),
            (b"to:<a@b> NOTIFY=NEVER", Some((b"a@b", b" NOTIFY=NEVER"))),
            (b"TO: <a@b>", Some((b"a@b", b""))),
            (b"TO:<>", Some((b"", b""))),
            (b"TO:<\"a>b\"@c> X", Some((b"\"a>b\"@c", b" X"))),
            (b"TO:<\"a\\\">b\"@c>", Some((b"\"a\\\">b\"@c", b""))),
            (b"TO:a@b X", Some((b"a@b", b" X"))),
            (b"TO:<a@b", None),
            (b"TO:<\"a>", None),
            (b"TO", None),
            (b"FROM:<a>", None),
        ];
        for (argument, expected) in cases {
            assert_eq!(split(argument, b"TO:"), *expected, "{:?}", String::from_utf8_lossy(argument));
        }
    }

    #[test]
    fn a_recipient_shows_nothing_outside_its_grammar() {
        let cases: &[(&[u8], bool, &str)] = &[
            (b"TO:<alice@example.com>", false, "alice@example.com"),
            (b"TO:<Postmaster>", false, "Postmaster"),
            (b"TO:<@a.example,@b.example:alice@example.com>", false, "alice@example.com"),
            (b"TO:<\"a b>;\"@example.com>", false, "\"a b>;\"@example.com"),
            (b"TO:<a b;(c)@example.com>", false, "a?b??c?@example.com"),
            (b"TO:<a@[IPv6:2001:db8::1]>", false, "a@[IPv6:2001:db8::1]"),
            (b"TO:<\xc3\xa9@example.com>", false, "??@example.com"),
            (b"TO:<\xc3\xa9@example.com>", true, "\u{e9}@example.com"),
            (b"TO:<\xc3@example.com>", true, "?@example.com"),
            (b"TO:<a\xe2\x80\xa8b@example.com>", true, "a???b@example.com"),
            (b"nonsense", false, ""),
        ];
        for (argument, utf8, expected) in cases {
            assert_eq!(&*recipient(argument, *utf8), *expected, "{:?}", String::from_utf8_lossy(argument));
        }
        let mut long = b"TO:<".to_vec();
        long.extend_from_slice(&b"a".repeat(PATH_LIMIT + 1));
        long.push(b'>');
        assert_eq!(&*recipient(&long, false), "");
    }

    #[test]
    fn a_hello_shows_nothing_outside_its_grammar() {
        let cases: &[(&[u8], bool, &str)] = &[
            (b"mail.example.com", false, "mail.example.com"),
            (b"[IPv6:2001:db8::1]", false, "[IPv6:2001:db8::1]"),
            (b"my_host", false, "my_host"),
            (b"a b(c);\r\nX", false, "a?b?c????X"),
            (b"m\xc3\xbcller.example", false, "m??ller.example"),
            (b"m\xc3\xbcller.example", true, "m\u{fc}ller.example"),
            (b"\xff\xfe", true, "??"),
        ];
        for (name, utf8, expected) in cases {
            assert_eq!(hello(name, *utf8), *expected);
        }
        assert_eq!(hello(&b"a".repeat(4000), false).len(), 255);
    }
}
