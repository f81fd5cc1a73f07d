//! Why commands are refused and sessions end.

use super::Refusal;
use crate::facts::{Outcome, Reason};

const fn client(phrase: &'static str) -> Reason {
    Reason::new(Outcome::ClientError, phrase)
}

const fn backend(phrase: &'static str) -> Reason {
    Reason::new(Outcome::BackendError, phrase)
}

pub(super) const TOO_MANY_ERRORS: Reason = client("too many errors");
pub(super) const LINE_TOO_LONG: Reason = client("line too long");
pub(super) const MALFORMED: Reason = client("malformed command");
pub(super) const LITERAL_TOO_LARGE: Reason = client("literal too large before login");
/// The octets behind a refused command would run as commands.
pub(super) const LITERAL_OF_REFUSED: Reason = client("octets sent behind a refused command");

pub(super) const GREETED_BYE: Reason = backend("backend greeted with BYE");
pub(super) const GREETED_PREAUTH: Reason = backend("backend greeted with PREAUTH");
pub(super) const NO_GREETING: Reason = backend("backend did not greet as an IMAP server");
pub(super) const BACKEND_MALFORMED: Reason = backend("malformed reply from the backend");
pub(super) const BACKEND_TOO_LONG: Reason = backend("endless reply from the backend");
pub(super) const BACKEND_UNASKED: Reason = backend("reply from the backend that nobody asked for");

pub(super) const LOGGED_OUT: Reason = Reason::new(Outcome::Ok, "logged out");

pub(super) const NEWLINE: Refusal =
    Refusal::new(MALFORMED, "BAD A line ends in CRLF and holds neither alone (openssl s_client: add -crlf)");
pub(super) const NO_COMMAND: Refusal = Refusal::new(MALFORMED, "BAD A command is a tag, a space and a name");
pub(super) const NOT_ASCII: Refusal = Refusal::new(MALFORMED, "BAD Octets outside ASCII in a command");
pub(super) const ARGUMENTS: Refusal = Refusal::new(MALFORMED, "BAD This command takes no arguments");
pub(super) const MECHANISM: Refusal =
    Refusal::new(MALFORMED, "BAD AUTHENTICATE takes a mechanism and perhaps a response in base64");
pub(super) const ID_LIST: Refusal = Refusal::new(MALFORMED, "BAD ID takes NIL or a list of strings in pairs");
pub(super) const LONG_LINE: Refusal = Refusal::new(LINE_TOO_LONG, "BAD Line too long");
pub(super) const LARGE_LITERAL: Refusal = Refusal::new(LITERAL_TOO_LARGE, "BAD Literal too large before login");

/// Why a backend has not judged a login.
pub(super) const LOGIN_INSECURE: Reason =
    Reason::new(Outcome::BackendError, "backend takes the connection for an insecure one (sealgate check says more)");
pub(super) const LOGIN_FULL: Reason = Reason::new(Outcome::BackendError, "backend has no room for another session");
pub(super) const LOGIN_PUT_OFF: Reason = Reason::new(Outcome::BackendError, "backend put the login off");

/// RFC 5530 §3: PRIVACYREQUIRED.
pub(super) const LOGIN_IN_CLEARTEXT: Refusal = Refusal::new(
    Reason::new(Outcome::Policy, "login before TLS"),
    "NO [PRIVACYREQUIRED] Please begin TLS with STARTTLS, then log in",
);
pub(super) const LITERAL_IN_CLEARTEXT: Refusal =
    Refusal::new(client("literal before TLS"), "BAD No literals before STARTTLS");
pub(super) const COMMAND_IN_CLEARTEXT: Refusal =
    Refusal::new(client("command before TLS"), "BAD Please begin TLS with STARTTLS first");

pub(super) const STARTTLS_IN_TLS: Refusal =
    Refusal::new(client("STARTTLS inside TLS"), "BAD The session is in TLS already");
pub(super) const COMPRESS_TOO_EARLY: Refusal =
    Refusal::new(client("COMPRESS before login"), "BAD COMPRESS is for those who are logged in");
