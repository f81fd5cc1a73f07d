//! Two ends of a connection in memory, for tests of what follows a handshake: ours against a client that does as
//! `rustls` does, or against one that has the keys and puts under them whatever it likes.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::client::{ClientConnectionData, Resumption, UnbufferedClientConnection};
use rustls::crypto::aws_lc_rs;
use rustls::crypto::cipher::{
    InboundOpaqueMessage, MessageDecrypter, MessageEncrypter, OutboundChunks, OutboundPlainMessage,
};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::kernel::KernelConnection;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};
use rustls::{ClientConfig, ClientConnection, ContentType, ProtocolVersion, RootCertStore, SupportedCipherSuite};
use tokio::io::{DuplexStream, duplex};

use super::handshake::shake;
use super::records::{Broken, Opened};
use super::self_signed::{SelfSigned, self_signed};
use super::*;
use crate::config::{ClientCertificates as Asked, Policy};

/// Every suite of the policy.
pub(super) const SUITES: [SupportedCipherSuite; 9] = {
    use aws_lc_rs::cipher_suite::*;
    [
        TLS13_AES_256_GCM_SHA384,
        TLS13_AES_128_GCM_SHA256,
        TLS13_CHACHA20_POLY1305_SHA256,
        TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ]
};

pub(super) const TLS13: SupportedCipherSuite = SUITES[0];
pub(super) const TLS12: SupportedCipherSuite = SUITES[3];

pub(super) fn is_tls13(suite: SupportedCipherSuite) -> bool {
    suite.tls13().is_some()
}

pub(super) fn certificates() -> &'static SelfSigned {
    static CERTIFICATES: OnceLock<SelfSigned> = OnceLock::new();
    CERTIFICATES.get_or_init(|| self_signed("mail.example.com").unwrap())
}

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| asking(Asked::None))
}

/// One that asks its clients for this.
pub(super) fn asking(client_certificates: Asked) -> Server {
    let settings = config::Tls {
        policy: Policy::Intermediate,
        certificates: Vec::new(),
        client_certificates,
        ticket_rotation: Some(Duration::from_secs(3600)),
    };
    let SelfSigned { ecdsa, rsa } = certificates();
    Server::new(&settings, vec![ecdsa.try_into().unwrap(), rsa.try_into().unwrap()]).unwrap()
}

/// Ours for a client without TLS 1.3.
pub(super) fn tls12_settings() -> &'static Arc<rustls::ServerConfig> {
    server().settings(0x0303)
}

pub(super) fn tls13_settings() -> &'static Arc<rustls::ServerConfig> {
    server().settings(0x0304)
}

impl Server {
    /// Those for a client that has this version alone.
    pub(super) fn settings(&self, version: u16) -> &Arc<rustls::ServerConfig> {
        let hello = ClientHello { versions: vec![version], ..ClientHello::default() };
        self.0.profiles[0].1.choose(&hello).unwrap().1
    }
}

/// The settings of a client that has `suite` alone.
pub(super) fn client(suite: SupportedCipherSuite) -> ClientConfig {
    client_with(suite, vec![aws_lc_rs::kx_group::X25519])
}

/// The same with these groups; it sends a share for the first.
pub(super) fn client_with(suite: SupportedCipherSuite, kx_groups: Vec<&'static dyn SupportedKxGroup>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for pem in [&certificates().ecdsa, &certificates().rsa] {
        roots.add(CertificateDer::from_pem_slice(pem.chain.as_bytes()).unwrap()).unwrap();
    }
    let provider = CryptoProvider { cipher_suites: vec![suite], kx_groups, ..aws_lc_rs::default_provider() };
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[suite.version()])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.enable_secret_extraction = true;
    config.resumption = Resumption::disabled();
    config
}

/// Our end after the handshake.
pub(super) struct Ours {
    pub(super) records: Records,
    /// What the client sent behind its handshake.
    pub(super) wire: BytesMut,
    /// What it has yet to be sent.
    pub(super) unsent: BytesMut,
}

