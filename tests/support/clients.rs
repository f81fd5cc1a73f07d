//! The real clients: swaks, msmtp, curl and smtplib send, mbsync, curl and imaplib read.

use std::io::Write;
use std::process::{Command, Stdio};

use super::pki::pki;
use super::stack::PASSWORD;
use super::{repository, warden};

/// Where a client goes, and what it does about TLS.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The port on 127.0.0.1.
    pub port: u16,
    /// When TLS starts.
    pub tls: Tls,
}

/// When TLS starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// Never: straight to the backend.
    Off,
    /// After STARTTLS.
    Starttls,
    /// From the first octet.
    Implicit,
}

/// A mail's way.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'a> {
    /// MAIL FROM.
    pub from: &'a str,
    /// RCPT TO.
    pub to: &'a str,
    /// Who logs in first.
    pub login: Option<&'a str>,
}

/// A program that has ended.
pub struct Finished {
    /// What was called.
    pub called: String,
    /// Its exit code.
    pub code: Option<i32>,
    /// What it printed.
    pub out: Vec<u8>,
    /// What it complained of.
    pub err: String,
}

impl Finished {
    /// Panics if the program failed.
    pub fn success(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.story());
        self
    }

    /// What it printed, as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }

    /// Everything, for a failure's message.
    pub fn story(&self) -> String {
        format!("{}\nexit code {:?}\n{}\n{}", self.called, self.code, self.text(), self.err)
    }
}

/// Runs a program with a time limit.
pub fn run(program: &str, args: &[&str], input: &[u8]) -> Finished {
    let mut child = Command::new("timeout")
        .args(["-k", "5", "60", program])
        .args(args)
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("timeout, from coreutils");
    let mut stdin = child.stdin.take().expect("a pipe");
    let output = std::thread::scope(|scope| {
        // A program that ends early does not want the rest.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().expect("the program's output")
    });
    Finished {
        called: format!("{program} {}", args.join(" ")),
        code: output.status.code(),
        out: output.stdout,
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs one of the programs in tests/clients.
pub fn python(script: &str, args: &[&str], input: &[u8]) -> Finished {
    let script = repository().join("tests/clients").join(script);
    run("python3", &[&[script.to_str().expect("UTF-8")], args].concat(), input)
}

/// A program that sends mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// swaks.
    Swaks,
    /// msmtp.
    Msmtp,
    /// curl.
    Curl,
    /// Python's smtplib, with DATA.
    Smtplib,
    /// Python's smtplib, with BDAT in chunks of some size.
    Bdat(usize),
}

impl Sender {
    /// The programs.
    pub const ALL: [Self; 5] = [Self::Swaks, Self::Msmtp, Self::Curl, Self::Smtplib, Self::Bdat(4096)];

    /// Sends the mail.
    pub fn send(self, target: Target, envelope: Envelope<'_>, mail: &[u8]) -> Finished {
        let ca = pki().ca.to_str().expect("UTF-8");
        let port = target.port.to_string();
        match self {
            Self::Swaks => swaks(target, envelope, mail, ca, &port),
            Self::Msmtp => msmtp(target, envelope, mail, ca, &port),
            Self::Curl => {
                let scheme = if target.tls == Tls::Implicit { "smtps" } else { "smtp" };
                let url = format!("{scheme}://127.0.0.1:{port}/client.example.org");
                let mut args = vec!["-sSv", "--cacert", ca, "--url", &url, "--upload-file", "-"];
                args.extend(["--mail-from", envelope.from, "--mail-rcpt", envelope.to]);
                if target.tls == Tls::Starttls {
                    args.push("--ssl-reqd");
                }
                let user = envelope.login.map(|name| format!("{name}:{PASSWORD}"));
                args.extend(user.as_deref().into_iter().flat_map(|user| ["--user", user]));
                run("curl", &args, mail)
            }
            Self::Smtplib | Self::Bdat(_) => {
                let chunk = if let Self::Bdat(octets) = self { octets } else { 0 }.to_string();
                let mut args = vec!["--port", &port, "--tls", target.tls.word(), "--ca", ca, "--chunk", &chunk];
                args.extend(["--from", envelope.from, "--to", envelope.to]);
                args.extend(envelope.login.into_iter().flat_map(|name| ["--user", name, "--password", PASSWORD]));
                python("send.py", &args, mail)
            }
        }
    }
}

impl Tls {
    fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Starttls => "starttls",
            Self::Implicit => "implicit",
        }
    }
}

