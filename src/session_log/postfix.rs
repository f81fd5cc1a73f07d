//! The lines that Postfix and Dovecot write, for the tools and habits that read those.
//!
//! Measured against Postfix 3.7 with `smtpd_tls_loglevel = 1` and Dovecot 2.3 with its default
//! `login_log_format_elements` and `%k`.

use std::fmt::Write as _;

use super::clean::{bare, printable};
use super::render::{Level, Line};
use super::{Record, Stage};
use crate::config::LogProgram;
use crate::facts::{ClientCertificate, Lookup, Outcome, TlsFacts};

/// The order of Postfix's own command table, which its closing line follows.
const COMMANDS: &[&str] = &[
    "helo", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "bdat", "rset", "noop", "vrfy", "etrn", "quit",
    "xclient", "xforward", "unknown",
];

/// Whether there is anything to say at this stage.
pub(super) fn speaks(stage: Stage, record: &Record) -> bool {
    match stage {
        Stage::Connected | Stage::Secured | Stage::LoginFailed => record.protocol != "imap",
        Stage::LoggedIn => record.protocol == "imap",
        Stage::Ended => true,
    }
}

/// Everything there is to say at this stage.
pub(super) fn lines(program: LogProgram, pid: u32, stage: Stage, record: &Record) -> Vec<Line> {
    let mut lines = Lines { program, list: Vec::new() };
    match (record.protocol, stage) {
        ("imap", Stage::LoggedIn) => lines.imap_login(record),
        ("imap", Stage::Ended) => lines.imap_ended(pid, record),
        ("imap", Stage::Connected | Stage::Secured | Stage::LoginFailed) => {}
        (_, Stage::Connected) => lines.smtpd(Level::Info, format!("connect from {}", client(record))),
        (_, Stage::Secured) => lines.smtp_secured(record),
        (_, Stage::LoggedIn) => {}
        (_, Stage::LoginFailed) => lines.smtp_login_failed(record),
        (_, Stage::Ended) => lines.smtp_ended(record),
    }
    lines.list
}

/// The first part of Postfix's tags.
pub(super) fn program(program: LogProgram) -> &'static str {
    match program {
        LogProgram::Sealgate => "sealgate",
        LogProgram::Postfix => "postfix",
    }
}

struct Lines {
    program: LogProgram,
    list: Vec<Line>,
}

impl Lines {
    fn smtpd(&mut self, level: Level, text: String) {
        self.list.push(Line { level, tag: format!("{}/smtpd", program(self.program)), pid: true, text });
    }

    fn warning(&mut self, text: &str) {
        self.smtpd(Level::Warning, format!("warning: {text}"));
    }

    fn dovecot(&mut self, level: Level, text: String) {
        let tag = match self.program {
            LogProgram::Sealgate => "sealgate",
            LogProgram::Postfix => "dovecot",
        };
        self.list.push(Line { level, tag: tag.to_owned(), pid: false, text });
    }

    fn smtp_secured(&mut self, record: &Record) {
        let Some(tls) = record.tls.as_deref() else { return };
        let trust = match tls.client_certificate {
            ClientCertificate::NotRequested | ClientCertificate::NotPresented => "Anonymous",
            ClientCertificate::Presented { verified: true, .. } => "Trusted",
            ClientCertificate::Presented { verified: false, .. } => "Untrusted",
        };
        let sni = tls.sni.as_deref().map(|name| format!(" to {}", bare(name))).unwrap_or_default();
        let mut text = format!(
            "{trust} TLS connection established from {}{sni}: {} key-exchange {}",
            client(record),
            protocol_and_cipher(tls),
            tls.group.postfix()
        );
        if let Some(signature) = tls.signature {
            // Writing to a String cannot fail.
            _ = write!(text, " server-signature {}", signature.algorithm);
            if let Some(digest) = signature.digest {
                _ = write!(text, " server-digest {digest}");
            }
        }
        self.smtpd(Level::Info, text);
    }

