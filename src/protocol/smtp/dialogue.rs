//! What client and backend say to each other once the backend is there.
//!
//! This file holds the states and what happens without bytes; [`client`] judges commands, [`content`] what follows DATA and
//! BDAT, [`backend`] replies. Commands that went to the backend wait in [`pending`] for their answers, and our own
//! replies wait among them for their turn.

mod backend;
mod client;
mod content;
mod pending;

use bytes::BufMut;

use self::content::{Chunk, Content};
use self::pending::{Pending, Queue};
use super::body::Scanner;
use super::received::{Hello, Origin};
use super::sasl::Exchange;
use super::{reasons, replies};
use crate::facts::Reason;
use crate::protocol::{
    AuthRule, Context, Dialogue, Ended, Event, Farewell, Opening, Out, Side, Verdict, Violation, Wait,
};

/// The most commands in a row that lead to no message, as Postfix has it (`smtpd_junk_command_limit`). Each may take the whole
/// deadline for a command, so that without a limit a client could keep its session, and the backend's, for ever.
const IDLE_LIMIT: u16 = 100;

/// One session's talk.
pub struct SmtpDialogue {
    origin: Origin,
    auth: AuthRule,
    state: State,
    queue: Queue,
    /// The hello that the backend last accepted.
    hello: Option<Hello>,
    /// The backend understands BDAT: it said CHUNKING in answer to that hello.
    chunking: bool,
    /// AUTH in progress.
    exchange: Option<Box<Exchange>>,
    /// Who logged in.
    user: Option<Box<str>>,
    transaction: Transaction,
    /// Messages that were given a Received field.
    messages: u32,
    /// Commands that were refused, by us or by the backend for their form.
    errors: u32,
    /// Commands since the last message that lead to none.
    idle: u16,
    /// Octets of an oversized line thrown away so far.
    skipped: usize,
    /// DATA or AUTH was refused, and the client cannot have heard of it yet.
    unheard: Option<Early>,
    /// The client said MAIL or AUTH.
    began: bool,
    /// The client's input is held.
    held: bool,
    /// How it goes on once no reply is owed any more.
    afterwards: Afterwards,
}

/// What a client that did not wait for the answer has sent. It would turn into commands that the client never gave, and a secret would
/// stand in the backend's log: the session ends. A client that waits, as RFC 2920 §3.1 has it, cannot have sent anything.
#[derive(Clone, Copy)]
enum Early {
    /// Behind DATA.
    Content,
    /// Behind AUTH or a response.
    SaslResponse,
}

/// How the client's octets are to be read, and what the backend's next reply is.
enum State {
    /// The backend's greeting is awaited.
    Greeting(Greeting),
    /// The answer to the replayed hello is awaited.
    Replaying(Hello),
    /// There is no backend: this answers the client's next command.
    Refusing(Box<[u8]>),
    /// Commands and their replies.
    Commands,
    /// The client's next line is a SASL response.
    SaslResponse,
    /// What follows is content, up to its end.
    Content(Content),
    /// What follows is a chunk.
    Chunk(Chunk),
    /// What follows is content that nobody gets.
    Discarding(Scanner),
    /// Over: what is written goes out, then both sides are closed.
    Closing,
}

/// What becomes of the backend's greeting.
enum Greeting {
    /// The client has had ours, before STARTTLS or instead of it, and owes an EHLO.
    Swallow,
    /// The client has had ours and stays in cleartext: its hello, if there was one, is said for it.
    Replay(Option<Box<[u8]>>),
}

/// A mail transaction (RFC 5321 §3.3), as far as answers have come.
#[derive(Debug, Default)]
struct Transaction {
    /// SMTPUTF8.
    utf8: bool,
    /// Accepted recipients.
    accepted: u32,
    /// The last of them.
    recipient: Box<str>,
    /// A chunk of this message has carried our Received field.
    chunks_began: bool,
    /// A chunk was refused: the message had its verdict.
    chunk_refused: bool,
}

/// What is to happen once the client has all its answers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Afterwards {
    /// Nothing special.
    GoOn,
    /// The client will say no more.
    Close,
    /// The gate is stopping.
    Shutdown,
}

