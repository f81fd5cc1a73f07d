//! A mail through each SMTP listener with clients of several kinds, and all of them back through both IMAP listeners.

mod client;
mod received;

use std::net::SocketAddr;

use bytes::Bytes;
use jiff::Timestamp;
use rustls::{CipherSuite, NamedGroup, RootCertStore, SignatureScheme, version};
use serde::Serialize;

use super::account::{DOMAIN, USER};
use super::message::fields;
use super::tls_client::{Offer, Seen, TlsClient};
use crate::protocol::{AuthRule, Service, TlsMode};
use client::{LegError, Method, Secured, connect, read_mails, send_mail};

/// What became of one connection.
#[derive(Debug, Clone, Serialize)]
pub struct Leg {
    /// The service's name.
    pub listener: &'static str,
    /// Where it listens.
    pub address: SocketAddr,
    /// What the client saw of TLS; none if it never got so far.
    #[serde(flatten)]
    pub tls: Option<Seen>,
    /// The Received field of the mail that went this way, as it arrived; none for IMAP.
    pub received: Option<String>,
    /// What went wrong.
    pub error: Option<String>,
}

/// The round trip.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Whether every leg worked and every mail came back with its Received field.
    pub ok: bool,
    /// Every connection, in its order.
    pub legs: Vec<Leg>,
}

/// A connection to make. Those of one plan share a client, so that the second is resumed.
struct Plan {
    service: &'static str,
    offer: Offer,
    method: Method,
    mechanism: &'static str,
    resumes: bool,
}

const ECDSA: &[SignatureScheme] = &[SignatureScheme::ECDSA_NISTP256_SHA256];
const RSA: &[SignatureScheme] = &[SignatureScheme::RSA_PSS_SHA256, SignatureScheme::RSA_PKCS1_SHA256];

/// Between them: both versions, both certificates, three groups, three ciphers, DATA and BDAT, a resumption.
const SMTP: &[Plan] = &[
    Plan {
        service: "smtp",
        offer: Offer { version: &version::TLS13, groups: &[], suites: &[], signatures: &[] },
        method: Method::Data,
        mechanism: "PLAIN",
        resumes: false,
    },
    Plan {
        service: "submission",
        offer: Offer { version: &version::TLS12, groups: &[NamedGroup::X25519], suites: &[], signatures: RSA },
        method: Method::Data,
        mechanism: "LOGIN",
        resumes: false,
    },
    Plan {
        service: "submissions",
        offer: Offer {
            version: &version::TLS13,
            groups: &[NamedGroup::secp256r1],
            suites: &[CipherSuite::TLS13_CHACHA20_POLY1305_SHA256],
            signatures: RSA,
        },
        method: Method::Bdat,
        mechanism: "PLAIN",
        resumes: true,
    },
];

const IMAP: &[(&str, Offer)] = &[
    (
        "imap",
        Offer {
            version: &version::TLS12,
            groups: &[NamedGroup::secp384r1],
            suites: &[CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256],
            signatures: ECDSA,
        },
    ),
    ("imaps", Offer { version: &version::TLS13, groups: &[], suites: &[], signatures: &[] }),
];

/// A mail on its way.
struct Sent {
    leg: usize,
    id: String,
    content: String,
    authenticated: bool,
}

/// Who the mails are from and for.
fn mailbox() -> String {
    format!("{USER}@{DOMAIN}")
}

