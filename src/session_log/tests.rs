use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver, Sender};

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};

use super::*;
use crate::facts::{ClientCertificate, Group, ServerSignature, SignatureAlgorithm, Suite, TlsVersion};

fn now() -> Zoned {
    let offset = TimeZone::fixed(Offset::from_seconds(3600).unwrap());
    Timestamp::from_millisecond(1_772_400_965_042).unwrap().to_zoned(offset)
}

fn tls() -> TlsFacts {
    TlsFacts {
        version: TlsVersion::Tls13,
        suite: Suite { iana: "TLS_AES_256_GCM_SHA384", openssl: "TLS_AES_256_GCM_SHA384", bits: 256 },
        group: Group::X25519MlKem768,
        signature: Some(ServerSignature {
            iana: "ecdsa_secp256r1_sha256",
            algorithm: SignatureAlgorithm::Ecdsa { curve: "P-256" },
            digest: Some("SHA256"),
        }),
        sni: Some("mail.example.com".into()),
        alpn: None,
        client_certificate: ClientCertificate::NotRequested,
        handshake: Duration::from_micros(4_900),
    }
}

fn record(service: &'static str) -> Record {
    let protocol = if service.starts_with("imap") { "imap" } else { "smtp" };
    Record {
        began: SystemTime::UNIX_EPOCH,
        session: SessionId::new("4Kd9x2"),
        listener: "0.0.0.0:25".parse().unwrap(),
        service,
        protocol,
        client: "203.0.113.5:40122".parse().unwrap(),
        client_name: Lookup::NotTried,
        local: "192.0.2.10:25".parse().unwrap(),
        tls: Some(Arc::new(tls())),
        offered: None,
        helo: Some("mx.example.org".into()),
        user: None,
        method: None,
        auth_failures: 0,
        authenticated: false,
        accepted: 1,
        rejected: 0,
        commands: counts(&[("ehlo", 2, 2), ("starttls", 1, 1), ("rcpt", 0, 1), ("mail", 1, 1), ("quit", 1, 1)]),
        bytes_in: 5120,
        bytes_out: 410,
        backend: "127.0.0.1:10025".into(),
        duration: Duration::from_millis(2_345),
        outcome: Outcome::Ok,
        reason: "done",
    }
}

