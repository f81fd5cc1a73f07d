//! Clients that took the port for another one.

use crate::facts::{Outcome, Reason};

pub(super) const HTTP: Reason = Reason::new(Outcome::ClientError, "HTTP request on an IMAP port");
pub(super) const TLS: Reason = Reason::new(Outcome::ClientError, "TLS handshake on a cleartext port");

/// HTTP's methods (RFC 9110 §9.3, RFC 5789), and the first word of HTTP/2's preface (RFC 9113 §3.4).
const METHODS: &[&[u8]] =
    &[b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH", b"PRI"];

/// Whether a line is the beginning of an HTTP request. No IMAP command begins with `/` or `*` or has a colon in its verb.
pub(super) fn is_http(line: &[u8]) -> bool {
    let (method, target) = super::command::token(line);
    let target = target.map_or(&b""[..], |rest| super::command::token(rest).0);
    METHODS.contains(&method) && (target.starts_with(b"/") || target.starts_with(b"*") || target.contains(&b':'))
}

/// Whether the input begins with a TLS handshake record (RFC 8446 §5.1).
pub(super) fn is_tls(input: &[u8]) -> bool {
    input.starts_with(b"\x16\x03")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_protocols_are_known_by_their_first_octets() {
        let http: &[&[u8]] =
            &[b"GET / HTTP/1.1", b"POST /x", b"OPTIONS * HTTP/1.1", b"CONNECT a:25 HTTP/1.1", b"PRI * HTTP/2.0"];
        for line in http {
            assert!(is_http(line), "{:?}", String::from_utf8_lossy(line));
        }
        let imap: &[&[u8]] = &[b"GET NOOP", b"a GET /", b"GET", b"", b"PUT LOGIN a:b c"];
        for line in imap {
            assert!(!is_http(line), "{:?}", String::from_utf8_lossy(line));
        }
        assert!(is_tls(b"\x16\x03\x01"));
        assert!(!is_tls(b"\x16a"));
    }
}
