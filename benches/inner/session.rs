//! Sessions, and a driver that does with them what `relay` does, without I/O.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use sealgate::facts::{
    ClientCertificate, ClientNames, Group, Peer, ServerSignature, SessionId, SignatureAlgorithm, Suite, TlsFacts,
    TlsVersion,
};
use sealgate::protocol::Side::{Backend, Client};
use sealgate::protocol::{Context, Dialogue, Learned, Next, Out, Rules, Service, Side, Verdict};

use crate::content;

/// As much content as one read brings: four TLS records.
const READ: usize = 64 * 1024;

/// Names of what is measured, the service, and what the client says line by line.
pub const PREAMBLES: &[(&str, &str, &[&[u8]])] = &[
    ("smtp, up to STARTTLS", "smtp", &[b"EHLO client.example.org\r\n", b"STARTTLS\r\n"]),
    ("imap, up to STARTTLS", "imap", &[b"a1 CAPABILITY\r\n", b"a2 STARTTLS\r\n"]),
];

const EHLO_REPLY: &[u8] = b"250-mail.example.com\r\n250-PIPELINING\r\n250-SIZE 10240000\r\n250-VRFY\r\n250-ETRN\r\n\
    250-AUTH PLAIN LOGIN\r\n250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250-DSN\r\n250 CHUNKING\r\n";

/// What a client of today gets.
pub fn tls() -> TlsFacts {
    TlsFacts {
        version: TlsVersion::Tls13,
        suite: Suite { iana: "TLS_AES_256_GCM_SHA384", openssl: "TLS_AES_256_GCM_SHA384", bits: 256 },
        group: Group::X25519,
        signature: Some(ServerSignature {
            iana: "ecdsa_secp256r1_sha256",
            algorithm: SignatureAlgorithm::Ecdsa { curve: "P-256" },
            digest: Some("SHA256"),
            certificate: Some("ecdsa-with-SHA256"),
        }),
        sni: None,
        alpn: None,
        client_certificate: ClientCertificate::NotRequested,
        handshake: Duration::ZERO,
    }
}

/// A session on the named service.
pub fn context(service: &str, tls: Option<TlsFacts>) -> Context {
    let learned = ["PIPELINING", "SIZE 10240000", "VRFY", "ETRN", "ENHANCEDSTATUSCODES", "8BITMIME", "DSN", "CHUNKING"];
    Context {
        hostname: "mx.example.com".into(),
        session: SessionId::new("4Zk9"),
        service: Service::by_name(service).expect("the service is in the registry"),
        peer: Peer {
            client: "203.0.113.5:40000".parse().expect("this is an address"),
            local: "192.0.2.10:465".parse().expect("this is an address"),
            names: ClientNames::default(),
        },
        tls: tls.map(Arc::new),
        rules: Arc::new(Rules::default()),
        learned: Arc::new(Learned::from_iter(learned)),
    }
}

/// What both sides say, in turn.
pub struct Talk {
    context: Context,
    said: Vec<(Side, Vec<u8>)>,
}

/// One that is about to be held.
pub struct Running<'a> {
    dialogue: Box<dyn Dialogue>,
    out: Out,
    talk: &'a Talk,
}

/// A session on 465 that hands in so many mails of so many octets in such lines.
pub fn mails(mails: usize, octets: usize, line: &[u8]) -> Talk {
    let mut said = vec![
        (Backend, b"220 mail.example.com ESMTP\r\n".to_vec()),
        (Client, b"EHLO client.example.org\r\n".to_vec()),
        (Backend, EHLO_REPLY.to_vec()),
    ];
    let mut content = content::repeated(line, octets);
    content.extend_from_slice(b"\r\n.\r\n");
    for _ in 0..mails {
        for (command, reply) in [
            ("MAIL FROM:<alice@example.org> SIZE=10300\r\n", "250 2.1.0 Ok\r\n"),
            ("RCPT TO:<bob@example.com>\r\n", "250 2.1.5 Ok\r\n"),
            ("DATA\r\n", "354 End data with <CR><LF>.<CR><LF>\r\n"),
        ] {
            said.push((Client, command.into()));
            said.push((Backend, reply.into()));
        }
        said.extend(content.chunks(READ).map(|read| (Client, read.to_vec())));
        said.push((Backend, b"250 2.0.0 Ok: queued as 4Zk9YQ2Xk1z1\r\n".to_vec()));
    }
    said.push((Client, b"QUIT\r\n".to_vec()));
    said.push((Backend, b"221 2.0.0 Bye\r\n".to_vec()));
    Talk { context: context("submissions", Some(tls())), said }
}

/// A session on 993 up to its login.
pub fn login() -> Talk {
    let said: &[(Side, &[u8])] = &[
        (Backend, b"* OK [CAPABILITY IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+ AUTH=PLAIN] ready.\r\n"),
        (Client, b"a1 CAPABILITY\r\n"),
        (
            Backend,
            b"* CAPABILITY IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+ AUTH=PLAIN\r\na1 OK done.\r\n",
        ),
        (Client, b"a2 LOGIN alice@example.com secret\r\n"),
        (Backend, b"a2 OK [CAPABILITY IMAP4rev1 SASL-IR ID ENABLE IDLE SORT THREAD=REFERENCES UIDPLUS] Logged in\r\n"),
    ];
    let said = said.iter().map(|(from, octets)| (*from, octets.to_vec())).collect();
    Talk { context: context("imaps", Some(tls())), said }
}

impl Talk {
    /// The dialogue, and nothing said yet.
    pub fn start(&self) -> Running<'_> {
        let dialogue = self.context.service.protocol.dialogue(&self.context, None);
        Running { dialogue, out: Out::default(), talk: self }
    }
}

impl Running<'_> {
    /// Holds it to its end; returned for others to drop it outside the measurement.
    pub fn finish(mut self) -> Self {
        for (from, octets) in &self.talk.said {
            let rest = self.offer(*from, octets);
            assert!(rest.is_empty(), "{} octets of {from:?} were not judged", rest.len());
        }
        self
    }

    /// Offers one side's input until no more is asked for; what is left of it.
    fn offer<'i>(&mut self, from: Side, input: &'i [u8]) -> &'i [u8] {
        let mut rest = input;
        loop {
            let verdict = self.dialogue.receive(from, rest, &mut self.out).expect("nobody breaks the rules here");
            self.out.to_client.clear();
            self.out.to_backend.clear();
            self.out.events.clear();
            match verdict {
                Verdict::Pass(octets) | Verdict::Drop(octets) => rest = rest.split_at(octets).1,
                Verdict::More | Verdict::Hold => return rest,
                Verdict::Close | Verdict::Splice => return &[],
                Verdict::CutBackend => panic!("nothing is refused here"),
            }
        }
    }
}

/// One cleartext talk up to STARTTLS; what was answered.
pub fn preamble(context: &Context, lines: &[&[u8]]) -> BytesMut {
    let mut preamble = context.service.protocol.preamble(context);
    let (mut to_client, mut events) = (BytesMut::new(), Vec::new());
    preamble.greet(&mut to_client);
    for line in lines {
        let heard = preamble.receive(line, &mut to_client, &mut events).expect("nobody breaks the rules here");
        if matches!(heard.next, Next::StartTls) {
            return to_client;
        }
        assert_eq!(heard.consumed, line.len());
    }
    panic!("no STARTTLS was said")
}
