//! A client, or a fake server, that says exactly what a test tells it to, over plain TCP or rustls.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, NamedGroup, SignatureScheme, StreamOwned,
    SupportedProtocolVersion,
};

use super::pki::HOSTNAME;
use super::wait::PATIENCE;

/// One end of a connection.
pub struct Wire {
    stream: Stream,
    read: Vec<u8>,
    /// Octets sent, and octets received; what TLS adds does not count.
    pub counted: [usize; 2],
    /// Our own port: it tells this connection's records from those of other tests on the same gate.
    pub port: u16,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    /// Between the two.
    Moving,
}

/// An SMTP reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The code of its last line.
    pub code: u16,
    /// What stands behind the codes.
    pub lines: Vec<String>,
}

impl Reply {
    /// Whether a line, or its first word, is that.
    pub fn has(&self, word: &str) -> bool {
        self.lines.iter().any(|line| line == word || line.split(' ').next() == Some(word))
    }
}

/// What the client offers in its ClientHello; nothing stands for rustls' defaults.
#[derive(Default)]
pub struct Offer {
    /// Protocol versions.
    pub versions: Option<&'static [&'static SupportedProtocolVersion]>,
    /// Groups, the best first.
    pub groups: Option<Vec<NamedGroup>>,
    /// Signature schemes.
    pub signatures: Option<Vec<SignatureScheme>>,
    /// Whether to leave the server's name out.
    pub no_sni: bool,
}

impl Offer {
    /// The rustls configuration, shared by the connections that may resume one another.
    pub fn config(self) -> Arc<ClientConfig> {
        let mut provider = aws_lc_rs::default_provider();
        if let Some(groups) = &self.groups {
            provider.kx_groups = groups
                .iter()
                .filter_map(|name| aws_lc_rs::ALL_KX_GROUPS.iter().copied().find(|group| group.name() == *name))
                .collect();
            assert_eq!(provider.kx_groups.len(), groups.len(), "rustls knows all of {groups:?}");
        }
        let provider = Arc::new(provider);
        let signatures =
            self.signatures.unwrap_or_else(|| provider.signature_verification_algorithms.supported_schemes());
        let verifier = Arc::new(AnyCertificate { provider: provider.clone(), signatures });
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(self.versions.unwrap_or(rustls::DEFAULT_VERSIONS))
            .expect("versions")
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        config.enable_sni = !self.no_sni;
        Arc::new(config)
    }
}

impl Wire {
    /// Connects.
    pub fn connect(to: impl Into<SocketAddr>) -> Self {
        let to = to.into();
        Self::over(TcpStream::connect(to).unwrap_or_else(|error| panic!("{to}: {error}")))
    }

    /// Connects from an address of this host.
    pub fn connect_from(from: IpAddr, to: SocketAddr) -> Self {
        let socket =
            socket2::Socket::new(socket2::Domain::for_address(to), socket2::Type::STREAM, None).expect("socket");
        socket.bind(&SocketAddr::new(from, 0).into()).expect("an address of this host");
        socket.connect(&to.into()).unwrap_or_else(|error| panic!("{to} from {from}: {error}"));
        Self::over(socket.into())
    }

