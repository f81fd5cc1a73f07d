//! Sealgate in front of the real Postfix and Dovecot: private instances, the real clients, the real binary.
//!
//! One test binary, so that all of it shares one Postfix and one Dovecot, and nothing is linked twice.
#![cfg(test)]

#[path = "../support/mod.rs"]
mod support;

mod attacks;
mod backends;
mod bounds;
mod check;
mod cutoff;
mod drain;
mod imap;
mod injection;
mod limits;
mod mail;
mod passes;
mod policy;
mod received;
mod relay;
mod report;
mod smuggling;
mod strangers;
mod systemd;
mod trouble;
