//! kill -9, of the backend or of the gate itself, in the middle of everything: what was acknowledged is there, once; what was
//! not is told so; and nobody has to start the gate again for a backend's sake.
//!
//! What counts as twice through our doing: Postfix has taken the same mail under two queue identifiers. A Postfix that is killed
//! between a delivery and its note of it delivers again under the same one; that is its own doing, gate or no gate.
//!
//! A thousand clients at once: `SEALGATE_CLIENTS=1000 cargo test --test attacks killed:: -- --nocapture`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError, mpsc};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::courier::{By, Ledger, Load, arrived};
use crate::support::dovecot::{self, Dovecot};
use crate::support::gate::{Gate, Setup};
use crate::support::mail;
use crate::support::postfix::Postfix;
use crate::support::stack::{DOMAIN, PASSWORD};
use crate::support::wait::until;
use crate::support::warden;
use crate::support::wire::Offer;

const CLIENTS: usize = 40;
const EACH: usize = 5;

/// A process may be killed before it has served anybody, for which Postfix would rest the service for a minute; and what a killed
/// one has put off would wait for many.
const SOON: &str = "\
service_throttle_time = 1s
minimal_backoff_time = 1s
maximal_backoff_time = 1s
queue_run_delay = 1s
";

/// With one login process a client, hundreds of clients would wait in a queue of the kernel's that holds a hundred: one that finds no
/// place there may wait for minutes until it is noticed. So a few of them serve many each, and each that is killed takes many with it.
const SHARED_LOGINS: &str =
    "service imap-login {\n  service_count = 0\n  process_min_avail = 4\n  client_limit = 400\n}\n";

/// Servers for these tests alone; one test at a time.
struct Victims {
    postfix: Postfix,
    dovecot: Dovecot,
    mail: PathBuf,
    users: Vec<String>,
}

fn victims() -> MutexGuard<'static, Victims> {
    static VICTIMS: LazyLock<Mutex<Victims>> = LazyLock::new(|| {
        // Dovecot lets a user in ten times at once from one address.
        let users: Vec<String> = (0..clients().div_ceil(8)).map(|n| format!("k{n:03}")).collect();
        let mail = warden::directory("mail");
        std::os::unix::fs::chown(&mail, Some(65534), Some(65534)).expect("tests of the real servers run as root");
        let dovecot = Dovecot::start_with(SHARED_LOGINS, dovecot::PROXY, &users, PASSWORD, &mail);
        let postfix = Postfix::start_with(SOON, DOMAIN, &users, &mail, &dovecot.sasl_socket);
        Mutex::new(Victims { postfix, dovecot, mail, users })
    });
    VICTIMS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn clients() -> usize {
    std::env::var("SEALGATE_CLIENTS").map_or(CLIENTS, |many| many.parse().expect("a number of clients"))
}

/// A process as proc(5) shows it: `pid (program) state ppid …`.
struct Process {
    pid: Pid,
    program: String,
    state: char,
    parent: i32,
}

/// All that there are.
fn processes() -> impl Iterator<Item = Process> {
    std::fs::read_dir("/proc").expect("/proc").flatten().filter_map(|entry| {
        // Gone meanwhile, or no process.
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        let (pid, rest) = stat.split_once(" (")?;
        let (program, rest) = rest.rsplit_once(") ")?;
        let mut rest = rest.split(' ');
        let state = rest.next()?.chars().next()?;
        let parent = rest.next()?.parse().ok()?;
        Some(Process { pid: Pid::from_raw(pid.parse().ok()?), program: program.to_owned(), state, parent })
    })
}

/// The child processes of `master`, by program.
fn children(master: u32) -> Vec<(String, Pid)> {
    let master = i32::try_from(master).expect("a process id");
    processes().filter(|process| process.parent == master).map(|process| (process.program, process.pid)).collect()
}

/// Kills `master` and all of its children: how many those were. It is stopped before they are counted, or one that it makes
/// meanwhile would live on and hold its port.
fn kill_all(master: u32) -> usize {
    let pid = Pid::from_raw(i32::try_from(master).expect("a process id"));
    kill(pid, Signal::SIGSTOP).expect("it runs");
    until("it stands still", || processes().any(|it| it.pid == pid && it.state == 'T').then_some(()));
    let family = children(master);
    kill(pid, Signal::SIGKILL).expect("it is there");
    family.iter().filter(|(_, child)| kill(*child, Signal::SIGKILL).is_ok()).count()
}

/// Kills the children of `master` that run one of `programs`; one of them, chosen by `which`, or all.
fn kill_some(master: u32, programs: &[&str], which: Option<u64>) -> usize {
    let all: Vec<_> = children(master).into_iter().filter(|(name, _)| programs.contains(&name.as_str())).collect();
    let chosen = which.map(|which| usize::try_from(which).expect("64 bits") % all.len().max(1));
    let mut killed = 0;
    for (_, pid) in
        all.iter().enumerate().filter(|(n, _)| chosen.is_none_or(|chosen| chosen == *n)).map(|(_, child)| child)
    {
        // It may have ended by itself.
        killed += usize::from(kill(*pid, Signal::SIGKILL).is_ok());
    }
    killed
}

