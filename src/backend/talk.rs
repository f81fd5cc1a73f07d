//! A bounded conversation with a backend before any dialogue: whole replies, whole lines, one deadline.

use std::io;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, UnixStream};
use tokio::time::{Instant, sleep, timeout_at};

use super::Connected;
use super::error::{ConnectError, quote};
use crate::config::BackendAddr;
use crate::descriptors::is_shortage;
use crate::protocol::line::{Line, first_line};
use crate::protocol::smtp::reply::{self, ReplyParse, first_reply};
use crate::stream::Backend;

/// The longest line of an IMAP backend that is waited for here: RFC 7162 §4 asks for 8192 octets, a greeting with all
/// of a server's capabilities stays far below that.
const LINE_LIMIT: usize = 8 * 1024;

/// How long a silent connection lives before the system probes whether the backend is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Before a Unix-domain socket whose queue is full is tried again.
const QUEUE_FULL: Duration = Duration::from_millis(20);

/// A connected backend and what it said so far.
pub(super) struct Talk<'a> {
    backend: &'a BackendAddr,
    stream: Backend,
    input: BytesMut,
    limit: Duration,
    until: Instant,
}

/// A whole SMTP reply.
#[derive(Debug)]
pub(super) struct Reply {
    /// Its code.
    pub code: u16,
    /// All its lines, CRLFs included.
    pub text: Bytes,
}

impl<'a> Talk<'a> {
    /// Connects; everything up to the next [`Talk::allow`] must be done within `limit`.
    pub async fn dial(backend: &'a BackendAddr, limit: Duration) -> Result<Self, ConnectError> {
        let until = Instant::now() + limit;
        let stream = timeout_at(until, open(backend))
            .await
            .map_err(|_| ConnectError::Late { backend: backend.clone(), step: "connection", limit })?
            .map_err(|source| match is_shortage(&source) {
                true => ConnectError::Short { backend: backend.clone(), source },
                false => ConnectError::Dial { backend: backend.clone(), source },
            })?;
        Ok(Self { backend, stream, input: BytesMut::new(), limit, until })
    }

    /// Whom this is with, for errors.
    pub fn backend(&self) -> BackendAddr {
        self.backend.clone()
    }

    /// Starts a new deadline.
    pub fn allow(&mut self, limit: Duration) {
        self.limit = limit;
        self.until = Instant::now() + limit;
    }

    /// Sends `bytes` in one write as far as the socket takes it; `step` names the answer that they are for.
    pub async fn send(&mut self, bytes: &[u8], step: &'static str) -> Result<(), ConnectError> {
        match timeout_at(self.until, self.stream.write_all(bytes)).await {
            Ok(sent) => sent.map_err(|source| self.lost(step, source)),
            Err(_) => Err(self.late(step)),
        }
    }

    /// Waits until the backend has said anything, which is left where it is.
    pub async fn any_octet(&mut self, step: &'static str) -> Result<(), ConnectError> {
        if self.input.is_empty() { self.read(step).await } else { Ok(()) }
    }

    /// The code of the SMTP reply that comes next, which is left where it is.
    pub async fn peek_reply(&mut self, step: &'static str) -> Result<Reply, ConnectError> {
        let whole = self.whole_reply(step).await?;
        Ok(Reply { code: whole.code, text: Bytes::copy_from_slice(self.input.get(..whole.len).unwrap_or_default()) })
    }

    /// The SMTP reply that comes next.
    pub async fn reply(&mut self, step: &'static str) -> Result<Reply, ConnectError> {
        let whole = self.whole_reply(step).await?;
        Ok(Reply { code: whole.code, text: self.input.split_to(whole.len).freeze() })
    }

    async fn whole_reply(&mut self, step: &'static str) -> Result<reply::Reply, ConnectError> {
        loop {
            match first_reply(&self.input) {
                ReplyParse::Whole(reply) => return Ok(reply),
                ReplyParse::Partial => self.read(step).await?,
                ReplyParse::Nonsense | ReplyParse::TooLong => return Err(self.nonsense(step)),
            }
        }
    }

