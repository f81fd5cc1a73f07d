//! FETCH's ENVELOPE (RFC 3501 §7.4.2): the header fields that a list of mails shows.

use super::fetch::nstring;
use crate::demo::message::fields;

/// Writes the ENVELOPE of a message.
pub fn envelope(content: &[u8], out: &mut Vec<u8>) {
    let value = |name: &str| fields(content).find(|field| field.is(name)).map(|field| field.value());
    let from = value("From");
    out.push(b'(');
    nstring(value("Date").as_deref(), out);
    out.push(b' ');
    nstring(value("Subject").as_deref(), out);
    for name in ["From", "Sender", "Reply-To", "To", "Cc", "Bcc"] {
        out.push(b' ');
        // RFC 3501 §7.4.2: an absent Sender or Reply-To is the From.
        let absent = || from.clone().filter(|_| matches!(name, "Sender" | "Reply-To"));
        addresses(value(name).or_else(absent).as_deref(), out);
    }
    for name in ["In-Reply-To", "Message-ID"] {
        out.push(b' ');
        nstring(value(name).as_deref(), out);
    }
    out.push(b')');
}

/// `((name NIL mailbox host) …)`, or `NIL` if there are none. Groups are not told apart from addresses.
fn addresses(list: Option<&str>, out: &mut Vec<u8>) {
    let list: Vec<&str> = list.map(split_list).unwrap_or_default();
    if list.is_empty() {
        return nstring(None, out);
    }
    out.push(b'(');
    for address in list {
        let (name, spec) = match address.rsplit_once('<') {
            Some((name, spec)) => (name.trim(), spec.trim_end_matches('>')),
            None => ("", address),
        };
        let name = name.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or(name);
        let (mailbox, host) = spec.rsplit_once('@').unwrap_or((spec, ""));
        out.push(b'(');
        nstring(Some(name).filter(|name| !name.is_empty()), out);
        out.extend_from_slice(b" NIL ");
        nstring(Some(mailbox), out);
        out.push(b' ');
        nstring(Some(host), out);
        out.push(b')');
    }
    out.push(b')');
}

/// The parts between commas, less those within quotes.
fn split_list(list: &str) -> Vec<&str> {
    let mut quoted = false;
    list.split(|c| {
        quoted ^= c == '"';
        c == ',' && !quoted
    })
    .map(str::trim)
    .filter(|part| !part.is_empty())
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3501_7_4_2_envelope() {
        let content =
            b"Date: Sat, 21 Nov 2026 20:36:00 +0000\r\nSubject: a \"word\"\r\nFrom: \"Doe, Jane\" <jane@a.example>\r\n\
            To: b@b.example,\r\n C <c@c.example>\r\nMessage-ID: <1@a>\r\n\r\n";
        let mut out = Vec::new();
        envelope(content, &mut out);
        let jane = r#"(("Doe, Jane" NIL "jane" "a.example"))"#;
        let to = r#"((NIL NIL "b" "b.example")("C" NIL "c" "c.example"))"#;
        assert_eq!(
            String::from_utf8(out).unwrap(),
            format!(
                r#"("Sat, 21 Nov 2026 20:36:00 +0000" "a \"word\"" {jane} {jane} {jane} {to} NIL NIL NIL "<1@a>")"#
            )
        );
    }

    #[test]
    fn a_message_without_a_header_has_an_envelope_of_nils() {
        let mut out = Vec::new();
        envelope(b"\r\nbody", &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)");
    }

    #[test]
    fn what_is_not_ascii_goes_into_a_literal() {
        let mut out = Vec::new();
        nstring(Some("grün"), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "{5}\r\ngrün");
    }
}
