//! Sealgate in front of the real Postfix and Dovecot: private instances, the real clients, the real binary.
//!
//! One test binary, so that all of it shares one Postfix and one Dovecot, and nothing is linked twice.
#![cfg(test)]

#[path = "../support/mod.rs"]
#[allow(dead_code)] // the attacks use the rest
mod support;

mod backends;
mod check;
mod drain;
mod imap;
mod limits;
mod mail;
mod old_kernel;
mod passes;
mod policy;
mod processes;
mod received;
mod relay;
mod renewal;
mod report;
mod systemd;
mod trouble;
