//! STARTTLS (RFC 3207, RFC 9051 §6.2.1): nothing said before it counts behind it, wherever the network cuts it.

use std::time::Duration;

use bytes::BytesMut;
use sealgate::cleartext::{Cleartext, Heed, Patience, Talked};
use sealgate::facts::{ClientNames, Peer, SessionId};
use sealgate::protocol::{Context, Event, Farewell, Heard, Learned, Preamble, Rules, Service, Violation};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::support::base64;
use crate::support::gate::gate;
use crate::support::pki::HOSTNAME;
use crate::support::stack::stack;
use crate::support::wire::{Offer, Wire, client_hello};

/// Nobody takes notes.
struct Heedless;

impl Heed for Heedless {
    fn event(&mut self, _: Event) {}
    fn came(&mut self, _: usize) {}
    fn went(&mut self, _: usize) {}
}

/// A service's own preamble, which tells how many octets it has been shown.
struct Watched {
    inner: Box<dyn Preamble>,
    consumed: usize,
    shown: UnboundedSender<usize>,
}

impl Preamble for Watched {
    fn greet(&mut self, to_client: &mut BytesMut) {
        self.inner.greet(to_client);
    }

    fn receive(&mut self, input: &[u8], to_client: &mut BytesMut, events: &mut Vec<Event>) -> Result<Heard, Violation> {
        // Nobody may be listening any more.
        _ = self.shown.send(self.consumed + input.len());
        let heard = self.inner.receive(input, to_client, events)?;
        self.consumed += heard.consumed;
        Ok(heard)
    }

    fn farewell(&mut self, why: Farewell, to_client: &mut BytesMut) {
        self.inner.farewell(why, to_client);
    }
}

