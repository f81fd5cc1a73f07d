//! The real binary with a configuration of the test's.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, LazyLock};

use rustls::ClientConfig;

use super::clients::{Target, Tls};
use super::logs::{Log, Shown};
use super::pki::{self, pki};
use super::ports::{free_port, has_ipv6, is_listening};
use super::process::Process;
use super::stack::stack;
use super::wait::until;
use super::warden::{self, Server};
use super::wire::Wire;

/// A listener's line that lets [`Gate::connect_for`] speak for clients.
pub const BEHIND_BALANCER: &str = "accept_proxy_from = [\"127.0.0.1/32\"]";

/// A configuration in the making.
pub struct Setup {
    head: String,
    tables: String,
    listeners: String,
    ports: Vec<(&'static str, u16)>,
    wrapper: Vec<String>,
}

/// A running Sealgate.
pub struct Gate {
    /// Its log, from standard error.
    pub log: Log,
    ports: Vec<(&'static str, u16)>,
    dir: PathBuf,
    wrapper: Vec<String>,
    server: Server,
    _shown: Shown,
}

impl Setup {
    /// Two certificates and no listener.
    pub fn new() -> Self {
        Self::certified([&pki().rsa, &pki().ecdsa])
    }

    /// These certificates and no listener.
    pub fn certified<'a>(certificates: impl IntoIterator<Item = &'a pki::Files>) -> Self {
        let mut tables = String::new();
        for files in certificates {
            let (chain, key) = (files.chain.display(), files.key.display());
            writeln!(tables, "[[tls.certificate]]\nchain = \"{chain}\"\nkey = \"{key}\"").expect("a string");
        }
        Self {
            head: format!("hostname = \"{}\"\n", pki::HOSTNAME),
            tables,
            listeners: String::new(),
            ports: Vec::new(),
            wrapper: Vec::new(),
        }
    }

    /// The hard limit of open files; the soft one is half of it.
    #[must_use]
    pub fn descriptors(self, limit: u64) -> Self {
        let limits = format!("ulimit -Sn {}; ulimit -Hn {limit}; exec \"$0\" \"$@\"", limit / 2);
        self.wrapped(&["sh", "-c", &limits])
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

    /// A listener on a free port of 127.0.0.1 and, where there is IPv6, ::1, in front of a port of 127.0.0.1.
    #[must_use]
    pub fn listener(self, service: &'static str, backend: u16, identity: &str) -> Self {
        self.listener_with(service, backend, identity, "")
    }

    /// A listener with more lines.
    #[must_use]
    pub fn listener_with(self, service: &'static str, backend: u16, identity: &str, more: &str) -> Self {
        self.listener_on(service, &format!("127.0.0.1:{backend}"), identity, more)
    }

    /// A listener in front of any backend.
    #[must_use]
    pub fn listener_on(self, service: &'static str, backend: &str, identity: &str, more: &str) -> Self {
        self.listener_before(service, &format!("\"{backend}\""), identity, more)
    }

    /// A listener with what stands behind `backend =`.
    #[must_use]
    pub fn listener_before(mut self, service: &'static str, backend: &str, identity: &str, more: &str) -> Self {
        let port = free_port();
        self.ports.push((service, port));
        let v6 = if has_ipv6() { format!(", \"[::1]:{port}\"") } else { String::new() };
        writeln!(
            self.listeners,
            "[[listener]]\nservice = \"{service}\"\nlisten = [\"127.0.0.1:{port}\"{v6}]\n\
             backend = {backend}\nclient_identity = \"{identity}\"\n{more}"
        )
        .expect("a string");
        self
    }

    /// System calls that fail with that error, in whatever process of the binary's. What this host has no name for is left out.
    #[must_use]
    pub fn refused(self, calls: &[String], error: &str) -> Self {
        let calls = calls.iter().map(|call| format!("?{call}")).collect::<Vec<_>>().join(",");
        let (traced, answered) = (format!("trace={calls}"), format!("inject={calls}:error={error}"));
        // strace answers in the kernel's place. -D: it is the child, and the binary keeps the place of the one that was started.
        self.wrapped(&["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", &traced, "-e", &answered])
    }

    /// A program that starts the binary, with its first arguments. It must become the binary (exec).
    #[must_use]
    pub fn wrapped(mut self, words: &[&str]) -> Self {
        self.wrapper = words.iter().map(ToString::to_string).collect();
        self
    }

    /// Moves the listener of that service to another port.
    pub fn move_to(&mut self, service: &str, port: u16) {
        let found = self.ports.iter_mut().find(|(name, _)| *name == service).expect("a listener");
        self.listeners = self.listeners.replace(&format!(":{}\"", found.1), &format!(":{port}\""));
        found.1 = port;
    }

    /// Starts the binary and waits until every listener is open.
    pub fn start(self) -> Gate {
        let mut gate = self.start_unready();
        gate.until_open();
        gate
    }

    /// What `sealgate check` says of it.
    pub fn check(self, arguments: &[&str]) -> Output {
        let config = self.write(&warden::directory("check"));
        let mut check = Command::new(env!("CARGO_BIN_EXE_sealgate"));
        check.args(["check", "--config"]).arg(config).args(arguments).output().expect("the check runs")
    }

    fn write(&self, dir: &Path) -> PathBuf {
        let config = dir.join("sealgate.toml");
        std::fs::write(&config, [&*self.head, &self.tables, &self.listeners].join("\n")).expect("a file");
        config
    }

    /// Starts the binary.
    pub fn start_unready(self) -> Gate {
        let dir = warden::directory("sealgate");
        self.write(&dir);
        let server = launch(&dir, &self.wrapper);
        let log = Log::new(&dir.join("stderr"));
        let shown = Shown::on_failure([log.clone()]);
        Gate { log, ports: self.ports, dir, wrapper: self.wrapper, server, _shown: shown }
    }
}

/// The binary with the configuration of that directory.
fn launch(dir: &Path, wrapper: &[String]) -> Server {
    let stderr = std::fs::OpenOptions::new().append(true).create(true).open(dir.join("stderr")).expect("a file");
    let config = dir.join("sealgate.toml").to_string_lossy().into_owned();
    let words = [env!("CARGO_BIN_EXE_sealgate"), "run", "--config", &config];
    let mut words = wrapper.iter().map(String::as_str).chain(words);
    let mut command = Command::new(words.next().expect("a program"));
    Server::start("sealgate", command.args(words).stdout(Stdio::null()).stderr(stderr), None)
}

/// All five services in front of the shared Postfix and Dovecot, by PROXY protocol, for every test that needs nothing
/// else; and its log shown if the test that holds the guard fails.
pub fn gate() -> (&'static Gate, Shown) {
    static GATE: LazyLock<Gate> = LazyLock::new(|| {
        let (stack, _shown) = stack();
        let proxy = stack.postfix.proxy;
        Setup::new()
            .listener("smtp", proxy.smtp, "proxy-v2")
            .listener("submission", proxy.submission, "proxy-v2")
            .listener("submissions", proxy.submission, "proxy-v2")
            .listener("imap", stack.dovecot.gated, "proxy-v2")
            .listener("imaps", stack.dovecot.gated, "proxy-v2")
            .start()
    });
    (&GATE, Shown::on_failure([GATE.log.clone()]))
}

impl Gate {
    /// Where clients find the listener, and how its TLS starts.
    pub fn target(&self, service: &str) -> Target {
        let tls = if matches!(service, "submissions" | "imaps") { Tls::Implicit } else { Tls::Starttls };
        Target { port: self.port(service), tls }
    }

