//! The parent: root, small, and silent towards the network.
//!
//! It holds the ports, reads root-only keys, opens the log, obeys signals, and starts the worker that does the rest. A worker
//! that dies is replaced: its sessions are lost, the ports are not. Meanwhile the ports refuse connections, as they do at
//! the start, until the new worker has tested its backends: a client that is refused tries again (RFC 5321 §4.5.4.1), one
//! that waits in a queue for a backend that may be gone waits for minutes.

use std::fs::File;
use std::io;
use std::net::Shutdown;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::pin::pin;
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use socket2::Socket;
use tokio::process::Child;
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::account::Ids;
use super::channel::{Channel, Frame};
use super::signals::{Signals, Wish};
use super::{ProcessError, WORKER, inherited, notify, sandbox};
use crate::config::{ClientCertificates, Config, LogTarget};
use crate::dumps;
use crate::renewal::{ReadOnce, Renewed, Watch};
use crate::server::{bind_all, leave_out_ipv6};
use crate::session_log::{Output, SessionLog, open_file};
use crate::tls::{self, PemPair};

/// Before the first replacement of a worker; doubled with each that follows soon.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A worker that was up for so long is none that fails soon.
const STEADY: Duration = Duration::from_secs(60);

pub(super) fn run(
    path: &Path,
    mut config: Config,
    text: String,
    ids: Ids,
    written: ReadOnce,
) -> Result<ExitCode, ProcessError> {
    let (watch, read) = Watch::open(&config.tls.certificates, &config.hostname)?;
    let Renewed { certificates, new } = read;
    // The worker does this again. Here it can say which file is wrong, and before a port is bound.
    tls::Server::new(&config.tls, certificates)?;
    let authorities = match &config.tls.client_certificates {
        ClientCertificates::None => None,
        ClientCertificates::Request { ca } | ClientCertificates::Require { ca } => {
            Some(std::fs::read(ca).map_err(ProcessError::at("read tls.client_ca"))?)
        }
    };
    leave_out_ipv6(&mut config);
    let sockets = bind_all(&config, inherited())?;
    let file = if let LogTarget::File(path) = &config.log.to { Some(open_file(path)) } else { None };
    let file = file.transpose().map_err(ProcessError::Log)?;
    let ours = file.as_ref().map(File::try_clone).transpose().map_err(ProcessError::Log)?;
    let output = Output::with_file(&config.log, ours).map_err(ProcessError::Log)?;
    sandbox::keep_for_parent().map_err(ProcessError::at("give up what the parent does not need"))?;
    let log = SessionLog::to_output(output, &config.hostname).map_err(ProcessError::Log)?;
    log.init_tracing()?;
    log.report_panics();
    if let Err(error) = dumps::forbid() {
        tracing::warn!("cannot forbid core dumps of the parent, which would hold keys: {error}");
    }
    watch.warn();
    // Workers are started from this thread, which has given its rights up.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(ProcessError::at("start the parent's runtime"))?;
    let mut given = vec![Frame::Config { path: path.as_os_str().as_bytes().to_vec(), text: text.into_bytes() }];
    given.extend(authorities.map(Frame::Authorities));
    let ended = runtime.block_on(async {
        let signals = Signals::new().map_err(ProcessError::at("listen for signals"))?;
        let mut parent = Parent {
            ids,
            given,
            certificates: Vec::new(),
            file,
            sockets,
            to: config.log.to,
            log: log.clone(),
            signals,
            watch,
            written,
            stopping: false,
        };
        parent.keep(new);
        parent.tend().await
    });
    runtime.shutdown_background();
    log.flush();
    ended
}

struct Parent {
    ids: Ids,
    /// What every worker begins with, besides what is below.
    given: Vec<Frame>,
    /// As they were read last and found good: a worker that has to be replaced must not hang on what is on the disk then.
    certificates: Vec<Frame>,
    /// The log as it was opened last: it must not hang on that either.
    file: Option<File>,
    sockets: Vec<Socket>,
    to: LogTarget,
    log: SessionLog,
    signals: Signals,
    watch: Watch,
    /// The configuration.
    written: ReadOnce,
    stopping: bool,
}

struct Worker {
    child: Child,
    channel: Channel,
    /// Said when its gate has started; dropped when it is gone.
    up: oneshot::Receiver<()>,
}

/// How a worker ended.
struct Ended {
    status: ExitStatus,
    /// How long its gate had been up, if it was.
    up: Option<Duration>,
}

