//! The PROXY header of a load balancer: what it says, and that not one octet behind it is read.
//!
//! An input's first octet says what to do with the rest: read it as it is, or make a header of version 1 or 2 of its octets and put
//! the rest behind it.

use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use proxy_header::{ParseConfig, Protocol, ProxiedAddress, ProxyHeader};
use sealgate::backend::inbound::{Inbound, InboundError, read_proxy_header};
use sealgate::facts::canonical;
use tokio::io::{AsyncRead, ReadBuf};

use crate::script::{next, seed};

/// The longest header that is taken.
const LONGEST: usize = 8 * 1024;

/// One input of the target `proxy_header`.
pub fn header(input: &[u8]) {
    let Some((kind, rest)) = input.split_first() else { return };
    match (kind % 3, rest.split_first_chunk::<36>()) {
        (version @ 1..=2, Some((addresses, behind))) => round_trip(version, *addresses, kind / 3, behind),
        _ => any(rest),
    }
}

/// Octets as they come.
fn any(octets: &[u8]) {
    let (whole, read) = read_in(octets, u64::MAX);
    for cuts in [0, seed(octets)] {
        let (cut, read_cut) = read_in(octets, cuts);
        // How soon it shows that one is broken, and by what, hangs on the reads.
        match (&cut, &whole) {
            (Ok(cut), Ok(whole)) => assert_eq!((cut, read_cut), (whole, read), "cut by {cuts}"),
            (Err(_), Err(_)) => {}
            (cut, whole) => panic!("{cut:?} and not {whole:?}, cut by {cuts}"),
        }
    }
    assert!(read <= LONGEST, "{read} octets were read");
    let Ok(inbound) = whole else { return };
    let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
    let (parsed, len) = ProxyHeader::parse(octets, config).unwrap_or_else(|error| panic!("{error:?}: {inbound:?}"));
    assert_eq!(len, read, "the client's octets were read");
    assert_eq!(end(octets), Some(read), "the header ends elsewhere");
    let address = parsed.proxied_address().filter(|address| address.protocol == Protocol::Stream);
    let expected = address.map_or(Inbound::HealthCheck, |address| Inbound::Proxied {
        client: canonical(address.source),
        local: canonical(address.destination),
    });
    assert_eq!(inbound, expected);
}

/// Where the header ends by the letter: PROXY protocol §2.1 and §2.2.
fn end(octets: &[u8]) -> Option<usize> {
    if octets.starts_with(b"PROXY ") {
        return octets.windows(2).position(|window| window == b"\r\n").map(|at| at + 2);
    }
    let (high, low) = (octets.get(14)?, octets.get(15)?);
    octets.starts_with(b"\r\n\r\n\0\r\nQUIT\n").then(|| 16 + usize::from(u16::from_be_bytes([*high, *low])))
}

/// What another implementation writes is read back, and nothing behind it.
fn round_trip(version: u8, addresses: [u8; 36], family: u8, behind: &[u8]) {
    let port = |at: usize| u16::from_be_bytes([addresses[at], addresses[at + 1]]);
    let v4 = |at: usize| <[u8; 4]>::try_from(&addresses[at..at + 4]).expect("four octets");
    let v6 = |at: usize| <[u8; 16]>::try_from(&addresses[at..at + 16]).expect("sixteen octets");
    let (client, local) = match family % 2 {
        0 => (SocketAddr::from((v4(0), port(32))), SocketAddr::from((v4(16), port(34)))),
        _ => (SocketAddr::from((v6(0), port(32))), SocketAddr::from((v6(16), port(34)))),
    };
    let written = ProxyHeader::with_address(ProxiedAddress::stream(client, local));
    let mut octets = Vec::new();
    let encoded = if version == 1 { written.encode_v1(&mut octets) } else { written.encode_v2(&mut octets) };
    encoded.expect("two addresses of one family");
    let len = octets.len();
    octets.extend_from_slice(behind);
    let expected = Inbound::Proxied { client: canonical(client), local: canonical(local) };
    for cuts in [u64::MAX, 0, seed(&octets)] {
        let (inbound, read) = read_in(&octets, cuts);
        assert_eq!(inbound.expect("a whole header"), expected, "cut by {cuts}");
        assert_eq!(read, len, "the client's octets were read, cut by {cuts}");
    }
}

/// Reads the header from octets that come whole ([`u64::MAX`]), one by one (0), or in pieces by that seed; how many were read.
fn read_in(octets: &[u8], cuts: u64) -> (Result<Inbound, InboundError>, usize) {
    let mut stream = Pieces { octets, cuts, state: cuts };
    let polled = pin!(read_proxy_header(&mut stream)).poll(&mut Context::from_waker(Waker::noop()));
    let Poll::Ready(inbound) = polled else { panic!("waits for what is there") };
    (inbound, octets.len() - stream.octets.len())
}

struct Pieces<'a> {
    octets: &'a [u8],
    cuts: u64,
    state: u64,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.state = next(self.state);
        let piece = match self.cuts {
            u64::MAX => usize::MAX,
            0 => 1,
            _ => 1 + usize::try_from(self.state % 13).unwrap_or_default(),
        };
        let (now, later) = self.octets.split_at(piece.min(into.remaining()).min(self.octets.len()));
        into.put_slice(now);
        self.octets = later;
        Poll::Ready(Ok(()))
    }
}
