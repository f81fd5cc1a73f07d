//! Backends that misbehave: the client gets a whole, correct answer, and never a 250 that is not the backend's.

use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use crate::support::fake::{self, Fake};
use crate::support::gate::{Gate, Setup};
use crate::support::wait::PATIENCE;
use crate::support::wire::{Offer, Wire};

/// A gate before fakes that may be told to misbehave, with short deadlines.
fn gate(smtp: &Fake, imap: &Fake) -> Gate {
    let vouched = "allow_relay_as_proxy = true";
    Setup::new()
        .table("[deadlines]\nconnect = \"2s\"\ngreeting = \"1s\"\nreply = \"1s\"\ndelivery = \"1s\"")
        .listener_with("smtp", smtp.port, "none", vouched)
        .listener_with("submissions", smtp.port, "none", vouched)
        .listener("imap", imap.port, "none")
        .listener("imaps", imap.port, "none")
        .start()
}

fn good_smtp(wire: Wire) {
    fake::smtp(|_, _| None)(wire);
}

fn good_imap(mut wire: Wire) {
    wire.send("* OK [CAPABILITY IMAP4rev1 LITERAL+ SASL-IR AUTH=PLAIN] old ready\r\n");
    while let Some(line) = wire.line() {
        let tag = line.split(' ').next().unwrap_or_default().to_owned();
        if wire.try_send(format!("{tag} OK done\r\n").as_bytes()).is_err() {
            return;
        }
    }
}

