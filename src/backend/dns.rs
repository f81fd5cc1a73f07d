//! The client's names, for a backend that is told them (`client_identity = "xclient"`) and does not look them up itself.
//!
//! Postfix's rules tell two names apart: the one that the address points to, and the one that points back. Both come
//! from here as [`ClientNames`], within one deadline, from a cache that keeps answers as long as DNS allows.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant as StdInstant};

use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ProtocolConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::lookup::Lookup as Answer;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError, NoRecords};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{TokioResolver, config::ServerOrderingStrategy};
use moka::Expiry;
use moka::sync::Cache;
use tokio::time::{Instant, timeout_at};

use crate::config::Dns;
use crate::facts::{ClientNames, Lookup};

/// How many of an address' names are looked up; a client chooses how many there are.
const NAMES_TRIED: usize = 4;

/// A day: what DNS says longer than that is asked again.
const LONGEST_KEPT: Duration = Duration::from_secs(86_400);

/// How many times a server is asked within the deadline: a lost datagram must not cost the answer.
const ATTEMPTS: u32 = 3;

/// The resolver cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up name look-ups: {0}; name servers can be set with dns = [\"address:port\"]")]
pub struct ResolverError(#[from] NetError);

/// Looks up clients' names. Cheap to clone; all clones share one cache.
#[derive(Clone)]
pub struct Resolver {
    dns: TokioResolver,
    deadline: Duration,
    cache: Cache<IpAddr, Known>,
}

/// What is known, and for how long.
#[derive(Clone)]
struct Known {
    names: ClientNames,
    ttl: Duration,
}

impl Resolver {
    /// Sets up look-ups with the given servers or, where there are none, with the system's.
    ///
    /// # Errors
    /// `/etc/resolv.conf` cannot be read or makes no sense.
    pub fn new(settings: &Dns) -> Result<Self, ResolverError> {
        let mut builder = match settings.servers.as_slice() {
            [] => TokioResolver::builder_tokio()?,
            servers => {
                let servers = servers.iter().copied().map(name_server).collect();
                let config = ResolverConfig::from_name_servers(servers);
                TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            }
        };
        tune(builder.options_mut(), settings);
        Ok(Self {
            dns: builder.build()?,
            deadline: settings.deadline,
            cache: Cache::builder().max_capacity(settings.cache.get() as u64).expire_after(Ttl).build(),
        })
    }

    /// The names of `ip`, at the latest when the deadline is over. A failure is told apart from an absence and is
    /// not kept.
    pub async fn names(&self, ip: IpAddr) -> ClientNames {
        if let Some(known) = self.cache.get(&ip) {
            return known.names;
        }
        let known = self.look_up(ip, Instant::now() + self.deadline).await;
        let names = known.names.clone();
        if !known.ttl.is_zero() {
            self.cache.insert(ip, known);
        }
        names
    }

    async fn look_up(&self, ip: IpAddr, until: Instant) -> Known {
        let mut ttl = LONGEST_KEPT;
        let pointers = match self.ask(Name::from(ip), RecordType::PTR, until).await {
            Ok(answer) => {
                ttl = ttl.min(left(&answer));
                pointers(&answer)
            }
            Err(Silence::Absent(for_how_long)) => return Known::new(Lookup::Absent, Lookup::Absent, for_how_long),
            Err(Silence::Failed) => return Known::new(Lookup::Failed, Lookup::Failed, Duration::ZERO),
        };
        let Some((_, first)) = pointers.first() else { return Known::new(Lookup::Absent, Lookup::Absent, ttl) };
        let reverse = Lookup::Found(first.clone());

        let family = if ip.is_ipv4() { RecordType::A } else { RecordType::AAAA };
        let mut unsure = false;
        for (name, text) in &pointers {
            match self.ask(name.clone(), family, until).await {
                Ok(answer) => {
                    ttl = ttl.min(left(&answer));
                    if answer.answers().iter().any(|record| record.data.ip_addr() == Some(ip)) {
                        let found = Lookup::Found(text.clone());
                        return Known::new(found.clone(), found, ttl);
                    }
                }
                Err(Silence::Absent(for_how_long)) => ttl = ttl.min(for_how_long),
                Err(Silence::Failed) => unsure = true,
            }
        }
        match unsure {
            true => Known::new(reverse, Lookup::Failed, Duration::ZERO),
            false => Known::new(reverse, Lookup::Absent, ttl),
        }
    }

    async fn ask(&self, name: Name, what: RecordType, until: Instant) -> Result<Answer, Silence> {
        match timeout_at(until, self.dns.lookup(name, what)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(NetError::Dns(DnsError::NoRecordsFound(NoRecords { negative_ttl, .. })))) => {
                // RFC 2308 §5: an absence without an SOA is not kept.
                Err(Silence::Absent(Duration::from_secs(negative_ttl.unwrap_or(0).into()).min(LONGEST_KEPT)))
            }
            Ok(Err(_)) | Err(_) => Err(Silence::Failed),
        }
    }
}

impl Known {
    fn new(reverse: Lookup, verified: Lookup, ttl: Duration) -> Self {
        Self { names: ClientNames { reverse, verified }, ttl }
    }
}

/// Why there is no answer.
enum Silence {
    /// DNS says that there is none, and for how long that is so.
    Absent(Duration),
    /// No server said anything of use.
    Failed,
}

/// Keeps each address' names for as long as the shortest-lived record allows.
struct Ttl;

