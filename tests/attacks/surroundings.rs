//! What the machine does to the gate: a disk that is full, a clock that jumps.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::gate::{Gate, Setup};
use crate::support::logs::Log;
use crate::support::repository;
use crate::support::stack::{PASSWORD, User, stack};
use crate::support::wait::until;
use crate::support::warden;
use crate::support::wire::{Offer, Wire};

/// The lines of a JSON log that are whole, and how many say that others are lost, and how many of those.
fn whole_lines(log: &Log) -> Vec<Value> {
    log.text().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn is_record(line: &Value) -> bool {
    line["event"] == "secured" || line["event"] == "ended"
}

/// A whole session; its client's port.
fn session(gate: &Gate) -> u16 {
    let mut wire = gate.secured("submissions", &Offer::default().config());
    assert_eq!(wire.say("NOOP").code, 250);
    assert_eq!(wire.say("QUIT").code, 221);
    wire.end();
    wire.port
}

#[test]
fn a_full_disk_costs_log_lines_which_are_counted_and_no_session() {
    let (stack, _shown) = stack();
    // A disk of its own, 64 KiB large, which only this gate sees.
    let disk = warden::directory("disk");
    let mount = "mount -t tmpfs -o size=64k none \"$0\" && exec \"$@\"";
    let gate = Setup::new()
        .table(&format!("[log]\nformat = \"json\"\nto = \"{}\"", disk.join("log").display()))
        .listener("submissions", stack.postfix.proxy.submission, "proxy-v2")
        .wrapped(&["unshare", "-m", "sh", "-c", mount, &disk.to_string_lossy()])
        .start();
    let seen: PathBuf = format!("/proc/{}/root{}", gate.pid(), disk.display()).into();
    let log = Log::new(&seen.join("log"));
    session(&gate);
    let mut sessions = 1;
    until("the first session's records", || {
        (whole_lines(&log).iter().filter(|line| is_record(line)).count() == 2).then_some(())
    });

    fill(&seen.join("filler"));
    // What has been given to the file has room left in its last page; then nothing has.
    while !gate.log.text().contains("cannot write the log to") {
        session(&gate);
        sessions += 1;
        assert!(sessions < 200, "the disk is not full: {}", log.text());
    }
    // Many writes fail now, and one complaint is enough.
    for _ in 0..10 {
        session(&gate);
        sessions += 1;
    }
    std::fs::remove_file(seen.join("filler")).expect("the filler is ours");
    // Lines are counted when the next ones are written.
    let port = session(&gate);
    sessions += 1;
    until("records are written again", || {
        let lines = whole_lines(&log);
        lines.iter().any(|line| line["event"] == "ended" && line["client_port"] == port).then_some(())
    });
    let lines = whole_lines(&log);
    let kept = lines.iter().filter(|line| is_record(line)).count();
    let lost: u64 = (lines.iter())
        .filter(|line| line["message"] == "log lines were lost before this one")
        .map(|line| line["lines"].as_u64().or_else(|| line["lines"].as_str()?.parse().ok()).expect("a number"))
        .sum();
    assert!(lost > 10, "{lost} lines lost");
    assert_eq!(kept as u64 + lost, 2 * sessions, "two records a session, {lost} of them lost");
    let complaints = gate.log.text().matches("cannot write the log to").count();
    assert_eq!(complaints, 1, "{}", gate.log.text());
}

/// Takes what is left of the disk.
fn fill(file: &Path) {
    let mut file = std::fs::File::create(file).expect("a file");
    loop {
        match file.write(&[0; 512]) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::StorageFull => return,
            Err(error) => panic!("{error}"),
        }
    }
}

/// A gate whose wall clock is away from ours by the seconds in a file; the monotonic clock is left alone, as it is when somebody
/// sets the time.
fn with_a_clock(away: &Path) -> Gate {
    let (stack, _shown) = stack();
    let library = away.with_extension("so");
    let mut compile = Command::new("cc");
    compile.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(&library);
    let compiled = compile.arg(repository().join("tests/clients/clock.c")).output().expect("cc");
    assert!(compiled.status.success(), "{compiled:?}");
    std::fs::write(away, 0_i64.to_ne_bytes()).expect("a file");
    Setup::new()
        .table("[log]\nformat = \"json\"")
        .listener("smtp", stack.postfix.proxy.smtp, "proxy-v2")
        .listener("submissions", stack.postfix.proxy.submission, "proxy-v2")
        .listener("imaps", stack.dovecot.gated, "proxy-v2")
        .wrapped(&["env", &format!("LD_PRELOAD={}", library.display()), &format!("CLOCK_AWAY={}", away.display())])
        .start()
}

