//! The Postfix and Dovecot that the gate is for, of the versions that no distribution has any more: each with the lines of
//! `config/backends/` as they are shipped, seen through the gate and by `sealgate check`.
//!
//! They are built from their own sources, which are not here (`tests/old_servers/build`), so these tests run by hand:
//! `SEALGATE_OLD_SERVERS=DIR cargo test --test old_servers -- --ignored`, where DIR has `postfix-2.3.19`, `dovecot-1.1` and so on.
#![cfg(test)]

#[path = "../support/mod.rs"]
#[allow(dead_code)] // other tests use the rest
mod support;

mod dovecot;
mod model;
mod postfix;

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use crate::support::gate::Setup;

/// The client: another of this host's addresses than the gate's, so that a server that was not told would show it.
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// An installed server.
struct Old {
    directory: PathBuf,
    /// Major, minor and the rest.
    version: Vec<u32>,
}

/// All that are there of that name, the oldest first.
fn installed(name: &str) -> Vec<Old> {
    let all = std::env::var_os("SEALGATE_OLD_SERVERS")
        .expect("SEALGATE_OLD_SERVERS names a directory (see the top of this file)");
    let entries = std::fs::read_dir(all).expect("SEALGATE_OLD_SERVERS is a directory");
    let mut found: Vec<Old> = entries
        .filter_map(|entry| {
            let directory = entry.expect("an entry").path();
            let version = directory.file_name()?.to_str()?.strip_prefix(name)?.strip_prefix('-')?;
            let version = version.split('.').map(|part| part.parse().unwrap_or(0)).collect();
            Some(Old { directory, version })
        })
        .collect();
    assert!(!found.is_empty(), "SEALGATE_OLD_SERVERS has a {name}-VERSION");
    found.sort_by(|one, other| one.version.cmp(&other.version));
    found
}

/// The administrator's own question: is everything as it should be?
fn check(setup: Setup) {
    let said = String::from_utf8_lossy(&setup.check(&[]).stdout).into_owned();
    assert!(said.contains("ok    backend"), "{said}");
    // That the tests' certificates are signed by themselves is known.
    let trouble = said.lines().find(|line| ["fail ", "warn  backend"].iter().any(|word| line.starts_with(word)));
    assert_eq!(trouble, None, "{said}");
}
