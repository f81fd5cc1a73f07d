//! Clients that took the port for another one.

use crate::facts::{Outcome, Reason};

pub(super) const HTTP: Reason = Reason::new(Outcome::ClientError, "HTTP request on an IMAP port");
pub(super) const BINARY: Reason = Reason::new(Outcome::ClientError, "binary protocol on an IMAP port");
pub(super) const TLS: Reason = Reason::new(Outcome::ClientError, "TLS handshake on a cleartext port");

/// HTTP's methods (RFC 9110 §9.3, RFC 5789), and the first word of HTTP/2's preface (RFC 9113 §3.4).
const METHODS: &[&[u8]] =
    &[b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH", b"PRI"];

/// Whether a line is the beginning of an HTTP request. No IMAP verb begins with `/` or `*` or has a colon in it; with a `/`,
/// whatever stands before it is a method, since a browser's script may call it what it likes.
pub(super) fn is_http(line: &[u8]) -> bool {
    let (method, target) = super::command::token(line);
    let target = target.map_or(&b""[..], |rest| super::command::token(rest).0);
    target.starts_with(b"/") || (METHODS.contains(&method) && (target.starts_with(b"*") || target.contains(&b':')))
}

/// Whether what begins here is no text: a tag begins with none of these octets, and what follows a line of some other protocol
/// may have been written by somebody else than the one who sends it.
pub(super) fn is_binary(input: &[u8]) -> bool {
    // What may yet be a TLS record is told from its second octet on.
    input.first().is_some_and(|octet| !octet.is_ascii() || (octet.is_ascii_control() && !b"\r\n\t".contains(octet)))
        && input != b"\x16"
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
        let http: &[&[u8]] = &[
            b"GET / HTTP/1.1",
            b"POST /x",
            b"OPTIONS * HTTP/1.1",
            b"CONNECT a:25 HTTP/1.1",
            b"PRI * HTTP/2.0",
            b"X /x HTTP/1.1",
        ];
        for line in http {
            assert!(is_http(line), "{:?}", String::from_utf8_lossy(line));
        }
        let imap: &[&[u8]] = &[b"GET NOOP", b"a GET /", b"GET", b"", b"PUT LOGIN a:b c"];
        for line in imap {
            assert!(!is_http(line), "{:?}", String::from_utf8_lossy(line));
        }
        assert!(is_tls(b"\x16\x03\x01"));
        assert!(!is_tls(b"\x16a"));
        for octet in 0..=255 {
            let text = (b' '..=b'~').contains(&octet) || b"\r\n\t".contains(&octet);
            assert_eq!(is_binary(&[octet, b'x']), !text, "{octet}");
        }
        assert!(!is_binary(b"") && !is_binary(b"\x16") && is_binary(b"\x16a"));
    }
}
