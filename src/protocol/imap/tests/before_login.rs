//! Between TLS and login.

use super::*;
use crate::facts::Outcome;
use crate::protocol::Wait;

#[test]
fn the_backends_greeting_is_for_the_next_clients() {
    let greeting = "* OK [CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN LOGINDISABLED] Dovecot ready.\r\n";
    for service in ["imap", "imaps"] {
        let seen = run(service, &[c("a NOOP\r\n"), b(greeting), b("a OK done\r\n")]);
        assert_eq!((seen.to_client.as_str(), seen.to_backend.as_str()), ("a OK done\r\n", "a NOOP\r\n"));
        let learned = Learned::from_iter(["IMAP4rev1", "AUTH=PLAIN"]);
        assert_eq!(seen.events, [Event::Learned(learned.clone()), Event::Command { name: "noop", ok: true }]);
        let context = Context { learned: Arc::new(learned), ..context(service) };
        let ours = Imap.greeting(&context);
        assert_eq!(ours, "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] gate.example Sealgate ready\r\n");
    }
    // Nothing was learned yet, or the backend's own says nothing of them.
    assert_eq!(Imap.greeting(&context("imaps")), "* OK gate.example Sealgate ready\r\n");
    assert_eq!(run("imaps", &[b("* OK ready\r\n")]).events, [Event::Learned(Learned::default())]);
}

#[test]
fn a_first_capability_is_answered_from_what_was_learned() {
    let learned = Learned::from_iter(["IMAP4rev1", "AUTH=PLAIN"]);
    let context = Context { learned: Arc::new(learned), ..context("imap") };
    for asked in ["a CAPABILITY\r\n", "a capability\r\n"] {
        let (answer, event) = Imap.answer(&context, asked.as_bytes()).unwrap();
        assert_eq!(answer, "* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\na OK CAPABILITY completed\r\n");
        assert_eq!(event, Event::Command { name: "capability", ok: true });
    }
    // Half of it, more than it, or anything else is the backend's to hear.
    for other in [
        "",
        "a CAPABILITY",
        "a CAPABILITY\n",
        "a CAPABILITY \r\n",
        "a CAPABILITY x\r\n",
        "a NOOP\r\n",
        "CAPABILITY\r\n",
    ] {
        assert_eq!(Imap.answer(&context, other.as_bytes()), None, "{other:?}");
    }
    assert_eq!(Imap.answer(&context, b"a CAPABILITY\r\nb LOGIN alice secret\r\n"), None);
    assert_eq!(Imap.answer(&context, b"a CAPABILITY\r\n\r\n"), None);
    assert_eq!(Imap.answer(&super::context("imap"), b"a CAPABILITY\r\n"), None, "nothing was learned");
}

#[test]
fn a_backend_that_does_not_greet_with_ok_is_not_talked_to() {
    for service in ["imap", "imaps"] {
        let bye = run(service, &[b("* BYE [CAPABILITY STARTTLS] full\r\n"), c("a NOOP\r\n")]);
        assert_eq!((bye.to_client.as_str(), bye.to_backend.as_str()), ("* BYE [CAPABILITY] full\r\n", ""));
        assert_eq!(bye.end, End::Closed);
        let ending = |event: &Event| matches!(event, Event::Ending(reason) if reason.outcome == Outcome::BackendError);
        assert!(bye.events.iter().any(ending));
        let cases: &[(&str, &str)] = &[
            ("* PREAUTH in\r\n", "backend greeted with PREAUTH"),
            ("220 mail ESMTP\r\n", "backend did not greet as an IMAP server"),
            ("+OK POP3\r\n", "backend did not greet as an IMAP server"),
            ("* NO not now\r\n", "backend did not greet as an IMAP server"),
            ("* CAPABILITY IMAP4rev1\r\n", "backend did not greet as an IMAP server"),
            ("a OK x\r\n", "backend did not greet as an IMAP server"),
            ("* OK ready\n", "backend did not greet as an IMAP server"),
        ];
        for (greeting, reason) in cases {
            let seen = run(service, &[c("a LOGIN x y\r\n"), b(greeting)]);
            assert_eq!(seen.end, End::Broken(reason), "{greeting:?}");
            assert!(seen.to_client.starts_with("* BYE [UNAVAILABLE] "), "{:?}", seen.to_client);
            assert_eq!(seen.to_backend, "");
        }
    }
}

