//! Sealgate's fuzz targets: what they play, and what must hold of it.
//!
//! # Layout
//!
//! ```text
//!  input ──▶ script ──▶ driver | cleartext ──▶ smtp, imap        conversations: whole and cut, then both ends' views
//!       └──▶ proxy, config, report                               one part each
//! ```
//!
//! Every target is a plain function that panics on what must not be; [`TARGETS`] lists them. libFuzzer calls them by
//! `fuzz_targets/`, `tests/corpus.rs` with the checked-in corpus and mutations of it.

pub mod cleartext;
pub mod config;
pub mod driver;
pub mod fixtures;
pub mod imap;
pub mod proxy;
pub mod report;
pub mod script;
pub mod seeds;
pub mod seen;
pub mod smtp;

/// A target: one input, and a panic if something is wrong.
pub type Target = fn(&[u8]);

/// All of them, by their names.
pub const TARGETS: &[(&str, Target)] = &[
    ("smtp_preamble", smtp::preamble),
    ("smtp_dialogue", smtp::dialogue),
    ("content", smtp::content),
    ("imap_preamble", imap::preamble),
    ("imap_dialogue", imap::dialogue),
    ("proxy_header", proxy::header),
    ("config", config::config),
    ("report", report::report),
];

/// Runs the files named on the command line, and those in directories, through one target: how a finding is looked at without
/// a fuzzer.
pub fn replay(target: Target) {
    let mut paths: Vec<_> = std::env::args_os().skip(1).map(std::path::PathBuf::from).collect();
    while let Some(path) = paths.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            paths.extend(entries.flatten().map(|entry| entry.path()));
            continue;
        }
        let input = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        println!("{}", path.display());
        target(&input);
    }
}

/// The `main` of a fuzz target.
#[macro_export]
macro_rules! target {
    ($target:path) => {
        #[cfg(fuzzing)]
        libfuzzer_sys::fuzz_target!(|input: &[u8]| $target(input));

        #[cfg(not(fuzzing))]
        fn main() {
            $crate::replay($target);
        }
    };
}