    /// Over a connection that is there.
    pub fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("an option");
        let port = stream.local_addr().expect("an address").port();
        Self { stream: Stream::Plain(stream), read: Vec::new(), counted: [0; 2], port }
    }

    /// Puts TLS on top.
    ///
    /// # Errors
    /// What rustls says when the handshake fails.
    pub fn try_tls(&mut self, config: &Arc<ClientConfig>) -> std::io::Result<()> {
        assert!(self.read.is_empty(), "nothing is left from before TLS");
        let Stream::Plain(mut stream) = std::mem::replace(&mut self.stream, Stream::Moving) else {
            panic!("TLS is on already")
        };
        let name = ServerName::try_from(HOSTNAME).expect("a name");
        let mut connection = ClientConnection::new(config.clone(), name).expect("a connection");
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        self.stream = Stream::Tls(Box::new(StreamOwned::new(connection, stream)));
        Ok(())
    }

    /// Puts TLS on top; panics if that fails.
    pub fn tls(mut self, config: &Arc<ClientConfig>) -> Self {
        self.try_tls(config).expect("the TLS handshake");
        self
    }

    /// The connection's TLS.
    pub fn tls_state(&self) -> &ClientConnection {
        match &self.stream {
            Stream::Tls(stream) => &stream.conn,
            Stream::Plain(_) | Stream::Moving => panic!("TLS is off"),
        }
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// When the other side is gone.
    pub fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match &mut self.stream {
            Stream::Plain(stream) => stream.write_all(bytes)?,
            Stream::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush())?,
            Stream::Moving => return Err(ErrorKind::NotConnected.into()),
        }
        self.counted[0] += bytes.len();
        Ok(())
    }

    /// Sends bytes; panics when the other side is gone.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes.as_ref()).expect("the other side listens");
    }

    /// Sends a command line and reads the reply to it.
    pub fn say(&mut self, command: &str) -> Reply {
        self.send(format!("{command}\r\n"));
        self.reply()
    }

    /// The next line without its CRLF; nothing when the other side has ended.
    pub fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.read.iter().position(|octet| *octet == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                let line = line.strip_suffix(b"\r\n").unwrap_or_else(|| panic!("a CRLF ends {line:?}"));
                return Some(String::from_utf8_lossy(line).into_owned());
            }
            if !self.fill() {
                assert!(self.read.is_empty(), "a whole line, not {:?}", String::from_utf8_lossy(&self.read));
                return None;
            }
        }
    }

    /// The next SMTP reply.
    pub fn reply(&mut self) -> Reply {
        let mut lines = Vec::new();
        loop {
            let line = self.line().unwrap_or_else(|| panic!("a reply, not the end after {lines:?}"));
            let (code, text) = line.split_at_checked(3).unwrap_or_else(|| panic!("a reply, not {line:?}"));
            lines.push(text.get(1..).unwrap_or_default().to_owned());
            if !text.starts_with('-') {
                let code = code.parse().unwrap_or_else(|_| panic!("a reply, not {line:?}"));
                return Reply { code, lines };
            }
        }
    }

    /// IMAP: sends a tagged command; the lines up to and with its tagged response.
    pub fn tagged(&mut self, tag: &str, command: &str) -> Vec<String> {
        self.send(format!("{tag} {command}\r\n"));
        let mut lines = Vec::new();
        loop {
            let line = self.line().unwrap_or_else(|| panic!("an answer to {tag}, not the end after {lines:?}"));
            let last = line.starts_with(&format!("{tag} "));
            lines.push(line);
            if last {
                return lines;
            }
        }
    }

    /// Reads a PROXY header, version 2, away; it is as long as it says, or what came of it.
    pub fn proxy_header(&mut self) -> Vec<u8> {
        const FIXED: usize = 16;
        let length = |read: &[u8]| match read.get(14..FIXED) {
            Some([high, low]) => FIXED + usize::from(u16::from_be_bytes([*high, *low])),
            _ => FIXED,
        };
        while self.read.len() < length(&self.read) {
            if !self.fill() {
                break;
            }
        }
        let octets = length(&self.read).min(self.read.len());
        self.read.drain(..octets).collect()
    }

    /// Everything up to the other side's end.
    pub fn rest(&mut self) -> String {
        while self.fill() {}
        String::from_utf8_lossy(&std::mem::take(&mut self.read)).into_owned()
    }

    /// Throws away all that comes up to `end`, however much it is: how much.
    pub fn swallow_until(&mut self, end: &[u8]) -> usize {
        let mut swallowed = 0;
        loop {
            if let Some(at) = memchr::memmem::find(&self.read, end) {
                self.read.drain(..at + end.len());
                return swallowed + at;
            }
            // What may be the beginning of the end stays.
            let spent = self.read.len().saturating_sub(end.len());
            self.read.drain(..spent);
            swallowed += spent;
            assert!(self.fill(), "the end after {swallowed} octets");
        }
    }

    /// Waits for the other side's end; panics if it says anything first.
    pub fn end(&mut self) {
        assert_eq!(self.rest(), "", "the other side says no more");
    }

    /// Says that no more will come, with close_notify where there is TLS.
    pub fn finish(&mut self) {
        match &mut self.stream {
            Stream::Plain(stream) => drop(stream.shutdown(std::net::Shutdown::Write)),
            Stream::Tls(stream) => {
                stream.conn.send_close_notify();
                drop(stream.flush());
                drop(stream.sock.shutdown(std::net::Shutdown::Write));
            }
            Stream::Moving => {}
        }
    }

    /// Seals the bytes into TLS records, which nobody has sent yet.
    pub fn seal(&mut self, bytes: &[u8]) -> Vec<u8> {
        let Stream::Tls(stream) = &mut self.stream else { panic!("TLS is off") };
        stream.conn.writer().write_all(bytes).expect("room");
        let mut sealed = Vec::new();
        while stream.conn.wants_write() {
            stream.conn.write_tls(&mut sealed).expect("a vector");
        }
        sealed
    }

    /// Sends octets as they are, beneath TLS.
    pub fn send_beneath(&mut self, octets: &[u8]) {
        self.try_send_beneath(octets).expect("the other side listens");
    }

    /// The same.
    ///
    /// # Errors
    /// When the other side is gone.
    pub fn try_send_beneath(&mut self, octets: &[u8]) -> std::io::Result<()> {
        let Some(mut socket) = self.socket() else { return Err(ErrorKind::NotConnected.into()) };
        socket.write_all(octets)
    }

    /// A write that goes no further for a second fails.
    pub fn give_up_writing_soon(&self) {
        let socket = self.socket().expect("a socket");
        socket.set_write_timeout(Some(std::time::Duration::from_secs(1))).expect("a timeout");
    }

    fn socket(&self) -> Option<&TcpStream> {
        match &self.stream {
            Stream::Plain(stream) => Some(stream),
            Stream::Tls(stream) => Some(&stream.sock),
            Stream::Moving => None,
        }
    }

    /// Tears the connection down with a reset.
    pub fn reset(self) {
        let Some(socket) = self.socket() else { return };
        socket2::SockRef::from(socket).set_linger(Some(std::time::Duration::ZERO)).expect("an option");
    }

    /// More bytes; false at the end, clean or not.
    fn fill(&mut self) -> bool {
        let mut chunk = [0; 16_384];
        let got = match &mut self.stream {
            Stream::Plain(stream) => stream.read(&mut chunk),
            Stream::Tls(stream) => stream.read(&mut chunk),
            Stream::Moving => Ok(0),
        };
        match got {
            Ok(0) => false,
            Ok(n) => {
                self.read.extend_from_slice(chunk.get(..n).unwrap_or_default());
                self.counted[1] += n;
                true
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock || error.kind() == ErrorKind::TimedOut => {
                panic!("nothing came for {PATIENCE:?}; so far {:?}", String::from_utf8_lossy(&self.read))
            }
            Err(_) => false,
        }
    }
}

/// Takes every certificate, but checks the signature, and offers the schemes of its choice.
#[derive(Debug)]
struct AnyCertificate {
    provider: Arc<CryptoProvider>,
    signatures: Vec<SignatureScheme>,
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signatures.clone()
    }
}

/// The octets of a ClientHello.
pub fn client_hello() -> Vec<u8> {
    let name = HOSTNAME.try_into().expect("a name");
    let mut connection = ClientConnection::new(Offer::default().config(), name).expect("a connection");
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).expect("a ClientHello");
    bytes
}
