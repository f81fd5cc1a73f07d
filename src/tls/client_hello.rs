//! Our own look at the ClientHello, before `rustls` sees it.
//!
//! It decides which settings the client gets, what the log of a failed handshake shows, and what to call that which
//! is no TLS at all. [`Assembler`] is sans-IO; [`read`] feeds it from a stream and keeps every octet for `rustls`.

use std::time::Instant;

use bytes::BytesMut;
use tls_parser::{SNIType, TlsExtension, parse_tls_client_hello_extension, parse_tls_handshake_client_hello};
use tokio::io::AsyncRead;

use super::alert::Alert;
use super::refusal::{Unfit, reasons};

/// The longest ClientHello taken. Real ones, post-quantum key share and ticket included, stay below 4 KiB.
const MESSAGE_LIMIT: usize = 16 * 1024;

/// The most octets on the wire for it, record headers included.
const WIRE_LIMIT: usize = 32 * 1024;

/// RFC 8446 §5.1: the most octets of a plaintext record.
const RECORD_LIMIT: usize = 1 << 14;

/// RFC 8446 §5.1, §4: ContentType.handshake, HandshakeType.client_hello.
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;

/// RFC 8446 §5.1, RFC 5246 §6.2.1, RFC 6520 §3: all types of records there are, change_cipher_spec to heartbeat.
const RECORDS: std::ops::RangeInclusive<u8> = 20..=24;

const TLS13: u16 = 0x0304;
const TLS12: u16 = 0x0303;
const SSL3: u16 = 0x0300;

/// RFC 7507 §2: TLS_FALLBACK_SCSV, by which a client says that it can do better.
const FALLBACK: u16 = 0x5600;

/// The request methods of HTTP (RFC 9110 §9.3, RFC 5789) and the opening of HTTP/2 (RFC 9113 §3.4).
const HTTP: [&[u8]; 10] =
    [b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"CONNECT ", b"OPTIONS ", b"TRACE ", b"PATCH ", b"PRI * "];

/// What a client offers, by code points in its own order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ClientHello {
    /// Of the first record; an alert for an old client repeats it.
    pub(super) record_version: u16,
    /// The highest version alone where the client has no `supported_versions`.
    pub(super) versions: Vec<u16>,
    pub(super) suites: Vec<u16>,
    pub(super) groups: Vec<u16>,
    pub(super) signatures: Vec<u16>,
    pub(super) sni: Option<Vec<u8>>,
    pub(super) alpn: Vec<Vec<u8>>,
    /// It names a session that it would renegotiate (RFC 5746 §3.5).
    pub(super) renegotiates: bool,
}

impl ClientHello {
    pub(super) fn offers_tls13(&self) -> bool {
        self.versions.contains(&TLS13)
    }

    pub(super) fn offers_tls12(&self) -> bool {
        self.versions.contains(&TLS12)
    }

    /// Whether the client has tried a higher version before, and somebody kept that from us.
    pub(super) fn is_fallback(&self) -> bool {
        self.suites.contains(&FALLBACK)
    }

    fn parse(message: &[u8], record_version: u16) -> Option<Self> {
        let (rest, fixed) = parse_tls_handshake_client_hello(message).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let mut hello =
            Self { record_version, suites: fixed.ciphers.iter().map(|suite| suite.0).collect(), ..Self::default() };
        let mut versions = None;
        let mut extensions = fixed.ext.unwrap_or_default();
        while !extensions.is_empty() {
            let (extension, rest) = split_extension(extensions)?;
            // What does not parse is for rustls to refuse; it may also be more lenient.
            if let Ok((_, extension)) = parse_tls_client_hello_extension(extension) {
                match extension {
                    TlsExtension::SupportedVersions(list) => versions = Some(list.iter().map(|v| v.0).collect()),
                    TlsExtension::EllipticCurves(list) => hello.groups = list.iter().map(|group| group.0).collect(),
                    TlsExtension::SignatureAlgorithms(list) => hello.signatures = list,
                    TlsExtension::SNI(list) => {
                        hello.sni =
                            list.iter().find(|(kind, _)| *kind == SNIType::HostName).map(|(_, name)| name.to_vec());
                    }
                    TlsExtension::RenegotiationInfo(data) => hello.renegotiates = !data.is_empty(),
                    TlsExtension::ALPN(list) => hello.alpn = list.iter().map(|name| name.to_vec()).collect(),
                    _ => {}
                }
            }
            extensions = rest;
        }
        // RFC 8446 §4.2.1: without the extension, legacy_version counts, and TLS 1.2 at most. §D.5: that of SSL 3.0 always does.
        let legacy = fixed.version.0.min(TLS12);
        hello.versions = versions.filter(|_| legacy > SSL3).unwrap_or_else(|| vec![legacy]);
        Some(hello)
    }
}

/// The first extension, header and all, and what follows it.
fn split_extension(extensions: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, [high, low]) = extensions.first_chunk::<4>()?.split_first_chunk::<2>()? else { return None };
    extensions.split_at_checked(4 + usize::from(u16::from_be_bytes([*high, *low])))
}