#[test]
fn capabilities_are_rewritten_wherever_they_appear() {
    let seen = greeted(&[
        c("a CAPABILITY\r\n"),
        b("* CAPABILITY IMAP4rev1 STARTTLS IDLE logindisabled AUTH=SCRAM-SHA-256-PLUS\r\na OK done\r\n"),
        c("b LOGIN alice secret\r\n"),
        b(
            "* CAPABILITY IMAP4rev1 LOGINDISABLED\r\nb OK [CAPABILITY IMAP4rev1 STARTTLS] in\r\n* CAPABILITY STARTTLS\r\n",
        ),
    ]);
    let wanted =
        "* CAPABILITY IMAP4rev1 IDLE\r\na OK done\r\n* CAPABILITY IMAP4rev1\r\nb OK [CAPABILITY IMAP4rev1] in\r\n";
    // What follows the login's OK is not looked at.
    assert_eq!(seen.to_client, format!("{wanted}* CAPABILITY STARTTLS\r\n"));
    assert_eq!(seen.end, End::Spliced);
}

#[test]
fn after_the_login_everything_passes_unseen() {
    let seen = greeted(&[
        c("a LOGIN alice secret\r\nb \0STARTTLS\nID (\"x-originating-ip\" \"1.2.3.4\")"),
        b("a OK in\r\n\0garbage\n"),
        c("\n\n"),
        b("\r"),
    ]);
    let passed = "b \0STARTTLS\nID (\"x-originating-ip\" \"1.2.3.4\")\n\n";
    assert_eq!(seen.to_backend, format!("a LOGIN alice secret\r\n{passed}"));
    assert_eq!(seen.to_client, "a OK in\r\n\0garbage\n\r");
    assert_eq!(seen.end, End::Spliced);
}

#[test]
fn simple_commands_are_pipelined_and_tags_in_use_wait() {
    let seen = greeted(&[c("a NOOP\r\nb CAPABILITY\r\na NOOP\r\nc NOOP\r\n")]);
    assert_eq!(seen.to_backend, "a NOOP\r\nb CAPABILITY\r\n");
    let seen = greeted(&[c("a NOOP\r\nb CAPABILITY\r\na NOOP\r\nc NOOP\r\n"), b("b OK\r\na OK\r\n")]);
    assert_eq!(seen.to_backend, "a NOOP\r\nb CAPABILITY\r\na NOOP\r\nc NOOP\r\n");
    let many: String = (0..100).map(|number| format!("{number} NOOP\r\n")).collect();
    let seen = run_cut("imaps", &[b(GREETING), c(many)], 7);
    assert_eq!(seen.to_backend.lines().count(), super::super::limits::PENDING);
}

#[test]
fn our_own_answers_wait_for_those_before_them() {
    let steps = [c("a NOOP\r\nb STARTTLS\r\nc NOOP\r\n"), b("a OK done\r\n"), b("c OK done\r\n")];
    let seen = greeted(&steps[..1]);
    assert_eq!((seen.to_client.as_str(), seen.to_backend.as_str()), ("", "a NOOP\r\n"));
    let seen = greeted(&steps);
    assert_eq!(seen.to_client, "a OK done\r\nb BAD The session is in TLS already\r\nc OK done\r\n");
    assert_eq!(seen.to_backend, "a NOOP\r\nc NOOP\r\n");
}

