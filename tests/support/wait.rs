//! Waiting for events, and free ports.

use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// How long anything that should happen may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Looks until `look` sees something; panics with `what` when it does not in [`PATIENCE`].
pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, look).unwrap_or_else(|| panic!("{what}: not within {PATIENCE:?}"))
}

/// Looks until `look` sees something or the time is over.
pub fn within<T>(time: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + time;
    loop {
        if let Some(seen) = look() {
            return Some(seen);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A port that nobody listens on, below the range that the kernel hands out by itself, never given twice.
pub fn free_port() -> u16 {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 12_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Two test processes at once start in different places.
    let start = u16::try_from(std::process::id() % 1_000).expect("below 1,000") * 11;
    for _ in 0..COUNT {
        let port = FIRST + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let free = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
            && (!has_ipv6() || TcpListener::bind((Ipv6Addr::LOCALHOST, port)).is_ok());
        if free {
            return port;
        }
    }
    panic!("no free port from {FIRST} on");
}

/// Whether this host has IPv6 at all; many containers do not.
pub fn has_ipv6() -> bool {
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

/// Whether somebody listens on the TCP port, on any address; asked of the kernel, so that no server sees a connection.
pub fn is_listening(port: u16) -> bool {
    let listens = |table: &str| {
        std::fs::read_to_string(table).unwrap_or_default().lines().skip(1).any(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let local = fields.next().and_then(|address| address.rsplit_once(':'));
            local.is_some_and(|(_, hex)| u16::from_str_radix(hex, 16) == Ok(port)) && fields.nth(1) == Some("0A")
        })
    };
    listens("/proc/net/tcp") || listens("/proc/net/tcp6")
}
