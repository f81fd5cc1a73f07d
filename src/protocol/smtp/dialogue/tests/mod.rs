//! Whole talks, each also cut at every octet and into pieces of every size.

mod any;
mod auth;
mod content;
mod ends;
mod start;
mod talk;

use std::sync::Arc;

use crate::facts::TlsFacts;
use crate::protocol::smtp::fixtures::{Seen, Step, b, c, context, run_cut};
use crate::protocol::{BareNewline, Context, Event, Rules};

/// Inside TLS, with AUTH.
pub fn submission() -> Context {
    context("submission", "203.0.113.5:1024", Some(TlsFacts::example()))
}

/// Inside TLS, without AUTH.
pub fn smtp() -> Context {
    context("smtp", "203.0.113.5:1024", Some(TlsFacts::example()))
}

pub fn rejecting() -> Context {
    let mut context = smtp();
    context.rules = Arc::new(Rules { bare_newline: BareNewline::Reject, ..Rules::default() });
    context
}

pub const OFFER: &str = "250-mx\r\n250-PIPELINING\r\n250-CHUNKING\r\n250-AUTH PLAIN\r\n250 SMTPUTF8\r\n";

/// Greeting and EHLO, as after STARTTLS.
pub fn hello() -> Vec<Step> {
    vec![b("220 mx\r\n"), c("EHLO c\r\n"), b(OFFER)]
}

/// `hello`, MAIL, one RCPT.
pub fn envelope() -> Vec<Step> {
    let more = [c("MAIL FROM:<a@b>\r\n"), b("250 m\r\n"), c("RCPT TO:<r@example.com>\r\n"), b("250 r\r\n")];
    [hello(), more.to_vec()].concat()
}

/// What `steps` add to what went before them, as text for either side, and all of it.
pub fn after(context: &Context, before: &[Step], steps: &[Step]) -> (String, String, Seen) {
    let earlier = run_cut(context, None, before);
    let seen = run_cut(context, None, &[before, steps].concat());
    let client = seen.client().strip_prefix(&earlier.client()).unwrap().to_owned();
    let backend = seen.backend().strip_prefix(&earlier.backend()).unwrap().to_owned();
    (client, backend, seen)
}

pub fn command(name: &'static str, ok: bool) -> Event {
    Event::Command { name, ok }
}
