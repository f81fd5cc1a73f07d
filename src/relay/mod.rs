//! The only driver of a [`Dialogue`]: both sockets, all buffers and deadlines; then the splice.
//!
//! One task, both directions. What is judged goes into an outbox; a side is read only while the outboxes that it may
//! fill are short, so a peer that does not read stops the other from being read.
//!
//! `verdicts` does what the dialogue says, `sockets` reads and writes, `clock` knows when the session is due, `ends` how it ends. What is needed
//! only while a session is polled is in `turn`: sessions are idle most of the time, and there are many.

mod clock;
mod ends;
mod inbox;
mod outbox;
mod pace;
mod sockets;
#[cfg(test)]
mod tests;
mod turn;
mod verdicts;

use std::future::poll_fn;
use std::num::NonZeroU32;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncWrite;
use tokio::task::coop::unconstrained;

use self::clock::{Clock, Moved, Timer};
use self::inbox::{Input, Source};
use self::outbox::Outbox;
use self::turn::Turn;
use crate::buffers::Fill;
use crate::facts::{Outcome, Reason};
use crate::limits::Setback;
use crate::protocol::{Dialogue, Ended, Event, Side, Verdict, Wait};
use crate::stop::Stop;

/// A side is not judged while more than this waits in an outbox that it may fill.
const HIGH_WATER: usize = 256 * 1024;

/// It ended as it should.
pub const CLOSED: Reason = Reason::new(Outcome::Ok, "closed");
const CLIENT_GONE: Reason = Reason::new(Outcome::ClientError, "client connection lost");
/// Nobody knows whether something of it is missing.
pub const CLIENT_TRUNCATED: Reason = Reason::new(Outcome::ClientError, "client ended without close_notify");
const BACKEND_GONE: Reason = Reason::new(Outcome::BackendError, "backend closed the connection");
const BACKEND_LOST: Reason = Reason::new(Outcome::BackendError, "backend connection lost");
const BROKEN_CONTRACT: Reason = Reason::new(Outcome::BackendError, "internal error, please report");
const CLIENT_STUCK: Reason = Reason::new(Outcome::Timeout, "client does not read");
const BACKEND_STUCK: Reason = Reason::new(Outcome::Timeout, "backend does not read");
const SHUTDOWN: Reason = Reason::new(Outcome::Shutdown, "gate is stopping");
/// The client's network has had its share of failed logins.
pub const TOO_MANY_LOGINS: Reason = Reason::new(Outcome::Policy, "too many failed logins from this address");
/// Of those that came before it, so many were being judged for so long.
const TOO_MANY_AT_ONCE: Reason = Reason::new(Outcome::Policy, "too many logins at once from this address");
const TOO_SLOW: Reason = Reason::new(Outcome::Timeout, "message comes in too slowly");
/// It was the client's turn.
pub const TIMEOUT_CLIENT: Reason = Reason::new(Outcome::Timeout, "client silent for too long");
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
    /// The least that must come in of a message, on average, in octets a second; none: any pace will do.
    pub least_rate: Option<NonZeroU32>,
}

/// How a relay ended.
#[derive(Debug)]
#[must_use = "the client's stream is still open"]
pub struct End<C> {
    /// The client, everything for it written, not shut down yet. None when it is gone.
    pub client: Option<C>,
    /// The client has ended its side, in order: nothing more comes from it.
    pub client_ended: bool,
    /// Why.
    pub reason: Reason,
    /// Octets from the client, inside TLS.
    pub bytes_in: u64,
    /// Octets to the client, inside TLS.
    pub bytes_out: u64,
}

/// Relays until both sides are done, a deadline passes, or `stop` turns true and the dialogue has said goodbye.
///
/// `hear` gets the events for the session's record, and says what the client is to bear for them.
pub fn run<C, B>(
    start: Start<C, B>,
    allowed: impl Fn(Wait) -> Duration + Sync,
    mut stop: Stop,
    hear: impl FnMut(Event) -> Setback + Send,
) -> impl Future<Output = End<C>>
where
    C: Fill + AsyncWrite + Unpin,
    B: Fill + AsyncWrite + Unpin,
{
    // Made here and not in the future, which would keep room for `start` for as long as it lives.
    let relay = Relay::new(start, &allowed);
    let mut parts = (relay, Timer::default(), allowed, hear);
    async move {
        let mut stopped = pin!(unconstrained(stop.told())); // as for the timer
        // One reference to all of them: the future that polls lives as long.
        let all = &mut parts;
        let reason = poll_fn(|cx| {
            let (relay, timer, allowed, hear) = &mut *all;
            let mut turn = Turn::new(allowed, hear);
            loop {
                if let Some(reason) = relay.poll(cx, &mut turn) {
                    return Poll::Ready(reason);
                } else if timer.poll(relay.clock.due(), cx).is_ready() {
                    relay.expire(&mut turn);
                } else if !relay.stopping && stopped.as_mut().poll(cx).is_ready() {
                    relay.stop(&mut turn);
                } else {
                    return Poll::Pending;
                }
            }
        })
        .await;
        let relay = parts.0;
        End {
            client: (!relay.client_lost).then_some(relay.client),
            client_ended: relay.client_ended,
            reason,
            bytes_in: relay.bytes_in,
            bytes_out: relay.bytes_out,
        }
    }
}

