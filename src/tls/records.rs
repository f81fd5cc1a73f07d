//! The record layer of an established connection (RFC 8446 §5, RFC 5246 §6), sans-IO.
//!
//! `rustls` does the handshake and hands the connection over as it would to a kernel (`rustls::kernel`): with keys, a
//! count of records each way, and the key schedule for updates. It also protects each record, by its own
//! [`MessageDecrypter`] and [`MessageEncrypter`]. What is left is here: to find the records, to open them where they
//! lie, so that the octets in them can change hands uncopied, and the few messages that may come after a handshake.

use bytes::{Buf, Bytes, BytesMut};
use rustls::crypto::cipher::{
    InboundOpaqueMessage, MessageDecrypter, MessageEncrypter, OutboundChunks, OutboundPlainMessage,
};
use rustls::kernel::KernelConnection;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::{ContentType, Error, ProtocolVersion, SupportedCipherSuite};

use super::alert::{Alert, Level};
use super::key_schedule::Memory;
use super::keys;

/// RFC 8446 §5.1: type, version, length.
pub(super) const HEADER: usize = 5;

/// RFC 8446 §5.1: the most octets that a record carries.
pub(super) const FRAGMENT_LIMIT: usize = 1 << 14;

/// RFC 8446 §5.2 has 256 octets for protection and padding, RFC 5246 §6.2.3 has 2048.
pub(super) const EXPANSION_TLS13: usize = 256;
pub(super) const EXPANSION_TLS12: usize = 2048;

/// How many of a kind a client may send in a row before it is taken for an attacker, who makes us work for nothing.
const KEY_UPDATES_IN_A_ROW: u8 = 32;
const EMPTY_RECORDS_IN_A_ROW: u8 = 32;
const WARNINGS: u8 = 4;
const RENEGOTIATIONS: u8 = 1;

/// RFC 8446 §5.1, RFC 5246 §6.2.1: what a record says after the handshake in either version.
const RECORD_VERSION: u16 = 0x0303;

/// RFC 8446 §4.6.3: message type 24, one octet long.
const KEY_UPDATE: [u8; 4] = [24, 0, 0, 1];
const UPDATE_NOT_REQUESTED: u8 = 0;
const UPDATE_REQUESTED: u8 = 1;

/// RFC 5246 §7.4: ClientHello, the first octet of a renegotiation.
const CLIENT_HELLO: u8 = 1;

/// What lay at the front of the wire.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opened {
    /// Octets of the client's, at least one.
    Data(BytesMut),
    /// A record that was not for the application; there may be more. It may have left a [`Records::refusal`].
    Other,
    /// The client's close_notify: nothing that follows counts.
    End,
    /// No whole record.
    Partial,
}

/// The client broke the protocol, or somebody on the way did. Nothing more can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Broken {
    /// We are to say so.
    #[error("TLS record layer: {0:?}")]
    Ours(Alert),
    /// It said so.
    #[error("the client sent TLS alert {0}")]
    Theirs(u8),
}

/// Both directions' keys, and what the handshake left to do.
pub(super) struct Records {
    decrypter: Box<dyn MessageDecrypter>,
    received: u64,
    encrypter: Box<dyn MessageEncrypter>,
    sent: u64,
    suite: SupportedCipherSuite,
    /// The key schedule, where there is one: TLS 1.2 has its keys for good, and most of what a session holds is saved.
    schedule: Option<Box<KernelConnection<ServerConnectionData>>>,
    /// A KeyUpdate that came in pieces.
    message: [u8; KEY_UPDATE.len() + 1],
    message_len: u8,
    /// The client asked for new keys of ours (RFC 8446 §4.6.3): before the next data.
    update_owed: bool,
    /// The client's attempt at a renegotiation gets a warning.
    refusal_owed: bool,
    key_updates: u8,
    empty_records: u8,
    warnings: u8,
    renegotiations: u8,
}

