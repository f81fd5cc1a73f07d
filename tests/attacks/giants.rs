//! Giant inputs, from clients and from backends: they end where their limit is, and the gate never holds them.

use std::sync::LazyLock;

use crate::support::fake::{self, Fake};
use crate::support::gate::{BEHIND_BALANCER, Gate, Setup};
use crate::support::process::Process;
use crate::support::wire::{Offer, Wire};

/// A line, a message.
const GIANT: usize = 64 << 20;

/// What the gate's peak may grow by, in KiB: its workers' buffers, which are there once and for all.
const GROWTH: u64 = 12 << 10;

/// Octets that arrive by the piece.
static PIECE: LazyLock<Vec<u8>> = LazyLock::new(|| vec![b'x'; 1 << 20]);

fn smtp_backend() -> Fake {
    Fake::start(fake::smtp(|line, wire| {
        // The fake's own way would keep what it reads.
        (line == "DATA").then(|| {
            wire.send("354 End data with <CR><LF>.<CR><LF>\r\n");
            let octets = wire.swallow_until(b"\r\n.\r\n");
            wire.try_send(format!("250 2.0.0 Ok: {octets} octets\r\n").as_bytes()).is_ok()
        })
    }))
}

fn imap(mut wire: Wire) {
    drop(wire.try_send(b"* OK [CAPABILITY IMAP4rev1] ready\r\n"));
    while let Some(line) = wire.line() {
        let tag = line.split(' ').next().unwrap_or_default();
        drop(wire.try_send(format!("{tag} OK done\r\n").as_bytes()));
    }
}

fn gate(smtp: &Fake, imap: &Fake) -> Gate {
    let relay = "allow_relay_as_proxy = true";
    Setup::new()
        .listener_with("smtp", smtp.port, "none", relay)
        .listener_with("submissions", smtp.port, "none", relay)
        .listener("imap", imap.port, "none")
        .listener("imaps", imap.port, "none")
        .start()
}

/// A wire behind the greeting, before TLS or inside it.
fn wire(gate: &Gate, service: &str, secured: bool) -> Wire {
    if secured {
        return gate.secured(service, &Offer::default().config());
    }
    let mut wire = gate.connect(service);
    wire.line().expect("a greeting");
    wire
}

/// Sends `octets` of nothing else than x, or as many as the gate takes: how many those were.
fn flood(wire: &mut Wire, octets: usize) -> usize {
    let mut sent = 0;
    while sent < octets && wire.try_send(&PIECE).is_ok() {
        sent += PIECE.len();
    }
    sent
}

/// The peak of the gate's memory while `attack` runs grows by little.
fn bounded<T>(process: Process, what: &str, attack: impl FnOnce() -> T) -> T {
    let before = process.peak();
    let result = attack();
    let growth = process.peak().saturating_sub(before);
    assert!(growth <= GROWTH, "{what}: {growth} KiB more");
    result
}

const PLACES: [(&str, bool); 5] =
    [("smtp", false), ("smtp", true), ("submissions", true), ("imap", false), ("imaps", true)];

/// Floods every place behind what `begin` says there; the connection ends, with that in its record.
fn never_ends_well(begin: impl Fn(&str, bool) -> Option<&'static str>, reason: &str) {
    let (smtp, imap) = (smtp_backend(), Fake::start(imap));
    let gate = gate(&smtp, &imap);
    for (service, secured) in PLACES {
        let Some(begin) = begin(service, secured) else { continue };
        bounded(gate.process(), service, || {
            let mut wire = wire(&gate, service, secured);
            for part in begin.split_inclusive("\r\n") {
                wire.send(part);
                if part.ends_with("\r\n") {
                    wire.line().expect("an answer");
                }
            }
            let sent = flood(&mut wire, GIANT);
            assert!(sent < GIANT, "{service}: all of it was taken");
            let client = format!("client_port={} ", wire.port);
            drop(wire);
            gate.log.wait_for(&["event=ended", &client, reason]);
        });
    }
}

#[test]
fn a_command_line_of_64_mib_is_the_end() {
    never_ends_well(|service, _| Some(if service.starts_with("imap") { "a NOOP " } else { "NOOP " }), "too long\"");
}

