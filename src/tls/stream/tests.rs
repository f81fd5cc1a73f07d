//! The stream on a socket that takes and gives as little as it likes, and wakes whoever asked last.

mod ends;
mod memory;
mod reads;
mod writes;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use super::super::pair::{self, Forger};
use super::super::records::FRAGMENT_LIMIT;
use super::*;

/// One that does as it is told.
struct Socket {
    incoming: VecDeque<u8>,
    /// After `incoming` comes the end.
    ended: bool,
    outgoing: Vec<u8>,
    /// The most octets that one read or write moves.
    at_once: usize,
    /// How many octets go out before it stalls.
    room: usize,
    shutdowns: usize,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Socket {
    fn new() -> Self {
        Self {
            incoming: VecDeque::new(),
            ended: false,
            outgoing: Vec::new(),
            at_once: usize::MAX,
            room: usize::MAX,
            shutdowns: 0,
            reader: None,
            writer: None,
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let length = self.incoming.len().min(self.at_once).min(buf.remaining());
        if length == 0 && !self.ended {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        buf.put_slice(&self.incoming.drain(..length).collect::<Vec<u8>>());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut taken = 0;
        for buf in bufs {
            let length = buf.len().min(self.at_once - taken).min(self.room);
            self.outgoing.extend_from_slice(&buf[..length]);
            self.room -= length;
            taken += length;
        }
        if taken == 0 {
            self.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shutdowns += 1;
        Poll::Ready(Ok(()))
    }
}

/// Counts how often it is woken.
#[derive(Default)]
struct Task(AtomicUsize);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Task {
    fn woken(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

fn task() -> (Arc<Task>, Waker) {
    let task = Arc::new(Task::default());
    (Arc::clone(&task), task.into())
}

/// What every test does: polls, with nobody to wake.
trait Polled {
    fn fill(&mut self, into: &mut BytesMut) -> Poll<io::Result<usize>>;
    fn write(&mut self, data: &[u8]) -> Poll<io::Result<usize>>;
    fn flush(&mut self) -> Poll<io::Result<()>>;
    fn shutdown(&mut self) -> Poll<io::Result<()>>;
}

fn idly<T>(poll: impl FnOnce(&mut Context<'_>) -> T) -> T {
    poll(&mut Context::from_waker(Waker::noop()))
}

impl Polled for Stream<Socket> {
    fn fill(&mut self, into: &mut BytesMut) -> Poll<io::Result<usize>> {
        idly(|cx| self.poll_fill(cx, into))
    }

    fn write(&mut self, data: &[u8]) -> Poll<io::Result<usize>> {
        idly(|cx| Pin::new(self).poll_write(cx, data))
    }

    fn flush(&mut self) -> Poll<io::Result<()>> {
        idly(|cx| Pin::new(self).poll_flush(cx))
    }

    fn shutdown(&mut self) -> Poll<io::Result<()>> {
        idly(|cx| Pin::new(self).poll_shutdown(cx))
    }
}

/// What is left of a poll once its error, if any, is only a kind.
fn kind<T>(poll: Poll<io::Result<T>>) -> Poll<Result<T, io::ErrorKind>> {
    poll.map_err(|error| error.kind())
}

/// A stream and the client at its other end, who has read its tickets.
fn pair(suite: rustls::SupportedCipherSuite) -> (Stream<Socket>, Forger) {
    let (ours, mut theirs) = pair::forging(suite);
    let mut stream = Stream::new(Socket::new(), ours.records, ours.wire, ours.unsent.freeze());
    assert!(stream.flush().is_ready());
    theirs.open(&std::mem::take(&mut stream.0.stream.outgoing));
    (stream, theirs)
}

/// What the client got since the last time.
fn got(stream: &mut Stream<Socket>, theirs: &mut Forger) -> Vec<(u8, Vec<u8>)> {
    theirs.open(&std::mem::take(&mut stream.0.stream.outgoing))
}

/// All that can be read now.
fn read(stream: &mut Stream<Socket>) -> (Vec<u8>, Poll<Result<usize, io::ErrorKind>>) {
    let mut data = Vec::new();
    loop {
        let mut into = BytesMut::new();
        match kind(stream.fill(&mut into)) {
            Poll::Ready(Ok(length)) if length > 0 => {
                assert_eq!(length, into.len());
                data.extend_from_slice(&into);
            }
            end => return (data, end),
        }
    }
}
