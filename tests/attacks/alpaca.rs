//! ALPACA and its kin: a client that means another protocol, or is made to speak to us on somebody else's behalf, gets nothing
//! done. Inside TLS as well, where no ALPN tells what it means.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;

use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use crate::imap_model::Dice;
use crate::support::gate::{Gate, gate};
use crate::support::pki::HOSTNAME;
use crate::support::wait::PATIENCE;
use crate::support::wire::{Offer, Wire};

const SERVICES: [&str; 5] = ["smtp", "submission", "submissions", "imap", "imaps"];

fn own_alpn(service: &str) -> &'static str {
    if service.starts_with("imap") { "imap" } else { "smtp" }
}

/// A connection at the place where its TLS begins.
fn before_tls(gate: &Gate, service: &str) -> Wire {
    let mut wire = gate.connect(service);
    match service {
        "smtp" | "submission" => {
            wire.reply();
            assert_eq!(wire.say("STARTTLS").code, 220);
        }
        "imap" => {
            wire.line().expect("a greeting");
            wire.tagged("s", "STARTTLS");
        }
        _ => {}
    }
    wire
}

#[test]
fn alpaca_foreign_names_on_every_service_however_many() {
    let (gate, _shown) = gate();
    let long = "x".repeat(255);
    let lists: [&[&str]; 12] = [
        &["http/1.1"],
        &["h2", "http/1.1"],
        &["ftp"],
        &["pop3"],
        &["managesieve"],
        &["SMTP", "IMAP"],
        &["smtp ", "imap\0"],
        &["smt", "ima"],
        &["smtps", "imaps"],
        &[&long],
        &[&long, &long, &long, &long],
        &["\u{e9}\r\nX: y"],
    ];
    for service in SERVICES {
        let other = if own_alpn(service) == "smtp" { "imap" } else { "smtp" };
        for list in lists.into_iter().chain([[other].as_slice()]) {
            let log = gate.log.tail();
            let mut config = (*Offer::default().config()).clone();
            config.alpn_protocols = list.iter().map(|name| name.as_bytes().to_vec()).collect();
            let mut wire = before_tls(gate, service);
            let error = wire.try_tls(&config.into()).expect_err("no TLS");
            assert!(error.to_string().contains("NoApplicationProtocol"), "{service}, {list:?}: {error}");
            let port = wire.port;
            drop(wire);
            let record =
                log.wait_for(&["event=ended", &format!("service={service} "), &format!("client_port={port} ")]);
            assert!(record.contains("\"wrong ALPN\"") && record.contains("outcome=policy"), "{service}: {record}");
        }
        // Ours among others is ours.
        let mut config = (*Offer::default().config()).clone();
        config.alpn_protocols = ["http/1.1", own_alpn(service)].map(|name| name.as_bytes().to_vec()).into();
        let wire = before_tls(gate, service).tls(&config.into());
        assert_eq!(wire.tls_state().alpn_protocol(), Some(own_alpn(service).as_bytes()));
    }
}

/// The ClientHello of a client that offers `http/1.1` alone, in records of so many octets, its ALPN extension's content replaced.
fn hello_with_alpn(content: &[u8], record: usize) -> Vec<u8> {
    const OFFERED: &[u8] = b"\x00\x10\x00\x0b\x00\x09\x08http/1.1";
    let mut config = (*Offer::default().config()).clone();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = ServerName::try_from(HOSTNAME).expect("a name");
    let mut connection = ClientConnection::new(config.into(), name).expect("a connection");
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).expect("a vector");
    let at = hello.windows(OFFERED.len()).position(|octets| octets == OFFERED).expect("the extension");
    // The record's header, the message's and all lengths around the extension stay: the content has as many octets as before.
    assert_eq!(content.len(), OFFERED.len() - 4);
    hello[at + 4..at + OFFERED.len()].copy_from_slice(content);
    hello[5..]
        .chunks(record)
        .flat_map(|part| [&[0x16, 3, 1], &u16::try_from(part.len()).expect("short").to_be_bytes()[..], part].concat())
        .collect()
}

