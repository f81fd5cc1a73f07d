//! How a dialogue begins: behind a greeting of ours, or with a hello that it has to say again.

use super::{OFFER, after, hello, smtp, submission};
use crate::facts::TlsFacts;
use crate::protocol::smtp::Smtp;
use crate::protocol::smtp::fixtures::{End, Step, b, c, context, run_cut};
use crate::protocol::smtp::reasons;
use crate::protocol::{Ended, Event, Learned, Opening, Protocol as _, Wait};

const DOWN: &str = "421 4.3.2 mx.example.com Service not available, try again later\r\n";

#[test]
fn rfc3207_4_2_after_starttls_the_greeting_is_swallowed() {
    let seen = run_cut(&submission(), None, &hello());
    assert_eq!(seen.client(), "250-mx\r\n250-PIPELINING\r\n250-CHUNKING\r\n250-AUTH PLAIN\r\n250 SMTPUTF8\r\n");
    assert_eq!(seen.backend(), "EHLO c\r\n");
    assert_eq!(seen.end, End::Open(Wait::Login));
    let learned = Learned::from_iter(["PIPELINING", "CHUNKING", "SMTPUTF8"]);
    assert_eq!(
        seen.events,
        [Event::Helo("c".to_owned()), Event::Command { name: "ehlo", ok: true }, Event::Learned(learned),]
    );
    // No AUTH on port 25, whatever the backend says.
    let seen = run_cut(&smtp(), None, &hello());
    assert_eq!(seen.client(), "250-mx\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 SMTPUTF8\r\n");
    assert_eq!(run_cut(&smtp(), None, &[]).end, End::Open(Wait::Greeting));
}

#[test]
fn rfc5321_3_1_a_refusing_greeting_answers_the_ehlo() {
    let cases: &[(Vec<Step>, &str, End)] = &[
        (vec![b("554 no\r\n")], "", End::Open(Wait::Login)),
        (vec![b("554-no\r\n554 go\r\n"), c("EHLO c\r\n")], "554-no\r\n554 go\r\n", End::Closed),
        (vec![c("EHLO c\r\nNOOP\r\n"), b("450 no\r\n")], "450 no\r\n", End::Closed),
        (vec![b("421 no\r\n"), c("QUIT\r\n")], "221 2.0.0 Bye\r\n", End::Closed),
        // Not even reached.
        (vec![Step::E(Ended::BackendEof)], "", End::Open(Wait::Login)),
        (vec![Step::E(Ended::BackendEof), c("EHLO c\r\n")], DOWN, End::Closed),
        (vec![b("220 half"), Step::E(Ended::BackendEof), c("EHLO c\r\n")], DOWN, End::Closed),
        // A line that is no command is not yet the client's hello.
        (
            vec![Step::E(Ended::BackendEof), c("\r\nEHLO c\r\n")],
            &["500 5.5.2 Error: bad syntax\r\n", DOWN].concat(),
            End::Closed,
        ),
    ];
    for (steps, client, end) in cases {
        let seen = run_cut(&smtp(), None, steps);
        assert_eq!(seen.client(), *client, "{steps:?}");
        assert_eq!(seen.end, *end, "{steps:?}");
        assert_eq!(seen.backend(), "", "{steps:?}");
        assert!(seen.cut);
    }
}

#[test]
fn rfc8314_with_implicit_tls_a_session_begins_as_after_starttls() {
    let implicit = context("submissions", "203.0.113.5:1024", Some(TlsFacts::example()));
    assert_eq!(Smtp.greeting(&implicit), "220 mx.example.com ESMTP Sealgate\r\n");
    for steps in [hello(), vec![b("554 no\r\n"), c("EHLO c\r\n")], vec![Step::E(Ended::BackendEof), c("EHLO c\r\n")]] {
        assert_eq!(run_cut(&implicit, None, &steps), run_cut(&submission(), None, &steps), "{steps:?}");
    }
    for nonsense in ["354 go\r\n", "hello\r\n"] {
        let seen = run_cut(&implicit, None, &[b(nonsense)]);
        assert_eq!((seen.client().as_str(), seen.end), (DOWN, End::Closed), "{nonsense}");
    }
    // An early talker waits.
    let seen = run_cut(&implicit, None, &[c("EHLO c\r\n"), b("220 mx\r\n"), b(OFFER)]);
    assert_eq!(seen.client(), "250-mx\r\n250-PIPELINING\r\n250-CHUNKING\r\n250-AUTH PLAIN\r\n250 SMTPUTF8\r\n");
}

