//! What was judged and not written yet.
//!
//! A session that has nothing to write holds one pointer; the rest is borrowed from the worker and goes back. What was
//! copied is wiped when it is written: there may be a password in it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::iter::once;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::AsyncWrite;

use crate::buffers::{self, LEAST_READ, give_back, wipe};

/// Pieces up to this size are copied: that costs less than to count who refers to them, and they leave as one.
const COPIED: usize = 1024;

/// How many pieces go into one vectored write.
const SLICES: usize = 64;

/// How many empty queues a worker keeps, and the most octets of memory that one of them then holds.
const KEPT: usize = 4;
const KEPT_TAIL: usize = 8 * 1024;

thread_local! {
    #[expect(clippy::vec_box, reason = "the boxes themselves are what is kept")]
    static SPARE: RefCell<Vec<Box<Queue>>> = const { RefCell::new(Vec::new()) };
}

/// What was judged and waits to be written to one side, or to be flushed.
#[derive(Debug, Default)]
pub(super) struct Outbox(Option<Box<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    pieces: VecDeque<Piece>,
    /// Behind them, what came in small pieces.
    tail: BytesMut,
    octets: usize,
    /// The stream did not take all that it was offered.
    stalled: bool,
}

/// Octets in a buffer of their own.
#[derive(Debug)]
struct Piece {
    octets: BytesMut,
    /// They were copied here; others are where they were read to.
    copied: bool,
}

impl Outbox {
    /// Whether a piece of this size had better be copied than moved.
    pub(super) fn copies(&self, n: usize) -> bool {
        // A piece keeps the whole buffer that it was read into: a few octets that wait must not cost 64 KiB.
        n <= COPIED || (n < LEAST_READ && self.0.as_ref().is_some_and(|queue| queue.stalled))
    }

    /// Adds octets by copying them.
    pub(super) fn push_copy(&mut self, octets: &[u8]) {
        if !octets.is_empty() {
            let queue = self.queue();
            queue.octets += octets.len();
            buffers::append(&mut queue.tail, octets);
        }
    }

    /// Adds octets as they are, in their own memory.
    pub(super) fn push(&mut self, piece: BytesMut) {
        if self.copies(piece.len()) {
            return self.push_copy(&piece);
        }
        let queue = self.queue();
        queue.octets += piece.len();
        if !queue.tail.is_empty() {
            queue.pieces.push_back(Piece { octets: std::mem::take(&mut queue.tail), copied: true });
        }
        queue.pieces.push_back(Piece { octets: piece, copied: false });
    }

    /// Adds all of `octets`, which is left empty and keeps its memory if it is little.
    pub(super) fn append(&mut self, octets: &mut BytesMut) {
        if self.copies(octets.len()) {
            self.push_copy(octets);
            wipe(octets);
            octets.clear();
        } else {
            self.push(std::mem::take(octets));
        }
    }

    fn queue(&mut self) -> &mut Queue {
        self.0.get_or_insert_with(|| SPARE.with_borrow_mut(Vec::pop).unwrap_or_default())
    }

    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |queue| queue.octets)
    }

    /// Whether everything has reached the operating system.
    pub(super) fn is_done(&self) -> bool {
        self.0.is_none()
    }

    /// Forgets what waits, and holds no memory.
    pub(super) fn clear(&mut self) {
        let Some(mut queue) = self.0.take() else { return };
        queue.clear();
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < KEPT {
                spare.push(queue);
            }
        });
    }

    /// Writes and flushes as much as the stream takes; ready once nothing is left. Octets written before the stream
    /// stalled are added to `written` all the same.
    pub(super) fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        written: &mut u64,
    ) -> Poll<io::Result<()>> {
        let Some(queue) = &mut self.0 else { return Poll::Ready(Ok(())) };
        while queue.octets > 0 {
            match queue.poll_write_once(stream, cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => {
                    *written += n as u64;
                    queue.advance(n);
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    queue.stalled = true;
                    return Poll::Pending;
                }
            }
        }
        ready!(Pin::new(stream).poll_flush(cx))?;
        self.clear();
        Poll::Ready(Ok(()))
    }
}

