//! Where the bytes on their way live: a pool of buffers for each worker thread, borrowed only while bytes flow.

use std::cell::RefCell;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The size of a pooled buffer in octets, and so of a read: several TLS records at once.
pub const READ_SIZE: usize = 64 * 1024;

/// A read is not worth its system call with less room than one TLS record.
pub const LEAST_READ: usize = 16 * 1024;

/// The most octets that one read or write moves: where bytes flow in bulk, fewer system calls move them.
pub const LARGE_READ: usize = 256 * 1024;

/// The size of a large buffer in octets: [`LARGE_READ`] of plaintext in TLS records fit in (RFC 8446 §5.2, RFC 5246 §6.2.3:
/// 16 KiB each and less than 64 octets around them).
pub const LARGE_SIZE: usize = LARGE_READ + 4 * 1024;

/// Octets that wait move out of their pooled buffer if they are no more than this.
pub const SMALL: usize = 4 * 1024;

/// How many buffers of each size a worker keeps for the next reader. One session's turn uses up to three at once.
const KEPT: usize = 4;
const KEPT_LARGE: usize = 2;

/// After so many borrowings of a small buffer and none of a large one, a large one goes back to the system.
const QUIET: u32 = 64;

#[derive(Default)]
struct Pool {
    small: Vec<BytesMut>,
    large: Vec<BytesMut>,
    /// How many small buffers were borrowed since a large one was.
    quiet: u32,
}

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { small: Vec::new(), large: Vec::new(), quiet: 0 }) };
}

impl Pool {
    fn borrow(&mut self) -> BytesMut {
        if !self.large.is_empty() {
            self.quiet += 1;
            if self.quiet >= QUIET {
                self.quiet = 0;
                self.large.pop();
            }
        }
        self.small.pop().unwrap_or_else(|| BytesMut::with_capacity(READ_SIZE))
    }

    fn borrow_large(&mut self) -> BytesMut {
        self.quiet = 0;
        self.large.pop().unwrap_or_else(|| BytesMut::with_capacity(LARGE_SIZE))
    }

    fn give_back(&mut self, mut buffer: BytesMut) {
        buffer.clear();
        // Reclaiming fails while a piece of it still waits to be written; then the last piece gives it back. The end of a
        // large buffer may have more room than a small one all the same.
        let (free, kept) = if buffer.try_reclaim(LARGE_SIZE) {
            (&mut self.large, KEPT_LARGE)
        } else if buffer.try_reclaim(READ_SIZE) && buffer.capacity() == READ_SIZE {
            (&mut self.small, KEPT)
        } else {
            return;
        };
        if free.len() < kept {
            free.push(buffer);
        }
    }
}

/// An empty buffer with room for [`READ_SIZE`] octets.
pub fn borrow() -> BytesMut {
    POOL.with_borrow_mut(Pool::borrow)
}

/// An empty buffer with room for [`LARGE_SIZE`] octets, for bytes that flow in bulk.
pub fn borrow_large() -> BytesMut {
    POOL.with_borrow_mut(Pool::borrow_large)
}

/// Gives a buffer back to the pool, or to the system if it is not one of the pool's or the pool is full. Pieces that were
/// split from one may be given back in any order.
pub fn give_back(buffer: BytesMut) {
    POOL.with_borrow_mut(|pool| pool.give_back(buffer));
}

/// How many buffers of [`READ_SIZE`] this thread's pool has to lend.
#[cfg(test)]
pub fn at_rest() -> usize {
    POOL.with_borrow(|pool| pool.small.len())
}

/// Octets that wait for others: if they are few, they move out of their pooled buffer, so that they cost no more than they are.
/// Whether they did.
pub fn settle(octets: &mut BytesMut) -> bool {
    if octets.len() > SMALL {
        return false;
    }
    let own = BytesMut::from(&octets[..]);
    wipe(octets);
    give_back(std::mem::replace(octets, own));
    true
}

/// Overwrites octets that are done with and may have been somebody's password, before their memory is somebody else's.
pub fn wipe(octets: &mut [u8]) {
    octets.fill(0);
    zeroize::optimization_barrier(octets); // nobody reads the zeros, which would be reason to leave them out
}

/// Appends octets, without leaving those that are there behind in memory that they move out of.
pub fn append(into: &mut BytesMut, octets: &[u8]) {
    if !into.is_empty() && into.capacity() - into.len() < octets.len() {
        let mut larger = BytesMut::with_capacity((into.len() + octets.len()).next_power_of_two());
        larger.extend_from_slice(into);
        wipe(into);
        give_back(std::mem::replace(into, larger));
    }
    into.extend_from_slice(octets);
}

