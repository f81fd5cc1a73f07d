mod postfix;
mod writing;

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};

use super::*;
use crate::facts::ClientCertificate;
use postfix::postfix;

fn now() -> Zoned {
    let offset = TimeZone::fixed(Offset::from_seconds(3600).unwrap());
    Timestamp::from_millisecond(1_772_400_965_042).unwrap().to_zoned(offset)
}

fn tls() -> TlsFacts {
    let handshake = Duration::from_micros(4_900);
    TlsFacts { sni: Some("mail.example.com".into()), handshake, ..TlsFacts::example() }
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
        handshake_failed: false,
        offered: None,
        helo: Some("mx.example.org".into()),
        user: None,
        method: None,
        auth_failures: 0,
        delayed: Duration::ZERO,
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
        handshake_failed: true,
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
fn the_documentation_names_every_key() {
    let documented: Vec<_> = include_str!("../../docs/formats.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once(" |"))
        .flat_map(|(keys, _)| keys.split([',', ' ', '`']))
        .collect();
    let certificate = ClientCertificate::Presented { common_name: "a".into(), issuer: "b".into(), verified: true };
    let full = Record {
        tls: Some(Arc::new(TlsFacts { alpn: Some("smtp".into()), client_certificate: certificate, ..tls() })),
        user: Some("alice".into()),
        method: Some("PLAIN".into()),
        auth_failures: 1,
        client_name: Lookup::Found("mx.example.org".into()),
        ..record("submission")
    };
    let failed = failed_handshake("imaps");
    let keys: std::collections::BTreeSet<_> =
        [&full, &failed].into_iter().flat_map(|record| fields::of(Stage::Ended, record)).map(|(key, _)| key).collect();
    assert_eq!(keys.len(), 39, "every key is in one of the two records");
    for key in keys {
        assert!(documented.contains(&key), "docs/formats.md does not explain {key}");
    }
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
