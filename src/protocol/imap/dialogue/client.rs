//! The client's side: commands, their literals, and the lines of an authentication exchange.

use super::super::command::{self, Head, Literal, LiteralKind, Scan};
use super::super::overlong::{Overlong, Skipped};
use super::super::{Refusal, answer, foreign, limits, reasons, violation};
use super::id::Id;
use super::{BeforeLogin, Login, Pending, Turn};
use crate::facts::Reason;
use crate::protocol::line::{Line, first_line};
use crate::protocol::{Event, Out, Verdict, Violation, sasl};

impl BeforeLogin {
    /// Judges what the client sent, which is not empty.
    pub(super) fn client(&mut self, input: &[u8], out: &mut Out) -> Result<Verdict, Violation> {
        match &mut self.turn {
            Turn::Greeting | Turn::Continue { .. } | Turn::Reply => Ok(Verdict::Hold),
            Turn::Command => self.command(input, out),
            Turn::Overlong(_) => self.overlong(input, out),
            Turn::Id(_) => self.id(input, out),
            Turn::Octets(octets) => {
                let octets = *octets;
                self.literal(octets, input)
            }
            Turn::Rest => self.rest(input, out),
            Turn::Dead(octets) => {
                let taken = input.len().min(*octets);
                *octets -= taken;
                if *octets == 0 {
                    self.turn = Turn::DeadRest;
                }
                Ok(if taken == 0 { self.dead_rest(input)? } else { Verdict::Drop(taken) })
            }
            Turn::DeadRest => self.dead_rest(input),
            Turn::Response => self.response(input),
            Turn::Spliced => Ok(Verdict::Splice),
        }
    }

    /// A command's first line.
    fn command(&mut self, input: &[u8], out: &mut Out) -> Result<Verdict, Violation> {
        if foreign::is_binary(input) {
            return self.turn_away(foreign::BINARY);
        }
        let (octets, problem) = match first_line(input, line_limit(input)) {
            Line::Partial => return Ok(Verdict::More),
            Line::Whole(octets) => (octets, None),
            Line::BareNewline(octets) => (octets, Some(reasons::NEWLINE)),
            Line::TooLong => (limits::LINE, Some(reasons::LONG_LINE)),
        };
        let line = input.get(..octets).unwrap_or(input);
        let text = line.strip_suffix(b"\r\n").unwrap_or(line);
        if foreign::is_http(text) {
            return self.turn_away(foreign::HTTP);
        }
        let command = match (problem, command::head(text)) {
            (Some(problem), _) => Err(problem),
            (None, Err(_)) => Err(reasons::NO_COMMAND),
            (None, Ok(head)) => judge(&head, text),
        };
        // Answers of our own, and commands whose answer decides what follows, wait for the answers before them.
        let stands_alone = command.as_ref().map_or(true, Command::stands_alone);
        let tag_in_use = |command: &Command<'_>| self.pending.iter().any(|pending| *pending.tag == *command.head.tag);
        if (stands_alone && !self.pending.is_empty())
            || self.pending.len() >= limits::PENDING
            || command.as_ref().is_ok_and(tag_in_use)
        {
            return Ok(Verdict::Hold);
        }
        match command {
            Err(refusal) => {
                let (tag, name) = command::told(text);
                out.events.push(Event::Command { name, ok: false });
                if refusal != reasons::LONG_LINE {
                    return self.refuse(octets, text, tag, refusal, out);
                }
                self.turn = Turn::Overlong(Box::new((Overlong::default(), tag.map(Into::into))));
                self.overlong(input, out)
            }
            Ok(command) if command.name == "id" => {
                self.scan = command.scan;
                self.turn = Turn::Id(Box::new(Id::new(command.head.tag)));
                self.id_piece(octets, command.head.arguments.unwrap_or_default(), command.literal, out)
            }
            Ok(command) => {
                self.login = login(&command).map(Box::new);
                self.scan = command.scan;
                self.pending.push_back(Pending { tag: command.head.tag.into(), name: command.name });
                Ok(self.forward(octets, text, command.literal, out))
            }
        }
    }

    /// Ends the session of a client that speaks something else, once it has the answers that it is owed.
    fn turn_away(&self, reason: Reason) -> Result<Verdict, Violation> {
        if self.pending.is_empty() { Err(violation(reason, "This is an IMAP server")) } else { Ok(Verdict::Hold) }
    }

    /// Refuses a command that nothing has passed of.
    pub(super) fn refuse(
        &mut self,
        octets: usize,
        line: &[u8],
        tag: Option<&[u8]>,
        refusal: Refusal,
        out: &mut Out,
    ) -> Result<Verdict, Violation> {
        self.turn = Turn::Command;
        out.events.push(Event::Refused(refusal.reason));
        if command::octets_follow(line) {
            // RFC 7888 §4: they are on their way, and would run as commands.
            let reason = if refusal == reasons::LARGE_LITERAL { refusal.reason } else { reasons::LITERAL_OF_REFUSED };
            return Err(violation(reason, "The octets behind a refused command cannot be told from commands"));
        }
        answer(&mut out.to_client, tag, refusal.text);
        self.errors.count()?;
        Ok(Verdict::Drop(octets))
    }

