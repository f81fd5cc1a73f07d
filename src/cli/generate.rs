//! `sealgate generate`: the man page and shell completions, made from the command line's own definition.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Command, CommandFactory};
use clap_mangen::Man;

use super::{Cli, GenerateArgs, Generated};

/// Runs the command.
pub fn run(args: &GenerateArgs) -> anyhow::Result<ExitCode> {
    let mut output = Vec::new();
    match &args.what {
        Generated::Man { directory: Some(directory) } => man_pages(directory)?,
        Generated::Man { directory: None } => output = page(&man(command()))?,
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
    let mut commands = vec![command()];
    while let Some(command) = commands.pop() {
        commands.extend(command.get_subcommands().cloned());
        let man = man(command);
        let file = directory.join(man.get_filename());
        fs::write(&file, page(&man)?).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// The command line without the command `help`, which has no page.
fn command() -> Command {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    command
}

fn man(command: Command) -> Man {
    Man::new(command).source(concat!("sealgate ", env!("CARGO_PKG_VERSION")))
}

/// A page in roff, its notes and examples with their lines as they are: filled, commands would run into each other.
fn page(man: &Man) -> anyhow::Result<Vec<u8>> {
    let mut page = Vec::new();
    man.render(&mut page)?;
    Ok(String::from_utf8(page)?.replacen("\n.SH EXTRA\n", "\n.SH NOTES\n.nf\n", 1).into_bytes())
}
