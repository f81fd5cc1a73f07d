//! The bytes on their way: what was read and not judged yet, and what was judged and not written yet.
//!
//! An idle session holds none: a buffer is borrowed from the worker's pool for a read and goes back when it is drained.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

/// The size of a pooled buffer, and so of a read: several TLS records at once.
const READ_SIZE: usize = 64 * 1024;

/// A read is not worth its system call with less room than one TLS record.
const LEAST_READ: usize = 16 * 1024;

/// How many buffers a worker keeps for the next reader.
const POOL: usize = 16;

/// Input this small that waits for more moves out of its pooled buffer, so that a slow peer costs what it sent.
const SMALL: usize = 4 * 1024;

/// How many pieces go into one vectored write.
const SLICES: usize = 16;

thread_local! {
    static FREE: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

fn borrow_buffer() -> BytesMut {
    FREE.with_borrow_mut(Vec::pop).unwrap_or_else(|| BytesMut::with_capacity(READ_SIZE))
}

fn give_back(mut buffer: BytesMut) {
    buffer.clear();
    // Reclaiming fails while a piece of it still waits to be written; then the last piece frees it.
    if buffer.try_reclaim(READ_SIZE) {
        FREE.with_borrow_mut(|free| {
            if free.len() < POOL {
                free.push(buffer);
            }
        });
    }
}

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
    pub(super) fn poll_read<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.bytes.capacity() - self.bytes.len() < LEAST_READ {
            let mut larger = borrow_buffer();
            larger.extend_from_slice(&self.bytes);
            larger.reserve(LEAST_READ);
            self.bytes = larger;
        }
        let read = pin!(stream.read_buf(&mut self.bytes)).poll(cx);
        if read.is_pending() {
            self.rest();
        }
        read
    }

    /// Nothing more to read for now: keep no more memory than the octets that wait.
    fn rest(&mut self) {
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
    pieces: VecDeque<Bytes>,
    octets: usize,
    flushed: bool,
}

impl Outbox {
    pub(super) fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.octets += bytes.len();
            self.pieces.push_back(bytes);
            self.flushed = false;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.octets
    }

    /// Whether everything has reached the operating system.
    pub(super) fn is_done(&self) -> bool {
        self.octets == 0 && (self.flushed || self.pieces.capacity() == 0)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Writes and flushes as much as the stream takes; ready with the number of octets once nothing is left.
    /// Octets written before the stream stalled are added to `written` all the same.
    pub(super) fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        written: &mut u64,
    ) -> Poll<io::Result<()>> {
        while self.octets > 0 {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut used = 0;
            for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
                *slice = IoSlice::new(piece);
                used += 1;
            }
            let filled = slices.get(..used).unwrap_or(&[]);
            let n = ready!(Pin::new(&mut *stream).poll_write_vectored(cx, filled))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *written += n as u64;
            self.advance(n);
        }
        if !self.is_done() {
            ready!(Pin::new(&mut *stream).poll_flush(cx))?;
            self.flushed = true;
            self.pieces = VecDeque::new();
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
    }
}
