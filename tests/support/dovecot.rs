//! A private Dovecot, hardened as the old server is said to be, with a loopback service from `config/backends/`.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::logs::Log;
use super::ports::{free_port, is_listening};
use super::wait::until;
use super::warden::{self, Server};
use super::{pki, shipped};

/// With `haproxy = yes`.
pub const PROXY: &str = "dovecot-2.3.conf";
/// With `login_trusted_networks`.
pub const IMAP_ID: &str = "dovecot-2.0-2.2.conf";

/// A running Dovecot.
pub struct Dovecot {
    /// Its log.
    pub log: Log,
    /// What the public had before: TLS demanded.
    pub hardened: u16,
    /// The service out of the shipped file.
    pub gated: u16,
    /// Where Postfix asks for AUTH.
    pub sasl_socket: PathBuf,
    server: Server,
}

impl Dovecot {
    /// Starts one over the Maildirs under `mail`, with the service that the `file` in `config/backends/` describes.
    pub fn start(file: &str, users: &[String], password: &str, mail: &Path) -> Self {
        Self::start_with("", file, users, password, mail)
    }

    /// The same, with more settings.
    pub fn start_with(more: &str, file: &str, users: &[String], password: &str, mail: &Path) -> Self {
        let dir = warden::directory("dovecot");
        let (hardened, gated) = (free_port(), free_port());
        let mut passwords = String::new();
        for user in users {
            writeln!(passwords, "{user}:{{PLAIN}}{password}").expect("a string");
        }
        std::fs::write(dir.join("users"), passwords).expect("a file");
        std::fs::write(dir.join("gated.conf"), shipped(file, &[(10143, gated)])).expect("a file");
        let config = dir.join("dovecot.conf");
        std::fs::write(&config, dovecot_conf(&dir, mail, hardened, more)).expect("a file");

        let mut server = Server::start(
            "dovecot",
            Command::new("dovecot")
                .args(["-F", "-c"])
                .arg(&config)
                .stdout(Stdio::null())
                .stderr(std::fs::File::create(dir.join("stderr")).expect("a file")),
            None,
        );
        let log = Log::new(&dir.join("log"));
        let sasl_socket = dir.join("sasl");
        until("Dovecot listens", || {
            if let Some(status) = server.ended() {
                panic!("Dovecot ended: {status}\n{}{}", Log::new(&dir.join("stderr")).text(), log.text());
            }
            (is_listening(gated) && is_listening(hardened) && sasl_socket.exists()).then_some(())
        });
        Self { log, hardened, gated, sasl_socket, server }
    }

    /// The master's process id.
    pub fn master(&self) -> u32 {
        self.server.pid().expect("Dovecot runs")
    }
}

fn dovecot_conf(dir: &Path, mail: &Path, hardened: u16, more: &str) -> String {
    let (dir, mail, pki) = (dir.display(), mail.display(), pki::pki());
    let (chain, key) = (pki.rsa.chain.display(), pki.rsa.key.display());
    format!(
        "protocols = imap
listen = 127.0.0.1
base_dir = {dir}/run
state_dir = {dir}/state
log_path = {dir}/log
mail_location = maildir:~/Maildir

# Hardened.
ssl = required
disable_plaintext_auth = yes
ssl_cert = <{chain}
ssl_key = <{key}

auth_mechanisms = plain login scram-sha-256
# Nobody has time for the delays that a failed login costs here.
auth_failure_delay = 0
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
# For COMPRESS and for an IDLE that outlives every deadline.
imap_idle_notify_interval = 1s
protocol imap {{
  mail_plugins = imap_zlib
}}
passdb {{
  driver = passwd-file
  args = {dir}/users
}}
userdb {{
  driver = static
  args = uid=65534 gid=65534 home={mail}/%n
}}
service imap-login {{
  inet_listener imap {{
    port = {hardened}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service auth {{
  unix_listener {dir}/sasl {{
    mode = 0666
  }}
}}
{more}
!include {dir}/gated.conf
"
    )
}
