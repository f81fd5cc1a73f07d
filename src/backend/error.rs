//! Why a backend cannot be used, in words that say what to do.

use std::io;
use std::time::Duration;

use super::{imap_id, xclient};
use crate::config::{BackendAddr, ClientIdentity};
use crate::facts::{Outcome, Reason};

/// What a backend said, as far as a log needs it.
const QUOTE_LIMIT: usize = 200;

/// Why a backend cannot be used for a client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No connection.
    #[error("cannot connect to backend {backend}: {source}; {}", dial_advice(source))]
    Dial {
        /// The backend.
        backend: BackendAddr,
        /// What the system said.
        source: io::Error,
    },
    /// We cannot even try, for want of something of our own. That says nothing of the backend.
    #[error(
        "cannot connect to backend {backend}: {source}; the limits of this process or host are reached, see `ulimit -n`"
    )]
    Short {
        /// The backend.
        backend: BackendAddr,
        /// What the system said.
        source: io::Error,
    },
    /// It was silent for too long.
    #[error(
        "backend {backend} was silent: no {step} within {limit:?}; check that it is not overloaded and that this port \
         expects what client_identity sends (a port that expects a PROXY header or TLS says nothing before it)"
    )]
    Late {
        /// The backend.
        backend: BackendAddr,
        /// What was waited for.
        step: &'static str,
        /// For how long.
        limit: Duration,
    },
    /// The connection broke off.
    #[error("lost backend {backend} before its {step}: {source}; its own log may say why")]
    Lost {
        /// The backend.
        backend: BackendAddr,
        /// What was waited for.
        step: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// It does not speak the protocol.
    #[error("backend {backend} gave a {step} that breaks the protocol: {seen}; check that the port is the right one")]
    Nonsense {
        /// The backend.
        backend: BackendAddr,
        /// What was waited for.
        step: &'static str,
        /// How it began.
        seen: String,
    },
    /// It said no before anything was asked of it.
    #[error("backend {backend} refused: its {step} was {reply}")]
    Refused {
        /// The backend.
        backend: BackendAddr,
        /// Which answer it was.
        step: &'static str,
        /// The answer.
        reply: String,
    },
    /// It takes nothing without TLS, which ends at the gate (RFC 3207 §4): it would refuse every mail for good.
    #[error(
        "backend {backend} takes no mail without TLS ({reply}); set -o smtpd_tls_security_level=none for that service in \
         master.cf, as config/backends/ shows: TLS ends at the gate"
    )]
    WantsTls {
        /// The backend.
        backend: BackendAddr,
        /// The answer.
        reply: String,
    },
    /// The EHLO answer has no XCLIENT, or XCLIENT without ADDR.
    #[error(
        "backend {backend} does not announce XCLIENT with ADDR; add the address we connect from to \
         smtpd_authorized_xclient_hosts of that service, or choose another client_identity"
    )]
    XclientNotAnnounced {
        /// The backend.
        backend: BackendAddr,
    },
    /// XCLIENT was answered with something that says no to us, or nothing at all.
    #[error(
        "backend {backend} refused XCLIENT: {reply}; add the address we connect from to \
         smtpd_authorized_xclient_hosts of that service"
    )]
    XclientRefused {
        /// The backend.
        backend: BackendAddr,
        /// The answer.
        reply: String,
    },
    /// The capability list has no ID.
    #[error(
        "backend {backend} takes no client's address by ID; choose another client_identity, since \"imap-id\" needs \
         Dovecot 2.0.9 or later"
    )]
    IdNotTaken {
        /// The backend.
        backend: BackendAddr,
    },
    /// The PROXY header was taken for a command.
    #[error(
        "backend {backend} took the PROXY header of client_identity = \"{}\" for a command ({reply}); set \
         smtpd_upstream_proxy_protocol = haproxy for that service (Postfix 2.10 or later, for proxy-v2 3.5) or haproxy = \
         yes for that inet_listener (Dovecot 2.2.19 or later), or choose another client_identity",
        .identity.as_str()
    )]
    ProxyNotUnderstood {
        /// The backend.
        backend: BackendAddr,
        /// What was sent.
        identity: ClientIdentity,
        /// The answer.
        reply: String,
    },
    /// The PROXY header could not be written.
    #[error("cannot write a PROXY header for backend {backend}: {source}")]
    Header {
        /// The backend.
        backend: BackendAddr,
        /// What the encoder said.
        source: proxy_header::Error,
    },
}

impl ConnectError {
    /// Whether this is the backend's word on one client, spoken when it knew who that is: another backend must not be asked for a
    /// kinder one, nor anybody else be shut out for it.
    pub fn is_about_the_client(&self) -> bool {
        matches!(self, Self::Refused { step, .. } if *step == xclient::ANSWER || *step == imap_id::ANSWER)
    }

    /// The phrase for the session's record.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Dial { .. } => Reason::new(Outcome::BackendError, "backend unreachable"),
            Self::Short { .. } => Reason::new(Outcome::BackendError, "no descriptor for the backend"),
            Self::Late { .. } => Reason::new(Outcome::Timeout, "backend too slow to answer"),
            Self::Lost { .. } => Reason::new(Outcome::BackendError, "backend connection lost"),
            Self::Nonsense { .. } => Reason::new(Outcome::BackendError, "backend broke the protocol"),
            Self::Refused { .. } | Self::WantsTls { .. } => {
                Reason::new(Outcome::BackendError, "backend refused the connection")
            }
            Self::XclientNotAnnounced { .. }
            | Self::XclientRefused { .. }
            | Self::IdNotTaken { .. }
            | Self::ProxyNotUnderstood { .. }
            | Self::Header { .. } => Reason::new(Outcome::BackendError, "backend refused the client identity"),
        }
    }
}

/// What to do where a backend cannot be dialled.
fn dial_advice(error: &io::Error) -> &'static str {
    match error.kind() {
        // Also for root, who has no rights beyond those of its files once it is in the sandbox.
        io::ErrorKind::PermissionDenied => {
            "the gate's user may not open this socket: let its group into the socket's directory, or name a port"
        }
        _ => "check that it runs and listens there",
    }
}

/// What a backend said, fit for one line of a log: bounded, line ends as spaces, control characters as `?`.
pub(super) fn quote(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    let one_line = said.trim_end().replace("\r\n", " ");
    one_line.chars().take(QUOTE_LIMIT).map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_is_one_bounded_line() {
        assert_eq!(quote(b"250-a\r\n250 b\r\n"), "250-a 250 b");
        assert_eq!(quote(b"500 \x1b[31m\nred\r\n"), "500 ?[31m?red");
        assert_eq!(quote(&[b'x'; 5_000]).len(), QUOTE_LIMIT);
        assert_eq!(quote(b"\xff\xfe"), "\u{fffd}\u{fffd}");
    }
}
