//! Client and backend until the login, inside TLS.
//!
//! Commands pass as they came, and one at a time wherever an answer decides what follows: one with a literal, a login
//! and LOGOUT begin only when nothing is owed, and nothing begins behind them before their answer. So a reply
//! can be mistaken for no other, and the OK that opens the session to unseen bytes is the login's own.
//!
//! A non-synchronising literal (RFC 7888) reaches the backend as a synchronising one. A backend that refuses the
//! command, or never heard of `{n+}`, would run its octets as commands of its own; this way it asks for them first.

mod backend;
mod client;
mod id;

use std::collections::VecDeque;
use std::sync::Arc;

use self::id::Id;
use super::command::{LiteralKind, Scan};
use super::overlong::Overlong;
use super::{Errors, bye};
use crate::protocol::{Context, Dialogue, Ended, Event, Farewell, Out, Side, Verdict, Violation, Wait};

/// A session between TLS and login.
pub(super) struct BeforeLogin {
    hostname: Arc<str>,
    turn: Turn,
    /// Commands whose tagged replies are owed, oldest first.
    pending: VecDeque<Pending>,
    /// The login among them.
    login: Option<Box<Login>>,
    /// What of the command at hand has been read.
    scan: Scan,
    errors: Errors,
    /// Whether input of the client waits for the backend.
    held: bool,
    /// Whether the client will send nothing more.
    gone: bool,
    /// Whether the backend has said goodbye.
    bye: bool,
}

/// What may come next.
enum Turn {
    /// The backend's greeting.
    Greeting,
    /// The client's commands.
    Command,
    /// More of a command line that is too long, and that command's tag.
    Overlong(Box<(Overlong, Option<Box<[u8]>>)>),
    /// More of the client's ID.
    Id(Box<Id>),
    /// The backend's `+` for a literal.
    Continue { octets: usize, kind: LiteralKind },
    /// A literal's octets.
    Octets(usize),
    /// The rest of the line behind a literal.
    Rest,
    /// Octets that the client sends for a command that the backend has refused.
    Dead(usize),
    /// The rest of the line behind them.
    DeadRest,
    /// The tagged reply to the one command that is owed one, or a challenge.
    Reply,
    /// The client's line in an authentication exchange (RFC 9051 §6.2.2).
    Response,
    /// Everything, unseen.
    Spliced,
}

/// A command whose tagged reply is owed.
struct Pending {
    tag: Box<[u8]>,
    name: &'static str,
}

/// What the log will say of a login.
struct Login {
    method: String,
    user: Option<String>,
    /// Whether the user name is still to come: LOGIN's first literal, AUTHENTICATE's first response.
    unnamed: bool,
    /// Whether the client's last line may be judged: it is more than a mechanism, a name or a cancel.
    offers: bool,
    /// A challenge has said that the credentials are no good.
    refused: bool,
}

impl BeforeLogin {
    pub(super) fn new(context: &Context) -> Self {
        Self {
            hostname: Arc::clone(&context.hostname),
            turn: Turn::Greeting,
            pending: VecDeque::new(),
            login: None,
            scan: Scan::default(),
            errors: Errors::new(context),
            held: false,
            gone: false,
            bye: false,
        }
    }

    /// Whether a client that sends nothing more has had all that it is owed.
    fn is_over(&self) -> bool {
        self.gone && !self.held && (self.pending.is_empty() || !matches!(self.turn, Turn::Command | Turn::Reply))
    }

    /// What a session does that waits for input.
    fn idle(&self) -> Verdict {
        if self.is_over() { Verdict::Close } else { Verdict::More }
    }
}

impl Dialogue for BeforeLogin {
    fn receive(&mut self, from: Side, input: &[u8], out: &mut Out) -> Result<Verdict, Violation> {
        if matches!(self.turn, Turn::Spliced) {
            return Ok(Verdict::Splice);
        }
        let verdict = match from {
            Side::Client => {
                let verdict = if input.is_empty() { Verdict::More } else { self.client(input, out)? };
                self.held = verdict == Verdict::Hold;
                if let (Some(login), Verdict::Pass(_) | Verdict::Drop(_)) = (&self.login, verdict) {
                    // A line that ends in a literal is no command yet, and nor is one whose literal is there.
                    let guess = login.offers && matches!(self.turn, Turn::Reply);
                    out.events.push(Event::Attempt { guess });
                }
                verdict
            }
            Side::Backend => self.backend(input, out)?,
        };
        Ok(if verdict == Verdict::More { self.idle() } else { verdict })
    }

    fn ended(&mut self, how: Ended, out: &mut Out) -> Verdict {
        let why = match how {
            Ended::ClientEof { clean } => {
                self.gone = true;
                return match self.turn {
                    // The driver carries a spliced session to its end.
                    Turn::Spliced => Verdict::More,
                    _ if clean => self.idle(),
                    // A no often comes late, a yes at once: who need not wait to see which could leave, and would have guessed
                    // for nothing.
                    Turn::Reply if self.login.is_some() => self.idle(),
                    _ => Verdict::Close,
                };
            }
            Ended::BackendEof if self.bye => return Verdict::Close,
            Ended::Deadline(Wait::Login | Wait::Command | Wait::Body) | Ended::TooSlow => Farewell::Timeout,
            Ended::BackendEof | Ended::Deadline(Wait::Greeting | Wait::Reply | Wait::Delivery) => {
                Farewell::BackendUnavailable
            }
            Ended::TooManyFailures => Farewell::TooManyFailures,
            Ended::Drain => Farewell::Shutdown,
        };
        // A spliced stream may be inside a literal or compressed: a BYE of ours would be part of a message.
        if !matches!(self.turn, Turn::Spliced) {
            out.to_client.extend_from_slice(&bye(&self.hostname, why));
        }
        Verdict::Close
    }

    fn waiting_for(&self) -> Wait {
        match self.turn {
            Turn::Greeting => Wait::Greeting,
            Turn::Continue { .. } | Turn::Reply => Wait::Reply,
            Turn::Command if !self.pending.is_empty() => Wait::Reply,
            Turn::Command
            | Turn::Overlong(_)
            | Turn::Id(_)
            | Turn::Octets(_)
            | Turn::Rest
            | Turn::Dead(_)
            | Turn::DeadRest
            | Turn::Response => Wait::Login,
            Turn::Spliced => Wait::Command,
        }
    }
}
