//! Commands and their answers.

use super::{OFFER, after, command, envelope, hello, smtp, submission};
use crate::protocol::smtp::fixtures::{Cut, End, Step, b, c, context, run, run_cut};
use crate::protocol::smtp::reasons;
use crate::protocol::{Ended, Event, Wait};

#[test]
fn rfc2920_replies_match_commands_in_order() {
    let all = "MAIL FROM:<a@b>\r\nRCPT TO:<x>\r\nXCLIENT ADDR=1.2.3.4\r\nRCPT TO:<y>\r\nNOOP\r\nSTARTTLS\r\n";
    let (client, backend, seen) =
        after(&smtp(), &hello(), &[c(all), b("250 m\r\n"), b("550 x\r\n250 y\r\n"), b("250 n\r\n")]);
    assert_eq!(
        client,
        "250 m\r\n550 x\r\n502 5.5.1 Error: command not implemented\r\n250 y\r\n250 n\r\n\
         503 5.5.1 Error: TLS already active\r\n"
    );
    assert_eq!(backend, "MAIL FROM:<a@b>\r\nRCPT TO:<x>\r\nRCPT TO:<y>\r\nNOOP\r\n");
    assert!(seen.events.contains(&command("rcpt", false)) && seen.events.contains(&command("rcpt", true)));
    assert_eq!(seen.end, End::Open(Wait::Command));
}

#[test]
fn what_the_gate_refuses_never_reaches_the_backend() {
    let forbidden = "502 5.5.1 Error: command not implemented\r\n";
    let syntax = "500 5.5.2 Error: bad syntax\r\n";
    let newline = "500 5.5.2 Error: a line ends in CRLF and holds no other CR or LF (openssl s_client: add -crlf)\r\n";
    let cases: &[(&str, &str)] = &[
        ("XCLIENT NAME=x", forbidden),
        ("xforward NAME=x", forbidden),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2", forbidden),
        ("BURL imap://x LAST", forbidden),
        ("TURN", forbidden),
        ("WHAT is this", "500 5.5.2 Error: command not recognized\r\n"),
        ("XPROXYFROM IP=1.2.3.4", "500 5.5.2 Error: command not recognized\r\n"),
        ("STARTTLS", "503 5.5.1 Error: TLS already active\r\n"),
        ("AUTH PLAIN x", "503 5.5.1 Error: AUTH not available\r\n"),
        ("MAIL FROM:<a@b> BODY=BINARYMIME", "501 5.5.4 Error: BODY=BINARYMIME was not offered\r\n"),
        (" XCLIENT NAME=x", syntax),
        ("XCLIENT\0NAME=x", syntax),
        ("", syntax),
        ("NOOP\nXCLIENT NAME=x", &[newline, forbidden].concat()),
        ("NOOP\rXCLIENT NAME=x", newline),
    ];
    for (line, reply) in cases {
        let (client, backend, seen) = after(&smtp(), &hello(), &[c(format!("{line}\r\nNOOP\r\n")), b("250 n\r\n")]);
        assert_eq!(client, format!("{reply}250 n\r\n"), "{line:?}");
        assert_eq!(backend, "NOOP\r\n", "{line:?}");
        assert!(seen.events.iter().any(|event| matches!(event, Event::Refused(_))), "{line:?}");
    }
}

#[test]
fn what_only_the_backend_knows_it_answers() {
    let (client, backend, _) = after(&smtp(), &hello(), &[c("EXPN y\r\nETRN x\r\n"), b("500 ?\r\n250 e\r\n")]);
    assert_eq!(client, "500 ?\r\n250 e\r\n");
    assert_eq!(backend, "EXPN y\r\nETRN x\r\n");
    // But no raw exchange.
    for steps in [
        [c("ETRN x\r\n"), b("354 go\r\n")],
        [c("RCPT TO:<x>\r\n"), b("354 go\r\n")],
        [c("NOOP\r\n"), b("334 go\r\n")],
        [c("DATA\r\n"), b("334 go\r\n")],
        [c("DATA\r\n"), b("250 what\r\n")],
    ] {
        let (client, _, seen) = after(&smtp(), &hello(), &steps);
        assert_eq!(client, "421 4.3.2 mx.example.com Service not available, try again later\r\n", "{steps:?}");
        assert_eq!(seen.end, End::Closed);
    }
}

