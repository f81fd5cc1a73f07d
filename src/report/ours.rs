//! Sealgate's own `text` and `json` records.

use std::borrow::Cow;
use std::net::IpAddr;

use serde::Deserialize;

use super::Sighting;
use super::line::{Line, timestamp};

/// The keys that are counted.
#[derive(Debug, Default, Deserialize)]
struct Record<'a> {
    #[serde(borrow)]
    event: Option<Cow<'a, str>>,
    #[serde(borrow)]
    service: Option<Cow<'a, str>>,
    #[serde(borrow)]
    client: Option<Cow<'a, str>>,
    #[serde(borrow)]
    tls_version: Option<Cow<'a, str>>,
    #[serde(borrow)]
    cipher: Option<Cow<'a, str>>,
    #[serde(borrow)]
    group: Option<Cow<'a, str>>,
    #[serde(borrow)]
    outcome: Option<Cow<'a, str>>,
    #[serde(borrow)]
    reason: Option<Cow<'a, str>>,
}

/// What a record tells; `None` if the line is none of ours.
pub(super) fn sighting<'a>(line: &Line<'a>) -> Option<Sighting<'a>> {
    // Only where nobody but us can have written it: strangers' words stand in other programs' messages.
    if !matches!(line.program(), "" | "sealgate") {
        return None;
    }
    let record = if line.message.starts_with("event=") {
        text(line.message)
    } else if line.message.starts_with('{') {
        match serde_json::from_str(line.message) {
            Ok(record) => Some(record),
            // Somebody else's JSON is not a broken record of ours.
            Err(_)
                if line.message.contains("\"event\":\"secured\"") || line.message.contains("\"event\":\"ended\"") =>
            {
                None
            }
            Err(_) => return None,
        }
    } else {
        return None;
    };
    let Some(record) = record else { return Some(Sighting::Broken) };
    judge(record)
}

fn judge(record: Record<'_>) -> Option<Sighting<'_>> {
    let event = record.event?;
    let client = record.client.as_deref().and_then(|client| client.parse::<IpAddr>().ok());
    let counted = match &*event {
        "secured" => record.service.zip(record.tls_version).map(|(service, version)| Sighting::Secured {
            service,
            client,
            version: Some(version),
            cipher: record.cipher,
            group: record.group,
        }),
        "ended" => match (record.service, record.outcome.as_deref()) {
            // A session that was stopped with the gate has not failed.
            (Some(_), Some("shutdown")) => return None,
            // Counted when TLS came up.
            (Some(_), Some("ok")) if record.tls_version.is_some() => return None,
            (Some(service), Some("ok")) => Some(Sighting::Plaintext { service }),
            (Some(_), Some(_)) => record.reason.map(|reason| Sighting::Failed { client, reason }),
            _ => None,
        },
        _ => return None,
    };
    Some(counted.unwrap_or(Sighting::Broken))
}

/// The time inside a JSON record, for lines without a date in front.
pub(super) fn time(line: &Line<'_>) -> Option<i64> {
    let (_, behind) = line.message.split_once("\"time\":\"")?;
    timestamp(behind.split('"').next()?)
}

/// `key=value key="quoted \"value\""`; `None` if that is not what it is.
fn text(message: &str) -> Option<Record<'_>> {
    let mut record = Record::default();
    let mut rest = message;
    while !rest.is_empty() {
        let (key, behind) = rest.split_once('=')?;
        let (value, next) = value(behind)?;
        rest = next;
        let field = match key {
            "event" => &mut record.event,
            "service" => &mut record.service,
            "client" => &mut record.client,
            "tls_version" => &mut record.tls_version,
            "cipher" => &mut record.cipher,
            "group" => &mut record.group,
            "outcome" => &mut record.outcome,
            "reason" => &mut record.reason,
            _ => continue,
        };
        *field = Some(value);
    }
    Some(record)
}

/// The value in front, and what follows it and a space.
fn value(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = text.split_once(' ').unwrap_or((text, ""));
        return Some((value.into(), rest));
    };
    let mut value = String::new();
    let mut chars = quoted.chars();
    loop {
        match chars.next()? {
            '\\' => value.push(chars.next()?),
            '"' => break,
            c => value.push(c),
        }
    }
    let rest = chars.as_str();
    if rest.is_empty() { Some((value.into(), rest)) } else { Some((value.into(), rest.strip_prefix(' ')?)) }
}
