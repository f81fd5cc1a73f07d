//! What the documents point at is there.
#![cfg(test)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// Every file below the directory with that extension.
fn files(directory: &str, extension: &str) -> Vec<PathBuf> {
    let (mut found, mut directories) = (Vec::new(), vec![root().join(directory)]);
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found
}

#[test]
fn every_test_that_the_threat_model_names_exists() {
    let mut functions = BTreeSet::new();
    for path in [files("src", "rs"), files("tests", "rs")].concat() {
        let text = std::fs::read_to_string(&path).unwrap();
        functions.extend(text.split("fn ").skip(1).filter_map(|rest| Some(rest.split_once('(')?.0.to_owned())));
    }
    let text = std::fs::read_to_string(root().join("docs/threat-model.md")).unwrap();
    // Test names are sentences, and nothing else in code font has as many words.
    let named: Vec<&str> = text
        .split('`')
        .skip(1)
        .step_by(2)
        .map(|code| code.rsplit("::").next().unwrap_or(code))
        .filter(|code| {
            code.matches('_').count() >= 3 && code.bytes().all(|octet| octet == b'_' || octet.is_ascii_alphanumeric())
        })
        .collect();
    assert!(named.len() > 10, "only {} names were found", named.len());
    let missing: Vec<_> = named.iter().filter(|name| !functions.contains(**name)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn every_relative_link_leads_somewhere() {
    let mut count = 0;
    for document in [vec![root().join("README.md")], files("docs", "md")].concat() {
        let text = std::fs::read_to_string(&document).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0)) {
            if link.contains("://") || link.starts_with('#') {
                continue;
            }
            let target = document.parent().unwrap().join(link.split('#').next().unwrap_or(link));
            assert!(target.exists(), "{}: {link}", document.display());
            count += 1;
        }
    }
    assert!(count > 0, "no link was found");
}

#[test]
fn the_rust_that_it_takes_is_the_manifests() {
    let manifest: toml::Table = std::fs::read_to_string(root().join("Cargo.toml")).unwrap().parse().unwrap();
    let named = format!("Rust {}", manifest["package"]["rust-version"].as_str().unwrap());
    for document in ["README.md", "docs/architecture.md"] {
        let text = std::fs::read_to_string(root().join(document)).unwrap();
        assert!(text.contains(&named), "{document} does not say {named}");
    }
}

/// The reference rounds; it must not go on telling what a session took long ago.
#[test]
fn what_a_session_at_rest_takes_is_what_was_measured() {
    let results = std::fs::read_to_string(root().join("docs/performance/results.json")).unwrap();
    let results: serde_json::Value = serde_json::from_str(&results).unwrap();
    let idle =
        results["cases"].as_array().unwrap().iter().filter(|case| case["id"].as_str().unwrap().starts_with("idle-"));
    let most = idle.map(|case| {
        assert_eq!(case["measures"][0]["subject"], "Sealgate");
        case["measures"][0]["samples"][0]["cost"].as_f64().unwrap()
    });
    let most = most.reduce(f64::max).unwrap();
    let reference = std::fs::read_to_string(root().join("config/sealgate.toml")).unwrap();
    let (_, said) = reference.split_once("One at rest takes some ").unwrap();
    let said: f64 = said.split(' ').next().unwrap().parse().unwrap();
    assert!((said - most).abs() < 1.0, "{said} KiB is said, {most} were measured");
}
