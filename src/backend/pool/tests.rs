//! Backends of a few lines each, and which of them gets a session.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::backend::health::State;
use crate::config::Config;
use crate::facts::{ClientNames, Peer, SessionId};

/// How a backend behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// It knows XCLIENT and takes everybody.
    Willing,
    /// It takes a connection and ends it.
    HangsUp,
    /// It takes a connection and says nothing.
    Silent,
    /// It answers XCLIENT with a 421.
    RefusesTheClient,
    /// It greets with a 421.
    GoingDown,
    /// Nobody listens.
    Dead,
}

struct Backend {
    address: BackendAddr,
    connections: Arc<AtomicUsize>,
}

async fn backend(manner: Manner) -> Backend {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = BackendAddr::Tcp(listener.local_addr().unwrap());
    let connections = Arc::<AtomicUsize>::default();
    let counted = connections.clone();
    if manner != Manner::Dead {
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(converse(stream, manner));
            }
        });
    }
    Backend { address, connections }
}

async fn converse(stream: TcpStream, manner: Manner) {
    match manner {
        Manner::HangsUp | Manner::Dead => return,
        Manner::Silent => std::future::pending().await,
        Manner::Willing | Manner::RefusesTheClient | Manner::GoingDown => {}
    }
    let mut stream = BufReader::new(stream);
    let mut line = "greeting".to_owned();
    while !line.is_empty() {
        let answer = match line.split_ascii_whitespace().next().unwrap_or_default() {
            "greeting" if manner == Manner::GoingDown => "421 4.3.2 going down",
            "XCLIENT" if manner == Manner::RefusesTheClient => "421 4.7.0 too many connections from you",
            "EHLO" => "250-old.example.net\r\n250 XCLIENT ADDR",
            _ => "220 old.example.net",
        };
        if stream.write_all(format!("{answer}\r\n").as_bytes()).await.is_err() {
            return;
        }
        line.clear();
        stream.read_line(&mut line).await.unwrap_or_default();
    }
}

struct Bench {
    backends: Vec<Backend>,
    listener: Listener,
    deadlines: Deadlines,
    pool: Pool,
}

/// A pool whose backends all have passed their tests.
async fn bench(identity: &str, manners: &[Manner]) -> Bench {
    let mut backends = Vec::new();
    for manner in manners {
        backends.push(backend(*manner).await);
    }
    let list: Vec<String> = backends.iter().map(|backend| format!("\"{}\"", backend.address)).collect();
    let text = format!(
        "hostname = \"mail.example.com\"\n[deadlines]\nconnect = \"100ms\"\n[[tls.certificate]]\nchain = \"c\"\nkey = \"k\"\n\
         [[listener]]\nservice = \"smtp\"\nlisten = [\"127.0.0.1:1\"]\nbackend = [{}]\nclient_identity = \"{identity}\"\n",
        list.join(", ")
    );
    let config = Config::parse(&text, Path::new("test.toml")).unwrap();
    let listener = config.listeners[0].clone();
    let pool = Pool::new(&listener.backends);
    for (_, member) in pool.members() {
        assert!(member.health.settle(State::Untested, State::Open));
    }
    Bench { backends, listener, deadlines: config.deadlines, pool }
}

impl Bench {
    async fn connect(&self) -> Result<usize, Unserved> {
        let names = ClientNames::default();
        let (client, local) = ("203.0.113.5:40000".parse().unwrap(), "192.0.2.10:25".parse().unwrap());
        let (peer, session) = (Peer { client, local, names }, SessionId::new("TEST"));
        let caller = Caller { hostname: "mail.example.com", session: &session, peer: &peer, tls: None };
        let (place, _) = self.pool.connect(&self.listener, &caller, &self.deadlines).await?;
        Ok(place.0)
    }

    fn states(&self) -> Vec<State> {
        self.pool.members.iter().map(|member| member.health.state()).collect()
    }

    fn connections(&self) -> Vec<usize> {
        self.backends.iter().map(|backend| backend.connections.load(Ordering::Relaxed)).collect()
    }
}

#[tokio::test]
async fn the_first_healthy_backend_gets_the_session() {
    let bench = bench("proxy-v2", &[Manner::Willing, Manner::Willing]).await;
    assert_eq!(bench.connect().await.unwrap(), 0);
    let first = &bench.pool.members[0].health;
    assert!(first.settle(State::Open, State::Lost));
    assert_eq!(bench.connect().await.unwrap(), 1);
    // Healthy again, it is preferred again.
    assert!(first.settle(State::Lost, State::Open));
    assert_eq!(bench.connect().await.unwrap(), 0);
}

