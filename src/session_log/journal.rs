//! systemd's journal, by its native protocol (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>).
//!
//! Not by `tracing-journald`: it sends from the thread that logs and waits there for a full socket, and
//! its events have a fixed set of fields. Here the one writer thread sends, as to every other target.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::fields::Value;
use super::render::Line;
use super::text;

/// Where journald listens.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";

/// Syslog's facility "mail" (RFC 5424 §6.2.1), as Postfix and Dovecot use.
const FACILITY_MAIL: u8 = 2;

/// How long a journal that does not read may hold up the writer, a line.
const PATIENCE: Duration = Duration::from_secs(1);

/// A socket to the journal.
#[derive(Debug)]
pub(super) struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Journal {
    pub fn connect(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let journal = Self { socket, path: path.to_owned() };
        // journald ignores an empty datagram, but only where it listens can one be sent.
        journal.send(&[]).map_err(|error| {
            let path = path.display();
            io::Error::new(error.kind(), format!("no journal at {path}: {error}; set log.to to a file or to stderr"))
        })?;
        Ok(journal)
    }

    /// One datagram an entry, to the path each time: a restarted journald has a new socket there.
    pub fn send(&self, entry: &[u8]) -> io::Result<()> {
        self.socket.send_to(entry, &self.path).map(|_| ())
    }
}

/// The entry's fields: the journal's own, and every key of the record as `SEALGATE_…`.
pub(super) fn datagram(line: &Line, priority: u8, pid: u32, fields: &[(&'static str, Value<'_>)]) -> Vec<u8> {
    let mut entry = Vec::with_capacity(1024);
    put(&mut entry, "MESSAGE", &line.text);
    put(&mut entry, "PRIORITY", &priority.to_string());
    put(&mut entry, "SYSLOG_FACILITY", &FACILITY_MAIL.to_string());
    put(&mut entry, "SYSLOG_IDENTIFIER", &line.tag);
    if line.pid {
        put(&mut entry, "SYSLOG_PID", &pid.to_string());
    }
    for (key, value) in fields {
        let value = match value {
            Value::Word(word) => (*word).to_owned(),
            Value::Text(text) => text.to_string(),
            Value::Number(number) => number.to_string(),
            Value::Address(address) => address.to_string(),
            Value::Ip(ip) => ip.to_string(),
            Value::Flag(flag) => text::flag(*flag).to_owned(),
            Value::List(list) => list.join(","),
        };
        put(&mut entry, &field_name(key), &value);
    }
    entry
}

/// The journal takes upper-case letters, digits and underscores only, and drops other fields.
fn field_name(key: &str) -> String {
    let key = key.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' });
    "SEALGATE_".chars().chain(key).collect()
}

/// `NAME=value` and a newline; values hold none, they have been made printable.
fn put(entry: &mut Vec<u8>, name: &str, value: &str) {
    entry.extend_from_slice(name.as_bytes());
    entry.push(b'=');
    entry.extend(value.bytes().map(|octet| if octet == b'\n' { b'?' } else { octet }));
    entry.push(b'\n');
}
