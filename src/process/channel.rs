//! What parent and worker say to each other: frames over a pair of Unix sockets (unix(7)), some of which carry a descriptor.
//!
//! ```text
//!  1 octet  4 octets  4 octets      4 octets
//! ┌───────┬─────────┬─────────────┬────────────────┬───────────┬────────────┐
//! │ kind  │ number  │ first piece │ second piece   │ the first │ the second │  + at most one descriptor (SCM_RIGHTS),
//! └───────┴─────────┴─ its length ┴─── its length ─┴───────────┴────────────┘    with the first octet
//! ```
//!
//! Both ends are the same program file, so there are no versions. Lengths are bounded all the same.

use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use socket2::Socket;

use crate::secret::Secret;
use crate::tls::PemPair;

/// More than a configuration or a chain ever has.
const LARGEST: usize = 4 * 1024 * 1024;

/// The other end reads at once, unless it is stuck: nobody waits for it longer than this.
const PATIENCE: Duration = Duration::from_secs(10);

/// Kind, number, and the lengths of the two pieces.
const HEADER: usize = 13;

/// One thing that is said.
#[derive(Debug)]
pub(super) enum Frame {
    /// To the worker: the configuration's path, for messages and relative paths, and its text.
    Config {
        /// As given on the command line.
        path: Vec<u8>,
        /// As it was checked by the parent.
        text: Vec<u8>,
    },
    /// To the worker: the file of the clients' authorities, PEM.
    Authorities(Vec<u8>),
    /// To the worker: a chain and its key, for that place in the configuration's order; new or renewed.
    Certificate(u32, PemPair),
    /// To the worker: the log file, opened for appending; also when it was opened anew.
    Log(File),
    /// To the worker: a bound socket, in the order of the configuration.
    Socket(Socket),
    /// To the worker: that was all, begin.
    Begin,
    /// To the worker: the certificates since the last such frame belong together, serve with them.
    Renew,
    /// To the worker: no new sessions; said twice: end those that are left.
    Stop,
    /// To the parent: the gate has started.
    Up,
}

impl Frame {
    /// The octet that it begins with.
    pub fn kind(&self) -> u8 {
        match self {
            Self::Config { .. } => b'c',
            Self::Authorities(_) => b'a',
            Self::Certificate(..) => b'k',
            Self::Log(_) => b'l',
            Self::Socket(_) => b's',
            Self::Begin => b'b',
            Self::Renew => b'r',
            Self::Stop => b'x',
            Self::Up => b'u',
        }
    }

    /// The content in pieces, none of which is copied: keys are among them.
    fn content(&self) -> [&[u8]; 2] {
        match self {
            Self::Config { path, text } => [path, text],
            Self::Authorities(pem) => [pem, &[]],
            Self::Certificate(_, pem) => [&pem.chain, pem.key.expose()],
            _ => [&[], &[]],
        }
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Log(file) => Some(file.as_fd()),
            Self::Socket(socket) => Some(socket.as_fd()),
            _ => None,
        }
    }

    /// A number that belongs to the frame: a certificate's place.
    fn number(&self) -> u32 {
        if let Self::Certificate(place, _) = self { *place } else { 0 }
    }
}

/// One end.
#[derive(Debug)]
pub(super) struct Channel(UnixStream);

impl Channel {
    /// Two ends: the parent's, and the one for the worker's standard input.
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = UnixStream::pair()?;
        Ok((Self::new(ours)?, theirs.into()))
    }

    /// The worker's end, which is its standard input.
    pub fn of_worker() -> io::Result<Self> {
        let input = io::stdin().as_fd().try_clone_to_owned()?;
        if !matches!(rustix::net::sockopt::socket_domain(&input), Ok(rustix::net::AddressFamily::UNIX)) {
            return Err(io::Error::other("a worker is started by `sealgate run`, not by hand"));
        }
        Self::new(input.into())
    }

    fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self(stream))
    }

    /// A second handle to the same end, to receive while the first one sends.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }
}

impl Channel {
    /// Ends the talk: the other end sees us gone.
    pub fn close(&self) {
        // What is closed already is.
        let _ = self.0.shutdown(Shutdown::Both);
    }

