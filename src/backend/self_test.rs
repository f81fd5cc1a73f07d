//! The relay self-test: would this backend relay for a stranger who comes through us?
//!
//! It asks as a client from 192.0.2.1 (TEST-NET-1), introduced as the listener introduces its clients, and never sends
//! a message: `RSET` follows each answer to `RCPT`.
//!
//! What it says is chosen so that nothing but the relay rule should refuse it:
//! - The null sender belongs to no domain, so no look-up, sender verification or SPF rule meets it.
//! - It names itself by its address literal first, then by our own name: rules against either are common, and one
//!   that stands before the relay rule would hide what that says.
//! - By XCLIENT it has no name at first; where that is put off, it asks again as one whose name is verified.
//! - The recipients are in `example.com` (RFC 2606: it exists, and its null MX says that it takes no mail) and at
//!   192.0.2.1 as a literal, which needs no DNS. In a domain under `.invalid`, rules against unknown domains would
//!   answer 450 for ever.

use crate::config::{BackendAddr, ClientIdentity, Deadlines, Listener};

use super::error::quote;
use super::probe::is_for_a_proxy_header;
use super::stranger::{self, Stranger};
use super::talk::{Reply, Talk};
use super::{ConnectError, introduce};

/// What the relay self-test found.
#[derive(Debug)]
#[must_use = "a listener whose backend relays for strangers must stay closed"]
pub enum SelfTest {
    /// No relay for strangers: open the listener.
    Refused {
        /// The backend's last refusal.
        reply: String,
    },
    /// A 4xx: nothing is known yet. Open with a warning, and test again.
    Deferred {
        /// The backend's answer.
        reply: String,
    },
    /// The backend would relay mail for everybody who connects to us: keep the listener closed.
    Relays {
        /// The backend's answer.
        reply: String,
        /// How it was told who the client is.
        identity: ClientIdentity,
    },
    /// The question could not be asked: keep the listener closed, and test again.
    Unreachable(ConnectError),
    /// Nothing to test: the service takes no mail, or the administrator vouches for it (`allow_relay_as_proxy`).
    Skipped,
}

impl SelfTest {
    /// Whether the listener may open.
    pub fn may_open(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Deferred { .. } | Self::Skipped)
    }

    /// Whether the answer may change, so that the test must be repeated.
    pub fn must_repeat(&self) -> bool {
        matches!(self, Self::Deferred { .. } | Self::Unreachable(_) | Self::Relays { .. })
    }
}

impl std::fmt::Display for SelfTest {
    /// What was found and what to do about it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused { reply } => write!(f, "the backend does not relay for strangers: {reply}"),
            Self::Deferred { reply } => write!(
                f,
                "not known yet whether the backend relays for strangers: it put the test from {} off ({reply}); \
                 the test will be repeated",
                stranger::ADDRESS
            ),
            Self::Relays { reply, identity } => {
                write!(f, "the backend is an open relay behind this listener: it took mail for a foreign domain ")?;
                write!(f, "from {} ({reply}); {}", stranger::ADDRESS, remedy(*identity))
            }
            Self::Unreachable(error) => write!(f, "{error}"),
            Self::Skipped => f.write_str("the backend answers, and needs no relay self-test"),
        }
    }
}

/// What to set where a backend relays.
fn remedy(identity: ClientIdentity) -> &'static str {
    match identity {
        ClientIdentity::None | ClientIdentity::ImapId => {
            "it takes us for the client: set client_identity to xclient, proxy-v1 or proxy-v2"
        }
        ClientIdentity::Xclient | ClientIdentity::ProxyV1 | ClientIdentity::ProxyV2 => {
            "check mynetworks (it must not hold 192.0.2.0/24 or everything) and that smtpd_relay_restrictions or \
             smtpd_recipient_restrictions of that service has reject_unauth_destination"
        }
    }
}

/// Asks one of a listener's backends whether it relays for a stranger.
pub async fn relay_self_test(
    listener: &Listener,
    backend: &BackendAddr,
    hostname: &str,
    deadlines: &Deadlines,
) -> SelfTest {
    if !listener.service.takes_mail() || listener.relay_as_proxy {
        return SelfTest::Skipped;
    }
    let stranger = Stranger::new(listener, hostname);
    match ask(listener, backend, &stranger, deadlines).await {
        // Rules against clients without a name hide the relay rule; by XCLIENT a stranger can have one.
        Ok(SelfTest::Deferred { .. }) if listener.identity == ClientIdentity::Xclient => {
            ask(listener, backend, &stranger.named(), deadlines).await
        }
        asked => asked,
    }
    .unwrap_or_else(SelfTest::Unreachable)
}

async fn ask(
    listener: &Listener,
    backend: &BackendAddr,
    stranger: &Stranger<'_>,
    deadlines: &Deadlines,
) -> Result<SelfTest, ConnectError> {
    let caller = stranger.caller();
    let hostname = caller.hostname;
    let mut talk = Talk::dial(backend, deadlines.connect).await?;
    introduce(&mut talk, listener.identity, &caller).await?;

    talk.allow(deadlines.greeting);
    let greeting = talk.reply("greeting").await?;
    let mut findings = Findings::default();
    match greeting.code {
        220 => question(&mut talk, &mut findings, listener.identity, hostname, deadlines).await?,
        // RFC 5321 §4.2.1: 421 is about the service, not about the client.
        421 => return Err(talk.refused("greeting", &greeting.text)),
        _ => findings.note(&greeting),
    }
    talk.allow(deadlines.reply);
    talk.quit(b"QUIT\r\n").await;
    Ok(findings.verdict(listener.identity))
}

