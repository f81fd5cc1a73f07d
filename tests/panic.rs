//! A defect in one session ends that session only, and leaves a record. A binary of its own, since what becomes of a panic is
//! decided for a whole process.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // a test: a panic is how it fails

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use sealgate::config::{Config, LogFormat, LogProgram};
use sealgate::protocol::smtp::Smtp;
use sealgate::protocol::{
    AuthRule, Context, Dialogue, Ended, Event, Farewell, Opening, Out, Preamble, Protocol, Service, Side, TlsMode,
    Verdict, Violation, Wait,
};
use sealgate::server::Gate;
use sealgate::session_log::SessionLog;
use sealgate::tls::{self, Certificate};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Longer than anything takes here.
const PATIENCE: Duration = Duration::from_secs(60);

/// SMTP with a defect: some words make it panic.
struct Defective;

impl Protocol for Defective {
    fn name(&self) -> &'static str {
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
        Box::new(DefectiveDialogue(Smtp.dialogue(context, opening)))
    }

    fn farewell(&self, hostname: &str, why: Farewell) -> Bytes {
        Smtp.farewell(hostname, why)
    }
}

struct DefectiveDialogue(Box<dyn Dialogue>);

impl Dialogue for DefectiveDialogue {
    fn receive(&mut self, from: Side, input: &[u8], out: &mut Out) -> Result<Verdict, Violation> {
        let says = |word: &str| input.windows(word.len()).any(|window| window == word.as_bytes());
        if says("fixed-text") {
            panic!("a text of the program's own");
        }
        if says("made-text") {
            panic!("what the client sent: {}", String::from_utf8_lossy(input));
        }
        self.0.receive(from, input, out)
    }

    fn ended(&mut self, how: Ended, out: &mut Out) -> Verdict {
        self.0.ended(how, out)
    }

    fn waiting_for(&self) -> Wait {
        self.0.waiting_for()
    }
}

static SERVICE: Service = Service {
    name: "smtp",
    port: 25,
    tls: TlsMode::Optional,
    auth: AuthRule::Never,
    alpn: "smtp",
    protocol: &Defective,
};

/// A log in memory.
#[derive(Clone, Default)]
struct Pages(Arc<Mutex<Vec<u8>>>);

