//! The client's address in IMAP's ID command (RFC 2971), as Dovecot takes it from `login_trusted_networks`.

use super::error::ConnectError;
use super::{Caller, Talk};

/// What a backend may say before it answers ID, in octets.
const ANSWER_LIMIT: usize = 64 * 1024;

/// Sends ID if the backend takes it. The greeting stays, for the dialogue to judge.
///
/// A backend whose capability list has no ID takes us for the client; that opens nothing on IMAP, where only a login
/// counts, so the session goes on.
pub(super) async fn introduce(talk: &mut Talk<'_>, caller: &Caller<'_>) -> Result<(), ConnectError> {
    let greeting = talk.line("greeting").await?;
    // PREAUTH, BYE or nonsense end the session, in words of the dialogue.
    if starts_with(&greeting, "* OK ") {
        let takes_id = match capabilities(&greeting) {
            Some(listed) => has_id(&listed),
            None => asked(talk).await?,
        };
        if takes_id {
            talk.send(command(caller).as_bytes(), ANSWER).await?;
            answer(talk, TAG_ID, ANSWER, |_| ()).await?;
        }
    }
    talk.put_back(&greeting);
    Ok(())
}

const TAG_CAPABILITY: &str = "sg1";
const TAG_ID: &str = "sg2";

/// The answer to what says who the client is.
pub(super) const ANSWER: &str = "answer to ID";

/// Asks for the capabilities that the greeting did not show (RFC 9051 §7.1).
async fn asked(talk: &mut Talk<'_>) -> Result<bool, ConnectError> {
    talk.send(format!("{TAG_CAPABILITY} CAPABILITY\r\n").as_bytes(), "answer to CAPABILITY").await?;
    let mut takes_id = false;
    answer(talk, TAG_CAPABILITY, "answer to CAPABILITY", |line| {
        takes_id |= capabilities(line).is_some_and(|listed| has_id(&listed));
    })
    .await?;
    Ok(takes_id)
}

/// Takes all lines up to the tagged one and shows each to `look`. Whether ID was OK, NO or BAD makes no difference.
async fn answer(
    talk: &mut Talk<'_>,
    tag: &str,
    step: &'static str,
    mut look: impl FnMut(&[u8]),
) -> Result<(), ConnectError> {
    let mut taken = 0;
    while taken < ANSWER_LIMIT {
        let line = talk.line(step).await?;
        taken += line.len();
        look(&line);
        if starts_with(&line, tag) && line.get(tag.len()) == Some(&b' ') {
            return Ok(());
        }
        if starts_with(&line, "* BYE") {
            return Err(talk.refused(step, &line));
        }
    }
    Err(talk.nonsense(step))
}

/// The capabilities that a line lists: `* CAPABILITY …`, or a `[CAPABILITY …]` response code (RFC 9051 §7.1, §7.2.2).
pub(super) fn capabilities(line: &[u8]) -> Option<Vec<String>> {
    let line = String::from_utf8_lossy(line).to_ascii_uppercase();
    let listed = match line.strip_prefix("* CAPABILITY ") {
        Some(listed) => listed,
        None => line.split_once("[CAPABILITY ")?.1.split(']').next()?,
    };
    Some(listed.split_ascii_whitespace().map(str::to_owned).collect())
}

fn has_id(listed: &[String]) -> bool {
    listed.iter().any(|capability| capability == "ID")
}

fn starts_with(line: &[u8], start: &str) -> bool {
    line.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start.as_bytes()))
}

/// Addresses and ports have no `"` or `\`, and a session's identifier is letters and digits: nothing needs quoting.
fn command(caller: &Caller<'_>) -> String {
    let (client, local) = (caller.peer.client, caller.peer.local);
    let mut command = format!(
        "{TAG_ID} ID (\"x-originating-ip\" \"{}\" \"x-originating-port\" \"{}\" \"x-connected-ip\" \"{}\" \
         \"x-connected-port\" \"{}\" \"x-session-id\" \"{}\"",
        client.ip(),
        client.port(),
        local.ip(),
        local.port(),
        caller.session,
    );
    if caller.tls.is_some() {
        // Dovecot ≥ 2.4 takes the client for secured then; older ones do not look at it.
        command.push_str(" \"x-client-transport\" \"TLS\"");
    }
    command.push_str(")\r\n");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc9051_7_capabilities_are_found_wherever_they_stand() {
        let cases: &[(&[u8], Option<&[&str]>)] = &[
            (b"* CAPABILITY IMAP4rev1 id LITERAL+\r\n", Some(&["IMAP4REV1", "ID", "LITERAL+"])),
            (b"* OK [CAPABILITY IMAP4rev1 IDLE] Dovecot ready.\r\n", Some(&["IMAP4REV1", "IDLE"])),
            (b"sg1 OK [capability IMAP4rev1 ID] done\r\n", Some(&["IMAP4REV1", "ID"])),
            (b"* OK IMAP4rev1 ID ready\r\n", None),
            (b"* ID NIL\r\n", None),
        ];
        for (line, expected) in cases {
            let expected = expected.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
            assert_eq!(capabilities(line), expected, "{}", String::from_utf8_lossy(line));
        }
    }
}
