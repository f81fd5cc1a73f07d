//! How much a client that has not logged in, and the backend it talks to, may ask to be remembered, in octets.

/// A command line with its CRLF; RFC 7162 §4 recommends servers to take at least 8,192.
pub(super) const LINE: usize = 8192;

/// A line of an authentication exchange with its CRLF, AUTHENTICATE's own included: what RFC 4954 §4 sets for SMTP,
/// since the mechanisms are the same.
pub(super) const SASL_LINE: usize = 12_288;

/// A line that is too long is thrown away as far as this; then the session ends.
pub(super) const DISCARD: usize = 64 * 1024;

/// RFC 7888 §5: a non-synchronising literal under LITERAL-.
pub(super) const NON_SYNCHRONISING: usize = 4096;

/// A synchronising literal before login. Names and passwords are shorter; an access token as a password may not be by much.
pub(super) const SYNCHRONISING: usize = 8192;

/// Literals in one command.
pub(super) const LITERALS: u32 = 16;

/// Parentheses within parentheses.
pub(super) const DEPTH: u32 = 16;

/// A tag: what Dovecot from 2.2 on repeats; a longer one gets an answer without its tag.
pub(super) const TAG: usize = 126;

/// Commands that wait for their tagged replies.
pub(super) const PENDING: usize = 64;

/// A backend response before login, its literals included.
pub(super) const RESPONSE: usize = 64 * 1024;
