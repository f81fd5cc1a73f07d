//! `sealgate report` on logs of every kind.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // a test: a panic is how it fails

use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use sealgate::config::{LogFormat, LogProgram};
use sealgate::facts::{
    ClientCertificate, Group, Lookup, Outcome, ServerSignature, SessionId, SignatureAlgorithm, Suite, TlsFacts,
    TlsVersion,
};
use sealgate::report::{Report, Summary};
use sealgate::session_log::{Offered, Record, SessionLog, Stage};

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/report")
}

fn summary(log: &[u8]) -> Summary {
    let mut report = Report::new("2026-11-22T12:00:00+00:00[UTC]".parse().unwrap());
    report.read(Cursor::new(log)).unwrap();
    report.summary()
}

/// Each sample's table and JSON stand beside it.
#[test]
fn samples_come_to_what_is_recorded() {
    let names = ["postfix", "postfix-old", "dovecot", "sealgate", "empty"];
    let mut mixed = Vec::new();
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(samples());
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let check = |name: &str, log: &[u8]| {
        let summary = summary(log);
        settings.bind(|| {
            insta::assert_snapshot!(name, anstream::adapter::strip_str(&summary.to_string()).to_string());
            insta::assert_snapshot!(format!("{name}.json"), serde_json::to_string_pretty(&summary).unwrap());
        });
    };
    for name in names {
        let log = std::fs::read(samples().join(format!("{name}.log"))).unwrap();
        check(name, &log);
        mixed.extend(log);
    }
    check("mixed", &mixed);
}

/// What `SessionLog` writes is what the report reads, the same in each format as far as that format tells it.
#[test]
fn our_three_formats_come_to_the_same() {
    let [text, json, postfix] =
        [LogFormat::Text, LogFormat::Json, LogFormat::Postfix].map(|format| summary(&written(format)));
    assert_eq!(text.tls_sessions, 2);
    assert_eq!(text.failures.len(), 1);
    assert_eq!((text.broken, json.broken, postfix.broken), (0, 0, 0));
    let dateless = |summary: &Summary| Summary { first: None, last: None, ..summary.clone() };
    assert_eq!(
        serde_json::to_value(dateless(&text)).unwrap()["locked_out"]["modern"]["always"],
        serde_json::to_value(dateless(&json)).unwrap()["locked_out"]["modern"]["always"]
    );
    for other in [&json, &postfix] {
        assert_eq!(other.versions, text.versions);
        assert_eq!(other.ciphers, text.ciphers);
        assert_eq!(other.groups, text.groups);
        assert_eq!(other.forward_secret, text.forward_secret);
        assert_eq!(other.post_quantum, text.post_quantum);
        assert_eq!(other.failures, text.failures);
    }
    assert_eq!(json.services, text.services);
    assert_eq!(text.post_quantum.yes, 1);
    assert_eq!(text.locked_out.modern.clients[0].address, "192.0.2.77");
}

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn written(format: LogFormat) -> Vec<u8> {
    let buffer = Buffer::default();
    let log =
        SessionLog::to_writer(format, LogProgram::Sealgate, "mail.example.com", Box::new(buffer.clone())).unwrap();
    let tls = |version, openssl, group| {
        Some(Arc::new(TlsFacts {
            version,
            suite: Suite { iana: openssl, openssl, bits: 256 },
            group,
            signature: Some(ServerSignature {
                iana: "ed25519",
                algorithm: SignatureAlgorithm::Ed25519,
                digest: None,
                certificate: None,
            }),
            sni: Some("mail.example.com".into()),
            alpn: None,
            client_certificate: ClientCertificate::NotRequested,
            handshake: Duration::from_millis(3),
        }))
    };
    let modern = tls(TlsVersion::Tls13, "TLS_AES_256_GCM_SHA384", Group::X25519MlKem768);
    let older = tls(TlsVersion::Tls12, "ECDHE-RSA-AES256-GCM-SHA384", Group::Secp384r1);
    let sessions = [
        ("203.0.113.5:1", modern, None, Outcome::Ok, "closed"),
        ("192.0.2.77:2", older, None, Outcome::Ok, "closed"),
        ("198.51.100.66:3", None, Some(Arc::new(Offered::default())), Outcome::Policy, "no common cipher suite"),
    ];
    for (client, tls, offered, outcome, reason) in sessions {
        let secured = tls.is_some();
        let record = Record {
            began: SystemTime::now(),
            session: SessionId::new("4Kd9x2"),
            listener: "0.0.0.0:25".parse().unwrap(),
            service: "smtp",
            protocol: "smtp",
            client: client.parse().unwrap(),
            client_name: Lookup::NotTried,
            local: "192.0.2.10:25".parse().unwrap(),
            tls,
            handshake_failed: offered.is_some(),
            offered,
            helo: Some("x tls_version=TLSv1.0 \"".to_owned()),
            user: None,
            method: None,
            auth_failures: 0,
            delayed: Duration::ZERO,
            authenticated: false,
            accepted: 0,
            rejected: 0,
            commands: Vec::new(),
            bytes_in: 0,
            bytes_out: 0,
            backend: "127.0.0.1:10025".into(),
            duration: Duration::from_secs(1),
            outcome,
            reason,
        };
        log.note(Stage::Connected, &record);
        if secured {
            log.note(Stage::Secured, &record);
        }
        log.note(Stage::Ended, &record);
    }
    assert!(log.flush());
    buffer.0.lock().unwrap().clone()
}

fn sealgate(args: &[&str], input: Option<&[u8]>) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sealgate"))
        .arg("report")
        .args(args)
        .current_dir(samples())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that fails early may not read what it is given.
    _ = child.stdin.take().unwrap().write_all(input.unwrap_or_default());
    child.wait_with_output().unwrap()
}

#[test]
fn the_command_reads_files_and_standard_input() {
    let postfix = std::fs::read(samples().join("postfix.log")).unwrap();
    let file = sealgate(&["postfix.log"], None);
    assert!(file.status.success());
    assert!(!file.stdout.contains(&0x1b), "no colours in a pipe");
    assert_eq!(file.stdout, sealgate(&[], Some(&postfix)).stdout);
    assert_eq!(file.stdout, sealgate(&["-"], Some(&postfix)).stdout);

    let both = sealgate(&["--json", "-", "dovecot.log"], Some(&postfix));
    let both: serde_json::Value = serde_json::from_slice(&both.stdout).unwrap();
    assert_eq!(both["lines"], 39);
    assert_eq!(both["tls_sessions"], 13);
}

#[test]
fn the_command_names_what_it_cannot_read() {
    let missing = sealgate(&["no-such.log"], None);
    assert_eq!(missing.status.code(), Some(1));
    let error = String::from_utf8(missing.stderr).unwrap();
    assert!(error.contains("cannot read the log no-such.log") && error.contains("No such file"), "{error}");

    let compressed = sealgate(&["-"], Some(b"\x1f\x8b\x08\0"));
    assert_eq!(compressed.status.code(), Some(1));
    let error = String::from_utf8(compressed.stderr).unwrap();
    assert!(error.contains("cannot read standard input") && error.contains("zcat"), "{error}");

    assert_eq!(sealgate(&["--no-such-option"], None).status.code(), Some(2));
}