fn swaks(target: Target, envelope: Envelope<'_>, mail: &[u8], ca: &str, port: &str) -> Finished {
    let mut args = vec!["--server", "127.0.0.1", "--port", port, "--helo", "client.example.org"];
    args.extend(["--from", envelope.from, "--to", envelope.to, "--tls-verify", "--tls-ca-path", ca]);
    match target.tls {
        Tls::Off => {}
        Tls::Starttls => args.push("--tls"),
        Tls::Implicit => args.push("--tls-on-connect"),
    }
    args.extend(
        envelope
            .login
            .into_iter()
            .flat_map(|name| ["--auth", "PLAIN", "--auth-user", name, "--auth-password", PASSWORD]),
    );
    // Without fixing, swaks sends the octets as they are: dots and the end of data are the caller's.
    let mut stuffed = Vec::new();
    for line in mail.split_inclusive(|octet| *octet == b'\n') {
        if line.starts_with(b".") {
            stuffed.push(b'.');
        }
        stuffed.extend(line);
    }
    if !stuffed.ends_with(b"\r\n") {
        stuffed.extend(b"\r\n");
    }
    stuffed.extend(b".");
    args.extend(["--no-data-fixup", "--data", "-"]);
    run("swaks", &args, &stuffed)
}

fn msmtp(target: Target, envelope: Envelope<'_>, mail: &[u8], ca: &str, port: &str) -> Finished {
    let host = ["--host=127.0.0.1".to_owned(), format!("--port={port}"), format!("--from={}", envelope.from)];
    let mut args: Vec<&str> = host.iter().map(String::as_str).collect();
    args.extend(["--domain=client.example.org", "--timeout=30"]);
    let trust = format!("--tls-trust-file={ca}");
    match target.tls {
        Tls::Off => args.push("--tls=off"),
        Tls::Starttls => args.extend(["--tls=on", "--tls-starttls=on", &trust]),
        Tls::Implicit => args.extend(["--tls=on", "--tls-starttls=off", &trust]),
    }
    let login = envelope.login.map(|name| [format!("--user={name}"), format!("--passwordeval=echo '{PASSWORD}'")]);
    if let Some(login) = &login {
        args.push("--auth=plain");
        args.extend(login.iter().map(String::as_str));
    }
    args.extend(["--", envelope.to]);
    run("msmtp", &args, mail)
}

/// A program that reads mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// mbsync.
    Mbsync,
    /// curl.
    Curl,
    /// Python's imaplib.
    Imaplib,
}

impl Reader {
    /// The programs.
    pub const ALL: [Self; 3] = [Self::Mbsync, Self::Curl, Self::Imaplib];

    /// The first mail of the inbox. mbsync's has LF for CRLF, as a Maildir has.
    pub fn fetch(self, target: Target, user: &str) -> Vec<u8> {
        let ca = pki().ca.to_str().expect("UTF-8");
        let port = target.port.to_string();
        match self {
            Self::Mbsync => mbsync(target, user, ca, &port),
            Self::Curl => {
                let scheme = if target.tls == Tls::Implicit { "imaps" } else { "imap" };
                let url = format!("{scheme}://127.0.0.1:{port}/INBOX;UID=1");
                let login = format!("{user}:{PASSWORD}");
                let mut args = vec!["-sSv", "--cacert", ca, "--user", &login, "--url", &url];
                if target.tls == Tls::Starttls {
                    args.push("--ssl-reqd");
                }
                run("curl", &args, b"").success().out
            }
            Self::Imaplib => {
                let args = ["--port", &port, "--tls", target.tls.word(), "--ca", ca, "--user", user];
                python("fetch.py", &[args.as_slice(), &["--password", PASSWORD]].concat(), b"").success().out
            }
        }
    }
}

fn mbsync(target: Target, user: &str, ca: &str, port: &str) -> Vec<u8> {
    let dir = warden::directory("mbsync");
    let tls = if target.tls == Tls::Implicit { "IMAPS" } else { "STARTTLS" };
    let path = dir.display();
    let config = format!(
        "IMAPAccount gate\nHost localhost\nPort {port}\nUser {user}\nPass \"{PASSWORD}\"\nSSLType {tls}\n\
         SystemCertificates no\nCertificateFile {ca}\nAuthMechs LOGIN\n\n\
         IMAPStore far\nAccount gate\n\n\
         MaildirStore near\nPath {path}/\nInbox {path}/INBOX\n\n\
         Channel all\nFar :far:\nNear :near:\nPatterns INBOX\nCreate Near\nSync Pull\nSyncState *\n"
    );
    let rc = dir.join("mbsyncrc");
    std::fs::write(&rc, config).expect("a file");
    let finished = run("mbsync", &["-c", rc.to_str().expect("UTF-8"), "-D", "all"], b"").success();
    let mut mails: Vec<_> = ["new", "cur"]
        .iter()
        .flat_map(|name| std::fs::read_dir(dir.join("INBOX").join(name)).expect("a Maildir"))
        .map(|entry| entry.expect("an entry").path())
        .collect();
    assert_eq!(mails.len(), 1, "one mail; {}", finished.story());
    std::fs::read(mails.remove(0)).expect("a mail")
}
