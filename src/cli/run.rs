//! `sealgate run`.

use std::process::ExitCode;

use super::RunArgs;

/// Runs the command.
pub fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("`sealgate run` is not there yet ({args:?})")
}