#[test]
fn http_inside_tls_ends_the_session_after_what_is_owed() {
    let long = format!("POST /{} HTTP/1.1\r\n", "x".repeat(4000));
    for request in ["GET / HTTP/1.1\r\n", "GET / HTTP/1.1\n", "X-Mine /x HTTP/1.1\r\n", &long] {
        let (client, backend, seen) =
            after(&smtp(), &hello(), &[c(format!("NOOP\r\n{request}NOOP\r\n")), b("250 n\r\n")]);
        assert_eq!(client, "250 n\r\n554 5.5.0 This is SMTP, not HTTP\r\n");
        assert_eq!(backend, "NOOP\r\n");
        assert_eq!(seen.end, End::Violated("HTTP request on an SMTP port"));
    }
}

#[test]
fn a_binary_protocol_inside_tls_ends_the_session_after_what_is_owed() {
    let (client, backend, seen) = after(&smtp(), &hello(), &[c(b"NOOP\r\n\x00\x03\x00\r\nNOOP\r\n"), b("250 n\r\n")]);
    assert_eq!(client, "250 n\r\n554 5.5.0 This is SMTP, and no command begins like that\r\n");
    assert_eq!(backend, "NOOP\r\n");
    assert_eq!(seen.end, End::Violated("binary protocol on an SMTP port"));
}

#[test]
fn rfc4954_4_auth_is_opaque_and_the_user_known() {
    let auth = |method: &str, user: Option<&str>, ok| Event::Auth {
        method: method.to_owned(),
        user: user.map(str::to_owned),
        ok,
    };
    // `\0alice\0secret`, `alice`, `secret`.
    let (plain, login, secret) = ("AGFsaWNlAHNlY3JldA==", "YWxpY2U=", "c2VjcmV0");
    let bad = "535 5.7.8 no\r\n";
    let cases: &[(Vec<Step>, Event)] = &[
        (vec![c(format!("AUTH PLAIN {plain}\r\n")), b("235 ok\r\n")], auth("PLAIN", Some("alice"), true)),
        (vec![c(format!("auth plain {plain}\r\n")), b(bad)], auth("PLAIN", Some("alice"), false)),
        (
            vec![c("AUTH PLAIN\r\n"), b("334 \r\n"), c(format!("{plain}\r\n")), b("235 ok\r\n")],
            auth("PLAIN", Some("alice"), true),
        ),
        (
            vec![
                c("AUTH LOGIN\r\n"),
                b("334 VXNlcm5hbWU6\r\n"),
                c(format!("{login}\r\n")),
                b("334 UGFzc3dvcmQ6\r\n"),
                c(format!("{secret}\r\n")),
                b("235 ok\r\n"),
            ],
            auth("LOGIN", Some("alice"), true),
        ),
        (vec![c("AUTH LOGIN\r\n"), b("334 x\r\n"), c("!\r\n"), b(bad)], auth("LOGIN", None, false)),
        (
            vec![c(format!("AUTH PLAIN {plain}\r\n")), b("535 5.7.8 Error: authentication failed: UGFzc3dvcmQ6\r\n")],
            auth("PLAIN", Some("alice"), false),
        ),
        // Postfix with soft_bounce = yes.
        (
            vec![c(format!("AUTH PLAIN {plain}\r\n")), b("435 4.7.8 Error: authentication failed: UGFzc3dvcmQ6\r\n")],
            auth("PLAIN", Some("alice"), false),
        ),
        (vec![c("AUTH GSSAPI\r\n"), b("334 \r\n"), c("\r\n"), b("235 ok\r\n")], auth("GSSAPI", None, true)),
    ];
    for (steps, event) in cases {
        let (client, backend, seen) = after(&submission(), &hello(), steps);
        let text = |wanted: fn(&Step) -> Option<&Vec<u8>>| {
            steps.iter().filter_map(wanted).map(|octets| String::from_utf8_lossy(octets)).collect::<String>()
        };
        assert_eq!(client, text(|step| if let Step::B(octets) = step { Some(octets) } else { None }));
        assert_eq!(backend, text(|step| if let Step::C(octets) = step { Some(octets) } else { None }));
        assert!(seen.events.contains(event), "{event:?} in {:?}", seen.events);
        assert!(!format!("{:?}", seen.events).contains("secret"));
    }
    // Nobody's credentials were judged.
    for steps in [
        [c("AUTH LOGIN\r\n"), b("334 x\r\n"), c("*\r\n"), b("501 cancelled\r\n")].as_slice(),
        &[c("AUTH\r\n"), b("501 what\r\n")],
        &[c("AUTH NONESUCH\r\n"), b("504 unknown\r\n")],
        &[c("AUTH PLAIN x\r\n"), b("454 4.7.0 try later\r\n")],
        // Postfix 2.3 to 3.0.
        &[
            c("AUTH PLAIN x\r\n"),
            b("535 5.7.0 Error: authentication failed: Connection lost to authentication server\r\n"),
        ],
        &[c("AUTH PLAIN x\r\n"), b("535 5.7.8 Error: authentication failed: generic failure\r\n")],
        &[
            c("AUTH PLAIN x\r\n"),
            b("435 4.7.0 Error: authentication failed: Connection lost to authentication server\r\n"),
        ],
        &[c("AUTH PLAIN x\r\n"), b("235 ok\r\n"), c("AUTH PLAIN x\r\n"), b("503 already\r\n")],
    ] {
        let (_, _, seen) = after(&submission(), &hello(), steps);
        assert!(!seen.events.iter().any(|event| matches!(event, Event::Auth { ok: false, .. })), "{:?}", seen.events);
        let put_off = seen.events.iter().any(|event| matches!(event, Event::Unjudged { .. }));
        let away = matches!(steps.last(), Some(Step::B(answer))
            if [&b"454"[..], b"535", b"435"].iter().any(|code| answer.starts_with(code)));
        assert_eq!(put_off, away, "{:?}", seen.events);
    }
}

