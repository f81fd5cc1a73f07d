//! Where commands end: a model of what Dovecot before login makes of its input, and clients that no specification foresees.
//!
//! The model is written from the behaviour of Dovecot 1.0 to 2.3, byte by byte, and shares nothing with the gate. Between it and
//! a client the gate's dialogue runs in memory, its input cut anywhere, the backend's answers early or late. Whatever the client
//! says, the two must never disagree about where a command, a literal or an exchange ends: the backend would then run octets
//! that the gate has never judged, or wait for some that never come.

use std::sync::Arc;

use sealgate::facts::{ClientNames, Outcome, Peer, Reason, SessionId};
use sealgate::protocol::{Context, Dialogue, Event, Learned, Out, Rules, Service, Side, Verdict, Wait};

/// The ages of Dovecot, by what differs before login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Age {
    /// 1.0 to 1.2: AUTHENTICATE's arguments are read as any command's.
    One,
    /// 2.0 and 2.1: they are the rest of the line.
    Two,
    /// 2.2 and 2.3: a tag that HTTP might have written is not repeated.
    Three,
}

const AGES: [Age; 3] = [Age::One, Age::Two, Age::Three];

/// A line of a command, literals included, takes no more; a literal beyond that is the end.
const MAX_LINE: usize = 8192;

/// What a backend has run, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ran {
    /// A command, upper case; false if it was BAD.
    Command(String, bool),
    /// A login, and whether it was right: with its name, or none if it did not come so far.
    Login(Option<Vec<u8>>, bool),
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
struct Model {
    age: Age,
    input: Vec<u8>,
    to_gate: Vec<u8>,
    ran: Vec<Ran>,
    /// How many `+` the command at hand has been given.
    asked: usize,
    /// The tag and mechanism of an exchange, and what has been said in it.
    exchange: Option<(String, String, Vec<Vec<u8>>)>,
    /// The rest of a line is not looked at.
    skipping: bool,
    logged_in: bool,
    gone: bool,
    /// It has run what was never for it.
    misled: bool,
}

impl Model {
    fn new(age: Age) -> Self {
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
        }
    }

    fn say(&mut self, line: &str) {
        self.to_gate.extend_from_slice(line.as_bytes());
        self.to_gate.extend_from_slice(b"\r\n");
    }

    /// Takes octets, and runs what is whole.
    fn hear(&mut self, octets: &[u8]) {
        self.input.extend_from_slice(octets);
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
        let http = tag.len() > 126 || tag.bytes().any(|octet| b"+(){/%*\"\\".contains(&octet) || octet < b' ');
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

/// SplitMix64: the same streams everywhere and every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % (sides as u64)).expect("smaller than sides")
    }

    fn pick<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list.get(self.roll(list.len())).copied().expect("one of them")
    }
}