impl Records {
    /// Takes over from the handshake, whose memory knows the keys.
    ///
    /// # Errors
    /// The handshake is not over, or something of it was not sent.
    pub(super) fn new(connection: UnbufferedServerConnection, memory: &mut Memory) -> Result<Self, Error> {
        let (secrets, kernel) = memory.during(|| connection.dangerous_into_kernel_connection())?;
        let suite = kernel.negotiated_cipher_suite();
        let ((sent, ours), (received, theirs)) = (secrets.tx, secrets.rx);
        Ok(Self {
            decrypter: keys::decrypter(suite, theirs)?,
            received,
            encrypter: keys::encrypter(suite, ours, sent)?,
            sent,
            suite,
            schedule: suite.tls13().map(|_| Box::new(kernel)),
            message: [0; 5],
            message_len: 0,
            update_owed: false,
            refusal_owed: false,
            key_updates: 0,
            empty_records: 0,
            warnings: 0,
            renegotiations: 0,
        })
    }

    fn is_tls13(&self) -> bool {
        self.schedule.is_some()
    }

    /// Opens the record that `wire` begins with, in place, and takes it away.
    pub(super) fn open(&mut self, wire: &mut BytesMut) -> Result<Opened, Broken> {
        let Some(header) = header(wire) else { return Ok(Opened::Partial) };
        let expansion = if self.is_tls13() { EXPANSION_TLS13 } else { EXPANSION_TLS12 };
        if header.length > FRAGMENT_LIMIT + expansion {
            return Err(Broken::Ours(Alert::RecordOverflow));
        }
        // RFC 8446 §5.2: every protected record has this type on the outside, and after the handshake all are protected.
        // RFC 5246 §6.2.1: nobody changes ciphers any more (§7.1), and no other type is known.
        let expected = match header.content_type {
            ContentType::ApplicationData => true,
            ContentType::Alert | ContentType::Handshake => !self.is_tls13(),
            _ => false,
        };
        if !expected {
            return Err(Broken::Ours(Alert::UnexpectedMessage));
        }
        // RFC 8446 §5.2, RFC 5246 §6.2.3.3: it is among what is authenticated, and the algorithms take it for granted.
        if header.version != RECORD_VERSION {
            return Err(Broken::Ours(Alert::ProtocolVersion));
        }
        if wire.len() < HEADER + header.length {
            return Ok(Opened::Partial);
        }
        let mut record = wire.split_to(HEADER + header.length);
        record.advance(HEADER);
        let base = record.as_ptr() as usize;
        let opaque = InboundOpaqueMessage::new(header.content_type, ProtocolVersion::TLSv1_2, &mut record);
        let plain = self.decrypter.decrypt(opaque, self.received).map_err(|error| match error {
            Error::PeerSentOversizedRecord => Broken::Ours(Alert::RecordOverflow),
            // A type that must not be in a record, or none: RFC 8446 §5.4.
            Error::PeerMisbehaved(_) => Broken::Ours(Alert::UnexpectedMessage),
            _ => Broken::Ours(Alert::BadRecordMac),
        })?;
        self.received += 1; // u64: at a record a nanosecond, five centuries
        let (content_type, start, length) = (plain.typ, plain.payload.as_ptr() as usize - base, plain.payload.len());
        record.advance(start);
        record.truncate(length);
        self.judge(content_type, record)
    }

    fn judge(&mut self, content_type: ContentType, payload: BytesMut) -> Result<Opened, Broken> {
        // RFC 8446 §5.1: no other record between the pieces of a handshake message.
        if self.message_len > 0 && content_type != ContentType::Handshake {
            return Err(Broken::Ours(Alert::UnexpectedMessage));
        }
        match content_type {
            ContentType::ApplicationData if payload.is_empty() => {
                count(&mut self.empty_records, EMPTY_RECORDS_IN_A_ROW)?;
                Ok(Opened::Other)
            }
            ContentType::ApplicationData => {
                self.empty_records = 0;
                self.key_updates = 0;
                Ok(Opened::Data(payload))
            }
            ContentType::Alert => self.alert(&payload),
            ContentType::Handshake if self.is_tls13() => self.key_update(&payload),
            ContentType::Handshake => self.renegotiation(&payload),
            _ => Err(Broken::Ours(Alert::UnexpectedMessage)),
        }
    }

