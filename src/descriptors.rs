//! File descriptors: as many as the system allows, and never more sessions than those are enough for.
//!
//! A session takes a second descriptor when it reaches its backend. If clients that have not come that far could take all
//! of them, everybody would be let in and nobody served; so a place is taken for both before a connection is accepted.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// What a session holds: the client's socket and the backend's.
const EACH: usize = 2;

/// What the process holds whatever happens: standard streams, event queues, signals, the log, name look-ups under way.
const RESERVED: usize = 32;

/// And for each address that it listens on: the socket, and a connection that tests the backend.
const EACH_ADDRESS: usize = 2;

/// A shortage is news again when there was none for so long.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// Raises the soft limit of open files to the hard one: what the administrator allows is meant to be used. Sealgate does not
/// use select(2), for which the soft limit is kept low elsewhere.
///
/// # Errors
/// Those of setrlimit(2).
pub fn raise() -> io::Result<()> {
    let allowed = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: allowed.maximum, maximum: allowed.maximum })?)
}

/// How many files the process may have open.
pub fn limit() -> usize {
    getrlimit(Resource::Nofile).current.and_then(|limit| limit.try_into().ok()).unwrap_or(usize::MAX)
}

/// Whether this error says that we are out of descriptors, ports or buffers: nothing of whom we wanted to reach.
pub fn is_shortage(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let own = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::ADDRNOTAVAIL];
    error.raw_os_error().is_some_and(|number| own.iter().any(|errno| errno.raw_os_error() == number))
}

/// The room for sessions, whichever listener they come to.
pub(crate) struct Room {
    free: Arc<Semaphore>,
    /// How many that is when nobody is there.
    sessions: usize,
    /// When there was last too little of anything to accept a connection.
    short: Mutex<Option<Instant>>,
}

impl Room {
    /// Room for as many sessions as `limit` descriptors are enough for, with so many addresses to listen on; at least for one
    /// more than those: each accept loop holds the room for its next session while it waits for a client.
    pub(crate) fn new(limit: usize, addresses: usize) -> Self {
        let sessions =
            (limit.saturating_sub(fixed(addresses)) / EACH).clamp(addresses.saturating_add(1), Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(sessions)), sessions, short: Mutex::default() }
    }

    /// For how many sessions there is room in all.
    pub(crate) fn sessions(&self) -> usize {
        self.sessions
    }

    /// Room for one session, if there is some.
    pub(crate) fn take(&self) -> Option<OwnedSemaphorePermit> {
        self.free.clone().try_acquire_owned().ok()
    }

    /// Waits for room. Listeners get it in the order in which they came to wait, so that none starves another.
    pub(crate) async fn wait(&self) -> Option<OwnedSemaphorePermit> {
        self.free.clone().acquire_owned().await.ok()
    }

    /// Something is short. Whether that is news.
    pub(crate) fn falls_short(&self) -> bool {
        let now = Instant::now();
        let before = self.short.lock().unwrap_or_else(PoisonError::into_inner).replace(now);
        before.is_none_or(|before| now.duration_since(before) >= FORGOTTEN)
    }
}

fn fixed(addresses: usize) -> usize {
    RESERVED.saturating_add(EACH_ADDRESS.saturating_mul(addresses))
}

/// How many descriptors it takes to serve so many sessions.
pub(crate) fn needed(sessions: usize, addresses: usize) -> usize {
    sessions.saturating_mul(EACH).saturating_add(fixed(addresses))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_session_has_room_for_its_backend_too() {
        for (limit, addresses, sessions) in [(64, 4, 12), (20_000, 10, 9_974), (0, 1, 2), (64, 10, 11)] {
            let room = Room::new(limit, addresses);
            let held: Vec<_> = std::iter::from_fn(|| room.take()).collect();
            assert_eq!(held.len(), sessions, "{limit} descriptors, {addresses} addresses");
        }
        assert!(Room::new(usize::MAX, 1).take().is_some());
        assert_eq!(needed(12, 4), 64);
        assert_eq!(needed(usize::MAX, 1), usize::MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn a_shortage_is_news_once() {
        let room = Room::new(64, 1);
        assert!(room.falls_short());
        for _ in 0..5 {
            tokio::time::advance(FORGOTTEN / 2).await;
            assert!(!room.falls_short(), "it goes on");
        }
        tokio::time::advance(FORGOTTEN).await;
        assert!(room.falls_short());
    }

    #[test]
    fn what_is_short_is_told_from_what_is_gone() {
        for (number, short) in [(24, true), (23, true), (105, true), (12, true), (99, true), (111, false), (2, false)] {
            assert_eq!(is_shortage(&io::Error::from_raw_os_error(number)), short, "{number}");
        }
        assert!(!is_shortage(&io::ErrorKind::ConnectionRefused.into()));
    }
}