#[test]
fn whatever_passes_of_a_login_is_an_attempt_and_nothing_else_is() {
    let attempts = |steps: &[Step]| {
        let (_, _, seen) = after(&submission(), &hello(), steps);
        seen.events.iter().filter(|event| **event == Event::Attempt).count()
    };
    let (name, password) = (c("YWxpY2U=\r\n"), c("c2VjcmV0\r\n"));
    for (steps, expected) in [
        (vec![c("AUTH PLAIN AGEAYg==\r\n")], 1),
        (vec![c("NOOP\r\nAUTH PLAIN AGEAYg==\r\n")], 1),
        (vec![c("AUTH LOGIN\r\n"), b("334 u\r\n"), name.clone(), b("334 p\r\n"), password.clone()], 3),
        (vec![c("AUTH LOGIN\r\n"), b("334 u\r\n"), name, b("334 p\r\n"), password, b("535 no\r\n"), c("NOOP\r\n")], 3),
        // Cancelled by us.
        (vec![c("AUTH LOGIN\r\n"), b("334 u\r\n"), c("YWxp\0\r\n")], 1),
        (vec![c("NOOP\r\nMAIL FROM:<>\r\nWHAT\r\n")], 0),
    ] {
        assert_eq!(attempts(&steps), expected, "{steps:?}");
    }
}

