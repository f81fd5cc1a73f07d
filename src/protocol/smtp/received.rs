//! The Received field (RFC 5321 §4.4) with the session's TLS facts; docs/formats.md describes it byte by byte.

use std::borrow::Cow;
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{BufMut, BytesMut};

use crate::facts::{ClientCertificate, SessionId, TlsFacts};
use crate::protocol::{Context, Rules};

use super::path;

/// Where lines are folded if they can be (RFC 5322 §2.1.1), without the CRLF.
const FOLD: usize = 78;

/// Room for nearly every field, in octets.
const ROOM: usize = 512;

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
    pub number: u32,
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

/// What all Received fields of a session have in common: all that a session at rest keeps of its [`Context`].
#[derive(Debug)]
pub struct Origin {
    /// Our own name.
    pub hostname: Arc<str>,
    /// The administrator's settings.
    pub rules: Arc<Rules>,
    /// The session's TLS; none where it is plaintext.
    pub tls: Option<Arc<TlsFacts>>,
    session: SessionId,
    client: IpAddr,
    /// The client's verified name, where it was looked up and has one.
    name: Option<Arc<str>>,
}

impl Origin {
    /// The origin of a session's mail.
    pub fn new(context: &Context) -> Self {
        Self {
            hostname: context.hostname.clone(),
            rules: context.rules.clone(),
            tls: context.tls.clone(),
            session: context.session.clone(),
            client: context.peer.client.ip(),
            name: context.peer.verified_name().cloned(),
        }
    }
}

/// Writes the field, with its CRLF.
pub fn write(origin: &Origin, trace: &Trace<'_>, to: &mut BytesMut) {
    to.reserve(ROOM);
    let mut line = Line::begin(to, b"Received: ");
    line.word(|to| to.put_slice(b"from"));
    line.word(|to| match trace.hello {
        Some(hello) => to.put_slice(path::hello(hello.name.as_bytes(), trace.utf8).as_bytes()),
        // No hello: RFC 5321 §4.1.4 lets a client do without one, and the grammar wants a name.
        None => address_literal(origin.client, to),
    });
    if let Some(name) = &origin.name {
        line.word(|to| {
            to.put_u8(b'(');
            to.put_slice(path::hello(name.as_bytes(), false).as_bytes());
        });
    }
    line.word(|to| {
        if origin.name.is_none() {
            to.put_u8(b'(');
        }
        address_literal(origin.client, to);
        to.put_u8(b')');
    });
    line.end(b"\r\n");
    if let Some(tls) = &origin.tls {
        security(tls, to);
    }
    if let Some(user) = trace.user.filter(|user| origin.rules.received_user && !user.is_empty()) {
        let mut line = Line::begin(to, b"\t");
        line.word(|to| to.put_slice(b"(Authenticated sender:"));
        line.word(|to| put(to, &[&comment(user), ")"]));
        line.end(b"\r\n");
    }
    let recipient = trace.recipient.filter(|recipient| !recipient.is_empty());
    let mut line = Line::begin(to, b"\t");
    line.word(|to| put(to, &["by ", &origin.hostname]));
    line.word(|to| to.put_slice(b"(Sealgate)"));
    line.word(|to| put(to, &["with ", with(origin, trace)]));
    line.word(|to| {
        put(to, &["id ", origin.session.as_str(), "."]);
        let _ = write!(to, "{}", trace.number);
    });
    // Without further clauses the semicolon stands here.
    line.end(if recipient.is_none() && origin.tls.is_none() { b";\r\n" } else { b"\r\n" });
    clauses(origin, recipient, trace.utf8, to);
    to.put_u8(b'\t');
    date(trace.at, to);
    to.put_slice(if trace.apart { b"\r\n\r\n" } else { b"\r\n" });
}

/// The comments about TLS and the client's certificate. The two lines of the first stay as they are, though the second may
/// be longer than 78: they are Postfix's own, and tools look for them line by line.
fn security(tls: &TlsFacts, to: &mut BytesMut) {
    put(to, &["\t(using ", tls.version.as_str(), " with cipher ", tls.suite.openssl]);
    let _ = write!(to, " ({bits}/{bits} bits)\r\n\t key-exchange ", bits = tls.suite.bits);
    put(to, &[tls.group.postfix()]);
    if let Some(signature) = &tls.signature {
        let _ = write!(to, " server-signature {}", signature.algorithm);
        if let Some(digest) = signature.digest {
            put(to, &[" server-digest ", digest]);
        }
    }
    to.put_slice(b")\r\n");
    match &tls.client_certificate {
        ClientCertificate::NotRequested => to.put_slice(b"\t(No client certificate requested)\r\n"),
        ClientCertificate::NotPresented => to.put_slice(b"\t(Client did not present a certificate)\r\n"),
        ClientCertificate::Presented { common_name, issuer, verified } => {
            let mut line = Line::begin(to, b"\t");
            line.word(|to| to.put_slice(b"(Client CN"));
            line.word(|to| put(to, &["\"", &comment(common_name), "\","]));
            line.word(|to| to.put_slice(b"Issuer"));
            line.word(|to| put(to, &["\"", &comment(issuer), "\""]));
            line.word(|to| put(to, &[if *verified { "(verified OK))" } else { "(not verified))" }]));
            line.end(b"\r\n");
        }
    }
}