#[test]
fn a_client_that_stays_in_cleartext_has_its_hello_replayed() {
    let plain = context("smtp", "203.0.113.5:1024", None);
    let (mail, ok) = (c("MAIL FROM:<a@b>\r\n"), b("250 ok\r\n"));
    let cases: &[(Option<&str>, Vec<Step>, &str, &str, End)] = &[
        (
            Some("EHLO c"),
            vec![mail.clone(), b("220 mx\r\n"), b(OFFER), ok.clone()],
            "250 ok\r\n",
            "EHLO c\r\nMAIL FROM:<a@b>\r\n",
            End::Open(Wait::Command),
        ),
        (
            Some("HELO c"),
            vec![mail.clone(), b("220 mx\r\n"), b("250 mx\r\n"), ok.clone()],
            "250 ok\r\n",
            "HELO c\r\nMAIL FROM:<a@b>\r\n",
            End::Open(Wait::Command),
        ),
        (
            None,
            vec![mail.clone(), b("220 mx\r\n"), b("503 hello?\r\n")],
            "503 hello?\r\n",
            "MAIL FROM:<a@b>\r\n",
            End::Open(Wait::Command),
        ),
        (Some("EHLO c"), vec![mail.clone(), b("220 mx\r\n")], "", "EHLO c\r\n", End::Open(Wait::Reply)),
        (Some("EHLO c"), vec![mail.clone(), b("220 mx\r\n"), b("550 no\r\n")], "550 no\r\n", "EHLO c\r\n", End::Closed),
        (Some("EHLO c"), vec![mail.clone(), b("220 mx\r\n"), b("421 no\r\n")], "421 no\r\n", "EHLO c\r\n", End::Closed),
        (Some("EHLO c"), vec![mail.clone(), b("220 mx\r\n"), b("354 go\r\n")], DOWN, "EHLO c\r\n", End::Closed),
        (Some("EHLO c"), vec![mail.clone(), b("554 no\r\n")], "554 no\r\n", "", End::Closed),
        (Some("EHLO c"), vec![mail.clone(), Step::E(Ended::BackendEof)], DOWN, "", End::Closed),
    ];
    for (hello, steps, client, backend, end) in cases {
        let opening = Opening { hello: hello.map(|hello| hello.as_bytes().to_vec().into()) };
        let seen = run_cut(&plain, Some(&opening), steps);
        assert_eq!(seen.client(), *client, "{hello:?} {steps:?}");
        assert_eq!(seen.backend(), *backend, "{hello:?} {steps:?}");
        assert_eq!(seen.end, *end, "{hello:?} {steps:?}");
    }
    // Whose fault it is.
    for (answer, why) in [("550 no\r\n", reasons::BACKEND_REFUSES_HELLO), ("421 no\r\n", reasons::BACKEND_CLOSING)] {
        let opening = Opening { hello: Some("EHLO c".into()) };
        let seen = run_cut(&plain, Some(&opening), &[mail.clone(), b("220 mx\r\n"), b(answer)]);
        assert!(seen.events.contains(&Event::Ending(why)), "{answer}: {:?}", seen.events);
    }
    // The replayed hello counts: for what is offered, and in the Received field.
    let opening = Opening { hello: Some("EHLO c".into()) };
    let steps = [
        c("STARTTLS\r\nAUTH PLAIN x\r\nMAIL FROM:<a@b>\r\n"),
        b("220 mx\r\n"),
        b(OFFER),
        b("250 m\r\n"),
        c("RCPT TO:<r>\r\n"),
        b("250 r\r\n"),
        c("BDAT 1 LAST\r\nx"),
    ];
    let seen = run_cut(&plain, Some(&opening), &steps);
    assert!(seen.client().starts_with("454 4.7.0 TLS not"), "{}", seen.client());
    assert!(seen.client().contains("\r\n503 5.5.1 Error: AUTH not available\r\n"), "{}", seen.client());
    let sent = String::from_utf8(seen.to_backend).unwrap();
    assert!(
        sent.contains("Received: from c ([203.0.113.5])\r\n\tby mx.example.com (Sealgate) with ESMTP id 4Zk9.1\r\n")
    );
    assert!(sent.ends_with("\tfor <r>;\r\n\tSat, 21 Nov 2026 20:36:00 +0000\r\nx"), "{sent}");
}

#[test]
fn a_second_hello_replaces_the_first() {
    let (client, backend, _) =
        after(&smtp(), &hello(), &[c("EHLO d\r\nRSET\r\n"), b("250-x\r\n250 XCLIENT\r\n"), b("250 y\r\n")]);
    assert_eq!(client, "250 x\r\n250 y\r\n");
    assert_eq!(backend, "EHLO d\r\nRSET\r\n");
    // A refused one does not, and is passed on as it is.
    let (client, _, _) = after(&smtp(), &hello(), &[c("EHLO\r\n"), b("501-5.5.4 Syntax:\r\n501 XCLIENT\r\n")]);
    assert_eq!(client, "501-5.5.4 Syntax:\r\n501 XCLIENT\r\n");
}
