//! Commands and their answers.

use super::{OFFER, after, command, envelope, hello, smtp, submission};
use crate::protocol::smtp::fixtures::{Cut, End, Step, b, c, context, run, run_cut};
use crate::protocol::smtp::reasons;
use crate::protocol::{Event, Wait};

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
    let chunk = [c("BDAT 1 LAST\r\nx"), b("250 taken\r\n")];
    let useful = [&idle(49), &envelope()[hello().len()..], &chunk, &idle(50)].concat();
    assert_eq!(after(&smtp(), &hello(), &useful).2.end, End::Open(Wait::Command));
    // Envelopes that come to nothing are of no use.
    let envelopes = [c("MAIL FROM:<a@b>\r\nRSET\r\n"), b("250 m\r\n250 r\r\n")];
    let chunks = [c("NOOP\r\n"), b("250 n\r\n"), c("BDAT 0 LAST\r\n"), b("554 no recipients\r\n")];
    let again = |command: &str, answer: &str| {
        [c(command.repeat(60)), b(answer.repeat(60))].iter().cycle().take(4).cloned().collect()
    };
    let useless = [
        idle(51).to_vec(),
        envelopes.iter().cycle().take(2 * 101).cloned().collect(),
        again("MAIL FROM:<a@b>\r\n", "250 m\r\n"),
        again("MAIL FROM:<a@b>\r\n", "450 m\r\n"),
        again("RCPT TO:<a@b>\r\n", "554 r\r\n"),
        chunks.iter().cycle().take(4 * 101).cloned().collect(),
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
fn what_the_backend_refused_changes_nothing() {
    for (command, answer) in [
        ("MAIL FROM:<c@d>\r\n", "503 nested\r\n"),
        ("RCPT TO:<s@example.com>\r\n", "550 no\r\n"),
        ("HELO x\r\n", "501 no\r\n"),
        ("EHLO x\r\n", "501 no\r\n"),
        ("RSET\r\n", "502 no\r\n"),
    ] {
        let steps = [envelope(), vec![c(command), b(answer), c("DATA\r\n"), b("354 go\r\n"), c("x\r\n")]].concat();
        let sent = String::from_utf8(run_cut(&smtp(), None, &steps).to_backend).unwrap();
        let known = ["Received: from c (", " with ESMTPS id ", "\tfor <r@example.com> tls "];
        assert!(known.iter().all(|part| sent.contains(part)), "{command}: {sent}");
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
