//! Private instances of the real servers, and the means to talk to them.
//!
//! Everything a test starts lives in one scratch directory and listens on loopback. [`warden`] ends it all when the
//! test process ends, also when that is killed.

pub mod clients;
pub mod courier;
pub mod dns;
pub mod dovecot;
pub mod fake;
pub mod gate;
pub mod logs;
pub mod mail;
pub mod pki;
pub mod ports;
pub mod postfix;
pub mod process;
pub mod stack;
pub mod wait;
pub mod warden;
pub mod wire;

use std::path::{Path, PathBuf};

use base64::Engine as _;

/// The text of a file in `config/backends/`, with the ports that the administrator would keep replaced by free ones.
pub fn shipped(file: &str, ports: &[(u16, u16)]) -> String {
    let path = repository().join("config/backends").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut lines: Vec<String> =
        text.lines().filter(|line| !line.trim_start().starts_with('#')).map(str::to_owned).collect();
    for (from, to) in ports {
        let mut found = 0;
        for line in &mut lines {
            found += line.matches(&from.to_string()).count();
            *line = line.replace(&from.to_string(), &to.to_string());
        }
        assert_eq!(found, 1, "port {from} stands once in the settings of {file}");
    }
    lines.push(String::new());
    lines.join("\n")
}

/// The repository's root.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// RFC 4648 §4, as SASL wants it.
pub fn base64(octets: impl AsRef<[u8]>) -> String {
    base64::engine::general_purpose::STANDARD.encode(octets)
}
