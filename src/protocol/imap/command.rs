//! What a client says: tags, verbs and literal announcements (RFC 9051 §2.2.1, §4.3, §9; RFC 7888).
//!
//! No line that ends in `{…}` outside quotes is anything but a literal announcement here. A backend that sees a
//! literal where the gate sees none would swallow the commands behind it, and the other way round would run its octets.

use std::ops::Range;

use super::{Refusal, limits, reasons};

/// The beginning of a command. The parts are views of its first line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head<'a> {
    pub(super) tag: &'a [u8],
    pub(super) verb: &'a [u8],
    /// What follows the verb's space, if there is one.
    pub(super) arguments: Option<&'a [u8]>,
}

/// A line that is no command; with the tag, if it has one, so that the answer can bear it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Untold<'a> {
    pub(super) tag: Option<&'a [u8]>,
}

/// Splits a command's first line, without its CRLF: `tag SP verb [SP arguments]`, single spaces only.
pub(super) fn head(line: &[u8]) -> Result<Head<'_>, Untold<'_>> {
    let (tag, rest) = token(line);
    if tag.is_empty() || tag.len() > limits::TAG || !tag.iter().all(|octet| is_tag_char(*octet)) {
        return Err(Untold { tag: None });
    }
    let Some(rest) = rest else { return Err(Untold { tag: Some(tag) }) };
    let (verb, arguments) = token(rest);
    if verb.is_empty() || !verb.iter().all(|octet| is_atom_char(*octet)) {
        return Err(Untold { tag: Some(tag) });
    }
    Ok(Head { tag, verb, arguments })
}

/// What can be told of a line that is refused whatever it says: its tag, and its command's name for the log.
pub(super) fn told(line: &[u8]) -> (Option<&[u8]>, &'static str) {
    match head(line) {
        Ok(head) => (Some(head.tag), name(head.verb)),
        Err(untold) => (untold.tag, "unknown"),
    }
}

/// The octets before the first space, and those behind it if there is one.
pub(super) fn token(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b' ', text).and_then(|space| text.split_at_checked(space)) {
        Some((first, rest)) => (first, rest.get(1..)),
        None => (text, None),
    }
}

/// RFC 9051 §9: `tag = 1*<any ASTRING-CHAR except "+">`, less `/` and `]`: Dovecot 2.2 takes a tag with the one, 2.3 with the other, for
/// none, and answers the command without it, so that nobody could tell when it is done.
fn is_tag_char(octet: u8) -> bool {
    is_atom_char(octet) && !matches!(octet, b'+' | b'/')
}

/// RFC 9051 §9: `ATOM-CHAR`.
pub(super) fn is_atom_char(octet: u8) -> bool {
    octet.is_ascii_graphic() && !matches!(octet, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\' | b']')
}

/// An announcement of octets that follow the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Literal {
    /// How many; saturated, since nobody gets near that.
    pub(super) octets: usize,
    /// Whether the client waits for a `+` before it sends them.
    pub(super) kind: LiteralKind,
    /// Where the announcement stood in its line, without a space before it.
    pub(super) at: usize,
}

/// How a literal is announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LiteralKind {
    /// `{n}`: the client waits for a `+`.
    Synchronising,
    /// `{n+}` (RFC 7888): the octets come at once.
    NonSynchronising,
}

/// Why a piece of a command cannot be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Malformed {
    Nul,
    OpenQuote,
    BadLiteral,
    TooManyLiterals,
    TooDeep,
}

impl From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Self {
        let text = match malformed {
            Malformed::Nul => "BAD NUL octet in a command",
            Malformed::OpenQuote => "BAD Quoted string without an end",
            Malformed::BadLiteral => "BAD Malformed literal",
            Malformed::TooManyLiterals => "BAD Too many literals in a command",
            Malformed::TooDeep => "BAD Too many parentheses",
        };
        Self::new(reasons::MALFORMED, text)
    }
}

/// Reads a command's pieces: its first line, and what stands behind each of its literals.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Scan {
    depth: u32,
    literals: u32,
}

impl Scan {
    /// Reads one piece without its CRLF and tells the literal that it ends in, if it does.
    pub(super) fn piece(&mut self, text: &[u8]) -> Result<Option<Literal>, Malformed> {
        let mut rest = text.iter().enumerate();
        let mut before = None;
        while let Some((at, octet)) = rest.next() {
            match octet {
                0 => return Err(Malformed::Nul),
                b'"' => quoted(&mut rest)?,
                b'(' => {
                    self.depth += 1;
                    if self.depth > limits::DEPTH {
                        return Err(Malformed::TooDeep);
                    }
                }
                b')' => self.depth = self.depth.saturating_sub(1),
                // An atom cannot hold it, so that it must be an announcement, which is an argument of its own
                // and ends the line.
                b'{' => {
                    let own = matches!(before, Some(b' ' | b'('));
                    let announced = text.get(at..).filter(|_| own).and_then(announcement);
                    let (octets, kind) = announced.ok_or(Malformed::BadLiteral)?;
                    self.literals += 1;
                    if self.literals > limits::LITERALS {
                        return Err(Malformed::TooManyLiterals);
                    }
                    return Ok(Some(Literal { octets, kind, at }));
                }
                _ => {}
            }
            before = Some(*octet);
        }
        Ok(None)
    }
}

