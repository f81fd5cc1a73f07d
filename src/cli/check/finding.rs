//! What a check found, a line each, for people and for scripts.

use std::io::{self, Write};
use std::process::ExitCode;

use owo_colors::{OwoColorize, Style};
use serde::Serialize;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// `config`, `certificate`, `tls` or `backend`.
    pub area: &'static str,
    /// Which one.
    pub subject: String,
    /// How good it is.
    pub verdict: Verdict,
    /// What was found.
    pub message: String,
    /// What to do about it.
    pub advice: Option<String>,
}

/// How good a thing is; the worst comes last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// As it has to be with a server of its age, and worth knowing: nothing here repairs it.
    Note,
    /// It works, but not for everybody or not for long.
    Warn,
    /// It does not work, or is not safe.
    Fail,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }

    fn style(self) -> Style {
        match self {
            Self::Ok => Style::new().green(),
            Self::Note => Style::new().cyan(),
            Self::Warn => Style::new().yellow().bold(),
            Self::Fail => Style::new().red().bold(),
        }
    }
}

/// Findings about one thing.
pub struct Findings<'a> {
    area: &'static str,
    subject: String,
    all: &'a mut Vec<Finding>,
}

impl<'a> Findings<'a> {
    pub fn new(area: &'static str, subject: impl Into<String>, all: &'a mut Vec<Finding>) -> Self {
        Self { area, subject: subject.into(), all }
    }

    pub fn ok(&mut self, message: impl Into<String>) {
        self.push(Verdict::Ok, message.into(), None);
    }

    pub fn note(&mut self, message: impl Into<String>, advice: impl Into<String>) {
        self.push(Verdict::Note, message.into(), Some(advice.into()));
    }

    pub fn warn(&mut self, message: impl Into<String>, advice: impl Into<String>) {
        self.push(Verdict::Warn, message.into(), Some(advice.into()));
    }

    pub fn fail(&mut self, message: impl Into<String>, advice: impl Into<String>) {
        self.push(Verdict::Fail, message.into(), Some(advice.into()));
    }

    fn push(&mut self, verdict: Verdict, message: String, advice: Option<String>) {
        let advice = advice.filter(|advice| !advice.is_empty());
        self.all.push(Finding { area: self.area, subject: self.subject.clone(), verdict, message, advice });
    }
}

/// An error as the gate's modules write it, what is wrong first and what to do about it behind the last semicolon.
pub fn in_two(error: &str) -> (String, String) {
    let (message, advice) = error.rsplit_once("; ").unwrap_or((error, ""));
    (message.to_owned(), advice.to_owned())
}

/// 0 where all is well, or well enough; 1 for warnings with `strict`; 2 for failures.
pub fn exit_code(findings: &[Finding], strict: bool) -> ExitCode {
    match findings.iter().map(|finding| finding.verdict).max() {
        Some(Verdict::Fail) => ExitCode::from(2),
        Some(Verdict::Warn) if strict => ExitCode::from(1),
        _ => ExitCode::SUCCESS,
    }
}

/// One aligned line a finding, what to do below it, and a sum.
pub fn print(findings: &[Finding], out: &mut impl Write) -> io::Result<()> {
    let width = |column: fn(&Finding) -> &str| findings.iter().map(|f| column(f).chars().count()).max().unwrap_or(0);
    let (area, subject) = (width(|finding| finding.area), width(|finding| &finding.subject));
    for finding in findings {
        let verdict = format!("{:<4}", finding.verdict.word());
        write!(out, "{}  {:<area$}  ", verdict.style(finding.verdict.style()), finding.area)?;
        writeln!(out, "{:<subject$}  {}", finding.subject, finding.message)?;
        for (number, line) in finding.advice.iter().flat_map(|advice| advice.lines()).enumerate() {
            let arrow = if number == 0 { "→" } else { " " };
            writeln!(out, "      {} {line}", arrow.dimmed())?;
        }
    }
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    let [ok, note, warn, fail] = [Verdict::Ok, Verdict::Note, Verdict::Warn, Verdict::Fail].map(count);
    writeln!(out, "\n{ok} ok, {note} to know, {warn} to look at, {fail} to repair")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(verdicts: &[Verdict]) -> Vec<Finding> {
        let mut all = Vec::new();
        for verdict in verdicts {
            let mut findings = Findings::new("backend", "smtp → unix:/ü", &mut all);
            match verdict {
                Verdict::Ok => findings.ok("greets"),
                Verdict::Note => findings.note("is old", "keep it in"),
                Verdict::Warn => findings.warn("is slow", ""),
                Verdict::Fail => findings.fail("is not there", "start it\nand test again"),
            }
        }
        all
    }

    #[test]
    fn the_worst_finding_decides() {
        use Verdict::{Fail, Note, Ok, Warn};
        for (verdicts, lenient, strict) in [
            (&[][..], 0, 0),
            (&[Ok], 0, 0),
            (&[Note, Ok], 0, 0),
            (&[Warn, Ok], 0, 1),
            (&[Fail, Warn], 2, 2),
            (&[Ok, Fail], 2, 2),
        ] {
            let all = findings(verdicts);
            assert_eq!(exit_code(&all, false), ExitCode::from(lenient), "{verdicts:?}");
            assert_eq!(exit_code(&all, true), ExitCode::from(strict), "{verdicts:?}");
        }
    }

    #[test]
    fn lines_are_aligned_and_say_what_to_do() {
        let mut all = findings(&[Verdict::Ok, Verdict::Fail, Verdict::Warn, Verdict::Note]);
        Findings::new("config", "a.toml", &mut all).ok("reads");
        let mut out = Vec::new();
        print(&all, &mut out).unwrap();
        let plain = anstream::adapter::strip_str(std::str::from_utf8(&out).unwrap()).to_string();
        let expected = "\
ok    backend  smtp → unix:/ü  greets
fail  backend  smtp → unix:/ü  is not there
      → start it
        and test again
warn  backend  smtp → unix:/ü  is slow
note  backend  smtp → unix:/ü  is old
      → keep it in
ok    config   a.toml          reads

2 ok, 1 to know, 1 to look at, 1 to repair
";
        assert_eq!(plain, expected);
    }

    #[test]
    fn every_verdict_of_the_json_is_in_the_document() {
        let formats = include_str!("../../../docs/formats.md");
        let (_, check) = formats.split_once("\n## `sealgate check`\n").unwrap();
        let check = check.split("\n## ").next().unwrap();
        for verdict in [Verdict::Ok, Verdict::Note, Verdict::Warn, Verdict::Fail] {
            let serde_json::Value::String(value) = serde_json::to_value(verdict).unwrap() else {
                panic!("{verdict:?}")
            };
            assert!(check.contains(&format!("`{value}`, ")), "{value}");
        }
        for key in ["area", "subject", "verdict", "message", "advice"] {
            assert!(check.contains(&format!("| `{key}` |")), "{key}");
        }
    }

    #[test]
    fn json_has_the_same_five_fields_for_every_finding() {
        let all = findings(&[Verdict::Ok, Verdict::Fail]);
        let expected = serde_json::json!([
            {"area": "backend", "subject": "smtp → unix:/ü", "verdict": "ok", "message": "greets", "advice": null},
            {"area": "backend", "subject": "smtp → unix:/ü", "verdict": "fail", "message": "is not there",
             "advice": "start it\nand test again"},
        ]);
        assert_eq!(serde_json::to_value(&all).unwrap(), expected);
    }
}
