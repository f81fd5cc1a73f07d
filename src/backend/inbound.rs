//! The PROXY protocol, as a receiver: from load balancers that the administrator listed, and from nobody else.
//!
//! A listed peer must send a header first; the octets behind it belong to the client, so not one of them is read.

use std::io;
use std::net::SocketAddr;

use bytes::BytesMut;
use proxy_header::{ParseConfig, Protocol, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::facts::{Outcome, Reason, canonical};

/// What every header of version 1 begins with; the shortest whole one is `PROXY UNKNOWN` and CRLF.
const V1_START: &[u8] = b"PROXY ";
const V1_SHORTEST: usize = 15;
/// PROXY protocol §2.1: the longest line, CRLF included.
const V1_LONGEST: usize = 107;

/// PROXY protocol §2.2: the signature, then version and command, family, and the length of the rest.
const V2_START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const V2_FIXED: usize = 16;
/// Room for a load balancer's client certificate; the format allows 64 KiB, nobody sends that.
const V2_LONGEST: usize = 8 * 1024;

/// What a listed peer said of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inbound {
    /// It speaks for a client.
    Proxied {
        /// The client's own address.
        client: SocketAddr,
        /// The address that the client connected to.
        local: SocketAddr,
    },
    /// It speaks for itself: LOCAL, UNKNOWN, or an address family without ports. There is no client, so there must be
    /// no mail: the peer's own address may be one that the backend trusts.
    HealthCheck,
}

/// Why a header could not be had.
#[derive(Debug, thiserror::Error)]
pub enum InboundError {
    /// The peer sent something else first.
    #[error("no PROXY header came first; a peer in accept_proxy_from must send one on every connection")]
    Missing,
    /// It began like one.
    #[error("the PROXY header is malformed or longer than {V2_LONGEST} octets")]
    Malformed,
    /// The peer closed before the header's end.
    #[error("the peer closed before the end of its PROXY header")]
    Closed,
    /// The system said so.
    #[error("cannot read the PROXY header: {0}")]
    Io(#[from] io::Error),
}

impl InboundError {
    /// The phrase for the session's record.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Missing => Reason::new(Outcome::Policy, "no PROXY header from a peer that must send one"),
            Self::Malformed => Reason::new(Outcome::ClientError, "malformed PROXY header"),
            Self::Closed | Self::Io(_) => Reason::new(Outcome::ClientError, "connection lost in the PROXY header"),
        }
    }
}

/// Reads a PROXY header of either version and nothing behind it. The caller sets the deadline.
///
/// # Errors
/// The peer sent no header, a broken one, or went away; the connection must be closed without an answer.
pub async fn read_proxy_header<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Inbound, InboundError> {
    let mut header = BytesMut::with_capacity(V1_LONGEST + 1);
    while header.len() < V1_SHORTEST {
        let missing = V1_SHORTEST - header.len();
        read(stream, &mut header, missing).await?;
        if !agree(&header, V1_START) && !agree(&header, V2_START) {
            return Err(InboundError::Missing);
        }
    }
    match agree(&header, V1_START) {
        true => read_v1(stream, &mut header).await?,
        false => read_v2(stream, &mut header).await?,
    }
    let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
    let (parsed, len) = ProxyHeader::parse(&header, config).map_err(|_| InboundError::Malformed)?;
    if len != header.len() {
        return Err(InboundError::Malformed);
    }
    match parsed.proxied_address() {
        None => Ok(Inbound::HealthCheck),
        Some(addresses) if addresses.protocol == Protocol::Stream => {
            Ok(Inbound::Proxied { client: canonical(addresses.source), local: canonical(addresses.destination) })
        }
        Some(_) => Err(InboundError::Malformed),
    }
}

/// Whether one of the two begins with the other.
fn agree(header: &[u8], start: &[u8]) -> bool {
    header.iter().zip(start).all(|(a, b)| a == b)
}

/// A line's end shows only when it is there: read two octets at a time, one behind a CR.
async fn read_v1<S: AsyncRead + Unpin>(stream: &mut S, header: &mut BytesMut) -> Result<(), InboundError> {
    while !header.ends_with(b"\r\n") {
        let room = V1_LONGEST.saturating_sub(header.len());
        // A bare LF may be the first of two octets.
        if room == 0 || header.contains(&b'\n') {
            return Err(InboundError::Malformed);
        }
        let missing = if header.ends_with(b"\r") { 1 } else { 2 };
        read(stream, header, missing.min(room)).await?;
    }
    Ok(())
}

async fn read_v2<S: AsyncRead + Unpin>(stream: &mut S, header: &mut BytesMut) -> Result<(), InboundError> {
    while header.len() < V2_FIXED {
        let missing = V2_FIXED - header.len();
        read(stream, header, missing).await?;
    }
    let Some((_, &[high, low])) = header.split_last_chunk() else { return Err(InboundError::Malformed) };
    let whole = V2_FIXED + usize::from(u16::from_be_bytes([high, low]));
    if whole > V2_LONGEST {
        return Err(InboundError::Malformed);
    }
    while header.len() < whole {
        let missing = whole - header.len();
        read(stream, header, missing).await?;
    }
    Ok(())
}

/// Reads at least one and at most `limit` octets.
async fn read<S: AsyncRead + Unpin>(stream: &mut S, header: &mut BytesMut, limit: usize) -> Result<(), InboundError> {
    match stream.take(limit as u64).read_buf(header).await? {
        0 => Err(InboundError::Closed),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