/// Sets the clock. The file is mapped: it is written where it is.
fn set(away: &Path, days: i64) {
    let mut file = std::fs::OpenOptions::new().write(true).open(away).expect("the file");
    file.write_all(&(days * 24 * 3600).to_ne_bytes()).expect("room for a number");
}

/// Sessions in every state that waits for something.
struct Waiting {
    cleartext: Wire,
    before_login: Wire,
    in_a_message: Wire,
    idling: Wire,
}

impl Waiting {
    fn begin(gate: &Gate, user: &User) -> Self {
        let config = Offer::default().config();
        let mut cleartext = gate.connect("smtp");
        assert_eq!(cleartext.reply().code, 220);
        let before_login = gate.secured("imaps", &config);
        let mut in_a_message = gate.secured("smtp", &config);
        assert_eq!(in_a_message.say("MAIL FROM:<sender@example.com>").code, 250);
        assert_eq!(in_a_message.say(&format!("RCPT TO:<{}>", user.address)).code, 250);
        assert_eq!(in_a_message.say("DATA").code, 354);
        in_a_message.send("Subject: one\r\n\r\nhalf\r\n");
        let mut idling = gate.secured("imaps", &config);
        assert!(idling.tagged("a", &format!("LOGIN {} \"{PASSWORD}\"", user.name)).concat().contains("a OK"));
        assert!(idling.tagged("b", "SELECT INBOX").concat().contains("b OK"));
        idling.send("c IDLE\r\n");
        assert!(idling.line().expect("an answer").starts_with("+ "));
        Self { cleartext, before_login, in_a_message, idling }
    }

    /// Everybody goes on where they were.
    fn go_on(mut self, what: &str) {
        assert_eq!(self.cleartext.say("EHLO client.example.org").code, 250, "{what}");
        assert!(self.before_login.tagged("a", "NOOP").concat().contains("a OK"), "{what}");
        assert_eq!(self.in_a_message.say("and the other half\r\n.").code, 250, "{what}");
        // The mail that has just arrived is told.
        while !self.idling.line().expect("the session lives").ends_with(" EXISTS") {}
        self.idling.send("DONE\r\n");
        while !self.idling.line().expect("the session lives").starts_with("c OK") {}
    }
}

#[test]
fn a_clock_that_jumps_ends_nothing() {
    let (stack, _shown) = stack();
    let clock = warden::directory("clock").join("away");
    let gate = with_a_clock(&clock);
    let config = Offer::default().config();
    let mut arrived = 0;
    let user = stack.user();
    for days in [1, -1, 3650, 0] {
        let offset = format!("{days} days away");
        // With a ticket from before the jump.
        let mut earlier = gate.secured("submissions", &config);
        assert_eq!(earlier.say("QUIT").code, 221);
        earlier.end();
        let waiting = Waiting::begin(&gate, &user);
        set(&clock, days);
        waiting.go_on(&offset);
        arrived += 1;
        // New ones come in, resumed or not.
        let mut later = gate.secured("submissions", &config);
        assert_eq!(later.say("NOOP").code, 250, "{offset}");
        assert_eq!(later.say("QUIT").code, 221, "{offset}");
        let port = later.port;
        let record = until("the session's record", || {
            whole_lines(&gate.log).into_iter().find(|line| line["event"] == "ended" && line["client_port"] == port)
        });
        assert_eq!(record["outcome"], "ok", "{record}");
        // It has jumped indeed.
        let stamp: jiff::Timestamp = record["time"].as_str().and_then(|time| time.parse().ok()).expect("a time");
        let away = stamp.duration_since(jiff::Timestamp::now()).as_hours();
        assert!((away - days * 24).abs() <= 1, "{away} hours instead of {days} days: {record}");
    }
    assert_eq!(user.mails(arrived).len(), arrived);
    // And nobody's session has lasted for a day.
    let lines = whole_lines(&gate.log);
    let lasted: Vec<_> = lines.iter().filter_map(|line| line["duration_ms"].as_u64()).collect();
    assert!(lasted.len() > 8 && lasted.iter().all(|ms| *ms < 3_600_000), "{lasted:?}");
}
