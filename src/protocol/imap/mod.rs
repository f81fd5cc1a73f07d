//! IMAP (RFC 3501, RFC 9051) as far as the gate needs it: up to the login, and nothing behind it.

mod capability;
mod command;
mod dialogue;
mod foreign;
mod id;
mod limits;
mod overlong;
mod preamble;
mod reasons;
mod response;

use bytes::{Bytes, BytesMut};

use super::{Context, Dialogue, Event, Farewell, Opening, Preamble, Protocol, Violation, line};
use crate::facts::Reason;

/// The protocol behind `imap` and `imaps`.
pub struct Imap;

impl Protocol for Imap {
    fn name(&self) -> &'static str {
        "imap"
    }

    /// With the capabilities that the backend's own greeting had the last time: a client that finds none asks for them first.
    fn greeting(&self, context: &Context) -> Bytes {
        let code = capabilities(context).map(|list| format!("[{list}] ")).unwrap_or_default();
        format!("* OK {code}{} Sealgate ready\r\n", context.hostname).into()
    }

    /// CAPABILITY, which a client asks again after STARTTLS (RFC 9051 §6.2.1).
    fn answer(&self, context: &Context, words: &[u8]) -> Option<(Bytes, Event)> {
        let line = words.strip_suffix(b"\r\n")?;
        let command = command::head(line).ok()?;
        if !command.verb.eq_ignore_ascii_case(b"CAPABILITY") || command.arguments.is_some() {
            return None;
        }
        let mut reply = BytesMut::new();
        answer(&mut reply, None, &capabilities(context)?);
        answer(&mut reply, Some(command.tag), "OK CAPABILITY completed");
        Some((reply.freeze(), Event::Command { name: "capability", ok: true }))
    }

    fn foreign(&self, words: &[u8]) -> Option<Violation> {
        let reason = match words {
            _ if foreign::is_binary(words) => foreign::BINARY,
            _ if foreign::is_http(line::first_text(words)) => foreign::HTTP,
            _ => return None,
        };
        Some(violation(reason, "This is an IMAP server"))
    }

    fn preamble(&self, context: &Context) -> Box<dyn Preamble> {
        Box::new(preamble::Cleartext::new(context))
    }

    /// An IMAP client never stays in cleartext, so that there is no opening.
    fn dialogue(&self, context: &Context, _opening: Option<Opening>) -> Box<dyn Dialogue> {
        Box::new(dialogue::BeforeLogin::new(context))
    }

    fn farewell(&self, hostname: &str, why: Farewell) -> Bytes {
        bye(hostname, why)
    }
}

/// What the backend announced last time; None if it is not known.
fn capabilities(context: &Context) -> Option<String> {
    let mut list = "CAPABILITY".to_owned();
    for capability in context.learned.lines() {
        list.push(' ');
        list.push_str(capability);
    }
    context.learned.lines().next().map(|_| list)
}

/// The untagged BYE that ends a session, also in the place of a greeting (RFC 9051 §7.1.5; codes of RFC 5530 §3).
fn bye(hostname: &str, why: Farewell) -> Bytes {
    let line = match why {
        Farewell::Timeout | Farewell::TooSlow => {
            format!("* BYE {hostname} closes the session: nothing was heard for too long\r\n")
        }
        Farewell::Injection => "* BYE Nothing may follow STARTTLS before TLS\r\n".to_owned(),
        Farewell::Shutdown => format!("* BYE [UNAVAILABLE] {hostname} is shutting down, please try again\r\n"),
        Farewell::TooManyConnections => {
            format!("* BYE [UNAVAILABLE] {hostname} has too many connections, please try again later\r\n")
        }
        Farewell::TooManyFailures => {
            format!("* BYE [UNAVAILABLE] {hostname} has seen too many failures from your address, try again later\r\n")
        }
        Farewell::BackendUnavailable => {
            format!("* BYE [UNAVAILABLE] {hostname} cannot reach its mail store, please try again later\r\n")
        }
    };
    line.into()
}

/// A breach that ends the session with a BYE.
fn violation(reason: Reason, text: &str) -> Violation {
    Violation { reason, reply: format!("* BYE {text}\r\n").into() }
}

/// Writes a status response, untagged when the command had no tag that could be read.
fn answer(to_client: &mut BytesMut, tag: Option<&[u8]>, text: &str) {
    to_client.extend_from_slice(tag.unwrap_or(b"*"));
    to_client.extend_from_slice(b" ");
    to_client.extend_from_slice(text.as_bytes());
    to_client.extend_from_slice(b"\r\n");
}

/// How many commands of a session failed, and how many may.
#[derive(Debug)]
struct Errors {
    seen: u32,
    most: u32,
}

impl Errors {
    fn new(context: &Context) -> Self {
        Self { seen: 0, most: context.rules.max_errors }
    }

    /// Counts one more; the last one allowed ends the session.
    fn count(&mut self) -> Result<(), Violation> {
        self.seen = self.seen.saturating_add(1);
        if self.seen < self.most {
            return Ok(());
        }
        Err(violation(reasons::TOO_MANY_ERRORS, "Too many errors"))
    }
}

/// A command that the gate refuses by itself, and the session goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Refusal {
    reason: Reason,
    /// What follows the tag: `BAD …` or `NO …`.
    text: &'static str,
}

impl Refusal {
    const fn new(reason: Reason, text: &'static str) -> Self {
        Self { reason, text }
    }
}

#[cfg(test)]
mod tests;
