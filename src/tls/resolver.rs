//! Which certificate a client gets: by the name it asks for, then by what it can verify.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, NamedGroup, SignatureScheme};

use super::certificates::{Certificate, wildcard};
use super::signing::KeyKind;
use crate::facts::TlsVersion;

/// All certificates, by name.
#[derive(Debug)]
pub(super) struct Resolver {
    by_name: HashMap<String, Vec<Certificate>>,
    /// For clients that name no host, or one we do not know: the first certificate, and others for the same host.
    default: Vec<Certificate>,
    /// For clients that can verify none of them: what `rustls` then sends is its alert.
    first: Arc<CertifiedKey>,
}

impl Resolver {
    /// None without any certificate.
    pub(super) fn new(certificates: Vec<Certificate>) -> Option<Self> {
        let first = certificates.first()?.clone();
        let siblings = |other: &Certificate| match first.names().first() {
            Some(name) => other.names().contains(name),
            None => Arc::ptr_eq(&other.certified, &first.certified),
        };
        let mut default: Vec<Certificate> = certificates.iter().filter(|other| siblings(other)).cloned().collect();
        let mut by_name: HashMap<String, Vec<Certificate>> = HashMap::new();
        for certificate in certificates {
            for name in certificate.names() {
                by_name.entry(name.clone()).or_default().push(certificate.clone());
            }
        }
        // Clients that can verify either get the one that costs us less; the sort keeps the order of the config.
        for list in by_name.values_mut().chain([&mut default]) {
            list.sort_by_key(|certificate| matches!(certificate.key_kind(), KeyKind::Rsa { .. }));
        }
        Some(Self { by_name, default, first: first.certified })
    }

    fn find(&self, client: &Client<'_>) -> Arc<CertifiedKey> {
        let named = client.host.and_then(|host| {
            self.by_name.get(host).or_else(|| wildcard(host).and_then(|wildcard| self.by_name.get(&wildcard)))
        });
        // A certificate of another name is better than none: few mail servers look at the name (RFC 7435).
        let candidates = || named.into_iter().flatten().chain(&self.default);
        // Where none can be verified, rustls refuses; with one that suits the suites it names the true reason.
        let found = candidates()
            .find(|certificate| client.can_verify(certificate))
            .or_else(|| candidates().find(|certificate| client.has_suite_for(certificate.key_kind())));
        Arc::clone(found.map_or(&self.first, |certificate| &certificate.certified))
    }
}

/// The certificates of now: they are renewed while the gate runs. Handshakes that have theirs go on with it.
#[derive(Debug)]
pub(super) struct Current(ArcSwap<Resolver>);

impl Current {
    pub(super) fn new(resolver: Resolver) -> Self {
        Self(ArcSwap::from_pointee(resolver))
    }

    /// From the next handshake on.
    pub(super) fn replace(&self, resolver: Resolver) {
        self.0.store(Arc::new(resolver));
    }

    /// What `rustls` asks, for sessions of one version.
    pub(super) fn speaking(self: &Arc<Self>, version: TlsVersion) -> Arc<dyn ResolvesServerCert> {
        Arc::new(ForVersion { certificates: Arc::clone(self), version })
    }
}

#[derive(Debug)]
struct ForVersion {
    certificates: Arc<Current>,
    version: TlsVersion,
}

impl ResolvesServerCert for ForVersion {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let host = hello.server_name().map(str::to_ascii_lowercase);
        Some(self.certificates.0.load().find(&Client {
            host: host.as_deref(),
            version: self.version,
            signatures: hello.signature_schemes(),
            suites: hello.cipher_suites(),
            groups: hello.named_groups(),
        }))
    }
}

/// What of a ClientHello decides.
struct Client<'a> {
    /// In lower case.
    host: Option<&'a str>,
    version: TlsVersion,
    signatures: &'a [SignatureScheme],
    suites: &'a [CipherSuite],
    groups: Option<&'a [NamedGroup]>,
}

impl Client<'_> {
    fn can_verify(&self, certificate: &Certificate) -> bool {
        let schemes: Vec<SignatureScheme> = self.signatures.iter().copied().filter(|s| self.may_sign(*s)).collect();
        certificate.certified.key.choose_scheme(&schemes).is_some() && self.has_suite_for(certificate.key_kind())
    }

    /// RFC 8446 §4.2.3: PKCS #1 v1.5 signs certificates in TLS 1.3, never handshakes.
    fn may_sign(&self, scheme: SignatureScheme) -> bool {
        let pkcs1 =
            [SignatureScheme::RSA_PKCS1_SHA256, SignatureScheme::RSA_PKCS1_SHA384, SignatureScheme::RSA_PKCS1_SHA512];
        self.version == TlsVersion::Tls12 || !pkcs1.contains(&scheme)
    }

    /// In TLS 1.2 the suite names the kind of key, and the client's groups also limit an ECDSA key's curve (RFC 8422 §5.1).
    fn has_suite_for(&self, key: KeyKind) -> bool {
        const ECDSA: [CipherSuite; 3] = [
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        ];
        const RSA: [CipherSuite; 3] = [
            CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
            CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        ];
        if self.version == TlsVersion::Tls13 {
            return true;
        }
        let offers = |suites: [CipherSuite; 3]| suites.iter().any(|suite| self.suites.contains(suite));
        let group = match key {
            KeyKind::Rsa { .. } => return offers(RSA),
            KeyKind::Ed25519 => return offers(ECDSA), // RFC 8422 §5.10
            KeyKind::Ecdsa { curve: "P-256" } => NamedGroup::secp256r1,
            KeyKind::Ecdsa { curve: "P-384" } => NamedGroup::secp384r1,
            KeyKind::Ecdsa { .. } => NamedGroup::secp521r1,
        };
        offers(ECDSA) && self.groups.is_none_or(|groups| groups.contains(&group))
    }
}

#[cfg(test)]
mod tests;
