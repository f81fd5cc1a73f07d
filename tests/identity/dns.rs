//! Name look-ups, against a name server on loopback that knows what a test tells it.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{PTR, SOA};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use sealgate::backend::dns::Resolver;
use sealgate::config::Dns;
use sealgate::facts::{ClientNames, Lookup};
use tokio::net::UdpSocket;

use super::PATIENCE;

/// How the server answers a question.
#[derive(Clone)]
enum Answer {
    Records(Vec<RData>),
    Empty,
    Fails,
    Silent,
}

/// What the server knows; it denies the rest.
struct Zone {
    answers: HashMap<(String, RecordType), Answer>,
    ttl: u32,
}

impl Zone {
    fn new(ttl: u32) -> Self {
        Self { answers: HashMap::new(), ttl }
    }

    fn pointers(self, ip: &str, names: &[&str]) -> Self {
        // From labels, since DNS carries octets that no host name has.
        let name = |name: &&str| Name::from_labels(name.trim_end_matches('.').split('.').map(str::as_bytes)).unwrap();
        let names = names.iter().map(name).map(|name| RData::PTR(PTR(name))).collect();
        self.pointer_answer(ip, Answer::Records(names))
    }

    fn pointer_answer(mut self, ip: &str, answer: Answer) -> Self {
        let ip: IpAddr = ip.parse().unwrap();
        self.answers.insert((Name::from(ip).to_ascii(), RecordType::PTR), answer);
        self
    }

    fn addresses(self, name: &str, addresses: &[&str]) -> Self {
        let addresses: Vec<IpAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        let family = if addresses[0].is_ipv4() { RecordType::A } else { RecordType::AAAA };
        self.address_answer(name, family, Answer::Records(addresses.into_iter().map(RData::from).collect()))
    }

    fn address_answer(mut self, name: &str, family: RecordType, answer: Answer) -> Self {
        self.answers.insert((name.to_owned(), family), answer);
        self
    }

    async fn serve(self) -> Server {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        tokio::spawn(async move {
            let mut datagram = [0; 2_000];
            loop {
                let (len, from) = socket.recv_from(&mut datagram).await.unwrap();
                let query = Message::from_vec(&datagram[..len]).unwrap();
                let question = query.queries.first().unwrap();
                let key = (question.name().to_ascii().to_ascii_lowercase(), question.query_type());
                log.lock().unwrap().push(key.clone());
                if let Some(reply) = self.reply(&query, &key) {
                    socket.send_to(&reply, from).await.unwrap();
                }
            }
        });
        Server { address, asked }
    }

    fn reply(&self, query: &Message, key: &(String, RecordType)) -> Option<Vec<u8>> {
        let question = query.queries.first().unwrap().clone();
        let name = question.name().clone();
        let mut reply = Message::response(query.metadata.id, OpCode::Query);
        reply.metadata.recursion_desired = true;
        reply.metadata.recursion_available = true;
        reply.add_query(question);
        let soa = SOA::new(Name::root(), Name::root(), 1, 1, 1, 1, self.ttl);
        let absent = Record::from_rdata(Name::root(), self.ttl, RData::SOA(soa));
        match self.answers.get(key) {
            Some(Answer::Records(records)) => {
                reply.add_answers(records.iter().map(|data| Record::from_rdata(name.clone(), self.ttl, data.clone())));
            }
            Some(Answer::Empty) => {
                reply.add_authority(absent);
            }
            Some(Answer::Fails) => reply.metadata.response_code = ResponseCode::ServFail,
            Some(Answer::Silent) => return None,
            None => {
                reply.metadata.response_code = ResponseCode::NXDomain;
                reply.add_authority(absent);
            }
        }
        Some(reply.to_vec().unwrap())
    }
}

struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<(String, RecordType)>>>,
}

