//! What waits to be written, bounded in octets.

use std::collections::VecDeque;
use std::fs::File;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The most octets that wait. At some 500 octets a record this is 8,000 of them.
const LIMIT: usize = 4 * 1024 * 1024;

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
    /// The writer holds a batch that is not on the disk yet.
    busy: bool,
    /// Nothing is given to the writer.
    held: bool,
    closed: bool,
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
        drop(state);
        self.filled.notify_one();
    }

    /// What follows goes to this file.
    pub fn replace_file(&self, file: File) {
        self.lock().batch.items.push_back(Item::File(file));
        self.filled.notify_one();
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
        drop(state);
        self.filled.notify_one();
    }

    /// Everything that waits; blocks until there is something. `None` when the queue is closed and empty.
    /// Asking for the next batch says that the last one is done.
    pub fn take(&self) -> Option<Batch> {
        let mut state = self.lock();
        state.busy = false;
        self.written.notify_all();
        while (state.batch.items.is_empty() && state.batch.lost == 0) || (state.held && !state.closed) {
            if state.closed {
                return None;
            }
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.busy = true;
        state.octets = 0;
        Some(std::mem::take(&mut state.batch))
    }

    /// Waits until the queue is empty and written, for `patience` at most.
    pub fn flush(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut state = self.lock();
        while state.busy || !state.batch.items.is_empty() || state.batch.lost > 0 {
            let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
                return false;
            };
            state = self.written.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Nothing will follow.
    pub fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_one();
    }

    /// A panic elsewhere leaves the state whole: every change to it is a single step.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
