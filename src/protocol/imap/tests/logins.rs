//! LOGIN and AUTHENTICATE: what passes, who it was, and what of it has failed.

use super::super::reasons;
use super::*;

fn auth(method: &str, user: Option<&str>, ok: bool) -> Event {
    Event::Auth { method: method.to_owned(), user: user.map(str::to_owned), ok }
}

fn auths(seen: &Seen) -> Vec<Event> {
    seen.events.iter().filter(|event| matches!(event, Event::Auth { .. })).cloned().collect()
}

#[test]
fn login_names_are_kept_and_passwords_are_not() {
    let plus = "+ OK\r\n";
    let cases: &[(&[Step], Option<&str>)] = &[
        (&[c("a LOGIN alice secret\r\n")], Some("alice")),
        (&[c("a login \"al \\\"ice\" \"secret\"\r\n")], Some("al \"ice")),
        (&[c(b"a LOGIN \"al\xe9\x1b\" \"secret\"\r\n")], Some("al??")),
        (&[c("a LOGIN {5}\r\n"), b(plus), c("alice {6}\r\n"), b(plus), c("secret\r\n")], Some("alice")),
        (&[c("a LOGIN {6}\r\n"), b(plus), c(b"al\x1b\xc3\xa9c secret\r\n")], Some("al???c")),
        (&[c("a LOGIN alice {6}\r\n"), b(plus), c("secret\r\n")], Some("alice")),
        (&[c("a LOGIN {0}\r\n"), b(plus), c(" secret\r\n")], None),
        // The backend's second argument is the password, whatever stands around it.
        (&[c("a LOGIN {0}\r\n"), b(plus), c(" {6}\r\n"), b(plus), c("secret\r\n")], None),
        (&[c("a LOGIN  alice {6}\r\n"), b(plus), c("secret\r\n")], Some("alice")),
        (&[c("a LOGIN   {5}\r\n"), b(plus), c("alice  {6}\r\n"), b(plus), c("secret\r\n")], Some("alice")),
        (&[c("a LOGIN\r\n")], None),
        // A script that was given no name, and wrote none.
        (&[c("a LOGIN  secret\r\n")], None),
        (&[c("a LOGIN secret \r\n")], None),
        (&[c("a LOGIN \"secret\"\r\n")], None),
    ];
    for (steps, user) in cases {
        let mut steps = steps.to_vec();
        let sent: Vec<u8> =
            steps.iter().flat_map(|step| if let Step::C(sent) = step { sent.clone() } else { vec![] }).collect();
        steps.push(b("a NO [AUTHENTICATIONFAILED] no\r\n"));
        let seen = greeted(&steps);
        assert_eq!(auths(&seen), [auth("PLAIN", *user, false)], "{steps:?}");
        assert!(!format!("{:?}", seen.events).contains("secret"));
        assert_eq!(seen.to_backend, text(&sent));
        assert_eq!(seen.end, End::Open);
    }
}

#[test]
fn a_login_that_was_not_judged_has_not_failed() {
    for steps in [
        [c("a AUTHENTICATE PLAIN\r\n"), b("+ \r\n"), c("*\r\n"), b("a BAD cancelled\r\n")].as_slice(),
        &[c("a LOGIN x\r\n"), b("a BAD what\r\n")],
    ] {
        assert_eq!(auths(&greeted(steps)), [], "{steps:?}");
    }
    // Whole offices would be locked out for a setting, a limit or a database of the backend's.
    for (answer, reason) in [
        ("[UNAVAILABLE] later", reasons::LOGIN_PUT_OFF),
        ("[unavailable] later", reasons::LOGIN_PUT_OFF),
        ("[SERVERBUG] oh", reasons::LOGIN_PUT_OFF),
        ("Temporary authentication failure.", reasons::LOGIN_PUT_OFF),
        ("[PRIVACYREQUIRED] Plaintext authentication disallowed.", reasons::LOGIN_INSECURE),
        ("Plaintext authentication disallowed on non-secure (SSL/TLS) connections.", reasons::LOGIN_INSECURE),
        (
            "[CLIENTBUG] Plaintext authentication disallowed on non-secure (SSL/TLS) connections.",
            reasons::LOGIN_INSECURE,
        ),
        ("Plaintext authentication disabled.", reasons::LOGIN_INSECURE),
        ("[ALERT] Plaintext authentication disabled.", reasons::LOGIN_INSECURE),
        ("[LIMIT] Maximum number of connections from user+IP exceeded", reasons::LOGIN_FULL),
        ("Maximum number of connections from user+IP exceeded", reasons::LOGIN_FULL),
        ("[UNAVAILABLE] Maximum number of connections from user+IP exceeded", reasons::LOGIN_FULL),
        ("[INUSE] later", reasons::LOGIN_FULL),
    ] {
        let seen = greeted(&[c("a LOGIN x y\r\n"), b(format!("a NO {answer}\r\n"))]);
        assert_eq!(auths(&seen), [], "{answer}");
        let unjudged = Event::Unjudged { method: "PLAIN".into(), user: Some("x".into()), reason };
        assert!(seen.events.contains(&unjudged), "{answer}: {:?}", seen.events);
    }
}