impl Expiry<IpAddr, Known> for Ttl {
    fn expire_after_create(&self, _ip: &IpAddr, known: &Known, _now: StdInstant) -> Option<Duration> {
        Some(known.ttl)
    }
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let connections = [ProtocolConfig::Udp, ProtocolConfig::Tcp].map(|protocol| {
        let mut connection = ConnectionConfig::new(protocol);
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}

fn tune(options: &mut ResolverOpts, settings: &Dns) {
    options.timeout = settings.deadline / ATTEMPTS;
    options.attempts = ATTEMPTS as usize;
    // Answers are as large as whoever owns an address block wants them; what is kept is two names for each address.
    options.cache_size = 0;
    if !settings.servers.is_empty() {
        options.use_hosts_file = ResolveHosts::Never;
        options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
    }
}

/// For how long an answer may be kept.
fn left(answer: &Answer) -> Duration {
    answer.valid_until().saturating_duration_since(StdInstant::now())
}

/// The host names that an address points to, in DNS's order.
fn pointers(answer: &Answer) -> Vec<(Name, Arc<str>)> {
    let names = answer.answers().iter().filter_map(|record| match &record.data {
        RData::PTR(pointer) => host_name(&pointer.0).map(|text| (pointer.0.clone(), text.into())),
        _ => None,
    });
    names.take(NAMES_TRIED).collect()
}

/// A name that may be shown to a backend: what Postfix takes for a host name (letters, digits, `-` inside labels, `_`,
/// not all of it digits; to 2.3 a hyphen is no letter either). DNS would carry any octets.
fn host_name(name: &Name) -> Option<String> {
    let labels = name.iter().map(label).collect::<Option<Vec<_>>>()?;
    let text = labels.join(".");
    let numeric = text.bytes().all(|octet| octet.is_ascii_digit() || matches!(octet, b'.' | b'-'));
    (!numeric && text.len() <= 253).then_some(text)
}

fn label(octets: &[u8]) -> Option<&str> {
    let fits = octets.iter().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_'));
    let hyphens_inside = !octets.starts_with(b"-") && !octets.ends_with(b"-");
    std::str::from_utf8(octets).ok().filter(|label| fits && hyphens_inside && !label.is_empty())
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use hickory_resolver::proto::op::{Message, OpCode};
    use hickory_resolver::proto::rr::Record;
    use hickory_resolver::proto::rr::rdata::PTR;
    use tokio::net::UdpSocket;

    use super::*;

    fn settings(servers: Vec<SocketAddr>) -> Dns {
        Dns { servers, deadline: Duration::from_secs(30), cache: NonZeroUsize::MIN }
    }

    /// A name server that answers every question with one record.
    async fn serve(socket: UdpSocket, ip: IpAddr) {
        let mut datagram = [0; 2_000];
        loop {
            let (len, from) = socket.recv_from(&mut datagram).await.unwrap();
            let query = Message::from_vec(&datagram[..len]).unwrap();
            let question = query.queries.first().unwrap().clone();
            let data = match question.query_type() {
                RecordType::PTR => RData::PTR(PTR(Name::from_ascii("mail.example.net.").unwrap())),
                _ => RData::from(ip),
            };
            let mut reply = Message::response(query.metadata.id, OpCode::Query);
            reply.add_answers([Record::from_rdata(question.name().clone(), 3_600, data)]);
            reply.add_query(question);
            socket.send_to(&reply.to_vec().unwrap(), from).await.unwrap();
        }
    }

    #[tokio::test]
    async fn an_answer_within_the_deadline_counts() {
        let ip = IpAddr::from([203, 0, 113, 1]);
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let resolver = Resolver::new(&settings(vec![socket.local_addr().unwrap()])).unwrap();
        tokio::spawn(serve(socket, ip));
        let names = resolver.names(ip).await;
        let found = Lookup::Found("mail.example.net".into());
        assert_eq!((names.reverse, names.verified), (found.clone(), found));
    }

    #[test]
    fn names_are_kept_as_long_as_their_ttl_and_no_longer() {
        let known = Known::new(Lookup::Absent, Lookup::Absent, Duration::from_secs(7));
        let kept = Ttl.expire_after_create(&IpAddr::from([203, 0, 113, 1]), &known, StdInstant::now());
        assert_eq!(kept, Some(Duration::from_secs(7)));
    }

    #[test]
    fn servers_of_ones_own_are_asked_in_their_order_and_without_the_hosts_file() {
        let tuned = |servers| {
            let mut options = ResolverOpts::default();
            tune(&mut options, &settings(servers));
            let in_order = matches!(options.server_ordering_strategy, ServerOrderingStrategy::UserProvidedOrder);
            (options.use_hosts_file == ResolveHosts::Never, in_order)
        };
        assert_eq!(tuned(vec![SocketAddr::from(([127, 0, 0, 1], 53))]), (true, true));
        assert_eq!(tuned(Vec::new()), (false, false));
    }

    #[test]
    fn only_host_names_come_out_of_dns() {
        let cases: &[(&[&[u8]], Option<&str>)] = &[
            (&[b"mail", b"example", b"com"], Some("mail.example.com")),
            (&[b"a_b-c", b"example"], Some("a_b-c.example")),
            (&[b"4you", b"example"], Some("4you.example")),
            (&[b"192", b"0", b"2", b"1"], None),
            // Postfix 2.3 takes no XCLIENT with these, and the client would have no session.
            (&[b"192-0-2-1"], None),
            (&[b"1-2", b"3-4"], None),
            (&[b"192-0-2-1", b"example"], Some("192-0-2-1.example")),
            (&[b"-mail", b"example"], None),
            (&[b"mail-", b"example"], None),
            (&[b"a b", b"example"], None),
            (&[b"a\r\nRCPT", b"example"], None),
            (&[b"a.b", b"example"], None),
            (&[b"\xc3\xa4", b"example"], None),
            (&[], None),
        ];
        for (labels, expected) in cases {
            let name = Name::from_labels(labels.iter().copied()).unwrap();
            assert_eq!(host_name(&name).as_deref(), *expected, "{labels:?}");
        }
    }
}
