//! What SMTP and IMAP mean, without a socket, a clock or a task.
//!
//! A [`Preamble`] talks cleartext with the client alone and is dropped at STARTTLS. A [`Dialogue`]
//! judges what client and backend say to each other. Both are sans-IO: bytes in, verdicts and bytes
//! out. `relay` owns the sockets, buffers and deadlines and is their only driver.
//!
//! # The contract between a dialogue and its driver
//!
//! - The driver calls [`Dialogue::receive`] with everything that is left of one side's input, also when
//!   that is empty, until the verdict is [`Verdict::More`] or [`Verdict::Hold`]. Progress on one side
//!   (any verdict that consumed something, or `ended`) offers the other side its held bytes again.
//! - Bytes leave in the order of the verdicts. What a call put into [`Out`] goes before the bytes that
//!   the same call's `Pass` sends on.
//! - `Pass(n)` sends the first `n` input octets to the other side uncopied, `Drop(n)` swallows them.
//!   `n` is at least 1.
//! - `More` asks for more input from this side. The driver never holds more than [`INPUT_LIMIT`] octets a
//!   side, so a dialogue bounds what it waits for: lines, literals and replies have limits below that.
//! - `Hold` says that the meaning of these bytes hangs on the other side; this side is not read on.
//! - A [`Violation`] ends the session: the driver flushes what is in `Out`, sends the violation's reply and
//!   closes both sides without completing anything for the backend. A dialogue that still owes the client replies
//!   to earlier commands returns `Hold` until they have passed, and only then the violation: replies keep their order.
//! - A backend reply is passed whole or not at all.
//! - While [`Dialogue::wants_silence`], the driver reads the client before it writes to it, and calls [`Dialogue::answered`] whenever all
//!   that there was for the client has gone out. What was read before that was sent before the answer could be heard.
//! - A verdict that comes with an [`Event::Attempt`] is not followed where the client's network has no failed login left: the dialogue
//!   hears [`Ended::TooManyFailures`] instead. While as many logins of the network are being judged as it has left, the verdict on
//!   another guess waits, and so do both sides.
//! - Cut-anywhere equality: for a given interleaving of the sides, any cutting of the same bytes gives
//!   the same bytes out.

pub mod imap;
pub mod line;
pub mod registry;
pub mod sasl;
pub mod smtp;

use std::sync::Arc;
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};

use crate::facts::{Peer, Reason, SessionId, TlsFacts};
pub use registry::{AuthRule, SERVICES, Service, TlsMode};

/// The most input of one side that the driver holds for a dialogue, in octets.
pub const INPUT_LIMIT: usize = 256 * 1024;

/// Cleartext talk with the client alone. Dropped, never upgraded, at STARTTLS (RFC 3207 §4.2, RFC 9051 §6.2.1).
pub trait Preamble: Send {
    /// Writes the greeting.
    fn greet(&mut self, to_client: &mut BytesMut);

    /// Judges what the client sent; called with all that is left until `next` is not `More` or nothing was consumed.
    ///
    /// # Errors
    /// A [`Violation`] ends the session with its reply.
    fn receive(&mut self, input: &[u8], to_client: &mut BytesMut, events: &mut Vec<Event>) -> Result<Heard, Violation>;

    /// What the client is told when it was silent for too long or the gate is stopping.
    fn farewell(&mut self, why: Farewell, to_client: &mut BytesMut);
}

/// What a preamble made of its input.
#[derive(Debug)]
#[must_use = "consumed bytes must leave the buffer, and `next` says what follows"]
pub struct Heard {
    /// How many octets are done with.
    pub consumed: usize,
    /// What follows.
    pub next: Next,
}

/// Where a preamble leads.
#[derive(Debug)]
pub enum Next {
    /// More cleartext.
    More,
    /// The answer to STARTTLS is in `to_client`; after it only a ClientHello may follow. The driver treats
    /// octets behind the consumed ones as an injection (CVE-2011-0411): it refuses them and closes.
    StartTls,
    /// The client goes on in cleartext, as it may on port 25: dial the backend and hand the rest to a dialogue.
    StayPlain(Opening),
    /// The answer is in `to_client`; close.
    Close,
}

/// What a client that stays in cleartext has already said, and the backend must hear.
#[derive(Debug, Clone)]
pub struct Opening {
    /// The client's last EHLO or HELO line without its CRLF, already answered by the preamble.
    pub hello: Option<Bytes>,
}

/// Judges what either side sent; owns no socket, buffer, clock or task.
pub trait Dialogue: Send {
    /// Judges `input`, all that is left of what `from` sent. See the module's contract.
    ///
    /// # Errors
    /// A [`Violation`] ends the session with its reply.
    fn receive(&mut self, from: Side, input: &[u8], out: &mut Out) -> Result<Verdict, Violation>;

