//! The documents name things that exist.

#![allow(clippy::unwrap_used, clippy::panic)] // a test: a panic is how it fails

use std::collections::BTreeSet;
use std::path::Path;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = repository().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names of all functions in the Rust files below a directory.
fn functions(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            functions(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let names = text.split("fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next());
            found.extend(names.map(str::to_owned));
        }
    }
}

#[test]
fn every_test_that_the_threat_model_names_exists() {
    let mut existing = BTreeSet::new();
    functions(&repository().join("src"), &mut existing);
    functions(&repository().join("tests"), &mut existing);
    let text = read("docs/threat-model.md");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")?.rsplit_once(" | "));
    let named: Vec<&str> =
        rows.flat_map(|(_, held_by)| held_by.split('`').skip(1).step_by(2)).filter(|name| name.contains('_')).collect();
    assert!(named.len() > 40, "the table was not read: {named:?}");
    let missing: Vec<_> = named.iter().filter(|name| !existing.contains(**name)).collect();
    assert!(missing.is_empty(), "no such tests: {missing:#?}");
}

#[test]
fn every_link_in_the_documents_leads_somewhere() {
    let mut links = 0;
    for document in ["README.md", "docs/architecture.md", "docs/formats.md", "docs/threat-model.md"] {
        let folder = Path::new(document).parent().unwrap();
        for target in read(document).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = target.split('#').next().unwrap_or_default();
            if target.is_empty() || target.starts_with("http") {
                continue;
            }
            links += 1;
            assert!(repository().join(folder).join(target).exists(), "{document}: {target}");
        }
    }
    assert!(links > 5, "no links were read");
}
