//! A small SMTP server (RFC 5321) in front of the demo's mailbox: plaintext, behind a PROXY v2 header, relaying for
//! nobody who has not logged in. What it takes goes into the mailbox unchanged, whoever it is for: nothing leaves
//! the machine, and the first header field of a mail is the proxy's own.

mod syntax;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;

use super::account::{self, DOMAIN, HOSTNAME};
use super::mailbox::{MESSAGE_LIMIT, Mailbox};
use super::wire::{Client, Heard, Server, Stream, Wire};
use syntax::{Parameters, path};

/// RFC 4954 §4 wants 12,288 octets for AUTH; every command may have them.
const LINE_LIMIT: usize = 12_288;
/// RFC 5321 §4.5.3.1.8.
const RECIPIENTS: usize = 100;
/// After so many refusals the session ends.
const ERRORS: u32 = 20;
/// RFC 5321 §4.5.3.2.7.
const PATIENCE: Duration = Duration::from_secs(300);

/// Starts the server on a free loopback port.
///
/// # Errors
/// If no port can be had.
pub async fn start(mailbox: Arc<Mailbox>) -> io::Result<Server> {
    Server::start(move |wire, client| serve(wire, client, Arc::clone(&mailbox))).await
}

/// One session, from the greeting to its end.
pub(super) async fn serve<S: Stream>(mut wire: Wire<S>, client: Client, mailbox: Arc<Mailbox>) -> io::Result<()> {
    wire.wait_at_most(PATIENCE);
    let session = Session { wire, client, mailbox, greeted: false, user: false, envelope: None, errors: 0 };
    session.run().await
}

struct Session<S> {
    wire: Wire<S>,
    client: Client,
    mailbox: Arc<Mailbox>,
    greeted: bool,
    user: bool,
    envelope: Option<Envelope>,
    errors: u32,
}

/// A mail transaction (RFC 5321 §3.3).
#[derive(Default)]
struct Envelope {
    recipients: usize,
    content: Content,
}

/// What came of the message by BDAT (RFC 3030).
#[derive(Default)]
enum Content {
    #[default]
    None,
    Chunks(BytesMut),
    TooLarge,
}

enum After {
    GoOn,
    Close,
}

impl<S: Stream> Session<S> {
    async fn run(mut self) -> io::Result<()> {
        self.wire.say(format_args!("220 {HOSTNAME} ESMTP demo backend"));
        while self.errors < ERRORS {
            match self.wire.line(LINE_LIMIT).await? {
                Heard::Line(line) => match self.command(&line).await? {
                    After::GoOn => self.wire.relieve().await?,
                    After::Close => return self.wire.close().await,
                },
                Heard::Malformed(why) => self.refuse(format_args!("500 5.5.2 Error: {why}")),
                Heard::End => return Ok(()),
            }
        }
        self.wire.say(format_args!("421 4.7.0 {HOSTNAME} Error: too many errors"));
        self.wire.close().await
    }

    fn refuse(&mut self, reply: impl std::fmt::Display) {
        self.errors += 1;
        self.wire.say(reply);
    }

    async fn command(&mut self, line: &[u8]) -> io::Result<After> {
        let Ok(line) = std::str::from_utf8(line) else {
            self.refuse("500 5.5.2 Error: not UTF-8");
            return Ok(After::GoOn);
        };
        let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
        match verb.to_ascii_uppercase().as_str() {
            "EHLO" | "HELO" if argument.trim().is_empty() => self.refuse("501 5.5.4 Syntax: EHLO hostname"),
            "EHLO" => self.ehlo(),
            "HELO" => {
                self.greeted = true;
                self.envelope = None;
                self.wire.say(format_args!("250 {HOSTNAME}"));
            }
            "MAIL" => self.mail(argument),
            "RCPT" => self.rcpt(argument),
            "DATA" => self.data().await?,
            "BDAT" => self.bdat(argument).await?,
            "AUTH" => self.auth(argument).await?,
            "RSET" => {
                self.envelope = None;
                self.wire.say("250 2.0.0 Ok");
            }
            "NOOP" => self.wire.say("250 2.0.0 Ok"),
            "VRFY" => self.wire.say("252 2.5.0 Send some mail, it will be tried"),
            "HELP" => {
                self.wire.say("214 2.0.0 EHLO HELO MAIL RCPT DATA BDAT AUTH RSET NOOP VRFY HELP QUIT");
            }
            "QUIT" => {
                self.wire.say(format_args!("221 2.0.0 {HOSTNAME} closing connection"));
                return Ok(After::Close);
            }
            _ => self.refuse("500 5.5.2 Error: command not recognized"),
        }
        Ok(After::GoOn)
    }

