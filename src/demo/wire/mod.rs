//! What both embedded servers stand on: who connected, lines, counted octets, and limits on all of them.

use std::fmt::Display;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use proxy_header::{Error as HeaderError, ParseConfig, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use crate::facts::canonical;
use crate::protocol::line::{Line, first_line};

/// The most sessions of one server.
const SESSIONS: usize = 200;
/// The most octets read ahead of what was understood.
const CHUNK: usize = 64 * 1024;
/// The longest PROXY header that is taken: what Dovecot takes.
const HEADER: usize = 1500;
/// How long the header and a client that does not read may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a session talks over.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Who the PROXY header says is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// The client's address; the proxy's own after `LOCAL`.
    pub address: SocketAddr,
    /// Whether the client has TLS with the proxy.
    pub tls: bool,
}

/// A running server; it and its sessions end when this is dropped.
#[derive(Debug)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    task: AbortHandle,
}

impl Server {
    /// Listens on a free loopback port and runs `session` for everybody who sends a PROXY v2 header first.
    ///
    /// # Errors
    /// If no port can be had.
    pub async fn start<F, S>(session: F) -> io::Result<Self>
    where
        F: Fn(Wire<TcpStream>, Client) -> S + Send + Sync + 'static,
        S: Future<Output = io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(accept(listener, Arc::new(session))).abort_handle();
        Ok(Self { address, task })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept<F, S>(listener: TcpListener, session: Arc<F>)
where
    F: Fn(Wire<TcpStream>, Client) -> S + Send + Sync + 'static,
    S: Future<Output = io::Result<()>> + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(SESSIONS));
    let mut sessions = JoinSet::new();
    while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let session = Arc::clone(&session);
                sessions.spawn(async move {
                    let _permit = permit;
                    stream.set_nodelay(true)?;
                    let mut wire = Wire::new(stream, PATIENCE);
                    let client = wire.proxy_header(peer).await?;
                    session(wire, client).await
                });
            }
            // Out of file descriptors, most likely: trying at once would only spin.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
        while sessions.try_join_next().is_some() {}
    }
}

/// What was heard.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// A line without its CRLF.
    Line(BytesMut),
    /// A line that broke a rule, and which; it is gone.
    Malformed(&'static str),
    /// The other side is done.
    End,
}

/// A connection: what was read and not yet understood, and what is yet to be sent.
#[derive(Debug)]
pub struct Wire<S> {
    stream: S,
    input: BytesMut,
    output: BytesMut,
    patience: Duration,
}

impl<S: Stream> Wire<S> {
    /// Over `stream`; nobody is waited for longer than `patience`.
    pub fn new(stream: S, patience: Duration) -> Self {
        Self { stream, input: BytesMut::new(), output: BytesMut::new(), patience }
    }

