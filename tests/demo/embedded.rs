//! The embedded SMTP and IMAP servers, plaintext, without the gate: Python, curl, mbsync and raw bytes. Since none of
//! these sends a PROXY header, a relay on loopback puts it in front.

use std::net::SocketAddr;
use std::process::{Output, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use proxy_header::{ProxiedAddress, ProxyHeader};
use sealgate::demo::mailbox::Mailbox;
use sealgate::demo::{imap_server, smtp_server, wire};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::task::AbortHandle;

const CLIENT: &str = "192.0.2.7:4711";

struct Demo {
    mailbox: Arc<Mailbox>,
    smtp: SocketAddr,
    imap: SocketAddr,
    _servers: [wire::Server; 2],
    relays: [AbortHandle; 2],
}

impl Demo {
    async fn start() -> Self {
        let mailbox = Mailbox::new();
        let smtp = smtp_server::start(mailbox.clone()).await.unwrap();
        let imap = imap_server::start(mailbox.clone()).await.unwrap();
        let (smtp_address, smtp_relay) = relay(smtp.address).await;
        let (imap_address, imap_relay) = relay(imap.address).await;
        let relays = [smtp_relay, imap_relay];
        Self { mailbox, smtp: smtp_address, imap: imap_address, _servers: [smtp, imap], relays }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.relays.iter().for_each(AbortHandle::abort);
    }
}

/// A listener that puts a PROXY v2 header in front of every connection to `backend`.
async fn relay(backend: SocketAddr) -> (SocketAddr, AbortHandle) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accept = async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut server = TcpStream::connect(backend).await.unwrap();
                server.write_all(&header()).await.unwrap();
                let _ = copy_bidirectional(&mut client, &mut server).await;
            });
        }
    };
    (address, tokio::spawn(accept).abort_handle())
}

fn header() -> Vec<u8> {
    let proxied = ProxiedAddress::stream(CLIENT.parse().unwrap(), "198.51.100.1:25".parse().unwrap());
    let mut octets = Vec::new();
    ProxyHeader::with_address(proxied).encode_v2(&mut octets).unwrap();
    octets
}

async fn run(command: &mut Command) -> Output {
    command.kill_on_drop(true).stdin(Stdio::null()).output().await.unwrap()
}

async fn succeeds(command: &mut Command) -> String {
    let output = run(command).await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}\n{said}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    said
}

