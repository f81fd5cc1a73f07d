//! A private Postfix, hardened as the old server is said to be, with the loopback services from `config/backends/`.

use std::fmt::Write;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::logs::Log;
use super::ports::{free_port, is_listening};
use super::wait::until;
use super::warden::{self, Server};
use super::{pki, shipped};

/// Files whose services take XCLIENT.
pub const XCLIENT: &str = "postfix-2.3-to-2.9-master.cf";
/// Files whose services take the PROXY protocol.
pub const PROXY: &str = "postfix-2.10-master.cf";

/// A pair of services out of one of the files.
#[derive(Clone, Copy)]
pub struct Ports {
    /// For port 25.
    pub smtp: u16,
    /// For ports 587 and 465.
    pub submission: u16,
}

/// A running Postfix.
pub struct Postfix {
    /// Its log.
    pub log: Log,
    /// What the public had before: hardened, without client identity.
    pub hardened: u16,
    /// XCLIENT.
    pub xclient: Ports,
    /// PROXY protocol.
    pub proxy: Ports,
    /// XCLIENT, with `reject_unknown_client_hostname`.
    pub xclient_name: u16,
    /// XCLIENT, with `reject_unknown_reverse_client_hostname`.
    pub xclient_reverse: u16,
    /// PROXY protocol, with `reject_unknown_client_hostname`.
    pub proxy_name: u16,
    /// PROXY protocol, with `reject_unknown_reverse_client_hostname`.
    pub proxy_reverse: u16,
    /// No identity at all, plaintext taken: relays for whoever comes from loopback.
    pub naked: u16,
    /// XCLIENT; every recipient is put off with a 4xx.
    pub deferring: u16,
    /// XCLIENT, on a Unix-domain socket.
    pub unix: PathBuf,
    /// XCLIENT; the whole world is in `$mynetworks`.
    pub open: u16,
    /// PROXY protocol; nothing is taken without TLS.
    pub encrypting: u16,
    config: PathBuf,
    queue: PathBuf,
    server: Server,
}

impl Postfix {
    /// Starts one that delivers mail for `domain`'s users to Maildirs under `mail`.
    pub fn start(domain: &str, users: &[String], mail: &Path, sasl_socket: &Path) -> Self {
        Self::start_with("", domain, users, mail, sasl_socket)
    }

