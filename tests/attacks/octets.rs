//! Every octet in every name that a stranger can give: EHLO, user, sender, recipient, SNI, ALPN and what DNS and certificates say.
//! No log gets a second line by it, ours or the backend's, no mail a second field, and no terminal a sequence.

use std::io::{Cursor, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use sealgate::config::{LogFormat, LogProgram};
use sealgate::facts::{ClientCertificate, Group, Lookup, Outcome, SessionId, Suite, TlsFacts, TlsVersion};
use sealgate::report::Report;
use sealgate::session_log::{CommandCount, Offered, Record, SessionLog, Stage};

use crate::injection::{assert_log_is_clean, assert_one_field, gates};
use crate::support::base64;
use crate::support::gate::gate;
use crate::support::logs::Log;
use crate::support::pki::HOSTNAME;
use crate::support::stack::stack;
use crate::support::wait::PATIENCE;
use crate::support::wire::{Offer, Wire, client_hello};

/// Beyond Latin: line and paragraph separators, what turns text around, joins it or is not seen, and a letter.
const FURTHER: &str = "\u{61c}\u{200b}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202e}\u{2060}\u{2066}\u{2069}\u{feff}\u{fff9}\u{fffd}\u{e0041}\u{1f600}\u{4f8b}";

fn characters() -> impl Iterator<Item = char> {
    (0..0x250).filter_map(char::from_u32).chain(FURTHER.chars())
}

/// What neither a terminal nor a reader of lines acts on.
fn is_harmless(c: char) -> bool {
    c == ' ' || c.is_ascii_graphic() || (!c.is_ascii() && c.is_alphanumeric())
}

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A session in which every name is the same: one with TLS, or one that failed to have it.
fn record(protocol: &'static str, name: &str, secured: bool) -> Record {
    let names = || vec![name.to_owned(), name.to_owned()];
    let tls = TlsFacts {
        version: TlsVersion::Tls13,
        suite: Suite { iana: "TLS_AES_256_GCM_SHA384", openssl: "TLS_AES_256_GCM_SHA384", bits: 256 },
        group: Group::X25519,
        signature: None,
        sni: Some(name.into()),
        alpn: Some(name.into()),
        client_certificate: ClientCertificate::Presented {
            common_name: name.to_owned(),
            issuer: name.to_owned(),
            verified: true,
        },
        handshake: Duration::ZERO,
    };
    let offered = Offered {
        versions: names(),
        suites: names(),
        groups: names(),
        signatures: names(),
        sni: Some(name.to_owned()),
        alpn: names(),
    };
    Record {
        began: SystemTime::now(),
        session: SessionId::new("4Kd9x2"),
        listener: "0.0.0.0:25".parse().expect("an address"),
        service: if protocol == "imap" { "imaps" } else { "smtp" },
        protocol,
        client: "203.0.113.5:40000".parse().expect("an address"),
        client_name: Lookup::Found(name.into()),
        local: "192.0.2.10:25".parse().expect("an address"),
        tls: secured.then(|| Arc::new(tls)),
        handshake_failed: !secured,
        offered: (!secured).then(|| Arc::new(offered)),
        helo: Some(name.to_owned()),
        user: Some(name.to_owned()),
        method: Some(name.to_owned()),
        auth_failures: 1,
        delayed: Duration::ZERO,
        authenticated: false,
        accepted: 0,
        rejected: 0,
        commands: vec![CommandCount { name: "auth", ok: 0, all: 1 }],
        bytes_in: 0,
        bytes_out: 0,
        backend: name.into(),
        duration: Duration::ZERO,
        outcome: if secured { Outcome::BackendError } else { Outcome::Policy },
        reason: "no common cipher suite",
    }
}

/// All lines that a log has of sessions with these names.
fn logged(format: LogFormat, names: &[String]) -> Vec<String> {
    let buffer = Buffer::default();
    let log = SessionLog::to_writer(format, LogProgram::Sealgate, HOSTNAME, Box::new(buffer.clone())).expect("a log");
    for (name, protocol, secured) in names
        .iter()
        .flat_map(|name| [("smtp", true), ("smtp", false), ("imap", true), ("imap", false)].map(|(p, s)| (name, p, s)))
    {
        let mut record = record(protocol, name, secured);
        log.note(Stage::Connected, &record);
        if secured {
            log.note(Stage::Secured, &record);
        }
        log.note(Stage::LoginFailed, &record);
        log.note(Stage::Ended, &record);
        record.authenticated = true;
        log.note(Stage::LoggedIn, &record);
        log.note(Stage::Ended, &record);
    }
    assert!(log.flush());
    let octets = buffer.0.lock().expect("no panic").clone();
    // Split at LF alone: all else has to be shown to be there not.
    let text = String::from_utf8(octets).expect("UTF-8");
    text.strip_suffix('\n').expect("whole lines").split('\n').map(str::to_owned).collect()
}

#[test]
fn every_character_in_every_field_of_a_record_stays_in_its_line() {
    let mut names: Vec<String> = characters().map(|c| format!("a{c}b")).collect();
    assert!(names.len() > 600);
    names.extend(
        [
            "",
            "x outcome=ok reason=closed",
            "x\" event=ended \"",
            "x\\",
            "x\\\" event=ended service=smtp client=192.0.2.66 outcome=policy reason=mine",
            "x>, method=PLAIN, rip=192.0.2.66, lip=192.0.2.10, TLS, session=<y",
            "x[192.0.2.66]: SASL LOGIN authentication failed",
            "x: TLS connection established from y[192.0.2.66]: TLSv1 with cipher Z (1/1 bits)",
            "\",\"event\":\"ended\",\"client\":\"192.0.2.66\",\"x\":\"",
            "\u{1b}]0;title\u{7}\u{1b}[2J\u{9b}2J",
        ]
        .map(str::to_owned),
    );
    names.extend(["x".repeat(100_000), "\u{202e}".repeat(5000)]);
    for format in [LogFormat::Text, LogFormat::Json, LogFormat::Postfix] {
        let harmless = logged(format, &["aXb".to_owned()]).len();
        for names in names.chunks(20) {
            let lines = logged(format, names);
            assert_eq!(lines.len(), harmless * names.len(), "{format:?}, {names:?}: {lines:?}");
            for line in &lines {
                assert!(line.chars().all(is_harmless), "{format:?}: {line:?}");
                if format == LogFormat::Json {
                    let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
                    assert!(value.get("event").is_some_and(serde_json::Value::is_string), "{line}");
                }
            }
            // What counts sessions counts these, and nobody else's.
            let mut report = Report::new(jiff::Zoned::now());
            report.read(Cursor::new(lines.join("\n"))).expect("a log");
            let summary = report.summary();
            assert_eq!(summary.broken, 0, "{format:?}, {names:?}: {summary:?}");
            let sessions = u64::try_from(names.len()).expect("a few");
            assert!(summary.tls_sessions >= 2 * sessions, "{format:?}, {names:?}: {summary:?}");
            let text = serde_json::to_value(&summary).expect("JSON").to_string();
            assert!(!text.contains("192.0.2.66"), "{format:?}: {text}");
        }
    }
}

#[test]
fn a_report_shows_nothing_that_a_terminal_would_act_on() {
    for c in characters() {
        let escaped = format!("\\u{:04x}", u32::from(c).min(0xffff));
        let lines = [
            format!(
                "Nov 21 22:36:05 mail postfix/sub{c}mission/smtpd[1]: Anonymous TLS connection established from x[192.0.2.1]: TLSv1.2{c} with cipher X{c}Y (256/256 bits) key-exchange G{c}H server-signature"
            ),
            format!("Nov 21 22:36:05 mail postfix/smtpd[1]: SSL_accept error from x[192.0.2.1]: so{c}me"),
            format!(
                "Nov 21 22:36:05 mail dovecot: imap-login: Login: user=<u{c}>, rip=192.0.2.1, TLS, TLSv1{c} with cipher A{c}B (1/1 bits)"
            ),
            format!(
                "Nov 21 22:36:05 mail dovecot: imap-login: Disconnected: x: user=<>, rip=192.0.2.1, TLS handshaking: y failed: a{c}b, session=<1>"
            ),
            format!(
                "{{\"time\":\"2026-11-21T22:36:05Z\",\"event\":\"secured\",\"service\":\"s{escaped}\",\"client\":\"192.0.2.1\",\"tls_version\":\"v{escaped}\",\"cipher\":\"c{escaped}\",\"group\":\"g{escaped}\"}}"
            ),
            format!(
                "{{\"event\":\"ended\",\"service\":\"s\",\"client\":\"192.0.2.1\",\"outcome\":\"policy\",\"reason\":\"r{escaped}\"}}"
            ),
        ];
        let mut report = Report::new(jiff::Zoned::now());
        report.read(Cursor::new(lines.join("\n"))).expect("a log");
        let summary = report.summary();
        if is_harmless(c) && c.is_ascii_alphabetic() {
            assert!(summary.tls_sessions == 3 && summary.failures.len() == 3, "{c:?}: {summary:?}");
        }
        let mut values = vec![serde_json::to_value(&summary).expect("JSON")];
        while let Some(value) = values.pop() {
            match value {
                serde_json::Value::String(text) => assert!(text.chars().all(is_harmless), "{c:?}: {text:?}"),
                serde_json::Value::Array(list) => values.extend(list),
                serde_json::Value::Object(map) => values.extend(map.into_iter().map(|(_, value)| value)),
                _ => {}
            }
        }
    }
}

/// The octets that some log, shell or terminal has stumbled over.
const TROUBLE: &[u8] = b"\0\x01\x07\x08\t\n\r\x1b\x1f \"%'(),<=>[\\]{|}~\x7f\x80\x85\x9b\xa0\xad\xff";

/// Octets between two letters.
fn around(before: &str, octet: u8, behind: &str) -> Vec<u8> {
    [before.as_bytes(), &[octet], behind.as_bytes()].concat()
}

/// Gives a command with the octet in it; if it is refused, one without.
fn either(wire: &mut Wire, with: &[u8], without: &str, codes: &[u16]) {
    wire.send(with);
    if !codes.contains(&wire.reply().code) {
        assert!(codes.contains(&wire.say(without).code), "{}", with.escape_ascii());
    }
}

#[test]
fn every_octet_in_every_name_of_a_mail_stays_in_its_field_and_its_line() {
    let (gates, mails, _fake) = gates();
    let config = Offer::default().config();
    let octets: Vec<u8> = (0..=255).filter(|octet| *octet != b'\n').collect();
    for (n, (format, gate)) in gates.iter().enumerate() {
        // Three of them may be refused for each octet, and twenty refusals are the end.
        for few in octets.chunks(6) {
            let mut wire = gate.connect("submissions").tls(&config);
            assert_eq!(wire.reply().code, 220);
            for octet in few.iter().copied() {
                either(&mut wire, &around("EHLO a", octet, "b\r\n"), "EHLO ab", &[250]);
                let user = around("a", octet, "b");
                let auth = match (usize::from(octet) + n) % 3 {
                    0 => format!("PLAIN {}", base64([b"\0", user.as_slice(), b"\0secret"].concat())),
                    1 => format!("LOGIN {}", base64(user)),
                    _ => format!(
                        "XOAUTH2 {}",
                        base64([b"user=", user.as_slice(), b"\x01auth=Bearer secret\x01\x01"].concat())
                    ),
                };
                assert_eq!(wire.say(&format!("AUTH {auth}")).code, 235, "{octet}");
                either(&mut wire, &around("MAIL FROM:<a", octet, "b@example.net>\r\n"), "MAIL FROM:<>", &[250]);
                either(
                    &mut wire,
                    &around("RCPT TO:<\"a", octet, "b\"@example.net>\r\n"),
                    "RCPT TO:<a@example.net>",
                    &[250],
                );
                assert_eq!(wire.say("DATA").code, 354);
                assert_eq!(wire.say("Subject: mine\r\n\r\ntext\r\n.").code, 250);
                let content = mails.recv_timeout(PATIENCE).expect("the mail");
                assert_one_field(&content, &format!("{octet} in a {format} log's session"));
            }
            wire.say("QUIT");
        }
        assert_log_is_clean(format, gate);
        assert!(!gate.log.text().contains("secret"), "{format}");
    }
}

#[test]
fn every_octet_in_a_client_hello_stays_in_its_line() {
    let (gates, _mails, _fake) = gates();
    let (hello, place) = {
        let hello = client_hello();
        let place = hello.windows(HOSTNAME.len()).position(|window| window == HOSTNAME.as_bytes()).expect("the name");
        (hello, place)
    };
    for (format, gate) in &gates {
        let ends = if *format == "postfix" { "disconnect from" } else { "ended" };
        for octets in (0..=255_u8).collect::<Vec<_>>().chunks(HOSTNAME.len()) {
            let mut hello = hello.clone();
            hello[place..place + octets.len()].copy_from_slice(octets);
            let log = gate.log.tail();
            let mut wire = gate.connect("submissions");
            wire.send(&hello);
            wire.finish();
            wire.rest();
            drop(wire);
            log.wait_for(&[ends]);
            // No name of a protocol has more octets than 255.
            let mut config = (*Offer::default().config()).clone();
            config.alpn_protocols = octets.iter().map(|octet| around("x", *octet, "y")).collect();
            let log = gate.log.tail();
            gate.connect("submissions").try_tls(&config.into()).expect_err("no such protocol");
            log.wait_for(&["wrong ALPN"]);
        }
        assert_log_is_clean(format, gate);
    }
}

/// Every line begins with a date, and none holds a control but DEL, which Dovecot leaves there and no terminal acts on.
fn assert_lines(log: &Log, what: &str) {
    let text = log.text();
    assert!(!text.is_empty(), "{what}");
    for line in text.lines() {
        let month = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        assert!(month.iter().any(|month| line.starts_with(month)), "{what}: {line:?}");
        assert!(!line.chars().any(|c| c.is_control() && c != '\u{7f}'), "{what}: {line:?}");
    }
}

#[test]
fn names_in_a_mail_leave_one_line_in_the_log_of_a_real_postfix() {
    let (gate, _shown) = gate();
    let (stack, _stack_shown) = stack();
    let config = Offer::default().config();
    let log = stack.postfix.log.tail();
    let octets: Vec<u8> = TROUBLE.iter().copied().filter(|octet| *octet != b'\n').collect();
    for few in octets.chunks(5) {
        let mut wire = gate.secured("smtp", &config);
        for octet in few.iter().copied() {
            either(&mut wire, &around("EHLO a", octet, "b\r\n"), "EHLO ab", &[250]);
            either(
                &mut wire,
                &around("MAIL FROM:<\"a", octet, "b\"@example.com>\r\n"),
                "MAIL FROM:<a@example.com>",
                &[250],
            );
            // Refused, which is what it logs: with all three names.
            wire.send(around("RCPT TO:<\"a", octet, "b\"@example.net>\r\n"));
            assert!(wire.reply().code >= 450, "{octet}");
            assert_eq!(wire.say("RSET").code, 250, "{octet}");
        }
        wire.say("QUIT");
    }
    log.wait_for(&["NOQUEUE: reject: RCPT", "b\"@example.net"]);
    assert_lines(&log, "Postfix");
}

#[test]
fn an_imap_user_leaves_one_line_in_each_log() {
    let (gate, _shown) = gate();
    let (stack, _stack_shown) = stack();
    let config = Offer::default().config();
    let (ours, theirs) = (gate.log.tail(), stack.dovecot.log.tail());
    // A failed login takes Dovecot its time, so they go side by side.
    std::thread::scope(|scope| {
        for octet in TROUBLE.iter().copied() {
            let (config, ours) = (&config, &ours);
            scope.spawn(move || {
                let name = around("a", octet, "b");
                let plain = base64([b"\0", name.as_slice(), b"\0canary"].concat());
                for command in [
                    [b"LOGIN \"".as_slice(), &name, b"\" \"canary\"\r\n"].concat(),
                    format!("AUTHENTICATE PLAIN {plain}\r\n").into_bytes(),
                    [b"LOGIN {3+}\r\n".as_slice(), &name, b" \"canary\"\r\n"].concat(),
                ] {
                    let mut wire = gate.secured("imaps", config);
                    wire.send([b"l ".as_slice(), &command].concat());
                    let answer = wire.line().unwrap_or_else(|| panic!("{octet}: an answer"));
                    let refused = [" NO ", " BAD ", "* BAD", "* BYE"].iter().any(|word| answer.contains(word));
                    assert!(refused, "{octet}: {answer}");
                    let port = wire.port;
                    drop(wire);
                    ours.wait_for(&["event=ended", "service=imaps ", &format!("client_port={port} ")]);
                }
            });
        }
    });
    for line in ours.text().lines() {
        assert!(line.starts_with("20") && line.chars().all(is_harmless), "{line:?}");
    }
    assert!(!ours.text().contains("canary") && !theirs.text().contains("canary"));
    theirs.wait_for(&["Disconnected", "auth failed"]);
    assert_lines(&theirs, "Dovecot");
}
