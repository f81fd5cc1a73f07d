//! The `sealgate` command: parses the command line, calls one command, turns an error into an exit code.

mod cli;

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

/// Gives what a peak has used back to the system, which the system's own allocator does not: docs/architecture.md has the
/// figures.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    match cli::Cli::call() {
        Ok(code) => code,
        Err(error) => cli::report_error(&error),
    }
}
