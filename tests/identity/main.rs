//! What a backend is told about a client, octet by octet: scripted backends on loopback, no real servers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "clippy's allowance for tests does not reach their helpers"
)]

mod dns;
mod imap_id;
mod probe;
mod proxy;
mod script;
mod self_test;
mod server;
mod xclient;

use std::num::NonZeroUsize;
use std::time::Duration;

use sealgate::backend::{Caller, ConnectError, Connected, Greeting, connect};
use sealgate::config::{BackendAddr, ClientIdentity, Deadlines, Listener};
use sealgate::facts::{ClientNames, Lookup, Peer, SessionId, TlsFacts};
use sealgate::protocol::{BareNewline, Service};

/// Longer than anything takes here, shorter than anybody's patience.
const PATIENCE: Duration = Duration::from_secs(20);

fn listener(service: &str, backend: BackendAddr, identity: ClientIdentity) -> Listener {
    let service = Service::by_name(service).unwrap();
    Listener {
        service,
        listen: vec!["0.0.0.0:25".parse().unwrap()],
        backends: vec![backend],
        identity,
        relay_as_proxy: false,
        accept_proxy_from: Vec::new(),
        connections: NonZeroUsize::MIN,
        bare_newline: BareNewline::Normalize,
    }
}

fn deadlines(limit: Duration) -> Deadlines {
    Deadlines {
        proxy_header: limit,
        handshake: limit,
        connect: limit,
        greeting: limit,
        login: limit,
        command: limit,
        body: limit,
        body_rate: None,
        reply: limit,
        delivery: limit,
    }
}

fn client(address: &str) -> Peer {
    let name = Lookup::Found("client.example.net".into());
    Peer {
        client: address.parse().unwrap(),
        local: "192.0.2.10:25".parse().unwrap(),
        names: ClientNames { reverse: name.clone(), verified: name },
    }
}

async fn dial(
    listener: &Listener,
    peer: &Peer,
    tls: Option<&TlsFacts>,
    limit: Duration,
) -> Result<Connected, ConnectError> {
    let session = SessionId::new("3x7Kq9");
    let caller = Caller { hostname: "mail.example.com", session: &session, peer, tls };
    connect(listener, &listener.backends[0], &caller, &deadlines(limit), Greeting::LeftToDialogue).await
}
