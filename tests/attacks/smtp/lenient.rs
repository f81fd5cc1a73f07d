//! Models of the servers that a gate may stand before: one that keeps to RFC 5321, and those that do not.

/// What a server makes of NUL in a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nul {
    /// An octet as any other.
    Kept,
    /// Taken out while reading.
    Stripped,
    /// The line's text ends there, as a string does in C.
    Ends,
}

/// How a server reads lines.
#[derive(Debug, Clone, Copy)]
pub struct Reader {
    /// What it is called here.
    pub name: &'static str,
    /// LF alone ends a line.
    pub bare_lf: bool,
    /// CR alone ends a line.
    pub bare_cr: bool,
    /// All CRs before the LF belong to the newline, as in Postfix.
    pub crs: bool,
    /// NUL.
    pub nul: Nul,
    /// Commands are cut where they are that long, and the rest is the next line, as in Postfix before 2.9.
    pub cut: usize,
}

/// RFC 5321 to the letter.
pub const STRICT: Reader =
    Reader { name: "strict", bare_lf: false, bare_cr: false, crs: false, nul: Nul::Kept, cut: usize::MAX };

const LENIENT: Reader = Reader { name: "", bare_lf: true, bare_cr: false, crs: true, nul: Nul::Kept, cut: usize::MAX };

/// The strict one first, which answers, then the others.
pub const READERS: [Reader; 7] = [
    STRICT,
    Reader { name: "old Postfix", ..LENIENT },
    Reader { name: "Postfix before 2.9", cut: 2048, ..LENIENT },
    Reader { name: "LF ends, NUL is stripped", nul: Nul::Stripped, ..LENIENT },
    Reader { name: "LF ends, NUL ends strings", nul: Nul::Ends, ..LENIENT },
    Reader { name: "CR or LF ends", bare_cr: true, crs: false, ..LENIENT },
    Reader { name: "CR or LF ends, NUL is stripped", bare_cr: true, crs: false, nul: Nul::Stripped, ..LENIENT },
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Command,
    Sasl,
    Data,
    Chunk { left: u64, last: bool, taken: bool },
    Closed,
}

/// A server, as far as it can be smuggled into: what it was told, and what it took for messages.
#[derive(Debug)]
pub struct Server {
    /// How it reads.
    pub reader: Reader,
    /// Command lines and SASL responses, without their newlines.
    pub commands: Vec<Vec<u8>>,
    /// Messages, dots undone, lines ended by CRLF; chunks as they are.
    pub messages: Vec<Vec<u8>>,
    /// What it has to say.
    pub replies: Vec<u8>,
    state: State,
    line: Vec<u8>,
    /// A CR has ended a line: an LF behind it is part of that.
    after_cr: bool,
    mail: bool,
    recipients: usize,
    body: Vec<u8>,
}

impl Server {
    /// One that has just greeted.
    pub fn new(reader: Reader) -> Self {
        Self {
            reader,
            commands: Vec::new(),
            messages: Vec::new(),
            replies: b"220 old.example.net ESMTP\r\n".to_vec(),
            state: State::Command,
            line: Vec::new(),
            after_cr: false,
            mail: false,
            recipients: 0,
            body: Vec::new(),
        }
    }

    /// Whether it waits for a command, and not for more of something.
    pub fn is_at_rest(&self) -> bool {
        self.state == State::Command && self.line.is_empty()
    }

    /// Reads.
    pub fn receive(&mut self, octets: &[u8]) {
        for octet in octets {
            if std::mem::take(&mut self.after_cr) && *octet == b'\n' {
                continue;
            }
            match self.state {
                State::Closed => return,
                State::Chunk { left, last, taken } => {
                    if taken {
                        self.body.push(*octet);
                    }
                    self.chunk(left - 1, last, taken);
                }
                State::Command | State::Sasl | State::Data => self.octet(*octet),
            }
        }
    }

    fn octet(&mut self, octet: u8) {
        match octet {
            b'\n' if self.reader.bare_lf || self.line.last() == Some(&b'\r') => {}
            b'\r' if self.reader.bare_cr => self.after_cr = true,
            _ => {
                self.line.push(octet);
                // Content keeps together what was cut.
                if self.state == State::Data || self.line.len() < self.reader.cut {
                    return;
                }
            }
        }
        let mut line = std::mem::take(&mut self.line);
        if octet == b'\n' {
            while line.last() == Some(&b'\r') {
                line.pop();
                if !self.reader.crs {
                    break;
                }
            }
        }
        match self.reader.nul {
            Nul::Kept => {}
            Nul::Stripped => line.retain(|octet| *octet != 0),
            Nul::Ends => line.truncate(line.iter().position(|octet| *octet == 0).unwrap_or(line.len())),
        }
        match self.state {
            State::Data => self.data(&line),
            State::Sasl => {
                self.say(if line == b"*" { "501 5.7.0 cancelled" } else { "235 2.7.0 welcome" });
                self.state = State::Command;
                self.commands.push(line);
            }
            _ => {
                self.command(&line);
                self.commands.push(line);
            }
        }
    }

