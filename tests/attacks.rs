//! Every attack that was tried on the gate, with the real Postfix and Dovecot behind it. docs/threat-model.md says which
//! defence each of them is for.
//!
//! One test binary, so that all of it shares one Postfix and one Dovecot.
#![cfg(test)]

#[path = "support/mod.rs"]
#[allow(dead_code)] // the end-to-end tests use the rest
mod support;

#[path = "attacks/bounds.rs"]
mod bounds;
#[path = "attacks/cutoff.rs"]
mod cutoff;
#[path = "attacks/injection.rs"]
mod injection;
#[path = "attacks/relayed.rs"]
mod relayed;
#[path = "attacks/secrets.rs"]
mod secrets;
#[path = "attacks/slow.rs"]
mod slow;
#[path = "attacks/smuggling.rs"]
mod smuggling;
#[path = "attacks/strangers.rs"]
mod strangers;
