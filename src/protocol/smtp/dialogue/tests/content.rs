//! DATA and BDAT.

use super::{OFFER, after, command, envelope, hello, rejecting, smtp};
use crate::protocol::smtp::dialogue::SmtpDialogue;
use crate::protocol::smtp::fixtures::{Cut, End, Step, b, c, run};
use crate::protocol::{Dialogue, Event, Out, Side, Verdict, Wait};

const EMPTY: usize = {
    // The Received field of `envelope`, for sizes in BDAT.
    "Received: from c ([203.0.113.5])\r\n".len()
        + "\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)\r\n".len()
        + "\t key-exchange X25519MLKEM768 server-signature ECDSA (P-256) server-digest SHA256)\r\n".len()
        + "\t(No client certificate requested)\r\n".len()
        + "\tby mx.example.com (Sealgate) with ESMTPS id 4Zk9.1\r\n".len()
        + "\tfor <r@example.com> tls TLS_AES_256_GCM_SHA384 group X25519MLKEM768;\r\n".len()
        + "\tSat, 21 Nov 2026 20:36:00 +0000\r\n".len()
};

fn data() -> Vec<Step> {
    [envelope(), vec![c("DATA\r\n"), b("354 go\r\n")]].concat()
}

#[test]
fn content_before_a_newline_in_two_reads_is_not_copied() {
    let mut dialogue = SmtpDialogue::new(&smtp(), None);
    let mut out = Out::default();
    let before: [(Side, &[u8]); 9] = [
        (Side::Backend, b"220 mx\r\n"),
        (Side::Client, b"EHLO c\r\n"),
        (Side::Backend, b"250 mx\r\n"),
        (Side::Client, b"MAIL FROM:<a@b>\r\n"),
        (Side::Backend, b"250 ok\r\n"),
        (Side::Client, b"RCPT TO:<r>\r\n"),
        (Side::Backend, b"250 ok\r\n"),
        (Side::Client, b"DATA\r\n"),
        (Side::Backend, b"354 go\r\n"),
    ];
    for (from, line) in before {
        let verdict = dialogue.receive(from, line, &mut out);
        assert!(matches!(verdict, Ok(Verdict::Pass(_) | Verdict::Drop(_))), "{verdict:?}");
    }
    assert_eq!(dialogue.receive(Side::Client, b"x\r\ny\r", &mut out), Ok(Verdict::Pass(4)));
    assert!(out.to_backend.ends_with(b" +0000\r\n"), "{:?}", out.to_backend);
    out.to_backend.clear();
    assert_eq!(dialogue.receive(Side::Client, b"\r", &mut out), Ok(Verdict::More));
    assert_eq!(dialogue.receive(Side::Client, b"\r\n.\r\n", &mut out), Ok(Verdict::Pass(5)));
    assert!(out.to_backend.is_empty(), "{:?}", out.to_backend);
}