/// `for` and `tls` (RFC 8314 §4.3), up to the semicolon.
fn clauses(origin: &Origin, recipient: Option<&str>, utf8: bool, to: &mut BytesMut) {
    if recipient.is_none() && origin.tls.is_none() {
        return;
    }
    let mut line = Line::begin(to, b"\t");
    if let Some(recipient) = recipient {
        let shown = path::text(recipient.as_bytes(), utf8, |octet| octet == b' ' || octet.is_ascii_graphic());
        line.word(|to| put(to, &["for <", &shown, if origin.tls.is_some() { ">" } else { ">;" }]));
    }
    if let Some(tls) = &origin.tls {
        line.word(|to| put(to, &["tls ", tls.suite.iana]));
        line.word(|to| put(to, &["group ", tls.group.iana(), ";"]));
    }
    line.end(b"\r\n");
}

/// RFC 3848 and RFC 6531 §4.3. They have no name for TLS behind a HELO.
fn with(origin: &Origin, trace: &Trace<'_>) -> &'static str {
    if !trace.hello.is_some_and(|hello| hello.extended) {
        return "SMTP";
    }
    match (trace.utf8, origin.tls.is_some(), trace.user.is_some()) {
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

/// One line of words, folded before each word that would not fit.
struct Line<'a> {
    to: &'a mut BytesMut,
    /// Where it begins, or what was folded off it does.
    start: usize,
    /// Whether the next word is the first.
    empty: bool,
}

impl<'a> Line<'a> {
    fn begin(to: &'a mut BytesMut, lead: &[u8]) -> Self {
        let start = to.len();
        to.put_slice(lead);
        Self { to, start, empty: true }
    }

    /// Appends the word that `write` writes; how long it is shows only then.
    fn word(&mut self, write: impl FnOnce(&mut BytesMut)) {
        if std::mem::take(&mut self.empty) {
            return write(self.to);
        }
        let gap = self.to.len();
        self.to.put_u8(b' ');
        write(self.to);
        let end = self.to.len();
        if end - self.start > FOLD {
            // The word moves on by the two octets that a fold is longer than a space.
            self.to.put_slice(b"\r\n");
            self.to.copy_within(gap..end, gap + 2);
            if let Some(fold) = self.to.get_mut(gap..gap + 3) {
                fold.copy_from_slice(b"\r\n\t");
            }
            self.start = gap + 2;
        }
    }

    fn end(self, with: &[u8]) {
        self.to.put_slice(with);
    }
}

fn put(to: &mut BytesMut, parts: &[&str]) {
    for part in parts {
        to.put_slice(part.as_bytes());
    }
}

/// An address literal (RFC 5321 §4.1.3): `[203.0.113.5]`, `[IPv6:2001:db8::5]`.
fn address_literal(ip: IpAddr, to: &mut BytesMut) {
    let _ = match ip {
        IpAddr::V4(v4) => write!(to, "[{v4}]"),
        IpAddr::V6(v6) => write!(to, "[IPv6:{v6}]"),
    };
}

/// What may stand in a comment without meaning anything there (RFC 5322 §3.2.2); at most 256 octets.
fn comment(text: &str) -> Cow<'_, str> {
    let text = text.as_bytes();
    path::text(text.get(..256).unwrap_or(text), false, |octet| {
        octet == b' ' || (octet.is_ascii_graphic() && !b"()\\\"".contains(&octet))
    })
}

/// RFC 5322 §3.3, in UTC.
fn date(at: SystemTime, to: &mut BytesMut) {
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
    put(to, &[name(&DAYS, days % 7), ", "]);
    two_digits(day, to);
    put(to, &[" ", name(&MONTHS, month), " "]);
    let _ = write!(to, "{year}");
    for (before, n) in [(b' ', second / 3600), (b':', second / 60 % 60), (b':', second % 60)] {
        to.put_u8(before);
        two_digits(n, to);
    }
    to.put_slice(b" +0000");
}

fn two_digits(n: u64, to: &mut BytesMut) {
    for digit in [n / 10, n % 10] {
        to.put_u8(b'0' + u8::try_from(digit).unwrap_or(0));
    }
}

#[cfg(test)]
mod tests;
