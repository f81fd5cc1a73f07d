//! Canary passwords, by every way to log in and many ways to get it wrong: they reach the backend and nothing else, neither
//! the log in any form at any level, nor a report, nor what is left in memory.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use rustls::ClientConfig;

use crate::support::base64;
use crate::support::fake::Fake;
use crate::support::gate::{Gate, Setup};
use crate::support::wait::until;
use crate::support::wire::{Offer, Wire};

/// In every password. Letters alone, so that nothing escapes or quotes it.
const CANARY: &str = "SecretCanaryBird";

/// What the backends say yes to.
const GOOD: &str = "goodSecretCanaryBirdSings";
const BAD: &str = "badSecretCanaryBirdSings";

/// Decodes base64 as the backends do: strictly.
fn decoded(response: &str) -> String {
    use base64::Engine as _;
    let octets = base64::engine::general_purpose::STANDARD.decode(response).unwrap_or_default();
    String::from_utf8_lossy(&octets).into_owned()
}

/// A SASL exchange (RFC 4422): `ask` prompts for each response that is missing. Whether it was good.
fn exchange(mechanism: &str, initial: Option<&str>, wire: &mut Wire, ask: &str) -> Option<bool> {
    let response = |wire: &mut Wire| {
        wire.try_send(ask.as_bytes()).ok()?;
        wire.line()
    };
    let mut last = match initial {
        Some(initial) => initial.to_owned(),
        None => response(wire)?,
    };
    if mechanism.eq_ignore_ascii_case("LOGIN") {
        last = response(wire)?;
    }
    Some(decoded(&last).contains(GOOD))
}

fn smtp_backend(mut wire: Wire) {
    wire.send("220 old.example.net ESMTP\r\n");
    while let Some(line) = wire.line() {
        let words: Vec<&str> = line.split(' ').collect();
        let answer = match (words[0].to_ascii_uppercase().as_str(), &words[1..]) {
            ("EHLO", _) => "250-old.example.net\r\n250-AUTH PLAIN LOGIN XOAUTH2\r\n250 8BITMIME",
            ("AUTH", [mechanism, initial @ ..]) => {
                match exchange(mechanism, initial.first().copied(), &mut wire, "334 \r\n") {
                    Some(true) => "235 2.7.0 Authentication successful",
                    Some(false) => "535 5.7.8 Error: authentication failed",
                    None => return,
                }
            }
            ("QUIT", _) => "221 2.0.0 Bye",
            ("NOOP" | "RSET" | "MAIL", _) => "250 2.0.0 Ok",
            _ => "500 5.5.2 Error: command not recognized",
        };
        if wire.try_send(format!("{answer}\r\n").as_bytes()).is_err() || answer.starts_with("221") {
            return;
        }
    }
}

fn imap_backend(mut wire: Wire) {
    wire.send("* OK [CAPABILITY IMAP4rev1 SASL-IR LITERAL+ AUTH=PLAIN AUTH=LOGIN AUTH=XOAUTH2] ready\r\n");
    while let Some(mut line) = wire.line() {
        while line.ends_with('}') {
            if wire.try_send(b"+ go on\r\n").is_err() {
                return;
            }
            let Some(more) = wire.line() else { return };
            line += &more;
        }
        let words: Vec<&str> = line.split(' ').collect();
        let [tag, verb, arguments @ ..] = &words[..] else { return };
        let good = match (verb.to_ascii_uppercase().as_str(), arguments) {
            ("LOGIN", [_, ..]) => Some(line.contains(GOOD)),
            ("AUTHENTICATE", [mechanism, initial @ ..]) => {
                exchange(mechanism, initial.first().copied(), &mut wire, "+ \r\n")
            }
            _ => Some(true),
        };
        let Some(good) = good else { return };
        let answer = if good { "OK done" } else { "NO [AUTHENTICATIONFAILED] Authentication failed." };
        if wire.try_send(format!("{tag} {answer}\r\n").as_bytes()).is_err() {
            return;
        }
    }
}

/// The responses of a login by that mechanism, one by one.
fn responses(mechanism: &str, password: &str) -> Vec<String> {
    match mechanism {
        "PLAIN" => vec![base64(format!("\0alice\0{password}"))],
        "LOGIN" => vec![base64("alice"), base64(password)],
        _ => vec![base64(format!("user=alice\x01auth=Bearer {password}\x01\x01"))],
    }
}

const MECHANISMS: [&str; 3] = ["PLAIN", "LOGIN", "XOAUTH2"];

