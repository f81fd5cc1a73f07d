//! The lines of Postfix and Dovecot.

use super::super::*;
use super::{counts, failed_handshake, now, record, renderer, tls};

/// The lines in Postfix's and Dovecot's form, without date and host.
pub(super) fn postfix(stage: Stage, record: &Record) -> Vec<String> {
    const FRONT: &str = "Mar  1 22:36:05 mail.example.com ";
    let entries = renderer(LogFormat::Postfix, LogProgram::Postfix).record(stage, record, &now());
    entries
        .into_iter()
        .map(|entry| String::from_utf8(entry).unwrap().strip_prefix(FRONT).unwrap().trim_end().to_owned())
        .collect()
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
        (
            Outcome::ClientError,
            "client went away in a message",
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
    let lines = postfix(Stage::LoginFailed, &login("submission", "alice"));
    let warning = "postfix/smtpd[4711]: warning: unknown[203.0.113.5]: SASL PLAIN authentication failed: \
                   (reason unavailable), sasl_username=alice";
    assert_eq!(lines, [warning]);
    assert_eq!(postfix(Stage::Ended, &login("submission", "alice")).len(), 1, "a failure is told once");
    assert_eq!(postfix(Stage::LoginFailed, &login("imaps", "alice")), Vec::<String>::new());
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
