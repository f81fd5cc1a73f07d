//! TLS towards the clients, forward secret or not at all.
//!
//! [`Server::accept`] tells a handshake from beginning to end: look at the ClientHello, choose the settings, let
//! `rustls` do its work, establish the facts. A [`TlsFacts`] comes from nowhere else, and only with an ephemeral group.

mod alert;
mod certificates;
mod client_certificates;
mod client_hello;
mod code_points;
mod established;
#[cfg(test)]
mod forge;
mod handshake;
mod key_schedule;
mod keys;
#[cfg(test)]
mod pair;
mod pem;
mod policy;
mod protection;
mod records;
mod refusal;
mod resolver;
pub mod self_signed;
mod signing;
mod stream;
mod tickets;

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rustls::pki_types::UnixTime;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

use crate::config;
use crate::facts::TlsFacts;
use crate::protocol::SERVICES;
use alert::Alert;
pub use certificates::{Certificate, CertificateError, PemPair};
pub use client_certificates::AuthorityError;
use client_certificates::ClientCertificates;
use client_hello::ClientHello;
use established::Finished;
use handshake::Shaken;
pub use pem::holds_private_key;
use policy::{Common, Profile};
use records::Records;
pub use refusal::HandshakeError;
pub(crate) use refusal::NOTHING_IN_COMMON;
use refusal::reasons;
use resolver::{Current, Resolver};
pub use signing::KeyKind;
pub use stream::Stream;
use tickets::Tickets;

/// What a handshake reads at once: a client's flights are smaller unless they show a certificate.
const READ_SIZE: usize = 2048;

/// How long a refused client has to take its alert before the connection is torn down.
const PARTING: Duration = Duration::from_secs(1);

/// TLS for all listeners. Cheap to clone.
#[derive(Clone)]
pub struct Server(Arc<Inner>);

struct Inner {
    /// By ALPN name.
    profiles: Vec<(&'static str, Profile)>,
    certificates: Arc<Current>,
    client_certificates: ClientCertificates,
    tickets: Option<Arc<Tickets>>,
}

/// Why there can be no TLS.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A server cannot do without.
    #[error("there is no certificate; add a [[tls.certificate]] with `chain` and `key`")]
    NoCertificate,
    /// The authorities of the clients' certificates.
    #[error("tls.client_ca: {0}")]
    Authority(#[from] AuthorityError),
    /// Ticket keys need them.
    #[error("the system gives no random numbers")]
    NoRandomness,
    /// The settings contradict each other.
    #[error("TLS settings: {0}")]
    Settings(#[from] rustls::Error),
}

impl Server {
    /// Settings for every service that there is. `certificates` in the order of the config: the first is for clients
    /// that ask for no name.
    ///
    /// # Errors
    /// Says which setting or file is at fault.
    pub fn new(settings: &config::Tls, certificates: Vec<Certificate>) -> Result<Self, SetupError> {
        Self::with_authorities(settings, certificates, None)
    }

    /// The same, with what the file of the clients' authorities holds (PEM): for a process that may not read it.
    ///
    /// # Errors
    /// As for [`Server::new`].
    pub fn with_authorities(
        settings: &config::Tls,
        certificates: Vec<Certificate>,
        authorities: Option<&[u8]>,
    ) -> Result<Self, SetupError> {
        let client_certificates = ClientCertificates::new(&settings.client_certificates, authorities)?;
        let tickets = settings.ticket_rotation.map(Tickets::new).transpose().map_err(|_| SetupError::NoRandomness)?;
        let tickets = tickets.map(Arc::new);
        let certificates = Resolver::new(certificates).ok_or(SetupError::NoCertificate)?;
        let certificates = Arc::new(Current::new(certificates));
        let common = Common {
            policy: settings.policy,
            certificates: Arc::clone(&certificates),
            client_certificates: Arc::clone(&client_certificates.handshake),
            tickets: tickets.clone(),
        };
        let mut profiles: Vec<(&'static str, Profile)> = Vec::new();
        for service in SERVICES {
            if !profiles.iter().any(|(alpn, _)| *alpn == service.alpn) {
                profiles.push((service.alpn, Profile::new(&common, service.alpn)?));
            }
        }
        Ok(Self(Arc::new(Inner { profiles, certificates, client_certificates, tickets })))
    }

    /// Takes other certificates for all handshakes from now on, in the order of the config. Sessions that are up stay as
    /// they are; tickets and the authorities of the clients' certificates stay, too.
    ///
    /// # Errors
    /// There is none; then those from before stay.
    pub fn renew(&self, certificates: Vec<Certificate>) -> Result<(), SetupError> {
        self.0.certificates.replace(Resolver::new(certificates).ok_or(SetupError::NoCertificate)?);
        Ok(())
    }

    /// Rolls the ticket keys. The caller's timer does so every `ticket_rotation`, whether or not anybody connects.
    pub fn roll_ticket_keys(&self) {
        if let Some(tickets) = &self.0.tickets {
            tickets.roll(Instant::now());
        }
    }

    /// Does the handshake with a client, within `deadline`. `alpn` is the service's protocol name. The client is told `greeting`
    /// as soon as TLS allows: in TLS 1.3 before its own last words, which saves it a round trip.
    ///
    /// All state of the handshake is behind the one pointer that this future is, and gone when it ends. It may be
    /// dropped at any time, which closes the connection.
    ///
    /// # Errors
    /// A [`HandshakeError`]: the client has been sent the alert that TLS has for it.
    pub fn accept<S>(
        &self,
        stream: S,
        alpn: &'static str,
        greeting: Bytes,
        deadline: Duration,
    ) -> impl Future<Output = Result<(Stream<S>, TlsFacts), HandshakeError>> + Send + use<S>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            let mut progress = Progress::default();
            let mut unsaid = greeting.clone();
            let done = timeout(deadline, inner.handshake(stream, alpn, &mut unsaid, &mut progress)).await;
            let done = done.unwrap_or_else(|_| Err(progress.timed_out(deadline)));
            done.map_err(|error| HandshakeError { greeted: greeting.len() - unsaid.len(), ..error })
        })
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("tickets", &self.0.tickets).finish_non_exhaustive()
    }
}