#[test]
fn a_login_is_judged_although_its_client_is_gone() {
    let (bad, gone) = (b("535 5.7.8 no\r\n"), Step::E(Ended::ClientEof { clean: false }));
    let token = c("AUTH XOAUTH2 dXNlcj1hbGljZQFhdXRoPUJlYXJlciB4AQE=\r\n");
    for (steps, counted) in [
        (vec![c("AUTH PLAIN AGEAYg==\r\n"), gone.clone(), bad.clone()], true),
        (vec![c("NOOP\r\nAUTH PLAIN AGEAYg==\r\n"), gone.clone(), b("250 n\r\n"), bad.clone()], true),
        (
            vec![c("AUTH LOGIN\r\n"), b("334 u\r\n"), c("YQ==\r\n"), b("334 p\r\n"), c("Yg==\r\n"), gone.clone(), bad],
            true,
        ),
        (vec![token, gone.clone(), b("334 eyJzdGF0dXMiOiI0MDEifQ==\r\n")], true),
        (vec![c("AUTH PLAIN AGEAYg==\r\n"), gone.clone(), Step::E(Ended::BackendEof)], false),
        (vec![c("AUTH LOGIN\r\n"), gone.clone(), b("334 u\r\n")], false),
        (vec![c("AUTH LOGIN\r\n"), b("334 u\r\n"), gone], false),
    ] {
        let (_, _, seen) = after(&submission(), &hello(), &steps);
        let failed = seen.events.iter().any(|event| matches!(event, Event::Auth { ok: false, .. }));
        assert_eq!((failed, seen.end), (counted, End::Closed), "{steps:?}");
        assert!(seen.events.contains(&Event::Ending(reasons::CLIENT_CUT)), "{:?}", seen.events);
    }
}

#[test]
fn rfc7628_3_2_3_a_challenge_that_refuses_a_token_is_a_failed_login_however_the_exchange_ends() {
    // "user=alice", ^A, "auth=Bearer x", ^A ^A; and what is said of it.
    let (token, no) = ("dXNlcj1hbGljZQFhdXRoPUJlYXJlciB4AQE=", "334 eyJzdGF0dXMiOiI0MDEifQ==\r\n");
    let initial = || c(format!("AUTH XOAUTH2 {token}\r\n"));
    let failed = Event::Auth { method: "XOAUTH2".to_owned(), user: Some("alice".to_owned()), ok: false };
    let auths = |steps: &[Step]| {
        let (_, _, seen) = after(&submission(), &hello(), steps);
        seen.events.into_iter().filter(|event| matches!(event, Event::Auth { .. })).collect::<Vec<_>>()
    };
    for steps in [
        [initial(), b(no)].as_slice(),
        &[initial(), b(no), c("*\r\n"), b("501 cancelled\r\n")],
        &[initial(), b(no), c("\r\n"), b("535 no\r\n")],
        &[c("AUTH XOAUTH2\r\n"), b("334 \r\n"), c(format!("{token}\r\n")), b(no), c("*\r\n"), b("501 cancelled\r\n")],
    ] {
        assert_eq!(auths(steps), std::slice::from_ref(&failed), "{steps:?}");
    }
    // A challenge without a text only asks, and so does one of another mechanism, or one that nothing was said before.
    for steps in [
        [c("AUTH XOAUTH2\r\n"), b(no), c("*\r\n"), b("501 cancelled\r\n")],
        [c("AUTH XOAUTH2 =\r\n"), b("334 \r\n"), c("*\r\n"), b("501 cancelled\r\n")],
        [c("AUTH LOGIN YWxpY2U=\r\n"), b(no), c("*\r\n"), b("501 cancelled\r\n")],
    ] {
        assert_eq!(auths(&steps), [], "{steps:?}");
    }
}

#[test]
fn a_password_is_never_taken_for_a_name_after_a_response_that_was_none() {
    // The first response is no line and is cancelled, but this backend asks on: "secret" answers it.
    let steps =
        [c("AUTH LOGIN\r\n"), b("334 x\r\n"), c("YWxp\rY2U=\r\n"), b("334 y\r\n"), c("c2VjcmV0\r\n"), b("235 ok\r\n")];
    let (_, backend, seen) = after(&submission(), &hello(), &steps);
    assert_eq!(backend, "AUTH LOGIN\r\n*\r\nc2VjcmV0\r\n");
    let auth = Event::Auth { method: "LOGIN".to_owned(), user: None, ok: true };
    assert!(seen.events.contains(&auth), "{:?}", seen.events);
}

#[test]
fn what_follows_auth_waits_for_its_answer() {
    let steps = [c("AUTH LOGIN\r\nMAIL FROM:<a@b>\r\n"), b("334 x\r\n")];
    // The next line is a response, whatever it looks like.
    let (_, backend, seen) = after(&submission(), &hello(), &steps);
    assert_eq!(backend, "AUTH LOGIN\r\nMAIL FROM:<a@b>\r\n");
    assert!(!seen.events.contains(&command("mail", true)));
    let (_, backend, _) = after(&submission(), &hello(), &[c("AUTH LOGIN\r\nMAIL FROM:<a@b>\r\n")]);
    assert_eq!(backend, "AUTH LOGIN\r\n");
}

