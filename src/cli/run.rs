//! `sealgate run`: everything is checked before the first socket opens; then serve until told to stop.

use std::process::ExitCode;

use sealgate::process::{self, ProcessError};

use super::RunArgs;

/// Runs the command.
pub fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    process::run(&args.config).map_err(told)
}

/// Runs the worker of a `sealgate run` that was started by root.
pub fn work() -> anyhow::Result<ExitCode> {
    process::work().map_err(told)
}

/// Mistakes in the configuration are shown in their own way.
fn told(error: ProcessError) -> anyhow::Error {
    match error {
        ProcessError::Config(mistakes) => mistakes.into(),
        other => other.into(),
    }
}
