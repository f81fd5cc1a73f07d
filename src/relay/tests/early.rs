//! What a client sends before it can have heard that it was refused was meant for the other answer: with SMTP's own dialogue.

use super::*;
use crate::facts::TlsFacts;
use crate::protocol::Protocol as _;
use crate::protocol::smtp::{Smtp, fixtures};

struct Talk {
    client: DuplexStream,
    backend: DuplexStream,
    relay: tokio::task::JoinHandle<End<DuplexStream>>,
}

/// Behind EHLO, in TLS, with AUTH.
async fn talk() -> Talk {
    let (client, ours) = duplex(1024);
    let (backend, theirs) = duplex(1024);
    let context = fixtures::context("submission", "192.0.2.1:40000", Some(TlsFacts::example()));
    let start = Start {
        client: ours,
        client_input: BytesMut::new(),
        backend: Some(theirs),
        backend_input: BytesMut::new(),
        dialogue: Smtp.dialogue(&context, None),
        least_rate: None,
    };
    let (_, stopped) = crate::stop::channel();
    let hear = |event| {
        let delay = if matches!(event, Event::Auth { ok: false, .. }) { PAUSE } else { Duration::ZERO };
        Setback { delay, ..Setback::default() }
    };
    let relay = tokio::spawn(run(start, |_| Duration::from_secs(60), stopped, hear));
    let mut talk = Talk { client, backend, relay };
    talk.backend.write_all(b"220 mx\r\n").await.unwrap();
    talk.asks("EHLO c\r\n").await;
    talk.answers("250 mx\r\n").await;
    talk
}

impl Talk {
    async fn asks(&mut self, command: &str) {
        self.client.write_all(command.as_bytes()).await.unwrap();
        assert_eq!(read(&mut self.backend, command.len()).await, command);
    }

    async fn answers(&mut self, reply: &str) {
        self.backend.write_all(reply.as_bytes()).await.unwrap();
        assert_eq!(read(&mut self.client, reply.len()).await, reply);
    }

    /// The client hears `reply` and that this is the end, and nothing more reaches the backend.
    async fn ends_behind(mut self, reply: &str, reason: &str) {
        let end = self.relay.await.unwrap();
        assert_eq!(end.reason.phrase, reason);
        drop(end.client);
        let heard = rest(&mut self.client).await;
        assert!(heard.starts_with(&format!("{reply}554 5.5.0 Error: ")), "{heard}");
        assert_eq!(rest(&mut self.backend).await, "");
    }
}

#[tokio::test]
async fn content_that_is_read_together_with_the_refusal_is_no_command() {
    let mut talk = talk().await;
    talk.asks("DATA\r\n").await;
    // Both are there before the relay has its turn.
    talk.client.write_all(b"MAIL FROM:<a@b>\r\n").await.unwrap();
    talk.backend.write_all(b"503 no\r\n").await.unwrap();
    talk.ends_behind("503 no\r\n", "content before the answer to DATA").await;
}

#[tokio::test(start_paused = true)]
async fn a_response_that_comes_while_a_refusal_is_held_back_is_no_command() {
    let mut talk = talk().await;
    talk.asks("AUTH PLAIN AGEAYg==\r\n").await;
    talk.backend.write_all(b"535 no\r\n").await.unwrap();
    tokio::time::sleep(PAUSE / 2).await;
    talk.client.write_all(b"c2VjcmV0\r\n").await.unwrap();
    talk.ends_behind("535 no\r\n", "more before the answer to AUTH").await;
}

#[tokio::test(start_paused = true)]
async fn what_comes_behind_a_refusal_is_a_command() {
    for (command, refusal) in [("DATA\r\n", "503 no\r\n"), ("AUTH PLAIN AGEAYg==\r\n", "535 no\r\n")] {
        let mut talk = talk().await;
        talk.asks(command).await;
        talk.answers(refusal).await;
        talk.asks("NOOP\r\n").await;
        talk.answers("250 ok\r\n").await;
        talk.relay.abort();
    }
}