    /// Something other than bytes happened. `More` goes on, without the client if that has ended uncleanly; `CutBackend` keeps the
    /// client alone, `Close` flushes what is in `out` and ends the session; other verdicts make no sense here.
    fn ended(&mut self, how: Ended, out: &mut Out) -> Verdict;

    /// What the session waits for now; the driver picks the deadline (RFC 5321 §4.5.3.2).
    fn waiting_for(&self) -> Wait;

    /// Whether an answer is on its way to the client before which nothing may have come: the driver reads, and has judged, what
    /// is there before it lets the answer go.
    fn wants_silence(&self) -> bool {
        false
    }

    /// All that was said to the client has gone out; what comes from now on may be said in answer.
    fn answered(&mut self) {}
}

/// One of the two peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Who connected to us.
    Client,
    /// Whom we connected to.
    Backend,
}

impl Side {
    /// The one across.
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Backend,
            Self::Backend => Self::Client,
        }
    }
}

/// What to do with the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "unjudged bytes stall both peers"]
pub enum Verdict {
    /// Wait for more input of this side.
    More,
    /// Keep this side's input until the other side made progress.
    Hold,
    /// Send the first `n` octets to the other side.
    Pass(usize),
    /// Swallow the first `n` octets.
    Drop(usize),
    /// Close the backend, unfinished, and go on with the client alone. Consumes nothing; the backend's unread input is gone, and its end
    /// is not told.
    CutBackend,
    /// Pass the rest of the input and all that follows, both ways, unseen.
    Splice,
    /// Flush what is in `Out`, then close both sides.
    Close,
}

/// Something other than bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The client will send nothing more; `clean` unless TLS ended without a close_notify or the connection was reset.
    ClientEof {
        /// Whether the end was authenticated.
        clean: bool,
    },
    /// The backend is gone, or could not be reached in the first place.
    BackendEof,
    /// What [`Dialogue::waiting_for`] named did not come in time.
    Deadline(Wait),
    /// The client's message comes in, but slower than the administrator allows.
    TooSlow,
    /// The client's network has used up the failed logins that it has.
    TooManyFailures,
    /// The gate is stopping and the time to finish is over.
    Drain,
}

/// What a session waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wait {
    /// The client's next command (RFC 5321 §4.5.3.2.7).
    Command,
    /// The client's login (IMAP) or its first MAIL or AUTH (SMTP).
    Login,
    /// More of the client's message (RFC 5321 §4.5.3.2.5).
    Body,
    /// The backend's greeting (RFC 5321 §4.5.3.2.1).
    Greeting,
    /// The backend's reply to a command.
    Reply,
    /// The backend's verdict on a message (RFC 5321 §4.5.3.2.6).
    Delivery,
}

/// What a dialogue adds of its own.
#[derive(Debug)]
pub struct Out {
    /// Bytes for the client.
    pub to_client: BytesMut,
    /// Bytes for the backend.
    pub to_backend: BytesMut,
    /// Events for the session's log record.
    pub events: Vec<Event>,
    /// The time, set by the driver before each call.
    pub now: SystemTime,
}

impl Default for Out {
    fn default() -> Self {
        Self {
            to_client: BytesMut::new(),
            to_backend: BytesMut::new(),
            events: Vec::new(),
            now: SystemTime::UNIX_EPOCH,
        }
    }
}

/// What the session's record wants to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The client's name for itself, its grammar enforced (`?` for what does not belong).
    Helo(String),
    /// A command was heard; `ok` tells whether its answer was positive. Counted for the closing line as Postfix does (`mail=1 rcpt=0/1`).
    Command {
        /// Lower case: `ehlo`, `starttls`, `mail`, …, `unknown`.
        name: &'static str,
        /// Whether it succeeded.
        ok: bool,
    },
    /// The verdict that comes with it sends a login to the backend, or more of one.
    Attempt {
        /// The backend may judge it by that. What only begins a login, names a user or cancels is no guess: whoever sends that and is
        /// silent must not be in the way of others.
        guess: bool,
    },
    /// The backend has answered that, as the events before it tell: until the client says more it judges no login.
    Answered,
    /// The backend has judged a login. One that was cancelled before that, malformed, out of place or not judged for want of
    /// something over there is none: whoever counts failures bans clients for them. The password is never here.
    Auth {
        /// Upper case: `PLAIN`, `LOGIN`, …; `?` for octets outside the grammar.
        method: String,
        /// The user name, where the mechanism shows it.
        user: Option<String>,
        /// Whether the backend said yes.
        ok: bool,
    },
    /// The backend answered a login that was whole without a word on its credentials: nobody's failure but its own.
    Unjudged {
        /// As above.
        method: String,
        /// Likewise.
        user: Option<String>,
        /// Why, as far as the backend says.
        reason: Reason,
    },
    /// The backend gave its verdict on a message.
    Message {
        /// Whether it took it.
        accepted: bool,
    },
    /// What the backend's EHLO or greeting announced, for what the next session is told before it has a backend.
    Learned(Learned),
    /// The gate refused something and the session went on.
    Refused(Reason),
    /// How the session ends, where the dialogue knows better than the driver.
    Ending(Reason),
}

