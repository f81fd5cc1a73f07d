//! What a backend shows to a stranger who comes through us, and by which identities it would know its clients.
//!
//! For `sealgate check`: it never logs in and never sends a message.

use std::time::Duration;

use bytes::Bytes;

use crate::config::{BackendAddr, ClientIdentity, Deadlines, Listener};
use crate::protocol::AuthRule;
use crate::protocol::smtp::reply;

use super::error::quote;
use super::stranger::Stranger;
use super::talk::Talk;
use super::{ConnectError, imap_id, introduce, xclient};

/// The longest that an identity is tried: a Postfix that waits for a PROXY header gives up after 5 seconds, a Dovecot
/// after 3.
const TRY_LIMIT: Duration = Duration::from_secs(6);

/// What a backend shows and takes.
#[derive(Debug)]
pub struct Probe {
    /// What a client from 192.0.2.1 sees, introduced as the listener introduces its clients.
    pub seen: Result<Seen, ConnectError>,
    /// The identities that make sense for the service, the best first, and whether the backend takes them.
    pub takes: Vec<(ClientIdentity, Result<(), ConnectError>)>,
}

/// What a backend announces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Its greeting.
    pub greeting: String,
    /// EHLO keywords with their parameters, or IMAP capabilities, in its order.
    pub announced: Vec<String>,
    /// The attributes of XCLIENT, where it is announced.
    pub xclient: Option<Vec<String>>,
}

impl Seen {
    /// Whether a keyword or capability is announced, whatever its parameters.
    pub fn announces(&self, keyword: &str) -> bool {
        let names = self.announced.iter().filter_map(|line| line.split_ascii_whitespace().next());
        names.into_iter().any(|name| name.eq_ignore_ascii_case(keyword))
    }
}

/// Looks at one of a listener's backends through the listener's own identity, and tries the others.
pub async fn probe(listener: &Listener, backend: &BackendAddr, hostname: &str, deadlines: &Deadlines) -> Probe {
    let tried = if listener.service.takes_mail() {
        [ClientIdentity::ProxyV2, ClientIdentity::ProxyV1, ClientIdentity::Xclient]
    } else {
        // Version 1 cannot say that the client came by TLS, without which Dovecot 2.3 lets nobody log in.
        [ClientIdentity::ProxyV2, ClientIdentity::ImapId, ClientIdentity::ProxyV1]
    };
    let limit = TRY_LIMIT.min(deadlines.connect + deadlines.greeting);
    let [first, second, third] = tried.map(|identity| takes(listener, backend, identity, hostname, limit));
    let own = look(listener, backend, hostname, deadlines);
    let (seen, first, second, third) = tokio::join!(own, first, second, third);
    Probe { seen, takes: tried.into_iter().zip([first, second, third]).collect() }
}

/// Whether a backend only does not like a client from nowhere: with `smtpd_delay_reject = no` Postfix's rules for clients answer at the
/// greeting, and those for names at EHLO. What that says of relaying is for the self-test to find. Where clients log in, nobody gets past
/// such a rule; and without a self-test, or an identity, nothing would tell it from a no to everybody.
pub fn turns_the_stranger_away(listener: &Listener, error: &ConnectError) -> bool {
    let judges = listener.service.auth != AuthRule::InsideTls
        && listener.identity != ClientIdentity::None
        && listener.service.takes_mail()
        && !listener.relay_as_proxy;
    // RFC 5321 §4.2.1: 421 is about the service, not about the client.
    judges
        && matches!(error, ConnectError::Refused { reply, .. } if reply.starts_with(['4', '5']) && !reply.starts_with("421"))
}

/// Whether one of a listener's backends answers as its protocol demands; for SMTP, what it announces.
///
/// # Errors
/// It cannot be reached, refuses the identity, or does not speak the protocol.
pub(super) async fn greet(
    listener: &Listener,
    backend: &BackendAddr,
    hostname: &str,
    deadlines: &Deadlines,
) -> Result<Vec<String>, ConnectError> {
    if listener.service.takes_mail() {
        return match look(listener, backend, hostname, deadlines).await {
            Ok(seen) => Ok(seen.announced),
            Err(error) if turns_the_stranger_away(listener, &error) => Ok(Vec::new()),
            Err(error) => Err(error),
        };
    }
    let mut talk = Talk::dial(backend, deadlines.connect).await?;
    introduce(&mut talk, listener.identity, &Stranger::new(listener, hostname).caller()).await?;
    talk.allow(deadlines.greeting);
    match listener.identity {
        // One that knows no PROXY header greets as well; it shows at the next command.
        ClientIdentity::ProxyV1 | ClientIdentity::ProxyV2 => _ = see_imap(&mut talk, listener.identity).await?,
        _ => _ = imap_greeting(&mut talk).await?,
    }
    talk.quit(b"sg4 LOGOUT\r\n").await;
    Ok(Vec::new())
}

