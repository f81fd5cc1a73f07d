//! The talk before TLS.

use super::*;

#[test]
fn the_greeting_offers_starttls_and_no_login() {
    let mut to_client = BytesMut::new();
    Imap.preamble(&context("imap")).greet(&mut to_client);
    assert_eq!(to_client, "* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] gate.example Sealgate ready\r\n");
}

#[test]
fn rfc9051_6_1_and_6_2_1_five_commands_lead_on() {
    let cases: &[(&str, &str, &str)] = &[
        ("a CAPABILITY\r\n", "* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\r\na OK CAPABILITY completed\r\n", "more"),
        ("a capability\r\n", "* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\r\na OK CAPABILITY completed\r\n", "more"),
        ("a NOOP\r\nb NOOP\r\n", "a OK NOOP completed\r\nb OK NOOP completed\r\n", "more"),
        ("a ID NIL\r\n", "* ID (\"name\" \"Sealgate\")\r\na OK ID completed\r\n", "more"),
        ("a ID (\"name\" \"x\")\r\n", "* ID (\"name\" \"Sealgate\")\r\na OK ID completed\r\n", "more"),
        ("a LOGOUT\r\n", "* BYE gate.example says goodbye\r\na OK LOGOUT completed\r\n", "close"),
        ("a STARTTLS\r\n", "a OK Begin TLS negotiation now\r\n", "starttls"),
        ("a NOOP\r\nb STARTTLS\r\n", "a OK NOOP completed\r\nb OK Begin TLS negotiation now\r\n", "starttls"),
    ];
    for (input, answer, end) in cases {
        let heard = preamble(input.as_bytes());
        assert_eq!((heard.to_client.as_str(), heard.end, heard.left.as_str()), (*answer, *end, ""), "{input:?}");
    }
}

#[test]
fn refused_commands_are_answered_and_the_session_goes_on() {
    let cases: &[(&str, &str)] = &[
        ("a LOGIN x y\r\n", "a NO [PRIVACYREQUIRED] Please begin TLS with STARTTLS, then log in\r\n"),
        ("a login {5}\r\n", "a NO [PRIVACYREQUIRED] Please begin TLS with STARTTLS, then log in\r\n"),
        ("a AUTHENTICATE PLAIN\r\n", "a NO [PRIVACYREQUIRED] Please begin TLS with STARTTLS, then log in\r\n"),
        ("a AUTHENTICATE PLAIN AHgAeQ==\r\n", "a NO [PRIVACYREQUIRED] Please begin TLS with STARTTLS, then log in\r\n"),
        ("a STARTTLS x\r\n", "a BAD This command takes no arguments\r\n"),
        ("a STARTTLS STARTTLS\r\n", "a BAD This command takes no arguments\r\n"),
        ("a STARTTLS \r\n", "a BAD This command takes no arguments\r\n"),
        ("a NOOP x\r\n", "a BAD This command takes no arguments\r\n"),
        ("a LOGOUT x\r\n", "a BAD This command takes no arguments\r\n"),
        ("a ID\r\n", "a BAD ID takes NIL or a list of strings in pairs\r\n"),
        ("a ID (\"x\")\r\n", "a BAD ID takes NIL or a list of strings in pairs\r\n"),
        ("a ID ({4}\r\n", "a BAD No literals before STARTTLS\r\n"),
        ("a SELECT {5}\r\n", "a BAD No literals before STARTTLS\r\n"),
        ("a SELECT INBOX\r\n", "a BAD Please begin TLS with STARTTLS first\r\n"),
        ("a XYZZY\r\n", "a BAD Please begin TLS with STARTTLS first\r\n"),
        ("a ENABLE IMAP4rev2\r\n", "a BAD Please begin TLS with STARTTLS first\r\n"),
        ("a NOOP {05}\r\n", "a BAD Malformed literal\r\n"),
        ("a NOOP \"x\r\n", "a BAD Quoted string without an end\r\n"),
        ("a NOOP\n", "a BAD A line ends in CRLF and holds neither alone (openssl s_client: add -crlf)\r\n"),
        ("a NO\rOP\r\n", "a BAD A line ends in CRLF and holds neither alone (openssl s_client: add -crlf)\r\n"),
        ("a ID (\"\0\" NIL)\r\n", "a BAD NUL octet in a command\r\n"),
        ("a ID (\"\u{e9}\" NIL)\r\n", "a BAD Octets outside ASCII in a command\r\n"),
        ("a\r\n", "a BAD A command is a tag, a space and a name\r\n"),
        ("a  NOOP\r\n", "a BAD A command is a tag, a space and a name\r\n"),
        ("\r\n", "* BAD A command is a tag, a space and a name\r\n"),
        ("+ NOOP\r\n", "* BAD A command is a tag, a space and a name\r\n"),
        ("a\u{e9} NOOP\r\n", "* BAD A command is a tag, a space and a name\r\n"),
        ("\ta NOOP\r\n", "* BAD A command is a tag, a space and a name\r\n"),
        ("EHLO there\r\n", "EHLO BAD Please begin TLS with STARTTLS first\r\n"),
    ];
    for (input, answer) in cases {
        let heard = preamble(format!("{input}n NOOP\r\n").as_bytes());
        assert_eq!(heard.to_client, format!("{answer}n OK NOOP completed\r\n"), "{input:?}");
        assert_eq!(heard.end, "more", "{input:?}");
        let counted = |event: &&Event| matches!(event, Event::Command { ok: false, .. } | Event::Refused(_));
        assert_eq!(heard.events.iter().filter(counted).count(), 2, "{input:?}");
    }
}

