//! TLS towards the clients.

pub mod self_signed;
