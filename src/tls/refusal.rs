//! Why a handshake failed: fixed phrases that people can count, and the alert that the client gets.

use std::io;
use std::sync::Arc;

use rustls::{AlertDescription, PeerIncompatible};

use super::alert::Alert;
use super::client_hello::ClientHello;
use super::handshake::Failure;
use super::policy;
use crate::facts::{Outcome, Reason, TlsVersion};
use crate::session_log::Offered;

/// A handshake that came to nothing. The client has its alert already, and the connection is closed.
#[derive(Debug, thiserror::Error)]
#[error("{}: {detail}", reason.phrase)]
pub struct HandshakeError {
    /// For counting.
    pub reason: Reason,
    /// What the client offered, if its ClientHello could be read.
    pub offered: Option<Arc<Offered>>,
    /// The octets of its greeting that the client was sent all the same.
    pub greeted: usize,
    /// For people: one line of printable ASCII.
    pub detail: String,
}

impl HandshakeError {
    /// Whether the client left before it said anything: a port scanner, a health check.
    pub fn cost_nothing(&self) -> bool {
        self.reason == reasons::SILENT
    }

    pub(super) fn new(reason: Reason, hello: Option<&ClientHello>, detail: &str) -> Self {
        // Some of rustls' messages quote the peer.
        let detail = detail.chars().take(200).map(|c| if matches!(c, ' '..='~') { c } else { '?' }).collect();
        Self { reason, offered: hello.map(|hello| Arc::new(hello.offered())), greeted: 0, detail }
    }
}

pub(super) mod reasons {
    use super::{Outcome, Reason};

    const fn policy(phrase: &'static str) -> Reason {
        Reason::new(Outcome::Policy, phrase)
    }

    const fn client(phrase: &'static str) -> Reason {
        Reason::new(Outcome::ClientError, phrase)
    }

    pub(crate) const NO_VERSION: Reason = policy("client offered no supported TLS version");
    pub(crate) const FALLBACK: Reason = policy("client fell back to an older TLS version");
    pub(crate) const NO_SUITE: Reason = policy("no common cipher suite");
    pub(crate) const NO_GROUP: Reason = policy("no common group");
    pub(crate) const NO_SIGNATURE: Reason = policy("no common signature scheme");
    pub(crate) const WRONG_ALPN: Reason = policy("wrong ALPN");
    pub(crate) const CERTIFICATE_REQUIRED: Reason = policy("client certificate required");
    pub(crate) const CERTIFICATE_REJECTED: Reason = policy("client certificate rejected");
    pub(crate) const NOT_FORWARD_SECRET: Reason = policy("no proof of forward secrecy");
    pub(crate) const NO_RECORDS: Reason = policy("no record protection for this suite");
    pub(crate) const NO_PROFILE: Reason = policy("no TLS settings for this service");

    pub(crate) const SSLV2: Reason = policy("SSLv2 ClientHello");
    pub(crate) const HTTP: Reason = client("not TLS: HTTP request");
    pub(crate) const CLEARTEXT: Reason = client("not TLS: cleartext");
    pub(crate) const GARBAGE: Reason = client("not TLS: unknown protocol");
    pub(crate) const MALFORMED: Reason = client("malformed ClientHello");
    pub(crate) const TOO_LARGE: Reason = client("ClientHello too large");
    pub(crate) const INCOMPATIBLE: Reason = client("incompatible TLS client");
    pub(crate) const VIOLATION: Reason = client("TLS protocol violation");
    pub(crate) const SILENT: Reason = client("client closed before its ClientHello");
    pub(crate) const CLOSED: Reason = client("client closed during handshake");

    pub(crate) const NO_HELLO_IN_TIME: Reason = Reason::new(Outcome::Timeout, "no ClientHello in time");
    pub(crate) const TIMEOUT: Reason = Reason::new(Outcome::Timeout, "TLS handshake timed out");
}

/// The reasons for which a client is refused that offers less than the policy takes.
pub(crate) const NOTHING_IN_COMMON: [Reason; 6] = [
    reasons::NO_VERSION,
    reasons::NO_SUITE,
    reasons::NO_GROUP,
    reasons::NO_SIGNATURE,
    reasons::SSLV2,
    reasons::INCOMPATIBLE,
];

/// What came in place of a ClientHello.
#[derive(Debug)]
pub(super) struct Unfit {
    pub(super) reason: Reason,
    /// None for those who would not know what to make of one.
    pub(super) alert: Option<Alert>,
    pub(super) detail: String,
}

impl Unfit {
    pub(super) fn new(reason: Reason, alert: Alert) -> Self {
        Self { alert: Some(alert), ..Self::silent(reason) }
    }

    pub(super) fn silent(reason: Reason) -> Self {
        Self { reason, alert: None, detail: String::from("what the client sent is not a ClientHello") }
    }