#[test]
fn rfc5321_4_4_received_stands_right_before_the_content() {
    // What the client sends, and what the backend gets behind the Received field.
    let cases: &[(&[u8], &[u8])] = &[
        (b"Subject: x\r\n\r\ny\r\n.\r\n", b"Subject: x\r\n\r\ny\r\n.\r\n"),
        (b".\r\n", b".\r\n"),
        (b"..\r\n.\r\n", b"..\r\n.\r\n"),
        (b"\r\n.\r\n", b"\r\n.\r\n"),
        (b"\xff\0\r\n.\r\n", b"\xff\0\r\n.\r\n"),
        // RFC 5322 §2.2.3: these would fold into the field.
        (b" x\r\n.\r\n", b"\r\n x\r\n.\r\n"),
        (b"\tx\r\n.\r\n", b"\r\n\tx\r\n.\r\n"),
        (b". x\r\n.\r\n", b"\r\n. x\r\n.\r\n"),
        // Bare newlines.
        (b"a\n.\nb\r\n.\r\n", b"a\r\n..\r\nb\r\n.\r\n"),
        (b"a\r.\r\nb\r\n.\r\n", b"a\r\n..\r\nb\r\n.\r\n"),
        (b"\n x\r\n.\r\n", b"\r\n x\r\n.\r\n"),
        // NULs that go away; what stands behind them would fold, or is a dot of the content.
        (b"\0\0\xff\r\n.\r\n", b"\xff\r\n.\r\n"),
        (b"\0 x\r\n.\r\n", b"\r\n x\r\n.\r\n"),
        (b".\0 x\r\n.\r\n", b"\r\n x\r\n.\r\n"),
        (b"\0. x\r\n.\r\n", b".. x\r\n.\r\n"),
        (b".\0.\r\n.\r\n", b"..\r\n.\r\n"),
    ];
    for (content, expected) in cases {
        let (client, backend, seen) = after(&smtp(), &data(), &[c(content), b("250 taken\r\n")]);
        assert_eq!(client, "250 taken\r\n");
        assert_eq!(backend, format!("{{R}}{}", String::from_utf8_lossy(expected)));
        let raw = &seen.to_backend[seen.to_backend.len() - expected.len()..];
        assert_eq!(raw, *expected);
        assert_eq!(seen.events[seen.events.len() - 2..], [command("data", true), Event::Message { accepted: true }]);
        assert_eq!(seen.end, End::Open(Wait::Command));
    }
}

#[test]
fn large_bodies_pass_with_and_without_bare_newlines() {
    let line = [vec![b'x'; 998], b"\r\n".to_vec()].concat();
    let plain = [line.repeat(300), b".\r\n".to_vec()].concat();
    let unix: Vec<u8> =
        [line.repeat(300).into_iter().filter(|octet| *octet != b'\r').collect(), b"\r\n.\r\n".to_vec()].concat();
    let mixed =
        [line.repeat(5), b"x\n".to_vec(), line.repeat(50), b"\n.\n".to_vec(), line.repeat(5), b".\r\n".to_vec()]
            .concat();
    for (body, expected) in [
        (&plain, plain.clone()),
        (&unix, [line.repeat(300), b"\r\n.\r\n".to_vec()].concat()),
        (
            &mixed,
            [
                line.repeat(5),
                b"x\r\n".to_vec(),
                line.repeat(50),
                b"\r\n..\r\n".to_vec(),
                line.repeat(5),
                b".\r\n".to_vec(),
            ]
            .concat(),
        ),
    ] {
        for cut in [Cut::Every(200_000), Cut::Every(65_536), Cut::Every(16_384), Cut::Every(1000), Cut::Every(7)] {
            let steps = [data(), vec![Step::C(body.clone()), b("250 taken\r\n")]].concat();
            let seen = run(&smtp(), None, &steps, cut);
            let at = seen.to_backend.len() - expected.len();
            assert!(seen.to_backend[at..] == expected, "{cut:?}");
            assert!(seen.to_backend[..at].ends_with(b"+0000\r\n"));
            assert!(seen.client().ends_with("250 taken\r\n"));
        }
    }
}

#[test]
fn rfc2920_3_1_commands_may_follow_the_end_of_data() {
    let (client, backend, _) = after(
        &smtp(),
        &data(),
        &[c("x\r\n.\r\nMAIL FROM:<c@d>\r\nXCLIENT a\r\nQUIT\r\n"), b("250 taken\r\n250 m\r\n221 bye\r\n")],
    );
    assert_eq!(client, "250 taken\r\n250 m\r\n502 5.5.1 Error: command not implemented\r\n221 bye\r\n");
    assert_eq!(backend, "{R}x\r\n.\r\nMAIL FROM:<c@d>\r\nQUIT\r\n");
}

