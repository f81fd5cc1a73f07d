//! Dovecot 1.0 to 2.2.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::base64;
use crate::support::dovecot::IMAP_ID;
use crate::support::gate::{Gate, Setup};
use crate::support::logs::Log;
use crate::support::ports::{free_port, is_listening};
use crate::support::shipped;
use crate::support::wait::until;
use crate::support::warden::{self, Server};
use crate::support::wire::{Offer, Wire};
use crate::{CLIENT, Old, check, installed};

/// The user, and the password with something to escape. The other one is the model's.
const USER: &str = "alice";
const PASSWORD: &str = "corr\"ect horse";

/// A running Dovecot.
pub struct Dovecot {
    pub port: u16,
    log: Log,
    _server: Server,
}

/// What version 1 is told.
fn version_1(old: &Old, directory: &Path, port: u16) -> String {
    let mut gated = shipped("dovecot-1.conf", &[(10143, port)]);
    if old.version[1] == 0 {
        gated = gated.replace("mail_max_userip_connections = 100", ""); // the file says so
    }
    let tls = if old.version[1] < 2 { "ssl_disable = yes" } else { "ssl = no" };
    let directory = directory.display();
    format!(
        "protocols = imap
base_dir = {directory}/run
login_dir = {directory}/run/login
login_user = dovenull
log_path = {directory}/log
mail_location = maildir:~/Maildir
disable_plaintext_auth = yes
{tls}
auth default {{
  mechanisms = plain login
  passdb passwd-file {{
    args = {directory}/users
  }}
  userdb static {{
    args = uid=65534 gid=65534 home={directory}/mail/%n
  }}
}}
{gated}"
    )
}