#[test]
fn rfc7301_3_1_a_malformed_list_of_protocols_is_no_list() {
    let (gate, _shown) = gate();
    let contents: [&[u8]; 9] = [
        b"\x00\x09\x00smtpimap",    // a name of no octets
        b"\x00\x09\x04smtp\x04ima", // one that is longer than what is there
        b"\x00\x09\xffhttp/1.1",
        b"\x00\x00\x08http/1.1", // a list of none, and more behind it
        b"\x00\x05\x04smtp\x04imx",
        b"\x00\x0a\x08http/1.1", // a list that is longer than what is there
        b"\xff\xff\x08http/1.1",
        b"\x00\x09\x00\x00\x00\x00\x00\x00\x00\x00\x00",
        b"\x00\x09\x04smtp\x03\r\n\0",
    ];
    for service in SERVICES {
        for (n, content) in contents.iter().enumerate() {
            let log = gate.log.tail();
            let mut wire = before_tls(gate, service);
            wire.send(hello_with_alpn(content, usize::MAX));
            wire.finish();
            let port = wire.port;
            drop(wire.rest());
            drop(wire);
            let record =
                log.wait_for(&["event=ended", &format!("service={service} "), &format!("client_port={port} ")]);
            // The last one is a list: of a name that is ours and one that is not.
            let refused = record.contains("outcome=client_error") || record.contains("outcome=policy");
            assert!(refused && !record.contains("tls_version="), "{n}: {record}");
        }
    }
}

#[test]
fn rfc8446_5_1_a_hello_of_one_octet_a_record_is_a_hello() {
    let (gate, _shown) = gate();
    for versions in [&[&rustls::version::TLS13][..], &[&rustls::version::TLS12]] {
        let config = Offer { versions: Some(Box::leak(Box::new(versions.to_vec()))), ..Offer::default() }.config();
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, gate.port("imaps"))).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("an option");
        let name = ServerName::try_from(HOSTNAME).expect("a name");
        let mut connection = ClientConnection::new(Arc::clone(&config), name).expect("a connection");
        let mut hello = Vec::new();
        connection.write_tls(&mut hello).expect("a vector");
        for octet in &hello[5..] {
            stream.write_all(&[0x16, 3, 1, 0, 1, *octet]).expect("the gate listens");
        }
        while connection.is_handshaking() {
            connection.complete_io(&mut stream).expect("a handshake");
        }
        let mut greeting = [0; 4];
        rustls::Stream::new(&mut connection, &mut stream).read_exact(&mut greeting).expect("a greeting");
        assert_eq!(&greeting, b"* OK");
    }
}

