//! The only driver of a [`Dialogue`]: both sockets, all buffers and deadlines; then the splice.
//!
//! One task, both directions. What is judged goes into an outbox; a side is read only while the outboxes
//! are short, so a peer that does not read stops the other from being read.

mod buffers;
#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until};

use self::buffers::{Inbox, Outbox};
use crate::facts::{Outcome, Reason};
use crate::protocol::{Dialogue, Ended, Event, INPUT_LIMIT, Out, Side, Verdict, Wait};
use crate::stop::Stop;

/// Neither side is judged while more than this waits to be written to either.
const HIGH_WATER: usize = 256 * 1024;

/// How long last words may take to leave, and how long a peer may stay after the other one has gone.
const GRACE: Duration = Duration::from_secs(10);

/// How long a session may go on for the replies it still owes, once told to stop.
const DRAIN_GRACE: Duration = Duration::from_secs(5);

const CLOSED: Reason = Reason::new(Outcome::Ok, "closed");
const CLIENT_GONE: Reason = Reason::new(Outcome::ClientError, "client connection lost");
const CLIENT_TRUNCATED: Reason = Reason::new(Outcome::ClientError, "client ended without close_notify");
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
    C: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let mut relay = Relay::new(start, &allowed, &mut hear);
    let mut armed = relay.due;
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
                if relay.due <= Instant::now() {
                    relay.expire();
                }
            }
            () = stopped.as_mut(), if !stopping => {
                stopping = true;
                relay.stop();
            }
        }
        // The timer is moved only when it has fired or would fire too late: progress is far more frequent.
        if relay.due != armed {
            armed = relay.due;
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
    dialogue: Option<Box<dyn Dialogue>>,
    out: Out,
    phase: Phase,
    wait: Wait,
    due: Instant,
    /// When a login must be done, whatever else is waited for in between.
    login_due: Option<Instant>,
    stopping: bool,
    ending: Option<Reason>,
    bytes_in: u64,
    bytes_out: u64,
    allowed: &'a (dyn Fn(Wait) -> Duration + Sync),
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
    C: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    fn new(
        start: Start<C, B>,
        allowed: &'a (dyn Fn(Wait) -> Duration + Sync),
        hear: &'a mut (dyn FnMut(Event) + Send),
    ) -> Self {
        let wait = start.dialogue.waiting_for();
        let mut from_backend = Source::new(start.backend_input);
        if start.backend.is_none() {
            from_backend.input = Input::Ended { clean: true };
        }
        Self {
            client: start.client,
            client_lost: false,
            backend: start.backend,
            bytes_in: start.client_input.len() as u64,
            from_client: Source::new(start.client_input),
            from_backend,
            to_client: Outbox::default(),
            to_backend: Outbox::default(),
            half_closing: HalfClose::No,
            dialogue: Some(start.dialogue),
            out: Out::default(),
            phase: Phase::Judging,
            wait,
            due: Instant::now() + allowed(wait),
            login_due: (wait == Wait::Login).then(|| Instant::now() + allowed(wait)),
            stopping: false,
            ending: None,
            bytes_out: 0,
            allowed,
            hear,
        }
    }

    /// Writes, judges and reads until nothing moves. `armed` is when the session will be woken at the latest.
    fn poll(&mut self, cx: &mut Context<'_>, armed: Instant) -> Poll<Step> {
        loop {
            // The backend goes first: what it says frees what the client holds, and an absent one is known at once.
            let mut progress = self.judge(Side::Backend);
            progress |= self.judge(Side::Client);
            progress |= self.write(cx);
            let mut moved = progress;
            if let Phase::Closing(reason) = self.phase {
                if self.client_lost || self.to_client.is_done() {
                    return Poll::Ready(Step::Done(self.ending.unwrap_or(reason)));
                }
            } else {
                moved |= self.read_backend(cx);
                moved |= self.read_client(cx);
                moved |= self.close_if_over();
            }
            if !moved {
                break;
            }
            self.restart_clock(progress);
        }
        if self.due < armed { Poll::Ready(Step::Rearm) } else { Poll::Pending }
    }

    /// A deadline runs from the moment its wait began or last saw progress, which bytes alone are not;
    /// a login has one deadline in all.
    fn restart_clock(&mut self, progress: bool) {
        if self.phase != Phase::Judging || self.stopping {
            return;
        }
        let Some(dialogue) = &self.dialogue else { return };
        let wait = dialogue.waiting_for();
        if wait == Wait::Login {
            self.wait = wait;
            self.due = *self.login_due.get_or_insert_with(|| Instant::now() + (self.allowed)(wait));
        } else if progress || wait != self.wait {
            self.wait = wait;
            self.due = Instant::now() + (self.allowed)(wait);
        }
    }

    fn expire(&mut self) {
        match self.phase {
            Phase::Closing(reason) => {
                self.client_lost = true; // it does not read; nothing more can be said
                self.ending.get_or_insert(reason);
            }
            Phase::Spliced => self.close(if self.stopping { SHUTDOWN } else { CLOSED }),
            Phase::Judging if self.stopping => self.close(SHUTDOWN),
            Phase::Judging => {
                let reason = match self.wait {
                    Wait::Command | Wait::Login | Wait::Body => TIMEOUT_CLIENT,
                    Wait::Greeting | Wait::Reply | Wait::Delivery => TIMEOUT_BACKEND,
                };
                self.ending.get_or_insert(reason);
                self.tell(Ended::Deadline(self.wait));
                self.close(reason);
            }
        }
    }

    fn stop(&mut self) {
        match self.phase {
            Phase::Judging => {
                self.stopping = true;
                self.ending.get_or_insert(SHUTDOWN);
                self.due = Instant::now() + DRAIN_GRACE;
                self.tell(Ended::Drain);
            }
            // Opaque bytes leave no place for a BYE of ours; the TLS end says it.
            Phase::Spliced => self.close(SHUTDOWN),
            Phase::Closing(_) => {}
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
        self.due = Instant::now() + GRACE;
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

    fn write(&mut self, cx: &mut Context<'_>) -> bool {
        let before = self.bytes_out;
        let mut moved = false;
        if !self.to_client.is_done() && !self.client_lost {
            match self.to_client.poll_write(&mut self.client, cx, &mut self.bytes_out) {
                Poll::Ready(Ok(())) => moved = true,
                Poll::Ready(Err(_)) => {
                    self.lose_client(CLIENT_GONE);
                    return true;
                }
                Poll::Pending => moved = self.bytes_out > before,
            }
        }
        match self.poll_backend_write(cx) {
            Poll::Ready(Some(())) => moved = true,
            Poll::Ready(None) | Poll::Pending => {}
        }
        moved
    }

    /// Ready(Some) when something was written or closed, Ready(None) when there was nothing to do.
    fn poll_backend_write(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        let Some(backend) = &mut self.backend else {
            self.to_backend.clear();
            return Poll::Ready(None);
        };
        if !self.to_backend.is_done() {
            let mut written = 0;
            let result = self.to_backend.poll_write(backend, cx, &mut written);
            if let Poll::Ready(Err(_)) = result {
                // It may have said why before it closed: what it said is still read, and its end then told.
                self.to_backend.clear();
            }
            return match result {
                Poll::Pending if written == 0 => Poll::Pending,
                _ => Poll::Ready(Some(())),
            };
        }
        if self.half_closing == HalfClose::Wanted {
            let _ = ready!(Pin::new(backend).poll_shutdown(cx)); // a failure shows in the next read
            self.half_closing = HalfClose::Done;
            return Poll::Ready(Some(()));
        }
        Poll::Ready(None)
    }

    fn room(&self) -> bool {
        self.to_client.len() < HIGH_WATER && self.to_backend.len() < HIGH_WATER
    }

    fn source(&mut self, side: Side) -> &mut Source {
        match side {
            Side::Client => &mut self.from_client,
            Side::Backend => &mut self.from_backend,
        }
    }

    fn judge(&mut self, side: Side) -> bool {
        let mut moved = false;
        while self.source(side).offer && self.room() && !matches!(self.phase, Phase::Closing(_)) {
            self.source(side).offer = false;
            if self.phase == Phase::Spliced {
                moved |= self.pass_all(side);
                continue;
            }
            let Some(dialogue) = &mut self.dialogue else { break };
            let source = match side {
                Side::Client => &self.from_client,
                Side::Backend => &self.from_backend,
            };
            self.out.now = SystemTime::now();
            let verdict = dialogue.receive(side, source.inbox.as_slice(), &mut self.out);
            self.collect();
            moved |= match verdict {
                Err(violation) => {
                    self.to_client.push(violation.reply);
                    self.close(violation.reason);
                    true
                }
                Ok(verdict) => self.follow(side, verdict),
            };
        }
        moved
    }

    /// What the dialogue added goes out before the bytes that its verdict passes.
    fn collect(&mut self) {
        if !self.out.to_client.is_empty() {
            self.to_client.push(self.out.to_client.split().freeze());
            self.out.to_client = BytesMut::new();
        }
        if !self.out.to_backend.is_empty() {
            self.to_backend.push(self.out.to_backend.split().freeze());
            self.out.to_backend = BytesMut::new();
        }
        for event in self.out.events.drain(..) {
            if let Event::Ending(reason) = event {
                self.ending = Some(reason);
            } else {
                (self.hear)(event);
            }
        }
    }

    fn follow(&mut self, side: Side, verdict: Verdict) -> bool {
        self.source(side).held = verdict == Verdict::Hold;
        match verdict {
            Verdict::More => {
                let end = self.source(side).input;
                if let Input::Ended { clean } = end {
                    self.source(side).input = Input::Told;
                    self.source(side).inbox.clear();
                    self.tell(match side {
                        Side::Client => Ended::ClientEof { clean },
                        Side::Backend => Ended::BackendEof,
                    });
                    return true;
                }
                if self.source(side).inbox.len() >= INPUT_LIMIT {
                    // A dialogue that waits for more than the limit has broken the contract; never wait for ever.
                    self.close(CLIENT_GONE);
                    return true;
                }
                return false;
            }
            Verdict::Hold => return false,
            Verdict::Pass(n) => {
                let bytes = self.source(side).inbox.take(n);
                match side {
                    Side::Client => self.to_backend.push(bytes),
                    Side::Backend => self.to_client.push(bytes),
                }
            }
            Verdict::Drop(n) => drop(self.source(side).inbox.take(n)),
            Verdict::CutBackend => self.cut_backend(),
            Verdict::Splice => {
                self.phase = Phase::Spliced;
                self.dialogue = None;
                self.from_client.held = false;
                self.from_backend.held = false;
                self.due = far_future();
            }
            Verdict::Close => self.close(CLOSED),
        }
        self.from_client.offer = true;
        self.from_backend.offer = true;
        true
    }

    fn tell(&mut self, how: Ended) {
        let Some(dialogue) = &mut self.dialogue else { return };
        self.out.now = SystemTime::now();
        let verdict = dialogue.ended(how, &mut self.out);
        self.collect();
        if how == (Ended::ClientEof { clean: false }) && verdict == Verdict::Close {
            self.ending.get_or_insert(CLIENT_TRUNCATED);
        }
        match verdict {
            Verdict::Close => self.close(CLOSED),
            Verdict::CutBackend => self.cut_backend(),
            _ => {
                if matches!(how, Ended::ClientEof { .. }) {
                    self.half_closing = HalfClose::Wanted;
                }
            }
        }
        self.from_client.offer = true;
        self.from_backend.offer = true;
    }

    fn pass_all(&mut self, side: Side) -> bool {
        let source = self.source(side);
        let bytes = source.inbox.take(usize::MAX);
        let mut moved = !bytes.is_empty();
        let end = source.input;
        if let Input::Ended { .. } = end {
            source.input = Input::Told;
            moved = true;
        }
        match (side, end) {
            (Side::Client, Input::Ended { clean: true }) => {
                self.to_backend.push(bytes);
                self.half_closing = HalfClose::Wanted;
                self.due = Instant::now() + (self.allowed)(Wait::Reply);
            }
            // Cut off, perhaps by somebody on the way: nothing of it may look complete to the backend.
            (Side::Client, Input::Ended { clean: false }) => self.lose_client(CLIENT_TRUNCATED),
            (Side::Client, _) => self.to_backend.push(bytes),
            (Side::Backend, Input::Ended { .. }) => {
                self.to_client.push(bytes);
                self.close(CLOSED);
            }
            (Side::Backend, _) => self.to_client.push(bytes),
        }
        moved
    }

    fn read_client(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.from_client.wants_input() || !self.room() || self.client_lost {
            return false;
        }
        let read = self.from_client.inbox.poll_read(&mut self.client, cx);
        if let Poll::Ready(Ok(n)) = &read {
            self.bytes_in += *n as u64;
        }
        Self::note_read(&mut self.from_client, read)
    }

    fn read_backend(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.from_backend.wants_input() || !self.room() {
            return false;
        }
        let Some(backend) = &mut self.backend else { return false };
        let read = self.from_backend.inbox.poll_read(backend, cx);
        Self::note_read(&mut self.from_backend, read)
    }

    fn note_read(source: &mut Source, read: Poll<io::Result<usize>>) -> bool {
        match read {
            Poll::Pending => return false,
            Poll::Ready(Ok(0)) => source.input = Input::Ended { clean: true },
            Poll::Ready(Ok(_)) => {}
            Poll::Ready(Err(_)) => source.input = Input::Ended { clean: false },
        }
        source.offer = true;
        true
    }
}

/// No deadline: a spliced session may idle as long as both sides like (IDLE, RFC 2177); keepalive finds the dead ones.
fn far_future() -> Instant {
    Instant::now() + Duration::from_secs(86_400 * 365)
}
