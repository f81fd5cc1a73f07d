//! The handshake: `rustls` says what to send and when to wait; the waiting is here.

use std::io;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus};
use rustls::{AlertDescription, Error, ProtocolVersion, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::alert::Alert;
use super::key_schedule::Memory;
use super::records::{EXPANSION_TLS12, FRAGMENT_LIMIT, HEADER, declared_end};
use super::signing;
use crate::facts::ServerSignature;

/// What may wait for the rest of a handshake message, in octets on the wire: the longest that `rustls` takes, 64 KiB,
/// and as much again for how it is cut into records. A client could cut it into single octets, each a record.
const WIRE_LIMIT: usize = 128 * 1024;

/// A handshake that is over.
pub(super) struct Shaken {
    pub(super) connection: UnbufferedServerConnection,
    /// The signature that the server made; none in a resumption.
    pub(super) signature: Option<ServerSignature>,
    /// What the client sent behind the handshake.
    pub(super) wire: BytesMut,
    /// Records that need not reach the client before it goes on: tickets.
    pub(super) unsent: BytesMut,
    /// What was derived on the way.
    pub(super) memory: Memory,
}

/// Why there was none.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The client has been sent an alert, unless it sent one itself.
    #[error("{0}")]
    Tls(#[from] Error),
    /// It is gone.
    #[error("{0}")]
    Gone(#[from] io::Error),
}

impl Failure {
    /// Whether there is an alert on its way that the client should get.
    pub(super) fn sent_alert(&self) -> bool {
        matches!(self, Self::Tls(error) if !matches!(error, Error::AlertReceived(_)))
    }
}

/// Does the handshake. `wire` begins with the whole ClientHello. `greeting` is data that the client is to have at once: it
/// leaves with our Finished, which in TLS 1.3 comes before the client's own (RFC 8446 §4.4.4) and saves a round trip. By then
/// the client has proved nothing, but nobody without the key that its hello was made with can read it. What has left is taken
/// out of it, also where the handshake then fails.
pub(super) async fn shake<S>(
    stream: &mut S,
    config: &Arc<ServerConfig>,
    wire: BytesMut,
    greeting: &mut Bytes,
) -> Result<Shaken, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut shaking = Shaking {
        connection: UnbufferedServerConnection::new(Arc::clone(config))?,
        wire,
        fed: 0,
        unsent: BytesMut::new(),
        greeting: greeting.clone(),
        waited_for: false,
    };
    let mut memory = Memory::default();
    let mut signature = None;
    loop {
        let (step, signed) = memory.during(|| signing::noting(|| shaking.advance()));
        signature = signed.or(signature);
        match step {
            Ok(Step::Done) => break,
            Ok(Step::Wait) if shaking.wire.len() >= WIRE_LIMIT => {
                return Err(Error::General("a handshake message in too many records".into()).into());
            }
            Ok(Step::Wait) => {
                stream.write_all_buf(&mut shaking.unsent).await?;
                if std::mem::take(&mut shaking.waited_for) {
                    greeting.clear();
                }
                let room = WIRE_LIMIT - shaking.wire.len();
                if super::receive(stream, &mut shaking.wire, room).await? == 0 {
                    return Err(Failure::Gone(io::ErrorKind::UnexpectedEof.into()));
                }
            }
            Err(error) => {
                // Whoever is gone cannot be told; what went wrong is known all the same.
                if stream.write_all_buf(&mut shaking.unsent).await.is_ok() && shaking.waited_for {
                    greeting.clear();
                }
                return Err(error.into());
            }
        }
    }
    let Shaking { connection, mut wire, mut unsent, waited_for, .. } = shaking;
    // The client waits for the last words of a TLS 1.2 handshake. Those of TLS 1.3 are tickets, which may as well go
    // out with the next data.
    if waited_for || connection.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
        stream.write_all_buf(&mut unsent).await?;
    }
    if wire.is_empty() {
        wire = BytesMut::new(); // lets go of the memory: the stream lives as long as the session
    }
    Ok(Shaken { connection, signature, wire, unsent, memory })
}

enum Step {
    /// Send what is unsent, then read.
    Wait,
    Done,
}

struct Shaking {
    connection: UnbufferedServerConnection,
    wire: BytesMut,
    /// So many octets of the wire are before `rustls`: whole records, one more at a time, so that none behind the last
    /// of the handshake is opened.
    fed: usize,
    unsent: BytesMut,
    /// What is left of it to say: all or nothing.
    greeting: Bytes,
    /// It is among what is unsent.
    waited_for: bool,
}

