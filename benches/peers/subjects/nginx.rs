//! nginx: its stream module, which passes bytes on, and its mail module, which speaks the protocols up to the login.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use super::{Door, Program, Setup};
use crate::identity::{CIPHERS_1_2, CIPHERS_1_3, CURVES, HOSTNAME};

pub struct Stream;

pub struct Mail;

impl Program for Stream {
    fn doors(&self) -> &'static [Door] {
        &[Door::Imaps, Door::Submissions]
    }

    fn prepare(&self, executable: &Path, setup: &Setup<'_>) -> anyhow::Result<Command> {
        let mut servers = String::from("access_log off;\nproxy_timeout 1h;\n");
        for door in self.doors() {
            let (port, backend) = (setup.port(*door), setup.backend(*door));
            writeln!(servers, "server {{ listen 127.0.0.1:{port} ssl; proxy_pass {backend}; }}")?;
        }
        command(executable, setup, "stream", &servers)
    }
}

impl Program for Mail {
    fn doors(&self) -> &'static [Door] {
        &[Door::Imaps, Door::Imap, Door::Submissions, Door::Smtp]
    }

    fn prepare(&self, executable: &Path, setup: &Setup<'_>) -> anyhow::Result<Command> {
        let mut servers = format!(
            "server_name {HOSTNAME};
auth_http {auth}/;
timeout 1h;
proxy_timeout 1h;
smtp_auth none;
smtp_greeting_delay 0;
xclient off;
",
            auth = setup.backends.auth
        );
        for door in self.doors() {
            let protocol = if door.imap() { "imap" } else { "smtp" };
            let (ssl, starttls) = if door.implicit() { (" ssl", "off") } else { ("", "on") };
            let port = setup.port(*door);
            writeln!(servers, "server {{ listen 127.0.0.1:{port}{ssl}; protocol {protocol}; starttls {starttls}; }}")?;
        }
        command(executable, setup, "mail", &servers)
    }
}

fn command(executable: &Path, setup: &Setup<'_>, module: &str, servers: &str) -> anyhow::Result<Command> {
    let config = format!(
        "load_module /usr/lib/nginx/modules/ngx_{module}_module.so;
daemon off;
user root;
worker_processes {workers};
worker_rlimit_nofile 20000;
pid {directory}/pid;
error_log {directory}/error.log crit;
events {{ worker_connections 20000; }}
{module} {{
ssl_certificate {chain};
ssl_certificate_key {key};
ssl_protocols TLSv1.2 TLSv1.3;
ssl_ciphers {CIPHERS_1_2};
ssl_conf_command Ciphersuites {CIPHERS_1_3};
ssl_ecdh_curve {CURVES};
{servers}}}
",
        workers = setup.workers,
        directory = setup.directory.display(),
        chain = setup.identity.chain.display(),
        key = setup.identity.key.display(),
    );
    let mut command = Command::new(executable);
    command.arg("-e").arg(setup.directory.join("error.log")).arg("-c").arg(setup.file("nginx.conf", &config)?);
    Ok(command)
}
