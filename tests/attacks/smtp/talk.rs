//! A whole session in memory: a client, the gate's dialogue driven as `relay` drives it, and a model of a backend behind it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sealgate::facts::{ClientCertificate, ClientNames, Group, Peer, SessionId, Suite, TlsFacts, TlsVersion};
use sealgate::protocol::{
    BareNewline, Context, Dialogue, Ended, INPUT_LIMIT, Learned, Opening, Out, Rules, Service, Side, Verdict,
};

use super::lenient::{Reader, Server};

/// How a session came to its dialogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// STARTTLS on port 25: the backend's greeting is swallowed.
    StartTls,
    /// Implicit TLS on port 465: it is passed on, and there is AUTH.
    Implicit,
    /// The client stays in cleartext: its hello is said for it.
    Cleartext,
}

/// The ways.
pub const WAYS: [Way; 3] = [Way::StartTls, Way::Implicit, Way::Cleartext];

/// A session.
pub struct Talk {
    dialogue: Box<dyn Dialogue>,
    out: Out,
    /// What client and backend sent and nobody judged yet.
    input: [Vec<u8>; 2],
    held: [bool; 2],
    /// All that the client was told since [`Talk::forget`].
    pub to_client: Vec<u8>,
    /// All that the backend was told since then.
    pub to_backend: Vec<u8>,
    /// The servers that read it; the first one answers.
    pub servers: Vec<Server>,
    /// The backend was closed while the client stayed.
    pub cut: bool,
    /// The session has ended.
    pub over: bool,
}

/// What the dialogue of such a session knows.
pub fn context(way: Way, bare_newline: BareNewline) -> Context {
    let client = "203.0.113.5:1024".parse().expect("an address");
    let tls = TlsFacts {
        version: TlsVersion::Tls13,
        suite: Suite { iana: "TLS_AES_256_GCM_SHA384", openssl: "TLS_AES_256_GCM_SHA384", bits: 256 },
        group: Group::X25519MlKem768,
        signature: None,
        sni: None,
        alpn: None,
        client_certificate: ClientCertificate::NotRequested,
        handshake: Duration::ZERO,
    };
    Context {
        hostname: "mx.example.com".into(),
        session: SessionId::new("4Zk9"),
        service: Service::by_name(if way == Way::Implicit { "submissions" } else { "smtp" }).expect("a service"),
        peer: Peer { client, local: client, names: ClientNames::default() },
        tls: (way != Way::Cleartext).then(|| Arc::new(tls)),
        rules: Arc::new(Rules { bare_newline, ..Rules::default() }),
        learned: Arc::new(Learned::default()),
    }
}

