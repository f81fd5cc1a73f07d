//! A gate before a backend of a few lines: what its sessions are told, what is logged, and how it ends.

use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bytes::Bytes;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::*;
use crate::config::{self, LogFormat, LogProgram};
use crate::facts::SessionId;
use crate::listener::TURNED_AWAY_AT_ONCE;
use crate::protocol::smtp::Smtp;
use crate::protocol::{AuthRule, Context, Dialogue, Event, Farewell, Opening, Preamble, Protocol, TlsMode, Violation};
use crate::session::{self, Arrival};
use crate::tls::Certificate;

mod memory;
mod panics;
mod sockets;

/// A log in memory.
#[derive(Clone, Default)]
struct Pages(Arc<Mutex<Vec<u8>>>);

impl Write for Pages {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Write::write(&mut *self.0.lock().unwrap(), bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

struct Bench {
    gate: Gate,
    log: SessionLog,
    pages: Pages,
    /// Backend connections get no more answers.
    silent: Arc<AtomicBool>,
    /// Has one for each backend connection.
    dialled: mpsc::UnboundedReceiver<()>,
    /// The certificate, in PEM.
    chain: String,
}

/// Answers SMTP commands one by one, and knows XCLIENT.
async fn serve_smtp(stream: TcpStream, silent: Arc<AtomicBool>) {
    let mut stream = BufReader::new(stream);
    let mut line = "greeting".to_owned();
    while !silent.load(Ordering::Relaxed) {
        let answer: &[u8] = match line.split_ascii_whitespace().next().unwrap_or_default() {
            "greeting" | "XCLIENT" => b"220 old.example.net ESMTP\r\n",
            "EHLO" => b"250-old.example.net\r\n250 XCLIENT NAME ADDR PORT\r\n",
            "RCPT" => b"554 5.7.1 Relay access denied\r\n",
            "QUIT" => b"221 2.0.0 Bye\r\n",
            _ => b"250 2.0.0 Ok\r\n",
        };
        if line.starts_with("RSET") {
            return; // dies
        }
        if stream.write_all(answer).await.is_err() || answer.starts_with(b"221") {
            return;
        }
        line.clear();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
    }
    std::future::pending::<()>().await;
}

async fn bench(service: &str, format: LogFormat, more: &str, head: &str) -> Bench {
    let bench = start(service, format, more, head, |_| ()).await;
    bench.gate.all_open().await;
    bench
}

async fn start(
    service: &str,
    format: LogFormat,
    more: &str,
    head: &str,
    adjust: impl FnOnce(&mut config::Listener),
) -> Bench {
    let backend = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = backend.local_addr().unwrap().port();
    let silent = Arc::new(AtomicBool::default());
    let quiet = silent.clone();
    let (dial, dialled) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = backend.accept().await {
            let _ = dial.send(());
            tokio::spawn(serve_smtp(stream, quiet.clone()));
        }
    });
    let text = format!(
        "hostname = \"mail.example.com\"\n{head}\n[deadlines]\nconnect = \"10m\"\n\
         [[tls.certificate]]\nchain = \"in memory\"\nkey = \"in memory\"\n[[listener]]\nservice = \"{service}\"\n\
         listen = [\"127.0.0.1:1\"]\nbackend = \"127.0.0.1:{port}\"\nclient_identity = \"xclient\"\n{more}\n"
    );
    let mut config = Config::parse(&text, Path::new("test.toml")).unwrap();
    config.listeners[0].listen = vec!["127.0.0.1:0".parse().unwrap()];
    adjust(&mut config.listeners[0]);
    config.dns.servers = vec!["127.0.0.1:9".parse().unwrap()];
    let made = tls::self_signed::self_signed("mail.example.com").unwrap();
    let certificate = Certificate::from_pem(made.ecdsa.chain.as_bytes(), made.ecdsa.key.as_bytes()).unwrap();
    let tls = tls::Server::new(&config.tls, vec![certificate]).unwrap();
    let pages = Pages::default();
    let log = SessionLog::to_writer(format, LogProgram::Sealgate, "mail.example.com", Box::new(pages.clone())).unwrap();
    let gate = Gate::start(config, tls, log.clone(), Vec::new()).await.unwrap();
    Bench { gate, log, pages, silent, dialled, chain: made.ecdsa.chain }
}

