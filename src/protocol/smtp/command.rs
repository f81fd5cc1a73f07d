//! Commands (RFC 5321 §4.1): one table, and the few arguments that the gate must understand.

use super::path;

/// The longest command line, CRLF included. RFC 5321 §4.5.3.1.4 asks for 512 plus what extensions add; this leaves room for
/// all of them. It is also Postfix's own limit (`line_length_limit`), and must not be more: a Postfix before 2.9 takes what
/// stands behind its limit for the next command, which would be one that the gate has never judged.
pub const COMMAND_LIMIT: usize = 2048;

/// The longest AUTH line and SASL response, CRLF included (RFC 4954 §4).
pub const AUTH_LIMIT: usize = 12_288;

/// The most octets of an oversized line that are read and thrown away before the session is closed.
pub const SKIP_LIMIT: usize = 64 * 1024;

/// The largest chunk taken, in octets. A backend that counts in 32 bits would take a larger one for a small one and the rest
/// of it for commands; what is left below 2^31 holds any Received field put in front of it.
const CHUNK_LIMIT: u64 = (1 << 31) - 64 * 1024;

/// What a command means to the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// RFC 5321 §4.1.1.1.
    Ehlo,
    /// RFC 5321 §4.1.1.1.
    Helo,
    /// RFC 3207.
    StartTls,
    /// RFC 4954.
    Auth,
    /// RFC 5321 §4.1.1.2.
    Mail,
    /// RFC 5321 §4.1.1.3.
    Rcpt,
    /// RFC 5321 §4.1.1.4.
    Data,
    /// RFC 3030 §2.
    Bdat,
    /// RFC 5321 §4.1.1.5.
    Rset,
    /// RFC 5321 §4.1.1.9.
    Noop,
    /// RFC 5321 §4.1.1.10.
    Quit,
    /// RFC 5321 §4.1.1.6.
    Vrfy,
    /// RFC 5321 §4.1.1.8.
    Help,
    /// Whatever else the backend may answer alone.
    Other,
    /// What is not in the table. No backend hears it: like an extension's keyword, a verb that the gate does not know could change what
    /// the octets mean, and what a client takes for a command of nobody's may be a SASL response to an AUTH that was refused.
    Unknown,
    /// Never for a client behind a gate: it would speak of who the client is, swap the roles or open a raw exchange.
    Forbidden,
    /// An HTTP request: a browser was tricked into talking to us, or a scanner.
    Http,
}

struct Entry {
    word: &'static str,
    /// The name it is counted under.
    name: &'static str,
    verb: Verb,
}

const fn entry(word: &'static str, name: &'static str, verb: Verb) -> Entry {
    Entry { word, name, verb }
}

static COMMANDS: &[Entry] = &[
    entry("EHLO", "ehlo", Verb::Ehlo),
    entry("HELO", "helo", Verb::Helo),
    entry("STARTTLS", "starttls", Verb::StartTls),
    entry("AUTH", "auth", Verb::Auth),
    entry("MAIL", "mail", Verb::Mail),
    entry("RCPT", "rcpt", Verb::Rcpt),
    entry("DATA", "data", Verb::Data),
    entry("BDAT", "bdat", Verb::Bdat),
    entry("RSET", "rset", Verb::Rset),
    entry("NOOP", "noop", Verb::Noop),
    entry("QUIT", "quit", Verb::Quit),
    entry("VRFY", "vrfy", Verb::Vrfy),
    entry("HELP", "help", Verb::Help),
    entry("EXPN", "expn", Verb::Other),
    entry("ETRN", "etrn", Verb::Other),
    entry("XCLIENT", "xclient", Verb::Forbidden),
    entry("XFORWARD", "xforward", Verb::Forbidden),
    entry("PROXY", "proxy", Verb::Forbidden),
    entry("BURL", "burl", Verb::Forbidden),
    entry("TURN", "turn", Verb::Forbidden),
    entry("ATRN", "atrn", Verb::Forbidden),
    entry("XEXCH50", "xexch50", Verb::Forbidden),
    // An AUTH and a STARTTLS by other names, in Exchange.
    entry("X-EXPS", "x-exps", Verb::Forbidden),
    entry("X-ANONYMOUSTLS", "x-anonymoustls", Verb::Forbidden),
    entry("GET", "unknown", Verb::Http),
    entry("HEAD", "unknown", Verb::Http),
    entry("POST", "unknown", Verb::Http),
    entry("PUT", "unknown", Verb::Http),
    entry("PATCH", "unknown", Verb::Http),
    entry("DELETE", "unknown", Verb::Http),
    entry("CONNECT", "unknown", Verb::Http),
    entry("OPTIONS", "unknown", Verb::Http),
    entry("TRACE", "unknown", Verb::Http),
    entry("PRI", "unknown", Verb::Http),
];