#[tokio::test]
async fn a_session_goes_on_to_the_next_backend_and_the_failing_one_rests() {
    let bad = [Manner::Dead, Manner::HangsUp, Manner::Silent];
    for (identity, manner) in ["proxy-v2", "xclient"].into_iter().flat_map(|identity| bad.map(|bad| (identity, bad))) {
        let bench = bench(identity, &[manner, Manner::Willing]).await;
        assert_eq!(bench.connect().await.unwrap(), 1, "{identity}, {manner:?}");
        assert_eq!(bench.states(), [State::Lost, State::Open], "{identity}, {manner:?}");
        // The next session does not try it.
        let before = bench.connections()[0];
        assert_eq!(bench.connect().await.unwrap(), 1, "{identity}, {manner:?}");
        assert_eq!(bench.connections()[0], before, "{identity}, {manner:?}");
    }
    let bench = bench("xclient", &[Manner::GoingDown, Manner::Willing]).await;
    assert_eq!(bench.connect().await.unwrap(), 1);
    assert_eq!(bench.states(), [State::Lost, State::Open]);
}

#[tokio::test]
async fn a_backend_that_has_not_passed_its_tests_gets_no_session() {
    for state in [State::Untested, State::Lost, State::Unsafe] {
        let bench = bench("proxy-v2", &[Manner::Willing, Manner::Dead]).await;
        assert!(bench.pool.members[0].health.settle(State::Open, state));
        let unserved = bench.connect().await.unwrap_err();
        assert!(matches!(unserved.tried, Some((Place(1), ConnectError::Dial { .. }))), "{unserved:?}");
        assert_eq!(bench.connections()[0], 0, "{state:?}");
        // Now nobody is left to try.
        assert!(!bench.pool.is_open());
        assert!(bench.connect().await.unwrap_err().tried.is_none());
    }
}

#[tokio::test]
async fn a_refusal_of_this_client_is_not_taken_to_a_kinder_backend() {
    let bench = bench("xclient", &[Manner::RefusesTheClient, Manner::Willing]).await;
    let unserved = bench.connect().await.unwrap_err();
    assert!(matches!(unserved.tried, Some((Place(0), ConnectError::Refused { .. }))), "{unserved:?}");
    assert_eq!(bench.connections(), [1, 0]);
    assert_eq!(bench.states(), [State::Open, State::Open], "nor is anybody else shut out");
}

#[tokio::test]
async fn the_last_backend_is_waited_for_by_the_dialogue() {
    // RFC 5321 §4.5.3.2.1 gives a greeting five minutes: only where there is somebody else to ask is that too long.
    let bench = bench("proxy-v2", &[Manner::Silent]).await;
    assert_eq!(bench.connect().await.unwrap(), 0);
    assert_eq!(bench.states(), [State::Open]);
}

#[tokio::test]
async fn what_is_offered_before_tls_holds_for_every_backend() {
    let bench = bench("proxy-v2", &[Manner::Willing, Manner::Willing, Manner::Dead]).await;
    let offered = || bench.pool.offered().lines().map(str::to_owned).collect::<Vec<_>>();
    bench.pool.learn(Place(0), ["PIPELINING", "SIZE 1000", "CHUNKING", "8BITMIME"].into_iter().collect());
    assert_eq!(offered(), ["PIPELINING", "SIZE 1000", "CHUNKING", "8BITMIME"]);
    bench.pool.learn(Place(1), ["8bitmime", "SIZE 2000", "PIPELINING"].into_iter().collect());
    assert_eq!(offered(), ["8bitmime", "PIPELINING"]);
    // Whoever is healthy.
    assert!(bench.pool.members[1].health.settle(State::Open, State::Lost));
    bench.pool.learn(Place(0), ["PIPELINING", "SIZE 1000", "8BITMIME", "DSN"].into_iter().collect());
    assert_eq!(offered(), ["PIPELINING", "8BITMIME"]);
}

#[tokio::test]
async fn a_pool_has_opened_with_its_first_backend_and_stays_so() {
    let bench = bench("proxy-v2", &[Manner::Willing, Manner::Dead]).await;
    assert!(!bench.pool.has_opened());
    let (opened, ()) = tokio::join!(tokio::time::timeout(Duration::from_secs(30), bench.pool.opened()), async {
        bench.pool.open();
    });
    opened.unwrap();
    assert!(bench.pool.members[0].health.settle(State::Open, State::Lost));
    assert!(bench.pool.has_opened());
}
