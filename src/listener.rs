//! Accept and permits, nothing else. The handshake never runs here: one slow client must not hold up the next.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep};

use crate::descriptors::Room;
use crate::facts::{SessionId, canonical};
use crate::session::{self, Arrival, Shared};
use crate::stop::Stop;

/// Connections the kernel may hold for us while we are busy.
const BACKLOG: i32 = 4096;

/// How many clients may be told at once that there is no room for them; more are closed without a word.
pub(crate) const TURNED_AWAY_AT_ONCE: usize = 64;

/// When accepting fails for want of descriptors or memory, others need a moment to free some.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// While connections come in, there is a timer that is due within this time: tokio interrupts its own waiting by system
/// calls for every timer that is due before all others, and a session's are due much later than this.
const BEAT: Duration = Duration::from_secs(1);

/// Dead peers are found by keepalive: an IMAP session in IDLE is silent for half an hour by design (RFC 2177).
const KEEPALIVE: Duration = Duration::from_secs(300);

/// Binds a TCP socket without listening yet: a port that is taken shows at the start, and a port whose backend
/// was not tested refuses connections.
///
/// # Errors
/// Those of the operating system.
pub fn bind(address: SocketAddr) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?; // a restart must not wait for TIME_WAIT
    if address.is_ipv6() {
        socket.set_only_v6(true)?; // `0.0.0.0` and `[::]` side by side
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// A socket that takes connections.
#[derive(Debug)]
pub struct Door {
    socket: TcpListener,
    /// What it listens on.
    address: SocketAddr,
    /// Our address in every connection, where it is always the same.
    local: Option<SocketAddr>,
}

impl Door {
    /// Lets clients connect.
    ///
    /// # Errors
    /// Those of the operating system: somebody else may have bound the same address and was faster.
    pub fn open(socket: &Socket) -> std::io::Result<Self> {
        // Connections inherit what is set here once (tcp(7)), instead of by three system calls each.
        socket.set_tcp_nodelay(true)?; // replies are small, and the client waits for each
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
        socket.listen(BACKLOG)?;
        // A transparent socket (ip(7)) takes connections to any address, whatever it is bound to.
        let transparent = socket.ip_transparent_v4().or_else(|_| socket.ip_transparent_v6()).unwrap_or(true);
        let socket = TcpListener::from_std(socket.try_clone()?.into())?;
        let address = socket.local_addr()?;
        let local = (!address.ip().is_unspecified() && !transparent).then(|| canonical(address));
        Ok(Self { socket, address, local })
    }
}

/// The sockets of one listener and all that its sessions share.
pub struct Listener {
    shared: Arc<Shared>,
    room: Arc<Room>,
    places: Arc<Semaphore>,
    farewells: Arc<Semaphore>,
}

impl Listener {
    /// A listener with as many places as its settings say, and room that it shares with others.
    pub(crate) fn new(shared: Arc<Shared>, room: Arc<Room>) -> Self {
        let places = shared.listener.connections.get().min(Semaphore::MAX_PERMITS);
        Self {
            shared,
            room,
            places: Arc::new(Semaphore::new(places)),
            farewells: Arc::new(Semaphore::new(TURNED_AWAY_AT_ONCE)),
        }
    }

    /// Accepts until `closing` is told. Every session holds a clone of `alive`.
    pub async fn serve(&self, door: Door, mut closing: Stop, alive: mpsc::Sender<()>) {
        let listener = door.address;
        let mut closing = pin!(closing.told());
        let mut room = None;
        let mut beat = pin!(sleep(BEAT));
        let mut beats = false;
        loop {
            // Whoever comes meanwhile waits in the kernel's queue.
            if room.is_none() {
                tokio::select! {
                    biased;
                    () = closing.as_mut() => return,
                    found = self.find_room(listener) => room = found,
                }
            }
            let accepted = tokio::select! {
                biased;
                () = closing.as_mut() => return,
                accepted = door.socket.accept() => accepted,
                () = beat.as_mut(), if beats => {
                    beats = false;
                    continue;
                }
            };
            match accepted {
                Ok((stream, peer)) => {
                    if !beats {
                        beats = true;
                        beat.as_mut().reset(Instant::now() + BEAT);
                    }
                    self.admit(stream, peer, &door, (room.take(), alive.clone()));
                }
                Err(error) if is_about_one_connection(&error) => {}
                Err(error) => {
                    if self.room.falls_short() {
                        tracing::error!(%listener, "cannot accept connections: {error}; going on as soon as there is room");
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Room for the next session; at once, as long as there is some.
    async fn find_room(&self, listener: SocketAddr) -> Option<OwnedSemaphorePermit> {
        if let Some(room) = self.room.take() {
            return Some(room);
        }
        if self.room.falls_short() {
            let sessions = self.room.sessions();
            tracing::error!(
                %listener,
                "cannot accept connections: {sessions} sessions are all that the limit of open files is enough for; going on \
                 as soon as one of them ends"
            );
        }
        self.room.wait().await
    }

    /// `held` is what a session holds until its end.
    fn admit(&self, stream: TcpStream, peer: SocketAddr, door: &Door, held: impl Send + 'static) {
        let Ok(arrival) = arrival(stream, peer, door) else { return }; // gone already
        let shared = self.shared.clone();
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            tokio::spawn(session::run(shared, arrival, (place, held)));
        } else if let Ok(place) = self.farewells.clone().try_acquire_owned() {
            tokio::spawn(async move {
                session::turn_away(shared, arrival).await;
                drop((place, held));
            });
        } else {
            session::drop_unheard(&shared, &arrival);
        }
    }
}

fn arrival(stream: TcpStream, peer: SocketAddr, door: &Door) -> std::io::Result<Arrival> {
    let local = match door.local {
        Some(local) => local,
        None => canonical(stream.local_addr()?),
    };
    Ok(Arrival { stream, peer: canonical(peer), local, listener: door.address, session: next_session() })
}

/// Errors of `accept` that say something of the connection, not of us (accept(2)).
fn is_about_one_connection(error: &std::io::Error) -> bool {
    use ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted, TimedOut};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted | TimedOut)
}

/// Session identifiers count up from the microsecond of the start: unique on a host, over restarts, too, as long
/// as there are fewer than a million sessions a second.
fn next_session() -> SessionId {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    if NEXT.load(Ordering::Relaxed) == 0 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let start = u64::try_from(now.as_micros()).unwrap_or(1);
        let _ = NEXT.compare_exchange(0, start, Ordering::Relaxed, Ordering::Relaxed); // one start wins
    }
    SessionId::counted(NEXT.fetch_add(1, Ordering::Relaxed))
}

#[cfg(test)]
mod tests;