/// A command line, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Command<'a> {
    /// What it is.
    pub verb: Verb,
    /// The name it is counted under: lower case, `unknown` for what the table has not.
    pub name: &'static str,
    /// What follows the verb, white space around it taken off.
    pub argument: &'a [u8],
}

/// Takes a line without its CRLF apart. `None` is for what is no command at all: no word at its beginning, or
/// control characters. Backends skip leading white space and end strings at NUL, so such a line could mean to
/// them what it does not mean here.
pub fn parse(line: &[u8]) -> Option<Command<'_>> {
    if line.iter().any(|octet| octet.is_ascii_control() && *octet != b'\t') {
        return None;
    }
    let end = line.iter().position(|octet| matches!(octet, b' ' | b'\t')).unwrap_or(line.len());
    let (word, argument) = line.split_at(end);
    if word.is_empty() || !word.iter().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_')) {
        return None;
    }
    let argument = argument.trim_ascii();
    // A browser's script may call its method what it likes, and no command that we do not know is about a path.
    let unknown = if argument.starts_with(b"/") { Verb::Http } else { Verb::Unknown };
    let (verb, name) = COMMANDS
        .iter()
        .find(|entry| word.eq_ignore_ascii_case(entry.word.as_bytes()))
        .map_or((unknown, "unknown"), |entry| (entry.verb, entry.name));
    Some(Command { verb, name, argument })
}

/// Whether the line is an HTTP request of which no more than the beginning needs to be there. What follows a line like that may
/// have been written by somebody else than the one who sends it.
pub fn is_http(line: &[u8]) -> bool {
    let line = line.get(..COMMAND_LIMIT).unwrap_or(line);
    parse(line.trim_ascii_end()).is_some_and(|command| command.verb == Verb::Http)
}

/// Whether what begins here is no text, and so no command: some other protocol.
pub fn is_binary(input: &[u8]) -> bool {
    // What may yet be a TLS record is told from its second octet on.
    input.first().is_some_and(|octet| !octet.is_ascii() || (octet.is_ascii_control() && !b"\r\n\t".contains(octet)))
        && input != b"\x16"
}

/// How long the command line may be that `input` begins with.
pub fn line_limit(input: &[u8]) -> usize {
    match input.split_at_checked(5) {
        Some((word, _)) if word.eq_ignore_ascii_case(b"AUTH ") => AUTH_LIMIT,
        _ => COMMAND_LIMIT,
    }
}

/// Whether a backend that cuts lines at [`COMMAND_LIMIT`] finds no command in what it cuts off: there is nothing, or base64
/// alone, as in AUTH and in the exchange behind it (RFC 4954 §4), and no piece of that is a word like RSET.
pub fn is_one_command(text: &[u8]) -> bool {
    let behind = text.get(COMMAND_LIMIT..).unwrap_or_default();
    let is_base64 = |octet: &u8| octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'/' | b'=');
    behind.iter().all(is_base64) && behind.chunks(COMMAND_LIMIT).all(|piece| parse(piece).is_none_or(is_unknown))
}

fn is_unknown(command: Command<'_>) -> bool {
    command.verb == Verb::Unknown
}

/// What the gate wants to know of a MAIL command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mail {
    /// SMTPUTF8 is in use (RFC 6531 §3.4).
    pub utf8: bool,
    /// `BODY=BINARYMIME` (RFC 3030 §3).
    pub binary: bool,
}

