//! The units as shipped, by systemd's own tools.

use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

use crate::support::fake::{Fake, smtp};
use crate::support::logs::Log;
use crate::support::pki::{self, pki};
use crate::support::repository;
use crate::support::wait::{PATIENCE, free_port, is_listening, until};
use crate::support::warden::{self, Server};
use crate::support::wire::Wire;

#[test]
fn systemd_accepts_the_units_as_shipped() {
    // The units name the place where the binary will be; systemd looks whether it is there.
    let dir = warden::directory("units");
    let binary = env!("CARGO_BIN_EXE_sealgate");
    let mut units = Vec::new();
    for unit in ["sealgate.service", "sealgate.socket"] {
        let text = std::fs::read_to_string(repository().join("systemd").join(unit)).expect("a unit");
        let text = text.replace("/usr/local/bin/sealgate", binary);
        let path = dir.join(unit);
        std::fs::write(&path, text).expect("a file");
        units.push(path);
    }
    let output =
        Command::new("systemd-analyze").args(["verify", "--man=no"]).args(&units).output().expect("systemd-analyze");
    let said = String::from_utf8_lossy(&output.stderr);
    // Units of other packages may have flaws of their own.
    let about_us: Vec<&str> = said.lines().filter(|line| line.contains("sealgate")).collect();
    assert!(about_us.is_empty(), "{about_us:#?}");
}

#[test]
fn sockets_of_the_service_manager_are_taken_over_and_it_is_told_when_all_is_ready() {
    let backend = Fake::start(smtp(|_, _| None));
    let port = free_port();
    let dir = warden::directory("activated");
    let config = dir.join("sealgate.toml");
    let text = format!(
        "hostname = \"{}\"\n[[tls.certificate]]\nchain = \"{}\"\nkey = \"{}\"\n[[listener]]\nservice = \"smtp\"\n\
         listen = [\"127.0.0.1:{port}\"]\nbackend = \"127.0.0.1:{}\"\nclient_identity = \"none\"\nallow_relay_as_proxy = true\n",
        pki::HOSTNAME,
        pki().rsa.chain.display(),
        pki().rsa.key.display(),
        backend.port,
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
    let log = Log::new(&stderr);
    until("systemd listens", || is_listening(port).then_some(()));

    // The first connection starts the service, waits in the kernel meanwhile, and is served.
    let mut wire = Wire::connect(std::net::SocketAddr::from(([127, 0, 0, 1], port)));
    assert_eq!(wire.reply().code, 220);
    let mut word = [0; 256];
    let n = manager.recv(&mut word).expect("a word to the manager");
    assert_eq!(String::from_utf8_lossy(&word[..n]).trim(), "READY=1");
    assert!(!log.text().contains("cannot listen"), "{}", log.text());
    assert_eq!(wire.say("QUIT").code, 221);
    server.signal("TERM");
    let n = manager.recv(&mut word).expect("a word to the manager");
    assert_eq!(String::from_utf8_lossy(&word[..n]).trim(), "STOPPING=1");
}
