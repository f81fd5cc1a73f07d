//! What was read and not judged yet.
//!
//! An idle session holds none: a buffer is borrowed from the worker's pool for a read and goes back when it is drained.
//! Before octets leave a buffer that stays, they are wiped: there may be a password among them. Only what flows on in its
//! own buffer is not; a message's content, say, or a spliced session.

use std::io;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};

use super::outbox::Outbox;
use crate::buffers::{Fill, LARGE_READ, READ_SIZE, borrow_large, give_back, settle, wipe};
use crate::protocol::INPUT_LIMIT;

/// How far one side's input has come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    /// Being read.
    Open,
    /// The end was read; the dialogue does not know yet.
    Ended { clean: bool },
    /// The dialogue knows.
    Told,
}

/// One side as a source of bytes.
pub(super) struct Source {
    pub inbox: Inbox,
    pub input: Input,
    /// The dialogue said `Hold`.
    pub held: bool,
    /// There is something new to judge: bytes, an end, or progress across.
    pub offer: bool,
}

impl Source {
    pub fn new(bytes: BytesMut) -> Self {
        Self { inbox: Inbox::new(bytes), input: Input::Open, held: false, offer: true }
    }

    pub fn wants_input(&self) -> bool {
        self.input == Input::Open && !self.held && !self.offer && self.inbox.len() < INPUT_LIMIT
    }
}

/// What one side sent and nobody has judged yet.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    bytes: BytesMut,
    /// The last read gave as much as a pooled buffer holds: the next one gets a larger buffer.
    bulk: bool,
    storage: Storage,
}

/// What memory an inbox holds.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Storage {
    #[default]
    None,
    /// A few octets' own.
    Own,
    /// A buffer that is larger than what lies in it, or the end of one.
    Borrowed,
}

impl Inbox {
    pub(super) fn new(bytes: BytesMut) -> Self {
        Self { bytes, bulk: false, storage: Storage::Borrowed }
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Sends the first `n` octets on; how many they were. What is `secret` is wiped behind itself, whatever its size.
    pub(super) fn pass(&mut self, n: usize, secret: bool, to: &mut Outbox) -> usize {
        let n = n.min(self.bytes.len());
        match self.bytes.get_mut(..n) {
            Some(octets) if secret || to.copies(n) => {
                to.push_copy(octets);
                wipe(octets);
                self.bytes.advance(n);
            }
            _ => to.push(self.bytes.split_to(n)),
        }
        n
    }

    /// Swallows the first `n` octets.
    pub(super) fn drop(&mut self, n: usize) {
        let n = n.min(self.bytes.len());
        wipe(self.bytes.get_mut(..n).unwrap_or_default());
        self.bytes.advance(n);
    }

    pub(super) fn clear(&mut self) {
        wipe(&mut self.bytes);
        give_back(std::mem::take(&mut self.bytes));
        self.storage = Storage::None;
    }

    /// Reads once. `Ok(0)` is the end of the stream. With a `free` way out, what flows in bulk is read in large units; where it
    /// stalls, a session holds a few small ones.
    pub(super) fn poll_read<S: Fill>(
        &mut self,
        stream: &mut S,
        free: bool,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.bulk && free && self.bytes.is_empty() && stream.reads_in_place() && !self.bytes.try_reclaim(LARGE_READ)
        {
            give_back(std::mem::replace(&mut self.bytes, borrow_large()));
            self.storage = Storage::Borrowed;
        }
        let read = stream.poll_fill(cx, &mut self.bytes);
        if let Poll::Ready(Ok(n)) = read {
            self.bulk = n >= READ_SIZE;
            self.storage = Storage::Borrowed;
        }
        read
    }

    /// Nothing more happens for now: keep no more memory than the octets that wait.
    pub(super) fn rest(&mut self) {
        match self.storage {
            Storage::None => {}
            _ if self.bytes.is_empty() => self.clear(),
            Storage::Borrowed if settle(&mut self.bytes) => self.storage = Storage::Own,
            Storage::Borrowed | Storage::Own => {}
        }
    }

    /// How much memory is held, in octets.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        match self.storage {
            Storage::None => self.bytes.capacity(),
            Storage::Own | Storage::Borrowed => self.bytes.capacity().max(1),
        }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        wipe(&mut self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffers::SMALL;

    /// Fills what room it is given, and remembers how much that was.
    struct Stream {
        has: usize,
        room: Vec<usize>,
    }

    impl Fill for Stream {
        fn poll_fill(&mut self, _: &mut Context<'_>, into: &mut BytesMut) -> Poll<io::Result<usize>> {
            into.reserve(READ_SIZE);
            let room = into.capacity() - into.len();
            let n = self.has.min(room.min(LARGE_READ));
            self.room.push(room);
            into.resize(into.len() + n, b'x');
            Poll::Ready(Ok(n))
        }

        fn reads_in_place(&self) -> bool {
            true
        }
    }

    fn inbox(octets: &[u8]) -> Inbox {
        let mut bytes = BytesMut::with_capacity(READ_SIZE);
        bytes.extend_from_slice(octets);
        Inbox::new(bytes)
    }

    /// Reads once, all that came goes on; the room that there was.
    fn read(inbox: &mut Inbox, stream: &mut Stream, has: usize, free: bool) -> usize {
        stream.has = has;
        assert!(inbox.poll_read(stream, free, &mut Context::from_waker(std::task::Waker::noop())).is_ready());
        inbox.drop(usize::MAX);
        inbox.rest();
        stream.room.pop().unwrap()
    }

    #[test]
    fn input_that_waits_moves_out_of_a_buffer_that_is_too_large_for_it() {
        let mut whole = inbox(b"EHLO");
        whole.rest();
        assert_eq!(whole.as_slice(), b"EHLO");
        assert!(whole.held() <= SMALL, "{}", whole.held());
        // The end of a buffer holds all of it, however little room it has itself.
        let mut end = inbox(&[b'x'; READ_SIZE]);
        end.drop(READ_SIZE - 4);
        let address = end.bytes.as_ptr();
        end.rest();
        assert_eq!(end.as_slice(), b"xxxx");
        assert_ne!(end.bytes.as_ptr(), address);
    }

    #[test]
    fn a_drained_inbox_holds_nothing() {
        for waits in [false, true] {
            let mut inbox = inbox(b"QUIT");
            if waits {
                inbox.rest();
            }
            inbox.drop(4);
            inbox.rest();
            assert_eq!(inbox.held(), 0);
        }
    }

    #[test]
    fn what_flows_in_bulk_is_read_in_large_units_while_its_way_is_free() {
        let (mut inbox, mut stream) = (Inbox::default(), Stream { has: 0, room: Vec::new() });
        assert!(read(&mut inbox, &mut stream, READ_SIZE, true) < LARGE_READ);
        assert!(read(&mut inbox, &mut stream, LARGE_READ, true) >= LARGE_READ);
        assert!(read(&mut inbox, &mut stream, LARGE_READ, false) < LARGE_READ, "its way is stalled");
        assert!(read(&mut inbox, &mut stream, READ_SIZE - 1, true) >= LARGE_READ);
        assert!(read(&mut inbox, &mut stream, 10, true) < LARGE_READ, "it has slowed down");
    }
}
