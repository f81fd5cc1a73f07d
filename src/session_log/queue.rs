//! What waits to be written, bounded in octets.

use std::collections::VecDeque;
use std::fs::File;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The most octets that wait. At some 500 octets a record this is 8,000 of them.
const LIMIT: usize = 4 * 1024 * 1024;

/// From this on the writer does not wait for more.
const PLENTY: usize = LIMIT / 8;

/// How long the writer lets lines gather after it has written. A line that comes alone is written at once; of many, each
/// would otherwise cost a wake-up of the writer and a write.
const GATHER: Duration = Duration::from_millis(20);

/// Something for the writer.
#[derive(Debug)]
pub(super) enum Item {
    /// A line with its newline, or a datagram.
    Entry(Vec<u8>),
    /// The log file, opened anew.
    File(File),
}

/// What the writer takes away in one go.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub items: VecDeque<Item>,
    /// Entries that found no room behind these.
    pub lost: u64,
}

/// The queue between the sessions and the writer.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// Something was pushed, or the queue was closed.
    filled: Condvar,
    /// The writer has finished a batch.
    written: Condvar,
}

#[derive(Debug, Default)]
struct State {
    batch: Batch,
    octets: usize,
    writer: Writer,
    /// How many wait until all is written.
    hurried: usize,
    /// Nothing is given to the writer.
    held: bool,
    closed: bool,
}

/// What the writer does.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Writer {
    /// It holds a batch that is not on the disk yet, or was woken to fetch one.
    #[default]
    Busy,
    /// It lets lines gather.
    Gathers,
    /// It waits for the first line.
    Sleeps,
    /// It is gone, and nobody waits for it.
    Ended,
}

impl State {
    fn is_empty(&self) -> bool {
        self.batch.items.is_empty() && self.batch.lost == 0
    }

    /// Whether there is something to write that may be written.
    fn is_due(&self) -> bool {
        !self.is_empty() && (!self.held || self.closed)
    }

    /// Whether it should be written without waiting for more.
    fn is_urgent(&self) -> bool {
        self.closed || self.hurried > 0 || self.octets >= PLENTY
    }
}

impl Queue {
    /// Appends an entry, or counts it as lost.
    pub fn push(&self, entry: Vec<u8>) {
        let mut state = self.lock();
        if state.octets.saturating_add(entry.len()) > LIMIT {
            state.batch.lost += 1;
        } else {
            state.octets += entry.len();
            state.batch.items.push_back(Item::Entry(entry));
        }
        self.call_writer(state);
    }

    /// What follows goes to this file.
    pub fn replace_file(&self, file: File) {
        let mut state = self.lock();
        state.batch.items.push_back(Item::File(file));
        self.call_writer(state);
    }

    /// Gives the writer nothing until [`Queue::release`], or until the queue is closed.
    pub fn hold(&self) {
        self.lock().held = true;
    }

    /// Lets the writer go on: with what was held back, or without it.
    pub fn release(&self, keep: bool) {
        let mut state = self.lock();
        state.held = false;
        if !keep {
            state.batch = Batch::default();
            state.octets = 0;
        }
        self.call_writer(state);
    }

    /// Wakes the writer if that is of use: to wake it is a system call, even when it is awake.
    fn call_writer(&self, mut state: MutexGuard<'_, State>) {
        let wake = match state.writer {
            Writer::Busy | Writer::Ended => false,
            Writer::Gathers => state.is_urgent(),
            Writer::Sleeps => state.is_due() || state.closed,
        };
        if wake {
            state.writer = Writer::Busy;
        }
        drop(state);
        if wake {
            self.filled.notify_one();
        }
    }

    /// Everything that waits; blocks until there is something. `None` when the queue is closed and empty.
    /// Asking for the next batch says that the last one is done.
    pub fn take(&self) -> Option<Batch> {
        let mut state = self.lock();
        let gathered = Instant::now() + GATHER;
        loop {
            let patience = gathered.saturating_duration_since(Instant::now());
            if state.is_due() && (state.is_urgent() || patience.is_zero()) {
                break;
            }
            if state.closed && state.is_empty() {
                self.rest(&mut state, Writer::Ended);
                return None;
            }
            if patience.is_zero() {
                self.rest(&mut state, Writer::Sleeps);
                state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
            } else {
                self.rest(&mut state, Writer::Gathers);
                state = self.filled.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        state.writer = Writer::Busy;
        state.octets = 0;
        Some(std::mem::take(&mut state.batch))
    }

    /// The writer has written what it had.
    fn rest(&self, state: &mut State, writer: Writer) {
        state.writer = writer;
        if state.hurried > 0 {
            self.written.notify_all();
        }
    }

    /// Waits until the queue is empty and written, for `patience` at most.
    pub fn flush(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut state = self.lock();
        state.hurried += 1;
        self.call_writer(state);
        let mut state = self.lock();
        let written = loop {
            if state.is_empty() && state.writer != Writer::Busy {
                break true;
            }
            let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
                break false;
            };
            state = self.written.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        };
        state.hurried -= 1;
        written
    }

    /// Nothing will follow.
    pub fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        self.call_writer(state);
    }

    /// A panic elsewhere leaves the state whole: every change to it is a single step.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
