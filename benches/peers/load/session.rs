//! A client's session, from the connection to where its commands begin, and its commands.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::tls::{Client, Kind};
use crate::subjects::Door;
use crate::wire::{Wire, do_not_pace};

/// No step of a session takes that long.
const PATIENCE: Duration = Duration::from_secs(60);

const EHLO: &[u8] = b"EHLO client.example.com\r\n";

/// Where a session goes, and how.
#[derive(Clone)]
pub struct Target {
    pub address: SocketAddr,
    pub door: Door,
    /// None for the floor.
    pub client: Option<Client>,
    pub kind: Kind,
}

impl Target {
    /// Connects and is secured; returns when the server has spoken inside TLS: by its greeting on a port with
    /// implicit TLS, by its reply to CAPABILITY or EHLO after STARTTLS.
    pub async fn open(&self) -> anyhow::Result<Session> {
        timeout(PATIENCE, self.opened()).await.context("it took too long to open a session")?
    }

    async fn opened(&self) -> anyhow::Result<Session> {
        let socket = TcpSocket::new_v4()?;
        do_not_pace(&socket)?;
        let stream = socket.connect(self.address).await.context("cannot connect")?;
        stream.set_nodelay(true)?;
        let Some(client) = &self.client else {
            return Session::new(Stream::Plain(stream)).greeted(self.door).await;
        };
        if self.door.implicit() {
            let stream = client.secure(stream, self.kind).await.context("handshake")?;
            return Session::new(Stream::Tls(Box::new(stream))).greeted(self.door).await;
        }
        let mut plain = Session::new(stream).greeted(self.door).await?;
        if self.door.imap() {
            plain.wire.send(b"s STARTTLS\r\n").await?;
            plain.wire.expect("s OK").await?;
        } else {
            plain.ehlo().await?;
            plain.command(b"STARTTLS\r\n", "220").await?;
        }
        let stream = client.secure(plain.wire.into_stream(), self.kind).await.context("handshake")?;
        let mut session = Session::new(Stream::Tls(Box::new(stream)));
        if self.door.imap() {
            session.imap("CAPABILITY").await?;
        } else {
            session.ehlo().await?;
        }
        Ok(session)
    }
}

/// An open session.
pub struct Session<S = Stream> {
    pub wire: Wire<S>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    fn new(stream: S) -> Self {
        Self { wire: Wire::new(stream) }
    }

    async fn greeted(mut self, door: Door) -> anyhow::Result<Self> {
        let greeting = if door.imap() { "* OK" } else { "220" };
        while self.wire.expect(greeting).await.context("greeting")?.get(3) == Some(&b'-') {}
        Ok(self)
    }

    pub async fn ehlo(&mut self) -> anyhow::Result<()> {
        self.command(EHLO, "250").await.map(drop).context("EHLO")
    }

    /// An SMTP command and its reply, whose last line is returned.
    pub async fn command(&mut self, command: &[u8], code: &str) -> anyhow::Result<bytes::Bytes> {
        self.wire.send(command).await?;
        self.reply(code).await.with_context(|| String::from_utf8_lossy(command).trim().to_owned())
    }

    /// The last line of a reply (RFC 5321 §4.2.1).
    pub async fn reply(&mut self, code: &str) -> anyhow::Result<bytes::Bytes> {
        loop {
            let line = timeout(PATIENCE, self.wire.expect(code)).await.context("no reply")??;
            if line.get(3) != Some(&b'-') {
                return Ok(line);
            }
        }
    }

    /// An IMAP command up to its tagged OK.
    pub async fn imap(&mut self, command: &str) -> anyhow::Result<()> {
        self.wire.send(format!("t {command}\r\n").as_bytes()).await?;
        timeout(PATIENCE, self.tagged()).await.context("no reply")?.with_context(|| command.to_owned())
    }

    /// Everything up to the tagged OK (RFC 3501 §7.1).
    pub async fn tagged(&mut self) -> anyhow::Result<()> {
        loop {
            let line = self.wire.line().await?.context("the end instead of a reply")?;
            if line.starts_with(b"t OK") {
                return Ok(());
            }
            ensure!(line.starts_with(b"* "), "{:?} instead of OK", String::from_utf8_lossy(&line));
        }
    }

    pub async fn login(&mut self) -> anyhow::Result<()> {
        self.imap("LOGIN somebody secret").await
    }

    /// FETCH of so many octets, every one of which must come.
    pub async fn fetch(&mut self, size: u64) -> anyhow::Result<()> {
        self.wire.send(format!("t FETCH 1 BODY.PEEK[]<0.{size}>\r\n").as_bytes()).await?;
        let announced = self.wire.expect("* 1 FETCH").await?;
        let end = format!("{{{size}}}\r\n");
        ensure!(announced.ends_with(end.as_bytes()), "another size: {announced:?}");
        self.wire.swallow(size).await?;
        self.wire.expect(")").await?;
        self.tagged().await
    }

    /// APPEND of so many octets.
    pub async fn append(&mut self, size: usize) -> anyhow::Result<()> {
        self.wire.send(format!("t APPEND INBOX {{{size}}}\r\n").as_bytes()).await?;
        self.wire.expect("+").await?;
        super::content::stream(&mut self.wire, size).await?;
        self.wire.send(b"\r\n").await?;
        self.tagged().await
    }

    /// IDLE, up to the server's word that it idles (RFC 2177).
    pub async fn idle(&mut self) -> anyhow::Result<()> {
        self.wire.send(b"t IDLE\r\n").await?;
        self.wire.expect("+").await.map(drop)
    }

    /// MAIL, RCPT, DATA: the backend must have got every octet.
    pub async fn mail(&mut self, size: usize) -> anyhow::Result<()> {
        self.command(b"MAIL FROM:<alice@example.org>\r\n", "250").await?;
        self.command(b"RCPT TO:<bob@example.com>\r\n", "250").await?;
        self.command(b"DATA\r\n", "354").await?;
        let size = super::content::whole_lines(size);
        super::content::stream(&mut self.wire, size).await?;
        self.wire.send(b".\r\n").await?;
        let reply = self.wire.expect("250").await.context("end of data")?;
        let reply = String::from_utf8_lossy(&reply);
        let Some((_, octets)) = reply.split_once("Ok: ") else { bail!("another backend's reply: {reply:?}") };
        let octets: usize = octets.trim_end().trim_end_matches(" octets").parse().context("octets that came")?;
        // What came beyond that is a Received field.
        ensure!((size..size + 2048).contains(&octets), "{octets} octets came of {size}");
        Ok(())
    }

    pub async fn quit(mut self) -> anyhow::Result<()> {
        self.command(b"QUIT\r\n", "221").await?;
        self.close().await
    }

    /// Ends it, and waits for the other side's end.
    pub async fn close(self) -> anyhow::Result<()> {
        Ok(timeout(PATIENCE, self.wire.finish()).await.context("the other side does not end the session")??)
    }
}

/// With TLS or, for the floor, without.
pub enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, octets),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, octets),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