    /// Sends a piece of a command on, and waits for what it asks for.
    fn forward(&mut self, octets: usize, text: &[u8], literal: Option<Literal>, out: &mut Out) -> Verdict {
        let Some(literal) = literal else {
            let awaited = self.pending.back().is_some_and(|command| decides_what_follows(command.name));
            self.turn = if awaited { Turn::Reply } else { Turn::Command };
            return Verdict::Pass(octets);
        };
        self.turn = Turn::Continue { octets: literal.octets, kind: literal.kind };
        if literal.kind == LiteralKind::Synchronising {
            return Verdict::Pass(octets);
        }
        out.to_backend.extend_from_slice(text.get(..literal.at).unwrap_or(text));
        out.to_backend.extend_from_slice(format!("{{{}}}\r\n", literal.octets).as_bytes());
        Verdict::Drop(octets)
    }

    /// A literal's octets: they pass whole.
    fn literal(&mut self, octets: usize, input: &[u8]) -> Result<Verdict, Violation> {
        let Some(value) = input.get(..octets) else { return Ok(Verdict::More) };
        if let Some(login) = &mut self.login {
            // RFC 9051 §9 has no NUL in a literal: Dovecot's strings end there, and it would be another user's name than the log's. A
            // line end is no part of a name or password, and a backend that repeats one would say the rest as a line of its own.
            if value.iter().any(|octet| matches!(octet, 0 | b'\r' | b'\n')) {
                return Err(violation(reasons::MALFORMED, "A name or password holds no NUL and no line end"));
            }
            if std::mem::take(&mut login.unnamed) {
                login.user = Some(sasl::printable(value));
            }
        }
        self.turn = Turn::Rest;
        Ok(Verdict::Pass(octets))
    }

    /// The line behind a literal.
    fn rest(&mut self, input: &[u8], out: &mut Out) -> Result<Verdict, Violation> {
        let Some((octets, text)) = further_line(input, limits::LINE)? else { return Ok(Verdict::More) };
        match self.scan.piece(text) {
            Err(_) => Err(violation(reasons::MALFORMED, "Malformed command")),
            Ok(Some(literal)) if is_too_large(&literal) => Err(too_large()),
            Ok(literal) => Ok(self.forward(octets, text, literal, out)),
        }
    }

    /// The line behind a literal whose command the backend has refused.
    fn dead_rest(&mut self, input: &[u8]) -> Result<Verdict, Violation> {
        let octets = match first_line(input, limits::LINE) {
            Line::Partial => return Ok(Verdict::More),
            Line::Whole(octets) => octets,
            // Nobody knows where it ends, and so which octets are a literal's and which a command.
            Line::BareNewline(_) => return Err(violation(reasons::MALFORMED, "Malformed command")),
            Line::TooLong => return Err(violation(reasons::LINE_TOO_LONG, "Line too long")),
        };
        let text = input.get(..octets).unwrap_or(input).trim_ascii_end();
        self.turn = match self.scan.piece(text) {
            Ok(Some(literal)) if literal.kind == LiteralKind::NonSynchronising => {
                if is_too_large(&literal) {
                    return Err(too_large());
                }
                Turn::Dead(literal.octets)
            }
            Err(_) if command::octets_follow(text) => return Err(violation(reasons::MALFORMED, "Malformed command")),
            _ => Turn::Command,
        };
        Ok(Verdict::Drop(octets))
    }

    /// The client's line in an authentication exchange: the mechanism's own, `*` to cancel.
    fn response(&mut self, input: &[u8]) -> Result<Verdict, Violation> {
        let Some((octets, text)) = further_line(input, limits::SASL_LINE)? else { return Ok(Verdict::More) };
        if let Some(login) = &mut self.login {
            let is_first = std::mem::take(&mut login.unnamed);
            login.offers = text != b"*" && !(is_first && sasl::begins_with_a_name(&login.method));
            if is_first {
                login.user = sasl::user_name(&login.method, text);
            }
        }
        self.turn = Turn::Reply;
        Ok(Verdict::Pass(octets))
    }

    /// More of a line that is too long.
    fn overlong(&mut self, input: &[u8], out: &mut Out) -> Result<Verdict, Violation> {
        let Turn::Overlong(line) = &mut self.turn else { return Ok(Verdict::More) };
        match line.0.skip(input) {
            Skipped::Some(octets) => Ok(Verdict::Drop(octets)),
            Skipped::TooMuch => Err(violation(reasons::LINE_TOO_LONG, "Line too long")),
            Skipped::All { octets, octets_follow } => {
                let tag = line.1.take();
                let end: &[u8] = if octets_follow { b"+}" } else { b"" };
                self.refuse(octets, end, tag.as_deref(), reasons::LONG_LINE, out)
            }
        }
    }
}

