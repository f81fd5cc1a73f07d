//! The story of one connection, top to bottom.

mod farewell;
mod first_words;
mod notes;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use self::farewell::{close, finish, part, refuse};
pub use self::farewell::{drop_unheard, turn_away};
use self::first_words::hear_first_words;
use self::notes::Notes;
use crate::backend::dns::Resolver;
use crate::backend::inbound::{Inbound, read_proxy_header};
use crate::backend::pool::{Pool, Unserved};
use crate::backend::{Caller, Connected};
use crate::cleartext::{Cleartext, Heed as _, Patience, Talked};
use crate::config::{self, Deadlines};
use crate::facts::{ClientNames, Outcome, Peer, Reason, SessionId, TlsFacts};
use crate::limits::{Admitted, Limits, Permit};
use crate::protocol::{Context, Event, Farewell, Rules, TlsMode, Wait};
use crate::relay;
use crate::session_log::SessionLog;
use crate::stop::Stop;
use crate::stream::{Backend, Client};
use crate::tls;

const BACKEND_SUSPENDED: Reason = Reason::new(Outcome::BackendError, "backend is being tested");
const NO_PROXY_HEADER: Reason = Reason::new(Outcome::Timeout, "no PROXY header in time");
const HEALTH_CHECK: Reason = Reason::new(Outcome::Ok, "health check");
const CUT_OFF: Reason = Reason::new(Outcome::Shutdown, "gate is stopping");

/// What all sessions of a listener share.
pub struct Shared {
    /// The listener's settings.
    pub listener: config::Listener,
    /// The backends, which of them may be given sessions, and what they announce.
    pub backends: Pool,
    /// Our own name.
    pub hostname: Arc<str>,
    /// How long anybody may be waited for.
    pub deadlines: Deadlines,
    /// What protocols may decide by.
    pub rules: Arc<Rules>,
    /// TLS.
    pub tls: tls::Server,
    /// For identities that carry names.
    pub resolver: Option<Resolver>,
    /// What client networks may do.
    pub limits: Arc<Limits>,
    /// Where records go.
    pub log: SessionLog,
    /// Turns true when the time to finish is over.
    pub stop: Stop,
}

/// A connection as it came from the accept loop.
pub struct Arrival {
    /// The socket.
    pub stream: TcpStream,
    /// Who connected; with a PROXY header that is not the client.
    pub peer: SocketAddr,
    /// Our address.
    pub local: SocketAddr,
    /// The socket that accepted it.
    pub listener: SocketAddr,
    /// The session's identifier.
    pub session: SessionId,
}

/// Serves one connection to its end and logs it; `place` is held until then.
///
/// This future is what a session costs while nothing happens, so it holds the relay and little else: all that comes before
/// is boxed, and gone when the relay begins. What is taken apart is a temporary, for a variable would keep its room.
pub fn run(shared: Arc<Shared>, arrival: Arrival, place: impl Send) -> impl Future<Output = ()> + Send {
    let begin = Box::pin(begin(shared, arrival));
    async move {
        let (mut notes, start, permit, waited) = match begin.await {
            (notes, Ok(Begun { start, permit, waited })) => (notes, start, permit, waited),
            (notes, Err(reason)) => return notes.end(reason),
        };
        let shared = notes.shared();
        let allowed = |wait| allowed(&shared.deadlines, waited, wait);
        let end = relay::run(start, allowed, shared.stop.clone(), |event| notes.hear(event)).await;
        notes.relayed(end.bytes_in, end.bytes_out);
        notes.hear(Event::Answered); // or never: nobody need wait for what a backend that is gone judges
        match end.client {
            Some(client) if end.client_ended => finish(client).await,
            Some(client) => Box::pin(close(client)).await,
            None => {}
        }
        drop(permit); // whoever reads the record may take the place
        notes.end(end.reason);
        drop(place);
    }
}

/// A session that has come as far as the relay.
struct Begun {
    start: relay::Start<Client, Backend>,
    permit: Permit,
    /// How much of its time to log in the client has used up.
    waited: Duration,
}

async fn begin(shared: Arc<Shared>, arrival: Arrival) -> (Notes, Result<Begun, Reason>) {
    let mut notes = Notes::new(&shared, &arrival);
    let begun = approach(&shared, arrival, &mut notes).await;
    (notes, begun)
}

