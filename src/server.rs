//! The gate as a whole: bind or inherit sockets, open each listener once a backend of its has been tested, drain.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use socket2::{Domain, Socket, Type};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, timeout};

use crate::backend::dns::Resolver;
use crate::backend::pool::{Place, Pool};
use crate::backend::supervisor::supervise;
use crate::config::{ClientIdentity, Config};
use crate::descriptors::{self, Room};
use crate::facts::canonical;
use crate::limits::{self, Limits};
use crate::listener::{Door, Listener, bind};
use crate::protocol::{Rules, Service};
use crate::session::Shared;
use crate::session_log::SessionLog;
use crate::stop::{self, Stop, Stopper};
use crate::tls;

/// What sessions may still take after they were told that the gate is stopping: the relay's last replies and words, and
/// the time for the client to read them.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// How long clients of a port that the service manager has opened wait for the first backend to pass its test. A restart takes less.
const KEPT_WAITING: Duration = Duration::from_secs(5);

/// A listener that cannot listen, though it could bind, tries again after this.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);

/// Why the gate could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be had.
    #[error("cannot listen on {address} for {service}: {error}{}", advice(error))]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The service's name.
        service: &'static str,
        /// What the operating system said.
        error: std::io::Error,
    },
    /// The name look-ups cannot be set up.
    #[error("cannot set up name look-ups: {0}")]
    Dns(String),
}

fn advice(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            "; another program has this port: see `ss -ltnp`, and stop it or choose another address in `listen`"
        }
        std::io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need root, CAP_NET_BIND_SERVICE or socket activation (sealgate.socket)"
        }
        _ if error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error()) => {
            "; this host has no IPv6: leave it out of `listen`"
        }
        std::io::ErrorKind::AddrNotAvailable => "; no interface of this host has this address: see `ip address`",
        _ => "",
    }
}

/// Binds every address that is not among the sockets that were inherited: a socket for each address of each `listen`, in
/// the configuration's order, then those that nobody wants. [`Gate::start`] knows them again.
///
/// # Errors
/// When an address cannot be bound. Nothing is left open then.
pub fn bind_all(config: &Config, inherited: Vec<Socket>) -> Result<Vec<Socket>, StartError> {
    let named = config.listeners.iter().flat_map(|listener| &listener.listen).copied().map(canonical).collect();
    let mut inherited = Inherited { sockets: inherited, named };
    let mut bound = Vec::new();
    for listener in &config.listeners {
        let service = listener.service.name;
        for &address in &listener.listen {
            let socket = inherited.take_or_bind(address);
            bound.push(socket.map_err(|error| StartError::Bind { address, service, error })?);
        }
    }
    bound.append(&mut inherited.sockets);
    Ok(bound)
}

/// Leaves `[::]` out of every listener that has other addresses where this host has no IPv6 at all: it stands in the default.
pub fn leave_out_ipv6(config: &mut Config) {
    let without = |error: std::io::Error| error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error());
    if !Socket::new(Domain::IPV6, Type::STREAM, None).is_err_and(without) {
        return;
    }
    for listener in &mut config.listeners {
        only_ipv4(&mut listener.listen);
    }
}

fn only_ipv4(listen: &mut Vec<SocketAddr>) {
    if listen.iter().any(SocketAddr::is_ipv4) {
        listen.retain(|address| address.is_ipv4() || !address.ip().is_unspecified());
    }
}

/// A running gate.
pub struct Gate {
    limits: Arc<Limits>,
    listeners: Vec<Running>,
    /// One permit for each socket that takes connections.
    open: Arc<Semaphore>,
    tasks: JoinSet<()>,
    closing: Stopper,
    stop: Stopper,
    alive: mpsc::Receiver<()>,
    drain: Duration,
}

struct Running {
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
}

