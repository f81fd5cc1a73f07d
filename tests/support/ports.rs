//! TCP ports: which are free, and who listens.
//!
//! Both are read from the kernel's table. To bind a port would tell as much, but a process that another thread starts just then holds
//! the socket until it executes its program, and whoever gets the port next would find it in use.

use std::net::{Ipv6Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// A port that nobody listens on, below the range that the kernel hands out by itself, never given twice.
pub fn free_port() -> u16 {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 12_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Two test processes at once start in different places.
    let start = u16::try_from(std::process::id() % 1_000).expect("below 1,000") * 11;
    (0..COUNT)
        .map(|_| FIRST + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT)
        .find(|port| !is_listening(*port))
        .unwrap_or_else(|| panic!("no free port from {FIRST} on"))
}

/// Whether this host has IPv6 at all; many containers do not.
pub fn has_ipv6() -> bool {
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

/// Whether somebody listens on the TCP port, on any address.
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
