//! The mail servers' own TLS: what a site has that puts nothing in front.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use nix::unistd::User;

use super::{Door, Program, Setup, Skill};
use crate::identity::{CIPHERS_1_2, CURVES, HOSTNAME};

pub struct Postfix;

pub struct Dovecot;

impl Program for Postfix {
    fn doors(&self) -> &'static [Door] {
        &[Door::Submissions, Door::Smtp]
    }

    fn skills(&self) -> &'static [Skill] {
        &[]
    }

    fn prepare(&self, executable: &Path, setup: &Setup<'_>) -> anyhow::Result<Command> {
        let user = User::from_name("postfix")?.context("there is no user postfix")?;
        let [queue, data, config] = ["queue", "data", "config"].map(|name| setup.directory.join(name));
        for directory in [&queue, &data, &config] {
            fs::create_dir(directory)?;
        }
        chown(&data, Some(user.uid.as_raw()), None).context("Postfix can only be started by root")?;
        let main = format!(
            "compatibility_level = 3.6
myhostname = {HOSTNAME}
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
queue_directory = {queue}
data_directory = {data}
maillog_file = {directory}/log
maillog_file_prefixes = {directory}
alias_maps =
alias_database =
default_transport = discard:
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
smtpd_tls_security_level = may
smtpd_tls_chain_files = {key}, {chain}
tls_eecdh_auto_curves = {curves}
tls_high_cipherlist = {CIPHERS_1_2}
smtpd_tls_mandatory_ciphers = high
smtpd_tls_ciphers = high
",
            curves = CURVES.replace(':', " ").replace("P-256", "prime256v1"),
            queue = queue.display(),
            data = data.display(),
            directory = setup.directory.display(),
            key = setup.identity.key.display(),
            chain = setup.identity.chain.display(),
        );
        fs::write(config.join("main.cf"), main)?;
        let master = format!(
            "127.0.0.1:{smtp} inet n - n - - smtpd
127.0.0.1:{submissions} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
",
            smtp = setup.port(Door::Smtp),
            submissions = setup.port(Door::Submissions),
        );
        fs::write(config.join("master.cf"), master)?;
        let mut command = Command::new(executable);
        command.arg("-c").arg(config).arg("start-fg");
        Ok(command)
    }
}

impl Program for Dovecot {
    fn doors(&self) -> &'static [Door] {
        &[Door::Imaps, Door::Imap]
    }

    fn skills(&self) -> &'static [Skill] {
        &[Skill::Noop]
    }

    fn prepare(&self, executable: &Path, setup: &Setup<'_>) -> anyhow::Result<Command> {
        let mail = setup.directory.join("mail");
        fs::create_dir(&mail)?;
        let user = User::from_name("nobody")?.context("there is no user nobody")?;
        chown(&mail, Some(user.uid.as_raw()), None).context("Dovecot can only be started by root")?;
        // Its own advice for speed: login processes that serve many sessions (LoginProcess, "high-performance mode").
        let config = format!(
            "protocols = imap
listen = 127.0.0.1
base_dir = {directory}/run
state_dir = {directory}/state
log_path = {directory}/log
mail_location = maildir:~/Maildir
ssl = yes
ssl_cert = <{chain}
ssl_key = <{key}
ssl_min_protocol = TLSv1.2
ssl_cipher_list = {CIPHERS_1_2}
ssl_curve_list = {CURVES}
first_valid_uid = 1
mail_max_userip_connections = 0
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={mail}
}}
service imap-login {{
  service_count = 0
  process_min_avail = {workers}
  process_limit = {workers}
  client_limit = 10000
  vsz_limit = 0
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
",
            directory = setup.directory.display(),
            chain = setup.identity.chain.display(),
            key = setup.identity.key.display(),
            uid = user.uid,
            gid = user.gid,
            mail = mail.display(),
            workers = setup.workers,
            imap = setup.port(Door::Imap),
            imaps = setup.port(Door::Imaps),
        );
        let mut command = Command::new(executable);
        command.arg("-F").arg("-c").arg(setup.file("dovecot.conf", &config)?);
        Ok(command)
    }
}