    fn smtp_login_failed(&mut self, record: &Record) {
        let method = bare(record.method.as_deref().unwrap_or("?"));
        let user = record.user.as_deref().map(|user| format!(", sasl_username={}", bare(user))).unwrap_or_default();
        let client = client(record);
        self.warning(&format!("{client}: SASL {method} authentication failed: (reason unavailable){user}"));
    }

    fn smtp_ended(&mut self, record: &Record) {
        let client = client(record);
        let failed = record.handshake_failed;
        if failed {
            self.handshake_failed(record, &client);
        }
        let after = record.commands.last().map_or("CONNECT".to_owned(), |command| command.name.to_ascii_uppercase());
        match record.outcome {
            Outcome::Timeout => self.smtpd(Level::Info, format!("timeout after {after} from {client}")),
            Outcome::ClientError | Outcome::Policy if failed || went_away(record) => {
                self.smtpd(Level::Info, format!("lost connection after {after} from {client}"));
            }
            Outcome::ClientError | Outcome::Policy => {
                self.smtpd(Level::Info, format!("{} after {after} from {client}", record.reason));
            }
            Outcome::BackendError => {
                self.warning(&format!("{client}: backend {}: {}", printable(&record.backend), record.reason));
            }
            Outcome::Internal => self.warning(&format!("{client}: {}", record.reason)),
            Outcome::Ok | Outcome::Shutdown => {}
        }
        self.smtpd(Level::Info, format!("disconnect from {client}{}", commands(record, failed)));
    }

    /// Postfix says why in a line of its own, and what was offered is more than it ever says.
    fn handshake_failed(&mut self, record: &Record, client: &str) {
        let known = match record.outcome {
            Outcome::Timeout => Some("Connection timed out"),
            _ if went_away(record) => Some("lost connection"),
            _ => None,
        };
        self.smtpd(Level::Info, format!("SSL_accept error from {client}: {}", known.unwrap_or("-1")));
        match offered(record) {
            Some(offered) => self.warning(&format!("TLS library problem: {}: {offered}", record.reason)),
            None if known.is_none() => self.warning(&format!("TLS library problem: {}", record.reason)),
            None => {}
        }
    }

    fn imap_login(&mut self, record: &Record) {
        let cipher = record.tls.as_deref().map(|tls| format!(", {}", protocol_and_cipher(tls))).unwrap_or_default();
        self.dovecot(Level::Info, format!("imap-login: Login: {}{cipher}", identity(record, "TLS")));
    }

    fn imap_ended(&mut self, pid: u32, record: &Record) {
        if record.authenticated {
            let why = match record.outcome {
                Outcome::Ok => "Logged out",
                Outcome::ClientError => "Connection closed",
                Outcome::Timeout => "Inactivity",
                Outcome::Shutdown => "Shutting down",
                Outcome::Policy | Outcome::BackendError | Outcome::Internal => record.reason,
            };
            let user = bare(record.user.as_deref().unwrap_or_default());
            let (session, received, sent) = (&record.session, record.bytes_in, record.bytes_out);
            let text = format!("imap({user})<{pid}><{session}>: Disconnected: {why} in={received} out={sent}");
            self.dovecot(Level::Info, text);
            return;
        }
        let seconds = record.duration.as_secs();
        let attempts = match record.auth_failures {
            0 => format!("(no auth attempts in {seconds} secs)"),
            failures => format!("(auth failed, {failures} attempts in {seconds} secs)"),
        };
        if record.handshake_failed {
            let why = format!("SSL_accept() failed: {}", record.reason);
            let identity = identity(record, &format!("TLS handshaking: {why}"));
            let text = format!("imap-login: Disconnected: Connection closed: {why} {attempts}: {identity}");
            self.dovecot(Level::Info, text);
            if let Some(offered) = offered(record) {
                let text = format!("imap-login: Warning: session=<{}>: {}: {offered}", record.session, record.reason);
                self.dovecot(Level::Warning, text);
            }
            return;
        }
        let why = match record.outcome {
            Outcome::Ok if record.commands.last().is_some_and(|command| command.name == "logout") => {
                "Aborted login by logging out"
            }
            Outcome::Ok => "Connection closed",
            Outcome::ClientError if went_away(record) => "Connection closed",
            Outcome::Timeout => "Inactivity",
            Outcome::Shutdown => "Shutting down",
            Outcome::ClientError | Outcome::Policy | Outcome::BackendError | Outcome::Internal => record.reason,
        };
        let text = format!("imap-login: Disconnected: {why} {attempts}: {}", identity(record, "TLS"));
        self.dovecot(Level::Info, text);
    }
}