    fn alert(&mut self, payload: &[u8]) -> Result<Opened, Broken> {
        // RFC 8446 §5.4: a record of nothing is for data alone. §5.1: a record is one alert, whole.
        if payload.is_empty() {
            return Err(Broken::Ours(Alert::UnexpectedMessage));
        }
        let [level, description] = *payload else { return Err(Broken::Ours(Alert::DecodeError)) };
        if level != Level::Warning as u8 && level != Level::Fatal as u8 {
            return Err(Broken::Ours(Alert::IllegalParameter));
        }
        if description == Alert::CloseNotify as u8 {
            return Ok(Opened::End);
        }
        // RFC 8446 §6: but for these two, all alerts of TLS 1.3 are errors, whatever their level says.
        let mild = !self.is_tls13() || description == Alert::UserCanceled as u8;
        if !mild || level == Level::Fatal as u8 {
            return Err(Broken::Theirs(description));
        }
        count(&mut self.warnings, WARNINGS)?;
        Ok(Opened::Other)
    }

    /// RFC 8446 §4.6.3. No other message may come from a client that was not asked for a certificate anew.
    fn key_update(&mut self, payload: &[u8]) -> Result<Opened, Broken> {
        if payload.is_empty() {
            return Err(Broken::Ours(Alert::UnexpectedMessage)); // RFC 8446 §5.4
        }
        let have = usize::from(self.message_len);
        let Some(room) = self.message.get_mut(have..).filter(|room| payload.len() <= room.len()) else {
            // RFC 8446 §5.1: nothing behind it in its record, which would be under the old key.
            return Err(Broken::Ours(Alert::UnexpectedMessage));
        };
        for (octet, came) in room.iter_mut().zip(payload) {
            *octet = *came;
        }
        let have = have + payload.len();
        let (kind, request) = (self.message.get(..have.min(KEY_UPDATE.len())), self.message.last());
        if kind.is_none_or(|kind| !KEY_UPDATE.starts_with(kind)) {
            // RFC 8446 §6.2: a length that cannot be, or a message that must not be.
            let known = self.message.first() == KEY_UPDATE.first();
            return Err(Broken::Ours(if known { Alert::DecodeError } else { Alert::UnexpectedMessage }));
        }
        if have < self.message.len() {
            self.message_len = u8::try_from(have).unwrap_or(0);
            return Ok(Opened::Other);
        }
        match request {
            Some(&UPDATE_NOT_REQUESTED) => {}
            Some(&UPDATE_REQUESTED) => self.update_owed = true,
            _ => return Err(Broken::Ours(Alert::IllegalParameter)),
        }
        self.message_len = 0;
        count(&mut self.key_updates, KEY_UPDATES_IN_A_ROW)?;
        let internal = |_| Broken::Ours(Alert::InternalError);
        let schedule = self.schedule.as_mut().ok_or(Broken::Ours(Alert::InternalError))?;
        let (received, theirs) = schedule.update_rx_secret().map_err(internal)?;
        self.decrypter = keys::decrypter(self.suite, theirs).map_err(internal)?;
        self.received = received;
        Ok(Opened::Other)
    }

    /// RFC 5246 §7.2.2: a renegotiation is declined by a warning, once.
    fn renegotiation(&mut self, payload: &[u8]) -> Result<Opened, Broken> {
        if payload.first() != Some(&CLIENT_HELLO) {
            return Err(Broken::Ours(Alert::UnexpectedMessage));
        }
        count(&mut self.renegotiations, RENEGOTIATIONS)?;
        self.refusal_owed = true;
        Ok(Opened::Other)
    }