/// How far a handshake came: it outlives the handshake's own deadline.
#[derive(Default)]
struct Progress {
    /// When the first octet came.
    began: Option<Instant>,
    hello: Option<ClientHello>,
}

impl Progress {
    fn timed_out(&self, deadline: Duration) -> HandshakeError {
        let reason = if self.hello.is_some() { reasons::TIMEOUT } else { reasons::NO_HELLO_IN_TIME };
        let received = if self.began.is_some() { "it began and did not end" } else { "the client sent nothing" };
        HandshakeError::new(reason, self.hello.as_ref(), &format!("{received} within {deadline:?}"))
    }
}

impl Inner {
    async fn handshake<S>(
        &self,
        mut stream: S,
        alpn: &str,
        greeting: &mut Bytes,
        progress: &mut Progress,
    ) -> Result<(Stream<S>, TlsFacts), HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let mut wire = BytesMut::new();
        let hello = match client_hello::read(&mut stream, &mut wire, &mut progress.began).await {
            Ok(hello) => hello,
            Err(unfit) => {
                if let Some(alert) = unfit.alert {
                    send(&mut stream, alert, 0x0301).await;
                }
                return Err(HandshakeError::new(unfit.reason, None, &unfit.detail));
            }
        };
        progress.hello = Some(hello);
        // Only a client that has said what it wants is worth the state of all that follows.
        Box::pin(self.answer(stream, alpn, greeting, progress, wire)).await
    }

    /// Everything from the whole ClientHello on, with which `wire` begins.
    async fn answer<S>(
        &self,
        mut stream: S,
        alpn: &str,
        greeting: &mut Bytes,
        progress: &Progress,
        wire: BytesMut,
    ) -> Result<(Stream<S>, TlsFacts), HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let refuse = |reason, detail: &str| HandshakeError::new(reason, progress.hello.as_ref(), detail);
        let Some(hello) = &progress.hello else {
            return Err(refuse(reasons::NO_HELLO_IN_TIME, "there is no ClientHello"));
        };

        let Some((_, profile)) = self.profiles.iter().find(|(name, _)| *name == alpn) else {
            return Err(refuse(reasons::NO_PROFILE, "no service has this ALPN name"));
        };
        // RFC 8446 §4.2.1, §6.2: protocol_version. rustls asks for signature_algorithms first, which clients that
        // old do not send, and would answer handshake_failure.
        let Some((version, config)) = profile.choose(hello) else {
            send(&mut stream, Alert::ProtocolVersion, hello.record_version).await;
            return Err(refuse(reasons::NO_VERSION, "the policy has no version that the client has"));
        };
        if let Some((alert, reason, detail)) = refusal::objection(hello, version) {
            send(&mut stream, alert, hello.record_version).await;
            return Err(refuse(reason, detail));
        }

        let Shaken { connection, signature, wire, mut unsent, mut memory } =
            match handshake::shake(&mut stream, config, wire, greeting).await {
                Ok(shaken) => shaken,
                Err(failure) => {
                    let reason = refusal::reason(&failure, hello, version);
                    if failure.sent_alert() {
                        part(&mut stream).await;
                    }
                    return Err(refuse(reason, &failure.to_string()));
                }
            };

        let Some(client_certificate) = self.client_certificates.fact(connection.peer_certificates(), UnixTime::now())
        else {
            // It has been greeted, and rustls is content with its ticket. With the alert it forgets that (RFC 8446 §6.2)
            // instead of coming back with it. The authorities stay as they are: it is the certificate's time that ran out.
            let alert = |mut records: Records| records.fatal(Alert::CertificateExpired);
            if let Ok(alert) = Records::new(connection, &mut memory).and_then(alert) {
                unsent.extend_from_slice(&alert);
                tell(&mut stream, &unsent).await;
            }
            return Err(refuse(reasons::CERTIFICATE_REJECTED, "the resumed session's certificate is no longer good"));
        };
        let handshake = progress.began.map_or(Duration::ZERO, |began| began.elapsed());
        let facts = Finished::of(&connection, hello, signature).establish(client_certificate, handshake);
        let facts = facts.map_err(|missing| refuse(reasons::NOT_FORWARD_SECRET, missing))?;
        let records =
            Records::new(connection, &mut memory).map_err(|error| refuse(reasons::NO_RECORDS, &error.to_string()))?;
        Ok((Stream::new(stream, records, wire, unsent.freeze()), facts))
    }
}