#[test]
fn octets_that_would_run_as_commands_end_the_session() {
    let cases: &[&str] = &[
        "a LOGIN {11+}\r\nb STARTTLS\r\n",
        "a NOOP {11+}\r\nb STARTTLS\r\n",
        "a ID ({11+}\r\nb STARTTLS\r\n",
        "a STARTTLS {11+}\r\nb STARTTLS\r\n",
        "a X {011+}\r\nb STARTTLS\r\n",
        "a X \"{11+}\r\nb STARTTLS\r\n",
        "a  X {11+}\nb STARTTLS\r\n",
        "+ {11+}\r\nb STARTTLS\r\n",
    ];
    for input in cases {
        let heard = preamble(input.as_bytes());
        assert_eq!(heard.to_client, "* BYE No literals before STARTTLS\r\n", "{input:?}");
        assert_eq!(heard.end, "octets sent behind a refused command");
    }
}

#[test]
fn other_protocols_are_turned_away_at_once() {
    let cases: &[(&[u8], &str, &str)] = &[
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "* BYE This is an IMAP server\r\n", "HTTP request on an IMAP port"),
        (b"POST /x HTTP/1.1\n", "* BYE This is an IMAP server\r\n", "HTTP request on an IMAP port"),
        (b"PATCH /x HTTP/1.1\r\n", "* BYE This is an IMAP server\r\n", "HTTP request on an IMAP port"),
        (
            b"\r\nX-Mine /x HTTP/1.1\r\n",
            "* BAD A command is a tag, a space and a name\r\n* BYE This is an IMAP server\r\n",
            "HTTP request on an IMAP port",
        ),
        (b"\x16\x03\x01\x02\x00\x01", "", "TLS handshake on a cleartext port"),
        (b"\x16\xfe\xff\0\0", "* BYE This is an IMAP server\r\n", "binary protocol on an IMAP port"),
        (b"\xc3\xa9 NOOP\r\n", "* BYE This is an IMAP server\r\n", "binary protocol on an IMAP port"),
        (b"\0\x03\0\x58\r\na LOGIN x y\r\n", "* BYE This is an IMAP server\r\n", "binary protocol on an IMAP port"),
    ];
    for (input, answer, end) in cases {
        let heard = preamble(input);
        assert_eq!((heard.to_client.as_str(), heard.end), (*answer, *end), "{:?}", text(input));
    }
    let mut endless = b"GET /".to_vec();
    endless.resize(9000, b'x');
    assert_eq!(preamble(&endless).end, "HTTP request on an IMAP port");
}

#[test]
fn a_long_line_is_refused_and_an_endless_one_ends_the_session() {
    let long = |octets: usize, end: &str| {
        let mut line = b"a NOOP ".to_vec();
        line.resize(octets - end.len(), b'x');
        line.extend_from_slice(end.as_bytes());
        line.extend_from_slice(b"n NOOP\r\n");
        preamble(&line)
    };
    assert_eq!(long(8192, "\r\n").to_client, "a BAD This command takes no arguments\r\nn OK NOOP completed\r\n");
    for octets in [8193, 20_000, 65_536] {
        assert_eq!(long(octets, "\r\n").to_client, "a BAD Line too long\r\nn OK NOOP completed\r\n", "{octets}");
    }
    assert_eq!(long(8193, "\n").to_client, "a BAD Line too long\r\nn OK NOOP completed\r\n");
    let heard = long(65_537, "\r\n");
    assert_eq!((heard.to_client.as_str(), heard.end), ("* BYE Line too long\r\n", "line too long"));
    assert_eq!(long(20_000, " {8+}\r\n").end, "octets sent behind a refused command");
}

#[test]
fn too_many_errors_end_the_session() {
    let heard = preamble(b"a X\r\nb NOOP\r\nc LOGIN x y\r\n\r\nd NOOP\r\n");
    let last = "* BAD A command is a tag, a space and a name\r\n* BYE Too many errors\r\n";
    assert!(heard.to_client.ends_with(last), "{:?}", heard.to_client);
    assert_eq!(heard.end, "too many errors");
}

#[test]
fn cve_2011_0411_what_follows_starttls_is_left_for_the_driver_to_refuse() {
    let heard = preamble(b"a STARTTLS\r\nb NOOP\r\n");
    assert_eq!((heard.end, heard.left.as_str()), ("starttls", "b NOOP\r\n"));
}

#[test]
fn commands_are_counted_by_name() {
    let heard = preamble(b"a NOOP\r\nb LOGIN x secret\r\nc STARTTLS\r\n");
    let command = |name, ok| Event::Command { name, ok };
    let refused = Event::Refused(super::super::reasons::LOGIN_IN_CLEARTEXT.reason);
    assert_eq!(heard.events, [command("noop", true), command("login", false), refused, command("starttls", true)]);
}

proptest::proptest! {
    #[test]
    fn any_cutting_of_any_cleartext_gives_the_same(
        parts in proptest::collection::vec(
            "a NOOP\r\n|b STARTTLS\r\n|c X \\{[0-9]{0,3}\\+?\\}\r\n|\r|\n|[ -~]{0,6}|\"|GET /|\u{16}\u{3}|d ID NIL\r\n", 0..12),
        cut in 1_usize..9,
    ) {
        let input = parts.concat();
        let whole = preamble_cut(input.as_bytes(), usize::MAX);
        let mut pieces = preamble_cut(input.as_bytes(), cut);
        pieces.left.clone_from(&whole.left);
        proptest::prop_assert_eq!(pieces, whole);
    }
}
