//! The client's commands.

use bytes::BufMut;

use super::pending::Pending;
use super::{Early, IDLE_LIMIT, SmtpDialogue, State};
use crate::facts::Reason;
use crate::protocol::line::{Line, first_line};
use crate::protocol::smtp::command::{self, Command, Verb};
use crate::protocol::smtp::sasl::Exchange;
use crate::protocol::smtp::{path, reasons, replies};
use crate::protocol::{AuthRule, Event, Out, Verdict, Violation};

impl SmtpDialogue {
    /// Judges what the client sent.
    pub(super) fn client(&mut self, input: &[u8], out: &mut Out) -> Result<Verdict, Violation> {
        if input.is_empty() {
            return Ok(Verdict::More);
        }
        match &self.state {
            State::Greeting(_) | State::Replaying(_) => Ok(Verdict::Hold),
            State::Closing => Ok(Verdict::Close),
            State::Content(_) => Ok(self.content(input, out)),
            State::Chunk(_) => Ok(self.chunk(input)),
            State::Discarding(_) => Ok(self.discard(input, out)),
            State::Refusing(_) | State::Commands | State::SaslResponse => self.line(input, out),
        }
    }

    /// A command or a SASL response.
    fn line(&mut self, input: &[u8], out: &mut Out) -> Result<Verdict, Violation> {
        if self.errors >= self.origin.rules.max_errors || self.idle > IDLE_LIMIT || self.queue.is_full() {
            return Ok(Verdict::Hold);
        }
        // Content if the answer to DATA is a 354, a SASL response if that to AUTH is a 334.
        if self.queue.back().is_some_and(Pending::is_last_in_group) {
            return Ok(Verdict::Hold);
        }
        match self.unheard {
            Some(Early::Content) => return self.violate(reasons::BEHIND_DATA.violation(replies::BEHIND_DATA)),
            Some(Early::SaslResponse) => return self.violate(reasons::BEHIND_AUTH.violation(replies::BEHIND_AUTH)),
            None => {}
        }
        if self.skipped > 0 {
            return self.skip(input, out);
        }
        let sasl = matches!(self.state, State::SaslResponse);
        if !sasl && command::is_binary(input) {
            return self.violate(reasons::BINARY.violation(replies::NOT_BINARY));
        }
        let limit = if sasl { command::AUTH_LIMIT } else { command::line_limit(input) };
        let (len, proper) = match first_line(input, limit) {
            Line::Partial => return Ok(Verdict::More),
            Line::TooLong if !sasl && command::is_http(input) => {
                return self.violate(reasons::HTTP.violation(replies::NOT_HTTP));
            }
            Line::TooLong => return self.skip(input, out),
            Line::BareNewline(n) => (n, false),
            Line::Whole(n) => (n, true),
        };
        let line = input.get(..len).unwrap_or_default();
        let text = line.strip_suffix(b"\r\n").unwrap_or(line);
        // Whatever its line ends in.
        if !sasl && !proper && command::is_http(line) {
            return self.violate(reasons::HTTP.violation(replies::NOT_HTTP));
        }
        if !proper {
            return Ok(self.refuse_line(len, replies::BARE_NEWLINE, reasons::BARE_NEWLINE, out));
        }
        if !command::is_one_command(text) {
            return Ok(self.refuse_line(len, replies::LINE_TOO_LONG, reasons::LINE_TOO_LONG, out));
        }
        if sasl {
            // RFC 4954 §4: base64, or a `*` alone. A control could make a second line of it, or a `*` of something longer.
            if text.iter().any(u8::is_ascii_control) {
                return Ok(self.refuse_line(len, replies::BAD_SYNTAX, reasons::BAD_SYNTAX, out));
            }
            if let Some(exchange) = &mut self.exchange {
                exchange.response(text);
            }
            return Ok(self.send(Pending::Auth, len));
        }
        let Some(command) = command::parse(text) else {
            return Ok(self.refuse_line(len, replies::BAD_SYNTAX, reasons::BAD_SYNTAX, out));
        };
        if let State::Refusing(reply) = &self.state {
            out.to_client.put_slice(if command.verb == Verb::Quit { replies::BYE } else { reply });
            return Ok(self.close());
        }
        self.command(command, input, len, out)
    }

