//! AUTH: what passes, who it was, and what must not follow it.

use super::{after, command, hello, smtp, submission};
use crate::protocol::smtp::fixtures::{End, Step, b, c};
use crate::protocol::smtp::reasons;
use crate::protocol::{Ended, Event, Wait};

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
fn whatever_passes_of_a_login_is_an_attempt_until_it_is_answered_and_nothing_else_is() {
    // Attempts, those of them that may be judged, and answers.
    let counts = |steps: &[Step]| {
        let (_, _, seen) = after(&submission(), &hello(), steps);
        let count = |wanted: &[Event]| seen.events.iter().filter(|event| wanted.contains(event)).count();
        let [begun, guess] = [false, true].map(|guess| Event::Attempt { guess });
        [&[begun, guess.clone()][..], &[guess], &[Event::Answered]].map(count)
    };
    let (name, password) = (c("YWxpY2U=\r\n"), c("c2VjcmV0\r\n"));
    for (steps, expected) in [
        (vec![c("AUTH PLAIN AGEAYg==\r\n")], [1, 1, 0]),
        // One that others are before has not come to the backend.
        (vec![c("NOOP\r\nNOOP\r\nAUTH PLAIN AGEAYg==\r\n"), b("250 ok\r\n")], [0, 0, 0]),
        (vec![c("NOOP\r\nNOOP\r\nAUTH PLAIN AGEAYg==\r\n"), b("250 ok\r\n250 ok\r\n")], [1, 1, 0]),
        (vec![c("AUTH PLAIN AGEAYg==\r\n"), b("235 yes\r\n")], [1, 1, 1]),
        (vec![c("AUTH PLAIN AGEAYg==\r\n"), b("454 later\r\n")], [1, 1, 1]),
        (vec![c("AUTH PLAIN\r\n"), b("334 \r\n"), c("AGEAYg==\r\n")], [2, 1, 1]),
        // A name is no guess, a password is; nobody knows what another mechanism's words are.
        (vec![c("AUTH LOGIN\r\n"), b("334 u\r\n"), name.clone()], [2, 0, 1]),
        (vec![c("AUTH LOGIN YQ==\r\n"), b("334 p\r\n"), password.clone()], [2, 1, 1]),
        (vec![c("AUTH LOGIN\r\n"), b("334 u\r\n"), name.clone(), b("334 p\r\n"), password.clone()], [3, 1, 2]),
        (
            vec![c("AUTH LOGIN\r\n"), b("334 u\r\n"), name, b("334 p\r\n"), password, b("535 no\r\n"), c("NOOP\r\n")],
            [3, 1, 3],
        ),
        (vec![c("AUTH CRAM-MD5 YQ==\r\n"), b("334 c\r\n"), c("YSBi\r\n")], [2, 2, 1]),
        // Cancelled by the client, and by us.
        (vec![c("AUTH LOGIN\r\n"), b("334 u\r\n"), c("*\r\n"), b("501 no\r\n")], [2, 0, 2]),
        (vec![c("AUTH LOGIN\r\n"), b("334 u\r\n"), c("YWxp\0\r\n")], [1, 0, 1]),
        (vec![c("NOOP\r\nMAIL FROM:<>\r\nWHAT\r\n"), b("250 ok\r\n")], [0, 0, 0]),
    ] {
        assert_eq!(counts(&steps), expected, "{steps:?}");
    }
}

#[test]
fn a_login_is_judged_although_its_client_is_gone() {
    let (bad, gone) = (b("535 5.7.8 no\r\n"), Step::E(Ended::ClientEof { clean: false }));
    let token = c("AUTH XOAUTH2 dXNlcj1hbGljZQFhdXRoPUJlYXJlciB4AQE=\r\n");
    for (steps, counted) in [
        (vec![c("AUTH PLAIN AGEAYg==\r\n"), gone.clone(), bad.clone()], true),
        (vec![c("NOOP\r\nAUTH PLAIN AGEAYg==\r\n"), b("250 n\r\n"), gone.clone(), bad.clone()], true),
        (vec![c("NOOP\r\nAUTH PLAIN AGEAYg==\r\n"), gone.clone()], false),
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
    let steps = [c(many), b("250 ok\r\n".repeat(99)), b("504 no\r\n")];
    let (_, backend, seen) = after(&submission(), &hello(), &steps);
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
