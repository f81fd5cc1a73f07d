//! The gate's TLS against real clients: OpenSSL's `s_client` and `rustls`.

// A test that meets an error ends; clippy knows that of `#[test]` functions, not of their helpers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod client_certificates;
mod openssl;
mod resumption;
mod rustls_client;
mod support;