impl Bench {
    async fn connect(&self) -> BufReader<TcpStream> {
        BufReader::new(TcpStream::connect(self.gate.addresses()[0].1).await.unwrap())
    }

    /// Shuts down; what was logged, and how long it took.
    async fn end(self) -> (String, Duration) {
        let began = Instant::now();
        self.gate.shutdown(std::future::pending()).await;
        let took = began.elapsed();
        self.log.flush();
        (String::from_utf8(self.pages.0.lock().unwrap().clone()).unwrap(), took)
    }
}

async fn line(client: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    client.read_line(&mut line).await.unwrap();
    line
}

async fn say(client: &mut BufReader<TcpStream>, command: &str) -> String {
    client.write_all(format!("{command}\r\n").as_bytes()).await.unwrap();
    loop {
        let line = line(client).await;
        if line.as_bytes().get(3) != Some(&b'-') {
            return line;
        }
    }
}

#[tokio::test]
async fn a_listener_that_is_said_to_be_open_takes_connections() {
    // Somebody else has bound the same address, which does not show until one of the two listens.
    let other = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = local_address(&other).unwrap();
    let bench = start("smtp", LogFormat::Text, "", "", |listener| listener.listen = vec![address]).await;
    let taken = Door::open(&other).unwrap();
    bench.gate.listeners[0].shared.backends.opened().await;
    let early = timeout(Duration::from_millis(100), bench.gate.all_open()).await;
    assert!(early.is_err(), "the backend is there, the socket is not open");
    drop((other, taken));
    bench.gate.all_open().await;
    assert!(line(&mut bench.connect().await).await.starts_with("220 "));
}

#[tokio::test]
async fn the_last_command_is_the_one_used_last() {
    let bench = bench("smtp", LogFormat::Postfix, "", "drain = \"1ms\"").await;
    let mut client = bench.connect().await;
    line(&mut client).await;
    for command in ["EHLO one.example", "NOOP", "EHLO two.example"] {
        assert!(say(&mut client, command).await.starts_with("250"));
    }
    socket2::SockRef::from(client.get_ref()).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    while !String::from_utf8_lossy(&bench.pages.0.lock().unwrap()).contains("disconnect from") {
        tokio::task::yield_now().await;
    }
    let (log, _) = bench.end().await;
    assert!(log.contains("lost connection after EHLO from"), "{log}");
}

#[tokio::test]
async fn a_session_that_waits_for_its_backend_hears_that_the_gate_is_stopping() {
    let bench = bench("smtp", LogFormat::Text, "", "drain = \"1ms\"").await;
    bench.silent.store(true, Ordering::Relaxed);
    let mut client = bench.connect().await;
    line(&mut client).await;
    assert!(say(&mut client, "EHLO client.example").await.starts_with("250"));
    client.write_all(b"MAIL FROM:<>\r\n").await.unwrap();
    let (farewell, ended) = tokio::join!(line(&mut client), bench.end());
    assert!(farewell.starts_with("421 "), "{farewell:?}");
    assert!(ended.0.contains("outcome=shutdown"), "{}", ended.0);
    assert!(ended.1 < Duration::from_secs(6), "{:?}", ended.1);
}

