//! The content behind DATA: where it ends (RFC 5321 §4.1.1.4), and what becomes of a bare CR or LF in it (§2.3.8).
//!
//! The end is CRLF.CRLF and nothing else. A server that also stops at `LF.CRLF` or the like, behind a sender that does not,
//! can be made to take the rest of a message for commands (SMTP smuggling, CVE-2023-51764). So a bare CR or LF
//! never leaves the gate: it becomes a CRLF, and a dot that comes to stand at the beginning of a line by that is stuffed
//! anew (§4.5.2). In other words, the content is decoded, its newlines are made whole, and it is encoded again.
//!
//! The same holds for NUL where it could hide such a dot: a server that takes NULs out of a line, or whose strings end at
//! one, finds a lone dot in `NUL . CRLF` and in `. NUL CRLF`. So NULs at the beginning of a line go away. Neither 7bit nor 8bit
//! content may hold any (RFC 2045 §2.7, §2.8); those within a line can do no harm and stay.

use fearless_simd::{Level, dispatch};

/// Where in a line the scanner stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Behind CRLF, or at the very beginning: a dot here is the sender's stuffing, or the end.
    LineStart,
    /// Behind a newline that the sender did not mean as one, or behind NULs that went away: a dot here is content.
    MendedLineStart,
    /// Elsewhere.
    Middle,
}

/// How many octets are looked at together. Larger blocks save little, and each that shows something is read twice.
const BLOCK: usize = 128;

/// How many octets are looked at one by one where a block showed something: the block.
const CAREFUL: u8 = 128;

/// Reads content: proper lines a block at a time, all else octet for octet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scanner {
    place: Place,
    /// Octets to go before blocks are tried again. Since the last try showed something within them, content that is all
    /// repairs and stuffed dots costs one more look at each octet and not one at a block for each octet.
    careful: u8,
}

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

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

impl Scanner {
    /// A scanner at the beginning of content, which counts as the beginning of a line (RFC 5321 §4.1.1.4).
    pub fn new() -> Self {
        Self { place: Place::LineStart, careful: 0 }
    }

    /// Judges what `input` begins with, as much of it as can be; the octets told of are then behind the scanner.
    // Content that is all repairs has a verdict for nearly every octet; a call for each took as long as the judging.
    #[inline(always)]
    pub fn scan(&mut self, input: &[u8]) -> Found {
        let mut rest = input;
        loop {
            // Only a CR begins a block: what stands before the first octet then has no say in what any octet means, and
            // lines that are longer than a block are found faster by `step`.
            if self.careful == 0 && rest.first() == Some(&b'\r') {
                let (n, place) = proper_blocks(rest);
                if n > 0 {
                    self.place = place;
                    rest = rest.get(n..).unwrap_or_default();
                    continue;
                }
                self.careful = CAREFUL;
            }
            let clean = input.len() - rest.len();
            match step(self.place, rest) {
                Step::Clean(n, place) => {
                    self.place = place;
                    self.behind(n);
                    rest = rest.get(n..).unwrap_or_default();
                }
                Step::End(n) => return Found::End(clean + n),
                Step::Mend(_) | Step::Undecided if clean > 0 => return Found::Clean(clean),
                Step::Mend(mend) => {
                    self.place = if mend.insert == STUFFED { Place::Middle } else { Place::MendedLineStart };
                    self.behind(mend.swallow);
                    return Found::Mend(mend);
                }
                Step::Undecided => return Found::Undecided,
            }
        }
    }

    /// How many octets of `input` are NULs that go away, with nothing in their place; they are then behind the scanner.
    pub fn swallow_nul(&mut self, input: &[u8]) -> Option<usize> {
        let Step::Mend(Mend { swallow, insert: NOTHING }) = step(self.place, input) else { return None };
        self.place = Place::MendedLineStart;
        Some(swallow)
    }

    /// Whether content that begins with `input` would fold into a header field in front of it (RFC 5322 §2.2.3), once its
    /// dot-stuffing is undone; `None` while that hangs on the next octet.
    pub fn begins_folded(&self, input: &[u8]) -> Option<bool> {
        match (self.place, input) {
            (_, []) | (Place::LineStart, [b'.']) => None,
            (_, [b' ' | b'\t', ..]) | (Place::LineStart, [b'.', b' ' | b'\t', ..]) => Some(true),
            _ => Some(false),
        }
    }

    /// So many octets were looked at one by one.
    fn behind(&mut self, octets: usize) {
        self.careful = self.careful.saturating_sub(u8::try_from(octets).unwrap_or(u8::MAX));
    }
}

/// How many octets at the beginning of `rest`, which is a CR, are in blocks that show nothing, and where that leads.
fn proper_blocks(rest: &[u8]) -> (usize, Place) {
    // As wide as the vectors of this processor are, where the program alone may only count on what all have.
    let n = dispatch!(Level::new(), _simd => proper_octets(rest));
    match n.checked_sub(1).and_then(|last| rest.get(last)) {
        // Its LF belongs to it, and is there: the last block was looked at together with it.
        Some(b'\r') => (n + 1, Place::LineStart),
        Some(b'\n') => (n, Place::LineStart),
        _ => (n, Place::Middle),
    }
}

/// How many octets at the beginning of `rest` are in blocks that show nothing.
#[inline(always)]
fn proper_octets(rest: &[u8]) -> usize {
    let blocks = |from| rest.get(from..).unwrap_or_default().as_chunks::<BLOCK>().0;
    let triples = blocks(0).iter().zip(blocks(1)).zip(blocks(2));
    BLOCK * triples.take_while(|((octets, second), third)| !shows_something(octets, second, third)).count()
}

/// Whether among the octets, each seen with the two behind it, there is a CR without LF, an LF without CR, or a dot or a NUL
/// at the beginning of a line. Without branches, so that it compiles to vector instructions.
#[inline(always)]
fn shows_something(octets: &[u8; BLOCK], second: &[u8; BLOCK], third: &[u8; BLOCK]) -> bool {
    octets.iter().zip(second).zip(third).fold(false, |shows, ((octet, second), third)| {
        let (cr, lf) = (*octet == b'\r', *second == b'\n');
        shows | (cr ^ lf) | (lf & ((*third == b'.') | (*third == 0)))
    })
}

const STUFFED: &[u8] = b"..";
const NEWLINE: &[u8] = b"\r\n";
const NOTHING: &[u8] = b"";

enum Step {
    Clean(usize, Place),
    End(usize),
    Mend(Mend),
    Undecided,
}

/// One line's worth, or less.
#[inline]
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
            // A stuffed line that begins with NUL.
            [0, ..] => mend(2, NOTHING),
            _ => Step::Clean(1, Place::Middle),
        },
        (Place::LineStart | Place::MendedLineStart, [0, ..]) => mend(1, NOTHING),
        (Place::MendedLineStart, [b'.', ..]) => mend(1, STUFFED),
        _ => Step::Clean(memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len()), Place::Middle),
    }
}

#[cfg(test)]
mod tests;
