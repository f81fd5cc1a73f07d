//! `sealgate check` in front of the real servers.

use crate::support::gate::Setup;
use crate::support::stack::stack;

/// Runs the check; its exit code and its lines.
fn check(setup: Setup) -> (Option<i32>, String) {
    let output = setup.check(&[]);
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn servers_set_up_as_the_shipped_files_say_pass() {
    let (stack, _shown) = stack();
    let setup = Setup::new()
        .listener("smtp", stack.postfix.xclient.smtp, "xclient")
        .listener("submission", stack.postfix.proxy.submission, "proxy-v2")
        .listener("imaps", stack.dovecot.gated, "proxy-v2");
    let (code, told) = check(setup);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("0 to repair"), "{told}");
    // Postfix before 3.9 does so unless told otherwise; this one is older, and was not.
    assert!(told.contains("note  backend") && told.contains("CVE-2023-51764"), "{told}");
    for expected in ["takes client_identity = \"xclient\"", "does not relay for strangers", "IMAP4REV1", "AUTH PLAIN"] {
        assert!(told.contains(expected), "{expected}: {told}");
    }
}

#[test]
fn servers_that_would_not_do_fail_with_what_to_set() {
    let (stack, _shown) = stack();
    let setup = Setup::new()
        .listener("submission", stack.postfix.hardened, "xclient")
        .listener("smtp", stack.postfix.open, "xclient")
        // PROXY v1 cannot say that the client came by TLS, so Dovecot 2.3 lets nobody log in.
        .listener("imap", stack.dovecot.gated, "proxy-v1")
        // TLS is demanded of the gate, which has ended it.
        .listener("smtp", stack.postfix.encrypting, "proxy-v2");
    let (code, told) = check(setup);
    assert_eq!(code, Some(2), "{told}");
    for expected in [
        "smtpd_authorized_xclient_hosts",
        "open relay",
        "reject_unauth_destination",
        "LOGINDISABLED",
        "-o smtpd_tls_security_level=none",
    ] {
        assert!(told.contains(expected), "{expected}: {told}");
    }
}
