//! What mail logs say about TLS: counted by version, cipher, group and service, who failed, who would be locked out.
//!
//! ```text
//!  log files ──▶ line (date, tag) ──▶ ours | postfix | dovecot ──▶ Sighting ──▶ Report ──▶ Summary ──▶ tables, JSON
//! ```
//!
//! Everything is read once and in bounded memory: logs are large, and strangers write part of them.

mod cipher;
mod compressed;
mod dovecot;
mod line;
mod ours;
mod postfix;
mod summary;
mod table;
mod tally;

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, BufRead};
use std::net::IpAddr;

use jiff::Zoned;
use memchr::memmem::Finder;

use cipher::KeyExchange;
use line::Line;
use tally::Tally;

pub use summary::Summary;

/// A line is cut here: what follows names nothing that is counted.
const LINE_LIMIT: usize = 64 * 1024;
/// The most names of versions, ciphers, groups, services and reasons, each.
const NAMES: usize = 1_000;
/// The most clients that are told apart, for the lists of who would be locked out.
const CLIENTS: usize = 100_000;
/// The most clients that are told apart, a reason.
const CLIENTS_PER_REASON: usize = 2_000;

/// Stands for what a log does not say.
const NOT_LOGGED: &str = "not logged";

/// What one line of a log tells.
#[derive(Debug, PartialEq, Eq)]
enum Sighting<'a> {
    /// A TLS session came to be.
    Secured {
        service: Cow<'a, str>,
        client: Option<IpAddr>,
        /// None where the log has only the word "TLS".
        version: Option<Cow<'a, str>>,
        cipher: Option<Cow<'a, str>>,
        group: Option<Cow<'a, str>>,
    },
    /// A session went on in plaintext.
    Plaintext { service: Cow<'a, str> },
    /// Somebody logged in through a proxy that told of TLS, and whose log has that session, or from the server's own host.
    Proxied,
    /// A session or its handshake failed.
    Failed { client: Option<IpAddr>, reason: Cow<'a, str> },
    /// A handshake failed, and a later line of the same process may say why.
    FailedSoFar { process: &'a str, client: Option<IpAddr> },
    /// Why that was.
    Because { process: &'a str, reason: Cow<'a, str> },
    /// A connection that the server itself opened.
    Outgoing,
    /// Looks like one of ours, and is not.
    Broken,
}

/// Counts what logs say; feed it with [`Report::read`], then ask for the [`Summary`].
#[derive(Debug)]
pub struct Report {
    now: Zoned,
    needles: [Finder<'static>; 4],
    lines: u64,
    relevant: u64,
    broken: u64,
    outgoing: u64,
    plaintext: u64,
    proxied: u64,
    secured: u64,
    first: Option<i64>,
    last: Option<i64>,
    versions: Tally<String>,
    ciphers: Tally<String>,
    groups: Tally<String>,
    services: Tally<String>,
    exchanges: HashMap<KeyExchange, u64>,
    post_quantum: Known,
    failures: HashMap<String, Failure>,
    failures_of_other_reasons: u64,
    /// Postfix names the client on one line and the reason on the next.
    pending: HashMap<String, Option<IpAddr>>,
    clients: HashMap<IpAddr, Client>,
    sessions_of_other_clients: u64,
}

/// Yes, no, or the log does not say.
#[derive(Debug, Default, Clone, Copy)]
struct Known {
    yes: u64,
    no: u64,
    unknown: u64,
}

/// How often something failed, and for whom.
#[derive(Debug)]
struct Failure {
    count: u64,
    clients: Tally<IpAddr>,
}

/// What a client was seen with.
#[derive(Debug, Default, Clone)]
struct Client {
    sessions: u64,
    /// With less than `policy = "modern"` takes.
    not_modern: Seen,
    /// With less than the default policy takes.
    not_intermediate: Seen,
}

#[derive(Debug, Default, Clone, Copy)]
struct Seen {
    count: u64,
    last: Option<i64>,
}

impl Seen {
    fn see(&mut self, time: Option<i64>) {
        self.count += 1;
        self.last = self.last.max(time);
    }
}

impl Report {
    /// An empty report. `now` tells which year the dates mean that have none.
    pub fn new(now: Zoned) -> Self {
        Self {
            now,
            // Every line that matters has one of these; most lines of a mail log have none.
            needles: ["TLS", "SSL_accept", "-login: ", "event"].map(Finder::new),
            lines: 0,
            relevant: 0,
            broken: 0,
            outgoing: 0,
            plaintext: 0,
            proxied: 0,
            secured: 0,
            first: None,
            last: None,
            versions: Tally::new(NAMES),
            ciphers: Tally::new(NAMES),
            groups: Tally::new(NAMES),
            services: Tally::new(NAMES),
            exchanges: HashMap::new(),
            post_quantum: Known::default(),
            failures: HashMap::new(),
            failures_of_other_reasons: 0,
            pending: HashMap::new(),
            clients: HashMap::new(),
            sessions_of_other_clients: 0,
        }
    }

    /// Counts a log to its end. Lines that say nothing about TLS cost little.
    ///
    /// # Errors
    /// The input cannot be read, or is compressed.
    pub fn read(&mut self, mut input: impl BufRead) -> io::Result<()> {
        let mut line = Vec::with_capacity(1024);
        let mut is_first = true;
        loop {
            line.clear();
            if !read_line(&mut input, &mut line)? {
                return Ok(());
            }
            // Of the line, not of one read: a pipe may give a magic number by halves.
            if let Some(tool) = std::mem::take(&mut is_first).then(|| compressed::tool(&line)).flatten() {
                let advice = format!("it is compressed; pipe it in: {tool} … | sealgate report -");
                return Err(io::Error::new(io::ErrorKind::InvalidData, advice));
            }
            self.lines += 1;
            if self.needles.iter().any(|needle| needle.find(&line).is_some()) {
                self.line(&String::from_utf8_lossy(&line));
            }
        }
    }

    /// Everything counted so far.
    pub fn summary(mut self) -> Summary {
        let pending: Vec<_> = std::mem::take(&mut self.pending).into_values().collect();
        for client in pending {
            self.failed(client, NOT_LOGGED);
        }
        Summary::of(&self)
    }

    fn line(&mut self, text: &str) {
        let line = Line::parse(text, &self.now);
        let Some(sighting) =
            ours::sighting(&line).or_else(|| postfix::sighting(&line)).or_else(|| dovecot::sighting(&line))
        else {
            return;
        };
        if sighting == Sighting::Broken {
            self.broken += 1;
            return;
        }
        self.relevant += 1;
        let time = line.time.or_else(|| ours::time(&line));
        if let Some(time) = time {
            self.first = Some(self.first.map_or(time, |first| first.min(time)));
            self.last = self.last.max(Some(time));
        }
        match sighting {
            Sighting::Secured { service, client, version, cipher, group } => {
                self.secured(&service, client, version.as_deref(), cipher.as_deref(), group.as_deref(), time);
            }
            Sighting::Plaintext { service } => {
                self.plaintext += 1;
                self.services.count(shown(&service).as_ref());
            }
            Sighting::Proxied => self.proxied += 1,
            Sighting::Failed { client, reason } => self.failed(client, &reason),
            Sighting::FailedSoFar { process, client } => {
                if self.pending.len() >= NAMES {
                    self.failed(client, NOT_LOGGED);
                } else if let Some(earlier) = self.pending.insert(process.to_owned(), client) {
                    self.failed(earlier, NOT_LOGGED);
                }
            }
            Sighting::Because { process, reason } => {
                if let Some(client) = self.pending.remove(process) {
                    self.failed(client, &reason);
                }
            }
            Sighting::Outgoing => self.outgoing += 1,
            Sighting::Broken => {}
        }
    }

    fn secured(
        &mut self,
        service: &str,
        client: Option<IpAddr>,
        version: Option<&str>,
        cipher: Option<&str>,
        group: Option<&str>,
        time: Option<i64>,
    ) {
        self.secured += 1;
        let (version, cipher) = (version.map(shown), cipher.map(shown));
        let (version, cipher) = (version.as_deref(), cipher.as_deref());
        let group = group.map(shown);
        self.services.count(shown(service).as_ref());
        self.versions.count(version.unwrap_or(NOT_LOGGED));
        self.ciphers.count(cipher.unwrap_or(NOT_LOGGED));
        let group = group.as_deref().map(cipher::iana_group);
        self.groups.count(group.as_deref().unwrap_or(NOT_LOGGED));
        *self.exchanges.entry(cipher.map_or(KeyExchange::Unknown, KeyExchange::of)).or_default() += 1;
        match (version, group.as_deref()) {
            (_, Some(group)) if cipher::is_post_quantum(group) => self.post_quantum.yes += 1,
            // Hybrid groups exist for TLS 1.3 alone.
            (_, Some(_)) => self.post_quantum.no += 1,
            (Some(version), None) if version != "TLSv1.3" => self.post_quantum.no += 1,
            (_, None) => self.post_quantum.unknown += 1,
        }
        let (Some(client), Some(version)) = (client, version) else { return };
        if self.clients.len() >= CLIENTS && !self.clients.contains_key(&client) {
            self.sessions_of_other_clients += 1;
            return;
        }
        let client = self.clients.entry(client).or_default();
        client.sessions += 1;
        if !cipher::is_modern(version) {
            client.not_modern.see(time);
        }
        if !cipher::is_intermediate(version, cipher.unwrap_or_default()) {
            client.not_intermediate.see(time);
        }
    }

    fn failed(&mut self, client: Option<IpAddr>, reason: &str) {
        let reason = &*shown(reason);
        // Those who are locked out have their place whatever else fails: their reasons are few.
        let has_place = self.failures.contains_key(reason) || cipher::is_nothing_in_common(reason);
        if self.failures.len() >= NAMES && !has_place {
            self.failures_of_other_reasons += 1;
            return;
        }
        let failure = self
            .failures
            .entry(reason.to_owned())
            .or_insert_with(|| Failure { count: 0, clients: Tally::new(CLIENTS_PER_REASON) });
        failure.count += 1;
        if let Some(client) = client {
            failure.clients.count(&client);
        }
    }
}

/// A name as it may stand on a terminal: `?` for controls and for whatever outside ASCII is no letter or digit, such as what turns
/// text around. Logs of other programs hold what strangers said, and JSON holds it in an escaped form.
fn shown(name: &str) -> Cow<'_, str> {
    let plain = |c: char| if c.is_ascii() { c == ' ' || c.is_ascii_graphic() } else { c.is_alphanumeric() };
    if name.chars().all(plain) {
        return Cow::Borrowed(name);
    }
    Cow::Owned(name.chars().map(|c| if plain(c) { c } else { '?' }).collect())
}

/// Reads a line without its end, the part over [`LINE_LIMIT`] dropped. False at the end of the input.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    let mut any = false;
    loop {
        let buffer = match input.fill_buf() {
            Ok(buffer) => buffer,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if buffer.is_empty() {
            return Ok(any);
        }
        any = true;
        let end = memchr::memchr(b'\n', buffer);
        let part = buffer.get(..end.unwrap_or(buffer.len())).unwrap_or_default();
        let room = LINE_LIMIT.saturating_sub(line.len()).min(part.len());
        line.extend_from_slice(part.get(..room).unwrap_or_default());
        let used = part.len() + usize::from(end.is_some());
        input.consume(used);
        if end.is_some() {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests;