/// What makes and breaks commands.
const SCRAPS: &[&str] = &[
    "a NOOP\r\n",
    "b LOGIN good wrong\r\n",
    "c LOGIN \"good\" {4}\r\n",
    "d LOGIN {4+}\r\ngood wrong\r\n",
    "e LOGIN  good  {4+}\r\npast\r\n",
    "f LOGIN {0}\r\n",
    "g LOGIN {0+}\r\n {5+}\r\nwrong\r\n",
    "h LOGIN good pass\r\n",
    "i AUTHENTICATE PLAIN\r\n",
    "j AUTHENTICATE LOGIN\r\n",
    "k AUTHENTICATE PLAIN AGdvb2QAd3Jvbmc=\r\n",
    "l authenticate  plain\r\n",
    "m AUTHENTICATE \"PLAIN\" x\r\n",
    "n AUTHENTICATE X =\r\n",
    "AGdvb2QAd3Jvbmc=\r\n",
    "Z29vZA==\r\n",
    "*\r\n",
    "\r\n",
    "good",
    " pass\r\n",
    "o ID (\"name\" \"y\")\r\n",
    "p ID (\"x-originating-ip\" \"192.0.2.66\")\r\n",
    "q id ({16+}\r\nX-Originating-IP {10+}\r\n192.0.2.66)\r\n",
    "r ID ({4}\r\n",
    "s STARTTLS\r\n",
    "t COMPRESS DEFLATE\r\n",
    "u LOGOUT\r\n",
    "v CAPABILITY\r\n",
    "w/1 NOOP\r\n",
    "w/1 LOGIN {4}\r\n",
    "] NOOP\r\n",
    "x X (((a) \"b\" {3+}\r\n(\"x)\r\n",
    "x X ((a) {2}\r\n",
    "y \"{3}\" {2+}\r\nab\r\n",
    "y Y \"{3}\" {2+}\r\nab\r\n",
    "z Z \"\\\"{5+}\" \\ {1}\r\n",
    "z Z a\"b {3+}\r\nabc\r\n",
    "z Z ~{3+}\r\nabc\r\n",
    "z Z {003+}\r\nabc\r\n",
    "z Z {99999}\r\n",
    "z Z ) {3+}\r\nabc {2+}\r\nde\r\n",
    " {2+}\r\nab",
    " {18+}\r\n\r\nevil STARTTLS\r\n ",
    "{4294967300}\r\n",
    "{3-}\r\n",
    "{}",
    "\"",
    "\\",
    "(",
    ")",
    " ",
    "\t",
    "\r",
    "\n",
    "\0",
    "\u{e9}",
];

/// A client's octets.
fn stream(dice: &mut Dice) -> Vec<u8> {
    (0..1 + dice.roll(10)).flat_map(|_| dice.pick(SCRAPS).as_bytes().to_vec()).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    Spliced,
    Closed,
    Broken(Reason),
}

/// A client, the gate, and a Dovecot of some age.
struct Session {
    gate: Box<dyn Dialogue>,
    model: Model,
    out: Out,
    /// Arrived and not yet consumed: the client's, the backend's.
    input: [Vec<u8>; 2],
    held: [bool; 2],
    to_client: Vec<u8>,
    end: End,
}

impl Session {
    fn new(age: Age) -> Self {
        let service = Service::by_name("imaps").expect("a service");
        let address = "203.0.113.5:40000".parse().expect("an address");
        let context = Context {
            hostname: "gate.example".into(),
            session: SessionId::new("s1"),
            service,
            peer: Peer { client: address, local: address, names: ClientNames::default() },
            tls: None,
            rules: Arc::new(Rules { max_errors: 1000, ..Rules::default() }),
            learned: Arc::new(Learned::default()),
        };
        let mut session = Self {
            gate: service.protocol.dialogue(&context, None),
            model: Model::new(age),
            out: Out::default(),
            input: [Vec::new(), Vec::new()],
            held: [false; 2],
            to_client: Vec::new(),
            end: End::Open,
        };
        session.backend_speaks();
        session
    }

    fn client_says(&mut self, octets: &[u8]) {
        self.input[0].extend_from_slice(octets);
        self.pump();
    }

    /// What the backend has to say arrives. False if that is nothing.
    fn backend_speaks(&mut self) -> bool {
        let said = std::mem::take(&mut self.model.to_gate);
        self.input[1].extend_from_slice(&said);
        self.pump();
        !said.is_empty()
    }

