//! Dovecot before login, from 1.0 to 2.3, byte by byte.

/// The ages of Dovecot, by what differs before login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    /// 1.0 to 1.2: AUTHENTICATE's arguments are read as any command's.
    One,
    /// 2.0 and 2.1: they are the rest of the line.
    Two,
    /// 2.2 and 2.3: a tag that HTTP might have written is not repeated. One with `/` is none for the former, one with `]` for the latter.
    Three,
}

pub(super) const AGES: [Age; 3] = [Age::One, Age::Two, Age::Three];

/// A line of a command, literals included, takes no more; a literal beyond that is the end.
const MAX_LINE: usize = 8192;

/// What a backend has run, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ran {
    /// A command, upper case; false if it was BAD.
    Command(String, bool),
    /// A login, and whether it was right: with its name, or none if it did not come so far.
    Login(Option<Vec<u8>>, bool),
}

/// A piece of what a backend heard, or a line that it said. `tests/old_servers` says the same to the real ones.
#[derive(Debug, Clone)]
#[allow(dead_code)] // the attacks themselves do not look at it
pub(super) enum Talk {
    Heard(Vec<u8>),
    Said(String),
}

#[derive(Debug, PartialEq, Eq)]
enum Arg {
    /// Atom, quoted string or literal.
    Text(Vec<u8>),
    List,
}

/// What one look at the input came to.
enum Read {
    /// The command is not whole.
    More,
    /// A line that was not understood: answered BAD, skipped to its LF.
    Bad,
    /// A literal that is too large: BYE.
    Fatal,
    Whole(Vec<Arg>),
}

/// A Dovecot that knows one user, `good` with the password `pass`.
pub(super) struct Model {
    age: Age,
    input: Vec<u8>,
    pub(super) to_gate: Vec<u8>,
    pub(super) ran: Vec<Ran>,
    /// How many `+` the command at hand has been given.
    asked: usize,
    /// The tag and mechanism of an exchange, and what has been said in it.
    exchange: Option<(String, String, Vec<Vec<u8>>)>,
    /// The rest of a line is not looked at.
    skipping: bool,
    pub(super) logged_in: bool,
    pub(super) gone: bool,
    /// It has run what was never for it.
    pub(super) misled: bool,
    /// All that it heard and said, in its order.
    pub(super) talk: Vec<Talk>,
}

impl Model {
    pub(super) fn new(age: Age) -> Self {
        let to_gate = b"* OK [CAPABILITY IMAP4rev1 LITERAL+ ID] ready\r\n".to_vec();
        Self {
            age,
            input: Vec::new(),
            to_gate,
            ran: Vec::new(),
            asked: 0,
            exchange: None,
            skipping: false,
            logged_in: false,
            gone: false,
            misled: false,
            talk: Vec::new(),
        }
    }

    fn say(&mut self, line: &str) {
        self.talk.push(Talk::Said(line.to_owned()));
        self.to_gate.extend_from_slice(line.as_bytes());
        self.to_gate.extend_from_slice(b"\r\n");
    }

    /// Takes octets, and runs what is whole.
    pub(super) fn hear(&mut self, octets: &[u8]) {
        self.input.extend_from_slice(octets);
        self.talk.push(Talk::Heard(octets.to_vec()));
        while !self.logged_in && !self.gone && self.step() {}
    }