#[test]
fn refused_commands_never_reach_the_backend() {
    let cases: &[(&str, &str)] = &[
        ("b STARTTLS\r\n", "b BAD The session is in TLS already\r\n"),
        ("b starttls x\r\n", "b BAD The session is in TLS already\r\n"),
        ("b COMPRESS DEFLATE\r\n", "b BAD COMPRESS is for those who are logged in\r\n"),
        ("b AUTHENTICATE\r\n", "b BAD AUTHENTICATE takes a mechanism and perhaps a response in base64\r\n"),
        ("b AUTHENTICATE {5}\r\n", "b BAD AUTHENTICATE takes a mechanism and perhaps a response in base64\r\n"),
        ("b AUTHENTICATE  PLAIN\r\n", "b BAD AUTHENTICATE takes a mechanism and perhaps a response in base64\r\n"),
        ("b AUTHENTICATE \"PLAIN\"\r\n", "b BAD AUTHENTICATE takes a mechanism and perhaps a response in base64\r\n"),
        ("b AUTHENTICATE PLAIN \r\n", "b BAD AUTHENTICATE takes a mechanism and perhaps a response in base64\r\n"),
        ("b AUTHENTICATE PLAIN = x\r\n", "b BAD AUTHENTICATE takes a mechanism and perhaps a response in base64\r\n"),
        ("b AUTHENTICATE PLAIN (x)\r\n", "b BAD AUTHENTICATE takes a mechanism and perhaps a response in base64\r\n"),
        ("b/1 NOOP\r\n", "* BAD A command is a tag, a space and a name\r\n"),
        ("b LOGIN {8193}\r\n", "b BAD Literal too large before login\r\n"),
        ("b LOGIN {18446744073709551617}\r\n", "b BAD Literal too large before login\r\n"),
        ("b LOGIN {4294967301}\r\n", "b BAD Literal too large before login\r\n"),
        ("b LOGIN {05}\r\n", "b BAD Malformed literal\r\n"),
        ("b LOGIN {-5}\r\n", "b BAD Malformed literal\r\n"),
        ("b LOGIN x{5}\r\n", "b BAD Malformed literal\r\n"),
        ("b LOGIN \"x {5}\r\n", "b BAD Quoted string without an end\r\n"),
        ("b LOGIN \"x\ra y\r\n", "b BAD A line ends in CRLF and holds neither alone (openssl s_client: add -crlf)\r\n"),
        ("b NOOP\n", "b BAD A line ends in CRLF and holds neither alone (openssl s_client: add -crlf)\r\n"),
        ("b LOGIN x\0 y\r\n", "b BAD NUL octet in a command\r\n"),
        ("b X ((((((((((((((((((\r\n", "b BAD Too many parentheses\r\n"),
        ("b  NOOP\r\n", "b BAD A command is a tag, a space and a name\r\n"),
        ("b {4}\r\n", "b BAD A command is a tag, a space and a name\r\n"),
        ("* NOOP\r\n", "* BAD A command is a tag, a space and a name\r\n"),
        ("b ID (\"x\")\r\n", "b BAD ID takes NIL or a list of strings in pairs\r\n"),
        ("b ID ({8192}\r\n", "b BAD Literal too large before login\r\n"),
    ];
    for (command, answer) in cases {
        let seen = greeted(&[c(command), c("n NOOP\r\n")]);
        assert_eq!((seen.to_client.as_str(), seen.to_backend.as_str()), (*answer, "n NOOP\r\n"), "{command:?}");
        let counted = |event: &&Event| matches!(event, Event::Command { ok: false, .. } | Event::Refused(_));
        assert_eq!(seen.events.iter().filter(counted).count(), 2, "{command:?}");
    }
}

