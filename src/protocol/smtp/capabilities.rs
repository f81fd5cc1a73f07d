//! What of the backend's EHLO answer a client may see: an allow-list, since an extension that the gate does not know could
//! change what the octets mean.

use std::borrow::Cow;

use bytes::{BufMut, BytesMut};

use super::reply;
use crate::protocol::Learned;

/// The extensions under which the gate still understands what passes. Not here on purpose: STARTTLS is ours, BINARYMIME and BURL
/// would let content through that the gate cannot see, XCLIENT and XFORWARD are for gates, not for clients.
static ALLOWED: &[&str] = &[
    "SIZE",
    "PIPELINING",
    "8BITMIME",
    "ENHANCEDSTATUSCODES",
    "DSN",
    "SMTPUTF8",
    "CHUNKING",
    "VRFY",
    "EXPN",
    "ETRN",
    "HELP",
    "DELIVERBY",
    "MT-PRIORITY",
    "FUTURERELEASE",
    "LIMITS",
    "NO-SOLICITING",
];

/// Whether AUTH is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// The client may log in here.
    Shown,
    /// Not on this service, or not before TLS.
    Hidden,
}

/// An EHLO keyword line as the client may see it.
pub fn filter(line: &str, auth: Auth) -> Option<Cow<'_, str>> {
    if line.bytes().any(|octet| !(octet == b' ' || octet.is_ascii_graphic())) {
        return None;
    }
    let (keyword, parameters) = split(line);
    if is_auth(keyword) {
        return (auth == Auth::Shown).then(|| mechanisms(keyword, parameters)).flatten().map(Cow::Owned);
    }
    ALLOWED.iter().any(|allowed| keyword.eq_ignore_ascii_case(allowed)).then_some(Cow::Borrowed(line))
}

/// The keyword, and its parameters with what stands before them.
fn split(line: &str) -> (&str, &str) {
    let end = line.bytes().position(|octet| matches!(octet, b' ' | b'='));
    line.split_at(end.unwrap_or(line.len()))
}

fn is_auth(keyword: &str) -> bool {
    keyword.eq_ignore_ascii_case("AUTH")
}

/// AUTH without the mechanisms that bind to the TLS channel (RFC 5802 §6): the channel ends here, so they could only fail.
fn mechanisms(keyword: &str, parameters: &str) -> Option<String> {
    // `AUTH=PLAIN` is the form of old Outlooks, which old servers still announce.
    let (separator, names) = match parameters.strip_prefix('=') {
        Some(names) => ('=', names),
        None => (' ', parameters),
    };
    let ends_in_plus = |name: &str| name.len() >= 5 && name.to_ascii_uppercase().ends_with("-PLUS");
    let kept: Vec<&str> = names.split_ascii_whitespace().filter(|name| !ends_in_plus(name)).collect();
    (!kept.is_empty()).then(|| format!("{keyword}{separator}{}", kept.join(" ")))
}

/// What the backend's EHLO answer says to the gate.
pub struct Announced {
    /// Keyword lines for the next session's preamble: without AUTH, which is never shown before TLS.
    pub learned: Learned,
    /// Whether BDAT is understood over there.
    pub chunking: bool,
}

/// Filters a whole, positive EHLO reply and writes it as the client may see it: whatever was taken away, its last line
/// carries the `250 ` without a hyphen.
pub fn filter_reply(whole: &[u8], auth: Auth, to_client: &mut BytesMut) -> Announced {
    let mut texts = reply::lines(whole);
    let code = whole.get(..3).unwrap_or(b"250");
    let mut learned = Learned::with_capacity(whole.len());
    let mut chunking = false;
    let mut separator = 0;
    let mut put_line = |text: &[u8]| {
        to_client.put_slice(code);
        separator = to_client.len();
        to_client.put_u8(b'-');
        to_client.put_slice(text);
        to_client.put_slice(b"\r\n");
    };
    put_line(texts.next().unwrap_or_default());
    for line in texts.filter_map(|text| std::str::from_utf8(text).ok()) {
        let Some(shown) = filter(line, auth) else { continue };
        put_line(shown.as_bytes());
        if !is_auth(split(&shown).0) {
            learned.push(&shown);
            chunking |= shown.eq_ignore_ascii_case("CHUNKING");
        }
    }
    if let Some(hyphen) = to_client.get_mut(separator) {
        *hyphen = b' ';
    }
    Announced { learned, chunking }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_pass_by_the_list_alone() {
        let cases: &[(&str, Auth, Option<&str>)] = &[
            ("SIZE 10240000", Auth::Hidden, Some("SIZE 10240000")),
            ("size", Auth::Hidden, Some("size")),
            ("8BITMIME", Auth::Hidden, Some("8BITMIME")),
            ("LIMITS RCPTMAX=20", Auth::Hidden, Some("LIMITS RCPTMAX=20")),
            ("STARTTLS", Auth::Shown, None),
            ("BINARYMIME", Auth::Shown, None),
            ("BURL imap", Auth::Shown, None),
            ("XCLIENT NAME ADDR", Auth::Shown, None),
            ("XFORWARD NAME", Auth::Shown, None),
            ("SIZEX", Auth::Shown, None),
            ("", Auth::Shown, None),
            ("SIZE 1\t0", Auth::Shown, None),
            ("AUTH PLAIN LOGIN", Auth::Hidden, None),
            ("AUTH=PLAIN LOGIN", Auth::Hidden, None),
            ("AUTH PLAIN LOGIN", Auth::Shown, Some("AUTH PLAIN LOGIN")),
            ("AUTH=PLAIN LOGIN", Auth::Shown, Some("AUTH=PLAIN LOGIN")),
            ("AUTH SCRAM-SHA-256-PLUS PLAIN scram-sha-1-plus", Auth::Shown, Some("AUTH PLAIN")),
            ("AUTH SCRAM-SHA-256-PLUS", Auth::Shown, None),
            ("AUTH", Auth::Shown, None),
        ];
        for (line, auth, expected) in cases {
            assert_eq!(filter(line, *auth).as_deref(), *expected, "{line:?}");
        }
    }

    #[test]
    fn a_reply_keeps_its_form_whatever_is_taken_away() {
        let cases: &[(&[u8], Auth, &[u8], &[&str], bool)] = &[
            (b"250 mail\r\n", Auth::Shown, b"250 mail\r\n", &[], false),
            (b"250-mail\r\n250 STARTTLS\r\n", Auth::Shown, b"250 mail\r\n", &[], false),
            (
                b"250-mail hi\r\n250-PIPELINING\r\n250-AUTH PLAIN\r\n250-CHUNKING\r\n250-BINARYMIME\r\n250 STARTTLS\r\n",
                Auth::Shown,
                b"250-mail hi\r\n250-PIPELINING\r\n250-AUTH PLAIN\r\n250 CHUNKING\r\n",
                &["PIPELINING", "CHUNKING"],
                true,
            ),
            (
                b"250-mail\r\n250-SIZE 10\r\n250 AUTH PLAIN\r\n",
                Auth::Hidden,
                b"250-mail\r\n250 SIZE 10\r\n",
                &["SIZE 10"],
                false,
            ),
        ];
        for (whole, auth, expected, learned, chunking) in cases {
            let mut to_client = BytesMut::from(&b"220 mail\r\n"[..]);
            let announced = filter_reply(whole, *auth, &mut to_client);
            assert_eq!(to_client, [b"220 mail\r\n", *expected].concat(), "{:?}", String::from_utf8_lossy(whole));
            assert_eq!(announced.learned.lines().collect::<Vec<_>>(), *learned);
            assert_eq!(announced.chunking, *chunking);
        }
    }
}
