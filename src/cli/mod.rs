//! The command line: one file a subcommand.
//!
//! Every subcommand is a function `run(&…Args) -> anyhow::Result<ExitCode>`; the ones that need a
//! runtime build their own. Exit codes: 0 fine; 1 something went wrong, a file that the configuration
//! points to included, or `check --strict` has warnings; 2 the command line or the configuration is
//! wrong, or `check` found a failure. The help of a command says what each means there.

mod check;
mod demo;
mod generate;
mod report;
mod run;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use owo_colors::OwoColorize;

/// Where the configuration is looked for.
const DEFAULT_CONFIG: &str = "/etc/sealgate/sealgate.toml";

/// Forward-secret TLS in front of the Postfix and Dovecot that cannot be upgraded.
#[derive(Debug, Parser)]
#[command(name = "sealgate", version, propagate_version = true, arg_required_else_help = true, max_term_width = 100)]
#[command(after_help = "\
First steps:
  sealgate demo                          see all five services at work, without any setup
  sealgate check --config sealgate.toml  test a configuration and the backends behind it
  sealgate run                           serve, as configured in /etc/sealgate/sealgate.toml")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(RunArgs),
    Check(CheckArgs),
    Demo(DemoArgs),
    Report(ReportArgs),
    Generate(GenerateArgs),
}

/// Serve: open the configured listeners and pass mail sessions on to the backends
#[derive(Debug, Args)]
#[command(after_help = "\
SIGTERM, SIGINT and SIGQUIT stop accepting, let sessions finish for `drain`, then say goodbye
to the rest. SIGHUP and SIGUSR1 open the log file again, for logrotate, and look for renewed
certificates, which are otherwise found within a minute or two. SEALGATE_LOG=sealgate=debug
in the environment adds the details of failed handshakes.
An SMTP listener opens only after its backend refused to relay for a stranger.
Started as root with `user` in the configuration, it serves as that user, by a process of
its own that is given ports and keys.

Exit code: 0 stopped by a signal; 1 the gate cannot start, a file that it needs is wrong, or a
part of it failed; 2 the configuration cannot be read, or it or the command line has mistakes.

Examples:
  sealgate run
  sealgate run --config /etc/sealgate/test.toml")]
pub struct RunArgs {
    /// The configuration
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub config: PathBuf,
}

/// Test a configuration, its certificates and the backends behind it; one verdict a line
#[derive(Debug, Args)]
#[command(after_help = "\
Exit code: 0 fine, or warnings without --strict; 1 warnings with --strict; 2 failures.

Examples:
  sealgate check
  sealgate check --offline --config new.toml   configuration and certificates only
  sealgate check --json | jq '.[] | select(.verdict != \"ok\")'")]
pub struct CheckArgs {
    /// The configuration
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub config: PathBuf,
    /// Let warnings fail the check, too
    #[arg(long)]
    pub strict: bool,
    /// Print a JSON array of {area, subject, verdict, message, advice}
    #[arg(long)]
    pub json: bool,
    /// Do not connect to the backends
    #[arg(long)]
    pub offline: bool,
}

/// See all five services at work on loopback, without any setup
#[derive(Debug, Args)]
#[command(after_help = "\
Starts the gate in front of an embedded mail server, sends a mail through every SMTP listener, reads
them back through both IMAP listeners, shows what each TLS session agreed on, then stays up until
Ctrl-C. User `demo`, password `demo`.

Ports: smtp 2525, submission 2587, submissions 2465, imap 2143, imaps 2993.

Exit code, also without --once: 0 every mail came through; 1 one did not, the demo cannot start, or
it was stopped before that was known; 2 mistakes in the command line.

Examples:
  sealgate demo
  sealgate demo --once --json")]
pub struct DemoArgs {
    /// End after the round trip
    #[arg(long)]
    pub once: bool,
    /// Print one JSON document instead of the tables
    #[arg(long)]
    pub json: bool,
    /// Move the ports: smtp is N + 525, every other service N + its well-known port
    // 993 is the highest offset.
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u16).range(1..=64_542))]
    pub port_base: u16,
}