/// A breach of the protocol or of the gate's rules, with the reply that the protocol owes for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", reason.phrase)]
pub struct Violation {
    /// For the log.
    pub reason: Reason,
    /// For the client, CRLF included; empty where the protocol leaves nothing to say.
    pub reply: Bytes,
}

/// Why the gate says goodbye outside a dialogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Farewell {
    /// Nothing was heard for too long.
    Timeout,
    /// A message comes in too slowly.
    TooSlow,
    /// The gate is stopping.
    Shutdown,
    /// Octets came behind STARTTLS in cleartext (CVE-2011-0411).
    Injection,
    /// The listener's or the address' connection limit.
    TooManyConnections,
    /// Too many handshakes or logins from the address have failed.
    TooManyFailures,
    /// The backend cannot be reached or is not to be trusted.
    BackendUnavailable,
}

/// Backend capabilities that are repeated before the backend is dialled: EHLO keyword lines without code and CRLF, or IMAP
/// capabilities.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Learned {
    /// Line after line, each with a CRLF: every session learns, so this is one piece of memory.
    text: String,
}

impl Learned {
    /// Nothing, and room for keywords of so many octets in all.
    pub fn with_capacity(octets: usize) -> Self {
        Self { text: String::with_capacity(octets) }
    }

    /// Takes one keyword more, its parameters behind it, that the service's allow-list admits.
    pub fn push(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push_str("\r\n");
    }

    /// One entry a keyword.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.text.split_terminator("\r\n")
    }
}

impl<S: AsRef<str>> FromIterator<S> for Learned {
    fn from_iter<I: IntoIterator<Item = S>>(lines: I) -> Self {
        let mut learned = Self::default();
        lines.into_iter().for_each(|line| learned.push(line.as_ref()));
        learned
    }
}

/// What a bare CR or LF inside DATA means, and a NUL at the beginning of a line, which could hide a dot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BareNewline {
    /// Re-encoded as CRLF and re-dot-stuffed, the NULs taken away: never an end of data.
    #[default]
    Normalize,
    /// The message is refused.
    Reject,
}

/// What an administrator may set about a dialogue.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Bare CR and LF in DATA.
    pub bare_newline: BareNewline,
    /// Whether Received names the authenticated user.
    pub received_user: bool,
    /// After this many refused commands the session is closed.
    pub max_errors: u32,
}

impl Default for Rules {
    fn default() -> Self {
        Self { bare_newline: BareNewline::Normalize, received_user: false, max_errors: 20 }
    }
}

/// What a protocol must know of its session.
#[derive(Debug, Clone)]
pub struct Context {
    /// Our own name.
    pub hostname: Arc<str>,
    /// The session's identifier.
    pub session: SessionId,
    /// The service the client came for.
    pub service: &'static Service,
    /// The client.
    pub peer: Peer,
    /// The session's TLS; none while or where it is plaintext.
    pub tls: Option<Arc<TlsFacts>>,
    /// The administrator's settings.
    pub rules: Arc<Rules>,
    /// What the backend announced last time.
    pub learned: Arc<Learned>,
}

/// A protocol: makes its two state machines and knows how to say goodbye.
pub trait Protocol: Sync {
    /// `smtp` or `imap`, for logs.
    fn name(&self) -> &'static str;

    /// Our greeting inside TLS, where that comes first, CRLF included.
    fn greeting(&self, context: &Context) -> Bytes;

    /// What a client inside TLS is answered without a backend, where its first words are no more than a question that the
    /// greeting answers as well; CRLF included. The words leave no trace.
    fn answer(&self, context: &Context, words: &[u8]) -> Option<(Bytes, Event)>;

    /// What a client that took us for another service gets, where its first words inside TLS show that; no backend is asked.
    fn foreign(&self, words: &[u8]) -> Option<Violation>;

    /// The cleartext talk before TLS.
    fn preamble(&self, context: &Context) -> Box<dyn Preamble>;

    /// The talk with the backend. `opening` is there when the client stayed in cleartext.
    fn dialogue(&self, context: &Context, opening: Option<Opening>) -> Box<dyn Dialogue>;

    /// The one line for a client that is turned away before anything was said, CRLF included.
    fn farewell(&self, hostname: &str, why: Farewell) -> Bytes;
}
