//! What is known of a peer and of its TLS: plain data for protocols, identity and logs alike.
//!
//! This module imports nothing that runs. [`TlsFacts`] holds a [`Group`], every variant of which is an
//! ephemeral key exchange, so a session without forward secrecy has no value that could describe it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Who is at the other end, and which of our addresses they reached.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The client's address and port; `::ffff:` addresses are mapped back to IPv4 before they get here.
    pub client: SocketAddr,
    /// The address and port of ours that the client connected to.
    pub local: SocketAddr,
    /// What DNS says of the client; looked up only where the backend cannot do it itself (`xclient`).
    pub names: ClientNames,
}

impl Peer {
    /// The PTR name if its forward look-up gives the address back; what logs and Received fields may show.
    pub fn verified_name(&self) -> Option<&Arc<str>> {
        match &self.names.verified {
            Lookup::Found(name) => Some(name),
            Lookup::Absent | Lookup::Failed | Lookup::NotTried => None,
        }
    }
}

/// The two names that Postfix's access rules tell apart.
#[derive(Debug, Clone, Default)]
pub struct ClientNames {
    /// The PTR name alone (`reject_unknown_reverse_client_hostname`).
    pub reverse: Lookup,
    /// The PTR name whose forward look-up gives the address back (`reject_unknown_client_hostname`).
    pub verified: Lookup,
}

/// How a look-up ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Lookup {
    /// Nobody asked: the backend resolves names itself.
    #[default]
    NotTried,
    /// A name.
    Found(Arc<str>),
    /// DNS says that there is none.
    Absent,
    /// DNS failed or was late: nothing is known.
    Failed,
}

/// A session's name in logs, in Received fields and for the backend: short, unique within a host.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SessionId(Arc<str>);

impl SessionId {
    /// Wraps an identifier that consists of ASCII letters and digits; others are replaced by `?`.
    pub fn new(id: &str) -> Self {
        Self(id.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '?' }).collect::<String>().into())
    }

    /// A number with the digits 0 to 9 and A to Z, without leading zeros.
    pub fn counted(mut n: u64) -> Self {
        let mut digits = [b'0'; 13]; // 36 to the power of 13 is more than 64 bits hold
        let mut len = 0;
        for digit in digits.iter_mut().rev() {
            let value = u8::try_from(n % 36).unwrap_or(0);
            *digit = if value < 10 { b'0' + value } else { b'A' + (value - 10) };
            len += 1;
            n /= 36;
            if n == 0 {
                break;
            }
        }
        let digits = digits.get(digits.len() - len..).unwrap_or_default();
        Self(std::str::from_utf8(digits).unwrap_or_default().into())
    }

    /// The identifier.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The TLS of one connection. Built by `tls` alone, from a finished handshake.
#[derive(Debug, Clone)]
pub struct TlsFacts {
    /// Protocol version.
    pub version: TlsVersion,
    /// Cipher suite.
    pub suite: Suite,
    /// The ephemeral key exchange.
    pub group: Group,
    /// The server's signature; none when the session was resumed.
    pub signature: Option<ServerSignature>,
    /// The name the client sent (SNI), as far as it is a DNS name.
    pub sni: Option<Arc<str>>,
    /// The application protocol agreed on (ALPN).
    pub alpn: Option<Arc<str>>,
    /// What became of the client's certificate.
    pub client_certificate: ClientCertificate,
    /// From the first octet of the ClientHello to the end of the handshake.
    pub handshake: Duration,
}

impl TlsFacts {
    /// Whether the session was resumed: a resumption carries no server signature.
    pub fn resumed(&self) -> bool {
        self.signature.is_none()
    }
}

#[cfg(test)]
impl TlsFacts {
    /// What a client of today gets, for tests.
    pub(crate) fn example() -> Self {
        Self {
            version: TlsVersion::Tls13,
            suite: Suite { iana: "TLS_AES_256_GCM_SHA384", openssl: "TLS_AES_256_GCM_SHA384", bits: 256 },
            group: Group::X25519MlKem768,
            signature: Some(ServerSignature {
                iana: "ecdsa_secp256r1_sha256",
                algorithm: SignatureAlgorithm::Ecdsa { curve: "P-256" },
                digest: Some("SHA256"),
                certificate: Some("ecdsa-with-SHA256"),
            }),
            sni: None,
            alpn: None,
            client_certificate: ClientCertificate::NotRequested,
            handshake: Duration::ZERO,
        }
    }
}

/// The protocol versions that have forward secrecy throughout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsVersion {
    /// RFC 5246, with ECDHE and an AEAD only.
    Tls12,
    /// RFC 8446.
    Tls13,
}

impl TlsVersion {
    /// As OpenSSL, Postfix and Dovecot write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tls12 => "TLSv1.2",
            Self::Tls13 => "TLSv1.3",
        }
    }
}

/// A cipher suite under both of its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suite {
    /// The IANA name: `TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384`.
    pub iana: &'static str,
    /// The OpenSSL name: `ECDHE-RSA-AES256-GCM-SHA384`; TLS 1.3 suites have one name.
    pub openssl: &'static str,
    /// Secret bits, which for these ciphers are all of the key's bits.
    pub bits: u16,
}

