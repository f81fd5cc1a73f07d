//! The driver's ears: what the dialogue says is done.

use std::time::SystemTime;

use bytes::BytesMut;
use tokio::io::AsyncWrite;

use super::{BACKEND_GONE, BACKEND_LOST, BROKEN_CONTRACT, CLIENT_TRUNCATED, CLOSED, HalfClose, Input, Phase, Relay};
use crate::buffers::Fill;
use crate::protocol::{Ended, Event, INPUT_LIMIT, Side, Verdict};

impl<C, B> Relay<'_, C, B>
where
    C: Fill + AsyncWrite + Unpin,
    B: Fill + AsyncWrite + Unpin,
{
    /// Lets a side's input be judged for as long as there is something new to it.
    pub(super) fn judge(&mut self, side: Side) -> bool {
        let mut moved = false;
        while self.source(side).offer && self.room(side) && !matches!(self.phase, Phase::Closing(_)) {
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
                    self.close(BROKEN_CONTRACT);
                    return true;
                }
                return false;
            }
            Verdict::Hold => return false,
            // Another breach of the contract, which would keep this worker busy for ever.
            Verdict::Pass(0) | Verdict::Drop(0) => self.close(BROKEN_CONTRACT),
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
            }
            Verdict::Close => self.close(CLOSED),
        }
        self.from_client.offer = true;
        self.from_backend.offer = true;
        true
    }

    /// Tells the dialogue of something other than bytes.
    pub(super) fn tell(&mut self, how: Ended) {
        let Some(dialogue) = &mut self.dialogue else { return };
        self.out.now = SystemTime::now();
        let verdict = dialogue.ended(how, &mut self.out);
        self.collect();
        match verdict {
            Verdict::Close => self.close(match how {
                Ended::ClientEof { clean: false } => CLIENT_TRUNCATED,
                Ended::BackendEof => BACKEND_GONE,
                _ => CLOSED,
            }),
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
            }
            // Cut off, perhaps by somebody on the way: nothing of it may look complete to the backend.
            (Side::Client, Input::Ended { clean: false }) => self.lose_client(CLIENT_TRUNCATED),
            (Side::Client, _) => self.to_backend.push(bytes),
            (Side::Backend, Input::Ended { clean }) => {
                self.to_client.push(bytes);
                // After the client's end it may close in whatever way it likes.
                let ended = clean || self.from_client.input == Input::Told;
                self.close(if ended { CLOSED } else { BACKEND_LOST });
            }
            (Side::Backend, _) => self.to_client.push(bytes),
        }
        moved
    }
}
