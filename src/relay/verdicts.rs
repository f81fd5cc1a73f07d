//! The driver's ears: what the dialogue says is done.

use tokio::io::AsyncWrite;

use super::turn::Turn;
use super::{
    BACKEND_GONE, BACKEND_LOST, BROKEN_CONTRACT, CLIENT_TRUNCATED, CLOSED, HalfClose, Input, Phase, Relay, SHUTDOWN,
    TOO_MANY_LOGINS,
};
use crate::buffers::Fill;
use crate::limits::Setback;
use crate::protocol::{Ended, Event, INPUT_LIMIT, Side, Verdict, Wait};

impl<C, B> Relay<C, B>
where
    C: Fill + AsyncWrite + Unpin,
    B: Fill + AsyncWrite + Unpin,
{
    /// Lets a side's input be judged for as long as there is something new to it.
    #[inline]
    pub(super) fn judge(&mut self, side: Side, turn: &mut Turn<'_>) -> bool {
        self.source(side).offer && self.judge_offer(side, turn)
    }

    fn judge_offer(&mut self, side: Side, turn: &mut Turn<'_>) -> bool {
        let mut moved = false;
        while self.source(side).offer && self.room(side) && self.phase != Phase::Closing && self.waiting.is_none() {
            self.source(side).offer = false;
            if self.phase == Phase::Spliced {
                moved |= self.pass_all(side, turn);
                continue;
            }
            let Some(dialogue) = &mut self.dialogue else { break };
            let source = match side {
                Side::Client => &self.from_client,
                Side::Backend => &self.from_backend,
            };
            let verdict = dialogue.receive(side, source.inbox.as_slice(), turn.out());
            let setback = self.collect(turn);
            moved |= match verdict {
                Err(violation) => {
                    self.to_client.push_copy(&violation.reply);
                    self.close(violation.reason, turn);
                    true
                }
                Ok(verdict) if side == Side::Client => self.follow_login(verdict, setback, turn),
                Ok(verdict) => self.follow(side, verdict, turn),
            };
        }
        moved
    }

    /// Follows a verdict on what the client said as far as its network's logins allow.
    #[inline]
    fn follow_login(&mut self, verdict: Verdict, setback: Setback, turn: &mut Turn<'_>) -> bool {
        if setback.is_barred {
            self.give_up(Ended::TooManyFailures, TOO_MANY_LOGINS, turn);
            return true;
        }
        if setback.must_wait {
            // A gate that is stopping waits for nobody; but all that waited would be judged at once, and by nobody counted.
            if self.stopping {
                self.give_up(Ended::TooManyFailures, SHUTDOWN, turn);
            } else {
                self.waiting = Some(verdict);
            }
            return true;
        }
        self.follow(Side::Client, verdict, turn)
    }

    /// A login that had to wait has its verdict followed if there is room for it now.
    pub(super) fn try_again(&mut self, turn: &mut Turn<'_>) {
        let Some(verdict) = self.waiting.take() else { return };
        let setback = turn.ask_again();
        self.bear(setback, turn);
        self.follow_login(verdict, setback, turn);
    }

    /// What the dialogue added goes out before the bytes that its verdict passes; what the client is to bear for it.
    fn collect(&mut self, turn: &mut Turn<'_>) -> Setback {
        let out = turn.out();
        if !out.to_client.is_empty() {
            self.to_client.append(&mut out.to_client);
        }
        if !out.to_backend.is_empty() {
            self.to_backend.append(&mut out.to_backend);
        }
        let setback = turn.hear(|event| match event {
            // Whoever is gone has ended it, whatever comes of the rest.
            Event::Ending(_) if self.client_lost => None,
            Event::Ending(reason) => {
                self.ending = Some(reason);
                None
            }
            other => Some(other),
        });
        self.bear(setback, turn);
        setback
    }

    /// The client waits for what is on its way to it, and may have heard its last answer.
    fn bear(&mut self, setback: Setback, turn: &mut Turn<'_>) {
        if !setback.delay.is_zero() && !self.stopping {
            self.clock.pause(turn.now() + setback.delay);
        }
        self.enough |= setback.is_last;
    }

    fn follow(&mut self, side: Side, verdict: Verdict, turn: &mut Turn<'_>) -> bool {
        self.source(side).held = verdict == Verdict::Hold;
        match verdict {
            Verdict::More => {
                let end = self.source(side).input;
                if let Input::Ended { clean } = end {
                    self.source(side).input = Input::Told;
                    self.source(side).inbox.clear();
                    let how = match side {
                        Side::Client => Ended::ClientEof { clean },
                        Side::Backend => Ended::BackendEof,
                    };
                    self.tell(how, turn);
                    return true;
                }
                if self.source(side).inbox.len() >= INPUT_LIMIT {
                    // A dialogue that waits for more than the limit has broken the contract; never wait for ever.
                    self.close(BROKEN_CONTRACT, turn);
                    return true;
                }
                return false;
            }
            Verdict::Hold => return false,
            // Another breach of the contract, which would keep this worker busy for ever.
            Verdict::Pass(0) | Verdict::Drop(0) => self.close(BROKEN_CONTRACT, turn),
            Verdict::Pass(n) => {
                // Lines of a login may be long: a token, or what Kerberos has to say. A message's content is not secret
                // in this sense, and wiping all of it would cost too much.
                let waiting = self.dialogue.as_ref().map(|dialogue| dialogue.waiting_for());
                let content = matches!(waiting, Some(Wait::Body | Wait::Delivery));
                self.pass(side, n, side == Side::Client && !content);
            }
            Verdict::Drop(n) => self.source(side).inbox.drop(n),
            Verdict::CutBackend => self.cut_backend(),
            Verdict::Splice if self.client_lost => self.close(CLOSED, turn),
            Verdict::Splice => {
                self.phase = Phase::Spliced;
                self.dialogue = None;
                self.from_client.held = false;
                self.from_backend.held = false;
            }
            Verdict::Close => self.close(CLOSED, turn),
        }
        self.from_client.offer = true;
        self.from_backend.offer = true;
        true
    }

    /// Tells the dialogue of something other than bytes.
    pub(super) fn tell(&mut self, how: Ended, turn: &mut Turn<'_>) {
        let Some(dialogue) = &mut self.dialogue else { return };
        let verdict = dialogue.ended(how, turn.out());
        self.collect(turn);
        match verdict {
            Verdict::Close => {
                let reason = match how {
                    Ended::ClientEof { clean: false } => CLIENT_TRUNCATED,
                    Ended::BackendEof => BACKEND_GONE,
                    _ => CLOSED,
                };
                self.close(reason, turn);
            }
            Verdict::CutBackend => self.cut_backend(),
            _ => {
                if let Ended::ClientEof { clean } = how {
                    self.half_closing = HalfClose::Wanted;
                    if !clean {
                        // Only what the backend says of its login counts any more.
                        self.client_lost = true;
                        self.ending.get_or_insert(CLIENT_TRUNCATED);
                    }
                }
            }
        }
        self.from_client.offer = true;
        self.from_backend.offer = true;
    }

    /// Sends a side's first `n` octets on; how many there were.
    fn pass(&mut self, side: Side, n: usize, secret: bool) -> usize {
        match side {
            Side::Client => self.from_client.inbox.pass(n, secret, &mut self.to_backend),
            Side::Backend => self.from_backend.inbox.pass(n, secret, &mut self.to_client),
        }
    }

    fn pass_all(&mut self, side: Side, turn: &mut Turn<'_>) -> bool {
        let end = self.source(side).input;
        if (side, end) == (Side::Client, Input::Ended { clean: false }) {
            // Cut off, perhaps by somebody on the way: nothing of it may look complete to the backend.
            self.lose_client(CLIENT_TRUNCATED, turn);
            return true;
        }
        let passed = self.pass(side, usize::MAX, false);
        let Input::Ended { clean } = end else { return passed > 0 };
        self.source(side).input = Input::Told;
        match side {
            Side::Client => self.half_closing = HalfClose::Wanted,
            Side::Backend => {
                // After the client's end it may close in whatever way it likes.
                let ended = clean || self.from_client.input == Input::Told;
                self.close(if ended { CLOSED } else { BACKEND_LOST }, turn);
            }
        }
        true
    }
}