/// Goes to the end of a quoted string (RFC 9051 §4.3).
fn quoted<'a>(rest: &mut impl Iterator<Item = (usize, &'a u8)>) -> Result<(), Malformed> {
    while let Some((_, octet)) = rest.next() {
        match octet {
            0 => return Err(Malformed::Nul),
            b'\\' => drop(rest.next().filter(|(_, escaped)| **escaped != 0).ok_or(Malformed::OpenQuote)?),
            b'"' => return Ok(()),
            _ => {}
        }
    }
    Err(Malformed::OpenQuote)
}

/// `{n}` or `{n+}`, digits only and none of them idle; a number beyond all limits stays beyond them.
pub(super) fn announcement(text: &[u8]) -> Option<(usize, LiteralKind)> {
    let inner = text.strip_prefix(b"{")?.strip_suffix(b"}")?;
    let (digits, kind) = match inner.strip_suffix(b"+") {
        Some(digits) => (digits, LiteralKind::NonSynchronising),
        None => (inner, LiteralKind::Synchronising),
    };
    let idle_zero = digits.len() > 1 && digits.first() == Some(&b'0');
    if digits.is_empty() || idle_zero || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = |sum: usize, digit: &u8| sum.saturating_mul(10).saturating_add(usize::from(digit - b'0'));
    Some((digits.iter().fold(0, value), kind))
}

/// Whether the client sends octets behind this line without waiting, as far as anyone could read it that way. For
/// lines that are refused: the octets would run as commands.
pub(super) fn octets_follow(line: &[u8]) -> bool {
    line.trim_ascii_end().ends_with(b"+}")
}

/// A string or atom at the beginning of `text`, and where in it the rest begins; None for a literal or nothing.
pub(super) fn astring(text: &[u8]) -> Option<(Vec<u8>, Range<usize>)> {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        let (atom, _) = token(text);
        let present = !atom.is_empty() && atom.first() != Some(&b'{');
        return present.then(|| (atom.to_vec(), atom.len()..text.len()));
    };
    let mut value = Vec::new();
    let mut octets = quoted.iter().enumerate();
    while let Some((at, octet)) = octets.next() {
        match octet {
            b'"' => return Some((value, at + 2..text.len())),
            b'\\' => value.push(*octets.next()?.1),
            plain => value.push(*plain),
        }
    }
    None
}

/// The commands that the log counts by name: RFC 9051 §6 and what is common beside it, lower case.
const NAMES: &[&str] = &[
    "append",
    "authenticate",
    "capability",
    "check",
    "close",
    "compress",
    "copy",
    "create",
    "delete",
    "enable",
    "examine",
    "expunge",
    "fetch",
    "getquota",
    "getquotaroot",
    "id",
    "idle",
    "list",
    "login",
    "logout",
    "lsub",
    "move",
    "namespace",
    "noop",
    "rename",
    "search",
    "select",
    "sort",
    "starttls",
    "status",
    "store",
    "subscribe",
    "thread",
    "uid",
    "unauthenticate",
    "unselect",
    "unsubscribe",
];

