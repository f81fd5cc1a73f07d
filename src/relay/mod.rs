//! The only driver of a [`Dialogue`]: both sockets, all buffers and deadlines; then the splice.
//!
//! One task, both directions. What is judged goes into an outbox; a side is read only while the outboxes that it may
//! fill are short, so a peer that does not read stops the other from being read.
//!
//! `verdicts` does what the dialogue says, `sockets` reads and writes, `clock` knows when the session is due.

mod buffers;
mod clock;
mod sockets;
#[cfg(test)]
mod tests;
mod verdicts;

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncWrite;
use tokio::time::{Instant, sleep_until};

use self::buffers::{Inbox, Outbox};
use self::clock::{Clock, Moved};
use crate::buffers::Fill;
use crate::facts::{Outcome, Reason};
use crate::protocol::{Dialogue, Ended, Event, INPUT_LIMIT, Out, Side, Wait};
use crate::stop::Stop;

/// A side is not judged while more than this waits in an outbox that it may fill.
const HIGH_WATER: usize = 256 * 1024;

const CLOSED: Reason = Reason::new(Outcome::Ok, "closed");
const CLIENT_GONE: Reason = Reason::new(Outcome::ClientError, "client connection lost");
const CLIENT_TRUNCATED: Reason = Reason::new(Outcome::ClientError, "client ended without close_notify");
const BACKEND_GONE: Reason = Reason::new(Outcome::BackendError, "backend closed the connection");
const BACKEND_LOST: Reason = Reason::new(Outcome::BackendError, "backend connection lost");
const BROKEN_CONTRACT: Reason = Reason::new(Outcome::BackendError, "internal error, please report");
const CLIENT_STUCK: Reason = Reason::new(Outcome::Timeout, "client does not read");
const BACKEND_STUCK: Reason = Reason::new(Outcome::Timeout, "backend does not read");
const SHUTDOWN: Reason = Reason::new(Outcome::Shutdown, "gate is stopping");
const TIMEOUT_CLIENT: Reason = Reason::new(Outcome::Timeout, "client silent for too long");
const TIMEOUT_BACKEND: Reason = Reason::new(Outcome::Timeout, "backend silent for too long");

/// What a relay starts from.
pub struct Start<C, B> {
    /// The client, its handshake done.
    pub client: C,
    /// What was read from it already.
    pub client_input: BytesMut,
    /// The backend; none when it could not be reached.
    pub backend: Option<B>,
    /// What was read from it already.
    pub backend_input: BytesMut,
    /// Who judges.
    pub dialogue: Box<dyn Dialogue>,
}

/// How a relay ended.
#[derive(Debug)]
#[must_use = "the client's stream is still open"]
pub struct End<C> {
    /// The client, everything for it written, not shut down yet. None when it is gone.
    pub client: Option<C>,
    /// Why.
    pub reason: Reason,
    /// Octets from the client, inside TLS.
    pub bytes_in: u64,
    /// Octets to the client, inside TLS.
    pub bytes_out: u64,
}

/// Relays until both sides are done, a deadline passes, or `stop` turns true and the dialogue has said goodbye.
pub async fn run<C, B>(
    start: Start<C, B>,
    allowed: impl Fn(Wait) -> Duration + Sync,
    mut stop: Stop,
    mut hear: impl FnMut(Event) + Send,
) -> End<C>
where
    C: Fill + AsyncWrite + Unpin,
    B: Fill + AsyncWrite + Unpin,
{
    let mut relay = Relay::new(start, &allowed, &mut hear);
    let mut armed = relay.clock.due();
    let mut timer = pin!(sleep_until(armed));
    let mut stopped = pin!(stop.told());
    let mut stopping = false;
    let reason = loop {
        tokio::select! {
            biased;
            step = poll_fn(|cx| relay.poll(cx, armed)) => match step {
                Step::Done(reason) => break reason,
                Step::Rearm => {}
            },
            () = timer.as_mut() => {
                if relay.clock.due() <= Instant::now() {
                    relay.expire();
                }
            }
            () = stopped.as_mut(), if !stopping => {
                stopping = true;
                relay.stop();
            }
        }
        // The timer is moved only when it has fired or would fire too late: progress is far more frequent.
        if relay.clock.due() != armed {
            armed = relay.clock.due();
            timer.as_mut().reset(armed);
        }
    };
    End {
        client: (!relay.client_lost).then_some(relay.client),
        reason,
        bytes_in: relay.bytes_in,
        bytes_out: relay.bytes_out,
    }
}