fn counts(list: &[(&'static str, u32, u32)]) -> Vec<CommandCount> {
    list.iter().map(|&(name, ok, all)| CommandCount { name, ok, all }).collect()
}

fn failed_handshake(service: &'static str) -> Record {
    let offered = Offered {
        versions: vec!["TLSv1.1".into(), "TLSv1.0".into()],
        suites: vec!["TLS_RSA_WITH_AES_128_CBC_SHA".into(), "0x00ff".into()],
        groups: vec!["x25519".into()],
        signatures: vec!["rsa_pkcs1_sha1".into()],
        sni: Some("old.example.com".into()),
        alpn: vec![],
    };
    Record {
        tls: None,
        offered: Some(Arc::new(offered)),
        commands: if service == "submission" { counts(&[("ehlo", 1, 1), ("starttls", 1, 1)]) } else { vec![] },
        helo: None,
        accepted: 0,
        outcome: Outcome::Policy,
        reason: "unsupported protocol version",
        ..record(service)
    }
}

fn renderer(format: LogFormat, program: LogProgram) -> Renderer {
    Renderer::new(Look { format, program, journal: false, colour: false }, "mail.example.com").with_pid(4711)
}

fn rendered(format: LogFormat, stage: Stage, record: &Record) -> String {
    let entries = renderer(format, LogProgram::Sealgate).record(stage, record, &now());
    String::from_utf8(entries.concat()).unwrap()
}

/// The lines in Postfix's and Dovecot's form, without date and host.
fn postfix(stage: Stage, record: &Record) -> Vec<String> {
    const FRONT: &str = "Mar  1 22:36:05 mail.example.com ";
    let entries = renderer(LogFormat::Postfix, LogProgram::Postfix).record(stage, record, &now());
    entries
        .into_iter()
        .map(|entry| String::from_utf8(entry).unwrap().strip_prefix(FRONT).unwrap().trim_end().to_owned())
        .collect()
}

#[test]
fn text_has_the_documented_keys_in_their_order() {
    assert_eq!(
        rendered(LogFormat::Text, Stage::Secured, &record("smtp")),
        "2026-03-01T22:36:05.042+01:00 event=secured session=4Kd9x2 listener=0.0.0.0:25 service=smtp client=203.0.113.5 \
         client_port=40122 local=192.0.2.10:25 tls_version=TLSv1.3 cipher=TLS_AES_256_GCM_SHA384 bits=256 \
         group=X25519MLKEM768 signature=ecdsa_secp256r1_sha256 resumed=no sni=mail.example.com handshake_ms=4 \
         helo=mx.example.org\n"
    );
    let login =
        Record { user: Some("al \"ice\"=\\".into()), method: Some("PLAIN".into()), auth_failures: 2, ..record("smtp") };
    let text = rendered(LogFormat::Text, Stage::Ended, &login);
    assert!(
        text.ends_with(
            " helo=mx.example.org user=\"al \\\"ice\\\"=\\\\\" method=PLAIN auth=failed messages=1 accepted=1 rejected=0 \
             bytes_in=5120 bytes_out=410 backend=127.0.0.1:10025 duration_ms=2345 outcome=ok reason=done auth_failures=2\n"
        ),
        "{text}"
    );
}

#[test]
fn json_has_the_same_keys_as_text() {
    for (stage, record) in [
        (Stage::Secured, record("smtp")),
        (Stage::Ended, record("imaps")),
        (Stage::Ended, failed_handshake("submission")),
    ] {
        let text = rendered(LogFormat::Text, stage, &record);
        let keys: Vec<_> =
            text.split(' ').skip(1).filter_map(|word| word.split_once('=')).map(|(key, _)| key).collect();
        let json = rendered(LogFormat::Json, stage, &record);
        let mut at = json.find("\"time\":\"2026-03-01T22:36:05.042+01:00\"").unwrap();
        assert!(keys.len() > 10);
        for key in &keys {
            let next = json.find(&format!("\"{key}\":")).unwrap_or_else(|| panic!("{key} is not in {json}"));
            assert!(next > at, "{key} is not in its place in {json}");
            at = next;
        }
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value.as_object().unwrap().len(), keys.len() + 1);
    }
    let value: serde_json::Value =
        serde_json::from_str(&rendered(LogFormat::Json, Stage::Ended, &failed_handshake("imaps"))).unwrap();
    assert_eq!(value["offered_versions"], serde_json::json!(["TLSv1.1", "TLSv1.0"]));
    assert_eq!(value["sni"], "old.example.com");
    assert_eq!(value["reason"], "unsupported protocol version");
    assert_eq!(value.get("tls_version"), None);
}

#[test]
fn only_two_stages_have_a_record_in_text_and_json() {
    for stage in [Stage::Connected, Stage::LoggedIn] {
        assert_eq!(rendered(LogFormat::Text, stage, &record("imaps")), "");
        assert_eq!(rendered(LogFormat::Json, stage, &record("imaps")), "");
    }
}

#[test]
fn a_clients_certificate_is_in_the_record() {
    let presented = |verified| {
        let client_certificate =
            ClientCertificate::Presented { common_name: "al\nice".into(), issuer: "Example CA".into(), verified };
        Record { tls: Some(Arc::new(TlsFacts { client_certificate, ..tls() })), ..record("smtp") }
    };
    let text = rendered(LogFormat::Text, Stage::Secured, &presented(true));
    assert!(text.ends_with("client_certificate=verified client_cn=al?ice client_issuer=\"Example CA\"\n"), "{text}");
    assert!(postfix(Stage::Secured, &presented(true))[0].contains(": Trusted TLS connection"));
    assert!(postfix(Stage::Secured, &presented(false))[0].contains(": Untrusted TLS connection"));
}

#[test]
fn a_list_from_a_client_hello_is_bounded() {
    let offered = Offered { suites: (0..2_000).map(|n| format!("0x{n:04x}")).collect(), ..Offered::default() };
    let flood = Record { tls: None, offered: Some(Arc::new(offered)), ..record("imaps") };
    let text = rendered(LogFormat::Text, Stage::Ended, &flood);
    assert!(text.contains(",0x003f,+1936 "), "{text}");
}

#[test]
fn postfix_lines_of_a_session_are_postfixs() {
    let smtp = record("smtp");
    assert_eq!(postfix(Stage::Connected, &smtp), ["postfix/smtpd[4711]: connect from unknown[203.0.113.5]"]);
    assert_eq!(
        postfix(Stage::Secured, &smtp),
        ["postfix/smtpd[4711]: Anonymous TLS connection established from unknown[203.0.113.5] to mail.example.com: \
          TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits) key-exchange X25519MLKEM768 \
          server-signature ECDSA (P-256) server-digest SHA256"]
    );
    assert_eq!(
        postfix(Stage::Ended, &smtp),
        ["postfix/smtpd[4711]: disconnect from unknown[203.0.113.5] ehlo=2 starttls=1 mail=1 rcpt=0/1 quit=1 \
          commands=5/6"]
    );
    let named = Record {
        client: "[2001:db8::5]:40122".parse().unwrap(),
        client_name: Lookup::Found("mx.example.org".into()),
        commands: vec![],
        tls: Some(Arc::new(TlsFacts { signature: None, sni: None, ..tls() })),
        ..record("submissions")
    };
    assert_eq!(
        postfix(Stage::Ended, &named),
        ["postfix/smtpd[4711]: disconnect from mx.example.org[2001:db8::5] commands=0/0"]
    );
    assert_eq!(
        postfix(Stage::Secured, &named),
        ["postfix/smtpd[4711]: Anonymous TLS connection established from mx.example.org[2001:db8::5]: TLSv1.3 with \
          cipher TLS_AES_256_GCM_SHA384 (256/256 bits) key-exchange X25519MLKEM768"]
    );
}

#[test]
fn postfix_lines_say_how_a_session_broke_off() {
    let ended = |outcome, reason| Record { outcome, reason, ..record("smtp") };
    let cases = [
        (Outcome::Timeout, "no command in time", Some("timeout after QUIT from unknown[203.0.113.5]")),
        (
            Outcome::ClientError,
            "client ended without close_notify",
            Some("lost connection after QUIT from unknown[203.0.113.5]"),
        ),
        (Outcome::Policy, "too many errors", Some("too many errors after QUIT from unknown[203.0.113.5]")),
        (
            Outcome::BackendError,
            "connection refused",
            Some("warning: unknown[203.0.113.5]: backend 127.0.0.1:10025: connection refused"),
        ),
        (Outcome::Shutdown, "shutdown", None),
    ];
    for (outcome, reason, expected) in cases {
        let mut lines = postfix(Stage::Ended, &ended(outcome, reason));
        assert!(lines.pop().unwrap().contains(": disconnect from "));
        let expected: Vec<_> = expected.into_iter().map(|line| format!("postfix/smtpd[4711]: {line}")).collect();
        assert_eq!(lines, expected);
    }
}

#[test]
fn postfix_lines_of_a_failed_handshake() {
    assert_eq!(
        postfix(Stage::Ended, &failed_handshake("submission")),
        [
            "postfix/smtpd[4711]: SSL_accept error from unknown[203.0.113.5]: -1",
            "postfix/smtpd[4711]: warning: TLS library problem: unsupported protocol version: client offered \
             versions=TLSv1.1,TLSv1.0 suites=TLS_RSA_WITH_AES_128_CBC_SHA,0x00ff groups=x25519 \
             signatures=rsa_pkcs1_sha1",
            "postfix/smtpd[4711]: lost connection after STARTTLS from unknown[203.0.113.5]",
            "postfix/smtpd[4711]: disconnect from unknown[203.0.113.5] ehlo=1 starttls=0/1 commands=1/2",
        ]
    );
    let other = |outcome, reason| Record { offered: None, outcome, reason, ..failed_handshake("submissions") };
    let lines = postfix(Stage::Ended, &other(Outcome::ClientError, "not TLS: HTTP request"));
    assert!(lines[1].ends_with(": warning: TLS library problem: not TLS: HTTP request"), "{lines:?}");
    let lines = postfix(Stage::Ended, &other(Outcome::ClientError, "client closed during handshake"));
    assert!(lines[0].ends_with(": SSL_accept error from unknown[203.0.113.5]: lost connection"), "{lines:?}");
    assert_eq!(lines.len(), 3);
    let silent = other(Outcome::Timeout, "no ClientHello in time");
    assert_eq!(
        postfix(Stage::Ended, &silent),
        [
            "postfix/smtpd[4711]: SSL_accept error from unknown[203.0.113.5]: Connection timed out",
            "postfix/smtpd[4711]: timeout after CONNECT from unknown[203.0.113.5]",
            "postfix/smtpd[4711]: disconnect from unknown[203.0.113.5] commands=0/0",
        ]
    );
    assert_eq!(
        postfix(Stage::Ended, &failed_handshake("imaps"))[0],
        "dovecot: imap-login: Disconnected: Connection closed: SSL_accept() failed: unsupported protocol version (no auth \
         attempts in 2 secs): user=<>, rip=203.0.113.5, lip=192.0.2.10, TLS handshaking: SSL_accept() failed: \
         unsupported protocol version, session=<4Kd9x2>"
    );
}

#[test]
fn postfix_and_dovecot_lines_of_failed_logins() {
    let login = |service, user: &str| Record {
        user: Some(user.into()),
        method: Some("PLAIN".into()),
        auth_failures: 2,
        ..record(service)
    };
    let lines = postfix(Stage::Ended, &login("submission", "alice"));
    let warning = "postfix/smtpd[4711]: warning: unknown[203.0.113.5]: SASL PLAIN authentication failed: \
                   (reason unavailable), sasl_username=alice";
    assert_eq!(lines[..2], [warning, warning]);
    assert_eq!(lines.len(), 3);
    assert_eq!(
        postfix(Stage::Ended, &login("imaps", "alice")),
        ["dovecot: imap-login: Disconnected: Connection closed (auth failed, 2 attempts in 2 secs): user=<alice>, \
          method=PLAIN, rip=203.0.113.5, lip=192.0.2.10, TLS, session=<4Kd9x2>"]
    );
    // Nobody gets somebody else banned by a user name.
    let forged = postfix(Stage::Ended, &login("imaps", "x>, method=PLAIN, rip=192.0.2.1, lip=<\r\n"));
    assert!(forged[0].contains("user=<x???method=PLAIN??rip=192.0.2.1??lip=???>, "), "{forged:?}");
}

#[test]
fn dovecot_lines_of_a_login() {
    let alice =
        Record { user: Some("alice".into()), method: Some("PLAIN".into()), authenticated: true, ..record("imaps") };
    assert_eq!(
        postfix(Stage::LoggedIn, &alice),
        ["dovecot: imap-login: Login: user=<alice>, method=PLAIN, rip=203.0.113.5, lip=192.0.2.10, TLS, \
          session=<4Kd9x2>, TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)"]
    );
    assert_eq!(
        postfix(Stage::Ended, &alice),
        ["dovecot: imap(alice)<4711><4Kd9x2>: Disconnected: Logged out in=5120 out=410"]
    );
    assert_eq!(postfix(Stage::Connected, &alice), Vec::<String>::new());
    assert_eq!(postfix(Stage::Secured, &alice), Vec::<String>::new());
    let logout = Record { authenticated: false, commands: counts(&[("logout", 1, 1)]), ..record("imaps") };
    assert!(
        postfix(Stage::Ended, &logout)[0].contains(": Aborted login by logging out (no auth attempts in 2 secs): ")
    );
}

#[test]
fn the_journal_gets_fields() {
    let look = Look { format: LogFormat::Postfix, program: LogProgram::Sealgate, journal: true, colour: false };
    let entries = Renderer::new(look, "mail.example.com").with_pid(4711).record(Stage::Ended, &record("smtp"), &now());
    let entry = String::from_utf8(entries.concat()).unwrap();
    let lines: Vec<_> = entry.lines().collect();
    assert_eq!(
        lines[..5],
        [
            "MESSAGE=disconnect from unknown[203.0.113.5] ehlo=2 starttls=1 mail=1 rcpt=0/1 quit=1 commands=5/6",
            "PRIORITY=6",
            "SYSLOG_FACILITY=2",
            "SYSLOG_IDENTIFIER=sealgate/smtpd",
            "SYSLOG_PID=4711",
        ]
    );
    assert!(lines.contains(&"SEALGATE_TLS_VERSION=TLSv1.3") && lines.contains(&"SEALGATE_OUTCOME=ok"), "{lines:?}");
}

#[test]
fn the_journals_socket_gets_one_datagram_an_entry() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let missing = journal::Journal::connect(&path).unwrap_err().to_string();
    assert!(missing.contains("no journal at") && missing.contains("log.to"), "{missing}");
    let journald = UnixDatagram::bind(&path).unwrap();
    let look = Look { format: LogFormat::Text, program: LogProgram::Sealgate, journal: true, colour: false };
    let target = writer::Target::Journal(journal::Journal::connect(&path).unwrap());
    let log = SessionLog::start(Renderer::new(look, "h"), target, None).unwrap();
    log.note(Stage::Secured, &record("smtp"));
    let mut datagram = [0; 4096];
    assert_eq!(journald.recv(&mut datagram).unwrap(), 0);
    let n = journald.recv(&mut datagram).unwrap();
    assert!(datagram[..n].starts_with(b"MESSAGE=event=secured session=4Kd9x2 "));
}

