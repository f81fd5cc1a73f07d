//! Who is measured: each with its configuration, started as a child and stopped again.

mod haproxy;
mod hitch;
mod nginx;
mod own;
mod sealgate;
mod stunnel;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{self, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use nix::sys::signal::{Signal, kill};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::backends::Backends;
use crate::cost::Tree;
use crate::identity::Identity;
use crate::results::Role;

/// The subject that all others are compared with.
pub const SEALGATE: &str = "Sealgate";

/// How long a program may take to listen, and to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// Clients of a comparison may take their time.
const AN_HOUR: Duration = Duration::from_secs(3600);

/// How often it is looked whether it does.
const GLANCE: Duration = Duration::from_millis(10);

/// The ports that the kernel does not give to connections of its own choice (`ip_local_port_range`).
const PORTS: std::ops::Range<u16> = 12_000..32_000;

/// A public port of a mail server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Door {
    /// 993, implicit TLS.
    Imaps,
    /// 143, STARTTLS.
    Imap,
    /// 465, implicit TLS.
    Submissions,
    /// 25, STARTTLS.
    Smtp,
}

impl Door {
    pub fn well_known(self) -> u16 {
        match self {
            Self::Imaps => 993,
            Self::Imap => 143,
            Self::Submissions => 465,
            Self::Smtp => 25,
        }
    }

    pub fn implicit(self) -> bool {
        matches!(self, Self::Imaps | Self::Submissions)
    }

    pub fn imap(self) -> bool {
        matches!(self, Self::Imaps | Self::Imap)
    }
}

/// What a program can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skill {
    /// It takes tickets.
    Resume,
    /// It leads to the harness's backends, and thereby to mail and mailboxes of any size.
    Proxy,
    /// Its IMAP has the commands of the ping.
    Noop,
}

/// A kind of program: how it is configured and started.
pub trait Program {
    fn doors(&self) -> &'static [Door];

    fn skills(&self) -> &'static [Skill] {
        &[Skill::Resume, Skill::Proxy, Skill::Noop]
    }

    /// False for what shows the price of the way without TLS.
    fn tls(&self) -> bool {
        true
    }

    /// Writes its configuration; returns how it is started, in the foreground.
    fn prepare(&self, executable: &Path, setup: &Setup<'_>) -> anyhow::Result<process::Command>;
}

/// What a configuration is made of.
pub struct Setup<'a> {
    /// Empty, and for this program alone.
    pub directory: &'a Path,
    pub identity: &'a Identity,
    pub backends: &'a Backends,
    /// Worker processes or threads.
    pub workers: usize,
    ports: BTreeMap<Door, u16>,
}

impl Setup<'_> {
    /// Where it listens for this.
    pub fn port(&self, door: Door) -> u16 {
        self.ports.get(&door).copied().unwrap_or_default()
    }

    pub fn backend(&self, door: Door) -> SocketAddr {
        if door.imap() { self.backends.imap } else { self.backends.smtp }
    }

    pub fn file(&self, name: &str, content: &str) -> anyhow::Result<PathBuf> {
        let path = self.directory.join(name);
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

/// Somebody who takes part.
pub struct Subject {
    pub name: String,
    pub role: Role,
    pub program: Box<dyn Program>,
    executable: PathBuf,
    /// A command in front of it, such as a profiler.
    wrap: Vec<String>,
    version: &'static [&'static str],
}

impl Subject {
    /// Sealgate itself, which gives its clients so much time.
    pub fn sealgate(name: &str, executable: PathBuf, patience: Duration, wrap: &[String]) -> Self {
        Self {
            name: name.to_owned(),
            role: Role::Sealgate,
            program: Box::new(sealgate::Sealgate { patience }),
            executable,
            wrap: wrap.to_vec(),
            version: &["--version"],
        }
    }

    pub async fn start(&self, identity: &Identity, backends: &Backends, workers: usize) -> anyhow::Result<Running> {
        let directory = tempfile::Builder::new().prefix("peers-").tempdir()?;
        open_to_all(directory.path())?;
        let doors = self.program.doors();
        let ports = doors.iter().copied().zip(free_ports(doors.len())?).collect();
        let setup = Setup { directory: directory.path(), identity, backends, workers, ports };
        let program = self.program.prepare(&self.executable, &setup)?;
        let mut command = match self.wrap.split_first() {
            None => Command::from(program),
            Some((wrap, arguments)) => {
                let mut command = Command::new(wrap);
                command.args(arguments).arg(program.get_program()).args(program.get_args());
                command
            }
        };
        let errors = fs::File::create(directory.path().join("stderr"))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(errors.try_clone()?)
            .stderr(errors)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", self.executable.display()))?;
        let pid = child.id().context("it ended at once")?;
        let mut running = Running { child, pid, tree: Tree::of(pid)?, ports: setup.ports, directory };
        running.listens().await?;
        Ok(running)
    }

    /// What it says of itself.
    pub fn version(&self) -> String {
        let (program, arguments) = match self.version {
            [program @ "postconf", arguments @ ..] => (Path::new(program), arguments),
            arguments => (self.executable.as_path(), arguments),
        };
        let output = process::Command::new(program).args(arguments).stdin(Stdio::null()).output();
        let text = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let line = text.lines().find(|line| line.bytes().any(|octet| octet.is_ascii_digit())).unwrap_or_default();
        line.trim().to_owned()
    }
}

