//! How sessions end that nobody said QUIT to.

use super::{after, envelope, hello, rejecting, smtp};
use crate::facts::{Outcome, Reason};
use crate::protocol::smtp::fixtures::{End, Seen, Step, b, c};
use crate::protocol::smtp::{reasons, replies};
use crate::protocol::{Ended, Event, Wait};

const DOWN: &str = "421 4.3.2 mx.example.com Service not available, try again later\r\n";
const LATE: &str = "421 4.4.2 mx.example.com Error: timeout exceeded\r\n";
const SLOW: &str = "421 4.4.2 mx.example.com Error: the message comes in too slowly\r\n";
const STOP: &str = "421 4.3.2 mx.example.com Service shutting down, try again later\r\n";

fn gone() -> Step {
    Step::E(Ended::BackendEof)
}

fn left(clean: bool) -> Step {
    Step::E(Ended::ClientEof { clean })
}

fn late(wait: Wait) -> Step {
    Step::E(Ended::Deadline(wait))
}

#[test]
fn a_backend_in_trouble_becomes_a_421_in_the_right_place() {
    let endless = b(format!("250-{}", "x".repeat(70_000)));
    let cases: &[(Vec<Step>, &str)] = &[
        (vec![gone()], DOWN),
        (vec![c("NOOP\r\n"), gone()], DOWN),
        // A reply is passed whole or not at all.
        (vec![c("NOOP\r\n"), b("250 half"), gone()], DOWN),
        (vec![c("NOOP\r\n"), b("250-one\r\n250-two\r\n"), gone()], DOWN),
        (vec![c("NOOP\r\nRSET\r\n"), b("250 n\r\n250 ha"), gone()], &["250 n\r\n", DOWN].concat()),
        (vec![c("NOOP\r\nXCLIENT x\r\n"), gone()], DOWN),
        (vec![c("NOOP\r\n"), b("hello\r\n")], DOWN),
        (vec![c("NOOP\r\n"), b("250 ok\n")], DOWN),
        (vec![c("NOOP\r\n"), b("250-a\r\n251 b\r\n")], DOWN),
        (vec![c("NOOP\r\n"), endless], DOWN),
        // Unasked.
        (vec![b("250 what\r\n")], DOWN),
        (vec![c("NOOP\r\n"), b("250 n\r\n250 m\r\n")], &["250 n\r\n", DOWN].concat()),
        // RFC 5321 §3.8: a 421 at any time.
        (vec![b("421 bye\r\n")], "421 bye\r\n"),
        (vec![c("NOOP\r\nRSET\r\n"), b("421-b\r\n421 ye\r\n250 x\r\n")], "421-b\r\n421 ye\r\n"),
        (vec![c("EHLO c\r\n"), b("421 bye\r\n")], "421 bye\r\n"),
        (vec![c("NOOP\r\n"), late(Wait::Reply)], DOWN),
    ];
    for (steps, expected) in cases {
        let (client, _, seen) = after(&smtp(), &hello(), steps);
        assert_eq!(client, *expected, "{steps:?}");
        assert_eq!(seen.end, End::Closed, "{steps:?}");
        let ended = seen.events.iter().any(|event| matches!(event, Event::Ending(_)));
        assert!(ended, "{steps:?}");
    }
    let data = [envelope(), vec![c("DATA\r\n"), b("354 go\r\n"), c("x\r\n.\r\n")]].concat();
    let (client, _, seen) = after(&smtp(), &data, &[b("421 bye\r\n")]);
    assert_eq!(client, "421 bye\r\n");
    assert!(seen.events.contains(&Event::Message { accepted: false }));
}

#[test]
fn an_idle_session_is_small() {
    // Its task, buffers and TLS come on top: the dialogue shall not be what one notices.
    let size = size_of::<crate::protocol::smtp::dialogue::SmtpDialogue>();
    assert!(size <= 272, "{size} octets");
}