/// Numbers that look like chance and are the same in each run (xorshift64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Runs the load and calls `strike` at that many seeded moments of it, told by how many mails were acknowledged.
fn under_fire(load: Load, seed: u64, strikes: usize, mut strike: impl FnMut(usize, &mut Chance)) -> Ledger {
    let mut chance = Chance(seed);
    let total = load.clients * load.each;
    let mut moments: Vec<usize> =
        (0..strikes).map(|_| usize::try_from(chance.next()).expect("64 bits") % (total * 9 / 10)).collect();
    moments.sort_unstable();
    let (tell, told) = mpsc::channel();
    let (clients, each) = (load.clients, load.each);
    let runs = std::thread::spawn(move || load.run(Offer::default().config(), tell));
    let mut accepted = 0;
    for (n, moment) in moments.iter().enumerate() {
        while accepted < *moment && told.recv().is_ok() {
            accepted += 1;
        }
        strike(n, &mut chance);
    }
    let ledger = runs.join().expect("no client panicked");
    println!(
        "{clients} clients, {each} mails each, struck at {moments:?}: {} acknowledged, others {:?}",
        ledger.accepted.len(),
        ledger.others
    );
    assert!(ledger.wrong.is_empty(), "{:#?}", ledger.wrong);
    assert_eq!(ledger.accepted.len(), total, "in the end every client got rid of its mails");
    assert!(!ledger.others.is_empty(), "nobody has noticed anything: this test shows nothing");
    ledger
}

impl Victims {
    fn load(&self, by: By, gate: &Gate, gate_may_vanish: bool) -> Load {
        let port = gate.port(if by == By::Smtp { "smtp" } else { "imaps" });
        let users = self.users.clone();
        Load { by, port, users, domain: DOMAIN, clients: clients(), each: EACH, gate_may_vanish }
    }

    fn gate(&self) -> Gate {
        Setup::new()
            .listener("smtp", self.postfix.proxy.smtp, "proxy-v2")
            .listener("imaps", self.dovecot.gated, "proxy-v2")
            .start()
    }

    /// Whatever Postfix took has been delivered.
    fn settle(&self) {
        until("Postfix has delivered what it took", || (self.postfix.queued() == 0).then_some(()));
    }

    /// What was acknowledged is there, and Postfix took nothing twice.
    fn judge(&self, ledger: &Ledger) {
        let mut found: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
        // What came by APPEND has no trace field.
        for (number, mail) in
            arrived(&self.mail, &self.users).iter().filter(|(_, mail)| !mail::received(mail).is_empty())
        {
            found.entry(*number).or_default().insert(queue_id(mail));
        }
        let missing: Vec<_> = ledger.accepted.iter().filter(|number| !found.contains_key(number)).collect();
        assert!(missing.is_empty(), "acknowledged and lost: {missing:?}");
        let twice: Vec<_> = found.iter().filter(|(_, ids)| ids.len() > 1).collect();
        assert!(twice.is_empty(), "taken twice: {twice:?}");
    }
}

/// By which Postfix tells the mails apart that it has taken.
fn queue_id(mail: &[u8]) -> String {
    let text = String::from_utf8_lossy(mail);
    let taken = text.split_once("(Postfix) with ").and_then(|(_, rest)| rest.split_once(" id "));
    let taken = taken.unwrap_or_else(|| panic!("no Received field of Postfix: {text}"));
    taken.1.chars().take_while(char::is_ascii_alphanumeric).collect()
}

#[test]
fn what_postfix_acknowledged_is_there_once_however_it_is_killed() {
    let mut victims = victims();
    let gate = victims.gate();
    let load = victims.load(By::Smtp, &gate, false);
    let ledger = under_fire(load, 0x05EA_16A7E, 6, |n, chance| {
        let master = victims.postfix.master();
        let killed = match n {
            // The process that speaks to us: one of them, then all.
            0 | 3 => kill_some(master, &["smtpd"], Some(chance.next())),
            1 => kill_some(master, &["smtpd"], None),
            // The one behind it, which writes the mail down.
            2 => kill_some(master, &["cleanup"], None),
            // All of Postfix. It comes back by itself, the gate's part of it.
            4 => {
                let killed = kill_all(master);
                victims.postfix.start_again();
                killed
            }
            _ => kill_some(master, &["smtpd", "cleanup"], None),
        };
        println!("strike {n}: {killed} processes");
    });
    victims.settle();
    victims.judge(&ledger);
}

#[test]
fn what_dovecot_acknowledged_is_there_however_it_is_killed() {
    let victims = victims();
    let gate = victims.gate();
    let load = victims.load(By::Append, &gate, false);
    let master = victims.dovecot.master();
    let ledger = under_fire(load, 0x1AB_5EA1, 6, |n, chance| {
        let killed = match n % 3 {
            0 => kill_some(master, &["imap"], Some(chance.next())),
            1 => kill_some(master, &["imap-login"], None),
            _ => kill_some(master, &["imap", "imap-login"], None),
        };
        println!("strike {n}: {killed} processes");
    });
    let mut found = BTreeMap::<u64, usize>::new();
    for (number, _) in arrived(&victims.mail, &victims.users) {
        *found.entry(number).or_default() += 1;
    }
    let missing: Vec<_> = ledger.accepted.iter().filter(|number| !found.contains_key(number)).collect();
    assert!(missing.is_empty(), "acknowledged and lost: {missing:?}");
    let twice: Vec<_> = ledger.accepted.iter().filter(|number| found.get(number).is_some_and(|n| *n > 1)).collect();
    assert!(twice.is_empty(), "appended twice: {twice:?}");
}

#[test]
fn a_gate_that_is_killed_takes_nothing_acknowledged_with_it() {
    let victims = victims();
    let mut gate = victims.gate();
    let load = victims.load(By::Smtp, &gate, true);
    let ledger = under_fire(load, 0x6A7E, 3, |_, _| gate.kill_and_start_again());
    victims.settle();
    victims.judge(&ledger);
}
