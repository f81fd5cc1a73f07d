//! IMAP, before TLS and up to the login.

use super::Tell::{self, B, C, E};
use super::{BACKEND_ENDS, CLIENT_ENDS, CLIENT_TORN, DEADLINE, DRAIN, Seed, input};

const GREETING: Tell<'_> =
    B("* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED AUTH=PLAIN AUTH=SCRAM-SHA-256-PLUS] ready\r\n");

/// "\0alice\0Tr0ub4dor".
const PLAIN: &str = "AGFsaWNlAFRyMHViNGRvcg==";

pub(super) fn add(seeds: &mut Vec<Seed>) {
    preamble(seeds);
    dialogue(seeds);
}

fn preamble(seeds: &mut Vec<Seed>) {
    let cases: &[(&str, u8, &str)] = &[
        ("starttls", 0, "a CAPABILITY\r\nb STARTTLS\r\n"),
        ("injection_cve_2011_0411", 0, "a STARTTLS\r\n¦b LOGIN alice Tr0ub4dor\r\n"),
        ("injection_of_half_a_line", 0, "a STARTTLS\r\nb"),
        ("starttls_with_a_space", 0, "a STARTTLS \r\nb STARTTLS x\r\n"),
        ("starttls_by_bare_lf", 0, "a STARTTLS\nb NO¦OP\r\n"),
        ("small_talk", 0, "a NOOP\r\nb CAPABILITY\r\nc ID NIL\r\nd LOGOUT\r\n"),
        ("id", 0, "a ID (\"name\" \"x\" \"x-originating-ip\" \"192.0.2.1\")\r\nb ID (\"name\")\r\n"),
        ("login", 0, "a LOGIN alice Tr0ub4dor\r\n"),
        ("login_by_literals", 0, "a LOGIN {5}\r\nb NOOP\r\n"),
        ("login_by_octets_at_once", 0, "a LOGIN {5+}\r\nalice {9+}\r\nTr0ub4dor\r\n"),
        ("authenticate", 0, "a AUTHENTICATE PLAIN AGFsaWNlAFRyMHViNGRvcg==\r\n"),
        ("literal", 0, "a NOOP {3}\r\nb NOOP\r\n"),
        ("octets_at_once", 0, "a XYZ {3+}\r\nabc\r\n"),
        ("octets_behind_a_bad_tag", 0, "* XYZ {3+}\r\n"),
        ("no_command", 0, "\r\na\r\n a NOOP\r\na  NOOP\r\n+ NOOP\r\n"),
        ("select", 0, "a SELECT INBOX\r\nb FETCH 1 BODY[]\r\n"),
        ("nul_and_eight_bit", 0, "a NO\u{0}OP\r\na NOOP \u{e9}\r\na ID (\"n\" \"\u{0}\")\r\n"),
        ("bare_newlines", 0, "a NOOP\nb NO\rOP\r\nc NOOP\r\r\n"),
        ("quotes", 0, "a ID (\"a{3+}\" \"b\")\r\nb NOOP \"x\r\nc X \"{5+}\r\n"),
        ("parentheses", 0, "a X ‹(×5›\r\nb NOOP\r\n"),
        ("http", 0, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("tls_hello", 0, "\u{16}\u{3}\u{1}\u{2}\u{0}"),
        ("too_many_errors", 16, "\r\n\r\n\r\n\r\n"),
        ("line_too_long", 0, "a NOOP ‹x×13›\r\nb NOOP\r\n"),
        ("form_feeds_in_a_line_too_long", 0, "a NOOP‹\u{c}×13›\r\nb ID‹\r×13›x\r\n"),
        ("line_too_long_and_octets", 0, "a NOOP ‹x×13› {3+}\r\nabc\r\n"),
        ("line_without_end", 0, "a ‹x×17›"),
        ("tag_too_long", 0, "‹a×8› NOOP\r\n"),
        ("lower_case", 0, "a capability\r\nb starttls\r\n"),
        ("logout_and_more", 0, "a LOGOUT\r\nb NOOP\r\n"),
    ];
    for (name, settings, said) in cases {
        let input = input(*settings, &[C(said)]);
        seeds.push(Seed { target: "imap_preamble", name: (*name).to_owned(), input });
    }
}

fn dialogue(seeds: &mut Vec<Seed>) {
    let mut add = |name: &str, settings, told: &[Tell<'_>]| {
        let input = input(settings, told);
        seeds.push(Seed { target: "imap_dialogue", name: name.to_owned(), input });
    };
    let select = C("z SELECT INBOX\r\n");
    add(
        "login",
        1,
        &[
            GREETING,
            C("a LOGIN alice Tr0ub4dor\r\n"),
            B("a OK [CAPABILITY IMAP4rev1 STARTTLS] in\r\n"),
            select,
            B("* 3 EXISTS\r\n"),
        ],
    );
    add("login_quoted", 0, &[GREETING, C("a LOGIN \"al\\\"ice\" \"Tr0ub4dor\"\r\n"), B("a OK in\r\n")]);
    add(
        "login_by_literals",
        1,
        &[
            GREETING,
            C("a LOGIN {5}\r\n"),
            B("+ go\r\n"),
            C("alice {9}\r\n"),
            B("+ go\r\n"),
            C("Tr0ub4dor\r\n"),
            B("a OK in\r\n"),
            select,
        ],
    );
    add(
        "login_by_octets_at_once",
        1,
        &[GREETING, C("a LOGIN {5+}\r\nalice {9+}\r\nTr0ub4dor\r\n"), B("+ go\r\n"), B("+ go\r\n"), B("a OK in\r\n")],
    );
    add(
        "octets_at_once_refused",
        1,
        &[GREETING, C("a LOGIN {5+}\r\nalice {9+}\r\nTr0ub4dor\r\nb NOOP\r\n"), B("a BAD no\r\n"), B("b OK done\r\n")],
    );
    add(
        "octets_at_once_refused_midway",
        1,
        &[GREETING, C("a LOGIN {5+}\r\nalice {9+}\r\nb LOGOUT\r\n"), B("+ go\r\n"), B("a NO no\r\n")],
    );
    add("literal_refused", 1, &[GREETING, C("a LOGIN {5}\r\n"), B("a NO no\r\n"), C("b NOOP\r\n"), B("b OK done\r\n")]);
    add(
        "octets_at_once_refused_with_more_announced",
        1,
        &[GREETING, C("a X {3+}\r\nabc {5}\r\nb NOOP\r\n"), B("a NO no\r\n"), B("b OK done\r\n")],
    );
    add("literal_octets_too_early", 1, &[GREETING, C("a LOGIN {5}\r\nalice x\r\n"), B("a NO no\r\n")]);
    add(
        "empty_literals",
        1,
        &[GREETING, C("a LOGIN {0}\r\n"), B("+ go\r\n"), C(" {0+}\r\n\r\n"), B("+ go\r\n"), B("a NO no\r\n")],
    );
    add(
        "login_refused_and_again",
        1,
        &[
            GREETING,
            C("a LOGIN alice wrong\r\nb LOGIN alice Tr0ub4dor\r\n"),
            B("a NO [AUTHENTICATIONFAILED] no\r\n"),
            B("b OK in\r\n"),
        ],
    );
    add(
        "commands_behind_a_login_wait",
        1,
        &[
            GREETING,
            C("a LOGIN alice Tr0ub4dor\r\nb SELECT INBOX\r\n"),
            B("* CAPABILITY IMAP4rev1 LOGINDISABLED\r\n"),
            B("a OK in\r\n"),
        ],
    );
    add("login_without_a_name", 1, &[GREETING, C("a LOGIN  Tr0ub4dor\r\n"), B("a NO what\r\n")]);
    add("login_unavailable", 1, &[GREETING, C("a LOGIN alice Tr0ub4dor\r\n"), B("a NO [UNAVAILABLE] later\r\n")]);
    add(
        "authenticate",
        1,
        &[GREETING, C("a AUTHENTICATE PLAIN\r\n"), B("+ \r\n"), C(&format!("{PLAIN}\r\n")), B("a OK in\r\n"), select],
    );
    add("authenticate_at_once", 1, &[GREETING, C(&format!("a AUTHENTICATE PLAIN {PLAIN}\r\n")), B("a OK in\r\n")]);
    add(
        "authenticate_login",
        1,
        &[
            GREETING,
            C("a AUTHENTICATE LOGIN\r\n"),
            B("+ VXNlcm5hbWU6\r\n"),
            C("YWxpY2U=\r\n"),
            B("+ UGFzc3dvcmQ6\r\n"),
            C("VHIwdWI0ZG9y\r\n"),
            B("a OK in\r\n"),
        ],
    );
    add(
        "authenticate_cancelled",
        1,
        &[
            GREETING,
            C("a AUTHENTICATE PLAIN\r\n"),
            B("+ \r\n"),
            C("*\r\n"),
            B("a BAD no\r\n"),
            C("b NOOP\r\n"),
            B("b OK done\r\n"),
        ],
    );
    add(
        "authenticate_response_too_early",
        1,
        &[GREETING, C(&format!("a AUTHENTICATE PLAIN\r\n{PLAIN}\r\n")), B("a NO no\r\n")],
    );
    add("authenticate_with_a_literal", 1, &[GREETING, C("a AUTHENTICATE {5}\r\nb NOOP\r\n"), B("b OK done\r\n")]);
    add("authenticate_without_a_mechanism", 1, &[GREETING, C("a AUTHENTICATE\r\nb AUTHENTICATE \r\n")]);
    add(
        "authenticate_line_too_long",
        1,
        &[GREETING, C("a AUTHENTICATE PLAIN ‹A×13›\r\n"), B("a NO no\r\n"), C("b AUTHENTICATE PLAIN ‹A×14›\r\n")],
    );
    add(
        "id",
        1,
        &[
            GREETING,
            C("a ID (\"name\" \"x\" \"X-Originating-IP\" \"192.0.2.1\")\r\n"),
            B("* ID NIL\r\n"),
            B("a OK done\r\n"),
        ],
    );
    add("id_nil", 0, &[GREETING, C("a ID NIL\r\nb NOOP\r\n"), B("a OK done\r\n"), B("b OK done\r\n")]);
    add(
        "id_by_literals",
        1,
        &[GREETING, C("a ID ({16}\r\n"), C("x-originating-ip {9+}\r\n192.0.2.1)\r\n"), B("a OK done\r\n")],
    );
    add("id_malformed", 1, &[GREETING, C("a ID (\"name\")\r\nb ID (\"name\" {3}\r\nabc\r\n")]);
    add("id_too_large", 1, &[GREETING, C("a ID (\"n\" {9000}\r\n"), C("b ID (\"n\" {9000+}\r\n")]);
    add(
        "id_while_a_reply_is_owed",
        1,
        &[GREETING, C("a NOOP\r\nb ID NIL\r\n"), B("a OK done\r\n"), B("b OK done\r\n")],
    );
    add(
        "pipelined",
        1,
        &[
            GREETING,
            C("a NOOP\r\nb CAPABILITY\r\nc NOOP\r\n"),
            B("a OK done\r\n* CAPABILITY IMAP4rev1 STARTTLS\r\nb OK done\r\nc OK done\r\n"),
        ],
    );
    add("answers_in_another_order", 1, &[GREETING, C("a NOOP\r\nb NOOP\r\n"), B("b OK done\r\na OK done\r\n")]);
    add("the_same_tag_twice", 1, &[GREETING, C("a NOOP\r\na NOOP\r\n"), B("a OK done\r\n"), B("a OK done\r\n")]);
    add(
        "starttls_and_compress",
        1,
        &[GREETING, C("a STARTTLS\r\nb COMPRESS DEFLATE\r\n"), C("c NOOP\r\n"), B("c OK done\r\n")],
    );
    add(
        "own_refusals_in_their_place",
        1,
        &[GREETING, C("a NOOP\r\nb STARTTLS\r\n\r\nc NOOP\r\n"), B("a OK done\r\n"), B("c OK done\r\n")],
    );
    add("logout", 1, &[GREETING, C("a LOGOUT\r\n"), B("* BYE bye\r\n"), B("a OK done\r\n"), E(BACKEND_ENDS)]);
    add("greeting_preauth", 1, &[B("* PREAUTH hello root\r\n"), C("a NOOP\r\n")]);
    add("greeting_bye", 1, &[B("* BYE [UNAVAILABLE] no\r\n")]);
    add("greeting_of_another_protocol", 0, &[B("220 mx ESMTP\r\n")]);
    add(
        "greeting_swallowed",
        0,
        &[GREETING, C("a CAPABILITY\r\n"), B("* CAPABILITY IMAP4rev1 STARTTLS AUTH=X-PLUS\r\na OK done\r\n")],
    );
    add("unasked_continuation", 1, &[GREETING, C("a NOOP\r\n"), B("+ more\r\n"), C("x\r\n")]);
    add("unasked_tag", 1, &[GREETING, C("a NOOP\r\n"), B("b OK done\r\n")]);
    add(
        "response_with_literals",
        1,
        &[GREETING, C("a NOOP\r\n"), B("* LIST () \"/\" {5}\r\na OK ¦x {3}\r\nabc\r\na OK done\r\n")],
    );
    add("response_text_that_looks_like_a_literal", 1, &[GREETING, C("a NOOP\r\n"), B("* OK {5}\r\na OK {5}\r\n")]);
    add("response_endless", 1, &[GREETING, C("a NOOP\r\n"), B("* OK ‹x×17›\r\n")]);
    add("response_broken", 1, &[GREETING, C("a NOOP\r\n"), B("* OK x\ny\r\n")]);
    add(
        "literal_of_2_to_the_64",
        1,
        &[GREETING, C("a LOGIN {18446744073709551616}\r\n"), C("b LOGIN {4294967301+}\r\nalice\r\n")],
    );
    add("literal_beyond_its_cap", 1, &[GREETING, C("a LOGIN {8193}\r\n"), C("b LOGIN {4097+}\r\n")]);
    add(
        "literal_at_its_cap",
        1,
        &[
            GREETING,
            C("a LOGIN {4096+}\r\n‹u×12› {3}\r\n"),
            B("+ go\r\n"),
            B("+ go\r\n"),
            C("pwd\r\n"),
            B("a OK in\r\n"),
        ],
    );
    add(
        "literal_with_leading_zeros",
        1,
        &[GREETING, C("a LOGIN {05}\r\nb LOGIN {-5}\r\nc LOGIN { 5}\r\nd LOGIN {}\r\n")],
    );
    add(
        "literal_in_quotes",
        1,
        &[GREETING, C("a LOGIN \"{5}\" \"{5+}\"\r\n"), B("a NO no\r\n"), C("b LOGIN \"x {5}\r\n")],
    );
    add("literal_glued_to_an_atom", 1, &[GREETING, C("a LOGIN x{5}\r\n"), C("b LOGIN x{5+}\r\nalice\r\n")]);
    add(
        "seventeen_literals",
        1,
        &[
            GREETING,
            C("a X {1}\r\n"),
            B("+ \r\n"),
            C("a {1}\r\n"),
            B("+ \r\n"),
            C("b ({1}\r\n"),
            B("+ \r\n"),
            C("c)\r\n"),
            B("a BAD x\r\n"),
        ],
    );
    add("parentheses", 1, &[GREETING, C("a X ‹(×5›\r\n"), C("b X ((((((((a))))))))\r\n"), B("b BAD x\r\n")]);
    add("line_too_long", 1, &[GREETING, C("a NOOP ‹x×13›\r\nb NOOP\r\n"), B("b OK done\r\n")]);
    add("line_too_long_and_octets", 1, &[GREETING, C("a NOOP ‹x×13› {3+}\r\nabc\r\n")]);
    add("too_many_errors", 17, &[GREETING, C("a X\r\nb Y\r\n\r\n\r\n"), B("a BAD x\r\n"), B("b BAD x\r\n")]);
    add("http", 1, &[GREETING, C("GET / HTTP/1.1\r\n\r\n")]);
    add("bare_newlines", 1, &[GREETING, C("a NOOP\nb NO\rOP\r\n"), C("c LOGIN {1}\r\n"), B("+ \r\n"), C("xy\nz\r\n")]);
    add("client_ends", 1, &[GREETING, C("a NOOP\r\n"), E(CLIENT_ENDS), B("a OK done\r\n")]);
    add("client_torn_in_a_literal", 1, &[GREETING, C("a LOGIN {5}\r\n"), B("+ \r\n"), C("al"), E(CLIENT_TORN)]);
    add("backend_ends_before_its_greeting", 0, &[C("a LOGIN alice Tr0ub4dor\r\n"), E(BACKEND_ENDS)]);
    add("deadline", 1, &[GREETING, C("a LOGIN {5}\r\n"), E(DEADLINE)]);
    add("drain", 1, &[GREETING, C("a LOGIN alice Tr0ub4dor\r\n"), E(DRAIN)]);
    add(
        "names_with_controls",
        1,
        &[
            GREETING,
            C("a LOGIN \"al\u{1b}[31mice\" x\r\n"),
            B("a NO no\r\n"),
            C("b LOGIN {7}\r\n"),
            B("+ \r\n"),
            C("a\r\nb\u{0}\u{7f}c x\r\n"),
            B("b NO no\r\n"),
        ],
    );
}