#[test]
fn a_response_behind_a_refused_auth_never_becomes_a_command() {
    // The backend would log the secret as an unknown verb, or obey it.
    let early = "AUTH LOGIN\r\nYWxpY2U=\r\nc2VjcmV0\r\n";
    let (client, backend, seen) = after(&submission(), &hello(), &[c(early), b("504 no\r\n")]);
    assert_eq!(client, "504 no\r\n554 5.5.0 Error: more sent before the answer to AUTH\r\n");
    assert_eq!(backend, "AUTH LOGIN\r\n");
    assert_eq!(seen.end, End::Violated("more before the answer to AUTH"));
    // However many answers are owed before that.
    let many = format!("{}{early}", "RCPT TO:<a@b>\r\n".repeat(99));
    let answers = format!("{}504 no\r\n", "250 ok\r\n".repeat(99));
    let (_, backend, seen) = after(&submission(), &hello(), &[c(many), b(answers)]);
    assert!(backend.ends_with("<a@b>\r\nAUTH LOGIN\r\n"), "{backend}");
    assert_eq!(seen.end, End::Violated("more before the answer to AUTH"));
    // Nor behind one that is refused by us.
    let (client, backend, seen) = after(&smtp(), &hello(), &[c(early)]);
    assert!(client.ends_with("554 5.5.0 Error: more sent before the answer to AUTH\r\n"), "{client}");
    assert_eq!(backend, "");
    assert_eq!(seen.end, End::Violated("more before the answer to AUTH"));
    // Also where our refusal has to wait for other answers.
    let steps = [c("NOOP\r\nAUTH LOGIN\r\n"), c("QVVUSA\r\n"), b("250 n\r\n")];
    let (client, backend, seen) = after(&smtp(), &hello(), &steps);
    assert!(client.ends_with("554 5.5.0 Error: more sent before the answer to AUTH\r\n"), "{client}");
    assert_eq!(backend, "NOOP\r\n");
    assert_eq!(seen.end, End::Violated("more before the answer to AUTH"));
    // Nor if it comes when the refusal has gone out, as to a client far away that did not wait.
    let late = [c("AUTH LOGIN\r\n"), b("504 no\r\n"), c("QVVUSA\r\n"), c("c2VjcmV0\r\n")];
    let (client, backend, seen) = after(&submission(), &hello(), &late);
    let unknown = "500 5.5.2 Error: command not recognized\r\n";
    assert_eq!(client, ["504 no\r\n", unknown, unknown].concat());
    assert_eq!(backend, "AUTH LOGIN\r\n");
    assert_eq!(seen.end, End::Open(Wait::Command));
    // After a login it is a command, and one that came later is one in any case.
    let taken = [c("AUTH PLAIN x\r\nNOOP\r\n"), b("235 ok\r\n"), b("250 n\r\n")];
    let refused = [c("AUTH PLAIN x\r\n"), b("535 no\r\n"), c("NOOP\r\n"), b("250 n\r\n")];
    for steps in [&taken[..], &refused] {
        let (_, backend, seen) = after(&submission(), &hello(), steps);
        assert_eq!(backend, "AUTH PLAIN x\r\nNOOP\r\n");
        assert_eq!(seen.end, End::Open(Wait::Command));
    }
}