/// Waits for `what` unless the gate is stopping.
async fn unless_stopped<T>(shared: &Shared, what: impl Future<Output = T>) -> Result<T, Reason> {
    let mut stop = shared.stop.clone();
    tokio::select! {
        biased;
        () = stop.told() => Err(CUT_OFF),
        done = what => Ok(done),
    }
}

/// Everything up to the relay: who it is, TLS, and the backend.
async fn approach(shared: &Arc<Shared>, arrival: Arrival, notes: &mut Notes) -> Result<Begun, Reason> {
    let service = shared.listener.service;
    let Arrival { mut stream, peer, local, session, .. } = arrival;

    // Who is it? A peer from a listed network speaks for its client.
    let who = identify(shared, &mut stream, peer, local).await?;
    let Admitted { permit, delay } = match shared.limits.admit(who.client.ip(), shared.listener.identity) {
        Ok(admitted) => admitted,
        Err(refused) => return Err(refuse(shared, stream, refused, &who, notes).await),
    };
    let Who { client, local, health_check } = who;
    notes.identified(client, local);
    if !delay.is_zero() {
        notes.delayed(delay);
        unless_stopped(shared, sleep(delay)).await?;
    }
    let names = look_up(shared, client);
    let mut context = Context {
        hostname: shared.hostname.clone(),
        session,
        service,
        peer: Peer { client, local, names: ClientNames::default() },
        tls: None,
        rules: shared.rules.clone(),
        learned: shared.backends.offered(),
    };

    // Cleartext, where the service begins with it; then TLS, unless the client stays plain. Behind STARTTLS it is the client
    // who speaks first (RFC 3207 §4.2, RFC 9051 §6.2.1), elsewhere it is greeted by us: one that only tries our TLS never
    // reaches the backend. All of this is the client's time to log in; what the backend takes is not.
    let began = Instant::now();
    let login_due = began + shared.deadlines.login;
    let (client, client_input, opening) = match service.tls {
        TlsMode::Implicit => {
            let greeting = service.protocol.greeting(&context);
            // Where no backend is to be had, the client hears of that instead.
            let early = if shared.backends.is_open() { greeting.clone() } else { Bytes::new() };
            let rest = greeting.slice(early.len()..);
            let client = secure(shared, stream, &mut context, early, login_due, notes).await?;
            if !shared.backends.is_open() {
                part(shared, client, Farewell::BackendUnavailable, notes).await;
                return Err(BACKEND_SUSPENDED);
            }
            let (client, input) = hear_first_words(shared, client, &context, &rest, login_due, notes).await?;
            (client, input, None)
        }
        TlsMode::Optional | TlsMode::Required => match talk(shared, stream, &context, notes).await {
            Talked::StartTls(stream) => {
                let client = secure(shared, stream, &mut context, Bytes::new(), login_due, notes).await?;
                let (client, input) = hear_first_words(shared, client, &context, b"", login_due, notes).await?;
                (client, input, None)
            }
            Talked::StayPlain(stream, input, opening) => (Client::Plain(stream), input, Some(opening)),
            Talked::Over(stream, reason) => {
                if let Some(stream) = stream {
                    close(Client::Plain(stream)).await;
                }
                return Err(reason);
            }
        },
    };

    let waited = began.elapsed();

    // Tell the backend who it is; then they may talk.
    if let Some(names) = names {
        let found = unless_stopped(shared, names).await;
        context.peer.names = found.ok().and_then(Result::ok).unwrap_or_default();
        notes.named(&context.peer);
    }
    let (backend, backend_input) = match connect(shared, &context, health_check, notes).await {
        Ok(Connected { stream, input }) => (Some(stream), input),
        Err(reason) => {
            notes.told_why(reason);
            (None, BytesMut::new())
        }
    };
    let dialogue = service.protocol.dialogue(&context, opening);
    let least_rate = shared.deadlines.body_rate;
    let start = relay::Start { client, client_input, backend, backend_input, dialogue, least_rate };
    Ok(Begun { start, permit, waited })
}

/// The two ends of a connection.
struct Who {
    client: SocketAddr,
    local: SocketAddr,
    /// A load balancer that speaks for itself: it may greet us, and never reaches the backend, which may trust its address.
    health_check: bool,
}