    fn ehlo(&mut self) {
        self.greeted = true;
        self.envelope = None;
        let tls = if self.client.tls { ", secured by TLS" } else { "" };
        self.wire.say(format_args!("250-{HOSTNAME} Hello [{}]{tls}", self.client.address.ip()));
        for keyword in ["PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES", "DSN", "SMTPUTF8", "CHUNKING"] {
            self.wire.say(format_args!("250-{keyword}"));
        }
        self.wire.say(format_args!("250-SIZE {MESSAGE_LIMIT}"));
        self.wire.say("250-AUTH PLAIN LOGIN");
        self.wire.say("250 HELP");
    }

    fn mail(&mut self, argument: &str) {
        if !self.greeted {
            return self.refuse("503 5.5.1 Error: send EHLO first");
        }
        if self.envelope.is_some() {
            return self.refuse("503 5.5.1 Error: nested MAIL command");
        }
        let Some((_, rest)) = path("FROM:", argument) else {
            return self.refuse("501 5.5.4 Syntax: MAIL FROM:<address>");
        };
        match Parameters::of_mail(rest) {
            Err(unknown) => self.refuse(format_args!("555 5.5.4 Unsupported parameter: {unknown}")),
            Ok(parameters) if parameters.size.is_some_and(|size| size > MESSAGE_LIMIT as u64) => {
                self.refuse(format_args!("552 5.3.4 Message size exceeds {MESSAGE_LIMIT}"));
            }
            Ok(_) => {
                self.envelope = Some(Envelope::default());
                self.wire.say("250 2.1.0 Ok");
            }
        }
    }

    fn rcpt(&mut self, argument: &str) {
        let Some(envelope) = &mut self.envelope else {
            return self.refuse("503 5.5.1 Error: need MAIL command");
        };
        if envelope.recipients >= RECIPIENTS {
            return self.refuse("452 4.5.3 Error: too many recipients");
        }
        let Some((address, rest)) = path("TO:", argument).filter(|(address, _)| !address.is_empty()) else {
            return self.refuse("501 5.5.4 Syntax: RCPT TO:<address>");
        };
        if let Err(unknown) = Parameters::of_rcpt(rest) {
            return self.refuse(format_args!("555 5.5.4 Unsupported parameter: {unknown}"));
        }
        // RFC 5321 §4.1.1.3: postmaster needs no domain.
        let ours = match address.rsplit_once('@') {
            Some((_, domain)) => domain.eq_ignore_ascii_case(DOMAIN),
            None => address.eq_ignore_ascii_case("postmaster"),
        };
        if ours || self.user {
            envelope.recipients += 1;
            self.wire.say("250 2.1.5 Ok");
        } else {
            let client = self.client.address.ip();
            self.refuse(format_args!("554 5.7.1 <{address}>: Relay access denied for [{client}]"));
        }
    }

    async fn data(&mut self) -> io::Result<()> {
        match &self.envelope {
            None => self.refuse("503 5.5.1 Error: need MAIL command"),
            Some(Envelope { recipients: 0, .. }) => self.refuse("554 5.5.1 Error: no valid recipients"),
            // RFC 3030 §2: DATA and BDAT do not mix.
            Some(Envelope { content: Content::Chunks(_) | Content::TooLarge, .. }) => {
                self.refuse("503 5.5.1 Error: DATA after BDAT");
            }
            Some(_) => {
                self.wire.say("354 End data with <CR><LF>.<CR><LF>");
                let content = self.wire.data(MESSAGE_LIMIT).await?;
                self.deliver(content);
            }
        }
        Ok(())
    }