#[test]
fn rfc4954_4_responses_have_a_limit_of_their_own() {
    let response = |length: usize| [vec![b'x'; length - 2], b"\r\n".to_vec()].concat();
    let before = [hello(), vec![c("AUTH PLAIN\r\n"), b("334 \r\n")]].concat();
    let (client, backend, _) = after(&submission(), &before, &[Step::C(response(12_288)), b("235 ok\r\n")]);
    assert_eq!((client.as_str(), backend.len()), ("235 ok\r\n", 12_288));
    // What is no response becomes a cancel: nothing of it may be taken for a command over there.
    for bad in [response(12_289), response(20_000), b"x\ny\r\n".to_vec()] {
        let (client, backend, _) = after(&submission(), &before, &[Step::C(bad), b("501 cancelled\r\n")]);
        assert!(client.starts_with("501 cancelled\r\n"), "{client}");
        assert_eq!(backend, "*\r\n");
    }
    // The initial response shares the line with the command.
    let line = [b"AUTH PLAIN ".to_vec(), response(12_288 - 11)].concat();
    let (_, backend, _) = after(&submission(), &hello(), &[Step::C(line)]);
    assert_eq!(backend.len(), 12_288);
}

#[test]
fn oversized_lines_are_refused_and_the_session_goes_on() {
    let long = "500 5.5.2 Error: line too long\r\n";
    let line = |length: usize| [b"NOOP ".to_vec(), vec![b'x'; length - 7], b"\r\n".to_vec()].concat();
    let all = [b"RSET\r\n".to_vec(), line(5000), b"NOOP\r\n".to_vec()].concat();
    let (client, backend, _) = after(&smtp(), &hello(), &[Step::C(all), b("250 r\r\n250 n\r\n")]);
    assert_eq!(client, format!("250 r\r\n{long}250 n\r\n"));
    assert_eq!(backend, "RSET\r\nNOOP\r\n");
    let steps = [hello(), vec![c("RSET\r\n"), Step::C(line(65_536)), b("250 r\r\n")]].concat();
    assert_eq!(run(&smtp(), None, &steps, Cut::Every(1000)).end, End::Open(Wait::Login));
    let steps = [hello(), vec![c("RSET\r\n"), Step::C(line(65_537)), b("250 r\r\n")]].concat();
    for cut in [Cut::Never, Cut::Every(1), Cut::Every(1000)] {
        let seen = run(&smtp(), None, &steps, cut);
        assert!(seen.client().ends_with(&format!("250 r\r\n{long}")), "{cut:?}");
        assert_eq!(seen.end, End::Violated("command line too long"));
    }
}

#[test]
fn a_backend_that_cuts_long_lines_is_given_no_command_in_one() {
    // Postfix before 2.9 at its `line_length_limit`: what stands behind that is the next command.
    const CUT: usize = 2048;
    let carrier = |begin: &str, pad: char| {
        let pad: String = std::iter::repeat_n(pad, CUT - begin.len()).collect();
        format!("{begin}{pad}XCLIENT ADDR=127.0.0.1\r\n")
    };
    let exchange = [hello(), vec![c("AUTH PLAIN\r\n"), b("334 \r\n")]].concat();
    for (context, before, line) in [
        (smtp(), hello(), carrier("NOOP ", 'x')),
        (smtp(), hello(), carrier("MAIL FROM:<a@b>", ' ')),
        (smtp(), hello(), carrier("EHLO ", 'x')),
        (submission(), hello(), carrier("AUTH PLAIN ", 'A')),
        (submission(), exchange, carrier("", 'A')),
    ] {
        let (client, backend, seen) = after(&context, &before, &[c(line.clone()), b("501 cancelled\r\n")]);
        assert!(backend.is_empty() || backend == "*\r\n", "{line:.20}: {} octets passed", backend.len());
        assert!(client.starts_with(if backend.is_empty() { "500 5.5.2 " } else { "501 " }), "{line:.20}: {client}");
        assert!(seen.events.contains(&Event::Refused(reasons::LINE_TOO_LONG)), "{line:.20}");
    }
}

