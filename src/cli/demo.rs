//! `sealgate demo`.

use std::process::ExitCode;

use super::DemoArgs;

/// Runs the command.
pub fn run(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("`sealgate demo` is not there yet ({args:?})")
}
