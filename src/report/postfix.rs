//! Postfix's lines, and ours in its form.

use std::net::IpAddr;

use super::Sighting;
use super::line::{Line, phrase};

/// Behind this stand the client and what was agreed on.
const ESTABLISHED: &str = "TLS connection established from ";
const FAILED: &str = "SSL_accept error from ";
const LIBRARY: &str = "TLS library problem: ";

/// What a line tells; `None` if it is not one of these.
pub(super) fn sighting<'a>(line: &Line<'a>) -> Option<Sighting<'a>> {
    let program = line.program();
    // Without a tag it may have come from `journalctl -o cat`.
    let (_, daemon) = program.rsplit_once('/').unwrap_or(("", program));
    // What a client says is never the beginning of a message.
    let message = line.message.strip_prefix("warning: ").unwrap_or(line.message);
    let secured = || {
        let (trust, rest) = message.split_once(ESTABLISHED)?;
        // Before 2.5 there was no such word.
        matches!(trust, "" | "Anonymous " | "Untrusted " | "Trusted " | "Verified ").then_some(rest)
    };
    match daemon {
        "smtpd" | "tlsproxy" | "" => {
            if let Some(rest) = secured() {
                Some(established(program, rest).unwrap_or(Sighting::Broken))
            } else if let Some(rest) = message.strip_prefix(FAILED) {
                Some(failed(line.process, rest).unwrap_or(Sighting::Broken))
            } else {
                let why = message.strip_prefix(LIBRARY)?;
                Some(Sighting::Because { process: line.process, reason: reason(why).into() })
            }
        }
        "smtp" | "lmtp" => message.contains("TLS connection established to ").then_some(Sighting::Outgoing),
        _ => None,
    }
}

/// `host[address]: TLSv1.3 with cipher NAME (256/256 bits) key-exchange X25519 server-signature …`
fn established<'a>(program: &'a str, rest: &'a str) -> Option<Sighting<'a>> {
    let (client, agreed) = rest.split_once(": ")?;
    let (version, rest) = agreed.split_once(" with cipher ")?;
    let (cipher, rest) = rest.split_once(" (")?;
    let group = rest.split_once(" key-exchange ").map(|(_, rest)| {
        // A group's name may hold spaces and parentheses: `ECDHE (P-256)`.
        [" server-signature ", " client-signature "]
            .iter()
            .fold(rest, |name, end| name.split(end).next().unwrap_or(name))
    });
    Some(Sighting::Secured {
        service: service(program).into(),
        client: address(client)?,
        version: Some(version.into()),
        cipher: Some(cipher.into()),
        group: group.map(|group| group.trim_end().into()),
    })
}

/// `host[address]: -1`, after which the library's words follow, or `host[address]: lost connection`.
fn failed<'a>(process: &'a str, rest: &'a str) -> Option<Sighting<'a>> {
    let (client, why) = rest.split_once(": ")?;
    let client = address(client)?;
    Some(match why {
        "-1" | "0" => Sighting::FailedSoFar { process, client },
        why => Sighting::Failed { client, reason: phrase(why) },
    })
}

/// The reason in OpenSSL's `[pid:]error:CODE:library:function:reason:file:line:`, or the words in front of what
/// Sealgate says the client offered.
pub(super) fn reason(text: &str) -> &str {
    match text.split_once("error:") {
        Some((_, fields)) => fields.split(':').nth(3).filter(|reason| !reason.is_empty()).unwrap_or(text),
        None => text.split(": client offered ").next().unwrap_or(text),
    }
}

/// `host[address]`, `host[address]:port`, `[address]:port`, each with ` to name` behind it where the client sent a
/// name. The outer `None` is for what is none of these, the inner one for `unknown[unknown]`.
fn address(client: &str) -> Option<Option<IpAddr>> {
    let (_, rest) = client.split_once('[')?;
    let (address, _) = rest.split_once(']')?;
    if address == "unknown" { Some(None) } else { Some(Some(address.parse().ok()?)) }
}

/// The service that the tag names: `postfix/submission/smtpd` does, `postfix/smtpd` may be any.
fn service(program: &str) -> &str {
    let mut parts = program.rsplit('/');
    let daemon = parts.next().filter(|daemon| !daemon.is_empty()).unwrap_or("smtpd");
    match (parts.next(), parts.next()) {
        (Some("smtps" | "submissions"), Some(_)) => "submissions",
        (Some(name), Some(_)) => name,
        _ => daemon,
    }
}
