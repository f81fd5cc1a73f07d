//! A kernel of the age of the servers that the gate stands in front of: what it lacks is left out, and mail gets through.

use crate::support::clients::{Envelope, Reader, Sender};
use crate::support::gate::Setup;
use crate::support::mail;
use crate::support::stack::stack;

/// The system calls that Linux got after 3.10, which CentOS 7 has, as far as the gate or its libraries might try them.
const YOUNGER: [&str; 28] = [
    "bpf",
    "clone3",
    "close_range",
    "copy_file_range",
    "epoll_pwait2",
    "execveat",
    "faccessat2",
    "futex_waitv",
    "getrandom",
    "io_uring_setup",
    "landlock_add_rule",
    "landlock_create_ruleset",
    "landlock_restrict_self",
    "membarrier",
    "memfd_create",
    "mlock2",
    "openat2",
    "pidfd_open",
    "pidfd_send_signal",
    "preadv2",
    "process_madvise",
    "pwritev2",
    "renameat2",
    "rseq",
    "sched_getattr",
    "sched_setattr",
    "seccomp",
    "statx",
];

#[test]
fn mail_gets_through_where_the_kernel_has_nothing_younger_than_linux_3_10() {
    let (stack, _shown) = stack();
    let proxy = stack.postfix.proxy;
    let mut gate = Setup::new()
        .line("user = \"nobody\"")
        .listener("smtp", proxy.smtp, "proxy-v2")
        .listener("submissions", proxy.submission, "proxy-v2")
        .listener("imap", stack.dovecot.gated, "proxy-v2")
        .listener("imaps", stack.dovecot.gated, "proxy-v2")
        .refused(&YOUNGER.map(str::to_owned), "ENOSYS")
        .start();

    gate.log.wait_for(&["WARN", "Landlock: this kernel does not have it"]);
    gate.log.wait_for(&["WARN", "seccomp: "]);
    let sandbox = gate.log.wait_for(&["sandbox", "uid=65534"]);
    for part in ["capabilities=none", "no_new_privs=on", "landlock=off", "seccomp=off", "self_check=passed"] {
        assert!(sandbox.contains(part), "{sandbox}");
    }
    for (service, reader) in [("smtp", "imap"), ("submissions", "imaps")] {
        let user = stack.user();
        let login = (service != "smtp").then_some(user.name.as_str());
        let envelope = Envelope { from: &user.address, to: &user.address, login };
        let content = mail::mail("Hello\r\n");
        Sender::Smtplib.send(gate.target(service), envelope, &content).success();
        let read = Reader::Curl.fetch(gate.target(reader), &user.name);
        assert_eq!(mail::with_lf(&mail::without_trace(&read)), mail::with_lf(&content), "{service}, {reader}");
    }
    gate.signal("TERM");
    assert_eq!(gate.ended().code(), Some(0));
}
