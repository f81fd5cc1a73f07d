//! Date, host, tag and message of a log line.

use std::borrow::Cow;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// A line taken apart. What it does not have is empty.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// Seconds since 1970.
    pub time: Option<i64>,
    /// Program and, where it is there, process id: `postfix/smtpd[4711]`.
    pub process: &'a str,
    /// What it says.
    pub message: &'a str,
}

impl<'a> Line<'a> {
    /// Takes `text` apart: a date of RFC 3164 or RFC 3339 or none, then host and tag, a tag, or neither.
    pub fn parse(text: &'a str, now: &Zoned) -> Self {
        // Dovecot 1 writes its own file like this: `dovecot: Nov 21 22:36:05 Info: imap-login: Login: …`.
        if let Some((time, message)) = text.strip_prefix("dovecot: ").and_then(|rest| rfc3164(rest, now)) {
            return Self { time: Some(time), process: "dovecot", message };
        }
        let (time, rest) =
            rfc3339(text).or_else(|| rfc3164(text, now)).map_or((None, text), |(t, rest)| (Some(t), rest));
        let (first, behind) = rest.split_once(' ').unwrap_or((rest, ""));
        if let Some(process) = first.strip_suffix(':').filter(|process| is_tag(process)) {
            return Self { time, process, message: behind };
        }
        // A host stands between a date and a tag, never without a date.
        let tagged = time.and_then(|_| behind.split_once(": ")).filter(|(process, _)| is_tag(process));
        match tagged {
            Some((process, message)) => Self { time, process, message },
            None => Self { time, process: "", message: rest },
        }
    }

    /// The tag without its process id.
    pub fn program(&self) -> &'a str {
        self.process.split('[').next().unwrap_or_default()
    }
}

/// A reason as Sealgate writes it, so that the same one is counted once: `Connection timed out` begins in lower case,
/// `TLS` stays.
pub(super) fn phrase(reason: &str) -> Cow<'_, str> {
    let mut letters = reason.chars();
    match (letters.next(), letters.next()) {
        (Some(first), Some('a'..='z')) if first.is_ascii_uppercase() => {
            Cow::from(format!("{}{}", first.to_ascii_lowercase(), reason.get(1..).unwrap_or_default()))
        }
        _ => reason.into(),
    }
}

fn is_tag(word: &str) -> bool {
    !word.is_empty() && !word.contains([' ', '=', '<', '"', '{'])
}

/// `2026-11-21T22:36:05.042+01:00 `, as rsyslog and we write it.
fn rfc3339(text: &str) -> Option<(i64, &str)> {
    if !text.as_bytes().first()?.is_ascii_digit() {
        return None;
    }
    let (date, rest) = text.split_once(' ')?;
    Some((timestamp(date)?, rest))
}

/// Seconds since 1970 of an RFC 3339 time.
pub(super) fn timestamp(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_second)
}

/// `Nov 21 22:36:05 `, local time without a year: the last one that is not in the future, a day's leeway for clocks.
fn rfc3164<'a>(text: &'a str, now: &Zoned) -> Option<(i64, &'a str)> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (date, rest) = text.split_at_checked(16)?;
    let mut words = date.split_ascii_whitespace();
    let name = words.next()?;
    let month = MONTHS.iter().zip(1..).find_map(|(month, number)| (*month == name).then_some(number))?;
    let day = words.next()?.parse().ok()?;
    let mut clock = words.next()?.splitn(3, ':').map(|word| word.parse::<i8>().ok());
    let time = Time::new(clock.next()??, clock.next()??, clock.next()??, 0).ok()?;
    let in_year = |year| {
        let moment = DateTime::from_parts(Date::new(year, month, day).ok()?, time);
        moment.to_zoned(TimeZone::clone(now.time_zone())).ok().map(|zoned| zoned.timestamp().as_second())
    };
    const DAY: i64 = 24 * 60 * 60;
    let latest = now.timestamp().as_second() + DAY;
    // 29 February exists in some years only.
    let seconds = (0..8).find_map(|back| in_year(now.year() - back).filter(|seconds| *seconds <= latest))?;
    Some((seconds, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Zoned {
        "2026-03-01T12:00:00+00:00[UTC]".parse().unwrap()
    }

    #[test]
    fn prefixes_of_syslog_journal_and_our_own() {
        let cases = [
            (
                "Feb  1 22:36:05 mail postfix/smtpd[1]: connect",
                Some("2026-02-01T22:36:05Z"),
                "postfix/smtpd[1]",
                "connect",
            ),
            (
                "2026-02-01T23:36:05.1+01:00 mail dovecot: imap-login: x",
                Some("2026-02-01T22:36:05Z"),
                "dovecot",
                "imap-login: x",
            ),
            (
                "dovecot: Feb  1 22:36:05 Info: imap-login: Login: x",
                Some("2026-02-01T22:36:05Z"),
                "dovecot",
                "Info: imap-login: Login: x",
            ),
            ("dovecot: Info: imap-login: x", None, "dovecot", "Info: imap-login: x"),
            ("Feb  1 22:36:05 imap-login: Info: Login", Some("2026-02-01T22:36:05Z"), "imap-login", "Info: Login"),
            (
                "2026-02-01T22:36:05.042+00:00 event=ended a=b: c",
                Some("2026-02-01T22:36:05Z"),
                "",
                "event=ended a=b: c",
            ),
            (
                "Feb  1 22:36:05 mail sealgate[7]: event=ended a=b: c",
                Some("2026-02-01T22:36:05Z"),
                "sealgate[7]",
                "event=ended a=b: c",
            ),
            ("postfix/smtpd[1]: connect", None, "postfix/smtpd[1]", "connect"),
            ("event=ended a=b", None, "", "event=ended a=b"),
            ("Feb 31 22:36:05 mail postfix/smtpd[1]: x", None, "", "Feb 31 22:36:05 mail postfix/smtpd[1]: x"),
            ("Feb  1 22:36:0\u{e9}", None, "", "Feb  1 22:36:0\u{e9}"),
            ("", None, "", ""),
        ];
        for (text, time, process, message) in cases {
            let time = time.and_then(timestamp);
            assert_eq!(Line::parse(text, &now()), Line { time, process, message }, "{text}");
        }
    }

    #[test]
    fn a_date_without_a_year_is_in_the_past() {
        let year = |date: &str| {
            let text = format!("{date} h p: m");
            Timestamp::from_second(Line::parse(&text, &now()).time.unwrap()).unwrap().to_string()
        };
        assert_eq!(year("Mar  1 12:00:00"), "2026-03-01T12:00:00Z");
        assert_eq!(year("Mar  3 12:00:00"), "2025-03-03T12:00:00Z");
        assert_eq!(year("Dec 31 23:59:59"), "2025-12-31T23:59:59Z");
        assert_eq!(year("Feb 29 01:00:00"), "2024-02-29T01:00:00Z");
    }
}
