//! The configuration as used: checked once, complete, no `Option` that means "later".
//!
//! [`Config::load`] reads it as written and collects every mistake with its place: [`Errors`].

mod errors;
mod file;

pub use errors::{Errors, Mistake};

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::protocol::{BareNewline, Service};

/// Everything an administrator decided.
#[derive(Debug, Clone)]
pub struct Config {
    /// Our name in greetings, Received fields and EHLO.
    pub hostname: Arc<str>,
    /// How long sessions may go on after SIGTERM.
    pub drain: Duration,
    /// Where names are looked up.
    pub dns: Dns,
    /// Worker threads; by default one a core.
    pub workers: NonZeroUsize,
    /// Whom the process that speaks to the network runs as, when the gate is started by root; none: as whoever starts it.
    pub user: Option<User>,
    /// TLS for all listeners.
    pub tls: Tls,
    /// Where the log goes, and how it looks.
    pub log: Log,
    /// Whether Received names the authenticated user.
    pub received_user: bool,
    /// How much a client may cost.
    pub limits: Limits,
    /// How long anybody may be waited for.
    pub deadlines: Deadlines,
    /// The listeners; at least one.
    pub listeners: Vec<Listener>,
}

/// An account of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum User {
    /// By its name.
    Name(String),
    /// By its number.
    Id(u32),
}

impl std::fmt::Display for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Id(uid) => write!(f, "{uid}"),
        }
    }
}

/// Name look-ups, which only `client_identity = "xclient"` needs.
#[derive(Debug, Clone)]
pub struct Dns {
    /// Whom to ask; empty means the system's resolvers (`/etc/resolv.conf`).
    pub servers: Vec<SocketAddr>,
    /// How long the two look-ups of a client may take together.
    pub deadline: Duration,
    /// The most answers kept.
    pub cache: NonZeroUsize,
}

/// TLS settings.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Which versions are spoken.
    pub policy: Policy,
    /// At least one; the first is the one for clients that send no name.
    pub certificates: Vec<CertificateFiles>,
    /// Whether clients are asked for a certificate.
    pub client_certificates: ClientCertificates,
    /// How long a ticket key seals new tickets; a ticket is accepted for two such periods at most. None where none are given.
    pub ticket_rotation: Option<Duration>,
}

/// After Mozilla's names, less what is not forward secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// TLS 1.2 with ECDHE and an AEAD, and TLS 1.3.
    Intermediate,
    /// TLS 1.3 only.
    Modern,
}

/// A certificate chain and its key, both PEM.
#[derive(Debug, Clone)]
pub struct CertificateFiles {
    /// The chain, the server's own certificate first.
    pub chain: PathBuf,
    /// The private key: PKCS #8, PKCS #1 or SEC 1.
    pub key: PathBuf,
}

/// Whether clients are asked for a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientCertificates {
    /// Not asked.
    None,
    /// Asked; any or none will do, and the facts say which.
    Request {
        /// PEM file of authorities.
        ca: PathBuf,
    },
    /// Asked; without a valid one the handshake fails.
    Require {
        /// PEM file of authorities.
        ca: PathBuf,
    },
}

/// The session log.
#[derive(Debug, Clone)]
pub struct Log {
    /// How a record looks.
    pub format: LogFormat,
    /// Where it goes.
    pub to: LogTarget,
    /// The program's name in `postfix` format: `sealgate`, or `postfix` for tools that look for that.
    pub program: LogProgram,
}

/// How a record looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// `key=value`.
    Text,
    /// One JSON object a line.
    Json,
    /// Postfix's and Dovecot's own lines.
    Postfix,
}

/// Where the log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard error.
    Stderr,
    /// systemd's journal.
    Journal,
    /// A file, appended to.
    File(PathBuf),
}

/// The program's name in `postfix` format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogProgram {
    /// `sealgate/smtpd[pid]`, `sealgate: imap-login`.
    Sealgate,
    /// `postfix/smtpd[pid]`, `dovecot: imap-login`.
    Postfix,
}

