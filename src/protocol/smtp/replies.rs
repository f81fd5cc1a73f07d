//! What the gate itself says to clients (RFC 5321 §4.2, RFC 3463).

use bytes::Bytes;

use crate::protocol::Farewell;

pub const OK: &[u8] = b"250 2.0.0 Ok\r\n";
pub const BYE: &[u8] = b"221 2.0.0 Bye\r\n";
pub const HELP: &[u8] = b"214 2.0.0 See RFC 5321\r\n";
pub const CANNOT_VRFY: &[u8] = b"252 2.5.0 Cannot VRFY user, but will take a message and try to deliver it\r\n";
pub const READY_FOR_TLS: &[u8] = b"220 2.0.0 Ready to start TLS\r\n";

pub const BAD_SYNTAX: &[u8] = b"500 5.5.2 Error: bad syntax\r\n";
pub const UNKNOWN: &[u8] = b"500 5.5.2 Error: command not recognized\r\n";
pub const BARE_NEWLINE: &[u8] =
    b"500 5.5.2 Error: a line ends in CRLF and holds no other CR or LF (openssl s_client: add -crlf)\r\n";
pub const LINE_TOO_LONG: &[u8] = b"500 5.5.2 Error: line too long\r\n";
pub const NO_PARAMETERS: &[u8] = b"501 5.5.4 Syntax error (no parameters allowed)\r\n";
pub const EHLO_SYNTAX: &[u8] = b"501 5.5.4 Syntax: EHLO hostname\r\n";
pub const HELO_SYNTAX: &[u8] = b"501 5.5.4 Syntax: HELO hostname\r\n";
pub const BDAT_SYNTAX: &[u8] =
    b"501 5.5.4 Syntax: BDAT count [LAST], count below 2 GiB; cannot tell where the chunk ends, closing\r\n";
pub const NO_BINARYMIME: &[u8] = b"501 5.5.4 Error: BODY=BINARYMIME was not offered\r\n";
pub const FORBIDDEN: &[u8] = b"502 5.5.1 Error: command not implemented\r\n";
pub const NO_CHUNKING: &[u8] = b"502 5.5.1 Error: CHUNKING was not offered\r\n";
pub const NO_AUTH: &[u8] = b"503 5.5.1 Error: AUTH not available\r\n";
pub const TLS_ACTIVE: &[u8] = b"503 5.5.1 Error: TLS already active\r\n";
pub const TLS_TOO_LATE: &[u8] = b"454 4.7.0 TLS not available any more in this session\r\n";
pub const STARTTLS_FIRST: &[u8] = b"530 5.7.0 Must issue a STARTTLS command first\r\n";
pub const TOO_MANY_ERRORS: &[u8] = b"421 4.7.0 Error: too many errors\r\n";
pub const TOO_IDLE: &[u8] = b"421 4.7.0 Error: too many commands without a message\r\n";
pub const NOT_HTTP: &[u8] = b"554 5.5.0 This is SMTP, not HTTP\r\n";
pub const NOT_BINARY: &[u8] = b"554 5.5.0 This is SMTP, and no command begins like that\r\n";
pub const BEHIND_DATA: &[u8] = b"554 5.5.0 Error: content sent before the answer to DATA\r\n";
pub const BEHIND_AUTH: &[u8] = b"554 5.5.0 Error: more sent before the answer to AUTH\r\n";
pub const BEHIND_STARTTLS: &[u8] = b"554 5.5.1 Error: nothing may follow STARTTLS before TLS\r\n";
pub const BARE_NEWLINE_IN_DATA: &[u8] =
    b"550 5.5.2 Error: bare CR or LF, or NUL at the beginning of a line, in message\r\n421 4.7.0 Error: closing after that\r\n";

/// RFC 5321 §4.2, §4.3.1: our greeting. The word ESMTP has old clients say EHLO.
pub fn greeting(hostname: &str) -> Bytes {
    format!("220 {hostname} ESMTP Sealgate\r\n").into()
}

/// A 421 that carries our name (RFC 5321 §4.2.3), or the 554 for those who tried to get something through TLS (RFC 3207 §6).
pub fn farewell(hostname: &str, why: Farewell) -> Bytes {
    let (status, text) = match why {
        Farewell::Injection => return Bytes::from_static(BEHIND_STARTTLS),
        Farewell::Timeout => ("4.4.2", "Error: timeout exceeded"),
        Farewell::TooSlow => ("4.4.2", "Error: the message comes in too slowly"),
        Farewell::Shutdown => ("4.3.2", "Service shutting down, try again later"),
        Farewell::TooManyConnections => ("4.7.0", "Error: too many connections"),
        Farewell::TooManyFailures => ("4.7.0", "Error: too many failures from your address, try again later"),
        Farewell::BackendUnavailable => ("4.3.2", "Service not available, try again later"),
    };
    format!("421 {status} {hostname} {text}\r\n").into()
}
