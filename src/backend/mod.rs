//! The backend side of a session: dial it, and tell it who the client is.
//!
//! A Postfix behind a proxy on 127.0.0.1 takes every stranger for a member of `$mynetworks` and relays for all of
//! them, so a connection is handed on only after the client's identity has been passed, by the way that the
//! administrator chose ([`ClientIdentity`]). Whether the backend acts on it is what [`self_test`] finds out.

pub mod dns;
mod error;
pub mod exposure;
pub mod health;
mod imap_id;
pub mod inbound;
pub mod pool;
pub mod probe;
mod proxy_header;
pub mod self_test;
mod stranger;
pub mod supervisor;
mod talk;
mod xclient;

use bytes::BytesMut;

pub use error::ConnectError;
use talk::Talk;

use crate::config::{BackendAddr, ClientIdentity, Deadlines, Listener};
use crate::facts::{Peer, SessionId, TlsFacts};
use crate::stream::Backend;

/// What a backend is told about a client.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// Our own name, for the EHLO that asks for XCLIENT.
    pub hostname: &'a str,
    /// The session's identifier.
    pub session: &'a SessionId,
    /// The client.
    pub peer: &'a Peer,
    /// The client's TLS; none when it stays in plaintext.
    pub tls: Option<&'a TlsFacts>,
}

/// A backend that knows who the client is.
#[derive(Debug)]
pub struct Connected {
    /// The connection.
    pub stream: Backend,
    /// What was read already and the dialogue must judge, beginning with the greeting; empty when nothing was.
    pub input: BytesMut,
}

/// Who waits for a backend's greeting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Greeting {
    /// Whoever dials: its first octet must come within `deadlines.connect` more.
    Awaited,
    /// The dialogue, as long as its own deadline says.
    LeftToDialogue,
}

/// Dials one of a listener's backends and tells it who the client is, all within `deadlines.connect`.
///
/// # Errors
/// The backend cannot be reached, is too slow, or does not take the client's identity: it must not be used then.
pub async fn connect(
    listener: &Listener,
    backend: &BackendAddr,
    caller: &Caller<'_>,
    deadlines: &Deadlines,
    greeting: Greeting,
) -> Result<Connected, ConnectError> {
    let mut talk = Talk::dial(backend, deadlines.connect).await?;
    introduce(&mut talk, listener.identity, caller).await?;
    if greeting == Greeting::Awaited {
        talk.allow(deadlines.connect);
        talk.any_octet("greeting").await?;
    }
    Ok(talk.into_connected())
}

/// Tells the backend who the client is. Afterwards its greeting comes next.
async fn introduce(talk: &mut Talk<'_>, identity: ClientIdentity, caller: &Caller<'_>) -> Result<(), ConnectError> {
    let header = match identity {
        ClientIdentity::ProxyV1 => proxy_header::v1(caller.peer),
        ClientIdentity::ProxyV2 => proxy_header::v2(caller),
        ClientIdentity::Xclient => return xclient::introduce(talk, caller).await,
        ClientIdentity::ImapId => return imap_id::introduce(talk, caller).await,
        ClientIdentity::None => return Ok(()),
    };
    let header = header.map_err(|source| ConnectError::Header { backend: talk.backend(), source })?;
    talk.send(&header, "greeting").await
}

#[cfg(test)]
mod tests;