/// A line behind a command's first, and the same without its CRLF; None while it is not whole. The command has
/// begun already, so that there is no refusing the line alone.
pub(super) fn further_line(input: &[u8], limit: usize) -> Result<Option<(usize, &[u8])>, Violation> {
    match first_line(input, limit) {
        Line::Partial => Ok(None),
        Line::Whole(octets) => Ok(input.get(..octets - 2).map(|text| (octets, text))),
        Line::BareNewline(_) => Err(violation(reasons::MALFORMED, "A line ends in CRLF")),
        Line::TooLong => Err(violation(reasons::LINE_TOO_LONG, "Line too long")),
    }
}

/// A command's first line that may pass.
struct Command<'a> {
    head: Head<'a>,
    name: &'static str,
    literal: Option<Literal>,
    scan: Scan,
}

impl Command<'_> {
    fn stands_alone(&self) -> bool {
        self.literal.is_some() || self.name == "id" || decides_what_follows(self.name)
    }
}

/// Whether what the client says next hangs on this command's answer.
fn decides_what_follows(name: &str) -> bool {
    matches!(name, "login" | "authenticate" | "logout")
}

/// Whether a command may pass.
fn judge<'a>(head: &Head<'a>, line: &[u8]) -> Result<Command<'a>, Refusal> {
    let name = command::name(head.verb);
    let mut scan = Scan::default();
    let literal = scan.piece(line)?;
    match name {
        // RFC 9051 §6.2.1: not once TLS is there.
        "starttls" => return Err(reasons::STARTTLS_IN_TLS),
        // RFC 4978 §3: in the authenticated state. Before it, the login itself would be hidden from us.
        "compress" => return Err(reasons::COMPRESS_TOO_EARLY),
        "authenticate" if !head.arguments.is_some_and(names_a_mechanism) => return Err(reasons::MECHANISM),
        // Its own limit stands where it is collected.
        "id" => {}
        _ if literal.is_some_and(|literal| is_too_large(&literal)) => return Err(reasons::LARGE_LITERAL),
        _ => {}
    }
    Ok(Command { head: *head, name, literal, scan })
}

/// RFC 9051 §6.2.2, RFC 4959 §3: a mechanism, and perhaps one word of base64 behind one space. Dovecot 1 reads its arguments as it
/// does any, quotes and all, and Dovecot 2 takes everything behind the first space for the response: what both read alike
/// is what the log says.
fn names_a_mechanism(arguments: &[u8]) -> bool {
    let (mechanism, initial) = command::token(arguments);
    let base64 = |octet: &u8| octet.is_ascii_alphanumeric() || b"+/=".contains(octet);
    !mechanism.is_empty()
        && mechanism.iter().all(|octet| command::is_atom_char(*octet))
        && initial.is_none_or(|response| !response.is_empty() && response.iter().all(base64))
}

/// What the log will say if the command is a login.
fn login(command: &Command<'_>) -> Option<Login> {
    let arguments = command.head.arguments.unwrap_or_default();
    match command.name {
        // As Dovecot's log calls it: the password comes in the clear, inside TLS.
        "login" => {
            // As Dovecot does, which skips any number of spaces: what it takes for the password must not be the name here.
            let arguments = arguments.trim_ascii_start();
            // A script that was given no name says `LOGIN  password`: what stands alone may be the one or the other.
            let is_followed = |rest: &[u8]| !rest.trim_ascii().is_empty();
            let name =
                command::astring(arguments).filter(|(_, rest)| arguments.get(rest.clone()).is_some_and(is_followed));
            let user = name.map(|(name, _)| sasl::printable(&name));
            let unnamed = arguments.starts_with(b"{");
            Some(Login { method: "PLAIN".to_owned(), unnamed, offers: true, user, refused: false })
        }
        "authenticate" => {
            let (mechanism, initial) = command::token(arguments);
            let method = sasl::method(mechanism);
            // RFC 4959 §3: the initial response.
            let offers = initial.is_some() && !sasl::begins_with_a_name(&method);
            let initial = initial.filter(|_| sasl::client_speaks_first(&method));
            let user = initial.and_then(|response| sasl::user_name(&method, response));
            Some(Login { method, user, unnamed: initial.is_none(), offers, refused: false })
        }
        _ => None,
    }
}

fn is_too_large(literal: &Literal) -> bool {
    literal.octets
        > match literal.kind {
            LiteralKind::Synchronising => limits::SYNCHRONISING,
            LiteralKind::NonSynchronising => limits::NON_SYNCHRONISING,
        }
}

fn too_large() -> Violation {
    violation(reasons::LITERAL_TOO_LARGE, "Literal too large before login")
}

/// AUTHENTICATE's line may hold an initial response.
fn line_limit(input: &[u8]) -> usize {
    let (_, rest) = command::token(input.get(..limits::LINE).unwrap_or(input));
    let verb = rest.map_or(&b""[..], |rest| command::token(rest).0);
    if verb.eq_ignore_ascii_case(b"AUTHENTICATE") { limits::SASL_LINE } else { limits::LINE }
}
