//! The content behind DATA: where it ends (RFC 5321 §4.1.1.4), and what becomes of a bare CR or LF in it (§2.3.8).
//!
//! The end is CRLF.CRLF and nothing else. A server that also stops at `LF.CRLF` or the like, behind a sender that does not,
//! can be made to take the rest of a message for commands (SMTP smuggling, CVE-2023-51764). So a bare CR or LF
//! never leaves the gate: it becomes a CRLF, and a dot that comes to stand at the beginning of a line by that is stuffed
//! anew (§4.5.2). In other words, the content is decoded, its newlines are made whole, and it is encoded again.

/// Where in a line the scanner stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Behind CRLF, or at the very beginning: a dot here is the sender's stuffing, or the end.
    LineStart,
    /// Behind a newline that the sender did not mean as one: a dot here is content.
    MendedLineStart,
    /// Elsewhere.
    Middle,
}

/// Reads content; one octet of state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scanner(Place);

/// What the input begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// So many octets of proper content, at least one.
    Clean(usize),
    /// So many octets of proper content, of which the last five, or the three at the very beginning, end it.
    End(usize),
    /// The first octets must be replaced.
    Mend(Mend),
    /// What the octets mean hangs on the next one.
    Undecided,
}

/// A repair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mend {
    /// How many octets go away.
    pub swallow: usize,
    /// What comes in their place.
    pub insert: &'static [u8],
}

impl Scanner {
    /// A scanner at the beginning of content, which counts as the beginning of a line (RFC 5321 §4.1.1.4).
    pub fn new() -> Self {
        Self(Place::LineStart)
    }

    /// Judges what `input` begins with, as much of it as can be; the octets told of are then behind the scanner.
    pub fn scan(&mut self, input: &[u8]) -> Found {
        let mut rest = input;
        loop {
            let clean = input.len() - rest.len();
            match step(self.0, rest) {
                Step::Clean(n, place) => {
                    self.0 = place;
                    rest = rest.get(n..).unwrap_or_default();
                }
                Step::End(n) => return Found::End(clean + n),
                Step::Mend(_) | Step::Undecided if clean > 0 => return Found::Clean(clean),
                Step::Mend(mend) => {
                    self.0 = if mend.insert == STUFFED { Place::Middle } else { Place::MendedLineStart };
                    return Found::Mend(mend);
                }
                Step::Undecided => return Found::Undecided,
            }
        }
    }
}

const STUFFED: &[u8] = b"..";
const NEWLINE: &[u8] = b"\r\n";

enum Step {
    Clean(usize, Place),
    End(usize),
    Mend(Mend),
    Undecided,
}

/// One line's worth, or less.
fn step(place: Place, rest: &[u8]) -> Step {
    let mend = |swallow, insert| Step::Mend(Mend { swallow, insert });
    match (place, rest) {
        (_, [] | [b'\r']) => Step::Undecided,
        (_, [b'\r', b'\n', ..]) => Step::Clean(2, Place::LineStart),
        (_, [b'\r' | b'\n', ..]) => mend(1, NEWLINE),
        (Place::LineStart, [b'.', after @ ..]) => match after {
            [] | [b'\r'] => Step::Undecided,
            [b'\r', b'\n', ..] => Step::End(3),
            // A stuffed empty line, ended by a bare newline. To keep the dot would make it an end of data.
            [b'\r' | b'\n', ..] => mend(2, NEWLINE),
            _ => Step::Clean(1, Place::Middle),
        },
        (Place::MendedLineStart, [b'.', ..]) => mend(1, STUFFED),
        _ => Step::Clean(memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len()), Place::Middle),
    }
}