#[test]
fn whatever_passes_of_a_login_is_an_attempt_until_it_is_answered_and_nothing_else_is() {
    // Attempts, those of them that may be judged, and answers.
    for (steps, expected) in [
        ([c("a LOGIN x y\r\n")].as_slice(), [1, 1, 0]),
        (&[c("a LOGIN x y\r\n"), b("* OK wait\r\n")], [1, 1, 0]),
        (&[c("a LOGIN x y\r\n"), b("a OK yes\r\n")], [1, 1, 1]),
        (&[c("a LOGIN x y\r\n"), b("a NO no\r\n"), c("b NOOP\r\nc CAPABILITY\r\n")], [1, 1, 1]),
        // Line, literal, line, literal, line.
        (&[c("a LOGIN {1}\r\n"), b("+ \r\n"), c("x {1}\r\n"), b("+ \r\n"), c("y\r\n")], [5, 1, 2]),
        (&[c("a LOGIN {1}\r\n"), b("+ \r\n"), c("x {1}\r\n"), b("+ \r\n"), c("y")], [4, 0, 2]),
        (&[c("a LOGIN {1+}\r\nx {1+}\r\ny\r\n"), b("+ \r\n"), b("+ \r\n")], [5, 1, 2]),
        // What is on its way for a login that was refused reaches nobody.
        (&[c("a LOGIN {1+}\r\nx y\r\n"), b("a NO no\r\n"), c("b NOOP\r\n")], [1, 0, 1]),
        (&[c("a AUTHENTICATE PLAIN\r\n"), b("+ \r\n"), c("AHgAeQ==\r\n")], [2, 1, 1]),
        (&[c("a AUTHENTICATE PLAIN\r\n"), b("+ \r\n"), c("*\r\n"), b("a BAD cancelled\r\n")], [2, 0, 2]),
        (&[c("a AUTHENTICATE PLAIN AHgAeQ==\r\n")], [1, 1, 0]),
        // A name is no guess, a password is; nobody knows what another mechanism's words are.
        (&[c("a AUTHENTICATE LOGIN\r\n"), b("+ \r\n"), c("eA==\r\n"), b("+ \r\n"), c("eQ==\r\n")], [3, 1, 2]),
        (&[c("a AUTHENTICATE LOGIN eA==\r\n"), b("+ \r\n"), c("eQ==\r\n")], [2, 1, 1]),
        (&[c("a AUTHENTICATE SCRAM-SHA-1 bixh\r\n"), b("+ \r\n"), c("Yz1i\r\n"), b("+ \r\n"), c("\r\n")], [3, 2, 2]),
        (&[c("a AUTHENTICATE X bixh\r\n"), b("+ \r\n"), c("Yz1i\r\n")], [2, 2, 1]),
        (&[c("a NOOP\r\n"), b("a OK\r\n"), c("b LOGIN\r\nc ID NIL\r\n")], [1, 1, 0]),
    ] {
        let seen = greeted(steps);
        let count = |wanted: &[Event]| seen.events.iter().filter(|event| wanted.contains(event)).count();
        let [begun, guess] = [false, true].map(|guess| Event::Attempt { guess });
        assert_eq!([&[begun, guess.clone()][..], &[guess], &[Event::Answered]].map(count), expected, "{steps:?}");
    }
}