    fn say(&mut self, reply: &str) {
        self.replies.extend_from_slice(reply.as_bytes());
        self.replies.extend_from_slice(b"\r\n");
    }

    fn data(&mut self, line: &[u8]) {
        if line == b"." {
            self.state = State::Command;
            self.take();
            self.say("250 2.0.0 queued");
        } else {
            self.body.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
            self.body.extend_from_slice(b"\r\n");
        }
    }

    fn take(&mut self) {
        self.messages.push(std::mem::take(&mut self.body));
        self.reset();
    }

    fn reset(&mut self) {
        (self.mail, self.recipients) = (false, 0);
        self.body.clear();
    }

    fn chunk(&mut self, left: u64, last: bool, taken: bool) {
        if left > 0 {
            self.state = State::Chunk { left, last, taken };
            return;
        }
        self.state = State::Command;
        if !taken {
            self.say("503 5.5.1 no recipients");
        } else if last {
            self.take();
            self.say("250 2.0.0 queued");
        } else {
            self.say("250 2.0.0 chunk taken");
        }
    }

    fn command(&mut self, line: &[u8]) {
        let text = String::from_utf8_lossy(line).to_ascii_uppercase();
        let mut words = text.split_ascii_whitespace();
        let verb = words.next().unwrap_or_default();
        let reply = match verb {
            "EHLO" | "HELO" => {
                self.reset();
                "250-old.example.net\r\n250-PIPELINING\r\n250-CHUNKING\r\n250-AUTH PLAIN LOGIN\r\n250 8BITMIME"
            }
            "MAIL" if self.mail => "503 5.5.1 nested MAIL",
            "MAIL" => {
                self.mail = true;
                "250 2.1.0 Ok"
            }
            "RCPT" if !self.mail => "503 5.5.1 need MAIL",
            "RCPT" if text.contains("NOBODY") => "550 5.1.1 nobody",
            "RCPT" => {
                self.recipients += 1;
                "250 2.1.5 Ok"
            }
            "DATA" if self.recipients == 0 => "503 5.5.1 need RCPT",
            "DATA" => {
                self.state = State::Data;
                "354 go on"
            }
            "BDAT" => {
                let left = words.next().and_then(|word| word.parse().ok()).expect("the gate sends a size");
                let last = words.next() == Some("LAST");
                return self.chunk(left, last, self.recipients > 0);
            }
            "AUTH" if words.clone().count() > 1 => "535 5.7.8 no",
            "AUTH" => {
                self.state = State::Sasl;
                "334 "
            }
            "RSET" => {
                self.reset();
                "250 2.0.0 Ok"
            }
            "NOOP" | "VRFY" | "HELP" => "250 2.0.0 Ok",
            "QUIT" => {
                self.state = State::Closed;
                "221 2.0.0 Bye"
            }
            _ => "502 5.5.2 what?",
        };
        self.say(reply);
    }
}

#[test]
fn the_models_fall_for_what_their_servers_fall_for() {
    // Otherwise nothing that is asserted with them could fail.
    let dialogue = |end: &str| {
        format!(
            "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\ntext{end}MAIL FROM:<e@f>\r\nRCPT TO:<c@d>\r\nDATA\r\nx\r\n.\r\n"
        )
    };
    for (end, smuggled) in [
        ("\r\n.\r\n", [true, true, true, true, true, true, true]),
        ("\n.\n", [false, true, true, true, true, true, true]),
        ("\r\n.\r\r\n", [false, true, true, true, true, true, true]),
        ("\r.\r", [false, false, false, false, false, true, true]),
        ("\r\n.\0\r\n", [false, false, false, true, true, false, true]),
        ("\r\n\0.\r\n", [false, false, false, true, false, false, true]),
        ("\r\n. \r\n", [false; 7]),
    ] {
        for (reader, smuggled) in READERS.into_iter().zip(smuggled) {
            let mut server = Server::new(reader);
            server.receive(dialogue(end).as_bytes());
            let expected = if smuggled { 2 } else { 1 };
            assert_eq!(server.messages.len(), expected, "{}: {end:?}", reader.name);
        }
    }
}
