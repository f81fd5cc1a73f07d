//! The Received field (RFC 5321 §4.4) with the session's TLS facts; docs/formats.md describes it byte by byte.

use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::facts::{ClientCertificate, TlsFacts, address_literal};
use crate::protocol::Context;

use super::path;

/// Where lines are folded if they can be (RFC 5322 §2.1.1), without the CRLF.
const FOLD: usize = 78;

/// What the field says of one message.
#[derive(Debug)]
pub struct Trace<'a> {
    /// What the client called itself, if it did.
    pub hello: Option<&'a Hello>,
    /// Who logged in.
    pub user: Option<&'a str>,
    /// SMTPUTF8 was asked for (RFC 6531 §3.7.3).
    pub utf8: bool,
    /// The one accepted recipient; none where there are more: a blind copy must not show (RFC 5321 §7.2).
    pub recipient: Option<&'a str>,
    /// The message's number in its session, from 1.
    pub number: u64,
    /// When it came.
    pub at: SystemTime,
    /// An empty line follows the field, since the content would fold into it.
    pub apart: bool,
}

/// An EHLO or HELO that the backend accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The name, its grammar enforced, characters beyond ASCII kept.
    pub name: Box<str>,
    /// EHLO.
    pub extended: bool,
}

/// The field, with its CRLF.
pub fn field(context: &Context, trace: &Trace<'_>) -> String {
    let mut field = String::with_capacity(512);
    let literal = address_literal(context.peer.client.ip());
    let from = match trace.hello {
        Some(hello) => path::hello(hello.name.as_bytes(), trace.utf8),
        // No hello: RFC 5321 §4.1.4 lets a client do without one, and the grammar wants a name.
        None => literal.clone(),
    };
    let resolved = context.peer.verified_name().map(|name| path::hello(name.as_bytes(), false));
    match resolved {
        Some(name) => fold(&mut field, "Received: ", &["from", &from, &format!("({name}"), &format!("{literal})")]),
        None => fold(&mut field, "Received: ", &["from", &from, &format!("({literal})")]),
    }
    if let Some(tls) = &context.tls {
        security(&mut field, tls);
    }
    if let Some(user) = trace.user.filter(|user| context.rules.received_user && !user.is_empty()) {
        fold(&mut field, "\t", &["(Authenticated sender:", &format!("{})", comment(user))]);
    }
    let by = format!("by {}", context.hostname);
    let with = format!("with {}", with(context, trace));
    let id = format!("id {}.{}", context.session, trace.number);
    fold(&mut field, "\t", &[by.as_str(), "(Sealgate)", &with, &id]);
    clauses(&mut field, context, trace);
    let _ = write!(field, "\t{}\r\n", date(trace.at));
    if trace.apart {
        field.push_str("\r\n");
    }
    field
}

/// The comments about TLS and the client's certificate. The two lines of the first stay as they are, though the second may
/// be longer than 78: they are Postfix's own, and tools look for them line by line.
fn security(field: &mut String, tls: &TlsFacts) {
    let _ = write!(
        field,
        "\t(using {} with cipher {} ({bits}/{bits} bits)\r\n\t key-exchange {}",
        tls.version.as_str(),
        tls.suite.openssl,
        tls.group.postfix(),
        bits = tls.suite.bits,
    );
    if let Some(signature) = &tls.signature {
        let _ = write!(field, " server-signature {}", signature.algorithm);
        if let Some(digest) = signature.digest {
            let _ = write!(field, " server-digest {digest}");
        }
    }
    field.push_str(")\r\n");
    match &tls.client_certificate {
        ClientCertificate::NotRequested => field.push_str("\t(No client certificate requested)\r\n"),
        ClientCertificate::NotPresented => field.push_str("\t(Client did not present a certificate)\r\n"),
        ClientCertificate::Presented { common_name, issuer, verified } => {
            let verdict = if *verified { "(verified OK))" } else { "(not verified))" };
            let (subject, issuer) = (format!("\"{}\",", comment(common_name)), format!("\"{}\"", comment(issuer)));
            fold(field, "\t", &["(Client CN", &subject, "Issuer", &issuer, verdict]);
        }
    }
}

/// `for` and `tls` (RFC 8314 §4.3), up to the semicolon.
fn clauses(field: &mut String, context: &Context, trace: &Trace<'_>) {
    let recipient = trace.recipient.filter(|recipient| !recipient.is_empty()).map(|recipient| {
        path::text(recipient.as_bytes(), trace.utf8, |octet| octet == b' ' || octet.is_ascii_graphic())
    });
    let mut words: Vec<String> = recipient.map(|recipient| format!("for <{recipient}>")).into_iter().collect();
    if let Some(tls) = &context.tls {
        words.extend([format!("tls {}", tls.suite.iana), format!("group {};", tls.group.iana())]);
    } else if let Some(last) = words.last_mut() {
        last.push(';');
    } else {
        // Neither: the semicolon belongs to the line before.
        field.truncate(field.trim_ascii_end().len());
        field.push_str(";\r\n");
        return;
    }
    fold(field, "\t", &words);
}

/// RFC 3848 and RFC 6531 §4.3. They have no name for TLS behind a HELO.
fn with(context: &Context, trace: &Trace<'_>) -> &'static str {
    if !trace.hello.is_some_and(|hello| hello.extended) {
        return "SMTP";
    }
    match (trace.utf8, context.tls.is_some(), trace.user.is_some()) {
        (false, false, false) => "ESMTP",
        (false, false, true) => "ESMTPA",
        (false, true, false) => "ESMTPS",
        (false, true, true) => "ESMTPSA",
        (true, false, false) => "UTF8SMTP",
        (true, false, true) => "UTF8SMTPA",
        (true, true, false) => "UTF8SMTPS",
        (true, true, true) => "UTF8SMTPSA",
    }
}

/// One line of words behind `lead`, folded before each word that would not fit.
fn fold(field: &mut String, lead: &str, words: &[impl AsRef<str>]) {
    field.push_str(lead);
    let mut column = lead.len();
    for (place, word) in words.iter().map(AsRef::as_ref).enumerate() {
        if place > 0 && column + 1 + word.len() > FOLD {
            field.push_str("\r\n\t");
            column = 1;
        } else if place > 0 {
            field.push(' ');
            column += 1;
        }
        field.push_str(word);
        column += word.len();
    }
    field.push_str("\r\n");
}

/// What may stand in a comment without meaning anything there (RFC 5322 §3.2.2); at most 256 octets.
fn comment(text: &str) -> String {
    let text = text.as_bytes();
    path::text(text.get(..256).unwrap_or(text), false, |octet| {
        octet == b' ' || (octet.is_ascii_graphic() && !b"()\\\"".contains(&octet))
    })
}

/// RFC 5322 §3.3, in UTC.
fn date(at: SystemTime) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Jan", "Feb"];
    let seconds = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Years are counted from 1 March of the year 0, so that the leap day is a year's last and 400 years are one cycle.
    let day = days + 719_468;
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year + u64::from(month >= 10);
    let name =
        |names: &[&'static str], at: u64| usize::try_from(at).ok().and_then(|at| names.get(at).copied()).unwrap_or("");
    format!(
        "{}, {day:02} {} {year} {:02}:{:02}:{:02} +0000",
        name(&DAYS, days % 7),
        name(&MONTHS, month),
        second / 3600,
        second / 60 % 60,
        second % 60,
    )
}

#[cfg(test)]
mod tests;
