//! A small IMAP4rev1 server (RFC 3501) over the demo's mailbox: plaintext, behind a PROXY v2 header. It reads, marks,
//! searches and deletes mail and pushes new mail in IDLE; mail gets in by SMTP alone, and INBOX is the only mailbox.

mod envelope;
mod fetch;
mod parse;
mod search;
mod selected;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::account;
use super::mailbox::{Flags, Mailbox};
use super::wire::{Client, Heard, Server, Stream, Wire};
pub(super) use parse::announced_literal;
use parse::{Bad, Parser, matches};
use selected::View;

/// What is announced; RFC 7888, RFC 4959, RFC 2971, RFC 2177.
const CAPABILITIES: &str = "IMAP4rev1 LITERAL+ SASL-IR ID IDLE AUTH=PLAIN";
/// The most octets of a command, literals included.
const COMMAND_LIMIT: usize = 64 * 1024;
/// After so many refusals the session ends.
const ERRORS: u32 = 20;
/// Before login.
const LOGIN_PATIENCE: Duration = Duration::from_secs(60);
/// RFC 3501 §5.4 wants 30 minutes at least.
const PATIENCE: Duration = Duration::from_secs(35 * 60);

/// Starts the server on a free loopback port.
///
/// # Errors
/// If no port can be had.
pub async fn start(mailbox: Arc<Mailbox>) -> io::Result<Server> {
    Server::start(move |wire, client| serve(wire, client, Arc::clone(&mailbox))).await
}

/// One session, from the greeting to its end.
pub(super) async fn serve<S: Stream>(mut wire: Wire<S>, client: Client, mailbox: Arc<Mailbox>) -> io::Result<()> {
    wire.wait_at_most(LOGIN_PATIENCE);
    wire.say(format_args!("* OK [CAPABILITY {CAPABILITIES}] demo backend ready for [{}]", client.address.ip()));
    Session { wire, mailbox, state: State::NotAuthenticated, errors: 0 }.run().await
}

/// RFC 3501 §3.
enum State {
    NotAuthenticated,
    Authenticated,
    Selected(View),
}

struct Session<S> {
    wire: Wire<S>,
    mailbox: Arc<Mailbox>,
    state: State,
    errors: u32,
}