    /// Runs one command, or one line of an exchange; false if there is none.
    fn step(&mut self) -> bool {
        if self.skipping {
            self.skip_line(0);
            return !self.skipping;
        }
        if let Some((tag, mechanism, mut said)) = self.exchange.take() {
            let Some(line) = self.line() else {
                self.exchange = Some((tag, mechanism, said));
                return false;
            };
            if line == b"*" {
                self.finish(&tag, "AUTHENTICATE", false, "BAD Authentication aborted by client.");
                return true;
            }
            said.push(line);
            self.authenticate(tag, mechanism, said);
            return true;
        }
        let Some((tag, verb, start)) = self.head() else { return false };
        let name = verb.to_ascii_uppercase();
        if name == "AUTHENTICATE" && self.age != Age::One {
            return self.authenticate_by_line(&tag, start);
        }
        let (read, end) = self.arguments(start);
        if matches!(read, Read::More) {
            return false;
        }
        let raw = self.input.get(..end).unwrap_or_default().to_ascii_lowercase();
        // What the gate must never let through: it is said inside TLS, by somebody who is trusted as the gate is.
        self.misled |= tag == "evil"
            || matches!(name.as_str(), "STARTTLS" | "COMPRESS")
            || (name == "ID" && raw.windows(2).any(|octets| octets == b"x-"));
        match read {
            Read::More => {}
            Read::Fatal => {
                self.say("* BYE Literal size too large");
                self.gone = true;
            }
            Read::Bad => {
                self.skip_line(end);
                self.finish(&tag, &name, false, "BAD Error in IMAP command received by server.");
            }
            Read::Whole(args) => {
                self.skip_line(end);
                self.run(&tag, &name, args);
            }
        }
        true
    }

    /// Tag and verb, each up to a space or a line break, and where the rest begins.
    fn head(&self) -> Option<(String, String, usize)> {
        let word = |from: usize| {
            let rest = self.input.get(from..)?;
            let end = rest.iter().position(|octet| matches!(octet, b' ' | b'\r' | b'\n'))?;
            let next = from + end + usize::from(rest.get(end) == Some(&b' '));
            Some((String::from_utf8_lossy(rest.get(..end)?).into_owned(), next))
        };
        let (tag, start) = word(0)?;
        let (verb, start) = word(start)?;
        let http = tag.len() > 126 || tag.bytes().any(|octet| b"+(){/%*\"\\]".contains(&octet) || octet < b' ');
        let shown = if tag.is_empty() || (self.age == Age::Three && http) { "*".to_owned() } else { tag };
        Some((shown, verb, start))
    }