impl Ours {
    /// All data in what is there, and how that ends: a `Partial` or the `End`.
    pub(super) fn open(&mut self) -> Result<(Vec<u8>, Opened), Broken> {
        let mut data = Vec::new();
        loop {
            match self.records.open(&mut self.wire)? {
                Opened::Data(more) => data.extend(more),
                Opened::Other => {}
                end => return Ok((data, end)),
            }
        }
    }

    /// The same for `wire` behind it.
    pub(super) fn receive(&mut self, wire: &[u8]) -> Result<(Vec<u8>, Opened), Broken> {
        self.wire.extend_from_slice(wire);
        self.open()
    }

    /// The records of `data` and what goes before them.
    pub(super) fn seal(&mut self, data: &[u8]) -> Vec<u8> {
        self.try_seal(&[data]).unwrap()
    }

    pub(super) fn try_seal(&mut self, data: &[&[u8]]) -> Result<Vec<u8>, rustls::Error> {
        let mut sealed = self.unsent.split().to_vec();
        self.records.seal(data, |record| sealed.extend(record))?;
        Ok(sealed)
    }
}

/// Our end of a handshake, however the client does its own.
async fn accept(mut stream: DuplexStream, tls13: bool) -> Ours {
    let mut wire = BytesMut::new();
    let hello = client_hello::read(&mut stream, &mut wire, &mut None).await.unwrap();
    let (_, config) = server().0.profiles[0].1.choose(&hello).unwrap();
    let Shaken { connection, wire, unsent, mut memory, .. } =
        shake(&mut stream, config, wire, &mut Bytes::new()).await.unwrap();
    assert_eq!(connection.protocol_version() == Some(ProtocolVersion::TLSv1_3), tls13);
    let secrets = memory.len();
    let records = Records::new(connection, &mut memory).unwrap();
    // Each direction's secret, before and after the handshake, and the ticket's: the record layer derives none of them anew.
    assert_eq!((secrets, memory.len()), if tls13 { (5, 5) } else { (0, 0) });
    Ours { records, wire, unsent }
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn name() -> ServerName<'static> {
    "mail.example.com".try_into().unwrap()
}

/// Against a client that does as it should. `early` is data that it sends in one write with the end of its handshake.
pub(super) fn honest(config: ClientConfig, early: &[u8]) -> (Ours, ClientConnection) {
    let tls13 = config.crypto_provider().cipher_suites[0].tls13().is_some();
    let mut client = ClientConnection::new(Arc::new(config), name()).unwrap();
    let (mut theirs, ours) = duplex(1 << 17);
    let shaking = async {
        // rustls keeps what is written during a handshake until it may be sent.
        std::io::Write::write_all(&mut client.writer(), early).unwrap();
        loop {
            let mut out = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut out).unwrap();
            }
            theirs.write_all(&out).await.unwrap();
            if !client.is_handshaking() {
                return;
            }
            let mut wire = BytesMut::new();
            theirs.read_buf(&mut wire).await.unwrap();
            client.read_tls(&mut &wire[..]).unwrap();
            client.process_new_packets().unwrap();
        }
    };
    let (ours, ()) = block_on(async { tokio::join!(accept(ours, tls13), shaking) });
    (ours, client)
}

/// Against one that forges.
pub(super) fn forging(suite: SupportedCipherSuite) -> (Ours, Forger) {
    let (mut theirs, ours) = duplex(1 << 17);
    let shaking = async {
        let mut client = UnbufferedClientConnection::new(Arc::new(client(suite)), name()).unwrap();
        let (mut wire, mut out) = (BytesMut::new(), Vec::new());
        loop {
            let UnbufferedStatus { discard, state } = client.process_tls_records(&mut wire);
            let mut blocked = false;
            match state.unwrap() {
                ConnectionState::EncodeTlsData(mut data) => {
                    let mut room = [0; 1 << 14];
                    let length = data.encode(&mut room).unwrap();
                    out.extend_from_slice(&room[..length]);
                }
                ConnectionState::TransmitTlsData(data) => {
                    theirs.write_all(&std::mem::take(&mut out)).await.unwrap();
                    data.done();
                }
                ConnectionState::BlockedHandshake => blocked = true,
                ConnectionState::WriteTraffic(_) => break,
                other => panic!("{other:?}"),
            }
            bytes::Buf::advance(&mut wire, discard);
            if blocked {
                theirs.read_buf(&mut wire).await.unwrap();
            }
        }
        let (secrets, schedule) = client.dangerous_into_kernel_connection().unwrap();
        Forger {
            suite,
            schedule,
            sealer: keys::encrypter(suite, secrets.tx.1, secrets.tx.0).unwrap(),
            sent: secrets.tx.0,
            opener: keys::decrypter(suite, secrets.rx.1).unwrap(),
            received: secrets.rx.0,
        }
    };
    block_on(async { tokio::join!(accept(ours, is_tls13(suite)), shaking) })
}

