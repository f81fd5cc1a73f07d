use std::collections::BTreeSet;

use super::*;

const REFERENCE: &str = include_str!("../../../config/sealgate.toml");

/// The (table, key) pairs of a TOML text by its lines alone, `# key = value` included.
fn keys_by_line(text: &str) -> BTreeSet<(String, String)> {
    let mut table = String::new();
    let mut keys = BTreeSet::new();
    for line in text.lines() {
        if let Some(header) = line.strip_prefix('[') {
            table = header.trim_matches(['[', ']']).to_owned();
            let (parent, key) = table.rsplit_once('.').unwrap_or(("", &table));
            keys.insert((parent.to_owned(), key.to_owned()));
        } else if let Some((key, _)) = line.trim_start_matches("# ").split_once(" = ")
            && key.bytes().all(|octet| octet.is_ascii_lowercase() || octet == b'_')
        {
            keys.insert((table.clone(), key.to_owned()));
        }
    }
    keys
}

#[test]
fn the_reference_has_every_key_that_the_reader_knows_and_no_other() {
    let notes = Notes::default();
    let root = DeTable::parse(REFERENCE).unwrap();
    Table::read_root(root.get_ref(), &notes, |top| config(top, Path::new(""))).unwrap();
    assert!(notes.is_empty(), "{notes:?}");
    let known: BTreeSet<_> = notes.known().into_iter().map(|(table, key)| (table, key.to_owned())).collect();
    assert_eq!(keys_by_line(REFERENCE), known);
}

#[test]
fn every_option_of_the_reference_has_a_comment_above() {
    let mut above = "";
    for line in REFERENCE.lines() {
        if line.starts_with(|c: char| c.is_ascii_lowercase()) {
            assert!(above.starts_with("# "), "{line}");
        }
        above = line;
    }
}

#[test]
fn what_is_commented_out_in_the_reference_is_valid() {
    let text = REFERENCE
        .replace("# client_ca =", "client_ca =")
        .replace("_certificates = \"none\"", "_certificates = \"request\"");
    let config = Config::parse(&text, Path::new("x.toml")).unwrap();
    assert_eq!(
        config.tls.client_certificates,
        ClientCertificates::Request { ca: "/etc/sealgate/client-ca.pem".into() }
    );
}

#[test]
fn what_is_quoted_of_the_file_does_not_act_on_a_terminal() {
    let text = "hostname = \"mail\u{1b}]0;x\u{7}\"\n[[listener]]\nbackend = \"/run\u{0}\u{9b}1m\"\n";
    let shown = Config::parse(text, Path::new("x.toml")).unwrap_err().to_string();
    assert!(!shown.contains(|letter: char| letter.is_control() && letter != '\n'), "{shown:?}");
}

/// As root, whom no mode of a file keeps out, there is nothing to try it on.
#[test]
fn a_configuration_that_may_not_be_read_is_a_matter_of_rights() {
    let denied = io::Error::from_raw_os_error(libc::EACCES);
    let told = ("Permission denied (os error 13)".to_owned(), "the user that starts sealgate needs read access");
    assert_eq!(unreadable(&denied), told);
    let absent = io::Error::from_raw_os_error(libc::ENOENT);
    assert_eq!(unreadable(&absent).1, "name the file with --config FILE");
}
