//! Every attack that was tried on the gate, with the real Postfix and Dovecot behind it. docs/threat-model.md says which
//! defence each of them is for.
//!
//! One test binary, so that all of it shares one Postfix and one Dovecot.
#![cfg(test)]

#[path = "support/mod.rs"]
#[allow(dead_code)] // the end-to-end tests use the rest
mod support;

#[path = "attacks/alpaca.rs"]
mod alpaca;
#[path = "attacks/bounds.rs"]
mod bounds;
#[path = "attacks/commands.rs"]
mod commands;
#[path = "attacks/cutoff.rs"]
mod cutoff;
#[path = "attacks/descriptors.rs"]
mod descriptors;
#[path = "attacks/exhaustion.rs"]
mod exhaustion;
#[path = "attacks/failover.rs"]
mod failover;
#[path = "attacks/giants.rs"]
mod giants;
#[path = "attacks/imap_model.rs"]
mod imap_model;
#[path = "attacks/imap_streams.rs"]
mod imap_streams;
#[path = "attacks/injection.rs"]
mod injection;
#[path = "attacks/killed.rs"]
mod killed;
#[path = "attacks/octets.rs"]
mod octets;
#[path = "attacks/rates.rs"]
mod rates;
#[path = "attacks/secrets.rs"]
mod secrets;
#[path = "attacks/slow.rs"]
mod slow;
#[path = "attacks/smtp/mod.rs"]
mod smtp;
#[path = "attacks/smuggling.rs"]
mod smuggling;
#[path = "attacks/starttls.rs"]
mod starttls;
#[path = "attacks/strangers.rs"]
mod strangers;
#[path = "attacks/surroundings.rs"]
mod surroundings;
