//! What is needed only while a session is polled, and so takes no memory while it waits.

use std::cell::Cell;
use std::time::{Duration, SystemTime};

use bytes::BytesMut;
use tokio::time::Instant;

use crate::limits::Setback;
use crate::protocol::{Event, Out, Side, Wait};

/// How many octets a session may read before the others have their turn. A fast peer could keep a worker for ever
/// otherwise; with this much, it costs nothing to come back.
pub(super) const TURN: usize = 1024 * 1024;

/// The most octets of memory that a worker keeps for what a dialogue adds.
const KEPT: usize = 8 * 1024;

thread_local! {
    /// What the last session's dialogue wrote into: emptied, its memory for the next one.
    static SPARE: Cell<Option<Box<Out>>> = const { Cell::new(None) };
}

/// One session's turn on its worker, from a wake-up until nothing moves.
pub(super) struct Turn<'a> {
    /// None until a dialogue has its say.
    out: Option<Box<Out>>,
    now: Option<Instant>,
    allowed: &'a dyn Fn(Wait) -> Duration,
    hear: &'a mut dyn FnMut(Event) -> Setback,
    /// How many octets were read.
    read: usize,
    quiet: Quiet,
}

/// Which sides have nothing to read for now, and will wake the session when they do: to ask again costs time.
#[derive(Default)]
struct Quiet {
    client: bool,
    backend: bool,
}

impl<'a> Turn<'a> {
    pub(super) fn new(allowed: &'a dyn Fn(Wait) -> Duration, hear: &'a mut dyn FnMut(Event) -> Setback) -> Self {
        Self { out: None, now: None, allowed, hear, read: 0, quiet: Quiet::default() }
    }

    /// What the dialogue adds to, and the time in it: the same for all that comes in one turn.
    pub(super) fn out(&mut self) -> &mut Out {
        self.out.get_or_insert_with(|| {
            let mut out = SPARE.take().unwrap_or_default();
            out.now = SystemTime::now();
            out
        })
    }

    pub(super) fn now(&mut self) -> Instant {
        *self.now.get_or_insert_with(Instant::now)
    }

    /// How long each thing may be waited for.
    pub(super) fn allowed(&self) -> &'a dyn Fn(Wait) -> Duration {
        self.allowed
    }

    /// Hands out the events that are not `ours`, oldest first; what the client is to bear for them.
    pub(super) fn hear(&mut self, ours: impl FnMut(Event) -> Option<Event>) -> Setback {
        let Some(out) = &mut self.out else { return Setback::default() };
        out.events.drain(..).filter_map(ours).map(&mut *self.hear).fold(Setback::default(), |worst, next| Setback {
            delay: worst.delay.max(next.delay),
            is_last: worst.is_last || next.is_last,
            is_barred: worst.is_barred || next.is_barred,
            must_wait: worst.must_wait || next.must_wait,
        })
    }

    /// Asks once more for a login that had to wait.
    pub(super) fn ask_again(&mut self) -> Setback {
        (self.hear)(Event::Attempt { guess: true })
    }

    pub(super) fn note_read(&mut self, octets: usize) {
        self.read += octets;
    }

    /// It is the others' turn.
    pub(super) fn is_over(&self) -> bool {
        self.read >= TURN
    }

    pub(super) fn is_quiet(&self, side: Side) -> bool {
        match side {
            Side::Client => self.quiet.client,
            Side::Backend => self.quiet.backend,
        }
    }

    pub(super) fn set_quiet(&mut self, side: Side) {
        match side {
            Side::Client => self.quiet.client = true,
            Side::Backend => self.quiet.backend = true,
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let Some(mut out) = self.out.take() else { return };
        let Out { to_client, to_backend, events, .. } = &mut *out;
        for bytes in [to_client, to_backend] {
            bytes.clear();
            if bytes.capacity() > KEPT {
                *bytes = BytesMut::new();
            }
        }
        events.clear();
        let _ = SPARE.try_with(|spare| spare.set(Some(out))); // a worker that ends needs none
    }
}