async fn question(
    talk: &mut Talk<'_>,
    findings: &mut Findings,
    identity: ClientIdentity,
    hostname: &str,
    deadlines: &Deadlines,
) -> Result<(), ConnectError> {
    let literal = format!("[{}]", stranger::ADDRESS);
    for name in [literal.as_str(), hostname] {
        let greeted = match greet(talk, name, identity, deadlines).await {
            Err(_) if findings.relay_rule_was_asked => break,
            greeted => greeted?,
        };
        if !is_positive(&greeted) {
            findings.note(&greeted);
            continue;
        }
        for domain in ["example.com", &literal] {
            match transaction(talk, domain, deadlines).await {
                Ok(answer) => findings.note(&answer),
                // A limit on errors cuts some conversations short: what was said before counts.
                Err(_) if findings.relay_rule_was_asked => return Ok(()),
                Err(error) => return Err(error),
            }
            findings.relay_rule_was_asked = true;
        }
    }
    Ok(())
}

/// EHLO, or HELO where that is unknown.
async fn greet(
    talk: &mut Talk<'_>,
    name: &str,
    identity: ClientIdentity,
    deadlines: &Deadlines,
) -> Result<Reply, ConnectError> {
    let ehlo = exchange(talk, "answer to EHLO", &format!("EHLO {name}\r\n"), deadlines).await?;
    if is_positive(&ehlo) {
        return Ok(ehlo);
    }
    // A backend that knows no PROXY header answers it as the command that it is not.
    if matches!(identity, ClientIdentity::ProxyV1 | ClientIdentity::ProxyV2) && is_for_a_proxy_header(ehlo.code) {
        return Err(ConnectError::ProxyNotUnderstood { backend: talk.backend(), identity, reply: quote(&ehlo.text) });
    }
    exchange(talk, "answer to HELO", &format!("HELO {name}\r\n"), deadlines).await
}

/// MAIL and RCPT, taken back at once; the answer that decided.
async fn transaction(talk: &mut Talk<'_>, domain: &str, deadlines: &Deadlines) -> Result<Reply, ConnectError> {
    let mut answer = exchange(talk, "answer to MAIL", "MAIL FROM:<>\r\n", deadlines).await?;
    if is_positive(&answer) {
        let rcpt = format!("RCPT TO:<relay-test@{domain}>\r\n");
        answer = exchange(talk, "answer to RCPT", &rcpt, deadlines).await?;
    }
    // What was learned stays so, whatever the backend says to this.
    let _ = exchange(talk, "answer to RSET", "RSET\r\n", deadlines).await;
    Ok(answer)
}

async fn exchange(
    talk: &mut Talk<'_>,
    step: &'static str,
    command: &str,
    deadlines: &Deadlines,
) -> Result<Reply, ConnectError> {
    talk.allow(deadlines.reply);
    talk.send(command.as_bytes(), step).await?;
    let reply = talk.reply(step).await?;
    match (reply.code, talk.refused(step, &reply.text)) {
        // That no mail is taken without TLS says nothing of who may relay.
        (421, error) | (_, error @ ConnectError::WantsTls { .. }) => Err(error),
        _ => Ok(reply),
    }
}

fn is_positive(reply: &Reply) -> bool {
    matches!(reply.code, 200..=299)
}

/// What the answers come to: one yes outweighs all, and a doubt outweighs a no.
#[derive(Default)]
struct Findings {
    yes: Option<String>,
    doubt: Option<String>,
    no: Option<String>,
    relay_rule_was_asked: bool,
}

impl Findings {
    fn note(&mut self, reply: &Reply) {
        let text = quote(&reply.text);
        // Postfix ≥ 2.10 refuses by `defer_unauth_destination` unless told otherwise: a 454 that is a plain no.
        let denied = text.to_ascii_lowercase().contains("relay access denied");
        let finding = match reply.code {
            200..=299 => &mut self.yes,
            300..=499 if !denied => &mut self.doubt,
            _ => &mut self.no,
        };
        finding.get_or_insert(text);
    }

    fn verdict(self, identity: ClientIdentity) -> SelfTest {
        match (self.yes, self.doubt, self.no) {
            (Some(reply), _, _) => SelfTest::Relays { reply, identity },
            (None, None, Some(reply)) => SelfTest::Refused { reply },
            (None, doubt, _) => SelfTest::Deferred { reply: doubt.unwrap_or_default() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(code: u16, text: &'static str) -> SelfTest {
        let mut findings = Findings::default();
        findings.note(&Reply { code, text: text.into() });
        findings.verdict(ClientIdentity::Xclient)
    }

    #[test]
    fn a_refusal_to_relay_is_a_no_even_where_it_is_put_as_a_4xx() {
        let denied = verdict(454, "454 4.7.1 <relay-test@example.com>: Relay access denied\r\n");
        assert!(matches!(denied, SelfTest::Refused { .. }), "{denied:?}");
        let greylisted = verdict(450, "450 4.2.0 <relay-test@example.com>: Greylisted\r\n");
        assert!(matches!(greylisted, SelfTest::Deferred { .. }), "{greylisted:?}");
        let taken = verdict(250, "250 2.1.5 Ok, though relay access denied\r\n");
        assert!(matches!(taken, SelfTest::Relays { .. }), "{taken:?}");
    }
}
