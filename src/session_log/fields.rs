//! A record as keys and values, in the order that all formats share.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use serde::ser::{Serialize, Serializer};

use super::{Record, Stage, clean};
use crate::facts::{ClientCertificate, Lookup};

/// The most entries of a list from a ClientHello; a client can offer thousands.
const LIST_LIMIT: usize = 64;

/// A value in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// One of our own words, with nothing in it that would have to be quoted.
    Word(&'static str),
    Text(Cow<'a, str>),
    Number(u64),
    Address(SocketAddr),
    Ip(IpAddr),
    Flag(bool),
    List(Vec<Cow<'a, str>>),
}

impl Value<'_> {
    /// Made harmless for a log line, where that is still to be done.
    pub(super) fn printable(&self) -> Value<'_> {
        match self {
            Self::Text(text) => Value::Text(clean::printable(text)),
            other => other.clone(),
        }
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Word(word) => serializer.serialize_str(word),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Address(address) => serializer.collect_str(address),
            Self::Ip(ip) => serializer.collect_str(ip),
            Self::Number(number) => serializer.serialize_u64(*number),
            Self::Flag(flag) => serializer.serialize_bool(*flag),
            Self::List(list) => serializer.collect_seq(list),
        }
    }
}

/// Keys and values of a record; what did not happen has no key.
pub(super) type Fields<'a> = Vec<(&'static str, Value<'a>)>;

/// Everything that `record` says, keys in the documented order; docs/formats.md explains each.
pub(super) fn of<'a>(stage: Stage, record: &'a Record) -> Fields<'a> {
    let mut list = List(Vec::with_capacity(40));
    let ended = stage == Stage::Ended;
    list.word("event", if ended { "ended" } else { "secured" });
    list.text("session", record.session.as_str());
    list.put("listener", Value::Address(record.listener));
    list.word("service", record.service);
    list.put("client", Value::Ip(record.client.ip()));
    list.put("client_port", Value::Number(record.client.port().into()));
    list.put("local", Value::Address(record.local));
    list.tls(record);
    list.maybe("helo", record.helo.as_deref());
    list.maybe("user", record.user.as_deref());
    list.maybe("method", record.method.as_deref());
    list.maybe(
        "auth",
        if record.authenticated {
            Some("ok")
        } else if record.auth_failures > 0 {
            Some("failed")
        } else {
            None
        },
    );
    if ended {
        if record.protocol == "smtp" {
            list.put("messages", Value::Number(record.accepted.saturating_add(record.rejected)));
            list.put("accepted", Value::Number(record.accepted));
            list.put("rejected", Value::Number(record.rejected));
        }
        list.put("bytes_in", Value::Number(record.bytes_in));
        list.put("bytes_out", Value::Number(record.bytes_out));
        list.text("backend", &record.backend);
        list.put("duration_ms", milliseconds(record.duration));
        list.word("outcome", record.outcome.as_str());
        list.put("reason", Value::Text(record.reason.into()));
    }
    list.extras(record);
    list.0
}

struct List<'a>(Fields<'a>);

impl<'a> List<'a> {
    fn put(&mut self, key: &'static str, value: Value<'a>) {
        self.0.push((key, value));
    }

    fn word(&mut self, key: &'static str, word: &'static str) {
        self.put(key, Value::Word(word));
    }

    fn text(&mut self, key: &'static str, text: &'a str) {
        self.put(key, Value::Text(clean::printable(text)));
    }

    fn maybe(&mut self, key: &'static str, text: Option<&'a str>) {
        if let Some(text) = text {
            self.text(key, text);
        }
    }

    fn tls(&mut self, record: &'a Record) {
        let Some(tls) = record.tls.as_deref() else {
            self.maybe("sni", record.offered.as_deref().and_then(|offered| offered.sni.as_deref()));
            return;
        };
        self.word("tls_version", tls.version.as_str());
        self.word("cipher", tls.suite.openssl);
        self.put("bits", Value::Number(tls.suite.bits.into()));
        self.word("group", tls.group.iana());
        if let Some(signature) = tls.signature {
            self.word("signature", signature.iana);
        }
        self.put("resumed", Value::Flag(tls.resumed()));
        self.maybe("sni", tls.sni.as_deref());
        self.maybe("alpn", tls.alpn.as_deref());
        self.put("handshake_ms", milliseconds(tls.handshake));
    }

    /// Behind the common keys: what most records do not have.
    fn extras(&mut self, record: &'a Record) {
        if let Lookup::Found(name) = &record.client_name {
            self.text("client_name", name);
        }
        if record.auth_failures > 0 {
            self.put("auth_failures", Value::Number(record.auth_failures.into()));
        }
        if !record.delayed.is_zero() {
            self.put("delayed_ms", milliseconds(record.delayed));
        }
        match record.tls.as_deref().map(|tls| &tls.client_certificate) {
            None | Some(ClientCertificate::NotRequested) => {}
            Some(ClientCertificate::NotPresented) => self.text("client_certificate", "none"),
            Some(ClientCertificate::Presented { common_name, issuer, verified }) => {
                self.text("client_certificate", if *verified { "verified" } else { "unverified" });
                self.text("client_cn", common_name);
                self.text("client_issuer", issuer);
            }
        }
        if let Some(offered) = record.offered.as_deref().filter(|_| record.tls.is_none()) {
            self.put("offered_versions", offered_list(&offered.versions));
            self.put("offered_suites", offered_list(&offered.suites));
            self.put("offered_groups", offered_list(&offered.groups));
            self.put("offered_signatures", offered_list(&offered.signatures));
            self.put("offered_alpn", offered_list(&offered.alpn));
        }
    }
}

fn milliseconds(duration: std::time::Duration) -> Value<'static> {
    Value::Number(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// At most [`LIST_LIMIT`] entries, and how many more there were.
fn offered_list(offered: &[String]) -> Value<'_> {
    let mut list: Vec<Cow<'_, str>> = offered.iter().take(LIST_LIMIT).map(|entry| clean::printable(entry)).collect();
    if let Some(more) = offered.len().checked_sub(LIST_LIMIT).filter(|more| *more > 0) {
        list.push(format!("+{more}").into());
    }
    Value::List(list)
}