    /// The same, with more lines in main.cf.
    pub fn start_with(more: &str, domain: &str, users: &[String], mail: &Path, sasl_socket: &Path) -> Self {
        let dir = warden::directory("postfix");
        let [queue, data, config] = ["queue", "data", "config"].map(|name| dir.join(name));
        for path in [&queue, &data, &config] {
            std::fs::create_dir(path).expect("a directory");
        }
        let postfix = account("passwd", "postfix");
        std::os::unix::fs::chown(&data, Some(postfix), None).expect("tests of the real servers run as root");

        let mut map = String::new();
        for user in users {
            writeln!(map, "{user}@{domain} {user}/Maildir/").expect("a string");
        }
        std::fs::write(dir.join("users"), map).expect("a file");
        let main = main_cf(&dir, domain, mail, sasl_socket) + more;
        std::fs::write(config.join("main.cf"), main).expect("a file");

        let mut master = [INTERNAL_SERVICES, LATER_SERVICES].concat();
        let mut pair = |file: &str, more: &str| {
            let ports = Ports { smtp: free_port(), submission: free_port() };
            let text = shipped(file, &[(10025, ports.smtp), (10587, ports.submission)]);
            // The shipped lines begin with the smtp service; what a test wants on top follows its options.
            let place = text.rfind("\n127.0.0.1:").expect("a second service") + 1;
            let (smtp, submission) = text.split_at(place);
            write!(master, "{smtp}{more}{submission}").expect("a string");
            ports
        };
        let option = |what: &str| format!("  -o {what}\n");
        let xclient = pair(XCLIENT, "");
        let proxy = pair(PROXY, "");
        let by_name = option("smtpd_client_restrictions=reject_unknown_client_hostname");
        let by_reverse = option("smtpd_client_restrictions=reject_unknown_reverse_client_hostname");
        let xclient_name = pair(XCLIENT, &by_name).smtp;
        let xclient_reverse = pair(XCLIENT, &by_reverse).smtp;
        let proxy_name = pair(PROXY, &by_name).smtp;
        let proxy_reverse = pair(PROXY, &by_reverse).smtp;
        let deferring = pair(XCLIENT, &option("smtpd_client_restrictions=defer")).smtp;
        let encrypting = pair(PROXY, &option("smtpd_tls_security_level=encrypt")).smtp;
        let open = pair(XCLIENT, &option("mynetworks=0.0.0.0/0")).smtp;
        // The same service, its first column changed.
        let text = shipped(XCLIENT, &[]);
        let (service, _) = text.split_once("\n127.0.0.1:").expect("two services");
        let (name, options) = service.split_once("inet").expect("the service's type");
        assert!(name.starts_with("127.0.0.1:"), "{name}");
        writeln!(master, "xclient unix {options}").expect("a string");
        let (hardened, naked) = (free_port(), free_port());
        writeln!(master, "127.0.0.1:{hardened} inet n - n - - smtpd").expect("a string");
        writeln!(master, "127.0.0.1:{naked} inet n - n - - smtpd\n  -o smtpd_tls_security_level=none")
            .expect("a string");
        std::fs::write(config.join("master.cf"), master).expect("a file");

        // postsuper tidies up before postlogd runs, and has no rights any more when it wants to say so: without a log it gives up.
        let log = std::fs::File::create(dir.join("log")).expect("a file");
        log.set_permissions(Permissions::from_mode(0o666)).expect("rights");

        let server = launch(&config, &queue);
        let mut postfix = Self {
            log: Log::new(&dir.join("log")),
            hardened,
            xclient,
            proxy,
            xclient_name,
            xclient_reverse,
            proxy_name,
            proxy_reverse,
            naked,
            deferring,
            open,
            encrypting,
            unix: queue.join("public/xclient"),
            config,
            queue,
            server,
        };
        postfix.until_it_listens();
        postfix
    }

    /// The master's process id.
    pub fn master(&self) -> u32 {
        self.server.pid().expect("Postfix runs")
    }

    /// Starts it again after all of it was killed. A child that is still about to end holds its service's port, which a new
    /// master would not get.
    pub fn start_again(&mut self) {
        let ports = self.ports();
        until("Postfix is gone", || {
            (self.server.ended().is_some() && !ports.iter().any(|port| is_listening(*port))).then_some(())
        });
        self.server = launch(&self.config, &self.queue);
        self.until_it_listens();
    }

    fn until_it_listens(&mut self) {
        let ports = self.ports();
        until("Postfix listens", || {
            if let Some(status) = self.server.ended() {
                let stderr = Log::new(&self.config.with_file_name("stderr")).text();
                panic!("Postfix ended: {status}\n{stderr}{}", self.log.text());
            }
            ports.iter().all(|port| is_listening(*port)).then_some(())
        });
    }

    /// All that it listens on.
    fn ports(&self) -> Vec<u16> {
        let master = std::fs::read_to_string(self.config.join("master.cf")).expect("a file");
        let services = master.lines().filter_map(|line| line.strip_prefix("127.0.0.1:"));
        services.map(|service| service.split(' ').next().expect("a word").parse().expect("a port")).collect()
    }

