//! SMTP, before TLS and after it.

use super::Tell::{self, B, C, E};
use super::{BACKEND_ENDS, CLIENT_ENDS, CLIENT_TORN, DEADLINE, DRAIN, Seed, TOO_SLOW, input};

const OFFER: &str = "250-mx\r\n250-PIPELINING\r\n250-CHUNKING\r\n250-STARTTLS\r\n250-AUTH PLAIN LOGIN SCRAM-SHA-256-PLUS\r\n250 SMTPUTF8\r\n";

/// Greeting and EHLO.
const HELLO: [Tell<'_>; 3] = [B("220 mx #\r\n"), C("EHLO c\r\n"), B(OFFER)];

/// MAIL and one RCPT.
const ENVELOPE: [Tell<'_>; 4] =
    [C("MAIL FROM:<a@b>\r\n"), B("250 m #\r\n"), C("RCPT TO:<r@example.com>\r\n"), B("250 r #\r\n")];

/// "\0alice\0Tr0ub4dor", "alice", "Tr0ub4dor", and XOAUTH2's "user=alice^Aauth=Bearer Tr0ub4dor^A^A".
const PLAIN: &str = "AGFsaWNlAFRyMHViNGRvcg==";
const XOAUTH2: &str = "dXNlcj1hbGljZQFhdXRoPUJlYXJlciBUcjB1YjRkb3IBAQ==";

pub(super) fn add(seeds: &mut Vec<Seed>) {
    preamble(seeds);
    dialogue(seeds);
    content(seeds);
}

fn preamble(seeds: &mut Vec<Seed>) {
    let cases: &[(&str, u8, &str)] = &[
        ("starttls", 0, "EHLO c\r\nSTARTTLS\r\n"),
        ("starttls_at_once", 1, "STARTTLS\r\n"),
        ("injection_cve_2011_0411", 0, "EHLO c\r\nSTARTTLS\r\n¦RSET\r\nMAIL FROM:<a@b>\r\n"),
        ("injection_of_half_a_line", 1, "STARTTLS\r\nX"),
        ("starttls_with_a_parameter", 1, "STARTTLS now\r\nQUIT\r\n"),
        ("starttls_by_bare_lf", 1, "STARTTLS\nEHLO c\r\n"),
        ("starttls_by_cr_cr_lf", 1, "STARTTLS\r\r\nSTART¦TLS\r\n"),
        ("stays_plain", 0, "EHLO c.example\r\nMAIL FROM:<a@b>\r\nRCPT TO:<r@x>\r\n"),
        ("stays_plain_after_helo", 0, "HELO c\r\nEHLO d\r\nRSET\r\nMAIL FROM:<>\r\n"),
        ("stays_plain_without_hello", 0, "MAIL FROM:<a@b>\r\n"),
        ("unknown_verb", 0, "WHAT now\r\n"),
        ("submission_demands_tls", 1, "EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<r@x>\r\nDATA\r\nWHAT\r\n"),
        ("auth_before_tls", 1, "EHLO c\r\nAUTH PLAIN AGFsaWNlAFRyMHViNGRvcg==\r\n"),
        ("auth_on_25", 0, "EHLO c\r\nAUTH LOGIN\r\nQUIT\r\n"),
        ("bdat_before_tls", 1, "EHLO c\r\nBDAT 5 LAST\r\nhello"),
        ("small_talk", 0, "NOOP\r\nVRFY a\r\nHELP\r\nRSET\r\nQUIT\r\n"),
        ("hello_without_a_name", 0, "EHLO\r\nHELO \r\nEHLO c\r\n"),
        ("forbidden", 0, "XCLIENT ADDR=192.0.2.1\r\nXFORWARD NAME=x\r\nPROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\nTURN\r\n"),
        ("http", 0, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("http_by_bare_lf", 1, "POST / HTTP/1.1\nHost: x\n\n"),
        ("tls_hello", 0, "\u{16}\u{3}\u{1}\u{2}\u{0}"),
        ("controls", 0, "NO\u{0}OP\r\nEHLO \u{1b}[31m\r\n NOOP\r\n\r\n"),
        ("bare_newlines", 0, "NOOP\nNO\rOP\r\nNOOP\r\r\n"),
        ("too_many_errors", 16, "\r\n\r\n\r\n\r\n"),
        ("line_at_the_limit", 0, "NOOP ‹a×10›‹b×9›‹c×8›‹d×7›‹e×6›‹f×5›‹g×4›‹h×3›i\r\nQUIT\r\n"),
        ("line_beyond_the_limit", 0, "NOOP ‹a×11›\r\nQUIT\r\n"),
        ("line_without_end", 0, "NOOP ‹a×17›"),
        ("long_auth", 1, "AUTH PLAIN ‹A×13›\r\nQUIT\r\n"),
        ("hello_in_utf_8", 0, "EHLO m\u{fc}ller\r\nSTARTTLS\r\n"),
        ("lower_case", 0, "ehlo c\r\nstarttls\r\n"),
        ("form_feed_before_the_newline", 0, "EHLO c \u{c}\r\nSTARTTLS \u{c}\r\nMAIL FROM:<a@b>\u{c}\r\n"),
        ("tabs", 0, "EHLO\tc\r\nNOOP\t\r\nSTARTTLS\t\r\n"),
    ];
    for (name, settings, said) in cases {
        let input = input(*settings, &[C(said)]);
        seeds.push(Seed { target: "smtp_preamble", name: (*name).to_owned(), input });
    }
}

fn dialogue(seeds: &mut Vec<Seed>) {
    let mut add = |name: &str, settings, parts: &[&[Tell<'_>]]| {
        let input = input(settings, &parts.concat());
        seeds.push(Seed { target: "smtp_dialogue", name: name.to_owned(), input });
    };
    let quit = [C("QUIT\r\n"), B("221 bye #\r\n"), E(BACKEND_ENDS)];
    let greeted = [HELLO.as_slice(), &ENVELOPE].concat();
    add(
        "message",
        0,
        &[
            &greeted,
            &[C("DATA\r\n"), B("354 go #\r\n"), C("Subject: x\r\n\r\nhi\r\n.\r\n"), B("250 taken #\r\n")],
            &quit,
        ],
    );
    add(
        "message_refused",
        1,
        &[&greeted, &[C("DATA\r\n"), B("354 go #\r\n"), C("x\r\n.\r\n"), B("550 no #\r\n")], &quit],
    );
    add("data_refused", 0, &[&HELLO, &[C("DATA\r\n"), B("503 no #\r\n"), C("NOOP\r\n"), B("250 ok #\r\n")]]);
    add("content_behind_a_refused_data", 0, &[&HELLO, &[C("DATA\r\nMAIL FROM:<a@b>\r\n"), B("503 no #\r\n")]]);
    add("content_ahead_of_354", 0, &[&greeted, &[C("DATA\r\nhi\r\n.\r\n"), B("354 go #\r\n"), B("250 taken #\r\n")]]);
    add("data_answered_by_250", 0, &[&greeted, &[C("DATA\r\n"), B("250 hm #\r\n")]]);
    add(
        "pipelined",
        1,
        &[
            &HELLO,
            &[C("MAIL FROM:<a@b>\r\nRCPT TO:<r@x>\r\nRCPT TO:<s@x>\r\nDATA\r\n")],
            &[
                B("250 m #\r\n250 r #\r\n550 s #\r\n354 go #\r\n"),
                C("hi\r\n.\r\nMAIL FROM:<c@d>\r\n"),
                B("250 taken #\r\n250 m #\r\n"),
            ],
        ],
    );
    add(
        "refusals_in_their_place",
        1,
        &[
            &HELLO,
            &[
                C("NOOP\r\nXCLIENT ADDR=192.0.2.1\r\nNOOP\r\nBAD\u{0}\r\nSTARTTLS\r\nNOOP\r\n"),
                B("250 one #\r\n250 two #\r\n"),
                B("250 three #\r\n"),
            ],
        ],
    );
    add(
        "chunks",
        0,
        &[&greeted, &[C("BDAT 3\r\nabc"), B("250 chunk #\r\n"), C("BDAT 2 LAST\r\nde"), B("250 taken #\r\n")], &quit],
    );
    add(
        "chunks_pipelined",
        0,
        &[
            &greeted,
            &[C("BDAT 3\r\nabcBDAT 0\r\nBDAT 2 LAST\r\ndeRSET\r\n"), B("250 c #\r\n250 c #\r\n250 t #\r\n250 r #\r\n")],
        ],
    );
    add(
        "chunks_behind_an_open_envelope",
        0,
        &[
            &HELLO,
            &[
                C("MAIL FROM:<a@b>\r\nRCPT TO:<r@x>\r\nBDAT 4 LAST\r\n x\r\n"),
                B("250 m #\r\n250 r #\r\n"),
                B("250 t #\r\n"),
            ],
        ],
    );
    add(
        "chunk_refused",
        0,
        &[
            &greeted,
            &[C("BDAT 3\r\nabcBDAT 2 LAST\r\nde"), B("550 no #\r\n503 no #\r\n"), C("RSET\r\n"), B("250 r #\r\n")],
        ],
    );
    add(
        "chunk_without_chunking",
        0,
        &[
            &[B("220 mx #\r\n"), C("EHLO c\r\n"), B("250 mx #\r\n")],
            &ENVELOPE,
            &[C("BDAT 8 LAST\r\nRSET\r\n\r\nNOOP\r\n"), B("250 ok #\r\n")],
        ],
    );
    add("chunk_without_a_size", 0, &[&greeted, &[C("BDAT x\r\nabc")]]);
    add("chunk_of_2_to_the_63", 0, &[&greeted, &[C("BDAT 9223372036854775808\r\nabc"), B("552 no #\r\n")]]);
    add("chunk_with_leading_zeros", 0, &[&greeted, &[C("bdat 003 last\r\nabc"), B("250 t #\r\n")]]);
    add("auth_plain", 1, &[&HELLO, &[C(&format!("AUTH PLAIN {PLAIN}\r\n")), B("235 in #\r\n")], &ENVELOPE]);
    add(
        "auth_plain_refused",
        2,
        &[&HELLO, &[C("AUTH PLAIN\r\n"), B("334 \r\n"), C(&format!("{PLAIN}\r\n")), B("535 no #\r\n")]],
    );
    add(
        "auth_login",
        1,
        &[
            &HELLO,
            &[
                C("AUTH LOGIN\r\n"),
                B("334 VXNlcm5hbWU6\r\n"),
                C("YWxpY2U=\r\n"),
                B("334 UGFzc3dvcmQ6\r\n"),
                C("VHIwdWI0ZG9y\r\n"),
                B("235 in #\r\n"),
            ],
        ],
    );
    add("auth_xoauth2", 1, &[&HELLO, &[C(&format!("AUTH XOAUTH2 {XOAUTH2}\r\n")), B("235 in #\r\n")]]);
    add(
        "auth_cancelled",
        1,
        &[
            &HELLO,
            &[C("AUTH LOGIN\r\n"), B("334 x\r\n"), C("*\r\n"), B("501 no #\r\n"), C("NOOP\r\n"), B("250 ok #\r\n")],
        ],
    );
    add("auth_response_too_early", 1, &[&HELLO, &[C(&format!("AUTH PLAIN\r\n{PLAIN}\r\n")), B("503 no #\r\n")]]);
    add(
        "auth_response_by_bare_lf",
        1,
        &[&HELLO, &[C("AUTH PLAIN\r\n"), B("334 \r\n"), C("x\ny\r\n"), B("501 no #\r\n")]],
    );
    add(
        "auth_password_behind_a_cancelled_response",
        1,
        &[
            &HELLO,
            &[C("AUTH LOGIN\r\n"), B("334 x\r\n"), C("YWxp\rY2U=\r\n"), B("334 y\r\n")],
            &[C("VHIwdWI0ZG9y\r\n"), B("235 in #\r\n")],
        ],
    );
    add(
        "hello_too_long_for_its_line",
        0,
        &[
            &[B("220 mx #\r\n"), C("EHLO ‹a×6›.example\r\n"), B(OFFER)],
            &ENVELOPE,
            &[C("DATA\r\n"), B("354 go #\r\n"), C("x\r\n.\r\n"), B("250 taken #\r\n")],
        ],
    );
    add("auth_hidden_on_25", 0, &[&HELLO, &[C("AUTH PLAIN\r\n"), C("NOOP\r\n"), B("250 ok #\r\n")]]);
    add(
        "auth_response_too_long",
        1,
        &[&HELLO, &[C("AUTH PLAIN\r\n"), B("334 \r\n"), C("‹A×14›\r\n"), B("501 no #\r\n")]],
    );
    add(
        "auth_response_too_long_in_two_reads",
        1,
        &[&HELLO, &[C("AUTH PLAIN\r\n"), B("334 \r\n"), C("‹A×14›"), C("A\r\n"), B("501 no #\r\n")]],
    );
    add(
        "auth_line_that_an_old_postfix_cuts",
        1,
        &[&HELLO, &[C("AUTH PLAIN ‹A×11›RSET foo\r\n"), C("AUTH PLAIN ‹A×12›\r\n"), B("535 no #\r\n")]],
    );
    add("plaintext_with_hello", 3, &[&[B("220 mx #\r\n"), B("250-mx\r\n250 CHUNKING\r\n")], &ENVELOPE, &quit]);
    add("plaintext_without_hello", 4, &[&[B("220 mx #\r\n")], &ENVELOPE]);
    add("plaintext_with_helo", 5, &[&[B("220 mx #\r\n"), B("250 mx #\r\n"), C("STARTTLS\r\n")], &ENVELOPE]);
    add("hello_refused_in_replay", 3, &[&[B("220 mx #\r\n"), B("550 no #\r\n"), C("MAIL FROM:<a@b>\r\n")]]);
    add("implicit_tls_greeting", 2, &[&HELLO, &[C("QUIT\r\n"), B("221 bye #\r\n")]]);
    add("backend_refuses_by_its_greeting", 0, &[&[B("554-no\r\n554 no #\r\n"), C("EHLO c\r\n")]]);
    add("backend_refuses_and_client_quits", 1, &[&[B("421 no #\r\n"), C("QUIT\r\n")]]);
    add("backend_refuses_on_implicit_tls", 2, &[&[B("554 no #\r\n"), C("EHLO c\r\n")]]);
    add("backend_never_there", 0, &[&[E(BACKEND_ENDS), C("EHLO c\r\nNOOP\r\n")]]);
    add(
        "backend_gone_in_content",
        0,
        &[&greeted, &[C("DATA\r\n"), B("354 go #\r\n"), C("hal"), E(BACKEND_ENDS), C("f\r\n.\r\n")]],
    );
    add(
        "backend_closes_behind_content",
        0,
        &[&greeted, &[C("DATA\r\n"), B("354 go #\r\n"), C("x\r\n.\r\n"), B("421 later #\r\n")]],
    );
    add(
        "backend_refuses_within_content",
        0,
        &[&greeted, &[C("DATA\r\n"), B("354 go #\r\n"), C("x\r\n"), B("552 full #\r\n"), C("y\r\n.\r\n")]],
    );
    add("backend_says_what_nobody_asked", 1, &[&HELLO, &[B("250 hm #\r\n"), C("NOOP\r\n")]]);
    add("backend_says_half_a_reply", 0, &[&HELLO, &[C("NOOP\r\n"), B("250-ha¦lf\r\n25"), E(BACKEND_ENDS)]]);
    add("backend_says_nonsense", 0, &[&HELLO, &[C("NOOP\r\n"), B("OK\r\n")]]);
    add("backend_changes_its_code", 0, &[&HELLO, &[C("NOOP\r\n"), B("250-a\r\n550 b\r\n")]]);
    add("backend_opens_a_raw_exchange", 0, &[&HELLO, &[C("WHAT\r\n"), B("354 go on #\r\n"), C("raw\r\n")]]);
    add("backend_says_bare_lf", 0, &[&HELLO, &[C("NOOP\r\n"), B("250 a\n")]]);
    add("backend_says_an_endless_reply", 0, &[&HELLO, &[C("NOOP\r\n"), B("250-‹a×17›\r\n")]]);
    add("client_ends", 0, &[&HELLO, &[C("NOOP\r\n"), E(CLIENT_ENDS), B("250 ok #\r\n")]]);
    add("client_ends_in_content", 0, &[&greeted, &[C("DATA\r\n"), B("354 go #\r\n"), C("hi\r\n"), E(CLIENT_ENDS)]]);
    add("client_torn_in_a_chunk", 0, &[&greeted, &[C("BDAT 5 LAST\r\nabc"), E(CLIENT_TORN)]]);
    add("deadline", 0, &[&HELLO, &[E(DEADLINE)]]);
    add(
        "drain_behind_content",
        0,
        &[&greeted, &[C("DATA\r\n"), B("354 go #\r\n"), C("x\r\n.\r\n"), E(DRAIN), B("250 taken #\r\n")]],
    );
    add(
        "content_that_drips_in",
        0,
        &[&greeted, &[C("DATA\r\n"), B("354 go #\r\n"), C("dr"), E(TOO_SLOW), C("ip\r\n.\r\n")]],
    );
    add("too_many_errors", 17, &[&HELLO, &[C("NOOP\r\n\r\n\r\n\r\nNOOP\r\n"), B("250 ok #\r\n")]]);
    add("errors_of_the_backend", 17, &[&HELLO, &[C("A\r\nB\r\nC\r\nD\r\n"), B("500 a #\r\n500 b #\r\n500 c #\r\n")]]);
    add(
        "bare_newlines_normalized",
        0,
        &[&greeted, &[C("DATA\r\n"), B("354 go #\r\n"), C("a\n.\nb\r.\r\n\r\n.\r\n"), B("250 taken #\r\n")]],
    );
    add(
        "bare_newlines_rejected",
        8,
        &[&greeted, &[C("DATA\r\n"), B("354 go #\r\n"), C("a\n.\r\nMAIL FROM:<x@y>\r\n.\r\n")]],
    );
    add("bare_newlines_in_commands", 0, &[&HELLO, &[C("NOOP\nNOOP\r\n"), B("250 ok #\r\n"), C("NO\rOP\r\n")]]);
    add(
        "forbidden",
        0,
        &[
            &HELLO,
            &[C("XCLIENT A=1\r\nXFORWARD A\r\nPROXY x\r\nBURL x\r\nTURN\r\nATRN\r\nXEXCH50 1\r\n XCLIENT x\r\n")],
        ],
    );
    add(
        "binarymime",
        0,
        &[
            &HELLO,
            &[C("MAIL FROM:<a@b> BODY=BINARYMIME\r\nMAIL FROM:<a@b> BODY=8BITMIME SMTPUTF8\r\n"), B("250 m #\r\n")],
        ],
    );
    add("http", 2, &[&HELLO, &[C("NOOP\r\nGET / HTTP/1.1\r\n"), B("250 ok #\r\n")]]);
    add("line_too_long", 0, &[&HELLO, &[C("NOOP ‹a×12›\r\nNOOP\r\n"), B("250 ok #\r\n")]]);
    add("line_without_end", 0, &[&HELLO, &[C("‹a×17›")]]);
    add("hello_twice", 0, &[&HELLO, &[C("HELO d\r\n"), B("250 mx #\r\n"), C("BDAT 1 LAST\r\nx")]]);
    add(
        "hello_with_strange_letters",
        1,
        &[
            &[B("220 mx #\r\n"), C("EHLO [1.2.3.4]\u{e9}(x)\r\n"), B(OFFER)],
            &ENVELOPE,
            &[C("DATA\r\n"), B("354 go #\r\n"), C(" folded\r\n.\r\n"), B("250 taken #\r\n")],
        ],
    );
}

fn content(seeds: &mut Vec<Seed>) {
    let bodies: &[(&str, &str)] = &[
        ("plain", "Subject: x\r\n\r\nhello\r\n"),
        ("empty", ""),
        ("ended_by_itself", "a\r\n.\r\nRSET\r\n"),
        ("lf_dot_lf", "a\n.\nMAIL FROM:<x@y>\r\n"),
        ("lf_dot_crlf", "a\n.\r\nMAIL FROM:<x@y>\r\nRCPT TO:<z@x>\r\nDATA\r\nsmuggled\r\n.\r\n"),
        ("crlf_dot_lf", "a\r\n.\nMAIL FROM:<x@y>\r\n"),
        ("cr_dot_cr", "a\r.\rMAIL FROM:<x@y>\r\n"),
        ("cr_dot_crlf", "a\r.\r\nMAIL FROM:<x@y>\r\n"),
        ("crlf_dot_cr", "a\r\n.\rMAIL FROM:<x@y>\r\n"),
        ("lf_dot_cr_lf_cut", "a\n¦.¦\r¦\nb\r\n"),
        ("cr_cr_lf_dot_crlf", "a\r\r\n.\r\nb\r\n"),
        ("nul_before_the_dot", "a\r\n\u{0}.\r\nb\r\n"),
        ("nul_behind_the_dot", "a\r\n.\u{0}\r\nb\r\n"),
        ("stuffed_dots", "..\r\n...\r\n..a\r\n.b\r\n"),
        ("stuffed_dot_and_lf", "..\n..\r.\r\n"),
        ("dots_alone", "....\r\n.."),
        ("newlines_alone", "\r\n\r\n\n\n\r\r"),
        ("begins_with_space", " folded\r\n"),
        ("begins_with_a_stuffed_tab", ".\tfolded\r\n"),
        ("eight_bit", "caf\u{e9} \u{20ac}\r\n"),
        ("long_line", "‹a×12›\r\n‹.×8›\r\n"),
        ("blocks", "‹a×7›\r\n‹b×7›\r¦\n‹c×6›\n‹d×7›\r\n.\r\n"),
        ("repairs_alone", "‹\n×9›.‹\n×9›"),
        ("two_messages", "one\r\n\u{f8}two\n.\r\n"),
        ("cut_at_the_end", "x\r¦\n¦.¦\r¦\n"),
        ("command_words", "QUIT\r\nDATA\r\n354 go\r\n250 ok\r\n"),
    ];
    for (name, body) in bodies {
        for (kind, settings) in [("data", 0), ("rejecting", 2), ("bdat", 5)] {
            let parts: Vec<Tell<'_>> = body.split('\u{f8}').map(C).collect();
            let input = input(settings, &parts);
            seeds.push(Seed { target: "content", name: format!("{kind}_{name}"), input });
        }
    }
}
