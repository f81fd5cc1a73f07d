//! What `check` learns of a backend.

use std::time::Duration;

use sealgate::backend::probe::{Probe, probe};
use sealgate::config::ClientIdentity::{self, ImapId, ProxyV1, ProxyV2, Xclient};

use super::server::{Rules, Server};
use super::{PATIENCE, deadlines, listener};

async fn smtp(proxy: bool, xclient: bool) -> Server {
    let answer = move |line: &str| {
        Some(match line.split(' ').next()? {
            "EHLO" if xclient => "250-old\r\n250-SIZE 1000\r\n250-XCLIENT NAME ADDR\r\n250 AUTH PLAIN\r\n".into(),
            "EHLO" => "250-old\r\n250-SIZE 1000\r\n250 AUTH PLAIN\r\n".to_owned(),
            "XCLIENT" => "220 again\r\n".into(),
            "QUIT" => return None,
            _ => "502 5.5.2 what?\r\n".into(),
        })
    };
    Server::start(Rules { proxy, greeting: "220 old ESMTP\r\n".into(), answer: Box::new(answer) }).await
}

async fn imap(proxy: bool, id: bool) -> Server {
    let listed = if id { "IMAP4rev1 ID LOGINDISABLED" } else { "IMAP4rev1 LOGINDISABLED" };
    let answer = move |line: &str| {
        let (tag, command) = line.split_once(' ').unwrap_or(("*", ""));
        match command.split(' ').next()? {
            "CAPABILITY" => Some(format!("* CAPABILITY {listed}\r\n{tag} OK done\r\n")),
            "ID" => Some(format!("* ID NIL\r\n{tag} OK done\r\n")),
            "LOGOUT" => None,
            _ => Some(format!("{tag} BAD Error in IMAP command received by server.\r\n")),
        }
    };
    Server::start(Rules { proxy, greeting: "* OK ready\r\n".into(), answer: Box::new(answer) }).await
}

async fn look(service: &str, server: &Server, identity: ClientIdentity) -> Probe {
    let listener = listener(service, server.address.clone(), identity);
    let mut deadlines = deadlines(PATIENCE);
    (deadlines.connect, deadlines.greeting) = (Duration::from_millis(500), Duration::from_millis(500));
    probe(&listener, &listener.backends[0], "mail.example.com", &deadlines).await
}

fn taken(probe: &Probe) -> Vec<ClientIdentity> {
    probe.takes.iter().filter(|(_, result)| result.is_ok()).map(|(identity, _)| *identity).collect()
}

#[tokio::test]
async fn a_backend_shows_what_it_announces_and_takes() {
    let postfix = smtp(false, true).await;
    let seen = look("submission", &postfix, Xclient).await;
    assert_eq!(taken(&seen), [Xclient]);
    let seen = seen.seen.unwrap();
    assert_eq!(seen.greeting, "220 again");
    assert_eq!(seen.announced, ["SIZE 1000", "XCLIENT NAME ADDR", "AUTH PLAIN"]);
    assert_eq!(seen.xclient, Some(vec!["NAME".to_owned(), "ADDR".to_owned()]));
    assert!(seen.announces("auth") && seen.announces("SIZE") && !seen.announces("PLAIN"));

    let proxied = smtp(true, false).await;
    let seen = look("submission", &proxied, ProxyV2).await;
    assert_eq!(taken(&seen), [ProxyV2, ProxyV1]);
    assert_eq!(seen.seen.unwrap().xclient, None);

    let neither = smtp(false, false).await;
    let seen = look("smtp", &neither, ProxyV2).await;
    assert_eq!(taken(&seen), []);
    let error = seen.seen.unwrap_err().to_string();
    assert!(error.contains("smtpd_upstream_proxy_protocol = haproxy"), "{error}");
}

#[tokio::test]
async fn a_backend_that_refuses_to_talk_shows_that() {
    let closed = |greeting: &str| Rules {
        proxy: false,
        greeting: greeting.into(),
        answer: Box::new(|_| Some("250 yes to all\r\n".into())),
    };
    for (service, greeting) in [("smtp", "554 not you\r\n"), ("imap", "* BYE not you\r\n")] {
        let server = Server::start(closed(greeting)).await;
        let seen = look(service, &server, ClientIdentity::None).await;
        let error = seen.seen.unwrap_err().to_string();
        assert!(error.contains(&format!("its greeting was {}", greeting.trim_end())), "{error}");
    }
}

#[tokio::test]
async fn an_imap_backend_shows_its_capabilities() {
    let with_id = imap(false, true).await;
    let seen = look("imaps", &with_id, ImapId).await;
    assert_eq!(taken(&seen), [ImapId]);
    assert_eq!(seen.seen.unwrap().announced, ["IMAP4REV1", "ID", "LOGINDISABLED"]);

    let without_id = imap(false, false).await;
    let seen = look("imaps", &without_id, ImapId).await;
    assert_eq!(taken(&seen), []);
    assert!(seen.seen.unwrap().announces("LOGINDISABLED"), "the session itself would go on");

    let proxied = imap(true, true).await;
    let seen = look("imap", &proxied, ProxyV2).await;
    assert_eq!(taken(&seen), [ProxyV2, ProxyV1]);
    assert!(with_id.heard().iter().any(|line| line.contains("\"192.0.2.1\"")), "{:?}", with_id.heard());
}
