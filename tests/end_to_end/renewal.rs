//! Certificates are renewed while sessions are open.

use std::path::Path;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::HandshakeKind;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::support::fake::{Fake, smtp};
use crate::support::gate::{Gate, Setup};
use crate::support::logs::Log;
use crate::support::pki::{Files, pki};
use crate::support::warden;
use crate::support::wire::{Offer, Wire};

/// The files of an ACME client: links in live/ to numbered files in archive/.
struct Acme {
    files: Files,
    archive: std::path::PathBuf,
}

impl Acme {
    fn new(serial: u64) -> Self {
        let dir = warden::directory("acme");
        let archive = dir.join("archive");
        let live = dir.join("live");
        std::fs::create_dir(&archive).expect("a directory");
        std::fs::create_dir(&live).expect("a directory");
        let acme = Self { files: Files { chain: live.join("fullchain.pem"), key: live.join("privkey.pem") }, archive };
        let (chain, key) = pki().another(serial);
        acme.link(&acme.files.chain, serial, &chain);
        acme.link(&acme.files.key, serial, &key);
        acme
    }

    fn link(&self, link: &Path, serial: u64, content: &str) {
        let name = link.file_stem().expect("a name").to_string_lossy();
        let file = self.archive.join(format!("{name}{serial}.pem"));
        std::fs::write(&file, content).expect("a file");
        let next = link.with_extension("next");
        std::os::unix::fs::symlink(&file, &next).expect("a link");
        std::fs::rename(&next, link).expect("a link");
    }
}

fn gate(acme: &Acme, backend: &Fake) -> Gate {
    Setup::certified([&acme.files])
        .listener_with("submissions", backend.port, "none", "allow_relay_as_proxy = true")
        .start()
}

fn session(gate: &Gate, config: &Arc<ClientConfig>) -> Wire {
    gate.secured("submissions", config)
}

/// The serial number of the certificate that a session was shown.
fn serial(wire: &Wire) -> u64 {
    let shown = wire.tls_state().peer_certificates().expect("a certificate");
    let (_, certificate) = X509Certificate::from_der(&shown[0]).expect("X.509");
    certificate.serial.iter_u64_digits().next().expect("a number")
}

#[test]
fn a_renewed_certificate_is_for_new_handshakes_and_open_sessions_live_on() {
    let backend = Fake::start(smtp(|_, _| None));
    let acme = Acme::new(71);
    let mut gate = gate(&acme, &backend);
    let config = Offer::default().config();
    let mut open = session(&gate, &config);
    assert_eq!(serial(&open), 71);

    // Half of it, and SIGHUP: refused, with the file and the reason, and the one from before goes on.
    let (chain, key) = pki().another(72);
    acme.link(&acme.files.chain, 72, &chain);
    gate.signal("HUP");
    gate.log.wait_for(&["ERROR the certificate was not renewed", "privkey.pem is not the key", "fullchain.pem"]);
    assert_eq!(serial(&session(&gate, &Offer::default().config())), 71);

    acme.link(&acme.files.key, 72, &key);
    gate.signal("HUP");
    let line = gate.log.wait_for(&["INFO certificate renewed"]);
    for part in ["names=mail.example.net", "key=\"ECDSA P-256\"", "not_after=4096-01-01T00:00:00Z", "fullchain.pem"] {
        assert!(line.contains(part), "{line}");
    }
    assert_eq!(open.say("NOOP").code, 250, "the open session lives");
    assert_eq!(serial(&session(&gate, &Offer::default().config())), 72, "a stranger sees the new one");
    let resumed = session(&gate, &config);
    assert_eq!(resumed.tls_state().handshake_kind(), Some(HandshakeKind::Resumed), "tickets from before are good");
    assert_eq!(open.say("QUIT").code, 221);
    assert!(gate.runs());
    assert!(!gate.log.text().contains("PRIVATE KEY") && !gate.log.text().contains(&key[60..80]));
}

#[test]
fn a_directory_that_is_another_one_now_wants_a_restart_which_is_said() {
    let backend = Fake::start(smtp(|_, _| None));
    let acme = Acme::new(91);
    let dir = acme.archive.parent().expect("a directory").join("logs");
    let log = dir.join("sealgate.log");
    std::fs::create_dir(&dir).expect("a directory");
    let gate = Setup::certified([&acme.files])
        .table(&format!("[log]\nto = \"{}\"", log.display()))
        .listener_with("submissions", backend.port, "none", "allow_relay_as_proxy = true")
        .start();
    let live = acme.files.chain.parent().expect("a directory");
    for old in [live, &dir] {
        std::fs::rename(old, old.with_extension("old")).expect("a directory");
        std::fs::create_dir(old).expect("a directory");
    }
    let log = Log::new(&dir.with_extension("old").join("sealgate.log"));
    if log.text().contains("landlock=off") {
        return; // whoever may read the files may read these
    }
    let (chain, key) = pki().another(92);
    std::fs::write(&acme.files.chain, chain).expect("a file");
    std::fs::write(&acme.files.key, key).expect("a file");
    gate.signal("HUP");
    log.wait_for(&["the certificate was not renewed", "fullchain.pem cannot be read", "restart sealgate"]);
    log.wait_for(&["cannot open the log file", "restart sealgate", "going on with the old one"]);
}

#[test]
fn an_expired_certificate_for_another_host_serves_and_is_named() {
    let dir = warden::directory("expired");
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::new(["other.example.org".to_owned()]).expect("a name");
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2024, 1, 1);
    let files = Files { chain: dir.join("chain.pem"), key: dir.join("key.pem") };
    std::fs::write(&files.chain, params.self_signed(&key).expect("a certificate").pem()).expect("a file");
    std::fs::write(&files.key, key.serialize_pem()).expect("a file");
    let backend = Fake::start(smtp(|_, _| None));
    let gate = Setup::certified([&files])
        .listener_with("submissions", backend.port, "none", "allow_relay_as_proxy = true")
        .start();
    gate.log.wait_for(&["WARN the certificate has expired on 2024-01-01T00:00:00Z: renew it", "chain.pem"]);
    gate.log.wait_for(&["WARN no certificate is for mail.example.net"]);
    assert_eq!(session(&gate, &Offer::default().config()).say("QUIT").code, 221);
}

#[test]
fn a_reload_says_that_it_does_not_take_a_changed_configuration() {
    let backend = Fake::start(smtp(|_, _| None));
    let acme = Acme::new(81);
    let gate = gate(&acme, &backend);
    let warning = "has changed since the start: only a restart takes it, a reload does not";
    for changes in 1..=2 {
        let mut text = std::fs::read_to_string(gate.config()).expect("a file");
        text.push_str("# another line\n");
        std::fs::write(gate.config(), text).expect("a file");
        // The second time nothing has changed.
        gate.signal("HUP");
        gate.log.wait_for(&["WARN", "sealgate.toml", warning]);
        crate::support::wait::until("it is said", || {
            (gate.log.text().matches(warning).count() == changes).then_some(())
        });
    }
}