impl Parent {
    /// Starts workers until one ends because it was told to.
    async fn tend(mut self) -> Result<ExitCode, ProcessError> {
        let mut pause = FIRST_PAUSE;
        let mut was_up = false;
        loop {
            match self.start().await {
                Ok(worker) => {
                    let ended = self.watch_over(worker, !was_up).await?;
                    was_up |= ended.up.is_some();
                    if self.stopping || !was_up {
                        // A worker that cannot start has said why, unless it was killed.
                        if !self.stopping && ended.status.code().is_none() {
                            tracing::error!("the worker process ended before it had started, {}", ended.status);
                        }
                        return Ok(code(ended.status));
                    }
                    if ended.up.is_some_and(|up| up >= STEADY) {
                        pause = FIRST_PAUSE;
                    }
                    tracing::error!("the worker process ended, {}; starting another in {pause:?}", ended.status);
                }
                Err(error) if was_up => tracing::error!("cannot start a worker: {error}; trying again in {pause:?}"),
                Err(error) => return Err(ProcessError::System { what: "start the worker", error }),
            }
            for socket in &self.sockets {
                // Nobody would answer. The port stays ours, and listens again with the next worker.
                let _ = socket.shutdown(Shutdown::Read);
            }
            if self.wait(pause).await.is_break() {
                notify::stopping();
                tracing::info!("stopped: there was no worker");
                return Ok(ExitCode::SUCCESS);
            }
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }

    /// A worker with all that it needs; whether it begins, it says itself.
    async fn start(&mut self) -> io::Result<Worker> {
        let (mut channel, theirs) = Channel::pair()?;
        let mut command = Command::new("/proc/self/exe");
        // The groups that root is in go with the user (std's `uid`).
        command.arg0("sealgate").arg(WORKER).uid(self.ids.uid).gid(self.ids.gid);
        command.stdin(Stdio::from(theirs)).current_dir("/");
        // What the service manager said, it said to us.
        for name in ["NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"] {
            command.env_remove(name);
        }
        let mut command = tokio::process::Command::from(command);
        let child = command.spawn().map_err(without_proc)?;
        drop(command); // our copy of its end: it must see when ours is closed
        let mut ears = channel.try_clone()?;
        let (tell, up) = oneshot::channel();
        tokio::task::spawn_blocking(move || {
            if matches!(ears.receive(), Ok(Some(Frame::Up))) {
                // Nobody to tell: the parent is about to end.
                let _ = tell.send(());
            }
        });
        match self.hand_over(&mut channel) {
            Ok(()) => {}
            // It ended already, and how it did is more to the point.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Err(error) => {
                channel.close(); // the worker sees us gone, and ends
                return Err(error);
            }
        }
        Ok(Worker { child, channel, up })
    }

    fn hand_over(&self, channel: &mut Channel) -> io::Result<()> {
        for frame in self.given.iter().chain(&self.certificates) {
            channel.send(frame)?;
        }
        if let Some(file) = &self.file {
            channel.send(&Frame::Log(file.try_clone()?))?;
        }
        for socket in &self.sockets {
            channel.send(&Frame::Socket(socket.try_clone()?))?;
        }
        channel.send(&Frame::Begin)
    }

    /// Passes on what the administrator wants until the worker ends.
    async fn watch_over(&mut self, mut worker: Worker, is_first: bool) -> Result<Ended, ProcessError> {
        let mut waits = true;
        let mut up: Option<Instant> = None;
        loop {
            tokio::select! {
                status = worker.child.wait() => {
                    let status = status.map_err(ProcessError::at("wait for the worker"))?;
                    return Ok(Ended { status, up: up.map(|since| since.elapsed()) });
                }
                said = &mut worker.up, if waits => {
                    waits = false;
                    if said.is_ok() {
                        up = Some(Instant::now());
                        if is_first {
                            notify::ready(&self.to);
                        }
                    }
                }
                wish = self.signals.next() => match wish {
                    Wish::Stop => {
                        if !self.stopping {
                            self.stopping = true;
                            self.sockets.clear(); // closed once the worker's are, too
                            notify::stopping();
                        }
                        worker.hear(&Frame::Stop);
                    }
                    Wish::Reload => {
                        if let Some(file) = self.reload() {
                            worker.hear(&Frame::Log(file));
                        }
                    }
                },
                renewed = self.watch.changed() => {
                    let places: Vec<usize> = renewed.new.iter().map(|(place, _)| *place).collect();
                    self.keep(renewed.new);
                    for frame in places.iter().filter_map(|place| self.certificates.get(*place)) {
                        worker.hear(frame);
                    }
                    worker.hear(&Frame::Renew);
                }
            }
        }
    }

    /// Lets time pass between two workers, unless it is all over.
    async fn wait(&mut self, pause: Duration) -> ControlFlow<()> {
        let mut over = pin!(sleep(pause));
        loop {
            tokio::select! {
                () = over.as_mut() => return ControlFlow::Continue(()),
                wish = self.signals.next() => match wish {
                    Wish::Stop => return ControlFlow::Break(()),
                    Wish::Reload => drop(self.reload()),
                },
                renewed = self.watch.changed() => self.keep(renewed.new),
            }
        }
    }

    /// Looks at the certificates and opens the log anew; gives the worker's part of it.
    fn reload(&mut self) -> Option<File> {
        self.watch.look().now();
        self.written.warn_if_changed();
        let LogTarget::File(path) = &self.to else { return None };
        let reopened = open_file(path).and_then(|file| {
            self.log.replace_file(file.try_clone()?);
            self.file = Some(file.try_clone()?);
            Ok(file)
        });
        reopened.inspect_err(|error| tracing::error!("{error}; going on with the old one")).ok()
    }

    /// Keeps certificates for this worker and those after it.
    fn keep(&mut self, new: Vec<(usize, PemPair)>) {
        for (place, pem) in new {
            let frame = Frame::Certificate(u32::try_from(place).unwrap_or(u32::MAX), pem);
            match self.certificates.get_mut(place) {
                Some(kept) => *kept = frame,
                None => self.certificates.push(frame), // at the start, in order
            }
        }
    }
}

impl Worker {
    /// Tells it something. One that does not listen is given up: it sees its parent gone, lets its sessions finish, and is
    /// replaced.
    fn hear(&mut self, frame: &Frame) {
        match self.channel.send(frame) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {} // its end is heard of in another way
            Err(error) => {
                tracing::error!("the worker does not listen ({error}): it is replaced");
                self.channel.close();
            }
        }
    }
}

/// The program is found again where the kernel shows it (proc(5)): also when a newer one has taken its name.
fn without_proc(error: io::Error) -> io::Error {
    let missing = error.kind() == io::ErrorKind::NotFound && !Path::new("/proc/self/exe").exists();
    if missing { io::Error::new(error.kind(), "there is no /proc; mount it, or leave `user` out") } else { error }
}

/// The worker's exit code is ours.
fn code(status: ExitStatus) -> ExitCode {
    status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}