/// A gate that says all that it ever says.
fn gate(format: &str, smtp: &Fake, imap: &Fake) -> Gate {
    Setup::new()
        .table(&format!("[log]\nformat = \"{format}\""))
        .table("[limits]\nconnections_per_address = 1000")
        .listener_with("submission", smtp.port, "none", "allow_relay_as_proxy = true")
        .listener("imaps", imap.port, "none")
        .listener("imap", imap.port, "none")
        .wrapped(&["env", "SEALGATE_LOG=trace"])
        .start_unready()
}

/// Sends a line and nothing more, and waits for the end. What is far too long is cut off in the middle, by a reset that may
/// overtake the answer.
fn send_all(mut wire: Wire, line: &str) {
    let sent = wire.try_send(format!("{line}\r\n").as_bytes());
    wire.finish();
    let answer = wire.rest();
    assert!(line.len() > 64 * 1024 || (sent.is_ok() && !answer.is_empty()), "{line}: {answer}");
}

/// One session after another, each told of when it is over.
fn log_in_by_smtp(gate: &Gate, config: &Arc<ClientConfig>, mut over: impl FnMut(&str)) {
    let session = || gate.secured("submission", config);
    for (password, code) in [(GOOD, 235), (BAD, 535)] {
        for mechanism in MECHANISMS {
            for initial in [false, true] {
                let mut wire = session();
                let responses = responses(mechanism, password);
                let (mut command, mut rest) = (format!("AUTH {mechanism}"), &responses[..]);
                if initial {
                    command = format!("{command} {}", responses[0]);
                    rest = &responses[1..];
                }
                let mut reply = wire.say(&command);
                for response in rest {
                    assert_eq!(reply.code, 334, "{command}");
                    reply = wire.say(response);
                }
                assert_eq!(reply.code, code, "{command}");
                assert_eq!(wire.say("QUIT").code, 221);
                drop(wire); // or it is waited for
                over(&command);
            }
        }
    }
    // What is wrong in form, out of place, or too long.
    let long = base64(format!("\0alice\0{}", BAD.repeat(200)));
    for line in [
        format!("AUTH PLAIN {}", base64(format!("alice\0{BAD}"))),
        format!("AUTH PLAIN !{}", base64(BAD)),
        format!("AUTH PLAIN {BAD}"),
        format!("AUTH PLAIN {long}"),
        format!("AUTH XOAUTH2 {}", base64(format!("auth=Bearer {BAD}\x01user=alice\x01\x01"))),
        base64(BAD),
        BAD.to_owned(),
        format!("NOOP {BAD}"),
        format!("AUTH LOGIN\r\n{}\r\n{}", base64("alice"), base64(BAD)),
        format!("AUTH PLAIN {}", base64(format!("\0alice\0{}", BAD.repeat(20_000)))),
    ] {
        send_all(session(), &line);
        over(&line);
    }
    // What comes in pieces, between which the gate is likely to have put away the first.
    let mut other = session();
    let mut wire = session();
    assert_eq!(wire.say("AUTH PLAIN").code, 334);
    wire.send(&responses("PLAIN", &BAD.repeat(80))[0]);
    for _ in 0..10 {
        assert_eq!(other.say("NOOP").code, 250);
    }
    assert_eq!(wire.say("").code, 535);
    for mut wire in [wire, other] {
        assert_eq!(wire.say("QUIT").code, 221);
        drop(wire);
        over("a response in pieces");
    }
    // What breaks off.
    for (first, half) in [
        ("NOOP", format!("AUTH PLAIN {}", responses("PLAIN", BAD)[0])),
        ("AUTH PLAIN", responses("PLAIN", BAD)[0].clone()),
        ("AUTH XOAUTH2", responses("XOAUTH2", BAD)[0].clone()),
    ] {
        for reset in [false, true] {
            let mut wire = session();
            wire.say(first);
            wire.send(&half);
            if reset {
                wire.reset();
            } else {
                wire.finish();
                wire.rest();
            }
            over(&half);
        }
    }
}

