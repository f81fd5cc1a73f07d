//! Who may import whom: the table in docs/architecture.md, kept by reading the sources.
#![cfg(test)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What a rule says of a path that its module names.
enum Rule {
    /// Of our own modules only these, and their children.
    Ours(&'static [&'static str]),
    /// Of other crates only these.
    Crates(&'static [&'static str]),
    /// None of these, ours or others'.
    Not(&'static [&'static str]),
}

/// The table: a module with its children, and what it may name.
const RULES: &[(&str, Rule)] = &[
    ("protocol", Rule::Ours(&["protocol", "facts"])),
    ("protocol", Rule::Crates(&["std", "core", "bytes", "fearless_simd", "memchr", "thiserror"])),
    ("protocol::smtp", Rule::Not(&["protocol::imap"])),
    ("protocol::imap", Rule::Not(&["protocol::smtp"])),
    ("relay", Rule::Not(&["protocol::smtp", "protocol::imap"])),
    ("facts", Rule::Ours(&["facts"])),
    ("config", Rule::Ours(&["config", "facts", "protocol"])),
    ("config", Rule::Not(&["tokio", "tokio_rustls", "rustls", "tracing", "protocol::smtp", "protocol::imap"])),
    ("session_log", Rule::Ours(&["session_log", "facts", "config"])),
];

/// Nobody but these names `session`, which is above all the rest.
const MAY_NAME_SESSION: &[&str] = &["session", "listener", "server"];

/// A source file as a module.
struct Source {
    module: String,
    text: String,
}

#[test]
fn every_module_keeps_to_the_table() {
    let sources = sources();
    assert!(sources.len() > 20, "only {} files were found", sources.len());
    for (module, _) in RULES {
        assert!(sources.iter().any(|source| is_in(&source.module, module)), "no file of {module} was found");
    }
    let breaches = breaches(&sources, &crates());
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn a_breach_of_every_rule_is_seen() {
    let cases = [
        ("protocol::smtp::dialogue", "use crate::tls::Server;", "crate::tls::Server"),
        ("protocol::line", "use std::io;\nuse tokio::{net::TcpStream};", "tokio::net::TcpStream"),
        ("protocol::line", "fn f() { tracing::warn!(\"x\"); }", "tracing::warn"),
        ("protocol::smtp::body", "use super::super::imap::Imap;", "crate::protocol::imap::Imap"),
        ("protocol::imap", "use super::{Side, smtp};", "crate::protocol::smtp"),
        ("relay", "use crate::protocol::{Dialogue, smtp::Smtp};", "crate::protocol::smtp::Smtp"),
        ("facts", "use crate::config::Config;", "crate::config::Config"),
        ("config::file", "use tokio::fs;", "tokio::fs"),
        ("session_log::text", "use crate::relay::End;", "crate::relay::End"),
        ("backend", "fn f() -> crate::session::Shared { todo() }", "crate::session::Shared"),
        ("stream", "use crate::{session, tls};", "crate::session"),
    ];
    for (module, text, path) in cases {
        let source = Source { module: module.to_owned(), text: text.to_owned() };
        let found = breaches(&[source], &crates());
        assert!(found.len() == 1 && found[0].ends_with(path), "{module}: {text}: {found:?}");
    }
}

#[test]
fn comments_strings_and_what_is_allowed_are_no_breach() {
    let text = "//! As tokio::net does.\nuse bytes::Bytes; // tokio::net\nuse super::{Line, line::{self, Whole}};\n\
                use crate::facts::Peer;\nconst X: &str = \"crate::tls::Server\";\nfn f() { self::g(); Self::h() }";
    let source = Source { module: "protocol::smtp::command".to_owned(), text: text.to_owned() };
    assert_eq!(breaches(&[source], &crates()), Vec::<String>::new());
}

fn breaches(sources: &[Source], crates: &BTreeSet<String>) -> Vec<String> {
    let mut found = Vec::new();
    for Source { module, text } in sources {
        for path in paths(module, text, crates) {
            let ours = path.strip_prefix("crate::");
            let named = ours.unwrap_or(&path);
            let root = path.split("::").next().unwrap_or_default();
            let within = |list: &[&str]| list.iter().any(|entry| is_in(named, entry));
            let broken = RULES.iter().any(|(prefix, rule)| {
                is_in(module, prefix)
                    && match rule {
                        Rule::Ours(allowed) => ours.is_some() && !within(allowed),
                        Rule::Crates(allowed) => ours.is_none() && !allowed.contains(&root),
                        Rule::Not(refused) => within(refused),
                    }
            });
            let story = ours.is_some()
                && is_in(named, "session")
                && !MAY_NAME_SESSION.iter().any(|allowed| is_in(module, allowed));
            if broken || story {
                found.push(format!("{module} names {path}"));
            }
        }
    }
    found
}

/// Whether `path` is `module` or something in it.
fn is_in(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Every path that begins with one of our modules or another crate, those of `use` trees taken apart.
fn paths(module: &str, text: &str, crates: &BTreeSet<String>) -> BTreeSet<String> {
    let tokens = tokens(text);
    let mut found = BTreeSet::new();
    let mut at = 0;
    while at < tokens.len() {
        let mut names = Vec::new();
        if tokens[at] == "use" {
            at = use_tree(&tokens, at + 1, &[], &mut names);
        } else if is_name(&tokens[at]) && (at == 0 || tokens[at - 1] != "::") {
            at = use_tree(&tokens, at, &[], &mut names);
        } else {
            at += 1;
        }
        found.extend(names.iter().filter_map(|name| resolve(module, name, crates)));
    }
    found
}

/// Reads one path or tree from `at`; gives where it ends.
fn use_tree(tokens: &[String], mut at: usize, prefix: &[String], names: &mut Vec<Vec<String>>) -> usize {
    let mut path = prefix.to_vec();
    loop {
        match tokens.get(at).map(String::as_str) {
            Some("{") if !prefix.is_empty() || path.len() > prefix.len() => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token != "}") {
                    at = use_tree(tokens, at, &path, names).max(at + 1);
                    if tokens.get(at).is_some_and(|token| token == ",") {
                        at += 1;
                    }
                }
                return at + 1;
            }
            Some(name) if is_name(name) => path.push(name.to_owned()),
            _ => break,
        }
        at += 1;
        if tokens.get(at).is_none_or(|token| token != "::") {
            break;
        }
        at += 1;
    }
    names.push(path);
    at
}

