//! What a report comes to, ready to be shown.

use std::hash::Hash;

use jiff::Timestamp;
use serde::Serialize;

use super::cipher::{KeyExchange, is_nothing_in_common};
use super::tally::Tally;
use super::{Client, Known, Report, Seen};

/// The most rows of a list of clients; the rest is a number.
const ROWS: usize = 1_000;

/// A report's figures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Lines read.
    pub lines: u64,
    /// Lines that said something about TLS.
    pub relevant: u64,
    /// Lines that looked like it, but could not be read.
    pub broken: u64,
    /// The earliest time, RFC 3339.
    pub first: Option<String>,
    /// The latest time, RFC 3339.
    pub last: Option<String>,
    /// Sessions in which TLS came up.
    pub tls_sessions: u64,
    /// Sessions known to have stayed in plaintext.
    pub plaintext_sessions: u64,
    /// Logins that Dovecot had through a proxy that told of TLS, such as the gate, or from its own host; in no other figure.
    pub proxied_or_local_logins: u64,
    /// TLS connections that the mail server opened itself; in no other figure.
    pub outgoing: u64,
    /// By protocol version.
    pub versions: Vec<Share>,
    /// By cipher suite.
    pub ciphers: Vec<CipherShare>,
    /// By key-exchange group.
    pub groups: Vec<Share>,
    /// By service, or by daemon where the log names no service; sessions in plaintext included.
    pub services: Vec<Share>,
    /// Sessions by forward secrecy.
    pub forward_secret: ForwardSecret,
    /// Sessions by resistance against a quantum computer.
    pub post_quantum: PostQuantum,
    /// Failures by reason.
    pub failures: Vec<FailureShare>,
    /// Failures whose reason was one too many to be told apart.
    pub failures_of_other_reasons: u64,
    /// Who would be locked out.
    pub locked_out: LockedOut,
}

/// A name, how often it was seen, and its part of the whole.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Share {
    /// What was counted; `not logged` and `other` are no names from a log.
    pub name: String,
    /// How often.
    pub count: u64,
    /// From 0 to 1.
    pub share: f64,
}

/// A cipher suite's share.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CipherShare {
    /// Name, count and share.
    #[serde(flatten)]
    pub share: Share,
    /// `yes`, `anonymous`, `no` or `unknown`.
    pub forward_secret: &'static str,
}

/// Sessions by forward secrecy.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ForwardSecret {
    /// Ephemeral and authenticated.
    pub yes: u64,
    /// Ephemeral, but with anybody in the middle.
    pub anonymous: u64,
    /// With the server's long-lived key.
    pub no: u64,
    /// The log has no cipher.
    pub unknown: u64,
    /// `yes` and `anonymous`, of the sessions of which it is known; none if there are none.
    pub share: Option<f64>,
}

/// Sessions by resistance against a quantum computer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PostQuantum {
    /// With a hybrid group.
    pub yes: u64,
    /// Without, or with a version that has no such groups.
    pub no: u64,
    /// The log has no group.
    pub unknown: u64,
    /// `yes`, of the sessions of which it is known; none if there are none.
    pub share: Option<f64>,
}

/// A reason's share of the failures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FailureShare {
    /// Why.
    pub reason: String,
    /// How often.
    pub count: u64,
    /// Whether client and server had no version, cipher suite, group or signature scheme in common.
    pub nothing_in_common: bool,
    /// For whom, the most frequent first.
    pub clients: Vec<ClientCount>,
    /// Failures of clients that are not in the list.
    pub others: u64,
}

/// A client and a count.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClientCount {
    /// The address.
    pub address: String,
    /// How often.
    pub count: u64,
}

/// Who would be locked out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LockedOut {
    /// By `policy = "modern"`: less than TLS 1.3.
    pub modern: Locked,
    /// By the default, `policy = "intermediate"`: less than TLS 1.2 with ECDHE and an AEAD.
    pub intermediate: Locked,
    /// Handshakes that failed with nothing in common: whose, and why, is in [`Summary::failures`].
    pub failed_handshakes: u64,
    /// Sessions of clients that were too many to be told apart.
    pub sessions_of_other_clients: u64,
}

/// Clients seen with less than a policy takes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Locked {
    /// How many were never seen with enough.
    pub always: u64,
    /// How many were seen with enough at other times.
    pub sometimes: u64,
    /// Who, those never seen with enough first, then by count.
    pub clients: Vec<LockedClient>,
    /// Clients that are not in the list.
    pub more: u64,
}

/// A client seen with less than a policy takes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LockedClient {
    /// The address.
    pub address: String,
    /// Sessions with less than the policy takes.
    pub count: u64,
    /// Whether it had no others.
    pub always: bool,
    /// The last of them, RFC 3339.
    pub last_seen: Option<String>,
}

