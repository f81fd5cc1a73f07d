//! The log reader of `sealgate report`: strangers write part of every log.

use std::io::{self, BufRead, Read};

use sealgate::report::{Report, Summary};

use crate::script::{next, seed};

/// How gzip's, xz's, zstd's and bzip2's files begin.
const MAGIC_NUMBERS: [&[u8]; 4] = [b"\x1f\x8b", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"BZh"];

/// One input of the target `report`: a log.
pub fn report(log: &[u8]) {
    let whole = read(&[log], u64::MAX);
    for cuts in [0, seed(log)] {
        assert_eq!(read(&[log], cuts), whole, "cut by {cuts}");
    }
    let compressed = MAGIC_NUMBERS.iter().any(|magic| log.starts_with(magic));
    assert_eq!(whole.is_none(), compressed, "a log that is text is read, and no other");
    let Some(summary) = whole else { return };
    counts(&summary, log);
    shows(&summary);
    in_two(&summary, log);
}

/// A report of logs, one after the other; none if one of them is compressed.
fn read(logs: &[&[u8]], cuts: u64) -> Option<Summary> {
    let mut report = Report::new("2026-11-22T12:00:00+00:00[UTC]".parse().expect("a time"));
    for log in logs {
        report.read(Pieces { octets: log, cuts, state: cuts }).ok()?;
    }
    Some(report.summary())
}

/// Every line is counted once, and every session in each table.
fn counts(summary: &Summary, log: &[u8]) {
    let lines = log.split_inclusive(|octet| *octet == b'\n').count() as u64;
    assert_eq!(summary.lines, lines);
    assert!(summary.relevant + summary.broken <= lines, "{summary:?}");
    let tls = summary.tls_sessions;
    assert_eq!(summary.versions.iter().map(|share| share.count).sum::<u64>(), tls, "versions");
    assert_eq!(summary.ciphers.iter().map(|cipher| cipher.share.count).sum::<u64>(), tls, "ciphers");
    assert_eq!(summary.groups.iter().map(|share| share.count).sum::<u64>(), tls, "groups");
    let services = summary.services.iter().map(|share| share.count).sum::<u64>();
    assert_eq!(services, tls + summary.plaintext_sessions, "services");
    let secrecy = &summary.forward_secret;
    assert_eq!(secrecy.yes + secrecy.anonymous + secrecy.no + secrecy.unknown, tls, "forward secrecy");
    let quantum = &summary.post_quantum;
    assert_eq!(quantum.yes + quantum.no + quantum.unknown, tls, "post-quantum");
    let failures =
        summary.failures.iter().map(|failure| failure.count).sum::<u64>() + summary.failures_of_other_reasons;
    let others = summary.plaintext_sessions + summary.proxied_or_local_logins + summary.outgoing;
    assert!(tls + others + failures <= summary.relevant, "{summary:?}");
}

/// What a stranger wrote into a log does nothing to a terminal.
fn shows(summary: &Summary) {
    let table = summary.to_string();
    // Headings are bold, and nothing else is.
    for line in table.replace("\u{1b}[1m", "").replace("\u{1b}[0m", "").split('\n') {
        assert!(!line.chars().any(char::is_control), "{line:?} would reach a terminal");
    }
    let json = serde_json::to_string(summary).unwrap_or_else(|error| panic!("{error}"));
    let _: serde_json::Value = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}"));
}

/// Two files come to the same as one, wherever it is parted between lines.
fn in_two(summary: &Summary, log: &[u8]) {
    let places: Vec<usize> =
        log.iter().enumerate().filter(|(_, octet)| **octet == b'\n').map(|(at, _)| at + 1).collect();
    let Some(place) = places.get(usize::try_from(seed(log)).unwrap_or_default() % places.len().max(1)) else { return };
    let (first, second) = log.split_at(*place);
    if let Some(parted) = read(&[first, second], u64::MAX) {
        assert_eq!(parted, *summary, "parted at {place}");
    }
}

/// A log that comes whole ([`u64::MAX`]), octet by octet (0), or in pieces by that seed.
struct Pieces<'a> {
    octets: &'a [u8],
    cuts: u64,
    state: u64,
}

impl Read for Pieces<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(into)?;
        self.consume(n);
        Ok(n)
    }
}

impl BufRead for Pieces<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let piece = match self.cuts {
            u64::MAX => usize::MAX,
            0 => 1,
            _ => 1 + usize::try_from(self.state % 61).unwrap_or_default(),
        };
        Ok(&self.octets[..piece.min(self.octets.len())])
    }

    fn consume(&mut self, n: usize) {
        self.state = next(self.state);
        self.octets = &self.octets[n..];
    }
}
