//! A DNS server on loopback that knows what a test tells it (RFC 1035 §4).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

/// A running server; it ends with the test process.
pub struct Dns {
    /// Where it listens.
    pub address: SocketAddr,
}

/// What it knows.
#[derive(Default)]
pub struct Zone {
    answers: HashMap<(String, u16), Vec<u8>>,
    broken: Vec<String>,
}

const A: u16 = 1;
const PTR: u16 = 12;
const NO_ERROR: u8 = 0;
const SERVER_FAILURE: u8 = 2;
const NAME_ERROR: u8 = 3;

impl Zone {
    /// The address' name.
    #[must_use]
    pub fn ptr(mut self, address: Ipv4Addr, name: &str) -> Self {
        self.answers.insert((reverse(address), PTR), encode(name));
        self
    }

    /// The name's address.
    #[must_use]
    pub fn a(mut self, name: &str, address: Ipv4Addr) -> Self {
        self.answers.insert((name.to_owned(), A), address.octets().to_vec());
        self
    }

    /// Questions about the address fail.
    #[must_use]
    pub fn broken(mut self, address: Ipv4Addr) -> Self {
        self.broken.push(reverse(address));
        self
    }

    /// Answers questions from now on.
    pub fn serve(self) -> Dns {
        let socket = UdpSocket::bind((IpAddr::V4(Ipv4Addr::LOCALHOST), 0)).expect("a port");
        let address = socket.local_addr().expect("an address");
        std::thread::spawn(move || {
            let mut question = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut question) {
                if let Some(answer) = question.get(..length).and_then(|question| self.answer(question)) {
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        Dns { address }
    }

    fn answer(&self, message: &[u8]) -> Option<Vec<u8>> {
        let id = message.get(..2)?;
        let (name, length) = decode(message.get(12..)?)?;
        let question = message.get(12..12 + length + 4)?;
        let kind = u16::from_be_bytes(question.get(length..length + 2)?.try_into().ok()?);
        let found = self.answers.get(&(name.clone(), kind));
        let code = if self.broken.contains(&name) {
            SERVER_FAILURE
        } else if self.answers.keys().any(|(known, _)| *known == name) {
            NO_ERROR
        } else {
            NAME_ERROR
        };
        let count = u8::from(found.is_some());
        // A response to a recursive query, one question.
        let mut out = [id, &[0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0], question].concat();
        if let Some(data) = found {
            // A pointer to the name in the question, its type, IN, a TTL, the data.
            out.extend([0xC0, 12]);
            out.extend(kind.to_be_bytes());
            out.extend(1_u16.to_be_bytes());
            out.extend(u32::try_from(Duration::from_secs(60).as_secs()).ok()?.to_be_bytes());
            out.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
            out.extend(data);
        }
        Some(out)
    }
}

fn reverse(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("{d}.{c}.{b}.{a}.in-addr.arpa")
}

fn encode(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.') {
        out.push(u8::try_from(label.len()).expect("a label"));
        out.extend(label.as_bytes());
    }
    out.push(0);
    out
}

/// The name that the bytes begin with, in lower case, and how many octets it takes.
fn decode(bytes: &[u8]) -> Option<(String, usize)> {
    let (mut labels, mut at) = (Vec::new(), 0);
    loop {
        let length = usize::from(*bytes.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        labels.push(String::from_utf8_lossy(bytes.get(at..at + length)?).to_lowercase());
        at += length;
    }
}
