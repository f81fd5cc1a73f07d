//! What fails inside the gate is noticed.

use super::*;

#[tokio::test]
async fn a_panic_outside_of_sessions_does_not_go_unnoticed() {
    let mut bench = bench("smtp", LogFormat::Text, "", "").await;
    {
        let mut broken = std::pin::pin!(bench.gate.broken());
        let waits = std::future::poll_fn(|cx| std::task::Poll::Ready(broken.as_mut().poll(cx).is_pending())).await;
        assert!(waits, "nothing has failed yet");
    }
    bench.gate.tasks.spawn(async { panic!("in a task of the gate's own") });
    timeout(Duration::from_secs(30), bench.gate.broken()).await.unwrap();
    bench.end().await;
}

/// SMTP, until it panics where its name or a dialogue is asked for.
struct Failing(AtomicBool);

impl Protocol for Failing {
    fn name(&self) -> &'static str {
        assert!(!self.0.load(Ordering::Relaxed), "in an accept loop");
        Smtp.name()
    }

    fn greeting(&self, context: &Context) -> Bytes {
        Smtp.greeting(context)
    }

    fn answer(&self, context: &Context, words: &[u8]) -> Option<(Bytes, Event)> {
        Smtp.answer(context, words)
    }

    fn foreign(&self, words: &[u8]) -> Option<Violation> {
        Smtp.foreign(words)
    }

    fn preamble(&self, context: &Context) -> Box<dyn Preamble> {
        Smtp.preamble(context)
    }

    fn dialogue(&self, context: &Context, opening: Option<Opening>) -> Box<dyn Dialogue> {
        assert!(!self.0.load(Ordering::Relaxed), "in a session");
        Smtp.dialogue(context, opening)
    }

    fn farewell(&self, hostname: &str, why: Farewell) -> Bytes {
        Smtp.farewell(hostname, why)
    }
}

#[tokio::test]
async fn a_panic_in_an_accept_loop_does_not_go_unnoticed() {
    static PROTOCOL: Failing = Failing(AtomicBool::new(false));
    static SERVICE: Service = Service {
        name: "submissions",
        port: 465,
        tls: TlsMode::Implicit,
        auth: AuthRule::InsideTls,
        alpn: "smtp",
        protocol: &PROTOCOL,
    };
    let fail = |listener: &mut config::Listener| listener.service = &SERVICE;
    let mut bench = start("submissions", LogFormat::Text, "max_connections = 1", "drain = \"1ms\"", fail).await;
    bench.gate.all_open().await;
    // One has the place, all farewells are under way to those who do not begin a handshake: the loop itself notes the next.
    let mut clients = Vec::new();
    for _ in 0..1 + TURNED_AWAY_AT_ONCE {
        clients.push(bench.connect().await);
    }
    while Arc::strong_count(&bench.gate.listeners[0].shared) < 4 + 2 * clients.len() {
        tokio::task::yield_now().await;
    }
    PROTOCOL.0.store(true, Ordering::Relaxed);
    clients.push(bench.connect().await);
    timeout(Duration::from_secs(30), bench.gate.broken()).await.unwrap();
    bench.end().await;
}

#[tokio::test]
async fn a_panic_is_why_a_session_ends_whatever_was_known_before() {
    static PROTOCOL: Failing = Failing(AtomicBool::new(false));
    static SERVICE: Service = Service {
        name: "smtp",
        port: 25,
        tls: TlsMode::Optional,
        auth: AuthRule::Never,
        alpn: "smtp",
        protocol: &PROTOCOL,
    };
    let fail = |listener: &mut config::Listener| listener.service = &SERVICE;
    let more = "accept_proxy_from = [\"127.0.0.1/32\"]";
    let bench = start("smtp", LogFormat::Text, more, "drain = \"1ms\"", fail).await;
    bench.gate.all_open().await;
    let mut client = bench.connect().await;
    // A balancer's health check: it gets no backend, and the record says so, with outcome ok.
    client.write_all(b"PROXY UNKNOWN\r\n").await.unwrap();
    assert!(line(&mut client).await.starts_with("220 "));
    PROTOCOL.0.store(true, Ordering::Relaxed);
    client.write_all(b"MAIL FROM:<a@example.com>\r\n").await.unwrap();
    assert_eq!(line(&mut client).await, "");
    let (log, _) = bench.end().await;
    assert!(log.contains("outcome=internal "), "{log}");
}
