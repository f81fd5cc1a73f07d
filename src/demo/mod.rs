//! The demo: everything Sealgate does, on loopback, without any setup.

pub mod account;
pub mod imap_server;
pub mod mailbox;
mod message;
pub mod smtp_server;
pub mod wire;

#[cfg(test)]
mod testing;