/// Reads once, at most `room` octets, behind what is in `wire`. A client may take its time in a handshake, and meanwhile costs
/// what it sent: the room for a read is on the stack, and only while there is something to read.
async fn receive<S: AsyncRead + Unpin>(stream: &mut S, wire: &mut BytesMut, room: usize) -> io::Result<usize> {
    poll_fn(|cx| {
        let mut space = [MaybeUninit::uninit(); READ_SIZE];
        let mut read = ReadBuf::uninit(space.get_mut(..room.min(READ_SIZE)).unwrap_or_default());
        ready!(Pin::new(&mut *stream).poll_read(cx, &mut read))?;
        wire.extend_from_slice(read.filled());
        Poll::Ready(Ok(read.filled().len()))
    })
    .await
}

/// Sends an alert of our own and parts.
async fn send<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, alert: Alert, version: u16) {
    tell(stream, &alert.record(version)).await;
}

/// Sends last records and parts.
async fn tell<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, records: &[u8]) {
    // The client is gone or has its alert: what follows is the same.
    let _ = timeout(PARTING, stream.write_all(records)).await;
    part(stream).await;
}

/// Lets the client finish and take the alert. To close with octets unread would reset the connection, and a reset may
/// take the alert with it.
async fn part<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
    let drain = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(64 * 1024), &mut tokio::io::sink()).await
    };
    let _ = timeout(PARTING, drain).await;
}

#[cfg(test)]
mod tests;
