//! What the log will say of a session, gathered as it goes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::{Arrival, Shared};
use crate::backend::pool::Place;
use crate::cleartext::Heed;
use crate::facts::{Outcome, Peer, Reason, TlsFacts};
use crate::limits::{Setback, Trial};
use crate::protocol::Event;
use crate::session_log::{CommandCount, Record, Stage};
use crate::tls::HandshakeError;

const PANICKED: Reason = Reason::new(Outcome::Internal, "internal error, please report");

/// Gathers one session's record. Dropped without an end (a panic, a cancelled task), it still leaves one.
pub(super) struct Notes {
    shared: Arc<Shared>,
    kept: Box<Kept>,
    /// The backend that has the session.
    backend: Place,
    ended: bool,
    /// Why the session ends has been said by who knows it better, and the record has it.
    told_why: bool,
    /// Others like it are in the log, and this one is counted.
    quiet: bool,
}

// An allocator has a class for that, and the next is 512.
const _: () = assert!(size_of::<Kept>() <= 448);

/// What takes room.
struct Kept {
    record: Record,
    began: Instant,
    /// The login that the backend judges.
    trial: Option<Trial>,
}

impl Notes {
    pub(super) fn new(shared: &Arc<Shared>, arrival: &Arrival) -> Self {
        Self {
            kept: Box::new(Kept { began: Instant::now(), trial: None, record: begun(shared, arrival) }),
            backend: Place::default(),
            shared: shared.clone(),
            ended: false,
            told_why: false,
            quiet: false,
        }
    }

