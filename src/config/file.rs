//! The configuration as written: every mistake collected, each with its line, column and what to do.
//!
//! This file is the reference in code: one line a key, with its default. `reader` knows how tables are
//! read and mistakes collected, `values` how each kind of value is written, `rules` what must hold between keys.

mod reader;
mod rules;
mod values;

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use ipnet::IpNet;
use toml::Spanned;
use toml::de::DeTable;

use super::errors::{Errors, Mistake};
use super::{
    BackendAddr, CertificateFiles, ClientCertificates, ClientIdentity, Config, Deadlines, Dns, Limits, Listener, Log,
    LogFormat, LogProgram, LogTarget, Policy, Tls,
};
use crate::protocol::{BareNewline, Service};
use reader::{Notes, Table};
use values::{AskClients, Backends, Hostname, Most, Resolvers, Workers};

/// More than any configuration needs, and little enough to read.
const LARGEST_FILE: u64 = 1024 * 1024;

impl Config {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// The file cannot be read, or there are mistakes in it: all of them, as far as they can be seen at once.
    pub fn load(path: &Path) -> Result<Self, Errors> {
        Self::load_with_text(path).map(|(config, _)| config)
    }

    /// The same, and gives the text: for a process that may not read the file.
    ///
    /// # Errors
    /// As for [`Config::load`].
    pub fn load_with_text(path: &Path) -> Result<(Self, String), Errors> {
        let refused = |what: String, advice: &str| {
            Errors::new(path, "", vec![Mistake { what, advice: advice.to_owned(), span: None }])
        };
        let mut octets = Vec::new();
        File::open(path).and_then(|file| file.take(LARGEST_FILE + 1).read_to_end(&mut octets)).map_err(|error| {
            let (why, advice) = unreadable(&error);
            refused(format!("cannot read the configuration: {why}"), advice)
        })?;
        if octets.len() as u64 > LARGEST_FILE {
            return Err(refused("the file is larger than 1 MiB".to_owned(), "this is not a configuration of Sealgate"));
        }
        let text = String::from_utf8(octets).map_err(|error| {
            let line =
                error.as_bytes().iter().take(error.utf8_error().valid_up_to()).filter(|o| **o == b'\n').count() + 1;
            refused(format!("line {line} is not UTF-8"), "save the file in UTF-8; TOML has no other encoding")
        })?;
        Ok((Self::parse(&text, path)?, text))
    }

    /// Reads the text of a configuration; `path` is for messages, and relative paths in the text start in its directory.
    ///
    /// # Errors
    /// As for [`Config::load`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, Errors> {
        let notes = Notes::default();
        let (root, syntax) = DeTable::parse_recoverable(text);
        let directory = path.parent().unwrap_or(Path::new(""));
        let config = Table::read_root(root.get_ref(), &notes, |top| config(top, directory));
        match config {
            Some(config) if syntax.is_empty() && notes.is_empty() => Ok(config),
            _ => {
                let mut mistakes = notes.into_mistakes(!syntax.is_empty());
                mistakes.extend(syntax.into_iter().map(|error| Mistake {
                    what: format!("this is not TOML: {}", error.message()),
                    advice: if error.message() == "duplicate key" { "keep one of them" } else { "" }.to_owned(),
                    span: error.span(),
                }));
                Err(Errors::new(path, text, mistakes))
            }
        }
    }
}

/// Why a configuration cannot be read, and what to do about it.
fn unreadable(error: &io::Error) -> (String, &'static str) {
    match error.kind() {
        // Of the file, or of a directory on the way to it: the system does not say which.
        ErrorKind::PermissionDenied => (error.to_string(), "the user that starts sealgate needs read access"),
        ErrorKind::IsADirectory => ("it is a directory".to_owned(), "name the file in it with --config FILE"),
        _ => (error.to_string(), "name the file with --config FILE"),
    }
}

fn config(top: &mut Table<'_>, directory: &Path) -> Option<Config> {
    let hostname: Option<Hostname> =
        top.required("hostname", "write the public name of this mail server: hostname = \"mail.example.com\"");
    let drain = top.or("drain", seconds(30));
    let Workers(workers) = top.or("workers", Workers(None));
    let user = top.optional("user");
    let dns = dns(top);
    let tls = top.table("tls", |tls| self::tls(tls, directory));
    let log = top.table("log", log);
    let received_user = top.table("received", |received| received.or("user", false));
    let limits = top.table("limits", limits);
    let deadlines = top.table("deadlines", deadlines);
    let listeners = top.tables("listener", "add at least one, with its service, backend and client_identity", listener);
    rules::between_listeners(top, &listeners);
    Some(Config {
        hostname: hostname?.0,
        drain,
        dns,
        workers: workers.or_else(|| thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN),
        user,
        tls: tls?,
        log,
        received_user,
        limits,
        deadlines,
        listeners: listeners.into_iter().map(|read| read.listener).collect::<Option<_>>()?,
    })
}

fn dns(top: &mut Table<'_>) -> Dns {
    let Resolvers(servers) = top.or("dns", Resolvers(Vec::new()));
    Dns { servers, deadline: top.or("dns_deadline", seconds(5)), cache: top.or("dns_cache", number(10_000)) }
}

