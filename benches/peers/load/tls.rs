//! Clients that offer one version, one suite and one group, so that every subject does the same cryptography.

use std::sync::Arc;

use anyhow::ensure;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::aws_lc_rs::cipher_suite;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    ClientConfig, HandshakeKind, NamedGroup, ProtocolVersion, RootCertStore, SupportedCipherSuite,
    SupportedProtocolVersion,
};

use crate::identity::{HOSTNAME, Identity, Key};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    Tls12,
    Tls13,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    X25519,
    X25519MlKem768,
}

/// The cryptography of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    pub version: Version,
    pub group: Group,
    pub key: Key,
}

impl Settings {
    /// What most cases are measured with.
    pub const USUAL: Self = Self { version: Version::Tls13, group: Group::X25519, key: Key::EcdsaP256 };

    pub fn title(self) -> String {
        let version = match self.version {
            Version::Tls12 => "TLS 1.2",
            Version::Tls13 => "TLS 1.3",
        };
        let group = match self.group {
            Group::X25519 => "X25519",
            Group::X25519MlKem768 => "X25519MLKEM768",
        };
        let key = match self.key {
            Key::EcdsaP256 => "ECDSA P-256",
            Key::Rsa2048 => "RSA-2048",
        };
        format!("{version}, AES-256-GCM, {group}, {key}")
    }
}

/// A client; its clones share their tickets.
#[derive(Clone)]
pub struct Client {
    connector: TlsConnector,
    name: ServerName<'static>,
    settings: Settings,
}

/// Whether a session is meant to be resumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Full,
    Resumed,
}

impl Client {
    /// With `tickets` it keeps those that it gets, and comes back with them.
    pub fn new(settings: Settings, identity: &Identity, tickets: bool) -> anyhow::Result<Self> {
        let mut provider: CryptoProvider = aws_lc_rs::default_provider();
        provider.cipher_suites = vec![suite(settings)];
        provider.kx_groups = vec![match settings.group {
            Group::X25519 => aws_lc_rs::kx_group::X25519,
            Group::X25519MlKem768 => aws_lc_rs::kx_group::X25519MLKEM768,
        }];
        if settings.version == Version::Tls12 {
            // Not to be used: in TLS 1.2 the groups also say on which curves a certificate may be (RFC 8422 §5.1).
            provider.kx_groups.push(aws_lc_rs::kx_group::SECP256R1);
        }
        let versions: &[&SupportedProtocolVersion] = match settings.version {
            Version::Tls12 => &[&TLS12],
            Version::Tls13 => &[&TLS13],
        };
        let mut roots = RootCertStore::empty();
        roots.add(identity.certificate.clone())?;
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(versions)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = if tickets { Resumption::in_memory_sessions(8) } else { Resumption::disabled() };
        let name = ServerName::try_from(HOSTNAME)?;
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), name, settings })
    }

    /// The handshake, and the proof that it was the one that was asked for.
    pub async fn secure(&self, stream: TcpStream, kind: Kind) -> anyhow::Result<TlsStream<TcpStream>> {
        let stream = self.connector.connect(self.name.clone(), stream).await?;
        let (_, tls) = stream.get_ref();
        let version = match self.settings.version {
            Version::Tls12 => ProtocolVersion::TLSv1_2,
            Version::Tls13 => ProtocolVersion::TLSv1_3,
        };
        ensure!(tls.protocol_version() == Some(version), "another version: {:?}", tls.protocol_version());
        let agreed = tls.negotiated_cipher_suite().map(|suite| suite.suite());
        ensure!(agreed == Some(suite(self.settings).suite()), "another cipher suite: {agreed:?}");
        let group = match self.settings.group {
            Group::X25519 => NamedGroup::X25519,
            Group::X25519MlKem768 => NamedGroup::X25519MLKEM768,
        };
        let agreed = tls.negotiated_key_exchange_group().map(|group| group.name());
        ensure!(agreed == Some(group), "another group: {agreed:?}");
        let handshake = match kind {
            Kind::Full => HandshakeKind::Full,
            Kind::Resumed => HandshakeKind::Resumed,
        };
        ensure!(tls.handshake_kind() == Some(handshake), "{:?} instead of {kind:?}", tls.handshake_kind());
        Ok(stream)
    }
}

fn suite(settings: Settings) -> SupportedCipherSuite {
    match (settings.version, settings.key) {
        (Version::Tls13, _) => cipher_suite::TLS13_AES_256_GCM_SHA384,
        (Version::Tls12, Key::EcdsaP256) => cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        (Version::Tls12, Key::Rsa2048) => cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    }
}
