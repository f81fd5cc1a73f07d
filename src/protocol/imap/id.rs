//! The client's ID (RFC 2971), read whole and written anew.
//!
//! Dovecot takes a client's address from ID's `x-…` fields (`x-originating-ip`) when they come from a trusted network,
//! and behind the gate every client does. So no such field of a client's own may reach it, in any spelling.

/// RFC 2971 §3.3: a client sends no more than 30 pairs.
const PAIRS: usize = 30;

/// The arguments that the backend may see, from those that the client sent (literals stand behind their announcements);
/// None when they are not RFC 2971's `"(" #(string SPACE nstring) ")" / nil`.
pub(super) fn without_private_fields(arguments: &[u8]) -> Option<Vec<u8>> {
    if arguments.eq_ignore_ascii_case(b"NIL") {
        return Some(b"NIL".to_vec());
    }
    let mut rest = arguments.strip_prefix(b"(")?.strip_suffix(b")")?.trim_ascii_start();
    let mut pairs = 0;
    let mut safe = Vec::new();
    while !rest.is_empty() {
        pairs += 1;
        let (field, behind) = string(rest)?;
        let behind = behind.strip_prefix(b" ")?.trim_ascii_start();
        let (value, behind) = match behind.split_at_checked(3) {
            Some((nil, behind)) if nil.eq_ignore_ascii_case(b"NIL") => (None, behind),
            _ => string(behind).map(|(value, behind)| (Some(value), behind))?,
        };
        if pairs > PAIRS || !(behind.is_empty() || behind.starts_with(b" ")) {
            return None;
        }
        rest = behind.trim_ascii_start();
        if field.get(..2).is_none_or(|prefix| !prefix.eq_ignore_ascii_case(b"x-")) {
            safe.push(if safe.is_empty() { b'(' } else { b' ' });
            write_quoted(&mut safe, &field);
            safe.push(b' ');
            match value {
                Some(value) => write_quoted(&mut safe, &value),
                None => safe.extend_from_slice(b"NIL"),
            }
        }
    }
    if safe.is_empty() {
        return Some(b"NIL".to_vec());
    }
    safe.push(b')');
    Some(safe)
}

/// A quoted string or a literal at the beginning of `text`, and what stands behind it.
fn string(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    if text.starts_with(b"\"") {
        let (value, rest) = super::command::astring(text)?;
        return Some((value, text.get(rest)?));
    }
    let line = memchr::memchr(b'\n', text)?;
    let announcement = text.get(..line)?.strip_suffix(b"\r")?;
    let (octets, _) = super::command::announcement(announcement)?;
    let (value, rest) = text.get(line + 1..)?.split_at_checked(octets)?;
    Some((value.to_vec(), rest))
}

/// Writes a quoted string (RFC 9051 §4.3). Octets that RFC 3501 allows in none become `?`: ID is for people and logs.
fn write_quoted(out: &mut Vec<u8>, value: &[u8]) {
    out.push(b'"');
    for octet in value {
        match octet {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *octet]),
            b' '..=b'~' => out.push(*octet),
            _ => out.push(b'?'),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc2971_fields_that_claim_an_address_never_pass() {
        let cases: &[(&str, Option<&str>)] = &[
            ("NIL", Some("NIL")),
            ("nil", Some("NIL")),
            ("()", Some("NIL")),
            ("(\"name\" \"x\")", Some("(\"name\" \"x\")")),
            ("(\"name\" NIL \"os\" \"y\")", Some("(\"name\" NIL \"os\" \"y\")")),
            ("( \"name\"  \"x\"  \"v\" nil )", Some("(\"name\" \"x\" \"v\" NIL)")),
            ("(\"x-originating-ip\" \"1.2.3.4\")", Some("NIL")),
            ("(\"X-Originating-IP\" \"1.2.3.4\" \"name\" \"x\")", Some("(\"name\" \"x\")")),
            ("(\"name\" \"x\" \"\\x-connected-ip\" \"1.2.3.4\")", Some("(\"name\" \"x\")")),
            ("({16}\r\nx-originating-ip \"1.2.3.4\")", Some("NIL")),
            ("({4}\r\nname {3}\r\na\"b)", Some("(\"name\" \"a\\\"b\")")),
            ("({4+}\r\nname {3+}\r\n)\r\n)", Some("(\"name\" \")??\")")),
            ("(\"xname\" \"x-\")", Some("(\"xname\" \"x-\")")),
            ("(\"name\" \"h\u{e9}\")", Some("(\"name\" \"h??\")")),
            ("(\"name\")", None),
            ("(\"name\" )", None),
            ("(name \"x\")", None),
            ("(NIL \"x\")", None),
            ("(\"name\" x)", None),
            ("(\"name\"\"x\")", None),
            ("(\"name\" \"x\"\"os\" \"y\")", None),
            ("(\"name\" NILNIL)", None),
            ("(\"name\" \"x\"", None),
            ("(\"name\" (\"x\"))", None),
            ("({99}\r\nname \"x\")", None),
            ("(~{4}\r\nname \"x\")", None),
            ("", None),
            ("NIL NIL", None),
        ];
        for (arguments, expected) in cases {
            let found = without_private_fields(arguments.as_bytes());
            assert_eq!(found.as_deref().map(String::from_utf8_lossy).as_deref(), *expected, "{arguments:?}");
        }
    }

    #[test]
    fn rfc2971_3_3_thirty_pairs_are_enough() {
        let list = |pairs: usize| format!("({})", vec!["\"a\" NIL"; pairs].join(" "));
        assert!(without_private_fields(list(PAIRS).as_bytes()).is_some());
        assert!(without_private_fields(list(PAIRS + 1).as_bytes()).is_none());
    }

    proptest::proptest! {
        #[test]
        fn what_was_written_reads_back_and_holds_no_private_field(
            pairs in proptest::collection::vec(("(x-|X-)?[ -~]{0,8}", proptest::option::of("[ -~]{0,8}")), 0..10)
        ) {
            let mut arguments = b"(".to_vec();
            for (field, value) in &pairs {
                if arguments.len() > 1 {
                    arguments.push(b' ');
                }
                write_quoted(&mut arguments, field.as_bytes());
                arguments.push(b' ');
                match value {
                    Some(value) => write_quoted(&mut arguments, value.as_bytes()),
                    None => arguments.extend_from_slice(b"NIL"),
                }
            }
            arguments.push(b')');
            let safe = without_private_fields(&arguments).unwrap();
            proptest::prop_assert_eq!(without_private_fields(&safe), Some(safe.clone()));
            let kept = pairs.iter().filter(|(field, _)| !field.to_ascii_lowercase().starts_with("x-")).count();
            let mut count = 0;
            let mut rest = safe.strip_prefix(b"(").unwrap_or_default();
            while let Some((field, behind)) = string(rest) {
                proptest::prop_assert!(!field.to_ascii_lowercase().starts_with(b"x-"));
                count += 1;
                rest = behind.strip_prefix(b" NIL").unwrap_or_else(|| string(&behind[1..]).unwrap().1).trim_ascii_start();
            }
            proptest::prop_assert_eq!(count, kept);
        }
    }
}
