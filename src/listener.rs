//! Accept and permits, nothing else. The handshake never runs here: one slow client must not hold up the next.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};

use crate::facts::{SessionId, canonical};
use crate::session::{self, Arrival, Shared};
use crate::stop::Stop;

/// Connections the kernel may hold for us while we are busy.
const BACKLOG: i32 = 4096;

/// How many clients may be told at once that there is no room for them; more are closed without a word.
const TURNED_AWAY_AT_ONCE: usize = 64;

/// When accepting fails for want of descriptors or memory, others need a moment to free some.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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

/// Lets clients connect.
///
/// # Errors
/// Those of the operating system: somebody else may have bound the same address and was faster.
pub fn open(socket: &Socket) -> std::io::Result<(TcpListener, SocketAddr)> {
    socket.listen(BACKLOG)?;
    let socket = TcpListener::from_std(socket.try_clone()?.into())?;
    let address = socket.local_addr()?;
    Ok((socket, address))
}

/// The sockets of one listener and all that its sessions share.
pub struct Listener {
    shared: Arc<Shared>,
    places: Arc<Semaphore>,
    farewells: Arc<Semaphore>,
}

impl Listener {
    /// A listener with as many places as its settings say.
    pub fn new(shared: Arc<Shared>) -> Self {
        let places = shared.listener.connections.get().min(Semaphore::MAX_PERMITS);
        Self {
            shared,
            places: Arc::new(Semaphore::new(places)),
            farewells: Arc::new(Semaphore::new(TURNED_AWAY_AT_ONCE)),
        }
    }

    /// Accepts until `closing` is told. Every session holds a clone of `alive`.
    pub async fn serve(&self, socket: TcpListener, listener: SocketAddr, mut closing: Stop, alive: mpsc::Sender<()>) {
        let mut out_of_resources = false;
        loop {
            let accepted = tokio::select! {
                biased;
                () = closing.told() => return,
                accepted = socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    out_of_resources = false;
                    self.admit(stream, peer, listener, alive.clone());
                }
                Err(error) if is_about_one_connection(&error) => {}
                Err(error) => {
                    if !out_of_resources {
                        tracing::error!(%listener, "cannot accept connections: {error}; going on as soon as there is room");
                    }
                    out_of_resources = true;
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr, listener: SocketAddr, alive: mpsc::Sender<()>) {
        let Ok(arrival) = prepare(stream, peer, listener) else { return }; // gone already
        let shared = self.shared.clone();
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            tokio::spawn(async move {
                session::run(shared, arrival).await;
                drop((place, alive));
            });
        } else if let Ok(place) = self.farewells.clone().try_acquire_owned() {
            tokio::spawn(async move {
                session::turn_away(shared, arrival).await;
                drop((place, alive));
            });
        } else {
            session::drop_unheard(&shared, &arrival);
        }
    }
}

fn prepare(stream: TcpStream, peer: SocketAddr, listener: SocketAddr) -> std::io::Result<Arrival> {
    stream.set_nodelay(true)?; // replies are small, and the client waits for each
    SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
    let local = canonical(stream.local_addr()?);
    Ok(Arrival { stream, peer: canonical(peer), local, listener, session: next_session() })
}

/// Errors of `accept` that say something of the connection, not of us (accept(2)).
fn is_about_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted, TimedOut};
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
    SessionId::new(&base36(NEXT.fetch_add(1, Ordering::Relaxed)))
}

fn base36(mut n: u64) -> String {
    let mut digits = Vec::new();
    while n > 0 {
        let digit = u32::try_from(n % 36).unwrap_or(0);
        digits.push(char::from_digit(digit, 36).unwrap_or('0').to_ascii_uppercase());
        n /= 36;
    }
    digits.iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_identifiers_differ() {
        let (one, two) = (next_session(), next_session());
        assert_ne!(one, two);
        assert!(one.as_str().len() >= 8 && !one.as_str().contains('?'), "{one}");
    }

    #[test]
    fn base36_counts_with_digits_and_capitals() {
        assert_eq!(base36(35), "Z");
        assert_eq!(base36(36), "10");
        assert_eq!(base36(36 * 36 * 36 - 1), "ZZZ");
    }

    #[test]
    fn ipv6_and_ipv4_wildcards_stand_side_by_side() {
        let v6 = bind("[::]:0".parse().unwrap()).unwrap();
        let port = v6.local_addr().unwrap().as_socket().unwrap().port();
        bind(SocketAddr::from(([0, 0, 0, 0], port))).unwrap();
    }
}