/// What one of a listener's backends shows through the listener's own identity.
///
/// # Errors
/// It cannot be reached, refuses the identity, or does not speak the protocol.
pub async fn look(
    listener: &Listener,
    backend: &BackendAddr,
    hostname: &str,
    deadlines: &Deadlines,
) -> Result<Seen, ConnectError> {
    see(listener, backend, listener.identity, hostname, deadlines.connect + deadlines.greeting).await
}

async fn takes(
    listener: &Listener,
    backend: &BackendAddr,
    identity: ClientIdentity,
    hostname: &str,
    limit: Duration,
) -> Result<(), ConnectError> {
    let seen = see(listener, backend, identity, hostname, limit).await?;
    // Dovecot 1.2 has ID, too, and believes no address in it. It shows before a login what 2.0 and later keep for after it.
    if identity == ClientIdentity::ImapId && (!seen.announces("ID") || seen.announces("NAMESPACE")) {
        return Err(ConnectError::IdNotTaken { backend: backend.clone() });
    }
    Ok(())
}

async fn see(
    listener: &Listener,
    backend: &BackendAddr,
    identity: ClientIdentity,
    hostname: &str,
    limit: Duration,
) -> Result<Seen, ConnectError> {
    let mut talk = Talk::dial(backend, limit).await?;
    let stranger = Stranger::new(listener, hostname);
    introduce(&mut talk, identity, &stranger.caller()).await?;
    let seen = if listener.service.takes_mail() {
        let seen = see_smtp(&mut talk, identity, hostname).await?;
        talk.quit(b"QUIT\r\n").await;
        seen
    } else {
        let seen = see_imap(&mut talk, identity).await?;
        talk.quit(b"sg4 LOGOUT\r\n").await;
        seen
    };
    Ok(seen)
}

/// Whether this is what a server says that takes a PROXY header for a command; 4xx is Postfix's way with `soft_bounce = yes`.
pub(super) fn is_for_a_proxy_header(code: u16) -> bool {
    matches!(code, 221 | 500..=504 | 400..=404)
}

pub(super) async fn see_smtp(
    talk: &mut Talk<'_>,
    identity: ClientIdentity,
    hostname: &str,
) -> Result<Seen, ConnectError> {
    let greeting = talk.reply("greeting").await?;
    if greeting.code != 220 {
        return Err(talk.refused("greeting", &greeting.text));
    }
    talk.send(format!("EHLO {hostname}\r\n").as_bytes(), "answer to EHLO").await?;
    let answer = talk.reply("answer to EHLO").await?;
    match (answer.code, identity) {
        (250, _) => {}
        (code, ClientIdentity::ProxyV1 | ClientIdentity::ProxyV2) if is_for_a_proxy_header(code) => {
            let reply = quote(&answer.text);
            return Err(ConnectError::ProxyNotUnderstood { backend: talk.backend(), identity, reply });
        }
        _ => return Err(talk.refused("answer to EHLO", &answer.text)),
    }
    Ok(Seen {
        greeting: quote(&greeting.text),
        announced: reply::lines(&answer.text).skip(1).map(quote).collect(),
        xclient: xclient::attributes(&answer.text),
    })
}

const CAPABILITY: &[u8] = b"sg3 CAPABILITY\r\n";
const DONE: &[u8] = b"sg3 OK";

async fn imap_greeting(talk: &mut Talk<'_>) -> Result<Bytes, ConnectError> {
    let greeting = talk.line("greeting").await?;
    if greeting.starts_with(b"* OK") { Ok(greeting) } else { Err(talk.refused("greeting", &greeting)) }
}

async fn see_imap(talk: &mut Talk<'_>, identity: ClientIdentity) -> Result<Seen, ConnectError> {
    let greeting = imap_greeting(talk).await?;
    talk.send(CAPABILITY, "answer to CAPABILITY").await?;
    let mut seen = Seen { greeting: quote(&greeting), ..Seen::default() };
    loop {
        let line = talk.line("answer to CAPABILITY").await?;
        match imap_id::capabilities(&line) {
            Some(listed) => seen.announced = listed,
            None if line.starts_with(DONE) => return Ok(seen),
            None if line.starts_with(b"* ") && !line.starts_with(b"* BAD") && !line.starts_with(b"* BYE") => {}
            None if matches!(identity, ClientIdentity::ProxyV1 | ClientIdentity::ProxyV2) => {
                let reply = quote(&line);
                return Err(ConnectError::ProxyNotUnderstood { backend: talk.backend(), identity, reply });
            }
            None => return Err(talk.refused("answer to CAPABILITY", &line)),
        }
    }
}