    /// The arguments from `at` on. A `+` goes out where a literal is announced, once.
    fn arguments(&mut self, mut at: usize) -> (Read, usize) {
        let (mut args, mut depth, mut announced) = (Vec::new(), 0_usize, 0_usize);
        loop {
            let Some(octet) = self.input.get(at).copied() else { return (Read::More, at) };
            let mut add = |arg| {
                if depth == 0 {
                    args.push(arg);
                }
            };
            match octet {
                b' ' => at += 1,
                b'\r' | b'\n' if depth > 0 => return (Read::Bad, at),
                b'\r' | b'\n' => {
                    // The line ends at its LF.
                    let whole = self.input.get(at..).is_some_and(|rest| rest.contains(&b'\n'));
                    return (if whole { Read::Whole(args) } else { Read::More }, at);
                }
                b'(' => {
                    add(Arg::List);
                    depth += 1;
                    at += 1;
                }
                b')' if depth == 0 => return (Read::Bad, at),
                b')' => {
                    depth -= 1;
                    at += 1;
                }
                b'"' => {
                    let mut text = Vec::new();
                    let mut rest = self.input.iter().copied().enumerate().skip(at + 1);
                    at = loop {
                        match rest.next() {
                            None => return (Read::More, at),
                            Some((end, b'"')) => break end + 1,
                            Some((end, 0 | b'\r' | b'\n')) => return (Read::Bad, end),
                            Some((_, b'\\')) => match rest.next() {
                                None => return (Read::More, at),
                                Some((end, 0 | b'\r' | b'\n')) => return (Read::Bad, end),
                                Some((_, escaped)) => text.push(escaped),
                            },
                            Some((_, octet)) => text.push(octet),
                        }
                    };
                    add(Arg::Text(text));
                }
                b'{' => {
                    let Some(close) = self.input.iter().skip(at).position(|octet| *octet == b'}') else {
                        let bad =
                            self.input.iter().skip(at + 1).position(|octet| !octet.is_ascii_digit() && *octet != b'+');
                        return bad.map_or((Read::More, at), |bad| (Read::Bad, at + 1 + bad));
                    };
                    let inner = self.input.get(at + 1..at + close).unwrap_or_default();
                    let (digits, waits) = match inner.strip_suffix(b"+") {
                        Some(digits) => (digits, false),
                        None => (inner, true),
                    };
                    if let Some(bad) = digits.iter().position(|octet| !octet.is_ascii_digit()) {
                        return (Read::Bad, at + 1 + bad);
                    }
                    let size = digits
                        .iter()
                        .fold(0_usize, |sum, digit| sum.saturating_mul(10).saturating_add(usize::from(digit - b'0')));
                    at += close + 1;
                    if size > MAX_LINE.saturating_sub(at) {
                        return (Read::Fatal, at);
                    }
                    announced += 1;
                    if waits && announced > self.asked {
                        self.asked = announced;
                        self.say("+ OK");
                    }
                    if self.input.get(at) == Some(&b'\r') {
                        at += 1;
                    }
                    match self.input.get(at) {
                        None => return (Read::More, at),
                        Some(b'\n') => at += 1,
                        Some(_) => return (Read::Bad, at),
                    }
                    let Some(value) = self.input.get(at..at + size) else { return (Read::More, at) };
                    // A C string ends at its NUL.
                    add(Arg::Text(value.split(|octet| *octet == 0).next().unwrap_or_default().to_vec()));
                    at += size;
                }
                _ => {
                    let atom = self.input.get(at..).unwrap_or_default();
                    let end = atom.iter().position(|octet| matches!(octet, b' ' | b')' | b'\r' | b'\n'));
                    let bad = |octet: &u8| *octet <= b' ' || *octet >= 0x7f || b"({\"".contains(octet);
                    let known = atom.get(..end.unwrap_or(atom.len())).unwrap_or_default();
                    if let Some(place) = known.iter().position(bad) {
                        return (Read::Bad, at + place);
                    }
                    if end.is_none() {
                        return (Read::More, at);
                    }
                    add(Arg::Text(known.to_vec()));
                    at += known.len();
                }
            }
        }
    }

    /// Throws everything away up to the LF that comes at or behind `at`.
    fn skip_line(&mut self, at: usize) {
        let rest = self.input.get(at..).unwrap_or_default();
        let lf = rest.iter().position(|octet| *octet == b'\n');
        self.skipping = lf.is_none();
        self.input.drain(..lf.map_or(self.input.len(), |lf| at + lf + 1));
        self.asked = 0;
    }

    /// The next line without its CRLF or LF.
    fn line(&mut self) -> Option<Vec<u8>> {
        let lf = self.input.iter().position(|octet| *octet == b'\n')?;
        let line: Vec<u8> = self.input.drain(..=lf).collect();
        let line = line.strip_suffix(b"\n").unwrap_or(&line);
        Some(line.strip_suffix(b"\r").unwrap_or(line).to_vec())
    }

    fn finish(&mut self, tag: &str, name: &str, ok: bool, text: &str) {
        self.ran.push(Ran::Command(name.to_owned(), ok));
        self.say(&format!("{tag} {text}"));
    }