    /// The driver's part of the contract, in its shortest form.
    fn pump(&mut self) {
        let mut progress = true;
        while std::mem::take(&mut progress) {
            for side in [0, 1] {
                while self.end == End::Open && !self.held[side] {
                    let from = [Side::Client, Side::Backend][side];
                    let verdict = self.gate.receive(from, &self.input[side], &mut self.out);
                    self.to_client.extend_from_slice(&self.out.to_client.split());
                    let ours = self.out.to_backend.split();
                    self.model.hear(&ours);
                    let consumed = match verdict {
                        Ok(Verdict::More) => break,
                        Ok(Verdict::Hold) => {
                            self.held[side] = true;
                            break;
                        }
                        Ok(Verdict::Pass(octets)) => {
                            let passed = self.input[side][..octets].to_vec();
                            if side == 0 {
                                self.model.hear(&passed)
                            } else {
                                self.to_client.extend_from_slice(&passed)
                            }
                            octets
                        }
                        Ok(Verdict::Drop(octets)) => octets,
                        Ok(Verdict::Splice) => {
                            self.end = End::Spliced;
                            break;
                        }
                        Ok(Verdict::Close) => {
                            self.end = End::Closed;
                            break;
                        }
                        Ok(Verdict::CutBackend) => panic!("IMAP has no use for it"),
                        Err(violation) => {
                            self.to_client.extend_from_slice(&violation.reply);
                            self.end = End::Broken(violation.reason);
                            break;
                        }
                    };
                    self.input[side].drain(..consumed);
                    self.held[1 - side] = false;
                    progress = true;
                }
            }
        }
    }

    /// All that is on its way arrives; then both must have understood the same.
    fn settle(&mut self, what: &dyn Fn() -> String) {
        while self.backend_speaks() {}
        assert!(!self.model.misled, "{}\n{:?}", what(), self.model.ran);
        if let End::Broken(reason) = self.end {
            assert_ne!(reason.outcome, Outcome::BackendError, "{}: {}", reason.phrase, what());
        }
        assert_eq!(self.end == End::Spliced, self.model.logged_in, "{}", what());
        if self.end == End::Open && !self.model.gone {
            assert_eq!(self.gate.waiting_for(), Wait::Login, "nobody owes a reply: {}", what());
        }
        let carried_out = self.out.events.iter().filter_map(|event| match event {
            Event::Command { name, ok: true } => Some(name.to_ascii_uppercase()),
            _ => None,
        });
        let ran = self.model.ran.iter().filter_map(|ran| match ran {
            Ran::Command(name, true) => Some(name.clone()),
            _ => None,
        });
        let cut_short = matches!(self.end, End::Broken(_) | End::Closed);
        let (carried_out, ran): (Vec<_>, Vec<_>) = (carried_out.collect(), ran.collect());
        // What was under way when the session ended has had no answer.
        assert!(
            ran.starts_with(&carried_out) && (cut_short || ran == carried_out),
            "{carried_out:?}, {ran:?}: {}",
            what()
        );
        let logged = self.out.events.iter().filter_map(|event| match event {
            Event::Auth { user, ok, .. } => Some((user.clone(), *ok)),
            _ => None,
        });
        let judged = self.model.ran.iter().filter_map(|ran| match ran {
            Ran::Login(user, ok) => Some((user, *ok)),
            Ran::Command(..) => None,
        });
        for ((logged, ok), (judged, right)) in logged.zip(judged) {
            assert_eq!(ok, right, "{}", what());
            let Some(judged) = judged else { continue };
            let shown: String = judged
                .iter()
                .map(|octet| if (b' '..=b'~').contains(octet) { char::from(*octet) } else { '?' })
                .collect();
            assert_eq!(logged.unwrap_or_default(), shown, "the log has the name that was judged: {}", what());
        }
    }
}

fn shown(octets: &[u8]) -> String {
    octets.escape_ascii().to_string()
}

#[test]
fn gate_and_dovecot_agree_on_where_every_command_ends() {
    let (mut spliced, mut open, mut ran) = (0, 0, 0);
    for seed in 0..6_000 {
        for age in AGES {
            let mut dice = Dice(seed);
            let octets = stream(&mut dice);
            let mut session = Session::new(age);
            let mut rest = octets.as_slice();
            while !rest.is_empty() {
                let (piece, left) = rest.split_at(1 + dice.roll(rest.len()));
                session.client_says(piece);
                rest = left;
                if dice.roll(2) == 0 {
                    session.backend_speaks();
                }
            }
            session.settle(&|| format!("seed {seed}, {age:?}: {}", shown(&octets)));
            spliced += usize::from(session.end == End::Spliced);
            open += usize::from(session.end == End::Open);
            ran += session.model.ran.len();
        }
    }
    // Otherwise it would have shown nothing.
    assert!(spliced > 500 && open > 500 && ran > 10_000, "{spliced} {open} {ran}");
}

