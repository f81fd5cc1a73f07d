//! What is said to a backend before any dialogue, and what is made of its answers.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::probe::{greet, look, probe};
use super::stranger::Stranger;
use super::*;
use crate::config::Config;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// A backend that greets, answers each command that holds one of the words, and hangs up at any other and after a BYE.
struct Script {
    address: BackendAddr,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Script {
    async fn new(greeting: &str, answers: &[(&'static str, &str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = BackendAddr::Tcp(listener.local_addr().unwrap());
        let answers: Vec<_> = answers.iter().map(|(word, answer)| (*word, (*answer).to_owned())).collect();
        let (greeting, heard) = (greeting.to_owned(), Arc::<Mutex<Vec<String>>>::default());
        let log = heard.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(converse(stream, greeting.clone(), answers.clone(), log.clone()));
            }
        });
        Self { address, heard }
    }

    /// What it heard and answered.
    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

async fn converse(
    stream: TcpStream,
    greeting: String,
    answers: Vec<(&'static str, String)>,
    log: Arc<Mutex<Vec<String>>>,
) {
    let mut stream = BufReader::new(stream);
    let mut answer = Some(&greeting);
    while let Some(said) = answer {
        if stream.write_all(said.as_bytes()).await.is_err() || said.starts_with("* BYE") {
            return;
        }
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap_or_default();
        answer = answers.iter().find(|(word, _)| line.contains(word)).map(|(_, answer)| answer);
        log.lock().unwrap().push(line);
    }
}

fn imap(backend: &BackendAddr) -> Config {
    let text = format!(
        "hostname = \"mail.example.com\"\n[[tls.certificate]]\nchain = \"c\"\nkey = \"k\"\n[[listener]]\n\
         service = \"imap\"\nlisten = [\"127.0.0.1:1\"]\nbackend = \"{backend}\"\nclient_identity = \"none\"\n"
    );
    Config::parse(&text, Path::new("test.toml")).unwrap()
}

/// Introduces a stranger by IMAP's ID; how that ended, and the line that the dialogue would see next.
async fn introduced_by_id(backend: &Script) -> Result<String, ConnectError> {
    let config = imap(&backend.address);
    let stranger = Stranger::new(&config.listeners[0], "mail.example.com");
    let mut talk = Talk::dial(&backend.address, PATIENCE).await?;
    introduce(&mut talk, ClientIdentity::ImapId, &stranger.caller()).await?;
    Ok(String::from_utf8_lossy(&talk.line("greeting").await?).into_owned())
}

const READY: &str = "* OK Dovecot ready.\r\n";

#[tokio::test]
async fn the_way_to_a_backend_on_this_host_is_not_paced() {
    let backend = Script::new(READY, &[]).await;
    let Connected { stream: Backend::Tcp(stream), .. } =
        Talk::dial(&backend.address, PATIENCE).await.unwrap().into_connected()
    else {
        panic!("no TCP")
    };
    let congestion = SockRef::from(&stream).tcp_congestion().unwrap();
    // On a host that uses something else, this says nothing.
    assert!(!congestion.starts_with(b"bbr"), "{}", String::from_utf8_lossy(&congestion));
}

#[tokio::test]
async fn rfc2971_id_goes_only_to_a_backend_that_lists_it() {
    let id = ("ID (", "* ID NIL\r\nsg2 OK done\r\n");
    for (listed, takes_id) in [("IMAP4rev1 ID", true), ("IMAP4rev1 IDLE", false)] {
        let answer = format!("* CAPABILITY {listed}\r\nsg1 OK done\r\n");
        let backend = Script::new(READY, &[("sg1 CAPABILITY", &answer), id]).await;
        assert_eq!(introduced_by_id(&backend).await.unwrap(), READY);
        let heard = backend.heard();
        assert_eq!(heard.first().map(String::as_str), Some("sg1 CAPABILITY\r\n"), "{listed}");
        assert_eq!(heard.iter().any(|line| line.starts_with("sg2 ID (")), takes_id, "{listed}: {heard:?}");
    }
}

#[tokio::test]
async fn rfc9051_7_1_a_greeting_that_is_not_ok_is_left_to_the_dialogue() {
    for greeting in ["* PREAUTH [CAPABILITY IMAP4rev1 ID] hello\r\n", "* BYE [CAPABILITY IMAP4rev1 ID] busy\r\n"] {
        let backend = Script::new(greeting, &[("ID (", "sg2 OK done\r\n")]).await;
        assert_eq!(introduced_by_id(&backend).await.unwrap(), greeting);
        assert!(!backend.heard().iter().any(|line| line.contains("ID")), "{greeting}: {:?}", backend.heard());
    }
}

#[tokio::test]
async fn an_answer_that_does_not_end_within_its_limit_is_nonsense() {
    for (last, fits) in [(1_023, true), (1_024, false)] {
        let line = |len: usize| format!("* {}\r\n", "x".repeat(len - 4));
        // 64 KiB of other lines, or one octet less, and only then the end.
        let answer = line(1_024).repeat(63) + &line(last) + "sg1 OK done\r\n";
        let backend = Script::new(READY, &[("sg1 CAPABILITY", &answer)]).await;
        let seen = introduced_by_id(&backend).await;
        assert_eq!(seen.is_ok(), fits, "{seen:?}");
        assert!(fits || matches!(seen, Err(ConnectError::Nonsense { .. })), "{seen:?}");
    }
}

#[tokio::test]
async fn rfc7162_4_a_line_of_8192_octets_is_taken_and_none_longer() {
    for (len, fits) in [(8_192, true), (8_193, false)] {
        let backend = Script::new(&format!("* OK {}\r\n", "x".repeat(len - 7)), &[]).await;
        let mut talk = Talk::dial(&backend.address, PATIENCE).await.unwrap();
        let line = talk.line("greeting").await;
        assert_eq!(line.as_ref().ok().map(|line| line.len()), fits.then_some(len));
        assert!(fits || matches!(line, Err(ConnectError::Nonsense { .. })), "{line:?}");
    }
}

#[tokio::test]
async fn a_new_deadline_takes_the_place_of_the_one_before() {
    let backend = Script::new("", &[]).await;
    let mut talk = Talk::dial(&backend.address, PATIENCE).await.unwrap();
    talk.allow(Duration::ZERO);
    let late = talk.line("greeting").await.unwrap_err();
    assert!(matches!(late, ConnectError::Late { limit: Duration::ZERO, .. }), "{late}");
}

#[tokio::test]
async fn only_a_backend_that_lists_id_as_dovecot_2_does_is_said_to_take_it() {
    for (listed, expected) in [("IMAP4rev1 ID", true), ("IMAP4rev1 IDLE", false), ("IMAP4rev1 ID NAMESPACE", false)] {
        let greeting = format!("* OK [CAPABILITY {listed}] ready\r\n");
        let answer = format!("* CAPABILITY {listed}\r\nsg3 OK done\r\n");
        let backend = Script::new(&greeting, &[("sg3 CAPABILITY", &answer), ("ID (", "sg2 OK done\r\n")]).await;
        let config = imap(&backend.address);
        let found = probe(&config.listeners[0], &backend.address, &config.hostname, &config.deadlines).await;
        let (_, takes) = found.takes.iter().find(|(identity, _)| *identity == ClientIdentity::ImapId).unwrap();
        assert_eq!(takes.is_ok(), expected, "{takes:?}");
        assert!(expected || matches!(takes, Err(ConnectError::IdNotTaken { .. })), "{takes:?}");
    }
}

#[tokio::test]
async fn rfc9051_7_1_a_backend_that_says_bye_is_no_backend() {
    let bye = Script::new("* BYE busy\r\n", &[("CAPABILITY", "* CAPABILITY IMAP4rev1\r\nsg3 OK done\r\n")]).await;
    let config = imap(&bye.address);
    let (listener, hostname, deadlines) = (&config.listeners[0], &config.hostname, &config.deadlines);
    let looked = look(listener, &bye.address, hostname, deadlines).await.unwrap_err();
    let greeted = greet(listener, &bye.address, hostname, deadlines).await.unwrap_err();
    for error in [looked, greeted] {
        assert!(matches!(error, ConnectError::Refused { step: "greeting", .. }), "{error}");
    }

    let later = Script::new(READY, &[("CAPABILITY", "* BYE busy\r\n")]).await;
    let error = look(listener, &later.address, hostname, deadlines).await.unwrap_err();
    assert!(matches!(error, ConnectError::Refused { step: "answer to CAPABILITY", .. }), "{error}");
}

#[tokio::test]
async fn rfc9051_7_what_else_a_backend_says_stands_in_nobodys_way() {
    let answer = "* OK [ALERT] down at noon\r\n* CAPABILITY IMAP4rev1 IDLE\r\nsg3 OK done\r\n";
    let backend = Script::new(READY, &[("CAPABILITY", answer)]).await;
    let config = imap(&backend.address);
    let seen = look(&config.listeners[0], &backend.address, &config.hostname, &config.deadlines).await.unwrap();
    assert_eq!(seen.announced, ["IMAP4REV1", "IDLE"]);
}

#[tokio::test]
async fn a_socket_whose_queue_is_full_is_waited_for_and_not_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    socket.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
    socket.listen(0).unwrap();
    // Clients that nobody serves, until there is no place left.
    let mut waiting = Vec::new();
    while let Ok(client) = tokio::net::UnixStream::connect(&path).await {
        waiting.push(client);
    }
    let backend = BackendAddr::Unix(path);
    let mut dial = std::pin::pin!(talk::Talk::dial(&backend, PATIENCE));
    assert!(tokio::time::timeout(Duration::from_millis(100), dial.as_mut()).await.is_err(), "it waits");
    socket.accept().unwrap();
    assert!(dial.await.is_ok());
    // But no longer than for any other.
    let late = talk::Talk::dial(&backend, Duration::from_millis(50)).await.err().unwrap();
    assert!(matches!(late, ConnectError::Late { .. }), "{late}");
}
