//! What the process that speaks to the network gives up, for good, before its first thread starts.
//!
//! Whoever took the gate over by a flaw in it would hold a process that has no capabilities, can gain none (`no_new_privs`),
//! reads and writes only the files that are named here and connects only to the backends' ports (Landlock), and starts no
//! program and no process (seccomp). What a kernel does not have is left out, with a warning. [`Report`] says what is on,
//! and it says so by trying, not by belief.

mod capabilities;
mod check;
mod files;
mod seccomp;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::config::{BackendAddr, ClientCertificates, ClientIdentity, Config, LogTarget};
use crate::dumps;

pub(super) use capabilities::keep_for_parent;

/// What the gate needs while it serves, beyond what it has open already.
#[derive(Debug, Clone, Default)]
pub struct Needs {
    /// Files and whole directories that are read.
    pub read: Vec<PathBuf>,
    /// Directories in which files are created and appended to.
    pub append: Vec<PathBuf>,
    /// Ports that TCP connections are made to.
    pub connect: BTreeSet<u16>,
    /// Whether sockets must be bound: those for DNS queries by UDP.
    pub bind: bool,
    /// Whether a socket of the abstract namespace (unix(7)) must be reached: some service managers listen there.
    pub abstract_sockets: bool,
}

/// Who reads the root-only files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Files {
    /// The process itself: when certificates are renewed, and when the log is opened anew.
    Own,
    /// A parent, which hands them over.
    Parents,
}

impl Needs {
    /// Those of a gate with this configuration.
    pub fn new(config: &Config, files: Files) -> Self {
        let mut needs = Self { read: time_zones(), ..Self::default() };
        for backend in config.listeners.iter().flat_map(|listener| &listener.backends) {
            if let BackendAddr::Tcp(address) = backend {
                needs.connect.insert(address.port());
            }
        }
        if config.listeners.iter().any(|listener| listener.identity == ClientIdentity::Xclient) {
            needs.bind = true;
            if config.dns.servers.is_empty() {
                needs.read.extend(["/etc/resolv.conf", "/etc/hosts"].map(PathBuf::from));
                needs.connect.insert(53); // RFC 7766 §5: an answer that was cut short is asked for again by TCP
            }
            needs.connect.extend(config.dns.servers.iter().map(|server| server.port()));
        }
        if files == Files::Own {
            for pair in &config.tls.certificates {
                needs.read.extend([&pair.chain, &pair.key].into_iter().flat_map(|file| around(file)));
            }
            match &config.tls.client_certificates {
                ClientCertificates::None => {}
                ClientCertificates::Request { ca } | ClientCertificates::Require { ca } => {
                    needs.read.extend(around(ca))
                }
            }
            if let LogTarget::File(path) = &config.log.to {
                needs.append.extend(around(path));
            }
            needs.abstract_sockets =
                std::env::var_os("NOTIFY_SOCKET").is_some_and(|socket| socket.as_encoded_bytes().starts_with(b"@"));
        }
        needs
    }
}

/// The directory of a file, and the one that its links lead to: a renewed certificate, a rotated log is another file.
fn around(file: &Path) -> Vec<PathBuf> {
    let target = file.canonicalize().ok();
    [Some(file), target.as_deref()].into_iter().flatten().filter_map(Path::parent).map(Path::to_owned).collect()
}

/// Times in the log are local; the time zone may be read anew at any time.
fn time_zones() -> Vec<PathBuf> {
    let set = std::env::var_os("TZDIR").map(PathBuf::from);
    let usual =
        ["/etc/localtime", "/etc/timezone", "/usr/share/zoneinfo", "/usr/lib/zoneinfo", "/usr/share/lib/zoneinfo"];
    usual.into_iter().map(PathBuf::from).chain(set).collect()
}

/// One of the things that are given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layer {
    /// As intended; with a detail where there is one.
    On(String),
    /// The kernel has only a part of it.
    Partly {
        /// What there is.
        on: String,
        /// What is missing.
        missing: String,
    },
    /// Not at all, and why.
    Off(String),
}

impl Layer {
    fn is_on(&self) -> bool {
        !matches!(self, Self::Off(_))
    }

    fn word(&self) -> &str {
        match self {
            Self::On(detail) | Self::Partly { on: detail, .. } => detail,
            Self::Off(_) => "off",
        }
    }

    fn lack(&self) -> Option<&str> {
        match self {
            Self::On(_) => None,
            Self::Partly { missing, .. } => Some(missing),
            Self::Off(why) => Some(why),
        }
    }
}

/// What became of it.
#[derive(Debug)]
#[must_use = "somebody has to read what is on and what is not"]
pub struct Report {
    /// User and group, by number.
    pub user: (u32, u32),
    /// Core dumps, and looks into our memory.
    pub dumps: Layer,
    /// `no_new_privs` (prctl(2)).
    pub no_new_privs: Layer,
    /// Capabilities (capabilities(7)).
    pub capabilities: Layer,
    /// Landlock (landlock(7)).
    pub landlock: Layer,
    /// The filter of system calls (seccomp(2)).
    pub seccomp: Layer,
    /// What worked although it should not have: empty, unless something is badly wrong.
    pub failed: Vec<String>,
}

/// Gives everything up that `needs` does not name. For the calling thread and all that it starts from now on: so call it on
/// the main thread, before there is another one.
///
/// What does not work is left out and stands in the report; nothing here keeps the gate from serving.
pub fn enter(needs: &Needs) -> Report {
    let user = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let dumps = match dumps::forbid() {
        Ok(()) => Layer::On("off".to_owned()),
        Err(error) => Layer::Off(format!("they would hold keys and passwords, and cannot be forbidden: {error}")),
    };
    let no_new_privs = match rustix::thread::set_no_new_privs(true) {
        Ok(()) => Layer::On("on".to_owned()),
        Err(error) => Layer::Off(format!("the kernel refuses it: {error}")),
    };
    let landlock = files::restrict(needs);
    let capabilities = capabilities::drop_all();
    let seccomp = seccomp::filter(needs);
    let mut report = Report { user, dumps, no_new_privs, capabilities, landlock, seccomp, failed: Vec::new() };
    report.failed = check::what_still_works(&report, needs);
    report
}

impl Report {
    /// One record that says what is on, a warning for each thing that is not, and an error for each that should be and is
    /// not.
    pub fn log(&self) {
        let layers = [
            ("core dumps", &self.dumps),
            ("no_new_privs", &self.no_new_privs),
            ("capabilities", &self.capabilities),
            ("Landlock", &self.landlock),
            ("seccomp", &self.seccomp),
        ];
        for (name, layer) in layers {
            if let Some(lack) = layer.lack() {
                tracing::warn!("the sandbox is less than it could be: {name}: {lack}");
            }
        }
        for failed in &self.failed {
            tracing::error!("the sandbox does not hold: {failed}; please report this with your kernel's version");
        }
        tracing::info!(
            uid = self.user.0,
            gid = self.user.1,
            capabilities = self.capabilities.word(),
            no_new_privs = self.no_new_privs.word(),
            landlock = self.landlock.word(),
            seccomp = self.seccomp.word(),
            self_check = if self.failed.is_empty() { "passed" } else { "failed" },
            "sandbox"
        );
    }
}

#[cfg(test)]
mod tests;