/// Where the session stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Judging,
    /// Opaque bytes both ways.
    Spliced,
    /// Only the outbox to the client is left.
    Closing,
}

struct Relay<C, B> {
    client: C,
    client_lost: bool,
    /// Its close_notify, or in cleartext its FIN, has been read.
    client_ended: bool,
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
    phase: Phase,
    clock: Clock,
    stopping: bool,
    /// The client has failed too often: what is on its way to it is the last answer.
    enough: bool,
    /// What is to become of a login for which its network has no room yet; nobody is heard meanwhile.
    waiting: Option<Verdict>,
    /// Why the session ends, as far as that is known.
    ending: Option<Reason>,
    bytes_in: u64,
    bytes_out: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum HalfClose {
    No,
    Wanted,
    Done,
}

impl<C, B> Relay<C, B>
where
    C: Fill + AsyncWrite + Unpin,
    B: Fill + AsyncWrite + Unpin,
{
    fn new(start: Start<C, B>, allowed: &dyn Fn(Wait) -> Duration) -> Self {
        let clock = Clock::new(start.dialogue.waiting_for(), start.least_rate, allowed);
        let mut from_backend = Source::new(start.backend_input);
        if start.backend.is_none() {
            from_backend.input = Input::Ended { clean: true };
        }
        Self {
            client: start.client,
            client_lost: false,
            client_ended: false,
            backend: start.backend,
            from_client: Source::new(start.client_input),
            from_backend,
            to_client: Outbox::default(),
            to_backend: Outbox::default(),
            half_closing: HalfClose::No,
            backend_deaf: false,
            dialogue: Some(start.dialogue),
            phase: Phase::Judging,
            clock,
            stopping: false,
            enough: false,
            waiting: None,
            ending: None,
            bytes_in: 0,
            bytes_out: 0,
        }
    }

    /// Judges, writes and reads until nothing moves or it is the others' turn. Gives the reason once the session is over.
    fn poll(&mut self, cx: &mut Context<'_>, turn: &mut Turn<'_>) -> Option<Reason> {
        while !self.clock.is_paused() {
            self.try_again(turn);
            let mut moved = self.judge_all(cx, turn);
            if moved.any() && self.phase == Phase::Judging {
                // Before a pause, too, what is waited for is what was said last.
                self.restart_clock(moved, turn);
            }
            if self.clock.is_paused() {
                break;
            }
            if self.dialogue.as_ref().is_some_and(|dialogue| dialogue.wants_silence())
                && self.read(Side::Client, cx, turn)
            {
                moved.client |= self.judge(Side::Client, turn);
            }
            moved.written = self.write(cx, turn);
            if let Some(dialogue) = &mut self.dialogue
                && self.to_client.is_done()
            {
                dialogue.answered();
                if self.enough {
                    self.enough = false;
                    self.give_up(Ended::TooManyFailures, TOO_MANY_LOGINS, turn);
                }
            }
            if self.phase == Phase::Closing {
                if self.client_lost || self.to_client.is_done() {
                    return Some(self.ending.unwrap_or(CLOSED));
                }
            } else {
                moved.read |= self.read(Side::Backend, cx, turn);
                moved.read |= self.read(Side::Client, cx, turn);
                moved.read |= self.close_if_over(turn);
            }
            if !moved.any() {
                break;
            }
            self.restart_clock(moved, turn);
            if turn.is_over() {
                cx.waker().wake_by_ref();
                break;
            }
        }
        self.from_client.inbox.rest();
        self.from_backend.inbox.rest();
        None
    }

    /// Judges all that is there, and all that can be had without a system call, before any of it is written: what leaves
    /// together costs one write.
    fn judge_all(&mut self, cx: &mut Context<'_>, turn: &mut Turn<'_>) -> Moved {
        let mut all = Moved::default();
        loop {
            // The backend goes first: what it says frees what the client holds, and an absent one is known at once.
            let judged = Moved {
                backend: self.judge(Side::Backend, turn),
                client: self.judge(Side::Client, turn),
                ..Moved::default()
            };
            let read = self.read_at_hand(cx, turn);
            if !judged.any() && !read {
                return all;
            }
            all = Moved {
                backend: all.backend || judged.backend,
                client: all.client || judged.client,
                read: all.read || read,
                written: false,
            };
        }
    }

    fn restart_clock(&mut self, moved: Moved, turn: &mut Turn<'_>) {
        match (self.phase, &self.dialogue) {
            (Phase::Judging, Some(dialogue)) if !self.stopping => {
                let jammed = self.to_backend.len() >= HIGH_WATER;
                self.clock.judging(dialogue.waiting_for(), moved, jammed, turn);
            }
            (Phase::Judging, _) => {}
            (Phase::Spliced, _) => {
                let waits = !self.to_client.is_done() || !self.to_backend.is_done();
                self.clock.spliced(waits || self.from_client.input == Input::Told, moved.any(), turn);
            }
            (Phase::Closing, _) if moved.written => self.clock.heard(turn),
            (Phase::Closing, _) => {}
        }
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