fn tls(tls: &mut Table<'_>, directory: &Path) -> Option<Tls> {
    let policy = tls.or("policy", Policy::Intermediate);
    let certificates = tls.tables(
        "certificate",
        "add at least one, with `chain` and `key`: the paths of two PEM files",
        |certificate| {
            let chain =
                certificate.required("chain", "add the PEM file of the chain, the server's own certificate first");
            let key = certificate.required("key", "add the PEM file of the private key");
            Some(CertificateFiles { chain: within(directory, chain?), key: within(directory, key?) })
        },
    );
    let ask = tls.optional("client_certificates");
    let ca = tls.optional("client_ca").map(|ca| within(directory, ca));
    let tickets = tls.or("tickets", true);
    let ticket_rotation = tls.or("ticket_rotation", seconds(3600));
    rules::tls(tls, ask, tickets, ticket_rotation);
    Some(Tls {
        policy,
        certificates: certificates.into_iter().collect::<Option<_>>()?,
        client_certificates: match ask.unwrap_or(AskClients::None) {
            AskClients::None => ClientCertificates::None,
            AskClients::Request => ClientCertificates::Request { ca: ca? },
            AskClients::Require => ClientCertificates::Require { ca: ca? },
        },
        ticket_rotation: tickets.then_some(ticket_rotation),
    })
}

fn log(log: &mut Table<'_>) -> Log {
    Log {
        format: log.or("format", LogFormat::Text),
        to: log.or("to", LogTarget::Stderr),
        program: log.or("program", LogProgram::Sealgate),
    }
}

fn limits(limits: &mut Table<'_>) -> Limits {
    Limits {
        connections_per_address: limits.or("connections_per_address", number(500)),
        xclient_connections_per_address: limits.or("xclient_connections_per_address", number(50)),
        sessions_per_minute: limits.or("sessions_per_minute", Most::new(1000)).0,
        failed_handshakes_per_minute: limits.or("failed_handshakes_per_minute", Most::new(60)).0,
        failed_logins_per_minute: limits.or("failed_logins_per_minute", Most::new(20)).0,
        exempt: limits.or("exempt", loopback_networks()),
        errors: limits.or("errors", NonZeroU32::MIN.saturating_add(19)).get(),
    }
}

fn deadlines(deadlines: &mut Table<'_>) -> Deadlines {
    Deadlines {
        proxy_header: deadlines.or("proxy_header", seconds(5)),
        handshake: deadlines.or("handshake", seconds(10)),
        connect: deadlines.or("connect", seconds(10)),
        greeting: deadlines.or("greeting", seconds(300)), // RFC 5321 §4.5.3.2.1
        login: deadlines.or("login", seconds(60)),
        command: deadlines.or("command", seconds(300)), // RFC 5321 §4.5.3.2.7
        body: deadlines.or("body", seconds(180)),       // RFC 5321 §4.5.3.2.5
        body_rate: deadlines.or("body_rate", Most::new(256)).0,
        reply: deadlines.or("reply", seconds(300)), // RFC 5321 §4.5.3.2.2 and .3
        delivery: deadlines.or("delivery", seconds(600)), // RFC 5321 §4.5.3.2.6
    }
}

/// A listener with the places of what other listeners may contradict.
struct Written {
    listen: Vec<Spanned<SocketAddr>>,
    backends: Vec<Spanned<BackendAddr>>,
    /// None when something in it is wrong.
    listener: Option<Listener>,
}

fn listener(listener: &mut Table<'_>) -> Written {
    let service: Option<&'static Service> = listener
        .required("service", "say what it serves: \"smtp\", \"submission\", \"submissions\", \"imap\" or \"imaps\"");
    let mut listen = listener.optional("listen");
    if !listener.has("listen") {
        listen = service.map(|service| everywhere(service, listener));
    }
    let backends: Option<Backends> =
        listener.required("backend", "say where the plaintext goes: \"127.0.0.1:10025\" or \"unix:/path\"");
    let identity: Option<ClientIdentity> = listener.required("client_identity", rules::CHOOSE_IDENTITY);
    let relay_as_proxy = listener.or("allow_relay_as_proxy", false);
    let remote_plaintext = listener.or("allow_remote_plaintext", false);
    let accept_proxy_from: Vec<IpNet> = listener.or("accept_proxy_from", Vec::new());
    let connections = listener.or("max_connections", number(10_000));
    let bare_newline = listener.or("bare_newline", BareNewline::Normalize);

    rules::listen(listener, listen.as_deref());
    rules::backends(listener, backends.as_ref().map(|Backends(list)| list.as_slice()), remote_plaintext);
    rules::identity(listener, service, identity, relay_as_proxy);
    rules::proxies(listener, &accept_proxy_from);

    let listen = listen.unwrap_or_default();
    let complete = || {
        Some(Listener {
            service: service?,
            listen: listen.iter().map(|address| *address.get_ref()).collect(),
            backends: backends.as_ref()?.0.iter().map(|backend| backend.get_ref().clone()).collect(),
            identity: identity?,
            relay_as_proxy,
            accept_proxy_from,
            connections,
            bare_newline,
        })
    };
    Written { listener: complete(), listen, backends: backends.map(|Backends(list)| list).unwrap_or_default() }
}

/// The service's well-known port on every address.
fn everywhere(service: &Service, listener: &Table<'_>) -> Vec<Spanned<SocketAddr>> {
    let span = listener.span_of("listen").unwrap_or_default();
    [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)]
        .map(|address| Spanned::new(span.clone(), SocketAddr::new(address, service.port)))
        .into()
}

fn loopback_networks() -> Vec<IpNet> {
    let v4 = ipnet::Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);
    let v6 = ipnet::Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128);
    vec![v4.into(), v6.into()]
}

/// A relative path starts where the configuration lies, not where the program was started.
fn within(directory: &Path, path: PathBuf) -> PathBuf {
    directory.join(path)
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// `number` is at least 1.
fn number(number: usize) -> NonZeroUsize {
    NonZeroUsize::MIN.saturating_add(number.saturating_sub(1))
}

#[cfg(test)]
mod tests;