#[tokio::test]
async fn python_sends_and_reads() {
    let demo = Demo::start().await;
    let script = r#"
import imaplib, smtplib, sys, time
smtp_port, imap_port = map(int, sys.argv[1:])

with smtplib.SMTP("127.0.0.1", smtp_port, local_hostname="client.example") as smtp:
    smtp.ehlo()
    assert smtp.esmtp_features["size"] == "16777216", smtp.esmtp_features
    assert smtp.esmtp_features["auth"].split() == ["PLAIN", "LOGIN"], smtp.esmtp_features
    refused = None
    try:
        smtp.sendmail("a@b.example", ["c@elsewhere.example"], b"Subject: relay\r\n\r\n")
    except smtplib.SMTPRecipientsRefused as error:
        refused = error.recipients["c@elsewhere.example"]
    assert refused[0] == 554 and b"192.0.2.7" in refused[1], refused
    smtp.sendmail("a@b.example", ["demo@demo.example"], b"Subject: one\r\n\r\n.dot\r\n..\r\n")
    smtp.login("demo", "demo")
    smtp.sendmail("demo@demo.example", ["c@elsewhere.example"], b"Subject: two\r\n\r\n", mail_options=["BODY=8BITMIME"])

with imaplib.IMAP4("127.0.0.1", imap_port) as imap:
    wrong = None
    try:
        imap.login("demo", "wrong")
    except imaplib.IMAP4.error as error:
        wrong = str(error)
    assert "AUTHENTICATIONFAILED" in wrong, wrong
    imap.login("demo", "demo")
    assert imap.list()[1] == [b'(\\Noinferiors) "/" INBOX'], imap.list()
    assert imap.status("INBOX", "(MESSAGES UNSEEN)")[1] == [b"INBOX (MESSAGES 2 UNSEEN 2)"]
    assert imap.select("INBOX")[1] == [b"2"]
    typ, data = imap.fetch("1", "(RFC822)")
    assert data[0][1] == b"Subject: one\r\n\r\n.dot\r\n..\r\n", data
    typ, data = imap.uid("FETCH", "2", "(FLAGS INTERNALDATE ENVELOPE BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    assert data[0][1] == b"Subject: two\r\n\r\n", data
    assert abs(time.mktime(imaplib.Internaldate2tuple(data[0][0])) - time.time()) < 600, data
    assert imap.search(None, "UNSEEN")[1] == [b"2"]
    assert imap.store("1", "+FLAGS", r"(\Deleted)")[1] == [rb"1 (FLAGS (\Seen \Deleted))"]
    assert imap.expunge()[1] == [b"1"]
    assert imap.search(None, "ALL")[1] == [b"1"]
    imap.close()

with imaplib.IMAP4("127.0.0.1", imap_port) as imap:
    imap.authenticate("PLAIN", lambda challenge: b"\0demo\0demo")
    assert imap.select("INBOX", readonly=True)[1] == [b"1"]
print("done")
"#;
    let ports = [demo.smtp.port().to_string(), demo.imap.port().to_string()];
    let said = succeeds(Command::new("python3").arg("-c").arg(script).args(ports)).await;
    assert_eq!(said, "done\n");
    assert_eq!(demo.mailbox.messages().len(), 1);
}

#[tokio::test]
async fn curl_sends_and_reads() {
    let demo = Demo::start().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("mail");
    let mail = "Subject: from curl\r\n\r\nbody\r\n.\r\nend\r\n";
    std::fs::write(&file, mail).unwrap();
    let mut send = Command::new("curl");
    send.args(["-sS", "--mail-from", "a@b.example", "--mail-rcpt", "demo@demo.example", "--upload-file"]);
    succeeds(send.arg(&file).arg(format!("smtp://{}", demo.smtp))).await;
    assert_eq!(demo.mailbox.messages()[0].content, mail);

    let mut read = Command::new("curl");
    let said =
        succeeds(read.args(["-sS", "--user", "demo:demo"]).arg(format!("imap://{}/INBOX;UID=1", demo.imap))).await;
    assert_eq!(said, mail);
    let mut search = Command::new("curl");
    let url = format!("imap://{}/INBOX?SUBJECT%20CURL", demo.imap);
    assert_eq!(succeeds(search.args(["-sS", "--user", "demo:demo"]).arg(url)).await, "* SEARCH 1\r\n");
    let mut denied = Command::new("curl");
    let output = run(denied.args(["-sS", "--user", "demo:no"]).arg(format!("imap://{}/INBOX;UID=1", demo.imap))).await;
    assert_eq!(output.status.code(), Some(67), "curl: login denied");
}

#[tokio::test]
async fn mbsync_pulls_what_is_new_and_pushes_flags() {
    let demo = Demo::start().await;
    for number in 1..=3 {
        let mail = format!("Subject: {number}\r\nMessage-ID: <{number}@demo.example>\r\n\r\nmail {number}\r\n");
        demo.mailbox.deliver(Bytes::from(mail)).unwrap();
    }
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().display();
    std::fs::create_dir(directory.path().join("mail")).unwrap();
    let config = directory.path().join("mbsyncrc");
    let text = format!(
        "IMAPStore far\nHost 127.0.0.1\nPort {}\nUser demo\nPass demo\nSSLType None\nAuthMechs LOGIN\n\n\
         MaildirStore near\nPath {root}/mail/\nInbox {root}/inbox\n\n\
         Channel demo\nFar :far:\nNear :near:\nCreate Near\nExpunge Far\nSync Pull Push\nSyncState {root}/state\n",
        demo.imap.port()
    );
    std::fs::write(&config, text).unwrap();
    let sync = async || {
        succeeds(Command::new("mbsync").arg("-c").arg(&config).arg("demo").env("HOME", directory.path())).await
    };
    let pulled = || {
        let of = |folder: &str| std::fs::read_dir(directory.path().join("inbox").join(folder)).unwrap();
        of("new").chain(of("cur")).map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
    };
    sync().await;
    assert_eq!(pulled().len(), 3);

    let seen = pulled().into_iter().find(|path| std::fs::read_to_string(path).unwrap().contains("mail 2")).unwrap();
    let name = seen.file_name().unwrap().to_str().unwrap().split(':').next().unwrap().to_owned();
    std::fs::rename(&seen, directory.path().join("inbox/cur").join(format!("{name}:2,S"))).unwrap();
    demo.mailbox.deliver(Bytes::from_static(b"Subject: 4\r\n\r\nmail 4\r\n")).unwrap();
    sync().await;
    assert_eq!(pulled().len(), 4);
    let flags: Vec<String> = demo.mailbox.messages().iter().map(|message| message.flags.to_string()).collect();
    assert_eq!(flags, ["", "\\Seen", "", ""]);
}

#[tokio::test]
async fn without_a_proxy_header_nothing_is_said() {
    let mailbox = Mailbox::new();
    let smtp = smtp_server::start(mailbox.clone()).await.unwrap();
    let imap = imap_server::start(mailbox).await.unwrap();
    for server in [&smtp, &imap] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(b"EHLO x\r\n").await.unwrap();
        let mut heard = Vec::new();
        let _ = stream.read_to_end(&mut heard).await; // an end or a reset
        assert!(heard.is_empty(), "{:?}", String::from_utf8_lossy(&heard));
    }
}

#[tokio::test]
async fn sessions_end_with_the_server() {
    let server = smtp_server::start(Mailbox::new()).await.unwrap();
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&header()).await.unwrap();
    let mut greeting = [0; 3];
    stream.read_exact(&mut greeting).await.unwrap();
    assert_eq!(&greeting, b"220");
    let address = server.address;
    drop(server);
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await; // an end or a reset
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_mail_by_smtp_is_pushed_to_an_idling_imap_client() {
    use tokio::io::{AsyncBufReadExt, BufReader};

    let demo = Demo::start().await;
    let mut imap = BufReader::new(TcpStream::connect(demo.imap).await.unwrap());
    imap.write_all(b"a LOGIN demo demo\r\nb SELECT INBOX\r\nc IDLE\r\n").await.unwrap();
    let mut line = String::new();
    while line != "+ idling\r\n" {
        line.clear();
        assert_ne!(imap.read_line(&mut line).await.unwrap(), 0);
    }
    let mut smtp = TcpStream::connect(demo.smtp).await.unwrap();
    let mail = b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<demo@demo.example>\r\nDATA\r\nSubject: x\r\n\r\n.\r\nQUIT\r\n";
    smtp.write_all(mail).await.unwrap();
    line.clear();
    imap.read_line(&mut line).await.unwrap();
    assert_eq!(line, "* 1 EXISTS\r\n");
}