    /// One command, of `len` octets at the beginning of `input`.
    fn command(&mut self, command: Command<'_>, input: &[u8], len: usize, out: &mut Out) -> Result<Verdict, Violation> {
        let Command { verb, name, argument } = command;
        let tls = self.origin.tls.is_some();
        if matches!(verb, Verb::Ehlo | Verb::Helo | Verb::Rset | Verb::Noop | Verb::Vrfy | Verb::Help | Verb::Other) {
            self.idle = self.idle.saturating_add(1);
        }
        let pending = match verb {
            Verb::Ehlo | Verb::Helo => {
                out.events.push(Event::Helo(path::hello(argument, false).into()));
                let name = path::hello(argument, true).into();
                if verb == Verb::Ehlo { Pending::Ehlo(name) } else { Pending::Helo(name) }
            }
            Verb::Auth if !tls || self.auth == AuthRule::Never => {
                // Without an initial response (RFC 4954 §4) the next line is meant as one.
                let complete = argument.trim_ascii().iter().any(u8::is_ascii_whitespace);
                self.unheard = (!complete).then_some(Early::SaslResponse);
                return Ok(self.refuse(name, len, replies::NO_AUTH, reasons::AUTH_HIDDEN, out));
            }
            // The backend may take its time for those before, a second each where a client has made errors (Postfix), and a login that
            // it is at would be counted meanwhile.
            Verb::Auth if !self.queue.is_empty() => return Ok(Verdict::Hold),
            Verb::Auth => {
                self.idle = self.idle.saturating_add(1);
                self.began = true;
                self.exchange = Some(Box::new(Exchange::new(argument)));
                Pending::Auth
            }
            Verb::Mail => {
                self.idle = self.idle.saturating_add(1);
                self.began = true;
                let mail = command::mail(argument);
                if mail.binary {
                    return Ok(self.refuse(name, len, replies::NO_BINARYMIME, reasons::BINARYMIME, out));
                }
                Pending::Mail { utf8: mail.utf8 }
            }
            // Which of its characters may be shown is known once MAIL is answered.
            Verb::Rcpt => Pending::Rcpt(path::recipient(argument, true)),
            Verb::Data => Pending::Data,
            Verb::Bdat => return self.bdat(argument, input, len, out),
            Verb::Rset => Pending::Rset,
            Verb::Quit => Pending::Quit,
            Verb::StartTls => {
                // RFC 3207 §4.2: inside TLS it is not offered. Outside, this side of the preamble, it is too late for it.
                let reply = if tls { replies::TLS_ACTIVE } else { replies::TLS_TOO_LATE };
                return Ok(self.refuse(name, len, reply, reasons::STARTTLS_AGAIN, out));
            }
            Verb::Forbidden => return Ok(self.refuse(name, len, replies::FORBIDDEN, reasons::FORBIDDEN, out)),
            Verb::Unknown => return Ok(self.refuse(name, len, replies::UNKNOWN, reasons::UNKNOWN, out)),
            Verb::Http => return self.violate(reasons::HTTP.violation(replies::NOT_HTTP)),
            Verb::Noop | Verb::Vrfy | Verb::Help | Verb::Other => Pending::Other(name),
        };
        Ok(self.send(pending, len))
    }

    /// The command goes to the backend.
    fn send(&mut self, pending: Pending, len: usize) -> Verdict {
        self.queue.push(pending);
        self.state = State::Commands;
        Verdict::Pass(len)
    }

    /// Our own refusal, which goes out when its turn has come.
    pub(super) fn refuse(
        &mut self,
        name: &'static str,
        len: usize,
        reply: &'static [u8],
        reason: Reason,
        out: &mut Out,
    ) -> Verdict {
        out.events.push(Event::Command { name, ok: false });
        out.events.push(Event::Refused(reason));
        self.errors = self.errors.saturating_add(1);
        self.queue.push(Pending::Own(reply));
        self.queue.flush(&mut out.to_client);
        Verdict::Drop(len)
    }

    /// Refuses what is not even a line. In a SASL exchange the backend waits for one: it gets a cancel (RFC 4954 §4),
    /// and its answer to that is the client's.
    fn refuse_line(&mut self, len: usize, reply: &'static [u8], reason: Reason, out: &mut Out) -> Verdict {
        if !matches!(self.state, State::SaslResponse) {
            return self.refuse("unknown", len, reply, reason, out);
        }
        out.events.push(Event::Refused(reason));
        self.errors = self.errors.saturating_add(1);
        // Should the backend ask on in spite of the cancel, the next response is none that names the user, and may be the password.
        if let Some(exchange) = &mut self.exchange {
            exchange.response(b"*");
        }
        out.to_backend.extend_from_slice(b"*\r\n");
        self.queue.push(Pending::Auth);
        self.state = State::Commands;
        Verdict::Drop(len)
    }

    /// Throws an oversized line away, up to its end.
    fn skip(&mut self, input: &[u8], out: &mut Out) -> Result<Verdict, Violation> {
        let end = memchr::memchr(b'\n', input).map(|lf| lf + 1);
        let len = end.unwrap_or(input.len());
        let skipped = self.skipped + len;
        if skipped > command::SKIP_LIMIT {
            return self.violate(reasons::LINE_TOO_LONG.violation(replies::LINE_TOO_LONG));
        }
        self.skipped = if end.is_some() { 0 } else { skipped };
        Ok(match end {
            Some(_) => self.refuse_line(len, replies::LINE_TOO_LONG, reasons::LINE_TOO_LONG, out),
            None => Verdict::Drop(len),
        })
    }
}