/// The connection's own addresses, or what a PROXY header from a listed peer says.
async fn identify(shared: &Shared, stream: &mut TcpStream, peer: SocketAddr, local: SocketAddr) -> Result<Who, Reason> {
    let own = Who { client: peer, local, health_check: false };
    if !shared.listener.accept_proxy_from.iter().any(|network| network.contains(&peer.ip())) {
        return Ok(own);
    }
    let header = Box::pin(timeout(shared.deadlines.proxy_header, read_proxy_header(stream)));
    match unless_stopped(shared, header).await? {
        Err(_) => Err(NO_PROXY_HEADER),
        Ok(Err(error)) => {
            tracing::info!(%peer, "refused: {error}");
            Err(error.reason())
        }
        Ok(Ok(Inbound::Proxied { client, local })) => Ok(Who { client, local, health_check: false }),
        Ok(Ok(Inbound::HealthCheck)) => Ok(Who { health_check: true, ..own }),
    }
}

/// Starts the name look-ups, which run while the handshake does.
fn look_up(shared: &Arc<Shared>, client: SocketAddr) -> Option<JoinHandle<ClientNames>> {
    let resolver = shared.resolver.clone()?;
    Some(tokio::spawn(async move { resolver.names(client.ip()).await }))
}

async fn talk(shared: &Shared, stream: TcpStream, context: &Context, notes: &mut Notes) -> Talked {
    let protocol = context.service.protocol;
    let mut preamble = protocol.preamble(context);
    let injection = protocol.farewell(&shared.hostname, Farewell::Injection);
    let patience = Patience { command: shared.deadlines.command, total: shared.deadlines.login };
    Cleartext::new(stream).talk(&mut *preamble, &injection, patience, shared.stop.clone(), notes).await
}

/// The handshake, and our greeting in it; what comes out is secret, forward secret, and known by its facts.
async fn secure(
    shared: &Shared,
    stream: TcpStream,
    context: &mut Context,
    greeting: Bytes,
    login_due: Instant,
    notes: &mut Notes,
) -> Result<Client, Reason> {
    let deadline = shared.deadlines.handshake.min(login_due.saturating_duration_since(Instant::now()));
    let greeted = greeting.len();
    let (client, facts) = handshake(shared, stream, greeting, deadline, notes).await?;
    notes.went(greeted);
    context.tls = Some(facts);
    Ok(client)
}

async fn handshake(
    shared: &Shared,
    stream: TcpStream,
    greeting: Bytes,
    deadline: Duration,
    notes: &mut Notes,
) -> Result<(Client, Arc<TlsFacts>), Reason> {
    let accept = shared.tls.accept(stream, shared.listener.service.alpn, greeting, deadline);
    match unless_stopped(shared, accept).await? {
        Ok((stream, facts)) => {
            let facts = Arc::new(facts);
            notes.secured(facts.clone());
            Ok((Client::Tls(stream), facts))
        }
        Err(error) => {
            notes.handshake_failed(&error);
            Err(error.reason)
        }
    }
}

/// A backend that knows who the client is; the record says which.
async fn connect(
    shared: &Shared,
    context: &Context,
    health_check: bool,
    notes: &mut Notes,
) -> Result<Connected, Reason> {
    if health_check {
        return Err(HEALTH_CHECK);
    }
    let caller = Caller {
        hostname: &shared.hostname,
        session: &context.session,
        peer: &context.peer,
        tls: context.tls.as_deref(),
    };
    // Boxed like all that clients need not come to: those that take their time do so before it.
    let connect = Box::pin(shared.backends.connect(&shared.listener, &caller, &shared.deadlines));
    match unless_stopped(shared, connect).await? {
        Ok((place, connected)) => {
            notes.passed_to(place);
            Ok(connected)
        }
        Err(Unserved { tried: Some((place, error)) }) => {
            notes.passed_to(place);
            Err(error.reason())
        }
        Err(Unserved { tried: None }) => Err(BACKEND_SUSPENDED),
    }
}

fn allowed(deadlines: &Deadlines, waited: Duration, wait: Wait) -> Duration {
    match wait {
        Wait::Command => deadlines.command,
        Wait::Login => deadlines.login.saturating_sub(waited),
        Wait::Body => deadlines.body,
        Wait::Greeting => deadlines.greeting,
        Wait::Reply => deadlines.reply,
        Wait::Delivery => deadlines.delivery,
    }
}
