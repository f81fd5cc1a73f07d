//! Clients by the hundred, each a task: every mail has a number, and what became of it is kept in a ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use rustls::ClientConfig;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use super::mail;
use super::pki::HOSTNAME;
use super::stack::PASSWORD;

/// Nobody is kept waiting for longer.
const PATIENCE: Duration = Duration::from_secs(180);

/// Nobody is put off more often.
const ATTEMPTS: usize = 5_000;

/// A client that was put off comes again after this.
const PAUSE: Duration = Duration::from_millis(50);

/// How the mail goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// SMTP with STARTTLS; every other mail in one BDAT chunk.
    Smtp,
    /// IMAP's APPEND, inside TLS from the start.
    Append,
}

/// A run of many clients at once.
#[derive(Debug, Clone)]
pub struct Load {
    /// How the mail goes.
    pub by: By,
    /// The gate's port for it.
    pub port: u16,
    /// The mailboxes; the clients take turns with them.
    pub users: Vec<String>,
    /// The domain behind their names.
    pub domain: &'static str,
    /// Clients at the same time.
    pub clients: usize,
    /// How many mails each must get rid of; it comes again until it has.
    pub each: usize,
    /// Whether connections may break without a word: they do when it is the gate that is killed.
    pub gate_may_vanish: bool,
}

/// What became of all attempts.
#[derive(Debug, Default)]
pub struct Ledger {
    /// The numbers that were acknowledged.
    pub accepted: BTreeSet<u64>,
    /// How those ended that were not: by the reply, without what varies.
    pub others: BTreeMap<String, usize>,
    /// What no client may ever see.
    pub wrong: Vec<String>,
}

impl Ledger {
    /// Keeps what became of an attempt; true when enough has gone wrong to show it.
    fn note(&mut self, number: u64, attempt: Result<(), Failure>) -> bool {
        match attempt {
            Ok(()) => {
                self.accepted.insert(number);
            }
            Err(Failure::ComeAgain(how)) => *self.others.entry(how).or_default() += 1,
            Err(Failure::Wrong(how)) => self.wrong.push(format!("mail {number}: {how}")),
        }
        self.wrong.len() > 20
    }
}

/// How an attempt ended that was not acknowledged.
enum Failure {
    /// By a reply, or an end, that tells a client to come again.
    ComeAgain(String),
    /// In a way that no client should see.
    Wrong(String),
}

impl Load {
    /// Runs it to its end. `each_accepted` hears of every acknowledgement while it runs.
    pub fn run(self, config: Arc<ClientConfig>, each_accepted: mpsc::Sender<()>) -> Ledger {
        let ledger = Arc::<Mutex<Ledger>>::default();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
        let load = Arc::new(self);
        runtime.block_on(async {
            let mut clients = tokio::task::JoinSet::new();
            for client in 0..load.clients {
                clients.spawn(load.clone().client(client, config.clone(), ledger.clone(), each_accepted.clone()));
            }
            clients.join_all().await;
        });
        drop(runtime);
        Arc::into_inner(ledger).expect("all clients are done").into_inner().expect("no client panicked")
    }

    async fn client(
        self: Arc<Self>,
        client: usize,
        config: Arc<ClientConfig>,
        ledger: Arc<Mutex<Ledger>>,
        each_accepted: mpsc::Sender<()>,
    ) {
        let user = &self.users[client % self.users.len()];
        for _ in 0..self.each {
            for attempts in 1.. {
                // An attempt that was not acknowledged may have arrived all the same, so the next one is another mail.
                let number = next_number();
                let attempt = timeout(PATIENCE, self.attempt(number, user, config.clone())).await;
                let attempt = match attempt {
                    Ok(Err(Failure::ComeAgain(how))) if attempts >= ATTEMPTS => {
                        Err(Failure::Wrong(format!("still {how}")))
                    }
                    Ok(attempt) => attempt,
                    Err(_) => Err(Failure::Wrong("kept waiting".to_owned())),
                };
                let accepted = attempt.is_ok();
                if ledger.lock().expect("no client panicked").note(number, attempt) {
                    return;
                }
                if accepted {
                    // Whoever listened may have heard enough.
                    let _ = each_accepted.send(());
                    break;
                }
                sleep(PAUSE).await;
            }
        }
    }

    async fn attempt(&self, number: u64, user: &str, config: Arc<ClientConfig>) -> Result<(), Failure> {
        let done = match TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await {
            Ok(stream) => match self.by {
                By::Smtp => by_smtp(stream, config, number, &format!("{user}@{}", self.domain)).await,
                By::Append => by_append(stream, config, number, user).await,
            },
            Err(error) => Err(Failure::Wrong(format!("no connection: {error}"))),
        };
        match done {
            Err(Failure::Wrong(how)) if self.gate_may_vanish && !how.starts_with("reply") => {
                Err(Failure::ComeAgain(how))
            }
            done => done,
        }
    }
}

fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The mail of that number: some 4 KiB that end with the number.
pub fn content(number: u64) -> Vec<u8> {
    let line = format!("{number:060}\r\n").repeat(64);
    mail::mail(&format!("{line}end of {number}\r\n"))
}

