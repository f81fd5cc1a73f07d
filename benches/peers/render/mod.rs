//! From [`Results`] to what people read: a table for the terminal, and a page with charts for the documents.
//!
//! `figures` has the statistics, `number` how a number is written; the others are one form of report each.

mod chart;
mod figures;
mod markdown;
mod number;
mod table;

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, ensure};

use crate::results::Results;

pub use chart::chart;
pub use markdown::markdown;
pub use table::table;

/// Writes `results.json`, `results.md` and a chart a case into the directory, which is made if need be.
///
/// What an earlier run left in `results.json` is kept as far as [`merge`] keeps it.
pub fn write(results: &Results, directory: &Path) -> anyhow::Result<()> {
    // An id becomes the name of a file beside results.json, and a link in results.md.
    for case in &results.cases {
        let plain = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'-';
        ensure!(!case.id.is_empty() && case.id.bytes().all(plain), "{:?} is no id: a-z, 0-9 and - only", case.id);
    }
    fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    let put = |name: &str, text: &str| {
        let path = directory.join(name);
        fs::write(&path, text).with_context(|| path.display().to_string())
    };
    let path = directory.join("results.json");
    let results = match fs::read(&path) {
        Ok(old) => {
            let old = serde_json::from_slice(&old).with_context(|| path.display().to_string())?;
            merge(old, results.clone())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => results.clone(),
        Err(error) => return Err(error).with_context(|| path.display().to_string()),
    };
    put("results.json", &(serde_json::to_string_pretty(&results)? + "\n"))?;
    put("results.md", &markdown(&results))?;
    for case in &results.cases {
        if let Some(chart) = chart(case) {
            put(&format!("{}.svg", case.id), &chart)?;
        }
    }
    Ok(())
}

/// The cases of a later run in the places of their predecessors, and those that are new behind them.
///
/// A case is replaced as a whole, since only subjects that took turns with each other can be compared. Figures of another
/// machine cannot stand in one table with these, so `old` is dropped where the machine is not the same.
pub fn merge(old: Results, new: Results) -> Results {
    if old.machine != new.machine {
        return new;
    }
    let Results { began, machine, mut versions, rounds, cases: mut later } = new;
    let mut cases = Vec::with_capacity(old.cases.len() + later.len());
    for case in old.cases {
        match later.iter().position(|new| new.id == case.id) {
            Some(index) => cases.push(later.remove(index)),
            None => cases.push(case),
        }
    }
    cases.extend(later);
    // Of what was measured in this run, the version is the later one; of the rest, only what still has a figure is named.
    let named: BTreeSet<String> = versions.iter().map(|(name, _)| name.clone()).collect();
    let shown: BTreeSet<&str> = subjects_of(&cases);
    versions
        .extend(old.versions.into_iter().filter(|(name, _)| !named.contains(name) && shown.contains(name.as_str())));
    Results { began, machine, versions, rounds, cases }
}

fn subjects_of(cases: &[crate::results::Case]) -> BTreeSet<&str> {
    cases.iter().flat_map(|case| &case.measures).map(|measure| measure.subject.as_str()).collect()
}