    /// An SMTP or IMAP session inside TLS, after the greeting and, for SMTP, EHLO.
    pub fn secured(&self, service: &str, config: &Arc<ClientConfig>) -> Wire {
        self.secure(service, self.connect(service), config)
    }

    /// The same over a connection that was made in its own way.
    pub fn secure(&self, service: &str, mut wire: Wire, config: &Arc<ClientConfig>) -> Wire {
        match service {
            "smtp" | "submission" => {
                assert_eq!(wire.reply().code, 220);
                assert!(wire.say("EHLO client.example.org").has("STARTTLS"));
                assert_eq!(wire.say("STARTTLS").code, 220);
                wire = wire.tls(config);
            }
            "submissions" => {
                wire = wire.tls(config);
                assert_eq!(wire.reply().code, 220);
            }
            "imap" => {
                wire.line().expect("a greeting");
                assert!(wire.tagged("s", "STARTTLS").concat().starts_with("s OK"));
                return wire.tls(config);
            }
            _ => {
                wire = wire.tls(config);
                wire.line().expect("a greeting");
                return wire;
            }
        }
        assert_eq!(wire.say("EHLO client.example.org").code, 250);
        wire
    }

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

    /// Waits until that listener takes connections.
    pub fn until_open_is(&self, service: &str) {
        until(&format!("{service} is open"), || self.is_open(service).then_some(()));
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

    /// Connects as the load balancer of a client whose address this host does not have; the listener needs
    /// [`BEHIND_BALANCER`].
    pub fn connect_for(&self, client: Ipv4Addr, service: &str) -> Wire {
        let mut wire = self.connect(service);
        wire.send(format!("PROXY TCP4 {client} 192.0.2.10 40000 {}\r\n", self.port(service)));
        wire
    }

    /// The process.
    pub fn process(&self) -> Process {
        Process(self.pid())
    }

    /// The process' id.
    pub fn pid(&self) -> u32 {
        self.server.pid().expect("Sealgate runs")
    }

    /// Sends the process a signal.
    pub fn signal(&self, name: &str) {
        self.server.signal(name);
    }

    /// Kills the process where it stands, and starts another with the same configuration.
    pub fn kill_and_start_again(&mut self) {
        self.signal("KILL");
        self.ended();
        self.server = launch(&self.dir, &self.wrapper);
        self.until_open();
    }

    /// Its configuration file.
    pub fn config(&self) -> PathBuf {
        self.dir.join("sealgate.toml")
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
