//! The gate's TLS against real clients: OpenSSL's `s_client` and `rustls`.

mod client_certificates;
mod openssl;
mod resumption;
mod rustls_client;
mod support;