/// Does the round trip through listeners whose certificates `roots` vouches for.
pub async fn round_trip(listeners: &[(&'static Service, SocketAddr)], roots: &RootCertStore) -> Report {
    let mut legs = Vec::new();
    let mut sent = Vec::new();
    for plan in SMTP {
        let Some((service, address)) = listeners.iter().find(|(service, _)| service.name == plan.service) else {
            continue;
        };
        let client = TlsClient::new(roots.clone(), &plan.offer, service.alpn);
        for resumed in if plan.resumes { &[false, true][..] } else { &[false] } {
            let (id, content) = mail(service, legs.len());
            let outcome = match &client {
                Ok(client) => hand_in(service, *address, plan, client, (*resumed, &content)).await,
                Err(error) => Err((None, LegError::Wrong(error.to_string()))),
            };
            let authenticated = service.auth == AuthRule::InsideTls;
            sent.push(Sent { leg: legs.len(), id, content, authenticated });
            legs.push(leg(service, *address, outcome.map(|seen| (seen, ()))).0);
        }
    }
    for (name, offer) in IMAP {
        let Some((service, address)) = listeners.iter().find(|(service, _)| service.name == *name) else { continue };
        let outcome = match TlsClient::new(roots.clone(), offer, service.alpn) {
            Ok(client) => fetch(service, *address, &client).await,
            Err(error) => Err((None, LegError::Wrong(error.to_string()))),
        };
        let (leg, mails) = leg(service, *address, outcome);
        if let Some(mails) = mails {
            sent.iter().for_each(|sent| compare(sent, service.name, &mails, &mut legs));
        }
        legs.push(leg);
    }
    let complete = listeners.len() == SMTP.len() + IMAP.len();
    let worked = |leg: &Leg| leg.error.is_none() && leg.tls.is_some();
    let ok = complete && legs.iter().all(worked) && sent.iter().all(|sent| legs.get(sent.leg).is_some_and(has_field));
    Report { ok, legs }
}

fn has_field(leg: &Leg) -> bool {
    leg.received.is_some()
}

/// What was seen before something went wrong, and what went wrong.
type Failure = (Option<Seen>, LegError);

fn leg<T>(service: &Service, address: SocketAddr, outcome: Result<(Seen, T), Failure>) -> (Leg, Option<T>) {
    let (tls, value, error) = match outcome {
        Ok((seen, value)) => (Some(seen), Some(value), None),
        Err((seen, error)) => (seen, None, Some(error.to_string())),
    };
    (Leg { listener: service.name, address, tls, received: None, error }, value)
}

/// A mail with what is easily lost: a leading dot, octets beyond ASCII, a long line.
fn mail(service: &Service, number: usize) -> (String, String) {
    let mailbox = mailbox();
    let id = format!("<{number}.{}@client.demo.example>", Timestamp::now().as_nanosecond());
    let date = Timestamp::now().strftime("%a, %d %b %Y %T +0000");
    let content = format!(
        "From: Demo <{mailbox}>\r\nTo: <{mailbox}>\r\nSubject: Through {}\r\nDate: {date}\r\nMessage-ID: {id}\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
         Grüße through {}.\r\n.a line with a dot in front\r\n.\r\n{}\r\n",
        service.name,
        service.name,
        "long ".repeat(199).trim_end(),
    );
    (id, content)
}

fn secured(service: &Service) -> Secured {
    match service.tls {
        TlsMode::Implicit => Secured::AtOnce,
        TlsMode::Optional | TlsMode::Required if service.takes_mail() => Secured::BySmtp,
        TlsMode::Optional | TlsMode::Required => Secured::ByImap,
    }
}

async fn hand_in(
    service: &Service,
    address: SocketAddr,
    plan: &Plan,
    client: &TlsClient,
    (resumed, content): (bool, &str),
) -> Result<Seen, Failure> {
    let how = secured(service);
    let (mut session, seen) = connect(address, how, client).await.map_err(|error| (None, error))?;
    let auth = (service.auth == AuthRule::InsideTls).then_some(plan.mechanism);
    let mailbox = mailbox();
    let sent = send_mail(&mut session, how, auth, (&mailbox, &mailbox), (plan.method, content)).await;
    if let Err(error) = sent {
        return Err((Some(seen), error));
    }
    // The mail is on its way; how the connection ends is for the gate's log.
    let _ = session.close().await;
    if seen.resumed != resumed {
        let error = if resumed { "the session was not resumed" } else { "a first session was resumed" };
        return Err((Some(seen), LegError::Wrong(error.to_owned())));
    }
    Ok(seen)
}

async fn fetch(service: &Service, address: SocketAddr, client: &TlsClient) -> Result<(Seen, Vec<Bytes>), Failure> {
    let how = secured(service);
    let (mut session, seen) = connect(address, how, client).await.map_err(|error| (None, error))?;
    match read_mails(&mut session, how).await {
        Ok(mails) => {
            let _ = session.close().await; // the mails are here
            Ok((seen, mails))
        }
        Err(error) => Err((Some(seen), error)),
    }
}

/// Looks for a mail among those that came back: its own content behind a Received field that tells the truth.
fn compare(sent: &Sent, through: &str, mails: &[Bytes], legs: &mut [Leg]) {
    let Some(leg) = legs.get_mut(sent.leg).filter(|leg| leg.error.is_none()) else { return };
    let Some(seen) = &leg.tls else { return };
    let is_it = |mail: &&Bytes| fields(mail).any(|field| field.is("Message-ID") && field.value() == sent.id);
    let Some(mail) = mails.iter().find(is_it) else {
        leg.error = Some(format!("the mail did not come back through {through}"));
        return;
    };
    let found = fields(mail).next().filter(|field| field.is("Received"));
    let Some(field) = found else {
        leg.error = Some(format!("the mail came back through {through} without a Received field"));
        return;
    };
    let text = field.text().into_owned();
    leg.error = if mail.get(field.raw.len()..) == Some(sent.content.as_bytes()) {
        received::check(&text, seen, sent.authenticated, &mailbox()).err()
    } else {
        Some(format!("the mail that came back through {through} is not the one that was sent"))
    };
    leg.received = Some(text);
}

#[cfg(test)]
mod tests;