impl Gate {
    /// Binds every address, then opens each listener as soon as one of its backends has passed its test.
    ///
    /// # Errors
    /// When an address cannot be bound. Nothing is left open then.
    pub async fn start(
        config: Config,
        tls: tls::Server,
        log: SessionLog,
        inherited: Vec<Socket>,
    ) -> Result<Self, StartError> {
        let (closing, closing_told) = stop::channel();
        let (stop, stop_told) = stop::channel();
        let (alive, all_gone) = mpsc::channel(1);
        let now_open = Arc::new(Semaphore::new(0));
        let limits = Arc::new(Limits::new(&config.limits));
        let resolver = resolver(&config)?;

        // First all sockets, so that a taken port leaves nothing half started.
        let mut sockets = bind_all(&config, inherited)?.into_iter();
        let bound: Vec<Vec<_>> =
            config.listeners.iter().map(|listener| sockets.by_ref().take(listener.listen.len()).collect()).collect();
        for address in sockets.filter_map(|socket| local_address(&socket)) {
            tracing::warn!("systemd passed a socket for {address}, which no listener has in `listen`: it stays unused");
        }

        let room = Arc::new(room(&config, bound.iter().map(Vec::len).sum()));
        let mut tasks = JoinSet::new();
        let mut listeners = Vec::new();
        for (listener, sockets) in config.listeners.iter().zip(bound) {
            let shared = Arc::new(Shared {
                resolver: resolver.clone().filter(|_| listener.identity == ClientIdentity::Xclient),
                backends: Pool::new(&listener.backends),
                listener: listener.clone(),
                hostname: config.hostname.clone(),
                deadlines: config.deadlines,
                rules: Arc::new(Rules {
                    bare_newline: listener.bare_newline,
                    received_user: config.received_user,
                    max_errors: config.limits.errors,
                }),
                tls: tls.clone(),
                limits: limits.clone(),
                log: log.clone(),
                stop: stop_told.clone(),
            });
            let addresses = sockets.iter().filter_map(local_address).collect();
            listeners.push(Running { shared: shared.clone(), addresses });
            for (place, _) in shared.backends.members() {
                tasks.spawn(watch_backend(shared.clone(), place));
            }
            let listener = Arc::new(Listener::new(shared.clone(), room.clone()));
            for socket in sockets {
                let opening = Opening { listener: listener.clone(), shared: shared.clone(), open: now_open.clone() };
                tasks.spawn(opening.serve(socket, closing_told.clone(), alive.clone()));
            }
        }
        if let Some(rotation) = config.tls.ticket_rotation {
            tasks.spawn(async move {
                let mut tick = tokio::time::interval(rotation);
                tick.tick().await; // the first one is at once, with fresh keys
                loop {
                    tick.tick().await;
                    tls.roll_ticket_keys();
                }
            });
        }
        let reported = limits.clone();
        tasks.spawn(async move {
            let mut tick = tokio::time::interval(limits::REPORT);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tick.tick().await;
                reported.report();
            }
        });
        Ok(Self { limits, listeners, open: now_open, tasks, closing, stop, alive: all_gone, drain: config.drain })
    }

    /// Every service with the addresses that it is bound to.
    pub fn addresses(&self) -> Vec<(&'static Service, SocketAddr)> {
        self.listeners
            .iter()
            .flat_map(|running| running.addresses.iter().map(|address| (running.shared.listener.service, *address)))
            .collect()
    }

    /// Waits until every listener has opened: a backend passed the test, and its sockets accept connections.
    pub async fn all_open(&self) {
        let sockets: usize = self.listeners.iter().map(|running| running.addresses.len()).sum();
        // The semaphore is never closed, and the permits come back at once: they are counted, not used.
        let _ = self.open.acquire_many(sockets.try_into().unwrap_or(u32::MAX)).await;
    }

    /// Waits until a task of the gate's own (an accept loop, a backend's supervisor, the ticket timer) has panicked.
    /// Such a gate looks alive and serves only in part: end it and start anew.
    pub async fn broken(&mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            if ended.is_err_and(|error| error.is_panic()) {
                return;
            }
        }
        pending().await
    }

    /// Stops accepting, lets sessions finish for the configured time, then tells the rest to go.
    /// `hurry` cuts the waiting short.
    pub async fn shutdown(mut self, hurry: impl Future<Output = ()>) {
        self.closing.stop();
        let drained = tokio::select! {
            drained = timeout(self.drain, all_gone(&mut self.alive)) => drained.is_ok(),
            () = hurry => false,
        };
        if !drained {
            self.stop.stop();
            let _ = timeout(LAST_WORDS, all_gone(&mut self.alive)).await; // the rest is cut off
        }
        self.tasks.shutdown().await;
        self.limits.report();
    }
}