/// How a command ended; the text of its tagged reply.
enum Done {
    Ok(String),
    No(&'static str),
    Logout,
}

/// Why a command did not end.
#[derive(Debug, thiserror::Error)]
enum Failed {
    /// It is refused and the session goes on.
    #[error(transparent)]
    Bad(#[from] Bad),
    /// The session is over.
    #[error(transparent)]
    Io(#[from] io::Error),
}

fn done(text: impl Into<String>) -> Result<Done, Bad> {
    Ok(Done::Ok(text.into()))
}

impl<S: Stream> Session<S> {
    async fn run(mut self) -> io::Result<()> {
        while self.errors < ERRORS {
            let Some(command) = self.read_command().await? else { return Ok(()) };
            let mut parser = Parser::new(&command);
            // RFC 3501 §9: a tag is an atom that may hold `]` and must not hold `+`.
            let Ok(tag) = parser.atom(b"]") else {
                self.errors += 1;
                self.wire.say("* BAD a tag is missing");
                continue;
            };
            match self.command(&mut parser).await {
                Ok(Done::Ok(text)) => self.wire.say(format_args!("{tag} OK {text}")),
                Ok(Done::No(text)) => self.wire.say(format_args!("{tag} NO {text}")),
                Ok(Done::Logout) => {
                    self.wire.say("* BYE logging out");
                    self.wire.say(format_args!("{tag} OK LOGOUT completed"));
                    return self.wire.close().await;
                }
                Err(Failed::Bad(bad)) => {
                    self.errors += 1;
                    self.wire.say(format_args!("{tag} BAD {bad}"));
                }
                Err(Failed::Io(error)) => return Err(error),
            }
            self.wire.relieve().await?;
        }
        self.wire.say("* BYE too many errors");
        self.wire.close().await
    }

    /// A whole command with its literals, without the last CRLF; none at the end of the session.
    async fn read_command(&mut self) -> io::Result<Option<Bytes>> {
        let mut command = BytesMut::new();
        loop {
            match self.wire.line(COMMAND_LIMIT).await? {
                Heard::End => return Ok(None),
                Heard::Malformed(why) => {
                    self.errors += 1;
                    self.wire.say(format_args!("* BAD {why}"));
                    if self.errors >= ERRORS {
                        return Ok(Some(command.freeze()));
                    }
                    command.clear();
                    continue;
                }
                Heard::Line(line) => command.extend_from_slice(&line),
            }
            let Some((length, waits)) = announced_literal(&command) else {
                return Ok(Some(command.freeze()));
            };
            let room = COMMAND_LIMIT.saturating_sub(command.len());
            if usize::try_from(length).is_ok_and(|length| length <= room) {
                if waits {
                    self.wire.say("+ go on");
                }
                command.extend_from_slice(b"\r\n");
                command.extend_from_slice(&self.wire.octets(length, room).await?.unwrap_or_default());
            } else if waits {
                // RFC 3501 §7.5: a command that is refused before its `+` is over.
                return Ok(Some(command.freeze()));
            } else {
                // RFC 7888 §4: its octets are on their way and would run as commands.
                self.wire.say("* BYE literal too large");
                self.wire.flush().await?;
                return Ok(None);
            }
        }
    }

    async fn command(&mut self, parser: &mut Parser<'_>) -> Result<Done, Failed> {
        parser.space()?;
        let name = parser.keyword()?;
        let done = match (name.as_str(), &self.state) {
            ("CAPABILITY" | "NOOP" | "LOGOUT" | "ID", _) => self.in_any_state(&name, parser)?,
            ("LOGIN", State::NotAuthenticated) => self.login(parser)?,
            ("AUTHENTICATE", State::NotAuthenticated) => self.authenticate(parser).await?,
            (_, State::NotAuthenticated) => return Err(Bad("unknown command, or not before login").into()),
            ("SELECT" | "EXAMINE", _) => self.select(name == "EXAMINE", parser)?,
            ("LIST" | "LSUB", _) => self.list(&name, parser)?,
            ("STATUS", _) => self.status(parser)?,
            ("IDLE", _) => self.idle(parser).await?,
            ("CREATE" | "DELETE" | "RENAME" | "SUBSCRIBE" | "UNSUBSCRIBE" | "APPEND" | "COPY", _) => {
                Done::No("[CANNOT] the demo has one mailbox, and mail gets into it by SMTP alone")
            }
            (_, State::Selected(_)) => self.on_selected(&name, parser).await?,
            _ => return Err(Bad("unknown command, or no mailbox is selected").into()),
        };
        Ok(done)
    }

    fn in_any_state(&mut self, name: &str, parser: &mut Parser<'_>) -> Result<Done, Bad> {
        if name != "ID" {
            parser.end()?;
        }
        match name {
            "CAPABILITY" => self.wire.say(format_args!("* CAPABILITY {CAPABILITIES}")),
            // RFC 2971: whatever the client says of itself.
            "ID" => self.wire.say("* ID (\"name\" \"Sealgate demo backend\")"),
            "LOGOUT" => return Ok(Done::Logout),
            _ => self.tell_news(),
        }
        done(format!("{name} completed"))
    }

    fn login(&mut self, parser: &mut Parser<'_>) -> Result<Done, Bad> {
        parser.space()?;
        let user = parser.string(b"")?;
        parser.space()?;
        let password = parser.string(b"")?;
        parser.end()?;
        Ok(self.log_in(account::is_known(&user, &password)))
    }

    fn log_in(&mut self, known: bool) -> Done {
        if known {
            self.state = State::Authenticated;
            self.wire.wait_at_most(PATIENCE);
            Done::Ok(format!("[CAPABILITY {CAPABILITIES}] logged in"))
        } else {
            self.errors += 1;
            Done::No("[AUTHENTICATIONFAILED] user or password is wrong")
        }
    }

    /// AUTHENTICATE PLAIN, with or without an initial response (RFC 4959).
    async fn authenticate(&mut self, parser: &mut Parser<'_>) -> Result<Done, Failed> {
        parser.space()?;
        let mechanism = parser.keyword()?;
        let initial = if parser.take(b' ') { Some(parser.atom(b"")?.as_bytes().to_vec()) } else { None };
        parser.end()?;
        if mechanism != "PLAIN" {
            return Ok(Done::No("[CANNOT] only PLAIN is supported"));
        }
        let response = match initial {
            Some(initial) => initial,
            None => {
                self.wire.say("+ ");
                self.response().await?.to_vec()
            }
        };
        // RFC 3501 §6.2.2: `*` cancels, and is no base64.
        let message = account::decode(&response).ok_or(Bad("authentication cancelled or not base64"))?;
        Ok(self.log_in(account::plain_is_known(&message)))
    }

    /// A line that is no command.
    async fn response(&mut self) -> Result<BytesMut, Failed> {
        match self.wire.line(COMMAND_LIMIT).await? {
            Heard::Line(line) => Ok(line),
            Heard::Malformed(why) => Err(Bad(why).into()),
            Heard::End => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
        }
    }

    /// RFC 2177: tells what comes and goes until the client says DONE.
    async fn idle(&mut self, parser: &mut Parser<'_>) -> Result<Done, Failed> {
        parser.end()?;
        let mailbox = Arc::clone(&self.mailbox);
        let mut changed = mailbox.watch();
        self.wire.say("+ idling");
        loop {
            self.tell_news();
            tokio::select! {
                // The mailbox outlives this loop, so it is never its end that wakes us.
                _ = changed.changed() => {}
                line = self.response() => {
                    let ends = line?.eq_ignore_ascii_case(b"DONE");
                    return Ok(if ends { done("IDLE completed") } else { Err(Bad("IDLE ends with DONE")) }?);
                }
            }
        }
    }

    fn list(&mut self, name: &str, parser: &mut Parser<'_>) -> Result<Done, Bad> {
        parser.space()?;
        let reference = parser.string(b"")?;
        parser.space()?;
        let pattern = parser.string(b"%*")?;
        parser.end()?;
        if pattern.is_empty() && name == "LIST" {
            // RFC 3501 §6.3.8: an empty pattern asks for the hierarchy delimiter.
            self.wire.say("* LIST (\\Noselect) \"/\" \"\"");
        } else if matches(&[&*reference, &*pattern].concat(), b"INBOX") {
            self.wire.say(format_args!("* {name} (\\Noinferiors) \"/\" INBOX"));
        }
        done(format!("{name} completed"))
    }

    fn status(&mut self, parser: &mut Parser<'_>) -> Result<Done, Bad> {
        parser.space()?;
        let name = parser.string(b"")?;
        parser.space()?;
        let items = parser.list(false, Parser::keyword)?;
        parser.end()?;
        if !name.eq_ignore_ascii_case(b"INBOX") {
            return Ok(Done::No("[NONEXISTENT] there is INBOX only"));
        }
        let messages = self.mailbox.messages();
        let value = |item: &String| {
            Ok(match item.as_str() {
                "MESSAGES" => format!("{item} {}", messages.len()),
                "RECENT" => format!("{item} 0"),
                "UIDNEXT" => format!("{item} {}", self.mailbox.uid_next()),
                "UIDVALIDITY" => format!("{item} {}", self.mailbox.uid_validity()),
                "UNSEEN" => {
                    let unseen = messages.iter().filter(|message| !message.flags.contains(Flags::SEEN));
                    format!("{item} {}", unseen.count())
                }
                _ => return Err(Bad("this STATUS item is not supported")),
            })
        };
        let values = items.iter().map(value).collect::<Result<Vec<_>, _>>()?;
        self.wire.say(format_args!("* STATUS INBOX ({})", values.join(" ")));
        done("STATUS completed")
    }

    fn select(&mut self, read_only: bool, parser: &mut Parser<'_>) -> Result<Done, Bad> {
        parser.space()?;
        let name = parser.string(b"")?;
        parser.end()?;
        // RFC 3501 §6.3.1: a SELECT that fails leaves no mailbox selected.
        self.state = State::Authenticated;
        if !name.eq_ignore_ascii_case(b"INBOX") {
            return Ok(Done::No("[NONEXISTENT] there is INBOX only"));
        }
        let (view, unseen) = View::of(&self.mailbox, read_only);
        let flags: Vec<&str> = Flags::NAMES.iter().map(|(name, _)| *name).collect();
        let flags = flags.join(" ");
        self.wire.say(format_args!("* FLAGS ({flags})"));
        self.wire.say(format_args!("* {} EXISTS", view.len()));
        self.wire.say("* 0 RECENT");
        if let Some(number) = unseen {
            self.wire.say(format_args!("* OK [UNSEEN {number}] first unseen message"));
        }
        let permanent = if read_only { "" } else { flags.as_str() };
        self.wire.say(format_args!("* OK [PERMANENTFLAGS ({permanent})] kept until the demo ends"));
        self.wire.say(format_args!("* OK [UIDVALIDITY {}] this run of the demo", self.mailbox.uid_validity()));
        self.wire.say(format_args!("* OK [UIDNEXT {}] next", self.mailbox.uid_next()));
        self.state = State::Selected(view);
        done(if read_only { "[READ-ONLY] EXAMINE completed" } else { "[READ-WRITE] SELECT completed" })
    }
}

#[cfg(test)]
mod tests;
