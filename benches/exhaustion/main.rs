//! Ten thousand slow clients at once: `cargo bench --bench exhaustion`.
//!
//! What each kind of them costs the gate in memory, whether honest sessions notice, and whether everything is given back when
//! their time is over. Every run has a gate of its own, in front of the minimal backends of the `peers` bench.
//!
//! # Layout
//!
//! ```text
//!  main ──▶ attack ──▶ slow      the clients that take their time
//!             ├──────▶ honest    the sessions that must not notice
//!             └──────▶ subjects, backends, cost, load: as in the `peers` bench
//! ```

mod attack;
mod honest;
mod slow;

#[allow(dead_code)] // the comparison uses the rest, here and below
#[path = "../peers/backends/mod.rs"]
mod backends;
#[allow(dead_code)] // the comparison uses the rest, here and below
#[path = "../peers/cost.rs"]
mod cost;
#[allow(dead_code)]
#[path = "../peers/identity.rs"]
mod identity;
#[allow(dead_code)]
#[path = "../peers/load/mod.rs"]
mod load;
#[allow(dead_code)]
#[path = "../peers/results.rs"]
mod results;
#[allow(dead_code)]
#[path = "../peers/subjects/mod.rs"]
mod subjects;
#[path = "../peers/wire.rs"]
mod wire;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::attack::Attack;
use crate::backends::Backends;
use crate::identity::{Identity, Key};
use crate::slow::Kind;
use crate::subjects::Subject;

/// The gate takes a client only if there is room for its backend's connection, too.
const FILES_OF_A_SESSION: usize = 2;

/// What else is open: honest sessions, and all that is no session.
const FILES_BESIDE: usize = 200;

/// Ten thousand slow clients at once.
#[derive(Debug, Parser)]
struct Arguments {
    /// Slow clients in the run with all kinds, if the limit of open files is enough for so many; a third of them in each run
    /// with one kind
    #[arg(long, default_value_t = 10_000)]
    clients: usize,

    /// Only runs whose name holds one of these: "silent", "hello", "record", "all"
    #[arg(long, value_delimiter = ',')]
    runs: Vec<String>,

    /// The gate's deadlines, in seconds: all clients must be there by then
    #[arg(long, default_value_t = 60)]
    patience: u64,

    /// Worker threads of the gate
    #[arg(long, default_value_t = 2)]
    workers: usize,

    /// Another build of the gate
    #[arg(long, default_value = env!("CARGO_BIN_EXE_sealgate"))]
    gate: PathBuf,

    /// What cargo says to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    // `cargo test --all-targets` starts benches, too, but says nothing to them.
    if std::env::args_os().len() == 1 {
        println!("to be run by: cargo bench --bench exhaustion");
        return Ok(ExitCode::SUCCESS);
    }
    let mut arguments = Arguments::parse();
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let wanted = hard.max(3 * arguments.clients as u64);
    setrlimit(Resource::RLIMIT_NOFILE, wanted, wanted)
        .or_else(|_| setrlimit(Resource::RLIMIT_NOFILE, hard, hard))
        .context("cannot raise the limit of open files")?;
    let most =
        usize::try_from(getrlimit(Resource::RLIMIT_NOFILE)?.0)?.saturating_sub(FILES_BESIDE) / FILES_OF_A_SESSION;
    if arguments.clients > most {
        println!("{most} clients instead of {}: the limit of open files is enough for no more", arguments.clients);
        arguments.clients = most;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let failures = runtime.block_on(run(&arguments))?;
    for failure in &failures {
        println!("failed: {failure}");
    }
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn run(arguments: &Arguments) -> anyhow::Result<Vec<String>> {
    let directory = tempfile::Builder::new().prefix("exhaustion-").tempdir()?;
    let identity = Identity::create(Key::EcdsaP256, directory.path())?;
    let backends = Backends::start().await?;
    let patience = Duration::from_secs(arguments.patience);
    let subject = Subject::sealgate(subjects::SEALGATE, arguments.gate.clone(), patience, &[]);
    let mut runs: Vec<(&str, &[Kind], usize)> = Kind::ALL
        .iter()
        .map(|kind| (kind.name(), std::slice::from_ref(kind), arguments.clients.div_ceil(Kind::ALL.len())))
        .collect();
    runs.push(("all", &Kind::ALL, arguments.clients));

    let mut failures = Vec::new();
    for (name, kinds, clients) in runs {
        if !arguments.runs.is_empty() && !arguments.runs.iter().any(|part| name.contains(part.as_str())) {
            continue;
        }
        let running = subject.start(&identity, &backends, arguments.workers).await?;
        let attack = Attack { running: &running, identity: &identity, kinds, clients, patience };
        let outcome = attack.perform().await.with_context(|| format!("{name}: {}", running.errors()))?;
        println!("{name}: {outcome}");
        failures.extend(outcome.failures().into_iter().map(|failure| format!("{name}: {failure}")));
        running.stop().await?;
    }
    Ok(failures)
}
