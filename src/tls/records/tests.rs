//! The record layer against honest clients, and against ones that have the keys and no scruples.

mod control;
mod data;
mod random;
mod updates;

use super::super::pair::{self, Forger, Ours};
use super::*;

impl Records {
    /// As if the key that seals had protected all that it may.
    pub(in super::super) fn wear_out(&mut self) {
        self.sent = self.limit();
    }
}

/// What becomes of records that are true and wrong: the alert for them, and no octet of data.
fn refused(ours: &mut Ours, wire: &[u8]) -> Broken {
    ours.receive(wire).map(|(data, end)| format!("{data:?}, {end:?}")).unwrap_err()
}

/// Asserts that data still goes both ways.
fn assert_works(ours: &mut Ours, theirs: &mut Forger) {
    assert_eq!(ours.receive(&theirs.data(b"NOOP")).unwrap(), (b"NOOP".to_vec(), Opened::Partial));
    let sealed = ours.seal(b"OK");
    assert_eq!(theirs.open_data(&sealed), b"OK");
}
