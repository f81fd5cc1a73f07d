//! From records and messages to what is written: lines for a stream, datagrams for the journal.

use std::fmt::Write as _;

use jiff::Zoned;
use jiff::fmt::temporal::DateTimePrinter;
use owo_colors::OwoColorize;

use super::fields::{self, Value};
use super::{Record, Stage, clean, journal, json, postfix, text};
use crate::config::{LogFormat, LogProgram};

/// How lines look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub format: LogFormat,
    pub program: LogProgram,
    /// Datagrams for the journal, which knows time and host itself.
    pub journal: bool,
    /// A person reads this on a terminal.
    pub colour: bool,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Error,
    Warning,
    Info,
    Debug,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Warning => "WARN",
            Self::Info => "INFO",
            Self::Debug => "DEBUG",
        }
    }

    /// What Postfix puts before a message.
    fn postfix(self) -> &'static str {
        match self {
            Self::Error => "error: ",
            Self::Warning => "warning: ",
            Self::Info | Self::Debug => "",
        }
    }

    /// Syslog's number (RFC 5424 §6.2.1).
    fn priority(self) -> u8 {
        match self {
            Self::Error => 3,
            Self::Warning => 4,
            Self::Info => 6,
            Self::Debug => 7,
        }
    }
}

/// A line before date, host and tag.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub level: Level,
    pub tag: String,
    /// Whether the process id stands behind the tag.
    pub pid: bool,
    pub text: String,
}

/// Makes log entries; shared by the sessions and the writer thread.
#[derive(Debug)]
pub(super) struct Renderer {
    look: Look,
    hostname: String,
    pid: u32,
}

impl Renderer {
    pub fn new(look: Look, hostname: &str) -> Self {
        Self { look, hostname: clean::bare(hostname), pid: std::process::id() }
    }

    #[cfg(test)]
    pub fn with_pid(self, pid: u32) -> Self {
        Self { pid, ..self }
    }

    /// Whether there are entries for a session at `stage`: most stages leave none, and cost nothing then.
    pub fn speaks(&self, stage: Stage, record: &Record) -> bool {
        match self.look.format {
            LogFormat::Postfix => postfix::speaks(stage, record),
            LogFormat::Text | LogFormat::Json => matches!(stage, Stage::Secured | Stage::Ended),
        }
    }

    /// The entries for a session at `stage`: none, one, or in `postfix` format several.
    pub fn record(&self, stage: Stage, record: &Record, now: &Zoned) -> Vec<Vec<u8>> {
        if !self.speaks(stage, record) {
            return Vec::new();
        }
        let postfix = self.look.format == LogFormat::Postfix;
        let fields = if postfix && !self.look.journal { Vec::new() } else { fields::of(stage, record) };
        if postfix {
            let lines = postfix::lines(self.look.program, self.pid, stage, record);
            return lines.iter().map(|line| self.frame(line, &fields, now)).collect();
        }
        let text = match self.look.format {
            LogFormat::Json => json::object(&rfc3339(now), &fields),
            LogFormat::Text | LogFormat::Postfix if self.look.journal => text::record(&fields),
            LogFormat::Text | LogFormat::Postfix => return vec![self.text_line(&fields, now)],
        };
        let line = Line { level: Level::Info, tag: "sealgate".to_owned(), pid: true, text };
        vec![self.frame(&line, &fields, now)]
    }

    /// A record's line in `text` format, which most hosts write thousands of: made in one piece.
    fn text_line(&self, fields: &[(&'static str, Value<'_>)], now: &Zoned) -> Vec<u8> {
        let mut line = String::with_capacity(512);
        if self.look.colour {
            // Writing to a String cannot fail.
            _ = write!(line, "{}", rfc3339(now).dimmed());
        } else {
            line.push_str(&rfc3339(now));
        }
        line.push(' ');
        text::append(fields, &mut line);
        line.push('\n');
        line.into_bytes()
    }

    /// The entry for an operational message.
    pub fn message(&self, level: Level, message: &str, extra: &[(&'static str, Value<'_>)], now: &Zoned) -> Vec<u8> {
        let message = clean::printable(message);
        let extra: Vec<_> = extra.iter().map(|(key, value)| (*key, value.printable())).collect();
        let mut words = message.clone().into_owned();
        if !extra.is_empty() {
            words.push(' ');
            words.push_str(&text::record(&extra));
        }
        let (tag, text) = match self.look.format {
            LogFormat::Json => {
                let mut fields = vec![
                    ("event", Value::Text("message".into())),
                    ("level", Value::Text(level.word().to_ascii_lowercase().into())),
                    ("message", Value::Text(message)),
                ];
                fields.extend(extra.iter().cloned());
                ("sealgate".to_owned(), json::object(&rfc3339(now), &fields))
            }
            LogFormat::Postfix => {
                (format!("{}/master", postfix::program(self.look.program)), format!("{}{words}", level.postfix()))
            }
            LogFormat::Text if self.look.journal => ("sealgate".to_owned(), words),
            LogFormat::Text => ("sealgate".to_owned(), format!("{} {words}", self.level_word(level))),
        };
        self.frame(&Line { level, tag, pid: true, text }, &extra, now)
    }

    fn frame(&self, line: &Line, fields: &[(&'static str, Value<'_>)], now: &Zoned) -> Vec<u8> {
        if self.look.journal {
            return journal::datagram(line, line.level.priority(), self.pid, fields);
        }
        let framed = match self.look.format {
            LogFormat::Json => format!("{}\n", line.text),
            LogFormat::Text if self.look.colour => format!("{} {}\n", rfc3339(now).dimmed(), line.text),
            LogFormat::Text => format!("{} {}\n", rfc3339(now), line.text),
            LogFormat::Postfix => {
                let pid = if line.pid { format!("[{}]", self.pid) } else { String::new() };
                // RFC 3164 §4.1.2, local time; the day is padded with a space.
                format!("{} {} {}{pid}: {}\n", now.strftime("%b %e %H:%M:%S"), self.hostname, line.tag, line.text)
            }
        };
        framed.into_bytes()
    }

    fn level_word(&self, level: Level) -> String {
        let word = level.word();
        if !self.look.colour {
            return word.to_owned();
        }
        match level {
            Level::Error => word.red().to_string(),
            Level::Warning => word.yellow().to_string(),
            Level::Info => word.green().to_string(),
            Level::Debug => word.dimmed().to_string(),
        }
    }
}

/// Much cheaper than a format string, which is read anew for every line.
const RFC3339: DateTimePrinter = DateTimePrinter::new().precision(Some(3));

/// Local time with its offset, to the millisecond.
fn rfc3339(now: &Zoned) -> String {
    RFC3339.timestamp_with_offset_to_string(&now.timestamp(), now.offset())
}