#[test]
fn a_message_that_breaks_off_is_never_completed() {
    let data = [envelope(), vec![c("DATA\r\n"), b("354 go\r\n")]].concat();
    let chunk = [envelope(), vec![c("BDAT 10 LAST\r\nabc")]].concat();
    // Before it, what happens, what the client hears, what the backend gets of it.
    let cases: &[(&[Step], Vec<Step>, &str, &str)] = &[
        (&data, vec![c("x\r\n"), left(true)], "", "{R}x\r\n"),
        (&data, vec![c("x\r\n."), left(true)], "", "{R}x\r\n"),
        (&data, vec![c("x\r\n.\r"), left(false)], "", "{R}x\r\n"),
        (&data, vec![c("x\r\n"), gone()], DOWN, "{R}x\r\n"),
        (&data, vec![c("x\r\n"), late(Wait::Body)], LATE, "{R}x\r\n"),
        (&data, vec![c("x\r\n"), Step::E(Ended::TooSlow)], SLOW, "{R}x\r\n"),
        (&chunk, vec![c("de"), Step::E(Ended::TooSlow)], SLOW, "de"),
        (&data, vec![c("x\r\n"), Step::E(Ended::Drain)], STOP, "{R}x\r\n"),
        (&data, vec![c("x\r\n"), b("421 bye\r\n"), c(".\r\n")], "421 bye\r\n", "{R}x\r\n"),
        (&data, vec![c("x\r\n"), b("552 big\r\n"), c(".\r\n")], "552 big\r\n", "{R}x\r\n"),
        (&data, vec![c("x\r\n"), b("250 already\r\n")], DOWN, "{R}x\r\n"),
        (&data, vec![c("x\r\n.\r\n"), gone()], DOWN, "{R}x\r\n.\r\n"),
        (&data, vec![c("x\r\n.\r\n"), b("250 ta"), gone()], DOWN, "{R}x\r\n.\r\n"),
        (&data, vec![c("x\r\n.\r\n"), late(Wait::Delivery)], DOWN, "{R}x\r\n.\r\n"),
        (&chunk, vec![c("de"), left(true)], "", "de"),
        (&chunk, vec![c("de"), gone()], DOWN, "de"),
        (&chunk, vec![c("de"), late(Wait::Body)], LATE, "de"),
    ];
    for (before, steps, client, backend) in cases {
        let (to_client, to_backend, seen) = after(&smtp(), before, steps);
        assert_eq!((to_client.as_str(), to_backend.as_str()), (*client, *backend), "{steps:?}");
        assert_eq!(seen.end, End::Closed, "{steps:?}");
        assert!(!seen.events.contains(&Event::Message { accepted: true }), "{steps:?}");
    }
}

/// Why the session ends, as far as the dialogue says so.
fn reasons_in(seen: &Seen) -> Vec<Reason> {
    let reason = |event: &Event| match event {
        Event::Ending(reason) | Event::Refused(reason) => Some(*reason),
        _ => None,
    };
    seen.events.iter().filter_map(reason).collect()
}

#[test]
fn a_client_that_does_not_wait_for_the_221_has_ended_well() {
    let (_, _, seen) = after(&smtp(), &hello(), &[c("QUIT\r\n"), left(false)]);
    assert_eq!((reasons_in(&seen), seen.end), (vec![reasons::QUIT], End::Closed));
    // With an answer outstanding it does not know what became of its command.
    let (_, _, seen) = after(&smtp(), &hello(), &[c("NOOP\r\nQUIT\r\n"), left(false)]);
    assert_eq!(reasons_in(&seen), [reasons::CLIENT_CUT]);
}

#[test]
fn a_rejected_message_is_one_refusal_however_the_session_ends() {
    let rejected = [envelope(), vec![c("DATA\r\n"), b("354 go\r\n"), c("x\ny")]].concat();
    let cases: &[(Step, &str)] = &[
        (left(true), ""),
        (left(false), ""),
        (late(Wait::Body), LATE),
        (Step::E(Ended::Drain), STOP),
        (c("z\r\n.\r\n"), std::str::from_utf8(replies::BARE_NEWLINE_IN_DATA).unwrap()),
    ];
    for (step, answer) in cases {
        let (client, _, seen) = after(&rejecting(), &rejected, std::slice::from_ref(step));
        assert_eq!((client.as_str(), &seen.end), (*answer, &End::Closed), "{step:?}");
        assert_eq!(reasons_in(&seen), [reasons::BARE_NEWLINE_IN_DATA], "{step:?}");
    }
}

#[test]
fn a_client_that_leaves_between_two_chunks_leaves_its_message() {
    let chunk = [envelope(), vec![c("BDAT 3\r\nabc"), b("250 more\r\n")]].concat();
    for said in ["", "BDAT 4 LAST\r\n", "BD"] {
        let (_, _, seen) = after(&smtp(), &chunk, &[c(said), left(true)]);
        assert_eq!((reasons_in(&seen), &seen.end), (vec![reasons::CLIENT_LOST], &End::Closed), "{said:?}");
    }
    let (_, _, seen) = after(&smtp(), &chunk, &[c("BDAT 1 LAST\r\nd"), b("250 ok\r\n"), left(true)]);
    assert_eq!(reasons_in(&seen), []);
}

