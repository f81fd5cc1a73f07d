//! What follows DATA (RFC 5321 §4.1.1.4) and BDAT (RFC 3030 §2).

use std::time::SystemTime;

use bytes::{BufMut, BytesMut};

use super::pending::Pending;
use super::{SmtpDialogue, State};
use crate::protocol::smtp::body::{Found, Scanner};
use crate::protocol::smtp::command::{self, Bdat};
use crate::protocol::smtp::received::{self, Trace};
use crate::protocol::smtp::{reasons, replies};
use crate::protocol::{BareNewline, Event, Out, Verdict, Violation};

/// Proper content from this size on is not copied, even between repairs.
const BULK: usize = 4096;

/// Content behind DATA.
pub(super) struct Content {
    /// When the backend asked for it: the Received field's date, which does not hang on how the content comes in.
    at: SystemTime,
    scanner: Scanner,
    /// The Received field has gone ahead.
    began: bool,
}

/// A chunk behind BDAT.
pub(super) struct Chunk {
    left: u64,
    to: Sink,
}

/// Who gets a chunk.
#[derive(Clone, Copy)]
enum Sink {
    /// The backend.
    Backend,
    /// Nobody: it was refused, but its octets come all the same, and they are no commands.
    Nobody,
}

impl Content {
    pub(super) fn new(at: SystemTime) -> Self {
        Self { at, scanner: Scanner::new(), began: false }
    }
}

impl SmtpDialogue {
    /// Judges content behind a 354.
    pub(super) fn content(&mut self, input: &[u8], out: &mut Out) -> Verdict {
        let State::Content(Content { at, mut scanner, began }) = self.state else { return Verdict::More };
        if !began {
            let before = scanner;
            if let Some(n) = scanner.swallow_nul(input) {
                if self.origin.rules.bare_newline == BareNewline::Reject {
                    return self.reject(before, out);
                }
                self.state = State::Content(Content { at, scanner, began });
                return Verdict::Drop(n);
            }
            // The field stands right before the content, and an empty line between them if they would fold together.
            let Some(apart) = scanner.begins_folded(input) else { return Verdict::More };
            self.received(at, apart, &mut out.to_backend);
        }
        let mut done = 0;
        let verdict = loop {
            let rest = input.get(done..).unwrap_or_default();
            let before = scanner;
            match scanner.scan(rest) {
                // A read often ends within a newline; its CR waits, but what stands before it does not.
                Found::Clean(n) if done == 0 && (n >= BULK || n + 1 >= rest.len()) => break Verdict::Pass(n),
                Found::Clean(n) if n < BULK => {
                    out.to_backend.put_slice(rest.get(..n).unwrap_or_default());
                    done += n;
                }
                Found::End(n) if done == 0 => {
                    self.end_content();
                    return Verdict::Pass(n);
                }
                // What was rewritten leaves first; these octets are scanned again, and passed.
                Found::Clean(_) | Found::End(_) => {
                    scanner = before;
                    break Verdict::Drop(done);
                }
                Found::Mend(_) if self.origin.rules.bare_newline == BareNewline::Reject => {
                    if done == 0 {
                        return self.reject(before, out);
                    }
                    scanner = before;
                    break Verdict::Drop(done);
                }
                Found::Mend(mend) => {
                    out.to_backend.put_slice(mend.insert);
                    done += mend.swallow;
                }
                Found::Undecided if done == 0 => break Verdict::More,
                Found::Undecided => break Verdict::Drop(done),
            }
        };
        self.state = State::Content(Content { at, scanner, began: true });
        verdict
    }

    fn end_content(&mut self) {
        self.queue.push(Pending::EndOfData);
        self.state = State::Commands;
    }

    /// The backend never sees an end of this message; the client is answered when it has sent it all.
    fn reject(&mut self, scanner: Scanner, out: &mut Out) -> Verdict {
        out.events.push(Event::Command { name: "data", ok: false });
        out.events.push(Event::Message { accepted: false });
        // However the session ends from here on, this is why.
        out.events.push(Event::Ending(reasons::BARE_NEWLINE_IN_DATA));
        self.state = State::Discarding(scanner);
        Verdict::CutBackend
    }

