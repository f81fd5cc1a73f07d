//! HAProxy in TCP mode, with and without TLS.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use super::{Door, Program, Setup};
use crate::identity::{CIPHERS_1_2, CIPHERS_1_3, CURVES};

pub struct Haproxy {
    /// Without it: what the way itself costs.
    pub tls: bool,
}

impl Program for Haproxy {
    fn doors(&self) -> &'static [Door] {
        &[Door::Imaps, Door::Submissions]
    }

    fn tls(&self) -> bool {
        self.tls
    }

    fn prepare(&self, executable: &Path, setup: &Setup<'_>) -> anyhow::Result<Command> {
        let mut config = format!(
            "global
  nbthread {workers}
  maxconn 9500
defaults
  mode tcp
  timeout connect 10s
  timeout client 1h
  timeout server 1h
",
            workers = setup.workers,
        );
        for door in self.doors() {
            let (name, port, backend) = (door.well_known(), setup.port(*door), setup.backend(*door));
            write!(config, "listen port-{name}\n  bind 127.0.0.1:{port}")?;
            if self.tls {
                let pem = setup.identity.combined.display();
                write!(config, " ssl crt {pem} ciphersuites {CIPHERS_1_3} ciphers {CIPHERS_1_2} curves {CURVES}")?;
            }
            write!(config, "\n  server backend {backend}\n")?;
        }
        let mut command = Command::new(executable);
        command.arg("-db").arg("-f").arg(setup.file("haproxy.cfg", &config)?);
        Ok(command)
    }
}
