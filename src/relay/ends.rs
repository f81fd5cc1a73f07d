//! How a session ends: what was due and did not come, the word to stop, a side that is gone.

use tokio::io::AsyncWrite;

use super::clock::Due;
use super::inbox::Input;
use super::turn::Turn;
use super::{
    BACKEND_STUCK, CLIENT_STUCK, CLOSED, HIGH_WATER, Phase, Relay, SHUTDOWN, TIMEOUT_BACKEND, TIMEOUT_CLIENT,
    TOO_MANY_AT_ONCE, TOO_SLOW,
};
use crate::buffers::Fill;
use crate::facts::Reason;
use crate::protocol::{Ended, Wait};

impl<C, B> Relay<C, B>
where
    C: Fill + AsyncWrite + Unpin,
    B: Fill + AsyncWrite + Unpin,
{
    /// A pause is over, or what was waited for did not come.
    pub(super) fn expire(&mut self, turn: &mut Turn<'_>) {
        if self.clock.resume() && (self.waiting.is_none() || !self.clock.is_late()) {
            return;
        }
        match self.phase {
            Phase::Closing => self.client_lost = true, // it does not read; nothing more can be said
            Phase::Spliced if !self.to_client.is_done() => self.lose_client(CLIENT_STUCK, turn),
            Phase::Spliced if !self.to_backend.is_done() => self.close(BACKEND_STUCK, turn),
            Phase::Spliced => self.close(CLOSED, turn),
            Phase::Judging if self.stopping => self.close(SHUTDOWN, turn),
            Phase::Judging if self.waiting.is_some() => {
                self.give_up(Ended::TooManyFailures, TOO_MANY_AT_ONCE, turn);
            }
            Phase::Judging => match self.clock.expired(self.bytes_in, turn) {
                Due::GoOn => {}
                Due::TooSlow => self.give_up(Ended::TooSlow, TOO_SLOW, turn),
                // Whatever is waited for could not come: the backend is not read, either.
                Due::Late(_) if self.to_client.len() >= HIGH_WATER => self.lose_client(CLIENT_STUCK, turn),
                // More of the message could not be read, as long as the backend does not take what there is.
                Due::Late(Wait::Body) if self.to_backend.len() >= HIGH_WATER => {
                    self.give_up(Ended::Deadline(Wait::Delivery), BACKEND_STUCK, turn);
                }
                Due::Late(wait @ (Wait::Command | Wait::Login | Wait::Body)) => {
                    self.give_up(Ended::Deadline(wait), TIMEOUT_CLIENT, turn);
                }
                Due::Late(wait @ (Wait::Greeting | Wait::Reply | Wait::Delivery)) => {
                    self.give_up(Ended::Deadline(wait), TIMEOUT_BACKEND, turn);
                }
            },
        }
    }

    /// Tells the dialogue, and closes; `reason` is the session's unless there was one before.
    pub(super) fn give_up(&mut self, how: Ended, reason: Reason, turn: &mut Turn<'_>) {
        let known = self.ending;
        self.tell(how, turn);
        self.ending = known.or(Some(reason));
        self.close(reason, turn);
    }

    pub(super) fn stop(&mut self, turn: &mut Turn<'_>) {
        self.stopping = true;
        match self.phase {
            Phase::Judging => {
                self.ending.get_or_insert(SHUTDOWN);
                self.clock.draining(turn);
                self.tell(Ended::Drain, turn);
            }
            // Opaque bytes leave no place for a BYE of ours; the TLS end says it.
            Phase::Spliced => self.close(SHUTDOWN, turn),
            Phase::Closing => self.clock.closing(true, turn),
        }
    }

    pub(super) fn close(&mut self, reason: Reason, turn: &mut Turn<'_>) {
        if self.phase == Phase::Closing {
            return;
        }
        self.phase = Phase::Closing;
        self.waiting = None;
        self.ending.get_or_insert(if self.stopping { SHUTDOWN } else { reason });
        self.dialogue = None;
        self.cut_backend();
        self.client.last_words();
        self.from_client.inbox.clear();
        self.clock.closing(self.stopping, turn);
    }

    /// Both sides have ended and everything is written: nothing can happen any more.
    pub(super) fn close_if_over(&mut self, turn: &mut Turn<'_>) -> bool {
        let over = self.from_client.input == Input::Told && self.from_backend.input == Input::Told;
        if over {
            self.close(CLOSED, turn);
        }
        over
    }

    /// Drops the backend, unfinished: what was not written to it yet never will be.
    pub(super) fn cut_backend(&mut self) {
        self.backend = None;
        self.to_backend.clear();
        self.from_backend.inbox.clear();
        self.from_backend.input = Input::Told;
    }

    pub(super) fn lose_client(&mut self, reason: Reason, turn: &mut Turn<'_>) {
        self.client_lost = true;
        self.to_client.clear();
        self.close(reason, turn);
    }
}
