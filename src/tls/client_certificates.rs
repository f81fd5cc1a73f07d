//! Client certificates: not asked for, asked for, or demanded.
//!
//! Where they are asked for, any certificate or none will do, and the facts say whether it leads to the configured
//! authority. Verification is done (again) when the handshake is over, by the same verifier: so a resumed session,
//! whose certificate comes out of its ticket, is judged by today's date, too.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoClientAuth, WebPkiClientVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Name;

use super::pem;
use crate::config;
use crate::facts::ClientCertificate;

/// The longest name that facts carry, as Postfix's `CCERT_BUFSIZ`.
const NAME_LIMIT: usize = 256;

/// What is done about client certificates.
pub(super) struct ClientCertificates {
    /// For `rustls`.
    pub(super) handshake: Arc<dyn ClientCertVerifier>,
    /// What leads to the authority; none where nobody is asked.
    authority: Option<Arc<dyn ClientCertVerifier>>,
    required: bool,
}

/// Why the file of authorities cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{} {problem}", path.display())]
pub struct AuthorityError {
    path: PathBuf,
    problem: String,
}

impl ClientCertificates {
    /// `read` is what the file of authorities holds, where somebody has read it already.
    pub(super) fn new(settings: &config::ClientCertificates, read: Option<&[u8]>) -> Result<Self, AuthorityError> {
        let (ca, required) = match settings {
            config::ClientCertificates::None => {
                return Ok(Self { handshake: Arc::new(NoClientAuth), authority: None, required: false });
            }
            config::ClientCertificates::Request { ca } => (ca, false),
            config::ClientCertificates::Require { ca } => (ca, true),
        };
        let authority = authority(ca, read).map_err(|problem| AuthorityError { path: ca.clone(), problem })?;
        let handshake: Arc<dyn ClientCertVerifier> =
            if required { Arc::clone(&authority) } else { Arc::new(AnyOrNone(Arc::clone(&authority))) };
        Ok(Self { handshake, authority: Some(authority), required })
    }

    /// The fact about a finished handshake's certificates, the client's own one first.
    ///
    /// None if a demanded certificate is missing or does not verify, which only a resumption can lead to.
    pub(super) fn fact(&self, presented: Option<&[CertificateDer<'_>]>, now: UnixTime) -> Option<ClientCertificate> {
        let Some(authority) = &self.authority else { return Some(ClientCertificate::NotRequested) };
        let Some((own, intermediates)) = presented.and_then(<[_]>::split_first) else {
            return (!self.required).then_some(ClientCertificate::NotPresented);
        };
        let verified = authority.verify_client_cert(own, intermediates, now).is_ok();
        if self.required && !verified {
            return None;
        }
        let (common_name, issuer) = match X509Certificate::from_der(own) {
            Ok((_, certificate)) => (common_name(certificate.subject()), common_name(certificate.issuer())),
            Err(_) => (String::new(), String::new()),
        };
        Some(ClientCertificate::Presented { common_name, issuer, verified })
    }
}

fn authority(ca: &Path, read: Option<&[u8]>) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let file = match read {
        Some(read) => Cow::Borrowed(read),
        None => {
            let advice = |error: &io::Error| pem::make_readable(error, ca, "`client_ca` of [tls]");
            std::fs::read(ca).map_err(|error| format!("cannot be read: {error}; {}", advice(&error)))?.into()
        }
    };
    let mut roots = RootCertStore::empty();
    for (number, certificate) in (1..).zip(pem::certificates(&file).map_err(|broken| broken.to_string())?) {
        roots.add(certificate).map_err(|_| match pem::broken(&file) {
            Some(broken) => broken.to_string(),
            None => {
                format!(
                    "holds something for certificate number {number} that is no X.509 certificate; \
                     copy the whole file once more"
                )
            }
        })?;
    }
    if roots.is_empty() {
        return Err(String::from(
            "holds no certificate; write the authorities that sign your clients' certificates into it, as PEM",
        ));
    }
    let provider: Arc<CryptoProvider> = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
    verifier.map_err(|error| error.to_string())
}

/// The first common name, as far as it is printable ASCII: it goes into log lines and header fields.
fn common_name(name: &X509Name<'_>) -> String {
    let name = name.iter_common_name().next().and_then(|attribute| attribute.as_str().ok()).unwrap_or_default();
    name.chars().take(NAME_LIMIT).map(|c| if matches!(c, ' '..='~') { c } else { '?' }).collect()
}

/// Takes any certificate whose key the client can prove to have, or none.
#[derive(Debug)]
struct AnyOrNone(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for AnyOrNone {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests;
