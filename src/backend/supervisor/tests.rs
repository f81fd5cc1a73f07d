use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::backend::ConnectError;
use crate::config::Config;

/// An SMTP server that may become another one: it refuses to relay, or relays.
const REFUSES: u8 = 0;
const RELAYS: u8 = 1;
/// Or one whose rules for clients answer at once, and do not like a client from nowhere.
const TURNS_AWAY: u8 = 2;

async fn serve(stream: TcpStream, manner: Arc<AtomicU8>) {
    let mut stream = BufReader::new(stream);
    let mut line = "greeting".to_owned();
    while !line.is_empty() && !line.starts_with("QUIT") {
        let answer: &[u8] =
            match (line.split_ascii_whitespace().next().unwrap_or_default(), manner.load(Ordering::Relaxed)) {
                ("PROXY", _) => b"",
                ("greeting", TURNS_AWAY) => b"450 4.7.1 Client host rejected: cannot find your hostname\r\n",
                ("greeting", _) => b"220 old.example.net ESMTP\r\n",
                ("RCPT", REFUSES) => b"554 5.7.1 Relay access denied\r\n",
                ("EHLO", _) => b"250-old.example.net\r\n250 PIPELINING\r\n",
                _ => b"250 2.0.0 Ok\r\n",
            };
        if stream.write_all(answer).await.is_err() {
            return;
        }
        line.clear();
        stream.read_line(&mut line).await.unwrap_or_default();
    }
}

/// Runs a supervisor that tests all the time beside `watch`.
async fn supervised(manner: Arc<AtomicU8>, watch: impl AsyncFnOnce(&Pool, &Health)) {
    let backend = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let text = format!(
        "hostname = \"mail.example.com\"\n[[tls.certificate]]\nchain = \"c\"\nkey = \"k\"\n[[listener]]\nservice = \"smtp\"\n\
         listen = [\"127.0.0.1:1\"]\nbackend = \"{}\"\nclient_identity = \"proxy-v1\"\n",
        backend.local_addr().unwrap()
    );
    let config = Config::parse(&text, Path::new("test.toml")).unwrap();
    let pool = Pool::new(&config.listeners[0].backends);
    let (place, member) = pool.members().next().unwrap();
    let server = async {
        loop {
            let (stream, _) = backend.accept().await.unwrap();
            tokio::spawn(serve(stream, manner.clone()));
        }
    };
    let (listener, hostname) = (&config.listeners[0], &config.hostname);
    let supervisor = supervise_every(Duration::from_millis(1), &pool, place, listener, hostname, &config.deadlines);
    let watched = async {
        timeout(Duration::from_secs(30), member.health.until(|state| *state == State::Open)).await.unwrap();
        watch(&pool, &member.health).await;
    };
    tokio::select! {
        () = server => unreachable!(),
        () = supervisor => panic!("the supervisor has ended"),
        () = watched => {}
    }
}

#[tokio::test]
async fn a_backend_that_became_an_open_relay_unseen_is_found_out() {
    let manner = Arc::<AtomicU8>::default();
    supervised(manner.clone(), async |pool, health| {
        assert_eq!(pool.offered().lines().collect::<Vec<_>>(), ["PIPELINING"]);
        manner.store(RELAYS, Ordering::Relaxed);
        timeout(Duration::from_secs(30), health.until(|state| *state == State::Unsafe)).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_backend_that_only_turns_the_stranger_away_gets_sessions() {
    // Postfix with `smtpd_delay_reject = no`. Clients that it likes better are greeted.
    supervised(Arc::new(AtomicU8::new(TURNS_AWAY)), async |_, _| {}).await;
}

#[test]
fn one_that_is_busy_is_still_the_one_that_passed() {
    let backend = crate::config::BackendAddr::Unix("/nowhere".into());
    let busy = |reply: &str| ConnectError::Refused { backend: backend.clone(), step: "greeting", reply: reply.into() };
    let gone = || ConnectError::Dial { backend: backend.clone(), source: std::io::ErrorKind::ConnectionRefused.into() };
    let after = |before, error| state_after(before, &SelfTest::Unreachable(error));
    assert_eq!(after(State::Open, busy("421 4.3.2 busy")), State::Open);
    assert_eq!(after(State::Open, gone()), State::Lost);
    assert_eq!(after(State::Lost, busy("421 4.3.2 busy")), State::Lost);
    assert_eq!(after(State::Unsafe, busy("421 4.3.2 busy")), State::Lost);
    assert_eq!(after(State::Untested, gone()), State::Untested);
}
