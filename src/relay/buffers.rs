//! The bytes on their way: what was read and not judged yet, and what was judged and not written yet.
//!
//! An idle session holds none: a buffer is borrowed from the worker's pool for a read and goes back when it is drained.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::iter::once;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWrite;

use crate::buffers::{Fill, LEAST_READ, give_back};

/// Input this small that waits for more moves out of its pooled buffer, so that a slow peer costs what it sent.
const SMALL: usize = 4 * 1024;

/// How many pieces go into one vectored write.
const SLICES: usize = 16;

/// What one side sent and nobody has judged yet.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    bytes: BytesMut,
}

impl Inbox {
    pub(super) fn new(bytes: BytesMut) -> Self {
        Self { bytes }
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Takes the first `n` octets out, uncopied.
    pub(super) fn take(&mut self, n: usize) -> Bytes {
        self.bytes.split_to(n.min(self.bytes.len())).freeze()
    }

    pub(super) fn clear(&mut self) {
        give_back(std::mem::take(&mut self.bytes));
    }

    /// Reads once. `Ok(0)` is the end of the stream.
    pub(super) fn poll_read<S: Fill>(&mut self, stream: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        stream.poll_fill(cx, &mut self.bytes)
    }

    /// Nothing more happens for now: keep no more memory than the octets that wait.
    pub(super) fn rest(&mut self) {
        if self.bytes.is_empty() {
            give_back(std::mem::take(&mut self.bytes));
        } else if self.bytes.len() <= SMALL && self.bytes.capacity() > 2 * SMALL {
            let kept = BytesMut::from(self.as_slice());
            give_back(std::mem::replace(&mut self.bytes, kept));
        }
    }
}

/// What was judged and waits to be written to one side.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Uncopied, in the buffers that they were read into.
    pieces: VecDeque<Bytes>,
    /// Behind them, what came in small pieces while the stream did not take any more.
    tail: BytesMut,
    octets: usize,
    stalled: bool,
    unflushed: bool,
}

impl Outbox {
    pub(super) fn push(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        self.octets += bytes.len();
        self.unflushed = true;
        // A piece keeps the whole buffer that it was read into: a few octets that wait must not cost 64 KiB.
        if self.stalled && bytes.len() < LEAST_READ {
            self.tail.extend_from_slice(&bytes);
            return;
        }
        if !self.tail.is_empty() {
            self.pieces.push_back(self.tail.split().freeze());
        }
        self.pieces.push_back(bytes);
    }

    pub(super) fn len(&self) -> usize {
        self.octets
    }

    /// Whether everything has reached the operating system.
    pub(super) fn is_done(&self) -> bool {
        self.octets == 0 && !self.unflushed
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Writes and flushes as much as the stream takes; ready once nothing is left. Octets written before the stream
    /// stalled are added to `written` all the same.
    pub(super) fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        written: &mut u64,
    ) -> Poll<io::Result<()>> {
        while self.octets > 0 {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut used = 0;
            let waiting = self.pieces.iter().map(AsRef::as_ref).chain(once(self.tail.as_ref()));
            for (slice, piece) in slices.iter_mut().zip(waiting) {
                *slice = IoSlice::new(piece);
                used += 1;
            }
            let filled = slices.get(..used).unwrap_or(&[]);
            let n = match Pin::new(&mut *stream).poll_write_vectored(cx, filled) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => n,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.stalled = true;
                    return Poll::Pending;
                }
            };
            *written += n as u64;
            self.advance(n);
        }
        if self.unflushed {
            ready!(Pin::new(&mut *stream).poll_flush(cx))?;
            self.clear(); // an idle session holds no memory
        }
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, mut n: usize) {
        self.octets = self.octets.saturating_sub(n);
        while let Some(piece) = self.pieces.front_mut() {
            if n < piece.len() {
                piece.advance(n);
                return;
            }
            n -= piece.len();
            self.pieces.pop_front();
        }
        self.tail.advance(n.min(self.tail.len()));
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
        outbox.push(Bytes::from_static(b"stalls"));
        assert!(write(&mut outbox, &mut sink).is_pending());
        let mut held = 0;
        for _ in 0..100 {
            let mut buffer = BytesMut::with_capacity(READ_SIZE);
            buffer.extend_from_slice(b"250 2.0.0 Ok\r\n");
            outbox.push(buffer.split().freeze());
            assert!(write(&mut outbox, &mut sink).is_pending());
            held += usize::from(!buffer.try_reclaim(READ_SIZE));
        }
        assert_eq!(held, 0, "buffers of {READ_SIZE} octets are held by 14 octets each");
        assert_eq!(outbox.len(), 6 + 1400);
    }

    #[test]
    fn pieces_of_any_size_leave_in_their_order_however_the_stream_stalls() {
        let pieces: Vec<Bytes> = [1usize, 5, 20_000, 3, 3, 40_000, 17, 16_384, 2, 100]
            .into_iter()
            .zip(b'a'..)
            .map(|(length, octet)| Bytes::from(vec![octet; length]))
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

    #[test]
    fn input_that_waits_moves_out_of_a_buffer_that_is_too_large_for_it() {
        let mut inbox = Inbox::new(BytesMut::with_capacity(READ_SIZE));
        inbox.bytes.extend_from_slice(b"EHLO");
        inbox.rest();
        assert_eq!(inbox.as_slice(), b"EHLO");
        assert!(inbox.bytes.capacity() <= SMALL, "{}", inbox.bytes.capacity());
    }
}