fn log_in_by_imap(gate: &Gate, config: &Arc<ClientConfig>, mut over: impl FnMut(&str)) {
    let session = || gate.secured("imaps", config);
    for (password, verdict) in [(GOOD, "a OK"), (BAD, "a NO")] {
        let octets = password.len();
        let mut ways = vec![
            vec![format!("a LOGIN alice {password}")],
            vec![format!("a LOGIN \"alice\" \"{password}\"")],
            vec!["a LOGIN {5}".to_owned(), format!("alice {{{octets}}}"), password.to_owned()],
            vec![format!("a LOGIN {{5+}}\r\nalice {{{octets}+}}\r\n{password}")],
        ];
        for mechanism in MECHANISMS {
            let responses = responses(mechanism, password);
            ways.push([vec![format!("a AUTHENTICATE {mechanism}")], responses.clone()].concat());
            let initial = format!("a AUTHENTICATE {mechanism} {}", responses[0]);
            ways.push([vec![initial], responses[1..].to_vec()].concat());
        }
        for way in ways {
            let mut wire = session();
            for (n, line) in way.iter().enumerate() {
                wire.send(format!("{line}\r\n"));
                let answer = wire.line().unwrap_or_else(|| panic!("an answer to {line}"));
                let expected = if n + 1 < way.len() { "+" } else { verdict };
                assert!(answer.starts_with(expected), "{line}: {answer}");
            }
            wire.tagged("z", "LOGOUT");
            drop(wire);
            over(&way.concat());
        }
    }
    for line in [
        format!("a LOGIN \"alice \"{BAD}\""),
        format!("a LOGIN alice {BAD} {BAD}"),
        format!("a LOGIN alice \"{}\"", BAD.repeat(500)),
        format!("a LOGIN alice {{{}+}}\r\n{}", BAD.len() * 10_000, BAD.repeat(10_000)),
        format!("a AUTHENTICATE PLAIN {}", base64(format!("\0alice\0{}", BAD.repeat(20_000)))),
        format!("a AUTHENTICATE PLAIN !{}", base64(BAD)),
        BAD.to_owned(),
        format!("a {BAD}"),
    ] {
        send_all(session(), &line);
        over(&line);
    }
    for (first, half) in [
        (None, format!("a LOGIN alice {BAD}")),
        (Some(format!("a LOGIN alice {{{}}}", BAD.len() + 10)), BAD.to_owned()),
        (Some("a AUTHENTICATE PLAIN".to_owned()), responses("PLAIN", BAD)[0].clone()),
    ] {
        for reset in [false, true] {
            let mut wire = session();
            if let Some(first) = &first {
                wire.send(format!("{first}\r\n"));
                assert!(wire.line().expect("an answer").starts_with('+'));
            }
            wire.send(&half);
            if reset {
                wire.reset();
            } else {
                wire.finish();
                wire.rest();
            }
            over(&half);
        }
    }
}

/// Before TLS, where all of it is refused; and what is no TLS at all.
fn log_in_before_tls(gate: &Gate) {
    let mut smtp = gate.connect("submission");
    smtp.reply();
    smtp.say("EHLO client.example.org");
    for line in
        [format!("AUTH PLAIN {}", responses("PLAIN", BAD)[0]), "AUTH LOGIN".to_owned(), base64(BAD), BAD.to_owned()]
    {
        assert!(smtp.say(&line).code >= 500, "{line}");
    }
    smtp.say("QUIT");
    let mut imap = gate.connect("imap");
    imap.line().expect("a greeting");
    for line in [format!("LOGIN alice {BAD}"), format!("AUTHENTICATE PLAIN {}", responses("PLAIN", BAD)[0])] {
        assert!(imap.tagged("a", &line).concat().contains("PRIVACYREQUIRED"), "{line}");
    }
    imap.tagged("z", "LOGOUT");
    let mut garbage = gate.connect("imaps");
    garbage.send(format!("a LOGIN alice {BAD}\r\n"));
    garbage.rest();
}

/// What a canary leaves behind: itself, and in base64 at each of the three places where it may stand.
fn traces() -> Vec<Vec<u8>> {
    let coded = (0..3).map(|before| {
        let text = base64([&vec![0; before], CANARY.as_bytes()].concat());
        let from = (before * 8).div_ceil(6);
        let to = (before + CANARY.len()) * 8 / 6;
        text.as_bytes()[from..to].to_vec()
    });
    [CANARY.as_bytes().to_vec()].into_iter().chain(coded).collect()
}

#[track_caller]
fn assert_clean(what: &str, text: &str) {
    for trace in traces() {
        let trace = String::from_utf8(trace).expect("ASCII");
        let found = text.to_ascii_lowercase().find(&trace.to_ascii_lowercase());
        assert!(found.is_none(), "{what} shows {trace}: {}", &text[found.unwrap_or(0).saturating_sub(200)..][..300]);
    }
}