#[test]
fn a_long_line_is_refused_and_an_endless_one_ends_the_session() {
    let long = |octets: usize| {
        let mut line = b"b NOOP ".to_vec();
        line.resize(octets - 2, b'x');
        line.extend_from_slice(b"\r\nn NOOP\r\n");
        let whole = run_cut("imaps", &[b(GREETING), c(&line)], usize::MAX);
        for cut in [1, 1000, 8191, 8192, 8193, 65_536] {
            assert_eq!(run_cut("imaps", &[b(GREETING), c(&line)], cut), whole, "in pieces of {cut}");
        }
        whole
    };
    assert_eq!(long(8192).to_backend.len(), 8192 + 8);
    for octets in [8193, 65_536] {
        let seen = long(octets);
        assert_eq!(seen.to_client, "b BAD Line too long\r\n");
        assert_eq!(seen.to_backend, "n NOOP\r\n");
    }
    assert_eq!(long(65_537).end, End::Broken("line too long"));
}

#[test]
fn too_many_errors_end_the_session_whoever_found_them() {
    let seen = greeted(&[
        c("a LOGIN x y\r\n"),
        b("a NO no\r\n"),
        c("b STARTTLS\r\n"),
        c("c X\r\n"),
        b("c BAD [CAPABILITY STARTTLS] no\r\n"),
    ]);
    assert!(seen.to_client.ends_with("c BAD [CAPABILITY] no\r\n* BYE Too many errors\r\n"), "{:?}", seen.to_client);
    assert_eq!(seen.end, End::Broken("too many errors"));
    let seen = greeted(&[c("a STARTTLS\r\nb STARTTLS\r\nc STARTTLS\r\nd NOOP\r\n")]);
    assert!(seen.to_client.ends_with("c BAD The session is in TLS already\r\n* BYE Too many errors\r\n"));
    assert_eq!(seen.to_backend, "");
}

#[test]
fn logout_ends_the_session_with_its_answer() {
    let seen = greeted(&[c("a LOGOUT\r\nb NOOP\r\n"), b("* BYE bye\r\na OK out\r\n")]);
    assert_eq!((seen.to_client.as_str(), seen.to_backend.as_str()), ("* BYE bye\r\na OK out\r\n", "a LOGOUT\r\n"));
    assert_eq!(seen.end, End::Closed);
    assert!(seen.events.contains(&Event::Command { name: "logout", ok: true }));
    // One that was refused leaves the session as it was.
    let seen = greeted(&[c("a LOGOUT x\r\nb NOOP\r\n"), b("a BAD no\r\n")]);
    assert_eq!(seen.to_backend, "a LOGOUT x\r\nb NOOP\r\n");
}

#[test]
fn a_client_that_sends_no_more_gets_what_it_is_owed() {
    let eof = Step::E(Ended::ClientEof { clean: true });
    let cases: &[(&[Step], &str, End)] = &[
        (std::slice::from_ref(&eof), "", End::Closed),
        (&[c("a NOOP\r\n"), eof.clone()], "", End::Open),
        (&[c("a NOOP\r\n"), eof.clone(), b("a OK\r\n")], "a OK\r\n", End::Closed),
        (
            &[c("a NOOP\r\nb LOGOUT\r\n"), eof.clone(), b("a OK\r\n"), b("* BYE\r\nb OK\r\n")],
            "a OK\r\n* BYE\r\nb OK\r\n",
            End::Closed,
        ),
        (
            &[c("a NOOP\r\nb STARTTLS\r\nc NO"), eof.clone(), b("a OK\r\n")],
            "a OK\r\nb BAD The session is in TLS already\r\n",
            End::Closed,
        ),
        (&[c("a LOGIN {3}\r\n"), eof.clone(), b("+ OK\r\n")], "", End::Closed),
        (&[c("a LOGIN {3+}\r\nfoo bar\r\n"), eof.clone(), b("+ OK\r\n"), b("a NO\r\n")], "a NO\r\n", End::Closed),
        (&[c("a LOGIN x y\r\nb SELECT INBOX\r\n"), eof.clone(), b("a OK\r\nx")], "a OK\r\nx", End::Spliced),
        (&[c("a AUTHENTICATE PLAIN\r\n"), b("+ \r\n"), eof.clone()], "+ \r\n", End::Closed),
        (&[c("a NOOP\r\n"), Step::E(Ended::ClientEof { clean: false }), b("a OK\r\n")], "", End::Closed),
    ];
    for (steps, to_client, end) in cases {
        let seen = greeted(steps);
        assert_eq!((seen.to_client.as_str(), &seen.end), (*to_client, end), "{steps:?}");
    }
    let held = run("imaps", &[c("a LOGOUT\r\n"), eof.clone(), b(GREETING), b("a OK\r\n")]);
    assert_eq!((held.to_backend.as_str(), held.end), ("a LOGOUT\r\n", End::Closed));
    assert_eq!(run("imap", &[eof]).end, End::Closed);
}