    /// Seals all of `data` into as few records as can be, and gives each to `send`.
    ///
    /// # Errors
    /// The key has protected as much as it may, and TLS 1.2 has no other: then nothing was sealed.
    pub(super) fn seal(&mut self, data: &[&[u8]], mut send: impl FnMut(Bytes)) -> Result<(), Error> {
        let mut rest = OutboundChunks::new(data);
        let records = rest.len().div_ceil(FRAGMENT_LIMIT) as u64;
        if !self.is_tls13() && self.limit().saturating_sub(self.sent) < records {
            return Err(Error::EncryptError);
        }
        if std::mem::take(&mut self.update_owed) {
            self.update_keys(&mut send)?;
        }
        while !rest.is_empty() {
            // The last record under a key is the one that says so.
            if self.is_tls13() && self.sent >= self.limit() - 1 {
                self.update_keys(&mut send)?;
            }
            let (fragment, behind) = rest.split_at(FRAGMENT_LIMIT);
            send(self.protect(ContentType::ApplicationData, fragment)?);
            rest = behind;
        }
        Ok(())
    }

    /// The answer to a renegotiation that the client tried, if there is one to give now.
    ///
    /// # Errors
    /// As [`Records::seal`].
    pub(super) fn refusal(&mut self) -> Result<Option<Bytes>, Error> {
        if !std::mem::take(&mut self.refusal_owed) {
            return Ok(None);
        }
        self.protect_alert(Level::Warning, Alert::NoRenegotiation).map(Some)
    }

    /// How many records a key may protect (RFC 8446 §5.5).
    fn limit(&self) -> u64 {
        match self.suite {
            SupportedCipherSuite::Tls13(suite) => suite.common.confidentiality_limit,
            SupportedCipherSuite::Tls12(suite) => suite.common.confidentiality_limit,
        }
    }

    /// RFC 8446 §4.6.3: the old key's last record says that there is a new one.
    fn update_keys(&mut self, send: &mut impl FnMut(Bytes)) -> Result<(), Error> {
        let message: [&[u8]; 2] = [&KEY_UPDATE, &[UPDATE_NOT_REQUESTED]];
        send(self.protect(ContentType::Handshake, OutboundChunks::new(&message))?);
        let (sent, ours) = self.schedule.as_mut().ok_or(Error::EncryptError)?.update_tx_secret()?;
        self.encrypter = keys::encrypter(self.suite, ours, sent)?;
        self.sent = sent;
        Ok(())
    }

    /// close_notify, the last record (RFC 8446 §6.1).
    pub(super) fn close_notify(&mut self) -> Result<Bytes, Error> {
        self.protect_alert(Level::Warning, Alert::CloseNotify)
    }

    /// An error's alert, the last record (RFC 8446 §6.2).
    pub(super) fn fatal(&mut self, alert: Alert) -> Result<Bytes, Error> {
        self.protect_alert(Level::Fatal, alert)
    }

    fn protect_alert(&mut self, level: Level, alert: Alert) -> Result<Bytes, Error> {
        self.protect(ContentType::Alert, alert.content(level).as_slice().into())
    }

    fn protect(&mut self, typ: ContentType, payload: OutboundChunks<'_>) -> Result<Bytes, Error> {
        let plain = OutboundPlainMessage { typ, version: ProtocolVersion::TLSv1_2, payload };
        let sealed = self.encrypter.encrypt(plain, self.sent)?;
        self.sent += 1;
        Ok(sealed.encode().into())
    }
}

struct Header {
    content_type: ContentType,
    version: u16,
    length: usize,
}

fn header(wire: &[u8]) -> Option<Header> {
    let [content_type, major, minor, high, low] = *wire.first_chunk::<HEADER>()?;
    Some(Header {
        content_type: content_type.into(),
        version: u16::from_be_bytes([major, minor]),
        length: usize::from(u16::from_be_bytes([high, low])),
    })
}

/// Where the record that begins at `from` says that it ends, once its header is there.
pub(super) fn declared_end(wire: &[u8], from: usize) -> Option<usize> {
    Some(from + HEADER + header(wire.get(from..)?)?.length)
}

fn count(counter: &mut u8, most: u8) -> Result<(), Broken> {
    if *counter >= most {
        return Err(Broken::Ours(Alert::UnexpectedMessage));
    }
    *counter += 1;
    Ok(())
}

#[cfg(test)]
mod tests;