/// What a peer does instead of what it should, by name.
type Misbehaviour = (&'static str, fn(Wire));

/// Reads until the gate gives up.
fn silent(mut wire: Wire) {
    wire.rest();
}

fn hangs_up(_: Wire) {}

fn nonsense(mut wire: Wire) {
    wire.send("I am not what you think\r\n");
    wire.rest();
}

fn endless_line(mut wire: Wire) {
    while wire.try_send(&[b'2'; 65_536]).is_ok() {}
}

fn half_a_greeting(mut wire: Wire) {
    drop(wire.try_send(b"220-old.example.net\r\n220-more to co"));
}

fn refuses(mut wire: Wire) {
    wire.send("421 4.3.2 old.example.net going down\r\n");
}

fn half_an_imap_greeting(mut wire: Wire) {
    drop(wire.try_send(b"* OK [CAPABILITY IMAP4rev1"));
}

fn bye(mut wire: Wire) {
    wire.send("* BYE old server going down\r\n");
}

fn preauth(mut wire: Wire) {
    wire.send("* PREAUTH welcome, root\r\n");
    wire.rest();
}

#[test]
fn an_smtp_backend_that_does_not_greet_becomes_a_421() {
    const CASES: [Misbehaviour; 6] = [
        ("silent", silent),
        ("hangs up", hangs_up),
        ("nonsense", nonsense),
        ("endless line", endless_line),
        ("half a greeting", half_a_greeting),
        ("refuses", refuses),
    ];
    let (smtp, imap) = (Fake::start(good_smtp), Fake::start(good_imap));
    let gate = gate(&smtp, &imap);
    let config = Offer::default().config();
    for (what, misbehaviour) in CASES {
        open_again(&gate, &smtp);
        smtp.instead(misbehaviour);
        let mut implicit = gate.connect("submissions").tls(&config);
        assert_eq!(implicit.reply().code, 220, "{what}");
        assert_eq!(implicit.say("EHLO client.example.org").code, 421, "{what}, in answer to EHLO");
        implicit.end();

        open_again(&gate, &smtp);
        smtp.instead(misbehaviour);
        let mut wire = gate.connect("smtp");
        assert_eq!(wire.reply().code, 220, "{what}");
        wire.say("EHLO client.example.org");
        assert_eq!(wire.say("STARTTLS").code, 220);
        let mut wire = wire.tls(&config);
        assert_eq!(wire.say("EHLO client.example.org").code, 421, "{what}, in answer to EHLO after STARTTLS");
        wire.end();
    }
}

/// Lets the fake behave until sessions are passed on again.
fn open_again(gate: &Gate, smtp: &Fake) {
    smtp.instead(good_smtp);
    let config = Offer::default().config();
    crate::support::wait::until("sessions are passed on", || {
        let mut wire = gate.connect("submissions").tls(&config);
        (wire.reply().code == 220).then_some(())
    });
}

#[test]
fn an_imap_backend_that_does_not_greet_becomes_a_bye() {
    const CASES: [Misbehaviour; 7] = [
        ("silent", silent),
        ("hangs up", hangs_up),
        ("nonsense", nonsense),
        ("endless line", endless_line),
        ("half a greeting", half_an_imap_greeting),
        ("says BYE", bye),
        ("PREAUTH", preauth),
    ];
    let (smtp, imap) = (Fake::start(good_smtp), Fake::start(good_imap));
    let gate = gate(&smtp, &imap);
    let config = Offer::default().config();
    let open_again = || {
        imap.instead(good_imap);
        crate::support::wait::until("sessions are passed on", || {
            let mut wire = gate.connect("imaps").tls(&config);
            wire.line().is_some_and(|line| line.starts_with("* OK")).then_some(())
        });
    };
    for (what, misbehaviour) in CASES {
        open_again();
        imap.instead(misbehaviour);
        let mut implicit = gate.secured("imaps", &config);
        drop(implicit.try_send(b"a CAPABILITY\r\n"));
        let farewell = implicit.line().unwrap_or_default();
        assert!(farewell.starts_with("* BYE"), "{what}: {farewell}");
        implicit.end();

        open_again();
        imap.instead(misbehaviour);
        let mut wire = gate.secured("imap", &config);
        drop(wire.try_send(b"a CAPABILITY\r\n"));
        let farewell = wire.line().unwrap_or_default();
        assert!(farewell.starts_with("* BYE"), "{what}, after STARTTLS: {farewell}");
        wire.end();
    }
}

#[test]
fn a_backend_that_is_gone_is_a_421_and_a_bye() {
    let (smtp, imap) = (Fake::start(good_smtp), Fake::start(good_imap));
    let gate = gate(&smtp, &imap);
    drop((smtp, imap));
    let config = Offer::default().config();
    // The first to need them finds that out, the next one is told at once.
    for command in [Some("EHLO client.example.org"), None] {
        let mut wire = gate.connect("submissions").tls(&config);
        let mut reply = wire.reply();
        if let Some(command) = command {
            assert_eq!(reply.code, 220);
            reply = wire.say(command);
        }
        assert!(reply.code == 421 && reply.lines[0].starts_with("4.3.2 "), "{reply:?}");
        wire.end();
        gate.log.wait_for(&["outcome=backend_error", "service=submissions", &format!("client_port={} ", wire.port)]);
    }
    for command in [Some("a NOOP\r\n"), None] {
        let mut wire = gate.connect("imaps").tls(&config);
        if let Some(command) = command {
            assert!(wire.line().unwrap_or_default().starts_with("* OK"));
            wire.send(command);
        }
        assert!(wire.line().unwrap_or_default().starts_with("* BYE"));
        wire.end();
        gate.log.wait_for(&["outcome=backend_error", "service=imaps", &format!("client_port={} ", wire.port)]);
    }
}

/// A session inside TLS with a fake that answers one command in its own way.
fn with(verb: &'static str, answer: &'static [u8], stay: bool) -> (Gate, Fake, Fake, Wire) {
    let special =
        move |line: &str, wire: &mut Wire| line.starts_with(verb).then(|| wire.try_send(answer).is_ok() && stay);
    let (smtp, imap) = (Fake::start(fake::smtp(special)), Fake::start(good_imap));
    let gate = gate(&smtp, &imap);
    let wire = gate.secured("submissions", &Offer::default().config());
    (gate, smtp, imap, wire)
}

#[test]
fn a_reply_is_passed_whole_or_not_at_all() {
    for (answer, stay) in [
        (b"250-2.1.0 half a re".as_slice(), false),
        (b"250-2.1.0 whole line, half a reply\r\n", false),
        (b"250-2.1.0 and silence\r\n", true),
        (b"nonsense\r\n", true),
        (b"2\r\n", true),
        (b"250 2.1.0 bare newline\n", true),
    ] {
        let (_gate, _smtp, _imap, mut wire) = with("MAIL", answer, stay);
        let reply = wire.say("MAIL FROM:<sender@example.net>");
        assert_eq!((reply.code, reply.lines.len()), (421, 1), "{:?}: {reply:?}", String::from_utf8_lossy(answer));
        wire.end();
    }
}

#[test]
fn an_endless_reply_is_cut() {
    let special = |line: &str, wire: &mut Wire| {
        line.starts_with("VRFY").then(|| {
            while wire.try_send(b"252-2.0.0 and so on, and so forth, for ever and a day\r\n").is_ok() {}
            false
        })
    };
    let (smtp, imap) = (Fake::start(fake::smtp(special)), Fake::start(good_imap));
    let gate = gate(&smtp, &imap);
    let mut wire = gate.secured("submissions", &Offer::default().config());
    let reply = wire.say("VRFY everybody");
    assert_eq!((reply.code, reply.lines.len()), (421, 1), "{:?}", reply.lines.first());
    wire.end();
}

#[test]
fn a_backend_s_own_421_is_passed_on_and_ends_the_session() {
    let (_gate, _smtp, _imap, mut wire) = with("RCPT", b"421 4.7.0 old.example.net too many errors\r\n", false);
    assert_eq!(wire.say("MAIL FROM:<sender@example.net>").code, 250);
    let reply = wire.say("RCPT TO:<u000@example.net>");
    assert_eq!((reply.code, reply.lines[0].as_str()), (421, "4.7.0 old.example.net too many errors"));
    wire.end();
}

#[test]
fn a_backend_that_dies_in_a_body_is_never_a_250() {
    // It takes some of the body and goes; or all of it and says nothing.
    let dies = |line: &str, wire: &mut Wire| {
        (line == "DATA").then(|| {
            wire.send("354 go on\r\n");
            while wire.line().is_some_and(|line| line != "half") {}
            false
        })
    };
    let says_nothing = |line: &str, wire: &mut Wire| {
        (line == "DATA").then(|| {
            wire.send("354 go on\r\n");
            wire.rest();
            false
        })
    };
    for (what, fake) in [("dies", Fake::start(fake::smtp(dies))), ("is silent", Fake::start(fake::smtp(says_nothing)))]
    {
        let imap = Fake::start(good_imap);
        let gate = gate(&fake, &imap);
        let mut wire = gate.secured("submissions", &Offer::default().config());
        assert_eq!(wire.say("MAIL FROM:<sender@example.net>").code, 250);
        assert_eq!(wire.say("RCPT TO:<u000@example.net>").code, 250);
        assert_eq!(wire.say("DATA").code, 354);
        wire.send("Subject: one\r\n\r\nhalf\r\n");
        if what == "is silent" {
            wire.send("whole\r\n.\r\n");
        }
        let reply = wire.reply();
        assert!((400..500).contains(&reply.code), "{what}: {reply:?}");
    }
}

#[test]
fn a_client_that_goes_away_in_a_body_does_not_complete_it() {
    // The fake tells when half of the mail is there, and then what came after.
    let (tell, told) = mpsc::channel();
    let tell = Mutex::new(tell);
    let listens = move |line: &str, wire: &mut Wire| {
        let bdat = line.starts_with("BDAT");
        (bdat || line == "DATA").then(|| {
            if !bdat {
                wire.send("354 go on\r\n");
            }
            while wire.line().is_some_and(|line| line != "half a mail") {}
            let tell = tell.lock().expect("no panic").clone();
            tell.send(String::new()).expect("somebody listens");
            tell.send(wire.rest()).expect("somebody listens");
            false
        })
    };
    let (smtp, imap) = (Fake::start(fake::smtp(listens)), Fake::start(good_imap));
    let gate = gate(&smtp, &imap);
    let config = Offer::default().config();
    // With close_notify; without it; by a reset.
    const ENDS: [Misbehaviour; 3] = [("close_notify", |mut wire| wire.finish()), ("FIN", drop), ("RST", Wire::reset)];
    for (bdat, (how, end)) in ENDS.iter().flat_map(|end| [(false, end), (true, end)]) {
        let mut wire = gate.secured("submissions", &config);
        wire.say("MAIL FROM:<sender@example.net>");
        assert_eq!(wire.say("RCPT TO:<u000@example.net>").code, 250);
        if bdat {
            wire.send("BDAT 1000 LAST\r\n");
        } else {
            assert_eq!(wire.say("DATA").code, 354);
        }
        wire.send("Subject: one\r\n\r\nhalf a mail\r\n");
        told.recv_timeout(PATIENCE).expect("half of the mail reaches the backend");
        end(wire);
        let rest = told.recv_timeout(PATIENCE).expect("the backend sees the end");
        assert_eq!(rest, "", "bdat={bdat} {how}: nothing more may reach the backend");
    }
}

#[test]
fn an_imap_backend_that_dies_in_a_login_is_a_bye() {
    for (answer, stay) in [(b"".as_slice(), false), (b"a O", false), (b"nonsense\r\n", true), (b"", true)] {
        let dies = move |mut wire: Wire| {
            wire.send("* OK [CAPABILITY IMAP4rev1] old ready\r\n");
            wire.line();
            drop(wire.try_send(answer));
            if stay {
                wire.rest();
            }
        };
        let (smtp, imap) = (Fake::start(good_smtp), Fake::start(good_imap));
        let gate = gate(&smtp, &imap);
        imap.instead(dies);
        let mut wire = gate.secured("imaps", &Offer::default().config());
        wire.send("a LOGIN user password\r\n");
        let farewell = wire.line().unwrap_or_default();
        assert!(farewell.starts_with("* BYE"), "{:?}, {stay}: {farewell:?}", String::from_utf8_lossy(answer));
        wire.end();
    }
}

#[test]
fn a_client_that_does_not_read_stops_the_backend_being_read() {
    let (wrote, writes) = mpsc::channel();
    let floods = move |mut wire: Wire| {
        wire.send("* OK [CAPABILITY IMAP4rev1] old ready\r\n");
        while let Some(line) = wire.line() {
            let tag = line.split(' ').next().unwrap_or_default().to_owned();
            if wire.try_send(format!("{tag} OK done\r\n").as_bytes()).is_err() {
                return;
            }
            if line.contains("FLOOD") {
                let mut sent = 0_u64;
                // 256 MiB is more than all buffers between here and the client together.
                while sent < 256 << 20 && wire.try_send(&[b'x'; 65_536]).is_ok() {
                    sent += 65_536;
                    wrote.send(sent).expect("somebody listens");
                }
                return;
            }
        }
    };
    let (smtp, imap) = (Fake::start(good_smtp), Fake::start(floods));
    let gate = gate(&smtp, &imap);
    let mut wire = gate.secured("imaps", &Offer::default().config());
    assert!(wire.tagged("a", "LOGIN user password").concat().starts_with("a OK"));
    wire.send("b FLOOD\r\n");
    // It is over when nothing more is taken for a while.
    let start = Instant::now();
    let mut sent = 0;
    while let Ok(now) = writes.recv_timeout(Duration::from_secs(2)) {
        sent = now;
        assert!(start.elapsed() < Duration::from_secs(60), "the backend is read on and on: {sent} octets");
    }
    assert!(sent < 64 << 20, "{sent} octets were taken from the backend for a client that reads nothing");
}

#[test]
fn a_backend_that_says_nothing_is_named_long_before_its_time_is_over() {
    // Like a port that waits for TLS.
    let backend = Fake::start(|mut wire| drop(wire.rest()));
    let gate = Setup::new().listener_with("smtp", backend.port, "none", "allow_relay_as_proxy = true").start_unready();
    let place = format!("backend=127.0.0.1:{}", backend.port);
    gate.log.wait_for(&["WARN closed: no answer in 15s", "service=smtp", &place]);
    assert!(!gate.is_open("smtp"));
}
