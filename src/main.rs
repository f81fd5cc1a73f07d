//! The `sealgate` command: parses the command line, calls one command, turns an error into an exit code.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::Cli::call() {
        Ok(code) => code,
        Err(error) => cli::report_error(&error),
    }
}
