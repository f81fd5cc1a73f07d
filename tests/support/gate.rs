//! The real binary with a configuration of the test's.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::{Command, ExitStatus, Stdio};

use super::logs::{Log, Shown};
use super::pki::{self, pki};
use super::wait::{free_port, is_listening, until};
use super::warden::{self, Server};
use super::wire::Wire;

/// A configuration in the making.
pub struct Setup {
    head: String,
    tables: String,
    listeners: String,
    ports: Vec<(&'static str, u16)>,
}

/// A running Sealgate.
pub struct Gate {
    /// Its log, from standard error.
    pub log: Log,
    ports: Vec<(&'static str, u16)>,
    server: Server,
    _shown: Shown,
}

impl Setup {
    /// Two certificates and no listener.
    pub fn new() -> Self {
        let mut tables = String::new();
        for files in [&pki().rsa, &pki().ecdsa] {
            let (chain, key) = (files.chain.display(), files.key.display());
            writeln!(tables, "[[tls.certificate]]\nchain = \"{chain}\"\nkey = \"{key}\"").expect("a string");
        }
        Self {
            head: format!("hostname = \"{}\"\n", pki::HOSTNAME),
            tables,
            listeners: String::new(),
            ports: Vec::new(),
        }
    }

    /// A line in front of all tables.
    #[must_use]
    pub fn line(mut self, line: &str) -> Self {
        writeln!(self.head, "{line}").expect("a string");
        self
    }

    /// A table.
    #[must_use]
    pub fn table(mut self, text: &str) -> Self {
        writeln!(self.tables, "{text}").expect("a string");
        self
    }

    /// A listener on a free port of 127.0.0.1 and ::1, in front of a port of 127.0.0.1.
    #[must_use]
    pub fn listener(self, service: &'static str, backend: u16, identity: &str) -> Self {
        self.listener_with(service, backend, identity, "")
    }

    /// A listener with more lines.
    #[must_use]
    pub fn listener_with(mut self, service: &'static str, backend: u16, identity: &str, more: &str) -> Self {
        let port = free_port();
        self.ports.push((service, port));
        writeln!(
            self.listeners,
            "[[listener]]\nservice = \"{service}\"\nlisten = [\"127.0.0.1:{port}\", \"[::1]:{port}\"]\n\
             backend = \"127.0.0.1:{backend}\"\nclient_identity = \"{identity}\"\n{more}"
        )
        .expect("a string");
        self
    }

    /// Starts the binary and waits until every listener is open.
    pub fn start(self) -> Gate {
        let mut gate = self.start_unready();
        gate.until_open();
        gate
    }

    /// Starts the binary.
    pub fn start_unready(self) -> Gate {
        let dir = warden::directory("sealgate");
        let config = dir.join("sealgate.toml");
        let text = [self.head, self.tables, self.listeners].join("\n");
        std::fs::write(&config, text).expect("a file");
        let stderr = dir.join("stderr");
        let server = Server::start(
            "sealgate",
            Command::new(env!("CARGO_BIN_EXE_sealgate"))
                .args(["run", "--config"])
                .arg(&config)
                .stdout(Stdio::null())
                .stderr(std::fs::File::create(&stderr).expect("a file")),
            None,
        );
        let log = Log::new(&stderr);
        let shown = Shown::on_failure([log.clone()]);
        Gate { log, ports: self.ports, server, _shown: shown }
    }
}

impl Gate {
    /// The listener's port.
    pub fn port(&self, service: &str) -> u16 {
        let found = self.ports.iter().find(|(name, _)| *name == service);
        found.unwrap_or_else(|| panic!("no listener {service}")).1
    }

    /// Whether the listener takes connections.
    pub fn is_open(&self, service: &str) -> bool {
        is_listening(self.port(service))
    }

    /// Waits until every listener takes connections.
    pub fn until_open(&mut self) {
        until("Sealgate listens", || {
            if let Some(status) = self.server.ended() {
                panic!("Sealgate ended: {status}\n{}", self.log.text());
            }
            self.ports.iter().all(|(_, port)| is_listening(*port)).then_some(())
        });
    }

    /// Connects to the listener from 127.0.0.1.
    pub fn connect(&self, service: &str) -> Wire {
        Wire::connect(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), self.port(service)))
    }

    /// Connects to the listener over IPv6.
    pub fn connect_v6(&self, service: &str) -> Wire {
        Wire::connect(SocketAddr::new(Ipv6Addr::LOCALHOST.into(), self.port(service)))
    }

    /// Connects to the listener from another address of this host.
    pub fn connect_from(&self, from: impl Into<IpAddr>, service: &str) -> Wire {
        Wire::connect_from(from.into(), SocketAddr::new(Ipv4Addr::LOCALHOST.into(), self.port(service)))
    }

    /// Sends the process a signal.
    pub fn signal(&self, name: &str) {
        self.server.signal(name);
    }

    /// Waits for the process' end.
    pub fn ended(&mut self) -> ExitStatus {
        until("Sealgate ends", || self.server.ended())
    }

    /// Whether the process still runs.
    pub fn runs(&mut self) -> bool {
        self.server.ended().is_none()
    }
}
