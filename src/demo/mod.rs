//! The demo: everything Sealgate does, on loopback, without any setup.
//!
//! ```text
//!  round trip's TLS clients ──▶ the gate, five listeners ──▶ embedded SMTP and IMAP servers ──▶ one mailbox in memory
//! ```
//!
//! The gate is the real one, with certificates made on the spot; keys and mail exist in memory only.

pub mod account;
pub mod imap_server;
pub mod mailbox;
mod message;
pub mod render;
pub mod round_trip;
pub mod smtp_server;
mod tls_client;
pub mod wire;

#[cfg(test)]
mod testing;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::time::timeout;

use crate::config::{BackendAddr, Config, Errors};
use crate::protocol::{SERVICES, Service};
use crate::server::{self, Gate};
use crate::session_log::SessionLog;
use crate::tls::self_signed::self_signed;
use crate::tls::{self, Certificate};
use account::HOSTNAME;
use mailbox::Mailbox;
use round_trip::{Report, round_trip};

/// How long the listeners may take to open: their backends are here and answer at once.
const OPENING: Duration = Duration::from_secs(30);

/// Why the demo could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another program has the port, or the port is not for us.
    #[error(
        "cannot listen on {address} for {service}: {error}; choose other ports with --port-base N (now {port_base})"
    )]
    Port {
        /// The address.
        address: SocketAddr,
        /// The service's name.
        service: &'static str,
        /// What the operating system said.
        error: std::io::Error,
        /// The port base in use.
        port_base: u16,
    },
    /// The base leaves no room for the services' ports.
    #[error("--port-base {0} is too high: port {0} + 993 does not exist")]
    PortBase(u16),
    /// The embedded servers found no port.
    #[error("cannot start the embedded mail server on loopback: {0}")]
    Backend(#[source] std::io::Error),
    /// The certificates could not be made.
    #[error("cannot make certificates: {0}")]
    Certificates(String),
    /// The demo's configuration is refused.
    #[error(transparent)]
    Config(#[from] Errors),
    /// The gate's TLS.
    #[error(transparent)]
    Tls(#[from] tls::SetupError),
    /// The gate.
    #[error(transparent)]
    Gate(server::StartError),
    /// The gate does not trust its backends.
    #[error("the listeners did not open within {OPENING:?}; the log says why")]
    Closed,
}

/// A running demo.
pub struct Demo {
    gate: Gate,
    roots: RootCertStore,
    /// End with the demo.
    _backends: [wire::Server; 2],
}

impl Demo {
    /// Starts the embedded servers and the gate in front of them, and waits until all listeners are open.
    ///
    /// # Errors
    /// Says which port is taken, and what to do.
    pub async fn start(port_base: u16, log: SessionLog) -> Result<Self, StartError> {
        let mailbox = Mailbox::new();
        let smtp = smtp_server::start(Arc::clone(&mailbox)).await.map_err(StartError::Backend)?;
        let imap = imap_server::start(mailbox).await.map_err(StartError::Backend)?;
        let config = config(port_base, smtp.address, imap.address)?;
        let (certificates, roots) = certificates()?;
        let tls = tls::Server::new(&config.tls, certificates)?;
        let gate = Gate::start(config, tls, log, Vec::new()).await.map_err(|error| match error {
            server::StartError::Bind { address, service, error } => {
                StartError::Port { address, service, error, port_base }
            }
            other => StartError::Gate(other),
        })?;
        timeout(OPENING, gate.all_open()).await.map_err(|_| StartError::Closed)?;
        Ok(Self { gate, roots, _backends: [smtp, imap] })
    }

    /// Every service and where it listens.
    pub fn addresses(&self) -> Vec<(&'static Service, SocketAddr)> {
        self.gate.addresses()
    }

    /// Sends a mail through every SMTP listener and reads them back through every IMAP listener.
    pub async fn round_trip(&self) -> Report {
        round_trip(&self.addresses(), &self.roots).await
    }

    /// Ends the demo; `hurry` cuts short the waiting for sessions.
    pub async fn shutdown(self, hurry: impl Future<Output = ()>) {
        self.gate.shutdown(hurry).await;
    }
}

/// A service's port: 2525 is what people use instead of 25, so `smtp` is 500 higher than the rule.
fn port(service: &Service, port_base: u16) -> Result<u16, StartError> {
    let offset = if service.name == "smtp" { 525 } else { service.port };
    port_base.checked_add(offset).ok_or(StartError::PortBase(port_base))
}

/// The configuration, read as an administrator's would be, so that every default is the real one.
fn config(port_base: u16, smtp: SocketAddr, imap: SocketAddr) -> Result<Config, StartError> {
    let mut text = format!(
        "hostname = \"{HOSTNAME}\"\ndrain = \"2s\"\n[[tls.certificate]]\nchain = \"in memory\"\nkey = \"in memory\"\n"
    );
    for service in SERVICES {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, port(service, port_base)?));
        let backend = BackendAddr::Tcp(if service.takes_mail() { smtp } else { imap });
        text += &format!(
            "[[listener]]\nservice = \"{}\"\nlisten = [\"{listen}\"]\nbackend = \"{backend}\"\n\
             client_identity = \"proxy-v2\"\n",
            service.name
        );
    }
    let mut config = Config::parse(&text, Path::new("demo.toml"))?;
    // Nothing is to be read from disk.
    config.tls.certificates.clear();
    Ok(config)
}

/// An ECDSA and an RSA certificate for the gate, and the trust in them for the clients.
fn certificates() -> Result<(Vec<Certificate>, RootCertStore), StartError> {
    fn refused(error: impl std::fmt::Display) -> StartError {
        StartError::Certificates(error.to_string())
    }
    let made = self_signed(HOSTNAME).map_err(refused)?;
    let mut certificates = Vec::new();
    let mut roots = RootCertStore::empty();
    for pem in [&made.ecdsa, &made.rsa] {
        certificates.push(Certificate::from_pem(pem.chain.as_bytes(), pem.key.as_bytes()).map_err(refused)?);
        roots.add(CertificateDer::from_pem_slice(pem.chain.as_bytes()).map_err(refused)?).map_err(refused)?;
    }
    Ok((certificates, roots))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ports_are_those_of_the_documentation_and_move_together() {
        let ports = |base| SERVICES.iter().map(|service| port(service, base).ok()).collect::<Vec<_>>();
        assert_eq!(ports(2000), [2525, 2587, 2465, 2143, 2993].map(Some));
        assert_eq!(ports(30_000), [30_525, 30_587, 30_465, 30_143, 30_993].map(Some));
        assert_eq!(ports(64_542).last(), Some(&Some(65_535)));
        assert!(port(&SERVICES[4], 64_543).unwrap_err().to_string().contains("--port-base 64543"));
    }

    #[test]
    fn the_configuration_is_one_that_an_administrator_could_write() {
        let (smtp, imap) = ("127.0.0.1:10025".parse().unwrap(), "127.0.0.1:10143".parse().unwrap());
        let config = config(2000, smtp, imap).unwrap();
        assert_eq!(config.listeners.len(), SERVICES.len());
        assert!(config.tls.certificates.is_empty());
        for listener in &config.listeners {
            assert!(listener.listen.iter().all(|address| address.ip().is_loopback()));
            let backend = if listener.service.takes_mail() { smtp } else { imap };
            assert_eq!(listener.backends, [BackendAddr::Tcp(backend)]);
            assert!(!listener.relay_as_proxy);
        }
    }
}
