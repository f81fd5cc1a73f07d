//! stunnel: a thread a connection, however many workers others have.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use super::{Door, Program, Setup};
use crate::identity::{CIPHERS_1_2, CIPHERS_1_3, CURVES};

pub struct Stunnel;

impl Program for Stunnel {
    fn doors(&self) -> &'static [Door] {
        &[Door::Imaps, Door::Imap, Door::Submissions, Door::Smtp]
    }

    fn prepare(&self, executable: &Path, setup: &Setup<'_>) -> anyhow::Result<Command> {
        let mut config = format!(
            "foreground = yes
pid =
debug = 0
syslog = no
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
sslVersionMin = TLSv1.2
ciphers = {CIPHERS_1_2}
ciphersuites = {CIPHERS_1_3}
curves = {CURVES}
cert = {chain}
key = {key}
",
            chain = setup.identity.chain.display(),
            key = setup.identity.key.display(),
        );
        for door in self.doors() {
            let (name, port, backend) = (door.well_known(), setup.port(*door), setup.backend(*door));
            write!(config, "[port-{name}]\naccept = 127.0.0.1:{port}\nconnect = {backend}\n")?;
            if !door.implicit() {
                writeln!(config, "protocol = {}", if door.imap() { "imap" } else { "smtp" })?;
            }
        }
        let mut command = Command::new(executable);
        command.arg(setup.file("stunnel.conf", &config)?);
        Ok(command)
    }
}
