//! `client_identity = "xclient"`.

use sealgate::config::ClientIdentity::Xclient;
use sealgate::facts::Lookup;

use super::script::{Scripted, Turn, hear, say};
use super::{PATIENCE, client, dial, listener};

const GREETING: &str = "220-mail.old.example\r\n220 ESMTP Postfix\r\n";
const EHLO: &str = "EHLO mail.example.com\r\n";
const POSTFIX_2_6: &str =
    "250-mail.old.example\r\n250-PIPELINING\r\n250-XCLIENT NAME ADDR PROTO HELO REVERSE_NAME PORT\r\n250 DSN\r\n";
const COMMAND: &str = "XCLIENT PORT=40000 NAME=client.example.net REVERSE_NAME=client.example.net ADDR=203.0.113.5\r\n";

#[tokio::test]
async fn the_greeting_after_xclient_is_left_for_the_dialogue() {
    let again = "220-mail.old.example\r\n220 ESMTP again\r\n";
    for piece in [1, 2, 3, 5, 8, 13, 1_000] {
        let script =
            [say(GREETING), hear(EHLO), say(POSTFIX_2_6), hear(COMMAND), say(again), hear("EHLO x\r\n"), Turn::HearEnd];
        let backend = Scripted::tcp(&script, piece).await;
        let listener = listener("smtp", backend.address.clone(), Xclient);
        let mut connected = dial(&listener, &client("203.0.113.5:40000"), None, PATIENCE).await.unwrap();
        assert_eq!(connected.input, again.as_bytes());
        tokio::io::AsyncWriteExt::write_all(&mut connected.stream, b"EHLO x\r\n").await.unwrap();
        drop(connected);
        backend.done().await;
    }
}

#[tokio::test]
async fn a_rule_that_refuses_the_client_itself_answers_the_client() {
    for again in
        ["450 4.7.25 cannot find your hostname\r\n", "554 5.7.1 Client host rejected\r\n", "550 5.7.1 blocked\r\n"]
    {
        let script = [say(GREETING), hear(EHLO), say(POSTFIX_2_6), hear(COMMAND), say(again), Turn::HearEnd];
        let backend = Scripted::tcp(&script, 7).await;
        let listener = listener("smtp", backend.address.clone(), Xclient);
        let connected = dial(&listener, &client("203.0.113.5:40000"), None, PATIENCE).await.unwrap();
        assert_eq!(connected.input, again.as_bytes());
        drop(connected);
        backend.done().await;
    }
}

#[tokio::test]
async fn long_names_take_two_commands_and_the_first_220_is_swallowed() {
    let name = "a".repeat(61) + "." + &"b".repeat(61) + "." + &"c".repeat(61) + "." + &"d".repeat(61);
    let mut peer = client("[2001:db8::5]:40000");
    peer.names.reverse = Lookup::Found(name.as_str().into());
    peer.names.verified = peer.names.reverse.clone();
    let script = [
        say(GREETING),
        hear(EHLO),
        say(POSTFIX_2_6),
        hear(format!("XCLIENT PORT=40000 NAME={name}\r\n")),
        say("220 first\r\n"),
        hear(format!("XCLIENT REVERSE_NAME={name} ADDR=IPV6:2001:db8::5\r\n")),
        say("220 second\r\n"),
        Turn::HearEnd,
    ];
    let backend = Scripted::tcp(&script, 1_000).await;
    let listener = listener("smtp", backend.address.clone(), Xclient);
    let connected = dial(&listener, &peer, None, PATIENCE).await.unwrap();
    assert_eq!(connected.input, &b"220 second\r\n"[..]);
    drop(connected);
    backend.done().await;

    let script = [&script[..4], &[say("550 5.7.0 Error: insufficient authorization\r\n"), Turn::HearEnd]].concat();
    let backend = Scripted::tcp(&script, 1_000).await;
    let listener = super::listener("smtp", backend.address.clone(), Xclient);
    let error = dial(&listener, &peer, None, PATIENCE).await.unwrap_err();
    assert!(error.to_string().contains("refused XCLIENT: 550 5.7.0 Error: insufficient authorization"), "{error}");
    backend.done().await;
}

