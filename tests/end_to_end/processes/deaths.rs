//! What becomes of one when the other is gone.

use super::*;

#[test]
fn a_worker_that_dies_is_replaced() {
    let (stack, _shown) = stack();
    let private = Private::new();
    let mut gate = in_front_of_the_stack(private.setup()).start();
    let mut killed = Vec::new();
    for _ in 0..2 {
        let dead = worker(&gate);
        let user = stack.user();
        let mut wire = in_a_message(&gate, &user);
        kill("KILL", &dead.to_string());
        wire.end();
        until("another worker", || children(gate.pid()).iter().any(|pid| *pid != dead).then_some(()));
        gate.until_open();
        finish(in_a_message(&gate, &user), &user);
        killed.push(dead);
    }
    assert!(!killed.contains(&worker(&gate)));
    private.log().wait_for(&["ERROR", "the worker process ended, signal: 9 (SIGKILL)"]);
    gate.signal("TERM");
    assert_eq!(gate.ended().code(), Some(0));
}

#[test]
fn a_worker_that_dies_is_replaced_whatever_is_on_the_disk_then() {
    let backend = Fake::start(smtp(|_, _| None));
    let private = Private::new();
    let setup = private.setup().listener_with("submissions", backend.port, "none", "allow_relay_as_proxy = true");
    let mut gate = setup.start();
    // Certificates, key and log.
    let away = private.directory.with_extension("away");
    fs::rename(&private.directory, &away).expect("a file system that was unmounted");
    let dead = worker(&gate);
    kill("KILL", &dead.to_string());
    until("another worker", || children(gate.pid()).iter().any(|pid| *pid != dead).then_some(()));
    gate.until_open();
    assert_eq!(gate.secured("submissions", &Offer::default().config()).say("QUIT").code, 221);
    let log = Log::new(&away.join("mail.log"));
    log.wait_for(&["event=ended", "outcome=ok"]);
    assert!(!log.text().contains("cannot start a worker"), "{}", log.text());
    fs::rename(&away, &private.directory).expect("it is back");
}

/// By a signal to all processes of its name, or by a kernel that has no memory or forbids it something.
#[test]
fn a_worker_that_is_killed_before_it_has_started_does_not_go_unnoticed() {
    let private = Private::new();
    for _ in 0..20 {
        let mut gate = private.setup().listener("smtp", 1, "xclient").start_unready();
        kill("USR1", &worker(&gate).to_string());
        let unless_late =
            || is_gone(gate.pid()).then_some(true).or_else(|| private.log().text().contains("bound").then_some(false));
        if until("it ends, or was up by then", unless_late) {
            assert_eq!(gate.ended().code(), Some(1));
            private.log().wait_for(&["ERROR", "the worker process ended before it had started, signal: 10 (SIGUSR1)"]);
            return;
        }
        gate.signal("TERM");
        gate.ended();
        fs::remove_file(private.path("mail.log")).expect("a log");
    }
    panic!("the worker was always faster");
}

#[test]
fn without_proc_there_is_no_worker_and_it_is_said_why() {
    let private = Private::new();
    let mut gate = private
        .setup()
        .listener("smtp", 1, "xclient")
        .wrapped(&["unshare", "-m", "sh", "-c", "umount -l /proc && exec \"$0\" \"$@\""])
        .start_unready();
    assert_eq!(gate.ended().code(), Some(1));
    let said = gate.log.text();
    assert!(said.contains("cannot start the worker: there is no /proc; mount it, or leave `user` out"), "{said}");
}

#[test]
fn a_worker_whose_parent_dies_finishes_its_sessions() {
    let (stack, _shown) = stack();
    let private = Private::new();
    let mut gate = in_front_of_the_stack(private.setup().line("drain = \"1m\"")).start();
    let worker = worker(&gate);
    let user = stack.user();
    let wire = in_a_message(&gate, &user);
    gate.signal("KILL");
    assert!(!gate.ended().success());
    until("the ports are closed", || (!gate.is_open("smtp") && !gate.is_open("imaps")).then_some(()));
    assert!(!is_gone(worker), "it waits for the session");
    finish(wire, &user);
    until("the worker ends", || is_gone(worker).then_some(()));
    private.log().wait_for(&["the parent process is gone"]);
}
