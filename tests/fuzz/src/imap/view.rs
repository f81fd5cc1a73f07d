//! A conversation before the login as one of its ends reads it: lines, literals, and who waits for whom.
//!
//! Written without a look at how the gate reads, so that the two can be held against each other.

use std::ops::Range;

/// What a client says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A line, its end included.
    Line(Range<usize>),
    /// A line in an authentication exchange.
    Response(Range<usize>),
    /// A literal's octets, as many as have come of so many.
    Literal(Range<usize>, usize),
}

impl Item {
    /// Where it stands.
    pub fn at(&self) -> &Range<usize> {
        match self {
            Self::Line(at) | Self::Response(at) | Self::Literal(at, _) => at,
        }
    }
}

/// A command and all that belongs to it.
#[derive(Debug, Clone)]
pub struct Command {
    /// What stands before the first space.
    pub tag: Vec<u8>,
    /// What stands behind it, in upper case.
    pub verb: String,
    /// Its lines, literals and responses.
    pub items: Vec<Item>,
    /// Nothing more belongs to it.
    pub whole: bool,
    /// How many replies there were before it.
    before: usize,
}

/// A line of the server's, as far as clients must understand it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// `+`.
    Continue,
    /// A tag and a word in upper case.
    Tagged(Vec<u8>, String),
    /// `*` and a word in upper case.
    Untagged(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Command,
    /// The rest of a command's line, behind a literal.
    Rest,
    Literal,
    /// So many octets come if the reply behind so many is a `+`.
    Asked(usize, usize),
    /// A response comes if the reply behind so many is a `+`.
    Challenge(usize),
    Response,
}

/// One end's view.
#[derive(Debug)]
pub struct View {
    mode: Mode,
    /// Read up to here.
    pub at: usize,
    /// What was said.
    pub commands: Vec<Command>,
    /// What was answered.
    pub replies: Vec<Reply>,
}

impl View {
    /// Nothing was said.
    pub fn new() -> Self {
        Self { mode: Mode::Command, at: 0, commands: Vec::new(), replies: Vec::new() }
    }

    /// Whether nothing may follow before an answer.
    pub fn waits(&self) -> bool {
        matches!(self.mode, Mode::Asked(..) | Mode::Challenge(_))
    }

    /// Reads on in all that was ever said.
    pub fn read(&mut self, said: &[u8]) {
        while self.step(said) {}
    }

    /// True if there may be more.
    fn step(&mut self, said: &[u8]) -> bool {
        let rest = &said[self.at..];
        match self.mode {
            Mode::Asked(seen, octets) => {
                let Some(goes_on) = self.answer(seen) else { return false };
                self.mode = if goes_on { self.literal(octets) } else { Mode::Command };
                true
            }
            Mode::Challenge(seen) => {
                let Some(goes_on) = self.answer(seen) else { return false };
                self.mode = if goes_on { Mode::Response } else { Mode::Command };
                true
            }
            Mode::Literal => {
                let Some(Item::Literal(at, size)) = self.items().last_mut() else { return false };
                let n = rest.len().min(*size - at.len());
                at.end += n;
                let whole = at.len() == *size;
                self.at += n;
                self.mode = if whole { Mode::Rest } else { Mode::Literal };
                whole
            }
            // A server may end the exchange without hearing the response that it asked for.
            Mode::Response if self.is_answered() => {
                self.mode = Mode::Command;
                true
            }
            Mode::Command | Mode::Rest | Mode::Response => {
                let Some(lf) = rest.iter().position(|octet| *octet == b'\n') else { return false };
                let at = self.at..self.at + lf + 1;
                self.at = at.end;
                self.line(&rest[..=lf], at);
                true
            }
        }
    }

    fn items(&mut self) -> &mut Vec<Item> {
        match self.commands.last_mut() {
            Some(command) => &mut command.items,
            None => panic!("no command yet"),
        }
    }

    fn literal(&mut self, octets: usize) -> Mode {
        let at = self.at..self.at;
        self.items().push(Item::Literal(at, octets));
        Mode::Literal
    }

