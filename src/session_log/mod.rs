//! One record a session, and its renderings.
//!
//! ```text
//!  session ──note──▶ Renderer ──▶ Queue (bounded) ──▶ writer thread ──▶ stderr, file or journal
//!  tracing ──event─▶ text, json, postfix
//! ```
//!
//! A session only ever appends to a queue in memory, and the writer takes many lines away at once: a full disk or a stuck journal costs log lines, which
//! are counted and said, but never a session.

mod clean;
mod fields;
mod journal;
mod json;
mod operations;
mod panics;
mod postfix;
mod queue;
mod render;
mod text;
mod writer;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use jiff::Zoned;

use crate::config::{Log, LogFormat, LogProgram, LogTarget};
use crate::facts::{Lookup, Outcome, SessionId, TlsFacts};

use fields::Value;
pub use operations::Operations;
use queue::Queue;
use render::{Level, Look, Renderer};

/// How long the last lines may take when the log is closed: a stuck disk must not keep the process alive.
const LAST_LINES: Duration = Duration::from_secs(2);

/// Where a session stands when it is noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The client is here; a line in `postfix` format only.
    Connected,
    /// TLS is up.
    Secured,
    /// The backend took the login; a line in `postfix` format for IMAP only.
    LoggedIn,
    /// The backend refused it; a line in `postfix` format for SMTP only, at once, as fail2ban wants it.
    LoginFailed,
    /// The session is over, or never came to be.
    Ended,
}

/// The session log: a cheap handle. The lines are written by a thread of its own.
#[derive(Debug, Clone)]
pub struct SessionLog {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    renderer: Arc<Renderer>,
    queue: Arc<Queue>,
    file: Option<PathBuf>,
    /// Sessions that began before are not noted.
    since: OnceLock<SystemTime>,
}

/// The place that a log goes to, open, and nothing written yet: it is opened while the process may still open files, and
/// the thread that writes is started when it may not any more.
pub struct Output {
    look: Look,
    target: writer::Target,
    file: Option<PathBuf>,
}

impl Output {
    /// Opens what the configuration names.
    ///
    /// # Errors
    /// The file cannot be opened, or there is no journal; the message says which.
    pub fn open(settings: &Log) -> io::Result<Self> {
        let file = if let LogTarget::File(path) = &settings.to { Some(open_file(path)?) } else { None };
        Self::with_file(settings, file)
    }

    /// The same with a file that somebody else has opened; it is of use only where the configuration names a file.
    ///
    /// # Errors
    /// As for [`Output::open`].
    pub fn with_file(settings: &Log, file: Option<File>) -> io::Result<Self> {
        let mut look = Look { format: settings.format, program: settings.program, journal: false, colour: false };
        let (target, file) = match &settings.to {
            LogTarget::Stderr => {
                // Colour only where a person looks, and not where NO_COLOR asks for none.
                look.colour = anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never;
                (writer::Target::Stream(Box::new(io::stderr())), None)
            }
            LogTarget::File(path) => {
                let file = file.ok_or_else(|| io::Error::other("the log file is not open"))?;
                (writer::Target::File { file, path: path.clone() }, Some(path.clone()))
            }
            LogTarget::Journal => {
                look.journal = true;
                (writer::Target::Journal(journal::Journal::connect(Path::new(journal::SOCKET))?), None)
            }
        };
        Ok(Self { look, target, file })
    }
}

impl SessionLog {
    /// Opens the log that the configuration names.
    ///
    /// # Errors
    /// The file cannot be opened, or there is no journal; the message says which.
    pub fn open(settings: &Log, hostname: &str) -> io::Result<Self> {
        Self::to_output(Output::open(settings)?, hostname)
    }

