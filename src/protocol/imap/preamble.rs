//! The cleartext talk on port 143: it leads to STARTTLS or to the end.

use std::sync::Arc;

use bytes::BytesMut;

use super::command::{self, Head, Scan};
use super::overlong::{Overlong, Skipped};
use super::{Errors, Refusal, answer, foreign, id, limits, reasons, violation};
use crate::protocol::line::{Line, first_line};
use crate::protocol::{Context, Event, Farewell, Heard, Next, Preamble, Violation};

/// What the gate can do before TLS (RFC 9051 §6.1.1, §6.2.1).
const CAPABILITIES: &str = "CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED";

/// A client that has not begun TLS.
pub(super) struct Cleartext {
    hostname: Arc<str>,
    errors: Errors,
    /// A line beyond its limit, and the tag of its command.
    overlong: Option<(Overlong, Option<Box<[u8]>>)>,
}

impl Cleartext {
    pub(super) fn new(context: &Context) -> Self {
        Self { hostname: Arc::clone(&context.hostname), errors: Errors::new(context), overlong: None }
    }

    /// Refuses a command; what the client sends behind it without being asked would run as commands.
    fn refuse(
        &mut self,
        line: &[u8],
        tag: Option<&[u8]>,
        refusal: Refusal,
        to_client: &mut BytesMut,
        events: &mut Vec<Event>,
    ) -> Result<Next, Violation> {
        events.push(Event::Refused(refusal.reason));
        if command::octets_follow(line) {
            return Err(violation(reasons::LITERAL_OF_REFUSED, "No literals before STARTTLS"));
        }
        answer(to_client, tag, refusal.text);
        self.errors.count()?;
        Ok(Next::More)
    }

    /// Judges a whole line without its CRLF.
    fn command(&mut self, line: &[u8], to_client: &mut BytesMut, events: &mut Vec<Event>) -> Result<Next, Violation> {
        let head = match command::head(line) {
            Ok(head) => head,
            Err(untold) => {
                events.push(Event::Command { name: "unknown", ok: false });
                return self.refuse(line, untold.tag, reasons::NO_COMMAND, to_client, events);
            }
        };
        let name = command::name(head.verb);
        let refusal = refusal(name, &head, line);
        events.push(Event::Command { name, ok: refusal.is_none() });
        let tag = Some(head.tag);
        if let Some(refusal) = refusal {
            return self.refuse(line, tag, refusal, to_client, events);
        }
        match name {
            "starttls" => {
                answer(to_client, tag, "OK Begin TLS negotiation now");
                return Ok(Next::StartTls);
            }
            "logout" => {
                answer(to_client, None, &format!("BYE {} says goodbye", self.hostname));
                answer(to_client, tag, "OK LOGOUT completed");
                return Ok(Next::Close);
            }
            "capability" => answer(to_client, None, CAPABILITIES),
            "id" => answer(to_client, None, "ID (\"name\" \"Sealgate\")"),
            _ => {}
        }
        answer(to_client, tag, &format!("OK {} completed", name.to_ascii_uppercase()));
        Ok(Next::More)
    }
}

/// Why a command is not carried out; None for the five that are.
fn refusal(name: &str, head: &Head<'_>, line: &[u8]) -> Option<Refusal> {
    if matches!(name, "login" | "authenticate") {
        return Some(reasons::LOGIN_IN_CLEARTEXT);
    }
    if !line.is_ascii() {
        return Some(reasons::NOT_ASCII);
    }
    match Scan::default().piece(line) {
        Err(malformed) => return Some(malformed.into()),
        Ok(Some(_)) => return Some(reasons::LITERAL_IN_CLEARTEXT),
        Ok(None) => {}
    }
    match name {
        "id" => id::without_private_fields(head.arguments.unwrap_or_default()).is_none().then_some(reasons::ID_LIST),
        // A space is the beginning of arguments, even if nothing follows it.
        "starttls" | "capability" | "noop" | "logout" => head.arguments.is_some().then_some(reasons::ARGUMENTS),
        _ => Some(reasons::COMMAND_IN_CLEARTEXT),
    }
}

impl Preamble for Cleartext {
    fn greet(&mut self, to_client: &mut BytesMut) {
        answer(to_client, None, &format!("OK [{CAPABILITIES}] {} Sealgate ready", self.hostname));
    }

    fn receive(&mut self, input: &[u8], to_client: &mut BytesMut, events: &mut Vec<Event>) -> Result<Heard, Violation> {
        let more = |consumed| Ok(Heard { consumed, next: Next::More });
        if input.is_empty() {
            return more(0);
        }
        if let Some((overlong, tag)) = &mut self.overlong {
            let (consumed, octets_follow) = match overlong.skip(input) {
                Skipped::Some(consumed) => return more(consumed),
                Skipped::TooMuch => return Err(violation(reasons::LINE_TOO_LONG, "Line too long")),
                Skipped::All { octets, octets_follow } => (octets, octets_follow),
            };
            let tag = tag.take();
            self.overlong = None;
            let end: &[u8] = if octets_follow { b"+}" } else { b"" };
            let next = self.refuse(end, tag.as_deref(), reasons::LONG_LINE, to_client, events)?;
            return Ok(Heard { consumed, next });
        }
        if foreign::is_tls(input) {
            // A client in the middle of a handshake would not read a BYE.
            return Err(Violation { reason: foreign::TLS, reply: bytes::Bytes::new() });
        }
        if foreign::is_binary(input) {
            return Err(violation(foreign::BINARY, "This is an IMAP server"));
        }
        let (consumed, whole) = match first_line(input, limits::LINE) {
            Line::Partial => return more(0),
            Line::Whole(octets) => (octets, true),
            Line::BareNewline(octets) => (octets, false),
            Line::TooLong => (limits::LINE, false),
        };
        let line = input.get(..consumed).unwrap_or(input);
        if foreign::is_http(line) {
            return Err(violation(foreign::HTTP, "This is an IMAP server"));
        }
        if whole {
            let next = self.command(line.strip_suffix(b"\r\n").unwrap_or(line), to_client, events)?;
            return Ok(Heard { consumed, next });
        }
        let (tag, name) = command::told(line.trim_ascii_end());
        events.push(Event::Command { name, ok: false });
        if line.ends_with(b"\n") {
            let next = self.refuse(line, tag, reasons::NEWLINE, to_client, events)?;
            return Ok(Heard { consumed, next });
        }
        self.overlong = Some((Overlong::default(), tag.map(Into::into)));
        self.receive(input, to_client, events)
    }

    fn farewell(&mut self, why: Farewell, to_client: &mut BytesMut) {
        to_client.extend_from_slice(&super::bye(&self.hostname, why));
    }
}