    fn run(&mut self, tag: &str, name: &str, args: Vec<Arg>) {
        match (name, args.as_slice()) {
            ("NOOP", _) => self.finish(tag, name, true, "OK NOOP completed."),
            ("CAPABILITY", _) => {
                self.say("* CAPABILITY IMAP4rev1 LITERAL+ ID");
                self.finish(tag, name, true, "OK done.");
            }
            ("ID", _) => {
                self.say("* ID NIL");
                self.finish(tag, name, true, "OK ID completed.");
            }
            ("LOGOUT", _) => {
                self.say("* BYE Logging out");
                self.finish(tag, name, true, "OK Logout completed.");
                self.gone = true;
            }
            ("LOGIN", [Arg::Text(user), Arg::Text(password)]) => {
                let ok = user == b"good" && password == b"pass";
                self.judge(tag, name, user.clone(), ok);
            }
            ("AUTHENTICATE", [Arg::Text(mechanism)]) => {
                let mechanism = String::from_utf8_lossy(mechanism).to_ascii_uppercase();
                self.authenticate(tag.to_owned(), mechanism, Vec::new());
            }
            ("AUTHENTICATE", [Arg::Text(mechanism), Arg::Text(initial)]) => {
                let mechanism = String::from_utf8_lossy(mechanism).to_ascii_uppercase();
                self.authenticate(tag.to_owned(), mechanism, vec![initial.clone()]);
            }
            _ => self.finish(tag, name, false, "BAD Error in IMAP command received by server."),
        }
    }

    fn judge(&mut self, tag: &str, name: &str, user: Vec<u8>, ok: bool) {
        self.ran.push(Ran::Login(Some(user), ok));
        self.logged_in = ok;
        self.finish(
            tag,
            name,
            ok,
            if ok { "OK Logged in." } else { "NO [AUTHENTICATIONFAILED] Authentication failed." },
        );
    }

    /// From 2.0 on: the mechanism up to a space or a line break, and the rest of the line.
    fn authenticate_by_line(&mut self, tag: &str, start: usize) -> bool {
        let Some(lf) = self.input.iter().skip(start).position(|octet| *octet == b'\n') else { return false };
        let line: Vec<u8> = self.input.drain(..=start + lf).collect();
        let text = line.get(start..start + lf).unwrap_or_default();
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let (mechanism, initial) = match text.iter().position(|octet| *octet == b' ') {
            Some(space) => text.split_at(space),
            None => (text, &b""[..]),
        };
        if mechanism.is_empty() {
            self.finish(tag, "AUTHENTICATE", false, "BAD Error in IMAP command received by server.");
            return true;
        }
        let said = initial.get(1..).filter(|initial| !initial.is_empty()).map(<[u8]>::to_vec);
        let mechanism = String::from_utf8_lossy(mechanism).to_ascii_uppercase();
        self.authenticate(tag.to_owned(), mechanism, said.into_iter().collect());
        true
    }

    /// PLAIN and LOGIN.
    fn authenticate(&mut self, tag: String, mechanism: String, said: Vec<Vec<u8>>) {
        use base64::Engine as _;
        let decoded: Result<Vec<_>, _> = said
            .iter()
            .map(
                |line| {
                    if line == b"=" { Ok(Vec::new()) } else { base64::engine::general_purpose::STANDARD.decode(line) }
                },
            )
            .collect();
        let mut refuse = |text: &str| {
            self.ran.push(Ran::Login(None, false));
            self.finish(&tag, "AUTHENTICATE", false, text);
        };
        let failed = "NO [AUTHENTICATIONFAILED] Authentication failed.";
        match (mechanism.as_str(), decoded.as_deref()) {
            ("PLAIN" | "LOGIN", Err(_)) => refuse(failed),
            ("PLAIN", Ok([])) | ("LOGIN", Ok([] | [_])) => {
                self.say("+ ");
                self.exchange = Some((tag, mechanism, said));
            }
            ("PLAIN", Ok([message, ..])) => match message.split(|octet| *octet == 0).collect::<Vec<_>>().as_slice() {
                [_, user, password] => {
                    let ok = *user == b"good" && *password == b"pass";
                    let user = user.to_vec();
                    self.judge(&tag, "AUTHENTICATE", user, ok);
                }
                _ => refuse(failed),
            },
            ("LOGIN", Ok([user, password, ..])) => {
                let (user, ok) = (user.clone(), user == b"good" && password == b"pass");
                self.judge(&tag, "AUTHENTICATE", user, ok);
            }
            _ => refuse("NO Unsupported authentication mechanism."),
        }
    }
}
