//! The relay self-test.

use std::time::Duration;

use sealgate::backend::self_test::{SelfTest, relay_self_test};
use sealgate::config::{BackendAddr, ClientIdentity};
use tokio::net::TcpListener;

use super::server::{Rules, Server};
use super::{PATIENCE, deadlines, listener};

/// What an SMTP server answers that announces XCLIENT and says `rcpt` to every recipient.
fn smtp(line: &str, rcpt: &str) -> Option<String> {
    let verb = line.split(' ').next().unwrap_or_default();
    Some(match verb {
        "EHLO" => "250-old.example\r\n250 XCLIENT NAME ADDR PROTO HELO REVERSE_NAME PORT\r\n".into(),
        "XCLIENT" => "220 old.example\r\n".into(),
        "MAIL" | "RSET" => "250 2.0.0 Ok\r\n".into(),
        "RCPT" => rcpt.into(),
        "QUIT" => return None,
        _ => "502 5.5.2 Error: command not recognized\r\n".into(),
    })
}

async fn server(proxy: bool, answer: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Server {
    Server::start(Rules { proxy, greeting: "220 old.example\r\n".into(), answer: Box::new(answer) }).await
}

async fn test(server: &Server, identity: ClientIdentity) -> SelfTest {
    let listener = listener("smtp", server.address.clone(), identity);
    relay_self_test(&listener, &listener.backends[0], "mail.example.com", &deadlines(PATIENCE)).await
}

#[tokio::test]
async fn the_question_is_asked_as_a_stranger_and_never_with_a_message() {
    let denied = "554 5.7.1 Relay access denied\r\n";
    let transactions = [
        "MAIL FROM:<>",
        "RCPT TO:<relay-test@example.com>",
        "RSET",
        "MAIL FROM:<>",
        "RCPT TO:<relay-test@[192.0.2.1]>",
        "RSET",
    ];
    let questions =
        [&["EHLO [192.0.2.1]"], &transactions[..], &["EHLO mail.example.com"], &transactions, &["QUIT"]].concat();
    let xclient = "XCLIENT PORT=49152 NAME=[UNAVAILABLE] REVERSE_NAME=[UNAVAILABLE] ADDR=192.0.2.1";
    let cases: [(ClientIdentity, &[&str]); 4] = [
        (ClientIdentity::Xclient, &["EHLO mail.example.com", xclient]),
        (ClientIdentity::ProxyV1, &["PROXY 192.0.2.1:49152"]),
        (ClientIdentity::ProxyV2, &["PROXY 192.0.2.1:49152"]),
        (ClientIdentity::None, &[]),
    ];
    for (identity, introduction) in cases {
        let proxy = introduction.first().is_some_and(|line| line.starts_with("PROXY"));
        let server = server(proxy, move |line| smtp(line, denied)).await;
        let verdict = test(&server, identity).await;
        let SelfTest::Refused { reply } = &verdict else { panic!("{verdict}") };
        assert_eq!(reply, denied.trim_end());
        assert!(verdict.may_open() && !verdict.must_repeat());
        assert_eq!(server.heard(), [introduction, &questions].concat());
    }
}

#[tokio::test]
async fn one_yes_outweighs_every_no() {
    let yes = "250 2.1.5 Ok";
    let cases: [fn(&str) -> bool; 3] =
        [|_| true, |line| line.contains("example.com>"), |line| line.contains("@[192.0.2.1]>")];
    for (number, taken) in cases.into_iter().enumerate() {
        let server = server(false, move |line| {
            smtp(line, &format!("{}\r\n", if taken(line) { yes } else { "554 5.7.1 Relay access denied" }))
        });
        let server = server.await;
        for (identity, remedy) in
            [(ClientIdentity::Xclient, "check mynetworks"), (ClientIdentity::None, "set client_identity to xclient")]
        {
            let verdict = test(&server, identity).await;
            let SelfTest::Relays { reply, .. } = &verdict else { panic!("case {number}: {verdict}") };
            assert_eq!(reply, yes);
            assert!(!verdict.may_open() && verdict.must_repeat());
            assert!(verdict.to_string().contains("open relay") && verdict.to_string().contains(remedy), "{verdict}");
        }
    }
}

#[tokio::test]
async fn a_rule_against_one_name_does_not_hide_the_relay_rule() {
    for refused in ["[192.0.2.1]", "mail.example.com"] {
        let name = std::sync::Mutex::new(String::new());
        let server = server(false, move |line| {
            if let Some(helo) = line.strip_prefix("EHLO ") {
                *name.lock().unwrap() = helo.to_owned();
            }
            let hidden = *name.lock().unwrap() == refused;
            smtp(line, if hidden { "554 5.7.1 Helo command rejected\r\n" } else { "250 2.1.5 Ok\r\n" })
        });
        let verdict = test(&server.await, ClientIdentity::None).await;
        assert!(matches!(verdict, SelfTest::Relays { .. }), "{refused}: {verdict}");
    }
}

#[tokio::test]
async fn a_doubt_opens_with_a_warning_and_a_denial_in_4xx_is_a_denial() {
    let server_that_says = |reply: &'static str| server(false, move |line| smtp(line, reply));
    let greylisted = server_that_says("450 4.2.0 Greylisted\r\n").await;
    let verdict = test(&greylisted, ClientIdentity::Xclient).await;
    assert!(matches!(&verdict, SelfTest::Deferred { reply } if reply == "450 4.2.0 Greylisted"), "{verdict}");
    assert!(verdict.may_open() && verdict.must_repeat());

    // What a stock Postfix ≥ 2.10 says.
    let stock = server_that_says("454 4.7.1 <relay-test@example.com>: Relay access denied\r\n").await;
    let verdict = test(&stock, ClientIdentity::Xclient).await;
    assert!(matches!(verdict, SelfTest::Refused { .. }), "{verdict}");
}

#[tokio::test]
async fn a_rule_against_clients_without_a_name_does_not_hide_the_relay_rule() {
    for (behind, opens) in [("250 2.1.5 Ok\r\n", false), ("554 5.7.1 Relay access denied\r\n", true)] {
        let named = std::sync::atomic::AtomicBool::new(false);
        let server = server(false, move |line| {
            if line.starts_with("XCLIENT") {
                let name = " NAME=relay-test.example.com REVERSE_NAME=relay-test.example.com ADDR=192.0.2.1";
                named.store(line.ends_with(name), std::sync::atomic::Ordering::SeqCst);
            }
            let unknown = !named.load(std::sync::atomic::Ordering::SeqCst);
            smtp(line, if unknown { "450 4.7.25 cannot find your hostname\r\n" } else { behind })
        });
        let verdict = test(&server.await, ClientIdentity::Xclient).await;
        assert_eq!(verdict.may_open(), opens, "{verdict}");
        assert!(!matches!(verdict, SelfTest::Deferred { .. }), "{verdict}");
    }
}

#[tokio::test]
async fn a_refusal_before_rcpt_counts() {
    let auth_first = server(false, |line| match line.starts_with("MAIL") {
        true => Some("530 5.7.0 Authentication required\r\n".into()),
        false => smtp(line, "250 2.1.5 Ok\r\n"),
    });
    let verdict = test(&auth_first.await, ClientIdentity::None).await;
    assert!(matches!(&verdict, SelfTest::Refused { reply } if reply.starts_with("530")), "{verdict}");

    // RFC 3207 §4: that is said to friends and strangers alike, and every mail would come back to its sender.
    // The second is Postfix's with `soft_bounce = yes`.
    for code in ["530 5.7.0", "430 4.7.0"] {
        let tls_first = server(false, move |line| match line.starts_with("MAIL") {
            true => Some(format!("{code} Must issue a STARTTLS command first\r\n")),
            false => smtp(line, "250 2.1.5 Ok\r\n"),
        });
        let verdict = test(&tls_first.await, ClientIdentity::None).await;
        assert!(matches!(&verdict, SelfTest::Unreachable(_)) && !verdict.may_open(), "{verdict}");
        assert!(verdict.to_string().contains("set -o smtpd_tls_security_level=none"), "{verdict}");
    }

    for (greeting, opens) in
        [("554 no service for you\r\n", true), ("450 who are you?\r\n", true), ("421 busy\r\n", false)]
    {
        let rules =
            Rules { proxy: false, greeting: greeting.into(), answer: Box::new(|line| smtp(line, "250 Ok\r\n")) };
        let verdict = test(&Server::start(rules).await, ClientIdentity::None).await;
        assert_eq!(verdict.may_open(), opens, "{greeting}: {verdict}");
    }
}

#[tokio::test]
async fn a_backend_without_ehlo_is_asked_by_helo() {
    let old = server(false, |line| match line.split(' ').next() {
        Some("EHLO") => Some("500 what?\r\n".into()),
        Some("HELO") => Some("250 hello\r\n".into()),
        _ => smtp(line, "250 2.1.5 Ok\r\n"),
    });
    let old = old.await;
    let verdict = test(&old, ClientIdentity::None).await;
    assert!(matches!(verdict, SelfTest::Relays { .. }), "{verdict}");
    assert!(old.heard().contains(&"HELO [192.0.2.1]".to_owned()));
}

#[tokio::test]
async fn a_limit_on_errors_does_not_undo_what_was_said() {
    let count = std::sync::atomic::AtomicUsize::new(0);
    let strict = server(false, move |line| {
        let errors = count.load(std::sync::atomic::Ordering::SeqCst);
        if errors > 0 {
            return Some("421 4.7.0 Error: too many errors\r\n".into());
        }
        if line.starts_with("RCPT") {
            count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
        smtp(line, "554 5.7.1 Relay access denied\r\n")
    });
    let verdict = test(&strict.await, ClientIdentity::None).await;
    assert!(matches!(verdict, SelfTest::Refused { .. }), "{verdict}");
}

#[tokio::test]
async fn a_backend_that_knows_no_proxy_header_keeps_the_listener_closed() {
    // Whoever it is told about, it takes us for the client, and relays.
    let naked = server(false, |line| match line {
        "QUIT" => Some("221 2.0.0 Bye\r\n".into()),
        line => smtp(line, "250 2.1.5 Ok\r\n"),
    });
    let naked = naked.await;
    for identity in [ClientIdentity::ProxyV1, ClientIdentity::ProxyV2] {
        let verdict = test(&naked, identity).await;
        assert!(!verdict.may_open() && verdict.must_repeat());
        let text = verdict.to_string();
        assert!(text.contains("smtpd_upstream_proxy_protocol = haproxy") && text.contains(identity.as_str()), "{text}");
    }
    assert!(!naked.heard().iter().any(|line| line.starts_with("RCPT")));

    // With `soft_bounce = yes`.
    let soft = server(false, |line| match line.starts_with("PROXY") {
        true => Some("402 4.5.2 Error: command not recognized\r\n".into()),
        false => smtp(line, "250 2.1.5 Ok\r\n"),
    });
    let verdict = test(&soft.await, ClientIdentity::ProxyV1).await;
    assert!(verdict.to_string().contains("smtpd_upstream_proxy_protocol = haproxy"), "{verdict}");
}

#[tokio::test]
async fn what_cannot_be_asked_keeps_the_listener_closed() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = BackendAddr::Tcp(silent.local_addr().unwrap());
    for identity in [ClientIdentity::Xclient, ClientIdentity::ProxyV2] {
        let listener = listener("submission", address.clone(), identity);
        let verdict = relay_self_test(
            &listener,
            &listener.backends[0],
            "mail.example.com",
            &deadlines(Duration::from_millis(50)),
        )
        .await;
        assert!(matches!(verdict, SelfTest::Unreachable(_)), "{verdict}");
        assert!(!verdict.may_open() && verdict.must_repeat());
        assert!(verdict.to_string().contains("no greeting within 50ms"), "{verdict}");
    }
}

#[tokio::test]
async fn nothing_is_tested_where_there_is_nothing_to_test() {
    let nobody = BackendAddr::Unix("/nonexistent/sealgate-test".into());
    let imap = listener("imaps", nobody.clone(), ClientIdentity::ProxyV2);
    let mut vouched_for = listener("smtp", nobody, ClientIdentity::None);
    vouched_for.relay_as_proxy = true;
    for listener in [imap, vouched_for] {
        let verdict = relay_self_test(&listener, &listener.backends[0], "mail.example.com", &deadlines(PATIENCE)).await;
        assert!(matches!(verdict, SelfTest::Skipped) && verdict.may_open() && !verdict.must_repeat());
    }
}
