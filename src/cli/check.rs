//! `sealgate check`.

use std::process::ExitCode;

use super::CheckArgs;

/// Runs the command.
pub fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("`sealgate check` is not there yet ({args:?})")
}