#[tokio::test]
async fn a_backend_that_does_not_take_the_identity_is_not_used() {
    let refused = "backend refused the client identity";
    let cases: &[(&[Turn], &str, &str)] = &[
        (
            &[
                say(GREETING),
                hear(EHLO),
                say(POSTFIX_2_6),
                hear(COMMAND),
                say("550 5.7.0 Error: insufficient authorization\r\n"),
            ],
            "refused XCLIENT: 550 5.7.0 Error: insufficient authorization; add the address we connect from to smtpd_authorized_xclient_hosts",
            refused,
        ),
        (
            &[say(GREETING), hear(EHLO), say(POSTFIX_2_6), hear(COMMAND), say("421 4.3.2 busy\r\n")],
            "its answer to XCLIENT was 421 4.3.2 busy",
            "backend refused the connection",
        ),
        // An address of a family that it does not know.
        (
            &[say(GREETING), hear(EHLO), say(POSTFIX_2_6), hear(COMMAND), say("501 5.5.4 Bad ADDR syntax\r\n")],
            "its answer to XCLIENT was 501 5.5.4 Bad ADDR syntax",
            "backend refused the connection",
        ),
        (
            &[say(GREETING), hear(EHLO), say(POSTFIX_2_6), hear(COMMAND), say("250 what?\r\n")],
            "refused XCLIENT: 250 what?",
            refused,
        ),
        (&[say(GREETING), hear(EHLO), say("250-x\r\n250 DSN\r\n")], "smtpd_authorized_xclient_hosts", refused),
        (&[say(GREETING), hear(EHLO), say("250-x\r\n250 XCLIENT NAME HELO\r\n")], "XCLIENT with ADDR", refused),
        (&[say(GREETING), hear(EHLO), say("502 what is EHLO?\r\n")], "does not announce XCLIENT", refused),
        (&[say(GREETING), hear(EHLO), say("421 busy\r\n")], "421 busy", "backend refused the connection"),
        (&[say("554 not you\r\n")], "its greeting was 554 not you", "backend refused the connection"),
        (&[say("* OK Dovecot ready.\r\n")], "breaks the protocol: *", "backend broke the protocol"),
        (&[say("220 x\n")], "breaks the protocol", "backend broke the protocol"),
        (&[say(GREETING), hear(EHLO)], "before its answer to EHLO", "backend connection lost"),
        (&[], "before its greeting", "backend connection lost"),
    ];
    for (script, text, phrase) in cases {
        for piece in [1, 1_000] {
            let backend = Scripted::tcp(script, piece).await;
            let listener = listener("smtp", backend.address.clone(), Xclient);
            let error = dial(&listener, &client("203.0.113.5:40000"), None, PATIENCE).await.unwrap_err();
            assert!(error.to_string().contains(text), "{error}");
            assert!(error.to_string().contains(&backend.address.to_string()), "{error}");
            assert_eq!(error.reason().phrase, *phrase, "{error}");
            backend.done().await;
        }
    }
}

#[tokio::test]
async fn an_endless_answer_is_given_up() {
    let endless: String = "250-more and more\r\n".repeat(10_000);
    let script = [say(GREETING), hear(EHLO), say("250-x\r\n"), say(endless)];
    let backend = Scripted::tcp(&script, 70_000).await;
    let listener = listener("smtp", backend.address.clone(), Xclient);
    let error = dial(&listener, &client("203.0.113.5:40000"), None, PATIENCE).await.unwrap_err();
    assert_eq!(error.reason().phrase, "backend broke the protocol");
    assert!(error.to_string().len() < 500, "{error}");
    backend.done().await;
}