impl SmtpDialogue {
    /// A dialogue whose backend will greet next; `opening` is there when the client stayed in cleartext.
    pub fn new(context: &Context, opening: Option<Opening>) -> Self {
        let greeting = match opening {
            Some(opening) => Greeting::Replay(opening.hello.map(|line| line.as_ref().into())),
            None => Greeting::Swallow,
        };
        Self {
            origin: Origin::new(context),
            auth: context.service.auth,
            state: State::Greeting(greeting),
            queue: Queue::default(),
            hello: None,
            chunking: false,
            exchange: None,
            user: None,
            transaction: Transaction::default(),
            messages: 0,
            errors: 0,
            idle: 0,
            skipped: 0,
            unheard: None,
            began: false,
            held: false,
            afterwards: Afterwards::GoOn,
        }
    }

    /// What is due before any octet is judged: own replies whose turn has come, and the ends that waited for that.
    fn settle(&mut self, from: Side, out: &mut Out) -> Result<Option<Verdict>, Violation> {
        if matches!(self.state, State::Closing) {
            return Ok(Some(Verdict::Close));
        }
        self.queue.flush(&mut out.to_client);
        if !self.queue.is_empty() {
            return Ok(None);
        }
        if self.errors >= self.origin.rules.max_errors {
            return Err(reasons::TOO_MANY_ERRORS.violation(replies::TOO_MANY_ERRORS));
        }
        if self.idle > IDLE_LIMIT {
            return Err(reasons::TOO_IDLE.violation(replies::TOO_IDLE));
        }
        match self.afterwards {
            Afterwards::GoOn => Ok(None),
            // What the client said before it ended may still be held, or be offered just now.
            Afterwards::Close if from == Side::Client || self.held => Ok(None),
            Afterwards::Close => Ok(Some(self.close())),
            Afterwards::Shutdown => Ok(Some(self.farewell(Farewell::Shutdown, reasons::SHUTDOWN, out))),
        }
    }

    fn close(&mut self) -> Verdict {
        self.state = State::Closing;
        Verdict::Close
    }

    /// A 421 of our own, which answers the oldest command or nothing (RFC 5321 §3.8), and the end.
    fn farewell(&mut self, why: Farewell, reason: Reason, out: &mut Out) -> Verdict {
        out.to_client.put(replies::farewell(&self.origin.hostname, why));
        self.ending(reason, out);
        self.close()
    }

    /// Says why the session ends, unless that was said when its message was rejected.
    fn ending(&self, reason: Reason, out: &mut Out) {
        if !matches!(self.state, State::Discarding(_)) {
            out.events.push(Event::Ending(reason));
        }
    }

    fn backend_error(&mut self, reason: Reason, out: &mut Out) -> Verdict {
        self.farewell(Farewell::BackendUnavailable, reason, out)
    }

    /// A breach that is answered once all earlier commands are.
    fn violate(&self, violation: Violation) -> Result<Verdict, Violation> {
        if self.queue.is_empty() { Err(violation) } else { Ok(Verdict::Hold) }
    }

    /// Whether the client is in the middle of a message: nothing may complete that for the backend.
    fn in_message(&self) -> bool {
        matches!(self.state, State::Content(_) | State::Chunk(_) | State::Discarding(_))
    }

    fn client_ended(&mut self, clean: bool, out: &mut Out) -> Verdict {
        if self.in_message() || !clean {
            let reason = match self.queue.front() {
                _ if self.in_message() => reasons::CLIENT_LOST,
                // RFC 5321 §4.1.1.10 has it wait for the 221; many a client does not, and nothing is lost by that.
                Some(Pending::Quit) => reasons::QUIT,
                _ => reasons::CLIENT_CUT,
            };
            self.ending(reason, out);
            if !matches!(self.queue.back(), Some(Pending::Auth)) {
                return self.close();
            }
            // A no often comes late, a yes at once: who need not wait to see which could leave, and would have guessed for nothing.
            self.afterwards = Afterwards::Close;
            return Verdict::More;
        }
        if self.transaction.chunks_began {
            // The last chunk never came.
            out.events.push(Event::Ending(reasons::CLIENT_LOST));
        }
        if self.queue.is_empty() && !self.held {
            return self.close();
        }
        // A client that sent all it had to say may still read the answers.
        self.afterwards = Afterwards::Close;
        Verdict::More
    }

