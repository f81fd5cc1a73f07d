//! The process that speaks to the network, from its sandbox to its last record.

use std::fs::File;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use socket2::Socket;

use super::ProcessError;
use super::sandbox::{self, Needs};
use crate::config::Config;
use crate::descriptors;
use crate::server::Gate;
use crate::session_log::{Output, SessionLog};
use crate::tls::{self, Certificate};

/// How long sessions that are cut off may take to be dropped.
const LAST_RECORDS: Duration = Duration::from_secs(1);

/// Everything that took rights to get.
pub(super) struct Prepared {
    pub config: Config,
    pub tls: tls::Server,
    pub output: Output,
    /// As [`crate::server::bind_all`] gives them.
    pub sockets: Vec<Socket>,
}

/// What a running gate is told.
#[derive(Debug)]
pub(super) enum Order {
    /// No new sessions; the second time: end those that are left.
    Stop,
    /// The log goes on in this file.
    Log(File),
    /// All certificates anew, in the order of the configuration.
    Certificates(Vec<Certificate>),
}

/// Who gives the orders.
pub(super) trait Master {
    /// Called once, in the runtime, before anything else.
    fn begin(&mut self) -> io::Result<()>;

    /// Waits for the next order. May be dropped at any time.
    async fn order(&mut self) -> Order;

    /// The gate has started.
    fn ready(&mut self);

    /// Its end has begun.
    fn stopping(&mut self);
}

/// Enters the sandbox and serves until told to stop. There must be no other thread yet.
pub(super) fn serve(prepared: Prepared, needs: &Needs, mut master: impl Master) -> Result<ExitCode, ProcessError> {
    let Prepared { config, tls, output, sockets } = prepared;
    let report = sandbox::enter(needs);
    let log = SessionLog::to_output(output, &config.hostname).map_err(ProcessError::Log)?;
    log.init_tracing()?;
    log.report_panics();
    report.log();
    if let Err(error) = descriptors::raise() {
        tracing::warn!("cannot raise the limit of open files: {error}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.workers.get())
        .enable_all()
        .build()
        .map_err(ProcessError::at("start the threads that serve"))?;
    let served = runtime.block_on(stand(config, tls, log.clone(), sockets, &mut master));
    // What did not end in its time is cut off, and leaves its record when it is dropped.
    runtime.shutdown_timeout(LAST_RECORDS);
    log.flush();
    served
}

async fn stand(
    config: Config,
    tls: tls::Server,
    log: SessionLog,
    sockets: Vec<Socket>,
    master: &mut impl Master,
) -> Result<ExitCode, ProcessError> {
    master.begin().map_err(ProcessError::at("listen for signals"))?;
    let mut gate = Gate::start(config, tls.clone(), log.clone(), sockets).await?;
    for (service, address) in gate.addresses() {
        tracing::info!(service = service.name, %address, "bound");
    }
    master.ready();
    let code = tokio::select! {
        () = until_stopped(master, &tls, &log) => ExitCode::SUCCESS,
        () = gate.broken() => {
            tracing::error!("internal error, please report: a part of the gate has failed (the log says where)");
            ExitCode::FAILURE
        }
    };
    tracing::info!("stopping: no new sessions; a second signal ends those that are left at once");
    master.stopping();
    gate.shutdown(until_stopped(master, &tls, &log)).await;
    tracing::info!("stopped");
    Ok(code)
}

/// Obeys all orders up to the next [`Order::Stop`].
async fn until_stopped(master: &mut impl Master, tls: &tls::Server, log: &SessionLog) {
    loop {
        match master.order().await {
            Order::Stop => return,
            Order::Log(file) => log.replace_file(file),
            Order::Certificates(certificates) => {
                if let Err(error) = tls.renew(certificates) {
                    tracing::error!("the certificates from before stay in use: {error}");
                }
            }
        }
    }
}
