//! What is forward secret, and nothing else: suites, groups, and the `rustls` settings made of them.
//!
//! TLS 1.3 resumes with a fresh key exchange (RFC 8446 §4.2.9, psk_dhe_ke). TLS 1.2 resumption has none
//! (RFC 5077, RFC 5246 §7.3), so there is none: neither tickets nor a session cache. `rustls` has one
//! ticketer for both versions, so there are several [`ServerConfig`]s, and our own look at the ClientHello
//! chooses among them. Each is forward secret by itself: a look that erred would cost a resumption, no more.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, NamedGroup, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion};

use super::client_hello::ClientHello;
use super::key_schedule::{self, prf};
use super::resolver;
use super::tickets::Tickets;
use crate::config::Policy;
use crate::facts::{Group, Suite, TlsVersion};

/// How many tickets a TLS 1.3 client gets. RFC 8446 §C.4 has each used once: a client that opens as many connections as
/// it had before has one for each. Every further one would cost some three hundredths of a handshake.
const TICKETS: usize = 1;

/// Every suite there is, in the order in which the server prefers them (Postfix: `tls_preempt_cipherlist = yes`).
static SUITES: [(&SupportedCipherSuite, Suite); 9] = [
    (
        &key_schedule::TLS13_AES_256_GCM_SHA384,
        Suite { iana: "TLS_AES_256_GCM_SHA384", openssl: "TLS_AES_256_GCM_SHA384", bits: 256 },
    ),
    (
        &key_schedule::TLS13_AES_128_GCM_SHA256,
        Suite { iana: "TLS_AES_128_GCM_SHA256", openssl: "TLS_AES_128_GCM_SHA256", bits: 128 },
    ),
    (
        &key_schedule::TLS13_CHACHA20_POLY1305_SHA256,
        Suite { iana: "TLS_CHACHA20_POLY1305_SHA256", openssl: "TLS_CHACHA20_POLY1305_SHA256", bits: 256 },
    ),
    (
        &prf::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        Suite { iana: "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", openssl: "ECDHE-ECDSA-AES256-GCM-SHA384", bits: 256 },
    ),
    (
        &prf::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        Suite { iana: "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", openssl: "ECDHE-ECDSA-AES128-GCM-SHA256", bits: 128 },
    ),
    (
        &prf::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        Suite {
            iana: "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
            openssl: "ECDHE-ECDSA-CHACHA20-POLY1305",
            bits: 256,
        },
    ),
    (
        &prf::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        Suite { iana: "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", openssl: "ECDHE-RSA-AES256-GCM-SHA384", bits: 256 },
    ),
    (
        &prf::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        Suite { iana: "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", openssl: "ECDHE-RSA-AES128-GCM-SHA256", bits: 128 },
    ),
    (
        &prf::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        Suite {
            iana: "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
            openssl: "ECDHE-RSA-CHACHA20-POLY1305",
            bits: 256,
        },
    ),
];

/// A negotiated suite under both of its names.
pub(super) fn suite(negotiated: CipherSuite) -> Option<Suite> {
    SUITES.iter().find(|(supported, _)| supported.suite() == negotiated).map(|(_, suite)| *suite)
}

/// A negotiated group; none but the ephemeral ones has a value.
pub(super) fn group(negotiated: NamedGroup) -> Option<Group> {
    match negotiated {
        NamedGroup::X25519MLKEM768 => Some(Group::X25519MlKem768),
        NamedGroup::X25519 => Some(Group::X25519),
        NamedGroup::secp256r1 => Some(Group::Secp256r1),
        NamedGroup::secp384r1 => Some(Group::Secp384r1),
        _ => None,
    }
}

/// Whether `hello` and the gate have a suite of `version` in common.
pub(super) fn has_common_suite(hello: &ClientHello, version: TlsVersion) -> bool {
    SUITES
        .iter()
        .any(|(supported, _)| is_of(supported, version) && hello.suites.contains(&u16::from(supported.suite())))
}

fn is_of(suite: &SupportedCipherSuite, version: TlsVersion) -> bool {
    suite.tls13().is_some() == (version == TlsVersion::Tls13)
}