#[test]
fn a_login_is_judged_although_its_client_is_gone() {
    let gone = || Step::E(Ended::ClientEof { clean: false });
    for (steps, failed) in [
        ([c("a LOGIN x y\r\n"), gone(), b("a NO no\r\n")].as_slice(), true),
        (&[c("a LOGIN {1}\r\n"), b("+ \r\n"), c("x y\r\n"), gone(), b("* OK hm\r\na NO no\r\n")], true),
        (&[c("a AUTHENTICATE PLAIN\r\n"), b("+ \r\n"), c("AHgAeQ==\r\n"), gone(), b("a NO no\r\n")], true),
        (&[c("a LOGIN x y\r\n"), gone(), Step::E(Ended::BackendEof)], false),
        (&[c("a AUTHENTICATE PLAIN\r\n"), gone(), b("+ \r\n")], false),
        (&[c("a LOGIN {1}\r\n"), gone()], false),
        (&[c("a LOGIN {1}\r\n"), b("+ \r\n"), gone()], false),
        (&[c("a NOOP\r\n"), gone()], false),
    ] {
        let seen = greeted(steps);
        assert_eq!((!auths(&seen).is_empty(), &seen.end), (failed, &End::Closed), "{steps:?}");
    }
}

#[test]
fn rfc7628_3_2_3_a_challenge_that_refuses_a_token_is_a_failed_login_however_the_exchange_ends() {
    // "user=alice", ^A, "auth=Bearer x", ^A ^A; and what is said of it.
    let (token, no) = ("dXNlcj1hbGljZQFhdXRoPUJlYXJlciB4AQE=", "+ eyJzdGF0dXMiOiI0MDEifQ==\r\n");
    let initial = || c(format!("a AUTHENTICATE XOAUTH2 {token}\r\n"));
    for steps in [
        [initial(), b(no)].as_slice(),
        &[initial(), b(no), c("*\r\n"), b("a BAD cancelled\r\n")],
        &[initial(), b(no), c("\r\n"), b("a NO no\r\n")],
        &[
            c("a AUTHENTICATE XOAUTH2\r\n"),
            b("+ \r\n"),
            c(format!("{token}\r\n")),
            b(no),
            c("*\r\n"),
            b("a BAD no\r\n"),
        ],
    ] {
        assert_eq!(auths(&greeted(steps)), [auth("XOAUTH2", Some("alice"), false)], "{steps:?}");
    }
    // It is counted before another login may take its place.
    let told = greeted(&[initial(), b(no)]).events;
    let [failed, answered] = [auth("XOAUTH2", Some("alice"), false), Event::Answered];
    assert_eq!(
        told.iter().filter(|&event| [&failed, &answered].contains(&event)).collect::<Vec<_>>(),
        [&failed, &answered]
    );
    for (begins, asks) in [("XOAUTH2 =", "+\r\n"), ("XOAUTH2 =", "+ \r\n"), ("XOAUTH2", no), ("PLAIN =", no)] {
        let steps = [c(format!("a AUTHENTICATE {begins}\r\n")), b(asks), c("*\r\n"), b("a BAD cancelled\r\n")];
        assert_eq!(auths(&greeted(&steps)), [], "{begins} {asks:?}");
    }
}