/// The path from the crate's root, or from another crate's; nothing for what is neither.
fn resolve(module: &str, path: &[String], crates: &BTreeSet<String>) -> Option<String> {
    let first = path.first()?.as_str();
    if !matches!(first, "crate" | "super" | "self") {
        return (crates.contains(first) && path.len() > 1).then(|| path.join("::"));
    }
    let mut absolute: Vec<&str> = match first {
        "crate" => Vec::new(),
        _ => module.split("::").collect(),
    };
    let mut rest = path.iter().map(String::as_str).peekable();
    while let Some(step) = rest.next_if(|step| matches!(*step, "crate" | "super" | "self")) {
        if step == "super" {
            absolute.pop();
        }
    }
    absolute.extend(rest.filter(|step| *step != "self"));
    Some(["crate"].into_iter().chain(absolute).collect::<Vec<_>>().join("::"))
}

/// Names, `::`, braces and commas; comments and literals are left out.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skip = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if first == '"' {
            string_end(rest)
        } else if rest.starts_with("'\"'") || rest.starts_with("'{'") || rest.starts_with("'}'") {
            3
        } else if rest.starts_with("'\\") {
            4
        } else if first.is_alphabetic() || first == '_' {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            tokens.push(rest[..end].to_owned());
            end
        } else if rest.starts_with("::") {
            tokens.push("::".to_owned());
            2
        } else {
            if !first.is_whitespace() {
                tokens.push(first.to_string());
            }
            first.len_utf8()
        };
        rest = &rest[skip..];
    }
    tokens
}

fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// The crates that ours may name: std's and its dependencies.
fn crates() -> BTreeSet<String> {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let dependencies = manifest["dependencies"].as_table().unwrap();
    let names = dependencies.keys().map(|name| name.replace('-', "_"));
    names.chain(["std", "core", "alloc"].map(str::to_owned)).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// The library's files without their tests.
fn sources() -> Vec<Source> {
    let src = root().join("src");
    let (mut found, mut directories) = (Vec::new(), vec![src.clone()]);
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let module = path.strip_prefix(&src).unwrap().with_extension("");
                let parts: Vec<_> = module.iter().map(|part| part.to_str().unwrap()).collect();
                let parts = parts.strip_suffix(&["mod"]).unwrap_or(&parts);
                if !parts.contains(&"tests") && parts != ["main"] && parts != ["lib"] {
                    let text = std::fs::read_to_string(&path).unwrap();
                    // By habit a file's tests stand at its end.
                    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
                    found.push(Source { module: parts.join("::"), text: text[..end].to_owned() });
                }
            }
        }
    }
    found
}
