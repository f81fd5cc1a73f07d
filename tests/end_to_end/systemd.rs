//! The units as shipped, by systemd's own tools.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::fake::{Fake, smtp};
use crate::support::gate::Setup;
use crate::support::logs::Log;
use crate::support::pki::{self, pki};
use crate::support::ports::{free_port, is_listening};
use crate::support::repository;
use crate::support::wait::{PATIENCE, until};
use crate::support::warden::{self, Server};
use crate::support::wire::{Offer, Wire};

/// The units as shipped, but for the place of the binary, which the tests do not install.
fn units() -> PathBuf {
    let dir = warden::directory("units");
    for unit in ["sealgate.service", "sealgate.socket"] {
        let text = std::fs::read_to_string(repository().join("systemd").join(unit)).expect("a unit");
        let text = text.replace("/usr/local/bin/sealgate", env!("CARGO_BIN_EXE_sealgate"));
        std::fs::write(dir.join(unit), text).expect("a file");
    }
    dir
}

/// Puts the drop-in beside the unit.
fn as_root(units: &Path) {
    let dir = units.join("sealgate.service.d");
    std::fs::create_dir(&dir).expect("a directory");
    std::fs::copy(repository().join("systemd/as-root.conf"), dir.join("as-root.conf")).expect("a drop-in");
}

#[test]
fn systemd_accepts_the_units_as_shipped() {
    for with_drop_in in [false, true] {
        let dir = units();
        if with_drop_in {
            as_root(&dir);
        }
        let output = Command::new("systemd-analyze")
            .args(["verify", "--man=no"])
            .args([dir.join("sealgate.service"), dir.join("sealgate.socket")])
            .output()
            .expect("systemd-analyze");
        let said = String::from_utf8_lossy(&output.stderr);
        // Units of other packages may have flaws of their own.
        let about_us: Vec<&str> = said.lines().filter(|line| line.contains("sealgate")).collect();
        assert!(about_us.is_empty(), "{about_us:#?}");
    }
}