    /// The stream ended, or broke, after `wire`.
    pub(super) fn ended(wire: &[u8], error: Option<io::Error>) -> Self {
        let reason = match wire {
            [] => reasons::SILENT,
            // The beginning of a word that could have become an HTTP request.
            [first, ..] if first.is_ascii_graphic() => reasons::CLEARTEXT,
            _ => reasons::CLOSED,
        };
        let how = error.map_or_else(|| String::from("end of stream"), |error| error.to_string());
        Self { reason, alert: None, detail: format!("{how} after {} octets", wire.len()) }
    }
}

/// What speaks against a hello that leads to `version`, and `rustls` does not look at.
pub(super) fn objection(hello: &ClientHello, version: TlsVersion) -> Option<(Alert, Reason, &'static str)> {
    if version == TlsVersion::Tls13 {
        return None;
    }
    // RFC 7507 §3. `rustls` leaves it to the mark in its random (RFC 8446 §4.1.3), which not all such clients look for.
    if hello.is_fallback() {
        let detail = "the client has more than TLS 1.2 and does not offer it";
        return Some((Alert::InappropriateFallback, reasons::FALLBACK, detail));
    }
    // RFC 5746 §3.6: somebody passes on a renegotiation that was meant for another session as if it were a beginning.
    if hello.renegotiates {
        let detail = "the client renegotiates a session that there is not";
        return Some((Alert::HandshakeFailure, reasons::VIOLATION, detail));
    }
    None
}

/// Finds the reason for what went wrong after the ClientHello.
pub(super) fn reason(failure: &Failure, hello: &ClientHello, version: TlsVersion) -> Reason {
    use rustls::Error;
    let Failure::Tls(error) = failure else { return reasons::CLOSED };
    match error {
        Error::AlertReceived(alert) => Reason::new(Outcome::ClientError, alert_phrase(*alert)),
        Error::NoApplicationProtocol => reasons::WRONG_ALPN,
        Error::PeerIncompatible(why) => incompatible(why, hello, version),
        Error::NoCertificatesPresented => reasons::CERTIFICATE_REQUIRED,
        Error::InvalidCertificate(_) => reasons::CERTIFICATE_REJECTED,
        _ => reasons::VIOLATION,
    }
}

fn incompatible(why: &PeerIncompatible, hello: &ClientHello, version: TlsVersion) -> Reason {
    // Without a suite in common the rest is hardly ever in common, either: a client of static RSA sends no groups.
    // That it is the suites is what people can act on, so it is said first.
    if !policy::has_common_suite(hello, version) {
        return reasons::NO_SUITE;
    }
    match why {
        PeerIncompatible::NoCipherSuitesInCommon => reasons::NO_SUITE,
        PeerIncompatible::NoKxGroupsInCommon
        | PeerIncompatible::NamedGroupsExtensionRequired
        | PeerIncompatible::KeyShareExtensionRequired => reasons::NO_GROUP,
        PeerIncompatible::NoSignatureSchemesInCommon | PeerIncompatible::SignatureAlgorithmsExtensionRequired => {
            reasons::NO_SIGNATURE
        }
        _ => reasons::INCOMPATIBLE,
    }
}

/// What the client's alert means here, by the names of RFC 8446 §6.
fn alert_phrase(alert: AlertDescription) -> &'static str {
    use AlertDescription as A;
    match alert {
        A::BadCertificate => "client rejected our certificate: bad_certificate",
        A::UnsupportedCertificate => "client rejected our certificate: unsupported_certificate",
        A::CertificateRevoked => "client rejected our certificate: certificate_revoked",
        A::CertificateExpired => "client rejected our certificate: certificate_expired",
        A::CertificateUnknown => "client rejected our certificate: certificate_unknown",
        A::UnknownCA => "client rejected our certificate: unknown_ca",
        A::BadCertificateStatusResponse => "client rejected our certificate: bad_certificate_status_response",
        A::AccessDenied => "client sent alert: access_denied",
        A::CloseNotify => "client sent alert: close_notify",
        A::DecodeError => "client sent alert: decode_error",
        A::DecryptError => "client sent alert: decrypt_error",
        A::HandshakeFailure => "client sent alert: handshake_failure",
        A::IllegalParameter => "client sent alert: illegal_parameter",
        A::InsufficientSecurity => "client sent alert: insufficient_security",
        A::InternalError => "client sent alert: internal_error",
        A::MissingExtension => "client sent alert: missing_extension",
        A::NoApplicationProtocol => "client sent alert: no_application_protocol",
        A::ProtocolVersion => "client sent alert: protocol_version",
        A::UnexpectedMessage => "client sent alert: unexpected_message",
        A::UnrecognisedName => "client sent alert: unrecognized_name",
        A::UnsupportedExtension => "client sent alert: unsupported_extension",
        A::UserCanceled => "client sent alert: user_canceled",
        _ => "client sent another alert",
    }
}
