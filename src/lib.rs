//! Sealgate puts modern, forward-secret TLS in front of the mail server that cannot be upgraded.
//!
//! # Layout
//!
//! ```text
//!  listener ──▶ session ──▶ preamble ──STARTTLS──▶ tls ──▶ backend ──▶ relay(dialogue) ──▶ splice ──▶ session log
//!  accept,      the story,  cleartext, client      policy,  dial, say   judge both        opaque     one record
//!  limits,      top to      only; nothing          facts    who the     directions        bytes      a session
//!  PROXY in     bottom      survives the upgrade            client is
//! ```
//!
//! Start with [`session`], which tells one connection from top to bottom. What SMTP and IMAP
//! mean is in [`protocol`], which owns no socket, clock or task; [`relay`] drives it.
//! Implicit TLS (465, 993) takes the same way without the preamble. The command line, `cli`, belongs to the binary.

#![cfg_attr(not(test), deny(clippy::string_slice))] // its panic would quote the text, which may be a secret

pub mod config;
pub mod dumps;
pub mod process;
pub mod renewal;
pub mod server;

pub mod descriptors;
pub mod limits;
pub mod listener;
pub mod session;

pub mod backend;
pub mod buffers;
pub mod cleartext;
pub mod protocol;
pub mod relay;
pub mod stop;
pub mod stream;
pub mod tls;

pub mod facts;
pub mod report;
pub mod secret;
pub mod session_log;

pub mod demo;