/// The command's name for the log and for comparisons; `unknown` for one that is not among them.
pub(super) fn name(verb: &[u8]) -> &'static str {
    NAMES.iter().find(|name| verb.eq_ignore_ascii_case(name.as_bytes())).copied().unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc9051_2_2_1_a_command_is_a_tag_and_a_verb() {
        let whole = |tag, verb, arguments| Ok(Head { tag, verb, arguments });
        let cases: &[(&[u8], Result<Head<'_>, Untold<'_>>)] = &[
            (b"a NOOP", whole(b"a", b"NOOP", None)),
            (b"A.1 login x y", whole(b"A.1", b"login", Some(&b"x y"[..]))),
            (b"a NOOP ", whole(b"a", b"NOOP", Some(b""))),
            (b"", Err(Untold { tag: None })),
            (b" NOOP", Err(Untold { tag: None })),
            (b"a", Err(Untold { tag: Some(b"a") })),
            (b"a ", Err(Untold { tag: Some(b"a") })),
            (b"a  NOOP", Err(Untold { tag: Some(b"a") })),
            (b"a NO\"OP", Err(Untold { tag: Some(b"a") })),
            (b"a NOOP\tx", Err(Untold { tag: Some(b"a") })),
            (b"a+ NOOP", Err(Untold { tag: None })),
            (b"+ NOOP", Err(Untold { tag: None })),
            (b"* NOOP", Err(Untold { tag: None })),
            (b"a\xe9 NOOP", Err(Untold { tag: None })),
            (b"a\0 NOOP", Err(Untold { tag: None })),
            (b"a{ NOOP", Err(Untold { tag: None })),
            (b"a/1 NOOP", Err(Untold { tag: None })),
            (b"a] NOOP", Err(Untold { tag: None })),
            (&[b'a'; limits::TAG + 1], Err(Untold { tag: None })),
        ];
        for (line, expected) in cases {
            assert_eq!(head(line), *expected, "{:?}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn rfc7888_literals_are_announced_at_the_end_of_a_line_and_outside_quotes() {
        use LiteralKind::{NonSynchronising as Non, Synchronising as Sync};
        type Found = Result<Option<(usize, LiteralKind)>, Malformed>;
        let cases: &[(&[u8], Found)] = &[
            (b"a LOGIN {5}", Ok(Some((5, Sync)))),
            (b"a LOGIN {5+}", Ok(Some((5, Non)))),
            (b"a LOGIN {0}", Ok(Some((0, Sync)))),
            (b"a ID ({4}", Ok(Some((4, Sync)))),
            (b"a X (a (b \"c\" {4+}", Ok(Some((4, Non)))),
            (b"a X {4294967297}", Ok(Some((4_294_967_297, Sync)))),
            (b"a X {18446744073709551621}", Ok(Some((usize::MAX, Sync)))),
            (b"a LOGIN \"{5}\"", Ok(None)),
            (b"a LOGIN \"x {5}\" y}", Ok(None)),
            (b"a LOGIN \"\\\"{5+}\" y", Ok(None)),
            (b"a LOGIN x y}", Ok(None)),
            (b"a LOGIN \"x {5}", Err(Malformed::OpenQuote)),
            (b"a LOGIN \"x\\", Err(Malformed::OpenQuote)),
            (b"a LOGIN x{5+}", Err(Malformed::BadLiteral)),
            (b"a LOGIN \"x\"{5+}", Err(Malformed::BadLiteral)),
            (b"a LOGIN ~{5+}", Err(Malformed::BadLiteral)),
            (b"a LOGIN {05}", Err(Malformed::BadLiteral)),
            (b"a LOGIN {+5}", Err(Malformed::BadLiteral)),
            (b"a LOGIN {-5}", Err(Malformed::BadLiteral)),
            (b"a LOGIN { 5}", Err(Malformed::BadLiteral)),
            (b"a LOGIN {5 }", Err(Malformed::BadLiteral)),
            (b"a LOGIN {}", Err(Malformed::BadLiteral)),
            (b"a LOGIN {+}", Err(Malformed::BadLiteral)),
            (b"a LOGIN {5++}", Err(Malformed::BadLiteral)),
            (b"a LOGIN {5-}", Err(Malformed::BadLiteral)),
            (b"a LOGIN {0x5}", Err(Malformed::BadLiteral)),
            (b"a LOGIN {5} ", Err(Malformed::BadLiteral)),
            (b"a LOGIN {5} {6}", Err(Malformed::BadLiteral)),
            (b"a LOGIN {5", Err(Malformed::BadLiteral)),
            (b"a LOGIN x\0y", Err(Malformed::Nul)),
            (b"a LOGIN \"x\0y\"", Err(Malformed::Nul)),
            (b"a X ((((((((((((((((x))))))))))))))))", Ok(None)),
            (b"a X (((((((((((((((((x)", Err(Malformed::TooDeep)),
        ];
        for (line, expected) in cases {
            let found = Scan::default().piece(line).map(|found| found.map(|literal| (literal.octets, literal.kind)));
            assert_eq!(found, *expected, "{:?}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn literals_and_depth_are_counted_over_all_pieces() {
        let mut scan = Scan::default();
        for _ in 0..limits::LITERALS {
            assert!(scan.piece(b" {1}").unwrap().is_some());
        }
        assert_eq!(scan.piece(b" {1}"), Err(Malformed::TooManyLiterals));
        let mut scan = Scan::default();
        for _ in 0..limits::DEPTH {
            assert!(scan.piece(b" (").unwrap().is_none());
        }
        assert_eq!(scan.piece(b"("), Err(Malformed::TooDeep));
    }

    #[test]
    fn strings_give_their_value_and_the_rest() {
        type Split<'a> = Option<(&'a [u8], &'a [u8])>;
        let cases: &[(&[u8], Split<'_>)] = &[
            (b"alice secret", Some((b"alice", b" secret"))),
            (b"\"al ice\" secret", Some((b"al ice", b" secret"))),
            (b"\"a\\\"b\\\\c\"x", Some((b"a\"b\\c", b"x"))),
            (b"\"\" x", Some((b"", b" x"))),
            (b"\"open", None),
            (b"{5}", None),
            (b"", None),
        ];
        for (text, expected) in cases {
            let found = astring(text).map(|(value, rest)| (value, text[rest].to_vec()));
            assert_eq!(found, expected.map(|(value, rest)| (value.to_vec(), rest.to_vec())));
        }
    }

    #[test]
    fn names_are_known_in_any_case() {
        assert_eq!(name(b"LogIn"), "login");
        assert_eq!(name(b"XYZZY"), "unknown");
        assert!(NAMES.is_sorted());
    }
}
