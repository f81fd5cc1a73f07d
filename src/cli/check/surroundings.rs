//! What `sealgate run` needs of this host besides its backends: the log, and the addresses. Nothing is created or listened on.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;

use sealgate::config::{Config, LogTarget};
use sealgate::listener::bind;
use sealgate::session_log::Output;

use super::finding::{Finding, Findings};

/// Looks at the log and at every address. A port that is taken is no finding: the old server has it until the move.
pub fn look(config: &Config, all: &mut Vec<Finding>) {
    match &config.log.to {
        LogTarget::Stderr => {}
        LogTarget::Journal => {
            if let Err(error) = Output::open(&config.log) {
                Findings::new("config", "log.to", all)
                    .fail(error.to_string(), "without it `sealgate run` does not start");
            }
        }
        LogTarget::File(path) => look_at_file(path, &mut Findings::new("config", "log.to", all)),
    }
    for listener in &config.listeners {
        for address in listener.listen.iter().filter(|address| !address.ip().is_unspecified()) {
            // Any port of it will do.
            let Err(error) = bind(SocketAddr::new(address.ip(), 0)) else { continue };
            if error.kind() != ErrorKind::PermissionDenied {
                Findings::new("config", listener.service.name, all).fail(
                    format!("cannot listen on {address}: {error}"),
                    "write an address of this host into `listen` (see `ip address`), or leave `listen` out for all of them",
                );
            }
        }
    }
}

fn look_at_file(path: &Path, findings: &mut Findings<'_>) {
    let shown = path.display();
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if path.is_dir() {
        findings.fail(format!("{shown} is a directory"), "name a file in it");
    } else if path.exists() {
        if let Err(error) = OpenOptions::new().append(true).open(path) {
            findings.warn(format!("{shown} cannot be written: {error}"), ADVICE);
        }
    } else if !directory.is_dir() {
        let directory = directory.display();
        findings
            .fail(format!("there is no directory {directory} for {shown}"), format!("make it: mkdir -p {directory}"));
    } else if rustix::fs::access(directory, rustix::fs::Access::WRITE_OK).is_err() {
        findings.warn(format!("{shown} cannot be made: {} is not writable", directory.display()), ADVICE);
    }
}

/// The check may run as somebody else.
const ADVICE: &str = "not by the user of this check; see to it that the user that starts sealgate can";