/// What came of one talk.
#[derive(Debug, PartialEq, Eq)]
enum Came {
    /// TLS comes next; what its handshake would read first.
    StartTls(Vec<u8>),
    Over(&'static str),
}

/// Says the pieces, each once the one before it has been judged; what came of it, and what the client heard.
async fn talk(service: &'static Service, pieces: &[&[u8]]) -> (Came, String) {
    let address = "203.0.113.5:40000".parse().expect("an address");
    let context = Context {
        hostname: HOSTNAME.into(),
        session: SessionId::new("s1"),
        service,
        peer: Peer { client: address, local: address, names: ClientNames::default() },
        tls: None,
        rules: Rules::default().into(),
        learned: Learned::default().into(),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mut client = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("a connection");
    let (stream, _) = listener.accept().await.expect("a connection");
    let (shown, mut seen) = unbounded_channel();
    let talk = tokio::spawn(async move {
        let mut preamble = Watched { inner: service.protocol.preamble(&context), consumed: 0, shown };
        let injection = service.protocol.farewell(HOSTNAME, Farewell::Injection);
        let patience = Patience { command: Duration::from_secs(60), total: Duration::from_secs(60) };
        let (_stop, stopped) = sealgate::stop::channel();
        Cleartext::new(stream).talk(&mut preamble, &injection, patience, stopped, &mut Heedless).await
    });
    let mut sent = 0;
    for piece in pieces {
        if client.write_all(piece).await.is_err() {
            break;
        }
        sent += piece.len();
        // It is over when nobody will be shown any more.
        while let Some(octets) = seen.recv().await {
            if octets >= sent {
                break;
            }
        }
    }
    drop(client.shutdown().await);
    let (came, mut stream) = match talk.await.expect("no panic") {
        Talked::StartTls(mut stream) => {
            let mut next = Vec::new();
            stream.read_to_end(&mut next).await.expect("the rest");
            (Came::StartTls(next), Some(stream))
        }
        Talked::StayPlain(..) => panic!("nothing here stays in cleartext"),
        Talked::Over(stream, reason) => (Came::Over(reason.phrase), stream),
    };
    if let Some(stream) = &mut stream {
        // Unread octets would turn the end into a reset, which takes the answer with it.
        let mut rest = Vec::new();
        drop(stream.read_to_end(&mut rest).await);
    }
    drop(stream);
    let mut heard = Vec::new();
    drop(client.read_to_end(&mut heard).await);
    (came, String::from_utf8_lossy(&heard).into_owned())
}

#[tokio::test]
async fn cve_2011_0411_every_cut_of_every_injection() {
    let hello = client_hello();
    let mut tried = 0;
    for (service, before, command, injected) in [
        ("smtp", "", "STARTTLS\r\n", b"NOOP\r\n".as_slice()),
        ("smtp", "EHLO x\r\n", "starttls \r\n", b"MAIL FROM:<a@example.net>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n"),
        ("smtp", "EHLO x\r\n", "STARTTLS\r\n", b"STARTTLS\r\n"),
        ("smtp", "", "STARTTLS\r\n", b"\r\n"),
        ("smtp", "", "STARTTLS\r\n", b"\0"),
        ("smtp", "", "STARTTLS\r\n", b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00NOOP\r\n"),
        ("submission", "EHLO x\r\nNOOP\r\n", "STARTTLS\r\n", b"AUTH PLAIN AGEAYg==\r\n"),
        ("submission", "", "STARTTLS\r\n", &hello[..40]),
        ("imap", "", "a STARTTLS\r\n", b"b NOOP\r\n"),
        ("imap", "x CAPABILITY\r\n", "a starttls\r\n", b"b LOGIN {3+}\r\nfoo bar\r\n"),
        ("imap", "", "a STARTTLS\r\n", b"* BYE\r\n"),
        ("imap", "", "a STARTTLS\r\n", &hello[..40]),
    ] {
        let service = Service::by_name(service).expect("a service");
        let all = [before.as_bytes(), command.as_bytes(), injected].concat();
        let border = before.len() + command.len();
        let singly: Vec<&[u8]> = all.chunks(1).collect();
        let cuts =
            (0..all.len()).map(|cut| (cut, [&all[..cut], &all[cut..]].into_iter().filter(|p| !p.is_empty()).collect()));
        for (cut, pieces) in cuts.chain([(border, singly)]) {
            tried += 1;
            let (came, heard) = talk(service, &pieces).await;
            let what = format!("{}, {command:?} and {} cut at {cut}: {heard}", service.name, injected.escape_ascii());
            let begun = heard.contains("220 2.0.0") || heard.contains("a OK");
            if cut == border {
                // They came after the answer: they are for the handshake, which refuses what is no ClientHello, and for nobody else.
                assert_eq!(came, Came::StartTls(injected.to_vec()), "{what}");
                assert!(begun, "{what}");
            } else {
                assert_eq!(came, Came::Over("commands sent behind STARTTLS"), "{what}");
                assert!(
                    !begun && heard.lines().last().is_some_and(|line| line.contains("STARTTLS before TLS")),
                    "{what}"
                );
            }
            // The greeting, the answers to what stood before it, and one more; what came in one piece with the injection gets none.
            let answers =
                heard.lines().filter(|line| line.get(3..4) != Some("-") && !line.starts_with("* CAP")).count();
            assert!((2..=2 + before.matches('\n').count()).contains(&answers), "{what}");
            assert!(!heard.contains("b OK") && !heard.contains("250 2.1.0") && !heard.contains("221 "), "{what}");
        }
    }
    assert!(tried > 400, "{tried}");
}

#[test]
fn what_begins_before_tls_does_not_end_inside_it() {
    let (gate, _shown) = gate();
    let (stack, _stack_shown) = stack();
    let config = Offer::default().config();
    let user = stack.user();
    let plain = base64(format!("\0{}\0correct horse", user.name));
    // A login begun in cleartext.
    let mut wire = gate.connect("submission");
    wire.reply();
    wire.say("EHLO before.example.org");
    assert_eq!(wire.say("AUTH PLAIN").code, 530);
    assert_eq!(wire.say(&format!("MAIL FROM:<{}>", user.address)).code, 530);
    assert_eq!(wire.say("STARTTLS").code, 220);
    let mut wire = wire.tls(&config);
    assert!((500..=503).contains(&wire.say(&plain).code), "a response to no challenge");
    assert!((500..=503).contains(&wire.say(&format!("RCPT TO:<{}>", user.address)).code), "a recipient of no mail");
    assert_eq!(wire.say("QUIT").code, 221);
    for (begin, rest) in [
        ("a LOGIN {4}", format!("{} \"correct horse\"", user.name)),
        ("a LOGIN", format!("{} \"correct horse\"", user.name)),
        ("a AUTHENTICATE PLAIN", plain),
        ("a ID ({16}", "x-originating-ip \"192.0.2.66\")".to_owned()),
    ] {
        let mut wire = gate.connect("imap");
        wire.line().expect("a greeting");
        wire.send(format!("{begin}\r\n"));
        let refusal = wire.line().expect("a refusal");
        assert!(refusal.starts_with("a NO [PRIVACYREQUIRED]") || refusal.starts_with("a BAD "), "{begin}: {refusal}");
        assert!(wire.tagged("s", "STARTTLS").concat().starts_with("s OK"));
        let mut wire = wire.tls(&config);
        wire.send(format!("{rest}\r\n"));
        let answer = wire.line().expect("an answer");
        assert!(answer.contains(" BAD ") && !answer.starts_with("a "), "{begin}: {answer}");
        assert!(wire.tagged("b", "NOOP").concat().starts_with("b OK"), "{begin}");
    }
}

#[test]
fn rfc3207_4_2_nothing_is_remembered_across_tls() {
    let (gate, _shown) = gate();
    let (stack, _stack_shown) = stack();
    let config = Offer::default().config();
    let user = stack.user();
    let mut wire = gate.connect("smtp");
    wire.reply();
    assert!(wire.say("EHLO before.example.org").has("STARTTLS"));
    assert_eq!(wire.say("STARTTLS").code, 220);
    let mut wire = wire.tls(&config);
    // Without a name, since it has said none inside.
    assert_eq!(wire.say("MAIL FROM:<sender@example.com>").code, 250);
    assert_eq!(wire.say(&format!("RCPT TO:<{}>", user.address)).code, 250);
    assert_eq!(wire.say("DATA").code, 354);
    assert_eq!(wire.say("Subject: mine\r\n\r\ntext\r\n.").code, 250);
    let inside = wire.say("EHLO inside.example.org");
    assert!(!inside.has("STARTTLS") && inside.code == 250, "{inside:?}");
    assert_eq!(wire.say("QUIT").code, 221);
    let mail = user.mail();
    let mail = String::from_utf8_lossy(&mail);
    assert!(
        !mail.contains("before.example.org") && mail.contains("Received: from [127.0.0.1] ([127.0.0.1])"),
        "{mail}"
    );
    // IMAP: what the gate offers before is not what there is inside (RFC 9051 §6.2.1).
    let mut wire = gate.secured("imap", &config);
    let inside = wire.tagged("a", "CAPABILITY").concat();
    assert!(
        !inside.contains("STARTTLS") && !inside.contains("LOGINDISABLED") && inside.contains("AUTH=PLAIN"),
        "{inside}"
    );
}

#[test]
fn starttls_out_of_place_and_in_odd_forms() {
    let (gate, _shown) = gate();
    let (stack, _stack_shown) = stack();
    let config = Offer::default().config();
    let secured = |mut wire: Wire, hello: &str| {
        wire = wire.tls(&config);
        wire.send(format!("{hello}\r\n"));
        wire.line().expect("an answer inside TLS")
    };
    // In other words, and behind another command in the same packet.
    for command in ["starttls", "StArTtLs", "STARTTLS ", "STARTTLS\t", "EHLO x\r\nSTARTTLS"] {
        for service in ["smtp", "submission"] {
            let mut wire = gate.connect(service);
            wire.reply();
            wire.send(format!("{command}\r\n"));
            while wire.reply().code != 220 {}
            assert!(secured(wire, "NOOP").starts_with("250 "), "{service}: {command}");
        }
    }
    let mut wire = gate.connect("imap");
    wire.line().expect("a greeting");
    wire.send("n NOOP\r\ns sTaRtTlS\r\n");
    while !wire.line().expect("an answer").starts_with("s OK") {}
    assert!(secured(wire, "a NOOP").starts_with("a OK"));
    // What it is not.
    for (command, code) in [("STARTTLS now", 501), (" STARTTLS", 500), ("STARTTLS\u{b}", 500), ("STARTTLSX", 530)] {
        let mut wire = gate.connect("submission");
        wire.reply();
        assert_eq!(wire.say(command).code, code, "{command:?}");
        assert_eq!(wire.say("NOOP").code, 250, "{command:?}");
    }
    for command in ["STARTTLS now", " STARTTLS", "STARTTLS ", "STARTTLS {3}", "\"STARTTLS\"", "STARTTLSX"] {
        let mut wire = gate.connect("imap");
        wire.line().expect("a greeting");
        assert!(wire.tagged("a", command).concat().starts_with("a BAD"), "{command:?}");
        assert!(wire.tagged("b", "NOOP").concat().starts_with("b OK"), "{command:?}");
    }
    // Inside TLS, where there is none any more.
    for service in ["smtp", "submission", "submissions"] {
        let mut wire = gate.secured(service, &config);
        assert_eq!(wire.say("STARTTLS").code, 503, "{service}");
        assert_eq!(wire.say("NOOP").code, 250, "{service}");
    }
    for service in ["imap", "imaps"] {
        let mut wire = gate.secured(service, &config);
        assert!(wire.tagged("a", "STARTTLS").concat().starts_with("a BAD"), "{service}");
        assert!(wire.tagged("b", "NOOP").concat().starts_with("b OK"), "{service}");
    }
    // In a mail: it has begun in cleartext, and so it ends.
    let user = stack.user();
    let mut wire = gate.connect("smtp");
    wire.reply();
    wire.say("EHLO client.example.org");
    assert_eq!(wire.say("MAIL FROM:<sender@example.com>").code, 250);
    assert_eq!(wire.say("STARTTLS").code, 454);
    assert_eq!(wire.say(&format!("RCPT TO:<{}>", user.address)).code, 250);
    assert_eq!(wire.say("DATA").code, 354);
    assert_eq!(wire.say("Subject: mine\r\n\r\nSTARTTLS\r\n.").code, 250);
    assert_eq!(wire.say("STARTTLS").code, 454);
    assert_eq!(wire.say("QUIT").code, 221);
    let mail = user.mail();
    assert!(!String::from_utf8_lossy(&mail).contains("(using TLS"), "{}", String::from_utf8_lossy(&mail));
}
