//! What came over the wire, made harmless for a log line.

use std::borrow::Cow;

/// The most octets of one value. SMTP and IMAP bound their words far below; this bounds what a mistake elsewhere costs.
const VALUE_LIMIT: usize = 1024;

/// `text` with `?` for everything that a terminal or a parser of lines might act on: CR, LF, NUL, ESC, all
/// other controls and all that is neither a letter nor a digit outside ASCII (bidirectional overrides,
/// separators, zero-width characters).
pub(super) fn printable(text: &str) -> Cow<'_, str> {
    let plain = text.bytes().all(|octet| matches!(octet, b' '..=b'~')); // nearly always, and cheaper to see
    if text.len() <= VALUE_LIMIT && (plain || text.chars().all(is_printable)) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len().min(VALUE_LIMIT));
    for c in text.chars() {
        let c = if is_printable(c) { c } else { '?' };
        if clean.len() + c.len_utf8() > VALUE_LIMIT {
            clean.push_str("...");
            break;
        }
        clean.push(c);
    }
    Cow::Owned(clean)
}

/// For the lines of Postfix and Dovecot, which have no quoting: what delimits a value there is replaced, too, so
/// that a user name cannot write `rip=` and have fail2ban ban somebody else.
pub(super) fn bare(text: &str) -> String {
    printable(text).chars().map(|c| if matches!(c, '<' | '>' | '[' | ']' | ',' | ' ') { '?' } else { c }).collect()
}

fn is_printable(c: char) -> bool {
    if c.is_ascii() { c == ' ' || c.is_ascii_graphic() } else { c.is_alphanumeric() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_the_wire_ends_a_line_or_moves_a_cursor() {
        let cases = [
            ("mx.example.org", "mx.example.org"),
            ("a b", "a b"),
            ("a\r\nevent=ended", "a??event=ended"),
            ("\0\u{1b}[31m\u{7f}\t", "??[31m??"),
            ("m\u{fc}ller@\u{4f8b}.jp", "m\u{fc}ller@\u{4f8b}.jp"),
            ("\u{202e}gnp\u{200b}\u{2028}\u{85}\u{fffd}", "?gnp????"),
        ];
        for (wire, log) in cases {
            assert_eq!(printable(wire), log, "{wire:?}");
        }
    }

    #[test]
    fn a_long_value_is_cut() {
        assert_eq!(printable(&"x".repeat(VALUE_LIMIT)).len(), VALUE_LIMIT);
        let cut = printable(&"\u{e9}".repeat(VALUE_LIMIT)).into_owned();
        assert_eq!(cut.len(), VALUE_LIMIT + 3);
        assert!(cut.ends_with("..."));
    }

    #[test]
    fn delimiters_of_dovecots_lines_are_replaced() {
        assert_eq!(bare("x>, method=PLAIN, rip=192.0.2.1"), "x???method=PLAIN??rip=192.0.2.1");
        assert_eq!(bare("a[192.0.2.1]: "), "a?192.0.2.1?:?");
    }
}
