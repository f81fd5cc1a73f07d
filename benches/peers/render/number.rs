//! How numbers, units and verdicts are written.

use super::figures::{Goal, Spread, Verdict};
use crate::results::Unit;

/// What stands for a figure that is not there.
pub const NONE: &str = "–";

/// Three digits that count, or all of those before the point: `8.21`, `35.4`, `1,860`.
pub fn number(figure: f64) -> String {
    match figure.abs() {
        small if small < 9.995 => format!("{figure:.2}"),
        middle if middle < 99.95 => format!("{figure:.1}"),
        _ => grouped(&format!("{figure:.0}")),
    }
}

/// `1 round`, `5 rounds`
pub fn rounds(count: usize) -> String {
    format!("{count} round{}", if count == 1 { "" } else { "s" })
}

/// A mark on an axis: no more digits than its step has.
pub fn mark(figure: f64, step: f64) -> String {
    match step {
        whole if whole >= 1.0 => grouped(&format!("{figure:.0}")),
        part => format!("{figure:.digits$}", digits = -part.log10().floor() as usize),
    }
}

/// Microseconds in the unit that keeps them short: `310 µs`, `1,460 ms`, `21.0 s`.
pub fn latency(micros: f64) -> String {
    match micros {
        short if short < 1e4 => format!("{} µs", number(short)),
        middle if middle < 1e7 => format!("{} ms", number(middle / 1e3)),
        long => format!("{} s", number(long / 1e6)),
    }
}

fn grouped(digits: &str) -> String {
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    let length = digits.trim_start_matches('-').len();
    for (index, digit) in digits.trim_start_matches('-').chars().enumerate() {
        if index > 0 && (length - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if digits.starts_with('-') { format!("-{text}") } else { text }
}

/// `×1.90`
pub fn times(ratio: &Spread) -> String {
    format!("×{}", number(ratio.median))
}

/// `1.85–1.97`; none where there was one round only.
pub fn range(spread: &Spread) -> Option<String> {
    (spread.least < spread.most).then(|| format!("{}–{}", number(spread.least), number(spread.most)))
}

/// `±2.1 %`; none where there was one round only.
pub fn half_range(spread: &Spread) -> Option<String> {
    spread.half_range().map(|part| format!("±{:.1} %", part * 100.0))
}

/// `≤ 0.65 of HAProxy: 0.52, met`, in its two parts; the first is missing where nothing was aimed at.
pub fn goal(goal: &Goal<'_>) -> (Option<String>, String) {
    let Goal { best, achieved, target } = goal;
    let Some(target) = target else { return (None, format!("{} of {best}", number(achieved.median))) };
    let verdict = match target.verdict {
        Verdict::Met => "met",
        Verdict::WithinSpread => "missed within the spread",
        Verdict::Missed => "missed",
    };
    let aim = format!("≤ {} of {best}", number(target.part));
    (Some(aim), format!("{}, {verdict}", number(achieved.median)))
}

impl Unit {
    /// As a heading: what the figures of a case count.
    pub fn heading(self) -> &'static str {
        match self {
            Self::CpuMsPer1000 => "ms of CPU per 1,000",
            Self::CpuMsPerGiB => "ms of CPU per GiB",
            Self::KiBPerSession => "KiB a session",
            Self::MicrosP50 => "µs, median",
            Self::MicrosP99 => "µs, 99th percentile",
        }
    }

    /// The same for one who has read nothing else.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::CpuMsPer1000 => "Milliseconds of server CPU, user and system, per 1,000 operations",
            Self::CpuMsPerGiB => "Milliseconds of server CPU, user and system, per GiB",
            Self::KiBPerSession => "KiB of memory (PSS) a session, over the empty process",
            Self::MicrosP50 => "Microseconds of a round trip, median",
            Self::MicrosP99 => "Microseconds of a round trip, 99th percentile",
        }
    }

    /// What a throughput counts a second.
    pub fn throughput(self) -> &'static str {
        match self {
            Self::CpuMsPerGiB => " MiB/s",
            _ => "/s",
        }
    }
}

/// The text in lines of at most so many characters, broken at spaces.
pub fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