#[test]
fn content_before_a_354_waits_and_before_anything_else_is_the_end() {
    let (_, backend, _) = after(&smtp(), &envelope(), &[c("DATA\r\nx\r\n.\r\n"), b("354 go\r\n")]);
    assert_eq!(backend, "DATA\r\n{R}x\r\n.\r\n");
    let (client, backend, seen) =
        after(&smtp(), &hello(), &[c("MAIL FROM:<>\r\nDATA\r\nRSET\r\n"), b("250 m\r\n"), b("554 no\r\n")]);
    assert_eq!(client, "250 m\r\n554 no\r\n554 5.5.0 Error: content sent before the answer to DATA\r\n");
    assert_eq!(backend, "MAIL FROM:<>\r\nDATA\r\n");
    assert_eq!(seen.end, End::Violated("content before the answer to DATA"));
    // Also when it comes in a piece of its own while the answer is awaited.
    let (_, _, seen) = after(&smtp(), &hello(), &[c("DATA\r\n"), c("RSET\r\n"), b("554 no\r\n")]);
    assert_eq!(seen.end, End::Violated("content before the answer to DATA"));
    // A client that waited goes on.
    let (client, backend, _) =
        after(&smtp(), &hello(), &[c("DATA\r\n"), b("554 no\r\n"), c("RSET\r\n"), b("250 r\r\n")]);
    assert_eq!((client.as_str(), backend.as_str()), ("554 no\r\n250 r\r\n", "DATA\r\nRSET\r\n"));
}

#[test]
fn a_rejected_message_never_ends_for_the_backend() {
    let reply = "550 5.5.2 Error: bare CR or LF, or NUL at the beginning of a line, in message\r\n\
        421 4.7.0 Error: closing after that\r\n";
    let cases: &[(&[u8], &str)] = &[
        (b"a\nb\r\n.\r\nQUIT\r\n", "{R}a"),
        (b"a\rb\r\n.\r\n", "{R}a"),
        (b"a\r\n.\nb\n.\r\n\r\n.\r\n", "{R}a\r\n"),
        (b"\n\r\n.\r\n", "{R}"),
    ];
    for (content, backend) in cases {
        let (client, got, seen) = after(&rejecting(), &data(), &[c(content)]);
        assert_eq!((client.as_str(), got.as_str()), (reply, *backend));
        assert!(seen.cut);
        assert_eq!(seen.end, End::Closed);
        assert!(seen.events.contains(&Event::Message { accepted: false }));
    }
    // Not answered before it has been sent, wherever it was cut.
    let (client, _, seen) = after(&rejecting(), &data(), &[c("a.\r\n\nb\r\n")]);
    assert_eq!((client.as_str(), seen.end), ("", End::Open(Wait::Body)));
    let (client, _, seen) = after(&rejecting(), &data(), &[c("a\nb\r\n.\n"), b("250 taken\r\n")]);
    assert_eq!((client.as_str(), seen.end), ("", End::Open(Wait::Body)));
    let (client, backend, _) = after(&rejecting(), &data(), &[c("a\r\n.\r\n"), b("250 taken\r\n")]);
    assert_eq!((client.as_str(), backend.as_str()), ("250 taken\r\n", "{R}a\r\n.\r\n"));
}

#[test]
fn a_rejected_message_is_heard_to_its_end_however_long_it_is() {
    let content = [b"a\nb\r\n".to_vec(), b"more than anybody keeps\r\n".repeat(20_000), b".\r\n".to_vec()].concat();
    for size in [200_000, 16_384, 1000, 7] {
        let seen = run(&rejecting(), None, &[data(), vec![c(&content)]].concat(), Cut::Every(size));
        assert_eq!(seen.end, End::Closed, "{size}");
        assert!(seen.client().contains("\r\n550 5.5.2 ") && seen.backend().ends_with("{R}a"), "{size}");
    }
}