#[test]
fn credentials_of_a_mib_are_the_end() {
    never_ends_well(
        |service, secured| match service {
            "submissions" => Some("AUTH PLAIN "),
            "imaps" => Some("a AUTHENTICATE PLAIN "),
            _ => (secured && service == "imap").then_some("a LOGIN "),
        },
        "too long\"",
    );
}

#[test]
fn sasl_answers_of_a_mib_are_the_end() {
    let smtp = Fake::start(fake::smtp(|line, wire| {
        line.starts_with("AUTH").then(|| wire.try_send(b"334 \r\n").is_ok() && wire.line().is_some())
    }));
    let imap = Fake::start(|mut wire: Wire| {
        wire.send("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] ready\r\n");
        while let Some(line) = wire.line() {
            let tag = line.split(' ').next().unwrap_or_default();
            let answer = if line.contains("AUTHENTICATE") { "+ \r\n".to_owned() } else { format!("{tag} OK done\r\n") };
            drop(wire.try_send(answer.as_bytes()));
        }
    });
    let gate = gate(&smtp, &imap);
    for (service, command, challenge) in
        [("submissions", "AUTH PLAIN\r\n", "334"), ("imaps", "a AUTHENTICATE PLAIN\r\n", "+")]
    {
        bounded(gate.process(), service, || {
            let mut wire = wire(&gate, service, true);
            wire.send(command);
            let line = wire.line().expect("a challenge");
            assert!(line.starts_with(challenge), "{line}");
            assert!(flood(&mut wire, GIANT) < GIANT, "{service}: all of it was taken");
            let client = format!("client_port={} ", wire.port);
            drop(wire);
            gate.log.wait_for(&["event=ended", &client, "too long\""]);
        });
    }
}

#[test]
fn literals_of_4_gib_are_refused_before_their_octets() {
    let (smtp, imap) = (smtp_backend(), Fake::start(imap));
    let gate = gate(&smtp, &imap);
    for (service, secured, plus) in
        [("imap", false, ""), ("imap", false, "+"), ("imaps", true, ""), ("imaps", true, "+")]
    {
        for octets in ["4294967295", "4294967296", "4294967297"] {
            let mut wire = wire(&gate, service, secured);
            wire.send(format!("a LOGIN {{{octets}{plus}}}\r\n"));
            let line = wire.line().expect("an answer");
            let refused = if plus.is_empty() { line.starts_with("a ") } else { line.starts_with("* BYE ") };
            assert!(refused, "{service} {{{octets}{plus}}}: {line}");
            if !plus.is_empty() {
                bounded(gate.process(), "a literal", || assert!(flood(&mut wire, GIANT) < GIANT));
            }
        }
    }
}

#[test]
fn a_message_flows_through_whatever_its_lines() {
    let (smtp, imap) = (smtp_backend(), Fake::start(imap));
    let gate = gate(&smtp, &imap);
    for begin in ["Subject: ", "Subject: one\r\n\r\n"] {
        let mut wire = wire(&gate, "submissions", true);
        assert_eq!(wire.say("MAIL FROM:<sender@example.net>").code, 250);
        assert_eq!(wire.say("RCPT TO:<reader@example.net>").code, 250);
        assert_eq!(wire.say("DATA").code, 354);
        bounded(gate.process(), begin, || {
            wire.send(begin);
            assert_eq!(flood(&mut wire, GIANT), GIANT);
            wire.send("\r\n.\r\n");
            let reply = wire.reply();
            let octets: usize = reply.lines.concat().split(' ').rev().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
            assert!(reply.code == 250 && octets > GIANT, "{reply:?}");
        });
    }
}

/// What is said before TLS is judged by us alone, as fast as it comes.
#[test]
fn a_million_commands_before_tls_leave_nothing_behind() {
    let (smtp, imap) = (smtp_backend(), Fake::start(imap));
    let gate = gate(&smtp, &imap);
    for (service, command) in [("smtp", "NOOP"), ("imap", "a NOOP")] {
        let mut wire = wire(&gate, service, false);
        let batch = 10_000;
        let text = format!("{command}\r\n").repeat(batch);
        bounded(gate.process(), command, || {
            for _ in 0..100 {
                wire.send(&text);
                (0..batch).for_each(|_| drop(wire.line().expect("an answer")));
            }
        });
    }
}

