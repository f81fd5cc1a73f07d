//! Dovecot's lines, and ours in its form.

use std::net::IpAddr;

use super::line::{Line, phrase};
use super::postfix::reason;
use super::{NOT_LOGGED, Sighting};

/// What a line tells; `None` if it is not one of these.
pub(super) fn sighting<'a>(line: &Line<'a>) -> Option<Sighting<'a>> {
    // By syslog `dovecot: imap-login: Login: …`, in Dovecot's own file `imap-login: Info: Login: …`, or the other way
    // round in version 1.
    let info = |message: &'a str| message.strip_prefix("Info: ").unwrap_or(message);
    let (login, message) = match line.program() {
        "dovecot" | "sealgate" | "" => info(line.message).split_once(": ")?,
        program => (program, info(line.message)),
    };
    if !matches!(login, "imap-login" | "pop3-login" | "managesieve-login" | "submission-login") {
        return None;
    }
    let ended = ["Disconnected", "Aborted login"].iter().any(|word| message.starts_with(word));
    let logged_in = ["Login: ", "Logged in: "].iter().any(|word| message.starts_with(word));
    if !ended && !logged_in {
        return None;
    }
    // The user name comes before these and is the client's own word: so the last ones count.
    let Some((_, facts)) = message.rsplit_once(" rip=") else { return Some(Sighting::Broken) };
    let (client, facts) = facts.split_once(", ").unwrap_or((facts, ""));
    let client = client.parse::<IpAddr>().ok();
    if let Some((_, why)) = facts.split_once("TLS handshaking") {
        let why = why.strip_prefix(": ").unwrap_or_default();
        let why = why.split(", session=").next().unwrap_or_default().trim_end_matches(',');
        let why = why.split_once("failed: ").map_or(why, |(_, why)| reason(why));
        let reason = if why.is_empty() { NOT_LOGGED.into() } else { phrase(why) };
        return Some(Sighting::Failed { client, reason });
    }
    let service = login.into();
    let agreed = facts.split_once(" with cipher ").and_then(|(before, rest)| {
        let version = before.rsplit([' ', ',']).next()?;
        Some((version, rest.split(' ').next()?))
    });
    // The words between commas; `TLS: Connection closed` is one of them.
    let says = |known: fn(&str) -> bool| facts.split(", ").any(known);
    let tls = says(|word| word == "TLS" || word.starts_with("TLS:"));
    // Dovecot 2.4 calls TLS what ended at a proxy, too, and tells the two apart only by what it has for a cipher then.
    let proxied = says(|word| word == "(proxied)") || (!tls && says(|word| word == "secured"));
    match agreed {
        Some((version, cipher)) => {
            let (version, cipher) = (Some(version.into()), Some(cipher.into()));
            Some(Sighting::Secured { service, client, version, cipher, group: None })
        }
        None if proxied => logged_in.then_some(Sighting::Proxied),
        None if tls => Some(Sighting::Secured { service, client, version: None, cipher: None, group: None }),
        None if logged_in => Some(Sighting::Plaintext { service }),
        None => None,
    }
}
