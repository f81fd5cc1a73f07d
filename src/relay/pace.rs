//! How fast a client's messages must come in.
//!
//! A deadline that every octet moves on can be met for days with an octet now and then. So a client has an allowance of time
//! for its messages: waiting for them uses it up, and their octets buy it anew. Nothing is counted for each read; when the
//! allowance is used up, it is seen how many octets have come in meanwhile.

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::Instant;

use super::turn::Turn;

/// An allowance that has shrunk to this part of the whole is not worth another look.
const LEAST_PART: u32 = 8;

/// The client's time for its messages.
pub(super) struct Pace {
    /// Octets a second that buy as much time as they may take; none: any pace will do.
    least: Option<NonZeroU32>,
    left: Left,
    /// The client's octets that have bought time already.
    counted: u64,
}

enum Left {
    /// Nothing of a message is waited for, or not from the client.
    Resting(Duration),
    Until(Instant),
}

impl Pace {
    /// `whole` is the most that may be left: what a message has that has not begun.
    pub fn new(least: Option<NonZeroU32>, whole: Duration) -> Self {
        Self { least, left: Left::Resting(whole), counted: 0 }
    }

    /// When the allowance is used up; none while it rests.
    pub fn due(&self) -> Option<Instant> {
        match (self.least, &self.left) {
            (Some(_), Left::Until(due)) => Some(*due),
            (None, _) | (_, Left::Resting(_)) => None,
        }
    }

    /// It is the client that is waited for: time passes.
    pub fn run(&mut self, turn: &mut Turn<'_>) {
        if let Left::Resting(left) = self.left {
            self.left = Left::Until(turn.now() + left);
        }
    }

    /// It is not.
    pub fn rest(&mut self, turn: &mut Turn<'_>) {
        if let Left::Until(due) = self.left {
            self.left = Left::Resting(due.saturating_duration_since(turn.now()));
        }
    }

    /// A message is there.
    pub fn refill(&mut self, whole: Duration) {
        self.left = Left::Resting(whole);
    }

    /// Whether the allowance is used up, and what has come in buys no more; `octets` is all that ever came.
    pub fn is_over(&mut self, octets: u64, whole: Duration, now: Instant) -> bool {
        let (Some(least), Some(due)) = (self.least, self.due()) else { return false };
        if now < due {
            return false;
        }
        let came = octets.saturating_sub(self.counted);
        self.counted = octets;
        let bought = Duration::from_millis(came.saturating_mul(1000) / u64::from(least.get())).min(whole);
        // On average: that this comes a little late is not given to the client, that it comes late by much not taken from it.
        let least = whole / LEAST_PART;
        let from = now.checked_sub(least).map_or(due, |earliest| due.max(earliest));
        self.left = Left::Until(from + bought);
        bought < least
    }
}