impl Queue {
    fn poll_write_once<S: AsyncWrite + Unpin>(&self, stream: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let stream = Pin::new(stream);
        match (self.pieces.front(), self.pieces.len()) {
            (None, _) => return stream.poll_write(cx, &self.tail),
            (Some(piece), 1) if self.tail.is_empty() => return stream.poll_write(cx, &piece.octets),
            _ => {}
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut used = 0;
        let pieces = self.pieces.iter().map(|piece| &piece.octets);
        let waiting = pieces.chain(once(&self.tail)).filter(|octets| !octets.is_empty());
        for (slice, piece) in slices.iter_mut().zip(waiting) {
            *slice = IoSlice::new(piece);
            used += 1;
        }
        stream.poll_write_vectored(cx, slices.get(..used).unwrap_or(&[]))
    }

    fn advance(&mut self, mut n: usize) {
        self.octets = self.octets.saturating_sub(n);
        while let Some(piece) = self.pieces.front_mut() {
            if n < piece.octets.len() {
                piece.advance(n);
                return;
            }
            n -= piece.octets.len();
            if let Some(piece) = self.pieces.pop_front() {
                piece.give_back();
            }
        }
        if n < self.tail.len() {
            wipe(self.tail.get_mut(..n).unwrap_or_default());
            self.tail.advance(n);
            self.stalled = true;
        } else {
            wipe(&mut self.tail);
            self.tail.clear();
        }
    }

    /// Nothing waits, and only a little memory is left.
    fn clear(&mut self) {
        self.pieces.drain(..).for_each(Piece::give_back);
        self.pieces.shrink_to(SLICES);
        wipe(&mut self.tail);
        // Where only some of it could be written, what it holds is more than it can show.
        if self.stalled || self.tail.capacity() > KEPT_TAIL {
            self.tail = BytesMut::new();
        }
        self.tail.clear();
        self.octets = 0;
        self.stalled = false;
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        wipe(&mut self.tail);
        self.pieces.iter_mut().filter(|piece| piece.copied).for_each(|piece| wipe(&mut piece.octets));
    }
}

impl Piece {
    /// The first `n` octets are written.
    fn advance(&mut self, n: usize) {
        if self.copied {
            wipe(self.octets.get_mut(..n).unwrap_or_default());
        }
        self.octets.advance(n);
    }

    fn give_back(mut self) {
        if self.copied {
            wipe(&mut self.octets);
        }
        give_back(self.octets);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::buffers::READ_SIZE;

    /// Takes as much as there is room for, and keeps it.
    #[derive(Default)]
    struct Sink {
        room: usize,
        got: Arc<Mutex<Vec<u8>>>,
    }

    impl AsyncWrite for Sink {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            let n = buf.len().min(self.room);
            if n == 0 {
                return Poll::Pending;
            }
            self.room -= n;
            self.got.lock().unwrap().extend_from_slice(&buf[..n]);
            Poll::Ready(Ok(n))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn write(outbox: &mut Outbox, sink: &mut Sink) -> Poll<io::Result<()>> {
        outbox.poll_write(sink, &mut Context::from_waker(std::task::Waker::noop()), &mut 0)
    }

    #[test]
    fn a_small_piece_that_waits_does_not_hold_the_buffer_it_was_read_into() {
        let mut outbox = Outbox::default();
        let mut sink = Sink::default();
        outbox.push_copy(b"stalls");
        assert!(write(&mut outbox, &mut sink).is_pending());
        let mut held = 0;
        for _ in 0..100 {
            let mut buffer = BytesMut::with_capacity(READ_SIZE);
            buffer.extend_from_slice(b"250 2.0.0 Ok\r\n");
            outbox.push(buffer.split());
            assert!(write(&mut outbox, &mut sink).is_pending());
            held += usize::from(!buffer.try_reclaim(READ_SIZE));
        }
        assert_eq!(held, 0, "buffers of {READ_SIZE} octets are held by 14 octets each");
        assert_eq!(outbox.len(), 6 + 1400);
    }

    #[test]
    fn pieces_of_any_size_leave_in_their_order_however_the_stream_stalls() {
        let pieces: Vec<BytesMut> = [1usize, 5, 20_000, 3, 3, 40_000, 17, 16_384, 2, 100]
            .into_iter()
            .zip(b'a'..)
            .map(|(length, octet)| BytesMut::from(&vec![octet; length][..]))
            .collect();
        let whole = pieces.concat();
        for room in [1usize, 7, 1000, 16_384, 1 << 20] {
            let mut outbox = Outbox::default();
            let mut sink = Sink::default();
            for piece in &pieces {
                outbox.push(piece.clone());
                sink.room = room.min(200);
                let _ = write(&mut outbox, &mut sink);
            }
            while !outbox.is_done() {
                sink.room = room;
                let _ = write(&mut outbox, &mut sink);
            }
            assert!(*sink.got.lock().unwrap() == whole, "room {room}");
        }
    }
}