    /// The IMAP line that comes next, CRLF included.
    pub async fn line(&mut self, step: &'static str) -> Result<Bytes, ConnectError> {
        loop {
            match first_line(&self.input, LINE_LIMIT) {
                Line::Whole(len) => return Ok(self.input.split_to(len).freeze()),
                Line::Partial => self.read(step).await?,
                Line::BareNewline(_) | Line::TooLong => return Err(self.nonsense(step)),
            }
        }
    }

    /// Puts what was taken back in front of what comes next.
    pub fn put_back(&mut self, taken: &[u8]) {
        let rest = self.input.split();
        self.input.extend_from_slice(taken);
        self.input.extend_from_slice(&rest);
    }

    /// Says goodbye and hears one answer out, as long as the deadline allows, so that the backend's log shows no break.
    pub async fn quit(mut self, command: &[u8]) {
        let goodbye = async {
            self.stream.write_all(command).await?;
            self.stream.read_buf(&mut self.input).await
        };
        // Nothing is lost if the backend does not listen any more: all that was to learn is known.
        let _: Result<io::Result<usize>, _> = timeout_at(self.until, goodbye).await;
    }

    /// Hands the connection over to a dialogue.
    pub fn into_connected(self) -> Connected {
        Connected { stream: self.stream, input: self.input }
    }

    /// The backend broke the protocol.
    pub fn nonsense(&self, step: &'static str) -> ConnectError {
        ConnectError::Nonsense { backend: self.backend(), step, seen: quote(&self.input) }
    }

    /// The backend said no.
    pub fn refused(&self, step: &'static str, reply: &[u8]) -> ConnectError {
        let (backend, reply) = (self.backend(), quote(reply));
        // RFC 3207 §4, and Postfix with `soft_bounce = yes`. RFC 4954 §6 has the same code for a login that is missing, which is no trouble.
        if (reply.starts_with("530 ") || reply.starts_with("430 ")) && reply.to_ascii_uppercase().contains("STARTTLS") {
            return ConnectError::WantsTls { backend, reply };
        }
        ConnectError::Refused { backend, step, reply }
    }

    async fn read(&mut self, step: &'static str) -> Result<(), ConnectError> {
        match timeout_at(self.until, self.stream.read_buf(&mut self.input)).await {
            Ok(Ok(0)) => Err(self.lost(step, io::ErrorKind::UnexpectedEof.into())),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(source)) => Err(self.lost(step, source)),
            Err(_) => Err(self.late(step)),
        }
    }

    fn lost(&self, step: &'static str, source: io::Error) -> ConnectError {
        ConnectError::Lost { backend: self.backend(), step, source }
    }

    fn late(&self, step: &'static str) -> ConnectError {
        ConnectError::Late { backend: self.backend(), step, limit: self.limit }
    }
}

async fn open(backend: &BackendAddr) -> io::Result<Backend> {
    match backend {
        BackendAddr::Tcp(address) => {
            let socket = match address {
                SocketAddr::V4(_) => TcpSocket::new_v4()?,
                SocketAddr::V6(_) => TcpSocket::new_v6()?,
            };
            socket.set_nodelay(true)?;
            if address.ip().is_loopback() {
                do_not_pace(&SockRef::from(&socket));
            } else {
                // A backend on this host cannot vanish without the kernel's noticing.
                SockRef::from(&socket).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
            }
            Ok(Backend::Tcp(socket.connect(*address).await?))
        }
        BackendAddr::Unix(path) => loop {
            match UnixStream::connect(path).await {
                // unix(7): its queue is full. TCP waits for a place in the kernel.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(QUEUE_FULL).await,
                connected => return Ok(Backend::Unix(connected?)),
            }
        },
    }
}

/// Leaves out BBR, which many hosts are told to use, where there is nothing to congest: it sends at a pace that it computes,
/// with a timer for each packet, and takes a fifth of what a large mail costs. A connection that was once paced stays so.
fn do_not_pace(unconnected: &SockRef<'_>) {
    static PACED: OnceLock<bool> = OnceLock::new();
    let paced = || unconnected.tcp_congestion().is_ok_and(|algorithm| algorithm.starts_with(b"bbr"));
    if *PACED.get_or_init(paced) {
        let _ = unconnected.set_tcp_congestion(b"reno"); // any process may; without it, all works as well
    }
}