    /// From now on, nobody is waited for longer than `patience`.
    pub fn wait_at_most(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Puts a line into the output; it leaves before the next wait for input (RFC 2920 §3.2).
    pub fn say(&mut self, line: impl Display) {
        self.put(line.to_string().as_bytes());
        self.put(b"\r\n");
    }

    /// Puts octets into the output.
    pub fn put(&mut self, octets: &[u8]) {
        self.output.extend_from_slice(octets);
    }

    /// Sends the output if it has grown large, so that many answers in a row do not pile up.
    ///
    /// # Errors
    /// If the other side is gone or does not read.
    pub async fn relieve(&mut self) -> io::Result<()> {
        if self.output.len() > CHUNK { self.flush().await } else { Ok(()) }
    }

    /// Sends all of the output.
    ///
    /// # Errors
    /// If the other side is gone or does not read.
    pub async fn flush(&mut self) -> io::Result<()> {
        timeout(PATIENCE, self.stream.write_all_buf(&mut self.output)).await?
    }

    /// Sends the output, then the end.
    ///
    /// # Errors
    /// If the other side is gone or does not read.
    pub async fn close(mut self) -> io::Result<()> {
        self.flush().await?;
        self.stream.shutdown().await
    }

    /// Gives the stream back, for TLS.
    ///
    /// # Errors
    /// If something was read that nobody understood yet: it would be taken for something said inside TLS.
    pub fn into_stream(self) -> io::Result<S> {
        if self.input.is_empty() { Ok(self.stream) } else { Err(io::ErrorKind::InvalidData.into()) }
    }

    /// Waits for more input; `false` at its end. May be cancelled without loss.
    async fn fill(&mut self) -> io::Result<bool> {
        self.flush().await?;
        self.input.reserve(16 * 1024);
        Ok(timeout(self.patience, self.stream.read_buf(&mut self.input)).await?? > 0)
    }

    /// The next line; `limit` counts its CRLF. May be cancelled without loss, except within a line that is too long.
    ///
    /// # Errors
    /// If the other side is gone or silent, or a line goes on for ever.
    pub async fn line(&mut self, limit: usize) -> io::Result<Heard> {
        loop {
            match first_line(&self.input, limit) {
                Line::Whole(length) => {
                    let mut line = self.input.split_to(length);
                    line.truncate(length - 2);
                    return Ok(Heard::Line(line));
                }
                Line::BareNewline(length) => {
                    self.input.advance(length);
                    return Ok(Heard::Malformed("a line ends in CRLF and holds no other CR or LF"));
                }
                Line::TooLong => {
                    self.skip_line().await?;
                    return Ok(Heard::Malformed("line too long"));
                }
                Line::Partial if self.fill().await? => {}
                Line::Partial => return Ok(Heard::End),
            }
        }
    }

    async fn skip_line(&mut self) -> io::Result<()> {
        let mut skipped = 0;
        loop {
            if let Some(lf) = memchr::memchr(b'\n', &self.input) {
                self.input.advance(lf + 1);
                return Ok(());
            }
            skipped += self.input.len();
            self.input.clear();
            if skipped > CHUNK || !self.fill().await? {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
    }

    /// Exactly `count` octets; none if there are more than `limit`, and then they are gone.
    ///
    /// # Errors
    /// If the other side is gone or silent.
    pub async fn octets(&mut self, count: u64, limit: usize) -> io::Result<Option<BytesMut>> {
        let mut kept = usize::try_from(count).is_ok_and(|count| count <= limit).then(BytesMut::new);
        let mut left = count;
        while left > 0 {
            if self.input.is_empty() && !self.fill().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let length = usize::try_from(left).unwrap_or(usize::MAX).min(self.input.len());
            let piece = self.input.split_to(length);
            if let Some(kept) = &mut kept {
                kept.extend_from_slice(&piece);
            }
            left -= length as u64;
        }
        Ok(kept)
    }

    /// What follows DATA, up to CRLF.CRLF and nothing else (RFC 5321 §4.1.1.4), its dots undone (§4.5.2); none if it
    /// is longer than `limit`, and then it is gone.
    ///
    /// # Errors
    /// If the other side is gone or silent.
    pub async fn data(&mut self, limit: usize) -> io::Result<Option<BytesMut>> {
        let mut kept = Some(BytesMut::new());
        let mut at_line_start = true;
        loop {
            let (mut piece, ends_line) = match memchr::memmem::find(&self.input, b"\r\n") {
                Some(at) => (self.input.split_to(at + 2), true),
                // The last octet may be the CR of a CRLF.
                None if self.input.len() > CHUNK => (self.input.split_to(self.input.len() - 1), false),
                None if self.fill().await? => continue,
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            };
            if at_line_start && piece.first() == Some(&b'.') {
                if *piece == *b".\r\n" {
                    return Ok(kept);
                }
                piece.advance(1);
            }
            at_line_start = ends_line;
            match &mut kept {
                Some(content) if content.len() + piece.len() <= limit => content.extend_from_slice(&piece),
                _ => kept = None,
            }
        }
    }

    /// The PROXY v2 header that must come first.
    async fn proxy_header(&mut self, peer: SocketAddr) -> io::Result<Client> {
        let config = ParseConfig { include_tlvs: true, allow_v1: false, allow_v2: true };
        loop {
            match ProxyHeader::parse(&self.input, config) {
                Ok((header, length)) => {
                    let client = Client {
                        address: canonical(header.proxied_address().map_or(peer, |proxied| proxied.source)),
                        tls: header.ssl().is_some_and(|ssl| ssl.client_ssl()),
                    };
                    self.input.advance(length);
                    return Ok(client);
                }
                Err(HeaderError::BufferTooShort) if self.input.len() <= HEADER => {}
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
            if !self.fill().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

#[cfg(test)]
mod tests;
