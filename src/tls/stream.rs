//! The client's connection inside TLS.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::records::{Broken, Opened, Records, declared_end};
use crate::buffers::{self, Fill, LEAST_READ};

/// How much is sealed before it is written: enough for a system call to be cheap, and little enough to be still in the
/// processor's cache. A client that does not read costs no more than this.
const SEALED_AT_ONCE: usize = 64 * 1024;

/// A record with no more than this is copied out of its buffer.
const COPIED: usize = 1024;

/// In pieces of this size waits what came of a record. Allocators round them up by nothing, but a whole record, of a little
/// more than 16 KiB, by as much as a quarter.
const PIECE: usize = 8 * 1024;

/// How many pieces are taken, and how many records written, at once.
const SLICES: usize = 16;

/// A connection whose handshake is done. It hides whose TLS it is; one pointer in size.
///
/// - Reading gives `Ok(0)` after the client's close_notify and `Err(UnexpectedEof)` if the connection ended without
///   one: then nobody knows whether something is missing (RFC 8446 §6.1).
/// - A read may leave octets inside: read until `Pending` before waiting for the socket.
/// - A write may leave records inside: `flush` before waiting for an answer to them.
/// - `shutdown` sends close_notify, then ends the socket's sending side.
pub struct Stream<S>(Box<Inner<S>>);

struct Inner<S> {
    stream: S,
    records: Records,
    /// What came and was not opened yet.
    wire: BytesMut,
    /// The same while nothing flows: the beginning of a record at most.
    kept: Vec<Box<[u8]>>,
    /// The last read filled its buffer.
    bulk: bool,
    /// What was opened and had no room where it was read to.
    opened: BytesMut,
    input: Input,
    /// Sealed records.
    unsent: VecDeque<Bytes>,
    /// The socket did not take all of them.
    stalled: bool,
    /// It was a read that noticed, so it is reads that are woken to go on.
    aside: bool,
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Input {
    Open,
    /// The client's close_notify came.
    Ended,
    Broken(io::ErrorKind),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Output {
    Open,
    /// Our last record is among the unsent ones, or has gone out.
    Ended,
}

impl<S> Stream<S> {
    /// `wire` is what the client sent behind its handshake, `unsent` what it has yet to be sent of ours.
    pub(super) fn new(stream: S, records: Records, wire: BytesMut, unsent: Bytes) -> Self {
        let unsent = if unsent.is_empty() { VecDeque::new() } else { VecDeque::from([unsent]) };
        Self(Box::new(Inner {
            stream,
            records,
            wire,
            kept: Vec::new(),
            bulk: false,
            opened: BytesMut::new(),
            input: Input::Open,
            unsent,
            stalled: false,
            aside: false,
            output: Output::Open,
        }))
    }

    /// What is below TLS.
    pub fn get_ref(&self) -> &S {
        &self.0.stream
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream<S> {
    /// Sends close_notify, and leaves it to the socket's closing to end its sending side.
    ///
    /// # Errors
    /// Those of the socket.
    pub async fn close_notify(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.0.poll_finish(cx)).await
    }
}

impl<S> std::fmt::Debug for Stream<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("input", &self.0.input).field("output", &self.0.output).finish_non_exhaustive()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Inner<S> {
    /// The next octets, at least one, in a buffer of their own; an empty one at the end.
    fn poll_opened(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<BytesMut>> {
        if !self.opened.is_empty() {
            return Poll::Ready(Ok(std::mem::take(&mut self.opened)));
        }
        loop {
            match self.input {
                Input::Open => {}
                Input::Ended => return Poll::Ready(Ok(BytesMut::new())),
                Input::Broken(kind) => return Poll::Ready(Err(kind.into())),
            }
            match self.records.open(&mut self.wire) {
                Ok(Opened::Data(data)) => return Poll::Ready(Ok(data)),
                Ok(Opened::Other) => self.answer(cx),
                Ok(Opened::End) => self.end(Input::Ended),
                Err(broken) => self.give_up(broken, cx),
                Ok(Opened::Partial) => match self.poll_receive(cx) {
                    Poll::Ready(Ok(0)) => self.end(Input::Broken(io::ErrorKind::UnexpectedEof)),
                    Poll::Ready(Ok(_)) => {}
                    Poll::Ready(Err(error)) => self.end(Input::Broken(error.kind())),
                    Poll::Pending => {
                        self.rest();
                        if self.aside {
                            self.send_aside(cx);
                        }
                        return Poll::Pending;
                    }
                },
            }
        }
    }

    /// Reads more of the wire, in larger units where a read has filled its buffer.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if !self.kept.is_empty() {
            self.wire = buffers::borrow();
            self.kept.drain(..).for_each(|piece| self.wire.extend_from_slice(&piece));
        }
        if self.bulk && self.wire.capacity() - self.wire.len() < LEAST_READ {
            let mut larger = buffers::borrow_large();
            larger.extend_from_slice(&self.wire);
            buffers::give_back(std::mem::replace(&mut self.wire, larger));
        }
        let received = ready!(buffers::fill(&mut self.stream, cx, &mut self.wire));
        self.bulk = self.wire.len() == self.wire.capacity();
        Poll::Ready(received)
    }

    /// Nothing more comes for now: keep no more memory than the octets that wait for the rest of their record. They may
    /// be the end of a much larger buffer, which its capacity would not tell.
    fn rest(&mut self) {
        self.kept = self.wire.chunks(PIECE).map(Box::from).collect();
        buffers::give_back(std::mem::take(&mut self.wire));
    }

    /// A client that tried to renegotiate waits for an answer, and there may be no data for it for long.
    fn answer(&mut self, cx: &mut Context<'_>) {
        if self.output == Output::Ended {
            return;
        }
        if let Ok(Some(refusal)) = self.records.refusal() {
            self.unsent.push_back(refusal);
            self.send_aside(cx);
        }
    }

    /// Sends what can be sent from within a read. A stalled writer waits to be woken for the same socket, and a second
    /// one to wait would take its place: then it is the writer's to send.
    fn send_aside(&mut self, cx: &mut Context<'_>) {
        if !self.stalled || self.aside {
            self.aside = self.poll_send(cx).is_pending(); // an error is for who writes next
        }
    }

    fn end(&mut self, how: Input) {
        self.input = how;
        self.kept = Vec::new();
        buffers::give_back(std::mem::take(&mut self.wire)); // what follows does not count (RFC 8446 §6.1)
    }

    /// Nothing can be read any more, and nothing more is said than why (RFC 8446 §6.2).
    fn give_up(&mut self, broken: Broken, cx: &mut Context<'_>) {
        self.end(Input::Broken(io::ErrorKind::InvalidData));
        if let (Broken::Ours(alert), Output::Open) = (broken, self.output) {
            self.finish(|records| records.fatal(alert));
            self.send_aside(cx);
        }
        self.output = Output::Ended;
    }

    fn finish(&mut self, last: impl FnOnce(&mut Records) -> Result<Bytes, rustls::Error>) {
        // A key that protects nothing any more has said all that it could.
        self.unsent.extend(last(&mut self.records));
        self.output = Output::Ended;
    }

    /// Ready when the socket has taken all records, close_notify the last of them.
    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.output == Output::Open {
            self.finish(Records::close_notify);
        }
        self.poll_send(cx)
    }

    /// Ready when the socket has taken all records.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.aside = false;
        while !self.unsent.is_empty() {
            self.stalled = true;
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut used = 0;
            for (slice, record) in slices.iter_mut().zip(&self.unsent) {
                *slice = IoSlice::new(record);
                used += 1;
            }
            let stream = Pin::new(&mut self.stream);
            let written = match slices.get(..used).unwrap_or_default() {
                [only] => stream.poll_write(cx, only), // a plain send is cheaper
                several => stream.poll_write_vectored(cx, several),
            };
            let mut n = match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => n,
            };
            while let Some(record) = self.unsent.front_mut() {
                if n < record.len() {
                    record.advance(n);
                    break;
                }
                n -= record.len();
                self.unsent.pop_front();
            }
        }
        self.stalled = false;
        self.unsent = VecDeque::new(); // an idle session holds no memory
        Poll::Ready(Ok(()))
    }

    fn poll_seal(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if self.output == Output::Ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if self.stalled {
            ready!(self.poll_send(cx))?;
        }
        let mut pieces = [&[][..]; SLICES];
        let (mut used, mut taken) = (0, 0);
        for (piece, buf) in pieces.iter_mut().zip(bufs.iter().filter(|buf| !buf.is_empty())) {
            let room = SEALED_AT_ONCE - taken;
            *piece = buf.get(..room.min(buf.len())).unwrap_or_default();
            taken += piece.len();
            used += 1;
            if taken == SEALED_AT_ONCE {
                break;
            }
        }
        let sealed = self.records.seal(pieces.get(..used).unwrap_or_default(), |record| self.unsent.push_back(record));
        if sealed.is_err() {
            // The key is worn out, and there is no other (RFC 5246): say goodbye while that can be said.
            self.finish(Records::close_notify);
            let _ = self.poll_send(cx); // the rest with the shutdown
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if let Poll::Ready(sent) = self.poll_send(cx) {
            sent?;
        }
        Poll::Ready(Ok(taken))
    }
}