/// `name[address]`, as Postfix calls a client.
fn client(record: &Record) -> String {
    let name = match &record.client_name {
        Lookup::Found(name) => bare(name),
        Lookup::NotTried | Lookup::Absent | Lookup::Failed => "unknown".to_owned(),
    };
    format!("{name}[{}]", record.client.ip())
}

/// Dovecot's `user=<…>, method=…, rip=…, lip=…, TLS, session=<…>`.
fn identity(record: &Record, tls: &str) -> String {
    let mut text = format!("user=<{}>, ", bare(record.user.as_deref().unwrap_or_default()));
    if let Some(method) = &record.method {
        _ = write!(text, "method={}, ", bare(method));
    }
    _ = write!(text, "rip={}, lip={}, ", record.client.ip(), record.local.ip());
    if record.tls.is_some() || record.handshake_failed {
        _ = write!(text, "{tls}, ");
    }
    _ = write!(text, "session=<{}>", record.session);
    text
}

/// `TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)`.
fn protocol_and_cipher(tls: &TlsFacts) -> String {
    let (suite, bits) = (tls.suite.openssl, tls.suite.bits);
    format!("{} with cipher {suite} ({bits}/{bits} bits)", tls.version.as_str())
}

/// Whether the client just went away, which Postfix and Dovecot always say in the same words.
fn went_away(record: &Record) -> bool {
    record.outcome == Outcome::ClientError
        && ["connection lost", "connection cut", "without close_notify", "client closed", "client went away"]
            .iter()
            .any(|words| record.reason.contains(words))
}

fn offered(record: &Record) -> Option<String> {
    let offered = record.offered.as_deref()?;
    let list = |entries: &[String]| printable(&entries.join(",")).into_owned();
    Some(format!(
        "client offered versions={} suites={} groups={} signatures={}",
        list(&offered.versions),
        list(&offered.suites),
        list(&offered.groups),
        list(&offered.signatures)
    ))
}

/// ` ehlo=2 rcpt=1/2 … commands=7/8`, in the order of Postfix's table, what it does not know last.
fn commands(record: &Record, handshake_failed: bool) -> String {
    let place = |name| COMMANDS.iter().position(|command| *command == name).unwrap_or(COMMANDS.len());
    let mut counts = record.commands.clone();
    counts.sort_by_key(|command| place(command.name));
    let (mut text, mut total_ok, mut total) = (String::new(), 0_u32, 0_u32);
    for count in &counts {
        // Postfix counts a STARTTLS whose handshake fails as failed; our 220 went out before that was known.
        let spoilt = handshake_failed && count.name == "starttls" && count.ok == count.all;
        let ok = if spoilt { count.ok.saturating_sub(1) } else { count.ok };
        _ = write!(text, " {}={ok}", count.name);
        if ok != count.all {
            _ = write!(text, "/{}", count.all);
        }
        total_ok = total_ok.saturating_add(ok);
        total = total.saturating_add(count.all);
    }
    _ = write!(text, " commands={total_ok}");
    if total_ok != total || total == 0 {
        _ = write!(text, "/{total}");
    }
    text
}
