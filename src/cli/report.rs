//! `sealgate report`.

use std::fs::File;
use std::io::{self, BufReader, IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use jiff::Zoned;
use sealgate::report::Report;

use super::ReportArgs;

/// How much of a file is read at once.
const CHUNK: usize = 256 * 1024;

/// Runs the command.
pub fn run(args: &ReportArgs) -> anyhow::Result<ExitCode> {
    let mut report = Report::new(Zoned::now());
    let stdin = [Path::new("-").to_owned()];
    let files = if args.files.is_empty() {
        if io::stdin().is_terminal() {
            bail!("no log to read: name files, or pipe a log in, as in `sealgate report /var/log/mail.log`");
        }
        &stdin[..]
    } else {
        &args.files
    };
    for file in files {
        if file.as_os_str() == "-" {
            report.read(BufReader::with_capacity(CHUNK, io::stdin().lock())).context("cannot read standard input")?;
        } else {
            File::open(file)
                .and_then(|log| report.read(BufReader::with_capacity(CHUNK, log)))
                .with_context(|| format!("cannot read the log {}", file.display()))?;
        }
    }
    let summary = report.summary();
    let mut out = anstream::stdout().lock();
    let written = if args.json {
        serde_json::to_writer_pretty(&mut out, &summary).map_err(io::Error::from).and_then(|()| writeln!(out))
    } else {
        write!(out, "{summary}")
    };
    match written {
        // `sealgate report … | head` is no error.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        result => result.context("cannot write the report")?,
    }
    Ok(ExitCode::SUCCESS)
}