/// Puts the ClientHello together from however many records and reads it came in.
#[derive(Default)]
pub(super) struct Assembler {
    /// Octets of the wire that are done with; always at the beginning of a record.
    taken: usize,
    record_version: Option<u16>,
    message: Vec<u8>,
}

impl Assembler {
    /// Judges `wire`, all that came so far. `None` asks for more.
    pub(super) fn advance(&mut self, wire: &[u8]) -> Result<Option<ClientHello>, Unfit> {
        loop {
            let rest = wire.get(self.taken..).unwrap_or_default();
            if self.taken == 0 && !begins_like_tls(rest)? {
                return Ok(None);
            }
            let Some((header, rest)) = rest.split_first_chunk::<5>() else { return Ok(None) };
            let [content_type, major, minor, length @ ..] = *header;
            let length = usize::from(u16::from_be_bytes(length));
            if content_type != HANDSHAKE {
                return Err(Unfit::new(reasons::MALFORMED, Alert::UnexpectedMessage));
            }
            // RFC 8446 §5.1: no empty handshake records.
            if major != 3 || length == 0 {
                return Err(Unfit::new(reasons::MALFORMED, Alert::DecodeError));
            }
            if length > RECORD_LIMIT {
                return Err(Unfit::new(reasons::MALFORMED, Alert::RecordOverflow));
            }
            let Some(fragment) = rest.get(..length) else { return Ok(None) };
            self.message.extend_from_slice(fragment);
            self.taken += header.len() + length;
            let record_version = *self.record_version.get_or_insert(u16::from_be_bytes([major, minor]));
            if let Some(hello) = self.message(record_version)? {
                return Ok(Some(hello));
            }
        }
    }

    fn message(&self, record_version: u16) -> Result<Option<ClientHello>, Unfit> {
        if self.message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
            return Err(Unfit::new(reasons::MALFORMED, Alert::UnexpectedMessage));
        }
        let Some(([_, length @ ..], body)) = self.message.split_first_chunk::<4>() else { return Ok(None) };
        let [high, middle, low] = *length;
        let length = u32::from_be_bytes([0, high, middle, low]) as usize;
        if length > MESSAGE_LIMIT {
            return Err(Unfit::new(reasons::TOO_LARGE, Alert::DecodeError));
        }
        // What follows the ClientHello in its record is for rustls to refuse.
        let Some(body) = body.get(..length) else { return Ok(None) };
        match ClientHello::parse(body, record_version) {
            Some(hello) => Ok(Some(hello)),
            None => Err(Unfit::new(reasons::MALFORMED, Alert::DecodeError)),
        }
    }
}

/// `false` as long as it cannot be told. What cannot be TLS is named.
fn begins_like_tls(wire: &[u8]) -> Result<bool, Unfit> {
    match *wire {
        [] => Ok(false),
        [kind] if RECORDS.contains(&kind) => Ok(false),
        // A record of another type is TLS, too, and refused as such (RFC 8446 §5).
        [kind, 3, ..] if RECORDS.contains(&kind) => Ok(true),
        // RFC 5246 §E.2: an SSL 2.0 record has the high bit of its length set, and CLIENT-HELLO is 1.
        [0x80..=0xff, _, 1, ..] => Err(Unfit::new(reasons::SSLV2, Alert::ProtocolVersion)),
        [0x80..=0xff] | [0x80..=0xff, _] => Ok(false),
        [first, ..] if first.is_ascii_graphic() => {
            if HTTP.iter().any(|verb| wire.starts_with(verb)) {
                Err(Unfit::silent(reasons::HTTP))
            } else if HTTP.iter().any(|verb| verb.starts_with(wire)) {
                Ok(false)
            } else {
                Err(Unfit::silent(reasons::CLEARTEXT))
            }
        }
        _ => Err(Unfit::silent(reasons::GARBAGE)),
    }
}

/// Reads the ClientHello, and no further than a read that completes it happens to go, into `wire`.
///
/// `began` is set when the first octet comes.
pub(super) async fn read<S: AsyncRead + Unpin>(
    stream: &mut S,
    wire: &mut BytesMut,
    began: &mut Option<Instant>,
) -> Result<ClientHello, Unfit> {
    let mut assembler = Assembler::default();
    loop {
        let Some(room @ 1..) = WIRE_LIMIT.checked_sub(wire.len()) else {
            return Err(Unfit::new(reasons::TOO_LARGE, Alert::DecodeError));
        };
        match super::receive(stream, wire, room).await {
            Ok(0) => return Err(Unfit::ended(wire, None)),
            Ok(_) => began.get_or_insert_with(Instant::now),
            Err(error) => return Err(Unfit::ended(wire, Some(error))),
        };
        if let Some(hello) = assembler.advance(wire)? {
            return Ok(hello);
        }
    }
}

#[cfg(test)]
mod tests;