impl Shaking {
    fn advance(&mut self) -> Result<Step, Error> {
        loop {
            let UnbufferedStatus { discard, state } =
                self.connection.process_tls_records(self.wire.get_mut(..self.fed).unwrap_or_default());
            let mut blocked = false;
            match state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    append(&mut self.unsent, |room| data.encode(room))?;
                }
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(), // with the next wait
                Ok(ConnectionState::BlockedHandshake) => blocked = true,
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    let greeting = std::mem::take(&mut self.greeting);
                    if !greeting.is_empty() {
                        append(&mut self.unsent, |room| traffic.encrypt(&greeting, room))?;
                        self.waited_for = true;
                    }
                    if !self.connection.is_handshaking() {
                        self.discard(discard);
                        return Ok(Step::Done);
                    }
                    blocked = true;
                }
                Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                    return Err(Error::AlertReceived(AlertDescription::CloseNotify));
                }
                // Data before the end of the handshake: there is no 0-RTT, and one record at a time brings no other.
                Ok(_) => return Err(Error::General("data within the handshake".into())),
                Err(error) => {
                    self.discard(discard);
                    self.last_words(&error);
                    return Err(error);
                }
            }
            self.discard(discard);
            if blocked {
                match self.next_record() {
                    Some(end) => self.fed = end,
                    None => return Ok(Step::Wait),
                }
            }
        }
    }

    fn discard(&mut self, octets: usize) {
        self.wire.advance(octets.min(self.wire.len()));
        self.fed = self.fed.saturating_sub(octets);
    }

    /// Where the next record ends, if it is here whole. One that never could be is for `rustls` to refuse as it is.
    fn next_record(&self) -> Option<usize> {
        let end = declared_end(&self.wire, self.fed)?;
        let endless = end - self.fed > HEADER + FRAGMENT_LIMIT + EXPANSION_TLS12;
        if endless { Some(self.wire.len()) } else { (end <= self.wire.len()).then_some(end) }
    }

    /// What `rustls` has yet to say, its alert for the error the last of it. Asked once more it would look at the wire again:
    /// the same wire, for it keeps no more of a message in pieces than where they lie; and not behind an alert, for it would
    /// refuse the same record twice.
    fn last_words(&mut self, error: &Error) {
        loop {
            let wire = self.wire.get_mut(..self.fed).unwrap_or_default();
            let UnbufferedStatus { discard, state } = self.connection.process_tls_records(wire);
            let Ok(ConnectionState::EncodeTlsData(mut data)) = state else { break };
            let before = self.unsent.len();
            if append(&mut self.unsent, |room| data.encode(room)).is_err() {
                return;
            }
            self.discard(discard);
            if self.unsent.get(before..).is_some_and(is_alert) {
                return;
            }
        }
        // For some errors it has none. In TLS 1.2 all that a server says before its Finished, the last of it, is in the clear.
        let in_clear = self.connection.protocol_version() != Some(ProtocolVersion::TLSv1_3);
        if let (true, Some(alert)) = (in_clear, alert_for(error)) {
            self.unsent.extend_from_slice(&alert.record(ProtocolVersion::TLSv1_2.into()));
        }
    }
}

/// Whether a record of ours within the handshake is an alert: in the clear, or by its length under a key of TLS 1.3 (RFC 8446
/// §5.2: level, description, type and tag), for no other message is as short.
fn is_alert(record: &[u8]) -> bool {
    matches!(record, [21, ..] | [23, _, _, 0, 19, ..])
}

/// RFC 5246 §7.2.2: the alert for what `rustls` refuses without one; none for whoever sent one.
fn alert_for(error: &Error) -> Option<Alert> {
    match error {
        Error::AlertReceived(_) => None,
        Error::InvalidMessage(_) => Some(Alert::DecodeError),
        Error::PeerMisbehaved(_) => Some(Alert::UnexpectedMessage),
        _ => Some(Alert::InternalError),
    }
}

/// Why `rustls` did not write a record.
trait Unwritten {
    /// How much room it needs, if it is that.
    fn needs(&self) -> Option<usize>;
}

impl Unwritten for EncodeError {
    fn needs(&self) -> Option<usize> {
        match self {
            Self::InsufficientSize(InsufficientSizeError { required_size }) => Some(*required_size),
            Self::AlreadyEncoded => None,
        }
    }
}

impl Unwritten for EncryptError {
    fn needs(&self) -> Option<usize> {
        match self {
            Self::InsufficientSize(InsufficientSizeError { required_size }) => Some(*required_size),
            Self::EncryptExhausted => None,
        }
    }
}

/// Lets `write` write behind what there is; it says how much room it needs.
fn append<E: Unwritten>(out: &mut BytesMut, mut write: impl FnMut(&mut [u8]) -> Result<usize, E>) -> Result<(), Error> {
    let before = out.len();
    let mut room = 0;
    loop {
        out.resize(before + room, 0);
        match write(out.get_mut(before..).unwrap_or_default()).map_err(|unwritten| unwritten.needs()) {
            Ok(written) => {
                out.truncate(before + written);
                return Ok(());
            }
            Err(Some(needs)) if needs > room => room = needs,
            Err(_) => return Err(Error::General("a record that cannot be encoded".into())),
        }
    }
}

#[cfg(test)]
mod tests;