/// What systemd says of the service, and whether its exposure is at most `tenths` of a point.
fn exposure(units: &Path, tenths: u32) -> (bool, String) {
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=true", &format!("--threshold={tenths}")])
        .arg(units.join("sealgate.service"))
        .output()
        .expect("systemd-analyze");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn the_service_is_exposed_to_little() {
    let units = units();
    let (low, said) = exposure(&units, 15);
    assert!(low && said.contains("Overall exposure level"), "{said}");
    as_root(&units);
    let (low, said) = exposure(&units, 22);
    assert!(low, "{said}");
    assert!(!exposure(&units, 15).0, "the drop-in was seen: {said}");
}

/// The values of a unit's lines of that name.
fn settings(unit: &str, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(repository().join("systemd").join(unit)).expect("a unit");
    text.lines().filter_map(|line| Some(line.strip_prefix(name)?.strip_prefix('=')?.to_owned())).collect()
}

/// The value of a unit's line that stands there once.
fn setting(name: &str) -> String {
    let [value] = settings("sealgate.service", name).try_into().expect("one line");
    value
}

/// System calls by their names and those of systemd's groups.
fn calls(named: &str) -> BTreeSet<String> {
    let (groups, mut calls): (BTreeSet<_>, BTreeSet<_>) =
        named.split(' ').map(str::to_owned).partition(|name| name.starts_with('@'));
    for group in groups {
        let said = Command::new("systemd-analyze").args(["syscall-filter", &group]).output().expect("systemd-analyze");
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        // The group's own line, what it is for, and its members; before the first blank line.
        let members = said.lines().skip(1).take_while(|line| !line.is_empty()).map(str::trim);
        for member in members.filter(|line| !line.starts_with('#')) {
            calls.append(&mut self::calls(member));
        }
    }
    calls
}

/// What the unit, with a drop-in or without, lets fail with EPERM.
fn refused_calls(drop_in: Option<&str>) -> Vec<String> {
    let mut lines = settings("sealgate.service", "SystemCallFilter");
    lines.extend(drop_in.into_iter().flat_map(|unit| settings(unit, "SystemCallFilter")));
    let mut refused = BTreeSet::new();
    for line in lines {
        match line.strip_prefix('~') {
            Some(denied) => refused.append(&mut calls(denied)),
            None => refused = &refused - &calls(&line),
        }
    }
    refused.into_iter().collect()
}

#[test]
fn what_the_unit_refuses_the_gate_does_not_need() {
    assert_eq!(setting("SystemCallErrorNumber"), "EPERM");
    // systemd.exec(5): the first line says whether it is a list of what is allowed or of what is refused.
    assert!(
        settings("sealgate.service", "SystemCallFilter")[0].starts_with('~'),
        "an old systemd would refuse everything"
    );
    let backend = Fake::start(smtp(|_, _| None));
    for (drop_in, line) in [(None, ""), (Some("as-root.conf"), "user = \"nobody\"")] {
        let refused = refused_calls(drop_in);
        assert!(refused.iter().any(|call| call == "mount") && refused.len() > 50, "{refused:?}");
        let setup = Setup::new().line(line);
        let setup = setup.listener_with("submission", backend.port, "none", "allow_relay_as_proxy = true");
        let mut gate = setup.refused(&refused, "EPERM").start();
        let sandbox = gate.log.wait_for(&["sandbox", "self_check"]);
        for part in ["capabilities=none", "no_new_privs=on", "landlock=\"abi ", "seccomp=on", "self_check=passed"] {
            assert!(sandbox.contains(part), "{drop_in:?}: {sandbox}");
        }
        assert!(!gate.log.text().contains("limit of open files: "), "{}", gate.log.text());
        let config = Offer::default().config();
        assert_eq!(gate.secured("submission", &config).say("QUIT").code, 221);
        gate.signal("TERM");
        assert_eq!(gate.ended().code(), Some(0));
    }
}

/// What runs a command as a user without any right (util-linux).
const NOBODY: [&str; 4] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

#[test]
fn the_rights_that_the_unit_leaves_are_enough_for_a_port_below_1024() {
    let backend = Fake::start(smtp(|_, _| None));
    let rights = setting("AmbientCapabilities");
    assert_eq!(rights, setting("CapabilityBoundingSet"));
    assert_eq!(setting("NoNewPrivileges"), "yes");
    let rights: String = rights.split(' ').map(|name| name.replace("CAP_", ",+").to_lowercase()).collect();
    let rights = format!("-all{rights}");
    // Nobody else is likely to want these.
    let port = (601..=799).find(|port| !is_listening(*port)).expect("a free port below 1024");
    let mut setup = Setup::new().listener_with("submission", backend.port, "none", "allow_relay_as_proxy = true");
    setup.move_to("submission", port);
    let [inherited, ambient, bounding] =
        ["inh-caps", "ambient-caps", "bounding-set"].map(|set| format!("--{set}={rights}"));
    let restricted = [&NOBODY[..], &[&inherited, &ambient, &bounding, "--no-new-privs"]].concat();
    let mut gate = setup.wrapped(&restricted).start_unready();
    gate.until_open();
    let config = Offer::default().config();
    assert_eq!(gate.secured("submission", &config).say("QUIT").code, 221);
}

#[test]
fn a_running_gate_leaves_no_core_and_shows_its_memory_to_nobody() {
    let backend = Fake::start(smtp(|_, _| None));
    let mut gate = Setup::new()
        .listener_with("submission", backend.port, "none", "allow_relay_as_proxy = true")
        .wrapped(&NOBODY)
        .start_unready();
    gate.until_open();
    let proc = |name: &str| PathBuf::from(format!("/proc/{}/{name}", gate.pid()));
    let status = std::fs::read_to_string(proc("status")).expect("a status");
    assert!(status.contains("Uid:\t65534\t65534\t65534\t65534"), "it runs as nobody: {status}");
    // proc(5): a process that is not dumpable has its files owned by root, out of its own user's reach.
    assert_eq!(std::fs::metadata(proc("environ")).expect("a file").uid(), 0);
    let peek = Command::new(NOBODY[0]).args(&NOBODY[1..]).arg("cat").arg(proc("environ")).output().expect("cat");
    assert!(String::from_utf8_lossy(&peek.stderr).contains("Permission denied"), "{peek:?}");
    let limits = std::fs::read_to_string(proc("limits")).expect("limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a line");
    assert_eq!(core.split_whitespace().skip(4).collect::<Vec<_>>(), ["0", "0", "bytes"]);
}

/// The program, started by the first connection to a socket that systemd's tool has opened.
struct Activated {
    server: Server,
    log: Log,
    manager: UnixDatagram,
    port: u16,
}

impl Activated {
    fn before(backend: u16) -> Self {
        let port = free_port();
        let dir = warden::directory("activated");
        let config = dir.join("sealgate.toml");
        let text = format!(
            "hostname = \"{}\"\n[[tls.certificate]]\nchain = \"{}\"\nkey = \"{}\"\n[[listener]]\nservice = \"smtp\"\n\
             listen = [\"127.0.0.1:{port}\"]\nbackend = \"127.0.0.1:{backend}\"\nclient_identity = \"none\"\n\
             allow_relay_as_proxy = true\n",
            pki::HOSTNAME,
            pki().rsa.chain.display(),
            pki().rsa.key.display(),
        );
        std::fs::write(&config, text).expect("a file");
        let notify = dir.join("notify");
        let manager = UnixDatagram::bind(&notify).expect("a socket");
        manager.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let stderr = dir.join("stderr");
        let server = Server::start(
            "sealgate",
            Command::new("systemd-socket-activate")
                .args(["--listen", &format!("127.0.0.1:{port}"), "--setenv"])
                .arg(format!("NOTIFY_SOCKET={}", notify.display()))
                .args([env!("CARGO_BIN_EXE_sealgate"), "run", "--config"])
                .arg(&config)
                .stdout(Stdio::null())
                .stderr(std::fs::File::create(&stderr).expect("a file")),
            None,
        );
        until("systemd listens", || is_listening(port).then_some(()));
        Self { server, log: Log::new(&stderr), manager, port }
    }

    fn connect(&self) -> Wire {
        Wire::connect(std::net::SocketAddr::from(([127, 0, 0, 1], self.port)))
    }

    /// What the manager is told next.
    fn word(&self) -> String {
        let mut word = [0; 256];
        let n = self.manager.recv(&mut word).expect("a word to the manager");
        String::from_utf8_lossy(&word[..n]).trim().to_owned()
    }
}

#[test]
fn sockets_of_the_service_manager_are_taken_over_and_it_is_told_when_all_is_ready() {
    let backend = Fake::start(smtp(|_, _| None));
    let activated = Activated::before(backend.port);
    // The first connection starts the service, waits in the kernel meanwhile, and is served.
    let mut wire = activated.connect();
    assert_eq!(wire.reply().code, 220);
    assert_eq!(activated.word(), "READY=1");
    assert!(!activated.log.text().contains("cannot listen"), "{}", activated.log.text());
    assert_eq!(wire.say("QUIT").code, 221);
    activated.server.signal("TERM");
    assert_eq!(activated.word(), "STOPPING=1");
}

#[test]
fn clients_of_a_socket_that_the_service_manager_has_opened_hear_that_there_is_no_backend() {
    let activated = Activated::before(free_port());
    let mut wire = activated.connect();
    assert_eq!(wire.reply().code, 220);
    assert_eq!(wire.say("EHLO client.example.org").code, 250);
    let refused = wire.say("MAIL FROM:<sender@example.org>");
    assert_eq!(refused.code, 421, "{refused:?}");
    wire.end();
}