impl Talk {
    /// A session behind its EHLO, before servers that read like that.
    pub fn new(way: Way, bare_newline: BareNewline, readers: &[Reader]) -> Self {
        let context = context(way, bare_newline);
        let opening = (way == Way::Cleartext).then(|| Opening { hello: Some(b"EHLO c.example.org".as_slice().into()) });
        let mut talk = Self {
            dialogue: context.service.protocol.dialogue(&context, opening),
            out: Out { now: SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_293_360), ..Out::default() },
            input: [Vec::new(), Vec::new()],
            held: [false; 2],
            to_client: Vec::new(),
            to_backend: Vec::new(),
            servers: readers.iter().map(|reader| Server::new(*reader)).collect(),
            cut: false,
            over: false,
        };
        talk.pump();
        if way != Way::Cleartext {
            talk.say("EHLO c.example.org\r\n");
        }
        assert!(!talk.over);
        talk.forget();
        talk
    }

    /// Forgets what was said.
    pub fn forget(&mut self) {
        self.to_client.clear();
        self.to_backend.clear();
        for server in &mut self.servers {
            server.commands.clear();
            server.messages.clear();
        }
    }

    /// Sends and hears everything that comes of it.
    pub fn say(&mut self, octets: impl AsRef<[u8]>) {
        self.send(octets.as_ref());
        self.pump();
    }

    /// Sends in pieces, ended at these places; the backend answers when it has heard all that the gate lets through.
    pub fn say_cut(&mut self, octets: &[u8], cuts: &[usize]) {
        let mut from = 0;
        for to in cuts.iter().copied().chain([octets.len()]) {
            self.send(octets.get(from..to).expect("rising places"));
            from = to;
        }
        self.pump();
    }

    /// The client sends.
    pub fn send(&mut self, octets: &[u8]) {
        self.input[0].extend_from_slice(octets);
        // A side that is held is not read on.
        if !self.held[0] && !octets.is_empty() {
            self.offer(Side::Client);
        }
    }

    /// The backend answers, until nobody has anything more to say; the client hears it.
    pub fn pump(&mut self) {
        while self.answer() {}
        self.dialogue.answered();
    }

    /// The backend says what it has to say.
    fn answer(&mut self) -> bool {
        if self.over || self.cut {
            return false;
        }
        let replies = std::mem::take(&mut self.servers[0].replies);
        if replies.is_empty() {
            return false;
        }
        self.input[1].extend_from_slice(&replies);
        self.offer(Side::Backend);
        true
    }

    /// The client says no more, with or without a close_notify.
    pub fn end(&mut self, clean: bool) {
        if self.over {
            return;
        }
        let verdict = self.dialogue.ended(Ended::ClientEof { clean }, &mut self.out);
        self.flush();
        self.over = match verdict {
            Verdict::More => false,
            Verdict::Close => true,
            verdict => panic!("{verdict:?} makes no sense"),
        };
        self.pump();
    }

    fn flush(&mut self) {
        self.to_client.extend_from_slice(&self.out.to_client.split());
        let to_backend = self.out.to_backend.split();
        self.tell_backend(&to_backend);
        self.out.events.clear();
    }

    fn tell_backend(&mut self, octets: &[u8]) {
        self.to_backend.extend_from_slice(octets);
        for server in &mut self.servers {
            server.receive(octets);
        }
    }

    /// Offers `side` its input until it has no use for it; progress offers the other side what it held.
    fn offer(&mut self, side: Side) {
        let (here, there) = if side == Side::Client { (0, 1) } else { (1, 0) };
        let (mut done, mut progress) = (0, false);
        let input = std::mem::take(&mut self.input[here]);
        self.held[here] = false;
        while !self.over {
            let rest = input.get(done..).expect("no more than there is");
            let verdict = self.dialogue.receive(side, rest, &mut self.out);
            self.flush();
            match verdict {
                Ok(Verdict::Pass(n)) => {
                    let passed = rest.get(..n).expect("no more than there is");
                    match side {
                        Side::Client => self.tell_backend(passed),
                        Side::Backend => self.to_client.extend_from_slice(passed),
                    }
                    (done, progress) = (done + n, true);
                }
                Ok(Verdict::Drop(n)) => (done, progress) = (done + n, true),
                Ok(Verdict::CutBackend) => {
                    self.cut = true;
                    self.input[1].clear();
                    if side == Side::Backend {
                        return self.offer(Side::Client);
                    }
                }
                Ok(Verdict::Close) => self.over = true,
                Ok(Verdict::Splice) => panic!("SMTP is never spliced"),
                Ok(verdict) => {
                    assert!(rest.len() < INPUT_LIMIT, "waits for more than the driver holds");
                    self.held[here] = verdict == Verdict::Hold;
                    break;
                }
                Err(violation) => {
                    self.to_client.extend_from_slice(&violation.reply);
                    self.over = true;
                }
            }
        }
        self.input[here].splice(..0, input.get(done..).expect("no more than there is").iter().copied());
        if progress && self.held[there] && !self.over {
            self.offer(side.other());
        }
    }

    /// Every server saw what the first one saw: as many commands, as many messages, in them the same but for NUL, which some
    /// of them take away.
    #[track_caller]
    pub fn assert_all_agree(&self, what: &dyn std::fmt::Debug) {
        let (strict, others) = self.servers.split_first().expect("a server");
        for line in &strict.commands {
            assert!(!line.contains(&0) && !line.contains(&b'\r') && !line.contains(&b'\n'), "{what:?}: {line:?}");
        }
        for other in others {
            let name = other.reader.name;
            let shown = || String::from_utf8_lossy(&self.to_backend).into_owned();
            assert_eq!(other.commands, strict.commands, "{name}, {what:?}: {:?}", shown());
            assert_eq!(other.messages.len(), strict.messages.len(), "{name}, {what:?}: {:?}", shown());
            assert_eq!(other.is_at_rest(), strict.is_at_rest(), "{name}, {what:?}: {:?}", shown());
            if other.reader.nul == super::lenient::Nul::Ends {
                continue;
            }
            for (theirs, ours) in other.messages.iter().zip(&strict.messages) {
                let without = |message: &[u8]| message.iter().copied().filter(|octet| *octet != 0).collect::<Vec<_>>();
                assert_eq!(without(theirs), without(ours), "{name}, {what:?}: {:?}", shown());
            }
        }
    }

    /// How many messages the client was told were taken.
    pub fn acknowledged(&self) -> usize {
        memchr::memmem::find_iter(&self.to_client, b"250 2.0.0 queued").count()
    }

    /// The bodies of the messages that the strict server took, without our trace field.
    pub fn bodies(&self) -> impl Iterator<Item = &[u8]> {
        self.servers[0].messages.iter().map(|message| {
            assert!(message.starts_with(b"Received: from "), "{:?}", String::from_utf8_lossy(message));
            message.split_at(trace_end(message)).1
        })
    }

    /// What the backend was told, without our trace fields and the sizes that count them.
    pub fn comparable(&self) -> Vec<u8> {
        let mut kept = Vec::new();
        let mut rest = self.to_backend.as_slice();
        while let Some(place) = memchr::memmem::find(rest, b"Received: from ") {
            let (before, field) = rest.split_at(place);
            let command = memchr::memmem::rfind(before, b"BDAT ").unwrap_or(before.len());
            kept.extend_from_slice(before.split_at(command).0);
            rest = field.split_at(trace_end(field)).1;
        }
        kept.extend_from_slice(rest);
        kept
    }
}

/// Where the Received field ends that these octets begin with.
fn trace_end(octets: &[u8]) -> usize {
    const END: &[u8] = b" +0000\r\n";
    memchr::memmem::find(octets, END).expect("the end of its date") + END.len()
}