/// A key-exchange group. Every variant is ephemeral: there is no way to write down a static one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Group {
    /// X25519 with ML-KEM-768, post-quantum hybrid.
    X25519MlKem768,
    /// Curve25519 (RFC 7748).
    X25519,
    /// NIST P-256.
    Secp256r1,
    /// NIST P-384.
    Secp384r1,
}

impl Group {
    /// The name in IANA's TLS Supported Groups registry.
    pub fn iana(self) -> &'static str {
        match self {
            Self::X25519MlKem768 => "X25519MLKEM768",
            Self::X25519 => "x25519",
            Self::Secp256r1 => "secp256r1",
            Self::Secp384r1 => "secp384r1",
        }
    }

    /// As Postfix's FORWARD_SECRECY_README shows it behind `key-exchange`.
    pub fn postfix(self) -> &'static str {
        match self {
            Self::X25519MlKem768 => "X25519MLKEM768",
            Self::X25519 => "X25519",
            Self::Secp256r1 => "ECDHE (P-256)",
            Self::Secp384r1 => "ECDHE (P-384)",
        }
    }

    /// Whether a recording of this session withstands a quantum computer.
    pub fn is_post_quantum(self) -> bool {
        matches!(self, Self::X25519MlKem768)
    }
}

/// How the server proved that the certificate is its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerSignature {
    /// IANA's SignatureScheme name: `rsa_pss_rsae_sha256`, `ecdsa_secp256r1_sha256`, `ed25519`.
    pub iana: &'static str,
    /// Key and padding.
    pub algorithm: SignatureAlgorithm,
    /// `SHA256`, `SHA384` or `SHA512`; Ed25519 has none of its own.
    pub digest: Option<&'static str>,
    /// How the certificate itself was signed, by OpenSSL's short name (`RSA-SHA256`); none for an algorithm of no note.
    pub certificate: Option<&'static str>,
}

/// The kinds of signature a server here can make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureAlgorithm {
    /// RSA with PSS padding.
    RsaPss {
        /// The modulus' size.
        bits: u16,
    },
    /// RSA with PKCS #1 v1.5 padding; TLS 1.2 only.
    RsaPkcs1 {
        /// The modulus' size.
        bits: u16,
    },
    /// ECDSA over the named curve: `P-256`, `P-384`, `P-521`.
    Ecdsa {
        /// NIST's name of the curve.
        curve: &'static str,
    },
    /// Ed25519.
    Ed25519,
}

impl fmt::Display for SignatureAlgorithm {
    /// As Postfix writes it behind `server-signature`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RsaPss { bits } => write!(f, "RSA-PSS ({bits} bits)"),
            Self::RsaPkcs1 { bits } => write!(f, "RSA ({bits} bits)"),
            Self::Ecdsa { curve } => write!(f, "ECDSA ({curve})"),
            Self::Ed25519 => f.write_str("ED25519"),
        }
    }
}

/// What became of the client's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientCertificate {
    /// We did not ask.
    NotRequested,
    /// We asked; there was none.
    NotPresented,
    /// There was one.
    Presented {
        /// The subject's common name, empty if it has none.
        common_name: String,
        /// The issuer's common name, empty if it has none.
        issuer: String,
        /// Whether it leads to the configured authority and is in date.
        verified: bool,
    },
}

/// How a session ended, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// As both sides meant it to.
    Ok,
    /// The client broke the protocol or went away in the middle.
    ClientError,
    /// The gate's own rules refused it.
    Policy,
    /// The backend was not there, or broke the protocol.
    BackendError,
    /// Somebody was silent for too long.
    Timeout,
    /// The gate was stopped.
    Shutdown,
    /// A defect of the gate's own.
    Internal,
}

impl Outcome {
    /// The word in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::ClientError => "client_error",
            Self::Policy => "policy",
            Self::BackendError => "backend_error",
            Self::Timeout => "timeout",
            Self::Shutdown => "shutdown",
            Self::Internal => "internal",
        }
    }
}

/// Why a session ended or a command was refused: a fixed phrase that people can count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reason {
    /// Whose doing it was.
    pub outcome: Outcome,
    /// Short, fixed, lower case, without anything from the wire.
    pub phrase: &'static str,
}

impl Reason {
    /// A reason; protocols keep theirs as constants.
    pub const fn new(outcome: Outcome, phrase: &'static str) -> Self {
        Self { outcome, phrase }
    }
}

/// Maps `::ffff:a.b.c.d` back to IPv4, before limits, identity and logs see the address.
pub fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_counted_with_digits_and_capitals() {
        for (n, id) in [(0, "0"), (35, "Z"), (36, "10"), (36 * 36 * 36 - 1, "ZZZ"), (u64::MAX, "3W5E11264SGSF")] {
            assert_eq!(SessionId::counted(n).as_str(), id);
        }
    }
}
