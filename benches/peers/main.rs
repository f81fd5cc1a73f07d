//! Sealgate beside every proxy it replaces: `cargo bench --bench peers`.
//!
//! Each subject is started on loopback with equal TLS settings in front of the same minimal backends, and gets the same
//! load, in turn, several rounds. What counts is what it costs the server: processor time of the whole process tree for an
//! operation, and memory for a session.
//!
//! # Layout
//!
//! ```text
//!  main ──▶ plans                what is measured
//!    └────▶ cases ──▶ subjects   who is measured: configured, started, stopped
//!             │  └──▶ load       clients that check what they get
//!             ├─────▶ backends   what the subjects stand in front of
//!             └─────▶ cost       processor time and memory, as the kernel counts them
//! ```

mod backends;
mod cases;
mod cost;
mod floor;
mod identity;
mod load;
mod plans;
mod render;
mod results;
mod subjects;
mod wire;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::backends::Backends;
use crate::cases::{Figure, Scale, Stage};
use crate::identity::{Identity, Key};
use crate::plans::Plan;
use crate::results::{Case, Measure, Results, Role};
use crate::subjects::Subject;

/// Descriptors for 8,000 sessions: a client and a backend each here, and as many in a subject.
const DESCRIPTORS: u64 = 20_000;

/// Sealgate beside every proxy it replaces.
#[derive(Debug, Parser)]
struct Arguments {
    /// Rounds, in each of which all subjects take their turns
    #[arg(long, default_value_t = 5)]
    rounds: usize,

    /// Only cases whose name holds one of these
    #[arg(long, value_delimiter = ',')]
    cases: Vec<String>,

    /// Only subjects whose name holds one of these; "=NAME" is the whole name
    #[arg(long, value_delimiter = ',')]
    subjects: Vec<String>,

    /// Small counts and one round: does it work?
    #[arg(long)]
    quick: bool,

    /// Where the reports go
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/performance"))]
    out: PathBuf,

    /// Worker threads or processes of each subject
    #[arg(long, default_value_t = 2)]
    workers: usize,

    /// A command to put in front of Sealgate, such as "valgrind --tool=callgrind"
    #[arg(long, default_value = "")]
    wrap: String,

    /// What cargo says to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    // `cargo test --all-targets` starts benches, too, but says nothing to them: an hour's work is not a test.
    if std::env::args_os().len() == 1 {
        println!("to be run by: cargo bench --bench peers");
        return Ok(ExitCode::SUCCESS);
    }
    let arguments = Arguments::parse();
    allow_descriptors()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (results, failures) = runtime.block_on(run(&arguments))?;
    println!("{}", render::table(&results));
    // Small counts say that it works, and nothing else.
    if !arguments.quick {
        render::write(&results, &arguments.out)?;
    }
    for failure in &failures {
        eprintln!("failed: {failure}");
    }
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Children inherit what is allowed here.
fn allow_descriptors() -> anyhow::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let more = hard.max(4 * DESCRIPTORS);
    setrlimit(Resource::RLIMIT_NOFILE, more, more)
        .or_else(|_| setrlimit(Resource::RLIMIT_NOFILE, hard, hard))
        .context("cannot raise the limit of open files")
}

