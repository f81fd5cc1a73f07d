//! `sealgate run`: everything is checked before the first socket opens; then serve until told to stop.

use std::borrow::Cow;
use std::convert::Infallible;
use std::io::{self, IsTerminal as _};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use listenfd::ListenFd;
use sd_notify::NotifyState;
use sealgate::config::{Config, LogTarget};
use sealgate::renewal::{Look, Watch};
use sealgate::server::Gate;
use sealgate::session_log::SessionLog;
use sealgate::tls;
use socket2::Socket;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::RunArgs;

/// How long sessions that are cut off may take to be dropped.
const LAST_RECORDS: Duration = Duration::from_secs(1);

/// Runs the command.
pub fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let config = Config::load(&args.config)?;
    let (certificates, read) = Watch::open(&config.tls.certificates)?;
    let tls = tls::Server::new(&config.tls, read.certificates)?;
    let log = SessionLog::open(&config.log, &config.hostname)?;
    log.init_tracing()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.workers.get())
        .enable_all()
        .build()
        .context("cannot start the worker threads")?;
    let served = runtime.block_on(serve(config, tls, certificates, log.clone()));
    // What did not end in its time is cut off, and leaves its record when it is dropped.
    runtime.shutdown_timeout(LAST_RECORDS);
    log.flush();
    served
}

async fn serve(config: Config, tls: tls::Server, certificates: Watch, log: SessionLog) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::new(certificates.look()).context("cannot listen for signals")?;
    let notice = notice(&config.log.to);
    let mut gate = Gate::start(config, tls.clone(), log.clone(), inherited()).await?;
    for (service, address) in gate.addresses() {
        tracing::info!(service = service.name, %address, "bound");
    }
    if let Some(notice) = notice.filter(|_| io::stderr().is_terminal()) {
        anstream::eprintln!("{notice}");
    }
    tell_systemd(&[NotifyState::Ready]);
    let code = tokio::select! {
        () = signals.stop(&log) => ExitCode::SUCCESS,
        () = gate.broken() => {
            tracing::error!("internal error, please report: a part of the gate has failed (see standard error)");
            ExitCode::FAILURE
        }
        never = renew(certificates, &tls) => match never {},
    };
    tracing::info!("stopping: no new sessions; a second signal ends those that are left at once");
    tell_systemd(&[NotifyState::Stopping]);
    gate.shutdown(signals.stop(&log)).await;
    tracing::info!("stopped");
    Ok(code)
}

/// Serves with new certificates as they come.
async fn renew(mut certificates: Watch, tls: &tls::Server) -> Infallible {
    loop {
        let renewed = certificates.changed().await;
        if let Err(error) = tls.renew(renewed.certificates) {
            tracing::error!("the certificates from before stay in use: {error}");
        }
    }
}

/// What somebody who starts it by hand, with a log elsewhere, would otherwise not see: that it runs.
fn notice(log: &LogTarget) -> Option<String> {
    let place = match log {
        LogTarget::Stderr => return None,
        LogTarget::Journal => Cow::from("the journal"),
        LogTarget::File(path) => path.to_string_lossy(),
    };
    Some(format!("Sealgate runs; which listeners are open is in its log, {place}. Ctrl-C stops it."))
}

/// The sockets that systemd opened for us, if it did.
fn inherited() -> Vec<Socket> {
    let mut passed = ListenFd::from_env();
    (0..passed.len())
        .filter_map(|index| passed.take_tcp_listener(index).ok().flatten())
        .filter(|listener| listener.set_nonblocking(true).is_ok())
        .map(Socket::from)
        .collect()
}

/// A message to the service manager; without one there is nobody to tell.
fn tell_systemd(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!("cannot notify the service manager: {error}");
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    certificates: Look,
}

impl Signals {
    fn new(certificates: Look) -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            certificates,
        })
    }

    /// Waits for SIGTERM or SIGINT; SIGHUP meanwhile opens the log file again (logrotate) and looks for
    /// renewed certificates.
    async fn stop(&mut self, log: &SessionLog) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => {
                    self.certificates.now();
                    if let Err(error) = log.reopen() {
                        tracing::error!("{error}; going on with the old one");
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_is_elsewhere_is_named() {
        assert_eq!(notice(&LogTarget::Stderr), None);
        assert!(notice(&LogTarget::Journal).unwrap().contains("the journal"));
        assert!(notice(&LogTarget::File("/var/log/sealgate.log".into())).unwrap().contains(" /var/log/sealgate.log"));
    }
}