enum Step {
    Done(Reason),
    /// The session must be woken earlier than the timer is armed for.
    Rearm,
}

/// How far one side's input has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Input {
    /// Being read.
    Open,
    /// The end was read; the dialogue does not know yet.
    Ended { clean: bool },
    /// The dialogue knows.
    Told,
}

/// One side as a source of bytes.
struct Source {
    inbox: Inbox,
    input: Input,
    /// The dialogue said `Hold`.
    held: bool,
    /// There is something new to judge: bytes, an end, or progress across.
    offer: bool,
}

impl Source {
    fn new(bytes: BytesMut) -> Self {
        Self { inbox: Inbox::new(bytes), input: Input::Open, held: false, offer: true }
    }

    fn wants_input(&self) -> bool {
        self.input == Input::Open && !self.held && !self.offer && self.inbox.len() < INPUT_LIMIT
    }
}

/// Where the session stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Judging,
    /// Opaque bytes both ways.
    Spliced,
    /// Only the outbox to the client is left.
    Closing(Reason),
}

struct Relay<'a, C, B> {
    client: C,
    client_lost: bool,
    backend: Option<B>,
    from_client: Source,
    from_backend: Source,
    to_client: Outbox,
    to_backend: Outbox,
    /// The client has ended: end the backend's input, too, once all is written.
    half_closing: HalfClose,
    /// A write to the backend failed: octets are missing, and nothing may follow them.
    backend_deaf: bool,
    dialogue: Option<Box<dyn Dialogue>>,
    out: Out,
    phase: Phase,
    clock: Clock<'a>,
    stopping: bool,
    ending: Option<Reason>,
    bytes_in: u64,
    bytes_out: u64,
    hear: &'a mut (dyn FnMut(Event) + Send),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum HalfClose {
    No,
    Wanted,
    Done,
}