async fn run(arguments: &Arguments) -> anyhow::Result<(Results, Vec<String>)> {
    let wrap: Vec<String> = arguments.wrap.split_ascii_whitespace().map(str::to_owned).collect();
    let subjects: Vec<Subject> =
        subjects::all(&wrap).into_iter().filter(|subject| chosen(&arguments.subjects, &subject.name)).collect();
    let plans: Vec<Plan> = plans::all().into_iter().filter(|plan| chosen(&arguments.cases, &plan.id)).collect();
    let directory = tempfile::Builder::new().prefix("peers-").tempdir()?;
    // Workers of some programs read the keys as somebody else.
    subjects::open_to_all(directory.path())?;
    let identities = [Key::EcdsaP256, Key::Rsa2048].map(|key| Identity::create(key, directory.path()));
    let [ecdsa, rsa] = identities;
    let (ecdsa, rsa) = (ecdsa?, rsa?);
    let backends = Backends::start().await?;
    let scale = if arguments.quick { Scale::QUICK } else { Scale::FULL };
    let rounds = if arguments.quick { 1 } else { arguments.rounds };

    let mut results = Results {
        began: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        machine: machine(),
        versions: subjects.iter().map(|subject| (subject.name.clone(), subject.version())).collect(),
        rounds,
        cases: Vec::new(),
    };
    let mut failures = Vec::new();
    for round in 0..rounds {
        for plan in &plans {
            let mut turns: Vec<&Subject> = subjects.iter().filter(|subject| plan.suits(subject)).collect();
            if !turns.is_empty() {
                let first = round % turns.len();
                turns.rotate_left(first);
            }
            for subject in turns {
                let identity = if plan.settings.key == Key::Rsa2048 { &rsa } else { &ecdsa };
                let workers = plan.workers.unwrap_or(arguments.workers);
                match turn(subject, plan, identity, &backends, workers, scale).await {
                    Ok(figures) => figures.into_iter().for_each(|figure| note(&mut results, plan, subject, figure)),
                    Err(error) => {
                        let failure = format!("{}, {}: {error:#}", plan.id, subject.name);
                        eprintln!("{failure}");
                        failures.push(failure);
                    }
                }
            }
        }
    }
    for plan in &plans {
        let Some(work) = plan.cryptography() else { continue };
        if let Some(case) = results.cases.iter_mut().find(|case| case.id == plan.id) {
            case.measures.push(floor::crypto(work, rounds)?);
        }
    }
    sort(&mut results);
    Ok((results, failures))
}

/// One subject, one plan, one round.
async fn turn(
    subject: &Subject,
    plan: &Plan,
    identity: &Identity,
    backends: &Backends,
    workers: usize,
    scale: Scale,
) -> anyhow::Result<Vec<Figure>> {
    let running = subject.start(identity, backends, workers).await?;
    eprint!("{:<24} {:<20} pid {:<8}", plan.id, subject.name, running.pid);
    running.tree.quiet().await?;
    let stage = Stage { subject, running: &running, backends, identity, scale };
    let performed = stage.perform(plan).await.with_context(|| running.errors());
    running.stop().await?;
    let figures = performed?;
    for figure in &figures {
        eprint!(" {:.2}", figure.sample.cost);
    }
    eprintln!();
    Ok(figures)
}

fn chosen(parts: &[String], name: &str) -> bool {
    parts.is_empty()
        || parts.iter().any(|part| match part.strip_prefix('=') {
            Some(whole) => whole == name,
            None => name.contains(part.as_str()),
        })
}

fn note(results: &mut Results, plan: &Plan, subject: &Subject, figure: Figure) {
    let head = figure.head;
    let role = if figure.subject.is_some() { Role::Peer } else { subject.role };
    let name = figure.subject.unwrap_or_else(|| subject.name.clone());
    let index = results.cases.iter().position(|case| case.id == head.id).unwrap_or_else(|| {
        results.cases.push(Case {
            id: head.id,
            title: head.title,
            operation: head.operation.to_owned(),
            settings: plan.settings.title(),
            unit: head.unit,
            target: head.target,
            measures: Vec::new(),
        });
        results.cases.len() - 1
    });
    let Some(case) = results.cases.get_mut(index) else { return };
    match case.measures.iter_mut().find(|measure| measure.subject == name) {
        Some(measure) => measure.samples.push(figure.sample),
        None => case.measures.push(Measure { subject: name, role, samples: vec![figure.sample] }),
    }
}

/// Subjects took their turns in changing order; the report has them in one.
fn sort(results: &mut Results) {
    let order: Vec<String> = results.versions.iter().map(|(name, _)| name.clone()).collect();
    for case in &mut results.cases {
        case.measures.sort_by_key(|measure| {
            let place = order.iter().position(|name| *name == measure.subject);
            (measure.role as u8, place.unwrap_or(order.len()))
        });
    }
}

fn machine() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let processors = read("/proc/cpuinfo");
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let cores = processors.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = read("/proc/sys/kernel/osrelease");
    let congestion = read("/proc/sys/net/ipv4/tcp_congestion_control");
    let model = model.trim_start_matches(['\t', ' ', ':']);
    format!("{model}, {cores} cores, Linux {}, TCP {}", kernel.trim(), congestion.trim())
}
