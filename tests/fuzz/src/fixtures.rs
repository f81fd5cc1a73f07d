//! What several targets need.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sealgate::facts::{
    ClientCertificate, ClientNames, Group, Peer, ServerSignature, SessionId, SignatureAlgorithm, Suite, TlsFacts,
    TlsVersion,
};
use sealgate::protocol::{Context, Event, Learned, Rules, Service};

/// A password that no log may show.
pub const CANARY: &[u8] = b"Tr0ub4dor";

/// A session on the named service.
pub fn context(service: &str, tls: bool) -> Context {
    let address = |last| SocketAddr::from(([192, 0, 2, last], 1024));
    let service = Service::by_name(service).unwrap_or_else(|| panic!("no service {service}"));
    Context {
        hostname: "mx.example.com".into(),
        session: SessionId::new("4Zk9"),
        service,
        peer: Peer { client: address(5), local: address(10), names: ClientNames::default() },
        tls: tls.then(|| Arc::new(facts())),
        rules: Arc::new(Rules { received_user: true, ..Rules::default() }),
        learned: Arc::new(Learned::from_iter(["PIPELINING", "SIZE 10240000", "AUTH PLAIN", "BINARYMIME"])),
    }
}

fn facts() -> TlsFacts {
    TlsFacts {
        version: TlsVersion::Tls13,
        suite: Suite { iana: "TLS_AES_256_GCM_SHA384", openssl: "TLS_AES_256_GCM_SHA384", bits: 256 },
        group: Group::X25519MlKem768,
        signature: Some(ServerSignature {
            iana: "ed25519",
            algorithm: SignatureAlgorithm::Ed25519,
            digest: None,
            certificate: None,
        }),
        sni: None,
        alpn: None,
        client_certificate: ClientCertificate::NotRequested,
        handshake: Duration::ZERO,
    }
}

/// Whether one holds the other.
pub fn holds(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Base64, whatever is wrong with it.
fn base64(text: &[u8]) -> Vec<u8> {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut have, mut octets) = (0_u32, 0, Vec::new());
    for value in text.iter().filter_map(|octet| digits.iter().position(|digit| digit == octet)) {
        bits = (bits << 6 | value as u32) & 0xffff;
        have += 6;
        if have >= 8 {
            have -= 8;
            octets.push((bits >> have) as u8);
        }
    }
    octets
}

/// What an event says is printable: nothing from the wire can start a line of the log or act on a terminal.
pub fn printable(event: &Event) {
    let texts: Vec<&str> = match event {
        Event::Helo(name) => vec![name],
        Event::Auth { method, user, .. } | Event::Unjudged { method, user, .. } => {
            [Some(method), user.as_ref()].into_iter().flatten().map(String::as_str).collect()
        }
        Event::Learned(learned) => learned.lines().collect(),
        _ => Vec::new(),
    };
    for text in texts {
        assert!(text.bytes().all(|octet| (b' '..=b'~').contains(&octet)), "{event:?} is not printable");
        assert!(text.len() <= 64 * 1024, "{event:?} is too long");
    }
}

/// What a login calls itself, as far as it could be: the first response, without the part that is the password.
pub fn sasl_name(mechanism: &[u8], response: &[u8]) -> Vec<u8> {
    let text = base64(response);
    match mechanism.to_ascii_uppercase().as_slice() {
        b"PLAIN" => text.split(|octet| *octet == 0).nth(1).unwrap_or_default().to_vec(),
        b"XOAUTH2" => text.split(|octet| *octet == 1).next().unwrap_or_default().to_vec(),
        _ => text,
    }
}
