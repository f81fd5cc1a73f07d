//! What must hold between keys, each rule noted at the key that an administrator would change.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use toml::Spanned;

use super::Written;
use super::reader::Table;
use super::values::AskClients;
use crate::config::{BackendAddr, ClientIdentity};
use crate::protocol::Service;

/// Why there is no default.
pub(super) const CHOOSE_IDENTITY: &str = "\
say how the backend learns who the client is; a Postfix that takes the gate itself for the client relays for everybody:
\"proxy-v2\" for Postfix 3.5 and Dovecot 2.2.19 or later, \"proxy-v1\" for Postfix 2.10 or later,
\"xclient\" for older Postfix, \"imap-id\" for Dovecot 2.0.9 or later, \"none\" for older Dovecot";

/// RFC 8446 §4.6.1: seven days for a ticket, which lives for two rotations at most.
const LONGEST_ROTATION: Duration = Duration::from_secs(84 * 3600);

/// `ask` is `None` where nothing is written of it, or something wrong.
pub(super) fn tls(table: &Table<'_>, ask: Option<AskClients>, tickets: bool, ticket_rotation: Duration) {
    let asks = matches!(ask, Some(AskClients::Request | AskClients::Require));
    if asks && !table.has("client_ca") {
        table.breaks_rule(
            "client_certificates",
            "clients are asked for certificates, but nothing says whose are good",
            "add client_ca = \"/path/to/authorities.pem\"",
        );
    }
    // A value of `client_certificates` that is wrong was meant to ask: that one is told by itself.
    if table.has("client_ca") && (ask == Some(AskClients::None) || !table.has("client_certificates")) {
        table.breaks_rule(
            "client_ca",
            "no client is asked for a certificate, so nothing is done with it",
            "set client_certificates to \"request\" or \"require\", or leave client_ca out",
        );
    }
    if !tickets && table.has("ticket_rotation") {
        table.breaks_rule(
            "ticket_rotation",
            "no client is given a ticket, so nothing is done with it",
            "leave ticket_rotation out, or tickets = false",
        );
    }
    if ticket_rotation > LONGEST_ROTATION {
        table.breaks_rule(
            "ticket_rotation",
            "a ticket would live for more than seven days (RFC 8446 §4.6.1)",
            "write at most \"84h\": a ticket lives for up to two such periods",
        );
    }
}

pub(super) fn listen(table: &Table<'_>, listen: Option<&[Spanned<SocketAddr>]>) {
    if listen.is_some_and(<[_]>::is_empty) {
        table.breaks_rule("listen", "the list is empty", "leave the key out for the service's well-known port");
    }
}

pub(super) fn backends(table: &Table<'_>, backends: Option<&[Spanned<BackendAddr>]>, remote_plaintext: bool) {
    let Some(backends) = backends else { return };
    if backends.is_empty() {
        table.breaks_rule("backend", "the list is empty", "say where the plaintext goes: [\"127.0.0.1:10025\"]");
    }
    for (place, backend) in backends.iter().enumerate() {
        if let BackendAddr::Tcp(address) = backend.get_ref()
            && !address.ip().is_loopback()
            && !remote_plaintext
        {
            table.note(
                backend.span(),
                format!(
                    "`listener.backend`: {address} is another host, to which mail and passwords would go in plaintext"
                ),
                "use a loopback address or a Unix socket; where the network between is yours alone, \
                 add allow_remote_plaintext = true",
            );
        }
        if backends.iter().take(place).any(|earlier| earlier.get_ref() == backend.get_ref()) {
            table.note(
                backend.span(),
                format!("`listener.backend`: {} is listed twice", backend.get_ref()),
                "list every backend once, the preferred one first",
            );
        }
    }
}

pub(super) fn identity(
    table: &Table<'_>,
    service: Option<&'static Service>,
    identity: Option<ClientIdentity>,
    relay_as_proxy: bool,
) {
    let Some(service) = service else { return };
    let name = service.name;
    if service.takes_mail() {
        if identity == Some(ClientIdentity::ImapId) {
            table.breaks_rule(
                "client_identity",
                &format!("\"imap-id\" is a command of IMAP, and {name} is SMTP"),
                "write \"proxy-v2\", \"proxy-v1\" or \"xclient\"",
            );
        }
        if identity == Some(ClientIdentity::None) && !relay_as_proxy {
            table.breaks_rule(
                "client_identity",
                "with \"none\" the backend takes the gate for the client, and relays for everybody \
                 if it trusts the gate's address ($mynetworks)",
                "write \"proxy-v2\", \"proxy-v1\" or \"xclient\"; where nobody but friends can connect, \
                 add allow_relay_as_proxy = true",
            );
        }
        return;
    }
    if identity == Some(ClientIdentity::Xclient) {
        table.breaks_rule(
            "client_identity",
            &format!("\"xclient\" is a command of SMTP, and {name} is IMAP"),
            "write \"proxy-v2\", \"imap-id\" or \"none\"",
        );
    }
    for key in ["allow_relay_as_proxy", "bare_newline"] {
        if table.has(key) {
            table.breaks_rule(key, &format!("this is about mail coming in, and {name} takes none"), "leave it out");
        }
    }
}

pub(super) fn proxies(table: &Table<'_>, accept_proxy_from: &[IpNet]) {
    // Together they may be everybody, too: two halves of all addresses, say.
    if IpNet::aggregate(&accept_proxy_from.to_vec()).iter().any(|network| network.prefix_len() == 0) {
        table.breaks_rule(
            "accept_proxy_from",
            "this would believe anybody who claims to be somebody else",
            "list the addresses of your load balancers only",
        );
    }
}

pub(super) fn between_listeners(top: &Table<'_>, listeners: &[Written]) {
    let mut seen: Vec<SocketAddr> = Vec::new();
    for address in listeners.iter().flat_map(|read| &read.listen) {
        if let Some(earlier) = seen.iter().find(|earlier| collide(**earlier, *address.get_ref())) {
            let what = match earlier == address.get_ref() {
                true => format!("`listener.listen`: {earlier} is listened on twice"),
                false => format!("`listener.listen`: {} is part of {earlier} above", address.get_ref()),
            };
            top.note(address.span(), what, "give every listener addresses of its own");
        }
        seen.push(*address.get_ref());
    }
    for backend in listeners.iter().flat_map(|read| &read.backends) {
        let BackendAddr::Tcp(address) = backend.get_ref() else { continue };
        if seen.iter().any(|listen| reaches(*address, *listen)) {
            top.note(
                backend.span(),
                format!("`listener.backend`: {address} is one of the gate's own listeners: mail would go in circles"),
                "move the backend to a port of its own, such as 127.0.0.1:10025",
            );
        }
    }
}

/// Whether the two cannot both be listened on. Port 0 is a new port each time; IPv6 sockets are IPv6 only.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let overlap =
        a.ip() == b.ip() || (a.is_ipv4() == b.is_ipv4() && (a.ip().is_unspecified() || b.ip().is_unspecified()));
    a.port() == b.port() && a.port() != 0 && overlap
}

/// Whether a connection to `backend` ends up at `listen`, as far as that can be known without the host's addresses.
fn reaches(backend: SocketAddr, listen: SocketAddr) -> bool {
    let wildcard = listen.ip().is_unspecified() && backend.is_ipv4() == listen.is_ipv4() && backend.ip().is_loopback();
    backend.port() == listen.port() && (backend.ip() == listen.ip() || wildcard)
}
