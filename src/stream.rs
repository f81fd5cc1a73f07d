//! The kinds of byte stream the gate holds, behind one type for each side.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::buffers::Fill;
use crate::tls;

/// A client's connection.
pub enum Client {
    /// In cleartext, as a client on port 25 may stay.
    Plain(TcpStream),
    /// Inside TLS.
    Tls(tls::Stream<TcpStream>),
}

/// A connection to a backend: plaintext, on this host or on a network the administrator trusts.
#[derive(Debug)]
pub enum Backend {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a Unix-domain socket.
    Unix(UnixStream),
}

impl Client {
    /// Lets the last reply and close_notify go out in one segment with the FIN: a segment costs more than what is in it.
    fn hold_for_fin(&self) {
        if let Self::Tls(stream) = self {
            let _ = SockRef::from(stream.get_ref()).set_tcp_cork(true); // or else it takes three
        }
    }
}

impl Backend {
    /// A backend is only left, without a word.
    fn hold_for_fin(&self) {}
}

/// Reads from and writes to whichever variant there is.
macro_rules! either_stream {
    ($name:ident: $one:ident | $other:ident) => {
        impl AsyncRead for $name {
            fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    Self::$one(stream) => Pin::new(stream).poll_read(cx, buf),
                    Self::$other(stream) => Pin::new(stream).poll_read(cx, buf),
                }
            }
        }

        impl Fill for $name {
            fn poll_fill(&mut self, cx: &mut Context<'_>, into: &mut BytesMut) -> Poll<io::Result<usize>> {
                match self {
                    Self::$one(stream) => stream.poll_fill(cx, into),
                    Self::$other(stream) => stream.poll_fill(cx, into),
                }
            }

            fn has_more(&self) -> bool {
                match self {
                    Self::$one(stream) => stream.has_more(),
                    Self::$other(stream) => stream.has_more(),
                }
            }

            fn reads_in_place(&self) -> bool {
                match self {
                    Self::$one(stream) => stream.reads_in_place(),
                    Self::$other(stream) => stream.reads_in_place(),
                }
            }

            fn last_words(&mut self) {
                self.hold_for_fin();
            }
        }

        impl AsyncWrite for $name {
            fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    Self::$one(stream) => Pin::new(stream).poll_write(cx, buf),
                    Self::$other(stream) => Pin::new(stream).poll_write(cx, buf),
                }
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    Self::$one(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
                    Self::$other(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
                }
            }

            fn is_write_vectored(&self) -> bool {
                match self {
                    Self::$one(stream) => stream.is_write_vectored(),
                    Self::$other(stream) => stream.is_write_vectored(),
                }
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    Self::$one(stream) => Pin::new(stream).poll_flush(cx),
                    Self::$other(stream) => Pin::new(stream).poll_flush(cx),
                }
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    Self::$one(stream) => Pin::new(stream).poll_shutdown(cx),
                    Self::$other(stream) => Pin::new(stream).poll_shutdown(cx),
                }
            }
        }
    };
}

either_stream!(Client: Plain | Tls);
either_stream!(Backend: Tcp | Unix);
