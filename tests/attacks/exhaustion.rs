//! Hundreds of slow clients: they cost little, honest ones do not notice, and nothing of them stays.
//! Ten thousand of them: `cargo bench --bench exhaustion`.

use std::time::Duration;

use crate::support::fake::{self, Fake};
use crate::support::gate::{Gate, Setup};
use crate::support::process::Process;
use crate::support::wait::{until, within};
use crate::support::wire::{Offer, Wire, client_hello};

/// Of each kind.
const CLIENTS: usize = 200;

/// And before anything counts.
const WARM: usize = 10;

/// Memory goes back to the system after some seconds.
const GIVE_BACK: Duration = Duration::from_secs(60);

fn gate(backend: &Fake, patience: &str) -> Gate {
    let deadlines = ["handshake", "login", "command"].map(|name| format!("{name} = \"{patience}\"\n")).concat();
    Setup::new()
        .table(&format!("[deadlines]\n{deadlines}[limits]\nconnections_per_address = 10000\n"))
        .listener_with("smtp", backend.port, "none", "allow_relay_as_proxy = true")
        .listener_with("submissions", backend.port, "none", "allow_relay_as_proxy = true")
        .start()
}

/// Before TLS: half a command.
fn silent(gate: &Gate) -> Wire {
    let mut wire = gate.connect("smtp");
    assert_eq!(wire.reply().code, 220);
    wire.send("EHL");
    wire
}

/// In the handshake: half of a ClientHello, octet by octet.
fn hello(gate: &Gate) -> Wire {
    let mut wire = gate.connect("submissions");
    let hello = client_hello();
    hello.split_at(hello.len() / 2).0.iter().for_each(|octet| wire.send([*octet]));
    wire
}

/// After it: all of a record but its last octet.
fn record(gate: &Gate) -> Wire {
    let mut wire = gate.connect("submissions").tls(&Offer::default().config());
    assert_eq!(wire.reply().code, 220);
    let record = wire.seal(&[b'x'; 1 << 14]);
    wire.send_beneath(&record[..record.len() - 1]);
    wire
}

/// What a slow client is slow at.
type Slow = fn(&Gate) -> Wire;

/// And KiB that it may cost: twice what ten thousand of them do cost each. An unoptimised build needs more than others, and a
/// measurement in between has noise.
const KINDS: [(&str, Slow, u64); 3] = [("silent", silent, 10), ("hello", hello, 12), ("record", record, 32)];

fn honest(gate: &Gate) -> Wire {
    gate.secured("submissions", &Offer::default().config())
}

fn opened(gate: &Gate, slow: Slow) -> Vec<Wire> {
    sealgate::descriptors::raise().expect("our own limit");
    (0..CLIENTS).map(|_| slow(gate)).collect()
}

/// Waits until the process holds no more than before.
fn given_back(process: Process, descriptors: usize, memory: u64) {
    let back = || (process.descriptors() <= descriptors && process.memory() <= memory).then_some(());
    if within(GIVE_BACK, back).is_none() {
        panic!(
            "{} descriptors and {} KiB stay where {descriptors} and {memory} may",
            process.descriptors(),
            process.memory()
        );
    }
}

#[test]
fn slow_clients_cost_little_and_leave_nothing_behind() {
    let backend = Fake::start(fake::smtp(|_, _| None));
    let gate = gate(&backend, "10m");
    let process = gate.process();
    let mut old = honest(&gate);
    // What a process needs only once is there after these.
    for (_, slow, _) in KINDS {
        drop((0..WARM).map(|_| slow(&gate)).collect::<Vec<_>>());
    }
    until("their records", || (gate.log.text().matches("event=ended").count() == KINDS.len() * WARM).then_some(()));
    let (descriptors, start) = (process.descriptors(), process.memory());
    let mut crowd = Vec::new();
    for (name, slow, most) in KINDS {
        let before = process.memory();
        crowd.extend(opened(&gate, slow));
        // Whatever came before these answers has been read.
        assert_eq!(old.say("NOOP").code, 250, "{name}: an old session");
        assert_eq!(honest(&gate).say("NOOP").code, 250, "{name}: a new session");
        let cost = process.memory().saturating_sub(before) / CLIENTS as u64;
        println!("{name}: {cost} KiB each");
        assert!(cost <= most, "{name}: {cost} KiB each");
    }
    // Of so few clients a quarter may stay: the workers' buffers, and what the allocator keeps its books in. The bench, with
    // its thousands, knows both before it begins, and allows a twentieth of all memory.
    let under = process.memory();
    drop((crowd, old));
    given_back(process, descriptors, start + (under - start) / 4);
}

#[test]
fn hundreds_of_slow_clients_are_all_told_to_go() {
    let backend = Fake::start(fake::smtp(|_, _| None));
    let gate = gate(&backend, "2s");
    let descriptors = gate.process().descriptors();
    std::thread::scope(|scope| {
        for (name, slow, _) in KINDS {
            let gate = &gate;
            scope.spawn(move || {
                for mut client in opened(gate, slow) {
                    client.rest(); // panics if it is not told
                }
                println!("{name}: all gone");
            });
        }
    });
    let count = || {
        gate.log.text().lines().filter(|line| line.contains("event=ended") && line.contains("outcome=timeout")).count()
    };
    until("their records", || (count() == KINDS.len() * CLIENTS).then_some(()));
    until("their descriptors", || (gate.process().descriptors() == descriptors).then_some(()));
    assert_eq!(honest(&gate).say("NOOP").code, 250);
}