impl Server {
    fn resolver(&self, deadline: Duration, cache: usize) -> Resolver {
        let cache = NonZeroUsize::new(cache).unwrap();
        Resolver::new(&Dns { servers: vec![self.address], deadline, cache }).unwrap()
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

fn found(name: &str) -> Lookup {
    Lookup::Found(name.into())
}

fn ip(address: &str) -> IpAddr {
    address.parse().unwrap()
}

fn both(names: &ClientNames) -> (Lookup, Lookup) {
    (names.reverse.clone(), names.verified.clone())
}

#[tokio::test]
async fn a_name_is_verified_only_if_it_points_back() {
    let zone = Zone::new(60)
        .pointers("203.0.113.1", &["mail.example.net."])
        .addresses("mail.example.net.", &["198.51.100.1", "203.0.113.1"])
        .pointers("203.0.113.2", &["forged.example.net."])
        .addresses("forged.example.net.", &["198.51.100.1"])
        .pointers("203.0.113.3", &["nowhere.example.net."])
        .pointers("203.0.113.4", &["six.example.net."])
        .address_answer("six.example.net.", RecordType::A, Answer::Empty)
        .pointer_answer("203.0.113.6", Answer::Empty)
        .pointers("203.0.113.7", &["other.example.net.", "mail7.example.net."])
        .addresses("other.example.net.", &["198.51.100.1"])
        .addresses("mail7.example.net.", &["203.0.113.7"])
        .pointers("203.0.113.8", &["a b.example.net.", "203.0.113.8.", "mail8.example.net."])
        .addresses("mail8.example.net.", &["203.0.113.8"])
        .pointers("203.0.113.9", &["-.example.net."])
        .pointers("2001:db8::5", &["mail6.example.net."])
        .addresses("mail6.example.net.", &["2001:db8::5"]);
    let server = zone.serve().await;
    let resolver = server.resolver(PATIENCE, 100);
    let cases = [
        ("203.0.113.1", found("mail.example.net"), found("mail.example.net")),
        ("203.0.113.2", found("forged.example.net"), Lookup::Absent),
        ("203.0.113.3", found("nowhere.example.net"), Lookup::Absent),
        ("203.0.113.4", found("six.example.net"), Lookup::Absent),
        ("203.0.113.5", Lookup::Absent, Lookup::Absent),
        ("203.0.113.6", Lookup::Absent, Lookup::Absent),
        ("203.0.113.7", found("mail7.example.net"), found("mail7.example.net")),
        ("203.0.113.8", found("mail8.example.net"), found("mail8.example.net")),
        ("203.0.113.9", Lookup::Absent, Lookup::Absent),
        ("2001:db8::5", found("mail6.example.net"), found("mail6.example.net")),
    ];
    for (address, reverse, verified) in cases {
        assert_eq!(both(&resolver.names(ip(address)).await), (reverse, verified), "{address}");
    }
}

#[tokio::test]
async fn a_failure_is_not_an_absence_and_is_not_kept() {
    let zone = Zone::new(60)
        .pointer_answer("203.0.113.1", Answer::Fails)
        .pointers("203.0.113.2", &["mail.example.net."])
        .address_answer("mail.example.net.", RecordType::A, Answer::Fails)
        .pointers("203.0.113.3", &["mail.example.net.", "good.example.net."])
        .addresses("good.example.net.", &["203.0.113.3"]);
    let server = zone.serve().await;
    let resolver = server.resolver(PATIENCE, 100);
    let cases = [
        ("203.0.113.1", Lookup::Failed, Lookup::Failed, true),
        ("203.0.113.2", found("mail.example.net"), Lookup::Failed, true),
        ("203.0.113.3", found("good.example.net"), found("good.example.net"), false),
    ];
    for (address, reverse, verified, asked_again) in cases {
        let expected = (reverse, verified);
        assert_eq!(both(&resolver.names(ip(address)).await), expected, "{address}");
        let before = server.asked();
        assert_eq!(both(&resolver.names(ip(address)).await), expected, "{address}, again");
        assert_eq!(server.asked() > before, asked_again, "{address}");
    }
}

#[tokio::test]
async fn silence_costs_no_more_than_the_deadline_and_keeps_what_is_known() {
    let zone = Zone::new(60)
        .pointer_answer("203.0.113.1", Answer::Silent)
        .pointers("203.0.113.2", &["mail.example.net."])
        .address_answer("mail.example.net.", RecordType::A, Answer::Silent);
    let server = zone.serve().await;
    let deadline = Duration::from_millis(500);
    let resolver = server.resolver(deadline, 100);
    for (address, reverse) in [("203.0.113.1", Lookup::Failed), ("203.0.113.2", found("mail.example.net"))] {
        let began = Instant::now();
        assert_eq!(both(&resolver.names(ip(address)).await), (reverse, Lookup::Failed), "{address}");
        assert!(began.elapsed() >= deadline / 2, "{:?}", began.elapsed());
        assert!(began.elapsed() < PATIENCE / 2, "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn the_number_of_names_tried_is_bounded() {
    let names: Vec<String> = (0..20).map(|n| format!("n{n:02}.example.net.")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let zone = Zone::new(60).pointers("203.0.113.1", &names).addresses("n19.example.net.", &["203.0.113.1"]);
    let server = zone.serve().await;
    let seen = server.resolver(PATIENCE, 100).names(ip("203.0.113.1")).await;
    assert_eq!(both(&seen), (found("n00.example.net"), Lookup::Absent));
    assert_eq!(server.asked(), 1 + 4, "{:?}", server.asked.lock().unwrap());
}

#[tokio::test]
async fn answers_are_kept_as_long_as_dns_allows() {
    for (ttl, kept) in [(3_600, true), (0, false)] {
        let zone = Zone::new(ttl)
            .pointers("203.0.113.1", &["mail.example.net."])
            .addresses("mail.example.net.", &["203.0.113.1"]);
        let server = zone.serve().await;
        let resolver = server.resolver(PATIENCE, 100);
        for address in ["203.0.113.1", "203.0.113.2"] {
            let first = both(&resolver.names(ip(address)).await);
            let before = server.asked();
            assert_eq!(both(&resolver.clone().names(ip(address)).await), first);
            assert_eq!(server.asked() == before, kept, "{address}, TTL {ttl}");
        }
    }
}

#[tokio::test]
async fn an_answer_whose_time_is_over_is_asked_for_again() {
    let zone = Zone::new(1).pointers("203.0.113.1", &["mail.example.net."]);
    let server = zone.serve().await;
    let resolver = server.resolver(PATIENCE, 100);
    resolver.names(ip("203.0.113.1")).await;
    let before = server.asked();
    let asked_again = async {
        while server.asked() == before {
            resolver.names(ip("203.0.113.1")).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asked_again).await.expect("the answer was kept for ever");
}

#[tokio::test]
async fn the_cache_is_bounded() {
    let server = Zone::new(3_600).serve().await;
    let resolver = server.resolver(PATIENCE, 10);
    let clients: Vec<IpAddr> = (0..1_000_u16).map(|n| Ipv4Addr::from(0xcb00_0000 + u32::from(n)).into()).collect();
    for client in &clients {
        resolver.names(*client).await;
    }
    let before = server.asked();
    for client in &clients {
        resolver.names(*client).await;
    }
    assert!(server.asked() - before >= 900, "{} of 1000 asked for again", server.asked() - before);
}