    /// What the session shares with others.
    pub(super) fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }

    /// Leaves no record.
    pub(super) fn keep_quiet(&mut self) {
        self.quiet = true;
    }

    /// The client has to wait.
    pub(super) fn delayed(&mut self, time: Duration) {
        self.kept.record.delayed += time;
    }

    pub(super) fn identified(&mut self, client: SocketAddr, local: SocketAddr) {
        self.kept.record.client = client;
        self.kept.record.local = local;
        self.note(Stage::Connected);
    }

    pub(super) fn named(&mut self, peer: &Peer) {
        self.kept.record.client_name = peer.names.verified.clone();
    }

    /// Which backend got the session, or failed last to take it. Until then the record names the first.
    pub(super) fn passed_to(&mut self, backend: Place) {
        self.backend = backend;
        if let Some(member) = self.shared.backends.member(backend) {
            self.kept.record.backend = member.name.clone();
        }
    }

    pub(super) fn secured(&mut self, facts: Arc<TlsFacts>) {
        self.kept.record.tls = Some(facts);
        self.note(Stage::Secured);
    }

    pub(super) fn handshake_failed(&mut self, error: &HandshakeError) {
        tracing::debug!(session = %self.kept.record.session, client = %self.kept.record.client, "TLS handshake failed: {}", error.detail);
        if !error.cost_nothing() {
            self.shared.limits.handshake_failed(self.kept.record.client.ip());
        }
        self.kept.record.handshake_failed = true;
        self.kept.record.offered = error.offered.clone();
        self.went(error.greeted);
    }

    pub(super) fn relayed(&mut self, bytes_in: u64, bytes_out: u64) {
        self.kept.record.bytes_in += bytes_in;
        self.kept.record.bytes_out += bytes_out;
    }

    /// Takes note of an event; what the client is to bear for it.
    pub(super) fn hear(&mut self, event: Event) -> Setback {
        match event {
            Event::Helo(name) => self.kept.record.helo = Some(name),
            Event::Command { name, ok } => self.count(name, ok),
            Event::Attempt { guess } => {
                let (limits, client) = (&self.shared.limits, self.kept.record.client.ip());
                let setback =
                    if guess { limits.login_tried(client, &mut self.kept.trial) } else { limits.login_begun(client) };
                self.delayed(setback.delay);
                return setback;
            }
            Event::Answered => self.kept.trial = None,
            Event::Auth { method, user, ok } => {
                self.tried(method, user);
                self.kept.record.authenticated |= ok;
                let (limits, client) = (&self.shared.limits, self.kept.record.client.ip());
                if ok {
                    limits.login_succeeded(client);
                    self.note(Stage::LoggedIn);
                } else {
                    let setback = limits.login_failed(client);
                    self.delayed(setback.delay);
                    self.kept.record.auth_failures += 1;
                    self.note(Stage::LoginFailed);
                    return setback;
                }
            }
            Event::Unjudged { method, user, reason } => {
                self.tried(method, user);
                tracing::info!(
                    session = %self.kept.record.session,
                    client = %self.kept.record.client.ip(),
                    service = self.kept.record.service,
                    backend = %self.kept.record.backend,
                    reason = reason.phrase,
                    "the backend did not judge a login"
                );
            }
            Event::Message { accepted: true } => self.kept.record.accepted += 1,
            Event::Message { accepted: false } => self.kept.record.rejected += 1,
            Event::Learned(learned) => {
                self.shared.backends.learn(self.backend, learned);
            }
            Event::Refused(reason) => {
                tracing::info!(
                    session = %self.kept.record.session,
                    client = %self.kept.record.client.ip(),
                    client_port = self.kept.record.client.port(),
                    service = self.kept.record.service,
                    outcome = reason.outcome.as_str(),
                    reason = reason.phrase,
                    "refused what the client said"
                );
            }
            Event::Ending(reason) => self.told_why(reason),
        }
        Setback::default()
    }

    /// Who tried to log in, also where that does not show: who failed before must not be named for whoever comes next.
    fn tried(&mut self, method: String, user: Option<String>) {
        self.kept.record.method = Some(method);
        self.kept.record.user = user;
    }

    /// Whatever comes of it, this is why the session ends.
    pub(super) fn told_why(&mut self, reason: Reason) {
        self.told_why = true;
        self.conclude(reason);
    }

    fn count(&mut self, name: &'static str, ok: bool) {
        let commands = &mut self.kept.record.commands;
        let mut count = match commands.iter().position(|count| count.name == name) {
            Some(place) => commands.remove(place),
            None => CommandCount { name, ok: 0, all: 0 },
        };
        count.ok += u32::from(ok);
        count.all += 1;
        commands.push(count); // the last one is the one used last
    }

    fn note(&mut self, stage: Stage) {
        if self.quiet {
            return;
        }
        self.kept.record.duration = self.kept.began.elapsed();
        self.shared.log.note(stage, &self.kept.record);
    }

    fn conclude(&mut self, reason: Reason) {
        self.kept.record.outcome = reason.outcome;
        self.kept.record.reason = reason.phrase;
    }

    pub(super) fn end(mut self, reason: Reason) {
        self.finish(reason);
    }

    fn finish(&mut self, reason: Reason) {
        self.ended = true;
        if !self.told_why {
            self.conclude(reason);
        }
        self.note(Stage::Ended);
    }
}

/// The record of a session that has just begun.
fn begun(shared: &Shared, arrival: &Arrival) -> Record {
    let service = shared.listener.service;
    Record {
        began: SystemTime::now(),
        session: arrival.session.clone(),
        listener: arrival.listener,
        service: service.name,
        protocol: service.protocol.name(),
        client: arrival.peer,
        client_name: Default::default(),
        local: arrival.local,
        tls: None,
        handshake_failed: false,
        offered: None,
        helo: None,
        user: None,
        method: None,
        auth_failures: 0,
        delayed: Duration::ZERO,
        authenticated: false,
        accepted: 0,
        rejected: 0,
        commands: Vec::new(),
        bytes_in: 0,
        bytes_out: 0,
        backend: shared.backends.member(Place::default()).map(|first| first.name.clone()).unwrap_or_default(),
        duration: Default::default(),
        outcome: Outcome::Ok,
        reason: "",
    }
}

impl Heed for Notes {
    fn event(&mut self, event: Event) {
        self.hear(event);
    }

    fn came(&mut self, octets: usize) {
        self.relayed(octets as u64, 0);
    }

    fn went(&mut self, octets: usize) {
        self.relayed(0, octets as u64);
    }
}

impl Drop for Notes {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        if std::thread::panicking() {
            self.told_why(PANICKED); // whatever was known before
        }
        self.finish(super::CUT_OFF);
    }
}
