//! `sealgate generate`: the man page and shell completions, made from the command line's own definition.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::CommandFactory;

use super::{Cli, GenerateArgs, Generated};

/// Runs the command.
pub fn run(args: &GenerateArgs) -> anyhow::Result<ExitCode> {
    let mut output = Vec::new();
    match &args.what {
        Generated::Man { directory: Some(directory) } => man_pages(directory)?,
        Generated::Man { directory: None } => clap_mangen::Man::new(Cli::command()).render(&mut output)?,
        Generated::Completions { shell } => {
            clap_complete::generate(*shell, &mut Cli::command(), "sealgate", &mut output);
        }
    }
    // Made first, written then: a reader that goes away is an error here, which the generators would panic on.
    io::stdout().write_all(&output)?;
    Ok(ExitCode::SUCCESS)
}

fn man_pages(directory: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("cannot make the directory {}", directory.display()))?;
    clap_mangen::generate_to(Cli::command().disable_help_subcommand(true), directory)
        .with_context(|| format!("cannot write into {}", directory.display()))
}