    async fn bdat(&mut self, argument: &str) -> io::Result<()> {
        let mut words = argument.split_ascii_whitespace();
        let size = words.next().and_then(|size| size.parse::<u64>().ok());
        let last = words.next().map(|word| word.eq_ignore_ascii_case("LAST"));
        let (Some(size), None | Some(true), None) = (size, last, words.next()) else {
            // RFC 3030 §4.2 leaves no way to know where the chunk ends.
            self.errors = ERRORS;
            self.wire.say("501 5.5.4 Syntax: BDAT count [LAST]");
            return Ok(());
        };
        let room = match &self.envelope {
            Some(Envelope { content: Content::None, .. }) => MESSAGE_LIMIT,
            Some(Envelope { content: Content::Chunks(content), .. }) => MESSAGE_LIMIT - content.len(),
            Some(Envelope { content: Content::TooLarge, .. }) | None => 0,
        };
        let chunk = self.wire.octets(size, room).await?;
        let Some(envelope) = self.envelope.as_mut().filter(|envelope| envelope.recipients > 0) else {
            self.refuse("503 5.5.1 Error: need MAIL and RCPT commands");
            return Ok(());
        };
        let mut content = match std::mem::take(&mut envelope.content) {
            Content::None => Some(BytesMut::new()),
            Content::Chunks(content) => Some(content),
            Content::TooLarge => None,
        };
        match (&mut content, chunk) {
            (Some(content), Some(chunk)) => content.extend_from_slice(&chunk),
            _ => content = None,
        }
        if last.is_some() {
            self.deliver(content);
        } else if let Some(chunks) = content {
            envelope.content = Content::Chunks(chunks);
            self.wire.say(format_args!("250 2.0.0 Ok: {size} octets"));
        } else {
            envelope.content = Content::TooLarge;
            self.refuse(format_args!("552 5.3.4 Message size exceeds {MESSAGE_LIMIT}"));
        }
        Ok(())
    }

    fn deliver(&mut self, content: Option<BytesMut>) {
        self.envelope = None;
        match content.map(|content| self.mailbox.deliver(content.freeze())) {
            Some(Ok(uid)) => self.wire.say(format_args!("250 2.0.0 Ok: in the mailbox with UID {uid}")),
            Some(Err(full)) => self.refuse(format_args!("452 4.2.2 Error: {full}")),
            None => self.refuse(format_args!("552 5.3.4 Message size exceeds {MESSAGE_LIMIT}")),
        }
    }

    /// RFC 4954.
    async fn auth(&mut self, argument: &str) -> io::Result<()> {
        if !self.greeted || self.user || self.envelope.is_some() {
            self.refuse("503 5.5.1 Error: no AUTH now");
            return Ok(());
        }
        let mut words = argument.split_ascii_whitespace();
        let mechanism = words.next().unwrap_or_default().to_ascii_uppercase();
        let initial = words.next().map(str::as_bytes).map(BytesMut::from);
        let known = match mechanism.as_str() {
            "PLAIN" => self.answer(initial, "").await?.map(|message| account::plain_is_known(&message)),
            "LOGIN" => match self.answer(initial, "Username:").await? {
                Some(user) => self.answer(None, "Password:").await?.map(|password| account::is_known(&user, &password)),
                None => None,
            },
            _ => {
                self.refuse("504 5.5.4 Error: PLAIN and LOGIN are supported");
                return Ok(());
            }
        };
        match known {
            Some(true) => {
                self.user = true;
                self.wire.say("235 2.7.0 Authentication successful");
            }
            Some(false) => self.refuse("535 5.7.8 Error: authentication failed"),
            None => self.refuse("501 5.5.2 Error: authentication cancelled or not base64"),
        }
        Ok(())
    }

    /// The client's answer to `challenge`, or its initial response; none if it cancels (`*`) or sends no base64.
    async fn answer(&mut self, initial: Option<BytesMut>, challenge: &str) -> io::Result<Option<Vec<u8>>> {
        let response = match initial {
            Some(initial) => initial,
            None => {
                self.wire.say(format_args!("334 {}", account::encode(challenge.as_bytes())));
                match self.wire.line(LINE_LIMIT).await? {
                    Heard::Line(line) => line,
                    Heard::Malformed(_) => return Ok(None),
                    Heard::End => return Err(io::ErrorKind::UnexpectedEof.into()),
                }
            }
        };
        Ok(account::decode(&response))
    }
}

#[cfg(test)]
mod tests;
