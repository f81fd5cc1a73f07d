//! Cleartext talk before STARTTLS (RFC 3207). Nothing that is said here survives the upgrade (§4.2).

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::capabilities::{self, Auth};
use super::command::{self, Command, Verb};
use super::{path, reasons, replies};
use crate::facts::Reason;
use crate::protocol::line::{Line, first_line};
use crate::protocol::{Context, Event, Farewell, Heard, Learned, Next, Opening, Preamble, Rules, TlsMode, Violation};

/// The first bytes of a TLS record that holds a handshake, whatever version it claims (RFC 8446 §5.1).
const TLS_RECORD: [u8; 2] = [0x16, 0x03];

/// Speaks for a backend that is not dialled yet.
pub struct SmtpPreamble {
    hostname: Arc<str>,
    learned: Arc<Learned>,
    rules: Arc<Rules>,
    /// Whether a client may stay in cleartext.
    optional: bool,
    /// The last EHLO or HELO line, as a backend must hear it if the client stays.
    hello: Option<Bytes>,
    errors: u32,
    /// Octets of an oversized line thrown away so far.
    skipped: usize,
}

impl SmtpPreamble {
    /// A preamble for one connection.
    pub fn new(context: &Context) -> Self {
        Self {
            hostname: context.hostname.clone(),
            learned: context.learned.clone(),
            rules: context.rules.clone(),
            optional: context.service.tls == TlsMode::Optional,
            hello: None,
            errors: 0,
            skipped: 0,
        }
    }

    fn command(
        &mut self,
        line: &[u8],
        command: Command<'_>,
        to_client: &mut BytesMut,
        events: &mut Vec<Event>,
    ) -> Result<Next, Violation> {
        let mut done = |reply: &[u8]| {
            to_client.extend_from_slice(reply);
            events.push(Event::Command { name: command.name, ok: true });
            Next::More
        };
        match command.verb {
            Verb::Ehlo | Verb::Helo if command.argument.is_empty() => {
                let reply = if command.verb == Verb::Ehlo { replies::EHLO_SYNTAX } else { replies::HELO_SYNTAX };
                return self.refuse(command.name, reply, reasons::BAD_SYNTAX, to_client, events);
            }
            Verb::Ehlo | Verb::Helo => {
                self.hello = Some(Bytes::copy_from_slice(line));
                self.answer_hello(command.verb, to_client);
                events.push(Event::Command { name: command.name, ok: true });
                events.push(Event::Helo(path::hello(command.argument, false).into()));
            }
            Verb::StartTls if !command.argument.is_empty() => {
                return self.refuse(command.name, replies::NO_PARAMETERS, reasons::BAD_SYNTAX, to_client, events);
            }
            // RFC 3207 §4 asks for no EHLO first, and Postfix does not either.
            Verb::StartTls => {
                done(replies::READY_FOR_TLS);
                return Ok(Next::StartTls);
            }
            Verb::Noop | Verb::Rset => {
                done(replies::OK);
            }
            Verb::Vrfy => {
                done(replies::CANNOT_VRFY);
            }
            Verb::Help => {
                done(replies::HELP);
            }
            Verb::Quit => {
                done(replies::BYE);
                return Ok(Next::Close);
            }
            Verb::Http => return Err(reasons::HTTP.violation(replies::NOT_HTTP)),
            Verb::Forbidden => {
                return self.refuse(command.name, replies::FORBIDDEN, reasons::FORBIDDEN, to_client, events);
            }
            Verb::Unknown if self.optional => {
                return self.refuse(command.name, replies::UNKNOWN, reasons::UNKNOWN, to_client, events);
            }
            Verb::Auth if self.optional => {
                return self.refuse(command.name, replies::NO_AUTH, reasons::AUTH_HIDDEN, to_client, events);
            }
            Verb::Mail | Verb::Rcpt | Verb::Data | Verb::Bdat | Verb::Other | Verb::Auth if self.optional => {
                return Ok(Next::StayPlain(Opening { hello: self.hello.take() }));
            }
            Verb::Bdat => {
                // RFC 3030 §2: the octets follow whatever the answer is, and they are no commands.
                self.refuse(command.name, replies::STARTTLS_FIRST, reasons::STARTTLS_FIRST, to_client, events)?;
                return Ok(Next::Close);
            }
            Verb::Mail | Verb::Rcpt | Verb::Data | Verb::Other | Verb::Unknown | Verb::Auth => {
                return self.refuse(command.name, replies::STARTTLS_FIRST, reasons::STARTTLS_FIRST, to_client, events);
            }
        }
        Ok(Next::More)
    }