/// A stream that is read with as little copying as it can: what it opened in a buffer of its own changes hands.
pub trait Fill {
    /// Reads what there is behind the octets in `into`, which may be replaced by another buffer if it is empty.
    /// `Ok(0)` is the end. On `Pending` nothing was borrowed for `into` that it does not need.
    fn poll_fill(&mut self, cx: &mut Context<'_>, into: &mut BytesMut) -> Poll<io::Result<usize>>;

    /// Whether `poll_fill` has more to give without a system call: records that came with one read, say.
    fn has_more(&self) -> bool {
        false
    }

    /// Whether `poll_fill` lets the system write straight into `into`, so that a larger buffer there makes a larger read.
    fn reads_in_place(&self) -> bool {
        false
    }

    /// What is written from here on are last words: they may wait for the end of the connection, which comes right behind
    /// them.
    fn last_words(&mut self) {}
}

/// [`Fill::poll_fill`] for a stream that only reads: once, into a pooled buffer, and [`LARGE_READ`] octets at most.
pub fn fill<S: AsyncRead + Unpin>(
    stream: &mut S,
    cx: &mut Context<'_>,
    into: &mut BytesMut,
) -> Poll<io::Result<usize>> {
    // The buffer in hand is in the processor's cache; another one of the pool's may not be.
    let again = into.is_empty() && into.try_reclaim(READ_SIZE);
    let mut tight = None;
    if !again && into.capacity() - into.len() < LEAST_READ {
        let mut larger = borrow();
        larger.extend_from_slice(into);
        larger.reserve(LEAST_READ);
        tight = Some(std::mem::replace(into, larger));
    }
    let read = pin!(stream.read_buf(&mut into.limit(LARGE_READ))).poll(cx);
    match (read.is_pending(), tight) {
        (false, None) => {}
        (false, Some(old)) => give_back(old),
        (true, Some(old)) => give_back(std::mem::replace(into, old)),
        (true, None) if into.is_empty() => give_back(std::mem::take(into)),
        (true, None) => {}
    }
    read
}

/// The system's streams are asked whether there is anything before a buffer is borrowed for it.
macro_rules! fill_socket {
    ($stream:ty) => {
        impl Fill for $stream {
            fn poll_fill(&mut self, cx: &mut Context<'_>, into: &mut BytesMut) -> Poll<io::Result<usize>> {
                ready!(self.poll_read_ready(cx))?;
                fill(self, cx, into)
            }

            fn reads_in_place(&self) -> bool {
                true
            }
        }
    };
}

fill_socket!(tokio::net::TcpStream);
fill_socket!(tokio::net::UnixStream);

#[cfg(test)]
impl Fill for tokio::io::DuplexStream {
    fn poll_fill(&mut self, cx: &mut Context<'_>, into: &mut BytesMut) -> Poll<io::Result<usize>> {
        fill(self, cx, into)
    }

    fn reads_in_place(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_with_the_last_of_its_pieces_in_any_order() {
        for large in [false, true] {
            for rest_first in [false, true] {
                let mut pool = Pool::default();
                let mut rest = if large { pool.borrow_large() } else { pool.borrow() };
                let address = rest.as_ptr();
                rest.put_bytes(b'x', rest.capacity() - 100);
                let piece = rest.split_to(1000);
                let (first, last) = if rest_first { (rest, piece) } else { (piece, rest) };
                pool.give_back(first);
                assert_eq!(pool.small.len() + pool.large.len(), 0, "still in use");
                pool.give_back(last);
                let again = if large { pool.borrow_large() } else { pool.borrow() };
                assert_eq!(again.as_ptr(), address, "large {large}, rest first {rest_first}");
                assert!(again.capacity() >= if large { LARGE_SIZE } else { READ_SIZE });
            }
        }
    }

    #[test]
    fn a_peak_leaves_a_few_buffers_behind() {
        let mut pool = Pool::default();
        let peak: Vec<_> = (0..100).flat_map(|_| [pool.borrow(), pool.borrow_large()]).collect();
        for buffer in peak {
            pool.give_back(buffer);
        }
        assert_eq!((pool.small.len(), pool.large.len()), (KEPT, KEPT_LARGE));
    }

    #[test]
    fn large_buffers_go_when_nothing_flows_in_bulk_any_more() {
        let mut pool = Pool::default();
        let exchange = |pool: &mut Pool| {
            let buffer = pool.borrow();
            pool.give_back(buffer);
        };
        for _ in 0..10 {
            let (one, two) = (pool.borrow_large(), pool.borrow_large());
            pool.give_back(one);
            pool.give_back(two);
            (0..QUIET - 1).for_each(|_| exchange(&mut pool));
            assert_eq!(pool.large.len(), 2, "in use now and then");
        }
        // One of these is the last of the row above.
        exchange(&mut pool);
        assert_eq!(pool.large.len(), 1);
        (0..QUIET).for_each(|_| exchange(&mut pool));
        assert_eq!((pool.small.len(), pool.large.len()), (1, 0));
    }

    #[test]
    fn a_foreign_buffer_is_not_kept() {
        let mut pool = Pool::default();
        pool.give_back(BytesMut::from(&b"250 2.0.0 Ok\r\n"[..]));
        pool.give_back(BytesMut::new());
        assert_eq!(pool.small.len() + pool.large.len(), 0);
    }
}
