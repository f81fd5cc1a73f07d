//! The driver's hands: reading and writing, never waiting.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

use super::turn::Turn;
use super::{CLIENT_GONE, HalfClose, Input, Phase, Relay};
use crate::buffers::Fill;
use crate::protocol::Side;

impl<C, B> Relay<C, B>
where
    C: Fill + AsyncWrite + Unpin,
    B: Fill + AsyncWrite + Unpin,
{
    /// Writes as much as both sides take; whether that was anything.
    pub(super) fn write(&mut self, cx: &mut Context<'_>, turn: &mut Turn<'_>) -> bool {
        let before = self.bytes_out;
        let mut moved = false;
        if self.client_lost {
            self.to_client.clear();
        }
        if !self.to_client.is_done() {
            match self.to_client.poll_write(&mut self.client, cx, &mut self.bytes_out) {
                Poll::Ready(Ok(())) => moved = true,
                Poll::Ready(Err(_)) => {
                    self.lose_client(CLIENT_GONE, turn);
                    return true;
                }
                Poll::Pending => moved = self.bytes_out > before,
            }
        }
        self.write_backend(cx) || moved
    }

    /// Writes to the backend, then ends its input if it is to be ended; whether anything was done.
    fn write_backend(&mut self, cx: &mut Context<'_>) -> bool {
        if self.backend.is_none() || self.backend_deaf {
            self.to_backend.clear();
        }
        let Some(backend) = &mut self.backend else { return false };
        let mut moved = false;
        if !self.to_backend.is_done() {
            let mut written = 0;
            match self.to_backend.poll_write(backend, cx, &mut written) {
                Poll::Ready(Ok(())) => moved = true,
                Poll::Ready(Err(_)) => {
                    // It may have said why before it closed: what it said is still read, and its end then told.
                    self.to_backend.clear();
                    self.backend_deaf = true;
                    self.half_closing = HalfClose::Wanted;
                    return true;
                }
                Poll::Pending => return written > 0,
            }
        }
        // A failure shows in the next read.
        if self.half_closing == HalfClose::Wanted && Pin::new(backend).poll_shutdown(cx).is_ready() {
            self.half_closing = HalfClose::Done;
            moved = true;
        }
        moved
    }

    /// Reads what is there already from sides that need no system call for it; whether anything came.
    pub(super) fn read_at_hand(&mut self, cx: &mut Context<'_>, turn: &mut Turn<'_>) -> bool {
        if self.phase == Phase::Closing || turn.is_over() {
            return false;
        }
        let backend = self.backend.as_ref().is_some_and(Fill::has_more) && self.read(Side::Backend, cx, turn);
        let client = self.client.has_more() && self.read(Side::Client, cx, turn);
        backend || client
    }

    /// Reads once from a side that is to be read; whether anything came, an end included.
    pub(super) fn read(&mut self, side: Side, cx: &mut Context<'_>, turn: &mut Turn<'_>) -> bool {
        if turn.is_quiet(side) || !self.source(side).wants_input() || !self.room(side) {
            return false;
        }
        let (read, source) = match side {
            Side::Client if self.client_lost => return false,
            Side::Client => {
                let free = self.to_backend.is_done();
                (self.from_client.inbox.poll_read(&mut self.client, free, cx), &mut self.from_client)
            }
            Side::Backend => {
                let Some(backend) = &mut self.backend else { return false };
                let free = self.to_client.is_done();
                (self.from_backend.inbox.poll_read(backend, free, cx), &mut self.from_backend)
            }
        };
        match read {
            Poll::Pending => {
                turn.set_quiet(side);
                return false;
            }
            Poll::Ready(Ok(0)) => {
                source.input = Input::Ended { clean: true };
                self.client_ended |= side == Side::Client;
            }
            Poll::Ready(Ok(n)) => {
                turn.note_read(n);
                if side == Side::Client {
                    self.bytes_in += n as u64;
                }
            }
            Poll::Ready(Err(_)) => source.input = Input::Ended { clean: false },
        }
        source.offer = true;
        true
    }
}
