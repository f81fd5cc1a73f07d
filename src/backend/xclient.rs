//! Postfix's XCLIENT command: <https://www.postfix.org/XCLIENT_README.html>.

use crate::facts::{Lookup, Peer};
use crate::protocol::smtp::reply;

use super::Caller;
use super::error::{ConnectError, quote};
use super::talk::{Reply, Talk};

/// RFC 5321 §4.5.3.1.4: the longest command line, CRLF included.
const COMMAND_LIMIT: usize = 512;

const VERB: &str = "XCLIENT";
const AUTHORIZATION: &[u8] = b"insufficient authorization";

/// The answer to what says who the client is.
pub(super) const ANSWER: &str = "answer to XCLIENT";

/// Asks what the backend takes and tells it who the client is. The answer stays: it is the greeting of the
/// session that the backend begins anew for this client.
pub(super) async fn introduce(talk: &mut Talk<'_>, caller: &Caller<'_>) -> Result<(), ConnectError> {
    let greeting = talk.reply("greeting").await?;
    if greeting.code != 220 {
        return Err(talk.refused("greeting", &greeting.text));
    }
    let announced = announced(talk, caller.hostname).await?;
    // Without ADDR the backend would go on taking us for the client.
    if !announced.iter().any(|attribute| attribute == "ADDR") {
        return Err(ConnectError::XclientNotAnnounced { backend: talk.backend() });
    }
    let commands = commands(&announced, caller.peer);
    let Some((last, earlier)) = commands.split_last() else { return Ok(()) };
    for command in earlier {
        talk.send(command.as_bytes(), ANSWER).await?;
        let answer = talk.reply(ANSWER).await?;
        if answer.code != 220 {
            return Err(refused(talk, &answer));
        }
    }
    talk.send(last.as_bytes(), ANSWER).await?;
    let answer = talk.peek_reply(ANSWER).await?;
    match answer.code {
        // With `smtpd_delay_reject = no` the rules for clients answer here, to this client: 450 or 554 (RFC 5321 §3.1), or what an
        // access table says, is its greeting then.
        220 | 400..=420 | 422..=499 | 505..=599 if !is_about_us(&answer) => Ok(()),
        _ => Err(refused(talk, &answer)),
    }
}

/// An address of a family that the backend does not know is a mistake of syntax to it, and one client's misfortune.
fn refused(talk: &Talk<'_>, answer: &Reply) -> ConnectError {
    if matches!(answer.code, 400..=599) && !is_about_us(answer) {
        return talk.refused(ANSWER, &answer.text);
    }
    ConnectError::XclientRefused { backend: talk.backend(), reply: quote(&answer.text) }
}

/// Postfix's words for an address that is not in `smtpd_authorized_xclient_hosts`. It does not announce XCLIENT to such a one, so they
/// are not to be expected; but then nobody can be served.
fn is_about_us(answer: &Reply) -> bool {
    answer.text.windows(AUTHORIZATION.len()).any(|words| words.eq_ignore_ascii_case(AUTHORIZATION))
}

/// The attributes that the backend announces to us, in upper case; none if it announces no XCLIENT.
async fn announced(talk: &mut Talk<'_>, hostname: &str) -> Result<Vec<String>, ConnectError> {
    talk.send(format!("EHLO {hostname}\r\n").as_bytes(), "answer to EHLO").await?;
    let answer = talk.reply("answer to EHLO").await?;
    match answer.code {
        250 => Ok(attributes(&answer.text).unwrap_or_default()),
        // RFC 5321 §3.2: a server without service extensions, which XCLIENT is one of.
        500..=504 => Ok(Vec::new()),
        _ => Err(talk.refused("answer to EHLO", &answer.text)),
    }
}

/// The attributes behind the XCLIENT keyword of an answer to EHLO.
pub(super) fn attributes(ehlo_answer: &[u8]) -> Option<Vec<String>> {
    reply::lines(ehlo_answer).skip(1).find_map(|line| {
        let line = String::from_utf8_lossy(line).to_ascii_uppercase();
        let mut words = line.split_ascii_whitespace();
        (words.next() == Some(VERB)).then(|| words.map(str::to_owned).collect())
    })
}

/// The commands that carry what is announced, as few as the length limit allows. ADDR stands last: it makes Postfix
/// look at its access rules, and at the right to use XCLIENT, again.
fn commands(announced: &[String], peer: &Peer) -> Vec<String> {
    let address = match peer.client.ip() {
        std::net::IpAddr::V4(ip) => ip.to_string(),
        std::net::IpAddr::V6(ip) => format!("IPV6:{ip}"),
    };
    let attributes = [
        ("PORT", peer.client.port().to_string()),
        ("NAME", name(&peer.names.verified)),
        ("REVERSE_NAME", name(&peer.names.reverse)),
        ("ADDR", address),
    ];
    let mut commands = Vec::new();
    let mut command = VERB.to_owned();
    for (attribute, value) in attributes {
        if !announced.iter().any(|name| name == attribute) {
            continue;
        }
        let pair = format!(" {attribute}={}", xtext(&value));
        if command.len() + pair.len() + 2 > COMMAND_LIMIT && command.len() > VERB.len() {
            commands.push(command + "\r\n");
            command = VERB.to_owned();
        }
        command.push_str(&pair);
    }
    commands.push(command + "\r\n");
    commands
}

fn name(lookup: &Lookup) -> String {
    match lookup {
        Lookup::Found(name) => name.to_string(),
        Lookup::Absent => "[UNAVAILABLE]".to_owned(),
        // Nothing is known: a temporary error for the rules that ask for a name, not a refusal for good.
        Lookup::Failed | Lookup::NotTried => "[TEMPUNAVAIL]".to_owned(),
    }
}

/// RFC 3461 §4: printable ASCII as it is, but `+`, `=` and all else as `+` and two upper-case hex digits.
fn xtext(value: &str) -> String {
    value.bytes().fold(String::with_capacity(value.len()), |mut text, octet| {
        match octet {
            b'!'..=b'~' if octet != b'+' && octet != b'=' => text.push(char::from(octet)),
            _ => text.push_str(&format!("+{octet:02X}")),
        }
        text
    })
}

#[cfg(test)]
mod tests;