#[test]
fn a_client_that_leaves_may_hear_its_answers() {
    let cases: &[(Vec<Step>, &str, &str, End)] = &[
        (vec![left(true)], "", "", End::Closed),
        (vec![c("NOOP"), left(true)], "", "", End::Closed),
        (vec![c("NOOP\r\n"), left(true)], "", "NOOP\r\n", End::Open(Wait::Reply)),
        (vec![c("NOOP\r\n"), left(true), b("250 n\r\n")], "250 n\r\n", "NOOP\r\n", End::Closed),
        (vec![c("NOOP\r\nRSET"), left(true), b("250 n\r\n")], "250 n\r\n", "NOOP\r\n", End::Closed),
        // What it said before it left may have been held.
        (
            vec![c("HELO c\r\nNOOP\r\nRS"), left(true), b("250 h\r\n"), b("250 n\r\n")],
            "250 h\r\n250 n\r\n",
            "HELO c\r\nNOOP\r\n",
            End::Closed,
        ),
        (vec![c("HELO c\r\nNO"), left(true), b("250 h\r\n")], "250 h\r\n", "HELO c\r\n", End::Closed),
        // A cut connection is no end.
        (vec![c("NOOP\r\n"), left(false), b("250 n\r\n")], "", "NOOP\r\n", End::Closed),
    ];
    for (steps, client, backend, end) in cases {
        let (to_client, to_backend, seen) = after(&smtp(), &hello(), steps);
        assert_eq!((to_client.as_str(), to_backend.as_str()), (*client, *backend), "{steps:?}");
        assert_eq!(seen.end, *end, "{steps:?}");
    }
}

#[test]
fn silence_and_shutdown_are_told() {
    let ending = |outcome| move |event: &Event| matches!(event, Event::Ending(reason) if reason.outcome == outcome);
    let cases: &[(Vec<Step>, &str, Outcome)] = &[
        (vec![late(Wait::Login)], LATE, Outcome::Timeout),
        (vec![c("NOO"), late(Wait::Command)], LATE, Outcome::Timeout),
        (vec![Step::E(Ended::Drain)], STOP, Outcome::Shutdown),
        (vec![c("NOOP\r\n"), Step::E(Ended::Drain), b("250 n\r\n")], &["250 n\r\n", STOP].concat(), Outcome::Shutdown),
        (vec![c("NOOP\r\n"), Step::E(Ended::Drain), late(Wait::Reply)], DOWN, Outcome::Timeout),
    ];
    for (steps, client, outcome) in cases {
        let (to_client, _, seen) = after(&smtp(), &hello(), steps);
        assert_eq!(to_client, *client, "{steps:?}");
        assert_eq!(seen.end, End::Closed, "{steps:?}");
        assert!(seen.events.iter().any(ending(*outcome)), "{steps:?}");
    }
    let (_, _, seen) = after(&smtp(), &hello(), &[c("NOOP\r\n"), Step::E(Ended::Drain)]);
    assert_eq!(seen.end, End::Open(Wait::Reply));
}

#[test]
fn rfc5321_4_5_3_2_what_is_waited_for() {
    let cases: &[(Vec<Step>, Wait)] = &[
        (vec![], Wait::Login),
        (vec![c("NOOP\r\n")], Wait::Reply),
        (vec![c("MAIL FROM:<>\r\n"), b("250 m\r\n")], Wait::Command),
        // Octets for a message that was not begun.
        (vec![c("BDAT 5\r\nx")], Wait::Login),
        (vec![c("DATA\r\n"), b("354 go\r\n")], Wait::Login),
        (vec![c([b'x'; 3000])], Wait::Login),
    ];
    for (steps, wait) in cases {
        assert_eq!(after(&smtp(), &hello(), steps).2.end, End::Open(*wait), "{steps:?}");
    }
    let cases: &[(Vec<Step>, Wait)] = &[
        (vec![c("RCPT TO:<r>\r\nDATA\r\n"), b("250 r\r\n")], Wait::Reply),
        (vec![c("DATA\r\n"), b("354 go\r\n")], Wait::Body),
        (vec![c("DATA\r\n"), b("354 go\r\n"), c("x\r\n.\r\n")], Wait::Delivery),
        (vec![c("BDAT 5\r\nx")], Wait::Body),
        (vec![c("BDAT 1\r\nx")], Wait::Reply),
        // The next chunk is more of the message, however short the chunks are.
        (vec![c("BDAT 1\r\nx"), b("250 c\r\n")], Wait::Body),
        (vec![c("BDAT 1\r\nx"), b("250 c\r\n"), c("BDAT 1\r\nx"), b("250 c\r\n"), c("NOO")], Wait::Body),
        (vec![c("BDAT 1\r\nx"), b("452 c\r\n")], Wait::Command),
        (vec![c("BDAT 1\r\nx"), b("250 c\r\n"), c("RSET\r\n"), b("250 r\r\n")], Wait::Command),
        (vec![c("BDAT 1 LAST\r\nx")], Wait::Delivery),
        (vec![c("BDAT 1 LAST\r\nx"), b("250 l\r\n")], Wait::Command),
        // A line without end, too.
        (vec![c([b'x'; 3000])], Wait::Body),
        (vec![c([b'x'; 3000]), c("\r\n")], Wait::Command),
    ];
    for (steps, wait) in cases {
        assert_eq!(after(&smtp(), &envelope(), steps).2.end, End::Open(*wait), "{steps:?}");
    }
}