    fn backend_ended(&mut self, out: &mut Out) -> Verdict {
        match self.state {
            // The client has been greeted and has asked nothing yet: RFC 5321 §3.1 gives it a reply to its EHLO.
            State::Greeting(Greeting::Swallow) => {
                out.events.push(Event::Ending(reasons::BACKEND_GONE));
                let reply = replies::farewell(&self.origin.hostname, Farewell::BackendUnavailable);
                self.state = State::Refusing(reply.as_ref().into());
                Verdict::CutBackend
            }
            _ => self.backend_error(reasons::BACKEND_GONE, out),
        }
    }

    fn drain(&mut self, out: &mut Out) -> Verdict {
        // A verdict on a whole message is worth waiting for; half a message has none to come.
        if self.queue.is_empty() || self.in_message() {
            return self.farewell(Farewell::Shutdown, reasons::SHUTDOWN, out);
        }
        self.afterwards = Afterwards::Shutdown;
        Verdict::More
    }
}

impl Dialogue for SmtpDialogue {
    fn receive(&mut self, from: Side, input: &[u8], out: &mut Out) -> Result<Verdict, Violation> {
        if let Some(verdict) = self.settle(from, out)? {
            return Ok(verdict);
        }
        match from {
            Side::Client => {
                let verdict = self.client(input, out)?;
                self.held = verdict == Verdict::Hold;
                // Nothing passes behind AUTH or a response before its answer.
                if matches!((verdict, self.queue.back()), (Verdict::Pass(_), Some(Pending::Auth))) {
                    let guess = self.exchange.as_ref().is_none_or(|exchange| exchange.offers());
                    out.events.push(Event::Attempt { guess });
                }
                let over = self.afterwards == Afterwards::Close && self.queue.is_empty();
                // More is asked for where there will be none.
                Ok(if over && verdict == Verdict::More { self.close() } else { verdict })
            }
            Side::Backend => Ok(self.backend(input, out)),
        }
    }

    fn wants_silence(&self) -> bool {
        self.unheard.is_some()
    }

    fn answered(&mut self) {
        // Our own refusal may still wait for its turn.
        if self.queue.is_empty() {
            self.unheard = None;
        }
    }

    fn ended(&mut self, how: Ended, out: &mut Out) -> Verdict {
        if matches!(self.state, State::Closing) {
            return Verdict::Close;
        }
        match how {
            Ended::ClientEof { clean } => self.client_ended(clean, out),
            Ended::BackendEof => self.backend_ended(out),
            Ended::Deadline(Wait::Command | Wait::Login | Wait::Body) => {
                self.farewell(Farewell::Timeout, reasons::CLIENT_SILENT, out)
            }
            Ended::Deadline(Wait::Greeting | Wait::Reply | Wait::Delivery) => {
                self.backend_error(reasons::BACKEND_SILENT, out)
            }
            Ended::TooManyFailures => self.farewell(Farewell::TooManyFailures, reasons::TOO_MANY_LOGINS, out),
            Ended::TooSlow => self.farewell(Farewell::TooSlow, reasons::TOO_SLOW, out),
            Ended::Drain => self.drain(out),
        }
    }

    fn waiting_for(&self) -> Wait {
        match &self.state {
            State::Greeting(_) => Wait::Greeting,
            State::Replaying(_) => Wait::Reply,
            // Octets for a message that was never begun do not prolong the time to begin one.
            State::Content(_) | State::Chunk(_) | State::Discarding(_) if self.began => Wait::Body,
            State::Content(_) | State::Chunk(_) | State::Discarding(_) => Wait::Login,
            State::Commands | State::SaslResponse | State::Refusing(_) | State::Closing => match self.queue.front() {
                Some(Pending::EndOfData | Pending::Bdat { last: true }) => Wait::Delivery,
                Some(_) => Wait::Reply,
                None if !self.began => Wait::Login,
                // The next chunk of a message is more of its content, and a line without end is as good as one: either
                // could be drawn out at a command's pace, octet by octet, for days.
                None if self.transaction.chunks_began || self.skipped > 0 => Wait::Body,
                None => Wait::Command,
            },
        }
    }
}

#[cfg(test)]
mod tests;
