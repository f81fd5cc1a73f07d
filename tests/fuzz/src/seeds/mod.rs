//! The conversations that fuzzing starts from, as they are told in Sealgate's own tests, in a form that people can read.
//!
//! `cargo run --example seeds` writes them to `corpus/`; `tests/corpus.rs` keeps the two the same.

mod files;
mod imap;
mod smtp;

use crate::script::{BACKEND, CLIENT, CUT, ENDED, REPEAT};

/// One input to start from.
pub struct Seed {
    /// Whose corpus it is in.
    pub target: &'static str,
    /// Its file's name.
    pub name: String,
    /// The input.
    pub input: Vec<u8>,
}

/// All of them.
pub fn all() -> Vec<Seed> {
    let mut seeds = Vec::new();
    smtp::add(&mut seeds);
    imap::add(&mut seeds);
    files::add(&mut seeds);
    seeds
}

/// One thing that happens.
#[derive(Clone, Copy)]
enum Tell<'a> {
    /// The client says.
    C(&'a str),
    /// The backend says.
    B(&'a str),
    /// Something happens that is no octets.
    E(u8),
}

/// The client goes, the backend goes, somebody is silent, the gate stops, a message drips in.
const CLIENT_ENDS: u8 = 0;
const CLIENT_TORN: u8 = 1;
const BACKEND_ENDS: u8 = 2;
const DEADLINE: u8 = 3;
const DRAIN: u8 = 4;
const TOO_SLOW: u8 = 5;

/// In what is told, `¦` is a cut and `‹x×n›` the octet x, two to the nth times.
fn input(settings: u8, told: &[Tell<'_>]) -> Vec<u8> {
    let mut octets = vec![settings];
    for tell in told {
        match tell {
            Tell::C(text) => say(CLIENT, text, &mut octets),
            Tell::B(text) => say(BACKEND, text, &mut octets),
            Tell::E(what) => octets.extend_from_slice(&[ENDED, *what]),
        }
    }
    octets
}

fn say(who: u8, text: &str, octets: &mut Vec<u8>) {
    octets.push(who);
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '¦' => octets.push(CUT),
            '‹' => {
                let repeated: String = letters.by_ref().take_while(|letter| *letter != '›').collect();
                let (octet, exponent) = repeated.split_once('×').unwrap_or((&repeated, "0"));
                octets.extend_from_slice(&[REPEAT, exponent.parse().unwrap_or_default()]);
                octets.extend_from_slice(octet.as_bytes());
            }
            letter => octets.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}
