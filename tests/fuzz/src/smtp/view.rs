//! A conversation as one of its ends reads it, by the letter of RFC 5321 or as leniently as any old server does.
//!
//! Written without a look at how the gate reads, so that the two can be held against each other.

use std::ops::Range;

/// How the end of content is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// RFC 5321 §4.1.1.4: CRLF.CRLF, and nothing else.
    Strict,
    /// Any of CRLF, CR and LF before and behind the dot, NULs taken out, or a line ended by one.
    Lenient,
}

/// What a client says, in the units that get a reply each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A command or a SASL response, its line's end included.
    Line {
        /// Where it stands.
        at: Range<usize>,
        /// It answers a 334.
        sasl: bool,
    },
    /// BDAT and its octets, as many of them as have come.
    Chunk {
        /// The command's line.
        line: Range<usize>,
        /// The octets.
        octets: Range<usize>,
        /// How many there will be.
        size: u64,
        /// The message's last.
        last: bool,
    },
    /// What follows a 354, its end included.
    Content {
        /// Where it stands.
        at: Range<usize>,
    },
}

impl Item {
    /// Where it begins.
    pub fn start(&self) -> usize {
        match self {
            Self::Line { at, .. } | Self::Content { at } | Self::Chunk { line: at, .. } => at.start,
        }
    }

    /// Whether a chunk has all its octets; lines and content are items only when they are whole.
    pub fn is_whole(&self) -> bool {
        match self {
            Self::Line { .. } | Self::Content { .. } => true,
            Self::Chunk { octets, size, .. } => octets.len() as u64 == *size,
        }
    }
}

/// A whole reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Its code.
    pub code: u16,
    /// All its lines.
    pub octets: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Commands,
    /// The answer to the last item decides.
    Answer,
    Sasl,
    Content,
    Chunk,
}

/// One end's view.
#[derive(Debug)]
pub struct View {
    reading: Reading,
    mode: Mode,
    /// Read up to here.
    pub at: usize,
    /// Content before this holds no end; long content comes in many reads.
    searched: usize,
    /// What was said.
    pub items: Vec<Item>,
    /// The answers: the first one to the first item, and so on.
    pub replies: Vec<Reply>,
}

impl View {
    /// Nothing was said.
    pub fn new(reading: Reading) -> Self {
        Self { reading, mode: Mode::Commands, at: 0, searched: 0, items: Vec::new(), replies: Vec::new() }
    }

    /// Whether nothing may follow before the answer to the last item.
    pub fn waits(&self) -> bool {
        self.mode == Mode::Answer
    }

    /// Whether the last item's octets are still coming in.
    pub fn is_inside(&self) -> bool {
        matches!(self.mode, Mode::Content | Mode::Chunk)
    }

    /// Reads on in all that was ever said. `asks` tells whether the line that begins there has an answer that what follows
    /// hangs on.
    pub fn read(&mut self, said: &[u8], asks: impl Fn(usize) -> bool) {
        loop {
            let rest = &said[self.at..];
            match self.mode {
                Mode::Answer => {
                    let Some(reply) = self.replies.get(self.items.len() - 1) else { return };
                    self.mode = match reply.code {
                        354 => Mode::Content,
                        334 => Mode::Sasl,
                        _ => Mode::Commands,
                    };
                }
                Mode::Commands | Mode::Sasl => {
                    let Some(lf) = rest.iter().position(|octet| *octet == b'\n') else { return };
                    let at = self.at..self.at + lf + 1;
                    self.at = at.end;
                    let sasl = self.mode == Mode::Sasl;
                    self.line(&said[at.clone()], at.clone(), sasl, asks(at.start));
                }
                Mode::Chunk => {
                    let Some(Item::Chunk { octets, size, .. }) = self.items.last_mut() else { return };
                    let left = *size - octets.len() as u64;
                    let n = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
                    octets.end += n;
                    self.at += n;
                    if (n as u64) < left {
                        return;
                    }
                    self.mode = Mode::Commands;
                }
                Mode::Content => {
                    // An end is five octets long, and the first of them may be there.
                    let from = self.searched.saturating_sub(self.at + 4);
                    let Some(len) = content_end(rest, self.reading, from) else {
                        self.searched = said.len();
                        return;
                    };
                    self.items.push(Item::Content { at: self.at..self.at + len });
                    self.at += len;
                    self.mode = Mode::Commands;
                }
            }
        }
    }

    fn line(&mut self, line: &[u8], at: Range<usize>, sasl: bool, asks: bool) {
        let (word, argument) = split(line);
        match word.as_str() {
            _ if sasl => self.mode = Mode::Answer,
            // What the gate refuses by itself, it answers with a no.
            "DATA" | "AUTH" if asks => self.mode = Mode::Answer,
            // What is no proper line is refused as such, and nothing belongs to it.
            "BDAT" if is_proper(line) => {
                if let Some((size, last)) = chunk(argument) {
                    self.mode = Mode::Chunk;
                    let octets = at.end..at.end;
                    self.items.push(Item::Chunk { line: at, octets, size, last });
                    return;
                }
            }
            _ => self.mode = Mode::Commands,
        }
        self.items.push(Item::Line { at, sasl });
    }
}