    /// RFC 5321 §4.1.1.1; what the backend announced last time, AUTH never (RFC 4954 §4), and STARTTLS.
    fn answer_hello(&self, verb: Verb, to_client: &mut BytesMut) {
        let extended = verb == Verb::Ehlo;
        let mut line = |code: &[u8], text: &str| {
            to_client.extend_from_slice(code);
            to_client.extend_from_slice(text.as_bytes());
            to_client.extend_from_slice(b"\r\n");
        };
        line(if extended { b"250-" } else { b"250 " }, &self.hostname);
        if extended {
            let keywords = self.learned.lines().filter_map(|line| capabilities::filter(line, Auth::Hidden));
            keywords.for_each(|keyword| line(b"250-", &keyword));
            line(b"250 ", "STARTTLS");
        }
    }

    fn refuse(
        &mut self,
        name: &'static str,
        reply: &'static [u8],
        reason: Reason,
        to_client: &mut BytesMut,
        events: &mut Vec<Event>,
    ) -> Result<Next, Violation> {
        to_client.extend_from_slice(reply);
        events.push(Event::Command { name, ok: false });
        events.push(Event::Refused(reason));
        self.errors = self.errors.saturating_add(1);
        if self.errors >= self.rules.max_errors {
            return Err(reasons::TOO_MANY_ERRORS.violation(replies::TOO_MANY_ERRORS));
        }
        Ok(Next::More)
    }

    /// Throws an oversized line away, up to its end.
    fn skip(&mut self, input: &[u8], to_client: &mut BytesMut, events: &mut Vec<Event>) -> Result<Heard, Violation> {
        let end = memchr::memchr(b'\n', input).map(|lf| lf + 1);
        let consumed = end.unwrap_or(input.len());
        self.skipped += consumed;
        if self.skipped > command::SKIP_LIMIT {
            return Err(reasons::LINE_TOO_LONG.violation(replies::LINE_TOO_LONG));
        }
        let next = match end {
            Some(_) => {
                self.skipped = 0;
                self.refuse("unknown", replies::LINE_TOO_LONG, reasons::LINE_TOO_LONG, to_client, events)?
            }
            None => Next::More,
        };
        Ok(Heard { consumed, next })
    }
}

impl Preamble for SmtpPreamble {
    fn greet(&mut self, to_client: &mut BytesMut) {
        to_client.extend_from_slice(&replies::greeting(&self.hostname));
    }

    fn receive(&mut self, input: &[u8], to_client: &mut BytesMut, events: &mut Vec<Event>) -> Result<Heard, Violation> {
        if self.skipped > 0 {
            return self.skip(input, to_client, events);
        }
        if input.starts_with(&TLS_RECORD) {
            // An alert would be an answer to what we do not speak here.
            return Err(reasons::TLS_ON_CLEARTEXT.violation(b""));
        }
        if command::is_binary(input) {
            return Err(reasons::BINARY.violation(replies::NOT_BINARY));
        }
        let (consumed, proper) = match first_line(input, command::line_limit(input)) {
            Line::Partial => return Ok(Heard { consumed: 0, next: Next::More }),
            Line::TooLong if command::is_http(input) => return Err(reasons::HTTP.violation(replies::NOT_HTTP)),
            Line::TooLong => return self.skip(input, to_client, events),
            Line::BareNewline(n) => (n, false),
            Line::Whole(n) => (n, true),
        };
        // Its newline alone comes off: white space that is none of SMTP's makes it a line with control characters.
        let line = input.get(..consumed).unwrap_or_default();
        let end = line.iter().rposition(|octet| !matches!(octet, b'\r' | b'\n')).map_or(0, |last| last + 1);
        let line = line.get(..end).unwrap_or_default();
        let next = match command::parse(line) {
            // Whatever its line ends in.
            Some(Command { verb: Verb::Http, .. }) => return Err(reasons::HTTP.violation(replies::NOT_HTTP)),
            _ if !proper => self.refuse("unknown", replies::BARE_NEWLINE, reasons::BARE_NEWLINE, to_client, events)?,
            Some(command) => self.command(line, command, to_client, events)?,
            None => self.refuse("unknown", replies::BAD_SYNTAX, reasons::BAD_SYNTAX, to_client, events)?,
        };
        // A command for the backend is left to be judged again by the dialogue.
        let consumed = if matches!(next, Next::StayPlain(_)) { 0 } else { consumed };
        Ok(Heard { consumed, next })
    }

    fn farewell(&mut self, why: Farewell, to_client: &mut BytesMut) {
        to_client.extend_from_slice(&replies::farewell(&self.hostname, why));
    }
}

#[cfg(test)]
mod tests;
