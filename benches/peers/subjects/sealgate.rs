//! Sealgate as it is shipped, its session log on.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::{Door, Program, Setup};
use crate::identity::HOSTNAME;

pub struct Sealgate {
    /// How long clients may keep it waiting.
    pub patience: Duration,
}

impl Program for Sealgate {
    fn doors(&self) -> &'static [Door] {
        &[Door::Imaps, Door::Imap, Door::Submissions, Door::Smtp]
    }

    fn prepare(&self, executable: &Path, setup: &Setup<'_>) -> anyhow::Result<Command> {
        let (chain, key) = (setup.identity.chain.display(), setup.identity.key.display());
        let mut config = format!(
            r#"hostname = "{HOSTNAME}"
drain = "1s"
workers = {workers}

[[tls.certificate]]
chain = "{chain}"
key = "{key}"

[log]
to = "{log}"

[limits]
connections_per_address = 100000

[deadlines]
handshake = "{patience}s"
login = "{patience}s"
command = "{patience}s"
"#,
            patience = self.patience.as_secs(),
            workers = setup.workers,
            log = setup.directory.join("log").display(),
        );
        for door in self.doors() {
            let service = match door {
                Door::Imaps => "imaps",
                Door::Imap => "imap",
                Door::Submissions => "submissions",
                Door::Smtp => "smtp",
            };
            write!(
                config,
                r#"
[[listener]]
service = "{service}"
listen = ["127.0.0.1:{port}"]
backend = "{backend}"
client_identity = "none"
max_connections = 20000
{relay}"#,
                port = setup.port(*door),
                backend = setup.backend(*door),
                relay = if door.imap() { "" } else { "allow_relay_as_proxy = true\n" },
            )?;
        }
        let mut command = Command::new(executable);
        command.args(["run", "-c"]).arg(setup.file("sealgate.toml", &config)?);
        Ok(command)
    }
}
