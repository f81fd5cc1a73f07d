//! Client and backend, both by the script.

use std::sync::Arc;

use bytes::Bytes;
use sealgate::protocol::smtp::Smtp;
use sealgate::protocol::{BareNewline, Dialogue, Opening, Protocol, Rules};

use super::{BOUNDS, Terms, check};
use crate::driver::play;
use crate::fixtures::context;
use crate::script::Script;

/// Behind STARTTLS, with AUTH.
pub const SUBMISSION: u8 = 1;

/// Which services the low bits of the settings stand for: its name, whether there is TLS, and the hello that was said before.
const SERVICES: [(&str, bool, Option<Option<&str>>); 8] = [
    ("smtp", true, None),
    ("submission", true, None),
    ("submissions", true, None),
    ("smtp", false, Some(Some("EHLO c.example"))),
    ("smtp", false, Some(None)),
    ("smtp", false, Some(Some("HELO c.example"))),
    ("submissions", true, None),
    ("smtp", true, None),
];

/// The settings' other bits.
const REJECTS: u8 = 8;
const FEW_ERRORS: u8 = 16;

/// A dialogue for the service that the low bits of `settings` stand for.
pub fn smtp(settings: u8, rejects: bool, max_errors: u32) -> Box<dyn Dialogue> {
    let (service, tls, opening) = SERVICES[usize::from(settings % 8)];
    let bare_newline = if rejects { BareNewline::Reject } else { BareNewline::Normalize };
    let mut context = context(service, tls);
    context.rules = Arc::new(Rules { bare_newline, max_errors, ..Rules::clone(&context.rules) });
    Smtp.dialogue(
        &context,
        opening.map(|hello| Opening { hello: hello.map(|line| Bytes::from_static(line.as_bytes())) }),
    )
}

/// One input of the target `smtp_dialogue`.
pub fn dialogue(input: &[u8]) {
    let script = Script::read(input);
    let settings = script.settings;
    let rejects = settings & REJECTS != 0;
    let max_errors = if settings & FEW_ERRORS != 0 { 3 } else { 20 };
    let driver = play(&script, || smtp(settings, rejects, max_errors), BOUNDS);
    let (service, tls, opening) = SERVICES[usize::from(settings % 8)];
    let terms = Terms { replayed: opening.flatten().is_some(), rejects, auth: tls && service != "smtp" };
    check(&driver, terms);
}
