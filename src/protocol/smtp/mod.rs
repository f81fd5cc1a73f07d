//! SMTP (RFC 5321) and message submission (RFC 6409).
//!
//! `preamble` speaks before STARTTLS, `dialogue` judges client and backend after it; the other modules are what they
//! judge with. Nothing here does I/O.

// The tables of the tests: their first row says what the columns are.
#![cfg_attr(test, allow(clippy::type_complexity))]

pub mod body;
mod capabilities;
mod command;
mod dialogue;
#[cfg(test)]
#[allow(missing_docs)] // tests alone see it
pub mod fixtures;
mod path;
mod preamble;
mod reasons;
pub mod received;
mod replies;
pub mod reply;
mod sasl;

use bytes::Bytes;

use super::{Context, Dialogue, Event, Farewell, Opening, Preamble, Protocol, Violation, line};

/// The protocol behind `smtp`, `submission` and `submissions`.
pub struct Smtp;

impl Protocol for Smtp {
    fn name(&self) -> &'static str {
        "smtp"
    }

    fn greeting(&self, context: &Context) -> Bytes {
        replies::greeting(&context.hostname)
    }

    /// None: EHLO has what the backend offers to this very client, and its word about the client's name.
    fn answer(&self, _context: &Context, _words: &[u8]) -> Option<(Bytes, Event)> {
        None
    }

    fn foreign(&self, words: &[u8]) -> Option<Violation> {
        if command::is_binary(words) {
            return Some(reasons::BINARY.violation(replies::NOT_BINARY));
        }
        command::is_http(line::first_text(words)).then(|| reasons::HTTP.violation(replies::NOT_HTTP))
    }

    fn preamble(&self, context: &Context) -> Box<dyn Preamble> {
        Box::new(preamble::SmtpPreamble::new(context))
    }

    fn dialogue(&self, context: &Context, opening: Option<Opening>) -> Box<dyn Dialogue> {
        Box::new(dialogue::SmtpDialogue::new(context, opening))
    }

    fn farewell(&self, hostname: &str, why: Farewell) -> Bytes {
        replies::farewell(hostname, why)
    }
}