/// Reads the parameters of MAIL. What cannot be parsed is for the backend to refuse; it might find them anywhere.
pub fn mail(argument: &[u8]) -> Mail {
    let bracketed = argument.get(b"FROM:".len()..).is_some_and(|path| path.trim_ascii_start().starts_with(b"<"));
    let parsed = path::split(argument, b"FROM:").filter(|_| bracketed);
    let parameters = parsed.map_or(argument, |(_, parameters)| parameters);
    let has = |wanted: &[u8]| {
        let mut words = parameters.split(|octet| octet.is_ascii_whitespace() || *octet == b'>');
        words.any(|parameter| parameter.eq_ignore_ascii_case(wanted))
    };
    Mail { utf8: has(b"SMTPUTF8"), binary: has(b"BODY=BINARYMIME") }
}

/// A BDAT command (RFC 3030 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bdat {
    /// How many octets follow the line.
    pub size: u64,
    /// Whether the message ends with them.
    pub last: bool,
}

/// Reads the argument of BDAT; `None` means that nobody can tell where the next command begins. Only spaces part its words: behind a
/// tab some parsers see no LAST.
pub fn bdat(argument: &[u8]) -> Option<Bdat> {
    let mut words = argument.split(|octet| *octet == b' ').filter(|word| !word.is_empty());
    let digits = words.next()?;
    // `parse` alone would take a leading `+`.
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let size = std::str::from_utf8(digits).ok()?.parse::<u64>().ok().filter(|size| *size <= CHUNK_LIMIT)?;
    let last = match words.next() {
        None => false,
        Some(word) if word.eq_ignore_ascii_case(b"LAST") => true,
        Some(_) => return None,
    };
    words.next().is_none().then_some(Bdat { size, last })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_a_word_and_its_argument() {
        let cases: &[(&[u8], Option<(Verb, &str, &[u8])>)] = &[
            (b"EHLO me", Some((Verb::Ehlo, "ehlo", b"me"))),
            (b"ehlo  me ", Some((Verb::Ehlo, "ehlo", b"me"))),
            (b"Mail\tFROM:<a@b>", Some((Verb::Mail, "mail", b"FROM:<a@b>"))),
            (b"DATA", Some((Verb::Data, "data", b""))),
            (b"DATAX", Some((Verb::Unknown, "unknown", b""))),
            (b"ETRN x", Some((Verb::Other, "etrn", b"x"))),
            (b"XCLIENT ADDR=1.2.3.4", Some((Verb::Forbidden, "xclient", b"ADDR=1.2.3.4"))),
            (b"x-anonymoustls", Some((Verb::Forbidden, "x-anonymoustls", b""))),
            (b"X-EXPS NTLM", Some((Verb::Forbidden, "x-exps", b"NTLM"))),
            (b"GET / HTTP/1.1", Some((Verb::Http, "unknown", b"/ HTTP/1.1"))),
            (b"", None),
            (b" ", None),
            // What Postfix would take for XCLIENT.
            (b" XCLIENT ADDR=1.2.3.4", None),
            (b"\tXCLIENT ADDR=1.2.3.4", None),
            (b"XCLIENT\0", None),
            (b"NOOP \0", None),
            (b"NOOP \x7f", None),
            (b"XCLIENT\x0bADDR=1.2.3.4", None),
            (b"Host: example.com", None),
            (b"\x16\x03\x01", None),
            (b"\xc3\xa9hlo", None),
            (b"MAIL FROM:<\xc3\xa9@b>", Some((Verb::Mail, "mail", b"FROM:<\xc3\xa9@b>"))),
        ];
        for (line, expected) in cases {
            let expected = expected.map(|(verb, name, argument)| Command { verb, name, argument });
            assert_eq!(parse(line), expected, "{:?}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn rfc4954_4_auth_lines_may_be_longer() {
        assert_eq!(line_limit(b"auth PLAIN"), AUTH_LIMIT);
        assert_eq!(line_limit(b"AUTHX"), COMMAND_LIMIT);
        assert_eq!(line_limit(b"AUTH"), COMMAND_LIMIT);
        assert_eq!(line_limit(b"MAIL FROM:<>"), COMMAND_LIMIT);
    }

    #[test]
    fn what_an_old_backend_runs_as_the_next_command_is_no_part_of_a_line() {
        let line = |behind: &[u8]| [b"AUTH PLAIN ", &[b'A'; COMMAND_LIMIT - 11][..], behind].concat();
        assert!(is_one_command(b"RSET") && is_one_command(&line(b"")));
        assert!(is_one_command(&line(b"A")) && is_one_command(&line(b"+/==")));
        assert!(is_one_command(&line(&[b'A'; 3 * COMMAND_LIMIT])));
        // Base64 that is a verb, and no verb that is not base64: in the piece behind, or in one behind that.
        for refused in [&b"RSET"[..], b"quit", b"A A", b"A\0", b"-A"] {
            assert!(!is_one_command(&line(refused)), "{}", refused.escape_ascii());
            let later = [&[b'A'; COMMAND_LIMIT][..], refused].concat();
            assert!(!is_one_command(&line(&later)), "{}, later", refused.escape_ascii());
        }
    }

    #[test]
    fn other_protocols_are_known_by_their_first_octets() {
        for line in [&b"GET / HTTP/1.1"[..], b"connect x:25", b"PRI * HTTP/2.0", b"X /x HTTP/1.1", b"POST /\r\n"] {
            assert!(is_http(line), "{line:?}");
        }
        for line in [&b"GETX"[..], b"HELP", b"", b"NOOP /", b"X a/b"] {
            assert!(!is_http(line), "{line:?}");
        }
        let long = [b"POST /".to_vec(), vec![b'x'; 3 * COMMAND_LIMIT]].concat();
        assert!(is_http(&long) && is_http(&long[..COMMAND_LIMIT]));
        for octet in 0..=255 {
            let text = (b' '..=b'~').contains(&octet) || b"\r\n\t".contains(&octet);
            assert_eq!(is_binary(&[octet, b'x']), !text, "{octet}");
        }
        assert!(!is_binary(b"") && !is_binary(b"\x16") && is_binary(b"\x16a"));
    }

    #[test]
    fn mail_parameters_stand_behind_the_path() {
        let cases: &[(&[u8], bool, bool)] = &[
            (b"FROM:<a@b>", false, false),
            (b"FROM:<a@b> SMTPUTF8", true, false),
            (b"from:<a@b> SIZE=10 smtputf8 body=binarymime", true, true),
            (b"FROM: <a@b> BODY=8BITMIME", false, false),
            (b"FROM:<> BODY=BINARYMIME", false, true),
            (b"FROM:<\"> SMTPUTF8 BODY=BINARYMIME \"@b>", false, false),
            (b"FROM:a@b BODY=BINARYMIME", false, true),
            // A path that does not end: rather refused once too often.
            (b"FROM:<a@b BODY=BINARYMIME", false, true),
            (b"FR x>BODY=BINARYMIME", false, true),
            (b"FROM:(<a@b>BODY=BINARYMIME x", false, true),
        ];
        for (argument, utf8, binary) in cases {
            assert_eq!(
                mail(argument),
                Mail { utf8: *utf8, binary: *binary },
                "{:?}",
                String::from_utf8_lossy(argument)
            );
        }
    }

    #[test]
    fn rfc3030_2_bdat_sizes_are_decimal_digits() {
        let cases: &[(&[u8], Option<(u64, bool)>)] = &[
            (b"0", Some((0, false))),
            (b"0 LAST", Some((0, true))),
            (b"86", Some((86, false))),
            (b"0086  last", Some((86, true))),
            (b"2147418112 LAST", Some((CHUNK_LIMIT, true))),
            // What 32 and 64 bits cannot count.
            (b"2147418113", None),
            (b"2147483648", None),
            (b"4294967301", None),
            (b"9223372036854775808", None),
            (b"18446744073709551621", None),
            (b"", None),
            (b"LAST", None),
            (b"+1", None),
            (b"-1", None),
            (b"0x10", None),
            (b"1 2", None),
            (b"1 LAST LAST", None),
            (b"1LAST", None),
            (b"1\tLAST", None),
            (b"1 \tLAST", None),
        ];
        for (argument, expected) in cases {
            let expected = expected.map(|(size, last)| Bdat { size, last });
            assert_eq!(bdat(argument), expected, "{:?}", String::from_utf8_lossy(argument));
        }
    }
}