/// A client with the true keys and no scruples.
pub(super) struct Forger {
    suite: SupportedCipherSuite,
    schedule: KernelConnection<ClientConnectionData>,
    sealer: Box<dyn MessageEncrypter>,
    sent: u64,
    opener: Box<dyn MessageDecrypter>,
    pub(super) received: u64,
}

pub(super) const ALERT: u8 = 21;
pub(super) const HANDSHAKE: u8 = 22;
pub(super) const DATA: u8 = 23;

/// RFC 8446 §4.6.3, with the request to do as much.
pub(super) const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 0];
pub(super) const KEY_UPDATE_REQUESTED: [u8; 5] = [24, 0, 0, 1, 1];

impl Forger {
    /// One record of any type, true under the key of the moment.
    pub(super) fn seal(&mut self, content_type: u8, content: &[u8]) -> Vec<u8> {
        let plain = OutboundPlainMessage {
            typ: content_type.into(),
            version: ProtocolVersion::TLSv1_2,
            payload: OutboundChunks::from(content),
        };
        let sealed = self.sealer.encrypt(plain, self.sent).unwrap();
        self.sent += 1;
        sealed.encode()
    }

    pub(super) fn data(&mut self, content: &[u8]) -> Vec<u8> {
        self.seal(DATA, content)
    }

    /// Goes on to the next key without a word.
    pub(super) fn turn_key(&mut self) {
        let (sent, secrets) = self.schedule.update_tx_secret().unwrap();
        self.sealer = keys::encrypter(self.suite, secrets, sent).unwrap();
        self.sent = sent;
    }

    /// A whole KeyUpdate.
    pub(super) fn update_key(&mut self, message: [u8; 5]) -> Vec<u8> {
        let record = self.seal(HANDSHAKE, &message);
        self.turn_key();
        record
    }

    /// What is in our records, under the keys that they name.
    pub(super) fn open(&mut self, wire: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut opened = Vec::new();
        let mut wire = wire.to_vec();
        let mut rest = &mut wire[..];
        while !rest.is_empty() {
            let length = usize::from(u16::from_be_bytes([rest[3], rest[4]]));
            assert_eq!(rest[1..3], [3, 3]);
            let (record, behind) = rest.split_at_mut(5 + length);
            let opaque = InboundOpaqueMessage::new(record[0].into(), ProtocolVersion::TLSv1_2, &mut record[5..]);
            let plain = self.opener.decrypt(opaque, self.received).expect("a record that the client can open");
            self.received += 1;
            let content = plain.payload.to_vec();
            if plain.typ == ContentType::Handshake && content == KEY_UPDATE {
                let (received, secrets) = self.schedule.update_rx_secret().unwrap();
                self.opener = keys::decrypter(self.suite, secrets).unwrap();
                self.received = received;
            }
            opened.push((plain.typ.into(), content));
            rest = behind;
        }
        opened
    }

    /// The data in our records, which must be nothing but data and tickets.
    pub(super) fn open_data(&mut self, wire: &[u8]) -> Vec<u8> {
        let mut data = Vec::new();
        for (content_type, content) in self.open(wire) {
            match content_type {
                DATA => data.extend(content),
                HANDSHAKE if content.first() == Some(&4) => {} // RFC 8446 §4.6.1: NewSessionTicket
                other => panic!("a record of type {other}: {content:02x?}"),
            }
        }
        data
    }
}
