//! The sandbox from inside: this test binary runs once more, in a process of its own that enters it.

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use socket2::{Domain, Socket, Type};

use super::*;

/// Where the copy finds its directory; also what tells it that it is the copy.
const DIRECTORY: &str = "SEALGATE_TEST_SANDBOX";
const PORTS: &str = "SEALGATE_TEST_PORTS";

/// Runs `inside` in a process of its own, where it may break what it likes.
fn in_a_copy(inside: &str) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("key.pem"), "a key").unwrap();
    std::fs::create_dir(directory.path().join("log")).unwrap();
    let [open, foreign] = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    let ports = [&open, &foreign].map(|listener| listener.local_addr().unwrap().port().to_string()).join(" ");
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture", &format!("process::sandbox::tests::{inside}")])
        .env(DIRECTORY, directory.path())
        .env(PORTS, ports)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// The directory, the port that may be connected to, and one that may not.
fn given() -> (PathBuf, u16, u16) {
    let ports = std::env::var(PORTS).expect("started by `in_a_copy`");
    let mut ports = ports.split(' ').map(|port| port.parse().unwrap());
    (std::env::var_os(DIRECTORY).unwrap().into(), ports.next().unwrap(), ports.next().unwrap())
}

fn refused<T>(what: &str, attempt: std::io::Result<T>) {
    match attempt {
        Ok(_) => panic!("{what} worked"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{what}: {error}"),
    }
}

#[test]
fn what_was_not_asked_for_is_refused() {
    in_a_copy("inside_what_was_not_asked_for_is_refused");
}

#[test]
#[ignore = "runs in a process of its own"]
fn inside_what_was_not_asked_for_is_refused() {
    let (directory, port, foreign) = given();
    let key = directory.join("key.pem");
    let needs = Needs { connect: BTreeSet::from([port]), ..Needs::default() };
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    let parent = nix::unistd::getppid();
    let report = enter(&needs);
    assert_eq!(report.failed, Vec::<String>::new(), "{report:?}");
    assert!(matches!(report.landlock, Layer::On(_)), "tests of the sandbox need Landlock: {report:?}");
    assert!(matches!(report.seccomp, Layer::On(_)), "{report:?}");

    refused("/etc/shadow", File::open("/etc/shadow"));
    refused("a key", File::open(&key));
    refused("a new file", File::create(directory.join("new")));
    refused("removing a file", std::fs::remove_file(&key));
    refused("a directory", std::fs::read_dir("/etc"));
    refused("/proc", File::open("/proc/self/maps"));
    refused("a program", Command::new("/bin/true").status());
    let program = c"/bin/true";
    refused("exec", nix::unistd::execve(program, &[program], &[] as &[&CStr]).map_err(Into::into));
    refused("a foreign port", TcpStream::connect((Ipv4Addr::LOCALHOST, foreign)));
    refused("listening", TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    refused("a bound datagram socket", UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)));
    for family in [libc::AF_NETLINK, libc::AF_PACKET, libc::AF_ALG, libc::AF_VSOCK, libc::AF_BLUETOOTH] {
        refused("a socket of another family", Socket::new(Domain::from(family), Type::RAW, None));
    }
    refused("a raw socket", Socket::new(Domain::IPV4, Type::RAW, Some(socket2::Protocol::ICMPV4)));
    refused("being traced", nix::sys::ptrace::traceme().map_err(Into::into));
    refused("tracing", nix::sys::ptrace::attach(parent).map_err(Into::into));
    refused("a signal", nix::sys::signal::kill(parent, nix::sys::signal::Signal::SIGURG).map_err(Into::into));
    refused("chroot", nix::unistd::chroot("/").map_err(Into::into));
    refused("a host's name", nix::unistd::sethostname("x").map_err(Into::into));
    assert!(rustix::thread::set_no_new_privs(false).is_err());
    // What was open stays so.
    stream.set_nodelay(true).unwrap();
}

#[test]
fn what_was_asked_for_works() {
    in_a_copy("inside_what_was_asked_for_works");
}

