//! The services: one line each. Config and CLI learn names, ports and rules from here.

use super::{Protocol, imap::Imap, smtp::Smtp};

/// A service that a listener can offer.
pub struct Service {
    /// Its name in the config, after IANA's service names (RFC 8314 for the TLS ones).
    pub name: &'static str,
    /// IANA's port.
    pub port: u16,
    /// When TLS starts.
    pub tls: TlsMode,
    /// Where AUTH may be used.
    pub auth: AuthRule,
    /// The ALPN protocol name; another one is refused (ALPACA).
    pub alpn: &'static str,
    /// The protocol spoken.
    pub protocol: &'static dyn Protocol,
}

/// When TLS starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsMode {
    /// Cleartext first; the client may stay there (port 25, RFC 3207 §4).
    Optional,
    /// Cleartext first; nothing but STARTTLS leads on.
    Required,
    /// From the first octet (RFC 8314).
    Implicit,
}

/// Where AUTH may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthRule {
    /// Neither offered nor taken.
    Never,
    /// Inside TLS only.
    InsideTls,
}

/// All services, in the order of the documentation.
pub static SERVICES: &[Service] = &[
    Service { name: "smtp", port: 25, tls: TlsMode::Optional, auth: AuthRule::Never, alpn: "smtp", protocol: &Smtp },
    Service {
        name: "submission",
        port: 587,
        tls: TlsMode::Required,
        auth: AuthRule::InsideTls,
        alpn: "smtp",
        protocol: &Smtp,
    },
    Service {
        name: "submissions",
        port: 465,
        tls: TlsMode::Implicit,
        auth: AuthRule::InsideTls,
        alpn: "smtp",
        protocol: &Smtp,
    },
    Service {
        name: "imap",
        port: 143,
        tls: TlsMode::Required,
        auth: AuthRule::InsideTls,
        alpn: "imap",
        protocol: &Imap,
    },
    Service {
        name: "imaps",
        port: 993,
        tls: TlsMode::Implicit,
        auth: AuthRule::InsideTls,
        alpn: "imap",
        protocol: &Imap,
    },
];

impl Service {
    /// The service of that name.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        SERVICES.iter().find(|service| service.name == name)
    }

    /// Whether mail is handed in here, so that the backend must not relay for strangers.
    pub fn takes_mail(&self) -> bool {
        self.protocol.name() == "smtp"
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}
