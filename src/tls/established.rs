//! The only place where [`TlsFacts`] come from: a finished handshake whose key exchange was ephemeral.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::DnsName;
use rustls::server::UnbufferedServerConnection;
use rustls::{CipherSuite, HandshakeKind, NamedGroup, ProtocolVersion};

use super::client_hello::ClientHello;
use super::policy;
use crate::facts::{ClientCertificate, ServerSignature, TlsFacts, TlsVersion};

/// What `rustls` and the signing key tell of a handshake that is over.
#[derive(Debug, Clone)]
pub(super) struct Finished {
    version: Option<ProtocolVersion>,
    suite: Option<CipherSuite>,
    group: Option<NamedGroup>,
    kind: Option<HandshakeKind>,
    signature: Option<ServerSignature>,
    sni: Option<Arc<str>>,
    alpn: Option<Arc<str>>,
}

impl Finished {
    /// `hello` is what the connection was made from: `rustls` has seen to it that a name in it is one.
    pub(super) fn of(
        connection: &UnbufferedServerConnection,
        hello: &ClientHello,
        signature: Option<ServerSignature>,
    ) -> Self {
        let alpn = connection.alpn_protocol().and_then(|name| std::str::from_utf8(name).ok());
        Self {
            version: connection.protocol_version(),
            suite: connection.negotiated_cipher_suite().map(|suite| suite.suite()),
            group: connection.negotiated_key_exchange_group().map(|group| group.name()),
            kind: connection.handshake_kind(),
            signature,
            sni: hello.sni.as_deref().and_then(server_name),
            alpn: alpn.map(Arc::from),
        }
    }

    /// The facts, or what is missing for them.
    pub(super) fn establish(
        self,
        client_certificate: ClientCertificate,
        handshake: Duration,
    ) -> Result<TlsFacts, &'static str> {
        let version = match self.version {
            Some(ProtocolVersion::TLSv1_3) => TlsVersion::Tls13,
            Some(ProtocolVersion::TLSv1_2) => TlsVersion::Tls12,
            _ => return Err("neither TLS 1.2 nor TLS 1.3"),
        };
        let suite = self.suite.and_then(policy::suite).ok_or("an unknown cipher suite")?;
        let group = self.group.and_then(policy::group).ok_or("no ephemeral group")?;
        let signature = match (self.kind, version) {
            (Some(HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest), _) => {
                Some(self.signature.ok_or("a full handshake without a signature of ours")?)
            }
            (Some(HandshakeKind::Resumed), TlsVersion::Tls13) => None,
            (Some(HandshakeKind::Resumed), TlsVersion::Tls12) => return Err("a TLS 1.2 session was resumed"),
            (None, _) => return Err("an unfinished handshake"),
        };
        Ok(TlsFacts { version, suite, group, signature, sni: self.sni, alpn: self.alpn, client_certificate, handshake })
    }
}

/// The name that a client asked for, in lower case. An address in its place is no name (RFC 6066 §3).
fn server_name(sni: &[u8]) -> Option<Arc<str>> {
    let name = DnsName::try_from(sni).ok()?;
    Some(name.to_lowercase_owned().as_ref().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Group, SignatureAlgorithm};

    fn full() -> Finished {
        Finished {
            version: Some(ProtocolVersion::TLSv1_2),
            suite: Some(CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
            group: Some(NamedGroup::X25519),
            kind: Some(HandshakeKind::Full),
            signature: Some(ServerSignature {
                iana: "rsa_pss_rsae_sha256",
                algorithm: SignatureAlgorithm::RsaPss { bits: 2048 },
                digest: Some("SHA256"),
                certificate: None,
            }),
            sni: None,
            alpn: None,
        }
    }

    fn establish(finished: Finished) -> Result<TlsFacts, &'static str> {
        finished.establish(ClientCertificate::NotRequested, Duration::ZERO)
    }

    #[test]
    fn an_ephemeral_handshake_has_facts() {
        let facts = establish(full()).unwrap();
        assert_eq!((facts.version, facts.group, facts.resumed()), (TlsVersion::Tls12, Group::X25519, false));
        assert_eq!(facts.suite.openssl, "ECDHE-RSA-AES256-GCM-SHA384");
    }

    #[test]
    fn whatever_is_not_forward_secret_has_none() {
        let cases: [(&str, Finished); 8] = [
            ("neither TLS 1.2 nor TLS 1.3", Finished { version: Some(ProtocolVersion::TLSv1_1), ..full() }),
            (
                "an unknown cipher suite",
                Finished { suite: Some(CipherSuite::TLS_RSA_WITH_AES_128_GCM_SHA256), ..full() },
            ),
            ("an unknown cipher suite", Finished { suite: None, ..full() }),
            ("no ephemeral group", Finished { group: None, ..full() }),
            ("no ephemeral group", Finished { group: Some(NamedGroup::FFDHE2048), ..full() }),
            ("a full handshake without a signature of ours", Finished { signature: None, ..full() }),
            ("a TLS 1.2 session was resumed", Finished { kind: Some(HandshakeKind::Resumed), ..full() }),
            ("an unfinished handshake", Finished { kind: None, ..full() }),
        ];
        for (why, finished) in cases {
            assert_eq!(establish(finished.clone()).err(), Some(why), "{finished:?}");
        }
    }

    #[test]
    fn a_resumption_has_a_group_and_no_signature() {
        let resumed = Finished {
            version: Some(ProtocolVersion::TLSv1_3),
            suite: Some(CipherSuite::TLS13_AES_256_GCM_SHA384),
            kind: Some(HandshakeKind::Resumed),
            signature: None,
            ..full()
        };
        let facts = establish(resumed.clone()).unwrap();
        assert!(facts.resumed());
        assert_eq!(facts.group, Group::X25519);
        assert_eq!(establish(Finished { group: None, ..resumed }).err(), Some("no ephemeral group"));
    }
}