    /// A log that writes to what is open.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn to_output(Output { look, target, file }: Output, hostname: &str) -> io::Result<Self> {
        Self::start(Renderer::new(look, hostname), target, file)
    }

    /// A log that writes to `output`, with the same lines that a file gets.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn to_writer(
        format: LogFormat,
        program: LogProgram,
        hostname: &str,
        output: Box<dyn Write + Send>,
    ) -> io::Result<Self> {
        let look = Look { format, program, journal: false, colour: false };
        Self::start(Renderer::new(look, hostname), writer::Target::Stream(output), None)
    }

    fn start(renderer: Renderer, target: writer::Target, file: Option<PathBuf>) -> io::Result<Self> {
        let (renderer, queue) = (Arc::new(renderer), Arc::new(Queue::default()));
        writer::spawn(Arc::clone(&queue), Arc::clone(&renderer), target)?;
        Ok(Self { inner: Arc::new(Inner { renderer, queue, file, since: OnceLock::new() }) })
    }

    /// Writes what `format` has to say about a session that reached `stage`. Never waits: if the queue is
    /// full, the line is counted as lost.
    pub fn note(&self, stage: Stage, record: &Record) {
        if !self.inner.renderer.speaks(stage, record)
            || self.inner.since.get().is_some_and(|since| record.began < *since)
        {
            return;
        }
        for entry in self.inner.renderer.record(stage, record, &Zoned::now()) {
            self.inner.queue.push(entry);
        }
    }

    /// Writes an operational message; [`Operations`] brings those of `tracing` here.
    fn say(&self, level: Level, message: &str, fields: &[(&'static str, Value<'_>)]) {
        self.inner.queue.push(self.inner.renderer.message(level, message, fields, &Zoned::now()));
    }

    /// Opens the log file anew, after logrotate has moved it away; does nothing for other targets. Lines noted
    /// before this call still go to the old file.
    ///
    /// # Errors
    /// The file cannot be opened; the old one stays in use.
    pub fn reopen(&self) -> io::Result<()> {
        if let Some(path) = &self.inner.file {
            self.replace_file(open_file(path)?);
        }
        Ok(())
    }

    /// Goes on in another file, as [`SessionLog::reopen`] does, in one that somebody else has opened.
    pub fn replace_file(&self, file: File) {
        self.inner.queue.replace_file(file);
    }

    /// Writes nothing from now on, until [`SessionLog::release`] or [`SessionLog::forget`] decides on what there was.
    pub fn hold(&self) {
        self.inner.queue.hold();
    }

    /// Writes what was held back, and goes on.
    pub fn release(&self) {
        self.inner.queue.release(true);
    }

    /// Drops what was held back, also what the sessions of that time have yet to say, and goes on. Works once.
    pub fn forget(&self) {
        self.inner.since.get_or_init(SystemTime::now);
        self.inner.queue.release(false);
    }

    /// Waits until everything noted so far is written, for a moment at most. Returns whether it is.
    pub fn flush(&self) -> bool {
        self.inner.queue.flush(LAST_LINES)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue.close();
        self.queue.flush(LAST_LINES);
    }
}

/// Opens a log file for appending, and makes it where there is none.
///
/// # Errors
/// Names the file.
// Mode 0640: addresses and user names are for the administrator's group at most.
pub fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path).map_err(|error| {
        io::Error::new(
            error.kind(),
            format!(
                "cannot open the log file {}: {error}; check log.to, and who owns the file and its directory",
                path.display()
            ),
        )
    })
}

/// What a session leaves behind. `None` is for what did not happen, never for "later".
#[derive(Debug, Clone)]
pub struct Record {
    /// When the session began.
    pub began: SystemTime,
    /// Its identifier.
    pub session: SessionId,
    /// The address that was listened on.
    pub listener: SocketAddr,
    /// The service's name.
    pub service: &'static str,
    /// `smtp` or `imap`.
    pub protocol: &'static str,
    /// The client.
    pub client: SocketAddr,
    /// The client's verified name.
    pub client_name: Lookup,
    /// Our address, as the client reached it.
    pub local: SocketAddr,
    /// The session's TLS.
    pub tls: Option<Arc<TlsFacts>>,
    /// Whether the session ended in its handshake: a ClientHello led nowhere, or something else came in its place.
    pub handshake_failed: bool,
    /// What a client offered whose handshake failed.
    pub offered: Option<Arc<Offered>>,
    /// The client's last EHLO or HELO name.
    pub helo: Option<String>,
    /// The user that logged in, or last tried to; none where the mechanism does not show it.
    pub user: Option<String>,
    /// The mechanism last tried.
    pub method: Option<String>,
    /// Failed logins.
    pub auth_failures: u32,
    /// How long the client was made to wait, since too much had failed from its network.
    pub delayed: Duration,
    /// Whether a login succeeded.
    pub authenticated: bool,
    /// Messages that the backend took.
    pub accepted: u64,
    /// Messages that it did not take.
    pub rejected: u64,
    /// Commands: name, successes, all; in the order of their latest use, so that the last is what the session ended after.
    pub commands: Vec<CommandCount>,
    /// Octets from the client, before and inside TLS, without what TLS adds.
    pub bytes_in: u64,
    /// Octets to the client, likewise.
    pub bytes_out: u64,
    /// The backend's address.
    pub backend: Arc<str>,
    /// How long it lasted.
    pub duration: Duration,
    /// How it ended.
    pub outcome: Outcome,
    /// Why: a fixed phrase.
    pub reason: &'static str,
}

/// How often a command was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandCount {
    /// Lower case.
    pub name: &'static str,
    /// With a positive answer.
    pub ok: u32,
    /// In all.
    pub all: u32,
}

/// What a ClientHello offered, by IANA's names; unknown code points as `0x….`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offered {
    /// Protocol versions, `TLSv1.3` and so on.
    pub versions: Vec<String>,
    /// Cipher suites.
    pub suites: Vec<String>,
    /// Groups.
    pub groups: Vec<String>,
    /// Signature schemes.
    pub signatures: Vec<String>,
    /// The name asked for, its grammar enforced.
    pub sni: Option<String>,
    /// Application protocols, their grammar enforced.
    pub alpn: Vec<String>,
}

#[cfg(test)]
mod tests;
