//! `client_identity = "imap-id"`.

use std::time::Duration;

use sealgate::config::ClientIdentity::ImapId;
use sealgate::facts::{ClientCertificate, Group, Suite, TlsFacts, TlsVersion};

use super::script::{Scripted, Turn, hear, say};
use super::{PATIENCE, client, dial, listener};

const PLAIN: &str = "sg2 ID (\"x-originating-ip\" \"203.0.113.5\" \"x-originating-port\" \"40000\" \"x-connected-ip\" \
                     \"192.0.2.10\" \"x-connected-port\" \"25\" \"x-session-id\" \"3x7Kq9\")\r\n";

fn tls() -> TlsFacts {
    TlsFacts {
        version: TlsVersion::Tls13,
        suite: Suite { iana: "TLS_AES_128_GCM_SHA256", openssl: "TLS_AES_128_GCM_SHA256", bits: 128 },
        group: Group::X25519,
        signature: None,
        sni: None,
        alpn: None,
        client_certificate: ClientCertificate::NotRequested,
        handshake: Duration::ZERO,
    }
}

/// Dials a backend with this script and gives what is left for the dialogue.
async fn input(script: &[Turn], piece: usize, tls: Option<&TlsFacts>) -> String {
    let backend = Scripted::tcp(script, piece).await;
    let listener = listener("imaps", backend.address.clone(), ImapId);
    let connected = dial(&listener, &client("203.0.113.5:40000"), tls, PATIENCE).await.unwrap();
    let input = String::from_utf8(connected.input.to_vec()).unwrap();
    drop(connected.stream);
    backend.done().await;
    input
}

#[tokio::test]
async fn id_is_sent_where_it_is_taken_and_the_greeting_is_left_for_the_dialogue() {
    let with_id = "* OK [CAPABILITY IMAP4rev1 LITERAL+ ID IDLE] Dovecot ready.\r\n";
    let without_id = "* OK [CAPABILITY IMAP4rev1 STARTTLS] ready.\r\n";
    let silent = "* OK Dovecot ready.\r\n";
    let asked = hear("sg1 CAPABILITY\r\n");
    let cases: &[(&str, &[Turn])] = &[
        (with_id, &[hear(PLAIN), say("* ID (\"name\" \"Dovecot\")\r\nsg2 OK ID completed.\r\n")]),
        (with_id, &[hear(PLAIN), say("SG2 NO not now\r\n")]),
        (with_id, &[hear(PLAIN), say("* ID NIL\r\n* OK sg2 is a fine tag\r\nsg22 OK\r\nsg2 BAD what?\r\n")]),
        (without_id, &[]),
        (
            silent,
            &[
                asked.clone(),
                say("* CAPABILITY IMAP4rev1 id\r\nsg1 OK done\r\n"),
                hear(PLAIN),
                say("* ID NIL\r\nsg2 OK\x20\r\n"),
            ],
        ),
        (silent, &[asked.clone(), say("* CAPABILITY IMAP4rev1\r\nsg1 OK done\r\n")]),
        (silent, &[asked.clone(), say("sg1 BAD no\r\n")]),
        // Not ours to judge.
        ("* PREAUTH [CAPABILITY IMAP4rev1 ID] come in\r\n", &[]),
        ("* BYE no\r\n", &[]),
        ("220 ESMTP\r\n", &[]),
    ];
    for (greeting, turns) in cases {
        for piece in [1, 2, 3, 5, 8, 13, 1_000] {
            let script = [&[say(greeting)], *turns, &[Turn::HearEnd]].concat();
            assert_eq!(input(&script, piece, None).await, *greeting);
        }
    }
}

#[tokio::test]
async fn a_session_with_tls_says_so() {
    let command = PLAIN.replace(")\r\n", " \"x-client-transport\" \"TLS\")\r\n");
    let greeting = "* OK [CAPABILITY IMAP4rev1 ID] ready\r\n";
    let script = [say(greeting), hear(command), say("sg2 OK done\r\n"), Turn::HearEnd];
    assert_eq!(input(&script, 1_000, Some(&tls())).await, greeting);
}

#[tokio::test]
async fn a_backend_that_breaks_off_is_not_used() {
    let greeting = say("* OK [CAPABILITY IMAP4rev1 ID] ready\r\n");
    let endless = "* OK and more\r\n".repeat(5_000);
    let cases: &[(&[Turn], &str)] = &[
        (&[], "before its greeting"),
        (&[say("* OK rea")], "before its greeting"),
        (&[say("* OK ready\n")], "breaks the protocol: * OK ready"),
        (&[greeting.clone(), hear(PLAIN)], "before its answer to ID"),
        (&[greeting.clone(), hear(PLAIN), say("* BYE enough\r\n")], "answer to ID was * BYE enough"),
        (&[greeting.clone(), hear(PLAIN), say(endless)], "breaks the protocol"),
        (&[say("* OK ".to_owned() + &"x".repeat(9_000))], "breaks the protocol"),
    ];
    for (script, text) in cases {
        let backend = Scripted::tcp(script, 100_000).await;
        let listener = listener("imap", backend.address.clone(), ImapId);
        let error = dial(&listener, &client("203.0.113.5:40000"), None, PATIENCE).await.unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
        backend.done().await;
    }
}
