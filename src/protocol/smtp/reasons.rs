//! Why the gate refuses or ends, in words that people can count.

use bytes::Bytes;

use crate::facts::{Outcome, Reason};
use crate::protocol::Violation;

pub const BAD_SYNTAX: Reason = Reason::new(Outcome::ClientError, "bad command syntax");
pub const UNKNOWN: Reason = Reason::new(Outcome::ClientError, "unknown command");
pub const BARE_NEWLINE: Reason = Reason::new(Outcome::ClientError, "bare newline in command");
pub const LINE_TOO_LONG: Reason = Reason::new(Outcome::ClientError, "command line too long");
pub const BAD_CHUNK: Reason = Reason::new(Outcome::ClientError, "bad chunk size");
pub const BEHIND_DATA: Reason = Reason::new(Outcome::ClientError, "content before the answer to DATA");
pub const BEHIND_AUTH: Reason = Reason::new(Outcome::ClientError, "more before the answer to AUTH");
pub const CLIENT_LOST: Reason = Reason::new(Outcome::ClientError, "client went away in a message");
pub const CLIENT_CUT: Reason = Reason::new(Outcome::ClientError, "connection cut");
pub const HTTP: Reason = Reason::new(Outcome::ClientError, "HTTP request on an SMTP port");
pub const BINARY: Reason = Reason::new(Outcome::ClientError, "binary protocol on an SMTP port");
pub const TLS_ON_CLEARTEXT: Reason = Reason::new(Outcome::ClientError, "TLS handshake on a cleartext port");

pub const FORBIDDEN: Reason = Reason::new(Outcome::Policy, "command not allowed");
pub const AUTH_HIDDEN: Reason = Reason::new(Outcome::Policy, "AUTH where it is not offered");
pub const STARTTLS_FIRST: Reason = Reason::new(Outcome::Policy, "command before STARTTLS");
pub const STARTTLS_AGAIN: Reason = Reason::new(Outcome::Policy, "STARTTLS out of place");
pub const BINARYMIME: Reason = Reason::new(Outcome::Policy, "BINARYMIME not offered");
pub const NO_CHUNKING: Reason = Reason::new(Outcome::Policy, "BDAT not offered");
pub const BARE_NEWLINE_IN_DATA: Reason = Reason::new(Outcome::Policy, "bare newline or leading NUL in message");
pub const TOO_IDLE: Reason = Reason::new(Outcome::Policy, "too many commands without a message");
pub const TOO_MANY_ERRORS: Reason = Reason::new(Outcome::Policy, "too many errors");

pub const BACKEND_GONE: Reason = Reason::new(Outcome::BackendError, "backend closed the connection");
pub const BACKEND_CLOSING: Reason = Reason::new(Outcome::BackendError, "backend answered 421");
pub const BACKEND_REFUSES: Reason = Reason::new(Outcome::BackendError, "backend greeted with a refusal");
pub const BACKEND_NONSENSE: Reason = Reason::new(Outcome::BackendError, "backend answered nonsense");
pub const BACKEND_TOO_LONG: Reason = Reason::new(Outcome::BackendError, "backend answered too much");
pub const BACKEND_UNASKED: Reason = Reason::new(Outcome::BackendError, "backend answered unasked");
pub const BACKEND_INTERMEDIATE: Reason = Reason::new(Outcome::BackendError, "backend answered out of place");
pub const BACKEND_REFUSES_HELLO: Reason = Reason::new(Outcome::ClientError, "backend refused the client's hello");
pub const BACKEND_PUTS_OFF: Reason = Reason::new(Outcome::BackendError, "backend put the login off");
pub const BACKEND_SILENT: Reason = Reason::new(Outcome::Timeout, "backend silent for too long");
pub const CLIENT_SILENT: Reason = Reason::new(Outcome::Timeout, "client silent for too long");
pub const TOO_MANY_LOGINS: Reason = Reason::new(Outcome::Policy, "too many failed logins from this address");
pub const TOO_SLOW: Reason = Reason::new(Outcome::Timeout, "message comes in too slowly");
pub const QUIT: Reason = Reason::new(Outcome::Ok, "closed after QUIT");
pub const SHUTDOWN: Reason = Reason::new(Outcome::Shutdown, "gate is stopping");

impl Reason {
    /// The violation of that reason, answered with `reply`.
    pub(super) fn violation(self, reply: &'static [u8]) -> Violation {
        Violation { reason: self, reply: Bytes::from_static(reply) }
    }
}