/// Says a recipient so often without waiting, while the answers are read; the gate's memory does not grow with their number.
fn pipelined(count: usize) {
    let command = "RCPT TO:<reader@example.net>";
    let (smtp, imap) = (smtp_backend(), Fake::start(imap));
    let gate = gate(&smtp, &imap);
    // A session that has had some of them is how much one needs.
    for count in [1_000, count] {
        let wire = bounded(gate.process(), command, || {
            let mut wire = wire(&gate, "smtp", true);
            assert_eq!(wire.say("MAIL FROM:<sender@example.net>").code, 250);
            let batch = 50;
            let text = format!("{command}\r\n").repeat(batch);
            for _ in 0..count / batch {
                wire.send(&text);
                for _ in 0..batch {
                    assert_eq!(wire.reply().code, 250);
                }
            }
            wire
        });
        drop(wire);
    }
}

const PIPELINED: [&str; 3] = ["RCPT TO:<reader@example.net>", "NOOP", "RSET"];

#[test]
fn ten_thousand_recipients_leave_nothing_behind() {
    pipelined(10_000);
}

#[test]
#[ignore = "takes minutes"]
fn a_million_recipients_leave_nothing_behind() {
    pipelined(1_000_000);
}

#[test]
fn a_client_that_pipelines_millions_of_commands_and_reads_nothing_is_not_read() {
    let (smtp, imap) = (smtp_backend(), Fake::start(imap));
    let gate = gate(&smtp, &imap);
    for command in PIPELINED {
        let mut wire = wire(&gate, "smtp", true);
        bounded(gate.process(), command, || {
            // What the kernel's buffers and the gate's take, it takes; then nothing moves any more.
            wire.give_up_writing_soon();
            let text = format!("{command}\r\n").repeat(10_000);
            let most = GIANT / text.len();
            let sent = (0..most).take_while(|_| wire.try_send(text.as_bytes()).is_ok()).count();
            assert!(sent < most, "{command}: all was taken");
        });
    }
}

/// Says the same over and over.
fn endless(mut wire: Wire, begin: &str, more: &str) {
    if wire.try_send(begin.as_bytes()).is_ok() {
        let piece = more.repeat((64 << 10) / more.len());
        while wire.try_send(piece.as_bytes()).is_ok() {}
    }
}

#[test]
fn backends_without_end_are_cut() {
    let (smtp, imap) = (smtp_backend(), Fake::start(imap));
    let gate = gate(&smtp, &imap);
    // Instead of a greeting, and behind one in answer to whatever comes first.
    let greetings = [("220-", "x"), ("220-old\r\n", "220-old.example.net\r\n"), ("", "\r\n")];
    let answers = [("250-", "x"), ("250-old\r\n", "250-SIZE\r\n"), ("250 Ok\r\n", "250 Ok\r\n")];
    let config = Offer::default().config();
    for (greeted, replies) in [(false, greetings), (true, answers)] {
        for (begin, more) in replies {
            until_passed_on(&gate, "submissions");
            smtp.instead(move |mut wire| {
                if greeted {
                    wire.send("220 old.example.net ESMTP\r\n");
                    wire.line();
                }
                endless(wire, begin, more);
            });
            bounded(gate.process(), more, || {
                let mut wire = gate.connect("submissions").tls(&config);
                drop(wire.try_send(b"EHLO client.example.org\r\n"));
                let said = wire.rest();
                assert!(said.lines().last().unwrap_or_default().starts_with("421 "), "{begin:?} {more:?}: {said}");
                assert!(said.len() < 1_000, "{begin:?} {more:?}: {} octets", said.len());
            });
            smtp.instead(fake::smtp(|_, _| None));
        }
    }
    let greetings = [("* OK [CAPABILITY IMAP4rev1", " X"), ("", "x"), ("* OK {4294967296}\r\n", "x")];
    let answers = [("* CAPABILITY IMAP4rev1", " X"), ("* CAPABILITY {4294967296}\r\n", "x")];
    let cases = greetings.map(|case| (false, case)).into_iter().chain(answers.map(|case| (true, case)));
    for (greeted, (begin, more)) in cases {
        until_passed_on(&gate, "imaps");
        imap_instead(&imap, greeted, begin, more);
        bounded(gate.process(), more, || {
            let mut wire = gate.connect("imaps").tls(&config);
            drop(wire.try_send(b"a CAPABILITY\r\n"));
            let said = wire.rest();
            assert!(said.lines().last().unwrap_or_default().starts_with("* BYE "), "{begin:?} {more:?}: {said}");
            assert!(said.len() < 1_000, "{begin:?} {more:?}: {} octets", said.len());
        });
        imap.instead(self::imap);
    }
}

