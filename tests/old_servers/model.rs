//! The model of Dovecot that the gate is held to (`tests/attacks/imap_model`), held to the real ones: what the gate lets through is said
//! to both, step by step, and both must find the same commands in it.

#[path = "../attacks/imap_model/dovecot.rs"]
#[allow(dead_code)] // the attacks use the rest
mod dovecot;
#[path = "../attacks/imap_model/session.rs"]
#[allow(dead_code)]
mod session;
#[path = "../attacks/imap_model/streams.rs"]
mod streams;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use dovecot::{Age, Talk};
use session::{End, Session};
use streams::{Dice, stream};

use crate::{Old, installed};

fn age(old: &Old) -> Age {
    match old.version.as_slice() {
        [1, ..] => Age::One,
        [2, 0 | 1, ..] => Age::Two,
        _ => Age::Three,
    }
}

/// Without what guessing costs; else this would take hours.
fn settings(old: &Old) -> &'static str {
    match old.version[0] {
        1 => "",
        _ => "auth_failure_delay = 0\nservice anvil {\n  unix_listener anvil-auth-penalty {\n    mode = 0\n  }\n}\n",
    }
}

/// What of a line says where a command ended: its tag, `+`, or that it is all over. Other lines are extras.
fn place(line: &str) -> Option<&str> {
    match line.split(' ').collect::<Vec<_>>().as_slice() {
        ["*", "BYE", ..] => Some("BYE"),
        ["*", "BAD", ..] => Some("*"),
        ["*", ..] => None,
        [tag, ..] => Some(tag.trim_ascii_end()),
        [] => None,
    }
}

/// What the gate makes of a client's octets, as the model has heard it and answered.
fn talk(seed: u64, age: Age) -> (Vec<Talk>, bool) {
    let octets = stream(&mut Dice(seed));
    let mut session = Session::new(age);
    session.client_says(&octets);
    session.settle(&|| format!("seed {seed}, {age:?}: {}", octets.escape_ascii()));
    let goes_on = matches!(session.end, End::Open | End::Spliced);
    (session.model.talk, goes_on)
}

/// Says it to the real one. Each of the model's answers must be there, and nothing else.
fn say(port: u16, talk: &[Talk], what: &str) -> usize {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    socket.set_read_timeout(Some(Duration::from_secs(30))).expect("an option");
    let mut lines = BufReader::new(socket.try_clone().expect("a socket"));
    let mut next = |awaited: &str| loop {
        let mut line = Vec::new();
        let read = lines.read_until(b'\n', &mut line);
        let line = String::from_utf8_lossy(&line).into_owned();
        match (read, place(&line)) {
            (Ok(1..), None) => {}
            (Ok(1..), Some(place)) => return place.to_owned(),
            (end, _) => panic!("{end:?} instead of {awaited:?}: {what}"),
        }
    };
    let mut agreed = 0;
    for step in talk {
        match step {
            Talk::Heard(octets) => socket.write_all(octets).expect("it listens"),
            Talk::Said(line) => {
                let Some(awaited) = place(line) else { continue };
                assert_eq!(next(line), awaited, "{what}");
                agreed += 1;
            }
        }
    }
    agreed
}

/// Every eighth talk, from this one on; how many answers were the same.
fn part(old: &Old, port: u16, first: u64) -> usize {
    (first..SEEDS)
        .step_by(TALKS)
        .map(|seed| {
            let (mut talk, goes_on) = talk(seed, age(old));
            if !goes_on {
                // The gate ends it in the middle of something.
                let last = talk.iter().rposition(|step| matches!(step, Talk::Said(_)));
                talk.truncate(last.map_or(0, |last| last + 1));
            }
            say(port, &talk, &format!("{:?}, seed {seed}: {talk:?}", old.version))
        })
        .sum()
}

const SEEDS: u64 = 120;

/// So many at a time: most of it is waiting for a login to fail.
const TALKS: usize = 8;

#[test]
#[ignore = "wants old servers that were built by hand"]
fn the_model_of_dovecot_finds_the_commands_where_every_real_one_does() {
    for old in installed("dovecot") {
        let dovecot = super::dovecot::start(&old, settings(&old));
        let (old, port) = (&old, dovecot.port);
        let agreed: usize = std::thread::scope(|scope| {
            let parts: Vec<_> = (0..8).map(|first| scope.spawn(move || part(old, port, first))).collect();
            parts.into_iter().map(|part| part.join().expect("they agree")).sum()
        });
        assert!(agreed > 100, "{:?}: {agreed}", old.version);
    }
}
