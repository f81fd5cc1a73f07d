//! A TLS client that says what it saw: the round trip compares that with what the gate wrote into the mail.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CipherSuite, ClientConfig, DigitallySignedStruct, HandshakeKind, NamedGroup, ProtocolVersion, RootCertStore,
    SignatureScheme, SupportedProtocolVersion,
};
use serde::Serialize;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::account::HOSTNAME;

/// What a client offers, in its order of preference; an empty list stands for all that the library has.
#[derive(Debug, Clone, Copy)]
pub struct Offer {
    /// The one version.
    pub version: &'static SupportedProtocolVersion,
    /// Groups.
    pub groups: &'static [NamedGroup],
    /// Cipher suites.
    pub suites: &'static [CipherSuite],
    /// Signature schemes, which decide between the gate's certificates.
    pub signatures: &'static [SignatureScheme],
}

/// What the client saw of a connection, by IANA's names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// `TLSv1.3`
    pub tls_version: &'static str,
    /// The cipher suite.
    pub cipher: String,
    /// The key-exchange group.
    pub group: &'static str,
    /// The scheme of the server's signature; none if the session was resumed.
    pub signature: Option<&'static str>,
    /// Whether it was.
    pub resumed: bool,
}

/// Clients that offer the same and share a memory for session tickets.
pub struct TlsClient {
    connector: TlsConnector,
    recorder: Arc<Recorder>,
}

impl TlsClient {
    /// A client that trusts `roots` and nobody else.
    ///
    /// # Errors
    /// If nothing is left of what the library can do.
    pub fn new(roots: RootCertStore, offer: &Offer, alpn: &str) -> Result<Self, rustls::Error> {
        let mut provider = aws_lc_rs::default_provider();
        prefer(&mut provider.kx_groups, offer.groups, |group| group.name());
        prefer(&mut provider.cipher_suites, offer.suites, |suite| suite.suite());
        let provider = Arc::new(provider);
        let recorder = Arc::new(Recorder::new(roots, &provider, offer.signatures)?);
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[offer.version])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&recorder) as Arc<dyn ServerCertVerifier>)
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        Ok(Self { connector: Arc::new(config).into(), recorder })
    }

    /// Does the handshake. One at a time: the signature is recorded on the side.
    ///
    /// # Errors
    /// If it fails, or ended with something that this client did not offer.
    pub async fn handshake(&self, stream: TcpStream) -> io::Result<(TlsStream<TcpStream>, Seen)> {
        let name = ServerName::try_from(HOSTNAME).map_err(io::Error::other)?;
        self.recorder.take();
        let stream = self.connector.connect(name, stream).await?;
        let (_, connection) = stream.get_ref();
        let seen = || {
            Some(Seen {
                tls_version: version_name(connection.protocol_version()?)?,
                // The library's own spelling of TLS 1.3 suites is not IANA's.
                cipher: connection.negotiated_cipher_suite()?.suite().as_str()?.replace("TLS13_", "TLS_"),
                group: group_name(connection.negotiated_key_exchange_group()?.name())?,
                signature: self.recorder.take().and_then(scheme_name),
                resumed: connection.handshake_kind()? == HandshakeKind::Resumed,
            })
        };
        let seen =
            seen().ok_or_else(|| io::Error::other("TLS without an ephemeral key exchange, or of unknown kind"))?;
        Ok((stream, seen))
    }
}

/// Leaves what is wanted, in that order.
fn prefer<T: Copy, N: PartialEq>(have: &mut Vec<T>, wanted: &[N], name: impl Fn(&T) -> N) {
    if !wanted.is_empty() {
        *have = wanted.iter().filter_map(|wanted| have.iter().find(|have| name(have) == *wanted)).copied().collect();
    }
}

fn version_name(version: ProtocolVersion) -> Option<&'static str> {
    match version {
        ProtocolVersion::TLSv1_2 => Some("TLSv1.2"),
        ProtocolVersion::TLSv1_3 => Some("TLSv1.3"),
        _ => None,
    }
}

fn group_name(group: NamedGroup) -> Option<&'static str> {
    match group {
        NamedGroup::X25519MLKEM768 => Some("X25519MLKEM768"),
        NamedGroup::X25519 => Some("x25519"),
        NamedGroup::secp256r1 => Some("secp256r1"),
        NamedGroup::secp384r1 => Some("secp384r1"),
        _ => None,
    }
}

fn scheme_name(scheme: SignatureScheme) -> Option<&'static str> {
    match scheme {
        SignatureScheme::ECDSA_NISTP256_SHA256 => Some("ecdsa_secp256r1_sha256"),
        SignatureScheme::RSA_PSS_SHA256 => Some("rsa_pss_rsae_sha256"),
        SignatureScheme::RSA_PSS_SHA384 => Some("rsa_pss_rsae_sha384"),
        SignatureScheme::RSA_PSS_SHA512 => Some("rsa_pss_rsae_sha512"),
        SignatureScheme::RSA_PKCS1_SHA256 => Some("rsa_pkcs1_sha256"),
        _ => None,
    }
}

/// The library's own verifier, which also notes the scheme that a server signed with: nothing else tells a client.
#[derive(Debug)]
struct Recorder {
    inner: Arc<WebPkiServerVerifier>,
    schemes: Vec<SignatureScheme>,
    last: Mutex<Option<SignatureScheme>>,
}

impl Recorder {
    fn new(
        roots: RootCertStore,
        provider: &Arc<CryptoProvider>,
        wanted: &[SignatureScheme],
    ) -> Result<Self, rustls::Error> {
        let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        let mut schemes = inner.supported_verify_schemes();
        prefer(&mut schemes, wanted, |scheme| *scheme);
        Ok(Self { inner, schemes, last: Mutex::default() })
    }

    fn take(&self) -> Option<SignatureScheme> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn note(&self, signature: &DigitallySignedStruct) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(signature.scheme);
    }
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.note(dss);
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.note(dss);
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}