fn imap_instead(fake: &Fake, greeted: bool, begin: &'static str, more: &'static str) {
    fake.instead(move |mut wire| {
        if greeted {
            wire.send("* OK ready\r\n");
            wire.line();
        }
        endless(wire, begin, more);
    });
}

/// A backend that broke the protocol is tested before it gets the next session.
fn until_passed_on(gate: &Gate, service: &str) {
    let config = Offer::default().config();
    crate::support::wait::until("sessions are passed on", || {
        let line = gate.connect(service).tls(&config).line().unwrap_or_default();
        (line.starts_with("220") || line.starts_with("* OK")).then_some(())
    });
}

#[test]
fn a_proxy_header_without_end_is_the_end() {
    let smtp = smtp_backend();
    let behind = format!("allow_relay_as_proxy = true\n{BEHIND_BALANCER}");
    let gate = Setup::new().listener_with("smtp", smtp.port, "none", &behind).start();
    let version2 = [b"\r\n\r\n\0\r\nQUIT\n\x21\x11".as_slice(), &u16::MAX.to_be_bytes()].concat();
    for begin in [b"PROXY TCP4 ".as_slice(), b"PROXY UNKNOWN ", &version2] {
        let log = gate.log.tail();
        bounded(gate.process(), "a PROXY header", || {
            let mut wire = gate.connect("smtp");
            wire.send(begin);
            assert!(flood(&mut wire, GIANT) < GIANT, "all of it was taken");
            drop(wire);
            log.wait_for(&["event=ended", "malformed PROXY header"]);
        });
    }
}

#[test]
fn a_client_hello_without_end_is_the_end() {
    let (smtp, imap) = (smtp_backend(), Fake::start(imap));
    let gate = gate(&smtp, &imap);
    // RFC 8446 §5.1: ContentType.handshake, version, length; §4: HandshakeType.client_hello, length.
    let record = |content: &[u8]| {
        let length = u16::try_from(content.len()).expect("a record's length").to_be_bytes();
        [&[22, 3, 1, length[0], length[1]], content].concat()
    };
    let giant = [&[1, 0xff, 0xff, 0xff], [0; 16_000].as_slice()].concat();
    let largest = [1, 0, 0x3f, 0xff];
    let cases: [(&str, Vec<u8>, Vec<u8>); 4] = [
        ("16 MiB", record(&giant), record(&[0; 16_000])),
        ("empty records", record(&[]), record(&[])),
        ("records of one octet", record(&largest), record(&[0])),
        ("records of one octet, none of it a ClientHello's length", record(&[1]), record(&[0xff])),
    ];
    for (what, begin, more) in cases {
        bounded(gate.process(), what, || {
            let mut wire = gate.connect("submissions");
            wire.send(&begin);
            let more = more.repeat((1 << 20) / more.len());
            let taken = (0..64).take_while(|_| wire.try_send(&more).is_ok()).count();
            assert!(taken < 64, "{what}: all of it was taken");
            let client = format!("client_port={} ", wire.port);
            drop(wire);
            gate.log.wait_for(&["event=ended", &client, "outcome=client_error"]);
        });
    }
}

#[test]
fn empty_records_inside_tls_are_the_end() {
    let (smtp, imap) = (smtp_backend(), Fake::start(imap));
    let gate = gate(&smtp, &imap);
    let mut wire = wire(&gate, "submissions", true);
    bounded(gate.process(), "empty records", || {
        // Records of the middlebox compatibility mode (RFC 8446 §D.4) after the handshake.
        let piece = [20, 3, 3, 0, 1, 1].repeat(100_000);
        let taken = (0..64).take_while(|_| wire.try_send_beneath(&piece).is_ok()).count();
        assert!(taken < 64, "all of it was taken");
    });
    let client = format!("client_port={} ", wire.port);
    drop(wire);
    gate.log.wait_for(&["event=ended", &client]);
}
