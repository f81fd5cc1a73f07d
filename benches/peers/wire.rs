//! A stream of lines, shared by the load and the backends: cheap, so that neither hides what is measured.

use std::io;
use std::os::fd::AsFd;

use anyhow::{Context as _, bail};
use bytes::{Bytes, BytesMut};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Octets of a read while lines are expected.
const SMALL: usize = 4 * 1024;

/// Octets of a read, and of a write, while content streams.
pub const LARGE: usize = 256 * 1024;

/// Has a socket of the harness send at once, whatever congestion control the machine uses. BBR would send at a pace, by a timer,
/// and the processor time of that is charged to whoever the timer interrupts: to the subject, often.
pub fn do_not_pace(socket: &impl AsFd) -> io::Result<()> {
    SockRef::from(socket).set_tcp_congestion(b"reno")
}

/// A connection, and what was read from it and not yet used.
#[derive(Debug)]
pub struct Wire<S> {
    stream: S,
    read: BytesMut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub fn new(stream: S) -> Self {
        Self { stream, read: BytesMut::new() }
    }

    /// The stream; what was read and not used is gone, as it must be at STARTTLS (RFC 3207 §4.2).
    pub fn into_stream(self) -> S {
        self.stream
    }

    pub async fn send(&mut self, octets: &[u8]) -> io::Result<()> {
        self.stream.write_all(octets).await?;
        self.stream.flush().await
    }

    /// The next line with its line end; nothing at the end of the stream.
    pub async fn line(&mut self) -> io::Result<Option<Bytes>> {
        let mut seen = 0;
        loop {
            let fresh = self.read.get(seen..).unwrap_or_default();
            if let Some(end) = memchr::memchr(b'\n', fresh) {
                return Ok(Some(self.read.split_to(seen + end + 1).freeze()));
            }
            seen = self.read.len();
            if self.more(SMALL).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// A line that must begin with `expected`.
    pub async fn expect(&mut self, expected: &str) -> anyhow::Result<Bytes> {
        let line = self.line().await?.with_context(|| format!("the end instead of {expected:?}"))?;
        if !line.starts_with(expected.as_bytes()) {
            bail!("{:?} instead of {expected:?}", String::from_utf8_lossy(&line));
        }
        Ok(line)
    }

    /// Swallows exactly so many octets.
    pub async fn swallow(&mut self, count: u64) -> anyhow::Result<()> {
        let mut left = count;
        loop {
            let had = self.read.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let _ = self.read.split_to(had);
            left = left.saturating_sub(had as u64);
            if left == 0 {
                return Ok(());
            }
            let room = LARGE.min(usize::try_from(left).unwrap_or(LARGE)).max(SMALL);
            if self.more(room).await? == 0 {
                bail!("the end with {left} octets to come");
            }
        }
    }

    /// Swallows a message's content up to its end of data (RFC 5321 §4.1.1.4), whose dot no content line of this
    /// harness can be taken for; returns the octets before the dot. The client must wait for the reply.
    pub async fn swallow_mail(&mut self) -> io::Result<u64> {
        // The line of DATA ended just now, so that a lone dot ends an empty message.
        let mut tail = *b"\r\n";
        let mut count = 0;
        loop {
            if let Some(before) = self.read.strip_suffix(b".\r\n") {
                let before: &[u8] = before;
                let line_end = match before {
                    [.., a, b] => [*a, *b],
                    [b] => [tail[1], *b],
                    [] => tail,
                };
                if &line_end == b"\r\n" {
                    count += before.len() as u64;
                    self.read = BytesMut::new();
                    return Ok(count);
                }
            }
            // What may be the beginning of the end stays.
            let spent = self.read.len().saturating_sub(5);
            if spent > 0 {
                let gone = self.read.split_to(spent);
                tail = match gone.as_ref() {
                    [.., a, b] => [*a, *b],
                    [b] => [tail[1], *b],
                    [] => tail,
                };
                count += spent as u64;
            }
            if self.more(LARGE).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Says that nothing more will come, and waits for the other side's end.
    pub async fn finish(mut self) -> io::Result<()> {
        match self.stream.shutdown().await {
            Err(error) if ended(&error) => return Ok(()),
            other => other?,
        }
        loop {
            self.read.clear();
            match self.more(SMALL).await {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if ended(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    async fn more(&mut self, room: usize) -> io::Result<usize> {
        self.read.reserve(room);
        self.stream.read_buf(&mut self.read).await
    }

    /// Gives the buffer back, for a connection that will be idle.
    pub fn rest(&mut self) {
        if self.read.is_empty() {
            self.read = BytesMut::new();
        }
    }
}

/// Many programs end a connection without TLS's own farewell; that is no fault of the operation.
fn ended(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | NotConnected | UnexpectedEof)
}