/// Every session and every accept loop holds a sender; when the last is dropped, the channel ends.
async fn all_gone(alive: &mut mpsc::Receiver<()>) {
    while alive.recv().await.is_some() {}
}

fn resolver(config: &Config) -> Result<Option<Resolver>, StartError> {
    if config.listeners.iter().any(|listener| listener.identity == ClientIdentity::Xclient) {
        Resolver::new(&config.dns).map(Some).map_err(|error| StartError::Dns(error.to_string()))
    } else {
        Ok(None)
    }
}

/// Room for sessions. Where that is less than the listeners' places, the administrator hears of it before clients do.
fn room(config: &Config, addresses: usize) -> Room {
    let limit = descriptors::limit();
    let room = Room::new(limit, addresses);
    let places = config.listeners.iter().fold(0, |sum: usize, one| sum.saturating_add(one.connections.get()));
    if room.sessions() < places {
        tracing::warn!(
            "max_connections of all listeners is {places}, but {limit} open files are enough for {} sessions: raise the limit \
             (LimitNOFILE= in sealgate.service, or `ulimit -Hn`) to {}, or lower max_connections",
            room.sessions(),
            descriptors::needed(places, addresses),
        );
    }
    room
}

async fn watch_backend(shared: Arc<Shared>, place: Place) {
    supervise(&shared.backends, place, &shared.listener, &shared.hostname, &shared.deadlines).await;
}

/// Sockets that the service manager opened for us (systemd's socket activation), told apart by their addresses.
struct Inherited {
    sockets: Vec<Socket>,
    /// Every address of the configuration.
    named: Vec<SocketAddr>,
}

impl Inherited {
    fn take_or_bind(&mut self, address: SocketAddr) -> std::io::Result<Socket> {
        let wanted = canonical(address);
        let fits = |has: SocketAddr| {
            let has = canonical(has);
            // Port 0 is any port that is nobody's. Those who bound it asked in the same order, so that each finds its own.
            has == wanted || (wanted.port() == 0 && has.ip() == wanted.ip() && !self.named.contains(&has))
        };
        match self.sockets.iter().position(|socket| local_address(socket).is_some_and(fits)) {
            Some(found) => Ok(self.sockets.remove(found)),
            None => bind(address),
        }
    }
}

fn local_address(socket: &Socket) -> Option<SocketAddr> {
    socket.local_addr().ok()?.as_socket()
}

/// One socket of a listener, bound and not open yet.
struct Opening {
    listener: Arc<Listener>,
    shared: Arc<Shared>,
    open: Arc<Semaphore>,
}

impl Opening {
    /// Waits until the first backend has passed its test, then accepts.
    async fn serve(self, socket: Socket, mut closing: Stop, alive: mpsc::Sender<()>) {
        let door = tokio::select! {
            door = self.listen(socket) => door,
            () = closing.told() => return,
        };
        self.open.add_permits(1);
        self.listener.serve(door, closing, alive).await;
    }

    /// From here on the socket is the accept loop's alone: the port is closed when that ends.
    async fn listen(&self, socket: Socket) -> Door {
        let opened = self.shared.backends.opened();
        if socket.is_listener().unwrap_or(false) {
            // The service manager's: clients connect already, and wait for us. Without a backend they are told so in the end.
            let _ = timeout(KEPT_WAITING, opened).await;
        } else {
            opened.await;
        }
        let mut said = false;
        loop {
            match Door::open(&socket) {
                Ok(door) => return door,
                Err(error) if !said => {
                    let service = self.shared.listener.service.name;
                    let address = local_address(&socket).map(|address| address.to_string()).unwrap_or_default();
                    tracing::error!(service, "cannot listen on {address}: {error}{}; trying again", advice(&error));
                    said = true;
                }
                Err(_) => tokio::time::sleep(LISTEN_AGAIN).await,
            }
        }
    }
}

#[cfg(test)]
mod tests;
