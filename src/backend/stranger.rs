//! The client that nobody knows: whom the self-test and the probe pretend to be.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::Caller;
use crate::config::Listener;
use crate::facts::{ClientCertificate, ClientNames, Group, Lookup, Peer, SessionId, Suite, TlsFacts, TlsVersion};

/// TEST-NET-1 (RFC 5737): nobody's address, so no administrator trusts it on purpose.
pub(super) const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// A client from TEST-NET-1, with TLS, without a name.
pub(super) struct Stranger<'a> {
    hostname: &'a str,
    session: SessionId,
    peer: Peer,
    tls: TlsFacts,
}

impl<'a> Stranger<'a> {
    /// One who comes to `listener`.
    pub fn new(listener: &Listener, hostname: &'a str) -> Self {
        let address = listener.listen.iter().map(SocketAddr::ip).find(|ip| ip.is_ipv4() && !ip.is_unspecified());
        let local = SocketAddr::new(address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), listener.service.port);
        Self {
            hostname,
            session: SessionId::new("selftest"),
            peer: Peer {
                client: SocketAddr::new(ADDRESS.into(), 49_152),
                local,
                names: ClientNames { reverse: Lookup::Absent, verified: Lookup::Absent },
            },
            // A backend may show its logins only to those who bring TLS: what any client of today has.
            tls: TlsFacts {
                version: TlsVersion::Tls13,
                suite: Suite { iana: "TLS_AES_128_GCM_SHA256", openssl: "TLS_AES_128_GCM_SHA256", bits: 128 },
                group: Group::X25519,
                signature: None,
                sni: None,
                alpn: None,
                client_certificate: ClientCertificate::NotRequested,
                handshake: Duration::ZERO,
            },
        }
    }

    /// The same, with a name that is verified as far as the backend is told.
    pub fn named(mut self) -> Self {
        let name = Lookup::Found("relay-test.example.com".into());
        self.peer.names = ClientNames { reverse: name.clone(), verified: name };
        self
    }

    /// As the backend is told.
    pub fn caller(&self) -> Caller<'_> {
        Caller { hostname: self.hostname, session: &self.session, peer: &self.peer, tls: Some(&self.tls) }
    }
}