#[tokio::test]
async fn nobody_who_says_nothing_holds_up_the_end() {
    for (service, more) in [
        ("smtp", "accept_proxy_from = [\"127.0.0.1/32\"]"),
        ("submissions", ""),
        ("submissions", "max_connections = 1"),
        ("submissions", "max_connections = 1\naccept_proxy_from = [\"127.0.0.1/32\"]"),
    ] {
        let bench = bench(service, LogFormat::Text, more, "drain = \"1ms\"").await;
        let clients = [bench.connect().await, bench.connect().await];
        // Both are there once each session and its notes hold what is shared, beside the gate, the backend's watch, the
        // listener and its opening.
        while Arc::strong_count(&bench.gate.listeners[0].shared) < 4 + 2 * 2 {
            tokio::task::yield_now().await;
        }
        let (log, took) = bench.end().await;
        assert!(took < Duration::from_secs(2), "{service}, {more}: {took:?}");
        assert_eq!(log.matches("gate is stopping").count(), 2, "{service}, {more}: {log}");
        drop(clients);
    }
}

/// How a client leaves.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Leaves {
    AfterTheLastReply,
    Unheard,
    Reset,
}

#[tokio::test]
async fn every_end_has_its_word() {
    use Leaves::{AfterTheLastReply, Reset, Unheard};
    let cases: [(&[&str], Leaves, &str); 9] = [
        (&["EHLO a", "QUIT"], AfterTheLastReply, "ok"),
        (&["EHLO a", "QUIT"], Unheard, "ok"),
        (&["EHLO a", "MAIL FROM:<>", "QUIT"], AfterTheLastReply, "ok"),
        (&["EHLO a", "MAIL FROM:<>", "QUIT"], Unheard, "ok"),
        (&["EHLO a"], Reset, "client_error"),
        (&["EHLO a", "MAIL FROM:<>"], Reset, "client_error"),
        (&["GET / HTTP/1.1"], AfterTheLastReply, "client_error"),
        (&["EHLO a", "MAIL FROM:<>", "RSET"], AfterTheLastReply, "backend_error"),
        (&["EHLO a", "MAIL FROM:<>", "RSET"], Unheard, "backend_error"),
    ];
    for (commands, leaves, outcome) in cases {
        let bench = bench("smtp", LogFormat::Text, "", "drain = \"1ms\"").await;
        let mut client = bench.connect().await;
        line(&mut client).await;
        let (last, earlier) = commands.split_last().unwrap();
        for command in earlier {
            assert!(say(&mut client, command).await.starts_with("250"), "{command}");
        }
        match leaves {
            Unheard => client.write_all(format!("{last}\r\n").as_bytes()).await.unwrap(),
            AfterTheLastReply | Reset => drop(say(&mut client, last).await),
        }
        if leaves == Reset {
            socket2::SockRef::from(client.get_ref()).set_linger(Some(Duration::ZERO)).unwrap();
        }
        drop(client);
        while !String::from_utf8_lossy(&bench.pages.0.lock().unwrap()).contains("outcome=") {
            tokio::task::yield_now().await;
        }
        let (log, _) = bench.end().await;
        assert!(log.contains(&format!("outcome={outcome} ")), "{commands:?}, {leaves:?}: {log}");
    }
}

#[tokio::test]
async fn who_is_turned_away_is_the_client_and_not_its_balancer() {
    let more = "max_connections = 1\naccept_proxy_from = [\"127.0.0.1/32\"]";
    let bench = bench("smtp", LogFormat::Text, more, "drain = \"1ms\"").await;
    let mut first = bench.connect().await;
    first.write_all(b"PROXY TCP4 203.0.113.5 192.0.2.10 40000 25\r\n").await.unwrap();
    assert!(line(&mut first).await.starts_with("220 "));
    let mut second = bench.connect().await;
    second.write_all(b"PROXY TCP4 203.0.113.6 192.0.2.10 40000 25\r\n").await.unwrap();
    assert!(line(&mut second).await.starts_with("421 "));
    drop(second);
    let (log, _) = bench.end().await;
    let refused = log.lines().find(|line| line.contains("too many connections")).unwrap();
    assert!(refused.contains("client=203.0.113.6"), "{refused}");
}