/// Whether content that begins with `input` would fold into a header field in front of it (RFC 5322 §2.2.3), once its
/// dot-stuffing is undone; `None` while that hangs on the next octet.
pub fn begins_folded(input: &[u8]) -> Option<bool> {
    match input {
        [] | [b'.'] => None,
        [b' ' | b'\t', ..] | [b'.', b' ' | b'\t', ..] => Some(true),
        _ => Some(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Runs `content` through a scanner in pieces of `size`; what leaves it, and what is left behind the end, if it came.
    fn run(content: &[u8], size: usize) -> (Vec<u8>, Option<Vec<u8>>) {
        let (mut scanner, mut held, mut sent) = (Scanner::new(), Vec::new(), Vec::new());
        let mut pieces = content.chunks(size);
        loop {
            match scanner.scan(&held) {
                Found::Clean(n) => sent.extend(held.drain(..n)),
                Found::Mend(mend) => {
                    held.drain(..mend.swallow);
                    sent.extend_from_slice(mend.insert);
                }
                Found::End(n) => {
                    sent.extend(held.drain(..n));
                    held.extend(pieces.flatten());
                    return (sent, Some(held));
                }
                Found::Undecided => match pieces.next() {
                    Some(piece) => held.extend_from_slice(piece),
                    None => return (sent, None),
                },
            }
        }
    }

    #[test]
    fn rfc5321_4_1_1_4_only_crlf_dot_crlf_ends_content() {
        // What came, what goes, what is left behind the end of data.
        let cases: &[(&[u8], &[u8], Option<&[u8]>)] = &[
            (b".\r\n", b".\r\n", Some(b"")),
            (b"\r\n.\r\n", b"\r\n.\r\n", Some(b"")),
            (b"a\r\n.\r\nQUIT\r\n", b"a\r\n.\r\n", Some(b"QUIT\r\n")),
            (b"a\r\n..\r\n.\r\n", b"a\r\n..\r\n.\r\n", Some(b"")),
            (b"a\r\n.b\r\n.\r\n", b"a\r\n.b\r\n.\r\n", Some(b"")),
            (b"a.\r\n.\r\n", b"a.\r\n.\r\n", Some(b"")),
            (b"a\0\xff\r\n.\r\n", b"a\0\xff\r\n.\r\n", Some(b"")),
            // No end.
            (b"a\r\n.", b"a\r\n", None),
            (b"a\r\n.\r", b"a\r\n", None),
            (b"a\r", b"a", None),
            // Bare newlines, in all places.
            (b"a\nb\r\n.\r\n", b"a\r\nb\r\n.\r\n", Some(b"")),
            (b"a\rb\r\n.\r\n", b"a\r\nb\r\n.\r\n", Some(b"")),
            (b"a\r\r\n.\r\n", b"a\r\n\r\n.\r\n", Some(b"")),
            (b"\n\n\r\n.\r\n", b"\r\n\r\n\r\n.\r\n", Some(b"")),
            // Smuggling: none of these ends the content, here or behind us.
            (b"a\n.\nb\r\n.\r\n", b"a\r\n..\r\nb\r\n.\r\n", Some(b"")),
            (b"a\n.\r\nb\r\n.\r\n", b"a\r\n..\r\nb\r\n.\r\n", Some(b"")),
            (b"a\r\n.\nb\r\n.\r\n", b"a\r\n\r\nb\r\n.\r\n", Some(b"")),
            (b"a\r\n.\rb\r\n.\r\n", b"a\r\n\r\nb\r\n.\r\n", Some(b"")),
            (b"a\r.\rb\r\n.\r\n", b"a\r\n..\r\nb\r\n.\r\n", Some(b"")),
            (b"a\r.\r\nb\r\n.\r\n", b"a\r\n..\r\nb\r\n.\r\n", Some(b"")),
            (b"a\n\r.\r\n\nb\r\n.\r\n", b"a\r\n\r\n..\r\n\r\nb\r\n.\r\n", Some(b"")),
            (b"a\r\n.\r\r\nb\r\n.\r\n", b"a\r\n\r\n\r\nb\r\n.\r\n", Some(b"")),
            (b"a\n..\nb\r\n.\r\n", b"a\r\n...\r\nb\r\n.\r\n", Some(b"")),
            (b".\na\r\n.\r\n", b"\r\na\r\n.\r\n", Some(b"")),
        ];
        for (content, sent, behind) in cases {
            for size in 1..=content.len() {
                let (got, left) = run(content, size);
                let name = format!("{:?} by {size}", String::from_utf8_lossy(content));
                assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(sent), "{name}");
                assert_eq!(left.as_deref(), *behind, "{name}");
            }
        }
    }

    #[test]
    fn content_that_would_fold_is_known() {
        let cases: &[(&[u8], Option<bool>)] = &[
            (b"", None),
            (b".", None),
            (b" ", Some(true)),
            (b"\tx", Some(true)),
            (b". x", Some(true)),
            (b".\t", Some(true)),
            (b"..", Some(false)),
            (b".\r", Some(false)),
            (b"\r", Some(false)),
            (b"Subject", Some(false)),
        ];
        for (input, expected) in cases {
            assert_eq!(begins_folded(input), *expected, "{input:?}");
        }
    }

    /// The rule by itself, without regard to speed: decode, mend the newlines, encode.
    fn model(content: &[u8]) -> Option<Vec<u8>> {
        let end = if content.starts_with(b".\r\n") {
            0
        } else {
            content.windows(5).position(|window| window == b"\r\n.\r\n")? + 2
        };
        let mut content = content[..end].to_vec();
        // Undo the sender's stuffing, for which CRLF alone begins a line.
        let starts: Vec<usize> = (0..content.len())
            .filter(|at| content[*at] == b'.' && (*at == 0 || (*at >= 2 && &content[at - 2..*at] == b"\r\n")))
            .collect();
        for at in starts.into_iter().rev() {
            content.remove(at);
        }
        // All newlines are one.
        let mut lines = vec![Vec::new()];
        let mut octets = content.iter().peekable();
        while let Some(octet) = octets.next() {
            match octet {
                b'\r' => {
                    octets.next_if(|next| **next == b'\n');
                    lines.push(Vec::new());
                }
                b'\n' => lines.push(Vec::new()),
                octet => lines.last_mut().unwrap().push(*octet),
            }
        }
        let mut encoded = Vec::new();
        let count = lines.len();
        for (place, line) in lines.into_iter().enumerate() {
            if line.first() == Some(&b'.') {
                encoded.push(b'.');
            }
            encoded.extend(line);
            if place + 1 < count {
                encoded.extend_from_slice(b"\r\n");
            }
        }
        encoded.extend_from_slice(b".\r\n");
        Some(encoded)
    }

    /// Decoded as a backend would: what two encodings must have in common.
    fn decoded(encoded: &[u8]) -> Vec<u8> {
        let mut lines: Vec<&[u8]> = encoded.split_inclusive(|octet| *octet == b'\n').collect();
        assert_eq!(lines.pop(), Some(&b".\r\n"[..]));
        lines.iter().flat_map(|line| line.strip_prefix(b".").unwrap_or(line)).copied().collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn what_leaves_is_the_content_with_whole_newlines(
            mut content in prop::collection::vec(prop::sample::select(b"\r\r\n\n..a ".to_vec()), 0..40),
            size in 1_usize..12,
        ) {
            content.extend_from_slice(b"\r\n.\r\n");
            let (sent, behind) = run(&content, size);
            prop_assert!(behind.is_some());
            let expected = model(&content).unwrap();
            prop_assert_eq!(decoded(&sent), decoded(&expected));
            // No CR or LF but in CRLF, and one end of data, at the end.
            let mut without = String::from_utf8(sent.clone()).unwrap();
            without = without.replace("\r\n", "");
            prop_assert!(!without.contains(['\r', '\n']), "{:?}", without);
            let ends = sent.windows(5).filter(|window| *window == b"\r\n.\r\n").count()
                + usize::from(sent.starts_with(b".\r\n"));
            prop_assert_eq!(ends, 1);
            prop_assert!(sent.ends_with(b".\r\n"));
        }

        #[test]
        fn any_cutting_is_the_same(content in prop::collection::vec(prop::sample::select(b"\r\n.a".to_vec()), 0..60), size in 1_usize..20) {
            let whole = run(&content, content.len().max(1));
            prop_assert_eq!(run(&content, size), whole);
        }
    }
}
