//! Postfix 2.3 to 3.4.

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::clients::{Envelope, Sender};
use crate::support::gate::{Gate, Setup};
use crate::support::ports::{free_port, is_listening};
use crate::support::postfix::{INTERNAL_SERVICES, PROXY, Ports, XCLIENT, account};
use crate::support::stack::{DOMAIN, User, stack};
use crate::support::wait::until;
use crate::support::warden::{self, Server};
use crate::support::wire::{Offer, Wire};
use crate::support::{base64, mail, pki, shipped};
use crate::{CLIENT, Old, check, installed};

/// The file of `config/backends/` for that version, and the identity that it names.
fn shipped_for(version: &[u32]) -> (&'static str, &'static str) {
    match version {
        [2, ..=9, ..] => (XCLIENT, "xclient"),
        [2, ..] | [3, ..=4, ..] => (PROXY, "proxy-v1"),
        _ => (PROXY, "proxy-v2"),
    }
}

/// The directories of a queue, which `postfix start` would make; to the user postfix, and two of them to its other group.
fn queue(directory: &Path, user: u32, group: u32) -> PathBuf {
    let queue = directory.join("queue");
    for (name, mode) in [
        ("active", 0o700),
        ("bounce", 0o700),
        ("corrupt", 0o700),
        ("defer", 0o700),
        ("deferred", 0o700),
        ("hold", 0o700),
        ("incoming", 0o700),
        ("private", 0o700),
        ("trace", 0o700),
        ("maildrop", 0o730),
        ("public", 0o710),
        ("pid", 0o755),
    ] {
        let path = queue.join(name);
        std::fs::create_dir_all(&path).expect("a directory");
        if name != "pid" {
            chown(&path, Some(user), Some(group)).expect("tests of the real servers run as root");
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("permissions");
    }
    queue
}

/// Starts one that delivers to the stack's users, as the administrator had it: hardened, and a relay for its own host; with more settings
/// behind all others.
fn start(old: &Old, settings: &str) -> (Server, Ports) {
    let (stack, _shown) = stack();
    let dir = warden::directory("old-postfix");
    let (user, group) = (account("passwd", "postfix"), account("group", "postdrop"));
    let (queue, data, config) = (queue(&dir, user, group), dir.join("data"), dir.join("config"));
    for path in [&data, &config] {
        std::fs::create_dir(path).expect("a directory");
    }
    chown(&data, Some(user), None).expect("root");
    let users: String = stack.users.iter().map(|user| format!("/^{user}@{DOMAIN}$/ {user}/Maildir/\n")).collect();
    std::fs::write(dir.join("users"), users).expect("a file");
    let main = format!(
        "myhostname = {hostname}
mydestination =
mynetworks = 127.0.0.1/32
smtpd_recipient_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = {sasl}
smtpd_sasl_security_options = noanonymous, noplaintext
virtual_mailbox_domains = {DOMAIN}
virtual_mailbox_maps = regexp:{dir}/users
virtual_mailbox_base = {mail}
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
daemon_directory = {installed}/libexec
command_directory = {installed}/bin
queue_directory = {queue}
data_directory = {data}
local_header_rewrite_clients =
alias_maps =
inet_interfaces = 127.0.0.1
default_transport = discard:
relay_transport = discard:
",
        hostname = pki::HOSTNAME,
        sasl = stack.dovecot.sasl_socket.display(),
        dir = dir.display(),
        mail = stack.mail.display(),
        installed = old.directory.display(),
        queue = queue.display(),
        data = data.display(),
    );
    std::fs::write(config.join("main.cf"), main + settings).expect("a file");
    let ports = Ports { smtp: free_port(), submission: free_port() };
    let (file, _) = shipped_for(&old.version);
    let services = shipped(file, &[(10025, ports.smtp), (10587, ports.submission)]);
    std::fs::write(config.join("master.cf"), INTERNAL_SERVICES.to_owned() + &services).expect("a file");

    let stderr = std::fs::File::create(dir.join("stderr")).expect("a file");
    let mut command = Command::new("setsid"); // these masters want a session of their own
    command.arg("--wait").arg(old.directory.join("libexec/master"));
    command.arg("-c").arg(&config).env("MAIL_CONFIG", &config).stdout(Stdio::null()).stderr(stderr);
    let mut server = Server::start("old-postfix", &mut command, Some(&queue.join("pid/master.pid")));
    until("the old Postfix listens", || {
        if let Some(status) = server.ended() {
            panic!("{}: {status}; the system's log may say why", old.directory.display());
        }
        (is_listening(ports.smtp) && is_listening(ports.submission)).then_some(())
    });
    (server, ports)
}

fn setup(old: &Old, ports: Ports) -> Setup {
    let (_, identity) = shipped_for(&old.version);
    Setup::new().listener("smtp", ports.smtp, identity).listener("submission", ports.submission, identity).listener(
        "submissions",
        ports.submission,
        identity,
    )
}

/// A session on port 25, from an address that Postfix would not relay for.
fn stranger(gate: &Gate) -> Wire {
    gate.secure("smtp", gate.connect_from(CLIENT, "smtp"), &Offer::default().config())
}

/// Says it all up to the content.
fn begin(wire: &mut Wire, user: &User) {
    assert_eq!(wire.say("MAIL FROM:<sender@example.org>").code, 250);
    assert_eq!(wire.say(&format!("RCPT TO:<{}>", user.address)).code, 250);
    assert_eq!(wire.say("DATA").code, 354);
}

#[test]
#[ignore = "wants old servers that were built by hand"]
fn mail_goes_through_to_every_postfix_and_it_knows_the_client() {
    for old in installed("postfix") {
        let (_server, ports) = start(&old, "");
        check(setup(&old, ports));
        let gate = setup(&old, ports).start();
        let (stack, _shown) = stack();
        let version = &old.version;

        for service in ["smtp", "submission", "submissions"] {
            for (name, content) in mail::difficult() {
                let user = stack.user();
                let login = (service != "smtp").then_some(user.name.as_str());
                let envelope = Envelope { from: &user.address, to: &user.address, login };
                Sender::Smtplib.send(gate.target(service), envelope, &content).success();
                let came = mail::without_trace(&user.mail());
                let mut sent = mail::with_lf(&content);
                if !sent.ends_with(b"\n") {
                    sent.push(b'\n'); // the sender ends the line
                }
                let [came, sent] = [came, sent].map(|mail| String::from_utf8_lossy(&mail).into_owned());
                assert_eq!(came, sent, "{version:?}, {service}, {name}");
            }
        }

        let user = stack.user();
        let mut wire = stranger(&gate);
        assert_eq!(wire.say("MAIL FROM:<sender@example.org>").code, 250);
        let refused = wire.say("RCPT TO:<somebody@example.com>");
        assert!(refused.lines[0].contains("Relay access denied"), "{version:?}: {refused:?}");
        assert_eq!(wire.say("RSET").code, 250);
        begin(&mut wire, &user);
        assert_eq!(wire.say("Subject: Hello\r\n\r\n.").code, 250);
        let received = mail::received(&user.mail());
        let told = format!("from client.example.org (unknown [{CLIENT}])");
        assert!(received[0].contains(&told), "{version:?}: {received:?}");
    }
}

#[test]
#[ignore = "wants old servers that were built by hand"]
fn a_password_that_is_refused_softly_is_refused() {
    for old in installed("postfix") {
        let (_server, ports) = start(&old, "soft_bounce = yes\n");
        let gate = setup(&old, ports).start();
        let (stack, _shown) = stack();
        let user = stack.user();
        let socket = gate.connect_from(CLIENT, "submissions");
        let mut wire = gate.secure("submissions", socket, &Offer::default().config());
        let wrong = base64(format!("\0{}\0wrong", user.name));
        let refused = wire.say(&format!("AUTH PLAIN {wrong}"));
        assert_eq!(refused.code, 435, "{:?}: {refused:?}", old.version);
        assert_eq!(wire.say("QUIT").code, 221, "{:?}", old.version);
        gate.log.wait_for(&["event=ended", "auth=failed", "auth_failures=1"]);
    }
}

#[test]
#[ignore = "wants old servers that were built by hand"]
fn rules_that_answer_at_once_keep_no_listener_closed() {
    for old in installed("postfix") {
        let rules = "smtpd_delay_reject = no\nsmtpd_client_restrictions = permit_mynetworks, reject_unknown_client\n";
        let (_server, ports) = start(&old, rules);
        let gate = setup(&old, ports).start();
        let mut wire = gate.secure("smtp", gate.connect("smtp"), &Offer::default().config());
        assert_eq!(wire.say("MAIL FROM:<sender@example.org>").code, 250, "{:?}: one of mynetworks", old.version);
        let (stack, _shown) = stack();
        let user = stack.user();
        let mail = Envelope { from: &user.address, to: &user.address, login: Some(user.name.as_str()) };
        Sender::Smtplib.send(gate.target("submission"), mail, b"Subject: Hello\r\n\r\nthere\r\n").success();
        assert!(!user.mail().is_empty(), "{:?}", old.version);
    }
}

/// Everything up to four of these octets that has a dot.
fn look_alikes() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    let mut longest = vec![Vec::new()];
    for _ in 0..4 {
        longest = longest.iter().flat_map(|start| b"\r\n\0.".map(|octet| [&start[..], &[octet]].concat())).collect();
        all.extend(longest.iter().filter(|octets| octets.contains(&b'.')).cloned());
    }
    all
}

#[test]
#[ignore = "wants old servers that were built by hand"]
fn nothing_is_smuggled_into_any_postfix() {
    for old in installed("postfix") {
        let (_server, ports) = start(&old, "");
        let gate = setup(&old, ports).start();
        let (stack, _shown) = stack();
        let user = stack.user();
        let mut wire = stranger(&gate);
        let mut accepted = 0;
        for end in look_alikes() {
            let second = format!(
                "MAIL FROM:<smuggler@example.org>\r\nRCPT TO:<{}>\r\nDATA\r\nSubject: smuggled\r\n\r\n",
                user.address
            );
            begin(&mut wire, &user);
            wire.send([b"Subject: first\r\n\r\nx", &end[..], second.as_bytes(), b".\r\n"].concat());
            let reply = wire.reply();
            assert_eq!(reply.code, 250, "{:?}, {end:?}: {reply:?}", old.version);
            accepted += 1;
        }
        let mails = user.mails(accepted);
        let smuggled = mails.iter().filter(|mail| mail.starts_with(b"Return-Path: <smuggler")).count();
        assert_eq!(smuggled, 0, "{:?}", old.version);
    }
}
