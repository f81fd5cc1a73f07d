//! What an administrator asks for by signals.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// SIGTERM, SIGINT or SIGQUIT: no new sessions; the second one: end those that are left.
    Stop,
    /// SIGHUP, or SIGUSR1 as Dovecot and nginx have it: open the log anew (logrotate), look for renewed certificates.
    Reload,
}

/// The signals of this process, from now on.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    hangup: Signal,
    user_1: Signal,
    /// Means nothing, and would end the process without a word.
    _user_2: Signal,
}

impl Signals {
    /// Must be called in a runtime.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hangup: signal(SignalKind::hangup())?,
            user_1: signal(SignalKind::user_defined1())?,
            _user_2: signal(SignalKind::user_defined2())?,
        })
    }

    /// Waits for the next one. May be dropped at any time.
    pub async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.terminate.recv() => Wish::Stop,
            _ = self.interrupt.recv() => Wish::Stop,
            _ = self.quit.recv() => Wish::Stop,
            _ = self.hangup.recv() => Wish::Reload,
            _ = self.user_1.recv() => Wish::Reload,
        }
    }
}