#[test]
fn twenty_errors_are_the_end() {
    // Ours.
    let (client, _, seen) = after(&smtp(), &hello(), &[c("STARTTLS\r\n".repeat(25))]);
    assert_eq!(client.matches("503 ").count(), 20);
    assert!(client.ends_with("\r\n421 4.7.0 Error: too many errors\r\n"), "{client}");
    assert_eq!(seen.end, End::Violated("too many errors"));
    // The backend's, after all that it owes.
    let (client, _, seen) = after(&smtp(), &hello(), &[c("EXPN x\r\n".repeat(25)), b("500 ?\r\n".repeat(25))]);
    assert_eq!(client.matches("500 ").count(), 25);
    assert!(client.ends_with("\r\n421 4.7.0 Error: too many errors\r\n"), "{client}");
    assert_eq!(seen.end, End::Violated("too many errors"));
    // Those of a Postfix with soft_bounce = yes.
    let (_, _, seen) = after(&smtp(), &hello(), &[c("EXPN x\r\n".repeat(20)), b("402 4.5.2 ?\r\n".repeat(20))]);
    assert_eq!(seen.end, End::Violated("too many errors"));
    // A recipient that is not there is no error of form.
    let (_, _, seen) = after(&smtp(), &hello(), &[c("RCPT TO:<x>\r\n".repeat(30)), b("550 ?\r\n".repeat(30))]);
    assert_eq!(seen.end, End::Open(Wait::Login));
    let (_, _, seen) = after(&smtp(), &hello(), &[c("STARTTLS\r\n".repeat(19))]);
    assert_eq!(seen.end, End::Open(Wait::Login));
}

#[test]
fn the_queue_has_a_limit() {
    let many = || c("RCPT TO:<r@x>\r\n".repeat(150));
    let (client, backend, _) = after(&smtp(), &hello(), &[many()]);
    assert_eq!((client.as_str(), backend.len()), ("", 15 * 100));
    let (client, backend, _) =
        after(&smtp(), &hello(), &[many(), b("250 n\r\n".repeat(100)), b("250 n\r\n".repeat(50))]);
    assert_eq!((client.len(), backend.len()), (7 * 150, 15 * 150));
}

#[test]
fn commands_that_lead_to_no_message_come_to_an_end() {
    let message = [c("DATA\r\n"), b("354 go\r\n"), c("x\r\n.\r\n"), b("250 taken\r\n")];
    let idle = |n| [c("NOOP\r\nRSET\r\n".repeat(n)), b("250 ok\r\n".repeat(2 * n))];
    // Almost a hundred, a message, and a hundred more: a client that is slow, and of use.
    let useful = [&idle(49), &envelope()[hello().len()..], &message, &idle(50)].concat();
    assert_eq!(after(&smtp(), &hello(), &useful).2.end, End::Open(Wait::Command));
    // Envelopes that come to nothing are of no use.
    let envelopes = [c("MAIL FROM:<a@b>\r\nRSET\r\n"), b("250 m\r\n250 r\r\n")];
    let again = |command: &str, answer: &str| {
        [c(command.repeat(60)), b(answer.repeat(60))].iter().cycle().take(4).cloned().collect()
    };
    let useless = [
        idle(51).to_vec(),
        envelopes.iter().cycle().take(2 * 101).cloned().collect(),
        again("MAIL FROM:<a@b>\r\n", "250 m\r\n"),
        again("MAIL FROM:<a@b>\r\n", "450 m\r\n"),
        again("RCPT TO:<a@b>\r\n", "554 r\r\n"),
    ];
    for useless in useless {
        let (client, _, seen) = after(&smtp(), &hello(), &useless);
        assert!(client.ends_with("\r\n421 4.7.0 Error: too many commands without a message\r\n"), "{client}");
        assert_eq!(seen.end, End::Violated("too many commands without a message"));
    }
}

#[test]
fn rfc5321_4_1_1_10_quit_is_the_last() {
    let (client, backend, seen) = after(&smtp(), &hello(), &[c("QUIT\r\nNOOP\r\n"), b("221 bye\r\n")]);
    assert_eq!((client.as_str(), backend.as_str()), ("221 bye\r\n", "QUIT\r\n"));
    assert_eq!(seen.end, End::Closed);
    assert_eq!(seen.events.last(), Some(&command("quit", true)));
}

