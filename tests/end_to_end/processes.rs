//! Parent and worker, started as root: everything that one process does.

mod deaths;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::clients::{Envelope, Reader, Sender};
use crate::support::fake::{Fake, smtp};
use crate::support::gate::{Gate, Setup};
use crate::support::logs::Log;
use crate::support::mail;
use crate::support::pki::{Files, pki};
use crate::support::stack::{User, stack};
use crate::support::wait::{PATIENCE, until};
use crate::support::warden;
use crate::support::wire::{Offer, Wire};

/// The worker's user.
const NOBODY: &str = "nobody";

/// A directory that root alone may enter, and what is in it.
struct Private {
    directory: PathBuf,
}

impl Private {
    fn new() -> Self {
        let directory = warden::directory("private");
        fs::set_permissions(&directory, Permissions::from_mode(0o700)).expect("permissions");
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Writes the tests' usual certificate, with a key that root alone may read.
    fn certify(&self) -> Files {
        let read = |path| fs::read_to_string(path).expect("a file");
        self.install((read(&pki().ecdsa.chain), read(&pki().ecdsa.key)))
    }

    /// Writes another certificate, with that serial number, over the one that is there.
    fn renew(&self, serial: u64) {
        self.install(pki().another(serial));
    }

    fn install(&self, (chain, key): (String, String)) -> Files {
        let files = Files { chain: self.path("chain.pem"), key: self.path("key.pem") };
        for (path, content) in [(&files.chain, chain), (&files.key, key)] {
            fs::write(path, content).expect("a file");
            fs::set_permissions(path, Permissions::from_mode(0o600)).expect("permissions");
        }
        files
    }

    /// A gate whose key, log and directory are root's.
    fn setup(&self) -> Setup {
        let log = format!("[log]\nto = \"{}\"", self.path("mail.log").display());
        Setup::certified([&self.certify()]).line(&format!("user = \"{NOBODY}\"")).table(&log)
    }

    fn log(&self) -> Log {
        Log::new(&self.path("mail.log"))
    }
}

fn in_front_of_the_stack(setup: Setup) -> Setup {
    let (stack, _shown) = stack();
    let proxy = stack.postfix.proxy;
    setup
        .listener("smtp", proxy.smtp, "proxy-v2")
        .listener("submission", proxy.submission, "proxy-v2")
        .listener("submissions", proxy.submission, "proxy-v2")
        .listener("imap", stack.dovecot.gated, "proxy-v2")
        .listener("imaps", stack.dovecot.gated, "proxy-v2")
}

/// The processes that this one has started.
fn children(parent: u32) -> Vec<u32> {
    let processes =
        fs::read_dir("/proc").expect("/proc").filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    processes.filter(|pid| field(*pid, "PPid").is_some_and(|of| of == parent.to_string())).collect()
}

/// A line of a process' status (proc_pid_status(5)).
fn field(pid: u32, name: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(line.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// The one worker.
fn worker(gate: &Gate) -> u32 {
    until("there is a worker", || match children(gate.pid())[..] {
        [worker] => Some(worker),
        _ => None,
    })
}

fn kill(signal: &str, process: &str) {
    let done = Command::new("kill").args(["-s", signal, "--", process]).status().expect("kill");
    assert!(done.success(), "kill -s {signal} {process}");
}

fn is_gone(pid: u32) -> bool {
    field(pid, "State").is_none_or(|state| state.starts_with('Z'))
}

/// The serial number of the certificate that a session was shown.
fn serial(wire: &Wire) -> u64 {
    use x509_parser::prelude::{FromDer as _, X509Certificate};
    let shown = wire.tls_state().peer_certificates().expect("a certificate");
    let (_, certificate) = X509Certificate::from_der(&shown[0]).expect("X.509");
    certificate.serial.iter_u64_digits().next().expect("a number")
}

fn in_a_message(gate: &Gate, user: &User) -> Wire {
    let mut wire = gate.secured("smtp", &Offer::default().config());
    assert_eq!(wire.say("MAIL FROM:<sender@example.net>").code, 250);
    assert_eq!(wire.say(&format!("RCPT TO:<{}>", user.address)).code, 250);
    assert_eq!(wire.say("DATA").code, 354);
    wire.send("Subject: unhurried\r\n\r\n");
    wire
}

fn finish(mut wire: Wire, user: &User) {
    assert_eq!(wire.say("the rest\r\n.").code, 250);
    assert_eq!(wire.say("QUIT").code, 221);
    wire.end();
    assert!(String::from_utf8_lossy(&user.mail()).contains("the rest"));
}

#[test]
fn a_worker_without_rights_serves_what_root_alone_may_read() {
    let (stack, _shown) = stack();
    let private = Private::new();
    let mut gate = in_front_of_the_stack(private.setup()).start();
    let worker = worker(&gate);

    let status = |name| field(worker, name).unwrap_or_default();
    for ids in [status("Uid"), status("Gid")] {
        let ids: Vec<&str> = ids.split(' ').collect();
        assert!(ids.len() == 4 && ids.iter().all(|id| *id == "65534"), "{ids:?}");
    }
    assert_eq!(status("Groups"), "", "root's groups are gone");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(status(set), "0000000000000000", "{set}");
    }
    assert_eq!((&*status("NoNewPrivs"), &*status("Seccomp")), ("1", "2"));
    assert_eq!(field(gate.pid(), "Uid").as_deref(), Some("0 0 0 0"), "the parent");
    assert_eq!(field(gate.pid(), "CapBnd").as_deref(), Some("0000000000000000"), "the parent");
    let environment = fs::read_to_string(format!("/proc/{worker}/environ")).expect("root may look");
    assert!(!environment.contains("NOTIFY_SOCKET"), "{environment}");
    let line = private.log().wait_for(&["sandbox", "self_check"]);
    for part in
        ["uid=65534", "capabilities=none", "no_new_privs=on", "landlock=\"abi ", "seccomp=on", "self_check=passed"]
    {
        assert!(line.contains(part), "{line}");
    }

    for service in ["smtp", "submission", "submissions"] {
        let user = stack.user();
        let login = (service != "smtp").then_some(user.name.as_str());
        let envelope = Envelope { from: &user.address, to: &user.address, login };
        let content = mail::mail("Hello\r\n");
        Sender::Smtplib.send(gate.target(service), envelope, &content).success();
        assert_eq!(mail::without_trace(&user.mail()), mail::with_lf(&content), "{service}");
        for reader in ["imap", "imaps"] {
            let read = Reader::Curl.fetch(gate.target(reader), &user.name);
            assert_eq!(mail::with_lf(&mail::without_trace(&read)), mail::with_lf(&content), "{service}, {reader}");
        }
    }
    gate.signal("TERM");
    assert_eq!(gate.ended().code(), Some(0));
    assert!(is_gone(worker));
    let log = private.log().text();
    // How many files a process may open here is not the gate's to choose.
    let trouble =
        |line: &&str| ["WARN", "ERROR"].iter().any(|level| line.contains(level)) && !line.contains("max_connections");
    assert_eq!(log.lines().find(trouble), None, "{log}");
}

#[test]
fn a_renewed_key_that_root_alone_may_read_arrives_and_so_does_a_new_log() {
    let backend = Fake::start(smtp(|_, _| None));
    let private = Private::new();
    let setup = private.setup().listener_with("submissions", backend.port, "none", "allow_relay_as_proxy = true");
    let gate = setup.start();
    let worker = worker(&gate);
    let config = Offer::default().config();
    let mut open = gate.secured("submissions", &config);
    assert_ne!(serial(&open), 2);

    private.renew(2);
    fs::rename(private.path("mail.log"), private.path("mail.log.1")).expect("logrotate");
    gate.signal("HUP");
    let old = Log::new(&private.path("mail.log.1"));
    until("the new certificate is served", || {
        let mut wire = gate.secured("submissions", &Offer::default().config());
        assert_eq!(wire.say("QUIT").code, 221);
        (serial(&wire) == 2).then_some(())
    });
    let log = private.log();
    log.wait_for(&["certificate renewed", "names=mail.example.net"]);
    assert_eq!(open.say("NOOP").code, 250, "the open session lives");
    assert_eq!(open.say("QUIT").code, 221);
    let session = format!("client_port={} ", open.port);
    log.wait_for(&[&session, "outcome="]);
    assert!(!old.text().lines().any(|line| line.contains(&session) && line.contains("outcome=")), "{}", old.text());
    let made = fs::metadata(private.path("mail.log")).expect("a file");
    assert_eq!((made.uid(), made.mode() & 0o777), (0, 0o640));

    // Half a renewal is not passed on.
    let (chain, _) = pki().another(3);
    fs::write(private.path("chain.pem"), chain).expect("a file");
    gate.signal("USR1"); // Dovecot's word for it
    log.wait_for(&["the certificate was not renewed", "key.pem is not the key"]);
    assert_eq!(serial(&gate.secured("submissions", &Offer::default().config())), 2);
    assert_eq!(children(gate.pid()), [worker], "all by the same worker");
}

#[test]
fn sessions_finish_when_the_parent_is_told_to_stop() {
    let (stack, _shown) = stack();
    // The second one goes to both processes at once, as Ctrl-C does, and must not count twice.
    for (signal, whole_group) in [("TERM", false), ("INT", true), ("QUIT", true)] {
        let private = Private::new();
        let mut gate = in_front_of_the_stack(private.setup().line("drain = \"1m\"")).start();
        let user = stack.user();
        let wire = in_a_message(&gate, &user);
        let group = if whole_group { "-" } else { "" };
        kill(signal, &format!("{group}{}", gate.pid()));
        until("the ports are closed", || (!gate.is_open("smtp") && !gate.is_open("imaps")).then_some(()));
        assert!(gate.runs(), "{signal}: it waits for the session");
        finish(wire, &user);
        assert_eq!(gate.ended().code(), Some(0), "{signal}");
    }
}

#[test]
fn a_second_signal_ends_the_sessions_that_are_left() {
    let (stack, _shown) = stack();
    let private = Private::new();
    let mut gate = in_front_of_the_stack(private.setup().line("drain = \"1h\"")).start();
    let user = stack.user();
    let mut wire = in_a_message(&gate, &user);
    gate.signal("TERM");
    until("the ports are closed", || (!gate.is_open("smtp")).then_some(()));
    gate.signal("TERM");
    assert_eq!(wire.reply().code, 421);
    wire.end();
    assert_eq!(gate.ended().code(), Some(0));
    assert_eq!(user.count(), 0, "half a mail is no mail");
}

#[test]
fn the_service_manager_is_told_by_the_parent_when_the_worker_serves() {
    let backend = Fake::start(smtp(|_, _| None));
    let private = Private::new();
    let notify = private.path("notify");
    let manager = UnixDatagram::bind(&notify).expect("a socket");
    manager.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let setup = private.setup().listener_with("smtp", backend.port, "none", "allow_relay_as_proxy = true");
    let gate = setup.wrapped(&["env", &format!("NOTIFY_SOCKET={}", notify.display())]).start_unready();
    let hear = || {
        let mut word = [0; 256];
        let n = manager.recv(&mut word).expect("a word to the manager");
        String::from_utf8_lossy(&word[..n]).trim().to_owned()
    };
    assert_eq!(hear(), "READY=1");
    private.log().wait_for(&["sandbox", "self_check=passed"]);
    gate.signal("TERM");
    assert_eq!(hear(), "STOPPING=1");
}

/// What the program says, and how it ends, when it cannot start.
fn refusal(config: &Path, command: &str) -> (Option<i32>, String) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_sealgate"));
    program.arg(command).stdin(Stdio::null());
    if command == "run" {
        program.arg("--config").arg(config);
    }
    let output = program.output().expect("sealgate");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn what_keeps_the_gate_from_starting_is_said_once_and_ends_it() {
    let private = Private::new();
    let Files { chain, key } = private.certify();
    let text = |user: &str, listen: &str| {
        format!(
            "hostname = \"mail.example.net\"\nuser = \"{user}\"\n[[tls.certificate]]\nchain = \"{}\"\nkey = \"{}\"\n\
             [[listener]]\nservice = \"smtp\"\nlisten = [\"{listen}\"]\nbackend = \"127.0.0.1:1\"\nclient_identity = \"xclient\"\n",
            chain.display(),
            key.display()
        )
    };
    let config = private.path("sealgate.toml");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("an address").to_string();
    for (user, listen, says) in [
        ("no-such-user", "127.0.0.1:0", "this host has no account no-such-user"),
        ("nobody", &taken, "cannot listen on"),
    ] {
        fs::write(&config, text(user, listen)).expect("a file");
        let (code, said) = refusal(&config, "run");
        assert_eq!((code, said.matches(says).count()), (Some(1), 1), "{said}");
    }
    fs::write(&config, text("root", "127.0.0.1:0")).expect("a file");
    let (code, said) = refusal(&config, "run");
    assert_eq!((code, said.matches("root has all rights").count()), (Some(2), 1), "{said}");
    let (code, said) = refusal(&config, "worker");
    assert_eq!((code, said.matches("started by `sealgate run`").count()), (Some(1), 1), "{said}");
}

#[test]
fn one_process_shuts_itself_in_as_well_and_says_what_root_should_set() {
    let backend = Fake::start(smtp(|_, _| None));
    let private = Private::new();
    let files = private.certify();
    let gate = Setup::certified([&files])
        .table(&format!("[log]\nto = \"{}\"", private.path("mail.log").display()))
        .listener_with("submissions", backend.port, "none", "allow_relay_as_proxy = true")
        .start();
    assert_eq!(children(gate.pid()), []);
    let status = |name| field(gate.pid(), name).unwrap_or_default();
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(status(set), "0000000000000000", "{set}");
    }
    assert_eq!((&*status("NoNewPrivs"), &*status("Seccomp")), ("1", "2"));
    let log = private.log();
    log.wait_for(&["sandbox", "uid=0", "self_check=passed"]);
    log.wait_for(&["WARN", "one process serves as root", "user = "]);

    private.renew(2);
    fs::rename(private.path("mail.log"), private.path("mail.log.1")).expect("logrotate");
    gate.signal("HUP");
    until("the new certificate is served", || {
        (serial(&gate.secured("submissions", &Offer::default().config())) == 2).then_some(())
    });
    log.wait_for(&["outcome="]);
}