#[test]
fn rfc3030_received_rides_in_the_first_chunk() {
    let r = |n: usize| EMPTY + n;
    let cases: &[(&[u8], String)] = &[
        (b"BDAT 3 LAST\r\nabc", format!("BDAT {} LAST\r\n{{R}}abc", r(3))),
        (b"bdat 03 last\r\nabc", format!("BDAT {} LAST\r\n{{R}}abc", r(3))),
        (b"BDAT 3\r\nabcBDAT 2\r\ndeBDAT 0 LAST\r\n", format!("BDAT {}\r\n{{R}}abcBDAT 2\r\ndeBDAT 0 LAST\r\n", r(3))),
        (b"BDAT 0 LAST\r\n", format!("BDAT {} LAST\r\n{{R}}", r(0))),
        (b"BDAT 0\r\n", "BDAT 0\r\n".to_owned()),
        (b"BDAT 2\r\n x", format!("BDAT {}\r\n{{R}}\r\n x", r(4))),
        (b"BDAT 2\r\n\tx", format!("BDAT {}\r\n{{R}}\r\n\tx", r(4))),
        // RFC 3030 §2: no dot-stuffing, no newlines, no end of data.
        (b"BDAT 12\r\n.\n.\r\n\r.\r\n.\r\nNOOP\r\n", format!("BDAT {}\r\n{{R}}.\n.\r\n\r.\r\n.\r\nNOOP\r\n", r(12))),
        // The first octet decides, so it is waited for.
        (b"BDAT 2\r\n", String::new()),
    ];
    for (sent, expected) in cases {
        let (client, backend, _) = after(&smtp(), &envelope(), &[c(sent)]);
        assert_eq!(client, "");
        assert_eq!(backend, *expected, "{:?}", String::from_utf8_lossy(sent));
    }
}

#[test]
fn rfc3030_each_chunk_has_an_answer_and_the_last_is_the_verdict() {
    let all = c("BDAT 3\r\nabcBDAT 0 LAST\r\nNOOP\r\n");
    let (client, _, seen) = after(&smtp(), &envelope(), &[all.clone(), b("250 c\r\n250 taken\r\n250 n\r\n")]);
    assert_eq!(client, "250 c\r\n250 taken\r\n250 n\r\n");
    let messages = |seen: &[Event]| {
        seen.iter().filter(|event| matches!(event, Event::Message { .. })).cloned().collect::<Vec<_>>()
    };
    assert_eq!(messages(&seen.events), [Event::Message { accepted: true }]);
    // A refused chunk is the verdict; the rest of what the client sent is still octets.
    let (_, _, seen) = after(&smtp(), &envelope(), &[all, b("552 big\r\n503 no\r\n250 n\r\n")]);
    assert_eq!(messages(&seen.events), [Event::Message { accepted: false }]);
    let (_, _, seen) = after(&smtp(), &envelope(), &[c("BDAT 10\r\nab"), b("552 big\r\n"), c("NOOP\r\nxy")]);
    assert!(!seen.events.contains(&command("noop", true)));
    assert!(seen.backend().ends_with("abNOOP\r\nxy"));
    // Should a backend take a chunk after it refused one, that begins the message, so it carries a field.
    let (_, backend, _) = after(&smtp(), &envelope(), &[c("BDAT 1\r\nx"), b("451 c\r\n"), c("BDAT 1 LAST\r\ny")]);
    assert!(backend.ends_with("LAST\r\n{R}y"), "{backend}");
    // Without recipients there is no message.
    for (reset, answer) in [("RSET\r\n", "250 r\r\n"), ("EHLO c\r\n", OFFER)] {
        let (_, backend, _) = after(&smtp(), &envelope(), &[c(reset), b(answer), c("BDAT 1 LAST\r\nx")]);
        assert_eq!(backend, format!("{reset}BDAT 1 LAST\r\nx"));
    }
    // A second message has a field of its own.
    let again = "BDAT 1 LAST\r\nxMAIL FROM:<>\r\nRCPT TO:<r@example.com>\r\nBDAT 1 LAST\r\ny";
    let (_, backend, _) = after(&smtp(), &envelope(), &[c(again), b("250 t\r\n250 m\r\n250 r\r\n")]);
    let first = EMPTY + 1;
    assert_eq!(
        backend,
        format!("BDAT {first} LAST\r\n{{R}}xMAIL FROM:<>\r\nRCPT TO:<r@example.com>\r\nBDAT {first} LAST\r\n{{R}}y")
    );
}

