//! The client's side of SMTP and IMAP, as much as a round trip needs.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::demo::account::{PASSWORD, USER, encode};
use crate::demo::imap_server::announced_literal;
use crate::demo::mailbox::MESSAGE_LIMIT;
use crate::demo::tls_client::{Seen, TlsClient};
use crate::demo::wire::{Heard, Stream, Wire};

/// Nobody here takes that long.
const PATIENCE: Duration = Duration::from_secs(20);
/// No line of a reply is longer.
const LINE_LIMIT: usize = 8192;

/// What went wrong on a leg.
#[derive(Debug, thiserror::Error)]
pub enum LegError {
    /// The connection failed.
    #[error("{step}: {source}")]
    Io {
        /// What was tried.
        step: &'static str,
        /// What the operating system or TLS said.
        source: io::Error,
    },
    /// The answer was not the one that a working gate gives.
    #[error("{step} was answered {answer:?}")]
    Answer {
        /// What was tried.
        step: String,
        /// The answer's last line.
        answer: String,
    },
    /// What came is not what should have come.
    #[error("{0}")]
    Wrong(String),
}

/// Turns an I/O error into one that says what was tried.
fn at(step: &'static str) -> impl Fn(io::Error) -> LegError {
    move |source| LegError::Io { step, source }
}

/// How a service is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secured {
    /// From the first octet.
    AtOnce,
    /// After SMTP's STARTTLS.
    BySmtp,
    /// After IMAP's STARTTLS.
    ByImap,
}

/// A connection inside TLS.
pub type Session = Wire<TlsStream<TcpStream>>;

/// Connects and starts TLS.
pub async fn connect(address: SocketAddr, how: Secured, client: &TlsClient) -> Result<(Session, Seen), LegError> {
    let stream = TcpStream::connect(address).await.map_err(at("connecting"))?;
    stream.set_nodelay(true).map_err(at("connecting"))?;
    let stream = match how {
        Secured::AtOnce => stream,
        Secured::BySmtp => {
            let mut wire = Wire::new(stream, PATIENCE);
            smtp_reply(&mut wire, "the greeting", 220).await?;
            smtp(&mut wire, "EHLO client.demo.example", 250).await?;
            smtp(&mut wire, "STARTTLS", 220).await?;
            wire.into_stream().map_err(at("STARTTLS"))?
        }
        Secured::ByImap => {
            let mut wire = Wire::new(stream, PATIENCE);
            line(&mut wire, "the greeting").await?;
            imap(&mut wire, "STARTTLS").await?;
            wire.into_stream().map_err(at("STARTTLS"))?
        }
    };
    let (stream, seen) = client.handshake(stream).await.map_err(at("the TLS handshake"))?;
    Ok((Wire::new(stream, PATIENCE), seen))
}

/// How a mail is handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// RFC 5321.
    Data,
    /// RFC 3030.
    Bdat,
}

/// Sends a mail, its login first where there is one.
pub async fn send_mail(
    wire: &mut Session,
    how: Secured,
    auth: Option<&str>,
    (from, to): (&str, &str),
    (method, content): (Method, &str),
) -> Result<(), LegError> {
    if how == Secured::AtOnce {
        smtp_reply(wire, "the greeting", 220).await?;
    }
    smtp(wire, "EHLO client.demo.example", 250).await?;
    match auth {
        None => {}
        Some("LOGIN") => {
            smtp(wire, "AUTH LOGIN", 334).await?;
            smtp(wire, &encode(USER.as_bytes()), 334).await?;
            smtp_secret(wire, "the password", &encode(PASSWORD.as_bytes()), 235).await?;
        }
        Some(mechanism) => {
            let response = encode(format!("\0{USER}\0{PASSWORD}").as_bytes());
            smtp_secret(wire, "AUTH", &format!("AUTH {mechanism} {response}"), 235).await?;
        }
    }
    smtp(wire, &format!("MAIL FROM:<{from}>"), 250).await?;
    smtp(wire, &format!("RCPT TO:<{to}>"), 250).await?;
    match method {
        Method::Data => {
            smtp(wire, "DATA", 354).await?;
            // RFC 5321 §4.5.2.
            wire.put(content.replace("\r\n.", "\r\n..").as_bytes());
            smtp(wire, ".", 250).await?;
        }
        Method::Bdat => {
            wire.say(format_args!("BDAT {} LAST", content.len()));
            wire.put(content.as_bytes());
            smtp_reply(wire, "BDAT", 250).await?;
        }
    }
    smtp(wire, "QUIT", 221).await
}

async fn smtp<S: Stream>(wire: &mut Wire<S>, command: &str, expected: u16) -> Result<(), LegError> {
    smtp_secret(wire, command, command, expected).await
}

/// Sends a command that must not show in an error.
async fn smtp_secret<S: Stream>(wire: &mut Wire<S>, name: &str, command: &str, expected: u16) -> Result<(), LegError> {
    wire.say(command);
    smtp_reply(wire, name, expected).await
}

async fn smtp_reply<S: Stream>(wire: &mut Wire<S>, step: &str, expected: u16) -> Result<(), LegError> {
    loop {
        let answer = line(wire, step).await?;
        if answer.as_bytes().get(3) == Some(&b'-') {
            continue;
        }
        let code = answer.split(' ').next().and_then(|code| code.parse().ok());
        return if code == Some(expected) { Ok(()) } else { Err(LegError::Answer { step: step.to_owned(), answer }) };
    }
}

/// Reads every mail there is.
pub async fn read_mails(wire: &mut Session, how: Secured) -> Result<Vec<Bytes>, LegError> {
    if how == Secured::AtOnce {
        line(wire, "the greeting").await?;
    }
    imap(wire, &format!("LOGIN {USER} {PASSWORD}")).await?;
    imap(wire, "SELECT INBOX").await?;
    let mails = imap(wire, "UID FETCH 1:* BODY.PEEK[]").await?;
    imap(wire, "LOGOUT").await?;
    Ok(mails)
}

/// Sends a command; gives the literals of its answer.
async fn imap<S: Stream>(wire: &mut Wire<S>, command: &str) -> Result<Vec<Bytes>, LegError> {
    let step = command.split(' ').next().unwrap_or_default();
    wire.say(format_args!("a {command}"));
    let mut literals = Vec::new();
    loop {
        let answer = line(wire, step).await?;
        if let Some((length, _)) = announced_literal(answer.as_bytes()) {
            let literal = wire.octets(length, MESSAGE_LIMIT).await.map_err(at("reading a mail"))?;
            literals.push(literal.map(BytesMut::freeze).unwrap_or_default());
        } else if answer.starts_with("a OK") {
            return Ok(literals);
        } else if answer.starts_with("a ") || answer.starts_with("* BYE") && step != "LOGOUT" {
            return Err(LegError::Answer { step: step.to_owned(), answer });
        }
    }
}

async fn line<S: Stream>(wire: &mut Wire<S>, step: &str) -> Result<String, LegError> {
    match wire.line(LINE_LIMIT).await.map_err(at("reading an answer"))? {
        Heard::Line(line) => Ok(String::from_utf8_lossy(&line).into_owned()),
        Heard::Malformed(why) => Err(LegError::Answer { step: step.to_owned(), answer: why.to_owned() }),
        Heard::End => Err(LegError::Answer { step: step.to_owned(), answer: "the end of the connection".to_owned() }),
    }
}
