//! Everything that some server somewhere might take for the end of data, and what the gate documents to make of it.

use std::collections::BTreeSet;

/// What is known from advisories (CVE-2023-51764, -51765, -51766) and their neighbourhood.
pub const NAMED: [&str; 26] = [
    "\n.\n",
    "\n.\r\n",
    "\r\n.\n",
    "\r.\r",
    "\r.\r\n",
    "\r.\n",
    "\n.\r",
    "\r\n.\r",
    "\r\r\n.\r\n",
    "\r\n.\r\r\n",
    "\r\n\0.\r\n",
    "\r\n.\0\r\n",
    "\r\n.\r\0\n",
    "\r\n\0.\0\r\n",
    "\r\0\n.\r\0\n",
    "\0.\0",
    "\r\n..\r\n",
    "\r\n.\0.\r\n",
    "\n..\n",
    "\r\n..\n.\n",
    "\r\n .\r\n",
    "\r\n. \r\n",
    "\r\n.\t\r\n",
    "\u{b}.\u{b}",
    "\u{85}.\u{85}",
    "\u{2028}.\u{2028}",
];

/// All strings of CR, LF, NUL and dots up to that length that hold a dot; the named ones; and what stands before, around and
/// behind dots in them, each with each. Every one of them as it is and with a CRLF behind it.
pub fn all(longest: usize) -> Vec<Vec<u8>> {
    let mut found: BTreeSet<Vec<u8>> = NAMED.iter().map(|end| end.as_bytes().to_vec()).collect();
    let mut shorter = vec![Vec::new()];
    for _ in 0..longest {
        shorter =
            shorter.iter().flat_map(|begin| b"\r\n\0.".iter().map(|octet| [begin, &[*octet][..]].concat())).collect();
        found.extend(shorter.iter().filter(|string| string.contains(&b'.')).cloned());
    }
    const BEFORE: [&str; 9] = ["\n", "\r", "\r\n", "\n\r", "\r\r\n", "\r\n\0", "\r\0\n", "\r\n\0\0", "\r\n\r\n"];
    const DOTS: [&str; 10] = [".", "..", "...", ".\0", "\0.", "\0.\0", ".\0.", ". ", " .", ".\n."];
    const BEHIND: [&str; 9] = ["", "\n", "\r", "\r\n", "\n\r", "\r\r\n", "\0\r\n", "\r\0\n", "\0\0\n"];
    for before in BEFORE {
        for dots in DOTS {
            found.extend(BEHIND.map(|behind| [before, dots, behind].concat().into_bytes()));
        }
    }
    let followed: Vec<Vec<u8>> = found.iter().map(|end| [end, &b"\r\n"[..]].concat()).collect();
    found.extend(followed);
    found.into_iter().collect()
}

/// What `normalize` documents, by itself and without regard to speed.
#[derive(Debug)]
pub struct Content {
    /// What a mailbox shows of it, lines ended by CRLF.
    pub body: Vec<u8>,
    /// The octets it took, its end among them.
    pub len: usize,
    /// Something had to be mended: `reject` refuses it.
    pub mended: bool,
}

/// The content that the octets behind a 354 begin with, if it ends in them.
pub fn content(octets: &[u8]) -> Option<Content> {
    let end = match octets.strip_prefix(b".\r\n") {
        Some(_) => 0,
        None => octets.windows(5).position(|window| window == b"\r\n.\r\n")? + 2,
    };
    let (mut rest, _) = octets.split_at(end);
    let (mut body, mut mended, mut proper) = (Vec::new(), false, true);
    while !rest.is_empty() {
        let length = rest.iter().position(|octet| matches!(octet, b'\r' | b'\n')).expect("content ends in a newline");
        let (line, behind) = rest.split_at(length);
        let newline = if behind.starts_with(b"\r\n") { 2 } else { 1 };
        // Only behind a CRLF is a dot the sender's stuffing.
        let line = if proper { line.strip_prefix(b".").unwrap_or(line) } else { line };
        let shown = line.iter().position(|octet| *octet != 0).map_or(&[][..], |first| line.split_at(first).1);
        mended |= newline == 1 || shown.len() < line.len();
        proper = newline == 2;
        body.extend_from_slice(shown);
        body.extend_from_slice(b"\r\n");
        rest = behind.split_at(newline).1;
    }
    Some(Content { body, len: end + 3, mended })
}

/// Chance that can be repeated: xorshift.
pub struct Chance(pub u64);

impl Chance {
    /// A number below that one.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits") % bound
    }

    /// So many of them, each at most once, in their order.
    pub fn sample<T>(&mut self, mut from: Vec<T>, count: usize) -> Vec<T> {
        let mut left = count.min(from.len());
        let mut total = from.len();
        from.retain(|_| {
            let taken = self.below(total) < left;
            total -= 1;
            left -= usize::from(taken);
            taken
        });
        from
    }
}

/// Whether everything is to be tried, however long it takes: the environment says `SEALGATE_ATTACKS=all`.
pub fn everything() -> bool {
    std::env::var("SEALGATE_ATTACKS").is_ok_and(|value| value == "all")
}