/// What the settings of all services share.
pub(super) struct Common {
    pub(super) policy: Policy,
    pub(super) certificates: Arc<resolver::Current>,
    pub(super) client_certificates: Arc<dyn ClientCertVerifier>,
    pub(super) tickets: Option<Arc<Tickets>>,
}

/// The settings for one ALPN name.
pub(super) struct Profile {
    /// For clients without TLS 1.3; none where the policy is `modern`.
    tls12: Option<Arc<ServerConfig>>,
    /// For clients with TLS 1.3.
    tls13: Arc<ServerConfig>,
    /// For clients that also have X25519MLKEM768. `rustls` follows the client's order of groups, and some clients
    /// name the hybrid last or send no share for it: here nothing else can be chosen, at the price of a
    /// HelloRetryRequest.
    hybrid: Arc<ServerConfig>,
}

impl Profile {
    pub(super) fn new(common: &Common, alpn: &str) -> Result<Self, rustls::Error> {
        use TlsVersion::{Tls12, Tls13};
        const CLASSICAL: [&dyn rustls::crypto::SupportedKxGroup; 3] =
            [kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1];

        let tls12 = match common.policy {
            // Knows TLS 1.3 although it never speaks it: so the ServerHello carries the mark by which a client
            // notices that somebody took TLS 1.3 out of its offer (RFC 8446 §4.1.3).
            Policy::Intermediate => {
                Some(common.config(alpn, &[&TLS13, &TLS12], &[Tls13, Tls12], CLASSICAL.to_vec(), Tls12)?)
            }
            Policy::Modern => None,
        };
        let tls13 = |groups| common.config(alpn, &[&TLS13], &[Tls13], groups, Tls13);
        Ok(Self {
            tls12: tls12.map(Arc::new),
            tls13: Arc::new(common.resuming(tls13(CLASSICAL.to_vec())?)),
            hybrid: Arc::new(common.resuming(tls13(vec![kx_group::X25519MLKEM768])?)),
        })
    }

    /// The version that `hello` leads to, and the settings for it; none if there is no version in common.
    pub(super) fn choose(&self, hello: &ClientHello) -> Option<(TlsVersion, &Arc<ServerConfig>)> {
        if hello.offers_tls13() {
            let hybrid = hello.groups.contains(&u16::from(NamedGroup::X25519MLKEM768));
            Some((TlsVersion::Tls13, if hybrid { &self.hybrid } else { &self.tls13 }))
        } else if hello.offers_tls12() {
            self.tls12.as_ref().map(|config| (TlsVersion::Tls12, config))
        } else {
            None
        }
    }
}

impl Common {
    /// Settings without any resumption.
    fn config(
        &self,
        alpn: &str,
        versions: &[&'static SupportedProtocolVersion],
        suites_of: &[TlsVersion],
        groups: Vec<&'static dyn rustls::crypto::SupportedKxGroup>,
        speaks: TlsVersion,
    ) -> Result<ServerConfig, rustls::Error> {
        let suites = SUITES.iter().map(|(suite, _)| **suite);
        let suites = suites.filter(|suite| suites_of.iter().any(|version| is_of(suite, *version))).collect();
        let provider = CryptoProvider { cipher_suites: suites, kx_groups: groups, ..aws_lc_rs::default_provider() };
        let certificates: Arc<dyn ResolvesServerCert> = self.certificates.speaking(speaks);
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(versions)?
            .with_client_cert_verifier(Arc::clone(&self.client_certificates))
            .with_cert_resolver(certificates);
        config.ignore_client_order = true;
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.enable_secret_extraction = true; // for our own record layer, see `records`
        config.send_half_rtt_data = true; // greetings, see `handshake`
        config.max_early_data_size = 0; // no 0-RTT: it is neither forward secret nor safe from replay (RFC 8446 §8)
        Ok(config)
    }

    /// The same settings, handing out and taking tickets if there are any.
    fn resuming(&self, mut config: ServerConfig) -> ServerConfig {
        if let Some(tickets) = &self.tickets {
            config.ticketer = Arc::<Tickets>::clone(tickets);
            config.send_tls13_tickets = TICKETS;
        }
        config
    }
}
