//! Where the bytes on their way live: a pool of buffers for each worker thread, borrowed only while bytes flow.

use std::cell::RefCell;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};

/// The size of a pooled buffer, and so of a read: several TLS records at once.
pub const READ_SIZE: usize = 64 * 1024;

/// A read is not worth its system call with less room than one TLS record.
pub const LEAST_READ: usize = 16 * 1024;

/// How many buffers a worker keeps for the next reader.
const POOL: usize = 16;

thread_local! {
    static FREE: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer with room for [`READ_SIZE`] octets.
pub fn borrow() -> BytesMut {
    FREE.with_borrow_mut(Vec::pop).unwrap_or_else(|| BytesMut::with_capacity(READ_SIZE))
}

/// Gives a buffer back to the pool, or to the system if it is not one of the pool's.
pub fn give_back(mut buffer: BytesMut) {
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

/// Octets that wait for more move out of a buffer that is much larger than this and than they are, so that a slow peer
/// costs what it sent.
const SMALL: usize = 4 * 1024;

/// Nothing more happens to `buffer` for now: keep no more memory than the octets in it.
pub fn rest(buffer: &mut BytesMut) {
    if buffer.is_empty() {
        give_back(std::mem::take(buffer));
    } else if buffer.capacity() > 2 * buffer.len().max(SMALL) {
        let kept = BytesMut::from(&buffer[..]);
        give_back(std::mem::replace(buffer, kept));
    }
}

/// A stream that is read with as little copying as it can: what it opened in a buffer of its own changes hands.
pub trait Fill {
    /// Reads what there is behind the octets in `into`, which may be replaced by another buffer if it is empty.
    /// `Ok(0)` is the end. On `Pending` nothing was borrowed for `into` that it does not need.
    fn poll_fill(&mut self, cx: &mut Context<'_>, into: &mut BytesMut) -> Poll<io::Result<usize>>;
}

/// [`Fill::poll_fill`] for a stream that only reads: once, into a pooled buffer.
pub fn fill<S: AsyncRead + Unpin>(
    stream: &mut S,
    cx: &mut Context<'_>,
    into: &mut BytesMut,
) -> Poll<io::Result<usize>> {
    if into.capacity() - into.len() < LEAST_READ {
        let mut larger = borrow();
        larger.extend_from_slice(into);
        larger.reserve(LEAST_READ);
        give_back(std::mem::replace(into, larger));
    }
    pin!(stream.read_buf(into)).poll(cx)
}

impl Fill for tokio::net::TcpStream {
    fn poll_fill(&mut self, cx: &mut Context<'_>, into: &mut BytesMut) -> Poll<io::Result<usize>> {
        fill(self, cx, into)
    }
}

impl Fill for tokio::net::UnixStream {
    fn poll_fill(&mut self, cx: &mut Context<'_>, into: &mut BytesMut) -> Poll<io::Result<usize>> {
        fill(self, cx, into)
    }
}

#[cfg(test)]
impl Fill for tokio::io::DuplexStream {
    fn poll_fill(&mut self, cx: &mut Context<'_>, into: &mut BytesMut) -> Poll<io::Result<usize>> {
        fill(self, cx, into)
    }
}