#[test]
#[ignore = "runs in a process of its own"]
fn inside_what_was_asked_for_works() {
    let (directory, port, foreign) = given();
    let needs = Needs {
        read: vec![directory.clone(), "/not/there".into()],
        append: vec![directory.join("log")],
        connect: BTreeSet::from([port]),
        bind: true,
        abstract_sockets: false,
    };
    let report = enter(&needs);
    assert_eq!(report.failed, Vec::<String>::new(), "{report:?}");
    assert_eq!(std::fs::read(directory.join("key.pem")).unwrap(), b"a key");
    refused("writing where one may read", OpenOptions::new().append(true).open(directory.join("key.pem")));
    std::fs::write(directory.join("renewed.pem"), "").unwrap_err();
    let log = |name: &str| OpenOptions::new().append(true).create(true).open(directory.join("log").join(name));
    log("mail.log").unwrap();
    log("mail.log").unwrap();
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    refused("a foreign port", TcpStream::connect((Ipv4Addr::LOCALHOST, foreign)));
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().send_to(b"?", (Ipv4Addr::LOCALHOST, foreign)).unwrap();
    refused("listening", TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    UnixStream::pair().unwrap();
    assert_eq!(std::thread::spawn(|| 1).join().unwrap(), 1);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        drop(tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).unwrap());
        tokio::task::spawn_blocking(|| refused("a program", Command::new("/bin/true").status())).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        tokio::fs::read(directory.join("key.pem")).await.unwrap();
    });
    assert!(std::panic::catch_unwind(|| panic!("as a session may")).is_err());
}

#[test]
fn an_attempt_that_should_fail_and_does_not_is_told() {
    // Nothing was given up here: every layer that claims to be on is caught.
    let on = || Layer::On("abi 7".to_owned());
    let report = Report {
        user: (0, 0),
        dumps: on(),
        no_new_privs: on(),
        capabilities: on(),
        landlock: on(),
        seccomp: on(),
        failed: Vec::new(),
    };
    let failed = check::what_still_works(&report, &Needs::default());
    for what in ["no_new_privs", "bound", "filter", "executed", "started", "family"] {
        assert!(failed.iter().any(|failed| failed.contains(what)), "{what}: {failed:?}");
    }
    let off = || Layer::Off("not here".to_owned());
    let report = Report { no_new_privs: off(), capabilities: off(), landlock: off(), seccomp: off(), ..report };
    assert_eq!(check::what_still_works(&report, &Needs::default()), Vec::<String>::new());
}

#[test]
fn a_gate_needs_its_files_and_its_backends_ports_and_a_worker_no_files() {
    let text = |identity: &str| {
        format!(
            "hostname = 'a.example'\n[[tls.certificate]]\nchain = '/tls/live/c.pem'\nkey = '/tls/private/k.pem'\n\
             [log]\nto = '/var/log/gate/mail.log'\n\
             [[listener]]\nservice = 'smtp'\nbackend = '127.0.0.1:10025'\nclient_identity = '{identity}'\n\
             [[listener]]\nservice = 'imaps'\nbackend = 'unix:/run/imap'\nclient_identity = 'proxy-v2'\n"
        )
    };
    let needs = |identity: &str, files| {
        Needs::new(&Config::parse(&text(identity), Path::new("/etc/gate.toml")).unwrap(), files)
    };
    let reads = |needs: &Needs, path: &str| needs.read.iter().any(|read| read == Path::new(path));
    let own = needs("proxy-v2", Files::Own);
    assert!(reads(&own, "/tls/live") && reads(&own, "/tls/private") && !reads(&own, "/etc/resolv.conf"), "{own:?}");
    assert_eq!(own.append, [Path::new("/var/log/gate")]);
    assert_eq!((own.connect.iter().copied().collect::<Vec<_>>(), own.bind), (vec![10025], false));
    let given = needs("xclient", Files::Parents);
    assert!(!reads(&given, "/tls/live") && reads(&given, "/etc/resolv.conf") && given.append.is_empty(), "{given:?}");
    assert_eq!((given.connect.iter().copied().collect::<Vec<_>>(), given.bind), (vec![53, 10025], true));
}