#[test]
fn canary_passwords_reach_no_log_at_any_level_and_no_report() {
    let (smtp, imap) = (Fake::start(smtp_backend), Fake::start(imap_backend));
    let config = Offer::default().config();
    for (format, user, detail) in [
        ("text", "user=alice", "DEBUG TLS handshake failed"),
        ("json", "\"user\":\"alice\"", "\"message\":\"TLS handshake failed"),
        ("postfix", "sasl_username=alice", "TLS handshake failed"),
    ] {
        let mut gate = gate(format, &smtp, &imap);
        gate.until_open();
        log_in_by_smtp(&gate, &config, |_| {});
        log_in_by_imap(&gate, &config, |_| {});
        log_in_before_tls(&gate);
        gate.signal("TERM");
        assert_eq!(gate.ended().code(), Some(0));
        let log = gate.log.text();
        assert!(log.contains(user) && log.contains(detail), "{format}: not all there is: {log}");
        assert_clean(format, &log);
        let report = crate::support::clients::run(env!("CARGO_BIN_EXE_sealgate"), &["report", "-"], log.as_bytes());
        assert_clean("the report", &report.success().text());
    }
}

/// Whether we may read another process' memory: root without CAP_SYS_PTRACE (capability 19) may not.
fn may_read_memory() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").expect("a status");
    let rights = status.lines().find_map(|line| line.strip_prefix("CapEff:")).expect("a line");
    u64::from_str_radix(rights.trim(), 16).expect("hexadecimal") >> 19 & 1 == 1
}

/// Where each of `traces` stands in what a process may write to.
fn in_memory(pid: u32, traces: &[Vec<u8>]) -> Vec<String> {
    const CHUNK: usize = 1 << 20;
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("maps");
    let memory = File::open(format!("/proc/{pid}/mem")).expect("memory");
    let mut found = Vec::new();
    for line in maps.lines() {
        let mut fields = line.split_whitespace();
        let (range, rights) = (fields.next().expect("a range"), fields.next().expect("rights"));
        if !rights.starts_with("rw") {
            continue;
        }
        let (from, to) = range.split_once('-').expect("two ends");
        let [mut at, to] = [from, to].map(|end| u64::from_str_radix(end, 16).expect("hexadecimal"));
        let mut octets = vec![0; CHUNK];
        while at < to {
            let want = CHUNK.min((to - at) as usize);
            let Ok(n @ 1..) = memory.read_at(&mut octets[..want], at) else { break };
            for trace in traces {
                let mut hits = memchr::memmem::find_iter(&octets[..n], trace);
                if let Some(hit) = hits.next() {
                    let near = &octets[hit.saturating_sub(80)..n.min(hit + 80)];
                    found.push(format!("{line}: {}", near.escape_ascii()));
                }
            }
            // One that lies across two chunks is found in the second.
            at += if n < want || n <= 64 { n as u64 } else { n as u64 - 64 }.max(1);
            if n < want || at + 64 >= to {
                break;
            }
        }
    }
    found
}

#[test]
fn no_password_stays_in_memory_once_it_is_passed_on() {
    if !may_read_memory() {
        eprintln!("not tested: reading another process' memory needs CAP_SYS_PTRACE");
        return;
    }
    let (smtp, imap) = (Fake::start(smtp_backend), Fake::start(imap_backend));
    let config = Offer::default().config();
    let mut gate = gate("text", &smtp, &imap);
    gate.until_open();
    // Two that stay, logged in.
    let mut mail = gate.secured("submission", &config);
    assert_eq!(mail.say(&format!("AUTH PLAIN {}", responses("PLAIN", GOOD)[0])).code, 235);
    let mut mailbox = gate.secured("imaps", &config);
    assert!(mailbox.tagged("a", &format!("LOGIN alice {GOOD}"))[0].starts_with("a OK"));
    let (mut sessions, traces) = (0, traces());
    // After each, before another one writes over what it left.
    let mut over = |what: &str| {
        sessions += 1;
        until("the session is over", || (gate.log.text().matches("event=ended").count() >= sessions).then_some(()));
        let found = in_memory(gate.pid(), &traces);
        assert!(found.is_empty(), "{} traces of {what:.100}: {found:#?}", found.len());
    };
    log_in_by_smtp(&gate, &config, &mut over);
    log_in_by_imap(&gate, &config, &mut over);
    assert!(sessions > 40, "{sessions}");
    assert_eq!(mail.say("NOOP").code, 250);
    assert!(mailbox.tagged("b", "NOOP")[0].starts_with("b OK"));
    assert!(!in_memory(gate.pid(), &[b"mail.example.net".to_vec()]).is_empty(), "our own name is found");
}