impl Summary {
    pub(super) fn of(report: &Report) -> Self {
        let exchange = |exchange| report.exchanges.get(&exchange).copied().unwrap_or_default();
        let (yes, anonymous) = (exchange(KeyExchange::Ephemeral), exchange(KeyExchange::Anonymous));
        let no = exchange(KeyExchange::Static);
        let failures = failures(report);
        let lacking = failures.iter().filter(|failure| failure.nothing_in_common).map(|failure| failure.count).sum();
        let Known { yes: hybrid, no: classic, unknown: group_unknown } = report.post_quantum;
        Self {
            lines: report.lines,
            relevant: report.relevant,
            broken: report.broken,
            first: report.first.and_then(date),
            last: report.last.and_then(date),
            tls_sessions: report.secured,
            plaintext_sessions: report.plaintext,
            proxied_or_local_logins: report.proxied,
            outgoing: report.outgoing,
            versions: shares(&report.versions),
            ciphers: shares(&report.ciphers).into_iter().map(CipherShare::from).collect(),
            groups: shares(&report.groups),
            services: shares(&report.services),
            forward_secret: ForwardSecret {
                yes,
                anonymous,
                no,
                unknown: exchange(KeyExchange::Unknown),
                share: part(yes + anonymous, yes + anonymous + no),
            },
            post_quantum: PostQuantum {
                yes: hybrid,
                no: classic,
                unknown: group_unknown,
                share: part(hybrid, hybrid + classic),
            },
            failures,
            failures_of_other_reasons: report.failures_of_other_reasons,
            locked_out: LockedOut {
                modern: locked(report, |client| client.not_modern),
                intermediate: locked(report, |client| client.not_intermediate),
                failed_handshakes: lacking,
                sessions_of_other_clients: report.sessions_of_other_clients,
            },
        }
    }
}

impl From<Share> for CipherShare {
    fn from(share: Share) -> Self {
        let exchange = if share.name == super::NOT_LOGGED || share.name == OTHER {
            KeyExchange::Unknown
        } else {
            KeyExchange::of(&share.name)
        };
        let forward_secret = match exchange {
            KeyExchange::Ephemeral => "yes",
            KeyExchange::Anonymous => "anonymous",
            KeyExchange::Static => "no",
            KeyExchange::Unknown => "unknown",
        };
        Self { share, forward_secret }
    }
}

/// Names beyond the limit.
const OTHER: &str = "other";

fn shares(tally: &Tally<String>) -> Vec<Share> {
    let mut list: Vec<_> = tally.sorted().into_iter().map(|(name, count)| (name.clone(), count)).collect();
    if tally.others() > 0 {
        list.push((OTHER.to_owned(), tally.others()));
    }
    let all = list.iter().map(|(_, count)| count).sum();
    list.into_iter().map(|(name, count)| Share { name, count, share: part(count, all).unwrap_or_default() }).collect()
}

/// To four decimals: counts are no more exact than that, and JSON stays readable.
#[expect(clippy::cast_precision_loss, reason = "a share of more than 2^52 sessions may be off by a hair")]
fn part(count: u64, all: u64) -> Option<f64> {
    (all > 0).then(|| (count as f64 / all as f64 * 10_000.0).round() / 10_000.0)
}

fn failures(report: &Report) -> Vec<FailureShare> {
    let mut list: Vec<_> = report.failures.iter().collect();
    list.sort_by(|a, b| b.1.count.cmp(&a.1.count).then_with(|| a.0.cmp(b.0)));
    let share = |(reason, failure): (&String, &super::Failure)| {
        let clients: Vec<_> = top(&failure.clients);
        let listed: u64 = clients.iter().map(|client| client.count).sum();
        FailureShare {
            reason: reason.clone(),
            count: failure.count,
            nothing_in_common: is_nothing_in_common(reason),
            clients,
            others: failure.count - listed,
        }
    };
    list.into_iter().map(share).collect()
}

fn top<K: Eq + Hash + Ord + Clone + ToString>(tally: &Tally<K>) -> Vec<ClientCount> {
    let client = |(address, count): (&K, u64)| ClientCount { address: address.to_string(), count };
    tally.sorted().into_iter().take(ROWS).map(client).collect()
}

fn locked(report: &Report, seen: impl Fn(&Client) -> Seen) -> Locked {
    let mut list: Vec<_> = report
        .clients
        .iter()
        .map(|(address, client)| (address, seen(client), seen(client).count == client.sessions))
        .filter(|(_, seen, _)| seen.count > 0)
        .collect();
    list.sort_by(|a, b| b.2.cmp(&a.2).then(b.1.count.cmp(&a.1.count)).then(a.0.cmp(b.0)));
    let count =
        |wanted| u64::try_from(list.iter().filter(|(_, _, always)| *always == wanted).count()).unwrap_or(u64::MAX);
    Locked {
        always: count(true),
        sometimes: count(false),
        more: u64::try_from(list.len().saturating_sub(ROWS)).unwrap_or(u64::MAX),
        clients: list
            .iter()
            .take(ROWS)
            .map(|(address, seen, always)| LockedClient {
                address: address.to_string(),
                count: seen.count,
                always: *always,
                last_seen: seen.last.and_then(date),
            })
            .collect(),
    }
}

fn date(seconds: i64) -> Option<String> {
    Timestamp::from_second(seconds).ok().map(|time| time.to_string())
}
