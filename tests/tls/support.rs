//! A listener behind [`Server::accept`], and the two clients.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use sealgate::config::{ClientCertificates, Policy, Tls};
use sealgate::facts::TlsFacts;
use sealgate::tls::self_signed::{Pem, SelfSigned, self_signed};
use sealgate::tls::{Certificate, HandshakeError, Server};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;

pub const HOST: &str = "mail.example.com";
const GREETING: &str = "220 ready\r\n";
const DEADLINE: Duration = Duration::from_secs(60);

/// What became of one connection.
pub struct Session {
    pub handshake: Result<TlsFacts, HandshakeError>,
    /// What the client sent, and how it ended: `Ok` on a close_notify.
    pub received: Vec<u8>,
    pub end: io::Result<()>,
}

impl Session {
    #[track_caller]
    pub fn facts(self) -> TlsFacts {
        self.handshake.unwrap()
    }

    #[track_caller]
    pub fn error(self) -> HandshakeError {
        self.handshake.unwrap_err()
    }
}

/// A listener on loopback that greets, then reads to the end.
pub struct Gate {
    pub address: SocketAddr,
    pub server: Server,
    sessions: mpsc::UnboundedReceiver<Session>,
}

impl Gate {
    pub async fn new(certificates: &[&Pem]) -> Self {
        Self::with(certificates, Policy::Intermediate, ClientCertificates::None).await
    }

    pub async fn with(certificates: &[&Pem], policy: Policy, client_certificates: ClientCertificates) -> Self {
        let settings = Tls {
            policy,
            certificates: Vec::new(),
            client_certificates,
            ticket_rotation: Some(Duration::from_secs(3600)),
        };
        let certificates = certificates.iter().map(|pem| Certificate::try_from(*pem).unwrap()).collect();
        let server = Server::new(&settings, certificates).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (done, sessions) = mpsc::unbounded_channel();
        let accepting = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (server, done) = (accepting.clone(), done.clone());
                tokio::spawn(async move { done.send(serve(&server, stream).await).is_ok() });
            }
        });
        Self { address, server, sessions }
    }

    /// The next session that is over.
    pub async fn session(&mut self) -> Session {
        tokio::time::timeout(DEADLINE, self.sessions.recv()).await.expect("no session ended in time").unwrap()
    }

    /// Runs `openssl s_client` with these arguments until its handshake is over; its two outputs in one.
    pub async fn openssl(&self, arguments: &str) -> String {
        self.s_client(arguments, b"Q\n").await // Q ends the session with a close_notify
    }

    /// The same until we close. A TLS 1.3 client is through with its handshake before its certificate is refused.
    pub async fn openssl_until_closed(&self, arguments: &str) -> String {
        self.s_client(&format!("-ign_eof {arguments}"), b"").await
    }

    async fn s_client(&self, arguments: &str, input: &[u8]) -> String {
        let mut client = Command::new("openssl")
            .args(["s_client", "-connect", &self.address.to_string()])
            .args(arguments.split_whitespace())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        // A client that was refused is gone before it reads this.
        let _ = client.stdin.take().unwrap().write_all(input).await;
        let output = tokio::time::timeout(DEADLINE, client.wait_with_output()).await.unwrap().unwrap();
        [output.stdout, output.stderr].map(|output| String::from_utf8_lossy(&output).into_owned()).concat()
    }

    /// Connects a `rustls` client, takes the greeting, and closes; tells what the client knows.
    pub async fn connect(&self, client: &Client) -> io::Result<ClientSays> {
        let stream = TcpStream::connect(self.address).await?;
        let mut stream = TlsConnector::from(Arc::clone(&client.0)).connect(name(), stream).await?;
        let mut greeting = [0; GREETING.len()];
        stream.read_exact(&mut greeting).await?; // the tickets come before it
        assert_eq!(greeting, GREETING.as_bytes());
        let connection = stream.get_ref().1;
        let says = ClientSays {
            kind: connection.handshake_kind().unwrap(),
            group: connection.negotiated_key_exchange_group().map(|group| group.name()),
            certificate: connection.peer_certificates().unwrap()[0].clone().into_owned(),
        };
        stream.shutdown().await?;
        stream.read_to_end(&mut Vec::new()).await?; // a ticket may come until the end
        Ok(says)
    }
}

/// What a client knows of its session.
pub struct ClientSays {
    pub kind: rustls::HandshakeKind,
    pub group: Option<rustls::NamedGroup>,
    pub certificate: CertificateDer<'static>,
}

async fn serve(server: &Server, stream: TcpStream) -> Session {
    match server.accept(stream, "smtp", GREETING.into(), DEADLINE).await {
        Ok((mut stream, facts)) => {
            let mut received = Vec::new();
            let end = stream.read_to_end(&mut received).await.map(drop);
            let _ = stream.shutdown().await; // the client may be gone already
            Session { handshake: Ok(facts), received, end }
        }
        Err(error) => Session { handshake: Err(error), received: Vec::new(), end: Ok(()) },
    }
}

pub fn pair() -> SelfSigned {
    self_signed(HOST).unwrap()
}

pub fn name() -> ServerName<'static> {
    ServerName::try_from(HOST).unwrap()
}

/// A certificate of another kind of key for `name`.
pub fn certified(name: &str, algorithm: &'static rcgen::SignatureAlgorithm) -> Pem {
    let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
    let certificate = rcgen::CertificateParams::new([name.to_owned()]).unwrap().self_signed(&key).unwrap();
    Pem { chain: certificate.pem(), key: key.serialize_pem() }
}

/// A directory of files for programs.
pub struct Files(tempfile::TempDir);

impl Files {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

/// A `rustls` client's settings.
pub struct Client(pub Arc<ClientConfig>);

impl Client {
    /// Trusts these certificates, speaks these versions, has these groups, and remembers sessions.
    pub fn new(
        trusted: &[&Pem],
        versions: &[&'static SupportedProtocolVersion],
        groups: &[&'static dyn SupportedKxGroup],
    ) -> Self {
        Self::with(trusted, versions, groups, |_| {})
    }

    pub fn with(
        trusted: &[&Pem],
        versions: &[&'static SupportedProtocolVersion],
        groups: &[&'static dyn SupportedKxGroup],
        change: impl FnOnce(&mut ClientConfig),
    ) -> Self {
        let mut roots = RootCertStore::empty();
        for pem in trusted {
            roots.add(CertificateDer::from_pem_slice(pem.chain.as_bytes()).unwrap()).unwrap();
        }
        let provider = CryptoProvider { kx_groups: groups.to_vec(), ..aws_lc_rs::default_provider() };
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = Resumption::in_memory_sessions(16);
        change(&mut config);
        Self(Arc::new(config))
    }
}

/// Gives one octet a read, whatever there is.
pub struct Trickle<S>(pub S);

impl<S: AsyncRead + Unpin> AsyncRead for Trickle<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut octet = [0];
        let mut one = ReadBuf::new(&mut octet);
        ready!(Pin::new(&mut self.0).poll_read(cx, &mut one))?;
        buf.put_slice(one.filled());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Trickle<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