#[test]
fn a_moved_file_is_reopened_and_nobody_else_may_read_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sealgate.log");
    let settings = Log { format: LogFormat::Text, to: LogTarget::File(path.clone()), program: LogProgram::Sealgate };
    let log = SessionLog::open(&settings, "mail.example.com").unwrap();
    log.note(Stage::Secured, &record("smtp"));
    assert!(log.flush());
    let moved = directory.path().join("sealgate.log.1");
    std::fs::rename(&path, &moved).unwrap();
    log.note(Stage::Secured, &record("submission"));
    log.reopen().unwrap();
    log.note(Stage::Secured, &record("imaps"));
    drop(log);
    let (old, new) = (std::fs::read_to_string(&moved).unwrap(), std::fs::read_to_string(&path).unwrap());
    assert!(old.contains("service=smtp ") && old.contains("service=submission "), "{old}");
    assert!(new.contains("service=imaps ") && new.lines().count() == 1, "{new}");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o137, 0, "mode 0640 at most");

    let nowhere = LogTarget::File(directory.path().join("no/such/directory"));
    let error = SessionLog::open(&Log { to: nowhere, ..settings }, "h").unwrap_err().to_string();
    assert!(error.contains("no/such/directory") && error.contains("log.to"), "{error}");
}

/// A disk that does what the test says with each write, and tells of it.
struct Disk {
    verdicts: Receiver<io::Result<usize>>,
    written: Sender<Vec<u8>>,
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.verdicts.recv().unwrap_or(Ok(usize::MAX))?.min(bytes.len());
        self.written.send(bytes[..n].to_vec()).unwrap();
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn disk() -> (SessionLog, Sender<io::Result<usize>>, Receiver<Vec<u8>>) {
    let ((verdict, verdicts), (written, output)) = (mpsc::channel(), mpsc::channel());
    let disk = Box::new(Disk { verdicts, written });
    (SessionLog::to_writer(LogFormat::Text, LogProgram::Sealgate, "h", disk).unwrap(), verdict, output)
}

#[test]
fn a_full_disk_costs_lines_which_are_counted() {
    let (log, verdict, output) = disk();
    // Half a line goes out, then the disk is full.
    verdict.send(Ok(10)).unwrap();
    verdict.send(Err(io::ErrorKind::StorageFull.into())).unwrap();
    // So it is when the writer reports that.
    verdict.send(Err(io::ErrorKind::StorageFull.into())).unwrap();
    log.note(Stage::Secured, &record("smtp"));
    assert!(log.flush(), "a failing disk does not hold anybody up");
    drop(verdict);
    log.note(Stage::Secured, &record("imaps"));
    assert!(log.flush());
    let text = String::from_utf8(output.try_iter().collect::<Vec<_>>().concat()).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert_eq!(lines[0].len(), 10, "the torn line ends before the next begins");
    assert!(lines[1].ends_with("WARN log lines were lost before this one lines=1"), "{text}");
    assert!(lines[2].contains("service=imaps"), "{text}");
}

#[test]
fn a_stuck_disk_never_holds_up_a_session() {
    let (log, verdict, output) = disk();
    // Far more than the queue holds, while the disk answers nothing.
    let line = rendered(LogFormat::Text, Stage::Ended, &record("smtp")).len();
    let noted = 5 * 1024 * 1024 / line;
    for _ in 0..noted {
        log.note(Stage::Ended, &record("smtp"));
    }
    drop(verdict);
    assert!(log.flush());
    let text = String::from_utf8(output.try_iter().collect::<Vec<_>>().concat()).unwrap();
    let written = text.lines().filter(|line| line.contains("event=ended")).count();
    let lost: usize =
        text.lines().find_map(|line| line.split_once("before this one lines=")).unwrap().1.parse().unwrap();
    assert!(lost > 0);
    assert_eq!(written + lost, noted);
}

#[test]
fn tracing_events_arrive_in_the_logs_look() {
    use tracing_subscriber::layer::SubscriberExt as _;
    let cases = [
        (
            LogFormat::Text,
            " WARN backend \\\"down\\\"?here backend=127.0.0.1:10025 try=3 session=4Kd9x2\n".replace('\\', ""),
        ),
        (
            LogFormat::Postfix,
            "warning: backend \"down\"?here backend=127.0.0.1:10025 try=3 session=4Kd9x2\n".to_owned(),
        ),
        (
            LogFormat::Json,
            "\"event\":\"message\",\"level\":\"warn\",\"message\":\"backend \\\"down\\\"?here\",\
             \"backend\":\"127.0.0.1:10025\",\"try\":\"3\",\"session\":\"4Kd9x2\"}\n"
                .to_owned(),
        ),
    ];
    for (format, expected) in cases {
        let output = Shared::default();
        let log = SessionLog::to_writer(format, LogProgram::Sealgate, "h", Box::new(output.clone())).unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(log.operations()), || {
            let _span = tracing::info_span!("session", session = "4Kd9x2").entered();
            tracing::warn!(backend = "127.0.0.1:10025", r#try = 3, "backend \"down\"\nhere");
        });
        assert!(log.flush());
        let text = String::from_utf8(output.0.lock().unwrap().clone()).unwrap();
        assert!(text.ends_with(&expected), "{text} does not end with {expected}");
        assert_eq!(BufReader::new(text.as_bytes()).lines().count(), 1);
    }
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