/// A subject at work.
pub struct Running {
    child: Child,
    pub pid: u32,
    pub tree: Tree,
    ports: BTreeMap<Door, u16>,
    directory: TempDir,
}

impl Running {
    pub fn address(&self, door: Door) -> anyhow::Result<SocketAddr> {
        let port = self.ports.get(&door).context("it has no such port")?;
        Ok((Ipv4Addr::LOCALHOST, *port).into())
    }

    /// Waits until every port listens. To connect would be a session, and leave its traces in the process.
    async fn listens(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        while !listening(self.ports.values())? {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status}: {}", self.errors());
            }
            if began.elapsed() > PATIENCE {
                bail!("it does not listen: {}", self.errors());
            }
            tokio::time::sleep(GLANCE).await;
        }
        Ok(())
    }

    /// What it wrote to standard error.
    pub fn errors(&self) -> String {
        fs::read_to_string(self.directory.path().join("stderr")).unwrap_or_default().trim().to_owned()
    }

    /// Asks it to end, and ends what does not.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let processes = self.tree.processes()?;
        kill(nix::unistd::Pid::from_raw(self.pid.try_into()?), Signal::SIGTERM).context("it ended by itself")?;
        let _ = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        for process in processes {
            // Most are gone: that is the good case.
            let _ = kill(process, Signal::SIGKILL);
        }
        self.child.wait().await?;
        Ok(())
    }
}

/// Workers of some programs run as somebody else.
pub fn open_to_all(directory: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755))
}

fn free_ports(count: usize) -> anyhow::Result<Vec<u16>> {
    // Runs side by side begin at different places.
    let begin = usize::try_from(process::id())?.wrapping_mul(37) % PORTS.len();
    let mut found = Vec::new();
    for port in PORTS.cycle().skip(begin).take(PORTS.len()) {
        if found.len() == count {
            return Ok(found.into_iter().map(|(port, _)| port).collect());
        }
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            found.push((port, listener));
        }
    }
    bail!("no free ports")
}

/// Whether all of them are in state LISTEN (0A) in the kernel's table.
fn listening<'a>(ports: impl IntoIterator<Item = &'a u16>) -> anyhow::Result<bool> {
    let table = fs::read_to_string("/proc/net/tcp")?;
    Ok(ports.into_iter().all(|port| {
        let end = format!(":{port:04X}");
        table.lines().any(|line| {
            let mut fields = line.split_ascii_whitespace().skip(1);
            fields.next().is_some_and(|local| local.ends_with(&end)) && fields.nth(1) == Some("0A")
        })
    }))
}

/// Everybody, Sealgate first; who is not installed is named and left out.
pub fn all(wrap: &[String]) -> Vec<Subject> {
    let sealgate = |name, executable: PathBuf| Subject::sealgate(name, executable, AN_HOUR, wrap);
    let mut subjects = vec![sealgate(SEALGATE, env!("CARGO_BIN_EXE_sealgate").into())];
    if let Some(other) = env::var_os("SEALGATE_BENCH_BINARY") {
        subjects.push(sealgate("Sealgate (other build)", other.into()));
    }
    let mut add = |name: &str, role, program: Box<dyn Program>, executable: &str, version, package: &str| {
        let Some(executable) = find(executable) else {
            eprintln!("{name} is left out; to have it: apt-get install {package}");
            return;
        };
        subjects.push(Subject { name: name.to_owned(), role, program, executable, wrap: Vec::new(), version });
    };
    let haproxy = |tls| Box::new(haproxy::Haproxy { tls });
    add("HAProxy", Role::Peer, haproxy(true), "haproxy", &["-v"], "haproxy");
    if let Ok(own) = env::var("SEALGATE_BENCH_HAPROXY") {
        add("HAProxy (own build)", Role::Peer, haproxy(true), &own, &["-v"], "haproxy");
    }
    let nginx = "nginx libnginx-mod-mail libnginx-mod-stream";
    add("nginx stream", Role::Peer, Box::new(nginx::Stream), "nginx", &["-v"], nginx);
    add("nginx mail", Role::Peer, Box::new(nginx::Mail), "nginx", &["-v"], nginx);
    add("stunnel", Role::Peer, Box::new(stunnel::Stunnel), "stunnel", &["-version"], "stunnel4");
    add("hitch", Role::Peer, Box::new(hitch::Hitch), "hitch", &["--version"], "hitch");
    add("Postfix", Role::Peer, Box::new(own::Postfix), "postfix", &["postconf", "-d", "mail_version"], "postfix");
    add("Dovecot", Role::Peer, Box::new(own::Dovecot), "dovecot", &["--version"], "dovecot-imapd");
    add("HAProxy, plain TCP", Role::Floor, haproxy(false), "haproxy", &["-v"], "haproxy");
    subjects
}

/// A program by its path, or by its name where daemons are.
fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into(), "/usr/bin".into()])
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
}
