//! hitch, which has one backend: 993.

use std::path::Path;
use std::process::Command;

use super::{Door, Program, Setup};
use crate::identity::{CIPHERS_1_2, CIPHERS_1_3, CURVES};

pub struct Hitch;

impl Program for Hitch {
    fn doors(&self) -> &'static [Door] {
        &[Door::Imaps]
    }

    fn prepare(&self, executable: &Path, setup: &Setup<'_>) -> anyhow::Result<Command> {
        let backend = setup.backend(Door::Imaps);
        let config = format!(
            r#"frontend = {{ host = "127.0.0.1" port = "{port}" }}
backend = "[{host}]:{backend_port}"
pem-file = "{pem}"
workers = {workers}
daemon = off
quiet = on
log-level = 0
tls-protos = TLSv1.2 TLSv1.3
ciphers = "{CIPHERS_1_2}"
ciphersuites = "{CIPHERS_1_3}"
ecdh-curve = "{CURVES}"
"#,
            port = setup.port(Door::Imaps),
            host = backend.ip(),
            backend_port = backend.port(),
            pem = setup.identity.combined.display(),
            workers = setup.workers,
        );
        let mut command = Command::new(executable);
        command.arg(format!("--config={}", setup.file("hitch.conf", &config)?.display()));
        // It will not serve as root.
        if nix::unistd::geteuid().is_root() {
            command.args(["--user=nobody", "--group=nogroup"]);
        }
        Ok(command)
    }
}