impl Pages {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Pages {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Write::write(&mut *self.0.lock().unwrap(), bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// An SMTP server; it tells what it got of each message, and whether that was whole.
async fn backend(listener: TcpListener, told: mpsc::UnboundedSender<(String, bool)>) {
    while let Ok((stream, _)) = listener.accept().await {
        let told = told.clone();
        tokio::spawn(async move {
            let mut stream = BufReader::new(stream);
            let (mut line, mut content) = ("greeting".to_owned(), None::<String>);
            while !line.is_empty() {
                let answer: &[u8] = match (line.split([' ', '\r']).next().unwrap_or_default(), content.as_mut()) {
                    (".", Some(_)) => {
                        told.send((content.take().unwrap_or_default(), true)).unwrap();
                        b"250 2.0.0 queued\r\n"
                    }
                    (_, Some(content)) => {
                        content.push_str(&line);
                        b""
                    }
                    ("PROXY", None) => b"",
                    ("greeting", None) => b"220 old.example.net ESMTP\r\n",
                    ("DATA", None) => {
                        content = Some(String::new());
                        b"354 go on\r\n"
                    }
                    ("RCPT", None) if !line.contains("@example.net") => b"554 5.7.1 Relay access denied\r\n",
                    (_, None) => b"250 2.0.0 Ok\r\n",
                };
                if stream.write_all(answer).await.is_err() {
                    break;
                }
                line.clear();
                stream.read_line(&mut line).await.unwrap_or_default();
            }
            if let Some(content) = content {
                told.send((content, false)).unwrap();
            }
        });
    }
}

type Client = BufReader<TcpStream>;

async fn line(client: &mut Client) -> String {
    let mut line = String::new();
    timeout(PATIENCE, client.read_line(&mut line)).await.unwrap().unwrap();
    line
}

async fn say(client: &mut Client, command: &str) -> String {
    client.write_all(format!("{command}\r\n").as_bytes()).await.unwrap();
    loop {
        let line = line(client).await;
        if line.as_bytes().get(3) != Some(&b'-') {
            return line;
        }
    }
}

async fn connect(gate: &Gate) -> Client {
    BufReader::new(TcpStream::connect(gate.addresses()[0].1).await.unwrap())
}

/// A session that has come as far as DATA.
async fn in_a_message(gate: &Gate) -> Client {
    let mut client = connect(gate).await;
    assert!(line(&mut client).await.starts_with("220 "));
    for (command, code) in
        [("EHLO client.example", "250"), ("MAIL FROM:<>", "250"), ("RCPT TO:<u@example.net>", "250"), ("DATA", "354")]
    {
        let answer = say(&mut client, command).await;
        assert!(answer.starts_with(code), "{command}: {answer}");
    }
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_in_one_session_ends_that_session_only_and_leaves_a_record() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    // Places for two, and for two from an address.
    let text = format!(
        "hostname = \"mail.example.com\"\ndrain = \"1ms\"\n[limits]\nconnections_per_address = 2\nexempt = []\n\
         [[tls.certificate]]\nchain = \"in memory\"\nkey = \"in memory\"\n[[listener]]\nservice = \"smtp\"\n\
         listen = [\"127.0.0.1:1\"]\nbackend = \"{}\"\nclient_identity = \"proxy-v1\"\nmax_connections = 2\n",
        listener.local_addr().unwrap()
    );
    let (tell, mut told) = mpsc::unbounded_channel();
    tokio::spawn(backend(listener, tell));
    let mut config = Config::parse(&text, Path::new("test.toml")).unwrap();
    config.listeners[0].listen = vec!["127.0.0.1:0".parse().unwrap()];
    config.listeners[0].service = &SERVICE;
    let made = tls::self_signed::self_signed("mail.example.com").unwrap();
    let certificate = Certificate::from_pem(made.ecdsa.chain.as_bytes(), made.ecdsa.key.as_bytes()).unwrap();
    let tls = tls::Server::new(&config.tls, vec![certificate]).unwrap();
    let pages = Pages::default();
    let log = SessionLog::to_writer(LogFormat::Text, LogProgram::Sealgate, "mail.example.com", Box::new(pages.clone()))
        .unwrap();
    log.report_panics();
    let gate = Gate::start(config, tls, log.clone(), Vec::new()).await.unwrap();
    timeout(PATIENCE, gate.all_open()).await.unwrap();

    // One session is in the middle of its message all the while.
    let mut bystander = in_a_message(&gate).await;
    bystander.write_all(b"Subject: bystander\r\n\r\nhalf\r\n").await.unwrap();
    // More of them than there are places, so each must have been given back.
    for word in ["fixed-text", "made-text", "fixed-text", "made-text"] {
        let mut client = in_a_message(&gate).await;
        client.write_all(b"Subject: defect\r\n\r\nhalf\r\n").await.unwrap();
        client.write_all(format!("{word} swordfish\r\n").as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        let _ = timeout(PATIENCE, client.read_to_end(&mut rest)).await.unwrap(); // an end or a reset
        assert_eq!(String::from_utf8_lossy(&rest), "", "no half a reply, and never a 250");
        let (content, whole) = timeout(PATIENCE, told.recv()).await.unwrap().unwrap();
        assert!(!whole && !content.contains("swordfish"), "{content}");
    }
    // There were two places, and now both are taken.
    let mut second = in_a_message(&gate).await;
    assert!(line(&mut connect(&gate).await).await.starts_with("421 "));
    assert!(say(&mut second, "Subject: second\r\n\r\nwhole\r\n.").await.starts_with("250 "));
    assert!(say(&mut bystander, "whole\r\n.").await.starts_with("250 "));
    for content in ["Subject: second\r\n\r\nwhole\r\n", "Subject: bystander\r\n\r\nhalf\r\nwhole\r\n"] {
        let (got, whole) = timeout(PATIENCE, told.recv()).await.unwrap().unwrap();
        assert!(whole && got.ends_with(content), "{got}");
    }
    drop((bystander, second));
    gate.shutdown(std::future::pending()).await;
    assert!(log.flush());
    drop(std::panic::take_hook()); // from here on a panic is this test's, and is to be seen

    let text = pages.text();
    let panics: Vec<&str> = text.lines().filter(|line| line.contains("ERROR internal error, please report")).collect();
    assert_eq!(panics.len(), 4, "{text}");
    assert!(panics.iter().all(|line| line.contains("at=tests/panic.rs:")), "{panics:?}");
    let shown = panics.iter().filter(|line| line.contains("panic=\"a text of the program's own\"")).count();
    assert_eq!(shown, 2, "{panics:?}");
    let records = text.lines().filter(|line| line.contains("outcome=internal")).collect::<Vec<_>>();
    assert_eq!(records.len(), 4, "{text}");
    assert!(records.iter().all(|line| line.contains("event=ended") && line.contains("accepted=0")), "{records:?}");
    assert!(!text.contains("swordfish"), "what a client sent is in no log: {text}");
}
