//! Every target, on its corpus and on seeded mutations of it: what libFuzzer does, for seconds and without libFuzzer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use sealgate_fuzz::script::{next, seed};
use sealgate_fuzz::{TARGETS, Target, seeds};

/// Mutations of each file; set `SEALGATE_FUZZ_MUTATIONS` for more.
const MUTATIONS: u64 = 100;

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
}

fn files(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(corpus(target)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

/// Runs an input; on failure says which it was.
fn run(target: Target, input: &[u8], what: &str) {
    if catch_unwind(AssertUnwindSafe(|| target(input))).is_err() {
        panic!("{what}: {:?}", String::from_utf8_lossy(input));
    }
}

/// What libFuzzer does to an input, in short: octets changed, taken out, doubled, and brought in from another one.
fn mutated(input: &[u8], other: &[u8], mut random: u64) -> Vec<u8> {
    const LIKELY: &[u8] = b"\r\n.\0 {+}()\"*\\\xf8\xf9\xfa\xfb0123aA";
    let mut roll = |below: usize| {
        random = next(random);
        usize::try_from((random >> 16) % below.max(1) as u64).unwrap()
    };
    let mut octets = input.to_vec();
    for _ in 0..=roll(4) {
        let at = roll(octets.len() + 1);
        let len = roll(12);
        let to = (at + len).min(octets.len());
        match roll(5) {
            0 => drop(octets.drain(at..to)),
            1 => octets.insert(at, LIKELY[roll(LIKELY.len())]),
            2 if at < octets.len() => octets[at] = LIKELY[roll(LIKELY.len())],
            3 => {
                let again = octets[at..to].to_vec();
                octets.splice(at..at, again);
            }
            _ => {
                let from = roll(other.len() + 1);
                let until = (from + roll(40)).min(other.len());
                octets.splice(at..at, other[from..until].iter().copied());
            }
        }
    }
    octets
}

fn mutate(name: &str) {
    let target = TARGETS.iter().find(|(target, _)| *target == name).unwrap().1;
    let files = files(name);
    let times = std::env::var("SEALGATE_FUZZ_MUTATIONS").map_or(MUTATIONS, |times| times.parse().unwrap());
    for (place, (path, input)) in files.iter().enumerate() {
        run(target, input, &path.display().to_string());
        for time in 0..times {
            let random = next(seed(input) ^ time);
            let other = &files[(place + usize::try_from(random % 1009).unwrap()) % files.len()].1;
            let input = mutated(input, other, random);
            run(target, &input, &format!("mutation {time} of {}", path.display()));
        }
    }
    assert!(files.len() >= 24, "{} files are no corpus", files.len());
}

#[test]
fn smtp_preambles_answer_every_line_once() {
    mutate("smtp_preamble");
}

#[test]
fn smtp_dialogues_are_the_same_from_both_ends() {
    mutate("smtp_dialogue");
}

#[test]
fn messages_arrive_as_they_were_meant() {
    mutate("content");
}

#[test]
fn imap_preambles_answer_every_line_once() {
    mutate("imap_preamble");
}

#[test]
fn imap_dialogues_are_the_same_from_both_ends() {
    mutate("imap_dialogue");
}

#[test]
fn proxy_headers_are_read_to_their_end_and_no_further() {
    mutate("proxy_header");
}

#[test]
fn any_text_is_a_configuration_or_mistakes_that_point_into_it() {
    mutate("config");
}

#[test]
fn any_log_is_counted_line_by_line() {
    mutate("report");
}

#[test]
fn every_target_has_a_test_a_corpus_and_a_dictionary() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    assert!(TARGETS.len() >= 8);
    for (name, _) in TARGETS {
        assert!(include_str!("corpus.rs").contains(&format!("mutate(\"{name}\")")), "{name}");
        assert!(root.join(format!("fuzz_targets/{name}.rs")).is_file(), "{name}");
        assert!(root.join(format!("dictionaries/{name}.dict")).is_file(), "{name}");
        assert!(corpus(name).is_dir(), "{name}");
    }
}

#[test]
fn every_seed_is_in_the_corpus() {
    let seeds = seeds::all();
    assert!(seeds.len() > 100);
    for seed in seeds {
        let path = corpus(seed.target).join(&seed.name);
        assert!(
            std::fs::read(&path).ok().as_ref() == Some(&seed.input),
            "{}: cargo run --example seeds",
            path.display()
        );
    }
}