    /// Says something; blocks while the other end is busy.
    ///
    /// # Errors
    /// The other end is gone, or did not read in time.
    pub fn send(&mut self, frame: &Frame) -> io::Result<()> {
        let pieces = frame.content();
        let mut header = vec![frame.kind()];
        header.extend(frame.number().to_be_bytes());
        for piece in pieces {
            let length = u32::try_from(piece.len()).ok().filter(|_| piece.len() <= LARGEST);
            header.extend(length.ok_or_else(|| io::Error::other("a file is too large"))?.to_be_bytes());
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let descriptor = frame.descriptor().map(|descriptor| [descriptor]);
        if let Some(descriptor) = &descriptor {
            control.push(SendAncillaryMessage::ScmRights(descriptor));
        }
        let sent = sendmsg(&self.0, &[IoSlice::new(&header)], &mut control, SendFlags::NOSIGNAL)?;
        self.0.write_all(header.get(sent..).unwrap_or_default())?;
        pieces.iter().try_for_each(|piece| self.0.write_all(piece))
    }

    /// Waits for what the other end says; nothing when it is gone.
    ///
    /// # Errors
    /// What it said makes no sense.
    pub fn receive(&mut self) -> io::Result<Option<Frame>> {
        let mut header = [0; HEADER];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let read = loop {
            let iov = &mut [IoSliceMut::new(&mut header)];
            match recvmsg(&self.0, iov, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Err(rustix::io::Errno::INTR) => {}
                // An end that was killed with octets unread resets the pair.
                Err(rustix::io::Errno::CONNRESET) => return Ok(None),
                done => break done?.bytes,
            }
        };
        let descriptor = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        if read == 0 {
            return Ok(None);
        }
        let (_, rest) = header.split_at_mut(read);
        self.0.read_exact(rest)?;
        let [kind, number @ .., a, b, c, d, e, f, g, h] = header;
        let mut piece = |length: [u8; 4]| {
            let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
            if length > LARGEST {
                return Err(nonsense());
            }
            let mut piece = vec![0; length];
            self.0.read_exact(&mut piece).map(|()| piece)
        };
        let (first, second) = (piece([a, b, c, d])?, piece([e, f, g, h])?);
        Ok(Some(match (kind, descriptor) {
            (b'c', None) => Frame::Config { path: first, text: second },
            (b'a', None) => Frame::Authorities(first),
            (b'k', None) => {
                Frame::Certificate(u32::from_be_bytes(number), PemPair { chain: first, key: Secret::from(second) })
            }
            (b'l', Some(file)) => Frame::Log(file.into()),
            (b's', Some(socket)) => Frame::Socket(socket.into()),
            (b'b', None) => Frame::Begin,
            (b'r', None) => Frame::Renew,
            (b'x', None) => Frame::Stop,
            (b'u', None) => Frame::Up,
            _ => return Err(nonsense()),
        }))
    }
}

fn nonsense() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "parent and worker do not understand each other")
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, SeekFrom};

    use super::*;

    fn pair() -> (Channel, Channel) {
        let (ours, theirs) = Channel::pair().unwrap();
        (ours, Channel::new(theirs.into()).unwrap())
    }

    #[test]
    fn frames_arrive_whole_and_in_order() {
        let (mut parent, mut worker) = pair();
        let key = "k".repeat(500_000); // more than the socket holds
        let sent = [
            Frame::Config { path: b"/etc/a.toml".to_vec(), text: b"x = 1".to_vec() },
            Frame::Authorities(Vec::new()),
            Frame::Certificate(7, PemPair { chain: b"chain".to_vec(), key: Secret::from(key.clone().into_bytes()) }),
            Frame::Begin,
            Frame::Renew,
            Frame::Stop,
        ];
        let sender = std::thread::spawn(move || sent.iter().for_each(|frame| parent.send(frame).unwrap()));
        let mut next = || worker.receive().unwrap().unwrap();
        assert!(matches!(next(), Frame::Config { path, text } if path == b"/etc/a.toml" && text == b"x = 1"));
        assert!(matches!(next(), Frame::Authorities(pem) if pem.is_empty()));
        let Frame::Certificate(7, pem) = next() else { panic!("a certificate was sent") };
        assert_eq!((&pem.chain[..], pem.key.expose()), (&b"chain"[..], key.as_bytes()));
        assert!(matches!((next(), next(), next()), (Frame::Begin, Frame::Renew, Frame::Stop)));
        sender.join().unwrap();
        assert!(worker.receive().unwrap().is_none(), "the other end is gone");
    }

    #[test]
    fn descriptors_arrive_with_their_frame_and_are_not_inherited() {
        let (mut parent, mut worker) = pair();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"log").unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        parent.send(&Frame::Log(file)).unwrap();
        parent.send(&Frame::Begin).unwrap();
        let Some(Frame::Log(mut file)) = worker.receive().unwrap() else { panic!("a file was sent") };
        assert!(rustix::io::fcntl_getfd(&file).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "log");
        assert!(matches!(worker.receive().unwrap(), Some(Frame::Begin)));
    }

    #[test]
    fn what_makes_no_sense_is_an_error() {
        let header = |kind: u8, length: u32| [&[kind, 0, 0, 0, 0][..], &length.to_be_bytes(), &[0; 4]].concat();
        for octets in
            [header(b'?', 0), header(b'c', LARGEST as u32 + 1), header(b'l', 0), header(b'b', 9)[..7].to_vec()]
        {
            let (mut parent, mut worker) = pair();
            parent.0.write_all(&octets).unwrap();
            drop(parent);
            assert!(worker.receive().is_err(), "{octets:?}");
        }
    }

    #[test]
    fn nobody_sends_more_than_would_be_taken() {
        let (mut parent, _worker) = pair();
        assert!(parent.send(&Frame::Authorities(vec![0; LARGEST + 1])).is_err());
    }
}