#[test]
fn whatever_ends_a_session_the_client_hears_bye_between_lines() {
    let gone = "* BYE [UNAVAILABLE] gate.example cannot reach its mail store, please try again later\r\n";
    let late = "* BYE gate.example closes the session: nothing was heard for too long\r\n";
    let stop = "* BYE [UNAVAILABLE] gate.example is shutting down, please try again\r\n";
    let cases: &[(Ended, &str)] = &[
        (Ended::BackendEof, gone),
        (Ended::Deadline(Wait::Reply), gone),
        (Ended::Deadline(Wait::Login), late),
        (Ended::Drain, stop),
    ];
    for (how, bye) in cases {
        for service in ["imap", "imaps"] {
            let first = run(service, &[Step::E(*how)]);
            assert_eq!((first.to_client.as_str(), first.end), (*bye, End::Closed));
        }
        let broken_off = greeted(&[c("a ID NIL\r\n"), b("* ID (\"name\" {9}\r\nDove"), Step::E(*how)]);
        assert_eq!((broken_off.to_client.as_str(), broken_off.end), (*bye, End::Closed));
        let login = [c("a LOGIN x y\r\n"), b("a OK in\r\n")];
        let mut rig = Rig::new("imaps");
        for step in [b(GREETING)].iter().chain(&login) {
            rig.step(step, usize::MAX);
        }
        assert_eq!(rig.dialogue.ended(*how, &mut rig.out), Verdict::Close);
        assert!(rig.out.to_client.is_empty(), "a spliced stream has no lines of ours");
    }
    let said = greeted(&[b("* BYE idle\r\n"), Step::E(Ended::BackendEof)]);
    assert_eq!((said.to_client.as_str(), said.end), ("* BYE idle\r\n", End::Closed));
}

#[test]
fn what_is_waited_for_is_known_at_each_step() {
    let steps: &[(Step, Wait)] = &[
        (c("z NOOP\r\n"), Wait::Greeting),
        (b(GREETING), Wait::Reply),
        (b("z OK\r\n"), Wait::Login),
        (c("a NO"), Wait::Login),
        (c("OP\r\n"), Wait::Reply),
        (b("a OK\r\n"), Wait::Login),
        (c("b LOGIN {3}\r\n"), Wait::Reply),
        (b("+ OK\r\n"), Wait::Login),
        (c("foo"), Wait::Login),
        (c(" bar\r\n"), Wait::Reply),
        (b("b NO\r\n"), Wait::Login),
        (c("c AUTHENTICATE PLAIN\r\n"), Wait::Reply),
        (b("+ \r\n"), Wait::Login),
        (c("*\r\n"), Wait::Reply),
    ];
    let mut rig = Rig::new("imaps");
    assert_eq!(rig.dialogue.waiting_for(), Wait::Greeting);
    for (step, wait) in steps {
        rig.step(step, usize::MAX);
        assert_eq!(rig.dialogue.waiting_for(), *wait, "{step:?}");
    }
}
