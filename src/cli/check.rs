//! `sealgate check`: the configuration, the certificates and the backends, one verdict a line.

mod backends;
mod certificates;
mod finding;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use sealgate::config::{ClientIdentity, Config, Errors};
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
    if let Some(Err(error)) = config.user.as_ref().map(process::check_user) {
        Findings::new("config", name(&args.config), all)
            .fail(error.to_string(), "without such an account `sealgate run` does not start as root");
    }
    certificates::look(&config.tls, &config.hostname, SystemTime::now(), all);
    if args.offline { Ok(()) } else { backends::look(config, all) }
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