    fn line(&mut self, line: &[u8], at: Range<usize>) {
        let seen = self.replies.len();
        match self.mode {
            Mode::Response => {
                self.items().push(Item::Response(at));
                self.mode = Mode::Challenge(seen);
                return;
            }
            Mode::Command => {
                let (tag, verb) = head(line);
                self.commands.push(Command { tag, verb, items: vec![Item::Line(at)], whole: false, before: seen });
            }
            _ => self.items().push(Item::Line(at)),
        }
        self.mode = match announced(line) {
            Some((octets, true)) => Mode::Asked(seen, octets),
            Some((octets, false)) => self.literal(octets),
            None => {
                let command = self.commands.last_mut().expect("a line belongs to a command");
                command.whole = true;
                if command.verb == "AUTHENTICATE" { Mode::Challenge(seen) } else { Mode::Command }
            }
        };
    }

    /// Whether the last command has its tagged reply.
    fn is_answered(&self) -> bool {
        self.commands.last().is_some_and(|command| {
            self.replies[command.before..]
                .iter()
                .any(|reply| matches!(reply, Reply::Tagged(of, _) if *of == command.tag))
        })
    }

    /// Whether the server wants more, by its first word behind `seen` replies; one that has answered the command already, as it
    /// may where octets come unasked, wants no more of it.
    fn answer(&self, seen: usize) -> Option<bool> {
        let Command { tag, before, .. } = self.commands.last()?;
        let over = |reply: &Reply| matches!(reply, Reply::Tagged(of, _) if of == tag);
        if self.replies[*before..seen].iter().any(over) {
            return Some(false);
        }
        self.replies[seen..].iter().find_map(|reply| match reply {
            Reply::Continue => Some(true),
            // What has no tag that could be read is refused without one.
            Reply::Untagged(word) if word == "BAD" => Some(false),
            reply => over(reply).then_some(false),
        })
    }
}

/// The first word, and the second in upper case.
pub fn head(line: &[u8]) -> (Vec<u8>, String) {
    let mut words = line.trim_ascii_end().split(|octet| *octet == b' ');
    let tag = words.next().unwrap_or_default().to_vec();
    (tag, String::from_utf8_lossy(words.next().unwrap_or_default()).to_ascii_uppercase())
}

/// A literal at the end of a line: how many octets, and whether the client waits to be asked for them.
pub fn announced(line: &[u8]) -> Option<(usize, bool)> {
    let text = line.strip_suffix(b"\r\n")?.strip_suffix(b"}")?;
    let open = text.iter().rposition(|octet| *octet == b'{')?;
    let inner = &text[open + 1..];
    let (digits, waits) = inner.strip_suffix(b"+").map_or((inner, true), |digits| (digits, false));
    let number = std::str::from_utf8(digits).ok()?;
    (!digits.is_empty() && digits.iter().all(u8::is_ascii_digit)).then(|| (number.parse().unwrap_or(usize::MAX), waits))
}

/// The replies that `said` is made of, with where each ends; literals are followed where a client would.
pub fn replies(said: &[u8]) -> Vec<(Reply, usize)> {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(lf) = said[at..].iter().position(|octet| *octet == b'\n') {
        let line = &said[at..=at + lf];
        let (first, word) = head(line);
        let untagged = first == b"*";
        let reply = match first.as_slice() {
            b"*" => Reply::Untagged(word.clone()),
            b"+" => Reply::Continue,
            _ => Reply::Tagged(first, word.clone()),
        };
        let mut end = at + lf + 1;
        let is_text = ["OK", "NO", "BAD", "BYE", "PREAUTH", "CAPABILITY"].contains(&word.as_str());
        let mut line = line;
        while let Some((octets, true)) = announced(line).filter(|_| untagged && !is_text) {
            let next = end.saturating_add(octets);
            let Some(lf) = said.get(next..).and_then(|rest| rest.iter().position(|octet| *octet == b'\n')) else {
                return found;
            };
            line = &said[next..=next + lf];
            end = next + lf + 1;
        }
        found.push((reply, end));
        at = end;
    }
    found
}