#[test]
fn a_first_chunk_waits_for_the_recipients() {
    let all = c("MAIL FROM:<>\r\nRCPT TO:<r@example.com>\r\nBDAT 1 LAST\r\nx");
    let (_, backend, _) = after(&smtp(), &hello(), &[all.clone(), b("250 m\r\n")]);
    assert_eq!(backend, "MAIL FROM:<>\r\nRCPT TO:<r@example.com>\r\n");
    let (_, backend, _) = after(&smtp(), &hello(), &[all.clone(), b("250 m\r\n"), b("250 r\r\n")]);
    assert!(backend.ends_with(&format!("BDAT {} LAST\r\n{{R}}x", EMPTY + 1)), "{backend}");
    // Nobody to send to: the backend's answer, without a field.
    let (_, backend, seen) = after(&smtp(), &hello(), &[all, b("250 m\r\n"), b("550 r\r\n"), b("503 no\r\n")]);
    assert!(backend.ends_with("BDAT 1 LAST\r\nx"), "{backend}");
    assert!(!seen.events.contains(&Event::Message { accepted: false }));
    // A recipient that comes after a chunk nobody wanted: the message begins anew, with its field.
    let late = c("MAIL FROM:<>\r\nBDAT 1\r\nxRCPT TO:<r@example.com>\r\nBDAT 1 LAST\r\ny");
    let (_, backend, _) = after(&smtp(), &hello(), &[late, b("250 m\r\n"), b("503 no\r\n"), b("250 r\r\n")]);
    assert!(backend.ends_with(&format!("BDAT 1\r\nxRCPT TO:<r@example.com>\r\nBDAT {} LAST\r\n{{R}}y", EMPTY + 1)));
}

#[test]
fn bdat_that_was_not_offered_never_reaches_the_backend() {
    // It would take the octets for commands.
    let plain = [b("220 mx\r\n"), c("EHLO c\r\n"), b("250-mx\r\n250 SIZE\r\n")];
    let (client, backend, seen) =
        after(&smtp(), &plain, &[c("BDAT 14 LAST\r\nXCLIENT X=y\r\n\nNOOP\r\n"), b("250 n\r\n")]);
    assert_eq!(client, "502 5.5.1 Error: CHUNKING was not offered\r\n250 n\r\n");
    assert_eq!(backend, "NOOP\r\n");
    assert!(seen.events.contains(&command("bdat", false)));
    // The last hello counts.
    let helo = [hello(), vec![c("HELO c\r\n"), b("250 mx\r\n")]].concat();
    let (client, backend, _) = after(&smtp(), &helo, &[c("BDAT 0 LAST\r\n")]);
    assert_eq!((client.as_str(), backend.as_str()), ("502 5.5.1 Error: CHUNKING was not offered\r\n", ""));
}

#[test]
fn a_chunk_without_a_size_is_the_end() {
    for argument in ["", "x", "-1", "+1", "99999999999999999999", "1 FIRST"] {
        let steps = [c(format!("NOOP\r\nBDAT {argument}\r\nNOOP\r\n")), b("250 n\r\n")];
        let (client, backend, seen) = after(&smtp(), &hello(), &steps);
        assert!(client.starts_with("250 n\r\n501 5.5.4 Syntax: BDAT "), "{client}");
        assert_eq!(backend, "NOOP\r\n");
        assert_eq!(seen.end, End::Violated("bad chunk size"));
    }
}
