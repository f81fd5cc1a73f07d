//! The processes of the gate, and what they may do.
//!
//! ```text
//!  started by root, with `user`                            otherwise
//!
//!  parent (root)                worker (`user`)            one process
//!  ports, keys, log, signals    sessions; sandboxed        both; sandboxed
//!        │   Config, Certificate, Log, Socket, Stop   ▲
//!        └────────────── a pair of sockets ───────────┘
//! ```
//!
//! The parent does what takes root's rights and never speaks to the network; the worker speaks to the network and has no
//! rights. Both run the same code from `serve` on: who gives the orders (signals, or the parent) is all that differs.

mod account;
mod channel;
mod notify;
mod one;
mod parent;
pub mod sandbox;
mod serve;
mod signals;
mod worker;

use std::io;
use std::path::Path;
use std::process::ExitCode;

use listenfd::ListenFd;
use socket2::Socket;

use crate::config::{self, Config, User};
use crate::dumps;
use crate::renewal::ReadOnce;
use crate::server::StartError;
use crate::tls::{CertificateError, SetupError};

pub use account::AccountError;

/// The argument by which the program becomes a worker.
pub const WORKER: &str = "worker";

/// Why there is no gate.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] config::Errors),
    /// The worker's user.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// A certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The gate's TLS.
    #[error(transparent)]
    Tls(#[from] SetupError),
    /// The gate.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The log, as the message says.
    #[error("{0}")]
    Log(io::Error),
    /// Something that the operating system refused.
    #[error("cannot {what}: {error}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the operating system said.
        error: io::Error,
    },
    /// A part of the program that there may be once was there already.
    #[error("cannot receive messages for the log: {0}")]
    Tracing(#[from] tracing_subscriber::util::TryInitError),
}

impl ProcessError {
    /// For `map_err`: what was tried.
    fn at(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::System { what, error }
    }
}

/// Serves with the configuration in that file until told to stop. The calling thread must be the only one.
///
/// # Errors
/// Says what keeps the gate from starting.
pub fn run(path: &Path) -> Result<ExitCode, ProcessError> {
    forbid_dumps();
    let written = ReadOnce::new(path);
    let (config, text) = Config::load_with_text(path)?;
    match &config.user {
        Some(user) if rustix::process::geteuid().is_root() => {
            let ids = account::find(user)?;
            parent::run(path, config, text, ids, written)
        }
        _ => one::run(config, written),
    }
}

/// Whether a worker could run as that user.
///
/// # Errors
/// Says why not.
pub fn check_user(user: &User) -> Result<(), AccountError> {
    account::find(user).map(|_| ())
}

/// Serves as the worker of the parent at the other end of standard input.
///
/// # Errors
/// There is no parent, or what keeps the gate from starting.
pub fn work() -> Result<ExitCode, ProcessError> {
    forbid_dumps();
    worker::run()
}

/// Before any key is read. Whether it could be done is asked once more where there is a log to say so.
fn forbid_dumps() {
    let _ = dumps::forbid();
}

/// The sockets that systemd opened for us, if it did.
fn inherited() -> Vec<Socket> {
    let mut passed = ListenFd::from_env();
    (0..passed.len())
        .filter_map(|index| passed.take_tcp_listener(index).ok().flatten())
        .filter(|listener| listener.set_nonblocking(true).is_ok())
        .map(Socket::from)
        .collect()
}