#[test]
fn wherever_a_stream_is_cut_the_backend_runs_the_same() {
    for seed in 0..400 {
        let octets = stream(&mut Dice(seed));
        let run = |cut: usize| {
            let mut session = Session::new(Age::Three);
            let (first, second) = octets.split_at(cut);
            for part in [first, second] {
                session.client_says(part);
                while session.backend_speaks() {}
            }
            session.settle(&|| format!("seed {seed} cut at {cut}: {}", shown(&octets)));
            (session.to_client, session.model.ran, session.end)
        };
        let whole = run(octets.len());
        for cut in 0..octets.len() {
            assert_eq!(run(cut), whole, "seed {seed} cut at {cut}: {}", shown(&octets));
        }
    }
}

/// An argument in one of the ways that IMAP has for it, and whether its octets wait for a `+`.
fn argument(dice: &mut Dice, value: &str) -> (String, Option<(String, bool)>) {
    let spaces = " ".repeat(1 + dice.roll(3));
    match dice.roll(4) {
        0 if !value.contains(['\r', ' ']) => (format!("{spaces}{value}"), None),
        1 if !value.contains('\r') => (format!("{spaces}\"{value}\""), None),
        2 => (format!("{spaces}{{{}}}\r\n", value.len()), Some((value.to_owned(), true))),
        _ => (format!("{spaces}{{{}+}}\r\n", value.len()), Some((value.to_owned(), false))),
    }
}

#[test]
fn octets_of_a_literal_never_run_and_a_password_is_never_logged() {
    const VALUES: [&str; 7] = ["alice", "", "x y", "*", "{9+}", "\r\nevil NOOP\r\n", "(\r\nevil LOGIN good pass\r\n"];
    let mut ran = 0;
    for seed in 0..6_000 {
        for age in AGES {
            let mut dice = Dice(seed);
            let mut session = Session::new(age);
            let mut said = String::new();
            for n in 0..1 + dice.roll(5) {
                let verb = dice.pick(&["LOGIN", "login", "X", "NOOP", "ID", "STARTTLS", "AUTHENTICATE", "(", "a\"b"]);
                let mut command = format!("t{n} {verb}");
                let user = dice.pick(&VALUES);
                let mut waits = false;
                for value in [user, "s3cr3t"] {
                    let (text, literal) = argument(&mut dice, value);
                    command.push_str(&text);
                    if let Some((octets, wait)) = literal {
                        if wait {
                            said.push_str(&command);
                            session.client_says(command.as_bytes());
                            while session.backend_speaks() {}
                            command.clear();
                            let asked = session.to_client.ends_with(b"\r\n")
                                && String::from_utf8_lossy(&session.to_client)
                                    .lines()
                                    .last()
                                    .is_some_and(|line| line.starts_with('+'));
                            waits = !asked;
                        }
                        if waits {
                            break;
                        }
                        command.push_str(&octets);
                    }
                }
                if !waits {
                    command.push_str("\r\n");
                    said.push_str(&command);
                    session.client_says(command.as_bytes());
                    while session.backend_speaks() {}
                }
                if session.end != End::Open {
                    break;
                }
            }
            session.settle(&|| format!("seed {seed}, {age:?}: {said:?}"));
            assert!(!format!("{:?}", session.out.events).contains("s3cr3t"), "seed {seed}: {said:?}");
            ran += session.model.ran.len();
        }
    }
    assert!(ran > 10_000, "{ran}");
}
