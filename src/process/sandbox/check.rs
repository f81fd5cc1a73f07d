//! The self-check: everything that should be impossible now is tried.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use rustix::thread::SecureComputingMode;
use socket2::{Domain, Socket, Type};

use super::{Needs, Report, capabilities, files};

/// There is no such program. Where programs can be started, the answer is that.
const NOBODYS_PROGRAM: &CStr = c"/sealgate-self-check";

/// A connection to this host that is not refused at once is answered by nobody.
const AT_ONCE: Duration = Duration::from_millis(100);

/// Names what worked of all that the report's layers should keep from working.
pub(super) fn what_still_works(report: &Report, needs: &Needs) -> Vec<String> {
    let mut failed = Vec::new();
    let mut expect = |layer: bool, what: &str, holds: &dyn Fn() -> bool| {
        if layer && !holds() {
            failed.push(what.to_owned());
        }
    };
    expect(report.no_new_privs.is_on(), "no_new_privs is not set", &|| rustix::thread::no_new_privs() == Ok(true));
    expect(report.capabilities.is_on(), "there are capabilities left", &capabilities::are_gone);
    expect(report.landlock.is_on(), "/etc/shadow can be read", &|| File::open("/etc/shadow").is_err());
    let tcp = files::restricts_tcp(&report.landlock);
    expect(tcp, "any TCP port can be connected to", &|| is_refused(connect(needs)));
    expect(tcp, "TCP ports can be bound", &|| is_refused(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map(drop)));
    let seccomp = report.seccomp.is_on();
    expect(seccomp, "there is no filter of system calls", &|| {
        rustix::thread::secure_computing_mode() == Ok(SecureComputingMode::Filter)
    });
    expect(seccomp, "programs can be executed", &|| is_refused(execute()));
    expect(seccomp, "processes can be started", &|| is_refused(start()));
    expect(seccomp, "sockets of any family can be had", &|| {
        is_refused(Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, None).map(drop))
    });
    failed
}

fn connect(needs: &Needs) -> io::Result<()> {
    let foreign = (1..u16::MAX).find(|port| !needs.connect.contains(port)).unwrap_or(u16::MAX);
    TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, foreign)), AT_ONCE).map(drop)
}

fn execute() -> io::Result<()> {
    nix::unistd::execve(NOBODYS_PROGRAM, &[NOBODYS_PROGRAM], &[] as &[&CStr])?;
    Ok(())
}

/// By another way than [`execute`]: a new process comes first.
fn start() -> io::Result<()> {
    Command::new("/sealgate-self-check").spawn().map(drop)
}

/// EPERM is seccomp's word, EACCES Landlock's.
fn is_refused(attempt: io::Result<()>) -> bool {
    attempt.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
}