/// The numbers of the mails in those users' Maildirs, each with where it was found; panics if one of them is not whole.
pub fn arrived(mail: &Path, users: &[String]) -> Vec<(u64, Vec<u8>)> {
    let mut found = Vec::new();
    for user in users {
        for place in ["new", "cur"] {
            for entry in std::fs::read_dir(mail.join(user).join("Maildir").join(place)).into_iter().flatten() {
                // Renamed or taken away meanwhile.
                let Ok(text) = std::fs::read(entry.expect("an entry").path()) else { continue };
                let kept = mail::without_trace(&text);
                let last =
                    String::from_utf8_lossy(&kept).trim_end().rsplit_once("end of ").map(|(_, number)| number.parse());
                let Some(Ok(number)) = last else {
                    panic!("half a mail for {user}: {:?}", String::from_utf8_lossy(&text))
                };
                let sent = mail::with_lf(&content(number));
                assert!(kept == sent, "mail {number} is not what was sent: {:?}", String::from_utf8_lossy(&text));
                found.push((number, text));
            }
        }
    }
    found
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

struct Talk(BufReader<Box<dyn Stream>>);

impl Talk {
    fn over(stream: impl Stream + 'static) -> Self {
        Self(BufReader::new(Box::new(stream)))
    }

    async fn tls(self, config: Arc<ClientConfig>) -> Result<Self, Failure> {
        let name = HOSTNAME.try_into().expect("a name");
        let stream = TlsConnector::from(config).connect(name, self.0.into_inner()).await;
        stream.map(Self::over).map_err(|error| Failure::Wrong(format!("no TLS: {error}")))
    }

    /// What cannot be sent is noticed when the answer is read, which may be there already.
    async fn send(&mut self, bytes: &[u8]) {
        let _ = async {
            self.0.write_all(bytes).await?;
            self.0.flush().await
        }
        .await;
    }

    async fn line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        match self.0.read_line(&mut line).await {
            Ok(0) => Err(Failure::ComeAgain("closed in order".to_owned())),
            Ok(_) if line.ends_with("\r\n") => Ok(line),
            Ok(_) => Err(Failure::Wrong(format!("half a line: {line:?}"))),
            Err(error) => Err(Failure::Wrong(format!("broken: {error}"))),
        }
    }

    /// A reply with that code; a 4xx says to come again.
    async fn reply(&mut self, code: &str) -> Result<(), Failure> {
        loop {
            let line = self.line().await?;
            match line.get(..4).unwrap_or_default() {
                start if start.ends_with('-') => {}
                start if start.starts_with(code) => return Ok(()),
                start if start.starts_with('4') => {
                    let words: String = line.chars().take(9).collect();
                    return Err(Failure::ComeAgain(format!("{words} instead of {code}")));
                }
                _ => return Err(Failure::Wrong(format!("reply instead of {code}: {line:?}"))),
            }
        }
    }

    async fn say(&mut self, command: &str, code: &str) -> Result<(), Failure> {
        self.send(format!("{command}\r\n").as_bytes()).await;
        self.reply(code).await
    }

    /// IMAP's answer to a command with that tag, or the request for a literal.
    async fn tagged(&mut self, tag: &str) -> Result<(), Failure> {
        loop {
            let line = self.line().await?;
            let rest = line.strip_prefix(tag).unwrap_or_default();
            if rest.starts_with(" OK") || (tag == "+" && line.starts_with("+ ")) {
                return Ok(());
            }
            if line.starts_with("* BYE") || rest.starts_with(" NO") {
                return Err(Failure::ComeAgain(line.split(['.', '[']).next().unwrap_or_default().trim().to_owned()));
            }
            if !line.starts_with("* ") {
                return Err(Failure::Wrong(format!("reply instead of {tag}: {line:?}")));
            }
        }
    }
}

async fn by_smtp(stream: TcpStream, config: Arc<ClientConfig>, number: u64, to: &str) -> Result<(), Failure> {
    let mut talk = Talk::over(stream);
    talk.reply("220").await?;
    talk.say("EHLO client.example.org", "250").await?;
    talk.say("STARTTLS", "220").await?;
    let mut talk = talk.tls(config).await?;
    talk.say("EHLO client.example.org", "250").await?;
    talk.say("MAIL FROM:<sender@example.com>", "250").await?;
    talk.say(&format!("RCPT TO:<{to}>"), "250").await?;
    let content = content(number);
    if number.is_multiple_of(2) {
        talk.say("DATA", "354").await?;
        talk.send(&content).await;
        talk.say(".", "250").await?;
    } else {
        talk.send(format!("BDAT {} LAST\r\n", content.len()).as_bytes()).await;
        talk.send(&content).await;
        talk.reply("250").await?;
    }
    // The mail is over there now, whatever becomes of this.
    let _ = talk.say("QUIT", "221").await;
    Ok(())
}

async fn by_append(stream: TcpStream, config: Arc<ClientConfig>, number: u64, user: &str) -> Result<(), Failure> {
    let mut talk = Talk::over(stream).tls(config).await?;
    talk.line().await.and_then(|greeting| match greeting.get(..5) {
        Some("* OK ") => Ok(()),
        Some("* BYE") => Err(Failure::ComeAgain("* BYE as a greeting".to_owned())),
        _ => Err(Failure::Wrong(format!("reply as a greeting: {greeting:?}"))),
    })?;
    talk.send(format!("a LOGIN {user} \"{PASSWORD}\"\r\n").as_bytes()).await;
    talk.tagged("a").await?;
    let content = content(number);
    talk.send(format!("b APPEND INBOX {{{}}}\r\n", content.len()).as_bytes()).await;
    talk.tagged("+").await?;
    talk.send(&content).await;
    talk.send(b"\r\n").await;
    talk.tagged("b").await?;
    talk.send(b"c LOGOUT\r\n").await;
    let _ = talk.tagged("c").await;
    Ok(())
}