    /// Judges what is left of a rejected message.
    pub(super) fn discard(&mut self, input: &[u8], out: &mut Out) -> Verdict {
        let State::Discarding(mut scanner) = self.state else { return Verdict::More };
        let mut done = 0;
        loop {
            match scanner.scan(input.get(done..).unwrap_or_default()) {
                Found::Clean(n) => done += n,
                Found::Mend(mend) => done += mend.swallow,
                Found::End(n) => {
                    out.to_client.put_slice(replies::BARE_NEWLINE_IN_DATA);
                    self.state = State::Closing;
                    return Verdict::Drop(done + n);
                }
                Found::Undecided => break,
            }
        }
        self.state = State::Discarding(scanner);
        if done == 0 { Verdict::More } else { Verdict::Drop(done) }
    }

    /// Judges BDAT and its argument; the command has `len` octets at the beginning of `input`.
    pub(super) fn bdat(
        &mut self,
        argument: &[u8],
        input: &[u8],
        len: usize,
        out: &mut Out,
    ) -> Result<Verdict, Violation> {
        let Some(Bdat { size, last }) = command::bdat(argument) else {
            return self.violate(reasons::BAD_CHUNK.violation(replies::BDAT_SYNTAX));
        };
        if !self.chunking {
            // A backend that does not know BDAT would take the octets for commands, which nobody has judged.
            let verdict = self.refuse("bdat", len, replies::NO_CHUNKING, reasons::NO_CHUNKING, out);
            self.await_chunk(size, Sink::Nobody);
            return Ok(verdict);
        }
        // Whether this is a message's first chunk, and for whom, is known when all before it is answered; chunks of one
        // message may follow each other at once.
        let first = !self.transaction.chunks_began;
        if !matches!((self.queue.back(), first), (None, _) | (Some(Pending::Bdat { .. }), false)) {
            return Ok(Verdict::Hold);
        }
        let content = input.get(len..).unwrap_or_default();
        let mut field = BytesMut::new();
        if first && self.transaction.accepted > 0 && (size > 0 || last) {
            let apart = match content.first() {
                // RFC 5322 §2.2.3: content that begins with white space would fold into the field.
                Some(octet) if size > 0 => matches!(octet, b' ' | b'\t'),
                None if size > 0 => return Ok(Verdict::More),
                _ => false,
            };
            self.received(out.now, apart, &mut field);
        }
        // A chunk of our own would have a reply of its own; so the field rides in the client's. The size cannot overflow:
        // `command::bdat` leaves room above it.
        let total = size.saturating_add(u64::try_from(field.len()).unwrap_or(u64::MAX));
        // Always written anew: how a backend reads `0010` is not known.
        let command = format!("BDAT {total}{}\r\n", if last { " LAST" } else { "" });
        out.to_backend.put_slice(command.as_bytes());
        out.to_backend.put_slice(&field);
        self.transaction.chunks_began = !last && (!first || !field.is_empty());
        self.queue.push(Pending::Bdat { last });
        self.await_chunk(size, Sink::Backend);
        Ok(Verdict::Drop(len))
    }

    fn await_chunk(&mut self, left: u64, to: Sink) {
        if left > 0 {
            self.state = State::Chunk(Chunk { left, to });
        }
    }

    /// Counts a chunk's octets, which are nobody's business but the backend's.
    pub(super) fn chunk(&mut self, input: &[u8]) -> Verdict {
        let State::Chunk(chunk) = &mut self.state else { return Verdict::More };
        let n = usize::try_from(chunk.left).map_or(input.len(), |left| left.min(input.len()));
        chunk.left = chunk.left.saturating_sub(u64::try_from(n).unwrap_or(u64::MAX));
        let to = chunk.to;
        if chunk.left == 0 {
            self.state = State::Commands;
        }
        match to {
            Sink::Backend => Verdict::Pass(n),
            Sink::Nobody => Verdict::Drop(n),
        }
    }

    /// Writes the Received field of one more message.
    fn received(&mut self, at: SystemTime, apart: bool, to: &mut BytesMut) {
        self.messages = self.messages.saturating_add(1);
        let trace = Trace {
            hello: self.hello.as_ref(),
            user: self.user.as_deref(),
            utf8: self.transaction.utf8,
            recipient: (self.transaction.accepted == 1).then_some(&*self.transaction.recipient),
            number: self.messages,
            at,
            apart,
        };
        received::write(&self.origin, &trace, to);
    }
}