impl<'a, C, B> Relay<'a, C, B>
where
    C: Fill + AsyncWrite + Unpin,
    B: Fill + AsyncWrite + Unpin,
{
    fn new(
        start: Start<C, B>,
        allowed: &'a (dyn Fn(Wait) -> Duration + Sync),
        hear: &'a mut (dyn FnMut(Event) + Send),
    ) -> Self {
        let clock = Clock::new(start.dialogue.waiting_for(), allowed);
        let mut from_backend = Source::new(start.backend_input);
        if start.backend.is_none() {
            from_backend.input = Input::Ended { clean: true };
        }
        Self {
            client: start.client,
            client_lost: false,
            backend: start.backend,
            from_client: Source::new(start.client_input),
            from_backend,
            to_client: Outbox::default(),
            to_backend: Outbox::default(),
            half_closing: HalfClose::No,
            backend_deaf: false,
            dialogue: Some(start.dialogue),
            out: Out::default(),
            phase: Phase::Judging,
            clock,
            stopping: false,
            ending: None,
            bytes_in: 0,
            bytes_out: 0,
            hear,
        }
    }

    /// Writes, judges and reads until nothing moves. `armed` is when the session will be woken at the latest.
    fn poll(&mut self, cx: &mut Context<'_>, armed: Instant) -> Poll<Step> {
        loop {
            // The backend goes first: what it says frees what the client holds, and an absent one is known at once.
            let mut moved = Moved { backend: self.judge(Side::Backend), ..Moved::default() };
            moved.client = self.judge(Side::Client);
            moved.written = self.write(cx);
            if let Phase::Closing(reason) = self.phase {
                if self.client_lost || self.to_client.is_done() {
                    return Poll::Ready(Step::Done(self.ending.unwrap_or(reason)));
                }
            } else {
                moved.read = self.read_backend(cx);
                moved.read |= self.read_client(cx);
                moved.read |= self.close_if_over();
            }
            if !moved.any() {
                break;
            }
            self.restart_clock(moved);
        }
        self.from_client.inbox.rest();
        self.from_backend.inbox.rest();
        if self.clock.due() < armed { Poll::Ready(Step::Rearm) } else { Poll::Pending }
    }

    fn restart_clock(&mut self, moved: Moved) {
        match (self.phase, &self.dialogue) {
            (Phase::Judging, Some(dialogue)) if !self.stopping => self.clock.judging(dialogue.waiting_for(), moved),
            (Phase::Judging, _) => {}
            (Phase::Spliced, _) => {
                let waits = !self.to_client.is_done() || !self.to_backend.is_done();
                self.clock.spliced(waits || self.from_client.input == Input::Told, moved.any());
            }
            (Phase::Closing(_), _) if moved.written => self.clock.heard(),
            (Phase::Closing(_), _) => {}
        }
    }

    fn expire(&mut self) {
        match self.phase {
            Phase::Closing(reason) => {
                self.client_lost = true; // it does not read; nothing more can be said
                self.ending.get_or_insert(reason);
            }
            Phase::Spliced if !self.to_client.is_done() => self.lose_client(CLIENT_STUCK),
            Phase::Spliced if !self.to_backend.is_done() => self.close(BACKEND_STUCK),
            Phase::Spliced => self.close(CLOSED),
            Phase::Judging if self.stopping => self.close(SHUTDOWN),
            Phase::Judging => {
                let wait = self.clock.expired();
                let reason = match wait {
                    Wait::Command | Wait::Login | Wait::Body => TIMEOUT_CLIENT,
                    Wait::Greeting | Wait::Reply | Wait::Delivery => TIMEOUT_BACKEND,
                };
                self.ending.get_or_insert(reason);
                self.tell(Ended::Deadline(wait));
                self.close(reason);
            }
        }
    }

    fn stop(&mut self) {
        self.stopping = true;
        match self.phase {
            Phase::Judging => {
                self.ending.get_or_insert(SHUTDOWN);
                self.clock.draining();
                self.tell(Ended::Drain);
            }
            // Opaque bytes leave no place for a BYE of ours; the TLS end says it.
            Phase::Spliced => self.close(SHUTDOWN),
            Phase::Closing(_) => self.clock.closing(true),
        }
    }

    fn close(&mut self, reason: Reason) {
        if matches!(self.phase, Phase::Closing(_)) {
            return;
        }
        self.phase = Phase::Closing(if self.stopping { SHUTDOWN } else { reason });
        self.dialogue = None;
        self.cut_backend();
        self.from_client.inbox.clear();
        self.clock.closing(self.stopping);
    }

    /// Both sides have ended and everything is written: nothing can happen any more.
    fn close_if_over(&mut self) -> bool {
        let over = self.from_client.input == Input::Told && self.from_backend.input == Input::Told;
        if over {
            self.close(CLOSED);
        }
        over
    }

    /// Drops the backend, unfinished: what was not written to it yet never will be.
    fn cut_backend(&mut self) {
        self.backend = None;
        self.to_backend.clear();
        self.from_backend.inbox.clear();
        self.from_backend.input = Input::Told;
    }

    fn lose_client(&mut self, reason: Reason) {
        self.client_lost = true;
        self.to_client.clear();
        self.close(reason);
    }

    /// Whether what a side says may wait for its way out. A backend that does not read may still say why, and spliced
    /// directions know nothing of each other; but a client that is judged may get answers of ours, too.
    fn room(&self, side: Side) -> bool {
        let (client, backend) = (self.to_client.len() < HIGH_WATER, self.to_backend.len() < HIGH_WATER);
        match side {
            Side::Backend => client,
            Side::Client => backend && (client || self.phase == Phase::Spliced),
        }
    }

    fn source(&mut self, side: Side) -> &mut Source {
        match side {
            Side::Client => &mut self.from_client,
            Side::Backend => &mut self.from_backend,
        }
    }
}
