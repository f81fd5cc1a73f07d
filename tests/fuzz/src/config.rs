//! The configuration file: any text is a configuration, or mistakes that point into it.

use std::path::Path;

use sealgate::config::{Config, Errors, Mistake};

/// One input of the target `config`. Octets that are no UTF-8 never get as far as the parser.
pub fn config(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let parse = |text: &str| Config::parse(text, Path::new("/etc/sealgate/sealgate.toml"));
    match (parse(text), parse(text)) {
        (Ok(config), Ok(again)) => {
            assert_eq!(format!("{config:?}"), format!("{again:?}"), "two readings of one text");
            is_complete(&config);
            // What is whole stays the same with a comment behind it.
            let commented = parse(&format!("{text}\n# the end")).unwrap_or_else(|errors| panic!("{errors}"));
            assert_eq!(format!("{commented:?}"), format!("{config:?}"), "a comment changed it");
        }
        (Err(errors), Err(again)) => {
            assert_eq!(errors.to_string(), again.to_string(), "two readings of one text");
            assert!(!errors.mistakes().is_empty(), "refused for nothing");
            errors.mistakes().iter().for_each(|mistake| points(mistake, &errors, text));
            let _ = errors.styled();
            let shown = errors.to_string();
            assert!(!shown.is_empty());
            let acts = shown.chars().find(|letter| letter.is_control() && !matches!(letter, '\n' | '\t'));
            assert_eq!(acts, None, "it would reach a terminal");
        }
        _ => panic!("two readings of one text"),
    }
}

/// A mistake names what is wrong, and where.
fn points(mistake: &Mistake, errors: &Errors, text: &str) {
    assert!(!mistake.what.is_empty());
    let Some(span) = &mistake.span else { return };
    assert!(span.start <= span.end, "{mistake:?}");
    // The parser points one behind the end for what is missing there.
    assert!(span.start <= text.len() && span.end <= text.len() + 1, "{mistake:?} in {} octets", text.len());
    let Some((line, column)) = errors.place(mistake) else { panic!("{mistake:?} is nowhere") };
    let lines = text.matches('\n').count() + 1;
    assert!((1..=lines).contains(&line), "{mistake:?} in line {line} of {lines}");
    let long = text.split('\n').nth(line - 1).map_or(0, |line| line.chars().count());
    assert!((1..=long + 1).contains(&column), "{mistake:?} in column {column} of {long}");
}

/// What the rest of the program relies on.
fn is_complete(config: &Config) {
    assert!(!config.listeners.is_empty(), "no listener");
    assert!(!config.tls.certificates.is_empty(), "no certificate");
    assert!(!config.hostname.is_empty(), "no name");
    let name = config.hostname.bytes().all(|octet| octet.is_ascii_graphic());
    assert!(name, "{:?} would break a greeting", config.hostname);
    for listener in &config.listeners {
        assert!(!listener.listen.is_empty(), "{listener:?} listens nowhere");
        let identity = listener.identity != sealgate::config::ClientIdentity::None || listener.relay_as_proxy;
        assert!(identity || !listener.service.takes_mail(), "{listener:?} would be an open relay");
    }
}
