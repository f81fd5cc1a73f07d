//! `sealgate report`.

use std::process::ExitCode;

use super::ReportArgs;

/// Runs the command.
pub fn run(args: &ReportArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("`sealgate report` is not there yet ({args:?})")
}