#[test]
fn the_received_field_knows_the_login_and_the_recipients() {
    let login = vec![c("AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n"), b("235 ok\r\n")];
    let message = |recipients: &str, answers: &str| {
        vec![
            c(format!("MAIL FROM:<a@b>\r\n{recipients}DATA\r\n")),
            b(format!("250 m\r\n{answers}354 go\r\n")),
            c("x\r\n.\r\n"),
            b("250 taken\r\n"),
        ]
    };
    let one = message("RCPT TO:<r@example.com>\r\nRCPT TO:<no>\r\n", "250 r\r\n550 no\r\n");
    let two = message("RCPT TO:<r@example.com>\r\nRCPT TO:<s>\r\n", "250 r\r\n250 s\r\n");
    let steps = [hello(), login, one, two].concat();
    let sent = String::from_utf8(run_cut(&submission(), None, &steps).to_backend).unwrap();
    let head = "Received: from c ([203.0.113.5])\r\n\
        \t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)\r\n\
        \t key-exchange X25519MLKEM768 server-signature ECDSA (P-256) server-digest SHA256)\r\n\
        \t(No client certificate requested)\r\n\
        \t(Authenticated sender: alice)\r\n\
        \tby mx.example.com (Sealgate) with ESMTPSA id";
    let date = "\tSat, 21 Nov 2026 20:36:00 +0000\r\n";
    let tls = "tls TLS_AES_256_GCM_SHA384 group X25519MLKEM768;\r\n";
    assert!(sent.contains(&format!("DATA\r\n{head} 4Zk9.1\r\n\tfor <r@example.com> {tls}{date}x\r\n.\r\n")), "{sent}");
    assert!(sent.contains(&format!("DATA\r\n{head} 4Zk9.2\r\n\t{tls}{date}x\r\n.\r\n")), "{sent}");
}

#[test]
fn rfc6531_with_and_names_follow_smtputf8() {
    let steps = |parameter: &str| {
        let mail = format!("MAIL FROM:<a@b>{parameter}\r\n");
        [
            vec![b("220 mx\r\n"), c("EHLO m\u{fc}ller\r\n"), b(OFFER)],
            vec![c(mail), b("250 m\r\n"), c("RCPT TO:<\u{e9}@x>\r\nDATA\r\n"), b("250 r\r\n354 go\r\n"), c("x\r\n")],
        ]
        .concat()
    };
    let sent = String::from_utf8(run_cut(&smtp(), None, &steps(" SMTPUTF8")).to_backend).unwrap();
    assert!(sent.contains("Received: from m\u{fc}ller (") && sent.contains(" with UTF8SMTPS id "), "{sent}");
    assert!(sent.contains("\tfor <\u{e9}@x> tls "), "{sent}");
    let sent = String::from_utf8(run_cut(&smtp(), None, &steps("")).to_backend).unwrap();
    assert!(sent.contains("Received: from m??ller (") && sent.contains(" with ESMTPS id "), "{sent}");
    assert!(sent.contains("\tfor <??@x> tls "), "{sent}");
}

#[test]
fn rfc5321_4_1_1_5_rset_and_hello_forget_the_recipients() {
    for reset in [vec![c("RSET\r\n"), b("250 r\r\n")], vec![c("EHLO c\r\n"), b(OFFER)]] {
        let more = [c("MAIL FROM:<>\r\nRCPT TO:<z@x>\r\nDATA\r\n"), b("250 m\r\n250 r\r\n354 go\r\n"), c("x\r\n")];
        let steps = [envelope(), reset, more.to_vec()].concat();
        let sent = String::from_utf8(run_cut(&smtp(), None, &steps).to_backend).unwrap();
        assert!(sent.contains("\tfor <z@x> tls "), "{sent}");
    }
}

#[test]
fn an_address_literal_and_helo() {
    let context = context("smtp", "[2001:db8::5]:1", Some(crate::facts::TlsFacts::example()));
    let steps = [
        b("220 mx\r\n"),
        c("HELO [IPv6:2001:db8::5]\r\n"),
        b("250 mx\r\n"),
        c("MAIL FROM:<>\r\nRCPT TO:<x>\r\nDATA\r\n"),
        b("250 m\r\n250 r\r\n354 go\r\n"),
        c("x\r\n"),
    ];
    let sent = String::from_utf8(run_cut(&context, None, &steps).to_backend).unwrap();
    assert!(sent.contains("Received: from [IPv6:2001:db8::5] ([IPv6:2001:db8::5])\r\n\t(using "), "{sent}");
    assert!(sent.contains("(Sealgate) with SMTP id "), "{sent}");
}