impl<S> Drop for Inner<S> {
    fn drop(&mut self) {
        buffers::wipe(&mut self.opened);
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Fill for Stream<S> {
    fn poll_fill(&mut self, cx: &mut Context<'_>, into: &mut BytesMut) -> Poll<io::Result<usize>> {
        let mut opened = ready!(self.0.poll_opened(cx))?;
        let length = opened.len();
        // A few octets are not worth the whole buffer that they would hold on to.
        if into.is_empty() && length > COPIED {
            buffers::give_back(std::mem::replace(into, opened));
        } else {
            buffers::append(into, &opened);
            buffers::wipe(&mut opened);
        }
        Poll::Ready(Ok(length))
    }

    fn has_more(&self) -> bool {
        let whole = declared_end(&self.0.wire, 0).is_some_and(|end| end <= self.0.wire.len());
        whole && self.0.input == Input::Open || !self.0.opened.is_empty()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut opened = ready!(self.0.poll_opened(cx))?;
        let mut taken = opened.split_to(opened.len().min(buf.remaining()));
        buf.put_slice(&taken);
        buffers::wipe(&mut taken);
        if !opened.is_empty() {
            self.0.opened = opened;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.0.poll_seal(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_seal(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_send(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.0.poll_finish(cx))?;
        Pin::new(&mut self.0.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