/// The first word in upper case, and what follows it.
pub fn split(line: &[u8]) -> (String, &[u8]) {
    let text = line.trim_ascii_end();
    let end = text.iter().position(|octet| matches!(octet, b' ' | b'\t')).unwrap_or(text.len());
    (String::from_utf8_lossy(&text[..end]).to_ascii_uppercase(), text[end..].trim_ascii())
}

/// RFC 5321 §2.3.8, §4.1.1: CRLF at the end, no control character elsewhere, and not beyond what any server takes.
pub fn is_proper(line: &[u8]) -> bool {
    let text = line.strip_suffix(b"\r\n").unwrap_or(b"\0");
    line.len() <= 2048 && !text.iter().any(|octet| octet.is_ascii_control() && *octet != b'\t')
}

/// RFC 3030 §2.
fn chunk(argument: &[u8]) -> Option<(u64, bool)> {
    let text = std::str::from_utf8(argument).ok()?;
    let words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect(); // spaces alone part them for everybody
    let last = match words.as_slice() {
        [_] => false,
        [_, last] if last.eq_ignore_ascii_case("LAST") => true,
        _ => return None,
    };
    let digits = words[0];
    (digits.bytes().all(|digit| digit.is_ascii_digit())).then(|| digits.parse().ok()).flatten().map(|size| (size, last))
}

/// How long content is with its end, once that is there; it is not looked for before `from`.
pub fn content_end(content: &[u8], reading: Reading, from: usize) -> Option<usize> {
    if reading == Reading::Strict {
        let at = content[from..].windows(5).position(|window| window == b"\r\n.\r\n");
        return if content.starts_with(b".\r\n") { Some(3) } else { at.map(|at| from + at + 5) };
    }
    let dots = (from..content.len()).filter(|at| content[*at] == b'.');
    let begins = |dot: &usize| {
        let before = content[..*dot].iter().rfind(|octet| **octet != 0);
        before.is_none_or(|octet| matches!(octet, b'\r' | b'\n'))
    };
    dots.filter(begins).find_map(|dot| match &content[dot..] {
        [b'.', b'\r', b'\n', ..] => Some(dot + 3),
        [b'.', b'\r' | b'\n', _, ..] | [b'.', b'\n' | 0, ..] => Some(dot + 2),
        _ => None,
    })
}

/// What content says, its end and its dot-stuffing taken off (RFC 5321 §4.5.2).
pub fn unstuffed(content: &[u8]) -> Vec<u8> {
    let text = content.strip_suffix(b".\r\n").unwrap_or(content);
    let mut plain = Vec::with_capacity(text.len());
    for (at, octet) in text.iter().enumerate() {
        if *octet != b'.' || !(at == 0 || text[..at].ends_with(b"\r\n")) {
            plain.push(*octet);
        }
    }
    plain
}

/// CRLF for every newline, whatever it was.
pub fn whole_newlines(text: &[u8]) -> Vec<u8> {
    let mut whole = Vec::with_capacity(text.len());
    let mut rest = text;
    loop {
        rest = match rest {
            [] => return whole,
            [b'\r', b'\n', behind @ ..] | [b'\r' | b'\n', behind @ ..] => {
                whole.extend_from_slice(b"\r\n");
                behind
            }
            [octet, behind @ ..] => {
                whole.push(*octet);
                behind
            }
        };
    }
}

/// The same without the NULs that lines begin with: behind one an old server may find a lone dot.
pub fn without_leading_nuls(text: &[u8]) -> Vec<u8> {
    let lines = text.split_inclusive(|octet| *octet == b'\n');
    lines.flat_map(|line| line.iter().copied().skip_while(|octet| *octet == 0)).collect()
}

/// The replies that `said` is made of; the rest, if the last one is not whole.
pub fn replies(said: &[u8]) -> (Vec<Reply>, &[u8]) {
    let mut found = Vec::new();
    let (mut rest, mut len) = (said, 0);
    for line in said.split_inclusive(|octet| *octet == b'\n') {
        len += line.len();
        if !line.ends_with(b"\r\n") || line.get(3) == Some(&b'-') {
            continue;
        }
        let (octets, behind) = rest.split_at(len);
        let code = std::str::from_utf8(&octets[..3.min(octets.len())]).ok().and_then(|code| code.parse().ok());
        found.push(Reply { code: code.unwrap_or_default(), octets: octets.to_vec() });
        (rest, len) = (behind, 0);
    }
    (found, rest)
}