/// HTTP requests as browsers can be made to send them, each with a body that somebody else wrote.
fn requests(body: &str) -> Vec<Vec<u8>> {
    let long = format!("/{}", "x".repeat(10_000));
    let limit = format!("/{}", "x".repeat(2048 - "POST  HTTP/1.1\r\n".len() - 1));
    let mut all = Vec::new();
    for target in ["/", "/?a=b%0d%0aNOOP", &long, &limit, "http://mail.example.net/x", "*"] {
        for method in ["POST", "GET", "PUT", "DELETE", "PATCH", "OPTIONS", "X-MINE", "a", "NOOPX"] {
            // What is no path behind what is no method of HTTP: no browser sends it.
            if !target.starts_with('/') && ["X-MINE", "a", "NOOPX"].contains(&method) {
                continue;
            }
            all.push(format!("{method} {target} HTTP/1.1\r\nHost: mail.example.net\r\n\r\n{body}"));
        }
    }
    all.push(format!("\r\nPOST / HTTP/1.1\r\n\r\n{body}"));
    all.push(format!("POST / HTTP/1.1\n\n{body}"));
    all.push(format!("CONNECT mail.example.net:25 HTTP/1.1\r\n\r\n{body}"));
    all.push(format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{body}"));
    all.into_iter().map(String::into_bytes).collect()
}

/// What can open a binary protocol, and commands behind it.
fn binaries(body: &str) -> Vec<Vec<u8>> {
    let openings: [&[u8]; 10] = [
        b"\x00\x03\x00\x58\x21\x12\xa4\x42abcdefghijkl\x00\x06\x00\x40\r\n", // TURN, which a page can have sent, its name too
        b"\x00\x01\x00\x00\x21\x12\xa4\x42abcdefghijkl\r\n",                 // STUN
        b"\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x03\x00\x00\x00\r\n", // RDP
        b"\x16\xfe\xff\x00\x00\x00\x00\x00\x00\x00\x00\r\n",                 // DTLS
        b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10\x07\x00\xc0\r\n",     // SSL 2.0
        b"\xff\xfb\x18\xff\xfd\x06\r\n",                                     // Telnet
        b"\x04\x01\x00\x19\x7f\x00\x00\x01\x00\r\n",                         // SOCKS
        b"\x00\x00\x00\x85\xffSMB\r\n",
        b"\x15\x03\x01\x00\x02\x02\x28\r\n", // a TLS alert
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x42\x7f\x00\x00\x01\x9c\x40\x00\x19\r\n", // PROXY, version 2
    ];
    openings.iter().map(|opening| [*opening, body.as_bytes()].concat()).collect()
}

/// Sends it all, cut where the dice say; what is answered, and the record.
fn told(gate: &Gate, service: &str, mut wire: Wire, octets: &[u8], dice: &mut Dice) -> (String, String) {
    let log = gate.log.tail();
    let (first, second) = octets.split_at(dice.roll(octets.len()));
    for part in [first, second] {
        // It may be closed already.
        drop(wire.try_send(part));
    }
    let (port, said) = (wire.port, wire.rest());
    drop(wire);
    (said, log.wait_for(&["event=ended", &format!("service={service} "), &format!("client_port={port} ")]))
}

/// A wire behind the greeting, and a body that would do something there.
fn place(gate: &Gate, service: &str, secured: bool) -> (Wire, &'static str) {
    let body = match own_alpn(service) {
        "smtp" => "EHLO evil\r\nMAIL FROM:<a@example.net>\r\nNOOP\r\nQUIT\r\n",
        _ => "a NOOP\r\na CAPABILITY\r\na LOGOUT\r\n",
    };
    let mut wire =
        if secured { before_tls(gate, service).tls(&Offer::default().config()) } else { gate.connect(service) };
    if !secured || service.ends_with('s') {
        wire.line().expect("a greeting");
    }
    (wire, body)
}

#[test]
fn alpaca_no_line_of_a_body_is_obeyed_before_tls_or_inside_it() {
    let (gate, _shown) = gate();
    let mut dice = Dice(1);
    let mut tried = 0;
    for (service, secured) in SERVICES
        .iter()
        .flat_map(|service| [(*service, false), (*service, true)])
        .filter(|(s, tls)| *tls || !s.ends_with('s'))
    {
        let (_, body) = place(gate, service, secured);
        for (octets, reason) in requests(body)
            .into_iter()
            .map(|octets| (octets, "HTTP request"))
            .chain(binaries(body).into_iter().map(|octets| (octets, "binary protocol")))
        {
            let (wire, _) = place(gate, service, secured);
            let (said, record) = told(gate, service, wire, &octets, &mut dice);
            let start = octets.get(..60).unwrap_or(&octets).escape_ascii();
            let what = format!("{service}, inside TLS: {secured}, {start}: {said:?}\n{record}");
            let obeyed = |line: &str| {
                ["250", "221", "a OK", "* CAP", "* BYE mail", "* BYE Logging"].iter().any(|ok| line.starts_with(ok))
            };
            assert!(!said.lines().any(obeyed), "{what}");
            let named = record.contains(reason) || (reason == "binary protocol" && record.contains("TLS handshake"));
            assert!(named && record.contains("outcome=client_error"), "{what}");
            tried += 1;
        }
    }
    assert!(tried > 400, "{tried}");
}

#[test]
fn other_protocols_greetings_lead_nowhere() {
    let (gate, _shown) = gate();
    let texts: [&str; 9] = [
        "SSH-2.0-OpenSSH_9.9\r\n",
        "USER anonymous\r\nPASS a@b\r\nSYST\r\n",
        "USER u\r\nPASS p\r\nSTAT\r\n",
        "REGISTER sip:mail.example.net SIP/2.0\r\nVia: SIP/2.0/TCP a\r\n\r\n",
        "<?xml version='1.0'?><stream:stream to='mail.example.net' xmlns='jabber:client'>\r\n",
        "NICK a\r\nUSER a 0 * :a\r\nJOIN #a\r\n",
        "PROXY TCP4 192.0.2.66 192.0.2.1 1 25\r\n",
        "PROXY UNKNOWN\r\n",
        "XCLIENT ADDR=192.0.2.66\r\n",
    ];
    for service in SERVICES {
        for secured in [false, true] {
            if !secured && service.ends_with('s') {
                continue;
            }
            for text in texts {
                let (mut wire, _) = place(gate, service, secured);
                wire.send(text);
                wire.finish();
                let said = wire.rest();
                let lines: Vec<&str> = said.lines().collect();
                let refused = |line: &&str| {
                    let smtp = line.starts_with('5') || line.starts_with("421 ");
                    smtp || line.contains(" BAD ") || line.starts_with("* BYE")
                };
                assert!(!lines.is_empty() || !text.ends_with('\n'), "{service}, {secured}, {text:?}");
                assert!(lines.iter().all(refused), "{service}, {secured}, {text:?}: {said}");
                let port = wire.port;
                drop(wire);
                let record = gate.log.wait_for(&[
                    "event=ended",
                    &format!("service={service} "),
                    &format!("client_port={port} "),
                ]);
                assert!(record.contains("client=127.0.0.1 "), "{record}");
            }
        }
    }
}
