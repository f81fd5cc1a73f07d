//! One record a session, and its renderings.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::facts::{Lookup, Outcome, SessionId, TlsFacts};

/// What a session leaves behind. `None` is for what did not happen, never for "later".
#[derive(Debug, Clone)]
pub struct Record {
    /// When the session began.
    pub began: SystemTime,
    /// Its identifier.
    pub session: SessionId,
    /// The address that was listened on.
    pub listener: SocketAddr,
    /// The service's name.
    pub service: &'static str,
    /// `smtp` or `imap`.
    pub protocol: &'static str,
    /// The client.
    pub client: SocketAddr,
    /// The client's verified name.
    pub client_name: Lookup,
    /// Our address, as the client reached it.
    pub local: SocketAddr,
    /// The session's TLS.
    pub tls: Option<Arc<TlsFacts>>,
    /// What a client offered whose handshake failed.
    pub offered: Option<Arc<Offered>>,
    /// The client's last EHLO or HELO name.
    pub helo: Option<String>,
    /// The user that logged in, or last tried to.
    pub user: Option<String>,
    /// The mechanism last tried.
    pub method: Option<String>,
    /// Failed logins.
    pub auth_failures: u32,
    /// Whether a login succeeded.
    pub authenticated: bool,
    /// Messages that the backend took.
    pub accepted: u64,
    /// Messages that it did not take.
    pub rejected: u64,
    /// Commands: name, successes, all.
    pub commands: Vec<CommandCount>,
    /// Octets from the client, inside TLS.
    pub bytes_in: u64,
    /// Octets to the client, inside TLS.
    pub bytes_out: u64,
    /// The backend's address.
    pub backend: String,
    /// How long it lasted.
    pub duration: Duration,
    /// How it ended.
    pub outcome: Outcome,
    /// Why: a fixed phrase.
    pub reason: &'static str,
}

/// How often a command was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandCount {
    /// Lower case.
    pub name: &'static str,
    /// With a positive answer.
    pub ok: u32,
    /// In all.
    pub all: u32,
}

/// What a ClientHello offered, by IANA's names; unknown code points as `0x….`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offered {
    /// Protocol versions, `TLSv1.3` and so on.
    pub versions: Vec<String>,
    /// Cipher suites.
    pub suites: Vec<String>,
    /// Groups.
    pub groups: Vec<String>,
    /// Signature schemes.
    pub signatures: Vec<String>,
    /// The name asked for, its grammar enforced.
    pub sni: Option<String>,
    /// Application protocols, their grammar enforced.
    pub alpn: Vec<String>,
}
