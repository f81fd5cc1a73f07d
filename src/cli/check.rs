//! `sealgate check`: the configuration, the certificates and the backends, one verdict a line.

mod backends;
mod certificates;
mod finding;
mod surroundings;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use sealgate::config::{ClientIdentity, Config, Errors, Limits};
use sealgate::process;

use super::CheckArgs;
use finding::{Finding, Findings};

/// Runs the command.
pub fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let mut findings = Vec::new();
    match Config::load(&args.config) {
        Ok(config) => look(&config, args, &mut findings)?,
        Err(errors) if args.json => tell(&errors, &mut findings),
        // With the lines and carets that only people want.
        Err(errors) => return Err(errors.into()),
    }
    let mut out = anstream::AutoStream::auto(io::stdout().lock());
    if args.json {
        serde_json::to_writer_pretty(&mut out, &findings).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        finding::print(&findings, &mut out)?;
    }
    Ok(finding::exit_code(&findings, args.strict))
}

fn look(config: &Config, args: &CheckArgs, all: &mut Vec<Finding>) -> anyhow::Result<()> {
    let count = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    Findings::new("config", name(&args.config), all).ok(format!(
        "{}: {} and {}",
        config.hostname,
        count(config.tls.certificates.len(), "certificate"),
        count(config.listeners.len(), "listener"),
    ));
    for listener in config.listeners.iter().filter(|listener| !listener.service.takes_mail()) {
        if listener.identity == ClientIdentity::ProxyV1 {
            Findings::new("config", listener.service.name, all).warn(
                "client_identity = \"proxy-v1\" has no way to say that the client came by TLS",
                "set \"proxy-v2\": without it Dovecot 2.3 and later lets nobody log in by a plaintext password",
            );
        }
    }
    limits(&config.limits, all);
    surroundings::look(config, all);
    if let Some(Err(error)) = config.user.as_ref().map(process::check_user) {
        Findings::new("config", name(&args.config), all)
            .fail(error.to_string(), "without such an account `sealgate run` does not start as root");
    }
    certificates::look(&config.tls, &config.hostname, SystemTime::now(), all);
    if args.offline { Ok(()) } else { backends::look(config, all) }
}

/// Limits that are allowed and hardly meant.
fn limits(limits: &Limits, all: &mut Vec<Finding>) {
    let mut findings = Findings::new("config", "limits", all);
    if limits.exempt.iter().any(|network| network.prefix_len() == 0) {
        findings.warn("`exempt` covers every address, so nobody is limited", "list the networks that you trust");
    }
    let connections = limits.connections_per_address.get();
    if let Some(sessions) = limits.sessions_per_minute.filter(|sessions| sessions.get() as usize <= connections / 2) {
        findings.warn(
            format!("an office with {connections} connections open could not come back at once: {sessions} sessions a minute"),
            "set sessions_per_minute to connections_per_address or more",
        );
    }
    if limits.failed_logins_per_minute.is_some_and(|logins| logins.get() < 3) {
        findings.warn(
            "a password that one program has wrong locks out everybody behind its address",
            "set failed_logins_per_minute to 10 or more, or to 0 for no limit",
        );
    }
}

fn tell(errors: &Errors, all: &mut Vec<Finding>) {
    for mistake in errors.mistakes() {
        let subject = match errors.place(mistake) {
            Some((line, column)) => format!("{}:{line}:{column}", name(errors.path())),
            None => name(errors.path()),
        };
        Findings::new("config", subject, all).fail(&mistake.what, &mistake.advice);
    }
}

fn name(path: &Path) -> String {
    path.display().to_string()
}