/// Count TLS versions, ciphers, groups and failures in mail logs
#[derive(Debug, Args)]
#[command(after_help = "\
Reads Sealgate's text, json and postfix formats and the logs of Postfix and Dovecot, mixed as they
come. Run it on the old server's log to see who would be locked out, before moving.

Exit code: 0 the report is written, whatever it says; 1 a log is missing, unreadable or compressed,
or the report cannot be written; 2 mistakes in the command line.

Examples:
  sealgate report /var/log/mail.log
  zcat /var/log/mail.log.*.gz | sealgate report -
  journalctl -u sealgate -o cat | sealgate report --json")]
pub struct ReportArgs {
    /// Log files; `-` or none is standard input
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Print one JSON document instead of the tables
    #[arg(long)]
    pub json: bool,
}

/// Print the man page or shell completions
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct GenerateArgs {
    #[command(subcommand)]
    what: Generated,
}

#[derive(Debug, Subcommand)]
enum Generated {
    /// The man page, sealgate(1), on standard output
    #[command(after_help = "\
Examples:
  sealgate generate man | man -l -
  sealgate generate man --directory /usr/local/share/man/man1")]
    Man {
        /// Write one page for each command into this directory instead
        #[arg(long, value_name = "DIR")]
        directory: Option<PathBuf>,
    },
    /// Completions for a shell, on standard output
    #[command(after_help = "\
Examples:
  sealgate generate completions bash > /etc/bash_completion.d/sealgate
  sealgate generate completions zsh > /usr/local/share/zsh/site-functions/_sealgate")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

impl Cli {
    /// Calls the command on the process' command line; the worker's is no command of its own, and stands in no help.
    pub fn call() -> anyhow::Result<ExitCode> {
        if std::env::args_os().skip(1).eq([sealgate::process::WORKER]) {
            return run::work();
        }
        Self::parse().run()
    }

    /// Calls the command that was asked for.
    fn run(&self) -> anyhow::Result<ExitCode> {
        match &self.command {
            Command::Run(args) => run::run(args),
            Command::Check(args) => check::run(args),
            Command::Demo(args) => demo::run(args),
            Command::Report(args) => report::run(args),
            Command::Generate(args) => generate::run(args),
        }
    }
}

/// Says what went wrong on standard error and picks the exit code.
pub fn report_error(error: &anyhow::Error) -> ExitCode {
    // `sealgate report | head` is no failure: whoever read has seen enough.
    if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
        return ExitCode::SUCCESS;
    }
    if let Some(mistakes) = error.downcast_ref::<sealgate::config::Errors>() {
        anstream::eprintln!("{}", mistakes.styled());
        return ExitCode::from(2);
    }
    anstream::eprintln!("{} {}", "error:".red().bold(), told(error));
    ExitCode::FAILURE
}

/// An error with its causes, each once: some of ours tell of their cause themselves.
fn told(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |told, cause| match told.as_str() {
        "" => cause,
        said if said.contains(&cause) => told,
        said => format!("{said}: {cause}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("mail.key {0}; renew it")]
    struct Telling(#[source] std::num::ParseIntError);

    #[test]
    fn the_help_of_what_people_run_in_scripts_tells_its_exit_codes() {
        let command = <Cli as clap::CommandFactory>::command();
        for name in ["run", "check", "demo", "report"] {
            let help = command.find_subcommand(name).unwrap().get_after_help().unwrap().to_string();
            let codes = help.split_once("Exit code").unwrap_or_else(|| panic!("{name}: {help}")).1;
            for code in [": 0 ", "; 1 ", "; 2 "] {
                assert!(codes.contains(code), "{name}: {code:?} in {codes}");
            }
        }
    }

    #[test]
    fn an_error_tells_every_cause_once() {
        let cause = || "x".parse::<u8>().unwrap_err();
        let error = anyhow::Error::from(Telling(cause()));
        assert_eq!(told(&error), "mail.key invalid digit found in string; renew it");
        let error = anyhow::Error::from(cause()).context("cannot count");
        assert_eq!(told(&error), "cannot count: invalid digit found in string");
    }
}
