//! Client and backend, both by the script, up to the login.

use std::sync::Arc;

use sealgate::protocol::imap::Imap;
use sealgate::protocol::{Protocol, Rules};

use super::story;
use crate::driver::{Bounds, play};
use crate::fixtures::context;
use crate::script::Script;

/// The settings' bits.
const IMPLICIT: u8 = 1;
const FEW_ERRORS: u8 = 16;

/// The longest line that is waited for, and the longest response.
const BOUNDS: Bounds = Bounds { client: 12_288, backend: 64 * 1024 };

/// One input of the target `imap_dialogue`.
pub fn dialogue(input: &[u8]) {
    let script = Script::read(input);
    let implicit = script.settings & IMPLICIT != 0;
    let mut context = context(if implicit { "imaps" } else { "imap" }, true);
    let max_errors = if script.settings & FEW_ERRORS != 0 { 3 } else { 20 };
    context.rules = Arc::new(Rules { max_errors, ..Rules::default() });
    let driver = play(&script, || Imap.dialogue(&context, None), BOUNDS);
    story::check(&driver);
}
