//! The demo: its embedded servers spoken to by other people's clients, and the whole command.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "clippy's allowance for tests does not reach their helpers"
)]

mod command;
mod embedded;

#[path = "../support/ports.rs"]
#[allow(dead_code)] // the real servers' tests use the rest
mod ports;
