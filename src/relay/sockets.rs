//! The driver's hands: reading and writing, never waiting.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

use super::{CLIENT_GONE, HalfClose, Input, Relay, Source};
use crate::buffers::Fill;
use crate::protocol::Side;

impl<C, B> Relay<'_, C, B>
where
    C: Fill + AsyncWrite + Unpin,
    B: Fill + AsyncWrite + Unpin,
{
    pub(super) fn write(&mut self, cx: &mut Context<'_>) -> bool {
        let before = self.bytes_out;
        let mut moved = false;
        if !self.to_client.is_done() && !self.client_lost {
            match self.to_client.poll_write(&mut self.client, cx, &mut self.bytes_out) {
                Poll::Ready(Ok(())) => moved = true,
                Poll::Ready(Err(_)) => {
                    self.lose_client(CLIENT_GONE);
                    return true;
                }
                Poll::Pending => moved = self.bytes_out > before,
            }
        }
        match self.poll_backend_write(cx) {
            Poll::Ready(Some(())) => moved = true,
            Poll::Ready(None) | Poll::Pending => {}
        }
        moved
    }

    /// Ready(Some) when something was written or closed, Ready(None) when there was nothing to do.
    fn poll_backend_write(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        if self.backend.is_none() || self.backend_deaf {
            self.to_backend.clear();
        }
        let Some(backend) = &mut self.backend else { return Poll::Ready(None) };
        if !self.to_backend.is_done() {
            let mut written = 0;
            let result = self.to_backend.poll_write(backend, cx, &mut written);
            if let Poll::Ready(Err(_)) = result {
                // It may have said why before it closed: what it said is still read, and its end then told.
                self.to_backend.clear();
                self.backend_deaf = true;
                self.half_closing = HalfClose::Wanted;
            }
            return match result {
                Poll::Pending if written == 0 => Poll::Pending,
                _ => Poll::Ready(Some(())),
            };
        }
        if self.half_closing == HalfClose::Wanted {
            let _ = ready!(Pin::new(backend).poll_shutdown(cx)); // a failure shows in the next read
            self.half_closing = HalfClose::Done;
            return Poll::Ready(Some(()));
        }
        Poll::Ready(None)
    }

    pub(super) fn read_client(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.from_client.wants_input() || !self.room(Side::Client) || self.client_lost {
            return false;
        }
        let read = self.from_client.inbox.poll_read(&mut self.client, cx);
        if let Poll::Ready(Ok(n)) = &read {
            self.bytes_in += *n as u64;
        }
        Self::note_read(&mut self.from_client, read)
    }

    pub(super) fn read_backend(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.from_backend.wants_input() || !self.room(Side::Backend) {
            return false;
        }
        let Some(backend) = &mut self.backend else { return false };
        let read = self.from_backend.inbox.poll_read(backend, cx);
        Self::note_read(&mut self.from_backend, read)
    }

    fn note_read(source: &mut Source, read: Poll<io::Result<usize>>) -> bool {
        match read {
            Poll::Pending => return false,
            Poll::Ready(Ok(0)) => source.input = Input::Ended { clean: true },
            Poll::Ready(Ok(_)) => {}
            Poll::Ready(Err(_)) => source.input = Input::Ended { clean: false },
        }
        source.offer = true;
        true
    }
}