#[test]
fn rfc9051_6_2_2_authentication_exchanges_pass_line_by_line() {
    let (start, plain, two) = ("a AUTHENTICATE PLAIN\r\n", "AGFsaWNlAHNlY3JldA==\r\n", "+ VXNlcm5hbWU6\r\n");
    let cases: &[(&[Step], Event)] = &[
        (&[c(start), b("+ \r\n"), c(plain), b("a OK in\r\n")], auth("PLAIN", Some("alice"), true)),
        // Nobody has to wait before sending.
        (&[c(format!("{start}{plain}")), b("+\r\n"), b("a OK in\r\n")], auth("PLAIN", Some("alice"), true)),
        (&[c("a authenticate plain AGFsaWNlAHNlY3JldA==\r\n"), b("a OK in\r\n")], auth("PLAIN", Some("alice"), true)),
        (&[c(start), b("+ \r\n"), c("!\r\n"), b("a NO what\r\n")], auth("PLAIN", None, false)),
        (&[c("a AUTHENTICATE EXTERNAL =\r\n"), b("a OK in\r\n")], auth("EXTERNAL", None, true)),
        (
            &[
                c("a AUTHENTICATE LOGIN\r\n"),
                b(two),
                c("YWxpY2U=\r\n"),
                b("+ UGFzc3dvcmQ6\r\n"),
                c("c2VjcmV0\r\n"),
                b("a NO no\r\n"),
            ],
            auth("LOGIN", Some("alice"), false),
        ),
        (
            &[
                c("a AUTHENTICATE SCRAM-SHA-1 biwsbj1hbGljZSxyPXg=\r\n"),
                b("+ cj0=\r\n"),
                c("Yz0=\r\n"),
                b("+ dj0=\r\n"),
                c("\r\n"),
                b("a OK in\r\n"),
            ],
            auth("SCRAM-SHA-1", Some("alice"), true),
        ),
        // The server speaks first (RFC 2195 §2): "victim 00" answers no challenge, "alice 00" does.
        (
            &[c("a AUTHENTICATE CRAM-MD5 dmljdGltIDAw\r\n"), b("+ PDE=\r\n"), c("YWxpY2UgMDA=\r\n"), b("a OK in\r\n")],
            auth("CRAM-MD5", Some("alice"), true),
        ),
        (&[c("a AUTHENTICATE NO\"SUCH\r\n"), b("a NO none\r\n")], auth("NO?SUCH", None, false)),
    ];
    for (steps, event) in cases.iter().take(8) {
        let seen = greeted(steps);
        assert_eq!(auths(&seen), std::slice::from_ref(event), "{steps:?}");
        let (mut to_backend, mut to_client) = (Vec::new(), Vec::new());
        for step in *steps {
            match step {
                Step::C(sent) => to_backend.extend_from_slice(sent),
                Step::B(sent) => to_client.extend_from_slice(sent),
                Step::E(_) => {}
            }
        }
        assert_eq!((seen.to_backend, seen.to_client), (text(&to_backend), text(&to_client)));
        let ok = matches!(event, Event::Auth { ok: true, .. });
        assert_eq!(seen.end == End::Spliced, ok);
    }
    // An open quote is no mechanism.
    let Some((steps, _)) = cases.last() else { panic!() };
    assert_eq!(greeted(steps).to_backend, "");
}

#[test]
fn lines_of_an_exchange_have_their_own_limit() {
    let ir = |octets: usize| {
        let mut line = b"a AUTHENTICATE X ".to_vec();
        line.resize(octets - 2, b'A');
        line.extend_from_slice(b"\r\n");
        line
    };
    assert_eq!(run_cut("imaps", &[b(GREETING), c(ir(12_288))], 1000).to_backend.len(), 12_288);
    let long = run_cut("imaps", &[b(GREETING), c(ir(12_289))], 1000);
    assert_eq!((long.to_backend.as_str(), long.to_client.ends_with("a BAD Line too long\r\n")), ("", true));
    let response = |octets: usize| {
        let mut line = vec![b'A'; octets - 2];
        line.extend_from_slice(b"\r\n");
        run_cut("imaps", &[b(GREETING), c("a AUTHENTICATE X\r\n"), b("+ \r\n"), c(line)], 1000)
    };
    assert_eq!(response(12_288).end, End::Open);
    assert_eq!(response(12_289).end, End::Broken("line too long"));
}

#[test]
fn commands_behind_a_login_wait_and_a_failed_one_lets_them_go_on() {
    let steps = [c("a LOGIN x y\r\nb NOOP\r\nc LOGIN x z\r\nd SELECT INBOX\r\n"), b("a NO no\r\n")];
    let seen = greeted(&steps);
    assert_eq!(seen.to_backend, "a LOGIN x y\r\nb NOOP\r\n");
    let mut more = steps.to_vec();
    more.extend([b("b OK\r\n"), b("c OK in\r\n")]);
    let seen = greeted(&more);
    assert_eq!(seen.to_backend, "a LOGIN x y\r\nb NOOP\r\nc LOGIN x z\r\nd SELECT INBOX\r\n");
    assert_eq!(auths(&seen), [auth("PLAIN", Some("x"), false), auth("PLAIN", Some("x"), true)]);
    let names: Vec<_> = seen
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Command { name, ok } => Some((*name, *ok)),
            _ => None,
        })
        .collect();
    assert_eq!(names, [("login", false), ("noop", true), ("login", true)]);
}
