//! `sealgate demo`: the gate in front of an embedded mail server, a round trip through it, then whatever you try.

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::Context;
use sealgate::config::{Log, LogFormat, LogProgram, LogTarget};
use sealgate::demo::account::HOSTNAME;
use sealgate::demo::{Demo, render};
use sealgate::session_log::SessionLog;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::DemoArgs;

/// Runs the command.
pub fn run(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    let settings = Log { format: LogFormat::Text, to: LogTarget::Stderr, program: LogProgram::Sealgate };
    let log = SessionLog::open(&settings, HOSTNAME)?;
    log.init_tracing()?;
    log.hold();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    let shown = runtime.block_on(show(args, log.clone()));
    runtime.shutdown_background(); // what did not end in its time is cut off
    log.release();
    log.flush();
    shown
}

async fn show(args: &DemoArgs, log: SessionLog) -> anyhow::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for signals")?;
    let trip = async {
        let demo = Demo::start(args.port_base, log.clone()).await?;
        let report = demo.round_trip().await;
        anyhow::Ok((demo, report))
    };
    let (demo, report) = tokio::select! {
        trip = trip => trip?,
        () = told(&mut terminate, &mut interrupt) => return Ok(ExitCode::FAILURE),
    };
    if report.ok {
        log.forget(); // the table says all of it
    } else {
        log.release();
        log.flush(); // so that the sessions stand above their table
    }
    let mut out = anstream::AutoStream::auto(io::stdout());
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        writeln!(out, "{}", render::round_trip(&report))?;
    }
    if !args.once {
        if !args.json {
            writeln!(out, "{}", render::commands(&demo.addresses()))?;
        }
        told(&mut terminate, &mut interrupt).await;
    }
    demo.shutdown(told(&mut terminate, &mut interrupt)).await;
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn told(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