/// What version 2 is told.
fn version_2(directory: &Path, port: u16) -> String {
    let gated = shipped(IMAP_ID, &[(10143, port)]);
    let directory = directory.display();
    format!(
        "protocols = imap
listen = 127.0.0.1
base_dir = {directory}/run
log_path = {directory}/log
mail_location = maildir:~/Maildir
disable_plaintext_auth = yes
ssl = no
auth_mechanisms = plain login
service imap-login {{
  inet_listener imap {{
    port = 0
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
passdb {{
  driver = passwd-file
  args = {directory}/users
}}
userdb {{
  driver = static
  args = uid=65534 gid=65534 home={directory}/mail/%n
}}
{gated}"
    )
}

/// Starts one, with more settings behind all others.
pub fn start(old: &Old, settings: &str) -> Dovecot {
    let directory = warden::directory("old-dovecot");
    let mail = directory.join("mail");
    std::fs::create_dir(&mail).expect("a directory");
    std::os::unix::fs::chown(&mail, Some(65534), Some(65534)).expect("tests of the real servers run as root");
    std::fs::write(directory.join("users"), format!("{USER}:{{PLAIN}}{PASSWORD}\ngood:{{PLAIN}}pass\n"))
        .expect("a file");
    let port = free_port();
    let text = if old.version[0] == 1 { version_1(old, &directory, port) } else { version_2(&directory, port) };
    let config = directory.join("dovecot.conf");
    std::fs::write(&config, text + settings).expect("a file");
    let mut command = Command::new(old.directory.join("sbin/dovecot"));
    let stderr = std::fs::File::create(directory.join("stderr")).expect("a file");
    command.arg("-F").arg("-c").arg(&config).stdout(Stdio::null()).stderr(stderr);
    let mut server = Server::start("old-dovecot", &mut command, None);
    let log = Log::new(&directory.join("log"));
    until("the old Dovecot listens", || {
        if let Some(status) = server.ended() {
            panic!("{}: {status}\n{}", Log::new(&directory.join("stderr")).text(), log.text());
        }
        is_listening(port).then_some(())
    });
    Dovecot { port, log, _server: server }
}

/// The identity that the shipped file names.
fn identity(old: &Old) -> &'static str {
    if old.version[0] == 1 { "none" } else { "imap-id" }
}

fn setup(old: &Old, dovecot: &Dovecot) -> Setup {
    let identity = identity(old);
    Setup::new().listener("imap", dovecot.port, identity).listener("imaps", dovecot.port, identity)
}

/// Every way to log in that these versions know.
fn log_in(wire: &mut Wire, way: &str) -> String {
    let plain = base64(format!("\0{USER}\0{PASSWORD}"));
    let quoted = PASSWORD.replace('"', "\\\"");
    let go_on = |wire: &mut Wire, says: String| {
        answer(wire, "+");
        wire.send(says);
    };
    match way {
        "quoted" => wire.send(format!("a LOGIN {USER} \"{quoted}\"\r\n")),
        "literal+" => {
            wire.send(format!("a LOGIN {{{}+}}\r\n{USER} {{{}+}}\r\n{PASSWORD}\r\n", USER.len(), PASSWORD.len()))
        }
        "initial response" => wire.send(format!("a AUTHENTICATE PLAIN {plain}\r\n")),
        "literals" => {
            wire.send(format!("a LOGIN {{{}}}\r\n", USER.len()));
            go_on(wire, format!("{USER} {{{}}}\r\n", PASSWORD.len()));
            go_on(wire, format!("{PASSWORD}\r\n"));
        }
        "plain" => {
            wire.send("a AUTHENTICATE PLAIN\r\n");
            go_on(wire, plain + "\r\n");
        }
        _ => {
            wire.send("a AUTHENTICATE LOGIN\r\n");
            go_on(wire, base64(USER) + "\r\n");
            go_on(wire, base64(PASSWORD) + "\r\n");
        }
    }
    answer(wire, "a ")
}

/// The line that begins like this; what comes before it is of no interest.
fn answer(wire: &mut Wire, beginning: &str) -> String {
    loop {
        let line = wire.line().expect("an answer");
        if line.starts_with(beginning) {
            return line;
        }
    }
}

/// Puts a mail into the mailbox and reads it back.
fn use_the_mailbox(wire: &mut Wire, version: &[u32]) {
    let selected = wire.tagged("s", "SELECT INBOX");
    assert!(selected.concat().contains("s OK"), "{version:?}: {selected:?}");
    let mail = "Subject: Hello\r\n\r\nthere\r\n";
    wire.send(format!("p APPEND INBOX {{{}}}\r\n", mail.len()));
    answer(wire, "+");
    wire.send(format!("{mail}\r\n"));
    let appended = answer(wire, "p ");
    assert!(appended.starts_with("p OK"), "{version:?}: {appended}");
    let fetched = wire.tagged("f", "FETCH 1 BODY[TEXT]").concat();
    assert!(fetched.contains("there") && fetched.contains("f OK"), "{version:?}: {fetched}");
}

#[test]
#[ignore = "wants old servers that were built by hand"]
fn every_dovecot_lets_in_who_has_the_password_and_knows_the_client_where_it_can() {
    for old in installed("dovecot") {
        let dovecot = start(&old, "");
        check(setup(&old, &dovecot));
        let gate = setup(&old, &dovecot).start();
        let version = &old.version;
        for service in ["imap", "imaps"] {
            for way in ["quoted", "literal+", "literals", "plain", "initial response", "login"] {
                let mut wire = stranger(&gate, service);
                let answer = log_in(&mut wire, way);
                assert!(answer.starts_with("a OK"), "{version:?}, {service}, {way}: {answer}");
                assert!(wire.tagged("n", "NAMESPACE").concat().contains("n OK"), "{version:?}, {way}");
                assert!(wire.tagged("z", "LOGOUT").concat().contains("z OK"), "{version:?}, {way}");
            }
        }
        let mut wire = stranger(&gate, "imaps");
        let wrong = wire.tagged("w", &format!("LOGIN {USER} wrong")).concat();
        assert!(wrong.contains("w NO"), "{version:?}: {wrong}");
        assert!(log_in(&mut wire, "quoted").starts_with("a OK"), "{version:?}");
        use_the_mailbox(&mut wire, version);
        let seen_from = if identity(&old) == "none" { "rip=127.0.0.1".to_owned() } else { format!("rip={CLIENT}") };
        dovecot.log.wait_for(&["Login: ", &seen_from]);
    }
}

#[test]
#[ignore = "wants old servers that were built by hand"]
fn a_dovecot_without_room_for_another_session_has_not_refused_a_password() {
    for old in installed("dovecot") {
        if old.version.starts_with(&[1, 0]) {
            continue; // it has no such limit
        }
        let dovecot = start(&old, "protocol imap {\n  mail_max_userip_connections = 1\n}\n");
        let gate = setup(&old, &dovecot).start();
        let mut first = stranger(&gate, "imaps");
        assert!(log_in(&mut first, "quoted").starts_with("a OK"), "{:?}", old.version);
        let mut second = stranger(&gate, "imaps");
        let refused = log_in(&mut second, "quoted");
        assert!(refused.starts_with("a NO"), "{:?}: {refused}", old.version);
        gate.log.wait_for(&["the backend did not judge a login", "backend has no room for another session"]);
    }
}

fn stranger(gate: &Gate, service: &str) -> Wire {
    gate.secure(service, gate.connect_from(CLIENT, service), &Offer::default().config())
}
