//! One process: it reads its files itself, and obeys signals.

use std::future::pending;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::process::ExitCode;

use super::sandbox::{Files, Needs};
use super::serve::{Master, Order, Prepared, serve};
use super::signals::{Signals, Wish};
use super::{ProcessError, account, inherited, notify};
use crate::config::{Config, LogTarget, User};
use crate::renewal::{ReadOnce, Watch};
use crate::server::{bind_all, leave_out_ipv6};
use crate::session_log::{Output, open_file};
use crate::tls;

pub(super) fn run(mut config: Config, written: ReadOnce) -> Result<ExitCode, ProcessError> {
    let (certificates, read) = Watch::open(&config.tls.certificates, &config.hostname)?;
    let tls = tls::Server::new(&config.tls, read.certificates)?;
    leave_out_ipv6(&mut config);
    let sockets = bind_all(&config, inherited())?;
    let output = Output::open(&config.log).map_err(ProcessError::Log)?;
    let needs = Needs::new(&config, Files::Own);
    let warning = unfit(config.user.as_ref());
    let administrator = Administrator { signals: None, certificates, written, warning, log: config.log.to.clone() };
    serve(Prepared { config, tls, output, sockets }, &needs, administrator)
}

/// Who gives orders by signals and by renewing files.
struct Administrator {
    /// Those of the process, once there is a runtime.
    signals: Option<Signals>,
    certificates: Watch,
    /// The configuration.
    written: ReadOnce,
    /// About the user of the process.
    warning: Option<String>,
    log: LogTarget,
}

impl Administrator {
    fn log_file(&self) -> Option<PathBuf> {
        if let LogTarget::File(path) = &self.log { Some(path.clone()) } else { None }
    }
}

/// What is wrong with the user that this process runs as. Asked before the sandbox: to look a name up takes files.
fn unfit(user: Option<&User>) -> Option<String> {
    let uid = rustix::process::geteuid();
    if uid.is_root() {
        return Some(
            "one process serves as root; make an account without rights, and write user = \"sealgate\" at the top of the \
             configuration: then only a small parent stays root"
                .to_owned(),
        );
    }
    let user = user.filter(|user| !account::find(user).is_ok_and(|ids| ids.uid == uid.as_raw()))?;
    Some(format!("only root can start a worker as {user}; serving as uid {uid} in one process"))
}

/// What else it may be that keeps a log from being opened anew: Landlock looks at directories themselves, whatever their
/// names are now.
fn newer(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::PermissionDenied => {
            "; if the directory was made or renamed since the start, restart sealgate, which as one process writes to no other"
        }
        _ => "",
    }
}

impl Master for Administrator {
    fn begin(&mut self) -> io::Result<()> {
        self.signals = Some(Signals::new()?);
        if let Some(warning) = &self.warning {
            tracing::warn!("{warning}");
        }
        self.certificates.warn();
        Ok(())
    }

    async fn order(&mut self) -> Order {
        let look = self.certificates.look();
        let log = self.log_file();
        loop {
            let wish = async {
                match &mut self.signals {
                    Some(signals) => signals.next().await,
                    None => pending().await,
                }
            };
            tokio::select! {
                wish = wish => match wish {
                    Wish::Stop => return Order::Stop,
                    Wish::Reload => {
                        look.now();
                        self.written.warn_if_changed();
                        match log.as_deref().map(open_file) {
                            Some(Ok(file)) => return Order::Log(file),
                            Some(Err(error)) => tracing::error!("{error}{}; going on with the old one", newer(&error)),
                            None => {}
                        }
                    }
                },
                renewed = self.certificates.changed() => return Order::Certificates(renewed.certificates),
            }
        }
    }

    fn ready(&mut self) {
        notify::ready(&self.log);
    }

    fn stopping(&mut self) {
        notify::stopping();
    }
}