    /// How many messages the queue manager has in its hands or will take next. What a killed process left half-written is not
    /// among them: Postfix marks a whole queue file by its execute bit.
    pub fn queued(&self) -> usize {
        let whole =
            |entry: &std::fs::DirEntry| entry.metadata().is_ok_and(|data| data.permissions().mode() & 0o100 != 0);
        let files = |name: &str| std::fs::read_dir(self.queue.join(name)).into_iter().flatten().flatten();
        ["incoming", "active", "deferred"]
            .iter()
            .flat_map(|name| files(name))
            .flat_map(|entry| match entry.file_type() {
                // The deferred queue is spread over directories.
                Ok(kind) if kind.is_dir() => std::fs::read_dir(entry.path()).into_iter().flatten().flatten().collect(),
                _ => vec![entry],
            })
            .filter(whole)
            .count()
    }
}

/// The number of a user (`passwd`) or a group (`group`).
pub fn account(database: &str, name: &str) -> u32 {
    let output = Command::new("getent").args([database, name]).output().expect("getent");
    let line = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = line.split(':').nth(2).and_then(|number| number.parse().ok());
    number.unwrap_or_else(|| panic!("no {name} in {database}"))
}

fn launch(config: &Path, queue: &Path) -> Server {
    let stderr = std::fs::OpenOptions::new().append(true).create(true).open(config.with_file_name("stderr"));
    Server::start(
        "postfix",
        Command::new("postfix")
            .arg("-c")
            .arg(config)
            .arg("start-fg")
            .stdout(Stdio::null())
            .stderr(stderr.expect("a file")),
        Some(&queue.join("pid/master.pid")),
    )
}

/// What a hardened server's main.cf says, and what keeps this instance to itself.
fn main_cf(dir: &Path, domain: &str, mail: &Path, sasl_socket: &Path) -> String {
    let (dir, mail, sasl_socket) = (dir.display(), mail.display(), sasl_socket.display());
    let (hostname, pki) = (pki::HOSTNAME, pki::pki());
    let (chain, key) = (pki.rsa.chain.display(), pki.rsa.key.display());
    format!(
        "compatibility_level = 3.6
myhostname = {hostname}
mydestination =
# The trap: every program on this host may relay, and so may a proxy that does not pass the client on.
mynetworks = 127.0.0.1/32
smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination
# As before there was a defence against smuggling.
smtpd_forbid_bare_newline = no
cleanup_replace_stray_cr_lf = no

# Hardened.
smtpd_tls_security_level = encrypt
smtpd_tls_auth_only = yes
smtpd_tls_cert_file = {chain}
smtpd_tls_key_file = {key}
smtpd_tls_loglevel = 1
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = {sasl_socket}
smtpd_sasl_security_options = noanonymous, noplaintext
smtpd_sasl_tls_security_options = noanonymous

virtual_mailbox_domains = {domain}
virtual_mailbox_maps = texthash:{dir}/users
virtual_mailbox_base = {mail}
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
message_size_limit = 20480000

queue_directory = {dir}/queue
data_directory = {dir}/data
maillog_file = {dir}/log
maillog_file_prefixes = {dir}
# Mail keeps its header as it is, whoever sends it.
local_header_rewrite_clients =
alias_maps =
alias_database =
inet_interfaces = 127.0.0.1
# No mail leaves this machine.
default_transport = discard:
relay_transport = discard:
"
    )
}

/// What every version has.
pub const INTERNAL_SERVICES: &str = "\
cleanup   unix       n - n - 0    cleanup
qmgr      unix       n - n 300 1  qmgr
rewrite   unix       - - n - -    trivial-rewrite
bounce    unix       - - n - 0    bounce
defer     unix       - - n - 0    bounce
trace     unix       - - n - 0    bounce
verify    unix       - - n - 1    verify
proxymap  unix       - - n - -    proxymap
discard   unix       - - n - -    discard
error     unix       - - n - -    error
retry     unix       - - n - -    error
virtual   unix       - n n - -    virtual
anvil     unix       - - n - 1    anvil
";

/// And what only today's has, which speaks TLS and keeps its own log.
const LATER_SERVICES: &str = "\
tlsmgr    unix       - - n 1000? 1 tlsmgr
postlog   unix-dgram n - n - 1    postlogd
";