/// How much a client may cost.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Concurrent connections from one IPv4 address or IPv6 /64.
    pub connections_per_address: NonZeroUsize,
    /// Of these, those to listeners with [`ClientIdentity::Xclient`], whose backend cannot count its clients.
    pub xclient_connections_per_address: NonZeroUsize,
    /// New sessions from one; none: no limit.
    pub sessions_per_minute: Option<NonZeroU32>,
    /// Failed TLS handshakes from one, after which it is refused for a while; none: no limit.
    pub failed_handshakes_per_minute: Option<NonZeroU32>,
    /// Failed logins from one, after which it is refused for a while; none: no limit.
    pub failed_logins_per_minute: Option<NonZeroU32>,
    /// Networks for which none of these count.
    pub exempt: Vec<IpNet>,
    /// Refused commands after which a session is closed.
    pub errors: u32,
}

/// How long anybody may be waited for.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// A PROXY header, where one is due.
    pub proxy_header: Duration,
    /// The TLS handshake as a whole.
    pub handshake: Duration,
    /// The backend's TCP connection and what identity it needs.
    pub connect: Duration,
    /// The backend's greeting.
    pub greeting: Duration,
    /// The client's login (IMAP), or its first MAIL or AUTH (SMTP): all that it takes for it, before, in and after the handshake.
    pub login: Duration,
    /// The client's next command (RFC 5321 §4.5.3.2.7: at least 5 minutes).
    pub command: Duration,
    /// More of a message's content (RFC 5321 §4.5.3.2.5: 3 minutes).
    pub body: Duration,
    /// What must come in of a message, on average, in octets a second; none: any pace will do.
    pub body_rate: Option<NonZeroU32>,
    /// The backend's reply to a command.
    pub reply: Duration,
    /// The backend's reply to the end of data (RFC 5321 §4.5.3.2.6: 10 minutes).
    pub delivery: Duration,
}

/// One listener.
#[derive(Debug, Clone)]
pub struct Listener {
    /// The service: protocol, TLS mode and AUTH rule.
    pub service: &'static Service,
    /// Where it listens; at least one address.
    pub listen: Vec<SocketAddr>,
    /// Where the plaintext goes: at least one, the preferred first, none of them twice.
    pub backends: Vec<BackendAddr>,
    /// How the backend is told who the client is.
    pub identity: ClientIdentity,
    /// `allow_relay_as_proxy`: the administrator knows that the backend takes the proxy for the client; no relay self-test.
    pub relay_as_proxy: bool,
    /// Peers that must send a PROXY header; everybody else must not.
    pub accept_proxy_from: Vec<IpNet>,
    /// Concurrent connections.
    pub connections: NonZeroUsize,
    /// Bare CR and LF in DATA.
    pub bare_newline: BareNewline,
}

/// Where a backend listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum BackendAddr {
    /// An address and port.
    Tcp(SocketAddr),
    /// A Unix-domain socket.
    Unix(PathBuf),
}

impl std::fmt::Display for BackendAddr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(addr) => write!(f, "{addr}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// How the backend is told who the client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientIdentity {
    /// Postfix's XCLIENT command (Postfix ≥ 2.1).
    Xclient,
    /// PROXY protocol, version 1 (Postfix ≥ 2.10).
    ProxyV1,
    /// PROXY protocol, version 2 with TLS facts (Postfix ≥ 3.5, Dovecot ≥ 2.2.19).
    ProxyV2,
    /// IMAP's ID command (Dovecot ≥ 2.0.9 with `login_trusted_networks`).
    ImapId,
    /// Not at all.
    None,
}

impl ClientIdentity {
    /// All of them, by the names of the config.
    pub const ALL: &'static [(&'static str, Self)] = &[
        ("xclient", Self::Xclient),
        ("proxy-v1", Self::ProxyV1),
        ("proxy-v2", Self::ProxyV2),
        ("imap-id", Self::ImapId),
        ("none", Self::None),
    ];

    /// Its name in the config.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, identity)| *identity == self).map_or("none", |(name, _)| name)
    }
}
